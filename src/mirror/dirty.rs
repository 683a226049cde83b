//! The dirty bitmap: which regions of a disk are to be copied, and which are in copy.
//!
//! Two bits for each region, in one word, so that taking a region is one step: the lower half of a word says which of
//! its sixteen regions are dirty, the upper half which are in copy. After the regions of the disk comes one for all
//! that is beyond its end.
//!
//! Who releases what, and who acquires it:
//!
//! | step | order | because |
//! |---|---|---|
//! | mark | release | whoever takes the region reads what was written before it was marked |
//! | take | acquire | for the above, and the copy before this one is in the target |
//! | done, put back | release | whoever takes the region next writes after this copy, and whoever sees it clean sees it |
//! | is it clean | acquire | for the above |
//!
//! Every change is one step of reading and writing, so each hands on what those before it in the same word released.
//! The look before a take is relaxed: it only says where to try.

use std::fmt;
use std::ops::Range;

use thiserror::Error;

use crate::sync::atomic::{AtomicU32, Ordering};

/// In one word.
const REGIONS: usize = u32::BITS as usize / 2;

/// The bits of a word that say what is dirty; those that say what is in copy are as many places higher.
const DIRTY: u32 = (1 << REGIONS) - 1;

/// Which regions of a disk are to be copied. Any thread marks, takes and asks; nothing blocks.
///
/// QEMU's `BdrvDirtyBitmap` and the mirror's `in_flight_bitmap` in one.
pub struct DirtyBitmap {
    /// In bytes.
    length: u64,
    /// In bytes; a power of two.
    granularity: u64,
    /// The number of the region beyond the end, which is that of regions before it.
    beyond: u64,
    words: Box<[AtomicU32]>,
}

/// Why there is no such bitmap.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DirtyBitmapError {
    /// The granularity is no power of two.
    #[error("a granularity of {0} bytes is no power of two")]
    Granularity(u64),
    /// There would be more regions than [`DirtyBitmap::REGIONS_MAX`].
    #[error(
        "{length} bytes are too many regions of {granularity} bytes: the granularity must be at least {granularity_min}"
    )]
    TooManyRegions {
        /// In bytes.
        length: u64,
        /// In bytes.
        granularity: u64,
        /// The smallest with which it would do, in bytes.
        granularity_min: u64,
    },
}

impl DirtyBitmap {
    /// How many regions a bitmap can have: as many as take 256 MiB.
    pub const REGIONS_MAX: u64 = 1 << 30;

    /// A bitmap for a disk of `length` bytes in regions of `granularity` bytes, the last of which may be shorter.
    /// Nothing is dirty.
    ///
    /// # Errors
    ///
    /// The granularity is no power of two, or there would be more than [`REGIONS_MAX`](Self::REGIONS_MAX) regions.
    pub fn new(length: u64, granularity: u64) -> Result<DirtyBitmap, DirtyBitmapError> {
        if !granularity.is_power_of_two() {
            return Err(DirtyBitmapError::Granularity(granularity));
        }
        let beyond = length.div_ceil(granularity);
        if beyond > Self::REGIONS_MAX {
            return Err(DirtyBitmapError::TooManyRegions {
                length,
                granularity,
                granularity_min: length.div_ceil(Self::REGIONS_MAX).next_power_of_two(),
            });
        }
        let words = (beyond + 1).div_ceil(REGIONS as u64);
        Ok(DirtyBitmap {
            length,
            granularity,
            beyond,
            words: (0..words).map(|_| AtomicU32::new(0)).collect(),
        })
    }

    /// Of the disk, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Of a region, in bytes.
    pub fn granularity(&self) -> u64 {
        self.granularity
    }

    /// The bytes of `range` were written, and are there: every region that has one of them is to be copied. Those at
    /// `length` and behind it belong to the region beyond the end. An empty range marks nothing.
    ///
    /// Not to be left out because a region is dirty: that may be just about to end.
    pub fn mark(&self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if range.start < self.length {
            let last = (range.end.min(self.length) - 1) / self.granularity;
            self.mark_regions(range.start / self.granularity, last);
        }
        if range.end > self.length {
            self.mark_regions(self.beyond, self.beyond);
        }
    }

    fn mark_regions(&self, first: u64, last: u64) {
        let (from, to) = (Place::of(first), Place::of(last));
        for index in from.word..=to.word {
            let mut regions = DIRTY;
            if index == from.word {
                regions &= DIRTY << from.bit;
            }
            if index == to.word {
                regions &= DIRTY >> (REGIONS as u32 - 1 - to.bit);
            }
            self.words[index].fetch_or(regions, Ordering::Release);
        }
    }

