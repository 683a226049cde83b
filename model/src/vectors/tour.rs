//! Ways through the transition table that together take every move of it.
//!
//! Greedy: from where it stands a way goes to the nearest place on whose way a move is new, until there is
//! none, and then to the end. Nothing shorter is looked for.

use std::collections::VecDeque;

use super::closed::{Closed, Edges, edge};
use super::script::{Action, Member};
use super::search::{Map, Search};
use super::{Kind, Vector, automaton, cells};
use crate::profile::{ManualStages, Profile};
use crate::status::Status;

/// More places than any of the lives below has.
const PLACES_MAX: usize = 20_000;

/// The moves a set of bits stands for.
pub(super) fn moves(edges: Edges) -> Vec<(Status, Status)> {
    Status::ALL
        .into_iter()
        .flat_map(|from| Status::ALL.map(|to| (from, to)))
        .filter(|&(from, to)| edges & edge(from, to) != 0)
        .collect()
}

/// The moves that a tour takes: all of the table but the one from a status to itself, which nobody sees.
pub fn edges() -> Vec<(Status, Status)> {
    Status::ALL
        .into_iter()
        .flat_map(|from| Status::ALL.map(|to| (from, to)))
        .filter(|&(from, to)| from != to && from.may_become(to))
        .collect()
}

/// The lives it goes through.
fn lives(profile: &Profile) -> Vec<(Vec<Member>, Vec<Action>)> {
    let manual = |member: Member| {
        if profile.manual_stages == ManualStages::None {
            member
        } else {
            member.manual()
        }
    };
    let mut alone = vec![Action::Create(0), Action::Start, Action::GiveUp(0)];
    alone.extend(cells::of_member(profile, 0));
    let mut pair = vec![Action::Create(0), Action::Create(1), Action::Start];
    pair.extend(cells::of_member(profile, 0));
    pair.extend([Action::End(1, true), Action::End(1, false)]);
    vec![
        (vec![manual(Member::MIRROR)], alone.clone()),
        (vec![Member::PLAIN], alone),
        (vec![Member::PLAIN, Member::PLAIN], pair),
    ]
}

/// The actions to the nearest place from `at` that takes a move of `wanted`, where it is, and which moves
/// that takes.
fn nearest(map: &Map, at: usize, wanted: Edges) -> Option<(Vec<Action>, usize, Edges)> {
    let mut from: Vec<Option<(usize, Action, Edges)>> = vec![None; map.visits.len()];
    let mut queue = VecDeque::from([at]);
    while let Some(here) = queue.pop_front() {
        for &(action, to, edges) in &map.visits[here].next {
            let takes = edges & wanted != 0;
            if !takes && (to == at || from[to].is_some()) {
                continue;
            }
            if takes {
                let (mut way, mut taken, mut back) = (vec![action], edges, here);
                while back != at {
                    let (before, action, edges) = from[back]?;
                    way.push(action);
                    taken |= edges;
                    back = before;
                }
                way.reverse();
                return Some((way, to, taken));
            }
            from[to] = Some((here, action, edges));
            queue.push_back(to);
        }
    }
    None
}

/// One way that takes moves of `wanted` while it can, and goes to the end.
fn way(map: &Map, wanted: Edges) -> (Vec<Action>, Edges) {
    let (mut sends, mut at, mut taken) = (Vec::new(), 0, 0);
    while let Some((more, to, edges)) = nearest(map, at, wanted & !taken) {
        sends.extend(more);
        taken |= edges;
        at = to;
    }
    (sends, taken)
}

pub(super) fn all(profile: &'static Profile) -> Vec<Vector> {
    let mut wanted: Edges = edges()
        .into_iter()
        .fold(0, |all, (from, to)| all | edge(from, to));
    let mut vectors: Vec<Vector> = Vec::new();
    for (members, actions) in lives(profile) {
        let closed = Closed::new(profile, &members);
        let map = Search::new(&closed).map(&actions, PLACES_MAX);
        loop {
            let (sends, taken) = way(&map, wanted);
            if taken & wanted == 0 {
                break;
            }
            let Some((states, edges)) = automaton::build(&closed, &sends) else {
                unreachable!("the search sent all of it")
            };
            let new = edges & wanted;
            wanted &= !edges;
            vectors.push(Vector {
                name: String::new(),
                kind: Kind::Tour,
                about: String::new(),
                profile,
                members: members.clone(),
                sends,
                covers: moves(edges),
                states,
            });
            if new == 0 {
                break;
            }
        }
    }
    without_superfluous(vectors)
}

/// Leaves out whatever the others take as well.
fn without_superfluous(mut vectors: Vec<Vector>) -> Vec<Vector> {
    let mut at = 0;
    while at < vectors.len() {
        let others = |edge| {
            let mut others = vectors.iter().enumerate().filter(|&(other, _)| other != at);
            others.any(|(_, vector)| vector.covers.contains(edge))
        };
        if vectors[at].covers.iter().all(others) {
            vectors.remove(at);
        } else {
            at += 1;
        }
    }
    for (at, vector) in vectors.iter_mut().enumerate() {
        vector.name = format!("tour/{}", at + 1);
        let told: Vec<String> = vector
            .covers
            .iter()
            .map(|(from, to)| format!("{from} to {to}"))
            .collect();
        vector.about = format!("takes {}", told.join(", "));
    }
    vectors
}
