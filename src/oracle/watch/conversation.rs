//! The steps of QMP conversations.

use std::collections::{HashMap, VecDeque};

use blockjob_model::{Status, Verb};

use super::{FOLLOWED_MAX, Step, What, event, settle};
use crate::oracle::judge::command::Ask;
use crate::oracle::reader::json::AllMembers;
use crate::oracle::reader::qmp::{Direction, ErrorReply, EventData, Message, Record};

/// The monitors of a recording.
#[derive(Default)]
pub(super) struct Conversations {
    all: HashMap<String, Conversation>,
}

/// What was said through one monitor.
#[derive(Default)]
struct Conversation {
    jobs: HashMap<String, Status>,
    pending: VecDeque<Pending>,
}

/// A command that has not been answered.
struct Pending {
    line: u64,
    name: String,
    /// Its id as written.
    id: Option<String>,
    /// What it asks, and of which job.
    verb: Option<(Verb, String)>,
    block: bool,
    /// It makes these jobs, as one transaction.
    group: Option<String>,
    /// The statuses of its job since its turn.
    statuses: Vec<Status>,
}

/// How many commands that are not answered are remembered: more than any client has under way. An answer is
/// looked for among them, so there must not be many.
const PENDING_MAX: usize = 256;
/// How many statuses are kept of the time between a verb's turn and its answer.
const STATUSES_MAX: usize = 16;

impl Conversations {
    /// What was said through this monitor is over, or has a gap.
    pub fn forget(&mut self, monitor: &str) {
        self.all.remove(monitor);
    }

    /// The same of all of them.
    pub fn forget_all(&mut self) {
        self.all.clear();
    }

    /// Tells the steps of a message.
    pub fn take(&mut self, monitor: &str, record: &Record<'_>, tell: &mut dyn FnMut(Step<'_>)) {
        if !self.all.contains_key(monitor) {
            if self.all.len() >= FOLLOWED_MAX {
                return;
            }
            self.all.insert(monitor.to_owned(), Conversation::default());
        }
        if let Some(conversation) = self.all.get_mut(monitor) {
            conversation.take(record, &mut |step| {
                tell(Step {
                    source: monitor,
                    ..step
                });
            });
        }
    }
}

