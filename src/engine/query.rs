//! What queries report, each taken in one section, so that no picture mixes two moments.
//!
//! | view | who is in it | as |
//! |---|---|---|
//! | [`JobInfo`] | any job, to whoever has its handle | everything there is |
//! | [`QueriedJob`] | every job but internal ones | QMP's `query-jobs` |
//! | [`QueriedBlockJob`] | block jobs, internal ones excepted | QMP's `query-block-jobs` |
//!
//! The lists are newest first (SEMANTICS.md §2.0). QMP's field names stand beside the fields whose
//! names differ. Both queries report the same error (decision 16): that of a job known to have
//! failed or to be cancelled, from the moment the main loop took its run over.

use blockjob_model::{IoStatus, Status};

use super::error::EngineError;
use super::monitor::{Job, JobCore, Monitor, State};
use super::resource::{Held, HeldResource};
use crate::driver::{JobError, JobOutcome};

/// A job as its handle reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobInfo {
    /// The id; of an internal job the name it has in traces.
    pub id: String,
    /// Nobody but its handles sees it.
    pub internal: bool,
    /// The `block-job-*` commands see it, unless it is internal.
    pub block: bool,
    /// The driver's type.
    pub job_type: &'static str,
    /// The name of the transaction, if the job was created in one.
    pub group: Option<String>,
    /// The status; `null` once the job is gone.
    pub status: Status,
    /// The body runs, or has been woken: false while it is parked, sleeps or waits, has not
    /// started, or has ended (decision 26: it does not say whether the job will go on).
    pub busy: bool,
    /// The user's pause, or a stop error, holds the job.
    #[doc(alias = "block_job_user_paused")]
    pub user_paused: bool,
    /// Anybody wants the job paused: with `running` this reads "pause requested, not reached".
    pub pause_requested: bool,
    /// What the job remembers of the error that stopped it.
    pub io_status: IoStatus,
    /// A cancel was requested, softly or by force.
    pub cancel_requested: bool,
    /// Bytes done.
    pub current_bytes: u64,
    /// Bytes in total, as far as known.
    pub total_bytes: u64,
    /// The speed limit, 0 for none.
    pub speed_bytes_per_s: u64,
    /// Whether the group decides by itself as far as this member is concerned.
    pub auto_finalize: bool,
    /// Whether the job dismisses itself.
    pub auto_dismiss: bool,
    /// What it holds, until it is cleaned.
    pub resources: Vec<HeldResource>,
    /// How it ended, once it has concluded.
    pub outcome: Option<JobOutcome>,
}

/// A job as `query-jobs` reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueriedJob {
    /// The id.
    pub id: String,
    /// `type`: the driver's.
    pub job_type: &'static str,
    /// The status.
    pub status: Status,
    /// `current-progress`: bytes done.
    pub current_progress: u64,
    /// `total-progress`: bytes in total, as far as known.
    pub total_progress: u64,
    /// Why it failed, once that is known.
    pub error: Option<String>,
}

/// A job as `query-block-jobs` reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueriedBlockJob {
    /// `type`: the driver's.
    pub job_type: &'static str,
    /// The id, by QMP's old name for it.
    pub device: String,
    /// Bytes in total, as far as known.
    pub len: u64,
    /// Bytes done.
    pub offset: u64,
    /// The body runs, or has been woken. No more than that (decision 26).
    pub busy: bool,
    /// A pause is requested, reached or not: by the user, a stop error, `pause_all`, or because the
    /// job has not started, which its creation holds (P3).
    pub paused: bool,
    /// The speed limit in bytes per second, 0 for none.
    pub speed: u64,
    /// `io-status`: what it remembers of the error that stopped it.
    pub io_status: IoStatus,
    /// It has converged: `ready` or `standby`.
    pub ready: bool,
    /// The status.
    pub status: Status,
    /// `auto-finalize`.
    pub auto_finalize: bool,
    /// `auto-dismiss`.
    pub auto_dismiss: bool,
    /// Why it failed, once that is known.
    pub error: Option<String>,
}

/// The view of a handle.
pub(super) fn info(monitor: &Monitor, core: &JobCore) -> JobInfo {
    let guard = monitor.lock();
    let job = guard.job(core.key);
    JobInfo {
        id: core.id.clone(),
        internal: core.kind.internal,
        block: core.kind.block,
        job_type: core.job_type,
        group: core.group_name.as_deref().map(str::to_owned),
        status: job.map_or(Status::Null, |job| job.status),
        busy: job.is_some_and(Job::is_busy),
        user_paused: job.is_some_and(|job| job.user_paused),
        pause_requested: job.is_some_and(Job::should_pause),
        io_status: job.map_or(IoStatus::Ok, |job| job.io_status),
        cancel_requested: core.control.is_cancel_requested(),
        current_bytes: core.progress.current(),
        total_bytes: core.progress.total(),
        speed_bytes_per_s: core.speed_bytes_per_s.get(),
        auto_finalize: core.auto_finalize,
        auto_dismiss: core.auto_dismiss,
        resources: job
            .and_then(|job| job.held.as_ref())
            .map(Held::report)
            .unwrap_or_default(),
        outcome: core.outcome.get().cloned(),
    }
}

/// `query-jobs`.
pub(super) fn jobs(state: &State) -> Vec<QueriedJob> {
    let seen = state.jobs.values().rev();
    seen.filter(|job| !job.core.kind.internal)
        .map(job)
        .collect()
}

/// `query-block-jobs`.
pub(super) fn block_jobs(state: &State) -> Vec<QueriedBlockJob> {
    let seen = state.jobs.values().rev();
    seen.filter(|job| job.core.kind.announces())
        .map(block_job)
        .collect()
}

/// One job's line of `query-block-jobs`.
///
/// # Errors
///
/// `Cannot query QEMU internal jobs`; `Block job '%s' not found` for one that is none, or is gone.
pub(super) fn one_block_job(state: &State, core: &JobCore) -> Result<QueriedBlockJob, EngineError> {
    if core.kind.internal {
        return Err(EngineError::InternalJob);
    }
    let seen = state.job(core.key).filter(|job| job.core.kind.block);
    seen.map(block_job)
        .ok_or_else(|| EngineError::BlockJobNotFound {
            id: core.id.clone(),
        })
}

fn job(job: &Job) -> QueriedJob {
    let core = &job.core;
    // What is done first: it only grows towards what there is.
    let current_progress = core.progress.current();
    QueriedJob {
        id: core.id.clone(),
        job_type: core.job_type,
        status: job.status,
        current_progress,
        total_progress: core.progress.total(),
        error: error(job),
    }
}

fn block_job(job: &Job) -> QueriedBlockJob {
    let core = &job.core;
    let offset = core.progress.current();
    QueriedBlockJob {
        job_type: core.job_type,
        device: core.id.clone(),
        len: core.progress.total(),
        offset,
        busy: job.is_busy(),
        paused: job.status == Status::Created || job.is_pause_requested(),
        speed: core.speed_bytes_per_s.get(),
        io_status: job.io_status,
        ready: job.status.is_ready(),
        status: job.status,
        auto_finalize: core.auto_finalize,
        auto_dismiss: core.auto_dismiss,
        error: error(job),
    }
}

fn error(job: &Job) -> Option<String> {
    job.error.as_ref().map(JobError::text)
}
