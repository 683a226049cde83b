//! How far the copies are, while they run: a bar and lines for people, objects at intervals for machines.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::args::human_size;
use crate::cli::output::alone;
use crate::cli::progress::{Bar, Shown, width};
use crate::cli::session::Copying;
use crate::cli::state::{LINES_MAX, Meter, One, State, left_seconds, pace};

/// The bar for `jobs`, and above it of several copies a line for each that is under way, up to a few, and one for all.
pub fn bar(jobs: Arc<[Copying]>) -> Bar {
    let mut meter = Meter::default();
    meter.rate(Instant::now(), State::of(&jobs).done);
    Bar::watch(move || {
        let state = State::of(&jobs);
        let rate = meter.rate(Instant::now(), state.done);
        let amount = format!("{} of {}", human_size(state.done), human_size(state.total));
        let pace = pace(rate, state.total.saturating_sub(state.done));
        let (words, lines) = if state.pairs() == 1 {
            // What stands still has no pace.
            let trouble = state.under_way.first().and_then(One::trouble);
            let words = format!("{amount}, {}", trouble.unwrap_or(&pace));
            (words, Vec::new())
        } else {
            (format!("{amount}, {pace}"), lines(&state))
        };
        Shown::Parts {
            lines,
            done: state.done,
            total: state.total,
            words,
        }
    })
}

/// Those under way, the ones in trouble first: few, whatever their number; then how many are where.
fn lines(state: &State) -> Vec<String> {
    let mut shown: Vec<_> = state.under_way.iter().collect();
    shown.sort_by_key(|one| one.trouble().is_none());
    let mut lines: Vec<_> = shown
        .iter()
        .take(LINES_MAX)
        .map(|one| {
            let percent = (one.done.saturating_mul(100))
                .checked_div(one.total)
                .unwrap_or(100);
            let (done, total) = (human_size(one.done), human_size(one.total));
            let trouble = one
                .trouble()
                .map_or_else(String::new, |words| format!("  {words}"));
            let target = shortened(&one.target);
            format!("  {target} {percent:>3} %  {done} of {total}{trouble}")
        })
        .collect();
    lines.push(format!("  {}", state.counts()));
    lines
}

const TARGET_COLUMNS: usize = 32;

/// A name in as many columns as there are for one: its end, where it is too long, because there it differs from others.
fn shortened(name: &str) -> String {
    let mut columns: usize = name.chars().map(width).sum();
    let mut short = name.to_owned();
    if columns > TARGET_COLUMNS {
        let mut rest = name.chars();
        while columns >= TARGET_COLUMNS {
            columns -= rest.next().map_or(columns, width);
        }
        short = format!("…{}", rest.as_str());
        columns += 1;
    }
    short.extend(std::iter::repeat_n(
        ' ',
        TARGET_COLUMNS.saturating_sub(columns),
    ));
    short
}

/// Says on standard output how far the copies are, from a thread of its own, until it is dropped.
pub struct Telling {
    end: Option<Sender<()>>,
    teller: Option<JoinHandle<()>>,
}

impl Telling {
    /// An object each `interval`, the first one after the first.
    ///
    /// # Errors
    /// Standard output cannot be had a second time, or there is no thread.
    pub fn watch(jobs: Arc<[Copying]>, interval: Duration) -> io::Result<Telling> {
        // The result has standard output locked to the end of the process; what is written meanwhile is so `alone`.
        let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let (end, ended) = channel();
        let began = Instant::now();
        let mut meter = Meter::default();
        meter.rate(began, State::of(&jobs).done);
        let teller = thread::Builder::new()
            .name("telling".to_owned())
            .spawn(move || {
                while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    let now = Instant::now();
                    let state = State::of(&jobs);
                    let rate = meter.rate(now, state.done);
                    let line = line(&state, rate, now.saturating_duration_since(began));
                    // A reader that is gone misses nothing; one that cannot be written to will be told of by the result.
                    let Ok(mut text) = serde_json::to_vec(&line) else {
                        return;
                    };
                    text.push(b'\n');
                    let alone = alone();
                    let written = output.write_all(&text);
                    drop(alone);
                    if written.is_err() {
                        return;
                    }
                }
            })?;
        Ok(Telling {
            end: Some(end),
            teller: Some(teller),
        })
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(teller) = self.teller.take() {
            // One that panicked has said so; the copies go on.
            let _ = teller.join();
        }
    }
}

/// One moment, for machines.
#[derive(Serialize)]
struct ProgressLine<'a> {
    kind: &'static str,
    seconds: f64,
    done_bytes: u64,
    total_bytes: u64,
    bytes_per_second: u64,
    left_seconds: Option<f64>,
    pairs: usize,
    waiting_pairs: usize,
    ended_pairs: usize,
    jobs: Vec<JobLine<'a>>,
}

/// One copy under way.
#[derive(Serialize)]
struct JobLine<'a> {
    job: &'a str,
    status: &'static str,
    io_status: &'static str,
    done_bytes: u64,
    total_bytes: u64,
    speed_bytes_per_second: u64,
}

fn line(state: &State, rate: u64, since: Duration) -> ProgressLine<'_> {
    ProgressLine {
        kind: "progress",
        seconds: since.as_secs_f64(),
        done_bytes: state.done,
        total_bytes: state.total,
        bytes_per_second: rate,
        left_seconds: left_seconds(rate, state.total.saturating_sub(state.done)),
        pairs: state.pairs(),
        waiting_pairs: state.waiting,
        ended_pairs: state.over,
        jobs: state
            .under_way
            .iter()
            .map(|one| JobLine {
                job: &one.id,
                status: one.status.name(),
                io_status: one.io_status.name(),
                done_bytes: one.done,
                total_bytes: one.total,
                speed_bytes_per_second: one.speed_bytes_per_s,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_takes_as_many_columns_as_there_are_whatever_its_script() {
        let columns = |text: &str| text.chars().map(width).sum::<usize>();
        for name in [
            "b",
            &"x".repeat(32),
            &"x".repeat(33),
            &"磁".repeat(16),
            &"磁".repeat(17),
            "a磁盘",
        ] {
            let short = shortened(name);
            assert_eq!(columns(&short), TARGET_COLUMNS, "{short:?}");
            match short.strip_prefix('…') {
                Some(end) => {
                    assert!(columns(name) > TARGET_COLUMNS && name.ends_with(end.trim_end()));
                }
                None => assert_eq!(short.trim_end(), name),
            }
        }
    }
}
