//! A lasso: an endless story, a stem and a cycle, that never brings what is due, and that a fair machine could live
//! through.

use super::NO_CLASS;
use super::components::Components;
use super::graph::{CLASS, Graph};

/// An endless story that never brings what is due.
pub(in super::super) struct Lasso {
    pub(in super::super) property: usize,
    pub(in super::super) story: Vec<String>,
}

impl Graph<'_> {
    /// The shortest lasso found for each property that has one.
    pub(in super::super) fn lassos(&self) -> Vec<Lasso> {
        let mut lassos: Vec<Lasso> = Vec::new();
        for duty in 0..self.duties.len() {
            let Some(story) = self.lasso(duty) else {
                continue;
            };
            let property = self.duties[duty].property;
            match lassos.iter_mut().find(|lasso| lasso.property == property) {
                Some(lasso) if lasso.story.len() <= story.len() => {}
                Some(lasso) => lasso.story = story,
                None => lassos.push(Lasso { property, story }),
            }
        }
        lassos
    }

    /// A lasso that never brings what is due.
    fn lasso(&self, duty: usize) -> Option<Vec<String>> {
        let reach = self.reach(duty);
        let components = Components::new(self, duty, &reach);
        let entry = components.fair?;
        let cycle = self.cycle(duty, &components, entry);
        Some(self.tell(&reach, entry, &cycle))
    }

    /// Every world where the duty is open, in the order of a breadth first search from those where it
    /// begins.
    fn reach(&self, duty: usize) -> Reach {
        let mut from = vec![NOWHERE; self.seen.len()];
        let mut order = Vec::new();
        for state in 0..self.facts.len() as u32 {
            if self.begins(duty, state) {
                from[state as usize] = state;
                order.push(state);
            }
        }
        let mut at = 0;
        while let Some(&state) = order.get(at) {
            at += 1;
            for edge in self.edges(state) {
                let next = self.to[edge];
                if from[next as usize] == NOWHERE && self.is_open(duty, next) {
                    from[next as usize] = state;
                    order.push(next);
                }
            }
        }
        Reach { from, order }
    }

    /// A way around the component of `entry` in which every class has its turn, or can be seen to
    /// have none.
    fn cycle(&self, duty: usize, components: &Components, entry: u32) -> Vec<usize> {
        let component = components.of[entry as usize];
        let inside = |edge: usize| {
            self.recurs(duty, edge) && components.of[self.to[edge] as usize] == component
        };
        let mut cycle: Vec<usize> = Vec::new();
        let mut here = entry;
        let mut owed = self.due(duty, entry);
        if owed == 0 {
            // Everybody may as well stay where he is.
            return cycle;
        }
        for class in 0..NO_CLASS {
            if owed & (1 << class) == 0 {
                continue;
            }
            // To the nearest step of the class, or to where it has none.
            let way = self.way(here, &inside, &|state, edge| {
                edge.map_or(self.due(duty, state) & (1 << class) == 0, |edge| {
                    self.kinds[edge] & CLASS == class
                })
            });
            for edge in way {
                here = self.to[edge];
                cycle.push(edge);
                owed &= self.due(duty, here) & !(1 << (self.kinds[edge] & CLASS));
            }
        }
        if here != entry {
            let home = |_, edge: Option<usize>| edge.is_some_and(|edge| self.to[edge] == entry);
            cycle.extend(self.way(here, &inside, &home));
        }
        cycle
    }

    /// The shortest way from `start` over steps `inside` to a world, or over a step, that is
    /// `wanted`; empty where there is none.
    fn way(
        &self,
        start: u32,
        inside: &dyn Fn(usize) -> bool,
        wanted: &dyn Fn(u32, Option<usize>) -> bool,
    ) -> Vec<usize> {
        let mut came = std::collections::HashMap::new();
        let mut order = vec![start];
        let mut at = 0;
        let back = |came: &std::collections::HashMap<u32, (u32, usize)>, mut here: u32| {
            let mut way = Vec::new();
            while here != start {
                let (before, edge) = came[&here];
                way.push(edge);
                here = before;
            }
            way.reverse();
            way
        };
        while let Some(&state) = order.get(at) {
            at += 1;
            if wanted(state, None) {
                return back(&came, state);
            }
            for edge in self.edges(state).filter(|&edge| inside(edge)) {
                if wanted(state, Some(edge)) {
                    let mut way = back(&came, state);
                    way.push(edge);
                    return way;
                }
                let next = self.to[edge];
                if next != start && !came.contains_key(&next) {
                    came.insert(next, (state, edge));
                    order.push(next);
                }
            }
        }
        Vec::new()
    }

    /// The story: from the beginning to where the duty begins, on to the cycle, and around.
    fn tell(&self, reach: &Reach, entry: u32, cycle: &[usize]) -> Vec<String> {
        let mut path = vec![entry];
        let mut here = entry;
        while reach.from[here as usize] != here {
            here = reach.from[here as usize];
            path.push(here);
        }
        while here != 0 {
            here = self.parents[here as usize];
            path.push(here);
        }
        path.reverse();
        let mut story: Vec<String> = path
            .windows(2)
            .map(|pair| {
                let edge = self.edges(pair[0]).find(|&edge| self.to[edge] == pair[1]);
                edge.map_or_else(String::new, |edge| self.name(pair[0], edge))
            })
            .collect();
        let mut here = entry;
        for &edge in cycle {
            story.push(format!("again and again: {}", self.name(here, edge)));
            here = self.to[edge];
        }
        if cycle.is_empty() {
            story.push("and nothing has to happen any more".to_owned());
        }
        story
    }
}

/// Not reached.
pub(super) const NOWHERE: u32 = u32::MAX;

/// The worlds in which a duty is open, from where each was first reached, and in which order.
pub(super) struct Reach {
    pub(super) from: Vec<u32>,
    pub(super) order: Vec<u32>,
}
