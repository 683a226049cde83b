//! Every callback of every driver: how often, in which order, on which thread.
//!
//! Goal: the table of `blockjob::driver` (SEMANTICS.md §3) holds under real threads, whatever is asked
//! meanwhile, by controllers and from inside the callbacks themselves (decisions 22, 23). Method: random
//! programs from fixed seeds; drivers write down each beginning and end with its thread, and at random
//! call back into the engine. Then [`judge`] reads what was written: it is this file's own, and knows the
//! engine's ledger not. Each of its rules is broken once by a forged log and must see it.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use blockjob::driver::{Driver, Errno, Finish, Flow, JobError, RunContext};
use blockjob::engine::{
    CancelMode, CompletionMode, Context, EngineError, JobHandle, JobOptions, Manager, ManagerConfig,
};
use blockjob::model::Callback;

/// One edge of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edge {
    job: usize,
    callback: Callback,
    begins: bool,
    thread: ThreadId,
}

/// What every driver of one program shares.
struct Stage {
    edges: Mutex<Vec<Edge>>,
    dice: Mutex<Dice>,
    /// Every job so far, for callbacks that call back.
    jobs: Mutex<Vec<JobHandle>>,
    manager: Manager,
    contexts: [Context; 2],
    main_thread: ThreadId,
}

impl Stage {
    fn edge(&self, job: usize, callback: Callback, begins: bool) {
        self.edges.lock().unwrap().push(Edge {
            job,
            callback,
            begins,
            thread: std::thread::current().id(),
        });
    }

    fn roll(&self, sides: u64) -> u64 {
        self.dice.lock().unwrap().roll(sides)
    }

    /// Now and then asks something, of any job.
    fn meddle(&self) {
        if self.roll(3) != 0 {
            return;
        }
        let jobs = self.jobs.lock().unwrap().clone();
        if jobs.is_empty() {
            return;
        }
        let job = &jobs[self.roll(jobs.len() as u64) as usize];
        let (verb, speed) = (self.roll(12), self.roll(3));
        match verb {
            // Waiting is refused on the main loop, in a job's own body, and is tried nowhere else: two
            // bodies would wait for each other.
            10 if std::thread::current().id() == self.main_thread => {
                let refused = Err(EngineError::WouldDeadlock);
                assert_eq!(job.wait_concluded(), refused);
                assert_eq!(
                    job.drained_begin().map(drop).unwrap_err(),
                    EngineError::WouldDeadlock
                );
            }
            11 => self.manager.resume_all(self.manager.pause_all()),
            _ => {
                let _ = ask(job, verb, speed);
            }
        }
    }
}

