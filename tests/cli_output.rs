//! Goal: what holds for every subcommand: help, exit codes, pipes that break, colours.
//! Method: run the command with its standard output and environment changed.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use cli_support::{Ran, blockjob, run};

#[test]
fn help_goes_to_standard_output_and_lists_every_subcommand() {
    let ran = run(["--help"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let listed = ran.stdout.split_once("Commands:\n").unwrap().1;
    let names: Vec<&str> = listed
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    assert!(names.contains(&"copy"), "{names:?}");
    for name in names {
        for flag in ["--help", "-h"] {
            let ran = run([name, flag]);
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{name}");
            assert!(ran.stdout.contains("Usage: blockjob "), "{name}: {ran:?}");
            let widest = ran.stdout.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(110), "{name} {flag} is {widest:?} wide");
        }
    }
}

#[test]
fn the_help_of_copy_states_its_limits() {
    let ran = run(["copy", "--help"]);
    let help: Vec<&str> = ran.stdout.split_whitespace().collect();
    let help = help.join(" ");
    for word in [
        "one after the other",
        "memory mapping",
        "--in-place",
        "Exit codes",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn usage_errors_exit_with_2() {
    run::<&str>([]).says(&["Usage: blockjob"]);
    assert_eq!(run::<&str>([]).code, 2);
    run(["weather"]).refused(&["weather", "--help"]);
    run(["spec", "--colour"]).refused(&["--colour"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(snapbox::cmd::cargo_bin!("blockjob"))
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    // A closed pipe from the start, so that the first write fails.
    let output = Command::new("sh")
        .args(["-c", "{ \"$0\" spec; echo $? >&2; } | true"])
        .arg(snapbox::cmd::cargo_bin!("blockjob"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "0\n");
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let output = Command::new(snapbox::cmd::cargo_bin!("blockjob"))
        .arg("spec")
        .stdout(File::options().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    Ran::from(output).refused(&["standard output: No space left on device", "tip: "]);
}

#[test]
fn no_colours_reach_a_file_or_a_pipe() {
    for force in ["1", "0"] {
        let output = blockjob()
            .args(["check", "tests/corpus/live-10.0/backup-default.jsonl"])
            .env("CLICOLOR_FORCE", force)
            .env("TERM", "xterm-256color")
            .output()
            .unwrap();
        let ran = Ran::from(output);
        assert!(ran.stdout.starts_with("accept "), "{ran:?}");
        assert!(!ran.stdout.contains('\x1b'), "{ran:?}");
    }
}

/// Runs the command on a terminal of its own; everything the terminal got.
fn on_a_terminal(environment: &str) -> String {
    let blockjob = snapbox::cmd::cargo_bin!("blockjob").display().to_string();
    let line =
        format!("{environment} '{blockjob}' check tests/corpus/live-10.0/backup-default.jsonl");
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_terminal_gets_colours_unless_the_user_wants_none() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: no script(1) to make a terminal with");
        return;
    }
    assert!(on_a_terminal("").contains("\x1b[32maccept\x1b[0m "));
    for environment in ["NO_COLOR=1", "TERM=dumb"] {
        let shown = on_a_terminal(environment);
        assert!(shown.contains("accept "), "{shown:?}");
        assert!(!shown.contains('\x1b'), "{environment}: {shown:?}");
    }
}

#[test]
fn the_readme_shows_what_the_command_says() {
    let readme = include_str!("../README.md");
    let mut shown = 0;
    for block in readme.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for example in block.split("$ blockjob ").skip(1) {
            let (arguments, expected) = example.split_once('\n').unwrap();
            let ran = run(arguments.split_whitespace());
            assert_eq!(ran.stdout, expected, "blockjob {arguments}");
            shown += 1;
        }
    }
    assert!(shown >= 2);
}
