//! The types of jobs.

use super::{EMPTY, Enum, Object, Type, Variants, object, optional, required};

/// The types of jobs.
pub static JOB_TYPE: Enum = Enum {
    name: "JobType",
    values: &["mirror", "backup"],
};

static STATUS: Enum = Enum {
    name: "JobStatus",
    values: &[
        "undefined",
        "created",
        "running",
        "paused",
        "ready",
        "standby",
        "waiting",
        "pending",
        "aborting",
        "concluded",
        "null",
    ],
};

static SYNC: Enum = Enum {
    name: "MirrorSyncMode",
    values: &["top", "full", "none", "incremental", "bitmap"],
};

static ON_ERROR: Enum = Enum {
    name: "BlockdevOnError",
    values: &["report", "ignore", "enospc", "stop", "auto"],
};

static COPY_MODE: Enum = Enum {
    name: "MirrorCopyMode",
    values: &["background", "write-blocking"],
};

/// `blockdev-backup`, alone and in a transaction.
pub static BACKUP: Object = object(
    "BlockdevBackup",
    &[
        optional("job-id", Type::Str),
        required("device", Type::Str),
        required("sync", Type::Enum(&SYNC)),
        optional("speed", Type::Int),
        optional("bitmap", Type::Str),
        optional("compress", Type::Bool),
        optional("on-source-error", Type::Enum(&ON_ERROR)),
        optional("on-target-error", Type::Enum(&ON_ERROR)),
        optional("auto-finalize", Type::Bool),
        optional("auto-dismiss", Type::Bool),
        optional("filter-node-name", Type::Str),
        required("target", Type::Str),
    ],
);

/// `blockdev-mirror`.
pub static MIRROR: Object = object(
    "blockdev-mirror-arg",
    &[
        optional("job-id", Type::Str),
        required("device", Type::Str),
        required("target", Type::Str),
        required("sync", Type::Enum(&SYNC)),
        optional("speed", Type::Int),
        optional("granularity", Type::Int),
        optional("buf-size", Type::Int),
        optional("on-source-error", Type::Enum(&ON_ERROR)),
        optional("on-target-error", Type::Enum(&ON_ERROR)),
        optional("filter-node-name", Type::Str),
        optional("copy-mode", Type::Enum(&COPY_MODE)),
        optional("auto-finalize", Type::Bool),
        optional("auto-dismiss", Type::Bool),
    ],
);

static ACTION_KIND: Enum = Enum {
    name: "TransactionActionKind",
    values: &["abort", "blockdev-backup"],
};

static COMPLETION_MODE: Enum = Enum {
    name: "ActionCompletionMode",
    values: &["individual", "grouped"],
};

static ACTION: Object = Object {
    name: "TransactionAction",
    members: &[required("type", Type::Enum(&ACTION_KIND))],
    variants: Some(Variants {
        tag: "type",
        cases: &[
            ("abort", &ABORT_ACTION),
            ("blockdev-backup", &BACKUP_ACTION),
        ],
    }),
};

static ABORT_ACTION: Object = object("AbortWrapper", &[required("data", Type::Object(&ABORT))]);
static ABORT: Object = object("Abort", &[]);
static BACKUP_ACTION: Object = object(
    "BlockdevBackupWrapper",
    &[required("data", Type::Object(&BACKUP))],
);

static ACTIONS: Type = Type::Object(&ACTION);

static PROPERTIES: Object = object(
    "TransactionProperties",
    &[optional("completion-mode", Type::Enum(&COMPLETION_MODE))],
);

/// `transaction`.
pub static TRANSACTION: Object = object(
    "transaction-arg",
    &[
        required("actions", Type::Array(&ACTIONS)),
        optional("properties", Type::Object(&PROPERTIES)),
    ],
);

