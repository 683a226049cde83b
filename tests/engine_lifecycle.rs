//! The lifecycle of single jobs: the order of statuses, callbacks and events, and the refusals.
//!
//! Goal: every canonical sequence of SEMANTICS.md §7.2 and callback log of §7.3 that a single job
//! can show, to the letter, and every verb in every status with the exact text of its refusal.
//! Method: `engine_support`: the test orders every step of the body and owns the main loop.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use blockjob::driver::{Driver, Errno, Flow, IoSide, JobError, RunContext};
use blockjob::engine::{CancelMode, EngineError, JobHandle, JobOptions, Manager, ManagerConfig};
use blockjob::model::{ErrorAction, ErrorPolicy, IoStatus, Status, Verb};

use engine_support::{Bench, Held, Step, io_error, refusal};

fn plain() -> JobOptions {
    JobOptions::new("j0")
}

#[test]
fn success_runs_prepares_commits_cleans_and_tells_in_that_order() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    puppet.order(Step::End(Ok(())));
    bench.finish();
    assert_eq!(
        bench.log.take(),
        [
            "j0 s:created",
            "j0 s:running",
            "j0 run",
            "j0 s:waiting",
            "j0 s:pending",
            "j0 prepare",
            "j0 commit",
            "j0 clean",
            "j0 completion",
            "j0 BLOCK_JOB_COMPLETED",
            "j0 s:concluded",
            "j0 s:null",
        ]
    );
    assert_eq!(job.outcome(), Some(Ok(())));
    assert_eq!(job.status(), Status::Null);
}

#[test]
fn failure_aborts_without_prepare_and_keeps_its_error() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    bench.log.take();
    puppet.order(Step::End(Err(io_error())));
    bench.finish();
    assert_eq!(
        bench.log.take(),
        [
            "j0 s:aborting",
            "j0 abort",
            "j0 clean",
            "j0 completion (Input/output error)",
            "j0 BLOCK_JOB_COMPLETED (Input/output error)",
            "j0 s:concluded",
            "j0 s:null",
        ]
    );
    assert_eq!(job.outcome(), Some(Err(io_error())));
}

#[test]
fn a_failed_prepare_aborts_and_finalize_answers_with_it() {
    let mut bench = Bench::new();
    let error = JobError::with_message(Errno::NO_SPACE, "the journal is full");
    let failure = error.clone();
    let (created, puppet) = bench.created_with(plain().manual_finalize(true), |script| {
        script.prepare = Err(failure);
    });
    let job = created.start();
    puppet.order(Step::End(Ok(())));
    bench.until(&job, Status::Pending);
    bench.log.take();
    assert_eq!(
        job.finalize(),
        Err(EngineError::PrepareFailed {
            id: "j0".to_owned(),
            error: error.clone()
        })
    );
    assert_eq!(
        bench.log.take(),
        [
            "j0 prepare",
            "j0 s:aborting",
            "j0 abort",
            "j0 clean",
            "j0 completion (the journal is full)",
            "j0 BLOCK_JOB_COMPLETED (the journal is full)",
            "j0 s:concluded",
            "j0 s:null",
        ]
    );
    assert_eq!(job.outcome(), Some(Err(error)));
}

#[test]
fn manual_finalize_and_manual_dismiss_wait_for_their_user() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain().manual_finalize(true).manual_dismiss(true));
    bench.log.take();
    puppet.order(Step::End(Ok(())));
    bench.until(&job, Status::Pending);
    assert_eq!(
        bench.log.take(),
        ["j0 s:waiting", "j0 s:pending", "j0 BLOCK_JOB_PENDING"]
    );
    job.finalize().unwrap();
    assert_eq!(
        bench.log.take(),
        [
            "j0 prepare",
            "j0 commit",
            "j0 clean",
            "j0 completion",
            "j0 BLOCK_JOB_COMPLETED",
            "j0 s:concluded",
        ]
    );
    assert!(bench.manager.job("j0").is_ok());
    job.dismiss().unwrap();
    assert_eq!(bench.log.take(), ["j0 s:null"]);
    assert!(bench.manager.job("j0").is_err());
    assert_eq!(refusal(job.dismiss()), "Job not found");
    bench.finish();
}

