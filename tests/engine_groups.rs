//! Jobs that end together: transactions.
//!
//! Goal: all commit or all abort (P13), newest first, whoever fails and whenever, including members
//! that never started. Method: `engine_support`; expected logs are whole transcripts.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::sync::Arc;

use blockjob::driver::{Driver, Errno, JobError, RunContext};
use blockjob::engine::{CancelMode, EngineError, JobHandle, JobOptions, Manager, ManagerConfig};
use blockjob::model::Status;
use blockjob::trace::RecordingManager;

use engine_support::{Bench, Log, Puppet, Step, idle, io_error, refusal};

fn options(id: &str) -> JobOptions {
    JobOptions::new(id)
}

/// Started members `a` (older) and `b` (newer), both inside `run`, with an empty log.
fn pair(bench: &Bench, adapt: fn(JobOptions) -> JobOptions) -> [(JobHandle, Puppet); 2] {
    let mut transaction = bench.manager.transaction();
    let members = ["a", "b"].map(|id| {
        let (job, puppet) = bench.member(&mut transaction, adapt(options(id)), |_| ());
        (job, puppet)
    });
    let started = transaction.start();
    assert_eq!(started.len(), 2);
    for (_, puppet) in &members {
        puppet.walk(Step::Point);
    }
    bench.log.take();
    members
}

/// The lines of the tail of one member.
fn tail(id: &str, decision: &str, completion: &str, event: &str) -> Vec<String> {
    [
        decision,
        "clean",
        completion,
        event,
        "s:concluded",
        "s:null",
    ]
    .map(|line| format!("{id} {line}"))
    .to_vec()
}

const CANCELLED: &str = "completion (Operation canceled)";

fn lines(parts: &[&[&str]], tails: &[Vec<String>]) -> Vec<String> {
    parts
        .iter()
        .flat_map(|part| part.iter().map(|line| (*line).to_owned()))
        .chain(tails.iter().flatten().cloned())
        .collect()
}

#[test]
fn all_prepared_before_any_commit_and_newest_first() {
    let mut bench = Bench::new();
    let [(a, for_a), (b, for_b)] = pair(&bench, |options| options);
    for_a.order(Step::End(Ok(())));
    bench.until(&a, Status::Waiting);
    for_b.order(Step::End(Ok(())));
    bench.finish();
    assert_eq!(
        bench.log.take(),
        lines(
            &[&[
                "a s:waiting",
                "b s:waiting",
                "b s:pending",
                "a s:pending",
                "b prepare",
                "a prepare",
            ]],
            &[
                tail("b", "commit", "completion", "BLOCK_JOB_COMPLETED"),
                tail("a", "commit", "completion", "BLOCK_JOB_COMPLETED"),
            ]
        )
    );
    assert_eq!((a.outcome(), b.outcome()), (Some(Ok(())), Some(Ok(()))));
}

#[test]
fn one_manual_member_holds_the_whole_group_and_any_member_may_be_named() {
    let mut bench = Bench::new();
    let mut transaction = bench.manager.transaction();
    let (a, for_a) = bench.member(&mut transaction, options("a").manual_finalize(true), |_| ());
    let (b, for_b) = bench.member(&mut transaction, options("b"), |_| ());
    transaction.start();
    for puppet in [&for_a, &for_b] {
        puppet.order(Step::End(Ok(())));
    }
    bench.until(&b, Status::Pending);
    let log = bench.log.take();
    assert_eq!(
        log[log.len() - 3..],
        ["b s:pending", "a s:pending", "a BLOCK_JOB_PENDING"]
    );
    b.finalize().unwrap();
    // Whoever was named (P36).
    for job in [&a, &b] {
        assert_ne!(job.status(), Status::Pending);
    }
    assert_eq!(
        bench.log.take()[..3],
        ["b prepare", "a prepare", "b commit"]
    );
    bench.finish();
}

