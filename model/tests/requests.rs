//! Goal: a request is judged by the job that it is asked of, and changes what it is about.
//!
//! Method: one moment of a world written down by hand, a request, and what becomes of it. Histories say the rest
//! (`acceptor.rs`, `profiles.rs`).

use blockjob_model::error_policy::IoStatus;
use blockjob_model::profile::{QEMU_10_0, REFERENCE};
use blockjob_model::request::{Effect, apply, apply_after_callback, apply_to_all, callback, judge};
use blockjob_model::state::{
    Body, Call, CallState, Group, Job, JobSpec, Outcome, Phase, Sight, World,
};
use blockjob_model::{Callback, Profile, Refusal, Request, Status};

const BY_FORCE: Request = Request::Cancel { force: true };

/// Two jobs of one transaction, of which the first is asked.
fn world(status: Status, body: Body) -> World {
    let mut world = World::new(Group::CLOSED, [JobSpec::PLAIN; 2]);
    for job in &mut world.jobs {
        (job.status, job.body) = (status, body);
        job.entered = body != Body::Unstarted;
    }
    world
}

fn created() -> World {
    world(Status::Created, Body::Unstarted)
}

fn judged(world: &World, request: Request) -> Effect {
    judge(world, 0, request, false, &REFERENCE)
}

fn under_way(member: u16, request: Request, state: CallState) -> Call {
    Call {
        thread: 0,
        member: Some(member),
        request,
        block: false,
        posted: false,
        state,
    }
}

#[test]
fn a_request_tells_the_driver_what_is_asked() {
    for (request, told) in [
        (BY_FORCE, Some(Callback::Cancel)),
        (Request::Complete, Some(Callback::Complete)),
        (Request::SET_SPEED, Some(Callback::SetSpeed)),
        (Request::Resume, Some(Callback::UserResume)),
        (Request::AttachContext, Some(Callback::AttachedContext)),
        (Request::Pause, None),
        (Request::Dismiss, None),
    ] {
        assert_eq!(callback(request, &REFERENCE), told, "{request}");
    }
    assert_eq!(callback(Request::AttachContext, &QEMU_10_0), None);
}

#[test]
fn a_job_is_created_once_and_not_into_a_transaction_that_was_brought_down() {
    let mut unborn = world(Status::Undefined, Body::Unstarted);
    assert_eq!(judged(&unborn, Request::Create), Effect::Apply);
    unborn.group.aborting = true;
    assert_eq!(judged(&unborn, Request::Create), Effect::NotNow);
    assert_eq!(judged(&created(), Request::Create), Effect::NotNow);
}

#[test]
fn a_command_for_block_jobs_finds_no_others() {
    for (is_block, command, found) in [
        (true, true, true),
        (true, false, true),
        (false, true, false),
        (false, false, true),
    ] {
        let mut world = world(Status::Running, Body::Moving);
        world.jobs[0].spec.block = is_block;
        let effect = judge(&world, 0, Request::Pause, command, &REFERENCE);
        let wanted = if found {
            Effect::Apply
        } else {
            Effect::Refuse(Refusal::NotFound)
        };
        assert_eq!(effect, wanted, "{is_block}, {command}");
    }
}

#[test]
fn a_start_is_for_a_job_that_is_created_and_in_nobodys_hands() {
    for request in [Request::Start, Request::EarlyFail] {
        assert_eq!(judged(&created(), request), Effect::Apply);
        let mut starting = created();
        starting.jobs[0].starting = true;
        assert_eq!(judged(&starting, request), Effect::NotNow);
        let running = world(Status::Running, Body::Moving);
        assert_eq!(judged(&running, request), Effect::NotNow);
        let mut falling = created();
        falling.group.aborting = true;
        assert_eq!(judged(&falling, request), Effect::NotNow);
    }
}

/// From the beginning of its callback to the end of its effect.
#[test]
fn a_cancel_has_a_job_in_hand_while_it_is_carried_out() {
    let forced = true;
    for (member, request, state, in_hand) in [
        (0, BY_FORCE, CallState::Issued, false),
        (0, BY_FORCE, CallState::Accepted { forced }, true),
        (0, BY_FORCE, CallState::InCallback { forced }, true),
        (0, BY_FORCE, CallState::Told { forced }, true),
        (0, BY_FORCE, CallState::InUserResume, true),
        (0, BY_FORCE, CallState::UserResumed, true),
        (0, BY_FORCE, CallState::Answered(Ok(())), false),
        (1, BY_FORCE, CallState::InCallback { forced }, false),
        (
            0,
            Request::SET_SPEED,
            CallState::InCallback { forced },
            false,
        ),
    ] {
        let mut world = created();
        world.calls.push(under_way(member, request, state.clone()));
        let wanted = if in_hand {
            Effect::NotNow
        } else {
            Effect::Apply
        };
        let judged = judged(&world, Request::Start);
        assert_eq!(judged, wanted, "{request} of {member}, {state:?}");
    }
}

#[test]
fn a_job_moves_while_a_section_keeps_it_quiet() {
    for (drained, body, moves) in [
        (1, Body::Parked, true),
        (0, Body::Parked, false),
        (1, Body::Moving, false),
        (0, Body::Moving, false),
    ] {
        let mut world = world(Status::Paused, body);
        (world.jobs[0].holds, world.jobs[0].drained) = (1, drained);
        let wanted = if moves {
            Effect::Callback {
                callback: Some(Callback::AttachedContext),
                forced: false,
            }
        } else {
            Effect::Refuse(Refusal::NotQuiet)
        };
        let judged = judged(&world, Request::AttachContext);
        assert_eq!(judged, wanted, "{drained}, {body:?}");
    }
}

