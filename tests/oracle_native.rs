//! Goal: the oracle takes what the engine records of itself, and refuses it once it is altered.
//!
//! Method: engine runs with calls from another thread, written by the native writer, go through
//! the oracle as a file would. Then single lines are altered, each into something that must not
//! be, and the rule that finds it is pinned.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::thread;

use blockjob::driver::{Driver, Errno, Finish, Flow, JobError, RunContext};
use blockjob::engine::{CancelMode, JobOptions, Manager, ManagerConfig, Resource};
use blockjob::model::Status;
use blockjob::oracle::{self, Options, Outcome, Verdict};
use blockjob::trace::{Io, JobRecorder, RecordingHandle, RecordingManager, TraceSink, TraceWriter};

/// Counts, with a piece of recorded I/O a turn, and ends as it is told.
struct Count {
    recorder: JobRecorder,
    turns: u64,
    /// Becomes ready, and ends when told to.
    converges: bool,
    fails: bool,
    prepare_fails: bool,
}

impl Count {
    fn new(recorder: JobRecorder, turns: u64) -> Count {
        Count {
            recorder,
            turns,
            converges: false,
            fails: false,
            prepare_fails: false,
        }
    }
}

fn eio() -> JobError {
    JobError::with_message(Errno::IO, "the disk is on fire")
}

impl Driver for Count {
    fn job_type(&self) -> &'static str {
        "count"
    }

    fn supports_complete(&self) -> bool {
        self.converges
    }

    fn prepare(&self) -> Result<(), JobError> {
        if self.prepare_fails {
            Err(eio())
        } else {
            Ok(())
        }
    }

    fn cancel(&self, force: bool, ready: bool) -> bool {
        force || !(ready && self.converges)
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        context.progress().set_remaining(self.turns);
        for turn in 0..self.turns {
            if context.pause_point() == Flow::Cancelled {
                return Ok(());
            }
            let permit = context.io();
            let io = Io {
                op: "copy",
                offset: turn,
                bytes: 1,
            };
            let done: Result<(), JobError> = self.recorder.io(io, || Ok(()));
            drop(permit);
            done?;
            context.progress().advance(1);
        }
        if self.fails {
            return Err(eio());
        }
        if self.converges {
            let mut context = context.ready();
            match context.wait_for_finish() {
                Finish::Complete | Finish::SoftCancel | Finish::Cancelled => {}
            }
        }
        Ok(())
    }
}

/// What the writer writes to; threads that are just ending may still hold the writer.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Bench {
    sink: Arc<TraceWriter<Buffer>>,
    manager: RecordingManager,
}

impl Bench {
    fn recorder(&self, id: &str, group: Option<&str>) -> JobRecorder {
        JobRecorder::new(Arc::clone(&self.sink) as Arc<dyn TraceSink>, id, group)
    }

    fn start(&self, options: JobOptions, turns: u64) -> RecordingHandle {
        let recorder = self.recorder(options.id().unwrap(), None);
        self.manager
            .create(options, Count::new(recorder, turns))
            .unwrap()
            .start()
    }
}

/// Runs `client` on its own thread beside the main loop; the trace, as a file has it.
fn record(client: impl FnOnce(&Bench) + Send) -> String {
    let buffer = Buffer::default();
    let sink = Arc::new(TraceWriter::new(buffer.clone()));
    let config = ManagerConfig::default().trace(Arc::clone(&sink) as Arc<dyn TraceSink>);
    let (manager, mut main_loop) = Manager::new(config);
    let bench = Bench {
        sink: Arc::clone(&sink),
        manager: RecordingManager::new(manager.clone(), Arc::clone(&sink) as Arc<dyn TraceSink>),
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            client(&bench);
            manager.shutdown();
        });
        main_loop.run();
    });
    sink.finish().unwrap();
    String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
}

fn check(trace: &str) -> Verdict {
    oracle::check_reader("trace", trace.as_bytes(), &Options::default())
}

fn accepted(trace: &str) {
    let verdict = check(trace);
    assert!(
        matches!(verdict.outcome, Outcome::Accept),
        "{verdict}\n{trace}"
    );
    assert_eq!(verdict.profile, Some("reference"));
    assert_eq!(verdict.events, trace.lines().count() as u64 - 1);
}

