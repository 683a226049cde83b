//! The words in which the specification, the engine and the oracle speak of a job's life:
//! driver callbacks, events, requests and replies.
//!
//! Source: SEMANTICS.md §2 (requests), §3 (callbacks), §7 (events).

use core::fmt;

use crate::verb::Refusal;

/// A driver callback, or the completion function of whoever made the job (SEMANTICS.md §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Callback {
    /// The body; at most once per job, on its worker.
    Run,
    /// Quiesce before a pause is acknowledged; on the worker.
    Pause,
    /// Take up work again; on the worker, once per `Pause`.
    Resume,
    /// The user's pause is over, before `Resume`; on the main loop.
    UserResume,
    /// A ready job was told to finish; on the main loop.
    Complete,
    /// The job is being cancelled; on the main loop.
    Cancel,
    /// The rate limit changed; on the main loop.
    SetSpeed,
    /// Hurry what the job has under way elsewhere, because somebody waits for it to be quiet; on
    /// the main loop, any number of times.
    Drain,
    /// Whether more is still to be expected of it; on the main loop, any number of times.
    DrainedPoll,
    /// The job, which is quiet, goes on elsewhere; on the main loop.
    AttachedContext,
    /// Everything that may still fail; on the main loop, before any commit of the group.
    Prepare,
    /// Make it so; on the main loop, cannot fail.
    Commit,
    /// Undo; on the main loop, cannot fail.
    Abort,
    /// Release what creation took; on the main loop, after commit or abort.
    Clean,
    /// The creator's completion function; on the main loop, after clean.
    Completion,
    /// The driver is let go of: the last callback of every job, given up ones included; on the
    /// main loop, after `null`.
    Free,
}

impl Callback {
    /// Every callback.
    pub const ALL: [Callback; 16] = [
        Callback::Run,
        Callback::Pause,
        Callback::Resume,
        Callback::UserResume,
        Callback::Complete,
        Callback::Cancel,
        Callback::SetSpeed,
        Callback::Drain,
        Callback::DrainedPoll,
        Callback::AttachedContext,
        Callback::Prepare,
        Callback::Commit,
        Callback::Abort,
        Callback::Clean,
        Callback::Completion,
        Callback::Free,
    ];

    /// The name used in native traces.
    pub const fn name(self) -> &'static str {
        match self {
            Callback::Run => "run",
            Callback::Pause => "pause",
            Callback::Resume => "resume",
            Callback::UserResume => "user-resume",
            Callback::Complete => "complete",
            Callback::Cancel => "cancel",
            Callback::SetSpeed => "set-speed",
            Callback::Drain => "drain",
            Callback::DrainedPoll => "drained-poll",
            Callback::AttachedContext => "attached-context",
            Callback::Prepare => "prepare",
            Callback::Commit => "commit",
            Callback::Abort => "abort",
            Callback::Clean => "clean",
            Callback::Completion => "completion",
            Callback::Free => "free",
        }
    }

    /// The callback a native trace spells `name`, if there is one.
    pub fn from_name(name: &str) -> Option<Callback> {
        Callback::ALL
            .into_iter()
            .find(|callback| callback.name() == name)
    }

    /// Whether it runs on the main loop; the others run on the job's worker.
    pub const fn on_main_loop(self) -> bool {
        !matches!(self, Callback::Run | Callback::Pause | Callback::Resume)
    }
}

impl fmt::Display for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the error policy chose to do about an I/O error (SEMANTICS.md §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[doc(alias = "BlockErrorAction")]
pub enum ErrorAction {
    /// The run will end with the error.
    Report,
    /// The run goes on.
    Ignore,
    /// The job pauses until its user resumes it.
    Stop,
}

impl ErrorAction {
    /// The name as QMP's `BlockErrorAction` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorAction::Report => "report",
            ErrorAction::Ignore => "ignore",
            ErrorAction::Stop => "stop",
        }
    }

    /// The action QMP spells `name`, if there is one.
    pub fn from_name(name: &str) -> Option<ErrorAction> {
        [ErrorAction::Report, ErrorAction::Ignore, ErrorAction::Stop]
            .into_iter()
            .find(|action| action.name() == name)
    }
}

/// An announcement beside the status changes (QMP's `BLOCK_JOB_*` events).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Event {
    /// `BLOCK_JOB_READY`, right after the status `ready`.
    Ready,
    /// `BLOCK_JOB_PENDING`, right after the status `pending` of a job its user finalizes.
    Pending,
    /// `BLOCK_JOB_COMPLETED`: the job ended and was not cancelled by force.
    Completed {
        /// Whether it carries an error.
        error: bool,
    },
    /// `BLOCK_JOB_CANCELLED`: the job ended and had been cancelled by force (P16).
    Cancelled,
    /// `BLOCK_JOB_ERROR`: an I/O error, and what becomes of it.
    Error {
        /// What the policy chose.
        action: ErrorAction,
    },
}

