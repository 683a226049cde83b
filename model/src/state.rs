//! The world the specification speaks of: the jobs of one transaction, and what their main loop
//! and their callers are in the middle of.
//!
//! Transactions share nothing but the main loop's time, so one world holds one transaction (a
//! single job is a transaction of one, SEMANTICS.md §6.1), and several are judged side by side.
//! Members stand in the order of their creation; the main loop takes them newest first.

use core::hash::{Hash, Hasher};

use crate::error_policy::IoStatus;
use crate::profile::Profile;
use crate::status::Status;
use crate::step::{View, skips_run};
use crate::vocabulary::{Callback, Reply, Request};

/// What is fixed about a job when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobSpec {
    /// The transaction decides by itself once every member waits; else its user finalizes.
    pub auto_finalize: bool,
    /// A concluded job vanishes by itself; else its user dismisses it.
    pub auto_dismiss: bool,
    /// It has a `complete` callback: it can become ready, and a soft cancel then lets it finish.
    pub can_complete: bool,
    /// It ends well only when told to (a mirror): ready first, then complete or soft cancel.
    pub needs_finish: bool,
    /// It is a block job: `BLOCK_JOB_*` events and `block-job-*` commands are for these alone.
    pub block: bool,
    /// It has no id: no events, no place in lists, no commands; its creator alone has a handle.
    pub internal: bool,
    /// Its creator gave it a completion function.
    pub completion: bool,
}

impl JobSpec {
    /// A block job that runs to its end by itself, decided and dismissed automatically.
    pub const PLAIN: JobSpec = JobSpec {
        auto_finalize: true,
        auto_dismiss: true,
        can_complete: false,
        needs_finish: false,
        block: true,
        internal: false,
        completion: true,
    };

    /// It has `BLOCK_JOB_*` events.
    pub const fn announces(self) -> bool {
        self.block && !self.internal
    }
}

/// Where the body of a job is: the coroutine in QEMU, the worker here (SEMANTICS.md §4.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Body {
    /// Not started.
    Unstarted,
    /// In driver code, between two pause points.
    Moving,
    /// Inside a pause point: it goes on with whatever it saw at some moment since it came there
    /// ([`Job::may_pass`], [`Job::may_pause`]).
    AtPoint,
    /// Inside `pause`.
    PauseIn,
    /// `pause` returned; looks again.
    PauseDone,
    /// Parked: `paused` is acknowledged.
    Parked,
    /// Left the park, is about to call `resume`.
    Unparked,
    /// Inside `resume`.
    ResumeIn,
    /// In a sleep: its timer is armed (§4.3).
    Asleep,
    /// In a wait without a timer (§4.3, yield).
    Yielded,
    /// `run` returned; the engine has not taken note.
    Returned,
    /// The run's end is recorded; the main loop will take it over. Never entered again.
    Ended,
}

/// How a job's run ended, as far as decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// Not known yet.
    Open,
    /// Success.
    Success,
    /// An error of its own.
    Failure,
    /// `ECANCELED`.
    Cancelled,
}

/// How far the main loop has taken a job's completion (SEMANTICS.md §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Tail {
    /// Nothing yet.
    None,
    /// Inside `prepare`.
    Preparing,
    /// `prepare` succeeded.
    Prepared,
    /// Inside `commit`.
    Committing,
    /// Inside `abort`.
    Aborting,
    /// `commit` or `abort` returned.
    Decided,
    /// Inside `clean`.
    Cleaning,
    /// `clean` returned.
    Cleaned,
    /// Inside the completion function.
    Completing,
    /// The completion function returned.
    Completed,
    /// The terminal event is out (or none is due).
    Announced,
    /// Gone, and inside `free`.
    Freeing,
    /// `free` returned, or nobody was there to free.
    Freed,
}

/// The level of a cancel request; it only rises (P6), but for [`Cancel::Revocable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Cancel {
    /// None.
    No,
    /// Finish where you stand.
    Soft,
    /// Give up, unless the driver has converged, takes this back and finishes (37): what a soft
    /// cancel was before QEMU 6.2.
    Revocable,
    /// Give up.
    Force,
}