#[test]
fn a_failed_run_cancels_the_running_member_and_keeps_its_own_error() {
    let mut bench = Bench::new();
    let [(a, for_a), (b, for_b)] = pair(&bench, |options| options);
    for_b.order(Step::End(Err(io_error())));
    bench.until(&b, Status::Null);
    assert_eq!(
        bench.log.take(),
        lines(
            &[&["b s:aborting", "a cancel by force"]],
            &[tail(
                "b",
                "abort",
                "completion (Input/output error)",
                "BLOCK_JOB_COMPLETED (Input/output error)"
            )]
        )
    );
    // The abort waits for `a` without blocking the main loop.
    assert_eq!(a.status(), Status::Running);
    for_a.order(Step::Point);
    bench.finish();
    assert_eq!(
        bench.log.take(),
        lines(
            &[&["a sees the cancel", "a s:aborting"]],
            &[tail("a", "abort", CANCELLED, "BLOCK_JOB_CANCELLED")]
        )
    );
    assert_eq!(a.outcome(), Some(Err(JobError::canceled())));
    assert_eq!(b.outcome(), Some(Err(io_error())));
}

#[test]
fn the_abort_waits_for_the_newest_first_and_serves_others_meanwhile() {
    let mut bench = Bench::new();
    let [(a, for_a), (b, for_b)] = pair(&bench, |options| options);
    for_a.order(Step::End(Err(io_error())));
    bench.until(&a, Status::Aborting);
    assert_eq!(bench.log.take(), ["a s:aborting", "b cancel by force"]);

    // `b` still runs, so nothing is finalised; another job comes and goes.
    let (other, for_other) = bench.running(options("other"));
    for_other.order(Step::End(Ok(())));
    bench.until(&other, Status::Null);
    assert_eq!(other.outcome(), Some(Ok(())));
    assert_eq!(
        (a.status(), b.status()),
        (Status::Aborting, Status::Running)
    );
    bench.log.take();

    for_b.order(Step::Point);
    bench.finish();
    assert_eq!(
        bench.log.take(),
        lines(
            &[&["b sees the cancel", "b s:aborting"]],
            &[
                tail("b", "abort", CANCELLED, "BLOCK_JOB_CANCELLED"),
                tail(
                    "a",
                    "abort",
                    "completion (Input/output error)",
                    "BLOCK_JOB_COMPLETED (Input/output error)"
                ),
            ]
        )
    );
}

#[test]
fn a_waiting_member_is_aborted_with_the_group() {
    let mut bench = Bench::new();
    let [(a, for_a), (_b, for_b)] = pair(&bench, |options| options);
    for_a.order(Step::End(Ok(())));
    bench.until(&a, Status::Waiting);
    bench.log.take();
    for_b.order(Step::End(Err(io_error())));
    bench.finish();
    assert_eq!(
        bench.log.take(),
        [
            lines(
                &[&["b s:aborting", "a cancel by force"]],
                &[tail(
                    "b",
                    "abort",
                    "completion (Input/output error)",
                    "BLOCK_JOB_COMPLETED (Input/output error)"
                )]
            ),
            lines(
                &[&["a s:aborting"]],
                &[tail("a", "abort", CANCELLED, "BLOCK_JOB_CANCELLED")]
            ),
        ]
        .concat()
    );
    assert_eq!(a.outcome(), Some(Err(JobError::canceled())));
}

#[test]
fn cancelling_a_waiting_member_brings_the_group_down() {
    let mut bench = Bench::new();
    let [(a, for_a), (b, for_b)] = pair(&bench, |options| options);
    for_a.order(Step::End(Ok(())));
    bench.until(&a, Status::Waiting);
    bench.log.take();
    a.cancel(CancelMode::Soft).unwrap();
    assert_eq!(bench.log.take(), ["a cancel by force", "b cancel by force"]);
    for_b.order(Step::Point);
    bench.finish();
    assert_eq!(
        bench.log.take(),
        [
            lines(
                &[&["b sees the cancel", "b s:aborting"]],
                &[tail("b", "abort", CANCELLED, "BLOCK_JOB_CANCELLED")]
            ),
            lines(
                &[&["a s:aborting"]],
                &[tail("a", "abort", CANCELLED, "BLOCK_JOB_CANCELLED")]
            ),
        ]
        .concat()
    );
    for job in [a, b] {
        assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
    }
}

