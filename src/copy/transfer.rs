//! The copying itself: what becomes of each piece of the source.

use super::backup::Open;
use super::behind::{Behind, is_unsupported};
use super::digest::Digest;
use super::options::{CopyOptions, Durability, Sparse};
use super::piece::{Piece, PieceKind, Pieces};
use super::report::CopyReport;
use super::room::Room;
use super::technique::{Choice, PACE_BYTES_MAX, Pace, Technique};
use super::work::{Queue, Task, Trouble};
use super::writing::failed;
use super::zero::{BLOCK_BYTES, runs};
use crate::driver::JobError;
use crate::engine::IoSide;
use crate::io::kernel::Moment;
use crate::io::offload::{clone_range, copy_range};
use crate::io::transfer::{pread_full, pwrite_all};
use crate::model::ErrorPolicy;
use std::fs::File;
use std::io;
use std::ops::Range;

/// A source on its way to its target.
pub(super) struct Transfer<'run> {
    open: &'run Open,
    report: &'run CopyReport,
    sparse: Sparse,
    workers: usize,
    buffer_bytes: usize,
    queue: Queue,
    room: Room,
    choice: Choice,
    /// Of what is left to the kernel, of what comes by here, and of holes.
    pace: Pace,
    memory_pace: Pace,
    hole_pace: Pace,
    /// The target's file was written before this: what it has not been given may be something else than zeros.
    again: bool,
    on_source_error: ErrorPolicy,
    on_target_error: ErrorPolicy,
    pub digest: Option<Digest>,
    pub behind: Behind<'run>,
}

/// What is given up at once where a block cannot be read: the smallest that disks know.
const SECTOR_BYTES: usize = 512;

impl<'run> Transfer<'run> {
    /// The copy of `open`, but for the ranges in `kept`, which the target has already: in order, and apart.
    pub fn new(
        open: &'run Open,
        options: &CopyOptions,
        report: &'run CopyReport,
        kept: &[Range<u64>],
    ) -> Self {
        let size = open.source.size;
        let chunk_bytes = options.chunk_bytes as u64;
        let workers = options.workers.min(size.div_ceil(chunk_bytes) as usize);
        // A small file needs no large buffer.
        let buffer_bytes = options
            .chunk_bytes
            .min((size as usize).next_multiple_of(BLOCK_BYTES));
        Self {
            open,
            report,
            sparse: options.sparse,
            workers,
            buffer_bytes,
            queue: Queue::new(Pieces::new(size, true).keeping(kept.iter().cloned())),
            room: Room::new(open.target.is_new() && options.sparse != Sparse::Always),
            choice: Choice::new(open.techniques.clone()),
            pace: Pace::new(chunk_bytes, PACE_BYTES_MAX),
            memory_pace: Pace::new(buffer_bytes as u64, buffer_bytes as u64),
            hole_pace: Pace::new(chunk_bytes, PACE_BYTES_MAX),
            again: false,
            on_source_error: options.on_source_error,
            on_target_error: options.on_target_error,
            digest: options.checksum.then(|| Digest::new(size)),
            behind: Behind::new(
                open,
                options.cache,
                options.durability != Durability::None,
                chunk_bytes,
                workers,
            ),
        }
    }

    /// Into a target that was given the source before, which has changed since.
    pub fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Whether every byte of the target reads as zero that was not written.
    fn is_blank(&self) -> bool {
        self.open.target.is_new() && !self.again
    }

    /// What is tried now.
    pub fn technique(&self) -> Technique {
        self.choice.now()
    }

