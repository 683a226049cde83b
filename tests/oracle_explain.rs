//! Goal: whoever reads why a trace is rejected is convinced: the rule and its sentence, because and
//! but, and a history of the jobs concerned that ends at the faulty line. In every format.
//!
//! Method: the mutants of `tests/corpus/mutants`, as they are, as bare QMP, as a file and as a stream;
//! a trace log and a native trace with a line twice.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use blockjob::model::rule;
use blockjob::oracle::explain::{JOBS_MAX, ROWS_MAX};
use blockjob::oracle::{self, Explanation, Options, Verdict};

fn corpus(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(folder)
}

fn mutants() -> Vec<PathBuf> {
    let (traces, _) = oracle::traces_in(&corpus("mutants")).unwrap();
    assert!(traces.len() > 40);
    traces
}

/// The explanation of the first fault, after what must be true of each.
#[track_caller]
fn explanation(verdict: &Verdict) -> &Explanation {
    let fault = verdict.fault().unwrap_or_else(|| panic!("{verdict}"));
    let explanation = verdict.explanations.first().unwrap();
    let rule = rule::find(fault.rule).unwrap_or_else(|| panic!("{verdict}"));
    assert_eq!(
        (explanation.line, explanation.rule, explanation.sentence),
        (fault.line, rule.name, rule.sentence)
    );
    assert_eq!(explanation.section, rule.section);
    let Explanation { because, but, .. } = explanation;
    assert!(!because.is_empty() && !but.is_empty(), "{verdict}");
    assert!(
        explanation
            .message
            .ends_with(&format!("because {because}, but {but}")),
        "{verdict}"
    );
    let history = &explanation.history;
    assert_eq!(history.last().unwrap().line, fault.line, "{verdict}");
    assert!(history.len() <= ROWS_MAX, "{verdict}");
    assert!(
        history.windows(2).all(|rows| rows[0].line <= rows[1].line),
        "{verdict}"
    );
    let concerned = &explanation.concerned;
    for row in history {
        assert!(
            concerned.is_empty() || concerned.iter().take(JOBS_MAX).any(|job| *job == row.job),
            "{}: {verdict}",
            row.job
        );
        assert!(!row.what.is_empty(), "{verdict}");
    }
    explanation
}

/// The lines of a conversation as bare QMP.
fn bare(text: &str) -> String {
    let mut bare = String::new();
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        writeln!(bare, "{}", record["msg"]).unwrap();
    }
    bare
}

#[test]
fn every_mutant_is_explained_with_the_history_of_its_jobs() {
    let mut told = 0;
    for path in mutants() {
        let verdict = oracle::check(&path, &Options::default());
        let explanation = explanation(&verdict);
        // Of a job that never was there is nothing to tell.
        let nobody = explanation.rule == "unknown-job";
        assert!(nobody || explanation.history.len() > 1, "{verdict}");
        told += usize::from(!explanation.concerned.is_empty());
    }
    assert!(told > 40, "{told}");
}

#[test]
fn a_stream_and_bare_messages_are_explained_as_the_file_is() {
    for path in mutants() {
        let text = fs::read_to_string(&path).unwrap();
        let file = oracle::check(&path, &Options::default());
        let stream = oracle::check_reader("-", text.as_bytes(), &Options::default());
        assert_eq!(explanation(&file), explanation(&stream));
        let bare = oracle::check_reader("-", bare(&text).as_bytes(), &Options::default());
        let (file, bare) = (explanation(&file), explanation(&bare));
        assert_eq!((file.line, file.rule), (bare.line, bare.rule));
        let words = |explanation: &Explanation| -> Vec<(u64, String)> {
            let rows = explanation.history.iter();
            rows.map(|row| (row.line, row.what.clone())).collect()
        };
        assert_eq!(words(file), words(bare), "{}", path.display());
    }
}

#[test]
fn a_transaction_is_told_with_all_its_members() {
    let verdict = oracle::check(
        &corpus("mutants/txn-one-completes-other-failed.jsonl"),
        &Options::default(),
    );
    let explanation = explanation(&verdict);
    assert_eq!(explanation.concerned[..2], ["good", "bad"]);
    let text = verdict.to_string();
    for row in [
        "good  > transaction: backup",
        "bad   BLOCK_JOB_ERROR with action report",
        "good  status pending",
    ] {
        assert!(text.contains(row), "no {row:?} in {text}");
    }
}

#[test]
fn a_trace_log_is_explained_by_the_addresses_of_its_jobs() {
    let text = fs::read_to_string(corpus("qemu-log/backup.trace")).unwrap();
    let mut doubled = String::new();
    for line in text.lines() {
        writeln!(doubled, "{line}").unwrap();
        if line.contains("waiting-->pending") || line.contains("waiting --> pending") {
            writeln!(doubled, "{}", line.replace("allowed", "disallowed")).unwrap();
        }
    }
    assert_ne!(doubled.lines().count(), text.lines().count());
    let verdict = oracle::check_reader("-", doubled.as_bytes(), &Options::default());
    let explanation = explanation(&verdict);
    assert!(explanation.concerned[0].starts_with("0x"), "{verdict}");
    assert!(explanation.history.len() > 4, "{verdict}");
}

