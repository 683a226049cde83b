//! Recording what the engine does not record itself: calls, returns, callbacks and I/O.
//!
//! [`RecordingManager`] stands in front of a [`Manager`], [`Recorded`] in front of a driver. Both
//! record before and after, and change nothing else. A job that is created through the recording
//! manager has its driver and its completion function recorded as well.
//!
//! One rule for whoever reads the trace: a thread makes one call at a time, and the main loop's one more
//! inside each callback, so what lies between a thread's call and its return is that call, or what a
//! callback of it called.

use std::fmt;

use blockjob_model::{Callback, Status};

use super::{Call, Io, TraceEntry, TraceSink, TraceStep};
use crate::driver::{Driver, JobError, JobOutcome, RunContext};
use crate::engine::{
    Accepted, CancelMode, CompletionMode, Context, CreatedJob, DrainedSection, EngineError,
    JobHandle, JobInfo, JobOptions, Manager, PauseAllToken, Request, Transaction,
};
use crate::sync::{Arc, fresh_number};

/// Records what concerns one job. Cheap to clone; any thread.
#[derive(Clone)]
pub struct JobRecorder {
    sink: Arc<dyn TraceSink>,
    job: Arc<str>,
    group: Option<Arc<str>>,
}

impl JobRecorder {
    /// A recorder for the job `id` in the transaction `group`.
    pub fn new(sink: Arc<dyn TraceSink>, id: &str, group: Option<&str>) -> JobRecorder {
        JobRecorder {
            sink,
            job: id.into(),
            group: group.map(Into::into),
        }
    }

    /// Records `step` of this job.
    pub fn record(&self, step: TraceStep<'_>) {
        self.sink.record(&TraceEntry {
            job: Some(&self.job),
            group: self.group.as_deref(),
            step,
        });
    }

    /// Records a piece of I/O around `work`, whose result says whether it succeeded. One that
    /// panics is over as well, and has failed.
    ///
    /// # Errors
    ///
    /// Those of `work`.
    pub fn io<T, E>(&self, io: Io, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.record(TraceStep::IoBegin(io));
        let open = OpenIo { recorder: self, io };
        let result = work();
        std::mem::forget(open);
        self.record(TraceStep::IoEnd {
            io,
            ok: result.is_ok(),
        });
        result
    }

    fn call<T>(
        &self,
        call: Call<'_>,
        carry_out: impl FnOnce() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.record(TraceStep::Call(call));
        let result = carry_out();
        record_return(call.verb(), result.as_ref().err(), |step| self.record(step));
        result
    }

    /// A verb, which may be posted.
    fn verb(&self, call: Call<'_>, job: &JobHandle, request: Request) -> Result<(), EngineError> {
        self.record(TraceStep::Call(call));
        let result = job.ask(request);
        let posted = result == Ok(Accepted::Posted);
        let result = result.map(drop);
        record_answer(call.verb(), posted, result.as_ref().err(), |step| {
            self.record(step);
        });
        result
    }

    fn callback<T>(
        &self,
        callback: Callback,
        call: impl FnOnce() -> T,
        judge: impl FnOnce(&T) -> (bool, Option<String>),
    ) -> T {
        self.record(TraceStep::CallbackBegin(callback));
        let open = OpenCallback {
            recorder: self,
            callback,
        };
        let result = call();
        std::mem::forget(open);
        let (ok, error) = judge(&result);
        self.record(TraceStep::CallbackEnd {
            callback,
            ok,
            error: error.as_deref(),
        });
        result
    }

    fn infallible(&self, callback: Callback, call: impl FnOnce()) {
        self.callback(callback, call, |()| (true, None));
    }
}

/// A callback that has begun; dropped only when it panics, and then it is over as well.
struct OpenCallback<'a> {
    recorder: &'a JobRecorder,
    callback: Callback,
}

impl Drop for OpenCallback<'_> {
    fn drop(&mut self) {
        self.recorder.record(TraceStep::CallbackEnd {
            callback: self.callback,
            ok: false,
            error: Some("the driver panicked"),
        });
    }
}

/// A piece of I/O that has begun; dropped only when it panics.
struct OpenIo<'a> {
    recorder: &'a JobRecorder,
    io: Io,
}

