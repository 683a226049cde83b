//! A peer that does what the specification does not allow, or nothing at all.

use std::fmt;

use blockjob_model::Profile;
use serde::Deserialize;

use super::conversation::{Ended, Trouble};
use super::peer::{LastWords, Lost};

/// How many lines of a recording are shown where a conversation broke off.
const SHOWN: usize = 12;

/// In which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The oracle does not take what it said.
    Rejected,
    /// It does not answer any more.
    Silent,
    /// It has ended.
    Died,
    /// It says far too much.
    Flooded,
    /// It says what is no QMP.
    Garbled,
    /// A job does not come to a status that is due.
    Stuck,
    /// Its trace log tells another story.
    Witness,
    /// Another implementation did otherwise.
    Differs,
}

impl Kind {
    /// Its name; public interface.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Rejected => "rejected",
            Kind::Silent => "silent",
            Kind::Died => "died",
            Kind::Flooded => "flooded",
            Kind::Garbled => "garbled",
            Kind::Stuck => "stuck",
            Kind::Witness => "witness",
            Kind::Differs => "differs",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What came of a program that did not go as it should.
#[derive(Clone, Debug)]
pub struct Divergence {
    /// In which way.
    pub kind: Kind,
    /// The rule that was broken, of a rejection.
    pub rule: Option<&'static str>,
    /// In what two implementations differ, whatever it took to come there.
    pub about: Option<String>,
    /// The line of the recording.
    pub line: Option<u64>,
    /// What happened, in a sentence.
    pub message: String,
    /// All that can be said of it, for people.
    pub text: String,
    /// The command that was not answered.
    pub unanswered: Option<String>,
    /// How the peer ended, where it did.
    pub last_words: Option<LastWords>,
    /// The recording, a message a line.
    pub lines: Vec<String>,
}

impl Divergence {
    /// One that is no rejection, with what was said last.
    pub(super) fn new(
        kind: Kind,
        message: String,
        unanswered: Option<String>,
        ended: &Ended,
    ) -> Divergence {
        let from = ended.lines.len().saturating_sub(SHOWN);
        let mut text = format!("{kind}: {message}\n    what was said last:");
        for line in &ended.lines[from..] {
            let record: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            let said = record["msg"].to_string();
            let said: String = said.chars().take(160).collect();
            text.push_str("\n      ");
            text.push_str(record["dir"].as_str().unwrap_or_default());
            text.push(' ');
            text.push_str(&said);
        }
        Divergence {
            kind,
            rule: None,
            about: None,
            line: None,
            message,
            text,
            unanswered,
            last_words: None,
            lines: ended.lines.clone(),
        }
    }

    /// What the oracle does not take.
    pub(super) fn rejection(ended: &Ended) -> Divergence {
        let fault = ended.fault.as_ref();
        let message = fault.and_then(|fault| fault.message.clone());
        Divergence {
            kind: Kind::Rejected,
            rule: fault.and_then(|fault| fault.rule),
            about: None,
            line: fault.and_then(|fault| fault.line),
            message: message.unwrap_or_else(|| "the oracle could not come to a verdict".to_owned()),
            text: fault.map_or_else(String::new, |fault| fault.text.clone()),
            unanswered: None,
            last_words: None,
            lines: ended.lines.clone(),
        }
    }

    /// What kept a conversation from its end, with the last words of the peer.
    pub(super) fn of_trouble(
        trouble: &Trouble,
        unanswered: Option<String>,
        words: LastWords,
        ended: &Ended,
    ) -> Divergence {
        let of_whom = match &unanswered {
            Some(command) => format!("it had not answered {command}"),
            None => "no command was open".to_owned(),
        };
        let (kind, message) = match trouble {
            Trouble::Lost(Lost::Silent(limit)) => (
                Kind::Silent,
                format!("nothing came for {:.1} s; {of_whom}", limit.as_secs_f64()),
            ),
            Trouble::Lost(Lost::Garbled(what)) => {
                (Kind::Garbled, format!("what it says is no QMP: {what}"))
            }
            Trouble::Flooded(messages) => (
                Kind::Flooded,
                format!("more than {} messages came; {of_whom}", messages - 1),
            ),
            Trouble::Stuck {
                job,
                status,
                due,
                waited,
            } => {
                let due: Vec<&str> = due.iter().map(|status| status.name()).collect();
                (
                    Kind::Stuck,
                    format!(
                        "job '{job}' stays {status} for {:.1} s; due was {}",
                        waited.as_secs_f64(),
                        due.join(" or ")
                    ),
                )
            }
            _ => {
                let how = words.status.as_deref();
                let how = how.unwrap_or("it closed the connection");
                (Kind::Died, format!("it ended ({how}); {of_whom}"))
            }
        };
        let mut found = Divergence::new(kind, message, unanswered, ended);
        if !words.stderr.is_empty() {
            found.text.push_str("\n    its last words:");
            for line in words.stderr.lines() {
                found.text.push_str("\n      ");
                found.text.push_str(line);
            }
        }
        found.last_words = Some(words);
        found
    }

