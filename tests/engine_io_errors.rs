//! I/O errors: what the policy makes of them, and what of that is left once somebody acts.
//!
//! Goal: every policy does what its row of the table says (SEMANTICS.md §8), and announces it; a stop
//! takes its user's pause once and remembers the first error; a resume, a forced cancel and the VM's
//! `cont` each leave what they should (P5, decisions 8, 38, 39); `ignore` has an end (decision 32).
//! Method: drivers that meet errors on a virtual clock, which shows how long they waited.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blockjob::driver::{
    AfterError, Driver, Errno, ErrorAction, ErrorPolicy, Flow, IoSide, JobError, Retries,
    RunContext,
};
use blockjob::engine::{CancelMode, EngineError, JobHandle, JobInfo, JobOptions, ManagerConfig};
use blockjob::model::{Event, IoStatus, Status};
use blockjob::trace::{TraceEntry, TraceSink, TraceStep};
use engine_support::{Bench, refusal, work};

fn start(
    bench: &Bench,
    run: impl Fn(RunContext<'_>) -> Result<(), JobError> + Send + Sync + 'static,
) -> JobHandle {
    let options = JobOptions::new("j0").manual_dismiss(true);
    bench.manager.create(options, work(run)).unwrap().start()
}

/// P5.
fn remembers_only_while_paused(info: &JobInfo) {
    assert!(info.io_status.is_ok() || info.user_paused, "{info:?}");
}

/// The I/O errors announced: side and action.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<(String, &'static str)>>>);

impl TraceSink for Errors {
    fn record(&self, entry: &TraceEntry<'_>) {
        if let TraceStep::Event(Event::Error { action }, detail) = entry.step {
            let side = detail.operation.unwrap().to_owned();
            self.0.lock().unwrap().push((side, action.name()));
        }
    }
}

/// The rows of SEMANTICS.md §8: for want of space, and for any other error.
fn row(policy: ErrorPolicy) -> [ErrorAction; 2] {
    use ErrorAction::{Ignore, Report, Stop};
    match policy {
        ErrorPolicy::Report => [Report, Report],
        ErrorPolicy::Ignore => [Ignore, Ignore],
        ErrorPolicy::Enospc | ErrorPolicy::Auto => [Stop, Report],
        ErrorPolicy::Stop => [Stop, Stop],
    }
}

#[test]
fn every_policy_does_what_its_row_says_and_announces_it() {
    for policy in ErrorPolicy::ALL {
        let [no_space, other] = row(policy);
        for (errno, expected, remembered) in [
            (Errno::NO_SPACE, no_space, IoStatus::NoSpace),
            (Errno::IO, other, IoStatus::Failed),
        ] {
            for side in [IoSide::Read, IoSide::Write] {
                let errors = Errors::default();
                let config = ManagerConfig::default().trace(Arc::new(errors.clone()));
                let (manager, mut main_loop) = blockjob::engine::Manager::new(config);
                let driver = work(move |mut context| {
                    let action = context.error_action(policy, side, errno);
                    assert_eq!(action, expected);
                    let _ = context.pause_point();
                    Ok(())
                });
                let options = JobOptions::new("j0");
                let job = manager.create(options, driver).unwrap().start();
                if expected == ErrorAction::Stop {
                    assert!(main_loop.run_until(|| job.status() == Status::Paused));
                    assert_eq!(job.info().io_status, remembered);
                    assert!(job.info().user_paused);
                    job.resume().unwrap();
                }
                main_loop.run_until_idle();
                assert_eq!(job.outcome(), Some(Ok(())));
                let announced = errors.0.lock().unwrap().clone();
                assert_eq!(announced, [(side.name().to_owned(), expected.name())]);
            }
        }
    }
}

#[test]
fn the_first_of_several_errors_is_remembered_and_one_resume_releases_all() {
    let mut bench = Bench::new();
    let job = start(&bench, |mut context| {
        for errno in [Errno::IO, Errno::IO, Errno::NO_SPACE] {
            let _ = context.error_action(ErrorPolicy::Stop, IoSide::Write, errno);
        }
        assert_eq!(context.pause_point(), Flow::Continue);
        Ok(())
    });
    bench.until(&job, Status::Paused);
    assert_eq!(job.info().io_status, IoStatus::Failed);
    assert_eq!(job.query().unwrap().io_status, IoStatus::Failed);
    job.resume().unwrap();
    remembers_only_while_paused(&job.info());
    assert_eq!(job.info().io_status, IoStatus::Ok);
    assert!(!job.info().pause_requested, "one resume releases all");
    bench.until(&job, Status::Concluded);
    assert_eq!(job.outcome(), Some(Ok(())));
}

#[test]
fn a_stop_shares_the_pause_its_user_has_taken() {
    let mut bench = Bench::new();
    let (go, gone) = channel();
    let (begin, begun) = channel();
    let ends = Mutex::new((begin, gone));
    let job = start(&bench, move |mut context| {
        {
            let (begin, gone) = &*ends.lock().unwrap();
            begin.send(()).unwrap();
            gone.recv().unwrap();
        }
        let _ = context.error_action(ErrorPolicy::Stop, IoSide::Read, Errno::IO);
        assert_eq!(context.pause_point(), Flow::Continue);
        Ok(())
    });
    begun.recv().unwrap();
    job.pause().unwrap();
    go.send(()).unwrap();
    bench.until(&job, Status::Paused);
    assert_eq!(job.info().io_status, IoStatus::Failed);
    assert_eq!(refusal(job.pause()), "Job is already paused");
    job.resume().unwrap();
    assert_eq!(
        refusal(job.resume()),
        "Can't resume a job that was not paused"
    );
    bench.until(&job, Status::Concluded);
}

/// A signal from one thread to another.
struct Signal(Mutex<Sender<()>>, Mutex<Receiver<()>>);

impl Signal {
    fn new() -> Signal {
        let (sender, receiver) = channel();
        Signal(Mutex::new(sender), Mutex::new(receiver))
    }
    fn give(&self) {
        self.0.lock().unwrap().send(()).unwrap();
    }
    fn take(&self) {
        self.1.lock().unwrap().recv().unwrap();
    }
}

/// Meets an error while its driver is told that its user's pause is over.
struct Unlucky {
    begun: Signal,
    resumes: Signal,
    failed: Signal,
    once: AtomicBool,
}

impl Driver for Unlucky {
    fn job_type(&self) -> &'static str {
        "unlucky"
    }
    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        self.begun.give();
        self.resumes.take();
        let _ = context.error_action(ErrorPolicy::Stop, IoSide::Read, Errno::IO);
        self.failed.give();
        assert_eq!(context.pause_point(), Flow::Continue);
        Ok(())
    }
    fn user_resume(&self) {
        if !self.once.swap(true, Ordering::Relaxed) {
            self.resumes.give();
            self.failed.take();
        }
    }
}