impl Drop for OpenIo<'_> {
    fn drop(&mut self) {
        self.recorder.record(TraceStep::IoEnd {
            io: self.io,
            ok: false,
        });
    }
}

fn record_return(
    verb: &'static str,
    error: Option<&EngineError>,
    record: impl FnOnce(TraceStep<'_>),
) {
    record_answer(verb, false, error, record);
}

fn record_answer(
    verb: &'static str,
    posted: bool,
    error: Option<&EngineError>,
    record: impl FnOnce(TraceStep<'_>),
) {
    let words = error.map(|error| (error.class(), error.to_string()));
    record(TraceStep::Return {
        verb,
        posted,
        error: words
            .as_ref()
            .map(|(class, words)| (*class, words.as_str())),
    });
}

impl fmt::Debug for JobRecorder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JobRecorder")
            .field("job", &self.job)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// A driver whose callbacks are recorded.
#[derive(Debug)]
pub struct Recorded<D> {
    driver: D,
    recorder: JobRecorder,
}

impl<D: Driver> Recorded<D> {
    /// Records the callbacks of `driver` with `recorder`.
    pub fn new(driver: D, recorder: JobRecorder) -> Recorded<D> {
        Recorded { driver, recorder }
    }
}

fn outcome(result: &JobOutcome) -> (bool, Option<String>) {
    (result.is_ok(), result.as_ref().err().map(JobError::text))
}

impl<D: Driver> Driver for Recorded<D> {
    fn job_type(&self) -> &'static str {
        self.driver.job_type()
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        self.recorder
            .callback(Callback::Run, || self.driver.run(context), outcome)
    }

    fn pause(&self) {
        self.recorder
            .infallible(Callback::Pause, || self.driver.pause());
    }

    fn resume(&self) {
        self.recorder
            .infallible(Callback::Resume, || self.driver.resume());
    }

    fn user_resume(&self) {
        self.recorder
            .infallible(Callback::UserResume, || self.driver.user_resume());
    }

    fn supports_complete(&self) -> bool {
        self.driver.supports_complete()
    }

    fn complete(&self) {
        self.recorder
            .infallible(Callback::Complete, || self.driver.complete());
    }

    fn cancel(&self, force: bool, ready: bool) -> bool {
        self.recorder.callback(
            Callback::Cancel,
            || self.driver.cancel(force, ready),
            |forced| (*forced, None),
        )
    }

    fn set_speed(&self, speed_bytes_per_s: u64) {
        self.recorder.infallible(Callback::SetSpeed, || {
            self.driver.set_speed(speed_bytes_per_s);
        });
    }

    fn drain(&self) {
        self.recorder
            .infallible(Callback::Drain, || self.driver.drain());
    }

    fn drained_poll(&self) -> bool {
        // Well when there is nothing more to come.
        self.recorder.callback(
            Callback::DrainedPoll,
            || self.driver.drained_poll(),
            |more| (!*more, None),
        )
    }

    fn attached_context(&self, context: &Context) {
        self.recorder.infallible(Callback::AttachedContext, || {
            self.driver.attached_context(context);
        });
    }

    fn prepare(&self) -> Result<(), JobError> {
        self.recorder
            .callback(Callback::Prepare, || self.driver.prepare(), outcome)
    }

    fn commit(&self) {
        self.recorder
            .infallible(Callback::Commit, || self.driver.commit());
    }

    fn abort(&self) {
        self.recorder
            .infallible(Callback::Abort, || self.driver.abort());
    }

    fn clean(&self) {
        self.recorder
            .infallible(Callback::Clean, || self.driver.clean());
    }

    fn free(&self) {
        self.recorder
            .infallible(Callback::Free, || self.driver.free());
    }
}

/// A manager whose calls are recorded. The manager itself should record to the same sink.
#[derive(Clone)]
pub struct RecordingManager {
    manager: Manager,
    sink: Arc<dyn TraceSink>,
}

impl RecordingManager {
    /// Records calls to `manager` with `sink`.
    pub fn new(manager: Manager, sink: Arc<dyn TraceSink>) -> RecordingManager {
        RecordingManager { manager, sink }
    }

    /// The manager itself; calls to it are not recorded.
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// [`Manager::create`], recorded.
    ///
    /// # Errors
    ///
    /// Those of [`Manager::create`].
    pub fn create(
        &self,
        options: JobOptions,
        driver: impl Driver,
    ) -> Result<RecordingCreatedJob, EngineError> {
        let (recorder, options) = recorder(&self.manager, &self.sink, options, None);
        let created = create(&recorder, options, driver, |options, driver| {
            self.manager.create(options, driver)
        })?;
        Ok(RecordingCreatedJob {
            created: Some(created),
            recorder,
        })
    }

    /// The job that the `job-*` commands find by this id.
    ///
    /// # Errors
    ///
    /// Those of [`Manager::job`].
    pub fn job(&self, id: &str) -> Result<RecordingHandle, EngineError> {
        self.manager.job(id).map(|job| self.recording(job))
    }

    /// The job that the `block-job-*` commands find by this id.
    ///
    /// # Errors
    ///
    /// Those of [`Manager::block_job`].
    pub fn block_job(&self, id: &str) -> Result<RecordingHandle, EngineError> {
        self.manager.block_job(id).map(|job| self.recording(job))
    }

    /// The listed jobs, newest first, as [`Manager::jobs`] has them.
    pub fn jobs(&self) -> Vec<RecordingHandle> {
        let jobs = self.manager.jobs().into_iter();
        jobs.map(|job| self.recording(job)).collect()
    }

    /// A handle of a job that was created through this manager.
    fn recording(&self, job: JobHandle) -> RecordingHandle {
        let recorder = JobRecorder::new(Arc::clone(&self.sink), job.id(), job.group());
        RecordingHandle { job, recorder }
    }

    /// [`Manager::transaction`], recorded.
    pub fn transaction(&self) -> RecordingTransaction {
        self.transaction_in(CompletionMode::Grouped)
    }

    /// [`Manager::transaction_in`], recorded.
    pub fn transaction_in(&self, mode: CompletionMode) -> RecordingTransaction {
        RecordingTransaction {
            transaction: Some(self.manager.transaction_in(mode)),
            manager: self.manager.clone(),
            recorders: Vec::new(),
            sink: Arc::clone(&self.sink),
        }
    }

    /// [`Manager::pause_all`], recorded.
    pub fn pause_all(&self) -> PauseAllToken {
        let token = fresh_number();
        let verb = "pause-all";
        self.for_all(Call::Numbered { verb, token }, || {
            self.manager.pause_all_as(token)
        })
    }

    /// [`Manager::resume_all`], recorded.
    pub fn resume_all(&self, token: PauseAllToken) {
        let call = Call::Numbered {
            verb: "resume-all",
            token: token.number(),
        };
        self.for_all(call, || self.manager.resume_all(token));
    }

    /// [`Manager::drained_begin`], recorded.
    ///
    /// # Errors
    ///
    /// Those of [`Manager::drained_begin`].
    pub fn drained_begin(&self) -> Result<RecordingDrainedSection, EngineError> {
        let begin = || self.manager.drained_begin();
        let token = fresh_number();
        let call = Call::Numbered {
            verb: "drained-begin",
            token,
        };
        let section = record_attempt(&*self.sink, call, begin)?;
        Ok(RecordingDrainedSection {
            token,
            section: Some(section),
            sink: Arc::clone(&self.sink),
            job: None,
            group: None,
        })
    }

    fn for_all<T>(&self, call: Call<'_>, carry_out: impl FnOnce() -> T) -> T {
        record_for_several(&*self.sink, None, call, carry_out)
    }
}

fn record_for_several<T>(
    sink: &dyn TraceSink,
    group: Option<&str>,
    call: Call<'_>,
    carry_out: impl FnOnce() -> T,
) -> T {
    let record = |step| {
        sink.record(&TraceEntry {
            job: None,
            group,
            step,
        });
    };
    record(TraceStep::Call(call));
    let result = carry_out();
    record(TraceStep::Return {
        verb: call.verb(),
        posted: false,
        error: None,
    });
    result
}

/// Records by the name that the job will have. Internal jobs are called something by the manager.
fn recorder(
    manager: &Manager,
    sink: &Arc<dyn TraceSink>,
    options: JobOptions,
    group: Option<&str>,
) -> (JobRecorder, JobOptions) {
    let options = if options.is_internal() && options.id().is_none() {
        options.internal_name(manager.fresh_internal_name())
    } else {
        options
    };
    let name = options.name_in_traces().unwrap_or_default();
    let recorder = JobRecorder::new(Arc::clone(sink), name, group);
    (recorder, options)
}

/// Records a call that concerns every job and may be refused.
fn record_attempt<T>(
    sink: &dyn TraceSink,
    call: Call<'_>,
    carry_out: impl FnOnce() -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let record = |step: TraceStep<'_>| {
        sink.record(&TraceEntry {
            job: None,
            group: None,
            step,
        });
    };
    record(TraceStep::Call(call));
    let result = carry_out();
    record_return(call.verb(), result.as_ref().err(), record);
    result
}

