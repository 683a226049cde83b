//! What a request does to a job: who is refused, with which answer, and what changes.
//!
//! The checks stand in QEMU's order, because the order decides which text the caller reads
//! (SEMANTICS.md §2, §12-33). A refusal changes nothing (P2).

use crate::error_policy::IoStatus;
use crate::profile::Profile;
use crate::state::{Body, Call, CallState, Cancel, Job, Outcome, Phase, Sight, World};
use crate::status::Status;
use crate::step::{begin_abort, force};
use crate::verb::{Refusal, Verb};
use crate::vocabulary::{Callback, Request};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is turned down.
    Refuse(Refusal),
    /// The main loop has this transaction in hand; later.
    NotNow,
    /// Its driver callback comes first, on the main loop.
    Callback {
        /// Which; `None` where drivers have none for it, and are told nothing.
        callback: Option<Callback>,
        /// For a cancel: the driver makes it a forced one.
        forced: bool,
    },
    /// It takes effect.
    Apply,
}

/// The driver callback a request involves, where drivers have one for it.
pub fn callback(request: Request, profile: &Profile) -> Option<Callback> {
    let callback = match request {
        Request::Cancel { .. } => Callback::Cancel,
        Request::Complete => Callback::Complete,
        Request::SetSpeed { .. } => Callback::SetSpeed,
        Request::Resume => Callback::UserResume,
        Request::AttachContext => Callback::AttachedContext,
        _ => return None,
    };
    profile.has_callback(callback).then_some(callback)
}

/// A complete request is turned down by the job itself (SEMANTICS.md §2.7).
fn cannot_complete(job: &Job, status: Status, profile: &Profile) -> bool {
    let held = job.pause_wanted() || status == Status::Standby;
    let early = !status.is_ready() && !status.is_completed();
    job.cancel != Cancel::No
        || !job.spec.can_complete
        || (held && !profile.standby_complete)
        // Without a table the driver looks for itself, and says it in the same words.
        || (early && !profile.verb_table)
}

/// The status that decides about verbs.
///
/// From the end of the run on, a job behaves as in `waiting`, whatever its status still says (18).
pub fn verb_status(job: &Job, profile: &Profile) -> Status {
    if profile.ended_is_waiting && job.body == Body::Ended && !job.status.is_completed() {
        Status::Waiting
    } else {
        job.status
    }
}

