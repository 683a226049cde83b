//! The monitor: one lock, everything it protects, and the small steps that change it.
//!
//! Who may touch what:
//!
//! | data | where | rule |
//! |---|---|---|
//! | [`State`]: jobs, groups, tasks, timers | behind the lock | every method of `State` is a small, total step that does not block |
//! | [`JobCore`]: id, driver, condvar, control word, gate, progress | shared, immutable or atomic | the control word is written under the lock only |
//! | stage tokens | see [`stage`](super::stage) | moved by their owner only |
//!
//! A status changes in [`State::transition`] and nowhere else: it asserts the transition table and
//! records the change in the trace, inside the section that makes it true (P1).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use blockjob_model::resource::Sharing;
use blockjob_model::{Callback, ErrorAction, Event, IoStatus, Refusal, Status, Verb};

use super::control::ControlWord;
use super::drain::Section;
use super::error::EngineError;
use super::executor::Context;
use super::gate::Gate;
use super::handle::Decision;
use super::identity::Kind;
use super::ledger::Ledger;
use super::main_loop::{Task, Ticket};
use super::progress::Progress;
use super::rate::RateLimit;
use super::resource::{Held, Register, Released};
use super::stage::{Stage, infallible};
use super::timer::{Clock, Sleeper, TimerKey, Timers};
use crate::driver::{Driver, JobError, JobOutcome};
use crate::sync::{
    Arc, Condvar, Mutex, MutexGuard, OUR_MISTAKE, OnceLock, Statistic, assert_unlocked, thread,
};
use crate::trace::{EventDetail, TraceEntry, TraceSink, TraceStep};

/// A job's place in the order of creation; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct JobKey(pub(super) u64);

/// A group's number; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct GroupKey(pub(super) u64);

/// How much of a cancel was asked for. Only rises (P6, decision 37).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CancelLevel {
    No,
    Soft,
    Forced,
}

/// What the body sleeps in, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parked {
    /// The body runs.
    No,
    /// In a pause; resume to zero or a forced cancel ends it.
    Paused,
    /// In a sleep; its timer, or anybody's enter, ends it.
    Sleeping(TimerKey),
    /// In a wait without a timer; anybody's enter ends it.
    Waiting,
}

/// The completion function of a job's creator.
pub(crate) type Completion = Box<dyn FnOnce(&JobOutcome) + Send>;

/// What of a job is shared without the lock.
pub(super) struct JobCore {
    pub(super) key: JobKey,
    /// The id; of an internal job the name it has in traces, which no lookup finds.
    pub(super) id: String,
    pub(super) kind: Kind,
    /// The transaction's name; none for a job that was created by itself.
    pub(super) group_name: Option<Arc<str>>,
    /// The ledger, as the driver that it stands in front of.
    pub(super) driver: Box<dyn Driver>,
    pub(super) ledger: Arc<Ledger>,
    /// Asked for once, so that no driver code runs under the lock (P28).
    pub(super) job_type: &'static str,
    pub(super) can_complete: bool,
    pub(super) auto_finalize: bool,
    pub(super) auto_dismiss: bool,
    pub(super) control: ControlWord,
    /// Where the body parks. Waited on with the monitor's lock.
    pub(super) wake: Condvar,
    pub(super) gate: Gate,
    pub(super) progress: Progress,
    /// Bytes per second, 0 for none. Written under the lock.
    pub(super) speed_bytes_per_s: Statistic,
    pub(super) limit: Mutex<RateLimit>,
    /// Set in the section that makes the job concluded.
    pub(super) outcome: OnceLock<JobOutcome>,
}

impl JobCore {
    /// With the monitor's lock held, or before anybody else knows the job.
    pub(super) fn set_speed(&self, now: Duration, bytes_per_s: u64) {
        self.speed_bytes_per_s.set(bytes_per_s);
        self.limit.lock().set_speed(now, bytes_per_s);
    }

    /// Charges work of this job; how long to wait before the next piece.
    pub(super) fn charge(&self, monitor: &Monitor, bytes: u64) -> Duration {
        if self.speed_bytes_per_s.get() == 0 {
            return Duration::ZERO;
        }
        let now = monitor.now();
        self.limit.lock().charge(now, bytes)
    }
}

