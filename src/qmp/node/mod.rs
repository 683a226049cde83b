//! Nodes: the user's files and devices, by name.
//!
//! | driver | what it is |
//! |---|---|
//! | `file` | a regular file, opened in place |
//! | `host_device` | a block device, opened in place |
//! | `raw` | what is below it, as it is |
//! | `blkdebug` | what is below it, with [errors](inject) where it is told to have some |
//!
//! While a job works on one, [image locks](image_lock) tell QEMU's processes and other servers.
//!
//! A node is opened once, never created, truncated, resized or removed: what the server may do to a user's
//! file is to write inside it, when a job that names it as its target is asked for. Lengths are those of
//! the files; QEMU rounds them up to 512, which is one difference on purpose.
//!
//! Differences from QEMU on purpose: `null` character devices are no `host_device` here, and what
//! [`BLOCKDEV_OPTIONS`](super::schema::block::BLOCKDEV_OPTIONS) says of options without a meaning.

pub mod file;
pub mod image_lock;
pub mod inject;
mod registry;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use file::OpenFile;
use inject::Injector;

pub use registry::{NODES_MAX, Nodes};

/// A node.
#[derive(Debug)]
pub struct Node {
    name: String,
    /// Named by `blockdev-add` itself, and not as a part of another node.
    owned: bool,
    read_only: bool,
    kind: NodeKind,
    /// Nodes that stand on it.
    parents: AtomicU32,
    /// Backups that read it.
    sources: AtomicU32,
}

#[derive(Debug)]
enum NodeKind {
    File(OpenFile),
    Raw(Below),
    Debug(Below, Injector),
}

/// A node that another stands on.
#[derive(Debug)]
struct Below(Arc<Node>);

impl Below {
    fn new(node: Arc<Node>) -> Below {
        node.parents.fetch_add(1, Ordering::Relaxed);
        Below(node)
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        self.0.parents.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Node {
    fn new(name: String, owned: bool, read_only: bool, kind: NodeKind) -> Node {
        Node {
            name,
            owned,
            read_only,
            kind,
            parents: AtomicU32::new(0),
            sources: AtomicU32::new(0),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its driver.
    pub fn driver(&self) -> &'static str {
        match &self.kind {
            NodeKind::File(file) => file.driver(),
            NodeKind::Raw(_) => "raw",
            NodeKind::Debug(..) => "blkdebug",
        }
    }

    /// Whether nothing may be written to it.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// What is at the bottom.
    pub fn file(&self) -> &OpenFile {
        match &self.kind {
            NodeKind::File(file) => file,
            NodeKind::Raw(below) | NodeKind::Debug(below, _) => below.0.file(),
        }
    }

    /// How long it is now, in bytes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn length(&self) -> io::Result<u64> {
        self.file().length()
    }

    /// Fills `buffer` from `at`, or up to the end; how much.
    ///
    /// # Errors
    /// The kernel's, or one that was [injected](inject).
    pub fn read(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match &self.kind {
            NodeKind::File(file) => file.read(buffer, at),
            NodeKind::Raw(below) => below.0.read(buffer, at),
            NodeKind::Debug(below, injector) => {
                injector.check(inject::IoType::Read, at, buffer.len() as u64)?;
                below.0.read(buffer, at)
            }
        }
    }

    /// Writes all of `buffer` at `at`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&self, buffer: &[u8], at: u64) -> io::Result<()> {
        match &self.kind {
            NodeKind::File(file) => file.write(buffer, at),
            NodeKind::Raw(below) => below.0.write(buffer, at),
            NodeKind::Debug(below, injector) => {
                injector.check(inject::IoType::Write, at, buffer.len() as u64)?;
                below.0.write(buffer, at)
            }
        }
    }

    /// Waits until what was written is stored.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn flush(&self) -> io::Result<()> {
        match &self.kind {
            NodeKind::File(file) => file.flush(),
            NodeKind::Raw(below) => below.0.flush(),
            NodeKind::Debug(below, injector) => {
                injector.check(inject::IoType::Flush, 0, 0)?;
                below.0.flush()
            }
        }
    }
}

/// A backup reads the node: it cannot be deleted meanwhile.
#[derive(Debug)]
pub struct SourceUse(Arc<Node>);

impl SourceUse {
    /// From now on, until it is dropped.
    pub fn new(node: &Arc<Node>) -> SourceUse {
        node.sources.fetch_add(1, Ordering::Relaxed);
        SourceUse(Arc::clone(node))
    }
}

impl Drop for SourceUse {
    fn drop(&mut self) {
        self.0.sources.fetch_sub(1, Ordering::Relaxed);
    }
}