/// A [`DrainedSection`] whose calls are recorded.
#[must_use = "the jobs are let go when the section is dropped"]
pub struct RecordingDrainedSection {
    token: u64,
    /// Absent once it is being dropped.
    section: Option<DrainedSection>,
    sink: Arc<dyn TraceSink>,
    /// The job it is for; absent where it is for every job.
    job: Option<Arc<str>>,
    group: Option<Arc<str>>,
}

impl RecordingDrainedSection {
    /// [`DrainedSection::attach_context`], recorded.
    ///
    /// # Errors
    ///
    /// Those of [`DrainedSection::attach_context`].
    pub fn attach_context(
        &self,
        job: &RecordingHandle,
        context: &Context,
    ) -> Result<(), EngineError> {
        let Some(section) = &self.section else {
            return Ok(());
        };
        job.recorder.call(Call::Plain("attach-context"), || {
            section.attach_context(&job.job, context)
        })
    }

    /// [`DrainedSection::end`], recorded, as dropping it is.
    pub fn end(self) {}
}

impl Drop for RecordingDrainedSection {
    fn drop(&mut self) {
        let (job, group) = (self.job.as_deref(), self.group.as_deref());
        let section = self.section.take();
        let record = |step: TraceStep<'_>| self.sink.record(&TraceEntry { job, group, step });
        let call = Call::Numbered {
            verb: "drained-end",
            token: self.token,
        };
        record(TraceStep::Call(call));
        drop(section);
        record_return(call.verb(), None, record);
    }
}