impl JobCore {
    fn entry<'a>(&'a self, step: TraceStep<'a>) -> TraceEntry<'a> {
        TraceEntry {
            job: Some(&self.id),
            group: self.group_name.as_deref(),
            step,
        }
    }

    fn event_detail<'a>(&'a self, error: Option<&'a str>) -> EventDetail<'a> {
        // What is done first: it only grows towards what there is.
        let offset_bytes = self.progress.current();
        EventDetail {
            job_type: self.job_type,
            len_bytes: self.progress.total(),
            offset_bytes,
            speed_bytes_per_s: self.speed_bytes_per_s.get(),
            error,
            operation: None,
        }
    }
}

impl Drop for JobCore {
    /// A job that never came to its end, because its main loop was dropped before.
    fn drop(&mut self) {
        // It is other people's code that goes here (P28).
        assert_unlocked();
        if !self.ledger.has_begun(Callback::Free) {
            infallible("free", || self.driver.free());
        }
    }
}

impl std::fmt::Debug for JobCore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("JobCore")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What of a job the lock protects.
pub(super) struct Job {
    pub(super) core: Arc<JobCore>,
    pub(super) group: GroupKey,
    pub(super) status: Status,
    pub(super) stage: Stage,
    /// The user's pause; a stop error shares the slot (decision 8).
    pub(super) user_paused: bool,
    /// What is remembered of the error that stopped the job (P5: not `ok` implies `user_paused`).
    pub(super) io_status: IoStatus,
    /// The user's pause is over and the driver's `user_resume` has not returned: the job stays where
    /// it is.
    pub(super) resuming: bool,
    /// Pauses of `pause_all` and of drained sections not yet released.
    pub(super) holds: u32,
    pub(super) started: bool,
    /// `run` has begun, or is next.
    pub(super) entered: bool,
    /// The run returned; nothing enters the body any more (P22).
    pub(super) ended: bool,
    pub(super) cancel: CancelLevel,
    /// A complete request was accepted (the latch of decision 17).
    pub(super) complete_accepted: bool,
    /// The driver's `complete` has returned; the body may act on it.
    pub(super) complete_told: bool,
    /// Somebody entered the body while it was busy (decision 11: wakes are sticky).
    pub(super) enter_pending: bool,
    pub(super) parked: Parked,
    /// Why it failed or was cancelled, from the moment the main loop knows.
    pub(super) error: Option<JobError>,
    /// Its right to its resources, until it is cleaned or given up.
    pub(super) held: Option<Held>,
    /// Where its body runs, or will.
    pub(super) context: Context,
    /// The body's thread, from its first step to its last.
    pub(super) body_thread: Option<thread::ThreadId>,
    /// Whether its group commits or aborts, once that is settled.
    pub(super) decision: Option<Decision>,
    pub(super) completion: Option<Completion>,
    /// What the control word holds.
    pub(super) published: u32,
}

impl Job {
    /// Somebody wants the job paused, whatever its cancel level.
    pub(super) fn is_pause_requested(&self) -> bool {
        self.user_paused || self.resuming || self.holds > 0
    }

    /// A pause point has to stop: a pause is wanted and no forced cancel overrides it.
    pub(super) fn should_pause(&self) -> bool {
        self.is_pause_requested() && !self.is_forced()
    }

    pub(super) fn is_forced(&self) -> bool {
        self.cancel == CancelLevel::Forced
    }

    /// The body runs, or was woken and has not noticed yet (P26).
    pub(super) fn is_busy(&self) -> bool {
        let parked = match self.parked {
            Parked::No => false,
            Parked::Paused => self.should_pause(),
            Parked::Sleeping(_) | Parked::Waiting => {
                !self.enter_pending && !self.should_pause() && !self.is_forced()
            }
        };
        self.started && !self.ended && !parked
    }

