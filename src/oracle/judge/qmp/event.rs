//! Events of a conversation: statuses, and those of block jobs.

use std::borrow::Cow;

use blockjob_model::accept::{JobKey, Seen};
use blockjob_model::identity::is_well_formed;
use blockjob_model::profile::ManualStages;
use blockjob_model::state::Group;
use blockjob_model::{ErrorAction, Event, Status, rule};

use super::{GONE_MAX, Judged, MONITOR, Made, Session, Target, unknown};
use crate::oracle::fields::{self, Known, Place, shown};
use crate::oracle::judge::Observer;
use crate::oracle::judge::command::{Ask, unknown_specs};
use crate::oracle::reader::qmp::{EventData, Record};
use crate::oracle::verdict::Fault;

impl Session {
    pub(super) fn event(&mut self, record: &Record<'_>) -> Judged {
        let (line, message) = (record.line, &record.message);
        let Some(name) = message.event.as_str() else {
            return Err(Fault::new(
                line,
                rule!("message-shape"),
                "",
                "`event` is an event's name",
                &format!("it is {}", shown(message.event)),
            ));
        };
        match name.as_ref() {
            "JOB_STATUS_CHANGE" => {
                let read = || record.message.data.read_members().unwrap_or_default();
                match &record.data {
                    Some(data) => self.status_event(line, data),
                    None => self.status_event(line, &read()),
                }
            }
            "BLOCK_JOB_READY"
            | "BLOCK_JOB_PENDING"
            | "BLOCK_JOB_COMPLETED"
            | "BLOCK_JOB_CANCELLED"
            | "BLOCK_JOB_ERROR" => {
                let read = || record.message.data.read_members().unwrap_or_default();
                match &record.data {
                    Some(data) => self.block_event(line, &name, data),
                    None => self.block_event(line, &name, &read()),
                }
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
    pub(super) fn event_of_another_version(&self, line: u64, name: &str, since: &str) -> Fault {
        let judged = self.profile().name;
        Fault::new(
            line,
            rule!("event-of-another-version"),
            name,
            &format!("{judged} is judged, and this event is there since QEMU {since}"),
            "it came",
        )
    }

    pub(super) fn status_event(&mut self, line: u64, data: &EventData<'_>) -> Judged {
        self.events += 1;
        if !self.profile().status_events {
            if self.lenient {
                return Ok(());
            }
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
            return Err(Fault::new(
                line,
                rule!("event-shape"),
                "JOB_STATUS_CHANGE",
                &format!("`{member}` is {expected}"),
                &format!("it is {}", shown(piece)),
            )
            .of(data.id.as_str().as_deref()));
        };
        let place = Place {
            line,
            what: "JOB_STATUS_CHANGE",
            id: &id,
        };
        if !self.unseen.is_empty() {
            self.note_status(&id, status);
        }
        let judged = self.status_of(place, status);
        if judged.is_err() && self.is_another(&id) {
            return self.status_of(place, status);
        }
        judged
    }

    fn status_of(&mut self, place: Place<'_>, status: Status) -> Judged {
        let (line, id) = (place.line, place.id);
        let Some(known) = self.jobs.get_mut(id) else {
            return match status {
                Status::Created => self.created(place),
                _ => self.unknown_job(place, status),
            };
        };
        if status == Status::Created && self.filtered {
            // Its end, or a query's answer, stands elsewhere.
            return self.created(place);
        }
        if status == Status::Created && self.lenient {
            if let Some(key) = known.key {
                self.let_go(key);
            }
            self.jobs.remove(id);
            return self.created(place);
        }
        if status == Status::Created {
            return Err(place.fault(
                rule!("id-in-use"),
                &format!("a job of this id is there: {}", known.standing()),
                "another is created",
            ));
        }
        if !self.mixed && !self.lenient {
            fields::success_after_report(known, place, status)?;
        }
        if let Some(key) = known.key {
            let revived = matches!(status, Status::Waiting | Status::Pending)
                && matches!(&self.suspended, Some((_, brought_down)) if brought_down == id);
            if revived {
                self.goes_on()?;
            }
            self.observe(line, id, key, Seen::Status(status))?;
        } else if let Some((last, before)) = known.last
            && (last == status || !last.may_become(status))
            && !(self.lenient || self.mixed || self.leads_to(last, status))
        {
            return Err(place.fault(
                rule!("status-transition"),
                &format!("it is {last} since line {before}"),
                &format!("{status} is not reached from there"),
            ));
        }
        if let Some(known) = self.jobs.get_mut(id) {
            known.last = Some((status, line));
        }
        if matches!(status, Status::Running | Status::Null)
            && let Some(made) = self
                .queue
                .front_mut()
                .and_then(|head| head.progress.made.iter_mut().rfind(|made| made.id == id))
        {
            made.started |= status == Status::Running;
            made.gone |= status == Status::Null;
        }
        let dismisses_itself =
            |known: &Known| known.key.is_some() && known.auto_dismiss != Some(false);
        if status == Status::Null {
            self.goes(id);
        } else if status == Status::Concluded
            && self.is_null_unseen()
            && self.jobs.get(id).is_some_and(dismisses_itself)
        {
            self.vanish(id);
        }
        Ok(())
    }

    /// The job is gone, as was announced or follows.
    pub(super) fn goes(&mut self, id: &str) {
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
    pub(super) fn created(&mut self, place: Place<'_>) -> Judged {
        self.goes_on()?;
        if self.lenient && (!is_well_formed(place.id) || self.observer == Observer::Sole) {
            self.meet(place, Some(Status::Created));
            return Ok(());
        }
        if !is_well_formed(place.id) {
            return Err(place.fault(
                rule!("id-malformed"),
                "an id is a letter followed by letters, digits, `-`, `.` or `_`",
                "a job is created with this one",
            ));
        }
        let mut known = if self.filtered {
            self.jobs_seen += 1;
            self.filtered_job(place.id)
        } else if self.observer == Observer::Shared {
            // This client's, if it asked for one of this id; or another's that was there first, or came and went.
            let plan = self.plan_named(place.id);
            match (plan, self.queue.front_mut()) {
                (Some(plan), Some(head)) => {
                    if head.progress.made.iter().any(|made| made.plan == plan) {
                        self.others_at = self.others_at.or(Some(place.line));
                    }
                    head.progress.made.push(Made {
                        plan,
                        id: place.id.to_owned(),
                        started: false,
                        gone: false,
                    });
                }
                _ => self.others_at = self.others_at.or(Some(place.line)),
            }
            self.foreign_job(place.id)
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
            // It may have been asked for before the recording began.
            if self.observer == Observer::Sole && !self.begins_inside() {
                return Err(place.fault(
                    rule!("created-unasked"),
                    "this client is the only one and asked for no such job",
                    "one is created",
                ));
            }
            // Who makes jobs may ask things of others, too.
            self.others_at = self.others_at.or(Some(place.line));
            self.share();
            self.foreign_job(place.id)
        };
        if let Some(key) = known.key {
            self.observe(place.line, place.id, key, Seen::Status(Status::Created))?;
        }
        known.last = Some((Status::Created, place.line));
        // What this client asks of it may come before or after.
        if let Some(head) = self.queue.front_mut()
            && self.observer == Observer::Shared
            && head.progress.target != Target::Unknown
            && head.ask.ids().contains(&place.id)
        {
            if std::mem::take(&mut head.progress.called) {
                self.acceptor.withdraw(MONITOR);
            }
            head.progress.target = Target::Unknown;
        }
        self.jobs.insert(place.id.to_owned(), known);
        Ok(())
    }

    /// A job of a filtered recording: what is known of it is what it was asked for with.
    pub(super) fn filtered_job(&mut self, id: &str) -> Known {
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
    pub(super) fn foreign_job(&mut self, id: &str) -> Known {
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
    pub(super) fn plan_for(&self, id: &str) -> Option<usize> {
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

    /// The plan of the command in hand that asks for a job of this id, or for one whose id the other end chooses.
    fn plan_named(&self, id: &str) -> Option<usize> {
        let Ask::Create(creation) = &self.queue.front()?.ask else {
            return None;
        };
        let jobs = &creation.jobs;
        jobs.iter()
            .position(|plan| plan.id.as_deref() == Some(id))
            .or_else(|| jobs.iter().position(|plan| !plan.explicit))
    }

    /// Something of a job whose creation was not seen.
    pub(super) fn unknown_job(&mut self, place: Place<'_>, status: Status) -> Judged {
        if self.lenient {
            self.meet(place, Some(status));
            return Ok(());
        }
        if !self.filtered && self.gone.iter().any(|id| id == place.id) {
            return Err(place.fault(
                rule!("status-after-null"),
                "the job is gone: its status is null, which nothing follows",
                &format!("it becomes {status}"),
            ));
        }
        if self.knows_all() {
            return Err(unknown(place));
        }
        self.meet(place, Some(status));
        Ok(())
    }

    /// Takes note of a job that was there before the recording.
    pub(super) fn meet(&mut self, place: Place<'_>, status: Option<Status>) {
        if status == Some(Status::Null) {
            return;
        }
        self.jobs_seen += 1;
        self.met |= self.filtered;
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

    pub(super) fn block_event(&mut self, line: u64, name: &str, data: &EventData<'_>) -> Judged {
        self.events += 1;
        if self.lenient {
            return self.resume_block_event(line, name, data);
        }
        let judged = self.event_of(line, name, data);
        if judged.is_err()
            && let Some(id) = data.device.as_str().or(data.id.as_str())
            && self.is_another(&id)
        {
            return self.event_of(line, name, data);
        }
        judged
    }

    fn event_of(&mut self, line: u64, name: &str, data: &EventData<'_>) -> Judged {
        if name == "BLOCK_JOB_PENDING" && self.profile().manual_stages == ManualStages::None {
            return Err(self.event_of_another_version(line, name, "2.12"));
        }
        let (member, piece) = if name == "BLOCK_JOB_PENDING" {
            ("id", data.id)
        } else {
            ("device", data.device)
        };
        let Some(id) = piece.as_str() else {
            return Err(Fault::new(
                line,
                rule!("event-shape"),
                name,
                &format!("`{member}` is a job's id"),
                &format!("it is {}", shown(piece)),
            ));
        };
        let place = Place {
            line,
            what: name,
            id: &id,
        };
        if !self.jobs.contains_key(id.as_ref()) {
            if !self.filtered && self.gone.iter().any(|gone| *gone == id) {
                return Err(place.fault(
                    rule!("event-after-null"),
                    "the job is gone: its status is null, which nothing follows",
                    "an event of it comes",
                ));
            }
            if self.knows_all() {
                return Err(unknown(place));
            }
            self.meet(place, None);
        }
        let null_unseen = self.is_null_unseen();
        let silent =
            null_unseen && (!self.profile().status_events || self.unseen.has(Status::Concluded));
        let Some(known) = self.jobs.get_mut(id.as_ref()) else {
            return Ok(());
        };
        if self.mixed {
            *known = known.whoevers();
        }
        if known.block == Some(false) {
            return Err(place.fault(
                rule!("event-of-non-block-job"),
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
                fields::kind(known, place, data.kind, rule!("event-job-type"))?;
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
        if !self.unseen.is_empty() {
            self.note_event(&id, event);
        }
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
            self.vanish(&id);
        }
        Ok(())
    }
}

impl Session {
    /// The same of an event that was a fault: what it says of its job is taken as said.
    fn resume_block_event(&mut self, line: u64, name: &str, data: &EventData<'_>) -> Judged {
        let action = data.action.as_str();
        let event = match name {
            "BLOCK_JOB_READY" => Event::Ready,
            "BLOCK_JOB_PENDING" => Event::Pending,
            "BLOCK_JOB_CANCELLED" => Event::Cancelled,
            "BLOCK_JOB_COMPLETED" => Event::Completed {
                error: data.error.is_present(),
            },
            _ => match action.and_then(|name| ErrorAction::from_name(&name)) {
                Some(action) => Event::Error { action },
                None => return Ok(()),
            },
        };
        let Some(id) = data.device.as_str().or(data.id.as_str()) else {
            // It is some job's: of the first that it may be, it is.
            let mut keys: Vec<JobKey> = self.jobs.values().filter_map(|known| known.key).collect();
            keys.sort_unstable();
            for key in keys {
                if self.acceptor.observe(key, Seen::Event(event)).is_ok() {
                    break;
                }
            }
            return Ok(());
        };
        let Some(known) = self.jobs.get(id.as_ref()) else {
            if !self.gone.iter().any(|gone| *gone == id) {
                self.meet(
                    Place {
                        line,
                        what: name,
                        id: &id,
                    },
                    None,
                );
            }
            return Ok(());
        };
        // What the policy does not let become of an error did not become of it.
        let policy = match data.operation.as_str().as_deref() {
            Some("read") => known.policy.read,
            _ => known.policy.write,
        };
        let event = match event {
            Event::Error { action } if !policy.allows(action) => {
                let all = [ErrorAction::Report, ErrorAction::Ignore, ErrorAction::Stop];
                let Some(action) = all.into_iter().find(|&action| policy.allows(action)) else {
                    return Ok(());
                };
                Event::Error { action }
            }
            event => event,
        };
        match known.key {
            Some(key) if known.block != Some(false) => {
                self.observe(line, &id, key, Seen::Event(event))
            }
            _ => Ok(()),
        }
    }
}
