//! The verbs: what users ask of a job.
//!
//! | verb | where it is carried out |
//! |---|---|
//! | pause | one critical section of the caller |
//! | resume, cancel, complete, finalize, set-speed | the main loop: they have a driver callback or completion work |
//! | dismiss | the main loop's turn: the caller's own section, unless the main loop is in the middle of a task |
//!
//! A refusal is decided in the caller's first section, changes nothing (P2), and needs no main loop.
//! What is accepted there is judged once more when the main loop takes it up. Inside a callback of
//! the main loop what it carries out is *posted*: accepted, and a task of its own later; one section
//! verbs happen at once there too. Nothing nests (decisions 22, 23). The order of the
//! checks is QEMU's, because it decides which text the caller reads (decision 33). What was read
//! before a driver callback is read again after it (P28).

use blockjob_model::{IoStatus, Refusal, Status, Verb};

use super::error::EngineError;
use super::finalize;
use super::main_loop::Task;
use super::monitor::{CancelLevel, Job, JobCore, JobKey, Monitor, Parked, State};
use super::rate;
use super::stage::{Failing, Stage, infallible};
use crate::sync::{Arc, MutexGuard};

/// A verb that the main loop carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Resume,
    Cancel { force: bool },
    Complete,
    Finalize,
    Dismiss,
    SetSpeed { bytes_per_s: i64 },
}

type Answer = Result<(), EngineError>;

/// What became of a request that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It was carried out.
    Done,
    /// It was made inside a callback of the main loop, which carries it out when it comes to it: if
    /// the job then still accepts it.
    Posted,
}

pub(super) fn refused(core: &JobCore, refusal: Refusal) -> EngineError {
    EngineError::Refused {
        id: core.id.clone(),
        refusal,
    }
}

fn find<'a>(state: &'a mut State, core: &JobCore) -> Result<&'a mut Job, EngineError> {
    state
        .jobs
        .get_mut(&core.key)
        .ok_or_else(|| refused(core, Refusal::NotFound))
}

/// The user's pause: one section (SEMANTICS.md §2.4).
pub(super) fn pause(monitor: &Monitor, core: &JobCore) -> Answer {
    let mut guard = monitor.lock();
    let job = find(&mut guard, core)?;
    job.permits(Verb::Pause)
        .and(if job.user_paused {
            Err(Refusal::AlreadyPaused)
        } else {
            Ok(())
        })
        .map_err(|refusal| refused(core, refusal))?;
    job.user_paused = true;
    hold_back(job);
    Ok(())
}

/// The end of the user's pause, and of the stop error that shares its slot, in one section; then
/// `user_resume`; then the job goes on. Until then it stays where it is. A pause or a stop error
/// that comes meanwhile is a new one and wins (decisions 38, 39).
fn resume<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    core: &JobCore,
) -> MutexGuard<'a, State> {
    let Some(job) = guard.job_mut(core.key) else {
        return guard;
    };
    job.user_paused = false;
    job.io_status = IoStatus::Ok;
    job.resuming = true;
    (guard, ()) = monitor.outside(guard, || {
        infallible("user_resume", || core.driver.user_resume());
    });
    if let Some(job) = guard.job_mut(core.key) {
        job.resuming = false;
        let_go(job);
    }
    guard
}

/// A forced cancel is about to take the user's pause away: the driver is told first, once for this
/// pause. It is still there when this returns, so that nobody can resume it a second time, unless
/// the run has ended meanwhile (decision 40).
pub(super) fn end_user_pause<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    core: &JobCore,
) -> MutexGuard<'a, State> {
    if guard.job(core.key).is_some_and(|job| job.user_paused) {
        (guard, ()) = monitor.outside(guard, || {
            infallible("user_resume", || core.driver.user_resume());
        });
    }
    guard
}

/// A pause was added: the body learns it, also if it sleeps, and then what is left of its sleep is
/// forgotten, whatever becomes of the pause (SEMANTICS.md §4.5, since 6.0).
pub(super) fn hold_back(job: &mut Job) {
    job.publish();
    if matches!(job.parked, Parked::Sleeping(_) | Parked::Waiting) {
        job.enter();
    }
}

/// A pause was taken away: the last one lets the body go.
pub(super) fn let_go(job: &mut Job) {
    job.publish();
    if !job.should_pause() && job.parked == Parked::Paused {
        job.kick();
    }
}

