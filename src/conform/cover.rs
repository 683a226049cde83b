//! Which cells of the verb table and which moves of the transition table were seen.
//!
//! A cell is a verb in a status. It is seen refused where the refusal names the status, and permitted in the first
//! status that permits it of those that the job had from the verb's turn to its answer, as in
//! [`oracle::coverage`](crate::oracle::coverage).

use std::collections::BTreeMap;

use blockjob_model::{Profile, Status, Verb};

/// The statuses in which a client can find a job at rest.
pub const STATUSES: [Status; 7] = [
    Status::Running,
    Status::Paused,
    Status::Ready,
    Status::Standby,
    Status::Waiting,
    Status::Pending,
    Status::Concluded,
];

/// What was seen, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cover {
    cells: BTreeMap<(Verb, Status), u64>,
    edges: BTreeMap<(Status, Status), u64>,
}

impl Cover {
    /// Notes a verb in a status.
    pub fn cell(&mut self, verb: Verb, status: Status) {
        *self.cells.entry((verb, status)).or_default() += 1;
    }

    /// Notes a move.
    pub fn edge(&mut self, from: Status, to: Status) {
        if from.may_become(to) {
            *self.edges.entry((from, to)).or_default() += 1;
        }
    }

    /// How often the verb was seen in the status.
    pub fn times(&self, verb: Verb, status: Status) -> u64 {
        self.cells.get(&(verb, status)).copied().unwrap_or(0)
    }

    /// How often the move was seen.
    pub fn moves(&self, from: Status, to: Status) -> u64 {
        self.edges.get(&(from, to)).copied().unwrap_or(0)
    }

    /// Adds what was seen elsewhere.
    pub fn add(&mut self, other: &Cover) {
        for (cell, times) in &other.cells {
            *self.cells.entry(*cell).or_default() += times;
        }
        for (edge, times) in &other.edges {
            *self.edges.entry(*edge).or_default() += times;
        }
    }

    /// How many of the cells of `profile` were seen, and of how many.
    pub fn cells(&self, profile: &Profile) -> (usize, usize) {
        let all: Vec<_> = cells(profile).collect();
        let seen = all.iter().filter(|(v, s)| self.times(*v, *s) > 0);
        (seen.count(), all.len())
    }

    /// How many moves were seen, and of how many.
    pub fn edges(&self) -> (usize, usize) {
        let all: Vec<_> = edges().collect();
        let seen = all.iter().filter(|(from, to)| self.moves(*from, *to) > 0);
        (seen.count(), all.len())
    }

    /// The cells that were not seen.
    pub fn cells_missing(&self, profile: &Profile) -> Vec<(Verb, Status)> {
        cells(profile)
            .filter(|(verb, status)| self.times(*verb, *status) == 0)
            .collect()
    }

    /// The moves that were not seen.
    pub fn edges_missing(&self) -> Vec<(Status, Status)> {
        edges()
            .filter(|(from, to)| self.moves(*from, *to) == 0)
            .collect()
    }
}

/// The verbs that an implementation of `profile` has.
pub fn verbs(profile: &Profile) -> impl Iterator<Item = Verb> {
    let change = profile.permits(Verb::Change, Status::Running);
    Verb::ALL
        .into_iter()
        .filter(move |verb| *verb != Verb::Change || change)
}

/// The cells that a client can try.
pub fn cells(profile: &Profile) -> impl Iterator<Item = (Verb, Status)> {
    verbs(profile).flat_map(|verb| STATUSES.into_iter().map(move |status| (verb, status)))
}

/// The moves that can be seen: all but that of aborting to itself, which is silent.
pub fn edges() -> impl Iterator<Item = (Status, Status)> {
    Status::ALL.into_iter().flat_map(|from| {
        Status::ALL
            .into_iter()
            .filter(move |to| from.may_become(*to) && from != *to)
            .map(move |to| (from, to))
    })
}

/// Why a cell is hard to see, where that is known.
pub fn why_missing(verb: Verb, status: Status) -> Option<&'static str> {
    match (verb, status) {
        (Verb::Resume, Status::Waiting | Status::Pending | Status::Concluded) => Some(
            "a resume of a job that is not paused is refused before the table is asked; the table answers only where \
             a pause came after the last pause point",
        ),
        (Verb::Resume, Status::Running | Status::Ready) => Some(
            "the table answers only between a pause and its acknowledgement, when nothing else is refused first",
        ),
        _ => None,
    }
}

/// Whether a job in the one status may come to the other, in as many steps as it takes, none included.
pub fn leads_to(from: Status, to: Status) -> bool {
    let mut met = vec![from];
    let mut next = 0;
    while let Some(&status) = met.get(next) {
        if status == to {
            return true;
        }
        next += 1;
        for then in Status::ALL {
            if status.may_become(then) && !met.contains(&then) {
                met.push(then);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use blockjob_model::profile::REFERENCE;

    #[test]
    fn there_are_as_many_cells_and_moves_as_the_tables_have() {
        let of = |name| Profile::by_name(name).unwrap();
        assert_eq!(cells(of("qemu-10.0")).count(), 56);
        assert_eq!(cells(of("qemu-7.2")).count(), 49);
        assert_eq!(edges().count(), 19);
    }

    #[test]
    fn what_is_noted_is_seen_and_what_no_table_has_is_not() {
        let mut cover = Cover::default();
        cover.cell(Verb::Pause, Status::Running);
        cover.edge(Status::Created, Status::Running);
        cover.edge(Status::Null, Status::Running);
        let mut twice = cover.clone();
        twice.add(&cover);
        assert_eq!(twice.times(Verb::Pause, Status::Running), 2);
        assert_eq!(twice.moves(Status::Created, Status::Running), 2);
        assert_eq!(twice.edges(), (1, 19));
        assert_eq!(twice.cells(&REFERENCE).0, 1);
        assert_eq!(twice.edges_missing().len(), 18);
    }

    #[test]
    fn no_way_leads_back_from_waiting() {
        assert!(leads_to(Status::Running, Status::Null));
        assert!(leads_to(Status::Paused, Status::Paused));
        assert!(!leads_to(Status::Waiting, Status::Paused));
        assert!(!leads_to(Status::Ready, Status::Running));
    }
}
