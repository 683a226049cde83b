//! `blockjob conform`: a live implementation, put to the test.

mod report;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blockjob::conform::against;
use blockjob::conform::campaign::{self, Campaign, Found, Progress};
use blockjob::conform::divergence::Known;
use blockjob::conform::peer::Source;
use blockjob::conform::program::Program;
use blockjob::conform::station::{Outcome, Station};
use blockjob::io::signals::{Signal, Signals};
use blockjob::model::Profile;
use clap::{ArgGroup, Args};

use super::args;
use super::output::{Answer, Failure, Output, Verdict, printable, sentence};
use super::progress::{Bar, Shown};

/// The long help.
pub const LONG: &str = "\
Drive a live implementation of block jobs with generated programs, and judge every answer and every event.

The peer speaks QMP: a qemu-storage-daemon that is started here (--spawn), a command that speaks QMP on its standard \
streams or on a socket (--exec), or something that listens already (--qmp). Each program makes a few jobs of its own \
on small images in a temporary folder, asks things of them, chosen to reach what was not reached before of the \
verb table and of the transition table, and cleans up. The oracle judges as it goes. Of a daemon that is started here, \
its trace log is held against what it says.

What must not be is a divergence: a message that the specification does not allow, a peer that does not answer, dies, \
floods, or says what is no QMP, a job that stays where it must not, a trace log that tells another story. It is \
shrunk to the shortest program that still shows it, and written to --save DIR as a file that --replay runs again. \
Deviations that are known, crashes and hangs included, are counted and listed with their reason; they are no failure.

Examples:
  blockjob conform --spawn qemu-storage-daemon
  blockjob conform --spawn qemu-storage-daemon --runs 1000 --seed 7 --save findings
  blockjob conform --spawn qemu-storage-daemon --replay docs/findings/group-abort-hang.json
  blockjob conform --exec 'my-server --socket {socket}' --profile reference
  blockjob conform --spawn qemu-storage-daemon --against 'my-server --stdio'

docs/conform.md has the format of programs and what can and cannot be concluded.";

const EXIT_CODES: &str = "\
Exit codes: 0 nothing diverged, or only what is known; 1 something did; 2 it could not be done (no peer, unreadable \
program, interrupted).";

/// Arguments of `conform`.
#[derive(Args)]
#[command(after_help = EXIT_CODES, group = ArgGroup::new("peer").required(true))]
pub struct Arguments {
    /// Start this qemu-storage-daemon
    #[arg(long, value_name = "PROGRAM", group = "peer")]
    spawn: Option<PathBuf>,
    /// Start this with the shell: it speaks QMP on its standard streams, or on {socket} where that stands in it
    #[arg(long, value_name = "COMMAND", group = "peer")]
    exec: Option<String>,
    /// Connect to what listens there
    #[arg(long, value_name = "unix:PATH", group = "peer", value_parser = socket)]
    qmp: Option<PathBuf>,
    /// Whose rules; auto takes them from the greeting
    #[arg(long, value_name = "NAME", default_value = "auto")]
    profile: String,
    /// How many programs
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    runs: u64,
    /// How many commands a program has at most, its nodes not counted
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    steps: u64,
    /// What the programs follow from; without it another one each time, which is printed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many peers at once; without it, as many as there are cores
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256))]
    peers: Option<u64>,
    /// How long a peer may be silent while something is due, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    limit: u64,
    /// Write each divergence that is not known there, as a program and its recording
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Run this program, and no others; may be given several times
    #[arg(long, value_name = "FILE", conflicts_with_all = ["runs", "steps", "seed", "peers"])]
    replay: Vec<PathBuf>,
    /// Run the programs on this too, and compare: unix:PATH, or a command as for --exec
    #[arg(long, value_name = "PEER")]
    against: Option<String>,
    /// Further known deviations: a JSON list such as docs/conform.md describes
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Do not have a spawned daemon write its trace log
    #[arg(long, requires = "spawn")]
    no_witness: bool,
    /// Do not shrink what is found
    #[arg(long)]
    no_shrink: bool,
    /// Write the result there for CI, as `JUnit` XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// One JSON object a divergence, and one at the end, instead of text
    #[arg(long)]
    json: bool,
}

/// `unix:PATH`.
fn socket(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err("a socket is written unix:PATH".to_owned()),
    }
}

