//! `blockjob copy`: pairs of files or block devices, as jobs of one transaction.

mod mirror;
mod pairs;
pub mod report;
mod telling;
mod trace;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blockjob::copy::{
    CHUNK_BYTES, Cache, CopyError, CopyJob, CopyOptions, Durability, Pair, Recovery, Sparse,
    Technique, WORKERS, WORKERS_MAX, recover,
};
use blockjob::engine::JobOptions;
use blockjob::io::process::raise_open_files;
use blockjob::io::signals::ignore_file_size;
use blockjob::model::{ErrorPolicy, Status};
use blockjob::qmp::server::attached::Door;
use blockjob::qmp::server::listener::Address;
use blockjob::trace::TraceSink;
use clap::{ArgGroup, Args, ValueEnum};

use super::args::{seconds, size, size_above_zero};
use super::controls::{Controls, Stopped};
use super::output::{Answer, Failure, Output, Verdict, complain, sentence};
use super::session::Copying;
use mirror::Plan;

const USAGE: &str = "\
blockjob copy [OPTIONS] SOURCE TARGET
       blockjob copy [OPTIONS] --pair SOURCE TARGET [--pair SOURCE TARGET]...
       blockjob copy [OPTIONS] --group FILE";

/// The long help.
pub const LONG: &str = "\
Copy files and block devices, all or nothing.

Every target is at every moment what it was before, or the whole copy: the copy is made in a \
temporary file beside the target, synced, given the replaced file's owner, mode and attributes, and \
takes its name at the end. Several pairs are one transaction: if one fails or is cancelled, no target \
changes. The names are exchanged one after the other, so between the first and the last exchange a \
reader may see some new targets and some old; an exchange that fails is undone. If a crash comes \
between them, the same command with --resume, or `blockjob recover JOURNAL`, finishes or undoes it; \
until then these targets are not copied to.

A journal beside the first target (.TARGET.blockjob-journal) is kept once a copy takes longer than a \
second or is larger than 64 MiB, and for every decision of several pairs. With it --resume continues a \
copy that was killed: where the source is what it was, from what was synced, or, if the machine has not \
been started anew, from what was written.

An error is reported, and the copy fails; with --on-target-error enospc it pauses when there is no room, and SIGCONT \
(Ctrl-Z, then fg) tries again; with --on-source-error ignore what cannot be read is zeros in the target, and is listed.

With --sync full, which is slower, the source and its metadata are on the disk before its copy is, and in the end so is \
everything else on the target's file system, past the cache of the device.

With --mirror a copy follows its source: what others write meanwhile is found by the file's times, and copied \
again, until source and target are the same; from then on it is ready. Enter, a line `complete` on a standard input \
that is no terminal, or SIGUSR2 completes it, also if asked for earlier: once more what changed is copied, and the \
target takes its name. Of several pairs each becomes ready, and all are completed together. Ctrl-C gives it up, and \
the target stays what it was. Whoever writes the source has to stop before it is completed.

Ctrl-C cancels, twice by force. Ctrl-Z pauses the jobs and stops the process, fg resumes them. SIGUSR1 \
prints the state. With --qmp any QMP client can do all that and more while the copy runs: query-jobs, job-pause, \
job-resume, job-cancel, job-complete, job-finalize, job-dismiss, block-job-set-speed, with events as QEMU sends them; \
quit cancels by force. The jobs are copy0, copy1, and so on.";

const LIMITS: &str = "\
Limits: a source that changes meanwhile is an error where it can be seen; a change within one tick of \
the file system's clock, or through a memory mapping, cannot be. A process that is killed leaves its \
temporary files and its journal, named .TARGET.blockjob-*, beside the targets, until the next copy to \
the same target removes or continues them. What is written in place and what is read from a device is \
never continued. Targets written in place (--in-place; \
block devices always are) keep what was written when the copy fails or is cancelled.

Exit codes: 0 every pair was copied; 1 the copy failed or was cancelled; 2 it was refused before \
anything was changed.";

