//! The driver of every job, and the stage on which drivers and test meet.
//!
//! A body takes its orders from a channel. Before `run`, `pause` and `resume` it stands at a gate
//! until the test lets it pass, which the test does one body at a time, while the main loop has
//! nothing to do. A callback of the main loop waits until all woken bodies stand still. So there is
//! one order of everything, and it is that of `specification.rs`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use blockjob::driver::{Driver, Errno, Flow, IoSide, JobError, RunContext};
use blockjob::engine::{CancelMode, Context, EngineError, Finish};
use blockjob::trace::{
    Io, JobRecorder, RecordingCreatedJob, RecordingHandle, RecordingTransaction, TraceEntry,
    TraceSink, TraceStep,
};
use blockjob_model::Callback;

use crate::happening::{Answer, Happening, Happenings};
use crate::program::{Deed, Drive, Plan, Verb};
use crate::specification::name;

/// How long something may take that follows by itself. It never comes to that, unless what is waited
/// for does not come.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks again and again until there is an answer.
///
/// # Panics
/// It takes too long: what was waited for will not come.
pub fn await_answer<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{what} does not come");
        std::thread::yield_now();
    }
}

/// What starts jobs or gives them up.
pub enum Builder {
    Single(RecordingCreatedJob),
    Transaction(RecordingTransaction),
}

impl Builder {
    pub fn start(self) {
        match self {
            Builder::Single(created) => drop(created.start()),
            Builder::Transaction(transaction) => drop(transaction.start()),
        }
    }
}

/// Where a body stands.
#[derive(Default)]
struct Standing {
    /// It waits for an order, or at its gate.
    still: bool,
    /// It waits at its gate.
    at_gate: bool,
    /// It has called the engine, which may make it wait for the main loop.
    in_call: bool,
}

/// What drivers and test share of a job.
struct Seat {
    handle: Mutex<Option<RecordingHandle>>,
    standing: Mutex<Standing>,
    passes: Condvar,
    mischief: Mutex<Vec<u8>>,
    polls: Mutex<u8>,
    /// What starts it or gives it up, by its place among the builders.
    builder: usize,
}

/// What drivers and test share.
pub struct Stage {
    plan: Plan,
    seats: Vec<Seat>,
    /// Those of the transactions, then those of the single jobs.
    pub builders: Vec<Mutex<Option<Builder>>>,
    happenings: Mutex<Happenings>,
    /// The jobs by the names in the trace.
    names: Mutex<HashMap<String, usize>>,
    /// The job whose creation is under way.
    creating: Mutex<Option<usize>>,
    /// The program is over: gates are open, and callbacks do nothing beside their work.
    over: AtomicBool,
    /// What went wrong inside a callback, where a panic would be taken for the driver's.
    fault: Mutex<Option<String>>,
}

impl Stage {
    pub fn new(plan: &Plan) -> Stage {
        let transactions = crate::program::TRANSACTIONS_MAX;
        let mut builders = transactions;
        let seats = plan.jobs.iter().map(|planned| Seat {
            handle: Mutex::new(None),
            standing: Mutex::default(),
            passes: Condvar::new(),
            mischief: Mutex::new(planned.mischief_at_first()),
            polls: Mutex::new(planned.polls),
            builder: planned.transaction.unwrap_or_else(|| {
                builders += 1;
                builders - 1
            }),
        });
        let seats: Vec<Seat> = seats.collect();
        Stage {
            plan: plan.clone(),
            seats,
            builders: (0..builders).map(|_| Mutex::new(None)).collect(),
            happenings: Mutex::default(),
            names: Mutex::default(),
            creating: Mutex::new(None),
            over: AtomicBool::new(false),
            fault: Mutex::new(None),
        }
    }

    pub fn handle(&self, job: usize) -> Option<RecordingHandle> {
        self.seats[job].handle.lock().unwrap().clone()
    }

    pub fn builder_of(&self, job: usize) -> &Mutex<Option<Builder>> {
        &self.builders[self.seats[job].builder]
    }

    /// The next job to come into being is this one.
    pub fn creates(&self, job: usize) {
        *self.creating.lock().unwrap() = Some(job);
    }

