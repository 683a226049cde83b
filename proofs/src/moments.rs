//! Moments that a history does not show, because only one thread knows that they are there.
//!
//! Between a resume and the wake of who was paused, between whatever ends a wait and the look of who waits, between
//! a decision and its being carried out: what has to hold there the thread itself asserts, or else somebody waits for ever,
//! which the tools find.

use std::sync::Arc;
use std::sync::atomic::AtomicBool as Unseen;

use blockjob::driver::{Driver, Errno, JobError, RunContext};
use blockjob::engine::{CancelMode, Decision, JobHandle, JobOptions, Manager};
use blockjob_model::accept::Seen;
use blockjob_model::state::JobSpec;
use blockjob_model::{Callback, Request, Status};

use crate::judge::Cast;
use crate::record::{Recorder, Target};
use crate::scenario::config;
use crate::tool::{self, Flag};

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// Somebody was resumed and has not woken: it is busy (P26).
    Resumed,
    /// Somebody who waits was entered and has not looked: it is busy (P26).
    Entered,
    /// The same of a pause.
    Paused,
    /// The same of a forced cancel.
    Cancelled,
    /// Somebody who waits was paused and resumed before it looked: the wait is over (SEMANTICS.md §4.5).
    PausedAndResumed,
    /// It is settled that a job commits, and it has not: who waits for that is told (decision 19).
    Committing,
    /// The same of an abort.
    Aborting,
}

impl Moment {
    /// All of them.
    pub const ALL: [Moment; 7] = [
        Moment::Resumed,
        Moment::Entered,
        Moment::Paused,
        Moment::Cancelled,
        Moment::PausedAndResumed,
        Moment::Committing,
        Moment::Aborting,
    ];

    const SPEC: JobSpec = JobSpec {
        completion: false,
        ..JobSpec::PLAIN
    };

    /// What the judge has to know.
    pub fn cast(self) -> Cast {
        Cast {
            jobs: vec![(0, Moment::SPEC)],
        }
    }

    /// Plays it once.
    pub fn play(self, recorder: &Arc<Recorder>) {
        recorder.clear();
        let (manager, mut main_loop) = Manager::new(config(recorder));
        let shared = Arc::new(Shared::default());
        let driver = Watched {
            moment: self,
            recorder: Arc::clone(recorder),
            shared: Arc::clone(&shared),
        };
        let created = recorder.call(0, Target::Job(0), Request::Create, || {
            manager.create(JobOptions::new("j0"), driver)
        });
        let created = created.expect("a well-formed id that nobody else has");
        let started = recorder.call(0, Target::Job(0), Request::Start, || Ok(created.start()));
        let job = started.expect("nobody cancelled it");
        let notes = Arc::clone(recorder);
        let controller = tool::spawn(move || self.watch(&job, &shared, &notes));
        main_loop.run_until_idle();
        controller.join().expect("the controller panicked");
    }

    fn watch(self, job: &JobHandle, shared: &Shared, notes: &Recorder) {
        let pause = || notes.call(1, Target::Job(0), Request::Pause, || job.pause());
        let resume = || notes.call(1, Target::Job(0), Request::Resume, || job.resume());
        // Nobody else ends its wait, so one that is idle does wait.
        let ends = matches!(self, Moment::Entered | Moment::Paused | Moment::Cancelled);
        let waits = ends && !job.info().busy;
        let is_busy = || {
            let busy = job.info().busy;
            assert!(
                !waits || busy || shared.noticed.load(UNSEEN),
                "P26: a job whose wait is over, and has not noticed, is not busy"
            );
        };
        match self {
            Moment::Entered => {
                job.enter();
                is_busy();
            }
            Moment::Paused => {
                pause();
                is_busy();
                resume();
                job.enter();
            }
            Moment::Cancelled => {
                let cancel = || job.cancel(CancelMode::Force);
                notes.call(1, Target::Job(0), Request::Cancel { force: true }, cancel);
                is_busy();
            }
            Moment::Resumed => {
                pause();
                if job.wait_for(&[Status::Paused, Status::Null]) == Ok(Status::Paused) {
                    resume();
                    let busy = job.info().busy;
                    assert!(
                        busy || shared.noticed.load(UNSEEN),
                        "P26: a job that was resumed, and has not noticed, is not busy"
                    );
                }
            }
            Moment::PausedAndResumed => {
                if job.info().busy {
                    job.enter();
                } else {
                    // It waits, and nobody else ends that.
                    pause();
                    resume();
                }
            }
            Moment::Committing | Moment::Aborting => {
                let wanted = match self {
                    Moment::Committing => Decision::Commit,
                    _ => Decision::Abort,
                };
                assert_eq!(job.wait_decided(), Ok(wanted));
                shared.told.set();
            }
        }
    }
}

