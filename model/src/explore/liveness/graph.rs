//! Every world of a scenario, every step between them, and what is due in each.

use core::ops::Range;

use super::super::environment::{self, Move};
use super::super::memory::Memory;
use super::super::pack;
use super::super::seen::Seen;
use super::super::{Options, Relation, Scenario};
use super::{Assumptions, Case, Class, MEMBER_CLASSES, MEMBERS_AT, NO_CLASS, Scope};
use crate::profile::Profile;
use crate::property::History;
use crate::state::{Body, Group, World};
use crate::step::{Next, Output, Step};

/// One case of one property for one member, or whatever its scope is.
pub(super) struct Duty {
    /// Which property, by its place among those asked for.
    pub(super) property: usize,
    case: Case,
    member: usize,
}

/// What is known of a step: its class in the low bits, and …
type Kind = u8;
pub(super) const CLASS: Kind = 31;
/// … it can be on a cycle at all (A2, A4, and the order of the main loop),
const RECURS: Kind = 1 << 5;
/// … it is work of the driver's, and there is more to do behind it.
const WORKS: Kind = 1 << 6;

/// Every world of a scenario and every step between them.
pub(in super::super) struct Graph<'a> {
    profile: &'static Profile,
    scenario: &'a Scenario,
    /// Another than the specification's.
    relation: Option<&'a Relation<'a>>,
    /// What members do by themselves, in the specification's relation.
    memory: Memory<(u64, Kind)>,
    fair: u32,
    pub(super) seen: Seen,
    pub(super) parents: Vec<u32>,
    /// Where the steps of each world begin; one more than there are worlds.
    first: Vec<usize>,
    pub(super) to: Vec<u32>,
    pub(super) kinds: Vec<Kind>,
    /// The classes that can go on in each world.
    enabled: Vec<u32>,
    /// Two bits a duty: it begins to be due here; it is due and not yet done.
    pub(super) facts: Vec<u64>,
    pub(super) duties: Vec<Duty>,
    /// It has every world.
    pub(in super::super) complete: bool,
}

