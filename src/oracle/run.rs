//! One judgement on its way: from a file's bytes to the verdict.
//!
//! | module | what it reads |
//! |---|---|
//! | `conversation` | QMP: recorded, bare, or in libvirt's log |
//! | `log` | QEMU's trace log |
//! | `native` | the engine's own trace |

mod conversation;
mod log;
mod native;

use std::io::BufRead;

use super::explain::{self, Historian, Keeping};
use super::judge::trial::Sentence;
use super::reader::lines::{Line, Lines};
use super::reader::raw::{Objects, Passed};
use super::reader::{detect, packed};
use super::verdict::{Fault, Outcome, Verdict};
use super::watch::Watch;
use super::{Format, Observer, Options, TraceError};

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
    notes: Vec<String>,
}

impl<'w> Run<'w> {
    pub(super) fn watched(watch: Watch<'w>) -> Run<'w> {
        Run {
            watch: Some(watch),
            ..Run::default()
        }
    }

    pub(super) fn check(mut self, name: &str, reader: impl BufRead, options: &Options) -> Verdict {
        match self.judge(reader, options) {
            Ok(()) => self.verdict(name),
            Err(error) => self.error(name, error),
        }
    }

    /// What was rejected, on the assumption that nobody else asks things of this client's jobs, is read once more
    /// without it: `Some` if then nothing is wrong, and the recording shows somebody else.
    pub(super) fn check_shared(
        name: &str,
        reader: impl BufRead,
        options: &Options,
    ) -> Option<Verdict> {
        if options.observer != Observer::Auto {
            return None;
        }
        let mut run = Run::default();
        let shared = Options {
            observer: Observer::Shared,
            ..*options
        };
        run.judge(reader, &shared).ok()?;
        let line = run.others_at.filter(|_| run.fault.is_none())?;
        run.notes.push(format!(
            "line {line} shows another client: judged as by `--observer shared`"
        ));
        Some(run.verdict(name))
    }

    /// The same for what can be read only once: it is kept, up to a bound, for the explanation.
    pub(super) fn check_once(self, name: &str, reader: impl BufRead, options: &Options) -> Verdict {
        let mut keeping = Keeping::new(reader);
        let mut verdict = self.check(name, &mut keeping, options);
        if verdict.fault().is_none() {
            return verdict;
        }
        if let Some(kept) = keeping.kept()
            && let Some(verdict) = Run::check_shared(name, kept, options)
        {
            return verdict;
        }
        if let Some(kept) = keeping.kept() {
            add_history(&mut verdict, kept, options);
            return verdict;
        }
        verdict.notes.push(format!(
            "what led there is not shown: more than {} MiB were read before, and of what can be read only \
             once no more is kept; check it as a file",
            explain::KEPT_MAX_BYTES >> 20
        ));
        verdict
    }

    fn judge(&mut self, reader: impl BufRead, options: &Options) -> Result<(), TraceError> {
        let unpacked =
            packed::unpack(reader).map_err(|source| TraceError::Read { line: 1, source })?;
        let ended = unpacked.ended();
        let judged = self.judge_lines(Lines::new(unpacked.reader), options);
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
