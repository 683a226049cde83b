//! Goal: the conformance vectors are of use to others. They are what their schema says, our own engine and the
//! example in Python pass all of them, and an engine with a mistake fails, by name, those that the mistake
//! concerns.
//!
//! Method: `blockjob vectors` is run as a user runs it; our engine sits behind the adapter of
//! `examples/engine_adapter.rs`, in this process, so that nothing but this test has to be built. Where there is no
//! `python3`, the tests of the example say so and pass.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

#[path = "../examples/engine_adapter.rs"]
#[allow(dead_code)]
mod engine_adapter;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use blockjob::model::profile::REFERENCE;
use blockjob::model::vectors::{self, Kind};
use blockjob::vectors::{Outcome, Peer, Runner};
use cli_support::{assert_valid, run, schema};
use serde_json::Value;

/// So long nothing here takes, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(600);

const ENGINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/vectors/engine.py");
const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/vectors/run.py");

/// Each mistake of the Python engine, and a vector that must find it.
const MISTAKES: &[(&str, &str)] = &[
    ("second-pause-accepted", "sequences/paused-twice"),
    ("ready-unannounced", "sequences/completed"),
    ("cancel-completes", "sequences/cancelled"),
    ("lone-commit", "groups/2/well+well"),
    ("oldest-first", "groups/2/cancelled+cancelled"),
    ("paused-for-good", "sequences/cancelled-paused"),
    ("dismissed-early", "sequences/manual"),
    ("resume-ignored", "sequences/paused-and-resumed"),
    ("prepare-ignored", "groups/1/prepare-fails"),
    ("unstarted-runs", "sequences/cancelled-unstarted"),
    ("wrong-words", "cells/running/complete/not-in-this-status"),
    ("no-answer", "cells/pending/finalize/accepted"),
];

/// Whether there is a Python to run the example with.
fn python() -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok();
    if !there {
        eprintln!("SKIPPED: there is no python3, so examples/vectors/ is not tested");
    }
    there
}

#[test]
fn our_engine_passes_every_vector() {
    let (orders, to_adapter) = std::io::pipe().unwrap();
    let (answers, from_adapter) = std::io::pipe().unwrap();
    let adapter = std::thread::spawn(move || {
        engine_adapter::serve(BufReader::new(orders), from_adapter)
            .map_err(|error| error.to_string())
    });
    let mut runner = Runner::new(Peer::new(to_adapter, answers, LIMIT));
    for vector in vectors::all(&REFERENCE) {
        let outcome = runner.run(&vector);
        assert_eq!(outcome, Outcome::Passed, "{}", vector.name);
    }
    drop(runner);
    assert_eq!(adapter.join().unwrap(), Ok(()));
}

#[test]
fn what_is_written_is_what_the_schema_says() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("made");
    let ran = run(["vectors".as_ref(), "--out".as_ref(), out.as_os_str()]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let schema = schema("vectors");
    let read = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(out.join(name)).unwrap()).unwrap()
    };
    let index = read("index.json");
    assert_valid(&schema, &index);
    assert_eq!(index["tour"]["covered"], index["tour"]["moves"]);
    let files = index["files"].as_array().unwrap();
    assert_eq!(files.len(), Kind::ALL.len());
    for file in files {
        let whole = read(file["file"].as_str().unwrap());
        let vectors = whole["vectors"].as_array().unwrap();
        assert_eq!(vectors.len() as u64, file["vectors"].as_u64().unwrap());
        // One by one first, so that a mistake is named.
        for vector in vectors {
            let fits = cli_support::validate(&schema, &schema["$defs"]["vector"], vector);
            assert_eq!(fits, Ok(()), "{}", vector["name"]);
        }
        let pointer = &schema["$defs"]["file"];
        assert_eq!(cli_support::validate(&schema, pointer, &whole), Ok(()));
    }
}

