//! What the engine answers when it does not do what was asked.

use std::error::Error;
use std::fmt;

use blockjob_model::Refusal;

use crate::driver::JobError;

/// Why a request was not carried out. Texts that QEMU has are QEMU's, to the letter (SEMANTICS.md
/// Appendix A).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineError {
    /// The job does not accept the request now. Nothing changed (P2).
    Refused {
        /// The job's id.
        id: String,
        /// Why.
        refusal: Refusal,
    },
    /// `finalize` was carried out and a member's `prepare` failed: the group aborted (decision 20).
    PrepareFailed {
        /// The id given to `finalize`.
        id: String,
        /// The error of the member that failed.
        error: JobError,
    },
    /// The id is not well formed: a letter, then letters, digits, `-`, `.`, `_`.
    InvalidId {
        /// The id.
        id: String,
    },
    /// A listed job has this id.
    DuplicateId {
        /// The id.
        id: String,
    },
    /// The transaction was aborted before it started; it takes no members any more.
    TransactionOver,
    /// The call would wait for the main loop on the main loop itself.
    WouldDeadlock,
    /// The main loop was dropped; nobody will carry the request out.
    MainLoopGone,
    /// The job was given up before it started; it has no outcome.
    NeverStarted {
        /// The job's id.
        id: String,
    },
}

impl EngineError {
    /// The QMP error class. Every error of the engine is `GenericError`: an unknown id in a
    /// `block-job-*` command, the one exception, is for the QMP layer to answer.
    pub fn class(&self) -> &'static str {
        match self {
            EngineError::Refused { refusal, .. } => refusal.class(false),
            _ => "GenericError",
        }
    }

    /// The refusal, if it is one that the specification knows.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            EngineError::Refused { refusal, .. } => Some(*refusal),
            EngineError::PrepareFailed { .. } => Some(Refusal::PrepareFailed),
            _ => None,
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::Refused { id, refusal } => formatter.write_str(&refusal.text(id, false)),
            EngineError::PrepareFailed { id, error } => write!(
                formatter,
                "{}: {error}",
                Refusal::PrepareFailed.text(id, false)
            ),
            EngineError::InvalidId { id } => write!(formatter, "Invalid job ID '{id}'"),
            EngineError::DuplicateId { id } => {
                write!(formatter, "Job ID '{id}' already in use")
            }
            EngineError::TransactionOver => {
                formatter.write_str("the transaction was aborted before it started")
            }
            EngineError::WouldDeadlock => formatter.write_str(
                "the call would wait for the main loop on the main loop itself; \
                 make it from another thread, or after the callback has returned",
            ),
            EngineError::MainLoopGone => {
                formatter.write_str("the main loop was dropped; nobody carries requests out")
            }
            EngineError::NeverStarted { id } => {
                write!(formatter, "Job '{id}' was given up before it started")
            }
        }
    }
}

impl Error for EngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            EngineError::PrepareFailed { error, .. } => Some(error),
            _ => None,
        }
    }
}
