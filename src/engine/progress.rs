//! Progress: how much is done and how much there is, in bytes (SEMANTICS.md §9.3).
//!
//! Two counters that any worker adds to and anybody reads. They decide nothing, so they are
//! statistics: no lock, and invisible to the checkers.

use crate::sync::Statistic;

/// The progress of one job, in bytes. Any thread.
#[derive(Debug, Default)]
pub struct Progress {
    current: Statistic,
    total: Statistic,
}

impl Progress {
    /// `bytes` more are done. What is done never becomes less; beyond `u64::MAX` it stays there.
    pub fn advance(&self, bytes: u64) {
        self.current.add(bytes);
    }

    /// There are `bytes` left to do: the total becomes what is done plus that. The total may move
    /// both ways. Not meant to run concurrently with itself: one worker estimates.
    pub fn set_remaining(&self, bytes: u64) {
        self.total.set(self.current.get().saturating_add(bytes));
    }

    /// `bytes` more turned out to be there.
    pub fn increase_remaining(&self, bytes: u64) {
        self.total.add(bytes);
    }

    /// What is done, in bytes: `offset` in events, `current-progress` in `query-jobs`.
    pub fn current(&self) -> u64 {
        self.current.get()
    }

    /// What there is, in bytes: `len` in events, `total-progress` in `query-jobs`. Read before
    /// [`current`](Self::current) it may briefly be less than that.
    pub fn total(&self) -> u64 {
        self.total.get()
    }
}