#[test]
fn an_id_is_free_once_its_job_is_null() {
    let bench = Bench::new();
    let (first, _puppet) = bench.created(plain());
    let (script, _other) = engine_support::Script::new("j0", &bench.log);
    assert_eq!(
        refusal(bench.manager.create(plain(), script)),
        "Job ID 'j0' already in use"
    );
    drop(first);
    assert_eq!(bench.log.take(), ["j0 s:created", "j0 s:null"]);
    let (_second, _puppet) = bench.created(plain());
    let (script, _other) = engine_support::Script::new("0id", &bench.log);
    assert_eq!(
        refusal(bench.manager.create(JobOptions::new("0id"), script)),
        "Invalid job ID '0id'"
    );
}

#[test]
fn a_job_given_up_before_its_start_calls_nothing_and_has_no_outcome() {
    let mut bench = Bench::new();
    let (created, _puppet) = bench.created(plain());
    let job = created.handle();
    drop(created);
    bench.finish();
    assert_eq!(bench.log.take(), ["j0 s:created", "j0 s:null"]);
    assert_eq!(job.outcome(), None);
    let answer = std::thread::spawn(move || job.wait_concluded())
        .join()
        .unwrap();
    assert_eq!(
        answer,
        Err(EngineError::NeverStarted {
            id: "j0".to_owned()
        })
    );
}

#[test]
fn pause_parks_and_resume_lets_go() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    bench.log.take();
    bench.park(&job, &puppet);
    assert_eq!(bench.log.take(), ["j0 pause", "j0 s:paused"]);
    job.resume().unwrap();
    puppet.done();
    assert_eq!(
        bench.log.take(),
        ["j0 user_resume", "j0 s:running", "j0 resume"]
    );
    puppet.order(Step::End(Ok(())));
    bench.finish();
}

#[test]
fn a_pause_before_the_start_is_honoured_before_run() {
    let mut bench = Bench::new();
    let (created, puppet) = bench.created(plain());
    let job = created.handle();
    job.pause().unwrap();
    let job = {
        drop(job);
        created.start()
    };
    bench.until(&job, Status::Paused);
    assert_eq!(
        bench.log.take(),
        ["j0 s:created", "j0 s:running", "j0 pause", "j0 s:paused"]
    );
    job.resume().unwrap();
    puppet.walk(Step::Point);
    assert_eq!(
        bench.log.take(),
        ["j0 user_resume", "j0 s:running", "j0 resume", "j0 run"]
    );
    puppet.order(Step::End(Ok(())));
    bench.finish();
}

#[test]
fn nested_pauses_end_with_the_last_release_and_tokens_release_their_own() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    let first = bench.manager.pause_all();
    bench.park(&job, &puppet);
    let (late, late_puppet) = bench.running(JobOptions::new("late"));
    let second = bench.manager.pause_all();
    assert_eq!(first.ids().collect::<Vec<_>>(), ["j0"]);
    assert_eq!(second.ids().collect::<Vec<_>>(), ["j0", "late"]);
    bench.log.take();

    bench.manager.resume_all(first);
    job.resume().unwrap();
    assert!(!puppet.is_done());
    assert!(job.info().pause_requested);
    // The token of the first pause_all did not touch the job created after it.
    assert!(late.info().pause_requested);
    assert_eq!(bench.log.take(), ["j0 user_resume"]);

    bench.manager.resume_all(second);
    puppet.done();
    assert_eq!(bench.log.take(), ["j0 s:running", "j0 resume"]);
    assert!(!late.info().pause_requested);
    for puppet in [puppet, late_puppet] {
        puppet.order(Step::End(Ok(())));
    }
    bench.finish();
}

