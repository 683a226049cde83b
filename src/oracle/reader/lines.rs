//! A trace as numbered lines, one at a time, in memory that does not grow with the trace.

use std::cell::Cell;
use std::io::{self, BufRead};
use std::ops::Range;
use std::rc::Rc;

use memchr::{memchr, memrchr};

use crate::oracle::error::TraceError;

/// The longest line that is read, in bytes. Beyond it a file is no trace, or no line.
pub const LINE_MAX_BYTES: u64 = 64 << 20;

/// How much is read at a time, bytes.
const BUFFER_BYTES: usize = 1 << 18;

/// So many bytes of lines are taken at once; a longer line is taken by itself.
const BLOCK_MAX_BYTES: usize = 4 * BUFFER_BYTES;

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
    /// What was read, and not yet taken, is in it from `start` to `end`; before `seen` no line ends.
    buffer: Vec<u8>,
    start: usize,
    seen: usize,
    end: usize,
    /// The line, where its bytes were no text.
    mended: String,
    /// How many lines were no text, and the first of them.
    broken: (u64, u64),
    number: u64,
    zeroes: Zeroes,
    /// So many zero bytes stood behind what is in the buffer, which was too long with them, and nothing else since.
    shed: u64,
    /// The longest line that is read, bytes.
    max_bytes: u64,
}

/// Lines that are there at once.
#[derive(Debug)]
pub struct Block<'a> {
    /// Those that were not taken yet.
    text: &'a str,
    /// That of the line before.
    number: &'a mut u64,
}

impl<'a> Iterator for Block<'a> {
    type Item = Line<'a>;

    #[inline]
    fn next(&mut self) -> Option<Line<'a>> {
        loop {
            let end = memchr(b'\n', self.text.as_bytes())?;
            let text = &self.text[..end];
            self.text = &self.text[end + 1..];
            *self.number += 1;
            // As a rule the first byte shows that there is something.
            if text.bytes().any(|byte| !byte.is_ascii_whitespace()) {
                return Some(Line {
                    number: *self.number,
                    text,
                    whole: true,
                });
            }
        }
    }
}

/// How many zero bytes stand at a trace's end, where a file system leaves them that lost what was being written.
#[derive(Clone, Debug, Default)]
pub struct Zeroes(Rc<Cell<u64>>);

impl Zeroes {
    /// So many, once the trace was read to its end.
    pub fn count(&self) -> u64 {
        self.0.get()
    }
}

/// What may stand before the first character of a text in UTF-8 (a byte order mark).
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether a text begins as one in UTF-16 does whose first character is one of ASCII, with that encoding's mark or without.
fn is_utf_16(text: &[u8]) -> bool {
    let mark = usize::from(matches!(text, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]));
    matches!(text.get(2 * mark..2 * mark + 2), Some(&[0, ascii] | &[ascii, 0]) if ascii != 0 && ascii < 0x80)
}

impl<R: BufRead> Lines<R> {
    /// Lines of `reader`.
    pub fn new(reader: R) -> Lines<R> {
        Lines {
            reader,
            buffer: Vec::new(),
            start: 0,
            seen: 0,
            end: 0,
            mended: String::new(),
            broken: (0, 0),
            number: 0,
            zeroes: Zeroes::default(),
            shed: 0,
            max_bytes: LINE_MAX_BYTES,
        }
    }

    /// The zero bytes at the end.
    pub fn zeroes(&self) -> Zeroes {
        self.zeroes.clone()
    }

    /// The next line that is not blank; `None` at the end.
    ///
    /// # Errors
    /// What cannot be read, is longer than [`LINE_MAX_BYTES`], or is not text.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, TraceError> {
        let Some((place, whole)) = self.fill()? else {
            return Ok(None);
        };
        let bytes = &self.buffer[place];
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

