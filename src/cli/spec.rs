//! `blockjob spec`: the tables and the diagrams of the specification.

use blockjob::model::{Profile, render};
use clap::{Args, ValueEnum};

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
    /// The tables, for people
    Text,
    /// State diagrams for Markdown pages
    Mermaid,
    /// A graph for Graphviz
    Dot,
    /// What is allowed, for machines
    Json,
}

/// Prints the tables.
pub fn run(arguments: &Arguments, output: &mut Output) -> Verdict {
    let profile = arguments.profile;
    match arguments.format {
        Format::Text => output.text(&render::text(profile)),
        Format::Mermaid => output.text(&render::mermaid(profile)),
        Format::Dot => output.text(&render::dot(profile)),
        Format::Json => output.line(render::json(profile)),
    }
    Verdict::Good
}
