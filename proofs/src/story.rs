//! The story of the one execution that failed: a lane for each thread, a row for each step, and
//! the row in which the rule broke.
//!
//! [`Story::tell`] lays a record out; [`table`] prints it for a terminal, [`page`] as a page of
//! HTML, and [`teller`] does both when a harness fails. What follows the table is the same in both:
//! the rule, what was allowed in place of what happened, and how to see it happen again.

pub mod about;
pub mod page;
pub mod table;
pub mod teller;

use std::fmt::Write as _;

use blockjob_model::accept::{Rejection, Seen, SightPattern};

use blockjob_model::verb::Refusal;
use blockjob_model::{Callback, Request};

use crate::record::{Caller, Entry, Record, Target, caller};

/// The rule that somebody goes on until everybody is done.
pub const DEADLOCK: &str = "deadlock";

/// Where a story comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The harness; empty for a scenario that belongs to none.
    pub harness: String,
    /// The tool of this build.
    pub tool: Option<&'static str>,
    /// Which of the harness's cases, counted from 1, and how many there are.
    pub case: Option<(usize, usize)>,
    /// The case in words, one line each.
    pub about: Vec<String>,
    /// The execution of that case, counted from 1.
    pub execution: u64,
    /// Where the tool's random numbers begin.
    pub seed: Option<u64>,
    /// The file that holds the case and its schedule.
    pub file: Option<String>,
}

/// What is wrong with an execution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The entry that the rule does not allow; the end of the record where there is none.
    pub place: Option<usize>,
    /// The rule, by name.
    pub rule: String,
    /// Where SEMANTICS.md has it.
    pub section: Option<&'static str>,
    /// What happened, in plain words.
    pub message: String,
    /// What would have been allowed there.
    pub allowed: Vec<String>,
    /// How the execution ended, where it did not end by itself.
    pub ending: Option<String>,
}

impl Fault {
    /// What the specification's acceptor found at an entry.
    pub fn of(place: usize, rejection: Rejection) -> Fault {
        let mut allowed = rejection.allowed;
        allowed.sort_unstable();
        allowed.dedup();
        Fault {
            place: Some(place),
            rule: rejection.rule.to_owned(),
            section: Some(rejection.section),
            message: rejection.message.to_string(),
            allowed,
            ending: None,
        }
    }
}

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A thread of the scenario; 0 is the one with the main loop.
    Thread(u8),
    /// The body of a job.
    Body(u8),
    /// Another worker of a job.
    Worker(u8),
}

impl Who {
    /// The head of the lane.
    pub fn name(self) -> String {
        match self {
            Who::Thread(0) => "main loop".to_owned(),
            Who::Thread(thread) => format!("controller {thread}"),
            Who::Body(job) => format!("body of j{job}"),
            Who::Worker(job) => format!("lane of j{job}"),
        }
    }
}

/// What a lane shows in a row in which it does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inside {
    /// Nothing.
    #[default]
    Nothing,
    /// It is in the middle of a call, a callback, or a piece of I/O.
    Call,
    /// It is at a pause point.
    Point,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its first entry in the record; `None` for the row that says where everybody stands.
    pub place: Option<usize>,
    /// What each lane does; an empty text where it does nothing.
    pub cells: Vec<Vec<String>>,
    /// Where each lane is that does nothing.
    pub inside: Vec<Inside>,
    /// The rule broke here.
    pub broke: bool,
}

/// An execution laid out for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// Where it comes from.
    pub origin: Origin,
    /// Who takes part.
    pub lanes: Vec<Who>,
    /// What they do.
    pub rows: Vec<Row>,
    /// What is wrong.
    pub fault: Fault,
    /// How to see it again.
    pub replay: Vec<String>,
}

/// What a lane has begun and not ended.
#[derive(Clone, Debug)]
struct Open {
    what: String,
    inside: Inside,
}

