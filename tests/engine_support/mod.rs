//! A driver that does what the test tells it, and a log of everything in one order.
//!
//! The test's thread owns the main loop. A body takes its next step from a channel and blocks
//! while there is none, so nothing happens but what the test ordered, and no test sleeps.

#![allow(dead_code, missing_docs, unused_imports)]

mod held;
mod work;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blockjob::driver::{Driver, Errno, Finish, Flow, JobError, RunContext};
use blockjob::engine::{
    Context, CreatedJob, IoSide, JobHandle, JobOptions, MainLoop, Manager, ManagerConfig,
    Transaction,
};
use blockjob::model::{ErrorAction, ErrorPolicy, Status};
use blockjob::trace::{TraceEntry, TraceSink, TraceStep};

pub use held::Held;
pub use work::{Work, endless, idle, work};

/// What happened, line by line.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    /// The lines since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl TraceSink for Log {
    fn record(&self, entry: &TraceEntry<'_>) {
        let job = entry.job.unwrap_or("*");
        match entry.step {
            TraceStep::Status(status) => self.add(format!("{job} s:{status}")),
            TraceStep::Event(event, detail) => {
                let error = detail.error.map(|error| format!(" ({error})"));
                self.add(format!(
                    "{job} {}{}",
                    event.name(),
                    error.unwrap_or_default()
                ));
            }
            other => self.add(format!("{job} {other:?}")),
        }
    }
}

/// The next step of a body.
pub enum Step {
    /// A pause point.
    Point,
    /// Become ready.
    Ready,
    /// Wait to be told how to finish; return accordingly.
    Finish,
    /// Sleep.
    Sleep(Duration),
    /// Wait for an enter.
    Wait,
    /// An I/O error under this policy: report ends the run with it, ignore goes on, stop comes to a
    /// pause point first.
    Error(ErrorPolicy),
    /// Return.
    End(Result<(), JobError>),
}

pub struct Script {
    id: String,
    log: Log,
    steps: Mutex<Receiver<Step>>,
    done: Sender<()>,
    pub can_complete: bool,
    /// It answers every cancel as a soft one.
    pub takes_softly: bool,
    pub prepare: Result<(), JobError>,
    /// Whether its `free` is logged: it comes after everything, and most tests are over by then.
    pub says_free: bool,
}

/// The test's end of a script.
pub struct Puppet {
    steps: Sender<Step>,
    done: Receiver<()>,
}

impl Puppet {
    pub fn order(&self, step: Step) {
        self.steps.send(step).expect("the driver is alive");
    }

    /// Whether there was somebody to take the order.
    pub fn try_order(&self, step: Step) -> bool {
        self.steps.send(step).is_ok()
    }

    /// Orders a step and waits until the body has done it.
    pub fn walk(&self, step: Step) {
        self.order(step);
        self.done();
    }

    /// Waits until the body has done one more step.
    pub fn done(&self) {
        self.done.recv().expect("the driver is alive");
    }

    pub fn is_done(&self) -> bool {
        self.done.try_recv().is_ok()
    }
}

impl Script {
    pub fn new(id: &str, log: &Log) -> (Script, Puppet) {
        let (steps, orders) = channel();
        let (done, reports) = channel();
        let script = Script {
            id: id.to_owned(),
            log: log.clone(),
            steps: Mutex::new(orders),
            done,
            can_complete: false,
            takes_softly: false,
            prepare: Ok(()),
            says_free: false,
        };
        (
            script,
            Puppet {
                steps,
                done: reports,
            },
        )
    }

    fn say(&self, what: &str) {
        self.log.add(format!("{} {what}", self.id));
    }

    /// Whether to go on.
    fn flow(&self, flow: Flow) -> bool {
        if flow == Flow::Cancelled {
            self.say("sees the cancel");
        }
        self.done.send(()).ok();
        flow == Flow::Continue
    }
}

