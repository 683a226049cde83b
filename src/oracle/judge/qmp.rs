//! One QMP conversation, judged by one profile.
//!
//! Commands are answered in order, so only the oldest unanswered one can be taking effect; those
//! written behind it wait for its reply (SEMANTICS.md §7.4). What the client reads after writing
//! a command may be older than the command, which is no matter: a command takes effect somewhere
//! between its line (or the previous reply) and its reply.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};

use blockjob_model::accept::{Acceptor, GroupKey, JobKey, Seen, SightPattern};
use blockjob_model::identity::is_well_formed;
use blockjob_model::profile::ManualStages;
use blockjob_model::state::Group;
use blockjob_model::step::View;
use blockjob_model::{Event, Profile, Refusal, Request, Status};

use super::command::{Ask, Creation, VerbAsk, unknown_specs};
use super::refusal::{self, Meaning};
use super::{Observer, at};
use crate::oracle::fields::{self, Known, Place, shown};
use crate::oracle::reader::json::Piece;
use crate::oracle::reader::qmp::{Direction, Entry, ErrorReply, EventData, Message, Record};
use crate::oracle::verdict::Fault;

/// How many ids of jobs that are gone are remembered, for better words and for ids that somebody
/// still holds on to (SEMANTICS.md §12-21).
const GONE_MAX: usize = 256;

/// The monitor, as the acceptor's caller: it has one command in hand at a time.
const MONITOR: u16 = 0;

/// A command that has not been answered.
#[derive(Debug)]
struct Pending {
    line: u64,
    name: String,
    /// Its id as written, to be echoed.
    id: Option<String>,
    /// It may overtake others.
    oob: bool,
    ask: Ask,
    /// It had arguments.
    arguments: bool,
    progress: Progress,
}

/// How a command that is being carried out stands.
#[derive(Debug, Default)]
struct Progress {
    /// The job it is for, as far as the acceptor knows it.
    target: Target,
    /// The acceptor knows of the call.
    called: bool,
    /// The jobs it made: which plan, id, started, gone.
    made: Vec<Made>,
    /// Their transaction.
    group: Option<GroupKey>,
}

/// What a verb's id meant when its turn came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Target {
    /// A job under judgement.
    Job(JobKey),
    /// A job met on its way, or an id of which nothing is known.
    #[default]
    Unknown,
    /// No job has this id.
    Nobody,
}

/// A job that the command in hand has made.
#[derive(Debug)]
struct Made {
    plan: usize,
    id: String,
    started: bool,
    gone: bool,
}

/// One conversation, judged by one profile.
pub struct Session {
    acceptor: Acceptor,
    observer: Observer,
    jobs: HashMap<String, Known>,
    gone: VecDeque<String>,
    /// Jobs that went while a query was in hand: its answer may still list them.
    leaving: HashMap<String, Known>,
    queue: VecDeque<Pending>,
    oob: Vec<Pending>,
    next_serial: u64,
    /// A list of all jobs was read: an id not in it and not created since is nobody's.
    inventory: bool,
    /// A command was seen at all; before that, replies may belong to commands not recorded.
    commands: bool,
    /// Replies that may still come for commands of a connection that is over.
    lost: usize,
    greeted: bool,
    /// The daemon goes down, or devices do: requests come from inside.
    inside: bool,
    /// The recording was filtered: what is missing may have happened, and what was read may have been
    /// written down later.
    filtered: bool,
    /// Another monitor was greeted in a filtered recording: what is said may be said twice, or come from
    /// different daemons.
    mixed: bool,
    /// A fault that is none if the daemon was stopped from outside there, and the job it is of.
    suspended: Option<(Fault, String)>,
    /// The guest went on (`cont`).
    continued: bool,
    replies: u64,
    events: u64,
    jobs_seen: u64,
}

type Judged = Result<(), Fault>;

impl Session {
    /// A conversation with an implementation of `profile`.
    pub fn new(profile: &'static Profile, observer: Observer) -> Session {
        Session {
            acceptor: Acceptor::new(profile, View::QMP),
            observer,
            jobs: HashMap::new(),
            gone: VecDeque::new(),
            leaving: HashMap::new(),
            queue: VecDeque::new(),
            oob: Vec::new(),
            next_serial: 0,
            inventory: false,
            commands: false,
            lost: 0,
            greeted: false,
            inside: false,
            filtered: false,
            mixed: false,
            suspended: None,
            continued: false,
            replies: 0,
            events: 0,
            jobs_seen: 0,
        }
    }

