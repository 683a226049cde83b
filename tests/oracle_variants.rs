//! Goal: a recording that leaves things out, begins late, ends early or is written otherwise is no fault.
//!
//! Method: every real recording of `tests/corpus` is varied in the ways in which recordings differ that people keep:
//! whole kinds of events, commands or answers are left out; it begins or ends at some line; it shows one job of
//! several, or several clients; it is written as bare objects, over many lines, as Python prints them. What is left is
//! still what happened, so every variant must be accepted; how many there were of each kind, and how many were refused,
//! is printed (`--nocapture`).

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod recordings;

use std::collections::BTreeMap;

use blockjob::oracle::{self, Options, check_reader};
use recordings::{recordings, written};
use serde_json::{Value, json};

fn event(line: &Value) -> &str {
    line["msg"]["event"].as_str().unwrap_or_default()
}

fn status(line: &Value) -> Option<&str> {
    (event(line) == "JOB_STATUS_CHANGE").then(|| line["msg"]["data"]["status"].as_str())?
}

fn is_command(line: &Value) -> bool {
    line["dir"] == ">"
}

fn is_reply(line: &Value) -> bool {
    let message = &line["msg"];
    message.get("return").is_some() || message.get("error").is_some()
}

fn is_greeting(line: &Value) -> bool {
    line["msg"].get("QMP").is_some()
}

/// The job an event is about.
fn job(line: &Value) -> Option<&str> {
    let data = &line["msg"]["data"];
    data["id"].as_str().or_else(|| data["device"].as_str())
}

/// For each reply, the place of its command: they are answered in order.
fn commands(lines: &[Value]) -> BTreeMap<usize, usize> {
    let asked = (0..lines.len()).filter(|&place| is_command(&lines[place]));
    let answered = (0..lines.len()).filter(|&place| is_reply(&lines[place]));
    answered.zip(asked).collect()
}

fn keep(lines: &[Value], keep: impl Fn(&Value) -> bool) -> Vec<Value> {
    lines.iter().filter(|line| keep(line)).cloned().collect()
}

/// Without the commands that `drop` names, and their answers.
fn without_commands(lines: &[Value], drop: impl Fn(&str) -> bool) -> Vec<Value> {
    let commands = commands(lines);
    let dropped =
        |place: &usize| drop(lines[*place]["msg"]["execute"].as_str().unwrap_or_default());
    (0..lines.len())
        .filter(|place| match commands.get(place) {
            Some(command) => !dropped(command),
            None => !is_command(&lines[*place]) || !dropped(place),
        })
        .map(|place| lines[place].clone())
        .collect()
}

/// Some places of so many, always the same ones.
fn some(count: usize) -> impl Iterator<Item = usize> {
    (0..count).step_by(count.div_ceil(6).max(1))
}

/// What a recording becomes in one way.
type Way = fn(&[Value]) -> Vec<Vec<Value>>;

/// Ways in which recordings leave things out.
const WAYS: &[(&str, Way)] = &[
    ("as it is", |lines| vec![lines.to_vec()]),
    ("without a greeting", |lines| {
        vec![keep(lines, |line| !is_greeting(line))]
    }),
    ("without commands", |lines| {
        vec![keep(lines, |line| !is_command(line))]
    }),
    ("without answers", |lines| {
        vec![keep(lines, |line| !is_reply(line))]
    }),
    ("events alone", |lines| {
        vec![keep(lines, |line| !event(line).is_empty())]
    }),
    ("events of jobs alone", |lines| {
        vec![keep(lines, |line| event(line).contains("JOB_"))]
    }),
    ("statuses alone", |lines| {
        vec![keep(lines, |line| status(line).is_some())]
    }),
    ("without queries", |lines| {
        vec![without_commands(lines, |name| name.starts_with("query-"))]
    }),
    ("commands of jobs alone", |lines| {
        vec![without_commands(lines, |name| !name.contains("job-"))]
    }),
    ("queries alone", |lines| {
        vec![without_commands(lines, |name| !name.starts_with("query-"))]
    }),
    ("without JOB_STATUS_CHANGE", |lines| {
        vec![keep(lines, |line| status(line).is_none())]
    }),
    ("without BLOCK_JOB events", |lines| {
        vec![keep(lines, |line| !event(line).starts_with("BLOCK_JOB_"))]
    }),
    ("without BLOCK_JOB_READY", |lines| {
        vec![keep(lines, |line| event(line) != "BLOCK_JOB_READY")]
    }),
    ("without BLOCK_JOB_PENDING", |lines| {
        vec![keep(lines, |line| event(line) != "BLOCK_JOB_PENDING")]
    }),
    ("without BLOCK_JOB_ERROR", |lines| {
        vec![keep(lines, |line| event(line) != "BLOCK_JOB_ERROR")]
    }),
    ("without terminal events", |lines| {
        vec![keep(lines, |line| {
            !["BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED"].contains(&event(line))
        })]
    }),
    ("the statuses waited for alone", |lines| {
        vec![keep(lines, |line| {
            status(line).is_none_or(|status| ["ready", "pending", "concluded"].contains(&status))
        })]
    }),
    ("without passing statuses", |lines| {
        vec![keep(lines, |line| {
            status(line).is_none_or(|status| !["waiting", "pending", "aborting"].contains(&status))
        })]
    }),
    ("without pauses", |lines| {
        vec![keep(lines, |line| {
            status(line).is_none_or(|status| !["paused", "standby"].contains(&status))
        })]
    }),
    ("from some line on", |lines| {
        some(lines.len())
            .map(|place| lines[place..].to_vec())
            .collect()
    }),
    ("from some line on, behind the greeting", |lines| {
        some(lines.len())
            .map(|place| {
                let mut late = keep(&lines[..place], is_greeting);
                late.extend_from_slice(&lines[place..]);
                late
            })
            .collect()
    }),
    ("up to some line", |lines| {
        some(lines.len())
            .map(|place| lines[..=place].to_vec())
            .collect()
    }),
    ("events of one job of several", |lines| {
        let mut jobs: Vec<&str> = lines.iter().filter_map(job).collect();
        jobs.sort_unstable();
        jobs.dedup();
        jobs.iter()
            .map(|one| keep(lines, |line| job(line) == Some(one)))
            .collect()
    }),
];