#[test]
fn the_example_passes_every_vector() {
    if !python() {
        return;
    }
    let ran = run([
        "vectors",
        "--run",
        "--json",
        "--limit",
        "600",
        "--exec",
        &format!("python3 {ENGINE}"),
    ]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let lines = ran.json();
    let schema = schema("vectors");
    for line in &lines {
        assert_valid(&schema, line);
    }
    let summary = lines.last().unwrap();
    assert_eq!(summary["passed"], summary["vectors"]);
    assert_eq!(lines.len() as u64, summary["vectors"].as_u64().unwrap() + 1);
}

#[test]
fn every_mistake_is_found_by_a_vector_that_names_it() {
    if !python() {
        return;
    }
    let listed = Command::new("python3")
        .args([ENGINE, "--mistakes"])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let known: Vec<&str> = MISTAKES.iter().map(|&(mistake, _)| mistake).collect();
    assert_eq!(listed.lines().collect::<Vec<_>>(), known);
    for &(mistake, vector) in MISTAKES {
        let ran = run([
            "vectors",
            "--run",
            "--json",
            "--limit",
            "600",
            "--exec",
            &format!("python3 {ENGINE} --mistake {mistake}"),
        ]);
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{mistake}");
        let lines = ran.json();
        let verdicts: BTreeMap<&str, &str> = lines
            .iter()
            .filter_map(|line| Some((line["vector"].as_str()?, line["verdict"].as_str()?)))
            .collect();
        assert_eq!(verdicts.get(vector), Some(&"fail"), "{mistake}");
        // And what it does not concern passes.
        assert!(
            verdicts.values().any(|&verdict| verdict == "pass"),
            "{mistake}"
        );
    }
}

#[test]
fn the_files_can_be_run_without_us() {
    if !python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let ran = run([
        "vectors".as_ref(),
        "--out".as_ref(),
        folder.path().as_os_str(),
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let play = |mistake: &[&str]| {
        let output = Command::new("python3")
            .arg(RUN)
            .arg(folder.path())
            .args(["python3", ENGINE])
            .args(mistake)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = play(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.ends_with(" vectors, 0 failed\n"), "{text}");
    let (code, text) = play(&["--mistake", "oldest-first"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("groups/2/cancelled+cancelled: "), "{text}");
}

#[test]
fn what_does_not_speak_the_protocol_is_told_so() {
    for (command, words) in [
        ("true", ["has ended", "does not speak the adapter protocol"]),
        (
            "read -r line; echo hello",
            ["no line of JSON", "does not speak"],
        ),
        (
            "read -r line; head -c 3000000 /dev/zero",
            ["more than", "does not speak"],
        ),
        (
            "read -r line; printf '\\377\\n'",
            ["not UTF-8", "does not speak"],
        ),
    ] {
        let ran = run(["vectors", "--run", "--exec", command]);
        assert_eq!(ran.code, 2, "{command}: {ran:?}");
        assert!(ran.stdout.contains(words[0]), "{command}: {ran:?}");
        ran.says(&[words[1]]);
    }
    // It says nothing at all: a limit of a second is the one wait here, and it is the product's.
    let ran = run([
        "vectors",
        "--run",
        "--limit",
        "1",
        "--only",
        "tour/1",
        "--exec",
        "cat >/dev/null",
    ]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("said nothing for 1 s"), "{ran:?}");
}

#[test]
fn an_adapter_that_can_do_nothing_is_no_success() {
    let cannot = r#"while read -r line; do echo '{"see":"cannot","why":"closed today"}'; echo '{"see":"rest"}'; done"#;
    let ran = run(["vectors", "--run", "--only", "tour", "--exec", cannot]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stdout.contains("skip tour/1: closed today"), "{ran:?}");
    ran.says(&["nothing was judged"]);
}

#[test]
fn misuse_is_told() {
    run(["vectors"]).refused(&["--out"]);
    run(["vectors", "--run"]).refused(&["--exec"]);
    run(["vectors", "--out", "x", "--only", "nowhere"]).refused(&["nowhere", "cells/"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    run(["vectors", "--out", path]).refused(&[path]);
    assert!(Path::new(path).is_file());
}