/// Creates a job with its driver and its completion function recorded.
fn create<D: Driver, T>(
    recorder: &JobRecorder,
    options: JobOptions,
    driver: D,
    carry_out: impl FnOnce(JobOptions, Recorded<D>) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let (auto_finalize, auto_dismiss) = (options.finalizes_itself(), options.dismisses_itself());
    let job_type = driver.job_type();
    let call = Call::Create {
        job_type,
        block: options.is_block_job(),
        internal: options.is_internal(),
        speed_bytes_per_s: options.speed_bytes_per_s(),
        auto_finalize,
        auto_dismiss,
        can_complete: driver.supports_complete(),
        completion: options.has_completion(),
    };
    let for_completion = recorder.clone();
    let options = options.wrap_completion(move |completion, outcome| {
        for_completion.infallible(Callback::Completion, || completion(outcome));
    });
    let driver = Recorded::new(driver, recorder.clone());
    recorder.call(call, || carry_out(options, driver))
}

/// A [`CreatedJob`] whose start, or giving up, is recorded.
#[must_use = "dropping a created job gives it up: start it, or keep it until it is time"]
pub struct RecordingCreatedJob {
    /// Absent once started.
    created: Option<CreatedJob>,
    recorder: JobRecorder,
}

impl RecordingCreatedJob {
    /// [`CreatedJob::start`], recorded.
    pub fn start(mut self) -> RecordingHandle {
        let recorder = self.recorder.clone();
        let created = self.created.take();
        recorder.record(TraceStep::Call(Call::Plain("start")));
        // Present: only this method takes it, and it consumes `self`.
        let job = created.map(CreatedJob::start);
        recorder.record(TraceStep::Return {
            verb: "start",
            posted: false,
            error: None,
        });
        RecordingHandle {
            job: job.expect("a created job is there until it starts"),
            recorder,
        }
    }

