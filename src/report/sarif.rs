//! SARIF 2.1.0: a result for each rejected trace, a notification for each that could not be judged.
//!
//! Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0. Accepted traces are not
//! listed: to whoever reads this, a result is something to look at.

use serde_json::{Value, json};

use crate::oracle::explain::Explanation;
use crate::oracle::{Outcome, Verdict};

/// The schema that the document names.
pub const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A run of `blockjob check`.
#[derive(Debug, Default)]
pub struct Run {
    /// Each rule that was broken, and the section that says so, in the order in which they were met.
    rules: Vec<(&'static str, &'static str)>,
    results: Vec<Value>,
    notifications: Vec<Value>,
}

impl Run {
    /// A trace was judged.
    pub fn add(&mut self, verdict: &Verdict) {
        match &verdict.outcome {
            Outcome::Accept => {}
            Outcome::Reject(fault) if verdict.explanations.is_empty() => {
                self.result(verdict, &Explanation::of(fault));
            }
            Outcome::Reject(_) => {
                for explanation in &verdict.explanations {
                    self.result(verdict, explanation);
                }
            }
            Outcome::Error(error) => self.notifications.push(json!({
                "level": "error",
                "message": { "text": error.to_string() },
                "locations": [location(&verdict.path, error.line())],
            })),
        }
    }

    /// A fault; what led there stands as related locations.
    fn result(&mut self, verdict: &Verdict, fault: &Explanation) {
        let known = self.rules.iter().position(|(rule, _)| *rule == fault.rule);
        let index = known.unwrap_or_else(|| {
            self.rules.push((fault.rule, fault.section));
            self.rules.len() - 1
        });
        let related: Vec<Value> = fault
            .history
            .iter()
            .filter(|row| row.line < fault.line)
            .map(|row| {
                let job = if row.job.is_empty() { "" } else { ": " };
                let text = format!("{}{job}{}", row.job, row.what);
                let mut place = location(&verdict.path, Some(row.line));
                place["message"] = json!({ "text": text });
                place
            })
            .collect();
        self.results.push(json!({
            "ruleId": fault.rule,
            "ruleIndex": index,
            "level": "error",
            "message": { "text": fault.message },
            "locations": [location(&verdict.path, Some(fault.line))],
            "relatedLocations": related,
            "properties": {
                "allowed": fault.allowed,
                "section": fault.section,
                "profile": verdict.profile,
            },
        }));
    }

    /// The document.
    pub fn finish(&self) -> String {
        let rules: Vec<Value> = self
            .rules
            .iter()
            .map(|(rule, section)| {
                json!({
                    "id": rule,
                    "shortDescription": { "text": sentence(rule) },
                    "help": { "text": format!("SEMANTICS §{section}") },
                    "defaultConfiguration": { "level": "error" },
                })
            })
            .collect();
        let document = json!({
            "$schema": SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "blockjob",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "rules": rules,
                } },
                "columnKind": "unicodeCodePoints",
                "invocations": [{
                    "executionSuccessful": self.notifications.is_empty(),
                    "toolExecutionNotifications": self.notifications,
                }],
                "results": self.results,
            }],
        });
        // Strings and numbers always serialize.
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// What a rule demands; of one that is in no table, its name.
fn sentence(rule: &str) -> String {
    blockjob_model::rule::find(rule)
        .map_or_else(|| rule.to_owned(), |rule| format!("{}.", rule.sentence))
}

fn location(path: &str, line: Option<u64>) -> Value {
    let mut place = json!({ "artifactLocation": { "uri": uri(path) } });
    if path == "-" {
        place["artifactLocation"]["description"] = json!({ "text": "standard input" });
    }
    if let Some(line) = line {
        place["region"] = json!({ "startLine": line });
    }
    json!({ "physicalLocation": place })
}

/// A path as a URI reference (RFC 3986): absolute ones as `file:`, others relative to wherever the check was run.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    if path.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            // Writing to a string cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_uris() {
        assert_eq!(uri("a/b.jsonl"), "a/b.jsonl");
        assert_eq!(uri("/tmp/a b"), "file:///tmp/a%20b");
        assert_eq!(uri("x:y?z#ä"), "x%3Ay%3Fz%23%C3%A4");
    }
}
