//! Goal: the engine, driven one operation at a time, does what the specification says.
//!
//! Method: random programs of requests and driver steps over one to four jobs in up to two
//! transactions (proptest-state-machine, which shrinks them). The reference is the step relation
//! itself, run to rest after every operation; the engine's bodies take their steps from a channel,
//! so that it comes to rest too. Replies, statuses, pauses and the count of every callback must be
//! the same on both sides. Interleavings are the business of `proofs/`.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blockjob::driver::{Driver, Errno, Flow, JobError, RunContext};
use blockjob::engine::{
    CancelMode, EngineError, JobHandle, JobOptions, MainLoop, Manager, ManagerConfig,
    PauseAllToken, Transaction,
};
use blockjob_model::profile::REFERENCE;
use blockjob_model::state::{Body, Call, CallState, Group, JobSpec, Outcome, Tail, World};
use blockjob_model::step::{Output, Step, View, steps};
use blockjob_model::{Callback, Reply, Request, Status};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

/// What is random about a job when it is made.
#[derive(Clone, Copy, Debug)]
struct Kind {
    auto_finalize: bool,
    auto_dismiss: bool,
    can_complete: bool,
    prepares: bool,
}

impl Kind {
    fn spec(self) -> JobSpec {
        JobSpec {
            auto_finalize: self.auto_finalize,
            auto_dismiss: self.auto_dismiss,
            can_complete: self.can_complete,
            ..JobSpec::PLAIN
        }
    }
}

/// One operation: a request of a user, or the next step of a driver.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Ask(usize, Request),
    Start(usize),
    PauseAll,
    ResumeAll,
    Point(usize),
    Converge(usize),
    Return(usize, bool),
}

/// The specification's side: the transactions, each at rest.
#[derive(Clone, Debug)]
struct Specification {
    kinds: Vec<Kind>,
    /// Transaction and member of every job.
    places: Vec<(usize, usize)>,
    worlds: Vec<World>,
    /// How often `user_resume` of each job was called.
    user_resumes: Vec<u32>,
    held: bool,
    reply: Option<Reply>,
}

impl Specification {
    fn new(groups: &[Vec<Kind>]) -> Specification {
        let mut worlds: Vec<World> = groups
            .iter()
            .map(|kinds| World::new(Group::CLOSED, kinds.iter().map(|kind| kind.spec())))
            .collect();
        for world in &mut worlds {
            for job in &mut world.jobs {
                job.status = Status::Created;
            }
        }
        Specification {
            kinds: groups.concat(),
            places: groups
                .iter()
                .enumerate()
                .flat_map(|(group, kinds)| (0..kinds.len()).map(move |member| (group, member)))
                .collect(),
            user_resumes: vec![0; groups.concat().len()],
            worlds,
            held: false,
            reply: None,
        }
    }

    fn job(&self, job: usize) -> &blockjob_model::state::Job {
        let (group, member) = self.places[job];
        &self.worlds[group].jobs[member]
    }

    /// Lets everything happen that happens by itself.
    fn settle(&mut self, group: usize) {
        let first = self
            .places
            .iter()
            .position(|place| place.0 == group)
            .unwrap();
        loop {
            let mut next = None;
            steps(
                &self.worlds[group],
                &REFERENCE,
                View::FULL,
                &mut |step, world, output| {
                    let by_itself = match step {
                        Step::ReachPoint(_)
                        | Step::IoBegin(_)
                        | Step::IoEnd(_)
                        | Step::Converge(_)
                        | Step::IoError(..)
                        | Step::RunEnd(..) => false,
                        Step::PrepareEnd(member, well) => {
                            well == self.kinds[first + member].prepares
                        }
                        _ => true,
                    };
                    if by_itself && next.is_none() {
                        next = Some((world.into_world(), output));
                    }
                },
            );
            let Some((world, output)) = next else {
                return;
            };
            self.worlds[group] = world;
            if let Some(Output::Begin(member, Callback::UserResume)) = output {
                self.user_resumes[first + member] += 1;
            }
        }
    }

