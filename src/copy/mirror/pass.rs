//! What a mirror does after its first pass: copies what its writers have marked, and looks for what others have written.
//!
//! | pass | reads | writes |
//! |---|---|---|
//! | [`Marked`] | what is marked | all of it |
//! | [`Compared`] | the whole source, and the target where that has data | the blocks in which they differ |
//! | [`Recloned`] | nothing | nothing: the target shares the source's blocks anew |

use super::super::backup::Open;
use super::super::options::CopyOptions;
use super::super::piece::{Piece, PieceKind, Pieces};
use super::super::report::CopyReport;
use super::super::transfer::Transfer;
use super::super::work::{Queue, Task, Trouble, lock};
use super::super::writing::failed;
use super::super::zero::{BLOCK_BYTES, is_zero};
use super::watch::check_size;
use crate::driver::JobError;
use crate::engine::IoSide;
use crate::io::extent::{ExtentKind, extent_at};
use crate::io::stat::stat;
use crate::io::transfer::pread_full;
use crate::mirror::{Follower, Quiet, Taken};
use crate::model::ErrorPolicy;
use std::fs::File;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is left to copy, with or without anybody writing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Left<'a> {
    Followed(&'a Follower),
    Quiet(&'a Quiet),
}

impl<'a> Left<'a> {
    fn take(self, from: u64, bytes_max: u64) -> Option<Taken<'a>> {
        match self {
            Self::Followed(follower) => follower.take(from, bytes_max),
            Self::Quiet(quiet) => quiet.take(from, bytes_max),
        }
    }

    pub fn is_clean(self) -> bool {
        match self {
            Self::Followed(follower) => follower.is_clean(),
            Self::Quiet(quiet) => quiet.is_clean(),
        }
    }

    pub fn dirty_bytes(self) -> u64 {
        match self {
            Self::Followed(follower) => follower.dirty_bytes(),
            Self::Quiet(quiet) => quiet.dirty_bytes(),
        }
    }
}

/// What all passes of a run share.
#[derive(Clone, Copy)]
pub(super) struct Shared<'run> {
    pub open: &'run Open,
    pub options: &'run CopyOptions,
    pub report: &'run CopyReport,
    /// Nobody needs the rest of a pass any more.
    pub enough: &'run AtomicBool,
}

impl Shared<'_> {
    fn is_enough(&self) -> bool {
        self.enough.load(Ordering::Acquire)
    }

    fn policy(&self, side: IoSide) -> ErrorPolicy {
        match side {
            IoSide::Read => self.options.on_source_error,
            IoSide::Write => self.options.on_target_error,
        }
    }

    fn no_buffer(&self, bytes: usize, cause: &io::Error) -> JobError {
        let what = format!("needs a buffer of {bytes} bytes");
        self.open.target.failed(&what, cause)
    }

    fn not_searched(&self, cause: &io::Error) -> JobError {
        let path = &self.open.source.path;
        failed("source", path, "cannot be searched for holes", cause)
    }
}

/// The regions that are marked, each taken before it is read and done when its copy is in the target.
pub(super) struct Marked<'run, 'left> {
    shared: Shared<'run>,
    /// Into a target that was given the source before.
    transfer: &'run Transfer<'run>,
    left: Left<'left>,
    state: Mutex<Taking<'left>>,
}

#[derive(Debug)]
struct Taking<'left> {
    from: u64,
    /// Bytes that this pass may still take. What is marked faster than it is copied is another pass's.
    rest: u64,
    in_copy: Vec<Taken<'left>>,
}

impl<'run, 'left> Marked<'run, 'left> {
    pub fn new(shared: Shared<'run>, transfer: &'run Transfer<'run>, left: Left<'left>) -> Self {
        Self {
            shared,
            transfer,
            left,
            state: Mutex::new(Taking {
                from: 0,
                // Nothing of the disk may be marked, and still something beyond its end.
                rest: left.dirty_bytes().max(1),
                in_copy: Vec::new(),
            }),
        }
    }

    /// A piece is in the target. The pieces of what was taken come in order, so the last one ends it.
    fn arrived(&self, piece: Piece) {
        let mut state = lock(&self.state);
        let ended = |taken: &Taken<'_>| taken.range().end == piece.end();
        if let Some(index) = state.in_copy.iter().position(ended) {
            state.in_copy.swap_remove(index).done();
        }
    }
}

impl Task for Marked<'_, '_> {
    fn next(&self, bytes_max: u64) -> Result<Option<Piece>, JobError> {
        loop {
            let mut state = lock(&self.state);
            if state.rest == 0 || self.shared.is_enough() {
                return Ok(None);
            }
            let Some(taken) = self.left.take(state.from, bytes_max) else {
                return Ok(None);
            };
            let range = taken.range();
            state.from = range.end;
            if range.end == u64::MAX {
                // Somebody wrote beyond the end, or tried to.
                let source = &self.shared.open.source;
                check_size(source, &stat(&source.file)?)?;
                taken.done();
                continue;
            }
            let bytes = range.end - range.start;
            state.rest = state.rest.saturating_sub(bytes);
            state.in_copy.push(taken);
            return Ok(Some(Piece {
                kind: PieceKind::Data,
                at: range.start,
                bytes,
            }));
        }
    }

