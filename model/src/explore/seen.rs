//! The set of worlds already met.
//!
//! Worlds lie one behind the other, in the order of their first visit; a table of their numbers,
//! open and at most half full, finds them again. What the search does most is to find that it has
//! been there before, and what that costs is the wait for memory. So successors are looked up a
//! batch at a time, in passes of reads that do not depend on each other: the machine then waits for
//! many of them at once.

/// The part of a slot that holds the hash.
const TAG: u64 = !0 << 32;

/// The worlds met so far, numbered in the order of their first visit.
pub(super) struct Seen {
    stride: usize,
    words: Vec<u64>,
    /// Number + 1 of the world in each slot, and above it half of its hash, so that most worlds
    /// that are not the one looked for need no look; 0 = free.
    slots: Vec<u64>,
    mask: usize,
    /// For each world of a batch its hash and what its first slot held.
    batch: Vec<(u64, u64)>,
}

impl Seen {
    /// An empty set of worlds of `stride` words.
    pub(super) fn new(stride: usize) -> Seen {
        let slots = 1 << 16;
        Seen {
            stride,
            words: Vec::new(),
            slots: vec![0; slots],
            mask: slots - 1,
            batch: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.words.len() / self.stride
    }

    pub(super) fn get(&self, number: usize) -> &[u64] {
        &self.words[number * self.stride..][..self.stride]
    }

    /// Each word is spread by itself (a multiplication by an odd constant, folded), and the sum
    /// needs no order.
    fn hash(words: &[u64]) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut hash = 0u64;
        let mut seed = ODD;
        for &word in words {
            let wide = u128::from(word ^ seed) * u128::from(ODD ^ seed.rotate_left(17) | 1);
            hash = hash.wrapping_add(wide as u64 ^ (wide >> 64) as u64);
            seed = seed.wrapping_mul(ODD);
        }
        let wide = u128::from(hash) * u128::from(ODD);
        wide as u64 ^ (wide >> 64) as u64
    }

    fn is(&self, slot: u64, words: &[u64]) -> bool {
        let number = (slot & !TAG) as usize - 1;
        self.get(number).iter().zip(words).all(|(a, b)| a == b)
    }

    /// Adds the worlds of `batch`, which lie one behind the other, in their order; calls back with
    /// the place in the batch of each, its number, and whether it is new.
    pub(super) fn insert_all(&mut self, batch: &[u64], mut found: impl FnMut(usize, usize, bool)) {
        let mut looks = core::mem::take(&mut self.batch);
        looks.clear();
        looks.extend(
            batch
                .chunks_exact(self.stride)
                .map(|words| (Seen::hash(words), 0)),
        );
        // Nothing but the reads, so that as many as possible are under way.
        for (hash, slot) in &mut looks {
            *slot = self.slots[*hash as usize & self.mask];
        }
        for (words, (hash, slot)) in batch.chunks_exact(self.stride).zip(&mut looks) {
            let known = *slot != 0 && *slot & TAG == *hash & TAG && self.is(*slot, words);
            // From here on: its number + 1, if it is known.
            *slot = if known { *slot & !TAG } else { 0 };
        }
        for (place, (words, &(hash, known))) in
            batch.chunks_exact(self.stride).zip(&looks).enumerate()
        {
            if known == 0 {
                let (number, new) = self.insert_hashed(words, hash);
                found(place, number, new);
            } else {
                found(place, known as usize - 1, false);
            }
        }
        self.batch = looks;
    }

    /// Adds a world; its number, and whether it is new.
    pub(super) fn insert(&mut self, words: &[u64]) -> (usize, bool) {
        self.insert_hashed(words, Seen::hash(words))
    }

    fn insert_hashed(&mut self, words: &[u64], hash: u64) -> (usize, bool) {
        let tag = hash & TAG;
        let mut at = hash as usize & self.mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            if slot & TAG == tag && self.is(slot, words) {
                return ((slot & !TAG) as usize - 1, false);
            }
            at = (at + 1) & self.mask;
        }
        let number = self.len();
        self.words.extend_from_slice(words);
        self.slots[at] = tag | (number as u64 + 1);
        if 2 * self.len() > self.slots.len() {
            self.grow();
        }
        (number, true)
    }

    fn grow(&mut self) {
        let slots = 4 * self.slots.len();
        self.mask = slots - 1;
        self.slots.clear();
        self.slots.resize(slots, 0);
        for number in 0..self.len() {
            let hash = Seen::hash(self.get(number));
            let mut slot = hash as usize & self.mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & self.mask;
            }
            self.slots[slot] = (hash & TAG) | (number as u64 + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_are_found_again_and_others_are_not() {
        let mut seen = Seen::new(2);
        for number in 0..200_000u64 {
            assert_eq!(seen.insert(&[number, !number]), (number as usize, true));
        }
        for number in 0..200_000u64 {
            assert_eq!(seen.insert(&[number, !number]), (number as usize, false));
        }
        assert_eq!(seen.len(), 200_000);
    }

    #[test]
    fn a_batch_is_as_one_after_the_other() {
        let mut one = Seen::new(1);
        let mut all = Seen::new(1);
        let mut word = 1u64;
        for _ in 0..500 {
            // Few different words, so that they recur within a batch and between batches.
            let batch: Vec<u64> = (0..100)
                .map(|_| {
                    word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    word >> 50
                })
                .collect();
            let expected: Vec<_> = batch
                .iter()
                .map(|word| one.insert(core::slice::from_ref(word)))
                .collect();
            let mut found = Vec::new();
            all.insert_all(&batch, |place, number, new| {
                assert_eq!(place, found.len());
                found.push((number, new));
            });
            assert_eq!(found, expected);
        }
        assert_eq!(one.words, all.words);
        assert!(one.len() > 10_000);
    }
}
