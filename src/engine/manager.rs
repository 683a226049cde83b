//! The manager: makes jobs, lists them, pauses them all.

use std::fmt;

use blockjob_model::Status;

use super::control::ControlWord;
use super::error::EngineError;
use super::executor::Executor;
use super::gate::Gate;
use super::handle::JobHandle;
use super::main_loop::MainLoop;
use super::monitor::{CancelLevel, Completion, GroupKey, Job, JobCore, JobKey, Monitor, Parked};
use super::progress::Progress;
use super::rate::RateLimit;
use super::stage::{Created, Stage};
use super::timer::Clock;
use super::transaction::{CreatedJob, Transaction};
use super::verbs;
use crate::driver::{Driver, JobOutcome};
use crate::sync::{Arc, Condvar, Mutex, OnceLock, Statistic};
use crate::trace::TraceSink;

/// How a manager is set up.
#[derive(Clone)]
pub struct ManagerConfig {
    bodies_max: usize,
    virtual_time: bool,
    trace: Option<Arc<dyn TraceSink>>,
}

impl ManagerConfig {
    /// Bodies that may run at a time, each on a thread of its own; jobs beyond that wait in
    /// `running`. 256 unless told otherwise.
    #[must_use]
    pub fn bodies_max(mut self, bodies_max: usize) -> ManagerConfig {
        self.bodies_max = bodies_max;
        self
    }

    /// Sleeps take no time: when the main loop has nothing to do, time jumps to the next deadline.
    /// For tests. Under loom and shuttle always so.
    #[must_use]
    pub fn virtual_time(mut self, virtual_time: bool) -> ManagerConfig {
        self.virtual_time = virtual_time;
        self
    }

    /// Where statuses and events are recorded; nowhere unless told.
    #[must_use]
    pub fn trace(mut self, sink: Arc<dyn TraceSink>) -> ManagerConfig {
        self.trace = Some(sink);
        self
    }
}

impl Default for ManagerConfig {
    fn default() -> ManagerConfig {
        ManagerConfig {
            bodies_max: 256,
            virtual_time: false,
            trace: None,
        }
    }
}

impl fmt::Debug for ManagerConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ManagerConfig")
            .field("bodies_max", &self.bodies_max)
            .field("virtual_time", &self.virtual_time)
            .field("trace", &self.trace.is_some())
            .finish()
    }
}

/// What its creator fixes about a job.
#[must_use = "options do nothing until a job is created with them"]
pub struct JobOptions {
    pub(super) id: String,
    pub(super) auto_finalize: bool,
    pub(super) auto_dismiss: bool,
    pub(super) speed_bytes_per_s: u64,
    pub(super) completion: Option<Completion>,
}

impl JobOptions {
    /// A job with this id: a letter, then letters, digits, `-`, `.`, `_`; unique among the listed.
    pub fn new(id: impl Into<String>) -> JobOptions {
        JobOptions {
            id: id.into(),
            auto_finalize: true,
            auto_dismiss: true,
            speed_bytes_per_s: 0,
            completion: None,
        }
    }

    /// The id it will have.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The group waits in `pending` for [`JobHandle::finalize`] (QMP: `auto-finalize: false`).
    pub fn manual_finalize(mut self, manual: bool) -> JobOptions {
        self.auto_finalize = !manual;
        self
    }

    /// The job stays `concluded` until [`JobHandle::dismiss`] (QMP: `auto-dismiss: false`).
    pub fn manual_dismiss(mut self, manual: bool) -> JobOptions {
        self.auto_dismiss = !manual;
        self
    }

    /// The speed limit to begin with, 0 for none.
    pub fn speed(mut self, bytes_per_s: u64) -> JobOptions {
        self.speed_bytes_per_s = bytes_per_s;
        self
    }

    /// Whether the group decides by itself as far as this member is concerned.
    pub fn finalizes_itself(&self) -> bool {
        self.auto_finalize
    }

    /// Whether the job dismisses itself.
    pub fn dismisses_itself(&self) -> bool {
        self.auto_dismiss
    }

