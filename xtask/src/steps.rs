//! A chore as a list of steps: each announced, timed, and counted in one closing summary.
//!
//! A failed step does not hide the ones behind it: they run all the same, and the chore fails at
//! the end.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// How one step ended.
enum End {
    Passed,
    /// Why.
    Failed(String),
    /// Why, and what to do about it.
    Skipped(String),
}

struct Done {
    name: &'static str,
    took: Duration,
    end: End,
}

/// The steps run so far.
pub struct Steps {
    chore: &'static str,
    begun: Instant,
    done: Vec<Done>,
}

impl Steps {
    /// A chore that has not run a step yet.
    pub fn new(chore: &'static str) -> Steps {
        Steps {
            chore,
            begun: Instant::now(),
            done: Vec::new(),
        }
    }

    /// Runs one command as a step. Its output goes where ours goes.
    pub fn run(&mut self, name: &'static str, command: &mut Command) {
        println!("\n=== {name}: {}", line(command));
        let begun = Instant::now();
        let end = match command.status() {
            Ok(status) if status.success() => End::Passed,
            Ok(status) => End::Failed(status.to_string()),
            Err(error) => End::Failed(format!("cannot start: {error}")),
        };
        self.note(name, begun.elapsed(), end);
    }

    /// A step that cannot run here. Loud, and in the summary.
    pub fn skip(&mut self, name: &'static str, reason: &str) {
        println!("\n=== {name}");
        self.note(name, Duration::ZERO, End::Skipped(reason.to_owned()));
    }

    fn note(&mut self, name: &'static str, took: Duration, end: End) {
        let seconds = took.as_secs_f64();
        match &end {
            End::Passed => println!("=== {name}: passed in {seconds:.1} s"),
            End::Failed(reason) => println!("=== {name}: FAILED in {seconds:.1} s ({reason})"),
            End::Skipped(reason) => println!("=== {name}: SKIPPED: {reason}"),
        }
        self.done.push(Done { name, took, end });
    }

    /// Prints the summary; success only when no step failed.
    pub fn finish(self) -> ExitCode {
        let mut failed = 0;
        let mut skipped = 0;
        println!("\n=== summary of {}", self.chore);
        for step in &self.done {
            let (word, reason) = match &step.end {
                End::Passed => ("passed", String::new()),
                End::Failed(reason) => {
                    failed += 1;
                    ("FAILED", format!(": {reason}"))
                }
                End::Skipped(reason) => {
                    skipped += 1;
                    ("SKIPPED", format!(": {reason}"))
                }
            };
            let seconds = step.took.as_secs_f64();
            println!("{word:<8} {seconds:>7.1} s  {}{reason}", step.name);
        }
        println!(
            "{}: {} of {} steps passed, {failed} failed, {skipped} skipped, {:.1} s",
            self.chore,
            self.done.len() - failed - skipped,
            self.done.len(),
            self.begun.elapsed().as_secs_f64(),
        );
        if failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// The cargo that runs us, in the root of the workspace.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    command
}

/// The root of the workspace: the one `cargo xtask` was called in, whoever built this program (two
/// checkouts may share a target folder).
pub fn root() -> PathBuf {
    let built_in = || env!("CARGO_MANIFEST_DIR").into();
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(built_in));
    here.parent().unwrap_or(&here).to_owned()
}

/// The first program called `name` on the search path.
pub fn program(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// A command as a person would type it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words: Vec<String> = command
        .get_envs()
        .filter_map(|(name, value)| {
            let value = value?.to_string_lossy();
            let quote = if value.contains(' ') { "\"" } else { "" };
            Some(format!("{}={quote}{value}{quote}", name.to_string_lossy()))
        })
        .collect();
    words.extend(
        program
            .file_name()
            .map(|name| name.to_string_lossy().into_owned()),
    );
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}
