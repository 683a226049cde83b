//! Bare QMP objects: what a monitor's socket or a test's log shows, without who sent what.
//!
//! Objects may stand one a line, several in a line, or over many lines; they may be written as
//! Python prints its dictionaries (`'x'`, `True`, `None`); other lines may stand between them, and
//! objects that are no QMP. Who sent an object its members tell: commands `execute`, everything else
//! comes from the daemon. The commands may be missing.
//!
//! What stands before an object in its line names the monitor (`vm0 <-- {`, `DEBUG:qmp.vm0:--> {`,
//! `mon1: {`), so that one file may show several.

use super::json::read_line;
use super::lines::{LINE_MAX_BYTES, Line, Lines};
use super::python::to_json;
use super::qmp::{Direction, Message, Record};
use super::scan;
use crate::oracle::error::TraceError;
use std::io::BufRead;

/// What stands between the objects of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Lines with no object.
    pub lines: u64,
    /// The first of them, from 1.
    pub first: u64,
}

impl Passed {
    /// Notes one more.
    pub const fn note(&mut self, line: u64) {
        if self.lines == 0 {
            self.first = line;
        }
        self.lines += 1;
    }
}

/// One object.
#[derive(Debug)]
pub struct Object<'a> {
    /// A line that holds it, as JSON: its number is that of the line it begins in, and it is not
    /// `whole` where the trace's end cuts it.
    pub line: Line<'a>,
    /// Which monitor's it is; empty where none is named.
    pub monitor: &'a str,
    /// Something in it was filtered out, or was no text.
    pub filtered: bool,
    /// Text was passed over before it: whoever lets that stand between may have left out anything.
    pub behind_text: bool,
}

/// Reads one object after the other.
#[derive(Debug)]
pub struct Objects<R> {
    lines: Lines<R>,
    /// The line that is looked at, from [`Objects::at`] on.
    line: String,
    at: usize,
    number: u64,
    whole: bool,
    /// The object, as JSON.
    object: String,
    /// Whose it is.
    monitor: String,
    passed: Passed,
}

/// How far an object has been read.
#[derive(Default)]
struct Scan {
    /// Open braces and brackets.
    depth: usize,
    /// The quotation mark that ends the string it is in.
    quote: Option<u8>,
    /// The byte before was a backslash in a string.
    escaped: bool,
    /// Something in it is Python's, not JSON's.
    python: bool,
}

impl Scan {
    /// Goes on in `text`; behind the object's end, if that is there.
    fn end_in(&mut self, text: &str) -> Option<usize> {
        for (at, byte) in text.bytes().enumerate() {
            if let Some(quote) = self.quote {
                if self.escaped {
                    self.escaped = false;
                } else if byte == b'\\' {
                    self.escaped = true;
                } else if byte == quote {
                    self.quote = None;
                }
                continue;
            }
            match byte {
                b'"' => self.quote = Some(byte),
                b'\'' => {
                    self.quote = Some(byte);
                    self.python = true;
                }
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                // True, False, None, and what was filtered out; JSON's words are in small letters.
                b'A'..=b'Z' | b'(' => self.python = true,
                _ => {}
            }
        }
        None
    }
}

/// Behind the object or list that `text` begins with, if it ends there.
pub fn object_end(text: &str) -> Option<usize> {
    Scan::default().end_in(text)
}

impl<R: BufRead> Objects<R> {
    /// The objects of a trace whose first line with something to read, and what stands before it,
    /// was read already.
    pub fn new(first: &Line<'_>, passed: Passed, lines: Lines<R>) -> Objects<R> {
        Objects {
            lines,
            line: first.text.to_owned(),
            at: 0,
            number: first.number,
            whole: first.whole,
            object: String::new(),
            monitor: String::new(),
            passed,
        }
    }

    /// How many lines were no text, and the first of them.
    pub const fn mended(&self) -> (u64, u64) {
        self.lines.mended()
    }

    /// What was passed over so far.
    pub const fn passed(&self) -> Passed {
        self.passed
    }

    /// The object that begins in this line was none of QMP's.
    pub const fn pass(&mut self, line: u64) {
        self.passed.note(line);
    }

    /// The line that was read last, from 1.
    pub const fn line(&self) -> u64 {
        self.number
    }

    /// Takes the next line into hand; `false` at the end.
    fn turn(&mut self) -> Result<bool, TraceError> {
        let Some(line) = self.lines.next_of_log()? else {
            return Ok(false);
        };
        self.line.clear();
        self.line.push_str(line.text);
        self.number = line.number;
        self.whole = line.whole;
        self.at = 0;
        Ok(true)
    }

