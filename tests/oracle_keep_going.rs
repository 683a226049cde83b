//! Goal: behind a fault the judgement goes on and finds what else is wrong, and nothing that only
//! follows from what was found.
//!
//! Method: every mutant of `tests/corpus/mutants` has one fault, and so one is found; of two in one
//! conversation, one behind the other or with their jobs side by side, both are found and no third; the
//! first one, and with it the verdict, is always that of judging without going on.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use blockjob::model::Profile;
use blockjob::oracle::{self, Options, Verdict};
use serde_json::Value;

const GOES_ON: Options = Options {
    profile: None,
    format: None,
    observer: oracle::Observer::Auto,
    extent: oracle::Extent::Auto,
    keep_going: true,
    live: false,
};

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// What was found, in order: rule and line.
fn found(verdict: &Verdict) -> Vec<(&'static str, u64)> {
    verdict
        .fault()
        .into_iter()
        .chain(&verdict.further)
        .map(|fault| (fault.rule, fault.line))
        .collect()
}

fn check(trace: &str) -> Verdict {
    check_by(trace, None)
}

fn check_by(trace: &str, profile: Option<&'static Profile>) -> Verdict {
    let by = |options: Options| Options { profile, ..options };
    let verdict = oracle::check_reader("-", trace.as_bytes(), &by(GOES_ON));
    let first = oracle::check_reader("-", trace.as_bytes(), &by(Options::default()));
    assert_eq!(verdict.fault(), first.fault(), "{verdict}");
    assert_eq!(verdict.profile, first.profile, "{verdict}");
    assert_eq!(
        verdict.explanations.len(),
        found(&verdict).len(),
        "{verdict}"
    );
    verdict
}

/// A mutant's lines behind the handshake and before the end of the daemon, with ids of its own, and
/// what it is rejected for: the rule, and at which of these lines.
struct Part {
    name: String,
    lines: Vec<String>,
    fault: (&'static str, usize),
}

/// The mutant `name`, if every job of it is gone in the end and every command answered, so that others
/// may follow.
fn part(path: &Path, turn: usize) -> Option<Part> {
    let text = fs::read_to_string(path).unwrap();
    let verdict = oracle::check(path, &Options::default());
    let fault = verdict.fault().unwrap();
    let (mut ids, mut alive) = (BTreeSet::new(), BTreeSet::new());
    let mut open = 0_i64;
    let mut lines = Vec::new();
    let mut at = None;
    for (number, line) in text.lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        let message = &record["msg"];
        if message.get("QMP").is_some() {
            continue;
        }
        if message["execute"] == "quit" {
            break;
        }
        if message["event"] == "JOB_STATUS_CHANGE" {
            let id = message["data"]["id"].as_str()?.to_owned();
            ids.insert(id.clone());
            if message["data"]["status"] == "null" {
                alive.remove(&id);
            } else {
                alive.insert(id);
            }
        }
        open += i64::from(record["dir"] == ">");
        open -= i64::from(message.get("return").is_some() || message.get("error").is_some());
        if number as u64 + 1 == fault.line {
            at = Some(lines.len());
        }
        lines.push(line.to_owned());
    }
    if !alive.is_empty() || open != 0 {
        return None;
    }
    for line in &mut lines {
        for id in &ids {
            *line = line
                .replace(&format!("\"{id}\""), &format!("\"{id}-{turn}\""))
                .replace(&format!("'{id}'"), &format!("'{id}-{turn}'"));
        }
        *line = line.replace("\"id\": \"c", &format!("\"id\": \"c{turn}-"));
    }
    let mut alone = format!("{GREETING}\n");
    for line in &lines {
        writeln!(alone, "{line}").unwrap();
    }
    // An id that is also something else's name cannot be made another.
    let verdict = oracle::check_reader("-", alone.as_bytes(), &GOES_ON);
    if found(&verdict) != [(fault.rule, at? as u64 + 2)] {
        return None;
    }
    Some(Part {
        name: path.file_stem()?.to_str()?.to_owned(),
        lines,
        fault: (fault.rule, at?),
    })
}

