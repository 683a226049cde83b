//! What becomes of an I/O error: the policies, the actions, and the status that remembers it.
//!
//! | policy | `ENOSPC` | any other error |
//! |---|---|---|
//! | `report` | report | report |
//! | `ignore` | ignore | ignore |
//! | `enospc` | stop | report |
//! | `stop` | stop | stop |
//! | `auto` | stop | report |
//!
//! Source: SEMANTICS.md §8. The engine announces the action and takes the pause of a stop; it
//! retries and fails nothing, the driver does.

use core::fmt;

use crate::vocabulary::ErrorAction;

/// What the user wants done about I/O errors, as QMP's `BlockdevOnError` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[doc(alias = "BlockdevOnError")]
pub enum ErrorPolicy {
    /// The run ends with the error.
    #[default]
    Report,
    /// The run goes on.
    Ignore,
    /// Stop for want of space, report anything else.
    Enospc,
    /// Stop until the user resumes.
    Stop,
    /// For jobs the same as [`Enospc`](ErrorPolicy::Enospc).
    Auto,
}

impl ErrorPolicy {
    /// Every policy, in the order of the table.
    pub const ALL: [ErrorPolicy; 5] = [
        ErrorPolicy::Report,
        ErrorPolicy::Ignore,
        ErrorPolicy::Enospc,
        ErrorPolicy::Stop,
        ErrorPolicy::Auto,
    ];

    /// The name as QMP spells it.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorPolicy::Report => "report",
            ErrorPolicy::Ignore => "ignore",
            ErrorPolicy::Enospc => "enospc",
            ErrorPolicy::Stop => "stop",
            ErrorPolicy::Auto => "auto",
        }
    }

    /// The policy QMP spells `name`, if there is one.
    pub fn from_name(name: &str) -> Option<ErrorPolicy> {
        ErrorPolicy::ALL
            .into_iter()
            .find(|policy| policy.name() == name)
    }

    /// What it makes of an error; `no_space` says that the error is `ENOSPC`.
    pub const fn action(self, no_space: bool) -> ErrorAction {
        match self {
            ErrorPolicy::Ignore => ErrorAction::Ignore,
            ErrorPolicy::Stop => ErrorAction::Stop,
            ErrorPolicy::Enospc | ErrorPolicy::Auto if no_space => ErrorAction::Stop,
            ErrorPolicy::Report | ErrorPolicy::Enospc | ErrorPolicy::Auto => ErrorAction::Report,
        }
    }
}

impl fmt::Display for ErrorPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a job remembers of the error that stopped it, as QMP's `BlockDeviceIoStatus` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum IoStatus {
    /// None, or it was taken back.
    #[default]
    Ok,
    /// An error other than want of space stopped it.
    Failed,
    /// Want of space stopped it.
    NoSpace,
}

impl IoStatus {
    /// The name as QMP spells it.
    pub const fn name(self) -> &'static str {
        match self {
            IoStatus::Ok => "ok",
            IoStatus::Failed => "failed",
            IoStatus::NoSpace => "nospace",
        }
    }

    /// The status QMP spells `name`, if there is one.
    pub fn from_name(name: &str) -> Option<IoStatus> {
        [IoStatus::Ok, IoStatus::Failed, IoStatus::NoSpace]
            .into_iter()
            .find(|status| status.name() == name)
    }

    /// No error is remembered.
    pub const fn is_ok(self) -> bool {
        matches!(self, IoStatus::Ok)
    }

    /// After a stop error: the first one is remembered until it is taken back.
    #[must_use]
    pub const fn after_stop(self, no_space: bool) -> IoStatus {
        match self {
            IoStatus::Ok if no_space => IoStatus::NoSpace,
            IoStatus::Ok => IoStatus::Failed,
            first => first,
        }
    }
}

impl fmt::Display for IoStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for policy in ErrorPolicy::ALL {
            assert_eq!(ErrorPolicy::from_name(policy.name()), Some(policy));
        }
        for status in [IoStatus::Ok, IoStatus::Failed, IoStatus::NoSpace] {
            assert_eq!(IoStatus::from_name(status.name()), Some(status));
        }
        assert_eq!(ErrorPolicy::from_name("retry"), None);
    }

    #[test]
    fn the_table_is_the_one_above() {
        use ErrorAction::{Ignore, Report, Stop};
        let table = ErrorPolicy::ALL.map(|policy| (policy.action(true), policy.action(false)));
        assert_eq!(
            table,
            [
                (Report, Report),
                (Ignore, Ignore),
                (Stop, Report),
                (Stop, Stop),
                (Stop, Report)
            ]
        );
    }

    #[test]
    fn the_first_error_is_remembered() {
        let stopped = IoStatus::Ok.after_stop(true);
        assert_eq!(stopped, IoStatus::NoSpace);
        assert_eq!(stopped.after_stop(false), IoStatus::NoSpace);
    }
}
