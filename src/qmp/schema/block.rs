//! The types of nodes.

use super::{Alternate, Enum, Member, Object, Type, Variants, object, optional, required};

static DRIVER: Enum = Enum {
    name: "BlockdevDriver",
    values: &["blkdebug", "file", "host_device", "raw"],
};

static DISCARD: Enum = Enum {
    name: "BlockdevDiscardOptions",
    values: &["ignore", "unmap"],
};

static DETECT_ZEROES: Enum = Enum {
    name: "BlockdevDetectZeroesOptions",
    values: &["off", "on", "unmap"],
};

static CACHE: Object = object(
    "BlockdevCacheOptions",
    &[
        optional("direct", Type::Bool),
        optional("no-flush", Type::Bool),
    ],
);

static AIO: Enum = Enum {
    name: "BlockdevAioOptions",
    values: &["threads", "native", "io_uring"],
};

static LOCKING: Enum = Enum {
    name: "OnOffAuto",
    values: &["auto", "on", "off"],
};

/// `blockdev-add`. Of `discard`, `cache`, `detect-zeroes` and `aio` there is nothing here to choose from: they are
/// taken, because clients send them, and change nothing.
pub static BLOCKDEV_OPTIONS: Object = Object {
    name: "BlockdevOptions",
    members: &[
        required("driver", Type::Enum(&DRIVER)),
        optional("node-name", Type::Str),
        optional("discard", Type::Enum(&DISCARD)),
        optional("cache", Type::Object(&CACHE)),
        optional("read-only", Type::Bool),
        optional("auto-read-only", Type::Bool),
        optional("detect-zeroes", Type::Enum(&DETECT_ZEROES)),
    ],
    variants: Some(Variants {
        tag: "driver",
        cases: &[
            ("blkdebug", &BLKDEBUG),
            ("file", &FILE),
            ("host_device", &FILE),
            ("raw", &RAW),
        ],
    }),
};

static FILE: Object = object(
    "BlockdevOptionsFile",
    &[
        required("filename", Type::Str),
        optional("locking", Type::Enum(&LOCKING)),
        optional("aio", Type::Enum(&AIO)),
    ],
);

static RAW: Object = object(
    "BlockdevOptionsRaw",
    &[required("file", Type::Alternate(&BLOCKDEV_REF))],
);

static BLOCKDEV_REF: Alternate = Alternate {
    name: "BlockdevRef",
    object: &BLOCKDEV_OPTIONS,
};

static BLKDEBUG: Object = object(
    "BlockdevOptionsBlkdebug",
    &[
        required("image", Type::Alternate(&BLOCKDEV_REF)),
        optional("inject-error", Type::Array(&INJECT_ERROR)),
    ],
);

static INJECT_ERROR: Type = Type::Object(&object(
    "BlkdebugInjectErrorOptions",
    &[
        required("event", Type::Enum(&EVENT)),
        optional("iotype", Type::Enum(&IO_TYPE)),
        optional("errno", Type::Int),
        optional("sector", Type::Int),
        optional("once", Type::Bool),
        optional("immediately", Type::Bool),
    ],
));

static EVENT: Enum = Enum {
    name: "BlkdebugEvent",
    values: &["read_aio", "write_aio", "flush_to_disk", "none"],
};

static IO_TYPE: Enum = Enum {
    name: "BlkdebugIOType",
    values: &["read", "write", "flush"],
};

/// `blockdev-del`.
pub static BLOCKDEV_DEL: Object = object("blockdev-del-arg", &[required("node-name", Type::Str)]);

/// `query-named-block-nodes`.
pub static NAMED_NODES_ARG: Object = object(
    "query-named-block-nodes-arg",
    &[optional("flat", Type::Bool)],
);

static NODE_CACHE: Object = object(
    "BlockdevCacheInfo",
    &[
        required("writeback", Type::Bool),
        required("direct", Type::Bool),
        required("no-flush", Type::Bool),
    ],
);

static IMAGE: Object = object(
    "ImageInfo",
    &[
        required("filename", Type::Str),
        required("format", Type::Str),
        optional("actual-size", Type::Int),
        required("virtual-size", Type::Int),
    ],
);

const fn zero(name: &'static str) -> Member {
    required(name, Type::Int)
}

static NODE: Object = object(
    "BlockDeviceInfo",
    &[
        required("file", Type::Str),
        optional("node-name", Type::Str),
        required("ro", Type::Bool),
        required("drv", Type::Str),
        required("backing_file_depth", Type::Int),
        required("encrypted", Type::Bool),
        required("detect_zeroes", Type::Enum(&DETECT_ZEROES)),
        zero("bps"),
        zero("bps_rd"),
        zero("bps_wr"),
        zero("iops"),
        zero("iops_rd"),
        zero("iops_wr"),
        required("image", Type::Object(&IMAGE)),
        required("cache", Type::Object(&NODE_CACHE)),
        zero("write_threshold"),
    ],
);

/// What `query-named-block-nodes` returns the array of.
pub static NODE_INFO: Type = Type::Object(&NODE);
