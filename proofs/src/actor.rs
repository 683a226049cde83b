//! The actor: a driver that follows a script and writes down everything it sees.
//!
//! It records both edges of every callback, of every call that contains a pause point (pause point,
//! sleep, wait for finish), and of every piece of I/O. It keeps the obligations of a driver
//! (SEMANTICS.md §10.2), and holds the engine to what the acceptor cannot see: which thread calls.

use std::sync::atomic::AtomicBool as Unseen;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use blockjob::driver::{Driver, Errno, Finish, Flow, JobError, RunContext};
use blockjob::engine::{Context, IoSide};
use blockjob_model::accept::Seen;
use blockjob_model::state::JobSpec;
use blockjob_model::{Callback, ErrorPolicy};

use crate::ask::{Ask, Asker, Company};
use crate::record::Recorder;
use crate::tool;

/// One step of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// A piece of I/O.
    Io,
    /// A pause point.
    Point,
    /// A sleep, which time, a pause, a cancel or a higher speed ends.
    Sleep,
    /// An I/O error that stops it: it takes its user's pause, and parks at the next point.
    Stop,
    /// A failure of its own.
    Fail,
}

/// What a driver does inside one of its callbacks, the first time that it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Inside {
    /// Which; [`Callback::Run`] is the beginning of its run.
    pub callback: Callback,
    /// Of whom it asks something.
    pub job: u8,
    /// What; after a pause also a resume, and what it holds it lets go of.
    pub ask: Ask,
}

/// What one job is and does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Role {
    /// Its run, up to convergence where it has one.
    pub acts: &'static [Act],
    /// It converges after that, does these, and waits to be told how to finish.
    pub ready: Option<&'static [Act]>,
    /// Its `prepare` fails.
    pub prepare_fails: bool,
    /// It reports a cancel that it noticed as `ECANCELED`, where others report success and leave
    /// it to the engine.
    pub reports_cancel: bool,
    /// Its group decides by itself.
    pub auto_finalize: bool,
    /// It dismisses itself.
    pub auto_dismiss: bool,
    /// It calls back in.
    pub inside: Option<Inside>,
    /// The first time that a drained section asks, more is to come.
    pub lingers: bool,
}

impl Role {
    /// A job that runs through and ends well, decided and dismissed automatically.
    pub const fn plain(acts: &'static [Act]) -> Role {
        Role {
            acts,
            ready: None,
            prepare_fails: false,
            reports_cancel: false,
            auto_finalize: true,
            auto_dismiss: true,
            inside: None,
            lingers: false,
        }
    }

    /// A job that converges and waits to be told how to finish.
    pub const fn mirror(acts: &'static [Act], ready: &'static [Act]) -> Role {
        Role {
            ready: Some(ready),
            ..Role::plain(acts)
        }
    }

    /// The same, decided by its user.
    #[must_use]
    pub const fn manual_finalize(self) -> Role {
        Role {
            auto_finalize: false,
            ..self
        }
    }

    /// The same, dismissed by its user.
    #[must_use]
    pub const fn manual_dismiss(self) -> Role {
        Role {
            auto_dismiss: false,
            ..self
        }
    }

    /// The same with a failing `prepare`.
    #[must_use]
    pub const fn failing_prepare(self) -> Role {
        Role {
            prepare_fails: true,
            ..self
        }
    }

    /// The same, reporting a cancel as an error of its own.
    #[must_use]
    pub const fn reporting_cancel(self) -> Role {
        Role {
            reports_cancel: true,
            ..self
        }
    }

    /// The same, calling back in.
    #[must_use]
    pub const fn asking(self, callback: Callback, job: u8, ask: Ask) -> Role {
        Role {
            inside: Some(Inside { callback, job, ask }),
            ..self
        }
    }

    /// The same, with more to come when a drained section asks.
    #[must_use]
    pub const fn lingering(self) -> Role {
        Role {
            lingers: true,
            ..self
        }
    }

    /// It stops at an I/O error of its own, so that somebody has to resume it.
    pub fn stops(self) -> bool {
        self.acts.contains(&Act::Stop)
    }

    /// What the specification has to know of it.
    pub const fn spec(self) -> JobSpec {
        JobSpec {
            auto_finalize: self.auto_finalize,
            auto_dismiss: self.auto_dismiss,
            can_complete: self.ready.is_some(),
            needs_finish: self.ready.is_some(),
            block: true,
            internal: false,
            completion: true,
        }
    }
}

/// The driver of job number `job`.
pub struct Actor {
    job: u8,
    role: Role,
    recorder: Arc<Recorder>,
    company: Arc<Company>,
    main_thread: tool::ThreadId,
    body_thread: OnceLock<tool::ThreadId>,
    stepwise: bool,
    asked: Unseen,
    lingered: Unseen,
}

const UNSEEN: std::sync::atomic::Ordering = std::sync::atomic::Ordering::SeqCst;

/// Asks what a callback of a job asks.
pub(crate) fn ask_inside(
    job: u8,
    inside: Inside,
    recorder: &Arc<Recorder>,
    company: &Arc<Company>,
) {
    let mut program = vec![(inside.job, inside.ask)];
    if inside.ask == Ask::Pause {
        program.push((inside.job, Ask::Resume));
    }
    Asker::callback(job, inside.callback, recorder, company).ask_all(&program);
}

/// The run is to end now: it was cancelled, or failed.
struct Stop(Result<(), JobError>);

impl Actor {
    /// To be made on the thread of the main loop.
    pub fn new(job: u8, role: Role, recorder: Arc<Recorder>, company: Arc<Company>) -> Actor {
        Actor {
            job,
            role,
            recorder,
            company,
            main_thread: tool::current_id(),
            body_thread: OnceLock::new(),
            stepwise: false,
            asked: Unseen::new(false),
            lingered: Unseen::new(false),
        }
    }

