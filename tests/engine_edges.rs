//! The edges of the engine: users who drop, panic, come late or go to extremes.
//!
//! Goal: nobody waits for ever and nothing runs that nobody can stop, whatever the user's own code
//! does: destructors that call the engine (P28), a start that meets a cancel (decision 1), a main
//! loop that is gone, a change of speed between reckoning and sleep (P25, decision 11), waiters for
//! what cannot come, a panic at a closed gate, time and bytes at the end of their range.
//! Method: each test brings about its one order of events with channels or from inside a callback.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{ThreadId, current, yield_now};
use std::time::{Duration, Instant};

use blockjob::driver::{Driver, Errno, Finish, Flow, JobError, RunContext};
use blockjob::engine::{
    CancelMode, EngineError, JobHandle, JobOptions, MainLoop, Manager, ManagerConfig, Transaction,
};
use blockjob::model::Status;
use blockjob::trace::{Io, JobRecorder, TraceEntry, TraceSink, TraceStep};

type Run = Box<dyn Fn(RunContext<'_>) -> Result<(), JobError> + Send + Sync>;

/// A driver made of its run.
struct Work(Run);

fn work(run: impl Fn(RunContext<'_>) -> Result<(), JobError> + Send + Sync + 'static) -> Work {
    Work(Box::new(run))
}

impl Driver for Work {
    fn job_type(&self) -> &'static str {
        "work"
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        (self.0)(context)
    }
}

fn virtual_time() -> (Manager, MainLoop) {
    Manager::new(ManagerConfig::default().virtual_time(true))
}

/// Calls the engine when it is dropped.
struct CallsBack {
    manager: Manager,
    dropped: Arc<AtomicBool>,
}

impl Drop for CallsBack {
    fn drop(&mut self) {
        self.manager.jobs();
        self.dropped.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_driver_is_dropped_without_the_lock() {
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default().bodies_max(1));
    let dropped = Arc::new(AtomicBool::new(false));
    let luggage = CallsBack {
        manager: manager.clone(),
        dropped: Arc::clone(&dropped),
    };
    let first = manager
        .create(
            JobOptions::new("first"),
            work(move |_| {
                let _ = &luggage;
                Ok(())
            }),
        )
        .unwrap();
    drop(first.start());
    // There is one thread: once it runs the second job, it has let go of the first.
    let (runs, running) = channel();
    let runs = Mutex::new(runs);
    let second = work(move |mut context| {
        runs.lock().unwrap().send(()).unwrap();
        while context.wait() == Flow::Continue {}
        Ok(())
    });
    let second = manager.create(JobOptions::new("second"), second).unwrap();
    let second = second.start();
    running.recv().unwrap();
    assert!(main_loop.run_until(|| dropped.load(Ordering::SeqCst)));
    second.cancel(CancelMode::Force).unwrap();
    main_loop.run_until_idle();
}

/// Says on which thread it is dropped.
struct Farewell(Sender<ThreadId>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.0.send(current().id());
    }
}

#[test]
fn drivers_are_dropped_by_the_main_loop_before_it_is_idle() {
    // A body that still has the driver when the main loop knows of its end has it for a moment only:
    // among many one is caught in it.
    const JOBS: usize = 20_000;
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default().bodies_max(2));
    let (dropped, gone) = channel();
    for number in 0..JOBS {
        let farewell = Farewell(dropped.clone());
        let driver = work(move |_| {
            let _ = &farewell;
            Ok(())
        });
        let options = JobOptions::new(format!("j{number}"));
        drop(manager.create(options, driver).unwrap().start());
        if number % 4 == 3 {
            main_loop.run_until_idle();
            let all: Vec<_> = gone.try_iter().collect();
            assert_eq!(all, [current().id(); 4], "jobs up to {number}");
        }
    }
}

#[test]
fn a_cancelled_job_is_gone_before_a_thread_was_free_for_it() {
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default().bodies_max(1));
    let (runs, running) = channel();
    let runs = Mutex::new(runs);
    let busy = work(move |mut context| {
        runs.lock().unwrap().send(()).unwrap();
        while context.wait() == Flow::Continue {}
        Ok(())
    });
    let busy = manager.create(JobOptions::new("busy"), busy).unwrap();
    let busy = busy.start();
    running.recv().unwrap();
    let (dropped, gone) = channel();
    let farewell = Farewell(dropped);
    let queued = work(move |_| {
        let _ = &farewell;
        Ok(())
    });
    let queued = manager.create(JobOptions::new("queued"), queued).unwrap();
    let queued = queued.start();
    queued.cancel(CancelMode::Force).unwrap();
    main_loop.run_pending();
    assert_eq!(queued.status(), Status::Null);
    drop(queued);
    assert_eq!(gone.try_recv(), Ok(current().id()));
    busy.cancel(CancelMode::Force).unwrap();
    main_loop.run_until_idle();
}

