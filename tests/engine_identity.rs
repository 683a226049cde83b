//! Identity and kind: who is called what, who sees whom, and who hears of it.
//!
//! Goal: ids by QEMU's rules and in its order of checks; internal jobs that nobody but their creator
//! meets; jobs that are no block jobs, for which there are statuses and nothing else; a creation that
//! fails late is announced and undone; ids are free again when `null` is announced (decision 21).
//! Method: scenarios against texts and logs to the letter.

#![allow(clippy::unwrap_used)]

mod engine_support;

use blockjob::driver::{Errno, ErrorAction, ErrorPolicy, Flow, IoSide};
use blockjob::engine::{CancelMode, EngineError, JobOptions, Resource};
use blockjob::model::{Refusal, Status};
use engine_support::{Bench, Step, endless, idle, refusal, work};

fn disk() -> Resource {
    Resource::read("disk0")
}

#[test]
fn the_first_check_that_fails_is_the_answer() {
    let bench = Bench::new();
    let _taken = bench.created(JobOptions::new("taken"));
    let refused = |options: JobOptions| refusal(bench.manager.create(options, idle("work")));
    let internal = "Cannot specify job ID for internal job";
    for id in ["fine", "taken", "0id"] {
        assert_eq!(refused(JobOptions::new(id).internal(true)), internal);
    }
    for id in [
        "0id", "", "   ", "123", "_id", "-id", ".id", "#id", "a/b", "ä",
    ] {
        let text = format!("Invalid job ID '{id}'");
        assert_eq!(refused(JobOptions::new(id)), text);
        // A block job without an id is called by what it works on, and that may be no id.
        assert_eq!(
            refused(JobOptions::without_id().resource(Resource::read(id))),
            text
        );
    }
    let taken = "Job ID 'taken' already in use";
    assert_eq!(refused(JobOptions::new("taken").speed(-1)), taken);
    let required = "An explicit job ID is required";
    assert_eq!(refused(JobOptions::without_id()), required);
    let other = JobOptions::without_id().block_job(false).resource(disk());
    assert_eq!(refused(other), required);
    for manual in [
        JobOptions::without_id()
            .internal(true)
            .manual_finalize(true),
        JobOptions::without_id().internal(true).manual_dismiss(true),
    ] {
        assert!(refused(manual).contains("no user who could finalize or dismiss it"));
    }
    assert_eq!(
        bench.log.take(),
        ["taken s:created"],
        "none of them ever was"
    );
}

#[test]
fn a_block_job_without_an_id_is_called_by_its_first_resource() {
    let bench = Bench::new();
    let options = JobOptions::without_id()
        .resource(disk())
        .resource(Resource::write("disk1"));
    let (created, _puppet) = bench.created(options);
    assert_eq!(created.handle().id(), "disk0");
    assert_eq!(bench.manager.block_job("disk0").unwrap().id(), "disk0");
    assert_eq!(bench.log.take(), ["disk0 s:created"]);
}

#[test]
fn a_speed_that_is_refused_is_refused_late() {
    let bench = Bench::new();
    let options = || JobOptions::new("j0").speed(-1);
    let text = "Parameter 'speed' expects a non-negative value";
    let refused = bench.manager.create(options(), idle("work")).unwrap_err();
    assert_eq!(refused.to_string(), text);
    assert_eq!(refused.refusal(), Some(Refusal::NegativeSpeed));
    assert_eq!(bench.log.take(), ["j0 s:created", "j0 s:null"]);
    assert!(bench.manager.jobs().is_empty());
    // In a transaction only the one that failed is gone, and its id is free.
    let mut transaction = bench.manager.transaction();
    assert_eq!(refusal(transaction.create(options(), idle("work"))), text);
    let (first, _puppet) = bench.member(&mut transaction, JobOptions::new("j0"), |_| ());
    let late = JobOptions::new("j1").speed(i64::MIN);
    assert_eq!(refusal(transaction.create(late, idle("work"))), text);
    assert_eq!(first.status(), Status::Created);
    assert_eq!(
        bench.log.take(),
        [
            "j0 s:created",
            "j0 s:null",
            "j0 s:created",
            "j1 s:created",
            "j1 s:null"
        ]
    );
    drop(transaction);
    assert_eq!(bench.log.take(), ["j0 s:null"]);
}