    /// Takes the next dirty regions to copy them: the first one at byte `from` or behind it that is not in copy, from
    /// the beginning again if there is none, and what follows it without a gap, up to `bytes_max` bytes but at least
    /// one region. Runs are short: no more than sixteen regions.
    ///
    /// `None`: nothing was seen that is dirty and not in copy. That does not say that the bitmap
    /// [is clean](Self::is_clean).
    ///
    /// What is taken is in copy until the answer is [done](Taken::done) or dropped. Read the source after this, not
    /// before: then whoever writes these bytes later marks them again.
    pub fn take(&self, from: u64, bytes_max: u64) -> Option<Taken<'_>> {
        let most = (bytes_max / self.granularity).clamp(1, REGIONS as u64) as u32;
        let first = if from < self.length {
            from / self.granularity
        } else {
            self.beyond
        };
        let Place { word, bit } = Place::of(first);
        let behind = DIRTY << bit & DIRTY;
        self.take_in(word, behind, most)
            .or_else(|| {
                (word + 1..self.words.len())
                    .chain(0..word)
                    .find_map(|word| self.take_in(word, DIRTY, most))
            })
            .or_else(|| {
                let before = DIRTY & !behind;
                (before != 0).then(|| self.take_in(word, before, most))?
            })
    }

    /// Takes the first run among these regions of a word.
    fn take_in(&self, index: usize, among: u32, most: u32) -> Option<Taken<'_>> {
        let word = &self.words[index];
        let beyond = Place::of(self.beyond);
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let free = seen & !(seen >> REGIONS) & among;
            if free == 0 {
                return None;
            }
            let first = free.trailing_zeros();
            let mut regions = (free >> first).trailing_ones().min(most);
            // What is beyond the end comes alone.
            if regions > 1 && index == beyond.word && first + regions > beyond.bit {
                regions -= 1;
            }
            let run = (DIRTY >> (REGIONS as u32 - regions)) << first;
            match word.compare_exchange(
                seen,
                seen & !run | run << REGIONS,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    let first = index as u64 * REGIONS as u64 + u64::from(first);
                    return Some(Taken {
                        bitmap: self,
                        word: index,
                        run,
                        range: self.bytes(first, u64::from(regions)),
                        done: false,
                    });
                }
                Err(now) => seen = now,
            }
        }
    }

    fn bytes(&self, first: u64, regions: u64) -> Range<u64> {
        if first == self.beyond {
            return self.length..u64::MAX;
        }
        let end = (first + regions).saturating_mul(self.granularity);
        first * self.granularity..end.min(self.length)
    }

    /// Whether nothing was seen that is dirty or in copy. Then every copy that was done is there for the asker; but
    /// while others mark and take, the answer is about moments that are over.
    pub fn is_clean(&self) -> bool {
        self.words
            .iter()
            .all(|word| word.load(Ordering::Acquire) == 0)
    }

    /// How many bytes of the disk are in regions that are dirty or in copy. What is beyond its end does not count, so
    /// none does not say that the bitmap [is clean](Self::is_clean). Reads every word.
    pub fn dirty_bytes(&self) -> u64 {
        let place = Place::of(self.beyond);
        let mut bytes = 0;
        for (index, word) in self.words.iter().enumerate() {
            let word = word.load(Ordering::Relaxed);
            let mut regions = (word | word >> REGIONS) & DIRTY;
            if index == place.word {
                regions &= !(1 << place.bit);
            }
            bytes += u128::from(regions.count_ones()) * u128::from(self.granularity);
            // The last region of the disk may be shorter.
            if let Some(last) = self.beyond.checked_sub(1).map(Place::of)
                && index == last.word
                && regions >> last.bit & 1 != 0
            {
                bytes -= u128::from(self.beyond) * u128::from(self.granularity)
                    - u128::from(self.length);
            }
        }
        // No more than the length of the disk.
        bytes as u64
    }
}

/// Where a region is.
#[derive(Clone, Copy)]
struct Place {
    word: usize,
    bit: u32,
}

impl Place {
    fn of(region: u64) -> Place {
        Place {
            word: (region / REGIONS as u64) as usize,
            bit: (region % REGIONS as u64) as u32,
        }
    }
}

impl fmt::Debug for DirtyBitmap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DirtyBitmap")
            .field("length", &self.length)
            .field("granularity", &self.granularity)
            .finish_non_exhaustive()
    }
}

/// Regions in copy. Nobody else takes them before this is [done](Taken::done) or dropped.
///
/// Dropped without that they are dirty again: the copy failed, or there was none. One that is forgotten
/// ([`std::mem::forget`]) stays in copy, and the bitmap is never clean.
#[must_use = "dropped at once, the regions are dirty again"]
pub struct Taken<'bitmap> {
    bitmap: &'bitmap DirtyBitmap,
    word: usize,
    /// In the lower half.
    run: u32,
    range: Range<u64>,
    done: bool,
}

impl Taken<'_> {
    /// What is to be copied, in bytes. `length..u64::MAX` is all that is beyond the end of the disk: somebody wrote
    /// there.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// The target has what was read after this was taken.
    pub fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let word = &self.bitmap.words[self.word];
        // Dirty first: the bitmap must not look clean in between. Nobody takes it before the next step, which
        // releases.
        if !self.done {
            word.fetch_or(self.run, Ordering::Relaxed);
        }
        word.fetch_and(!(self.run << REGIONS), Ordering::Release);
    }
}

impl fmt::Debug for Taken<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Taken")
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}