    /// The same; if so asked, it lets others go on after each step of its run.
    #[must_use]
    pub fn stepwise(self, stepwise: bool) -> Actor {
        Actor { stepwise, ..self }
    }

    fn step_ends(&self) {
        if self.stepwise {
            tool::yield_now();
        }
    }

    /// Calls back in, if it does so in this callback and has not done so before.
    fn ask_inside(&self, callback: Callback) {
        if let Some(inside) = self
            .role
            .inside
            .filter(|inside| inside.callback == callback)
            && !self.asked.swap(true, UNSEEN)
        {
            ask_inside(self.job, inside, &self.recorder, &self.company);
        }
    }

    fn see(&self, seen: Seen) {
        self.recorder.see(self.job, seen);
    }

    /// A callback of the body: always the same thread, never the main loop's.
    fn on_body(&self, callback: Callback) {
        let here = tool::current_id();
        let body = *self.body_thread.get_or_init(|| here);
        assert!(
            here == body && here != self.main_thread,
            "{callback} of j{} on a thread that is not its body's",
            self.job
        );
        self.see(Seen::Begin(callback));
        tool::meanwhile();
        self.ask_inside(callback);
        self.see(Seen::End(callback, true));
    }

    fn on_main(&self, callback: Callback, well: bool) {
        assert!(
            tool::current_id() == self.main_thread,
            "{callback} of j{} not on the main loop",
            self.job
        );
        self.see(Seen::Begin(callback));
        tool::meanwhile();
        self.ask_inside(callback);
        self.see(Seen::End(callback, well));
    }

    fn cancelled(&self) -> Stop {
        Stop(if self.role.reports_cancel {
            Err(JobError::canceled())
        } else {
            Ok(())
        })
    }

    fn act<S>(&self, act: Act, context: &mut RunContext<'_, S>) -> Result<(), Stop> {
        match act {
            Act::Io => {
                let _permit = context.io();
                self.see(Seen::IoBegin);
                tool::meanwhile();
                self.see(Seen::IoEnd);
                Ok(())
            }
            Act::Point | Act::Sleep => {
                self.see(Seen::PointBegin);
                let flow = match act {
                    Act::Sleep => context.sleep(Duration::from_millis(1)),
                    _ => context.pause_point(),
                };
                self.see(Seen::PointEnd);
                match flow {
                    Flow::Continue => Ok(()),
                    Flow::Cancelled => Err(self.cancelled()),
                }
            }
            Act::Stop => {
                let policy = ErrorPolicy::Stop;
                let _ = context.error_action(policy, IoSide::Read, Errno::IO);
                Ok(())
            }
            Act::Fail => Err(Stop(Err(JobError::new(Errno::NO_SPACE)))),
        }
    }

    fn play(&self, mut context: RunContext<'_>) -> Result<(), Stop> {
        for &act in self.role.acts {
            self.act(act, &mut context)?;
            self.step_ends();
        }
        let Some(acts) = self.role.ready else {
            return Ok(());
        };
        let mut context = context.ready();
        self.step_ends();
        for &act in acts {
            self.act(act, &mut context)?;
            self.step_ends();
        }
        self.see(Seen::PointBegin);
        let finish = context.wait_for_finish();
        self.see(Seen::PointEnd);
        match finish {
            Finish::Complete | Finish::SoftCancel => Ok(()),
            Finish::Cancelled => Err(self.cancelled()),
        }
    }
}

impl Driver for Actor {
    fn job_type(&self) -> &'static str {
        if self.role.ready.is_some() {
            "mirror"
        } else {
            "backup"
        }
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        let here = tool::current_id();
        let body = *self.body_thread.get_or_init(|| here);
        assert!(here == body && here != self.main_thread);
        self.see(Seen::Begin(Callback::Run));
        self.ask_inside(Callback::Run);
        let result = match self.play(context) {
            Ok(()) => Ok(()),
            Err(Stop(result)) => result,
        };
        self.see(Seen::End(Callback::Run, result.is_ok()));
        result
    }

    fn pause(&self) {
        self.on_body(Callback::Pause);
    }

    fn resume(&self) {
        self.on_body(Callback::Resume);
    }

    fn user_resume(&self) {
        self.on_main(Callback::UserResume, true);
    }

    fn drain(&self) {
        self.on_main(Callback::Drain, true);
    }

    fn drained_poll(&self) -> bool {
        let more = self.role.lingers && !self.lingered.swap(true, UNSEEN);
        // Well means that nothing more is to come.
        self.on_main(Callback::DrainedPoll, !more);
        more
    }

    fn attached_context(&self, _: &Context) {
        self.on_main(Callback::AttachedContext, true);
    }

    fn supports_complete(&self) -> bool {
        self.role.ready.is_some()
    }

    fn complete(&self) {
        self.on_main(Callback::Complete, true);
    }

    fn cancel(&self, force: bool, ready: bool) -> bool {
        let forced = force || !ready || self.role.ready.is_none();
        self.on_main(Callback::Cancel, forced);
        forced
    }

    fn set_speed(&self, _: u64) {
        self.on_main(Callback::SetSpeed, true);
    }

    fn prepare(&self) -> Result<(), JobError> {
        self.on_main(Callback::Prepare, !self.role.prepare_fails);
        if self.role.prepare_fails {
            Err(JobError::new(Errno::IO))
        } else {
            Ok(())
        }
    }

    fn commit(&self) {
        self.on_main(Callback::Commit, true);
    }

    fn abort(&self) {
        self.on_main(Callback::Abort, true);
    }

    fn clean(&self) {
        self.on_main(Callback::Clean, true);
    }

    fn free(&self) {
        self.on_main(Callback::Free, true);
    }
}
