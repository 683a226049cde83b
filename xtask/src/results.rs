//! `cargo xtask results`: the last full run, written down.
//!
//! It searches the specification and runs every harness, the long ones too, and writes
//! `proofs/RESULTS.md`: of which commit, how much was met, how long it took, and how much memory. What judging costs is
//! written if `cargo xtask prove --overhead` has measured the same binaries. What failed is
//! written as well, and then the chore fails. It takes minutes and is no part of `cargo xtask test`:
//! the counts that must not change unnoticed are pinned in the tests and in `proofs/executions.txt`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use serde::Deserialize;

use crate::overhead::{self, Cost};
use crate::prove::{self, Played};
use crate::steps::{cargo, root};

/// What is searched: the argument of `--jobs`.
const SEARCHES: [&str; 4] = ["1", "2", "3", "any"];

/// What `blockjob explore --json` says of a search.
#[derive(Deserialize)]
struct Search {
    states: u64,
    transitions: u64,
    depth: u32,
    seconds: f64,
    properties: Vec<Property>,
    scenarios: Vec<Scenario>,
    /// The most memory that it had when it was looked at, in bytes.
    #[serde(skip)]
    peak_bytes: Option<u64>,
}

/// One of the scenarios of a search.
#[derive(Deserialize)]
struct Scenario {
    name: String,
    #[serde(flatten)]
    searched: Searched,
    endless: Option<Searched>,
}

#[derive(Deserialize)]
struct Searched {
    bounds: String,
    states: u64,
    transitions: u64,
    complete: bool,
}

#[derive(Deserialize)]
struct Property {
    id: String,
    held: bool,
    bound: String,
}

/// How to run it.
#[derive(clap::Args)]
pub struct Options {
    /// Does not play again what the last `cargo xtask prove --full` of the same code has played.
    #[arg(long)]
    resume: bool,
}

/// Runs everything and writes the page.
pub fn run(options: &Options) -> ExitCode {
    match measure(options.resume) {
        Ok((page, faults)) => {
            let path = root().join("proofs/RESULTS.md");
            if let Err(error) = fs::write(&path, page) {
                eprintln!("results: {}: {error}", path.display());
                return ExitCode::from(2);
            }
            for fault in &faults {
                eprintln!("results: {fault}");
            }
            println!(
                "results: {} written, {} faults",
                path.display(),
                faults.len()
            );
            if faults.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(reason) => {
            eprintln!("results: {reason}");
            ExitCode::from(2)
        }
    }
}

fn measure(resume: bool) -> Result<(String, Vec<String>), String> {
    let commit = commit()?;
    let mut faults = Vec::new();
    let mut searches = Vec::new();
    for jobs in SEARCHES {
        let search = explore(jobs)?;
        println!(
            "explore --jobs {jobs}: {} states, {:.1} s, {} MiB",
            search.states,
            search.seconds,
            in_mib(search.peak_bytes)
        );
        faults.extend(
            search
                .properties
                .iter()
                .filter(|property| !property.held)
                .map(|property| format!("{} does not hold for {jobs} jobs", property.id)),
        );
        let cut = search.scenarios.iter().filter(|scenario| {
            let whole = |searched: &Searched| searched.complete;
            !(whole(&scenario.searched) && scenario.endless.as_ref().is_none_or(whole))
        });
        faults.extend(cut.map(|scenario| format!("{}, {jobs} jobs: cut short", scenario.name)));
        let memory = search.peak_bytes;
        faults.extend(
            memory
                .filter(|&bytes| bytes > prove::MEMORY_MAX)
                .map(|bytes| {
                    let (had, most) = (prove::mib(bytes), prove::mib(prove::MEMORY_MAX));
                    format!("the search of {jobs} jobs had {had} MiB of memory, and no more than {most} are wanted")
                }),
        );
        searches.push((jobs, search));
    }
    let mut played = prove::everything(resume)?;
    faults.append(&mut played.faults);
    let costs = overhead::kept(&played.build);
    let page = page(&commit, &searches, &played, costs.as_deref(), &faults);
    Ok((page, faults))
}

/// The commit the run is about; what is not committed would make the page a lie.
fn commit() -> Result<String, String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .current_dir(root())
            .args(arguments)
            .output()
            .map_err(|error| format!("cannot start git: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            let reason = String::from_utf8_lossy(&output.stderr);
            Err(format!("git {}: {reason}", arguments.join(" ")))
        }
    };
    let changed = git(&[
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ".",
        ":!proofs/RESULTS.md",
    ])?;
    if !changed.is_empty() {
        return Err(format!(
            "the results belong to a commit, and these files are not committed:\n{changed}"
        ));
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// How often a search is asked how much memory it has had.
const LOOK: Duration = Duration::from_millis(10);

fn explore(jobs: &str) -> Result<Search, String> {
    let fault = |error: io::Error| format!("explore --jobs {jobs}: {error}");
    let mut child = cargo(&[
        "run",
        "--locked",
        "--quiet",
        "--release",
        "--package",
        "blockjob",
        "--",
        "explore",
        "--jobs",
        jobs,
        "--json",
    ])
    .stdin(Stdio::null())
    .stdout(Stdio::piped())
    .stderr(Stdio::inherit())
    .spawn()
    .map_err(|error| format!("cannot start cargo: {error}"))?;
    let mut output = child.stdout.take().ok_or("a search without an output")?;
    let mut peak = None;
    let text = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).map(|_| text)
        });
        // cargo becomes the search, and what the system counts begins anew then: the last look is the search's.
        while !reader.is_finished() {
            peak = peak_bytes(child.id()).or(peak);
            std::thread::sleep(LOOK);
        }
        reader
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("nobody has read its output")))
    });
    let status = child.wait().map_err(fault)?;
    // A property that does not hold is an answer too.
    if !matches!(status.code(), Some(0 | 1)) {
        return Err(format!("explore --jobs {jobs}: {status}"));
    }
    let text = text.map_err(fault)?;
    let line = text.lines().last().unwrap_or_default();
    let mut search: Search = serde_json::from_str(line)
        .map_err(|error| format!("explore --jobs {jobs}: {error}: {line}"))?;
    search.peak_bytes = peak;
    Ok(search)
}