    /// Goes to where the next object begins; `false` at the end.
    fn find(&mut self) -> Result<bool, TraceError> {
        loop {
            let rest = &self.line[self.at..];
            let text = rest.trim_start();
            if text.starts_with('{') {
                if self.at == 0 {
                    self.monitor.clear();
                }
                self.at += rest.len() - text.len();
                return Ok(true);
            }
            if let Some(before) = marks(text) {
                self.monitor.clear();
                self.at += rest.len() - text.len() + before;
                return Ok(true);
            }
            if let Some((name, before)) = named(text) {
                self.monitor.clear();
                self.monitor.push_str(name);
                self.at += rest.len() - text.len() + before;
                return Ok(true);
            }
            if !text.is_empty() {
                self.passed.note(self.number);
            }
            if !self.turn()? {
                return Ok(false);
            }
        }
    }

    /// The next object; `None` at the end.
    ///
    /// # Errors
    /// What cannot be read, or is longer than [`LINE_MAX_BYTES`].
    pub fn next_object(&mut self) -> Result<Option<Object<'_>>, TraceError> {
        if !self.find()? {
            return Ok(None);
        }
        let number = self.number;
        let mut scan = Scan::default();
        self.object.clear();
        let whole = loop {
            let rest = &self.line[self.at..];
            if let Some(end) = scan.end_in(rest) {
                self.object.push_str(&rest[..end]);
                self.at += end;
                break true;
            }
            self.object.push_str(rest);
            // A string does not go over lines; what looks like one is a mistake that JSON tells.
            scan.quote = None;
            scan.escaped = false;
            self.object.push(' ');
            if self.object.len() as u64 > LINE_MAX_BYTES {
                return Err(TraceError::LineTooLong {
                    line: number,
                    max_bytes: LINE_MAX_BYTES,
                });
            }
            if !self.turn()? {
                self.line.clear();
                self.at = 0;
                break false;
            }
        };
        // Two that differ may look alike now.
        let mut filtered = self.lines.mended().0 > 0;
        if scan.python {
            let unfiltered = to_json(&self.object);
            self.object = unfiltered.json;
            filtered |= unfiltered.filtered;
        }
        Ok(Some(Object {
            line: Line {
                number,
                text: &self.object,
                whole,
            },
            monitor: &self.monitor,
            filtered,
            behind_text: self.passed.lines > 0,
        }))
    }
}

/// How many marks of progress, as Python's unit tests print them, stand before the object that follows.
fn marks(text: &str) -> Option<usize> {
    let rest = text.trim_start_matches(['.', 's', 'x', 'u', 'E', 'F']);
    let behind = rest.strip_prefix('{')?;
    behind
        .trim_start()
        .starts_with(['"', '\''])
        .then_some(text.len() - rest.len())
}

/// The monitor that a line names before an object of its, and how many bytes stand before that object.
///
/// An arrow is followed by an object whatever it looks like; a colon, by one that ends in the line.
pub fn named(text: &str) -> Option<(&str, usize)> {
    const ARROWS: [&str; 8] = ["-->", "<--", ">>>", "<<<", "->", "<-", ">", "<"];
    let brace = text.find('{')?;
    let before = text[..brace].trim_end();
    let name = if let Some(name) = ARROWS.iter().find_map(|arrow| before.strip_suffix(arrow)) {
        name
    } else {
        let name = before.strip_suffix(':')?;
        Scan::default().end_in(&text[brace..])?;
        name
    };
    // The time, the level and what else a logger writes tell nobody's name.
    let said = |word: &&str| {
        let time = |byte: u8| byte.is_ascii_digit() || b".,-+/TZ".contains(&byte);
        !word.is_empty()
            && !word.bytes().all(time)
            && !["DEBUG", "INFO", "WARNING", "ERROR"].contains(word)
    };
    let name = name
        .rsplit([':', ' ', '\t', '[', ']', '(', ')', '|'])
        .find(said)
        .unwrap_or_default();
    Some((name, brace))
}

/// What an object is.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // It is taken apart as soon as it is made.
pub enum Found<'a> {
    /// Something of a conversation.
    Message(Record<'a>),
    /// No QMP.
    Other,
    /// The last one, cut.
    Cut,
}

