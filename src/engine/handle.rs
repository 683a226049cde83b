//! The shared handle: what everybody but the creator holds of a job.

use std::fmt;

use blockjob_model::Status;

use super::drain::{self, DrainedSection, Scope};
use super::error::EngineError;
use super::executor::Context;
use super::monitor::{JobCore, Monitor};
use super::query::{self, JobInfo, QueriedBlockJob};
use super::verbs::{self, Accepted, Request};
use crate::driver::JobOutcome;
use crate::sync::Arc;

/// How a job is to be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelMode {
    /// As `block-job-cancel`: a ready job finishes where it stands, with success; any other gives
    /// up. Refused while the user has the job paused.
    Soft,
    /// As `job-cancel`, or `block-job-cancel` with `force`: gives up, paused or not.
    Force,
}

/// A job, for everybody: cheap to clone, any thread. Misuse is answered with errors that name the
/// job, its state and the verb; nothing changes then (P2).
///
/// [`resume`](Self::resume), [`cancel`](Self::cancel), [`complete`](Self::complete),
/// [`finalize`](Self::finalize), [`set_speed`](Self::set_speed) and, while it is in the middle of a task,
/// [`dismiss`](Self::dismiss) are carried out by the main loop; the caller waits for the answer, so
/// somebody must be running it. On the main loop's own thread they are carried out at once, except
/// inside a callback: there they are *posted*. What is refused is refused at once; success means
/// accepted, and the main loop carries the request out after what it is in the middle of, if the job still
/// accepts it then. Once the main loop was dropped they answer [`EngineError::MainLoopGone`].
///
/// What waits ([`wait_for`](Self::wait_for), the `*_sync` calls, [`drained_begin`](Self::drained_begin))
/// answers [`EngineError::WouldDeadlock`] on the main loop's thread and in the job's own body.
#[derive(Clone)]
#[doc(alias = "BlockJob")]
#[doc(alias = "block_job_ref")]
#[doc(alias = "block_job_unref")]
pub struct JobHandle {
    monitor: Arc<Monitor>,
    core: Arc<JobCore>,
}

/// What a group decided, once and for all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Every member prepared: each commits.
    Commit,
    /// One failed, or was cancelled: each aborts.
    Abort,
}

impl JobHandle {
    pub(super) fn new(monitor: Arc<Monitor>, core: Arc<JobCore>) -> JobHandle {
        JobHandle { monitor, core }
    }

    /// The id; of an internal job the name it has in traces.
    pub fn id(&self) -> &str {
        &self.core.id
    }

    /// The name of the transaction it is a member of.
    pub(crate) fn group(&self) -> Option<&str> {
        self.core.group_name.as_deref()
    }

    /// The status now; `null` once the job is gone.
    pub fn status(&self) -> Status {
        verbs::status(&self.monitor, self.core.key)
    }

    /// Whether the `block-job-*` commands may speak of it.
    pub fn is_block_job(&self) -> bool {
        self.core.kind.block
    }

    /// Everything there is to say about the job, also an internal one.
    pub fn info(&self) -> JobInfo {
        query::info(&self.monitor, &self.core)
    }

    /// The job's line of `query-block-jobs`.
    ///
    /// # Errors
    ///
    /// `Cannot query QEMU internal jobs`; `Block job '%s' not found` for a job that is no block job or
    /// is gone.
    #[doc(alias = "block_job_query")]
    pub fn query(&self) -> Result<QueriedBlockJob, EngineError> {
        query::one_block_job(&self.monitor.lock(), &self.core)
    }

    /// Bytes done and bytes in total, without any lock.
    pub fn progress_bytes(&self) -> (u64, u64) {
        let current = self.core.progress.current();
        (current, self.core.progress.total())
    }

    /// `job-pause`: the job stops at its next pause point, which it reports as `paused` or
    /// `standby`. Any thread, at once.
    ///
    /// # Errors
    ///
    /// The verb table's refusal, then `Job is already paused`.
    #[doc(alias = "block_job_user_pause")]
    pub fn pause(&self) -> Result<(), EngineError> {
        verbs::pause(&self.monitor, &self.core)
    }

    /// `job-resume`: takes the user's pause, or a stop error, away. The driver is told
    /// ([`Driver::user_resume`](crate::driver::Driver::user_resume)) before the job goes on; a pause or a
    /// stop error that comes meanwhile is a new one and wins.
    ///
    /// # Errors
    ///
    /// `Can't resume a job that was not paused`, then the verb table's refusal.
    #[doc(alias = "block_job_user_resume")]
    pub fn resume(&self) -> Result<(), EngineError> {
        self.request(Request::Resume)
    }

