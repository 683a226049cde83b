//! Kinds of what QMP shows of a job, and sets of them: whoever writes a recording down may leave whole kinds out.

use std::fmt;

use super::Output;
use crate::status::Status;
use crate::vocabulary::Event;

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `JOB_STATUS_CHANGE` with this status.
    Status(Status),
    /// `BLOCK_JOB_READY`.
    Ready,
    /// `BLOCK_JOB_PENDING`.
    Pending,
    /// `BLOCK_JOB_COMPLETED` or `BLOCK_JOB_CANCELLED`.
    Terminal,
    /// `BLOCK_JOB_ERROR`.
    Error,
}

impl Kind {
    /// That of an event of a block job.
    pub const fn of(event: Event) -> Kind {
        match event {
            Event::Ready => Kind::Ready,
            Event::Pending => Kind::Pending,
            Event::Completed { .. } | Event::Cancelled => Kind::Terminal,
            Event::Error { .. } => Kind::Error,
        }
    }

    const fn bit(self) -> u16 {
        match self {
            Kind::Status(status) => 1 << status as u16,
            Kind::Ready => 1 << 11,
            Kind::Pending => 1 << 12,
            Kind::Terminal => 1 << 13,
            Kind::Error => 1 << 14,
        }
    }

    /// Every kind there is; `undefined` is never announced.
    fn all() -> impl Iterator<Item = Kind> {
        let statuses = Status::ALL.into_iter().map(Kind::Status);
        let events = [Kind::Ready, Kind::Pending, Kind::Terminal, Kind::Error];
        statuses
            .filter(|kind| *kind != Kind::Status(Status::Undefined))
            .chain(events)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Status(status) => write!(f, "JOB_STATUS_CHANGE {status}"),
            Kind::Ready => f.write_str("BLOCK_JOB_READY"),
            Kind::Pending => f.write_str("BLOCK_JOB_PENDING"),
            Kind::Terminal => f.write_str("BLOCK_JOB_COMPLETED or _CANCELLED"),
            Kind::Error => f.write_str("BLOCK_JOB_ERROR"),
        }
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kinds(u16);

impl Kinds {
    /// None.
    pub const NONE: Kinds = Kinds(0);

    /// Whether this kind is among them.
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Whether a change to this status is among them.
    pub const fn has(self, status: Status) -> bool {
        self.contains(Kind::Status(status))
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds one.
    pub const fn insert(&mut self, kind: Kind) {
        self.0 |= kind.bit();
    }

    /// Those of either.
    #[must_use]
    pub const fn and(self, others: Kinds) -> Kinds {
        Kinds(self.0 | others.0)
    }

    /// All others.
    #[must_use]
    pub fn others(self) -> Kinds {
        let mut others = Kinds::NONE;
        for kind in Kind::all().filter(|kind| !self.contains(*kind)) {
            others.insert(kind);
        }
        others
    }

    /// Each of them.
    pub fn each(self) -> impl Iterator<Item = Kind> {
        Kind::all().filter(move |kind| self.contains(*kind))
    }

    /// Whether an output is of such a kind.
    pub(super) const fn hide(self, output: Output) -> bool {
        match output {
            Output::Status(_, status) => self.has(status),
            Output::Event(_, event) => self.contains(Kind::of(event)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_a_set_or_in_the_rest() {
        let mut set = Kinds::NONE;
        assert_eq!(set.others().each().count(), 14);
        for (count, kind) in Kind::all().enumerate() {
            assert!(!set.contains(kind), "{kind}");
            set.insert(kind);
            assert_eq!(set.each().count(), count + 1, "{kind}");
            assert_eq!(set.others().each().count(), 13 - count, "{kind}");
        }
        assert!(set.others().is_empty());
    }
}
