//! Why a copy is refused before it begins, in terms of the files the user named.
//!
//! Every variant names the file and what is wrong with it; [`CopyError::way_out`] says what can be done. A refusal
//! has touched nothing: no temporary file exists, no target was changed. What goes wrong later, while a job runs, is
//! that job's [`JobError`](crate::driver::JobError).

use crate::driver::Errno;
use crate::engine::EngineError;
use crate::io::stat::FileKind;
use std::io;
use std::path::{Path, PathBuf};

/// Which end of a copy a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// What is read.
    Source,
    /// What is written or replaced.
    Target,
}

impl std::fmt::Display for Side {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// Why a copy cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The file does not exist.
    #[error("{side} {} does not exist", path.display())]
    Missing {
        /// Which end.
        side: Side,
        /// As the user named it.
        path: PathBuf,
    },
    /// The folder a new target would be made in does not exist or is no folder.
    #[error("folder {} of the target cannot be opened: {}", path.display(), cause_text(cause))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The file cannot be looked at, opened or read.
    #[error("{side} {} cannot be opened: {}", path.display(), cause_text(cause))]
    Unopenable {
        /// Which end.
        side: Side,
        /// As the user named it.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The file is of a kind that cannot be copied from or to.
    #[error("{side} {} is {kind}, neither a regular file nor a block device", path.display())]
    Kind {
        /// Which end.
        side: Side,
        /// As the user named it.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// The file has more in it than its size says: one that a kernel interface makes up as it is read.
    #[error("source {} says that it has {size} bytes, but has more", path.display())]
    Unsized {
        /// The source.
        path: PathBuf,
        /// The size it claims, in bytes.
        size: u64,
    },
    /// The target path ends in `/`, `.` or `..`: it names a folder, not a file in it.
    #[error("target {} names a folder, not a file", path.display())]
    NoFileName {
        /// As the user named it.
        path: PathBuf,
    },
    /// Source and target are one file, directly or through links.
    #[error("source {} and target {} are the same file", from.display(), path.display())]
    SameFile {
        /// The source.
        from: PathBuf,
        /// The target.
        path: PathBuf,
    },
    /// Two pairs write the same target.
    #[error("target {} is written by more than one pair", path.display())]
    TargetTwice {
        /// The target, as the later pair names it.
        path: PathBuf,
    },
    /// One pair reads what another writes in place.
    #[error("source {} is written in place by another pair", path.display())]
    SourceIsTarget {
        /// The source.
        path: PathBuf,
    },
    /// The target is a symbolic link to nothing.
    #[error("target {} is a symbolic link to {}, which does not exist", path.display(), to.display())]
    DanglingLink {
        /// The link.
        path: PathBuf,
        /// Where it points.
        to: PathBuf,
    },
    /// The target has other names, which would keep the old contents.
    #[error("target {} has {links} names (hard links); replacing it would split them", path.display())]
    HardLinks {
        /// The target.
        path: PathBuf,
        /// How many names it has.
        links: u64,
    },
    /// The target or its folder may not be written.
    #[error("target {} is read-only: {reason}", path.display())]
    ReadOnly {
        /// The target.
        path: PathBuf,
        /// What forbids it.
        reason: String,
    },
    /// Something is mounted on the target.
    #[error("target {} is a mount point and cannot be replaced", path.display())]
    MountPoint {
        /// The target.
        path: PathBuf,
    },
    /// The target is another user's file in a sticky folder.
    #[error("target {} belongs to another user in a sticky folder and cannot be replaced", path.display())]
    Sticky {
        /// The target.
        path: PathBuf,
    },
    /// Another program has locked the target.
    #[error("target {} is locked by another program{}", path.display(), holder(*process))]
    Locked {
        /// The target.
        path: PathBuf,
        /// The process that holds the lock, where the kernel knows one.
        process: Option<i32>,
    },
    /// The block device is mounted or otherwise in use.
    #[error("target {} is in use: mounted, or held by another program", path.display())]
    DeviceBusy {
        /// The device.
        path: PathBuf,
    },
    /// Source and target are parts of the same device.
    #[error("source {} and target {} overlap on one device", from.display(), path.display())]
    DeviceOverlap {
        /// The source.
        from: PathBuf,
        /// The target.
        path: PathBuf,
    },
    /// A target written in place among several pairs, without permission for it.
    #[error("target {} would be written in place, outside the group's promise of all or nothing", path.display())]
    InPlaceInGroup {
        /// The target.
        path: PathBuf,
    },
    /// The target written in place is smaller than the source.
    #[error("target {} is too small: {size} bytes, the source has {needed}", path.display())]
    TooSmall {
        /// The target.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The source's size in bytes.
        needed: u64,
    },
    /// The file system cannot hold what has to be written.
    #[error("no room for target {}: {needed} bytes are needed, {available} are available", path.display())]
    NoRoom {
        /// The target, or the last one of several on that file system.
        path: PathBuf,
        /// Bytes that have to be stored at least, for all targets there.
        needed: u64,
        /// Bytes the file system has for this user.
        available: u64,
    },
    /// The target would be larger than a file may be here.
    #[error("target {} would be too large: {size} bytes{}", path.display(), limit_text(*limit))]
    TooLarge {
        /// The target.
        path: PathBuf,
        /// Size it would have, in bytes.
        size: u64,
        /// The process's limit (`ulimit -f`) in bytes; `None` where the file system's own limit is met.
        limit: Option<u64>,
    },
    /// Owner, mode, ACL, label or another attribute of the replaced target cannot be given to the new file.
    #[error("{what} of target {} cannot be kept: {}", path.display(), cause_text(cause))]
    Metadata {
        /// The target.
        path: PathBuf,
        /// Which part of its metadata.
        what: String,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The temporary file beside the target cannot be made.
    #[error("no temporary file can be made beside target {}: {}", path.display(), cause_text(cause))]
    Temporary {
        /// The target.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// An option outside its range.
    #[error("{option} {value} is out of range: {range}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What was asked for.
        value: u64,
        /// What is allowed.
        range: &'static str,
    },
    /// Two options that exclude each other.
    #[error("{what} and {other} exclude each other: {why}")]
    Conflict {
        /// One, as it is written on the command line.
        what: String,
        /// The other.
        other: String,
        /// The reason.
        why: &'static str,
    },
    /// Errors of the source are to be ignored, and nobody would know where.
    #[error("errors of the source cannot be ignored without a list of what could not be read")]
    NoBadMap,
    /// The list of what cannot be read cannot be made.
    #[error("the bad map {} cannot be written: {reason}", path.display())]
    BadMap {
        /// The list.
        path: PathBuf,
        /// What forbids it.
        reason: String,
    },
    /// Direct I/O was asked for, and the file has none.
    #[error("{side} {} cannot be opened for direct I/O: {}", path.display(), cause_text(cause))]
    NoDirect {
        /// Which end.
        side: Side,
        /// As the user named it.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Nothing to do: no pairs.
    #[error("nothing to copy: no pair of source and target")]
    NoPairs,
    /// Another copy, or a recovery, has the journal.
    #[error("journal {} is in use: another copy of its targets, or their recovery, is under way", path.display())]
    JournalBusy {
        /// The journal.
        path: PathBuf,
    },
    /// What has the journal's name cannot be used as one.
    #[error("journal {} cannot be used: {reason}", path.display())]
    Journal {
        /// The journal, or what has its name.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A crash came between the exchange of a group's first name and its last.
    #[error("target {} belongs to a group whose commit was interrupted: some of its targets may be new and some old; its journal is {}", path.display(), journal.display())]
    Interrupted {
        /// The target.
        path: PathBuf,
        /// The journal.
        journal: PathBuf,
    },
    /// An interrupted commit can be neither finished nor undone.
    #[error("the commit that {} records can be neither finished nor undone, and nothing was changed: {reason}", path.display())]
    Mixed {
        /// The journal.
        path: PathBuf,
        /// What is in the way.
        reason: String,
    },
    /// Another copy of the same manager is in the way.
    #[error("{reason}")]
    Busy {
        /// The source or target that it holds.
        path: PathBuf,
        /// The manager's words.
        reason: String,
    },
    /// The manager refused a job, for its id for instance.
    #[error("job {id} cannot be created: {reason}")]
    Job {
        /// The job's id.
        id: String,
        /// The manager's words.
        reason: String,
    },
}

/// The kernel's sentence without Rust's "(os error N)".
pub(super) fn cause_text(cause: &io::Error) -> String {
    cause
        .raw_os_error()
        .and_then(Errno::new)
        .map_or_else(|| cause.to_string(), Errno::text)
}

fn holder(process: Option<i32>) -> String {
    process.map_or_else(String::new, |process| format!(" (process {process})"))
}

fn limit_text(limit: Option<u64>) -> String {
    match limit {
        Some(limit) => format!(", the limit of this process is {limit}"),
        None => ", more than its file system can hold in a file".to_owned(),
    }
}

impl CopyError {
    /// The manager refused to create the job `id`.
    pub fn refused(id: impl Into<String>, error: &EngineError) -> CopyError {
        let reason = error.to_string();
        match error {
            EngineError::ResourceTaken { name, .. } => CopyError::Busy {
                path: name.into(),
                reason,
            },
            _ => CopyError::Job {
                id: id.into(),
                reason,
            },
        }
    }

    /// What the user can do about it, as a short imperative sentence.
    pub fn way_out(&self) -> &'static str {
        if let Self::Folder { cause, .. }
        | Self::Unopenable { cause, .. }
        | Self::Temporary { cause, .. }
        | Self::Metadata { cause, .. } = self
        {
            match cause.raw_os_error() {
                Some(libc::EMFILE) => {
                    return "raise the limit of open files (ulimit -n), or copy fewer pairs at once";
                }
                Some(libc::ENFILE) => return "close programs that hold many files open",
                Some(libc::ELOOP) => return "a symbolic link leads back to itself: mend it",
                Some(libc::ENAMETOOLONG) => return "choose a shorter name",
                Some(libc::ENOSPC | libc::EDQUOT) => {
                    return "free some room, or name a target elsewhere";
                }
                _ => {}
            }
        }
        match self {
            Self::Missing {
                side: Side::Source, ..
            } => "check the path",
            Self::Missing {
                side: Side::Target, ..
            } => "a copy in place needs an existing target: make it, or copy without --in-place",
            Self::Folder { .. } => "make the folder first, or check its permissions",
            Self::Unopenable { .. } => {
                "check the permissions of the file and of the folders above it"
            }
            Self::Kind { .. } | Self::NoFileName { .. } => {
                "name a regular file or a block device; to copy into a folder, add the file's name"
            }
            Self::Unsized { .. } => "read it into a file first (cat), and copy that",
            Self::SameFile { .. } => "name a different target",
            Self::TargetTwice { .. } => "name each target once",
            Self::SourceIsTarget { .. } => "copy the pairs one after the other",
            Self::DanglingLink { .. } => "remove the link, or name the file it should point to",
            Self::HardLinks { .. } => {
                "use --in-place to write through all its names, or remove the target first"
            }
            Self::ReadOnly { .. } => {
                "make it writable (chmod u+w, chattr -i, remount), or name a different target"
            }
            Self::MountPoint { .. } => "use --in-place, or name a different target",
            Self::Sticky { .. } => "run as its owner, or name a different target",
            Self::Locked { .. } => {
                "end the program that uses it (a virtual machine?), or name a different target"
            }
            Self::DeviceBusy { .. } => "unmount it and end the programs that use it",
            Self::DeviceOverlap { .. } => "name a target on another device",
            Self::InPlaceInGroup { .. } => "copy it on its own, or allow it with --allow-in-place",
            Self::TooSmall { .. } => "enlarge the target, or copy without --in-place",
            Self::NoRoom { .. } => {
                "free some room, name a target elsewhere, or drop zeros with --sparse always"
            }
            Self::TooLarge { .. } => {
                "raise the limit (ulimit -f), or name a target on another file system"
            }
            Self::Metadata { .. } => {
                "run as a user who may set it, use --in-place, or remove the target first"
            }
            Self::Temporary { .. } => "check that files can be made in the target's folder",
            Self::Option { .. } => "choose a value in the range",
            Self::Conflict { .. } => "leave one of the two out",
            Self::NoBadMap => "name a file for the list (--bad-map FILE)",
            Self::BadMap { .. } => "name a new file for it, or an old map",
            Self::NoDirect { .. } => "copy without --direct",
            Self::NoPairs => "name at least one source and target",
            Self::JournalBusy { .. } => "wait until that has ended, or cancel it",
            Self::Journal { .. } => {
                "name another with --journal; or look at the targets, and remove it if they are as they should be"
            }
            Self::Interrupted { .. } => {
                "run `blockjob recover` with that journal, or the interrupted copy again with --resume"
            }
            Self::Mixed { .. } => {
                "put back the files it names, or decide by hand which are wanted, and remove the journal"
            }
            Self::Busy { .. } => "wait until the other copy has ended, or cancel it",
            Self::Job { .. } => "choose another job id",
        }
    }

    /// The file it is about, as the user named it, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Missing { path, .. }
            | Self::Folder { path, .. }
            | Self::Unopenable { path, .. }
            | Self::Kind { path, .. }
            | Self::NoFileName { path }
            | Self::Unsized { path, .. }
            | Self::SameFile { path, .. }
            | Self::TargetTwice { path }
            | Self::SourceIsTarget { path }
            | Self::DanglingLink { path, .. }
            | Self::HardLinks { path, .. }
            | Self::ReadOnly { path, .. }
            | Self::MountPoint { path }
            | Self::Sticky { path }
            | Self::Locked { path, .. }
            | Self::DeviceBusy { path }
            | Self::DeviceOverlap { path, .. }
            | Self::InPlaceInGroup { path }
            | Self::TooSmall { path, .. }
            | Self::NoRoom { path, .. }
            | Self::TooLarge { path, .. }
            | Self::Metadata { path, .. }
            | Self::Temporary { path, .. }
            | Self::NoDirect { path, .. }
            | Self::JournalBusy { path }
            | Self::Journal { path, .. }
            | Self::Interrupted { path, .. }
            | Self::Mixed { path, .. }
            | Self::BadMap { path, .. }
            | Self::Busy { path, .. } => Some(path),
            Self::Option { .. }
            | Self::Conflict { .. }
            | Self::NoBadMap
            | Self::NoPairs
            | Self::Job { .. } => None,
        }
    }
}
