//! What whoever asks is told: the driver of its job, the creator of its options, the caller of what it
//! holds in hand.
//!
//! Goal: what was given is what is read back, what nobody overrides is what the documentation says, and a
//! decision can be asked for as long as its job is there. Method: `engine_support`; each is asked in the one
//! place where it is the only answer.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::thread::{spawn, yield_now};
use std::time::Duration;

use blockjob::driver::{Driver, Errno, JobError, RunContext};
use blockjob::engine::{Decision, EngineError, JobOptions};
use blockjob::model::{Refusal, Status};
use engine_support::{Bench, Step, endless, idle, work};

/// Says no more than it must.
struct Plain {
    completes: bool,
}

impl Driver for Plain {
    fn job_type(&self) -> &'static str {
        "plain"
    }
    fn run(&self, _: RunContext<'_>) -> Result<(), JobError> {
        Ok(())
    }
    fn supports_complete(&self) -> bool {
        self.completes
    }
}

/// SEMANTICS.md §5.4.
#[test]
fn unless_overridden_only_a_soft_cancel_of_a_ready_job_that_can_be_completed_is_soft() {
    for (force, ready, completes) in
        (0..8).map(|bits| (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0))
    {
        let soft = !force && ready && completes;
        assert_eq!(
            Plain { completes }.cancel(force, ready),
            !soft,
            "force {force}, ready {ready}, can be completed {completes}"
        );
    }
}

#[test]
fn a_body_is_told_its_id_and_its_speed_and_so_are_its_lanes() {
    let mut bench = Bench::new();
    let told = Arc::new(Mutex::new(None));
    let tell = Arc::clone(&told);
    let driver = work(move |mut context| {
        let gate = context.gate();
        // Nothing is in flight, nobody pauses, nobody cancels; then one piece is in flight.
        let mut closed = vec![gate.is_closed(), gate.is_cancelled()];
        let permit = gate.enter();
        closed.extend([permit.is_none(), gate.is_closed()]);
        drop(permit);
        // A hundred bytes at a thousand a second fill the first slice.
        let wait = (gate.charge(99), gate.charge(1));
        *tell.lock().unwrap() = Some((
            context.id().to_owned(),
            context.speed_bytes_per_s(),
            gate.speed_bytes_per_s(),
            closed,
            wait,
        ));
        Ok(())
    });
    let job = bench
        .manager
        .create(JobOptions::new("told").speed(1000), driver);
    job.unwrap().start();
    bench.finish();
    let wait = (Duration::ZERO, Duration::from_millis(100));
    let told = told.lock().unwrap().take();
    assert_eq!(
        told,
        Some(("told".to_owned(), 1000, 1000, vec![false; 4], wait))
    );
}

/// Decision 11: what enters a body that has not begun is nothing to it.
#[test]
fn a_change_of_speed_before_the_start_ends_no_sleep() {
    let mut bench = Bench::new();
    let woke = Arc::new(Mutex::new(None));
    let tell = Arc::clone(&woke);
    let driver = work(move |mut context| {
        let begun = context.now();
        let _ = context.sleep(Duration::from_secs(3));
        *tell.lock().unwrap() = Some(context.now().saturating_sub(begun));
        Ok(())
    });
    let job = bench.manager.create(JobOptions::new("j0"), driver).unwrap();
    job.handle().set_speed(4096).unwrap();
    job.start();
    bench.finish();
    assert_eq!(*woke.lock().unwrap(), Some(Duration::from_secs(3)));
}

#[test]
fn options_say_what_they_were_told() {
    let options = JobOptions::new("j0");
    let plain = (options.finalizes_itself(), options.dismisses_itself());
    assert_eq!(plain, (true, true));
    assert_eq!(
        (options.is_internal(), options.is_block_job()),
        (false, true)
    );
    assert_eq!(
        (options.speed_bytes_per_s(), options.has_completion()),
        (0, false)
    );
    let options = options
        .manual_finalize(true)
        .manual_dismiss(true)
        .block_job(false)
        .speed(-7)
        .on_completion(|_| ());
    let manual = (options.finalizes_itself(), options.dismisses_itself());
    assert_eq!(manual, (false, false));
    assert!(!options.is_block_job());
    assert_eq!(
        (options.speed_bytes_per_s(), options.has_completion()),
        (-7, true)
    );
    assert!(options.internal(true).is_internal());
}

#[test]
fn transactions_are_numbered_from_one() {
    let bench = Bench::new();
    let names: Vec<String> = (0..3)
        .map(|_| bench.manager.transaction().name().to_owned())
        .collect();
    assert_eq!(names, ["g1", "g2", "g3"]);
}

#[test]
fn who_is_paused_with_all_is_said_oldest_first() {
    let mut bench = Bench::new();
    for id in ["old", "new"] {
        bench
            .manager
            .create(JobOptions::new(id), endless())
            .unwrap()
            .start();
    }
    let token = bench.manager.pause_all();
    assert_eq!(token.ids().collect::<Vec<_>>(), ["old", "new"]);
    bench.manager.resume_all(token);
    for job in bench.manager.jobs() {
        job.cancel(blockjob::engine::CancelMode::Force).unwrap();
    }
    bench.finish();
}

#[test]
fn an_abort_in_prepare_is_a_refusal_and_names_its_cause() {
    let cause = JobError::new(Errno::NO_SPACE);
    let error = EngineError::PrepareFailed {
        id: "j0".to_owned(),
        error: cause.clone(),
    };
    assert_eq!(error.refusal(), Some(Refusal::PrepareFailed));
    assert_eq!(error.source().unwrap().to_string(), cause.to_string());
    assert!(EngineError::MainLoopGone.source().is_none());
}

#[test]
fn tasks_that_were_done_are_counted() {
    let mut bench = Bench::new();
    assert_eq!(bench.main_loop.run_pending(), 0);
    let job = bench.manager.create(JobOptions::new("j0"), idle("idle"));
    let job = job.unwrap().start();
    let mut done = 0;
    while job.status() != Status::Null {
        done += bench.main_loop.run_pending();
        yield_now();
    }
    assert_ne!(done, 0);
}

/// Decision 19: also long after it, as long as the job is there.
#[test]
fn what_was_decided_is_known_of_a_job_that_is_kept() {
    let mut bench = Bench::new();
    for (id, end, decision) in [
        ("good", Ok(()), Decision::Commit),
        ("bad", Err(JobError::new(Errno::IO)), Decision::Abort),
    ] {
        let (job, puppet) = bench.running(JobOptions::new(id).manual_dismiss(true));
        puppet.order(Step::End(end));
        bench.until(&job, Status::Concluded);
        let asked = job.clone();
        let told = spawn(move || asked.wait_decided());
        assert_eq!(told.join().unwrap().unwrap(), decision);
        job.dismiss().unwrap();
    }
    bench.finish();
}

#[test]
fn the_end_of_the_main_loop_cancels_who_runs_and_nobody_else() {
    let bench = Bench::new();
    let (manager, mut main_loop) = (bench.manager, bench.main_loop);
    let created = manager.create(JobOptions::new("created"), work(|_| Ok(())));
    let created = created.unwrap();
    let options = JobOptions::new("pending").manual_finalize(true);
    let pending = manager.create(options, work(|_| Ok(()))).unwrap().start();
    let running = manager
        .create(JobOptions::new("running"), endless())
        .unwrap();
    let running = running.start();
    assert!(main_loop.run_until(|| pending.status() == Status::Pending));
    drop(main_loop);
    assert!(running.info().cancel_requested);
    for job in [created.handle(), pending] {
        assert!(!job.info().cancel_requested, "{}", job.id());
    }
}