    /// It has come into being.
    pub fn created(&self, job: usize, handle: RecordingHandle) {
        *self.seats[job].handle.lock().unwrap() = Some(handle);
    }

    /// It is gone, and another may come into being in its place.
    pub fn renew(&self, job: usize) {
        let seat = &self.seats[job];
        let handle = seat.handle.lock().unwrap().take();
        drop(handle);
        *seat.standing.lock().unwrap() = Standing::default();
        *seat.mischief.lock().unwrap() = self.plan.jobs[job].mischief_at_first();
        *seat.polls.lock().unwrap() = self.plan.jobs[job].polls;
    }

    pub fn job_named(&self, name: &str) -> Option<usize> {
        self.names.lock().unwrap().get(name).copied()
    }

    /// A text of the engine, with the job called as the test calls it.
    pub fn text(&self, job: usize, error: &EngineError) -> String {
        let text = error.to_string();
        match self.handle(job) {
            Some(handle) => text.replace(handle.id(), &name(job)),
            None => text,
        }
    }

    fn note(&self, job: usize, happening: Happening) {
        self.happenings.lock().unwrap().push((job, happening));
    }

    /// What has happened since the last call.
    ///
    /// # Panics
    /// Something went wrong inside a callback.
    pub fn take_happenings(&self) -> Happenings {
        if let Some(fault) = self.fault.lock().unwrap().take() {
            panic!("inside a callback: {fault}");
        }
        std::mem::take(&mut self.happenings.lock().unwrap())
    }

    /// Every body that was woken stands still; one that calls the engine may not while the main loop
    /// is in a callback.
    fn stands_still(&self, in_callback: bool) -> bool {
        self.seats.iter().all(|seat| {
            let Some(handle) = seat.handle.lock().unwrap().clone() else {
                return true;
            };
            let standing = seat.standing.lock().unwrap();
            if standing.still || (standing.in_call && in_callback) {
                return true;
            }
            let in_call = standing.in_call;
            drop(standing);
            !in_call && !handle.job().info().busy
        })
    }

    /// All bodies stand still.
    pub fn is_still(&self) -> bool {
        self.stands_still(false)
    }

    /// Lets the first body that waits at its gate pass; false if none does.
    pub fn release_one(&self) -> bool {
        for seat in &self.seats {
            let mut standing = seat.standing.lock().unwrap();
            if standing.at_gate {
                standing.at_gate = false;
                standing.still = false;
                seat.passes.notify_all();
                return true;
            }
        }
        false
    }

    /// The body is about to get an order.
    pub fn moves(&self, job: usize) {
        self.seats[job].standing.lock().unwrap().still = false;
    }

