//! What is random: the jobs a program has, and what it does with them.

use blockjob_model::state::JobSpec;
use blockjob_model::{Callback, ErrorPolicy, Request};

/// Jobs of a program, at most.
pub const JOBS_MAX: usize = 6;
/// Transactions of a program, at most.
pub const TRANSACTIONS_MAX: usize = 3;
/// Outstanding `pause_all`s at a time, at most; as many drained sections.
pub const TOKENS: u8 = 2;

/// What is settled about a program before its first operation.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The jobs, in the order in which members of the same transaction are created.
    pub jobs: Vec<JobPlan>,
    /// Verbs are called on the main loop's own thread; else on another.
    pub on_main_thread: bool,
}

/// What is settled about a job before it is created.
#[derive(Clone, Debug)]
pub struct JobPlan {
    /// Its transaction; alone if it has none.
    pub transaction: Option<usize>,
    pub spec: JobSpec,
    /// Whether its `prepare` succeeds.
    pub prepares: bool,
    /// How often its `drained_poll` answers that more is to come.
    pub polls: u8,
    /// What its callbacks do beside their work.
    pub mischief: Vec<Mischief>,
}

impl JobPlan {
    /// How often each mischief may be done.
    pub fn mischief_at_first(&self) -> Vec<u8> {
        self.mischief
            .iter()
            .map(|mischief| mischief.times)
            .collect()
    }
}

/// A callback calls back into the engine.
#[derive(Clone, Copy, Debug)]
pub struct Mischief {
    pub callback: Callback,
    pub deed: Deed,
    /// How often at most, so that two callbacks do not call each other for ever.
    pub times: u8,
}

/// What a callback does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It asks something of a job.
    Ask(usize, Verb),
    /// It starts what a job belongs to.
    Start(usize),
    /// It waits for its own job, which it must not.
    Wait,
}

/// What can be asked of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Pause,
    Resume,
    Cancel { force: bool },
    Complete,
    Finalize,
    Dismiss,
    SetSpeed { bytes_per_s: i64 },
    Enter,
    ResetIoStatus,
}

impl Verb {
    pub const SPEEDS: [i64; 4] = [-1, 0, 1 << 10, 1 << 20];

    /// The specification's word for it; `speed` is the job's limit so far.
    pub fn request(self, speed: u64) -> Request {
        match self {
            Verb::Pause => Request::Pause,
            Verb::Resume => Request::Resume,
            Verb::Cancel { force } => Request::Cancel { force },
            Verb::Complete => Request::Complete,
            Verb::Finalize => Request::Finalize,
            Verb::Dismiss => Request::Dismiss,
            Verb::SetSpeed { bytes_per_s } => Request::SetSpeed {
                negative: bytes_per_s < 0,
                // Lifted or raised (SEMANTICS.md §9.1); from none to one counts as lowered (34).
                hurries: bytes_per_s == 0 || (speed != 0 && bytes_per_s.unsigned_abs() > speed),
            },
            Verb::Enter => Request::Enter,
            Verb::ResetIoStatus => Request::ResetIoStatus,
        }
    }

    /// It happens in the caller's own section, inside callbacks too.
    pub const fn is_one_section(self) -> bool {
        matches!(self, Verb::Pause | Verb::Enter | Verb::ResetIoStatus)
    }

    /// Internal jobs have no user: nobody finds them to ask this (SEMANTICS.md §2.1).
    pub const fn needs_id(self) -> bool {
        matches!(self, Verb::Complete | Verb::Finalize | Verb::Dismiss)
    }
}

/// What is wrong with the options of a job that is to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    InvalidId,
    /// The id of this job, which is listed.
    TakenId(usize),
    /// Found late: the job is given up.
    NegativeSpeed,
}

/// The next step of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    Point,
    Sleep { ms: u64 },
    Wait,
    Io,
    Error { policy: ErrorPolicy, no_space: bool },
    Converge,
    Finish,
    Return { well: bool },
}

/// One operation of a program.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    Create(usize),
    CreateBadly(usize, Flaw),
    /// Starts what this job belongs to: its transaction, or itself.
    Start(usize),
    /// Gives it up.
    GiveUp(usize),
    /// Where everybody is gone who belonged together with this job, they may all be created again, by
    /// the same names.
    Renew(usize),
    Ask(usize, Verb),
    PauseAll(u8),
    ResumeAll(u8),
    /// A drained section of one job, or of every job.
    DrainBegin(u8, Option<usize>),
    DrainEnd(u8),
    /// Moves the job to another context, by a drained section.
    Attach(u8, usize),
    /// Time passes until the next timer fires.
    Tick,
    Drive(usize, Drive),
}