#[test]
fn a_completion_function_that_is_never_called_is_dropped_without_the_lock() {
    let (manager, mut main_loop) = virtual_time();
    let dropped = Arc::new(AtomicBool::new(false));
    let luggage = CallsBack {
        manager: manager.clone(),
        dropped: Arc::clone(&dropped),
    };
    let options = JobOptions::new("j0").on_completion(move |_| drop(luggage));
    drop(manager.create(options, work(|_| Ok(()))).unwrap());
    main_loop.run_until_idle();
    assert!(dropped.load(Ordering::SeqCst));
}

/// Asks the manager for its jobs whenever it is asked for its type.
struct Curious(Manager);

impl Driver for Curious {
    fn job_type(&self) -> &'static str {
        self.0.jobs();
        "curious"
    }

    fn run(&self, _context: RunContext<'_>) -> Result<(), JobError> {
        Ok(())
    }
}

struct Counter(AtomicUsize);

impl TraceSink for Counter {
    fn record(&self, _entry: &TraceEntry<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_driver_is_not_asked_for_its_type_under_the_lock() {
    let sink = Arc::new(Counter(AtomicUsize::new(0)));
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default().trace(sink.clone()));
    let driver = Curious(manager.clone());
    let job = manager.create(JobOptions::new("j0"), driver).unwrap();
    let job = job.start();
    main_loop.run_until_idle();
    assert_eq!(job.info().job_type, "curious");
    assert!(sink.0.load(Ordering::SeqCst) > 0);
}

/// Starts its own transaction while it is being cancelled.
struct StartsLate {
    transaction: Arc<Mutex<Option<Transaction>>>,
    peer: Arc<OnceLock<JobHandle>>,
    peer_after_start: Arc<Mutex<Option<Status>>>,
}

impl Driver for StartsLate {
    fn job_type(&self) -> &'static str {
        "late"
    }

    fn run(&self, _context: RunContext<'_>) -> Result<(), JobError> {
        Ok(())
    }

    fn cancel(&self, _force: bool, _ready: bool) -> bool {
        if let Some(transaction) = self.transaction.lock().unwrap().take() {
            let _ = transaction.start();
            *self.peer_after_start.lock().unwrap() = self.peer.get().map(JobHandle::status);
        }
        true
    }
}

#[test]
fn a_transaction_starts_nobody_while_a_member_is_being_cancelled() {
    let (manager, mut main_loop) = virtual_time();
    let slot = Arc::new(Mutex::new(None));
    let peer = Arc::new(OnceLock::new());
    let peer_after_start = Arc::new(Mutex::new(None));
    let mut transaction = manager.transaction();
    let late = StartsLate {
        transaction: Arc::clone(&slot),
        peer: Arc::clone(&peer),
        peer_after_start: Arc::clone(&peer_after_start),
    };
    let cancelled = transaction.create(JobOptions::new("a"), late).unwrap();
    let ran = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&ran);
    let other = work(move |_| {
        noted.store(true, Ordering::SeqCst);
        Ok(())
    });
    let other = transaction.create(JobOptions::new("b"), other).unwrap();
    peer.set(other.clone()).unwrap();
    *slot.lock().unwrap() = Some(transaction);
    cancelled.cancel(CancelMode::Force).unwrap();
    assert_eq!(
        *peer_after_start.lock().unwrap(),
        Some(Status::Created),
        "the start came after the cancel"
    );
    main_loop.run_until_idle();
    for job in [cancelled, other] {
        assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
        assert_eq!(job.status(), Status::Null);
    }
    assert!(!ran.load(Ordering::SeqCst));
}