impl Story {
    /// Lays a record out, up to the entry that the fault is about.
    pub fn tell(origin: Origin, record: &Record, fault: Fault) -> Story {
        let end = fault
            .place
            .map_or(record.entries.len(), |place| place + 1)
            .min(record.entries.len());
        let doers = doers(record);
        let (entries, doers) = (&record.entries[..end], &doers[..end]);
        let mut lanes = doers.to_vec();
        lanes.push(Who::Thread(0));
        lanes.sort_unstable();
        lanes.dedup();
        let mut layout = Layout::new(&lanes);
        for (place, (entry, &who)) in entries.iter().zip(doers).enumerate() {
            let lane = lanes.binary_search(&who).unwrap_or_default();
            layout.add(place, lane, *entry, fault.place == Some(place));
        }
        if fault.place.is_none_or(|place| place >= entries.len()) {
            layout.stand(fault.place.is_some() || fault.rule == DEADLOCK);
        }
        let rows = layout.rows;
        let replay = how_to_replay(&origin);
        Story {
            origin,
            lanes,
            rows,
            fault,
            replay,
        }
    }

    /// The first line: which execution, of what.
    pub fn title(&self) -> String {
        let origin = &self.origin;
        let mut title = match (origin.harness.as_str(), origin.tool) {
            ("", _) => "a scenario".to_owned(),
            (harness, None) => harness.to_owned(),
            (harness, Some(tool)) => format!("{harness} under {tool}"),
        };
        if let Some((case, cases)) = origin.case {
            let _ = write!(title, ", case {case} of {cases}");
        }
        if origin.execution > 0 {
            let _ = write!(title, ", execution {}", origin.execution);
        }
        title
    }

    /// The rule, with its place in SEMANTICS.md.
    pub fn rule(&self) -> String {
        match self.fault.section {
            Some(section) => format!("{} (SEMANTICS {section})", self.fault.rule),
            None => self.fault.rule.clone(),
        }
    }
}

/// How to see an execution again: commands and what they need.
pub fn how_to_replay(origin: &Origin) -> Vec<String> {
    if origin.harness.is_empty() {
        return Vec::new();
    }
    if let Some(file) = &origin.file {
        return vec![format!("cargo xtask prove --replay {file}")];
    }
    let name = &origin.harness;
    let mut lines = Vec::new();
    match origin.case {
        Some((case, _)) => {
            lines.push(format!("cargo xtask prove --harness {name} --case {case}"));
            if origin.tool == Some("loom") {
                lines.push(format!(
                    "loom explores in one order: execution {} of this case fails again",
                    origin.execution
                ));
            }
        }
        None => lines.push(format!("cargo xtask prove --harness {name}")),
    }
    if let Some(seed) = origin.seed {
        lines.push(format!(
            "the seed is {seed}: execution {} fails again",
            origin.execution
        ));
    }
    lines
}

/// Who made each entry: by its thread where that is known, else by what it says.
fn doers(record: &Record) -> Vec<Who> {
    let known = |thread| {
        let of = |(entry, other): (&Entry, _)| (other == thread).then(|| says(*entry)).flatten();
        record
            .entries
            .iter()
            .zip(record.threads.iter().copied())
            .find_map(of)
    };
    let mut threads = Vec::new();
    let mut last = Who::Thread(0);
    record
        .entries
        .iter()
        .enumerate()
        .map(|(place, entry)| {
            let who = match record.threads.get(place) {
                None => says(*entry),
                Some(&thread) => threads
                    .iter()
                    .find(|&&(other, _)| other == thread)
                    .map(|&(_, who)| who)
                    .or_else(|| {
                        let who = known(thread)?;
                        threads.push((thread, who));
                        Some(who)
                    }),
            };
            let who = who.unwrap_or_else(|| match *entry {
                // Nobody who says so ever called or had a callback: a body that never ran, or a
                // worker beside it.
                Entry::Seen { job, seen } => match (record.threads.get(place), seen) {
                    (None, Seen::Status(_) | Seen::Event(_)) => last,
                    (Some(_), Seen::IoBegin | Seen::IoEnd) => Who::Worker(job),
                    _ => Who::Body(job),
                },
                Entry::Call { thread, .. }
                | Entry::Answer { thread, .. }
                | Entry::Posted { thread }
                | Entry::Listed { thread, .. }
                | Entry::Looked { thread } => calls(thread).unwrap_or(last),
            });
            last = who;
            who
        })
        .collect()
}

