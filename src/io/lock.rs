//! Locks other programs hold on a file: QEMU's image locks among them.

use super::{check, retry};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// A lock another open file description holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// First byte locked. QEMU locks single bytes from 100 (in use) and from 200 (not shared).
    pub start: u64,
    /// Process that holds it; `None` for open-file-description locks, which have no single owner.
    pub process: Option<i32>,
}

/// `fcntl(fd, F_OFD_GETLK, {F_WRLCK, SEEK_SET, 0, 0})`.
///
/// A lock that would keep this descriptor from locking the whole file for writing, if there is one. POSIX record
/// locks and open-file-description locks are seen; `flock` is a separate world and is not.
///
/// # References
/// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), "Open file description locks"
pub fn held_by_others(fd: impl AsFd) -> io::Result<Option<Held>> {
    let lock = get(&fd, request(libc::F_WRLCK))?;
    if libc::c_int::from(lock.l_type) == libc::F_UNLCK {
        return Ok(None);
    }
    Ok(Some(Held {
        start: lock.l_start.cast_unsigned(),
        process: (lock.l_pid > 0).then_some(lock.l_pid),
    }))
}

/// `fcntl(fd, F_OFD_SETLK, {F_WRLCK, SEEK_SET, 0, 0})`.
///
/// Locks the whole file for writing until the open file description is closed; `false` when another holds a lock.
/// The descriptor must be open for writing.
///
/// # References
/// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), "Open file description locks"
pub fn try_lock(fd: impl AsFd) -> io::Result<bool> {
    try_set(&fd, request(libc::F_WRLCK))
}

/// `fcntl(fd, F_OFD_SETLK, {F_UNLCK, SEEK_SET, 0, 0})`.
///
/// Gives the whole file free, at once: closing the descriptor does so only when no process has another
/// of the same description, and one that is just being started still has it.
///
/// # References
/// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), "Open file description locks"
pub fn unlock(fd: impl AsFd) -> io::Result<()> {
    set(&fd, request(libc::F_UNLCK))
}

/// `fcntl(fd, F_OFD_SETLK, {F_RDLCK, SEEK_SET, at, 1})`.
///
/// Locks one byte so that others may do the same; `false` when another holds it for writing alone. The descriptor must
/// be open for reading. The byte need not be there.
///
/// # References
/// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), "Open file description locks"
pub fn share_byte(fd: impl AsFd, at: u64) -> io::Result<bool> {
    try_set(&fd, byte(libc::F_RDLCK, at)?)
}

/// `fcntl(fd, F_OFD_SETLK, {F_UNLCK, SEEK_SET, at, 1})`.
///
/// Gives one byte free.
///
/// # References
/// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), "Open file description locks"
pub fn release_byte(fd: impl AsFd, at: u64) -> io::Result<()> {
    set(&fd, byte(libc::F_UNLCK, at)?)
}

/// `fcntl(fd, F_OFD_GETLK, {F_WRLCK, SEEK_SET, at, 1})`.
///
/// Whether another open file description has this byte locked, shared or not.
///
/// # References
/// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), "Open file description locks"
pub fn is_byte_held(fd: impl AsFd, at: u64) -> io::Result<bool> {
    let lock = get(&fd, byte(libc::F_WRLCK, at)?)?;
    Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
}

/// Takes or gives free; `false` when another's lock is in the way.
fn try_set(fd: &impl AsFd, lock: libc::flock64) -> io::Result<bool> {
    match set(fd, lock) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn set(fd: &impl AsFd, mut lock: libc::flock64) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    retry(|| {
        // SAFETY: F_OFD_SETLK reads one `struct flock64`, live through the call. The descriptor is open, its owner
        // is borrowed.
        check(unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, &raw mut lock) })
    })
    .map(drop)
}

/// The lock of another that is in the way of this one; `F_UNLCK` where there is none.
fn get(fd: &impl AsFd, mut lock: libc::flock64) -> io::Result<libc::flock64> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: F_OFD_GETLK reads and writes one `struct flock64`, live and exclusively borrowed. The descriptor is
    // open, its owner is borrowed.
    check(unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &raw mut lock) })?;
    Ok(lock)
}

/// A lock request over one byte.
fn byte(kind: libc::c_int, at: u64) -> io::Result<libc::flock64> {
    let mut lock = request(kind);
    lock.l_start = super::offset(at)?;
    lock.l_len = 1;
    Ok(lock)
}

/// A lock request over the whole file, however it grows. `l_pid` must be 0 for these locks.
fn request(kind: libc::c_int) -> libc::flock64 {
    libc::flock64 {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_seen_by_others_only_and_goes_with_its_descriptor() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let other = file.reopen().unwrap();
        assert_eq!(held_by_others(&other).unwrap(), None);
        assert!(try_lock(&file).unwrap());
        assert_eq!(held_by_others(&file).unwrap(), None);
        assert_eq!(
            held_by_others(&other).unwrap(),
            Some(Held {
                start: 0,
                process: None
            })
        );
        assert!(!try_lock(&other).unwrap());
        drop(file);
        assert_eq!(held_by_others(&other).unwrap(), None);
    }

    #[test]
    fn a_byte_is_shared_seen_by_others_only_and_given_free() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // Reading is enough, and the byte need not be there.
        let other = std::fs::File::open(file.path()).unwrap();
        assert!(share_byte(&other, 203).unwrap());
        assert!(!is_byte_held(&other, 203).unwrap());
        assert!(is_byte_held(&file, 203).unwrap());
        assert!(!is_byte_held(&file, 202).unwrap());
        assert!(share_byte(&file, 203).unwrap());
        assert!(is_byte_held(&other, 203).unwrap());
        release_byte(&file, 203).unwrap();
        assert!(!is_byte_held(&other, 203).unwrap());
        release_byte(&other, 203).unwrap();
        assert!(try_lock(&file).unwrap());
        assert!(!share_byte(&other, 203).unwrap());
    }
}
