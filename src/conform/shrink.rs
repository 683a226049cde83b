//! From a program that shows a divergence to the shortest part of it that still does.
//!
//! Steps are left out, half of them first, then fewer at a time, as long as what is left shows the same. A race may
//! need more than one attempt, so each part gets a few.

use std::io;
use std::time::{Duration, Instant};

use super::divergence::{Divergence, Kind};
use super::program::Program;

/// How often a part is run before it is said not to show it.
const ATTEMPTS: usize = 2;
/// How often the whole is run before it is said that it does not show it again.
const ATTEMPTS_WHOLE: usize = 4;
/// When to be content with what there is.
const LONGEST: Duration = Duration::from_secs(60);
/// The same, in runs.
const RUNS_MAX: usize = 1000;

/// What came of it.
#[derive(Debug)]
pub struct Shrunk {
    /// The program, shorter if that could be.
    pub program: Program,
    /// What it shows.
    pub divergence: Divergence,
    /// It was shown again.
    pub again: bool,
    /// How many runs it took.
    pub runs: usize,
}

/// Shrinks `program`, which showed `divergence` once. `play` runs a part of it, and says what that shows.
///
/// # Errors
/// There is no peer.
pub fn shrink(
    play: &mut dyn FnMut(&Program) -> io::Result<Option<Divergence>>,
    program: Program,
    divergence: Divergence,
) -> io::Result<Shrunk> {
    let begun = Instant::now();
    let mut shrunk = Shrunk {
        program,
        divergence,
        again: false,
        runs: 0,
    };
    for _ in 0..ATTEMPTS_WHOLE {
        shrunk.runs += 1;
        if let Some(found) = play(&shrunk.program)?
            && found.is_like(&shrunk.divergence)
        {
            shrunk.divergence = found;
            shrunk.again = true;
            break;
        }
    }
    // That something is due rests on the command before the wait, which is the last thing that was done.
    let fixed = if shrunk.divergence.kind == Kind::Stuck {
        2
    } else {
        0
    };
    let mut piece = shrunk.program.steps.len().div_ceil(2);
    while shrunk.again && piece > 0 {
        let mut at = 0;
        let mut shorter = false;
        while at + fixed < shrunk.program.steps.len() {
            if begun.elapsed() > LONGEST || shrunk.runs >= RUNS_MAX {
                shrunk.program.tidy();
                return Ok(shrunk);
            }
            let mut part = shrunk.program.clone();
            let end = (at + piece).min(part.steps.len() - fixed);
            part.steps.drain(at..end);
            let mut shows = None;
            for _ in 0..ATTEMPTS {
                shrunk.runs += 1;
                shows = play(&part)?.filter(|found| found.is_like(&shrunk.divergence));
                if shows.is_some() {
                    break;
                }
            }
            match shows {
                Some(found) => {
                    shrunk.divergence = found;
                    shrunk.program = part;
                    shorter = true;
                }
                None => at = end,
            }
        }
        if piece == 1 && !shorter {
            break;
        }
        if piece > 1 {
            piece = piece.div_ceil(2);
        }
    }
    shrunk.program.tidy();
    Ok(shrunk)
}
