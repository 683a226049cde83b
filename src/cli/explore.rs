//! `blockjob explore`: a search of the specification for everything that must hold.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use blockjob::model::explore::{
    self, Options, PairReport, Progress, PropertyReport, Report, ScenarioReport,
};
use blockjob::model::{Profile, crowd};
use blockjob::report::search;
use clap::Args;
use serde::Serialize;

use super::args;
use super::output::{Answer, Failure, Output, Verdict, complain, sentence};
use super::progress::{Bar, Shown};

/// The long help.
pub const LONG: &str = "\
Search the specification for everything that must hold.

Every world that a transaction of N jobs can come to is met, within bounds that are printed, and every \
property is checked in each world or at each step. The search is breadth first, so a counterexample is \
a shortest one.

For one and two jobs it also looks for endless stories in which something due never happens (P39 to P45), \
under weak fairness and the obligations of drivers. Such a counterexample is a way to a world and what \
then happens again and again. For three jobs it also searches a transaction of two beside one of one.

With `--jobs any` members are counted as none, one or many of each kind. What holds then holds for any \
number of jobs, as far as the properties speak of what a group does (docs/any-number.md); a \
counterexample may be one that no number of jobs can follow.";

/// Arguments of `explore`.
#[derive(Args)]
pub struct Arguments {
    /// Jobs of the transaction: a number, or `any`
    #[arg(long, value_name = "N|any", default_value = "2", value_parser = jobs, allow_hyphen_values = true)]
    jobs: Jobs,
    /// Whose rules
    #[arg(long, value_name = "NAME", default_value = "reference", value_parser = args::profile)]
    profile: &'static Profile,
    /// Check only these properties: P7,P24
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    property: Vec<String>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Write a page too: what held, counterexamples, the ways and cells that were met, how far it looked
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// How many jobs a transaction has.
#[derive(Clone, Copy)]
enum Jobs {
    /// So many.
    Number(usize),
    /// However many.
    Any,
}

fn jobs(text: &str) -> Result<Jobs, String> {
    if text == "any" {
        return Ok(Jobs::Any);
    }
    text.parse()
        .ok()
        .filter(|jobs| (1..=Options::JOBS_MAX).contains(jobs))
        .map(Jobs::Number)
        .ok_or_else(|| format!("it is a number from 1 to {}, or any", Options::JOBS_MAX))
}

/// Explores, and says what held.
pub fn run(arguments: &Arguments, output: &mut Output) -> Answer {
    let Jobs::Number(jobs) = arguments.jobs else {
        return run_any(arguments, output);
    };
    let bad = |error: explore::BadOptions| Failure::new(error.to_string());
    let mut options = Options::new(arguments.profile, jobs).map_err(bad)?;
    if !arguments.property.is_empty() {
        let ids = arguments.property.iter().map(|id| id.trim());
        options = options.only(ids).map_err(bad)?;
    }
    let report = search_all(&options);
    if arguments.json {
        output.json(&Line::new(&report));
    } else {
        text(&report, output);
    }
    write(arguments, || search::html(&report), report.held())
}

/// Explores for any number of jobs, and says what held.
fn run_any(arguments: &Arguments, output: &mut Output) -> Answer {
    if arguments.profile.name != crowd::PROFILE.name {
        return Err(Failure::new(format!(
            "any number of jobs is explored for profile {} alone; for {} give a number",
            crowd::PROFILE.name,
            arguments.profile.name
        )));
    }
    let mut properties = crowd::properties();
    if !arguments.property.is_empty() {
        let ids = arguments.property.iter().map(|id| id.trim());
        properties = crowd::only(ids).map_err(|error| Failure::new(error.to_string()))?;
    }
    let (mut report, seconds) = watched(|progress| crowd::run(&properties, progress));
    report.seconds = seconds;
    if arguments.json {
        output.json(&Line::of_any(&report));
    } else {
        text_of_any(&report, output);
    }
    write(arguments, || search::html_of_any(&report), report.held())
}

/// Writes the page that was asked for; the verdict.
fn write(arguments: &Arguments, page: impl FnOnce() -> String, held: bool) -> Answer {
    let verdict = Verdict::good_if(held);
    let Some(path) = &arguments.html else {
        return Ok(verdict);
    };
    let failure = match fs::write(path, page()) {
        Ok(()) => return Ok(verdict),
        Err(error) => Failure::new(format!(
            "cannot write {}: {}",
            path.display(),
            sentence(&error)
        ))
        .tip("what was found stands above; name a file in a folder that exists and may be written to"),
    };
    // A property that is violated outranks a page that could not be written.
    if held {
        return Err(failure);
    }
    complain(&failure);
    Ok(verdict)
}

/// Runs the search on this thread, with a line on how far it is where somebody watches.
pub fn search_all(options: &Options) -> Report {
    let (mut report, seconds) = watched(|progress| explore::run(options, progress));
    report.seconds = seconds;
    report
}

/// The same for the first scenario alone, which takes a second.
pub fn search_first(options: &Options) -> Report {
    let mut scenarios = explore::scenarios(options.jobs, options.profile);
    scenarios.truncate(1);
    let (mut report, seconds) =
        watched(|progress| explore::run_scenarios(options, scenarios, progress));
    report.seconds = seconds;
    report
}

/// What a search came to, and how many seconds it took; it tells how far it is.
fn watched<R>(search: impl FnOnce(&mut dyn FnMut(Progress)) -> R) -> (R, f64) {
    let words = Arc::new(Mutex::new(String::new()));
    let bar = Bar::watch({
        let words = Arc::clone(&words);
        move || Shown::Words(words.lock().unwrap_or_else(PoisonError::into_inner).clone())
    });
    let begun = Instant::now();
    let report = search(&mut |at| {
        *words.lock().unwrap_or_else(PoisonError::into_inner) =
            format!("{} states, {} open, depth {}", at.states, at.open, at.depth);
    });
    let seconds = begun.elapsed().as_secs_f64();
    drop(bar);
    (report, seconds)
}

/// The report for machines.
#[derive(Serialize)]
struct Line<'a> {
    jobs: JobsLine,
    profile: &'a str,
    states: u64,
    transitions: u64,
    depth: u32,
    seconds: f64,
    properties: Vec<PropertyLine<'a>>,
    /// Empty where there are none: any number of jobs is one search.
    scenarios: Vec<ScenarioLine>,
}

