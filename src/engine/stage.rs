//! The lifecycle as types: each stage of a job is a token whose methods consume it.
//!
//! ```text
//!            early_fail
//!   Created ───────────▶ (gone)
//!   │  │ cancel
//!   │  └───────────────────────────────────────────────────────────────┐
//!   │ start                                                            │
//!   ▼         park                                                     │
//!   Running ◀──────▶ Paused<Running>                                   │
//!   │  │      leave                                                    │
//!   │  │ ready        park                                             │
//!   │  └──────▶ Ready ◀──▶ Paused<Ready>                               │
//!   │ end       │     leave                                            │
//!   └──▶ Ended ◀┘ end                                                  │
//!          │ fold: cancelled by force ───────────────────────────────▶ │
//!          │ fold: the run failed ─────────────────────────▶ Failed    │
//!          │ fold: it succeeded                               ▲   │    │
//!          ▼                                                  │   │    │
//!        Waiting ── cancel ───────────────────────────────────│───│──▶ │
//!          │ announce                            prepare fails│   │    ▼
//!          ▼                                                  │   │  Cancelled
//!        Pending ─────────────────────────────────────────────┘   │    │
//!          │   └─── cancel ───────────────────────────────────────│──▶ │
//!          │ prepare                                        abort │    │ abort
//!          ▼                                                      ▼    ▼
//!        Prepared ── cancel ─────────────────────────────▶ …     Aborted
//!          │ commit                                                 │ clean
//!          ▼           clean                                        ▼
//!        Committed ───────────────────────────────────────────▶ Cleaned
//! ```
//!
//! There is no other way to call a driver's `prepare`, `commit`, `abort` or `clean`, and no token
//! can be copied or made outside this file, so the compiler keeps these properties of SEMANTICS.md
//! §10 for every driver and every schedule:
//!
//! - commit and abort exclude each other, and neither happens twice (P8);
//! - commit follows a run and a prepare that succeeded (P9, P11, P12 for the member itself);
//! - clean happens exactly once, after commit or abort (P10); a [`Cleaned`] is the only thing that
//!   can be concluded, so it cannot be skipped;
//! - `run` is entered at most once: it needs a [`Running`], which only `start` makes (P17);
//! - a paused job goes back to where it came from before anything else becomes of it: a [`Paused`]
//!   can do nothing but [`leave`](Paused::leave) (§1b: `paused → running`, `standby → ready`);
//! - whether a job counts as cancelled is settled when it is judged, once, and its terminal event
//!   follows from that (P16, decision 6).
//!
//! A token belongs to whoever may take the next step: the creator, then the body, then the main
//! loop. Requests of others are flags in the monitor, never tokens.
//!
//! What the compiler says to someone who takes a wrong step:
//!
//! - *"use of moved value"*: the stage is over; go on with what the method returned.
//! - *"no method named `commit` found for struct `Pending`"*: a stage was skipped; the picture above
//!   shows the way.
//! - *"unused … that must be used"*: the job would be stuck in that stage.

use blockjob_model::Status;

use crate::driver::{Driver, Errno, JobError, JobOutcome};
use crate::sync::catch_panic;

/// Created and not started: the creator's, or the main loop's once the group aborts.
#[derive(Debug)]
#[must_use = "a created job is started, cancelled or given up"]
pub struct Created(());

/// Started: the body's, or its queue's.
#[derive(Debug)]
#[must_use = "a started job runs to its end"]
pub struct Running(());

/// Converged and kept so until told how to finish: the body's.
#[derive(Debug)]
#[must_use = "a ready job runs to its end"]
pub struct Ready(());

/// Parked in a pause, and bound to go back to `S`: the body's, which does nothing meanwhile.
#[derive(Debug)]
#[must_use = "a paused job leaves its pause for the stage it came from"]
pub struct Paused<S> {
    origin: S,
}

/// The run is over; its result has not been judged yet. The main loop's from here on.
#[derive(Debug)]
#[must_use = "the result of a run is judged"]
pub struct Ended {
    result: JobOutcome,
}

/// The run succeeded and nobody cancelled it; other members may still run.
#[derive(Debug)]
#[must_use = "a waiting job becomes pending with its group, or is cancelled"]
pub struct Waiting(());

/// Every member of the group succeeded; the decision is due.
#[derive(Debug)]
#[must_use = "a pending job prepares, or is cancelled"]
pub struct Pending(());

/// This member's part of the last fallible step is done.
#[derive(Debug)]
#[must_use = "a prepared job commits, or is cancelled"]
pub struct Prepared(());

/// The job failed by itself: its run or its `prepare` returned this error.
#[derive(Debug)]
#[must_use = "a failed job is aborted"]
pub struct Failed {
    error: JobError,
}

/// The job was cancelled by force, by its user or because its group aborts. An error of its own is
/// kept (SEMANTICS.md §5.3).
#[derive(Debug)]
#[must_use = "a cancelled job is aborted"]
pub struct Cancelled {
    error: JobError,
}

