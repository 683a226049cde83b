//! The engine's side: carries operations out on a real manager, and brings it to rest after each.
//!
//! The test's thread owns the main loop. Verbs are called on another thread, whose call the main
//! loop serves, or on the main loop's own. Time is virtual and moves at [`Operation::Tick`] only.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use blockjob::driver::Errno;
use blockjob::engine::{
    CancelMode, Context, EngineError, JobOptions, MainLoop, Manager, ManagerConfig, PauseAllToken,
};
use blockjob::trace::{
    RecordingDrainedSection, RecordingManager, TraceEntry, TraceSink, TraceWriter,
};
use blockjob_model::state::{Cancel, Outcome};
use blockjob_model::{Callback, Status};

use crate::driver::{Builder, Puppet, Stage, ask, await_answer};
use crate::happening::{Answer, Happenings, compare};
use crate::program::{Drive, Flaw, JobPlan, Operation, Plan, TOKENS};
use crate::specification::{Specification, name};

/// What the trace writer writes to.
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

/// Two sinks in one.
struct Both(Arc<Stage>, Arc<TraceWriter<Buffer>>);

impl TraceSink for Both {
    fn record(&self, entry: &TraceEntry<'_>) {
        self.0.record(entry);
        self.1.record(entry);
    }

    fn record_together(&self, entries: &[TraceEntry<'_>]) {
        self.0.record_together(entries);
        self.1.record_together(entries);
    }
}

/// A thread that makes the calls it is given.
struct User {
    calls: Sender<Box<dyn FnOnce() + Send>>,
    thread: thread::JoinHandle<()>,
}

impl User {
    fn new() -> User {
        let (calls, next) = channel::<Box<dyn FnOnce() + Send>>();
        let thread = thread::spawn(move || {
            for call in next {
                call();
            }
        });
        User { calls, thread }
    }

    /// Hands a call over; its answer will come.
    fn call<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
        let (answer, answers) = channel();
        let call = Box::new(move || {
            let _ = answer.send(call());
        });
        self.calls.send(call).expect("the user's thread runs");
        answers
    }
}

/// A drained section that was asked for.
struct Section {
    user: User,
    beginning: Option<Receiver<Result<RecordingDrainedSection, EngineError>>>,
    begun: Option<Arc<RecordingDrainedSection>>,
}

/// The system under test.
pub struct Engine {
    plan: Plan,
    stage: Arc<Stage>,
    manager: RecordingManager,
    main_loop: Option<MainLoop>,
    writer: Arc<TraceWriter<Buffer>>,
    trace: Buffer,
    sink: Arc<dyn TraceSink>,
    orders: Vec<Option<Sender<Drive>>>,
    contexts: [Context; 2],
    holds: [Option<PauseAllToken>; TOKENS as usize],
    sections: [Option<Section>; TOKENS as usize],
    user: User,
    happenings: Happenings,
}

impl Engine {
    pub fn new(plan: &Plan) -> Engine {
        let stage = Arc::new(Stage::new(plan));
        let trace = Buffer::default();
        let writer = Arc::new(TraceWriter::new(trace.clone()));
        let sink: Arc<dyn TraceSink> = Arc::new(Both(Arc::clone(&stage), Arc::clone(&writer)));
        let config = ManagerConfig::default()
            .virtual_time(true)
            .trace(Arc::clone(&sink));
        let (manager, main_loop) = Manager::new(config);
        let contexts = [manager.context(), Context::new("elsewhere", 16)];
        let manager = RecordingManager::new(manager, Arc::clone(&sink));
        for builder in &stage.builders[..crate::program::TRANSACTIONS_MAX] {
            *builder.lock().unwrap() = Some(Builder::Transaction(manager.transaction()));
        }
        Engine {
            plan: plan.clone(),
            stage,
            manager,
            main_loop: Some(main_loop),
            writer,
            trace,
            sink,
            orders: plan.jobs.iter().map(|_| None).collect(),
            contexts,
            holds: Default::default(),
            sections: Default::default(),
            user: User::new(),
            happenings: Vec::new(),
        }
    }

    fn main_loop(&mut self) -> &mut MainLoop {
        self.main_loop.as_mut().expect("the program is not over")
    }

    /// Carries the operation out and comes to rest. What the specification says is only looked at
    /// where the answer of a call that waits is due.
    ///
    /// # Panics
    /// An answer, or what happened, is not the specification's.
    pub fn apply(&mut self, operation: &Operation, specification: &Specification) {
        let answer = self.carry_out(operation);
        self.settle();
        assert_eq!(answer, specification.answer, "the answer to {operation:?}");
        for section in &specification.sections {
            self.section_begins(section.slot, section.begun);
        }
        self.happenings = self.stage.take_happenings();
    }

