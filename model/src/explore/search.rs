//! The search over one scenario: breadth first, a batch of worlds at a time.

use core::ops::Range;

use super::collapse::{Collapsed, Parts};
use super::environment::{self, Move};
use super::met::Met;
use super::{Coverage, Options, Progress, Relation, Scenario};
use crate::lifecycle::Lifecycle;
use crate::profile::Profile;
use crate::property::{self, Check, Edge, History, Place, Property};
use crate::request::{Effect, judge};
use crate::state::{Body, Group, Job, Phase, World};
use crate::status::Status;
use crate::step::{Changed, Next, Output};
use crate::verb::Verb;
use crate::vocabulary::Request;

/// Worlds whose successors are collected before they are looked up together.
const BATCH: usize = 64;

/// The search over one scenario.
pub(super) struct Search<'a> {
    profile: &'static Profile,
    properties: &'a [Property],
    /// The properties are those that [`property::world_keeps_all`] and its twin ask for.
    listed: bool,
    scenario: &'a Scenario,
    /// Another than the specification's.
    relation: Option<&'a Relation<'a>>,
    states_max: usize,
    /// The states met of each part of a world.
    parts: Parts,
    /// What members do by themselves in the specification's relation, for each of their states.
    own: Vec<Own>,
    met: Met,
    /// From which world each was first reached; the first points to itself.
    parents: Vec<u32>,
    pub(super) transitions: u64,
    pub(super) depth: u32,
    /// The shortest counterexample to each property, then to [`super::STUCK`] and
    /// [`super::LIFECYCLE`].
    pub(super) found: Vec<Option<Vec<String>>>,
    coverage: &'a mut Coverage,
}

/// The verbs tried on every state of every member, for the coverage of the verb table.
const PROBES: [(Verb, Request); 9] = [
    (Verb::Cancel, Request::Cancel { force: false }),
    (Verb::Cancel, Request::Cancel { force: true }),
    (Verb::Pause, Request::Pause),
    (Verb::Resume, Request::Resume),
    (Verb::SetSpeed, Request::SET_SPEED),
    (Verb::Complete, Request::Complete),
    (Verb::Finalize, Request::Finalize),
    (Verb::Dismiss, Request::Dismiss),
    (Verb::Change, Request::Change),
];

/// The world whose steps are made, unpacked, and room for what is made of it.
struct Here {
    number: usize,
    world: World,
    history: Vec<History>,
    /// What has happened after one of the steps.
    after: Vec<History>,
}

/// Successors on their way into the set of worlds met.
#[derive(Default)]
struct Batch {
    worlds: Vec<Collapsed>,
    parents: Vec<u32>,
}

/// What was found of a move that a member makes by itself.
struct Own {
    /// The number of the member's state after it.
    number: u32,
    /// Somebody asked for it.
    asked: bool,
    /// A change of its status.
    status: Option<(Status, Status)>,
    /// A step of the coarse machine.
    stage: Option<(Lifecycle, Lifecycle)>,
}

/// The step of the coarse machine between two states of a member, if it is no stutter.
fn stage(before: &Job, after: &Job) -> Option<(Lifecycle, Lifecycle)> {
    if Lifecycle::tells(before) == Lifecycle::tells(after) {
        return None;
    }
    let (from, to) = (Lifecycle::of(before)?, Lifecycle::of(after)?);
    (from != to).then_some((from, to))
}