    /// Workers that find something to do.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Bytes of each worker's buffer.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    pub fn data(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, Trouble> {
        loop {
            let tried = self.choice.now();
            let cause = match tried {
                Technique::Buffered | Technique::Direct => break,
                Technique::Clone => match self.clone_piece(piece) {
                    Ok(()) => {
                        self.report.cloned(piece.bytes);
                        // Nothing was moved.
                        return Ok(0);
                    }
                    Err(cause) => cause,
                },
                Technique::Offload => match self.offload(piece) {
                    Ok(done) => {
                        self.report.offloaded(done);
                        // The kernel did not go on, at the source's end perhaps: reading tells.
                        let rest = self.through_memory(piece.at + done..piece.end(), buffer)?;
                        return Ok(done + rest);
                    }
                    Err(cause) => cause,
                },
            };
            if !self.choice.has_next(tried) {
                let what = format!("cannot be made by {} at byte {}", tried.name(), piece.at);
                let error = self.open.target.failed(&what, &cause);
                return Err(Trouble::on(IoSide::Write, error));
            }
            if !is_unsupported(&cause) && !is_apart(&cause) {
                // Whatever it was: where it lasts, the long way meets it too and says it better.
                break;
            }
            self.choice.give_up(tried);
        }
        self.through_memory(piece.at..piece.end(), buffer)
    }

    fn clone_piece(&self, piece: Piece) -> io::Result<()> {
        let Open { source, target, .. } = self.open;
        self.report.touch();
        let began = Moment::now();
        clone_range(&source.file, target.file(), piece.at, piece.bytes)?;
        self.pace.took(piece.bytes, began.elapsed());
        Ok(())
    }

    fn offload(&self, piece: Piece) -> io::Result<u64> {
        let Open { source, target, .. } = self.open;
        self.report.touch();
        let began = Moment::now();
        let done = copy_range(&source.file, target.file(), piece.at, piece.bytes)?;
        self.pace.took(piece.bytes, began.elapsed());
        Ok(done)
    }

    /// Reads and writes, by the buffer. The bytes moved.
    fn through_memory(&self, range: Range<u64>, buffer: &mut [u8]) -> Result<u64, Trouble> {
        let (mut at, mut moved) = (range.start, 0);
        while at < range.end {
            let began = Moment::now();
            let bytes = (range.end - at).min(buffer.len() as u64);
            let part = &mut buffer[..bytes as usize];
            self.read(part, at)?;
            moved += self.store(part, at)?;
            at += bytes;
            self.memory_pace.took(bytes, began.elapsed());
        }
        Ok(moved)
    }

    pub fn read(&self, buffer: &mut [u8], at: u64) -> Result<(), Trouble> {
        let source = &self.open.source;
        let direct = self.open.direct.as_ref().map(|direct| &direct.source);
        let got = either(direct, at, buffer.len(), |file| {
            pread_full(file.unwrap_or(&source.file), buffer, at)
        })
        .map_err(|cause| {
            let what = format!("cannot be read at byte {at}");
            let error = failed("source", &source.path, &what, &cause);
            Trouble::on(IoSide::Read, error)
        })?;
        if got < buffer.len() {
            return Err(source.ended_early(at + got as u64).into());
        }
        Ok(())
    }

    /// Puts what was read into the target, zeros as the options say. The bytes written.
    pub fn store(&self, data: &[u8], at: u64) -> Result<u64, Trouble> {
        if self.sparse != Sparse::Always {
            self.write(data, at)?;
            return Ok(data.len() as u64);
        }
        let mut moved = 0;
        for run in runs(data) {
            let (at, bytes) = (at + run.range.start as u64, run.range.len() as u64);
            if run.zero {
                self.clear(at, bytes)?;
                self.report.skipped_zeros(bytes);
            } else {
                self.write(&data[run.range], at)?;
                moved += bytes;
            }
        }
        Ok(moved)
    }

    fn write(&self, data: &[u8], at: u64) -> Result<(), Trouble> {
        let target = &self.open.target;
        let direct = self.open.direct.as_ref().map(|direct| &direct.target);
        self.report.touch();
        either(direct, at, data.len(), |file| {
            pwrite_all(file.unwrap_or(target.file()), data, at)
        })
        .map_err(|cause| {
            let error = target.failed(&format!("cannot be written at byte {at}"), &cause);
            Trouble::on(IoSide::Write, error)
        })?;
        self.report.copied(data.len() as u64);
        Ok(())
    }

    pub fn hole(&self, piece: Piece) -> Result<(), Trouble> {
        let began = Moment::now();
        if self.sparse == Sparse::Never {
            self.report.touch();
            let answer = if self.is_blank() {
                self.open.target.fill(piece.at, piece.bytes)
            } else {
                self.open.target.zero(piece.at, piece.bytes)
            };
            answer.map_err(|error| Trouble::on(IoSide::Write, error))?;
            self.report.copied(piece.bytes);
        } else {
            self.clear(piece.at, piece.bytes)?;
            // A hole is kept once, however often it is looked at.
            if !self.again {
                self.report.kept_hole(piece.bytes);
            }
        }
        self.hole_pace.took(piece.bytes, began.elapsed());
        Ok(())
    }

    /// The range has its final contents in the target's file, if not yet on the disk; of data, and of all that a
    /// digest needs, the buffer begins with them.
    fn arrived(&self, piece: Piece, buffer: &[u8]) -> Result<(), Trouble> {
        if let Some(digest) = &self.digest {
            match piece.kind {
                PieceKind::Hole => digest.add_zeros(piece.at, piece.bytes),
                PieceKind::Data | PieceKind::Kept => {
                    digest.add(&buffer[..piece.bytes as usize], piece.at);
                }
            }
        }
        match self.behind.passed(piece.end()) {
            Err(cause) if !is_unsupported(&cause) => Err(self
                .open
                .target
                .failed("cannot be written out", &cause)
                .into()),
            _ => Ok(()),
        }
    }

    /// Makes a range of the target read as zeros: nothing to do in a new file.
    fn clear(&self, at: u64, bytes: u64) -> Result<(), Trouble> {
        if self.is_blank() {
            return Ok(());
        }
        self.report.touch();
        let answer = self.open.target.clear(at, bytes);
        answer.map_err(|error| Trouble::on(IoSide::Write, error))
    }
}