#[test]
fn a_native_trace_is_explained_with_its_callbacks() {
    let header = r#"{"blockjob_trace":1,"profile":"reference"}"#;
    let records = [
        r#""kind":"call","verb":"create","job":"a","type":"backup""#,
        r#""kind":"status","job":"a","status":"created""#,
        r#""kind":"return","verb":"create","job":"a","ok":true"#,
        r#""kind":"call","verb":"start","job":"a""#,
        r#""kind":"status","job":"a","status":"running""#,
        r#""kind":"return","verb":"start","job":"a","ok":true"#,
        r#""kind":"callback","job":"a","callback":"run","edge":"begin""#,
        r#""kind":"status","job":"a","status":"concluded""#,
    ];
    let mut trace = format!("{header}\n");
    for (seq, record) in records.iter().enumerate() {
        writeln!(
            trace,
            "{{\"seq\":{seq},\"t_ns\":{},\"thread\":\"main\",\"group\":null,{record}}}",
            seq * 1000
        )
        .unwrap();
    }
    let verdict = oracle::check_reader("-", trace.as_bytes(), &Options::default());
    let explanation = explanation(&verdict);
    assert_eq!(explanation.rule, "status-transition");
    let what: Vec<&str> = explanation
        .history
        .iter()
        .map(|row| row.what.as_str())
        .collect();
    assert_eq!(what[0], "> create");
    assert!(what.contains(&"callback run begins"), "{what:?}");
    assert_eq!(what.last(), Some(&"status concluded"));
}

#[test]
fn a_long_history_is_folded_and_says_so() {
    let text = fs::read_to_string(corpus("mutants/double-null.jsonl")).unwrap();
    let mut long = String::new();
    for line in text.lines() {
        writeln!(long, "{line}").unwrap();
        if line.contains("\"running\"") && line.contains("JOB_STATUS_CHANGE") {
            for _ in 0..500 {
                writeln!(long, "{}", line.replace("running", "paused")).unwrap();
                writeln!(long, "{line}").unwrap();
            }
        }
    }
    let verdict = oracle::check_reader("-", long.as_bytes(), &Options::default());
    let explanation = explanation(&verdict);
    assert_eq!(explanation.rule, "status-after-null", "{verdict}");
    assert!(explanation.left_out > 900, "{verdict}");
    assert!(verdict.to_string().contains("lines of these jobs left out"));
}

/// The id is asked for again before the job that has it is gone, as a client does that does not wait for answers.
#[test]
fn the_command_that_makes_a_job_is_told_though_it_was_written_before_the_one_before_was_gone() {
    let mut text = String::new();
    let mut says = |dir: &str, message: serde_json::Value| {
        let line = serde_json::json!({"dir": dir, "msg": message});
        writeln!(text, "{line}").unwrap();
    };
    let create = |id: u32| {
        serde_json::json!({"execute": "blockdev-backup", "id": id, "arguments": {"job-id": "j0", "device": "d",
            "target": "t", "sync": "full", "auto-dismiss": false}})
    };
    let status = |status: &str| serde_json::json!({"event": "JOB_STATUS_CHANGE", "data": {"id": "j0", "status": status}});
    let well = |id: u32| serde_json::json!({"return": {}, "id": id});
    says(
        "<",
        serde_json::json!({"QMP": {"version": {"qemu": {"major": 10, "minor": 0}}}}),
    );
    says(">", create(1));
    says("<", status("created"));
    says("<", status("running"));
    says("<", well(1));
    says("<", status("waiting"));
    says("<", status("pending"));
    says(
        "<",
        serde_json::json!({"event": "BLOCK_JOB_COMPLETED", "data": {"device": "j0", "type": "backup", "len": 1, "offset": 1,
            "speed": 0}}),
    );
    says("<", status("concluded"));
    says(
        ">",
        serde_json::json!({"execute": "job-dismiss", "id": 2, "arguments": {"id": "j0"}}),
    );
    says(">", create(3));
    says("<", status("null"));
    says("<", well(2));
    says("<", status("created"));
    says("<", status("running"));
    says("<", well(3));
    says("<", status("running"));
    let verdict = oracle::check_reader("made", text.as_bytes(), &Options::default());
    let history = &explanation(&verdict).history;
    let told: Vec<(u64, &str)> = history
        .iter()
        .map(|row| (row.line, row.what.as_str()))
        .collect();
    assert_eq!(told[0], (11, "> blockdev-backup"), "{verdict}");
    assert!(told.iter().all(|(line, _)| *line >= 11), "{verdict}");
}
