//! The `backup` driver: copies one source to one target with several workers.
//!
//! The body is one of the workers, and the only one that stops at pause points, sleeps and is cancelled; the others
//! are its lanes: each piece of theirs is counted in by the engine's gate before it begins, so that a paused job has
//! none in flight (P18). All take the next piece from one place, in the source's order.
//!
//! With a speed limit only the body works: a limit needs no second worker, and the body's sleep is the one that
//! pause, cancel and a new limit can end.

use super::error::CopyError;
use super::error::cause_text;
use super::group::{CommitGroup, Member};
use super::holding::resources;
use super::options::{CopyOptions, Durability, Sparse};
use super::piece::{Piece, Pieces};
use super::replace::Replacement;
use super::report::{CopyReport, Ending};
use super::source::Source;
use super::target::InPlace;
use super::zero::{BLOCK_BYTES, runs};
use crate::driver::{Driver, Errno, Flow, JobError, RunContext};
use crate::engine::{JobOptions, LaneGate, Progress};
use crate::io::buffer::AlignedBuffer;
use crate::io::durable;
use crate::io::extent::{ExtentKind, punch_hole};
use crate::io::transfer::{pread_full, pwrite_all};
use crate::trace::{Io, TraceEntry, TraceSink, TraceStep};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Copies one source to one target. Made by [`CopyPlan`](super::CopyPlan), which has checked both.
///
/// Callbacks: `run` copies, gives the new file its metadata and syncs it; `prepare` sees whether the target still is
/// what it was; `commit` exchanges the names of the whole group; `abort` removes the new file; `clean` closes the
/// descriptors. Dropping a driver that never ran removes the new file too.
pub struct Backup {
    options: CopyOptions,
    report: Arc<CopyReport>,
    group: Arc<CommitGroup>,
    /// Open until `clean`.
    open: Mutex<Option<Arc<Open>>>,
    io_trace: Option<IoTrace>,
}

/// The two ends.
#[derive(Debug)]
struct Open {
    source: Source,
    target: Writing,
}

/// Where the data goes.
#[derive(Debug)]
pub(super) enum Writing {
    Replace {
        replacement: Arc<Replacement>,
        file: File,
    },
    InPlace(InPlace),
}

struct IoTrace {
    sink: Arc<dyn TraceSink>,
    job: String,
    group: Option<String>,
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Backup")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl Backup {
    pub(super) fn new(
        source: Source,
        target: Writing,
        options: CopyOptions,
        report: Arc<CopyReport>,
        group: Arc<CommitGroup>,
    ) -> Self {
        if let Writing::Replace { replacement, .. } = &target {
            group.join(Member {
                replacement: Arc::clone(replacement),
                report: Arc::clone(&report),
            });
        }
        Self {
            options,
            report,
            group,
            open: Mutex::new(Some(Arc::new(Open { source, target }))),
            io_trace: None,
        }
    }

    /// Records the begin and the end of each piece of I/O, as `copy`, under this job and group. Before the job
    /// starts.
    #[must_use]
    pub fn record_io(
        mut self,
        sink: Arc<dyn TraceSink>,
        job: impl Into<String>,
        group: Option<String>,
    ) -> Self {
        self.io_trace = Some(IoTrace {
            sink,
            job: job.into(),
            group,
        });
        self
    }

    /// `options` for the job of this copy: with source and target as its resources, so that the manager refuses other
    /// copies that would get in its way.
    ///
    /// # Errors
    /// The target's folder cannot be looked at.
    pub fn hold(&self, mut options: JobOptions) -> Result<JobOptions, CopyError> {
        // `clean` closes the two ends, and comes after the job's creation.
        if let Some(open) = &*self.open() {
            for resource in resources(&open.source, &open.target)? {
                options = options.resource(resource);
            }
        }
        Ok(options)
    }

    /// The running account, which outlives the driver.
    pub fn report(&self) -> Arc<CopyReport> {
        Arc::clone(&self.report)
    }

    fn open(&self) -> MutexGuard<'_, Option<Arc<Open>>> {
        lock(&self.open)
    }
}

impl Driver for Backup {
    fn job_type(&self) -> &'static str {
        "backup"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        // A copy of its own: `clean` comes after the run, this cannot be `None` here, and would be a cancel.
        let Some(open) = self.open().clone() else {
            return Err(JobError::canceled());
        };
        self.report.begin();
        let answer = self.copy(&open, &mut context);
        self.report.finish();
        answer
    }

    fn prepare(&self) -> Result<(), JobError> {
        match self.open().as_deref() {
            Some(Open {
                target: Writing::Replace { replacement, .. },
                ..
            }) => replacement.check(),
            Some(Open {
                target: Writing::InPlace(_),
                ..
            })
            | None => Ok(()),
        }
    }

    fn commit(&self) {
        match self.open().as_deref().map(|open| &open.target) {
            Some(Writing::Replace { .. }) => self.group.commit(),
            Some(Writing::InPlace(_)) => self.report.set_ending(Ending::Committed),
            None => {}
        }
    }

    fn abort(&self) {
        self.group.dissolve();
        match self.open().as_deref().map(|open| &open.target) {
            Some(Writing::Replace { replacement, .. }) => {
                self.report.set_ending(Ending::Aborted);
                if replacement.discard().is_err() {
                    self.report.set_left_behind(replacement.temporary_path());
                }
            }
            Some(Writing::InPlace(_)) if self.report.is_touched() => {
                self.report.set_ending(Ending::PartlyWritten);
            }
            Some(Writing::InPlace(_)) | None => self.report.set_ending(Ending::Aborted),
        }
    }

    fn clean(&self) {
        self.open().take();
    }
}