/// Decides what becomes of `request` for one member, in this moment.
pub fn judge(
    world: &World,
    member: usize,
    request: Request,
    block: bool,
    profile: &Profile,
) -> Effect {
    let job = &world.jobs[member];
    let gone = matches!(job.status, Status::Undefined | Status::Null);
    if request == Request::Create {
        return if job.status == Status::Undefined && !world.group.aborting {
            Effect::Apply
        } else {
            Effect::NotNow
        };
    }
    if gone && matches!(request, Request::Enter | Request::DrainEnd { .. }) {
        // Nobody is there to be entered or let go.
        return Effect::Apply;
    }
    if gone && is_creators(request) {
        return Effect::NotNow;
    }
    // What has no id is found by no command; QEMU asserts it (§2.1).
    let by_id = matches!(
        request,
        Request::Complete | Request::Finalize | Request::Dismiss
    );
    if gone || (block && !job.spec.block) || (by_id && job.spec.internal) {
        return Effect::Refuse(Refusal::NotFound);
    }
    let status = verb_status(job, profile);
    let check = |verb: Verb| {
        let permitted = profile.permits(verb, status);
        (!permitted).then_some(Effect::Refuse(Refusal::Verb { status, verb }))
    };
    let busy = || world.main_is_busy().then_some(Effect::NotNow);
    match request {
        Request::Create
        | Request::Query
        | Request::Release { .. }
        | Request::Hold { .. }
        | Request::DrainBegin { .. }
        | Request::DrainEnd { .. }
        | Request::Enter
        | Request::ResetIoStatus => Effect::Apply,
        Request::Start | Request::EarlyFail => {
            if job.status == Status::Created && !job.starting && !in_hand(world, member) {
                Effect::Apply
            } else {
                Effect::NotNow
            }
        }
        Request::Pause => check(Verb::Pause)
            .or(job
                .user_paused
                .then_some(Effect::Refuse(Refusal::AlreadyPaused))
                .filter(|_| !profile.pause_is_idempotent))
            .unwrap_or(Effect::Apply),
        Request::Resume => (!job.user_paused && !profile.pause_is_idempotent)
            .then_some(Effect::Refuse(Refusal::NotPaused))
            .or_else(|| check(Verb::Resume))
            .unwrap_or(Effect::Callback {
                callback: callback(request, profile),
                forced: false,
            }),
        Request::AttachContext => (job.drained == 0 || !job.is_quiet())
            .then_some(Effect::Refuse(Refusal::NotQuiet))
            .or_else(busy)
            .unwrap_or(Effect::Callback {
                callback: callback(request, profile),
                forced: false,
            }),
        Request::SetSpeed { negative, .. } => check(Verb::SetSpeed)
            .or(negative.then_some(Effect::Refuse(Refusal::NegativeSpeed)))
            .or_else(busy)
            .unwrap_or(Effect::Callback {
                callback: callback(request, profile),
                forced: false,
            }),
        Request::Change => check(Verb::Change).unwrap_or(Effect::Apply),
        Request::Cancel { force } => (!force && job.user_paused)
            .then_some(Effect::Refuse(Refusal::CurrentlyPaused))
            .or_else(|| check(Verb::Cancel))
            .or_else(busy)
            .unwrap_or(Effect::Callback {
                callback: callback(request, profile),
                // A10, decision 5: soft is soft only for a job that has converged. Where it can be
                // taken back, that is for the driver to find out.
                forced: if profile.cancel_is_revocable {
                    force && profile.force_abandons
                } else {
                    force || !(job.spec.can_complete && status.is_ready())
                },
            }),
        Request::Complete => check(Verb::Complete)
            .or(cannot_complete(job, status, profile)
                .then_some(Effect::Refuse(Refusal::CannotComplete)))
            .or_else(busy)
            .unwrap_or(if job.complete && profile.complete_is_latched {
                Effect::Apply
            } else {
                Effect::Callback {
                    callback: callback(request, profile),
                    forced: false,
                }
            }),
        Request::Finalize => check(Verb::Finalize).or_else(busy).unwrap_or(Effect::Apply),
        Request::Dismiss => check(Verb::Dismiss).or_else(busy).unwrap_or(Effect::Apply),
    }
}

/// The verb a request is to the verb table.
pub const fn verb(request: Request) -> Option<Verb> {
    Some(match request {
        Request::Pause => Verb::Pause,
        Request::Resume => Verb::Resume,
        Request::Cancel { .. } => Verb::Cancel,
        Request::Complete => Verb::Complete,
        Request::Finalize => Verb::Finalize,
        Request::Dismiss => Verb::Dismiss,
        Request::SetSpeed { .. } => Verb::SetSpeed,
        Request::Change => Verb::Change,
        _ => return None,
    })
}

/// Its creator's alone, who does it once, by giving up what he made: if a cancel was faster there is nothing
/// to do, and nothing is refused (P28).
pub const fn is_creators(request: Request) -> bool {
    matches!(request, Request::Start | Request::EarlyFail)
}

/// Whether [`judge`] can do anything but refuse or postpone a request in this status.
pub(crate) const fn may_pass(request: Request, status: Status) -> bool {
    match (verb(request), request) {
        (Some(verb), _) => verb.permitted_in(status),
        (None, Request::Create) => matches!(status, Status::Undefined),
        (None, Request::Start | Request::EarlyFail) => matches!(status, Status::Created),
        (None, _) => !matches!(status, Status::Undefined | Status::Null),
    }
}

/// [`apply`] changes the job that is asked, and nothing else.
pub(crate) const fn concerns_one(request: Request) -> bool {
    !matches!(request, Request::Finalize)
}