/// Arguments of `copy`.
#[derive(Args)]
#[command(
    override_usage = USAGE,
    after_help = "Exit codes: 0 copied, 1 failed or cancelled, 2 refused. More with --help.",
    after_long_help = LIMITS,
    group(ArgGroup::new("what").required(true).args(["source", "pairs", "group"])),
)]
pub struct Arguments {
    /// What to read: a regular file or a block device
    #[arg(requires = "target")]
    source: Option<PathBuf>,
    /// What to make or replace: a file name, or a block device to write
    #[arg(conflicts_with_all = ["pairs", "group"])]
    target: Option<PathBuf>,
    /// One pair of several, which are copied together or not at all
    #[arg(long = "pair", num_args = 2, value_names = ["SOURCE", "TARGET"])]
    pairs: Vec<PathBuf>,
    /// Read the pairs from a file (- is standard input): {"source": "a", "target": "b"}, one a line
    #[arg(long, value_name = "FILE")]
    group: Option<PathBuf>,
    /// Workers per pair
    #[arg(long, value_name = "N", default_value_t = WORKERS, value_parser = workers, allow_hyphen_values = true)]
    workers: usize,
    /// Largest piece; where one takes over a millisecond they become smaller, because a pause waits for those in flight
    #[arg(long, value_name = "SIZE", default_value_t = chunk_default(), value_parser = chunk, allow_hyphen_values = true)]
    chunk: Chunk,
    /// Most bytes per second and pair, kept by all its workers together; 0 is no limit
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size, allow_hyphen_values = true)]
    speed: u64,
    /// What becomes of holes and zeros
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    sparse: SparseWhen,
    /// What is on the disk when the copy has succeeded
    #[arg(long, value_name = "WHAT", default_value = "data")]
    sync: Sync,
    /// How bytes get there; what is chosen here is not replaced by another
    #[arg(long, value_name = "HOW", default_value = "auto")]
    technique: How,
    /// Read and write past the page cache, as --technique direct
    #[arg(long, conflicts_with = "technique")]
    direct: bool,
    /// What is left in the page cache
    #[arg(long, value_name = "WHAT", default_value = "auto")]
    cache: CacheUse,
    /// What becomes of an error of the source; ignore needs --bad-map, and ends with exit code 1
    #[arg(long, value_name = "WHAT", default_value = "report")]
    on_source_error: OnError,
    /// What becomes of an error of the target; ignore tries again, ten times
    #[arg(long, value_name = "WHAT", default_value = "report")]
    on_target_error: OnError,
    /// List what could not be read, and is zeros in the target, in the format of ddrescue's map files
    #[arg(long, value_name = "FILE")]
    bad_map: Option<PathBuf>,
    /// Read the target back, past the page cache where that can be, and compare it with the source
    #[arg(long)]
    verify: bool,
    /// Compute the BLAKE3 digest of what is copied on the way, as b3sum would
    #[arg(long)]
    checksum: bool,
    /// Give the target the times of the source: when it was last read, and last written
    #[arg(long, alias = "preserve-times")]
    times: bool,
    /// Stay ready, and copy again what changes, until it is completed: by Enter, a line `complete` on standard input,
    /// or SIGUSR2
    #[arg(long)]
    mirror: bool,
    /// Write into existing targets, which keep their size, instead of replacing them
    #[arg(long)]
    in_place: bool,
    /// Allow targets written in place among several pairs, outside the promise of all or nothing
    #[arg(long)]
    allow_in_place: bool,
    /// Continue the same copy that was killed, from what is surely there; nothing to continue is a copy from the start
    #[arg(long)]
    resume: bool,
    /// Keep the journal in FILE, from the start; else it is beside the first target once a copy takes long
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Let QMP clients see and drive the jobs while they run; the socket is for you alone, and is removed at the end
    #[arg(long, value_name = "unix:PATH", value_parser = unix_address)]
    qmp: Option<Address>,
    /// Wait with the end until a client says job-finalize: the copy is made, and no name has changed
    #[arg(long, requires = "qmp")]
    manual_finalize: bool,
    /// Keep jobs that have ended until a client says job-dismiss
    #[arg(long, requires = "qmp")]
    manual_dismiss: bool,
    /// Record what is asked and done into a native trace, for `blockjob check`
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Check everything, change nothing, and say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Say how each pair was copied, too
    #[arg(long, short)]
    verbose: bool,
    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,
    /// With --json, how often to say how far the copy is; 0 is never
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds, requires = "json")]
    progress_interval: Duration,
}

