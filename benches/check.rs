//! How fast the oracle judges: lines and events a second, on one core, parse included.
//!
//! Method: the recordings of `tests/corpus/live-10.0` that end with every job gone are repeated
//! with fresh job ids as one long conversation, in a file (`check.jsonl` in cargo's folder for such,
//! where it stays). Judging it runs in turn with two floors, splitting it into lines and parsing each
//! line as JSON, and with `jq -c .` on the same file, where jq is installed. What is compared is the
//! time on a processor, not that of the clock: other work on the machine takes nothing from it.
//! Medians over the rounds.

mod measure;

use std::collections::BTreeSet;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use blockjob::oracle::{self, Options, Outcome};
use serde_json::Value;

const LINES: usize = 400_000;
const ROUNDS: usize = 5;

/// A recording without its handshake and its end, and the ids of its jobs.
struct Part {
    lines: Vec<String>,
    ids: BTreeSet<String>,
}

/// The part of a recording that can be repeated, if it ends with every job gone.
fn part(path: &Path) -> Option<Part> {
    let text = fs::read_to_string(path).ok()?;
    let mut part = Part {
        lines: Vec::new(),
        ids: BTreeSet::new(),
    };
    let mut alive = BTreeSet::new();
    let mut open = 0_i64;
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).ok()?;
        let message = &record["msg"];
        if message.get("QMP").is_some() {
            continue;
        }
        if message["execute"] == "quit" {
            break;
        }
        if message["event"] == "JOB_STATUS_CHANGE" {
            let id = message["data"]["id"].as_str()?.to_owned();
            part.ids.insert(id.clone());
            if message["data"]["status"] == "null" {
                alive.remove(&id);
            } else {
                alive.insert(id);
            }
        }
        open += i64::from(record["dir"] == ">");
        open -= i64::from(message.get("return").is_some() || message.get("error").is_some());
        part.lines.push(line.to_owned());
    }
    (alive.is_empty() && open == 0 && !part.ids.is_empty()).then_some(part)
}

/// One long conversation.
fn conversation() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/live-10.0");
    let (traces, _) = oracle::traces_in(&folder).expect("the corpus is there");
    let parts: Vec<Part> = traces.iter().filter_map(|path| part(path)).collect();
    assert!(parts.len() > 50, "most recordings can be repeated");
    let mut text = String::new();
    text.push_str(
        "{\"dir\":\"<\",\"msg\":{\"QMP\":{\"version\":{\"qemu\":{\"major\":10,\"minor\":0}}}}}\n",
    );
    let mut lines = 1;
    let mut turn = 0;
    while lines < LINES {
        for part in &parts {
            turn += 1;
            for line in &part.lines {
                let mut line = line.clone();
                for id in &part.ids {
                    line = line
                        .replace(&format!("\"{id}\""), &format!("\"{id}-{turn}\""))
                        .replace(&format!("'{id}'"), &format!("'{id}-{turn}'"));
                }
                text.push_str(&line);
                text.push('\n');
                lines += 1;
            }
        }
    }
    text
}

/// The time that this thread has spent on a processor.
fn spent() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.unwrap_or_default())
}

/// The time that `work` spends on a processor.
fn timed(work: impl FnOnce()) -> Duration {
    let before = spent();
    work();
    spent().saturating_sub(before)
}

/// The time that ended children have spent on a processor, in hundredths of a second.
fn spent_by_children() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The fields behind the name, which ends with the last parenthesis: 16 and 17, counted from 1.
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_ascii_whitespace().skip(13).take(2);
    Duration::from_millis(
        10 * ticks
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum::<u64>(),
    )
}

/// The time that `jq -c .` takes for the file; nothing where there is no jq.
fn jq(path: &Path) -> Duration {
    let before = spent_by_children();
    let ran = Command::new("jq")
        .args(["-c", "."])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    match ran {
        Ok(status) if status.success() => spent_by_children().saturating_sub(before),
        _ => Duration::ZERO,
    }
}

fn main() {
    let text = conversation();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("check.jsonl");
    fs::write(&path, &text).expect("cargo's folder can be written to");
    let lines = text.lines().count();
    let verdict = oracle::check(&path, &Options::default());
    assert!(matches!(verdict.outcome, Outcome::Accept), "{verdict}");
    // As the verdict counts them: replies and events of jobs, each judged.
    let events = verdict.events as usize;
    println!(
        "{lines} lines, {events} events, {} jobs, {:.0} MB: {}",
        verdict.jobs,
        text.len() as f64 / 1e6,
        path.display()
    );
    let mut split = || {
        timed(|| {
            black_box(text.lines().count());
        })
    };
    let mut parse = || {
        timed(|| {
            for line in text.lines() {
                black_box(serde_json::from_str::<Value>(line).is_ok());
            }
        })
    };
    let mut judge = || {
        timed(|| {
            let verdict = oracle::check(&path, &Options::default());
            black_box(verdict.events);
        })
    };
    let mut jq = || jq(&path);
    let times = measure::in_turn(ROUNDS, &mut [&mut split, &mut parse, &mut judge, &mut jq]);
    let rate = |count: usize, time: Duration| count as f64 / time.as_secs_f64();
    let [split, parse, judge, jq] = [0, 1, 2, 3].map(|place| measure::median(&times[place]));
    println!("split into lines     {:>12.0} lines/s", rate(lines, split));
    println!("parse as JSON        {:>12.0} lines/s", rate(lines, parse));
    println!(
        "check                {:>12.0} lines/s, {:.0} events/s (goal: 2000000 lines/s), {:.2} times the time of parsing",
        rate(lines, judge),
        rate(events, judge),
        judge.as_secs_f64() / parse.as_secs_f64(),
    );
    if jq.is_zero() {
        println!("jq is not installed, so nothing is compared with it");
    } else {
        println!(
            "jq -c .              {:>12.0} lines/s; check is {:.1} times as fast (goal: 10)",
            rate(lines, jq),
            jq.as_secs_f64() / judge.as_secs_f64(),
        );
    }
}
