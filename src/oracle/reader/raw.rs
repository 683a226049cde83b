//! Bare QMP objects: what a monitor's socket or a test's log shows, without who sent what.
//!
//! Objects may stand one a line, several in a line, or over many lines; they may be written as
//! Python prints its dictionaries (`'x'`, `True`, `None`); other lines may stand between them.
//! Who sent an object its members tell: commands `execute`, everything else comes from the daemon.
//! The commands may be missing.

use super::json::read_line;
use super::lines::{LINE_MAX_BYTES, Line, Lines};
use super::qmp::{Direction, Message, Record};
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
                // True, False and None; JSON's words are in small letters.
                b'T' | b'F' | b'N' => self.python = true,
                _ => {}
            }
        }
        None
    }
}

impl<R: BufRead> Objects<R> {
    /// The objects of a trace whose first line was read already.
    pub fn new(first: &Line<'_>, lines: Lines<R>) -> Objects<R> {
        Objects {
            lines,
            line: first.text.to_owned(),
            at: 0,
            number: first.number,
            whole: first.whole,
            object: String::new(),
            passed: Passed::default(),
        }
    }

    /// What was passed over so far.
    pub const fn passed(&self) -> Passed {
        self.passed
    }

    /// The line that was read last, from 1.
    pub const fn line(&self) -> u64 {
        self.number
    }

    /// Takes the next line into hand; `false` at the end.
    fn turn(&mut self) -> Result<bool, TraceError> {
        let Some(line) = self.lines.next_line()? else {
            return Ok(false);
        };
        self.line.clear();
        self.line.push_str(line.text);
        self.number = line.number;
        self.whole = line.whole;
        self.at = 0;
        Ok(true)
    }

    /// The next object, as a line that holds it: its number is that of the line it begins in.
    /// `None` at the end; an object that the end cuts is not `whole`.
    ///
    /// # Errors
    /// What cannot be read, is no text, or is longer than [`LINE_MAX_BYTES`].
    pub fn next_object(&mut self) -> Result<Option<Line<'_>>, TraceError> {
        loop {
            let rest = &self.line[self.at..];
            let blank = rest.len() - rest.trim_start().len();
            if rest.trim_start().starts_with('{') {
                self.at += blank;
                break;
            }
            if !rest.trim().is_empty() {
                self.passed.lines += 1;
                if self.passed.lines == 1 {
                    self.passed.first = self.number;
                }
            }
            if !self.turn()? {
                return Ok(None);
            }
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
        if scan.python {
            self.object = to_json(&self.object);
        }
        Ok(Some(Line {
            number,
            text: &self.object,
            whole,
        }))
    }
}

/// A dictionary as Python prints it, as JSON: quotation marks, escapes, and three words.
///
/// JSON stays as it is.
fn to_json(python: &str) -> String {
    let mut json = String::with_capacity(python.len() + 8);
    let mut rest = python.char_indices().peekable();
    while let Some((at, char)) = rest.next() {
        match char {
            '"' | '\'' => {
                json.push('"');
                while let Some((_, inside)) = rest.next() {
                    match inside {
                        _ if inside == char => break,
                        '"' => json.push_str("\\\""),
                        '\\' => match rest.next() {
                            Some((_, '\'')) => json.push('\''),
                            // Two hexadecimal digits there, four here.
                            Some((_, 'x')) => json.push_str("\\u00"),
                            Some((_, other)) => {
                                json.push('\\');
                                json.push(other);
                            }
                            None => {}
                        },
                        _ => json.push(inside),
                    }
                }
                json.push('"');
            }
            'T' | 'F' | 'N' => {
                let words = [("True", "true"), ("False", "false"), ("None", "null")];
                if let Some((word, meant)) = words
                    .into_iter()
                    .find(|(word, _)| python[at..].starts_with(word))
                {
                    json.push_str(meant);
                    for _ in 1..word.len() {
                        rest.next();
                    }
                } else {
                    json.push(char);
                }
            }
            _ => json.push(char),
        }
    }
    json
}

/// Reads an object. `Ok(None)`: the last one, cut.
///
/// # Errors
/// It is not JSON, nor what Python prints.
pub fn read<'a>(object: &Line<'a>) -> Result<Option<Record<'a>>, TraceError> {
    let message = read_line::<Message<'a>>(object.text, object.number, object.whole)?;
    Ok(message.map(|message| Record {
        line: object.number,
        direction: if message.execute.is_present() || message.execute_oob.is_present() {
            Direction::Sent
        } else {
            Direction::Received
        },
        message,
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
        let mut objects = Objects::new(&first, lines);
        let mut found = Vec::new();
        while let Some(line) = objects.next_object().unwrap() {
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
    fn python_is_read_as_json() {
        for (python, json) in [
            (
                "{'a': True, 'b': None, 'c': False}",
                r#"{"a": true, "b": null, "c": false}"#,
            ),
            (
                r#"{'a': "it's", 'b': 'say "x"'}"#,
                r#"{"a": "it's", "b": "say \"x\""}"#,
            ),
            (
                r"{'a': 'it\'s \x41 \\ \n'}",
                r#"{"a": "it's \u0041 \\ \n"}"#,
            ),
            (r#"{"NUL": "True", "T": 1}"#, r#"{"NUL": "True", "T": 1}"#),
            ("{'a': '€'}", r#"{"a": "€"}"#),
        ] {
            assert_eq!(to_json(python), json);
            serde_json::from_str::<serde_json::Value>(json).unwrap();
        }
    }

    #[test]
    fn commands_are_told_from_what_the_daemon_says() {
        let of = |text| {
            read(&Line {
                number: 3,
                text,
                whole: true,
            })
            .unwrap()
            .unwrap()
            .direction
        };
        assert_eq!(of(r#"{"execute":"quit"}"#), Direction::Sent);
        assert_eq!(of(r#"{"exec-oob":"x"}"#), Direction::Sent);
        assert_eq!(of(r#"{"return":{}}"#), Direction::Received);
        assert_eq!(of(r#"{"event":"X"}"#), Direction::Received);
    }
}
