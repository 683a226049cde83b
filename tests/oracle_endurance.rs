//! Goal: no trace crashes the oracle, hangs it or makes it eat memory, whatever its format.
//!
//! Method: lines of 100 MB that are never held as a whole, nesting a million deep, NUL and bytes that are no text at
//! every place of a recording, jobs without end, and a transaction whose members may be in too many states at a time.
//! Memory is the peak that Linux reports of the command, of a short and of a long trace. What `cargo fuzz` found would
//! be here, too: `fuzz/README.md`.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use blockjob::oracle::{Format, Options, Verdict, check_reader};

/// How long the long lines are, bytes.
const LONG_BYTES: u64 = 100 << 20;

fn as_format(format: Option<Format>) -> Options {
    Options {
        format,
        ..Options::default()
    }
}

/// Every format, and whichever it looks like.
fn formats() -> impl Iterator<Item = Option<Format>> {
    Format::ALL.into_iter().map(Some).chain([None])
}

/// A first line of each format, so that the reader is well on its way.
fn beginning(format: Option<Format>) -> &'static str {
    match format {
        Some(Format::Native) => "{\"blockjob_trace\":1,\"profile\":\"reference\"}\n",
        Some(Format::Qmp) | None => {
            "{\"dir\":\"<\",\"msg\":{\"QMP\":{\"version\":{\"qemu\":{\"major\":10,\"minor\":0,\"micro\":2}}}}}\n"
        }
        Some(Format::QmpRaw) => "{\"return\":{}}\n",
        Some(Format::QemuLog) => {
            "job_state_transition job 0x5581 (ret: 0) attempting allowed transition (undefined-->created)\n"
        }
        Some(Format::Libvirt) => {
            "2026-01-01 00:00:00.000+0000: 1: info : qemuMonitorIOProcess:1 : QEMU_MONITOR_IO_PROCESS: mon=0x1 buf={\"return\":{}} len=1\n"
        }
    }
}

fn judged(format: Option<Format>, text: impl Read) -> Verdict {
    let verdict = check_reader("long", BufReader::new(text), &as_format(format));
    // And it can be told.
    assert!(!verdict.to_string().is_empty() && !verdict.to_json().is_empty());
    verdict
}

#[test]
fn a_line_of_a_hundred_megabytes_is_told_and_not_held() {
    for format in formats() {
        for byte in [b'a', b'{', b'\0', b' '] {
            let line = std::io::repeat(byte).take(LONG_BYTES);
            let verdict = judged(format, beginning(format).as_bytes().chain(line));
            assert_ne!(verdict.word(), "reject", "{format:?}: {verdict}");
        }
    }
}

#[test]
fn nesting_a_million_deep_does_no_harm() {
    let deep = [
        "[".repeat(1_000_000),
        "{\"a\":".repeat(1_000_000),
        format!("{{\"event\":\"X\",\"data\":{}", "[".repeat(1_000_000)),
        format!(
            "{{\"dir\":\"<\",\"msg\":{}1{}}}\n",
            "[".repeat(1_000_000),
            "]".repeat(1_000_000)
        ),
    ];
    for format in formats() {
        for deep in &deep {
            judged(format, beginning(format).as_bytes().chain(deep.as_bytes()));
            judged(format, deep.as_bytes());
        }
    }
}

#[test]
fn nul_and_what_is_no_text_does_no_harm_anywhere() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let whole = std::fs::read(corpus.join("live-10.0/backup-default.jsonl")).unwrap();
    let log = std::fs::read_dir(corpus.join("qemu-log")).unwrap();
    let log = log
        .filter_map(Result::ok)
        .find_map(|entry| std::fs::read(entry.path()).ok());
    let log = log.unwrap();
    for trace in [whole, log] {
        for at in (0..trace.len().min(8000)).step_by(41) {
            for byte in [0x00, 0xff, 0xc3] {
                let mut broken = trace.clone();
                broken[at] = byte;
                judged(None, broken.as_slice());
                broken.insert(at, byte);
                judged(None, broken.as_slice());
                // A recording that ends there.
                judged(None, &broken[..=at]);
            }
        }
    }
}

/// One job that comes and goes.
fn a_job(number: u64) -> String {
    let status = |status: &str| {
        format!(
            "{{\"dir\":\"<\",\"msg\":{{\"event\":\"JOB_STATUS_CHANGE\",\"data\":{{\"id\":\"j{number}\",\"status\":\"{status}\"}}}}}}\n"
        )
    };
    let mut text = format!(
        "{{\"dir\":\">\",\"msg\":{{\"execute\":\"block-stream\",\"arguments\":{{\"job-id\":\"j{number}\",\"device\":\"d\"}}}}}}\n"
    );
    text += &(status("created") + &status("running"));
    text += "{\"dir\":\"<\",\"msg\":{\"return\":{}}}\n";
    text += &(status("waiting") + &status("pending"));
    let completed = format!(
        "{{\"dir\":\"<\",\"msg\":{{\"event\":\"BLOCK_JOB_COMPLETED\",\"data\":{{\"device\":\"j{number}\",\"type\":\"stream\",\"len\":8,\"offset\":8,\"speed\":0}}}}}}\n"
    );
    text + &completed + &status("concluded") + &status("null")
}

