//! What the engine costs a driver: a pause point nobody asked anything of, and a whole piece without its I/O.
//!
//! Method: inside one running job, on its own body thread, an empty loop, the same loop with a pause point, and the
//! same loop with all that a copy asks of the engine for each piece (a pause point, the limit, a permit, progress, the
//! charge) run in turn; then a lane's share of it (a permit of the gate, progress), by itself and with a second lane at
//! the same time. Medians over the rounds, in nanoseconds per turn of the loop.

mod measure;

use std::hint::black_box;

use blockjob::driver::{Driver, Flow, JobError, RunContext};
use blockjob::engine::{JobOptions, LaneGate, Manager, ManagerConfig, Progress};
use measure::{Bound, goal, is_quick};

const TURNS: u64 = 20_000_000;
const ROUNDS: usize = 25;

/// A driver whose run is the benchmark.
struct Bench;

/// A lane's pieces.
fn lane(gate: &LaneGate, progress: &Progress, turns: u64) {
    for turn in 0..turns {
        let Some(permit) = gate.enter() else { return };
        black_box(turn);
        progress.advance(1);
        drop(permit);
    }
}

impl Driver for Bench {
    fn job_type(&self) -> &'static str {
        "bench"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        let rounds = if is_quick() { 5 } else { ROUNDS };
        let (gate, progress) = (context.gate(), context.progress());
        let mut empty = || {
            measure::timed(|| {
                for turn in 0..TURNS {
                    black_box(turn);
                }
            })
        };
        let context = std::cell::RefCell::new(&mut context);
        let mut pause_point = || {
            let mut context = context.borrow_mut();
            measure::timed(|| {
                for turn in 0..TURNS {
                    black_box(turn);
                    if context.pause_point() == Flow::Cancelled {
                        break;
                    }
                }
            })
        };
        let mut piece = || {
            let mut context = context.borrow_mut();
            measure::timed(|| {
                for turn in 0..TURNS / 4 {
                    if context.pause_point() == Flow::Cancelled {
                        break;
                    }
                    black_box(context.speed_bytes_per_s());
                    {
                        let _permit = context.io();
                        black_box(turn);
                        context.progress().advance(1);
                    }
                    if !context.charge(1).is_zero() {
                        break;
                    }
                }
            }) * 4
        };
        let mut alone = || measure::timed(|| lane(&gate, progress, TURNS / 4)) * 4;
        let mut together = || {
            measure::timed(|| {
                std::thread::scope(|scope| {
                    for _ in 0..2 {
                        scope.spawn(|| lane(&gate, progress, TURNS / 16));
                    }
                });
            }) * 16
        };
        let times = measure::in_turn(
            rounds,
            &mut [
                &mut empty,
                &mut pause_point,
                &mut piece,
                &mut alone,
                &mut together,
            ],
        );
        let each: Vec<f64> = times
            .iter()
            .map(|times| measure::median(times).as_secs_f64() * 1e9 / TURNS as f64)
            .collect();
        let names = [
            "empty loop",
            "with a pause point",
            "a piece of the body",
            "a piece of a lane",
            "a piece of each of two lanes",
        ];
        for (name, each) in names.iter().zip(&each) {
            println!("{name:<30} {each:>8.3} ns a turn");
        }
        goal(
            "a pause point nobody asked anything of",
            each[1] - each[0],
            Bound::AtMost(2.0),
            " ns",
            "an empty loop",
        );
        goal(
            "engine a piece with null I/O",
            each[2..].iter().fold(0.0_f64, |most, each| most.max(*each)),
            Bound::AtMost(500.0),
            " ns",
            "the dearest of body, lane, two lanes",
        );
        Ok(())
    }
}

fn main() {
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let job = manager
        .create(JobOptions::new("bench"), Bench)
        .expect("the first job of a new manager has no id to collide with");
    job.start();
    main_loop.run_until_idle();
}