/// The result is permanent.
#[derive(Debug)]
#[must_use = "a committed job is cleaned"]
pub struct Committed(());

/// The result is undone.
#[derive(Debug)]
#[must_use = "an aborted job is cleaned"]
pub struct Aborted {
    error: JobError,
    cancelled: bool,
}

/// Everything is released; only the announcement is left.
#[derive(Debug)]
#[must_use = "a cleaned job is concluded"]
pub struct Cleaned {
    outcome: JobOutcome,
    cancelled: bool,
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Running {}
    impl Sealed for super::Ready {}
}

/// The stages in which the body works, and from which it may pause.
#[diagnostic::on_unimplemented(
    message = "a job cannot pause in the stage `{Self}`",
    label = "only `Running` and `Ready` jobs pause",
    note = "a job that is not started is held by its creation; one whose run is over has nothing to pause"
)]
pub trait Active: sealed::Sealed + Sized {
    /// The status while the body works.
    const STATUS: Status;
    /// The status while it is parked.
    const PARKED: Status;

    /// The body parks.
    fn park(self) -> Paused<Self> {
        Paused { origin: self }
    }
}

impl Active for Running {
    const STATUS: Status = Status::Running;
    const PARKED: Status = Status::Paused;
}

impl Active for Ready {
    const STATUS: Status = Status::Ready;
    const PARKED: Status = Status::Standby;
}

impl<S: Active> Paused<S> {
    /// The pause is over.
    pub fn leave(self) -> S {
        self.origin
    }
}

impl Created {
    pub(super) fn new() -> Created {
        Created(())
    }

    /// The job starts: its body may run it.
    pub fn start(self) -> Running {
        Running(())
    }

    /// The job is cancelled before it started; it never runs.
    pub fn cancel(self) -> Cancelled {
        Cancelled::by_request()
    }

    /// The creator gives the job up; no callback is called.
    pub fn early_fail(self) {}
}

impl Running {
    /// The job converged.
    pub fn ready(self) -> Ready {
        Ready(())
    }

    /// The run returned `result`.
    pub fn end(self, result: JobOutcome) -> Ended {
        Ended { result }
    }
}

impl Ready {
    /// The run returned `result`.
    pub fn end(self, result: JobOutcome) -> Ended {
        Ended { result }
    }
}

impl Ended {
    /// Judges the run. Success of a force-cancelled job counts as `ECANCELED`; an error is kept
    /// as it is (SEMANTICS.md §5.3, decision 3).
    ///
    /// # Errors
    ///
    /// The failure, when the run failed or was cancelled.
    pub fn fold(self, force_cancelled: bool) -> Result<Waiting, Failing> {
        if force_cancelled {
            return Err(Failing::Cancelled(self.cancel()));
        }
        match self.result {
            Ok(()) => Ok(Waiting(())),
            Err(error) => Err(Failing::Failed(Failed { error })),
        }
    }

    /// Judges the run of a job that was cancelled by force.
    pub fn cancel(self) -> Cancelled {
        Cancelled {
            error: self.result.err().unwrap_or_else(JobError::canceled),
        }
    }
}

impl Waiting {
    /// Every member waits: the decision is due.
    pub fn announce(self) -> Pending {
        Pending(())
    }

    /// The group aborts.
    pub fn cancel(self) -> Cancelled {
        Cancelled::by_request()
    }
}

impl Pending {
    /// Calls the driver's `prepare`. Main loop, without the lock.
    ///
    /// # Errors
    ///
    /// The failure, with the driver's error.
    pub fn prepare(self, driver: &dyn Driver) -> Result<Prepared, Failed> {
        match catch_panic(|| driver.prepare()) {
            Ok(Ok(())) => Ok(Prepared(())),
            Ok(Err(error)) => Err(Failed { error }),
            Err(words) => Err(Failed {
                error: panicked("prepare", &words),
            }),
        }
    }

    /// The group aborts.
    pub fn cancel(self) -> Cancelled {
        Cancelled::by_request()
    }
}

impl Prepared {
    /// Calls the driver's `commit`. Main loop, without the lock.
    pub fn commit(self, driver: &dyn Driver) -> Committed {
        infallible("commit", || driver.commit());
        Committed(())
    }

    /// The group aborts although this member has prepared.
    pub fn cancel(self) -> Cancelled {
        Cancelled::by_request()
    }
}

impl Failed {
    /// Why.
    pub fn error(&self) -> &JobError {
        &self.error
    }

    /// Calls the driver's `abort`. Main loop, without the lock.
    pub fn abort(self, driver: &dyn Driver) -> Aborted {
        infallible("abort", || driver.abort());
        Aborted {
            error: self.error,
            cancelled: false,
        }
    }
}

