//! `blockjob explore`: a search of the specification for everything that must hold.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use blockjob::model::Profile;
use blockjob::model::explore::{self, Options, PropertyReport, Report};
use clap::Args;
use serde::Serialize;

use super::args;
use super::output::{Answer, Failure, Output, Verdict};
use super::progress::{Bar, Shown};

/// The long help.
pub const LONG: &str = "\
Search the specification for everything that must hold.

Every world that a transaction of N jobs can come to is met, within bounds that are printed, and every \
property is checked in each world or at each step. The search is breadth first, so a counterexample is \
a shortest one.

For one and two jobs it also looks for endless stories in which something due never happens (P39 to P45), \
under weak fairness and the obligations of drivers. Such a counterexample is a way to a world and what \
then happens again and again.";

/// Arguments of `explore`.
#[derive(Args)]
pub struct Arguments {
    /// Jobs of the transaction
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = jobs, allow_hyphen_values = true)]
    jobs: usize,
    /// Whose rules
    #[arg(long, value_name = "NAME", default_value = "reference", value_parser = args::profile)]
    profile: &'static Profile,
    /// Check only these properties: P7,P24
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    property: Vec<String>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn jobs(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|jobs| (1..=Options::JOBS_MAX).contains(jobs))
        .ok_or_else(|| format!("it is a number from 1 to {}", Options::JOBS_MAX))
}

/// Explores, and says what held.
pub fn run(arguments: &Arguments, output: &mut Output) -> Answer {
    let bad = |error: explore::BadOptions| Failure::new(error.to_string());
    let mut options = Options::new(arguments.profile, arguments.jobs).map_err(bad)?;
    if !arguments.property.is_empty() {
        let ids = arguments.property.iter().map(|id| id.trim());
        options = options.only(ids).map_err(bad)?;
    }
    let report = search(&options);
    if arguments.json {
        output.json(&Line::new(&report));
    } else {
        text(&report, output);
    }
    Ok(Verdict::good_if(report.held()))
}

/// Runs the search on this thread, with a line on how far it is where somebody watches.
pub fn search(options: &Options) -> Report {
    let progress = Arc::new(Mutex::new(String::new()));
    let bar = Bar::watch({
        let progress = Arc::clone(&progress);
        move || {
            Shown::Words(
                progress
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone(),
            )
        }
    });
    let begun = Instant::now();
    let mut report = explore::run(options, |at| {
        let words = format!("{} states, {} open, depth {}", at.states, at.open, at.depth);
        *progress.lock().unwrap_or_else(PoisonError::into_inner) = words;
    });
    report.seconds = begun.elapsed().as_secs_f64();
    drop(bar);
    report
}

/// The report for machines.
#[derive(Serialize)]
struct Line<'a> {
    jobs: usize,
    profile: &'a str,
    states: u64,
    transitions: u64,
    depth: u32,
    seconds: f64,
    properties: Vec<PropertyLine<'a>>,
}

#[derive(Serialize)]
struct PropertyLine<'a> {
    id: &'a str,
    held: bool,
    bound: &'a str,
    trace: Option<&'a [String]>,
}

impl<'a> Line<'a> {
    fn new(report: &'a Report) -> Line<'a> {
        let property = |property: &'a PropertyReport| PropertyLine {
            id: property.id,
            held: property.held,
            bound: &property.bound,
            trace: property.counterexample.as_deref(),
        };
        Line {
            jobs: report.jobs,
            profile: report.profile,
            states: report.states,
            transitions: report.transitions,
            depth: report.depth,
            seconds: report.seconds,
            properties: report.properties.iter().map(property).collect(),
        }
    }
}

fn text(report: &Report, output: &mut Output) {
    let plural = if report.jobs == 1 { "" } else { "s" };
    output.line(format!(
        "profile {}, one transaction of {} job{plural}: {} states, {} transitions, depth {}, {:.2} s",
        report.profile, report.jobs, report.states, report.transitions, report.depth, report.seconds
    ));
    let width = report
        .properties
        .iter()
        .map(|property| property.id.len())
        .max();
    let width = width.unwrap_or_default();
    for property in &report.properties {
        let word = if property.held {
            output.good("held    ")
        } else {
            output.bad("violated")
        };
        output.line(format!(
            "{word}  {:<width$}  {}",
            property.id, property.sentence
        ));
        for (number, step) in property.counterexample.iter().flatten().enumerate() {
            // The first line names the scenario.
            let number = if number == 0 {
                String::new()
            } else {
                format!("{number}.")
            };
            output.line(format!("          {number:>3} {step}"));
        }
    }
    let mut bounds = None;
    for scenario in &report.scenarios {
        if bounds != Some(scenario.scenario.bounds) {
            bounds = Some(scenario.scenario.bounds);
            output.line(format!("searched, {}:", scenario.scenario.bounds));
        }
        let end = if scenario.complete { "" } else { ", CUT SHORT" };
        output.line(format!(
            "  {}: {} states, {} transitions, depth {}{end}",
            scenario.scenario.name, scenario.states, scenario.transitions, scenario.depth
        ));
        if let Some(graph) = scenario.liveness {
            let end = if graph.complete { "" } else { ", CUT SHORT" };
            output.line(format!(
                "    for endless stories {} states, {} transitions{end}",
                graph.states, graph.transitions
            ));
        }
    }
    let cut = report
        .scenarios
        .iter()
        .filter(|scenario| !scenario.is_whole())
        .count();
    let held = report
        .properties
        .iter()
        .filter(|property| property.held)
        .count();
    output.line(format!(
        "{held} of {} properties held in {} scenarios, {cut} of them cut short",
        report.properties.len(),
        report.scenarios.len()
    ));
}
