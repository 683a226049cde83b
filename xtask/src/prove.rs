//! `cargo xtask prove`: the harnesses of `proofs/` under loom and shuttle.
//!
//! The proofs are built once for each tool, in a target folder of its own, and every harness runs
//! in a process of its own, as many at a time as there are processors, the longest first. What is printed: a line for
//! each harness with its tool, its bound, how many executions were explored and judged, and how
//! long that took.
//!
//! Programs and worlds are counted before they are played, and cut into parts, each a process of its
//! own ([`parts`]). `--quick` plays a few parts of each, `--full` as much as fits into an hour, `--whole` all
//! there is, which takes hours and is there to be split over machines (`--shard`). The first two compare
//! what they played with the pins; a shard's share is pinned nowhere. What a longer run has done is kept
//! beside the build, and `--resume` does not do it again.
//!
//! Of a harness that fails, the story of the failing execution is printed, and written as a page to
//! `target/proofs/HARNESS.html`.
//!
//! As much memory as these processes can have had together at a time is printed, and more than [`MEMORY_MAX`] is a
//! fault.
//!
//! The executions are pinned in `proofs/executions.txt`: loom's number is a property of the code,
//! so another number means that something else was explored. That may be right (the engine or a
//! scenario changed) and then is a visible change of the file (`--pin`), but it never goes
//! unnoticed: a harness that loses its executions checks nothing. A pin of what neither `--quick` nor `--full` plays any
//! more goes with the next `--pin`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;
use std::{env, fs};

use serde::{Deserialize, Serialize};

use crate::overhead;
use crate::steps::{cargo, root};

mod order;
mod parts;

pub(crate) use parts::digest;
use parts::{Scale, Shape, State};

/// What to prove and how to say so.
#[derive(clap::Args, Default)]
pub struct Options {
    /// The part that fits into a check of every change; the default.
    #[arg(long, conflicts_with_all = ["full", "whole"])]
    quick: bool,
    /// Every harness; of the programs as much as fits into an hour.
    #[arg(long, conflicts_with = "whole")]
    full: bool,
    /// Every program there is. Hours: for several machines, with --shard.
    #[arg(long)]
    whole: bool,
    /// So many parts of every harness that is cut into parts, where --quick plays one to six.
    #[arg(long, value_name = "N", conflicts_with_all = ["full", "whole"])]
    parts: Option<u64>,
    /// Does not do again what the last --full or --whole of the same code has done.
    #[arg(long)]
    resume: bool,
    /// Plays the world that a failing harness saved, under its schedule; nothing else.
    #[arg(long, value_name = "FILE", exclusive = true)]
    replay: Option<PathBuf>,
    /// One line of JSON for each harness instead of a table.
    #[arg(long)]
    json: bool,
    /// Only part I of N of all there is to do: `--shard 3/8`.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<(usize, usize)>,
    /// Only this harness; may be given again.
    #[arg(long, value_name = "NAME")]
    harness: Vec<String>,
    /// Only this case of the harness, counted from 1: what a story names.
    #[arg(long, value_name = "N", requires = "harness", conflicts_with = "pin")]
    case: Option<usize>,
    /// Writes the executions to proofs/executions.txt instead of comparing them.
    #[arg(long, conflicts_with_all = ["parts", "whole"])]
    pin: bool,
    /// Measures what judging costs: executions a second with the judge and without. Proves nothing.
    #[arg(long, conflicts_with_all = ["pin", "shard", "case", "json", "full", "whole", "parts", "resume"])]
    overhead: bool,
}

/// `I/N` with 1 <= I <= N.
pub(crate) fn shard(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/').and_then(|(part, parts)| {
        let (part, parts) = (part.parse().ok()?, parts.parse().ok()?);
        (1 <= part && part <= parts).then_some((part, parts))
    });
    parts.ok_or_else(|| "expected I/N with 1 <= I <= N, for example 1/2".to_owned())
}

/// One of the two builds.
pub(crate) struct Build {
    pub(crate) tool: &'static str,
    cfg: &'static str,
}

pub(crate) const BUILDS: [Build; 2] = [
    Build {
        tool: "loom",
        cfg: "blockjob_loom",
    },
    Build {
        tool: "shuttle",
        cfg: "blockjob_shuttle",
    },
];