/// What was searched, and within which bounds.
#[derive(Serialize)]
struct ScenarioLine {
    name: String,
    #[serde(flatten)]
    searched: SearchedLine,
    /// The search for endless stories, where there was one.
    endless: Option<SearchedLine>,
}

#[derive(Serialize)]
struct SearchedLine {
    bounds: String,
    states: u64,
    transitions: u64,
    complete: bool,
}

impl ScenarioLine {
    fn of(report: &ScenarioReport) -> ScenarioLine {
        ScenarioLine {
            name: report.scenario.name.clone(),
            searched: SearchedLine {
                bounds: report.scenario.bounds.to_string(),
                states: report.states,
                transitions: report.transitions,
                complete: report.complete,
            },
            endless: report.liveness.map(|graph| SearchedLine {
                bounds: graph.bounds.to_string(),
                states: graph.states,
                transitions: graph.transitions,
                complete: graph.complete,
            }),
        }
    }

    fn of_pair(pair: &PairReport) -> ScenarioLine {
        let [one, two] = &pair.scenarios;
        ScenarioLine {
            name: format!("{}, and {}, side by side", one.name, two.name),
            searched: SearchedLine {
                bounds: one.bounds.to_string(),
                states: pair.states,
                transitions: pair.transitions,
                complete: pair.counterexample.is_none(),
            },
            endless: None,
        }
    }
}

/// A number, or the word.
#[derive(Serialize)]
#[serde(untagged)]
enum JobsLine {
    Number(usize),
    Any(&'static str),
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
        Line {
            jobs: JobsLine::Number(report.jobs),
            profile: report.profile,
            states: report.states,
            transitions: report.transitions,
            depth: report.depth,
            seconds: report.seconds,
            properties: report.properties.iter().map(PropertyLine::new).collect(),
            scenarios: report
                .scenarios
                .iter()
                .map(ScenarioLine::of)
                .chain(report.pair.iter().map(ScenarioLine::of_pair))
                .collect(),
        }
    }

    fn of_any(report: &'a crowd::Report) -> Line<'a> {
        Line {
            jobs: JobsLine::Any("any"),
            profile: crowd::PROFILE.name,
            states: report.states,
            transitions: report.transitions,
            depth: report.depth,
            seconds: report.seconds,
            properties: report.properties.iter().map(PropertyLine::new).collect(),
            scenarios: Vec::new(),
        }
    }
}

impl<'a> PropertyLine<'a> {
    fn new(property: &'a PropertyReport) -> PropertyLine<'a> {
        PropertyLine {
            id: property.id,
            held: property.held,
            bound: &property.bound,
            trace: property.counterexample.as_deref(),
        }
    }
}

fn text(report: &Report, output: &mut Output) {
    let plural = if report.jobs == 1 { "" } else { "s" };
    output.line(format!(
        "profile {}, one transaction of {} job{plural}: {} states, {} transitions, depth {}, {:.2} s",
        report.profile, report.jobs, report.states, report.transitions, report.depth, report.seconds
    ));
    properties(&report.properties, output);
    let (mut bounds, mut endless) = (None, None);
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
            let within = if endless == Some(graph.bounds) {
                String::new()
            } else {
                endless = Some(graph.bounds);
                format!(", {}", graph.bounds)
            };
            output.line(format!(
                "    for endless stories{within}: {} states, {} transitions{end}",
                graph.states, graph.transitions
            ));
        }
    }
    if let Some(pair) = &report.pair {
        let [one, two] = &pair.scenarios;
        output.line(format!(
            "searched side by side, {}:\n  {}, and {}: {} pairs of states, {} transitions",
            one.bounds, one.name, two.name, pair.states, pair.transitions
        ));
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

fn text_of_any(report: &crowd::Report, output: &mut Output) {
    output.line(format!(
        "profile {}, one transaction of any number of jobs: {} abstract states, {} transitions, \
         depth {}, {:.2} s",
        crowd::PROFILE.name,
        report.states,
        report.transitions,
        report.depth,
        report.seconds
    ));
    properties(&report.properties, output);
    let held = report.properties.iter().filter(|property| property.held);
    output.line(format!(
        "{} of {} properties held; bound: {}",
        held.count(),
        report.properties.len(),
        crowd::BOUND
    ));
}

/// What became of each property, with its counterexample.
fn properties(properties: &[PropertyReport], output: &mut Output) {
    let widths = properties.iter().map(|property| property.id.len());
    let width = widths.max().unwrap_or_default();
    for property in properties {
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
}