fn ask(job: &JobHandle, verb: u64, speed: u64) -> Result<(), EngineError> {
    match verb {
        0..=2 => job.pause(),
        3..=5 => job.resume(),
        6 => job.cancel(if speed == 0 {
            CancelMode::Force
        } else {
            CancelMode::Soft
        }),
        7 => job.complete(),
        8 => job.finalize(),
        9 => job.dismiss(),
        10 => {
            job.enter();
            Ok(())
        }
        _ => job.set_speed(speed as i64),
    }
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

/// Writes down what is called and meddles.
struct Nasty {
    stage: Arc<Stage>,
    job: usize,
    points: u64,
    can_complete: bool,
    fails: bool,
    prepare_fails: bool,
}

impl Nasty {
    fn say<T>(&self, callback: Callback, answer: T) -> T {
        self.stage.edge(self.job, callback, true);
        self.stage.meddle();
        self.stage.edge(self.job, callback, false);
        answer
    }

    fn work(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        for _ in 0..self.points {
            self.stage.meddle();
            let flow = match self.stage.roll(3) {
                0 => context.sleep(Duration::from_millis(1)),
                _ => context.pause_point(),
            };
            if flow == Flow::Cancelled {
                return Err(JobError::canceled());
            }
        }
        if self.fails {
            return Err(Errno::IO.into());
        }
        if self.can_complete && context.ready().wait_for_finish() == Finish::Cancelled {
            return Ok(());
        }
        Ok(())
    }
}

impl Driver for Nasty {
    fn job_type(&self) -> &'static str {
        "nasty"
    }
    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        self.stage.edge(self.job, Callback::Run, true);
        let result = self.work(context);
        self.stage.edge(self.job, Callback::Run, false);
        result
    }
    fn pause(&self) {
        self.say(Callback::Pause, ());
    }
    fn resume(&self) {
        self.say(Callback::Resume, ());
    }
    fn user_resume(&self) {
        self.say(Callback::UserResume, ());
    }
    fn supports_complete(&self) -> bool {
        self.can_complete
    }
    fn complete(&self) {
        self.say(Callback::Complete, ());
    }
    fn cancel(&self, force: bool, ready: bool) -> bool {
        self.say(Callback::Cancel, force || !(ready && self.can_complete))
    }
    fn set_speed(&self, _: u64) {
        self.say(Callback::SetSpeed, ());
    }
    fn drain(&self) {
        self.say(Callback::Drain, ());
    }
    fn drained_poll(&self) -> bool {
        let more = self.stage.roll(4) == 0;
        self.say(Callback::DrainedPoll, more)
    }
    fn attached_context(&self, _: &Context) {
        self.say(Callback::AttachedContext, ());
    }
    fn prepare(&self) -> Result<(), JobError> {
        let result = if self.prepare_fails {
            Err(Errno::NO_SPACE.into())
        } else {
            Ok(())
        };
        self.say(Callback::Prepare, result)
    }
    fn commit(&self) {
        self.say(Callback::Commit, ());
    }
    fn abort(&self) {
        self.say(Callback::Abort, ());
    }
    fn clean(&self) {
        self.say(Callback::Clean, ());
    }
    fn free(&self) {
        self.say(Callback::Free, ());
    }
}

/// What is known of a job apart from its log.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    started: bool,
    succeeded: Option<bool>,
}

/// What one program left: the log, what became of the jobs, and the main loop's thread.
struct Told {
    edges: Vec<Edge>,
    jobs: Vec<Known>,
    main_thread: ThreadId,
}

fn options(stage: &Arc<Stage>, dice: &mut Dice, number: usize) -> JobOptions {
    let stage = Arc::clone(stage);
    JobOptions::new(format!("j{number}"))
        .manual_finalize(dice.roll(3) == 0)
        .manual_dismiss(dice.roll(3) == 0)
        .on_completion(move |_| {
            stage.edge(number, Callback::Completion, true);
            stage.meddle();
            stage.edge(number, Callback::Completion, false);
        })
}

