//! Goal: `blockjob check` keeps its contract: verdict lines, exit codes, machine output, and a clear
//! word on everything that is no trace.
//! Method: run it on the recorded conversations, on fresh traces of our own, and on broken files.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs;
use std::path::Path;

use cli_support::{Ran, assert_valid, blockjob, run, schema};
use tempfile::TempDir;

const GOOD: &str = "tests/corpus/live-10.0/backup-default.jsonl";
const MUTANT: &str = "tests/corpus/mutants/aborting-to-pending.jsonl";

/// A scratch folder with one file in it.
fn scratch(name: &str, contents: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), contents).unwrap();
    folder
}

/// Runs `check` on the file `name` in `folder`.
fn check(folder: &TempDir, name: &str) -> Ran {
    let output = blockjob()
        .current_dir(folder)
        .args(["check", name])
        .output()
        .unwrap();
    Ran::from(output)
}

#[test]
fn a_good_trace_is_accepted_on_one_line() {
    let ran = run(["check", GOOD]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(
        ran.stdout.starts_with(&format!("accept {GOOD} events=")),
        "{ran:?}"
    );
    assert!(ran.stdout.contains(" profile=qemu-10.0"), "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 1);
}

#[test]
fn a_bad_trace_is_rejected_at_its_line_with_what_was_allowed() {
    let ran = run(["check", MUTANT]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    assert!(
        ran.stdout.starts_with(&format!("reject {MUTANT}:22 rule=")),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("\n    allowed: "), "{ran:?}");
}

#[test]
fn what_is_left_out_of_a_recording_that_is_whole_is_a_fault() {
    let text = fs::read_to_string(GOOD).unwrap();
    let without = |statuses: &[&str]| {
        let named = |line: &&str| !statuses.iter().any(|status| line.contains(status));
        let kept: Vec<&str> = text.lines().filter(named).collect();
        assert_eq!(text.lines().count() - kept.len(), statuses.len());
        scratch("a.jsonl", kept.join("\n").as_bytes())
    };
    let check = |folder: &TempDir, options: &[&str]| {
        let path = folder.path().join("a.jsonl");
        run([&["check"], options, &[path.to_str().unwrap()]].concat())
    };
    // Of one job two in a row are no habit of whoever wrote it down; three are.
    let two = check(&without(&["waiting", "pending"]), &[]);
    assert_eq!(two.code, 1, "{two:?}");
    let three = without(&["waiting", "pending", "concluded"]);
    let found_out = check(&three, &[]);
    assert_eq!(found_out.code, 0, "{found_out:?}");
    assert!(
        found_out.stdout.contains("events were left out"),
        "{found_out:?}"
    );
    let whole = check(&three, &["--whole"]);
    assert_eq!(whole.code, 1, "{whole:?}");
    assert!(whole.stdout.contains("rule="), "{whole:?}");
    let check = |options: &[&str]| check(&three, options);
    assert_eq!(check(&["--whole", "--filtered"]).code, 2);
}

#[test]
fn machine_output_is_what_its_schema_says() {
    let schema = schema("check");
    let folder = scratch("t", b"{}\n");
    let broken = folder.path().join("t").display().to_string();
    let ran = run(["check", "--json", GOOD, MUTANT, &broken]);
    assert_eq!(ran.code, 1, "a rejection outranks an error: {ran:?}");
    let lines = ran.json();
    for line in &lines {
        assert_valid(&schema, line);
    }
    let verdicts: Vec<_> = lines.iter().map(|line| line["verdict"].clone()).collect();
    assert_eq!(verdicts, ["accept", "reject", "error"]);
}

#[test]
fn every_mutant_s_machine_output_is_what_its_schema_says() {
    let schema = schema("check");
    let ran = run(["check", "--json", "tests/corpus/mutants"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let lines = ran.json();
    assert!(lines.len() > 40);
    for line in &lines {
        assert_valid(&schema, line);
        for key in ["sentence", "because", "but", "history"] {
            assert!(line.get(key).is_some(), "no {key} in {line:#}");
        }
    }
}

#[test]
fn further_faults_are_listed_where_they_are_asked_for() {
    let mutant = fs::read_to_string(MUTANT).unwrap();
    // Bare, and so with no version named once its greeting is gone.
    let mut trace = String::new();
    for line in mutant.lines().filter(|line| !line.contains("\"QMP\"")) {
        trace.push_str(line);
        trace.push('\n');
    }
    trace.push_str("{\"dir\":\"<\",\"msg\":{\"event\":\"JOB_STATUS_CHANGE\",\"data\":{\"id\":5,\"status\":\"null\"}}}\n");
    let folder = scratch("t.jsonl", trace.as_bytes());
    let path = folder.path().join("t.jsonl").display().to_string();
    let [first, all] = [
        &["check", &path, "--json"][..],
        &["check", &path, "--json", "--keep-going"],
    ]
    .map(|arguments| run(arguments).json().remove(0));
    let schema = schema("check");
    assert_valid(&schema, &first);
    assert_valid(&schema, &all);
    assert!(first.get("faults").is_none(), "{first:#}");
    assert_eq!(all["faults"].as_array().unwrap().len(), 2, "{all:#}");
    assert_eq!(
        (&all["line"], &all["rule"]),
        (&first["line"], &first["rule"])
    );
    assert_eq!(all["faults"][0]["line"], first["line"]);
    let profiles = all["profiles"].as_array().unwrap();
    assert!(profiles.len() > 5, "{all:#}");
    assert!(
        profiles.iter().all(|tried| tried["fits"] == false),
        "{all:#}"
    );
    let ran = run(["check", &path, "--keep-going"]);
    assert!(ran.stdout.contains("\n  further: line "), "{ran:?}");
    assert!(ran.stdout.contains("none fits: "), "{ran:?}");
}

#[test]
fn a_trace_is_shrunk_into_a_file_that_is_rejected_by_the_same_rule() {
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("short.jsonl").display().to_string();
    let ran = run(["check", MUTANT, "--shrink", &short]);
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.says(&["entries up to the fault show it", "short.jsonl"]);
    let again = run(["check", &short]);
    let lines = fs::read_to_string(&short).unwrap().lines().count();
    let says = format!("reject {short}:{lines} rule=status-transition");
    assert!(again.stdout.starts_with(&says), "{again:?}");
    assert!(lines < 10, "{lines}");
    let good = run(["check", GOOD, "--shrink", &short]);
    assert_eq!(good.code, 0, "{good:?}");
    good.says(&["nothing was shrunk"]);
    run(["check", GOOD, MUTANT, "--shrink", &short]).refused(&["one trace"]);
    run(["check", "-", "--shrink", &short]).refused(&["a file"]);
    let copy = folder.path().join("copy.jsonl");
    fs::copy(MUTANT, &copy).unwrap();
    run([Path::new("check"), &copy, Path::new("--shrink"), &copy]).refused(&["overwrite"]);
    let lost = folder.path().join("no/such/folder").display().to_string();
    let ran = run(["check", MUTANT, "--shrink", &lost]);
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.says(&["cannot write"]);
}

#[test]
fn a_folder_is_read_by_its_extensions_and_the_rest_is_counted() {
    let folder = scratch("notes.txt", b"no trace");
    fs::copy(GOOD, folder.path().join("a.jsonl")).unwrap();
    let ran = check(&folder, ".");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("accept ./a.jsonl "), "{ran:?}");
    ran.says(&["1 other entries were not read", "*.jsonl"]);
    fs::remove_file(folder.path().join("a.jsonl")).unwrap();
    check(&folder, ".").refused(&["the folder . holds no trace"]);
}

#[test]
fn standard_input_is_a_trace_too() {
    let output = blockjob()
        .args(["check", "-"])
        .stdin(fs::read(GOOD).unwrap())
        .output()
        .unwrap();
    let ran = Ran::from(output);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("accept - "), "{ran:?}");
}

#[test]
fn our_own_copies_leave_traces_that_are_accepted() {
    let folder = scratch("a", &vec![5; 3_000_000]);
    fs::write(folder.path().join("b"), b"").unwrap();
    for pairs in [&["a", "c"][..], &["--pair", "a", "c", "--pair", "b", "d"]] {
        let output = blockjob()
            .current_dir(&folder)
            .args(["copy", "--chunk", "64K", "--trace", "t.jsonl"])
            .args(pairs)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let ran = check(&folder, "t.jsonl");
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains("profile=reference"), "{ran:?}");
    }
}

#[test]
fn a_line_taken_out_of_our_own_trace_is_found() {
    let folder = scratch("a", &[5; 3000]);
    let output = blockjob()
        .current_dir(&folder)
        .args(["copy", "--trace", "t.jsonl", "a", "b"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let path = folder.path().join("t.jsonl");
    let trace = fs::read_to_string(&path).unwrap();
    for taken in [
        "\"status\":\"waiting\"",
        "\"callback\":\"commit\",\"edge\":\"begin\"",
        "BLOCK_JOB_COMPLETED",
    ] {
        assert!(trace.contains(taken), "{taken}: {trace}");
        let rest: Vec<&str> = trace.lines().filter(|line| !line.contains(taken)).collect();
        fs::write(&path, rest.join("\n") + "\n").unwrap();
        let ran = check(&folder, "t.jsonl");
        assert_eq!(ran.code, 1, "without {taken}: {ran:?}");
    }
}

#[test]
fn what_is_no_trace_is_an_error_that_says_where() {
    let good = fs::read_to_string(GOOD).unwrap();
    let broken = good.lines().take(3).collect::<Vec<_>>().join("\n") + "\n{\"dir\": oops}\n";
    for (contents, words) in [
        (&b""[..], "it is empty"),
        (b"\n\n", "it is empty"),
        (b"hello\n", "line 1"),
        (b"{\"a\":1}\n", "line 1"),
        (b"[1,2]\n", "line 1"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (
            b"{\"blockjob_trace\":1,\"profile\":\"qemu-0.1\"}\n",
            "qemu-0.1",
        ),
        (
            b"{\"blockjob_trace\":1,\"profile\":\"reference\"}\n",
            "nothing to judge",
        ),
        (broken.as_bytes(), "line 4"),
    ] {
        let folder = scratch("t", contents);
        let ran = check(&folder, "t");
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stdout.starts_with("error t "), "{ran:?}");
        assert!(ran.stdout.contains(words), "no {words:?} in {ran:?}");
        ran.says(&["the trace could not be judged", "tip: "]);
    }
}

#[test]
fn what_cannot_be_read_is_an_error_that_says_what() {
    let folder = scratch("t", b"");
    let ran = check(&folder, "missing");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stdout.starts_with("error missing "), "{ran:?}");
    assert!(ran.stdout.contains("No such file"), "{ran:?}");
    run(["check"]).refused(&["<TRACE>"]);
}

#[test]
fn unknown_names_are_usage_errors_that_list_the_known_ones() {
    run(["check", "--profile", "qemu-0.1", GOOD]).refused(&["qemu-0.1", "qemu-10.0", "auto"]);
    run(["check", "--format", "xml", GOOD]).refused(&["xml", "native"]);
    run(["check", "--observer", "me", GOOD]).refused(&["me", "sole"]);
}

#[test]
fn the_profile_and_the_format_can_be_chosen() {
    let ran = run([
        "check",
        "--profile",
        "qemu-7.2",
        "--format",
        "qmp",
        "--observer",
        "sole",
        GOOD,
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("profile=qemu-7.2"), "{ran:?}");
    let ran = run(["check", "--format", "native", GOOD]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(Path::new(GOOD).exists());
}

#[test]
fn a_name_neither_forges_a_verdict_nor_commands_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let name = "x\naccept \u{1b}[31my.jsonl";
    std::fs::write(folder.path().join(name), "{}").unwrap();
    let output = blockjob()
        .current_dir(&folder)
        .args(["check", name])
        .output()
        .unwrap();
    let ran = Ran::from(output);
    assert_eq!(ran.code, 2, "{ran:?}");
    let line = "error x\\naccept \\u{1b}[31my.jsonl line 1: ";
    assert!(ran.stdout.starts_with(line), "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
}