/// The callbacks a member is owed because a peer brought the group down (§3.1, §5.2): `cancel`, and
/// `user_resume` where its user had it paused. Then the force is set down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum PeerCancel {
    /// Not due, or done.
    No,
    /// Due.
    Due,
    /// `cancel` is running.
    In,
    /// `cancel` has returned; what follows from it is set down in a section of its own.
    Told,
    /// It was paused by its user: `user_resume` is running.
    UserIn,
    /// `user_resume` has returned.
    UserTold,
}

/// An announcement that must follow before anything else happens to the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Owes {
    /// Nothing.
    Nothing,
    /// `BLOCK_JOB_READY`.
    Ready,
    /// `BLOCK_JOB_PENDING`.
    Pending,
}

/// One job, as far as the specification is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job {
    /// What observers see.
    pub status: Status,
    /// Where its body is.
    pub body: Body,
    /// `run` has begun.
    pub entered: bool,
    /// A start was asked for and has not taken effect.
    pub starting: bool,
    /// How its run ended.
    pub outcome: Outcome,
    /// How far its completion is.
    pub tail: Tail,
    /// The level of the cancel request.
    pub cancel: Cancel,
    /// Its `cancel` callback, where a peer brought the group down.
    pub peer_cancel: PeerCancel,
    /// The user's pause, or a stop error, holds it.
    pub user_paused: bool,
    /// A stop error came while its user's pause, or another error, held it, and holds it once more
    /// (8): nobody releases that.
    pub stacked: bool,
    /// Its user's pause is over, and `user_resume` has not returned: it stays where it is until then.
    pub resuming: bool,
    /// The I/O error that stopped it.
    pub io_status: IoStatus,
    /// Somebody entered it: its sleep or wait ends, or the next one does if it is busy (11).
    pub woken: bool,
    /// One bit for each outstanding `pause_all` or drained section that holds it.
    pub holds: u8,
    /// One bit for each drained section that holds it and has found it quiet.
    pub drained: u8,
    /// The body cannot have missed the requests above: it has synchronised since.
    pub seen: bool,
    /// At a pause point: at some moment since it came there it could have gone on.
    pub may_pass: bool,
    /// At a pause point: at some moment since it came there it could have seen a request.
    pub may_pause: bool,
    /// A complete request was accepted.
    pub complete: bool,
    /// Pieces of I/O under way.
    pub in_flight: u8,
    /// What must be announced before anything else.
    pub owes: Owes,
    /// What was fixed at its creation.
    pub spec: JobSpec,
}

impl Hash for Job {
    /// Two words, not one a field: whoever keeps sets of worlds does little else.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Job {
            status,
            body,
            entered,
            starting,
            outcome,
            tail,
            cancel,
            peer_cancel,
            user_paused,
            stacked,
            resuming,
            io_status,
            woken,
            holds,
            drained,
            seen,
            may_pass,
            may_pause,
            complete,
            in_flight,
            owes,
            spec,
        } = *self;
        let JobSpec {
            auto_finalize,
            auto_dismiss,
            can_complete,
            needs_finish,
            block,
            internal,
            completion,
        } = spec;
        state.write_u64(u64::from_le_bytes([
            status as u8,
            body as u8,
            outcome as u8,
            tail as u8,
            cancel as u8,
            peer_cancel as u8,
            io_status as u8,
            owes as u8,
        ]));
        let flags = [
            entered,
            starting,
            user_paused,
            stacked,
            resuming,
            woken,
            seen,
            may_pass,
            may_pause,
            complete,
            auto_finalize,
            auto_dismiss,
            can_complete,
            needs_finish,
            block,
            internal,
            completion,
        ];
        let flags = flags
            .iter()
            .fold(0, |bits, &flag| bits << 1 | u64::from(flag));
        let counts = [holds, drained, in_flight].map(u64::from);
        state.write_u64(counts.iter().fold(flags, |word, count| word << 8 | count));
    }
}

