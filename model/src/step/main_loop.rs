//! What the main loop does: it takes ended runs over, decides, and brings each member to its end.
//!
//! One thing at a time, newest member first; an abort steps aside while a member still runs.

use super::body::{end_run, skips_run};
use super::{Next, Output, Relation, Step, View};
use crate::error_policy::IoStatus;
use crate::profile::Profile;
use crate::state::{Body, Cancel, Job, Outcome, Owes, PeerCancel, Phase, Tail, World};
use crate::status::Status;
use crate::vocabulary::{Callback, Event};

impl<W: Fn(Option<Output>) -> bool, V: FnMut(Step, Next<'_>, Option<Output>)> Relation<'_, W, V> {
    /// What the main loop may do. Keeps P8…P16, P36, P37.
    pub(super) fn main_loop(&mut self) {
        let world = self.world;
        if world.in_request_callback() {
            // P27: one callback of the main loop at a time.
            return;
        }
        if !self.busy {
            for (member, job) in world.jobs.iter().enumerate() {
                let ended = match job.body {
                    Body::Returned | Body::Ended => true,
                    Body::AtPoint => skips_run(job, self.profile),
                    _ => false,
                };
                if ended && !job.status.is_completed() {
                    let mut ended = *job;
                    end_run(&mut ended, self.profile);
                    self.exit(Step::Exit(member), member, ended);
                }
            }
        }
        match world.group.phase {
            Phase::Idle => {}
            Phase::Announcing => self.announce(),
            Phase::Preparing => self.prepare(),
            Phase::Committing => self.commit(),
            Phase::Aborting => self.abort(),
        }
        if world.group.open && world.group.phase == Phase::Idle && !self.busy {
            self.decide_unseen();
        }
        for member in 0..world.jobs.len() {
            self.tail(member);
            self.free(member);
        }
    }

    /// Lets go of the driver of a job that is gone, whichever way (P29).
    pub(super) fn free(&mut self, member: usize) {
        let job = &self.world.jobs[member];
        let due = job.status == Status::Null && !matches!(job.tail, Tail::Freeing | Tail::Freed);
        if due && self.view.frees && !self.busy {
            self.change(
                Step::FreeBegin(member),
                member,
                Some(Output::Begin(member, Callback::Free)),
                |job| job.tail = Tail::Freeing,
            );
        }
    }

    /// Takes over an ended run; `ended` is the job as its end left it.
    pub(super) fn exit(&mut self, step: Step, member: usize, ended: Job) {
        let (world, profile) = (self.world, self.profile);
        if !profile.unstarted_peers_end && world.jobs.iter().any(|job| job.starting) {
            // The main loop is in the middle of the command that starts them all; whether a peer is
            // unstarted matters (1).
            return;
        }
        // Where a cancel does not fold, it still brings a group down, but no single job (3).
        let cancelled = ended.forced() && (profile.cancel_folds || world.jobs.len() > 1);
        let well = ended.outcome == Outcome::Success && !cancelled && !world.group.aborting;
        let status = if well {
            Status::Waiting
        } else {
            Status::Aborting
        };
        self.offer(step, Some(Output::Status(member, status)), |world| {
            world.jobs[member] = ended;
            let job = &mut world.jobs[member];
            job.status = status;
            if well {
                let all = world
                    .jobs
                    .iter()
                    .all(|job| job.status == Status::Waiting || job.is_final());
                if all && !world.group.open {
                    world.group.phase = Phase::Announcing;
                    if !profile.prepare_failure_takes_all {
                        world.group.trigger = Some(member as u8);
                    }
                }
            } else {
                if job.outcome == Outcome::Success && job.forced() && profile.cancel_folds {
                    // P24: a forced cancel before this moment always shows in the result (3).
                    job.outcome = Outcome::Cancelled;
                }
                begin_abort(world, Some(member), profile);
            }
        });
    }

    /// Every member waits: newest first to pending.
    pub(super) fn announce(&mut self) {
        match self
            .world
            .jobs
            .iter()
            .rposition(|job| job.status == Status::Waiting)
        {
            Some(member) => self.change(
                Step::Announce(member),
                member,
                Some(Output::Status(member, Status::Pending)),
                |job| {
                    job.status = Status::Pending;
                    if !job.spec.auto_finalize && job.spec.announces() {
                        job.owes = Owes::Pending;
                    }
                },
            ),
            None => self.offer(Step::Announced, None, |world| {
                let manual = |job: &Job| !job.spec.auto_finalize && !job.is_final();
                let manual = world.jobs.iter().any(manual);
                world.group.phase = if manual {
                    Phase::Idle
                } else {
                    Phase::Preparing
                };
            }),
        }
    }

    /// Members nobody told us of: the decision comes when it comes.
    pub(super) fn decide_unseen(&mut self) {
        for (member, job) in self.world.jobs.iter().enumerate() {
            if job.status == Status::Waiting {
                self.change(
                    Step::Announce(member),
                    member,
                    Some(Output::Status(member, Status::Pending)),
                    |job| {
                        job.status = Status::Pending;
                        if !job.spec.auto_finalize && job.spec.announces() {
                            job.owes = Owes::Pending;
                        }
                    },
                );
            }
        }
        let world = self.world;
        if world
            .jobs
            .iter()
            .all(|job| job.status == Status::Pending || job.is_final())
        {
            self.offer(Step::Announced, None, |world| {
                world.group.phase = Phase::Preparing;
            });
        }
        if !world.group.aborting
            && world
                .jobs
                .iter()
                .any(|job| job.status != Status::Undefined && !job.is_final())
        {
            // A member nobody told us of brings the group down.
            let profile = self.profile;
            self.offer(Step::Announced, None, |world| {
                begin_abort(world, None, profile);
            });
        }
    }

    /// `prepare`, newest first, stopping at the first failure (2).
    pub(super) fn prepare(&mut self) {
        let (world, profile) = (self.world, self.profile);
        if let Some(member) = world
            .jobs
            .iter()
            .position(|job| job.tail == Tail::Preparing)
        {
            for well in [true, false] {
                self.offer(
                    Step::PrepareEnd(member, well),
                    Some(Output::End(member, Callback::Prepare, well)),
                    |world| end_prepare(world, member, well, profile),
                );
            }
            return;
        }
        let next = world
            .jobs
            .iter()
            .rposition(|job| job.status == Status::Pending && job.tail == Tail::None);
        match next {
            Some(member) if !profile.prepare_callback => {
                self.change(Step::PrepareEnd(member, true), member, None, |job| {
                    job.tail = Tail::Prepared;
                });
            }
            Some(member) if self.view.callbacks => self.change(
                Step::PrepareBegin(member),
                member,
                Some(Output::Begin(member, Callback::Prepare)),
                |job| job.tail = Tail::Preparing,
            ),
            Some(member) => {
                for well in [true, false] {
                    self.offer(Step::PrepareEnd(member, well), None, |world| {
                        end_prepare(world, member, well, profile);
                    });
                }
            }
            None => self.offer(Step::Decide, None, |world| {
                // A cancel that came in meanwhile folds into the result before the decision (3).
                if profile.cancel_folds && world.jobs.iter().any(Job::forced) {
                    begin_abort(world, None, profile);
                } else {
                    world.group.phase = Phase::Committing;
                    world.group.trigger = None;
                }
            }),
        }
    }

    /// Commits and concludes member after member, newest first (§3.3).
    pub(super) fn commit(&mut self) {
        let world = self.world;
        if world.jobs.iter().any(Job::in_tail) {
            return;
        }
        match world
            .jobs
            .iter()
            .rposition(|job| job.status == Status::Pending)
        {
            Some(member) => self.begin_decision(member, Callback::Commit, Tail::Committing),
            None => self.offer(Step::Close, None, |world| world.group.phase = Phase::Idle),
        }
    }

    /// Brings the members down, each at its turn; waits where a run has not ended.
    pub(super) fn abort(&mut self) {
        let world = self.world;
        let owed = |job: &Job| job.peer_cancel != PeerCancel::No;
        let begun = |job: &Job| owed(job) && job.peer_cancel != PeerCancel::Due;
        if let Some(member) = world
            .jobs
            .iter()
            .rposition(begun)
            .or_else(|| world.jobs.iter().rposition(owed))
        {
            self.peer_cancel(member);
            return;
        }
        if world.jobs.iter().any(Job::in_tail) {
            return;
        }
        let Some(turn) = world.abort_turn() else {
            self.offer(Step::Close, None, |world| world.group.phase = Phase::Idle);
            return;
        };
        let (any_order, folds) = (!self.profile.abort_newest_first, self.profile.cancel_folds);
        let open = |job: &Job| job.status != Status::Undefined && !job.is_final();
        let newest = world.jobs.iter().rposition(open);
        for (member, job) in world.jobs.iter().enumerate() {
            let ours = member == turn || (any_order && job.status != Status::Undefined);
            if !ours || job.is_final() || !job.abort_may_go_on() || self.waits_for_ever(member) {
                continue;
            }
            // The trigger of a decision that failed is not taken to aborting (2).
            let spared =
                job.status == Status::Pending && job.outcome == Outcome::Success && !job.forced();
            if spared || job.status == Status::Aborting {
                // Members are taken to aborting in any order (23), but finalised newest first.
                if any_order && newest != Some(member) && job.started() {
                    continue;
                }
                // Where a cancel does not fold, a success stays one (3).
                if job.outcome == Outcome::Success {
                    self.begin_decision(member, Callback::Commit, Tail::Committing);
                } else {
                    self.begin_decision(member, Callback::Abort, Tail::Aborting);
                }
            } else {
                self.change(
                    Step::Turn(member),
                    member,
                    Some(Output::Status(member, Status::Aborting)),
                    |job| {
                        job.status = Status::Aborting;
                        let well = job.outcome == Outcome::Success;
                        if job.outcome == Outcome::Open || (well && folds) {
                            job.outcome = Outcome::Cancelled;
                        }
                    },
                );
            }
        }
    }

    /// Tells a member that a peer brought it down: `cancel`, `user_resume` where its user had it
    /// paused, and then the force is set down (§5.2). Every member is told before any is finalised
    /// (P15).
    pub(super) fn peer_cancel(&mut self, member: usize) {
        let job = self.world.jobs[member];
        let m = member;
        let View {
            callbacks, resumes, ..
        } = self.view;
        let told = callbacks && self.profile.has_callback(Callback::Cancel);
        let level = if self.profile.peers_forced {
            Cancel::Force
        } else {
            Cancel::Revocable
        };
        let mut edge = |step, output, to| {
            self.change(step, m, Some(output), |job| job.peer_cancel = to);
        };
        match job.peer_cancel {
            PeerCancel::Due if told => edge(
                Step::PeerCancelBegin(m),
                Output::Begin(m, Callback::Cancel),
                PeerCancel::In,
            ),
            PeerCancel::In => edge(
                Step::PeerCancelEnd(m),
                Output::End(m, Callback::Cancel, true),
                PeerCancel::Told,
            ),
            PeerCancel::Due | PeerCancel::Told if job.user_paused && resumes => edge(
                Step::PeerResumeBegin(m),
                Output::Begin(m, Callback::UserResume),
                PeerCancel::UserIn,
            ),
            PeerCancel::UserIn => edge(
                Step::PeerResumeEnd(m),
                Output::End(m, Callback::UserResume, true),
                PeerCancel::UserTold,
            ),
            PeerCancel::No => {}
            PeerCancel::Due | PeerCancel::Told | PeerCancel::UserTold => {
                self.change(Step::PeerForced(m), m, None, |job| {
                    job.peer_cancel = PeerCancel::No;
                    force(job, level);
                });
            }
        }
    }

    /// An abort goes through its members in order, and waits for the run of one that was never
    /// started and was not itself cancelled: nobody behind it is finalised any more (1).
    fn waits_for_ever(&self, member: usize) -> bool {
        !self.profile.unstarted_peers_end
            && self.world.jobs[member..]
                .iter()
                .any(|job| job.status == Status::Created && job.outcome == Outcome::Open)
    }

    pub(super) fn begin_decision(&mut self, member: usize, callback: Callback, tail: Tail) {
        if self.view.callbacks {
            self.change(
                Step::DecisionBegin(member),
                member,
                Some(Output::Begin(member, callback)),
                |job| job.tail = tail,
            );
        } else {
            self.change(Step::DecisionBegin(member), member, None, |job| {
                job.tail = Tail::Completed;
            });
        }
    }

    /// The rest of one member's completion: clean, completion function, event, concluded, null.
    pub(super) fn tail(&mut self, member: usize) {
        let job = self.world.jobs[member];
        let m = member;
        let mut edge = |step, output, tail| {
            self.change(step, m, Some(output), |job| job.tail = tail);
        };
        match job.tail {
            Tail::None | Tail::Preparing | Tail::Prepared | Tail::Freed => {}
            Tail::Committing => edge(
                Step::DecisionEnd(m),
                Output::End(m, Callback::Commit, true),
                Tail::Decided,
            ),
            Tail::Aborting => edge(
                Step::DecisionEnd(m),
                Output::End(m, Callback::Abort, true),
                Tail::Decided,
            ),
            Tail::Decided => edge(
                Step::CleanBegin(m),
                Output::Begin(m, Callback::Clean),
                Tail::Cleaning,
            ),
            Tail::Cleaning => edge(
                Step::CleanEnd(m),
                Output::End(m, Callback::Clean, true),
                if job.spec.completion {
                    Tail::Cleaned
                } else {
                    Tail::Completed
                },
            ),
            Tail::Cleaned => edge(
                Step::CompletionBegin(m),
                Output::Begin(m, Callback::Completion),
                Tail::Completing,
            ),
            Tail::Completing => edge(
                Step::CompletionEnd(m),
                Output::End(m, Callback::Completion, true),
                Tail::Completed,
            ),
            Tail::Completed => {
                // P16: the event's kind follows the cancel flag, not the result (6).
                let event = if job.forced() {
                    Event::Cancelled
                } else {
                    Event::Completed {
                        error: job.outcome != Outcome::Success,
                    }
                };
                let due = job.spec.announces() && job.started();
                self.change(
                    Step::Terminal(m),
                    m,
                    due.then_some(Output::Event(m, event)),
                    |job| job.tail = Tail::Announced,
                );
            }
            Tail::Announced if !job.is_final() => {
                self.change(
                    Step::Conclude(m),
                    m,
                    Some(Output::Status(m, Status::Concluded)),
                    |job| job.status = Status::Concluded,
                );
            }
            Tail::Announced => {
                if job.status == Status::Concluded && job.dismisses_itself() {
                    self.change(
                        Step::Vanish(m),
                        m,
                        Some(Output::Status(m, Status::Null)),
                        |job| job.status = Status::Null,
                    );
                }
            }
            Tail::Freeing => edge(
                Step::FreeEnd(m),
                Output::End(m, Callback::Free, true),
                Tail::Freed,
            ),
        }
    }
}

/// The outcome of one `prepare`.
pub(super) fn end_prepare(world: &mut World, member: usize, well: bool, profile: &Profile) {
    let job = &mut world.jobs[member];
    if well {
        job.tail = Tail::Prepared;
        return;
    }
    // The failing member keeps its own error; everybody else is brought down (2).
    job.tail = Tail::None;
    job.outcome = Outcome::Failure;
    world.group.prepare_failed = true;
    let trigger = world.group.trigger.map(usize::from);
    let initiator = trigger.filter(|_| !profile.prepare_failure_takes_all);
    begin_abort(world, initiator.or(Some(member)), profile);
}

/// Brings the group down, once (P14): everybody but the initiator is cancelled by force (P15).
pub(crate) fn begin_abort(world: &mut World, initiator: Option<usize>, profile: &Profile) {
    if world.group.aborting {
        return;
    }
    world.group.aborting = true;
    world.group.phase = Phase::Aborting;
    world.group.trigger = None;
    for (member, job) in world.jobs.iter_mut().enumerate() {
        if job.status == Status::Undefined {
            // It will never come into being.
            job.starting = false;
            continue;
        }
        if Some(member) == initiator || job.is_final() {
            continue;
        }
        if job.started() {
            job.peer_cancel = PeerCancel::Due;
        } else {
            // It will never run, so there is nobody to tell (1).
            force(job, Cancel::Force);
            job.starting = false;
            if profile.unstarted_peers_end {
                job.outcome = Outcome::Cancelled;
            }
        }
    }
}

/// A cancel that stops the job is set down: the user's pause and the error that stopped it go with
/// it (§5.2).
pub(crate) fn force(job: &mut Job, level: Cancel) {
    job.cancel = job.cancel.max(level);
    job.user_paused = false;
    job.resuming = false;
    job.io_status = IoStatus::Ok;
}
