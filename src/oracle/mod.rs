//! The oracle: judges recordings of job engines by the specification.
//!
//! ```text
//! file → reader (lines, format, records) → judge (fields, acceptor) → verdict → text, JSON
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`reader`] | the formats, streaming; what a line is |
//! | [`judge`] | what a line may be at that place |
//! | [`fields`] | checks of fields that need no belief |
//! | [`verdict`] | what is said of a trace, and its text and JSON |
//! | [`explain`] | why a trace is rejected, and what led there |
//! | [`watch`] | a trace's steps, whatever its format, for who counts or draws them |
//! | [`coverage`] | which parts of the specification a set of traces shows |
//! | [`story`] | a trace as something that can be drawn |
//! | [`feed`] | a trace that is handed over line by line |
//! | [`with`] | several recordings of one run, held against each other |
//! | [`error`] | why a file could not be judged |
//!
//! [`check`] judges one file. Everything here runs on the calling thread and blocks on reading;
//! memory is bounded by the jobs that are alive and the longest line.

pub mod coverage;
pub mod error;
pub mod explain;
pub mod feed;
pub mod fields;
pub mod judge;
pub mod reader;
pub mod story;
pub mod verdict;
pub mod watch;
pub mod with;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};

use blockjob_model::Profile;
use blockjob_model::profile::REFERENCE;

pub use error::TraceError;
pub use explain::Explanation;
pub use explain::shrink::{ShrinkError, Shrunk};
pub use judge::Observer;
pub use reader::detect::Format;
pub use verdict::{Fault, Outcome, Verdict, With};
pub use watch::Watch;

use self::explain::{Historian, Keeping};
use judge::monitors::Monitors;
use judge::native::{Judge, Stop};
use judge::trial::{Sentence, Trial};
use judge::{libvirt, log};
use reader::libvirt::{self as libvirt_log, Reader, Said};
use reader::lines::{Line, Lines};
use reader::raw::{Found, Object, Objects, Passed};
use reader::{detect, native, packed, qemu_log, qmp, raw};
use watch::Read;

/// How much is read at a time, bytes.
const BUFFER_BYTES: usize = 1 << 18;

/// The extensions of the files in a folder that are taken for traces; one of [`packed::ENDINGS`] may
/// follow.
pub const EXTENSIONS: [&str; 4] = ["jsonl", "ndjson", "trace", "log"];

/// How many further faults are looked for in one trace.
const FURTHER_MAX: usize = 100;

/// How a trace is to be judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// By which profile; `None`: the one that the greeting or header names, else any that fits.
    pub profile: Option<&'static Profile>,
    /// Its format; `None`: recognised by its first line.
    pub format: Option<Format>,
    /// Whether the client of a conversation is the only one.
    pub observer: Observer,
    /// Behind a fault it goes on, from the nearest state that is legal, in search of further ones.
    pub keep_going: bool,
}

/// Judges the trace in the file `path`.
pub fn check(path: &Path, options: &Options) -> Verdict {
    check_file(path, options, Run::default())
}

/// Judges the trace in the file `path`, and tells `watch` of its steps.
pub fn check_watched(path: &Path, options: &Options, watch: Watch<'_>) -> Verdict {
    check_file(path, options, Run::watched(watch))
}

fn check_file(path: &Path, options: &Options, run: Run<'_>) -> Verdict {
    let name = path.display().to_string();
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    match opened {
        Ok((metadata, file)) if !metadata.is_dir() => {
            let is_file = metadata.is_file();
            let again = || BufReader::with_capacity(BUFFER_BYTES, &file);
            // A pipe by a name gives what it gave only once.
            if !is_file {
                return run.check_once(&name, again(), options);
            }
            let mut verdict = run.check(&name, again(), options);
            if verdict.fault().is_some() && (&file).rewind().is_ok() {
                add_history(&mut verdict, again(), options);
            }
            verdict
        }
        Ok(_) => run.error(&name, TraceError::Folder),
        Err(source) => run.error(&name, TraceError::Open { source }),
    }
}

/// Judges the trace that `reader` yields; `name` is what the verdict calls it.
pub fn check_reader(name: &str, reader: impl BufRead, options: &Options) -> Verdict {
    Run::default().check_once(name, reader, options)
}

/// Judges the trace that `reader` yields, and tells `watch` of its steps.
pub fn check_reader_watched(
    name: &str,
    reader: impl BufRead,
    options: &Options,
    watch: Watch<'_>,
) -> Verdict {
    Run::watched(watch).check_once(name, reader, options)
}

