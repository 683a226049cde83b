//! Where a copy goes: finding the file a target path means, and every reason not to write there.
//!
//! A regular target is replaced: the copy is made beside it and takes its name at the end. A block device, and any
//! target with [`CopyOptions::in_place`], is written where it is.

use super::around::Around;
use super::error::{CopyError, Side, cause_text};
use super::journal::FileId;
use super::metadata::Metadata;
use super::names::is_temporary_of;
use super::options::CopyOptions;
use super::parked::Known;
use super::source::Source;
use crate::io::folder::{Access, Folder, Name, open_path};
use crate::io::process::effective_user;
use crate::io::stat::{FileKind, Stat, stat, stat_link, stat_path};
use crate::io::{device, lock, process};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A target that was found fit.
#[derive(Debug)]
pub(super) enum Target {
    /// A name in a folder, to be taken by a new file.
    Replace(Place),
    /// An existing file or device, to be written.
    InPlace(InPlace),
}

/// A name in an opened folder.
#[derive(Debug)]
pub(super) struct Place {
    pub folder: Arc<Folder>,
    pub name: Name,
    /// For messages: the file the user's path led to.
    pub path: PathBuf,
    /// The file that has the name now.
    pub existing: Option<Existing>,
    /// What the new file will be given.
    pub metadata: Metadata,
}

/// The file a name has when the copy is planned. Held until the copy ends: if it is removed meanwhile, its inode
/// number must not come back as somebody else's new file, which would then be taken for it and replaced.
#[derive(Debug)]
pub(super) struct Existing {
    pub id: FileId,
    /// Not of a group that is too large: there the time of its birth has to do, which a file made within the same
    /// tick of the file system's clock would share.
    #[allow(dead_code)] // It is there to be had, not to be used.
    held: Option<OwnedFd>,
}

impl Existing {
    pub fn hold(folder: &Folder, name: &Name) -> io::Result<Self> {
        let held = folder.hold(name)?;
        Ok(Self {
            id: FileId::of(&stat(&held)?),
            held: Some(held),
        })
    }

    /// One that a journal tells of.
    pub fn known(id: FileId) -> Self {
        Self { id, held: None }
    }

    /// Lets go of the file, where its birth is known.
    pub fn let_go(&mut self) {
        if self.id.born.is_some() {
            self.held = None;
        }
    }

    /// Whether `stat` is of this file.
    pub fn is(&self, stat: &Stat) -> bool {
        self.id.is(stat, true)
    }
}

/// An existing file or device, opened for writing.
#[derive(Debug)]
pub(super) struct InPlace {
    pub file: File,
    pub path: PathBuf,
    pub stat: Stat,
}

/// Finds what `path` means as a target for `source`.
pub(super) fn resolve(
    path: &Path,
    source: &Source,
    options: &CopyOptions,
    around: &mut Around,
) -> Result<Target, CopyError> {
    let own = path.to_owned();
    let Some(found) = look(path)? else {
        if options.in_place {
            return Err(CopyError::Missing {
                side: Side::Target,
                path: own,
            });
        }
        let (folder, name) = open_folder(path, path, around)?;
        let metadata = Metadata::for_new(&source.stat, around.mask());
        return Ok(Target::Replace(Place {
            folder,
            name,
            path: own,
            existing: None,
            metadata,
        }));
    };
    if found.stat.identity == source.stat.identity
        || found.stat.kind == FileKind::BlockDevice
            && source.stat.kind == FileKind::BlockDevice
            && found.stat.represents == source.stat.represents
    {
        return Err(CopyError::SameFile {
            from: source.path.clone(),
            path: own,
        });
    }
    match found.stat.kind {
        FileKind::BlockDevice => in_place(path, source).map(Target::InPlace),
        FileKind::Regular if options.in_place => in_place(path, source).map(Target::InPlace),
        FileKind::Regular => replace(path, &found, around).map(Target::Replace),
        kind => Err(CopyError::Kind {
            side: Side::Target,
            path: own,
            kind,
        }),
    }
}

/// What a target path leads to.
struct Found {
    /// The path without symbolic links at its end.
    real: PathBuf,
    stat: Stat,
}

/// Follows the path once; `None` when there is nothing yet.
fn look(path: &Path) -> Result<Option<Found>, CopyError> {
    let own = || path.to_owned();
    let unopenable = |cause| CopyError::Unopenable {
        side: Side::Target,
        path: own(),
        cause,
    };
    let names_folder = path.as_os_str().as_bytes().ends_with(b"/") || path.file_name().is_none();
    match stat_link(path) {
        Err(cause) if cause.raw_os_error() == Some(libc::ENOENT) => {
            if names_folder {
                return Err(CopyError::NoFileName { path: own() });
            }
            Ok(None)
        }
        Err(cause) => Err(unopenable(cause)),
        Ok(stat) if stat.kind == FileKind::Link => match std::fs::canonicalize(path) {
            Ok(real) => {
                let stat = stat_path(&real).map_err(unopenable)?;
                Ok(Some(Found { real, stat }))
            }
            Err(cause)
                if matches!(
                    cause.raw_os_error(),
                    Some(libc::ENOENT | libc::ELOOP | libc::ENOTDIR)
                ) =>
            {
                let to = std::fs::read_link(path).unwrap_or_default();
                Err(CopyError::DanglingLink { path: own(), to })
            }
            Err(cause) => Err(unopenable(cause)),
        },
        Ok(stat) => Ok(Some(Found { real: own(), stat })),
    }
}

