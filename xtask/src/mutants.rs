//! `cargo xtask mutants`: small mistakes put into the code by cargo-mutants, one at a time. A mutant
//! that no test notices is either a check that is missing, or changes nothing that can be seen.
//!
//! Every mutant is built and tested; the tests are therefore the quick ones, unless all are asked
//! for. cargo-mutants is a tool, not a dependency: nothing else needs it.

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

/// Tests of the model that take seconds.
const MODEL: [&str; 8] = [
    "acceptor",
    "coarse",
    "counts",
    "explorer",
    "liveness",
    "views",
    "walks",
    "profiles_page",
];

/// Those in them that do not.
const SLOW: [&str; 10] = [
    "two_requests",
    "group_of_two",
    "three_jobs",
    "the_reference_holds",
    "a_release_of_a",
    "a_refusal_changes",
    "seen_in_full_and_over",
    "an_abort_that_waits",
    "as_its_trace",
    "of_the_reference_under_weak_memory",
];

/// Tests of the engine that are not about its being quick to build or to judge.
const OTHERS: [&str; 2] = ["engine_compile_fail", "engine_accepted"];

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
    let (name, package, files): (_, _, &[&str]) = match options.part {
        Part::Model => ("model", "blockjob-model", &["model/src/**/*.rs"]),
        Part::Engine => (
            "engine",
            "blockjob",
            &["src/engine/**/*.rs", "src/sync.rs", "src/driver.rs"],
        ),
    };
    command.arg(output.join(name));
    command.args(["--package", package]);
    // A file that was asked for is asked for in place of all.
    let chosen = |word: &String| word.starts_with("-f") || word.starts_with("--file");
    if !options.rest.iter().any(chosen) {
        command.args(files.iter().flat_map(|file| ["--file", file]));
    }
    let mut tests = Vec::new();
    if !options.whole {
        // Chosen for the build as well, which would otherwise be of every test there is.
        command.arg("--cargo-arg=--lib");
        match options.part {
            Part::Model => {
                tests.extend(MODEL.map(str::to_owned));
            }
            Part::Engine => {
                command.arg("--no-default-features");
                tests = engine_tests(&root().join("tests"))?;
            }
        }
    }
    command.args(
        tests
            .iter()
            .map(|test| format!("--cargo-arg=--test={test}")),
    );
    command.args(&options.rest);
    if !options.whole && matches!(options.part, Part::Model) {
        command.args(["--", "--"]);
        command.args(SLOW.iter().flat_map(|test| ["--skip", test]));
    }
    // What a mutant prints is judged, not reviewed.
    command.env("INSTA_UPDATE", "no");
    Ok(command)
}

/// The engine's tests that build without the command.
fn engine_tests(folder: &Path) -> Result<Vec<String>, String> {
    let fault = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        let name = entry.map_err(fault)?.file_name();
        if let Some(name) = name.to_string_lossy().strip_suffix(".rs")
            && name.starts_with("engine_")
            && !OTHERS.contains(&name)
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