fn program(seed: u64) -> Told {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default().virtual_time(true));
    let stage = Arc::new(Stage {
        edges: Mutex::default(),
        dice: Mutex::new(Dice(dice.roll(u64::MAX) | 1)),
        jobs: Mutex::default(),
        manager: manager.clone(),
        contexts: [Context::new("one", 4), Context::new("two", 4)],
        main_thread: std::thread::current().id(),
    });
    let mode = match dice.roll(2) {
        0 => CompletionMode::Grouped,
        _ => CompletionMode::Individual,
    };
    let mut transaction = manager.transaction_in(mode);
    let count = 1 + dice.roll(3) as usize;
    for job in 0..count {
        let nasty = Nasty {
            stage: Arc::clone(&stage),
            job,
            points: dice.roll(4),
            can_complete: dice.roll(2) == 0,
            fails: dice.roll(5) == 0,
            prepare_fails: dice.roll(5) == 0,
        };
        let handle = transaction
            .create(options(&stage, &mut dice, job), nasty)
            .unwrap();
        stage.jobs.lock().unwrap().push(handle);
    }
    let mut started = vec![true; count];
    match dice.roll(8) {
        0 => {
            drop(transaction);
            started.fill(false);
        }
        1 => {
            // Cancelled before the start: then who of a group is started is the engine's affair.
            let victim = stage.jobs.lock().unwrap()[0].clone();
            victim.cancel(CancelMode::Force).unwrap();
            started[0] = false;
            if mode == CompletionMode::Grouped {
                started.fill(false);
            }
            transaction.start();
        }
        _ => drop(transaction.start()),
    }
    let controllers: Vec<_> = (0..2)
        .map(|_| {
            let (stage, mut dice) = (Arc::clone(&stage), Dice(dice.roll(u64::MAX) | 1));
            std::thread::spawn(move || control(&stage, &mut dice))
        })
        .collect();
    let supervisor = {
        let stage = Arc::clone(&stage);
        std::thread::spawn(move || {
            for controller in controllers {
                controller.join().unwrap();
            }
            // Whatever they left behind is brought to an end, pauses of callbacks included.
            stage.manager.cancel_sync_all().unwrap();
            stage.manager.shutdown();
        })
    };
    main_loop.run();
    supervisor.join().unwrap();
    drop(main_loop);
    // Handles hold drivers, which hold the handles.
    let jobs = std::mem::take(&mut *stage.jobs.lock().unwrap());
    let known = |job: usize| Known {
        started: started[job],
        succeeded: jobs[job].outcome().map(|outcome| outcome.is_ok()),
    };
    Told {
        edges: stage.edges.lock().unwrap().clone(),
        jobs: (0..count).map(known).collect(),
        main_thread: stage.main_thread,
    }
}

fn control(stage: &Stage, dice: &mut Dice) {
    let jobs = stage.jobs.lock().unwrap().clone();
    for _ in 0..6 {
        let job = &jobs[dice.roll(jobs.len() as u64) as usize];
        if dice.roll(6) == 0 {
            let section = match dice.roll(2) {
                0 => stage.manager.drained_begin(),
                _ => job.drained_begin(),
            };
            // A job that is gone, and one that the section does not keep quiet, are refused.
            if let Ok(section) = section {
                let _ = section.attach_context(job, &stage.contexts[dice.roll(2) as usize]);
            }
        } else {
            let _ = ask(job, dice.roll(12), dice.roll(3));
        }
    }
}

/// Reads the log by the table. The first rule broken, and where.
fn judge(told: &Told) -> Result<(), String> {
    serial_on_the_main_loop(told)?;
    for (job, known) in told.jobs.iter().enumerate() {
        let edges: Vec<Edge> = told
            .edges
            .iter()
            .copied()
            .filter(|edge| edge.job == job)
            .collect();
        threads(&edges, told.main_thread)
            .and_then(|()| multiplicity(&edges, *known))
            .and_then(|()| order(&edges))
            .map_err(|rule| format!("j{job}: {rule}"))?;
    }
    Ok(())
}

fn of_the_body(callback: Callback) -> bool {
    matches!(callback, Callback::Run | Callback::Pause | Callback::Resume)
}

/// P27: one callback of the main loop at a time, of all jobs together.
fn serial_on_the_main_loop(told: &Told) -> Result<(), String> {
    let mut open = None;
    for edge in told.edges.iter().filter(|edge| !of_the_body(edge.callback)) {
        match (edge.begins, open) {
            (true, None) => open = Some((edge.job, edge.callback)),
            (false, Some(one)) if one == (edge.job, edge.callback) => open = None,
            _ => return Err(format!("{edge:?} while {open:?} is open")),
        }
    }
    Ok(())
}

fn threads(edges: &[Edge], main_thread: ThreadId) -> Result<(), String> {
    let mut body = None;
    for edge in edges {
        let right = if of_the_body(edge.callback) {
            *body.get_or_insert(edge.thread) == edge.thread && edge.thread != main_thread
        } else {
            edge.thread == main_thread
        };
        if !right {
            return Err(format!("{edge:?} on the wrong thread"));
        }
    }
    Ok(())
}