/// A cancel has an unstarted member in hand: from the beginning of its callback on, nobody else
/// starts it or gives it up (P28).
fn in_hand(world: &World, member: usize) -> bool {
    let cancels = |call: &Call| {
        matches!(call.request, Request::Cancel { .. })
            && matches!(
                call.state,
                CallState::Accepted { .. }
                    | CallState::InCallback { .. }
                    | CallState::Told { .. }
                    | CallState::InUserResume
                    | CallState::UserResumed
            )
            && call.member.map(usize::from) == Some(member)
    };
    world.group.aborting || world.calls.iter().any(cancels)
}

/// What the section that accepts a request changes before its driver callback begins.
pub fn accept(world: &mut World, member: usize, request: Request, profile: &Profile) {
    if request == Request::Resume {
        let job = &mut world.jobs[member];
        job.io_status = IoStatus::Ok;
        if profile.stop_during_resume_wins {
            // One step for both, so that a stop error during a resume wins (38, 39); the job stays
            // where it is until `user_resume` has returned.
            job.user_paused = false;
            job.resuming = true;
        }
    }
}

/// Carries out a request that was judged [`Effect::Apply`]; the call's next state.
pub fn apply(world: &mut World, member: usize, request: Request, profile: &Profile) -> CallState {
    let group = world.group;
    let job = &mut world.jobs[member];
    match request {
        Request::Create => {
            job.status = Status::Created;
            // Whoever is created on a drained resource begins held (35), and is quiet.
            job.holds |= group.drained;
            job.drained |= group.drained;
        }
        Request::Start => {
            job.starting = true;
            return CallState::Awaiting;
        }
        Request::EarlyFail | Request::Dismiss => job.status = Status::Null,
        Request::Pause => {
            job.user_paused = true;
            job.seen = false;
            if profile.pause_kicks {
                kick(job);
            }
        }
        Request::Enter => enter(job, profile),
        Request::ResetIoStatus => job.io_status = IoStatus::Ok,
        Request::Finalize => {
            if !group.aborting {
                world.group.phase = Phase::Preparing;
                if !profile.prepare_failure_takes_all {
                    world.group.trigger = Some(member as u8);
                }
            }
            return CallState::Awaiting;
        }
        Request::Query => return CallState::Looked(look(world)),
        Request::Hold { .. } | Request::Release { .. } | Request::DrainEnd { .. } => {
            hold(job, request);
        }
        Request::DrainBegin { .. } => {
            hold(job, request);
            return CallState::Awaiting;
        }
        Request::Cancel { .. }
        | Request::Complete
        | Request::Resume
        | Request::SetSpeed { .. }
        | Request::AttachContext
        | Request::Change => {}
    }
    CallState::Answered(Ok(()))
}

/// Carries out a request once its driver callback has returned; the call's next state.
pub fn apply_after_callback(
    world: &mut World,
    member: usize,
    request: Request,
    forced: bool,
    profile: &Profile,
) -> CallState {
    let aborting = world.group.aborting;
    let job = &mut world.jobs[member];
    match request {
        Request::Complete => {
            job.complete = true;
            enter(job, profile);
        }
        Request::Resume => {
            job.resuming = false;
            if !profile.stop_during_resume_wins {
                job.user_paused = false;
            }
            if profile.resume_cuts_sleep && !job.pause_wanted() {
                enter(job, profile);
            }
        }
        // It sleeps, or may be on its way to a sleep that the old limit made it reckon (11); a change
        // of speed ends nothing else, no pause in particular (P34).
        Request::SetSpeed { hurries: true, .. }
            if !matches!(job.body, Body::Yielded | Body::Parked) && profile.speed_wakes =>
        {
            enter(job, profile);
        }
        Request::Cancel { .. } => {
            let stops = forced || profile.cancel_is_revocable;
            if forced {
                force(job, Cancel::Force);
            } else if stops {
                force(job, Cancel::Revocable);
            } else if job.body != Body::Ended {
                // A soft cancel of a run that is over is for nobody (SEMANTICS.md §5.2).
                job.cancel = job.cancel.max(Cancel::Soft);
                enter(job, profile);
            }
            if stops && !job.started() {
                job.outcome = Outcome::Cancelled;
                job.starting = false;
            }
            let decided =
                !job.started() || (job.status.is_completed() && profile.waiting_cancel_aborts);
            if stops && decided && !aborting {
                // 4: cancelling a waiting member aborts the group.
                begin_abort(world, Some(member), profile);
                return CallState::Awaiting;
            }
        }
        _ => {}
    }
    CallState::Answered(Ok(()))
}

