//! The specification's side: the step relation, walked in the order that the engine documents.
//!
//! A transaction, or a single job, is a world of the relation; what is possible in it is the
//! relation's word alone. What this file adds is whose turn it is, where the relation leaves it open:
//!
//! - The main loop carries out one task after the other, first come, first served. What is asked inside
//!   a callback is *posted*: a task like any other, judged again at its turn (decisions 22, 23).
//! - A body that is woken goes on at once, up to its next callback or its driver's next line. There it
//!   waits at a *gate* until the main loop has nothing to do; the oldest plan's job goes first.
//! - Timers fire when nothing else happens, the earliest first, at [`Operation::Tick`].
//!
//! The engine's side keeps bodies at the same gates (`engine.rs`), so each program has one course.

use std::collections::VecDeque;
use std::fmt;

use blockjob::driver::Flow;
use blockjob::engine::Finish;
use blockjob_model::profile::REFERENCE;
use blockjob_model::request::{Effect, judge};
use blockjob_model::state::{Body, Call, CallState, Cancel, Group, Job, World};
use blockjob_model::step::{Output, Step, View, steps};
use blockjob_model::{Callback, Refusal, Reply, Request, Status};

use crate::happening::{Answer, Happening, Happenings};
use crate::program::{Deed, Drive, Flaw, JobPlan, Operation, Plan, TOKENS, TRANSACTIONS_MAX, Verb};

/// Everything is seen, and bodies read late of nothing: they are woken one at a time.
const VIEW: View = View {
    ends: true,
    resumes: true,
    frees: true,
    sleeps: true,
    ..View::FULL
};

/// How long a drained section leaves a driver alone that has more to come.
const ASK_AGAIN_NS: u64 = 1_000_000;

/// The texts of answers that the specification has no words for.
pub const WOULD_DEADLOCK: &str = "the call would wait for its own thread, which is the main loop or \
                                  the job's body; make it from another thread";
const TRANSACTION_OVER: &str = "the transaction was aborted before it started";

/// Something for the main loop to do.
#[derive(Clone, Debug)]
enum Task {
    Exit(usize),
    Posted(usize, Verb),
    Free(usize),
    DrainBegin(u64),
    DrainLook(u64),
}

/// Where a body waits until it is its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Gate {
    /// Nowhere.
    None,
    /// `run` is about to begin.
    Run,
    /// `pause` or `resume` is about to begin.
    Begin(Callback),
    /// `pause` or `resume` has done this, and is about to end.
    End(Callback, Deed, Answer),
}

/// What the driver is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Nothing: it waits for its next order.
    Nothing,
    /// A pause point, a sleep or a wait.
    Point,
    /// The wait for the order to finish.
    Finish,
}

/// What is known of a job beside its part of the world.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// Its place in the order of creation.
    pub born: Option<u32>,
    /// Its creator has a handle.
    pub known: bool,
    pub speed: u64,
    /// It was moved from its first context to the other, or back.
    pub moved: bool,
    gate: Gate,
    doing: Doing,
    /// How often each mischief is still done.
    mischief: Vec<u8>,
    polls: u8,
}

impl Tracked {
    fn new(planned: &JobPlan) -> Tracked {
        Tracked {
            born: None,
            known: false,
            speed: 0,
            moved: false,
            gate: Gate::None,
            doing: Doing::Nothing,
            mischief: planned.mischief_at_first(),
            polls: planned.polls,
        }
    }
}

