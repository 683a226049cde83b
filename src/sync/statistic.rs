//! Numbers that are reported and decide nothing.
//!
//! A file of its own, which does not say whose atomic it counts with: the proofs take it, and what is made
//! of it, with one that loom models.

use super::counter::AtomicU64;
use super::counter::Ordering::Relaxed;

/// A number that is reported and decides nothing (rule 5 of `sync.rs`).
#[derive(Debug, Default)]
pub(crate) struct Statistic(AtomicU64);

impl Statistic {
    /// Adds, and stays at the top rather than wrap: what is counted never becomes less (P46).
    pub(crate) fn add(&self, amount: u64) {
        let add = |value: u64| Some(value.saturating_add(amount));
        // Never fails: `add` always has an answer.
        let _ = self.0.fetch_update(Relaxed, Relaxed, add);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn raise_to(&self, value: u64) {
        self.0.fetch_max(value, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Sets the bits of `mask` and says what was there before.
    pub(crate) fn mark(&self, mask: u64) -> u64 {
        self.0.fetch_or(mask, Relaxed)
    }

    /// Clears the bits of `mask`.
    pub(crate) fn unmark(&self, mask: u64) {
        self.0.fetch_and(!mask, Relaxed);
    }
}
