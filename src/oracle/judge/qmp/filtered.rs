//! Recordings that leave things out.
//!
//! Tests and tools write down what they care for. What is missing there is no fault, so such a recording has to be
//! told from one in which something went wrong. It tells itself where text stands between its objects, or words in
//! place of values. Else what is missing tells: where kinds of events never come, though they were due more than
//! once, somebody left them out; where a single event is missing, nobody did.
//!
//! Where it is known which kinds are left out, everything else is judged in full ([`Session::leave_out`]). Where
//! anything may be missing, jobs are not followed step by step ([`Session::filter`]).

use std::collections::HashMap;
use std::mem;

use blockjob_model::accept::Acceptor;
use blockjob_model::step::{Kind, Kinds, View};
use blockjob_model::{Event, Status};

use super::{Pending, Session};
use crate::oracle::fields::Known;
use crate::oracle::judge::command::{Ask, Creation, Planned};
use crate::oracle::judge::trial::Gaps;
use crate::oracle::reader::qmp::{Direction, EventData, Record};

/// What is missing in a recording, and what is not.
#[derive(Debug, Default)]
pub(super) struct Tally {
    found: Gaps,
    jobs: HashMap<String, Shown>,
}

/// What was shown of a job.
#[derive(Debug)]
struct Shown {
    /// Where it was last.
    at: Status,
    /// It was to announce that by an event of this kind, which never comes.
    owes: Option<Kind>,
    /// It is a block job: it was ready.
    was_ready: bool,
    /// It was started.
    ran: bool,
    /// A query showed that an error stopped it, and no event had told of that.
    failed: bool,
}

impl Session {
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

    /// The recording has no events of these kinds.
    pub fn leave_out(&mut self, unseen: Kinds) {
        self.unseen = unseen;
        self.acceptor = Acceptor::new(self.acceptor.profile(), self.view());
    }

    /// The recording has no answers to commands, and of the rest anything may be missing too.
    pub fn leave_out_answers(&mut self) {
        self.unanswered = true;
        self.filter();
    }

    /// An answer came in a recording that was filtered.
    pub(super) const fn note_answer(&mut self) {
        self.tally.found.belied |= self.unanswered;
    }

    /// An event of this kind came in a recording that leaves some out.
    fn note_kind(&mut self, kind: Kind) {
        self.tally.found.belied |= self.unseen.contains(kind);
    }

    /// Nothing is judged: which kinds of events come is noted.
    pub fn survey(&mut self) {
        self.surveys = true;
    }

    /// What is to be seen of jobs.
    pub(super) fn view(&self) -> View {
        View {
            unseen: self.unseen,
            ..View::QMP
        }
    }

    /// What is missing in the recording, and what is not.
    pub const fn gaps(&self) -> Gaps {
        Gaps {
            greeted: self.greeted,
            ..self.tally.found
        }
    }

    /// Whether no event tells that a job comes into being.
    pub(super) fn is_created_unseen(&self) -> bool {
        !self.profile().status_events || self.unseen.has(Status::Created)
    }

    /// Whether no event tells that a job is gone.
    pub(super) fn is_null_unseen(&self) -> bool {
        !self.profile().status_events || self.unseen.has(Status::Null)
    }

    /// Takes note of what a message shows, and judges nothing.
    pub(super) fn note(&mut self, record: &Record<'_>) {
        let message = &record.message;
        if record.direction == Direction::Sent {
            self.tally.found.asked += 1;
        } else if let Some(name) = message.event.as_str() {
            let data: EventData<'_> = message.data.read_members().unwrap_or_default();
            let status = data.status.as_str();
            let kind = match name.as_ref() {
                "JOB_STATUS_CHANGE" => status
                    .and_then(|status| Status::from_name(&status))
                    .map(Kind::Status),
                "BLOCK_JOB_READY" => Some(Kind::Ready),
                "BLOCK_JOB_PENDING" => Some(Kind::Pending),
                "BLOCK_JOB_COMPLETED" | "BLOCK_JOB_CANCELLED" => Some(Kind::Terminal),
                "BLOCK_JOB_ERROR" => Some(Kind::Error),
                _ => None,
            };
            if let Some(kind) = kind {
                self.tally.found.came.insert(kind);
                self.tally.found.told += 1;
            }
        } else if message.greeting.is_present() {
            self.greeted = true;
        } else {
            self.tally.found.answered += 1;
        }
    }

