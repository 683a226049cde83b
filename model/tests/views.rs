//! Goal: a view hides what its page says, and nothing that it does not say.
//!
//! Method: the same short history through two views that differ in one thing, and the outputs that
//! the step relation offers through each.

#![allow(clippy::unwrap_used)]

use blockjob_model::accept::{Acceptor, JobKey, Rejection, Seen};
use blockjob_model::profile::{CancelCallback, REFERENCE};
use blockjob_model::state::{Body, Group, JobSpec, World};
use blockjob_model::step::{Kind, Kinds, Output, View, steps};
use blockjob_model::{Callback, Profile, Request, Status};

const CREATOR: u16 = 0;
const STARTER: u16 = 1;
const CONTROLLER: u16 = 2;

/// A job in its run, seen by the recorder of a test.
fn running(view: View) -> (Acceptor, JobKey) {
    let mut acceptor = Acceptor::new(&REFERENCE, view);
    let group = acceptor.group(Group::CLOSED);
    let job = acceptor.job(group, &[JobSpec::PLAIN], "job");
    acceptor.call(CREATOR, Some(job), Request::Create, false);
    acceptor
        .observe(job, Seen::Status(Status::Created))
        .unwrap();
    acceptor.answer(CREATOR, Ok(())).unwrap();
    acceptor.call(STARTER, Some(job), Request::Start, false);
    acceptor
        .observe(job, Seen::Status(Status::Running))
        .unwrap();
    acceptor.answer(STARTER, Ok(())).unwrap();
    acceptor.observe(job, Seen::Begin(Callback::Run)).unwrap();
    (acceptor, job)
}

/// A pause that was answered, then a pause point that does not pause.
fn missed_pause(view: View) -> Result<(), Rejection> {
    let (mut acceptor, job) = running(view);
    acceptor.call(CONTROLLER, Some(job), Request::Pause, false);
    acceptor.answer(CONTROLLER, Ok(())).unwrap();
    acceptor.observe(job, Seen::PointBegin).unwrap();
    acceptor.observe(job, Seen::PointEnd)
}

#[test]
fn a_pause_point_misses_an_answered_pause_under_weak_memory_alone() {
    assert!(missed_pause(View::FULL).is_err());
    assert!(missed_pause(View::WEAK).is_ok());
}

#[test]
fn a_trace_shows_no_pause_points() {
    for (view, shown) in [(View::WEAK, true), (View::TRACE, false)] {
        let (mut acceptor, job) = running(view);
        assert_eq!(acceptor.observe(job, Seen::PointBegin).is_ok(), shown);
    }
}

/// Who was not told of the end of a pause or of the end of a job is not expected to have seen it.
#[test]
fn a_profile_without_a_callback_shows_none() {
    let without = Profile {
        user_resume_callback: false,
        free_callback: false,
        ..REFERENCE
    };
    let seen = View::FULL.of(&without);
    assert!(!seen.resumes && !seen.frees);
    assert_eq!(View::FULL.of(&REFERENCE), View::FULL);
    assert_eq!(View::QMP.of(&REFERENCE), View::QMP);
}

#[test]
fn a_profile_without_a_callback_has_all_the_others() {
    let of = |adopt: fn(&mut Profile)| {
        let mut profile = REFERENCE;
        adopt(&mut profile);
        profile
    };
    let none: fn(&mut Profile) = |profile| profile.cancel_callback = CancelCallback::None;
    let without = [
        (Callback::Cancel, of(none)),
        (
            Callback::SetSpeed,
            of(|profile| profile.set_speed_callback = false),
        ),
        (
            Callback::Prepare,
            of(|profile| profile.prepare_callback = false),
        ),
        (
            Callback::UserResume,
            of(|profile| profile.user_resume_callback = false),
        ),
        (
            Callback::Drain,
            of(|profile| profile.drain_callback = false),
        ),
        (
            Callback::DrainedPoll,
            of(|profile| profile.drained_poll_callback = false),
        ),
        (
            Callback::AttachedContext,
            of(|profile| profile.attached_context_callback = false),
        ),
        (Callback::Free, of(|profile| profile.free_callback = false)),
    ];
    for callback in Callback::ALL {
        assert!(REFERENCE.has_callback(callback), "{callback}");
        for (missing, profile) in &without {
            let has = profile.has_callback(callback);
            assert_eq!(has, callback != *missing, "{callback} without {missing}");
        }
    }
    for told in [CancelCallback::Told, CancelCallback::Decides] {
        let profile = Profile {
            cancel_callback: told,
            ..REFERENCE
        };
        assert!(profile.has_callback(Callback::Cancel), "{told:?}");
    }
}

#[test]
fn so_many_pieces_of_io_and_no_more_are_told_apart() {
    for in_flight in [0, 1, View::IO_MAX - 1, View::IO_MAX] {
        let mut world = World::new(Group::CLOSED, [JobSpec::PLAIN]);
        let job = &mut world.jobs[0];
        (job.status, job.body, job.entered) = (Status::Running, Body::Moving, true);
        job.in_flight = in_flight;
        let (mut more, mut fewer) = (None, None);
        steps(
            &world,
            &REFERENCE,
            View::FULL,
            &mut |_, next, output| match output {
                Some(Output::IoBegin(0)) => more = Some(next.jobs[0].in_flight),
                Some(Output::IoEnd(0)) => fewer = Some(next.jobs[0].in_flight),
                _ => {}
            },
        );
        assert_eq!(more, in_flight.checked_add(1));
        assert_eq!(fewer, in_flight.checked_sub(1));
    }
}

#[test]
fn two_sets_of_kinds_are_one_with_what_is_in_either() {
    let [one, other, both] = [
        &[Kind::Ready][..],
        &[Kind::Error],
        &[Kind::Ready, Kind::Error],
    ]
    .map(|kinds| {
        let mut set = Kinds::NONE;
        for &kind in kinds {
            set.insert(kind);
        }
        set
    });
    assert_eq!(one.and(other), both);
    assert_eq!(both.and(other), both);
    assert_eq!(one.and(Kinds::NONE), one);
}

/// Whoever wrote a recording down left these out; nothing else is missing for that.
#[test]
fn a_view_hides_the_kinds_that_were_not_written_down() {
    let mut unseen = Kinds::NONE;
    unseen.insert(Kind::Status(Status::Waiting));
    unseen.insert(Kind::Terminal);
    for (hidden, waits) in [(unseen, false), (Kinds::NONE, true)] {
        let view = View {
            unseen: hidden,
            ..View::QMP
        };
        let mut acceptor = Acceptor::new(&REFERENCE, view);
        let group = acceptor.group(Group::CLOSED);
        let job = acceptor.job(group, &[JobSpec::PLAIN], "job");
        acceptor.start(job);
        let mut see = |status| acceptor.observe(job, Seen::Status(status));
        for status in [Status::Created, Status::Running] {
            see(status).unwrap();
        }
        assert_eq!(see(Status::Waiting).is_ok(), waits);
        see(Status::Pending).unwrap();
        assert_eq!(see(Status::Concluded).is_ok(), !waits);
        assert_eq!(see(Status::Null).is_ok(), !waits);
    }
}

/// QEMU before 3.0 sends no event when a status changes; who sees callbacks sees statuses all the same.
#[test]
fn a_profile_without_status_events_shows_no_status_over_qmp() {
    for profile in Profile::ALL {
        assert_eq!(View::QMP.shows_status(profile), profile.status_events);
        assert!(View::FULL.shows_status(profile));
    }
    assert!(Profile::ALL.iter().any(|profile| !profile.status_events));
}
