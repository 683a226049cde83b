//! Goal: a view hides what its page says, and nothing that it does not say.
//!
//! Method: the same short history through two views that differ in one thing, and the outputs that
//! the step relation offers through each.

#![allow(clippy::unwrap_used)]

use blockjob_model::accept::{Acceptor, JobKey, Rejection, Seen};
use blockjob_model::profile::REFERENCE;
use blockjob_model::state::{Group, JobSpec};
use blockjob_model::step::View;
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

/// QEMU before 3.0 sends no event when a status changes; who sees callbacks sees statuses all the same.
#[test]
fn a_profile_without_status_events_shows_no_status_over_qmp() {
    for profile in Profile::ALL {
        assert_eq!(View::QMP.shows_status(profile), profile.status_events);
        assert!(View::FULL.shows_status(profile));
    }
    assert!(Profile::ALL.iter().any(|profile| !profile.status_events));
}