/// What a harness says of itself when every execution was allowed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Proved {
    pub(crate) harness: String,
    pub(crate) tool: String,
    /// Which part of how many, counted from 1.
    part: u64,
    parts: u64,
    /// On preemptions; none where every execution was explored, or where they are drawn at random.
    bound: Option<u64>,
    /// Where random numbers begin.
    seed: Option<u64>,
    /// Programs or worlds, where these are counted, and how many of them were explored without a bound.
    programs: u64,
    unbounded: u64,
    pub(crate) executions: u64,
    /// Histories among them that differ.
    pub(crate) distinct: u64,
    /// Of those, how many were judged less strictly.
    widened: u64,
    pub(crate) seconds: f64,
    /// Of them, what a processor was busy with it.
    pub(crate) processor_seconds: f64,
    /// The most memory that its process had; of parts, the largest. `None` where the system does not tell.
    #[serde(default)]
    pub(crate) peak_bytes: Option<u64>,
    /// Whether the specification judged the executions; else …
    pub(crate) judged: bool,
    /// … whether all that is asked of them is what they assert; if neither, nothing was proved.
    pub(crate) asserted: bool,
}

/// What a run found, and what it took.
pub(crate) struct Played {
    pub(crate) proved: Vec<Proved>,
    pub(crate) faults: Vec<String>,
    /// Parts, and how many of them an earlier run had played.
    pub(crate) parts: usize,
    pub(crate) parts_before: usize,
    /// How many processes at a time.
    pub(crate) processes: usize,
    /// Of the clock, without what an earlier run took and without the build.
    pub(crate) seconds: f64,
    /// Of these, on all processors; and of an earlier run.
    pub(crate) processor_seconds: f64,
    pub(crate) processor_seconds_before: f64,
    /// The most memory, in bytes, that as many processes can have had together.
    pub(crate) peak_bytes: Option<u64>,
    /// What tells the binaries from others.
    pub(crate) build: String,
    shapes: BTreeMap<String, Shape>,
}

#[cfg(test)]
impl Played {
    /// One harness, which asserts.
    pub(crate) fn example() -> Played {
        let line = r#"{"harness":"h","tool":"loom","part":1,"parts":1,"bound":null,"seed":null,"programs":0,"unbounded":0,"executions":7,"distinct":0,"widened":0,"seconds":12.0,"processor_seconds":20.0,"peak_bytes":3221225472,"judged":false,"asserted":true}"#;
        let proved: Proved = serde_json::from_str(line).expect("what the binary prints");
        Played {
            faults: Vec::new(),
            parts: 4,
            parts_before: 0,
            processes: 2,
            seconds: proved.seconds,
            processor_seconds: proved.processor_seconds,
            processor_seconds_before: 30.0,
            peak_bytes: proved.peak_bytes,
            build: String::new(),
            proved: vec![proved],
            shapes: BTreeMap::new(),
        }
    }
}

/// What all processes of a run together may have of memory, in bytes.
pub(crate) const MEMORY_MAX: u64 = 4 << 30;

/// In MiB, rounded up.
pub(crate) fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// A harness to run.
struct Job {
    binary: PathBuf,
    tool: &'static str,
    /// What it has to say its tool is.
    named_tool: String,
    name: String,
    case: Option<usize>,
    /// Which part of how many.
    part: (u64, u64),
}

