//! The main loop: completion work, one task after the other, on one thread.
//!
//! Tasks come from bodies (a run ended) and from verbs of other threads. A task is carried out to
//! its end before the next one begins, except for an abort that waits for a member's run: that one
//! steps aside and is taken up again by the member's exit. Nothing nests (decisions 22, 23).

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use super::drain::Section;
use super::error::EngineError;
use super::executor::Context;
use super::monitor::{Job, JobCore, JobKey, Monitor, State};
use super::timer::Sleeper;
use super::{drain, finalize, verbs};
use crate::sync::{Arc, Condvar, MutexGuard};

/// Something for the main loop to do.
pub(super) enum Task {
    /// The job's run ended.
    Exit(JobKey),
    /// A verb that another thread waits for, or that a callback of the main loop has posted.
    Verb(Arc<JobCore>, verbs::Request, Option<Arc<Ticket>>),
    /// A drained section begins.
    DrainBegin(u64, Arc<Ticket>),
    /// Something that a drained section waits for may have come.
    DrainLook(u64),
    /// A job is gone: the last its driver hears.
    Free(Box<Job>),
    /// A job that a drained section keeps quiet moves.
    Attach(u64, Arc<JobCore>, Context, Arc<Ticket>),
}

impl Task {
    /// Who waits for it to be carried out.
    pub(super) fn ticket(&self) -> Option<&Arc<Ticket>> {
        match self {
            Task::Verb(_, _, ticket) => ticket.as_ref(),
            Task::DrainBegin(_, ticket) | Task::Attach(_, _, _, ticket) => Some(ticket),
            Task::Exit(_) | Task::DrainLook(_) | Task::Free(_) => None,
        }
    }
}

/// A waiting thread's claim to an answer, which appears in [`State::answers`].
pub(super) struct Ticket {
    pub(super) number: u64,
    /// Waited on with the monitor's lock.
    pub(super) answered: Condvar,
}

impl Ticket {
    pub(super) fn new(number: u64) -> Ticket {
        Ticket {
            number,
            answered: Condvar::new(),
        }
    }
}

/// Carries out completion work on the thread that created the manager.
///
/// It stays on that thread (it is not `Send`). Dropping it abandons what is left: bodies are
/// cancelled by force so that their threads end, nothing is committed or aborted any more, and
/// whoever waits gets [`EngineError::MainLoopGone`]. The same when a panic unwinds through it, of a trace
/// sink or of [`run_until`](MainLoop::run_until)'s `done`; one of a driver does not
/// ([`driver`](crate::driver)).
pub struct MainLoop {
    monitor: Arc<Monitor>,
    bound_to_thread: PhantomData<Rc<()>>,
}

impl MainLoop {
    pub(super) fn new(monitor: Arc<Monitor>) -> MainLoop {
        MainLoop {
            monitor,
            bound_to_thread: PhantomData,
        }
    }

    /// Works until every job is concluded or gone and no task is left; sleeps in between.
    ///
    /// A job that is created and not started, or that waits for its user (`pending`, `paused`),
    /// keeps it waiting: the user is expected on another thread.
    pub fn run_until_idle(&mut self) {
        self.work(|state| state.live == 0);
    }

    /// Works until [`shutdown`](super::manager::Manager::shutdown) was called and no task is left.
    pub fn run(&mut self) {
        self.work(|state| state.shutdown);
    }

    /// Works until `done` says so; it is asked, without any lock held, at the beginning and after
    /// every task and status change. Returns whether `done` said so: false means that the manager
    /// was shut down.
    pub fn run_until(&mut self, mut done: impl FnMut() -> bool) -> bool {
        let monitor = Arc::clone(&self.monitor);
        let mut guard = monitor.lock();
        guard.main_watches = true;
        let answer = loop {
            let version = guard.version;
            Monitor::unlock(guard);
            let said_so = done();
            guard = monitor.lock();
            fire_due(&monitor, &mut guard);
            if said_so {
                break true;
            }
            if let Some(task) = guard.tasks.pop_front() {
                guard = execute(&monitor, guard, task);
            } else if guard.shutdown {
                break false;
            } else if guard.version == version {
                guard = idle(&monitor, guard);
            }
        };
        guard.main_watches = false;
        Monitor::unlock(guard);
        answer
    }

    /// Does what there is to do now, without waiting; returns how many tasks that were. Wakes
    /// sleepers whose time has come; virtual time stands still meanwhile.
    pub fn run_pending(&mut self) -> usize {
        let monitor = Arc::clone(&self.monitor);
        let mut guard = monitor.lock();
        let mut count = 0;
        fire_due(&monitor, &mut guard);
        while let Some(task) = guard.tasks.pop_front() {
            guard = execute(&monitor, guard, task);
            count += 1;
        }
        Monitor::unlock(guard);
        count
    }

    fn work(&mut self, done: impl Fn(&State) -> bool) {
        let monitor = Arc::clone(&self.monitor);
        let mut guard = monitor.lock();
        loop {
            fire_due(&monitor, &mut guard);
            if let Some(task) = guard.tasks.pop_front() {
                guard = execute(&monitor, guard, task);
            } else if done(&guard) {
                Monitor::unlock(guard);
                return;
            } else {
                guard = idle(&monitor, guard);
            }
        }
    }
}