/// A way to write a message.
type Form = fn(&Value) -> String;

/// In which forms: as it was recorded, and as bare objects, which may as well be of a log.
const FORMS: [(&str, Form); 2] = [
    ("recorded", |line| line.to_string()),
    ("bare", |line| line["msg"].to_string()),
];

/// Of one way: how many variants, how many of them were refused, and the first of each rule.
#[derive(Default)]
struct Count {
    made: u64,
    refused: u64,
    rules: BTreeMap<&'static str, (u64, String)>,
}

fn judge(lines: &[Value], form: Form) -> oracle::Verdict {
    let text = written(lines, form);
    check_reader("variant", text.as_bytes(), &Options::default())
}

/// Whether what is left shows by itself that something was left out. A single event that is missing is a fault, so of kinds
/// that were left out there must have been more, and of some statuses in more than one job, or many; and an error's event
/// is due where an answer shows that error alone.
fn tells_itself(way: &str, before: &[Value], after: &[Value]) -> bool {
    let due = |lines: &[Value]| {
        lines
            .iter()
            .filter(|line| event(line) != "BLOCK_JOB_ERROR")
            .count()
    };
    let some_statuses = ["without passing statuses", "the statuses waited for alone"];
    let least = match way {
        way if some_statuses.contains(&way) => 4,
        way if way.starts_with("without ") => 2,
        _ => 0,
    };
    before.len() == after.len() || due(before) >= due(after) + least
}

/// Variants that nothing tells from a broken recording, by way and recording.
const SILENT: [(&str, &str); 3] = [
    // It ends at the command that makes the job: the daemon was killed.
    (
        "the statuses waited for alone",
        "live-10.0/iothread-export-mirror-stream",
    ),
    (
        "without JOB_STATUS_CHANGE",
        "live-10.0/iothread-export-mirror-stream",
    ),
    // One status may have been between the two as well as two.
    ("without passing statuses", "create-file-ok"),
];

/// Varies recordings, each way the first of so many, and holds the oracle to accept all of it.
fn vary(one_in: usize) {
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    for (place, recording) in recordings(&["live-10.0", "live-7.2", "traps"])
        .iter()
        .enumerate()
    {
        for (number, (way, vary)) in WAYS.iter().enumerate() {
            if !(place + number).is_multiple_of(one_in) {
                continue;
            }
            let silent = SILENT
                .iter()
                .any(|(silent, name)| way == silent && recording.name.ends_with(name));
            for lines in vary(&recording.lines) {
                if silent || !tells_itself(way, &recording.lines, &lines) {
                    continue;
                }
                for (name, form) in FORMS {
                    let verdict = judge(&lines, form);
                    let count = counts.entry(format!("{way}, {name}")).or_default();
                    count.made += 1;
                    if let Some(fault) = verdict.fault() {
                        count.refused += 1;
                        let first = || format!("{}: {verdict}", recording.name);
                        let rule = count.rules.entry(fault.rule);
                        rule.or_insert_with(|| (0, first())).0 += 1;
                    }
                }
            }
        }
    }
    for (way, count) in &counts {
        println!("{:>5} of {:>5} refused: {way}", count.refused, count.made);
    }
    for (way, count) in &counts {
        for (rule, (times, first)) in &count.rules {
            println!("--- {way}: {times} times {rule}, first in {first}");
        }
    }
    // Nearly each way is tried, however few are.
    assert!(counts.len() >= (WAYS.len() - 1) * FORMS.len());
    let refused: u64 = counts.values().map(|count| count.refused).sum();
    assert_eq!(refused, 0, "the first of each rule stands above");
}

