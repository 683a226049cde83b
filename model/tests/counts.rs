//! Goal: nobody changes what the step relation allows without seeing it.
//!
//! Method: through every view and for every profile whose rules differ, all worlds that some small
//! transactions come to by themselves and by a bounded number of requests are met, and what was found is
//! pinned: how many worlds and steps, and how many steps of each kind. Whether the numbers are right is for
//! the properties, the walks and the engine to say; that they changed is said here, in a file
//! (`snapshots/counts__*.snap`), whatever it was that changed them.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt::Write as _;

use blockjob_model::explore::Move;
use blockjob_model::profile::REFERENCE;
use blockjob_model::state::{Group, JobSpec, World};
use blockjob_model::step::View;
use blockjob_model::{Profile, Request};
use common::follow;

const VIEWS: [(&str, View); 5] = [
    ("full", View::FULL),
    ("weak", View::WEAK),
    ("trace", View::TRACE),
    (
        "ends and sleeps",
        View {
            ends: true,
            sleeps: true,
            io: false,
            ..View::FULL
        },
    ),
    ("qmp", View::QMP),
];

const REQUESTS: [Request; 16] = [
    Request::Pause,
    Request::Resume,
    Request::Cancel { force: false },
    Request::Cancel { force: true },
    Request::Complete,
    Request::Finalize,
    Request::Dismiss,
    Request::SET_SPEED,
    Request::Enter,
    Request::Change,
    Request::ResetIoStatus,
    Request::AttachContext,
    Request::Hold { token: 0 },
    Request::Release { token: 0 },
    Request::DrainBegin { token: 0 },
    Request::DrainEnd { token: 0 },
];

const MIRROR: JobSpec = JobSpec {
    can_complete: true,
    needs_finish: true,
    ..JobSpec::PLAIN
};

const MANUAL: JobSpec = JobSpec {
    auto_finalize: false,
    auto_dismiss: false,
    ..MIRROR
};

/// What was met.
#[derive(Default)]
struct Met {
    worlds: HashSet<World>,
    steps: BTreeMap<String, u64>,
}

/// The kind of a step, without whose and with what; of an answer, all of it.
fn kind(made: Move) -> String {
    match made {
        Move::Step(step) => {
            let text = format!("{step:?}");
            text.split(['(', ' ', '{']).next().unwrap_or("").to_owned()
        }
        Move::Ask(..) => unreachable!("nobody asks by himself"),
        Move::Answer(_, reply) => format!("{reply:?}"),
    }
}

/// Meets every world of a transaction, with at most so many requests, one at a time in each; posted ones have no
/// caller any more.
fn meet(profile: &Profile, view: View, specs: &[JobSpec], asked_max: u32, posted: bool) -> Met {
    let first = World::new(Group::CLOSED, specs.iter().copied());
    meet_from(first, profile, view, asked_max, posted)
}

/// The same of one transaction, of which something may be unknown.
fn meet_from(mut first: World, profile: &Profile, view: View, asked_max: u32, posted: bool) -> Met {
    for job in &mut first.jobs {
        job.starting = true;
    }
    let mut met = Met::default();
    let mut left = VecDeque::from([(first, 0)]);
    // Breadth first, so that each world comes first with the fewest requests that lead to it.
    let mut later = VecDeque::new();
    while let Some((world, asked)) = left.pop_front().or_else(|| {
        std::mem::swap(&mut left, &mut later);
        left.pop_front()
    }) {
        // More pieces of I/O at once would only multiply what there is to meet.
        if world.jobs.iter().any(|job| job.in_flight > 1) || !met.worlds.insert(world.clone()) {
            continue;
        }
        follow(&world, profile, view, &mut |made, next, output| {
            let shown = match output {
                Some(output) => format!("{} {output:?}", kind(made)),
                None => kind(made),
            };
            *met.steps.entry(shown).or_default() += 1;
            left.push_back((next, asked));
        });
        if world.calls.is_empty() && asked < asked_max {
            let worlds = common::asked(&world, &REQUESTS, posted);
            later.extend(worlds.map(|next| (next, asked + 1)));
        }
    }
    met
}

/// A line of what was met, with each kind of step or with a digest of all kinds.
fn line(out: &mut String, what: &str, met: &Met, each: bool) {
    let steps: u64 = met.steps.values().sum();
    let worlds = met.worlds.len();
    let mut kinds = String::new();
    for (kind, count) in &met.steps {
        writeln!(kinds, "  {count:>7} {kind}").unwrap();
    }
    if each {
        writeln!(out, "{what}: {worlds} worlds, {steps} steps\n{kinds}").unwrap();
    } else {
        let digest = digest(&kinds);
        writeln!(
            out,
            "{what}: {worlds} worlds, {steps} steps, kinds {digest:08x}"
        )
        .unwrap();
    }
}

/// FNV-1a, which is the same tomorrow.
fn digest(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |digest, byte| {
        (digest ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// Those whose rules differ.
fn profiles() -> Vec<&'static Profile> {
    let mut profiles: Vec<&'static Profile> = Vec::new();
    for profile in Profile::ALL {
        if !profiles.iter().any(|other| other.behaves_as(profile)) {
            profiles.push(profile);
        }
    }
    profiles
}

#[test]
fn of_one_job_with_one_request() {
    let mut out = String::new();
    for profile in profiles() {
        for (name, view) in VIEWS {
            for (kind, spec) in [("plain", JobSpec::PLAIN), ("manual mirror", MANUAL)] {
                let met = meet(profile, view, &[spec], 1, false);
                let what = format!("{}, {name}, {kind}", profile.name);
                line(&mut out, &what, &met, profile.name == REFERENCE.name);
            }
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn of_two_jobs_of_one_transaction() {
    let mut out = String::new();
    for ((name, view), asked_max) in [(VIEWS[0], 0), (VIEWS[4], 1)] {
        let met = meet(
            &REFERENCE,
            view,
            &[JobSpec::PLAIN, MANUAL],
            asked_max,
            false,
        );
        let what = format!("{name}, {asked_max} requests");
        line(&mut out, &what, &met, true);
    }
    insta::assert_snapshot!(out);
}

#[test]
fn of_one_job_with_one_posted_request() {
    let mut out = String::new();
    for (kind, spec) in [("plain", JobSpec::PLAIN), ("manual mirror", MANUAL)] {
        let met = meet(&REFERENCE, View::FULL, &[spec], 1, true);
        line(&mut out, kind, &met, true);
    }
    insta::assert_snapshot!(out);
}

/// An observer who was not told of every member, or not of everybody who asks, has to expect more.
#[test]
fn of_one_job_among_members_and_callers_unseen() {
    let mut out = String::new();
    for (open, others) in [(true, false), (false, true)] {
        for (name, view) in [VIEWS[0], VIEWS[4]] {
            for (kind, spec) in [("plain", JobSpec::PLAIN), ("manual mirror", MANUAL)] {
                let group = Group {
                    open,
                    others,
                    ..Group::CLOSED
                };
                let first = World::new(group, [spec]);
                let met = meet_from(first, &REFERENCE, view, 0, false);
                let unseen = if open { "members" } else { "callers" };
                line(&mut out, &format!("{unseen}, {name}, {kind}"), &met, true);
            }
        }
    }
    insta::assert_snapshot!(out);
}
