//! `--mirror`: pairs that stay ready until they are completed, all at once.
//!
//! Who completes them is the user: by SIGUSR2, by Enter on the terminal, or by a line `complete` on a standard input
//! that is none. He may ask before they are ready; then they are completed as soon as all of them are.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use blockjob::copy::{
    CopyError, CopyOptions, CopyPlan, MirrorPlan, Pair, PlannedCopy, SourceWriters,
};
use blockjob::engine::JobOptions;
use blockjob::io::signals::never_stop_for_input;
use blockjob::model::Status;
use blockjob::qmp::server::attached::Door;
use blockjob::trace::{RecordingHandle, TraceSink};
use serde::Serialize;

use super::Arguments;
use crate::cli::controls::Controls;
use crate::cli::output::{Output, alone, complain};
use crate::cli::session::{Copying, Session};

/// What is to be done with the pairs.
pub enum Plan {
    Copy(CopyPlan),
    Mirror(MirrorPlan),
}

impl Plan {
    /// Checks the pairs for a copy, or for a mirror.
    pub fn check(pairs: &[Pair], options: &CopyOptions, mirror: bool) -> Result<Plan, CopyError> {
        if mirror {
            MirrorPlan::check(pairs, options, SourceWriters::Any).map(Plan::Mirror)
        } else {
            CopyPlan::check(pairs, options).map(Plan::Copy)
        }
    }

    /// What will be done for each pair.
    pub fn copies(&self) -> Vec<&PlannedCopy> {
        match self {
            Plan::Copy(plan) => plan.copies().collect(),
            Plan::Mirror(plan) => plan.copies().collect(),
        }
    }

    /// A session with room for its jobs: a mirror that is ready keeps its thread.
    pub fn session(&self, trace: Option<Arc<dyn TraceSink>>, door: Option<&Door>) -> Session {
        match self {
            Plan::Copy(_) => Session::new(trace, door),
            Plan::Mirror(plan) => Session::with_bodies(plan.copies().count(), trace, door),
        }
    }

    /// Starts a job for each pair.
    pub fn start(
        self,
        session: &Session,
        options: impl FnMut(usize) -> JobOptions,
    ) -> Result<Vec<Copying>, CopyError> {
        match self {
            Plan::Copy(plan) => session.start(plan.drivers()?, options),
            Plan::Mirror(plan) => session.start(plan.drivers()?, options),
        }
    }
}

/// A mirror that has become ready, for machines.
#[derive(Serialize)]
struct ReadyLine<'a> {
    kind: &'static str,
    job: &'a str,
    source: &'a str,
    target: &'a str,
    size_bytes: u64,
    passes: u64,
    seconds: f64,
}

/// Listens for whoever asks for completion, from before there is a job on.
pub fn listen(arguments: &Arguments, controls: &Controls) -> Arc<End> {
    let end = Arc::new(End::default());
    controls.complete_by({
        let end = Arc::clone(&end);
        move || end.ask()
    });
    if has_input(arguments) {
        let end = Arc::clone(&end);
        // It waits for input as long as there is none, and ends with the process.
        let _ = thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || read_input(&end));
    }
    end
}

/// Whether standard input is there for requests: the pairs may have come from there.
fn has_input(arguments: &Arguments) -> bool {
    arguments.group.as_deref() != Some(Path::new("-"))
}

/// Runs until every mirror is ready, or was completed by a client, and says so; or until one of them will not be.
pub fn until_ready(
    session: &mut Session,
    jobs: &[Copying],
    end: &End,
    arguments: &Arguments,
    output: &mut Output,
) {
    let stays = |job: &Copying| matches!(job.handle.status(), Status::Ready | Status::Standby);
    // A client may have completed one of them before the others were ready.
    let is_ready = |job: &Copying| {
        stays(job) || matches!(job.handle.status(), Status::Waiting | Status::Pending)
    };
    let is_active = |job: &Copying| {
        let status = job.handle.status();
        matches!(status, Status::Created | Status::Running | Status::Paused) || is_ready(job)
    };
    session
        .main_loop
        .run_until(|| jobs.iter().all(is_ready) || !jobs.iter().all(is_active));
    if !jobs.iter().all(is_ready) {
        return;
    }
    if arguments.json {
        let _alone = alone();
        for Copying { copy, .. } in jobs {
            let summary = copy.summary();
            output.json(&ReadyLine {
                kind: "ready",
                job: copy.handle.id(),
                source: &summary.source.to_string_lossy(),
                target: &summary.target.to_string_lossy(),
                size_bytes: summary.size_bytes,
                passes: summary.passes,
                seconds: summary.took.as_secs_f64(),
            });
        }
        output.flush();
    }
    if !end.is_asked() && jobs.iter().any(stays) {
        let how = match (has_input(arguments), io::stdin().is_terminal()) {
            (true, true) => "Enter or ",
            (true, false) => "a line `complete` on standard input or ",
            (false, _) => "",
        };
        complain(&format!(
            "ready: {how}`kill -USR2 {}` completes, Ctrl-C gives up",
            std::process::id()
        ));
    }
    end.ready(jobs.iter().map(|job| job.handle.clone()).collect());
}

/// The wish to complete, and the moment from which on it can be met.
#[derive(Default)]
pub struct End(Mutex<State>);

#[derive(Default)]
struct State {
    asked: bool,
    /// The jobs, once all of them are ready.
    ready: Vec<RecordingHandle>,
}

impl End {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_asked(&self) -> bool {
        self.state().asked
    }

    /// Somebody asks.
    fn ask(&self) {
        let ready = {
            let mut state = self.state();
            state.asked = true;
            state.ready.clone()
        };
        if ready.is_empty() {
            complain(&"will be completed once every pair is ready");
        }
        complete(&ready);
    }

    fn ready(&self, jobs: Vec<RecordingHandle>) {
        let asked = {
            let mut state = self.state();
            state.ready = jobs;
            state.asked.then(|| state.ready.clone())
        };
        complete(&asked.unwrap_or_default());
    }
}

/// One that was cancelled meanwhile refuses, and then none of them takes its name.
fn complete(jobs: &[RecordingHandle]) {
    for job in jobs {
        let _ = job.complete();
    }
}

/// Lines that ask for completion, until there are no more.
fn read_input(end: &End) {
    // In the background it would stop the whole process.
    if never_stop_for_input().is_err() {
        return;
    }
    let stdin = io::stdin();
    let terminal = stdin.is_terminal();
    loop {
        let mut line = String::new();
        match stdin.lock().read_line(&mut line) {
            Ok(0) => return,
            Ok(_) if terminal || line.trim() == "complete" => end.ask(),
            Ok(_) => complain(&format!(
                "no such request: {:?}; the line `complete` completes",
                line.trim_end()
            )),
            // In the background; the terminal may come back.
            Err(_) if terminal => thread::sleep(BACKGROUND_LOOK),
            Err(_) => return,
        }
    }
}

const BACKGROUND_LOOK: Duration = Duration::from_millis(250);
