//! What the engine does under real threads is what the specification allows.
//!
//! Goal: traces of concurrent controllers, recorded as the command records them, pass the acceptor
//! under profile `reference`. Method: random programs from fixed seeds, three controllers against
//! the main loop, drained sections and drivers that call back in; the schedule is the machine's, so this finds what is likely. The bounded and
//! exhaustive searches are the checkers' (`proofs/`).

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use blockjob::driver::{Driver, Errno, Finish, Flow, JobError, RunContext};
use blockjob::engine::{CancelMode, Context, EngineError, JobOptions, Manager, ManagerConfig};
use blockjob::model::accept::{Acceptor, GroupKey, JobKey, Rejection, Seen};
use blockjob::model::profile::REFERENCE;
use blockjob::model::state::{Group, JobSpec};
use blockjob::model::step::View;
use blockjob::model::{Refusal, Reply, Request, Status, Verb};
use blockjob::trace::{
    Call, Io, JobRecorder, RecordingHandle, RecordingManager, TraceEntry, TraceSink, TraceStep,
};

/// An entry that owns what it says.
#[derive(Clone, Debug)]
enum Line {
    Create(JobSpec),
    Call(Request),
    /// One of several at a time: `pause_all`, a drained section, and their ends.
    Numbered(&'static str, u64),
    Return(Option<String>),
    /// Accepted, to be carried out later.
    Posted,
    Seen(Seen),
}

#[derive(Clone, Debug)]
struct Entry {
    thread: ThreadId,
    job: Option<String>,
    group: Option<String>,
    line: Line,
}

#[derive(Default)]
struct Tape(Mutex<Vec<Entry>>);

impl TraceSink for Tape {
    fn record(&self, entry: &TraceEntry<'_>) {
        self.0.lock().unwrap().push(Entry::of(entry));
    }