/// One job through everything: pause, resume, refusals, speed, finalize, dismiss.
fn one_job() -> String {
    record(|bench| {
        let options = JobOptions::new("j0")
            .manual_finalize(true)
            .manual_dismiss(true)
            .on_completion(|_| ());
        let job = bench.start(options, 3);
        let _ = job.pause();
        let _ = job.pause();
        let _ = job.complete();
        let _ = job.resume();
        let _ = job.resume();
        job.job().wait_for(&[Status::Pending]).unwrap();
        assert!(job.set_speed(5).is_err());
        job.finalize().unwrap();
        job.wait_concluded().unwrap().unwrap();
        job.dismiss().unwrap();
        assert!(job.pause().is_err());
    })
}

#[test]
fn the_engine_s_own_traces_are_accepted() {
    accepted(&one_job());
    accepted(&record(|bench| {
        for round in 0..20 {
            let job = bench.start(JobOptions::new(format!("j{round}")), 50);
            let _ = job.pause();
            let _ = job.resume();
            if round % 2 == 0 {
                let _ = job.cancel(CancelMode::Force);
            }
            let _ = job.wait_concluded();
        }
    }));
}

#[test]
fn a_converging_job_is_accepted_however_it_is_told_to_finish() {
    for finish in [Some(CancelMode::Soft), Some(CancelMode::Force), None] {
        accepted(&record(|bench| {
            let recorder = bench.recorder("mirror", None);
            let driver = Count {
                converges: true,
                ..Count::new(recorder, 2)
            };
            let job = bench
                .manager
                .create(JobOptions::new("mirror"), driver)
                .unwrap()
                .start();
            job.job().wait_for(&[Status::Ready]).unwrap();
            match finish {
                Some(mode) => job.cancel(mode).unwrap(),
                None => job.complete().unwrap(),
            }
            let _ = job.complete();
            let _ = job.wait_concluded();
        }));
    }
}

#[test]
fn transactions_are_accepted_however_they_end() {
    for (fails, prepare_fails, cancels) in [
        (false, false, false),
        (true, false, false),
        (false, true, false),
        (false, false, true),
    ] {
        accepted(&record(|bench| {
            let mut transaction = bench.manager.transaction();
            let name = transaction.name().map(str::to_owned);
            for (place, id) in ["a", "b", "c"].into_iter().enumerate() {
                let recorder = bench.recorder(id, name.as_deref());
                let driver = Count {
                    fails: fails && place == 1,
                    prepare_fails: prepare_fails && place == 1,
                    ..Count::new(recorder, 20)
                };
                transaction
                    .create(JobOptions::new(id).manual_finalize(place == 0), driver)
                    .unwrap();
            }
            let jobs = transaction.start();
            let token = bench.manager.pause_all();
            bench.manager.resume_all(token);
            if cancels {
                let _ = jobs[2].cancel(CancelMode::Force);
            } else if !fails {
                jobs[0].job().wait_for(&[Status::Pending]).unwrap();
                assert_eq!(jobs[1].finalize().is_err(), prepare_fails);
            }
            for job in &jobs {
                let _ = job.wait_concluded();
            }
        }));
    }
}

#[test]
fn jobs_given_up_before_their_start_are_accepted() {
    accepted(&record(|bench| {
        let recorder = bench.recorder("j0", None);
        let created = bench
            .manager
            .create(JobOptions::new("j0"), Count::new(recorder, 1))
            .unwrap();
        drop(created);
        let recorder = bench.recorder("bad id", None);
        assert!(
            bench
                .manager
                .create(JobOptions::new("bad id"), Count::new(recorder, 1))
                .is_err()
        );
        let mut transaction = bench.manager.transaction();
        let name = transaction.name().map(str::to_owned);
        for id in ["a", "b"] {
            let recorder = bench.recorder(id, name.as_deref());
            transaction
                .create(JobOptions::new(id), Count::new(recorder, 1))
                .unwrap();
        }
        drop(transaction);
    }));
}

/// Its `cancel` pauses it.
struct CallsBack(Arc<Mutex<Option<RecordingHandle>>>);

