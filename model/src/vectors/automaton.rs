//! The states of one vector: what may be seen next, where that leads, and whether it may rest.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::closed::{Belief, Closed, Edges};
use super::script::{Action, Observation};

/// One state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// What may be seen, and which state it leads to. Nothing else may.
    pub see: Vec<(Observation, usize)>,
    /// Whether the implementation may be at rest, and what comes then.
    pub rest: Rest,
}

/// What a rest means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rest {
    /// Something is due: it must not be at rest.
    No,
    /// The next of [`Vector::sends`](super::Vector::sends) is sent: the one at this place, which leads
    /// to this state.
    Sends(usize, usize),
    /// The vector is passed.
    Passed,
}

/// The automaton of what may follow these actions, each sent at rest; nothing where one of them cannot be
/// sent or need not be answered. With it the moves that each way through it takes.
pub(super) fn build(closed: &Closed, sends: &[Action]) -> Option<(Vec<State>, Edges)> {
    let mut places: HashMap<(usize, Belief), usize> = HashMap::new();
    let mut queue: VecDeque<(usize, Belief)> = VecDeque::new();
    let mut states: Vec<State> = Vec::new();
    // What is certain after each of the actions, whatever came of those before.
    let mut certain = vec![Edges::MAX; sends.len()];
    let mut place = |sent: usize, belief: Belief, queue: &mut VecDeque<(usize, Belief)>| {
        let new = places.len();
        *places.entry((sent, belief)).or_insert_with_key(|key| {
            queue.push_back(key.clone());
            new
        })
    };
    // Nothing has been sent: a state of rest and of nothing else.
    let first = closed.send(&closed.beginning(), *sends.first()?)?;
    certain[0] = closed.certain(&first);
    let first = place(1, closed.close(first), &mut queue);
    states.push(State {
        see: Vec::new(),
        rest: Rest::Sends(0, first + 1),
    });
    while let Some((sent, belief)) = queue.pop_front() {
        let next = closed.next(&belief);
        if next.stuck {
            return None;
        }
        let see = next
            .see
            .into_iter()
            .map(|(observation, belief)| (observation, place(sent, belief, &mut queue) + 1))
            .collect();
        let rest = match next.rest {
            None => Rest::No,
            Some(_) if sent == sends.len() => Rest::Passed,
            Some(resting) => {
                let nodes = closed.send(&resting, sends[sent])?;
                certain[sent] &= closed.certain(&nodes);
                let belief = closed.close(nodes);
                Rest::Sends(sent, place(sent + 1, belief, &mut queue) + 1)
            }
        };
        states.push(State { see, rest });
    }
    let edges = certain.into_iter().fold(0, |all, edges| all | edges);
    Some((merged(&states), edges))
}

/// How a state looks: what it leads to and whether it may rest, by classes, and its own class so far.
type Look = (Vec<(Observation, usize)>, Rest, usize);

/// The same automaton without states that nobody can tell apart.
fn merged(states: &[State]) -> Vec<State> {
    // Classes are split until the states of each look alike.
    let mut class: Vec<usize> = vec![0; states.len()];
    let mut classes = 0;
    loop {
        let mut known: BTreeMap<Look, usize> = BTreeMap::new();
        let mut split = Vec::with_capacity(states.len());
        for (at, state) in states.iter().enumerate() {
            let see = state
                .see
                .iter()
                .map(|&(observation, to)| (observation, class[to]))
                .collect();
            let rest = match state.rest {
                Rest::Sends(action, to) => Rest::Sends(action, class[to]),
                rest => rest,
            };
            let new = known.len();
            split.push(*known.entry((see, rest, class[at])).or_insert(new));
        }
        let now = known.len();
        class = split;
        if now == classes {
            break;
        }
        classes = now;
    }
    // The first state of each class stands for it; classes are numbered as they come first.
    let mut first: Vec<Option<usize>> = vec![None; classes];
    for (at, &class) in class.iter().enumerate() {
        first[class].get_or_insert(at);
    }
    first
        .into_iter()
        .flatten()
        .map(|at| State {
            see: states[at]
                .see
                .iter()
                .map(|&(observation, to)| (observation, class[to]))
                .collect(),
            rest: match states[at].rest {
                Rest::Sends(action, to) => Rest::Sends(action, class[to]),
                rest => rest,
            },
        })
        .collect()
}

/// A shortest way from the first state to the end; `None` in it is a rest.
pub(super) fn example(states: &[State]) -> Vec<Option<Observation>> {
    let mut from: Vec<Option<(usize, Option<Observation>)>> = vec![None; states.len()];
    let mut queue = VecDeque::from([0]);
    while let Some(at) = queue.pop_front() {
        let state = &states[at];
        if state.rest == Rest::Passed {
            let mut way = Vec::new();
            let mut at = at;
            while let Some((before, seen)) = from[at] {
                way.push(seen);
                at = before;
            }
            way.reverse();
            return way;
        }
        let rest = match state.rest {
            Rest::Sends(_, to) => Some((None, to)),
            _ => None,
        };
        let see = state.see.iter().map(|&(seen, to)| (Some(seen), to));
        for (seen, to) in rest.into_iter().chain(see) {
            if to != 0 && from[to].is_none() {
                from[to] = Some((at, seen));
                queue.push_back(to);
            }
        }
    }
    unreachable!("every way through a vector leads to its end")
}
