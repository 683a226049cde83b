//! Telling the formats apart by the first line.

use super::json::{pieces, read_line};
use super::lines::Line;
use crate::oracle::error::TraceError;

/// A format a trace may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The engine's own trace: JSON lines after a header.
    Native,
    /// A recorded QMP conversation: `{"t","dir","msg"}` lines.
    Qmp,
    /// Bare QMP objects.
    QmpRaw,
}

impl Format {
    /// Every format that is read.
    pub const ALL: [Format; 3] = [Format::Native, Format::Qmp, Format::QmpRaw];

    /// The name to ask for it by.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Native => "native",
            Format::Qmp => "qmp",
            Format::QmpRaw => "qmp-raw",
        }
    }

    /// The format called `name`, if there is one.
    pub fn by_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }
}

pieces! {
    /// What tells the formats apart.
    Marks {
        /// Of the engine's own trace.
        native: "blockjob_trace",
        /// Of a recorded conversation.
        dir: "dir",
        /// Of a recorded conversation.
        msg: "msg",
        /// Of a bare QMP object.
        greeting: "QMP",
        /// Of a bare QMP object.
        event: "event",
        /// Of a bare QMP object.
        value: "return",
        /// Of a bare QMP object.
        error: "error",
        /// Of a bare QMP object.
        execute: "execute",
        /// Of a bare QMP object.
        execute_oob: "exec-oob",
    }
}

/// An object that goes over many lines, or is written as Python does: neither of the other formats
/// is.
fn goes_on(line: &str) -> bool {
    let line = line.trim();
    line.strip_prefix('{')
        .is_some_and(|rest| rest.is_empty() || rest.trim_start().starts_with('\''))
}

/// The format of a trace that begins with `line`; `None`: the line is cut, so nothing can be said.
///
/// # Errors
/// It is not JSON, or belongs to no format that is read.
pub fn detect(line: &Line<'_>) -> Result<Option<Format>, TraceError> {
    if goes_on(line.text) {
        return Ok(Some(Format::QmpRaw));
    }
    let Some(marks) = read_line::<Marks<'_>>(line.text, line.number, line.whole)? else {
        return Ok(None);
    };
    if marks.native.is_present() {
        return Ok(Some(Format::Native));
    }
    if marks.dir.is_present() || marks.msg.is_present() {
        return Ok(Some(Format::Qmp));
    }
    let bare = [
        marks.greeting,
        marks.event,
        marks.value,
        marks.error,
        marks.execute,
        marks.execute_oob,
    ];
    if bare.into_iter().any(super::json::Piece::is_present) {
        return Ok(Some(Format::QmpRaw));
    }
    let what = "neither a native trace (it begins with {\"blockjob_trace\":1,…}), nor a QMP \
         conversation (each line is {\"t\":…,\"dir\":…,\"msg\":{…}}), nor a bare QMP object; \
         where something else comes before the first of those, say --format qmp-raw";
    Err(TraceError::UnknownFormat {
        line: line.number,
        what: what.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Option<Format>, TraceError> {
        detect(&Line {
            number: 1,
            text,
            whole: true,
        })
    }

    #[test]
    fn each_format_is_known_by_its_first_line() {
        assert_eq!(
            of(r#"{"blockjob_trace":1,"profile":"reference"}"#).unwrap(),
            Some(Format::Native)
        );
        assert_eq!(of(r#"{"dir":"<","msg":{}}"#).unwrap(), Some(Format::Qmp));
        for bare in [
            r#"{"return":{}}"#,
            r#"{"error":{}}"#,
            r#"{"QMP":{}}"#,
            r#"{"event":"STOP"}"#,
            r#"{"execute":"quit"}"#,
            r#"{"exec-oob":"quit"}"#,
            "{",
            "{'execute': 'quit'}",
        ] {
            assert_eq!(of(bare).unwrap(), Some(Format::QmpRaw), "{bare}");
        }
    }

    #[test]
    fn what_is_none_of_them_is_told_what_they_are() {
        for text in ["{}", "[]", "5", "\"x\""] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.contains("neither a native trace"), "{error}");
        }
    }

    #[test]
    fn names_read_back() {
        for format in Format::ALL {
            assert_eq!(Format::by_name(format.name()), Some(format));
        }
        assert_eq!(Format::by_name("xml"), None);
    }
}
