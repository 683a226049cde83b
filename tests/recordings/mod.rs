//! What the tests of many recordings share: those of `tests/corpus`, line by line, and how they are written down again.

#![allow(dead_code)] // Each test file uses its part.

use std::fmt::Write as _;
use std::path::Path;

use blockjob::oracle;
use serde_json::Value;

/// A recorded conversation.
pub struct Recording {
    /// Its folder and its name.
    pub name: String,
    /// Its lines.
    pub lines: Vec<Value>,
}

/// Every recording in these folders of the corpus.
pub fn recordings(folders: &[&str]) -> Vec<Recording> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut recordings = Vec::new();
    for folder in folders {
        let (traces, _) = oracle::traces_in(&corpus.join(folder)).unwrap();
        for path in traces {
            let text = std::fs::read_to_string(&path).unwrap();
            recordings.push(Recording {
                name: format!("{folder}/{}", path.file_stem().unwrap().to_str().unwrap()),
                lines: text
                    .lines()
                    .map(|line| serde_json::from_str(line).unwrap())
                    .collect(),
            });
        }
    }
    recordings
}

/// The lines as text, each in this form.
pub fn written(lines: &[Value], form: impl Fn(&Value) -> String) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        writeln!(text, "{}", form(line)).unwrap();
        text
    })
}
