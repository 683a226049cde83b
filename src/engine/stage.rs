//! The lifecycle as types: each stage of a job is a token whose methods consume it.
//!
//! ```text
//!               early_fail
//!   Created ───────────────▶ (gone)
//!   │     │ cancel
//!   │     └──────────────────────────────▶ Failing ── abort ──▶ Aborted ─┐
//!   │ start                                 ▲    ▲                       │ clean
//!   ▼            ready                 fail │    │ fail                  ▼
//!   Running ─────────────▶ Ready            │    │                    Cleaned
//!   │ end                  │ end            │    │                       ▲
//!   └───────▶ Ended ◀──────┘                │    │                       │ clean
//!               │ ── fold ──▶ Succeeded ────┘    │                       │
//!               │                │ prepare       │                       │
//!               │                └──▶ Prepared ──┴── commit ──▶ Committed┘
//!               └── fold (the run failed, or was cancelled) ──▶ Failing
//! ```
//!
//! There is no other way to call a driver's `prepare`, `commit`, `abort` or `clean`, and no token
//! can be copied or made outside this file, so the compiler keeps these properties of SEMANTICS.md
//! §10 for every driver and every schedule:
//!
//! - commit and abort exclude each other, and neither happens twice (P8);
//! - commit follows a run and a prepare that succeeded (P9, P11, P12 for the member itself);
//! - clean happens exactly once, after commit or abort (P10); a [`Cleaned`] is the only thing that
//!   can be concluded, so it cannot be skipped;
//! - `run` is entered at most once: it needs a [`Running`], which only `start` makes (P17).
//!
//! A token belongs to whoever may take the next step: the creator, then the body, then the main
//! loop. Requests of others are flags in the monitor, never tokens.

use crate::driver::{Driver, Errno, JobError, JobOutcome};
use crate::sync::catch_panic;

/// Created and not started: the creator's, or the main loop's once the group aborts.
#[derive(Debug)]
#[must_use]
pub struct Created(());

/// Started: the body's, or its queue's.
#[derive(Debug)]
#[must_use]
pub struct Running(());

/// Converged and kept so until told how to finish: the body's.
#[derive(Debug)]
#[must_use]
pub struct Ready(());

/// The run is over; its result has not been judged yet. The main loop's from here on.
#[derive(Debug)]
#[must_use]
pub struct Ended {
    result: JobOutcome,
}

/// The run succeeded and nobody cancelled it.
#[derive(Debug)]
#[must_use]
pub struct Succeeded(());

/// This member's part of the last fallible step is done.
#[derive(Debug)]
#[must_use]
pub struct Prepared(());

/// The job will be aborted, with this error.
#[derive(Debug)]
#[must_use]
pub struct Failing {
    error: JobError,
}

/// The result is permanent.
#[derive(Debug)]
#[must_use]
pub struct Committed(());

/// The result is undone.
#[derive(Debug)]
#[must_use]
pub struct Aborted {
    error: JobError,
}

/// Everything is released; only the announcement is left.
#[derive(Debug)]
#[must_use]
pub struct Cleaned {
    outcome: JobOutcome,
}

impl Created {
    pub(super) fn new() -> Created {
        Created(())
    }

    /// The job starts: its body may run it.
    pub fn start(self) -> Running {
        Running(())
    }

    /// The job is cancelled before it started; it never runs.
    pub fn cancel(self) -> Failing {
        Failing {
            error: JobError::canceled(),
        }
    }

    /// The creator gives the job up; no callback is called.
    pub fn early_fail(self) {}
}

impl Running {
    /// The job converged.
    pub fn ready(self) -> Ready {
        Ready(())
    }

    /// The run returned `result`.
    pub fn end(self, result: JobOutcome) -> Ended {
        Ended { result }
    }
}

impl Ready {
    /// The run returned `result`.
    pub fn end(self, result: JobOutcome) -> Ended {
        Ended { result }
    }
}

impl Ended {
    /// Judges the run. Success of a force-cancelled job counts as `ECANCELED`; an error is kept
    /// as it is (SEMANTICS.md §5.3, decision 3).
    ///
    /// # Errors
    ///
    /// The failure, when the run failed or was cancelled.
    pub fn fold(self, force_cancelled: bool) -> Result<Succeeded, Failing> {
        match self.result {
            Ok(()) if force_cancelled => Err(Failing {
                error: JobError::canceled(),
            }),
            Ok(()) => Ok(Succeeded(())),
            Err(error) => Err(Failing { error }),
        }
    }
}

