//! Goal: the oracle takes every real conversation and refuses every broken one, for the reason
//! that it is broken.
//!
//! Method: `tests/corpus` holds recordings of two releases of QEMU (`live-*`), odd but legal ones
//! (`traps`), those that show what
//! another client did (`shared`), and real ones with one illegal edit each (`mutants`, with `expected.json` naming the
//! lines at which each may be found out). The rule that finds a mutant is pinned here, so that a
//! change of mind is visible.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use blockjob::model::Profile;
use blockjob::oracle::{self, Options, Outcome, Verdict};

fn corpus(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(folder)
}

fn traces(folder: &str) -> Vec<PathBuf> {
    let (traces, _) = oracle::traces_in(&corpus(folder)).unwrap();
    assert!(!traces.is_empty(), "{folder} holds traces");
    traces
}

fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

fn check(path: &Path) -> Verdict {
    oracle::check(path, &Options::default())
}

/// Every trace of `folder` that is not accepted, as text.
fn refused(folder: &str, options: &Options) -> Vec<String> {
    traces(folder)
        .iter()
        .map(|path| oracle::check(path, options))
        .filter(|verdict| !matches!(verdict.outcome, Outcome::Accept))
        .map(|verdict| verdict.to_string())
        .collect()
}

#[test]
fn every_recording_is_accepted_by_the_profile_of_its_version() {
    for (folder, profile, count) in [
        ("live-10.0", "qemu-10.0", 98),
        ("live-7.2", "qemu-7.2", 98),
        ("traps", "qemu-10.0", 4),
        ("shared", "qemu-10.0", 9),
    ] {
        let refused = refused(folder, &Options::default());
        assert!(refused.is_empty(), "{}", refused.join("\n"));
        assert_eq!(traces(folder).len(), count, "{folder}");
        for path in traces(folder) {
            let verdict = check(&path);
            assert_eq!(verdict.profile, Some(profile), "{}", path.display());
            assert_eq!(verdict.widened, 0, "{}", path.display());
        }
    }
}

#[test]
fn every_mutant_is_refused_where_it_is_broken() {
    let expected: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&std::fs::read_to_string(corpus("mutants/expected.json")).unwrap())
            .unwrap();
    let mut found = String::new();
    let mut wrong = String::new();
    for (name, expected) in &expected {
        let verdict = check(&corpus(&format!("mutants/{name}.jsonl")));
        let lines: Vec<u64> = expected["lines_ok"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line.as_u64().unwrap())
            .collect();
        match verdict.fault() {
            Some(fault) => {
                if !lines.contains(&fault.line) {
                    writeln!(wrong, "{name}: expected at {lines:?}: {verdict}").unwrap();
                }
                writeln!(found, "{name}: {}", fault.rule).unwrap();
            }
            None => writeln!(wrong, "{name}: not refused: {verdict}").unwrap(),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(expected.len(), traces("mutants").len());
    insta::assert_snapshot!(found);
}

#[test]
fn one_version_by_the_other_s_profile_differs_only_where_pinned() {
    let mut different = String::new();
    for (folder, profile) in [
        ("live-10.0", "qemu-7.2"),
        ("live-7.2", "qemu-10.0"),
        ("live-10.0", "reference"),
        ("live-7.2", "reference"),
    ] {
        let options = Options {
            profile: Profile::by_name(profile),
            ..Options::default()
        };
        for path in traces(folder) {
            let verdict = oracle::check(&path, &options);
            if let Some(fault) = verdict.fault() {
                writeln!(
                    different,
                    "{folder}/{} by {profile}: {} at {}",
                    stem(&path),
                    fault.rule,
                    fault.line
                )
                .unwrap();
            }
        }
    }
    insta::assert_snapshot!(different);
}
