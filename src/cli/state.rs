//! Copies under way, as they are seen from outside: how many wait, run and are through, how far they are, how fast.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use blockjob::model::{IoStatus, Status};

use super::args::human_size;
use super::output::printable;
use super::session::Copying;

/// One moment of all copies.
#[derive(Debug, Default)]
pub struct State {
    /// Bytes done, of all.
    pub done: u64,
    /// Bytes in total, of all.
    pub total: u64,
    /// How many have not begun.
    pub waiting: usize,
    /// How many are through: copied, or given up.
    pub over: usize,
    /// Those that run, or pause; as many as run at a time, however many there are.
    pub under_way: Vec<One>,
}

/// One copy that is under way.
#[derive(Debug)]
pub struct One {
    /// The job's id.
    pub id: String,
    /// Where it copies to, as the user named it.
    pub target: String,
    /// The job's status.
    pub status: Status,
    /// What has stopped it, if something has.
    pub io_status: IoStatus,
    /// Bytes done.
    pub done: u64,
    /// Bytes in total.
    pub total: u64,
    /// Since it began.
    pub took: Duration,
    /// The limit, 0 for none.
    pub speed_bytes_per_s: u64,
}

impl State {
    /// Looks at `jobs`.
    pub fn of(jobs: &[Copying]) -> State {
        let mut state = State::default();
        for job in jobs {
            let (done, total) = job.handle.job().progress_bytes();
            let total = total.max(done);
            // Files of holes may be larger together than any number here.
            state.done = state.done.saturating_add(done);
            // What waits does not know its total yet.
            state.total = state.total.saturating_add(total.max(job.size_bytes));
            if !job.copy.report.has_begun() {
                state.waiting += 1;
            } else if job.copy.report.is_over() || job.handle.outcome().is_some() {
                state.over += 1;
            } else {
                let info = job.handle.info();
                let summary = job.copy.summary();
                state.under_way.push(One {
                    id: info.id,
                    target: printable(&summary.target.to_string_lossy()),
                    status: info.status,
                    io_status: info.io_status,
                    done,
                    total,
                    took: summary.took,
                    speed_bytes_per_s: info.speed_bytes_per_s,
                });
            }
        }
        state
    }

    /// How many there are.
    pub fn pairs(&self) -> usize {
        self.waiting + self.over + self.under_way.len()
    }

    /// How many are where, on one line.
    pub fn counts(&self) -> String {
        let parts = [
            (self.over, format!("of {} through", self.pairs())),
            (self.under_way.len(), "under way".to_owned()),
            (self.waiting, "waiting".to_owned()),
        ];
        let parts = parts.iter().enumerate();
        let parts = parts.filter(|(place, (count, _))| *place == 0 || *count > 0);
        let parts: Vec<_> = parts
            .map(|(_, (count, what))| format!("{count} {what}"))
            .collect();
        parts.join(", ")
    }

    /// The state for people, a line for each copy under way, at most [`LINES_MAX`] of them, and one for all of several.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self
            .under_way
            .iter()
            .take(LINES_MAX)
            .map(One::line)
            .collect();
        if self.pairs() > 1 || lines.is_empty() {
            let more = self.under_way.len().saturating_sub(LINES_MAX);
            if more > 0 {
                lines.push(format!("and {more} more under way"));
            }
            let (done, total) = (human_size(self.done), human_size(self.total));
            lines.push(format!("{}: {done} of {total}", self.counts()));
        }
        lines
    }
}

/// Copies that have a line of their own.
pub const LINES_MAX: usize = 8;

impl One {
    /// For people, with the rate and the time that is left as they were on average.
    fn line(&self) -> String {
        let (done, total) = (human_size(self.done), human_size(self.total));
        let mut parts = vec![
            format!("{}: {}", self.id, self.status),
            format!("{done} of {total}"),
        ];
        let seconds = self.took.as_secs_f64();
        if self.done > 0 && seconds > 0.0 {
            let rate = (self.done as f64 / seconds) as u64;
            parts.push(pace(rate, self.total.saturating_sub(self.done)));
        }
        if self.speed_bytes_per_s > 0 {
            parts.push(format!("at most {}/s", human_size(self.speed_bytes_per_s)));
        }
        parts.push(format!("to {}", self.target));
        parts.join(", ")
    }

