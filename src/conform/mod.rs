//! Drives a live implementation with generated programs, and judges every answer and every event.
//!
//! ```text
//! generate → program → conversation ⇄ peer
//!                           ↓
//!              oracle, trace log, other peer → divergence → shrink → a program that shows it
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`program`] | what is sent and waited for, as data |
//! | [`image`] | the images that jobs work on |
//! | [`peer`] | the implementation: started, talked to, ended |
//! | [`conversation`] | one program with one peer, judged as it goes |
//! | [`cover`] | which cells and moves of the tables were seen |
//! | [`recipe`] | what it takes to have a job of each kind |
//! | [`generate`] | programs, made up as they go |
//! | [`identity`] | who a peer is, and what it can do |
//! | [`folder`] | where its images are |
//! | [`station`] | a place where one peer works, program after program |
//! | [`witness`] | QEMU's trace log, held against the conversation |
//! | [`against`] | the same program on two peers |
//! | [`divergence`] | what must not be, and which of it is known |
//! | [`shrink`] | the shortest program that still shows it |
//! | [`campaign`] | many programs on several peers |
//!
//! Everything here may block for as long as a peer may be silent, and no longer.

pub mod against;
pub mod campaign;
pub mod conversation;
pub mod cover;
pub mod divergence;
pub mod folder;
pub mod generate;
pub mod identity;
pub mod image;
pub mod peer;
pub mod program;
pub mod recipe;
pub mod shrink;
pub mod station;
pub mod witness;
