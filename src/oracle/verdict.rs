//! What the oracle says of a trace, and how it is written down (CONTRACT: `blockjob check`).

use std::fmt::{self, Write as _};

use blockjob_model::rule::{Reason, Rule};
use serde::Serialize;

use super::error::TraceError;
use super::explain::text::{Part, Plain, Style, explained, paragraph, printable};
use super::explain::{Explanation, Row};

/// A fault: the first thing in a trace that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, from 1.
    pub line: u64,
    /// The rule it breaks, by name; public interface.
    pub rule: &'static str,
    /// Why: because …, but ….
    pub message: Reason,
    /// What would have been allowed there.
    pub allowed: Vec<String>,
    /// The section of SEMANTICS.md that says so.
    pub section: &'static str,
    /// The jobs concerned, by id: the one that it is about first, then those of its transaction.
    pub jobs: Vec<String>,
}

impl Fault {
    /// A fault in `line` by `rule`, of what `about` names (nothing, where it is empty).
    pub fn new(line: u64, rule: &'static Rule, about: &str, because: &str, but: &str) -> Fault {
        Fault {
            line,
            rule: rule.name,
            message: Reason::new(about, because, but),
            allowed: Vec::new(),
            section: rule.section,
            jobs: Vec::new(),
        }
    }

    /// The same, with what would have been allowed.
    #[must_use]
    pub fn instead(self, allowed: Vec<String>) -> Fault {
        Fault { allowed, ..self }
    }

    /// The same, of these jobs.
    #[must_use]
    pub fn of<'a>(self, jobs: impl IntoIterator<Item = &'a str>) -> Fault {
        Fault {
            jobs: jobs.into_iter().map(str::to_owned).collect(),
            ..self
        }
    }
}

/// How a trace was judged.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing in it contradicts the specification.
    Accept,
    /// Something does.
    Reject(Fault),
    /// It is no trace, or there is nothing to judge in it.
    Error(TraceError),
}

/// What the oracle says of one trace.
#[derive(Debug)]
pub struct Verdict {
    /// The trace, as it was named.
    pub path: String,
    /// Accepted, rejected, or no trace.
    pub outcome: Outcome,
    /// How much was judged: replies and job events of a conversation, records of a native trace.
    pub events: u64,
    /// How many jobs appeared.
    pub jobs: u64,
    /// The name of the profile that fits, or, of a rejected trace, the one that went furthest.
    pub profile: Option<&'static str>,
    /// Every profile that fits, where several were tried.
    pub fits: Vec<&'static str>,
    /// How often the possibilities were too many and the judgement was made coarser. A coarse
    /// verdict can miss a fault, never invent one.
    pub widened: u64,
    /// What else a reader should know: a cut last line …
    pub notes: Vec<String>,
    /// Of a rejected trace that was judged on behind its fault: what else was found, in the order of the lines.
    pub further: Vec<Fault>,
    /// Of each profile that was tried, by name, what contradicted it first; `None`: nothing did.
    pub tried: Vec<(&'static str, Option<Fault>)>,
    /// Of a rejected trace: its fault explained, then the further ones.
    pub explanations: Vec<Explanation>,
    /// The recordings of the same run that it was held against.
    pub with: Vec<With>,
    /// The fault is in this one of them, and not in the trace itself.
    pub elsewhere: Option<String>,
}

/// Another recording of the same run, which a trace was held against.
#[derive(Clone, Debug, Serialize)]
pub struct With {
    /// The recording, as it was named.
    pub path: String,
    /// How many jobs both show.
    pub paired: usize,
    /// How many changes of their statuses only one of the two shows.
    pub filled: usize,
    /// What else a reader should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The machine-readable form; its schema is public interface.
#[derive(Serialize)]
struct Json<'a> {
    path: &'a str,
    verdict: &'static str,
    line: Option<u64>,
    rule: Option<&'static str>,
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sentence: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    but: Option<&'a str>,
    allowed: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    concerned: &'a [String],
    #[serde(skip_serializing_if = "<[Row]>::is_empty")]
    history: &'a [Row],
    #[serde(skip_serializing_if = "is_zero")]
    left_out: u64,
    #[serde(skip_serializing_if = "<[Explanation]>::is_empty")]
    faults: &'a [Explanation],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    profiles: Vec<Tried<'a>>,
    events: u64,
    jobs: u64,
    profile: Option<&'static str>,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    fits: &'a [&'static str],
    #[serde(skip_serializing_if = "is_zero")]
    widened: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    #[serde(skip_serializing_if = "<[With]>::is_empty")]
    with: &'a [With],
    #[serde(skip_serializing_if = "Option::is_none")]
    elsewhere: Option<&'a str>,
}

/// A profile that was tried.
#[derive(Serialize)]
struct Tried<'a> {
    profile: &'a str,
    fits: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Verdict {
    /// `accept`, `reject` or `error`.
    pub const fn word(&self) -> &'static str {
        match self.outcome {
            Outcome::Accept => "accept",
            Outcome::Reject(_) => "reject",
            Outcome::Error(_) => "error",
        }
    }

