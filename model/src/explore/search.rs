//! The search over one scenario: breadth first, a batch of worlds at a time.

use core::ops::Range;

use super::environment::{self, Move};
use super::memory::Memory;
use super::pack;
use super::seen::Seen;
use super::{Coverage, Options, Progress, Relation, Scenario};
use crate::hash::FastSet;
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
    /// What members do by themselves, in the specification's relation.
    memory: Memory<Own>,
    seen: Seen,
    /// From which world each was first reached; the first points to itself.
    parents: Vec<u32>,
    pub(super) transitions: u64,
    pub(super) depth: u32,
    /// The shortest counterexample to each property, then to [`super::STUCK`] and
    /// [`super::LIFECYCLE`].
    pub(super) found: Vec<Option<Vec<String>>>,
    coverage: &'a mut Coverage,
    /// On which states of which member the verbs were tried; the last bit: main loop busy.
    probed: Vec<[FastSet<u64>; 2]>,
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
    words: Vec<u64>,
    parents: Vec<u32>,
}

/// What was found of a move that a member makes by itself.
struct Own {
    /// The member after it, and what has happened to it.
    word: u64,
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
        let members = scenario.specs.len();
        Search {
            profile: options.profile,
            properties: &options.properties,
            listed: options.properties.iter().all(Property::is_listed),
            scenario,
            relation,
            states_max: options.states_max,
            memory: Memory::new(members),
            seen: Seen::new(pack::stride(members)),
            parents: Vec::new(),
            transitions: 0,
            depth: 0,
            found: vec![None; options.properties.len() + 2],
            coverage,
            probed: (0..members).map(|_| Default::default()).collect(),
        }
    }

    /// Worlds met.
    pub(super) fn states(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Explores; whether it came to the end.
    pub(super) fn run(&mut self, before: u64, progress: &mut dyn FnMut(Progress)) -> bool {
        let world = World::new(Group::CLOSED, self.scenario.specs.iter().copied());
        let history = vec![History::default(); world.jobs.len()];
        let mut words = vec![0; pack::stride(world.jobs.len())];
        pack::pack(&world, &history, &mut words);
        self.seen.insert(&words);
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
            self.seen.insert_all(&batch.words, |place, _, new| {
                if new {
                    parents.push(batch.parents[place]);
                }
            });
            batch.words.clear();
            batch.parents.clear();
            if here.number == self.seen.len() {
                return true;
            }
            if self.seen.len() >= self.states_max {
                return false;
            }
            if here.number == level_end {
                self.depth += 1;
                level_end = self.seen.len();
            }
            if here.number >= told {
                told = here.number + 8192;
                progress(Progress {
                    states: before + self.seen.len() as u64,
                    open: (self.seen.len() - here.number) as u64,
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
        pack::unpack(self.seen.get(number), &self.scenario.specs, world, history);
        after.clone_from(history);
        let (world, history) = (&*world, &*history);
        self.check_world(
            number,
            &Place {
                world,
                history,
                profile: self.profile,
            },
        );
        self.probe(number, world);
        let (mut steps, mut requests) = (0, 0);
        if self.relation.is_none() && environment::members_go_on(world) {
            for member in 0..world.jobs.len() {
                let place = pack::place(member);
                let word = self.seen.get(number)[place];
                let known = self.memory.get(member, word);
                let known = known.unwrap_or_else(|| self.remember(number, world, history, member));
                self.transitions += known.len() as u64;
                for at in known {
                    let own = self.memory.at(at);
                    steps += u32::from(!own.asked);
                    requests += u32::from(own.asked);
                    if let Some((from, to)) = own.status {
                        self.coverage.transitions[from as usize][to as usize] += 1;
                    }
                    if let Some((from, to)) = own.stage {
                        self.coverage.lifecycle[from as usize][to as usize] += 1;
                    }
                    batch.begin(number, self.seen.get(number))[place] = own.word;
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
            batch.push(number, self.seen.get(number), &next, after, output);
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
        world: &World,
        history: &[History],
        member: usize,
    ) -> Range<usize> {
        let profile = self.profile;
        let mut after = history.to_vec();
        let mut found = Vec::new();
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
                found.push(Own {
                    word: pack::pack_job(job, after[member]),
                    asked: matches!(made, Move::Ask(..)),
                    status: (before.status != job.status).then_some((before.status, job.status)),
                    stage: stage(before, job),
                });
                after[member] = history[member];
            },
        );
        let word = self.seen.get(number)[pack::place(member)];
        self.memory.add(member, word, found)
    }

    /// Tries every verb on every member, for the coverage; once for each state of a member.
    fn probe(&mut self, number: usize, world: &World) {
        let busy = world.main_is_busy();
        let words = self.seen.get(number);
        for (member, job) in world.jobs.iter().enumerate() {
            if !self.probed[member][usize::from(busy)].insert(words[pack::place(member)]) {
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
    fn name_of_step(&self, from: usize, to: usize) -> String {
        let specs = &self.scenario.specs;
        let mut world = World::new(Group::CLOSED, specs.iter().copied());
        let mut past = Vec::new();
        pack::unpack(self.seen.get(from), specs, &mut world, &mut past);
        let mut words = vec![0; pack::stride(specs.len())];
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
                pack::pack(&next, &history, &mut words);
                if name.is_empty() && words == self.seen.get(to) {
                    name = made.describe(output);
                }
            },
        );
        name
    }
}

impl Batch {
    /// A successor of `parent`, so far like the world `before` it.
    fn begin(&mut self, parent: usize, before: &[u64]) -> &mut [u64] {
        let at = self.words.len();
        // So few words that a call to copy them would cost more.
        for &word in before {
            self.words.push(word);
        }
        self.parents.push(parent as u32);
        &mut self.words[at..]
    }

    /// Packs a successor; what did not change keeps the words of the world before.
    fn push(
        &mut self,
        parent: usize,
        before: &[u64],
        next: &Next<'_>,
        history: &[History],
        output: Option<Output>,
    ) {
        let words = self.begin(parent, before);
        match next.changed() {
            Changed::Member(member) => {
                words[pack::place(member)] = pack::pack_job(&next.jobs[member], history[member]);
                if let Some(seen) = output.map(Output::member)
                    && seen != member
                {
                    words[pack::place(seen)] = pack::pack_job(&next.jobs[seen], history[seen]);
                }
            }
            Changed::Calls => words[0] = pack::pack_group(next),
            Changed::Anything => pack::pack(next, history, words),
        }
        if let (Changed::Calls, Some(output)) = (next.changed(), output) {
            let seen = output.member();
            words[pack::place(seen)] = pack::pack_job(&next.jobs[seen], history[seen]);
        }
        let words = &*words;
        // In every eighth step; a mistake shows in thousands.
        if cfg!(debug_assertions) && parent.is_multiple_of(8) {
            let mut whole = vec![0; words.len()];
            pack::pack(next, history, &mut whole);
            assert_eq!(words, whole, "what is said to have changed is all that has");
        }
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