/// A drained section.
#[derive(Clone, Debug)]
pub struct Section {
    number: u64,
    pub slot: u8,
    /// One job, or every job.
    pub scope: Option<usize>,
    pub held: Vec<usize>,
    /// Whoever asked for it has an answer.
    pub begun: bool,
    /// The main loop has told the drivers.
    told: bool,
    look_due: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sleeper {
    Body(usize),
    Section(u64),
}

/// The reference state.
#[derive(Clone)]
pub struct Specification {
    pub plan: Plan,
    /// The world and the place in it of every job.
    places: Vec<(usize, usize)>,
    /// The transactions, then the single jobs.
    worlds: Vec<World>,
    /// The world's jobs can be created, started, or given up.
    open: Vec<bool>,
    pub jobs: Vec<Tracked>,
    tasks: VecDeque<Task>,
    /// The main loop is in a callback, which calls back.
    in_callback: bool,
    /// The `pause_all`s, and whom they held.
    pub holds: [Option<Vec<usize>>; TOKENS as usize],
    pub sections: Vec<Section>,
    /// Deadline, number, whom.
    timers: Vec<(u64, u64, Sleeper)>,
    now_ns: u64,
    numbers: u64,
    births: u32,
    /// What the last operation was answered, if it is one that is.
    pub answer: Option<Answer>,
    /// What happened in it.
    pub happenings: Happenings,
}

impl Specification {
    pub fn new(plan: Plan) -> Specification {
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); TRANSACTIONS_MAX];
        let mut places = Vec::new();
        for (job, planned) in plan.jobs.iter().enumerate() {
            let world = planned.transaction.unwrap_or_else(|| {
                members.push(Vec::new());
                members.len() - 1
            });
            places.push((world, members[world].len()));
            members[world].push(job);
        }
        let world = |jobs: &Vec<usize>| {
            World::new(Group::CLOSED, jobs.iter().map(|&job| plan.jobs[job].spec))
        };
        let jobs = plan.jobs.iter().map(Tracked::new);
        Specification {
            places,
            worlds: members.iter().map(world).collect(),
            open: vec![true; members.len()],
            jobs: jobs.collect(),
            tasks: VecDeque::new(),
            in_callback: false,
            holds: Default::default(),
            sections: Vec::new(),
            timers: Vec::new(),
            now_ns: 0,
            numbers: 0,
            births: 0,
            answer: None,
            happenings: Vec::new(),
            plan,
        }
    }

    /// The job as the relation has it; a member that its transaction has started without never was.
    pub fn job(&self, job: usize) -> Option<&Job> {
        let (world, member) = self.places[job];
        self.worlds[world].jobs.get(member)
    }

    pub fn status(&self, job: usize) -> Status {
        self.job(job).map_or(Status::Undefined, |job| job.status)
    }

    /// Neither to come nor gone.
    pub fn is_listed(&self, job: usize) -> bool {
        !matches!(self.status(job), Status::Undefined | Status::Null)
    }

    fn world_of(&self, job: usize) -> usize {
        self.places[job].0
    }

    fn group_of(&self, job: usize) -> &Group {
        &self.worlds[self.world_of(job)].group
    }

    fn job_at(&self, world: usize, member: usize) -> usize {
        let place = (world, member);
        let found = self.places.iter().position(|&other| other == place);
        found.expect("every member is somebody's place")
    }

    /// The listed jobs that are not internal, newest first.
    pub fn listing(&self) -> Vec<usize> {
        let mut listed: Vec<usize> = (0..self.jobs.len())
            .filter(|&job| self.is_listed(job) && !self.plan.jobs[job].spec.internal)
            .collect();
        listed.sort_by_key(|&job| std::cmp::Reverse(self.jobs[job].born));
        listed
    }

    /// The body runs, or has been woken.
    pub fn is_busy(&self, job: usize) -> bool {
        self.job(job).is_some_and(|job| match job.body {
            Body::Unstarted | Body::Ended | Body::Asleep | Body::Yielded => false,
            Body::Parked => !job.should_pause(),
            _ => true,
        })
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

/// A failure is told with the state before its first operation: all there is to it is the plan.
impl fmt::Debug for Specification {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "on_main_thread: {}", self.plan.on_main_thread)?;
        for (job, planned) in self.plan.jobs.iter().enumerate() {
            write!(formatter, "\n{}: {planned:?}", name(job))?;
        }
        Ok(())
    }
}

/// What a job is called; an internal one too, whose name is the engine's affair.
pub fn name(job: usize) -> String {
    format!("j{job}")
}

/// The text of a refusal.
fn text(job: usize, refusal: Refusal) -> String {
    let text = refusal.text(&name(job), false);
    match refusal {
        // The error of the member that failed: planned ones are always this.
        Refusal::PrepareFailed => format!("{text}: No space left on device"),
        _ => text,
    }
}

fn answer(job: usize, reply: Reply) -> Answer {
    reply.map_err(|refusal| text(job, refusal))
}

/// Which operations there are now, and what they do.
impl Specification {
    /// The operation makes sense now.
    pub fn allows(&self, operation: &Operation) -> bool {
        let exists = |job: usize| job < self.jobs.len();
        let section = |slot: u8| self.sections.iter().find(|section| section.slot == slot);
        match *operation {
            Operation::Create(job) => exists(job) && self.may_be_created(job),
            Operation::CreateBadly(job, flaw) => {
                exists(job)
                    && self.may_be_created(job)
                    && !self.group_of(job).aborting
                    && match flaw {
                        Flaw::InvalidId => !self.plan.jobs[job].spec.internal,
                        Flaw::TakenId(other) => {
                            !self.plan.jobs[job].spec.internal
                                && exists(other)
                                && self.listing().contains(&other)
                        }
                        Flaw::NegativeSpeed => true,
                    }
            }
            Operation::Start(job) | Operation::GiveUp(job) => {
                exists(job) && self.jobs[job].known && self.open[self.world_of(job)]
            }
            Operation::Renew(job) => {
                exists(job)
                    && self.places[job].1 == 0
                    && !self.open[self.world_of(job)]
                    && self.worlds[self.world_of(job)]
                        .jobs
                        .iter()
                        .all(|job| job.status == Status::Null)
            }
            Operation::Ask(job, verb) => {
                exists(job)
                    && self.jobs[job].known
                    && !(verb.needs_id() && self.plan.jobs[job].spec.internal)
            }
            Operation::PauseAll(token) => self.holds[usize::from(token)].is_none(),
            Operation::ResumeAll(token) => self.holds[usize::from(token)].is_some(),
            Operation::DrainBegin(slot, scope) => {
                section(slot).is_none()
                    && scope.is_none_or(|job| {
                        exists(job) && self.jobs[job].known && self.is_listed(job)
                    })
            }
            Operation::DrainEnd(slot) => section(slot).is_some_and(|section| section.begun),
            Operation::Attach(slot, job) => {
                exists(job)
                    && self.jobs[job].known
                    && section(slot)
                        .is_some_and(|section| section.begun && section.held.contains(&job))
            }
            Operation::Tick => !self.timers.is_empty(),
            Operation::Drive(job, drive) => {
                exists(job)
                    && self.awaits_orders(job)
                    && match drive {
                        Drive::Error { .. } => self.plan.jobs[job].spec.announces(),
                        Drive::Converge => {
                            self.status(job) == Status::Running
                                && self.plan.jobs[job].spec.can_complete
                        }
                        Drive::Finish => self.status(job) == Status::Ready,
                        Drive::Point
                        | Drive::Sleep { .. }
                        | Drive::Wait
                        | Drive::Io
                        | Drive::Return { .. } => true,
                    }
            }
        }
    }

