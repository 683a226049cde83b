//! Zero detection: which parts of a buffer need not be stored.

use std::ops::Range;

/// Granularity of zero detection in bytes: the block of common file systems. A hole smaller than that saves nothing.
pub(super) const BLOCK_BYTES: usize = 4096;

/// Whether every byte is zero; true for no bytes.
///
/// The first is zero and each equals the one before it: one `memcmp` of the slice with itself, which the C library
/// does in vectors.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    match bytes {
        [] => true,
        [first, rest @ ..] => *first == 0 && bytes[..rest.len()] == *rest,
    }
}

/// A run of blocks of a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// Bytes of the buffer.
    pub range: Range<usize>,
    /// Whether all of them are zero.
    pub zero: bool,
}

/// Cuts a buffer into maximal runs of zero and non-zero blocks of [`BLOCK_BYTES`]; the last block may be shorter.
pub(super) fn runs(buffer: &[u8]) -> impl Iterator<Item = Run> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let mut blocks = buffer[at..].chunks(BLOCK_BYTES).peekable();
        let zero = is_zero(blocks.peek()?);
        let length: usize = blocks
            .take_while(|block| is_zero(block) == zero)
            .map(<[u8]>::len)
            .sum();
        let range = at..at + length;
        at += length;
        Some(Run { range, zero })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_anywhere_is_seen() {
        for length in [1, 2, 7, 8, 63, 64, 65, 4095, 4096] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for place in [0, length / 2, length - 1] {
                bytes[place] = 1;
                assert!(!is_zero(&bytes), "{length} {place}");
                bytes[place] = 0;
            }
        }
        assert!(is_zero(&[]));
    }

    #[test]
    fn runs_cover_the_buffer_and_alternate() {
        let mut buffer = vec![0; 5 * BLOCK_BYTES + 100];
        buffer[BLOCK_BYTES] = 1;
        buffer[3 * BLOCK_BYTES - 1] = 1;
        let found: Vec<_> = runs(&buffer).map(|run| (run.range, run.zero)).collect();
        let b = BLOCK_BYTES;
        assert_eq!(
            found,
            [(0..b, true), (b..3 * b, false), (3 * b..5 * b + 100, true)]
        );
        assert_eq!(runs(&[]).count(), 0);
        assert_eq!(
            runs(&[1, 0, 0]).next().unwrap(),
            Run {
                range: 0..3,
                zero: false
            }
        );
    }
}
