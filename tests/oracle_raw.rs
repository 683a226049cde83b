//! Goal: bare QMP objects are judged as the same conversation is that says who sent what, in every
//! form in which sockets and test logs show them.
//!
//! Method: every recording and every broken one of `tests/corpus` is written anew, in each form, and
//! must be judged the same: accepted by the same profile, or refused by the same rule at the object
//! that stood in the same line.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use blockjob::oracle::{self, Format, Options, Outcome, Verdict};
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
    // It begins with something else: only whoever asks for it gets it read so.
    let begun = format!("QA output created by 141\n{log}");
    assert!(matches!(judge(&begun).outcome, Outcome::Error(_)));
    let options = Options {
        format: Some(Format::QmpRaw),
        ..Options::default()
    };
    let verdict = oracle::check_reader("bare", begun.as_bytes(), &options);
    assert!(matches!(verdict.outcome, Outcome::Accept), "{verdict}");
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