impl Event {
    /// The name as QMP spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Event::Ready => "BLOCK_JOB_READY",
            Event::Pending => "BLOCK_JOB_PENDING",
            Event::Completed { .. } => "BLOCK_JOB_COMPLETED",
            Event::Cancelled => "BLOCK_JOB_CANCELLED",
            Event::Error { .. } => "BLOCK_JOB_ERROR",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Event::Completed { error: true } => f.write_str(" with an error"),
            Event::Completed { error: false } => f.write_str(" without an error"),
            Event::Error { action } => write!(f, " with action {}", action.name()),
            _ => Ok(()),
        }
    }
}

/// What somebody asks of one job.
///
/// `block` says that the request came through a `block-job-*` command, which sees block jobs only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    /// Bring a constructed job into being (`→ created`).
    Create,
    /// Start it.
    Start,
    /// Give it up before its start (`created → null`).
    EarlyFail,
    /// Pause by the user.
    Pause,
    /// Withdraw the user's pause.
    Resume,
    /// Cancel.
    Cancel {
        /// By force; else the job finishes where it stands, if it can.
        force: bool,
    },
    /// Tell a ready job to finish.
    Complete,
    /// Decide the transaction.
    Finalize,
    /// Forget a concluded job.
    Dismiss,
    /// Set the rate limit.
    SetSpeed {
        /// A negative number was given.
        negative: bool,
        /// The new limit is a reason to hurry: it ends a sleep that the old one caused (§9.1).
        hurries: bool,
    },
    /// Change options (QEMU 8.2 and later).
    Change,
    /// Hold the job as part of `pause_all`; `token` tells several holders apart (decision 12).
    Hold {
        /// Which of at most eight outstanding `pause_all` this is.
        token: u8,
    },
    /// Release what `Hold` with the same token took.
    Release {
        /// The token of the hold.
        token: u8,
    },
    /// Begin a drained section: hold the job as with [`Hold`](Request::Hold), and wait until it is
    /// quiet. Jobs created meanwhile begin held (35).
    DrainBegin {
        /// Which of at most eight outstanding holds and drains this is.
        token: u8,
    },
    /// End the drained section with the same token.
    DrainEnd {
        /// The token of the section.
        token: u8,
    },
    /// Move the job, which a drained section keeps quiet, to another executor (§4.8).
    AttachContext,
    /// End its sleep or wait, or the next one if it is busy (§4.4, 11).
    Enter,
    /// `io-status` to `ok` without resuming (the VM's `cont`, §8).
    ResetIoStatus,
    /// Look at it.
    Query,
}

impl Request {
    /// The name used in native traces and explanations.
    pub const fn name(self) -> &'static str {
        match self {
            Request::Create => "create",
            Request::Start => "start",
            Request::EarlyFail => "early-fail",
            Request::Pause => "pause",
            Request::Resume => "resume",
            Request::Cancel { .. } => "cancel",
            Request::Complete => "complete",
            Request::Finalize => "finalize",
            Request::Dismiss => "dismiss",
            Request::SetSpeed { .. } => "set-speed",
            Request::Change => "change",
            Request::Hold { .. } => "pause-all",
            Request::Release { .. } => "resume-all",
            Request::DrainBegin { .. } => "drained-begin",
            Request::DrainEnd { .. } => "drained-end",
            Request::AttachContext => "attach-context",
            Request::Enter => "enter",
            Request::ResetIoStatus => "reset-io-status",
            Request::Query => "query",
        }
    }
}

impl Request {
    /// A change of speed that ends no sleep.
    pub const SET_SPEED: Request = Request::SetSpeed {
        negative: false,
        hurries: false,
    };
    /// A change of speed that ends a sleep.
    pub const SET_SPEED_UP: Request = Request::SetSpeed {
        negative: false,
        hurries: true,
    };
    /// A negative speed.
    pub const SET_SPEED_NEGATIVE: Request = Request::SetSpeed {
        negative: true,
        hurries: false,
    };
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Request::Cancel { force: true } => f.write_str(" by force"),
            Request::Cancel { force: false } => f.write_str(" softly"),
            Request::SetSpeed { negative: true, .. } => f.write_str(" to a negative value"),
            _ => Ok(()),
        }
    }
}

/// How a request ended.
pub type Reply = Result<(), Refusal>;
