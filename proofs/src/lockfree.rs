//! What the engine does without its lock: the control word and the lane gate.
//!
//! Each case carries data of its own across the engine's synchronisation, written and read with
//! relaxed atomics: if the engine released too little or acquired too little, a memory model finds
//! an execution in which the data is not there yet, and an assertion says so. Only loom has such a
//! model; elsewhere these cases run and can fail for other reasons only.

use std::sync::atomic::AtomicBool as Unseen;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// The same of who asks whether a cancel was requested.
    RequestIsSeen,
    /// The same of lanes, which ask whether the job is cancelled, and are turned away at the gate.
    LaneSeesCancel,
    /// While `paused` is acknowledged no lane is in flight, what lanes wrote is there, and lanes
    /// see what was written during the pause (P18, P19).
    GateQuiesces,
    /// A lane that waits at a closed gate leaves when the job is cancelled, and none enters after that.
    GateLetsGo,
    /// A lane that was let in before the gate was closed, and begins its piece before, during or after
    /// `pause`, is over when the pause is acknowledged (P18).
    LaneBegins,
    /// As [`GateQuiesces`](LockFree::GateQuiesces), with two lanes: the last one to leave wakes the body.
    TwoLanes,
    /// A lane enters the body in the middle of its I/O, for which it needs the lock that pauses, ends
    /// and dismissals use: whoever waits for the lane must not have it (K10).
    LaneCallsIn,
    /// The run returns and leaves a lane behind: nothing is decided while it is inside (P27). It enters the
    /// body as well: whoever waits for it at the end of the run must not have the lock.
    LaneStays,
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
            lanes: Arc::default(),
        };
        let lanes = Arc::clone(&witness.lanes);
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
                LockFree::CancelIsSeen
                | LockFree::RequestIsSeen
                | LockFree::LaneSeesCancel
                | LockFree::LaneStays => {
                    cancel();
                }
                LockFree::GateQuiesces
                | LockFree::LaneBegins
                | LockFree::TwoLanes
                | LockFree::LaneCallsIn => {
                    pause();
                    resume();
                }
                LockFree::GateLetsGo => {
                    pause();
                    cancel();
                    shared.told.store(true, Ordering::Release);
                }
            }
        });
        main_loop.run_until_idle();
        controller.join().expect("the controller panicked");
        let left = std::mem::take(&mut *lanes.lock().unwrap_or_else(PoisonError::into_inner));
        for lane in left {
            lane.join().expect("the lane panicked");
        }
    }
}

/// What the threads of a case share, beside the engine.
#[derive(Default)]
struct Shared {
    /// Released by the controller after its pause, or its cancel, was accepted.
    told: AtomicBool,
    /// Written before a cancel is set down.
    reason: AtomicU32,
    /// What each lane writes: 1 in the middle of its I/O, 2 when it is done.
    written: [AtomicU32; 2],
    /// Written during a pause.
    paused_write: AtomicU32,
    /// Taken by a lane that has been let in, before it begins, and by the body, before it pauses: so that
    /// either may come first.
    turns: AtomicU32,
    // Known to the harness alone, invisible to the tool.
    pauses: Unseen,
    lane_done: [Unseen; 2],
    resumed: Unseen,
}

impl Shared {
    fn reason_is_seen(&self) {
        assert_eq!(
            self.reason.load(Ordering::Relaxed),
            1,
            "the cancel is seen, what was written before it is not"
        );
    }
}

const UNSEEN: std::sync::atomic::Ordering = std::sync::atomic::Ordering::SeqCst;

