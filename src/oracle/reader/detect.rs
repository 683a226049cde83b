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
}

impl Format {
    /// Every format that is read.
    pub const ALL: [Format; 2] = [Format::Native, Format::Qmp];

    /// The name to ask for it by.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Native => "native",
            Format::Qmp => "qmp",
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
        execute: "execute",
    }
}

/// The format of a trace that begins with `line`; `None`: the line is cut, so nothing can be said.
///
/// # Errors
/// It is not JSON, or belongs to no format that is read.
pub fn detect(line: &Line<'_>) -> Result<Option<Format>, TraceError> {
    let Some(marks) = read_line::<Marks<'_>>(line.text, line.number, line.whole)? else {
        return Ok(None);
    };
    if marks.native.is_present() {
        return Ok(Some(Format::Native));
    }
    if marks.dir.is_present() || marks.msg.is_present() {
        return Ok(Some(Format::Qmp));
    }
    let bare = [marks.greeting, marks.event, marks.value, marks.execute];
    let what = if bare.into_iter().any(super::json::Piece::is_present) {
        "a bare QMP object; wrap each as {\"dir\":\">\" or \"<\",\"msg\":{…}}, \
         which says who sent it"
    } else {
        "neither a native trace (it begins with {\"blockjob_trace\":1,…}) nor a QMP \
         conversation (each line is {\"t\":…,\"dir\":…,\"msg\":{…}})"
    };
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
    }

    #[test]
    fn what_is_none_of_them_is_told_what_they_are() {
        let error = of(r#"{"return":{}}"#).unwrap_err().to_string();
        assert!(error.contains("bare QMP object"), "{error}");
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
