//! Panics of other people's code: drivers and trace sinks.
//!
//! Goal: what the table of [`blockjob::driver`] says becomes of each callback that panics, and nobody waits for
//! ever: not the main loop, not another job, not whoever asked for what was being carried out.
//! Method: one job panics in one callback while its user asks everything of it; another job beside it does not.
//! The panic's payload panics itself when it is dropped.

#![allow(clippy::unwrap_used)]

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use blockjob::driver::{Driver, Errno, Finish, Flow, JobError, RunContext};
use blockjob::engine::{
    CancelMode, Context, EngineError, JobHandle, JobOptions, Manager, ManagerConfig,
};
use blockjob::model::Status;
use blockjob::trace::{TraceEntry, TraceSink, TraceStep};

/// What a panic carries, and a second one.
struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        assert!(thread::panicking(), "the payload is nobody's to drop");
    }
}

/// Converges, and panics in the callback of this name.
struct Clumsy {
    at: &'static str,
    called: Arc<Mutex<Vec<&'static str>>>,
}

impl Clumsy {
    fn reaches(&self, callback: &'static str) {
        self.called.lock().unwrap().push(callback);
        if callback == self.at {
            std::panic::panic_any(Payload);
        }
    }
}

impl Driver for Clumsy {
    fn job_type(&self) -> &'static str {
        "clumsy"
    }
    fn supports_complete(&self) -> bool {
        true
    }
    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        self.reaches("run");
        let mut context = context.ready();
        let told = context.wait_for_finish();
        assert!(told != Finish::SoftCancel, "nobody asked for that");
        Ok(())
    }
    fn pause(&self) {
        self.reaches("pause");
    }
    fn resume(&self) {
        self.reaches("resume");
    }
    fn user_resume(&self) {
        self.reaches("user_resume");
    }
    fn set_speed(&self, _: u64) {
        self.reaches("set_speed");
    }
    fn drain(&self) {
        self.reaches("drain");
    }
    fn drained_poll(&self) -> bool {
        self.reaches("drained_poll");
        false
    }
    fn attached_context(&self, _: &Context) {
        self.reaches("attached_context");
    }
    fn complete(&self) {
        self.reaches("complete");
    }
    fn cancel(&self, force: bool, _: bool) -> bool {
        self.reaches("cancel");
        force
    }
    fn prepare(&self) -> Result<(), JobError> {
        self.reaches("prepare");
        Ok(())
    }
    fn commit(&self) {
        self.reaches("commit");
    }
    fn abort(&self) {
        self.reaches("abort");
    }
    fn clean(&self) {
        self.reaches("clean");
    }
    fn free(&self) {
        self.reaches("free");
    }
}

/// Does nothing until it is let go.
struct Bystander;

impl Driver for Bystander {
    fn job_type(&self) -> &'static str {
        "bystander"
    }
    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        match context.wait() {
            Flow::Continue => Ok(()),
            Flow::Cancelled => Err(JobError::canceled()),
        }
    }
}

/// What its user asks of the clumsy one. It may be over at any moment, so refusals are no matter.
fn ask_everything(manager: &Manager, job: &JobHandle, cancels: bool) {
    let _ = job.wait_for(&[Status::Ready]);
    let _ = job.set_speed(1);
    if let Ok(section) = job.drained_begin() {
        let _ = section.attach_context(job, &manager.context());
    }
    let _ = job.pause();
    let _ = job.wait_for(&[Status::Standby]);
    let _ = job.resume();
    let _ = if cancels {
        job.cancel(CancelMode::Force)
    } else {
        job.complete()
    };
}