/// Builds, runs, compares.
pub fn run(options: &Options) -> ExitCode {
    if options.overhead {
        return overhead(&options.harness);
    }
    let begun = Instant::now();
    if let Some(file) = &options.replay {
        return replay(file);
    }
    match prove(options) {
        Ok(played) => {
            let pins = root().join("proofs/executions.txt");
            let Played {
                proved, mut faults, ..
            } = played;
            if options.pin {
                faults.extend(pin(&pins, &proved, &played.shapes).err());
            } else if options.case.is_none() && options.parts.is_none() && !options.whole {
                faults.extend(compare(&pins, &proved));
            }
            let executions: u64 = proved.iter().map(|proved| proved.executions).sum();
            let seconds = begun.elapsed().as_secs_f64();
            if !options.json {
                println!(
                    "prove: {} harnesses, {executions} executions, {} faults, {seconds:.1} s",
                    proved.len(),
                    faults.len()
                );
                if let Some(bytes) = played.peak_bytes {
                    println!(
                        "prove: at most {} MiB of memory, {} processes at a time",
                        mib(bytes),
                        played.processes
                    );
                }
            }
            for fault in &faults {
                eprintln!("prove: {fault}");
            }
            if faults.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(reason) => {
            eprintln!("prove: {reason}");
            ExitCode::from(2)
        }
    }
}

fn overhead(names: &[String]) -> ExitCode {
    match overhead::run(names) {
        Ok(faults) => {
            for fault in &faults {
                eprintln!("prove: {fault}");
            }
            ExitCode::from(u8::from(!faults.is_empty()))
        }
        Err(reason) => {
            eprintln!("prove: {reason}");
            ExitCode::from(2)
        }
    }
}

/// Runs every harness, the long ones too; what was proved, and what was found against it. With `resume`
/// what the last run of the same code has done is not done again.
pub(crate) fn everything(resume: bool) -> Result<Played, String> {
    let options = Options {
        full: true,
        resume,
        ..Options::default()
    };
    let mut played = prove(&options)?;
    let pins = root().join("proofs/executions.txt");
    played.faults.extend(compare(&pins, &played.proved));
    Ok(played)
}

/// Plays a saved world. The exit code is that of the binary.
fn replay(file: &Path) -> ExitCode {
    let shuttle = &BUILDS[1];
    let played = shuttle.make().and_then(|binary| {
        Command::new(binary)
            .arg("--replay")
            .arg(file)
            .env("BLOCKJOB_PROOFS_PAGES", target().join("proofs"))
            .status()
            .map_err(|error| error.to_string())
    });
    match played {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) if status.code() == Some(2) => ExitCode::from(2),
        Ok(_) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("prove: {reason}");
            ExitCode::from(2)
        }
    }
}

impl Options {
    fn scale(&self) -> Scale {
        match self.parts {
            Some(parts) => Scale::Parts(parts),
            None if self.whole => Scale::Whole,
            None if self.full => Scale::Full,
            None => Scale::Quick,
        }
    }

    fn all_harnesses(&self) -> bool {
        self.full || self.whole || !self.harness.is_empty()
    }
}

fn prove(options: &Options) -> Result<Played, String> {
    let mut jobs = Vec::new();
    let mut binaries = Vec::new();
    let mut all = BTreeMap::new();
    for build in &BUILDS {
        let binary = build.make()?;
        let shapes = parts::shapes(&binary)?;
        for name in list(&binary, options.all_harnesses())? {
            if !options.harness.is_empty() && !options.harness.contains(&name) {
                continue;
            }
            let shape = shapes
                .get(&name)
                .ok_or_else(|| format!("{} does not say how large {name} is", binary.display()))?;
            let played = match options.case {
                Some(_) => 1,
                None => shape.played(options.scale()),
            };
            if !options.json {
                shape
                    .announcement(played)
                    .into_iter()
                    .for_each(|line| println!("{line}"));
            }
            jobs.extend((1..=played).map(|part| Job {
                binary: binary.clone(),
                tool: build.tool,
                named_tool: shape.tool.clone(),
                name: name.clone(),
                case: options.case,
                part: (part, shape.whole),
            }));
        }
        all.extend(shapes);
        binaries.push(binary);
    }
    if let Some(unknown) = options
        .harness
        .iter()
        .find(|name| jobs.iter().all(|job| job.name != **name))
    {
        return Err(format!("no harness is called '{unknown}'"));
    }
    if let Some((part, parts)) = options.shard {
        let mut place = 0;
        jobs.retain(|_| {
            place += 1;
            place % parts == part % parts
        });
    }
    if jobs.is_empty() {
        return Err("no harness is left to run".to_owned());
    }
    let mut state = State::new(target().join("prove-state.json"), &binaries, commit())?;
    if options.resume {
        state.resume()?;
    }
    let long = options.full || options.whole;
    // Without pins, in the order of the list: whoever compares with them says that there are none.
    let pinned = pins(&root().join("proofs/executions.txt")).unwrap_or_default();
    let mut played = run_all(jobs, options.json, state, long, &pinned);
    played.shapes = all;
    Ok(played)
}

