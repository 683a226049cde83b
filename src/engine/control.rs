//! The control word: what a running body needs to know, in one load.
//!
//! The truth is in the monitor. The word repeats the part of it that a body acts on, so that a
//! pause point with nothing to do costs one load and takes no lock.
//!
//! Rules:
//! 1. Written only with the monitor's lock held, right after the fields it repeats, so the word
//!    never contradicts them for anyone who holds the lock.
//! 2. Read without the lock. A stale zero is legal: the request does not happen before this read
//!    (P23). A stale [`PAUSE`](ControlWord::PAUSE) is not acted upon: the body takes the lock and
//!    asks again. [`FORCED`](ControlWord::FORCED) and [`SOFT`](ControlWord::SOFT) are never taken
//!    back (P6), so a stale one is still true.
//! 3. On cache lines of its own: other fields of the job change often, this word rarely.

use crate::sync::CachePadded;
use crate::sync::atomic::{AtomicU32, Ordering};

#[derive(Debug)]
pub(super) struct ControlWord(CachePadded<AtomicU32>);

impl ControlWord {
    /// The body should pause.
    pub(super) const PAUSE: u32 = 1;
    /// The job is cancelled by force.
    pub(super) const FORCED: u32 = 2;
    /// The job was asked to finish by a soft cancel.
    pub(super) const SOFT: u32 = 4;

    pub(super) fn new() -> ControlWord {
        ControlWord(CachePadded(AtomicU32::new(0)))
    }

    /// With the monitor's lock held (rule 1).
    pub(super) fn publish(&self, bits: u32) {
        self.0.store(bits, Ordering::Release);
    }

    /// What the body has to look into: [`PAUSE`](Self::PAUSE) or [`FORCED`](Self::FORCED).
    #[inline]
    pub(super) fn attention(&self) -> u32 {
        self.0.load(Ordering::Acquire) & (Self::PAUSE | Self::FORCED)
    }

    #[inline]
    pub(super) fn is_forced(&self) -> bool {
        self.0.load(Ordering::Acquire) & Self::FORCED != 0
    }

    #[inline]
    pub(super) fn is_cancel_requested(&self) -> bool {
        self.0.load(Ordering::Acquire) & (Self::FORCED | Self::SOFT) != 0
    }
}