/// The most memory that a process has had so far, in bytes, where the system tells and the process is not over.
fn peak_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Every scenario of the searches, with its bounds.
fn scenarios(page: &mut String, searches: &[(&str, Search)]) {
    page.push_str(
        "\n### Scenarios\n\n\
         Each was met as a whole within its bounds, unless it says otherwise. The second line of a \
         scenario is the search for stories in which something due never happens.\n\n\
         | jobs | scenario | states | transitions | bounds |\n\
         |---|---|---|---|---|\n",
    );
    for (jobs, search) in searches {
        for scenario in &search.scenarios {
            let mut row = |name: &str, searched: &Searched| {
                let end = if searched.complete { "" } else { ", CUT SHORT" };
                let _ = writeln!(
                    page,
                    "| {jobs} | {name} | {} | {} | {}{end} |",
                    searched.states, searched.transitions, searched.bounds
                );
            };
            row(&scenario.name, &scenario.searched);
            if let Some(endless) = &scenario.endless {
                row("&nbsp;&nbsp;endless stories", endless);
            }
        }
    }
}

fn page(
    commit: &str,
    searches: &[(&str, Search)],
    played: &Played,
    costs: Option<&[Cost]>,
    faults: &[String],
) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let searching: f64 = searches.iter().map(|(_, search)| search.seconds).sum();
    let mut page = format!(
        "# The last full run\n\n\
         Written by `cargo xtask results`; commit `{commit}`, {cores} cores, {} faults. The searches took {searching:.0} s.\n\
         {}\n\
         Seconds and memory are of that machine on that day; counts are of that commit.\n\n\
         ## The specification, searched (profile `reference`)\n\n\
         Memory is the most that a search had had when it was last looked at, every {} ms.\n\n\
         | `blockjob explore --jobs` | states | transitions | depth | seconds | MiB | properties held | bound |\n\
         |---|---|---|---|---|---|---|---|\n",
        faults.len(),
        playing(played),
        LOOK.as_millis(),
    );
    for (jobs, search) in searches {
        let held = search.properties.iter().filter(|property| property.held);
        let bound = search
            .properties
            .first()
            .map_or("", |property| property.bound.as_str());
        let _ = writeln!(
            page,
            "| {jobs} | {} | {} | {} | {:.1} | {} | {} of {} | {bound} |",
            search.states,
            search.transitions,
            search.depth,
            search.seconds,
            in_mib(search.peak_bytes),
            held.count(),
            search.properties.len(),
        );
    }
    scenarios(&mut page, searches);
    harnesses(&mut page, played);
    judging(&mut page, costs);
    if !faults.is_empty() {
        page.push_str("\n## Faults\n\n");
        for fault in faults {
            let first = fault.lines().next().unwrap_or_default();
            let _ = writeln!(page, "- {first}");
        }
    }
    page
}

