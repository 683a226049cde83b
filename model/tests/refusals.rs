//! Goal: a property that refuses less than it did is seen, as one is that refuses more.
//!
//! Method: nothing that the relation allows breaks a property, so a search cannot tell a property that holds from
//! one that says nothing. Here every world and step of some small transactions is made wrong in one place: a field
//! of a job or of the transaction has another value, something else has happened before, was done, or was seen.
//! How many of the wrong ones each property refuses is pinned (`snapshots/refusals__*.snap`), by what was made
//! wrong; that each refuses some is asserted.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt::Write as _;

use blockjob_model::error_policy::IoStatus;
use blockjob_model::explore::Move;
use blockjob_model::profile::{Profile, QEMU_10_0, REFERENCE};
use blockjob_model::property::{
    ALL, Check, Edge, History, Place, Property, edge_keeps_all, world_keeps_all,
};
use blockjob_model::state::{
    Body, Call, CallState, Cancel, Group, Job, JobSpec, Outcome, PeerCancel, Phase, Tail, World,
};
use blockjob_model::step::{Changed, Output, Step, View};
use blockjob_model::vocabulary::ErrorAction;
use blockjob_model::{Callback, Event, Refusal, Request, Status};
use common::follow;

type State = (World, Vec<History>);

/// A change for the worse, by what it is of.
type Wrong<T> = (&'static str, Box<dyn Fn(&mut T)>);

const MIRROR: JobSpec = JobSpec {
    auto_finalize: false,
    auto_dismiss: false,
    can_complete: true,
    needs_finish: true,
    ..JobSpec::PLAIN
};

const REQUESTS: [Request; 9] = [
    Request::Pause,
    Request::Resume,
    Request::Cancel { force: false },
    Request::Cancel { force: true },
    Request::Complete,
    Request::SET_SPEED,
    Request::Finalize,
    Request::DrainBegin { token: 0 },
    Request::AttachContext,
];

/// Every value of every field of a job.
fn jobs() -> Vec<Wrong<Job>> {
    use Body::{
        Asleep, AtPoint, Ended, Moving, Parked, PauseDone, PauseIn, ResumeIn, Returned, Unparked,
        Unstarted, Yielded,
    };
    let mut all: Vec<Wrong<Job>> = Vec::new();
    macro_rules! each {
        ($($($field:ident).+ in $values:expr;)*) => {
            $(for value in $values {
                all.push((concat!($(stringify!($field), " ",)+), Box::new(move |job| job.$($field).+ = value)));
            })*
        };
    }
    each! {
        status in Status::ALL;
        body in [Unstarted, Moving, AtPoint, PauseIn, PauseDone, Parked, Unparked, ResumeIn, Asleep, Yielded, Returned, Ended];
        outcome in [Outcome::Open, Outcome::Success, Outcome::Failure, Outcome::Cancelled];
        tail in [Tail::None, Tail::Preparing, Tail::Prepared, Tail::Committing, Tail::Aborting, Tail::Decided,
                 Tail::Cleaning, Tail::Cleaned, Tail::Completing, Tail::Completed, Tail::Announced];
        cancel in [Cancel::No, Cancel::Soft, Cancel::Revocable, Cancel::Force];
        peer_cancel in [PeerCancel::No, PeerCancel::Due, PeerCancel::In, PeerCancel::Told];
        io_status in [IoStatus::Ok, IoStatus::Failed];
        entered in [false, true];
        user_paused in [false, true];
        stacked in [false, true];
        resuming in [false, true];
        woken in [false, true];
        complete in [false, true];
        holds in [0, 1, 2, 3];
        drained in [0, 1];
        in_flight in [0, 1];
        spec.block in [false, true];
        spec.completion in [false, true];
        spec.auto_dismiss in [false, true];
    }
    all
}

fn groups() -> Vec<Wrong<Group>> {
    use Phase::{Aborting, Announcing, Committing, Idle, Preparing};
    let mut all: Vec<Wrong<Group>> = Vec::new();
    for phase in [Idle, Announcing, Preparing, Committing, Aborting] {
        all.push(("phase", Box::new(move |group| group.phase = phase)));
    }
    all.push((
        "aborting",
        Box::new(|group| group.aborting = !group.aborting),
    ));
    let flip = |group: &mut Group| group.prepare_failed = !group.prepare_failed;
    all.push(("prepare failed", Box::new(flip)));
    all
}

/// One thing that has happened, or has not, and every place of a pause.
fn histories() -> Vec<Wrong<History>> {
    const PAUSING: u32 = History::BITS - 2;
    let mut all: Vec<Wrong<History>> = Vec::new();
    let flip = |bit: u32| {
        move |history: &mut History| {
            *history = History::from_bits(history.bits() ^ 1 << bit);
        }
    };
    all.extend((0..PAUSING).map(|bit| ("past", Box::new(flip(bit)) as Box<_>)));
    for place in 0..4 {
        let pausing = move |history: &mut History| {
            let rest = history.bits() & ((1 << PAUSING) - 1);
            *history = History::from_bits(rest | place << PAUSING);
        };
        all.push(("past", Box::new(pausing)));
    }
    all
}

/// Everything that could be seen of a member.
fn outputs(member: usize) -> Vec<Option<Output>> {
    let mut all = vec![
        None,
        Some(Output::PointBegin(member)),
        Some(Output::PointEnd(member)),
        Some(Output::IoBegin(member)),
        Some(Output::IoEnd(member)),
    ];
    all.extend(Status::ALL.map(|status| Some(Output::Status(member, status))));
    for callback in Callback::ALL {
        all.push(Some(Output::Begin(member, callback)));
        all.push(Some(Output::End(member, callback, true)));
        all.push(Some(Output::End(member, callback, false)));
    }
    for event in [
        Event::Ready,
        Event::Pending,
        Event::Completed { error: false },
        Event::Completed { error: true },
        Event::Cancelled,
        Event::Error {
            action: ErrorAction::Stop,
        },
    ] {
        all.push(Some(Output::Event(member, event)));
    }
    all
}

/// Everything that could have been done.
fn moves(world: &World) -> Vec<Move> {
    let mut all: Vec<Move> = (0..world.calls.len())
        .map(|call| Move::Step(Step::RequestEffect(call)))
        .collect();
    for request in REQUESTS {
        all.extend([
            Move::Ask(None, request),
            Move::Ask(Some(0), request),
            Move::Ask(Some(1), request),
        ]);
    }
    for token in 0..2 {
        all.push(Move::Ask(Some(0), Request::Release { token }));
        all.push(Move::Ask(None, Request::DrainEnd { token }));
    }
    all.push(Move::Answer(Request::Finalize, Ok(())));
    all.push(Move::Answer(Request::Finalize, Err(Refusal::PrepareFailed)));
    all
}

/// How many each property refuses of what was made wrong so, and how many there were.
#[derive(Default)]
struct Refused {
    by: BTreeMap<(usize, &'static str), u64>,
    wrong: BTreeMap<&'static str, u64>,
    /// By all at once, which the search asks first.
    at_once: BTreeMap<&'static str, u64>,
}

impl Refused {
    fn world(&mut self, what: &'static str, place: &Place<'_>) {
        *self.wrong.entry(what).or_default() += 1;
        *self.at_once.entry(what).or_default() += u64::from(!world_keeps_all(place));
        for (number, property) in ALL.iter().enumerate() {
            if let Check::World(holds) = property.check {
                *self.by.entry((number, what)).or_default() += u64::from(!holds(place));
            }
        }
    }

    fn edge(&mut self, what: &'static str, edge: &Edge<'_>) {
        *self.wrong.entry(what).or_default() += 1;
        *self.at_once.entry(what).or_default() += u64::from(!edge_keeps_all(edge));
        for (number, property) in ALL.iter().enumerate() {
            if let Check::Edge(holds) = property.check {
                *self.by.entry((number, what)).or_default() += u64::from(!holds(edge));
            }
        }
    }

    /// A line for each property: what was wrong in what it refused, and how often.
    fn text(&self) -> String {
        let mut out = String::new();
        let line = |counts: &mut dyn Iterator<Item = (&'static str, u64)>| {
            let counts = counts.filter(|(_, count)| *count > 0);
            let counts: Vec<String> = counts
                .map(|(what, count)| format!("{}: {count}", what.trim()))
                .collect();
            counts.join(", ")
        };
        writeln!(
            out,
            "wrong: {}",
            line(&mut self.wrong.iter().map(|(what, count)| (*what, *count)))
        )
        .unwrap();
        writeln!(
            out,
            "at once: {}",
            line(&mut self.at_once.iter().map(|(what, count)| (*what, *count)))
        )
        .unwrap();
        for (number, property) in ALL.iter().enumerate() {
            let own = self.by.iter().filter(|((of, _), _)| *of == number);
            let own = line(&mut own.map(|((_, what), count)| (*what, *count)));
            writeln!(out, "{} {}: {own}", property.id, property.name).unwrap();
        }
        out
    }
}

/// Makes every `every`-th world of a transaction and every `every`-th step wrong, in every way. Requests are made
/// while less than `asked_max` have been.
fn refused(profile: &Profile, specs: &[JobSpec], asked_max: u32, every: usize) -> Refused {
    let (jobs, groups, histories) = (jobs(), groups(), histories());
    let mut first = World::new(Group::CLOSED, specs.iter().copied());
    for job in &mut first.jobs {
        job.starting = true;
    }
    let past = vec![History::default(); specs.len()];
    let mut met: HashSet<State> = HashSet::new();
    let mut left: VecDeque<(State, u32)> = VecDeque::from([((first, past), 0)]);
    let mut refused = Refused::default();
    let mut edges = 0;
    while let Some((state, asked)) = left.pop_front() {
        if state.0.jobs.iter().any(|job| job.in_flight > 1) || !met.insert(state.clone()) {
            continue;
        }
        let (world, past) = &state;
        if met.len().is_multiple_of(every) {
            let place = Place {
                world,
                history: past,
                profile,
            };
            for member in 0..specs.len() {
                for (what, make) in &jobs {
                    let mut world = world.clone();
                    make(&mut world.jobs[member]);
                    refused.world(
                        what,
                        &Place {
                            world: &world,
                            ..place
                        },
                    );
                }
                for (what, make) in &histories {
                    let mut history = past.clone();
                    make(&mut history[member]);
                    refused.world(
                        what,
                        &Place {
                            history: &history,
                            ..place
                        },
                    );
                }
            }
            for (what, make) in &groups {
                let mut world = world.clone();
                make(&mut world.group);
                refused.world(
                    what,
                    &Place {
                        world: &world,
                        ..place
                    },
                );
            }
        }
        follow(world, profile, View::FULL, &mut |made, next, output| {
            let mut after = past.clone();
            if let Some(output) = output {
                after[output.member()].note(output);
            }
            edges += 1;
            if edges % every == 0 {
                let edge = Edge {
                    before: Place {
                        world,
                        history: past,
                        profile,
                    },
                    made,
                    output,
                    after: Place {
                        world: &next,
                        history: &after,
                        profile,
                    },
                    changed: Changed::Anything,
                };
                wrong_edges(&mut refused, &edge, &jobs, &groups, &histories);
            }
            left.push_back(((next, after), asked));
        });
        if world.calls.is_empty() && asked < asked_max {
            let worlds = common::asked(world, &REQUESTS, false);
            left.extend(worlds.map(|next| ((next, past.clone()), asked + 1)));
        }
    }
    refused
}

fn wrong_edges(
    refused: &mut Refused,
    edge: &Edge<'_>,
    jobs: &[Wrong<Job>],
    groups: &[Wrong<Group>],
    histories: &[Wrong<History>],
) {
    let (before, after) = (edge.before, edge.after);
    for member in 0..before.world.jobs.len() {
        for (what, make) in jobs {
            let mut world = before.world.clone();
            make(&mut world.jobs[member]);
            refused.edge(
                what,
                &Edge {
                    before: Place {
                        world: &world,
                        ..before
                    },
                    ..*edge
                },
            );
            let mut world = after.world.clone();
            make(&mut world.jobs[member]);
            refused.edge(
                what,
                &Edge {
                    after: Place {
                        world: &world,
                        ..after
                    },
                    ..*edge
                },
            );
        }
        for (what, make) in histories {
            let mut history = before.history.to_vec();
            make(&mut history[member]);
            refused.edge(
                what,
                &Edge {
                    before: Place {
                        history: &history,
                        ..before
                    },
                    ..*edge
                },
            );
        }
        for output in outputs(member) {
            refused.edge("seen", &Edge { output, ..*edge });
        }
    }
    for (what, make) in groups {
        let mut world = before.world.clone();
        make(&mut world.group);
        refused.edge(
            what,
            &Edge {
                before: Place {
                    world: &world,
                    ..before
                },
                ..*edge
            },
        );
        let mut world = after.world.clone();
        make(&mut world.group);
        refused.edge(
            what,
            &Edge {
                after: Place {
                    world: &world,
                    ..after
                },
                ..*edge
            },
        );
    }
    for made in moves(before.world) {
        refused.edge("done", &Edge { made, ..*edge });
    }
}

#[test]
fn of_one_job_with_one_request() {
    let mut out = String::new();
    for (profile, every) in [
        (&REFERENCE, 7),
        (Profile::ALL.last().unwrap_or(&&REFERENCE), 31),
    ] {
        for (kind, spec) in [("plain", JobSpec::PLAIN), ("manual mirror", MIRROR)] {
            let refused = refused(profile, &[spec], 1, every);
            writeln!(out, "{}, {kind}\n{}", profile.name, refused.text()).unwrap();
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn of_two_jobs_of_one_transaction() {
    let one = refused(&REFERENCE, &[JobSpec::PLAIN, MIRROR], 0, 199);
    insta::assert_snapshot!(one.text());
}

/// What requests are answered is the relation's own; nothing in a world says otherwise.
const OF_ANSWERS: [&str; 2] = ["P32", "P35"];

#[test]
fn each_property_refuses_something() {
    let mut some = refused(&REFERENCE, &[MIRROR], 1, 13).by;
    for (which, count) in refused(&REFERENCE, &[JobSpec::PLAIN, MIRROR], 0, 499).by {
        *some.entry(which).or_default() += count;
    }
    for (number, property) in ALL.iter().enumerate() {
        let refuses = some
            .iter()
            .any(|((of, _), count)| *of == number && *count > 0);
        let of_answers = OF_ANSWERS.contains(&property.id);
        assert_ne!(
            refuses, of_answers,
            "{}: {}",
            property.id, property.sentence
        );
    }
}

/// What would have to end a pause, for a step to be one of P3.
#[derive(Clone, Copy, Default)]
struct Owner {
    users: bool,
    token: Option<u8>,
}

/// Every step of the kinds that could take a pause away from the first member, and whose pause it may take.
fn endings() -> Vec<(Move, Option<Call>, Owner)> {
    let users = Owner {
        users: true,
        token: None,
    };
    let holder = |token| Owner {
        users: false,
        token: Some(token),
    };
    let resume = |member| Call {
        thread: 0,
        member: Some(member),
        request: Request::Resume,
        block: false,
        posted: false,
        state: CallState::Told { forced: false },
    };
    let set_down = Move::Step(Step::RequestEffect(0));
    let mut all = vec![
        (Move::Step(Step::Unpark(0)), None, Owner::default()),
        (
            Move::Answer(Request::Resume, Ok(())),
            None,
            Owner::default(),
        ),
        (Move::Ask(Some(0), Request::Pause), None, Owner::default()),
        (Move::Ask(Some(0), Request::Resume), None, users),
        (Move::Ask(None, Request::Resume), None, users),
        (Move::Ask(Some(1), Request::Resume), None, Owner::default()),
        (set_down, Some(resume(0)), users),
        (set_down, Some(resume(1)), Owner::default()),
    ];
    for token in [0, 1, 7] {
        for request in [Request::Release { token }, Request::DrainEnd { token }] {
            all.extend([
                (Move::Ask(Some(0), request), None, holder(token)),
                (Move::Ask(None, request), None, holder(token)),
                (Move::Ask(Some(1), request), None, Owner::default()),
            ]);
        }
    }
    all
}

#[test]
fn a_pause_is_lost_to_its_owner_to_a_forced_cancel_or_with_the_run() {
    let Some(Check::Edge(holds)) = Property::by_id("P3").map(|property| property.check) else {
        panic!("P3 is about steps");
    };
    let history = [History::default(); 2];
    let mut left = World::new(Group::CLOSED, [JobSpec::PLAIN; 2]);
    for job in &mut left.jobs {
        (job.status, job.body, job.entered) = (Status::Running, Body::Moving, true);
    }
    let endings = endings();
    let pauses = [false, true]
        .into_iter()
        .flat_map(|user| [0, 1, 2, 3, 0x81, 0xff].map(|held| (user, held)));
    for (had, has) in pauses
        .clone()
        .flat_map(|had| pauses.clone().map(move |has| (had, has)))
    {
        for (cancel, body) in [
            (Cancel::No, Body::Moving),
            (Cancel::Soft, Body::Moving),
            (Cancel::Revocable, Body::Moving),
            (Cancel::Force, Body::Moving),
            (Cancel::No, Body::Ended),
        ] {
            for (made, call, owner) in &endings {
                let (mut before, mut after) = (left.clone(), left.clone());
                (before.jobs[0].user_paused, before.jobs[0].holds) = had;
                (after.jobs[0].user_paused, after.jobs[0].holds) = has;
                (after.jobs[0].cancel, after.jobs[0].body) = (cancel, body);
                before.calls.extend(call.clone());
                let place = |world| Place {
                    world,
                    history: &history,
                    profile: &REFERENCE,
                };
                let edge = Edge {
                    before: place(&before),
                    made: *made,
                    output: None,
                    after: place(&after),
                    changed: Changed::Anything,
                };
                let owned = owner.token.map_or(0, |token| 1 << token);
                let others = (had.0 && !has.0 && !owner.users) || had.1 & !has.1 & !owned != 0;
                let over =
                    matches!(cancel, Cancel::Revocable | Cancel::Force) || body == Body::Ended;
                assert_eq!(
                    holds(&edge),
                    over || !others,
                    "{had:?} to {has:?} by {made:?} {call:?}, {cancel:?}, {body:?}"
                );
            }
        }
    }
}

/// Who knows in which member two worlds can differ says so, and the others are not looked at.
#[test]
fn a_step_is_judged_by_those_whom_it_may_have_changed() {
    let Some(Check::Edge(holds)) = Property::by_id("P6").map(|property| property.check) else {
        panic!("P6 is about steps");
    };
    let history = [History::default(); 3];
    let mut before = World::new(Group::CLOSED, [JobSpec::PLAIN; 3]);
    let after = before.clone();
    before.jobs[1].cancel = Cancel::Soft;
    let place = |world| Place {
        world,
        history: &history,
        profile: &REFERENCE,
    };
    for (changed, kept) in [
        (Changed::Anything, false),
        (Changed::Member(0), true),
        (Changed::Member(1), false),
        (Changed::Member(2), true),
        (Changed::Calls, true),
    ] {
        let edge = Edge {
            before: place(&before),
            made: Move::Step(Step::ReachPoint(1)),
            output: None,
            after: place(&after),
            changed,
        };
        assert_eq!(holds(&edge), kept, "{changed:?}");
    }
}

#[test]
fn whoever_still_obeys_after_his_run_breaks_the_rule_of_the_ended() {
    let Some(Check::World(holds)) = Property::by_id("D18").map(|property| property.check) else {
        panic!("D18 is about worlds");
    };
    let mut world = World::new(Group::CLOSED, [JobSpec::PLAIN]);
    let job = &mut world.jobs[0];
    (job.status, job.body, job.entered) = (Status::Running, Body::Ended, true);
    for ended_is_waiting in [false, true] {
        let profile = Profile {
            ended_is_waiting,
            ..REFERENCE
        };
        let place = Place {
            world: &world,
            history: &[History::default()],
            profile: &profile,
        };
        assert_eq!(holds(&place), ended_is_waiting);
    }
}

/// In QEMU an abort waits for who never started, and takes the newest first; else those come first.
#[test]
fn an_abort_takes_members_in_the_order_of_its_profile() {
    let Some(Check::Edge(holds)) = Property::by_id("P47").map(|property| property.check) else {
        panic!("P47 is about steps");
    };
    let member = |status, body| {
        let mut job = Job::new(JobSpec::PLAIN);
        (job.status, job.body) = (status, body);
        job
    };
    let started = member(Status::Aborting, Body::Ended);
    let unstarted = member(Status::Aborting, Body::Unstarted);
    let concluded = member(Status::Concluded, Body::Ended);
    for (jobs, reference, qemu) in [
        ([started, concluded], true, true),
        ([started, started], false, false),
        ([started, unstarted], false, false),
        ([unstarted, started], true, true),
        ([unstarted, concluded], true, true),
        ([unstarted, unstarted], false, true),
    ] {
        for (profile, kept) in [(&REFERENCE, reference), (&QEMU_10_0, qemu)] {
            let mut world = World::new(Group::CLOSED, []);
            world.jobs.extend(jobs);
            let place = Place {
                world: &world,
                history: &[History::default(); 2],
                profile,
            };
            let edge = Edge {
                before: place,
                made: Move::Step(Step::DecisionBegin(0)),
                output: Some(Output::Begin(0, Callback::Abort)),
                after: place,
                changed: Changed::Member(0),
            };
            assert_eq!(holds(&edge), kept, "{}: {jobs:?}", profile.name);
        }
    }
}

#[test]
fn a_prepare_that_fails_has_prepared_nothing() {
    let mut history = History::default();
    history.note(Output::Begin(0, Callback::Prepare));
    let begun = history;
    history.note(Output::End(0, Callback::Prepare, false));
    assert_eq!(history, begun);
    history.note(Output::End(0, Callback::Prepare, true));
    assert_ne!(history, begun);
}
