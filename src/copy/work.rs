//! One pass over a source by all workers of a job: who takes which piece, when they wait, and how they end.
//!
//! The body is one of the workers, and the only one that stops at pause points, sleeps and is cancelled; the others
//! are its lanes: each piece of theirs is counted in by the engine's gate before it begins, so that a paused job has
//! none in flight (P18). All take the next piece from one place, in the source's order.
//!
//! With a speed limit only the body works: a limit needs no second worker, and the body's sleep is the one that
//! pause, cancel and a new limit can end.

use super::piece::{Piece, Pieces};
use super::zero::BLOCK_BYTES;
use crate::driver::{Flow, JobError, RunContext};
use crate::engine::{LaneGate, Progress};
use crate::io::buffer::AlignedBuffer;
use crate::trace::{Io, TraceEntry, TraceSink, TraceStep};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What a pass does with its pieces. Called by all workers at once.
pub(super) trait Task: Sync {
    /// The next piece, of at most so many bytes where its length matters; `None` when all were handed out.
    fn next(&self, bytes_max: u64) -> Result<Option<Piece>, JobError>;

    /// Does one piece, with a buffer that has room for it. The bytes that were really moved, for the speed limit.
    fn step(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, JobError>;

    /// A buffer of so many bytes cannot be had.
    fn no_buffer(&self, bytes: usize, cause: &std::io::Error) -> JobError;
}

/// Where the begin and the end of each piece are recorded.
pub(super) struct IoTrace {
    pub sink: Arc<dyn TraceSink>,
    pub job: String,
    pub group: Option<String>,
}

impl IoTrace {
    /// Records a piece's begin, or its end with whether it succeeded.
    fn record(&self, op: &'static str, piece: Piece, end: Option<bool>) {
        let io = Io {
            op,
            offset: piece.at,
            bytes: piece.bytes,
        };
        let step = match end {
            None => TraceStep::IoBegin(io),
            Some(ok) => TraceStep::IoEnd { io, ok },
        };
        self.sink.record(&TraceEntry {
            job: Some(&self.job),
            group: self.group.as_deref(),
            step,
        });
    }
}

/// How a pass is worked on.
pub(super) struct Pass<'run> {
    /// What it is called in a trace.
    pub op: &'static str,
    /// The body and its lanes.
    pub workers: usize,
    /// Bytes of a worker's buffer, and of the largest piece of data.
    pub buffer_bytes: usize,
    pub io_trace: Option<&'run IoTrace>,
}

impl Pass<'_> {
    /// Works until there is nothing left, or a failure, or a cancel.
    pub fn run(&self, task: &dyn Task, context: &mut RunContext<'_>) -> Result<(), JobError> {
        let work = Work {
            pass: self,
            task,
            progress: context.progress(),
            stop: AtomicBool::new(false),
            // From the start: a lane may be faster than the body's first look.
            limited: AtomicBool::new(context.speed_bytes_per_s() != 0),
            first_failure: Mutex::new(None),
            changed: Condvar::new(),
        };
        let flow = if self.workers > 1 {
            let gate = context.gate();
            std::thread::scope(|scope| {
                // However the body ends, by a panic too, the lanes are told: else the scope would wait for ever.
                let _stop = StopOnDrop(&work);
                for number in 1..self.workers {
                    let (work, gate) = (&work, gate.clone());
                    let name = format!("{}-lane{number}", context.id());
                    // A lane the system has no room for is done without.
                    let _ = std::thread::Builder::new()
                        .name(name)
                        .spawn_scoped(scope, move || work.lane(&gate));
                }
                work.body(context)
            })
        } else {
            work.body(context)
        };
        if flow == Flow::Cancelled {
            return Err(JobError::canceled());
        }
        lock(&work.first_failure).take().map_or(Ok(()), Err)
    }
}

/// What the workers of a pass share.
struct Work<'pass> {
    pass: &'pass Pass<'pass>,
    task: &'pass dyn Task,
    progress: &'pass Progress,
    /// Set once there is nothing left to do for the lanes: done, failed or cancelled.
    stop: AtomicBool,
    /// A speed limit holds: lanes wait.
    limited: AtomicBool,
    /// With [`changed`](Self::changed), guards changes of the two flags and keeps the first failure.
    first_failure: Mutex<Option<JobError>>,
    changed: Condvar,
}