    /// `block-job-cancel`, `job-cancel`. The answer says that the request was accepted; for a job
    /// that is unstarted, waiting or pending the abort has gone as far as it can by then.
    ///
    /// # Errors
    ///
    /// [`CancelMode::Soft`] of a job its user has paused: `The block job for device '%s' is
    /// currently paused`; then the verb table's refusal.
    #[doc(alias = "block_job_cancel")]
    pub fn cancel(&self, mode: CancelMode) -> Result<(), EngineError> {
        self.request(Request::Cancel {
            force: mode == CancelMode::Force,
        })
    }

    /// `job-complete`: tells a ready job to finish. Repeating it does nothing (decision 17).
    ///
    /// # Errors
    ///
    /// The verb table's refusal, then, after an accepted cancel or for a driver without
    /// `complete`, `The active block job '%s' cannot be completed`.
    #[doc(alias = "block_job_complete")]
    pub fn complete(&self) -> Result<(), EngineError> {
        self.request(Request::Complete)
    }

    /// `job-finalize`: decides the job's group, whichever member is named.
    ///
    /// # Errors
    ///
    /// The verb table's refusal; [`EngineError::PrepareFailed`] when the decision was to abort
    /// (decision 20).
    pub fn finalize(&self) -> Result<(), EngineError> {
        self.request(Request::Finalize)
    }

    /// `job-dismiss`: forgets a concluded job; its id is free.
    ///
    /// # Errors
    ///
    /// The verb table's refusal.
    pub fn dismiss(&self) -> Result<(), EngineError> {
        self.request(Request::Dismiss)
    }

    /// `block-job-set-speed`, in bytes per second, 0 for no limit. Ends the job's sleep if the limit is
    /// lifted or raised (SEMANTICS.md §9.1), and never its pause.
    ///
    /// # Errors
    ///
    /// The verb table's refusal, then `Parameter 'speed' expects a non-negative value`.
    #[doc(alias = "block_job_set_speed")]
    pub fn set_speed(&self, bytes_per_s: i64) -> Result<(), EngineError> {
        self.request(Request::SetSpeed { bytes_per_s })
    }

    /// Forgets the error that stopped the job, as the VM's `cont` does, and leaves it paused: its user
    /// resumes it (SEMANTICS.md §8). Nothing happens where no error is remembered. Any thread, at once.
    ///
    /// # Errors
    ///
    /// `Job not found`, once the job is gone.
    #[doc(alias = "block_job_iostatus_reset")]
    pub fn reset_io_status(&self) -> Result<(), EngineError> {
        verbs::reset_io_status(&self.monitor, &self.core)
    }

    /// Ends the body's sleep or wait early, or the next one if it is busy. Any thread.
    #[doc(alias = "block_job_enter")]
    pub fn enter(&self) {
        verbs::enter(&self.monitor, self.core.key);
    }

    /// Waits until the job is concluded or gone, and says how it ended. Not on the main loop's
    /// thread.
    ///
    /// # Errors
    ///
    /// [`EngineError::WouldDeadlock`] on the main loop's thread, [`EngineError::MainLoopGone`],
    /// [`EngineError::NeverStarted`] for a job that its creator gave up.
    pub fn wait_concluded(&self) -> Result<JobOutcome, EngineError> {
        self.wait_for(&[Status::Concluded, Status::Null])?;
        self.outcome().ok_or_else(|| EngineError::NeverStarted {
            id: self.core.id.clone(),
        })
    }

    /// Waits until the job is in one of `statuses`, or can come to none of them any more (a job
    /// that failed never becomes ready), and says which status it has. A status that the job only
    /// passes through can be missed, so name those that it stays in. Not on the main loop's thread.
    ///
    /// # Errors
    ///
    /// [`EngineError::WouldDeadlock`] on the main loop's thread, [`EngineError::MainLoopGone`].
    pub fn wait_for(&self, statuses: &[Status]) -> Result<Status, EngineError> {
        self.monitor.wait_until(self.core.key, |state| {
            let status = state
                .job(self.core.key)
                .map_or(Status::Null, |job| job.status);
            // A job that ends otherwise must not leave its waiters waiting.
            let answers = statuses.contains(&status) || !may_still_reach(status, statuses);
            answers.then_some(status)
        })
    }