fn in_mib(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), |bytes| prove::mib(bytes).to_string())
}

/// How long the harnesses took, and how much memory.
fn playing(played: &Played) -> String {
    let mut text = format!(
        "The harnesses were played in {:.0} s, {} processes at a time, {:.0} processor seconds",
        played.seconds, played.processes, played.processor_seconds
    );
    if played.parts_before > 0 {
        let _ = write!(
            text,
            "; {} of their {} parts had been played before (`--resume`), in another {:.0} processor seconds",
            played.parts_before, played.parts, played.processor_seconds_before
        );
    }
    match played.peak_bytes {
        Some(bytes) => {
            let (had, most) = (prove::mib(bytes), prove::mib(prove::MEMORY_MAX));
            let _ = write!(
                text,
                ". As many as run at a time had at most {had} MiB of memory together (the sum of the largest; {most} are allowed)."
            );
        }
        None => text.push_str(". Of their memory this system does not tell."),
    }
    text
}

/// A line for each harness.
fn harnesses(page: &mut String, played: &Played) {
    let executions: u64 = played.proved.iter().map(|proved| proved.executions).sum();
    let _ = write!(
        page,
        "\n## The engine, under loom and shuttle\n\n\
         {} harnesses, {executions} executions. A bound is a number of preemptions; none is none; `-` is a draw at random. \
         `asserted`: no history is judged, what has to hold is asserted. Memory is that of the largest process.\n\n\
         | harness | tool | bound | programs or worlds | executions | distinct histories | seconds | MiB |\n\
         |---|---|---|---|---|---|---|---|\n",
        played.proved.len()
    );
    for proved in &played.proved {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} | {} | {:.1} | {} |",
            proved.harness,
            proved.tool,
            prove::bound(proved),
            proved.of_programs(),
            proved.executions,
            proved.of_histories(),
            proved.seconds,
            in_mib(proved.peak_bytes),
        );
    }
}

/// What judging costs.
fn judging(page: &mut String, costs: Option<&[Cost]>) {
    page.push_str("\n## What judging costs\n\n");
    let Some(costs) = costs else {
        page.push_str(
            "Not measured: `cargo xtask prove --overhead` did not run with these binaries.\n",
        );
        return;
    };
    page.push_str(
        "Executions a second of processor time, by `cargo xtask prove --overhead` with the same binaries.\n\n\
         | harness | tool | executions | with the judge | without | ratio |\n\
         |---|---|---|---|---|---|\n",
    );
    for cost in costs {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {:.0} | {:.0} | {:.2} |",
            cost.harness,
            cost.tool,
            cost.executions,
            cost.judged_per_s,
            cost.unjudged_per_s,
            cost.ratio(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_was_measured_and_what_was_not() {
        let mut played = Played::example();
        let page = |played: &Played, costs| page("c0ffee", &[], played, costs, &[]);
        let text = page(&played, None);
        let says = [
            "played in 12 s, 2 processes at a time, 20 processor seconds.",
            "at most 3072 MiB of memory together",
            "| `h` | loom | none | - | 7 | asserted | 12.0 | 3072 |",
            "Not measured",
        ];
        for words in says {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("--resume"), "{text}");
        played.parts_before = 3;
        played.peak_bytes = None;
        let cost = Cost {
            harness: "h".to_owned(),
            tool: "loom".to_owned(),
            executions: 7,
            judged_per_s: 3.0,
            unjudged_per_s: 4.0,
        };
        let text = page(&played, Some(&[cost]));
        let says = [
            "3 of their 4 parts had been played before (`--resume`)",
            "this system does not tell",
            "| `h` | loom | 7 | 3 | 4 | 0.75 |",
        ];
        for words in says {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