/// Shrinks the trace in the file `path`, which was rejected for `fault`, to the part that shows it.
///
/// # Errors
/// It cannot be read, is too long, or does not show the fault any more.
pub fn shrink(path: &Path, options: &Options, fault: &Fault) -> Result<Shrunk, ShrinkError> {
    let file = File::open(path).map_err(|source| TraceError::Open { source })?;
    shrink_reader(BufReader::with_capacity(BUFFER_BYTES, file), options, fault)
}

/// The same for what `reader` yields.
///
/// # Errors
/// As [`shrink`].
pub fn shrink_reader(
    reader: impl BufRead,
    options: &Options,
    fault: &Fault,
) -> Result<Shrunk, ShrinkError> {
    explain::shrink::shrink(reader, options, fault)
}

/// Gives a rejection the history that reading the trace once more shows.
fn add_history(verdict: &mut Verdict, reader: impl BufRead, options: &Options) {
    let mut historian = Historian::new(verdict.fault().into_iter().chain(&verdict.further));
    let mut again = Run::watched(Watch::new(vec![&mut historian]));
    // Where it cannot be read any more, the history ends; the verdict stands.
    let _ = again.judge(reader, options);
    drop(again);
    verdict.explanations = historian.end();
}

/// What is said of a trace that cannot be opened, for this reason; `name` is what the verdict calls it.
pub fn unreadable(name: &str, source: io::Error) -> Verdict {
    Run::default().error(name, TraceError::Open { source })
}

/// The files of a folder, and how many of them are no traces by their names.
///
/// # Errors
/// The folder cannot be read.
pub fn traces_in(folder: &Path) -> io::Result<(Vec<PathBuf>, usize)> {
    let mut traces = Vec::new();
    let mut others = 0;
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if is_named_as_trace(&path) && path.is_file() {
            traces.push(path);
        } else {
            others += 1;
        }
    }
    traces.sort();
    Ok((traces, others))
}

/// Whether a file's name is that of a trace, compressed or not.
fn is_named_as_trace(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let is_in = |ending: &str, endings: &[&str]| endings.contains(&ending);
    let name = match name.rsplit_once('.') {
        Some((name, ending)) if is_in(ending, &packed::ENDINGS) => name,
        _ => name,
    };
    name.rsplit_once('.')
        .is_some_and(|(_, extension)| is_in(extension, &EXTENSIONS))
}

/// One judgement on its way.
#[derive(Default)]
struct Run<'w> {
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
    notes: Vec<String>,
}