fn panics_in(at: &'static str, cancels: bool) -> (Result<(), JobError>, Vec<&'static str>) {
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let called = Arc::new(Mutex::new(Vec::new()));
    let clumsy = Clumsy {
        at,
        called: Arc::clone(&called),
    };
    let told = Arc::clone(&called);
    let options = JobOptions::new("clumsy").on_completion(move |_| {
        told.lock().unwrap().push("completion");
        if at == "completion" {
            std::panic::panic_any(Payload);
        }
    });
    let job = manager.create(options, clumsy).unwrap().start();
    let other = manager
        .create(JobOptions::new("other"), Bystander)
        .unwrap()
        .start();
    thread::scope(|scope| {
        scope.spawn(|| {
            ask_everything(&manager, &job, cancels);
            let _ = job.wait_concluded();
            other.enter();
        });
        main_loop.run_until_idle();
    });
    main_loop.run_pending();
    assert_eq!(other.outcome(), Some(Ok(())), "{at} touches another job");
    let called = std::mem::take(&mut *called.lock().unwrap());
    assert!(called.contains(&at), "{at} was never called: {called:?}");
    // Whatever panicked, the way out is whole.
    for last in ["clean", "completion", "free"] {
        let times = called.iter().filter(|callback| **callback == last).count();
        assert_eq!(times, 1, "{last} after a panic in {at}: {called:?}");
    }
    (job.outcome().unwrap(), called)
}

#[test]
fn a_panic_in_what_may_fail_is_the_failure_of_that_job() {
    for at in ["run", "pause", "resume", "prepare"] {
        let (outcome, called) = panics_in(at, false);
        let within = if at == "prepare" { "prepare" } else { "run" };
        let words = format!("the driver panicked in {within}: no message");
        assert_eq!(outcome, Err(JobError::with_message(Errno::IO, words)));
        assert!(called.contains(&"abort") && !called.contains(&"commit"));
    }
}

#[test]
fn a_panic_in_what_cannot_fail_changes_nothing() {
    for at in [
        "user_resume",
        "set_speed",
        "drain",
        "drained_poll",
        "attached_context",
        "complete",
        "commit",
        "clean",
        "completion",
        "free",
    ] {
        let (outcome, called) = panics_in(at, false);
        assert_eq!(outcome, Ok(()), "a panic in {at}");
        assert!(called.contains(&"commit") && !called.contains(&"abort"));
    }
    for at in ["cancel", "abort", "clean", "completion", "free"] {
        let (outcome, called) = panics_in(at, true);
        assert_eq!(outcome, Err(JobError::canceled()), "a panic in {at}");
        assert!(called.contains(&"abort") && !called.contains(&"commit"));
    }
}

/// Panics when somebody is aborted.
struct Brittle;

impl TraceSink for Brittle {
    fn record(&self, entry: &TraceEntry<'_>) {
        assert!(
            entry.step != TraceStep::Status(Status::Aborting),
            "no more room"
        );
    }
}

/// Says that it runs, and how its wait ended.
struct Sleeper(Mutex<Sender<Option<Flow>>>);
impl Driver for Sleeper {
    fn job_type(&self) -> &'static str {
        "sleeper"
    }
    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        let said = self.0.lock().unwrap();
        said.send(None).unwrap();
        said.send(Some(context.wait())).unwrap();
        Ok(())
    }
}

#[test]
fn whoever_asked_for_what_panics_in_the_main_loop_is_told_that_it_is_gone() {
    let (send, receive) = channel();
    let main_loop = thread::spawn(move || {
        let config = ManagerConfig::default().trace(Arc::new(Brittle));
        let (manager, mut main_loop) = Manager::new(config);
        send.send(manager).unwrap();
        main_loop.run();
    });
    let manager: Manager = receive.recv().unwrap();
    let (ends, ended) = channel();
    let sleeper = manager
        .create(JobOptions::new("sleeper"), Sleeper(Mutex::new(ends)))
        .unwrap()
        .start();
    assert_eq!(ended.recv().unwrap(), None, "it runs");
    let unstarted = manager
        .create(JobOptions::new("unstarted"), Bystander)
        .unwrap();
    assert_eq!(
        unstarted.handle().cancel(CancelMode::Force),
        Err(EngineError::MainLoopGone)
    );
    assert!(main_loop.join().is_err());
    assert_eq!(ended.recv().unwrap(), Some(Flow::Cancelled));
    assert_eq!(sleeper.wait_concluded(), Err(EngineError::MainLoopGone));
}
