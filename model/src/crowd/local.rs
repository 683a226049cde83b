//! What the rules of a group read of one member, and everything a member it is read of may be.

use crate::property::History;
use crate::state::{
    Body, Cancel, Group, Job, JobSpec, Outcome, Owes, PeerCancel, Phase, Tail, World,
};
use crate::status::Status;

/// One member as its group sees it: a job and what was seen of it, with everything the group's
/// rules and properties never read set to one value.
///
/// Forgotten are pauses and holds, I/O and its errors, convergence, soft cancels, where between
/// its start and its end a body stands, how an error came about, and what happens to a concluded
/// job. Kept is what a decision depends on and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Local {
    pub(super) job: Job,
    pub(super) history: History,
}

impl Local {
    /// The local state of this job; `None` if it is no member: it was given up before its start, or
    /// had not come into being when its group was brought down.
    ///
    /// Every field is named, so that a new one is looked at before this compiles again.
    pub fn of(job: &Job, history: History, group: Group) -> Option<Local> {
        let Job {
            status,
            body,
            outcome,
            tail,
            cancel,
            peer_cancel,
            spec,
            // Stages of a body between its start and the moment the main loop takes it over.
            entered: _,
            starting: _,
            seen: _,
            may_pass: _,
            may_pause: _,
            woken: _,
            in_flight: _,
            complete: _,
            // Pauses, and what announces or reports.
            user_paused: _,
            stacked: _,
            resuming: _,
            io_status: _,
            holds: _,
            drained: _,
            owes: _,
        } = *job;
        let JobSpec {
            // Whether it has events.
            block: _,
            internal: _,
            completion,
            // What its user decides, and when it ends well.
            auto_finalize: _,
            auto_dismiss: _,
            can_complete: _,
            needs_finish: _,
        } = spec;
        let (status, gone) = match status {
            Status::Undefined
            | Status::Created
            | Status::Waiting
            | Status::Pending
            | Status::Aborting => (status, false),
            Status::Running | Status::Paused | Status::Ready | Status::Standby => {
                (Status::Running, false)
            }
            // Whether its user has dismissed it is no matter of the group's.
            Status::Concluded | Status::Null => (Status::Null, true),
        };
        let undecided = gone && !history.committed() && !history.aborted();
        if undecided || (status == Status::Undefined && group.aborting) {
            return None;
        }
        let body = match body {
            // Whether who was aborted had run is no matter either.
            _ if gone && history.aborted() => Body::Ended,
            Body::Unstarted => Body::Unstarted,
            Body::Ended if status.is_completed() => Body::Ended,
            Body::Moving
            | Body::AtPoint
            | Body::PauseIn
            | Body::PauseDone
            | Body::Parked
            | Body::Unparked
            | Body::ResumeIn
            | Body::Asleep
            | Body::Yielded
            | Body::Returned
            | Body::Ended => Body::Moving,
        };
        let outcome = match outcome {
            // How its run ends counts once the main loop takes it over.
            _ if body == Body::Moving => Outcome::Open,
            Outcome::Open => Outcome::Open,
            Outcome::Success => Outcome::Success,
            Outcome::Failure | Outcome::Cancelled => Outcome::Failure,
        };
        let tail = match tail {
            _ if gone => Tail::Announced,
            Tail::Prepared if status == Status::Aborting => Tail::None,
            Tail::None
            | Tail::Preparing
            | Tail::Prepared
            | Tail::Committing
            | Tail::Aborting
            | Tail::Decided
            | Tail::Cleaning
            | Tail::Cleaned
            | Tail::Completing
            | Tail::Completed
            | Tail::Announced
            | Tail::Freeing
            | Tail::Freed => tail,
        };
        let cancel = match cancel {
            Cancel::No | Cancel::Soft => Cancel::No,
            // The profile explored here knows no cancel that can be taken back.
            Cancel::Revocable | Cancel::Force => Cancel::Force,
        };
        let peer_cancel = match peer_cancel {
            PeerCancel::No | PeerCancel::Due | PeerCancel::In => peer_cancel,
            // Whether its user's pause ends on the way.
            PeerCancel::Told | PeerCancel::UserIn | PeerCancel::UserTold => PeerCancel::Told,
        };
        let completing = !gone && !matches!(tail, Tail::None | Tail::Preparing | Tail::Prepared);
        Some(Local {
            job: Job {
                status,
                body,
                entered: body != Body::Unstarted,
                outcome,
                tail,
                cancel,
                peer_cancel,
                owes: Owes::Nothing,
                // Who completes is one member at a time, and what is due to it can be followed.
                spec: if completing {
                    specs(completion, spec.announces())
                } else {
                    JobSpec::PLAIN
                },
                ..Job::new(JobSpec::PLAIN)
            },
            history: history.of_a_member(outcome == Outcome::Failure, gone),
        })
    }