#[test]
fn a_token_outlives_its_jobs() {
    let mut bench = Bench::new();
    let (_job, puppet) = bench.running(plain());
    let token = bench.manager.pause_all();
    puppet.order(Step::End(Ok(())));
    bench.finish();
    bench.manager.resume_all(token);
    assert!(bench.manager.jobs().is_empty());
}

#[test]
fn forced_cancel_beats_every_pause() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    let token = bench.manager.pause_all();
    bench.park(&job, &puppet);
    bench.log.take();
    assert_eq!(
        refusal(job.cancel(CancelMode::Soft)),
        "The block job for device 'j0' is currently paused"
    );
    job.cancel(CancelMode::Force).unwrap();
    bench.finish();
    assert_eq!(
        bench.log.take(),
        [
            "j0 cancel by force",
            "j0 user_resume",
            "j0 s:running",
            "j0 resume",
            "j0 sees the cancel",
            "j0 s:aborting",
            "j0 abort",
            "j0 clean",
            "j0 completion (Operation canceled)",
            "j0 BLOCK_JOB_CANCELLED",
            "j0 s:concluded",
            "j0 s:null",
        ]
    );
    bench.manager.resume_all(token);
}

#[test]
fn a_cancelled_run_that_succeeds_anyway_is_aborted() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    job.cancel(CancelMode::Soft).unwrap();
    bench.log.take();
    puppet.order(Step::End(Ok(())));
    bench.finish();
    assert_eq!(bench.log.take()[0], "j0 s:aborting");
    assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
}

#[test]
fn a_cancelled_run_that_fails_keeps_its_error_and_reports_cancelled() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    job.cancel(CancelMode::Force).unwrap();
    puppet.order(Step::End(Err(io_error())));
    bench.finish();
    let log = bench.log.take();
    assert!(
        log.contains(&"j0 BLOCK_JOB_CANCELLED".to_owned()),
        "{log:?}"
    );
    assert_eq!(job.outcome(), Some(Err(io_error())));
}

#[test]
fn cancel_before_the_start_finalises_at_once_without_an_event() {
    let mut bench = Bench::new();
    let (created, _puppet) = bench.created(plain().manual_dismiss(true));
    let job = created.handle();
    job.cancel(CancelMode::Soft).unwrap();
    assert_eq!(
        bench.log.take(),
        [
            "j0 s:created",
            "j0 cancel by force",
            "j0 s:aborting",
            "j0 abort",
            "j0 clean",
            "j0 completion (Operation canceled)",
            "j0 s:concluded",
            "j0 s:null",
        ]
    );
    let job = created.start();
    assert_eq!(job.status(), Status::Null);
    assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
    bench.finish();
    assert_eq!(bench.log.take(), Vec::<String>::new());
}

#[test]
fn a_job_cancelled_before_its_first_step_is_not_run() {
    let mut bench = Bench::new();
    let (created, _puppet) = bench.created(plain());
    created.handle().pause().unwrap();
    let job = created.start();
    bench.until(&job, Status::Paused);
    bench.log.take();
    job.cancel(CancelMode::Force).unwrap();
    bench.finish();
    let log = bench.log.take();
    assert!(!log.contains(&"j0 run".to_owned()), "{log:?}");
    assert_eq!(
        &log[..5],
        [
            "j0 cancel by force",
            "j0 user_resume",
            "j0 s:running",
            "j0 resume",
            "j0 s:aborting"
        ]
    );
}

#[test]
fn ready_then_complete_commits() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.ready(plain());
    assert_eq!(
        bench.log.take()[2..],
        ["j0 run", "j0 s:ready", "j0 BLOCK_JOB_READY"]
    );
    job.complete().unwrap();
    job.complete().expect("complete is latched");
    puppet.order(Step::Finish);
    bench.finish();
    let log = bench.log.take();
    assert_eq!(
        &log[..4],
        [
            "j0 complete",
            "j0 finishes by complete",
            "j0 s:waiting",
            "j0 s:pending"
        ]
    );
    assert_eq!(job.outcome(), Some(Ok(())));
}

