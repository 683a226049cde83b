//! What a QMP command asks of jobs, and whether its arguments are in order.
//!
//! Source: SEMANTICS.md §2, §6.1; the argument lists are those of QEMU's schema.

use blockjob_model::state::JobSpec;
use blockjob_model::{ErrorAction, Request, Verb};

use crate::oracle::reader::json::{AllMembers, Piece};
use crate::oracle::reader::qmp::Message;

/// What a command asks.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Something of one job.
    Verb(VerbAsk),
    /// A list of the jobs; `block`: of block jobs only.
    Query {
        /// `query-block-jobs`.
        block: bool,
    },
    /// New jobs.
    Create(Creation),
    /// The end of the daemon, which cancels every job by force.
    Quit,
    /// The guest goes on: error states are forgotten, pauses are not (SEMANTICS.md §8).
    Continue,
    /// A device goes away, which cancels the jobs on it softly (§5.7).
    Unplug,
    /// A line for the human monitor, which has commands for jobs of its own.
    Human(Option<VerbAsk>),
    /// The handshake.
    Capabilities,
    /// Nothing that concerns jobs.
    Other,
}

/// Something asked of one job.
#[derive(Clone, Debug)]
pub struct VerbAsk {
    /// What.
    pub request: Request,
    /// As the verb table calls it.
    pub verb: Verb,
    /// It came through a `block-job-*` command.
    pub block: bool,
    /// The job's id, where the arguments name one.
    pub id: Option<String>,
    /// The new rate limit, bytes a second.
    pub speed: Option<i128>,
    /// What is wrong with the arguments: how the answer to each fault begins.
    pub argument_faults: Vec<String>,
}

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

/// The type an argument must have.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Integer,
    Boolean,
}

/// A command that asks something of one job.
struct VerbCommand {
    name: &'static str,
    request: Request,
    verb: Verb,
    block: bool,
    /// The argument that names the job.
    target: &'static str,
    required: &'static [(&'static str, Kind)],
    optional: &'static [(&'static str, Kind)],
    /// It may have others (a union).
    open: bool,
}

const fn job(name: &'static str, request: Request, verb: Verb) -> VerbCommand {
    VerbCommand {
        name,
        request,
        verb,
        block: false,
        target: "id",
        required: &[("id", Kind::Text)],
        optional: &[],
        open: false,
    }
}

const fn block_job(name: &'static str, request: Request, verb: Verb) -> VerbCommand {
    VerbCommand {
        block: true,
        target: "device",
        required: &[("device", Kind::Text)],
        ..job(name, request, verb)
    }
}

const fn block_job_by_id(name: &'static str, request: Request, verb: Verb) -> VerbCommand {
    VerbCommand {
        block: true,
        ..job(name, request, verb)
    }
}

/// Every such command. `job-cancel` is always forced (SEMANTICS.md §2.6).
const VERB_COMMANDS: [VerbCommand; 14] = [
    job("job-pause", Request::Pause, Verb::Pause),
    job("job-resume", Request::Resume, Verb::Resume),
    job("job-cancel", Request::Cancel { force: true }, Verb::Cancel),
    job("job-complete", Request::Complete, Verb::Complete),
    job("job-finalize", Request::Finalize, Verb::Finalize),
    job("job-dismiss", Request::Dismiss, Verb::Dismiss),
    block_job("block-job-pause", Request::Pause, Verb::Pause),
    block_job("block-job-resume", Request::Resume, Verb::Resume),
    VerbCommand {
        optional: &[("force", Kind::Boolean)],
        ..block_job(
            "block-job-cancel",
            Request::Cancel { force: false },
            Verb::Cancel,
        )
    },
    block_job("block-job-complete", Request::Complete, Verb::Complete),
    VerbCommand {
        required: &[("device", Kind::Text), ("speed", Kind::Integer)],
        ..block_job("block-job-set-speed", Request::SET_SPEED, Verb::SetSpeed)
    },
    block_job_by_id("block-job-finalize", Request::Finalize, Verb::Finalize),
    block_job_by_id("block-job-dismiss", Request::Dismiss, Verb::Dismiss),
    VerbCommand {
        required: &[("id", Kind::Text), ("type", Kind::Text)],
        open: true,
        ..block_job_by_id("block-job-change", Request::Change, Verb::Change)
    },
];

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