    fn record_together(&self, entries: &[TraceEntry<'_>]) {
        self.0.lock().unwrap().extend(entries.iter().map(Entry::of));
    }
}

impl Entry {
    fn of(entry: &TraceEntry<'_>) -> Entry {
        let line = match entry.step {
            TraceStep::Call(Call::Create {
                auto_finalize,
                auto_dismiss,
                can_complete,
                completion,
                ..
            }) => Line::Create(JobSpec {
                auto_finalize,
                auto_dismiss,
                can_complete,
                completion,
                ..JobSpec::PLAIN
            }),
            TraceStep::Call(Call::Cancel { force }) => Line::Call(Request::Cancel { force }),
            TraceStep::Call(Call::SetSpeed { bytes_per_s }) => Line::Call(Request::SetSpeed {
                hurries: false,
                negative: bytes_per_s < 0,
            }),
            TraceStep::Call(Call::Numbered { verb, token }) => Line::Numbered(verb, token),
            TraceStep::Call(Call::Plain(verb)) => Line::Call(match verb {
                "start" => Request::Start,
                "pause" => Request::Pause,
                "resume" => Request::Resume,
                "complete" => Request::Complete,
                "finalize" => Request::Finalize,
                "dismiss" => Request::Dismiss,
                "attach-context" => Request::AttachContext,
                other => panic!("{other}"),
            }),
            TraceStep::Return { posted: true, .. } => Line::Posted,
            TraceStep::Return { error, .. } => Line::Return(error.map(|(_, text)| text.to_owned())),
            TraceStep::Status(status) => Line::Seen(Seen::Status(status)),
            TraceStep::Event(event, _) => Line::Seen(Seen::Event(event)),
            TraceStep::CallbackBegin(callback) => Line::Seen(Seen::Begin(callback)),
            TraceStep::CallbackEnd { callback, ok, .. } => Line::Seen(Seen::End(callback, ok)),
            TraceStep::IoBegin(_) => Line::Seen(Seen::IoBegin),
            TraceStep::IoEnd { .. } => Line::Seen(Seen::IoEnd),
        };
        Entry {
            thread: std::thread::current().id(),
            job: entry.job.map(str::to_owned),
            group: entry.group.map(str::to_owned),
            line,
        }
    }
}

/// The refusal that reads `text`.
fn refusal(id: &str, text: &str) -> Refusal {
    let mut candidates = vec![
        Refusal::NotFound,
        Refusal::AlreadyPaused,
        Refusal::NotPaused,
        Refusal::CannotComplete,
        Refusal::CurrentlyPaused,
        Refusal::NotQuiet,
    ];
    for status in Status::ALL {
        candidates.extend(Verb::ALL.map(|verb| Refusal::Verb { status, verb }));
    }
    candidates
        .into_iter()
        .find(|candidate| candidate.text(id, false) == text)
        .unwrap_or_else(|| {
            assert!(text.contains("failed to prepare"), "{text}");
            Refusal::PrepareFailed
        })
}

/// The request, by the lowest number that nothing outstanding has.
fn numbered(tokens: &mut [Option<u64>], verb: &str, name: u64) -> Request {
    let begins = matches!(verb, "pause-all" | "drained-begin");
    let wanted = (!begins).then_some(name);
    let place = tokens.iter().position(|held| *held == wanted).unwrap();
    if begins {
        tokens[place] = Some(name);
    }
    let token = place as u8;
    match verb {
        "pause-all" => Request::Hold { token },
        "resume-all" => Request::Release { token },
        "drained-begin" => Request::DrainBegin { token },
        _ => Request::DrainEnd { token },
    }
}

/// Feeds the tape to the acceptor; the rejection comes with the number of the entry.
fn judge(tape: &[Entry]) -> Result<(), (usize, Rejection)> {
    let mut acceptor = Acceptor::new(&REFERENCE, View::TRACE);
    let mut jobs: HashMap<String, JobKey> = HashMap::new();
    let mut groups: HashMap<String, GroupKey> = HashMap::new();
    let mut threads: HashMap<ThreadId, u16> = HashMap::new();
    let mut tokens: Vec<Option<u64>> = vec![None; 8];
    // A token is free once the call that ends it has returned: until then it may still hold.
    let mut ending: HashMap<u16, usize> = HashMap::new();
    for (number, entry) in tape.iter().enumerate() {
        let next = threads.len() as u16;
        let thread = *threads.entry(entry.thread).or_insert(next);
        let job = entry.job.as_ref().and_then(|id| jobs.get(id)).copied();
        let verdict = match &entry.line {
            Line::Create(spec) => {
                let id = entry.job.clone().unwrap();
                let group = match &entry.group {
                    Some(name) => *groups
                        .entry(name.clone())
                        .or_insert_with(|| acceptor.group(Group::CLOSED)),
                    None => acceptor.group(Group::CLOSED),
                };
                let key = acceptor.job(group, &[*spec], &id);
                jobs.insert(id, key);
                acceptor.call(thread, Some(key), Request::Create, false);
                Ok(())
            }
            Line::Call(request) => {
                match (&entry.group, job) {
                    (Some(name), None) => acceptor.call_group(thread, groups[name], *request),
                    (_, job) => acceptor.call(thread, job, *request, false),
                }
                Ok(())
            }
            Line::Numbered(verb, token) => {
                let request = numbered(&mut tokens, verb, *token);
                if let Request::Release { token } | Request::DrainEnd { token } = request {
                    ending.insert(thread, usize::from(token));
                }
                acceptor.call(thread, job, request, false);
                Ok(())
            }
            Line::Posted => acceptor.posted(thread),
            Line::Return(error) => {
                if let Some(token) = ending.remove(&thread) {
                    tokens[token] = None;
                }
                let id = entry.job.as_deref().unwrap_or("");
                let reply: Reply = match error {
                    None => Ok(()),
                    Some(text) => Err(refusal(id, text)),
                };
                acceptor.answer(thread, reply)
            }
            Line::Seen(seen) => acceptor.observe(job.unwrap(), *seen),
        };
        verdict.map_err(|rejection| (number, rejection))?;
    }
    acceptor
        .finish()
        .map_err(|rejection| (tape.len(), rejection))
}

/// A small generator of the xorshift family; seeds are never zero.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// Some I/O between pause points, then an end; converges first where it can.
struct Worker {
    recorder: JobRecorder,
    points: u64,
    can_complete: bool,
    fails: bool,
    prepare_fails: bool,
    meddler: Meddler,
}

/// Asks something now and then, from inside callbacks.
#[derive(Clone)]
struct Meddler(Arc<Mutex<(Dice, Vec<RecordingHandle>)>>);

impl Meddler {
    fn meddle(&self) {
        let (mut dice, job) = {
            let (dice, jobs) = &mut *self.0.lock().unwrap();
            if jobs.is_empty() || dice.roll(3) != 0 {
                return;
            }
            let job = jobs[dice.roll(jobs.len() as u64) as usize].clone();
            (Dice(dice.roll(u64::MAX) | 1), job)
        };
        let _ = verb(&job, &mut dice);
    }
}

impl Driver for Worker {
    fn job_type(&self) -> &'static str {
        "worker"
    }
    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        for number in 0..self.points {
            if context.pause_point() == Flow::Cancelled {
                return Err(JobError::canceled());
            }
            let io = Io {
                op: "write",
                offset: number,
                bytes: 1,
            };
            let permit = context.io();
            self.recorder
                .io(io, || {
                    std::thread::yield_now();
                    Ok::<_, ()>(())
                })
                .unwrap();
            drop(permit);
        }
        if self.fails {
            return Err(JobError::new(Errno::IO));
        }
        if self.can_complete && context.ready().wait_for_finish() == Finish::Cancelled {
            return Err(JobError::canceled());
        }
        Ok(())
    }
    fn supports_complete(&self) -> bool {
        self.can_complete
    }
    fn pause(&self) {
        self.meddler.meddle();
    }
    fn resume(&self) {
        self.meddler.meddle();
    }
    fn user_resume(&self) {
        self.meddler.meddle();
    }
    fn set_speed(&self, _: u64) {
        self.meddler.meddle();
    }
    fn commit(&self) {
        self.meddler.meddle();
    }
    fn abort(&self) {
        self.meddler.meddle();
    }
    fn clean(&self) {
        self.meddler.meddle();
    }
    fn free(&self) {
        self.meddler.meddle();
    }
    fn cancel(&self, force: bool, ready: bool) -> bool {
        self.meddler.meddle();
        force || !(self.can_complete && ready)
    }
    fn prepare(&self) -> Result<(), JobError> {
        self.meddler.meddle();
        if self.prepare_fails {
            Err(JobError::new(Errno::NO_SPACE))
        } else {
            Ok(())
        }
    }
}

