//! What is kept of the jobs that faults concern, while a rejected trace is read once more.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use blockjob_model::Status;

use super::{Explanation, JOBS_MAX, Row};
use crate::oracle::judge::command::{Ask, makes_jobs};
use crate::oracle::reader::qmp::{Direction, Entry, Message};
use crate::oracle::verdict::Fault;
use crate::oracle::watch::{Belief, Read, Step, Watcher, What};

/// How many rows are kept of one job.
const KEPT_MAX: usize = 32;

/// So many of them are its first ones.
const FIRST: usize = 6;

/// How many rows are kept of everything, for faults that concern no job.
const RECENT_MAX: usize = 12;

/// How many jobs are followed, those of one id in several processes counted apart.
const FOLLOWED_MAX: usize = 4096;

/// The longest text of a row, in characters.
const TEXT_MAX: usize = 100;

/// The rows of one job.
#[derive(Debug, Default)]
struct Kept {
    /// Each with its number, which says in which order they came.
    rows: VecDeque<(u64, Row)>,
    left_out: u64,
    /// What a query last showed of it.
    listed: String,
}

impl Kept {
    fn push(&mut self, number: u64, row: Row) {
        self.rows.push_back((number, row));
        if self.rows.len() > KEPT_MAX {
            self.rows.remove(FIRST);
            self.left_out += 1;
        }
    }

    /// Another job of the same id: what came before the end of the one before is not its history, but for the
    /// command that makes it, which may have been written before that.
    fn begin(&mut self) {
        let gone = |(_, row): &(u64, Row)| row.what == STATUS_NULL;
        if let Some(end) = self.rows.iter().rposition(gone) {
            let over: Vec<(u64, Row)> = self.rows.drain(..=end).collect();
            let open = |row: &Row| asks_for_a_job(&row.what) && !is_answered(row.line, &over);
            let asked = over.iter().rfind(|(_, row)| open(row));
            if let Some(asked) = asked {
                self.rows.push_front(asked.clone());
            }
            self.left_out = 0;
        }
        self.listed.clear();
    }
}

/// How the last row of a job reads.
const STATUS_NULL: &str = "status null";

/// Whether a row tells of a command that makes jobs.
fn asks_for_a_job(what: &str) -> bool {
    what.strip_prefix("> ")
        .is_some_and(|name| name.starts_with("transaction") || makes_jobs(name))
}

/// Whether one of these rows tells of the answer to the command of that line.
fn is_answered(asked: u64, rows: &[(u64, Row)]) -> bool {
    let of = format!(" of line {asked}: ");
    rows.iter()
        .any(|(_, row)| row.what.starts_with("< ") && row.what.contains(&of))
}

/// Keeps the history of the jobs that given faults concern, and tells it at each of them.
#[derive(Debug)]
pub struct Historian {
    faults: Vec<Explanation>,
    /// How many of them have been told.
    told: usize,
    /// By the name of the source and that of the job.
    jobs: HashMap<(String, String), Kept>,
    recent: Kept,
    /// The jobs that commands of these lines make together.
    transactions: HashMap<u64, Vec<String>>,
    /// Some fault concerns no job.
    everything: bool,
    number: u64,
    /// The line that is being read, whence, and what it is where no step says more.
    line: u64,
    source: String,
    otherwise: &'static str,
}

