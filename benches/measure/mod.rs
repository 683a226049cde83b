//! What the benchmarks share: turns, medians, ratios.
//!
//! A benchmark prints numbers and never fails by them: the machine it runs on is not ours. What is
//! compared is measured in turns, so that noise hits each side alike, and medians are reported.

use std::time::{Duration, Instant};

/// Runs each of `sides` once per round, in turn; for each its times, sorted.
pub fn in_turn(rounds: usize, sides: &mut [&mut dyn FnMut() -> Duration]) -> Vec<Vec<Duration>> {
    let mut times = vec![Vec::with_capacity(rounds); sides.len()];
    for _ in 0..rounds {
        for (side, times) in sides.iter_mut().zip(&mut times) {
            times.push(side());
        }
    }
    for times in &mut times {
        times.sort_unstable();
    }
    times
}

/// How long `work` took.
#[allow(dead_code)] // One of them counts time on the processor.
pub fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// The middle of sorted times.
pub fn median(sorted: &[Duration]) -> Duration {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
