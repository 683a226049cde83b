//! The main loop goes away while a job is in the middle of something.
//!
//! Nothing is decided any more, so there is nothing that the specification could judge. What is left to
//! demand: the body is cancelled by force, out of whatever it is in, and its thread ends; whoever waits for
//! the main loop is told; and nothing is left of the job (P39).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32 as Unseen, Ordering};
use std::time::Duration;

use blockjob::driver::{Driver, Finish, Flow, JobError, RunContext};
use blockjob::engine::{CancelMode, EngineError, JobHandle, JobOptions, Manager};
use blockjob_model::accept::Seen;
use blockjob_model::{Callback, Request};

use crate::record::{Recorder, Target};
use crate::scenario::config;
use crate::tool;

/// What the job is in, or who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Departure {
    /// It sleeps.
    Asleep,
    /// It waits to be entered.
    Waiting,
    /// It waits to be told how to finish.
    Ready,
    /// Its user has paused it.
    Paused,
    /// A drained section has made it quiet, or was about to.
    Drained,
    /// A drained section waits for it to come to rest, and the main loop knows of it.
    Draining,
    /// Somebody waits for its end.
    WaitedFor,
    /// Somebody has cancelled it and waits for its end.
    CancelledAndWaitedFor,
}

impl Departure {
    /// All of them.
    pub const ALL: [Departure; 8] = [
        Departure::Asleep,
        Departure::Waiting,
        Departure::Ready,
        Departure::Paused,
        Departure::Drained,
        Departure::Draining,
        Departure::WaitedFor,
        Departure::CancelledAndWaitedFor,
    ];

    /// Plays it once.
    pub fn play(self, recorder: &Arc<Recorder>) {
        recorder.clear();
        let (manager, mut main_loop) = Manager::new(config(recorder));
        let left = Left {
            case: self,
            recorder: Arc::clone(recorder),
            pauses: Unseen::new(0),
            resumes: Unseen::new(0),
        };
        let created = recorder.call(0, Target::Job(0), Request::Create, || {
            manager.create(JobOptions::new("j0"), left)
        });
        let created = created.expect("a well-formed id that nobody else has");
        let started = recorder.call(0, Target::Job(0), Request::Start, || Ok(created.start()));
        let job = started.expect("nobody cancelled it");
        let notes = Arc::clone(recorder);
        let other = tool::spawn(move || self.meanwhile(&job, &notes));
        if self == Departure::Draining {
            main_loop.run_pending();
        }
        drop(main_loop);
        other.join().expect("the other thread panicked");
    }

    /// What another thread does at the same time.
    fn meanwhile(self, job: &JobHandle, notes: &Arc<Recorder>) {
        let answer = match self {
            Departure::Asleep | Departure::Waiting | Departure::Ready => return,
            Departure::Paused => {
                // Refused if its run is over by then.
                notes.call(1, Target::Job(0), Request::Pause, || job.pause());
                return;
            }
            Departure::Draining => {
                // It may have begun.
                let answer = job.drained_begin();
                assert!(
                    answer.is_ok() || matches!(answer, Err(EngineError::MainLoopGone)),
                    "P39: a section that the main loop has in hand is answered {answer:?}"
                );
                return;
            }
            Departure::Drained => job.drained_begin().map(drop),
            Departure::WaitedFor => job.wait_decided().map(drop),
            Departure::CancelledAndWaitedFor => job.cancel_sync(CancelMode::Force).map(drop),
        };
        assert_eq!(
            answer,
            Err(EngineError::MainLoopGone),
            "P39: who waits for a main loop that is gone is told so"
        );
    }
}

/// The driver of the job that is left.
struct Left {
    case: Departure,
    recorder: Arc<Recorder>,
    // The body's own memory, invisible to the tool.
    pauses: Unseen,
    resumes: Unseen,
}

impl Left {
    fn edges(&self, callback: Callback) {
        self.recorder.see(0, Seen::Begin(callback));
        self.recorder.see(0, Seen::End(callback, true));
    }

    /// Is in what only a cancel ends, as far as the job is concerned; whether it was one.
    fn is_cancelled_out(&self, mut context: RunContext<'_>) -> bool {
        match self.case {
            Departure::Asleep => context.sleep(Duration::from_millis(1)) == Flow::Cancelled,
            Departure::Ready => context.ready().wait_for_finish() == Finish::Cancelled,
            // Nobody resumes it: whatever ends the pause that ends the wait is the cancel.
            Departure::Paused => context.wait() == Flow::Cancelled,
            // A section may end a wait and let go again, and then the next one begins.
            _ => loop {
                if context.wait() == Flow::Cancelled {
                    return true;
                }
            },
        }
    }
}

impl Driver for Left {
    fn job_type(&self) -> &'static str {
        "backup"
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        self.recorder.see(0, Seen::Begin(Callback::Run));
        self.recorder.see(0, Seen::PointBegin);
        let cancelled = self.is_cancelled_out(context);
        self.recorder.see(0, Seen::PointEnd);
        assert!(
            cancelled,
            "P39: the main loop is gone, and the run was not told that it is cancelled"
        );
        let pauses = self.pauses.load(Ordering::SeqCst);
        let resumes = self.resumes.load(Ordering::SeqCst);
        assert_eq!(pauses, resumes, "P17: a pause without its resume");
        self.recorder.see(0, Seen::End(Callback::Run, true));
        Ok(())
    }

    fn pause(&self) {
        self.pauses.fetch_add(1, Ordering::SeqCst);
        self.edges(Callback::Pause);
    }

    fn resume(&self) {
        self.resumes.fetch_add(1, Ordering::SeqCst);
        self.edges(Callback::Resume);
    }

    fn supports_complete(&self) -> bool {
        self.case == Departure::Ready
    }

    fn free(&self) {
        self.edges(Callback::Free);
    }
}
