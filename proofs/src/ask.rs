//! What somebody asks of a job or of the manager, and how that is made and written down.
//!
//! Who asks is a thread of the scenario, or a driver in the middle of a callback. What a callback of the
//! main loop asks is *posted* where the main loop itself carries it out: the answer says that it was
//! taken, and the record says so. What waits is refused there, and in the job's own body.

use std::sync::{Arc, Mutex, PoisonError};

use blockjob::driver::JobOutcome;
use blockjob::engine::{
    CancelMode, Context, Decision, DrainedSection, EngineError, JobHandle, Manager, PauseAllToken,
    QueriedBlockJob, Transaction,
};
use blockjob_model::accept::{Seen, SightPattern};
use blockjob_model::{Callback, IoStatus, Request, Status};

use crate::record::{self, Entry, Recorder, Target};

/// What is asked of a job.
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
    /// `resume_all` of what this asker holds.
    ReleaseAll,
    /// `drained_begin` of the job; one section at a time for each asker.
    DrainBegin,
    /// The same of every job, those to come included.
    DrainAll,
    /// The end of the section.
    DrainEnd,
    /// Inside the section: the job moves to another context.
    Attach,
    /// `start` of the job's group, where that is left to a controller.
    Start,
    /// The job, which is alone in its group, is given up instead.
    GiveUp,
    /// `cancel_sync` by force.
    CancelSync,
    /// A soft `cancel_sync`.
    CancelSoftSync,
    /// `complete_sync`.
    CompleteSync,
    /// `cancel_sync_all`, of whatever job it is asked.
    CancelAll,
    /// `wait_decided`, then `wait_concluded`.
    WaitDecided,
    /// `query_block_jobs`, of whatever job it is asked.
    Look,
    /// `enter`, which is not judged: a wake without a cause.
    Enter,
    /// Waits until the job is ready; asks nothing.
    AwaitReady,
    /// Waits until the job is parked; asks nothing.
    AwaitPaused,
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

    /// A verb of one job, as the specification calls it; also one that is waited for.
    pub fn request(self) -> Option<Request> {
        Some(match self {
            Ask::Pause => Request::Pause,
            Ask::Resume => Request::Resume,
            Ask::CancelSoft | Ask::CancelSoftSync => Request::Cancel { force: false },
            Ask::CancelForce | Ask::CancelSync => Request::Cancel { force: true },
            Ask::Complete | Ask::CompleteSync => Request::Complete,
            Ask::Finalize => Request::Finalize,
            Ask::Dismiss => Request::Dismiss,
            Ask::SetSpeed => Request::SET_SPEED,
            _ => return None,
        })
    }

    /// It needs somebody to be the main loop also when every job is gone.
    pub(crate) fn needs_main_loop(self) -> bool {
        matches!(self, Ask::DrainBegin | Ask::DrainAll | Ask::Attach)
    }

    /// It waits for the main loop or for a body, so that neither may ask it.
    fn waits(self) -> bool {
        matches!(
            self,
            Ask::DrainBegin
                | Ask::DrainAll
                | Ask::CancelSync
                | Ask::CancelSoftSync
                | Ask::CompleteSync
                | Ask::CancelAll
                | Ask::WaitDecided
                | Ask::AwaitReady
                | Ask::AwaitPaused
        )
    }
}

/// The manager and its jobs, for whoever asks something of them. It lies outside the tools' sight, and
/// is emptied when the scenario is over: drivers have it, and jobs have drivers.
pub struct Company {
    manager: Manager,
    jobs: Mutex<Vec<JobHandle>>,
    /// Groups that a controller is to start, each with its number.
    unstarted: Mutex<Vec<(u8, Transaction)>>,
}