impl fmt::Debug for MainLoop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MainLoop").finish_non_exhaustive()
    }
}

impl Drop for MainLoop {
    fn drop(&mut self) {
        let mut guard = self.monitor.lock();
        let state = &mut *guard;
        state.main_gone = true;
        for job in state.jobs.values_mut() {
            if job.started && !job.ended {
                job.force_cancel();
            }
        }
        let in_hand = state.in_hand.take();
        let tasks = std::mem::take(&mut state.tasks);
        let mut waiting: Vec<_> = in_hand.into_iter().collect();
        let mut left = Vec::new();
        for task in tasks {
            waiting.extend(task.ticket().map(Arc::clone));
            match task {
                Task::Free(job) => state.buried.push(*job),
                // It may be the last that knows its job.
                task => left.push(task),
            }
        }
        for ticket in waiting {
            state.answer(&ticket, Err(EngineError::MainLoopGone));
        }
        let beginning: Vec<_> = state
            .sections
            .values_mut()
            .filter_map(Section::take_beginning)
            .collect();
        for ticket in beginning {
            state.answer(&ticket, Err(EngineError::MainLoopGone));
        }
        if state.watchers > 0 {
            self.monitor.watch.notify_all();
        }
        Monitor::unlock(guard);
        drop(left);
    }
}

/// Fires the timers that have fallen due while there were tasks: a stream of requests must not keep
/// sleepers asleep. Virtual time moves only when nothing else does.
fn fire_due(monitor: &Monitor, state: &mut State) {
    if !monitor.clock.is_real() || state.earliest_timer().is_none() {
        return;
    }
    let now = monitor.now();
    while state.earliest_timer().is_some()
        && let Some(sleeper) = state.timers.take_due(now)
    {
        fire(monitor, state, sleeper);
    }
}

/// A timer that fires is an enter; a section's asks the main loop to look.
fn fire(monitor: &Monitor, state: &mut State, sleeper: Sleeper) {
    match sleeper {
        Sleeper::Body(job) => {
            if let Some(job) = state.job_mut(job) {
                job.enter();
            }
        }
        Sleeper::Section(number) => state.push_task(monitor, Task::DrainLook(number)),
    }
}

/// There is no task: fires a due timer, or waits for a task, a status change or a deadline.
fn idle<'a>(monitor: &'a Monitor, mut guard: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    if let Some(timer) = guard.earliest_timer() {
        let now = monitor.clock.jump_to(timer.deadline);
        if let Some(sleeper) = guard.timers.take_due(now) {
            fire(monitor, &mut guard, sleeper);
            return guard;
        }
        #[cfg(not(any(blockjob_loom, blockjob_shuttle)))]
        {
            guard.main_waits = true;
            let remaining = timer.deadline.saturating_sub(now);
            guard = monitor.main_wake.wait_timeout(guard, remaining);
            guard.main_waits = false;
            return guard;
        }
    }
    guard.main_waits = true;
    guard = monitor.main_wake.wait(guard);
    guard.main_waits = false;
    guard
}

/// Carries out one task to its end.
fn execute<'a>(
    monitor: &'a Arc<Monitor>,
    mut guard: MutexGuard<'a, State>,
    task: Task,
) -> MutexGuard<'a, State> {
    guard.in_hand = task.ticket().map(Arc::clone);
    let mut guard = carry_out(monitor, guard, task);
    guard.in_hand = None;
    guard
}

fn carry_out<'a>(
    monitor: &'a Arc<Monitor>,
    mut guard: MutexGuard<'a, State>,
    task: Task,
) -> MutexGuard<'a, State> {
    match task {
        Task::Exit(job) => finalize::exit(monitor, guard, job),
        Task::Verb(job, request, ticket) => {
            let answer;
            (guard, answer) = match verbs::judge(&guard, &job, request) {
                Ok(()) => verbs::carry_out(monitor, guard, &job, request),
                Err(refusal) => (guard, Err(refusal)),
            };
            // Nobody waits for what was posted: its refusal is silent.
            if let Some(ticket) = ticket {
                guard.answer(&ticket, answer);
            }
            // A job that is gone, and whose handle the callback that posted this had: its driver is let
            // go of without the lock (P28).
            if let Some(last) = Arc::into_inner(job) {
                Monitor::unlock(guard);
                drop(last);
                guard = monitor.lock();
            }
            guard
        }
        Task::DrainBegin(section, ticket) => {
            drain::carry_out_begin(monitor, guard, section, ticket)
        }
        Task::Free(job) => {
            (guard, ()) = monitor.outside(guard, || job.free());
            guard
        }
        Task::DrainLook(section) => drain::look(monitor, guard, section),
        Task::Attach(section, job, context, ticket) => {
            let answer;
            (guard, answer) = drain::carry_out_attach(monitor, guard, section, &job, &context);
            guard.answer(&ticket, answer);
            guard
        }
    }
}
