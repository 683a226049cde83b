//! Goal: what is shown of crowds holds for any number of jobs, and a mistake would show.
//!
//! Method: explore every crowd and pin what was found. Hold every step of the specification
//! against those of its crowd: every step for one, two and three jobs within the explorer's
//! bounds, and random walks for four to six. Take any rule away from the crowds and see the cover
//! torn. Make mistakes in the rules, and see the crowds find whatever the explorer finds with two
//! jobs, and what it cannot find with three.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use blockjob_model::crowd::{self, Crowd, Deed, Local, successors};
use blockjob_model::explore::{self, Bounds, Move, Options, PropertyReport, Scenario, moves};
use blockjob_model::profile::REFERENCE;
use blockjob_model::property::{Check, Edge, History, Place, Property};
use blockjob_model::state::{Body, Cancel, Group, Job, JobSpec, PeerCancel, Phase, Tail, World};
use blockjob_model::step::{Changed, Next, Output, Step};
use blockjob_model::{Callback, Event, Profile, Request, Status};

#[test]
fn the_reference_holds_for_any_number_of_jobs() {
    let report = crowd::run(&crowd::properties(), |_| {});
    assert_eq!(violated(&report.properties), [""; 0]);
    assert!(report.held());
    assert_eq!(report.properties.len(), 13);
    assert_eq!(
        (report.states, report.transitions, report.depth),
        (49_540, 61_282, 55)
    );
}

fn violated(properties: &[PropertyReport]) -> Vec<&'static str> {
    let broken = properties.iter().filter(|found| !found.held);
    broken.map(|property| property.id).collect()
}

// The cover.

/// What a crowd may do, and become by it.
type Steps = HashSet<(Option<Deed>, Crowd)>;

thread_local! {
    /// The steps of each crowd met on this thread.
    static KNOWN: RefCell<HashMap<Crowd, Steps>> = RefCell::default();
    /// The moves the crowds of this thread must do without.
    static WITHOUT: Cell<fn(Move) -> bool> = const { Cell::new(|_| false) };
}

/// A step of a world is a step of its crowd, in which the like is done to a member alike, or it is
/// nothing to the group.
fn covered(edge: &Edge<'_>) -> bool {
    let deed = Deed::of(edge.before.world, edge.before.history, edge.output);
    if deed.is_none() && alike(&edge.before, &edge.after) {
        return true;
    }
    let before = Crowd::of(edge.before.world, edge.before.history);
    let after = Crowd::of(edge.after.world, edge.after.history);
    if deed.is_none() && before == after {
        return true;
    }
    KNOWN.with_borrow_mut(|known| {
        let steps = known.entry(before).or_insert_with_key(|before| {
            let without = WITHOUT.get();
            let relation =
                |world: &World, acting, visit: &mut dyn FnMut(Move, Next<'_>, Option<Output>)| {
                    crowd::moves(world, acting, &mut |made, next, output| {
                        if !without(made) {
                            visit(made, next, output);
                        }
                    });
                };
            successors(before, &relation).into_iter().collect()
        });
        steps.contains(&(deed, after))
    })
}

/// Member by member, nothing differs that a group could tell, so the crowds are the same. Most steps
/// are like that.
fn alike(before: &Place<'_>, after: &Place<'_>) -> bool {
    let group = before.world.group;
    let local = |place: &Place<'_>, member: usize| {
        Local::of(&place.world.jobs[member], place.history[member], group)
    };
    group == after.world.group
        && (0..before.world.jobs.len()).all(|member| local(before, member) == local(after, member))
}

const COVER: Property = Property {
    id: "COVER",
    name: "crowds-cover-worlds",
    sentence: "Every step of a world is a step of its crowd, or nothing to it.",
    check: Check::Edge(covered),
};

fn explored(jobs: usize, properties: &[Property]) -> Options {
    let mut options = Options::new(&REFERENCE, jobs).expect("so many can be explored");
    options.properties = properties.to_vec();
    options.liveness.clear();
    options
}

/// Holds every step the explorer makes with so many jobs against the crowds.
fn cover(jobs: usize, scenarios: Vec<Scenario>) {
    // Every step in every world: nothing is taken from one world for another.
    let report = explore::run_over(&explored(jobs, &[COVER]), scenarios, &moves, &mut |_| {});
    assert!(report.held(), "{:#?}", report.properties[0]);
}

#[test]
fn crowds_cover_every_step_of_one_job() {
    cover(1, explore::scenarios(1, &REFERENCE));
}

