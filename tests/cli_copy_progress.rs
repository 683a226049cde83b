//! Goal: whoever waits for a copy sees how far it is: a person at a terminal by a bar, and a line for each copy of
//! several; a program by objects at intervals, as their schema says. What stands on the terminal is gone in the end, and
//! messages do not get mixed up with it.
//! Method: copies that a speed limit makes slow; the terminal is that of `script`, of which what it shows in the end is
//! reckoned from what was sent to it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use cli_support::copying::{copy, scratch};
use cli_support::{assert_valid, schema};
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn a_program_hears_how_far_it_is_as_the_schema_says() {
    let folder = scratch(&[("a", &vec![7; 40_000]), ("b", &vec![8; 20_000])]);
    let ran = copy(
        &folder,
        &[
            "--json",
            "--progress-interval",
            "0.05",
            "--speed",
            "64K",
            "--pair",
            "a",
            "c",
            "--pair",
            "b",
            "d",
        ],
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let (lines, copies) = (ran.json(), schema("copy"));
    for line in &lines {
        assert_valid(&copies, line);
    }
    let kinds: Vec<_> = lines
        .iter()
        .map(|line| line["kind"].as_str().unwrap())
        .collect();
    let told = kinds.iter().take_while(|kind| **kind == "progress").count();
    assert!(told > 0, "{kinds:?}");
    assert_eq!(kinds[told..], ["copy", "copy", "summary"]);
    let mut before = 0;
    for line in &lines[..told] {
        let number = |name: &str| line[name].as_u64().unwrap();
        assert!((before..=60_000).contains(&number("done_bytes")));
        before = number("done_bytes");
        assert_eq!((number("total_bytes"), number("pairs")), (60_000, 2));
        let jobs = line["jobs"].as_array().unwrap();
        let parts = number("waiting_pairs") + number("ended_pairs") + jobs.len() as u64;
        assert_eq!(parts, 2);
        for job in jobs {
            assert_eq!(job["speed_bytes_per_second"], 64 << 10);
        }
    }
    let summary = lines.last().unwrap();
    assert_eq!(summary["copied_bytes"], 60_000);
    assert_eq!(
        (&summary["sync"], &summary["durable"]),
        (&Value::from("data"), &Value::from(true))
    );
    // Never, and only for machines.
    let never = copy(
        &folder,
        &[
            "--json",
            "--progress-interval",
            "0",
            "--speed",
            "64K",
            "b",
            "e",
        ],
    );
    assert!(never.json().iter().all(|line| line["kind"] != "progress"));
    copy(&folder, &["--progress-interval", "2", "a", "e"]).refused(&["--json"]);
}

/// A terminal's width.
const COLUMNS: usize = 120;

/// A terminal, and what was sent to it.
struct Terminal {
    child: Child,
    from: BufReader<std::process::ChildStdout>,
    sent: String,
}

impl Terminal {
    /// Runs `copy` on one; none where there is no `script`.
    fn copy(folder: &TempDir, arguments: &str) -> Option<Terminal> {
        Terminal::copy_after(folder, "", arguments)
    }

    /// The same, after something else in the same process.
    fn copy_after(folder: &TempDir, before: &str, arguments: &str) -> Option<Terminal> {
        let program = snapbox::cmd::cargo_bin!("blockjob").display();
        // The process's number first, so that it can be sent signals.
        let command = format!(
            "stty cols {COLUMNS} rows 24; echo $$; {before} exec {program} copy {arguments}"
        );
        let child = Command::new("env")
            .args(["--default-signal=INT,TERM,HUP,USR1,TSTP,CONT", "script"])
            .args(["-q", "-e", "-f", "-c", &command, "/dev/null"])
            .current_dir(folder)
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("SKIPPED: there is no script(1) here");
            return None;
        };
        let from = BufReader::new(child.stdout.take().unwrap());
        Some(Terminal {
            child,
            from,
            sent: String::new(),
        })
    }

    /// Types a key.
    fn key(&mut self, key: u8) {
        let keyboard = self.child.stdin.as_mut().unwrap();
        keyboard.write_all(&[key]).unwrap();
        keyboard.flush().unwrap();
    }

    /// Reads until this was sent.
    fn until(&mut self, words: &str) {
        while !self.sent.contains(words) {
            let more = self.from.fill_buf().unwrap();
            assert!(!more.is_empty(), "no {words:?} in {:?}", self.sent);
            let length = more.len();
            self.sent.push_str(&String::from_utf8_lossy(more));
            self.from.consume(length);
        }
    }

    /// What the terminal shows in the end, and the exit code.
    fn end(mut self) -> (Vec<String>, String, i32) {
        let mut rest = Vec::new();
        self.from.read_to_end(&mut rest).unwrap();
        self.sent.push_str(&String::from_utf8_lossy(&rest));
        let code = self.child.wait().unwrap().code().unwrap();
        (screen(&self.sent), self.sent, code)
    }
}