/// `job-*`, `block-job-finalize`, `block-job-dismiss`.
pub static BY_ID: Object = object("job-arg", &[required("id", Type::Str)]);
/// The other `block-job-*`.
pub static BY_DEVICE: Object = object("block-job-arg", &[required("device", Type::Str)]);
/// `block-job-cancel`.
pub static CANCEL: Object = object(
    "block-job-cancel-arg",
    &[required("device", Type::Str), optional("force", Type::Bool)],
);
/// `block-job-set-speed`.
pub static SET_SPEED: Object = object(
    "block-job-set-speed-arg",
    &[required("device", Type::Str), required("speed", Type::Int)],
);

/// What `query-jobs` returns the array of.
pub static JOB_INFO: Type = Type::Object(&object(
    "JobInfo",
    &[
        required("id", Type::Str),
        required("type", Type::Enum(&JOB_TYPE)),
        required("status", Type::Enum(&STATUS)),
        required("current-progress", Type::Int),
        required("total-progress", Type::Int),
        optional("error", Type::Str),
    ],
));

static IO_STATUS: Enum = Enum {
    name: "BlockDeviceIoStatus",
    values: &["ok", "failed", "nospace"],
};

/// What `query-block-jobs` returns the array of.
pub static BLOCK_JOB_INFO: Type = Type::Object(&Object {
    name: "BlockJobInfo",
    members: &[
        required("type", Type::Enum(&JOB_TYPE)),
        required("device", Type::Str),
        required("len", Type::Int),
        required("offset", Type::Int),
        required("busy", Type::Bool),
        required("paused", Type::Bool),
        required("speed", Type::Int),
        required("io-status", Type::Enum(&IO_STATUS)),
        required("ready", Type::Bool),
        required("status", Type::Enum(&STATUS)),
        required("auto-finalize", Type::Bool),
        required("auto-dismiss", Type::Bool),
        optional("error", Type::Str),
    ],
    variants: Some(Variants {
        tag: "type",
        cases: &[("mirror", &MIRROR_INFO), ("backup", &EMPTY)],
    }),
});

static MIRROR_INFO: Object = object(
    "BlockJobInfoMirror",
    &[required("actively-synced", Type::Bool)],
);

/// `JOB_STATUS_CHANGE`.
pub static STATUS_CHANGE: Object = object(
    "JOB_STATUS_CHANGE-arg",
    &[
        required("id", Type::Str),
        required("status", Type::Enum(&STATUS)),
    ],
);
/// `BLOCK_JOB_COMPLETED`.
pub static COMPLETED: Object = object(
    "BLOCK_JOB_COMPLETED-arg",
    &[
        required("type", Type::Enum(&JOB_TYPE)),
        required("device", Type::Str),
        required("len", Type::Int),
        required("offset", Type::Int),
        required("speed", Type::Int),
        optional("error", Type::Str),
    ],
);
/// `BLOCK_JOB_CANCELLED`, `BLOCK_JOB_READY`.
pub static PROGRESS: Object = object(
    "BLOCK_JOB_CANCELLED-arg",
    &[
        required("type", Type::Enum(&JOB_TYPE)),
        required("device", Type::Str),
        required("len", Type::Int),
        required("offset", Type::Int),
        required("speed", Type::Int),
    ],
);
/// `BLOCK_JOB_PENDING`.
pub static PENDING: Object = object(
    "BLOCK_JOB_PENDING-arg",
    &[
        required("type", Type::Enum(&JOB_TYPE)),
        required("id", Type::Str),
    ],
);

static OPERATION: Enum = Enum {
    name: "IoOperationType",
    values: &["read", "write"],
};
static ERROR_ACTION: Enum = Enum {
    name: "BlockErrorAction",
    values: &["ignore", "report", "stop"],
};
/// `BLOCK_JOB_ERROR`.
pub static ERROR: Object = object(
    "BLOCK_JOB_ERROR-arg",
    &[
        required("device", Type::Str),
        required("operation", Type::Enum(&OPERATION)),
        required("action", Type::Enum(&ERROR_ACTION)),
    ],
);
