//! `cargo xtask mutants`: small mistakes put into the code by cargo-mutants, one at a time. A mutant
//! that no test notices is either a check that is missing, or changes nothing that can be seen.
//!
//! Every mutant is built and tested; the tests are therefore the quick ones, unless all are asked
//! for. cargo-mutants builds each mutant for itself, which is most of the time it takes; [`together`]
//! takes its list and builds all of them at once. cargo-mutants is a tool, not a dependency: nothing else
//! needs it.

mod apart;
mod build;
mod constant;
mod list;
mod results;
mod rewrite;
mod run;
mod sites;
mod together;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::prove;
use crate::steps::{cargo, root};

/// Where to put mistakes.
#[derive(clap::Args)]
pub struct Options {
    /// What to put mistakes into.
    #[arg(value_enum)]
    part: Part,
    /// Every test of the package, not only the quick ones: minutes for each mutant. For those that
    /// survived.
    #[arg(long)]
    whole: bool,
    /// All mutants in one build, each behind a switch: seconds for a mutant instead of half a minute.
    /// Those that were tried before and would come out the same are not tried again.
    #[arg(long)]
    together: bool,
    /// With --together: so many tests at a time.
    #[arg(long, value_name = "N", requires = "together")]
    jobs: Option<usize>,
    /// With --together: tries those again that were taken to hang, with more patience. On a machine with other
    /// work a test may well be late.
    #[arg(long, requires = "together")]
    confirm: bool,
    /// With --together: tries only those that turned out before to have no switch, each in a build of its own: a
    /// quarter of a minute for each.
    #[arg(long, requires = "together", conflicts_with = "report")]
    apart: bool,
    /// With --together: tries nothing, only prints what is known.
    #[arg(long, requires = "together")]
    report: bool,
    /// Options of cargo-mutants: `-f FILE`, `--shard 1/8`, `--iterate` to leave out what was caught
    /// before, `--list`.
    #[arg(last = true, value_name = "OPTIONS")]
    rest: Vec<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Part {
    /// The specification, `model/src`.
    Model,
    /// The engine's core: `src/engine`, `src/sync.rs`, `src/driver.rs`.
    Engine,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Model => "model",
            Part::Engine => "engine",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Part::Model => "blockjob-model",
            Part::Engine => "blockjob",
        }
    }

    /// Of the package, below the root.
    fn folder(self) -> &'static str {
        match self {
            Part::Model => "model",
            Part::Engine => "",
        }
    }

    fn root_file(self) -> &'static str {
        match self {
            Part::Model => "model/src/lib.rs",
            Part::Engine => "src/lib.rs",
        }
    }

    /// How many tests to run at a time: those of the engine mostly wait.
    fn jobs(self) -> usize {
        match self {
            Part::Model => 2,
            Part::Engine => 4,
        }
    }

    /// What the quick tests are built with.
    fn features(self) -> &'static [&'static str] {
        match self {
            Part::Model => &[],
            Part::Engine => &["--no-default-features"],
        }
    }

    /// The tests that are tried, beside those in the sources; `built_once` if not for each mutant.
    fn tests(self, whole: bool, built_once: bool) -> Result<Vec<String>, String> {
        let mut tests = match self {
            Part::Model if whole => test_names(&root().join("model/tests"), "")?,
            Part::Model => MODEL.map(str::to_owned).to_vec(),
            Part::Engine => test_names(&root().join("tests"), "engine_")?,
        };
        tests.retain(|test| test != NEVER && (whole || built_once || test != SLOW_TO_BUILD));
        Ok(tests)
    }

    /// Of the tests, a few that notice most: the first to be tried where each mutant is built for itself.
    fn first(self) -> Vec<String> {
        let names: &[&str] = match self {
            Part::Model => &FIRST,
            Part::Engine => &["engine_edges", "engine_lifecycle"],
        };
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// Of the tests, those that take too long for each mutant: what their names have in them.
    fn slow(self) -> &'static [&'static str] {
        match self {
            Part::Model => &SLOW,
            Part::Engine => &ELSEWHERE,
        }
    }

    /// Tells cargo-mutants where to put mistakes.
    fn choose(self, command: &mut Command, rest: &[String]) {
        command.args(["--package", self.package()]);
        let files: &[&str] = match self {
            Part::Model => &["model/src/**/*.rs"],
            Part::Engine => &["src/engine/**/*.rs", "src/sync.rs", "src/driver.rs"],
        };
        // A file that was asked for is asked for in place of all.
        let chosen = |word: &String| word.starts_with("-f") || word.starts_with("--file");
        if !rest.iter().any(chosen) {
            command.args(files.iter().flat_map(|file| ["--file", file]));
        }
    }
}

