//! Which parts of the specification a set of traces shows.
//!
//! | section | an item is |
//! |---|---|
//! | `cells` | a verb in a status, permitted or refused |
//! | `edges` | a change from one status to another |
//! | `events` | an event, with what tells its kinds apart |
//! | `texts` | an error text |
//! | `differences` | a point in which profiles differ: a trace shows it if it could not come from an implementation that is otherwise in this point alone |
//!
//! What is to be covered is what the profiles have that the traces were judged by. What is shown beside it (a text
//! of another version) is counted too, as an extra. Of a rejected trace, what stands before its fault counts.
//!
//! A cell is the table's answer: a verb that the table lets through and its own conditions refuse (a second pause)
//! is permitted. A verb that was refused by the table says in which status; one that was accepted does not. It is put down to
//! the first status that permits it of those that the job had from the verb's turn to its answer, the last
//! announced before included: the recording does not tell more.
//!
//! | module | what |
//! |---|---|
//! | this one | counting |
//! | `texts` | the error texts |
//! | [`differences`] | profiles with one switch turned, judged beside |
//! | [`report`] | the sections, as text and JSON; two of them compared |

pub mod differences;
pub mod report;
mod texts;

use std::collections::{BTreeMap, BTreeSet};

use blockjob_model::profile::{ASPECTS, ManualStages, REFERENCE};
use blockjob_model::{Profile, Refusal, Status, Verb};

use super::judge::Observer;
use super::judge::refusal::{self, Meaning};
use super::verdict::{Outcome, Verdict};
use super::watch::{Belief, EVENTS, Read, Step, Watcher, What};
use differences::Beside;

/// Something to be covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A verb in a status, and whether the table permits it.
    Cell(Verb, Status, bool),
    /// A change of status.
    Edge(Status, Status),
    /// An event: a place in [`EVENTS`]; [`None`] is `JOB_STATUS_CHANGE`.
    Event(Option<usize>),
    /// An error text: a place in the list of them; [`None`] is any other.
    Text(Option<usize>),
    /// A switch, by its place in [`ASPECTS`]: as it is, and as it is not.
    Difference(usize, &'static str, &'static str),
}

impl Item {
    /// Its name within its section; public interface, by which runs are compared.
    pub fn name(self) -> String {
        match self {
            Item::Cell(verb, status, permitted) => {
                let answer = if permitted { "permitted" } else { "refused" };
                format!("{verb} in {status}: {answer}")
            }
            Item::Edge(from, to) => format!("{from} to {to}"),
            Item::Event(None) => "JOB_STATUS_CHANGE".to_owned(),
            Item::Event(Some(place)) => EVENTS[place].to_owned(),
            Item::Text(None) => "any other text".to_owned(),
            Item::Text(Some(place)) => texts::TEXTS[place].pattern.to_owned(),
            Item::Difference(place, here, there) => {
                format!("{}: {here}, not {there}", ASPECTS[place].name)
            }
        }
    }

    const fn section(self) -> usize {
        match self {
            Item::Cell(..) => 0,
            Item::Edge(..) => 1,
            Item::Event(_) => 2,
            Item::Text(_) => 3,
            Item::Difference(..) => 4,
        }
    }
}

/// How often, and where first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    times: u64,
    first_line: u64,
}

/// What one trace shows. Tell it of the trace's steps, then [`add`](Coverage::add) it.
pub struct Shown {
    items: BTreeMap<Item, Count>,
    beside: Beside,
    /// A step was not taken: what follows does not count, if anything does.
    over: bool,
    observer: Observer,
}

impl Shown {
    /// Of a trace that is judged for this observer.
    pub fn new(observer: Observer) -> Shown {
        Shown {
            items: BTreeMap::new(),
            beside: Beside::new(observer),
            over: false,
            observer,
        }
    }

    fn note(&mut self, item: Item, line: u64) {
        let count = self.items.entry(item).or_insert(Count {
            times: 0,
            first_line: line,
        });
        count.times += 1;
    }
}

impl Watcher for Shown {
    fn again(&mut self) {
        *self = Shown::new(self.observer);
    }