impl<'a> Graph<'a> {
    /// Explores the scenario and keeps its steps.
    pub(in super::super) fn new(
        options: &Options,
        scenario: &'a Scenario,
        relation: Option<&'a Relation<'a>>,
    ) -> Graph<'a> {
        let (properties, assumptions) = (&options.liveness, options.assumptions);
        let members = scenario.specs.len();
        let mut duties = Vec::new();
        for (property, liveness) in properties.iter().enumerate() {
            let count = match liveness.scope {
                Scope::Member => members,
                Scope::Transaction => 1,
                Scope::Section if scenario.bounds.drains => usize::from(scenario.bounds.tokens_max),
                Scope::Section => 0,
            };
            for &case in liveness.cases {
                duties.extend((0..count).map(|member| Duty {
                    property,
                    case,
                    member,
                }));
            }
        }
        assert!(duties.len() <= 32, "two bits each in one word");
        let classes = MEMBERS_AT + members * MEMBER_CLASSES;
        let fair = (0..classes as u8)
            .filter(|&number| {
                let class = Class::numbered(number);
                !matches!(class, Class::Choice(_)) && (assumptions.fair)(class)
            })
            .fold(0, |fair, number| fair | 1 << number);
        let mut graph = Graph {
            profile: options.profile,
            scenario,
            relation,
            memory: Memory::new(members),
            fair,
            seen: Seen::new(pack::stride(members)),
            parents: vec![0],
            first: vec![0],
            to: Vec::new(),
            kinds: Vec::new(),
            enabled: Vec::new(),
            facts: Vec::new(),
            duties,
            complete: true,
        };
        graph.explore(assumptions, options.states_max);
        graph
    }

    fn explore(&mut self, assumptions: Assumptions, states_max: usize) {
        let mut world = World::new(Group::CLOSED, self.scenario.specs.iter().copied());
        let mut batch = Batch::new(&world, assumptions);
        pack::pack(&world, &batch.history, &mut batch.next);
        self.seen.insert(&batch.next);
        let mut number = 0;
        while number < self.seen.len() {
            if self.seen.len() > states_max {
                self.complete = false;
                // Nothing is known of the rest, and nothing is said of it.
                self.facts.resize(self.seen.len(), 0);
                self.enabled.resize(self.seen.len(), 0);
                self.first.resize(self.seen.len() + 1, self.kinds.len());
                return;
            }
            let end = self.seen.len().min(number + BATCH);
            while number < end {
                let (specs, past) = (&self.scenario.specs, &mut batch.past);
                pack::unpack(self.seen.get(number), specs, &mut world, past);
                self.facts.push(facts(&self.duties, &world));
                self.expand(number, &world, &mut batch);
                number += 1;
            }
            let (to, parents) = (&mut self.to, &mut self.parents);
            self.seen.insert_all(&batch.words, |place, reached, new| {
                if new {
                    parents.push(batch.parents[place]);
                }
                to.push(reached as u32);
            });
            batch.words.clear();
            batch.parents.clear();
        }
    }

    /// Makes every step from a world.
    fn expand(&mut self, number: usize, world: &World, batch: &mut Batch) {
        let (profile, bounds) = (self.profile, self.scenario.bounds);
        let assumptions = batch.assumptions;
        let begin = self.kinds.len();
        let here = self.seen.get(number);
        if self.relation.is_none() && environment::members_go_on(world) {
            for member in 0..world.jobs.len() {
                let word = here[pack::place(member)];
                let known = self.memory.get(member, word).unwrap_or_else(|| {
                    let mut own = Vec::new();
                    let past = History::default();
                    environment::own_moves(world, member, profile, bounds, &mut |made, next, _| {
                        let word = pack::pack_job(&next.jobs[member], past);
                        own.push((word, kind(made, world, profile, assumptions)));
                    });
                    self.memory.add(member, word, own)
                });
                for at in known {
                    let &(word, kind) = self.memory.at(at);
                    let place = batch.words.len() + pack::place(member);
                    batch.words.extend_from_slice(here);
                    batch.words[place] = word;
                    self.kinds.push(kind);
                }
            }
        }
        let mut waits = Vec::new();
        let mut visit = |made: Move, next: Next<'_>, _: Option<Output>| {
            if matches!(made, Move::Ask(..)) && !next.calls.is_empty() {
                waits.push(self.kinds.len());
            }
            self.kinds.push(kind(made, world, profile, assumptions));
            pack::pack(&next, &batch.history, &mut batch.next);
            batch.words.extend_from_slice(&batch.next);
        };
        match self.relation {
            Some(relation) => relation(world, profile, bounds, &mut visit),
            None => environment::shared_moves(world, profile, bounds, &mut visit),
        }
        let kinds = &mut self.kinds[begin..];
        let enabled = kinds.iter().fold(0, |all, kind| all | 1 << (kind & CLASS));
        if assumptions.main_loop_keeps_order && enabled & (1 << Class::MainLoop.number()) != 0 {
            for at in waits {
                kinds[at - begin] &= !RECURS;
            }
        }
        batch
            .parents
            .resize(batch.parents.len() + kinds.len(), number as u32);
        self.enabled.push(enabled);
        self.first.push(self.kinds.len());
    }

    /// Worlds of the scenario.
    pub(in super::super) fn states(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Steps between them.
    pub(in super::super) fn transitions(&self) -> u64 {
        self.to.len() as u64
    }

    pub(super) fn edges(&self, state: u32) -> Range<usize> {
        self.first[state as usize]..self.first[state as usize + 1]
    }

    /// Classes that are due in a world: fairness is assumed, and they can go on.
    pub(super) fn due(&self, duty: usize, state: u32) -> u32 {
        let enabled = if self.duties[duty].case.work_ends {
            self.kinds[self.edges(state)]
                .iter()
                .filter(|&&kind| !self.is_more_work(duty, kind))
                .fold(0, |enabled, kind| enabled | 1 << (kind & CLASS))
        } else {
            self.enabled[state as usize]
        };
        enabled & self.fair
    }

    /// A step that a job whose work ends makes finitely often.
    pub(super) fn is_more_work(&self, duty: usize, kind: Kind) -> bool {
        let Duty { case, member, .. } = self.duties[duty];
        let [driver, choice] = [Class::Driver(member), Class::Choice(member)].map(Class::number);
        case.work_ends && kind & WORKS != 0 && [driver, choice].contains(&(kind & CLASS))
    }

    /// The duty begins here.
    pub(super) fn begins(&self, duty: usize, state: u32) -> bool {
        self.facts[state as usize] >> (2 * duty) & 3 == 3
    }

    /// The duty, if it is one, is not done here, and has not lapsed.
    pub(super) fn is_open(&self, duty: usize, state: u32) -> bool {
        self.facts[state as usize] >> (2 * duty) & 2 != 0
    }

    /// Whether a step can be taken again and again while the duty is open.
    pub(super) fn recurs(&self, duty: usize, edge: usize) -> bool {
        let kind = self.kinds[edge];
        kind & RECURS != 0 && !self.is_more_work(duty, kind) && self.is_open(duty, self.to[edge])
    }

    /// The words for a step.
    pub(super) fn name(&self, state: u32, edge: usize) -> String {
        let specs = &self.scenario.specs;
        let mut world = World::new(Group::CLOSED, specs.iter().copied());
        pack::unpack(
            self.seen.get(state as usize),
            specs,
            &mut world,
            &mut Vec::new(),
        );
        let wanted = edge - self.first[state as usize];
        let mut name = String::new();
        let mut at = 0;
        self.relation.unwrap_or(&super::super::moves)(
            &world,
            self.profile,
            self.scenario.bounds,
            &mut |made, _, output: Option<Output>| {
                if at == wanted {
                    name = made.describe(output);
                }
                at += 1;
            },
        );
        name
    }
}

