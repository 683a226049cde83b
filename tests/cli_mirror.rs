//! Goal: `blockjob copy --mirror` as a person or a script meets it: it says when it is ready, is completed in each of the
//! ways that docs/mirror.md names and in no other, leaves targets alone that it does not take, and refuses what the page
//! says it refuses.
//! Method: the command is started, and what it says is waited for: the line that it is ready, the answer to a signal.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use cli_support::{Ran, assert_valid, blockjob, run, schema};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use tempfile::TempDir;

fn scratch(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    };
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| read(entry.unwrap())).collect()
}

/// A mirror under way.
struct Mirror {
    child: Child,
    stderr: BufReader<ChildStderr>,
    heard: String,
}

impl Mirror {
    fn start(folder: &TempDir, arguments: &[&str]) -> Mirror {
        // Whoever runs the tests may have them ignore some signals.
        let mut child = Command::new("env")
            .arg("--default-signal=INT,TERM,HUP,USR1,USR2,TSTP,CONT")
            .arg(snapbox::cmd::cargo_bin!("blockjob"))
            .current_dir(folder)
            .args(["copy", "--mirror"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Mirror {
            child,
            stderr,
            heard: String::new(),
        }
    }

    /// Reads messages up to one that begins with this.
    #[track_caller]
    fn hear(&mut self, word: &str) {
        loop {
            let before = self.heard.len();
            let bytes = self.stderr.read_line(&mut self.heard).unwrap();
            assert!(
                bytes > 0,
                "it ended before it said {word:?}: {}",
                self.heard
            );
            if self.heard[before..].starts_with(word) {
                return;
            }
        }
    }

    fn signal(&self, signal: &str) {
        // The shell's own kill: the program is not on every machine.
        let process = self.child.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill \"$0\" \"$1\"", signal, &process])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// What continues it earlier is lost.
    fn until_stopped(&self) {
        let path = format!("/proc/{}/stat", self.child.id());
        while !fs::read_to_string(&path).unwrap().contains(") T ") {
            std::thread::yield_now();
        }
    }

    fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    fn end(mut self) -> Ran {
        let mut stdout = String::new();
        let mut stream = self.child.stdout.take().unwrap();
        stream.read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut self.heard).unwrap();
        // Standard input stays open until here: its end is no reason to end.
        let status = self.child.wait().unwrap();
        Ran {
            code: status.code().expect("it ended by itself"),
            stdout,
            stderr: self.heard,
        }
    }
}

#[test]
fn a_signal_or_a_line_completes_a_mirror_that_is_ready() {
    for by_line in [false, true] {
        let folder = scratch(&[("a", &vec![1; 300_000]), ("b", b"old")]);
        let mut mirror = Mirror::start(&folder, &["a", "b"]);
        mirror.hear("ready: a line `complete` on standard input or `kill -USR2 ");
        assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"old");
        // What others write until then is in it.
        let mut new = vec![1; 300_000];
        new[200_000..200_005].copy_from_slice(b"other");
        fs::write(folder.path().join("a"), &new).unwrap();
        if by_line {
            mirror.say("please");
            mirror.hear("no such request: \"please\"");
            mirror.say("complete");
        } else {
            mirror.signal("-USR2");
        }
        let ran = mirror.end();
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.starts_with("copied     a -> b: "), "{ran:?}");
        assert!(ran.stdout.contains(" copied again"), "{ran:?}");
        let files = contents(folder.path());
        assert!(files["b"] == new && files.len() == 2);
    }
}

#[test]
fn who_asks_early_has_it_completed_once_all_are_ready() {
    let folder = scratch(&[("a", &vec![1; 200_000]), ("c", &[2; 100])]);
    let arguments = [
        "--speed", "200K", "--chunk", "4K", "--pair", "a", "b", "--pair", "c", "d",
    ];
    let mut mirror = Mirror::start(&folder, &arguments);
    mirror.say("complete");
    mirror.hear("will be completed once every pair is ready");
    let ran = mirror.end();
    assert_eq!(ran.code, 0, "{ran:?}");
    let files = contents(folder.path());
    assert!(files["a"] == files["b"] && files["c"] == files["d"] && files.len() == 4);
}