#[test]
fn a_stop_error_during_a_resume_wins() {
    let mut bench = Bench::new();
    let driver = Arc::new(Unlucky {
        begun: Signal::new(),
        resumes: Signal::new(),
        failed: Signal::new(),
        once: AtomicBool::new(false),
    });
    let options = JobOptions::new("j0").manual_dismiss(true);
    let job = bench.manager.create(options, Arc::clone(&driver));
    let job = job.unwrap().start();
    driver.begun.take();
    job.pause().unwrap();
    // The body is busy and has not seen the pause; it meets the error in between (decision 38).
    job.resume().unwrap();
    assert_eq!(job.info().io_status, IoStatus::Failed);
    remembers_only_while_paused(&job.info());
    bench.until(&job, Status::Paused);
    job.resume().unwrap();
    bench.until(&job, Status::Concluded);
    assert_eq!(job.outcome(), Some(Ok(())));
}

#[test]
fn the_vms_cont_forgets_the_error_and_leaves_the_pause() {
    let mut bench = Bench::new();
    let job = start(&bench, |mut context| {
        for _ in 0..2 {
            let _ = context.error_action(ErrorPolicy::Stop, IoSide::Read, Errno::NO_SPACE);
            assert_eq!(context.pause_point(), Flow::Continue);
        }
        Ok(())
    });
    bench.until(&job, Status::Paused);
    bench.log.take();
    job.reset_io_status().unwrap();
    // Again: there is nothing to forget, and nothing happens.
    job.reset_io_status().unwrap();
    assert_eq!(job.info().io_status, IoStatus::Ok);
    assert_eq!(job.status(), Status::Paused);
    assert!(job.info().user_paused);
    assert!(bench.log.take().is_empty());
    job.resume().unwrap();
    // The second error is remembered: the first was forgotten, not noted for good.
    assert!(bench.main_loop.run_until(|| !job.info().io_status.is_ok()));
    bench.until(&job, Status::Paused);
    job.resume().unwrap();
    bench.until(&job, Status::Concluded);
    job.reset_io_status().unwrap();
    job.dismiss().unwrap();
    assert_eq!(refusal(job.reset_io_status()), "Job not found");
}