    /// Opens all gates for good.
    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        for seat in &self.seats {
            let _standing = seat.standing.lock().unwrap();
            seat.passes.notify_all();
        }
    }

    /// Lets go of everything that holds on to the stage.
    pub fn clear(&self) {
        for builder in &self.builders {
            let builder = builder.lock().unwrap().take();
            drop(builder);
        }
        for seat in &self.seats {
            let handle = seat.handle.lock().unwrap().take();
            drop(handle);
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// The body waits until it may pass.
    fn gate(&self, job: usize) {
        let seat = &self.seats[job];
        let mut standing = seat.standing.lock().unwrap();
        if self.is_over() {
            return;
        }
        standing.in_call = false;
        standing.still = true;
        standing.at_gate = true;
        while standing.at_gate && !self.is_over() {
            standing = seat.passes.wait(standing).unwrap();
        }
    }

    /// A callback of the body begins.
    fn body_callback(&self, job: usize, callback: Callback) {
        self.gate(job);
        self.note(job, Happening::Callback(callback));
        let Some(deed) = self.mischief(job, callback) else {
            return;
        };
        self.seats[job].standing.lock().unwrap().in_call = true;
        let answer = self.deed(job, deed);
        self.gate(job);
        self.note(job, Happening::Deed(deed, answer));
    }

    /// A callback of the main loop begins.
    pub fn callback(&self, job: usize, callback: Callback) {
        self.stand_still(callback);
        self.note(job, Happening::Callback(callback));
        if let Some(deed) = self.mischief(job, callback) {
            let answer = self.deed(job, deed);
            // Who was entered goes on by itself, and has come to rest before the deed is written down.
            self.stand_still(callback);
            self.note(job, Happening::Deed(deed, answer));
        }
    }

    /// Waits, in a callback of the main loop, until every woken body stands still.
    fn stand_still(&self, callback: Callback) {
        let start = Instant::now();
        while !self.is_over() && !self.stands_still(true) {
            if start.elapsed() > PATIENCE {
                let fault = format!("a woken body does not come to rest in {callback}");
                self.fault.lock().unwrap().get_or_insert(fault);
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Which mischief a callback is up to.
    fn mischief(&self, job: usize, callback: Callback) -> Option<Deed> {
        if self.is_over() {
            return None;
        }
        let mut left = self.seats[job].mischief.lock().unwrap();
        let planned = &self.plan.jobs[job].mischief;
        let at = (0..planned.len()).find(|&at| {
            let possible = match planned[at].deed {
                Deed::Ask(target, _) => self.handle(target).is_some(),
                Deed::Start(target) => {
                    self.handle(target).is_some()
                        && self.builder_of(target).lock().unwrap().is_some()
                }
                Deed::Wait => true,
            };
            planned[at].callback == callback && left[at] > 0 && possible
        })?;
        left[at] -= 1;
        Some(planned[at].deed)
    }

    fn deed(&self, job: usize, deed: Deed) -> Answer {
        match deed {
            Deed::Ask(target, verb) => {
                let handle = self.handle(target).expect("somebody is there to ask");
                ask(&handle, verb).map_err(|error| self.text(target, &error))
            }
            Deed::Start(target) => {
                let builder = self.builder_of(target).lock().unwrap().take();
                if let Some(builder) = builder {
                    builder.start();
                }
                Ok(())
            }
            Deed::Wait => {
                let handle = self.handle(job);
                let waits = handle.map(|handle| handle.job().wait_concluded());
                match waits {
                    Some(Err(error)) => Err(error.to_string()),
                    Some(Ok(_)) => Ok(()),
                    None => Err(crate::specification::WOULD_DEADLOCK.to_owned()),
                }
            }
        }
    }
}

/// Asks something of a job.
pub fn ask(handle: &RecordingHandle, verb: Verb) -> Result<(), EngineError> {
    match verb {
        Verb::Pause => handle.pause(),
        Verb::Resume => handle.resume(),
        Verb::Cancel { force: true } => handle.cancel(CancelMode::Force),
        Verb::Cancel { force: false } => handle.cancel(CancelMode::Soft),
        Verb::Complete => handle.complete(),
        Verb::Finalize => handle.finalize(),
        Verb::Dismiss => handle.dismiss(),
        Verb::SetSpeed { bytes_per_s } => handle.set_speed(bytes_per_s),
        Verb::Enter => {
            handle.job().enter();
            Ok(())
        }
        Verb::ResetIoStatus => handle.reset_io_status(),
    }
}

impl TraceSink for Stage {
    fn record(&self, entry: &TraceEntry<'_>) {
        let happening = match entry.step {
            TraceStep::Status(status) => Happening::Status(status),
            TraceStep::Event(event, _) => Happening::Event(event),
            _ => return,
        };
        let name = entry.job.expect("a status is some job's");
        let known = self.job_named(name);
        let job = known.unwrap_or_else(|| {
            let creating = self.creating.lock().unwrap().take();
            let job = creating.expect("who is named first was created just now");
            self.names.lock().unwrap().insert(name.to_owned(), job);
            job
        });
        self.note(job, happening);
    }
}

/// The driver.
pub struct Puppet {
    pub job: usize,
    pub stage: Arc<Stage>,
    pub orders: Mutex<Receiver<Drive>>,
    /// Where its I/O is recorded, and under the name of which transaction.
    pub sink: Arc<dyn TraceSink>,
    pub group: Option<String>,
}

impl Puppet {
    fn main(&self, callback: Callback) {
        self.stage.callback(self.job, callback);
    }

    /// The next order; the program's end is an order to return.
    fn next(&self) -> Drive {
        self.stage.seats[self.job].standing.lock().unwrap().still = true;
        let orders = self.orders.lock().unwrap();
        orders.recv().unwrap_or(Drive::Return { well: true })
    }

    /// Follows an order that any body can follow; says how the run ends, if it does.
    fn follow<S>(
        &self,
        context: &mut RunContext<'_, S>,
        order: Drive,
    ) -> Option<Result<(), JobError>> {
        let flow = match order {
            Drive::Point => context.pause_point(),
            Drive::Sleep { ms } => context.sleep(Duration::from_millis(ms)),
            Drive::Wait => context.wait(),
            Drive::Io => {
                let io = Io {
                    op: "copy",
                    offset: 0,
                    bytes: 1,
                };
                let group = self.group.as_deref();
                let recorder = JobRecorder::new(Arc::clone(&self.sink), context.id(), group);
                let permit = context.io();
                let done: Result<(), ()> = recorder.io(io, || Ok(()));
                drop(permit);
                return done.is_err().then_some(Ok(()));
            }
            Drive::Error { policy, no_space } => {
                let errno = if no_space { Errno::NO_SPACE } else { Errno::IO };
                // What the policy chose is in the event.
                let _ = context.error_action(policy, IoSide::Write, errno);
                return None;
            }
            Drive::Return { well: true } => return Some(Ok(())),
            Drive::Return { well: false } => return Some(Err(Errno::IO.into())),
            Drive::Converge | Drive::Finish => unreachable!("only {order:?} in its stage"),
        };
        self.stage.note(self.job, Happening::Flow(flow));
        if self.stage.is_over() && flow == Flow::Cancelled {
            return Some(Ok(()));
        }
        None
    }
}

impl Driver for Puppet {
    fn job_type(&self) -> &'static str {
        "puppet"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        self.stage.body_callback(self.job, Callback::Run);
        loop {
            match self.next() {
                Drive::Converge => break,
                order => {
                    if let Some(result) = self.follow(&mut context, order) {
                        return result;
                    }
                }
            }
        }
        let mut context = context.ready();
        loop {
            match self.next() {
                Drive::Finish => {
                    let finish: Finish = context.wait_for_finish();
                    self.stage.note(self.job, Happening::Finish(finish));
                }
                order => {
                    if let Some(result) = self.follow(&mut context, order) {
                        return result;
                    }
                }
            }
        }
    }

    fn pause(&self) {
        self.stage.body_callback(self.job, Callback::Pause);
    }

    fn resume(&self) {
        self.stage.body_callback(self.job, Callback::Resume);
    }

    fn user_resume(&self) {
        self.main(Callback::UserResume);
    }

    fn supports_complete(&self) -> bool {
        self.stage.plan.jobs[self.job].spec.can_complete
    }

    fn complete(&self) {
        self.main(Callback::Complete);
    }

    fn cancel(&self, force: bool, ready: bool) -> bool {
        self.main(Callback::Cancel);
        force || !(ready && self.supports_complete())
    }

    fn set_speed(&self, _: u64) {
        self.main(Callback::SetSpeed);
    }

    fn drain(&self) {
        self.main(Callback::Drain);
    }

    fn drained_poll(&self) -> bool {
        // Decided before its mischief, which may have it asked again.
        let again = {
            let mut polls = self.stage.seats[self.job].polls.lock().unwrap();
            let again = *polls > 0;
            *polls -= u8::from(again);
            again
        };
        self.main(Callback::DrainedPoll);
        again && !self.stage.is_over()
    }

    fn attached_context(&self, _: &Context) {
        self.main(Callback::AttachedContext);
    }

    fn prepare(&self) -> Result<(), JobError> {
        self.main(Callback::Prepare);
        if self.stage.plan.jobs[self.job].prepares {
            Ok(())
        } else {
            Err(Errno::NO_SPACE.into())
        }
    }

    fn commit(&self) {
        self.main(Callback::Commit);
    }

    fn abort(&self) {
        self.main(Callback::Abort);
    }

    fn clean(&self) {
        self.main(Callback::Clean);
    }

    fn free(&self) {
        self.main(Callback::Free);
    }
}
