//! The trace: every step that the specification names, for whoever wants to judge it.
//!
//! The engine itself records statuses and events, inside the critical sections that make them
//! true. Calls, returns, callbacks and I/O are recorded by wrappers around it: an engine judged on
//! its own word alone would prove little.

mod native;
mod recorded;

use blockjob_model::{Callback, Event, Status};

pub use native::TraceWriter;
pub use recorded::{
    JobRecorder, Recorded, RecordingCreatedJob, RecordingDrainedSection, RecordingHandle,
    RecordingManager, RecordingTransaction,
};

/// Takes the entries of a trace. Called with the engine's lock held and from any thread: it must
/// not call the engine, and should not be slow. It must not panic either: on the main loop's thread that is the end of the
/// [main loop](crate::engine::MainLoop), on a job's own the job may never come to its end.
pub trait TraceSink: Send + Sync {
    /// One more entry.
    fn record(&self, entry: &TraceEntry<'_>);

    /// Entries that are one step: a status and the event that announces it. A sink that takes
    /// entries from several threads lets no other entry come between them.
    fn record_together(&self, entries: &[TraceEntry<'_>]) {
        for entry in entries {
            self.record(entry);
        }
    }
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceEntry<'a> {
    /// The id of the job it concerns; none where it concerns several.
    pub job: Option<&'a str>,
    /// The name of the job's transaction, if it has one.
    pub group: Option<&'a str>,
    /// What happened.
    pub step: TraceStep<'a>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceStep<'a> {
    /// Somebody asks for something.
    Call(Call<'a>),
    /// The answer.
    Return {
        /// The verb that was called, as in its [`Call`].
        verb: &'static str,
        /// It was asked from inside a callback of the main loop: the answer says that it was accepted, and
        /// it is carried out later, if the job then still accepts it.
        posted: bool,
        /// The error's class and text, if it is one.
        error: Option<(&'a str, &'a str)>,
    },
    /// The job's status changed.
    Status(Status),
    /// An event.
    Event(Event, EventDetail<'a>),
    /// A driver callback or the completion function begins.
    CallbackBegin(Callback),
    /// It ends.
    CallbackEnd {
        /// Which.
        callback: Callback,
        /// Whether it succeeded; for `cancel`, whether the cancel is forced.
        ok: bool,
        /// The error's text.
        error: Option<&'a str>,
    },
    /// A piece of I/O begins.
    IoBegin(Io),
    /// It ends.
    IoEnd {
        /// Which.
        io: Io,
        /// Whether it succeeded.
        ok: bool,
    },
}

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// A job is created.
    Create {
        /// The driver's type.
        job_type: &'a str,
        /// The group decides by itself.
        auto_finalize: bool,
        /// The job dismisses itself.
        auto_dismiss: bool,
        /// The driver has a `complete`.
        can_complete: bool,
        /// The job has a completion function.
        completion: bool,
        /// It is a block job.
        block: bool,
        /// It is internal: `job` is a name that is no id.
        internal: bool,
        /// The speed limit it begins with, 0 for none.
        speed_bytes_per_s: i64,
    },
    /// `cancel`.
    Cancel {
        /// By force.
        force: bool,
    },
    /// `set-speed`.
    SetSpeed {
        /// The limit, 0 for none.
        bytes_per_s: i64,
    },
    /// `pause-all`, `drained-begin` and what ends them, `resume-all`, `drained-end`.
    Numbered {
        /// Which of the four.
        verb: &'static str,
        /// Tells several at a time apart, and what ends one from what ends another.
        token: u64,
    },
    /// Any other: `start`, `early-fail`, `pause`, `resume`, `complete`, `finalize`, `dismiss`,
    /// `reset-io-status`, `attach-context`.
    Plain(&'static str),
}

impl Call<'_> {
    /// The verb's name.
    pub fn verb(&self) -> &'static str {
        match self {
            Call::Create { .. } => "create",
            Call::Cancel { .. } => "cancel",
            Call::SetSpeed { .. } => "set-speed",
            Call::Numbered { verb, .. } | Call::Plain(verb) => verb,
        }
    }
}

/// The numbers of an event (SEMANTICS.md §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventDetail<'a> {
    /// The driver's type.
    pub job_type: &'a str,
    /// Bytes in total.
    pub len_bytes: u64,
    /// Bytes done.
    pub offset_bytes: u64,
    /// The speed limit, 0 for none.
    pub speed_bytes_per_s: u64,
    /// The error's text, if the job failed.
    pub error: Option<&'a str>,
    /// `read` or `write`, for an I/O error.
    pub operation: Option<&'a str>,
}

/// A piece of I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// `read`, `write` or `copy`.
    pub op: &'static str,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How much it is, in bytes.
    pub bytes: u64,
}
