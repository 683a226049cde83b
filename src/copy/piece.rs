//! Cutting a source into pieces: the next thing for any worker to do.

use super::zero::BLOCK_BYTES;
use crate::io::extent::{Extent, ExtentKind, data_at, extent_at};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

/// What is to be done with a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// Copy it.
    Data,
    /// See that the target reads as zeros there.
    Hole,
    /// The target has it already.
    Kept,
}

/// One piece of work: a range of the source, and of the target at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub kind: PieceKind,
    /// First byte.
    pub at: u64,
    /// Length in bytes, at least 1.
    pub bytes: u64,
}

impl Piece {
    /// First byte after it.
    pub fn end(&self) -> u64 {
        self.at + self.bytes
    }
}

/// Hands out the pieces of bytes `0..size` of a source, in order, each once, without gaps. Each begins at a multiple
/// of [`BLOCK_BYTES`], and ends at one or with the source.
#[derive(Debug)]
pub(super) struct Pieces {
    next: u64,
    size: u64,
    /// The extent `next` is in, as far as it was looked up.
    extent: Option<Extent>,
    /// Where the last hole ended, with data.
    data: Option<u64>,
    /// Whether holes are told from data; else all is data.
    holes: bool,
    /// What the target has already, from where the next piece begins: in order, whole blocks, apart.
    kept: VecDeque<Range<u64>>,
}

impl Pieces {
    pub fn new(size: u64, holes: bool) -> Self {
        Self {
            next: 0,
            size,
            extent: None,
            data: None,
            holes,
            kept: VecDeque::new(),
        }
    }

    /// Of `range` alone, which begins at a multiple of a block, and ends at one or with the source; holes are told from
    /// data.
    pub fn of(range: Range<u64>) -> Self {
        Self {
            next: range.start,
            ..Self::new(range.end, true)
        }
    }

    /// With ranges that the target has already: in order, and apart. They are handed out as
    /// [`Kept`](PieceKind::Kept), as far as they are whole blocks.
    pub fn keeping(mut self, ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let inward = |range: Range<u64>| {
            let start = range.start.next_multiple_of(BLOCK);
            start..block_end(range.end, self.size)
        };
        self.kept = ranges
            .into_iter()
            .map(inward)
            .filter(|range| !range.is_empty())
            .collect();
        self
    }

    /// The next piece, of at most `data_max` bytes of data, or `hole_max` of a hole or of what is kept (whole blocks, or
    /// without a bound); `None` when all were handed out.
    ///
    /// They are cut at multiples of the bound, so that an odd extent makes one odd piece and not all of them.
    pub fn next(
        &mut self,
        source: impl AsFd,
        data_max: u64,
        hole_max: u64,
    ) -> io::Result<Option<Piece>> {
        if self.next >= self.size {
            return Ok(None);
        }
        let at = self.next;
        let mut limit = self.size;
        if let Some(kept) = self.kept.front() {
            if kept.start <= at {
                let end = kept.end.min((at / hole_max + 1).saturating_mul(hole_max));
                if end == kept.end {
                    self.kept.pop_front();
                }
                self.next = end;
                return Ok(Some(Piece {
                    kind: PieceKind::Kept,
                    at,
                    bytes: end - at,
                }));
            }
            limit = kept.start;
        }
        let Some(Extent { kind, end, .. }) = self.extent(source)? else {
            return Ok(None);
        };
        let (kind, bytes_max) = match kind {
            ExtentKind::Data => (PieceKind::Data, data_max),
            ExtentKind::Hole => (PieceKind::Hole, hole_max),
        };
        let end = end.min((at / bytes_max + 1).saturating_mul(bytes_max));
        let end = end.min(limit);
        self.next = end;
        Ok(Some(Piece {
            kind,
            at,
            bytes: end - at,
        }))
    }

    /// The extent that the last piece is of, from where it was looked up.
    pub fn run(&self) -> Option<Extent> {
        self.extent
    }