fn verb(job: &RecordingHandle, dice: &mut Dice) -> Result<(), EngineError> {
    match dice.roll(12) {
        0..=2 => job.pause(),
        3..=5 => job.resume(),
        6 => job.cancel(CancelMode::Soft),
        7 => job.cancel(CancelMode::Force),
        8 => job.complete(),
        9 => job.finalize(),
        10 => job.dismiss(),
        _ => job.set_speed(dice.roll(3).cast_signed()),
    }
}

/// Runs one random program and returns its tape.
fn program(seed: u64) -> Vec<Entry> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let tape = Arc::new(Tape::default());
    let sink: Arc<dyn TraceSink> = tape.clone();
    let config = ManagerConfig::default().trace(Arc::clone(&sink));
    let (manager, mut main_loop) = Manager::new(config);
    let recording = RecordingManager::new(manager, Arc::clone(&sink));
    let grouped = dice.roll(2) == 0;
    let mut transaction = recording.transaction();
    let mut jobs = Vec::new();
    let meddler = Meddler(Arc::new(Mutex::new((
        Dice(dice.roll(u64::MAX) | 1),
        Vec::new(),
    ))));
    let elsewhere = Context::new("elsewhere", 2);
    for number in 0..=dice.roll(3) {
        let id = format!("j{number}");
        let options = JobOptions::new(&*id)
            .manual_finalize(dice.roll(3) == 0)
            .manual_dismiss(dice.roll(3) == 0);
        let options = match dice.roll(2) {
            0 => options.on_completion(|_| ()),
            _ => options,
        };
        let worker = Worker {
            recorder: JobRecorder::new(Arc::clone(&sink), &id, grouped.then_some("g1")),
            points: dice.roll(4),
            can_complete: dice.roll(2) == 0,
            fails: dice.roll(5) == 0,
            prepare_fails: dice.roll(5) == 0,
            meddler: meddler.clone(),
        };
        if grouped {
            jobs.push(transaction.create(options, worker).unwrap());
        } else {
            jobs.push(recording.create(options, worker).unwrap().start());
        }
    }
    if grouped {
        transaction.start();
    }
    meddler.0.lock().unwrap().1.clone_from(&jobs);
    let controllers: Vec<_> = (0..3)
        .map(|_| {
            let (jobs, manager) = (jobs.clone(), recording.clone());
            let elsewhere = elsewhere.clone();
            let mut dice = Dice(dice.roll(u64::MAX) | 1);
            std::thread::spawn(move || {
                for _ in 0..6 {
                    let job = &jobs[dice.roll(jobs.len() as u64) as usize];
                    // Refusals are as good as any other answer.
                    match dice.roll(10) {
                        0 => manager.resume_all(manager.pause_all()),
                        1 => {
                            let section = match dice.roll(2) {
                                0 => manager.drained_begin(),
                                _ => job.drained_begin(),
                            };
                            // Of a job that is gone there is none.
                            if let Ok(section) = section {
                                let _ = section.attach_context(job, &elsewhere);
                            }
                        }
                        _ => {
                            let _ = verb(job, &mut dice);
                        }
                    }
                }
            })
        })
        .collect();
    let shutdown = recording.clone();
    // Whatever the controllers left behind is brought to an end.
    let supervisor = std::thread::spawn(move || {
        for controller in controllers {
            controller.join().unwrap();
        }
        for job in &jobs {
            let _ = job.cancel(CancelMode::Force);
        }
        for job in &jobs {
            job.job().wait_concluded().unwrap().ok();
        }
        shutdown.manager().shutdown();
    });
    main_loop.run();
    supervisor.join().unwrap();
    // Drivers hold the handles, and the handles the drivers.
    meddler.0.lock().unwrap().1.clear();
    // Whoever was dismissed last is let go of by the end of the loop.
    drop(main_loop);
    std::mem::take(&mut tape.0.lock().unwrap())
}

#[test]
fn concurrent_programs_are_accepted() {
    let programs = 300;
    let mut entries = 0;
    for seed in 1..=programs {
        let tape = program(seed);
        entries += tape.len();
        if let Err((number, rejection)) = judge(&tape) {
            for (at, entry) in tape.iter().enumerate().take(number + 1) {
                println!("{at} {entry:?}");
            }
            panic!("seed {seed}, entry {number}: {rejection:#?}");
        }
    }
    assert!(entries > 20 * programs as usize, "{entries} entries");
}

#[test]
fn a_tape_with_a_commit_too_many_is_rejected() {
    let tape = (1..1000)
        .map(program)
        .find(|tape| {
            tape.iter()
                .any(|entry| matches!(entry.line, Line::Seen(Seen::Status(Status::Pending))))
        })
        .unwrap();
    let pending = tape
        .iter()
        .position(|entry| matches!(entry.line, Line::Seen(Seen::Status(Status::Pending))))
        .unwrap();
    let mut forged = tape;
    let twice = forged[pending].clone();
    forged.insert(pending + 1, twice);
    let (number, _) = judge(&forged).expect_err("pending twice");
    assert!(number <= pending + 1, "{number}");
}
