//! The driver: what a job does, as opposed to when it may do it.
//!
//! A driver is the callback table of SEMANTICS.md §3 written as a trait. The engine decides which
//! callback runs, when, on which thread and how often; the driver only acts. Two threads call it,
//! the job's *body*, one thread from its first step to its last, and the manager's *main loop*:
//!
//! | callback | thread | how often | after | never after |
//! |---|---|---|---|---|
//! | [`run`](Driver::run) | body | at most once; never for a job cancelled before its first step | | |
//! | [`pause`](Driver::pause), [`resume`](Driver::resume) | body, inside a pause point or before `run` | alternating, balanced when `run` returns (P17) | | end of `run` |
//! | [`user_resume`](Driver::user_resume) | main loop | once for each pause of the user that a resume or a forced cancel ends; after `cancel`, before the body leaves the pause | | `commit`, `abort` |
//! | [`cancel`](Driver::cancel) | main loop | once for each accepted request, and once when a peer brings a started member down | | `commit`, `abort` |
//! | [`complete`](Driver::complete) | main loop | at most once (decision 17) | | `commit`, `abort` |
//! | [`set_speed`](Driver::set_speed) | main loop | once for each accepted request | | `commit`, `abort` |
//! | [`drain`](Driver::drain) | main loop | once for each drained section that finds a body | | `commit`, `abort` |
//! | [`drained_poll`](Driver::drained_poll) | main loop | before a drained section begins, until it answers `false` | | `commit`, `abort` |
//! | [`attached_context`](Driver::attached_context) | main loop, while the job is quiet | once for each accepted move | | `commit`, `abort` |
//! | [`prepare`](Driver::prepare) | main loop | at most once (P11) | `run` returned success | `commit`, `abort` |
//! | [`commit`](Driver::commit) | main loop | exactly one of the two, once, for every job that ends (P8) | `prepare` of every member succeeded | `abort` |
//! | [`abort`](Driver::abort) | main loop | | end of `run`, if it began | `commit` |
//! | [`clean`](Driver::clean) | main loop | once for every job that ends (P10) | `commit` or `abort` | |
//! | completion function | main loop | once for every job that ends and has one | `clean` | |
//! | [`free`](Driver::free) | main loop; without one, any | once for every job, given up ones included | everything | |
//!
//! No callback is ever called with the engine's lock held (P28), and the main-loop callbacks of all
//! jobs of one manager are serial (P27). The engine asserts this table for every callback of every job; how
//! often a callback comes for requests, the tests compare with the specification (`tests/engine_model`).
//!
//! What may be called from inside:
//!
//! | from | what |
//! |---|---|
//! | the main loop's callbacks | every verb. Verbs of one section (`pause`, queries, `enter`, create, start, `pause_all`, the end of a drained section) happen at once; those that the main loop carries out are posted: accepted or refused then and there, carried out later as tasks of their own, if the job then still accepts them. Nothing nests (decisions 22, 23). What waits answers [`WouldDeadlock`](crate::engine::EngineError::WouldDeadlock) |
//! | the body's callbacks | every verb, also about the job itself; what waits for the job itself answers `WouldDeadlock`, as does a drained section that concerns it |
//! | a [trace sink](crate::trace::TraceSink) | nothing: it is called under the lock |
//!
//! A callback that panics, where panics unwind:
//!
//! | callback | what becomes of it |
//! |---|---|
//! | `run`, `pause`, `resume` | the run is over and has failed: `EIO`, `the driver panicked in run: …` |
//! | `prepare` | it has failed: `EIO`, `the driver panicked in prepare: …` |
//! | `cancel` | the request counts as forced |
//! | `drained_poll` | it has nothing more to say: `false` |
//! | the others, and the completion function | they have no way to fail and count as done; what was said is logged ([`tracing`], level error) |
//!
//! The main loop, the other members and other jobs go on.
//!
//! What the engine expects in return (SEMANTICS.md §10.2): `run` reaches a pause point, a sleep, a
//! wait or its end after boundedly many steps of its own; after a forced cancel it returns without
//! further waits, except for its own I/O in flight; it tests its own condition again after every
//! sleep, wait and pause point.

use std::error::Error;
use std::fmt;
use std::io;
use std::num::NonZeroI32;

use crate::engine::Context;
use crate::sync::Arc;

pub use crate::engine::context::{Finish, Flow, Ready, RunContext, Running};
pub use crate::engine::io_error::{AfterError, IoSide, Retries};
pub use blockjob_model::{ErrorAction, ErrorPolicy};

