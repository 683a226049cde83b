//! A trace as something that can be drawn: the steps at its beginning and at its end, with what the judge held
//! possible after each, and what is known of those between. Its size is bounded, whatever the trace.
//!
//! A judgement ends at the fault, so the end is where a rejected trace is worth looking at. Steps that repeat each
//! other without news (queries, I/O) are one [`Mark`] that counts them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use blockjob_model::Status;

use super::reader::qemu_log::{self, Said};
use super::watch::{Belief, Read, Step, Watcher, What};

/// How many marks of the beginning are kept.
pub const HEAD_MAX: usize = 240;
/// How many of the end.
pub const TAIL_MAX: usize = 360;
/// How many jobs are followed at a time; what comes beyond is drawn without its transaction.
const FOLLOWED_MAX: usize = 1 << 16;
/// How long a name or a text may be, characters.
const TEXT_MAX: usize = 200;

/// What kind of thing a mark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A recording or a connection begins.
    Begins,
    /// A command or a call.
    Command,
    /// It was answered, and carried out.
    Success,
    /// It was answered, and refused.
    Refusal,
    /// A change of status, to this one.
    Status(Status),
    /// An event.
    Event,
    /// A look at the verb table.
    Look,
    /// A callback, or the end of a run.
    Inside,
    /// Steps without news.
    Quiet,
}

/// One or several steps at one place.
#[derive(Clone, Debug)]
pub struct Mark {
    /// The line, from 1; of several, the first.
    pub line: u64,
    /// Of several, the last.
    pub last_line: u64,
    /// When, in nanoseconds since some beginning.
    pub at_ns: Option<i64>,
    /// The job; with the monitor before it where there are several.
    pub job: Option<Arc<str>>,
    /// The job's transaction.
    pub group: Option<Arc<str>>,
    /// What kind.
    pub kind: Kind,
    /// What it says.
    pub text: String,
    /// How many steps it stands for.
    pub steps: u64,
    /// The statuses that the judge held possible for the job after it.
    pub possible: Vec<Status>,
    /// The judge took it.
    pub taken: bool,
}

/// The steps between the beginning and the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// How many.
    pub steps: u64,
    /// The first and last of their lines.
    pub lines: (u64, u64),
    /// The status that each job had behind them, by job.
    pub statuses: BTreeMap<Arc<str>, Status>,
}

impl Folded {
    fn note(&mut self, mark: &Mark) {
        if let (Kind::Status(status), Some(job), true) = (mark.kind, &mark.job, mark.taken) {
            if status == Status::Null {
                self.statuses.remove(job);
            } else if self.statuses.len() < FOLLOWED_MAX {
                self.statuses.insert(Arc::clone(job), status);
            }
        }
    }
}

#[derive(Default)]
struct Followed {
    group: Option<Arc<str>>,
}

/// A trace, as it is being read.
#[derive(Default)]
pub struct Story {
    head: Vec<Mark>,
    tail: VecDeque<Mark>,
    folded: Folded,
    followed: HashMap<Arc<str>, Followed>,
    edges: BTreeMap<(Status, Status), u64>,
    steps: u64,
    /// Several monitors or processes speak, so jobs are called by them too.
    first_source: Option<Arc<str>>,
    called: Called,
}

/// What the jobs of a trace log are called by the commands in it. The log itself knows them by their addresses,
/// which a later job may have again: then they stay with those.
#[derive(Default)]
struct Called {
    /// The id that the command under way names, by process.
    entered: HashMap<Option<u64>, String>,
    /// By address: the id, and how many jobs were there.
    jobs: HashMap<Arc<str>, (Option<String>, u64)>,
}

impl Called {
    /// What the job at this address is called, with it.
    fn name(&self, address: &Arc<str>) -> Arc<str> {
        match self.jobs.get(address) {
            Some((Some(id), 0 | 1)) => Arc::from(cut(&format!("{id} ({address})"))),
            _ => Arc::clone(address),
        }
    }
}

/// A trace that was read.
#[derive(Debug, Default)]
pub struct Told {
    /// In order.
    pub head: Vec<Mark>,
    /// What is left out between.
    pub folded: Folded,
    /// In order.
    pub tail: Vec<Mark>,
    /// How often each change of status happened.
    pub edges: BTreeMap<(Status, Status), u64>,
    /// How many steps there were.
    pub steps: u64,
}

impl Story {
    /// What was read.
    pub fn told(mut self) -> Told {
        if !self.called.jobs.is_empty() {
            let called = &self.called;
            for mark in self.head.iter_mut().chain(&mut self.tail) {
                mark.job = mark.job.as_ref().map(|job| called.name(job));
            }
            let statuses = std::mem::take(&mut self.folded.statuses);
            let named = statuses.into_iter();
            self.folded.statuses = named
                .map(|(job, status)| (called.name(&job), status))
                .collect();
        }
        Told {
            head: self.head,
            folded: self.folded,
            tail: self.tail.into(),
            edges: self.edges,
            steps: self.steps,
        }
    }

