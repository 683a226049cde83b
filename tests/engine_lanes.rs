//! The other workers of a job: I/O in flight, counted by the lane gate.
//!
//! Goal: nothing is in flight while the job is paused or after its run (P18, P19, P27), and nobody
//! waits for ever at a closed gate. Method: real threads; a pause is asked for while a lane is known
//! to be inside the gate.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use blockjob::driver::{Driver, Flow, JobError, RunContext};
use blockjob::engine::{CancelMode, JobHandle, JobOptions, LaneGate, Manager, ManagerConfig};
use blockjob::model::Status;

/// Lanes that each do one piece of I/O after the other until the gate turns them away.
struct Busy {
    lanes: usize,
    pieces: AtomicUsize,
    in_flight: Arc<AtomicUsize>,
    in_flight_at_pause: Mutex<Vec<usize>>,
}

impl Driver for Busy {
    fn job_type(&self) -> &'static str {
        "busy"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        let gate = context.gate();
        std::thread::scope(|scope| {
            for _ in 0..self.lanes {
                let gate = gate.clone();
                scope.spawn(move || {
                    while let Some(permit) = gate.enter() {
                        self.in_flight.fetch_add(1, Ordering::SeqCst);
                        self.pieces.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        self.in_flight.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
            while context.wait() == Flow::Continue {}
        });
        Ok(())
    }

    fn resume(&self) {
        let in_flight = self.in_flight.load(Ordering::SeqCst);
        self.in_flight_at_pause.lock().unwrap().push(in_flight);
    }
}

#[test]
fn a_paused_job_has_nothing_in_flight_and_goes_on_after_it() {
    let in_flight = Arc::new(AtomicUsize::new(0));
    let driver = Arc::new(Busy {
        lanes: 3,
        pieces: AtomicUsize::new(0),
        in_flight: Arc::clone(&in_flight),
        in_flight_at_pause: Mutex::default(),
    });
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let options = JobOptions::new("j0");
    let job = manager
        .create(options, Arc::clone(&driver))
        .unwrap()
        .start();
    let rounds = 50;
    for _ in 0..rounds {
        let before = driver.pieces.load(Ordering::SeqCst);
        while driver.pieces.load(Ordering::SeqCst) == before {
            std::thread::yield_now();
        }
        job.pause().unwrap();
        assert!(main_loop.run_until(|| job.status() == Status::Paused));
        assert_eq!(in_flight.load(Ordering::SeqCst), 0);
        let parked = driver.pieces.load(Ordering::SeqCst);
        std::thread::yield_now();
        assert_eq!(driver.pieces.load(Ordering::SeqCst), parked);
        job.resume().unwrap();
    }
    job.cancel(CancelMode::Force).unwrap();
    main_loop.run_until_idle();
    assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
    assert_eq!(in_flight.load(Ordering::SeqCst), 0);
    assert_eq!(driver.in_flight_at_pause.lock().unwrap().len(), rounds);
}

/// Hands its gate out and keeps a body that pauses when told.
struct Lender {
    gate: Mutex<Option<Sender<LaneGate>>>,
    end: Mutex<Receiver<()>>,
    ended: Arc<AtomicBool>,
}

impl Driver for Lender {
    fn job_type(&self) -> &'static str {
        "lender"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        let gate = self.gate.lock().unwrap().take().unwrap();
        gate.send(context.gate()).unwrap();
        while self.end.lock().unwrap().try_recv().is_err() {
            if context.wait() == Flow::Cancelled {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    fn abort(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

struct Lent {
    manager: Manager,
    main_loop: blockjob::engine::MainLoop,
    job: JobHandle,
    gate: LaneGate,
    end: Sender<()>,
    ended: Arc<AtomicBool>,
}

fn lend() -> Lent {
    let (to_us, gate) = channel();
    let (end, told) = channel();
    let ended = Arc::new(AtomicBool::new(false));
    let lender = Lender {
        gate: Mutex::new(Some(to_us)),
        end: Mutex::new(told),
        ended: Arc::clone(&ended),
    };
    let (manager, main_loop) = Manager::new(ManagerConfig::default());
    let job = manager
        .create(JobOptions::new("j0"), lender)
        .unwrap()
        .start();
    let gate = gate.recv().unwrap();
    Lent {
        manager,
        main_loop,
        job,
        gate,
        end,
        ended,
    }
}

#[test]
fn a_pause_is_not_acknowledged_while_a_lane_is_inside() {
    let mut lent = lend();
    let permit = lent.gate.enter().unwrap();
    lent.job.pause().unwrap();
    // A lane that waits at the closed gate; it gets in once the job goes on.
    while !lent.gate.is_closed() {
        std::thread::yield_now();
    }
    let second = {
        let gate = lent.gate.clone();
        std::thread::spawn(move || gate.enter().is_some())
    };
    assert_eq!(lent.job.status(), Status::Running);
    drop(permit);
    assert!(
        lent.main_loop
            .run_until(|| lent.job.status() == Status::Paused)
    );
    assert!(!second.is_finished());
    lent.job.resume().unwrap();
    assert!(second.join().unwrap());
    lent.end.send(()).unwrap();
    lent.gate.wake_body();
    lent.main_loop.run_until_idle();
    assert_eq!(lent.job.outcome(), Some(Ok(())));
    assert!(lent.manager.jobs().is_empty());
}

#[test]
fn a_lane_at_a_closed_gate_learns_of_the_cancel() {
    let mut lent = lend();
    lent.job.pause().unwrap();
    assert!(
        lent.main_loop
            .run_until(|| lent.job.status() == Status::Paused)
    );
    let waiting = {
        let gate = lent.gate.clone();
        std::thread::spawn(move || gate.enter().is_none())
    };
    lent.job.cancel(CancelMode::Force).unwrap();
    assert!(waiting.join().unwrap());
    assert!(lent.gate.is_cancelled());
    lent.main_loop.run_until_idle();
    assert!(lent.gate.enter().is_none());
}

#[test]
fn the_end_of_the_run_waits_for_who_is_inside_and_lets_nobody_in() {
    let mut lent = lend();
    let permit = lent.gate.enter().unwrap();
    lent.end.send(()).unwrap();
    lent.gate.wake_body();
    while !lent.gate.is_closed() {
        std::thread::yield_now();
    }
    assert_eq!(lent.main_loop.run_pending(), 0);
    assert!(!lent.ended.load(Ordering::SeqCst), "I/O is in flight");
    drop(permit);
    lent.main_loop.run_until_idle();
    assert!(lent.ended.load(Ordering::SeqCst));
    assert!(lent.gate.enter().is_none(), "the run is over");
}
