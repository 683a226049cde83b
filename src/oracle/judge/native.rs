//! The engine's own trace, judged: calls, returns, callbacks, I/O, statuses, events.

use std::collections::{HashMap, HashSet};

use blockjob_model::accept::{Acceptor, GroupKey, JobKey, Seen};
use blockjob_model::identity::is_well_formed;
use blockjob_model::state::{Group, JobSpec};
use blockjob_model::step::View;
use blockjob_model::{Callback, ErrorAction, Event, Profile, Refusal, Request, Status, rule};

use super::refusal::{self, Meaning};
use super::{Observer, at};
use crate::oracle::error::TraceError;
use crate::oracle::fields::{self, Known, Place, shown};
use crate::oracle::reader::json::Piece;
use crate::oracle::reader::native::{Record, shape};
use crate::oracle::reader::qmp::EventData;
use crate::oracle::verdict::Fault;
use crate::oracle::watch::Belief;

/// Why a record stops the judgement.
pub enum Stop {
    /// It contradicts the specification.
    Fault(Fault),
    /// It is no record.
    Error(TraceError),
}

impl From<TraceError> for Stop {
    fn from(error: TraceError) -> Stop {
        Stop::Error(error)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

/// A call under way.
struct Call {
    line: u64,
    verb: String,
    id: String,
    /// The acceptor knows of it.
    called: bool,
    /// It begins or ends the hold of this number.
    hold: Option<u8>,
    /// It creates this job.
    creates: Option<JobKey>,
    /// No job has the id: the call can only fail.
    nobody: bool,
    /// It created the job and gave it up again: the call can only fail.
    gives_up: bool,
}

/// A `pause_all` or a drained section.
struct Hold {
    /// What the trace calls it.
    token: Option<i128>,
    /// Its number in the specification, which knows eight at a time.
    number: u8,
    /// The call that ends it has not returned.
    ends: bool,
}

/// A transaction by its name in the trace.
struct Named {
    key: GroupKey,
    /// Members that are not gone.
    live: usize,
}

struct Job {
    known: Known,
    key: JobKey,
    group: Option<String>,
}

/// A native trace, judged.
pub struct Judge {
    acceptor: Acceptor,
    others: bool,
    /// Whoever calls, by the name of the thread.
    threads: HashMap<String, u16>,
    /// How many callbacks of the main loop are open, by the name of the thread.
    inside: HashMap<String, u32>,
    calls: HashMap<u16, Call>,
    groups: HashMap<String, Named>,
    jobs: HashMap<String, Job>,
    /// Jobs that are gone and whose drivers are not: `free` is still to come.
    leaving: Vec<(String, JobKey)>,
    /// Outstanding `pause_all`s and drained sections.
    holds: Vec<Hold>,
    last_seq: Option<i128>,
    next_serial: u64,
    records: u64,
    witnessed: u64,
    /// What was taken to be missing before a fault; if it is seen later, it came late.
    assumed: Vec<(JobKey, Seen)>,
    /// Jobs of which the last observation was a fault and passed over.
    shaken: Vec<JobKey>,
    /// Jobs that are not believed in any more behind a fault, by what the trace calls them.
    adrift: HashSet<String>,
}

/// How much is remembered of what was repaired.
const REPAIRED_MAX: usize = 1024;

impl Belief for Judge {
    fn profile(&self) -> &'static Profile {
        self.profile()
    }

    fn statuses(&self, job: &str) -> Vec<Status> {
        self.jobs
            .get(job)
            .map_or_else(Vec::new, |job| self.acceptor.statuses(job.key))
    }
}

impl Judge {
    /// A trace of an implementation of `profile`.
    pub fn new(profile: &'static Profile, observer: Observer) -> Judge {
        Judge {
            acceptor: Acceptor::new(profile, View::TRACE),
            others: observer == Observer::Shared,
            threads: HashMap::new(),
            inside: HashMap::new(),
            calls: HashMap::new(),
            groups: HashMap::new(),
            jobs: HashMap::new(),
            leaving: Vec::new(),
            holds: Vec::new(),
            last_seq: None,
            next_serial: 0,
            records: 0,
            witnessed: 0,
            assumed: Vec::new(),
            shaken: Vec::new(),
            adrift: HashSet::new(),
        }
    }