    /// What the job of a step is called here.
    fn name(&mut self, step: &Step<'_>) -> Option<Arc<str>> {
        Some(self.name_of(step.source, step.job?))
    }

    fn name_of(&mut self, source: &str, job: &str) -> Arc<str> {
        let first = self.first_source.get_or_insert_with(|| Arc::from(source));
        let name = if **first == *source {
            cut(job)
        } else {
            cut(&format!("{source} {job}"))
        };
        match self.followed.get_key_value(name.as_str()) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(name),
        }
    }

    fn push(&mut self, mark: Mark) {
        if self.tail.is_empty() && self.head.len() < HEAD_MAX {
            self.head.push(mark);
            return;
        }
        if self.tail.len() == TAIL_MAX
            && let Some(left_out) = self.tail.pop_front()
        {
            self.fold(&left_out);
        }
        self.tail.push_back(mark);
    }

    fn fold(&mut self, mark: &Mark) {
        let folded = &mut self.folded;
        if folded.steps == 0 {
            folded.lines.0 = mark.line;
            for before in &self.head {
                folded.note(before);
            }
        }
        folded.lines.1 = mark.last_line;
        folded.steps += mark.steps;
        folded.note(mark);
    }

    fn last(&mut self) -> Option<&mut Mark> {
        match self.tail.back_mut() {
            Some(mark) => Some(mark),
            None => self.head.last_mut(),
        }
    }
}

impl Watcher for Story {
    fn again(&mut self) {
        *self = Story::default();
    }

    fn before(&mut self, read: &Read<'_>, _judge: &dyn Belief) {
        let Read::Log(entry) = read else { return };
        if self.called.jobs.len() >= FOLLOWED_MAX || self.called.entered.len() >= FOLLOWED_MAX {
            return;
        }
        let source = entry
            .process
            .map_or_else(String::new, |process| process.to_string());
        match entry.said {
            Said::Enter { arguments, .. } => {
                self.called.entered.remove(&entry.process);
                if let Some(id) = qemu_log::named(arguments) {
                    self.called.entered.insert(entry.process, id);
                }
            }
            Said::Exit { .. } => {
                self.called.entered.remove(&entry.process);
            }
            Said::For { job } => {
                if let Some(id) = self.called.entered.remove(&entry.process) {
                    let name = self.name_of(&source, job);
                    self.called.jobs.entry(name).or_default().0 = Some(id);
                }
            }
            Said::Transition {
                job, to: "created", ..
            } => {
                let name = self.name_of(&source, job);
                self.called.jobs.entry(name).or_default().1 += 1;
            }
            _ => {}
        }
    }

    fn step(&mut self, step: &Step<'_>, judge: &dyn Belief) {
        self.steps += 1;
        let job = self.name(step);
        let quiet = quiet(&step.what);
        if let Some(text) = quiet
            && step.taken
            && let Some(last) = self.last()
            && last.kind == Kind::Quiet
            && last.text == text
        {
            last.steps += 1;
            last.last_line = step.line;
            if last.job != job {
                last.job = None;
                last.possible.clear();
            }
            return;
        }
        let (kind, text) = match quiet {
            Some(text) => (Kind::Quiet, text.to_owned()),
            None => words(&step.what),
        };
        if let (What::Status { from, to, .. }, true) = (step.what, step.taken)
            && let Some(from) = from
        {
            *self.edges.entry((from, to)).or_default() += 1;
        }
        let mut group = step.group.map(|group| Arc::from(cut(group)));
        if let Some(job) = &job {
            match self.followed.get(job) {
                Some(known) if group.is_none() => group.clone_from(&known.group),
                None if self.followed.len() < FOLLOWED_MAX => {
                    let group = group.clone();
                    self.followed.insert(Arc::clone(job), Followed { group });
                }
                Some(_) | None => {}
            }
        }
        let possible = match step.job {
            Some(job) => judge.statuses(job),
            None => Vec::new(),
        };
        if kind == Kind::Status(Status::Null)
            && let Some(job) = &job
        {
            self.followed.remove(job);
        }
        self.push(Mark {
            line: step.line,
            last_line: step.line,
            at_ns: step.at_ns,
            job,
            group,
            kind,
            text: cut(&text),
            steps: 1,
            possible,
            taken: step.taken,
        });
    }
}