impl Task for Transfer<'_> {
    fn next(&self, bytes_max: u64) -> Result<Option<Piece>, JobError> {
        let source = &self.open.source;
        // Under a limit pieces are as small as it says.
        let limited = bytes_max < self.buffer_bytes as u64;
        let data_max = if limited {
            bytes_max
        } else if self.choice.now().is_blind() {
            self.pace.bytes()
        } else {
            self.memory_pace.bytes()
        };
        // A hole costs nothing in a new file; elsewhere it takes work, and so does the digest of its zeros.
        let hole_max = if self.digest.is_some() {
            data_max
        } else if self.is_blank() && self.sparse != Sparse::Never {
            u64::MAX
        } else {
            self.hole_pace.bytes()
        };
        let answer = self.queue.next_of_run(&source.file, data_max, hole_max);
        let found = answer.map_err(|cause| {
            let what = "cannot be searched for holes";
            failed("source", &source.path, what, &cause)
        })?;
        Ok(found.map(|(piece, run)| {
            if self.choice.now() != Technique::Clone {
                self.room.set_aside(self.open.target.file(), piece, run);
            }
            piece
        }))
    }

    fn step(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, Trouble> {
        let moved = match piece.kind {
            PieceKind::Data => self.data(piece, buffer)?,
            PieceKind::Hole => {
                self.hole(piece)?;
                0
            }
            PieceKind::Kept => {
                if self.digest.is_some() {
                    self.read(&mut buffer[..piece.bytes as usize], piece.at)?;
                }
                0
            }
        };
        self.arrived(piece, buffer)?;
        Ok(moved)
    }

    fn policy(&self, side: IoSide) -> ErrorPolicy {
        match side {
            IoSide::Read => self.on_source_error,
            IoSide::Write => self.on_target_error,
        }
    }

    fn salvage(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, Trouble> {
        let block = &mut buffer[..piece.bytes as usize];
        if self.read(block, piece.at).is_err() {
            for (index, sector) in block.chunks_mut(SECTOR_BYTES).enumerate() {
                let at = piece.at + (index * SECTOR_BYTES) as u64;
                match self.read(sector, at) {
                    Ok(()) => {}
                    // Not unreadable, but not there.
                    Err(trouble) if trouble.side.is_none() => return Err(trouble),
                    Err(_) => {
                        sector.fill(0);
                        self.report.unreadable(at..at + sector.len() as u64);
                    }
                }
            }
        }
        let moved = self.store(block, piece.at)?;
        self.arrived(piece, buffer)?;
        Ok(moved)
    }

    fn no_buffer(&self, bytes: usize, cause: &io::Error) -> JobError {
        let what = format!("needs a buffer of {bytes} bytes");
        self.open.target.failed(&what, cause)
    }
}

/// Makes a transfer past the page cache where that can be, else through it.
fn either<T>(
    direct: Option<&File>,
    at: u64,
    bytes: usize,
    mut transfer: impl FnMut(Option<&File>) -> io::Result<T>,
) -> io::Result<T> {
    let block = BLOCK_BYTES as u64;
    if direct.is_some() && at.is_multiple_of(block) && bytes.is_multiple_of(BLOCK_BYTES) {
        match transfer(direct) {
            // Larger blocks than most have.
            Err(cause) if cause.raw_os_error() == Some(libc::EINVAL) => {}
            answer => return answer,
        }
    }
    transfer(None)
}

/// Whether two files are too far apart for a short way, or one of them forbids it.
fn is_apart(cause: &io::Error) -> bool {
    matches!(
        cause.raw_os_error(),
        Some(libc::EXDEV | libc::ENOTTY | libc::ETXTBSY | libc::EPERM | libc::EBADF)
    )
}
