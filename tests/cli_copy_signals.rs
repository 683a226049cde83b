//! Goal: `blockjob copy` that is disturbed while it runs — by the keyboard, by other processes, by a source that
//! changes — cancels, pauses, tells or fails as it says, and leaves nothing behind.
//! Method: a copy that a speed limit makes slow, and signals, each once the one before is answered.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs;
use std::io::{BufRead, BufReader};

use cli_support::copying::{
    contents, copy, scratch, send, slow_copy, slow_copy_with, writes_something,
};
use cli_support::{Ran, assert_valid, schema};
use tempfile::TempDir;

/// Starts a slow copy, sends `signals` in turn, each once the one before is answered, and waits.
fn interrupted(folder: &TempDir, signals: &[&str]) -> Ran {
    let mut child = slow_copy(folder, "64K");
    let process = child.id();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut heard = String::new();
    for signal in signals {
        send(signal, process);
        // Each signal used here is answered with one line.
        stderr.read_line(&mut heard).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    std::io::Read::read_to_string(&mut stderr, &mut heard).unwrap();
    Ran {
        code: output.status.code().expect("it ended by itself"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: heard,
    }
}

#[test]
fn ctrl_c_cancels_and_the_target_is_what_it_was() {
    let folder = scratch(&[("a", &vec![1; 10_000_000]), ("b", b"old")]);
    let before = contents(folder.path());
    let ran = interrupted(&folder, &["-INT"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.says(&["cancelling", "cancelled; every target is what it was"]);
    assert!(
        ran.stdout
            .contains("cancelled  a -> b: the target is what it was"),
        "{ran:?}"
    );
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_terminal_that_goes_away_cancels_too() {
    let folder = scratch(&[("a", &vec![1; 10_000_000]), ("b", b"old")]);
    let before = contents(folder.path());
    let ran = interrupted(&folder, &["-HUP"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn what_a_killed_copy_left_is_removed_by_the_next_which_says_so() {
    let folder = scratch(&[("a", &vec![7; 100_000]), ("b", b"old")]);
    let mut child = slow_copy(&folder, "64K");
    // While it lives its file is left alone, also by a copy to the same target that gets there first.
    assert_eq!(copy(&folder, &["a", "b"]).code, 0);
    assert!(writes_something(folder.path()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        writes_something(folder.path()),
        "a killed process cleans nothing"
    );
    assert_eq!(copy(&folder, &["--dry-run", "a", "b"]).code, 0);
    assert!(writes_something(folder.path()), "a dry run changes nothing");
    let ran = copy(&folder, &["--json", "a", "b"]);
    let copies = schema("copy");
    let lines = ran.json();
    for line in &lines {
        assert_valid(&copies, line);
    }
    assert_eq!(
        lines[0]["removed_leftovers"].as_array().map(Vec::len),
        Some(1)
    );
    ran.says(&[
        "note: removed ",
        ".b.blockjob-",
        "which a copy that died had left",
    ]);
    assert_eq!(contents(folder.path()).len(), 2);
}

#[test]
fn sigusr1_prints_the_state_and_changes_nothing() {
    let folder = scratch(&[("a", &vec![1; 10_000_000]), ("b", b"old")]);
    let ran = interrupted(&folder, &["-USR1", "-TERM"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.says(&["copy0: running, ", "64.0 KiB/s"]);
}

#[test]
fn a_source_that_shrinks_meanwhile_fails_the_copy() {
    let folder = scratch(&[("a", &vec![1; 1_000_000]), ("b", b"old")]);
    let child = slow_copy(&folder, "512K");
    let source = fs::File::options()
        .write(true)
        .open(folder.path().join("a"))
        .unwrap();
    source.set_len(4096).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.says(&["error: copying a to b: ", "source a"]);
    assert!(
        ran.stdout
            .contains("failed     a -> b: the target is what it was"),
        "{ran:?}"
    );
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"old");
    assert_eq!(contents(folder.path()).len(), 2);
}

/// Whether a process is stopped, as Ctrl-Z does it.
fn is_stopped(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    stat.rsplit(')')
        .next()
        .unwrap()
        .trim_start()
        .starts_with('T')
}

#[test]
fn ctrl_z_pauses_the_jobs_and_fg_resumes_them() {
    let folder = scratch(&[("a", &vec![7; 200_000]), ("b", b"old")]);
    let child = slow_copy_with(&folder, &["--speed", "64K", "--trace", "trace"]);
    send("-TSTP", child.id());
    while !is_stopped(child.id()) {
        std::thread::yield_now();
    }
    send("-CONT", child.id());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), vec![7; 200_000]);
    let trace = fs::read_to_string(folder.path().join("trace")).unwrap();
    let calls = ["pause-all", "resume-all"].map(|call| trace.find(call));
    assert!(calls[0].is_some() && calls.is_sorted(), "{calls:?} {trace}");
}

#[test]
fn a_second_ctrl_c_cancels_by_force() {
    let folder = scratch(&[("a", &vec![7; 10_000_000]), ("b", b"old")]);
    let mut child = slow_copy_with(&folder, &["--speed", "64K", "--trace", "trace"]);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    // While the process is stopped nothing is answered: both come at once when it goes on.
    send("-STOP", child.id());
    send("-INT", child.id());
    send("-TERM", child.id());
    send("-CONT", child.id());
    let mut heard = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut heard).unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(1), "{heard}");
    assert!(
        heard.starts_with("cancelling; once more to cancel by force\n"),
        "{heard}"
    );
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"old");
    assert_eq!(contents(folder.path()).len(), 3);
}