    /// Whether the job has a completion function.
    pub fn has_completion(&self) -> bool {
        self.completion.is_some()
    }

    /// Puts `wrapper` in the place of the completion function, if there is one, and gives it that
    /// function.
    pub(crate) fn wrap_completion(
        mut self,
        wrapper: impl FnOnce(Completion, &JobOutcome) + Send + 'static,
    ) -> JobOptions {
        match self.completion.take() {
            Some(completion) => self.on_completion(move |outcome| wrapper(completion, outcome)),
            None => self,
        }
    }

    /// Called once on the main loop, after clean and before the terminal event. Not called for a
    /// job that is given up before it starts.
    pub fn on_completion(
        mut self,
        completion: impl FnOnce(&JobOutcome) + Send + 'static,
    ) -> JobOptions {
        self.completion = Some(Box::new(completion));
        self
    }
}

impl fmt::Debug for JobOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JobOptions")
            .field("id", &self.id)
            .field("auto_finalize", &self.auto_finalize)
            .field("auto_dismiss", &self.auto_dismiss)
            .field("speed_bytes_per_s", &self.speed_bytes_per_s)
            .finish_non_exhaustive()
    }
}

/// Makes jobs and finds them: cheap to clone, any thread.
#[derive(Clone)]
pub struct Manager {
    pub(super) monitor: Arc<Monitor>,
}

/// The jobs that one [`Manager::pause_all`] holds.
#[must_use = "the jobs stay paused until the token is given to resume_all"]
pub struct PauseAllToken {
    monitor: Arc<Monitor>,
    held: Vec<Arc<JobCore>>,
}

impl Manager {
    /// A manager and its main loop, which belongs to the calling thread.
    pub fn new(config: ManagerConfig) -> (Manager, MainLoop) {
        let monitor = Arc::new(Monitor::new(
            Executor::new(config.bodies_max),
            Clock::new(config.virtual_time),
            config.trace,
        ));
        let main_loop = MainLoop::new(Arc::clone(&monitor));
        (Manager { monitor }, main_loop)
    }

    /// Creates a job in a group of its own; it starts with [`CreatedJob::start`] and is given up
    /// when that is dropped.
    ///
    /// # Errors
    ///
    /// `Invalid job ID '%s'`, `Job ID '%s' already in use`.
    pub fn create(
        &self,
        options: JobOptions,
        driver: impl Driver,
    ) -> Result<CreatedJob, EngineError> {
        let core = create(&self.monitor, options, Box::new(driver), None)?;
        Ok(CreatedJob::new(Arc::clone(&self.monitor), core))
    }

    /// A transaction without members: its jobs commit together or abort together.
    pub fn transaction(&self) -> Transaction {
        Transaction::new(Arc::clone(&self.monitor))
    }

    /// The listed jobs, newest first.
    pub fn jobs(&self) -> Vec<JobHandle> {
        self.monitor
            .lock()
            .jobs
            .values()
            .rev()
            .map(|job| JobHandle::new(Arc::clone(&self.monitor), Arc::clone(&job.core)))
            .collect()
    }

    /// The listed job with this id.
    pub fn job(&self, id: &str) -> Option<JobHandle> {
        let guard = self.monitor.lock();
        let job = guard.job(*guard.ids.get(id)?)?;
        Some(JobHandle::new(
            Arc::clone(&self.monitor),
            Arc::clone(&job.core),
        ))
    }

    /// Pauses every job that can still pause, without waiting; returns who was (decision 12).
    pub fn pause_all(&self) -> PauseAllToken {
        PauseAllToken {
            monitor: Arc::clone(&self.monitor),
            held: verbs::pause_all(&self.monitor),
        }
    }

    /// Releases exactly the jobs of that [`pause_all`](Self::pause_all).
    // By value: a token is good for one release.
    #[allow(clippy::needless_pass_by_value, clippy::unused_self)]
    pub fn resume_all(&self, token: PauseAllToken) {
        verbs::resume_all(&token.monitor, &token.held);
    }

