//! Which mutant is on. Put into the crate that is tried by `cargo xtask mutants --together`.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicU32, AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock};

const UNKNOWN: u32 = u32::MAX;
const RECORDING: u32 = u32::MAX - 1;
/// No mutant has this number.
const NONE: u32 = u32::MAX - 2;

static ON: AtomicU32 = AtomicU32::new(UNKNOWN);
static REACHED: [AtomicU8; COUNT] = [const { AtomicU8::new(0) }; COUNT];
static RECORD: OnceLock<Option<Mutex<File>>> = OnceLock::new();

/// Whether it is this one.
#[inline]
pub fn on(number: u32) -> bool {
    let on = ON.load(Ordering::Relaxed);
    if on < RECORDING { on == number } else { unusual(number, on) }
}

#[cold]
#[inline(never)]
fn unusual(number: u32, on: u32) -> bool {
    match on {
        UNKNOWN => {
            let chosen = match env::var("BLOCKJOB_MUTANT") {
                Ok(word) => word.parse().unwrap_or(NONE),
                Err(_) if env::var_os("BLOCKJOB_MUTANTS_REACHED").is_some() => RECORDING,
                Err(_) => NONE,
            };
            ON.store(chosen, Ordering::Relaxed);
            chosen == number || (chosen == RECORDING && unusual(number, RECORDING))
        }
        RECORDING => {
            let reached = &REACHED[number as usize];
            if reached.load(Ordering::Relaxed) == 0 && reached.swap(1, Ordering::Relaxed) == 0 {
                record(number);
            }
            false
        }
        _ => false,
    }
}

/// At once, as nothing says when a process ends.
fn record(number: u32) {
    let file = RECORD.get_or_init(|| {
        let path = env::var_os("BLOCKJOB_MUTANTS_REACHED")?;
        let file = OpenOptions::new().append(true).create(true).open(path).ok()?;
        Some(Mutex::new(file))
    });
    if let Some(file) = file {
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = writeln!(file, "{number}");
    }
}