impl Work<'_> {
    /// The body's part: pieces between pause points, until there is nothing left, or a failure, or a cancel.
    fn body(&self, context: &mut RunContext<'_>) -> Flow {
        let mut buffer = match AlignedBuffer::new(self.pass.buffer_bytes) {
            Ok(buffer) => buffer,
            Err(cause) => {
                self.fail(self.task.no_buffer(self.pass.buffer_bytes, &cause));
                return Flow::Continue;
            }
        };
        loop {
            if context.pause_point() == Flow::Cancelled {
                return Flow::Cancelled;
            }
            let speed = context.speed_bytes_per_s();
            self.set_limited(speed != 0);
            let done = {
                let _permit = context.io();
                self.step(&mut buffer, speed)
            };
            let Some(bytes) = done else {
                return Flow::Continue;
            };
            // The limit counts what was really moved. A sleep that something cut short is looked at again: a charge
            // of nothing says what is left of it, under the limit of that moment.
            let mut delay = context.charge(bytes);
            while !delay.is_zero() {
                if context.sleep(delay) == Flow::Cancelled {
                    return Flow::Cancelled;
                }
                self.set_limited(context.speed_bytes_per_s() != 0);
                delay = context.charge(0);
            }
        }
    }

    /// A lane's part: pieces with a permit each, until there is nothing left, or a failure, or a cancel.
    fn lane(&self, gate: &LaneGate) {
        // A lane there is no memory for is done without.
        let Ok(mut buffer) = AlignedBuffer::new(self.pass.buffer_bytes) else {
            return;
        };
        while self.wait_unlimited() {
            let Some(permit) = gate.enter() else { return };
            let done = self.step(&mut buffer, 0);
            drop(permit);
            if done.is_none() {
                return;
            }
        }
    }

    /// Waits while a speed limit holds. Whether to go on.
    fn wait_unlimited(&self) -> bool {
        if self.limited.load(Ordering::Acquire) {
            let mut guard = lock(&self.first_failure);
            while self.limited.load(Ordering::Acquire) && !self.stop.load(Ordering::Acquire) {
                guard = self
                    .changed
                    .wait(guard)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
        !self.stop.load(Ordering::Acquire)
    }

    fn set_limited(&self, limited: bool) {
        // Only the body changes it.
        if self.limited.load(Ordering::Relaxed) != limited {
            let _guard = lock(&self.first_failure);
            self.limited.store(limited, Ordering::Release);
            self.changed.notify_all();
        }
    }

    fn stop(&self) {
        let _guard = lock(&self.first_failure);
        self.stop.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    fn fail(&self, error: JobError) {
        lock(&self.first_failure).get_or_insert(error);
        self.stop();
    }

    /// Takes the next piece and does it. The bytes moved; `None` when there is nothing more to do, for whatever
    /// reason.
    fn step(&self, buffer: &mut [u8], speed_bytes_per_s: u64) -> Option<u64> {
        if self.stop.load(Ordering::Acquire) {
            return None;
        }
        let bytes_max = piece_bytes(buffer.len() as u64, speed_bytes_per_s);
        let piece = match self.task.next(bytes_max) {
            Ok(piece) => piece?,
            Err(error) => {
                self.fail(error);
                return None;
            }
        };
        let record = |end| {
            if let Some(trace) = self.pass.io_trace {
                trace.record(self.pass.op, piece, end);
            }
        };
        record(None);
        let answer = self.task.step(piece, buffer);
        record(Some(answer.is_ok()));
        match answer {
            Ok(moved) => {
                self.progress.advance(piece.bytes);
                Some(moved)
            }
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }
}

/// Bytes of a piece: the chunk, or less under a limit so that the speed is even: a tenth of a second's worth, whole
/// blocks.
fn piece_bytes(chunk_bytes: u64, speed_bytes_per_s: u64) -> u64 {
    if speed_bytes_per_s == 0 {
        return chunk_bytes;
    }
    let block = BLOCK_BYTES as u64;
    (speed_bytes_per_s / 10 / block * block).clamp(block.min(chunk_bytes), chunk_bytes)
}

/// Ends the lanes when the body is through.
struct StopOnDrop<'work, 'pass>(&'work Work<'pass>);

impl Drop for StopOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A worker that panicked ends the run with an error; what it guarded is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pieces of a source, handed out to whoever asks.
#[derive(Debug)]
pub(super) struct Queue(Mutex<Pieces>);

impl Queue {
    pub fn new(pieces: Pieces) -> Self {
        Self(Mutex::new(pieces))
    }

    pub fn next(
        &self,
        source: impl std::os::fd::AsFd,
        data_max: u64,
        hole_max: u64,
    ) -> std::io::Result<Option<Piece>> {
        lock(&self.0).next(source, data_max, hole_max)
    }
}

#[cfg(test)]
mod tests {
    use super::piece_bytes;

    #[test]
    fn pieces_shrink_with_the_limit_but_never_to_nothing() {
        let chunk = 512 << 10;
        assert_eq!(piece_bytes(chunk, 0), chunk);
        assert_eq!(piece_bytes(chunk, u64::MAX), chunk);
        assert_eq!(piece_bytes(chunk, 1 << 20), 100 << 10);
        assert_eq!(piece_bytes(chunk, 1), 4096);
    }
}
