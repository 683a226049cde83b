//! What one execution did, written down by the harness and its drivers.
//!
//! The record lies outside the tools' primitives (a plain lock of std): loom and shuttle run one
//! thread at a time and switch only at their own primitives, so the order of entries is the order
//! in which things happened, and recording adds neither executions nor synchronisation that could
//! hide a race. The engine's own word is taken for statuses and events alone, which it reports
//! inside the sections that make them true; everything else is what callers and drivers saw.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use blockjob::engine::EngineError;
use blockjob::trace::{TraceEntry, TraceSink, TraceStep};
use blockjob_model::accept::{Seen, SightPattern};
use blockjob_model::{Reply, Request, Status};

use crate::tool;

/// Whom a call concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// One job, by its number in the scenario.
    Job(u8),
    /// Every member of a group.
    Group(u8),
    /// Every job.
    All,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A thread of the scenario asks for something.
    Call {
        /// Which thread, as [`caller`] reads it.
        thread: u8,
        /// Of whom.
        target: Target,
        /// What.
        request: Request,
    },
    /// It has its answer.
    Answer {
        /// Which thread.
        thread: u8,
        /// The answer.
        reply: Reply,
    },
    /// It asked inside a callback of the main loop, and is told that the main loop will see to it.
    Posted {
        /// Which thread.
        thread: u8,
    },
    /// Its query lists this job …
    Listed {
        /// Which thread.
        thread: u8,
        /// Which job.
        job: u8,
        /// How it is shown.
        sight: SightPattern,
    },
    /// … and no others than those.
    Looked {
        /// Which thread.
        thread: u8,
    },
    /// Something was seen of a job.
    Seen {
        /// Which job.
        job: u8,
        /// What.
        seen: Seen,
    },
}

/// What happened, and which thread of the tool wrote it down.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// What happened, in that order.
    pub entries: Vec<Entry>,
    /// Who wrote each entry; empty for a record made by hand. Only a story needs it: the judge
    /// takes nobody's word for who did what.
    pub threads: Vec<tool::ThreadId>,
}

/// Who makes a call, by what stands for its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A thread of the scenario; 0 is the one with the main loop.
    Thread(u8),
    /// A callback of this job, on the main loop.
    Callback(u8),
    /// The body of this job, in a callback.
    Body(u8),
    /// Somebody in the middle of another call, which nobody sees.
    Unseen,
}

/// Who makes a call.
pub const fn caller(thread: u8) -> Caller {
    match thread {
        ..0x40 => Caller::Thread(thread),
        0x40..0x80 => Caller::Callback(thread - 0x40),
        0x80..0xc0 => Caller::Body(thread - 0x80),
        0xc0.. => Caller::Unseen,
    }
}

/// What stands for a thread where a callback of this job asks that the main loop runs: it may do so in
/// the middle of a call of the main loop's own thread.
pub const fn in_callback(job: u8) -> u8 {
    0x40 + job
}

/// The same where its body asks.
pub const fn in_body(job: u8) -> u8 {
    0x80 + job
}

/// The same for calls that are made inside another call, which are not seen.
pub const fn unseen(number: u8) -> u8 {
    0xc0 + number
}

/// The record of the execution that runs now.
#[derive(Default)]
pub struct Recorder {
    record: Mutex<Record>,
}

impl Recorder {
    /// An empty record.
    pub fn new() -> Arc<Recorder> {
        Arc::new(Recorder::default())
    }

    fn with<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        change(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes one entry.
    pub fn note(&self, entry: Entry) {
        let thread = tool::current_id();
        self.with(|record| {
            record.entries.push(entry);
            record.threads.push(thread);
        });
    }

    /// Writes that something was seen of a job.
    pub fn see(&self, job: u8, seen: Seen) {
        self.note(Entry::Seen { job, seen });
    }

    /// Makes a call and writes down its beginning and its answer.
    ///
    /// # Panics
    ///
    /// On an answer outside the specification, such as a main loop that is gone.
    pub fn call<T>(
        &self,
        thread: u8,
        target: Target,
        request: Request,
        make: impl FnOnce() -> Result<T, EngineError>,
    ) -> Option<T> {
        self.note(Entry::Call {
            thread,
            target,
            request,
        });
        let answer = make();
        let reply = reply(request, &answer);
        self.note(Entry::Answer { thread, reply });
        answer.ok()
    }

    /// The same inside a callback of the main loop, of something that the main loop carries out.
    ///
    /// # Panics
    ///
    /// As [`call`](Self::call).
    pub fn post(
        &self,
        thread: u8,
        target: Target,
        request: Request,
        make: impl FnOnce() -> Result<(), EngineError>,
    ) {
        self.note(Entry::Call {
            thread,
            target,
            request,
        });
        self.note(match reply(request, &make()) {
            Ok(()) => Entry::Posted { thread },
            refused => Entry::Answer {
                thread,
                reply: refused,
            },
        });
    }

    /// Whether this was seen of a job.
    pub fn saw(&self, job: u8, seen: Seen) -> bool {
        self.with(|record| record.entries.contains(&Entry::Seen { job, seen }))
    }

    /// The last status seen of a job.
    pub fn status(&self, number: u8) -> Status {
        let last = |record: &mut Record| {
            record.entries.iter().rev().find_map(|entry| match entry {
                Entry::Seen {
                    job,
                    seen: Seen::Status(status),
                } if *job == number => Some(*status),
                _ => None,
            })
        };
        self.with(last).unwrap_or(Status::Undefined)
    }

    /// Begins another execution.
    pub fn clear(&self) {
        self.with(|record| {
            record.entries.clear();
            record.threads.clear();
        });
    }

    /// Gives the entries so far to `read`.
    pub fn read<T>(&self, read: impl FnOnce(&[Entry]) -> T) -> T {
        self.with(|record| read(&record.entries))
    }

    /// A copy of the record so far; `None` while somebody has it in hand.
    pub fn try_copy(&self) -> Option<Record> {
        self.record.try_lock().ok().map(|record| record.clone())
    }
}

/// An answer as the specification calls it.
fn reply<T>(request: Request, answer: &Result<T, EngineError>) -> Reply {
    match answer {
        Ok(_) => Ok(()),
        Err(error) => Err(error
            .refusal()
            .unwrap_or_else(|| panic!("{request} answers what no specification has: {error}"))),
    }
}

/// The number of the job called `j0`, `j1` … in a scenario.
pub(crate) fn number(id: &str) -> u8 {
    id.strip_prefix('j')
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("no job of a scenario is called '{id}'"))
}

/// What the engine's own word becomes.
fn entry(entry: &TraceEntry<'_>) -> Entry {
    let seen = match entry.step {
        TraceStep::Status(status) => Seen::Status(status),
        TraceStep::Event(event, _) => Seen::Event(event),
        step => panic!("the engine records statuses and events only, not {step:?}"),
    };
    Entry::Seen {
        job: number(entry.job.unwrap_or_default()),
        seen,
    }
}

impl TraceSink for Recorder {
    fn record(&self, step: &TraceEntry<'_>) {
        self.note(entry(step));
    }

    fn record_together(&self, steps: &[TraceEntry<'_>]) {
        let thread = tool::current_id();
        self.with(|record| {
            record.entries.extend(steps.iter().map(entry));
            record.threads.resize(record.entries.len(), thread);
        });
    }
}

/// A number for a record and what belongs to it, to tell records apart.
pub fn digest(record: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.hash(&mut hasher);
    hasher.finish()
}
