//! How bytes get from the source to the target: what there is, and what is tried for two given files.
//!
//! | technique | what it is | tried by itself |
//! |---|---|---|
//! | clone | the target shares the source's blocks (`FICLONERANGE`: btrfs, XFS, …) | first, between regular files |
//! | offload | `copy_file_range` | on file systems whose server copies (NFS, SMB, Ceph, FUSE) |
//! | buffered | `pread` and `pwrite`, by a buffer that stays in the second-level cache | last |
//! | direct | the same past the page cache (`O_DIRECT`) | never |
//!
//! On a local file system without shared blocks `copy_file_range` copies within the kernel, and loses to two workers
//! with a small buffer; so it is not tried there. Zeros that are to be found, and digests, need the bytes themselves:
//! then only what brings them here is left.
//!
//! What is tried and does not work goes the long way. A technique that the user chose is not replaced by another: where
//! it does not work, the copy fails. Only what cannot be direct, an end that is no whole block for instance, goes
//! through the page cache then.

use super::error::CopyError;
use super::options::{CopyOptions, Sparse};
use super::source::Source;
use super::target::Target;
use super::zero::BLOCK_BYTES;
use crate::io::offload::is_remote;
use crate::io::stat::FileKind;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How bytes get from the source to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Technique {
    /// The target shares the blocks of the source.
    Clone,
    /// The kernel, or the server of the file system, copies.
    Offload,
    /// Read and written through the page cache.
    Buffered,
    /// Read and written past the page cache.
    Direct,
}

impl Technique {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Clone, Self::Offload, Self::Buffered, Self::Direct];

    /// One word, for output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::Offload => "offload",
            Self::Buffered => "buffered",
            Self::Direct => "direct",
        }
    }

    /// Whether the bytes never come by here.
    pub(super) fn is_blind(self) -> bool {
        matches!(self, Self::Clone | Self::Offload)
    }
}

/// What is tried for these two files, in this order.
pub(super) fn candidates(
    source: &Source,
    target: &Target,
    options: &CopyOptions,
) -> Result<Vec<Technique>, CopyError> {
    let needs_bytes = if options.checksum {
        Some("--checksum")
    } else {
        (options.sparse != Sparse::Auto).then_some("--sparse always or never")
    };
    if let Some(chosen) = options.technique {
        return match needs_bytes {
            Some(other) if chosen.is_blind() => Err(CopyError::Conflict {
                what: format!("--technique {}", chosen.name()),
                other: other.to_owned(),
                why: "the bytes have to come by for that",
            }),
            _ => Ok(vec![chosen]),
        };
    }
    let mut found = Vec::with_capacity(3);
    if needs_bytes.is_none() && source.stat.kind == FileKind::Regular {
        let (regular, remote) = match target {
            Target::Replace(place) => (true, is_remote(&place.folder)),
            Target::InPlace(target) => (
                target.stat.kind == FileKind::Regular,
                is_remote(&target.file),
            ),
        };
        if regular {
            found.push(Technique::Clone);
        }
        // Unknown counts as local: the long way is never wrong.
        if regular && remote.unwrap_or(false) {
            found.push(Technique::Offload);
        }
    }
    found.push(Technique::Buffered);
    Ok(found)
}

/// What is tried now, of several.
#[derive(Debug)]
pub(super) struct Choice {
    candidates: Vec<Technique>,
    now: AtomicUsize,
}

impl Choice {
    /// Not empty.
    pub fn new(candidates: Vec<Technique>) -> Self {
        Self {
            candidates,
            now: AtomicUsize::new(0),
        }
    }

    pub fn now(&self) -> Technique {
        let now = self.now.load(Ordering::Relaxed);
        self.candidates
            .get(now)
            .copied()
            .unwrap_or(Technique::Buffered)
    }

    /// Whether there is another after `tried`.
    pub fn has_next(&self, tried: Technique) -> bool {
        self.candidates.last() != Some(&tried)
    }

