//! What the engine does without its lock: the control word and the lane gate.
//!
//! Each case carries data of its own across the engine's synchronisation, written and read with
//! relaxed atomics: if the engine released too little or acquired too little, a memory model finds
//! an execution in which the data is not there yet, and an assertion says so. Only loom has such a
//! model; elsewhere these cases run and can fail for other reasons only.

use std::sync::Arc;
use std::sync::atomic::AtomicBool as Unseen;

use blockjob::driver::{Driver, Flow, JobError, RunContext};
use blockjob::engine::{CancelMode, JobOptions, LaneGate, Manager};
use blockjob_model::accept::Seen;
use blockjob_model::state::JobSpec;
use blockjob_model::{Callback, Request, Status};

use crate::judge::Cast;
use crate::record::{Recorder, Target};
use crate::scenario::config;
use crate::tool::{self, AtomicBool, AtomicU32, Ordering};

/// A case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockFree {
    /// A pause that happens before a pause point is not missed by it (P23).
    PauseIsSeen,
    /// Who learns of a cancel from the control word sees what was written before it.
    CancelIsSeen,
    /// While `paused` is acknowledged no lane is in flight, what lanes wrote is there, and lanes
    /// see what was written during the pause (P18, P19).
    GateQuiesces,
    /// A lane that waits at a closed gate leaves when the job is cancelled.
    GateLetsGo,
}

impl LockFree {
    const SPEC: JobSpec = JobSpec {
        completion: false,
        ..JobSpec::PLAIN
    };

    /// What the judge has to know.
    pub fn cast(self) -> Cast {
        Cast {
            jobs: vec![(0, LockFree::SPEC)],
        }
    }

    /// Plays it once.
    pub fn play(self, recorder: &Arc<Recorder>) {
        recorder.clear();
        let (manager, mut main_loop) = Manager::new(config(recorder));
        let shared = Arc::new(Shared::default());
        let witness = Witness {
            case: self,
            recorder: Arc::clone(recorder),
            shared: Arc::clone(&shared),
        };
        let created = recorder.call(0, Target::Job(0), Request::Create, || {
            manager.create(JobOptions::new("j0"), witness)
        });
        let created = created.expect("a well-formed id that nobody else has");
        let started = recorder.call(0, Target::Job(0), Request::Start, || Ok(created.start()));
        let job = started.expect("nobody cancelled it");
        let notes = Arc::clone(recorder);
        let controller = tool::spawn(move || {
            let pause = || {
                notes
                    .call(1, Target::Job(0), Request::Pause, || job.pause())
                    .is_some()
            };
            let resume = || notes.call(1, Target::Job(0), Request::Resume, || job.resume());
            let cancel = || {
                let request = Request::Cancel { force: true };
                notes.call(1, Target::Job(0), request, || job.cancel(CancelMode::Force))
            };
            match self {
                LockFree::PauseIsSeen => {
                    if pause() {
                        shared.told.store(true, Ordering::Release);
                        let status = job.wait_for(&[Status::Paused, Status::Null]);
                        if status == Ok(Status::Paused) {
                            resume();
                        }
                    }
                }
                LockFree::CancelIsSeen => {
                    cancel();
                }
                LockFree::GateQuiesces => {
                    pause();
                    resume();
                }
                LockFree::GateLetsGo => {
                    pause();
                    cancel();
                }
            }
        });
        main_loop.run_until_idle();
        controller.join().expect("the controller panicked");
    }
}

/// What the threads of a case share, beside the engine.
#[derive(Default)]
struct Shared {
    /// Released by the controller after its pause was accepted.
    told: AtomicBool,
    /// Written before a cancel is set down.
    reason: AtomicU32,
    /// What a lane writes: 1 in the middle of its I/O, 2 when it is done.
    written: AtomicU32,
    /// Written during a pause.
    paused_write: AtomicU32,
    // Known to the harness alone, invisible to the tool.
    pauses: Unseen,
    lane_done: Unseen,
    resumed: Unseen,
}

