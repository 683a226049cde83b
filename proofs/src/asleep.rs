//! Who sleeps or waits, and is paused meanwhile: the pause ends the sleep, and comes before anything else
//! that the job does (P23, SEMANTICS.md §4.5).
//!
//! What a sleep makes of a pause no judge of histories can demand, because a pause point may come too early
//! for it. Here the body knows better: that the pause was there before, or that nothing but the pause can have
//! ended what it was in.

use std::sync::Arc;
use std::sync::atomic::AtomicBool as Unseen;
use std::time::Duration;

use blockjob::driver::{Driver, Flow, JobError, RunContext};
use blockjob::engine::{JobOptions, Manager};
use blockjob_model::accept::Seen;
use blockjob_model::state::JobSpec;
use blockjob_model::{Callback, Request, Status};

use crate::judge::Cast;
use crate::record::{Recorder, Target};
use crate::scenario::config;
use crate::tool::{self, AtomicBool, Ordering};

/// What the body is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asleep {
    /// A sleep that a timer ends.
    ForAWhile,
    /// A sleep of no length: what a driver does whose speed limit asks for no delay.
    NotAtAll,
    /// A wait that only the pause ends.
    UntilEntered,
}

impl Asleep {
    const SPEC: JobSpec = JobSpec {
        completion: false,
        ..JobSpec::PLAIN
    };

    /// What the judge has to know.
    pub fn cast(self) -> Cast {
        Cast {
            jobs: vec![(0, Asleep::SPEC)],
        }
    }

    /// Plays it once.
    pub fn play(self, recorder: &Arc<Recorder>) {
        recorder.clear();
        let (manager, mut main_loop) = Manager::new(config(recorder));
        let told = Arc::new(AtomicBool::new(false));
        let sleeper = Sleeper {
            case: self,
            recorder: Arc::clone(recorder),
            told: Arc::clone(&told),
            pauses: Unseen::new(false),
        };
        let created = recorder.call(0, Target::Job(0), Request::Create, || {
            manager.create(JobOptions::new("j0"), sleeper)
        });
        let created = created.expect("a well-formed id that nobody else has");
        let started = recorder.call(0, Target::Job(0), Request::Start, || Ok(created.start()));
        let job = started.expect("nobody cancelled it");
        let notes = Arc::clone(recorder);
        let controller = tool::spawn(move || {
            let paused = notes.call(1, Target::Job(0), Request::Pause, || job.pause());
            if paused.is_some() {
                told.store(true, Ordering::Release);
                let status = job.wait_for(&[Status::Paused, Status::Null]);
                if status == Ok(Status::Paused) {
                    notes.call(1, Target::Job(0), Request::Resume, || job.resume());
                }
            }
        });
        main_loop.run_until_idle();
        controller.join().expect("the controller panicked");
    }
}

const UNSEEN: std::sync::atomic::Ordering = std::sync::atomic::Ordering::SeqCst;

struct Sleeper {
    case: Asleep,
    recorder: Arc<Recorder>,
    /// Released by the controller after its pause was accepted.
    told: Arc<AtomicBool>,
    /// The body's own memory, invisible to the tool.
    pauses: Unseen,
}

impl Sleeper {
    fn edges(&self, callback: Callback) {
        self.recorder.see(0, Seen::Begin(callback));
        self.recorder.see(0, Seen::End(callback, true));
    }

    fn play(&self, mut context: RunContext<'_>) {
        let before = self.pauses.load(UNSEEN);
        if self.case == Asleep::UntilEntered && before {
            // The only pause there is was honoured before the first step.
            return;
        }
        let told = self.told.load(Ordering::Acquire);
        self.recorder.see(0, Seen::PointBegin);
        let flow = match self.case {
            Asleep::ForAWhile => context.sleep(Duration::from_millis(1)),
            Asleep::NotAtAll => context.sleep(Duration::ZERO),
            Asleep::UntilEntered => context.wait(),
        };
        self.recorder.see(0, Seen::PointEnd);
        let honoured = self.pauses.load(UNSEEN) || flow == Flow::Cancelled;
        assert!(
            honoured || self.case != Asleep::UntilEntered,
            "P23: a wait that nothing but a pause can have ended is over, and the job has not paused"
        );
        assert!(
            honoured || !told,
            "P23: a pause that happens before the sleep was missed by it"
        );
    }
}

impl Driver for Sleeper {
    fn job_type(&self) -> &'static str {
        "backup"
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        self.recorder.see(0, Seen::Begin(Callback::Run));
        self.play(context);
        self.recorder.see(0, Seen::End(Callback::Run, true));
        Ok(())
    }

    fn pause(&self) {
        self.pauses.store(true, UNSEEN);
        self.edges(Callback::Pause);
    }

    fn resume(&self) {
        self.edges(Callback::Resume);
    }

    fn user_resume(&self) {
        self.edges(Callback::UserResume);
    }

    fn prepare(&self) -> Result<(), JobError> {
        self.edges(Callback::Prepare);
        Ok(())
    }

    fn commit(&self) {
        self.edges(Callback::Commit);
    }

    fn clean(&self) {
        self.edges(Callback::Clean);
    }

    fn free(&self) {
        self.edges(Callback::Free);
    }
}