    fn ask(&mut self, group: usize, member: Option<u16>, request: Request) -> Reply {
        self.worlds[group].calls.push(Call {
            thread: 0,
            member,
            request,
            block: false,
            posted: false,
            state: CallState::Issued,
        });
        self.settle(group);
        match self.worlds[group].calls.pop().unwrap().state {
            CallState::Answered(reply) => reply,
            state => panic!("{request:?} is left {state:?}"),
        }
    }

    /// Takes the one step of the relation that is `chosen`.
    fn take(&mut self, job: usize, chosen: impl Fn(usize) -> Step) {
        let (group, member) = self.places[job];
        let mut next = None;
        steps(
            &self.worlds[group],
            &REFERENCE,
            View::FULL,
            &mut |step, world, _| {
                if step == chosen(member) {
                    next = Some(world.into_world());
                }
            },
        );
        self.worlds[group] = next.expect("the precondition holds");
        self.settle(group);
    }
}

struct Programs;

impl ReferenceStateMachine for Programs {
    type State = Specification;
    type Transition = Operation;

    fn init_state() -> BoxedStrategy<Specification> {
        let kind = (
            prop::bool::weighted(0.7),
            prop::bool::weighted(0.7),
            any::<bool>(),
            prop::bool::weighted(0.8),
        )
            .prop_map(
                |(auto_finalize, auto_dismiss, can_complete, prepares)| Kind {
                    auto_finalize,
                    auto_dismiss,
                    can_complete,
                    prepares,
                },
            );
        let group = prop::collection::vec(kind, 1..=2);
        prop::collection::vec(group, 1..=2)
            .prop_map(|groups| Specification::new(&groups))
            .boxed()
    }

    fn transitions(state: &Specification) -> BoxedStrategy<Operation> {
        let requests = [
            (4, Request::Pause),
            (4, Request::Resume),
            (1, Request::Cancel { force: true }),
            (1, Request::Cancel { force: false }),
            (3, Request::Complete),
            (2, Request::Finalize),
            (2, Request::Dismiss),
            (1, Request::SET_SPEED),
        ];
        let mut possible = vec![(6, Operation::PauseAll), (6, Operation::ResumeAll)];
        possible.extend((0..state.worlds.len()).map(|group| (20, Operation::Start(group))));
        for job in 0..state.places.len() {
            possible
                .extend(requests.map(|(weight, request)| (weight, Operation::Ask(job, request))));
            possible.extend([
                (8, Operation::Point(job)),
                (6, Operation::Converge(job)),
                (3, Operation::Return(job, true)),
                (1, Operation::Return(job, false)),
            ]);
        }
        possible.retain(|(_, operation)| Programs::preconditions(state, operation));
        let weighted: Vec<Operation> = possible
            .into_iter()
            .flat_map(|(weight, operation)| std::iter::repeat_n(operation, weight))
            .collect();
        prop::sample::select(weighted).boxed()
    }

    fn preconditions(state: &Specification, operation: &Operation) -> bool {
        let moving = |job: &usize| {
            state
                .places
                .get(*job)
                .is_some_and(|_| state.job(*job).body == Body::Moving && state.job(*job).entered)
        };
        match operation {
            Operation::Ask(job, _) => *job < state.places.len(),
            Operation::Start(group) => state
                .worlds
                .get(*group)
                .is_some_and(|world| world.jobs.iter().all(|job| job.status == Status::Created)),
            Operation::PauseAll => !state.held,
            Operation::ResumeAll => state.held,
            Operation::Point(job) | Operation::Return(job, _) => moving(job),
            Operation::Converge(job) => {
                moving(job)
                    && state.job(*job).status == Status::Running
                    && state.job(*job).spec.can_complete
            }
        }
    }