#[test]
fn ctrl_c_gives_a_ready_mirror_up_and_every_target_is_what_it_was() {
    let folder = scratch(&[("a", &vec![1; 300_000]), ("b", b"old"), ("c", b"new")]);
    let before = contents(folder.path());
    let arguments = [
        "--json",
        "--progress-interval",
        "0",
        "--pair",
        "a",
        "b",
        "--pair",
        "c",
        "d",
    ];
    let mut mirror = Mirror::start(&folder, &arguments);
    mirror.hear("ready: ");
    mirror.signal("-INT");
    let ran = mirror.end();
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.says(&["cancelling", "cancelled; every target is what it was"]);
    let lines = ran.json();
    assert_eq!(lines[2]["ending"], "unpivoted", "{ran:?}");
    assert_eq!(lines.last().unwrap()["verdict"], "cancelled", "{ran:?}");
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn where_the_pairs_come_by_standard_input_only_the_signal_completes() {
    let folder = scratch(&[("a", &vec![1; 300_000])]);
    let mut mirror = Mirror::start(&folder, &["--group", "-"]);
    mirror.say(r#"{"source": "a", "target": "b"}"#);
    drop(mirror.child.stdin.take());
    mirror.hear("ready: `kill -USR2 ");
    mirror.signal("-USR2");
    let ran = mirror.end();
    assert_eq!(ran.code, 0, "{ran:?}");
    let files = contents(folder.path());
    assert!(files["a"] == files["b"] && files.len() == 2);
}

#[test]
fn a_device_that_was_written_when_the_others_were_given_up_is_told_of() {
    let folder = scratch(&[("a", b"new"), ("b", b"old"), ("c", &vec![2; 70_000])]);
    fs::write(folder.path().join("image"), vec![1; 1 << 20]).unwrap();
    let losetup = |arguments: &[&str]| {
        let answer = Command::new("losetup")
            .args(arguments)
            .current_dir(&folder)
            .output();
        let answer = answer.ok().filter(|answer| answer.status.success())?;
        Some(String::from_utf8(answer.stdout).unwrap().trim().to_owned())
    };
    let Some(device) = losetup(&["-f", "--show", "image"]) else {
        eprintln!("SKIP: no loop device (needs root)");
        return;
    };
    let arguments = [
        "--allow-in-place",
        "--pair",
        "a",
        "b",
        "--pair",
        "c",
        &device,
    ];
    let mut mirror = Mirror::start(&folder, &arguments);
    mirror.hear("ready: ");
    mirror.signal("-INT");
    let ran = mirror.end();
    losetup(&["-d", &device]).unwrap();
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.says(&["a target that was written in place has the new contents"]);
    let files = contents(folder.path());
    assert_eq!(files["b"], b"old");
    assert!(files["image"].starts_with(&files["c"]));
}

#[test]
fn machines_are_told_when_it_is_ready_and_the_oracle_accepts_the_trace() {
    let folder = scratch(&[("a", &vec![1; 300_000]), ("c", &vec![2; 70_000])]);
    let arguments = [
        "--json",
        "--progress-interval",
        "0",
        "--trace",
        "trace",
        "--verify",
        "--pair",
        "a",
        "b",
        "--pair",
        "c",
        "d",
    ];
    let mut mirror = Mirror::start(&folder, &arguments);
    mirror.hear("ready: ");
    fs::write(folder.path().join("c"), vec![3; 70_000]).unwrap();
    mirror.signal("-TSTP");
    mirror.until_stopped();
    mirror.signal("-CONT");
    mirror.signal("-USR2");
    let ran = mirror.end();
    assert_eq!(ran.code, 0, "{ran:?}");
    let (lines, schema) = (ran.json(), schema("copy"));
    for line in &lines {
        assert_valid(&schema, line);
    }
    let kinds: Vec<_> = lines
        .iter()
        .map(|line| line["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["ready", "ready", "copy", "copy", "summary"]);
    assert_eq!(lines[0]["job"], "copy0");
    assert_eq!(lines[3]["verified"], true);
    assert_eq!(lines[3]["recopied_bytes"], 70_000);
    let files = contents(folder.path());
    assert!(files["a"] == files["b"] && files["c"] == files["d"]);
    let trace = folder.path().join("trace");
    let judged = run([Path::new("check"), &trace]);
    assert_eq!(judged.code, 0, "{judged:?}");
    assert!(judged.stdout.starts_with("accept "), "{judged:?}");
    let text = fs::read_to_string(trace).unwrap();
    for word in ["\"ready\"", "\"complete\"", "\"compare\""] {
        assert!(text.contains(word), "no {word} in the trace");
    }
}

#[test]
fn no_line_for_machines_stands_in_another() {
    // Longer than what a pipe takes at once, each line for itself and all together, beside as many others as can be.
    let folder = scratch(&[("a", &vec![1; 20_000])]);
    let deep = vec!["d".repeat(200); 12].join("/");
    fs::create_dir_all(folder.path().join(&deep)).unwrap();
    let target = |number: usize| format!("{deep}/{number}");
    let mut arguments = vec!["--json", "--progress-interval", "0.000001"];
    let targets: Vec<_> = (0..64).map(target).collect();
    for target in &targets {
        arguments.extend(["--pair", "a", target]);
    }
    let mut mirror = Mirror::start(&folder, &arguments);
    let mut stream = mirror.child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        // Slowly: then what is written waits for room in the middle.
        let (mut text, mut some) = (Vec::new(), [0; 10]);
        loop {
            match stream.read(&mut some).unwrap() {
                0 => return text,
                bytes => text.extend(&some[..bytes]),
            }
        }
    });
    mirror.hear("ready: ");
    mirror.signal("-USR2");
    let code = mirror.child.wait().unwrap().code();
    let text = String::from_utf8(reader.join().unwrap()).unwrap();
    assert_eq!(code, Some(0));
    let kinds: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line))
        .map(|line| line["kind"].as_str().unwrap().to_owned())
        .collect();
    assert!(kinds.contains(&"progress".to_owned()));
    assert_eq!(kinds.iter().filter(|kind| *kind == "ready").count(), 64);
}

