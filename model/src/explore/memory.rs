//! What a member does by itself, remembered.
//!
//! Most steps are those of one member's body, and a member in the same state takes the same ones in
//! every world ([`own_moves`](super::environment::own_moves)): with what was found of them they are
//! worked out once, and put into the other worlds by exchanging one word.

use core::ops::Range;

use crate::hash::FastMap;

/// For each state of each member, what was found of its own moves.
pub(super) struct Memory<T> {
    known: Vec<FastMap<u64, Range<u32>>>,
    all: Vec<T>,
}

impl<T> Memory<T> {
    /// Nothing yet, of so many members.
    pub(super) fn new(members: usize) -> Memory<T> {
        Memory {
            known: vec![FastMap::default(); members],
            all: Vec::new(),
        }
    }

    /// What is known of a member in this state.
    pub(super) fn get(&self, member: usize, word: u64) -> Option<Range<usize>> {
        let known = self.known[member].get(&word)?;
        Some(known.start as usize..known.end as usize)
    }

    /// Remembers it.
    pub(super) fn add(&mut self, member: usize, word: u64, found: Vec<T>) -> Range<usize> {
        let start = self.all.len();
        self.all.extend(found);
        let range = start..self.all.len();
        self.known[member].insert(word, range.start as u32..range.end as u32);
        range
    }

    /// One thing found.
    pub(super) fn at(&self, place: usize) -> &T {
        &self.all[place]
    }
}
