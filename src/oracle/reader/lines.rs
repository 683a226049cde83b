//! A trace as numbered lines, one at a time, in memory that does not grow with the trace.

use std::io::{BufRead, Read};

use crate::oracle::error::TraceError;

/// The longest line that is read, in bytes. Beyond it a file is no trace, or no line.
pub const LINE_MAX_BYTES: u64 = 64 << 20;

/// One line.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: u64,
    /// Its text, without the line break.
    pub text: &'a str,
    /// It ended with a line break; the last line of a trace that was cut does not.
    pub whole: bool,
}

/// Reads lines; blank ones are passed over but counted.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The line, where its bytes were no text.
    mended: String,
    /// How many lines were no text, and the first of them.
    broken: (u64, u64),
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Lines of `reader`.
    pub const fn new(reader: R) -> Lines<R> {
        Lines {
            reader,
            buffer: Vec::new(),
            mended: String::new(),
            broken: (0, 0),
            number: 0,
        }
    }

    /// The next line that is not blank; `None` at the end.
    ///
    /// # Errors
    /// What cannot be read, is longer than [`LINE_MAX_BYTES`], or is not text.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, TraceError> {
        let Some((end, whole)) = self.fill()? else {
            return Ok(None);
        };
        let bytes = &self.buffer[..end];
        let line = self.number;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(Line {
                number: line,
                text,
                whole,
            })),
            // Cut in the middle of a character: the readable part shows that the line is cut.
            Err(error) if !whole && error.error_len().is_none() && error.valid_up_to() > 0 => {
                let text = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
                Ok(Some(Line {
                    number: line,
                    text,
                    whole,
                }))
            }
            Err(error) => Err(TraceError::NotText {
                line,
                column: error.valid_up_to() as u64 + 1,
            }),
        }
    }

    /// How many lines of a log were no text, and the first of them.
    pub const fn mended(&self) -> (u64, u64) {
        self.broken
    }

    /// The next line of a log, in which anything may stand: what is no text is replaced.
    ///
    /// # Errors
    /// What cannot be read, or is longer than [`LINE_MAX_BYTES`].
    pub fn next_of_log(&mut self) -> Result<Option<Line<'_>>, TraceError> {
        let Some((end, whole)) = self.fill()? else {
            return Ok(None);
        };
        let bytes = &self.buffer[..end];
        let text = if let Ok(text) = std::str::from_utf8(bytes) {
            text
        } else {
            if self.broken.0 == 0 {
                self.broken.1 = self.number;
            }
            self.broken.0 += 1;
            self.mended = String::from_utf8_lossy(bytes).into_owned();
            &self.mended
        };
        Ok(Some(Line {
            number: self.number,
            text,
            whole,
        }))
    }

    /// Reads a line that is not blank; how long it is, and whether it ended with a line break.
    fn fill(&mut self) -> Result<Option<(usize, bool)>, TraceError> {
        loop {
            self.buffer.clear();
            let read = (&mut self.reader)
                .take(LINE_MAX_BYTES + 1)
                .read_until(b'\n', &mut self.buffer)
                .map_err(|source| TraceError::Read {
                    line: self.number + 1,
                    source,
                })?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 > LINE_MAX_BYTES {
                return Err(TraceError::LineTooLong {
                    line: self.number,
                    max_bytes: LINE_MAX_BYTES,
                });
            }
            if self.buffer.iter().any(|byte| !byte.is_ascii_whitespace()) {
                let whole = self.buffer[read - 1] == b'\n';
                return Ok(Some((read - usize::from(whole), whole)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<(u64, String, bool)> {
        let mut lines = Lines::new(bytes);
        let mut read = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            read.push((line.number, line.text.to_owned(), line.whole));
        }
        read
    }

    #[test]
    fn blank_lines_count_and_are_passed_over() {
        assert_eq!(
            read(b"a\n\n \r\nb"),
            [(1, "a".to_owned(), true), (4, "b".to_owned(), false)]
        );
        assert_eq!(read(b""), []);
    }

    #[test]
    fn what_is_not_text_is_named_by_line_and_column() {
        let mut lines = Lines::new(&b"ok\nab\xff\n"[..]);
        lines.next_line().unwrap();
        match lines.next_line() {
            Err(TraceError::NotText { line: 2, column: 3 }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn in_a_log_what_is_not_text_is_replaced() {
        let mut lines = Lines::new(&b"a\xffb\nok"[..]);
        assert_eq!(lines.next_of_log().unwrap().unwrap().text, "a\u{fffd}b");
        let last = lines.next_of_log().unwrap().unwrap();
        assert_eq!((last.number, last.text, last.whole), (2, "ok", false));
        assert!(lines.next_of_log().unwrap().is_none());
        assert_eq!(lines.mended(), (1, 1));
    }

    #[test]
    fn a_character_cut_at_the_very_end_is_a_cut_line() {
        assert_eq!(read(b"{\"a\xc3"), [(1, "{\"a".to_owned(), false)]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut lines = Lines::new(std::io::BufReader::new(std::io::repeat(b'x')));
        match lines.next_line() {
            Err(TraceError::LineTooLong { line: 1, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}
