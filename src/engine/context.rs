//! What a running driver holds: the run context, by stage, and the permits it gives out.
//!
//! The types say when something may be done, and the compiler's complaint says what went wrong:
//!
//! - *"cannot borrow `context` as mutable because it is also borrowed as immutable"* at a pause
//!   point, a sleep or a wait: an [`IoPermit`] is still alive; I/O would be in flight while the job
//!   is paused. Finish it and drop the permit first (P18).
//! - *"use of moved value: `context`"* after [`ready`](RunContext::ready): a job becomes ready once;
//!   go on with the context that `ready` returned.
//! - *"no method named `wait_for_finish` found for struct `RunContext<'_>`"*: only a ready job can be
//!   told to complete; call `ready` first.
//! - *"borrowed data escapes outside of method"*: the context belongs to the run and ends with it
//!   (A9).
//! - *"`Rc<()>` cannot be sent between threads safely"*, within `RunContext`: pause points belong to the
//!   body's own thread. Give other threads of the job the gate and let them ask for permits (P18).

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use blockjob_model::{ErrorAction, ErrorPolicy};

use super::body::Body;
use super::gate::LaneGate;
use super::io_error::{AfterError, IoSide, Retries};
use super::monitor::JobCore;
use super::progress::Progress;
use crate::driver::{Errno, JobError};
use crate::sync::Arc;

pub use super::stage::{Ready, Running};

/// Whether to go on after a pause point, a sleep or a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "on `Flow::Cancelled` return from the run"]
pub enum Flow {
    /// Go on. After a sleep or a wait this says nothing about why it ended: test the condition
    /// again.
    Continue,
    /// The job is cancelled by force: stop I/O and return. No call waits any more from here on.
    Cancelled,
}

/// How a ready job was told to finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "it decides what the run has to do before it returns"]
pub enum Finish {
    /// By `complete`: finish and, for a mirror, pivot.
    Complete,
    /// By a soft cancel: finish where the job stands, without pivot, with success.
    SoftCancel,
    /// By a forced cancel: stop and return.
    Cancelled,
}

/// A run in progress, in stage `S`. Body thread, which it does not leave; not copyable, and gone with the
/// run. Other threads of the job have [lane permits](crate::engine::LanePermit).
pub struct RunContext<'job, S = Running> {
    core: &'job Arc<JobCore>,
    body: &'job mut Body,
    stage: PhantomData<fn(S) -> S>,
    bound_to_thread: PhantomData<Rc<()>>,
}

/// The right to do I/O until the next pause point: it borrows the context, which pause points
/// need for themselves.
#[derive(Debug)]
#[must_use = "I/O is permitted only while the permit lives"]
pub struct IoPermit<'context> {
    context: PhantomData<&'context ()>,
}

impl<'job> RunContext<'job, Running> {
    pub(super) fn new(core: &'job Arc<JobCore>, body: &'job mut Body) -> RunContext<'job, Running> {
        RunContext {
            core,
            body,
            stage: PhantomData,
            bound_to_thread: PhantomData,
        }
    }

    /// The job has converged with its target: status `ready`, event `BLOCK_JOB_READY`. The driver
    /// answers `true` to [`supports_complete`](crate::driver::Driver::supports_complete).
    #[doc(alias = "block_job_event_ready")]
    pub fn ready(self) -> RunContext<'job, Ready> {
        self.body.ready();
        RunContext {
            core: self.core,
            body: self.body,
            stage: PhantomData,
            bound_to_thread: PhantomData,
        }
    }
}

impl RunContext<'_, Ready> {
    /// Waits until the job is told how to finish, pausing as asked meanwhile. Test and wait are one
    /// step, so a request is never missed (P25). A pause goes before a completion: a job that is
    /// completed in standby finishes once it is resumed (SEMANTICS.md §2.7).
    pub fn wait_for_finish(&mut self) -> Finish {
        self.body.wait_for_finish()
    }

    /// Whether the job was told to finish by [`complete`](crate::driver::Driver::complete) or by a
    /// cancel: for drivers that keep working while ready. Takes the engine's lock.
    pub fn finish_requested(&self) -> bool {
        let guard = self.body.monitor.lock();
        guard
            .job(self.core.key)
            .is_none_or(|job| job.complete_told || job.cancel != super::monitor::CancelLevel::No)
    }
}

impl<'job, S> RunContext<'job, S> {
    /// Stops here while the job is paused. With no request: one load, at most 2 ns.
    ///
    /// A pause calls the driver's `pause`, waits for I/O that the [gate](Self::gate) counts,
    /// acknowledges (`paused` or `standby`), waits for the last resume or a forced cancel, and
    /// calls `resume`.
    #[inline]
    #[doc(alias = "block_job_pause_point")]
    pub fn pause_point(&mut self) -> Flow {
        match self.core.control.attention() {
            0 => Flow::Continue,
            attention => self.body.attend(attention),
        }
    }