impl Historian {
    /// For these faults, in the order of their lines.
    pub fn new<'a>(faults: impl IntoIterator<Item = &'a Fault>) -> Historian {
        let faults: Vec<Explanation> = faults.into_iter().map(Explanation::of).collect();
        Historian {
            everything: faults.iter().any(|fault| fault.concerned.is_empty()),
            faults,
            told: 0,
            jobs: HashMap::new(),
            recent: Kept::default(),
            transactions: HashMap::new(),
            number: 0,
            line: 0,
            source: String::new(),
            otherwise: "",
        }
    }

    /// The explanations, with what was met of their histories.
    pub fn end(mut self) -> Vec<Explanation> {
        self.tell();
        self.faults
    }

    /// The line that was being read is over.
    fn tell(&mut self) {
        while let Some(fault) = self.faults.get_mut(self.told)
            && fault.line <= self.line
        {
            self.told += 1;
            let mut rows: Vec<&(u64, Row)> = Vec::new();
            let mut left_out = 0;
            if fault.concerned.is_empty() {
                rows.extend(&self.recent.rows);
            }
            for job in fault.concerned.iter().take(JOBS_MAX) {
                let key = (self.source.clone(), job.clone());
                if let Some(kept) = self.jobs.get(&key) {
                    rows.extend(&kept.rows);
                    left_out += kept.left_out;
                }
            }
            rows.sort_by_key(|(number, _)| *number);
            let mut rows: VecDeque<Row> = rows.into_iter().map(|(_, row)| row.clone()).collect();
            if rows.back().is_none_or(|row| row.line != fault.line) {
                rows.push_back(Row {
                    line: fault.line,
                    t_ns: None,
                    job: fault.concerned.first().cloned().unwrap_or_default(),
                    what: self.otherwise.to_owned(),
                });
            }
            fault.tell(rows, left_out);
        }
    }

    fn concerns(&self, job: &str) -> bool {
        self.faults[self.told..]
            .iter()
            .any(|fault| fault.concerned.iter().take(JOBS_MAX).any(|id| id == job))
    }

    fn note(&mut self, line: u64, t_ns: Option<i64>, job: &str, what: String) {
        let row = Row {
            line,
            t_ns,
            job: job.to_owned(),
            what,
        };
        self.number += 1;
        if self.everything {
            self.recent.push(self.number, row.clone());
            while self.recent.rows.len() > RECENT_MAX {
                self.recent.rows.pop_front();
            }
        }
        if !job.is_empty() && self.concerns(job) {
            let number = self.number;
            if let Some(kept) = self.kept(job) {
                kept.push(number, row);
            }
        }
    }

    fn kept(&mut self, job: &str) -> Option<&mut Kept> {
        let key = (self.source.clone(), job.to_owned());
        if !self.jobs.contains_key(&key) && self.jobs.len() == FOLLOWED_MAX {
            return None;
        }
        Some(self.jobs.entry(key).or_default())
    }

    /// What steps do not tell of a message: commands for several jobs, and what queries list.
    fn message(&mut self, line: u64, direction: Direction, message: &Message<'_>) {
        if direction == Direction::Sent {
            self.otherwise = "> a command";
            if let Ask::Create(creation) = Ask::of(message)
                && creation.transaction
            {
                let mut asked = Vec::new();
                for plan in &creation.jobs {
                    if let Some(id) = plan.id.as_deref()
                        && self.concerns(id)
                    {
                        let what = format!("> transaction: {}", plan.kind);
                        self.note(line, None, id, what);
                        asked.push(id.to_owned());
                    }
                }
                if self.transactions.len() == FOLLOWED_MAX {
                    self.transactions.clear();
                }
                if !asked.is_empty() {
                    self.transactions.insert(line, asked);
                }
            }
            return;
        }
        self.otherwise = if message.event.is_present() {
            "an event"
        } else if message.greeting.is_present() {
            "a greeting"
        } else if message.error.is_present() {
            "< an error"
        } else {
            "< a reply"
        };
        let listed = message.value.text().starts_with('[');
        if !listed {
            return;
        }
        let entries: Vec<Entry<'_>> = message.value.read().unwrap_or_default();
        for entry in entries {
            let Some(id) = entry.id.as_str().or(entry.device.as_str()) else {
                continue;
            };
            if !self.concerns(&id) {
                continue;
            }
            let status = entry.status.as_str().unwrap_or("there".into());
            let mut shows = status.clone().into_owned();
            let known = Status::from_name(&status);
            for (word, flag, follows) in [
                ("paused", entry.paused, known.map(Status::is_parked)),
                ("ready", entry.ready, known.map(Status::is_ready)),
            ] {
                // What the status says already is not said again.
                if let Some(flag) = flag.as_bool()
                    && Some(flag) != follows
                {
                    let _ = write!(shows, ", {word}: {flag}");
                }
            }
            if entry.error.is_present() {
                shows.push_str(", with an error");
            }
            let faulty = self.faults[self.told..]
                .iter()
                .any(|fault| fault.line == line);
            let known = self
                .kept(&id)
                .is_some_and(|kept| std::mem::replace(&mut kept.listed, shows.clone()) == shows);
            if !known || faulty {
                self.note(line, None, &id, format!("< listed as {shows}"));
            }
        }
    }
}

impl Watcher for Historian {
    fn before(&mut self, read: &Read<'_>, _judge: &dyn Belief) {
        self.tell();
        self.source.clear();
        match *read {
            Read::Message(monitor, record) => {
                self.line = record.line;
                self.source.push_str(monitor);
                self.message(record.line, record.direction, &record.message);
            }
            Read::Native(line, _) => {
                self.line = line;
                self.otherwise = "a record";
            }
            Read::Log(entry) => {
                self.line = entry.line;
                if let Some(process) = entry.process {
                    self.source = process.to_string();
                }
                self.otherwise = "an entry of the log";
            }
            Read::Libvirt(entry) => {
                self.line = entry.line;
                self.source.push_str(entry.monitor);
                self.otherwise = "an entry of the log";
            }
        }
    }

    fn step(&mut self, step: &Step<'_>, _judge: &dyn Belief) {
        let job = step.job.unwrap_or_default();
        if let What::Answered { asked, .. } = step.what
            && let Some(jobs) = self.transactions.remove(&asked)
        {
            for job in jobs {
                self.note(step.line, step.at_ns, &job, shortened(words(&step.what)));
            }
            return;
        }
        if !self.everything && !self.concerns(job) {
            return;
        }
        self.line = step.line;
        if let What::Status {
            to: Status::Created,
            ..
        } = step.what
            && self.concerns(job)
            && let Some(kept) = self.kept(job)
        {
            kept.begin();
        }
        let what = shortened(words(&step.what));
        if !what.is_empty() {
            self.note(step.line, step.at_ns, job, what);
        }
    }
}

fn shortened(mut what: String) -> String {
    if let Some((end, _)) = what.char_indices().nth(TEXT_MAX) {
        what.truncate(end);
        what.push('…');
    }
    what
}

/// A step in words.
fn words(what: &What<'_>) -> String {
    let edge = |begins| if begins { "begins" } else { "ends" };
    match *what {
        What::Begins => "a connection begins".to_owned(),
        What::Asked(name) => format!("> {name}"),
        What::Answered {
            name,
            error: Some(error),
            asked,
            ..
        } => format!("< {name} of line {asked}: {error}"),
        What::Answered { name, asked, .. } => format!("< {name} of line {asked}: success"),
        What::Status { to, .. } => format!("status {to}"),
        What::LookedUp {
            verb,
            status,
            permitted,
        } => format!(
            "{verb} in {status}: {}",
            if permitted { "allowed" } else { "prohibited" }
        ),
        What::Event(event) => event.to_owned(),
        What::Ended(result) => format!("its run ended with {result}"),
        What::Callback { name, begins } => format!("callback {name} {}", edge(begins)),
        What::Io { begins } => format!("a piece of I/O {}", edge(begins)),
    }
}