/// Reads an object.
///
/// # Errors
/// It is not JSON, nor what Python prints.
pub fn read<'a>(object: &Line<'a>) -> Result<Found<'a>, TraceError> {
    let mut message = Message::default();
    if scan::members(object.text, &mut message).is_none() {
        let read = read_line::<Message<'a>>(object.text, object.number, object.whole)?;
        let Some(read) = read else {
            return Ok(Found::Cut);
        };
        message = read;
    }
    let sent = message.execute.is_present() || message.execute_oob.is_present();
    let received = [
        message.greeting,
        message.event,
        message.value,
        message.error,
    ];
    let direction = if sent {
        Direction::Sent
    } else if received.into_iter().any(super::json::Piece::is_present) {
        Direction::Received
    } else {
        return Ok(Found::Other);
    };
    Ok(Found::Message(Record {
        line: object.number,
        direction,
        message,
        data: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(text: &str) -> (Vec<(u64, String, bool)>, Passed) {
        let mut lines = Lines::new(text.as_bytes());
        let first = {
            let line = lines.next_line().unwrap().unwrap();
            (line.number, line.text.to_owned(), line.whole)
        };
        let first = Line {
            number: first.0,
            text: &first.1,
            whole: first.2,
        };
        let mut objects = Objects::new(&first, Passed::default(), lines);
        let mut found = Vec::new();
        while let Some(Object { line, .. }) = objects.next_object().unwrap() {
            found.push((line.number, line.text.to_owned(), line.whole));
        }
        (found, objects.passed())
    }

    #[test]
    fn objects_stand_in_a_line_or_over_many() {
        let (found, passed) = objects("{\"a\":1} {\"b\":[{}]}\n{\n  \"c\": {\n }\n}\n{\"d\":\n");
        assert_eq!(
            found,
            [
                (1, "{\"a\":1}".to_owned(), true),
                (1, "{\"b\":[{}]}".to_owned(), true),
                (2, "{   \"c\": {  } }".to_owned(), true),
                (6, "{\"d\": ".to_owned(), false),
            ]
        );
        assert_eq!(passed.lines, 0);
    }

    #[test]
    fn braces_in_strings_end_nothing() {
        let (found, _) = objects(r#"{"a":"}\"{[","b":'}'} "#);
        assert_eq!(found, [(1, r#"{"a":"}\"{[","b":"}"}"#.to_owned(), true)]);
    }

    #[test]
    fn what_stands_between_is_passed_over_and_counted() {
        let (found, passed) = objects("=== a test ===\n\n{\"a\":1} behind\n--- end\n");
        assert_eq!(found.len(), 1);
        assert_eq!((passed.lines, passed.first), (3, 1));
    }

    #[test]
    fn what_stands_before_an_object_names_its_monitor() {
        for (line, name) in [
            ("<-- {\"return\": {}}", Some("")),
            ("-> { \"return\": {} }", Some("")),
            ("vm0 <-- {", Some("vm0")),
            ("2026-01-02 03:04:05,678 DEBUG [vm0] >>> {", Some("vm0")),
            (
                "DEBUG:qemu.qmp.qmp_client.vm-1:--> {",
                Some("qemu.qmp.qmp_client.vm-1"),
            ),
            ("mon1: {\"return\": {}} behind", Some("mon1")),
            // It may be the beginning of anything.
            ("static int f: {", None),
            ("f() {\"a\": 1}", None),
            ("no object", None),
        ] {
            assert_eq!(named(line).map(|found| found.0), name, "{line}");
            if let Some((_, before)) = named(line) {
                assert!(line[before..].starts_with('{'), "{line}");
            }
        }
    }

    #[test]
    fn commands_are_told_from_what_the_daemon_says() {
        let of = |text| {
            let line = Line {
                number: 3,
                text,
                whole: true,
            };
            match read(&line).unwrap() {
                Found::Message(record) => record.direction,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(of(r#"{"execute":"quit"}"#), Direction::Sent);
        assert_eq!(of(r#"{"exec-oob":"x"}"#), Direction::Sent);
        assert_eq!(of(r#"{"return":{}}"#), Direction::Received);
        assert_eq!(of(r#"{"event":"X"}"#), Direction::Received);
    }

    #[test]
    fn what_is_no_qmp_is_told_from_what_is() {
        let of = |text, whole| {
            read(&Line {
                number: 3,
                text,
                whole,
            })
        };
        let other = of(r#"{"virtual-size": 1, "format": "raw"}"#, true);
        assert!(matches!(other, Ok(Found::Other)), "{other:?}");
        assert!(matches!(of(r#"{"return":"#, false), Ok(Found::Cut)));
        of(r#"{"return":"#, true).unwrap_err();
    }
}
