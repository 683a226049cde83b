//! What a recording shows of each job, kept to be held against another recording of the same run.

use std::collections::HashMap;

use blockjob_model::{Refusal, Status, Verb};

use crate::oracle::judge::refusal::{self, Meaning};
use crate::oracle::reader::libvirt;
use crate::oracle::reader::qemu_log::{self, Entry};
use crate::oracle::watch::{Belief, Read, Step, Watcher, What};

/// So many changes of status and verbs are kept; what comes beyond is not held against anything.
const KEPT_MAX: usize = 1 << 24;

/// How an answer to a verb stands to the verb table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was permitted: the command succeeded, or the log says so.
    Permitted,
    /// It was refused for this status, which is that of the table.
    Refused(Status),
}

/// A verb that was answered, or looked up.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The line of the answer, or of the look.
    pub line: u64,
    pub verb: Verb,
    pub outcome: Outcome,
    /// How many changes of status of the job were seen when it was asked, and when it was answered.
    pub between: (usize, usize),
}

/// A job, as far as a recording shows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    /// Its id in a conversation; in a log, where a command named it.
    pub id: Option<String>,
    /// What the recording calls it.
    pub name: String,
    /// The status it had when it came into view.
    pub from: Option<Status>,
    /// Every change of status: the line, and to which.
    pub changes: Vec<(u64, Status)>,
    pub asked: Vec<Asked>,
    /// It failed (`true`) or not, and the line that tells.
    pub end: Option<(u64, bool)>,
    /// The transaction it was made in, all of whose members end alike.
    pub group: Option<String>,
}

impl Life {
    /// It was seen from its creation on.
    pub fn is_begun(&self) -> bool {
        self.from == Some(Status::Undefined)
    }

    /// It was seen to its end.
    pub fn is_over(&self) -> bool {
        self.changes
            .last()
            .is_some_and(|last| last.1 == Status::Null)
    }
}

/// What one monitor or one process shows: the jobs, in the order in which they came into view.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub name: String,
    pub lives: Vec<Life>,
    /// Those that are there, by name.
    open: HashMap<String, usize>,
    /// By the line of the command: how many changes its job had shown before it.
    before: HashMap<u64, usize>,
    /// The id that the command under way names, in a trace log.
    entered: Option<String>,
}

impl View {
    /// Nothing more is known of the jobs that are there.
    fn forget(&mut self) {
        self.open.clear();
        self.before.clear();
    }

    fn life(&mut self, name: &str, from: Option<Status>) -> &mut Life {
        let place = self.open.get(name).copied();
        let place = place.unwrap_or_else(|| {
            self.lives.push(Life {
                name: name.to_owned(),
                from,
                ..Life::default()
            });
            self.open.insert(name.to_owned(), self.lives.len() - 1);
            self.lives.len() - 1
        });
        &mut self.lives[place]
    }
}

/// What a recording is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// None of these: nothing of it can be held against another.
    #[default]
    Other,
    /// What went over a monitor.
    Conversation,
    /// QEMU's trace log.
    Log,
}

/// Gathers the jobs of a recording while it is judged.
#[derive(Debug, Default)]
pub(super) struct Lives {
    pub kind: Kind,
    /// By monitor, or by process.
    pub views: Vec<View>,
    /// The conversation was filtered: anything may be missing in it.
    pub filtered: bool,
    /// Lines are missing, or somebody switched the log's events on or off.
    pub gaps: bool,
    /// The log has lines of looks at the verb table.
    pub looks: bool,
    /// A command asked something of a job.
    pub asks: bool,
    /// There was more than is kept.
    pub full: bool,
    kept: usize,
}

impl Lives {
    fn view(&mut self, name: &str) -> &mut View {
        let place = self.views.iter().rposition(|view| view.name == name);
        let place = place.unwrap_or_else(|| {
            self.views.push(View {
                name: name.to_owned(),
                ..View::default()
            });
            self.views.len() - 1
        });
        &mut self.views[place]
    }

    fn keep(&mut self) -> bool {
        self.kept += 1;
        self.full |= self.kept > KEPT_MAX;
        !self.full
    }

    fn change(&mut self, step: &Step<'_>, from: Option<Status>, to: Status) {
        let Some(job) = step.job.filter(|_| from != Some(to)) else {
            return;
        };
        if !self.keep() {
            return;
        }
        let is_log = self.kind == Kind::Log;
        let view = self.view(step.source);
        let known = view
            .open
            .get(job)
            .and_then(|&place| view.lives[place].changes.last());
        let missing = known.is_some_and(|last| Some(last.1) != from);
        if missing || to == Status::Created {
            // The end of the one before was not seen.
            view.open.remove(job);
        }
        let life = view.life(job, from);
        if life.id.is_none() && !is_log {
            life.id = Some(job.to_owned());
        }
        if let Some(group) = step.group {
            life.group = Some(group.to_owned());
        }
        life.changes.push((step.line, to));
        if to == Status::Null {
            view.open.remove(job);
        }
        self.gaps |= missing && is_log;
    }

