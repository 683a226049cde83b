//! The threads that bodies ran on end with their manager.
//!
//! Goal: a program that makes managers and drops them has no more threads in the end. Method: the kernel's list
//! of this process's threads, looked at until nothing is left of them. Alone in its file: other tests' bodies
//! would be in the list.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::fs;
use std::thread::yield_now;

use blockjob::engine::{JobOptions, Manager, ManagerConfig};
use engine_support::idle;

/// How many threads of this process bodies run on.
fn bodies() -> usize {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    // One that has ended meanwhile has no name.
    let name = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("comm"));
    threads
        .filter_map(|thread| name(thread).ok())
        .filter(|name| name.trim() == "blockjob-body")
        .count()
}

#[test]
fn no_thread_outlives_its_manager() {
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    for id in ["a", "b"] {
        manager
            .create(JobOptions::new(id), idle("idle"))
            .unwrap()
            .start();
    }
    main_loop.run_until_idle();
    // They wait for another body.
    assert_ne!(bodies(), 0);
    drop((manager, main_loop));
    // A mistake here is a test that does not end: a thread may take its time.
    while bodies() != 0 {
        yield_now();
    }
}