/// Where the project stands, in words.
fn commit() -> String {
    Command::new("git")
        .current_dir(root())
        .args(["describe", "--always", "--dirty"])
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

impl Build {
    /// Builds the proofs for the tool; the path of the binary.
    pub(crate) fn make(&self) -> Result<PathBuf, String> {
        let folder = target().join(format!("prove-{}", self.tool));
        match self.command(&folder).status() {
            Ok(status) if status.success() => Ok(Build::binary(&folder)),
            Ok(status) => Err(format!("the build for {} failed: {status}", self.tool)),
            Err(error) => Err(format!("cannot start cargo: {error}")),
        }
    }

    /// What builds the proofs for the tool into the target folder `folder`.
    pub(crate) fn command(&self, folder: &Path) -> Command {
        let flags = match env::var("RUSTFLAGS") {
            Ok(flags) if !flags.is_empty() => format!("{flags} --cfg {}", self.cfg),
            _ => format!("--cfg {}", self.cfg),
        };
        let mut command = cargo(&[
            "build",
            "--locked",
            "--quiet",
            "--profile",
            "prove",
            "--package",
            "blockjob-proofs",
        ]);
        command
            .env("CARGO_TARGET_DIR", folder)
            .env("RUSTFLAGS", flags)
            // It would take the place of RUSTFLAGS.
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        command
    }

    /// What was built into that folder.
    pub(crate) fn binary(folder: &Path) -> PathBuf {
        folder.join("prove/blockjob-proofs")
    }
}

/// The workspace's target folder.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// The harnesses of a binary; with `full` the long ones too.
pub(crate) fn list(binary: &Path, full: bool) -> Result<Vec<String>, String> {
    let mut command = Command::new(binary);
    command.arg("--list");
    if full {
        command.arg("--full");
    }
    let output = command
        .output()
        .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} lists nothing: {reason}", binary.display()));
    }
    let names = String::from_utf8_lossy(&output.stdout);
    Ok(names.lines().map(str::to_owned).collect())
}

/// A run under way.
struct Run {
    /// Where each harness stands in the list, and how many of its parts are not done.
    harnesses: Vec<(String, usize)>,
    /// By harness: what its parts proved, and what was found against it.
    proved: Vec<Vec<Proved>>,
    faults: Vec<String>,
    state: State,
    done: usize,
    jobs: usize,
    width: usize,
    json: bool,
    long: bool,
    begun: Instant,
    told: Instant,
}

impl Run {
    fn place(&self, harness: &str) -> usize {
        let mut names = self.harnesses.iter();
        names
            .position(|(name, _)| name == harness)
            .unwrap_or_default()
    }

    /// A part is done, now or before.
    fn add(&mut self, name: &str, result: Result<Proved, String>, now: bool) {
        let place = self.place(name);
        self.done += 1;
        self.harnesses[place].1 -= 1;
        match result {
            Ok(proved) => {
                if now && self.long {
                    self.faults.extend(self.state.add(&proved).err());
                }
                self.proved[place].push(proved);
            }
            Err(fault) => self.faults.push(fault),
        }
        if self.harnesses[place].1 == 0 {
            if let Some(total) = parts::sum(&self.proved[place]) {
                say(&total, self.width, self.json);
            }
        } else if self.long {
            self.tell();
        }
    }

    /// A line of progress: at once for people, now and then for a file.
    fn tell(&mut self) {
        let people = std::io::stderr().is_terminal();
        if !people && self.told.elapsed() < PROGRESS {
            return;
        }
        self.told = Instant::now();
        let executions: u64 = self
            .proved
            .iter()
            .flatten()
            .map(|part| part.executions)
            .sum();
        let (done, jobs) = (self.done, self.jobs);
        let minutes = self.begun.elapsed().as_secs_f64() / 60.0;
        let end = if people { "\r" } else { "\n" };
        eprint!("prove: {done} of {jobs} parts, {executions} executions, {minutes:.1} min   {end}");
    }
}

/// How often a run whose progress goes to a file says how far it is.
const PROGRESS: std::time::Duration = std::time::Duration::from_secs(30);

