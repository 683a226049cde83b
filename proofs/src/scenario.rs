//! Scenarios: jobs, groups, and what controllers ask of them; and how one is played.
//!
//! The playing thread makes the jobs, starts them, starts the controllers, becomes the main loop,
//! and ends when every job is gone. Every controller's program is given an ending that lets this
//! happen whatever it asked before.

use std::sync::Arc;

use blockjob::engine::{
    CancelMode, EngineError, JobHandle, JobOptions, MainLoop, Manager, ManagerConfig,
    PauseAllToken, Transaction,
};
use blockjob_model::accept::Seen;
use blockjob_model::{Callback, Request, Status};

use crate::actor::{Actor, Role};
use crate::judge::Cast;
use crate::record::{Recorder, Target};
use crate::tool;

/// What a controller asks of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// `pause`.
    Pause,
    /// `resume`.
    Resume,
    /// A soft `cancel`.
    CancelSoft,
    /// A forced `cancel`.
    CancelForce,
    /// `complete`.
    Complete,
    /// `finalize`.
    Finalize,
    /// `dismiss`.
    Dismiss,
    /// `set_speed`: no limit, so that a sleeper wakes.
    SetSpeed,
    /// `pause_all`, of whatever job it is asked.
    HoldAll,
    /// `resume_all` of what this thread holds.
    ReleaseAll,
    /// `enter`, which the specification does not know: a wake without a cause.
    Enter,
    /// Waits until the job is ready; asks nothing.
    AwaitReady,
}

impl Ask {
    /// The verbs of one job.
    pub const VERBS: [Ask; 8] = [
        Ask::Pause,
        Ask::Resume,
        Ask::CancelSoft,
        Ask::CancelForce,
        Ask::Complete,
        Ask::Finalize,
        Ask::Dismiss,
        Ask::SetSpeed,
    ];

    /// What the specification calls it.
    pub fn request(self) -> Option<Request> {
        Some(match self {
            Ask::Pause => Request::Pause,
            Ask::Resume => Request::Resume,
            Ask::CancelSoft => Request::Cancel { force: false },
            Ask::CancelForce => Request::Cancel { force: true },
            Ask::Complete => Request::Complete,
            Ask::Finalize => Request::Finalize,
            Ask::Dismiss => Request::Dismiss,
            Ask::SetSpeed => Request::SET_SPEED,
            Ask::HoldAll | Ask::ReleaseAll | Ask::Enter | Ask::AwaitReady => return None,
        })
    }

    fn make(self, job: &JobHandle) -> Result<(), EngineError> {
        match self {
            Ask::Pause => job.pause(),
            Ask::Resume => job.resume(),
            Ask::CancelSoft => job.cancel(CancelMode::Soft),
            Ask::CancelForce => job.cancel(CancelMode::Force),
            Ask::Complete => job.complete(),
            Ask::Finalize => job.finalize(),
            Ask::Dismiss => job.dismiss(),
            Ask::SetSpeed => job.set_speed(0),
            Ask::HoldAll | Ask::ReleaseAll => Ok(()),
            Ask::Enter => {
                job.enter();
                Ok(())
            }
            Ask::AwaitReady => job.wait_for(&[Status::Ready, Status::Null]).map(drop),
        }
    }
}

/// What one controller does: each step names a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Controller(pub Vec<(u8, Ask)>);

/// A member of the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its group's number, counting from 0. Members of a group stand together, groups in order.
    pub group: u8,
    /// What it is and does.
    pub role: Role,
}

/// A whole scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scenario {
    /// The jobs, in the order of their creation.
    pub members: Vec<Member>,
    /// What the playing thread asks before it starts the jobs …
    pub before_start: Vec<(u8, Ask)>,
    /// … and after it started them, before it becomes the main loop.
    pub before_loop: Vec<(u8, Ask)>,
    /// The other threads.
    pub controllers: Vec<Controller>,
    /// They begin before the jobs start, not after.
    pub early: bool,
}

impl Scenario {
    /// One job and these controllers.
    pub fn single(role: Role, controllers: Vec<Vec<Ask>>) -> Scenario {
        Scenario {
            members: vec![Member { group: 0, role }],
            controllers: controllers
                .into_iter()
                .map(|asks| Controller(asks.into_iter().map(|ask| (0, ask)).collect()))
                .collect(),
            ..Scenario::default()
        }
    }

