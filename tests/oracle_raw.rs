//! Goal: bare QMP objects are judged as the same conversation is that says who sent what, in every
//! form in which sockets and test logs show them.
//!
//! Method: every recording and every broken one of `tests/corpus` is written anew, in each form, and
//! must be judged the same: accepted by the same profile, or refused by the same rule at the object
//! that stood in the same line. Then they are printed as QEMU's tests print theirs, filtered and late,
//! and as several monitors in one file show them.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use blockjob::model::Profile;
use blockjob::oracle::{self, Options, Outcome, Verdict};
use serde_json::Value;

/// Recordings of `folder`.
fn traces(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(folder);
    oracle::traces_in(&folder).unwrap().0
}

/// A value as Python prints it.
fn python(value: &Value) -> String {
    let list = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => {
            let quote = if text.contains('\'') && !text.contains('"') {
                '"'
            } else {
                '\''
            };
            let mut printed = String::from(quote);
            for char in text.chars() {
                match char {
                    '\n' => printed.push_str("\\n"),
                    '\r' => printed.push_str("\\r"),
                    '\t' => printed.push_str("\\t"),
                    '\\' => printed.push_str("\\\\"),
                    char if char == quote => {
                        printed.push('\\');
                        printed.push(char);
                    }
                    char if (char as u32) < 0x20 => {
                        write!(printed, "\\x{:02x}", char as u32).unwrap();
                    }
                    char => printed.push(char),
                }
            }
            printed.push(quote);
            printed
        }
        Value::Array(values) => format!("[{}]", list(values.iter().map(python).collect())),
        Value::Object(members) => format!(
            "{{{}}}",
            list(
                members
                    .iter()
                    .map(|(key, value)| format!(
                        "{}: {}",
                        python(&key.as_str().into()),
                        python(value)
                    ))
                    .collect()
            )
        ),
    }
}

/// One way to write an object.
type Form = fn(&Value) -> String;

const FORMS: [(&str, Form); 3] = [
    ("one a line", |message| message.to_string()),
    ("over many lines", |message| {
        serde_json::to_string_pretty(message).unwrap()
    }),
    ("as Python prints it", python),
];

/// The conversation in this form, and in which line each of its old lines begins.
fn written(text: &str, form: Form) -> (String, Vec<u64>) {
    let (mut bare, mut lines, mut at) = (String::new(), Vec::new(), 1);
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let object = form(&record["msg"]);
        lines.push(at);
        at += object.lines().count() as u64;
        bare.push_str(&object);
        bare.push('\n');
    }
    (bare, lines)
}

fn judge(text: &str) -> Verdict {
    oracle::check_reader("bare", text.as_bytes(), &Options::default())
}

