//! `blockjob spec`: the tables and the diagrams of the specification, drawn from its own tables.

use std::fmt::Write as _;

use blockjob::model::lifecycle::Lifecycle;
use blockjob::model::{Profile, Status, Verb};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::args;
use super::output::{Output, Verdict};

/// Arguments of `spec`.
#[derive(Args)]
pub struct Arguments {
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Whose rules
    #[arg(long, value_name = "NAME", default_value = "reference", value_parser = args::profile)]
    profile: &'static Profile,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Both tables, and the coarse lifecycle
    Text,
    /// A state diagram for Markdown pages
    Mermaid,
    /// A graph for Graphviz
    Dot,
    /// What is allowed, for machines
    Json,
}

/// Prints the tables.
pub fn run(arguments: &Arguments, output: &mut Output) -> Verdict {
    match arguments.format {
        Format::Text => output.text(&text(arguments.profile)),
        Format::Mermaid => output.text(&mermaid()),
        Format::Dot => output.text(&dot()),
        Format::Json => output.json(&Spec::new(arguments.profile)),
    }
    Verdict::Good
}

/// The moves the table allows, row by row.
fn transitions() -> impl Iterator<Item = (Status, Status)> {
    let pairs = Status::ALL
        .into_iter()
        .flat_map(|from| Status::ALL.map(|to| (from, to)));
    pairs.filter(|(from, to)| from.may_become(*to))
}

fn text(profile: &Profile) -> String {
    let mut text = format!("profile {}: {}\n", profile.name, profile.summary);
    text.push_str("\nWhich status may follow which (row: from, column: to)\n");
    table(
        &mut text,
        Status::ALL.map(Status::name).as_slice(),
        |row, to| Status::ALL[row].may_become(to),
    );
    text.push_str("\nWhich verb is accepted in which status\n");
    let verbs: Vec<Verb> = verbs(profile).collect();
    let names: Vec<&str> = verbs.iter().map(|verb| verb.name()).collect();
    table(&mut text, &names, |row, status| {
        profile.permits(verbs[row], status)
    });
    text.push_str("\nThe life of a job as its users think of it\n");
    for stage in Lifecycle::ALL {
        let next: Vec<&str> = stage.next().iter().map(|next| next.name()).collect();
        let next = if next.is_empty() {
            "the end".to_owned()
        } else {
            next.join(", ")
        };
        // Writing to a string cannot fail; so below.
        let _ = writeln!(text, "  {:<15} -> {next}", stage.name());
    }
    text
}

/// The verbs that exist in `profile`.
fn verbs(profile: &Profile) -> impl Iterator<Item = Verb> {
    let change = profile.change_verb;
    Verb::ALL
        .into_iter()
        .filter(move |verb| change || *verb != Verb::Change)
}

/// A table with a column for each status.
fn table(text: &mut String, rows: &[&str], allowed: impl Fn(usize, Status) -> bool) {
    let _ = write!(text, "  {:<9}", "");
    for status in Status::ALL {
        let _ = write!(text, " {}", status.name());
    }
    text.push('\n');
    for (row, name) in rows.iter().enumerate() {
        let _ = write!(text, "  {name:<9}");
        for status in Status::ALL {
            let cell = if allowed(row, status) { "yes" } else { "." };
            let _ = write!(text, " {cell:<width$}", width = status.name().len());
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
}

fn mermaid() -> String {
    let mut text = "stateDiagram-v2\n    [*] --> undefined\n".to_owned();
    for (from, to) in transitions() {
        let _ = writeln!(text, "    {from} --> {to}");
    }
    text.push_str("    null --> [*]\n");
    text
}

fn dot() -> String {
    let mut text =
        "digraph status {\n    rankdir=LR;\n    node [shape=box, style=rounded];\n".to_owned();
    for (from, to) in transitions() {
        let _ = writeln!(text, "    {from} -> {to};");
    }
    text.push_str("}\n");
    text
}

/// What is allowed, for machines.
#[derive(Serialize)]
struct Spec {
    profile: &'static str,
    transitions: Vec<Move>,
    verbs: Vec<Accepted>,
    lifecycle: Vec<Stage>,
}

#[derive(Serialize)]
struct Move {
    from: &'static str,
    to: &'static str,
}

#[derive(Serialize)]
struct Accepted {
    verb: &'static str,
    status: &'static str,
}

/// A stage of the coarse lifecycle.
#[derive(Serialize)]
struct Stage {
    name: &'static str,
    /// Whether it has no name in the users' picture.
    between: bool,
    next: Vec<&'static str>,
}

impl Spec {
    fn new(profile: &'static Profile) -> Spec {
        let accepted = |verb: Verb| {
            let statuses = Status::ALL.into_iter();
            statuses
                .filter(move |status| profile.permits(verb, *status))
                .map(move |status| Accepted {
                    verb: verb.name(),
                    status: status.name(),
                })
        };
        let stage = |stage: Lifecycle| Stage {
            name: stage.name(),
            between: stage.is_between(),
            next: stage.next().iter().map(|next| next.name()).collect(),
        };
        Spec {
            profile: profile.name,
            transitions: transitions()
                .map(|(from, to)| Move {
                    from: from.name(),
                    to: to.name(),
                })
                .collect(),
            verbs: verbs(profile).flat_map(accepted).collect(),
            lifecycle: Lifecycle::ALL.into_iter().map(stage).collect(),
        }
    }
}
