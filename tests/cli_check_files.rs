//! Goal: the files that `blockjob check` writes beside its verdicts are what they claim to be: coverage in three forms
//! that compares with an earlier run, `JUnit` XML, SARIF.
//! Method: run it on recorded conversations, on paths full of markup, and on what cannot be read or written; hold
//! JSON against its schema, XML against both schemas in use, SARIF against what its standard requires.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::collections::BTreeMap;
use std::fs;

use cli_support::{Ran, assert_valid, blockjob, run, schema};
use roxmltree::{Document, Node};
use serde_json::Value;
use tempfile::TempDir;

const LIVE: &str = "tests/corpus/live-10.0";
const GOOD: &str = "tests/corpus/live-10.0/backup-default.jsonl";
const MUTANT: &str = "tests/corpus/mutants/aborting-to-pending.jsonl";
const LOG: &str = "tests/corpus/qemu-log/mirror-verbs.trace";

/// Runs `check` with one more option that names a file; the run and the file.
fn written(option: &str, name: &str, arguments: &[&str]) -> (Ran, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    let ran = Ran::from(
        blockjob()
            .args(["check", option])
            .arg(&file)
            .args(arguments)
            .output()
            .unwrap(),
    );
    let text = fs::read_to_string(&file).unwrap_or_default();
    (ran, text)
}

fn coverage(arguments: &[&str]) -> Value {
    let (ran, text) = written("--coverage", "c.json", arguments);
    assert!(ran.code < 2, "{ran:?}");
    let value = serde_json::from_str(&text).unwrap();
    assert_valid(&schema("coverage"), &value);
    value
}

/// How often each item of a section was shown.
fn times(coverage: &Value, section: &str) -> BTreeMap<String, u64> {
    let sections = coverage["sections"].as_array().unwrap();
    let section = sections.iter().find(|one| one["name"] == section).unwrap();
    let items = section["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| {
            let name = item["name"].as_str().unwrap().to_owned();
            (name, item["times"].as_u64().unwrap())
        })
        .collect()
}

#[test]
fn a_trace_covers_what_it_shows_and_nothing_else() {
    let coverage = coverage(&[GOOD]);
    let edges = times(&coverage, "edges");
    assert_eq!(edges["running to paused"], 1);
    assert_eq!(edges["running to waiting"], 1);
    assert_eq!(edges["running to aborting"], 0);
    let events = times(&coverage, "events");
    assert_eq!(events["BLOCK_JOB_COMPLETED without an error"], 1);
    assert_eq!(events["BLOCK_JOB_COMPLETED with an error"], 0);
    assert!(times(&coverage, "cells").values().all(|times| *times == 0));
    assert!(times(&coverage, "texts").values().all(|times| *times == 0));
    assert_eq!(coverage["profiles"], serde_json::json!(["qemu-10.0"]));
}

#[test]
fn cells_have_the_table_s_answer_and_texts_their_own() {
    let coverage = coverage(&["tests/corpus/live-10.0/verbs-waiting.jsonl"]);
    let cells = times(&coverage, "cells");
    assert_eq!(cells["pause in waiting: refused"], 2);
    assert_eq!(cells["dismiss in waiting: refused"], 2);
    assert_eq!(cells["pause in concluded: refused"], 0);
    let texts = times(&coverage, "texts");
    assert!(texts["Job '…' in state '…' cannot accept command verb '…'"] >= 4);
    // A second pause passes the table and is refused all the same.
    let coverage = self::coverage(&["tests/corpus/live-10.0/pause-double-error.jsonl"]);
    assert!(times(&coverage, "cells")["pause in paused: permitted"] > 0);
    assert!(times(&coverage, "texts")["Job is already paused"] > 0);
}

#[test]
fn a_difference_is_shown_by_a_trace_that_no_other_could_have_left() {
    let name = "standby-complete: yes, not no";
    let with = coverage(&["tests/corpus/live-10.0/complete-in-standby.jsonl"]);
    assert_eq!(times(&with, "differences")[name], 1);
    let without = coverage(&[GOOD]);
    let without = times(&without, "differences");
    assert_eq!(without[name], 0);
    assert_eq!(without["status-events: yes, not no"], 1);
}

