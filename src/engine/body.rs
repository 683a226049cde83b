//! The body of a job: the worker's side of the protocol.
//!
//! Numbered as SEMANTICS.md §4.9 numbers its atomic steps; each `{ }` is one critical section.
//!
//! 1. **Begin** { take the token; is a pause wanted? } – then the entry pause point, which looks again in a
//!    section { forced? still wanted? }, then `run`, unless the job was cancelled before its first step
//!    (decision 24).
//! 2. **Pause point**: one load of the control word. Nothing to do: return (P23 explains why a
//!    stale zero is legal). Otherwise { is a pause wanted? } – close the gate – `pause` – drain the
//!    gate – { still wanted? → paused or standby; park while it is; back } –
//!    `resume` – open the gate – and from the top: a pause point is a loop (decision 7).
//! 3. **Sleep**, **wait**: { forced? pause wanted? entered meanwhile? otherwise arm, park, disarm }
//!    – then a pause point. Test and park are one section, so no wake is lost (P25) and none is
//!    doubled (P20).
//! 4. **Ready** { → ready, event }.
//! 5. **Wait for finish** { forced? pause wanted? told to complete or to stop? otherwise park } .
//! 6. **I/O error** { event; a stop takes the user's pause } – the next pause point parks.
//! 7. **End** { result; ended; pauses cleared; hand over to the main loop } . The last thing a body
//!    does (P22), and it keeps nothing of the job.
//!
//! `resume` is called once for each `pause`, whatever happened in between (P17).

use std::time::Duration;

use blockjob_model::{ErrorAction, Event, Status};

use super::context::{Finish, Flow, RunContext};
use super::control::ControlWord;
use super::executor::Context;
use super::io_error::IoSide;
use super::main_loop::Task;
use super::monitor::{CancelLevel, JobCore, JobKey, Monitor, Parked};
use super::stage::{self, Active};
use super::timer::Sleeper;
use crate::driver::JobOutcome;
use crate::sync::{Arc, catch_panic, thread};

/// What the body thread owns while it runs.
pub(super) struct Body {
    pub(super) monitor: Arc<Monitor>,
    pub(super) core: Arc<JobCore>,
    stage: BodyStage,
    /// Somebody was given the lane gate; until then there is nothing to close.
    pub(super) gate_used: bool,
}

/// The token, by the stage the body is in.
enum BodyStage {
    Running(stage::Running),
    Ready(stage::Ready),
    /// Only while [`Body::ready`] or [`Body::park_paused`] have the token in hand.
    Moving,
}

/// Hands the body of `core` to `context`. Not with the monitor's lock held.
///
/// What waits there for a thread has the job's key and nothing of the job: one that is cancelled
/// meanwhile is over, and its driver gone, long before its turn comes.
pub(super) fn spawn(monitor: &Arc<Monitor>, core: &JobCore, context: &Context) {
    let (monitor, key, number) = (Arc::clone(monitor), core.key, context.number());
    context.spawn(move || run(monitor, key, number));
}

/// Runs the body of that job on the calling thread, which belongs to the context of that number, from
/// its first step to its last.
fn run(monitor: Arc<Monitor>, key: JobKey, context: u64) {
    let (core, token, pause_wanted) = {
        let mut guard = monitor.lock();
        let Some(job) = guard.job_mut(key) else {
            return;
        };
        // It moved while it was queued: a thread over there takes it.
        if job.context.number() != context {
            return;
        }
        // A cancel took the token: the job ended before its first step.
        let Some(token) = job.stage.take_queued() else {
            return;
        };
        job.body_thread = Some(thread::current_id());
        job.entered = !job.should_pause();
        (Arc::clone(&job.core), token, !job.entered)
    };
    let mut body = Body {
        monitor,
        core: Arc::clone(&core),
        stage: BodyStage::Running(token),
        gate_used: false,
    };
    let result = catch_panic(|| {
        if pause_wanted && body.pause_before_run() == Flow::Cancelled {
            return Ok(());
        }
        core.driver.run(RunContext::new(&core, &mut body))
    });
    let result = result.unwrap_or_else(|words| Err(stage::panicked("run", &words)));
    // The body's own goes in the section that hands the job over.
    drop(core);
    body.end(result);
}