    fn apply(mut state: Specification, operation: &Operation) -> Specification {
        state.reply = None;
        match *operation {
            Operation::Ask(job, request) => {
                let (group, member) = state.places[job];
                state.reply = Some(state.ask(group, Some(member as u16), request));
            }
            Operation::Start(group) => {
                let _ = state.ask(group, None, Request::Start);
            }
            Operation::PauseAll | Operation::ResumeAll => {
                state.held = matches!(operation, Operation::PauseAll);
                for group in 0..state.worlds.len() {
                    let request = if state.held {
                        Request::Hold { token: 0 }
                    } else {
                        Request::Release { token: 0 }
                    };
                    let _ = state.ask(group, None, request);
                }
            }
            Operation::Point(job) => state.take(job, Step::ReachPoint),
            Operation::Converge(job) => state.take(job, Step::Converge),
            Operation::Return(job, well) => state.take(job, |member| Step::RunEnd(member, well)),
        }
        state
    }
}

/// What a body is told to do next.
enum Order {
    Point,
    Converge,
    Return(bool),
}

#[derive(Default)]
struct Counts {
    run: AtomicU32,
    pause: AtomicU32,
    resume: AtomicU32,
    prepare: AtomicU32,
    commit: AtomicU32,
    abort: AtomicU32,
    clean: AtomicU32,
    completion: AtomicU32,
    complete: AtomicU32,
    user_resume: AtomicU32,
    free: AtomicU32,
}

struct Scripted {
    kind: Kind,
    orders: Mutex<Receiver<Order>>,
    done: Sender<()>,
    counts: Arc<Counts>,
}

impl Scripted {
    /// Follows orders until `Converge` (which yields `None`) or the end of the run.
    fn follow<S>(&self, context: &mut RunContext<'_, S>) -> Option<Result<(), JobError>> {
        loop {
            // The test hangs up when it is over.
            match self
                .orders
                .lock()
                .unwrap()
                .recv()
                .unwrap_or(Order::Return(true))
            {
                Order::Point => {
                    let _: Flow = context.pause_point();
                    let _ = self.done.send(());
                }
                Order::Converge => return None,
                Order::Return(true) => return Some(Ok(())),
                Order::Return(false) => return Some(Err(Errno::IO.into())),
            }
        }
    }
}

fn count(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Driver for Scripted {
    fn job_type(&self) -> &'static str {
        "scripted"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        count(&self.counts.run);
        let _ = self.done.send(());
        if let Some(result) = self.follow(&mut context) {
            return result;
        }
        let mut ready = context.ready();
        let _ = self.done.send(());
        self.follow(&mut ready)
            .expect("the specification lets a job become ready once")
    }

    fn pause(&self) {
        count(&self.counts.pause);
    }

    fn resume(&self) {
        count(&self.counts.resume);
    }

    fn user_resume(&self) {
        count(&self.counts.user_resume);
    }

    fn free(&self) {
        count(&self.counts.free);
    }

    fn supports_complete(&self) -> bool {
        self.kind.can_complete
    }

    fn complete(&self) {
        count(&self.counts.complete);
    }

    fn cancel(&self, force: bool, ready: bool) -> bool {
        force || !(self.kind.can_complete && ready)
    }

    fn prepare(&self) -> Result<(), JobError> {
        count(&self.counts.prepare);
        if self.kind.prepares {
            Ok(())
        } else {
            Err(Errno::NO_SPACE.into())
        }
    }

    fn commit(&self) {
        count(&self.counts.commit);
    }

    fn abort(&self) {
        count(&self.counts.abort);
    }

    fn clean(&self) {
        count(&self.counts.clean);
    }
}