#[test]
fn who_is_created_in_a_section_begins_held_by_it_and_quiet() {
    let mut world = world(Status::Undefined, Body::Unstarted);
    world.group.drained = 0b1010;
    (world.jobs[0].holds, world.jobs[0].drained) = (0b0001, 0);
    apply(&mut world, 0, Request::Create, &REFERENCE);
    let job = &world.jobs[0];
    assert_eq!(job.status, Status::Created);
    assert_eq!((job.holds, job.drained), (0b1011, 0b1010));
    assert_eq!(world.jobs[1].status, Status::Undefined);
}

#[test]
fn who_finalized_is_kept_where_a_failed_prepare_spares_him() {
    for (takes_all, kept) in [(true, None), (false, Some(1))] {
        let profile = Profile {
            prepare_failure_takes_all: takes_all,
            ..REFERENCE
        };
        let mut world = world(Status::Pending, Body::Ended);
        let state = apply(&mut world, 1, Request::Finalize, &profile);
        assert_eq!(state, CallState::Awaiting);
        assert_eq!(world.group.phase, Phase::Preparing);
        assert_eq!(world.group.trigger, kept);
    }
}

#[test]
fn a_change_of_speed_enters_who_may_sleep_for_the_old_one_and_nobody_who_waits() {
    for (body, may_sleep) in [
        (Body::Asleep, true),
        (Body::Moving, true),
        (Body::Yielded, false),
        (Body::Parked, false),
        (Body::Ended, false),
    ] {
        for (speed_wakes, hurries) in [(true, true), (true, false), (false, true)] {
            let profile = Profile {
                speed_wakes,
                ..REFERENCE
            };
            let mut world = world(Status::Running, body);
            let request = Request::SetSpeed {
                negative: false,
                hurries,
            };
            apply_after_callback(&mut world, 0, request, false, &profile);
            let woken = may_sleep && speed_wakes && hurries;
            assert_eq!(
                [0, 1].map(|member| world.jobs[member].woken),
                [woken, false],
                "{body:?}, {speed_wakes}, {hurries}"
            );
        }
    }
}

/// Held by tokens 0, 1 and 3, of which sections have found it quiet by 0 and 1.
fn held() -> World {
    let mut world = world(Status::Paused, Body::Parked);
    for job in &mut world.jobs {
        (job.holds, job.drained) = (0b1011, 0b0011);
    }
    world.group.drained = 0b0011;
    world
}

#[test]
fn a_token_releases_what_it_held_and_nothing_else() {
    let [left, had] = [(0b1001, 0b0001), (0b1011, 0b0011)];
    let holds = |world: &World| [0, 1].map(|at| (world.jobs[at].holds, world.jobs[at].drained));
    let token = 1;
    for request in [Request::Release { token }, Request::DrainEnd { token }] {
        let mut world = held();
        let state = apply(&mut world, 0, request, &REFERENCE);
        assert_eq!(state, CallState::Answered(Ok(())));
        assert_eq!(holds(&world), [left, had], "{request} of one");
        let mut world = held();
        let state = apply_to_all(&mut world, request);
        assert_eq!(state, CallState::Answered(Ok(())));
        assert_eq!(holds(&world), [left, left], "{request} of all");
        // A section is on the resources too, so that it holds newcomers; a hold is not.
        let drained = if request == (Request::DrainEnd { token }) {
            0b0001
        } else {
            0b0011
        };
        assert_eq!(world.group.drained, drained, "{request}");
    }
    for (request, state, drained) in [
        (
            Request::Hold { token: 2 },
            CallState::Answered(Ok(())),
            0b0011,
        ),
        (
            Request::DrainBegin { token: 2 },
            CallState::Awaiting,
            0b0111,
        ),
    ] {
        let mut world = held();
        assert_eq!(apply_to_all(&mut world, request), state);
        assert_eq!(holds(&world), [(0b1111, 0b0011); 2], "{request}");
        assert_eq!(world.group.drained, drained, "{request}");
    }
}

#[test]
fn a_query_shows_each_job_as_it_is_and_its_failure_once_that_is_known() {
    let sight = |change: &dyn Fn(&mut Job)| {
        let mut world = world(Status::Running, Body::Moving);
        change(&mut world.jobs[0]);
        let CallState::Looked(sights) = apply(&mut world, 0, Request::Query, &REFERENCE) else {
            panic!("a query takes a picture");
        };
        let [sight, other] = sights[..] else {
            panic!("of every job");
        };
        assert_eq!(other.status, Status::Running);
        sight
    };
    let plain = Sight {
        status: Status::Running,
        pause_wanted: false,
        io_failed: false,
        failed: false,
    };
    assert_eq!(sight(&|_| {}), plain);
    let paused = Sight {
        pause_wanted: true,
        ..plain
    };
    assert_eq!(sight(&|job| job.user_paused = true), paused);
    assert_eq!(sight(&|job| job.holds = 2), paused);
    let stopped = Sight {
        io_failed: true,
        ..plain
    };
    assert_eq!(sight(&|job| job.io_status = IoStatus::Failed), stopped);
    // Its run has failed, and the main loop has not taken that over.
    assert_eq!(sight(&|job| job.outcome = Outcome::Failure), plain);
    for (outcome, failed) in [
        (Outcome::Success, false),
        (Outcome::Failure, true),
        (Outcome::Cancelled, true),
    ] {
        let taken_over = sight(&|job| (job.status, job.outcome) = (Status::Aborting, outcome));
        assert_eq!(taken_over.failed, failed, "{outcome:?}");
    }
}