/// Opens the folder of `real`, checks that files can be made in it, and takes the name apart.
fn open_folder(
    real: &Path,
    path: &Path,
    around: &mut Around,
) -> Result<(Arc<Folder>, Name), CopyError> {
    let parent = match real.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = around.folder(parent, path)?;
    let name = real.file_name().ok_or_else(|| CopyError::NoFileName {
        path: path.to_owned(),
    })?;
    let name = Name::new(name).map_err(|_| CopyError::NoFileName {
        path: path.to_owned(),
    })?;
    Ok((folder, name))
}

/// An existing regular file that will be replaced.
fn replace(path: &Path, found: &Found, around: &mut Around) -> Result<Place, CopyError> {
    let own = || path.to_owned();
    let was = &found.stat;
    // Its folder is read only where there is something to be found: in a group each member asks.
    if was.links > 1 && was.links > 1 + own_names(found) {
        return Err(CopyError::HardLinks {
            path: own(),
            links: was.links,
        });
    }
    if was.mount_root == Some(true) {
        return Err(CopyError::MountPoint { path: own() });
    }
    check_flags(path, was)?;
    let (folder, name) = open_folder(&found.real, path, around)?;
    let holder = folder
        .stat_self()
        .map_err(|cause| CopyError::Folder { path: own(), cause })?;
    let user = effective_user();
    // In a sticky folder only the owner of a file or of the folder may take a name away; root may, but whose file
    // it is stays a question for the user, not for the copy.
    if holder.mode & 0o1000 != 0 && was.user != user && holder.user != user {
        return Err(CopyError::Sticky { path: own() });
    }
    let file = open_writable(&folder, &name, path)?;
    let unopenable = |cause| CopyError::Unopenable {
        side: Side::Target,
        path: own(),
        cause,
    };
    let now = stat(&file).map_err(unopenable)?;
    let existing = Existing::hold(&folder, &name).map_err(unopenable)?;
    if now.identity != was.identity || existing.id.identity != now.identity {
        return Err(unopenable(io::Error::from_raw_os_error(libc::EAGAIN)));
    }
    check_lock(&file, path)?;
    let metadata = Metadata::of_replaced(&file, &now).map_err(|not_kept| not_kept.refuse(path))?;
    Ok(Place {
        folder,
        name,
        path: own(),
        existing: Some(existing),
        metadata,
    })
}

/// How many further names a copy gave the file that died while it put a new one in its place, where names cannot be
/// exchanged.
fn own_names(found: &Found) -> u64 {
    let count = || -> io::Result<usize> {
        let parent = found
            .real
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        let folder = Folder::open(parent.unwrap_or(Path::new(".")))?;
        let name = Name::new(found.real.file_name().unwrap_or_default())?;
        let mut names = folder.names()?;
        names.retain(|other| is_temporary_of(other, &name));
        let same = names.iter().filter(|other| {
            let stat = Name::new(other).and_then(|other| folder.stat(&other));
            matches!(stat, Ok(Some(stat)) if stat.identity == found.stat.identity)
        });
        Ok(same.count())
    };
    count().unwrap_or(0) as u64
}

/// Opens an existing target as if to write it: who may not write the old contents does not replace them either.
fn open_writable(folder: &Folder, name: &Name, path: &Path) -> Result<File, CopyError> {
    match folder.open_file(name, Access::Write) {
        // A program that runs can be replaced, although not written.
        Err(cause) if cause.raw_os_error() == Some(libc::ETXTBSY) => folder
            .open_file(name, Access::Read)
            .map_err(|cause| cannot_write(path, cause)),
        answer => answer.map_err(|cause| cannot_write(path, cause)),
    }
}

fn cannot_write(path: &Path, cause: io::Error) -> CopyError {
    match cause.raw_os_error() {
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => CopyError::ReadOnly {
            path: path.to_owned(),
            reason: cause_text(&cause),
        },
        Some(libc::EBUSY) => CopyError::DeviceBusy {
            path: path.to_owned(),
        },
        _ => CopyError::Unopenable {
            side: Side::Target,
            path: path.to_owned(),
            cause,
        },
    }
}