#[test]
fn ready_then_soft_cancel_commits_and_refuses_a_later_complete() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.ready(plain());
    bench.log.take();
    job.cancel(CancelMode::Soft).unwrap();
    assert_eq!(
        refusal(job.complete()),
        "The active block job 'j0' cannot be completed"
    );
    puppet.order(Step::Finish);
    bench.finish();
    let log = bench.log.take();
    assert_eq!(
        &log[..2],
        ["j0 cancel softly", "j0 finishes by soft cancel"]
    );
    assert!(
        log.contains(&"j0 BLOCK_JOB_COMPLETED".to_owned()),
        "{log:?}"
    );
    assert_eq!(job.outcome(), Some(Ok(())));
}

#[test]
fn ready_then_forced_cancel_aborts() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.ready(plain());
    job.complete().unwrap();
    job.cancel(CancelMode::Force).unwrap();
    // A soft cancel takes nothing back of a forced one (P6).
    job.cancel(CancelMode::Soft).unwrap();
    puppet.order(Step::Finish);
    bench.finish();
    let log = bench.log.take();
    assert!(log.contains(&"j0 sees the cancel".to_owned()), "{log:?}");
    assert!(
        log.contains(&"j0 BLOCK_JOB_CANCELLED".to_owned()),
        "{log:?}"
    );
    assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
}

#[test]
fn complete_in_standby_waits_for_the_resume() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.ready(plain());
    job.pause().unwrap();
    puppet.order(Step::Finish);
    bench.until(&job, Status::Standby);
    bench.log.take();
    job.complete().unwrap();
    assert_eq!(job.status(), Status::Standby);
    job.resume().unwrap();
    bench.finish();
    assert_eq!(
        bench.log.take()[..6],
        [
            "j0 complete",
            "j0 user_resume",
            "j0 s:ready",
            "j0 resume",
            "j0 finishes by complete",
            "j0 s:waiting"
        ]
    );
}

#[test]
fn a_waiting_finish_is_told_wherever_it_is() {
    let mut bench = Bench::new();
    for (request, said) in [
        (
            Box::new(JobHandle::complete) as Box<dyn Fn(&JobHandle) -> Result<(), EngineError>>,
            "j0 finishes by complete",
        ),
        (
            Box::new(|job: &JobHandle| job.cancel(CancelMode::Soft)),
            "j0 finishes by soft cancel",
        ),
        (
            Box::new(|job: &JobHandle| job.cancel(CancelMode::Force)),
            "j0 sees the cancel",
        ),
    ] {
        let (job, puppet) = bench.ready(plain());
        puppet.order(Step::Finish);
        request(&job).unwrap();
        bench.finish();
        let log = bench.log.take();
        assert!(log.contains(&said.to_owned()), "{said}: {log:?}");
    }
}

#[test]
fn cancel_in_pending_aborts_whatever_its_kind() {
    for mode in [CancelMode::Soft, CancelMode::Force] {
        let mut bench = Bench::new();
        let (job, puppet) = bench.running(plain().manual_finalize(true));
        puppet.order(Step::End(Ok(())));
        bench.until(&job, Status::Pending);
        bench.log.take();
        job.cancel(mode).unwrap();
        assert_eq!(
            bench.log.take(),
            [
                "j0 cancel by force",
                "j0 s:aborting",
                "j0 abort",
                "j0 clean",
                "j0 completion (Operation canceled)",
                "j0 BLOCK_JOB_CANCELLED",
                "j0 s:concluded",
                "j0 s:null",
            ]
        );
        bench.finish();
    }
}