/// Judges, and carries out on the main loop and waits, or refuses. Inside a callback of the main
/// loop nobody can wait for it: there the request is posted.
pub(super) fn request(
    monitor: &Monitor,
    core: &Arc<JobCore>,
    request: Request,
) -> Result<Accepted, EngineError> {
    let mut guard = monitor.lock();
    judge(&guard, core, request)?;
    if guard.main_gone && request != Request::Dismiss {
        return Err(EngineError::MainLoopGone);
    }
    let here = monitor.on_main_thread();
    if here && guard.in_callback {
        guard.push_task(monitor, Task::Verb(Arc::clone(core), request, None));
        return Ok(Accepted::Posted);
    }
    if here || (request == Request::Dismiss && !guard.in_callback) {
        let (guard, answer) = carry_out(monitor, guard, core, request);
        Monitor::unlock(guard);
        return answer.map(|()| Accepted::Done);
    }
    monitor
        .await_task(guard, |ticket| {
            Task::Verb(Arc::clone(core), request, Some(ticket))
        })
        .map(|()| Accepted::Done)
}

/// Whether the job accepts the request now.
pub(super) fn judge(state: &State, core: &JobCore, request: Request) -> Answer {
    let Some(job) = state.job(core.key) else {
        return Err(refused(core, Refusal::NotFound));
    };
    match request {
        // What has no id is found by no command; QEMU asserts it (SEMANTICS.md §2.1).
        Request::Complete | Request::Finalize | Request::Dismiss if core.kind.internal => {
            Err(Refusal::NotFound)
        }
        Request::Cancel { force: false } if job.user_paused => Err(Refusal::CurrentlyPaused),
        Request::Resume if !job.user_paused => Err(Refusal::NotPaused),
        Request::Resume => job.permits(Verb::Resume),
        Request::Cancel { .. } => job.permits(Verb::Cancel),
        Request::Complete => job.permits(Verb::Complete).and(
            if job.cancel != CancelLevel::No || !core.can_complete {
                Err(Refusal::CannotComplete)
            } else {
                Ok(())
            },
        ),
        Request::Finalize => job.permits(Verb::Finalize),
        Request::Dismiss => job.permits(Verb::Dismiss),
        Request::SetSpeed { bytes_per_s } => job
            .permits(Verb::SetSpeed)
            .and(limit_of(bytes_per_s).map(drop)),
    }
    .map_err(|refusal| refused(core, refusal))
}

/// Carries out a request that was judged acceptable in this very section.
pub(super) fn carry_out<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    core: &Arc<JobCore>,
    request: Request,
) -> (MutexGuard<'a, State>, Answer) {
    match request {
        Request::Resume => (resume(monitor, guard, core), Ok(())),
        Request::Cancel { force } => (cancel(monitor, guard, core, force), Ok(())),
        Request::Complete => (complete(monitor, guard, core), Ok(())),
        Request::Finalize => {
            let Some(group) = guard.job(core.key).map(|job| job.group) else {
                return (guard, Ok(()));
            };
            let (guard, decision) = finalize::decide(monitor, guard, group);
            let answer = decision.map_err(|error| EngineError::PrepareFailed {
                id: core.id.clone(),
                error,
            });
            (guard, answer)
        }
        Request::Dismiss => {
            guard.vanish(monitor, core.key);
            (guard, Ok(()))
        }
        Request::SetSpeed { bytes_per_s } => match limit_of(bytes_per_s) {
            Ok(limit) => (set_speed(monitor, guard, core, limit), Ok(())),
            Err(refusal) => (guard, Err(refused(core, refusal))),
        },
    }
}