/// What `blockjob check` says of so many jobs, one after the other, and the most memory it had, in KiB.
fn many_jobs(jobs: u64) -> (String, u64) {
    let mut check = Command::new(env!("CARGO_BIN_EXE_blockjob"))
        .args(["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = check.stdin.take().unwrap();
    to.write_all(beginning(None).as_bytes()).unwrap();
    for number in 0..jobs {
        to.write_all(a_job(number).as_bytes()).unwrap();
    }
    // All but what the pipe holds has been judged by now.
    let status = std::fs::read_to_string(format!("/proc/{}/status", check.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak = peak.trim().trim_end_matches(" kB").parse().unwrap();
    drop(to);
    let output = check.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), peak)
}

/// `few` are more than the command keeps to explain a rejection with (`explain::KEPT_MAX_BYTES`).
fn memory_is_flat(few: u64, many: u64) {
    let (_, at_first) = many_jobs(few);
    let (said, at_last) = many_jobs(many);
    println!("{few} jobs: {at_first} KiB, {many} jobs: {at_last} KiB");
    assert!(said.starts_with("accept"), "{said}");
    assert!(said.contains(&format!("jobs={many}")), "{said}");
    assert!(
        at_last * 10 < at_first * 12,
        "{at_first} KiB, then {at_last} KiB"
    );
}

#[test]
fn memory_does_not_grow_with_the_jobs_that_are_gone() {
    memory_is_flat(20_000, 40_000);
}

// The same by hand, over 10.6 GB through a pipe (80 million lines, 2.4 million jobs; `check.jsonl` is what `cargo bench
// --bench check` leaves, its first line the greeting, 200 times the rest): accepted after 29 s of processor time of the
// user and 2 s of the system, 34 MB at the most (16 MiB are kept for an explanation). A million jobs, 9 million lines: 3.3 s,
// 24.6 MB at the most where 20,000 jobs have 23.1 MB.
//
//     (head -1 check.jsonl; for i in $(seq 200); do tail -n +2 check.jsonl; done) | blockjob check -
#[test]
#[ignore = "a minute: cargo test --release --test oracle_endurance -- --ignored --nocapture"]
fn a_million_jobs_take_no_more_memory_than_a_few_thousand() {
    memory_is_flat(20_000, 1_000_000);
}

#[test]
fn too_many_possibilities_are_bounded_and_told() {
    const MEMBERS: usize = 18;
    let line = |dir: char, msg: &str| format!("{{\"dir\":\"{dir}\",\"msg\":{msg}}}\n");
    let actions: Vec<String> = (0..MEMBERS)
        .map(|at| {
            format!(
                "{{\"type\":\"blockdev-backup\",\"data\":{{\"job-id\":\"j{at}\",\"device\":\"s{at}\",\"target\":\"d{at}\",\"sync\":\"full\"}}}}"
            )
        })
        .collect();
    let mut text = beginning(None).to_owned();
    text += &line(
        '>',
        &format!(
            "{{\"execute\":\"transaction\",\"arguments\":{{\"actions\":[{}],\"properties\":{{\"completion-mode\":\"grouped\"}}}}}}",
            actions.join(",")
        ),
    );
    let status = |at: usize, status: &str| {
        line(
            '<',
            &format!(
                "{{\"event\":\"JOB_STATUS_CHANGE\",\"data\":{{\"id\":\"j{at}\",\"status\":\"{status}\"}}}}"
            ),
        )
    };
    // The actions of a transaction are carried out last first.
    for at in 0..MEMBERS {
        text += &status(at, "created");
    }
    for at in (0..MEMBERS).rev() {
        text += &status(at, "running");
    }
    text += &line('<', "{\"return\":{}}");
    // All of them are asked before any is answered: each may have taken effect or not.
    for at in 0..MEMBERS {
        text += &line(
            '>',
            &format!("{{\"execute\":\"job-cancel\",\"arguments\":{{\"id\":\"j{at}\"}}}}"),
        );
    }
    let verdict = judged(None, text.as_bytes());
    assert_eq!(verdict.word(), "accept", "{verdict}");
    assert!(verdict.widened > 0, "{verdict}");
    assert!(verdict.to_string().contains("widened"), "{verdict}");
}
