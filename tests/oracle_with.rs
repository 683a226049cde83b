//! Goal: recordings of one run are held against each other, what one leaves out the other fills in, and
//! nothing is refused for what a recording merely lacks.
//!
//! Method: conversations with `qemu-storage-daemon` 10.0.2 and the trace logs it wrote meanwhile
//! (`tests/corpus/pairs`) agree. Then one side is altered so that it is still legal by itself, and the two
//! together must be refused, by the rule that names what differs. Then either side is cut at every
//! line, at its beginning and at its end, and nothing may be refused for that.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs;
use std::path::{Path, PathBuf};

use blockjob::oracle::{self, Options, Outcome, Verdict};
use cli_support::{assert_valid, run, schema};

const PAIRS: [&str; 6] = [
    "backup",
    "failure",
    "late",
    "mirror",
    "transaction",
    "two-monitors",
];

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus/pairs")
        .join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(recorded(name)).unwrap()
}

fn check(trace: &Path, with: &[&Path]) -> Verdict {
    let with: Vec<PathBuf> = with.iter().map(|path| path.to_path_buf()).collect();
    oracle::with::check(trace, &with, &Options::default(), Vec::new())
}

/// Two recordings as texts, in files.
struct Two {
    folder: tempfile::TempDir,
}

impl Two {
    fn new() -> Two {
        Two {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `trace` held against `log`.
    fn check(&self, trace: &str, log: &str) -> Verdict {
        fs::write(self.path("trace"), trace).unwrap();
        fs::write(self.path("log"), log).unwrap();
        check(&self.path("trace"), &[&self.path("log")])
    }

    /// The same, where each by itself is legal.
    fn check_legal(&self, trace: &str, log: &str) -> Verdict {
        for text in [trace, log] {
            let verdict = oracle::check_reader("alone", text.as_bytes(), &Options::default());
            assert!(
                matches!(verdict.outcome, Outcome::Accept),
                "{verdict}\n{text}"
            );
        }
        self.check(trace, log)
    }
}

#[track_caller]
fn accepted(verdict: &Verdict) {
    assert!(matches!(verdict.outcome, Outcome::Accept), "{verdict}");
}

/// The rule that it breaks, and the line.
#[track_caller]
fn refused(verdict: &Verdict) -> (&'static str, u64) {
    let fault = verdict.fault().unwrap_or_else(|| panic!("{verdict}"));
    (fault.rule, fault.line)
}

/// The lines without those that have all of these words.
fn without(text: &str, words: &[&str]) -> String {
    let left = |line: &&str| !words.iter().all(|word| line.contains(word));
    let kept: Vec<&str> = text.lines().filter(left).collect();
    assert!(kept.len() < text.lines().count(), "{words:?} are in it");
    kept.join("\n") + "\n"
}

/// The number of the first line that has all of these words.
fn line(text: &str, words: &[&str]) -> u64 {
    let has = |line: &str| words.iter().all(|word| line.contains(word));
    text.lines().position(has).unwrap() as u64 + 1
}

#[test]
fn what_was_recorded_of_one_run_agrees_whichever_is_named_first() {
    let mut told = Vec::new();
    for name in PAIRS {
        let (trace, log) = (
            recorded(&format!("{name}.jsonl")),
            recorded(&format!("{name}.trace")),
        );
        let mut both = Vec::new();
        for (one, other) in [(&trace, &log), (&log, &trace)] {
            let verdict = check(one, &[other]);
            accepted(&verdict);
            let [with] = verdict.with.as_slice() else {
                panic!("{verdict}");
            };
            both.push((with.paired, with.filled));
        }
        assert_eq!(both[0], both[1], "{name}");
        told.push((name, both[0]));
    }
    // `late` begins when one job is over and another has become ready.
    let expected = [
        ("backup", (2, 0)),
        ("failure", (4, 0)),
        ("late", (2, 4)),
        ("mirror", (1, 0)),
        ("transaction", (2, 0)),
        ("two-monitors", (1, 0)),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_recording_shows_that_the_client_of_another_is_not_the_only_one() {
    let first = recorded("two-monitors.jsonl");
    let second = recorded("two-monitors-monitor2.jsonl");
    let log = recorded("two-monitors.trace");
    // The other client paused the job; alone, that looks like a fault of the daemon.
    let alone = oracle::check(&first, &Options::default());
    assert_eq!(refused(&alone).0, "verb-refused");
    for with in [&[&*log][..], &[&*second], &[&*log, &*second]] {
        let verdict = check(&first, with);
        accepted(&verdict);
        assert_eq!(verdict.with.len(), with.len());
        assert!(
            verdict.to_string().contains("one of several clients"),
            "{verdict}"
        );
    }
    accepted(&check(&second, &[&first]));
    accepted(&check(&log, &[&first, &second]));
    // Whoever says that it is the only one is believed.
    let sole = Options {
        observer: oracle::Observer::Sole,
        ..Options::default()
    };
    let verdict = oracle::with::check(&first, &[log], &sole, Vec::new());
    assert_eq!(refused(&verdict).0, "verb-refused");
}

#[test]
fn what_contradicts_is_refused_though_each_is_legal_by_itself() {
    let two = Two::new();
    let (trace, log) = (read("backup.jsonl"), read("backup.trace"));
    accepted(&two.check_legal(&trace, &log));

    // The log has no pause of the first job, which the conversation shows.
    let job = log.split(' ').nth(2).unwrap();
    let calm = without(
        &without(&log, &[job, "(running-->paused)"]),
        &[job, "(paused-->running)"],
    );
    let verdict = two.check_legal(&trace, &calm);
    let paused = line(&trace, &["JOB_STATUS_CHANGE", "paused"]);
    assert_eq!(refused(&verdict), ("other-source-status", paused));
    assert!(verdict.explanations[0].history.len() > 2, "{verdict}");
    // And the other way round: then the line is still one of the conversation.
    let calm_trace: String = trace
        .split_inclusive('\n')
        .enumerate()
        // The pause, and the return from it.
        .filter(|(at, _)| ![paused, paused + 1].contains(&(*at as u64 + 1)))
        .map(|(_, line)| line)
        .collect();
    fs::write(two.path("calm"), &calm_trace).unwrap();
    fs::write(two.path("log"), &log).unwrap();
    let verdict = check(&two.path("log"), &[&two.path("calm")]);
    let waiting = line(&calm_trace, &["JOB_STATUS_CHANGE", "waiting"]);
    assert_eq!(refused(&verdict), ("other-source-status", waiting));
    assert_eq!(verdict.elsewhere.as_deref(), two.path("calm").to_str());
    assert!(
        verdict
            .to_string()
            .starts_with(&format!("reject {}:{waiting} ", two.path("calm").display()))
    );

    // The refusal of a verb that the log has not looked up.
    let verdict = two.check_legal(&trace, &without(&log, &["verb pause (prohibited)"]));
    let refusal = line(&trace, &["cannot accept command verb 'pause'"]);
    assert_eq!(refused(&verdict), ("other-source-verb", refusal));
    // A success of one.
    let (mirror, looks) = (read("mirror.jsonl"), read("mirror.trace"));
    let unseen: String = looks
        .split_inclusive('\n')
        .filter(|line| !line.contains("resume"))
        .collect();
    let verdict = two.check_legal(&mirror, &unseen);
    assert_eq!(refused(&verdict).0, "other-source-verb");

    // A job that the log does not have, between those before and after.
    let (trace, log) = (read("failure.jsonl"), read("failure.trace"));
    let third = log
        .lines()
        .filter(|line| line.contains("undefined"))
        .nth(2)
        .unwrap();
    let address = third.split(' ').nth(2).unwrap();
    let verdict = two.check_legal(&trace, &without(&log, &[address]));
    let created = line(&trace, &["JOB_STATUS_CHANGE", "created", "j2"]);
    assert_eq!(refused(&verdict), ("other-source-job", created));
}

#[test]
fn of_a_filtered_recording_the_log_fills_in_how_jobs_ended() {
    let two = Two::new();
    let failed = read("failure.trace");
    let succeeded = read("backup.trace");
    // The third job of the one failed, the second of the other did not.
    let job = |log: &str, place: usize| -> String {
        let made: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("undefined"))
            .collect();
        let address = made[place].split(' ').nth(2).unwrap();
        let lines = log
            .split_inclusive('\n')
            .filter(|line| line.contains(address));
        lines.collect()
    };
    let (failed, succeeded) = (job(&failed, 2), job(&succeeded, 1));
    let event = |name: &str, member: &str, id: &str, rest: &str| {
        format!("{{\"event\": \"{name}\", \"data\": {{\"{member}\": \"{id}\", {rest}}}}}\n")
    };
    let status = |id: &str, status: &str| {
        event(
            "JOB_STATUS_CHANGE",
            "id",
            id,
            &format!("\"status\": \"{status}\""),
        )
    };
    let ended = |id: &str| {
        let rest = "\"type\": \"backup\", \"len\": 1, \"offset\": 1, \"speed\": 0";
        event("BLOCK_JOB_COMPLETED", "device", id, rest)
    };
    let whole = |id: &str| [status(id, "created"), ended(id), status(id, "null")].concat();
    // Text between the messages: a test's log, from which anything may be missing.
    let trace = ["=== a test ===\n", &*whole("j0")].concat();
    accepted(&two.check_legal(&trace, &succeeded));
    let verdict = two.check_legal(&trace, &failed);
    assert_eq!(refused(&verdict), ("other-source-end", 3));

    let transaction = "{\"execute\": \"transaction\", \"arguments\": {\"actions\": [\
        {\"type\": \"blockdev-backup\", \"data\": {\"job-id\": \"j0\", \"device\": \"a\", \"target\": \"b\", \"sync\": \"full\"}}, \
        {\"type\": \"blockdev-backup\", \"data\": {\"job-id\": \"j1\", \"device\": \"c\", \"target\": \"d\", \"sync\": \"full\"}}], \
        \"properties\": {\"completion-mode\": \"grouped\"}}}\n";
    let members = |id| [status(id, "created"), status(id, "null")].concat();
    let trace = [
        "=== a test ===\n",
        transaction,
        &members("j0"),
        &members("j1"),
    ]
    .concat();
    let again = succeeded.replace("0x", "0xa");
    accepted(&two.check_legal(&trace, &[&*succeeded, &again].concat()));
    let verdict = two.check_legal(&trace, &[&*succeeded, &failed].concat());
    assert_eq!(refused(&verdict), ("group-aborting", 5));
}

#[test]
fn the_log_of_another_run_is_refused() {
    let mut rules = std::collections::BTreeSet::new();
    for name in PAIRS {
        for other in PAIRS.iter().filter(|other| **other != name) {
            let trace = recorded(&format!("{name}.jsonl"));
            let verdict = check(&trace, &[&recorded(&format!("{other}.trace"))]);
            let (rule, _) = refused(&verdict);
            rules.insert(rule);
        }
    }
    assert!(rules.contains("other-source-status"), "{rules:?}");
}

#[test]
fn what_a_recording_merely_lacks_is_no_fault() {
    let two = Two::new();
    let alone = |text: &str| {
        let verdict = oracle::check_reader("alone", text.as_bytes(), &Options::default());
        matches!(verdict.outcome, Outcome::Accept)
    };
    let mut judged = 0;
    for name in PAIRS {
        let (trace, log) = (
            read(&format!("{name}.jsonl")),
            read(&format!("{name}.trace")),
        );
        let lines: Vec<&str> = log.split_inclusive('\n').collect();
        for cut in 1..lines.len() {
            for part in [&lines[..cut], &lines[cut..]] {
                let part = part.concat();
                if alone(&trace) && alone(&part) {
                    judged += 1;
                    accepted(&two.check(&trace, &part));
                }
            }
        }
        let lines: Vec<&str> = trace.split_inclusive('\n').collect();
        for cut in (1..lines.len()).step_by(2) {
            for part in [&lines[..cut], &lines[cut..]] {
                let part = part.concat();
                if alone(&part) {
                    judged += 1;
                    accepted(&two.check(&part, &log));
                }
            }
        }
    }
    assert!(judged > 400, "{judged}");
}

#[test]
fn the_command_says_what_both_show() {
    let (trace, log) = (recorded("late.jsonl"), recorded("late.trace"));
    let (trace, log) = (trace.to_str().unwrap(), log.to_str().unwrap());
    let ran = run(["check", trace, "--with", log]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let said = format!("with {log}: 2 jobs in both, 4 changes that only one of the two shows");
    assert!(ran.stdout.contains(&said), "{ran:?}");

    let other = recorded("backup.trace");
    let ran = run([
        "check",
        "--json",
        trace,
        "--with",
        log,
        "--with",
        other.to_str().unwrap(),
    ]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let verdict: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_valid(&schema("check"), &verdict);
    assert_eq!(verdict["rule"], "other-source-status");
    assert_eq!(verdict["with"][0]["filled"], 4);

    run(["check", trace, log, "--with", log]).refused(&["--with is for one trace"]);
    run(["check", "-", "--with", log]).refused(&["--with is for one trace"]);
    run(["check", trace, "--follow", "--with", log]).refused(&["--follow"]);
    let ran = run(["check", trace, "--with", "/nowhere/at-all.trace"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stdout.contains("/nowhere/at-all.trace"), "{ran:?}");
}