impl Job {
    /// A job about to be created.
    pub const fn new(spec: JobSpec) -> Job {
        Job {
            status: Status::Undefined,
            body: Body::Unstarted,
            entered: false,
            starting: false,
            outcome: Outcome::Open,
            tail: Tail::None,
            cancel: Cancel::No,
            peer_cancel: PeerCancel::No,
            user_paused: false,
            stacked: false,
            resuming: false,
            io_status: IoStatus::Ok,
            woken: false,
            holds: 0,
            drained: 0,
            seen: true,
            may_pass: false,
            may_pause: false,
            complete: false,
            in_flight: 0,
            owes: Owes::Nothing,
            spec,
        }
    }

    /// Somebody wants it paused, whatever its cancel level.
    pub const fn pause_wanted(&self) -> bool {
        self.user_paused || self.stacked || self.resuming || self.holds != 0
    }

    /// A pause point has to stop: a pause is wanted and no forced cancel overrides it.
    pub const fn should_pause(&self) -> bool {
        self.pause_wanted() && !self.forced()
    }

    /// Comes to `body`, a place where the outcome of a look at the requests decides.
    ///
    /// The look itself is not a step: its possible results are noted as they become possible
    /// (`note`), so that a crowd of jobs at their pause points is one state and not 2ⁿ.
    pub const fn come_to(&mut self, body: Body) {
        self.body = body;
        self.may_pass = false;
        self.may_pause = false;
    }

    /// Notes what a look at the requests would show now; called after every step.
    ///
    /// With [`View::late_reads`], the first look of a pause point may miss a request the body has
    /// not synchronised with; the one after `pause` is part of the section that parks (§4.9), and
    /// every look before the first step is a section: nobody is run who was cancelled before (24).
    pub(crate) const fn note(&mut self, view: View, profile: &Profile) {
        if matches!(self.body, Body::Moving) && view.callbacks && !view.points {
            // A pause point that nobody sees may have looked at any moment since.
            self.may_pass = false;
            self.may_pause = self.may_pause || self.should_pause();
        } else if !matches!(self.body, Body::AtPoint | Body::PauseDone) {
            self.may_pass = false;
            self.may_pause = false;
        } else if self.should_pause() {
            self.may_pause = true;
            let misses =
                view.late_reads && !self.seen && self.entered && matches!(self.body, Body::AtPoint);
            self.may_pass = self.may_pass || misses;
        } else if !(matches!(self.body, Body::AtPoint) && skips_run(self, profile)) {
            self.may_pass = true;
        }
    }

    /// Cancelled in the sense that stops it: by force, and not taken back.
    pub const fn forced(&self) -> bool {
        matches!(self.cancel, Cancel::Revocable | Cancel::Force)
    }

    /// It was started (and stays so to the end).
    pub const fn started(&self) -> bool {
        !matches!(self.body, Body::Unstarted)
    }

    /// A drained section need not wait for it: not started, held before its first step, parked in a
    /// pause, or its run is over (§4.7). Whoever is quiet and held stays so.
    pub const fn is_quiet(&self) -> bool {
        match self.body {
            Body::Unstarted | Body::Ended => true,
            // A forced cancel is about to end the park.
            Body::Parked => self.should_pause(),
            // Started while it is held, it has done nothing, and parks before its first step.
            Body::AtPoint | Body::PauseIn | Body::PauseDone | Body::Unparked | Body::ResumeIn => {
                !self.entered && self.should_pause()
            }
            _ => false,
        }
    }

    /// Its run is over, or it never had one.
    pub const fn at_rest(&self) -> bool {
        matches!(self.body, Body::Unstarted | Body::Ended)
    }

    /// At its turn in an abort the main loop goes on with it, and need not wait for its run or
    /// take that over first.
    pub const fn abort_may_go_on(&self) -> bool {
        !self.started() || (self.at_rest() && self.status.is_completed())
    }

    /// Concluded or gone.
    pub const fn is_final(&self) -> bool {
        matches!(self.status, Status::Concluded | Status::Null)
    }