impl Cancelled {
    fn by_request() -> Cancelled {
        Cancelled {
            error: JobError::canceled(),
        }
    }

    /// `ECANCELED`, or the error its run ended with all the same.
    pub fn error(&self) -> &JobError {
        &self.error
    }

    /// Calls the driver's `abort`. Main loop, without the lock.
    pub fn abort(self, driver: &dyn Driver) -> Aborted {
        infallible("abort", || driver.abort());
        Aborted {
            error: self.error,
            cancelled: true,
        }
    }
}

impl Committed {
    /// Calls the driver's `clean`. Main loop, without the lock.
    pub fn clean(self, driver: &dyn Driver) -> Cleaned {
        infallible("clean", || driver.clean());
        Cleaned {
            outcome: Ok(()),
            cancelled: false,
        }
    }
}

impl Aborted {
    /// Calls the driver's `clean`. Main loop, without the lock.
    pub fn clean(self, driver: &dyn Driver) -> Cleaned {
        infallible("clean", || driver.clean());
        Cleaned {
            outcome: Err(self.error),
            cancelled: self.cancelled,
        }
    }
}

impl Cleaned {
    /// How the job ended; for the completion function.
    pub fn outcome(&self) -> &JobOutcome {
        &self.outcome
    }

    /// Whether the job counts as cancelled, which is what its terminal event says (P16).
    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// The job is over.
    pub fn conclude(self) -> JobOutcome {
        self.outcome
    }
}

/// A job that will be aborted: [`Failed`] or [`Cancelled`].
#[derive(Debug)]
#[must_use = "a failing job is aborted"]
pub enum Failing {
    /// By itself.
    Failed(Failed),
    /// By force.
    Cancelled(Cancelled),
}

impl Failing {
    /// Why.
    pub fn error(&self) -> &JobError {
        match self {
            Failing::Failed(failed) => failed.error(),
            Failing::Cancelled(cancelled) => cancelled.error(),
        }
    }

    /// Calls the driver's `abort`. Main loop, without the lock.
    pub fn abort(self, driver: &dyn Driver) -> Aborted {
        match self {
            Failing::Failed(failed) => failed.abort(driver),
            Failing::Cancelled(cancelled) => cancelled.abort(driver),
        }
    }
}

/// Calls a callback that has no way to fail. One that panics has broken its word; the other
/// members of the group still get theirs.
pub(super) fn infallible(name: &'static str, callback: impl FnOnce()) {
    if let Err(words) = catch_panic(callback) {
        tracing::error!(callback = name, %words, "a driver callback that cannot fail panicked");
    }
}

/// What a panic in a fallible callback amounts to.
pub(super) fn panicked(name: &str, words: &str) -> JobError {
    JobError::with_message(Errno::IO, format!("the driver panicked in {name}: {words}"))
}

/// Where a job's token is: the enum outside the types.
#[derive(Debug)]
pub(super) enum Stage {
    /// With nobody: waits for its creator.
    Created(Created),
    /// Started; no body thread has picked it up.
    Queued(Running),
    /// On the stack of the body thread.
    WithBody,
    /// The run is over; the main loop has not looked.
    Ended(Ended),
    /// The run succeeded; others of the group still run.
    Waiting(Waiting),
    /// The whole group succeeded and is not decided.
    Pending(Pending),
    /// Prepared; other members are not.
    Prepared(Prepared),
    /// Waits for its turn in the abort.
    Failing(Failing),
    /// On the stack of the main loop, which is calling callbacks.
    WithMainLoop,
    /// Concluded: no step is left.
    Over,
}

/// Takes the token out if the job is in that stage; whoever took it has it on their stack.
macro_rules! take {
    ($(#[$doc:meta])* $name:ident: $stage:ident($token:ty), left $left:ident) => {
        $(#[$doc])*
        pub(super) fn $name(&mut self) -> Option<$token> {
            match std::mem::replace(self, Stage::$left) {
                Stage::$stage(token) => Some(token),
                other => {
                    *self = other;
                    None
                }
            }
        }
    };
}

impl Stage {
    /// Takes the token out for the main loop.
    pub(super) fn take(&mut self) -> Stage {
        std::mem::replace(self, Stage::WithMainLoop)
    }

    take! {
        /// Takes the token of a queued body.
        take_queued: Queued(Running), left WithBody
    }
    take! {
        /// Takes the token of an unstarted job.
        take_created: Created(Created), left WithMainLoop
    }
    take! {
        /// Takes the token of a job whose run is over.
        take_ended: Ended(Ended), left WithMainLoop
    }
    take! {
        /// Takes the token of a waiting job.
        take_waiting: Waiting(Waiting), left WithMainLoop
    }
    take! {
        /// Takes the token of a pending job.
        take_pending: Pending(Pending), left WithMainLoop
    }
    take! {
        /// Takes the token of a prepared job.
        take_prepared: Prepared(Prepared), left WithMainLoop
    }
}
