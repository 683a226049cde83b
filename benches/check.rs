//! How fast the oracle judges: lines and events a second, on one core, parse included.
//!
//! Method: the recordings of `tests/corpus/live-10.0` that end with every job gone are repeated
//! with fresh job ids as one long conversation, in memory. Judging it runs in turn with two
//! floors: splitting it into lines, and parsing each line as JSON. Medians over the rounds.

mod measure;

use std::collections::BTreeSet;
use std::fs;
use std::hint::black_box;
use std::path::Path;
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

fn main() {
    let text = conversation();
    let lines = text.lines().count();
    let verdict = oracle::check_reader("synthetic", text.as_bytes(), &Options::default());
    assert!(matches!(verdict.outcome, Outcome::Accept), "{verdict}");
    // As the verdict counts them: replies and events of jobs, each judged.
    let events = verdict.events as usize;
    println!(
        "{lines} lines, {events} events, {} jobs, {:.0} MB",
        verdict.jobs,
        text.len() as f64 / 1e6
    );
    let mut split = || {
        measure::timed(|| {
            black_box(text.lines().count());
        })
    };
    let mut parse = || {
        measure::timed(|| {
            for line in text.lines() {
                black_box(serde_json::from_str::<Value>(line).is_ok());
            }
        })
    };
    let mut judge = || {
        measure::timed(|| {
            let verdict = oracle::check_reader("synthetic", text.as_bytes(), &Options::default());
            black_box(verdict.events);
        })
    };
    let times = measure::in_turn(ROUNDS, &mut [&mut split, &mut parse, &mut judge]);
    let rate = |count: usize, time: Duration| count as f64 / time.as_secs_f64();
    let [split, parse, judge] = [0, 1, 2].map(|place| measure::median(&times[place]));
    println!("split into lines     {:>12.0} lines/s", rate(lines, split));
    println!("parse as JSON        {:>12.0} lines/s", rate(lines, parse));
    println!(
        "check                {:>12.0} lines/s, {:.0} events/s (goal: 500000 events/s), {:.2} times the time of parsing",
        rate(lines, judge),
        rate(events, judge),
        judge.as_secs_f64() / parse.as_secs_f64(),
    );
}