impl<'a> Search<'a> {
    pub(super) fn new(
        options: &'a Options,
        scenario: &'a Scenario,
        relation: Option<&'a Relation<'a>>,
        coverage: &'a mut Coverage,
    ) -> Search<'a> {
        Search {
            profile: options.profile,
            properties: &options.properties,
            listed: options.properties.iter().all(Property::is_listed),
            scenario,
            relation,
            states_max: options.states_max,
            parts: Parts::new(&scenario.specs),
            own: Vec::new(),
            met: Met::new(),
            parents: Vec::new(),
            transitions: 0,
            depth: 0,
            found: vec![None; options.properties.len() + 2],
            coverage,
        }
    }

    /// Worlds met.
    pub(super) fn states(&self) -> u64 {
        self.met.len() as u64
    }

    /// Explores; whether it came to the end.
    pub(super) fn run(&mut self, before: u64, progress: &mut dyn FnMut(Progress)) -> bool {
        let world = World::new(Group::CLOSED, self.scenario.specs.iter().copied());
        let history = vec![History::default(); world.jobs.len()];
        let first = self.parts.collapse(&world, &history);
        self.met.insert(first);
        self.parents.push(0);
        let mut here = Here {
            number: 0,
            world,
            after: history.clone(),
            history,
        };
        let mut batch = Batch::default();
        let mut level_end = 1;
        let mut told = 0;
        loop {
            let batch_end = level_end.min(here.number + BATCH);
            while here.number < batch_end {
                self.expand(&mut here, &mut batch);
                here.number += 1;
            }
            let parents = &mut self.parents;
            self.met
                .insert_all(&batch.worlds, |place| parents.push(batch.parents[place]));
            batch.worlds.clear();
            batch.parents.clear();
            if here.number == self.met.len() {
                self.count_own();
                return true;
            }
            if self.met.len() >= self.states_max {
                self.count_own();
                return false;
            }
            if here.number == level_end {
                self.depth += 1;
                level_end = self.met.len();
            }
            if here.number >= told {
                told = here.number + 8192;
                progress(Progress {
                    states: before + self.met.len() as u64,
                    open: (self.met.len() - here.number) as u64,
                    depth: self.depth,
                });
            }
        }
    }

    /// Looks at a world met and makes every step that is possible there.
    fn expand(&mut self, here: &mut Here, batch: &mut Batch) {
        let Here {
            number,
            world,
            history,
            after,
        } = here;
        let number = *number;
        let collapsed = self.met.get(number);
        self.parts.expand(collapsed, world, history);
        after.copy_from_slice(history);
        let (world, history) = (&*world, &*history);
        self.check_world(
            number,
            &Place {
                world,
                history,
                profile: self.profile,
            },
        );
        self.probe(collapsed, world);
        let (mut steps, mut requests) = (0, 0);
        if self.relation.is_none() && environment::members_go_on(world) {
            for member in 0..world.jobs.len() {
                let local = self.parts.local(collapsed, member);
                local.uses += 1;
                let known = match &local.own {
                    Some(known) => known.start as usize..known.end as usize,
                    None => self.remember(number, collapsed, world, history, member),
                };
                for own in &self.own[known] {
                    steps += u32::from(!own.asked);
                    requests += u32::from(own.asked);
                    batch.add(
                        number,
                        self.parts.with_member(collapsed, member, own.number),
                    );
                }
            }
        }
        let (profile, bounds) = (self.profile, self.scenario.bounds);
        let relation = self.relation;
        let mut visit = |made: Move, next: Next<'_>, output: Option<Output>| {
            self.transitions += 1;
            match made {
                Move::Step(_) | Move::Answer(..) => steps += 1,
                Move::Ask(..) => requests += 1,
            }
            if let Some(output) = output {
                after[output.member()].note(output);
                if let Output::Status(member, to) = output {
                    let from = world.jobs[member].status;
                    self.coverage.transitions[from as usize][to as usize] += 1;
                }
            }
            let edge = Edge {
                before: Place {
                    world,
                    history,
                    profile,
                },
                made,
                output,
                after: Place {
                    world: &next,
                    history: after,
                    profile,
                },
                changed: next.changed(),
            };
            self.check_edge(number, &edge);
            for (_, before, after) in edge.members() {
                if let Some((from, to)) = stage(before, after) {
                    self.coverage.lifecycle[from as usize][to as usize] += 1;
                }
            }
            let to = reached(&mut self.parts, collapsed, world, &next, after, output);
            // In every eighth world; a mistake shows in thousands.
            if cfg!(debug_assertions) && number.is_multiple_of(8) {
                let whole = self.parts.collapse(&next, after);
                assert_eq!(to, whole, "what is said to have changed is all that has");
            }
            batch.add(number, to);
            if let Some(output) = output {
                after[output.member()] = history[output.member()];
            }
        };
        match relation {
            Some(relation) => relation(world, profile, bounds, &mut visit),
            None => environment::shared_moves(world, profile, bounds, &mut visit),
        }
        if steps == 0 && !waits_for_its_user(world, requests, self.profile) {
            self.find(self.properties.len(), number, None);
        }
    }

    /// Works out, checks and remembers what a member may do by itself.
    ///
    /// What the properties say of such a step, they say of the member, its past and the move; so what
    /// holds here holds wherever the member is the same.
    fn remember(
        &mut self,
        number: usize,
        collapsed: Collapsed,
        world: &World,
        history: &[History],
        member: usize,
    ) -> Range<usize> {
        let profile = self.profile;
        let mut after = history.to_vec();
        let start = self.own.len();
        environment::own_moves(
            world,
            member,
            profile,
            self.scenario.bounds,
            &mut |made, next, output| {
                debug_assert_eq!(next.changed(), Changed::Member(member));
                if let Some(output) = output {
                    debug_assert_eq!(output.member(), member);
                    after[member].note(output);
                }
                self.check_edge(
                    number,
                    &Edge {
                        before: Place {
                            world,
                            history,
                            profile,
                        },
                        made,
                        output,
                        after: Place {
                            world: &next,
                            history: &after,
                            profile,
                        },
                        changed: next.changed(),
                    },
                );
                let (before, job) = (&world.jobs[member], &next.jobs[member]);
                let number = self.parts.number_of_member(member, job, after[member]);
                self.own.push(Own {
                    number,
                    asked: matches!(made, Move::Ask(..)),
                    status: (before.status != job.status).then_some((before.status, job.status)),
                    stage: stage(before, job),
                });
                after[member] = history[member];
            },
        );
        let end = self.own.len();
        self.parts.local(collapsed, member).own = Some(start as u32..end as u32);
        start..end
    }

    /// Counts what was taken out of [`Search::own`]: the same moves, once for each world with the
    /// member in that state.
    fn count_own(&mut self) {
        for local in self.parts.locals() {
            let Some(own) = &local.own else { continue };
            let own = &self.own[own.start as usize..own.end as usize];
            self.transitions += local.uses * own.len() as u64;
            for own in own {
                if let Some((from, to)) = own.status {
                    self.coverage.transitions[from as usize][to as usize] += local.uses;
                }
                if let Some((from, to)) = own.stage {
                    self.coverage.lifecycle[from as usize][to as usize] += local.uses;
                }
            }
        }
    }

    /// Tries every verb on every member, for the coverage; once for each state of a member.
    fn probe(&mut self, collapsed: Collapsed, world: &World) {
        let busy = world.main_is_busy();
        for (member, job) in world.jobs.iter().enumerate() {
            let probed = &mut self.parts.local(collapsed, member).probed[usize::from(busy)];
            if core::mem::replace(probed, true) {
                continue;
            }
            for (verb, request) in PROBES {
                let table = match judge(world, member, request, false, self.profile) {
                    Effect::NotNow => continue,
                    Effect::Refuse(_) => &mut self.coverage.refused,
                    Effect::Callback { .. } | Effect::Apply => &mut self.coverage.accepted,
                };
                table[verb as usize][job.status as usize] += 1;
            }
        }
    }

    fn check_world(&mut self, number: usize, place: &Place<'_>) {
        if self.listed && property::world_keeps_all(place) {
            return;
        }
        for at in 0..self.properties.len() {
            if let Check::World(holds) = self.properties[at].check
                && self.found[at].is_none()
                && !holds(place)
            {
                self.find(at, number, None);
            }
        }
    }

    fn check_edge(&mut self, from: usize, edge: &Edge<'_>) {
        if !(self.listed && property::edge_keeps_all(edge)) {
            for at in 0..self.properties.len() {
                if let Check::Edge(holds) = self.properties[at].check
                    && self.found[at].is_none()
                    && !holds(edge)
                {
                    self.find(at, from, Some((edge.made, edge.output)));
                }
            }
        }
        for (_, before, after) in edge.members() {
            if Lifecycle::tells(before) != Lifecycle::tells(after)
                && !Lifecycle::permits(before, after)
            {
                let at = self.properties.len() + 1;
                self.find(at, from, Some((edge.made, edge.output)));
            }
        }
    }

    /// Keeps the way to world `number` and the move made there as a counterexample.
    fn find(&mut self, at: usize, number: usize, last: Option<(Move, Option<Output>)>) {
        if self.found[at].is_some() {
            return;
        }
        let mut path = vec![number];
        let mut here = number;
        while here != 0 {
            here = self.parents[here] as usize;
            path.push(here);
        }
        path.reverse();
        let mut story: Vec<String> = path
            .windows(2)
            .map(|pair| self.name_of_step(pair[0], pair[1]))
            .collect();
        if let Some((made, output)) = last {
            story.push(made.describe(output));
        }
        self.found[at] = Some(story);
    }

    /// The move that led from one world met to another.
    fn name_of_step(&mut self, from: usize, to: usize) -> String {
        let specs = &self.scenario.specs;
        let mut world = World::new(Group::CLOSED, specs.iter().copied());
        let mut past = vec![History::default(); specs.len()];
        self.parts.expand(self.met.get(from), &mut world, &mut past);
        let to = self.met.get(to);
        let parts = &mut self.parts;
        let mut name = String::new();
        self.relation.unwrap_or(&super::moves)(
            &world,
            self.profile,
            self.scenario.bounds,
            &mut |made, next, output| {
                let mut history = past.clone();
                if let Some(output) = output {
                    history[output.member()].note(output);
                }
                if name.is_empty() && parts.collapse(&next, &history) == to {
                    name = made.describe(output);
                }
            },
        );
        name
    }
}

