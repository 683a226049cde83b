//! Two transactions of one manager, side by side.
//!
//! Everything in [`crate::step`] speaks of one transaction, because transactions share nothing but
//! the main loop's time: no rule reads another transaction's world, and the main loop is inside one
//! callback at a time, whoever it is for. So a pair of transactions does what each does alone, less
//! what would put the main loop in two places. Whatever holds of every world and step of one alone
//! therefore holds beside another, too. What can differ is what is kept from happening, and that is
//! what this search looks for, over every pair of worlds: that no callbacks overlap, that neither
//! transaction loses a world or a step to the other, and that whoever has the main loop goes on,
//! so that the other only waits.

use core::ops::Range;

use super::environment::{Move, moves};
use super::liveness::Class;
use super::pack;
use super::seen::Seen;
use super::{Bounds, Scenario};
use crate::profile::Profile;
use crate::property::History;
use crate::state::{CallState, Group, PeerCancel, Tail, World};

/// What came of a search over pairs.
#[derive(Clone, Debug)]
pub struct PairReport {
    /// The two scenarios.
    pub scenarios: [Scenario; 2],
    /// Pairs of worlds met.
    pub states: u64,
    /// Steps made, of one or the other.
    pub transitions: u64,
    /// What was found wrong, with the way of each transaction there.
    pub counterexample: Option<Vec<String>>,
}

/// One transaction by itself: its worlds, what was seen of them left out, and every step.
struct Part {
    profile: &'static Profile,
    scenario: Scenario,
    seen: Seen,
    parents: Vec<u32>,
    first: Vec<usize>,
    to: Vec<u32>,
    /// The step takes the main loop's time.
    needs: Vec<bool>,
    /// The main loop is inside a callback for it.
    holds: Vec<bool>,
    /// The main loop has something to do for it.
    goes_on: Vec<bool>,
}

/// The main loop is inside a callback of this transaction.
fn holds_main_loop(world: &World) -> bool {
    let tail = |tail: Tail| {
        matches!(
            tail,
            Tail::Preparing
                | Tail::Committing
                | Tail::Aborting
                | Tail::Cleaning
                | Tail::Completing
                | Tail::Freeing
        )
    };
    world
        .jobs
        .iter()
        .any(|job| tail(job.tail) || matches!(job.peer_cancel, PeerCancel::In | PeerCancel::UserIn))
        || world.in_request_callback()
}

impl Part {
    fn new(profile: &'static Profile, scenario: &Scenario) -> Part {
        let members = scenario.specs.len();
        let mut part = Part {
            profile,
            scenario: scenario.clone(),
            seen: Seen::new(pack::stride(members)),
            parents: vec![0],
            first: vec![0],
            to: Vec::new(),
            needs: Vec::new(),
            holds: Vec::new(),
            goes_on: Vec::new(),
        };
        let mut world = World::new(Group::CLOSED, scenario.specs.iter().copied());
        let history = vec![History::default(); members];
        let mut past = Vec::new();
        let mut words = vec![0; pack::stride(members)];
        pack::pack(&world, &history, &mut words);
        part.seen.insert(&words);
        let mut number = 0;
        while number < part.seen.len() {
            pack::unpack(
                part.seen.get(number),
                &scenario.specs,
                &mut world,
                &mut past,
            );
            part.holds.push(holds_main_loop(&world));
            let mut goes_on = false;
            moves(&world, profile, scenario.bounds, &mut |made, next, _| {
                let class = Class::of(made, &world);
                let works = matches!(class, Some(Class::MainLoop | Class::Call));
                let asks = |state: &CallState| !matches!(state, CallState::Awaiting);
                let begins = matches!(made, Move::Ask(..))
                    && next.calls.iter().any(|call| asks(&call.state));
                goes_on |= works;
                part.needs.push(works || begins);
                pack::pack(&next, &history, &mut words);
                let (reached, new) = part.seen.insert(&words);
                if new {
                    part.parents.push(number as u32);
                }
                part.to.push(reached as u32);
            });
            part.goes_on.push(goes_on);
            part.first.push(part.to.len());
            number += 1;
        }
        part
    }

    fn edges(&self, state: u32) -> Range<usize> {
        self.first[state as usize]..self.first[state as usize + 1]
    }