impl Arguments {
    fn source(&self) -> Source {
        match (&self.spawn, &self.exec, &self.qmp) {
            (Some(program), ..) => Source::Daemon {
                program: program.clone(),
                witness: !self.no_witness,
            },
            (_, Some(command), _) => Source::Command(command.clone()),
            // The three are one group, of which one is required.
            (.., path) => Source::Socket(path.clone().unwrap_or_default()),
        }
    }

    /// Whom to compare it with.
    fn other(&self) -> Option<Source> {
        let peer = self.against.as_ref()?;
        Some(socket(peer).map_or_else(|_| Source::Command(peer.clone()), Source::Socket))
    }

    fn profile(&self) -> Result<Option<&'static Profile>, Failure> {
        if self.profile == "auto" {
            return Ok(None);
        }
        args::profile(&self.profile)
            .map(Some)
            .map_err(|why| Failure::new(format!("--profile {}: {why}", printable(&self.profile))))
    }

    fn known(&self) -> Result<Vec<Known>, Failure> {
        let mut known = Known::built_in();
        if let Some(path) = &self.known {
            let text = read(path)?;
            let more = Known::read(&text).map_err(|error| {
                Failure::new(format!(
                    "{}: no list of known deviations: {error}",
                    shown(path)
                ))
                .tip("docs/conform.md has the format")
            })?;
            known.extend(more);
        }
        Ok(known)
    }
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read {}: {}", shown(path), sentence(&error))))
}

/// Drives it.
pub fn run(arguments: &Arguments, output: &mut Output) -> Answer {
    let profile = arguments.profile()?;
    let known = arguments.known()?;
    if let Some(folder) = &arguments.save {
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::new(format!(
                "cannot make {}: {}",
                shown(folder),
                sentence(&error)
            ))
        })?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let interrupts = Interrupts::heed(&stop)?;
    let answer = if arguments.replay.is_empty() {
        drive(arguments, profile, known, &stop, output)
    } else {
        replay(arguments, profile, &known, &stop, output)
    };
    drop(interrupts);
    answer
}

/// Ctrl-C asks for an end, and what was started is ended.
struct Interrupts {
    waker: blockjob::io::signals::Waker,
    listener: Option<thread::JoinHandle<()>>,
}

