//! Telling the formats apart: by the first line, or, of those that other text may precede, by the first
//! line that tells.

use std::io::BufRead;

use super::json::{pieces, read_line};
use super::libvirt;
use super::lines::{Line, Lines};
use super::python::to_json;
use super::qemu_log;
use super::raw::{Passed, named};
use crate::oracle::error::TraceError;

/// How many lines of other text may precede the first that tells the format.
const PREFACE_MAX_LINES: u64 = 10_000;

/// A format a trace may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The engine's own trace: JSON lines after a header.
    Native,
    /// A recorded QMP conversation: `{"t","dir","msg"}` lines.
    Qmp,
    /// Bare QMP objects.
    QmpRaw,
    /// QEMU's trace log.
    QemuLog,
    /// libvirt's debug log.
    Libvirt,
}

impl Format {
    /// Every format that is read.
    pub const ALL: [Format; 5] = [
        Format::Native,
        Format::Qmp,
        Format::QmpRaw,
        Format::QemuLog,
        Format::Libvirt,
    ];

    /// The name to ask for it by.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Native => "native",
            Format::Qmp => "qmp",
            Format::QmpRaw => "qmp-raw",
            Format::QemuLog => "qemu-log",
            Format::Libvirt => "libvirt",
        }
    }

    /// Whether other text may stand before it and in it, and what is no text at all.
    const fn may_be_preceded(self) -> bool {
        matches!(self, Format::QmpRaw | Format::QemuLog | Format::Libvirt)
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
/// is. So is one that the name of a monitor precedes, or in which something was filtered out.
fn goes_on(line: &str) -> bool {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix('{') {
        return rest.is_empty()
            || rest.trim_start().starts_with('\'')
            || to_json(line).filtered && line.contains("\"event\"");
    }
    let arrow = ["-->", "<--", ">>>", "<<<", "->", "<-"]
        .iter()
        .any(|arrow| line.contains(arrow));
    arrow && named(line).is_some()
        || MEMBERS.iter().any(|member| line.contains(member)) && named(line).is_some()
}

/// What nothing but a bare QMP object has.
const MEMBERS: [&str; 4] = ["\"execute\":", "\"return\":", "'execute':", "'return':"];

/// The first line that is read, kept.
#[derive(Debug)]
pub struct First {
    number: u64,
    text: String,
    whole: bool,
}

impl First {
    fn of(line: &Line<'_>) -> First {
        First {
            number: line.number,
            text: line.text.to_owned(),
            whole: line.whole,
        }
    }

    /// It.
    pub fn line(&self) -> Line<'_> {
        Line {
            number: self.number,
            text: &self.text,
            whole: self.whole,
        }
    }
}

/// Finds where a trace begins and of which format it is, unless that is `given`; what stands before
/// it is counted. `None`: its only line is cut, so nothing can be said.
///
/// # Errors
/// It is empty, cannot be read, or is of no format that is read.
pub fn begin<R: BufRead>(
    lines: &mut Lines<R>,
    given: Option<Format>,
    passed: &mut Passed,
) -> Result<(Option<Format>, First), TraceError> {
    let log = given.is_some_and(Format::may_be_preceded);
    let first = if log {
        lines.next_of_log()
    } else {
        lines.next_line()
    };
    let reason = match first {
        Ok(None) => return Err(TraceError::Empty),
        Ok(Some(first)) if given.is_some() => return Ok((given, First::of(&first))),
        Ok(Some(first)) => match detect(&first) {
            Ok(format) => return Ok((format, First::of(&first))),
            Err(reason) => reason,
        },
        Err(reason @ TraceError::NotText { .. }) if given.is_none() => reason,
        Err(error) => return Err(error),
    };
    passed.note(reason.line().unwrap_or(1));
    while let Ok(Some(line)) = lines.next_of_log() {
        if let Ok(Some(format)) = detect(&line)
            && format.may_be_preceded()
        {
            return Ok((Some(format), First::of(&line)));
        }
        passed.note(line.number);
        if passed.lines > PREFACE_MAX_LINES {
            break;
        }
    }
    Err(reason)
}

/// The format of a trace that begins with `line`; `None`: the line is cut, so nothing can be said.
///
/// # Errors
/// It is not JSON, or belongs to no format that is read.
pub fn detect(line: &Line<'_>) -> Result<Option<Format>, TraceError> {
    if libvirt::is_libvirt(line.text) {
        return Ok(Some(Format::Libvirt));
    }
    if qemu_log::is_stamped(line.text) || qemu_log::read(line).is_some_and(|entry| entry.is_whole())
    {
        return Ok(Some(Format::QemuLog));
    }
    if goes_on(line.text) {
        return Ok(Some(Format::QmpRaw));
    }
    let Some(marks) = read_line::<Marks<'_>>(line.text, line.number, line.whole)? else {
        return Ok(None);
    };
    if marks.native.is_present() {
        return Ok(Some(Format::Native));
    }
    if marks.dir.is_present() || marks.msg.is_object() {
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
         conversation (each line is {\"t\":…,\"dir\":…,\"msg\":{…}}), nor a bare QMP object, nor a line of QEMU's trace log or of libvirt's debug log";
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
            "{\"timestamp\": {\"seconds\":  TIMESTAMP}, \"event\": \"STOP\"}",
            "DEBUG:qmp.vm0:--> {",
        ] {
            assert_eq!(of(bare).unwrap(), Some(Format::QmpRaw), "{bare}");
        }
    }

    #[test]
    fn a_trace_log_is_known_by_its_events_or_its_stamps() {
        for text in [
            "job_completed job 0x1 ret 0",
            "42@1700000000.123456:qemu_mutex_lock waiting on mutex",
            "qmp_enter_job_pause {\"id\": \"j\"}",
        ] {
            assert_eq!(of(text).unwrap(), Some(Format::QemuLog), "{text}");
        }
        of("job_completed job").unwrap_err();
        of("a@b.c: d").unwrap_err();
    }

    #[test]
    fn what_is_none_of_them_is_told_what_they_are() {
        for text in ["{}", "[]", "5", "\"x\""] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.contains("neither a native trace"), "{error}");
        }
    }

    #[test]
    fn other_text_may_come_first_where_the_format_lets_it() {
        let begun = |text: &str| {
            let mut passed = Passed::default();
            begin(&mut Lines::new(text.as_bytes()), None, &mut passed)
                .map(|(format, first)| (format, first.line().number, passed.lines))
        };
        let raw = "text\n\n{}\n{\"return\": {}}\n";
        assert_eq!(begun(raw).unwrap(), (Some(Format::QmpRaw), 4, 2));
        assert_eq!(
            begun("x\nvm0 <-- {\n").unwrap(),
            (Some(Format::QmpRaw), 2, 1)
        );
        let qmp = "text\n{\"dir\":\"<\",\"msg\":{}}\n";
        assert!(begun(qmp).unwrap_err().to_string().starts_with("line 1:"));
        let far = "text\n".repeat(20_000) + "{\"return\": {}}\n";
        assert!(begun(&far).is_err());
    }

    #[test]
    fn names_read_back() {
        for format in Format::ALL {
            assert_eq!(Format::by_name(format.name()), Some(format));
        }
        assert_eq!(Format::by_name("xml"), None);
    }
}
