//! `blockjob check`: recorded behaviour, judged.

mod follow;
mod in_order;
mod outputs;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use blockjob::model::Profile;
use blockjob::oracle::explain::text::{Part, Style};
use blockjob::oracle::{self, Extent, Format, Observer, Options, Watch};
use clap::{Args, ValueEnum};

use super::args;
use super::output::{Answer, Failure, Output, Verdict, complain, printable, sentence};
use super::progress::{Bar, Shown};
use follow::Following;
use outputs::{Files, Outputs, Watching};

/// The long help.
pub const LONG: &str = "\
Judge recorded behaviour of a job engine.

A trace is a native trace of this project; or a conversation with QEMU, one message a line: \
{\"t\": seconds, \"dir\": \">\" or \"<\", \"msg\": {...}}; or bare QMP objects as a monitor's socket or a \
test's log shows them, in one line or over many, in JSON or as Python prints them, commands or not, \
with other text before them and between, of several monitors in one file where what stands before an object names them; \
or QEMU's trace log with the events of its job layer (--trace 'job_*'); or libvirt's debug log, as libvirt, \
a system's journal or a container writes it. It may be compressed by gzip or zstd. A trace is accepted when the \
specification allows everything in it; else the first thing that it does not allow is explained, with \
what would have been allowed in its place. What several sources recorded of one run is held together by --with: the \
statuses that each shows of a job, and how its verbs were answered, must be the same; nothing is refused for what one of them lacks.";

const EXIT_CODES: &str = "\
Of a folder the files *.jsonl, *.ndjson, *.trace and *.log are read, compressed (.gz, .zst) or not; the others, and the folders \
in it, are counted: name those too that are to be read.

Exit codes: 0 every trace was accepted; 1 one was rejected; 2 none was rejected, but something could \
not be judged.";

/// Arguments of `check`.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct Arguments {
    /// A trace, a folder of traces, or - for standard input
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,
    /// Whose rules; auto takes the version a trace names, else whichever fits
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = profile)]
    profile: Choice<&'static Profile>,
    /// What the files are; auto looks at the first line
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    format: FormatName,
    /// Whether the recorded client was the only one; auto says so until a job appears that no command explains
    #[arg(long, value_name = "WHO", default_value = "auto")]
    observer: ObserverName,
    /// Wait for more at the end of the one TRACE, judge it as it comes, and conclude on Ctrl-C or at the first fault
    #[arg(long)]
    follow: bool,
    /// Anything may be missing from the recording, and events may stand later than they came: judge what stands there, and
    /// nothing that does not. Else what is left out is found out where it can be
    #[arg(long)]
    filtered: bool,
    /// Nothing is missing from the recording between its first line and its last: what is left out is a fault, however
    /// much of it
    #[arg(long, conflicts_with = "filtered")]
    whole: bool,
    /// One JSON object a trace instead of text
    #[arg(long)]
    json: bool,
    /// Behind a fault go on, from the nearest legal state, in search of further ones that do not follow from it
    #[arg(long)]
    keep_going: bool,
    /// Write the shortest part of the trace that still shows its first fault, in the trace's own format
    #[arg(long, value_name = "FILE")]
    shrink: Option<PathBuf>,
    /// Hold the one TRACE against another recording of the same run, and fill in what one of them leaves out:
    /// QEMU's trace log beside a conversation, or what another monitor showed; may be given several times
    #[arg(long, value_name = "LOG", conflicts_with_all = ["follow", "shrink"])]
    with: Vec<PathBuf>,
    #[command(flatten)]
    files: Files,
}

/// A choice, or `auto`.
#[derive(Clone, Copy)]
struct Choice<T>(Option<T>);

fn profile(name: &str) -> Result<Choice<&'static Profile>, String> {
    if name == "auto" {
        return Ok(Choice(None));
    }
    args::profile(name)
        .map(|profile| Choice(Some(profile)))
        .map_err(|known| format!("{known}, and auto"))
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatName {
    /// Recognise it
    Auto,
    /// A trace of this project
    Native,
    /// A conversation: {"t", "dir", "msg"}
    Qmp,
    /// Bare QMP objects, from a socket or a test's log
    QmpRaw,
    /// QEMU's trace log
    QemuLog,
    /// libvirt's debug log
    Libvirt,
}

#[derive(Clone, Copy, ValueEnum)]
enum ObserverName {
    /// Find out
    Auto,
    /// The only client
    Sole,
    /// One of several
    Shared,
}

/// What became of the traces.
#[derive(Default)]
struct Tally {
    accepted: u64,
    rejected: u64,
    unjudged: u64,
    /// Files of folders that are no traces by their names.
    others: usize,
}