#[test]
fn every_format_is_counted() {
    // QEMU's own table, with the status it looked at.
    let coverage = coverage(&[LOG]);
    let cells = times(&coverage, "cells");
    assert!(cells.values().any(|times| *times > 0), "{cells:?}");
    assert!(times(&coverage, "edges")["undefined to created"] > 0);
    // Our own: what `copy` traces.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("source"), [7; 4096]).unwrap();
    let (source, target, trace) = (path("source"), path("target"), path("t.jsonl"));
    let ran = run(["copy", &source, &target, "--trace", &trace]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let coverage = self::coverage(&[&trace]);
    let edges = times(&coverage, "edges");
    assert_eq!(edges["created to running"], 1);
    assert_eq!(edges["concluded to null"], 1);
    let events = times(&coverage, "events");
    assert_eq!(events["BLOCK_JOB_COMPLETED without an error"], 1);
    assert_eq!(events["JOB_STATUS_CHANGE"], 0, "no event of QMP");
}

#[test]
fn what_stands_behind_a_fault_is_not_covered() {
    // The fault is the change from aborting to pending in line 22.
    let coverage = coverage(&[MUTANT]);
    assert_eq!(coverage["traces"]["rejected"], 1);
    for section in coverage["sections"].as_array().unwrap() {
        for item in section["items"].as_array().unwrap() {
            let line = item["first"]["line"].as_u64().unwrap_or(1);
            assert!(line < 22, "{item}");
        }
    }
    assert_eq!(times(&coverage, "edges")["pending to concluded"], 0);
    let trace = fs::read_to_string(MUTANT).unwrap();
    let before = trace.lines().take(21);
    let before = before
        .filter(|line| line.contains("JOB_STATUS_CHANGE"))
        .count();
    let counted = times(&coverage, "events")["JOB_STATUS_CHANGE"];
    assert_eq!(counted, before as u64);
}

#[test]
fn two_runs_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old.json");
    let old = old.to_str().unwrap();
    let ran = run(["check", "--coverage", old, GOOD]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let against = |trace: &str| coverage(&["--coverage-against", old, trace])["against"].clone();
    let same = against(GOOD);
    assert_eq!(same["sections"], serde_json::json!([]), "{same}");
    let other = against("tests/corpus/live-10.0/complete-in-standby.jsonl");
    let sections = other["sections"].as_array().unwrap();
    let of = |name: &str, way: &str| {
        let section = sections.iter().find(|section| section["name"] == name);
        section.map_or(Vec::new(), |section| {
            section[way].as_array().unwrap().clone()
        })
    };
    assert!(of("cells", "gained").contains(&"complete in standby: permitted".into()));
    assert!(of("edges", "gained").contains(&"ready to standby".into()));
    assert!(of("edges", "lost").contains(&"running to waiting".into()));
    // In the other forms too.
    for (name, says) in [
        ("c.txt", "  no longer  edges: running to waiting\n"),
        ("c.html", "no longer: running to waiting"),
    ] {
        let trace = "tests/corpus/live-10.0/complete-in-standby.jsonl";
        let (ran, text) = written("--coverage", name, &["--coverage-against", old, trace]);
        assert!(text.contains(says), "{ran:?} {text}");
        ran.says(&["coverage: cells ", "; against ", " no longer"]);
    }
}

#[test]
fn the_whole_corpus_covers_what_it_did() {
    let (ran, text) = written("--coverage", "c.txt", &[LIVE]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(text.contains("\nevents: 9 of 9 ("), "{text}");
    assert!(text.contains("\nedges: 19 of 20 ("), "{text}");
    assert!(text.contains("       -  aborting to aborting\n"), "{text}");
}

#[test]
fn a_page_of_coverage_has_nothing_of_a_path_as_markup() {
    let folder = tempfile::tempdir().unwrap();
    let trace = hostile(&folder);
    let (ran, page) = written("--coverage", "c.html", &[&trace]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!page.contains("<b onload"), "{page}");
    assert!(page.contains("&lt;b onload=&quot;"), "{page}");
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn what_cannot_be_done_is_said_before_or_after_and_the_verdicts_stand() {
    run(["check", "--coverage", "c.csv", GOOD]).refused(&["*.txt", "*.json", "*.html"]);
    run(["check", "--coverage-against", "c.json", GOOD]).refused(&["--coverage"]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (new, missing, garbage) = (path("new.json"), path("missing.json"), path("g.json"));
    let against = |old: &str| run(["check", "--coverage", &new, "--coverage-against", old, GOOD]);
    against(&missing).refused(&["missing.json", "No such file", "earlier run"]);
    fs::write(&garbage, "{\"blockjob_coverage\":1}").unwrap();
    against(&garbage).refused(&["g.json", "missing field"]);
    for option in ["--coverage", "--junit", "--sarif"] {
        let nowhere = path("nowhere/file.json");
        let ran = run(["check", option, &nowhere, GOOD]);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stdout.starts_with("accept "), "{ran:?}");
        ran.says(&["cannot write", "nowhere", "tip:"]);
        let ran = run(["check", option, &nowhere, MUTANT]);
        assert_eq!(ran.code, 1, "a rejection outranks it: {ran:?}");
        ran.says(&["cannot write"]);
    }
}

/// A good trace whose path is full of what XML and HTML must escape, and some that XML cannot have.
fn hostile(folder: &TempDir) -> String {
    let trace = folder.path().join("<b onload=\"x\">&'\u{1b}ä.jsonl");
    fs::copy(GOOD, &trace).unwrap();
    trace.to_str().unwrap().to_owned()
}

/// What `JUnit.xsd` (windyroad) and `junit-10.xsd` (Jenkins) both take: each element's attributes, required and
/// possible, and its children in their order.
fn assert_junit(node: Node<'_, '_>) {
    let (required, possible, children): (&[&str], &[&str], &[&str]) = match node.tag_name().name() {
        "testsuites" => (&[], &[], &["testsuite"]),
        "testsuite" => (
            &[
                "id",
                "package",
                "name",
                "timestamp",
                "hostname",
                "tests",
                "failures",
                "errors",
                "time",
            ],
            &[],
            &["properties", "testcase", "system-out", "system-err"],
        ),
        "testcase" => (&["name", "classname", "time"], &[], &["failure", "error"]),
        "failure" | "error" => (&["type"], &["message"], &[]),
        "properties" | "system-out" | "system-err" => (&[], &[], &[]),
        other => panic!("no element of either schema: {other}"),
    };
    for name in required {
        assert!(node.has_attribute(*name), "no {name} in {node:?}");
    }
    for attribute in node.attributes() {
        let known = required.iter().chain(possible);
        assert!(known.into_iter().any(|name| *name == attribute.name()));
        if attribute.name() == "time" {
            // xs:decimal of the one, and no more than thousandths of the other.
            let (whole, part) = attribute.value().split_once('.').unwrap();
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            assert!(
                digits(whole) && digits(part) && part.len() <= 3,
                "{attribute:?}"
            );
        }
    }
    let mut last = 0;
    for child in node.children().filter(Node::is_element) {
        let name = child.tag_name().name();
        let place = children.iter().position(|known| *known == name);
        let place = place.unwrap_or_else(|| panic!("{name} in {node:?}"));
        assert!(place >= last, "{name} is out of order");
        last = place;
        assert_junit(child);
    }
}

#[test]
fn junit_is_valid_by_both_schemas_and_counts_right() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = hostile(&folder);
    let empty = folder.path().join("empty.jsonl");
    fs::write(&empty, "").unwrap();
    let (ran, xml) = written(
        "--junit",
        "j.xml",
        &[GOOD, MUTANT, &hostile, empty.to_str().unwrap()],
    );
    assert_eq!(ran.code, 1, "{ran:?}");
    let document = Document::parse(&xml).unwrap();
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "testsuites");
    assert_junit(root);
    let suite = root.first_element_child().unwrap();
    for (name, value) in [("tests", "4"), ("failures", "1"), ("errors", "1")] {
        assert_eq!(suite.attribute(name), Some(value), "{name}");
    }
    let stamp = suite.attribute("timestamp").unwrap();
    let shape: String = stamp
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00", "{stamp}");
    let cases: Vec<Node<'_, '_>> = suite
        .children()
        .filter(|child| child.tag_name().name() == "testcase")
        .collect();
    assert_eq!(cases[0].attribute("name"), Some(GOOD));
    assert!(cases[0].first_element_child().is_none());
    let failure = cases[1].first_element_child().unwrap();
    assert_eq!(failure.tag_name().name(), "failure");
    assert_eq!(failure.attribute("type"), Some("status-transition"));
    assert!(
        failure
            .attribute("message")
            .unwrap()
            .starts_with("line 22: ")
    );
    assert!(failure.text().unwrap().contains("allowed: "));
    let shown = hostile.replace('\u{1b}', "\u{fffd}");
    assert_eq!(cases[2].attribute("name"), Some(shown.as_str()));
    let error = cases[3].first_element_child().unwrap();
    assert_eq!(error.tag_name().name(), "error");
}

/// What the schema of SARIF 2.1.0 requires of the parts that are used here, and some of what its text does.
fn assert_sarif(document: &Value) {
    assert_eq!(document["version"], "2.1.0");
    let uri_start = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/";
    assert!(document["$schema"].as_str().unwrap().starts_with(uri_start));
    let runs = document["runs"].as_array().unwrap();
    for run in runs {
        let driver = &run["tool"]["driver"];
        assert!(!driver["name"].as_str().unwrap().is_empty());
        let rules = driver["rules"].as_array().unwrap();
        let mut ids: Vec<&str> = rules.iter().map(|r| r["id"].as_str().unwrap()).collect();
        for result in run["results"].as_array().unwrap() {
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
            assert!(
                ["none", "note", "warning", "error"].contains(&result["level"].as_str().unwrap())
            );
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(result["ruleId"], rules[index]["id"], "3.27.6");
            assert_locations(&result["locations"]);
            assert_locations(&result["relatedLocations"]);
        }
        ids.sort_unstable();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all, "each rule once");
        for invocation in run["invocations"].as_array().unwrap() {
            assert!(invocation["executionSuccessful"].is_boolean(), "3.20.14");
            let notifications = &invocation["toolExecutionNotifications"];
            for notification in notifications.as_array().unwrap() {
                assert!(notification["message"]["text"].is_string());
                assert_locations(&notification["locations"]);
            }
        }
    }
}