    /// A status was announced, in a recording that leaves some out.
    pub(super) fn note_status(&mut self, id: &str, status: Status) {
        self.note_kind(Kind::Status(status));
        let known = self.jobs.get(id);
        let unseen = self.unseen;
        let shown = self.tally.jobs.get(id);
        let again = shown.is_some_and(|shown| shown.was_ready);
        let was_ready = again || status == Status::Ready;
        let ran = shown.is_some_and(|shown| shown.ran);
        let announces = match (status, known) {
            (Status::Ready, _) if !again => Some(Kind::Ready),
            (Status::Pending, Some(known)) if known.auto_finalize == Some(false) => {
                Some(Kind::Pending)
            }
            (Status::Concluded, Some(known)) if known.block == Some(true) && ran || was_ready => {
                Some(Kind::Terminal)
            }
            _ => None,
        };
        let owes = announces.filter(|kind| unseen.contains(*kind));
        if status == Status::Created {
            self.tally.forget(id);
        } else {
            self.reach(id, &[status], false);
        }
        if status == Status::Null {
            self.tally.forget(id);
        } else {
            let shown = Shown {
                at: status,
                owes,
                was_ready,
                ran: ran || status == Status::Running,
                failed: false,
            };
            self.tally.jobs.insert(id.to_owned(), shown);
        }
    }

    /// The same of an event of a block job.
    pub(super) fn note_event(&mut self, id: &str, event: Event) {
        use Status::{Aborting, Pending, Ready, Running};
        let (kind, at): (Kind, &[Status]) = match event {
            Event::Ready => (Kind::Ready, &[Ready]),
            Event::Pending => (Kind::Pending, &[Pending]),
            Event::Completed { error: false } => (Kind::Terminal, &[Pending]),
            Event::Completed { error: true } | Event::Cancelled => (Kind::Terminal, &[Aborting]),
            Event::Error { .. } => (Kind::Error, &[Running, Ready]),
        };
        self.note_kind(kind);
        self.reach(id, at, true);
    }

    /// The same of what an answer shows.
    pub(super) fn note_shown(&mut self, id: &str, status: Status) {
        self.reach(id, &[status], true);
    }

    /// The same of an error that an answer shows to have stopped the job.
    pub(super) fn note_failure(&mut self, id: &str) {
        if self.unseen.contains(Kind::Error)
            && let Some(shown) = self.tally.jobs.get_mut(id)
            && !std::mem::replace(&mut shown.failed, true)
        {
            self.tally.found.missing += 1;
            self.tally.found.places += 1;
            self.tally.found.lacks.insert(Kind::Error);
        }
    }

    /// A command made these jobs. Of an id that another had before, of whose end nothing tells, nothing is believed any
    /// more.
    pub(super) fn may_have_ended(&mut self, head: &Pending, creation: &Creation) {
        if !self.unseen.contains(Kind::Terminal) || !self.is_null_unseen() {
            return;
        }
        for (place, plan) in creation.jobs.iter().enumerate() {
            let made = head.progress.made.iter().any(|made| made.plan == place);
            let known = plan.id.as_ref().and_then(|id| self.jobs.get(id));
            if let Some(key) = known.and_then(|known| known.key)
                && !made
            {
                self.let_go(key);
            }
        }
    }

    /// A job is listed that was not there before, and nothing told of its creation.
    pub(super) fn note_unannounced(&mut self, id: &str) {
        if self.inventory && self.unseen.has(Status::Created) {
            let shown = Shown {
                at: Status::Undefined,
                owes: None,
                was_ready: false,
                ran: false,
                failed: false,
            };
            self.tally.jobs.insert(id.to_owned(), shown);
        }
    }

    /// Whether an id that is not known is nobody's.
    pub(super) fn knows_all(&self) -> bool {
        self.inventory && !self.unseen.has(Status::Created)
    }

    /// So many changes of status of the job were left out before it came to be at one of `to`; the last one too, if
    /// it is `implied` and not announced.
    fn reach(&mut self, id: &str, to: &[Status], implied: bool) {
        let made_here = self.jobs.get(id).is_some_and(|known| known.key.is_some());
        let shown = self.tally.jobs.get(id);
        let was_ready = shown.is_some_and(|shown| shown.was_ready);
        let ran = shown.is_some_and(|shown| shown.ran);
        let (from, owes) = match shown {
            Some(shown) => (shown.at, shown.owes),
            // It was there before the recording.
            None if !made_here => return,
            None => (Status::Undefined, None),
        };
        if implied && to.contains(&from) {
            return;
        }
        let unseen = self.unseen;
        let ways = to
            .iter()
            .filter(|to| !implied || unseen.has(**to))
            .filter_map(|&to| way(from, to, unseen).map(|between| (between, to)));
        if let Some((mut between, to)) = ways.min_by_key(|(between, _)| between.len()) {
            if implied {
                between.push(to);
            }
            let ran = ran || between.contains(&Status::Running) || to == Status::Running;
            let found = &mut self.tally.found;
            found.missing += between.len() as u64;
            found.places += u64::from(!between.is_empty()) + u64::from(owes.is_some());
            for status in between {
                found.lacks.insert(Kind::Status(status));
            }
            if let Some(kind) = owes {
                found.missing += 1;
                found.lacks.insert(kind);
            }
            let shown = Shown {
                at: to,
                owes: None,
                was_ready,
                ran,
                failed: false,
            };
            self.tally.jobs.insert(id.to_owned(), shown);
        }
    }