/// Worlds whose successors are collected before they are looked up together.
const BATCH: usize = 64;

/// Successors on their way into the set of worlds met, and room to make them.
struct Batch {
    assumptions: Assumptions,
    /// Nothing is remembered of what was seen.
    history: Vec<History>,
    past: Vec<History>,
    next: Vec<u64>,
    words: Vec<u64>,
    parents: Vec<u32>,
}

impl Batch {
    fn new(world: &World, assumptions: Assumptions) -> Batch {
        let members = world.jobs.len();
        Batch {
            assumptions,
            history: vec![History::default(); members],
            past: Vec::new(),
            next: vec![0; pack::stride(members)],
            words: Vec::new(),
            parents: Vec::new(),
        }
    }
}

/// What is to be known of a move made in `before`.
fn kind(made: Move, before: &World, profile: &Profile, assumptions: Assumptions) -> Kind {
    let over_time = assumptions.cancelled_runs_end && is_over_time(made, before);
    let late = assumptions.pauses_let_nobody_in && was_let_in(made, before);
    if over_time || late || is_unasked(made, before, profile) {
        return NO_CLASS;
    }
    let class = Class::of(made, before).map_or(NO_CLASS, Class::number);
    class | RECURS | if is_work(made) { WORKS } else { 0 }
}

/// What a driver does that has more to do.
const fn is_work(made: Move) -> bool {
    matches!(
        made,
        Move::Step(
            Step::ReachPoint(_)
                | Step::Sleep(_)
                | Step::Yield(_)
                | Step::IoBegin(_)
                | Step::IoError(..)
        )
    )
}

/// A step that a run cancelled by force takes of its own choice (A2).
fn is_over_time(made: Move, before: &World) -> bool {
    match made {
        Move::Step(
            Step::ReachPoint(m)
            | Step::Sleep(m)
            | Step::Yield(m)
            | Step::IoBegin(m)
            | Step::Converge(m)
            | Step::IoError(m, ..),
        ) => before.jobs[m].forced(),
        _ => false,
    }
}

/// A piece of I/O that was let in before `pause` was called, and begins after it (A4).
fn was_let_in(made: Move, before: &World) -> bool {
    matches!(made, Move::Step(Step::IoBegin(m)) if before.jobs[m].body == Body::PauseDone)
}

/// A pause that nobody here asked for: in QEMU, the block layer's.
fn is_unasked(made: Move, before: &World, profile: &Profile) -> bool {
    match made {
        Move::Step(Step::PauseBegin(m)) => {
            let job = &before.jobs[m];
            profile.internal_pauses && !job.may_pause && !job.should_pause()
        }
        _ => false,
    }
}

/// Two bits a duty.
fn facts(duties: &[Duty], world: &World) -> u64 {
    let mut facts = 0;
    for (at, Duty { case, member, .. }) in duties.iter().enumerate() {
        let from = (case.from)(world, *member);
        let open = (case.while_)(world, *member) && !(case.to)(world, *member);
        facts |= (u64::from(from) | u64::from(open) << 1) << (2 * at);
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::super::{ALL, scenario};
    use super::*;
    use crate::explore::scenarios;
    use crate::profile::REFERENCE;

    #[test]
    fn everything_that_is_due_becomes_due_and_is_done() {
        // Two plain jobs; and one with sleeps and drained sections, which alone has those duties.
        let two = scenarios(2, &REFERENCE).into_iter().next();
        let drained = scenarios(1, &REFERENCE)
            .into_iter()
            .find(|scenario| scenario.bounds.drains);
        let mut met = Vec::new();
        for explored in [two, drained].map(|scenario| scenario.expect("it is listed")) {
            let options = Options::new(&REFERENCE, explored.specs.len());
            let options = options.expect("so many jobs can be explored");
            let scenario = scenario(&explored);
            let graph = Graph::new(&options, &scenario, None);
            // The end of a job alone is a handful of worlds.
            let many = if options.jobs > 1 { 100 } else { 10 };
            for (at, duty) in graph.duties.iter().enumerate() {
                let worlds = 0..graph.facts.len() as u32;
                let id = options.liveness[duty.property].id;
                met.push(id);
                let begins = worlds.clone().filter(|&state| graph.begins(at, state));
                assert!(begins.count() > many, "{id} becomes due");
                let done = worlds.filter(|&state| {
                    graph.is_open(at, state)
                        && graph
                            .edges(state)
                            .any(|edge| !graph.is_open(at, graph.to[edge]))
                });
                assert!(done.count() > many / 10, "{id} is done");
            }
        }
        assert!(ALL.iter().all(|property| met.contains(&property.id)));
    }
}
