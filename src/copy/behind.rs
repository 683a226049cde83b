//! What happens behind the workers: the kernel is told early to write what they wrote, and, of a huge copy, to forget
//! it, so that the machine's page cache is not filled with files that nobody reads again.
//!
//! The file is cut into windows. When the workers have passed one, its writing begins; when they are
//! [`LAG`] windows further on it is waited for, and both files' pages are let go. Nothing here makes anything durable:
//! that is the sync's, at the end, which then finds little left to do.

use super::backup::Open;
use crate::driver::{Flow, JobError, RunContext};
use crate::io::cache::{forget, start_writing, write_out};
use crate::io::process::available_memory;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a copy leaves in the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Cache {
    /// What fits well: of a copy that would fill half of the memory that is free, nothing.
    #[default]
    Auto,
    /// What the kernel keeps.
    Keep,
    /// Nothing.
    Drop,
}

/// Windows between where writing begins and where it is waited for.
const LAG: u64 = 32;

/// Follows the workers of one copy.
#[derive(Debug)]
pub(super) struct Behind<'run> {
    open: &'run Open,
    window_bytes: u64,
    /// What workers may still have in hand behind the foremost.
    slack_bytes: u64,
    /// Whether writing begins early.
    early: bool,
    forgets: bool,
    /// Bytes that the foremost worker has come to.
    reached: AtomicU64,
    /// Windows whose writing has begun.
    begun: AtomicU64,
}

impl<'run> Behind<'run> {
    /// `early`: the copy ends with a sync.
    pub fn new(
        open: &'run Open,
        cache: Cache,
        early: bool,
        chunk_bytes: u64,
        workers: usize,
    ) -> Self {
        let forgets = match cache {
            Cache::Keep => false,
            Cache::Drop => true,
            // Of source and target together. Where nobody knows what is free, the kernel does as it likes.
            Cache::Auto => {
                let size = open.source.size;
                size >= AUTO_BYTES_MIN
                    && available_memory().is_some_and(|free| size.saturating_mul(4) > free)
            }
        };
        Self {
            open,
            window_bytes: chunk_bytes.saturating_mul(4),
            slack_bytes: chunk_bytes.saturating_mul(2 * workers as u64),
            early,
            forgets,
            reached: AtomicU64::new(0),
            begun: AtomicU64::new(0),
        }
    }

    /// A worker has done everything up to `end`, or another is about to. Any worker, with its piece's permit.
    pub fn passed(&self, end: u64) -> io::Result<()> {
        if !self.early && !self.forgets {
            return Ok(());
        }
        let reached = self.reached.fetch_max(end, Ordering::Relaxed).max(end);
        let ready = reached.saturating_sub(self.slack_bytes) / self.window_bytes;
        let begun = self.begun.load(Ordering::Relaxed);
        // One worker at a time, and the others do not wait: who comes next has more to do.
        if begun >= ready
            || self
                .begun
                .compare_exchange(begun, ready, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return Ok(());
        }
        let at = begun * self.window_bytes;
        start_writing(
            self.open.target.file(),
            at,
            (ready - begun) * self.window_bytes,
        )?;
        if self.forgets && ready > LAG {
            let from = begun.saturating_sub(LAG) * self.window_bytes;
            let bytes = (ready - LAG) * self.window_bytes - from;
            write_out(self.open.target.file(), from, bytes)?;
            self.forget(from, bytes);
        }
        Ok(())
    }

    /// After the last byte, before a sync that nothing can interrupt: waits for what is being written, a window
    /// between pause points.
    pub fn settle<S>(&self, context: &mut RunContext<'_, S>) -> Result<(), JobError> {
        let size = self.open.source.size;
        // Of little the sync makes as little.
        if !self.early || size <= self.window_bytes {
            return Ok(());
        }
        let mut at = 0;
        while at < size {
            if context.pause_point() == Flow::Cancelled {
                return Err(JobError::canceled());
            }
            let permit = context.io();
            let bytes = self.window_bytes.min(size - at);
            let answer = write_out(self.open.target.file(), at, bytes);
            drop(permit);
            match answer {
                Ok(()) => at += bytes,
                // What cannot be written out by parts is synced as a whole.
                Err(cause) if is_unsupported(&cause) => break,
                Err(cause) => return Err(self.open.target.failed("cannot be written out", &cause)),
            }
        }
        Ok(())
    }

    /// At the very end.
    pub fn end(&self) {
        if self.forgets {
            self.forget(0, 0);
        }
    }

    fn forget(&self, at: u64, bytes: u64) {
        // Only advice.
        let _ = forget(self.open.target.file(), at, bytes);
        let _ = forget(&self.open.source.file, at, bytes);
    }
}

/// A file below this is nothing to any machine.
const AUTO_BYTES_MIN: u64 = 64 << 20;

pub(super) fn is_unsupported(cause: &io::Error) -> bool {
    matches!(
        cause.raw_os_error(),
        Some(libc::ENOSYS | libc::EINVAL | libc::ESPIPE | libc::EOPNOTSUPP)
    )
}
