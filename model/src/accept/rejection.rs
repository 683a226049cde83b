//! Why a trace was rejected: the rule, the reason, what would have been allowed, and of whom.

use crate::rule::{Reason, Rule};

/// Why a trace was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The rule, by name; public interface.
    pub rule: &'static str,
    /// What is wrong, in plain words: what it is about, because …, but ….
    pub message: Reason,
    /// What would have been allowed instead.
    pub allowed: Vec<String>,
    /// Where SEMANTICS.md says so.
    pub section: &'static str,
    /// The jobs concerned, by id: the one that it is about first, then those of its transaction.
    pub jobs: Vec<String>,
}

impl Rejection {
    /// A rejection by `rule`, of what `about` names.
    pub fn new(rule: &'static Rule, about: &str, because: &str, but: &str) -> Rejection {
        Rejection {
            rule: rule.name,
            message: Reason::new(about, because, but),
            allowed: Vec::new(),
            section: rule.section,
            jobs: Vec::new(),
        }
    }

    /// The same, with what would have been allowed.
    #[must_use]
    pub fn instead(self, allowed: Vec<String>) -> Rejection {
        Rejection { allowed, ..self }
    }

    /// The same, of the job at place `first` of `ids`, and of the others.
    #[must_use]
    pub(super) fn of(self, ids: &[&str], first: Option<usize>) -> Rejection {
        let one = first.and_then(|first| ids.get(first));
        let others = ids
            .iter()
            .enumerate()
            .filter(|&(place, _)| Some(place) != first)
            .map(|(_, id)| id);
        Rejection {
            jobs: one
                .into_iter()
                .chain(others)
                .map(|&id| id.to_owned())
                .collect(),
            ..self
        }
    }
}
