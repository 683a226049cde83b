//! Conformance vectors: what to send to an implementation, and everything that it may then show.
//!
//! A vector is a deterministic automaton. Its states say which observations are allowed next and where
//! they lead, and, where the implementation may have come to rest, what is sent then. It is computed from
//! the step relation, by the same closure under unseen steps as a belief of the [acceptor](crate::accept):
//! whoever passes a vector leaves a trace that the acceptor takes.
//!
//! What the specification leaves to drivers is fixed by the vector: a driver does nothing but what it is
//! [ordered](Action), ends by itself only when it is cancelled by force, and its `prepare` fails or not as its
//! [`Member`] says. So an implementation comes to rest after everything that is sent, and says so.
//!
//! | file | what |
//! |---|---|
//! | `script` | what may be sent, what may be seen |
//! | `closed` | the specification with such drivers: everything that may follow, up to the next rest |
//! | `automaton` | the states of one vector, merged where nobody can tell them apart |
//! | `search` | every place of rest that can be reached, by the shortest way |
//! | `cells`, `tour`, `groups`, `sequences` | the four kinds of vectors |
//! | `json` | as written to files |

mod automaton;
mod cells;
mod closed;
mod groups;
mod json;
mod script;
mod search;
mod sequences;
mod tour;

use crate::profile::Profile;
use crate::status::Status;

pub use automaton::{Rest, State};
pub use json::{index, kind, observation};
pub use script::{Action, Member, Observation};
pub use tour::edges as tour_edges;

/// What a vector is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// One verb in one status, with one answer.
    Cell,
    /// A way through the transition table.
    Tour,
    /// A transaction of up to three members, each with its own fate.
    Group,
    /// An ordinary life.
    Sequence,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Cell, Kind::Tour, Kind::Group, Kind::Sequence];

    /// The name of the file it is written to, without its ending.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Cell => "cells",
            Kind::Tour => "tour",
            Kind::Group => "groups",
            Kind::Sequence => "sequences",
        }
    }
}

/// One conformance vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vector {
    /// Its name, unique in its profile: `cells/paused/pause/already-paused`.
    pub name: String,
    /// What it is there for.
    pub kind: Kind,
    /// What it shows, in a sentence.
    pub about: String,
    /// Whose rules.
    pub profile: &'static Profile,
    /// The jobs it speaks of, in the order of their creation: `j0`, `j1` …, one transaction.
    pub members: Vec<Member>,
    /// What is sent, in this order, each when the implementation has come to rest.
    pub sends: Vec<Action>,
    /// The moves of the transition table that it takes on every way through it.
    pub covers: Vec<(Status, Status)>,
    /// What is allowed; the first state is where it begins.
    pub states: Vec<State>,
}

/// Every vector of a profile, in the order of their kinds.
pub fn all(profile: &'static Profile) -> Vec<Vector> {
    let mut vectors = cells::all(profile);
    vectors.extend(tour::all(profile));
    vectors.extend(groups::all(profile));
    vectors.extend(sequences::all(profile));
    vectors
}

/// The id of the job at a place in [`Vector::members`].
pub fn id(member: usize) -> String {
    format!("j{member}")
}

impl Vector {
    /// A shortest way through it: what is seen, and, at each rest, nothing.
    pub fn example(&self) -> Vec<Option<Observation>> {
        automaton::example(&self.states)
    }
}