impl Succeeded {
    /// Calls the driver's `prepare`. Main loop, without the lock.
    ///
    /// # Errors
    ///
    /// The failure, with the driver's error.
    pub fn prepare(self, driver: &dyn Driver) -> Result<Prepared, Failing> {
        match catch_panic(|| driver.prepare()) {
            Ok(Ok(())) => Ok(Prepared(())),
            Ok(Err(error)) => Err(Failing { error }),
            Err(words) => Err(Failing {
                error: panicked("prepare", &words),
            }),
        }
    }

    /// The group aborts.
    pub fn fail(self) -> Failing {
        Failing {
            error: JobError::canceled(),
        }
    }
}

impl Prepared {
    /// Calls the driver's `commit`. Main loop, without the lock.
    pub fn commit(self, driver: &dyn Driver) -> Committed {
        infallible("commit", || driver.commit());
        Committed(())
    }

    /// The group aborts although this member has prepared.
    pub fn fail(self) -> Failing {
        Failing {
            error: JobError::canceled(),
        }
    }
}

impl Failing {
    /// Why.
    pub fn error(&self) -> &JobError {
        &self.error
    }

    /// Calls the driver's `abort`. Main loop, without the lock.
    pub fn abort(self, driver: &dyn Driver) -> Aborted {
        infallible("abort", || driver.abort());
        Aborted { error: self.error }
    }
}

impl Committed {
    /// Calls the driver's `clean`. Main loop, without the lock.
    pub fn clean(self, driver: &dyn Driver) -> Cleaned {
        infallible("clean", || driver.clean());
        Cleaned { outcome: Ok(()) }
    }
}

impl Aborted {
    /// Calls the driver's `clean`. Main loop, without the lock.
    pub fn clean(self, driver: &dyn Driver) -> Cleaned {
        infallible("clean", || driver.clean());
        Cleaned {
            outcome: Err(self.error),
        }
    }
}

impl Cleaned {
    /// How the job ended; for the completion function.
    pub fn outcome(&self) -> &JobOutcome {
        &self.outcome
    }

    /// The job is over.
    pub fn conclude(self) -> JobOutcome {
        self.outcome
    }
}

/// Calls a callback that has no way to fail. One that panics has broken its word; the other
/// members of the group still get theirs.
pub(super) fn infallible(name: &'static str, callback: impl FnOnce()) {
    if let Err(words) = catch_panic(callback) {
        tracing::error!(callback = name, %words, "a driver callback that cannot fail panicked");
    }
}

/// What a panic in a fallible callback amounts to.
pub(super) fn panicked(name: &str, words: &str) -> JobError {
    JobError::with_message(Errno::IO, format!("the driver panicked in {name}: {words}"))
}

/// Where a job's token is: the enum outside the types.
#[derive(Debug)]
pub(super) enum Stage {
    /// With nobody: waits for its creator.
    Created(Created),
    /// Started; no body thread has picked it up.
    Queued(Running),
    /// On the stack of the body thread.
    WithBody,
    /// The run is over; the main loop has not looked.
    Ended(Ended),
    /// The run succeeded; the group is not decided.
    Succeeded(Succeeded),
    /// Prepared; other members are not.
    Prepared(Prepared),
    /// Waits for its turn in the abort.
    Failing(Failing),
    /// On the stack of the main loop, which is calling callbacks.
    WithMainLoop,
    /// Concluded: no step is left.
    Over,
}

impl Stage {
    /// Takes the token out for the main loop.
    pub(super) fn take(&mut self) -> Stage {
        std::mem::replace(self, Stage::WithMainLoop)
    }

    /// Takes the token of a queued body, if that is where it is.
    pub(super) fn take_queued(&mut self) -> Option<Running> {
        match std::mem::replace(self, Stage::WithBody) {
            Stage::Queued(token) => Some(token),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Takes the token of an unstarted job, if that is where it is.
    pub(super) fn take_created(&mut self) -> Option<Created> {
        match std::mem::replace(self, Stage::WithMainLoop) {
            Stage::Created(token) => Some(token),
            other => {
                *self = other;
                None
            }
        }
    }
}