    /// The profile it is judged by.
    pub fn profile(&self) -> &'static Profile {
        self.acceptor.profile()
    }

    /// Job events so far.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// Jobs so far.
    pub const fn jobs(&self) -> u64 {
        self.jobs_seen
    }

    /// Replies to commands so far.
    pub const fn replies(&self) -> u64 {
        self.replies
    }

    /// How often the belief had to be widened.
    pub fn widened(&self) -> u64 {
        self.acceptor.widened()
    }

    /// The line from which on jobs are brought down unasked: the daemon was stopped from outside.
    pub fn stopped_at(&self) -> Option<u64> {
        self.suspended.as_ref().map(|(fault, _)| fault.line)
    }

    /// The recording was filtered, as tests do with what they print: anything may be missing from it,
    /// and events stand where they were printed, which may be long after replies that came later.
    ///
    /// Then jobs are not followed step by step. What is judged is what stands in the recording: the
    /// order of each job's statuses, fields, texts, and refusals by the table.
    pub fn filter(&mut self) {
        if self.filtered {
            return;
        }
        self.filtered = true;
        self.forget();
        for known in self.jobs.values_mut() {
            *known = Known {
                kind: known.kind.take(),
                block: known.block,
                policy: known.policy,
                last: known.last,
                ..Known::filtered()
            };
        }
    }

    /// Nothing is known any more of what the acceptor was told.
    fn forget(&mut self) {
        self.acceptor = Acceptor::new(self.acceptor.profile(), View::QMP);
        self.leaving.clear();
        self.inventory = false;
        for pending in &mut self.queue {
            pending.progress = Progress::default();
        }
    }

    /// This client is not the only one.
    pub fn share(&mut self) {
        self.observer = Observer::Shared;
        self.acceptor.others_everywhere();
        for known in self.jobs.values_mut() {
            known.speed = None;
        }
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// It contradicts the specification; nothing after it can be judged.
    pub fn take(&mut self, record: &Record<'_>) -> Judged {
        let message = &record.message;
        match record.direction {
            Direction::Sent => {
                self.sent(record.line, message);
                Ok(())
            }
            Direction::Received => self.received(record.line, message),
        }
    }

    fn sent(&mut self, line: u64, message: &Message<'_>) {
        self.commands = true;
        let oob = message.execute_oob.is_present();
        let name = if oob {
            message.execute_oob
        } else {
            message.execute
        };
        let pending = Pending {
            line,
            name: name.as_str().unwrap_or_default().into_owned(),
            id: message
                .id
                .is_present()
                .then(|| message.id.text().to_owned()),
            oob,
            ask: Ask::of(message),
            arguments: message.arguments.is_present(),
            progress: Progress::default(),
        };
        if pending.oob {
            // Those that may overtake do nothing to jobs.
            self.oob.push(pending);
            return;
        }
        self.queue.push_back(pending);
        if self.queue.len() == 1 {
            self.begin();
        }
    }

    /// The oldest unanswered command has its turn now.
    fn begin(&mut self) {
        let silent = !self.profile().status_events;
        let Some(head) = self.queue.front_mut() else {
            return;
        };
        match &head.ask {
            Ask::Query { .. } | Ask::Verb(_) | Ask::Human(_) | Ask::Create(_) if self.filtered => {}
            Ask::Query { block } => {
                self.acceptor.call(MONITOR, None, Request::Query, *block);
                head.progress.called = true;
                for known in self.jobs.values_mut() {
                    known.progress_then = known.progress;
                }
            }
            Ask::Verb(verb) | Ask::Human(Some(verb)) => {
                let Some(id) = &verb.id else { return };
                let known = self.jobs.get_mut(id);
                head.progress.target = match &known {
                    Some(Known { key: Some(key), .. }) => Target::Job(*key),
                    None if self.inventory => Target::Nobody,
                    Some(_) | None => Target::Unknown,
                };
                if !verb.argument_faults.is_empty() {
                    return;
                }
                if let Some(known) = known {
                    known.speed_asked = verb.speed;
                }
                if let Target::Job(key) = head.progress.target {
                    self.acceptor
                        .call(MONITOR, Some(key), verb.request, verb.block);
                    head.progress.called = true;
                }
            }
            Ask::Quit | Ask::Unplug => self.requests_from_inside(),
            Ask::Continue => self.continued = true,
            Ask::Create(_) if silent => self.expect_jobs(),
            Ask::Create(_) | Ask::Capabilities | Ask::Other | Ask::Human(None) => {}
        }
    }

    /// The command in hand makes jobs, and no event will tell of their creation (before QEMU 3.0).
    ///
    /// Those whose id was given are judged from here on; others are met when something is seen of
    /// them, because their id is the name of a backend.
    fn expect_jobs(&mut self) {
        let Some(mut head) = self.queue.pop_front() else {
            return;
        };
        if let Ask::Create(creation) = &head.ask {
            for (place, plan) in creation.jobs.iter().enumerate() {
                let Some(id) = plan.id.as_deref().filter(|id| {
                    plan.explicit && is_well_formed(id) && !self.jobs.contains_key(*id)
                }) else {
                    continue;
                };
                let known = self.plan_job(&mut head.progress, creation, place, id);
                self.jobs.insert(id.to_owned(), known);
            }
        }
        self.queue.push_front(head);
    }

    /// Takes a job that the command in hand makes into judgement.
    fn plan_job(
        &mut self,
        progress: &mut Progress,
        creation: &Creation,
        plan: usize,
        id: &str,
    ) -> Known {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.jobs_seen += 1;
        let others = self.observer == Observer::Shared || self.inside;
        let acceptor = &mut self.acceptor;
        let mut open = || {
            acceptor.group(Group {
                others,
                ..Group::CLOSED
            })
        };
        let group = if creation.grouped {
            *progress.group.get_or_insert_with(open)
        } else {
            open()
        };
        progress.made.push(Made {
            plan,
            id: id.to_owned(),
            started: false,
            gone: false,
        });
        let planned = &creation.jobs[plan];
        let key = self.acceptor.job(group, &planned.specs, id);
        self.acceptor.start(key);
        let mut known = Known::planned(key, serial, planned);
        if others {
            known.speed = None;
        }
        known
    }

    /// The daemon itself asks things of jobs from now on: it goes down, or a device does.
    fn requests_from_inside(&mut self) {
        self.inside = true;
        self.acceptor.others_everywhere();
    }

    /// Something was seen of a job.
    ///
    /// A daemon that is stopped by a signal says nothing of it; it cancels every job and is gone.
    /// So a job that is brought down unasked is no fault if nothing is answered after it.
    fn observe(&mut self, line: u64, id: &str, key: JobKey, seen: Seen) -> Judged {
        const BROUGHT_DOWN: [&str; 4] = [
            "aborting-unasked",
            "cancelled-unasked",
            "dismiss-unasked",
            "pause-in-force",
        ];
        let Err(rejection) = self.acceptor.observe(key, seen) else {
            return Ok(());
        };
        let fault = at(line, rejection);
        let may_be_stopped =
            self.observer == Observer::Auto && !self.inside && BROUGHT_DOWN.contains(&fault.rule);
        if !may_be_stopped {
            return Err(fault);
        }
        self.requests_from_inside();
        if self.acceptor.observe(key, seen).is_err() {
            return Err(fault);
        }
        self.suspended = Some((fault, id.to_owned()));
        Ok(())
    }

    /// The daemon goes on after all: what looked like its end was a fault.
    fn goes_on(&mut self) -> Judged {
        self.suspended
            .take()
            .map_or(Ok(()), |(fault, _)| Err(fault))
    }

    fn received(&mut self, line: u64, message: &Message<'_>) -> Judged {
        let protocol = |rule, message: String| Fault {
            line,
            rule,
            message,
            allowed: Vec::new(),
            section: "2 (QMP)",
        };
        if message.value.is_present() && message.error.is_present() {
            return Err(protocol(
                "reply-return-and-error",
                "because a reply has a `return` or an `error`, but this one has both".to_owned(),
            ));
        }
        if !message.event.is_present() {
            self.goes_on()?;
        }
        let kinds = [
            message.greeting,
            message.event,
            message.value,
            message.error,
        ];
        match kinds.iter().filter(|kind| kind.is_present()).count() {
            1 => {}
            count => {
                return Err(protocol(
                    "message-shape",
                    format!(
                        "because a daemon sends a greeting, an event or a reply, but this is {}",
                        if count == 0 { "none" } else { "more than one" }
                    ),
                ));
            }
        }
        if message.greeting.is_present() {
            self.greeting();
            Ok(())
        } else if message.event.is_present() {
            self.event(line, message)
        } else {
            self.reply(line, message)
        }
    }

    /// A greeting begins a connection. A second one after commands begins another: what happened
    /// between the two was not seen.
    fn greeting(&mut self) {
        if self.greeted && (self.commands || !self.jobs.is_empty()) {
            self.lost += self.queue.len() + self.oob.len();
            self.queue.clear();
            self.oob.clear();
            self.jobs.clear();
            self.gone.clear();
            self.forget();
        }
        self.mixed = self.greeted && self.filtered;
        self.greeted = true;
    }

    // Events.

    fn event(&mut self, line: u64, message: &Message<'_>) -> Judged {
        let Some(name) = message.event.as_str() else {
            return Err(Fault {
                line,
                rule: "message-shape",
                message: format!(
                    "because `event` is an event's name, but it is {}",
                    shown(message.event)
                ),
                allowed: Vec::new(),
                section: "7.1",
            });
        };
        match name.as_ref() {
            "JOB_STATUS_CHANGE" => {
                let data: EventData<'_> = message.data.read().unwrap_or_default();
                self.status_event(line, &data)
            }
            "BLOCK_JOB_READY"
            | "BLOCK_JOB_PENDING"
            | "BLOCK_JOB_COMPLETED"
            | "BLOCK_JOB_CANCELLED"
            | "BLOCK_JOB_ERROR" => {
                let data: EventData<'_> = message.data.read().unwrap_or_default();
                self.block_event(line, &name, &data)
            }
            "SHUTDOWN" | "DEVICE_DELETED" => {
                self.requests_from_inside();
                Ok(())
            }
            "RESUME" => {
                self.continued = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// An event that this version of QEMU does not have.
    fn event_of_another_version(&self, line: u64, name: &str, since: &str) -> Fault {
        Fault {
            line,
            rule: "event-of-another-version",
            message: format!(
                "{name}: because {} is judged, and this event is there since QEMU {since}, but it \
                 came",
                self.profile().name
            ),
            allowed: Vec::new(),
            section: "11",
        }
    }

    fn status_event(&mut self, line: u64, data: &EventData<'_>) -> Judged {
        self.events += 1;
        if !self.profile().status_events {
            return Err(self.event_of_another_version(line, "JOB_STATUS_CHANGE", "3.0"));
        }
        let (Some(id), Some(status)) = (
            data.id.as_str(),
            data.status
                .as_str()
                .and_then(|name| Status::from_name(&name)),
        ) else {
            let (member, piece, expected) = if data.id.as_str().is_none() {
                ("id", data.id, "a job's id")
            } else {
                ("status", data.status, "one of the eleven statuses")
            };
            return Err(Fault {
                line,
                rule: "event-shape",
                message: format!(
                    "JOB_STATUS_CHANGE: because `{member}` is {expected}, but it is {}",
                    shown(piece)
                ),
                allowed: Vec::new(),
                section: "7.1",
            });
        };
        let place = Place {
            line,
            what: "JOB_STATUS_CHANGE",
            id: &id,
        };
        let Some(known) = self.jobs.get_mut(id.as_ref()) else {
            return match status {
                Status::Created => self.created(place),
                _ => self.unknown_job(place, status),
            };
        };
        if status == Status::Created && self.filtered {
            // Its end, or a query's answer, stands elsewhere.
            return self.created(place);
        }
        if status == Status::Created {
            return Err(place.fault(
                "id-in-use",
                "2.1",
                &format!("a job of this id is there: {}", known.standing()),
                "another is created",
            ));
        }
        if !self.mixed {
            fields::success_after_report(known, place, status)?;
        }
        if let Some(key) = known.key {
            let revived = matches!(status, Status::Waiting | Status::Pending)
                && matches!(&self.suspended, Some((_, brought_down)) if *brought_down == id);
            if revived {
                self.goes_on()?;
            }
            self.observe(line, &id, key, Seen::Status(status))?;
        } else if let Some((last, before)) = known.last
            && (last == status || !last.may_become(status))
            && !(self.mixed || self.filtered && leads_to(last, status))
        {
            return Err(place.fault(
                "status-transition",
                "1b",
                &format!("it is {last} since line {before}"),
                &format!("{status} is not reached from there"),
            ));
        }
        if let Some(known) = self.jobs.get_mut(id.as_ref()) {
            known.last = Some((status, line));
        }
        if matches!(status, Status::Running | Status::Null)
            && let Some(made) = self
                .queue
                .front_mut()
                .and_then(|head| head.progress.made.iter_mut().find(|made| made.id == id))
        {
            made.started |= status == Status::Running;
            made.gone |= status == Status::Null;
        }
        if status == Status::Null {
            self.goes(&id);
        }
        Ok(())
    }

    /// The job is gone, as was announced or follows.
    fn goes(&mut self, id: &str) {
        let queried = self
            .queue
            .front()
            .is_some_and(|head| matches!(head.ask, Ask::Query { .. }));
        if let Some(known) = self.jobs.remove(id)
            && queried
        {
            self.leaving.insert(id.to_owned(), known);
        }
        if self.gone.len() == GONE_MAX {
            self.gone.pop_front();
        }
        self.gone.push_back(id.to_owned());
    }

    /// A job comes into being.
    fn created(&mut self, place: Place<'_>) -> Judged {
        self.goes_on()?;
        if !is_well_formed(place.id) {
            return Err(place.fault(
                "id-malformed",
                "2.1",
                "an id is a letter followed by letters, digits, `-`, `.` or `_`",
                "a job is created with this one",
            ));
        }
        let mut known = if self.filtered {
            self.jobs_seen += 1;
            self.filtered_job(place.id)
        } else if let Some(plan) = self.plan_for(place.id)
            && let Some(mut head) = self.queue.pop_front()
        {
            let known = match &head.ask {
                Ask::Create(creation) => {
                    self.plan_job(&mut head.progress, creation, plan, place.id)
                }
                _ => Known::met(),
            };
            self.queue.push_front(head);
            known
        } else {
            if self.observer == Observer::Sole {
                return Err(place.fault(
                    "created-unasked",
                    "2.1",
                    "this client is the only one and asked for no such job",
                    "one is created",
                ));
            }
            self.foreign_job(place.id)
        };
        if let Some(key) = known.key {
            self.acceptor
                .observe(key, Seen::Status(Status::Created))
                .map_err(|rejection| at(place.line, rejection))?;
        }
        known.last = Some((Status::Created, place.line));
        self.jobs.insert(place.id.to_owned(), known);
        Ok(())
    }

    /// A job of a filtered recording: what is known of it is what it was asked for with.
    fn filtered_job(&mut self, id: &str) -> Known {
        let planned = self.plan_for(id).and_then(|plan| {
            let Ask::Create(creation) = &self.queue.front()?.ask else {
                return None;
            };
            Some((creation.jobs[plan].kind, creation.jobs[plan].policy))
        });
        match planned {
            Some((kind, policy)) => Known {
                kind: Some(Cow::Borrowed(kind)),
                policy,
                ..Known::filtered()
            },
            None => Known::filtered(),
        }
    }

    /// Takes a job that somebody unseen makes into judgement.
    fn foreign_job(&mut self, id: &str) -> Known {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.jobs_seen += 1;
        let group = self.acceptor.group(Group {
            open: true,
            others: true,
            ..Group::CLOSED
        });
        let key = self.acceptor.job(group, &unknown_specs(), id);
        self.acceptor.start(key);
        Known::foreign(key, serial)
    }

    /// The plan of the command in hand that `id` belongs to.
    fn plan_for(&self, id: &str) -> Option<usize> {
        let head = self.queue.front()?;
        let Ask::Create(creation) = &head.ask else {
            return None;
        };
        let free = |plan: &usize| head.progress.made.iter().all(|made| made.plan != *plan);
        let named = |plan: &usize| creation.jobs[*plan].id.as_deref() == Some(id);
        let all = 0..creation.jobs.len();
        all.clone()
            .filter(free)
            .find(named)
            .or_else(|| all.filter(free).find(|&plan| !creation.jobs[plan].explicit))
    }

    /// Something of a job whose creation was not seen.
    fn unknown_job(&mut self, place: Place<'_>, status: Status) -> Judged {
        if !self.filtered && self.gone.iter().any(|id| id == place.id) {
            return Err(place.fault(
                "status-after-null",
                "1b",
                "the job is gone: its status is null, which nothing follows",
                &format!("it becomes {status}"),
            ));
        }
        if self.inventory {
            return Err(unknown(place));
        }
        self.meet(place, Some(status));
        Ok(())
    }

    /// Takes note of a job that was there before the recording.
    fn meet(&mut self, place: Place<'_>, status: Option<Status>) {
        if status == Some(Status::Null) {
            return;
        }
        self.jobs_seen += 1;
        let known = if self.filtered {
            self.filtered_job(place.id)
        } else {
            Known::met()
        };
        self.jobs.insert(
            place.id.to_owned(),
            Known {
                last: status.map(|status| (status, place.line)),
                ..known
            },
        );
    }

    fn block_event(&mut self, line: u64, name: &str, data: &EventData<'_>) -> Judged {
        self.events += 1;
        if name == "BLOCK_JOB_PENDING" && self.profile().manual_stages == ManualStages::None {
            return Err(self.event_of_another_version(line, name, "2.12"));
        }
        let (member, piece) = if name == "BLOCK_JOB_PENDING" {
            ("id", data.id)
        } else {
            ("device", data.device)
        };
        let Some(id) = piece.as_str() else {
            return Err(Fault {
                line,
                rule: "event-shape",
                message: format!(
                    "{name}: because `{member}` is a job's id, but it is {}",
                    shown(piece)
                ),
                allowed: Vec::new(),
                section: "7.1",
            });
        };
        let place = Place {
            line,
            what: name,
            id: &id,
        };
        if !self.jobs.contains_key(id.as_ref()) {
            if !self.filtered && self.gone.iter().any(|gone| *gone == id) {
                return Err(place.fault(
                    "event-after-null",
                    "7.4",
                    "the job is gone: its status is null, which nothing follows",
                    "an event of it comes",
                ));
            }
            if self.inventory {
                return Err(unknown(place));
            }
            self.meet(place, None);
        }
        let silent = !self.profile().status_events;
        let Some(known) = self.jobs.get_mut(id.as_ref()) else {
            return Ok(());
        };
        if self.mixed {
            *known = known.whoevers();
        }
        if known.block == Some(false) {
            return Err(place.fault(
                "event-of-non-block-job",
                "7.1",
                "it is no block job and has no such events",
                "one comes",
            ));
        }
        known.block = Some(true);
        let event = match name {
            "BLOCK_JOB_ERROR" => Event::Error {
                action: fields::error_event(known, place, data)?,
            },
            "BLOCK_JOB_PENDING" => {
                fields::kind(known, place, data.kind, "event-job-type")?;
                Event::Pending
            }
            _ => {
                fields::progress_event(known, place, data)?;
                if silent {
                    fields::event_after_report(known, place, data)?;
                }
                match name {
                    "BLOCK_JOB_READY" => Event::Ready,
                    "BLOCK_JOB_COMPLETED" => Event::Completed {
                        error: data.error.is_present(),
                    },
                    _ => Event::Cancelled,
                }
            }
        };
        let (key, dismisses_itself) = (known.key, known.auto_dismiss != Some(false));
        if let Some(key) = key {
            self.observe(line, &id, key, Seen::Event(event))?;
        }
        let terminal = matches!(event, Event::Completed { .. } | Event::Cancelled);
        if terminal && self.filtered {
            // Another of this id may follow, and nothing tell of it.
            if let Some(known) = self.jobs.get_mut(id.as_ref()) {
                known.failed = None;
                known.kind = None;
            }
        } else if terminal && dismisses_itself && silent {
            // The rest follows in the same breath, before anything else can be read.
            if let Some(key) = key {
                self.acceptor.vanished(key);
            }
            self.goes(&id);
        }
        Ok(())
    }

    // Replies.

    fn reply(&mut self, line: u64, message: &Message<'_>) -> Judged {
        self.replies += 1;
        let protocol = |rule, message: String, allowed: Vec<String>| {
            Err(Fault {
                line,
                rule,
                message,
                allowed,
                section: "2 (QMP)",
            })
        };
        let echoed = message.id;
        let fits = |pending: &Pending| match &pending.id {
            Some(id) => echoed.is_present() && echoed.same_value(id),
            None => !echoed.is_present(),
        };
        if let Some(place) = self.oob.iter().position(fits) {
            self.oob.remove(place);
            return Ok(());
        }
        if self.filtered {
            // Its command may have been left out.
            let asked = self.queue.iter().position(fits);
            let Some(asked) = asked.and_then(|place| self.queue.remove(place)) else {
                return Ok(());
            };
            if self.mixed && asked.id.is_none() {
                // It may answer another client.
                return Ok(());
            }
            return self.answered(line, &asked, message);
        }
        let Some(head) = self.queue.front() else {
            if self.lost > 0 || !self.commands {
                self.lost = self.lost.saturating_sub(1);
                return Ok(());
            }
            return protocol(
                "reply-without-command",
                "because every command has been answered, but another reply comes".to_owned(),
                vec!["an event".to_owned()],
            );
        };
        if !fits(head) {
            let expected = match &head.id {
                Some(id) => format!("with id {id}"),
                None => "without an id".to_owned(),
            };
            let rule = if self.queue.iter().any(fits) {
                "reply-order"
            } else {
                "reply-id"
            };
            return protocol(
                rule,
                format!(
                    "because commands are answered in order and {} of line {} is next, but this reply has {}",
                    head.name,
                    head.line,
                    if echoed.is_present() {
                        format!("id {}", shown(echoed))
                    } else {
                        "no id".to_owned()
                    }
                ),
                vec![format!("the reply {expected}")],
            );
        }
        let Some(head) = self.queue.pop_front() else {
            return Ok(());
        };
        self.answered(line, &head, message)?;
        self.leaving.clear();
        self.begin();
        Ok(())
    }

    /// The command in hand is answered.
    fn answered(&mut self, line: u64, head: &Pending, message: &Message<'_>) -> Judged {
        let error = if message.error.is_present() {
            let error: ErrorReply<'_> = message.error.read().unwrap_or_default();
            match (error.class.as_str(), error.desc.as_str()) {
                (Some(class), Some(desc)) => Some((class, desc)),
                _ => {
                    return Err(head.fault(
                        line,
                        "reply-shape",
                        "an error has a `class` and a `desc`, both strings",
                        &format!("it is {}", shown(message.error)),
                    ));
                }
            }
        } else {
            None
        };
        let error = error
            .as_ref()
            .map(|(class, desc)| (class.as_ref(), desc.as_ref()));
        if let Some((class, _)) = error {
            const CLASSES: [&str; 5] = [
                "GenericError",
                "CommandNotFound",
                "DeviceNotActive",
                "DeviceNotFound",
                "KVMMissingCap",
            ];
            if !CLASSES.contains(&class) {
                return Err(head.fault(
                    line,
                    "error-class",
                    &format!("the class of an error is {}", CLASSES.join(", ")),
                    &format!("it is {class}"),
                ));
            }
        }
        match &head.ask {
            Ask::Verb(verb) => self.verb_answered(line, head, verb, message.value, error),
            Ask::Query { block } => self.query_answered(line, head, *block, message.value, error),
            Ask::Create(creation) => {
                self.creation_answered(line, head, creation, message.value, error)
            }
            Ask::Human(Some(_)) if head.progress.called => {
                // The human monitor prints nothing when a command succeeded.
                if error.is_none() && message.value.as_str().as_deref() == Some("") {
                    self.acceptor
                        .answer(MONITOR, Ok(()))
                        .map_err(|rejection| at(line, rejection))
                } else {
                    self.acceptor.withdraw(MONITOR);
                    Ok(())
                }
            }
            _ => Ok(()),
        }
    }

    fn verb_answered(
        &mut self,
        line: u64,
        head: &Pending,
        verb: &VerbAsk,
        value: Piece<'_>,
        error: Option<(&str, &str)>,
    ) -> Judged {
        let id = verb.id.as_deref().unwrap_or_default();
        let asked = self
            .jobs
            .get_mut(id)
            .and_then(|known| known.speed_asked.take());
        let reply = match error {
            None => {
                if !value.is_empty_object() {
                    return Err(head.fault(
                        line,
                        "reply-shape",
                        "the command returns {}",
                        &format!("it returned {}", shown(value)),
                    ));
                }
                if let Some(fault) = verb.argument_faults.first() {
                    return Err(head.fault(
                        line,
                        "arguments-accepted",
                        &format!("its arguments are wrong ({fault}…)"),
                        "it succeeded",
                    ));
                }
                Ok(())
            }
            Some((class, desc)) => {
                let Some(refusal) = refusal_of(line, head, verb, class, desc, self.profile())?
                else {
                    // It failed before it reached the job layer, or the driver turned it down.
                    if head.progress.called {
                        self.acceptor.withdraw(MONITOR);
                    }
                    return Ok(());
                };
                Err(refusal)
            }
        };
        if let Some(known) = self.jobs.get_mut(id)
            && reply.is_ok()
            && known.speed.is_some()
            && asked.is_some()
        {
            known.speed = asked;
        }
        match head.progress.target {
            Target::Job(_) => self
                .acceptor
                .answer(MONITOR, reply)
                .map_err(|rejection| at(line, rejection)),
            Target::Unknown => match reply {
                // Whatever the job was at, the answer says what it was.
                Err(Refusal::Verb { status, verb }) if self.profile().permits(verb, status) => {
                    Err(Fault {
                        section: "1b",
                        ..head.fault(
                            line,
                            "refused-what-is-permitted",
                            &format!("a job that is {status} may be asked to {verb}"),
                            "it was refused for that status",
                        )
                    })
                }
                _ => Ok(()),
            },
            // Somebody else may have created it meanwhile.
            Target::Nobody if self.jobs.contains_key(id) => Ok(()),
            Target::Nobody => match reply {
                Err(Refusal::NotFound) => Ok(()),
                Ok(()) => Err(Fault {
                    allowed: vec![Refusal::NotFound.text(id, verb.block)],
                    ..head.fault(
                        line,
                        "verb-accepted-for-nobody",
                        &format!("no job has the id '{id}'"),
                        "it succeeded",
                    )
                }),
                Err(refusal) => Err(Fault {
                    allowed: vec![Refusal::NotFound.text(id, verb.block)],
                    ..head.fault(
                        line,
                        "refusal-text",
                        &format!("no job has the id '{id}'"),
                        &format!("the answer was: {}", refusal.text(id, verb.block)),
                    )
                }),
            },
        }
    }

    fn query_answered(
        &mut self,
        line: u64,
        head: &Pending,
        block: bool,
        value: Piece<'_>,
        error: Option<(&str, &str)>,
    ) -> Judged {
        if let Some((class, desc)) = error {
            self.acceptor.withdraw(MONITOR);
            if head.arguments || class == "CommandNotFound" {
                return Ok(());
            }
            return Err(head.fault(
                line,
                "query-refused",
                "it has no arguments and always succeeds",
                &format!("the answer was: {desc}"),
            ));
        }
        let Some(entries) = value.read::<Vec<Entry<'_>>>() else {
            return Err(head.fault(
                line,
                "query-shape",
                "it returns a list of jobs",
                &format!("it returned {}", shown(value)),
            ));
        };
        let mut sights: Vec<(JobKey, SightPattern)> = Vec::with_capacity(entries.len());
        let mut serials: Option<u64> = None;
        let mut listed: HashSet<Cow<'_, str>> = HashSet::with_capacity(entries.len());
        for entry in &entries {
            let (member, piece) = if block {
                ("device", entry.device)
            } else {
                ("id", entry.id)
            };
            let status = entry
                .status
                .as_str()
                .and_then(|name| Status::from_name(&name));
            // QEMU 2.11 has no statuses to show.
            let shows_status = self.profile().verb_table;
            let id = piece.as_str().filter(|_| {
                if shows_status {
                    status.is_some()
                } else {
                    !entry.status.is_present()
                }
            });
            let Some(id) = id else {
                return Err(head.fault(
                    line,
                    "query-shape",
                    &format!(
                        "a job has a `{member}` and {} `status`",
                        if shows_status { "a" } else { "no" }
                    ),
                    &format!("they are {} and {}", shown(piece), shown(entry.status)),
                ));
            };
            let listed_as = status.map_or("there", Status::name);
            let place = Place {
                line,
                what: &head.name,
                id: &id,
            };
            if !listed.insert(id.clone()) {
                return Err(place.fault(
                    "query-twice",
                    "2.3",
                    "ids are unique",
                    "the job is listed twice",
                ));
            }
            let leaving = self.leaving.contains_key(id.as_ref());
            if !leaving && !self.jobs.contains_key(id.as_ref()) {
                if !self.filtered && self.gone.iter().any(|gone| *gone == id) {
                    return Err(place.fault(
                        "query-lists-dead-job",
                        "2.3",
                        "the job is gone: its status is null",
                        &format!("it is listed as {listed_as}"),
                    ));
                }
                if self.inventory {
                    return Err(unknown(place));
                }
                self.meet(place, status.filter(|_| !self.filtered));
            }
            let known = if leaving {
                self.leaving.get_mut(id.as_ref())
            } else {
                self.jobs.get_mut(id.as_ref())
            };
            let Some(known) = known else { continue };
            if self.mixed {
                *known = known.whoevers();
            }
            if block && known.block == Some(false) {
                return Err(place.fault(
                    "query-lists-non-block-job",
                    "2.0",
                    "it is no block job",
                    "query-block-jobs lists it",
                ));
            }
            if block {
                known.block = Some(true);
            }
            if let Some(serial) = known.serial {
                if serials.is_some_and(|before| before < serial) {
                    return Err(place.fault(
                        "query-order",
                        "2.0",
                        "jobs are listed newest first",
                        "it is listed after an older one",
                    ));
                }
                serials = Some(serial);
            }
            let pattern = fields::entry(known, place, entry, status, block, self.continued)?;
            match (known.key, known.last) {
                // An event that came before may be printed after it.
                _ if self.filtered => {}
                (Some(key), _) => sights.push((key, pattern)),
                (None, Some((_, before))) if before > head.line => {}
                (None, Some((last, before))) if status.is_some_and(|status| last != status) => {
                    return Err(place.fault(
                        "query-status",
                        "2.3",
                        &format!("it is {last} since line {before}"),
                        &format!("it is listed as {listed_as}"),
                    ));
                }
                (None, _) => known.last = status.map(|status| (status, line)),
            }
        }
        // Before QEMU 3.0 there are block jobs only.
        if !self.filtered && (!block || !self.profile().status_events) {
            self.inventory = true;
            // The acceptor answers for the jobs it knows.
            let missing = self
                .jobs
                .iter()
                .filter(|(id, known)| known.key.is_none() && !listed.contains(id.as_str()))
                .filter(|(_, known)| known.last.is_some_and(|(_, seen)| seen < head.line))
                .map(|(id, _)| id)
                .min();
            if let Some(id) = missing {
                let known = &self.jobs[id];
                let place = Place {
                    line,
                    what: &head.name,
                    id,
                };
                return Err(place.fault(
                    "query-misses-job",
                    "2.3",
                    &format!("the job is there: {}", known.standing()),
                    "it is not listed",
                ));
            }
        }
        if self.filtered {
            return Ok(());
        }
        self.acceptor
            .looked(MONITOR, &sights)
            .map_err(|rejection| at(line, rejection))
    }

    fn creation_answered(
        &mut self,
        line: u64,
        head: &Pending,
        creation: &Creation,
        value: Piece<'_>,
        error: Option<(&str, &str)>,
    ) -> Judged {
        let silent = !self.profile().status_events;
        if silent && !self.filtered {
            self.creation_settled(head, error.is_none());
        }
        let made = &head.progress.made;
        let Some((class, desc)) = error else {
            if !value.is_object() {
                return Err(head.fault(
                    line,
                    "reply-shape",
                    "the command returns {}",
                    &format!("it returned {}", shown(value)),
                ));
            }
            for (place, plan) in creation.jobs.iter().enumerate() {
                let id = plan.id.as_deref().unwrap_or("?");
                match made.iter().find(|made| made.plan == place) {
                    // Nothing tells of them.
                    _ if silent || self.filtered => {}
                    None => {
                        return Err(Fault {
                            section: "2.1",
                            ..head.fault(
                                line,
                                "created-event-missing",
                                &format!("it was to create job '{id}' before it answered"),
                                "it succeeded, and no such job was created",
                            )
                        });
                    }
                    Some(made) if !made.started => {
                        return Err(Fault {
                            section: "2.2",
                            ..head.fault(
                                line,
                                "start-failed-but-succeeded",
                                &format!(
                                    "job '{}' was to be started before it answered, and {}",
                                    made.id,
                                    if made.gone {
                                        "is gone unstarted"
                                    } else {
                                        "was not"
                                    }
                                ),
                                "it succeeded",
                            )
                        });
                    }
                    Some(_) => {}
                }
                if plan.speed < 0 {
                    return Err(head.fault(
                        line,
                        "negative-speed-accepted",
                        &format!("the speed asked for is {}", plan.speed),
                        "it succeeded",
                    ));
                }
            }
            return Ok(());
        };
        if let Some(alive) = made.iter().find(|made| !made.gone && !silent) {
            return Err(Fault {
                section: "2.1",
                ..head.fault(
                    line,
                    "creation-failed-but-alive",
                    &format!("job '{}' was created and is not gone", alive.id),
                    &format!("it failed: {desc}"),
                )
            });
        }
        if class == "CommandNotFound" {
            return Ok(());
        }
        self.creation_refused(line, head, creation, desc)
    }

    /// The command in hand made its jobs, or did not, and its answer is the first to say so.
    fn creation_settled(&mut self, head: &Pending, well: bool) {
        for made in &head.progress.made {
            let key = self.jobs.get(&made.id).and_then(|known| known.key);
            match key {
                Some(key) if well => self.acceptor.began(key),
                Some(key) => {
                    self.acceptor.never(key);
                    self.jobs.remove(&made.id);
                }
                // It is gone already.
                None => {}
            }
        }
    }

    /// The errors of creation that can be held against the command.
    fn creation_refused(
        &self,
        line: u64,
        head: &Pending,
        creation: &Creation,
        desc: &str,
    ) -> Judged {
        let answer = format!("the answer was: {desc}");
        let planned = |id: &str| {
            creation
                .jobs
                .iter()
                .any(|plan| !plan.explicit || plan.id.as_deref() == Some(id))
        };
        let argument = |name: &str| creation.arguments.iter().any(|argument| argument == name);
        // Arguments inside arguments, and those of actions, are named by a path.
        let simple = |name: &str| !creation.transaction && !name.contains(['.', '[']);
        let meaning = refusal::read(desc);
        let ours = creation.transaction || !matches!(meaning, Meaning::Ungroupable(_));
        if let Err(says) = refusal::fits(&meaning, desc, self.profile())
            && ours
        {
            return Err(text_of_another_version(
                line,
                head,
                desc,
                says,
                self.profile(),
            ));
        }
        match meaning {
            Meaning::IdInUse(id) | Meaning::InvalidId(id) if !planned(id) => Err(head.fault(
                line,
                "error-names-other-job",
                "the command asks for no such id",
                &answer,
            )),
            Meaning::IdInUse(id) => {
                let wanted = creation
                    .jobs
                    .iter()
                    .filter(|plan| plan.id.as_deref() == Some(id))
                    .count();
                let held_on_to =
                    !self.profile().id_is_free_at_null && self.gone.iter().any(|gone| gone == id);
                let taken =
                    self.jobs.contains_key(id) || held_on_to || wanted > 1 || !self.inventory;
                if taken {
                    Ok(())
                } else {
                    Err(head.fault(line, "id-not-in-use", "no job has that id", &answer))
                }
            }
            Meaning::InvalidId(id) if is_well_formed(id) => {
                Err(head.fault(line, "id-not-malformed", "that id is well formed", &answer))
            }
            Meaning::Refusal(Refusal::NegativeSpeed, _)
                if creation.jobs.iter().all(|plan| plan.speed >= 0) =>
            {
                Err(head.fault(
                    line,
                    "speed-not-negative",
                    "no speed asked for is negative",
                    &answer,
                ))
            }
            Meaning::Missing(name) if simple(name) && argument(name) => {
                Err(head.fault(line, "argument-error", "that argument is there", &answer))
            }
            Meaning::Unfit(name) if simple(name) && !argument(name) => {
                Err(head.fault(line, "argument-error", "there is no such argument", &answer))
            }
            _ => Ok(()),
        }
    }
}

impl Pending {
    /// A fault of this command's reply.
    fn fault(&self, line: u64, rule: &'static str, because: &str, but: &str) -> Fault {
        Fault {
            line,
            rule,
            message: format!(
                "{} of line {}: because {because}, but {but}",
                self.name, self.line
            ),
            allowed: Vec::new(),
            section: "2",
        }
    }
}

/// Which refusal an error reply to a verb is; `None`: none of the job layer's.
fn refusal_of(
    line: u64,
    head: &Pending,
    verb: &VerbAsk,
    class: &str,
    desc: &str,
    profile: &Profile,
) -> Result<Option<Refusal>, Fault> {
    let id = verb.id.as_deref().unwrap_or_default();
    if !verb.argument_faults.is_empty() {
        let about_arguments =
            matches!(refusal::read(desc), Meaning::Missing(_) | Meaning::Unfit(_));
        let expected = verb
            .argument_faults
            .iter()
            .any(|fault| desc.starts_with(fault.as_str()));
        if about_arguments && !expected {
            return Err(Fault {
                allowed: verb.argument_faults.clone(),
                ..head.fault(
                    line,
                    "argument-error",
                    "that argument is in order",
                    &format!("the answer was: {desc}"),
                )
            });
        }
        return Ok(None);
    }
    if class == "CommandNotFound" {
        // Not negotiated yet, disabled, or a command of another version.
        return Ok(None);
    }
    let meaning = refusal::read(desc);
    if let Err(says) = refusal::fits(&meaning, desc, profile) {
        return Err(text_of_another_version(line, head, desc, says, profile));
    }
    match meaning {
        Meaning::Refusal(refusal, named) => {
            if let Some(named) = named
                && named != id
            {
                return Err(head.fault(
                    line,
                    "error-names-other-job",
                    &format!("the command was for '{id}'"),
                    &format!("the answer names '{named}'"),
                ));
            }
            if let Refusal::Verb { verb: named, .. } = refusal
                && named != verb.verb
            {
                return Err(head.fault(
                    line,
                    "error-names-other-verb",
                    &format!("the command's verb is {}", verb.verb),
                    &format!("the answer names {named}"),
                ));
            }
            if refusal == Refusal::NotFound && named.is_some() != verb.block {
                return Err(Fault {
                    allowed: vec![profile.text(refusal, id, verb.block)],
                    ..head.fault(
                        line,
                        "refusal-text",
                        "block-job-* and job-* commands have their own words for this",
                        &format!("the answer was: {desc}"),
                    )
                });
            }
            if class != refusal.class(verb.block) {
                return Err(Fault {
                    allowed: vec![refusal.class(verb.block).to_owned()],
                    ..head.fault(
                        line,
                        "error-class",
                        &format!("this error is of class {}", refusal.class(verb.block)),
                        &format!("its class was {class}"),
                    )
                });
            }
            // The driver says the same of a convergence it has lost (§12-13).
            let drivers = refusal == Refusal::CannotComplete && profile.ready_may_lapse;
            Ok((!drivers).then_some(refusal))
        }
        Meaning::SpeedUnsupported if matches!(verb.request, Request::SetSpeed { .. }) => Ok(None),
        Meaning::Missing(_) | Meaning::Unfit(_) => Err(head.fault(
            line,
            "argument-error",
            "its arguments are in order",
            &format!("the answer was: {desc}"),
        )),
        // A driver may turn these down in its own words.
        Meaning::Other if matches!(verb.request, Request::Complete | Request::Change) => Ok(None),
        _ => Err(head.fault(
            line,
            "refusal-text",
            "no refusal of this command has such a text",
            &format!("the answer was: {desc}"),
        )),
    }
}

/// An error text that this version of QEMU does not have.
fn text_of_another_version(
    line: u64,
    head: &Pending,
    desc: &str,
    says: String,
    profile: &Profile,
) -> Fault {
    Fault {
        allowed: vec![says],
        section: "11",
        ..head.fault(
            line,
            "text-of-another-version",
            &format!("{} is judged, which has other words for this", profile.name),
            &format!("the answer was: {desc}"),
        )
    }
}

/// Whether a job may go from one status to the other, in as many steps as it takes.
fn leads_to(from: Status, to: Status) -> bool {
    let mut met = vec![from];
    let mut next = 0;
    while let Some(&status) = met.get(next) {
        next += 1;
        for then in Status::ALL {
            if status.may_become(then) {
                if then == to {
                    return true;
                }
                if !met.contains(&then) {
                    met.push(then);
                }
            }
        }
    }
    false
}

/// Something of an id that is nobody's.
fn unknown(place: Place<'_>) -> Fault {
    place.fault(
        "unknown-job",
        "2.1",
        "no job of this id was listed or created",
        "it is spoken of",
    )
}
