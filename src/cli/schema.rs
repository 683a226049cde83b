//! `blockjob schema`: JSON Schemas of everything the command writes for machines.

use clap::{Args, ValueEnum};

use super::output::{Output, Verdict};

/// Arguments of `schema`.
#[derive(Args)]
pub struct Arguments {
    /// What to describe; without it everything, one schema a line
    document: Option<Document>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Document {
    /// One line of a native trace
    Native,
    /// One line of `check --json`
    Check,
    /// `conform --json`, its programs, its lists of known deviations
    Conform,
    /// `check --coverage FILE.json`
    Coverage,
    /// One line of `copy --json`
    Copy,
    /// `explore --json`
    Explore,
    /// `spec --format json`
    Spec,
    /// The files of `vectors --out`, and the lines of its adapter protocol
    Vectors,
}

impl Document {
    /// The schema, as its file has it.
    const fn text(self) -> &'static str {
        match self {
            Document::Native => include_str!("schema/native.json"),
            Document::Check => include_str!("schema/check.json"),
            Document::Conform => include_str!("schema/conform.json"),
            Document::Coverage => include_str!("schema/coverage.json"),
            Document::Copy => include_str!("schema/copy.json"),
            Document::Explore => include_str!("schema/explore.json"),
            Document::Spec => include_str!("schema/spec.json"),
            Document::Vectors => include_str!("schema/vectors.json"),
        }
    }
}

/// Prints one schema as it stands, or all of them, one a line.
pub fn run(arguments: &Arguments, output: &mut Output) -> Verdict {
    match arguments.document {
        Some(document) => output.text(document.text()),
        None => {
            for document in Document::value_variants() {
                output.line(one_line(document.text()));
            }
        }
    }
    Verdict::Good
}

/// The same JSON without its line breaks and indentation; strings hold neither.
fn one_line(json: &str) -> String {
    json.lines().map(str::trim_start).collect()
}
