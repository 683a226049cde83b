//! Goal: a live QEMU does what the specification allows, and our reading of its words is right.
//! Method: drive `qemu-storage-daemon` over QMP on its standard input and output, keep the
//! conversation as it happens, and let the oracle judge it; then take a line away and see it refused.
//!
//! `BLOCKJOB_QEMU` names the daemon; `cargo xtask test` sets it where there is one. Without it
//! every test here says that it was skipped.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use blockjob::oracle::{self, Extent, Observer, Options};
use serde_json::{Value, json};

/// A daemon and the conversation with it.
struct Daemon {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    begun: Instant,
    lines: Vec<String>,
}

impl Daemon {
    /// Starts the daemon of this machine on two files in `folder`.
    fn start(folder: &Path) -> Option<Daemon> {
        let Some(program) = std::env::var_os("BLOCKJOB_QEMU") else {
            eprintln!("SKIPPED: BLOCKJOB_QEMU names no qemu-storage-daemon");
            return None;
        };
        for name in ["source", "target"] {
            let file = File::create(folder.join(name)).unwrap();
            file.set_len(64 << 20).unwrap();
        }
        let node = |name: &str| {
            let file = folder.join(name);
            format!(
                "driver=raw,node-name={name},file.driver=file,file.filename={}",
                file.display()
            )
        };
        let mut child = Command::new(program)
            .args(["--chardev", "stdio,id=m", "--monitor", "chardev=m"])
            .args(["--blockdev", &node("source"), "--blockdev", &node("target")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut daemon = Daemon {
            to: child.stdin.take().unwrap(),
            from: BufReader::new(child.stdout.take().unwrap()),
            child,
            begun: Instant::now(),
            lines: Vec::new(),
        };
        assert!(daemon.read()["QMP"].is_object());
        assert!(daemon.ask("qmp_capabilities", &json!({}))["return"].is_object());
        Some(daemon)
    }

    fn keep(&mut self, direction: &str, message: &Value) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let line = json!({"t": seconds, "dir": direction, "msg": message});
        self.lines.push(line.to_string());
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert!(
            !line.is_empty(),
            "the daemon went away after {:#?}",
            self.lines
        );
        let message = serde_json::from_str(&line).unwrap();
        self.keep("<", &message);
        message
    }

    /// Asks, and returns the answer; events on the way are kept.
    fn ask(&mut self, command: &str, arguments: &Value) -> Value {
        let message = json!({"execute": command, "arguments": arguments});
        self.keep(">", &message);
        writeln!(self.to, "{message}").unwrap();
        loop {
            let answer = self.read();
            if answer.get("event").is_none() {
                return answer;
            }
        }
    }

    /// Reads on until the job `id` is in `status`.
    fn until(&mut self, id: &str, status: &str) {
        loop {
            let message = self.read();
            if message["event"] == "JOB_STATUS_CHANGE"
                && message["data"]["id"] == id
                && message["data"]["status"] == status
            {
                return;
            }
        }
    }

    fn backup(&mut self, id: &str, manual: bool) {
        let answer = self.ask(
            "blockdev-backup",
            &json!({"job-id": id, "device": "source", "target": "target", "sync": "full",
                   "speed": 1 << 20, "auto-finalize": !manual, "auto-dismiss": !manual}),
        );
        assert!(answer["return"].is_object(), "{answer}");
    }

    /// Ends the daemon; the whole conversation.
    fn quit(mut self) -> Vec<String> {
        self.ask("quit", &json!({}));
        assert!(self.child.wait().unwrap().success());
        std::mem::take(&mut self.lines)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already, unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn judge(lines: &[String]) -> oracle::Verdict {
    let text = lines.join("\n") + "\n";
    let options = Options {
        observer: Observer::Sole,
        extent: Extent::Whole,
        ..Options::default()
    };
    oracle::check_reader("live", text.as_bytes(), &options)
}

#[test]
fn a_live_backup_paused_resumed_finalized_and_dismissed_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut daemon) = Daemon::start(folder.path()) else {
        return;
    };
    daemon.backup("j0", true);
    assert!(daemon.ask("job-pause", &json!({"id": "j0"}))["return"].is_object());
    assert!(daemon.ask("job-pause", &json!({"id": "j0"}))["error"].is_object());
    assert!(daemon.ask("job-finalize", &json!({"id": "j0"}))["error"].is_object());
    assert!(daemon.ask("job-resume", &json!({"id": "j0"}))["return"].is_object());
    let speed = daemon.ask("block-job-set-speed", &json!({"device": "j0", "speed": 0}));
    assert!(speed["return"].is_object(), "{speed}");
    daemon.until("j0", "pending");
    assert!(daemon.ask("query-jobs", &json!({}))["return"].is_array());
    assert!(daemon.ask("job-finalize", &json!({"id": "j0"}))["return"].is_object());
    if !daemon
        .lines
        .iter()
        .any(|line| line.contains("\"concluded\""))
    {
        daemon.until("j0", "concluded");
    }
    assert!(daemon.ask("job-dismiss", &json!({"id": "j0"}))["return"].is_object());
    let lines = daemon.quit();
    let verdict = judge(&lines);
    assert_eq!(verdict.word(), "accept", "{verdict}\n{}", lines.join("\n"));

    let without: Vec<String> = lines
        .iter()
        .filter(|line| !line.contains("\"status\":\"waiting\""))
        .cloned()
        .collect();
    assert!(without.len() < lines.len());
    let verdict = judge(&without);
    assert_eq!(verdict.word(), "reject", "{verdict}");
}

#[test]
fn a_live_backup_cancelled_on_the_way_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut daemon) = Daemon::start(folder.path()) else {
        return;
    };
    daemon.backup("j0", false);
    assert!(daemon.ask("job-cancel", &json!({"id": "j0"}))["return"].is_object());
    if !daemon.lines.iter().any(|line| line.contains("\"null\"")) {
        daemon.until("j0", "null");
    }
    assert!(daemon.ask("job-resume", &json!({"id": "j0"}))["error"].is_object());
    let lines = daemon.quit();
    let verdict = judge(&lines);
    assert_eq!(verdict.word(), "accept", "{verdict}\n{}", lines.join("\n"));
}