#[test]
fn crowds_cover_every_step_of_two_jobs() {
    let mut scenarios = explore::scenarios(2, &REFERENCE);
    for scenario in &mut scenarios {
        // What a sleep or a drained section is to a crowd does not depend on how members are decided.
        let plain = scenario.specs == [JobSpec::PLAIN; 2];
        scenario.bounds.sleeps &= plain;
        scenario.bounds.drains &= plain;
    }
    cover(2, scenarios);
}

#[test]
fn crowds_cover_every_step_of_three_jobs() {
    let mut scenarios = explore::scenarios(3, &REFERENCE);
    for scenario in &mut scenarios {
        // To a crowd, `pause_all` is a pause of each; one and two jobs show that.
        scenario.bounds.tokens_max = 0;
    }
    cover(3, scenarios);
}

/// Random numbers good enough to walk by (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }

    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

fn random_spec(dice: &mut Dice) -> JobSpec {
    let can_complete = dice.chance(3);
    JobSpec {
        auto_finalize: !dice.chance(4),
        auto_dismiss: dice.chance(2),
        can_complete,
        needs_finish: can_complete && dice.chance(2),
        block: !dice.chance(4),
        internal: dice.chance(8),
        completion: dice.chance(2),
    }
}

const FINEST: Bounds = Bounds {
    io_max: 1,
    tokens_max: 1,
    points: true,
    late_reads: true,
    io_errors: true,
    set_speed: true,
    sleeps: true,
    drains: true,
    callback_edges: true,
};

/// Walks at random; whether the transaction came to its end.
fn walk(jobs: usize, dice: &mut Dice, seed: u64) -> bool {
    let specs: Vec<_> = (0..jobs).map(|_| random_spec(dice)).collect();
    let mut story = vec![format!("{specs:?}")];
    let mut world = World::new(Group::CLOSED, specs);
    let mut history = vec![History::default(); jobs];
    for _ in 0..600 {
        let mut ways = Vec::new();
        moves(&world, &REFERENCE, FINEST, &mut |made, next, output| {
            ways.push((made, next.into_world(), output));
        });
        // Every way out of every world on the way is held against the crowds, not only those taken.
        for (made, next, output) in &ways {
            let mut after = history.clone();
            if let Some(output) = *output {
                after[output.member()].note(output);
            }
            let place = |world, history| Place {
                world,
                history,
                profile: &REFERENCE,
            };
            let edge = Edge {
                before: place(&world, &history),
                made: *made,
                output: *output,
                after: place(next, &after),
                changed: Changed::Anything,
            };
            assert!(
                covered(&edge),
                "seed {seed}: no step of the crowd is {}, after\n{}",
                made.describe(*output),
                story.join("\n")
            );
        }
        // A transaction is put together first; then, mostly, things happen by themselves.
        let asked = |made: &Move| matches!(made, Move::Ask(..));
        let unborn = world.jobs.iter().any(|job| job.status == Status::Undefined);
        if unborn && !world.group.aborting && !dice.chance(20) {
            ways.retain(|(made, ..)| matches!(made, Move::Ask(_, Request::Create)));
        } else if !dice.chance(12) && ways.iter().any(|(made, ..)| !asked(made)) {
            ways.retain(|(made, ..)| !asked(made));
        }
        if ways.is_empty() {
            break;
        }
        let (made, next, output) = ways.swap_remove(dice.below(ways.len()));
        story.push(made.describe(output));
        if let Some(output) = output {
            history[output.member()].note(output);
        }
        world = next;
    }
    world.is_over()
}

fn walks(jobs: usize, number: u64) {
    let mut over = 0;
    for seed in 1..=number {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        over += u64::from(walk(jobs, &mut dice, seed));
    }
    let crowds = KNOWN.with_borrow(HashMap::len);
    println!("{jobs} jobs: {over} of {number} walks came to the end; {crowds} crowds");
    assert!(over > number / 2, "walks should come to their end: {over}");
}

#[test]
fn crowds_cover_random_walks_of_four_jobs() {
    walks(4, 1000);
}

#[test]
fn crowds_cover_random_walks_of_five_and_six_jobs() {
    walks(5, 300);
    walks(6, 300);
}

/// Plain jobs of which all are alike or the oldest is decided by hand, with as little beside the
/// group's own rules as there can be.
fn plainest(jobs: usize) -> Vec<Scenario> {
    let plain = JobSpec::PLAIN;
    let manual = JobSpec {
        auto_finalize: false,
        ..plain
    };
    [plain, manual]
        .map(|oldest| Scenario {
            name: format!("{jobs} plain jobs"),
            specs: [oldest].into_iter().chain(vec![plain; jobs - 1]).collect(),
            bounds: Bounds {
                io_max: 0,
                tokens_max: 0,
                points: false,
                late_reads: false,
                io_errors: false,
                set_speed: false,
                sleeps: false,
                drains: false,
                callback_edges: false,
            },
        })
        .into()
}