fn ask(job: &JobHandle, verb: Verb) -> Result<(), EngineError> {
    match verb {
        Verb::Cancel => job.cancel(CancelMode::Force),
        Verb::Pause => job.pause(),
        Verb::Resume => job.resume(),
        Verb::SetSpeed => job.set_speed(1000),
        Verb::Complete => job.complete(),
        Verb::Finalize => job.finalize(),
        Verb::Dismiss => job.dismiss(),
        Verb::Change => unreachable!("the engine has no such verb"),
    }
}

const VERBS: [Verb; 7] = [
    Verb::Cancel,
    Verb::Pause,
    Verb::Resume,
    Verb::SetSpeed,
    Verb::Complete,
    Verb::Finalize,
    Verb::Dismiss,
];

#[test]
fn every_verb_in_every_status_is_answered_by_the_table_to_the_letter() {
    let mut cells = 0;
    for status in Status::ALL {
        for verb in VERBS {
            let mut bench = Bench::new();
            let Some(held) = Held::in_status(&mut bench, status) else {
                continue;
            };
            let job = &held.job;
            bench.log.take();
            let before = job.info();
            let answer = ask(job, verb).map_err(|error| error.to_string());
            let expected = if status == Status::Null {
                match verb {
                    _ if verb.permitted_in(status) => unreachable!(),
                    _ => Err("Job not found".to_owned()),
                }
            } else if verb == Verb::Resume {
                // Nobody's user paused it; that is checked first (decision 33).
                Err("Can't resume a job that was not paused".to_owned())
            } else if verb.permitted_in(status) {
                Ok(())
            } else {
                Err(format!(
                    "Job 'j0' in state '{status}' cannot accept command verb '{verb}'"
                ))
            };
            assert_eq!(answer, expected, "{verb} in {status}");
            if answer.is_err() {
                assert_eq!(bench.log.take(), Vec::<String>::new(), "{verb} in {status}");
                assert_eq!(job.info(), before, "{verb} in {status}");
            }
            cells += 1;
            held.let_go();
        }
    }
    // All but undefined, waiting and aborting included: there it rests while a peer runs.
    assert_eq!(cells, (Status::COUNT - 1) * VERBS.len());
}

#[test]
fn verbs_on_a_created_job_follow_the_table() {
    for verb in VERBS {
        let bench = Bench::new();
        let (created, _puppet) = bench.created(plain());
        let job = created.handle();
        let answer = ask(&job, verb).map_err(|error| error.to_string());
        let expected = match verb {
            Verb::Resume => Err("Can't resume a job that was not paused".to_owned()),
            _ if verb.permitted_in(Status::Created) => Ok(()),
            _ => Err(format!(
                "Job 'j0' in state 'created' cannot accept command verb '{verb}'"
            )),
        };
        assert_eq!(answer, expected, "{verb}");
    }
}

#[test]
fn a_second_pause_and_a_needless_resume_are_refused() {
    let bench = Bench::new();
    let (created, _puppet) = bench.created(plain());
    let job = created.handle();
    job.pause().unwrap();
    assert_eq!(refusal(job.pause()), "Job is already paused");
    job.resume().unwrap();
    assert_eq!(
        refusal(job.resume()),
        "Can't resume a job that was not paused"
    );
}

#[test]
fn after_its_run_a_job_answers_as_in_waiting_whatever_its_status_says() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    job.pause().unwrap();
    puppet.order(Step::End(Ok(())));
    // The run's end clears the pause; the exit is a task that nobody has run yet. The status says
    // running until then.
    while job.info().user_paused {
        std::thread::yield_now();
    }
    assert_eq!(job.status(), Status::Running);
    for verb in [Verb::Pause, Verb::SetSpeed, Verb::Complete, Verb::Finalize] {
        assert_eq!(
            refusal(ask(&job, verb)),
            format!("Job 'j0' in state 'waiting' cannot accept command verb '{verb}'")
        );
    }
    assert_eq!(
        refusal(job.resume()),
        "Can't resume a job that was not paused"
    );
    bench.log.take();
    // A soft cancel aborts, as in waiting (decision 18).
    job.cancel(CancelMode::Soft).unwrap();
    assert_eq!(
        bench.log.take()[..2],
        ["j0 cancel by force", "j0 s:aborting"]
    );
    bench.finish();
    assert_eq!(bench.log.take(), Vec::<String>::new());
}