impl Company {
    /// The manager, and nobody yet.
    pub fn new(manager: &Manager) -> Arc<Company> {
        Arc::new(Company {
            manager: manager.clone(),
            jobs: Mutex::default(),
            unstarted: Mutex::default(),
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Vec<JobHandle>) -> T) -> T {
        change(&mut self.jobs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One more job; they are numbered in the order in which they come.
    pub fn join(&self, job: JobHandle) {
        self.with(|jobs| jobs.push(job));
    }

    /// The group of this number is left to whoever asks for its start.
    pub fn leave_to_start(&self, group: u8, transaction: Transaction) {
        let mut unstarted = self
            .unstarted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unstarted.push((group, transaction));
    }

    fn take_unstarted(&self) -> Option<(u8, Transaction)> {
        let mut unstarted = self
            .unstarted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unstarted.pop()
    }

    /// The main loop is to go on as soon as nothing is to do.
    pub fn dissolve(&self) {
        self.manager.shutdown();
    }

    /// Lets go of everybody.
    pub fn part(&self) {
        let jobs = self.with(std::mem::take);
        drop(jobs);
    }

    /// The job of this number, if it is there already.
    pub(crate) fn job(&self, number: u8) -> Option<JobHandle> {
        self.with(|jobs| jobs.get(usize::from(number)).cloned())
    }

    fn size(&self) -> u8 {
        self.with(|jobs| jobs.len()) as u8
    }
}

/// Where somebody is who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A thread of the scenario.
    Thread,
    /// A callback that the main loop runs.
    MainLoop,
    /// A callback that the body of this job runs.
    Body(u8),
}

/// Somebody who asks, and what he holds meanwhile.
pub struct Asker {
    recorder: Arc<Recorder>,
    company: Arc<Company>,
    /// By which the record knows him.
    thread: u8,
    place: Place,
    hold: Option<PauseAllToken>,
    section: Option<(Target, DrainedSection)>,
}

impl Asker {
    /// A thread of the scenario.
    pub fn thread(thread: u8, recorder: &Arc<Recorder>, company: &Arc<Company>) -> Asker {
        Asker::new(thread, Place::Thread, recorder, company)
    }

    /// A callback of this job.
    pub fn callback(
        job: u8,
        callback: Callback,
        recorder: &Arc<Recorder>,
        company: &Arc<Company>,
    ) -> Asker {
        let (thread, place) = if callback.on_main_loop() {
            (record::in_callback(job), Place::MainLoop)
        } else {
            (record::in_body(job), Place::Body(job))
        };
        Asker::new(thread, place, recorder, company)
    }

    fn new(thread: u8, place: Place, recorder: &Arc<Recorder>, company: &Arc<Company>) -> Asker {
        Asker {
            recorder: Arc::clone(recorder),
            company: Arc::clone(company),
            thread,
            place,
            hold: None,
            section: None,
        }
    }

    /// Asks one after the other, and lets go of what he still holds.
    pub fn ask_all(mut self, program: &[(u8, Ask)]) {
        for &(job, ask) in program {
            self.ask(job, ask);
        }
        self.drain_end();
        self.release_all();
    }

    /// Asks, and writes down what he asked and how he was answered.
    ///
    /// # Panics
    ///
    /// On an answer that no specification has.
    pub fn ask(&mut self, number: u8, ask: Ask) {
        let Some(job) = self.company.job(number) else {
            return;
        };
        let own = match self.place {
            Place::Thread => false,
            Place::MainLoop => true,
            Place::Body(body) => body == number || matches!(ask, Ask::DrainAll | Ask::CancelAll),
        };
        if own && ask.waits() {
            self.is_turned_away(&job, ask);
            return;
        }
        match ask {
            Ask::HoldAll => self.hold_all(),
            Ask::ReleaseAll => self.release_all(),
            Ask::DrainBegin | Ask::DrainAll => self.drain_begin(number, &job, ask),
            Ask::DrainEnd => self.drain_end(),
            Ask::Attach => self.attach(number, &job),
            Ask::Start | Ask::GiveUp => self.start(number, ask),
            Ask::CancelSync | Ask::CancelSoftSync | Ask::CompleteSync => {
                self.sync(number, &job, ask);
            }
            Ask::CancelAll => self.cancel_all(),
            Ask::WaitDecided => self.wait_decided(number, &job),
            Ask::Look => self.look(),
            Ask::Enter => job.enter(),
            Ask::AwaitReady => wait_for(&job, Status::Ready),
            Ask::AwaitPaused => wait_for(&job, Status::Paused),
            Ask::Pause
            | Ask::Resume
            | Ask::CancelSoft
            | Ask::CancelForce
            | Ask::Complete
            | Ask::Finalize
            | Ask::Dismiss
            | Ask::SetSpeed => self.verb(number, &job, ask),
        }
    }

    fn verb(&self, number: u8, job: &JobHandle, ask: Ask) {
        let request = ask.request().expect("called for verbs only");
        let make = || match ask {
            Ask::Pause => job.pause(),
            Ask::Resume => job.resume(),
            Ask::CancelSoft => job.cancel(CancelMode::Soft),
            Ask::CancelForce => job.cancel(CancelMode::Force),
            Ask::Complete => job.complete(),
            Ask::Finalize => job.finalize(),
            Ask::Dismiss => job.dismiss(),
            _ => job.set_speed(0),
        };
        let target = Target::Job(number);
        if self.place == Place::MainLoop && ask != Ask::Pause {
            self.recorder.post(self.thread, target, request, make);
        } else {
            self.recorder.call(self.thread, target, request, make);
        }
    }

    fn hold_all(&mut self) {
        if self.hold.is_some() {
            return;
        }
        let request = Request::Hold {
            token: hold_token(self.thread),
        };
        let hold = || Ok(self.company.manager.pause_all());
        self.hold = self.recorder.call(self.thread, Target::All, request, hold);
    }

    fn release_all(&mut self) {
        let Some(token) = self.hold.take() else {
            return;
        };
        let request = Request::Release {
            token: hold_token(self.thread),
        };
        self.recorder.call(self.thread, Target::All, request, || {
            self.company.manager.resume_all(token);
            Ok(())
        });
    }

    fn drain_begin(&mut self, number: u8, job: &JobHandle, ask: Ask) {
        if self.section.is_some() {
            return;
        }
        let request = Request::DrainBegin {
            token: drain_token(self.thread),
        };
        let all = ask == Ask::DrainAll;
        let target = if all {
            Target::All
        } else {
            Target::Job(number)
        };
        let begin = || {
            if all {
                self.company.manager.drained_begin()
            } else {
                job.drained_begin()
            }
        };
        let begun = self.recorder.call(self.thread, target, request, begin);
        self.section = begun.map(|section| (target, section));
    }

    fn drain_end(&mut self) {
        let Some((target, section)) = self.section.take() else {
            return;
        };
        let request = Request::DrainEnd {
            token: drain_token(self.thread),
        };
        self.recorder.call(self.thread, target, request, || {
            section.end();
            Ok(())
        });
    }

    fn start(&self, number: u8, ask: Ask) {
        let Some((group, transaction)) = self.company.take_unstarted() else {
            return;
        };
        let (target, request) = match ask {
            Ask::Start => (Target::Group(group), Request::Start),
            _ => (Target::Job(number), Request::EarlyFail),
        };
        self.recorder.call(self.thread, target, request, || {
            if ask == Ask::Start {
                transaction.start();
            } else {
                drop(transaction);
            }
            Ok(())
        });
    }

    fn attach(&self, number: u8, job: &JobHandle) {
        let Some((_, section)) = &self.section else {
            return;
        };
        let elsewhere = Context::new("elsewhere", 1);
        let moved = self.recorder.call(
            self.thread,
            Target::Job(number),
            Request::AttachContext,
            || section.attach_context(job, &elsewhere),
        );
        let now = job.context();
        assert!(
            moved.is_none() || now.is_none() || now == Some(elsewhere),
            "j{number} was moved and is not there"
        );
    }

    /// Its cancel or complete may be answered long before it returns.
    fn sync(&self, number: u8, job: &JobHandle, ask: Ask) {
        let request = ask.request().expect("called for what begins with a verb");
        let outcome = self
            .recorder
            .call(self.thread, Target::Job(number), request, || match ask {
                Ask::CancelSync => job.cancel_sync(CancelMode::Force),
                Ask::CancelSoftSync => job.cancel_sync(CancelMode::Soft),
                _ => job.complete_sync(),
            });
        if let Some(outcome) = outcome {
            self.has_ended_as(number, &outcome);
        }
    }

    /// Success means concluded (decision 19), and the answer says how.
    fn has_ended_as(&self, number: u8, outcome: &JobOutcome) {
        let status = self.recorder.status(number);
        assert!(
            matches!(status, Status::Concluded | Status::Null),
            "whoever waited for j{number} to conclude was told so when it was {status}"
        );
        let committed = self.recorder.saw(number, Seen::Begin(Callback::Commit));
        assert_eq!(
            outcome.is_ok(),
            committed,
            "j{number} ended otherwise than its waiter was told"
        );
    }

    /// A commit is settled once every member is pending, an abort at any time (decision 19).
    fn wait_decided(&self, number: u8, job: &JobHandle) {
        let decision = job.wait_decided().expect("the job was started");
        let status = self.recorder.status(number);
        assert!(
            decision == Decision::Abort
                || matches!(status, Status::Pending | Status::Concluded | Status::Null),
            "it is settled that j{number} commits, and it is {status}"
        );
        let outcome = job.wait_concluded().expect("the job was started");
        self.has_ended_as(number, &outcome);
        assert_eq!(
            decision == Decision::Commit,
            outcome.is_ok(),
            "what was settled for j{number} was not done"
        );
    }

    /// Requests that nobody sees the answers of, one for each job and what may have to be done to it,
    /// are what the specification knows it as.
    fn cancel_all(&self) {
        let size = self.company.size();
        for number in 0..size {
            if self.recorder.status(number) == Status::Null {
                continue;
            }
            for (place, request) in [Request::Cancel { force: true }, Request::Dismiss]
                .into_iter()
                .enumerate()
            {
                let thread = record::unseen(number * 2 + place as u8);
                self.recorder.note(Entry::Call {
                    thread,
                    target: Target::Job(number),
                    request,
                });
                self.recorder.note(Entry::Posted { thread });
            }
        }
        self.company
            .manager
            .cancel_sync_all()
            .expect("this thread may wait, and the main loop is there");
        for number in 0..size {
            let status = self.recorder.status(number);
            assert!(
                status == Status::Null,
                "everything was cancelled, and j{number} is {status}"
            );
        }
    }

    fn everybody_is_gone(&self) -> bool {
        let gone = |number| self.recorder.status(number) == Status::Null;
        (0..self.company.size()).all(gone)
    }

    fn look(&self) {
        let thread = self.thread;
        self.recorder.note(Entry::Call {
            thread,
            target: Target::All,
            request: Request::Query,
        });
        let list = self.company.manager.query_block_jobs();
        assert!(
            list.is_sorted_by(|newer, older| {
                record::number(&newer.device) > record::number(&older.device)
            }),
            "the list is not newest first"
        );
        for job in &list {
            self.recorder.note(Entry::Listed {
                thread,
                job: record::number(&job.device),
                sight: sight(job),
            });
        }
        self.recorder.note(Entry::Looked { thread });
    }

    /// Who must not wait is told so, and nothing has happened.
    fn is_turned_away(&self, job: &JobHandle, ask: Ask) {
        if ask == Ask::CancelAll && self.everybody_is_gone() {
            // There is nobody to wait for.
            return;
        }
        let answer = match ask {
            Ask::DrainBegin => job.drained_begin().map(drop),
            Ask::DrainAll => self.company.manager.drained_begin().map(drop),
            Ask::CancelSync => job.cancel_sync(CancelMode::Force).map(drop),
            Ask::CancelSoftSync => job.cancel_sync(CancelMode::Soft).map(drop),
            Ask::CompleteSync => job.complete_sync().map(drop),
            Ask::CancelAll => self.company.manager.cancel_sync_all(),
            Ask::WaitDecided => job.wait_decided().map(drop),
            _ => job.wait_for(&[Status::Null]).map(drop),
        };
        assert!(
            matches!(answer, Err(EngineError::WouldDeadlock)),
            "{ask:?} inside a callback is answered {answer:?}"
        );
    }
}

fn wait_for(job: &JobHandle, status: Status) {
    job.wait_for(&[status, Status::Concluded, Status::Null])
        .expect("a controller may wait, and the main loop is there");
}

/// What a line of the list says.
fn sight(job: &QueriedBlockJob) -> SightPattern {
    SightPattern {
        status: Some(job.status),
        ready: Some(job.ready),
        paused: Some(job.paused),
        io_failed: Some(job.io_status != IoStatus::Ok),
        // The section that notes a failed prepare comes after its end, which the record has already.
        failed: (job.status != Status::Pending).then_some(job.error.is_some()),
    }
}

/// Eight tokens are told apart: four holders of everything, and four drained sections.
fn hold_token(thread: u8) -> u8 {
    thread % 4
}

fn drain_token(thread: u8) -> u8 {
    4 + thread % 4
}
