//! `cargo xtask bench`: the benchmarks, one after the other, on an otherwise idle machine.
//!
//! Each prints its figures and how far its goals are met; all goals are listed again at the end. `--write` puts both into
//! `benches/RESULTS.md`, of which commit and on which machine. What is missed fails nothing: the machine is not ours.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::steps::{cargo, root};

/// Those with goals first.
const BENCHMARKS: [&str; 6] = [
    "copy",
    "latency",
    "serve",
    "pause_point",
    "check",
    "explore",
];

/// How to run them.
#[derive(clap::Args)]
pub struct Options {
    /// Only the benchmark of this name
    name: Option<String>,
    /// Less of everything: to see that it runs, not how fast
    #[arg(long)]
    quick: bool,
    /// Writes the goals and figures into benches/RESULTS.md
    #[arg(long, conflicts_with_all = ["quick", "name"])]
    write: bool,
}

/// A goal, as a benchmark tells it: what, found, wanted, beside whom, the verdict.
type Goal = [String; 5];

/// Runs the benchmarks, and lists the goals.
pub fn run(options: &Options) -> ExitCode {
    match measure(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask bench: {reason}");
            ExitCode::from(2)
        }
    }
}

fn measure(options: &Options) -> Result<(), String> {
    let began = Instant::now();
    let names: Vec<&str> = match &options.name {
        Some(name) => vec![name],
        None => BENCHMARKS.to_vec(),
    };
    let list = root().join("target/bench-goals");
    let list = std::env::var_os("CARGO_TARGET_DIR")
        .map_or(list, |folder| Path::new(&folder).join("bench-goals"));
    let mut figures = Vec::new();
    let mut goals: Vec<Goal> = Vec::new();
    for name in names {
        println!("\n=== {name}");
        let _ = fs::remove_file(&list);
        figures.push((name, play(name, options.quick, &list)?));
        // Without a goal there is no file.
        let text = fs::read_to_string(&list).unwrap_or_default();
        for line in text.lines() {
            let goal = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
            goals.push(goal);
        }
    }
    println!("\n=== goals");
    for [what, found, wanted, beside, verdict] in &goals {
        println!("{verdict:<16} {what}: {found}, {wanted} ({beside})");
    }
    let missed = goals.iter().filter(|goal| goal[4] != "met").count();
    println!(
        "xtask bench: {} goals, {missed} missed or not measured, {:.0} s",
        goals.len(),
        began.elapsed().as_secs_f64()
    );
    if options.write {
        let path = root().join("benches/RESULTS.md");
        fs::write(&path, page(&goals, &figures)?)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        println!("xtask bench: {} written", path.display());
    }
    Ok(())
}

/// Runs one benchmark, and what it printed.
fn play(name: &str, quick: bool, goals: &Path) -> Result<String, String> {
    let mut command = cargo(&[
        "bench",
        "--locked",
        "--package",
        "blockjob",
        "--bench",
        name,
    ]);
    command
        .env("BLOCKJOB_BENCH_GOALS", goals)
        .stdout(Stdio::piped());
    if quick {
        command.env("BLOCKJOB_BENCH_QUICK", "1");
    }
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    let mut text = String::new();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line.map_err(|error| error.to_string())?;
            println!("{line}");
            let _ = writeln!(text, "{line}");
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() {
        Ok(text)
    } else {
        Err(format!("{name}: {status}"))
    }
}

/// What a program says on its first line.
fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .current_dir(root())
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next()?.trim().to_owned();
    output.status.success().then_some(line)
}

/// The machine, as far as it matters.
fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let scratch = std::env::temp_dir();
    let scratch = scratch.to_string_lossy();
    let unknown = || "unknown".to_owned();
    format!(
        "{cores} cores ({}), {} of memory, Linux {}, scratch files on {}",
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        ask("uname", &["-r"]).unwrap_or_else(unknown),
        ask("stat", &["-f", "-c", "%T", &scratch]).unwrap_or_else(unknown),
    )
}

fn page(goals: &[Goal], figures: &[(&str, String)]) -> Result<String, String> {
    let commit = ask("git", &["rev-parse", "--short=12", "HEAD"])
        .ok_or("the results belong to a commit, and git names none")?;
    let mut page = format!(
        "# The last run of the benchmarks\n\n\
         Written by `cargo xtask bench --write`; commit `{commit}`; {}. What is measured and how, and what the figures\n\
         mean, is in [README.md](README.md). Read the ratios, not the seconds.\n\n\
         ## Goals\n\n\
         | goal | found | wanted | beside | verdict |\n\
         |---|---|---|---|---|\n",
        machine()
    );
    for goal in goals {
        let _ = writeln!(page, "| {} |", goal.join(" | "));
    }
    for (name, text) in figures {
        let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", text.trim());
    }
    Ok(page)
}
