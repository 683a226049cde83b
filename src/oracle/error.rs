//! Why a file could not be judged: each error names the place and the way out.

use crate::driver::Errno;
use std::io;

/// What makes a file no trace, or an unreadable one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// It cannot be opened.
    #[error(
        "cannot open it: {}; name a file that exists and may be read",
        sentence(source)
    )]
    Open {
        /// The system's reason.
        source: io::Error,
    },
    /// It is a folder where a file was expected.
    #[error("it is a folder; name a trace in it")]
    Folder,
    /// Reading failed on the way.
    #[error("line {line}: cannot read on: {}", sentence(source))]
    Read {
        /// The line that was being read, from 1.
        line: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// A line is too long to be one.
    #[error("line {line}: longer than {max_bytes} bytes; a trace has one JSON object a line")]
    LineTooLong {
        /// The line, from 1.
        line: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// Bytes that are no text.
    #[error(
        "line {line}, column {column}: not UTF-8 text; a trace is text, or text packed by gzip or zstd"
    )]
    NotText {
        /// The line, from 1.
        line: u64,
        /// The byte in the line, from 1.
        column: u64,
    },
    /// Text of two bytes a character.
    #[error(
        "line 1: UTF-16 text, and not UTF-8 as a trace is; convert it first: iconv -f UTF-16 -t UTF-8 FILE"
    )]
    Utf16,
    /// A line that is no JSON.
    #[error("line {line}: not JSON: {why}; correct or remove the line")]
    Malformed {
        /// The line, from 1.
        line: u64,
        /// What the parser says, with the column.
        why: String,
    },
    /// JSON, but not a record of the format.
    #[error("line {line}: {what}")]
    Shape {
        /// The line, from 1.
        line: u64,
        /// What is missing or wrong, and what is expected.
        what: String,
    },
    /// The first line belongs to no format that is read.
    #[error("line {line}: {what}")]
    UnknownFormat {
        /// The line, from 1.
        line: u64,
        /// What was expected.
        what: String,
    },
    /// The profile's implementation writes no such log.
    #[error(
        "a QEMU trace log, but the profile's job layer has no events for it; choose another with --profile, or auto"
    )]
    NoSuchLog,
    /// The trace was to be held against another recording, which cannot be judged.
    #[error("the other recording, {path}: {error}")]
    Other {
        /// The other recording, as it was named.
        path: String,
        /// Why it cannot.
        error: Box<TraceError>,
    },
    /// Nothing in it.
    #[error("it is empty; record at least one reply or one event")]
    Empty,
    /// Neither a reply to a command nor an event.
    #[error(
        "nothing to judge: no reply to a command and no event in {lines} lines; record the answers of the daemon too"
    )]
    NothingToJudge {
        /// How many lines were read.
        lines: u64,
    },
}

/// What the system said, without Rust's "(os error N)".
fn sentence(error: &io::Error) -> String {
    error
        .raw_os_error()
        .and_then(Errno::new)
        .map_or_else(|| error.to_string(), Errno::text)
}

impl TraceError {
    /// The line it is about, from 1, where there is one.
    pub const fn line(&self) -> Option<u64> {
        match self {
            TraceError::Read { line, .. }
            | TraceError::LineTooLong { line, .. }
            | TraceError::NotText { line, .. }
            | TraceError::Malformed { line, .. }
            | TraceError::Shape { line, .. }
            | TraceError::UnknownFormat { line, .. } => Some(*line),
            TraceError::Utf16 => Some(1),
            _ => None,
        }
    }
}