    /// A drained section need not wait for it (SEMANTICS.md §4.7): it is not started, or held before its
    /// first step, and then does nothing but come to rest; or it is parked in a pause, and not on its
    /// way out; or its run is over. Whoever is quiet and held stays so.
    pub(super) fn is_quiet(&self) -> bool {
        let idle = !self.entered || self.parked == Parked::Paused;
        !self.started || (idle && self.should_pause()) || self.ended
    }

    /// The calling thread is the job's body.
    pub(super) fn is_own_body(&self) -> bool {
        self.body_thread == Some(thread::current_id())
    }

    /// The last callback, then the end of what the engine has of the job. Not with the lock held.
    pub(super) fn free(self) {
        infallible("free", || self.core.driver.free());
        infallible("drop", || drop(self));
    }

    /// Converged and still running: a soft cancel lets such a job finish.
    pub(super) fn is_ready(&self) -> bool {
        self.status.is_ready() && !self.ended
    }

    /// The status that decides about verbs: from the end of the run on a job behaves as in
    /// waiting, whatever its status still says (decision 18).
    pub(super) fn verb_status(&self) -> Status {
        if self.ended && !self.status.is_completed() {
            Status::Waiting
        } else {
            self.status
        }
    }

    /// The verb table's word.
    pub(super) fn permits(&self, verb: Verb) -> Result<(), Refusal> {
        let status = self.verb_status();
        if verb.permitted_in(status) {
            Ok(())
        } else {
            Err(Refusal::Verb { status, verb })
        }
    }

    /// Repeats the fields a body acts on in the control word. After every change to them.
    pub(super) fn publish(&mut self) {
        debug_assert!(
            self.io_status.is_ok() || self.user_paused,
            "job '{}' remembers an error and is not stopped (P5)",
            self.core.id
        );
        let mut bits = 0;
        if self.should_pause() {
            bits |= ControlWord::PAUSE;
        }
        bits |= match self.cancel {
            CancelLevel::No => 0,
            CancelLevel::Soft => ControlWord::SOFT,
            CancelLevel::Forced => ControlWord::FORCED,
        };
        if bits != self.published {
            self.published = bits;
            self.core.control.publish(bits);
        }
    }

    /// Wakes the body if it is parked; what it was parked in decides whether it goes on. The
    /// fields it tests were changed in the same section, so no wake is lost (P25), and a body
    /// that is not parked needs none.
    pub(super) fn kick(&self) {
        if self.parked != Parked::No {
            self.core.wake.notify_all();
        }
    }

    /// Enters the body: ends its sleep or wait, or the next one if it is busy (decision 11).
    pub(super) fn enter(&mut self) {
        if self.started && !self.ended {
            self.enter_pending = true;
            if matches!(self.parked, Parked::Sleeping(_) | Parked::Waiting) {
                self.core.wake.notify_all();
            }
        }
    }

    /// Raises the cancel level to forced: the user's pause and the stop error go with it, and the
    /// body is woken from whatever it is parked in (SEMANTICS.md §5.2).
    pub(super) fn force_cancel(&mut self) {
        self.cancel = CancelLevel::Forced;
        self.user_paused = false;
        self.io_status = IoStatus::Ok;
        self.publish();
        if let Some(token) = self.stage.take_queued() {
            // No thread has picked the body up: the run is over before it began (decision 24).
            self.stage = Stage::Ended(token.end(Ok(())));
            self.note_end();
        } else {
            self.kick();
        }
    }

    /// The run is over: pauses that nobody can honour any more go with it (decision 40).
    pub(super) fn note_end(&mut self) {
        debug_assert!(
            self.parked == Parked::No,
            "job '{}' ends in {:?}: it has a timer, or somebody would enter it (P21, P22)",
            self.core.id,
            self.parked
        );
        self.ended = true;
        self.user_paused = false;
        self.io_status = IoStatus::Ok;
        self.resuming = false;
        self.holds = 0;
    }
}

/// Jobs that end together. A job created by itself is in a group of one (SEMANTICS.md §6.1).
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Oldest first; the main loop goes backwards. A member leaves exactly once (decision 30).
    pub(super) members: Vec<JobKey>,
    /// Set once, never cleared (P14).
    pub(super) aborting: bool,
}

