//! Servers and disks that are slow, or become so: no piece takes longer than a pause may wait.
//!
//! Goal: whatever the speed of a clone, of the kernel's own copy, or of what is read and written, and however it changes,
//! 99 of 100 pieces take at most [`WAIT_MAX`], and pieces are not so small that the calls are most of the work. Method: a disk whose calls take
//! virtual time, by their bytes, and move nothing; the time of each piece is read at its begin and its end.

use crate::copy::{CopyOptions, CopyPlan, Durability, Pair, Technique};
use crate::engine::{JobOptions, Manager, ManagerConfig};
use crate::io::faulty::{Ruling, Script, Subject, install, passed};
use crate::io::kernel::Call;
use crate::trace::{TraceEntry, TraceSink, TraceStep};
use std::cell::Cell;
use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a pause may wait for a piece, of 99 in a hundred.
const WAIT_MAX: Duration = Duration::from_millis(5);
/// What each call costs besides.
const CALL: Duration = Duration::from_micros(20);

/// A disk that makes copies by itself, so many bytes in a second; from the middle of the file on, another speed.
struct Server {
    size: u64,
    bytes_per_s: [u64; 2],
}

impl Script for Server {
    fn delay(&mut self, _: &Subject, call: Call<'_>) -> Duration {
        let (at, bytes) = match call {
            Call::Clone { at, bytes } => (at, bytes.unsigned_abs()),
            Call::Offload { at, bytes } | Call::Read { at, bytes } | Call::Write { at, bytes } => {
                (at, bytes as u64)
            }
            _ => return Duration::ZERO,
        };
        let late = at.unsigned_abs() >= self.size / 2;
        let speed = self.bytes_per_s[usize::from(late)];
        CALL + Duration::from_secs_f64(bytes as f64 / speed as f64)
    }

    fn rule(&mut self, _: &Subject, call: Call<'_>) -> Ruling {
        match call {
            Call::Clone { .. } | Call::Allocate { .. } | Call::Sync { .. } => Ruling::Say(0),
            // The last look before the copy: there is nothing beyond the end.
            Call::Read { at, .. } if at.unsigned_abs() >= self.size => Ruling::Pass,
            Call::Offload { bytes, .. } | Call::Read { bytes, .. } | Call::Write { bytes, .. } => {
                Ruling::Say(bytes as u64)
            }
            // All of it is data.
            Call::Seek { hole: false, from } => Ruling::Say(from.unsigned_abs()),
            Call::Seek { hole: true, .. } => Ruling::Say(self.size),
            _ => Ruling::Pass,
        }
    }

    fn answered(&mut self, _: &Subject, _: Call<'_>, _: Result<u64, i32>) {}
}

thread_local! {
    static BEGAN: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The virtual time that each piece took.
#[derive(Default)]
struct Pieces(Mutex<Vec<Duration>>);

impl TraceSink for Pieces {
    fn record(&self, entry: &TraceEntry<'_>) {
        match entry.step {
            TraceStep::IoBegin(_) => BEGAN.set(passed()),
            TraceStep::IoEnd { .. } => {
                let took = passed().saturating_sub(BEGAN.get());
                self.0.lock().unwrap().push(took);
            }
            _ => {}
        }
    }
}

/// The time that each piece of a copy took, sorted.
fn pieces(technique: Technique, workers: usize, bytes_per_s: [u64; 2]) -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let (source, target) = (root.join("source"), root.join("target"));
    // A second at the mean of both speeds, whole blocks.
    let size = u64::midpoint(bytes_per_s[0], bytes_per_s[1]) / 4096 * 4096;
    File::create(&source).unwrap().set_len(size).unwrap();
    let server: Arc<Mutex<dyn Script>> = Arc::new(Mutex::new(Server { size, bytes_per_s }));
    let options = CopyOptions::new()
        .workers(workers)
        .durability(Durability::None)
        .technique(Some(technique));
    let force = install(&root, server);
    let found = Arc::new(Pieces::default());
    let plan = CopyPlan::check(&[Pair::new(&source, &target)], &options).unwrap();
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let sink: Arc<dyn TraceSink> = Arc::<Pieces>::clone(&found);
    let jobs = plan
        .record_io(sink)
        .start(&manager, |_| JobOptions::new("slow"))
        .unwrap();
    main_loop.run_until_idle();
    drop(force);
    assert!(jobs[0].succeeded(), "{:?}", jobs[0].failure());
    let mut found = std::mem::take(&mut *found.0.lock().unwrap());
    found.sort_unstable();
    found
}

const MB: u64 = 1_000_000;

#[test]
fn whatever_the_speed_a_piece_takes_no_longer_than_a_pause_may_wait() {
    let steady = [20, 100, 1000, 10_000, 200_000].map(|speed| [speed * MB; 2]);
    let changing = [[10_000, 100], [100, 10_000], [2000, 50]].map(|pair| pair.map(|at| at * MB));
    for speeds in steady.into_iter().chain(changing) {
        for technique in [Technique::Offload, Technique::Clone] {
            for workers in [1, 2] {
                let found = pieces(technique, workers, speeds);
                let calls = CALL * found.len() as u32;
                judge(
                    &found,
                    calls,
                    &format!("{technique:?} {workers} {speeds:?}"),
                );
            }
        }
    }
}

#[test]
fn what_is_read_and_written_by_a_slow_disk_comes_in_pieces_as_short() {
    // Both ends are as slow; at the fastest a piece is as large as the buffer.
    let steady = [50, 100, 400, 1000].map(|speed| [speed * MB; 2]);
    let changing = [[1000, 50], [50, 1000]].map(|pair| pair.map(|at| at * MB));
    for speeds in steady.into_iter().chain(changing) {
        for workers in [1, 2] {
            let found = pieces(Technique::Buffered, workers, speeds);
            let calls = CALL * 2 * found.len() as u32;
            judge(&found, calls, &format!("{workers} {speeds:?}"));
        }
    }
}

/// The times of pieces, sorted, and that of their calls.
fn judge(found: &[Duration], calls: Duration, what: &str) {
    let p99 = found[found.len() * 99 / 100];
    assert!(p99 <= WAIT_MAX, "{what}: {p99:?}");
    let all: Duration = found.iter().sum();
    // One that takes half a millisecond is not made larger: of that, two calls are a twelfth.
    assert!(calls < all / 8, "{what}: {calls:?} of {all:?}");
}