    /// Members are created in the order of the plan.
    fn may_be_created(&self, job: usize) -> bool {
        let (world, member) = self.places[job];
        self.open[world]
            && self.status(job) == Status::Undefined
            && member < self.worlds[world].jobs.len()
            && (0..member).all(|older| self.jobs[self.job_at(world, older)].born.is_some())
    }

    /// The driver waits for its next order.
    pub fn awaits_orders(&self, job: usize) -> bool {
        let tracked = &self.jobs[job];
        tracked.gate == Gate::None
            && tracked.doing == Doing::Nothing
            && self
                .job(job)
                .is_some_and(|job| job.body == Body::Moving && job.entered)
    }

    /// Carries the operation out, and everything that follows by itself.
    pub fn apply(&mut self, operation: &Operation) {
        self.answer = None;
        self.happenings.clear();
        match *operation {
            Operation::Create(job) => self.answer = Some(self.create(job)),
            Operation::CreateBadly(job, flaw) => {
                self.answer = Some(Err(self.fail_to_create(job, flaw)));
            }
            Operation::Start(job) => self.start(job),
            Operation::GiveUp(job) => self.give_up(job),
            Operation::Renew(job) => self.renew(self.world_of(job)),
            Operation::Ask(job, verb) => self.answer = Some(self.ask(job, verb)),
            Operation::PauseAll(token) => {
                let held = self.hold(None, Request::Hold { token }, token);
                self.holds[usize::from(token)] = Some(held);
            }
            Operation::ResumeAll(token) => {
                self.holds[usize::from(token)] = None;
                for world in 0..self.worlds.len() {
                    let reply = self.call(world, None, Request::Release { token });
                    assert_eq!(reply, Ok(()));
                }
            }
            Operation::DrainBegin(slot, scope) => self.drain_begin(slot, scope),
            Operation::DrainEnd(slot) => self.drain_end(slot),
            Operation::Attach(_, job) => {
                let (world, member) = self.places[job];
                let reply = self.call(world, Some(member), Request::AttachContext);
                if reply.is_ok() {
                    self.jobs[job].moved ^= true;
                }
                self.answer = Some(answer(job, reply));
            }
            Operation::Tick => self.tick(),
            Operation::Drive(job, drive) => self.drive(job, drive),
        }
        self.run();
    }

    fn create(&mut self, job: usize) -> Answer {
        if self.group_of(job).aborting {
            return Err(TRANSACTION_OVER.to_owned());
        }
        let (world, member) = self.places[job];
        let reply = self.call(world, Some(member), Request::Create);
        assert_eq!(reply, Ok(()));
        self.births += 1;
        self.jobs[job].born = Some(self.births);
        self.jobs[job].known = true;
        for section in &mut self.sections {
            if section.scope.is_none() {
                section.held.push(job);
            }
        }
        Ok(())
    }

    fn fail_to_create(&mut self, job: usize, flaw: Flaw) -> String {
        match flaw {
            Flaw::InvalidId => "Invalid job ID '0id'".to_owned(),
            Flaw::TakenId(other) => format!("Job ID '{}' already in use", name(other)),
            Flaw::NegativeSpeed => {
                let created = self.create(job);
                assert_eq!(created, Ok(()));
                self.jobs[job].known = false;
                let (world, member) = self.places[job];
                let reply = self.call(world, Some(member), Request::EarlyFail);
                assert_eq!(reply, Ok(()));
                text(job, Refusal::NegativeSpeed)
            }
        }
    }

    /// Nobody joins any more.
    fn close(&mut self, world: usize) {
        self.open[world] = false;
        let here = (0..self.jobs.len()).filter(|&job| self.world_of(job) == world);
        let born = here.filter(|&job| self.jobs[job].born.is_some()).count();
        self.worlds[world].jobs.truncate(born);
    }

