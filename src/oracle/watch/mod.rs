//! What a trace shows, step by step, for those who count it or draw it: coverage, reports.
//!
//! The judges say whether a trace is legal and keep of it only what they need for that. Whoever wants
//! more watches: each line is read a second time, as a [`Step`] that looks the same whatever the
//! format. Where nobody watches, a judged line costs one test of a pointer more.
//!
//! | module | reads |
//! |---|---|
//! | `conversation` | QMP, of one monitor or several |
//! | `native` | our own traces |
//! | `log` | QEMU's trace log |
//! | `clock` | when a line was written |
//!
//! Nothing is judged here, and nothing here fails: a line that makes no sense is no step.
//! Memory is bounded by the jobs that are alive and the commands that are not answered.

mod clock;
mod conversation;
mod log;
mod native;

use blockjob_model::{Profile, Status, Verb};

use super::reader::libvirt;
use super::reader::lines::Line;
use super::reader::qemu_log::Entry;
use super::reader::{native as native_reader, qmp};

/// Whoever is told of the steps of a trace.
pub trait Watcher {
    /// A step; what the judge holds possible after it.
    fn step(&mut self, step: &Step<'_>, judge: &dyn Belief);

    /// What the judge is about to get, as it was read.
    fn before(&mut self, _read: &Read<'_>, _judge: &dyn Belief) {}

    /// The trace is read again from its beginning, as one of another kind: what was told before is void.
    fn again(&mut self) {}
}

/// What was read, by format.
#[derive(Clone, Copy)]
pub enum Read<'a> {
    /// A message of a conversation, through the monitor of that name.
    Message(&'a str, &'a qmp::Record<'a>),
    /// A record of a native trace, and its line.
    Native(u64, &'a native_reader::Record<'a>),
    /// A line of a trace log.
    Log(&'a Entry<'a>),
    /// A line of libvirt's log.
    Libvirt(&'a libvirt::Entry<'a>),
}

/// What a judge holds possible.
pub trait Belief {
    /// The profile it judges by; of several that fit, the first.
    fn profile(&self) -> &'static Profile;

    /// The statuses that the job called `job` may have; none where it is not known.
    fn statuses(&self, job: &str) -> Vec<Status>;

    /// Enough was said to judge by a profile.
    fn has_begun(&self) -> bool {
        true
    }

    /// The recording is known to be filtered.
    fn is_filtered(&self) -> bool {
        false
    }
}

/// One thing that a trace shows.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The line, from 1.
    pub line: u64,
    /// When, in nanoseconds since some beginning; `None`: the trace does not say.
    pub at_ns: Option<i64>,
    /// Through which monitor, or of which process, where there are several; else empty.
    pub source: &'a str,
    /// The job it is about.
    pub job: Option<&'a str>,
    /// The transaction that the job is made in.
    pub group: Option<&'a str>,
    /// What.
    pub what: What<'a>,
    /// The judge took it; it did not take the line it rejects.
    pub taken: bool,
}

/// What a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// A connection or a recording begins.
    Begins,
    /// Something is asked, by a command or a call of this name.
    Asked(&'a str),
    /// Something that was asked is answered.
    Answered {
        /// What was asked.
        name: &'a str,
        /// In which line.
        asked: u64,
        /// It was a verb, in this status as far as that can be told (see [`settle`]).
        verb: Option<(Verb, Option<Status>)>,
        /// Through a `block-job-*` command.
        block: bool,
        /// The text of the refusal.
        error: Option<&'a str>,
    },
    /// The job's status changes.
    Status {
        /// From which; `None`: it was not seen.
        from: Option<Status>,
        /// To which.
        to: Status,
        /// By an event of QMP.
        event: bool,
    },
    /// A verb was looked up in the table of the implementation itself.
    LookedUp {
        /// Which.
        verb: Verb,
        /// In which status.
        status: Status,
        /// What the table says.
        permitted: bool,
    },
    /// An event, by its name and what tells its kinds apart.
    Event(&'a str),
    /// The job's run ended, with this result.
    Ended(i64),
    /// A callback of the driver begins or ends.
    Callback {
        /// Which.
        name: &'a str,
        /// It begins.
        begins: bool,
    },
    /// I/O begins or ends.
    Io {
        /// It begins.
        begins: bool,
    },
}

/// The status in which a verb took effect: the first permitted one of those that the job had between
/// the verb's turn and its answer.
///
/// A recording does not show the moment itself. `statuses` begins with the last status announced before.
pub fn settle(verb: Verb, statuses: &[Status]) -> Option<Status> {
    statuses
        .iter()
        .copied()
        .find(|&status| verb.permitted_in(status))
}

/// The events that are told apart, as [`What::Event`] calls them, but for the change of status.
pub const EVENTS: [&str; 8] = [
    "BLOCK_JOB_READY",
    "BLOCK_JOB_PENDING",
    "BLOCK_JOB_COMPLETED without an error",
    "BLOCK_JOB_COMPLETED with an error",
    "BLOCK_JOB_CANCELLED",
    "BLOCK_JOB_ERROR with action report",
    "BLOCK_JOB_ERROR with action ignore",
    "BLOCK_JOB_ERROR with action stop",
];

/// One of [`EVENTS`], by the event's name in QMP, whether it carries an error, and its action.
fn event(name: &str, error: bool, action: Option<&str>) -> Option<&'static str> {
    EVENTS.into_iter().find(|event| {
        let Some(rest) = event.strip_prefix(name) else {
            return false;
        };
        match rest {
            "" => true,
            " without an error" => !error,
            " with an error" => error,
            _ => action.is_some() && rest.strip_prefix(" with action ") == action,
        }
    })
}

/// How many jobs and calls are followed at a time. Beyond it, what comes new is shown without what
/// came before it.
const FOLLOWED_MAX: usize = 1 << 16;

/// Reads a trace a second time, for whoever watches.
pub struct Watch<'w> {
    watchers: Vec<&'w mut dyn Watcher>,
    conversations: conversation::Conversations,
    native: native::Native,
    log: log::Log,
    clock: clock::Clock,
}

