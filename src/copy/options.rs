//! How a copy is done: what a user may choose, with the defaults that measured best.

use super::behind::Cache;
use super::error::CopyError;
use super::journal::Tuning;
use super::technique::Technique;
use crate::io::buffer::ALIGNMENT;
use crate::model::ErrorPolicy;
use std::path::PathBuf;

/// Workers a job has unless told otherwise. On two cores the second takes a quarter off the time; more gain nothing.
pub const WORKERS: usize = 2;
/// Most workers a job may have.
pub const WORKERS_MAX: usize = 64;
/// Bytes of a piece unless told otherwise: large enough that system calls do not show, small enough that the buffer
/// stays in the second-level cache.
pub const CHUNK_BYTES: usize = 512 << 10;
/// Largest piece, in bytes. A pause waits for the piece in flight, so this bounds that wait.
pub const CHUNK_BYTES_MAX: usize = 64 << 20;

/// What becomes of holes and zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sparse {
    /// Holes of the source stay holes; stored zeros stay stored.
    #[default]
    Auto,
    /// Blocks of zeros become holes too.
    Always,
    /// Everything is written; the target has no holes.
    Never,
}

/// What is durable when a copy has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// Nothing is promised: the kernel writes when it likes.
    None,
    /// The data and metadata of the target before it takes its name, then the name.
    #[default]
    Data,
    /// As [`Data`](Self::Data); before that the source with its metadata, so that a power cut leaves no target that is
    /// newer than its source; and at the end everything else of the target's file system, its device's own cache
    /// included.
    Full,
}

impl Durability {
    /// One word, for output.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Data => "data",
            Self::Full => "full",
        }
    }
}

/// How a list of pairs is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyOptions {
    /// Workers per job, 1 to [`WORKERS_MAX`].
    pub workers: usize,
    /// Bytes of a piece: a multiple of 4096, at most [`CHUNK_BYTES_MAX`].
    pub chunk_bytes: usize,
    /// What becomes of holes and zeros.
    pub sparse: Sparse,
    /// What is durable at the end.
    pub durability: Durability,
    /// How bytes get there; `None` tries what suits the two files.
    pub technique: Option<Technique>,
    /// What is left in the page cache.
    pub cache: Cache,
    /// What becomes of an error of the source. To ignore it needs a [`bad_map`](Self::bad_map).
    pub on_source_error: ErrorPolicy,
    /// What becomes of an error of the target. To ignore it is to try again, a few times.
    pub on_target_error: ErrorPolicy,
    /// Where the ranges are listed that could not be read and are zeros in the target.
    pub bad_map: Option<PathBuf>,
    /// Read the target back, past the page cache where that can be, and compare it with the source.
    pub verify: bool,
    /// Compute a digest on the way.
    pub checksum: bool,
    /// Give the target the times the source has: last read, last written. Of files alone: devices have none.
    pub times: bool,
    /// Write into existing targets instead of replacing them.
    pub in_place: bool,
    /// Allow targets written in place (block devices always are) among several pairs, outside the group's promise.
    pub allow_in_place: bool,
    /// Continue a copy of the same pairs that died; where there is nothing to continue, begin anew.
    pub resume: bool,
    /// The journal, which is then made at the very beginning; else it is beside the first target.
    pub journal: Option<PathBuf>,
    /// When a journal is made and written.
    pub(super) tuning: Tuning,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            workers: WORKERS,
            chunk_bytes: CHUNK_BYTES,
            sparse: Sparse::default(),
            durability: Durability::default(),
            technique: None,
            cache: Cache::default(),
            on_source_error: ErrorPolicy::Report,
            on_target_error: ErrorPolicy::Report,
            bad_map: None,
            verify: false,
            checksum: false,
            times: false,
            in_place: false,
            allow_in_place: false,
            resume: false,
            journal: None,
            tuning: Tuning::default(),
        }
    }
}

impl CopyOptions {
    /// The defaults, as [`Default::default`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the workers per job.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the bytes of a piece.
    #[must_use]
    pub fn chunk_bytes(mut self, bytes: usize) -> Self {
        self.chunk_bytes = bytes;
        self
    }

    /// Sets what becomes of holes and zeros.
    #[must_use]
    pub fn sparse(mut self, sparse: Sparse) -> Self {
        self.sparse = sparse;
        self
    }

    /// Sets what is durable at the end.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how bytes get there; `None` tries what suits the two files.
    #[must_use]
    pub fn technique(mut self, technique: Option<Technique>) -> Self {
        self.technique = technique;
        self
    }

    /// Sets what is left in the page cache.
    #[must_use]
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = cache;
        self
    }

    /// Sets what becomes of an error of the source.
    #[must_use]
    pub fn on_source_error(mut self, policy: ErrorPolicy) -> Self {
        self.on_source_error = policy;
        self
    }

    /// Sets what becomes of an error of the target.
    #[must_use]
    pub fn on_target_error(mut self, policy: ErrorPolicy) -> Self {
        self.on_target_error = policy;
        self
    }

    /// Lists what could not be read in this file.
    #[must_use]
    pub fn bad_map(mut self, path: Option<PathBuf>) -> Self {
        self.bad_map = path;
        self
    }

    /// Reads the target back.
    #[must_use]
    pub fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Computes a digest on the way.
    #[must_use]
    pub fn checksum(mut self, checksum: bool) -> Self {
        self.checksum = checksum;
        self
    }

    /// Gives the target the source's times.
    #[must_use]
    pub fn times(mut self, times: bool) -> Self {
        self.times = times;
        self
    }

    /// Writes into existing targets.
    #[must_use]
    pub fn in_place(mut self, in_place: bool) -> Self {
        self.in_place = in_place;
        self
    }

    /// Allows targets written in place among several pairs.
    #[must_use]
    pub fn allow_in_place(mut self, allow: bool) -> Self {
        self.allow_in_place = allow;
        self
    }

    /// Continues a copy that died.
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Names the journal.
    #[must_use]
    pub fn journal(mut self, path: Option<PathBuf>) -> Self {
        self.journal = path;
        self
    }

    /// Refuses what is out of range.
    pub(super) fn check(&self) -> Result<(), CopyError> {
        if !(1..=WORKERS_MAX).contains(&self.workers) {
            return Err(CopyError::Option {
                option: "workers",
                value: self.workers as u64,
                range: "1 to 64",
            });
        }
        let chunk = self.chunk_bytes;
        if chunk == 0 || chunk > CHUNK_BYTES_MAX || !chunk.is_multiple_of(ALIGNMENT) {
            return Err(CopyError::Option {
                option: "chunk",
                value: chunk as u64,
                range: "a multiple of 4096 bytes, at most 64 MiB",
            });
        }
        if self.on_source_error == ErrorPolicy::Ignore && self.bad_map.is_none() {
            return Err(CopyError::NoBadMap);
        }
        Ok(())
    }
}
