//! The same thing done of each of many, by all processors: opening files and making them takes as long as copying them
//! where they are small.

use super::work::lock;
use std::sync::Mutex;
use std::thread::ScopedJoinHandle;

/// Fewer are not worth a thread.
const EACH_MIN: usize = 64;

/// Does `work` of each of `things`, each thread with a `state` of its own; the answers in their order. Of several errors
/// the first one in that order, and what was done of the others is dropped.
///
/// Each thread takes neighbours: what those have in common is found once.
pub(super) fn try_each<T: Send, S, R: Send, E: Send>(
    things: Vec<T>,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(things.len() / EACH_MIN).max(1);
    try_each_by(threads, things, state, work)
}

fn try_each_by<T: Send, S, R: Send, E: Send>(
    threads: usize,
    things: Vec<T>,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let all = |things: Vec<T>| {
        let mut state = state();
        let answers = things.into_iter().map(|thing| work(&mut state, thing));
        answers.collect::<Result<Vec<R>, E>>()
    };
    if threads <= 1 {
        return all(things);
    }
    let each = things.len().div_ceil(threads);
    let mut rest = things.into_iter();
    let mut parts = Vec::with_capacity(threads);
    loop {
        let part: Vec<T> = rest.by_ref().take(each).collect();
        if part.is_empty() {
            break;
        }
        // Whoever takes it first: a thread, or, where there is no room for one, this one.
        parts.push(Mutex::new(Some(part)));
    }
    let take = |part: &Mutex<Option<Vec<T>>>| lock(part).take().map(&all);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = parts
            .iter()
            .skip(1)
            .map(|part| {
                let builder = std::thread::Builder::new().name("copy-plan".to_owned());
                builder.spawn_scoped(scope, || take(part)).ok()
            })
            .collect();
        let first = parts.first().and_then(take);
        let others = handles.into_iter().zip(parts.iter().skip(1));
        let others = others.map(|(handle, part)| match handle.map(ScopedJoinHandle::join) {
            Some(Ok(answer)) => answer,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => take(part),
        });
        std::iter::once(first).chain(others).collect()
    });
    let mut done = Vec::new();
    for answer in answers.into_iter().flatten() {
        done.extend(answer?);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn answers_come_in_order_and_each_thread_has_one_state() {
        for (threads, count) in [(1, 10), (3, 10), (4, 10), (7, 7), (8, 7), (2, 0)] {
            let states = AtomicUsize::new(0);
            let answers = try_each_by(
                threads,
                (0..count).collect(),
                || states.fetch_add(1, Ordering::Relaxed),
                |_, thing: usize| Ok::<_, ()>(thing * thing),
            );
            let expected: Vec<_> = (0..count).map(|thing| thing * thing).collect();
            assert_eq!(answers, Ok(expected));
            assert!(states.into_inner() <= threads);
        }
    }

    #[test]
    fn of_several_errors_the_first_is_told_and_nothing_is_kept() {
        struct Kept<'a>(&'a AtomicUsize);
        impl Drop for Kept<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        for threads in [1, 2, 5] {
            let kept = AtomicUsize::new(0);
            let answers = try_each_by(
                threads,
                (0..20).collect(),
                || (),
                |(), thing: usize| {
                    if thing % 7 == 3 {
                        return Err(thing);
                    }
                    kept.fetch_add(1, Ordering::Relaxed);
                    Ok(Kept(&kept))
                },
            );
            assert_eq!(answers.map(|kept| kept.len()), Err(3));
            assert_eq!(kept.into_inner(), 0);
        }
    }
}
