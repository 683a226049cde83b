//! One QMP conversation, judged by one profile.
//!
//! Commands are answered in order, so only the oldest unanswered one can be taking effect; those
//! written behind it wait for its reply (SEMANTICS.md §7.4). What the client reads after writing
//! a command may be older than the command, which is no matter: a command takes effect somewhere
//! between its line (or the previous reply) and its reply.
//!
//! | module | what it judges |
//! |---|---|
//! | this one | commands, the order of messages, connections |
//! | `event` | events |
//! | `reply` | whose a reply is; what a verb may be answered |
//! | `query` | what a query may list |
//! | `recover` | how it goes on behind a fault |
//! | `creation` | what a command that makes jobs may be answered |
//! | `filtered` | recordings that leave things out |
//! | `by_id` | what is known of jobs, by id |

mod by_id;
mod creation;
mod event;
mod filtered;
mod query;
mod recover;
mod reply;

use std::collections::VecDeque;

use blockjob_model::accept::{Acceptor, GroupKey, JobKey, Seen};
use blockjob_model::identity::is_well_formed;
use blockjob_model::rule::Rule;
use blockjob_model::state::Group;
use blockjob_model::step::{Kinds, View};
use blockjob_model::{Profile, Request, Status, rule};

use super::command::{Ask, Creation};
use super::{Observer, at};
use crate::oracle::fields::{Known, Place};
use crate::oracle::reader::qmp::{Direction, EventData, Message, Record};
use crate::oracle::verdict::Fault;
use by_id::ById;

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
    jobs: ById<Known>,
    gone: VecDeque<String>,
    /// Jobs that went while a query was in hand: its answer may still list them.
    leaving: ById<Known>,
    queue: VecDeque<Pending>,
    oob: Vec<Pending>,
    next_serial: u64,
    /// A list of all jobs was read: an id not in it and not created since is nobody's.
    inventory: bool,
    /// A command was seen at all; before that, replies may belong to commands not recorded.
    commands: bool,
    /// A reply came before any command: commands may be missing.
    orphans: bool,
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
    /// The line of a job that nobody here asked for: this client is not the only one.
    others_at: Option<u64>,
    replies: u64,
    events: u64,
    jobs_seen: u64,
    /// What is read was a fault: it is taken for what it says.
    lenient: bool,
    /// There was a fault.
    faulty: bool,
    repaired: recover::Repaired,
    /// The recording has no events of these kinds.
    unseen: Kinds,
    /// The recording has no answers.
    unanswered: bool,
    /// Nothing is judged: what there is is noted.
    surveys: bool,
    tally: filtered::Tally,
    /// Some job of a filtered recording was told of before its creation was.
    met: bool,
    /// A recorded command was answered: what was asked before the recording is answered too.
    aligned: bool,
    /// The handshake of the connection is recorded.
    negotiated: bool,
    /// Commands may overtake others on this connection.
    oob_enabled: bool,
}

type Judged = Result<(), Fault>;

impl Session {
    /// A conversation with an implementation of `profile`.
    pub fn new(profile: &'static Profile, observer: Observer) -> Session {
        Session {
            acceptor: Acceptor::new(profile, View::QMP),
            observer,
            jobs: ById::new(),
            gone: VecDeque::new(),
            leaving: ById::new(),
            queue: VecDeque::new(),
            oob: Vec::new(),
            next_serial: 0,
            inventory: false,
            commands: false,
            orphans: false,
            lost: 0,
            greeted: false,
            inside: false,
            filtered: false,
            mixed: false,
            suspended: None,
            continued: false,
            others_at: None,
            replies: 0,
            events: 0,
            jobs_seen: 0,
            lenient: false,
            faulty: false,
            repaired: recover::Repaired::default(),
            unseen: Kinds::NONE,
            unanswered: false,
            surveys: false,
            tally: filtered::Tally::default(),
            met: false,
            aligned: false,
            negotiated: false,
            oob_enabled: false,
        }
    }