fn parts() -> Vec<Part> {
    let (mutants, _) = oracle::traces_in(&corpus().join("mutants")).unwrap();
    let parts: Vec<Part> = mutants
        .iter()
        .enumerate()
        .filter_map(|(turn, path)| part(path, turn))
        .collect();
    assert!(parts.len() > 20, "{}", parts.len());
    parts
}

const GREETING: &str =
    r#"{"dir":"<","msg":{"QMP":{"version":{"qemu":{"major":10,"minor":0}},"capabilities":[]}}}"#;

#[test]
fn one_fault_is_one_and_not_a_cascade() {
    let (mutants, _) = oracle::traces_in(&corpus().join("mutants")).unwrap();
    for path in mutants {
        let verdict = check(&fs::read_to_string(&path).unwrap());
        assert!(verdict.further.is_empty(), "{}: {verdict}", path.display());
    }
}

#[test]
fn a_trace_log_and_a_native_trace_go_on_too() {
    let log = fs::read_to_string(corpus().join("qemu-log/backup.trace")).unwrap();
    let wrong = log
        .replacen(
            "allowed transition (waiting-->pending)",
            "disallowed transition (waiting-->pending)",
            1,
        )
        .replacen(
            "allowed transition (concluded-->null)",
            "disallowed transition (concluded-->null)",
            1,
        );
    let verdict = check(&wrong);
    assert_eq!(found(&verdict).len(), 2, "{verdict}");
    assert!(
        found(&verdict)
            .iter()
            .all(|(rule, _)| *rule == "table-contradicted")
    );

    let mut native = "{\"blockjob_trace\":1,\"profile\":\"reference\"}\n".to_owned();
    let mut seq = 0;
    let mut add = |job: &str, records: &[&str]| {
        for record in records {
            seq += 1;
            writeln!(
                native,
                "{{\"seq\":{seq},\"t_ns\":0,\"thread\":\"m\",\"group\":null,{}}}",
                record.replace("JOB", job)
            )
            .unwrap();
        }
    };
    let begins = [
        r#""kind":"call","verb":"create","job":"JOB","type":"backup""#,
        r#""kind":"status","job":"JOB","status":"created""#,
        r#""kind":"return","verb":"create","job":"JOB","ok":true"#,
        r#""kind":"call","verb":"start","job":"JOB""#,
        r#""kind":"status","job":"JOB","status":"running""#,
        r#""kind":"return","verb":"start","job":"JOB","ok":true"#,
    ];
    let wrong = [r#""kind":"status","job":"JOB","status":"standby""#];
    add("a", &begins);
    add("b", &begins);
    add("a", &wrong);
    add(
        "b",
        &[r#""kind":"return","verb":"pause","job":"JOB","ok":true"#],
    );
    add("b", &wrong);
    let verdict = check(&native);
    let rules: Vec<&str> = found(&verdict).iter().map(|(rule, _)| *rule).collect();
    assert_eq!(
        rules,
        [
            "status-transition",
            "reply-without-call",
            "status-transition"
        ],
        "{verdict}"
    );
}

/// A conversation as libvirt logs it, with its numbers; a message a line.
fn libvirt(lines: &[String]) -> String {
    let mut log = String::new();
    let (mut asked, mut answered) = (0, 0);
    for line in lines {
        let record: Value = serde_json::from_str(line).unwrap();
        let mut message = record["msg"].clone();
        let event = message.get("event").is_some();
        let (count, begins) = match (record["dir"] == ">", event) {
            (true, _) => (&mut asked, "QEMU_MONITOR_SEND_MSG: mon=0x7f1 msg="),
            (false, true) => (&mut 0, "QEMU_MONITOR_RECV_EVENT: mon=0x7f1 event="),
            (false, false) => (&mut answered, "QEMU_MONITOR_RECV_REPLY: mon=0x7f1 reply="),
        };
        *count += 1;
        if !event {
            message["id"] = format!("libvirt-{count}").into();
        }
        writeln!(log, "{begins}{message}").unwrap();
    }
    log
}

#[test]
fn a_log_of_libvirt_goes_on_too_and_a_gap_is_no_fault() {
    let parts: Vec<Part> = parts()
        .into_iter()
        // One answer to each command, and libvirt has one under way at a time.
        .filter(|part| {
            let mut open = 0;
            part.lines.iter().all(|line| {
                open += i64::from(line.contains("\"dir\": \">\""));
                open -=
                    i64::from(line.contains("\"return\"") || line.contains("\"error\": {\"class"));
                (0..2).contains(&open)
            })
        })
        .collect();
    let (mut both, mut torn, profile) = (0, 0, Profile::by_name("qemu-10.0"));
    for (place, one) in parts.iter().enumerate() {
        let two = &parts[(place + 1) % parts.len()];
        let alone = check_by(&libvirt(&one.lines), profile);
        let known = (one.fault.0, one.fault.1 as u64 + 1);
        assert_eq!(found(&alone), [known], "{}: {alone}", one.name);
        let lines: Vec<String> = one.lines.iter().chain(&two.lines).cloned().collect();
        let log = libvirt(&lines);
        let verdict = check_by(&log, profile);
        let expected = [
            known,
            (two.fault.0, (one.lines.len() + two.fault.1) as u64 + 1),
        ];
        assert_eq!(found(&verdict), expected, "{} + {}", one.name, two.name);
        both += 1;

        // A command is missing behind the fault: if that was an event's, it may have been what the command did.
        let next = one.lines[one.fault.1 + 1..]
            .iter()
            .position(|line| line.contains("\"execute\""));
        let next = next.map_or(one.lines.len(), |next| one.fault.1 + 1 + next);
        let is_event = |line: &&String| line.contains("\"event\"");
        let before = one.lines[..one.fault.1]
            .iter()
            .rfind(|line| !is_event(line));
        // While a command is under way there is no other, so nothing is missing.
        let idle = before.is_none_or(|line| !line.contains("\"dir\": \">\""));
        if idle && is_event(&&one.lines[one.fault.1]) {
            torn += 1;
            let left = log.split_inclusive('\n').enumerate();
            let gone: String = left
                .filter(|(at, _)| *at != next)
                .map(|(_, line)| line)
                .collect();
            let verdict = check_by(&gone, profile);
            let second = (expected[1].0, expected[1].1 - 1);
            assert!(
                found(&verdict).iter().all(|fault| *fault == second),
                "{} + {}: {verdict}",
                one.name,
                two.name
            );
        }
    }
    assert!(both > 15 && torn > 3, "{both} {torn}");
}

#[test]
fn good_recordings_stay_good() {
    for folder in ["live-10.0", "live-7.2", "traps"] {
        let (traces, _) = oracle::traces_in(&corpus().join(folder)).unwrap();
        for path in traces {
            let verdict = oracle::check(&path, &GOES_ON);
            assert_eq!(found(&verdict), [], "{verdict}");
        }
    }
}

#[test]
fn two_faults_in_one_conversation_are_both_found_and_no_third() {
    let parts = parts();
    let (mut missed, mut pairs) = (String::new(), 0);
    for (place, one) in parts.iter().enumerate() {
        let two = &parts[(place + 1) % parts.len()];
        let mut trace = format!("{GREETING}\n");
        for line in one.lines.iter().chain(&two.lines) {
            writeln!(trace, "{line}").unwrap();
        }
        let verdict = check(&trace);
        let expected = [
            (one.fault.0, one.fault.1 as u64 + 2),
            (two.fault.0, (one.lines.len() + two.fault.1) as u64 + 2),
        ];
        pairs += 1;
        let found = found(&verdict);
        assert!(
            found.iter().all(|fault| expected.contains(fault)) && found[0] == expected[0],
            "{} + {}: {found:?} in place of {expected:?}",
            one.name,
            two.name
        );
        if found != expected {
            writeln!(
                missed,
                "{} + {}: {found:?} in place of {expected:?}",
                one.name, two.name
            )
            .unwrap();
        }
    }
    assert_eq!(missed, "", "of {pairs}");
}
