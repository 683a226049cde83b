//! Conformance vectors, run against an implementation behind the adapter protocol.
//!
//! The [vectors](blockjob_model::vectors) are the specification's. An adapter is a small program in front of an
//! implementation, in whatever language: it reads a line that says what to do, does it, writes a line for
//! everything that the implementation shows, and one more when that has come to rest. `docs/vectors.md` has the
//! protocol.
//!
//! | module | what |
//! |---|---|
//! | `peer` | lines to the adapter and from it, with a time limit |
//! | `run` | one vector, judged |

mod peer;
mod run;

pub use peer::{Lost, Peer};
pub use run::{Failed, Outcome, Runner};
