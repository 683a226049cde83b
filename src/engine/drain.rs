//! Drained sections: jobs kept quiet, for as long as somebody needs them so (SEMANTICS.md §4.7).
//!
//! ```text
//! begin { hold everybody concerned who can still pause } ── main loop: `drain` of those that run
//!   └▶ { is everybody quiet? } ── no: again when a body parks or ends
//!         │ yes
//!         └ main loop: `drained_poll` of those that run ── more to come: again a little later
//!               │ nothing more
//!               └▶ the section has begun ── … ── end { let go }
//! ```
//!
//! Rules:
//! 1. A section holds its jobs as `pause_all` does, so a pause point is what makes them quiet, and only
//!    a forced cancel ends a park before the section does (P19). Sections nest; each lets go of
//!    what it holds itself.
//! 2. Whoever is created while a section of every job, or of a resource that it holds, lasts begins held
//!    (decision 35).
//! 3. The main loop asks the drivers; whoever begins the section waits for it, so that it is begun
//!    on no thread that a job or the main loop needs.
//! 4. A job changes its context inside a section that holds it, and while it is quiet: one on its
//!    way out by a forced cancel is not.

use std::fmt;
use std::time::Duration;

use blockjob_model::Refusal;

use super::error::EngineError;
use super::executor::Context;
use super::handle::JobHandle;
use super::main_loop::{Task, Ticket};
use super::monitor::{Job, JobCore, JobKey, Monitor, State};
use super::stage::{Stage, infallible};
use super::timer::Sleeper;
use super::{body, verbs};
use crate::driver::Driver;
use crate::sync::{Arc, MutexGuard, catch_panic};

/// Whom a section concerns.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    /// Every job, also those to come.
    Every,
    /// The jobs that hold the resource of this identity, also those to come.
    On(String),
    /// One job.
    One(Arc<JobCore>),
}

impl Scope {
    fn concerns(&self, state: &State, key: JobKey) -> bool {
        match self {
            Scope::Every => true,
            Scope::On(identity) => state.resources.jobs_on(identity).contains(&key),
            Scope::One(core) => core.key == key,
        }
    }

    /// A job that is created while the section lasts may be concerned.
    fn is_open(&self) -> bool {
        !matches!(self, Scope::One(_))
    }
}

/// How long a driver that has more to come is left alone before it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// What the monitor knows of a section.
pub(super) struct Section {
    scope: Scope,
    /// Whom it holds.
    held: Vec<JobKey>,
    /// Whoever waits for it to begin.
    beginning: Option<Arc<Ticket>>,
    /// A look at it is among the main loop's tasks.
    look_due: bool,
}

/// Keeps jobs quiet until it is dropped: not started, parked in a pause, or their runs over. A job that
/// is cancelled by force meanwhile leaves its park and ends. Any thread.
#[must_use = "the jobs are let go when the section is dropped"]
pub struct DrainedSection {
    monitor: Arc<Monitor>,
    number: u64,
}

/// Begins a section and waits until everybody concerned is quiet.
pub(super) fn begin(monitor: &Arc<Monitor>, scope: Scope) -> Result<DrainedSection, EngineError> {
    let mut guard = monitor.lock();
    if monitor.on_main_thread() {
        return Err(EngineError::WouldDeadlock);
    }
    if let Scope::One(core) = &scope
        && guard.job(core.key).is_none()
    {
        return Err(verbs::refused(core, Refusal::NotFound));
    }
    let mut held = Vec::new();
    for (key, job) in &guard.jobs {
        if scope.concerns(&guard, *key) {
            if job.is_own_body() {
                return Err(EngineError::WouldDeadlock);
            }
            if verbs::can_be_held(job) {
                held.push(*key);
            }
        }
    }
    for key in &held {
        if let Some(job) = guard.job_mut(*key) {
            job.holds += 1;
            verbs::hold_back(job);
        }
    }
    let number = guard.fresh_key();
    guard.sections.insert(
        number,
        Section {
            scope,
            held,
            beginning: None,
            look_due: false,
        },
    );
    // From here on its end lets go of them, whatever comes.
    let section = DrainedSection {
        monitor: Arc::clone(monitor),
        number,
    };
    let answer = monitor.await_task(guard, |ticket| Task::DrainBegin(number, ticket));
    answer.map(|()| section)
}

/// Tells the drivers whose bodies run that they are waited for, then looks.
pub(super) fn carry_out_begin<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    number: u64,
    ticket: Arc<Ticket>,
) -> MutexGuard<'a, State> {
    for core in guard.running_in(number) {
        (guard, ()) = monitor.outside(guard, || infallible("drain", || core.driver.drain()));
    }
    if let Some(section) = guard.sections.get_mut(&number) {
        section.beginning = Some(ticket);
        section.look_due = true;
    }
    look(monitor, guard, number)
}