#[test]
fn what_is_left_out_is_no_fault() {
    vary(13);
}

#[test]
#[ignore = "a minute: cargo test --release --test oracle_variants -- --ignored --nocapture"]
fn whatever_is_left_out_is_no_fault() {
    vary(1);
}

#[test]
fn a_command_that_may_not_overtake_is_answered_in_its_turn() {
    let greeting = json!({"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": ""},
        "capabilities": ["oob"]}});
    let gone = json!({"error": {"class": "GenericError", "desc": "Job not found"}});
    let refused = json!({"error": {"class": "GenericError", "desc": "QMP input member 'exec-oob' is unexpected"}});
    let judged = |negotiation: Value, answers: [&Value; 2]| {
        let lines = [
            (&greeting, "<"),
            (&negotiation, ">"),
            (&json!({"return": {}}), "<"),
            (&json!({"execute": "query-jobs"}), ">"),
            (&json!({"return": []}), "<"),
            (
                &json!({"execute": "job-dismiss", "arguments": {"id": "j"}}),
                ">",
            ),
            (&json!({"exec-oob": "query-version"}), ">"),
            (answers[0], "<"),
            (answers[1], "<"),
        ]
        .map(|(message, direction)| json!({"t": 0, "dir": direction, "msg": message}));
        let text = written(&lines, Value::to_string);
        let verdict = check_reader("variant", text.as_bytes(), &Options::default());
        verdict.fault().map(|fault| fault.rule)
    };
    let plain = json!({"execute": "qmp_capabilities"});
    let overtaking = json!({"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}});
    assert_eq!(judged(plain.clone(), [&gone, &refused]), None);
    assert_eq!(judged(plain, [&refused, &gone]), Some("refusal-text"));
    assert_eq!(judged(overtaking, [&refused, &gone]), None);
}

/// What a test prints: other text, and some of what was said.
fn printed(lines: &[&str]) -> oracle::Verdict {
    let text = format!("=== a test ===\n{}\n", lines.join("\n"));
    check_reader("log", text.as_bytes(), &Options::default())
}

#[test]
fn an_id_may_be_used_again_where_nothing_need_tell_of_it() {
    let status = |status: &str| {
        json!({"event": "JOB_STATUS_CHANGE", "data": {"id": "j", "status": status}}).to_string()
    };
    let event = |name: &str, kind: &str| {
        json!({"event": name, "data": {"device": "j", "type": kind, "len": 8, "offset": 8, "speed": 0}})
            .to_string()
    };
    let create = |name: &str, policy: &str| {
        json!({"execute": name, "arguments": {"job-id": "j", "device": "n", "on-error": policy}})
            .to_string()
    };
    let (pending, concluded) = (status("pending"), status("concluded"));
    let well = r#"{"return": {}}"#.to_owned();
    let failed = json!({"event": "BLOCK_JOB_ERROR", "data": {"device": "j", "operation": "read", "action": "report"}})
        .to_string();
    let stopped = failed.replace("report", "stop");
    for lines in [
        // The statuses that a test waits for, of three jobs.
        vec![
            &pending,
            &concluded,
            &pending,
            &concluded,
            &status("running"),
            &status("aborting"),
        ],
        // Its type is another, and what becomes of its errors.
        vec![
            &create("block-stream", "report"),
            &well,
            &concluded,
            &create("block-commit", "stop"),
            &well,
            &stopped,
        ],
        vec![
            &event("BLOCK_JOB_READY", "mirror"),
            &event("BLOCK_JOB_READY", "commit"),
        ],
        // It does not fail, as the one before did.
        vec![
            &create("block-stream", "report"),
            &well,
            &failed,
            &status("waiting"),
        ],
    ] {
        let lines: Vec<&str> = lines.into_iter().map(String::as_str).collect();
        let verdict = printed(&lines);
        assert_eq!(verdict.word(), "accept", "{verdict}\n{lines:?}");
    }
    // Where each job is shown from its creation on, there is no room for another.
    let (created, running, waiting) = (status("created"), status("running"), status("waiting"));
    for (lines, rule) in [
        (
            vec![&created, &running, &waiting, &pending, &waiting],
            "status-transition",
        ),
        (
            vec![
                &created,
                &running,
                &event("BLOCK_JOB_READY", "mirror"),
                &event("BLOCK_JOB_READY", "commit"),
            ],
            "event-job-type",
        ),
        (
            vec![&created, &running, &failed, &waiting],
            "success-after-error",
        ),
    ] {
        let lines: Vec<&str> = lines.into_iter().map(String::as_str).collect();
        let verdict = printed(&lines);
        assert_eq!(
            verdict.fault().map(|fault| fault.rule),
            Some(rule),
            "{verdict}"
        );
    }
}