    /// The exit code a command that judged only this trace ends with.
    pub const fn exit_code(&self) -> u8 {
        match self.outcome {
            Outcome::Accept => 0,
            Outcome::Reject(_) => 1,
            Outcome::Error(_) => 2,
        }
    }

    /// The fault of a rejected trace.
    pub const fn fault(&self) -> Option<&Fault> {
        match &self.outcome {
            Outcome::Reject(fault) => Some(fault),
            _ => None,
        }
    }

    /// The profiles, where several were tried.
    fn tried_in_json(&self) -> Vec<Tried<'_>> {
        if self.tried.len() < 2 {
            return Vec::new();
        }
        let tried = self.tried.iter();
        tried
            .map(|(profile, fault)| Tried {
                profile,
                fits: fault.is_none(),
                line: fault.as_ref().map(|fault| fault.line),
                rule: fault.as_ref().map(|fault| fault.rule),
                message: fault.as_ref().map(|fault| &*fault.message),
            })
            .collect()
    }

    /// Which profiles fit, or what contradicts each, where several were tried and do not agree.
    fn profiles_in_text(&self, text: &mut String, style: &impl Style) {
        let fitting = self
            .tried
            .iter()
            .filter(|(_, fault)| fault.is_none())
            .count();
        if self.tried.len() < 2 || fitting == self.tried.len() {
            return;
        }
        if fitting > 0 {
            let names: Vec<&str> = self.fits.clone();
            paragraph(
                text,
                style,
                "profiles:",
                &format!("it fits {}", names.join(", ")),
            );
            return;
        }
        let place = |fault: &Fault| (fault.line, fault.rule);
        let nearest = self.fault().map(place);
        let mut others: Vec<((u64, &str), Vec<&str>)> = Vec::new();
        for (profile, fault) in &self.tried {
            let Some(found) = fault.as_ref().map(place) else {
                continue;
            };
            match others.iter_mut().find(|(other, _)| *other == found) {
                Some((_, names)) => names.push(profile),
                None => others.push((found, vec![profile])),
            }
        }
        others.sort_by_key(|((line, _), _)| std::cmp::Reverse(*line));
        let said: Vec<String> = others
            .iter()
            .map(|((line, rule), names)| {
                let nearest = Some((*line, *rule)) == nearest;
                format!(
                    "{} until line {line} ({rule}){}",
                    names.join(", "),
                    if nearest { ", the nearest" } else { "" }
                )
            })
            .collect();
        paragraph(text, style, "profiles: none fits:", &said.join("; "));
    }

    /// One JSON object, without a line break.
    pub fn to_json(&self) -> String {
        let mut json = Json {
            path: &self.path,
            verdict: self.word(),
            line: None,
            rule: None,
            message: None,
            section: None,
            sentence: None,
            because: None,
            but: None,
            allowed: &[],
            concerned: &[],
            history: &[],
            left_out: 0,
            faults: &[],
            profiles: self.tried_in_json(),
            events: self.events,
            jobs: self.jobs,
            profile: self.profile,
            fits: &self.fits,
            widened: self.widened,
            notes: &self.notes,
            with: &self.with,
            elsewhere: self.elsewhere.as_deref(),
        };
        match &self.outcome {
            Outcome::Accept => {}
            Outcome::Reject(fault) => {
                json.line = Some(fault.line);
                json.rule = Some(fault.rule);
                json.message = Some(fault.message.to_string());
                json.section = Some(fault.section);
                json.allowed = &fault.allowed;
                json.concerned = &fault.jobs;
                json.because = Some(fault.message.because());
                json.but = Some(fault.message.but());
                if let Some(explanation) = self.explanations.first() {
                    json.sentence = Some(explanation.sentence);
                    json.history = &explanation.history;
                    json.left_out = explanation.left_out;
                }
                if !self.further.is_empty() {
                    json.faults = &self.explanations;
                }
            }
            Outcome::Error(error) => {
                json.line = error.line();
                json.message = Some(error.to_string());
            }
        }
        // Strings and numbers always serialize.
        serde_json::to_string(&json).unwrap_or_default()
    }
}

