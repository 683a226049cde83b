//! Goal: a trace that is being written is judged as it comes, and many traces at a time, in order.
//!
//! Method: the command follows a file or a pipe into which a test writes; it must say what it has to say
//! while the other end is still open. Then it is given more traces than there are processors.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cli_support::run;

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(name)
}

/// The command, following `trace`.
fn follow(trace: &Path, input: Stdio) -> Child {
    // Whoever runs the tests may have them ignore an interrupt.
    Command::new("env")
        .arg("--default-signal=INT")
        .arg(snapbox::cmd::cargo_bin!("blockjob"))
        .args(["check", "--follow"])
        .arg(trace)
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What it said, and its exit code, once it is over.
fn over(mut child: Child) -> (String, Option<i32>) {
    let mut said = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    (said, child.wait().unwrap().code())
}

#[test]
fn a_fault_is_told_while_the_trace_is_still_being_written() {
    let text = fs::read_to_string(corpus("mutants/aborting-to-pending.jsonl")).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (before, fault) = (lines[..21].concat(), lines[21].to_owned());
    // A file, which stays open and could grow for ever.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("growing.jsonl");
    let mut file = File::create(&path).unwrap();
    file.write_all(before.as_bytes()).unwrap();
    let child = follow(&path, Stdio::null());
    // In two pieces: a line counts once it is whole.
    let (half, rest) = fault.split_at(30);
    file.write_all(half.as_bytes()).unwrap();
    file.write_all(rest.as_bytes()).unwrap();
    let (said, code) = over(child);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("growing.jsonl:22 rule="), "{said}");
    drop(file);
    // A pipe, whose other end stays open.
    let mut child = follow(Path::new("-"), Stdio::piped());
    let mut input = child.stdin.take().unwrap();
    input.write_all(before.as_bytes()).unwrap();
    input.write_all(fault.as_bytes()).unwrap();
    let (said, code) = over(child);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("reject -:22 rule="), "{said}");
    drop(input);
}

#[test]
fn an_interrupt_ends_it_with_the_verdict_so_far() {
    let text = fs::read_to_string(corpus("live-10.0/backup-default.jsonl")).unwrap();
    // It tells that it has taken up a pipe's first half by reading it: more than a pipe holds.
    let noise = "{\"dir\":\"<\",\"msg\":{\"event\":\"RTC_CHANGE\"}}\n".repeat(20_000);
    let mut child = follow(Path::new("-"), Stdio::piped());
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    input.write_all(noise.as_bytes()).unwrap();
    let told = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(told.success());
    let (said, code) = over(child);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("accept - events=17 jobs=1"), "{said}");
    drop(input);
}

#[test]
fn a_pipe_that_ends_ends_it() {
    let mut child = follow(Path::new("-"), Stdio::piped());
    let text = fs::read(corpus("live-10.0/backup-default.jsonl")).unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&text).unwrap();
    drop(input);
    let (said, code) = over(child);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn only_one_file_is_followed() {
    let folder = corpus("live-10.0");
    let file = folder.join("backup-default.jsonl");
    let arguments = [Path::new("check"), Path::new("--follow"), &folder];
    run(arguments).refused(&["--follow takes one file"]);
    run(arguments[..2].iter().copied().chain([&*file, &*file]))
        .refused(&["--follow takes one file"]);
    let missing = folder.join("missing");
    let ran = run(arguments[..2].iter().copied().chain([&*missing]));
    assert!(
        ran.code == 2 && ran.stdout.contains("cannot open it"),
        "{ran:?}"
    );
}

#[test]
fn many_traces_are_told_of_in_order() {
    let folder = corpus("mutants");
    let once = run([Path::new("check"), &folder]);
    let lines = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| line.starts_with("reject "))
            .map(|line| {
                line.split(' ')
                    .nth(1)
                    .unwrap()
                    .split(".jsonl")
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    let names = lines(&once.stdout);
    assert!(names.len() > 30, "{once:?}");
    assert!(names.is_sorted(), "{names:?}");
    let backwards: Vec<PathBuf> = names
        .iter()
        .rev()
        .map(|name| PathBuf::from(format!("{name}.jsonl")))
        .collect();
    let ran =
        run(std::iter::once(Path::new("check")).chain(backwards.iter().map(PathBuf::as_path)));
    let mut again = lines(&ran.stdout);
    again.reverse();
    assert_eq!(again, names);
}

/// Waits until the process has read the file to its end, which the system tells of each open file.
fn has_read(child: &Child, path: &Path) {
    let length = fs::metadata(path).unwrap().len();
    let descriptors = PathBuf::from(format!("/proc/{}/fd", child.id()));
    let at_the_end = || {
        let entry = fs::read_dir(&descriptors)
            .ok()?
            .flatten()
            .find(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == path))?;
        let info = format!(
            "/proc/{}/fdinfo/{}",
            child.id(),
            entry.file_name().to_str()?
        );
        let position = fs::read_to_string(info).ok()?;
        let position = position
            .lines()
            .find_map(|line| line.strip_prefix("pos:"))?;
        (position.trim() == length.to_string()).then_some(())
    };
    while at_the_end().is_none() {
        std::thread::yield_now();
    }
}

#[test]
fn a_file_that_is_truncated_or_renamed_ends_it_and_it_says_so() {
    let text = fs::read(corpus("live-10.0/backup-default.jsonl")).unwrap();
    for (become_of, words) in [
        ("truncated", "the file was truncated"),
        ("renamed", "the file was renamed or replaced"),
        ("replaced", "the file was renamed or replaced"),
        ("removed", "the file was renamed or replaced"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("log.jsonl");
        fs::write(&path, &text).unwrap();
        let child = follow(&path, Stdio::null());
        has_read(&child, &path);
        match become_of {
            "truncated" => File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(0)
                .unwrap(),
            "renamed" => fs::rename(&path, folder.path().join("log.jsonl.1")).unwrap(),
            "removed" => fs::remove_file(&path).unwrap(),
            _ => {
                let other = folder.path().join("new");
                fs::write(&other, &text).unwrap();
                fs::rename(&other, &path).unwrap();
            }
        }
        let (said, code) = over(child);
        assert_eq!(code, Some(0), "{become_of}: {said}");
        assert!(said.starts_with("accept "), "{become_of}: {said}");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(words), "{become_of}: {said}");
    }
}
