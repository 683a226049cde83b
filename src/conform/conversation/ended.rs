//! A conversation that is over: what was said, and what the oracle says of it.

use blockjob_model::{Status, Verb};

use crate::conform::cover::Cover;

/// How a command was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The step that sent it; cleaning up has none.
    pub step: Option<usize>,
    /// Its name.
    pub command: String,
    /// The job it was for, and the status that job had by its events when it was sent.
    pub job: Option<(String, Option<Status>)>,
    /// Class and text of the error.
    pub error: Option<(String, String)>,
    /// Nothing that came between command and answer made it a matter of time.
    pub calm: bool,
}

/// A job's life, as its events told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its id.
    pub id: String,
    /// Every status that was announced, in order.
    pub statuses: Vec<Status>,
}

/// What the oracle said at the end.
#[derive(Clone, Debug)]
pub struct Judged {
    /// All of it, for people.
    pub text: String,
    /// The rule that was broken.
    pub rule: Option<&'static str>,
    /// In which line.
    pub line: Option<u64>,
    /// How.
    pub message: Option<String>,
    /// It is no acceptance.
    pub bad: bool,
    /// By whose rules.
    pub profile: Option<&'static str>,
}

/// A conversation that is over.
#[derive(Debug)]
pub struct Ended {
    /// What the oracle says; `None`: it could not come to a verdict, which is a mistake of ours.
    pub fault: Option<Judged>,
    /// The recording, a message a line.
    pub lines: Vec<String>,
    /// The jobs, in the order in which they were created.
    pub lives: Vec<Life>,
    /// The answers, in order.
    pub answers: Vec<Answer>,
    /// The verb table's refusals.
    pub refusals: Vec<(Verb, Status)>,
    /// What was seen of the tables.
    pub cover: Cover,
    /// Commands sent, events received.
    pub counts: (u64, u64),
}
