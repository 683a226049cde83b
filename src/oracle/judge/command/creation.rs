//! What a QMP command that makes jobs asks for: which jobs, of which kind, and what may become of them.
//!
//! Source: SEMANTICS.md §2.1, §6.1, §8; the argument lists are those of QEMU's schema.

use blockjob_model::ErrorAction;
use blockjob_model::state::JobSpec;

use crate::oracle::reader::json::{AllMembers, Piece};

/// New jobs, from one command.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The jobs, in the order of the actions.
    pub jobs: Vec<Planned>,
    /// They share one transaction.
    pub grouped: bool,
    /// Through `transaction`.
    pub transaction: bool,
    /// The names of the command's own arguments; empty for a transaction.
    pub arguments: Vec<String>,
}

/// A job a command is to make.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The id it was given, or that of its device; `None`: nothing that could be one.
    pub id: Option<String>,
    /// The id was given; else it is the name of whatever backend the device belongs to.
    pub explicit: bool,
    /// What kind of job, as QMP names it.
    pub kind: &'static str,
    /// What it may be. More than one where the command does not tell.
    pub specs: Vec<JobSpec>,
    /// What may become of its I/O errors.
    pub policy: Policy,
    /// The rate limit, bytes a second.
    pub speed: i128,
}

/// What may become of I/O errors (SEMANTICS.md §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Of reads.
    pub read: OnError,
    /// Of writes.
    pub write: OnError,
}

impl Policy {
    /// Of a job nobody here knows.
    pub const UNKNOWN: Policy = Policy {
        read: OnError::Unknown,
        write: OnError::Unknown,
    };
}

/// A policy, as the options `on-…-error` name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Fail.
    Report,
    /// Go on.
    Ignore,
    /// Pause.
    Stop,
    /// Pause for want of space, else fail. For jobs `auto` is the same.
    Enospc,
    /// Not known.
    Unknown,
    /// This side has no such errors (a stream only reads).
    Never,
}

impl OnError {
    fn from_argument(piece: Piece<'_>) -> OnError {
        match piece.as_str().as_deref() {
            Some("report") | None => OnError::Report,
            Some("ignore") => OnError::Ignore,
            Some("stop") => OnError::Stop,
            Some("enospc" | "auto") => OnError::Enospc,
            Some(_) => OnError::Unknown,
        }
    }

    /// Whether it may choose `action`.
    pub const fn allows(self, action: ErrorAction) -> bool {
        match self {
            OnError::Report => matches!(action, ErrorAction::Report),
            OnError::Ignore => matches!(action, ErrorAction::Ignore),
            OnError::Stop => matches!(action, ErrorAction::Stop),
            OnError::Enospc => matches!(action, ErrorAction::Stop | ErrorAction::Report),
            OnError::Unknown => true,
            OnError::Never => false,
        }
    }

    /// As the option spells it.
    pub const fn name(self) -> &'static str {
        match self {
            OnError::Report => "report",
            OnError::Ignore => "ignore",
            OnError::Stop => "stop",
            OnError::Enospc => "enospc",
            OnError::Unknown => "unknown",
            OnError::Never => "none",
        }
    }
}

/// A command, or an action of a transaction, that makes a job.
struct CreateCommand {
    name: &'static str,
    kind: &'static str,
    /// Its `job-id` may be left out for its device's name.
    device_default: bool,
    shape: Shape,
}

/// What the jobs of a command are like.
#[derive(Clone, Copy)]
enum Shape {
    Backup,
    Mirror,
    Stream,
    Commit,
    /// Not a block job: no `BLOCK_JOB_*` events, dismissed by its user, finalized by itself.
    Plain,
    /// The same; whether it dismisses itself differs.
    Snapshot,
}

const CREATE_COMMANDS: [CreateCommand; 11] = [
    create("blockdev-backup", "backup", Shape::Backup),
    create("drive-backup", "backup", Shape::Backup),
    create("blockdev-mirror", "mirror", Shape::Mirror),
    create("drive-mirror", "mirror", Shape::Mirror),
    create("block-stream", "stream", Shape::Stream),
    create("block-commit", "commit", Shape::Commit),
    create("blockdev-create", "create", Shape::Plain),
    create("x-blockdev-amend", "amend", Shape::Plain),
    create("snapshot-save", "snapshot-save", Shape::Snapshot),
    create("snapshot-load", "snapshot-load", Shape::Snapshot),
    create("snapshot-delete", "snapshot-delete", Shape::Snapshot),
];