/// Runs the harnesses, so many parts at a time as there are processors; results in the order of the list.
fn run_all(
    jobs: Vec<Job>,
    json: bool,
    state: State,
    long: bool,
    pinned: &BTreeMap<String, u64>,
) -> Played {
    let width = jobs.iter().map(|job| job.name.len()).max().unwrap_or(0);
    if !json {
        println!(
            "{:<width$}  {:<10}  {:>5}  {:>10}  {:>9}  {:>8}  programs",
            "harness", "tool", "bound", "executions", "distinct", "seconds"
        );
    }
    let mut harnesses: Vec<(String, usize)> = Vec::new();
    for job in &jobs {
        match harnesses.iter_mut().find(|(name, _)| *name == job.name) {
            Some((_, parts)) => *parts += 1,
            None => harnesses.push((job.name.clone(), 1)),
        }
    }
    let mut run = Run {
        proved: vec![Vec::new(); harnesses.len()],
        harnesses,
        faults: Vec::new(),
        state,
        done: 0,
        jobs: jobs.len(),
        width,
        json,
        long,
        begun: Instant::now(),
        told: Instant::now(),
    };
    let mut left = Vec::new();
    for job in jobs {
        match run.state.of(&job.name, job.part).cloned() {
            Some(proved) => run.add(&job.name, Ok(proved), false),
            None => left.push(job),
        }
    }
    let parts_before = run.done;
    let processor_seconds = |proved: &[Vec<Proved>]| -> f64 {
        let parts = proved.iter().flatten();
        parts.map(|part| part.processor_seconds).sum()
    };
    let processor_seconds_before = processor_seconds(&run.proved);
    if run.done > 0 {
        eprintln!("prove: {} of {} parts were done before", run.done, run.jobs);
    }
    order::longest_first(&mut left, pinned);
    let queue = Mutex::new(left.into_iter());
    let run = Mutex::new(run);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(job) = next else { return };
                    let result = job.run();
                    let mut run = run.lock().unwrap_or_else(PoisonError::into_inner);
                    run.add(&job.name, result, true);
                }
            });
        }
    });
    let run = run.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut faults = run.faults;
    let peak_bytes = parts::peak_together(&run.proved.concat(), workers);
    if let Some(bytes) = peak_bytes.filter(|&bytes| bytes > MEMORY_MAX) {
        faults.push(format!(
            "{workers} processes at a time can have had {} MiB of memory, and no more than {} are wanted",
            mib(bytes),
            mib(MEMORY_MAX)
        ));
    }
    Played {
        parts: run.jobs,
        parts_before,
        processes: workers,
        seconds: run.begun.elapsed().as_secs_f64(),
        processor_seconds: processor_seconds(&run.proved) - processor_seconds_before,
        processor_seconds_before,
        peak_bytes,
        build: run.state.build().to_owned(),
        proved: run
            .proved
            .iter()
            .filter_map(|proved| parts::sum(proved))
            .collect(),
        faults,
        shapes: BTreeMap::new(),
    }
}

impl Job {
    fn run(&self) -> Result<Proved, String> {
        let (part, parts) = self.part;
        let fault = |why: &str| match parts {
            1 => format!("{} under {}: {why}", self.name, self.tool),
            _ => format!(
                "{} under {}, part {part}/{parts}: {why}",
                self.name, self.tool
            ),
        };
        let mut command = Command::new(&self.binary);
        command.args(["--harness", &self.name]);
        if let Some(case) = self.case {
            command.args(["--case", &case.to_string()]);
        } else {
            command.args(["--part", &format!("{part}/{parts}")]);
        }
        let output = command
            .env("BLOCKJOB_PROOFS_PAGES", target().join("proofs"))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| fault(&error.to_string()))?;
        if !output.status.success() {
            let story = String::from_utf8_lossy(&output.stderr);
            return Err(fault(&format!("{}\n{story}", output.status)));
        }
        let line = String::from_utf8_lossy(&output.stdout);
        let last = line.lines().last().unwrap_or_default();
        let proved: Proved =
            serde_json::from_str(last).map_err(|error| fault(&format!("{error}: {last}")))?;
        // A build without the tool must not pass as checked, nor a run without the judge.
        let part = self.case.is_some() || (proved.part, proved.parts) == self.part;
        if !(proved.judged || proved.asserted)
            || proved.tool != self.named_tool
            || proved.harness != self.name
            || proved.executions == 0
            || !part
        {
            return Err(fault(&format!("ran something else: {last}")));
        }
        Ok(proved)
    }
}

/// The bound as a word: `-` where executions are drawn at random, which no bound describes.
pub(crate) fn bound(proved: &Proved) -> String {
    match (proved.bound, proved.tool.as_str()) {
        (Some(bound), _) => bound.to_string(),
        (None, "loom") => "none".to_owned(),
        (None, _) => "-".to_owned(),
    }
}

