//! The one file that knows whether it is built for threads (std), loom or shuttle.
//!
//! The rest of the crate writes `sync::Mutex`, `sync::Condvar` and so on and is the same text in
//! all three builds, so that what is checked is what is shipped. The cfgs are our own,
//! `blockjob_loom` and `blockjob_shuttle`: the plain names would flip our dependencies as well.
//!
//! Rules that hold here and that the checkers rely on:
//! 1. A lock is never poisoned: a panic in a driver callback cannot happen under it (P28), and
//!    panics of the engine itself are bugs that must not turn into a second, misleading one.
//! 2. [`Condvar`] has no `notify_one`: loom wakes waiters first in first out, which would hide
//!    lost wake-ups that a real one shows.
//! 3. A timed wait exists for threads only. Under the checkers time is virtual: see
//!    `engine/timer.rs`.
//! 4. Reference counts and write-once cells are std's in every build: no decision reads the former,
//!    and the latter are written under the lock.
//! 5. [`Statistic`] is std's atomic in every build: it is for numbers that are reported and never
//!    decide anything, and each modelled atomic multiplies the executions to explore.
//! 6. Whoever notifies holds the lock that the waiters use: under loom this is asserted.
//! 7. Other people's code is called with no lock of this module held (P28): with debug assertions
//!    each thread counts what it holds, and [`assert_unlocked`] asks.
//! 8. A thread holds at most two locks: the monitor's, and after it one other. With debug assertions
//!    a lock that breaks the order is refused before it is waited for, so one run of each path shows
//!    what would take two threads to hang.
//! 9. A wait may end without a cause, as those of the system may. loom's and shuttle's never do of
//!    themselves; under shuttle one of eight does here, at random, so whoever does not test again what it
//!    waited for is found.

use std::fmt;
use std::ops::{Deref, DerefMut};

#[cfg(all(blockjob_loom, blockjob_shuttle))]
compile_error!("blockjob_loom and blockjob_shuttle are two different builds");

#[cfg(not(any(blockjob_loom, blockjob_shuttle)))]
use std::sync as backend;

#[cfg(blockjob_loom)]
use loom::sync as backend;

#[cfg(blockjob_shuttle)]
use shuttle::sync as backend;

pub(crate) use std::sync::{Arc, OnceLock};

pub(crate) mod atomic {
    //! Atomics that take part in decisions: modelled by the checkers.
    pub(crate) use super::backend::atomic::{AtomicU32, Ordering};
}

pub(crate) mod thread {
    //! Threads and who is running.
    #[cfg(not(any(blockjob_loom, blockjob_shuttle)))]
    pub(crate) use std::thread::{Builder, ThreadId, current};

    #[cfg(blockjob_loom)]
    pub(crate) use loom::thread::{Builder, ThreadId, current};

    #[cfg(blockjob_shuttle)]
    pub(crate) use shuttle::thread::{Builder, ThreadId, current};

    /// A name for the calling thread that no other thread of the process has: `main`, or its name
    /// and number.
    pub(crate) fn label() -> String {
        let thread = current();
        match thread.name() {
            Some("main") => "main".to_owned(),
            name => {
                let id = format!("{:?}", thread.id());
                let number: String = id.chars().filter(char::is_ascii_digit).collect();
                format!("{}-{number}", name.unwrap_or("thread"))
            }
        }
    }

    /// The calling thread unwinds.
    #[cfg(debug_assertions)]
    pub(crate) use std::thread::panicking;

    /// The calling thread's id.
    pub(crate) fn current_id() -> ThreadId {
        current().id()
    }
}

/// Whether this build runs real threads in real time.
pub(crate) const REAL_TIME: bool = cfg!(not(any(blockjob_loom, blockjob_shuttle)));

/// A lock without poison (rule 1).
pub(crate) struct Mutex<T> {
    inner: backend::Mutex<T>,
    /// Who holds it, for the rule that notifying takes the lock (rule 6).
    #[cfg(blockjob_loom)]
    holder: Arc<std::sync::Mutex<Option<thread::ThreadId>>>,
    #[cfg(debug_assertions)]
    rank: held::Rank,
}

/// A held [`Mutex`].
pub(crate) struct MutexGuard<'a, T> {
    inner: backend::MutexGuard<'a, T>,
    // Under loom a wait gives the guard up as a whole, and only its end matters.
    #[cfg(debug_assertions)]
    #[cfg_attr(blockjob_loom, allow(dead_code))]
    counted: held::Counted,
    #[cfg(any(blockjob_loom, blockjob_shuttle))]
    mutex: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    /// A lock that may be taken with the monitor's held, and no other (rule 8).
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex {
            inner: backend::Mutex::new(value),
            #[cfg(blockjob_loom)]
            holder: Arc::default(),
            #[cfg(debug_assertions)]
            rank: held::Rank::Last,
        }
    }

    /// The lock that is taken before every other (rule 8).
    pub(crate) fn first(value: T) -> Mutex<T> {
        Mutex {
            #[cfg(debug_assertions)]
            rank: held::Rank::First,
            ..Mutex::new(value)
        }
    }

    pub(crate) fn into_inner(self) -> T {
        self.inner
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // Before the wait: who breaks the order is told, and does not hang.
        #[cfg(debug_assertions)]
        let counted = held::Counted::new(self.rank);
        let inner = self
            .inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        #[cfg(blockjob_loom)]
        waiting::take(&self.holder);
        MutexGuard {
            inner,
            #[cfg(debug_assertions)]
            counted,
            #[cfg(any(blockjob_loom, blockjob_shuttle))]
            mutex: self,
        }
    }
}

