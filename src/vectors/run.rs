//! One vector: sent step by step, and judged by its automaton.

use std::collections::BTreeSet;

use blockjob_model::vectors::{Rest, Vector, observation};
use serde_json::{Map, Value};

use super::peer::{Lost, Peer};

/// What became of a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that was seen is allowed, and all that was due was seen.
    Passed,
    /// Something else.
    Failed(Failed),
    /// The adapter says that it cannot do this, and why.
    Skipped(String),
}

/// What was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// How many of the vector's actions had been sent.
    pub sent: usize,
    /// The last of them, as it was sent.
    pub last: String,
    /// What was seen since, all of it allowed, as the adapter wrote it.
    pub before: Vec<String>,
    /// What is not allowed: a line of the adapter, or what became of it.
    pub seen: String,
    /// What would have been, as lines of the protocol.
    pub allowed: Vec<String>,
    /// The adapter is of no further use, and another has to be started.
    pub lost: bool,
}

/// The line that says that nothing more comes by itself.
const REST: &str = "{\"see\":\"rest\"}";

/// Runs vectors against one adapter.
pub struct Runner {
    peer: Peer,
    /// The adapter wrote more than it was asked for, and no rest since.
    unsettled: bool,
}

/// Where one vector stands.
struct Course<'a> {
    vector: &'a Vector,
    /// Every state that explains what was seen. More than one where the adapter leaves out of a refusal what
    /// tells two of them apart.
    states: BTreeSet<usize>,
    sent: usize,
    last: String,
    before: Vec<String>,
}

/// What a rest means.
enum AtRest {
    /// This is sent.
    Send(String),
    /// That was all.
    Passed,
    /// Something is due.
    TooEarly,
}

impl Runner {
    /// Runs vectors against `peer`.
    pub fn new(peer: Peer) -> Runner {
        Runner {
            peer,
            unsettled: false,
        }
    }

    /// Runs one vector.
    pub fn run(&mut self, vector: &Vector) -> Outcome {
        let mut course = Course {
            vector,
            states: BTreeSet::from([0]),
            sent: 0,
            last: format!("{{\"do\":\"begin\",\"vector\":\"{}\"}}", vector.name),
            before: Vec::new(),
        };
        match self.go(&mut course) {
            Ok(outcome) => outcome,
            Err(lost) => Outcome::Failed(Failed {
                lost: true,
                ..course.failed(lost.to_string())
            }),
        }
    }

    fn go(&mut self, course: &mut Course<'_>) -> Result<Outcome, Lost> {
        if self.unsettled {
            self.settle()?;
        }
        self.peer.send(&course.last)?;
        loop {
            let line = self.peer.receive()?;
            let line = line.trim_end();
            let seen: Map<String, Value> =
                serde_json::from_str(line).map_err(|_| Lost::Garbled(shortened(line)))?;
            match seen.get("see").and_then(Value::as_str) {
                Some("cannot") => {
                    let why = seen.get("why").and_then(Value::as_str);
                    self.unsettled = true;
                    return Ok(Outcome::Skipped(
                        why.unwrap_or("no reason given").to_owned(),
                    ));
                }
                Some("rest") => match course.rest() {
                    AtRest::Send(line) => self.peer.send(&line)?,
                    AtRest::Passed => return Ok(Outcome::Passed),
                    AtRest::TooEarly => return Ok(Outcome::Failed(course.failed(REST.to_owned()))),
                },
                _ if course.see(&seen) => course.before.push(shortened(line)),
                _ => {
                    self.unsettled = true;
                    return Ok(Outcome::Failed(course.failed(shortened(line))));
                }
            }
        }
    }

    /// Lets the adapter come to rest.
    fn settle(&mut self) -> Result<(), Lost> {
        loop {
            let line = self.peer.receive()?;
            let seen: Value = serde_json::from_str(&line).unwrap_or_default();
            if seen["see"] == "rest" {
                self.unsettled = false;
                return Ok(());
            }
        }
    }
}

impl Course<'_> {
    /// Goes where `seen` leads; whether it leads anywhere.
    fn see(&mut self, seen: &Map<String, Value>) -> bool {
        let mut next = BTreeSet::new();
        for &at in &self.states {
            for &(expected, to) in &self.vector.states[at].see {
                let lines = observation(expected, self.vector.profile);
                if lines.iter().any(|line| fits(line, seen)) {
                    next.insert(to);
                }
            }
        }
        if next.is_empty() {
            return false;
        }
        self.states = next;
        true
    }

    /// The adapter is at rest.
    fn rest(&mut self) -> AtRest {
        let mut next = BTreeSet::new();
        let mut line = None;
        let mut passed = false;
        for &at in &self.states {
            match self.vector.states[at].rest {
                Rest::No => {}
                Rest::Passed => passed = true,
                Rest::Sends(send, to) => {
                    line = Some((send, self.vector.send(self.vector.sends[send])));
                    next.insert(to);
                }
            }
        }
        if passed {
            return AtRest::Passed;
        }
        let Some((send, line)) = line else {
            return AtRest::TooEarly;
        };
        self.states = next;
        self.sent = send + 1;
        self.last.clone_from(&line);
        self.before.clear();
        AtRest::Send(line)
    }

    fn failed(&self, seen: String) -> Failed {
        let mut allowed = BTreeSet::new();
        for &at in &self.states {
            let state = &self.vector.states[at];
            for &(expected, _) in &state.see {
                allowed.extend(observation(expected, self.vector.profile));
            }
            if state.rest != Rest::No {
                allowed.insert(REST.to_owned());
            }
        }
        Failed {
            sent: self.sent,
            last: self.last.clone(),
            before: self.before.clone(),
            seen,
            allowed: allowed.into_iter().collect(),
            lost: false,
        }
    }
}

/// Whether what was seen is what was expected. What the adapter adds is its own affair; of a refusal's class
/// and text, only what it gives is compared.
fn fits(expected: &str, seen: &Map<String, Value>) -> bool {
    let Ok(expected) = serde_json::from_str::<Map<String, Value>>(expected) else {
        return false;
    };
    expected.iter().all(|(key, value)| match seen.get(key) {
        Some(given) => given == value,
        None => matches!(key.as_str(), "class" | "desc"),
    })
}

/// A line of somebody else's, of a length that can be shown.
fn shortened(line: &str) -> String {
    const SHOWN_MAX: usize = 400;
    if line.chars().count() <= SHOWN_MAX {
        return line.to_owned();
    }
    let start: String = line.chars().take(SHOWN_MAX).collect();
    format!("{start}…")
}