/// Who an entry says that it was made by, if it does.
fn says(entry: Entry) -> Option<Who> {
    match entry {
        Entry::Call { thread, .. }
        | Entry::Answer { thread, .. }
        | Entry::Posted { thread }
        | Entry::Listed { thread, .. }
        | Entry::Looked { thread } => calls(thread),
        Entry::Seen { job, seen } => match seen {
            Seen::Begin(callback) | Seen::End(callback, _) => Some(if callback.on_main_loop() {
                Who::Thread(0)
            } else {
                Who::Body(job)
            }),
            Seen::PointBegin | Seen::PointEnd => Some(Who::Body(job)),
            Seen::IoBegin | Seen::IoEnd | Seen::Status(_) | Seen::Event(_) => None,
        },
    }
}

/// Who makes a call, if it is seen.
fn calls(thread: u8) -> Option<Who> {
    match caller(thread) {
        Caller::Thread(thread) => Some(Who::Thread(thread)),
        Caller::Callback(_) => Some(Who::Thread(0)),
        Caller::Body(job) => Some(Who::Body(job)),
        Caller::Unseen => None,
    }
}

/// The rows so far.
struct Layout {
    rows: Vec<Row>,
    /// What each lane is inside of, innermost last.
    open: Vec<Vec<Open>>,
    /// The lane of the last row, and whether what it began may still end in the same row.
    last: Option<(usize, bool)>,
}

impl Layout {
    fn new(lanes: &[Who]) -> Layout {
        Layout {
            rows: Vec::new(),
            open: vec![Vec::new(); lanes.len()],
            last: None,
        }
    }

    /// One more entry. What a thread begins and ends without anybody between is one row, and so is
    /// a step with the statuses that follow it; the entry that broke the rule has its own.
    fn add(&mut self, place: usize, lane: usize, entry: Entry, broke: bool) {
        let joins = !broke && self.last.is_some_and(|(last, _)| last == lane);
        let begun = joins && self.last.is_some_and(|(_, begun)| begun);
        match entry {
            Entry::Seen {
                job,
                seen: Seen::Status(status),
            } => self.follow(place, lane, joins, broke, format!("→ j{job} {status}")),
            Entry::Seen {
                job,
                seen: Seen::Event(event),
            } => self.follow(place, lane, joins, broke, format!("→ j{job} {event}")),
            Entry::Call {
                target, request, ..
            } => {
                let what = called(request, target);
                self.begin(place, lane, broke, what, "asks ", Inside::Call);
            }
            Entry::Answer { reply, .. } => {
                let what = self.close(lane);
                let text = match reply {
                    Ok(()) => format!("{what}: done"),
                    Err(Refusal::Verb { status, .. }) => format!("{what}: refused in {status}"),
                    Err(refusal) => {
                        // A call of one job ends with its id.
                        let id = what.rsplit(' ').next().unwrap_or_default();
                        format!("{what}: refused, {}", refusal.text(id, false))
                    }
                };
                self.end(place, lane, begun, broke, &text, &text);
                // What follows an answer is not of that call.
                self.last = None;
            }
            Entry::Posted { .. } => {
                let what = self.close(lane);
                let text = format!("{what}: later");
                self.end(place, lane, begun, broke, &text, &text);
                self.last = None;
            }
            Entry::Listed { job, sight, .. } => {
                self.row(
                    place,
                    lane,
                    broke,
                    format!("is shown j{job} {}", shown(sight)),
                );
                self.last = Some((lane, false));
            }
            Entry::Looked { .. } => {
                self.close(lane);
                self.row(place, lane, broke, "is shown nobody else".to_owned());
                self.last = None;
            }
            Entry::Seen { job, seen } => match seen {
                Seen::Begin(callback) => {
                    let what = if callback.on_main_loop() {
                        format!("{callback} of j{job}")
                    } else {
                        callback.to_string()
                    };
                    self.begin(place, lane, broke, what, "begins ", Inside::Call);
                }
                Seen::End(callback, well) => {
                    let what = self.close(lane);
                    let ending = match (callback, well) {
                        (Callback::Cancel, true) => ": forced",
                        (Callback::Cancel, false) => ": not forced",
                        (_, true) => "",
                        (_, false) => ": fails",
                    };
                    let alone = format!("ends {what}{ending}");
                    let whole = format!("{what}{ending}");
                    self.end(place, lane, begun, broke, &alone, &whole);
                }
                Seen::PointBegin => {
                    let what = "pause point".to_owned();
                    self.begin(place, lane, broke, what, "comes to a ", Inside::Point);
                }
                Seen::PointEnd => {
                    self.close(lane);
                    self.end(
                        place,
                        lane,
                        begun,
                        broke,
                        "leaves the pause point",
                        "passes a pause point",
                    );
                }
                Seen::IoBegin => {
                    self.begin(
                        place,
                        lane,
                        broke,
                        "I/O".to_owned(),
                        "begins ",
                        Inside::Call,
                    );
                }
                Seen::IoEnd => {
                    self.close(lane);
                    self.end(place, lane, begun, broke, "ends I/O", "I/O");
                }
                Seen::Status(_) | Seen::Event(_) => {}
            },
        }
    }