    /// One transaction of these members.
    pub fn transaction(roles: &[Role]) -> Scenario {
        Scenario {
            members: roles
                .iter()
                .map(|&role| Member { group: 0, role })
                .collect(),
            ..Scenario::default()
        }
    }

    /// What the judge has to know.
    pub fn cast(&self) -> Cast {
        Cast {
            jobs: self
                .members
                .iter()
                .map(|member| (member.group, member.role.spec()))
                .collect(),
        }
    }

    /// Plays it once, on the calling thread and those it starts.
    pub fn play(&self, recorder: &Arc<Recorder>) {
        recorder.clear();
        let (manager, mut main_loop) = Manager::new(config(recorder));
        let (groups, jobs) = self.create(&manager, recorder);
        for &(job, ask) in &self.before_start {
            call(recorder, 0, &jobs, job, ask);
        }
        let mut threads = Vec::new();
        if self.early {
            threads = self.controllers(&manager, &jobs, recorder);
        }
        for (number, (first, transaction)) in groups.into_iter().enumerate() {
            // Who was cancelled does not start; the handles say how it ended.
            let cancelled = self.before_start.iter().any(|&(job, ask)| {
                matches!(ask, Ask::CancelSoft | Ask::CancelForce)
                    && self.members[usize::from(job)].group == self.members[first].group
            });
            if cancelled {
                drop(transaction.start());
            } else {
                recorder.call(0, Target::Group(number as u8), Request::Start, || {
                    Ok(transaction.start())
                });
            }
        }
        for &(job, ask) in &self.before_loop {
            call(recorder, 0, &jobs, job, ask);
        }
        if !self.early {
            threads = self.controllers(&manager, &jobs, recorder);
        }
        self.decide(&mut main_loop, &jobs, recorder);
        for thread in threads {
            thread.join().expect("a controller panicked");
        }
        Scenario::dismiss(&jobs, recorder);
    }

    /// Makes the jobs, group by group; each group with the place of its first member.
    fn create(
        &self,
        manager: &Manager,
        recorder: &Arc<Recorder>,
    ) -> (Vec<(usize, Transaction)>, Vec<JobHandle>) {
        let mut groups: Vec<(usize, Transaction)> = Vec::new();
        let mut jobs: Vec<JobHandle> = Vec::new();
        for (place, member) in self.members.iter().enumerate() {
            if usize::from(member.group) >= groups.len() {
                groups.push((place, manager.transaction()));
            }
            let number = place as u8;
            let actor = Actor::new(number, member.role, Arc::clone(recorder));
            let seer = Arc::clone(recorder);
            let options = JobOptions::new(format!("j{number}"))
                .manual_finalize(!member.role.auto_finalize)
                .manual_dismiss(!member.role.auto_dismiss)
                .on_completion(move |_| {
                    seer.see(number, Seen::Begin(Callback::Completion));
                    seer.see(number, Seen::End(Callback::Completion, true));
                });
            let (_, transaction) = groups.last_mut().expect("pushed above");
            let job = recorder.call(0, Target::Job(number), Request::Create, || {
                transaction.create(options, actor)
            });
            jobs.push(job.expect("a well-formed id that nobody else has"));
        }
        (groups, jobs)
    }

    /// Starts the other threads.
    fn controllers(
        &self,
        manager: &Manager,
        jobs: &[JobHandle],
        recorder: &Arc<Recorder>,
    ) -> Vec<tool::JoinHandle<()>> {
        self.controllers
            .iter()
            .enumerate()
            .map(|(place, controller)| {
                let thread = place as u8 + 1;
                let program = self.with_ending(place, controller);
                let jobs = jobs.to_vec();
                let manager = manager.clone();
                let recorder = Arc::clone(recorder);
                tool::spawn(move || perform(&recorder, thread, &manager, &jobs, &program))
            })
            .collect()
    }

