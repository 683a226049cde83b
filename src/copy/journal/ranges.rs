//! Sets of bytes, kept as ranges: what was copied, what was synced, what is left.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of bytes. Ranges in it are apart: two that meet become one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::copy) struct Ranges {
    /// First byte to first byte behind.
    by_start: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Adds a range; bytes that are in it already stay.
    pub fn add(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // All that touch it lie before its end, and the last of them reaches furthest.
        while let Some((&at, &until)) = self.by_start.range(..=end).next_back() {
            if until < start {
                break;
            }
            self.by_start.remove(&at);
            (start, end) = (start.min(at), end.max(until));
        }
        self.by_start.insert(start, end);
    }

    /// Adds another set.
    pub fn add_all(&mut self, other: &Self) {
        other.iter().for_each(|range| self.add(range));
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.by_start.iter().map(|(&start, &end)| start..end)
    }

    /// How many bytes are in it.
    #[cfg(test)]
    pub fn bytes(&self) -> u64 {
        self.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    /// What of `0..size` is not in it, in order.
    pub fn gaps(&self, size: u64) -> Vec<Range<u64>> {
        let (mut at, mut gaps) = (0, Vec::new());
        for range in self.iter() {
            if range.start >= size {
                break;
            }
            if at < range.start {
                gaps.push(at..range.start);
            }
            at = range.end;
        }
        if at < size {
            gaps.push(at..size);
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        /// Held against the bytes themselves.
        #[test]
        fn is_a_set_of_bytes(list in prop::collection::vec((0_u64..60, 0_u64..12), 0..14)) {
            let (mut ranges, mut bytes) = (Ranges::default(), [false; 80]);
            for (start, length) in list {
                ranges.add(start..start + length);
                bytes[start as usize..(start + length) as usize].fill(true);
            }
            let count = bytes.iter().filter(|is_in| **is_in).count() as u64;
            prop_assert_eq!(ranges.bytes(), count);
            let gaps: u64 = ranges.gaps(80).iter().map(|gap| gap.end - gap.start).sum();
            prop_assert_eq!(gaps, 80 - count);
            prop_assert!(ranges.gaps(80).iter().all(|gap| gap.clone().all(|at| !bytes[at as usize])));
            prop_assert!(ranges.iter().all(|range| range.clone().all(|at| bytes[at as usize])));
            prop_assert_eq!(ranges.is_empty(), count == 0);
            let apart: Vec<_> = ranges.iter().collect();
            prop_assert!(apart.windows(2).all(|two| two[0].end < two[1].start));
        }
    }
}
