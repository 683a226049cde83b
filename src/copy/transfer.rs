//! The copying itself: what becomes of each piece of the source.

use super::backup::Open;
use super::options::{CopyOptions, Sparse};
use super::piece::{Piece, PieceKind, Pieces};
use super::report::CopyReport;
use super::work::{Queue, Task};
use super::writing::failed;
use super::zero::{BLOCK_BYTES, runs};
use crate::driver::JobError;
use crate::io::transfer::{pread_full, pwrite_all};
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
}

impl<'run> Transfer<'run> {
    /// The copy of `open`, but for the ranges in `kept`, which the target has already: in order, and apart.
    pub fn new(
        open: &'run Open,
        options: &CopyOptions,
        report: &'run CopyReport,
        kept: &[Range<u64>],
    ) -> Self {
        let size = open.source.size;
        let chunks = size.div_ceil(options.chunk_bytes as u64);
        Self {
            open,
            report,
            sparse: options.sparse,
            workers: options.workers.min(chunks as usize),
            // A small file needs no large buffer.
            buffer_bytes: options
                .chunk_bytes
                .min((size as usize).next_multiple_of(BLOCK_BYTES)),
            // In a new file a hole is there already; in an old one it takes work, piece by piece.
            queue: Queue::new(
                Pieces::new(size, options.sparse != Sparse::Never, open.target.is_new())
                    .keeping(kept.iter().cloned()),
            ),
        }
    }

    /// Workers that find something to do.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Bytes of each worker's buffer.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
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

    fn hole(&self, piece: Piece) -> Result<(), JobError> {
        self.clear(piece.at, piece.bytes)?;
        self.report.kept_hole(piece.bytes);
        Ok(())
    }

    /// Makes a range of the target read as zeros: nothing to do in a new file.
    fn clear(&self, at: u64, bytes: u64) -> Result<(), JobError> {
        if self.open.target.is_new() {
            return Ok(());
        }
        self.report.touch();
        self.open.target.clear(at, bytes)
    }
}

impl Task for Transfer<'_> {
    fn next(&self, bytes_max: u64) -> Result<Option<Piece>, JobError> {
        let source = &self.open.source;
        self.queue.next(&source.file, bytes_max).map_err(|cause| {
            failed(
                "source",
                &source.path,
                "cannot be searched for holes",
                &cause,
            )
        })
    }

    fn step(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, JobError> {
        let moved = match piece.kind {
            PieceKind::Data => self.data(piece, buffer)?,
            PieceKind::Hole => {
                self.hole(piece)?;
                0
            }
            PieceKind::Kept => 0,
        };
        // From here on the range has its final contents in the target's file, if not yet on the disk.
        Ok(moved)
    }

    fn no_buffer(&self, bytes: usize, cause: &io::Error) -> JobError {
        let what = format!("needs a buffer of {bytes} bytes");
        self.open.target.failed(&what, cause)
    }
}