    fn start(&mut self, job: usize) {
        let world = self.world_of(job);
        self.close(world);
        let reply = self.call(world, None, Request::Start);
        assert_eq!(reply, Ok(()));
    }

    fn give_up(&mut self, job: usize) {
        let world = self.world_of(job);
        self.close(world);
        for member in (0..self.worlds[world].jobs.len()).rev() {
            if self.worlds[world].jobs[member].status == Status::Created {
                let reply = self.call(world, Some(member), Request::EarlyFail);
                assert_eq!(reply, Ok(()));
            }
        }
    }

    /// Everybody is gone; as at the beginning, they may come.
    fn renew(&mut self, world: usize) {
        let members = (0..self.jobs.len()).filter(|&job| self.world_of(job) == world);
        let members: Vec<usize> = members.collect();
        let specs = members.iter().map(|&job| self.plan.jobs[job].spec);
        let fresh = World::new(Group::CLOSED, specs);
        let drained = self.worlds[world].group.drained;
        self.worlds[world].jobs = fresh.jobs;
        // Whom sections concern that concern every job, it concerns too.
        self.worlds[world].group = Group {
            drained,
            ..fresh.group
        };
        self.open[world] = true;
        for job in members {
            self.jobs[job] = Tracked::new(&self.plan.jobs[job]);
            for section in &mut self.sections {
                section.held.retain(|&held| held != job);
            }
        }
    }

    /// Asks and waits for the answer.
    fn ask(&mut self, job: usize, verb: Verb) -> Answer {
        let (world, member) = self.places[job];
        let request = verb.request(self.jobs[job].speed);
        let reply = self.call(world, Some(member), request);
        self.note_speed(job, verb, reply);
        answer(job, reply)
    }

    fn note_speed(&mut self, job: usize, verb: Verb, reply: Reply) {
        if let (Verb::SetSpeed { bytes_per_s }, Ok(())) = (verb, reply) {
            self.jobs[job].speed = bytes_per_s.unsigned_abs();
        }
    }

    /// Holds the jobs of a scope, and says which.
    fn hold(&mut self, scope: Option<usize>, request: Request, token: u8) -> Vec<usize> {
        for (world, member) in self.scope(scope) {
            self.issue(world, member, request, false);
            let place = self.worlds[world].calls.len() - 1;
            let taken = self.take(world, &|step| step == Step::TakeEffect(place));
            assert!(taken.is_some(), "{request:?} takes effect at once");
            if matches!(request, Request::Hold { .. }) {
                self.worlds[world].calls.pop();
            }
        }
        let mut held: Vec<usize> = (0..self.jobs.len())
            .filter(|&job| {
                self.job(job)
                    .is_some_and(|job| job.holds & (1 << token) != 0)
            })
            .collect();
        held.sort_by_key(|&job| self.jobs[job].born);
        held
    }

    /// The calls that a request for a scope is to the worlds.
    fn scope(&self, scope: Option<usize>) -> Vec<(usize, Option<usize>)> {
        match scope {
            Some(job) => vec![(self.places[job].0, Some(self.places[job].1))],
            None => (0..self.worlds.len()).map(|world| (world, None)).collect(),
        }
    }

    fn tick(&mut self) {
        let earliest =
            (0..self.timers.len()).min_by_key(|&at| (self.timers[at].0, self.timers[at].1));
        let at = earliest.expect("a timer is armed");
        let (deadline_ns, _, sleeper) = self.timers.remove(at);
        self.now_ns = self.now_ns.max(deadline_ns);
        match sleeper {
            Sleeper::Body(job) => {
                let member = self.places[job].1;
                self.body_step(job, Step::Timer(member));
                self.wake_bodies();
            }
            Sleeper::Section(number) => self.tasks.push_back(Task::DrainLook(number)),
        }
    }
}

/// Walking the relation.
impl Specification {
    /// Takes the first step that is wanted, and lets woken bodies go on.
    fn take(&mut self, world: usize, wanted: &dyn Fn(Step) -> bool) -> Option<Step> {
        let (step, output) = self.advance(world, wanted)?;
        self.wake_bodies();
        if let Some(Output::Begin(member, callback)) = output
            && callback.on_main_loop()
        {
            let job = self.job_at(world, member);
            self.happenings.push((job, Happening::Callback(callback)));
            self.call_back(job, callback);
        }
        Some(step)
    }

