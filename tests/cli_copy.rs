//! Goal: `blockjob copy` as a user meets it: what it says before and after, to people and to machines.
//! Method: run it on scratch files.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs;

use cli_support::copying::{contents, copy, scratch};
use cli_support::{assert_valid, blockjob, schema};

#[test]
fn one_pair_is_copied_and_said_so() {
    let folder = scratch(&[("a", &vec![7; 100_001])]);
    let ran = copy(&folder, &["a", "b"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(
        ran.stdout.starts_with("copied     a -> b: 97.7 KiB in "),
        "{ran:?}"
    );
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), vec![7; 100_001]);
    assert_eq!(contents(folder.path()).len(), 2);
}

#[test]
fn several_pairs_come_from_the_line_or_from_a_file_or_from_standard_input() {
    let folder = scratch(&[
        ("a", b"one"),
        ("b", b""),
        (
            "group",
            b"{\"source\":\"a\",\"target\":\"e\"}\n\n{\"source\":\"b\",\"target\":\"f\"}",
        ),
    ]);
    let ran = copy(&folder, &["--pair", "a", "c", "--pair", "b", "d"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("2 pairs, 3 bytes"), "{ran:?}");
    let ran = copy(&folder, &["--group", "group"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let output = blockjob()
        .current_dir(&folder)
        .args(["copy", "--group", "-"])
        .stdin("{\"source\": \"a\", \"target\": \"g\"}\n")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    for (name, text) in [
        ("c", "one"),
        ("d", ""),
        ("e", "one"),
        ("f", ""),
        ("g", "one"),
    ] {
        assert_eq!(
            fs::read_to_string(folder.path().join(name)).unwrap(),
            text,
            "{name}"
        );
    }
}

#[test]
fn machine_output_is_what_its_schema_says() {
    let folder = scratch(&[("a", b"one"), ("b", b"two")]);
    let schema = schema("copy");
    for (arguments, code) in [
        (&["--json", "--dry-run", "a", "c"][..], 0),
        (&["--json", "--pair", "a", "c", "--pair", "b", "d"], 0),
        (&["--json", "a", "b"], 0),
    ] {
        let ran = copy(&folder, arguments);
        assert_eq!(ran.code, code, "{ran:?}");
        let lines = ran.json();
        assert!(!lines.is_empty());
        for line in lines {
            assert_valid(&schema, &line);
        }
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let folder = scratch(&[("a", b"one"), ("b", b"two")]);
    let before = contents(folder.path());
    let ran = copy(
        &folder,
        &["--dry-run", "--pair", "a", "b", "--pair", "a", "c"],
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.contains("would replace b from a (3 bytes)"),
        "{ran:?}"
    );
    assert!(
        ran.stdout.contains("would create c from a (3 bytes)"),
        "{ran:?}"
    );
    let total = "2 pairs, 6 bytes, of which 6 bytes are stored";
    assert_eq!(ran.stdout.lines().last(), Some(total), "{ran:?}");
    let pairs = ["--pair", "a", "b", "--pair", "a", "c"];
    let ran = copy(&folder, &[&["--dry-run", "--json"][..], &pairs].concat());
    let lines = ran.json();
    assert_eq!(
        lines[2],
        serde_json::json!({"kind": "plan-total", "pairs": 2, "size_bytes": 6, "stored_bytes": 6})
    );
    assert_eq!(lines.len(), 3);
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn files_of_holes_that_are_more_together_than_a_number_holds_are_counted_to_the_most() {
    // Where files can be as large as an offset can say.
    let folder = tempfile::tempdir_in("/dev/shm").ok().filter(|folder| {
        let file = fs::File::create(folder.path().join("a"));
        file.and_then(|file| file.set_len(i64::MAX as u64)).is_ok()
    });
    let Some(folder) = folder else {
        eprintln!("SKIP: no file in /dev/shm is large enough");
        return;
    };
    let pairs = ["--pair", "a", "b", "--pair", "a", "c", "--pair", "a", "d"];
    for options in [&["--dry-run"][..], &["--sync", "none"]] {
        let ran = copy(&folder, &[&["--json"], options, &pairs].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        let lines = ran.json();
        assert_eq!(lines.len(), 4, "{ran:?}");
        assert_eq!(lines[0]["size_bytes"], i64::MAX, "{ran:?}");
        assert_eq!(lines[3]["size_bytes"], u64::MAX, "{ran:?}");
    }
    let ran = copy(&folder, &[&["--sync", "none"], &pairs[..]].concat());
    assert!(ran.stdout.contains("3 pairs, 16.0 EiB"), "{ran:?}");
}

#[test]
fn a_name_neither_forges_a_line_nor_commands_the_terminal() {
    let forged = "x\ncopied     \u{1b}[31my";
    let folder = scratch(&[(forged, b"new")]);
    let ran = copy(&folder, &[forged, "b"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
    assert!(
        ran.stdout
            .starts_with("copied     x\\ncopied     \\u{1b}[31my -> b: "),
        "{ran:?}"
    );
    let plan = copy(&folder, &["--dry-run", forged, "c"]);
    assert_eq!(plan.stdout.lines().count(), 1, "{plan:?}");
    let refusal = copy(&folder, &["no\u{1b}[31m", "c"]);
    refusal.refused(&["no\\u{1b}[31m does not exist"]);
    // Machines get the name itself.
    let ran = copy(&folder, &["--json", forged, "b"]);
    assert_eq!(ran.json()[0]["source"], forged);
}

#[test]
fn the_trace_of_a_copy_is_what_its_schema_says() {
    let folder = scratch(&[("a", &vec![1; 300_000]), ("b", b"")]);
    let pairs = ["--pair", "a", "c", "--pair", "b", "d"];
    let ran = copy(&folder, &[&["--trace", "trace"][..], &pairs].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let schema = schema("native");
    let text = fs::read_to_string(folder.path().join("trace")).unwrap();
    let mut kinds = Vec::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_valid(&schema, &line);
        kinds.extend(line["kind"].as_str().map(str::to_owned));
    }
    for kind in ["call", "return", "status", "event", "callback", "io"] {
        assert!(kinds.iter().any(|have| have == kind), "no {kind}");
    }
}

#[test]
fn a_trace_that_cannot_be_written_is_an_error_though_the_copy_stands() {
    let folder = scratch(&[("a", b"one")]);
    let ran = copy(&folder, &["--trace", "/dev/full", "a", "b"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    ran.says(&["cannot write the trace /dev/full: No space left"]);
    assert!(ran.stdout.starts_with("copied "), "{ran:?}");
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"one");
}

#[test]
fn a_digest_and_how_it_was_copied_are_said() {
    let folder = scratch(&[("a", b"abc")]);
    let ran = copy(&folder, &["--checksum", "--verify", "-v", "a", "b"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let digest = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
    assert!(ran.stdout.contains(&format!("{digest}  b\n")), "{ran:?}");
    let how = "by buffered: 3 bytes moved; data and name are on the disk; read back and compared";
    assert!(ran.stdout.contains(how), "{ran:?}");
    let ran = copy(&folder, &["--dry-run", "-v", "a", "c"]);
    assert!(ran.stdout.contains("by clone, else buffered;"), "{ran:?}");
}
