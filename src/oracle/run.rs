//! One judgement on its way: from a file's bytes to the verdict.
//!
//! | module | what it reads |
//! |---|---|
//! | `conversation` | QMP: recorded, bare, or in libvirt's log |
//! | `log` | QEMU's trace log |
//! | `native` | the engine's own trace |
//!
//! What is rejected is looked at a second time (`second`): other clients, or what the recording leaves out, may explain
//! it.

mod conversation;
mod log;
mod native;
mod second;

use std::io::BufRead;

use super::explain::Historian;
use super::judge::trial::{Gaps, Sentence};
use super::reader::lines::{Line, Lines};
use super::reader::raw::{Objects, Passed};
use super::reader::{detect, packed};
use super::verdict::{Fault, Outcome, Verdict};
use super::watch::Watch;
use super::{Format, Options, TraceError};

pub(super) use second::{check_file, check_once, judge_twice};

/// How many further faults are looked for in one trace.
const FURTHER_MAX: usize = 100;

/// One judgement on its way.
#[derive(Default)]
pub(super) struct Run<'w> {
    watch: Option<Watch<'w>>,
    fault: Option<Fault>,
    /// What else was found, where it went on behind the first.
    further: Vec<Fault>,
    /// Of each profile that was tried, what contradicted it first.
    tried: Vec<(&'static str, Option<Fault>)>,
    events: u64,
    jobs: u64,
    profile: Option<&'static str>,
    fits: Vec<&'static str>,
    widened: u64,
    /// The first line that shows another client at work.
    others_at: Option<u64>,
    /// What it leaves out.
    gaps: Gaps,
    notes: Vec<String>,
}

/// What came of reading a trace once.
struct Look {
    verdict: Verdict,
    others_at: Option<u64>,
    gaps: Gaps,
}

/// Reads a trace, and tells `watch` of its steps.
fn look(
    name: &str,
    reader: impl BufRead,
    options: &Options,
    watch: &mut Option<Watch<'_>>,
) -> Look {
    let mut run = Run {
        watch: watch.take(),
        ..Run::default()
    };
    let judged = run.judge(reader, options);
    *watch = run.watch.take();
    let (others_at, gaps) = (run.others_at, run.gaps);
    let verdict = match judged {
        Ok(()) => run.verdict(name),
        Err(error) => run.error(name, error),
    };
    Look {
        verdict,
        others_at,
        gaps,
    }
}

/// Judges a trace, with no second look and no explanation.
pub(super) fn judge_once(reader: impl BufRead, options: &Options) -> Verdict {
    look("", reader, options, &mut None).verdict
}

impl<'w> Run<'w> {
    pub(super) fn watched(watch: Watch<'w>) -> Run<'w> {
        Run {
            watch: Some(watch),
            ..Run::default()
        }
    }

    fn judge(&mut self, reader: impl BufRead, options: &Options) -> Result<(), TraceError> {
        let unpacked =
            packed::unpack(reader).map_err(|source| TraceError::Read { line: 1, source })?;
        let ended = unpacked.ended();
        let lines = Lines::new(unpacked.reader);
        let zeroes = lines.zeroes();
        let judged = self.judge_lines(lines, options);
        if zeroes.count() > 0 {
            self.notes.push(format!(
                "the last {} bytes are zeroes: what was being written there was lost",
                zeroes.count()
            ));
        }
        if ended.is_cut() {
            self.notes.push(
                "the compressed stream ends too early: the recording, or the file, was cut there"
                    .to_owned(),
            );
        }
        judged
    }

    fn judge_lines<R: BufRead>(
        &mut self,
        mut lines: Lines<R>,
        options: &Options,
    ) -> Result<(), TraceError> {
        let mut passed = Passed::default();
        let (format, first) = detect::begin(&mut lines, options.format, &mut passed)?;
        let first = first.line();
        match format {
            Some(Format::Qmp) => self.judge_qmp(&first, &mut lines, options),
            Some(Format::QmpRaw) => self.judge_raw(Objects::new(&first, passed, lines), options),
            Some(Format::Native) => self.judge_native(&first, &mut lines, options),
            Some(Format::QemuLog) => self.judge_log(&first, &mut lines, options),
            Some(Format::Libvirt) => self.judge_libvirt(&first, &mut lines, options),
            None => {
                self.cut(&first);
                Err(TraceError::NothingToJudge { lines: 1 })
            }
        }
    }

    /// Notes that the last line is cut.
    fn cut(&mut self, line: &Line<'_>) {
        self.notes.push(format!(
            "line {} is incomplete and was left out: the recording was cut there",
            line.number
        ));
    }

    /// Takes over what came of a conversation of so many lines.
    fn sentence(
        &mut self,
        sentence: Sentence,
        read: u64,
        result: Result<(), TraceError>,
    ) -> Result<(), TraceError> {
        self.events = sentence.events + sentence.replies;
        self.jobs = sentence.jobs;
        self.profile = Some(sentence.profile.name);
        self.widened = sentence.widened;
        self.others_at = sentence.others_at;
        self.gaps = sentence.gaps;
        result?;
        self.fits = sentence.fits;
        if let Some((major, minor)) = sentence.newer {
            self.notes.push(format!(
                "QEMU {major}.{minor} is newer than every profile: judged as {}",
                sentence.profile.name
            ));
        }
        if let Some(line) = sentence.stopped_at {
            self.notes.push(format!(
                "from line {line} on jobs are brought down that nobody here asked to, and nothing \
                 is answered any more: the daemon was stopped from outside"
            ));
        }
        self.fault = sentence.fault;
        self.further = sentence.further;
        self.tried = sentence.tried;
        if self.events == 0 && self.fault.is_none() {
            return Err(TraceError::NothingToJudge { lines: read });
        }
        Ok(())
    }

    fn verdict(mut self, name: &str) -> Verdict {
        // Several monitors, and what is found out later than it happened, are told in the order of the lines.
        self.further.sort_by_key(|fault| fault.line);
        if let (Some(first), Some(further)) = (&mut self.fault, self.further.first_mut())
            && further.line < first.line
        {
            std::mem::swap(first, further);
        }
        let outcome = match self.fault {
            Some(fault) => Outcome::Reject(fault),
            None => Outcome::Accept,
        };
        Verdict {
            path: name.to_owned(),
            outcome,
            events: self.events,
            jobs: self.jobs,
            profile: self.profile,
            fits: self.fits,
            widened: self.widened,
            notes: self.notes,
            further: self.further,
            tried: self.tried,
            explanations: Vec::new(),
            with: Vec::new(),
            elsewhere: None,
        }
    }

    pub(super) fn error(self, name: &str, error: TraceError) -> Verdict {
        Verdict {
            outcome: Outcome::Error(error),
            ..Run {
                fault: None,
                ..self
            }
            .verdict(name)
        }
    }
}

/// Gives a rejection the history that reading the trace once more shows.
pub(super) fn add_history(verdict: &mut Verdict, reader: impl BufRead, options: &Options) {
    let mut historian = Historian::new(verdict.fault().into_iter().chain(&verdict.further));
    let mut again = Run::watched(Watch::new(vec![&mut historian]));
    // Where it cannot be read any more, the history ends; the verdict stands.
    let _ = again.judge(reader, options);
    drop(again);
    verdict.explanations = historian.end();
}