impl Ask {
    /// The ids of the jobs that it names.
    pub fn ids(&self) -> Vec<&str> {
        match self {
            Ask::Verb(verb) | Ask::Human(Some(verb)) => verb.id.as_deref().into_iter().collect(),
            Ask::Create(creation) => creation
                .jobs
                .iter()
                .filter_map(|plan| plan.id.as_deref())
                .collect(),
            _ => Vec::new(),
        }
    }

    /// What `message`, a command, asks.
    pub fn of(message: &Message<'_>) -> Ask {
        let name = if message.execute.is_present() {
            message.execute.as_str()
        } else {
            message.execute_oob.as_str()
        };
        let Some(name) = name else {
            return Ask::Other;
        };
        match name.as_ref() {
            "query-jobs" => return Ask::Query { block: false },
            "query-block-jobs" => return Ask::Query { block: true },
            "qmp_capabilities" => return Ask::Capabilities,
            "quit" | "system_powerdown" => return Ask::Quit,
            "cont" => return Ask::Continue,
            "device_del" => return Ask::Unplug,
            "transaction" => return Ask::Create(transaction(message.arguments)),
            "human-monitor-command" => {
                let line = AllMembers::of(message.arguments)
                    .get("command-line")
                    .as_str()
                    .unwrap_or_default()
                    .into_owned();
                return human(&line);
            }
            _ => {}
        }
        if let Some(command) = VERB_COMMANDS.iter().find(|command| command.name == name) {
            return Ask::Verb(verb(command, message.arguments));
        }
        if let Some(command) = CREATE_COMMANDS.iter().find(|command| command.name == name) {
            let arguments = AllMembers::of(message.arguments);
            return Ask::Create(Creation {
                jobs: vec![planned(command, &arguments)],
                grouped: false,
                transaction: false,
                arguments: arguments.names().map(str::to_owned).collect(),
            });
        }
        Ask::Other
    }
}

/// Reads a command for one job, and notes what is wrong with its arguments.
fn verb(command: &VerbCommand, arguments: Piece<'_>) -> VerbAsk {
    let members = AllMembers::of(arguments);
    let mut faults = Vec::new();
    if arguments.is_present() && !arguments.is_object() {
        faults.push(String::new());
    }
    for &(name, kind) in command.required {
        if !members.get(name).is_present() {
            faults.push(format!("Parameter '{name}' is missing"));
        } else if !has_kind(members.get(name), kind) {
            faults.push(format!("Invalid parameter type for '{name}'"));
        }
    }
    for &(name, kind) in command.optional {
        if members.get(name).is_present() && !has_kind(members.get(name), kind) {
            faults.push(format!("Invalid parameter type for '{name}'"));
        }
    }
    let known = |name: &str| {
        command.open
            || command
                .required
                .iter()
                .chain(command.optional)
                .any(|(known, _)| *known == name)
    };
    for name in members.names() {
        if !known(name) {
            faults.push(format!("Parameter '{name}' is unexpected"));
        }
    }
    let speed = members.get("speed").as_integer();
    let request = match command.request {
        Request::Cancel { force } => Request::Cancel {
            force: force || members.get("force").as_bool() == Some(true),
        },
        Request::SetSpeed { hurries: false, .. } => Request::SetSpeed {
            hurries: false,
            negative: speed.is_some_and(|speed| speed < 0),
        },
        other => other,
    };
    VerbAsk {
        request,
        verb: command.verb,
        block: command.block,
        id: members
            .get(command.target)
            .as_str()
            .map(std::borrow::Cow::into_owned),
        speed,
        argument_faults: faults,
    }
}

fn has_kind(piece: Piece<'_>, kind: Kind) -> bool {
    match kind {
        Kind::Text => piece.as_str().is_some(),
        // QEMU takes integers that fit 64 bits; what is larger may be read either way.
        Kind::Integer => piece.as_integer().is_some(),
        Kind::Boolean => piece.as_bool().is_some(),
    }
}