/// Everything the lock protects.
pub(super) struct State {
    pub(super) jobs: BTreeMap<JobKey, Job>,
    pub(super) ids: BTreeMap<String, JobKey>,
    pub(super) groups: BTreeMap<GroupKey, Group>,
    pub(super) resources: Register,
    /// The drained sections that have not ended, by their numbers.
    pub(super) sections: BTreeMap<u64, Section>,
    pub(super) tasks: VecDeque<Task>,
    /// Who waits for the task that the main loop is carrying out. It is still here when the main loop is
    /// dropped only if that task did not come to its end: something in it panicked.
    pub(super) in_hand: Option<Arc<Ticket>>,
    /// Answers to tickets, until whoever waits has taken them.
    pub(super) answers: BTreeMap<u64, Result<(), EngineError>>,
    pub(super) timers: Timers,
    /// Jobs that are gone when the main loop is gone as well. Their drivers and completion functions
    /// are other people's code, to be called and dropped without the lock (P28): by
    /// [`Monitor::unlock`].
    pub(super) buried: Vec<Job>,
    /// What jobs held that were given up: closed without the lock as well, and at once.
    closing: Vec<Released>,
    next_key: u64,
    transactions: u64,
    internal_jobs: u64,
    /// Jobs that are neither concluded nor gone.
    pub(super) live: usize,
    /// Grows with every change of a status or a decision; observers compare it.
    pub(super) version: u64,
    /// Threads waiting on [`Monitor::watch`].
    pub(super) watchers: u32,
    /// The main loop waits on [`Monitor::main_wake`] …
    pub(super) main_waits: bool,
    /// … and wants to see status changes too.
    pub(super) main_watches: bool,
    /// The main loop has given up the lock for a driver callback: it is in the middle of a task.
    pub(super) in_callback: bool,
    pub(super) shutdown: bool,
    pub(super) main_gone: bool,
}

impl State {
    fn new(sharing: Sharing) -> State {
        State {
            jobs: BTreeMap::new(),
            ids: BTreeMap::new(),
            groups: BTreeMap::new(),
            resources: Register::new(sharing),
            sections: BTreeMap::new(),
            tasks: VecDeque::new(),
            in_hand: None,
            answers: BTreeMap::new(),
            timers: Timers::default(),
            buried: Vec::new(),
            closing: Vec::new(),
            next_key: 0,
            transactions: 0,
            internal_jobs: 0,
            live: 0,
            version: 0,
            watchers: 0,
            main_waits: false,
            main_watches: false,
            in_callback: false,
            shutdown: false,
            main_gone: false,
        }
    }

    pub(super) fn fresh_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// A number for a transaction's name, counting from one.
    pub(super) fn fresh_transaction(&mut self) -> u64 {
        self.transactions += 1;
        self.transactions
    }

    /// A number for an internal job's name, counting from one.
    pub(super) fn fresh_internal_job(&mut self) -> u64 {
        self.internal_jobs += 1;
        self.internal_jobs
    }

    pub(super) fn job(&self, key: JobKey) -> Option<&Job> {
        self.jobs.get(&key)
    }

    pub(super) fn job_mut(&mut self, key: JobKey) -> Option<&mut Job> {
        self.jobs.get_mut(&key)
    }

    /// The group's members, newest first.
    pub(super) fn members_newest_first(&self, group: GroupKey) -> Vec<JobKey> {
        self.groups
            .get(&group)
            .map(|group| group.members.iter().rev().copied().collect())
            .unwrap_or_default()
    }

    /// Changes a status: asserts the table, records the change, and tells observers (P1).
    pub(super) fn transition(&mut self, monitor: &Monitor, key: JobKey, to: Status) {
        self.transition_announced(monitor, key, to, None);
    }

