//! Work done by several threads, and taken in the order in which it was given out.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How much may be done and not yet taken, for each thread.
const AHEAD: usize = 16;

/// What the threads share.
struct Shared<T> {
    /// The next piece to be given out.
    next: usize,
    /// The next one to be taken.
    taken: usize,
    done: BTreeMap<usize, T>,
    /// A thread panicked; nobody waits for it.
    broken: bool,
}

/// Does `work` for each place below `count` on as many threads as there are processors, and hands what
/// comes of it to `take`, on the calling thread, in order.
pub fn each<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync, mut take: impl FnMut(T)) {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(count);
    if threads < 2 {
        (0..count).for_each(|place| take(work(place)));
        return;
    }
    let shared = Mutex::new(Shared {
        next: 0,
        taken: 0,
        done: BTreeMap::new(),
        broken: false,
    });
    let changed = Condvar::new();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _watch = Watch(&shared, &changed);
                loop {
                    let mut state = lock(&shared);
                    while !state.broken
                        && state.next < count
                        && state.next >= state.taken + AHEAD * threads
                    {
                        state = wait(&changed, state);
                    }
                    let place = state.next;
                    if place >= count || state.broken {
                        return;
                    }
                    state.next += 1;
                    drop(state);
                    let came = work(place);
                    lock(&shared).done.insert(place, came);
                    changed.notify_all();
                }
            });
        }
        let _watch = Watch(&shared, &changed);
        for place in 0..count {
            let mut state = lock(&shared);
            let came = loop {
                if let Some(came) = state.done.remove(&place) {
                    break came;
                }
                if state.broken {
                    return;
                }
                state = wait(&changed, state);
            };
            state.taken = place + 1;
            drop(state);
            changed.notify_all();
            take(came);
        }
    });
}

/// Tells that its thread panicked.
struct Watch<'a, T>(&'a Mutex<Shared<T>>, &'a Condvar);

impl<T> Drop for Watch<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            lock(self.0).broken = true;
            self.1.notify_all();
        }
    }
}

fn lock<T>(shared: &Mutex<Shared<T>>) -> MutexGuard<'_, Shared<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(changed: &Condvar, state: MutexGuard<'a, Shared<T>>) -> MutexGuard<'a, Shared<T>> {
    changed.wait(state).unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_taken_in_order_whoever_is_ready_first() {
        for count in [0, 1, 2, 1000] {
            let mut taken = Vec::new();
            let work = |place: usize| {
                // Every seventh takes longer than its neighbours.
                let turns = if place.is_multiple_of(7) { 50_000 } else { 10 };
                std::hint::black_box((0..turns).fold(place, |sum, turn| sum ^ turn));
                place
            };
            each(count, work, |place| taken.push(place));
            assert_eq!(taken, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_thread_that_panics_is_not_waited_for() {
        let result = std::panic::catch_unwind(|| {
            each(100, |place| assert!(place != 50, "this one"), |()| {});
        });
        result.unwrap_err();
        let result = std::panic::catch_unwind(|| {
            each(100, |place| place, |place| assert!(place != 3, "this one"));
        });
        result.unwrap_err();
    }
}
