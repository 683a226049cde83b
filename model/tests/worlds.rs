//! Goal: from a given moment of an abort the main loop does what its rule says, and nothing else.
//!
//! Method: worlds written down by hand that take more members, or another profile, than the pinned counts have
//! (`counts.rs`), and the steps that the relation offers in each.

use blockjob_model::profile::{QEMU_10_0, REFERENCE};
use blockjob_model::state::{
    Body, Call, CallState, Cancel, Group, Job, JobSpec, Outcome, PeerCancel, Phase, Tail, World,
};
use blockjob_model::step::{Output, Step, View, steps};
use blockjob_model::{Callback, Profile, Request, Status};

use PeerCancel::{Due, In, No, Told};

const PLAIN: Job = Job::new(JobSpec::PLAIN);

/// A member whose run has ended, in an abort, cancelled by force as its peers were.
const BROUGHT_DOWN: Job = Job {
    status: Status::Waiting,
    body: Body::Ended,
    entered: true,
    outcome: Outcome::Success,
    cancel: Cancel::Force,
    ..PLAIN
};

/// A transaction that is being brought down.
fn aborting<const MEMBERS: usize>(jobs: [Job; MEMBERS]) -> World {
    World {
        jobs: jobs.to_vec(),
        group: Group {
            phase: Phase::Aborting,
            aborting: true,
            ..Group::CLOSED
        },
        calls: Vec::new(),
    }
}

/// The steps that are offered to who sees everything, and where they lead.
fn offered(world: &World, profile: &Profile) -> Vec<(Step, Option<Output>, World)> {
    let mut all = Vec::new();
    steps(world, profile, View::FULL, &mut |step, next, output| {
        all.push((step, output, next.into_world()));
    });
    all
}

fn names(world: &World, profile: &Profile) -> Vec<Step> {
    let all = offered(world, profile);
    all.into_iter().map(|(step, ..)| step).collect()
}

#[test]
fn peers_are_told_newest_first_and_one_is_through_before_the_next() {
    let peer = |peer_cancel| Job {
        cancel: Cancel::No,
        peer_cancel,
        ..BROUGHT_DOWN
    };
    for (owed, next) in [
        ([No, Due, Due], Step::PeerCancelBegin(2)),
        ([No, Due, In], Step::PeerCancelEnd(2)),
        ([No, In, Due], Step::PeerCancelEnd(1)),
        ([No, Due, Told], Step::PeerForced(2)),
        ([No, Due, No], Step::PeerCancelBegin(1)),
    ] {
        let world = aborting(owed.map(peer));
        assert_eq!(names(&world, &REFERENCE), [next], "{owed:?}");
    }
}

#[test]
fn members_are_taken_to_aborting_newest_first_or_in_any_order() {
    let world = aborting([BROUGHT_DOWN, BROUGHT_DOWN, PLAIN]);
    assert_eq!(names(&world, &REFERENCE), [Step::Turn(1)]);
    assert_eq!(names(&world, &QEMU_10_0), [Step::Turn(0), Step::Turn(1)]);
}

#[test]
fn who_never_started_ends_at_once_or_is_waited_for_for_ever() {
    let unstarted = Job {
        status: Status::Created,
        cancel: Cancel::Force,
        ..PLAIN
    };
    let failed = Job {
        outcome: Outcome::Failure,
        status: Status::Aborting,
        ..BROUGHT_DOWN
    };
    let ended = Job {
        outcome: Outcome::Cancelled,
        ..unstarted
    };
    assert_eq!(
        names(&aborting([failed, ended]), &REFERENCE),
        [Step::Turn(1)]
    );
    // It was not itself cancelled; nobody before it is finalised any more (1).
    assert_eq!(names(&aborting([failed, unstarted]), &QEMU_10_0), []);
    let behind = aborting([unstarted, failed]);
    assert_eq!(names(&behind, &QEMU_10_0), [Step::DecisionBegin(1)]);
}