    /// `tried` cannot be done between these files: the next one from now on, whoever says so first.
    pub fn give_up(&self, tried: Technique) {
        if let Some(index) = self.candidates.iter().position(|one| *one == tried)
            && index + 1 < self.candidates.len()
        {
            self.now.fetch_max(index + 1, Ordering::Relaxed);
        }
    }
}

/// How large pieces are, whose speed nobody knows beforehand: as many bytes as take a millisecond at most, so that a
/// pause never waits long. Two workers in one file wait for each other's, and the pause for both.
#[derive(Debug)]
pub(super) struct Pace {
    bytes: AtomicU64,
    least: u64,
    most: u64,
}

/// Largest piece that is left to the kernel at once, in bytes.
pub(super) const PACE_BYTES_MAX: u64 = 256 << 20;
/// Smallest piece, in bytes: whole blocks. Less would be more calls than work.
const PACE_BYTES_MIN: u64 = 64 << 10;
/// A piece that took longer is followed by smaller ones, one that took less than half by larger ones.
const PACE: Duration = Duration::from_millis(1);

impl Pace {
    /// Begins with pieces of `first` bytes, and comes to `most`: whole blocks.
    pub fn new(first: u64, most: u64) -> Self {
        Self {
            bytes: AtomicU64::new(first),
            least: first.min(PACE_BYTES_MIN),
            most: most.max(first),
        }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A piece of `bytes` took so long.
    pub fn took(&self, bytes: u64, time: Duration) {
        let now = self.bytes();
        let next = if time > PACE {
            // At once as much smaller as it was too slow: not one pause after the other waits.
            let fitting = u128::from(now) * PACE.as_nanos() / time.as_nanos();
            let block = BLOCK_BYTES as u64;
            (fitting as u64 / block * block).max(self.least)
        } else if time < PACE / 2 && bytes >= now {
            (now * 2).min(self.most)
        } else {
            return;
        };
        // Of two that say so at once, one is enough.
        let _ = self
            .bytes
            .compare_exchange(now, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_stays_given_up_and_the_last_never_is() {
        let choice = Choice::new(vec![
            Technique::Clone,
            Technique::Offload,
            Technique::Buffered,
        ]);
        assert_eq!(choice.now(), Technique::Clone);
        choice.give_up(Technique::Clone);
        choice.give_up(Technique::Clone);
        assert_eq!(choice.now(), Technique::Offload);
        choice.give_up(Technique::Offload);
        choice.give_up(Technique::Clone);
        choice.give_up(Technique::Buffered);
        assert_eq!(choice.now(), Technique::Buffered);
        assert!(choice.has_next(Technique::Clone) && !choice.has_next(Technique::Buffered));
    }

    #[test]
    fn pieces_grow_while_they_are_quick_and_shrink_to_the_least() {
        let pace = Pace::new(4096, PACE_BYTES_MAX);
        pace.took(4096, Duration::ZERO);
        assert_eq!(pace.bytes(), 8192);
        // The last one before a hole says nothing of large ones.
        pace.took(100, Duration::ZERO);
        pace.took(8192, PACE);
        assert_eq!(pace.bytes(), 8192);
        for _ in 0..3 {
            pace.took(8192, PACE * 2);
        }
        assert_eq!(pace.bytes(), 4096, "the first is the least");
        // From a piece of two megabytes that took ten times as long as it may.
        let slow = Pace::new(2 << 20, PACE_BYTES_MAX);
        slow.took(2 << 20, PACE * 10);
        assert_eq!(slow.bytes(), 51 * 4096);
        slow.took(slow.bytes(), PACE * 10);
        assert_eq!(slow.bytes(), PACE_BYTES_MIN);
        for _ in 0..64 {
            pace.took(pace.bytes(), Duration::ZERO);
        }
        assert_eq!(pace.bytes(), PACE_BYTES_MAX);
    }
}
