//! The lane gate: the other workers of a job, counted as I/O in flight.
//!
//! A job has one body, which alone changes its status. Any other thread that works for the job is
//! a *lane*: it never sees a pause point, it asks the gate before each piece of I/O and gives the
//! permit back after it. When the body pauses it closes the gate, calls the driver's `pause`, and
//! waits until nothing is in flight, before `paused` is acknowledged (P18, P19). In this order, because
//! who is inside may wait for something that only `pause` ends. Hence who was let in may begin its
//! piece as late as after `pause`.
//!
//! Rules:
//! 1. `word` = closed bit + number of permits out. Entering is one compare-and-swap that succeeds
//!    only while the bit is clear, so after [`close`](Gate::close) the number only falls.
//! 2. Whoever takes the number to zero while the gate is closed takes the lock and wakes the body;
//!    the body tests the number under the same lock before it waits. Hence no lost wake-up.
//! 3. Opening takes the lock as well, and wakes lanes that wait to enter.
//! 4. Once the job is force-cancelled nobody enters. The body opens the gate on its way out of the
//!    pause, so waiting lanes learn it there; the end of the run shuts the gate for good.
//!
//! The lock is the gate's own: lanes touch the monitor only to wake the body. A mirror has a gate of the same
//! kind, of no job, for those who write what it follows ([`mirror`](crate::mirror)).

use std::fmt;
use std::time::Duration;

use super::monitor::{JobCore, Monitor};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Arc, CachePadded, Condvar, Mutex};

const CLOSED: u32 = 1 << 31;

#[derive(Debug)]
pub(crate) struct Gate {
    word: CachePadded<AtomicU32>,
    shut_for_good: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn new() -> Gate {
        Gate {
            word: CachePadded(AtomicU32::new(0)),
            shut_for_good: Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    /// From here on nobody enters; what is in flight may still be.
    pub(crate) fn close(&self) {
        self.word.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Waits until nothing is in flight. The gate is closed.
    pub(crate) fn drain(&self) {
        if self.word.load(Ordering::Acquire) == CLOSED {
            return;
        }
        let mut guard = self.shut_for_good.lock();
        while self.word.load(Ordering::Acquire) != CLOSED {
            guard = self.changed.wait(guard);
        }
    }

    pub(crate) fn open(&self) {
        let guard = self.shut_for_good.lock();
        self.word.fetch_and(!CLOSED, Ordering::AcqRel);
        self.changed.notify_all();
        drop(guard);
    }

    /// Nobody enters any more; does not wait for who is inside.
    pub(crate) fn refuse(&self) {
        self.close();
        let mut guard = self.shut_for_good.lock();
        *guard = true;
        self.changed.notify_all();
    }

    /// The run is over: nobody enters any more, and nothing is in flight afterwards (P27).
    pub(super) fn shut(&self) {
        self.close();
        let mut guard = self.shut_for_good.lock();
        *guard = true;
        self.changed.notify_all();
        while self.word.load(Ordering::Acquire) != CLOSED {
            guard = self.changed.wait(guard);
        }
    }

    /// One more in flight, unless the gate is closed.
    fn try_enter(&self) -> bool {
        let mut seen = self.word.load(Ordering::Acquire);
        while seen & CLOSED == 0 {
            match self
                .word
                .compare_exchange(seen, seen + 1, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Waits until somebody may enter; false when nobody ever will.
    fn wait_until_open(&self) -> bool {
        let mut guard = self.shut_for_good.lock();
        while self.word.load(Ordering::Acquire) & CLOSED != 0 {
            if *guard {
                return false;
            }
            guard = self.changed.wait(guard);
        }
        true
    }

    /// Enters as soon as the gate is open; `None` when it never will be.
    pub(crate) fn enter(&self) -> Option<LanePermit<'_>> {
        loop {
            if self.try_enter() {
                return Some(LanePermit { gate: self });
            }
            if !self.wait_until_open() {
                return None;
            }
        }
    }

    fn leave(&self) {
        let before = self.word.fetch_sub(1, Ordering::AcqRel);
        if before == CLOSED + 1 {
            let guard = self.shut_for_good.lock();
            self.changed.notify_all();
            drop(guard);
        }
    }
}

/// Lets the lanes of one job do I/O, one piece at a time. Cheap to clone; any thread.
#[derive(Clone)]
pub struct LaneGate {
    monitor: Arc<Monitor>,
    core: Arc<JobCore>,
}

/// One piece of I/O in flight; dropping it says the I/O is over.
#[must_use = "the I/O is in flight only as long as the permit lives"]
pub struct LanePermit<'gate> {
    gate: &'gate Gate,
}

impl LaneGate {
    pub(super) fn new(monitor: Arc<Monitor>, core: Arc<JobCore>) -> LaneGate {
        LaneGate { monitor, core }
    }

    /// Asks to do one piece of I/O. Blocks while the job pauses; `None` once it is cancelled by
    /// force or its run is over. Not for the body itself, which would wait for itself.
    pub fn enter(&self) -> Option<LanePermit<'_>> {
        let gate = &self.core.gate;
        loop {
            if self.core.control.is_forced() {
                return None;
            }
            if gate.try_enter() {
                return Some(LanePermit { gate });
            }
            if !gate.wait_until_open() {
                return None;
            }
        }
    }

    /// Whether the job is cancelled by force: lanes should stop. One load.
    pub fn is_cancelled(&self) -> bool {
        self.core.control.is_forced()
    }

    /// Whether the gate is closed at this moment: the job pauses, or its run is over. One load.
    pub fn is_closed(&self) -> bool {
        self.core.gate.word.load(Ordering::Acquire) & CLOSED != 0
    }

    /// The speed limit in bytes per second, 0 for none.
    pub fn speed_bytes_per_s(&self) -> u64 {
        self.core.speed_bytes_per_s.get()
    }

    /// Charges `bytes` of work done against the job's speed limit, which its body and its lanes share. What it returns is
    /// how long nobody of them is to begin a piece; only the body can wait for that and be interrupted, so it is told
    /// ([`wake_body`](Self::wake_body)).
    pub fn charge(&self, bytes: u64) -> Duration {
        self.core.charge(&self.monitor, bytes)
    }

    /// Enters the body: ends its sleep or wait, or the next one if it is busy. For a lane that has
    /// something to tell it.
    pub fn wake_body(&self) {
        if let Some(job) = self.monitor.lock().job_mut(self.core.key) {
            job.enter();
        }
    }
}

impl fmt::Debug for LaneGate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LaneGate")
            .field("job", &self.core.id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LanePermit<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LanePermit").finish_non_exhaustive()
    }
}

impl Drop for LanePermit<'_> {
    fn drop(&mut self) {
        self.gate.leave();
    }
}