impl Driver for CallsBack {
    fn job_type(&self) -> &'static str {
        "calls-back"
    }

    fn run(&self, _: RunContext<'_>) -> Result<(), JobError> {
        Ok(())
    }

    fn cancel(&self, _: bool, _: bool) -> bool {
        if let Some(job) = &*self.0.lock().unwrap() {
            let _ = job.pause();
        }
        true
    }
}

/// A verb called on the main loop's own thread, whose callback calls back.
fn call_inside_a_callback_inside_a_call() -> String {
    let buffer = Buffer::default();
    let sink = Arc::new(TraceWriter::new(buffer.clone()));
    let config = ManagerConfig::default().trace(Arc::clone(&sink) as Arc<dyn TraceSink>);
    let (manager, mut main_loop) = Manager::new(config);
    let manager = RecordingManager::new(manager, Arc::clone(&sink) as Arc<dyn TraceSink>);
    let itself = Arc::new(Mutex::new(None));
    let driver = CallsBack(Arc::clone(&itself));
    let created = manager.create(JobOptions::new("j0"), driver).unwrap();
    let job = created.handle();
    *itself.lock().unwrap() = Some(job.clone());
    job.cancel(CancelMode::Force).unwrap();
    // In vain: the cancel was faster.
    drop(created);
    main_loop.run_until_idle();
    itself.lock().unwrap().take();
    drop(main_loop);
    sink.finish().unwrap();
    String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn a_call_inside_a_callback_inside_a_call_is_accepted_and_no_other_inside_one() {
    let trace = call_inside_a_callback_inside_a_call();
    accepted(&trace);
    let lines: Vec<&str> = trace.lines().collect();
    let at = |what: &str| lines.iter().position(|line| line.contains(what)).unwrap();
    let (cancel, callback) = (at("\"verb\":\"cancel\""), at("\"edge\":\"begin\""));
    assert!(
        lines[callback + 1].contains("\"verb\":\"pause\""),
        "{trace}"
    );
    // Without the edge of the callback, the call inside it is one inside the call.
    let mut forged = lines.clone();
    forged.remove(callback);
    assert_eq!(cancel + 1, callback, "{trace}");
    let verdict = check(&forged.join("\n"));
    let Outcome::Reject(fault) = &verdict.outcome else {
        panic!("{verdict}");
    };
    assert_eq!(fault.rule, "call-inside-call", "{verdict}");
}

#[test]
fn creations_that_are_refused_are_accepted_whatever_they_are_refused_for() {
    let trace = record(|bench| {
        let disk = || Resource::write("disk");
        let holder = JobOptions::without_id().resource(disk());
        let holder = bench.manager.create(holder, Converges).unwrap();
        for (options, text) in [
            (JobOptions::new("j0").resource(disk()), "is busy"),
            (JobOptions::new("disk"), "already in use"),
            (JobOptions::without_id(), "explicit job ID"),
            (JobOptions::without_id().resource(Resource::read("")), "''"),
            (JobOptions::new("j0").internal(true), "internal job"),
            (
                JobOptions::without_id().internal(true).manual_dismiss(true),
                "no user",
            ),
        ] {
            let refused = bench.manager.create(options, Converges).unwrap_err();
            assert!(refused.to_string().contains(text), "{refused}");
        }
        assert_eq!(holder.handle().id(), "disk");
    });
    accepted(&trace);
}

/// A creation that fails late, between two that do not.
fn late_failure() -> String {
    record(|bench| {
        for speed in [5, -5, 5] {
            let recorder = bench.recorder("j0", None);
            let options = JobOptions::new("j0").speed(speed);
            let created = bench.manager.create(options, Count::new(recorder, 1));
            assert_eq!(created.is_err(), speed < 0);
        }
        let mut transaction = bench.manager.transaction();
        let name = transaction.name().map(str::to_owned);
        for (id, speed) in [("a", -1), ("a", 0), ("b", -1)] {
            let recorder = bench.recorder(id, name.as_deref());
            let options = JobOptions::new(id).speed(speed);
            let _ = transaction.create(options, Count::new(recorder, 1));
        }
        for job in transaction.start() {
            assert!(job.set_speed(-1).is_err());
            let _ = job.wait_concluded();
        }
    })
}

#[test]
fn a_creation_that_fails_late_is_accepted_only_with_its_failure_and_its_end() {
    let trace = late_failure();
    accepted(&trace);
    // The main loop lets go of the driver when it comes to it, before the return or after it.
    let mut lines: Vec<String> = trace.lines().map(str::to_owned).collect();
    lines.retain(|line| !line.contains("\"callback\":\"free\""));
    let fails = lines
        .iter()
        .position(|line| line.contains("\"speed\":-5"))
        .unwrap();
    lines.truncate(fails + 4);
    let (call, null, answer) = (fails, fails + 2, fails + 3);
    assert!(lines[call].contains("\"verb\":\"create\""));
    assert!(lines[null].contains("\"status\":\"null\""));
    let mut succeeds = lines.clone();
    let (before, _) = lines[answer].split_once(",\"ok\":false").unwrap();
    succeeds[answer] = format!("{before},\"ok\":true}}");
    assert_eq!(rule(&check(&renumber(&succeeds))), "created-and-gone");
    let mut lives = lines;
    lives.remove(null);
    assert_eq!(rule(&check(&renumber(&lives))), "refused-and-created");
}

fn rule(verdict: &Verdict) -> &str {
    match &verdict.outcome {
        Outcome::Reject(fault) => fault.rule,
        other => panic!("{other:?}"),
    }
}

/// Converges and ends, recording nothing of its own.
struct Converges;

impl Driver for Converges {
    fn job_type(&self) -> &'static str {
        "converges"
    }

    fn supports_complete(&self) -> bool {
        true
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        let _ = context.ready().wait_for_finish();
        Ok(())
    }
}

