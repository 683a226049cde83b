//! Goal: what a client is told is what QEMU tells it, to the letter.
//!
//! Method: the same bytes go to `blockjob serve` and to a live `qemu-storage-daemon` 10.0 (`BLOCKJOB_QEMU`, which
//! `cargo xtask test` sets where there is one; else these tests say that they were skipped), and what comes back is
//! compared: JSON and what is none, at random as well; refusals of every kind; jobs, with their events less the pauses
//! with which QEMU drains a job it has nothing to do with (SEMANTICS.md §7.2). What is different on purpose is in
//! docs/serve.md, and not asked for here. A file of `serve_beside` for each concept; `both.rs` has the two and what is
//! compared.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]
// Arguments are written where they are sent.
#![allow(clippy::needless_pass_by_value)]

mod serve_beside;
mod serve_support;