    /// Begun its completion and not finished it; the main loop is busy with it.
    pub const fn in_tail(&self) -> bool {
        !matches!(self.tail, Tail::None | Tail::Prepared) && !self.is_final()
            || (matches!(self.status, Status::Concluded) && self.dismisses_itself())
            || matches!(self.tail, Tail::Freeing)
    }

    /// Gone with everything it had; where drivers are not told, that is nothing.
    pub const fn is_freed(&self, profile: &Profile) -> bool {
        matches!(self.status, Status::Null)
            && (matches!(self.tail, Tail::Freed) || !profile.free_callback)
    }

    /// It does not stay concluded: its user did not ask to dismiss it, or it never ran (28).
    pub const fn dismisses_itself(&self) -> bool {
        self.spec.auto_dismiss || !self.started()
    }
}

/// What the main loop is doing for the transaction as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Nothing: members run, or wait, or the transaction waits for its user, or it is over.
    Idle,
    /// Every member waits: taking them to pending.
    Announcing,
    /// Calling `prepare`, newest first.
    Preparing,
    /// Calling `commit` … and concluding, newest first.
    Committing,
    /// Bringing every member down.
    Aborting,
}

/// The transaction itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    /// What is going on.
    pub phase: Phase,
    /// It is being brought down; never cleared (P14).
    pub aborting: bool,
    /// A member's `prepare` failed.
    pub prepare_failed: bool,
    /// The member whose end, or whose `finalize`, brought the decision about; kept only where it
    /// matters (2).
    pub trigger: Option<u8>,
    /// It has members nobody told us of, so its decision may come at any time.
    pub open: bool,
    /// Somebody else also sends requests, unseen.
    pub others: bool,
    /// One bit for each outstanding drained section on the resources of every member: who is
    /// created meanwhile begins held (35).
    pub drained: u8,
}

impl Group {
    /// A transaction whose members and callers are all known.
    pub const CLOSED: Group = Group {
        phase: Phase::Idle,
        aborting: false,
        prepare_failed: false,
        trigger: None,
        open: false,
        others: false,
        drained: 0,
    };
}

/// How far a call has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallState {
    /// Sent; has not taken effect.
    Issued,
    /// Its driver callback is running on the main loop.
    InCallback {
        /// For a cancel: the driver made it a forced one.
        forced: bool,
    },
    /// The main loop has accepted it; its driver callback is about to begin. What was read for
    /// the decision may change meanwhile (P28).
    Accepted {
        /// For a cancel: the driver makes it a forced one.
        forced: bool,
    },
    /// Its driver callback has returned; what it asked for is set down in a section of its own, and
    /// others may come between (SEMANTICS.md §4.9, Cancel; P28).
    Told {
        /// For a cancel: the driver made it a forced one.
        forced: bool,
    },
    /// The job was paused by its user, whose `user_resume` is running on the main loop.
    InUserResume,
    /// `user_resume` has returned.
    UserResumed,
    /// The main loop is inside `drain` or `drained_poll` of this member, for a drained section.
    InDrain {
        /// Whose.
        member: u16,
        /// Which.
        callback: Callback,
    },
    /// Took effect; the answer comes when what follows at once is done: by the main loop, or, for a
    /// start, when the jobs run, for a drained section, when they are quiet.
    Awaiting,
    /// Took effect and has an answer.
    Answered(Reply),
    /// A query took this picture, one entry a member.
    Looked(Vec<Sight>),
}

/// What a query shows of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sight {
    /// Its status; `null` and `undefined` are not listed.
    pub status: Status,
    /// A pause is requested: by the user, a stop error, or `pause_all`.
    pub pause_wanted: bool,
    /// `io-status` is not `ok`.
    pub io_failed: bool,
    /// The main loop knows that its run failed or was cancelled.
    pub failed: bool,
}