#[test]
fn complete_needs_a_driver_that_supports_it() {
    struct Stubborn;
    impl Driver for Stubborn {
        fn job_type(&self) -> &'static str {
            "stubborn"
        }
        fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
            let mut context = context.ready();
            while context.pause_point() == Flow::Continue && !context.finish_requested() {
                let _ = context.wait();
            }
            Ok(())
        }
    }
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let job = manager.create(plain(), Stubborn).unwrap().start();
    assert!(main_loop.run_until(|| job.status() == Status::Ready));
    assert_eq!(
        refusal(job.complete()),
        "The active block job 'j0' cannot be completed"
    );
    job.cancel(CancelMode::Force).unwrap();
    main_loop.run_until_idle();
}

#[test]
fn a_pause_reaches_a_sleeping_and_a_waiting_job_at_once() {
    for step in [Step::Sleep(Duration::from_secs(3600)), Step::Wait] {
        let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
        let log = engine_support::Log::default();
        let (script, puppet) = engine_support::Script::new("j0", &log);
        let job = manager.create(plain(), script).unwrap().start();
        puppet.order(step);
        while job.info().busy {
            std::thread::yield_now();
        }
        job.pause().unwrap();
        assert!(main_loop.run_until(|| job.status() == Status::Paused));
        job.resume().unwrap();
        // What was left of the sleep is forgotten.
        puppet.done();
        puppet.order(Step::End(Ok(())));
        main_loop.run_until_idle();
    }
}

#[test]
fn an_enter_of_a_busy_job_is_remembered() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    job.enter();
    // Without the enter this would wait for ever.
    puppet.walk(Step::Wait);
    puppet.order(Step::Wait);
    while job.info().busy {
        std::thread::yield_now();
    }
    job.enter();
    puppet.done();
    puppet.order(Step::End(Ok(())));
    bench.finish();
}

#[test]
fn virtual_sleeps_take_no_time_and_keep_their_order() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    puppet.order(Step::Sleep(Duration::from_secs(86_400)));
    puppet.order(Step::End(Ok(())));
    bench.finish();
    assert_eq!(job.outcome(), Some(Ok(())));
}

#[test]
fn a_real_sleep_is_ended_by_its_timer() {
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let log = engine_support::Log::default();
    let (script, puppet) = engine_support::Script::new("j0", &log);
    let job = manager.create(plain(), script).unwrap().start();
    let start = std::time::Instant::now();
    puppet.order(Step::Sleep(Duration::from_millis(20)));
    puppet.order(Step::End(Ok(())));
    main_loop.run_until_idle();
    assert_eq!(job.outcome(), Some(Ok(())));
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn waiting_on_the_main_loop_is_refused() {
    let bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    assert_eq!(job.wait_concluded(), Err(EngineError::WouldDeadlock));
    assert_eq!(
        job.cancel_sync(CancelMode::Force),
        Err(EngineError::WouldDeadlock)
    );
    assert!(!job.info().cancel_requested, "refused means untouched");
    puppet.order(Step::End(Ok(())));
}

#[test]
fn a_verb_from_a_callback_on_the_main_loop_is_posted_and_does_not_nest() {
    struct Meddler(std::sync::Mutex<Option<JobHandle>>, Arc<AtomicBool>);
    impl Driver for Meddler {
        fn job_type(&self) -> &'static str {
            "meddler"
        }
        fn run(&self, _: RunContext<'_>) -> Result<(), JobError> {
            Ok(())
        }
        fn commit(&self) {
            let other = self.0.lock().unwrap().take().unwrap();
            // A pause is one section of the caller; it needs no main loop.
            other.pause().unwrap();
            // Who waits would wait for itself.
            assert_eq!(
                other.cancel_sync(CancelMode::Force),
                Err(EngineError::WouldDeadlock)
            );
            other.cancel(CancelMode::Force).unwrap();
            assert!(!other.info().cancel_requested, "accepted, not carried out");
            // What is refused is refused at once.
            assert!(other.dismiss().is_err());
            self.1.store(true, Ordering::Release);
        }
    }
    let mut bench = Bench::new();
    let (other, puppet) = bench.running(JobOptions::new("other"));
    let asked = Arc::new(AtomicBool::new(false));
    let meddler = Meddler(
        std::sync::Mutex::new(Some(other.clone())),
        Arc::clone(&asked),
    );
    let job = bench.manager.create(plain(), meddler).unwrap().start();
    bench.until(&job, Status::Null);
    assert!(asked.load(Ordering::Acquire));
    puppet.order(Step::Point);
    bench.finish();
    assert_eq!(other.outcome(), Some(Err(JobError::canceled())));
}

