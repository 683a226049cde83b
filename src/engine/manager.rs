//! The manager: makes jobs, lists them, pauses them all.

use std::fmt;
use std::time::Duration;

use blockjob_model::resource::Sharing;
use blockjob_model::{IoStatus, Refusal, Status};

use super::control::ControlWord;
use super::drain::{self, DrainedSection, Scope};
use super::error::EngineError;
use super::executor::Context;
use super::gate::Gate;
use super::handle::{CancelMode, JobHandle};
use super::identity::{Kind, identify, internal_name};
use super::ledger::Ledger;
use super::main_loop::MainLoop;
use super::monitor::{CancelLevel, Completion, GroupKey, Job, JobCore, JobKey, Monitor, Parked};
use super::progress::Progress;
use super::query::{self, QueriedBlockJob, QueriedJob};
use super::rate::RateLimit;
use super::resource::Resource;
use super::stage::{Created, Stage};
use super::timer::Clock;
use super::transaction::{CompletionMode, CreatedJob, Transaction};
use super::verbs;
use crate::driver::{Driver, JobOutcome};
use crate::sync::{Arc, Condvar, Mutex, OnceLock, Statistic, fresh_number};
use crate::trace::TraceSink;

/// How a manager is set up.
#[derive(Clone)]
pub struct ManagerConfig {
    bodies_max: usize,
    virtual_time: bool,
    sharing: Sharing,
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
    #[doc(alias = "QEMUClockType")]
    pub fn virtual_time(mut self, virtual_time: bool) -> ManagerConfig {
        self.virtual_time = virtual_time;
        self
    }

    /// How jobs share resources: as their claims say, unless told otherwise; [`Sharing::OneJob`] is the
    /// rule of QEMU before 4.1.
    #[must_use]
    pub fn sharing(mut self, sharing: Sharing) -> ManagerConfig {
        self.sharing = sharing;
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
            sharing: Sharing::default(),
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
            .field("sharing", &self.sharing)
            .field("trace", &self.trace.is_some())
            .finish()
    }
}

/// What its creator fixes about a job.
#[must_use = "options do nothing until a job is created with them"]
pub struct JobOptions {
    id: Option<String>,
    kind: Kind,
    /// What an internal job is called, where that was settled before it is created.
    internal_name: Option<String>,
    resources: Vec<Resource>,
    pub(super) auto_finalize: bool,
    pub(super) auto_dismiss: bool,
    pub(super) speed_bytes_per_s: i64,
    pub(super) completion: Option<Completion>,
    pub(super) context: Option<Context>,
}

impl JobOptions {
    /// A block job with this id: a letter, then letters, digits, `-`, `.`, `_`; unique among the listed.
    pub fn new(id: impl Into<String>) -> JobOptions {
        JobOptions {
            id: Some(id.into()),
            ..JobOptions::without_id()
        }
    }

    /// A block job without an id of its own: it is called by the name of its first
    /// [resource](Self::resource). An [internal](Self::internal) job has none at all.
    pub fn without_id() -> JobOptions {
        JobOptions {
            id: None,
            kind: Kind {
                internal: false,
                block: true,
            },
            internal_name: None,
            resources: Vec::new(),
            auto_finalize: true,
            auto_dismiss: true,
            speed_bytes_per_s: 0,
            completion: None,
            context: None,
        }
    }

    /// The id it will have; none for an internal job, and for one that will be refused for want of
    /// one.
    pub fn id(&self) -> Option<&str> {
        let default = self.default_id().filter(|_| self.kind.announces());
        self.id.as_deref().or(default)
    }

    fn default_id(&self) -> Option<&str> {
        self.resources.first().map(Resource::name)
    }

    /// Whether the job belongs to the implementation: it has no id and no events, and nobody but who
    /// created it sees it. Such a job has no user, so it can be neither `manual_finalize` nor
    /// `manual_dismiss`.
    pub fn internal(mut self, internal: bool) -> JobOptions {
        self.kind.internal = internal;
        self
    }

    /// Whether it is a block job, which is the default. Others, such as QEMU's `create`, have no
    /// `BLOCK_JOB_*` events, and the `block-job-*` commands do not see them.
    pub fn block_job(mut self, block_job: bool) -> JobOptions {
        self.kind.block = block_job;
        self
    }

    /// Whether it is [internal](Self::internal).
    #[doc(alias = "block_job_is_internal")]
    pub fn is_internal(&self) -> bool {
        self.kind.internal
    }