    /// The profile it is judged by.
    pub fn profile(&self) -> &'static Profile {
        self.acceptor.profile()
    }

    /// The statuses that the job called `job` may have; none where it is not known.
    pub fn statuses(&self, job: &str) -> Vec<Status> {
        match self.jobs.get(job) {
            Some(Known { key: Some(key), .. }) => self.acceptor.statuses(*key),
            Some(known) => known.last.map(|(status, _)| status).into_iter().collect(),
            None => Vec::new(),
        }
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

    /// The first line that shows another client at work.
    pub fn others_at(&self) -> Option<u64> {
        self.others_at
    }

    /// Nothing is known any more of what the acceptor was told.
    fn forget(&mut self) {
        self.acceptor = Acceptor::new(self.acceptor.profile(), self.view());
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
    /// It contradicts the specification. What comes next is held against the nearest legal state.
    pub fn take(&mut self, record: &Record<'_>) -> Judged {
        if self.surveys {
            self.note(record);
            return Ok(());
        }
        let judged = self.judge(record);
        if judged.is_ok() && !self.faulty {
            return judged;
        }
        self.faulty = true;
        self.independent(&record.message, judged)
    }

    fn judge(&mut self, record: &Record<'_>) -> Judged {
        let message = &record.message;
        match record.direction {
            Direction::Sent => {
                self.sent(record.line, message);
                Ok(())
            }
            Direction::Received => self.received(record),
        }
    }

    fn sent(&mut self, line: u64, message: &Message<'_>) {
        self.commands = true;
        let out_of_band = message.execute_oob.is_present();
        // Where that was not negotiated it is an error that comes in its turn.
        let oob = out_of_band && (self.oob_enabled || !self.negotiated);
        let name = if out_of_band {
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
            ask: if out_of_band && !oob {
                Ask::Other
            } else {
                Ask::of(message)
            },
            arguments: message.arguments.is_present(),
            progress: Progress::default(),
        };
        if matches!(pending.ask, Ask::Capabilities) {
            self.negotiated = true;
            self.oob_enabled |= message.arguments.text().contains("oob");
        }
        if self.filtered {
            self.may_make_others(&pending.ask);
        }
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
        let silent = self.is_created_unseen();
        let knows_all = self.knows_all();
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
                    None if knows_all => Target::Nobody,
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
                let Some(id) = plan.id.as_deref() else {
                    continue;
                };
                if !plan.explicit || !is_well_formed(id) || self.jobs.contains_key(id) {
                    continue;
                }
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
        if self.lenient {
            self.resume(key, seen);
            return Ok(());
        }
        if self.came_late(key, seen) {
            return Ok(());
        }
        let fault = at(line, rejection);
        let may_be_stopped =
            self.observer == Observer::Auto && !self.inside && BROUGHT_DOWN.contains(&fault.rule);
        if !may_be_stopped {
            return Err(fault);
        }
        self.requests_from_inside();
        // Of one that was taken to be ending by itself the belief has no way back, and nothing is believed any more.
        let ended_otherwise = fault.rule == "cancelled-unasked";
        let explained = self.acceptor.observe(key, seen).is_ok();
        if !explained && ended_otherwise {
            self.let_go(key);
        } else if !explained {
            // That does not explain it either; of jobs made from here on nothing comes from inside.
            self.inside = false;
            return Err(fault);
        }
        self.suspended = Some((fault, id.to_owned()));
        Ok(())
    }

    /// The daemon goes on after all: what looked like its end was a fault.
    fn goes_on(&mut self) -> Judged {
        let Some((fault, _)) = self.suspended.take() else {
            return Ok(());
        };
        // Nothing came from inside after all; of jobs made from here on nothing will.
        self.inside = false;
        Err(fault)
    }

    fn received(&mut self, record: &Record<'_>) -> Judged {
        let (line, message) = (record.line, &record.message);
        if message.value.is_present() && message.error.is_present() {
            self.resume_message(message);
            return Err(Fault::new(
                line,
                rule!("reply-return-and-error"),
                "",
                "a reply has a `return` or an `error`",
                "this one has both",
            ));
        }
        // A daemon that is stopped from outside answers nothing any more, and makes no jobs.
        if self.suspended.is_some() && (!message.event.is_present() || is_creation(message)) {
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
                return Err(Fault::new(
                    line,
                    rule!("message-shape"),
                    "",
                    "a daemon sends a greeting, an event or a reply",
                    if count == 0 {
                        "this is none of them"
                    } else {
                        "this is more than one of them"
                    },
                ));
            }
        }
        if message.greeting.is_present() {
            self.greeting();
            Ok(())
        } else if message.event.is_present() {
            let judged = self.event(record);
            if judged.is_err() {
                self.resume_event(record);
            }
            judged
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
            self.oob_enabled = false;
            self.jobs.clear();
            self.gone.clear();
            self.forget();
        }
        self.mixed = self.greeted && self.filtered;
        self.greeted = true;
    }
}

impl Pending {
    /// A fault of this command's reply.
    fn fault(&self, line: u64, rule: &'static Rule, because: &str, but: &str) -> Fault {
        let about = format!("{} of line {}", self.name, self.line);
        Fault::new(line, rule, &about, because, but).of(self.ask.ids())
    }
}

/// The event that a job was created.
fn is_creation(message: &Message<'_>) -> bool {
    let data: EventData<'_> = message.data.read_members().unwrap_or_default();
    data.status.as_str().as_deref() == Some("created")
}

/// An error text that this version of QEMU does not have.
fn text_of_another_version(
    line: u64,
    head: &Pending,
    desc: &str,
    says: String,
    profile: &Profile,
) -> Fault {
    head.fault(
        line,
        rule!("text-of-another-version"),
        &format!("{} is judged, which has other words for this", profile.name),
        &format!("the answer was: {desc}"),
    )
    .instead(vec![says])
}

/// Something of an id that is nobody's.
fn unknown(place: Place<'_>) -> Fault {
    place.fault(
        rule!("unknown-job"),
        "no job of this id was listed or created",
        "it is spoken of",
    )
}
