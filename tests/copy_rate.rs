//! Goal: a copy keeps to its speed limit and reaches it, whatever disturbs its sleeps: who pauses and resumes it, enters
//! it or changes its speed at every piece gets no byte more; more workers, which share it, get none either.
//! Method: time is virtual, so how long a copy took is what it was made to wait, to the nanosecond, and nobody waits
//! for it. Disturbances at random (proptest) come at the end of each piece, from the worker itself.
#![allow(clippy::unwrap_used)]

mod copy_common;

use blockjob::copy::{CopyOptions, CopyPlan, Durability};
use blockjob::driver::{Driver, JobError, RunContext};
use blockjob::engine::rate::SLICE;
use blockjob::engine::{JobHandle, JobOptions, Manager, ManagerConfig};
use blockjob::model::Status;
use blockjob::trace::{TraceEntry, TraceSink, TraceStep};
use copy_common::*;
use proptest::prelude::*;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

const PIECE: usize = 16 << 10;
/// In bytes per second.
const SLOW: u64 = 200_000;
const FAST: u64 = 500_000;

/// What comes between a piece and the sleep after it.
#[derive(Debug, Clone, Copy)]
enum Disturbance {
    None,
    Enter,
    Pause,
    Slower,
    Faster,
}

/// At the end of each piece, the next disturbance.
struct Disturb {
    job: OnceLock<JobHandle>,
    next: Mutex<std::vec::IntoIter<Disturbance>>,
    manager: Manager,
    workers: u64,
    /// The highest limit that it ever has.
    fastest: u64,
    /// Bytes that were begun, and the first piece that came too early.
    begun: Mutex<(u64, Option<String>)>,
}

impl Disturb {
    /// A piece begins when those before it are paid for: but for what others have in hand, and a slice.
    fn begins(&self, bytes: u64) {
        let (now, mut begun) = (self.manager.now(), self.begun.lock().unwrap());
        let paid = begun.0.saturating_sub((self.workers - 1) * PIECE as u64);
        if worth(paid, self.fastest) > now + SLICE && begun.1.is_none() {
            begun.1 = Some(format!("{} bytes were begun before {now:?}", begun.0));
        }
        begun.0 += bytes;
    }
}

impl TraceSink for Disturb {
    fn record(&self, entry: &TraceEntry<'_>) {
        match entry.step {
            TraceStep::IoBegin(io) => return self.begins(io.bytes),
            TraceStep::IoEnd { .. } => {}
            _ => return,
        }
        let next = self.next.lock().unwrap().next();
        let job = self.job.get().unwrap();
        match next {
            None | Some(Disturbance::None) => {}
            Some(Disturbance::Enter) => job.enter(),
            // Refused where it is paused already.
            Some(Disturbance::Pause) => drop(job.pause()),
            Some(Disturbance::Slower) => job.set_speed(SLOW.cast_signed()).unwrap(),
            Some(Disturbance::Faster) => job.set_speed(FAST.cast_signed()).unwrap(),
        }
    }
}

/// Reads the manager's clock.
struct Clock(Arc<OnceLock<Duration>>);

impl Driver for Clock {
    fn job_type(&self) -> &'static str {
        "clock"
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        self.0.set(context.now()).unwrap();
        Ok(())
    }
}