/// What steps without news are called.
const fn quiet(what: &What<'_>) -> Option<&'static str> {
    match what {
        What::Asked(name)
        | What::Answered {
            name, error: None, ..
        } if is_query(name) => Some("queries"),
        What::Io { .. } => Some("I/O begins and ends"),
        _ => None,
    }
}

const fn is_query(name: &str) -> bool {
    matches!(name.as_bytes(), [b'q', b'u', b'e', b'r', b'y', b'-', ..])
}

fn words(what: &What<'_>) -> (Kind, String) {
    match *what {
        What::Begins => (Kind::Begins, "begins".to_owned()),
        What::Asked(name) => (Kind::Command, name.to_owned()),
        What::Answered {
            name, asked, error, ..
        } => match error {
            None => (Kind::Success, format!("{name} of line {asked} succeeds")),
            Some(text) => (Kind::Refusal, format!("{name} of line {asked}: {text}")),
        },
        What::Status { from, to, .. } => {
            let from = from.map_or_else(String::new, |from| format!("{from} "));
            (Kind::Status(to), format!("{from}→ {to}"))
        }
        What::LookedUp {
            verb,
            status,
            permitted,
        } => {
            let answer = if permitted { "permits" } else { "refuses" };
            (Kind::Look, format!("the table {answer} {verb} in {status}"))
        }
        What::Event(name) => (Kind::Event, name.to_owned()),
        What::Ended(result) => (Kind::Inside, format!("the run ends with {result}")),
        What::Callback { name, begins } => {
            let edge = if begins { "begins" } else { "ends" };
            (Kind::Inside, format!("callback {name} {edge}"))
        }
        What::Io { begins } => {
            let edge = if begins { "begins" } else { "ends" };
            (Kind::Quiet, format!("I/O {edge}"))
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use blockjob_model::Profile;
    use blockjob_model::profile::REFERENCE;

    use super::*;

    struct Nobody;

    impl Belief for Nobody {
        fn profile(&self) -> &'static Profile {
            &REFERENCE
        }

        fn statuses(&self, _job: &str) -> Vec<Status> {
            vec![Status::Running]
        }
    }

    fn step<'a>(line: u64, job: Option<&'a str>, what: What<'a>) -> Step<'a> {
        Step {
            line,
            at_ns: None,
            source: "",
            job,
            group: None,
            what,
            taken: true,
        }
    }

    const fn to(from: Status, to: Status) -> What<'static> {
        What::Status {
            from: Some(from),
            to,
            event: true,
        }
    }

    #[test]
    fn a_long_trace_is_folded_and_nothing_is_miscounted() {
        let mut story = Story::default();
        let lines = 100_000;
        for line in 1..=lines {
            let (from, next) = if line % 2 == 0 {
                (Status::Paused, Status::Running)
            } else {
                (Status::Running, Status::Paused)
            };
            story.step(&step(line, Some("j"), to(from, next)), &Nobody);
        }
        let told = story.told();
        assert_eq!((told.head.len(), told.tail.len()), (HEAD_MAX, TAIL_MAX));
        let kept = (HEAD_MAX + TAIL_MAX) as u64;
        assert_eq!(told.folded.steps, lines - kept);
        assert_eq!(told.folded.lines.0, HEAD_MAX as u64 + 1);
        assert_eq!(told.folded.lines.1, lines - TAIL_MAX as u64);
        assert_eq!(told.folded.statuses["j"], Status::Running);
        assert_eq!(told.edges[&(Status::Running, Status::Paused)], lines / 2);
        assert_eq!(told.steps, lines);
    }

    #[test]
    fn steps_without_news_are_one_mark() {
        let mut story = Story::default();
        for line in 1..=50 {
            story.step(&step(line, None, What::Asked("query-jobs")), &Nobody);
        }
        story.step(&step(51, None, What::Asked("quit")), &Nobody);
        story.step(&step(52, Some("j"), What::Io { begins: true }), &Nobody);
        story.step(&step(53, Some("k"), What::Io { begins: false }), &Nobody);
        let told = story.told();
        let marks: Vec<_> = told
            .head
            .iter()
            .map(|mark| (mark.kind, mark.line, mark.last_line, mark.steps))
            .collect();
        assert_eq!(
            marks,
            [
                (Kind::Quiet, 1, 50, 50),
                (Kind::Command, 51, 51, 1),
                (Kind::Quiet, 52, 53, 2)
            ]
        );
        assert_eq!(told.head[2].job, None, "of several jobs");
    }

    #[test]
    fn a_refused_query_is_news() {
        let refused = What::Answered {
            name: "query-jobs",
            asked: 1,
            verb: None,
            block: false,
            error: Some("no"),
        };
        assert_eq!(quiet(&refused), None);
    }
}