#[test]
fn verbs_of_other_threads_are_carried_out_by_the_main_loop() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.ready(plain().manual_finalize(true).manual_dismiss(true));
    puppet.order(Step::Finish);
    let user = {
        let job = job.clone();
        std::thread::spawn(move || {
            job.set_speed(77)?;
            job.complete()?;
            assert_eq!(job.wait_for(&[Status::Pending])?, Status::Pending);
            job.finalize()?;
            let outcome = job.wait_concluded()?;
            job.dismiss()?;
            Ok::<_, EngineError>((outcome, job.status()))
        })
    };
    bench.finish();
    assert_eq!(user.join().unwrap(), Ok((Ok(()), Status::Null)));
    assert_eq!(job.outcome(), Some(Ok(())));
}

#[test]
fn without_its_main_loop_nobody_waits_and_bodies_end() {
    let bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    let _held = bench.manager.pause_all();
    puppet.order(Step::Point);
    let user = {
        let job = job.clone();
        std::thread::spawn(move || job.wait_concluded())
    };
    let Bench {
        manager, main_loop, ..
    } = bench;
    drop(main_loop);
    assert_eq!(user.join().unwrap(), Err(EngineError::MainLoopGone));
    assert_eq!(
        job.cancel(CancelMode::Force),
        Err(EngineError::MainLoopGone)
    );
    let (script, _puppet) = engine_support::Script::new("j1", &engine_support::Log::default());
    assert_eq!(
        manager.create(JobOptions::new("j1"), script).map(drop),
        Err(EngineError::MainLoopGone)
    );
    // The body saw a forced cancel and returned.
    puppet.done();
}

#[test]
fn a_stop_error_pauses_until_the_user_resumes() {
    struct Failing(AtomicBool);
    impl Driver for Failing {
        fn job_type(&self) -> &'static str {
            "failing"
        }
        fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
            let ignored = context.error_action(ErrorPolicy::Ignore, IoSide::Read, Errno::IO);
            assert_eq!(ignored, ErrorAction::Ignore);
            let stopped = context.error_action(ErrorPolicy::Auto, IoSide::Write, Errno::NO_SPACE);
            assert_eq!(stopped, ErrorAction::Stop);
            let _ = context.pause_point();
            self.0.store(true, Ordering::Release);
            Ok(())
        }
    }
    let mut bench = Bench::new();
    let driver = Arc::new(Failing(AtomicBool::new(false)));
    let job = bench
        .manager
        .create(plain(), Arc::clone(&driver))
        .unwrap()
        .start();
    bench.until(&job, Status::Paused);
    assert_eq!(
        bench.log.take()[2..],
        ["j0 BLOCK_JOB_ERROR", "j0 BLOCK_JOB_ERROR", "j0 s:paused"]
    );
    assert!(job.info().io_status == IoStatus::NoSpace && job.info().user_paused);
    assert_eq!(refusal(job.pause()), "Job is already paused");
    assert!(!driver.0.load(Ordering::Acquire));
    job.resume().unwrap();
    assert!(job.info().io_status == IoStatus::Ok && !job.info().user_paused);
    bench.finish();
    assert_eq!(job.outcome(), Some(Ok(())));
}