    fn advance(
        &mut self,
        world: usize,
        wanted: &dyn Fn(Step) -> bool,
    ) -> Option<(Step, Option<Output>)> {
        let mut found = None;
        let visit = &mut |step, next: blockjob_model::step::Next<'_>, output| {
            if found.is_none() && wanted(step) {
                found = Some((step, output, next.into_world()));
            }
        };
        steps(&self.worlds[world], &REFERENCE, VIEW, visit);
        let (step, output, next) = found?;
        let before = std::mem::replace(&mut self.worlds[world], next);
        for member in 0..before.jobs.len() {
            let was = before.jobs[member].status;
            if was != Status::Null && self.worlds[world].jobs[member].status == Status::Null {
                let job = self.job_at(world, member);
                self.tasks.push_back(Task::Free(job));
            }
        }
        match output {
            Some(Output::Status(member, status)) => {
                let job = self.job_at(world, member);
                self.happenings.push((job, Happening::Status(status)));
                // What is owed belongs to the same section.
                let _ = self.advance(world, &|step| matches!(step, Step::Pay(_)));
            }
            Some(Output::Event(member, event)) => {
                let job = self.job_at(world, member);
                self.happenings.push((job, Happening::Event(event)));
            }
            _ => {}
        }
        Some((step, output))
    }

    fn issue(&mut self, world: usize, member: Option<usize>, request: Request, posted: bool) {
        self.worlds[world].calls.push(Call {
            thread: 0,
            member: member.map(|member| member as u16),
            request,
            block: false,
            posted,
            state: CallState::Issued,
        });
    }

    /// A call from its beginning to its answer.
    fn call(&mut self, world: usize, member: Option<usize>, request: Request) -> Reply {
        let place = self.worlds[world].calls.len();
        self.issue(world, member, request, false);
        self.carry_out(world, place, request);
        match self.worlds[world].calls.pop().expect("it was issued").state {
            CallState::Answered(reply) => reply,
            state => panic!("{request:?} is left {state:?}"),
        }
    }

    /// Takes the main loop's steps until the call at this place is answered.
    fn carry_out(&mut self, world: usize, place: usize, request: Request) {
        loop {
            match self.worlds[world].calls.get(place).map(|call| &call.state) {
                // What is posted is gone once it is answered.
                None | Some(CallState::Answered(_)) => return,
                Some(_) => {}
            }
            let prepares = self.prepares(world);
            // The main loop cannot go on with anything while it is in a callback.
            let in_callback = self.in_callback;
            let taken = self.take(world, &|step| {
                is_of_call(step, place)
                    || (!in_callback && is_main_loops(step, &prepares))
                    || (request == Request::Start && matches!(step, Step::Start(_)))
            });
            assert!(
                taken.is_some(),
                "{request:?} is stuck: {:?}",
                self.worlds[world]
            );
        }
    }

    /// Takes the main loop's steps as far as they go.
    fn pump(&mut self, world: usize) {
        let prepares = self.prepares(world);
        while self
            .take(world, &|step| is_main_loops(step, &prepares))
            .is_some()
        {}
    }

    /// Whether the members' `prepare`s succeed.
    fn prepares(&self, world: usize) -> Vec<bool> {
        let members = 0..self.worlds[world].jobs.len();
        members
            .map(|member| self.plan.jobs[self.job_at(world, member)].prepares)
            .collect()
    }
}

/// The main loop.
impl Specification {
    /// Runs until nothing goes on by itself.
    fn run(&mut self) {
        loop {
            if let Some(task) = self.tasks.pop_front() {
                self.execute(&task);
                continue;
            }
            let waiting = self.jobs.iter().position(|job| job.gate != Gate::None);
            match waiting {
                Some(job) => self.release(job),
                None => return,
            }
        }
    }

    fn execute(&mut self, task: &Task) {
        match *task {
            Task::Exit(job) => {
                let (world, member) = self.places[job];
                if self.status(job).is_completed() {
                    return;
                }
                let taken = self.take(world, &|step| step == Step::Exit(member));
                assert!(taken.is_some(), "an ended run is taken over");
                self.pump(world);
            }
            Task::Posted(job, verb) => {
                let (world, member) = self.places[job];
                let place = self.worlds[world].calls.len();
                let request = verb.request(self.jobs[job].speed);
                let refused = self.refusal(job, request).is_some();
                self.issue(world, Some(member), request, true);
                self.carry_out(world, place, request);
                if !refused {
                    self.note_speed(job, verb, Ok(()));
                }
            }
            Task::Free(job) => {
                let (world, member) = self.places[job];
                for step in [Step::FreeBegin(member), Step::FreeEnd(member)] {
                    let taken = self.take(world, &|possible| possible == step);
                    assert!(taken.is_some(), "who is gone is let go of");
                }
            }
            Task::DrainBegin(number) => self.tell_drained(number),
            Task::DrainLook(number) => self.look(number),
        }
    }

    fn refusal(&self, job: usize, request: Request) -> Option<Refusal> {
        let (world, member) = self.places[job];
        match judge(&self.worlds[world], member, request, false, &REFERENCE) {
            Effect::Refuse(refusal) => Some(refusal),
            Effect::NotNow | Effect::Callback { .. } | Effect::Apply => None,
        }
    }