impl Driver for Script {
    fn job_type(&self) -> &'static str {
        "script"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        self.say("run");
        let next = || {
            self.steps
                .lock()
                .unwrap()
                .recv()
                .expect("the test is alive")
        };
        loop {
            match next() {
                Step::Point if !self.flow(context.pause_point()) => return Ok(()),
                Step::Sleep(time) if !self.flow(context.sleep(time)) => return Ok(()),
                Step::Wait if !self.flow(context.wait()) => return Ok(()),
                Step::Error(policy) => {
                    match context.error_action(policy, IoSide::Read, Errno::IO) {
                        ErrorAction::Report => return Err(io_error()),
                        ErrorAction::Ignore => drop(self.done.send(())),
                        ErrorAction::Stop if !self.flow(context.pause_point()) => return Ok(()),
                        ErrorAction::Stop => {}
                    }
                }
                Step::Point | Step::Sleep(_) | Step::Wait => {}
                Step::End(result) => return result,
                Step::Finish => panic!("not ready"),
                Step::Ready => break,
            }
        }
        let mut context = context.ready();
        self.done.send(()).ok();
        loop {
            match next() {
                Step::Point if !self.flow(context.pause_point()) => return Ok(()),
                Step::Sleep(time) if !self.flow(context.sleep(time)) => return Ok(()),
                Step::Wait if !self.flow(context.wait()) => return Ok(()),
                Step::Point | Step::Sleep(_) | Step::Wait => {}
                Step::End(result) => return result,
                Step::Ready | Step::Error(_) => panic!("no step of a ready job"),
                Step::Finish => {
                    let finish = context.wait_for_finish();
                    self.say(match finish {
                        Finish::Complete => "finishes by complete",
                        Finish::SoftCancel => "finishes by soft cancel",
                        Finish::Cancelled => "sees the cancel",
                    });
                    return Ok(());
                }
            }
        }
    }

    fn pause(&self) {
        self.say("pause");
    }
    fn resume(&self) {
        self.say("resume");
    }
    fn user_resume(&self) {
        self.say("user_resume");
    }
    fn supports_complete(&self) -> bool {
        self.can_complete
    }
    fn complete(&self) {
        self.say("complete");
    }
    fn cancel(&self, force: bool, ready: bool) -> bool {
        let forced = force || !ready;
        self.say(if forced {
            "cancel by force"
        } else {
            "cancel softly"
        });
        forced && !self.takes_softly
    }
    fn set_speed(&self, speed: u64) {
        self.say(&format!("set_speed {speed}"));
    }
    fn drain(&self) {
        self.say("drain");
    }
    fn drained_poll(&self) -> bool {
        self.say("drained_poll");
        false
    }
    fn attached_context(&self, context: &Context) {
        self.say(&format!("attached to {}", context.name()));
    }
    fn prepare(&self) -> Result<(), JobError> {
        self.say("prepare");
        self.prepare.clone()
    }
    fn commit(&self) {
        self.say("commit");
    }
    fn abort(&self) {
        self.say("abort");
    }
    fn clean(&self) {
        self.say("clean");
    }
    fn free(&self) {
        if self.says_free {
            self.say("free");
        }
    }
}

/// A manager, its main loop and its log.
pub struct Bench {
    pub manager: Manager,
    pub main_loop: MainLoop,
    pub log: Log,
    /// What all its scripts are given.
    pub adapt: fn(&mut Script),
}

impl Bench {
    pub fn new() -> Bench {
        let log = Log::default();
        let config = ManagerConfig::default()
            .virtual_time(true)
            .trace(Arc::new(log.clone()));
        let (manager, main_loop) = Manager::new(config);
        Bench {
            manager,
            main_loop,
            log,
            adapt: |_| (),
        }
    }

    /// A job that is created and not started.
    pub fn created(&self, options: JobOptions) -> (CreatedJob, Puppet) {
        self.created_with(options, |_| ())
    }

    pub fn created_with(
        &self,
        options: JobOptions,
        adapt: impl FnOnce(&mut Script),
    ) -> (CreatedJob, Puppet) {
        let (mut script, puppet) = Script::new(options.id().unwrap_or("?"), &self.log);
        (self.adapt)(&mut script);
        adapt(&mut script);
        let options = logged(options, &self.log);
        (self.manager.create(options, script).unwrap(), puppet)
    }

    /// A job that runs and waits for orders.
    pub fn running(&self, options: JobOptions) -> (JobHandle, Puppet) {
        let (created, puppet) = self.created(options);
        let job = created.start();
        // A step that is done: the body is in `run`.
        puppet.walk(Step::Point);
        (job, puppet)
    }

    /// A job that is ready and waits for orders.
    pub fn ready(&self, options: JobOptions) -> (JobHandle, Puppet) {
        let (created, puppet) = self.created_with(options, |script| script.can_complete = true);
        let job = created.start();
        puppet.walk(Step::Ready);
        (job, puppet)
    }

    /// Adds a member to `transaction`.
    pub fn member(
        &self,
        transaction: &mut Transaction,
        options: JobOptions,
        adapt: impl FnOnce(&mut Script),
    ) -> (JobHandle, Puppet) {
        let (mut script, puppet) = Script::new(options.id().unwrap_or("?"), &self.log);
        (self.adapt)(&mut script);
        adapt(&mut script);
        let options = logged(options, &self.log);
        (transaction.create(options, script).unwrap(), puppet)
    }

    /// Drives the main loop until `job` is in `status`.
    pub fn until(&mut self, job: &JobHandle, status: Status) {
        assert!(self.main_loop.run_until(|| job.status() == status));
    }

    /// Lets the body run into a pause and returns once it is acknowledged.
    pub fn park(&mut self, job: &JobHandle, puppet: &Puppet) {
        job.pause().unwrap();
        puppet.order(Step::Point);
        assert!(self.main_loop.run_until(|| job.status().is_parked()));
    }

    pub fn finish(&mut self) {
        self.main_loop.run_until_idle();
    }
}

fn logged(options: JobOptions, log: &Log) -> JobOptions {
    let (id, log) = (options.id().unwrap_or("?").to_owned(), log.clone());
    options.on_completion(move |outcome| {
        log.add(match outcome {
            Ok(()) => format!("{id} completion"),
            Err(error) => format!("{id} completion ({error})"),
        });
    })
}

pub fn io_error() -> JobError {
    JobError::new(Errno::IO)
}

/// The text of a refusal.
pub fn refusal<T: std::fmt::Debug>(result: Result<T, blockjob::engine::EngineError>) -> String {
    result.expect_err("refused").to_string()
}
