//! The engine's own trace, judged.
//!
//! | module | what it judges |
//! |---|---|
//! | this one | records, and who is calling |
//! | `call` | calls and returns |
//! | `sight` | statuses, events, callbacks, I/O |
//! | `recover` | how it goes on behind a fault |

mod call;
mod recover;
mod sight;

use std::collections::{HashMap, HashSet};

use blockjob_model::accept::{Acceptor, GroupKey, JobKey, Seen};
use blockjob_model::state::JobSpec;
use blockjob_model::step::View;
use blockjob_model::{Profile, Status};

use super::Observer;
use crate::oracle::error::TraceError;
use crate::oracle::fields::Known;
use crate::oracle::reader::native::{Record, shape};
use crate::oracle::verdict::Fault;
use crate::oracle::watch::Belief;

/// Why a record stops the judgement.
pub enum Stop {
    /// It contradicts the specification.
    Fault(Fault),
    /// It is no record.
    Error(TraceError),
}

impl From<TraceError> for Stop {
    fn from(error: TraceError) -> Stop {
        Stop::Error(error)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

/// A call under way.
struct Call {
    line: u64,
    verb: String,
    id: String,
    /// The acceptor knows of it.
    called: bool,
    /// It begins or ends the hold of this number.
    hold: Option<u8>,
    /// It creates this job.
    creates: Option<JobKey>,
    /// No job has the id: the call can only fail.
    nobody: bool,
    /// It created the job and gave it up again: the call can only fail.
    gives_up: bool,
    /// It is to create a job whose id another one has: it may be free before the call returns.
    waits: Option<Plan>,
}

/// A job that a call is to create.
struct Plan {
    specs: Vec<JobSpec>,
    group: Option<String>,
    kind: Option<String>,
}

/// A `pause_all` or a drained section.
struct Hold {
    /// What the trace calls it.
    token: Option<i128>,
    /// Its number in the specification, which knows eight at a time.
    number: u8,
    /// The call that ends it has not returned.
    ends: bool,
}

/// A transaction by its name in the trace.
struct Named {
    key: GroupKey,
    /// Members that are not gone.
    live: usize,
}

struct Job {
    known: Known,
    key: JobKey,
    group: Option<String>,
}

/// A native trace, judged.
pub struct Judge {
    acceptor: Acceptor,
    others: bool,
    /// Whoever calls, by the name of the thread.
    threads: HashMap<String, u16>,
    /// How many callbacks of the main loop are open, by the name of the thread.
    inside: HashMap<String, u32>,
    calls: HashMap<u16, Call>,
    groups: HashMap<String, Named>,
    jobs: HashMap<String, Job>,
    /// Jobs that are gone and whose drivers are not: `free` is still to come.
    leaving: Vec<(String, JobKey)>,
    /// Outstanding `pause_all`s and drained sections.
    holds: Vec<Hold>,
    last_seq: Option<i128>,
    next_serial: u64,
    records: u64,
    witnessed: u64,
    /// What was taken to be missing before a fault; if it is seen later, it came late.
    assumed: Vec<(JobKey, Seen)>,
    /// Jobs of which the last observation was a fault and passed over.
    shaken: Vec<JobKey>,
    /// Jobs that are not believed in any more behind a fault, by what the trace calls them.
    adrift: HashSet<String>,
}

/// How much is remembered of what was repaired.
const REPAIRED_MAX: usize = 1024;

impl Belief for Judge {
    fn profile(&self) -> &'static Profile {
        self.profile()
    }

    fn statuses(&self, job: &str) -> Vec<Status> {
        self.jobs
            .get(job)
            .map_or_else(Vec::new, |job| self.acceptor.statuses(job.key))
    }
}

impl Judge {
    /// A trace of an implementation of `profile`.
    pub fn new(profile: &'static Profile, observer: Observer) -> Judge {
        Judge {
            acceptor: Acceptor::new(profile, View::TRACE),
            others: observer == Observer::Shared,
            threads: HashMap::new(),
            inside: HashMap::new(),
            calls: HashMap::new(),
            groups: HashMap::new(),
            jobs: HashMap::new(),
            leaving: Vec::new(),
            holds: Vec::new(),
            last_seq: None,
            next_serial: 0,
            records: 0,
            witnessed: 0,
            assumed: Vec::new(),
            shaken: Vec::new(),
            adrift: HashSet::new(),
        }
    }