    /// A handle, to pause or cancel the job before it starts.
    pub fn handle(&self) -> RecordingHandle {
        let created = self.created.as_ref();
        RecordingHandle {
            job: created
                .map(CreatedJob::handle)
                .expect("a created job is there until it starts"),
            recorder: self.recorder.clone(),
        }
    }
}

impl Drop for RecordingCreatedJob {
    fn drop(&mut self) {
        if let Some(created) = self.created.take() {
            let call = Call::Plain("early-fail");
            self.recorder.record(TraceStep::Call(call));
            drop(created);
            self.recorder.record(TraceStep::Return {
                verb: call.verb(),
                posted: false,
                error: None,
            });
        }
    }
}

/// A [`Transaction`] whose calls are recorded.
#[must_use = "dropping a transaction gives its jobs up: start it, or keep it until it is time"]
pub struct RecordingTransaction {
    /// Absent once started.
    transaction: Option<Transaction>,
    manager: Manager,
    recorders: Vec<JobRecorder>,
    sink: Arc<dyn TraceSink>,
}

impl RecordingTransaction {
    /// [`Transaction::name`].
    pub fn name(&self) -> Option<&str> {
        self.transaction.as_ref().map(Transaction::name)
    }

    /// [`Transaction::create`], recorded.
    ///
    /// # Errors
    ///
    /// Those of [`Transaction::create`].
    pub fn create(
        &mut self,
        options: JobOptions,
        driver: impl Driver,
    ) -> Result<RecordingHandle, EngineError> {
        let Some(transaction) = &mut self.transaction else {
            return Err(EngineError::TransactionOver);
        };
        let grouped = transaction.mode() == CompletionMode::Grouped;
        let group = grouped.then(|| transaction.name());
        let (recorder, options) = recorder(&self.manager, &self.sink, options, group);
        let job = create(&recorder, options, driver, |options, driver| {
            transaction.create(options, driver)
        })?;
        self.recorders.push(recorder.clone());
        Ok(RecordingHandle { job, recorder })
    }

    /// [`Transaction::start`], recorded as one call for the whole group, or one for each individual
    /// member.
    pub fn start(mut self) -> Vec<RecordingHandle> {
        let Some(transaction) = self.transaction.take() else {
            return Vec::new();
        };
        if transaction.mode() == CompletionMode::Individual {
            let recorders = std::mem::take(&mut self.recorders);
            let jobs = transaction.start_each(
                |place| recorders[place].record(TraceStep::Call(Call::Plain("start"))),
                |place| {
                    let record = |step: TraceStep<'_>| recorders[place].record(step);
                    record_return("start", None, record);
                },
            );
            return jobs
                .into_iter()
                .zip(recorders)
                .map(|(job, recorder)| RecordingHandle { job, recorder })
                .collect();
        }
        let name = transaction.name().to_owned();
        let jobs = record_for_several(&*self.sink, Some(&name), Call::Plain("start"), || {
            transaction.start()
        });
        jobs.into_iter()
            .zip(std::mem::take(&mut self.recorders))
            .map(|(job, recorder)| RecordingHandle { job, recorder })
            .collect()
    }
}

impl Drop for RecordingTransaction {
    fn drop(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            let recorders = std::mem::take(&mut self.recorders);
            transaction.give_up(
                |position| {
                    recorders[position].record(TraceStep::Call(Call::Plain("early-fail")));
                },
                |position| {
                    recorders[position].record(TraceStep::Return {
                        verb: "early-fail",
                        posted: false,
                        error: None,
                    });
                },
            );
        }
    }
}

/// A [`JobHandle`] whose verbs are recorded.
#[derive(Clone, Debug)]
pub struct RecordingHandle {
    job: JobHandle,
    recorder: JobRecorder,
}

impl RecordingHandle {
    /// The handle itself: for what asks nothing of the job. Its verbs are not recorded.
    pub fn job(&self) -> &JobHandle {
        &self.job
    }

    /// [`JobHandle::id`].
    pub fn id(&self) -> &str {
        self.job.id()
    }

    /// [`JobHandle::status`].
    pub fn status(&self) -> Status {
        self.job.status()
    }