#[test]
fn an_id_is_free_when_null_is_announced() {
    let mut bench = Bench::new();
    let options = || JobOptions::new("j0").manual_dismiss(true);
    let (job, puppet) = bench.running(options());
    puppet.order(Step::End(Ok(())));
    bench.finish();
    assert_eq!(job.status(), Status::Concluded);
    let again = bench.manager.create(options(), idle("work"));
    assert_eq!(refusal(again), "Job ID 'j0' already in use");
    job.dismiss().unwrap();
    // The old job is held by its handle still; it is not in the way.
    let (again, _puppet) = bench.created(options());
    assert_eq!(job.status(), Status::Null);
    assert_eq!(again.handle().status(), Status::Created);
}

#[test]
fn nobody_meets_an_internal_job() {
    let mut bench = Bench::new();
    let internal = || JobOptions::without_id().internal(true).resource(disk());
    let (job, puppet) = bench.running(internal());
    let name = job.id().to_owned();
    assert_eq!(name, "#internal1");
    assert!(job.info().internal);
    assert!(bench.manager.jobs().is_empty());
    assert!(bench.manager.query_jobs().is_empty());
    assert!(bench.manager.query_block_jobs().is_empty());
    assert!(bench.manager.holders("disk0").is_empty());
    assert_eq!(refusal(bench.manager.job(&name)), "Job not found");
    assert_eq!(refusal(job.query()), "Cannot query QEMU internal jobs");
    for refused in [job.complete(), job.finalize(), job.dismiss()] {
        assert_eq!(refusal(refused), "Job not found");
    }
    // It is there all the same: it holds, and it is held.
    let (second, _puppet) = bench.created(internal());
    assert_eq!(second.handle().id(), "#internal2");
    let token = bench.manager.pause_all();
    assert_eq!(
        token.ids().collect::<Vec<_>>(),
        ["#internal1", "#internal2"]
    );
    bench.manager.resume_all(token);
    let writer = JobOptions::new("j0").resource(Resource::write("disk0"));
    assert!(refusal(bench.manager.create(writer, idle("work"))).contains("is busy"));
    puppet.order(Step::End(Err(engine_support::io_error())));
    assert!(bench.main_loop.run_until(|| job.status() == Status::Null));
    let log = bench.log.take();
    let mine: Vec<_> = log
        .iter()
        .filter_map(|line| line.strip_prefix("#internal1 "))
        .collect();
    assert_eq!(
        mine,
        [
            "s:created",
            "s:running",
            "s:aborting",
            "s:concluded",
            "s:null"
        ],
        "statuses for the trace, and no event"
    );
}

#[test]
fn an_internal_job_takes_part_in_a_transaction() {
    let mut bench = Bench::new();
    let mut transaction = bench.manager.transaction();
    let (_a, for_a) = bench.member(&mut transaction, JobOptions::new("a"), |_| ());
    let options = JobOptions::without_id().internal(true);
    let (hidden, for_hidden) = bench.member(&mut transaction, options, |_| ());
    let jobs = transaction.start();
    for_a.order(Step::End(Err(engine_support::io_error())));
    for_hidden.order(Step::Wait);
    bench.finish();
    assert_eq!(
        hidden.outcome().unwrap().unwrap_err().errno,
        Errno::CANCELED
    );
    assert_eq!(jobs[0].outcome().unwrap().unwrap_err().errno, Errno::IO);
}