const UNSEEN: std::sync::atomic::Ordering = std::sync::atomic::Ordering::SeqCst;

struct Witness {
    case: LockFree,
    recorder: Arc<Recorder>,
    shared: Arc<Shared>,
}

impl Witness {
    fn see(&self, seen: Seen) {
        self.recorder.see(0, seen);
    }

    fn edges(&self, callback: Callback) {
        self.see(Seen::Begin(callback));
        self.see(Seen::End(callback, true));
    }

    fn point(&self, context: &mut RunContext<'_>) -> Flow {
        self.see(Seen::PointBegin);
        let flow = context.pause_point();
        self.see(Seen::PointEnd);
        flow
    }

    fn play(&self, mut context: RunContext<'_>) {
        match self.case {
            LockFree::PauseIsSeen => {
                let told = self.shared.told.load(Ordering::Acquire);
                let flow = self.point(&mut context);
                assert!(
                    !told || self.shared.pauses.load(UNSEEN) || flow == Flow::Cancelled,
                    "P23: a pause that happens before the pause point was missed"
                );
            }
            LockFree::CancelIsSeen => {
                if self.point(&mut context) == Flow::Cancelled {
                    assert_eq!(
                        self.shared.reason.load(Ordering::Relaxed),
                        1,
                        "the cancel is seen, what was written before it is not"
                    );
                }
            }
            LockFree::GateQuiesces | LockFree::GateLetsGo => {
                let gate = context.gate();
                let (recorder, shared) = (Arc::clone(&self.recorder), Arc::clone(&self.shared));
                let lane = tool::spawn(move || lane(&gate, &recorder, &shared));
                let _ = self.point(&mut context);
                lane.join().expect("the lane panicked");
            }
        }
    }
}

/// Another worker of the job: one piece of I/O.
fn lane(gate: &LaneGate, recorder: &Recorder, shared: &Shared) {
    let Some(permit) = gate.enter() else {
        return;
    };
    if shared.resumed.load(UNSEEN) {
        assert_eq!(
            shared.paused_write.load(Ordering::Relaxed),
            1,
            "the gate is open again, what was written during the pause is not there"
        );
    }
    recorder.see(0, Seen::IoBegin);
    shared.written.store(1, Ordering::Relaxed);
    shared.written.store(2, Ordering::Relaxed);
    shared.lane_done.store(true, UNSEEN);
    recorder.see(0, Seen::IoEnd);
    drop(permit);
}

impl Driver for Witness {
    fn job_type(&self) -> &'static str {
        "backup"
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        self.see(Seen::Begin(Callback::Run));
        self.play(context);
        self.see(Seen::End(Callback::Run, true));
        Ok(())
    }

    fn pause(&self) {
        self.shared.pauses.store(true, UNSEEN);
        self.edges(Callback::Pause);
    }

    fn resume(&self) {
        if matches!(self.case, LockFree::GateQuiesces | LockFree::GateLetsGo) {
            let done = self.shared.lane_done.load(UNSEEN);
            let written = self.shared.written.load(Ordering::Relaxed);
            assert_eq!(
                written,
                if done { 2 } else { 0 },
                "P19: a lane's I/O is not over, or not visible, during a pause"
            );
            self.shared.paused_write.store(1, Ordering::Relaxed);
            self.shared.resumed.store(true, UNSEEN);
        }
        self.edges(Callback::Resume);
    }

    fn cancel(&self, _: bool, _: bool) -> bool {
        self.shared.reason.store(1, Ordering::Relaxed);
        self.edges(Callback::Cancel);
        true
    }

    fn prepare(&self) -> Result<(), JobError> {
        self.edges(Callback::Prepare);
        Ok(())
    }

    fn commit(&self) {
        self.edges(Callback::Commit);
    }

    fn abort(&self) {
        self.edges(Callback::Abort);
    }

    fn clean(&self) {
        self.edges(Callback::Clean);
    }

    fn user_resume(&self) {
        self.edges(Callback::UserResume);
    }

    fn free(&self) {
        self.edges(Callback::Free);
    }
}