/// A driver, or a function of a job's creator, is about to be called: the calling thread holds no lock
/// of this module (rule 7). It may call the engine back, and it may take its time.
pub(crate) fn assert_unlocked() {
    #[cfg(debug_assertions)]
    assert!(
        held::count() == 0 || thread::panicking(),
        "{OUR_MISTAKE}other people's code is called with a lock held"
    );
}

#[cfg(debug_assertions)]
// loom's macro takes no block of `const`.
#[allow(clippy::missing_const_for_thread_local)]
mod held {
    //! Which locks of this module each thread holds (rules 7 and 8).

    use super::OUR_MISTAKE;
    use std::cell::Cell;

    #[cfg(blockjob_loom)]
    use loom::thread_local;
    #[cfg(blockjob_shuttle)]
    use shuttle::thread_local;
    #[cfg(not(any(blockjob_loom, blockjob_shuttle)))]
    use std::thread_local;

    /// A lock's place in the order.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Rank {
        First,
        Last,
    }

    thread_local! {
        static FIRST: Cell<bool> = Cell::new(false);
        static LAST: Cell<bool> = Cell::new(false);
    }

    pub(super) fn count() -> u32 {
        u32::from(FIRST.with(Cell::get)) + u32::from(LAST.with(Cell::get))
    }

    /// A lock that this thread holds, or is about to.
    #[derive(Debug)]
    pub(super) struct Counted(Rank);

    impl Counted {
        pub(super) fn new(rank: Rank) -> Counted {
            let in_order = match rank {
                Rank::First => count() == 0,
                Rank::Last => !LAST.with(Cell::get),
            };
            assert!(
                in_order,
                "{OUR_MISTAKE}a lock is taken out of order, or a second time"
            );
            match rank {
                Rank::First => FIRST.with(|held| held.set(true)),
                Rank::Last => LAST.with(|held| held.set(true)),
            }
            Counted(rank)
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            match self.0 {
                Rank::First => FIRST.with(|held| held.set(false)),
                Rank::Last => LAST.with(|held| held.set(false)),
            }
        }
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Mutex")
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// A condition variable: `wait(guard) -> guard`, and only `notify_all` (rule 2), with the lock held
/// (rule 6).
#[cfg(not(blockjob_loom))]
pub(crate) struct Condvar(backend::Condvar);

#[cfg(not(blockjob_loom))]
impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar(backend::Condvar::new())
    }

    /// Gives up the lock and waits in one step; the caller tests its condition again afterwards.
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        // One of eight (rule 9).
        #[cfg(blockjob_shuttle)]
        if shuttle::rand::Rng::gen_range(&mut shuttle::rand::thread_rng(), 0..8) == 0 {
            let mutex = guard.mutex;
            drop(guard);
            shuttle::thread::yield_now();
            return mutex.lock();
        }
        #[cfg(blockjob_shuttle)]
        let mutex = guard.mutex;
        let inner = self
            .0
            .wait(guard.inner)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        MutexGuard {
            inner,
            #[cfg(debug_assertions)]
            counted: guard.counted,
            #[cfg(blockjob_shuttle)]
            mutex,
        }
    }

    /// As [`wait`](Self::wait), but no longer than `timeout` (rule 3).
    #[cfg(not(any(blockjob_loom, blockjob_shuttle)))]
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: std::time::Duration,
    ) -> MutexGuard<'a, T> {
        let (inner, _) = self
            .0
            .wait_timeout(guard.inner, timeout)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        MutexGuard {
            inner,
            #[cfg(debug_assertions)]
            counted: guard.counted,
        }
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[cfg(blockjob_loom)]
pub(crate) use waiting::Condvar;

#[cfg(blockjob_loom)]
mod waiting {
    //! The condition variable under loom.
    //!
    //! loom's own one makes each notification and each wait a point of its own where another
    //! thread may be scheduled, and takes those two for racing although the lock orders them; one
    //! handshake costs a factor of several hundred executions that differ in nothing. Here the
    //! queue of waiters belongs to the lock: whoever waits holds it, whoever notifies holds it
    //! (rule 6, asserted), so the order of lock sections is the order of both, and that is what
    //! loom explores.