/// What becomes of these properties with so many plain jobs, nobody of whom is paused, where
/// `fault` has its way with every step and takes a step away by answering `false`.
fn explore_unpaused(jobs: usize, properties: &[Property], fault: Fault) -> Vec<PropertyReport> {
    let relation = |world: &World,
                    profile: &Profile,
                    bounds: Bounds,
                    visit: &mut dyn FnMut(Move, Next<'_>, Option<Output>)| {
        moves(world, profile, bounds, &mut |made, mut next, mut output| {
            let pauses = matches!(made, Move::Ask(_, Request::Pause));
            if !pauses && fault(world, made, &mut next, &mut output) {
                visit(made, next, output);
            }
        });
    };
    let options = explored(jobs, properties);
    let mut found = explore::run_over(&options, plainest(jobs), &relation, &mut |_| {}).properties;
    found.truncate(properties.len());
    found
}

fn plainest_is_covered_without(without: fn(Move) -> bool) -> bool {
    KNOWN.with_borrow_mut(HashMap::clear);
    WITHOUT.set(without);
    explore_unpaused(2, &[COVER], |_, _, _, _| true)[0].held
}

/// Each rule of the crowds is there because a world follows it.
#[test]
fn without_any_one_rule_the_crowds_do_not_cover_two_jobs() {
    macro_rules! rules {
        ($($rule:pat),* $(,)?) => {
            [$((stringify!($rule), (|made| matches!(made, $rule)) as fn(Move) -> bool)),*]
        };
    }
    assert!(plainest_is_covered_without(|_| false));
    for (name, rule) in rules![
        Move::Ask(_, Request::Create),
        Move::Ask(_, Request::EarlyFail),
        Move::Ask(_, Request::Cancel { .. }),
        Move::Ask(_, Request::Finalize),
        Move::Step(Step::Start(_)),
        Move::Step(Step::Exit(_)),
        Move::Step(Step::Announce(_)),
        Move::Step(Step::Announced),
        Move::Step(Step::PrepareBegin(_)),
        Move::Step(Step::PrepareEnd(_, true)),
        Move::Step(Step::PrepareEnd(_, false)),
        Move::Step(Step::Decide),
        Move::Step(Step::PeerCancelBegin(_)),
        Move::Step(Step::PeerCancelEnd(_)),
        Move::Step(Step::PeerForced(_)),
        Move::Step(Step::Turn(_)),
        Move::Step(Step::DecisionBegin(_)),
        Move::Step(Step::DecisionEnd(_)),
        Move::Step(Step::CleanBegin(_)),
        Move::Step(Step::CleanEnd(_)),
        Move::Step(Step::CompletionBegin(_)),
        Move::Step(Step::CompletionEnd(_)),
        Move::Step(Step::Terminal(_)),
        Move::Step(Step::Conclude(_)),
        Move::Step(Step::Close),
    ] {
        assert!(!plainest_is_covered_without(rule), "{name} is not needed");
    }
}

// Mistakes.

/// Has its way with a step, and takes it away by answering `false`.
type Fault = fn(&World, Move, &mut World, &mut Option<Output>) -> bool;

/// What the explorer finds broken with so many jobs, nobody of whom is paused.
fn found_with(jobs: usize, fault: Fault) -> Vec<PropertyReport> {
    explore_unpaused(jobs, &crowd::properties(), fault)
}

/// What of these is found broken among crowds.
fn found_with_any(fault: Fault, properties: &[Property]) -> Vec<PropertyReport> {
    let relation =
        |world: &World, acting, visit: &mut dyn FnMut(Move, Next<'_>, Option<Output>)| {
            crowd::moves(world, acting, &mut |made, mut next, mut output| {
                if fault(world, made, &mut next, &mut output) {
                    visit(made, next, output);
                }
            });
        };
    crowd::run_over(properties, &relation, &mut |_| {}).properties
}

/// A member that fails to prepare is taken for prepared.
fn commits_the_failed(
    before: &World,
    made: Move,
    next: &mut World,
    _: &mut Option<Output>,
) -> bool {
    if let Move::Step(Step::PrepareEnd(member, false)) = made {
        next.clone_from(before);
        next.jobs[member].tail = Tail::Prepared;
    }
    true
}