/// A call under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    /// Who calls; one call at a time each.
    pub thread: u16,
    /// Which member it is for; `None` = every member.
    pub member: Option<u16>,
    /// What is asked.
    pub request: Request,
    /// It came through a `block-job-*` command.
    pub block: bool,
    /// Asked from inside a callback of the main loop: answered then and there that it was taken, and
    /// carried out when the main loop is free.
    pub posted: bool,
    /// How far it has come.
    pub state: CallState,
}

/// One transaction with its members and the calls under way on them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct World {
    /// The members, oldest first.
    pub jobs: Vec<Job>,
    /// The transaction.
    pub group: Group,
    /// Calls under way, in the order of their threads.
    pub calls: Vec<Call>,
}

impl World {
    /// A transaction with these members, none of them created yet.
    pub fn new(group: Group, specs: impl IntoIterator<Item = JobSpec>) -> World {
        World {
            jobs: specs.into_iter().map(Job::new).collect(),
            group,
            calls: Vec::new(),
        }
    }

    /// Becomes equal to `other`, in the memory it has.
    #[inline]
    pub(crate) fn copy_from(&mut self, other: &World) {
        if self.jobs.len() == other.jobs.len() {
            // So few that a call to copy them would cost more.
            for (to, from) in self.jobs.iter_mut().zip(&other.jobs) {
                *to = *from;
            }
        } else {
            self.jobs.clone_from(&other.jobs);
        }
        self.group = other.group;
        if self.calls.len() == other.calls.len() {
            for (to, from) in self.calls.iter_mut().zip(&other.calls) {
                to.clone_from(from);
            }
        } else {
            self.calls.clone_from(&other.calls);
        }
    }

    /// Nothing can happen to it any more but that its driver is let go of: every member is final
    /// and no call is open.
    pub fn is_over(&self) -> bool {
        // Nobody joins a transaction that was brought down.
        let never = |job: &Job| job.status == Status::Undefined && self.group.aborting;
        let over = |job: &Job| job.is_final() && !job.in_tail();
        self.calls.is_empty() && self.jobs.iter().all(|job| over(job) || never(job))
    }

    /// Over, and every driver that has to be was let go of.
    pub fn is_freed(&self, profile: &Profile) -> bool {
        self.is_over()
            && self
                .jobs
                .iter()
                .all(|job| job.status != Status::Null || job.is_freed(profile))
    }

    /// The member whose turn it is in an abort: never-started ones at once (1), then the newest
    /// (31). `None` when every member is final.
    pub fn abort_turn(&self) -> Option<usize> {
        // Who never came into being is no member.
        let open =
            |job: &Job| job.status != Status::Undefined && (!job.is_final() || job.in_tail());
        self.jobs
            .iter()
            .rposition(Job::in_tail)
            .or_else(|| {
                self.jobs
                    .iter()
                    .rposition(|job| open(job) && !job.started())
            })
            .or_else(|| self.jobs.iter().rposition(open))
    }

    /// The main loop is inside the driver callback of a request.
    pub fn in_request_callback(&self) -> bool {
        self.calls.iter().any(|call| {
            matches!(
                call.state,
                CallState::Accepted { .. }
                    | CallState::InCallback { .. }
                    | CallState::Told { .. }
                    | CallState::InUserResume
                    | CallState::UserResumed
                    | CallState::InDrain { .. }
            )
        })
    }

    /// The main loop is in the middle of something of this transaction and will go on by itself.
    ///
    /// An abort that waits for a member's run is not: the main loop serves others meanwhile.
    pub fn main_is_busy(&self) -> bool {
        self.in_request_callback()
            || self.jobs.iter().any(Job::in_tail)
            || match self.group.phase {
                Phase::Idle => false,
                Phase::Announcing | Phase::Preparing | Phase::Committing => true,
                Phase::Aborting => {
                    self.jobs
                        .iter()
                        .any(|job| job.peer_cancel != PeerCancel::No)
                        // It may be waiting for the run of a member that nobody told us of.
                        || (!self.group.open
                            && self
                                .abort_turn()
                                .is_some_and(|member| self.jobs[member].abort_may_go_on()))
                }
            }
    }
}
