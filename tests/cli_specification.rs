//! Goal: `blockjob spec` prints the tables of the specification and nothing else, and
//! `blockjob explore` says what held, what did not, and how far it looked.
//! Method: run them; hold machine output against its schema and the tables; snapshots of the text.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use blockjob::model::{Profile, Status, Verb};
use cli_support::{assert_valid, run, schema};
use serde_json::json;

#[test]
fn the_text_has_a_line_for_each_status_and_names_the_profile() {
    for profile in Profile::ALL {
        let ran = run(["spec", "--profile", profile.name]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        assert!(
            ran.stdout
                .starts_with(&format!("Profile {}: ", profile.name)),
            "{ran:?}"
        );
        for status in Status::ALL {
            let lines = ran.stdout.lines();
            let rows = lines.filter(|line| line.split_whitespace().next() == Some(status.name()));
            assert!(rows.count() >= 2, "{status}: {ran:?}");
        }
    }
}

#[test]
fn every_diagram_has_each_move_once() {
    for (format, arrow) in [("mermaid", "-->"), ("dot", "->")] {
        let ran = run(["spec", "--format", format]);
        assert_eq!(ran.code, 0, "{ran:?}");
        for from in Status::ALL {
            for to in Status::ALL {
                let line = format!("{from} {arrow} {to}");
                let moves = ran
                    .stdout
                    .lines()
                    .map(|have| have.trim_start().trim_end_matches(';'));
                let count = moves
                    .filter_map(|have| have.strip_prefix(&line))
                    // With its cause behind it; moves of the coarse lifecycle have none.
                    .filter(|rest| rest.starts_with([' ', ':']))
                    .count();
                assert_eq!(count, usize::from(from.may_become(to)), "{format}: {line}");
            }
        }
    }
}

#[test]
fn the_machine_form_holds_exactly_what_is_allowed() {
    for profile in Profile::ALL {
        let ran = run(["spec", "--format", "json", "--profile", profile.name]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let [spec] = &ran.json()[..] else {
            panic!("one object: {ran:?}")
        };
        assert_valid(&schema("spec"), spec);
        for verb in Verb::ALL {
            for status in Status::ALL {
                let cell = json!({"verb": verb.name(), "status": status.name()});
                let listed = spec["verbs"].as_array().unwrap().contains(&cell);
                assert_eq!(
                    listed,
                    profile.permits(verb, status),
                    "{}: {cell}",
                    profile.name
                );
            }
        }
    }
}

#[test]
fn a_profile_that_holds_is_a_good_verdict() {
    let ran = run(["explore", "--jobs", "1", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let [report] = &ran.json()[..] else {
        panic!("one object: {ran:?}")
    };
    assert_valid(&schema("explore"), report);
    assert_eq!(report["profile"], "reference");
    let properties = report["properties"].as_array().unwrap();
    assert!(properties.iter().all(|property| property["held"] == true));
    assert!(report["states"].as_u64() > Some(10_000));
}

#[test]
fn a_broken_property_is_a_bad_verdict_with_its_shortest_way() {
    let arguments = [
        "explore",
        "--jobs",
        "1",
        "--profile",
        "qemu-10.0",
        "--property",
        "d17, P1",
    ];
    let ran = run(arguments);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    assert!(ran.stdout.contains("held      P1 "), "{ran:?}");
    assert!(ran.stdout.contains("violated  D17 "), "{ran:?}");
    assert!(ran.stdout.contains(" 1. job 0: create is asked"), "{ran:?}");
    assert!(ran.stdout.contains("job 0: complete is asked"), "{ran:?}");
    assert!(ran.stdout.contains("→ complete begins"), "{ran:?}");
    assert!(
        ran.stdout.contains("I/O in flight"),
        "the bounds are said: {ran:?}"
    );
    let ran = run(arguments.iter().chain(&["--json"]));
    assert_eq!(ran.code, 1, "{ran:?}");
    let report = &ran.json()[0];
    assert_valid(&schema("explore"), report);
    assert_eq!(report["properties"][0]["id"], "D17");
    assert!(report["properties"][0]["trace"].as_array().unwrap().len() > 5);
}

#[test]
fn any_number_of_jobs_is_a_good_verdict_that_says_how_far_it_reaches() {
    let ran = run(["explore", "--jobs", "any", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let [report] = &ran.json()[..] else {
        panic!("one object: {ran:?}")
    };
    assert_valid(&schema("explore"), report);
    assert_eq!(report["jobs"], "any");
    assert_eq!(report["profile"], "reference");
    assert!(report["states"].as_u64() > Some(10_000));
    let properties = report["properties"].as_array().unwrap();
    assert!(properties.len() > 10);
    for property in properties {
        assert_eq!(property["held"], true, "{property}");
        assert_eq!(
            property["bound"],
            "any number of jobs (counter abstraction 0/1/many, safety)"
        );
    }
    let ran = run(["explore", "--jobs", "any", "--property", "p13,CLOSED"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("held      P13 "), "{ran:?}");
    assert!(ran.stdout.contains("2 of 2 properties held"), "{ran:?}");
}

#[test]
fn what_does_not_exist_is_a_usage_error_that_names_what_does() {
    run(["spec", "--profile", "qemu-1.0"]).refused(&["qemu-1.0", "reference, qemu-10.0"]);
    run(["explore", "--profile", ""]).refused(&["no such profile"]);
    run(["spec", "--format", "xml"]).refused(&["xml", "mermaid"]);
    run(["explore", "--property", "P99"]).refused(&["P99", "P48"]);
    run(["explore", "--jobs", "0"]).refused(&["--jobs", "1 to "]);
    run(["explore", "--jobs", "-1"]).refused(&["--jobs", "1 to "]);
    run(["explore", "--jobs", "many"]).refused(&["--jobs", "1 to ", "any"]);
    // Pauses are no part of what is shown for any number of jobs, nor are QEMU's profiles.
    run(["explore", "--jobs", "any", "--property", "P7"]).refused(&["P7", "P8, P9"]);
    run(["explore", "--jobs", "any", "--profile", "qemu-10.0"])
        .refused(&["qemu-10.0", "reference"]);
}
