//! Identity and kind: how a job is called, and who gets to hear of it (SEMANTICS.md §2.1).
//!
//! | kind | id | events | listed, queried | `block-job-*` |
//! |---|---|---|---|---|
//! | block job | required, or the name of its first resource | all | yes | yes |
//! | other job ([`JobOptions::block_job`](super::manager::JobOptions::block_job) `false`) | required | status only | yes | not found |
//! | internal job ([`JobOptions::internal`](super::manager::JobOptions::internal)) | none | none | no | no |
//!
//! An internal job still has a name, by which traces and the messages of its own handle call it:
//! `#internal1`, which is no well-formed id, so that it meets no other. It has no user: QEMU asserts
//! that nobody completes, finalizes or dismisses it; here that is answered with `Job not found`, and it
//! cannot be created so that it would wait for a user at its end.

use blockjob_model::identity::is_well_formed;

use super::error::EngineError;

/// What a job is to everybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// It belongs to the implementation, and nobody outside hears of it.
    pub(super) internal: bool,
    /// The `block-job-*` commands see it, and it has `BLOCK_JOB_*` events.
    pub(super) block: bool,
}

impl Kind {
    /// Whether it has events beside its statuses (§7.1).
    pub(super) fn announces(self) -> bool {
        self.block && !self.internal
    }
}

/// The id of a new job, as far as it may have it; `None` for an internal job. The checks stand in
/// QEMU's order, because the order decides which text the caller reads (decision 33).
///
/// `default` is what a block job without an id is called instead: the name of its first resource,
/// empty or not.
pub(super) fn identify(
    kind: Kind,
    id: Option<String>,
    default: Option<&str>,
    in_use: impl FnOnce(&str) -> bool,
) -> Result<Option<String>, EngineError> {
    let default = default.filter(|_| kind.block && !kind.internal);
    match id.or_else(|| default.map(str::to_owned)) {
        Some(id) if kind.internal => Err(EngineError::IdOfInternalJob { id }),
        Some(id) if !is_well_formed(&id) => Err(EngineError::InvalidId { id }),
        Some(id) if in_use(&id) => Err(EngineError::DuplicateId { id }),
        Some(id) => Ok(Some(id)),
        None if kind.internal => Ok(None),
        None => Err(EngineError::IdRequired),
    }
}

/// What an internal job is called where it has to be called something.
pub(super) fn internal_name(number: u64) -> String {
    format!("#internal{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: Kind = Kind {
        internal: false,
        block: true,
    };
    const OTHER: Kind = Kind {
        internal: false,
        block: false,
    };
    const INTERNAL: Kind = Kind {
        internal: true,
        block: true,
    };

    fn answer(kind: Kind, id: Option<&str>, default: Option<&str>) -> Result<String, String> {
        identify(kind, id.map(str::to_owned), default, |id| {
            id.ends_with("taken")
        })
        .map(Option::unwrap_or_default)
        .map_err(|error| error.to_string())
    }

    fn refused(text: &str) -> Result<String, String> {
        Err(text.to_owned())
    }

    #[test]
    fn an_internal_name_meets_no_id() {
        assert!(!is_well_formed(&internal_name(1)));
    }

    #[test]
    fn the_first_check_that_fails_is_the_answer() {
        for id in ["fine", "taken", "0id"] {
            assert_eq!(
                answer(INTERNAL, Some(id), None),
                refused("Cannot specify job ID for internal job")
            );
        }
        assert_eq!(
            answer(BLOCK, Some("0id"), None),
            refused("Invalid job ID '0id'")
        );
        assert_eq!(
            answer(BLOCK, Some("taken"), Some("disk")),
            refused("Job ID 'taken' already in use")
        );
        assert_eq!(
            answer(BLOCK, Some("0taken"), None),
            refused("Invalid job ID '0taken'")
        );
        assert_eq!(answer(BLOCK, Some("j0"), Some("disk")), Ok("j0".to_owned()));
        assert_eq!(answer(INTERNAL, None, None), Ok(String::new()));
    }

    #[test]
    fn a_block_job_without_an_id_is_called_by_its_first_resource() {
        let required = "An explicit job ID is required";
        assert_eq!(answer(BLOCK, None, Some("disk")), Ok("disk".to_owned()));
        assert_eq!(answer(BLOCK, None, Some("")), refused("Invalid job ID ''"));
        assert_eq!(
            answer(BLOCK, None, Some("taken")),
            refused("Job ID 'taken' already in use")
        );
        assert_eq!(answer(BLOCK, None, None), refused(required));
        assert_eq!(answer(OTHER, None, Some("disk")), refused(required));
        assert_eq!(answer(INTERNAL, None, Some("disk")), Ok(String::new()));
    }
}
