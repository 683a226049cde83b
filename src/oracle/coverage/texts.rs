//! The error texts that are told apart (SEMANTICS.md Appendix A), and which profiles have them.

use blockjob_model::profile::{ManualStages, TransactionText};
use blockjob_model::{Profile, Refusal};

use crate::oracle::judge::refusal::{self, Meaning};

/// An error text.
pub(super) struct Text {
    /// With `…` for what varies.
    pub pattern: &'static str,
    /// Whether an implementation of this profile has it, where the text itself does not tell.
    when: fn(&Profile) -> bool,
}

const fn always(_: &Profile) -> bool {
    true
}

const fn text(pattern: &'static str) -> Text {
    Text {
        pattern,
        when: always,
    }
}

const fn when(when: fn(&Profile) -> bool, pattern: &'static str) -> Text {
    Text { pattern, when }
}

/// Every text that is told apart.
pub(super) const TEXTS: [Text; 21] = [
    when(|p| p.status_events, "Job not found"),
    text("Block job '…' not found"),
    when(
        |p| p.verb_table,
        "Job '…' in state '…' cannot accept command verb '…'",
    ),
    when(|p| !p.pause_is_idempotent, "Job is already paused"),
    when(
        |p| !p.pause_is_idempotent,
        "Can't resume a job that was not paused",
    ),
    text("The active block job '…' cannot be completed"),
    text("The block job for device '…' is currently paused"),
    text("Parameter 'speed' expects a non-negative value"),
    text("Invalid parameter 'speed'"),
    when(
        |p| p.finalize_reports_prepare && p.manual_stages != ManualStages::None,
        "Job '…' could not be finalized: a member of its transaction failed to prepare",
    ),
    text("Parameter '…' is missing"),
    text("Parameter '…' is unexpected"),
    text("Invalid parameter type for '…'"),
    text("Job ID '…' already in use"),
    text("Invalid job ID '…'"),
    text("An explicit job ID is required"),
    text("An explicit job ID is required for this node"),
    text("Device '…' is in use"),
    text("this feature or command is not currently supported"),
    text("Action '…' does not support Transaction property …"),
    text("Action '…' does not support transaction property …"),
];

impl Text {
    /// One that reads so.
    fn example(&self) -> String {
        if self.pattern.contains("in state") {
            return Refusal::Verb {
                status: blockjob_model::Status::Created,
                verb: blockjob_model::Verb::Complete,
            }
            .text("x", false);
        }
        self.pattern.replace('…', "x")
    }

    /// Whether an implementation of `profile` has it.
    pub fn is_of(&self, profile: &Profile) -> bool {
        let example = self.example();
        let meaning = refusal::read(&example);
        (self.when)(profile) && refusal::fits(&meaning, &example, profile).is_ok()
    }
}

/// The place of a text among [`TEXTS`]; `None`: it is none of them.
pub(super) fn place(meaning: &Meaning<'_>, text: &str) -> Option<usize> {
    let place = match meaning {
        Meaning::Refusal(Refusal::NotFound, None) => 0,
        Meaning::Refusal(Refusal::NotFound, Some(_)) => 1,
        Meaning::Refusal(Refusal::Verb { .. }, _) => 2,
        Meaning::Refusal(Refusal::AlreadyPaused, _) => 3,
        Meaning::Refusal(Refusal::NotPaused, _) => 4,
        Meaning::Refusal(Refusal::CannotComplete, _) => 5,
        Meaning::Refusal(Refusal::CurrentlyPaused, _) => 6,
        Meaning::Refusal(Refusal::NegativeSpeed, _) if text.starts_with("Parameter") => 7,
        Meaning::Refusal(Refusal::NegativeSpeed, _) => 8,
        Meaning::Refusal(Refusal::PrepareFailed, _) => 9,
        Meaning::Missing(_) => 10,
        Meaning::Unfit(_) if text.starts_with("Parameter") => 11,
        Meaning::Unfit(_) => 12,
        Meaning::IdInUse(_) => 13,
        Meaning::InvalidId(_) => 14,
        Meaning::NoId { node: false } => 15,
        Meaning::NoId { node: true } => 16,
        Meaning::NodeInUse(_) => 17,
        Meaning::SpeedUnsupported => 18,
        Meaning::Ungroupable(TransactionText::Capital) => 19,
        Meaning::Ungroupable(TransactionText::Lower) => 20,
        // No text of QMP: the engine's own, which `read` does not know.
        Meaning::Refusal(Refusal::NotQuiet, _) | Meaning::Other => return None,
    };
    Some(place)
}

#[cfg(test)]
mod tests {
    use blockjob_model::profile::{QEMU_2_11, QEMU_10_0, REFERENCE};

    use super::*;

    #[test]
    fn every_text_is_found_in_its_own_place() {
        for (at, text) in TEXTS.iter().enumerate() {
            let example = text.example();
            assert_eq!(
                place(&refusal::read(&example), &example),
                Some(at),
                "{example}"
            );
        }
        assert_eq!(
            place(&refusal::read("No space left"), "No space left"),
            None
        );
    }

    #[test]
    fn each_profile_has_its_own_texts_and_not_those_of_others() {
        let has = |profile: &Profile, pattern: &str| {
            let found = TEXTS.iter().find(|text| text.pattern == pattern);
            found.unwrap().is_of(profile)
        };
        assert!(has(&QEMU_10_0, "Job not found"));
        assert!(!has(&QEMU_2_11, "Job not found"));
        assert!(has(&QEMU_2_11, "Invalid parameter 'speed'"));
        assert!(!has(&QEMU_10_0, "Invalid parameter 'speed'"));
        let prepare =
            "Job '…' could not be finalized: a member of its transaction failed to prepare";
        assert!(has(&REFERENCE, prepare) && !has(&QEMU_2_11, prepare));
    }
}