    /// The extent that the next piece begins in, from some block's start to another's: a block that is partly data is
    /// data.
    fn extent(&mut self, source: impl AsFd) -> io::Result<Option<Extent>> {
        match self.extent {
            Some(extent) if self.next < extent.end => return Ok(Some(extent)),
            _ if !self.holes => {
                self.extent = Some(Extent {
                    kind: ExtentKind::Data,
                    start: 0,
                    end: self.size,
                });
            }
            _ => {
                let found = if self.data == Some(self.next) {
                    Some(data_at(source, self.next, self.size)?)
                } else {
                    extent_at(source, self.next, self.size)?
                };
                let Some(mut extent) = found else {
                    return Ok(None);
                };
                self.data = (extent.kind == ExtentKind::Hole && extent.end < self.size)
                    .then_some(extent.end);
                let inward = block_end(extent.end, self.size);
                if extent.kind == ExtentKind::Hole && inward <= self.next {
                    extent.kind = ExtentKind::Data;
                }
                extent.end = match extent.kind {
                    ExtentKind::Hole => inward,
                    ExtentKind::Data => extent
                        .end
                        .div_ceil(BLOCK)
                        .saturating_mul(BLOCK)
                        .min(self.size),
                };
                self.extent = Some(extent);
            }
        }
        Ok(self.extent)
    }
}

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Where the last whole block before `end` ends; the block that the source ends with is whole.
fn block_end(end: u64, size: u64) -> u64 {
    if end >= size {
        size
    } else {
        end / BLOCK * BLOCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::extent::ftruncate;
    use crate::io::transfer::pwrite_all;

    const MIB: u64 = 1 << 20;

    fn all(mut pieces: Pieces, file: &std::fs::File, data_max: u64, hole_max: u64) -> Vec<Piece> {
        let pieces: Vec<_> = std::iter::from_fn(|| pieces.next(file, data_max, hole_max).unwrap())
            .take(1000)
            .collect();
        assert!(pieces.len() < 1000, "it comes to no end: {:?}", pieces[999]);
        pieces
    }

    #[test]
    fn pieces_cover_the_file_once_and_data_is_cut_at_multiples() {
        let file = tempfile::tempfile().unwrap();
        let size = 8 * MIB + 123;
        ftruncate(&file, size).unwrap();
        pwrite_all(&file, &vec![1; 2 * MIB as usize], MIB + MIB / 2).unwrap();
        for hole_max in [MIB, u64::MAX] {
            let pieces = all(Pieces::new(size, true), &file, MIB, hole_max);
            assert_eq!(pieces[0].at, 0);
            assert!(
                pieces
                    .windows(2)
                    .all(|pair| pair[0].at + pair[0].bytes == pair[1].at)
            );
            let last = pieces.last().unwrap();
            assert_eq!(last.at + last.bytes, size);
            for piece in &pieces {
                let cut = piece.kind == PieceKind::Data || hole_max == MIB;
                assert!(
                    !cut || piece.bytes <= MIB
                        && (piece.at / MIB == (piece.at + piece.bytes - 1) / MIB)
                );
            }
        }
    }

    #[test]
    fn without_holes_everything_is_data() {
        let file = tempfile::tempfile().unwrap();
        ftruncate(&file, 3 * MIB).unwrap();
        let pieces = all(Pieces::new(3 * MIB, false), &file, MIB, u64::MAX);
        assert_eq!(pieces.len(), 3);
        assert!(pieces.iter().all(|piece| piece.kind == PieceKind::Data));
    }

    #[test]
    fn an_empty_file_has_no_piece() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(all(Pieces::new(0, true), &file, MIB, u64::MAX), []);
    }

    #[test]
    fn a_smaller_limit_in_the_middle_neither_skips_nor_repeats() {
        let file = tempfile::tempfile().unwrap();
        let mut pieces = Pieces::new(100_000, false);
        let (mut at, mut limits) = (0, [16_384, 4096, 8192, 12_288].into_iter().cycle());
        while let Some(piece) = pieces
            .next(&file, limits.next().unwrap(), u64::MAX)
            .unwrap()
        {
            assert_eq!(piece.at, at);
            at += piece.bytes;
        }
        assert_eq!(at, 100_000);
    }

    #[test]
    fn what_is_kept_is_handed_out_as_such_inward_to_whole_blocks() {
        let file = tempfile::tempfile().unwrap();
        let size = 10 * BLOCK + 5;
        let kept = [10..20, BLOCK - 1..3 * BLOCK + 1, 9 * BLOCK..size];
        let found: Vec<_> = all(
            Pieces::new(size, false).keeping(kept),
            &file,
            4 * BLOCK,
            u64::MAX,
        )
        .into_iter()
        .map(|piece| (piece.kind, piece.at, piece.bytes))
        .collect();
        assert_eq!(
            found,
            [
                (PieceKind::Data, 0, BLOCK),
                (PieceKind::Kept, BLOCK, 2 * BLOCK),
                (PieceKind::Data, 3 * BLOCK, BLOCK),
                (PieceKind::Data, 4 * BLOCK, 4 * BLOCK),
                (PieceKind::Data, 8 * BLOCK, BLOCK),
                (PieceKind::Kept, 9 * BLOCK, BLOCK + 5),
            ]
        );
    }
}