    fn asked(&mut self, step: &Step<'_>, verb: Verb, asked: u64, outcome: Outcome) {
        let Some(job) = step.job else { return };
        if !self.keep() {
            return;
        }
        let view = self.view(step.source);
        let before = view.before.remove(&asked);
        let Some(&place) = view.open.get(job) else {
            return;
        };
        let life = &mut view.lives[place];
        let now = life.changes.len();
        life.asked.push(Asked {
            line: step.line,
            verb,
            outcome,
            // A command that was sent when another job had the id says nothing.
            between: (before.unwrap_or(0).min(now), now),
        });
    }

    /// What of a trace log is no step.
    fn of_log(&mut self, entry: &Entry<'_>) {
        use qemu_log::Said;
        self.kind = Kind::Log;
        let source = entry
            .process
            .map_or_else(String::new, |process| process.to_string());
        match entry.said {
            Said::Damaged => self.gaps = true,
            Said::Transition {
                job,
                result,
                to: "concluded" | "aborting",
                ..
            } => {
                let view = self.view(&source);
                if let Some(&place) = view.open.get(job) {
                    view.lives[place].end = Some((entry.line, result != 0));
                }
            }
            Said::Enter { arguments, .. } => {
                self.view(&source).entered = qemu_log::named(arguments);
            }
            Said::For { job } => {
                let view = self.view(&source);
                let id = view.entered.take();
                if let Some(&place) = view.open.get(job)
                    && id.is_some()
                {
                    view.lives[place].id = id;
                }
            }
            Said::Exit { .. } => self.view(&source).entered = None,
            _ => {}
        }
    }
}

impl Watcher for Lives {
    fn again(&mut self) {
        *self = Lives::default();
    }

    fn before(&mut self, read: &Read<'_>, judge: &dyn Belief) {
        self.filtered |= judge.is_filtered();
        match read {
            Read::Message(_, record) => {
                self.kind = Kind::Conversation;
                let name = record.message.execute.as_str();
                self.gaps |= name.is_some_and(|name| {
                    matches!(
                        name.as_ref(),
                        "trace-event-set-state" | "human-monitor-command"
                    )
                });
            }
            Read::Libvirt(entry) => {
                use libvirt::Said;
                self.kind = Kind::Conversation;
                match entry.said {
                    Said::Opened | Said::Closed | Said::Lost if !entry.monitor.is_empty() => {
                        self.view(entry.monitor).forget();
                    }
                    Said::Lost | Said::Restarted => self.views.iter_mut().for_each(View::forget),
                    _ => {}
                }
            }
            Read::Log(entry) => self.of_log(entry),
            Read::Native(..) => {}
        }
    }

    fn step(&mut self, step: &Step<'_>, _judge: &dyn Belief) {
        match step.what {
            What::Begins => self.view(step.source).forget(),
            What::Status { from, to, .. } => self.change(step, from, to),
            What::Asked(_) => {
                // Of jobs that are there; of others nothing is held against it.
                if let Some(job) = step.job {
                    let view = self.view(step.source);
                    if let Some(&place) = view.open.get(job) {
                        let seen = view.lives[place].changes.len();
                        view.before.insert(step.line, seen);
                    }
                }
            }
            What::Answered {
                asked,
                verb: Some((verb, _)),
                error,
                ..
            } => {
                self.asks = true;
                let outcome = match error.map(refusal::read) {
                    None => Outcome::Permitted,
                    Some(Meaning::Refusal(Refusal::Verb { status, .. }, _)) => {
                        Outcome::Refused(status)
                    }
                    Some(_) => return,
                };
                self.asked(step, verb, asked, outcome);
            }
            What::LookedUp {
                verb,
                status,
                permitted,
            } => {
                self.looks = true;
                let outcome = if permitted {
                    Outcome::Permitted
                } else {
                    Outcome::Refused(status)
                };
                self.asked(step, verb, step.line, outcome);
            }
            What::Event(event) if event.starts_with("BLOCK_JOB_COMPLETED") => {
                if let Some(job) = step.job {
                    let view = self.view(step.source);
                    if let Some(&place) = view.open.get(job) {
                        let failed = event.ends_with("with an error");
                        view.lives[place].end = Some((step.line, failed));
                    }
                }
            }
            _ => {}
        }
    }
}