/// Judges every trace.
pub fn run(arguments: &Arguments, output: &mut Output) -> Answer {
    let options = Options {
        profile: arguments.profile.0,
        format: match arguments.format {
            FormatName::Auto => None,
            FormatName::Native => Some(Format::Native),
            FormatName::Qmp => Some(Format::Qmp),
            FormatName::QmpRaw => Some(Format::QmpRaw),
            FormatName::QemuLog => Some(Format::QemuLog),
            FormatName::Libvirt => Some(Format::Libvirt),
        },
        keep_going: arguments.keep_going,
        live: arguments.follow,
        extent: if arguments.filtered {
            Extent::Filtered
        } else if arguments.whole {
            Extent::Whole
        } else {
            Extent::Auto
        },
        observer: match arguments.observer {
            ObserverName::Auto => Observer::Auto,
            ObserverName::Sole => Observer::Sole,
            ObserverName::Shared => Observer::Shared,
        },
    };
    if let Some(target) = &arguments.shrink {
        shrinkable(&arguments.traces, target)?;
    }
    if !arguments.with.is_empty() {
        pairable(&arguments.traces)?;
    }
    let mut outputs = Outputs::prepare(&arguments.files)?;
    let current = Arc::new(Mutex::new(String::new()));
    let bar = Bar::watch({
        let current = Arc::clone(&current);
        move || {
            let current = current.lock().unwrap_or_else(PoisonError::into_inner);
            Shown::Words(format!("judging {current}"))
        }
    });
    let mut traces: Vec<PathBuf> = Vec::new();
    let mut others = 0;
    let mut unreadable = Vec::new();
    for path in &arguments.traces {
        if !path.is_dir() {
            traces.push(path.clone());
            continue;
        }
        match oracle::traces_in(path) {
            Ok((held, other)) => {
                others += other;
                if held.is_empty() {
                    unreadable.push(format!("the folder {} holds no trace", path.display()));
                }
                traces.extend(held);
            }
            Err(error) => {
                let reason = sentence(&error);
                unreadable.push(format!(
                    "cannot read the folder {}: {reason}",
                    path.display()
                ));
            }
        }
    }
    if arguments.follow && (traces.len() != 1 || traces != arguments.traces) {
        return Err(Failure::new("--follow takes one file")
            .tip("name the file that is being written, or - for standard input"));
    }
    let watch = outputs.watch(&options);
    let mut tally = Tally::default();
    let mut shrunk = Ok(());
    let work = |place: usize| {
        let path = &traces[place];
        *current.lock().unwrap_or_else(PoisonError::into_inner) =
            printable(&path.to_string_lossy());
        let begun = Instant::now();
        let mut watching = watch.another(&options);
        let verdict = if arguments.with.is_empty() {
            judge(path, arguments.follow, &options, &mut watching)
        } else {
            oracle::with::check(path, &arguments.with, &options, watching.watchers())
        };
        (watching, verdict, begun.elapsed())
    };
    in_order::each(traces.len(), work, |(watching, verdict, took)| {
        let others: &[PathBuf] = if outputs.watches() {
            &arguments.with
        } else {
            &[]
        };
        for other in others {
            // What it shows beside the trace is shown too, as it was judged beside it.
            let options = Options {
                profile: verdict.profile.and_then(Profile::by_name),
                ..options
            };
            let mut watching = watch.another(&options);
            let verdict = oracle::check_watched(other, &options, Watch::new(watching.watchers()));
            outputs.show(watching, &verdict);
        }
        if let Some(target) = &arguments.shrink {
            shrunk = shrink(&traces[0], &options, &verdict, target);
        }
        outputs.add(watching, &verdict, took);
        match verdict.exit_code() {
            0 => tally.accepted += 1,
            1 => tally.rejected += 1,
            _ => tally.unjudged += 1,
        }
        if arguments.json {
            output.line(verdict.to_json());
        } else {
            text(&verdict, output);
        }
        // Whoever follows along sees each verdict as it falls.
        output.flush();
    });
    drop(bar);
    tally.others = others;
    let answer = conclude(&tally, &unreadable);
    match (answer, shrunk.and(outputs.write())) {
        (answer, Ok(())) => answer,
        // A rejection outranks a report that could not be written, and that outranks what could not be judged.
        (Ok(Verdict::Bad), Err(failure)) => {
            complain(&failure);
            Ok(Verdict::Bad)
        }
        (Ok(Verdict::Good), Err(failure)) => Err(failure),
        (Err(unjudged), Err(failure)) => {
            complain(&unjudged);
            Err(failure)
        }
    }
}

/// Whether there is one trace that can be shrunk into `target`.
fn shrinkable(traces: &[PathBuf], target: &Path) -> Result<(), Failure> {
    let [trace] = traces else {
        return Err(Failure::new("--shrink is for one trace").tip("name one file"));
    };
    if trace.as_os_str() == "-" || trace.is_dir() {
        return Err(
            Failure::new("--shrink reads its trace several times, so it has to be a file")
                .tip("write it to a file, and name that"),
        );
    }
    let same = |path: &Path| path.canonicalize().ok();
    if same(trace).is_some() && same(trace) == same(target) {
        return Err(
            Failure::new(format!("--shrink would overwrite {}", trace.display()))
                .tip("name another file for the shorter trace"),
        );
    }
    Ok(())
}