/// How long a copy of so many bytes at `speed` took, in the manager's time.
fn took(bytes: usize, workers: usize, speed: u64, disturbances: Vec<Disturbance>) -> Duration {
    let scratch = Scratch::new();
    let (source, target) = (scratch.dense("source", bytes), scratch.path("target"));
    let options = CopyOptions::new()
        .chunk_bytes(PIECE)
        .workers(workers)
        .durability(Durability::None);
    let plan = CopyPlan::check(&[pair(&source, &target)], &options).unwrap();
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default().virtual_time(true));
    let sink = Arc::new(Disturb {
        job: OnceLock::new(),
        next: Mutex::new(disturbances.into_iter()),
        manager: manager.clone(),
        workers: workers as u64,
        fastest: speed.max(FAST),
        begun: Mutex::default(),
    });
    let driver = plan.drivers().unwrap().remove(0);
    let driver = driver.record_io(Arc::clone(&sink) as Arc<dyn TraceSink>, "copy", None);
    let options = JobOptions::new("copy").speed(speed.cast_signed());
    let created = manager.create(options, driver).unwrap();
    sink.job.set(created.handle()).unwrap();
    let job = created.start();
    let mut turns = 0;
    let held = || job.status() == Status::Paused && job.info().user_paused;
    while job.outcome().is_none() {
        main_loop.run_until(|| {
            turns += 1;
            // A few at each piece.
            assert!(turns < 100_000, "it comes to no end");
            job.outcome().is_some() || held()
        });
        if held() {
            job.resume().unwrap();
        }
    }
    assert_eq!(job.outcome(), Some(Ok(())));
    assert_same(&source, &target);
    let early = sink.begun.lock().unwrap().1.take();
    assert_eq!(early, None, "{workers} workers");
    let time = Arc::new(OnceLock::new());
    manager
        .create(JobOptions::new("clock"), Clock(Arc::clone(&time)))
        .unwrap()
        .start();
    main_loop.run_until_idle();
    *time.get().unwrap()
}

/// What so many bytes are worth at a speed.
fn worth(bytes: u64, speed: u64) -> Duration {
    Duration::from_nanos(bytes * 1_000_000_000 / speed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_disturbance_lets_a_byte_through(
        bytes in 1..40 * PIECE,
        workers in 1_usize..4,
        disturbances in prop::collection::vec(prop::sample::select(vec![
            Disturbance::None,
            Disturbance::Enter,
            Disturbance::Pause,
            Disturbance::Slower,
            Disturbance::Faster,
        ]), 40),
    ) {
        let took = took(bytes, workers, SLOW, disturbances);
        // The last piece is waited for as well, so no piece is free; a slice may be.
        let least = worth(bytes as u64, FAST).saturating_sub(SLICE);
        let most = worth(bytes as u64, SLOW) + SLICE;
        prop_assert!((least..=most).contains(&took), "{took:?}, not {least:?} to {most:?}");
    }
}

#[test]
fn one_disturbance_at_every_piece_lets_no_byte_through() {
    let bytes = 20 * PIECE;
    for workers in [1, 3] {
        for (disturbance, speed) in [
            (Disturbance::None, SLOW),
            (Disturbance::Enter, SLOW),
            (Disturbance::Pause, SLOW),
            (Disturbance::Slower, SLOW),
            (Disturbance::Faster, FAST),
        ] {
            let took = took(bytes, workers, speed, vec![disturbance; 20]);
            let worth = worth(bytes as u64, speed);
            assert!(
                worth.abs_diff(took) <= SLICE,
                "{disturbance:?}, {workers} workers: {took:?}, not {worth:?}"
            );
        }
    }
}

#[test]
fn a_limit_below_one_piece_is_kept_and_reached() {
    for speed in [1, 7, 10, 19, 1000, 40_000] {
        for workers in [1, 2] {
            let bytes = 3 * 4096 + 1;
            let took = took(bytes, workers, speed, Vec::new());
            let worth = worth(bytes as u64, speed);
            assert!(
                worth.abs_diff(took) <= SLICE,
                "{took:?}, not {worth:?}, at {speed}"
            );
        }
    }
}

#[test]
fn over_ten_seconds_a_copy_is_within_two_percent_of_its_limit() {
    for (speed, workers) in [(300_000, 1), (300_000, 4), (1_234_567, 2), (2_000_000, 3)] {
        let bytes = usize::try_from(10 * speed).unwrap();
        let took = took(bytes, workers, speed, Vec::new());
        let away = took.abs_diff(Duration::from_secs(10));
        assert!(away <= Duration::from_millis(200), "{took:?} at {speed}");
    }
}
