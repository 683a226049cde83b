//! `blockjob vectors`: conformance vectors, written to files or run against an implementation.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use blockjob::model::Profile;
use blockjob::model::vectors::{self, Kind, Vector};
use blockjob::vectors::{Failed, Outcome, Peer, Runner};
use clap::Args;
use serde::Serialize;

use super::args;
use super::output::{Answer, Failure, Output, Verdict, printable, sentence};

/// The long help.
pub const LONG: &str = "\
Conformance vectors: what to send to an implementation of the job lifecycle, and everything that it may then show.

They are computed from the specification: every verb in every status with each of its answers (cells), a tour of \
the transition table, transactions of up to three members with every combination of ends (groups), and ordinary \
lives (sequences). With --out they are written as JSON (`blockjob schema vectors`), for a runner of your own. With \
--run they are run against the implementation behind an adapter: a small program, in any language, that reads a \
line of JSON from its standard input, does what it says, and writes what the implementation shows to its standard \
output, a line each, and {\"see\":\"rest\"} when nothing more comes. docs/vectors.md has the protocol, \
examples/vectors/ an adapter in Python.";

/// Arguments of `vectors`.
#[derive(Args)]
pub struct Arguments {
    /// Write them to this folder, which is made if need be
    #[arg(long, value_name = "DIR", required_unless_present = "run")]
    out: Option<PathBuf>,
    /// Whose rules
    #[arg(long, value_name = "NAME", default_value = "reference", value_parser = args::profile)]
    profile: &'static Profile,
    /// Run them against the adapter that --exec starts
    #[arg(long, requires = "exec")]
    run: bool,
    /// The adapter, started with the shell
    #[arg(long, value_name = "COMMAND", requires = "run")]
    exec: Option<String>,
    /// Only those whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// How long the adapter may be silent, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, requires = "run", value_parser = clap::value_parser!(u64).range(1..=3600))]
    limit: u64,
    /// One JSON object a vector that is run, and one at the end, instead of text
    #[arg(long, requires = "run")]
    json: bool,
}

/// One vector, for machines.
#[derive(Serialize)]
struct Record<'a> {
    vector: &'a str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<FailedRecord<'a>>,
}

#[derive(Serialize)]
struct FailedRecord<'a> {
    sent: usize,
    last: &'a str,
    before: &'a [String],
    seen: &'a str,
    allowed: &'a [String],
}

