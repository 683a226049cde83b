//! The three stories of the demonstration, each with what must be true at its end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use blockjob::copy::{CopyOptions, CopyPlan, Ending, Pair};
use blockjob::driver::Errno;
use blockjob::engine::{CancelMode, JobOptions};
use blockjob::model::Status;
use blockjob::trace::{RecordingManager, TraceSink};

use super::scratch::{OLD, Scratch, same};
use crate::cli::args::human_size;
use crate::cli::controls::Controls;
use crate::cli::output::sentence;
use crate::cli::session::{self, Copying};

/// What happened, line by line; or what did not go as it should.
pub type Told = Result<Vec<String>, String>;

/// Statuses in which a job moves no data by itself any more.
const QUIET: [Status; 7] = [
    Status::Paused,
    Status::Waiting,
    Status::Pending,
    Status::Aborting,
    Status::Concluded,
    Status::Null,
    Status::Standby,
];

/// Where the stories happen.
pub struct Stage<'a> {
    pub scratch: &'a Scratch,
    pub manager: &'a RecordingManager,
    pub trace: &'a Arc<dyn TraceSink>,
    pub controls: &'a Controls,
}

impl Stage<'_> {
    /// A group is copied, and paused twice on the way.
    pub fn copied(&self) -> Told {
        let pairs = self.sources("copied", 32 << 20)?;
        let begun = Instant::now();
        let jobs = self.start("copied", &pairs, 64 << 20)?;
        let mut pauses = Vec::new();
        for _ in 0..2 {
            progress(&jobs, 4 << 20)?;
            pauses.push(pause(&jobs)?);
        }
        wait(&jobs)?;
        let took = begun.elapsed();
        for (job, pair) in jobs.iter().zip(&pairs) {
            must(job.copy.succeeded(), || failure(job))?;
            let equal = same(&pair.source, &pair.target).map_err(|error| plain(&error))?;
            must(equal, || {
                format!("{} differs from its source", pair.target.display())
            })?;
        }
        self.nothing_left()?;
        let bytes = jobs.iter().map(|job| job.copy.summary().size_bytes).sum();
        let mut lines = vec![format!(
            "a group of {} files, {} (of it {} holes), byte for byte, in {:.2} s at 64 MiB/s a file",
            pairs.len(),
            human_size(bytes),
            human_size(jobs.iter().map(|job| job.copy.summary().hole_bytes).sum()),
            took.as_secs_f64()
        )];
        for (number, pause) in (1..).zip(pauses) {
            lines.push(format!(
                "pause {number}: every job at rest after {:.1} ms, {} bytes moved in the {} ms until resume",
                pause.reached.as_secs_f64() * 1e3,
                pause.moved_bytes,
                pause.held.as_millis()
            ));
        }
        Ok(lines)
    }

    /// A group is cancelled on the way.
    pub fn cancelled(&self) -> Told {
        let pairs = self.sources("cancelled", 16 << 20)?;
        self.old_targets(&pairs)?;
        let jobs = self.start("cancelled", &pairs, 8 << 20)?;
        progress(&jobs, 1 << 20)?;
        let asked = Instant::now();
        if let [first, ..] = &jobs[..] {
            first
                .handle
                .cancel(CancelMode::Soft)
                .map_err(|error| error.to_string())?;
        }
        wait(&jobs)?;
        let took = asked.elapsed();
        for job in &jobs {
            let error = job.handle.outcome().and_then(Result::err);
            let cancelled = error.is_some_and(|error| error.errno == Errno::CANCELED);
            must(cancelled, || {
                format!("job {} was not cancelled", job.handle.id())
            })?;
        }
        self.untouched(&pairs, &jobs)?;
        Ok(vec![format!(
            "a group of {} files after {}: one member was cancelled, all had ended {:.1} ms later, {} of {} targets are what they were, no temporary file is left",
            pairs.len(),
            human_size(moved(&jobs)),
            took.as_secs_f64() * 1e3,
            pairs.len(),
            pairs.len(),
        )])
    }

    /// A member fails on the way, because its source shrinks, and the group is rolled back.
    pub fn failed(&self) -> Told {
        let pairs = self.sources("failed", 16 << 20)?;
        self.old_targets(&pairs)?;
        let jobs = self.start("failed", &pairs, 8 << 20)?;
        progress(&jobs, 1 << 20)?;
        let source = pairs.first().map(|pair| &pair.source).ok_or("no pair")?;
        std::fs::File::options()
            .write(true)
            .open(source)
            .and_then(|file| file.set_len(4096))
            .map_err(|error| plain(&error))?;
        wait(&jobs)?;
        let mut reason = None;
        for job in &jobs {
            let error = job.handle.outcome().and_then(Result::err);
            let error = error.ok_or_else(|| format!("job {} did not fail", job.handle.id()))?;
            if error.errno != Errno::CANCELED {
                reason = Some(error.text());
            }
        }
        let reason = reason.ok_or("nobody noticed that a source shrank")?;
        self.untouched(&pairs, &jobs)?;
        Ok(vec![
            format!(
                "a group of {} files, rolled back: {} of {} targets are what they were, no temporary file is left",
                pairs.len(),
                pairs.len(),
                pairs.len()
            ),
            format!("because {reason}"),
        ])
    }

    /// Three pairs: a file of odd length, one that is mostly a hole, and an empty one.
    fn sources(&self, story: &str, bytes: u64) -> Result<Vec<Pair>, String> {
        let name = |what: &str| format!("{story}-{what}");
        let make = || -> io::Result<Vec<PathBuf>> {
            Ok(vec![
                self.scratch.noise(&name("odd"), bytes + 4097)?,
                self.scratch.noise(&name("even"), bytes)?,
                self.scratch.hole(&name("hole"), 16 * bytes)?,
                self.scratch.noise(&name("empty"), 0)?,
            ])
        };
        let sources = make().map_err(|error| plain(&error))?;
        Ok(sources
            .into_iter()
            .map(|source| {
                let target = source.with_extension("copy");
                Pair::new(source, target)
            })
            .collect())
    }

    fn old_targets(&self, pairs: &[Pair]) -> Result<(), String> {
        for pair in pairs {
            let name = pair.target.file_name().unwrap_or_default();
            self.scratch
                .old(&name.to_string_lossy())
                .map_err(|error| plain(&error))?;
        }
        Ok(())
    }

    fn start(&self, story: &str, pairs: &[Pair], speed: i64) -> Result<Vec<Copying>, String> {
        let plan = CopyPlan::check(pairs, &CopyOptions::new())
            .map_err(|error| format!("{error}; {}", error.way_out()))?;
        let jobs = session::start(self.manager, Some(self.trace), plan, |index| {
            JobOptions::new(format!("{story}-{index}")).speed(speed)
        })
        .map_err(|error| format!("{error}; {}", error.way_out()))?;
        self.controls.hand_to(jobs.clone());
        Ok(jobs)
    }

    /// Every target has its old contents, and there is no temporary file.
    fn untouched(&self, pairs: &[Pair], jobs: &[Copying]) -> Result<(), String> {
        for (pair, job) in pairs.iter().zip(jobs) {
            let contents = std::fs::read(&pair.target).map_err(|error| plain(&error))?;
            let aborted = job.copy.summary().ending == Ending::Aborted;
            must(aborted && contents == OLD, || {
                format!("{} is not what it was", pair.target.display())
            })?;
        }
        self.nothing_left()
    }

    fn nothing_left(&self) -> Result<(), String> {
        let left = self.scratch.left_behind().map_err(|error| plain(&error))?;
        must(left == 0, || format!("{left} temporary files are left"))
    }
}