struct Witness {
    case: LockFree,
    recorder: Arc<Recorder>,
    shared: Arc<Shared>,
    /// Those that the run leaves behind.
    lanes: Arc<Mutex<Vec<tool::JoinHandle<()>>>>,
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
                    self.shared.reason_is_seen();
                }
            }
            LockFree::RequestIsSeen => {
                if context.cancel_requested() {
                    self.shared.reason_is_seen();
                }
            }
            LockFree::LaneSeesCancel => {
                let (gate, shared) = (context.gate(), Arc::clone(&self.shared));
                let lane = tool::spawn(move || {
                    // Nobody shuts the gate before the lane has ended.
                    if gate.is_cancelled() || gate.enter().is_none() {
                        shared.reason_is_seen();
                    }
                });
                lane.join().expect("the lane panicked");
            }
            LockFree::GateQuiesces
            | LockFree::GateLetsGo
            | LockFree::LaneBegins
            | LockFree::TwoLanes
            | LockFree::LaneCallsIn => {
                let lanes = if self.case == LockFree::TwoLanes {
                    2
                } else {
                    1
                };
                let lanes: Vec<_> = (0..lanes)
                    .map(|number| self.lane(number, &mut context))
                    .collect();
                let _ = self.point(&mut context);
                for lane in lanes {
                    lane.join().expect("the lane panicked");
                }
            }
            LockFree::LaneStays => {
                let lane = self.lane(0, &mut context);
                let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
                lanes.push(lane);
            }
        }
    }

    fn lane(&self, number: usize, context: &mut RunContext<'_>) -> tool::JoinHandle<()> {
        let (case, gate) = (self.case, context.gate());
        let (recorder, shared) = (Arc::clone(&self.recorder), Arc::clone(&self.shared));
        tool::spawn(move || lane(case, number, &gate, &recorder, &shared))
    }

    /// No lane is in the middle of its I/O, and what those wrote that are done is there.
    fn no_lane_inside(&self, rule: &str) {
        let shared = &self.shared;
        for (written, done) in shared.written.iter().zip(&shared.lane_done) {
            let done = done.load(UNSEEN);
            let written = written.load(Ordering::Relaxed);
            assert_eq!(
                written,
                if done { 2 } else { 0 },
                "{rule}: a lane's I/O is not over, or not visible"
            );
        }
    }
}

/// Another worker of the job: one piece of I/O.
fn lane(case: LockFree, number: usize, gate: &LaneGate, recorder: &Recorder, shared: &Shared) {
    let cancelled = case == LockFree::GateLetsGo && shared.told.load(Ordering::Acquire);
    let Some(permit) = gate.enter() else {
        return;
    };
    assert!(
        !cancelled,
        "V9: a lane was let in after a forced cancel that happens before it asked"
    );
    if shared.resumed.load(UNSEEN) {
        assert_eq!(
            shared.paused_write.load(Ordering::Relaxed),
            1,
            "the gate is open again, what was written during the pause is not there"
        );
    }
    if case == LockFree::LaneBegins {
        shared.turns.fetch_add(1, Ordering::Relaxed);
    }
    // Of a lane that stays the run says nothing, nor does the record.
    let told = case != LockFree::LaneStays;
    if told {
        recorder.see(0, Seen::IoBegin);
    }
    shared.written[number].store(1, Ordering::Relaxed);
    if matches!(case, LockFree::LaneCallsIn | LockFree::LaneStays) {
        gate.wake_body();
    }
    shared.written[number].store(2, Ordering::Relaxed);
    shared.lane_done[number].store(true, UNSEEN);
    if told {
        recorder.see(0, Seen::IoEnd);
    }
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
        self.see(Seen::Begin(Callback::Pause));
        if self.case == LockFree::LaneBegins {
            self.shared.turns.fetch_add(1, Ordering::Relaxed);
        }
        self.see(Seen::End(Callback::Pause, true));
    }

    fn resume(&self) {
        if !matches!(self.case, LockFree::PauseIsSeen | LockFree::CancelIsSeen) {
            self.no_lane_inside("P19");
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
        self.no_lane_inside("P27");
        self.edges(Callback::Prepare);
        Ok(())
    }

    fn commit(&self) {
        self.edges(Callback::Commit);
    }

    fn abort(&self) {
        self.no_lane_inside("P27");
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