fn say(proved: &Proved, width: usize, json: bool) {
    if json {
        if let Ok(line) = serde_json::to_string(proved) {
            println!("{line}");
        }
        return;
    }
    let bound = bound(proved);
    let seed = proved
        .seed
        .map_or_else(String::new, |seed| format!(", seed {seed}"));
    println!(
        "{:<width$}  {:<10}  {bound:>5}  {:>10}  {:>9}  {:>8.1}  {}{seed}",
        proved.harness,
        proved.tool,
        proved.executions,
        proved.of_histories(),
        proved.seconds,
        proved.of_programs(),
    );
}

/// The pinned executions by harness.
fn pins(path: &Path) -> Result<BTreeMap<String, u64>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut pins = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let (Some(name), Some(number)) = (words.next(), words.next_back()) else {
            continue;
        };
        let number = number
            .parse()
            .map_err(|_| format!("{}: no number in '{line}'", path.display()))?;
        pins.insert(name.to_owned(), number);
    }
    Ok(pins)
}

/// What differs from the pinned executions.
fn compare(path: &Path, proved: &[Proved]) -> Vec<String> {
    let pins = match pins(path) {
        Ok(pins) => pins,
        Err(reason) => return vec![format!("{reason}; cargo xtask prove --pin writes it")],
    };
    proved
        .iter()
        .filter_map(|proved| {
            let name = &proved.pinned_as()?;
            let again = format!(
                "if that is what the change meant, cargo xtask prove --pin --harness {} pins it",
                proved.harness
            );
            match pins.get(name) {
                None => Some(format!("{name} has no pinned executions; {again}")),
                Some(pinned) if *pinned != proved.executions => Some(format!(
                    "{name} explored {} executions, {pinned} are pinned; {again}",
                    proved.executions
                )),
                Some(_) => None,
            }
        })
        .collect()
}

/// Writes the executions; those of harnesses that did not run stay, but for what nothing is compared with any more.
fn pin(path: &Path, proved: &[Proved], shapes: &BTreeMap<String, Shape>) -> Result<(), String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let played: BTreeSet<String> = shapes.values().flat_map(Shape::pinned_as).collect();
    fs::write(path, pinned(&text, proved, &played))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// The lines of `text` with what was proved, as far as `played` has their names: what some scale plays.
fn pinned(text: &str, proved: &[Proved], played: &BTreeSet<String>) -> String {
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let [name, tool, bound, executions] =
            line.split_whitespace().collect::<Vec<_>>().as_slice()
        {
            lines.insert((*name).to_owned(), row(name, tool, bound, executions));
        }
    }
    for proved in proved {
        let Some(name) = proved.pinned_as() else {
            continue;
        };
        let executions = proved.executions.to_string();
        let line = row(&name, &proved.tool, &bound(proved), &executions);
        lines.insert(name, line);
    }
    lines.retain(|name, _| played.contains(name));
    let mut text = String::from(
        "# Executions of each harness: name (name:N are its first N parts), tool, bound on preemptions (- is a\n\
         # draw at random), executions.\n\
         # Written by `cargo xtask prove --pin`, compared by `cargo xtask prove`.\n",
    );
    for line in lines.values() {
        let _ = writeln!(text, "{line}");
    }
    text
}

fn row(name: &str, tool: &str, bound: &str, executions: &str) -> String {
    format!("{name:<30} {tool:<10} {bound:<5} {executions}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_of_what_is_not_played_any_more_goes() {
        let text = "# Comment.\n\
                    gone    loom 2 5\n\
                    cut:61  loom 2 7\n\
                    cut:6   loom 2 3\n\
                    other   shuttle - 11\n";
        let line = r#"{"harness":"cut","tool":"loom","part":6,"parts":9,"bound":2,"seed":null,"programs":3,"unbounded":0,"executions":4,"distinct":4,"widened":0,"seconds":1.5,"processor_seconds":1.4,"peak_bytes":null,"judged":true,"asserted":false}"#;
        let proved: Proved = serde_json::from_str(line).expect("what the binary prints");
        let played = ["cut:6", "cut", "other"].map(str::to_owned);
        let text = pinned(text, &[proved], &BTreeSet::from(played));
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().collect())
            .collect();
        let expected = [["cut:6", "loom", "2", "4"], ["other", "shuttle", "-", "11"]];
        assert_eq!(rows, expected);
    }
}