/// What a job does. See the [module](self) for threads and multiplicity.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a driver",
    label = "a job needs a driver",
    note = "implement `Driver` for a type of your own: `job_type` names the job, `run` is its work; every other \
            callback has a default",
    note = "a driver that its creator keeps a hold of goes into an `Arc`"
)]
#[doc(alias = "BlockJobDriver")]
pub trait Driver: Send + Sync + 'static {
    /// The job type as QMP spells it: `backup`, `mirror`, `commit`, `stream`, `create` … Asked
    /// for when the job is created, by the thread that creates it.
    #[doc(alias = "BlockJobType")]
    fn job_type(&self) -> &'static str;

    /// The work itself. Body thread, at most once.
    ///
    /// # Errors
    ///
    /// An error makes the whole group abort (SEMANTICS.md §6.5). `Ok` after a forced cancel counts
    /// as `ECANCELED`.
    #[doc(alias = "start")]
    #[doc(alias = "CoroutineEntry")]
    #[doc(alias = "block_job_completed")]
    fn run(&self, context: RunContext<'_>) -> Result<(), JobError>;

    /// Quiesce. Body thread, at the start of a pause that a pause point found.
    ///
    /// The [lane gate](RunContext::gate) is closed: no lane is let in any more. Those that were may still be in
    /// the middle of their piece, or only about to begin it; the engine waits for them after this has
    /// returned and before it acknowledges the pause (P18). So this is where lanes that wait for something
    /// are told not to. I/O that no gate counts is over when this returns.
    fn pause(&self) {}

    /// The counterpart of [`pause`](Driver::pause): once for each, also when the pause evaporated
    /// meanwhile or ended by a cancel. Body thread.
    fn resume(&self) {}

    /// The user's pause is over, by a resume or by a forced cancel: once for each of them, before the
    /// job leaves the pause. Not called when the run ends by itself (decision 40). Main loop.
    fn user_resume(&self) {}

    /// Whether the job has something to complete: jobs that become ready answer `true`. Asked for
    /// when the job is created, by the thread that creates it.
    fn supports_complete(&self) -> bool {
        false
    }

    /// The user asked a ready job to complete. Main loop, at most once per job (decision 17); the
    /// body learns it from [`wait_for_finish`](RunContext::wait_for_finish).
    fn complete(&self) {}

    /// The user, or the failure of a group member, asks the job to stop. Main loop.
    ///
    /// `force` is the kind of request, `ready` whether the job was ready (or in standby) when it
    /// was made. Returns whether this job treats the request as forced: unless overridden, every
    /// request but a soft one of a ready job that can be completed, which finishes where it stands
    /// (SEMANTICS.md §5.4). A driver that overrides this keeps to it: a job that can be completed and
    /// gives up on a soft cancel while ready is one the specification does not know. The engine
    /// takes a forced request, and any request for a job that is not ready, cannot be completed, or
    /// whose run is over, as forced whatever is returned.
    fn cancel(&self, force: bool, ready: bool) -> bool {
        force || !(ready && self.supports_complete())
    }

    /// The speed limit changed, in bytes per second, 0 for none. Main loop. The limit that a job is
    /// created with is no change; [`RunContext::speed_bytes_per_s`] has it.
    fn set_speed(&self, speed_bytes_per_s: u64) {
        let _ = speed_bytes_per_s;
    }

    /// Somebody waits for the job to be quiet (SEMANTICS.md §4.7): hurry what is under way elsewhere. Main
    /// loop, once for each [drained section](crate::engine::DrainedSection) that finds the run going
    /// on.
    fn drain(&self) {}

    /// Whether more is still to be expected of a job that is parked or ended, from work that no
    /// [lane gate](RunContext::gate) counts. While it answers `true` the section does not begin, and
    /// asks again a little later. Main loop.
    fn drained_poll(&self) -> bool {
        false
    }

    /// The job goes on in `context`: whatever works for it elsewhere moves along. Main loop, while the
    /// job is parked or has not begun, once for each move.
    #[doc(alias = "attached_aio_context")]
    fn attached_context(&self, context: &Context) {
        let _ = context;
    }

    /// The last step that may fail, called when every member's run has succeeded. Main loop.
    ///
    /// # Errors
    ///
    /// The whole group aborts; this member keeps its error (decision 2).
    #[doc(alias = "block_job_defer_to_main_loop")]
    #[doc(alias = "BlockJobDeferToMainLoopFn")]
    fn prepare(&self) -> Result<(), JobError> {
        Ok(())
    }

    /// Make the result permanent: every member has prepared. Cannot fail. Main loop.
    fn commit(&self) {}

    /// Undo: called for members that prepared, that did not, and that never ran. Cannot fail. Main
    /// loop.
    fn abort(&self) {}

    /// Release what the job holds, directly after its commit or abort. Main loop.
    fn clean(&self) {}

    /// The engine lets go of the job: the last callback of every job, also of one that was given up
    /// before its start, which had no other. Main loop, after the status `null`; once that is gone,
    /// on whatever thread lets go of the job last.
    ///
    /// The driver is dropped then, unless somebody has a handle of the job or a clone of its lane gate, and
    /// with the last of them otherwise: what is not to stay open as long as that is closed here. No thread of
    /// the engine keeps it.
    fn free(&self) {}
}