    fn carry_out(&mut self, operation: &Operation) -> Option<Answer> {
        match *operation {
            Operation::Create(job) => Some(self.create(job, None)),
            Operation::CreateBadly(job, flaw) => Some(self.create(job, Some(flaw))),
            Operation::Start(job) => {
                let builder = self.stage.builder_of(job).lock().unwrap().take();
                builder.expect("it was not started").start();
                None
            }
            Operation::GiveUp(job) => {
                let builder = self.stage.builder_of(job).lock().unwrap().take();
                drop(builder);
                None
            }
            Operation::Renew(job) => {
                self.renew(job);
                None
            }
            Operation::Ask(job, verb) => {
                let handle = self.stage.handle(job).expect("it was created");
                let answer = if self.plan.on_main_thread {
                    ask(&handle, verb)
                } else {
                    let answers = self.user.call(move || ask(&handle, verb));
                    self.serve(&answers)
                };
                Some(answer.map_err(|error| self.stage.text(job, &error)))
            }
            Operation::PauseAll(token) => {
                let held = self.manager.pause_all();
                self.holds[usize::from(token)] = Some(held);
                None
            }
            Operation::ResumeAll(token) => {
                let held = self.holds[usize::from(token)].take();
                self.manager.resume_all(held.expect("it was taken"));
                None
            }
            Operation::DrainBegin(slot, scope) => {
                self.drain_begin(slot, scope);
                None
            }
            Operation::DrainEnd(slot) => {
                let section = self.sections[usize::from(slot)].take();
                let section = section.expect("it was begun");
                drop(section.begun.expect("it has begun"));
                drop(section.user.calls);
                section.user.thread.join().expect("it has nothing to do");
                None
            }
            Operation::Attach(slot, job) => Some(self.attach(slot, job)),
            Operation::Tick => {
                let mut asked = false;
                // Once to see that there is nothing to do, which is when time passes.
                self.main_loop()
                    .run_until(|| std::mem::replace(&mut asked, true));
                None
            }
            Operation::Drive(job, drive) => {
                self.stage.moves(job);
                let orders = self.orders[job].as_ref().expect("it was created");
                orders.send(drive).expect("its body runs");
                None
            }
        }
    }

    fn renew(&mut self, job: usize) {
        let transaction = self.plan.jobs[job].transaction;
        for other in 0..self.plan.jobs.len() {
            let together =
                transaction.is_some() && self.plan.jobs[other].transaction == transaction;
            if together || other == job {
                self.orders[other] = None;
                self.stage.renew(other);
            }
        }
        if transaction.is_some() {
            let transaction = Builder::Transaction(self.manager.transaction());
            *self.stage.builder_of(job).lock().unwrap() = Some(transaction);
        }
    }