fn unix_address(text: &str) -> Result<Address, String> {
    match text.parse::<Address>()? {
        address @ Address::Unix(_) => Ok(address),
        Address::Tcp(_) => Err("a copy listens at unix:PATH alone".to_owned()),
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum SparseWhen {
    /// Holes stay holes, stored zeros stay stored
    Auto,
    /// Zeros become holes too
    Always,
    /// Everything is stored
    Never,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sync {
    /// Nothing is promised
    None,
    /// The data, and the name
    Data,
    /// Before them the source with its metadata; in the end all of the target's file system, and its device's cache
    Full,
}

impl Sync {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Data => "data",
            Self::Full => "full",
        }
    }

    /// What is promised of a copy that succeeded, in short.
    fn promise(self) -> &'static str {
        match self {
            Self::None => "not synced",
            Self::Data => "synced",
            Self::Full => "synced, as its source",
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum How {
    /// What suits the two files: a clone or the server's copy where there is one, else buffered
    Auto,
    /// The target shares the source's blocks until one of them is written (btrfs, XFS)
    Clone,
    /// The kernel or the file server copies (`copy_file_range`)
    Offload,
    /// Read and write
    Buffered,
    /// Read and write past the page cache (`O_DIRECT`)
    Direct,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnError {
    /// The copy fails
    Report,
    /// Go on
    Ignore,
    /// Without room, as stop; else as report
    Enospc,
    /// The job pauses, and tries again when it is resumed (SIGCONT, or job-resume of a client)
    Stop,
    /// As enospc
    Auto,
}

impl OnError {
    fn policy(self) -> ErrorPolicy {
        match self {
            Self::Report => ErrorPolicy::Report,
            Self::Ignore => ErrorPolicy::Ignore,
            Self::Enospc => ErrorPolicy::Enospc,
            Self::Stop => ErrorPolicy::Stop,
            Self::Auto => ErrorPolicy::Auto,
        }
    }

    /// Whether somebody has to be there.
    fn may_stop(self) -> bool {
        matches!(self, Self::Enospc | Self::Stop | Self::Auto)
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum CacheUse {
    /// What fits well; of a copy that would fill half of the free memory, nothing
    Auto,
    /// What the kernel keeps
    Keep,
    /// Nothing of either file
    Drop,
}

/// A size that prints as it is typed.
#[derive(Clone, Copy)]
struct Chunk(u64);

impl std::fmt::Display for Chunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            bytes if bytes % 1024 == 0 => write!(f, "{}K", bytes / 1024),
            bytes => write!(f, "{bytes}"),
        }
    }
}

fn chunk(text: &str) -> Result<Chunk, String> {
    size_above_zero(text).map(Chunk)
}

fn chunk_default() -> Chunk {
    Chunk(CHUNK_BYTES as u64)
}

fn workers(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=WORKERS_MAX).contains(number))
        .ok_or_else(|| format!("it is a number from 1 to {WORKERS_MAX}"))
}

/// Copies, and says what became of each pair.
pub fn run(arguments: &Arguments, output: &mut Output) -> Answer {
    let pairs: Vec<Pair> = pairs::read(arguments)?
        .into_iter()
        .map(|(source, target)| Pair::new(source, target))
        .collect();
    let may_stop = arguments.on_source_error.may_stop() || arguments.on_target_error.may_stop();
    if may_stop && arguments.qmp.is_none() && !io::stderr().is_terminal() {
        return Err(Failure::new(
            "a job that stops needs somebody who resumes it, and there is no terminal",
        )
        .tip("use --qmp unix:PATH, or --on-source-error and --on-target-error report or ignore"));
    }
    // Each pair keeps several files open. Where the limit stays as it is, a large group meets it and says so.
    let _ = raise_open_files();
    let options = options(arguments);
    let plan = match Plan::check(&pairs, &options, arguments.mirror) {
        Err(CopyError::Interrupted { journal, .. }) if arguments.resume && !arguments.dry_run => {
            // The killed copy had come to its commit.
            let recovered = recover(&journal).map_err(|error| refusal(&error))?;
            report::recovered(&recovered, arguments.json, output);
            if recovered.recovery == Recovery::Finished {
                return Ok(Verdict::Good);
            }
            Plan::check(&pairs, &options, arguments.mirror)
        }
        answer => answer,
    }
    .map_err(|error| refusal(&error))?;
    if arguments.dry_run {
        report::plan(plan.copies().into_iter(), arguments, output);
        return Ok(Verdict::Good);
    }
    // A file that outgrows the limit is an error of that copy, not the end of the process.
    ignore_file_size().map_err(|error| cannot("ignore SIGXFSZ", &error))?;

    let writer = match &arguments.trace {
        Some(path) => Some((path, trace::create(path, &pairs)?)),
        None => None,
    };
    let sink = writer
        .as_ref()
        .map(|(_, writer)| Arc::clone(writer) as Arc<dyn TraceSink>);
    let door = match &arguments.qmp {
        Some(address) => Some(
            Door::bind(std::slice::from_ref(address))
                .map_err(|error| Failure::new(error.to_string()).tip(error.way_out()))?,
        ),
        None => None,
    };
    let mut session = plan.session(sink, door.as_ref());
    // Before there is a temporary file to leave behind.
    let controls = Controls::listen(session.manager.clone())
        .map_err(|error| cannot("listen to signals", &error))?;
    let end = arguments
        .mirror
        .then(|| mirror::listen(arguments, &controls));
    let jobs = plan
        .start(&session, |index| {
            // Nothing is as fast as what would not fit.
            let speed = i64::try_from(arguments.speed).unwrap_or(i64::MAX);
            JobOptions::new(format!("copy{index}"))
                .speed(speed)
                .manual_finalize(arguments.manual_finalize)
                .manual_dismiss(arguments.manual_dismiss)
        })
        .map_err(|error| refusal(&error))?;
    controls.hand_to(jobs.clone());
    let jobs: Arc<[Copying]> = jobs.into();
    let asked = controls.asked();
    let clients = match door {
        Some(door) => {
            let asked = Arc::clone(&asked);
            let attached = door.open(session.manager.clone(), move || asked.quit());
            Some(attached.map_err(|error| cannot("let clients in", &error))?)
        }
        None => None,
    };
    let stopped = may_stop.then(|| {
        let jobs = jobs.iter().map(|job| job.handle.clone()).collect();
        Stopped::watch(jobs, clients.is_some())
    });
    let bar = telling::bar(Arc::clone(&jobs));
    let telling = if arguments.json && !arguments.progress_interval.is_zero() {
        // What was said so far comes before.
        output.flush();
        let telling = telling::Telling::watch(Arc::clone(&jobs), arguments.progress_interval);
        Some(telling.map_err(|error| cannot("tell the progress", &error))?)
    } else {
        None
    };
    if let Some(end) = end {
        mirror::until_ready(&mut session, &jobs, &end, arguments, output);
    }
    if arguments.manual_dismiss {
        session.main_loop.run_until(|| {
            let mut statuses = jobs.iter().map(|job| job.handle.status());
            statuses.all(|status| {
                status == Status::Null || status == Status::Concluded && asked.is_leaving()
            })
        });
    } else {
        session.main_loop.run_until_idle();
    }
    drop(stopped);
    drop(telling);
    drop(bar);
    // First the loop: a signal or a client that is being answered would wait for it.
    drop(session);
    drop(clients);
    drop(controls);
    let jobs: Vec<CopyJob> = jobs.iter().map(|job| job.copy.clone()).collect();
    let verdict = report::ending(&jobs, arguments, output);
    match writer.map(|(path, writer)| trace::finish(path, &writer)) {
        Some(Err(lost)) if verdict == Verdict::Good => Err(lost),
        Some(Err(lost)) => {
            complain(&lost);
            Ok(verdict)
        }
        _ => Ok(verdict),
    }
}

fn options(arguments: &Arguments) -> CopyOptions {
    CopyOptions::new()
        .workers(arguments.workers)
        .chunk_bytes(usize::try_from(arguments.chunk.0).unwrap_or(usize::MAX))
        .sparse(match arguments.sparse {
            SparseWhen::Auto => Sparse::Auto,
            SparseWhen::Always => Sparse::Always,
            SparseWhen::Never => Sparse::Never,
        })
        .durability(match arguments.sync {
            Sync::None => Durability::None,
            Sync::Data => Durability::Data,
            Sync::Full => Durability::Full,
        })
        .technique(match arguments.technique {
            _ if arguments.direct => Some(Technique::Direct),
            How::Auto => None,
            How::Clone => Some(Technique::Clone),
            How::Offload => Some(Technique::Offload),
            How::Buffered => Some(Technique::Buffered),
            How::Direct => Some(Technique::Direct),
        })
        .cache(match arguments.cache {
            CacheUse::Auto => Cache::Auto,
            CacheUse::Keep => Cache::Keep,
            CacheUse::Drop => Cache::Drop,
        })
        .on_source_error(arguments.on_source_error.policy())
        .on_target_error(arguments.on_target_error.policy())
        .bad_map(arguments.bad_map.clone())
        .verify(arguments.verify)
        .checksum(arguments.checksum)
        .times(arguments.times)
        .in_place(arguments.in_place)
        .allow_in_place(arguments.allow_in_place)
        .resume(arguments.resume)
        .journal(arguments.journal.clone())
}

/// What the copy library refuses, with its way out.
pub fn refusal(error: &CopyError) -> Failure {
    Failure::new(error.to_string()).tip(error.way_out())
}

fn cannot(what: &str, error: &io::Error) -> Failure {
    Failure::new(format!("cannot {what}: {}", sentence(error)))
}
