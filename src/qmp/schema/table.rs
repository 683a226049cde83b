//! The commands and the events.

use super::block::{BLOCKDEV_DEL, BLOCKDEV_OPTIONS, NAMED_NODES_ARG, NODE_INFO};
use super::jobs::{
    BACKUP, BLOCK_JOB_INFO, BY_DEVICE, BY_ID, CANCEL, COMPLETED, ERROR, JOB_INFO, MIRROR, PENDING,
    PROGRESS, SET_SPEED, STATUS_CHANGE, TRANSACTION,
};
use super::{Command, EMPTY, Enum, Event, Object, Type, object, optional, required};

const NOTHING: Type = Type::Object(&EMPTY);

static CAPABILITIES: Object = object(
    "qmp_capabilities-arg",
    &[optional("enable", Type::Array(&CAPABILITY))],
);
static CAPABILITY: Type = Type::Enum(&Enum {
    name: "QMPCapability",
    values: &["oob"],
});

static VERSION_TRIPLE: Object = object(
    "VersionTriple",
    &[
        required("major", Type::Int),
        required("minor", Type::Int),
        required("micro", Type::Int),
    ],
);
static VERSION_INFO: Object = object(
    "VersionInfo",
    &[
        required("qemu", Type::Object(&VERSION_TRIPLE)),
        required("package", Type::Str),
    ],
);
static COMMAND_INFO: Type = Type::Object(&object("CommandInfo", &[required("name", Type::Str)]));
/// What `query-qmp-schema` returns the array of; QEMU's has variants for each kind, which say nothing more.
static SCHEMA_INFO: Type = Type::Object(&object(
    "SchemaInfo",
    &[
        required("name", Type::Str),
        required("meta-type", Type::Enum(&META_TYPE)),
    ],
));
static META_TYPE: Enum = Enum {
    name: "SchemaMetaType",
    values: &[
        "builtin",
        "enum",
        "array",
        "object",
        "alternate",
        "command",
        "event",
    ],
};

const fn command(name: &'static str, arguments: &'static Object) -> Command {
    Command {
        name,
        arguments,
        returns: NOTHING,
    }
}

const fn query(name: &'static str, arguments: &'static Object, returns: Type) -> Command {
    Command {
        name,
        arguments,
        returns,
    }
}

/// The commands, in the order of the alphabet.
pub static COMMANDS: &[Command] = &[
    command("block-job-cancel", &CANCEL),
    command("block-job-complete", &BY_DEVICE),
    command("block-job-dismiss", &BY_ID),
    command("block-job-finalize", &BY_ID),
    command("block-job-pause", &BY_DEVICE),
    command("block-job-resume", &BY_DEVICE),
    command("block-job-set-speed", &SET_SPEED),
    command("blockdev-add", &BLOCKDEV_OPTIONS),
    command("blockdev-backup", &BACKUP),
    command("blockdev-del", &BLOCKDEV_DEL),
    command("blockdev-mirror", &MIRROR),
    command("job-cancel", &BY_ID),
    command("job-complete", &BY_ID),
    command("job-dismiss", &BY_ID),
    command("job-finalize", &BY_ID),
    command("job-pause", &BY_ID),
    command("job-resume", &BY_ID),
    command("qmp_capabilities", &CAPABILITIES),
    query("query-block-jobs", &EMPTY, Type::Array(&BLOCK_JOB_INFO)),
    query("query-commands", &EMPTY, Type::Array(&COMMAND_INFO)),
    query("query-jobs", &EMPTY, Type::Array(&JOB_INFO)),
    query(
        "query-named-block-nodes",
        &NAMED_NODES_ARG,
        Type::Array(&NODE_INFO),
    ),
    query("query-qmp-schema", &EMPTY, Type::Array(&SCHEMA_INFO)),
    query("query-version", &EMPTY, Type::Object(&VERSION_INFO)),
    command("quit", &EMPTY),
    command("transaction", &TRANSACTION),
];

/// The events.
pub static EVENTS: &[Event] = &[
    event("BLOCK_JOB_CANCELLED", &PROGRESS),
    event("BLOCK_JOB_COMPLETED", &COMPLETED),
    event("BLOCK_JOB_ERROR", &ERROR),
    event("BLOCK_JOB_PENDING", &PENDING),
    event("BLOCK_JOB_READY", &PROGRESS),
    event("JOB_STATUS_CHANGE", &STATUS_CHANGE),
];

const fn event(name: &'static str, data: &'static Object) -> Event {
    Event { name, data }
}

/// The command of this name.
pub fn find(name: &str) -> Option<&'static Command> {
    let place = COMMANDS.binary_search_by(|command| command.name.cmp(name));
    place.ok().map(|place| &COMMANDS[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name() {
        for command in COMMANDS {
            assert!(std::ptr::eq(find(command.name).unwrap(), command));
        }
        assert!(find("block-job-change").is_none());
        assert!(find("").is_none());
    }
}