impl<'w> Watch<'w> {
    /// Tells each of `watchers`.
    pub fn new(watchers: Vec<&'w mut dyn Watcher>) -> Watch<'w> {
        Watch {
            watchers,
            conversations: conversation::Conversations::default(),
            native: native::Native::default(),
            log: log::Log::default(),
            clock: clock::Clock::default(),
        }
    }

    /// The trace is read again from its beginning.
    pub(super) fn again(&mut self) {
        self.conversations = conversation::Conversations::default();
        self.native = native::Native::default();
        self.log = log::Log::default();
        self.clock = clock::Clock::default();
        for watcher in &mut self.watchers {
            watcher.again();
        }
    }

    /// Something is about to be judged.
    pub(super) fn before(&mut self, read: &Read<'_>, judge: &dyn Belief) {
        for watcher in &mut self.watchers {
            watcher.before(read, judge);
        }
    }

    /// A message of a conversation was judged.
    pub(super) fn conversation(
        &mut self,
        monitor: &str,
        line: &Line<'_>,
        record: &qmp::Record<'_>,
        taken: bool,
        judge: &dyn Belief,
    ) {
        let at_ns = self.clock.of_message(line.text);
        let mut tell = teller(&mut self.watchers, at_ns, taken, judge);
        self.conversations.take(monitor, record, &mut tell);
    }

    /// A line of libvirt's log was judged, which was not a second copy of another.
    pub(super) fn libvirt(&mut self, entry: &libvirt::Entry<'_>, taken: bool, judge: &dyn Belief) {
        use libvirt::Said;
        let (text, direction) = match entry.said {
            Said::Sent(text) | Said::Written(text) => (text, qmp::Direction::Sent),
            Said::Received(text) => (text, qmp::Direction::Received),
            Said::Restarted => return self.conversations.forget_all(),
            Said::Lost if entry.monitor.is_empty() => return self.conversations.forget_all(),
            Said::Opened | Said::Closed | Said::Lost => {
                return self.conversations.forget(entry.monitor);
            }
            Said::Greeting(_) => return,
        };
        let Ok(message) = serde_json::from_str::<qmp::Message<'_>>(text) else {
            return self.conversations.forget(entry.monitor);
        };
        let record = qmp::Record {
            line: entry.line,
            direction,
            message,
            data: None,
        };
        let line = Line {
            number: entry.line,
            text,
            whole: true,
        };
        self.conversation(entry.monitor, &line, &record, taken, judge);
    }

    /// A record of a native trace was judged.
    pub(super) fn native(
        &mut self,
        line: &Line<'_>,
        record: &native_reader::Record<'_>,
        taken: bool,
        judge: &dyn Belief,
    ) {
        let at_ns = self.clock.of_native(line.text);
        let mut tell = teller(&mut self.watchers, at_ns, taken, judge);
        self.native.take(line.number, record, &mut tell);
    }

    /// A line of a trace log was judged.
    pub(super) fn log(
        &mut self,
        line: &Line<'_>,
        entry: &Entry<'_>,
        taken: bool,
        judge: &dyn Belief,
    ) {
        let at_ns = self.clock.of_log(line.text);
        let mut tell = teller(&mut self.watchers, at_ns, taken, judge);
        self.log.take(entry, &mut tell);
    }
}

/// What tells each of `watchers` of the steps of a line.
fn teller<'t, 'w>(
    watchers: &'t mut [&'w mut dyn Watcher],
    at_ns: Option<i64>,
    taken: bool,
    judge: &'t dyn Belief,
) -> impl FnMut(Step<'_>) + use<'t, 'w> {
    move |step| {
        let step = Step {
            at_ns,
            taken,
            ..step
        };
        for watcher in &mut *watchers {
            watcher.step(&step, judge);
        }
    }
}

impl<'a> Step<'a> {
    /// A step of which only the line and the event are known yet.
    const fn new(line: u64, what: What<'a>) -> Step<'a> {
        Step {
            line,
            at_ns: None,
            source: "",
            job: None,
            group: None,
            what,
            taken: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_settles_in_the_first_status_that_permits_it() {
        use Status::{Concluded, Null, Paused, Running};
        assert_eq!(settle(Verb::Dismiss, &[Concluded, Null]), Some(Concluded));
        assert_eq!(settle(Verb::Dismiss, &[Null]), None);
        assert_eq!(settle(Verb::Pause, &[Running, Paused]), Some(Running));
    }

    #[test]
    fn every_event_is_found_by_what_it_says() {
        assert_eq!(event("BLOCK_JOB_READY", false, None), Some(EVENTS[0]));
        assert_eq!(event("BLOCK_JOB_COMPLETED", true, None), Some(EVENTS[3]));
        assert_eq!(event("BLOCK_JOB_COMPLETED", false, None), Some(EVENTS[2]));
        assert_eq!(
            event("BLOCK_JOB_ERROR", false, Some("stop")),
            Some(EVENTS[7])
        );
        assert_eq!(event("BLOCK_JOB_ERROR", false, Some("sulk")), None);
        assert_eq!(event("BLOCK_JOB_", false, None), None);
        assert_eq!(event("STOP", false, None), None);
    }
}