    fn create(&mut self, job: usize, flaw: Option<Flaw>) -> Answer {
        let JobPlan {
            transaction, spec, ..
        } = self.plan.jobs[job];
        let options = match flaw {
            _ if spec.internal => JobOptions::without_id().internal(true),
            Some(Flaw::InvalidId) => JobOptions::new("0id"),
            Some(Flaw::TakenId(other)) => JobOptions::new(name(other)),
            Some(Flaw::NegativeSpeed) | None => JobOptions::new(name(job)),
        };
        let mut options = options
            .block_job(spec.block)
            .manual_finalize(!spec.auto_finalize)
            .manual_dismiss(!spec.auto_dismiss);
        if flaw == Some(Flaw::NegativeSpeed) {
            options = options.speed(-1);
        }
        if spec.completion {
            let stage = Arc::clone(&self.stage);
            options = options.on_completion(move |_| stage.callback(job, Callback::Completion));
        }
        let (orders, receiver) = channel();
        let builder = self.stage.builder_of(job);
        let mut builder = builder.lock().unwrap();
        let group = match &*builder {
            Some(Builder::Transaction(transaction)) => transaction.name().map(str::to_owned),
            _ => None,
        };
        let puppet = Puppet {
            job,
            stage: Arc::clone(&self.stage),
            orders: Mutex::new(receiver),
            sink: Arc::clone(&self.sink),
            group,
        };
        self.stage.creates(job);
        let created = match (&mut *builder, transaction) {
            (Some(Builder::Transaction(transaction)), Some(_)) => {
                transaction.create(options, puppet)
            }
            (place, None) => self.manager.create(options, puppet).map(|created| {
                let handle = created.handle();
                *place = Some(Builder::Single(created));
                handle
            }),
            _ => unreachable!("the transaction is open"),
        };
        drop(builder);
        match created {
            Ok(handle) => {
                self.orders[job] = Some(orders);
                self.stage.created(job, handle);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Runs the main loop until the call is answered.
    fn serve<T>(&mut self, answers: &Receiver<T>) -> T {
        await_answer("an answer", || {
            self.main_loop().run_pending();
            answers.try_recv().ok()
        })
    }

    fn drain_begin(&mut self, slot: u8, scope: Option<usize>) {
        let user = User::new();
        let manager = self.manager.clone();
        let job = scope.map(|job| self.stage.handle(job).expect("it was created"));
        let beginning = user.call(move || match job {
            Some(job) => job.drained_begin(),
            None => manager.drained_begin(),
        });
        self.sections[usize::from(slot)] = Some(Section {
            user,
            beginning: Some(beginning),
            begun: None,
        });
        // The main loop hears of it whether it can begin or not.
        await_answer("the beginning of a drained section", || {
            (self.main_loop().run_pending() > 0).then_some(())
        });
    }

    /// The call that begins the section has its answer, or waits for it.
    fn section_begins(&mut self, slot: u8, begins: bool) {
        let section = self.sections[usize::from(slot)].as_mut();
        let section = section.expect("it was asked for");
        let Some(beginning) = &section.beginning else {
            return;
        };
        if begins {
            let begun = await_answer("the answer to drained-begin", || beginning.try_recv().ok());
            section.begun = Some(Arc::new(begun.expect("nothing refuses it")));
            section.beginning = None;
        } else {
            let waits = matches!(beginning.try_recv(), Err(TryRecvError::Empty));
            assert!(waits, "drained section {slot} has begun");
        }
    }

    fn attach(&mut self, slot: u8, job: usize) -> Answer {
        let handle = self.stage.handle(job).expect("it was created");
        let here = handle.job().context();
        let elsewhere = usize::from(here.as_ref() == Some(&self.contexts[0]));
        let context = self.contexts[elsewhere].clone();
        let section = self.sections[usize::from(slot)].as_ref();
        let section = section.and_then(|section| section.begun.clone());
        let section = section.expect("it has begun");
        let answers = self
            .user
            .call(move || section.attach_context(&handle, &context));
        let answer = self.serve(&answers);
        answer.map_err(|error| self.stage.text(job, &error))
    }

    /// Runs the main loop, and lets bodies pass their gates one at a time, until nothing goes on.
    fn settle(&mut self) {
        loop {
            let stage = Arc::clone(&self.stage);
            await_answer("rest", || {
                let worked = self.main_loop().run_pending();
                (stage.is_still() && worked == 0).then_some(())
            });
            // What was still may have handed something over before.
            if self.main_loop().run_pending() == 0 && !self.stage.release_one() {
                return;
            }
        }
    }

    /// # Panics
    /// What can be seen of the engine is not what the specification says.
    pub fn compare(&self, specification: &Specification) {
        let jobs = specification.jobs.len();
        compare(&self.happenings, &specification.happenings, jobs);
        for job in 0..jobs {
            if specification.jobs[job].known {
                self.compare_job(job, specification);
            }
        }
        self.compare_lists(specification);
        for (token, held) in specification.holds.iter().enumerate() {
            let ours = self.holds[token].as_ref().map(|token| {
                token
                    .ids()
                    .map(|id| self.stage.job_named(id).expect("it was created"))
                    .collect::<Vec<usize>>()
            });
            assert_eq!(ours.as_ref(), held.as_ref(), "held by pause_all {token}");
        }
    }

    fn compare_job(&self, at: usize, specification: &Specification) {
        let handle = self.stage.handle(at).expect("it was created");
        let (Some(job), info) = (specification.job(at), handle.info()) else {
            unreachable!("who is known is there");
        };
        assert_eq!(info.status, job.status, "status of j{at}");
        let there = job.status != Status::Null;
        assert_eq!(
            info.user_paused,
            there && job.user_paused,
            "user's pause of j{at}"
        );
        assert_eq!(
            info.pause_requested,
            there && job.should_pause(),
            "pause of j{at}"
        );
        assert_eq!(
            info.busy,
            there && specification.is_busy(at),
            "busy of j{at}"
        );
        if there {
            assert_eq!(info.io_status, job.io_status, "I/O status of j{at}");
        }
        let cancelled = job.cancel != Cancel::No;
        assert_eq!(info.cancel_requested, cancelled, "cancel of j{at}");
        assert_eq!(
            info.speed_bytes_per_s, specification.jobs[at].speed,
            "speed of j{at}"
        );
        let moved = specification.jobs[at].moved;
        if there {
            let context = handle.job().context();
            assert_eq!(
                context.as_ref(),
                Some(&self.contexts[usize::from(moved)]),
                "context of j{at}"
            );
        }
        let concluded = job.is_final() && job.outcome != Outcome::Open;
        let expected = match job.outcome {
            _ if !concluded => None,
            Outcome::Open => None,
            Outcome::Success => Some(Ok(())),
            Outcome::Cancelled => Some(Err(vec![Errno::CANCELED])),
            // Its run's, or its prepare's.
            Outcome::Failure => Some(Err(vec![Errno::IO, Errno::NO_SPACE])),
        };
        match (handle.outcome(), expected) {
            (None, None) | (Some(Ok(())), Some(Ok(()))) => {}
            (Some(Err(error)), Some(Err(errnos))) if errnos.contains(&error.errno) => {}
            (outcome, expected) => panic!("outcome of j{at}: {outcome:?}, expected {expected:?}"),
        }
    }

    fn compare_lists(&self, specification: &Specification) {
        let listing = specification.listing();
        let manager = self.manager.manager();
        let failed = |job: usize| {
            specification.job(job).is_some_and(|job| {
                job.status.is_completed()
                    && matches!(job.outcome, Outcome::Failure | Outcome::Cancelled)
            })
        };
        let expected: Vec<_> = listing
            .iter()
            .map(|&job| (name(job), specification.status(job), failed(job)))
            .collect();
        let queried: Vec<_> = manager
            .query_jobs()
            .into_iter()
            .map(|job| (job.id, job.status, job.error.is_some()))
            .collect();
        assert_eq!(queried, expected, "query-jobs (engine, specification)");
        let expected: Vec<_> = listing
            .iter()
            .filter(|&&job| specification.plan.jobs[job].spec.block)
            .map(|&at| {
                let job = specification.job(at).expect("it is listed");
                let paused = job.status == Status::Created || job.pause_wanted();
                let status = (job.status, job.status.is_ready(), job.io_status);
                (name(at), status, paused, failed(at))
            })
            .collect();
        let queried: Vec<_> = manager
            .query_block_jobs()
            .into_iter()
            .map(|job| {
                let status = (job.status, job.ready, job.io_status);
                (job.device, status, job.paused, job.error.is_some())
            })
            .collect();
        assert_eq!(
            queried, expected,
            "query-block-jobs (engine, specification)"
        );
        for (at, planned) in specification.plan.jobs.iter().enumerate() {
            let listed = listing.contains(&at);
            assert_eq!(manager.job(&name(at)).is_ok(), listed, "lookup of j{at}");
            let found = manager.block_job(&name(at)).is_ok();
            assert_eq!(found, listed && planned.spec.block, "block job j{at}");
        }
    }

    /// Brings every job to its end, with the gates open and threads running freely, and gives what
    /// was recorded of all of it.
    pub fn finish(mut self) -> String {
        self.stage.end();
        self.orders.clear();
        for builder in &self.stage.builders {
            let builder = builder.lock().unwrap().take();
            drop(builder);
        }
        let handles: Vec<_> = (0..self.plan.jobs.len())
            .filter_map(|job| self.stage.handle(job))
            .collect();
        let answers = self.user.call(move || {
            for handle in &handles {
                // It may have ended.
                let _ = handle.cancel(CancelMode::Force);
            }
        });
        self.serve(&answers);
        let mut main_loop = self.main_loop.take().expect("the program is not over");
        main_loop.run_until_idle();
        for section in self.sections.iter_mut().filter_map(Option::take) {
            drop(section.user.calls);
            section.user.thread.join().expect("the section has begun");
        }
        drop(self.user.calls);
        self.user.thread.join().expect("every call is answered");
        for held in self.holds.iter_mut().filter_map(Option::take) {
            self.manager.resume_all(held);
        }
        drop(main_loop);
        self.stage.clear();
        self.writer.finish().expect("a buffer takes everything");
        let bytes = std::mem::take(&mut *self.trace.0.lock().unwrap());
        String::from_utf8(bytes).expect("the writer writes text")
    }
}