/// Meets an I/O error, converges, and ends well.
fn eventful() -> engine_support::Work {
    work(|context| {
        let action = context.error_action(ErrorPolicy::Ignore, IoSide::Read, Errno::IO);
        assert_eq!(action, ErrorAction::Ignore);
        let mut context = context.ready();
        assert_eq!(context.pause_point(), Flow::Continue);
        Ok(())
    })
}

#[test]
fn only_block_jobs_have_events() {
    let statuses = [
        "s:created",
        "s:running",
        "s:ready",
        "s:waiting",
        "s:pending",
        "s:concluded",
        "s:null",
    ];
    for (block, internal) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut bench = Bench::new();
        let options = if internal {
            JobOptions::without_id().internal(true)
        } else {
            JobOptions::new("j0")
        };
        let options = options.block_job(block);
        bench.manager.create(options, eventful()).unwrap().start();
        bench.finish();
        let log = bench.log.take();
        let of_job: Vec<_> = log
            .iter()
            .map(|line| line.split_once(' ').unwrap().1)
            .collect();
        if block && !internal {
            assert_eq!(
                of_job,
                [
                    "s:created",
                    "s:running",
                    "BLOCK_JOB_ERROR",
                    "s:ready",
                    "BLOCK_JOB_READY",
                    "s:waiting",
                    "s:pending",
                    "BLOCK_JOB_COMPLETED",
                    "s:concluded",
                    "s:null"
                ]
            );
        } else {
            assert_eq!(of_job, statuses, "block {block}, internal {internal}");
        }
    }
}

#[test]
fn a_manual_non_block_job_announces_no_pending_either() {
    let mut bench = Bench::new();
    let options = JobOptions::new("j0").block_job(false).manual_finalize(true);
    let job = bench
        .manager
        .create(options, idle("create"))
        .unwrap()
        .start();
    bench.until(&job, Status::Pending);
    job.finalize().unwrap();
    assert!(bench.log.take().iter().all(|line| line.contains(" s:")));
}

#[test]
fn the_two_families_of_commands_see_different_jobs() {
    let mut bench = Bench::new();
    let create = |id: &str, block: bool| {
        let options = JobOptions::new(id).block_job(block);
        bench.manager.create(options, endless()).unwrap().start()
    };
    let (first, _other, last) = (create("a", true), create("b", false), create("c", true));
    let ids = |jobs: Vec<blockjob::engine::JobHandle>| -> Vec<String> {
        jobs.iter().map(|job| job.id().to_owned()).collect()
    };
    assert_eq!(ids(bench.manager.jobs()), ["c", "b", "a"], "newest first");
    let queried: Vec<_> = bench
        .manager
        .query_jobs()
        .into_iter()
        .map(|job| job.id)
        .collect();
    assert_eq!(queried, ["c", "b", "a"]);
    let queried = bench.manager.query_block_jobs();
    let queried: Vec<_> = queried.into_iter().map(|job| job.device).collect();
    assert_eq!(queried, ["c", "a"]);
    assert_eq!(bench.manager.job("b").unwrap().id(), "b");
    for id in ["b", "none"] {
        let missing = bench.manager.block_job(id).unwrap_err();
        assert_eq!(missing.to_string(), format!("Block job '{id}' not found"));
        assert_eq!(missing.class(), "DeviceNotActive");
        assert_eq!(missing.refusal(), Some(Refusal::NotFound));
    }
    let missing = bench.manager.job("none").unwrap_err();
    assert_eq!(missing.to_string(), "Job not found");
    assert_eq!(missing.class(), "GenericError");
    // A job found by either is the same job.
    bench.manager.job("a").unwrap().pause().unwrap();
    assert!(bench.manager.block_job("a").unwrap().info().user_paused);
    for job in bench.manager.jobs() {
        job.cancel(CancelMode::Force).unwrap();
    }
    bench.finish();
    for gone in [first, last] {
        assert_eq!(refusal(gone.pause()), "Job not found");
        assert!(matches!(
            gone.query(),
            Err(EngineError::BlockJobNotFound { .. })
        ));
    }
}
