//! Calls and returns of a native trace: what is asked, and how it is answered.

use blockjob_model::accept::Acceptor;
use blockjob_model::identity::is_well_formed;
use blockjob_model::state::{Group, JobSpec};
use blockjob_model::{Refusal, Request, rule};

use super::{Call, Hold, Job, Judge, Named, Plan, Stop};
use crate::oracle::error::TraceError;
use crate::oracle::fields::Known;
use crate::oracle::judge::at;
use crate::oracle::judge::refusal::{self, Meaning};
use crate::oracle::reader::json::Piece;
use crate::oracle::reader::native::{Record, shape};
use crate::oracle::verdict::Fault;

impl Judge {
    pub(super) fn call(&mut self, line: u64, record: &Record<'_>) -> Result<(), Stop> {
        let thread = self.caller(line, record)?;
        let Some(verb) = record.verb.as_str() else {
            return Err(shape(line, "\"verb\" is missing or no string").into());
        };
        if let Some(open) = self.calls.get(&thread) {
            return Err(Fault::new(
                line,
                rule!("call-inside-call"),
                &verb,
                &format!(
                    "a thread has one call at a time and {} of line {} has not returned",
                    open.verb, open.line
                ),
                "another begins",
            )
            .instead(vec![format!("the return of {}", open.verb)])
            .of([open.id.as_str()])
            .into());
        }
        let id = record.job.as_str().unwrap_or_default().into_owned();
        let mut call = Call {
            line,
            verb: verb.into_owned(),
            id,
            called: false,
            hold: None,
            creates: None,
            nobody: false,
            gives_up: false,
            waits: None,
        };
        let request = match call.verb.as_str() {
            "create" => {
                self.create(thread, &mut call, record)?;
                self.calls.insert(thread, call);
                return Ok(());
            }
            "start" => Request::Start,
            "early-fail" => Request::EarlyFail,
            "pause" => Request::Pause,
            "resume" => Request::Resume,
            "cancel" => Request::Cancel {
                force: record.force.as_bool().unwrap_or(false),
            },
            "complete" => Request::Complete,
            "finalize" => Request::Finalize,
            "dismiss" => Request::Dismiss,
            "set-speed" => Request::SetSpeed {
                // Sleeps are not recorded, so it does not matter whether it ends one.
                hurries: false,
                negative: record.speed.as_integer().is_some_and(|speed| speed < 0),
            },
            "reset-io-status" => Request::ResetIoStatus,
            "pause-all" => Request::Hold {
                token: self.hold(record.token),
            },
            "resume-all" => Request::Release {
                token: self.release(record.token),
            },
            "drained-begin" => Request::DrainBegin {
                token: self.hold(record.token),
            },
            "drained-end" => Request::DrainEnd {
                token: self.release(record.token),
            },
            "attach-context" => Request::AttachContext,
            other => {
                return Err(shape(line, &format!("\"verb\" is {other:?}, which is none")).into());
            }
        };
        call.hold = match request {
            Request::Hold { token }
            | Request::Release { token }
            | Request::DrainBegin { token }
            | Request::DrainEnd { token } => Some(token),
            _ => None,
        };
        if call.id.is_empty() {
            let group = record
                .group
                .as_str()
                .and_then(|group| self.groups.get(group.as_ref()).map(|named| named.key));
            match (request, group) {
                (Request::Start, Some(group)) => {
                    self.acceptor.call_group(thread, group, request);
                    call.called = true;
                }
                // A transaction without members.
                (Request::Start, None) => {}
                (
                    Request::Hold { .. }
                    | Request::Release { .. }
                    | Request::DrainBegin { .. }
                    | Request::DrainEnd { .. },
                    _,
                ) => {
                    self.acceptor.call(thread, None, request, false);
                    call.called = true;
                }
                _ => return Err(shape(line, "\"job\" is missing").into()),
            }
        } else if let Some(job) = self.jobs.get(&call.id) {
            self.acceptor.call(thread, Some(job.key), request, false);
            call.called = true;
        } else {
            call.nobody = !self.adrift.contains(&call.id);
        }
        self.calls.insert(thread, call);
        Ok(())
    }

