//! What it takes to have a job of each kind: images, nodes, and the command that makes it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::image::Image;
use super::program::Step;

/// The length of most images, bytes: more than any job copies at once, so that a slow one is not done.
const SIZE: u64 = 4 << 20;
/// The length of a small one, bytes: one piece for every job.
const SMALL: u64 = 64 << 10;
/// What a slow job may copy in a second, bytes.
const SLOW: u64 = 1;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `blockdev-backup`.
    Backup,
    /// `blockdev-mirror`.
    Mirror,
    /// `block-stream`.
    Stream,
    /// `block-commit` from the middle of a chain.
    Commit,
    /// `block-commit` from its top, which becomes ready.
    ActiveCommit,
    /// `blockdev-create`, which is no block job.
    Create,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] = [
        Kind::Backup,
        Kind::Mirror,
        Kind::Stream,
        Kind::Commit,
        Kind::ActiveCommit,
        Kind::Create,
    ];

    /// The command that makes it.
    pub const fn command(self) -> &'static str {
        match self {
            Kind::Backup => "blockdev-backup",
            Kind::Mirror => "blockdev-mirror",
            Kind::Stream => "block-stream",
            Kind::Commit | Kind::ActiveCommit => "block-commit",
            Kind::Create => "blockdev-create",
        }
    }

    /// It becomes ready, and has to be told to finish.
    pub const fn converges(self) -> bool {
        matches!(self, Kind::Mirror | Kind::ActiveCommit)
    }
}

/// An I/O error that will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Of a write to the target; else of a read from the source.
    pub write: bool,
    /// There is no space, else the medium fails.
    pub no_space: bool,
    /// Only the first time.
    pub once: bool,
}

/// A job to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its id; what belongs to it has the same number.
    pub id: String,
    /// What it does.
    pub kind: Kind,
    /// It hardly moves until it is given more speed.
    pub slow: bool,
    /// It is done after one piece.
    pub small: bool,
    /// Its user finalizes it.
    pub manual_finalize: bool,
    /// Its user dismisses it.
    pub manual_dismiss: bool,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// What becomes of that.
    pub on_error: &'static str,
    /// A speed that is refused, when the job is there already.
    pub bad_speed: bool,
    /// A mirror takes the place of its source at last.
    pub replaces: bool,
}

impl Plan {
    fn number(&self) -> &str {
        self.id.trim_start_matches(|c: char| !c.is_ascii_digit())
    }

    fn size(&self) -> u64 {
        if self.small { SMALL } else { SIZE }
    }

    /// Makes its nodes, and names its images.
    pub fn prepare(&self, files: &mut BTreeMap<String, Image>, steps: &mut Vec<Step>) {
        let number = self.number();
        let size = self.size();
        let data = if self.small { "small.img" } else { "data.img" };
        let mut file = |name: &str, image: Image| {
            files.insert(name.to_owned(), image);
            json!({"driver": "file", "filename": format!("$DIR/{name}")})
        };
        let faulty = |write: bool, node: Value| match self.fault {
            Some(fault) if fault.write == write => {
                let iotype = if write { "write" } else { "read" };
                let errno = if fault.no_space { 28 } else { 5 };
                json!({"driver": "blkdebug", "image": node, "inject-error": [
                    {"event": "none", "iotype": iotype, "errno": errno, "once": fault.once}]})
            }
            _ => node,
        };
        let mut add = |node: Value| steps.push(Step::send("blockdev-add", node));
        match self.kind {
            Kind::Backup | Kind::Mirror => {
                let source = faulty(false, file(data, Image::Data { size }));
                let target = format!("t{number}.img");
                let target = faulty(true, file(&target, Image::Blank { size }));
                // What replaces its source must be as writable as that is.
                add(
                    json!({"driver": "raw", "node-name": format!("s{number}"), "read-only": true, "file": source}),
                );
                add(json!({"driver": "raw", "node-name": format!("t{number}"), "file": target}));
            }
            Kind::Stream => {
                let base = faulty(false, file(data, Image::Data { size }));
                let top = file(
                    &format!("o{number}.qcow2"),
                    Image::Overlay {
                        size,
                        filled: false,
                    },
                );
                let base_node = format!("b{number}");
                add(
                    json!({"driver": "raw", "node-name": base_node, "read-only": true, "file": base}),
                );
                add(
                    json!({"driver": "qcow2", "node-name": format!("o{number}"), "file": top, "backing": base_node}),
                );
            }
            Kind::Commit | Kind::ActiveCommit => {
                let base = format!("b{number}.img");
                let base = faulty(true, file(&base, Image::Blank { size }));
                let base_node = format!("b{number}");
                add(json!({"driver": "raw", "node-name": base_node, "file": base}));
                let mut backing = base_node;
                if self.kind == Kind::Commit {
                    let name = format!("m{number}.qcow2");
                    let middle = file(&name, Image::Overlay { size, filled: true });
                    let middle = faulty(false, middle);
                    let node = format!("m{number}");
                    add(
                        json!({"driver": "qcow2", "node-name": node, "file": middle, "backing": backing}),
                    );
                    backing = node;
                }
                let name = format!("o{number}.qcow2");
                let filled = self.kind == Kind::ActiveCommit;
                let top = file(&name, Image::Overlay { size, filled });
                add(
                    json!({"driver": "qcow2", "node-name": format!("o{number}"), "file": top, "backing": backing}),
                );
            }
            Kind::Create => {}
        }
    }

    /// The arguments of the command that makes it.
    pub fn arguments(&self) -> Value {
        let number = self.number();
        let mut all = Map::new();
        let mut set = |name: &str, value: Value| all.insert(name.to_owned(), value);
        set("job-id", json!(self.id));
        if self.kind == Kind::Create {
            // A folder that is not there, where it is to go wrong.
            let name = if self.fault.is_some() {
                format!("$DIR/none/c{number}.img")
            } else {
                format!("$DIR/c{number}.img")
            };
            set(
                "options",
                json!({"driver": "file", "filename": name, "size": self.size()}),
            );
            return Value::Object(all);
        }
        match self.kind {
            Kind::Backup | Kind::Mirror => {
                set("device", json!(format!("s{number}")));
                set("target", json!(format!("t{number}")));
                set("sync", json!("full"));
            }
            Kind::Commit => {
                set("device", json!(format!("o{number}")));
                set("top-node", json!(format!("m{number}")));
                set("base-node", json!(format!("b{number}")));
            }
            Kind::ActiveCommit => {
                set("device", json!(format!("o{number}")));
                set("base-node", json!(format!("b{number}")));
            }
            Kind::Stream | Kind::Create => {
                set("device", json!(format!("o{number}")));
            }
        }
        if self.bad_speed {
            set("speed", json!(-1));
        } else if self.slow {
            set("speed", json!(SLOW));
        }
        if self.manual_finalize {
            set("auto-finalize", json!(false));
        }
        if self.manual_dismiss {
            set("auto-dismiss", json!(false));
        }
        if self.replaces {
            set("replaces", json!(format!("s{number}")));
        }
        if let Some(fault) = self.fault {
            let policy = match self.kind {
                Kind::Backup | Kind::Mirror if fault.write => "on-target-error",
                Kind::Backup | Kind::Mirror => "on-source-error",
                _ => "on-error",
            };
            set(policy, json!(self.on_error));
        }
        Value::Object(all)
    }
}