    use super::{Arc, MutexGuard, thread};
    use std::fmt;
    use std::sync::PoisonError;

    type Holder = Arc<std::sync::Mutex<Option<thread::ThreadId>>>;

    fn with<T, R>(cell: &std::sync::Mutex<T>, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut cell.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn take(holder: &Holder) {
        with(holder, |holder| *holder = Some(thread::current_id()));
    }

    impl<T> Drop for MutexGuard<'_, T> {
        fn drop(&mut self) {
            with(&self.mutex.holder, |holder| *holder = None);
        }
    }

    #[derive(Default)]
    pub(crate) struct Condvar {
        /// Who waits, and the lock that everybody here uses.
        queue: std::sync::Mutex<(Vec<loom::thread::Thread>, Option<Holder>)>,
    }

    impl Condvar {
        pub(crate) fn new() -> Condvar {
            Condvar::default()
        }

        pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            let mutex = guard.mutex;
            with(&self.queue, |(waiters, holder)| {
                waiters.push(loom::thread::current());
                *holder = Some(Arc::clone(&mutex.holder));
            });
            // loom schedules nobody between the two.
            drop(guard);
            loom::thread::park();
            mutex.lock()
        }

        pub(crate) fn notify_all(&self) {
            with(&self.queue, |(waiters, holder)| {
                if let Some(holder) = holder {
                    let held = with(holder, |holder| *holder == Some(thread::current_id()));
                    assert!(held, "notified without the lock that the waiters use");
                }
                for waiter in waiters.drain(..) {
                    waiter.unpark();
                }
            });
        }
    }

    impl fmt::Debug for Condvar {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("Condvar")
        }
    }
}

#[cfg(not(blockjob_loom))]
impl fmt::Debug for Condvar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Condvar")
    }
}

/// A value on cache lines of its own, so that writes to its neighbours do not slow its readers.
/// 128 bytes: two lines, because current processors fetch lines in pairs.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct CachePadded<T>(pub(crate) T);

impl<T> Deref for CachePadded<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// What [`Statistic`] counts with: std's in every build (rule 5).
mod counter {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

mod statistic;

pub(crate) use statistic::Statistic;

/// A number that this process has not had before, to tell things apart (rule 5: it orders nothing).
pub(crate) fn fresh_number() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// How the panic of an assertion begins that catches mistakes of the engine, not of a driver: nobody
/// takes that one for the driver's ([`catch_panic`]).
pub(crate) const OUR_MISTAKE: &str = "the engine broke its own rules: ";

/// Runs `body` and turns its panic into an error with the panic's words, unless it is the engine's
/// own ([`OUR_MISTAKE`]), which goes on. Only where threads are real: under the checkers a panic is
/// the finding itself and must reach them.
#[cfg(not(any(blockjob_loom, blockjob_shuttle)))]
pub(crate) fn catch_panic<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).map_err(|payload| {
        let words = match (
            payload.downcast_ref::<&str>(),
            payload.downcast_ref::<String>(),
        ) {
            (Some(words), _) => (*words).to_owned(),
            (None, Some(words)) => words.clone(),
            (None, None) => "no message".to_owned(),
        };
        if words.starts_with(OUR_MISTAKE) {
            std::panic::resume_unwind(payload);
        }
        // Not dropped: it is the driver's, and its drop may panic where nobody catches it.
        std::mem::forget(payload);
        words
    })
}

/// As above, for the checkers: nothing is caught.
#[cfg(any(blockjob_loom, blockjob_shuttle))]
#[allow(clippy::unnecessary_wraps)]
pub(crate) fn catch_panic<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    Ok(body())
}

#[cfg(all(test, debug_assertions, not(any(blockjob_loom, blockjob_shuttle))))]
mod tests {
    use super::*;

    /// Rule 7.
    #[test]
    fn other_peoples_code_is_not_called_with_a_lock_held() {
        assert_unlocked();
        for mutex in [Mutex::new(()), Mutex::first(())] {
            let guard = mutex.lock();
            std::panic::catch_unwind(assert_unlocked).expect_err("a lock is held");
            drop(guard);
            assert_unlocked();
        }
        let (first, last) = (Mutex::first(()), Mutex::new(()));
        let both = (first.lock(), last.lock());
        std::panic::catch_unwind(assert_unlocked).expect_err("two are held");
        drop(both);
    }

    #[test]
    fn every_thread_has_a_name_of_its_own() {
        let named = |name: &str| {
            let thread = thread::Builder::new().name(name.to_owned());
            thread
                .spawn(thread::label)
                .expect("a thread")
                .join()
                .expect("a label")
        };
        let (one, other) = (named("lane"), named("lane"));
        assert!(
            one.starts_with("lane-") && other.starts_with("lane-"),
            "{one}, {other}"
        );
        assert_ne!(one, other);
        assert_eq!(named("main"), "main");
    }
}