fn count(edges: &[Edge], callback: Callback) -> usize {
    let begins = |edge: &&Edge| edge.begins && edge.callback == callback;
    edges.iter().filter(begins).count()
}

fn multiplicity(edges: &[Edge], known: Known) -> Result<(), String> {
    let times = |callback| count(edges, callback);
    let at_most_once = [Callback::Run, Callback::Complete, Callback::Prepare];
    if let Some(callback) = at_most_once.into_iter().find(|one| times(*one) > 1) {
        return Err(format!("{callback} twice"));
    }
    if times(Callback::Run) > 0 && !known.started {
        return Err("run without start".to_owned());
    }
    if times(Callback::Pause) != times(Callback::Resume) {
        return Err("pause and resume are not balanced (P17)".to_owned());
    }
    let (commits, aborts) = match known.succeeded {
        Some(true) => (1, 0),
        Some(false) => (0, 1),
        None => (0, 0),
    };
    let finalised = commits + aborts;
    for (callback, due) in [
        (Callback::Commit, commits),
        (Callback::Abort, aborts),
        (Callback::Clean, finalised),
        (Callback::Completion, finalised),
        (Callback::Free, 1),
    ] {
        if times(callback) != due {
            return Err(format!("{callback} {} times, not {due}", times(callback)));
        }
    }
    if finalised == 0 && edges.iter().any(|edge| edge.callback != Callback::Free) {
        return Err("more than free for a job given up".to_owned());
    }
    Ok(())
}

fn order(edges: &[Edge]) -> Result<(), String> {
    let mut pausing = None;
    let (mut ran, mut decided, mut prepared) = (false, false, false);
    let mut ended: Vec<Callback> = Vec::new();
    let mut open: Vec<Callback> = Vec::new();
    for edge in edges {
        let callback = edge.callback;
        let wrong = |rule: &str| Err(format!("{callback} {rule}"));
        if !edge.begins {
            open.retain(|one| *one != callback);
            ended.push(callback);
            ran |= callback == Callback::Run;
            prepared |= callback == Callback::Prepare;
            continue;
        }
        if ended.contains(&Callback::Free) {
            return wrong("after free");
        }
        match callback {
            Callback::Run | Callback::Pause | Callback::Resume => {
                if ran || decided {
                    return wrong("after the end of the run");
                }
                match (callback, pausing) {
                    (Callback::Pause, None) => pausing = Some(()),
                    (Callback::Resume, Some(())) => pausing = None,
                    (Callback::Run, None) => {}
                    _ => return wrong("out of turn (P17)"),
                }
            }
            Callback::UserResume
            | Callback::Cancel
            | Callback::Complete
            | Callback::SetSpeed
            | Callback::Drain
            | Callback::DrainedPoll
            | Callback::AttachedContext => {
                if decided {
                    return wrong("after the decision");
                }
            }
            Callback::Prepare if !ran => return wrong("before the end of the run"),
            Callback::Prepare => {}
            Callback::Commit if !prepared => return wrong("before prepare"),
            Callback::Commit | Callback::Abort => {
                if open.iter().any(|one| of_the_body(*one)) {
                    return wrong("while the run goes on (P27)");
                }
                decided = true;
            }
            Callback::Clean => {
                if !matches!(ended.last(), Some(Callback::Commit | Callback::Abort)) {
                    return wrong("not directly after commit or abort (P10)");
                }
            }
            Callback::Completion => {
                if ended.last() != Some(&Callback::Clean) {
                    return wrong("not directly after clean (P10)");
                }
            }
            Callback::Free => {
                if !open.is_empty() {
                    return wrong("inside another");
                }
            }
        }
        open.push(callback);
    }
    Ok(())
}

