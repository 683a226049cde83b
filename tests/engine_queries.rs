//! Queries: every field of both views, in every status a job can be looked at in.
//!
//! Goal: `query_jobs` and `query_block_jobs` report what QMP's queries report, with the meanings of
//! SEMANTICS.md §2.3 and one answer to "why did it fail" (decision 16); fields that look alike are not
//! inferred from one another (decisions 25 to 27). Method: one job led through its life, looked at in
//! each place; the statuses inside an abort through a callback that looks.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::sync::{Arc, Mutex};

use blockjob::driver::{Driver, Errno, JobError, RunContext};
use blockjob::engine::{
    CancelMode, JobOptions, Manager, ManagerConfig, QueriedBlockJob, QueriedJob,
};
use blockjob::model::{IoStatus, Status};
use engine_support::{Bench, Step, idle, work};

/// Both views of the only job.
fn views(manager: &Manager) -> (QueriedJob, QueriedBlockJob) {
    let (mut jobs, mut block_jobs) = (manager.query_jobs(), manager.query_block_jobs());
    assert_eq!((jobs.len(), block_jobs.len()), (1, 1));
    let (job, block_job) = (jobs.remove(0), block_jobs.remove(0));
    assert_eq!(job.id, block_job.device);
    assert_eq!(job.job_type, block_job.job_type);
    assert_eq!(job.status, block_job.status);
    assert_eq!(job.error, block_job.error, "decision 16");
    assert_eq!(job.current_progress, block_job.offset);
    assert_eq!(job.total_progress, block_job.len);
    let handle = manager.job(&job.id).unwrap();
    assert_eq!(handle.query().unwrap(), block_job);
    (job, block_job)
}

/// What of a picture depends on where the job is.
fn place(manager: &Manager) -> (Status, bool, bool, bool) {
    let (_, view) = views(manager);
    (view.status, view.busy, view.paused, view.ready)
}

#[test]
fn a_job_is_seen_as_it_is_in_every_place() {
    let mut bench = Bench::new();
    let options = JobOptions::new("j0")
        .manual_finalize(true)
        .manual_dismiss(true)
        .speed(4096);
    let (created, puppet) = bench.created_with(options, |script| script.can_complete = true);
    let (_, view) = views(&bench.manager);
    assert_eq!(
        view,
        QueriedBlockJob {
            job_type: "script",
            device: "j0".to_owned(),
            len: 0,
            offset: 0,
            busy: false,
            // Its creation holds it (P3).
            paused: true,
            speed: 4096,
            io_status: IoStatus::Ok,
            ready: false,
            status: Status::Created,
            auto_finalize: false,
            auto_dismiss: false,
            error: None,
        }
    );
    let job = created.start();
    puppet.walk(Step::Point);
    let manager = bench.manager.clone();
    assert_eq!(place(&manager), (Status::Running, true, false, false));
    job.pause().unwrap();
    assert_eq!(
        place(&manager),
        (Status::Running, true, true, false),
        "asked for, not reached"
    );
    puppet.order(Step::Point);
    bench.until(&job, Status::Paused);
    assert_eq!(place(&manager), (Status::Paused, false, true, false));
    job.resume().unwrap();
    puppet.done();
    puppet.walk(Step::Ready);
    assert_eq!(place(&manager), (Status::Ready, true, false, true));
    puppet.order(Step::Finish);
    while manager.query_block_jobs()[0].busy {
        std::thread::yield_now();
    }
    assert_eq!(place(&manager), (Status::Ready, false, false, true));
    job.pause().unwrap();
    bench.until(&job, Status::Standby);
    assert_eq!(place(&manager), (Status::Standby, false, true, true));
    job.complete().unwrap();
    job.resume().unwrap();
    bench.until(&job, Status::Pending);
    assert_eq!(place(&manager), (Status::Pending, false, false, false));
    job.finalize().unwrap();
    assert_eq!(place(&manager), (Status::Concluded, false, false, false));
    assert_eq!(views(&manager).0.error, None);
    job.dismiss().unwrap();
    assert!(manager.query_jobs().is_empty());
    assert!(manager.query_block_jobs().is_empty());
}

#[test]
fn progress_is_reported_as_it_stands() {
    let mut bench = Bench::new();
    let driver = work(|context| {
        context.progress().set_remaining(10);
        context.progress().advance(3);
        Ok(())
    });
    let options = JobOptions::new("j0").manual_dismiss(true);
    bench.manager.create(options, driver).unwrap().start();
    bench.finish();
    let (view, _) = views(&bench.manager);
    assert_eq!((view.current_progress, view.total_progress), (3, 10));
}

/// The numbers of each event, as it was announced.
#[derive(Clone, Default)]
struct Numbers(std::sync::Arc<std::sync::Mutex<Vec<[u64; 3]>>>);

impl blockjob::trace::TraceSink for Numbers {
    fn record(&self, entry: &blockjob::trace::TraceEntry<'_>) {
        if let blockjob::trace::TraceStep::Event(_, detail) = entry.step {
            let numbers = [
                detail.len_bytes,
                detail.offset_bytes,
                detail.speed_bytes_per_s,
            ];
            self.0.lock().unwrap().push(numbers);
        }
    }
}