impl Conversation {
    fn take(&mut self, record: &Record<'_>, tell: &mut dyn FnMut(Step<'_>)) {
        let message = &record.message;
        let line = record.line;
        if record.direction == Direction::Sent {
            self.sent(line, message, tell);
        } else if message.greeting.is_present() {
            self.pending.clear();
            self.jobs.clear();
            tell(Step::new(line, What::Begins));
        } else if message.event.is_present() {
            self.event(line, message, tell);
        } else {
            self.reply(line, message, tell);
        }
    }

    fn sent(&mut self, line: u64, message: &Message<'_>, tell: &mut dyn FnMut(Step<'_>)) {
        let name = if message.execute.is_present() {
            message.execute
        } else {
            message.execute_oob
        };
        let mut pending = Pending {
            line,
            name: name.as_str().unwrap_or_default().into_owned(),
            id: message
                .id
                .is_present()
                .then(|| message.id.text().to_owned()),
            verb: None,
            block: false,
            group: None,
            statuses: Vec::new(),
        };
        let mut job = None;
        match Ask::of(message) {
            Ask::Verb(ask) | Ask::Human(Some(ask)) => {
                pending.block = ask.block;
                job.clone_from(&ask.id);
                pending.verb = ask.id.map(|id| (ask.verb, id));
            }
            Ask::Create(creation) => {
                if creation.grouped {
                    pending.group = Some(format!("transaction of line {line}"));
                }
                if let [plan] = creation.jobs.as_slice() {
                    job.clone_from(&plan.id);
                }
            }
            _ => {}
        }
        tell(Step {
            job: job.as_deref(),
            ..Step::new(line, What::Asked(&pending.name))
        });
        if self.pending.len() == PENDING_MAX {
            self.pending.pop_front();
        }
        self.pending.push_back(pending);
        if self.pending.len() == 1 {
            self.turn();
        }
    }

    /// The oldest unanswered command has its turn.
    fn turn(&mut self) {
        if let Some(head) = self.pending.front_mut()
            && let Some((_, job)) = &head.verb
            && let Some(&status) = self.jobs.get(job)
        {
            head.statuses.push(status);
        }
    }

    fn event(&mut self, line: u64, message: &Message<'_>, tell: &mut dyn FnMut(Step<'_>)) {
        let Some(name) = message.event.as_str() else {
            return;
        };
        let data: EventData<'_> = message.data.read().unwrap_or_default();
        if name != "JOB_STATUS_CHANGE" {
            let action = data.action.as_str();
            let Some(event) = event(&name, data.error.is_present(), action.as_deref()) else {
                return;
            };
            // `BLOCK_JOB_PENDING` calls the job `id`, the others `device`.
            let job = data.device.as_str().or(data.id.as_str());
            tell(Step {
                job: job.as_deref(),
                ..Step::new(line, What::Event(event))
            });
            return;
        }
        let (Some(job), Some(to)) = (
            data.id.as_str(),
            data.status
                .as_str()
                .and_then(|name| Status::from_name(&name)),
        ) else {
            return;
        };
        let before = self.jobs.get(job.as_ref()).copied();
        let created = to == Status::Created && before.is_none();
        let from = before.or(created.then_some(Status::Undefined));
        let group = created
            .then(|| self.pending.front())
            .flatten()
            .and_then(|head| head.group.as_deref());
        tell(Step {
            job: Some(&job),
            group,
            ..Step::new(
                line,
                What::Status {
                    from,
                    to,
                    event: true,
                },
            )
        });
        if to == Status::Null {
            self.jobs.remove(job.as_ref());
        } else if let Some(status) = self.jobs.get_mut(job.as_ref()) {
            *status = to;
        } else if self.jobs.len() < FOLLOWED_MAX {
            self.jobs.insert(job.clone().into_owned(), to);
        }
        if let Some(head) = self.pending.front_mut()
            && head.verb.as_ref().is_some_and(|(_, asked)| *asked == job)
            && head.statuses.len() < STATUSES_MAX
        {
            head.statuses.push(to);
        }
    }

    fn reply(&mut self, line: u64, message: &Message<'_>, tell: &mut dyn FnMut(Step<'_>)) {
        let echoed = message.id;
        let place = self.pending.iter().position(|pending| match &pending.id {
            Some(id) => echoed.is_present() && echoed.same_value(id),
            None => !echoed.is_present(),
        });
        let Some(pending) = place.and_then(|place| self.pending.remove(place)) else {
            return;
        };
        let error: ErrorReply<'_> = message.error.read().unwrap_or_default();
        let error = message
            .error
            .is_present()
            .then(|| error.desc.as_str().unwrap_or_default());
        if error.is_none() && pending.name == "query-jobs" {
            self.list(message);
        }
        let verb = pending
            .verb
            .as_ref()
            .map(|(verb, _)| (*verb, settle(*verb, &pending.statuses)));
        tell(Step {
            job: pending.verb.as_ref().map(|(_, job)| job.as_str()),
            ..Step::new(
                line,
                What::Answered {
                    name: &pending.name,
                    asked: pending.line,
                    verb,
                    block: pending.block,
                    error: error.as_deref(),
                },
            )
        });
        if place == Some(0) {
            self.turn();
        }
    }

    /// A list of the jobs says which status they have, of those that are not known yet.
    fn list(&mut self, message: &Message<'_>) {
        let entries: Vec<crate::oracle::reader::json::Piece<'_>> =
            message.value.read().unwrap_or_default();
        for entry in entries {
            let members = AllMembers::of(entry);
            let status = members.get("status").as_str();
            if let (Some(id), Some(status)) = (
                members.get("id").as_str(),
                status.and_then(|name| Status::from_name(&name)),
            ) && self.jobs.len() < FOLLOWED_MAX
                && status != Status::Null
            {
                self.jobs.entry(id.into_owned()).or_insert(status);
            }
        }
    }
}
