//! A pause point nobody asked anything of, beside an empty loop.
//!
//! Method: inside one running job, on its own body thread, an empty loop and the same loop with a
//! pause point run in turn; medians over the rounds, in nanoseconds per turn of the loop. The
//! difference is what a pause point costs: one load and one test.

mod measure;

use std::hint::black_box;
use std::time::Duration;

use blockjob::driver::{Driver, Flow, JobError, RunContext};
use blockjob::engine::{JobOptions, Manager, ManagerConfig};

const TURNS: u64 = 20_000_000;
const ROUNDS: usize = 25;

/// A driver whose run is the benchmark.
struct Bench;

impl Driver for Bench {
    fn job_type(&self) -> &'static str {
        "bench"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        let mut empty = || {
            measure::timed(|| {
                for turn in 0..TURNS {
                    black_box(turn);
                }
            })
        };
        let mut pause_point = || {
            measure::timed(|| {
                for turn in 0..TURNS {
                    black_box(turn);
                    if context.pause_point() == Flow::Cancelled {
                        break;
                    }
                }
            })
        };
        let times = measure::in_turn(ROUNDS, &mut [&mut empty, &mut pause_point]);
        let per_turn = |time: Duration| time.as_secs_f64() * 1e9 / TURNS as f64;
        let empty = per_turn(measure::median(&times[0]));
        let pause_point = per_turn(measure::median(&times[1]));
        println!("empty loop                 {empty:.3} ns a turn");
        println!("loop with a pause point    {pause_point:.3} ns a turn");
        println!(
            "a pause point              {:.3} ns ({:.2} times the empty loop; goal: at most 2 ns)",
            pause_point - empty,
            pause_point / empty,
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