macro_rules! forward {
    () => {
        fn job_type(&self) -> &'static str {
            (**self).job_type()
        }
        fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
            (**self).run(context)
        }
        fn pause(&self) {
            (**self).pause();
        }
        fn resume(&self) {
            (**self).resume();
        }
        fn supports_complete(&self) -> bool {
            (**self).supports_complete()
        }
        fn complete(&self) {
            (**self).complete();
        }
        fn cancel(&self, force: bool, ready: bool) -> bool {
            (**self).cancel(force, ready)
        }
        fn set_speed(&self, speed_bytes_per_s: u64) {
            (**self).set_speed(speed_bytes_per_s);
        }
        fn drain(&self) {
            (**self).drain();
        }
        fn drained_poll(&self) -> bool {
            (**self).drained_poll()
        }
        fn attached_context(&self, context: &Context) {
            (**self).attached_context(context);
        }
        fn prepare(&self) -> Result<(), JobError> {
            (**self).prepare()
        }
        fn commit(&self) {
            (**self).commit();
        }
        fn abort(&self) {
            (**self).abort();
        }
        fn clean(&self) {
            (**self).clean();
        }
        fn user_resume(&self) {
            (**self).user_resume();
        }
        fn free(&self) {
            (**self).free();
        }
    };
}

/// A driver that its creator keeps a hold of.
impl<D: Driver + ?Sized> Driver for Arc<D> {
    forward!();
}

/// A driver chosen at run time.
impl<D: Driver + ?Sized> Driver for Box<D> {
    forward!();
}

/// An error number: positive, never zero, as `errno(3)` has them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(NonZeroI32);

impl Errno {
    /// Operation canceled: the result of a job that was cancelled.
    pub const CANCELED: Errno = Errno::constant(libc::ECANCELED);
    /// Input/output error.
    pub const IO: Errno = Errno::constant(libc::EIO);
    /// No space left on device.
    pub const NO_SPACE: Errno = Errno::constant(libc::ENOSPC);
    /// Operation not permitted.
    pub const NOT_PERMITTED: Errno = Errno::constant(libc::EPERM);
    /// Invalid argument.
    pub const INVALID: Errno = Errno::constant(libc::EINVAL);

    const fn constant(raw: i32) -> Errno {
        match NonZeroI32::new(raw) {
            Some(number) if raw > 0 => Errno(number),
            // Reached at compile time only: every caller passes a constant of the C library.
            _ => panic!("an error number is positive"),
        }
    }

    /// The error number `raw`, if it is one: numbers that are zero or negative are not.
    pub const fn new(raw: i32) -> Option<Errno> {
        match NonZeroI32::new(raw) {
            Some(number) if raw > 0 => Some(Errno(number)),
            _ => None,
        }
    }

    /// The number, positive.
    pub const fn get(self) -> i32 {
        self.0.get()
    }

    /// The C library's sentence for it, `strerror(3)`.
    pub fn text(self) -> String {
        let with_number = io::Error::from_raw_os_error(self.get()).to_string();
        match with_number.rfind(" (os error ") {
            Some(end) => with_number[..end].to_owned(),
            None => with_number,
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Errno({} {:?})", self.get(), self.text())
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text())
    }
}

/// Why a job failed: an error number, and the driver's own words where it has better ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// The error number.
    pub errno: Errno,
    /// The driver's words; absent means the C library's sentence for [`errno`](Self::errno).
    pub message: Option<String>,
}

impl JobError {
    /// An error with the C library's text.
    pub const fn new(errno: Errno) -> JobError {
        JobError {
            errno,
            message: None,
        }
    }

    /// An error with the driver's own text.
    pub fn with_message(errno: Errno, message: impl Into<String>) -> JobError {
        JobError {
            errno,
            message: Some(message.into()),
        }
    }

    /// The result of a cancelled job: `ECANCELED`, "Operation canceled".
    pub const fn canceled() -> JobError {
        JobError::new(Errno::CANCELED)
    }

    /// The text that queries and events report.
    pub fn text(&self) -> String {
        match &self.message {
            Some(message) => message.clone(),
            None => self.errno.text(),
        }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => formatter.write_str(message),
            None => write!(formatter, "{}", self.errno),
        }
    }
}

impl Error for JobError {}

impl From<Errno> for JobError {
    fn from(errno: Errno) -> JobError {
        JobError::new(errno)
    }
}

impl From<io::Error> for JobError {
    /// Keeps the error number where the error has one; else `EIO` with the error's text.
    fn from(error: io::Error) -> JobError {
        match error.raw_os_error().and_then(Errno::new) {
            Some(errno) => JobError::new(errno),
            None => JobError::with_message(Errno::IO, error.to_string()),
        }
    }
}

/// How a job ended: the value the completion function gets.
pub type JobOutcome = Result<(), JobError>;