impl Backup {
    fn copy(&self, open: &Open, context: &mut RunContext<'_>) -> Result<(), JobError> {
        let size = open.source.size;
        context.progress().set_remaining(size);
        let work = Work::new(
            self,
            open,
            context.progress(),
            context.speed_bytes_per_s() != 0,
        );
        let flow = if work.lanes > 1 {
            let gate = context.gate();
            std::thread::scope(|scope| {
                // However the body ends, by a panic too, the lanes are told: else the scope would wait for ever.
                let _stop = StopOnDrop(&work);
                for number in 1..work.lanes {
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
        work.failure()?;
        // The sync may take long and cannot be interrupted: a pause or cancel asked for meanwhile comes first.
        if context.pause_point() == Flow::Cancelled {
            return Err(JobError::canceled());
        }
        let permit = context.io();
        open.source.check_unchanged()?;
        let answer = open.target.finish(self.options.durability);
        drop(permit);
        answer
    }
}

impl Writing {
    fn file(&self) -> &File {
        match self {
            Self::Replace { file, .. } => file,
            Self::InPlace(target) => &target.file,
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Replace { replacement, .. } => &replacement.place.path,
            Self::InPlace(target) => &target.path,
        }
    }

    /// After the last byte: metadata, then everything to the disk.
    fn finish(&self, durability: Durability) -> Result<(), JobError> {
        if let Self::Replace { replacement, file } = self {
            replacement.place.metadata.apply(file).map_err(|not_kept| {
                let why = format!("{} cannot be kept", not_kept.what);
                self.failed(&why, &not_kept.cause)
            })?;
        }
        match (durability, self) {
            (Durability::None, _) => Ok(()),
            // Its metadata is new as well.
            (Durability::Data, Self::Replace { file, .. }) => durable::fsync(file),
            (Durability::Data, Self::InPlace(target)) => durable::fdatasync(&target.file),
        }
        .map_err(|cause| self.failed("cannot be synced", &cause))
    }

    fn failed(&self, what: &str, cause: &io::Error) -> JobError {
        failed("target", self.path(), what, cause)
    }
}

fn failed(side: &str, path: &Path, what: &str, cause: &io::Error) -> JobError {
    let errno = cause
        .raw_os_error()
        .and_then(Errno::new)
        .unwrap_or(Errno::IO);
    JobError::with_message(
        errno,
        format!("{side} {} {what}: {}", path.display(), cause_text(cause)),
    )
}

/// One run's work, shared by its workers.
struct Work<'run> {
    open: &'run Open,
    report: &'run CopyReport,
    progress: &'run Progress,
    io_trace: Option<&'run IoTrace>,
    sparse: Sparse,
    chunk_bytes: usize,
    lanes: usize,
    pieces: Mutex<Pieces>,
    /// Set once there is nothing left to do for the lanes: done, failed or cancelled.
    stop: AtomicBool,
    /// A speed limit holds: lanes wait.
    limited: AtomicBool,
    /// With [`changed`](Self::changed), guards changes of the two flags and keeps the first failure.
    first_failure: Mutex<Option<JobError>>,
    changed: Condvar,
}

impl<'run> Work<'run> {
    fn new(
        driver: &'run Backup,
        open: &'run Open,
        progress: &'run Progress,
        limited: bool,
    ) -> Self {
        let Backup {
            options, report, ..
        } = driver;
        let replacing = matches!(open.target, Writing::Replace { .. });
        let chunks = open.source.size.div_ceil(options.chunk_bytes as u64);
        Self {
            open,
            report,
            progress,
            io_trace: driver.io_trace.as_ref(),
            sparse: options.sparse,
            // A small file needs no large buffer.
            chunk_bytes: options
                .chunk_bytes
                .min((open.source.size as usize).next_multiple_of(BLOCK_BYTES)),
            lanes: options.workers.min(chunks as usize),
            // In a new file a hole is there already; in an old one it takes work, piece by piece.
            pieces: Mutex::new(Pieces::new(
                open.source.size,
                options.sparse != Sparse::Never,
                replacing,
            )),
            stop: AtomicBool::new(false),
            // From the start: a lane may be faster than the body's first look.
            limited: AtomicBool::new(limited),
            first_failure: Mutex::new(None),
            changed: Condvar::new(),
        }
    }

    /// The body's part: pieces between pause points, until there is nothing left, or a failure, or a cancel.
    fn body(&self, context: &mut RunContext<'_>) -> Flow {
        let mut buffer = match AlignedBuffer::new(self.chunk_bytes) {
            Ok(buffer) => buffer,
            Err(cause) => {
                let what = format!("needs a buffer of {} bytes", self.chunk_bytes);
                self.fail(self.open.target.failed(&what, &cause));
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
        let Ok(mut buffer) = AlignedBuffer::new(self.chunk_bytes) else {
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

    fn failure(&self) -> Result<(), JobError> {
        lock(&self.first_failure).take().map_or(Ok(()), Err)
    }

    /// Takes the next piece and does it. The bytes moved; `None` when there is nothing more to do, for whatever
    /// reason.
    fn step(&self, buffer: &mut [u8], speed_bytes_per_s: u64) -> Option<u64> {
        if self.stop.load(Ordering::Acquire) {
            return None;
        }
        let bytes_max = piece_bytes(self.chunk_bytes as u64, speed_bytes_per_s);
        let source = &self.open.source;
        let piece = match lock(&self.pieces).next(&source.file, bytes_max) {
            Ok(piece) => piece?,
            Err(cause) => {
                self.fail(failed(
                    "source",
                    &source.path,
                    "cannot be searched for holes",
                    &cause,
                ));
                return None;
            }
        };
        self.record(piece, None);
        let answer = match piece.kind {
            ExtentKind::Data => self.data(piece, buffer),
            ExtentKind::Hole => self.hole(piece),
        };
        self.record(piece, Some(answer.is_ok()));
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

    fn data(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, JobError> {
        let source = &self.open.source;
        let buffer = &mut buffer[..piece.bytes as usize];
        let got = pread_full(&source.file, buffer, piece.at).map_err(|cause| {
            failed(
                "source",
                &source.path,
                &format!("cannot be read at byte {}", piece.at),
                &cause,
            )
        })?;
        if got < buffer.len() {
            return Err(source.ended_early(piece.at + got as u64));
        }
        if self.sparse != Sparse::Always {
            self.write(buffer, piece.at)?;
            return Ok(piece.bytes);
        }
        let mut moved = 0;
        for run in runs(buffer) {
            let (at, bytes) = (piece.at + run.range.start as u64, run.range.len() as u64);
            if run.zero {
                self.clear(at, bytes)?;
                self.report.skipped_zeros(bytes);
            } else {
                self.write(&buffer[run.range], at)?;
                moved += bytes;
            }
        }
        Ok(moved)
    }

    fn write(&self, data: &[u8], at: u64) -> Result<(), JobError> {
        let target = &self.open.target;
        self.report.touch();
        pwrite_all(target.file(), data, at)
            .map_err(|cause| target.failed(&format!("cannot be written at byte {at}"), &cause))?;
        self.report.copied(data.len() as u64);
        Ok(())
    }

    fn hole(&self, piece: Piece) -> Result<u64, JobError> {
        self.clear(piece.at, piece.bytes)?;
        self.report.kept_hole(piece.bytes);
        Ok(0)
    }

    /// Makes a range of the target read as zeros: nothing to do in a new file, a hole or zeros in an old one.
    fn clear(&self, at: u64, bytes: u64) -> Result<(), JobError> {
        let target = &self.open.target;
        let Writing::InPlace(_) = target else {
            return Ok(());
        };
        self.report.touch();
        let refuse =
            |cause: io::Error| target.failed(&format!("cannot be zeroed at byte {at}"), &cause);
        if punch_hole(target.file(), at, bytes).map_err(refuse)? {
            return Ok(());
        }
        let (mut at, end) = (at, at + bytes);
        while at < end {
            let zeros = &ZEROS[..(end - at).min(ZEROS.len() as u64) as usize];
            pwrite_all(target.file(), zeros, at).map_err(refuse)?;
            at += zeros.len() as u64;
        }
        Ok(())
    }

    /// Records a piece's begin, or its end with whether it succeeded.
    fn record(&self, piece: Piece, end: Option<bool>) {
        let Some(trace) = self.io_trace else { return };
        let io = Io {
            op: "copy",
            offset: piece.at,
            bytes: piece.bytes,
        };
        let step = match end {
            None => TraceStep::IoBegin(io),
            Some(ok) => TraceStep::IoEnd { io, ok },
        };
        trace.sink.record(&TraceEntry {
            job: Some(&trace.job),
            group: trace.group.as_deref(),
            step,
        });
    }
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

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
struct StopOnDrop<'work, 'run>(&'work Work<'run>);

impl Drop for StopOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A worker that panicked ends the run with an error; what it guarded is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