    /// The job that is gone without a word is forgotten.
    pub(super) fn vanish(&mut self, id: &str) {
        if let Some(key) = self.jobs.get(id).and_then(|known| known.key) {
            self.acceptor.vanished(key);
        }
        self.tally.forget(id);
        self.goes(id);
    }

    /// Whether a job may have come from one status to the other by changes that nobody sees.
    pub(super) fn leads_to(&self, from: Status, to: Status) -> bool {
        let unseen = if self.filtered {
            Kinds::NONE.others()
        } else {
            self.unseen
        };
        way(from, to, unseen).is_some()
    }

    /// A command that makes jobs is sent: those of these ids that are told of later may be others than were told of
    /// before.
    pub(super) fn may_make_others(&mut self, ask: &Ask) {
        let Ask::Create(creation) = ask else { return };
        for (id, known) in self.jobs.iter_mut() {
            let named = |plan: &Planned| !plan.explicit || plan.id.as_deref() == Some(id);
            known.may_be_another |= creation.jobs.iter().any(named);
        }
    }

    /// What is known of the job `id` of a filtered recording does not go with what is told: then it is another one, if
    /// it may be. Nothing tells of those that come and go unseen, so it may be, unless every job so far was shown from
    /// its creation on.
    pub(super) fn is_another(&mut self, id: &str) -> bool {
        let Some(known) = self.jobs.get_mut(id) else {
            return false;
        };
        if !self.filtered || !(known.may_be_another || self.met) {
            return false;
        }
        *known = Known::filtered();
        known.may_be_another = true;
        true
    }
}

impl Tally {
    fn forget(&mut self, id: &str) {
        if let Some(Shown {
            owes: Some(kind), ..
        }) = self.jobs.remove(id)
        {
            self.found.missing += 1;
            self.found.places += 1;
            self.found.lacks.insert(kind);
        }
    }
}

/// The statuses between the two on the shortest way over those that are `unseen`; `None`: there is none.
fn way(from: Status, to: Status, unseen: Kinds) -> Option<Vec<Status>> {
    let mut met = vec![from];
    let mut here: Vec<(Status, Vec<Status>)> = vec![(from, Vec::new())];
    while !here.is_empty() {
        let mut next = Vec::new();
        for (status, between) in mem::take(&mut here) {
            for then in Status::ALL {
                // A change to the same status is not announced.
                if !status.may_become(then) || status == then {
                    continue;
                }
                if then == to {
                    return Some(between);
                }
                if unseen.has(then) && !met.contains(&then) {
                    met.push(then);
                    next.push((then, [between.as_slice(), &[then]].concat()));
                }
            }
        }
        here = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_leads_over_what_is_unseen_alone() {
        use Status::{Aborting, Concluded, Created, Paused, Pending, Running, Undefined, Waiting};
        let set = |statuses: &[Status]| {
            let mut kinds = Kinds::NONE;
            for &status in statuses {
                kinds.insert(Kind::Status(status));
            }
            kinds
        };
        assert_eq!(way(Created, Running, Kinds::NONE), Some(vec![]));
        assert_eq!(way(Running, Running, Kinds::NONE), None);
        assert_eq!(way(Running, Running, set(&[Paused])), Some(vec![Paused]));
        assert_eq!(way(Running, Pending, set(&[Waiting])), Some(vec![Waiting]));
        assert_eq!(way(Running, Pending, set(&[Paused])), None);
        assert_eq!(
            way(Undefined, Concluded, Kinds::NONE.others()),
            Some(vec![Created, Aborting])
        );
        assert_eq!(way(Aborting, Pending, Kinds::NONE.others()), None);
        assert_eq!(way(Aborting, Aborting, Kinds::NONE), None);
    }
}
