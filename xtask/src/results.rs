//! `cargo xtask results`: the last full run, written down.
//!
//! It searches the specification and runs every harness, the long ones too, and writes
//! `proofs/RESULTS.md`: of which commit, how much was met, and how long it took. What failed is
//! written as well, and then the chore fails. It takes minutes and is no part of `cargo xtask test`:
//! the counts that must not change unnoticed are pinned in the tests and in `proofs/executions.txt`.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, ExitCode, Stdio};

use serde::Deserialize;

use crate::prove::{self, Proved};
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
            "explore --jobs {jobs}: {} states, {:.1} s",
            search.states, search.seconds
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
        searches.push((jobs, search));
    }
    let (proved, found) = prove::everything(resume)?;
    faults.extend(found);
    let page = page(&commit, &searches, &proved, &faults);
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

fn explore(jobs: &str) -> Result<Search, String> {
    let output = cargo(&[
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
    .stderr(Stdio::inherit())
    .output()
    .map_err(|error| format!("cannot start cargo: {error}"))?;
    // A property that does not hold is an answer too.
    if !matches!(output.status.code(), Some(0 | 1)) {
        return Err(format!("explore --jobs {jobs}: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).map_err(|error| format!("explore --jobs {jobs}: {error}: {line}"))
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

fn page(commit: &str, searches: &[(&str, Search)], proved: &[Proved], faults: &[String]) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let searching: f64 = searches.iter().map(|(_, search)| search.seconds).sum();
    let playing: f64 = proved.iter().map(|proved| proved.processor_seconds).sum();
    let mut page = format!(
        "# The last full run\n\n\
         Written by `cargo xtask results`; commit `{commit}`, {cores} cores, {} faults. The searches took {searching:.0} s, \
         the harnesses {playing:.0} processor seconds.\n\
         Seconds are of that machine on that day; counts are of that commit.\n\n\
         ## The specification, searched (profile `reference`)\n\n\
         | `blockjob explore --jobs` | states | transitions | depth | seconds | properties held | bound |\n\
         |---|---|---|---|---|---|---|\n",
        faults.len()
    );
    for (jobs, search) in searches {
        let held = search.properties.iter().filter(|property| property.held);
        let bound = search
            .properties
            .first()
            .map_or("", |property| property.bound.as_str());
        let _ = writeln!(
            page,
            "| {jobs} | {} | {} | {} | {:.1} | {} of {} | {bound} |",
            search.states,
            search.transitions,
            search.depth,
            search.seconds,
            held.count(),
            search.properties.len(),
        );
    }
    scenarios(&mut page, searches);
    let executions: u64 = proved.iter().map(|proved| proved.executions).sum();
    let _ = write!(
        page,
        "\n## The engine, under loom and shuttle\n\n\
         {} harnesses, {executions} executions. A bound is a number of preemptions; none is none; `-` is a draw at random.\n\n\
         | harness | tool | bound | programs or worlds | executions | distinct histories | seconds |\n\
         |---|---|---|---|---|---|---|\n",
        proved.len()
    );
    for proved in proved {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} | {} | {:.1} |",
            proved.harness,
            proved.tool,
            prove::bound(proved),
            proved.of_programs(),
            proved.executions,
            proved.distinct,
            proved.seconds,
        );
    }
    if !faults.is_empty() {
        page.push_str("\n## Faults\n\n");
        for fault in faults {
            let first = fault.lines().next().unwrap_or_default();
            let _ = writeln!(page, "- {first}");
        }
    }
    page
}