#[test]
fn the_group_s_abort_ends_a_member_s_pause() {
    let mut bench = Bench::new();
    let [(a, for_a), (b, for_b)] = pair(&bench, |options| options);
    bench.park(&a, &for_a);
    let token = bench.manager.pause_all();
    bench.log.take();
    for_b.order(Step::End(Err(io_error())));
    bench.finish();
    let of_a: Vec<_> = bench
        .log
        .take()
        .into_iter()
        .filter(|line| line.starts_with("a "))
        .collect();
    assert_eq!(
        of_a[..6],
        [
            "a cancel by force",
            "a user_resume",
            "a s:running",
            "a resume",
            "a sees the cancel",
            "a s:aborting"
        ]
    );
    assert_eq!(b.outcome(), Some(Err(io_error())));
    bench.manager.resume_all(token);
}

#[test]
fn a_failed_prepare_fails_the_whole_group_and_keeps_its_error() {
    let full = || JobError::new(Errno::NO_SPACE);
    let mut bench = Bench::new();
    let mut transaction = bench.manager.transaction();
    let members: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|id| {
            bench.member(
                &mut transaction,
                options(id).manual_finalize(true),
                |script| {
                    if *id == "b" {
                        script.prepare = Err(full());
                    }
                },
            )
        })
        .collect();
    transaction.start();
    for (_, puppet) in &members {
        puppet.order(Step::End(Ok(())));
    }
    bench.until(&members[0].0, Status::Pending);
    bench.log.take();
    // Named through `a`, which is not the one that fails: it is aborted as well (decision 2).
    assert_eq!(
        members[0].0.finalize(),
        Err(EngineError::PrepareFailed {
            id: "a".to_owned(),
            error: full()
        })
    );
    assert_eq!(
        bench.log.take(),
        [
            lines(
                &[&[
                    "c prepare",
                    "b prepare",
                    "c cancel by force",
                    "a cancel by force"
                ]],
                &[]
            ),
            lines(
                &[&["c s:aborting"]],
                &[tail("c", "abort", CANCELLED, "BLOCK_JOB_CANCELLED")]
            ),
            lines(
                &[&["b s:aborting"]],
                &[tail(
                    "b",
                    "abort",
                    "completion (No space left on device)",
                    "BLOCK_JOB_COMPLETED (No space left on device)"
                )]
            ),
            lines(
                &[&["a s:aborting"]],
                &[tail("a", "abort", CANCELLED, "BLOCK_JOB_CANCELLED")]
            ),
        ]
        .concat()
    );
    bench.finish();
}

#[test]
fn cancelling_an_unstarted_member_ends_all_members_at_once() {
    let mut bench = Bench::new();
    let mut transaction = bench.manager.transaction();
    let (a, _for_a) = bench.member(&mut transaction, options("a").manual_dismiss(true), |_| ());
    let (b, _for_b) = bench.member(&mut transaction, options("b"), |_| ());
    bench.log.take();
    a.cancel(CancelMode::Force).unwrap();
    let unstarted = |id: &str| {
        [
            "s:aborting",
            "abort",
            "clean",
            CANCELLED,
            "s:concluded",
            "s:null",
        ]
        .map(|line| format!("{id} {line}"))
    };
    assert_eq!(
        bench.log.take(),
        [
            vec!["a cancel by force".to_owned()],
            unstarted("b").to_vec(),
            unstarted("a").to_vec()
        ]
        .concat()
    );
    let (script, _puppet) = engine_support::Script::new("c", &bench.log);
    assert_eq!(
        transaction.create(options("c"), script).map(drop),
        Err(EngineError::TransactionOver)
    );
    assert!(
        transaction
            .start()
            .iter()
            .all(|job| job.status() == Status::Null)
    );
    bench.finish();
    assert_eq!(bench.log.take(), Vec::<String>::new());
    assert_eq!(b.outcome(), Some(Err(JobError::canceled())));
}

