//! The mutants, as cargo-mutants lists them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::Part;
use crate::copy;
use crate::steps::{cargo, root};

/// A small mistake: what stands at a place, and what is put there instead.
#[derive(Clone, Debug, Deserialize)]
pub struct Mutant {
    /// `model/src/step.rs:507:48: delete ! in Relation::offer`: file, line, column, and what is done.
    pub name: String,
    pub file: String,
    pub genre: Genre,
    /// What is put in the place of the span; nothing where something is deleted.
    pub replacement: String,
    pub span: Span,
}

/// What kind of thing is replaced.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
pub enum Genre {
    /// A function's whole body.
    FnValue,
    BinaryOperator,
    /// Deleted.
    UnaryOperator,
    /// Always true or always false.
    MatchArmGuard,
    /// Deleted; there is a `_` that takes what it took.
    MatchArm,
    /// Deleted from an expression with a base, whose own is taken.
    StructField,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Span {
    pub start: Place,
    /// The first that is no longer in it.
    pub end: Place,
}

/// Both from 1; columns in characters.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// Every mutant of the part; `rest` are options of cargo-mutants that choose among them.
pub fn list(part: Part, rest: &[String]) -> Result<Vec<Mutant>, String> {
    let mut command = cargo(&["mutants", "--list", "--json"]);
    part.choose(&mut command, rest);
    let output = command
        .args(rest)
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "cargo mutants --list: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo mutants --list --json says what is not expected: {error}"))
}

/// The text of every source file of the part's package.
pub fn sources(part: Part) -> Result<BTreeMap<String, String>, String> {
    let mut sources = BTreeMap::new();
    let folder = Path::new(part.folder()).join("src");
    for path in copy::tracked()? {
        if path.starts_with(&folder) && path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(root().join(&path))
                .map_err(|error| format!("{}: {error}", path.display()))?;
            sources.insert(path.to_string_lossy().into_owned(), text);
        }
    }
    Ok(sources)
}