/// What the threads share, beside the engine.
#[derive(Default)]
struct Shared {
    /// Who waits for the decision has it.
    told: Flag,
    /// The body has woken. Known to the harness alone, invisible to the tool.
    noticed: Unseen,
}

const UNSEEN: std::sync::atomic::Ordering = std::sync::atomic::Ordering::SeqCst;

struct Watched {
    moment: Moment,
    recorder: Arc<Recorder>,
    shared: Arc<Shared>,
}

impl Watched {
    fn see(&self, seen: Seen) {
        self.recorder.see(0, seen);
    }

    fn edges(&self, callback: Callback) {
        self.see(Seen::Begin(callback));
        self.see(Seen::End(callback, true));
    }

    fn run_on(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        match self.moment {
            Moment::Resumed
            | Moment::Entered
            | Moment::Paused
            | Moment::Cancelled
            | Moment::PausedAndResumed => {
                self.see(Seen::PointBegin);
                let _ = match self.moment {
                    Moment::Resumed => context.pause_point(),
                    _ => context.wait(),
                };
                self.shared.noticed.store(true, UNSEEN);
                self.see(Seen::PointEnd);
                Ok(())
            }
            Moment::Committing => Ok(()),
            Moment::Aborting => Err(JobError::new(Errno::IO)),
        }
    }

    /// Is carried out when whoever waits for the decision has been told of it, and not before.
    fn decided(&self, callback: Callback) {
        self.see(Seen::Begin(callback));
        self.shared.told.wait();
        self.see(Seen::End(callback, true));
    }
}

impl Driver for Watched {
    fn job_type(&self) -> &'static str {
        "backup"
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        self.see(Seen::Begin(Callback::Run));
        let result = self.run_on(context);
        self.see(Seen::End(Callback::Run, result.is_ok()));
        result
    }

    fn pause(&self) {
        if self.moment == Moment::Paused {
            self.shared.noticed.store(true, UNSEEN);
        }
        self.edges(Callback::Pause);
    }

    fn resume(&self) {
        self.shared.noticed.store(true, UNSEEN);
        self.edges(Callback::Resume);
    }

    fn user_resume(&self) {
        self.edges(Callback::UserResume);
    }

    fn cancel(&self, force: bool, ready: bool) -> bool {
        let forced = force || !ready;
        self.see(Seen::Begin(Callback::Cancel));
        self.see(Seen::End(Callback::Cancel, forced));
        forced
    }

    fn prepare(&self) -> Result<(), JobError> {
        self.edges(Callback::Prepare);
        Ok(())
    }

    fn commit(&self) {
        if self.moment == Moment::Committing {
            self.decided(Callback::Commit);
        } else {
            self.edges(Callback::Commit);
        }
    }

    fn abort(&self) {
        if self.moment == Moment::Aborting {
            self.decided(Callback::Abort);
        } else {
            self.edges(Callback::Abort);
        }
    }

    fn clean(&self) {
        self.edges(Callback::Clean);
    }

    fn free(&self) {
        self.edges(Callback::Free);
    }
}