/// A failure is its own, a success is overruled, unless cancels fold into no result (3).
#[test]
fn at_its_turn_a_member_has_failed_or_is_cancelled() {
    let unstarted = Job {
        status: Status::Created,
        cancel: Cancel::Force,
        ..PLAIN
    };
    let ended = |outcome| Job {
        outcome,
        ..BROUGHT_DOWN
    };
    for (job, folds, result) in [
        (ended(Outcome::Success), true, Outcome::Cancelled),
        (ended(Outcome::Success), false, Outcome::Success),
        (ended(Outcome::Failure), true, Outcome::Failure),
        (ended(Outcome::Failure), false, Outcome::Failure),
        (unstarted, true, Outcome::Cancelled),
        (unstarted, false, Outcome::Cancelled),
    ] {
        let profile = Profile {
            cancel_folds: folds,
            ..REFERENCE
        };
        let turns = offered(&aborting([job]), &profile);
        let [(Step::Turn(0), Some(output), next)] = &turns[..] else {
            panic!("{job:?}: {turns:?}");
        };
        assert_eq!(*output, Output::Status(0, Status::Aborting));
        assert_eq!(next.jobs[0].outcome, result, "{job:?}, {folds}");
    }
}

#[test]
fn whose_end_decided_is_spared_by_a_prepare_that_fails_in_qemu_alone() {
    let member = Job {
        status: Status::Pending,
        cancel: Cancel::No,
        ..BROUGHT_DOWN
    };
    let prepared = Job {
        tail: Tail::Prepared,
        ..member
    };
    let in_prepare = Job {
        tail: Tail::Preparing,
        ..member
    };
    for (profile, trigger, owed) in [
        (&REFERENCE, None, [No, Due]),
        (&QEMU_10_0, Some(0), [No, Due]),
        (&QEMU_10_0, Some(1), [Due, No]),
        (&QEMU_10_0, None, [No, Due]),
    ] {
        let mut world = aborting([in_prepare, prepared]);
        world.group = Group {
            phase: Phase::Preparing,
            trigger,
            ..Group::CLOSED
        };
        let ends = offered(&world, profile);
        let failed = ends
            .iter()
            .find(|(step, ..)| *step == Step::PrepareEnd(0, false));
        let Some((.., after)) = failed else {
            panic!("a prepare may fail: {ends:?}");
        };
        assert!(after.group.aborting && after.group.prepare_failed);
        assert_eq!(after.jobs[0].outcome, Outcome::Failure);
        let told = [0, 1].map(|at| after.jobs[at].peer_cancel);
        assert_eq!(told, owed, "{}, {trigger:?}", profile.name);
    }
    // It is not taken to aborting, and commits (2).
    let spared = offered(&aborting([BROUGHT_DOWN, prepared]), &QEMU_10_0);
    let commits = (
        Step::DecisionBegin(1),
        Some(Output::Begin(1, Callback::Commit)),
    );
    assert!(
        spared
            .iter()
            .any(|(step, output, _)| (*step, *output) == commits)
    );
    assert!(spared.iter().all(|(step, ..)| *step != Step::Turn(1)));
}

#[test]
fn a_transaction_is_over_when_every_member_is_final_or_never_was_and_nobody_asks() {
    let gone = Job {
        status: Status::Null,
        tail: Tail::Announced,
        ..BROUGHT_DOWN
    };
    let kept = Job {
        status: Status::Concluded,
        spec: JobSpec {
            auto_dismiss: false,
            ..JobSpec::PLAIN
        },
        ..gone
    };
    let dismisses_itself = Job {
        status: Status::Concluded,
        ..gone
    };
    for (job, over) in [
        (gone, true),
        (kept, true),
        (dismisses_itself, false),
        (BROUGHT_DOWN, false),
        (PLAIN, true),
    ] {
        let mut world = aborting([gone, job]);
        assert_eq!(world.is_over(), over, "{job:?}");
        // Somebody may still be created.
        world.group.aborting = false;
        let over = over && job.status != Status::Undefined;
        assert_eq!(world.is_over(), over, "{job:?}");
        world.calls.push(Call {
            thread: 0,
            member: None,
            request: Request::Query,
            block: false,
            posted: false,
            state: CallState::Issued,
        });
        assert!(!world.is_over());
    }
}

#[test]
fn block_jobs_with_an_id_have_events() {
    for (block, internal, announces) in [
        (true, false, true),
        (true, true, false),
        (false, false, false),
        (false, true, false),
    ] {
        let spec = JobSpec {
            block,
            internal,
            ..JobSpec::PLAIN
        };
        assert_eq!(spec.announces(), announces, "{block}, {internal}");
    }
}