impl Interrupts {
    fn heed(stop: &Arc<AtomicBool>) -> Result<Interrupts, Failure> {
        let signals = Signals::install()
            .map_err(|error| Failure::new(format!("cannot catch signals: {}", sentence(&error))))?;
        let waker = signals.waker();
        let stop = Arc::clone(stop);
        let listener = thread::spawn(move || {
            while let Ok(Some(signal)) = signals.next() {
                match signal {
                    Signal::Interrupt | Signal::Terminate | Signal::Hangup => {
                        stop.store(true, Ordering::Relaxed);
                    }
                    Signal::Stop => {
                        let _ = blockjob::io::signals::stop_process();
                    }
                    Signal::User1 | Signal::User2 | Signal::Continue => {}
                }
            }
        });
        Ok(Interrupts {
            waker,
            listener: Some(listener),
        })
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.waker.wake();
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn unreachable_peer(source: &Source, error: &io::Error) -> Failure {
    let failure = Failure::new(format!(
        "no peer from {}: {}",
        printable(&source.to_string()),
        sentence(error)
    ));
    match source {
        Source::Daemon { .. } if error.kind() == io::ErrorKind::NotFound => failure.tip(
            "qemu-storage-daemon is in Debian's package qemu-system-common; `cargo xtask setup` installs it",
        ),
        Source::Command(_) => failure.tip(
            "the command speaks QMP on its standard input and output, or on the socket whose path stands for {socket}",
        ),
        _ => failure,
    }
}

fn drive(
    arguments: &Arguments,
    profile: Option<&'static Profile>,
    known: Vec<Known>,
    stop: &Arc<AtomicBool>,
    output: &mut Output,
) -> Answer {
    let seed = arguments.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(1, |now| now.as_nanos() as u64 >> 10)
    });
    let source = arguments.source();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let peers = arguments.peers.map_or(cores, |peers| peers as usize);
    let campaign = Campaign {
        against: arguments.other(),
        // One that listens has one monitor for us.
        peers: if source.starts() { peers } else { 1 },
        source,
        profile,
        runs: arguments.runs,
        commands: arguments.steps as usize,
        seed,
        limit: Duration::from_secs(arguments.limit),
        known,
        provoke: true,
        shrink: !arguments.no_shrink,
    };
    let progress = Arc::new(Progress::default());
    let watched = Arc::clone(&progress);
    let runs = campaign.runs;
    let bar = Bar::watch(move || {
        let found = watched.divergences.load(Ordering::Relaxed);
        Shown::Words(format!(
            "program {} of {runs}, {found} {}{}",
            watched.programs.load(Ordering::Relaxed),
            if found == 1 {
                "divergence"
            } else {
                "divergences"
            },
            if watched.shrinking.load(Ordering::Relaxed) {
                ", one of them being shrunk"
            } else {
                ""
            }
        ))
    });
    let saved = Mutex::new((BTreeMap::<u64, PathBuf>::new(), None::<Failure>));
    let tell = |found: &Found| {
        if let Some(folder) = &arguments.save
            && found.known.is_none()
        {
            let mut saved = saved.lock().unwrap_or_else(PoisonError::into_inner);
            match report::save(folder, seed, found) {
                Ok(path) => drop(saved.0.insert(found.number, path)),
                Err(failure) => drop(saved.1.get_or_insert(failure)),
            }
        }
    };
    let result = campaign::run(&campaign, &progress, stop, &tell);
    drop(bar);
    let done = result.map_err(|error| unreachable_peer(&campaign.source, &error))?;
    let (saved, failure) = saved.into_inner().unwrap_or_else(PoisonError::into_inner);
    let account = report::Account {
        campaign: &campaign,
        report: &done,
        saved: &saved,
    };
    account.tell(arguments.json, output);
    if let Some(path) = &arguments.junit {
        account.junit(path)?;
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    if let Some(error) = &done.failure {
        return Err(unreachable_peer(&campaign.source, error));
    }
    let bad = done.found.iter().any(|found| found.known.is_none());
    if done.interrupted {
        return Err(Failure::new(format!(
            "interrupted after {} of {} programs",
            done.programs, campaign.runs
        )));
    }
    Ok(Verdict::good_if(!bad))
}

fn replay(
    arguments: &Arguments,
    profile: Option<&'static Profile>,
    known: &[Known],
    stop: &Arc<AtomicBool>,
    output: &mut Output,
) -> Answer {
    let source = arguments.source();
    let mut programs = Vec::new();
    for path in &arguments.replay {
        let mut program = Program::read(&read(path)?)
            .map_err(|error| Failure::new(format!("{}: {error}", shown(path))))?;
        // What was asked for rules over what the file says; of two, each has its own.
        program.profile = match arguments.against {
            Some(_) => profile,
            None => profile.or(program.profile),
        };
        programs.push((path, program));
    }
    let limit = Duration::from_secs(arguments.limit);
    let unreachable = |error: &io::Error| unreachable_peer(&source, error);
    let mut station =
        Station::new(&source, profile, limit, stop).map_err(|error| unreachable(&error))?;
    let mut other = match arguments.other() {
        Some(source) => Some((
            Station::new(&source, None, limit, stop)
                .map_err(|error| unreachable_peer(&source, &error))?,
            source,
        )),
        None => None,
    };
    let mut results: Vec<(&Path, Program, Outcome, Option<&Known>)> = Vec::new();
    for (path, program) in programs {
        let mut outcome = station
            .play(&program)
            .map_err(|error| unreachable(&error))?;
        if outcome.divergence.is_none()
            && let Some((other, source)) = &mut other
        {
            let shown = against::run(&outcome, other, &program)
                .map_err(|error| unreachable_peer(source, &error))?;
            if let Some((found, rules)) = shown {
                outcome.divergence = Some(found);
                outcome.profile = rules;
            }
        }
        let entry = outcome.divergence.as_ref().and_then(|divergence| {
            known
                .iter()
                .find(|known| known.explains(divergence, outcome.profile))
        });
        report::replayed(path, &program, &outcome, entry, arguments.json, output);
        results.push((path, program, outcome, entry));
    }
    if let Some(path) = &arguments.junit {
        report::replayed_junit(path, &results)?;
    }
    let bad = |(_, _, outcome, entry): &(&Path, Program, Outcome, Option<&Known>)| {
        outcome.divergence.is_some() && entry.is_none()
    };
    Ok(Verdict::good_if(!results.iter().any(bad)))
}