/// The job commands of the human monitor.
fn human(line: &str) -> Ask {
    let mut words = line.split_whitespace();
    let Some(name) = words.next() else {
        return Ask::Human(None);
    };
    let rest: Vec<&str> = words.collect();
    let force = rest.first() == Some(&"-f");
    let Some(&id) = rest.get(usize::from(force)) else {
        return match name {
            "quit" | "q" => Ask::Quit,
            "cont" | "c" => Ask::Continue,
            _ => Ask::Human(None),
        };
    };
    let (request, verb) = match name {
        "block_job_pause" => (Request::Pause, Verb::Pause),
        "block_job_resume" => (Request::Resume, Verb::Resume),
        "block_job_complete" => (Request::Complete, Verb::Complete),
        "block_job_cancel" => (Request::Cancel { force }, Verb::Cancel),
        "device_del" | "drive_del" => return Ask::Unplug,
        _ => return Ask::Human(None),
    };
    Ask::Human(Some(VerbAsk {
        request,
        verb,
        block: true,
        id: Some(id.to_owned()),
        speed: None,
        argument_faults: Vec::new(),
    }))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Ask {
        Ask::of(&serde_json::from_str::<Message<'_>>(text).unwrap())
    }

    fn faults(text: &str) -> Vec<String> {
        match ask(text) {
            Ask::Verb(verb) => verb.argument_faults,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn arguments_are_held_against_the_schema() {
        let none: [&str; 0] = [];
        assert_eq!(
            faults(r#"{"execute":"job-pause","arguments":{"id":"a"}}"#),
            none
        );
        assert_eq!(
            faults(r#"{"execute":"job-pause"}"#),
            ["Parameter 'id' is missing"]
        );
        assert_eq!(
            faults(r#"{"execute":"job-cancel","arguments":{"id":"a","force":true}}"#),
            ["Parameter 'force' is unexpected"]
        );
        assert_eq!(
            faults(r#"{"execute":"block-job-set-speed","arguments":{"device":"a","speed":"x"}}"#),
            ["Invalid parameter type for 'speed'"]
        );
        assert_eq!(
            faults(
                r#"{"execute":"block-job-change","arguments":{"id":"a","type":"mirror","copy-mode":"background"}}"#
            ),
            none
        );
    }

    #[test]
    fn every_command_has_its_own_name() {
        let mut names: Vec<&str> = VERB_COMMANDS.iter().map(|command| command.name).collect();
        names.extend(CREATE_COMMANDS.iter().map(|command| command.name));
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_cancel_is_soft_only_where_it_may_be() {
        let forced = |text: &str| match ask(text) {
            Ask::Verb(verb) => verb.request == Request::Cancel { force: true },
            other => panic!("{other:?}"),
        };
        assert!(forced(r#"{"execute":"job-cancel","arguments":{"id":"a"}}"#));
        assert!(!forced(
            r#"{"execute":"block-job-cancel","arguments":{"device":"a"}}"#
        ));
        assert!(forced(
            r#"{"execute":"block-job-cancel","arguments":{"device":"a","force":true}}"#
        ));
    }

    #[test]
    fn a_transaction_names_its_jobs_and_whether_they_stand_together() {
        let Ask::Create(creation) = ask(r#"{"execute":"transaction","arguments":{
            "actions":[{"type":"blockdev-backup","data":{"device":"d","auto-dismiss":false}},
                       {"type":"block-dirty-bitmap-add","data":{}},
                       {"type":"drive-backup","data":{"job-id":"b","device":"e","on-target-error":"enospc"}}],
            "properties":{"completion-mode":"grouped"}}}"#)
        else {
            panic!("no creation");
        };
        assert!(creation.grouped && creation.jobs.len() == 2);
        assert_eq!(creation.jobs[0].id.as_deref(), Some("d"));
        assert!(!creation.jobs[0].specs[0].auto_dismiss);
        assert_eq!(creation.jobs[1].policy.write, OnError::Enospc);
        assert_eq!(creation.jobs[1].policy.read, OnError::Report);
    }

    #[test]
    fn the_human_monitor_has_job_commands_too() {
        match ask(
            r#"{"execute":"human-monitor-command","arguments":{"command-line":"block_job_cancel -f d"}}"#,
        ) {
            Ask::Human(Some(verb)) => {
                assert_eq!(verb.request, Request::Cancel { force: true });
                assert_eq!(verb.id.as_deref(), Some("d"));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            ask(
                r#"{"execute":"human-monitor-command","arguments":{"command-line":"qemu-io d \"write 0 1\""}}"#
            ),
            Ask::Human(None)
        ));
    }
}