    /// The profile it is judged by.
    pub fn profile(&self) -> &'static Profile {
        self.acceptor.profile()
    }

    /// Records so far.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Returns, statuses and events so far.
    pub const fn witnessed(&self) -> u64 {
        self.witnessed
    }

    /// Jobs so far.
    pub const fn jobs(&self) -> u64 {
        self.next_serial
    }

    /// How often the belief had to be widened.
    pub fn widened(&self) -> u64 {
        self.acceptor.widened()
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// It contradicts the specification, or is no record.
    pub fn take(&mut self, line: u64, record: &Record<'_>) -> Result<(), Stop> {
        self.records += 1;
        if let Some(seq) = record.seq.as_integer() {
            if self.last_seq.is_some_and(|last| seq <= last) {
                return Err(shape(
                    line,
                    "\"seq\" does not rise; put the records back into their order",
                )
                .into());
            }
            self.last_seq = Some(seq);
        }
        let Some(kind) = record.kind.as_str() else {
            return Err(shape(line, "\"kind\" is missing or no string").into());
        };
        match kind.as_ref() {
            "call" => {
                let called = self.call(line, record);
                if matches!(called, Err(Stop::Fault(_)))
                    && let Ok(thread) = self.caller(line, record)
                {
                    // The one that did not return is taken to have.
                    self.settle(thread);
                    let _ = self.call(line, record);
                }
                called
            }
            "return" => {
                self.witnessed += 1;
                let returned = self.returned(line, record);
                if matches!(returned, Err(Stop::Fault(_)))
                    && let Ok(thread) = self.caller(line, record)
                {
                    self.settle(thread);
                }
                returned
            }
            "status" => {
                self.witnessed += 1;
                self.status(line, record)
            }
            "event" => {
                self.witnessed += 1;
                self.event(line, record)
            }
            "callback" => self.callback(line, record),
            "io" => {
                let seen = match edge(line, record)? {
                    Edge::Begin => Seen::IoBegin,
                    Edge::End => Seen::IoEnd,
                };
                self.observe(line, record, "io", seen)
            }
            other => Err(shape(
                line,
                &format!(
                    "\"kind\" is {other:?}; it is call, return, status, event, callback or io"
                ),
            )
            .into()),
        }
    }

    /// The number of whoever calls: the thread a record names, and, inside a callback of the main loop
    /// that calls back, another than the one outside, whose call may be what the callback is for.
    fn caller(&mut self, line: u64, record: &Record<'_>) -> Result<u16, TraceError> {
        let Some(name) = record.thread.as_str() else {
            return Err(shape(line, "\"thread\" is missing or no string"));
        };
        let name = match self.inside.get(name.as_ref()) {
            None => name,
            // No thread is called so: the names are printed ones.
            Some(depth) => format!("{name}\0{depth}").into(),
        };
        if let Some(&number) = self.threads.get(name.as_ref()) {
            return Ok(number);
        }
        let Ok(number) = u16::try_from(self.threads.len()) else {
            return Err(shape(
                line,
                "more than 65536 threads call; that many are not told apart",
            ));
        };
        self.threads.insert(name.into_owned(), number);
        Ok(number)
    }

    /// A callback of the main loop begins or ends on the thread that the record names.
    fn note_callback(&mut self, record: &Record<'_>, edge: Edge) {
        let name = record.thread.as_str().unwrap_or_default();
        match edge {
            Edge::Begin => *self.inside.entry(name.into_owned()).or_default() += 1,
            Edge::End => {
                if let Some(depth) = self.inside.get_mut(name.as_ref()) {
                    *depth -= 1;
                    if *depth == 0 {
                        self.inside.remove(name.as_ref());
                    }
                }
            }
        }
    }

    fn call(&mut self, line: u64, record: &Record<'_>) -> Result<(), Stop> {
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

    fn create(
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
        if self.jobs.contains_key(&call.id) || !well_formed {
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
        let name = record.group.as_str().map(std::borrow::Cow::into_owned);
        let acceptor = &mut self.acceptor;
        let others = self.others;
        let open = |acceptor: &mut Acceptor| {
            acceptor.group(Group {
                others,
                ..Group::CLOSED
            })
        };
        let group = match &name {
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
        let key = acceptor.job(group, &specs, &call.id);
        acceptor.call(thread, Some(key), Request::Create, false);
        call.called = true;
        call.creates = Some(key);
        let mut known = Known::foreign(key, self.next_serial);
        self.next_serial += 1;
        known.kind = record
            .job_type
            .as_str()
            .map(|kind| std::borrow::Cow::Owned(kind.into_owned()));
        self.jobs.insert(
            call.id.clone(),
            Job {
                known,
                key,
                group: name,
            },
        );
        Ok(())
    }

    /// The specification's number for a new `pause_all` or drained section.
    fn hold(&mut self, token: Piece<'_>) -> u8 {
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
    fn release(&mut self, token: Piece<'_>) -> u8 {
        let named = token.as_integer();
        let lasts = |hold: &Hold| !hold.ends && (named.is_none() || hold.token == named);
        let Some(hold) = self.holds.iter_mut().rfind(|hold| lasts(hold)) else {
            return 7;
        };
        hold.ends = true;
        hold.number
    }

    fn returned(&mut self, line: u64, record: &Record<'_>) -> Result<(), Stop> {
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

    fn forget(&mut self, id: &str) {
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

    fn status(&mut self, line: u64, record: &Record<'_>) -> Result<(), Stop> {
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
        let judged = self.observe(line, record, "status", Seen::Status(status));
        let id = record.job.as_str().unwrap_or_default();
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
    fn may_fail_late(&mut self, record: &Record<'_>) {
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

    fn event(&mut self, line: u64, record: &Record<'_>) -> Result<(), Stop> {
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

    fn callback(&mut self, line: u64, record: &Record<'_>) -> Result<(), Stop> {
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

    fn observe(
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

    /// Whether a rejected observation follows from a fault before it.
    fn follows(&mut self, key: JobKey, seen: Seen) -> bool {
        let late = |assumed: &(JobKey, Seen)| *assumed == (key, seen);
        if let Some(place) = self.assumed.iter().position(late) {
            self.assumed.remove(place);
            return true;
        }
        if self.shaken.contains(&key) {
            let lost = self.acceptor.let_go(key);
            self.let_go(&lost);
            return true;
        }
        false
    }

    /// Goes on behind an observation that was rejected, from the nearest legal state.
    fn resume(&mut self, key: JobKey, seen: Seen) {
        match self.acceptor.resume(key, seen) {
            Some(missing) => {
                self.assumed.extend(missing);
                self.assumed.truncate(REPAIRED_MAX);
            }
            None if self.shaken.len() < REPAIRED_MAX => self.shaken.push(key),
            None => {
                let lost = self.acceptor.let_go(key);
                self.let_go(&lost);
            }
        }
    }

    /// These jobs are not believed in any more: nothing is said of them.
    fn let_go(&mut self, lost: &[JobKey]) {
        let ids: Vec<String> = self
            .jobs
            .iter()
            .filter(|(_, job)| lost.contains(&job.key))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.forget(&id);
            if self.adrift.len() < REPAIRED_MAX {
                self.adrift.insert(id);
            }
        }
        self.leaving.retain(|(_, key)| !lost.contains(key));
        self.shaken.retain(|key| !lost.contains(key));
        self.assumed.retain(|(key, _)| !lost.contains(key));
    }

    /// A call that did not return as it may has ended all the same.
    fn settle(&mut self, thread: u16) {
        self.calls.remove(&thread);
        let lost = self.acceptor.settle(thread);
        self.let_go(&lost);
    }
}

#[derive(Clone, Copy)]
enum Edge {
    Begin,
    End,
}

fn edge(line: u64, record: &Record<'_>) -> Result<Edge, TraceError> {
    match record.edge.as_str().as_deref() {
        Some("begin") => Ok(Edge::Begin),
        Some("end") => Ok(Edge::End),
        _ => Err(shape(line, "\"edge\" is begin or end")),
    }
}
