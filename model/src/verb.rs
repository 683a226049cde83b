//! What may be asked of a job from outside, in which status, and how a refusal reads.
//!
//! Source: SEMANTICS.md §1b (verb table), §2, Appendix A (texts).

use core::fmt;

use crate::status::{Status, row};

/// A request the verb table knows, as QMP's `JobVerb` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verb {
    /// Give up: softly (finish where the job stands, if it can) or by force.
    Cancel,
    /// Stop at the next pause point.
    Pause,
    /// Withdraw the user's pause.
    Resume,
    /// Change the rate limit.
    SetSpeed,
    /// Tell a ready job to finish.
    Complete,
    /// Decide a transaction that waits for its user.
    Finalize,
    /// Forget a concluded job.
    Dismiss,
    /// Change options of a running job (QEMU 8.2 and later).
    Change,
}

type Row = [bool; Status::COUNT];

/// Row = verb, column = status; `1` permitted. Standby accepts `complete` since QEMU 6.0,
/// which [`Profile::standby_complete`](crate::Profile::standby_complete) takes back.
#[rustfmt::skip]
const PERMITTED: [Row; Verb::COUNT] = [
    //                   U C R P Y S W D X E N
    /* Cancel    */ row(". 1 1 1 1 1 1 1 . . ."),
    /* Pause     */ row(". 1 1 1 1 1 . . . . ."),
    /* Resume    */ row(". 1 1 1 1 1 . . . . ."),
    /* SetSpeed  */ row(". 1 1 1 1 1 . . . . ."),
    /* Complete  */ row(". . . . 1 1 . . . . ."),
    /* Finalize  */ row(". . . . . . . 1 . . ."),
    /* Dismiss   */ row(". . . . . . . . . 1 ."),
    /* Change    */ row(". 1 1 1 1 1 . . . . ."),
];

impl Verb {
    /// How many verbs there are.
    pub const COUNT: usize = 8;

    /// Every verb, in the order of the table.
    pub const ALL: [Verb; Verb::COUNT] = [
        Verb::Cancel,
        Verb::Pause,
        Verb::Resume,
        Verb::SetSpeed,
        Verb::Complete,
        Verb::Finalize,
        Verb::Dismiss,
        Verb::Change,
    ];

    /// The name as QMP spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Verb::Cancel => "cancel",
            Verb::Pause => "pause",
            Verb::Resume => "resume",
            Verb::SetSpeed => "set-speed",
            Verb::Complete => "complete",
            Verb::Finalize => "finalize",
            Verb::Dismiss => "dismiss",
            Verb::Change => "change",
        }
    }

    /// The verb QMP spells `name`, if there is one.
    pub fn from_name(name: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|verb| verb.name() == name)
    }

    /// Whether a job in `status` accepts the verb at all; its own conditions come on top.
    pub const fn permitted_in(self, status: Status) -> bool {
        PERMITTED[self as usize][status as usize]
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a request was turned down. A refusal changes nothing and announces nothing (P2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// No job has this id (any more).
    NotFound,
    /// The verb table says no in this status.
    Verb {
        /// The status the answer names.
        status: Status,
        /// The verb that was refused.
        verb: Verb,
    },
    /// A second pause by the user.
    AlreadyPaused,
    /// A resume without a pause by the user.
    NotPaused,
    /// Complete after a cancel was accepted, or for a driver that has nothing to complete.
    CannotComplete,
    /// A soft cancel of a job its user has paused.
    CurrentlyPaused,
    /// A negative speed.
    NegativeSpeed,
    /// It moves to another context only while a drained section keeps it quiet.
    NotQuiet,
    /// `finalize` ran, and a member's prepare failed (profile `reference` only, decision 20).
    PrepareFailed,
}

impl Refusal {
    /// The answer for people and scripts, to the letter where QEMU has one (Appendix A).
    ///
    /// `block_job` chooses the text of the `block-job-*` commands for an unknown id.
    pub fn text(self, id: &str, block_job: bool) -> String {
        match self {
            Refusal::NotFound if block_job => format!("Block job '{id}' not found"),
            Refusal::NotFound => "Job not found".to_owned(),
            Refusal::Verb { status, verb } => {
                format!("Job '{id}' in state '{status}' cannot accept command verb '{verb}'")
            }
            Refusal::AlreadyPaused => "Job is already paused".to_owned(),
            Refusal::NotPaused => "Can't resume a job that was not paused".to_owned(),
            Refusal::CannotComplete => {
                format!("The active block job '{id}' cannot be completed")
            }
            Refusal::CurrentlyPaused => {
                format!("The block job for device '{id}' is currently paused")
            }
            Refusal::NegativeSpeed => "Parameter 'speed' expects a non-negative value".to_owned(),
            Refusal::NotQuiet => format!(
                "Job '{id}' is not quiet: it moves to another context only inside a drained section, and not while a forced cancel runs out"
            ),
            Refusal::PrepareFailed => {
                format!(
                    "Job '{id}' could not be finalized: a member of its transaction failed to prepare"
                )
            }
        }
    }

    /// The QMP error class: `DeviceNotActive` for an unknown block job, else `GenericError`.
    pub const fn class(self, block_job: bool) -> &'static str {
        match self {
            Refusal::NotFound if block_job => "DeviceNotActive",
            _ => "GenericError",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for verb in Verb::ALL {
            assert_eq!(Verb::from_name(verb.name()), Some(verb));
        }
        assert_eq!(Verb::from_name("stop"), None);
    }

    #[test]
    fn a_job_that_is_gone_accepts_nothing() {
        for verb in Verb::ALL {
            assert!(!verb.permitted_in(Status::Null));
            assert!(!verb.permitted_in(Status::Undefined));
            assert!(!verb.permitted_in(Status::Aborting));
        }
    }

    #[test]
    fn a_refusal_reads_as_qemu_writes_it() {
        let refusal = Refusal::Verb {
            status: Status::Waiting,
            verb: Verb::SetSpeed,
        };
        assert_eq!(
            refusal.text("j0", false),
            "Job 'j0' in state 'waiting' cannot accept command verb 'set-speed'"
        );
        assert_eq!(Refusal::NotFound.text("x", true), "Block job 'x' not found");
    }
}
