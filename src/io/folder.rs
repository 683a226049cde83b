//! One opened folder, and the names in it.
//!
//! Every change to names goes through a descriptor of the folder, so that all steps of one replacement happen in
//! the same folder even when it is renamed or another takes its path meanwhile.

use super::kernel::{Call, kernel};
use super::stat::{Identity, Stat, stat, statx};
use super::{c_path, check, durable, retry};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// A name inside a folder: not empty, not `.` or `..`, no `/` and no NUL, so that it can lead nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(CString);

/// Longest name in bytes that Linux file systems take (`NAME_MAX`).
pub const NAME_BYTES_MAX: usize = 255;

impl Name {
    /// The name, or `EINVAL` where it could name something outside the folder.
    pub fn new(name: &OsStr) -> io::Result<Self> {
        let bytes = name.as_bytes();
        if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let name = CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        Ok(Self(name))
    }

    /// The name for building paths in messages.
    pub fn to_os_string(&self) -> OsString {
        OsString::from_vec(self.0.as_bytes().to_vec())
    }

    fn as_c(&self) -> &CStr {
        &self.0
    }
}

/// How a file in a folder is opened by [`Folder::open_file`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `O_RDONLY`.
    Read,
    /// `O_WRONLY`.
    Write,
    /// `O_RDWR`.
    ReadWrite,
}

impl Access {
    fn flags(self) -> libc::c_int {
        match self {
            Self::Read => libc::O_RDONLY,
            Self::Write => libc::O_WRONLY,
            Self::ReadWrite => libc::O_RDWR,
        }
    }
}