/// SEMANTICS.md §5.2. The level only rises; whether the request counts as forced is the driver's
/// word, except where there is no choice: forced by the user, not ready, or the run is over (A10,
/// decision 5).
fn cancel<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    core: &Arc<JobCore>,
    force: bool,
) -> MutexGuard<'a, State> {
    let key = core.key;
    let Some(job) = guard.job_mut(key) else {
        return guard;
    };
    let ready = job.is_ready();
    if let Some(token) = job.stage.take_created() {
        // From here on nobody can start the job or give it up.
        job.stage = Stage::Failing(Failing::Cancelled(token.cancel()));
    }
    let no_choice = force || !ready || !core.can_complete;
    let mut forced = true;
    (guard, ()) = monitor.outside(guard, || {
        infallible("cancel", || {
            forced = core.driver.cancel(force, ready) || no_choice;
        });
    });
    let Some(job) = guard.job_mut(key) else {
        return guard;
    };
    if !forced {
        // A request that found the job ready and finds its run over is what the job did anyway.
        if !job.ended && job.cancel == CancelLevel::No {
            job.cancel = CancelLevel::Soft;
            job.publish();
        }
        // Every request enters the body (SEMANTICS.md §5.2), not the first alone.
        job.enter();
        return guard;
    }
    let group = job.group;
    guard = end_user_pause(monitor, guard, core);
    let Some(job) = guard.job_mut(key) else {
        return guard;
    };
    job.force_cancel();
    if !job.started || job.status.is_completed() {
        finalize::begin_abort(monitor, guard, group, Some(key))
    } else if job.ended {
        finalize::exit(monitor, guard, key)
    } else {
        guard
    }
}

/// SEMANTICS.md §2.7; latched (decision 17).
fn complete<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    core: &JobCore,
) -> MutexGuard<'a, State> {
    let Some(job) = guard.job_mut(core.key) else {
        return guard;
    };
    if std::mem::replace(&mut job.complete_accepted, true) {
        return guard;
    }
    (guard, ()) = monitor.outside(guard, || infallible("complete", || core.driver.complete()));
    if let Some(job) = guard.job_mut(core.key) {
        job.complete_told = true;
        job.enter();
    }
    guard
}

/// The limit a request asks for; speeds are signed in QMP, and a negative one is refused.
pub(super) fn limit_of(bytes_per_s: i64) -> Result<u64, Refusal> {
    u64::try_from(bytes_per_s).map_err(|_| Refusal::NegativeSpeed)
}

/// SEMANTICS.md §9.1. Wakes a sleeper if the new limit is a reason to hurry.
fn set_speed<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    core: &JobCore,
    bytes_per_s: u64,
) -> MutexGuard<'a, State> {
    let old_bytes_per_s = core.speed_bytes_per_s.get();
    core.set_speed(monitor.now(), bytes_per_s);
    (guard, ()) = monitor.outside(guard, || {
        infallible("set_speed", || core.driver.set_speed(bytes_per_s));
    });
    if rate::hurries(old_bytes_per_s, bytes_per_s)
        && let Some(job) = guard.job_mut(core.key)
        && may_be_about_to_sleep(job)
    {
        job.enter();
    }
    guard
}

/// It sleeps, or is busy and may be on its way to a sleep that the old limit made it reckon:
/// decision 11. A change of speed ends nothing else, no pause in particular (P34).
fn may_be_about_to_sleep(job: &Job) -> bool {
    matches!(job.parked, Parked::Sleeping(_) | Parked::No)
}

/// It can still pause.
pub(super) fn can_be_held(job: &Job) -> bool {
    job.permits(Verb::Pause).is_ok()
}

/// Holds every job that can still pause; returns which (decision 12).
pub(super) fn pause_all(monitor: &Monitor) -> Vec<Arc<JobCore>> {
    let mut guard = monitor.lock();
    let mut held = Vec::new();
    for job in guard.jobs.values_mut() {
        if can_be_held(job) {
            job.holds += 1;
            hold_back(job);
            held.push(Arc::clone(&job.core));
        }
    }
    held
}

/// Releases what [`pause_all`] held.
pub(super) fn resume_all(monitor: &Monitor, held: &[Arc<JobCore>]) {
    let mut guard = monitor.lock();
    for core in held {
        guard.let_go_of(core.key);
    }
}

/// What the VM's `cont` does: the error is forgotten, and the job stays paused (SEMANTICS.md §8). P5
/// asks for a user's pause while an error is remembered, not the other way round.
pub(super) fn reset_io_status(monitor: &Monitor, core: &JobCore) -> Answer {
    find(&mut monitor.lock(), core)?.io_status = IoStatus::Ok;
    Ok(())
}

/// Enters the body, as a driver's own means to end its sleep (SEMANTICS.md §4.4).
pub(super) fn enter(monitor: &Monitor, key: JobKey) {
    if let Some(job) = monitor.lock().job_mut(key) {
        job.enter();
    }
}

/// The status now; `null` once the job is gone.
pub(super) fn status(monitor: &Monitor, key: JobKey) -> Status {
    monitor
        .lock()
        .job(key)
        .map_or(Status::Null, |job| job.status)
}