/// Takes back what an abort did to everybody but its initiator.
fn spare_the_peers(initiator: usize, world: &mut World) {
    for (member, job) in world.jobs.iter_mut().enumerate() {
        if member != initiator {
            job.cancel = Cancel::No;
            job.peer_cancel = PeerCancel::No;
        }
    }
}

const FAULTS: [(&str, Fault); 9] = [
    ("commits the failed", commits_the_failed),
    ("prepares again", |_, made, next, _| {
        if let Move::Step(Step::PrepareEnd(member, true)) = made {
            next.jobs[member].tail = Tail::None;
        }
        true
    }),
    ("spares the peers", |before, made, next, _| {
        if let Move::Step(Step::Exit(member)) = made
            && next.group.aborting
            && !before.group.aborting
        {
            spare_the_peers(member, next);
        }
        true
    }),
    ("loses a cancel", |before, made, next, output| {
        if let Move::Step(Step::Exit(member)) = made
            && before.jobs[member].forced()
            && !before.group.aborting
        {
            next.clone_from(before);
            next.jobs[member].status = Status::Waiting;
            next.jobs[member].body = Body::Ended;
            *output = Some(Output::Status(member, Status::Waiting));
        }
        true
    }),
    ("aborts after a commit", |before, _, next, output| {
        if let Some(Output::Begin(member, Callback::Commit)) = *output
            && before.jobs.iter().any(Job::is_final)
        {
            next.jobs[member].tail = Tail::Aborting;
            *output = Some(Output::Begin(member, Callback::Abort));
        }
        true
    }),
    ("forgets to clean", |_, made, next, output| {
        if let Move::Step(Step::CleanBegin(member)) = made {
            next.jobs[member].tail = Tail::Cleaned;
            *output = None;
        }
        true
    }),
    ("announces the wrong end", |_, _, _, output| {
        if let Some(Output::Event(_, Event::Completed { error })) = output {
            *error = !*error;
        }
        true
    }),
    ("aborts again", |_, made, next, _| {
        match made {
            Move::Step(Step::DecisionBegin(_)) if next.group.aborting => {
                next.group.phase = Phase::Idle;
            }
            Move::Step(Step::DecisionEnd(_)) if next.group.aborting => {
                next.group.phase = Phase::Aborting;
            }
            _ => {}
        }
        true
    }),
    ("closes with somebody left", |_, made, next, _| {
        if let Move::Step(Step::Conclude(_)) = made {
            next.group.phase = Phase::Idle;
        }
        true
    }),
];

/// These properties, and no others.
fn only(ids: &[&str]) -> Vec<Property> {
    let mut few = crowd::properties();
    few.retain(|property| ids.contains(&property.id));
    few
}

#[test]
fn what_is_broken_with_two_jobs_is_broken_with_any_number() {
    for (name, fault) in FAULTS {
        let two = found_with(2, fault);
        assert_ne!(violated(&two), [""; 0], "{name}");
        let any = found_with_any(fault, &only(&violated(&two)));
        assert_eq!(violated(&any), violated(&two), "{name}");
    }
}

/// With two waiting and two more running, an abort forgets its peers.
fn five_are_too_many(before: &World, made: Move, next: &mut World, _: &mut Option<Output>) -> bool {
    if let Move::Step(Step::Exit(member)) = made
        && next.group.aborting
        && !before.group.aborting
    {
        let others = |status: Status| {
            let them = before.jobs.iter().enumerate();
            them.filter(|(other, job)| *other != member && job.status == status)
                .count()
        };
        if others(Status::Waiting) >= 2 && others(Status::Running) >= 2 {
            spare_the_peers(member, next);
        }
    }
    true
}

#[test]
fn a_mistake_that_takes_five_jobs_is_found() {
    assert_eq!(violated(&found_with(3, five_are_too_many)), [""; 0]);
    let any = found_with_any(five_are_too_many, &only(&["P15"]));
    assert_eq!(violated(&any), ["P15"]);
}

#[test]
fn a_counterexample_is_a_shortest_story() {
    let found = found_with_any(commits_the_failed, &only(&["P12"]));
    assert_eq!(
        found[0].counterexample.as_deref().unwrap_or_default(),
        [
            "with one not yet created",
            "the one not yet created: create is asked → status created",
            "the one created: starts → status running",
            "the one running: is taken over by the main loop → status waiting",
            "the one waiting: becomes decidable → status pending",
            "every member can be decided",
            "the one pending: begins to prepare → prepare begins",
            "the one pending, in the main loop's hands: fails to prepare → prepare ends with an error",
            "every member is prepared",
            "the one pending, prepared: meets the decision → commit begins (before: one pending, prepared)",
        ]
    );
}
