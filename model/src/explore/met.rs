//! The set of collapsed worlds already met.
//!
//! Worlds lie one behind the other, in the order of their first visit, and once more in an open
//! table, at most three quarters full. What the search does most is to find that it has been there before, and
//! what that costs is the wait for memory. So successors are looked up a batch at a time, with reads
//! that do not depend on each other: the machine then waits for many of them at once.

use super::collapse::Collapsed;

/// The worlds met so far.
pub(super) struct Met {
    /// In the order of their first visit.
    order: Vec<u64>,
    /// The same in the places their hashes tell; 0 = free.
    slots: Vec<u64>,
    /// What the first slot of each world of a batch held, and where that is.
    looks: Vec<(usize, u64)>,
}

impl Met {
    pub(super) fn new() -> Met {
        Met {
            order: Vec::new(),
            slots: vec![0; 1 << 16],
            looks: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn get(&self, number: usize) -> Collapsed {
        Collapsed::from_word(self.order[number])
    }

    /// Where to look first: the upper bits of a product, in which every bit of the word tells.
    fn place(&self, word: u64) -> usize {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let wide = u128::from(word) * u128::from(ODD);
        let hash = (wide as u64 ^ (wide >> 64) as u64).wrapping_mul(ODD);
        (hash >> (u64::BITS - self.slots.len().trailing_zeros())) as usize
    }

    /// Adds a world; whether it is new.
    pub(super) fn insert(&mut self, world: Collapsed) -> bool {
        self.insert_from(world.word(), self.place(world.word()))
    }

    /// Adds the worlds of a batch, in their order; calls back with the place in the batch of each
    /// that is new.
    pub(super) fn insert_all(&mut self, batch: &[Collapsed], mut new: impl FnMut(usize)) {
        let mut looks = core::mem::take(&mut self.looks);
        looks.clear();
        looks.extend(batch.iter().map(|world| (self.place(world.word()), 0)));
        // Nothing but the reads, so that as many as possible are under way.
        for (place, held) in &mut looks {
            *held = self.slots[*place];
        }
        let slots = self.slots.len();
        for (at, (world, &(place, held))) in batch.iter().zip(&looks).enumerate() {
            let word = world.word();
            if held == word {
                continue;
            }
            // The table may have grown since the look.
            let place = if self.slots.len() == slots {
                place
            } else {
                self.place(word)
            };
            if self.insert_from(word, place) {
                new(at);
            }
        }
        self.looks = looks;
    }

    fn insert_from(&mut self, word: u64, mut place: usize) -> bool {
        let mask = self.slots.len() - 1;
        while self.slots[place] != 0 {
            if self.slots[place] == word {
                return false;
            }
            place = (place + 1) & mask;
        }
        self.slots[place] = word;
        self.order.push(word);
        if 3 * self.slots.len() < 4 * self.order.len() {
            self.grow();
        }
        true
    }

    fn grow(&mut self) {
        let slots = 2 * self.slots.len();
        self.slots.clear();
        self.slots.resize(slots, 0);
        for at in 0..self.order.len() {
            let word = self.order[at];
            let mut place = self.place(word);
            while self.slots[place] != 0 {
                place = (place + 1) & (slots - 1);
            }
            self.slots[place] = word;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_as_one_after_the_other() {
        let mut one = Met::new();
        let mut all = Met::new();
        let mut word = 1u64;
        for _ in 0..2_000 {
            // Few different words, so that they recur within a batch and between batches.
            let batch: Vec<Collapsed> = (0..100)
                .map(|_| {
                    word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    Collapsed::from_word((word >> 46) + 1)
                })
                .collect();
            let expected: Vec<usize> = (0..batch.len())
                .filter(|&at| one.insert(batch[at]))
                .collect();
            let mut found = Vec::new();
            all.insert_all(&batch, |at| found.push(at));
            assert_eq!(found, expected);
        }
        assert_eq!(one.order, all.order);
        // It has grown, and nobody came in twice.
        assert!(one.slots.len() > 1 << 16);
        let mut distinct = one.order.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), one.len());
    }
}