/// Carries out a request that concerns every member; the call's next state.
pub fn apply_to_all(world: &mut World, request: Request) -> CallState {
    if request == Request::Query {
        return CallState::Looked(look(world));
    }
    if request == Request::Start {
        // Together or not at all: a cancel that has a member in hand brings the others down too.
        if !(0..world.jobs.len()).any(|member| in_hand(world, member)) {
            for job in &mut world.jobs {
                job.starting |= job.status == Status::Created;
            }
        }
        return CallState::Awaiting;
    }
    for job in &mut world.jobs {
        hold(job, request);
    }
    match request {
        Request::DrainBegin { token } => {
            world.group.drained |= bit(token);
            CallState::Awaiting
        }
        Request::DrainEnd { token } => {
            world.group.drained &= !bit(token);
            CallState::Answered(Ok(()))
        }
        _ => CallState::Answered(Ok(())),
    }
}

/// The bit of a token in [`Job::holds`], [`Job::drained`] and [`Group::drained`](crate::state::Group).
pub(crate) const fn bit(token: u8) -> u8 {
    1 << (token % 8)
}

/// Somebody enters the body: what it sleeps in ends, or, where wakes are sticky, the next sleep (11).
pub(crate) const fn enter(job: &mut Job, profile: &Profile) {
    let sleeps = matches!(job.body, Body::Asleep | Body::Yielded);
    let busy = job.started() && !matches!(job.body, Body::Ended);
    if sleeps || (busy && profile.wakes_are_sticky) {
        job.woken = true;
    }
}

/// A pause enters a job that sleeps: what is left of its sleep is forgotten, whatever becomes of the
/// pause (§4.5).
const fn kick(job: &mut Job) {
    if matches!(job.body, Body::Asleep | Body::Yielded) {
        job.woken = true;
    }
}

/// The members a drained section is about.
fn drained_members(world: &World, member: Option<u16>) -> core::ops::Range<usize> {
    match member {
        Some(member) => usize::from(member)..usize::from(member) + 1,
        None => 0..world.jobs.len(),
    }
}

/// Whether a drained section need not wait any longer (§4.7).
pub fn is_quiet(world: &World, member: Option<u16>) -> bool {
    world.jobs[drained_members(world, member)]
        .iter()
        .all(Job::is_quiet)
}

/// The drained section has found its members quiet: they stay so until it ends (P19).
pub fn settle_drain(world: &mut World, member: Option<u16>, token: u8) {
    let members = drained_members(world, member);
    for job in &mut world.jobs[members] {
        job.drained |= job.holds & bit(token);
        if job.body == Body::AtPoint {
            // Quiet there is who has not looked at the requests since its start.
            job.may_pass = false;
        }
    }
}

/// `pause_all` and a drained section hold every job that can still pause, and the token releases
/// exactly those (12).
fn hold(job: &mut Job, request: Request) {
    match request {
        Request::Hold { token } | Request::DrainBegin { token } => {
            let pausable = Verb::Pause.permitted_in(job.status) && job.body != Body::Ended;
            if pausable {
                job.holds |= bit(token);
                job.seen = false;
                kick(job);
            }
        }
        Request::Release { token } | Request::DrainEnd { token } => {
            job.holds &= !bit(token);
            job.drained &= !bit(token);
        }
        _ => {}
    }
}

/// What a query shows of every member in this moment.
fn look(world: &World) -> Vec<Sight> {
    world
        .jobs
        .iter()
        .map(|job| Sight {
            status: job.status,
            pause_wanted: job.pause_wanted(),
            io_failed: !job.io_status.is_ok(),
            failed: job.status.is_completed()
                && matches!(job.outcome, Outcome::Failure | Outcome::Cancelled),
        })
        .collect()
}
