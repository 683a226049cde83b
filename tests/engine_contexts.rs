//! Where bodies run.
//!
//! Goal: a job that moves to another context runs there and nowhere else, whoever has a thread to spare first
//! (SEMANTICS.md §4.8).
//! Method: every context has one thread, so that a thread's identity says which context it is of; what is
//! queued behind a job says when that job's turn has passed.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{ThreadId, current, spawn, yield_now};

use blockjob::driver::{Driver, Flow, JobError, RunContext};
use blockjob::engine::{CancelMode, Context, JobOptions, Manager, ManagerConfig};

/// Tells on which thread it runs; then ends, or stays until it is cancelled.
struct Tells {
    thread: Mutex<Sender<ThreadId>>,
    stays: bool,
}

fn tells(stays: bool) -> (Tells, Receiver<ThreadId>) {
    let (thread, told) = channel();
    let thread = Mutex::new(thread);
    (Tells { thread, stays }, told)
}

impl Driver for Tells {
    fn job_type(&self) -> &'static str {
        "tells"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        self.thread.lock().unwrap().send(current().id()).unwrap();
        while self.stays && context.wait() == Flow::Continue {}
        Ok(())
    }
}

#[test]
fn a_queued_job_that_moves_is_not_run_where_it_was_queued() {
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default().bodies_max(1));
    let there = Context::new("there", 1);
    let started = |id: &str, options: JobOptions, stays: bool| {
        let (driver, told) = tells(stays);
        let job = manager.create(options, driver).expect(id).start();
        (job, told)
    };

    // Both contexts have their only thread taken; one more job waits here, and moves.
    let (here_first, here_runs) = started("here", JobOptions::new("here"), true);
    let here_thread = here_runs.recv().unwrap();
    let options = JobOptions::new("there").context(&there);
    let (there_first, there_runs) = started("there", options, true);
    let there_thread = there_runs.recv().unwrap();
    assert_ne!(here_thread, there_thread);
    let (moves, moves_runs) = started("moves", JobOptions::new("moves"), false);
    let mover = {
        let (moves, there) = (moves.clone(), there.clone());
        spawn(move || {
            let section = moves.drained_begin()?;
            section.attach_context(&moves, &there)
        })
    };
    // The end of the move changes no status, so the loop is asked without waiting.
    while !mover.is_finished() {
        main_loop.run_pending();
        yield_now();
    }
    mover.join().unwrap().unwrap();

    // Here the thread is free first, and the job behind the one that moved has its turn.
    let (_, behind_runs) = started("behind", JobOptions::new("behind"), false);
    here_first.cancel(CancelMode::Force).unwrap();
    assert_eq!(behind_runs.recv().unwrap(), here_thread);
    assert!(
        moves_runs.try_recv().is_err(),
        "it ran where it no longer is"
    );

    there_first.cancel(CancelMode::Force).unwrap();
    assert_eq!(moves_runs.recv().unwrap(), there_thread);
    main_loop.run_until_idle();
    assert_eq!(moves.outcome(), Some(Ok(())));
}
