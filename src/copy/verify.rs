//! Reading back: whether the target is what the source is, as far as the disk can be asked.
//!
//! The target is read past the page cache where that can be; else the kernel is asked to forget it first. What the
//! disk keeps in a cache of its own is beyond that.

use super::backup::Open;
use super::behind::is_unsupported;
use super::options::{CopyOptions, Sparse};
use super::piece::{Piece, PieceKind, Pieces};
use super::report::CopyReport;
use super::source::Source;
use super::work::{Queue, Task, Trouble};
use super::writing::failed;
use super::zero::{BLOCK_BYTES, is_zero};
use crate::driver::{Errno, JobError};
use crate::engine::IoSide;
use crate::io::cache::{forget, reopen, reopen_direct, write_out};
use crate::io::extent::{ExtentKind, extent_at};
use crate::io::transfer::pread_full;
use crate::model::ErrorPolicy;
use std::fs::File;
use std::io;
use std::ops::Range;

/// A target that is held against its source.
pub(super) struct Verify<'run> {
    open: &'run Open,
    /// Past the page cache.
    direct: Option<File>,
    plain: File,
    /// What the source could not be read of: in order, and apart.
    unreadable: &'run [Range<u64>],
    workers: usize,
    piece_bytes: u64,
    queue: Queue,
}

impl<'run> Verify<'run> {
    /// Everything was written.
    ///
    /// # Errors
    /// The target cannot be opened for reading.
    pub fn new(
        open: &'run Open,
        options: &CopyOptions,
        report: &CopyReport,
        unreadable: &'run [Range<u64>],
    ) -> Result<Self, JobError> {
        let (size, target) = (open.source.size, &open.target);
        let holes = is_plausible(&open.source, options.sparse, report);
        // What is dirty cannot be forgotten. Where this cannot be done, reading goes through the cache.
        match write_out(target.file(), 0, size) {
            Err(cause) if !is_unsupported(&cause) => {
                return Err(target.failed("cannot be written out", &cause));
            }
            _ => {}
        }
        let _ = forget(target.file(), 0, 0);
        let plain = reopen(target.file())
            .map_err(|cause| target.failed("cannot be opened to be read back", &cause))?;
        let chunk = (options.chunk_bytes as u64).min(size.next_multiple_of(BLOCK_BYTES as u64));
        Ok(Self {
            open,
            direct: reopen_direct(target.file(), false).ok(),
            plain,
            unreadable,
            workers: options.workers.min(size.div_ceil(chunk.max(1)) as usize),
            piece_bytes: chunk,
            queue: Queue::new(Pieces::new(size, holes)),
        })
    }

    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Room for a piece of either file.
    pub fn buffer_bytes(&self) -> usize {
        2 * self.piece_bytes as usize
    }

    fn target(&self, buffer: &mut [u8], at: u64) -> Result<(), JobError> {
        let target = &self.open.target;
        let whole = buffer.len().is_multiple_of(BLOCK_BYTES);
        let got = match &self.direct {
            Some(direct) if whole => match pread_full(direct, buffer, at) {
                Err(cause) if cause.raw_os_error() == Some(libc::EINVAL) => {
                    pread_full(&self.plain, buffer, at)
                }
                answer => answer,
            },
            _ => pread_full(&self.plain, buffer, at),
        };
        let got = got
            .map_err(|cause| target.failed(&format!("cannot be read back at byte {at}"), &cause))?;
        if got < buffer.len() {
            return Err(self.differs(at + got as u64));
        }
        Ok(())
    }

    fn differs(&self, at: u64) -> JobError {
        JobError::with_message(
            Errno::IO,
            format!(
                "target {} differs from source {} at byte {at}, where it was read back",
                self.open.target.path().display(),
                self.open.source.path.display(),
            ),
        )
    }

