//! Goal: a trace log of QEMU is judged in full: every edge, every verb, every result.
//!
//! Method: logs that `qemu-storage-daemon` 10.0.2 wrote with `--trace 'job_*'` are accepted, in each form
//! in which QEMU writes them; then every line of them is altered in every way that makes it wrong, and
//! each must be refused.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use blockjob::model::{Profile, Status};
use blockjob::oracle::{self, Options, Outcome, Verdict};

fn logs() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/qemu-log");
    let logs: Vec<(String, String)> = oracle::traces_in(&folder)
        .unwrap()
        .0
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.display().to_string(), text)
        })
        .collect();
    assert!(logs.len() > 5, "the logs are there");
    logs
}

fn judge(text: &str) -> Verdict {
    oracle::check_reader("log", text.as_bytes(), &Options::default())
}

fn accepted(text: &str) -> Verdict {
    let verdict = judge(text);
    assert!(
        matches!(verdict.outcome, Outcome::Accept),
        "{verdict}\n{text}"
    );
    verdict
}

/// The rule that it breaks, and the line.
fn refused(text: &str) -> (&'static str, u64) {
    let verdict = judge(text);
    let fault = verdict
        .fault()
        .unwrap_or_else(|| panic!("{verdict}\n{text}"));
    (fault.rule, fault.line)
}

/// The log with timestamps, of process `process`.
fn stamped(text: &str, process: u32) -> Vec<String> {
    text.lines()
        .enumerate()
        .map(|(at, line)| format!("{process}@1700000000.{at:06}:{line}\n"))
        .collect()
}

/// The log with this line in place of that of this number, from 0; `None`: without it.
fn with(text: &str, at: usize, line: Option<&str>) -> String {
    text.lines()
        .enumerate()
        .filter_map(|(place, old)| if place == at { line } else { Some(old) })
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// The address of the job that a line of the job layer is about.
fn job(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("job_")?;
    rest.split_once(" job ")?.1.split(' ').next()
}

#[test]
fn what_the_daemon_wrote_is_accepted_in_every_form() {
    let mut all = Vec::new();
    for (path, log) in logs() {
        let plain = accepted(&log);
        assert_eq!(plain.profile, Some("qemu-10.0"), "{path}");
        for form in [
            stamped(&log, 4711).concat(),
            log.replace('\n', "\r\n"),
            // The daemon's messages stand in it too, and may be no text.
            log.replace('\n', "\nqemu-storage-daemon: warning: none\n"),
            format!("text before\nmirror_start bs 0x1 s 0x2 opaque (nil)\n{log}"),
        ] {
            let verdict = accepted(&form);
            assert_eq!(
                (verdict.events, verdict.jobs, verdict.fits),
                (plain.events, plain.jobs, plain.fits.clone()),
                "{path}"
            );
        }
        all.push(log);
    }
    // Several daemons write into one file.
    let each: Vec<Vec<String>> = all
        .iter()
        .enumerate()
        .map(|(at, log)| stamped(log, at as u32))
        .collect();
    let mut together = String::new();
    for at in 0..100 {
        for lines in &each {
            together.push_str(lines.get(at).map_or("", String::as_str));
        }
    }
    let verdict = accepted(&together);
    let counts = all.iter().map(|log| judge(log).jobs).sum::<u64>();
    assert_eq!(verdict.jobs, counts);
    // Addresses are those of a process, and a later job may have one again.
    for log in &all {
        let [one, two] = [stamped(log, 1), stamped(log, 2)];
        let pairs: String = one
            .into_iter()
            .zip(two)
            .flat_map(<[String; 2]>::from)
            .collect();
        assert_eq!(accepted(&pairs).jobs, 2 * judge(log).jobs);
        assert_eq!(accepted(&log.repeat(2)).jobs, 2 * judge(log).jobs);
    }
    // What is no text does not matter.
    let mut bytes = b"\xff\xfe\x00\n".to_vec();
    bytes.extend_from_slice(all[0].as_bytes());
    let verdict = oracle::check_reader(
        "log",
        &bytes[..],
        &Options {
            format: Some(oracle::Format::QemuLog),
            ..Options::default()
        },
    );
    assert!(matches!(verdict.outcome, Outcome::Accept), "{verdict}");
}

#[test]
fn a_log_may_begin_and_end_anywhere() {
    for (_, log) in logs() {
        let lines: Vec<&str> = log.lines().collect();
        for at in 0..lines.len() {
            for part in [&lines[at..], &lines[..at]] {
                let text = part.join("\n");
                let verdict = judge(&text);
                assert!(
                    !matches!(verdict.outcome, Outcome::Reject(_)),
                    "{verdict}\n{text}"
                );
            }
        }
        for end in (1..log.len()).step_by(7) {
            let verdict = judge(&log[..end]);
            assert!(!matches!(verdict.outcome, Outcome::Reject(_)), "{verdict}");
        }
    }
}

/// It is accepted, with a note that lines are missing before line `before`, and how often.
fn with_gaps(text: &str, count: usize, before: usize) {
    let verdict = accepted(text);
    let note = format!("{count} gaps in the log, the first of them before line {before}:");
    let told = verdict.notes.iter().any(|told| told.starts_with(&note));
    assert!(told, "{note} {verdict}\n{text}");
}

#[test]
fn a_line_left_out_is_missed_by_the_next_of_its_job() {
    let mut left_out = 0;
    for (_, log) in logs() {
        let lines: Vec<&str> = log.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let edge = line.starts_with("job_state_transition")
                && !line.contains("undefined-->")
                && !line.contains("aborting-->aborting");
            let next = lines[at + 1..]
                .iter()
                .position(|next| job(next) == job(line));
            let Some(next) = next.filter(|_| edge) else {
                continue;
            };
            let text = with(&log, at, None);
            let next = at + 1 + next;
            // What comes in one go cannot be torn apart by whoever switches the events off and on.
            if lines[next].starts_with("job_completed") {
                if line.contains("-->aborting") {
                    assert_eq!(refused(&text), ("run-end", next as u64), "{line}");
                    left_out += 1;
                }
                continue;
            }
            with_gaps(&text, 1, next);
            left_out += 1;
        }
    }
    assert!(left_out > 50, "{left_out}");
}