#[test]
fn a_panic_in_run_is_a_failure_of_that_job_alone() {
    struct Clumsy;
    impl Driver for Clumsy {
        fn job_type(&self) -> &'static str {
            "clumsy"
        }
        fn run(&self, _: RunContext<'_>) -> Result<(), JobError> {
            panic!("tripped");
        }
    }
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let job = manager.create(plain(), Clumsy).unwrap().start();
    main_loop.run_until_idle();
    assert_eq!(
        job.outcome(),
        Some(Err(JobError::with_message(
            Errno::IO,
            "the driver panicked in run: tripped"
        )))
    );
}

#[test]
fn shutdown_ends_the_loop_and_leaves_the_jobs() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    let manager = bench.manager.clone();
    let user = std::thread::spawn(move || manager.shutdown());
    bench.main_loop.run();
    user.join().unwrap();
    assert_eq!(job.status(), Status::Running);
    puppet.order(Step::End(Ok(())));
    bench.finish();
    assert_eq!(job.outcome(), Some(Ok(())));
}

#[test]
fn error_numbers_read_as_the_c_library_has_them() {
    for (errno, text) in [
        (Errno::CANCELED, "Operation canceled"),
        (Errno::IO, "Input/output error"),
        (Errno::NO_SPACE, "No space left on device"),
        (Errno::NOT_PERMITTED, "Operation not permitted"),
    ] {
        assert_eq!(errno.text(), text);
    }
    assert_eq!(Errno::new(0), None);
    assert_eq!(Errno::new(-5), None);
    let unnumbered = std::io::Error::other("short write");
    assert_eq!(
        JobError::from(unnumbered),
        JobError::with_message(Errno::IO, "short write")
    );
}

mod who_may_share_what {
    //! What may cross threads and what may be copied, asserted while compiling.

    use blockjob::driver::{Ready, RunContext, Running};
    use blockjob::engine::{
        CreatedJob, IoPermit, JobHandle, LaneGate, MainLoop, Manager, PauseAllToken, Progress,
        Transaction, stage,
    };
    use static_assertions::{assert_impl_all, assert_not_impl_any};

    assert_impl_all!(Manager: Clone, Send, Sync);
    assert_impl_all!(JobHandle: Clone, Send, Sync);
    assert_impl_all!(LaneGate: Clone, Send, Sync);
    assert_impl_all!(Progress: Send, Sync);
    // The main loop stays on the thread that made it.
    assert_not_impl_any!(MainLoop: Clone, Send, Sync);
    // Each of these is good for one step.
    assert_not_impl_any!(CreatedJob: Clone, Copy);
    assert_not_impl_any!(Transaction: Clone, Copy);
    assert_not_impl_any!(PauseAllToken: Clone, Copy);
    assert_not_impl_any!(RunContext<'static, Running>: Clone, Copy);
    assert_not_impl_any!(RunContext<'static, Ready>: Clone, Copy);
    assert_not_impl_any!(IoPermit<'static>: Clone, Copy);
    assert_not_impl_any!(stage::Created: Clone, Copy, Default);
    assert_not_impl_any!(stage::Running: Clone, Copy, Default);
    assert_not_impl_any!(stage::Prepared: Clone, Copy, Default);
    assert_not_impl_any!(stage::Failing: Clone, Copy, Default);
    assert_not_impl_any!(stage::Cleaned: Clone, Copy, Default);
}
