//! The end of jobs: exit, decision, commit and abort (SEMANTICS.md §6, §7). Main loop only.
//!
//! ```text
//! exit ── run succeeded ──▶ waiting ── all members wait ──▶ pending ──▶ decide (or the user's finalize)
//!   │                                                                    │
//!   │ run failed, or the job was cancelled                     prepare each, newest first
//!   ▼                                                            │ all good      │ one failed
//! aborting ──▶ begin_abort ◀──────────────────────────────────── │ ──────────────┘
//!                │ everybody else cancelled by force             ▼
//!                ▼                                        commit each, newest first
//!          pump_abort: newest first; unstarted members at once;
//!          steps aside while the member whose turn it is still runs
//! ```
//!
//! Rules:
//! 1. Every function gets the lock and gives it back; it is given up around driver callbacks only
//!    ([`Monitor::outside`]), and the member's token is on this stack meanwhile, so nobody else can
//!    take the member a step further.
//! 2. Only the main loop is here, one task at a time, so group state does not change while the
//!    lock is given up, except that runs end.
//! 3. Nothing is committed before every member is prepared (P12, P13); an abort is begun once
//!    (P14) and reaches every other member before any is finalised (P15).

use blockjob_model::{Callback, Event, Status};

use super::handle::Decision as Decided;
use super::monitor::{GroupKey, Job, JobCore, JobKey, Monitor, State};
use super::stage::{Cleaned, Failing, Prepared, Stage, infallible};
use super::verbs;
use crate::driver::{Driver, JobError};
use crate::sync::MutexGuard;

/// Takes over a run that ended. Harmless for a job that a cancel or an abort took over before.
pub(super) fn exit<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    key: JobKey,
) -> MutexGuard<'a, State> {
    let Some(job) = guard.job_mut(key) else {
        return guard;
    };
    let (group, forced) = (job.group, job.is_forced());
    let Some(ended) = job.stage.take_ended() else {
        return guard;
    };
    match ended.fold(forced) {
        Ok(waiting) => {
            job.stage = Stage::Waiting(waiting);
            guard.transition(monitor, key, Status::Waiting);
            announce_pending(monitor, guard, group)
        }
        Err(failing) => {
            job.error = Some(failing.error().clone());
            job.stage = Stage::Failing(failing);
            guard.transition(monitor, key, Status::Aborting);
            begin_abort(monitor, guard, group, Some(key))
        }
    }
}

/// Once every member waits: all to pending, newest first, and on if nobody finalizes by hand.
fn announce_pending<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    group: GroupKey,
) -> MutexGuard<'a, State> {
    let members = guard.members_newest_first(group);
    let all_wait = members.iter().all(|key| {
        guard
            .job(*key)
            .is_some_and(|job| matches!(job.stage, Stage::Waiting(_)))
    });
    if !all_wait {
        return guard;
    }
    let mut manual = false;
    for key in members {
        let Some(job) = guard.job_mut(key) else {
            continue;
        };
        if let Some(waiting) = job.stage.take_waiting() {
            job.stage = Stage::Pending(waiting.announce());
        }
        let by_hand = !job.core.auto_finalize;
        manual |= by_hand;
        let event = by_hand.then_some(Event::Pending);
        guard.transition_announced(monitor, key, Status::Pending, event);
    }
    if manual {
        guard
    } else {
        decide(monitor, guard, group).0
    }
}

/// Prepares every member and commits all, or aborts all. Every member is pending. The error is
/// that of the member whose prepare failed (decision 20).
pub(super) fn decide<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    group: GroupKey,
) -> (MutexGuard<'a, State>, Result<(), JobError>) {
    let members = guard.members_newest_first(group);
    for key in &members {
        let Some(job) = guard.job_mut(*key) else {
            continue;
        };
        let Some(pending) = job.stage.take_pending() else {
            continue;
        };
        let core = job.core.clone();
        let prepared;
        (guard, prepared) = monitor.outside(guard, || pending.prepare(&*core.driver));
        let Some(job) = guard.job_mut(*key) else {
            continue;
        };
        match prepared {
            Ok(prepared) => job.stage = Stage::Prepared(prepared),
            Err(failed) => {
                let error = failed.error().clone();
                job.error = Some(error.clone());
                job.stage = Stage::Failing(Failing::Failed(failed));
                return (begin_abort(monitor, guard, group, Some(*key)), Err(error));
            }
        }
    }
    // Cancels are tasks of this very loop, so none has come in meanwhile (decision 3).
    debug_assert!(
        members
            .iter()
            .all(|key| guard.job(*key).is_some_and(|job| !job.is_forced())),
        "a member was cancelled between its exit and the decision"
    );
    guard.settle(monitor, &members, Decided::Commit);
    for key in members {
        let Some(job) = guard.job_mut(key) else {
            continue;
        };
        if let Some(prepared) = job.stage.take_prepared() {
            guard = finish(monitor, guard, key, Decision::Commit(prepared));
        }
    }
    (guard, Ok(()))
}