    /// As [`transition`](Self::transition), with an event that belongs to the change: one step.
    pub(super) fn transition_announced(
        &mut self,
        monitor: &Monitor,
        key: JobKey,
        to: Status,
        event: Option<Event>,
    ) {
        let Some(job) = self.jobs.get_mut(&key) else {
            return;
        };
        assert!(
            job.status.may_become(to),
            "job '{}' went from {} to {to}, which the table forbids",
            job.core.id,
            job.status
        );
        let grouped = |group: &Group| group.members.contains(&key);
        assert!(
            to != Status::Concluded || !self.groups.get(&job.group).is_some_and(grouped),
            "job '{}' is concluded in its group (P37)",
            job.core.id
        );
        let changed = job.status != to;
        job.status = to;
        if !changed {
            return;
        }
        monitor.record_status(&job.core, to, event);
        self.tell_watchers(monitor);
    }

    /// Something that observers wait for has changed.
    pub(super) fn tell_watchers(&mut self, monitor: &Monitor) {
        self.version += 1;
        if self.watchers > 0 {
            monitor.watch.notify_all();
        }
        if self.main_watches && self.main_waits {
            monitor.main_wake.notify_all();
        }
    }

    /// The earliest timer that somebody sleeps for. One whose sleeper was woken by somebody else, and has
    /// not noticed yet, is dead (P21): it is disarmed, so that no time passes for it.
    pub(super) fn earliest_timer(&mut self) -> Option<TimerKey> {
        loop {
            let (timer, sleeper) = self.timers.earliest()?;
            match sleeper {
                Sleeper::Section(_) => return Some(timer),
                Sleeper::Body(key) => {
                    let sleeps =
                        |job: &Job| !job.is_busy() && job.parked == Parked::Sleeping(timer);
                    if self.job(key).is_some_and(sleeps) {
                        return Some(timer);
                    }
                }
            }
            self.timers.disarm(timer);
        }
    }

    /// Gives the main loop something to do.
    pub(super) fn push_task(&mut self, monitor: &Monitor, task: Task) {
        self.tasks.push_back(task);
        self.wake_main(monitor);
    }

    pub(super) fn answer(&mut self, ticket: &Ticket, answer: Result<(), EngineError>) {
        self.answers.insert(ticket.number, answer);
        ticket.answered.notify_all();
    }

    pub(super) fn wake_main(&self, monitor: &Monitor) {
        if self.main_waits {
            monitor.main_wake.notify_all();
        }
    }

    /// The member leaves its group; the last one takes the group with it.
    pub(super) fn leave_group(&mut self, key: JobKey) {
        let Some(group_key) = self.jobs.get(&key).map(|job| job.group) else {
            return;
        };
        if let Some(group) = self.groups.get_mut(&group_key) {
            group.members.retain(|member| *member != key);
            if group.members.is_empty() {
                self.groups.remove(&group_key);
            }
        }
    }

    /// The job is announced gone and its id is free (decision 21). What remains is its driver's
    /// `free`: the main loop's, or, once that is gone, whoever's gives the lock up.
    pub(super) fn vanish(&mut self, monitor: &Monitor, key: JobKey) {
        self.transition(monitor, key, Status::Null);
        let released = self.release(key);
        self.closing.extend(released);
        if let Some(job) = self.jobs.remove(&key) {
            self.ids.remove(&job.core.id);
            if self.main_gone {
                self.buried.push(job);
            } else {
                self.push_task(monitor, Task::Free(Box::new(job)));
            }
        }
    }

    /// Takes back what the job holds, if it still does. To be dropped without the lock.
    pub(super) fn release(&mut self, key: JobKey) -> Option<Released> {
        let held = self.jobs.get_mut(&key)?.held.take()?;
        Some(self.resources.release(key, held))
    }

    /// The jobs that hold the resource of this identity, oldest first: those that a drained section
    /// of it concerns (SEMANTICS.md §4.7).
    pub(super) fn jobs_on(&self, identity: &str) -> Vec<JobKey> {
        self.resources.jobs_on(identity)
    }

    /// The creator gives an unstarted job up (SEMANTICS.md §2.1). A job that a cancel already
    /// has in hand is left to it.
    pub(super) fn early_fail(&mut self, monitor: &Monitor, key: JobKey) {
        let Some(token) = self.job_mut(key).and_then(|job| job.stage.take_created()) else {
            return;
        };
        token.early_fail();
        self.leave_group(key);
        self.live -= 1;
        self.vanish(monitor, key);
        if self.live == 0 {
            self.wake_main(monitor);
        }
    }