    /// Whether it is a [block job](Self::block_job).
    pub fn is_block_job(&self) -> bool {
        self.kind.block
    }

    /// What traces will call it.
    pub(crate) fn name_in_traces(&self) -> Option<&str> {
        self.id().or(self.internal_name.as_deref())
    }

    /// Settles what an internal job is called.
    pub(crate) fn internal_name(mut self, name: String) -> JobOptions {
        self.internal_name = Some(name);
        self
    }

    /// One more thing that the job works on, and holds from its creation until it is cleaned. It is
    /// not created while another job is in the way (SEMANTICS.md §2.1).
    #[doc(alias = "block_job_add_bdrv")]
    #[doc(alias = "block_job_remove_all_bdrv")]
    pub fn resource(mut self, resource: Resource) -> JobOptions {
        self.resources.push(resource);
        self
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

    /// The speed limit to begin with, in bytes per second, 0 for none. A negative one is refused, but
    /// late, as in QEMU: once the job has been `created`.
    pub fn speed(mut self, bytes_per_s: i64) -> JobOptions {
        self.speed_bytes_per_s = bytes_per_s;
        self
    }

    /// The speed limit to begin with.
    pub fn speed_bytes_per_s(&self) -> i64 {
        self.speed_bytes_per_s
    }

    /// Where the job's body runs; in the manager's own context unless told.
    pub fn context(mut self, context: &Context) -> JobOptions {
        self.context = Some(context.clone());
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
    #[doc(alias = "BlockCompletionFunc")]
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
            .field("id", &self.id())
            .field("internal", &self.kind.internal)
            .field("block_job", &self.kind.block)
            .field("resources", &self.resources)
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
    /// What a trace calls it.
    number: u64,
    monitor: Arc<Monitor>,
    held: Vec<Arc<JobCore>>,
}

impl Manager {
    /// A manager and its main loop, which belongs to the calling thread.
    pub fn new(config: ManagerConfig) -> (Manager, MainLoop) {
        let monitor = Arc::new(Monitor::new(
            Context::new("main", config.bodies_max),
            Clock::new(config.virtual_time),
            config.sharing,
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
    /// In the order of the checks (SEMANTICS.md §2.1):
    ///
    /// 1. `Device '%s' is in use`, `Node '%s' is busy: block device is in use by block job: %s`: another
    ///    job is in the way of a [resource](JobOptions::resource).
    /// 2. `Cannot specify job ID for internal job`.
    /// 3. `Invalid job ID '%s'`, also for a block job without an id whose first resource has a name that
    ///    is none.
    /// 4. `Job ID '%s' already in use`.
    /// 5. `An explicit job ID is required`.
    /// 6. [`EngineError::ManualInternalJob`].
    /// 7. [`EngineError::TransactionOver`], for a [member](Transaction::create) of a transaction that was
    ///    aborted before it started.
    /// 8. `Parameter 'speed' expects a non-negative value`. The job exists by then, and is given up:
    ///    `created`, `null`.
    ///
    /// No callback is called for a job that is refused. [`EngineError::MainLoopGone`] goes before all of
    /// them.
    #[doc(alias = "block_job_create")]
    pub fn create(
        &self,
        options: JobOptions,
        driver: impl Driver,
    ) -> Result<CreatedJob, EngineError> {
        let core = create(&self.monitor, options, Box::new(driver), None)?;
        Ok(CreatedJob::new(Arc::clone(&self.monitor), core))
    }

    /// A transaction without members: its jobs commit together or abort together (QMP's
    /// `completion-mode: grouped`).
    #[doc(alias = "block_job_txn_new")]
    pub fn transaction(&self) -> Transaction {
        self.transaction_in(CompletionMode::Grouped)
    }

    /// A transaction without members, in this mode.
    pub fn transaction_in(&self, mode: CompletionMode) -> Transaction {
        Transaction::new(Arc::clone(&self.monitor), mode)
    }

    /// Where bodies run unless they are told otherwise: its name is `main`.
    pub fn context(&self) -> Context {
        self.monitor.context.clone()
    }

    /// Begins a drained section of every job, those included that are created while it lasts: they
    /// begin held (decision 35). Returns once nobody does anything (SEMANTICS.md §4.7).
    ///
    /// # Errors
    ///
    /// [`EngineError::WouldDeadlock`] on the main loop's thread and in a job's own body,
    /// [`EngineError::MainLoopGone`].
    pub fn drained_begin(&self) -> Result<DrainedSection, EngineError> {
        drain::begin(&self.monitor, Scope::Every)
    }

    /// Begins a drained section of the jobs that hold `resource`, by its identity, those included
    /// that are created while it lasts. Otherwise as [`drained_begin`](Self::drained_begin).
    ///
    /// # Errors
    ///
    /// As [`drained_begin`](Self::drained_begin).
    pub fn drained_begin_on(&self, resource: &Resource) -> Result<DrainedSection, EngineError> {
        let identity = resource.key().to_owned();
        drain::begin(&self.monitor, Scope::On(identity))
    }

    /// Cancels every listed job by force, newest first, and waits for each, until the list is empty; what stays
    /// concluded for its user is dismissed (SEMANTICS.md §2.9).
    ///
    /// # Errors
    ///
    /// [`EngineError::WouldDeadlock`] on the main loop's thread and in a job's own body,
    /// [`EngineError::MainLoopGone`].
    #[doc(alias = "block_job_cancel_sync_all")]
    pub fn cancel_sync_all(&self) -> Result<(), EngineError> {
        // Also where nobody is listed: whoever may not wait is told so every time, not only when it would matter.
        if self.monitor.on_main_thread() {
            return Err(EngineError::WouldDeadlock);
        }
        loop {
            let newest = {
                let guard = self.monitor.lock();
                let Some(job) = guard.jobs.values().next_back() else {
                    return Ok(());
                };
                self.monitor.may_wait(&guard, job.core.key)?;
                JobHandle::new(Arc::clone(&self.monitor), Arc::clone(&job.core))
            };
            let concluded = newest.status() == Status::Concluded;
            let asked = if concluded {
                newest.dismiss()
            } else {
                newest.cancel(CancelMode::Force)
            };
            match asked {
                // Others act as well: a refusal means that the job was faster.
                Ok(()) | Err(EngineError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
            if !concluded {
                newest.wait_for(&[Status::Concluded, Status::Null])?;
            }
        }
    }

    /// The manager's clock, as runs see it ([`RunContext::now`](crate::driver::RunContext::now)): counted from its
    /// creation. Any thread, without any lock.
    pub fn now(&self) -> Duration {
        self.monitor.now()
    }

    /// The listed jobs, which are all but internal ones, newest first.
    #[doc(alias = "block_job_next")]
    pub fn jobs(&self) -> Vec<JobHandle> {
        let guard = self.monitor.lock();
        let listed = guard.jobs.values().rev();
        listed
            .filter(|job| !job.core.kind.internal)
            .map(|job| JobHandle::new(Arc::clone(&self.monitor), Arc::clone(&job.core)))
            .collect()
    }

    /// The job that the `job-*` commands find by this id: any listed one (SEMANTICS.md §2.0).
    ///
    /// # Errors
    ///
    /// `Job not found`.
    pub fn job(&self, id: &str) -> Result<JobHandle, EngineError> {
        self.find(id).ok_or_else(|| EngineError::Refused {
            id: id.to_owned(),
            refusal: Refusal::NotFound,
        })
    }

    /// The job that the `block-job-*` commands find by this id: block jobs only.
    ///
    /// # Errors
    ///
    /// `Block job '%s' not found`, of class `DeviceNotActive`.
    #[doc(alias = "block_job_get")]
    pub fn block_job(&self, id: &str) -> Result<JobHandle, EngineError> {
        let found = self.find(id).filter(JobHandle::is_block_job);
        found.ok_or_else(|| EngineError::BlockJobNotFound { id: id.to_owned() })
    }

    /// Internal jobs have no id, so they are not found.
    fn find(&self, id: &str) -> Option<JobHandle> {
        let guard = self.monitor.lock();
        let job = guard.job(*guard.ids.get(id)?)?;
        Some(JobHandle::new(
            Arc::clone(&self.monitor),
            Arc::clone(&job.core),
        ))
    }

    /// The listed jobs that hold the [resource](JobOptions::resource) of this identity, oldest first.
    pub fn holders(&self, identity: &str) -> Vec<JobHandle> {
        let guard = self.monitor.lock();
        let holders = guard.jobs_on(identity).into_iter();
        holders
            .filter_map(|key| guard.job(key))
            .filter(|job| !job.core.kind.internal)
            .map(|job| JobHandle::new(Arc::clone(&self.monitor), Arc::clone(&job.core)))
            .collect()
    }

    /// `query-jobs`: every job but internal ones, newest first, in one moment.
    pub fn query_jobs(&self) -> Vec<QueriedJob> {
        query::jobs(&self.monitor.lock())
    }

    /// `query-block-jobs`: every block job but internal ones, newest first, in one moment.
    pub fn query_block_jobs(&self) -> Vec<QueriedBlockJob> {
        query::block_jobs(&self.monitor.lock())
    }

    /// A name for an internal job that is created next.
    pub(crate) fn fresh_internal_name(&self) -> String {
        internal_name(self.monitor.lock().fresh_internal_job())
    }

    /// Pauses every job that can still pause, without waiting; returns who was (decision 12).
    #[doc(alias = "block_job_pause_all")]
    pub fn pause_all(&self) -> PauseAllToken {
        self.pause_all_as(fresh_number())
    }

    /// The same, with the number that a trace calls it by.
    pub(crate) fn pause_all_as(&self, number: u64) -> PauseAllToken {
        PauseAllToken {
            number,
            monitor: Arc::clone(&self.monitor),
            held: verbs::pause_all(&self.monitor),
        }
    }

    /// Releases exactly the jobs of that [`pause_all`](Self::pause_all).
    // By value: a token is good for one release.
    #[allow(clippy::needless_pass_by_value, clippy::unused_self)]
    #[doc(alias = "block_job_resume_all")]
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
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

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

/// The transaction a job joins when it is created.
pub(super) struct Membership {
    pub(super) group: GroupKey,
    pub(super) name: Arc<str>,
    /// Nobody joined before: the group does not exist yet. Else it must still be there, and not
    /// on its way down.
    pub(super) first: bool,
}

/// Brings a job into being: `created`, member of its group, listed. The order of the checks is
/// that of [`Manager::create`].
pub(super) fn create(
    monitor: &Arc<Monitor>,
    options: JobOptions,
    driver: Box<dyn Driver>,
    transaction: Option<Membership>,
) -> Result<Arc<JobCore>, EngineError> {
    let can_complete = driver.supports_complete();
    let job_type = driver.job_type();
    let mut guard = monitor.lock();
    if guard.main_gone {
        return Err(EngineError::MainLoopGone);
    }
    let kind = options.kind;
    guard
        .resources
        .admit(&options.resources)
        .map_err(|(name, conflict)| EngineError::ResourceTaken { name, conflict })?;
    let id = identify(kind, options.id.clone(), options.default_id(), |id| {
        guard.ids.contains_key(id)
    })?;
    if kind.internal && !(options.auto_finalize && options.auto_dismiss) {
        return Err(EngineError::ManualInternalJob);
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
    if let Some(id) = &id {
        guard.ids.insert(id.clone(), key);
    }
    let id = id
        .or(options.internal_name)
        .unwrap_or_else(|| internal_name(guard.fresh_internal_job()));
    let ledger = Ledger::new(&id, monitor.main_thread, driver);
    let core = Arc::new(JobCore {
        key,
        id,
        kind,
        group_name,
        driver: Box::new(Arc::clone(&ledger)),
        ledger,
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
    let held = guard.resources.take(key, job_type, options.resources);
    let job = Job {
        core: Arc::clone(&core),
        group,
        status: Status::Undefined,
        stage: Stage::Created(Created::new()),
        user_paused: false,
        io_status: IoStatus::Ok,
        resuming: false,
        holds: 0,
        started: false,
        entered: false,
        ended: false,
        cancel: CancelLevel::No,
        complete_accepted: false,
        complete_told: false,
        enter_pending: false,
        parked: Parked::No,
        error: None,
        held,
        context: options.context.unwrap_or_else(|| monitor.context.clone()),
        body_thread: None,
        decision: None,
        completion: options.completion,
        published: 0,
    };
    guard.jobs.insert(key, job);
    guard.groups.entry(group).or_default().members.push(key);
    guard.live += 1;
    guard.hold_newcomer(key);
    guard.transition(monitor, key, Status::Created);
    match verbs::limit_of(options.speed_bytes_per_s) {
        Ok(limit) => core.set_speed(monitor.now(), limit),
        Err(refusal) => {
            guard.early_fail(monitor, key);
            Monitor::unlock(guard);
            return Err(verbs::refused(&core, refusal));
        }
    }
    Ok(core)
}
