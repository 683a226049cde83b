//! Which nodes there are, and how they come and go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use super::file::{OpenFile, Opener};
use super::image_lock::ImageLocks;
use super::inject::{Injector, IoType, Rule};
use super::{Below, Node, NodeKind};
use blockjob_model::identity::is_well_formed;

/// A node's name, in bytes: QEMU keeps 32, one of which ends it.
const NAME_BYTES_MAX: usize = 31;
/// Nodes at a time: each has a file open.
pub const NODES_MAX: usize = 1024;

/// The nodes, by name.
#[derive(Debug)]
pub struct Nodes {
    opener: Opener,
    locks: ImageLocks,
    by_name: BTreeMap<String, Arc<Node>>,
    unnamed: u64,
}

/// Members of arguments that were [checked](crate::qmp::schema::check).
type Members = Map<String, Value>;

impl Nodes {
    /// None yet; files are opened by `opener`.
    pub fn new(opener: Opener) -> Nodes {
        Nodes {
            opener,
            locks: ImageLocks::default(),
            by_name: BTreeMap::new(),
            unnamed: 0,
        }
    }

    /// The node of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str) -> Result<&Arc<Node>, String> {
        self.by_name
            .get(name)
            .ok_or_else(|| format!("Cannot find device='{name}' nor node-name='{name}'"))
    }

    /// `blockdev-add`.
    ///
    /// # Errors
    /// In QEMU's words. No node was added then.
    pub fn add(&mut self, options: &Members) -> Result<(), String> {
        if !options.contains_key("node-name") {
            return Err("'node-name' must be specified for the root node".to_owned());
        }
        // What is made on the way is added with the last, or not at all.
        let mut made = Vec::new();
        self.make(options, true, &mut made)?;
        for node in made {
            self.by_name.insert(node.name.clone(), node);
        }
        Ok(())
    }

    fn make(
        &mut self,
        options: &Members,
        owned: bool,
        made: &mut Vec<Arc<Node>>,
    ) -> Result<Arc<Node>, String> {
        let text = |name: &str| {
            options
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let flag = |name: &str| options.get(name).and_then(Value::as_bool).unwrap_or(false);
        if self.by_name.len() + made.len() >= NODES_MAX {
            return Err(format!(
                "There are {NODES_MAX} nodes, and no more are kept; delete some with blockdev-del"
            ));
        }
        let read_only = flag("read-only");
        let kind = match text("driver") {
            "raw" => {
                let below = self.below(options, "file", made)?;
                NodeKind::Raw(below)
            }
            "blkdebug" => {
                let rules = rules(options)?;
                let below = self.below(options, "image", made)?;
                NodeKind::Debug(below, Injector::new(rules))
            }
            driver => {
                let name = text("filename");
                let open = |writable| OpenFile::open(self.opener, driver, name, writable);
                let mut file = match open(!read_only) {
                    Err(_) if !read_only && flag("auto-read-only") => open(false)?,
                    opened => opened?,
                };
                if text("locking") != "off" {
                    file.tell(&mut self.locks)
                        .map_err(|error| format!("Could not open '{name}': {error}"))?;
                }
                NodeKind::File(file)
            }
        };
        let read_only = read_only
            || match &kind {
                NodeKind::Raw(below) | NodeKind::Debug(below, _) => below.0.read_only,
                NodeKind::File(_) => false,
            };
        let name = self.name(options, made)?;
        let node = Arc::new(Node::new(name, owned, read_only, kind));
        made.push(Arc::clone(&node));
        Ok(node)
    }

    /// The node that `member` names, or says how to make.
    fn below(
        &mut self,
        options: &Members,
        member: &str,
        made: &mut Vec<Arc<Node>>,
    ) -> Result<Below, String> {
        let node = match options.get(member) {
            Some(Value::String(name)) => Arc::clone(self.find(name)?),
            Some(Value::Object(inner)) => {
                // What is above is not written to, so neither is what is below, unless it says otherwise.
                let mut inner = inner.clone();
                if let Some(read_only) = options.get("read-only") {
                    inner.entry("read-only").or_insert(read_only.clone());
                }
                self.make(&inner, false, made)?
            }
            _ => return Err(format!("Parameter '{member}' is missing")),
        };
        Ok(Below::new(node))
    }

    fn name(&mut self, options: &Members, made: &[Arc<Node>]) -> Result<String, String> {
        let Some(name) = options.get("node-name").and_then(Value::as_str) else {
            self.unnamed += 1;
            // No name that a user can give.
            return Ok(format!("#block{:03}", self.unnamed));
        };
        if !is_well_formed(name) {
            return Err(format!("Invalid node-name: '{name}'"));
        }
        if self.by_name.contains_key(name) || made.iter().any(|node| node.name == name) {
            return Err(format!("Duplicate nodes with node-name='{name}'"));
        }
        if name.len() > NAME_BYTES_MAX {
            return Err("Node name too long".to_owned());
        }
        Ok(name.to_owned())
    }

    /// `blockdev-del`. `busy` says why jobs keep a node of this identity from it, if they do.
    ///
    /// # Errors
    /// In QEMU's words.
    pub fn delete(
        &mut self,
        name: &str,
        busy: impl FnOnce(&Node) -> Option<String>,
    ) -> Result<(), String> {
        let node = self
            .by_name
            .get(name)
            .ok_or_else(|| format!("Failed to find node with node-name='{name}'"))?;
        let read_by_backup = node.sources.load(Ordering::Relaxed) > 0;
        if !read_by_backup && let Some(words) = busy(node) {
            return Err(words);
        }
        if !node.owned {
            return Err(format!("Node {name} is not owned by the monitor"));
        }
        if read_by_backup || node.parents.load(Ordering::Relaxed) > 0 {
            return Err(format!("Block device {name} is in use"));
        }
        let gone = self.by_name.remove(name);
        drop(gone);
        self.forget_parts();
        Ok(())
    }

    /// Parts of a node go with it.
    fn forget_parts(&mut self) {
        loop {
            let before = self.by_name.len();
            self.by_name
                .retain(|_, node| node.owned || node.parents.load(Ordering::Relaxed) > 0);
            if self.by_name.len() == before {
                return;
            }
        }
    }

    /// `query-named-block-nodes`.
    pub fn query(&self) -> Value {
        self.by_name.values().map(|node| report(node)).collect()
    }
}

