//! Explanations: what a rejected trace does wrong, and what led there.
//!
//! A judge that rejects a line says by which rule, why, and which jobs it concerns. What happened to
//! those jobs before is not kept while judging, where it would cost time in every good trace: a rejected
//! trace is read once more, by a [`Historian`] that knows what to look for.
//!
//! | module | what it holds |
//! |---|---|
//! | `history` | what is kept of the jobs concerned |
//! | `keeping` | what is kept of a trace that can be read only once |
//! | [`shrink`] | the shortest part of a trace that still shows its fault |
//! | [`text`] | an explanation for people |

mod history;
mod keeping;
pub mod shrink;
pub mod text;

use std::collections::VecDeque;

use blockjob_model::rule;
use serde::Serialize;

use super::verdict::Fault;

pub use history::Historian;
pub use keeping::{KEPT_MAX_BYTES, Keeping};

/// How many jobs a history shows.
pub const JOBS_MAX: usize = 12;

/// How many rows a history has.
pub const ROWS_MAX: usize = 40;

/// A fault, explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Where, from 1.
    pub line: u64,
    /// The rule it breaks, by name.
    pub rule: &'static str,
    /// What that rule demands, in one sentence.
    pub sentence: &'static str,
    /// The section of SEMANTICS.md that says so.
    pub section: &'static str,
    /// The whole reason: about, because and but.
    pub message: String,
    /// What it is about: an event, a reply, a job; empty where the rest says it.
    pub about: String,
    /// What is known.
    pub because: String,
    /// What contradicts it.
    pub but: String,
    /// What would have been allowed there.
    pub allowed: Vec<String>,
    /// The jobs concerned, by id: the one that it is about first, then those of its transaction.
    pub concerned: Vec<String>,
    /// What happened to them before, the faulty line last.
    pub history: Vec<Row>,
    /// How many rows of their history were left out, before the last ones.
    pub left_out: u64,
}

/// One thing that happened to a job concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The line, from 1.
    pub line: u64,
    /// When, in nanoseconds since some beginning, where the trace says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub t_ns: Option<i64>,
    /// The job; empty where the trace does not say whose it is.
    pub job: String,
    /// What, in words: `> ` is asked, `< ` is answered.
    pub what: String,
}

impl Explanation {
    /// The explanation of `fault`, with no history yet.
    pub fn of(fault: &Fault) -> Explanation {
        Explanation {
            line: fault.line,
            rule: fault.rule,
            sentence: rule::find(fault.rule).map_or("", |rule| rule.sentence),
            section: fault.section,
            message: fault.message.to_string(),
            about: fault.message.about().to_owned(),
            because: fault.message.because().to_owned(),
            but: fault.message.but().to_owned(),
            allowed: fault.allowed.clone(),
            concerned: fault.jobs.clone(),
            history: Vec::new(),
            left_out: 0,
        }
    }

    /// Takes over the history: the first rows, which tell how it began, and the last.
    fn tell(&mut self, mut rows: VecDeque<Row>, left_out: u64) {
        self.left_out = left_out;
        while rows.len() > ROWS_MAX {
            rows.remove(ROWS_MAX / 4);
            self.left_out += 1;
        }
        self.history = rows.into();
    }
}
