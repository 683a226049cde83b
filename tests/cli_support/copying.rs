//! What the tests of `blockjob copy` share: scratch files, runs of it, a copy that is slow.
#![allow(dead_code)] // Each test file uses its part.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{Ran, blockjob};

/// A scratch folder with files of the given contents.
pub fn scratch(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        fs::write(folder.path().join(name), contents).unwrap();
    }
    folder
}

/// Runs `copy` inside `folder`.
pub fn copy(folder: &TempDir, arguments: &[&str]) -> Ran {
    let output = blockjob()
        .current_dir(folder)
        .arg("copy")
        .args(arguments)
        .output()
        .unwrap();
    Ran::from(output)
}

/// Everything in `folder`, by name, with contents.
pub fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap_or_default())
        })
        .collect();
    all.sort();
    all
}

/// `copy` with `arguments` is refused for `words`, and nothing in the folder changes.
#[track_caller]
pub fn refused(folder: &TempDir, arguments: &[&str], words: &[&str]) {
    let before = contents(folder.path());
    copy(folder, arguments).refused(words);
    assert_eq!(contents(folder.path()), before);
}

/// Whether a temporary file in `folder` has contents.
pub fn writes_something(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let entry = entry.unwrap();
        let temporary = entry.file_name().to_string_lossy().contains(".blockjob-");
        temporary && entry.metadata().is_ok_and(|metadata| metadata.blocks() > 0)
    })
}

/// Sends the process a signal, as `kill` takes it. The shell's own: the program is not on every machine.
pub fn send(signal: &str, process: u32) {
    let kill = Command::new("sh")
        .args(["-c", "kill \"$0\" \"$1\"", signal, &process.to_string()])
        .status();
    assert!(kill.unwrap().success());
}

/// Starts a copy of `a` to `b` at `speed` and waits until its job runs.
pub fn slow_copy(folder: &TempDir, speed: &str) -> Child {
    slow_copy_with(folder, &["--speed", speed])
}

/// The same with other options, one of which makes it slow.
pub fn slow_copy_with(folder: &TempDir, options: &[&str]) -> Child {
    // Whoever runs the tests may have them ignore some signals.
    let mut child = Command::new("env")
        .arg("--default-signal=INT,TERM,HUP,USR1,TSTP,CONT")
        .arg(snapbox::cmd::cargo_bin!("blockjob"))
        .current_dir(folder)
        .args(["copy", "--chunk", "4K"])
        .args(options)
        .args(["a", "b"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once something is written, the job runs and the signals are listened to.
    while !writes_something(folder.path()) {
        let end = child.try_wait().unwrap();
        assert!(end.is_none(), "the copy is slow enough to be met");
        std::thread::yield_now();
    }
    child
}