fn report(node: &Node) -> Value {
    let file = node.file();
    let mut image = json!({
        "filename": file.name(), "format": node.driver(),
        // A length that cannot be had is none.
        "virtual-size": file.length().unwrap_or(0),
    });
    if let Ok(stored) = file.stored() {
        image["actual-size"] = stored.into();
    }
    json!({
        "node-name": node.name(), "drv": node.driver(), "file": file.name(), "ro": node.is_read_only(),
        "backing_file_depth": 0, "encrypted": false, "detect_zeroes": "off", "write_threshold": 0,
        "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0,
        "image": image, "cache": {"writeback": true, "direct": false, "no-flush": false},
    })
}

/// The rules of a `blkdebug` node.
fn rules(options: &Members) -> Result<Vec<Rule>, String> {
    let given = options.get("inject-error").and_then(Value::as_array);
    given.into_iter().flatten().map(rule).collect()
}

fn rule(given: &Value) -> Result<Rule, String> {
    let of_event = match given["event"].as_str() {
        Some("read_aio") => Some(IoType::Read),
        Some("write_aio") => Some(IoType::Write),
        Some("flush_to_disk") => Some(IoType::Flush),
        _ => None,
    };
    let wanted = match given["iotype"].as_str() {
        Some("read") => Some(IoType::Read),
        Some("write") => Some(IoType::Write),
        Some("flush") => Some(IoType::Flush),
        _ => None,
    };
    if let (Some(of_event), Some(wanted)) = (of_event, wanted)
        && of_event != wanted
    {
        return Err("a rule whose 'iotype' is another than its 'event' never fits".to_owned());
    }
    let errno = given["errno"].as_i64().unwrap_or(i64::from(libc::EIO));
    let errno = i32::try_from(errno).ok().filter(|errno| *errno > 0);
    let errno = errno.ok_or("Parameter 'errno' expects a positive value")?;
    let sector = match given["sector"].as_i64() {
        // -1 is anywhere, in QEMU as well.
        None | Some(-1) => None,
        Some(sector) => Some(
            u64::try_from(sector).map_err(|_| "Parameter 'sector' expects a non-negative value")?,
        ),
    };
    Ok(Rule {
        io_type: wanted.or(of_event),
        errno,
        byte: sector.map(|sector| sector.saturating_mul(512)),
        once: given["once"].as_bool().unwrap_or(false),
    })
}