#[test]
fn jobs_without_events_are_accepted_and_with_an_event_they_are_not() {
    for (internal, mark) in [(false, "\"block\":false"), (true, "\"internal\":true")] {
        let trace = record(|bench| {
            let options = if internal {
                JobOptions::without_id().internal(true)
            } else {
                JobOptions::new("j0").block_job(false)
            };
            let job = bench.manager.create(options, Converges).unwrap().start();
            job.job().wait_for(&[Status::Ready]).unwrap();
            assert_eq!(job.complete().is_err(), internal);
            let _ = job.reset_io_status();
            if internal {
                job.cancel(CancelMode::Soft).unwrap();
            }
            job.wait_concluded().unwrap().unwrap();
        });
        accepted(&trace);
        assert!(trace.contains(mark));
        assert!(!trace.contains("BLOCK_JOB"));
        // Without the mark events are missing.
        let block = trace.replace(&format!(",{mark}"), "");
        if internal {
            assert_eq!(rule(&check(&block)), "unknown-job");
        } else {
            assert!(matches!(check(&block).outcome, Outcome::Reject(_)));
        }
    }
}

/// Renumbers the records, so that only the alteration is wrong.
fn renumber(lines: &[String]) -> String {
    let mut text = String::new();
    let mut seq = 0;
    for line in lines {
        match line.split_once(",\"t_ns\"") {
            Some((_, rest)) => {
                seq += 1;
                writeln!(text, "{{\"seq\":{seq},\"t_ns\"{rest}").unwrap();
            }
            None => writeln!(text, "{line}").unwrap(),
        }
    }
    text
}