/// The lines that a terminal shows after this: as far as bars go, the cursor goes up and to the line's begin, and lines
/// are cleared.
fn screen(sent: &str) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![Vec::new()], 0_usize, 0_usize);
    let mut characters = sent.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                if row == lines.len() {
                    lines.push(Vec::new());
                }
            }
            '\u{1b}' => {
                characters.next_if_eq(&'[');
                let mut number = String::new();
                let end = loop {
                    match characters.next() {
                        Some(digit) if digit.is_ascii_digit() || "?;".contains(digit) => {
                            number.push(digit);
                        }
                        end => break end,
                    }
                };
                let count: usize = number.parse().unwrap_or(1);
                match end {
                    Some('A') => row = row.saturating_sub(count),
                    Some('B') => row = (row + count).min(lines.len() - 1),
                    Some('K') => {
                        if number == "2" {
                            lines[row].clear();
                        } else {
                            lines[row].truncate(column);
                        }
                    }
                    Some('J') => {
                        lines[row].truncate(column);
                        lines.truncate(row + 1);
                    }
                    _ => {}
                }
            }
            character => {
                // A full line goes on in the next once there is more.
                if column == COLUMNS {
                    (row, column) = (row + 1, 0);
                    if row == lines.len() {
                        lines.push(Vec::new());
                    }
                }
                let line: &mut Vec<char> = &mut lines[row];
                while line.len() <= column {
                    line.push(' ');
                }
                line[column] = character;
                column += 1;
            }
        }
    }
    let lines = lines
        .into_iter()
        .map(|line| line.into_iter().collect::<String>());
    let lines = lines.map(|line| line.trim_end().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn a_person_sees_a_bar_with_rate_and_time_left_and_it_goes() {
    let folder = scratch(&[("a", &vec![7; 200_000])]);
    let Some(mut terminal) = Terminal::copy(&folder, "--speed 64K a b") else {
        return;
    };
    terminal.until(" left");
    let shown = screen(&terminal.sent).pop().unwrap();
    assert!(shown.contains(" of 195 KiB, "), "{shown}");
    assert!(shown.contains("/s, "), "{shown}");
    assert!(shown.chars().count() <= 80, "{shown}");
    let (lines, sent, code) = terminal.end();
    assert_eq!(code, 0, "{sent:?}");
    // The number, and the result.
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].contains("a -> b: 195 KiB in "), "{lines:?}");
}

#[test]
fn a_key_that_the_terminal_shows_leaves_nothing_of_the_bar() {
    let folder = scratch(&[("a", &vec![7; 10_000_000]), ("b", b"old")]);
    let Some(mut terminal) = Terminal::copy(&folder, "--speed 64K a b") else {
        return;
    };
    terminal.until(" left");
    // Ctrl-C.
    terminal.key(3);
    let (lines, sent, code) = terminal.end();
    assert_eq!(code, 1, "{sent:?}");
    assert!(sent.contains("^C"), "{sent:?}");
    assert_eq!(
        lines[1..],
        [
            "cancelling; once more to cancel by force",
            "cancelled; every target is what it was",
            "cancelled  a -> b: the target is what it was",
        ],
        "{sent:?}"
    );
}

#[test]
fn of_several_copies_each_has_a_line_and_a_message_stands_apart() {
    let folder = scratch(&[("a", &vec![7; 200_000])]);
    let pair = |number| format!("--pair a target-number-{number}");
    let pairs = (0..12).map(pair).collect::<Vec<_>>().join(" ");
    let Some(mut terminal) = Terminal::copy(&folder, &format!("--speed 64K {pairs}")) else {
        return;
    };
    terminal.until("0 of 12 through, 12 under way");
    terminal.until(" left");
    let shown = screen(&terminal.sent);
    let parts = shown.iter().filter(|line| line.contains(" %  "));
    assert_eq!(parts.count(), 8 + 1, "{shown:#?}");
    assert!(
        shown.iter().all(|line| line.chars().count() <= 80),
        "{shown:#?}"
    );
    let number = screen(&terminal.sent)[0].clone();
    let kill = Command::new("sh")
        .args(["-c", "kill -USR1 \"$0\"", &number])
        .status();
    assert!(kill.unwrap().success());
    terminal.until("copy0: running");
    terminal.until("0 of 12 through, 12 under way: ");
    let shown = screen(&terminal.sent);
    let line = shown
        .iter()
        .find(|line| line.starts_with("copy0: running, "));
    let line = line.unwrap_or_else(|| panic!("{shown:#?}"));
    assert!(
        line.ends_with(", at most 64.0 KiB/s, to target-number-0"),
        "{shown:#?}"
    );
    let (lines, sent, code) = terminal.end();
    assert_eq!(code, 0, "{sent:?}");
    // The number; the state, of which eight have a line, one for those who have not, and one for all; the results.
    assert_eq!(lines.len(), 1 + 10 + 13, "{lines:#?}");
    assert!(
        lines[23].starts_with("12 pairs, 2.29 MiB in "),
        "{lines:#?}"
    );
}

#[test]
fn a_terminal_can_try_again_what_an_error_has_stopped() {
    let folder = scratch(&[("a", &vec![7; 1_000_000]), ("b", &vec![1; 1_000_000])]);
    if Command::new("prlimit").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no prlimit here");
        return;
    }
    // What the copy can be rid of again, and what is not looked for beforehand in place.
    let options = "--on-target-error stop --in-place a b";
    let program = "prlimit --fsize=500000:unlimited --pid $$ &&";
    let Some(mut terminal) = Terminal::copy_after(&folder, program, options) else {
        return;
    };
    terminal.until("copy0 has stopped, because of an error");
    let number = screen(&terminal.sent)[0].clone();
    let run = |command: &str| {
        let ran = Command::new("sh").args(["-c", command, &number]).status();
        assert!(ran.unwrap().success());
    };
    run("prlimit --fsize=unlimited --pid \"$0\"");
    run("kill -CONT \"$0\"");
    let (lines, sent, code) = terminal.end();
    assert_eq!(code, 0, "{sent:?}");
    assert!(lines.last().unwrap().starts_with("copied "), "{lines:?}");
    assert_eq!(
        fs::read(folder.path().join("b")).unwrap(),
        vec![7; 1_000_000]
    );
}
