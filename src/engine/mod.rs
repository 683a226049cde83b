//! The engine: jobs, their bodies, the main loop, and the protocol between them.
//!
//! | file | concept |
//! |---|---|
//! | `monitor` | the lock, what it protects, the steps that change it |
//! | `control` | the control word: "nothing to do" in one load |
//! | `body` | the worker's side: begin, pause point, sleep, ready, end |
//! | `context`, `io_error` | what a running driver holds, and what it does about I/O errors |
//! | `gate` | the other workers of a job, as I/O in flight |
//! | [`stage`] | the lifecycle as types |
//! | `verbs` | what users ask |
//! | `main_loop` | tasks, one after the other |
//! | `finalize` | exit, decision, commit, abort |
//! | `identity`, `resource` | what a job is called, what it holds |
//! | `transaction`, `manager`, `handle`, `query` | the public faces |
//! | `timer`, [`rate`], `progress` | time, speed, bytes |
//! | `executor` | contexts: threads for bodies |
//! | `drain` | jobs kept quiet, and moved |
//! | `ledger` | what each driver was called for, asserted |
//! | `assertions` | what the types promise about threads, copies and sizes |
//!
//! # Protocol
//!
//! Three parties move a job: its **body** (one worker thread), the **main loop** (one thread per
//! manager), and **callers** (any thread). They meet in the monitor.
//!
//! 1. One lock per manager; every field of a job is read and written with it held, except what
//!    `monitor` lists as shared. A step under the lock is small, total, and does not block.
//! 2. The lock is never held across a driver callback (P28), which is asserted. What was read before
//!    a callback is read again after it.
//! 3. A status changes in one function, which asserts the transition table and records the change
//!    before the lock is given up (P1). Events are recorded in the section that makes them true.
//! 4. Whoever may take the next step of the lifecycle owns the stage token: creator, then body,
//!    then main loop. Everybody else sets flags (P8…P12).
//! 5. The control word repeats the flags that a body acts on; it is written under the lock, read
//!    without (P23).
//! 6. Whoever waits tests and waits in one section, and whoever changes what is waited for does so
//!    under the same lock and wakes everybody (P20, P25). There is no wake without a change and no
//!    wait without a test in a loop.
//! 7. Only a resume to zero or a forced cancel ends a pause (decision 7); a pause point is a loop.
//! 8. Levels of a cancel only rise (P6). A forced one before the exit folds into the result (P24).
//! 9. The end of the run is the body's last step (P22): it drops the pauses that nobody can honour
//!    any more and hands the token to the main loop. From then on the job answers as in `waiting`
//!    (decisions 18, 40).
//! 10. The main loop carries out one task at a time and does not nest; a verb from inside a callback
//!     of the main loop is posted: judged at once, carried out as a task of its own later, and not
//!     waited for (decisions 22, 23).
//!
//! # Locks
//!
//! The monitor's lock is taken first. Beneath it only the limiter's is taken (set-speed). A gate's
//! lock and the pool's are taken with no other lock held.

#[cfg(test)]
mod assertions;
pub(crate) mod body;
pub(crate) mod context;
mod control;
mod drain;
pub(crate) mod error;
mod executor;
mod finalize;
pub(crate) mod gate;
pub(crate) mod handle;
mod identity;
pub(crate) mod io_error;
mod ledger;
pub(crate) mod main_loop;
pub(crate) mod manager;
mod monitor;
pub(crate) mod progress;
pub(crate) mod query;
pub mod rate;
pub(crate) mod resource;
pub mod stage;
mod timer;
pub(crate) mod transaction;
mod verbs;

pub use context::{Finish, Flow, IoPermit, RunContext};
pub use drain::DrainedSection;
pub use error::EngineError;
pub use executor::Context;
pub use gate::{LaneGate, LanePermit};
pub use handle::{CancelMode, Decision, JobHandle};
pub use io_error::{AfterError, IoSide, Retries};
pub use main_loop::MainLoop;
pub use manager::{JobOptions, Manager, ManagerConfig, PauseAllToken};
pub use progress::Progress;
pub use query::{JobInfo, QueriedBlockJob, QueriedJob};
pub use resource::{HeldResource, Resource};
pub use transaction::{CompletionMode, CreatedJob, Transaction};
pub(crate) use verbs::{Accepted, Request};