    /// The profile it is judged by.
    pub fn profile(&self) -> &'static Profile {
        self.acceptor.profile()
    }

    /// Records so far.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Returns, statuses and events so far.
    pub const fn witnessed(&self) -> u64 {
        self.witnessed
    }

    /// Jobs so far.
    pub const fn jobs(&self) -> u64 {
        self.next_serial
    }

    /// How often the belief had to be widened.
    pub fn widened(&self) -> u64 {
        self.acceptor.widened()
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// It contradicts the specification, or is no record.
    pub fn take(&mut self, line: u64, record: &Record<'_>) -> Result<(), Stop> {
        self.records += 1;
        if let Some(seq) = record.seq.as_integer() {
            if self.last_seq.is_some_and(|last| seq <= last) {
                return Err(shape(
                    line,
                    "\"seq\" does not rise; put the records back into their order",
                )
                .into());
            }
            self.last_seq = Some(seq);
        }
        let Some(kind) = record.kind.as_str() else {
            return Err(shape(line, "\"kind\" is missing or no string").into());
        };
        match kind.as_ref() {
            "call" => {
                let called = self.call(line, record);
                if matches!(called, Err(Stop::Fault(_)))
                    && let Ok(thread) = self.caller(line, record)
                {
                    // The one that did not return is taken to have.
                    self.settle(thread);
                    let _ = self.call(line, record);
                }
                called
            }
            "return" => {
                self.witnessed += 1;
                let returned = self.returned(line, record);
                if matches!(returned, Err(Stop::Fault(_)))
                    && let Ok(thread) = self.caller(line, record)
                {
                    self.settle(thread);
                }
                returned
            }
            "status" => {
                self.witnessed += 1;
                self.status(line, record)
            }
            "event" => {
                self.witnessed += 1;
                self.event(line, record)
            }
            "callback" => self.callback(line, record),
            "io" => {
                let seen = match edge(line, record)? {
                    Edge::Begin => Seen::IoBegin,
                    Edge::End => Seen::IoEnd,
                };
                self.observe(line, record, "io", seen)
            }
            other => Err(shape(
                line,
                &format!(
                    "\"kind\" is {other:?}; it is call, return, status, event, callback or io"
                ),
            )
            .into()),
        }
    }

    /// The number of whoever calls: the thread a record names, and, inside a callback of the main loop
    /// that calls back, another than the one outside, whose call may be what the callback is for.
    fn caller(&mut self, line: u64, record: &Record<'_>) -> Result<u16, TraceError> {
        let Some(name) = record.thread.as_str() else {
            return Err(shape(line, "\"thread\" is missing or no string"));
        };
        let name = match self.inside.get(name.as_ref()) {
            None => name,
            // No thread is called so: the names are printed ones.
            Some(depth) => format!("{name}\0{depth}").into(),
        };
        if let Some(&number) = self.threads.get(name.as_ref()) {
            return Ok(number);
        }
        let Ok(number) = u16::try_from(self.threads.len()) else {
            return Err(shape(
                line,
                "more than 65536 threads call; that many are not told apart",
            ));
        };
        self.threads.insert(name.into_owned(), number);
        Ok(number)
    }

    /// A callback of the main loop begins or ends on the thread that the record names.
    fn note_callback(&mut self, record: &Record<'_>, edge: Edge) {
        let name = record.thread.as_str().unwrap_or_default();
        match edge {
            Edge::Begin => *self.inside.entry(name.into_owned()).or_default() += 1,
            Edge::End => {
                if let Some(depth) = self.inside.get_mut(name.as_ref()) {
                    *depth -= 1;
                    if *depth == 0 {
                        self.inside.remove(name.as_ref());
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Edge {
    Begin,
    End,
}

fn edge(line: u64, record: &Record<'_>) -> Result<Edge, TraceError> {
    match record.edge.as_str().as_deref() {
        Some("begin") => Ok(Edge::Begin),
        Some("end") => Ok(Edge::End),
        _ => Err(shape(line, "\"edge\" is begin or end")),
    }
}
