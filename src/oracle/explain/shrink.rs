//! The shortest part of a trace that still shows its fault: delta debugging over whole entries.
//!
//! Entries are left out, half of them at a time and then ever fewer, as long as what is left is
//! rejected by the same rule in the same entry when it is judged as any trace is, second look included.
//! In the end each single one is needed. Where the fault shows only by what follows it (a daemon that is
//! stopped from outside brings jobs down and answers nothing more), that much of what follows stays.

use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::ops::Range;

use super::super::reader::detect;
use super::super::reader::lines::Lines;
use super::super::reader::packed;
use super::super::reader::raw::{Object, Objects, Passed};
use super::super::run::{judge_once, judge_twice};
use super::super::{Fault, Format, Options, TraceError};

/// The longest trace that is shrunk, in bytes, unpacked.
pub const TRACE_MAX_BYTES: u64 = 64 << 20;

/// So many bytes are judged in search of it.
const JUDGED_MAX_BYTES: usize = 4 << 30;

/// So many words are tried of those that several entries share, the most frequent first.
const WORDS_MAX: usize = 128;

/// A trace that shows its fault and is no longer than it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// It, in the format of the whole one.
    pub trace: Vec<u8>,
    /// How many entries it has.
    pub entries: usize,
    /// How many the whole one has up to the fault.
    pub of: usize,
    /// Every single entry is needed; else the search became too long.
    pub minimal: bool,
}

/// Why a trace is not shrunk.
#[derive(Debug, thiserror::Error)]
pub enum ShrinkError {
    /// It cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// It is too long.
    #[error(
        "it is longer than {} MiB unpacked; cut it behind the faulty line and before the first of its jobs",
        TRACE_MAX_BYTES >> 20
    )]
    TooLong,
    /// Judged again, it is another.
    #[error("read again, it is not rejected at line {line} by {rule}; was it written meanwhile?")]
    Changed {
        /// Where it was.
        line: u64,
        /// The rule.
        rule: &'static str,
    },
}

/// Shrinks the trace that `reader` yields, which `fault` is the first fault of when judged by `options`.
///
/// # Errors
/// It cannot be read, is too long, or does not show the fault.
pub fn shrink(
    reader: impl BufRead,
    options: &Options,
    fault: &Fault,
) -> Result<Shrunk, ShrinkError> {
    let read_error = |source| TraceError::Read { line: 1, source };
    let mut trace = Vec::new();
    packed::unpack(reader)
        .map_err(read_error)?
        .reader
        .take(TRACE_MAX_BYTES + 1)
        .read_to_end(&mut trace)
        .map_err(read_error)?;
    if trace.len() as u64 > TRACE_MAX_BYTES {
        return Err(ShrinkError::TooLong);
    }
    let changed = ShrinkError::Changed {
        line: fault.line,
        rule: fault.rule,
    };
    let lines: Vec<&[u8]> = trace.split_inclusive(|&byte| byte == b'\n').collect();
    let entries = entries(&trace, options)?;
    let faulty = entries.iter().position(|entry| {
        let numbers = entry.start as u64 + 1..entry.end as u64 + 1;
        numbers.contains(&fault.line)
    });
    let Some(faulty) = faulty else {
        return Err(changed);
    };
    // At first sight is cheaper, and nearly always enough.
    let first = judge_once(trace.as_slice(), options);
    let place = (fault.line, fault.rule);
    let plainly = first
        .fault()
        .is_some_and(|first| (first.line, first.rule) == place);
    let mut search = Search {
        lines,
        entries,
        options,
        rule: fault.rule,
        faulty,
        twice: !plainly,
        left_bytes: JUDGED_MAX_BYTES,
    };
    let of = faulty + 1;
    let (mut kept, mut minimal) = search.shortest().ok_or(changed)?;
    if !std::mem::replace(&mut search.twice, true)
        && search.shows(&kept) == Some(false)
        && let Some(found) = search.shortest()
    {
        (kept, minimal) = found;
    }
    Ok(Shrunk {
        trace: search.text(&kept),
        entries: kept.len(),
        of,
        minimal,
    })
}

/// The entries of a trace, each as a range of its lines.
fn entries(trace: &[u8], options: &Options) -> Result<Vec<Range<usize>>, TraceError> {
    let count = trace.split_inclusive(|&byte| byte == b'\n').count();
    let mut passed = Passed::default();
    let mut lines = Lines::new(trace);
    let (format, first) = detect::begin(&mut lines, options.format, &mut passed)?;
    let first = first.line();
    let mut entries: Vec<Range<usize>> = Vec::new();
    match format {
        Some(Format::QmpRaw) => {
            let mut objects = Objects::new(&first, passed, lines);
            while let Ok(Some(Object { line, .. })) = objects.next_object() {
                let start = line.number as usize - 1;
                let end = objects.line() as usize;
                match entries.last_mut() {
                    // Several in one line are left out together.
                    Some(last) if start < last.end => last.end = last.end.max(end),
                    _ => {
                        let before = entries.last().map_or(0, |last| last.end);
                        entries.extend((before..start).map(|line| line..line + 1));
                        entries.push(start..end.max(start + 1));
                    }
                }
            }
        }
        // An entry begins with its time, whatever wrote it; what does not goes on from the line before.
        Some(Format::Libvirt) => {
            for (number, line) in trace.split_inclusive(|&byte| byte == b'\n').enumerate() {
                let begins = line.first().is_some_and(u8::is_ascii_alphanumeric);
                match entries.last_mut() {
                    Some(last) if !begins => last.end = number + 1,
                    _ => entries.push(number..number + 1),
                }
            }
        }
        _ => {}
    }
    let known = entries.last().map_or(0, |last| last.end);
    entries.extend((known..count).map(|line| line..line + 1));
    Ok(entries)
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

struct Search<'a> {
    lines: Vec<&'a [u8]>,
    entries: Vec<Range<usize>>,
    options: &'a Options,
    rule: &'static str,
    /// The faulty entry.
    faulty: usize,
    /// What is left is looked at a second time, as any trace is: it may look as if whoever wrote it down had left the rest
    /// out.
    twice: bool,
    left_bytes: usize,
}

