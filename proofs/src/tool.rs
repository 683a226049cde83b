//! Which tool runs the threads of a harness: plain threads, loom or shuttle.
//!
//! The counterpart of the library's `sync.rs`: the rest of this crate is the same text in all three
//! builds. What a scenario records is no part of this: see [`crate::record`].

/// The tool this build runs under; `None` for plain threads, which check nothing but themselves.
pub const TOOL: Option<&str> = if cfg!(blockjob_loom) {
    Some("loom")
} else if cfg!(blockjob_shuttle) {
    Some("shuttle")
} else {
    None
};

/// Whether the tool lets a body miss what it has not synchronised with. shuttle runs every atomic
/// sequentially consistent; loom and real machines do not.
pub const WEAK_MEMORY: bool = !cfg!(blockjob_shuttle);

#[cfg(blockjob_loom)]
use loom as backend;
#[cfg(blockjob_shuttle)]
use shuttle as backend;
#[cfg(not(any(blockjob_loom, blockjob_shuttle)))]
use std as backend;

pub use backend::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
pub use backend::thread::{JoinHandle, ThreadId};

/// Starts a thread of the scenario.
pub fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    backend::thread::spawn(body)
}

/// The calling thread.
pub fn current_id() -> ThreadId {
    backend::thread::current().id()
}

/// Lets other threads go on.
pub fn yield_now() {
    backend::thread::yield_now();
}

/// Something that one thread waits for another to do.
#[derive(Default)]
pub struct Flag {
    is_set: backend::sync::Mutex<bool>,
    changed: backend::sync::Condvar,
}

impl Flag {
    /// Lets whoever waits go on, now and later.
    ///
    /// # Panics
    ///
    /// After a panic of another thread that had it.
    pub fn set(&self) {
        *self.is_set.lock().expect("nobody panics with it") = true;
        self.changed.notify_all();
    }

    /// Waits until it is set.
    ///
    /// # Panics
    ///
    /// As [`set`](Self::set).
    pub fn wait(&self) {
        let mut is_set = self.is_set.lock().expect("nobody panics with it");
        while !*is_set {
            is_set = self.changed.wait(is_set).expect("nobody panics with it");
        }
    }
}

/// A place where shuttle may let others go on, as they may while a callback runs. Locks let nobody in
/// between their release and what follows it, so what a thread does between two sections of its own would
/// otherwise happen at once. loom needs no such place, and threads have it everywhere.
pub fn meanwhile() {
    #[cfg(blockjob_shuttle)]
    AtomicBool::new(false).load(Ordering::SeqCst);
}
