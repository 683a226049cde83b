//! How long the specification takes to search: `explore --jobs 1` and `--jobs 2`.
//!
//! Method: a search each round, profile `reference`, every property; medians over the rounds.

mod measure;

use blockjob_model::explore::{self, Options};
use blockjob_model::profile::REFERENCE;

const ROUNDS: usize = 3;

fn main() {
    for (jobs, goal) in [(1, ""), (2, " (goal: under 5 s)")] {
        let options = Options::new(&REFERENCE, jobs).expect("so few jobs can be explored");
        let mut states = 0;
        let mut search = || {
            measure::timed(|| {
                let report = explore::run(&options, |_| {});
                assert!(report.held(), "the specification keeps its properties");
                states = report.states;
            })
        };
        let times = measure::in_turn(ROUNDS, &mut [&mut search]);
        let seconds = measure::median(&times[0]).as_secs_f64();
        println!(
            "explore --jobs {jobs}   {seconds:.2} s for {states} states, {:.0} a second{goal}",
            states as f64 / seconds
        );
    }
}