    pub(super) fn create(
        &mut self,
        thread: u16,
        call: &mut Call,
        record: &Record<'_>,
    ) -> Result<(), TraceError> {
        if record.job.as_str().is_none() {
            return Err(shape(call.line, "\"job\" is missing or no string"));
        }
        let internal = record.internal.as_bool().unwrap_or(false);
        let well_formed = internal || is_well_formed(&call.id);
        self.adrift.remove(&call.id);
        if !well_formed {
            // It can only be refused.
            call.nobody = true;
            return Ok(());
        }
        let flag = |piece: Piece<'_>, absent| piece.as_bool().unwrap_or(absent);
        let spec = JobSpec {
            auto_finalize: flag(record.auto_finalize, true),
            auto_dismiss: flag(record.auto_dismiss, true),
            can_complete: flag(record.can_complete, false),
            needs_finish: false,
            block: flag(record.block, true),
            internal,
            completion: flag(record.completion, false),
        };
        // Whether a driver that can be completed must be is its own affair, and so is a completion
        // function nobody speaks of.
        let mut specs = Vec::with_capacity(4);
        for needs_finish in [false, spec.can_complete] {
            for completion in [spec.completion, !record.completion.is_present()] {
                specs.push(JobSpec {
                    needs_finish,
                    completion,
                    ..spec
                });
            }
        }
        let plan = Plan {
            specs,
            group: record.group.as_str().map(std::borrow::Cow::into_owned),
            kind: record.job_type.as_str().map(std::borrow::Cow::into_owned),
        };
        if self.jobs.contains_key(&call.id) {
            // It is refused, unless the one that has the id goes before.
            call.nobody = true;
            call.waits = Some(plan);
        } else {
            self.make(thread, call, plan);
        }
        Ok(())
    }

    /// A job comes under judgement, as the call is to create it.
    fn make(&mut self, thread: u16, call: &mut Call, plan: Plan) {
        let Plan { specs, group, kind } = plan;
        let acceptor = &mut self.acceptor;
        let others = self.others;
        let open = |acceptor: &mut Acceptor| {
            acceptor.group(Group {
                others,
                ..Group::CLOSED
            })
        };
        let joined = match &group {
            Some(name) => {
                let named = self.groups.entry(name.clone()).or_insert_with(|| Named {
                    key: open(acceptor),
                    live: 0,
                });
                named.live += 1;
                named.key
            }
            None => open(acceptor),
        };
        let key = acceptor.job(joined, &specs, &call.id);
        acceptor.call(thread, Some(key), Request::Create, false);
        call.called = true;
        call.creates = Some(key);
        let mut known = Known::foreign(key, self.next_serial);
        self.next_serial += 1;
        known.kind = kind.map(std::borrow::Cow::Owned);
        let job = Job { known, key, group };
        self.jobs.insert(call.id.clone(), job);
    }

    /// A job of this id is announced: the id was free after all, and a call that waited for it has it, the one of the
    /// thread that says so first.
    pub(super) fn may_be_made(&mut self, id: &str, line: u64, record: &Record<'_>) {
        if self.jobs.contains_key(id) {
            return;
        }
        let waits = |call: &Call| call.waits.is_some() && call.id == id;
        let here = self.caller(line, record).ok();
        let here = here.filter(|thread| self.calls.get(thread).is_some_and(waits));
        let first = || {
            let waiting = self.calls.iter().filter(|(_, call)| waits(call));
            waiting
                .min_by_key(|(_, call)| call.line)
                .map(|(thread, _)| *thread)
        };
        let Some(thread) = here.or_else(first) else {
            return;
        };
        let Some(mut call) = self.calls.remove(&thread) else {
            return;
        };
        if let Some(plan) = call.waits.take() {
            call.nobody = false;
            self.make(thread, &mut call, plan);
        }
        self.calls.insert(thread, call);
    }

    /// The specification's number for a new `pause_all` or drained section.
    pub(super) fn hold(&mut self, token: Piece<'_>) -> u8 {
        let taken = |number: &u8| self.holds.iter().any(|hold| hold.number == *number);
        let number = (0..8).find(|number| !taken(number)).unwrap_or(7);
        self.holds.push(Hold {
            token: token.as_integer(),
            number,
            ends: false,
        });
        number
    }

    /// The number of the one that ends: the one named, else the last. It is free once the call has
    /// returned: until then it may still hold.
    pub(super) fn release(&mut self, token: Piece<'_>) -> u8 {
        let named = token.as_integer();
        let lasts = |hold: &Hold| !hold.ends && (named.is_none() || hold.token == named);
        let Some(hold) = self.holds.iter_mut().rfind(|hold| lasts(hold)) else {
            return 7;
        };
        hold.ends = true;
        hold.number
    }

