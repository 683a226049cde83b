//! Going on behind a fault, from the nearest state that is legal.
//!
//! What was said of a job stands in the recording, so it is taken as said, and what comes next is held
//! against that. What follows from a fault is no further one: a job that a fault concerns is on probation
//! until some events of it are in order. Whatever is wrong with it till then is not told; it is not
//! believed in any more, nor are the others of its transaction. They are held against the transition
//! table alone from there on, as jobs that were met on their way.

use std::collections::HashMap;

use blockjob_model::accept::{JobKey, Seen};

use super::{Judged, MONITOR, Pending, Session};
use crate::oracle::fields::Known;
use crate::oracle::judge::command::Ask;
use crate::oracle::reader::qmp::{EventData, Message, Record};
use crate::oracle::verdict::Fault;

/// How much is remembered of what was repaired.
const REPAIRED_MAX: usize = 256;

/// What was taken to be otherwise than it was recorded.
#[derive(Debug, Default)]
pub(super) struct Repaired {
    /// What is taken to have happened unseen; if it is seen later, it came late.
    assumed: Vec<(JobKey, Seen)>,
    /// What was passed over; if it is missing later, it came early.
    passed_over: Vec<(JobKey, Seen)>,
    /// All that was missing before the last fault had come early.
    came_early: bool,
    /// Jobs that a fault concerned, by id, and how many of their events have to be in order yet.
    probation: HashMap<String, u32>,
}

/// So many events of a job in order, and a fault of it is a further one.
const PROBATION: u32 = 3;

impl Session {
    /// An event was a fault: takes it again, for what it says.
    pub(super) fn resume_event(&mut self, record: &Record<'_>) {
        let events = self.events;
        self.lenient = true;
        // Whatever is wrong with it has been said.
        let _ = self.event(record);
        self.lenient = false;
        self.events = events;
    }

    /// Whether a rejected observation only comes late: it was taken to have happened before.
    pub(super) fn came_late(&mut self, key: JobKey, seen: Seen) -> bool {
        let assumed = &mut self.repaired.assumed;
        let late = |assumed: &(JobKey, Seen)| *assumed == (key, seen);
        let place = assumed.iter().position(late);
        place.map(|place| assumed.remove(place)).is_some()
    }

    /// Goes on behind an observation that was rejected.
    pub(super) fn resume(&mut self, key: JobKey, seen: Seen) {
        let repaired = &mut self.repaired;
        match self.acceptor.resume(key, seen) {
            Some(missing) => {
                let early = |missing: &(JobKey, Seen)| repaired.passed_over.contains(missing);
                repaired.came_early = !missing.is_empty() && missing.iter().all(early);
                repaired.assumed.extend(missing);
                repaired.assumed.truncate(REPAIRED_MAX);
            }
            None if repaired.passed_over.len() < REPAIRED_MAX => {
                repaired.passed_over.push((key, seen));
            }
            None => {}
        }
    }

    /// What was judged of a message behind a fault, without what follows from that fault.
    pub(super) fn independent(&mut self, message: &Message<'_>, judged: Judged) -> Judged {
        let Err(fault) = judged else {
            self.in_order(message);
            return Ok(());
        };
        if matches!(fault.rule, "query-misses-job")
            && let Some(id) = fault.jobs.first()
            && let Some(known) = self.jobs.get(id)
        {
            match known.key {
                Some(key) => self.let_go(key),
                None => drop(self.jobs.remove(id)),
            }
        }
        let early = std::mem::take(&mut self.repaired.came_early);
        let first = fault.jobs.first();
        let follows = early || first.is_some_and(|job| self.repaired.probation.contains_key(job));
        if follows && !early {
            for id in &fault.jobs {
                if let Some(key) = self.jobs.get(id).and_then(|known| known.key) {
                    self.let_go(key);
                }
            }
        }
        for id in fault.jobs.iter().take(REPAIRED_MAX) {
            if self.repaired.probation.len() < REPAIRED_MAX {
                self.repaired.probation.insert(id.clone(), PROBATION);
            }
        }
        if follows { Ok(()) } else { Err(fault) }
    }

    /// A message was in order.
    fn in_order(&mut self, message: &Message<'_>) {
        if self.repaired.probation.is_empty() || !message.event.is_present() {
            return;
        }
        let data: EventData<'_> = message.data.read().unwrap_or_default();
        if let Some(id) = data.id.as_str().or(data.device.as_str())
            && let Some(left) = self.repaired.probation.get_mut(id.as_ref())
        {
            *left -= 1;
            if *left == 0 {
                self.repaired.probation.remove(id.as_ref());
            }
        }
    }

    /// The job is not believed in any more, nor are those of its transaction.
    pub(super) fn let_go(&mut self, key: JobKey) {
        let lost = self.acceptor.let_go(key);
        self.adrift(&lost);
    }

    fn adrift(&mut self, lost: &[JobKey]) {
        for known in self.jobs.values_mut().chain(self.leaving.values_mut()) {
            if known.key.is_some_and(|key| lost.contains(&key)) {
                *known = Known {
                    kind: known.kind.take(),
                    block: known.block,
                    policy: known.policy,
                    ..Known::met()
                };
            }
        }
        let lost = |key: &JobKey| lost.contains(key);
        self.repaired.assumed.retain(|(key, _)| !lost(key));
        self.repaired.passed_over.retain(|(key, _)| !lost(key));
    }

    /// A command's answer was a fault: the command ends as it may have. What a query shows of a job is
    /// taken as said, so what was believed of it is not.
    pub(super) fn settle(&mut self, head: &Pending, well: bool, fault: Option<&Fault>) {
        if matches!(head.ask, Ask::Query { .. })
            && let Some(id) = fault.and_then(|fault| fault.jobs.first())
            && let Some(key) = self.jobs.get(id).and_then(|known| known.key)
        {
            self.let_go(key);
        }
        if head.progress.called {
            let lost = self.acceptor.settle(MONITOR);
            self.adrift(&lost);
        }
        if let Ask::Create(creation) = &head.ask
            && well
        {
            // Those it has not announced may be there all the same.
            for id in creation.jobs.iter().filter_map(|plan| plan.id.as_deref()) {
                if !self.jobs.contains_key(id) && !self.gone.iter().any(|gone| gone == id) {
                    self.jobs.insert(id.to_owned(), Known::met());
                }
            }
        }
    }

    /// A reply came that is not the one to come next: it is taken for that of the command it belongs to,
    /// or else of the next one.
    pub(super) fn resume_reply(&mut self, place: Option<usize>) {
        let Some(asked) = self.queue.remove(place.unwrap_or(0)) else {
            return;
        };
        if place.is_some_and(|place| place > 0) {
            // What it did was not looked for.
            for id in asked.ask.ids() {
                if let Some(key) = self.jobs.get(id).and_then(|known| known.key) {
                    self.let_go(key);
                }
            }
            return;
        }
        self.settle(&asked, false, None);
        self.leaving.clear();
        self.begin();
    }

    /// The same of a message that is a reply and something else.
    pub(super) fn resume_message(&mut self, message: &Message<'_>) {
        if message.value.is_present() || message.error.is_present() {
            self.resume_reply(None);
        }
    }
}