/// The section has begun if everybody is quiet and nobody has more to come.
pub(super) fn look<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    number: u64,
) -> MutexGuard<'a, State> {
    let Some(section) = guard.sections.get_mut(&number) else {
        return guard;
    };
    section.look_due = false;
    if section.beginning.is_none() || !guard.is_quiet(number) {
        return guard;
    }
    let mut more = false;
    for core in guard.running_in(number) {
        let polled;
        (guard, polled) = monitor.outside(guard, || catch_panic(|| core.driver.drained_poll()));
        // A driver that panics has nothing more to say.
        more |= polled.unwrap_or(false);
    }
    if more {
        let deadline = monitor.now().saturating_add(ASK_AGAIN);
        guard.timers.arm(deadline, Sleeper::Section(number));
    } else if guard.is_quiet(number)
        && let Some(section) = guard.sections.get_mut(&number)
        && let Some(ticket) = section.beginning.take()
    {
        guard.answer(&ticket, Ok(()));
    }
    guard
}

/// Moves a job that the section holds, and tells its driver.
pub(super) fn carry_out_attach<'a>(
    monitor: &'a Arc<Monitor>,
    mut guard: MutexGuard<'a, State>,
    number: u64,
    core: &Arc<JobCore>,
    context: &Context,
) -> (MutexGuard<'a, State>, Result<(), EngineError>) {
    let held = guard
        .sections
        .get(&number)
        .is_some_and(|section| section.held.contains(&core.key));
    let Some(job) = guard.job_mut(core.key) else {
        return (guard, Err(verbs::refused(core, Refusal::NotFound)));
    };
    if !held || job.ended || !job.is_quiet() {
        return (guard, Err(verbs::refused(core, Refusal::NotQuiet)));
    }
    let moved = job.context != *context;
    job.context = context.clone();
    let queued = moved && matches!(job.stage, Stage::Queued(_));
    (guard, ()) = monitor.outside(guard, || {
        infallible("attached_context", || {
            core.driver.attached_context(context);
        });
        if queued {
            body::spawn(monitor, core, context);
        }
    });
    (guard, Ok(()))
}

impl State {
    /// A job was created: the sections that concern it hold it as well.
    pub(super) fn hold_newcomer(&mut self, key: JobKey) {
        let concerned: Vec<u64> = self
            .sections
            .iter()
            .filter(|(_, section)| section.scope.is_open() && section.scope.concerns(self, key))
            .map(|(number, _)| *number)
            .collect();
        for number in concerned {
            if let Some(section) = self.sections.get_mut(&number)
                && let Some(job) = self.jobs.get_mut(&key)
            {
                section.held.push(key);
                job.holds += 1;
                verbs::hold_back(job);
            }
        }
    }

    /// A body parked or ended: sections that wait for it look again.
    pub(super) fn tell_sections(&mut self, monitor: &Monitor, key: JobKey) {
        let mut due = Vec::new();
        for (number, section) in &mut self.sections {
            if section.beginning.is_some() && !section.look_due && section.held.contains(&key) {
                section.look_due = true;
                due.push(*number);
            }
        }
        for number in due {
            self.push_task(monitor, Task::DrainLook(number));
        }
    }

    fn members(&self, number: u64) -> impl Iterator<Item = &Job> {
        let held = self.sections.get(&number).map(|section| &section.held);
        held.into_iter()
            .flatten()
            .filter_map(|key| self.jobs.get(key))
    }

    fn is_quiet(&self, number: u64) -> bool {
        self.members(number).all(Job::is_quiet)
    }

    /// Those held that have a body, newest first.
    fn running_in(&self, number: u64) -> Vec<Arc<JobCore>> {
        let mut running: Vec<_> = self
            .members(number)
            .filter(|job| job.started && !job.ended)
            .map(|job| Arc::clone(&job.core))
            .collect();
        running.reverse();
        running
    }
}

impl Section {
    /// The main loop is gone: whoever waits for the section to begin does so in vain.
    pub(super) fn take_beginning(&mut self) -> Option<Arc<Ticket>> {
        self.beginning.take()
    }
}

impl DrainedSection {
    /// The ids of the jobs it holds and that are still there, oldest first.
    pub fn ids(&self) -> Vec<String> {
        let guard = self.monitor.lock();
        guard
            .members(self.number)
            .map(|job| job.core.id.clone())
            .collect()
    }

    /// Moves `job` to `context` and tells its driver ([`Driver::attached_context`], on the main loop).
    /// A job without a body moves entirely; a body that has a thread keeps it to its end. The driver is
    /// told also where the job is there already.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotQuiet`] for a job that this section does not hold, whose run is over, or that was
    /// cancelled by force and is on its way out; [`EngineError::WouldDeadlock`] on the main loop's
    /// thread, [`EngineError::MainLoopGone`].
    pub fn attach_context(&self, job: &JobHandle, context: &Context) -> Result<(), EngineError> {
        if self.monitor.on_main_thread() {
            return Err(EngineError::WouldDeadlock);
        }
        let guard = self.monitor.lock();
        self.monitor.await_task(guard, |ticket| {
            let core = Arc::clone(job.core());
            Task::Attach(self.number, core, context.clone(), ticket)
        })
    }

    /// Ends the section. The same as dropping it, to be read.
    pub fn end(self) {}
}

impl Drop for DrainedSection {
    fn drop(&mut self) {
        let mut guard = self.monitor.lock();
        let section = guard.sections.remove(&self.number);
        for key in section.iter().flat_map(|section| &section.held) {
            guard.let_go_of(*key);
        }
        // Only then: it may be the last that knows a job, whose driver goes with it (P28).
        drop(guard);
        drop(section);
    }
}

impl fmt::Debug for DrainedSection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DrainedSection")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