#[test]
fn an_altered_trace_is_refused_for_what_was_altered() {
    // One turn at a time, so that the trace is the same each time.
    let trace = record(|bench| {
        let options = JobOptions::new("j0").manual_finalize(true);
        let job = bench.start(options, 1);
        job.job().wait_for(&[Status::Pending]).unwrap();
        job.finalize().unwrap();
        job.wait_concluded().unwrap().unwrap();
    });
    accepted(&trace);
    let lines: Vec<String> = trace.lines().map(str::to_owned).collect();
    let find = |what: &str| {
        lines
            .iter()
            .position(|line| line.contains(what))
            .unwrap_or_else(|| panic!("no {what} in\n{trace}"))
    };
    let drop_line = |what: &str| {
        let mut lines = lines.clone();
        lines.remove(find(what));
        renumber(&lines)
    };
    let double = |what: &str| {
        let mut lines = lines.clone();
        lines.insert(find(what), lines[find(what)].clone());
        renumber(&lines)
    };
    let replace = |what: &str, with: &str| {
        let mut lines = lines.clone();
        let place = find(what);
        lines[place] = lines[place].replace(what, with);
        renumber(&lines)
    };
    let mut found = String::new();
    for (name, altered) in [
        ("no start", drop_line("\"verb\":\"start\"")),
        (
            "run begins twice",
            double("\"callback\":\"run\",\"edge\":\"begin\""),
        ),
        (
            "run does not end",
            drop_line("\"callback\":\"run\",\"edge\":\"end\""),
        ),
        (
            "I/O does not end",
            drop_line("\"kind\":\"io\",\"job\":\"j0\",\"group\":null,\"edge\":\"end\""),
        ),
        (
            "no prepare",
            drop_line("\"callback\":\"prepare\",\"edge\":\"begin\""),
        ),
        (
            "no commit",
            drop_line("\"callback\":\"commit\",\"edge\":\"begin\""),
        ),
        (
            "abort for commit",
            replace(
                "\"callback\":\"commit\",\"edge\":\"begin\"",
                "\"callback\":\"abort\",\"edge\":\"begin\"",
            ),
        ),
        (
            "no clean",
            drop_line("\"callback\":\"clean\",\"edge\":\"begin\""),
        ),
        ("no waiting", drop_line("\"status\":\"waiting\"")),
        ("no PENDING", drop_line("BLOCK_JOB_PENDING")),
        ("no COMPLETED", drop_line("BLOCK_JOB_COMPLETED")),
        (
            "CANCELLED for COMPLETED",
            replace("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED"),
        ),
        ("null twice", double("\"status\":\"null\"")),
        (
            "finalize returns twice",
            double("\"kind\":\"return\",\"job\":\"j0\",\"group\":null,\"verb\":\"finalize\""),
        ),
        (
            "finalize refused",
            replace(
                "\"verb\":\"finalize\",\"ok\":true",
                "\"verb\":\"finalize\",\"ok\":false,\"class\":\"GenericError\",\"error\":\"Job is already paused\"",
            ),
        ),
        (
            "progress beyond its end",
            replace("\"offset\":1,\"speed\"", "\"offset\":2,\"speed\""),
        ),
        (
            "a job nobody made",
            replace(
                "\"kind\":\"status\",\"job\":\"j0\"",
                "\"kind\":\"status\",\"job\":\"ghost\"",
            ),
        ),
    ] {
        let verdict = check(&altered);
        let fault = verdict
            .fault()
            .unwrap_or_else(|| panic!("{name}: {verdict}\n{altered}"));
        writeln!(found, "{name}: {}", fault.rule).unwrap();
    }
    insta::assert_snapshot!(found);
}

/// The id is asked for while a job has it that goes before the answer: who asked was only slow.
#[test]
fn an_id_may_become_free_while_somebody_asks_for_it() {
    let trace = record(|bench| {
        for _ in 0..2 {
            let job = bench.start(JobOptions::new("j0"), 2);
            job.wait_concluded().unwrap().unwrap();
            // It goes by itself; the id is free then.
            while bench.manager.job("j0").is_ok() {
                thread::yield_now();
            }
        }
    });
    accepted(&trace);
    let mut lines: Vec<String> = trace.lines().map(str::to_owned).collect();
    let of_create = |lines: &[String], kind: &str| -> Vec<usize> {
        let fits = |line: &String| {
            line.contains(&format!("\"kind\":\"{kind}\"")) && line.contains("\"verb\":\"create\"")
        };
        (0..lines.len())
            .filter(|&place| fits(&lines[place]))
            .collect()
    };
    let (called, returned) = (of_create(&lines, "call")[1], of_create(&lines, "return")[1]);
    let mine = serde_json::from_str::<serde_json::Value>(&lines[called]).unwrap()["thread"].clone();
    for place in [called, returned] {
        lines[place] = lines[place].replace(&format!("\"thread\":{mine}"), "\"thread\":\"other\"");
    }
    let gone = lines
        .iter()
        .position(|line| line.contains("\"status\":\"null\""))
        .unwrap();
    assert!(gone < called);
    let call = lines.remove(called);
    lines.insert(gone, call);
    accepted(&renumber(&lines));
    // While the first has it, it is refused or waits; it cannot succeed before.
    let returned = of_create(&lines, "return")[1];
    let answer = lines.remove(returned);
    lines.insert(gone + 1, answer);
    let verdict = check(&renumber(&lines));
    assert_eq!(rule(&verdict), "verb-accepted-for-nobody");
}