const fn create(name: &'static str, kind: &'static str, shape: Shape) -> CreateCommand {
    CreateCommand {
        name,
        kind,
        device_default: !matches!(shape, Shape::Plain | Shape::Snapshot),
        shape,
    }
}

/// A block job that nobody has to tell to finish, with these flags.
const fn spec(auto_finalize: bool, auto_dismiss: bool) -> JobSpec {
    JobSpec {
        auto_finalize,
        auto_dismiss,
        can_complete: false,
        needs_finish: false,
        block: true,
        internal: false,
        // QMP does not show it.
        completion: false,
    }
}

/// A block job that becomes ready and has to be told to finish.
const fn converging(spec: JobSpec) -> JobSpec {
    JobSpec {
        can_complete: true,
        needs_finish: true,
        ..spec
    }
}

/// Not a block job.
const fn no_block(spec: JobSpec) -> JobSpec {
    JobSpec {
        block: false,
        ..spec
    }
}

/// Everything a job of unknown making may be.
pub fn unknown_specs() -> Vec<JobSpec> {
    let mut specs = Vec::new();
    for auto_finalize in [true, false] {
        for auto_dismiss in [true, false] {
            let plain = spec(auto_finalize, auto_dismiss);
            specs.extend([plain, converging(plain)]);
        }
    }
    specs.extend([no_block(spec(true, false)), no_block(spec(true, true))]);
    specs
}

/// Whether the command `name` makes a job.
pub fn makes_jobs(name: &str) -> bool {
    CREATE_COMMANDS.iter().any(|command| command.name == name)
}

/// What the command `name` makes; `None`: it makes no jobs.
pub(super) fn asked(name: &str, arguments: Piece<'_>) -> Option<Creation> {
    if name == "transaction" {
        return Some(transaction(arguments));
    }
    let command = CREATE_COMMANDS
        .iter()
        .find(|command| command.name == name)?;
    let arguments = AllMembers::of(arguments);
    Some(Creation {
        jobs: vec![planned(command, &arguments)],
        grouped: false,
        transaction: false,
        arguments: arguments.names().map(str::to_owned).collect(),
    })
}

fn transaction(arguments: Piece<'_>) -> Creation {
    let members = AllMembers::of(arguments);
    let grouped = AllMembers::of(members.get("properties"))
        .get("completion-mode")
        .as_str()
        .as_deref()
        == Some("grouped");
    let actions: Vec<AllMembers<'_>> = members.get("actions").read().unwrap_or_default();
    let jobs = actions
        .iter()
        .filter_map(|action| {
            let name = action.get("type").as_str()?;
            let command = CREATE_COMMANDS
                .iter()
                .find(|command| command.name == name)?;
            Some(planned(command, &AllMembers::of(action.get("data"))))
        })
        .collect();
    Creation {
        jobs,
        grouped,
        transaction: true,
        arguments: Vec::new(),
    }
}

fn planned(command: &CreateCommand, arguments: &AllMembers<'_>) -> Planned {
    let flag = |name: &str| arguments.get(name).as_bool().unwrap_or(true);
    let plain = spec(flag("auto-finalize"), flag("auto-dismiss"));
    let on = |name: &str| OnError::from_argument(arguments.get(name));
    let specs = match command.shape {
        Shape::Backup | Shape::Stream => vec![plain],
        Shape::Mirror => vec![converging(plain)],
        // The command does not say whether the top is active: that makes it a mirror inside.
        Shape::Commit => vec![plain, converging(plain)],
        Shape::Plain => vec![no_block(spec(true, false))],
        Shape::Snapshot => vec![no_block(spec(true, false)), no_block(spec(true, true))],
    };
    let policy = match command.shape {
        Shape::Backup | Shape::Mirror => Policy {
            read: on("on-source-error"),
            write: on("on-target-error"),
        },
        Shape::Stream => Policy {
            read: on("on-error"),
            write: OnError::Never,
        },
        Shape::Commit => Policy {
            read: on("on-error"),
            write: on("on-error"),
        },
        Shape::Plain | Shape::Snapshot => Policy::UNKNOWN,
    };
    let given = arguments.get("job-id").as_str();
    let explicit = given.is_some();
    let id = given.or_else(|| {
        command
            .device_default
            .then(|| arguments.get("device").as_str())
            .flatten()
    });
    Planned {
        id: id.map(std::borrow::Cow::into_owned),
        explicit,
        kind: command.kind,
        specs,
        policy,
        speed: arguments.get("speed").as_integer().unwrap_or(0),
    }
}

/// Every such command, by name.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    CREATE_COMMANDS.iter().map(|command| command.name)
}
