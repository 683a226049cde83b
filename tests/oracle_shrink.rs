//! Goal: a shrunk trace shows the same fault, in its own format, and every entry left is needed.
//!
//! Method: shrink the mutants of `tests/corpus/mutants`, as they are, as bare QMP in one line and over
//! many, and a trace log and a native trace with a fault; judge what is left, and what is left without
//! each single entry of it.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use blockjob::oracle::{self, Options, ShrinkError, Shrunk};

fn corpus(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(folder)
}

fn rule_and_line(trace: &[u8]) -> Option<(&'static str, u64)> {
    let verdict = oracle::check_reader("-", trace, &Options::default());
    verdict.fault().map(|fault| (fault.rule, fault.line))
}

/// Shrinks a trace; what is left shows the same fault, in its last entry or, where only what follows
/// shows it, before; `ends` says where entries end.
#[track_caller]
fn shrink(trace: &str) -> Shrunk {
    let verdict = oracle::check_reader("-", trace.as_bytes(), &Options::default());
    let fault = verdict.fault().unwrap_or_else(|| panic!("{verdict}"));
    let shrunk = oracle::shrink_reader(trace.as_bytes(), &Options::default(), fault).unwrap();
    assert!(shrunk.minimal, "{verdict}");
    let (rule, _) = rule_and_line(&shrunk.trace).unwrap_or_else(|| panic!("{verdict}"));
    assert_eq!(rule, fault.rule, "{verdict}");
    shrunk
}

/// The faulty line is the last one, and without any other single line the fault is gone or another.
#[track_caller]
fn needs_every_line(name: &str, shrunk: &Shrunk, last: bool) {
    let text = String::from_utf8(shrunk.trace.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), shrunk.entries, "{name}: {text}");
    let (rule, faulty) = rule_and_line(text.as_bytes()).unwrap();
    assert_eq!(faulty == lines.len() as u64, last, "{name}: {text}");
    for out in 0..lines.len() {
        if out as u64 + 1 == faulty {
            continue;
        }
        let mut fewer = String::new();
        for (place, line) in lines.iter().enumerate() {
            if place != out {
                writeln!(fewer, "{line}").unwrap();
            }
        }
        let moved = faulty - u64::from((out as u64) < faulty);
        assert_ne!(
            rule_and_line(fewer.as_bytes()),
            Some((rule, moved)),
            "{name}: line {} is not needed in {text}",
            out + 1
        );
    }
}

#[test]
fn every_mutant_is_shrunk_to_what_shows_its_fault() {
    let (mutants, _) = oracle::traces_in(&corpus("mutants")).unwrap();
    let (mut left, mut of) = (0, 0);
    for path in &mutants {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let shrunk = shrink(&fs::read_to_string(path).unwrap());
        // Only that the daemon goes on after it shows that it was not stopped from outside.
        let last = !["user-pause-ends-by-itself", "cancelled-without-cancel"].contains(&name);
        needs_every_line(name, &shrunk, last);
        left += shrunk.entries;
        of += shrunk.of;
    }
    assert!(left * 3 < of, "{left} of {of} entries are left");
}

#[test]
fn bare_messages_are_left_out_whole() {
    for name in [
        "double-null",
        "verb-accepted-unknown-id",
        "reply-order-swapped",
    ] {
        let text = fs::read_to_string(corpus(&format!("mutants/{name}.jsonl"))).unwrap();
        let mut lines = String::new();
        let mut pretty = String::new();
        for line in text.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            writeln!(lines, "{}", record["msg"]).unwrap();
            writeln!(
                pretty,
                "{}",
                serde_json::to_string_pretty(&record["msg"]).unwrap()
            )
            .unwrap();
        }
        let (lines, pretty) = (shrink(&lines), shrink(&pretty));
        needs_every_line(name, &lines, true);
        assert_eq!(
            (lines.entries, lines.of),
            (pretty.entries, pretty.of),
            "{name}"
        );
        let left: Vec<serde_json::Value> = serde_json::Deserializer::from_slice(&pretty.trace)
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(left.len(), pretty.entries, "{name}");
    }
}