    /// What is to be said of it beside how far it is: nothing while it runs.
    pub fn trouble(&self) -> Option<&'static str> {
        match (self.io_status, self.status) {
            (IoStatus::NoSpace, _) => Some("stopped: no room"),
            (IoStatus::Failed, _) => Some("stopped by an error"),
            (IoStatus::Ok, Status::Running) => None,
            (IoStatus::Ok, status) => Some(status.name()),
        }
    }
}

/// A rate, and how long what is left takes at it.
pub fn pace(bytes_per_s: u64, left: u64) -> String {
    let rate = human_size(bytes_per_s);
    match left_seconds(bytes_per_s, left) {
        Some(seconds) if left > 0 => format!("{rate}/s, {} left", human_time(seconds)),
        _ => format!("{rate}/s"),
    }
}

/// How long what is left takes; `None` where nothing moves.
pub fn left_seconds(bytes_per_s: u64, left: u64) -> Option<f64> {
    (bytes_per_s > 0).then(|| left as f64 / bytes_per_s as f64)
}

/// A time for people: two units at most.
pub fn human_time(seconds: f64) -> String {
    // Beyond that nobody waits.
    let seconds = seconds.clamp(0.0, 1e12).ceil() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// The rate of the last seconds.
#[derive(Debug, Default)]
pub struct Meter(VecDeque<(Instant, u64)>);

/// Over how long it is taken.
const WINDOW: Duration = Duration::from_secs(10);

impl Meter {
    /// So much is done now; bytes per second.
    pub fn rate(&mut self, now: Instant, done: u64) -> u64 {
        self.0.push_back((now, done));
        while self.0.len() > 2 && now.saturating_duration_since(self.0[0].0) > WINDOW {
            self.0.pop_front();
        }
        let (then, before) = self.0[0];
        let seconds = now.saturating_duration_since(then).as_secs_f64();
        if seconds > 0.0 {
            (done.saturating_sub(before) as f64 / seconds) as u64
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (0.2, "1 s"),
            (59.0, "59 s"),
            (61.0, "1 min 1 s"),
            (3600.0, "1 h 0 min"),
            (90_000.0, "1 d 1 h"),
            (f64::INFINITY, "11574074 d 1 h"),
        ] {
            assert_eq!(human_time(seconds), text);
        }
        assert_eq!(pace(0, 10), "0 bytes/s");
        assert_eq!(pace(2, 10), "2 bytes/s, 5 s left");
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(meter.rate(at(0), 0), 0);
        assert_eq!(meter.rate(at(5), 500), 100);
        // A minute later nothing of that is left.
        for second in 6..70 {
            meter.rate(at(second), 500);
        }
        assert_eq!(meter.rate(at(70), 500), 0);
    }

    #[test]
    fn of_many_copies_few_have_a_line() {
        let one = |number: u64| One {
            id: format!("copy{number}"),
            target: "t".to_owned(),
            status: Status::Running,
            io_status: IoStatus::Ok,
            done: 10,
            total: 30,
            took: Duration::from_secs(1),
            speed_bytes_per_s: 0,
        };
        let state = State {
            done: 100,
            total: 5000,
            waiting: 900,
            over: 68,
            under_way: (0..32).map(one).collect(),
        };
        let lines = state.lines();
        assert_eq!(lines.len(), LINES_MAX + 2);
        assert_eq!(
            lines[0],
            "copy0: running, 10 bytes of 30 bytes, 10 bytes/s, 2 s left, to t"
        );
        assert_eq!(lines[8], "and 24 more under way");
        assert_eq!(
            lines[9],
            "68 of 1000 through, 32 under way, 900 waiting: 100 bytes of 4.88 KiB"
        );
    }
}