#[test]
fn nothing_starts_once_the_main_loop_is_gone() {
    let (manager, main_loop) = virtual_time();
    let ran = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&ran);
    let alone = work(move |_| {
        noted.store(true, Ordering::SeqCst);
        Ok(())
    });
    let alone = manager.create(JobOptions::new("alone"), alone).unwrap();
    let mut transaction = manager.transaction();
    let member = transaction.create(JobOptions::new("member"), work(|_| Ok(())));
    drop(main_loop);
    let alone = alone.start();
    let _ = transaction.start();
    for job in [alone, member.unwrap()] {
        assert_eq!(job.status(), Status::Null);
        let waited = std::thread::spawn(move || job.wait_concluded());
        assert!(matches!(
            waited.join().unwrap(),
            Err(EngineError::NeverStarted { .. })
        ));
    }
    assert!(!ran.load(Ordering::SeqCst));
}

#[test]
fn what_changes_while_a_condition_is_asked_is_looked_at() {
    let (manager, mut main_loop) = virtual_time();
    let (become_ready, orders) = channel();
    let orders = Mutex::new(orders);
    let driver = work(move |context| {
        orders.lock().unwrap().recv().unwrap();
        let mut context = context.ready();
        while context.wait() == Flow::Continue {}
        Ok(())
    });
    let job = manager
        .create(JobOptions::new("j0"), driver)
        .unwrap()
        .start();
    let mut asked = 0;
    // Becoming ready leaves no task behind, and nothing else happens: who does not notice the change waits for
    // ever.
    assert!(main_loop.run_until(|| {
        asked += 1;
        if asked == 1 {
            become_ready.send(()).unwrap();
            while job.status() != Status::Ready {
                yield_now();
            }
        }
        asked > 1
    }));
    job.cancel(CancelMode::Force).unwrap();
    main_loop.run_until_idle();
}

#[test]
fn a_speed_raised_between_reckoning_and_sleep_cuts_the_sleep() {
    let (manager, mut main_loop) = virtual_time();
    let (reckoned, has_reckoned) = channel();
    let (changed, has_changed) = channel();
    let channels = Mutex::new((reckoned, has_changed));
    let slept = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&slept);
    let driver = work(move |mut context| {
        let delay = context.charge(1000);
        {
            let (reckoned, has_changed) = &*channels.lock().unwrap();
            reckoned.send(delay).unwrap();
            has_changed.recv().unwrap();
        }
        let before = context.now();
        let _ = context.sleep(delay);
        *noted.lock().unwrap() = context.now().checked_sub(before);
        Ok(())
    });
    let job = manager.create(JobOptions::new("j0").speed(10), driver);
    let job = job.unwrap().start();
    assert_eq!(has_reckoned.recv().unwrap(), Duration::from_secs(100));
    job.set_speed(0).unwrap();
    changed.send(()).unwrap();
    main_loop.run_until_idle();
    assert_eq!(*slept.lock().unwrap(), Some(Duration::ZERO));
}

#[test]
fn who_waits_for_ready_learns_that_the_job_failed() {
    let (manager, mut main_loop) = virtual_time();
    let failing = work(|_| Err(Errno::IO.into()));
    let options = JobOptions::new("j0").manual_dismiss(true);
    let job = manager.create(options, failing).unwrap().start();
    let waiting = job.clone();
    let waiter = std::thread::spawn(move || waiting.wait_for(&[Status::Ready]));
    main_loop.run_until_idle();
    // If it waits still, it now gets an error instead of an answer.
    drop(main_loop);
    let status = waiter.join().unwrap().unwrap();
    assert!(
        [Status::Aborting, Status::Concluded].contains(&status),
        "{status}"
    );
}

/// Lanes that work until the gate turns them away, and a `pause` or a `resume` that panics.
struct Brittle {
    pieces: Arc<AtomicUsize>,
    in_pause: bool,
}

impl Driver for Brittle {
    fn job_type(&self) -> &'static str {
        "brittle"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        let gate = context.gate();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while let Some(permit) = gate.enter() {
                    self.pieces.fetch_add(1, Ordering::SeqCst);
                    drop(permit);
                }
            });
            while context.wait() == Flow::Continue {}
        });
        Ok(())
    }

    fn pause(&self) {
        assert!(!self.in_pause, "no pause");
    }

    fn resume(&self) {
        assert!(self.in_pause, "no resume");
    }
}

fn panics_beside_lanes(in_pause: bool) -> String {
    let (manager, mut main_loop) = virtual_time();
    let pieces = Arc::new(AtomicUsize::new(0));
    let driver = Brittle {
        pieces: Arc::clone(&pieces),
        in_pause,
    };
    let job = manager.create(JobOptions::new("j0"), driver).unwrap();
    let job = job.start();
    while pieces.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    job.pause().unwrap();
    if !in_pause {
        assert!(main_loop.run_until(|| job.status() == Status::Paused));
        job.resume().unwrap();
    }
    main_loop.run_until_idle();
    job.outcome().unwrap().unwrap_err().text()
}