#[test]
fn every_recording_is_accepted_in_every_form() {
    for folder in ["live-10.0", "live-7.2", "traps"] {
        for path in traces(folder) {
            let text = std::fs::read_to_string(&path).unwrap();
            let known = oracle::check(&path, &Options::default());
            for (name, form) in FORMS {
                let verdict = judge(&written(&text, form).0);
                assert!(
                    matches!(verdict.outcome, Outcome::Accept),
                    "{} {name}: {verdict}",
                    path.display()
                );
                assert_eq!(
                    (verdict.profile, verdict.events, verdict.jobs),
                    (known.profile, known.events, known.jobs),
                    "{} {name}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn every_broken_one_is_refused_in_every_form_at_the_same_place() {
    let mut refused = 0;
    for path in traces("mutants") {
        let text = std::fs::read_to_string(&path).unwrap();
        let Outcome::Reject(known) = oracle::check(&path, &Options::default()).outcome else {
            panic!("{} is broken", path.display());
        };
        for (name, form) in FORMS {
            let (bare, lines) = written(&text, form);
            let about = format!("{} {name}", path.display());
            match judge(&bare).outcome {
                Outcome::Reject(fault) => {
                    let line = lines[known.line as usize - 1];
                    assert_eq!((fault.rule, fault.line), (known.rule, line), "{about}");
                    refused += 1;
                }
                other => panic!("{about}: {other:?}"),
            }
        }
    }
    assert!(refused > 100, "{refused} were judged");
}

#[test]
fn a_recording_without_its_commands_is_accepted() {
    for folder in ["live-10.0", "live-7.2", "traps"] {
        for path in traces(folder) {
            let text = std::fs::read_to_string(&path).unwrap();
            let answers: Vec<&str> = text
                .lines()
                .filter(|line| line.contains("\"dir\": \"<\"") || line.contains("\"dir\":\"<\""))
                .collect();
            assert!(answers.len() < text.lines().count(), "{}", path.display());
            let verdict = judge(&written(&answers.join("\n"), FORMS[0].1).0);
            assert!(
                matches!(verdict.outcome, Outcome::Accept),
                "{}: {verdict}",
                path.display()
            );
        }
    }
}

#[test]
fn other_text_is_passed_over_and_told() {
    let log = "{'execute': 'query-jobs', 'arguments': {}}\n\
               === Starting ===\n\
               wrote 65536/65536 bytes at offset 0\n\
               {'return': []}\n";
    let verdict = judge(log);
    assert!(matches!(verdict.outcome, Outcome::Accept), "{verdict}");
    assert_eq!(verdict.events, 1);
    assert_eq!(
        verdict.notes,
        ["2 lines of text with no QMP object, the first of them line 2, passed over"]
    );
    // It may begin with something else.
    let verdict = judge(&format!("QA output created by 141\n{log}"));
    assert!(matches!(verdict.outcome, Outcome::Accept), "{verdict}");
    assert_eq!(
        verdict.notes,
        ["3 lines of text with no QMP object, the first of them line 1, passed over"]
    );
    // An object that is no QMP is text too.
    let verdict = judge(&format!("{{\n \"format\": \"raw\"\n}}\n{log}"));
    assert!(matches!(verdict.outcome, Outcome::Accept), "{verdict}");
    // Text alone is no trace.
    let Outcome::Error(error) = judge("one\ntwo\n").outcome else {
        panic!("no trace");
    };
    assert!(error.to_string().starts_with("line 1: not JSON"), "{error}");
}

/// What a shell test of QEMU prints: what the daemon said, with what differs from run to run replaced
/// by words, and other text between.
fn as_shell_tests_print(text: &str) -> String {
    let mut log = "QA output created by 300\nFormatting 'TEST_DIR/t.IMGFMT'\n".to_owned();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let mut message = record["msg"].clone();
        if record["dir"] == ">" || message.get("QMP").is_some() {
            continue;
        }
        let event = message.get("event").is_some();
        if event {
            message["timestamp"] = serde_json::json!({"seconds": "@T", "microseconds": "@T"});
        }
        if event && message["data"].get("len").is_some() {
            message["data"]["len"] = "@L".into();
        }
        let printed = message
            .to_string()
            .replace("\"@T\"", " TIMESTAMP")
            .replace("\"@L\"", "LEN");
        writeln!(log, "{printed}").unwrap();
    }
    log + "*** done\n"
}

/// What a Python test of QEMU prints: commands and their replies, and events when it comes to look for
/// them, which is after the next reply; it may not look for statuses.
fn as_python_tests_print(text: &str, statuses: bool) -> String {
    let mut log = "Launching VM...\n\n=== Start ===\n".to_owned();
    let mut events = String::new();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let mut message = record["msg"].clone();
        if message.get("QMP").is_some() {
            continue;
        }
        if message.get("event").is_some() {
            if statuses || message["event"] != "JOB_STATUS_CHANGE" {
                message["timestamp"] =
                    serde_json::json!({"seconds": "SECS", "microseconds": "USECS"});
                writeln!(events, "{message}").unwrap();
            }
            continue;
        }
        if let Some(jobs) = message.get_mut("return").and_then(Value::as_array_mut) {
            for job in jobs
                .iter_mut()
                .filter(|job| job.get("current-progress").is_some())
            {
                job["current-progress"] = "FILTERED".into();
            }
        }
        writeln!(log, "{message}").unwrap();
        if record["dir"] == "<" {
            log.push_str(&std::mem::take(&mut events));
        }
    }
    log + &events
}

#[test]
fn what_tests_print_is_accepted() {
    for folder in ["live-10.0", "live-7.2", "traps"] {
        for path in traces(folder) {
            let text = std::fs::read_to_string(&path).unwrap();
            for log in [
                as_shell_tests_print(&text),
                as_python_tests_print(&text, true),
                as_python_tests_print(&text, false),
            ] {
                let verdict = judge(&log);
                assert!(
                    matches!(verdict.outcome, Outcome::Accept),
                    "{}: {verdict}\n{log}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn what_tests_print_is_judged_as_far_as_it_shows() {
    let mut rules: Vec<&str> = Vec::new();
    for path in traces("mutants") {
        let text = std::fs::read_to_string(&path).unwrap();
        for log in [
            as_shell_tests_print(&text),
            as_python_tests_print(&text, true),
        ] {
            if let Outcome::Reject(fault) = judge(&log).outcome {
                rules.push(fault.rule);
            }
        }
    }
    rules.sort_unstable();
    rules.dedup();
    for rule in ["status-transition", "progress-above-total", "event-shape"] {
        assert!(rules.contains(&rule), "{rule} is not among {rules:?}");
    }
    // Whatever the job was at, the answer says so, and the table says the rest.
    let refused = |status, verb| {
        let log = format!(
            "=== Test ===\n{{\"execute\": \"job-{verb}\", \"arguments\": {{\"id\": \"j\"}}}}\n\
             {{\"error\": {{\"class\": \"GenericError\", \"desc\": \
             \"Job 'j' in state '{status}' cannot accept command verb '{verb}'\"}}}}\n"
        );
        let options = Options {
            profile: Profile::by_name("qemu-10.0"),
            ..Options::default()
        };
        oracle::check_reader("bare", log.as_bytes(), &options)
    };
    let verdict = refused("running", "finalize");
    assert!(matches!(verdict.outcome, Outcome::Accept), "{verdict}");
    let verdict = refused("pending", "finalize");
    let fault = verdict.fault().unwrap();
    assert_eq!(fault.rule, "refused-what-is-permitted", "{verdict}");
}

#[test]
fn what_tests_leave_out_or_put_between_is_no_fault() {
    let refused = |log: &str| judge(log).fault().map(|fault| (fault.rule, fault.line));
    let cancel = r#"{"execute": "block-job-cancel", "arguments": {"device": "j"}}"#;
    let busy = r#"{"error": {"class": "GenericError", "desc": "Node 'n' is busy: in use"}}"#;
    let commit = r#"{"execute": "block-commit", "arguments": {"job-id": "j", "device": "n"}}"#;
    let delete = r#"{"execute": "blockdev-del", "arguments": {"node-name": "n"}}"#;
    let well = r#"{"return": {}}"#;
    let created = r#"{"event": "JOB_STATUS_CHANGE", "data": {"id": "j", "status": "created"}}"#;
    // The answer to a command is not shown, because the test waits for it elsewhere.
    let log = [
        "=== a test ===",
        commit,
        created,
        cancel,
        well,
        delete,
        busy,
        well,
    ]
    .join("\n")
        + "\n";
    assert_eq!(refused(&log), None, "{log}");
    // With one command open it is that one's.
    let log = ["=== a test ===", cancel, busy, ""].join("\n");
    assert_eq!(refused(&log), Some(("refusal-text", 3)), "{log}");
    // Answers that come before any command show that commands are left out.
    let log = [well, cancel, well, busy, busy, well, ""].join("\n");
    assert_eq!(refused(&log), None, "{log}");
    let log = [cancel, well, busy, ""].join("\n");
    assert_eq!(refused(&log), Some(("reply-without-command", 3)), "{log}");
    // Marks of progress of a test's runner, before the object or in a line of their own.
    let dismiss = r#"{"execute": "job-dismiss", "arguments": {"id": "j"}}"#;
    for marks in [".", "..F", "s."] {
        let log = [dismiss, well, &format!("{marks}{dismiss}"), well, ""].join("\n");
        assert_eq!(refused(&log), None, "{log}");
        assert_eq!(judge(&log).events, 2, "{log}");
        let log = [dismiss, well, marks, dismiss, well, well, ""].join("\n");
        assert_eq!(refused(&log), None, "{log}");
    }
    // The greeting filtered as a whole, and a value in parentheses.
    let log = format!(
        "Testing:\n{{\n    QMP_VERSION\n}}\n{well}\n{created}\n{}\n",
        r#"{"event": "BLOCK_JOB_CANCELLED", "data": {"device": "j", "len": 5, "offset": (filtered), "speed": 0, "type": "mirror"}}"#
    );
    let verdict = judge(&log);
    assert!(matches!(verdict.outcome, Outcome::Accept), "{verdict}");
    assert_eq!((verdict.events, verdict.jobs), (3, 1), "{verdict}");
}

/// The objects of a conversation, each in a line that begins with `before`.
fn labelled(text: &str, before: &str) -> Vec<String> {
    text.lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            let arrow = if record["dir"] == ">" { "-->" } else { "<--" };
            format!("{before} {arrow} {}\n", record["msg"])
        })
        .collect()
}

/// Both, by turns.
fn interleaved(one: &[String], two: &[String]) -> String {
    let mut text = String::new();
    for place in 0..one.len().max(two.len()) {
        for lines in [one, two] {
            text.push_str(lines.get(place).map_or("", String::as_str));
        }
    }
    text
}

#[test]
fn several_monitors_in_one_file_are_judged_each() {
    let all = traces("live-10.0");
    for pair in all.windows(2) {
        let [one, two] = [0, 1].map(|place| std::fs::read_to_string(&pair[place]).unwrap());
        let text = interleaved(
            &labelled(&one, "2026-01-02 03:04:05,678 DEBUG vm0"),
            &labelled(&two, "2026-01-02 03:04:05,678 DEBUG vm1"),
        );
        let verdict = judge(&text);
        assert!(
            matches!(verdict.outcome, Outcome::Accept),
            "{pair:?}: {verdict}"
        );
        assert_eq!(verdict.notes[0], "2 monitors, each judged by itself");
        // Nothing names them: it is still no false alarm.
        let bare = interleaved(&labelled(&one, ""), &labelled(&two, ""));
        let verdict = judge(&bare);
        assert!(
            matches!(verdict.outcome, Outcome::Accept),
            "{pair:?}: {verdict}"
        );
    }
    let good = std::fs::read_to_string(&all[0]).unwrap();
    let mut refused = 0;
    let mutants = traces("mutants");
    for path in &mutants {
        let text = std::fs::read_to_string(path).unwrap();
        let Outcome::Reject(known) = oracle::check(path, &Options::default()).outcome else {
            panic!("{} is broken", path.display());
        };
        // The good one first, and as long as there is something of both, at every other line.
        let text = interleaved(&labelled(&good, "vm0"), &labelled(&text, "vm1"));
        if let Outcome::Reject(fault) = judge(&text).outcome {
            let both = 2 * good.lines().count() as u64;
            let line = if 2 * known.line <= both {
                2 * known.line
            } else {
                both / 2 + known.line
            };
            assert_eq!(fault.line, line, "{path:?}: {}", fault.rule);
            refused += 1;
        }
    }
    // But for what is a fault only where nobody else is there: a job of the id that was asked for may be another's.
    println!(
        "{refused} of {} are refused where others may act",
        mutants.len()
    );
    assert!(refused * 3 > mutants.len() * 2, "{refused} were refused");
}

#[test]
fn two_monitors_of_one_daemon_both_see_its_events() {
    for path in traces("live-10.0") {
        let text = std::fs::read_to_string(&path).unwrap();
        let looks_on: String = text
            .lines()
            .filter(|line| line.contains("\"QMP\"") || line.contains("\"event\""))
            .flat_map(|line| [line, "\n"])
            .collect();
        for (one, two) in [("a", "b"), ("", "")] {
            let mut both = String::new();
            let mut seconds = labelled(&looks_on, two).into_iter();
            let firsts = labelled(&text, one);
            for first in firsts {
                let copied = first.contains("\"QMP\"") || first.contains("\"event\"");
                both.push_str(&first);
                if copied {
                    both.push_str(&seconds.next().unwrap());
                }
            }
            let verdict = judge(&both);
            assert!(
                matches!(verdict.outcome, Outcome::Accept),
                "{}: {verdict}",
                path.display()
            );
        }
    }
}

#[test]
fn what_is_no_text_is_a_note_and_no_false_alarm() {
    for path in traces("live-10.0") {
        let text = std::fs::read_to_string(&path).unwrap();
        let bare = written(&text, FORMS[0].1).0;
        // Ids of jobs as another encoding has them, and noise between.
        for at in [1, bare.lines().count() / 2] {
            let mut bytes = Vec::new();
            for (place, line) in bare.lines().enumerate() {
                let mut line = line.as_bytes().to_vec();
                if place % 3 == 0 && place > 0 {
                    for byte in &mut line {
                        if *byte == b'j' {
                            *byte = 0xe9;
                        }
                    }
                }
                if place == at {
                    bytes.extend_from_slice(b"\xff\x00\xfe noise\n");
                }
                bytes.append(&mut line);
                bytes.push(b'\n');
            }
            let verdict = oracle::check_reader("bare", &bytes[..], &Options::default());
            let about = format!("{} {at}: {verdict}", path.display());
            assert!(matches!(verdict.outcome, Outcome::Accept), "{about}");
            assert!(
                verdict.notes.iter().any(|note| note.contains("not UTF-8")),
                "{about}"
            );
        }
    }
    // What it does show is judged.
    let verdict = oracle::check_reader(
        "bare",
        &b"{\"event\":\"X\xff\"}\n{\"event\":\"JOB_STATUS_CHANGE\",\"data\":{\"id\":\"j\",\"status\":\"asleep\"}}\n"[..],
        &Options::default(),
    );
    assert!(verdict.fault().is_some(), "{verdict}");
}

#[test]
fn a_cut_object_is_a_note_and_a_broken_one_an_error() {
    let verdict = judge("{\n \"return\": {}\n}\n{\n \"event\":");
    assert!(matches!(verdict.outcome, Outcome::Accept), "{verdict}");
    assert!(
        verdict.notes[0].starts_with("line 4 is incomplete"),
        "{verdict}"
    );
    let broken = judge("{\"return\": {}}\n{\"return\" {}}\n").outcome;
    let Outcome::Error(error) = broken else {
        panic!("{broken:?}");
    };
    assert!(error.to_string().starts_with("line 2: not JSON"), "{error}");
}