    /// Whether `other` is the same thing again: of the same kind, by the same rule, at the same command, in the same.
    pub fn is_like(&self, other: &Divergence) -> bool {
        let command = |divergence: &Divergence| divergence.command();
        self.kind == other.kind
            && self.rule == other.rule
            && self.about == other.about
            && command(self) == command(other)
    }

    /// The name of the command that was not answered.
    pub fn command(&self) -> Option<String> {
        let command: serde_json::Value = serde_json::from_str(self.unanswered.as_deref()?).ok()?;
        command["execute"].as_str().map(str::to_owned)
    }
}

/// A deviation that is known.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Known {
    /// By what it is called.
    pub id: String,
    /// The profiles of those that have it.
    pub profiles: Vec<String>,
    /// In which way it shows: the name of a [`Kind`].
    pub kind: String,
    /// The rule that it breaks, where it breaks one.
    pub rule: Option<String>,
    /// The commands at which it shows; any, where none is named.
    #[serde(default)]
    pub commands: Vec<String>,
    /// What the recording has in it, all of it.
    #[serde(default)]
    pub recording_has: Vec<String>,
    /// What the peer's last words, or the message, have in them.
    #[serde(default)]
    pub says: Vec<String>,
    /// Why it is so.
    pub reason: String,
    /// Where that can be read.
    pub reference: String,
}

impl Known {
    /// Those that are built in.
    pub fn built_in() -> Vec<Known> {
        // A test reads it, and it does not change after.
        Known::read(include_str!("known/qemu.json")).unwrap_or_default()
    }

    /// Reads a list of them.
    ///
    /// # Errors
    /// It is none, and why.
    pub fn read(text: &str) -> Result<Vec<Known>, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Whether `divergence` of an implementation of `profile` is this.
    pub fn explains(&self, divergence: &Divergence, profile: &Profile) -> bool {
        let words = divergence.last_words.as_ref();
        let said = |text: &String| {
            divergence.message.contains(text)
                || words.is_some_and(|words| words.stderr.contains(text))
                || words
                    .and_then(|words| words.status.as_ref())
                    .is_some_and(|status| status.contains(text))
        };
        let recorded = |text: &String| divergence.lines.iter().any(|line| line.contains(text));
        self.profiles.iter().any(|name| name == profile.name)
            && self.kind == divergence.kind.name()
            && self
                .rule
                .as_ref()
                .is_none_or(|rule| Some(rule.as_str()) == divergence.rule)
            && (self.commands.is_empty()
                || divergence
                    .command()
                    .is_some_and(|command| self.commands.contains(&command)))
            && self.recording_has.iter().all(recorded)
            && self.says.iter().all(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(unanswered: &str) -> Divergence {
        Divergence {
            kind: Kind::Silent,
            rule: None,
            about: None,
            line: None,
            message: String::new(),
            text: String::new(),
            unanswered: Some(unanswered.to_owned()),
            last_words: None,
            lines: vec![unanswered.to_owned()],
        }
    }

    #[test]
    fn the_list_that_is_built_in_can_be_read_and_names_what_there_is() {
        let known = Known::read(include_str!("known/qemu.json")).unwrap();
        assert!(!known.is_empty());
        for entry in known {
            assert!(!entry.reason.is_empty() && !entry.reference.is_empty());
            for profile in &entry.profiles {
                assert!(Profile::by_name(profile).is_some(), "{profile}");
            }
            if let Some(rule) = &entry.rule {
                assert!(
                    blockjob_model::rule::RULES
                        .iter()
                        .any(|known| known.name == rule),
                    "{rule}"
                );
            }
        }
    }

    #[test]
    fn a_known_deviation_explains_itself_alone() {
        let of = |name| Profile::by_name(name).unwrap();
        let grouped = silent(
            r#"{"execute":"transaction","arguments":{"properties":{"completion-mode":"grouped"}}}"#,
        );
        let explains = |divergence: &Divergence, profile| {
            Known::built_in()
                .iter()
                .any(|known| known.explains(divergence, of(profile)))
        };
        assert!(explains(&grouped, "qemu-10.0"));
        assert!(!explains(&grouped, "reference"));
        assert!(!explains(
            &silent(r#"{"execute":"query-jobs"}"#),
            "qemu-10.0"
        ));
        let died = Divergence {
            kind: Kind::Died,
            ..grouped
        };
        assert!(!explains(&died, "qemu-10.0"));
    }
}