#[test]
fn a_transaction_that_is_dropped_gives_its_jobs_up_newest_first() {
    let mut bench = Bench::new();
    let mut transaction = bench.manager.transaction();
    let _a = bench.member(&mut transaction, options("a"), |_| ());
    let _b = bench.member(&mut transaction, options("b"), |_| ());
    bench.log.take();
    drop(transaction);
    assert_eq!(bench.log.take(), ["b s:null", "a s:null"]);
    bench.finish();
}

#[test]
fn members_that_fail_by_themselves_keep_their_errors() {
    let mut bench = Bench::new();
    let [(a, for_a), (b, for_b)] = pair(&bench, |options| options);
    for_a.order(Step::End(Err(io_error())));
    bench.until(&a, Status::Aborting);
    for_b.order(Step::End(Err(JobError::new(Errno::NO_SPACE))));
    bench.finish();
    assert_eq!(a.outcome(), Some(Err(io_error())));
    assert_eq!(b.outcome(), Some(Err(JobError::new(Errno::NO_SPACE))));
    // The peer was cancelled, so it reports that, with its own error in the query (decision 6).
    let log = bench.log.take();
    assert!(log.contains(&"b BLOCK_JOB_CANCELLED".to_owned()), "{log:?}");
}

#[test]
fn a_group_larger_than_the_pool_of_threads_still_aborts() {
    struct Forever(Log);
    impl Driver for Forever {
        fn job_type(&self) -> &'static str {
            "forever"
        }
        fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
            self.0.add("run".to_owned());
            while context.wait() == blockjob::driver::Flow::Continue {}
            Ok(())
        }
        fn abort(&self) {
            self.0.add("abort".to_owned());
        }
    }
    const JOBS: usize = 1000;
    const THREADS: usize = 3;
    let log = Log::default();
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default().bodies_max(THREADS));
    let mut transaction = manager.transaction();
    for number in 0..JOBS {
        transaction
            .create(options(&format!("j{number}")), Forever(log.clone()))
            .unwrap();
    }
    let jobs = transaction.start();
    jobs[JOBS / 2].cancel(CancelMode::Force).unwrap();
    main_loop.run_until_idle();
    let log = log.take();
    let runs = log.iter().filter(|line| *line == "run").count();
    let aborts = log.iter().filter(|line| *line == "abort").count();
    assert!(runs <= THREADS, "{runs} bodies on {THREADS} threads");
    assert_eq!(aborts, JOBS);
    for job in jobs {
        assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
    }
}

#[test]
fn a_member_of_a_started_group_in_pending_is_not_waited_for_by_strangers() {
    let mut bench = Bench::new();
    let [(a, for_a), (_b, for_b)] = pair(&bench, |options| options.manual_finalize(true));
    let (stranger, for_stranger) = bench.running(options("stranger"));
    for puppet in [&for_a, &for_b, &for_stranger] {
        puppet.order(Step::End(Ok(())));
    }
    bench.until(&stranger, Status::Null);
    bench.until(&a, Status::Pending);
    assert_eq!(refusal(stranger.finalize()), "Job not found");
    a.finalize().unwrap();
    bench.finish();
}

#[test]
fn members_that_are_given_up_are_given_up_by_name_newest_first() {
    let bench = Bench::new();
    let manager = RecordingManager::new(bench.manager, Arc::new(bench.log.clone()));
    let mut transaction = manager.transaction();
    for id in ["older", "newer"] {
        transaction
            .create(JobOptions::new(id), idle("idle"))
            .unwrap();
    }
    bench.log.take();
    drop(transaction);
    let mut calls = bench.log.take();
    calls.retain(|line| line.contains("early-fail"));
    let by: Vec<&str> = calls
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(by, ["newer", "newer", "older", "older"], "{calls:?}");
}