/// `open(path, access | O_CLOEXEC | O_NONBLOCK)`.
///
/// Opens what the path names, through symbolic links. `O_NONBLOCK` keeps a FIFO or a terminal from holding the
/// caller; it changes nothing for regular files and block devices. With `exclusive`, `O_EXCL`: a block device that
/// is mounted or held by another is `EBUSY` (for other files it means nothing without `O_CREAT`).
///
/// # References
/// [open(2)](https://man7.org/linux/man-pages/man2/open.2.html)
pub fn open_path(path: &Path, access: Access, exclusive: bool) -> io::Result<File> {
    let path = c_path(path)?;
    let exclusive = if exclusive { libc::O_EXCL } else { 0 };
    let flags = access.flags() | libc::O_CLOEXEC | libc::O_NONBLOCK | exclusive;
    let fd = retry(|| {
        // SAFETY: `path` ends with NUL and lives through the call.
        check(unsafe { libc::open(path.as_ptr(), flags) })
    })?;
    // SAFETY: `open` returned a new descriptor that nobody else owns.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// An opened folder.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    at_open: Stat,
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a file system holds and has left, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What this process may still use: the privileged may use reserved blocks too.
    pub available: u64,
    /// All of it.
    pub total: u64,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

impl Folder {
    /// `open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)` and `statx(folder, "", AT_EMPTY_PATH, …)`.
    ///
    /// Opens the folder the path names, through symbolic links.
    ///
    /// # References
    /// [open(2)](https://man7.org/linux/man-pages/man2/open.2.html),
    /// [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html)
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = c_path(path)?;
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let fd = retry(|| {
            // SAFETY: `path` ends with NUL and lives through the call.
            check(unsafe { libc::open(path.as_ptr(), flags) })
        })?;
        // SAFETY: `open` returned a new descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let at_open = stat(&fd)?;
        Ok(Self { fd, at_open })
    }

    /// `openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)`.
    ///
    /// Makes a new empty file only its owner can open; `EEXIST` when the name is taken, by a link too.
    ///
    /// # References
    /// [openat(2)](https://man7.org/linux/man-pages/man2/openat.2.html)
    pub fn create_exclusive(&self, name: &Name) -> io::Result<File> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        let call = Call::Create { name: name.as_c() };
        kernel(self.fd.as_raw_fd(), call, |_| {
            self.openat(name, flags, 0o600)
        })
    }

    /// `openat(folder, name, access | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)`.
    ///
    /// Opens an existing file; a symbolic link is `ELOOP`.
    ///
    /// # References
    /// [openat(2)](https://man7.org/linux/man-pages/man2/openat.2.html)
    pub fn open_file(&self, name: &Name, access: Access) -> io::Result<File> {
        self.openat(name, access.flags() | libc::O_NONBLOCK, 0)
    }

    /// `openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC)`.
    ///
    /// Holds on to the file without opening it: needs no permission on it and keeps nobody from executing it. While
    /// it is held its inode number is given to no other file, so that [`Identity`] can be
    /// compared later.
    ///
    /// # References
    /// [open(2)](https://man7.org/linux/man-pages/man2/open.2.html), "`O_PATH`"
    pub fn hold(&self, name: &Name) -> io::Result<OwnedFd> {
        self.openat(name, libc::O_PATH, 0).map(OwnedFd::from)
    }

    fn openat(&self, name: &Name, flags: libc::c_int, mode: libc::mode_t) -> io::Result<File> {
        let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let fd = retry(|| {
            // SAFETY: the name ends with NUL and lives through the call; the folder is open, `self` owns it.
            check(unsafe { libc::openat(self.fd.as_raw_fd(), name.as_c().as_ptr(), flags, mode) })
        })?;
        // SAFETY: `openat` returned a new descriptor that nobody else owns.
        Ok(unsafe { File::from_raw_fd(fd) })
    }

    /// `opendir("/proc/self/fd/N")` and `readdir`.
    ///
    /// The names in the folder, without `.` and `..`, in no order.
    ///
    /// # References
    /// [readdir(3)](https://man7.org/linux/man-pages/man3/readdir.3.html),
    /// [proc_pid_fd(5)](https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html)
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        // Through the descriptor: the path may lead elsewhere by now.
        std::fs::read_dir(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect()
    }

    /// `readlink("/proc/self/fd/N")`.
    ///
    /// Where the folder is now, as a path without links. Of a removed one, where it was, with ` (deleted)` behind.
    ///
    /// # References
    /// [proc_pid_fd(5)](https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html)
    pub fn path(&self) -> io::Result<PathBuf> {
        std::fs::read_link(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// `statx(folder, name, AT_SYMLINK_NOFOLLOW, …)`.
    ///
    /// What the name is; `None` when there is no such name.
    ///
    /// # References
    /// [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html)
    pub fn stat(&self, name: &Name) -> io::Result<Option<Stat>> {
        match statx(self.fd.as_raw_fd(), name.as_c(), libc::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Which folder it is: that does not change while it is open.
    pub fn identity(&self) -> Identity {
        self.at_open.identity
    }

    /// What the folder itself was when it was opened. Its identity and its birth it still has.
    pub fn at_open(&self) -> &Stat {
        &self.at_open
    }

    /// `statx(folder, "", AT_EMPTY_PATH, …)`.
    ///
    /// What the folder itself is now.
    ///
    /// # References
    /// [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html)
    pub fn stat_self(&self) -> io::Result<Stat> {
        stat(&self.fd)
    }

    /// `renameat2(folder, from, folder, to, 0)`.
    ///
    /// Gives the file the name `to`; a file that had it loses it in the same step.
    ///
    /// # References
    /// [renameat2(2)](https://man7.org/linux/man-pages/man2/renameat2.2.html)
    pub fn rename(&self, from: &Name, to: &Name) -> io::Result<()> {
        self.renameat2(from, to, 0)
    }

    /// `renameat2(folder, from, folder, to, RENAME_NOREPLACE)`.
    ///
    /// Gives the file the name `to` unless that is taken (`EEXIST`). `EINVAL` where the file system cannot.
    ///
    /// # References
    /// [renameat2(2)](https://man7.org/linux/man-pages/man2/renameat2.2.html)
    pub fn rename_new(&self, from: &Name, to: &Name) -> io::Result<()> {
        self.renameat2(from, to, libc::RENAME_NOREPLACE)
    }

    /// `renameat2(folder, one, folder, other, RENAME_EXCHANGE)`.
    ///
    /// Exchanges two names in one step; both must exist. `EINVAL` where the file system cannot.
    ///
    /// # References
    /// [renameat2(2)](https://man7.org/linux/man-pages/man2/renameat2.2.html)
    pub fn exchange(&self, one: &Name, other: &Name) -> io::Result<()> {
        self.renameat2(one, other, libc::RENAME_EXCHANGE)
    }

    fn renameat2(&self, from: &Name, to: &Name, flags: libc::c_uint) -> io::Result<()> {
        let fd = self.fd.as_raw_fd();
        let (from, to) = (from.as_c(), to.as_c());
        kernel(fd, Call::Rename { from, to, flags }, |_| {
            // The system call itself: not every C library has the function. A negative answer is the only failure.
            // SAFETY: both names end with NUL and live through the call; the folder is open, `self` owns it.
            let answer = unsafe {
                libc::syscall(
                    libc::SYS_renameat2,
                    fd,
                    from.as_ptr(),
                    fd,
                    to.as_ptr(),
                    flags,
                )
            };
            if answer == -1 {
                Err(io::Error::last_os_error())
            } else {
                Ok(())
            }
        })
    }

    /// `linkat(folder, existing, folder, new, 0)`.
    ///
    /// Gives the file a second name; `EEXIST` when that is taken.
    ///
    /// # References
    /// [linkat(2)](https://man7.org/linux/man-pages/man2/linkat.2.html)
    pub fn link(&self, existing: &Name, new: &Name) -> io::Result<()> {
        let fd = self.fd.as_raw_fd();
        let (from, to) = (existing.as_c(), new.as_c());
        kernel(fd, Call::Link { from, to }, |_| {
            // SAFETY: both names end with NUL and live through the call; the folder is open, `self` owns it.
            check(unsafe { libc::linkat(fd, from.as_ptr(), fd, to.as_ptr(), 0) })
        })?;
        Ok(())
    }

    /// `unlinkat(folder, name, 0)`.
    ///
    /// Removes the name; the file goes with its last name and descriptor.
    ///
    /// # References
    /// [unlinkat(2)](https://man7.org/linux/man-pages/man2/unlinkat.2.html)
    pub fn unlink(&self, name: &Name) -> io::Result<()> {
        let (fd, name) = (self.fd.as_raw_fd(), name.as_c());
        kernel(fd, Call::Unlink { name }, |_| {
            // SAFETY: the name ends with NUL and lives through the call; the folder is open, `self` owns it.
            check(unsafe { libc::unlinkat(fd, name.as_ptr(), 0) })
        })?;
        Ok(())
    }

    /// `fsync(folder)`.
    ///
    /// Makes the changes to names durable.
    ///
    /// # References
    /// [fsync(2)](https://man7.org/linux/man-pages/man2/fsync.2.html)
    pub fn sync(&self) -> io::Result<()> {
        durable::fsync(&self.fd)
    }

    /// `syncfs(folder)`.
    ///
    /// Makes everything of its file system durable, and has the device write out its own cache.
    ///
    /// # References
    /// [syncfs(2)](https://man7.org/linux/man-pages/man2/sync.2.html)
    pub fn sync_device(&self) -> io::Result<()> {
        durable::syncfs(&self.fd)
    }

    /// `faccessat(folder, ".", W_OK | X_OK, AT_EACCESS)`.
    ///
    /// Whether names may be made and removed here, as far as permissions and a read-only mount say.
    ///
    /// # References
    /// [faccessat(2)](https://man7.org/linux/man-pages/man2/access.2.html)
    pub fn check_writable(&self) -> io::Result<()> {
        let wanted = libc::W_OK | libc::X_OK;
        // SAFETY: the path is a literal that ends with NUL; the folder is open, `self` owns it.
        check(unsafe {
            libc::faccessat(self.fd.as_raw_fd(), c".".as_ptr(), wanted, libc::AT_EACCESS)
        })?;
        Ok(())
    }

    /// `fstatvfs(folder, …)`.
    ///
    /// The room on its file system.
    ///
    /// # References
    /// [fstatvfs(3)](https://man7.org/linux/man-pages/man3/statvfs.3.html)
    pub fn space(&self) -> io::Result<Space> {
        let mut answer = MaybeUninit::<libc::statvfs64>::zeroed();
        retry(|| {
            // SAFETY: `answer` is writable and of the right size; the folder is open, `self` owns it.
            check(unsafe { libc::fstatvfs64(self.fd.as_raw_fd(), answer.as_mut_ptr()) })
        })?;
        // SAFETY: all-zero bytes are a valid `statvfs64` (integers only), and the call has filled it.
        let answer = unsafe { answer.assume_init() };
        let free = if super::process::is_privileged() {
            answer.f_bfree
        } else {
            answer.f_bavail
        };
        Ok(Space {
            available: free.saturating_mul(answer.f_frsize),
            total: answer.f_blocks.saturating_mul(answer.f_frsize),
            read_only: answer.f_flag & libc::ST_RDONLY != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(OsStr::new(text)).unwrap()
    }

    fn scratch() -> (tempfile::TempDir, Folder) {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::open(scratch.path()).unwrap();
        (scratch, folder)
    }

    fn content(scratch: &tempfile::TempDir, name: &str) -> String {
        std::fs::read_to_string(scratch.path().join(name)).unwrap()
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in ["", ".", "..", "a/b", "/", "a\0b"] {
            assert!(Name::new(OsStr::new(bad)).is_err(), "{bad:?}");
        }
        assert_eq!(name("..a").to_os_string(), "..a");
    }

    #[test]
    fn exclusive_creation_takes_no_existing_name_and_no_link() {
        let (scratch, folder) = scratch();
        folder.create_exclusive(&name("a")).unwrap();
        assert_eq!(
            folder
                .create_exclusive(&name("a"))
                .unwrap_err()
                .raw_os_error(),
            Some(libc::EEXIST)
        );
        std::os::unix::fs::symlink("elsewhere", scratch.path().join("link")).unwrap();
        assert_eq!(
            folder
                .create_exclusive(&name("link"))
                .unwrap_err()
                .raw_os_error(),
            Some(libc::EEXIST)
        );
        assert_eq!(
            folder
                .open_file(&name("link"), Access::Read)
                .unwrap_err()
                .raw_os_error(),
            Some(libc::ELOOP)
        );
        assert_eq!(folder.stat(&name("a")).unwrap().unwrap().mode, 0o600);
        assert!(folder.stat(&name("elsewhere")).unwrap().is_none());
    }

    #[test]
    fn exchange_swaps_and_noreplace_keeps() {
        let (scratch, folder) = scratch();
        std::fs::write(scratch.path().join("a"), "A").unwrap();
        std::fs::write(scratch.path().join("b"), "B").unwrap();
        match folder.exchange(&name("a"), &name("b")) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                eprintln!("SKIP: this file system cannot exchange names");
                return;
            }
            answer => answer.unwrap(),
        }
        assert_eq!(
            (
                content(&scratch, "a").as_str(),
                content(&scratch, "b").as_str()
            ),
            ("B", "A")
        );
        assert_eq!(
            folder
                .rename_new(&name("a"), &name("b"))
                .unwrap_err()
                .raw_os_error(),
            Some(libc::EEXIST)
        );
        folder.rename_new(&name("a"), &name("c")).unwrap();
        folder.link(&name("c"), &name("d")).unwrap();
        folder.rename(&name("c"), &name("b")).unwrap();
        assert_eq!(
            (
                content(&scratch, "b").as_str(),
                content(&scratch, "d").as_str()
            ),
            ("B", "B")
        );
        folder.unlink(&name("d")).unwrap();
        folder.sync().unwrap();
        assert!(folder.stat(&name("d")).unwrap().is_none());
    }

    #[test]
    fn a_renamed_folder_keeps_its_names_together() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("before")).unwrap();
        let folder = Folder::open(&scratch.path().join("before")).unwrap();
        folder.create_exclusive(&name("temporary")).unwrap();
        std::fs::rename(scratch.path().join("before"), scratch.path().join("after")).unwrap();
        folder
            .rename_new(&name("temporary"), &name("target"))
            .unwrap();
        assert!(scratch.path().join("after/target").exists());
    }

    #[test]
    fn space_is_known_and_a_file_is_no_folder() {
        let (scratch, folder) = scratch();
        let space = folder.space().unwrap();
        assert!(space.total >= space.available && space.total > 0 && !space.read_only);
        folder.check_writable().unwrap();
        let file = scratch.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(
            Folder::open(&file).unwrap_err().raw_os_error(),
            Some(libc::ENOTDIR)
        );
    }
}