    /// Which mischief a callback is up to.
    fn mischief(&mut self, job: usize, callback: Callback) -> Option<Deed> {
        let due = |&at: &usize| {
            let mischief = self.plan.jobs[job].mischief[at];
            let possible = match mischief.deed {
                Deed::Ask(target, _) => self.jobs[target].known,
                Deed::Start(target) => self.jobs[target].known && self.open[self.world_of(target)],
                Deed::Wait => true,
            };
            mischief.callback == callback && self.jobs[job].mischief[at] > 0 && possible
        };
        let at = (0..self.plan.jobs[job].mischief.len()).find(due)?;
        self.jobs[job].mischief[at] -= 1;
        Some(self.plan.jobs[job].mischief[at].deed)
    }

    /// A callback of the main loop calls back.
    fn call_back(&mut self, job: usize, callback: Callback) {
        let Some(deed) = self.mischief(job, callback) else {
            return;
        };
        self.in_callback = true;
        let answer = match deed {
            Deed::Ask(target, verb) if verb.is_one_section() => self.ask(target, verb),
            Deed::Ask(target, verb) => {
                let request = verb.request(self.jobs[target].speed);
                if let Some(refusal) = self.refusal(target, request) {
                    Err(text(target, refusal))
                } else {
                    self.tasks.push_back(Task::Posted(target, verb));
                    Ok(())
                }
            }
            Deed::Start(target) => {
                self.start(target);
                Ok(())
            }
            Deed::Wait => Err(WOULD_DEADLOCK.to_owned()),
        };
        self.in_callback = false;
        self.happenings.push((job, Happening::Deed(deed, answer)));
    }
}

/// Drained sections.
impl Specification {
    fn drain_begin(&mut self, slot: u8, scope: Option<usize>) {
        let token = TOKENS + slot;
        let held = self.hold(scope, Request::DrainBegin { token }, token);
        let number = self.number();
        self.sections.push(Section {
            number,
            slot,
            scope,
            held,
            begun: false,
            told: false,
            look_due: false,
        });
        self.tasks.push_back(Task::DrainBegin(number));
    }

    fn drain_end(&mut self, slot: u8) {
        let at = self
            .sections
            .iter()
            .position(|section| section.slot == slot);
        let section = self.sections.remove(at.expect("the section is there"));
        let token = TOKENS + slot;
        for (world, member) in self.scope(section.scope) {
            // One that is gone needs no letting go.
            let gone = |job: &Job| matches!(job.status, Status::Undefined | Status::Null);
            if !member.is_some_and(|member| self.worlds[world].jobs.get(member).is_none_or(gone)) {
                let reply = self.call(world, member, Request::DrainEnd { token });
                assert_eq!(reply, Ok(()));
            }
        }
    }

    fn section(&mut self, number: u64) -> Option<&mut Section> {
        let mut sections = self.sections.iter_mut();
        sections.find(|section| section.number == number)
    }

    /// Those held whose bodies run, newest first.
    fn running_in(&mut self, number: u64) -> Vec<usize> {
        let held = self.section(number).map(|section| section.held.clone());
        let mut running: Vec<usize> = held.into_iter().flatten().collect();
        running.retain(|&job| self.is_listed(job) && !self.job(job).is_none_or(Job::at_rest));
        running.sort_by_key(|&job| std::cmp::Reverse(self.jobs[job].born));
        running
    }

    fn is_quiet(&mut self, number: u64) -> bool {
        let held = self.section(number).map(|section| section.held.clone());
        held.into_iter()
            .flatten()
            .all(|job| self.job(job).is_none_or(Job::is_quiet))
    }

    /// The place of the section's call among those of a world.
    fn drain_call(&self, world: usize, slot: u8) -> usize {
        let token = TOKENS + slot;
        let calls = &self.worlds[world].calls;
        let ours = calls
            .iter()
            .position(|call| call.request == Request::DrainBegin { token });
        ours.expect("the section is beginning")
    }

    fn tell_drained(&mut self, number: u64) {
        for job in self.running_in(number) {
            self.drain_callback(number, job, Callback::Drain, true);
        }
        if let Some(section) = self.section(number) {
            section.told = true;
            section.look_due = true;
        }
        self.look(number);
    }

    fn drain_callback(&mut self, number: u64, job: usize, callback: Callback, well: bool) {
        let (world, member) = self.places[job];
        let slot = self.section(number).expect("it is beginning").slot;
        let place = self.drain_call(world, slot);
        // The relation offers it for each member that runs, without saying whose it is.
        let begun = self.take_of(world, Step::DrainCallbackBegin(place, callback), member);
        assert!(begun, "{callback} of j{job}");
        let end = Step::DrainCallbackEnd(place, callback, well);
        let ended = self.take(world, &|step| step == end);
        assert!(ended.is_some(), "{callback} of j{job} ends");
    }

    /// Takes a callback's step for this member.
    fn take_of(&mut self, world: usize, wanted: Step, member: usize) -> bool {
        let mut number = 0;
        let mut ours = None;
        steps(
            &self.worlds[world],
            &REFERENCE,
            VIEW,
            &mut |step, _, output| {
                if step == wanted {
                    if matches!(output, Some(Output::Begin(at, _)) if at == member) {
                        ours = Some(number);
                    }
                    number += 1;
                }
            },
        );
        let Some(ours) = ours else {
            return false;
        };
        let passed = std::cell::Cell::new(0);
        self.take(world, &|step| {
            step == wanted && passed.replace(passed.get() + 1) == ours
        })
        .is_some()
    }

