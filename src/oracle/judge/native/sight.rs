//! What a native trace shows of jobs: statuses, events, callbacks, I/O.

use blockjob_model::accept::{JobKey, Seen};
use blockjob_model::{Callback, ErrorAction, Event, Request, Status, rule};

use super::{Call, Edge, Judge, Stop, edge};
use crate::oracle::fields::{self, Place, shown};
use crate::oracle::judge::at;
use crate::oracle::reader::native::{Record, shape};
use crate::oracle::reader::qmp::EventData;

impl Judge {
    pub(super) fn status(&mut self, line: u64, record: &Record<'_>) -> Result<(), Stop> {
        let Some(status) = record
            .status
            .as_str()
            .and_then(|name| Status::from_name(&name))
        else {
            return Err(shape(line, "\"status\" is missing or none of the eleven").into());
        };
        if status == Status::Null {
            self.may_fail_late(record);
        }
        let id = record.job.as_str().unwrap_or_default();
        if status == Status::Created {
            self.may_be_made(&id, line, record);
        }
        let judged = self.observe(line, record, "status", Seen::Status(status));
        if let Some(job) = self.jobs.get_mut(id.as_ref()) {
            job.known.last = Some((status, line));
        }
        if status == Status::Null {
            // Its id is free (21), and its driver is still to be let go of.
            self.leaving.extend(
                self.jobs
                    .get(id.as_ref())
                    .map(|job| (id.to_string(), job.key)),
            );
            self.forget(&id);
        }
        judged
    }

    /// The creation of this very job is under way and has announced it: then it fails after all, and
    /// gives the job up (§2.1).
    pub(super) fn may_fail_late(&mut self, record: &Record<'_>) {
        let id = record.job.as_str().unwrap_or_default();
        let Some(job) = self.jobs.get(id.as_ref()) else {
            return;
        };
        let created = matches!(job.known.last, Some((Status::Created, _)));
        let creates = |call: &Call| call.called && call.creates == Some(job.key);
        let Some((&thread, call)) = self.calls.iter_mut().find(|(_, call)| creates(call)) else {
            return;
        };
        if created && self.acceptor.answer(thread, Ok(())).is_ok() {
            call.gives_up = true;
            self.acceptor
                .call(thread, Some(job.key), Request::EarlyFail, false);
        }
    }

    pub(super) fn event(&mut self, line: u64, record: &Record<'_>) -> Result<(), Stop> {
        let Some(name) = record.event.as_str() else {
            return Err(shape(line, "\"event\" is missing or no string").into());
        };
        let event = match name.as_ref() {
            "BLOCK_JOB_READY" => Event::Ready,
            "BLOCK_JOB_PENDING" => Event::Pending,
            "BLOCK_JOB_COMPLETED" => Event::Completed {
                error: record.error.as_str().is_some(),
            },
            "BLOCK_JOB_CANCELLED" => Event::Cancelled,
            "BLOCK_JOB_ERROR" => {
                let action = record
                    .action
                    .as_str()
                    .and_then(|name| ErrorAction::from_name(&name));
                let Some(action) = action else {
                    return Err(shape(line, "\"action\" is report, ignore or stop").into());
                };
                Event::Error { action }
            }
            other => {
                return Err(shape(line, &format!("\"event\" is {other:?}, which is none")).into());
            }
        };
        let id = record.job.as_str().unwrap_or_default();
        if let Some(job) = self.jobs.get_mut(id.as_ref())
            && record.len.is_present()
        {
            let place = Place {
                line,
                what: &name,
                id: &id,
            };
            let judged = fields::progress_numbers(
                &mut job.known,
                place,
                &EventData {
                    kind: record.job_type,
                    len: record.len,
                    offset: record.offset,
                    speed: record.speed,
                    ..EventData::default()
                },
            );
            if let Err(fault) = judged {
                // What it carries is wrong, it may come all the same: a job has one fault at a time.
                let _ = self.observe(line, record, "event", Seen::Event(event));
                return Err(fault.into());
            }
        }
        self.observe(line, record, "event", Seen::Event(event))
    }

    pub(super) fn callback(&mut self, line: u64, record: &Record<'_>) -> Result<(), Stop> {
        let Some(callback) = record
            .callback
            .as_str()
            .and_then(|name| Callback::from_name(&name))
        else {
            return Err(shape(line, "\"callback\" is missing or none").into());
        };
        let edge = edge(line, record)?;
        if callback.on_main_loop() {
            self.note_callback(record, edge);
        }
        let seen = match edge {
            Edge::Begin => Seen::Begin(callback),
            Edge::End => Seen::End(callback, record.ok.as_bool().unwrap_or(true)),
        };
        let leaving = |(id, _): &(String, JobKey)| record.job.as_str().as_deref() == Some(id);
        if callback == Callback::Free
            && let Some(place) = self.leaving.iter().position(leaving)
        {
            let (_, key) = self.leaving[place];
            let verdict = self.acceptor.observe(key, seen);
            if verdict.is_err() {
                self.acceptor.resume(key, seen);
            }
            if matches!(seen, Seen::End(..)) {
                self.leaving.remove(place);
            }
            return verdict.map_err(|rejection| at(line, rejection).into());
        }
        self.observe(line, record, "callback", seen)
    }

    pub(super) fn observe(
        &mut self,
        line: u64,
        record: &Record<'_>,
        what: &str,
        seen: Seen,
    ) -> Result<(), Stop> {
        let Some(id) = record.job.as_str() else {
            return Err(shape(
                line,
                &format!(
                    "\"job\" is {}, and a job's id is expected",
                    shown(record.job)
                ),
            )
            .into());
        };
        let Some(job) = self.jobs.get(id.as_ref()) else {
            if self.adrift.contains(id.as_ref()) {
                return Ok(());
            }
            let place = Place {
                line,
                what,
                id: &id,
            };
            return Err(place
                .fault(
                    rule!("unknown-job"),
                    "no job of this id was created, or it is gone",
                    "it is spoken of",
                )
                .into());
        };
        let key = job.key;
        match self.acceptor.observe(key, seen) {
            Ok(()) => {
                if !self.shaken.is_empty() {
                    self.shaken.retain(|shaken| *shaken != key);
                }
                Ok(())
            }
            Err(rejection) if self.follows(key, seen) => {
                drop(rejection);
                Ok(())
            }
            Err(rejection) => {
                self.resume(key, seen);
                Err(at(line, rejection).into())
            }
        }
    }
}
