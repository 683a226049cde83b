//! The server and QEMU, asked the same: `both.rs` has the two, the others what they are asked.

pub mod both;
mod introspection;
mod json;
mod locks;
mod refused_jobs;
mod refused_nodes;
mod refused_verbs;
mod stories;
