//! Error replies read back: which refusal of the engine a text is (SEMANTICS.md Appendix A).

use blockjob_model::{Refusal, Status, Verb};

/// What an error reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// A refusal of the engine, and the id its text names, where it names one.
    Refusal(Refusal, Option<&'a str>),
    /// An argument is missing.
    Missing(&'a str),
    /// An argument is of the wrong type, or not known.
    Unfit(&'a str),
    /// The id is taken.
    IdInUse(&'a str),
    /// The id is not well formed.
    InvalidId(&'a str),
    /// Something else.
    Other,
}

/// What stands between `before` and `after` in `text`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(after)
}

/// Reads an error's text.
pub fn read(desc: &str) -> Meaning<'_> {
    let plain = |refusal| Meaning::Refusal(refusal, None);
    match desc {
        "Job not found" => return plain(Refusal::NotFound),
        "Job is already paused" => return plain(Refusal::AlreadyPaused),
        "Can't resume a job that was not paused" => return plain(Refusal::NotPaused),
        "Parameter 'speed' expects a non-negative value" | "Invalid parameter 'speed'" => {
            return plain(Refusal::NegativeSpeed);
        }
        _ => {}
    }
    if let Some(id) = between(desc, "Block job '", "' not found") {
        return Meaning::Refusal(Refusal::NotFound, Some(id));
    }
    if let Some(id) = between(desc, "The active block job '", "' cannot be completed") {
        return Meaning::Refusal(Refusal::CannotComplete, Some(id));
    }
    if let Some(id) = between(desc, "The block job for device '", "' is currently paused") {
        return Meaning::Refusal(Refusal::CurrentlyPaused, Some(id));
    }
    if let Some(id) = between(
        desc,
        "Job '",
        "' could not be finalized: a member of its transaction failed to prepare",
    ) {
        return Meaning::Refusal(Refusal::PrepareFailed, Some(id));
    }
    if let Some(rest) = between(desc, "Job '", "'")
        && let Some((id, rest)) = rest.rsplit_once("' in state '")
        && let Some((status, verb)) = rest.split_once("' cannot accept command verb '")
        && let Some(status) = Status::from_name(status)
        && let Some(verb) = Verb::from_name(verb)
    {
        return Meaning::Refusal(Refusal::Verb { status, verb }, Some(id));
    }
    if let Some(id) = between(desc, "Job ID '", "' already in use") {
        return Meaning::IdInUse(id);
    }
    if let Some(id) = between(desc, "Invalid job ID '", "'") {
        return Meaning::InvalidId(id);
    }
    if let Some(name) = between(desc, "Parameter '", "' is missing") {
        return Meaning::Missing(name);
    }
    if let Some(name) = between(desc, "Parameter '", "' is unexpected") {
        return Meaning::Unfit(name);
    }
    if let Some((name, _)) = desc
        .strip_prefix("Invalid parameter type for '")
        .and_then(|rest| rest.split_once('\''))
    {
        return Meaning::Unfit(name);
    }
    Meaning::Other
}

/// Whether `id` may name a job: a letter, then letters, digits, `-`, `.`, `_` (SEMANTICS.md §2.1).
pub fn id_is_well_formed(id: &str) -> bool {
    let mut bytes = id.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_reads_back_from_its_text() {
        let mut refusals = vec![
            Refusal::NotFound,
            Refusal::AlreadyPaused,
            Refusal::NotPaused,
            Refusal::CannotComplete,
            Refusal::CurrentlyPaused,
            Refusal::NegativeSpeed,
            Refusal::PrepareFailed,
        ];
        for status in Status::ALL {
            for verb in Verb::ALL {
                refusals.push(Refusal::Verb { status, verb });
            }
        }
        for refusal in refusals {
            for block in [true, false] {
                let text = refusal.text("a.b", block);
                match read(&text) {
                    Meaning::Refusal(found, id) => {
                        assert_eq!(found, refusal, "{text}");
                        assert!(id.is_none_or(|id| id == "a.b"), "{text}");
                    }
                    other => panic!("{text}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn other_texts_are_not_refusals() {
        assert_eq!(read("Parameter 'id' is missing"), Meaning::Missing("id"));
        assert_eq!(
            read("Invalid parameter type for 'id', expected: string"),
            Meaning::Unfit("id")
        );
        assert_eq!(read("Job ID 'x' already in use"), Meaning::IdInUse("x"));
        assert_eq!(read("Invalid job ID ''"), Meaning::InvalidId(""));
        assert_eq!(
            read("Job 'x' in state 'asleep' cannot accept command verb 'pause'"),
            Meaning::Other
        );
        assert_eq!(read(""), Meaning::Other);
    }

    #[test]
    fn ids_are_well_formed_or_not() {
        for id in ["a", "drive0", "A-b.c_9"] {
            assert!(id_is_well_formed(id), "{id}");
        }
        for id in ["", "0id", "_id", "-id", ".id", "#id", "a b", "é"] {
            assert!(!id_is_well_formed(id), "{id}");
        }
    }
}
