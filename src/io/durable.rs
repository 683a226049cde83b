//! Durability: what is on the disk once a call returned.
//!
//! A failed sync leaves the kernel free to drop the pages it could not write, and the next sync may then
//! succeed: after a failure no function of these may be repeated in the hope of success.

use super::kernel::{Call, kernel};
use super::{check, retry};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `fdatasync(fd)`.
///
/// Returns when the data, and what is needed to read it back (the size), are on the disk.
///
/// # References
/// [fdatasync(2)](https://man7.org/linux/man-pages/man2/fdatasync.2.html)
pub fn fdatasync(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    retry(|| {
        kernel(fd, Call::Sync { data_only: true }, |_| {
            // SAFETY: no memory is passed; `fd` is open, its owner is borrowed.
            check(unsafe { libc::fdatasync(fd) })
        })
    })?;
    Ok(())
}

/// `fsync(fd)`.
///
/// As [`fdatasync`], with all metadata too; on a folder it makes names durable.
///
/// # References
/// [fsync(2)](https://man7.org/linux/man-pages/man2/fsync.2.html)
pub fn fsync(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    retry(|| {
        kernel(fd, Call::Sync { data_only: false }, |_| {
            // SAFETY: no memory is passed; `fd` is open, its owner is borrowed.
            check(unsafe { libc::fsync(fd) })
        })
    })?;
    Ok(())
}

/// `syncfs(fd)`.
///
/// Returns when everything of the file system that the file is on is on the disk, and its device was told to write out a
/// cache of its own. An error of another file there is reported as well, since `fd` was opened.
///
/// # References
/// [syncfs(2)](https://man7.org/linux/man-pages/man2/sync.2.html)
pub fn syncfs(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    retry(|| {
        kernel(fd, Call::SyncSystem, |_| {
            // SAFETY: no memory is passed; `fd` is open, its owner is borrowed.
            check(unsafe { libc::syncfs(fd) })
        })
    })?;
    Ok(())
}