#[test]
fn events_tell_length_offset_and_speed_of_their_moment() {
    let numbers = Numbers::default();
    let config = blockjob::engine::ManagerConfig::default()
        .virtual_time(true)
        .trace(std::sync::Arc::new(numbers.clone()));
    let (manager, mut main_loop) = blockjob::engine::Manager::new(config);
    let driver = work(|context| {
        context.progress().set_remaining(10);
        context.progress().advance(3);
        let context = context.ready();
        context.progress().advance(7);
        Ok(())
    });
    let options = JobOptions::new("j0").speed(77);
    drop(manager.create(options, driver).unwrap().start());
    main_loop.run_until_idle();
    // Ready, and completed.
    assert_eq!(*numbers.0.lock().unwrap(), [[10, 3, 77], [10, 10, 77]]);
}

#[test]
fn a_failure_is_reported_in_the_words_of_the_driver_and_a_cancel_in_those_of_the_c_library() {
    let error = JobError::with_message(Errno::IO, "sector 7 is gone");
    for (result, cancelled, text) in [
        (Err(error.clone()), false, "sector 7 is gone"),
        (
            Err(Errno::NO_SPACE.into()),
            false,
            "No space left on device",
        ),
        (Ok(()), true, "Operation canceled"),
        (Err(error), true, "sector 7 is gone"),
    ] {
        let mut bench = Bench::new();
        let (job, puppet) = bench.running(JobOptions::new("j0").manual_dismiss(true));
        if cancelled {
            job.cancel(CancelMode::Force).unwrap();
            assert_eq!(views(&bench.manager).0.error, None, "not known yet");
        }
        puppet.order(Step::End(result));
        bench.finish();
        assert_eq!(views(&bench.manager).0.error.as_deref(), Some(text));
    }
}

/// A status, and the error shown beside it.
type Sight = (Status, Option<String>);

/// Looks at its manager's jobs in abort and in clean.
struct Looks {
    manager: Manager,
    seen: Arc<Mutex<Vec<Sight>>>,
}

impl Looks {
    fn look(&self) {
        let (view, _) = views(&self.manager);
        self.seen.lock().unwrap().push((view.status, view.error));
    }
}

impl Driver for Looks {
    fn job_type(&self) -> &'static str {
        "looks"
    }

    fn run(&self, _context: RunContext<'_>) -> Result<(), JobError> {
        Ok(())
    }

    fn prepare(&self) -> Result<(), JobError> {
        self.look();
        Err(JobError::with_message(Errno::INVALID, "cannot prepare"))
    }

    fn abort(&self) {
        self.look();
    }

    fn clean(&self) {
        self.look();
    }
}

#[test]
fn an_error_shows_from_the_moment_the_main_loop_knows() {
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let driver = Looks {
        manager: manager.clone(),
        seen: Arc::clone(&seen),
    };
    let options = JobOptions::new("j0").manual_dismiss(true);
    manager.create(options, driver).unwrap().start();
    main_loop.run_until_idle();
    let error = || Some("cannot prepare".to_owned());
    assert_eq!(
        *seen.lock().unwrap(),
        [
            (Status::Pending, None),
            (Status::Aborting, error()),
            (Status::Aborting, error())
        ]
    );
    assert_eq!(views(&manager).0.error, error());
}

#[test]
fn a_member_that_fell_with_its_group_reports_that_it_was_cancelled() {
    let mut bench = Bench::new();
    let mut transaction = bench.manager.transaction();
    let manual = |id: &str| JobOptions::new(id).manual_dismiss(true);
    let (_a, for_a) = bench.member(&mut transaction, manual("a"), |_| ());
    let (_b, for_b) = bench.member(&mut transaction, manual("b"), |_| ());
    let _ = transaction.start();
    for_a.order(Step::End(Ok(())));
    for_b.order(Step::End(Err(engine_support::io_error())));
    bench.finish();
    let errors: Vec<_> = bench
        .manager
        .query_jobs()
        .into_iter()
        .map(|job| (job.id, job.error.unwrap()))
        .collect();
    assert_eq!(
        errors,
        [
            ("b".to_owned(), "Input/output error".to_owned()),
            ("a".to_owned(), "Operation canceled".to_owned())
        ]
    );
}

#[test]
fn a_picture_has_every_job_of_its_moment() {
    let bench = Bench::new();
    let mut created = Vec::new();
    for number in 0..5 {
        let options = JobOptions::new(format!("j{number}"));
        created.push(bench.manager.create(options, idle("work")).unwrap());
    }
    drop(created.remove(2));
    let ids: Vec<_> = bench
        .manager
        .query_jobs()
        .into_iter()
        .map(|job| job.id)
        .collect();
    assert_eq!(ids, ["j4", "j3", "j1", "j0"]);
}

/// Decision 40: what held the job while it ran holds it no longer once its run is over.
#[test]
fn a_run_that_ends_before_it_comes_to_its_pause_leaves_nobody_paused() {
    let mut bench = Bench::new();
    let options = JobOptions::new("j0")
        .manual_finalize(true)
        .manual_dismiss(true);
    let (job, puppet) = bench.running(options);
    let token = bench.manager.pause_all();
    assert!(job.info().pause_requested);
    puppet.order(Step::End(Ok(())));
    bench.until(&job, Status::Pending);
    assert!(!job.info().pause_requested, "held by somebody still");
    assert!(!views(&bench.manager).1.paused);
    bench.manager.resume_all(token);
    job.finalize().unwrap();
    job.dismiss().unwrap();
    bench.finish();
}