impl Body {
    /// The entry pause point, after a section that found a pause wanted. It looks again in sections,
    /// so that nobody who was cancelled before the last of them is run (decision 24): a load of the
    /// control word could come late.
    fn pause_before_run(&mut self) -> Flow {
        loop {
            self.pause_once();
            let mut guard = self.monitor.lock();
            match guard.job_mut(self.core.key) {
                Some(job) if !job.is_forced() => {
                    if !job.should_pause() {
                        job.entered = true;
                        return Flow::Continue;
                    }
                }
                _ => return Flow::Cancelled,
            }
        }
    }

    /// Protocol 2.
    pub(super) fn pause_point(&mut self) -> Flow {
        match self.core.control.attention() {
            0 => Flow::Continue,
            attention => self.attend(attention),
        }
    }

    /// The rest of a pause point whose load found `attention`, which is not zero.
    #[cold]
    pub(super) fn attend(&mut self, mut attention: u32) -> Flow {
        loop {
            if attention & ControlWord::FORCED != 0 {
                return Flow::Cancelled;
            }
            // The word may be stale; only the fields say whether `pause` may be called.
            let wanted = self
                .monitor
                .lock()
                .job(self.core.key)
                .is_some_and(super::monitor::Job::should_pause);
            if wanted {
                self.pause_once();
            }
            attention = self.core.control.attention();
            if attention == 0 {
                return Flow::Continue;
            }
        }
    }

    /// One honoured pause, after a section that found it wanted.
    fn pause_once(&mut self) {
        if self.gate_used {
            self.core.gate.close();
        }
        self.at_the_closed_gate(|| self.core.driver.pause());
        if self.gate_used {
            self.core.gate.drain();
        }
        self.park_paused();
        self.at_the_closed_gate(|| self.core.driver.resume());
        // After `resume`, not before: until it began nothing may be in flight (P18, P19), and what
        // it wrote is there for whoever enters.
        if self.gate_used {
            self.core.gate.open();
        }
    }

    /// Calls `pause` or `resume`. If that panics the run is over; lanes wait at the gate, and the
    /// run may wait for them while it unwinds, so the gate turns them away first.
    fn at_the_closed_gate(&self, callback: impl FnOnce()) {
        if let Err(words) = catch_panic(callback) {
            self.core.gate.refuse();
            std::panic::resume_unwind(Box::new(words));
        }
    }

