//! Which pairs are meant: two arguments, repeated `--pair`, or a group file.
//!
//! A group file is JSON lines, one pair each: `{"source": "a.img", "target": "b.img"}`. Paths are
//! relative to the current folder, as on the command line. Names that are not UTF-8 do not fit
//! into JSON; they go into `--pair`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Arguments;
use crate::cli::output::{Failure, sentence};

/// One line of a group file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    source: PathBuf,
    target: PathBuf,
}

/// The pairs that `arguments` name, in their order.
pub fn read(arguments: &Arguments) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
    let pairs = match (&arguments.source, &arguments.target, &arguments.group) {
        (Some(source), Some(target), _) => vec![(source.clone(), target.clone())],
        (_, _, Some(file)) => group_file(file)?,
        _ => arguments
            .pairs
            .chunks_exact(2)
            .map(|pair| (pair[0].clone(), pair[1].clone()))
            .collect(),
    };
    if pairs
        .iter()
        .any(|(source, target)| is_stdin(source) || is_stdin(target))
    {
        return Err(Failure::new(
            "a copy cannot read standard input or write standard output: it works at any offset",
        )
        .tip("name a file; one that is really called - is ./-"));
    }
    Ok(pairs)
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn group_file(path: &Path) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
    let name = path.display();
    let unreadable = |error: io::Error| {
        Failure::new(format!(
            "cannot read the group file {name}: {}",
            sentence(&error)
        ))
        .tip("name a readable file, or - for standard input")
    };
    let reader: Box<dyn BufRead> = if is_stdin(path) {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(unreadable)?))
    };
    let mut pairs = Vec::new();
    for (number, line) in (1..).zip(reader.lines()) {
        let line = line.map_err(unreadable)?;
        if line.trim().is_empty() {
            continue;
        }
        let Line { source, target } = serde_json::from_str(&line).map_err(|error| {
            Failure::new(format!("{name}:{number}: no pair: {error}"))
                .tip(r#"each line is one pair: {"source": "a.img", "target": "b.img"}"#)
        })?;
        pairs.push((source, target));
    }
    if pairs.is_empty() {
        return Err(Failure::new(format!("the group file {name} names no pair"))
            .tip(r#"each line is one pair: {"source": "a.img", "target": "b.img"}"#));
    }
    Ok(pairs)
}
