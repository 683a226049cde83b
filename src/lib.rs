//! A formally checked reference implementation of the block-job lifecycle.
//!
//! A *job* is long work on storage (copy, mirror, commit) that can be paused, resumed, cancelled,
//! completed, and tied to others in a *transaction*: all of them commit or all of them abort. This
//! crate runs such jobs. What it does is what `blockjob-model` allows, and the crate
//! `blockjob-proofs` checks that under every interleaving within its bounds.
//!
//! ```
//! use blockjob::driver::{Driver, Flow, JobError, RunContext};
//! use blockjob::engine::{JobOptions, Manager, ManagerConfig};
//!
//! struct Count;
//!
//! impl Driver for Count {
//!     fn job_type(&self) -> &'static str {
//!         "count"
//!     }
//!     fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
//!         context.progress().set_remaining(10);
//!         for _ in 0..10 {
//!             if context.pause_point() == Flow::Cancelled {
//!                 break;
//!             }
//!             context.progress().advance(1);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
//! let job = manager.create(JobOptions::new("j0"), Count)?.start();
//! main_loop.run_until_idle();
//! assert_eq!(job.outcome(), Some(Ok(())));
//! # Ok::<(), blockjob::engine::EngineError>(())
//! ```

#[cfg(feature = "cli")]
pub mod conform;
pub mod copy;
pub mod driver;
pub mod engine;
pub mod io;
pub mod mirror;
#[cfg(feature = "cli")]
pub mod oracle;
#[cfg(feature = "cli")]
pub mod qmp;
#[cfg(feature = "cli")]
pub mod report;
mod sync;
pub mod trace;
#[cfg(feature = "cli")]
pub mod vectors;

pub use blockjob_model as model;

/// The examples of the README are examples of this crate.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