/// All of them, for machines.
#[derive(Serialize)]
struct Summary {
    profile: &'static str,
    vectors: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Writes them, runs them, or both.
pub fn run(arguments: &Arguments, output: &mut Output) -> Answer {
    let all: Vec<Vector> = vectors::all(arguments.profile)
        .into_iter()
        .filter(|vector| {
            let only = arguments.only.as_deref();
            only.is_none_or(|only| vector.name.contains(only))
        })
        .collect();
    if all.is_empty() {
        let only = arguments.only.as_deref().unwrap_or_default();
        return Err(Failure::new(format!(
            "no vector of profile {} has {} in its name",
            arguments.profile.name,
            printable(only)
        ))
        .tip("names read cells/STATUS/VERB/ANSWER, tour/N, groups/N/FATES, sequences/NAME"));
    }
    if let Some(folder) = &arguments.out {
        write(folder, arguments.profile, &all)?;
        if !arguments.json {
            output.line(format!(
                "{} vectors of profile {} in {}",
                all.len(),
                arguments.profile.name,
                printable(&folder.to_string_lossy())
            ));
        }
    }
    match &arguments.exec {
        Some(command) => judge(command, arguments, &all, output),
        None => Ok(Verdict::Good),
    }
}

fn write(folder: &PathBuf, profile: &Profile, all: &[Vector]) -> Result<(), Failure> {
    let failure = |path: &PathBuf, error: &std::io::Error| {
        Failure::new(format!(
            "cannot write {}: {}",
            printable(&path.to_string_lossy()),
            sentence(error)
        ))
    };
    fs::create_dir_all(folder).map_err(|error| failure(folder, &error))?;
    let files = Kind::ALL
        .into_iter()
        .map(|kind| (kind.name(), vectors::kind(profile, kind, all)))
        .chain([("index", vectors::index(profile, all))]);
    for (name, text) in files {
        let path = folder.join(format!("{name}.json"));
        fs::write(&path, text).map_err(|error| failure(&path, &error))?;
    }
    Ok(())
}

fn judge(command: &str, arguments: &Arguments, all: &[Vector], output: &mut Output) -> Answer {
    let start = || {
        let limit = Duration::from_secs(arguments.limit);
        Peer::spawn(command, limit)
            .map(Runner::new)
            .map_err(|error| Failure::new(format!("cannot start /bin/sh: {}", sentence(&error))))
    };
    let mut summary = Summary {
        profile: arguments.profile.name,
        vectors: all.len(),
        passed: 0,
        failed: 0,
        skipped: 0,
    };
    let mut runner = None;
    let mut lost_in_a_row = 0;
    for vector in all {
        let mut playing = match runner.take() {
            Some(playing) => playing,
            None => start()?,
        };
        let outcome = playing.run(vector);
        let lost = matches!(&outcome, Outcome::Failed(failed) if failed.lost);
        lost_in_a_row = if lost { lost_in_a_row + 1 } else { 0 };
        if !lost {
            runner = Some(playing);
        }
        match &outcome {
            Outcome::Passed => summary.passed += 1,
            Outcome::Failed(_) => summary.failed += 1,
            Outcome::Skipped(_) => summary.skipped += 1,
        }
        if arguments.json {
            output.json(&record(vector, &outcome));
        } else {
            tell(vector, &outcome, output);
        }
        if lost_in_a_row == 3 && summary.passed == 0 {
            return Err(Failure::new(format!(
                "`{}` does not speak the adapter protocol: it was lost in each of the first three vectors",
                printable(command)
            ))
            .tip("docs/vectors.md has the protocol; the adapter's own messages, if any, are above"));
        }
    }
    drop(runner);
    if arguments.json {
        output.json(&summary);
    } else {
        output.line(format!(
            "{} vectors of profile {}: {} passed, {} failed, {} skipped",
            summary.vectors, summary.profile, summary.passed, summary.failed, summary.skipped
        ));
    }
    if summary.passed + summary.failed == 0 {
        return Err(Failure::new(
            "the adapter skipped every vector, so nothing was judged",
        ));
    }
    Ok(Verdict::good_if(summary.failed == 0))
}

fn record<'a>(vector: &'a Vector, outcome: &'a Outcome) -> Record<'a> {
    let (verdict, why, failed) = match outcome {
        Outcome::Passed => ("pass", None, None),
        Outcome::Skipped(why) => ("skip", Some(why.as_str()), None),
        Outcome::Failed(failed) => ("fail", None, Some(failed)),
    };
    Record {
        vector: &vector.name,
        verdict,
        why,
        failed: failed.map(|failed| FailedRecord {
            sent: failed.sent,
            last: &failed.last,
            before: &failed.before,
            seen: &failed.seen,
            allowed: &failed.allowed,
        }),
    }
}

/// Says what did not pass.
fn tell(vector: &Vector, outcome: &Outcome, output: &mut Output) {
    match outcome {
        Outcome::Passed => {}
        Outcome::Skipped(why) => {
            output.line(format!("skip {}: {}", vector.name, printable(why)));
        }
        Outcome::Failed(Failed {
            last,
            before,
            seen,
            allowed,
            ..
        }) => {
            let bad = output.bad("fail");
            output.line(format!("{bad} {} ({})", vector.name, vector.about));
            output.line(format!("    sent:    {last}"));
            for line in before {
                output.line(format!("    seen:    {}", printable(line)));
            }
            output.line(format!("    but:     {}", printable(seen)));
            for line in allowed {
                output.line(format!("    allowed: {line}"));
            }
        }
    }
}