#[test]
fn the_events_may_be_switched_off_and_on() {
    for (_, log) in logs() {
        let lines: Vec<&str> = log.lines().collect();
        // Where the main loop does nothing else in between, nobody switches anything: inside a command, and
        // where a job that failed ends.
        let count = |lines: &[&str], what| lines.iter().filter(|line| line.contains(what)).count();
        let may_switch: Vec<bool> = (0..lines.len())
            .map(|at| {
                let inside = count(&lines[..at], "qmp_enter_") > count(&lines[..at], "qmp_exit_");
                let fails = lines[at].starts_with("job_completed") && lines[at].contains("ret -");
                !inside && !fails
            })
            .collect();
        for from in (0..lines.len()).filter(|at| may_switch[*at]) {
            for to in (from + 1..lines.len()).filter(|at| may_switch[*at]) {
                let text = [&lines[..from], &lines[to..]].concat().join("\n");
                let verdict = judge(&text);
                let refused = matches!(verdict.outcome, Outcome::Reject(_));
                assert!(!refused, "{verdict}\n{text}");
            }
        }
    }
}

#[test]
fn every_other_status_and_answer_is_refused() {
    let mut altered = 0;
    for (_, log) in logs() {
        for (at, line) in log.lines().enumerate() {
            let mut wrong: Vec<String> = Vec::new();
            if let Some((before, to)) = line
                .strip_suffix(')')
                .filter(|line| line.starts_with("job_state_transition"))
                .and_then(|line| line.split_once("-->"))
            {
                let (before, from) = before.rsplit_once('(').unwrap();
                let from = Status::from_name(from).unwrap();
                for other in Status::ALL.into_iter().filter(|other| other.name() != to) {
                    let word = if from.may_become(other) {
                        "allowed"
                    } else {
                        "disallowed"
                    };
                    // As a broken job layer would write it, whether its table is broken or not.
                    for says in ["allowed", word] {
                        // What is a legal edge is told by the next line, or the result.
                        if from.may_become(other) {
                            continue;
                        }
                        let before = before.replace(" allowed ", &format!(" {says} "));
                        wrong.push(format!("{before}({from}-->{other})"));
                    }
                }
                wrong.push(line.replace(" allowed ", " disallowed "));
                let result = if line.contains("(ret: 0)") { "-5" } else { "0" };
                let (start, rest) = line.split_once("(ret: ").unwrap();
                let rest = rest.split_once(')').unwrap().1;
                if !line.contains("concluded-->") {
                    wrong.push(format!("{start}(ret: {result}){rest}"));
                }
            }
            if line.starts_with("job_apply_verb") {
                wrong.push(if line.contains("(allowed)") {
                    line.replace("(allowed)", "(prohibited)")
                } else {
                    line.replace("(prohibited)", "(allowed)")
                });
            }
            if let Some(before) = line.strip_suffix(" ret 0") {
                wrong.push(format!("{before} ret -5"));
            }
            if let Some(before) = line.strip_suffix(" ret -125") {
                wrong.push(format!("{before} ret 0"));
            }
            for wrong in wrong {
                let (rule, at_line) = refused(&with(&log, at, Some(&wrong)));
                assert_eq!(at_line, at as u64 + 1, "{rule}: {wrong}");
                altered += 1;
            }
        }
    }
    assert!(altered > 1000, "{altered}");
}

