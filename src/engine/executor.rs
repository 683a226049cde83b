//! Where bodies run: contexts, each with a bounded pool of threads that grows on demand.
//!
//! A context is what QEMU's `AioContext` is to a job (SEMANTICS.md §4.8): the threads that work for
//! it. A job has one at a time, the manager's own unless it is told otherwise, and changes it only in a
//! drained section that keeps it quiet. Until its body has a thread it really moves; a body that has one
//! keeps it to its end, and what moves is what the driver has elsewhere, such as its lanes, for which
//! it is told.
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

use crate::sync::{Arc, Condvar, Mutex, REAL_TIME, fresh_number, thread};

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

/// Threads with a name, for the bodies of jobs. Cheap to clone; clones are the same context. Its threads end
/// with the last of them, busy ones with their body.
#[derive(Clone)]
#[doc(alias = "AioContext")]
pub struct Context(Arc<Inner>);

struct Inner {
    name: String,
    /// Tells contexts apart, also those that are gone.
    number: u64,
    executor: Executor,
}

impl Context {
    /// A context in which at most `bodies_max` bodies (at least one) run at a time, each on a thread of
    /// its own; jobs beyond that wait in `running`.
    pub fn new(name: impl Into<String>, bodies_max: usize) -> Context {
        Context(Arc::new(Inner {
            name: name.into(),
            number: fresh_number(),
            executor: Executor::new(bodies_max),
        }))
    }

    /// Its name, for people; two contexts may have the same.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What tells it from every other context.
    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    /// Runs `body` as soon as there is a thread for it. Not called with the monitor's lock held.
    pub(super) fn spawn(&self, body: impl FnOnce() + Send + 'static) {
        self.0.executor.spawn(body);
    }
}

impl PartialEq for Context {
    fn eq(&self, other: &Context) -> bool {
        self.0.number == other.0.number
    }
}

impl Eq for Context {}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Context")
            .field(&self.name())
            .finish()
    }
}

/// Runs bodies.
struct Executor {
    pool: Arc<Pool>,
}

impl Executor {
    fn new(threads_max: usize) -> Executor {
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

    fn spawn(&self, body: impl FnOnce() + Send + 'static) {
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

#[cfg(all(test, not(any(blockjob_loom, blockjob_shuttle))))]
mod tests {
    use std::sync::{Arc, Barrier};

    use super::Executor;

    #[test]
    fn as_many_bodies_as_there_may_be_threads_run_side_by_side() {
        let executor = Executor::new(8);
        // Each round needs a thread more than the one before it, and finds the others idle, or on their way
        // there: who counts them wrong leaves a body without one, and nobody gets past the barrier.
        for bodies in 1..=8 {
            let together = Arc::new(Barrier::new(bodies + 1));
            for _ in 0..bodies {
                let together = Arc::clone(&together);
                executor.spawn(move || {
                    together.wait();
                });
            }
            together.wait();
        }
    }
}