    /// The shortest way to a world, in words.
    fn way(&self, state: u32) -> Vec<String> {
        let mut path = vec![state];
        let mut here = state;
        while here != 0 {
            here = self.parents[here as usize];
            path.push(here);
        }
        path.reverse();
        path.windows(2)
            .map(|pair| self.name(pair[0], pair[1]))
            .collect()
    }

    fn name(&self, from: u32, to: u32) -> String {
        let edge = self.edges(from).find(|&edge| self.to[edge] == to);
        let specs = &self.scenario.specs;
        let mut world = World::new(Group::CLOSED, specs.iter().copied());
        let words = self.seen.get(from as usize);
        pack::unpack(words, specs, &mut world, &mut Vec::new());
        let (mut name, mut at) = (String::new(), self.first[from as usize]);
        let bounds: Bounds = self.scenario.bounds;
        moves(&world, self.profile, bounds, &mut |made, _, output| {
            if Some(at) == edge {
                name = made.describe(output);
            }
            at += 1;
        });
        name
    }
}

/// A set of small numbers.
struct Bits(Vec<u64>);

impl Bits {
    fn new(size: usize) -> Bits {
        Bits(vec![0; size.div_ceil(64)])
    }

    /// Adds a number; whether it is new.
    fn insert(&mut self, at: usize) -> bool {
        let (word, bit) = (at / 64, 1 << (at % 64));
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// Searches every pair of worlds of two transactions that share a main loop.
///
/// `shared` = false is the mistake that this is there to find: each has the main loop for itself.
pub fn side_by_side(
    profile: &'static Profile,
    scenarios: [Scenario; 2],
    shared: bool,
) -> PairReport {
    let [one, two] = [&scenarios[0], &scenarios[1]].map(|scenario| Part::new(profile, scenario));
    let width = two.seen.len();
    let mut met = Bits::new(one.seen.len() * width);
    let mut taken = [Bits::new(one.to.len()), Bits::new(two.to.len())];
    let mut reached = [Bits::new(one.seen.len()), Bits::new(two.seen.len())];
    let mut todo = vec![(0u32, 0u32)];
    met.insert(0);
    let mut report = PairReport {
        scenarios,
        states: 0,
        transitions: 0,
        counterexample: None,
    };
    while let Some((a, b)) = todo.pop() {
        report.states += 1;
        reached[0].insert(a as usize);
        reached[1].insert(b as usize);
        let holds = [one.holds[a as usize], two.holds[b as usize]];
        let wrong = if holds == [true, true] {
            Some("the main loop is inside callbacks of both")
        } else if holds[0] && !one.goes_on[a as usize] || holds[1] && !two.goes_on[b as usize] {
            Some("the main loop is inside a callback that does not return")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            let first = one
                .way(a)
                .into_iter()
                .map(|step| format!("the first: {step}"));
            let second = two
                .way(b)
                .into_iter()
                .map(|step| format!("the second: {step}"));
            let mut story: Vec<String> = first.chain(second).collect();
            story.push(wrong.to_owned());
            report.counterexample = Some(story);
            return report;
        }
        for edge in one.edges(a) {
            if !(shared && holds[1] && one.needs[edge]) {
                report.transitions += 1;
                taken[0].insert(edge);
                let next = one.to[edge];
                if met.insert(next as usize * width + b as usize) {
                    todo.push((next, b));
                }
            }
        }
        for edge in two.edges(b) {
            if !(shared && holds[0] && two.needs[edge]) {
                report.transitions += 1;
                taken[1].insert(edge);
                let next = two.to[edge];
                if met.insert(a as usize * width + next as usize) {
                    todo.push((a, next));
                }
            }
        }
    }
    for (part, (reached, taken)) in [&one, &two].into_iter().zip(reached.iter().zip(&taken)) {
        let (worlds, steps) = (part.seen.len(), part.to.len());
        if reached.len() != worlds || taken.len() != steps {
            report.counterexample = Some(vec![format!(
                "of {}, {} of {worlds} worlds and {} of {steps} steps are there beside the other",
                part.scenario.name,
                reached.len(),
                taken.len()
            )]);
        }
    }
    report
}