impl Verdict {
    /// The text form: one line, then the explanation of a rejection and the notes, set in.
    pub fn text(&self, style: &impl Style) -> String {
        let path = printable(self.elsewhere.as_ref().unwrap_or(&self.path));
        let profile = self.profile.unwrap_or("none");
        let word = self.word();
        let mut text = match &self.outcome {
            Outcome::Accept => format!(
                "{word} {path} events={} jobs={} profile={profile}",
                self.events, self.jobs
            ),
            Outcome::Reject(fault) => format!(
                "{} {path}:{} rule={} profile={profile}",
                style.paint(Part::Fault, word),
                fault.line,
                fault.rule
            ),
            Outcome::Error(error) => format!(
                "{} {path} {}",
                style.paint(Part::Fault, word),
                printable(&error.to_string())
            ),
        };
        match (&self.outcome, self.explanations.as_slice()) {
            (Outcome::Reject(fault), []) => {
                text.push_str(&explained(&Explanation::of(fault), style));
            }
            (Outcome::Reject(_), [first, further @ ..]) => {
                text.push_str(&explained(first, style));
                for fault in further {
                    let _ = write!(
                        text,
                        "\n  {} line {} rule={}",
                        style.paint(Part::Fault, "further:"),
                        fault.line,
                        fault.rule
                    );
                    text.push_str(&explained(fault, style));
                }
            }
            _ => {}
        }
        self.profiles_in_text(&mut text, style);
        for note in &self.notes {
            let _ = write!(
                text,
                "\n    {} {}",
                style.paint(Part::Label, "note:"),
                printable(note)
            );
        }
        for with in &self.with {
            let _ = write!(
                text,
                "\n    {} {}: {} jobs in both, {} changes that only one of the two shows",
                style.paint(Part::Label, "with"),
                printable(&with.path),
                with.paired,
                with.filled
            );
            for note in &with.notes {
                let _ = write!(
                    text,
                    "\n    {} {}",
                    style.paint(Part::Label, "note:"),
                    printable(note)
                );
            }
        }
        if self.widened > 0 {
            let _ = write!(
                text,
                "\n    {} widened {} times: too many possibilities were open, so the judgement is coarser there",
                style.paint(Part::Label, "note:"),
                self.widened
            );
        }
        text
    }
}

/// Without colours, and lines as long as they are.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&Plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blockjob_model::rule;

    fn verdict(outcome: Outcome) -> Verdict {
        Verdict {
            path: "t.jsonl".to_owned(),
            outcome,
            events: 3,
            jobs: 1,
            profile: Some("reference"),
            fits: Vec::new(),
            widened: 0,
            notes: Vec::new(),
            further: Vec::new(),
            tried: Vec::new(),
            explanations: Vec::new(),
            with: Vec::new(),
            elsewhere: None,
        }
    }

    #[test]
    fn text_and_json_are_those_of_the_contract() {
        let accept = verdict(Outcome::Accept);
        assert_eq!(
            accept.to_string(),
            "accept t.jsonl events=3 jobs=1 profile=reference"
        );
        assert_eq!(
            accept.to_json(),
            r#"{"path":"t.jsonl","verdict":"accept","line":null,"rule":null,"message":null,"allowed":[],"events":3,"jobs":1,"profile":"reference"}"#
        );
        let reject = verdict(Outcome::Reject(
            Fault::new(9, rule!("status-after-null"), "", "a", "b").instead(vec!["x".to_owned()]),
        ));
        assert!(
            reject
                .to_string()
                .starts_with("reject t.jsonl:9 rule=status-after-null")
        );
        assert_eq!(
            reject.to_json(),
            r#"{"path":"t.jsonl","verdict":"reject","line":9,"rule":"status-after-null","message":"because a, but b","section":"1b","because":"a","but":"b","allowed":["x"],"events":3,"jobs":1,"profile":"reference"}"#
        );
        let error = verdict(Outcome::Error(TraceError::Empty));
        assert!(error.to_string().starts_with("error t.jsonl it is empty"));
        assert_eq!(
            [accept.exit_code(), reject.exit_code(), error.exit_code()],
            [0, 1, 2]
        );
    }
}