impl Search<'_> {
    fn text(&self, kept: &[usize]) -> Vec<u8> {
        kept.iter()
            .flat_map(|&entry| &self.lines[self.entries[entry].clone()])
            .flat_map(|line| line.iter().copied())
            .collect()
    }

    /// Whether these entries show the fault; `None`: enough was judged.
    fn shows(&mut self, kept: &[usize]) -> Option<bool> {
        let text = self.text(kept);
        self.left_bytes = self.left_bytes.checked_sub(text.len())?;
        let length = |entry: &usize| self.entries[*entry].len() as u64;
        let place = kept.iter().position(|&entry| entry == self.faulty)?;
        let before: u64 = kept[..place].iter().map(length).sum();
        let place = before + 1..before + 1 + length(&self.faulty);
        let options = Options {
            keep_going: false,
            live: false,
            ..*self.options
        };
        let verdict = if self.twice {
            judge_twice(&text, &options)
        } else {
            judge_once(text.as_slice(), &options)
        };
        Some(
            verdict
                .fault()
                .is_some_and(|fault| fault.rule == self.rule && place.contains(&fault.line)),
        )
    }

    /// The shortest part that shows the fault, and whether all of it is needed; `None`: the whole does not show it.
    fn shortest(&mut self) -> Option<(Vec<usize>, bool)> {
        let of = self.faulty + 1;
        // As much of what follows as it takes.
        let mut end = of;
        let mut kept: Vec<usize> = loop {
            let kept: Vec<usize> = (0..end).collect();
            if self.shows(&kept) == Some(true) {
                break kept;
            }
            if end == self.entries.len() {
                return None;
            }
            let more = end - self.faulty;
            end = (end + more).min(self.entries.len());
        };
        let minimal = self.reduce(&mut kept);
        Some((kept, minimal))
    }

    /// Leaves out what can be left out; whether all that is left is needed.
    fn reduce(&mut self, kept: &mut Vec<usize>) -> bool {
        loop {
            let before = kept.len();
            if !self.reduce_by_words(kept) || !self.reduce_by_halves(kept) {
                return false;
            }
            if kept.len() == before {
                return true;
            }
        }
    }

    /// Leaves out entries that belong together, by a word that they share and the faulty one has not: all
    /// of one job, a command and its reply. `false`: enough was judged.
    fn reduce_by_words(&mut self, kept: &mut Vec<usize>) -> bool {
        let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for &entry in &*kept {
            for line in &self.lines[self.entries[entry].clone()] {
                for word in line.split(|&byte| !is_of_word(byte)) {
                    let places = places.entry(word).or_default();
                    if places.last() != Some(&entry) {
                        places.push(entry);
                    }
                }
            }
        }
        let shared = |places: &Vec<usize>| places.len() > 1 && !places.contains(&self.faulty);
        let mut shared: Vec<Vec<usize>> = places.into_values().filter(shared).collect();
        shared.sort_unstable_by_key(|places| (std::cmp::Reverse(places.len()), places[0]));
        shared.dedup();
        shared.truncate(WORDS_MAX);
        for places in shared {
            let without: Vec<usize> = kept
                .iter()
                .copied()
                .filter(|entry| places.binary_search(entry).is_err())
                .collect();
            if without.len() < kept.len() {
                match self.shows(&without) {
                    Some(true) => *kept = without,
                    Some(false) => {}
                    None => return false,
                }
            }
        }
        true
    }

    /// Leaves out ever fewer in a row, in the end one at a time; `false`: enough was judged.
    fn reduce_by_halves(&mut self, kept: &mut Vec<usize>) -> bool {
        let mut size = kept.len().div_ceil(2);
        loop {
            let mut fewer = false;
            let mut end = kept.len();
            while end > 0 {
                let start = end.saturating_sub(size);
                let without: Vec<usize> = kept
                    .iter()
                    .enumerate()
                    .filter(|&(place, &entry)| {
                        !(start..end).contains(&place) || entry == self.faulty
                    })
                    .map(|(_, &entry)| entry)
                    .collect();
                if without.len() < kept.len() {
                    match self.shows(&without) {
                        Some(true) => {
                            *kept = without;
                            fewer = true;
                        }
                        Some(false) => {}
                        None => return false,
                    }
                }
                end = start;
            }
            if size == 1 && !fewer {
                return true;
            }
            if size > 1 {
                size = size.div_ceil(2);
            }
        }
    }
}
