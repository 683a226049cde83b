//! Goal: whatever rejects a recording has a sentence and a section, and the table of rules has nothing
//! else in it.
//!
//! Method: the compiler sees to it that `rule!` names a rule of the table (`model/src/rule.rs`). Here
//! the sources are walked: every rule of the table is used somewhere, no fault is made but through it,
//! and SEMANTICS.md has each section.

// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use blockjob::model::rule::RULES;

/// The sources of the judges and of the acceptor.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src/oracle"), root.join("model/src/accept")];
    let mut files = vec![root.join("model/src/accept.rs")];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect()
}

/// What stands behind each `before`, up to the next quotation mark.
fn named<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect()
}

#[test]
fn every_rule_of_the_table_is_used_and_every_one_used_is_in_the_table() {
    let sources = sources();
    let used: BTreeSet<&str> = sources
        .iter()
        .flat_map(|(_, text)| named(text, "rule!(\""))
        .collect();
    let table: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert!(used.len() > 90, "{used:?}");
    assert_eq!(used, table);
}

#[test]
fn nothing_is_rejected_but_through_the_table() {
    for (path, text) in sources() {
        for around in ["rule: \"", "section: \""] {
            let found = named(&text, around);
            assert!(found.is_empty(), "{}: {around}{found:?}", path.display());
        }
    }
}

#[test]
fn every_section_is_in_the_specification() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let semantics = fs::read_to_string(root.join("docs/SEMANTICS.md")).unwrap();
    for rule in RULES {
        let (section, property) = match rule.section.split_once(" P") {
            Some((section, property)) => (section, Some(property)),
            None => (rule.section, None),
        };
        let headed = semantics.lines().any(|line| {
            let title = line.trim_start_matches('#').trim_start();
            line.starts_with('#')
                && title
                    .strip_prefix(section)
                    .is_some_and(|rest| rest.starts_with([' ', '.']))
        });
        assert!(headed, "{}: no section {section}", rule.name);
        if let Some(property) = property {
            let numbered = format!("\n{property}. ");
            assert!(semantics.contains(&numbered), "{}: P{property}", rule.name);
        }
    }
}