    fn step(&mut self, step: &Step<'_>, _judge: &dyn Belief) {
        self.over |= !step.taken;
        if self.over {
            return;
        }
        let line = step.line;
        match step.what {
            What::Status { from, to, event } => {
                if event {
                    self.note(Item::Event(None), line);
                }
                if let Some(from) = from
                    && from.may_become(to)
                {
                    self.note(Item::Edge(from, to), line);
                }
            }
            What::LookedUp {
                verb,
                status,
                permitted,
            } => self.note(Item::Cell(verb, status, permitted), line),
            What::Event(name) => {
                let place = EVENTS.iter().position(|event| *event == name);
                if place.is_some() {
                    self.note(Item::Event(place), line);
                }
            }
            What::Answered {
                error: Some(text),
                verb,
                ..
            } => {
                let meaning = refusal::read(text);
                match (&meaning, verb) {
                    (&Meaning::Refusal(Refusal::Verb { status, verb }, _), _) => {
                        self.note(Item::Cell(verb, status, false), line);
                    }
                    // The table let it through, and its own conditions did not.
                    (
                        Meaning::Refusal(
                            Refusal::AlreadyPaused
                            | Refusal::NotPaused
                            | Refusal::CannotComplete
                            | Refusal::CurrentlyPaused
                            | Refusal::NegativeSpeed,
                            _,
                        ),
                        Some((verb, Some(status))),
                    ) => self.note(Item::Cell(verb, status, true), line),
                    _ => {}
                }
                self.note(Item::Text(texts::place(&meaning, text)), line);
            }
            What::Answered {
                verb: Some((verb, Some(status))),
                ..
            } => self.note(Item::Cell(verb, status, true), line),
            What::Answered { .. }
            | What::Begins
            | What::Asked(_)
            | What::Ended(_)
            | What::Callback { .. }
            | What::Io { .. } => {}
        }
    }

    fn before(&mut self, read: &Read<'_>, judge: &dyn Belief) {
        self.beside.take(read, judge);
    }
}

/// Where something was shown first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The trace.
    pub path: String,
    /// The line, from 1.
    pub line: u64,
}

/// How often an item was shown, and where first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tally {
    times: u64,
    first: Witness,
}

/// What a set of traces shows.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    items: BTreeMap<Item, Tally>,
    /// The names of the profiles that they were judged by.
    profiles: BTreeSet<&'static str>,
    accepted: u64,
    rejected: u64,
    errors: u64,
}

impl Coverage {
    /// Adds what a trace shows that was judged so.
    pub fn add(&mut self, shown: Shown, verdict: &Verdict) {
        let profile = verdict.profile.and_then(Profile::by_name);
        let before = match &verdict.outcome {
            Outcome::Accept => {
                self.accepted += 1;
                u64::MAX
            }
            Outcome::Reject(fault) => {
                self.rejected += 1;
                fault.line
            }
            Outcome::Error(error) => {
                self.errors += 1;
                error.line().unwrap_or(u64::MAX)
            }
        };
        let mut items = shown.items;
        if let Some(profile) = profile {
            // A trace in which nothing was judged tells of no profile.
            if verdict.events > 0 {
                self.profiles.insert(profile.name);
            }
            for (item, line) in shown.beside.end(profile) {
                let count = Count {
                    times: 1,
                    first_line: line,
                };
                items.insert(item, count);
            }
        }
        for (item, count) in items {
            if count.first_line >= before {
                continue;
            }
            self.items
                .entry(item)
                .and_modify(|tally| tally.times += count.times)
                .or_insert_with(|| Tally {
                    times: count.times,
                    first: Witness {
                        path: verdict.path.clone(),
                        line: count.first_line,
                    },
                });
        }
    }

    /// The profiles whose items are to be covered.
    fn judged_by(&self) -> Vec<&'static Profile> {
        let all: Vec<_> = Profile::ALL
            .into_iter()
            .filter(|profile| self.profiles.contains(profile.name))
            .collect();
        if all.is_empty() {
            vec![&REFERENCE]
        } else {
            all
        }
    }

    /// Everything that could be covered, in order.
    fn wanted(&self) -> BTreeSet<Item> {
        let mut wanted = BTreeSet::new();
        for profile in self.judged_by() {
            if profile.verb_table {
                for verb in Verb::ALL {
                    for status in Status::ALL {
                        // No id leads to a job that is not there yet or not any more.
                        if !matches!(status, Status::Undefined | Status::Null) {
                            wanted.insert(Item::Cell(verb, status, profile.permits(verb, status)));
                        }
                    }
                }
                for from in Status::ALL {
                    for to in Status::ALL {
                        if from.may_become(to) {
                            wanted.insert(Item::Edge(from, to));
                        }
                    }
                }
            }
            if profile.status_events {
                wanted.insert(Item::Event(None));
            }
            for (place, event) in EVENTS.into_iter().enumerate() {
                let pending = event == "BLOCK_JOB_PENDING";
                if !pending || profile.manual_stages != ManualStages::None {
                    wanted.insert(Item::Event(Some(place)));
                }
            }
            for (place, text) in texts::TEXTS.iter().enumerate() {
                if text.is_of(profile) {
                    wanted.insert(Item::Text(Some(place)));
                }
            }
            wanted.extend(differences::of(profile).iter().map(|other| other.item));
        }
        wanted
    }
}
