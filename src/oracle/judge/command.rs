//! What a QMP command asks of jobs, and whether its arguments are in order.
//!
//! Source: SEMANTICS.md §2, §6.1; the argument lists are those of QEMU's schema.

mod creation;

use blockjob_model::{Request, Verb};

pub use creation::{Creation, OnError, Planned, Policy, makes_jobs, unknown_specs};

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
        creation::asked(&name, message.arguments).map_or(Ask::Other, Ask::Create)
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
        names.extend(creation::names());
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
