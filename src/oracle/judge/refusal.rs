//! Error replies read back: which refusal of the engine a text is (SEMANTICS.md Appendix A).

use blockjob_model::profile::{CreationTexts, SpeedText, TransactionText};
use blockjob_model::{Profile, Refusal, Status, Verb};

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
    /// No id was given, and none could be derived; in the words of the node's layer or not.
    NoId {
        /// `… for this node`.
        node: bool,
    },
    /// The node has a job already.
    NodeInUse(&'a str),
    /// The kind of job has no speed.
    SpeedUnsupported,
    /// The action of a transaction cannot be grouped.
    Ungroupable(TransactionText),
    /// Something else.
    Other,
}

/// How a negative speed is refused since QEMU 5.0.
const NON_NEGATIVE: &str = "Parameter 'speed' expects a non-negative value";
/// How it was refused before.
const INVALID_SPEED: &str = "Invalid parameter 'speed'";

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
        NON_NEGATIVE | INVALID_SPEED => return plain(Refusal::NegativeSpeed),
        "this feature or command is not currently supported" => return Meaning::SpeedUnsupported,
        "An explicit job ID is required" => return Meaning::NoId { node: false },
        "An explicit job ID is required for this node" => return Meaning::NoId { node: true },
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
    if let Some(device) = between(desc, "Device '", "' is in use") {
        return Meaning::NodeInUse(device);
    }
    if let Some((_, rest)) = desc
        .strip_prefix("Action '")
        .and_then(|rest| rest.split_once("' does not support "))
    {
        if rest.starts_with("Transaction property ") {
            return Meaning::Ungroupable(TransactionText::Capital);
        }
        if rest.starts_with("transaction property ") {
            return Meaning::Ungroupable(TransactionText::Lower);
        }
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

/// Whether a text of this meaning may come from an implementation of `profile`; if not, what it
/// says instead (SEMANTICS.md §11).
pub fn fits(meaning: &Meaning<'_>, desc: &str, profile: &Profile) -> Result<(), String> {
    let instead = |fits: bool, says: String| if fits { Ok(()) } else { Err(says) };
    match *meaning {
        Meaning::Refusal(Refusal::NegativeSpeed, _) => instead(
            profile.speed_text == SpeedText::Either
                || desc == profile.text(Refusal::NegativeSpeed, "", true),
            profile.text(Refusal::NegativeSpeed, "", true),
        ),
        Meaning::NoId { node } => {
            let at_node = "An explicit job ID is required for this node";
            let (fits, says) = match profile.creation_texts {
                CreationTexts::Node => (node, at_node),
                CreationTexts::Either => (true, at_node),
                CreationTexts::Job => (!node, "An explicit job ID is required"),
            };
            instead(fits, says.to_owned())
        }
        Meaning::NodeInUse(device) => instead(
            profile.creation_texts != CreationTexts::Job,
            format!("Node '{device}' is busy: …"),
        ),
        Meaning::SpeedUnsupported => instead(
            profile.speed_may_be_unsupported,
            "success, or the refusal of a negative value".to_owned(),
        ),
        Meaning::Ungroupable(text) => instead(
            text == profile.transaction_text,
            match profile.transaction_text {
                TransactionText::Capital => "Action '…' does not support Transaction property …",
                TransactionText::Lower => "Action '…' does not support transaction property …",
            }
            .to_owned(),
        ),
        _ => Ok(()),
    }
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
    fn each_profile_takes_its_own_texts_and_not_those_of_others() {
        let takes = |profile: &Profile, text: &str| {
            let meaning = read(text);
            assert_ne!(meaning, Meaning::Other, "{text}");
            fits(&meaning, text, profile).is_ok()
        };
        let capital = "Action 'x' does not support Transaction property completion-mode = grouped";
        let lower = "Action 'x' does not support transaction property completion-mode = grouped";
        for (text, profiles) in [
            (
                NON_NEGATIVE,
                "reference qemu-10.0 qemu-8.2 qemu-7.2 qemu-6.2 qemu-6.0 qemu-4.2",
            ),
            (INVALID_SPEED, "qemu-4.2 qemu-2.12 qemu-2.11"),
            (
                "this feature or command is not currently supported",
                "qemu-2.11",
            ),
            (
                "An explicit job ID is required",
                "reference qemu-10.0 qemu-8.2 qemu-7.2 qemu-6.2 qemu-6.0 qemu-4.2",
            ),
            (
                "An explicit job ID is required for this node",
                "qemu-4.2 qemu-2.12 qemu-2.11",
            ),
            ("Device 'd' is in use", "qemu-4.2 qemu-2.12 qemu-2.11"),
            (
                capital,
                "qemu-7.2 qemu-6.2 qemu-6.0 qemu-4.2 qemu-2.12 qemu-2.11",
            ),
            (lower, "reference qemu-10.0 qemu-8.2"),
        ] {
            let found: Vec<&str> = Profile::ALL
                .into_iter()
                .filter(|profile| takes(profile, text))
                .map(|profile| profile.name)
                .collect();
            assert_eq!(found.join(" "), profiles, "{text}");
        }
    }
}