    /// Jobs such that whatever any job of this local state may do next, as far as its group can
    /// tell, one of them may do.
    pub(super) fn stand_ins(&self, group: Group, visit: &mut dyn FnMut(Job)) {
        let job = self.job;
        visit(job);
        match job.status {
            // Its start may have been asked for. An abort takes that back.
            Status::Created if !group.aborting => visit(Job {
                starting: true,
                ..job
            }),
            // Its run may have ended, well or not.
            Status::Running => {
                for outcome in [Outcome::Success, Outcome::Failure] {
                    visit(Job {
                        body: Body::Ended,
                        outcome,
                        ..job
                    });
                }
            }
            Status::Waiting | Status::Pending | Status::Aborting if !job.in_tail() => {
                // It may be decided by hand, and be owed less at its end.
                for (auto_finalize, completion, block) in [
                    (false, true, false),
                    (true, false, true),
                    (true, false, false),
                ] {
                    visit(Job {
                        spec: JobSpec {
                            auto_finalize,
                            ..specs(completion, block)
                        },
                        ..job
                    });
                }
            }
            Status::Undefined
            | Status::Created
            | Status::Paused
            | Status::Ready
            | Status::Standby
            | Status::Waiting
            | Status::Pending
            | Status::Aborting
            | Status::Concluded
            | Status::Null => {}
        }
    }

    /// In a few words, for a story.
    pub(super) fn words(&self) -> String {
        let job = &self.job;
        let mut words = match job.status {
            Status::Undefined => "not yet created",
            Status::Null if self.history.committed() => "committed",
            Status::Null => "aborted",
            status => status.name(),
        }
        .to_owned();
        let mut more = |word: &str| {
            words.push_str(", ");
            words.push_str(word);
        };
        match job.tail {
            _ if job.status == Status::Null => {}
            Tail::None => {}
            Tail::Prepared => more("prepared"),
            Tail::Preparing
            | Tail::Committing
            | Tail::Aborting
            | Tail::Decided
            | Tail::Cleaning
            | Tail::Cleaned
            | Tail::Completing
            | Tail::Completed
            | Tail::Announced
            | Tail::Freeing
            | Tail::Freed => more("in the main loop's hands"),
        }
        if job.status != Status::Null && job.forced() {
            more("cancelled by force");
        }
        words
    }
}

/// A plain job with or without a completion function and `BLOCK_JOB_*` events.
const fn specs(completion: bool, block: bool) -> JobSpec {
    JobSpec {
        block,
        completion,
        ..JobSpec::PLAIN
    }
}

/// The group's own part of a world, likewise.
pub(super) const fn of_group(world: &World) -> Group {
    let Group {
        phase,
        aborting,
        // What `finalize` answers.
        prepare_failed: _,
        // Kept only where a failed prepare spares a member, which no profile explored here does.
        trigger: _,
        // Beliefs of an observer; the explorer has none.
        open: _,
        others: _,
        // Who is held.
        drained: _,
    } = world.group;
    let phase: Phase = phase;
    Group {
        phase,
        aborting,
        ..Group::CLOSED
    }
}