#[test]
fn each_rule_has_its_example() {
    let born = "job_state_transition job 0xa (ret: 0) attempting allowed transition (undefined-->created)\n\
                job_state_transition job 0xa (ret: 0) attempting allowed transition (created-->running)\n";
    for (line, rule) in [
        (
            "job_state_transition job 0xa (ret: 0) attempting disallowed transition (running-->pending)",
            "status-transition",
        ),
        (
            "job_state_transition job 0xa (ret: 0) attempting allowed transition (running-->pending)",
            "table-contradicted",
        ),
        (
            "job_state_transition job 0xa (ret: 0) attempting allowed transition (running-->asleep)",
            "log-shape",
        ),
        (
            "job_state_transition job 0xa (ret: 0) attempting allowed transition (running-->aborting)",
            "result",
        ),
        (
            "job_apply_verb job 0xa in state running; applying verb finalize (allowed)",
            "verb-table-contradicted",
        ),
        (
            "job_apply_verb job 0xa in state running; applying verb hop (prohibited)",
            "log-shape",
        ),
        ("job_completed job 0xa ret -5", "run-end"),
        (
            "job_completed job 0xa ret 0\njob_state_transition job 0xa (ret: 0) attempting allowed transition (running-->ready)",
            "result",
        ),
        (
            "qmp_enter_job_finalize {\"id\": \"j\"}\nqmp_job_finalize job 0xa\n\
             job_apply_verb job 0xa in state running; applying verb finalize (prohibited)\nqmp_exit_job_finalize {} 1",
            "verb-outcome",
        ),
        (
            "qmp_enter_job_pause {\"id\": \"j\"}\nqmp_job_pause job 0xa\n\
             job_apply_verb job 0xa in state running; applying verb pause (allowed)\n\
             qmp_exit_job_pause Job 'j' in state 'running' cannot accept command verb 'pause' 0",
            "verb-outcome",
        ),
    ] {
        let text = format!("{born}{line}\n");
        assert_eq!(
            refused(&text),
            (rule, text.lines().count() as u64),
            "{line}"
        );
    }
    // What may have happened while the events were switched off is no fault.
    for line in [
        "job_state_transition job 0xa (ret: 0) attempting allowed transition (undefined-->created)",
        "job_state_transition job 0xa (ret: 0) attempting allowed transition (ready-->standby)",
        "job_apply_verb job 0xa in state paused; applying verb resume (allowed)",
        "job_completed job 0xa ret 0\njob_completed job 0xa ret 0",
    ] {
        let text = format!("{born}{line}\n");
        with_gaps(&text, 1, text.lines().count());
    }
    // A job that was named is called by its name.
    let named = format!(
        "{born}qmp_enter_job_pause {{\"id\": \"j\"}}\nqmp_job_pause job 0xa\n\
         job_state_transition job 0xa (ret: 0) attempting disallowed transition (running-->pending)\n"
    );
    let verdict = judge(&named);
    let fault = verdict.fault().unwrap();
    assert!(
        fault.message.starts_with("job 'j' at 0xa: because"),
        "{verdict}"
    );
    assert_eq!(fault.allowed, ["paused", "ready", "waiting", "aborting"]);
}

#[test]
fn a_damaged_line_is_told_and_no_false_alarm() {
    for (path, log) in logs() {
        let lines: Vec<&str> = log.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if !line.starts_with("job_") {
                continue;
            }
            let torn = &line[..line.len() - 3];
            let verdict = judge(&with(&log, at, Some(torn)));
            if line.starts_with("job_completed") {
                // Less is left of it that could be told.
                continue;
            }
            match verdict.outcome {
                Outcome::Accept if at > 0 || lines.len() > 1 => {
                    let told = verdict.notes.iter().any(|note| note.contains("damaged"));
                    // What comes before the log begins is passed over.
                    assert!(told || at == 0, "{path}: {verdict}");
                }
                other => panic!("{path}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_versions_differ_in_what_their_tables_permit() {
    let complete = |word| {
        format!(
            "job_state_transition job 0xa (ret: 0) attempting allowed transition (ready-->standby)\n\
             job_apply_verb job 0xa in state standby; applying verb complete ({word})\n"
        )
    };
    let fits = accepted(&complete("allowed")).fits;
    assert!(
        fits.contains(&"qemu-6.0") && !fits.contains(&"qemu-4.2"),
        "{fits:?}"
    );
    let fits = accepted(&complete("prohibited")).fits;
    assert!(
        fits.contains(&"qemu-4.2") && !fits.contains(&"qemu-6.0"),
        "{fits:?}"
    );
    // QEMU 2.12 has other names for its events.
    let old = complete("prohibited").replace("job_", "block_job_");
    assert_eq!(accepted(&old).fits, ["qemu-2.12"]);
    let by = |name| {
        let options = Options {
            profile: Profile::by_name(name),
            ..Options::default()
        };
        oracle::check_reader("log", complete("allowed").as_bytes(), &options)
    };
    assert_eq!(
        by("qemu-4.2").fault().unwrap().rule,
        "verb-table-contradicted"
    );
    assert_eq!(
        by("qemu-2.12").fault().unwrap().rule,
        "event-of-another-version"
    );
    let Outcome::Error(error) = by("qemu-2.11").outcome else {
        panic!("there is no such log");
    };
    assert!(error.to_string().contains("choose another"), "{error}");
}