/// Brings the group down. The first one to begin it owns the rest; later calls carry it on.
pub(super) fn begin_abort<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    group_key: GroupKey,
    initiator: Option<JobKey>,
) -> MutexGuard<'a, State> {
    let members = guard.members_newest_first(group_key);
    let Some(group) = guard.groups.get_mut(&group_key) else {
        return guard;
    };
    if group.aborting {
        return pump_abort(monitor, guard, group_key);
    }
    group.aborting = true;
    guard.settle(monitor, &members, Decided::Abort);
    let mut peers = Vec::new();
    for key in members {
        let Some(job) = guard.job_mut(key) else {
            continue;
        };
        if initiator == Some(key) {
            continue;
        }
        if let Some(token) = job.stage.take_created() {
            // It will never run: there is nothing to wait for (decision 1).
            job.stage = Stage::Failing(Failing::Cancelled(token.cancel()));
        }
        if job.started {
            peers.push(job.core.clone());
        } else {
            job.force_cancel();
        }
    }
    for core in peers {
        guard = cancel_peer(monitor, guard, &core);
    }
    pump_abort(monitor, guard, group_key)
}

/// Tells a started member that a peer brings it down, and that its user's pause is over; then both
/// are set down (SEMANTICS.md §5.2).
fn cancel_peer<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    core: &JobCore,
) -> MutexGuard<'a, State> {
    let ready = guard.job(core.key).is_some_and(Job::is_ready);
    (guard, ()) = monitor.outside(guard, || {
        infallible("cancel", || {
            core.driver.cancel(true, ready);
        });
    });
    guard = verbs::end_user_pause(monitor, guard, core);
    if let Some(job) = guard.job_mut(core.key) {
        job.force_cancel();
    }
    guard
}

/// Takes the abort as far as it goes: until no member is left or the one whose turn it is still
/// runs. That one's exit carries it on; the main loop does other work meanwhile and nothing waits
/// in a cycle (P44).
fn pump_abort<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    group: GroupKey,
) -> MutexGuard<'a, State> {
    loop {
        // Members start together, so either all of them were started or none was; where none
        // was, nothing is waited for (decision 1).
        let Some(key) = guard.members_newest_first(group).first().copied() else {
            return guard;
        };
        let Some(job) = guard.job_mut(key) else {
            return guard;
        };
        let failing = match job.stage.take() {
            Stage::Failing(failing) => failing,
            // Whoever else comes here was cancelled by force when the abort began.
            Stage::Ended(ended) => Failing::Cancelled(ended.cancel()),
            Stage::Waiting(waiting) => Failing::Cancelled(waiting.cancel()),
            Stage::Pending(pending) => Failing::Cancelled(pending.cancel()),
            Stage::Prepared(prepared) => Failing::Cancelled(prepared.cancel()),
            running => {
                job.stage = running;
                return guard;
            }
        };
        job.error = Some(failing.error().clone());
        guard.transition(monitor, key, Status::Aborting);
        guard = finish(monitor, guard, key, Decision::Abort(failing));
    }
}

/// What is to be done with a member at its turn.
enum Decision {
    Commit(Prepared),
    Abort(Failing),
}

impl Decision {
    fn carry_out(self, driver: &dyn Driver) -> Cleaned {
        match self {
            Decision::Commit(prepared) => prepared.commit(driver).clean(driver),
            Decision::Abort(failing) => failing.abort(driver).clean(driver),
        }
    }
}

/// The tail of one member: commit or abort, clean, completion function, terminal event, concluded,
/// and null where nobody dismisses it (SEMANTICS.md §3.2).
fn finish<'a>(
    monitor: &'a Monitor,
    mut guard: MutexGuard<'a, State>,
    key: JobKey,
    decision: Decision,
) -> MutexGuard<'a, State> {
    let Some(job) = guard.job_mut(key) else {
        return guard;
    };
    let core = job.core.clone();
    let completion = job.completion.take();
    let holds = job.held.is_some();
    let cleaned;
    (guard, cleaned) = monitor.outside(guard, || {
        let cleaned = decision.carry_out(&*core.driver);
        if holds {
            // Before the completion function, which may create the next job on them.
            let released = monitor.lock().release(key);
            drop(released);
        }
        if let Some(completion) = completion {
            infallible("completion", || {
                let outcome = cleaned.outcome();
                core.ledger
                    .call(Callback::Completion, || completion(outcome));
            });
        }
        cleaned
    });
    conclude(monitor, &mut guard, key, cleaned);
    guard
}

impl State {
    /// Whether these commit or abort is settled.
    fn settle(&mut self, monitor: &Monitor, members: &[JobKey], decision: Decided) {
        for key in members {
            if let Some(job) = self.job_mut(*key) {
                job.decision = Some(decision);
            }
        }
        self.tell_watchers(monitor);
    }
}

fn conclude(monitor: &Monitor, state: &mut State, key: JobKey, cleaned: Cleaned) {
    let Some(job) = state.job_mut(key) else {
        return;
    };
    let core = job.core.clone();
    let started = job.started;
    debug_assert_eq!(
        cleaned.is_cancelled(),
        job.is_forced(),
        "who ends as cancelled is who was cancelled by force"
    );
    let cancelled = cleaned.is_cancelled();
    let outcome = cleaned.conclude();
    job.stage = Stage::Over;
    if started {
        // The kind follows the cancel, the error stands beside it (P16, decision 6).
        if cancelled {
            monitor.announce(&core, Event::Cancelled, None);
        } else {
            let text = outcome.as_ref().err().map(JobError::text);
            let error = text.is_some();
            monitor.announce(&core, Event::Completed { error }, text.as_deref());
        }
    }
    // Set once: a token that can be concluded exists once.
    let _ = core.outcome.set(outcome);
    state.leave_group(key);
    state.live -= 1;
    state.transition(monitor, key, Status::Concluded);
    if core.auto_dismiss || !started {
        // Never-started jobs dismiss themselves (decision 28).
        state.vanish(monitor, key);
    }
}