    /// [`JobHandle::info`].
    pub fn info(&self) -> JobInfo {
        self.job.info()
    }

    /// [`JobHandle::outcome`].
    pub fn outcome(&self) -> Option<JobOutcome> {
        self.job.outcome()
    }

    /// [`JobHandle::wait_concluded`].
    ///
    /// # Errors
    ///
    /// Those of [`JobHandle::wait_concluded`].
    pub fn wait_concluded(&self) -> Result<JobOutcome, EngineError> {
        self.job.wait_concluded()
    }

    /// [`JobHandle::pause`], recorded.
    ///
    /// # Errors
    ///
    /// Those of [`JobHandle::pause`].
    pub fn pause(&self) -> Result<(), EngineError> {
        self.recorder
            .call(Call::Plain("pause"), || self.job.pause())
    }

    /// [`JobHandle::resume`], recorded.
    ///
    /// # Errors
    ///
    /// Those of [`JobHandle::resume`].
    pub fn resume(&self) -> Result<(), EngineError> {
        self.recorder
            .verb(Call::Plain("resume"), &self.job, Request::Resume)
    }

    /// [`JobHandle::cancel`], recorded.
    ///
    /// # Errors
    ///
    /// Those of [`JobHandle::cancel`].
    pub fn cancel(&self, mode: CancelMode) -> Result<(), EngineError> {
        let force = mode == CancelMode::Force;
        self.recorder
            .verb(Call::Cancel { force }, &self.job, Request::Cancel { force })
    }

    /// [`JobHandle::complete`], recorded.
    ///
    /// # Errors
    ///
    /// Those of [`JobHandle::complete`].
    pub fn complete(&self) -> Result<(), EngineError> {
        self.recorder
            .verb(Call::Plain("complete"), &self.job, Request::Complete)
    }

    /// [`JobHandle::finalize`], recorded.
    ///
    /// # Errors
    ///
    /// Those of [`JobHandle::finalize`].
    pub fn finalize(&self) -> Result<(), EngineError> {
        self.recorder
            .verb(Call::Plain("finalize"), &self.job, Request::Finalize)
    }

    /// [`JobHandle::dismiss`], recorded.
    ///
    /// # Errors
    ///
    /// Those of [`JobHandle::dismiss`].
    pub fn dismiss(&self) -> Result<(), EngineError> {
        self.recorder
            .verb(Call::Plain("dismiss"), &self.job, Request::Dismiss)
    }

    /// [`JobHandle::set_speed`], recorded.
    ///
    /// # Errors
    ///
    /// Those of [`JobHandle::set_speed`].
    pub fn set_speed(&self, bytes_per_s: i64) -> Result<(), EngineError> {
        let request = Request::SetSpeed { bytes_per_s };
        self.recorder
            .verb(Call::SetSpeed { bytes_per_s }, &self.job, request)
    }

    /// [`JobHandle::reset_io_status`], recorded.
    ///
    /// # Errors
    ///
    /// Those of [`JobHandle::reset_io_status`].
    pub fn reset_io_status(&self) -> Result<(), EngineError> {
        self.recorder.call(Call::Plain("reset-io-status"), || {
            self.job.reset_io_status()
        })
    }

    /// [`JobHandle::drained_begin`], recorded.
    ///
    /// # Errors
    ///
    /// Those of [`JobHandle::drained_begin`].
    pub fn drained_begin(&self) -> Result<RecordingDrainedSection, EngineError> {
        let token = fresh_number();
        let call = Call::Numbered {
            verb: "drained-begin",
            token,
        };
        let section = self.recorder.call(call, || self.job.drained_begin())?;
        Ok(RecordingDrainedSection {
            token,
            section: Some(section),
            sink: Arc::clone(&self.recorder.sink),
            job: Some(Arc::clone(&self.recorder.job)),
            group: self.recorder.group.clone(),
        })
    }
}

impl fmt::Debug for RecordingManager {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RecordingManager")
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RecordingCreatedJob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.created.fmt(formatter)
    }
}

impl fmt::Debug for RecordingDrainedSection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.section.fmt(formatter)
    }
}

impl fmt::Debug for RecordingTransaction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.transaction.fmt(formatter)
    }
}
