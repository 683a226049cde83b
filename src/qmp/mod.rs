//! The engine as a QMP server: what `blockjob serve` is.
//!
//! | module | concept |
//! |---|---|
//! | [`json`] | JSON as a QEMU monitor reads and writes it |
//! | [`schema`] | commands, arguments and events as data, and how arguments are held against it |
//! | [`node`] | the user's files, by name |
//! | [`job`] | the drivers: real copies from node to node |
//! | [`command`] | what each command does |
//! | [`conversation`] | one client's side: negotiation, requests, answers |
//! | [`server`] | sockets, clients, events, the end |
//!
//! Names, defaults, error classes and words are those of QEMU 10.0 (SEMANTICS.md §2 and Appendix A; live ones
//! are compared by `tests/serve_beside_qemu.rs`); how jobs behave is the profile `reference`'s. Differences on
//! purpose are listed in docs/serve.md.

pub mod command;
pub mod conversation;
mod error;
pub mod job;
pub mod json;
pub mod node;
pub mod schema;
pub mod server;

pub use error::{Class, Error};