/// The engine's side.
struct Engine {
    manager: Manager,
    main_loop: MainLoop,
    transactions: Vec<Option<Transaction>>,
    handles: Vec<JobHandle>,
    orders: Vec<Sender<Order>>,
    done: Vec<Receiver<()>>,
    /// Orders whose end has not been seen.
    open: Vec<usize>,
    counts: Vec<Arc<Counts>>,
    token: Option<PauseAllToken>,
    /// Ends the process if the engine does not come to rest; dropping it calls the watch off.
    watch: Sender<String>,
}

/// A test that waits for ever says nothing; one that dies says how far it came.
fn watch() -> Sender<String> {
    use std::io::Write as _;
    let (news, notices) = channel::<String>();
    std::thread::spawn(move || {
        let mut story = Vec::new();
        loop {
            match notices.recv_timeout(Duration::from_secs(60)) {
                Ok(notice) => story.push(notice),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    let story = story.join("\n");
                    let _ = writeln!(
                        std::io::stderr(),
                        "the engine does not come to rest:\n{story}"
                    );
                    std::process::abort();
                }
            }
        }
    });
    news
}

impl Engine {
    /// Waits until the engine is where the specification says it comes to rest, then compares.
    fn settle(&mut self, specification: &Specification) {
        let expected: Vec<Status> = (0..self.handles.len())
            .map(|job| specification.job(job).status)
            .collect();
        let handles = self.handles.clone();
        self.main_loop.run_until(|| {
            handles
                .iter()
                .zip(&expected)
                .all(|(handle, status)| handle.status() == *status)
        });
        self.main_loop.run_pending();
        for job in 0..self.handles.len() {
            let body = specification.job(job);
            let moving = body.body == Body::Moving && body.entered;
            while self.open[job] > 0 && moving {
                self.done[job].recv().unwrap();
                self.open[job] -= 1;
            }
        }
    }

    fn order(&mut self, job: usize, order: Order, answers: bool) {
        self.orders[job].send(order).unwrap();
        self.open[job] += usize::from(answers);
    }
}

impl StateMachineTest for Engine {
    type SystemUnderTest = Engine;
    type Reference = Programs;

    fn init_test(specification: &Specification) -> Engine {
        let (manager, main_loop) = Manager::new(ManagerConfig::default());
        let mut engine = Engine {
            watch: watch(),
            manager,
            main_loop,
            transactions: Vec::new(),
            handles: Vec::new(),
            orders: Vec::new(),
            done: Vec::new(),
            open: vec![0; specification.places.len()],
            counts: Vec::new(),
            token: None,
        };
        let beginning = format!("{:?} {:?}", specification.kinds, specification.places);
        engine.watch.send(beginning).unwrap();
        for group in 0..specification.worlds.len() {
            let mut transaction = engine.manager.transaction();
            for (job, kind) in specification.kinds.iter().enumerate() {
                if specification.places[job].0 != group {
                    continue;
                }
                let (orders, receiver) = channel();
                let (sender, done) = channel();
                let counts = Arc::new(Counts::default());
                let completed = Arc::clone(&counts);
                let options = JobOptions::new(format!("j{job}"))
                    .manual_finalize(!kind.auto_finalize)
                    .manual_dismiss(!kind.auto_dismiss)
                    .on_completion(move |_| count(&completed.completion));
                let driver = Scripted {
                    kind: *kind,
                    orders: Mutex::new(receiver),
                    done: sender,
                    counts: Arc::clone(&counts),
                };
                let handle = transaction.create(options, driver).unwrap();
                engine.handles.push(handle);
                engine.orders.push(orders);
                engine.done.push(done);
                engine.counts.push(counts);
            }
            engine.transactions.push(Some(transaction));
        }
        engine
    }