    /// Sleeps for `duration`, or less: a pause, a resume, a cancel, a higher speed limit or an
    /// [enter](super::handle::JobHandle::enter) ends it early and what is left of it is forgotten
    /// (SEMANTICS.md §4.5). Contains a pause point. Zero is a pause point and nothing else.
    #[doc(alias = "block_job_sleep_ns")]
    pub fn sleep(&mut self, duration: Duration) -> Flow {
        if duration.is_zero() {
            return self.pause_point();
        }
        self.body.sleep_or_wait(Some(duration))
    }

    /// Waits until somebody [enters](super::handle::JobHandle::enter) the job, pauses it or
    /// cancels it. An enter since the last wait counts (decision 11). Contains a pause point.
    #[doc(alias = "block_job_yield")]
    pub fn wait(&mut self) -> Flow {
        self.body.sleep_or_wait(None)
    }

    /// Charges `bytes` of work done against the speed limit and sleeps as long as it says.
    /// Without a limit: a pause point.
    pub fn throttle(&mut self, bytes: u64) -> Flow {
        let delay = self.charge(bytes);
        self.sleep(delay)
    }

    /// Charges `bytes` of work done against the speed limit and returns how long to wait before
    /// the next piece, zero for none (SEMANTICS.md §9.2).
    pub fn charge(&self, bytes: u64) -> Duration {
        self.core.charge(&self.body.monitor, bytes)
    }

    /// Permits I/O until the next pause point.
    pub fn io(&self) -> IoPermit<'_> {
        IoPermit {
            context: PhantomData,
        }
    }

    /// An I/O error, and what the user's policy makes of it (SEMANTICS.md §8). Announces
    /// `BLOCK_JOB_ERROR`, whatever the action.
    ///
    /// [`ErrorAction::Report`]: return the error. [`ErrorAction::Ignore`]: go on; who tries the same
    /// again does so with a limit ([`after_error`](Self::after_error) has one).
    /// [`ErrorAction::Stop`]: the job has taken its user's pause, if that was free, and remembers the
    /// first such error until the user resumes; the next pause point parks, and then the driver tries
    /// again.
    #[must_use = "the engine retries nothing and fails nothing: the driver does"]
    #[doc(alias = "block_job_error_action")]
    pub fn error_action(&self, policy: ErrorPolicy, side: IoSide, errno: Errno) -> ErrorAction {
        let no_space = errno == Errno::NO_SPACE;
        let action = policy.action(no_space);
        self.body.io_error(side, action, no_space);
        action
    }

    /// [`error_action`](Self::error_action), and what a driver that retries does about it: says that
    /// the run is to end, or returns when the piece is to be tried again, after the user's resume or
    /// the delay of `retries`. An error that `ignore` has let pass as often as `retries` allows is
    /// reported after all (decision 32). Call [`Retries::reset`] for each piece that goes through.
    pub fn after_error(
        &mut self,
        policy: ErrorPolicy,
        side: IoSide,
        error: JobError,
        retries: &mut Retries,
    ) -> AfterError {
        let no_space = error.errno == Errno::NO_SPACE;
        let (action, delay) = match policy.action(no_space) {
            ErrorAction::Ignore => match retries.spend() {
                Some(delay) => (ErrorAction::Ignore, delay),
                None => (ErrorAction::Report, Duration::ZERO),
            },
            action => (action, Duration::ZERO),
        };
        self.body.io_error(side, action, no_space);
        match action {
            ErrorAction::Report => return AfterError::GiveUp(error),
            ErrorAction::Stop => retries.reset(),
            ErrorAction::Ignore => {}
        }
        match self.sleep(delay) {
            Flow::Continue => AfterError::Retry,
            Flow::Cancelled => AfterError::Cancelled,
        }
    }

    /// Whether a cancel was requested, softly or by force. One load.
    #[doc(alias = "block_job_is_cancelled")]
    pub fn cancel_requested(&self) -> bool {
        self.core.control.is_cancel_requested()
    }

    /// The job's progress, in bytes. Lanes may hold it as long as the run lasts.
    pub fn progress(&self) -> &'job Progress {
        &self.core.progress
    }

    /// The speed limit in bytes per second, 0 for none.
    pub fn speed_bytes_per_s(&self) -> u64 {
        self.core.speed_bytes_per_s.get()
    }

    /// The manager's clock: monotonic, counted from the manager's creation.
    pub fn now(&self) -> Duration {
        self.body.monitor.now()
    }

    /// The gate through which other workers of this job do their I/O. They may clone it; nobody
    /// enters it after the run has returned, and the run's end waits for who is inside.
    pub fn gate(&mut self) -> LaneGate {
        self.body.gate_used = true;
        LaneGate::new(Arc::clone(&self.body.monitor), Arc::clone(self.core))
    }

    /// The job's id.
    pub fn id(&self) -> &'job str {
        &self.core.id
    }
}

impl<S> fmt::Debug for RunContext<'_, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RunContext")
            .field("job", &self.core.id)
            .finish_non_exhaustive()
    }
}