    /// Makes [`MainLoop::run`] return once no task is left. Jobs are left as they are.
    pub fn shutdown(&self) {
        let mut guard = self.monitor.lock();
        guard.shutdown = true;
        guard.wake_main(&self.monitor);
    }
}

impl PauseAllToken {
    /// The ids of the jobs held, oldest first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.held.iter().map(|core| core.id.as_str())
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Manager").finish_non_exhaustive()
    }
}

impl fmt::Debug for PauseAllToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.ids()).finish()
    }
}

/// The id grammar (SEMANTICS.md §2.1): a letter, then letters, digits, `-`, `.`, `_`.
fn is_well_formed(id: &str) -> bool {
    let mut bytes = id.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// The transaction a job joins when it is created.
pub(super) struct Membership {
    pub(super) group: GroupKey,
    pub(super) name: Arc<str>,
    /// Nobody joined before: the group does not exist yet. Else it must still be there, and not
    /// on its way down.
    pub(super) first: bool,
}

/// Brings a job into being: `created`, member of its group, listed.
pub(super) fn create(
    monitor: &Arc<Monitor>,
    options: JobOptions,
    driver: Box<dyn Driver>,
    transaction: Option<Membership>,
) -> Result<Arc<JobCore>, EngineError> {
    if !is_well_formed(&options.id) {
        return Err(EngineError::InvalidId { id: options.id });
    }
    let can_complete = driver.supports_complete();
    let job_type = driver.job_type();
    let mut guard = monitor.lock();
    if guard.main_gone {
        return Err(EngineError::MainLoopGone);
    }
    if guard.ids.contains_key(&options.id) {
        return Err(EngineError::DuplicateId { id: options.id });
    }
    // Tested in the section that joins: a cancel of a member cannot come between.
    let over = transaction.as_ref().is_some_and(|joined| {
        let group = guard.groups.get(&joined.group);
        !joined.first && group.is_none_or(|group| group.aborting)
    });
    if over {
        return Err(EngineError::TransactionOver);
    }
    let key = JobKey(guard.fresh_key());
    let (group, group_name) = match transaction {
        Some(joined) => (joined.group, Some(joined.name)),
        None => (GroupKey(guard.fresh_key()), None),
    };
    let core = Arc::new(JobCore {
        key,
        id: options.id,
        group_name,
        driver,
        job_type,
        can_complete,
        auto_finalize: options.auto_finalize,
        auto_dismiss: options.auto_dismiss,
        control: ControlWord::new(),
        wake: Condvar::new(),
        gate: Gate::new(),
        progress: Progress::default(),
        speed_bytes_per_s: Statistic::default(),
        limit: Mutex::new(RateLimit::default()),
        outcome: OnceLock::new(),
    });
    core.set_speed(options.speed_bytes_per_s);
    let job = Job {
        core: Arc::clone(&core),
        group,
        status: Status::Undefined,
        stage: Stage::Created(Created::new()),
        user_paused: false,
        io_failed: false,
        holds: 0,
        started: false,
        ended: false,
        cancel: CancelLevel::No,
        complete_accepted: false,
        complete_told: false,
        enter_pending: false,
        parked: Parked::No,
        completion: options.completion,
        published: 0,
    };
    guard.jobs.insert(key, job);
    guard.ids.insert(core.id.clone(), key);
    guard.groups.entry(group).or_default().members.push(key);
    guard.live += 1;
    guard.transition(monitor, key, Status::Created);
    Ok(core)
}

#[cfg(test)]
mod tests {
    use super::is_well_formed;

    #[test]
    fn ids_follow_the_grammar() {
        for id in ["a", "j0", "Job-1.2_3"] {
            assert!(is_well_formed(id), "{id}");
        }
        for id in [
            "", " ", "0id", "123", "_id", "-id", ".id", "#id", "a b", "ä", "a/b",
        ] {
            assert!(!is_well_formed(id), "{id}");
        }
    }
}