#[test]
fn every_callback_comes_as_often_in_the_order_and_on_the_thread_of_the_table() {
    let programs = 400;
    let mut seen = [0usize; Callback::ALL.len()];
    for seed in 1..=programs {
        let told = program(seed);
        if let Err(rule) = judge(&told) {
            for edge in &told.edges {
                println!("{edge:?}");
            }
            panic!("seed {seed}: {rule}\n{:?}", told.jobs);
        }
        for (place, callback) in Callback::ALL.into_iter().enumerate() {
            seen[place] += count(&told.edges, callback);
        }
    }
    // Whatever is never called proves nothing.
    for (place, callback) in Callback::ALL.into_iter().enumerate() {
        assert!(seen[place] > 20, "{callback} only {} times", seen[place]);
    }
}

/// A log that obeys every rule: a job of one, paused and completed.
fn sound() -> Told {
    let main_thread = std::thread::current().id();
    let body = std::thread::spawn(|| std::thread::current().id());
    let body = body.join().unwrap();
    let mut edges = Vec::new();
    let mut edge = |callback, begins| {
        let thread = if of_the_body(callback) {
            body
        } else {
            main_thread
        };
        edges.push(Edge {
            job: 0,
            callback,
            begins,
            thread,
        });
    };
    edge(Callback::Run, true);
    for callback in [
        Callback::Pause,
        Callback::UserResume,
        Callback::Resume,
        Callback::Complete,
    ] {
        edge(callback, true);
        edge(callback, false);
    }
    edge(Callback::Run, false);
    for callback in [
        Callback::Prepare,
        Callback::Commit,
        Callback::Clean,
        Callback::Completion,
        Callback::Free,
    ] {
        edge(callback, true);
        edge(callback, false);
    }
    Told {
        edges,
        jobs: vec![Known {
            started: true,
            succeeded: Some(true),
        }],
        main_thread,
    }
}

#[test]
fn the_judge_sees_every_kind_of_mistake() {
    assert_eq!(judge(&sound()), Ok(()));
    // Each callback left out where it is due, and each one once more at the end.
    for callback in Callback::ALL {
        let mut forged = sound();
        let before = forged.edges.len();
        forged.edges.retain(|edge| edge.callback != callback);
        let optional = [Callback::UserResume, Callback::Complete];
        if forged.edges.len() < before && !optional.contains(&callback) {
            assert!(judge(&forged).is_err(), "without {callback}");
        }
        let mut forged = sound();
        let (thread, job) = (forged.main_thread, 0);
        forged.edges.extend([true, false].map(|begins| Edge {
            job,
            callback,
            begins,
            thread,
        }));
        assert!(judge(&forged).is_err(), "{callback} after free");
    }
    // Each pair of neighbours exchanged that the table orders, and each callback on the wrong thread.
    let sound = sound();
    let other = sound.edges[0].thread;
    for place in 0..sound.edges.len() {
        let mut forged = Told {
            edges: sound.edges.clone(),
            jobs: sound.jobs.clone(),
            main_thread: sound.main_thread,
        };
        let thread = &mut forged.edges[place].thread;
        *thread = if *thread == other {
            sound.main_thread
        } else {
            other
        };
        assert!(judge(&forged).is_err(), "edge {place} elsewhere");
    }
    let swapped = |first: Callback, second: Callback| {
        let mut edges = sound.edges.clone();
        let at = |callback: Callback| {
            sound
                .edges
                .iter()
                .position(|edge| edge.callback == callback)
                .unwrap()
        };
        for offset in 0..2 {
            edges.swap(at(first) + offset, at(second) + offset);
        }
        judge(&Told {
            edges,
            jobs: sound.jobs.clone(),
            main_thread: sound.main_thread,
        })
    };
    for (first, second) in [
        (Callback::Pause, Callback::Resume),
        (Callback::Prepare, Callback::Commit),
        (Callback::Commit, Callback::Clean),
        (Callback::Clean, Callback::Completion),
        (Callback::Completion, Callback::Free),
        (Callback::Complete, Callback::Commit),
        (Callback::UserResume, Callback::Clean),
        (Callback::Resume, Callback::Prepare),
    ] {
        assert!(swapped(first, second).is_err(), "{second} before {first}");
    }
}
