//! Every place of rest that can be reached by these actions, by the shortest way.
//!
//! A place is a set of rests: what was sent may have led to any of them, so what is sent next must be
//! possible in all.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::closed::{Belief, Closed, Edges, Resting};
use super::script::{Action, Observation};
use crate::hash::{FastMap, FastSet};
use crate::status::Status;

/// A set of rests.
pub(super) type Place = BTreeSet<Resting>;

/// What an action leads to.
#[derive(Clone)]
pub(super) struct After {
    /// Where it may come to rest.
    pub(super) place: Place,
    /// The answers it may get; empty where there is none to get.
    pub(super) replies: BTreeSet<Observation>,
    /// The moves it makes for certain.
    pub(super) edges: Edges,
}

/// One place, and one way to it.
pub(super) struct Visit {
    /// The place.
    pub(super) place: Place,
    /// Where it was come from, by which action.
    from: Option<(usize, Action)>,
    /// Where each action leads that can be sent.
    pub(super) next: Vec<(Action, usize, Edges)>,
}

/// All places, the beginning first.
pub(super) struct Map {
    pub(super) visits: Vec<Visit>,
    /// More places were there than were asked for.
    pub(super) cut: bool,
}

/// What each action leads to, found out once.
pub(super) struct Search<'a> {
    closed: &'a Closed,
    known: HashMap<(Resting, Action), Option<After>>,
}

impl<'a> Search<'a> {
    pub(super) fn new(closed: &'a Closed) -> Search<'a> {
        Search {
            closed,
            known: HashMap::new(),
        }
    }

    /// What `action` leads to from everywhere in `place`; nothing where it cannot be sent in all of it, or
    /// may never be answered.
    pub(super) fn after(&mut self, place: &Place, action: Action) -> Option<After> {
        let mut all: Option<After> = None;
        for resting in place {
            let key = (Arc::clone(resting), action);
            if !self.known.contains_key(&key) {
                let after = self.explore(resting, action);
                self.known.insert(key.clone(), after);
            }
            let one = self.known[&key].as_ref()?;
            match &mut all {
                None => all = Some(one.clone()),
                Some(all) => {
                    all.place.extend(one.place.iter().cloned());
                    all.replies.extend(&one.replies);
                    all.edges &= one.edges;
                }
            }
        }
        all
    }

    fn explore(&self, resting: &Resting, action: Action) -> Option<After> {
        let sent = self.closed.send(resting, action)?;
        let mut after = After {
            place: Place::new(),
            replies: BTreeSet::new(),
            edges: self.closed.certain(&sent),
        };
        let mut known: FastSet<Belief> = FastSet::default();
        let mut queue = VecDeque::from([self.closed.close(sent)]);
        while let Some(belief) = queue.pop_front() {
            let next = self.closed.next(&belief);
            if next.stuck {
                return None;
            }
            after.place.extend(next.rest);
            for (observation, belief) in next.see {
                if matches!(
                    observation,
                    Observation::Accepted | Observation::Refused { .. }
                ) {
                    after.replies.insert(observation);
                }
                if known.insert(belief.clone()) {
                    queue.push_back(belief);
                }
            }
        }
        Some(after)
    }

    /// Every place that these actions lead to, but no more than `max`.
    pub(super) fn map(&mut self, actions: &[Action], max: usize) -> Map {
        let beginning = Place::from([self.closed.beginning()]);
        let mut index: FastMap<Place, usize> = FastMap::default();
        index.insert(beginning.clone(), 0);
        let mut visits = vec![Visit {
            place: beginning,
            from: None,
            next: Vec::new(),
        }];
        let mut cut = false;
        let mut at = 0;
        while at < visits.len() {
            let place = visits[at].place.clone();
            for &action in actions {
                let Some(after) = self.after(&place, action) else {
                    continue;
                };
                let to = match index.get(&after.place) {
                    Some(&to) => to,
                    None if visits.len() >= max => {
                        cut = true;
                        continue;
                    }
                    None => {
                        index.insert(after.place.clone(), visits.len());
                        visits.push(Visit {
                            place: after.place,
                            from: Some((at, action)),
                            next: Vec::new(),
                        });
                        visits.len() - 1
                    }
                };
                visits[at].next.push((action, to, after.edges));
            }
            at += 1;
        }
        Map { visits, cut }
    }
}

impl Map {
    /// The actions that lead to a place, the fewest.
    pub(super) fn way(&self, mut at: usize) -> Vec<Action> {
        let mut way = Vec::new();
        while let Some((before, action)) = self.visits[at].from {
            way.push(action);
            at = before;
        }
        way.reverse();
        way
    }
}

/// The status of a member, where all of the place agrees on one.
pub(super) fn status(place: &Place, member: usize) -> Option<Status> {
    let mut statuses = place
        .iter()
        .flat_map(|resting| resting.iter())
        .map(|world| world.jobs[member].status);
    let first = statuses.next()?;
    statuses.all(|status| status == first).then_some(first)
}