    fn look(&mut self, number: u64) {
        let Some(section) = self.section(number) else {
            return;
        };
        section.look_due = false;
        if section.begun || !section.told || !self.is_quiet(number) {
            return;
        }
        let mut more = false;
        for job in self.running_in(number) {
            let again = self.jobs[job].polls > 0;
            self.jobs[job].polls -= u8::from(again);
            more |= again;
            self.drain_callback(number, job, Callback::DrainedPoll, !again);
        }
        if more {
            let timer = self.number();
            let deadline_ns = self.now_ns + ASK_AGAIN_NS;
            self.timers
                .push((deadline_ns, timer, Sleeper::Section(number)));
        } else if self.is_quiet(number) {
            let section = self.section(number).expect("it is beginning");
            section.begun = true;
            let (scope, slot) = (section.scope, section.slot);
            for (world, _) in self.scope(scope) {
                let place = self.drain_call(world, slot);
                let settled = self.take(world, &|step| step == Step::Settle(place));
                assert!(settled.is_some(), "quiet: {:?}", self.worlds[world]);
                self.worlds[world].calls.remove(place);
            }
        }
    }

    /// A body parked or ended: sections that wait for it look again.
    fn tell_sections(&mut self, job: usize) {
        for section in &mut self.sections {
            if section.told && !section.begun && !section.look_due && section.held.contains(&job) {
                section.look_due = true;
                self.tasks.push_back(Task::DrainLook(section.number));
            }
        }
    }
}

/// Bodies.
impl Specification {
    /// Takes this step of a body.
    fn body_step(&mut self, job: usize, wanted: Step) {
        let world = self.world_of(job);
        let taken = self.advance(world, &|step| step == wanted);
        assert!(
            taken.is_some(),
            "{wanted:?} of j{job} is impossible: {:?}",
            self.worlds[world]
        );
    }

    /// Lets every body go on that does so by itself, up to its gate.
    fn wake_bodies(&mut self) {
        for job in 0..self.jobs.len() {
            while self.goes_on(job) {}
        }
    }

    /// One step of a body that goes on by itself, if it does.
    fn goes_on(&mut self, job: usize) -> bool {
        let member = self.places[job].1;
        let Some(&state) = self.job(job) else {
            return false;
        };
        match state.body {
            Body::AtPoint if state.should_pause() => {
                self.body_step(job, Step::PauseBegin(member));
                self.jobs[job].gate = Gate::Begin(Callback::Pause);
            }
            Body::AtPoint if !state.entered && state.forced() => {
                self.body_step(job, Step::SkipRun(member));
                self.ended(job);
            }
            Body::AtPoint if !state.entered => {
                self.body_step(job, Step::RunBegin(member));
                self.jobs[job].gate = Gate::Run;
            }
            Body::AtPoint => {
                self.body_step(job, Step::LeavePoint(member));
                self.back_in_driver(job);
            }
            Body::Parked if !state.should_pause() => self.body_step(job, Step::Unpark(member)),
            Body::Unparked => {
                self.body_step(job, Step::ResumeBegin(member));
                self.jobs[job].gate = Gate::Begin(Callback::Resume);
            }
            Body::Asleep | Body::Yielded
                if state.woken || state.should_pause() || state.forced() =>
            {
                self.timers
                    .retain(|(_, _, sleeper)| *sleeper != Sleeper::Body(job));
                self.body_step(job, Step::Wake(member));
            }
            _ => return false,
        }
        true
    }

    /// The pause point, sleep or wait is over.
    fn back_in_driver(&mut self, job: usize) {
        match self.jobs[job].doing {
            Doing::Nothing => {}
            Doing::Point => {
                let forced = self.job(job).is_some_and(Job::forced);
                let flow = if forced {
                    Flow::Cancelled
                } else {
                    Flow::Continue
                };
                self.jobs[job].doing = Doing::Nothing;
                self.happenings.push((job, Happening::Flow(flow)));
            }
            Doing::Finish => self.wait_for_finish(job),
        }
    }

    /// The body tests what it waits for, and waits on.
    fn wait_for_finish(&mut self, job: usize) {
        let member = self.places[job].1;
        let state = *self.job(job).expect("its body runs");
        let told = if state.forced() {
            Some(Finish::Cancelled)
        } else if state.should_pause() {
            None
        } else if state.complete {
            Some(Finish::Complete)
        } else if state.cancel == Cancel::Soft {
            Some(Finish::SoftCancel)
        } else {
            None
        };
        match told {
            Some(finish) => {
                self.jobs[job].doing = Doing::Nothing;
                if state.woken && finish != Finish::Cancelled {
                    // Whoever entered was heard.
                    self.body_step(job, Step::Yield(member));
                    self.body_step(job, Step::LeavePoint(member));
                }
                self.happenings.push((job, Happening::Finish(finish)));
            }
            None => self.body_step(job, Step::Yield(member)),
        }
    }

