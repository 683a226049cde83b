//! What the benchmarks share: turns, medians, ratios, and goals.
//!
//! A benchmark prints numbers and never fails by them: the machine it runs on is not ours. What is
//! compared is measured in turns, so that noise hits each side alike, and medians are reported. A goal is
//! printed with how far it is met or missed, and told to `cargo xtask bench`, which lists them all.
//!
//! Environment, set by `cargo xtask bench`: `BLOCKJOB_BENCH_QUICK` asks for less of everything, `BLOCKJOB_BENCH_GOALS`
//! names the file that goals are written to as well, a JSON array a line.
#![allow(dead_code)] // Each benchmark uses a part of it.

use std::fmt;
use std::io::Write as _;
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
pub fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// The middle of sorted times.
pub fn median(sorted: &[Duration]) -> Duration {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The time that so many of a hundred sorted ones do not exceed.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

/// The middle of numbers in any order.
pub fn middle(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Whether less of everything is wanted.
pub fn is_quick() -> bool {
    std::env::var_os("BLOCKJOB_BENCH_QUICK").is_some()
}

/// What a goal asks of its number.
#[derive(Clone, Copy)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl fmt::Display for Bound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::AtMost(bound) => write!(out, "at most {bound}"),
            Bound::AtLeast(bound) => write!(out, "at least {bound}"),
        }
    }
}

/// Says whether a goal is met, and by how much it is missed; `beside` is whom or what it was measured beside.
pub fn goal(what: &str, found: f64, bound: Bound, unit: &str, beside: &str) {
    let missed = match bound {
        Bound::AtMost(bound) => found - bound,
        Bound::AtLeast(bound) => bound - found,
    };
    let verdict = if found.is_nan() {
        "not measured".to_owned()
    } else if missed <= 0.0 {
        "met".to_owned()
    } else {
        format!("missed by {missed:.2}")
    };
    let wanted = format!("{bound}{unit}");
    let found = format!("{found:.2}{unit}");
    println!("  goal: {what}: {found}, {wanted} ({beside}): {verdict}");
    let line = [what, &found, &wanted, beside, &verdict];
    let line: Vec<_> = line.iter().map(|cell| format!("{cell:?}")).collect();
    if let Some(path) = std::env::var_os("BLOCKJOB_BENCH_GOALS") {
        let file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(path);
        // What cannot be written there was said here.
        let _ = file.and_then(|mut file| writeln!(file, "[{}]", line.join(",")));
    }
}