    pub(super) fn returned(&mut self, line: u64, record: &Record<'_>) -> Result<(), Stop> {
        let thread = self.caller(line, record)?;
        let verb = record.verb.as_str().unwrap_or_default();
        let Some(call) = self.calls.remove(&thread) else {
            return Err(Fault::new(
                line,
                rule!("reply-without-call"),
                "",
                "this thread has no call under way",
                &format!("{verb} returns"),
            )
            .into());
        };
        if call.verb != verb {
            return Err(Fault::new(
                line,
                rule!("reply-order"),
                "",
                &format!("the thread's call is {} of line {}", call.verb, call.line),
                &format!("{verb} returns"),
            )
            .of([call.id.as_str()])
            .into());
        }
        let Some(ok) = record.ok.as_bool() else {
            return Err(shape(line, "\"ok\" is missing or no boolean").into());
        };
        if matches!(call.verb.as_str(), "resume-all" | "drained-end") {
            self.holds
                .retain(|hold| !hold.ends || Some(hold.number) != call.hold);
        }
        let about = format!("{} of job '{}', line {}", call.verb, call.id, call.line);
        let fault = |rule, because: &str, but: &str| {
            Stop::Fault(Fault::new(line, rule, &about, because, but).of([call.id.as_str()]))
        };
        if call.gives_up {
            if ok {
                let gone = "the job was given up before the call returned";
                return Err(fault(rule!("created-and-gone"), gone, "it succeeded"));
            }
            let given_up = self.acceptor.answer(thread, Ok(()));
            return given_up.map_err(|rejection| at(line, rejection).into());
        }
        if ok {
            // Its creator, and who ends a section, may find that it went before.
            let in_vain = matches!(call.verb.as_str(), "start" | "early-fail" | "drained-end");
            if call.nobody && !in_vain {
                let because = if call.verb == "create" {
                    "its id is taken or not well formed"
                } else {
                    "no job has that id"
                };
                return Err(fault(
                    rule!("verb-accepted-for-nobody"),
                    because,
                    "it succeeded",
                ));
            }
            if call.called {
                let posted = record.posted.as_bool() == Some(true);
                let answer = if posted {
                    self.acceptor.posted(thread)
                } else {
                    self.acceptor.answer(thread, Ok(()))
                };
                answer.map_err(|rejection| at(line, rejection))?;
            }
            return Ok(());
        }
        let text = record.error.as_str().unwrap_or_default();
        let refusal = match refusal::read(&text) {
            Meaning::Refusal(refusal, named) => {
                if let Some(named) = named
                    && named != call.id
                {
                    return Err(fault(
                        rule!("error-names-other-job"),
                        &format!("it is for '{}'", call.id),
                        &format!("the answer was: {text}"),
                    ));
                }
                Some(refusal)
            }
            _ => None,
        };
        if call.verb == "drained-begin" {
            // It holds nobody, and nothing ends it.
            self.holds.retain(|hold| Some(hold.number) != call.hold);
        }
        if let Some(key) = call.creates {
            let made = self.jobs.get(&call.id).filter(|job| job.key == key);
            if let Some((status, since)) = made.and_then(|job| job.known.last) {
                return Err(fault(
                    rule!("refused-and-created"),
                    &format!("the job is {status} since line {since}"),
                    &format!("the answer was: {text}"),
                ));
            }
            self.acceptor.withdraw(thread);
            self.acceptor.never(key);
            self.forget(&call.id);
            return Ok(());
        }
        match refusal {
            Some(refusal) if call.nobody => {
                if refusal == Refusal::NotFound {
                    Ok(())
                } else {
                    Err(fault(
                        rule!("refusal-text"),
                        "no job has that id",
                        &format!("the answer was: {text}"),
                    ))
                }
            }
            Some(refusal) if call.called => self
                .acceptor
                .answer(thread, Err(refusal))
                .map_err(|rejection| at(line, rejection).into()),
            // Turned down before it reached the job: a deadlock avoided, a manager shut down …
            _ => {
                if call.called {
                    self.acceptor.withdraw(thread);
                }
                Ok(())
            }
        }
    }

    pub(super) fn forget(&mut self, id: &str) {
        let Some(job) = self.jobs.remove(id) else {
            return;
        };
        if let Some(name) = job.group
            && let Some(named) = self.groups.get_mut(&name)
        {
            named.live -= 1;
            if named.live == 0 {
                self.groups.remove(&name);
            }
        }
    }
}