#[test]
fn a_forced_cancel_takes_the_error_with_the_pause() {
    let mut bench = Bench::new();
    let job = start(&bench, |mut context| {
        let _ = context.error_action(ErrorPolicy::Stop, IoSide::Read, Errno::IO);
        assert_eq!(context.pause_point(), Flow::Cancelled);
        Ok(())
    });
    bench.until(&job, Status::Paused);
    assert_eq!(
        refusal(job.cancel(CancelMode::Soft)),
        "The block job for device 'j0' is currently paused"
    );
    job.cancel(CancelMode::Force).unwrap();
    assert_eq!(job.info().io_status, IoStatus::Ok);
    assert!(!job.info().user_paused);
    bench.until(&job, Status::Concluded);
    assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
}

#[test]
fn the_end_of_the_run_takes_an_error_that_nobody_can_resume() {
    let mut bench = Bench::new();
    let job = start(&bench, |context| {
        let _ = context.error_action(ErrorPolicy::Stop, IoSide::Read, Errno::IO);
        Ok(())
    });
    bench.until(&job, Status::Concluded);
    assert_eq!(job.info().io_status, IoStatus::Ok);
    assert!(!job.info().user_paused);
}

/// A disk on which a piece fails `failures` times in a row, copied under `policy`; the run's result,
/// the tries, and the time it took.
fn copied(policy: ErrorPolicy, failures: u32, retries: &Retries) -> (JobHandle, u32, Duration) {
    let mut bench = Bench::new();
    let account = Arc::new(Mutex::new((0, Duration::ZERO)));
    let (noted, retries) = (Arc::clone(&account), retries.clone());
    let job = start(&bench, move |mut context| {
        let mut retries = retries.clone();
        let begun = context.now();
        loop {
            noted.lock().unwrap().0 += 1;
            if noted.lock().unwrap().0 > failures {
                retries.reset();
                break;
            }
            let error = JobError::with_message(Errno::IO, "sector 7");
            let after = context.after_error(policy, IoSide::Read, error, &mut retries);
            noted.lock().unwrap().1 = context.now().checked_sub(begun).unwrap();
            match after {
                AfterError::Retry => {}
                AfterError::GiveUp(error) => return Err(error),
                AfterError::Cancelled => return Ok(()),
            }
        }
        Ok(())
    });
    bench.until(&job, Status::Concluded);
    let (tries, took) = *account.lock().unwrap();
    (job, tries, took)
}

#[test]
fn ignoring_has_a_limit_and_a_delay() {
    let second = Duration::from_secs(1);
    let retries = Retries::new(3, second);
    let (job, tries, took) = copied(ErrorPolicy::Ignore, 3, &retries);
    assert_eq!((job.outcome(), tries, took), (Some(Ok(())), 4, 3 * second));
    let (job, tries, took) = copied(ErrorPolicy::Ignore, u32::MAX, &retries);
    assert_eq!(job.outcome().unwrap().unwrap_err().text(), "sector 7");
    assert_eq!((tries, took), (4, 3 * second));
    let (job, tries, took) = copied(ErrorPolicy::Report, 1, &retries);
    assert_eq!(job.outcome().unwrap().unwrap_err().text(), "sector 7");
    assert_eq!((tries, took), (1, Duration::ZERO));
    let (job, tries, _) = copied(ErrorPolicy::Ignore, u32::MAX, &Retries::default());
    assert!(job.outcome().unwrap().is_err());
    assert_eq!(tries, Retries::LIMIT + 1);
}