    fn step(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, Trouble> {
        let source = &self.shared.open.source.file;
        let mut parts = Pieces::of(piece.at..piece.end());
        let mut moved = 0;
        while let Some(part) = parts
            .next(source, u64::MAX, u64::MAX)
            .map_err(|cause| self.shared.not_searched(&cause))?
        {
            match part.kind {
                PieceKind::Hole => self.transfer.hole(part)?,
                PieceKind::Data | PieceKind::Kept => moved += self.transfer.data(part, buffer)?,
            }
        }
        self.shared.report.recopied(piece.bytes);
        self.arrived(piece);
        Ok(moved)
    }

    fn policy(&self, side: IoSide) -> ErrorPolicy {
        self.shared.policy(side)
    }

    fn no_buffer(&self, bytes: usize, cause: &io::Error) -> JobError {
        self.shared.no_buffer(bytes, cause)
    }
}

/// The whole source, held against the target; where they differ, the source's blocks are written.
pub(super) struct Compared<'run> {
    shared: Shared<'run>,
    transfer: &'run Transfer<'run>,
    /// The target, to be read.
    target: &'run File,
    piece_bytes: u64,
    queue: Queue,
}

impl<'run> Compared<'run> {
    pub fn new(
        shared: Shared<'run>,
        transfer: &'run Transfer<'run>,
        target: &'run File,
    ) -> Compared<'run> {
        Compared {
            shared,
            transfer,
            target,
            piece_bytes: transfer.buffer_bytes() as u64,
            queue: Queue::new(Pieces::new(shared.open.source.size, true)),
        }
    }

    /// Room for a piece of either file.
    pub fn buffer_bytes(&self) -> usize {
        2 * self.piece_bytes as usize
    }

    fn target(&self, buffer: &mut [u8], at: u64) -> Result<(), Trouble> {
        let target = &self.shared.open.target;
        let got = pread_full(self.target, buffer, at).map_err(|cause| {
            let what = format!("cannot be read back at byte {at}");
            Trouble::on(IoSide::Write, target.failed(&what, &cause))
        })?;
        if got < buffer.len() {
            let what = format!("cannot be read back at byte {}", at + got as u64);
            let cause = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(target.failed(&what, &cause).into());
        }
        Ok(())
    }

    fn data(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, Trouble> {
        let bytes = piece.bytes as usize;
        let (wanted, found) = buffer.split_at_mut(self.piece_bytes as usize);
        let (wanted, found) = (&mut wanted[..bytes], &mut found[..bytes]);
        self.transfer.read(wanted, piece.at)?;
        self.target(found, piece.at)?;
        let blocks = wanted.chunks(BLOCK_BYTES).zip(found.chunks(BLOCK_BYTES));
        let mut differing = blocks.map(|(one, other)| one != other).enumerate();
        while let Some((first, _)) = differing.find(|(_, differs)| *differs) {
            let same = differing.find(|(_, differs)| !differs);
            let end = same.map_or(bytes, |(index, _)| index * BLOCK_BYTES);
            let start = first * BLOCK_BYTES;
            self.transfer
                .store(&wanted[start..end], piece.at + start as u64)?;
            self.shared.report.recopied((end - start) as u64);
        }
        Ok(piece.bytes)
    }

    /// A hole of the source: what the target has there is zeros, or becomes a hole.
    fn hole(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, Trouble> {
        let extent = extent_at(self.target, piece.at, piece.end())
            .map_err(|cause| self.shared.not_searched(&cause))?;
        if extent.is_some_and(|extent| extent.kind == ExtentKind::Hole && extent.end == piece.end())
        {
            return Ok(0);
        }
        let found = &mut buffer[..piece.bytes as usize];
        self.target(found, piece.at)?;
        if !is_zero(found) {
            self.transfer.hole(piece)?;
            self.shared.report.recopied(piece.bytes);
        }
        Ok(piece.bytes)
    }
}

impl Task for Compared<'_> {
    fn next(&self, bytes_max: u64) -> Result<Option<Piece>, JobError> {
        if self.shared.is_enough() {
            return Ok(None);
        }
        let source = &self.shared.open.source.file;
        let bytes_max = bytes_max.min(self.piece_bytes);
        let answer = self.queue.next(source, bytes_max, self.piece_bytes);
        answer.map_err(|cause| self.shared.not_searched(&cause))
    }

    fn step(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, Trouble> {
        match piece.kind {
            PieceKind::Hole => self.hole(piece, buffer),
            PieceKind::Data | PieceKind::Kept => self.data(piece, buffer),
        }
    }

    fn policy(&self, side: IoSide) -> ErrorPolicy {
        self.shared.policy(side)
    }

    fn no_buffer(&self, bytes: usize, cause: &io::Error) -> JobError {
        self.shared.no_buffer(bytes, cause)
    }
}

/// The whole source anew, where that is a matter of its blocks.
pub(super) struct Recloned<'run> {
    pub shared: Shared<'run>,
    pub transfer: &'run Transfer<'run>,
}

impl Task for Recloned<'_> {
    fn next(&self, bytes_max: u64) -> Result<Option<Piece>, JobError> {
        if self.shared.is_enough() {
            return Ok(None);
        }
        self.transfer.next(bytes_max)
    }

    fn step(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, Trouble> {
        let moved = self.transfer.step(piece, buffer)?;
        if piece.kind == PieceKind::Data {
            self.shared.report.recopied(piece.bytes);
        }
        Ok(moved)
    }

    fn policy(&self, side: IoSide) -> ErrorPolicy {
        self.shared.policy(side)
    }

    fn no_buffer(&self, bytes: usize, cause: &io::Error) -> JobError {
        self.shared.no_buffer(bytes, cause)
    }
}