#[test]
fn a_trace_log_and_a_native_trace_are_shrunk_too() {
    let log = fs::read_to_string(corpus("qemu-log/backup.trace")).unwrap();
    let wrong = log.replacen(
        "allowed transition (waiting-->pending)",
        "disallowed transition (waiting-->pending)",
        1,
    );
    assert_ne!(wrong, log);
    let shrunk = shrink(&wrong);
    needs_every_line("log", &shrunk, true);
    assert!(shrunk.entries < shrunk.of, "{shrunk:?}");

    let mut native = "{\"blockjob_trace\":1,\"profile\":\"reference\"}\n".to_owned();
    let mut seq = 0;
    for job in ["a", "b"] {
        for record in [
            r#""kind":"call","verb":"create","job":"JOB","type":"backup""#,
            r#""kind":"status","job":"JOB","status":"created""#,
            r#""kind":"return","verb":"create","job":"JOB","ok":true"#,
            r#""kind":"call","verb":"start","job":"JOB""#,
            r#""kind":"status","job":"JOB","status":"running""#,
            r#""kind":"return","verb":"start","job":"JOB","ok":true"#,
        ] {
            seq += 1;
            let record = record.replace("JOB", job);
            writeln!(
                native,
                "{{\"seq\":{seq},\"t_ns\":0,\"thread\":\"m\",\"group\":null,{record}}}"
            )
            .unwrap();
        }
    }
    native.push_str(
        r#"{"seq":99,"t_ns":0,"thread":"m","group":null,"kind":"status","job":"b","status":"concluded"}"#,
    );
    native.push('\n');
    let shrunk = shrink(&native);
    needs_every_line("native", &shrunk, true);
    let left = String::from_utf8(shrunk.trace).unwrap();
    assert!(!left.contains("\"job\":\"a\""), "{left}");
}

#[test]
fn of_a_recording_that_leaves_events_out_what_is_left_is_refused_for_the_same() {
    let line = |message: serde_json::Value| {
        format!(
            "{}\n",
            serde_json::json!({"t": 0, "dir": "<", "msg": message})
        )
    };
    let status = |job: &str, status: &str| {
        line(
            serde_json::json!({"event": "JOB_STATUS_CHANGE", "data": {"id": job, "status": status}}),
        )
    };
    let mut trace = line(
        serde_json::json!({"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10},
        "package": ""}, "capabilities": []}}),
    );
    for job in ["a", "b", "c"] {
        let completed = serde_json::json!({"event": "BLOCK_JOB_COMPLETED",
            "data": {"device": job, "type": "stream", "len": 8, "offset": 8, "speed": 0}});
        trace += &status(job, "created");
        trace += &status(job, "running");
        trace += &line(completed);
        trace += &status(job, "concluded");
        trace += &status(job, "null");
    }
    trace += &status("d", "created");
    trace += &status("d", "running");
    trace += &status("d", "created");
    let shrunk = shrink(&trace);
    let left = String::from_utf8(shrunk.trace).unwrap();
    assert_eq!(
        rule_and_line(left.as_bytes()),
        Some(("id-in-use", shrunk.entries as u64))
    );
    assert!(shrunk.entries < shrunk.of, "{left}");
}

#[test]
fn what_does_not_show_the_fault_any_more_is_not_shrunk() {
    let mutant = fs::read_to_string(corpus("mutants/double-null.jsonl")).unwrap();
    let verdict = oracle::check_reader("-", mutant.as_bytes(), &Options::default());
    let fault = verdict.fault().unwrap();
    let good = fs::read(corpus("live-10.0/backup-default.jsonl")).unwrap();
    let error = oracle::shrink_reader(good.as_slice(), &Options::default(), fault).unwrap_err();
    assert!(matches!(error, ShrinkError::Changed { .. }), "{error}");
}

#[test]
fn of_a_log_of_libvirt_messages_are_left_out_whole() {
    for name in [
        "double-null",
        "verb-accepted-unknown-id",
        "aborting-to-pending",
    ] {
        let text = fs::read_to_string(corpus(&format!("mutants/{name}.jsonl"))).unwrap();
        let mut log = String::new();
        for line in text.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let message = &record["msg"];
            let stamp = "2026-01-02 03:04:05.678+0000: 4711: info :";
            if record["dir"] == ">" {
                // As libvirt writes it: the file descriptor in a line of its own.
                writeln!(log, "{stamp} qemuMonitorSend:864 : QEMU_MONITOR_SEND_MSG: mon=0x7f1 msg={message}\r\n fd=-1").unwrap();
            } else if message.get("QMP").is_some() {
                writeln!(
                    log,
                    "{stamp} qemuMonitorJSONIOProcessLine:236 : Line [{message}]"
                )
                .unwrap();
            } else {
                let what = if message.get("event").is_some() {
                    "EVENT: mon=0x7f1 event"
                } else {
                    "REPLY: mon=0x7f1 reply"
                };
                writeln!(
                    log,
                    "{stamp} qemuMonitorJSONIOProcessLine:236 : QEMU_MONITOR_RECV_{what}={message}"
                )
                .unwrap();
            }
        }
        let shrunk = shrink(&log);
        let text = String::from_utf8(shrunk.trace.clone()).unwrap();
        let entries = text.lines().filter(|line| !line.starts_with(' ')).count();
        assert_eq!(entries, shrunk.entries, "{name}: {text}");
        assert!(shrunk.entries * 2 < shrunk.of, "{name}: {text}");
        assert_eq!(
            text.matches("msg={").count(),
            text.matches(" fd=-1").count(),
            "{name}: {text}"
        );
    }
}