/// Tests of the model, most of which are quick.
const MODEL: [&str; 24] = [
    "acceptor",
    "answers",
    "coarse",
    "conversations",
    "counts",
    "crowd",
    "crowd_local",
    "explorer",
    "hash",
    "lifecycle",
    "liveness",
    "pictures",
    "profiles",
    "profiles_page",
    "queries",
    "refusals",
    "requests",
    "rules",
    "vectors",
    "views",
    "walks",
    "widened",
    "words",
    "worlds",
];

/// Those among them that notice most of what is written in tables.
const FIRST: [&str; 9] = [
    "counts",
    "lifecycle",
    "profiles",
    "profiles_page",
    "refusals",
    "requests",
    "rules",
    "views",
    "words",
];

/// Those in them that take ten seconds and more.
const SLOW: [&str; 7] = [
    "two_requests",
    "group_of_two",
    "three_jobs",
    "the_reference_holds_for_two",
    "crowds_cover_every_step_of_two_jobs",
    "each_departure_alone",
    "every_profile_breaks",
];

/// What tests in the engine's package are about that say little of the engine, for how long they take.
const ELSEWHERE: [&str; 2] = ["copy::", "io::"];

/// About the compiler's answers, which would be those to the mutants.
const NEVER: &str = "engine_compile_fail";

/// A test of the engine that takes too long to build for each mutant.
const SLOW_TO_BUILD: &str = "engine_accepted";

/// Starts cargo-mutants; its exit code is ours (2: some survived, 3: some timed out).
pub fn run(options: &Options) -> ExitCode {
    match start(options) {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("mutants: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: &Options) -> Result<ExitCode, String> {
    let installed = cargo(&["mutants", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !installed {
        return Err(
            "cargo-mutants is not installed; `cargo install cargo-mutants --locked` does it".into(),
        );
    }
    if options.together {
        return together::start(options);
    }
    let output = prove::target().join("mutants");
    // cargo-mutants makes the last folder only.
    std::fs::create_dir_all(&output).map_err(|error| format!("{}: {error}", output.display()))?;
    let status = command(options, &output)?
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

fn command(options: &Options, output: &Path) -> Result<Command, String> {
    let mut command = cargo(&["mutants", "--output"]);
    command.arg(output.join(options.part.name()));
    options.part.choose(&mut command, &options.rest);
    if !options.whole {
        // Chosen for the build as well, which would otherwise be of every test there is.
        command.arg("--cargo-arg=--lib");
        command.args(options.part.features());
        let tests = options.part.tests(false, false)?;
        command.args(
            tests
                .iter()
                .map(|test| format!("--cargo-arg=--test={test}")),
        );
    }
    command.args(&options.rest);
    if !options.whole {
        command.args(["--", "--"]);
        command.args(options.part.slow().iter().flat_map(|test| ["--skip", test]));
    }
    // What a mutant prints is judged, not reviewed.
    command.env("INSTA_UPDATE", "no");
    Ok(command)
}

/// The tests in a folder whose names begin so.
fn test_names(folder: &Path, beginning: &str) -> Result<Vec<String>, String> {
    let fault = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        let name = entry.map_err(fault)?.file_name();
        if let Some(name) = name.to_string_lossy().strip_suffix(".rs")
            && name.starts_with(beginning)
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