    /// Takes one hold away. A job whose run ended meanwhile has dropped it itself (decision 40), and
    /// takes no new one.
    pub(super) fn let_go_of(&mut self, key: JobKey) {
        if let Some(job) = self.job_mut(key)
            && !job.ended
            && job.holds > 0
        {
            job.holds -= 1;
            super::verbs::let_go(job);
        }
    }

    /// Whether the job waits for its creator to start it.
    pub(super) fn is_created(&self, key: JobKey) -> bool {
        self.job(key)
            .is_some_and(|job| matches!(job.stage, Stage::Created(_)))
    }

    /// Starts a created job: its creation pause goes (SEMANTICS.md §2.2), its body may run, in the
    /// context that is returned. Nothing for a job that a cancel has in hand.
    pub(super) fn start(&mut self, monitor: &Monitor, key: JobKey) -> Option<Context> {
        let job = self.job_mut(key)?;
        let token = job.stage.take_created()?;
        job.stage = Stage::Queued(token.start());
        job.started = true;
        let context = job.context.clone();
        self.transition(monitor, key, Status::Running);
        Some(context)
    }
}

/// Whoever had a part in it has let go of the manager, so nobody waits for anything, and of jobs that are gone
/// nothing is left.
#[cfg(debug_assertions)]
impl Drop for State {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let nothing =
            |left: bool, what: &str| assert!(!left, "{OUR_MISTAKE}at the end there is left {what}");
        nothing(!self.answers.is_empty(), "an answer that nobody took");
        nothing(!self.sections.is_empty(), "a drained section");
        nothing(!self.buried.is_empty(), "a driver that nobody let go of");
        nothing(!self.closing.is_empty(), "a descriptor that nobody closed");
        nothing(self.watchers > 0, "somebody who waits");
        let waited_for = |task: &Task| task.ticket().is_some() || matches!(task, Task::Free(_));
        nothing(
            self.tasks.iter().any(waited_for),
            "a task that somebody waits for",
        );
        nothing(self.timers.has_a_body(), "the timer of a body (P21)");
        let member_of = |members: &Vec<JobKey>| {
            !members.is_empty() && members.iter().all(|key| self.jobs.contains_key(key))
        };
        nothing(
            !self.groups.values().all(|group| member_of(&group.members)),
            "a transaction without its members",
        );
        nothing(
            !self.ids.values().all(|key| self.jobs.contains_key(key)),
            "the id of a job that is gone",
        );
        let over = |job: &Job| job.status == Status::Concluded;
        nothing(
            self.live != self.jobs.values().filter(|job| !over(job)).count(),
            "a job that is counted and not there",
        );
        nothing(
            !self
                .resources
                .holders()
                .all(|key| self.jobs.contains_key(&key)),
            "a resource of a job that is gone",
        );
    }
}

/// The lock, the condition variables that go with it, and what everybody shares.
pub(super) struct Monitor {
    state: Mutex<State>,
    /// The main loop waits here.
    pub(super) main_wake: Condvar,
    /// Observers of status changes wait here.
    pub(super) watch: Condvar,
    pub(super) main_thread: thread::ThreadId,
    /// Where bodies run unless they are told otherwise.
    pub(super) context: Context,
    pub(super) clock: Clock,
    trace: Option<Arc<dyn TraceSink>>,
}

