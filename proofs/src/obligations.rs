//! What must be true when an execution is over, whatever happened in it: no job is lost, what began
//! has ended, whoever was paused went on, and nothing is left of it in memory.
//!
//! The acceptor demands most of this as well, for what it sees of the specification's worlds. Here
//! it is counted in the record and in memory, without the specification. That every thread comes
//! to its end is the tools' own demand: whoever stays blocked is a deadlock there.

use std::sync::Arc;

use blockjob::engine::Manager;
use blockjob_model::accept::Seen;
use blockjob_model::{Callback, Status};

use crate::record::{Entry, Recorder};
use crate::story::Fault;

/// Holds the record of a whole execution to it.
///
/// # Errors
///
/// Something was left undone.
pub fn of_record(entries: &[Entry]) -> Result<(), Box<Fault>> {
    let mut ledgers: Vec<Ledger> = Vec::new();
    let mut calls: Vec<(u8, bool)> = Vec::new();
    for entry in entries {
        match *entry {
            Entry::Call { thread, .. } => set(&mut calls, thread, true),
            Entry::Answer { thread, .. } | Entry::Posted { thread } | Entry::Looked { thread } => {
                set(&mut calls, thread, false);
            }
            Entry::Listed { .. } => {}
            Entry::Seen { job, seen } => {
                let job = usize::from(job);
                if ledgers.len() <= job {
                    ledgers.resize_with(job + 1, Ledger::default);
                }
                ledgers[job].add(seen);
            }
        }
    }
    if let Some((thread, _)) = calls.iter().find(|(_, open)| *open) {
        return Err(Box::new(fault(
            entries,
            "call-without-answer",
            &format!("a call of thread {thread} has no answer"),
        )));
    }
    for (job, ledger) in ledgers.iter().enumerate() {
        if let Some((rule, what)) = ledger.owes() {
            return Err(Box::new(fault(entries, rule, &format!("j{job} {what}"))));
        }
    }
    Ok(())
}

fn set(calls: &mut Vec<(u8, bool)>, thread: u8, open: bool) {
    match calls.iter_mut().find(|(other, _)| *other == thread) {
        Some(call) => call.1 = open,
        None => calls.push((thread, open)),
    }
}

/// At the end, every job was dismissed: the manager knows of none.
///
/// Not asked under loom, where it would be one more thing to interleave with the ends of the other
/// threads: there it is the record that says that every job came to `null`.
///
/// # Errors
///
/// It does.
pub fn nobody_is_listed(manager: &Manager) -> Result<(), Box<Fault>> {
    let jobs = manager.query_jobs();
    if jobs.is_empty() {
        return Ok(());
    }
    let listed: Vec<String> = jobs
        .iter()
        .map(|job| format!("{} ({})", job.id, job.status))
        .collect();
    Err(Box::new(Fault {
        rule: "job-left-over".to_owned(),
        message: format!("at the end the manager still lists {}", listed.join(", ")),
        allowed: vec!["a query that lists nobody".to_owned()],
        ..Fault::default()
    }))
}

/// Nobody but `expected` owners has the recorder: every driver, every completion function, every
/// thread and every manager, each of which holds it, was let go of.
///
/// # Errors
///
/// Somebody has.
pub fn nothing_is_leaked(recorder: &Arc<Recorder>, expected: usize) -> Result<(), Box<Fault>> {
    let left = Arc::strong_count(recorder).saturating_sub(expected);
    if left == 0 {
        return Ok(());
    }
    Err(Box::new(Fault {
        rule: "leaked".to_owned(),
        message: format!(
            "every thread has ended and everything was dropped, but {left} of what held the record \
             (drivers, completion functions, managers) is still there"
        ),
        allowed: vec!["nothing that is left in memory".to_owned()],
        ..Fault::default()
    }))
}

fn fault(entries: &[Entry], rule: &str, message: &str) -> Fault {
    Fault {
        place: Some(entries.len()),
        rule: rule.to_owned(),
        message: format!("the execution is over, but {message}"),
        allowed: vec!["an end at which nothing is owed".to_owned()],
        ..Fault::default()
    }
}

/// What began and ended of one job.
#[derive(Debug, Default)]
struct Ledger {
    status: Option<Status>,
    begun: [u32; Callback::ALL.len()],
    ended: [u32; Callback::ALL.len()],
    points: [u32; 2],
    io: [u32; 2],
}

impl Ledger {
    fn add(&mut self, seen: Seen) {
        match seen {
            Seen::Status(status) => self.status = Some(status),
            Seen::Begin(callback) => self.begun[callback as usize] += 1,
            Seen::End(callback, _) => self.ended[callback as usize] += 1,
            Seen::PointBegin => self.points[0] += 1,
            Seen::PointEnd => self.points[1] += 1,
            Seen::IoBegin => self.io[0] += 1,
            Seen::IoEnd => self.io[1] += 1,
            Seen::Event(_) => {}
        }
    }

    fn begun(&self, callback: Callback) -> u32 {
        self.begun[callback as usize]
    }

    /// The first thing that is owed.
    fn owes(&self) -> Option<(&'static str, String)> {
        let status = self.status?;
        if matches!(status, Status::Paused | Status::Standby) {
            return Some(("left-parked", format!("is still {status}")));
        }
        if status != Status::Null {
            return Some(("job-lost", format!("is {status} and never came to null")));
        }
        let open = Callback::ALL
            .into_iter()
            .find(|&callback| self.begun(callback) != self.ended[callback as usize]);
        if let Some(callback) = open {
            return Some((
                "callback-unbalanced",
                format!(
                    "began {callback} {} times and ended it {} times",
                    self.begun(callback),
                    self.ended[callback as usize]
                ),
            ));
        }
        let (paused, resumed) = (self.begun(Callback::Pause), self.begun(Callback::Resume));
        if paused != resumed {
            return Some((
                "pause-unbalanced",
                format!("was told of {paused} pauses and of the end of {resumed}"),
            ));
        }
        if self.points[0] != self.points[1] {
            return Some(("left-at-point", "never left a pause point".to_owned()));
        }
        if self.io[0] != self.io[1] {
            return Some(("io-unbalanced", "has I/O in flight".to_owned()));
        }
        for callback in [Callback::Run, Callback::Prepare, Callback::Commit] {
            if self.begun(callback) > 1 {
                return Some(("callback-again", format!("had {callback} more than once")));
            }
        }
        (self.begun(Callback::Free) != 1).then(|| {
            let times = self.begun(Callback::Free);
            ("not-freed-once", format!("was let go of {times} times"))
        })
    }
}