impl<'w> Run<'w> {
    fn watched(watch: Watch<'w>) -> Run<'w> {
        Run {
            watch: Some(watch),
            ..Run::default()
        }
    }

    fn check(mut self, name: &str, reader: impl BufRead, options: &Options) -> Verdict {
        match self.judge(reader, options) {
            Ok(()) => self.verdict(name),
            Err(error) => self.error(name, error),
        }
    }

    /// The same for what can be read only once: it is kept, up to a bound, for the explanation.
    fn check_once(self, name: &str, reader: impl BufRead, options: &Options) -> Verdict {
        let mut keeping = Keeping::new(reader);
        let mut verdict = self.check(name, &mut keeping, options);
        if verdict.fault().is_none() {
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

    fn judge_qmp<R: BufRead>(
        &mut self,
        first: &Line<'_>,
        lines: &mut Lines<R>,
        options: &Options,
    ) -> Result<(), TraceError> {
        let mut trial = Trial::new(options.profile, options.observer);
        if options.keep_going {
            trial.keep_going();
        }
        let mut read = 1;
        let result = (|| {
            let mut open = self.take_qmp(&mut trial, first, qmp::read)?;
            while open {
                let Some(line) = lines.next_line()? else {
                    break;
                };
                read = line.number;
                open = self.take_qmp(&mut trial, &line, qmp::read)?;
            }
            Ok(())
        })();
        self.sentence(trial.end(), read, result)
    }

    fn judge_raw<R: BufRead>(
        &mut self,
        mut objects: Objects<R>,
        options: &Options,
    ) -> Result<(), TraceError> {
        let mut monitors =
            Monitors::new(options.profile, options.observer, false).keep_going(options.keep_going);
        let mut only_events = false;
        let result = (|| {
            loop {
                let Some(Object {
                    line,
                    monitor,
                    filtered,
                    behind_text,
                }) = objects.next_object()?
                else {
                    break;
                };
                if filtered || behind_text {
                    monitors.filter();
                }
                let mended = filtered && line.text.contains(char::REPLACEMENT_CHARACTER);
                match raw::read(&line)? {
                    Found::Message(record) if mended || only_events => {
                        let event = record.message.event.is_present();
                        if mended && !event && !only_events {
                            // What it said is not known, nor what later answers belong to.
                            monitors.close_all();
                            only_events = true;
                        }
                        if event && !mended && !monitors.take(monitor, &record) {
                            break;
                        }
                    }
                    Found::Message(record) => {
                        if let Some(watch) = &mut self.watch {
                            watch.before(&Read::Message(monitor, &record), &monitors);
                        }
                        let taken = monitors.take(monitor, &record);
                        if let Some(watch) = &mut self.watch {
                            watch.conversation(monitor, &line, &record, taken, &monitors);
                        }
                        if !taken {
                            break;
                        }
                    }
                    Found::Other => {
                        let number = line.number;
                        objects.pass(number);
                    }
                    Found::Cut => {
                        self.cut(&line);
                        break;
                    }
                }
            }
            Ok(())
        })();
        let passed = objects.passed();
        if passed.lines > 0 {
            self.notes.push(format!(
                "{} {} of text with no QMP object, the first of them line {}, passed over",
                passed.lines,
                if passed.lines == 1 { "line" } else { "lines" },
                passed.first
            ));
        }
        let (mended, first) = objects.mended();
        if mended > 0 {
            self.notes.push(format!(
                "{mended} {} not UTF-8, the first of them line {first}: only the rest is judged",
                if mended == 1 { "line is" } else { "lines are" },
            ));
        }
        if monitors.count() > 1 {
            self.notes.push(format!(
                "{} monitors, each judged by itself",
                monitors.count()
            ));
        }
        self.sentence(monitors.end(), objects.line(), result)
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

    /// Takes a line; `false` once nothing more can be judged.
    fn take_qmp<'a>(
        &mut self,
        trial: &mut Trial,
        line: &Line<'a>,
        read: impl FnOnce(&Line<'a>) -> Result<Option<qmp::Record<'a>>, TraceError>,
    ) -> Result<bool, TraceError> {
        if let Some(record) = read(line)? {
            if let Some(watch) = &mut self.watch {
                watch.before(&Read::Message("", &record), trial);
            }
            let taken = trial.take(&record);
            if let Some(watch) = &mut self.watch {
                watch.conversation("", line, &record, taken, trial);
            }
            return Ok(taken);
        }
        self.cut(line);
        Ok(false)
    }

    fn judge_log<R: BufRead>(
        &mut self,
        first: &Line<'_>,
        lines: &mut Lines<R>,
        options: &Options,
    ) -> Result<(), TraceError> {
        let Some(mut judge) = log::Judge::new(options.profile) else {
            return Err(TraceError::NoSuchLog);
        };
        let mut read = first.number;
        let watch = &mut self.watch;
        let mut take = |line: &Line<'_>| match qemu_log::read(line) {
            // Cut there.
            Some(entry) if line.whole || entry.is_whole() => {
                if let Some(watch) = watch {
                    watch.before(&Read::Log(&entry), &judge);
                }
                let judged = judge.take(&entry);
                if let Some(watch) = watch {
                    watch.log(line, &entry, judged.is_ok(), &judge);
                }
                judged
            }
            _ => Ok(()),
        };
        let mut judged = take(first);
        let result = loop {
            if let Err(fault) = judged {
                match &self.fault {
                    None => self.fault = Some(fault),
                    Some(_) => self.further.push(fault),
                }
                if !options.keep_going || self.further.len() == FURTHER_MAX {
                    break Ok(());
                }
            }
            match lines.next_of_log() {
                Ok(Some(line)) => {
                    read = line.number;
                    judged = take(&line);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.events = judge.events();
        self.jobs = judge.jobs();
        self.profile = Some(judge.profile().name);
        if judge.damaged() > 0 {
            self.notes.push(format!(
                "{} damaged lines; behind each, what is known of the jobs begins anew",
                judge.damaged()
            ));
        }
        let (gaps, first) = judge.gaps();
        if gaps > 0 {
            self.notes.push(format!(
                "{gaps} gaps in the log, the first of them before line {first}: the events were switched off in \
                 between; behind each, what is known of the jobs begins anew"
            ));
        }
        result?;
        if self.events == 0 && self.fault.is_none() {
            return Err(TraceError::NothingToJudge { lines: read });
        }
        if self.fault.is_none() {
            self.fits = judge.fits().iter().map(|profile| profile.name).collect();
        }
        Ok(())
    }

    fn judge_libvirt<R: BufRead>(
        &mut self,
        first: &Line<'_>,
        lines: &mut Lines<R>,
        options: &Options,
    ) -> Result<(), TraceError> {
        let mut judge = libvirt::Judge::new(options.profile, options.observer, options.keep_going);
        let mut reader = Reader::default();
        let mut read = first.number;
        let watch = &mut self.watch;
        let mut take = |entry: &libvirt_log::Entry<'_>| {
            if let Some(watch) = watch {
                watch.before(&Read::Libvirt(entry), judge.monitors());
            }
            let again = judge.was_handed_over(entry);
            let open = judge.take(entry);
            if let Some(watch) = watch
                && !again
            {
                watch.libvirt(entry, open, judge.monitors());
            }
            open
        };
        let mut open = reader.read(first).is_none_or(|entry| take(&entry));
        let result = loop {
            if !open {
                break Ok(());
            }
            match lines.next_of_log() {
                Ok(Some(line)) => {
                    read = line.number;
                    // The last message may be cut: then nothing follows of which it would be missing.
                    open = reader
                        .read(&line)
                        .filter(|entry| line.whole || entry.said != Said::Lost)
                        .is_none_or(|entry| take(&entry));
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let (gaps, first_gap) = judge.gaps();
        if gaps > 0 {
            self.notes.push(format!(
                "{gaps} gaps in the log, the first of them before line {first_gap}; behind each, what is known of \
                 the jobs begins anew"
            ));
        }
        if judge.count() > 1 {
            self.notes.push(format!(
                "{} connections, each judged by itself",
                judge.count()
            ));
        }
        self.sentence(judge.end(), read, result)
    }

    fn judge_native<R: BufRead>(
        &mut self,
        first: &Line<'_>,
        lines: &mut Lines<R>,
        options: &Options,
    ) -> Result<(), TraceError> {
        let mut judge = Judge::new(options.profile.unwrap_or(&REFERENCE), options.observer);
        let mut jobs = 0;
        let mut records = 0;
        let mut witnessed = 0;
        let mut widened = 0;
        let mut read = 1;
        let mut take = |run: &mut Run<'_>, line: &Line<'_>| -> Result<bool, TraceError> {
            read = line.number;
            let Some(record) = native::read(line)? else {
                run.cut(line);
                return Ok(false);
            };
            if record.version.is_present() {
                // A header; further ones begin further runs.
                let profile = header_profile(line.number, &record, options)?;
                jobs += judge.jobs();
                records += judge.records();
                witnessed += judge.witnessed();
                widened += judge.widened();
                judge = Judge::new(profile, options.observer);
                if let Some(watch) = &mut run.watch {
                    watch.native(line, &record, true, &judge);
                }
                return Ok(true);
            }
            if let Some(watch) = &mut run.watch {
                watch.before(&Read::Native(line.number, &record), &judge);
            }
            let judged = judge.take(line.number, &record);
            if let Some(watch) = &mut run.watch {
                watch.native(line, &record, judged.is_ok(), &judge);
            }
            match judged {
                Ok(()) => Ok(true),
                Err(Stop::Fault(fault)) => {
                    match &run.fault {
                        None => run.fault = Some(fault),
                        Some(_) => run.further.push(fault),
                    }
                    Ok(options.keep_going && run.further.len() < FURTHER_MAX)
                }
                Err(Stop::Error(error)) => Err(error),
            }
        };
        let result = (|| {
            let mut open = take(self, first)?;
            while open {
                let Some(line) = lines.next_line()? else {
                    break;
                };
                open = take(self, &line)?;
            }
            Ok(())
        })();
        self.events = records + judge.records();
        self.jobs = jobs + judge.jobs();
        self.profile = Some(judge.profile().name);
        self.widened = widened + judge.widened();
        result?;
        if witnessed + judge.witnessed() == 0 && self.fault.is_none() {
            return Err(TraceError::NothingToJudge { lines: read });
        }
        if self.fault.is_none() {
            self.fits = vec![judge.profile().name];
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

    fn error(self, name: &str, error: TraceError) -> Verdict {
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

/// The profile a native trace is judged by: the one given, else the one its header names.
fn header_profile(
    line: u64,
    record: &native::Record<'_>,
    options: &Options,
) -> Result<&'static Profile, TraceError> {
    let claimed = native::read_header(line, record)?;
    if let Some(given) = options.profile {
        return Ok(given);
    }
    let Some(claimed) = claimed else {
        return Ok(&REFERENCE);
    };
    claimed
        .as_str()
        .and_then(|name| Profile::by_name(&name))
        .ok_or_else(|| {
            let names: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
            native::shape(
                line,
                &format!(
                    "the header names the profile {}, which is none of {}; choose one with --profile",
                    claimed.text(),
                    names.join(", ")
                ),
            )
        })
}