/// What `chattr` and `chmod` say against writing.
fn check_flags(path: &Path, stat: &Stat) -> Result<(), CopyError> {
    let reason = if stat.immutable {
        "it is immutable (chattr +i)".to_owned()
    } else if stat.append_only {
        "it may only be appended to (chattr +a)".to_owned()
    } else if stat.mode & 0o222 == 0 && stat.kind == FileKind::Regular {
        // The superuser could, but a file nobody may write was protected on purpose.
        format!("its mode {:04o} lets nobody write", stat.mode)
    } else {
        return Ok(());
    };
    Err(CopyError::ReadOnly {
        path: path.to_owned(),
        reason,
    })
}

fn check_lock(file: &File, path: &Path) -> Result<(), CopyError> {
    match lock::held_by_others(file) {
        Ok(Some(held)) => Err(CopyError::Locked {
            path: path.to_owned(),
            process: held.process,
        }),
        // A file system without locks has nobody who holds one.
        Ok(None) | Err(_) => Ok(()),
    }
}

/// An existing file or device that will be written where it is.
fn in_place(path: &Path, source: &Source) -> Result<InPlace, CopyError> {
    let own = || path.to_owned();
    let unopenable = |cause| CopyError::Unopenable {
        side: Side::Target,
        path: own(),
        cause,
    };
    let before = stat_path(path).map_err(unopenable)?;
    check_flags(path, &before)?;
    let is_device = before.kind == FileKind::BlockDevice;
    let file =
        open_path(path, Access::Write, is_device).map_err(|cause| cannot_write(path, cause))?;
    let now = stat(&file).map_err(unopenable)?;
    if now.identity != before.identity {
        return Err(unopenable(io::Error::from_raw_os_error(libc::EAGAIN)));
    }
    let size = if is_device {
        if device::is_read_only(&file).map_err(unopenable)? {
            return Err(CopyError::ReadOnly {
                path: own(),
                reason: "the device is set read-only".to_owned(),
            });
        }
        if share_blocks(&now, &source.stat) {
            return Err(CopyError::DeviceOverlap {
                from: source.path.clone(),
                path: own(),
            });
        }
        device::size(&file).map_err(unopenable)?
    } else {
        check_lock(&file, path)?;
        now.size
    };
    if size < source.size {
        return Err(CopyError::TooSmall {
            path: own(),
            size,
            needed: source.size,
        });
    }
    Ok(InPlace {
        file,
        path: own(),
        stat: now,
    })
}

/// Whether both are block devices, and the same one, or one is the disk the other is a partition of. Where that is not
/// known, it counts as no.
pub(super) fn share_blocks(one: &Stat, other: &Stat) -> bool {
    let is_device = |stat: &Stat| stat.kind == FileKind::BlockDevice;
    if !is_device(one) || !is_device(other) {
        return false;
    }
    let (one, other) = (one.represents, other.represents);
    if one == other {
        return true;
    }
    let folder = |device: u64| {
        let (major, minor) = (libc::major(device), libc::minor(device));
        std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}"))
    };
    let (Ok(one), Ok(other)) = (folder(one), folder(other)) else {
        return false;
    };
    // A partition's folder lies directly in its disk's.
    one.starts_with(&other) || other.starts_with(&one)
}

/// Refuses what cannot fit: the process's limit on file sizes, and room on the file systems of all targets together.
/// With each pair come the bytes of leftovers that will be removed before it begins.
pub(super) fn check_room<'a>(
    pairs: impl Iterator<Item = (&'a Known, &'a Target, u64)>,
    options: &CopyOptions,
) -> Result<(), CopyError> {
    let limit = process::file_size_limit().unwrap_or(None);
    // Bytes needed, bytes that become free, and bytes that are, per file system; a group has few of them.
    let mut needed: Vec<(u64, u64, u64, u64)> = Vec::new();
    for (source, target, freed) in pairs {
        let Target::Replace(place) = target else {
            continue;
        };
        if limit.is_some_and(|limit| source.size > limit) {
            return Err(CopyError::TooLarge {
                path: place.path.clone(),
                size: source.size,
                limit,
            });
        }
        let bytes = match options.sparse {
            super::Sparse::Never => source.size,
            super::Sparse::Auto => source.stored_bytes(),
            // How much of it is zeros is not known before it is read.
            super::Sparse::Always => 0,
        };
        let refuse = |cause| CopyError::Folder {
            path: place.path.clone(),
            cause,
        };
        let device = place.folder.identity().device;
        let known = needed.iter().position(|(known, ..)| *known == device);
        let known = if let Some(known) = known {
            known
        } else {
            let space = place.folder.space().map_err(refuse)?;
            needed.push((device, 0, 0, space.available));
            needed.len() - 1
        };
        let (_, sum, free, available) = &mut needed[known];
        *sum = sum.saturating_add(bytes);
        *free = free.saturating_add(freed);
        let available = available.saturating_add(*free);
        if *sum > available {
            return Err(CopyError::NoRoom {
                path: place.path.clone(),
                needed: *sum,
                available,
            });
        }
    }
    Ok(())
}