    /// The next lines, as many as are there at once and are text; `None` where there is no such line: the next one is the
    /// last, or has something wrong with it.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn next_lines(&mut self) -> Result<Option<Block<'_>>, TraceError> {
        // The first line may begin as others do not.
        if self.number == 0 {
            return Ok(None);
        }
        let end = loop {
            let window = self.end.min(self.start + BLOCK_MAX_BYTES);
            if let Some(unseen) = self.buffer.get(self.seen..window)
                && let Some(at) = memrchr(b'\n', unseen)
            {
                break self.seen + at + 1;
            }
            if window < self.end {
                return Ok(None);
            }
            self.seen = self.end;
            if !self.more()? {
                return Ok(None);
            }
        };
        let bytes = &self.buffer[self.start..end];
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let whole = memrchr(b'\n', &bytes[..error.valid_up_to()]).map_or(0, |at| at + 1);
                std::str::from_utf8(&bytes[..whole]).unwrap_or_default()
            }
        };
        self.start += text.len();
        self.seen = self.start;
        if text.is_empty() {
            return Ok(None);
        }
        Ok(Some(Block {
            text,
            number: &mut self.number,
        }))
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
        let Some((place, whole)) = self.fill()? else {
            return Ok(None);
        };
        let bytes = &self.buffer[place];
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

    /// Goes to the next line that is not blank: where it is in the buffer, without the line break, and
    /// whether it had one.
    fn fill(&mut self) -> Result<Option<(Range<usize>, bool)>, TraceError> {
        loop {
            let ended = memchr(b'\n', &self.buffer[self.seen..self.end]);
            let (mut place, whole) = if let Some(at) = ended {
                (self.start..self.seen + at, true)
            } else {
                self.seen = self.end;
                if self.more()? {
                    continue;
                }
                if self.start == self.end {
                    self.zeroes.0.set(self.zeroes.count().max(self.shed));
                    return Ok(None);
                }
                (self.start..self.end, false)
            };
            self.start = place.end + usize::from(whole);
            self.seen = self.start;
            self.number += 1;
            if self.number == 1 && self.buffer[place.clone()].starts_with(MARK) {
                place.start += MARK.len();
            }
            if self.number == 1 && is_utf_16(&self.buffer[place.clone()]) {
                return Err(TraceError::Utf16);
            }
            if !whole {
                let line = &self.buffer[place.clone()];
                let zeroes = line.iter().rev().take_while(|byte| **byte == 0).count();
                self.zeroes.0.set(self.shed + zeroes as u64);
                place.end -= zeroes;
            }
            if place.len() as u64 > self.max_bytes {
                return Err(self.too_long());
            }
            let line = &self.buffer[place.clone()];
            if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                return Ok(Some((place, whole)));
            }
        }
    }

    /// Reads on behind what is there; `false` at the end.
    fn more(&mut self) -> Result<bool, TraceError> {
        let line = self.number + 1;
        if (self.end - self.start) as u64 > self.max_bytes && !self.shed_zeroes() {
            self.number = line;
            return Err(self.too_long());
        }
        if self.start > 0 {
            // The beginning of a line, which is short as a rule.
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.seen -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < self.end + BUFFER_BYTES {
            // The system yields zeroes for nothing; filling with them costs more than a short trace does.
            let mut larger = vec![0; (2 * self.buffer.len()).max(self.end + BUFFER_BYTES)];
            larger[..self.end].copy_from_slice(&self.buffer[..self.end]);
            self.buffer = larger;
        }
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(read) if self.shed > 0 && read > 0 => {
                    let piece = &self.buffer[self.end..self.end + read];
                    if piece.iter().any(|&byte| byte != 0) {
                        self.number = line;
                        return Err(self.too_long());
                    }
                    self.shed += read as u64;
                }
                Ok(read) => {
                    self.end += read;
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TraceError::Read { line, source }),
            }
        }
    }

    /// Lets go of the zero bytes at the end of what is there, which is too long with them; `false`: there are none. More of
    /// them may follow, and nothing else.
    fn shed_zeroes(&mut self) -> bool {
        let there = &self.buffer[self.start..self.end];
        let zeroes = there.iter().rev().take_while(|byte| **byte == 0).count();
        self.shed += zeroes as u64;
        self.end -= zeroes;
        self.seen = self.end;
        zeroes > 0
    }

    const fn too_long(&self) -> TraceError {
        TraceError::LineTooLong {
            line: self.number,
            max_bytes: self.max_bytes,
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

    /// The same, as many at a time as are there.
    fn read_at_once(reader: impl BufRead) -> Result<Vec<(u64, String, bool)>, TraceError> {
        let mut lines = Lines::new(reader);
        let mut read = Vec::new();
        let mut take = |line: &Line<'_>| {
            read.push((line.number, line.text.to_owned(), line.whole));
        };
        loop {
            if let Some(block) = lines.next_lines()? {
                block.for_each(|line| take(&line));
            } else if let Some(line) = lines.next_line()? {
                take(&line);
            } else {
                return Ok(read);
            }
        }
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
    fn a_mark_before_the_first_character_is_none_of_the_text() {
        assert_eq!(
            read(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n"),
            [(1, "a".to_owned(), true), (2, "\u{feff}b".to_owned(), true)]
        );
    }

    #[test]
    fn two_bytes_a_character_are_named_for_what_they_are() {
        for text in [&b"\xff\xfe{\0"[..], b"\xfe\xff\0{", b"{\0\"\0", b"\0{\0\""] {
            let next = Lines::new(text).next_line().map(|line| line.is_some());
            assert!(matches!(next, Err(TraceError::Utf16)), "{next:?}");
        }
        assert_eq!(read(b"{\"\0"), [(1, "{\"".to_owned(), false)]);
        // Not enough of it to tell.
        let next = Lines::new(&b"\xff\xfe\n"[..])
            .next_line()
            .map(|line| line.is_some());
        assert!(matches!(next, Err(TraceError::NotText { .. })), "{next:?}");
    }

    #[test]
    fn zeroes_at_the_end_are_what_was_not_written() {
        for (text, left) in [
            (&b"a\n\0\0\0"[..], vec![(1, "a".to_owned(), true)]),
            (
                b"a\nb\0\0\0",
                vec![(1, "a".to_owned(), true), (2, "b".to_owned(), false)],
            ),
        ] {
            let mut lines = Lines::new(text);
            let zeroes = lines.zeroes();
            let mut read = Vec::new();
            while let Some(line) = lines.next_line().unwrap() {
                read.push((line.number, line.text.to_owned(), line.whole));
            }
            assert_eq!((read, zeroes.count()), (left, 3));
        }
    }

    #[test]
    fn more_zeroes_than_a_line_may_be_long_are_what_was_not_written_too() {
        const MAX_BYTES: u64 = 1 << 10;
        let many = 5 * BUFFER_BYTES as u64 + 7;
        for before in ["a\n", "a\nb", ""] {
            let end = io::Read::chain(before.as_bytes(), io::Read::take(io::repeat(0), many));
            let mut lines = Lines {
                max_bytes: MAX_BYTES,
                ..Lines::new(io::BufReader::new(end))
            };
            let zeroes = lines.zeroes();
            let mut read = String::new();
            while let Some(line) = lines.next_line().unwrap() {
                read.push_str(line.text);
                read.push_str(if line.whole { "\n" } else { "" });
            }
            assert_eq!((read.as_str(), zeroes.count()), (before, many));
        }
        let rest = io::Read::chain(io::Read::take(io::repeat(0), many), &b"a\n"[..]);
        let mut lines = Lines {
            max_bytes: MAX_BYTES,
            ..Lines::new(io::BufReader::new(rest))
        };
        match lines.next_line() {
            Err(TraceError::LineTooLong { line: 1, .. }) => {}
            other => panic!("{other:?}"),
        }
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
    fn lines_are_the_same_however_they_come() {
        let mut text = String::new();
        for number in 0..20_000 {
            text.push_str(&"x".repeat(number % 97));
            text.push('\n');
        }
        text.push_str(&"y".repeat(1 << 20));
        text.push_str("\nlast");
        let expected: Vec<(u64, String, bool)> = text
            .split('\n')
            .zip(1..)
            .filter(|(line, _)| !line.is_empty())
            .map(|(line, number)| (number, line.to_owned(), line != "last"))
            .collect();
        assert!(read(text.as_bytes()) == expected);
        // As from a pipe, in pieces.
        for piece in [1, 7, 4096] {
            let mut lines = Lines::new(Pieces(text.as_bytes(), piece));
            for (number, text, whole) in &expected {
                let line = lines.next_line().unwrap().unwrap();
                let same = (line.number, line.text, line.whole) == (*number, text, *whole);
                assert!(same, "{piece} {number}");
            }
            assert!(lines.next_line().unwrap().is_none());
            let at_once = read_at_once(Pieces(text.as_bytes(), piece)).unwrap();
            assert!(at_once == expected, "{piece}");
        }
        assert!(read_at_once(text.as_bytes()).unwrap() == expected);
        // A line that is longer than what is taken at once, and one that is no text behind it.
        let mut bytes = text
            .replace("last", &"z".repeat(BLOCK_MAX_BYTES + 1))
            .into_bytes();
        bytes.extend_from_slice(b"\nab\xff\nend\n");
        let found = read_at_once(bytes.as_slice());
        let Err(TraceError::NotText { line, column: 3 }) = found else {
            panic!("{found:?}");
        };
        assert_eq!(line, expected[expected.len() - 1].0 + 1);
    }

    #[test]
    fn what_is_wrong_is_found_at_its_line_however_many_are_taken_at_once() {
        for text in [
            &b"a\nb\n\xff\nc\n"[..],
            b"a\n\xc3\nb\n",
            b"a\n\n \r\nb\nc\0\0",
            b"a\nb\xc3",
            b"\xef\xbb\xbfa\nb\n",
            b"a\xff\nb\n",
            b"",
        ] {
            let mut lines = Lines::new(text);
            let mut one_by_one = Vec::new();
            let error = loop {
                match lines.next_line() {
                    Ok(Some(line)) => {
                        one_by_one.push((line.number, line.text.to_owned(), line.whole));
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error.to_string()),
                }
            };
            match read_at_once(text) {
                Ok(at_once) => assert_eq!((at_once, None), (one_by_one, error)),
                Err(found) => assert_eq!(Some(found.to_string()), error),
            }
        }
    }

    /// Yields so much at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl io::Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    impl BufRead for Pieces<'_> {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            Ok(self.0)
        }

        fn consume(&mut self, amount: usize) {
            self.0 = &self.0[amount..];
        }
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