#[test]
fn what_is_ignored_too_often_is_announced_as_reported() {
    let errors = Errors::default();
    let config = ManagerConfig::default()
        .virtual_time(true)
        .trace(Arc::new(errors.clone()));
    let (manager, mut main_loop) = blockjob::engine::Manager::new(config);
    let driver = work(|mut context| {
        let mut retries = Retries::new(2, Duration::from_secs(1));
        loop {
            let error = JobError::new(Errno::IO);
            if let AfterError::GiveUp(error) =
                context.after_error(ErrorPolicy::Ignore, IoSide::Write, error, &mut retries)
            {
                return Err(error);
            }
        }
    });
    let job = manager
        .create(JobOptions::new("j0"), driver)
        .unwrap()
        .start();
    main_loop.run_until_idle();
    assert!(job.outcome().unwrap().is_err());
    let errors = errors.0.lock().unwrap();
    let actions: Vec<_> = errors.iter().map(|(_, action)| *action).collect();
    assert_eq!(actions, ["ignore", "ignore", "report"]);
}

#[test]
fn a_stopped_driver_tries_again_after_each_resume_and_counts_anew() {
    let mut bench = Bench::new();
    let tries = Arc::new(Mutex::new(0));
    let noted = Arc::clone(&tries);
    let job = start(&bench, move |mut context| {
        let mut retries = Retries::new(1, Duration::ZERO);
        assert!(retries.spend().is_some());
        for _ in 0..3 {
            let error = JobError::new(Errno::NO_SPACE);
            *noted.lock().unwrap() += 1;
            let after =
                context.after_error(ErrorPolicy::Enospc, IoSide::Write, error, &mut retries);
            assert_eq!(after, AfterError::Retry);
            assert_eq!(retries.spent(), 0);
        }
        Ok(())
    });
    for tried in 1..=3 {
        let parked = || *tries.lock().unwrap() == tried && job.status() == Status::Paused;
        let over = || job.status() == Status::Concluded;
        assert!(bench.main_loop.run_until(|| parked() || over()));
        assert_eq!(job.outcome(), None);
        assert_eq!(job.info().io_status, IoStatus::NoSpace);
        job.resume().unwrap();
    }
    bench.until(&job, Status::Concluded);
    assert_eq!(job.outcome(), Some(Ok(())));
}

#[test]
fn a_cancel_ends_the_wait_before_a_retry() {
    // In real time, in which nobody would live to see the retry.
    let (manager, mut main_loop) = blockjob::engine::Manager::new(ManagerConfig::default());
    let driver = work(|mut context| {
        let mut retries = Retries::new(1, Duration::from_secs(1_000_000));
        let error = JobError::new(Errno::IO);
        let after = context.after_error(ErrorPolicy::Ignore, IoSide::Read, error, &mut retries);
        assert_eq!(after, AfterError::Cancelled);
        Ok(())
    });
    let job = manager
        .create(JobOptions::new("j0"), driver)
        .unwrap()
        .start();
    while job.info().busy {
        std::thread::yield_now();
    }
    job.cancel(CancelMode::Force).unwrap();
    main_loop.run_until_idle();
    assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
    assert!(matches!(
        job.reset_io_status(),
        Err(EngineError::Refused { .. })
    ));
}

#[test]
fn who_is_cancelled_tries_no_more() {
    for policy in [ErrorPolicy::Ignore, ErrorPolicy::Stop] {
        for delay in [Duration::ZERO, Duration::from_secs(1)] {
            let mut bench = Bench::new();
            let (begin, begun) = channel();
            let begin = Mutex::new(begin);
            let job = start(&bench, move |mut context| {
                begin.lock().unwrap().send(()).unwrap();
                while context.wait() == Flow::Continue {}
                // It need not have looked: what it is told of its error is enough.
                let mut retries = Retries::new(u32::MAX, delay);
                let error = JobError::new(Errno::IO);
                let after = context.after_error(policy, IoSide::Write, error, &mut retries);
                assert_eq!(after, AfterError::Cancelled);
                Ok(())
            });
            // Not before: who is cancelled before his first step takes none.
            begun.recv().unwrap();
            job.cancel(CancelMode::Force).unwrap();
            bench.until(&job, Status::Concluded);
            assert_eq!(
                job.outcome(),
                Some(Err(JobError::canceled())),
                "{policy}, {delay:?}"
            );
        }
    }
}