#[test]
fn a_panic_in_pause_or_resume_leaves_no_lane_at_the_gate() {
    for (in_pause, words) in [(true, "no pause"), (false, "no resume")] {
        assert_eq!(
            panics_beside_lanes(in_pause),
            format!("the driver panicked in run: {words}")
        );
    }
}

#[test]
fn run_pending_wakes_sleepers_whose_time_has_come() {
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let sleeper = work(|mut context| {
        let _ = context.sleep(Duration::from_millis(1));
        Ok(())
    });
    let job = manager.create(JobOptions::new("j0"), sleeper).unwrap();
    let job = job.start();
    let begun = Instant::now();
    while job.status() != Status::Null {
        main_loop.run_pending();
        assert!(begun.elapsed() < Duration::from_secs(30), "it sleeps on");
        std::thread::yield_now();
    }
}

#[test]
fn virtual_time_has_no_end_that_keeps_sleepers_asleep() {
    let (manager, mut main_loop) = virtual_time();
    let sleeper = work(|mut context| {
        for duration in [Duration::MAX, Duration::from_secs(1), Duration::ZERO] {
            if context.sleep(duration) == Flow::Cancelled {
                return Err(JobError::canceled());
            }
        }
        Ok(())
    });
    let job = manager.create(JobOptions::new("j0"), sleeper).unwrap();
    let job = job.start();
    main_loop.run_until_idle();
    assert_eq!(job.outcome(), Some(Ok(())));
}

#[test]
fn progress_stays_at_the_top_of_its_range() {
    let (manager, mut main_loop) = virtual_time();
    let driver = work(|context| {
        let progress = context.progress();
        progress.advance(u64::MAX - 1);
        progress.advance(2);
        progress.set_remaining(5);
        progress.increase_remaining(5);
        Ok(())
    });
    let job = manager.create(JobOptions::new("j0"), driver).unwrap();
    let job = job.start();
    main_loop.run_until_idle();
    assert_eq!(job.progress_bytes(), (u64::MAX, u64::MAX));
}

/// Ready, and waits to be told how to finish.
struct Converged;

impl Driver for Converged {
    fn job_type(&self) -> &'static str {
        "converged"
    }

    fn supports_complete(&self) -> bool {
        true
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        match context.ready().wait_for_finish() {
            Finish::Complete | Finish::SoftCancel => Ok(()),
            Finish::Cancelled => Err(JobError::canceled()),
        }
    }
}

#[test]
fn a_ready_job_that_was_entered_is_not_busy_for_ever() {
    let (manager, mut main_loop) = virtual_time();
    let job = manager.create(JobOptions::new("j0"), Converged).unwrap();
    let job = job.start();
    assert!(main_loop.run_until(|| job.status() == Status::Ready));
    let parked = |job: &JobHandle| {
        while job.info().busy {
            std::thread::yield_now();
        }
    };
    parked(&job);
    job.enter();
    parked(&job);
    job.complete().unwrap();
    main_loop.run_until_idle();
    assert_eq!(job.outcome(), Some(Ok(())));
}

/// Counts the pieces of I/O that have begun and not ended.
struct Open(AtomicUsize);

impl TraceSink for Open {
    fn record(&self, entry: &TraceEntry<'_>) {
        match entry.step {
            TraceStep::IoBegin(_) => self.0.fetch_add(1, Ordering::SeqCst),
            TraceStep::IoEnd { ok, .. } => {
                assert!(!ok);
                self.0.fetch_sub(1, Ordering::SeqCst)
            }
            _ => unreachable!("nothing else is recorded"),
        };
    }
}

#[test]
fn recorded_io_that_panics_is_over() {
    let open = Arc::new(Open(AtomicUsize::new(0)));
    let recorder = JobRecorder::new(open.clone(), "j0", None);
    let io = Io {
        op: "read",
        offset: 0,
        bytes: 1,
    };
    let work = || -> Result<(), JobError> { panic!("no read") };
    let attempt = std::panic::AssertUnwindSafe(|| recorder.io(io, work));
    assert!(std::panic::catch_unwind(attempt).is_err());
    assert_eq!(open.0.load(Ordering::SeqCst), 0);
}
