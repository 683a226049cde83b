//! JSON as QEMU reads and writes it on a monitor.
//!
//! | file | concept |
//! |---|---|
//! | [`lexer`] | bytes to tokens, and how reading goes on behind what is no token |
//! | [`reader`] | tokens to messages: where one ends, limits |
//! | [`parser`] | the tokens of a message to a value |
//! | [`write`](mod@write) | a value to a line |
//!
//! Not `serde_json`'s reader: a monitor takes messages that end where their last brace is, wherever lines
//! end, takes strings in single quotes, answers what is no JSON in words of its own, and goes on behind it
//! at a place of its own. Clients rely on the first and meet the rest when they are broken. Held against a
//! live QEMU by `tests/serve_beside_qemu.rs`, byte by byte.

pub mod lexer;
pub mod parser;
pub mod reader;
pub mod write;