/// How a pause went.
struct Pause {
    /// From the request until every job was at rest.
    reached: Duration,
    held: Duration,
    moved_bytes: u64,
}

/// Pauses every job for a moment.
fn pause(jobs: &[Copying]) -> Result<Pause, String> {
    let asked = Instant::now();
    // Members that have nothing left to do refuse.
    let paused: Vec<&Copying> = jobs
        .iter()
        .filter(|job| job.handle.pause().is_ok())
        .collect();
    must(!paused.is_empty(), || "nobody was left to pause".to_owned())?;
    for job in &paused {
        let job = job.handle.job();
        job.wait_for(&QUIET).map_err(|error| error.to_string())?;
    }
    let reached = asked.elapsed();
    let before = moved(jobs);
    let held = Duration::from_millis(200);
    thread::sleep(held);
    let moved_bytes = moved(jobs) - before;
    must(moved_bytes == 0, || {
        format!("{moved_bytes} bytes moved during a pause")
    })?;
    for job in paused {
        // One whose run had ended meanwhile is not paused any more.
        let _ = job.handle.resume();
    }
    Ok(Pause {
        reached,
        held,
        moved_bytes,
    })
}

/// Waits until `bytes` more are moved, or nobody moves any more.
fn progress(jobs: &[Copying], bytes: u64) -> Result<(), String> {
    let goal = moved(jobs) + bytes;
    while moved(jobs) < goal {
        let active = jobs.iter().any(|job| !job.handle.status().is_completed());
        must(active, || "the jobs ended too early".to_owned())?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn wait(jobs: &[Copying]) -> Result<(), String> {
    for job in jobs {
        let outcome = job.handle.wait_concluded();
        outcome.map(drop).map_err(|error| error.to_string())?;
    }
    // The terminal status is one step before the end: gone means that the trace has everything.
    for job in jobs {
        let gone = job.handle.job().wait_for(&[Status::Null]);
        gone.map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn moved(jobs: &[Copying]) -> u64 {
    jobs.iter().map(|job| job.copy.summary().copied_bytes).sum()
}

fn failure(job: &Copying) -> String {
    let reason = job
        .copy
        .failure()
        .unwrap_or_else(|| "it did not end well".to_owned());
    format!("job {}: {reason}", job.handle.id())
}

fn must(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn plain(error: &io::Error) -> String {
    sentence(error)
}