    /// A controller's program, ended so that no job waits for somebody who has left: whoever may
    /// have paused a job resumes it, and a job that waits to be told how to finish is told.
    fn with_ending(&self, place: usize, controller: &Controller) -> Vec<(u8, Ask)> {
        let mut program = controller.0.clone();
        let alone = self.controllers.len() == 1;
        let couple = self.controllers.len() == 2;
        for (job, member) in self.members.iter().enumerate() {
            let job = job as u8;
            let last = |wanted: Ask| {
                controller
                    .0
                    .iter()
                    .rposition(|&(other, ask)| other == job && ask == wanted)
            };
            let pauses = last(Ask::Pause) > last(Ask::Resume);
            let told = last(Ask::AwaitReady).is_some() && last(Ask::Complete).is_some();
            if told && !pauses {
                // Completed when it was ready: nothing else may have to wake it (P25).
                continue;
            }
            if last(Ask::CancelForce) > last(Ask::Pause) {
                // Nothing holds it and nothing makes it wait from there on, but for others' pauses.
                continue;
            }
            if member.role.ready.is_none() {
                program.extend(pauses.then_some((job, Ask::Resume)));
            } else if couple {
                // One of the two ends it, whatever the other one still asks: fewest sections.
                program.extend((place == 1).then_some((job, Ask::CancelForce)));
            } else if pauses && last(Ask::Complete).is_none() {
                program.push((job, Ask::CancelForce));
            } else {
                program.extend(pauses.then_some((job, Ask::Resume)));
                // A soft cancel is refused while somebody else has the job paused.
                let told = alone && last(Ask::CancelSoft) > last(Ask::Pause);
                program.extend((!told).then_some((job, Ask::CancelSoft)));
            }
        }
        let last = |wanted| controller.0.iter().rposition(|&(_, ask)| ask == wanted);
        if last(Ask::HoldAll) > last(Ask::ReleaseAll) {
            program.push((0, Ask::ReleaseAll));
        }
        program
    }

    /// Is the main loop until every job is concluded; finalizes what waits for its user. Where a
    /// job stands it reads in the record: asking the engine would be one more thing to interleave.
    fn decide(&self, main_loop: &mut MainLoop, jobs: &[JobHandle], recorder: &Recorder) {
        for (number, member) in self.members.iter().enumerate() {
            if member.role.auto_finalize {
                continue;
            }
            let number = number as u8;
            let decidable = [Status::Pending, Status::Concluded, Status::Null];
            main_loop.run_until(|| decidable.contains(&recorder.status(number)));
            if recorder.status(number) == Status::Pending {
                call(recorder, 0, jobs, number, Ask::Finalize);
            }
        }
        main_loop.run_until_idle();
    }

    /// Dismisses what waits for its user.
    fn dismiss(jobs: &[JobHandle], recorder: &Recorder) {
        for number in 0..jobs.len() as u8 {
            if recorder.status(number) == Status::Concluded {
                call(recorder, 0, jobs, number, Ask::Dismiss);
            }
        }
    }
}

/// A manager that records, and whose sleeps take no time.
pub(crate) fn config(recorder: &Arc<Recorder>) -> ManagerConfig {
    ManagerConfig::default()
        .virtual_time(true)
        .trace(Arc::clone(recorder) as _)
}

fn call(recorder: &Recorder, thread: u8, jobs: &[JobHandle], job: u8, ask: Ask) {
    let handle = &jobs[usize::from(job)];
    match ask.request() {
        Some(request) => {
            recorder.call(thread, Target::Job(job), request, || ask.make(handle));
        }
        None => ask
            .make(handle)
            .expect("what the specification does not know is not refused"),
    }
}

/// What a controller's thread does.
fn perform(
    recorder: &Recorder,
    thread: u8,
    manager: &Manager,
    jobs: &[JobHandle],
    program: &[(u8, Ask)],
) {
    let mut held: Option<PauseAllToken> = None;
    for &(job, ask) in program {
        match (ask, held.is_some()) {
            (Ask::HoldAll, false) => {
                let request = Request::Hold { token: thread };
                held = recorder.call(thread, Target::All, request, || Ok(manager.pause_all()));
            }
            (Ask::ReleaseAll, true) => {
                let request = Request::Release { token: thread };
                recorder.call(thread, Target::All, request, || {
                    if let Some(token) = held.take() {
                        manager.resume_all(token);
                    }
                    Ok(())
                });
            }
            (Ask::HoldAll | Ask::ReleaseAll, _) => {}
            _ => call(recorder, thread, jobs, job, ask),
        }
    }
}