    fn apply(mut engine: Engine, specification: &Specification, operation: Operation) -> Engine {
        engine.watch.send(format!("{operation:?}")).unwrap();
        match operation {
            Operation::Ask(job, request) => {
                let handle = &engine.handles[job];
                let answer = match request {
                    Request::Pause => handle.pause(),
                    Request::Resume => handle.resume(),
                    Request::Cancel { force: true } => handle.cancel(CancelMode::Force),
                    Request::Cancel { force: false } => handle.cancel(CancelMode::Soft),
                    Request::Complete => handle.complete(),
                    Request::Finalize => handle.finalize(),
                    Request::Dismiss => handle.dismiss(),
                    Request::SetSpeed { .. } => handle.set_speed(1 << 20),
                    other => unreachable!("{other:?} is not generated"),
                };
                let reply: Reply = answer.map_err(|error: EngineError| error.refusal().unwrap());
                assert_eq!(Some(reply), specification.reply, "{operation:?}");
            }
            Operation::Start(group) => {
                let transaction = engine.transactions[group].take().unwrap();
                let _ = transaction.start();
                for (job, place) in specification.places.iter().enumerate() {
                    engine.open[job] += usize::from(place.0 == group);
                }
            }
            Operation::PauseAll => engine.token = Some(engine.manager.pause_all()),
            Operation::ResumeAll => {
                let token = engine.token.take().unwrap();
                engine.manager.resume_all(token);
            }
            Operation::Point(job) => engine.order(job, Order::Point, true),
            Operation::Converge(job) => engine.order(job, Order::Converge, true),
            Operation::Return(job, well) => engine.order(job, Order::Return(well), false),
        }
        engine.settle(specification);
        engine
    }

    fn check_invariants(engine: &Engine, specification: &Specification) {
        for (at, handle) in engine.handles.iter().enumerate() {
            let job = specification.job(at);
            let info = handle.info();
            assert_eq!(info.status, job.status, "status of j{at}");
            if job.status != Status::Null {
                assert_eq!(info.user_paused, job.user_paused, "user's pause of j{at}");
            }
            let counts = &engine.counts[at];
            let counted = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
            // Decision 17: the latch.
            assert_eq!(
                counted(&counts.complete),
                u32::from(job.complete),
                "complete of j{at}"
            );
            // SEMANTICS.md §3.1: once for each pause of the user that a resume or a forced cancel ends.
            assert_eq!(
                counted(&counts.user_resume),
                specification.user_resumes[at],
                "user_resume of j{at}"
            );
            assert_eq!(
                counted(&counts.free),
                u32::from(job.is_freed(&REFERENCE)),
                "free of j{at}"
            );
            if job.is_final() && matches!(job.tail, Tail::Announced | Tail::Freed) {
                // P8, P9, P10, P11, P17.
                let committed = u32::from(job.outcome == Outcome::Success);
                assert_eq!(counted(&counts.commit), committed, "commit of j{at}");
                assert_eq!(counted(&counts.abort), 1 - committed, "abort of j{at}");
                assert_eq!(counted(&counts.clean), 1, "clean of j{at}");
                assert_eq!(counted(&counts.completion), 1, "completion of j{at}");
                assert!(counted(&counts.prepare) <= 1, "prepare of j{at}");
                assert_eq!(
                    counted(&counts.pause),
                    counted(&counts.resume),
                    "pause and resume of j{at}"
                );
                assert_eq!(counted(&counts.run), u32::from(job.entered), "run of j{at}");
                assert_eq!(handle.outcome().unwrap().is_ok(), committed == 1);
            } else {
                assert_eq!(counted(&counts.commit) + counted(&counts.abort), 0);
            }
        }
    }

    fn teardown(mut engine: Engine, _: Specification) {
        engine.watch.send("teardown".to_owned()).unwrap();
        engine.transactions.clear();
        engine.orders.clear();
        for handle in &engine.handles {
            let _ = handle.cancel(CancelMode::Force);
        }
        engine.main_loop.run_until_idle();
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: Some(Box::new(
            proptest::test_runner::FileFailurePersistence::WithSource("regressions"),
        )),
        ..ProptestConfig::default()
    })]
    #[test]
    fn the_engine_does_what_the_specification_says(sequential 1..60 => Engine);
}
