//! Where bodies run: a bounded pool of threads that grows on demand.
//!
//! A started job is *queued* until a thread picks it up. A thread is taken for as long as the body
//! lives, parked or not, so the bound is the number of bodies at a time; jobs beyond it stay
//! `running` without running. A forced cancel ends a queued body without a thread (decision 24),
//! so a full pool cannot keep a group from aborting (P42).
//!
//! Under loom and shuttle each body is a thread of its own.

use std::collections::VecDeque;
use std::fmt;
use std::io;

use crate::sync::{Arc, Condvar, Mutex, REAL_TIME, thread};

type Body = Box<dyn FnOnce() + Send>;

struct Queue {
    bodies: VecDeque<Body>,
    idle: usize,
    threads: usize,
    closed: bool,
}

struct Pool {
    queue: Mutex<Queue>,
    changed: Condvar,
    threads_max: usize,
}

/// Runs bodies.
pub(super) struct Executor {
    pool: Arc<Pool>,
}

impl Executor {
    pub(super) fn new(threads_max: usize) -> Executor {
        Executor {
            pool: Arc::new(Pool {
                queue: Mutex::new(Queue {
                    bodies: VecDeque::new(),
                    idle: 0,
                    threads: 0,
                    closed: false,
                }),
                changed: Condvar::new(),
                threads_max: threads_max.max(1),
            }),
        }
    }

    /// Runs `body` as soon as there is a thread for it. Not called with the monitor's lock held.
    pub(super) fn spawn(&self, body: impl FnOnce() + Send + 'static) {
        if !REAL_TIME {
            spawn_thread(body).expect("the checkers refuse no thread below their own limit");
            return;
        }
        let mut queue = self.pool.queue.lock();
        queue.bodies.push_back(Box::new(body));
        if queue.idle >= queue.bodies.len() || queue.threads >= self.pool.threads_max {
            self.pool.changed.notify_all();
            return;
        }
        let pool = Arc::clone(&self.pool);
        match spawn_thread(move || pool.work()) {
            Ok(()) => queue.threads += 1,
            // The body stays queued for the threads there are; without any, it waits for the
            // next start to try again, and a cancel can still end it.
            Err(error) => tracing::error!(%error, "no thread for a job's body"),
        }
    }
}

fn spawn_thread(body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name("blockjob-body".to_owned())
        .spawn(body)
        .map(drop)
}

impl Pool {
    fn work(&self) {
        let mut queue = self.queue.lock();
        loop {
            if let Some(body) = queue.bodies.pop_front() {
                drop(queue);
                body();
                queue = self.queue.lock();
            } else if queue.closed {
                queue.threads -= 1;
                return;
            } else {
                queue.idle += 1;
                queue = self.changed.wait(queue);
                queue.idle -= 1;
            }
        }
    }
}

impl Drop for Executor {
    /// Idle threads end; busy ones end with their body.
    fn drop(&mut self) {
        if REAL_TIME {
            self.pool.queue.lock().closed = true;
            self.pool.changed.notify_all();
        }
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Executor").finish_non_exhaustive()
    }
}