    fn ended(&mut self, job: usize) {
        self.tasks.push_back(Task::Exit(job));
        self.tell_sections(job);
    }

    /// Lets a body pass its gate, up to the next.
    fn release(&mut self, job: usize) {
        match std::mem::replace(&mut self.jobs[job].gate, Gate::None) {
            Gate::None => {}
            Gate::Run => self
                .happenings
                .push((job, Happening::Callback(Callback::Run))),
            Gate::Begin(callback) => {
                self.happenings.push((job, Happening::Callback(callback)));
                let Some(deed) = self.mischief(job, callback) else {
                    self.leave_callback(job, callback);
                    self.wake_bodies();
                    return;
                };
                let answer = match deed {
                    Deed::Ask(target, verb) => self.ask(target, verb),
                    Deed::Start(target) => {
                        self.start(target);
                        Ok(())
                    }
                    Deed::Wait => Err(WOULD_DEADLOCK.to_owned()),
                };
                self.jobs[job].gate = Gate::End(callback, deed, answer);
            }
            Gate::End(callback, deed, answer) => {
                self.happenings.push((job, Happening::Deed(deed, answer)));
                self.leave_callback(job, callback);
            }
        }
        self.wake_bodies();
    }

    /// `pause` or `resume` returns.
    fn leave_callback(&mut self, job: usize, callback: Callback) {
        let member = self.places[job].1;
        if callback == Callback::Resume {
            self.body_step(job, Step::ResumeEnd(member));
            return;
        }
        self.body_step(job, Step::PauseEnd(member));
        if self.job(job).is_some_and(Job::should_pause) {
            self.body_step(job, Step::Park(member));
            self.tell_sections(job);
        } else {
            self.body_step(job, Step::ResumeBegin(member));
            self.jobs[job].gate = Gate::Begin(Callback::Resume);
        }
    }

    fn drive(&mut self, job: usize, drive: Drive) {
        let member = self.places[job].1;
        match drive {
            Drive::Point => {
                self.jobs[job].doing = Doing::Point;
                self.body_step(job, Step::ReachPoint(member));
            }
            Drive::Sleep { ms } => {
                self.jobs[job].doing = Doing::Point;
                self.body_step(job, Step::Sleep(member));
                if self.job(job).is_some_and(|job| job.body == Body::Asleep) {
                    let timer = self.number();
                    let deadline_ns = self.now_ns + ms * 1_000_000;
                    self.timers.push((deadline_ns, timer, Sleeper::Body(job)));
                }
            }
            Drive::Wait => {
                self.jobs[job].doing = Doing::Point;
                self.body_step(job, Step::Yield(member));
            }
            Drive::Io => {
                self.body_step(job, Step::IoBegin(member));
                self.body_step(job, Step::IoEnd(member));
            }
            Drive::Error { policy, no_space } => {
                use blockjob_model::ErrorAction;
                let action = policy.action(no_space);
                let no_space = no_space && action == ErrorAction::Stop;
                self.body_step(job, Step::IoError(member, action, no_space));
            }
            Drive::Converge => self.body_step(job, Step::Converge(member)),
            Drive::Finish => {
                self.jobs[job].doing = Doing::Finish;
                self.wait_for_finish(job);
            }
            Drive::Return { well } => {
                self.body_step(job, Step::RunEnd(member, well));
                self.body_step(job, Step::Defer(member));
                self.ended(job);
            }
        }
        self.wake_bodies();
    }
}

/// The main loop takes this step of a transaction in hand without being asked.
fn is_main_loops(step: Step, prepares: &[bool]) -> bool {
    match step {
        Step::PrepareEnd(member, well) => well == prepares[member],
        Step::Announce(_)
        | Step::Announced
        | Step::PrepareBegin(_)
        | Step::Decide
        | Step::Turn(_)
        | Step::DecisionBegin(_)
        | Step::DecisionEnd(_)
        | Step::CleanBegin(_)
        | Step::CleanEnd(_)
        | Step::CompletionBegin(_)
        | Step::CompletionEnd(_)
        | Step::Terminal(_)
        | Step::Conclude(_)
        | Step::Vanish(_)
        | Step::Close
        | Step::PeerCancelBegin(_)
        | Step::PeerCancelEnd(_)
        | Step::PeerResumeBegin(_)
        | Step::PeerResumeEnd(_)
        | Step::PeerForced(_) => true,
        _ => false,
    }
}

/// The step belongs to the call at this place.
fn is_of_call(step: Step, place: usize) -> bool {
    match step {
        Step::TakeEffect(at)
        | Step::RequestCallbackBegin(at)
        | Step::RequestCallbackEnd(at)
        | Step::RequestEffect(at)
        | Step::UserResumeBegin(at)
        | Step::UserResumeEnd(at)
        | Step::Settle(at) => at == place,
        _ => false,
    }
}
