//! Following writers, and the moment at which they go over to the target.
//!
//! ```text
//! Writers::write     gate ─ write ─ mark ─ out            any thread, many at a time
//! Follower::take     take ─ read the source ─ write the target ─ done
//! Follower::quiesce  gate closed ─ nobody inside          from here on nobody writes
//! Quiet::switch      clean? ─ switch over ─ gate shut for good
//! ```
//!
//! Writers pass a gate, the one that quiesces the lanes of a job (`engine/gate.rs`). The test for clean and the
//! switch-over are one section in which it is closed: the last write before it is seen by the test, and the first one
//! after it is told that the source is not written any more.
//!
//! The types hold the rest: whoever quiesces or switches has the [`Follower`] or the [`Quiet`] as its own, so nothing
//! that was taken from it is still in copy, and after the switch-over there is neither.

use std::ops::Range;

use thiserror::Error;

use super::dirty::{DirtyBitmap, DirtyBitmapError, Taken};
use crate::engine::gate::{Gate, LanePermit};
use crate::sync::Arc;

/// What writers and follower share.
#[derive(Debug)]
struct Shared {
    dirty: DirtyBitmap,
    gate: Gate,
}

/// Follows the writers of a disk of `length` bytes, in regions of `granularity` bytes. Everything is dirty at first, but
/// for what is beyond the end.
///
/// # Errors
///
/// As [`DirtyBitmap::new`].
pub fn follow(length: u64, granularity: u64) -> Result<(Writers, Follower), DirtyBitmapError> {
    let dirty = DirtyBitmap::new(length, granularity)?;
    dirty.mark(0..length);
    let shared = Arc::new(Shared {
        dirty,
        gate: Gate::new(),
    });
    let writers = Writers {
        shared: Arc::clone(&shared),
    };
    Ok((writers, Follower { shared }))
}

/// The source is not written any more: the switch-over is done.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the mirror has switched over: write to its target")]
pub struct Switched;

/// For those who write what is followed. Cheap to clone; any thread.
#[derive(Clone, Debug)]
pub struct Writers {
    shared: Arc<Shared>,
}

impl Writers {
    /// Calls `write`, which changes bytes of `range` and of no other, and marks them once it has returned, whatever it
    /// answers, and also if it panics. A discard or a write of zeros is a write. Waits while the follower
    /// [is quiet](Follower::quiesce).
    ///
    /// Not inside another write, and not by a thread that has the [`Quiet`]: it may wait for itself.
    ///
    /// # Errors
    ///
    /// The switch-over is done. `write` was not called, and what the switch-over wrote is there for the caller.
    pub fn write<T>(&self, range: Range<u64>, write: impl FnOnce() -> T) -> Result<T, Switched> {
        let permit = self.shared.gate.enter().ok_or(Switched)?;
        let _marks = Writing {
            dirty: &self.shared.dirty,
            range,
            _permit: permit,
        };
        Ok(write())
    }
}

/// Marks at its end, and then leaves the gate: fields are dropped after the whole.
struct Writing<'gate> {
    dirty: &'gate DirtyBitmap,
    range: Range<u64>,
    _permit: LanePermit<'gate>,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.dirty.mark(self.range.clone());
    }
}

/// For those who copy. Threads that copy share a reference. Dropped without a switch-over, writers go on as before.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
}

impl Follower {
    /// The next regions to be copied: [`DirtyBitmap::take`].
    pub fn take(&self, from: u64, bytes_max: u64) -> Option<Taken<'_>> {
        self.shared.dirty.take(from, bytes_max)
    }

    /// Whether nothing was seen that is to be copied or in copy ([`DirtyBitmap::is_clean`]): the mirror has converged,
    /// for now. Whether it still has, only [`Quiet::switch`] can say.
    pub fn is_clean(&self) -> bool {
        self.shared.dirty.is_clean()
    }

    /// How much is to be copied or in copy, in bytes ([`DirtyBitmap::dirty_bytes`]).
    pub fn dirty_bytes(&self) -> u64 {
        self.shared.dirty.dirty_bytes()
    }

    /// Lets no writer in any more and waits until none is inside. For as long as the answer lives nobody writes, and
    /// what was written is there.
    ///
    /// Not inside a write, which it would wait for.
    pub fn quiesce(self) -> Quiet {
        self.shared.gate.close();
        self.shared.gate.drain();
        Quiet {
            closed: Closed(Some(Arc::clone(&self.shared))),
            follower: self,
        }
    }
}

/// A section in which nobody writes. Dropped, or where the switch-over panics, writers go on.
#[derive(Debug)]
#[must_use = "dropped at once, writers go on"]
pub struct Quiet {
    closed: Closed,
    follower: Follower,
}

/// Opens the gate at its end, unless told otherwise.
#[derive(Debug)]
struct Closed(Option<Arc<Shared>>);

impl Closed {
    /// Nobody enters any more.
    fn for_good(mut self) {
        if let Some(shared) = self.0.take() {
            shared.gate.refuse();
        }
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.gate.open();
        }
    }
}

/// Why there was no switch-over. Writers write the source as before, now or when what is in here is dropped.
#[derive(Debug, Error)]
pub enum NotSwitched<E> {
    /// Something is to be copied first; nobody writes meanwhile. `over` was not called.
    #[error("the mirror cannot switch over: {} bytes and what is beyond the end, if anything, are to be copied", .0.dirty_bytes())]
    Dirty(Quiet),
    /// `over` failed. Writers go on.
    #[error("the mirror cannot switch over")]
    Failed(Follower, #[source] E),
}

impl Quiet {
    /// The next regions to be copied: [`DirtyBitmap::take`].
    pub fn take(&self, from: u64, bytes_max: u64) -> Option<Taken<'_>> {
        self.follower.take(from, bytes_max)
    }

    /// Whether nothing is to be copied. Stays so.
    pub fn is_clean(&self) -> bool {
        self.follower.is_clean()
    }

    /// How much is to be copied, in bytes ([`DirtyBitmap::dirty_bytes`]).
    pub fn dirty_bytes(&self) -> u64 {
        self.follower.dirty_bytes()
    }

    /// Lets writers in again.
    pub fn reopen(self) -> Follower {
        drop(self.closed);
        self.follower
    }

    /// If nothing is to be copied, calls `over`, which makes the target the one to write to; then every writer that
    /// waits, or comes later, gets [`Switched`].
    ///
    /// # Errors
    ///
    /// Something is to be copied, or `over` failed.
    pub fn switch<E>(self, over: impl FnOnce() -> Result<(), E>) -> Result<(), NotSwitched<E>> {
        if !self.is_clean() {
            return Err(NotSwitched::Dirty(self));
        }
        match over() {
            Ok(()) => {
                self.closed.for_good();
                Ok(())
            }
            Err(error) => Err(NotSwitched::Failed(self.reopen(), error)),
        }
    }
}
