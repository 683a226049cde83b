//! What a file is: identity, kind, owner, size and times, from one call.

use super::{c_path, check};
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

/// The kind of a file (the `S_IFMT` bits of its mode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Folder,
    /// A symbolic link.
    Link,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharacterDevice,
    /// A FIFO.
    Pipe,
    /// A socket.
    Socket,
    /// Something newer than this list.
    Unknown,
}

impl std::fmt::Display for FileKind {
    /// The kind with its article, for sentences: "a directory".
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Regular => "a regular file",
            Self::Folder => "a directory",
            Self::Link => "a symbolic link",
            Self::BlockDevice => "a block device",
            Self::CharacterDevice => "a character device",
            Self::Pipe => "a pipe",
            Self::Socket => "a socket",
            Self::Unknown => "a file of unknown kind",
        })
    }
}

/// Which file it is, whatever its names: the device it lives on and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Device number of the file system.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

/// A moment as file systems keep it: seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanoseconds: u32,
}

/// What `statx` says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Which file it is.
    pub identity: Identity,
    /// Its kind.
    pub kind: FileKind,
    /// Permission bits, with set-user-ID, set-group-ID and sticky: `mode & 0o7777`.
    pub mode: u32,
    /// Number of hard links.
    pub links: u64,
    /// Owner.
    pub user: u32,
    /// Owning group.
    pub group: u32,
    /// Size in bytes (0 for devices; see [`device::size`](super::device::size)).
    pub size: u64,
    /// Bytes the file system stores for it: blocks of 512.
    pub stored: u64,
    /// When it was last read, as far as the file system keeps that.
    pub accessed: Timestamp,
    /// When its contents last changed, as far as the file system says.
    pub modified: Timestamp,
    /// When its contents or metadata last changed; cannot be set by programs.
    pub changed: Timestamp,
    /// When it was made, where the file system keeps that; cannot be set by programs. With [`identity`](Self::identity)
    /// it tells a file from a later one that was given its number.
    pub born: Option<Timestamp>,
    /// The device this file stands for, where it is one.
    pub represents: u64,
    /// Whether it may not be changed at all (`chattr +i`).
    pub immutable: bool,
    /// Whether it may only be appended to (`chattr +a`).
    pub append_only: bool,
    /// Whether something is mounted on it; `None` where the kernel does not say.
    pub mount_root: Option<bool>,
}

/// `statx(fd, "", AT_EMPTY_PATH, …)`.
///
/// What the open file is.
///
/// # References
/// [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html)
pub fn stat(fd: impl AsFd) -> io::Result<Stat> {
    statx(fd.as_fd().as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

/// `statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, …)`.
///
/// As [`stat`], but a file server is asked, however lately it was: what another machine wrote is seen at once, and not
/// some seconds later.
///
/// # References
/// [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html)
pub fn stat_anew(fd: impl AsFd) -> io::Result<Stat> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_FORCE_SYNC;
    statx(fd.as_fd().as_raw_fd(), c"", flags)
}

/// `statx(AT_FDCWD, path, 0, …)`.
///
/// What the path names, through symbolic links.
///
/// # References
/// [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html)
pub fn stat_path(path: &Path) -> io::Result<Stat> {
    statx(libc::AT_FDCWD, &c_path(path)?, 0)
}

/// `statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, …)`.
///
/// What the path names; a symbolic link is itself.
///
/// # References
/// [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html)
pub fn stat_link(path: &Path) -> io::Result<Stat> {
    statx(libc::AT_FDCWD, &c_path(path)?, libc::AT_SYMLINK_NOFOLLOW)
}

pub(super) fn statx(folder: RawFd, path: &CStr, flags: libc::c_int) -> io::Result<Stat> {
    let mut answer = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: `path` ends with NUL, `answer` is writable and as large as the kernel's `struct statx`, and
    // `folder` is AT_FDCWD or an open descriptor whose owner is borrowed by the caller.
    check(unsafe {
        libc::statx(
            folder,
            path.as_ptr(),
            flags,
            libc::STATX_BASIC_STATS | libc::STATX_BTIME,
            answer.as_mut_ptr(),
        )
    })?;
    // SAFETY: all-zero bytes are a valid `statx` (integers only), and the kernel has filled it.
    let answer = unsafe { answer.assume_init() };
    let attribute = |bit: libc::c_int| {
        let bit = u64::from(bit.cast_unsigned());
        (answer.stx_attributes_mask & bit != 0).then_some(answer.stx_attributes & bit != 0)
    };
    let time = |time: libc::statx_timestamp| Timestamp {
        seconds: time.tv_sec,
        nanoseconds: time.tv_nsec,
    };
    Ok(Stat {
        identity: Identity {
            device: libc::makedev(answer.stx_dev_major, answer.stx_dev_minor),
            inode: answer.stx_ino,
        },
        kind: match libc::mode_t::from(answer.stx_mode) & libc::S_IFMT {
            libc::S_IFREG => FileKind::Regular,
            libc::S_IFDIR => FileKind::Folder,
            libc::S_IFLNK => FileKind::Link,
            libc::S_IFBLK => FileKind::BlockDevice,
            libc::S_IFCHR => FileKind::CharacterDevice,
            libc::S_IFIFO => FileKind::Pipe,
            libc::S_IFSOCK => FileKind::Socket,
            _ => FileKind::Unknown,
        },
        mode: u32::from(answer.stx_mode) & 0o7777,
        links: u64::from(answer.stx_nlink),
        user: answer.stx_uid,
        group: answer.stx_gid,
        size: answer.stx_size,
        stored: answer.stx_blocks.saturating_mul(512),
        accessed: time(answer.stx_atime),
        modified: time(answer.stx_mtime),
        changed: time(answer.stx_ctime),
        born: (answer.stx_mask & libc::STATX_BTIME != 0).then(|| time(answer.stx_btime)),
        represents: libc::makedev(answer.stx_rdev_major, answer.stx_rdev_minor),
        immutable: attribute(libc::STATX_ATTR_IMMUTABLE).unwrap_or(false),
        append_only: attribute(libc::STATX_ATTR_APPEND).unwrap_or(false),
        mount_root: attribute(libc::STATX_ATTR_MOUNT_ROOT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    #[test]
    fn agrees_with_the_standard_library() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![1; 12345]).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let expected = std::fs::metadata(&path).unwrap();
        let found = stat_path(&path).unwrap();
        assert_eq!(found, stat(std::fs::File::open(&path).unwrap()).unwrap());
        assert_eq!(
            found.identity,
            Identity {
                device: expected.dev(),
                inode: expected.ino()
            }
        );
        assert_eq!(
            (found.kind, found.mode, found.size),
            (FileKind::Regular, 0o640, 12345)
        );
        assert_eq!(
            (found.user, found.group, found.links),
            (expected.uid(), expected.gid(), 1)
        );
        assert_eq!(found.stored, expected.blocks() * 512);
        assert_eq!(found.modified.seconds, expected.mtime());
        assert_eq!(i64::from(found.changed.nanoseconds), expected.ctime_nsec());
        assert!(!found.immutable && !found.append_only);
    }

    #[test]
    fn a_link_is_followed_or_not_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert_eq!(stat_link(&link).unwrap().kind, FileKind::Link);
        assert_eq!(
            stat_path(&link).unwrap_err().raw_os_error(),
            Some(libc::ENOENT)
        );
        assert_eq!(stat_path(folder.path()).unwrap().kind, FileKind::Folder);
    }
}
