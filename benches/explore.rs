//! How long the specification takes to search, with one, two and three jobs, and how many worlds
//! a second that is.
//!
//! Method: a search each round on one thread, profile `reference`, every property of safety, medians
//! over the rounds. A state is a world, with what was seen of it so far, that was not met before; a
//! transition is a step made from one, whether it leads to a new one or not. Endless stories and
//! the search side by side are timed by themselves, because what they meet are not such worlds.
//! Goal: a million states a second on one core, three jobs under a minute.

mod measure;

use blockjob_model::explore::{self, Options, run_scenarios, scenarios, side_by_side, two_and_one};
use blockjob_model::profile::REFERENCE;

const GOAL: f64 = 1e6;

fn main() {
    for (jobs, rounds) in [(1, 3), (2, 3), (3, 1)] {
        let options = Options::new(&REFERENCE, jobs).expect("so few jobs can be explored");
        let mut safety = options.clone();
        safety.liveness.clear();
        let (mut states, mut transitions) = (0, 0);
        let mut search = || {
            measure::timed(|| {
                let report = run_scenarios(&safety, scenarios(jobs, &REFERENCE), &mut |_| {});
                assert!(report.held(), "the specification keeps its properties");
                (states, transitions) = (report.states, report.transitions);
            })
        };
        let times = measure::in_turn(rounds, &mut [&mut search]);
        let seconds = measure::median(&times[0]).as_secs_f64();
        let speed = states as f64 / seconds;
        println!(
            "explore --jobs {jobs}   {seconds:.2} s for {states} states and {transitions} transitions: \
             {speed:.0} states a second, {:.2} of the goal",
            speed / GOAL
        );
        if options.liveness.is_empty() {
            let pair = measure::timed(|| {
                let report = side_by_side(&REFERENCE, two_and_one(), true);
                assert!(report.counterexample.is_none());
                states = report.states;
            });
            let pair = pair.as_secs_f64();
            println!("   two beside one  {pair:.2} s for {states} pairs of states");
            println!(
                "   together        {:.2} s (goal: under 60 s)",
                seconds + pair
            );
        } else {
            let both = measure::timed(|| {
                assert!(explore::run(&options, |_| {}).held());
            });
            let endless = (both.as_secs_f64() - seconds).max(0.0);
            println!("   endless stories {endless:.2} s");
        }
    }
}
