//! Why engine and specification agree: harnesses under loom and shuttle, judged by the
//! specification's acceptor.
//!
//! | module | concept |
//! |---|---|
//! | [`tool`] | plain threads, loom or shuttle |
//! | [`record`] | what one execution did, written down outside the tools' sight |
//! | [`actor`] | the driver that follows a script and records what it sees |
//! | [`ask`] | what threads and callbacks ask of jobs, and how that is made and recorded |
//! | [`scenario`] | jobs, groups, controllers, and how they are played |
//! | [`lockfree`] | the same for what the engine does without its lock |
//! | [`following`] | the same for what a mirror does without it, and its switch-over |
//! | [`asleep`] | the same for a pause of who sleeps or waits |
//! | [`moments`] | the same for what has to hold at a moment that no history shows |
//! | [`departure`] | the main loop goes away in the middle |
//! | [`counters`] | the counters of progress, whose text is the engine's |
//! | [`programs`] | every program up to a length, counted and numbered |
//! | [`sequence`] | the same with nothing at the same time |
//! | [`generate`] | worlds at random, for shuttle |
//! | [`sample`] | playing them, and what is done with one that fails |
//! | [`schedule`] | a schedule as text: recorded, followed, made shorter |
//! | [`world`] | a world as text, to be replayed |
//! | [`shrink`] | a smaller world that fails in the same way |
//! | [`judge`] | the acceptor, one record after the other |
//! | [`obligations`] | what must be true when an execution is over |
//! | [`harness`] | the list: names, bounds, claims |
//! | [`story`] | the one execution that failed, for people: a table, a page, how to see it again |
//! | [`explore`] | running one harness under the tool of this build |
//!
//! What is claimed, and what the tools leave out, stands in `proofs/README.md`. `cargo xtask prove`
//! builds this crate once for each tool and runs the list. A build without `--cfg blockjob_loom` or
//! `--cfg blockjob_shuttle` plays every scenario on plain threads, which checks no interleaving but
//! the one that happens, and its binary refuses to call that a check.

pub mod actor;
pub mod ask;
pub mod asleep;
pub mod counters;
pub mod departure;
pub mod explore;
pub mod following;
pub mod generate;
pub mod harness;
pub mod judge;
pub mod lockfree;
pub mod moments;
pub mod obligations;
pub mod programs;
pub mod record;
pub mod sample;
pub mod scenario;
pub mod schedule;
pub mod sequence;
pub mod shrink;
pub mod story;
pub mod tool;
pub mod world;

use counters::sync;
