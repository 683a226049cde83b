//! The steps of our own traces.

use std::collections::HashMap;

use blockjob_model::{Status, Verb};

use super::{FOLLOWED_MAX, Step, What, event, settle};
use crate::oracle::reader::native::Record;

/// What is followed of a native trace.
#[derive(Default)]
pub(super) struct Native {
    jobs: HashMap<String, Status>,
    /// What each thread called and has not got back, the innermost last.
    calls: HashMap<String, Vec<Call>>,
}

struct Call {
    line: u64,
    name: String,
    job: Option<String>,
    statuses: Vec<Status>,
}

/// How many threads are followed that have a call open. Each change of status is told to all of these calls, so
/// there must not be many.
const THREADS_MAX: usize = 1024;
/// How deep calls nest, and how many statuses are kept of the time of one.
const KEPT_MAX: usize = 16;

impl Native {
    /// Tells the steps of a record.
    pub fn take(&mut self, line: u64, record: &Record<'_>, tell: &mut dyn FnMut(Step<'_>)) {
        if record.version.is_present() {
            *self = Native::default();
            tell(Step::new(line, What::Begins));
            return;
        }
        let job = record.job.as_str();
        let group = record.group.as_str();
        let mut tell = |what: What<'_>| {
            tell(Step {
                job: job.as_deref(),
                group: group.as_deref(),
                ..Step::new(line, what)
            });
        };
        let begins = record.edge.as_str().as_deref() == Some("begin");
        match record.kind.as_str().as_deref() {
            Some("call") => {
                let name = record.verb.as_str().unwrap_or_default();
                tell(What::Asked(&name));
                let status = job.as_deref().and_then(|job| self.jobs.get(job)).copied();
                let call = Call {
                    line,
                    name: name.clone().into_owned(),
                    job: job.as_deref().map(str::to_owned),
                    statuses: status.into_iter().collect(),
                };
                let thread = record.thread.as_str().unwrap_or_default();
                if self.calls.len() < THREADS_MAX || self.calls.contains_key(thread.as_ref()) {
                    let open = self.calls.entry(thread.into_owned()).or_default();
                    if open.len() < KEPT_MAX {
                        open.push(call);
                    }
                }
            }
            Some("return") => self.returns(record, &mut tell),
            Some("status") => {
                let to = record.status.as_str();
                let to = to.and_then(|name| Status::from_name(&name));
                if let (Some(to), Some(job)) = (to, job.as_deref()) {
                    self.status(job, to, &mut tell);
                }
            }
            Some("event") => {
                let name = record.event.as_str().unwrap_or_default();
                let action = record.action.as_str();
                if let Some(event) = event(&name, record.error.is_present(), action.as_deref()) {
                    tell(What::Event(event));
                }
            }
            Some("callback") => tell(What::Callback {
                name: &record.callback.as_str().unwrap_or_default(),
                begins,
            }),
            Some("io") => tell(What::Io { begins }),
            _ => {}
        }
    }

    fn status(&mut self, job: &str, to: Status, tell: &mut dyn FnMut(What<'_>)) {
        let before = self.jobs.get(job).copied();
        let created = to == Status::Created && before.is_none();
        tell(What::Status {
            from: before.or(created.then_some(Status::Undefined)),
            to,
            event: false,
        });
        if to == Status::Null {
            self.jobs.remove(job);
        } else if let Some(status) = self.jobs.get_mut(job) {
            *status = to;
        } else if self.jobs.len() < FOLLOWED_MAX {
            self.jobs.insert(job.to_owned(), to);
        }
        for call in self.calls.values_mut().flatten() {
            if call.job.as_deref() == Some(job) && call.statuses.len() < KEPT_MAX {
                call.statuses.push(to);
            }
        }
    }

    fn returns(&mut self, record: &Record<'_>, tell: &mut dyn FnMut(What<'_>)) {
        let thread = record.thread.as_str().unwrap_or_default();
        let Some(open) = self.calls.get_mut(thread.as_ref()) else {
            return;
        };
        let Some(call) = open.pop() else { return };
        if open.is_empty() {
            self.calls.remove(thread.as_ref());
        }
        let posted = record.posted.as_bool() == Some(true);
        let verb = Verb::from_name(&call.name).map(|verb| {
            // What is posted is carried out later, in a status that is not seen.
            let status = settle(verb, &call.statuses).filter(|_| !posted);
            (verb, status)
        });
        let error = record.error.as_str();
        let failed = record.ok.as_bool() == Some(false);
        tell(What::Answered {
            name: &call.name,
            asked: call.line,
            verb,
            block: false,
            error: failed.then_some(error.as_deref().unwrap_or_default()),
        });
    }
}
