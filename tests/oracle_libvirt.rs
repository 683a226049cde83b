//! Goal: libvirt's debug log is judged as the conversations are that it shows, in every form in which
//! loggers keep it, whole or with pieces missing.
//!
//! Method: every recording and every broken one of `tests/corpus` is written as libvirt writes what goes
//! over its monitors, with what else stands between, and must be judged the same. Then lines are taken
//! out, begun late, mixed with those of other daemons, and nothing may be refused for that.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use blockjob::oracle::{self, Format, Options, Outcome, Verdict};
use serde_json::{Value, json};

/// Recordings of `folder`.
fn traces(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(folder);
    oracle::traces_in(&folder).unwrap().0
}

fn records(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The messages libvirt logs for one of a conversation, each without what a logger writes before it, and
/// perhaps with a line break in it.
fn logged(record: &Value, monitor: &str) -> Vec<(&'static str, &'static str, String)> {
    let message = &record["msg"];
    let process = "qemuMonitorJSONIOProcessLine:236";
    let line = ("debug", process, format!("Line [{message}]"));
    if record["dir"] == ">" {
        let written = format!("mon={monitor} buf={message}\r\n len=1 ret=1 errno=0");
        return vec![
            (
                "debug",
                "qemuMonitorThing:1",
                format!("mon:{monitor} vm:0x7f0 fd:30"),
            ),
            (
                "info",
                "qemuMonitorSend:864",
                format!("QEMU_MONITOR_SEND_MSG: mon={monitor} msg={message}\r\n fd=-1"),
            ),
            (
                "info",
                "qemuMonitorIOWrite:366",
                format!("QEMU_MONITOR_IO_WRITE: {written}"),
            ),
        ];
    }
    if message.get("QMP").is_some() {
        return vec![line];
    }
    let (what, key) = match message.get("event") {
        Some(_) => ("EVENT", "event"),
        None => ("REPLY", "reply"),
    };
    let received = format!("QEMU_MONITOR_RECV_{what}: mon={monitor} {key}={message}");
    vec![line, ("info", process, received)]
}

/// How a logger keeps messages.
type Form = fn(level: &str, place: &str, message: &str) -> String;

const FORMS: [(&str, Form); 5] = [
    ("as libvirt writes it", |level, place, message| {
        format!("2026-01-02 03:04:05.678+0000: 4711: {level} : {place} : {message}\n")
    }),
    ("in the journal", |_, _, message| {
        let message = message.replace('\n', "\n                                    ");
        format!("Jan 02 03:04:05 host libvirtd[4711]: {message}\n")
    }),
    ("in the system's log", |_, _, message| {
        let message = message.replace('\r', "#015").replace('\n', "#012");
        format!("2026-01-02T03:04:05.678901+00:00 host virtqemud: {message}\n")
    }),
    ("in a pod", |level, place, message| {
        let mut lines = String::new();
        for part in message.lines() {
            let line = json!({
                "component": "virt-launcher", "level": level, "msg": part, "pos": place,
                "subcomponent": "libvirt", "thread": "80", "timestamp": "2026-01-02T03:04:05.678000Z"
            });
            writeln!(lines, "{line}").unwrap();
        }
        lines
    }),
    ("in a container of a pod", |level, place, message| {
        let inner = json!({"level": level, "msg": message, "pos": place}).to_string();
        let line = json!({"log": format!("{inner}\n"), "stream": "stdout", "time": "2026-01-02T03:04:05Z"});
        format!("{line}\n")
    }),
];

/// The log of one conversation: for each record, its lines.
fn log(records: &[Value], monitor: &str, form: Form) -> Vec<String> {
    records
        .iter()
        .map(|record| {
            logged(record, monitor)
                .iter()
                .map(|(level, place, message)| form(level, place, message))
                .collect()
        })
        .collect()
}

/// The same conversation with commands numbered as libvirt does; `None`: it wrote commands before others
/// were answered, which libvirt does not.
fn numbered(records: &[Value]) -> Option<Vec<Value>> {
    let (mut number, mut open) = (0, false);
    let mut all = records.to_vec();
    for record in &mut all {
        let sent = record["dir"] == ">";
        let answer = ["return", "error"]
            .iter()
            .any(|key| record["msg"].get(key).is_some());
        if !sent && !answer {
            continue;
        }
        if open == sent {
            return None;
        }
        number += u64::from(sent);
        open = sent;
        record["msg"]["id"] = json!(format!("libvirt-{number}"));
    }
    Some(all)
}

fn judge(text: &str) -> Verdict {
    oracle::check_reader("log", text.as_bytes(), &Options::default())
}

fn accepted(text: &str, about: &str) -> Verdict {
    let verdict = judge(text);
    assert!(
        matches!(verdict.outcome, Outcome::Accept),
        "{about}: {verdict}\n{text}"
    );
    verdict
}

const OTHER: &str = "2026-01-02 03:04:05.000+0000: 4711: info : libvirt version: 11.3.0\n\
                     2026-01-02 03:04:05.000+0000: 4711: info : hostname: host\n";

#[test]
fn every_recording_is_accepted_in_every_form() {
    let mut judged = 0;
    for folder in ["live-10.0", "live-7.2", "traps"] {
        for path in traces(folder) {
            let known = oracle::check(&path, &Options::default());
            let records = records(&path);
            for (name, form) in FORMS {
                let about = format!("{} {name}", path.display());
                let text = log(&records, "0x7f1", form).concat();
                let verdict = accepted(&text, &about);
                // A second greeting begins another conversation here.
                if verdict.notes.is_empty() {
                    assert_eq!(
                        (verdict.profile, verdict.events, verdict.jobs),
                        (known.profile, known.events, known.jobs),
                        "{about}"
                    );
                    judged += 1;
                }
            }
        }
    }
    assert!(judged > 500, "{judged} as the conversation itself");
}

#[test]
fn every_broken_one_is_refused_at_the_same_message() {
    let (mut same, mut all) = (0, 0);
    for path in traces("mutants") {
        let Outcome::Reject(known) = oracle::check(&path, &Options::default()).outcome else {
            panic!("{} is broken", path.display());
        };
        let mut broken = vec![records(&path)];
        broken.extend(numbered(&broken[0]));
        for ((name, form), records) in FORMS
            .iter()
            .flat_map(|form| broken.iter().map(move |records| (form, records)))
        {
            all += 1;
            let parts = log(records, "0x7f1", *form);
            let before: usize = parts[..known.line as usize - 1]
                .iter()
                .map(|part| part.lines().count())
                .sum();
            let within = before as u64 + 1
                ..=before as u64 + parts[known.line as usize - 1].lines().count() as u64;
            let verdict = judge(&parts.concat());
            match verdict.fault() {
                Some(fault) if fault.rule == known.rule && within.contains(&fault.line) => {
                    same += 1;
                }
                _ => println!("{} {name}: {} {verdict}", path.display(), known.rule),
            }
        }
    }
    assert!(all > 100 && same == all, "{same} of {all}");
}

#[test]
fn a_log_may_begin_anywhere_and_miss_any_message() {
    let mut judged = 0;
    for folder in ["live-10.0", "live-7.2"] {
        // A part of them: each is judged twice for each of its messages.
        for path in traces(folder).into_iter().step_by(8) {
            let Some(records) = numbered(&records(&path)) else {
                continue;
            };
            judged += 1;
            let parts = log(&records, "0x7f1", FORMS[0].1);
            accepted(&parts.concat(), &path.display().to_string());
            for at in 0..parts.len() {
                let about = format!("{} {at}", path.display());
                let late = parts[at..].concat();
                let verdict = judge(&late);
                // Nothing to judge may be left.
                assert!(
                    !matches!(verdict.outcome, Outcome::Reject(_)),
                    "{about}: {verdict}\n{late}"
                );
                if records[at]["msg"].get("event").is_some() {
                    // No number tells that an event is missing.
                    continue;
                }
                let torn = [&parts[..at], &parts[at + 1..]].concat().concat();
                let verdict = judge(&torn);
                assert!(
                    !matches!(verdict.outcome, Outcome::Reject(_)),
                    "{about}: {verdict}\n{torn}"
                );
            }
        }
    }
    assert!(judged > 5, "{judged}");
}

#[test]
fn what_a_logger_gave_up_is_not_held_against_the_daemon() {
    let path = &traces("live-10.0")[0];
    let parts = log(&numbered(&records(path)).unwrap(), "0x7f1", FORMS[1].1);
    let gone =
        "Jan 02 03:04:05 host systemd-journald[1]: Suppressed 12 messages from libvirtd.service\n";
    for from in 1..parts.len() {
        for to in from + 1..=parts.len() {
            let text = [&parts[..from], &[gone.to_owned()], &parts[to..]]
                .concat()
                .concat();
            let verdict = judge(&text);
            assert!(
                !matches!(verdict.outcome, Outcome::Reject(_)),
                "{from} {to}: {verdict}\n{text}"
            );
            assert!(
                verdict
                    .notes
                    .iter()
                    .any(|note| note.contains("gaps in the log")),
                "{verdict}"
            );
        }
    }
}

#[test]
fn a_command_that_was_only_written_is_a_command_once() {
    for path in traces("live-10.0") {
        let Some(records) = numbered(&records(&path)) else {
            continue;
        };
        let known = oracle::check(&path, &Options::default());
        let text: String = log(&records, "0x7f1", FORMS[0].1).concat();
        // Written twice, because the first time nothing could be written.
        let text: String = text
            .lines()
            .filter(|line| !line.contains("SEND_MSG"))
            .flat_map(|line| [line, "\n"].repeat(1 + usize::from(line.contains("IO_WRITE"))))
            .collect();
        let verdict = accepted(&text, &path.display().to_string());
        assert_eq!(
            (verdict.events, verdict.jobs),
            (known.events, known.jobs),
            "{text}"
        );
        assert!(verdict.notes.is_empty(), "{verdict}");
    }
}

#[test]
fn several_daemons_are_judged_each_by_its_own_version() {
    let (new, old) = (traces("live-10.0"), traces("live-7.2"));
    for (one, two) in new.iter().zip(&old) {
        let one = log(&records(one), "0x7f1", FORMS[0].1);
        let two = log(&records(two), "0x7f2", FORMS[0].1);
        let mut text = OTHER.to_owned();
        for at in 0..one.len().max(two.len()) {
            for parts in [&one, &two] {
                text.push_str(parts.get(at).map_or("", String::as_str));
            }
        }
        let verdict = accepted(&text, "both");
        assert!(verdict.notes[0].contains("2 connections"), "{verdict}");
    }
    // One after the other, at the same address.
    let mut text = String::new();
    for path in new.iter().chain(&old) {
        text.push_str(&log(&records(path), "0x7f1", FORMS[0].1).concat());
    }
    let verdict = accepted(&text, "one after the other");
    assert!(
        verdict.notes[0].contains(" connections, each judged by itself"),
        "{verdict}"
    );
    // A fault of one is found among all the others.
    let broken = traces("mutants")
        .into_iter()
        .find(|path| path.ends_with("aborting-to-pending.jsonl"))
        .unwrap();
    text.push_str(&log(&records(&broken), "0x7f3", FORMS[0].1).concat());
    assert_eq!(judge(&text).fault().unwrap().rule, "status-transition");
}

#[test]
fn a_log_without_anything_of_a_monitor_is_an_error_and_says_so() {
    let verdict = judge(OTHER);
    assert!(
        verdict.to_string().contains("nothing to judge"),
        "{verdict}"
    );
    let options = Options {
        format: Some(Format::Libvirt),
        ..Options::default()
    };
    let verdict = oracle::check_reader("log", &b"\xff\xfe\n"[..], &options);
    assert!(
        verdict.to_string().contains("nothing to judge"),
        "{verdict}"
    );
}