    /// { still wanted? → paused or standby; park while it is; back }
    fn park_paused(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, BodyStage::Moving) {
            BodyStage::Running(token) => BodyStage::Running(self.park(token)),
            BodyStage::Ready(token) => BodyStage::Ready(self.park(token)),
            BodyStage::Moving => BodyStage::Moving,
        };
    }

    /// The body has nothing but a [`Paused`](stage::Paused) token while it is parked, and goes back to
    /// the stage it came from.
    fn park<S: Active>(&self, token: S) -> S {
        let key = self.core.key;
        let mut guard = self.monitor.lock();
        let Some(job) = guard.job_mut(key) else {
            return token;
        };
        if !job.should_pause() {
            return token;
        }
        job.parked = Parked::Paused;
        let paused = token.park();
        guard.transition(&self.monitor, key, S::PARKED);
        guard.tell_sections(&self.monitor, key);
        while guard
            .job(key)
            .is_some_and(super::monitor::Job::should_pause)
        {
            guard = self.core.wake.wait(guard);
        }
        if let Some(job) = guard.job_mut(key) {
            job.parked = Parked::No;
        }
        guard.transition(&self.monitor, key, S::STATUS);
        paused.leave()
    }

    /// Protocol 3: with a duration a sleep, without one a wait.
    pub(super) fn sleep_or_wait(&mut self, duration: Option<Duration>) -> Flow {
        let key = self.core.key;
        {
            let mut guard = self.monitor.lock();
            let state = &mut *guard;
            let Some(job) = state.jobs.get_mut(&key) else {
                return Flow::Cancelled;
            };
            if job.is_forced() {
                return Flow::Cancelled;
            }
            let entered = std::mem::take(&mut job.enter_pending);
            if !entered && !job.should_pause() {
                job.parked = match duration {
                    None => Parked::Waiting,
                    Some(duration) => {
                        let deadline = self.monitor.now().saturating_add(duration);
                        let (timer, earliest) = state.timers.arm(deadline, Sleeper::Body(key));
                        if earliest && state.main_waits {
                            self.monitor.main_wake.notify_all();
                        }
                        Parked::Sleeping(timer)
                    }
                };
                loop {
                    guard = self.core.wake.wait(guard);
                    let goes_on = guard.job(key).is_none_or(|job| {
                        job.enter_pending || job.should_pause() || job.is_forced()
                    });
                    if goes_on {
                        break;
                    }
                }
                let state = &mut *guard;
                if let Some(job) = state.jobs.get_mut(&key) {
                    if let Parked::Sleeping(timer) = job.parked {
                        state.timers.disarm(timer);
                    }
                    job.parked = Parked::No;
                    job.enter_pending = false;
                }
            }
        }
        self.pause_point()
    }

    /// Protocol 4. The body runs, so its status is running.
    pub(super) fn ready(&mut self) {
        if let BodyStage::Running(token) = std::mem::replace(&mut self.stage, BodyStage::Moving) {
            self.stage = BodyStage::Ready(token.ready());
            let mut guard = self.monitor.lock();
            let event = Some(Event::Ready);
            guard.transition_announced(&self.monitor, self.core.key, Status::Ready, event);
        }
    }

    /// Protocol 5.
    pub(super) fn wait_for_finish(&mut self) -> Finish {
        let key = self.core.key;
        loop {
            let mut guard = self.monitor.lock();
            loop {
                let Some(job) = guard.job_mut(key) else {
                    return Finish::Cancelled;
                };
                job.parked = Parked::No;
                // Whoever entered is heard: what follows tests everything he can have meant, and the
                // next sleep is not cut short by him.
                job.enter_pending = false;
                if job.is_forced() {
                    return Finish::Cancelled;
                }
                if job.should_pause() {
                    break;
                }
                if job.complete_told {
                    return Finish::Complete;
                }
                if job.cancel == CancelLevel::Soft {
                    return Finish::SoftCancel;
                }
                job.parked = Parked::Waiting;
                guard = self.core.wake.wait(guard);
            }
            drop(guard);
            self.pause_once();
        }
    }

    /// Protocol 6: { event; for a stop: the user's pause, and the error it stands for } . The pause and the
    /// error share one slot (decision 8), so one resume releases both (decision 39).
    pub(super) fn io_error(&self, side: IoSide, action: ErrorAction, no_space: bool) {
        let mut guard = self.monitor.lock();
        self.monitor
            .announce_io_error(&self.core, action, side.name());
        if action == ErrorAction::Stop
            && let Some(job) = guard.job_mut(self.core.key)
        {
            job.user_paused = true;
            job.io_status = job.io_status.after_stop(no_space);
            job.publish();
        }
    }

    /// Protocol 7.
    fn end(mut self, result: JobOutcome) {
        if self.gate_used {
            self.core.gate.shut();
        }
        let stage = std::mem::replace(&mut self.stage, BodyStage::Moving);
        let ended = match stage {
            BodyStage::Running(token) => token.end(result),
            BodyStage::Ready(token) => token.end(result),
            BodyStage::Moving => unreachable!("who has the token in hand puts it back"),
        };
        let key = self.core.key;
        let mut guard = self.monitor.lock();
        let Some(job) = guard.job_mut(key) else {
            return;
        };
        job.stage = stage::Stage::Ended(ended);
        job.note_end();
        // From here on the main loop may be the last to have the driver, and what it keeps open goes when
        // the loop says. The monitor has the job too, so nothing is dropped under the lock (P28).
        drop(self.core);
        guard.push_task(&self.monitor, Task::Exit(key));
        guard.tell_sections(&self.monitor, key);
    }
}