    fn begin(
        &mut self,
        place: usize,
        lane: usize,
        broke: bool,
        what: String,
        verb: &str,
        inside: Inside,
    ) {
        self.row(place, lane, broke, format!("{verb}{what}"));
        self.open[lane].push(Open { what, inside });
        self.last = Some((lane, true));
    }

    fn close(&mut self, lane: usize) -> String {
        self.open[lane]
            .pop()
            .map_or_else(|| "what it never began".to_owned(), |open| open.what)
    }

    /// The end of what began: in the row where it began if nobody came between, else in its own.
    fn end(
        &mut self,
        place: usize,
        lane: usize,
        begun: bool,
        broke: bool,
        alone: &str,
        whole: &str,
    ) {
        match self.rows.last_mut().filter(|_| begun) {
            Some(row) => whole.clone_into(&mut row.cells[lane][0]),
            None => self.row(place, lane, broke, alone.to_owned()),
        }
        self.last = Some((lane, false));
    }

    /// A status or an event: in the row of the step that it follows.
    fn follow(&mut self, place: usize, lane: usize, joins: bool, broke: bool, text: String) {
        if let Some(row) = self.rows.last_mut().filter(|_| joins) {
            row.cells[lane].push(text);
        } else {
            self.row(place, lane, broke, text);
            self.last = Some((lane, false));
        }
    }

    fn row(&mut self, place: usize, lane: usize, broke: bool, text: String) {
        let mut cells = vec![Vec::new(); self.open.len()];
        cells[lane].push(text);
        self.rows.push(Row {
            place: Some(place),
            cells,
            inside: self.open.iter().map(|open| inside(open)).collect(),
            broke,
        });
    }

    /// The last row: what everybody is in the middle of when nothing moves any more.
    fn stand(&mut self, broke: bool) {
        let cells: Vec<Vec<String>> = self
            .open
            .iter()
            .map(|open| match open.last() {
                Some(open) if open.inside == Inside::Point => {
                    vec!["is at a pause point".to_owned()]
                }
                Some(open) => vec![format!("is inside {}", open.what)],
                None => Vec::new(),
            })
            .collect();
        if broke || cells.iter().any(|cell| !cell.is_empty()) {
            self.rows.push(Row {
                place: None,
                inside: vec![Inside::Nothing; cells.len()],
                cells,
                broke,
            });
        }
    }
}

fn inside(open: &[Open]) -> Inside {
    open.last().map_or(Inside::Nothing, |open| open.inside)
}

/// A line of a list in words.
fn shown(sight: SightPattern) -> String {
    let mut text = sight
        .status
        .map_or_else(String::new, |status| status.to_string());
    for (is, words) in [
        (sight.paused, ", pause requested"),
        (sight.io_failed, ", with an I/O error"),
        (sight.failed, ", failed"),
    ] {
        if is == Some(true) {
            text.push_str(words);
        }
    }
    text
}

/// A call in words.
fn called(request: Request, target: Target) -> String {
    match target {
        Target::Job(job) => format!("{request} of j{job}"),
        Target::Group(group) => format!("{request} of group {group}"),
        Target::All => request.to_string(),
    }
}