/// Whether there is one trace that can be held against others.
fn pairable(traces: &[PathBuf]) -> Result<(), Failure> {
    match traces {
        [trace] if trace.as_os_str() != "-" && !trace.is_dir() => Ok(()),
        _ => Err(Failure::new("--with is for one trace, in a file")
            .tip("name one file, and with --with what else was recorded of its run")),
    }
}

/// Writes the part of a rejected trace that shows its fault.
fn shrink(
    path: &Path,
    options: &Options,
    verdict: &oracle::Verdict,
    target: &Path,
) -> Result<(), Failure> {
    let Some(fault) = verdict.fault() else {
        complain(&"note: nothing was shrunk: the trace was not rejected");
        return Ok(());
    };
    let shrunk = oracle::shrink(path, options, fault)
        .map_err(|error| Failure::new(format!("cannot shrink {}: {error}", path.display())))?;
    fs::write(target, &shrunk.trace).map_err(|error| {
        Failure::new(format!(
            "cannot write {}: {}",
            target.display(),
            sentence(&error)
        ))
        .tip("name a file that may be written with --shrink")
    })?;
    let left = if shrunk.minimal {
        "each of which is needed"
    } else {
        "though fewer might do: the search became too long"
    };
    complain(&format!(
        "note: {} of the {} entries up to the fault show it, {left}: {}",
        shrunk.entries,
        shrunk.of,
        target.display()
    ));
    Ok(())
}

/// Says what is to be said of all of them; the verdict.
fn conclude(tally: &Tally, unreadable: &[String]) -> Answer {
    let Tally {
        accepted,
        rejected,
        unjudged,
        others,
    } = tally;
    let count = accepted + rejected + unjudged;
    if count > 1 {
        complain(&format!(
            "{count} traces: {accepted} accepted, {rejected} rejected, {unjudged} not judged"
        ));
    }
    if *others > 0 {
        let known = oracle::EXTENSIONS.map(|extension| format!("*.{extension}"));
        complain(&format!(
            "note: {others} other entries were not read; of a folder only files {} are, compressed or not, and no folder in it",
            known.join(", ")
        ));
    }
    let failure = match (unreadable, unjudged) {
        ([], 0) => return Ok(Verdict::good_if(*rejected == 0)),
        ([reason, ..], _) => {
            Failure::new(reason).tip("name a trace, or a folder with traces in it")
        }
        ([], _) if count == 1 => Failure::new("the trace could not be judged")
            .tip("the line that begins with error says why; correct the file or name another"),
        ([], _) => Failure::new(format!("{unjudged} of {count} traces could not be judged"))
            .tip("the lines that begin with error say why; correct or leave out those files"),
    };
    // A rejection outranks what could not be judged.
    if *rejected > 0 {
        complain(&failure);
        Ok(Verdict::Bad)
    } else {
        Err(failure)
    }
}

fn judge(path: &Path, follow: bool, options: &Options, watching: &mut Watching) -> oracle::Verdict {
    let name = path.display().to_string();
    let mut check = |reader: &mut dyn BufRead| {
        let watchers = watching.watchers();
        if watchers.is_empty() {
            oracle::check_reader(&name, reader, options)
        } else {
            oracle::check_reader_watched(&name, reader, options, Watch::new(watchers))
        }
    };
    if follow {
        return match Following::open(path) {
            Ok(following) => {
                let mut reader = BufReader::new(following);
                let mut verdict = check(&mut reader);
                verdict
                    .notes
                    .extend(reader.get_ref().lost().map(str::to_owned));
                verdict
            }
            Err(error) => oracle::unreadable(&name, error),
        };
    }
    if path.as_os_str() == "-" {
        return check(&mut BufReader::with_capacity(1 << 18, io::stdin().lock()));
    }
    match watching.watchers() {
        watchers if watchers.is_empty() => oracle::check(path, options),
        watchers => oracle::check_watched(path, options, Watch::new(watchers)),
    }
}

/// How a verdict looks where `output` goes.
struct Look<'a>(&'a Output);

impl Style for Look<'_> {
    fn paint(&self, part: Part, text: &str) -> String {
        match part {
            Part::Label => self.0.label(text),
            Part::Fault => self.0.bad(text),
            Part::Aside => self.0.aside(text),
        }
    }

    fn columns(&self) -> Option<usize> {
        self.0.columns()
    }
}

fn text(verdict: &oracle::Verdict, output: &mut Output) {
    let text = verdict.text(&Look(output));
    let text = match text.strip_prefix("accept") {
        Some(rest) => format!("{}{rest}", output.good("accept")),
        None => text,
    };
    output.line(text);
}
