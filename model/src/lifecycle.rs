//! The life of a job as its users think of it, and how the eleven statuses refine it.
//!
//! ```text
//!   created ──→ running ⇄ paused
//!      │         │   └──→ ready ⇄ paused (ready)
//!      │         │          │
//!      │         ├────┬─────┘
//!      │         │    └→ (converged) ─→ (prepared) ──→ committed ─┐
//!      │         └→ (failed) ←──┴────────────┘                    ├→ cleaned
//!      │               └──────────────────────────→ aborted ──────┘
//!      └→ cancelled (from any stage before the decision) ─↗
//! ```
//!
//! Stages in parentheses have no name in the users' picture: a job there is still what it was,
//! and the explorer treats them as stutters. `status` is the eleven QMP names, `lifecycle` these.
//! Source: SEMANTICS.md §1c.

use core::fmt;

use crate::state::{Cancel, Job, Outcome, Tail};
use crate::status::Status;

/// A stage of a job's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Lifecycle {
    /// Exists and has not been started.
    Created,
    /// Runs, or is about to pause, or its end has not been taken note of.
    Running,
    /// Acknowledged a pause while running.
    Paused,
    /// Converged with its target; waits to be told to finish.
    Ready,
    /// Acknowledged a pause while ready, and goes back there.
    PausedReady,
    /// Between: its run ended well, the transaction is undecided.
    Converged,
    /// Between: it could commit, if every other member can.
    Prepared,
    /// Between: it failed by itself and will abort.
    Failed,
    /// Cancelled by force; it can only abort.
    Cancelled,
    /// Its effects stand.
    Committed,
    /// Its effects are undone.
    Aborted,
    /// What it held is released; only its result is left.
    Cleaned,
}

use Lifecycle::{
    Aborted, Cancelled, Cleaned, Committed, Converged, Created, Failed, Paused, PausedReady,
    Prepared, Ready, Running,
};

impl Lifecycle {
    /// How many stages there are.
    pub const COUNT: usize = 12;

    /// Every stage, in the order of the table.
    pub const ALL: [Lifecycle; Lifecycle::COUNT] = [
        Created,
        Running,
        Paused,
        Ready,
        PausedReady,
        Converged,
        Prepared,
        Failed,
        Cancelled,
        Committed,
        Aborted,
        Cleaned,
    ];

    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Created => "created",
            Running => "running",
            Paused => "paused",
            Ready => "ready",
            PausedReady => "paused (ready)",
            Converged => "converged",
            Prepared => "prepared",
            Failed => "failed",
            Cancelled => "cancelled",
            Committed => "committed",
            Aborted => "aborted",
            Cleaned => "cleaned",
        }
    }

    /// A stage without a name of its own in the users' picture.
    pub const fn is_between(self) -> bool {
        matches!(self, Converged | Prepared | Failed)
    }

    /// The stages that may follow `self`.
    pub const fn next(self) -> &'static [Lifecycle] {
        match self {
            Created | Paused => &[Running, Cancelled],
            Running => &[Paused, Ready, Converged, Failed, Cancelled],
            Ready => &[PausedReady, Converged, Failed, Cancelled],
            PausedReady => &[Ready, Cancelled],
            Converged => &[Prepared, Failed, Cancelled],
            Prepared => &[Committed, Cancelled],
            Failed | Cancelled => &[Aborted],
            Committed | Aborted => &[Cleaned],
            Cleaned => &[],
        }
    }

    /// Whether a job may go from `self` to `to` in one step.
    pub fn may_become(self, to: Lifecycle) -> bool {
        self.next().contains(&to)
    }

    /// The stage a job is in; `None` before it exists and after it is gone.
    ///
    /// A soft cancel is a request to finish, not a cancellation; only a forced one counts here.
    pub const fn of(job: &Job) -> Option<Lifecycle> {
        match job.status {
            Status::Undefined | Status::Null => return None,
            _ => {}
        }
        let decided = match job.tail {
            Tail::None | Tail::Preparing | Tail::Prepared | Tail::Committing | Tail::Aborting => {
                false
            }
            Tail::Decided | Tail::Cleaning => true,
            Tail::Cleaned | Tail::Completing | Tail::Completed | Tail::Announced => {
                return Some(Cleaned);
            }
            // Only after null.
            Tail::Freeing | Tail::Freed => return None,
        };
        if decided {
            return Some(match job.status {
                Status::Pending => Committed,
                _ => Aborted,
            });
        }
        if job.forced() {
            return Some(Cancelled);
        }
        let well = matches!(job.outcome, Outcome::Success);
        Some(match job.status {
            // A started transaction brought down before its start: its result says so.
            Status::Created if matches!(job.outcome, Outcome::Open) => Created,
            Status::Created => Cancelled,
            Status::Running => Running,
            Status::Paused => Paused,
            Status::Ready => Ready,
            Status::Standby => PausedReady,
            Status::Waiting | Status::Pending if !well => Failed,
            Status::Pending if matches!(job.tail, Tail::Prepared | Tail::Committing) => Prepared,
            Status::Waiting | Status::Pending => Converged,
            Status::Aborting if matches!(job.outcome, Outcome::Cancelled) => Cancelled,
            Status::Aborting => Failed,
            Status::Concluded | Status::Undefined | Status::Null => Cleaned,
        })
    }

    /// All of a job that its stage depends on.
    pub(crate) const fn tells(job: &Job) -> (Status, Tail, Cancel, Outcome) {
        (job.status, job.tail, job.cancel, job.outcome)
    }

    /// Whether the step from `before` to `after` is a stutter or one this machine has.
    ///
    /// Coming into being, an early failure (`created → null`) and being forgotten are its ends.
    pub fn permits(before: &Job, after: &Job) -> bool {
        match (Lifecycle::of(before), Lifecycle::of(after)) {
            (None, None | Some(Created)) | (Some(Created | Cleaned), None) => true,
            (Some(from), Some(to)) => from == to || from.may_become(to),
            (None | Some(_), _) => false,
        }
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// Commit and abort exclude each other, and nothing follows the cleaning.
const _: () = {
    assert!(Cleaned.next().is_empty());
    assert!(Committed.next().len() == 1 && Aborted.next().len() == 1);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_leads_from_commit_to_abort_or_from_cancelled_to_commit() {
        let mut reached = vec![Cancelled, Failed];
        let mut at = 0;
        while at < reached.len() {
            for &to in reached[at].next() {
                if !reached.contains(&to) {
                    reached.push(to);
                }
            }
            at += 1;
        }
        assert!(!reached.contains(&Committed), "{reached:?}");
        assert!(!Committed.may_become(Aborted) && !Aborted.may_become(Committed));
    }

    #[test]
    fn every_stage_is_reached_from_created() {
        let mut reached = vec![Created];
        let mut at = 0;
        while at < reached.len() {
            for &to in reached[at].next() {
                if !reached.contains(&to) {
                    reached.push(to);
                }
            }
            at += 1;
        }
        assert_eq!(reached.len(), Lifecycle::COUNT);
    }
}