    /// How the job ended, once it has concluded; also after it is gone.
    pub fn outcome(&self) -> Option<JobOutcome> {
        self.core.outcome.get().cloned()
    }

    /// [`cancel`](Self::cancel) and [`wait_concluded`](Self::wait_concluded).
    ///
    /// # Errors
    ///
    /// Those of the two, [`EngineError::WouldDeadlock`] first.
    #[doc(alias = "block_job_cancel_sync")]
    pub fn cancel_sync(&self, mode: CancelMode) -> Result<JobOutcome, EngineError> {
        self.finish_sync(|job| job.cancel(mode))
    }

    /// [`complete`](Self::complete) and [`wait_concluded`](Self::wait_concluded): success means
    /// concluded (decision 19).
    ///
    /// # Errors
    ///
    /// Those of the two, [`EngineError::WouldDeadlock`] first.
    #[doc(alias = "block_job_complete_sync")]
    pub fn complete_sync(&self) -> Result<JobOutcome, EngineError> {
        self.finish_sync(JobHandle::complete)
    }

    /// `job_finish_sync`: asks the job to finish by `finisher`, and [waits](Self::wait_concluded) until it is
    /// concluded. What `finisher` answers other than success is the answer, and nothing is waited for.
    ///
    /// A job whose user finalizes, dismisses or resumes it needs somebody else to do so: success
    /// means concluded (decision 19), where QEMU's means that the run is over.
    ///
    /// # Errors
    ///
    /// [`EngineError::WouldDeadlock`] first, those of `finisher`, then those of
    /// [`wait_concluded`](Self::wait_concluded).
    pub fn finish_sync(
        &self,
        finisher: impl FnOnce(&JobHandle) -> Result<(), EngineError>,
    ) -> Result<JobOutcome, EngineError> {
        self.monitor.may_wait(&self.monitor.lock(), self.core.key)?;
        finisher(self)?;
        self.wait_concluded()
    }

    /// Waits until it is settled whether the job commits or aborts (decision 19), which is before it
    /// does.
    ///
    /// # Errors
    ///
    /// Those of [`wait_concluded`](Self::wait_concluded).
    pub fn wait_decided(&self) -> Result<Decision, EngineError> {
        let decision = self.monitor.wait_until(self.core.key, |state| {
            match state.job(self.core.key) {
                Some(job) => job.decision.map(Some),
                // Gone: the outcome says what was decided, if anything was.
                None => Some(self.outcome().map(|outcome| match outcome {
                    Ok(()) => Decision::Commit,
                    Err(_) => Decision::Abort,
                })),
            }
        })?;
        decision.ok_or_else(|| EngineError::NeverStarted {
            id: self.core.id.clone(),
        })
    }

    /// Begins a drained section of this job: returns once it is not started, parked in a pause, or
    /// its run is over, and keeps it so (SEMANTICS.md §4.7).
    ///
    /// # Errors
    ///
    /// [`EngineError::WouldDeadlock`] on the main loop's thread and in the job's own body, `Job not
    /// found` for one that is gone, [`EngineError::MainLoopGone`].
    pub fn drained_begin(&self) -> Result<DrainedSection, EngineError> {
        drain::begin(&self.monitor, Scope::One(Arc::clone(&self.core)))
    }

    /// Where its body runs, or will run; `None` once the job is gone.
    pub fn context(&self) -> Option<Context> {
        let guard = self.monitor.lock();
        guard.job(self.core.key).map(|job| job.context.clone())
    }

    pub(super) fn core(&self) -> &Arc<JobCore> {
        &self.core
    }

    fn request(&self, request: Request) -> Result<(), EngineError> {
        self.ask(request).map(drop)
    }

    /// The same, saying whether the request was posted.
    pub(crate) fn ask(&self, request: Request) -> Result<Accepted, EngineError> {
        verbs::request(&self.monitor, &self.core, request)
    }
}

/// Whether the transition table leads from `from`, by one step or more, to one of `statuses`.
fn may_still_reach(from: Status, statuses: &[Status]) -> bool {
    let mut reached = vec![from];
    let mut next = 0;
    while let Some(&status) = reached.get(next) {
        next += 1;
        for to in Status::ALL {
            if status.may_become(to) && !reached.contains(&to) {
                if statuses.contains(&to) {
                    return true;
                }
                reached.push(to);
            }
        }
    }
    false
}

impl fmt::Debug for JobHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JobHandle")
            .field("id", &self.core.id)
            .finish_non_exhaustive()
    }
}