/// The world a step leads to; what it did not change keeps the numbers it had in the world before.
fn reached(
    parts: &mut Parts,
    from: Collapsed,
    before: &World,
    next: &Next<'_>,
    history: &[History],
    output: Option<Output>,
) -> Collapsed {
    let seen = output.map(Output::member);
    let mut to = from;
    let mut member_changed = |parts: &mut Parts, member: usize| {
        let number = parts.number_of_member(member, &next.jobs[member], history[member]);
        to = parts.with_member(to, member, number);
    };
    match next.changed() {
        Changed::Member(member) => {
            member_changed(parts, member);
            if let Some(seen) = seen.filter(|&seen| seen != member) {
                member_changed(parts, seen);
            }
        }
        Changed::Calls => {
            if let Some(seen) = seen {
                member_changed(parts, seen);
            }
            to = parts.with_shared(to, next);
        }
        Changed::Anything => {
            for (member, (job, before)) in next.jobs.iter().zip(&before.jobs).enumerate() {
                if seen == Some(member) || job != before {
                    member_changed(parts, member);
                }
            }
            to = parts.with_shared(to, next);
        }
    }
    to
}

impl Batch {
    /// A successor of `parent`.
    fn add(&mut self, parent: usize, world: Collapsed) {
        self.worlds.push(world);
        self.parents.push(parent as u32);
    }
}

/// Whether a world without steps is one in which somebody may act, or everything is over.
fn waits_for_its_user(world: &World, requests: u32, profile: &Profile) -> bool {
    if world.is_freed(profile) {
        return true;
    }
    let holds_up = |job: &Job| match job.status {
        Status::Undefined => true,
        Status::Created => !job.starting && !world.group.aborting,
        Status::Paused | Status::Standby => job.body == Body::Parked && job.should_pause(),
        // Waits for somebody to enter it.
        Status::Running | Status::Ready => job.body == Body::Yielded && !job.woken,
        _ => false,
    };
    let manual = |job: &Job| !job.spec.auto_finalize && !job.is_final();
    let anybody_holds_up = world.jobs.iter().any(holds_up);
    requests > 0
        && world.calls.is_empty()
        && world.jobs.iter().all(|job| match job.status {
            Status::Waiting => anybody_holds_up,
            Status::Pending => world.group.phase == Phase::Idle && world.jobs.iter().any(manual),
            Status::Concluded => !job.in_tail(),
            Status::Null => job.is_freed(profile),
            _ => holds_up(job),
        })
}
