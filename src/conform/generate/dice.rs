//! Chance that a seed determines.

/// A sequence that a seed determines (`SplitMix64`).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// A sequence.
    pub(super) const fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next number.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True so many times in a hundred.
    pub(super) fn percent(&mut self, times: u64) -> bool {
        self.below(100) < times
    }

    pub(super) fn choose<T: Copy>(&mut self, weighted: &[(T, u64)]) -> Option<T> {
        let total: u64 = weighted.iter().map(|(_, weight)| weight).sum();
        let mut at = self.below(total);
        weighted.iter().find_map(|(one, weight)| {
            if at < *weight {
                return Some(*one);
            }
            at -= weight;
            None
        })
    }
}