    /// The parts of a piece whose source can be read.
    fn readable(&self, piece: Piece) -> Vec<Range<u64>> {
        let mut parts = Vec::with_capacity(1);
        let mut at = piece.at;
        let first = self
            .unreadable
            .partition_point(|range| range.end <= piece.at);
        for bad in &self.unreadable[first..] {
            if bad.start >= piece.end() {
                break;
            }
            if bad.start > at {
                parts.push(at..bad.start);
            }
            at = bad.end;
        }
        if at < piece.end() {
            parts.push(at..piece.end());
        }
        parts
    }

    fn compare(&self, piece: Piece, buffer: &mut [u8]) -> Result<(), JobError> {
        let source = &self.open.source;
        let (one, other) = buffer.split_at_mut(self.piece_bytes as usize);
        let bytes = piece.bytes as usize;
        self.target(&mut one[..bytes], piece.at)?;
        for part in self.readable(piece) {
            let length = (part.end - part.start) as usize;
            let offset = (part.start - piece.at) as usize;
            let wanted = &mut other[..length];
            let got = pread_full(&source.file, wanted, part.start).map_err(|cause| {
                let what = format!("cannot be read again at byte {}", part.start);
                failed("source", &source.path, &what, &cause)
            })?;
            if got < length {
                return Err(source.ended_early(part.start + got as u64));
            }
            let found = &one[offset..offset + length];
            if found != wanted {
                let same = found
                    .iter()
                    .zip(wanted.iter())
                    .take_while(|(one, other)| one == other)
                    .count();
                return Err(self.differs(part.start + same as u64));
            }
        }
        Ok(())
    }

    /// A hole of the source: a hole of the target, or zeros.
    fn zeros(&self, piece: Piece, buffer: &mut [u8]) -> Result<(), JobError> {
        let extent = extent_at(&self.plain, piece.at, piece.end())?;
        if extent.is_some_and(|extent| extent.kind == ExtentKind::Hole && extent.end == piece.end())
        {
            return Ok(());
        }
        let found = &mut buffer[..piece.bytes as usize];
        self.target(found, piece.at)?;
        if is_zero(found) {
            return Ok(());
        }
        let same = found.iter().take_while(|byte| **byte == 0).count();
        Err(self.differs(piece.at + same as u64))
    }
}

/// Whether what the source's file system says of holes fits what it stores. One that stores more than it calls data has
/// set room aside, or hides data; then the holes are read as well. So are those of a file that is soon read.
fn is_plausible(source: &Source, sparse: Sparse, report: &CopyReport) -> bool {
    if source.size <= SOON_READ_BYTES || sparse == Sparse::Never {
        return false;
    }
    let data = source.size.saturating_sub(report.summary().hole_bytes);
    // What it needs for itself: the list of extents, attributes.
    let own = SOON_READ_BYTES / 4 + data / 64;
    source.stored_bytes() <= data.saturating_add(own)
}

/// A file of so many bytes is read sooner than thought about.
const SOON_READ_BYTES: u64 = 4 << 20;

impl Task for Verify<'_> {
    fn next(&self, bytes_max: u64) -> Result<Option<Piece>, JobError> {
        let source = &self.open.source;
        let bytes_max = bytes_max.min(self.piece_bytes);
        let answer = self.queue.next(&source.file, bytes_max, self.piece_bytes);
        answer.map_err(|cause| {
            let what = "cannot be searched for holes";
            failed("source", &source.path, what, &cause)
        })
    }

    fn step(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, Trouble> {
        match piece.kind {
            PieceKind::Hole => self.zeros(piece, buffer)?,
            PieceKind::Data | PieceKind::Kept => self.compare(piece, buffer)?,
        }
        Ok(piece.bytes)
    }

    /// What is found here is told, and nothing else.
    fn policy(&self, _: IoSide) -> ErrorPolicy {
        ErrorPolicy::Report
    }

    fn no_buffer(&self, bytes: usize, cause: &io::Error) -> JobError {
        let what = format!("needs a buffer of {bytes} bytes");
        self.open.target.failed(&what, cause)
    }
}
