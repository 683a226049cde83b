//! What the engine answers when it does not do what was asked.
//!
//! The texts are those of QEMU today (SEMANTICS.md Appendix A, which a test walks through). Where older
//! releases say it otherwise:
//!
//! | here | older |
//! |---|---|
//! | `An explicit job ID is required` | to 2.12 `An explicit job ID is required for this node` |
//! | `Cannot specify job ID for internal job` | to 2.12 `Cannot specify job ID for internal block job` |
//! | `Parameter 'speed' expects a non-negative value` | to 4.2 `Invalid parameter 'speed'` |
//! | `Node '%s' is busy: …` | to 2.12 `Device '%s' is in use`, also where claims would get along ([`Sharing::OneJob`](blockjob_model::resource::Sharing::OneJob)) |
//! | `Job is already paused`, `Can't resume a job that was not paused` | to 2.11 nothing: success |
//! | a driver without `set_speed` has none to call | to 2.11 `this feature or command is not currently supported` |

use std::error::Error;
use std::fmt;

use blockjob_model::Refusal;
use blockjob_model::resource::Conflict;

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
    /// The job has no id, is not internal, and has no resource to be called by.
    IdRequired,
    /// The job is internal and has an id all the same.
    IdOfInternalJob {
        /// The id.
        id: String,
    },
    /// The job is internal and waits for its user at the end, whom it does not have.
    ManualInternalJob,
    /// The job is internal; queries do not show it.
    InternalJob,
    /// No block job has this id (any more): the answer of the `block-job-*` commands, which do not see
    /// other jobs.
    BlockJobNotFound {
        /// The id.
        id: String,
    },
    /// Another job holds what this one wants.
    ResourceTaken {
        /// The resource's name.
        name: String,
        /// In what way.
        conflict: Conflict,
    },
    /// The transaction was aborted before it started; it takes no members any more.
    TransactionOver,
    /// The call would wait for its own thread: it waits for the main loop on the main loop itself, or
    /// for a job in that job's own body.
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
    /// The QMP error class: `GenericError`, and `DeviceNotActive` for an unknown block job.
    pub fn class(&self) -> &'static str {
        let block_job = matches!(self, EngineError::BlockJobNotFound { .. });
        self.refusal()
            .map_or("GenericError", |refusal| refusal.class(block_job))
    }

    /// The refusal, if it is one that the specification knows.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            EngineError::Refused { refusal, .. } => Some(*refusal),
            EngineError::PrepareFailed { .. } => Some(Refusal::PrepareFailed),
            EngineError::BlockJobNotFound { .. } => Some(Refusal::NotFound),
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
            EngineError::IdRequired => formatter.write_str("An explicit job ID is required"),
            EngineError::IdOfInternalJob { .. } => {
                formatter.write_str("Cannot specify job ID for internal job")
            }
            EngineError::ManualInternalJob => formatter.write_str(
                "An internal job has no user who could finalize or dismiss it; \
                 create it without manual-finalize and manual-dismiss",
            ),
            EngineError::InternalJob => formatter.write_str("Cannot query QEMU internal jobs"),
            EngineError::BlockJobNotFound { id } => {
                formatter.write_str(&Refusal::NotFound.text(id, true))
            }
            EngineError::ResourceTaken { name, conflict } => {
                formatter.write_str(&conflict.text(name))
            }
            EngineError::TransactionOver => {
                formatter.write_str("the transaction was aborted before it started")
            }
            EngineError::WouldDeadlock => formatter.write_str(
                "the call would wait for its own thread, which is the main loop or the job's \
                 body; make it from another thread",
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