#[test]
fn a_killed_mirror_leaves_the_target_alone_and_the_next_one_cleans_up() {
    let folder = scratch(&[("a", &vec![1; 300_000]), ("b", b"old")]);
    let mut mirror = Mirror::start(&folder, &["a", "b"]);
    mirror.hear("ready: ");
    mirror.child.kill().unwrap();
    mirror.child.wait().unwrap();
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"old");
    let mut mirror = Mirror::start(&folder, &["a", "b"]);
    mirror.hear("ready: ");
    mirror.say("complete");
    let ran = mirror.end();
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.says(&["note: removed ", "which a copy that died had left"]);
    let files = contents(folder.path());
    assert!(files["a"] == files["b"] && files.len() == 2);
}

#[test]
fn a_plain_copy_has_nothing_to_complete_and_a_dry_run_says_what_a_mirror_would_do() {
    let folder = scratch(&[("a", &vec![1; 300_000])]);
    let ran = Ran::from(
        blockjob()
            .current_dir(&folder)
            .args(["copy", "--mirror", "--dry-run", "a", "b"])
            .output()
            .unwrap(),
    );
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "would create b from a (293 KiB)\n")
    );
    assert_eq!(contents(folder.path()).len(), 1);
}

#[test]
fn the_page_s_refusals_are_the_command_s() {
    let page = include_str!("../docs/mirror.md");
    let folder = scratch(&[("a", b"one")]);
    let before = contents(folder.path());
    let table = page.split("| with `--mirror` | because |").nth(1).unwrap();
    let cells = table
        .lines()
        .skip(2)
        .map_while(|line| line.strip_prefix("| "));
    let mut tried = 0;
    for cell in cells.map(|line| line.split(" | ").next().unwrap()) {
        if !cell.starts_with('`') {
            assert_eq!(cell, "more than 64 pairs");
            continue;
        }
        for option in cell.split(", ") {
            let option = option.trim_matches('`');
            let ran = Ran::from(
                blockjob()
                    .current_dir(&folder)
                    .args(["copy", "--mirror", "a", "b"])
                    .args(option.split(' '))
                    .output()
                    .unwrap(),
            );
            // Without a list it is refused for that already.
            if option == "--on-source-error ignore" {
                ran.refused(&["--mirror and --on-source-error ignore exclude each other"]);
            } else {
                let word = option.split(' ').next().unwrap();
                ran.refused(&[&format!("--mirror and {word} exclude each other"), "tip: "]);
            }
            tried += 1;
        }
    }
    assert_eq!(tried, 4);
    assert_eq!(contents(folder.path()), before);
}