fn assert_locations(locations: &Value) {
    for location in locations.as_array().unwrap() {
        let place = &location["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%:".contains(&byte);
        assert!(uri.bytes().all(fits), "RFC 3986: {uri}");
        let line = &place["region"]["startLine"];
        assert!(line.is_null() || line.as_u64().unwrap() >= 1);
    }
}

#[test]
fn sarif_has_a_result_for_each_rejection_and_a_notification_for_each_error() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("no json.jsonl");
    fs::write(&broken, "{\"dir\":\">\",\"msg\":{}}\n{\"dir\":\n{}\n").unwrap();
    let other = "tests/corpus/mutants/double-null.jsonl";
    let arguments = [GOOD, MUTANT, broken.to_str().unwrap(), MUTANT, other];
    let (ran, text) = written("--sarif", "s.sarif", &arguments);
    assert_eq!(ran.code, 1, "{ran:?}");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_sarif(&document);
    let run = &document["runs"][0];
    let results = run["results"].as_array().unwrap();
    assert_eq!(
        results.len() as u64,
        run["results"].as_array().unwrap().len() as u64
    );
    assert_eq!(results[0]["ruleId"], "status-transition");
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], MUTANT);
    assert_eq!(place["region"]["startLine"], 22);
    let related = results[0]["relatedLocations"].as_array().unwrap();
    let words: Vec<_> = related
        .iter()
        .map(|place| &place["message"]["text"])
        .collect();
    assert!(
        words
            .iter()
            .any(|word| word.as_str().unwrap().contains("aborting")),
        "{words:?}"
    );
    let description = &run["tool"]["driver"]["rules"][0]["shortDescription"]["text"];
    assert!(description.as_str().unwrap().len() > 20, "{description}");
    assert_eq!(results[0]["ruleIndex"], results[1]["ruleIndex"]);
    assert_ne!(results[0]["ruleIndex"], results[2]["ruleIndex"]);
    let invocation = &run["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    let notification = &invocation["toolExecutionNotifications"][0];
    let place = &notification["locations"][0]["physicalLocation"];
    assert!(
        place["artifactLocation"]["uri"]
            .as_str()
            .unwrap()
            .ends_with("/no%20json.jsonl")
    );
    // Nothing to say is a document too.
    let (ran, text) = written("--sarif", "s.sarif", &[GOOD]);
    assert_eq!(ran.code, 0);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_sarif(&document);
    assert_eq!(
        document["runs"][0]["invocations"][0]["executionSuccessful"],
        true
    );
}
