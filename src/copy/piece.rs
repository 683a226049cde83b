//! Cutting a source into pieces: the next thing for any worker to do.

use crate::io::extent::{Extent, ExtentKind, extent_at};
use std::io;
use std::os::fd::AsFd;

/// One piece of work: a range of the source, and of the target at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Whether there is data to be copied or a hole to be kept.
    pub kind: ExtentKind,
    /// First byte.
    pub at: u64,
    /// Length in bytes, at least 1.
    pub bytes: u64,
}

/// Hands out the pieces of bytes `0..size` of a source, in order, each once, without gaps.
#[derive(Debug)]
pub(super) struct Pieces {
    next: u64,
    size: u64,
    /// The extent `next` is in, as far as it was looked up.
    extent: Option<Extent>,
    /// Whether holes are told from data; else all is data.
    holes: bool,
    /// Whether a hole is handed out whole, because keeping it costs nothing.
    whole_holes: bool,
}

impl Pieces {
    pub fn new(size: u64, holes: bool, whole_holes: bool) -> Self {
        Self {
            next: 0,
            size,
            extent: None,
            holes,
            whole_holes,
        }
    }

    /// The next piece, of at most `bytes_max` bytes unless it is a whole hole; `None` when all were handed out.
    ///
    /// Data is cut at multiples of `bytes_max`, so that an odd extent makes one odd piece and not all of them.
    pub fn next(&mut self, source: impl AsFd, bytes_max: u64) -> io::Result<Option<Piece>> {
        if self.next >= self.size {
            return Ok(None);
        }
        let extent = match self.extent {
            Some(extent) if self.next < extent.end => extent,
            _ if !self.holes => Extent {
                kind: ExtentKind::Data,
                start: 0,
                end: self.size,
            },
            _ => match extent_at(source, self.next, self.size)? {
                Some(extent) => extent,
                None => return Ok(None),
            },
        };
        self.extent = Some(extent);
        let end = if extent.kind == ExtentKind::Hole && self.whole_holes {
            extent.end
        } else {
            extent
                .end
                .min((self.next / bytes_max + 1).saturating_mul(bytes_max))
        };
        let piece = Piece {
            kind: extent.kind,
            at: self.next,
            bytes: end - self.next,
        };
        self.next = end;
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::extent::ftruncate;
    use crate::io::transfer::pwrite_all;

    const MIB: u64 = 1 << 20;

    fn all(mut pieces: Pieces, file: &std::fs::File, bytes_max: u64) -> Vec<Piece> {
        let pieces: Vec<_> = std::iter::from_fn(|| pieces.next(file, bytes_max).unwrap())
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
        for whole_holes in [false, true] {
            let pieces = all(Pieces::new(size, true, whole_holes), &file, MIB);
            assert_eq!(pieces[0].at, 0);
            assert!(
                pieces
                    .windows(2)
                    .all(|pair| pair[0].at + pair[0].bytes == pair[1].at)
            );
            let last = pieces.last().unwrap();
            assert_eq!(last.at + last.bytes, size);
            for piece in &pieces {
                let cut = piece.kind == ExtentKind::Data || !whole_holes;
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
        let pieces = all(Pieces::new(3 * MIB, false, true), &file, MIB);
        assert_eq!(pieces.len(), 3);
        assert!(pieces.iter().all(|piece| piece.kind == ExtentKind::Data));
    }

    #[test]
    fn an_empty_file_has_no_piece() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(all(Pieces::new(0, true, true), &file, MIB), []);
    }

    #[test]
    fn a_smaller_limit_in_the_middle_neither_skips_nor_repeats() {
        let file = tempfile::tempfile().unwrap();
        let mut pieces = Pieces::new(10_000, false, true);
        let (mut at, mut limits) = (0, [4096, 512, 4096, 1000].into_iter().cycle());
        while let Some(piece) = pieces.next(&file, limits.next().unwrap()).unwrap() {
            assert_eq!(piece.at, at);
            at += piece.bytes;
        }
        assert_eq!(at, 10_000);
    }
}