impl Monitor {
    pub(super) fn new(
        context: Context,
        clock: Clock,
        sharing: Sharing,
        trace: Option<Arc<dyn TraceSink>>,
    ) -> Monitor {
        Monitor {
            state: Mutex::first(State::new(sharing)),
            main_wake: Condvar::new(),
            watch: Condvar::new(),
            main_thread: thread::current_id(),
            context,
            clock,
            trace,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Whether the caller is the thread that made the main loop.
    pub(super) fn on_main_thread(&self) -> bool {
        thread::current_id() == self.main_thread
    }

    /// Records a status inside the section that changes it, and the event that belongs to it.
    fn record_status(&self, core: &JobCore, status: Status, event: Option<Event>) {
        let Some(sink) = &self.trace else {
            return;
        };
        let status = core.entry(TraceStep::Status(status));
        match event.filter(|_| core.kind.announces()) {
            None => sink.record(&status),
            Some(event) => {
                let event = core.entry(TraceStep::Event(event, core.event_detail(None)));
                sink.record_together(&[status, event]);
            }
        }
    }

    /// Records an event with the job's numbers at this moment (SEMANTICS.md §7.1), inside the
    /// section that makes it true.
    pub(super) fn announce(&self, core: &JobCore, event: Event, error: Option<&str>) {
        if let Some(sink) = self.trace.as_ref().filter(|_| core.kind.announces()) {
            sink.record(&core.entry(TraceStep::Event(event, core.event_detail(error))));
        }
    }

    /// Records `BLOCK_JOB_ERROR`, inside the section that makes it true.
    pub(super) fn announce_io_error(&self, core: &JobCore, action: ErrorAction, operation: &str) {
        if let Some(sink) = self.trace.as_ref().filter(|_| core.kind.announces()) {
            let detail = EventDetail {
                operation: Some(operation),
                ..core.event_detail(None)
            };
            sink.record(&core.entry(TraceStep::Event(Event::Error { action }, detail)));
        }
    }

    /// The calling thread may wait for `job`: it is neither the main loop, which makes jobs
    /// conclude, nor the job's own body.
    pub(super) fn may_wait(&self, state: &State, job: JobKey) -> Result<(), EngineError> {
        if self.on_main_thread() || state.job(job).is_some_and(Job::is_own_body) {
            Err(EngineError::WouldDeadlock)
        } else {
            Ok(())
        }
    }

    /// Waits until `done` answers; it is asked again after every change of a status or a decision. Not
    /// for threads that `job` needs.
    pub(super) fn wait_until<T>(
        &self,
        job: JobKey,
        mut done: impl FnMut(&State) -> Option<T>,
    ) -> Result<T, EngineError> {
        let mut guard = self.lock();
        self.may_wait(&guard, job)?;
        loop {
            if let Some(answer) = done(&guard) {
                return Ok(answer);
            }
            if guard.main_gone {
                return Err(EngineError::MainLoopGone);
            }
            guard.watchers += 1;
            guard = self.watch.wait(guard);
            guard.watchers -= 1;
        }
    }

    /// Calls a driver callback from the main loop: without the lock (P28), and marked, so that
    /// nobody takes the main loop for idle meanwhile and requests made inside wait their turn.
    pub(super) fn outside<'a, R>(
        &'a self,
        mut guard: MutexGuard<'a, State>,
        callback: impl FnOnce() -> R,
    ) -> (MutexGuard<'a, State>, R) {
        assert!(
            !std::mem::replace(&mut guard.in_callback, true),
            "{OUR_MISTAKE}a callback of the main loop inside another"
        );
        Monitor::unlock(guard);
        let result = callback();
        let mut guard = self.lock();
        guard.in_callback = false;
        (guard, result)
    }

    /// Gives the lock up, then closes what was given back and lets go of jobs that are gone.
    pub(super) fn unlock(mut guard: MutexGuard<'_, State>) {
        let closing = std::mem::take(&mut guard.closing);
        let buried = std::mem::take(&mut guard.buried);
        drop(guard);
        drop(closing);
        for job in buried {
            job.free();
        }
    }

    /// Hands `task` to the main loop and waits for its answer.
    pub(super) fn await_task(
        &self,
        mut guard: MutexGuard<'_, State>,
        make: impl FnOnce(Arc<Ticket>) -> Task,
    ) -> Result<(), EngineError> {
        if guard.main_gone {
            return Err(EngineError::MainLoopGone);
        }
        let ticket = Arc::new(Ticket::new(guard.fresh_key()));
        guard.push_task(self, make(Arc::clone(&ticket)));
        loop {
            if let Some(answer) = guard.answers.remove(&ticket.number) {
                return answer;
            }
            guard = ticket.answered.wait(guard);
        }
    }

    /// The present moment on the manager's clock.
    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }
}
