//! Metadata that travels with a replaced file: mode, owner, extended attributes (ACLs and labels among them); and times.

use super::kernel::{Call, kernel};
use super::stat::Timestamp;
use super::{check, check_long, offset};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `fchmod(fd, mode)`.
///
/// Sets the permission bits (`0o7777`).
///
/// # References
/// [fchmod(2)](https://man7.org/linux/man-pages/man2/fchmod.2.html)
pub fn fchmod(fd: impl AsFd, mode: u32) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    kernel(fd, Call::Attribute, |_| {
        // SAFETY: no memory is passed; the descriptor is open, its owner is borrowed.
        check(unsafe { libc::fchmod(fd, mode) })
    })?;
    Ok(())
}

/// `fchown(fd, user, group)`.
///
/// Sets owner and group. Clears set-user-ID, set-group-ID and `security.capability`: call it before setting those.
///
/// # References
/// [fchown(2)](https://man7.org/linux/man-pages/man2/fchown.2.html)
pub fn fchown(fd: impl AsFd, user: u32, group: u32) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    kernel(fd, Call::Attribute, |_| {
        // SAFETY: no memory is passed; the descriptor is open, its owner is borrowed.
        check(unsafe { libc::fchown(fd, user, group) })
    })?;
    Ok(())
}

/// `futimens(fd, {accessed, modified})`.
///
/// Sets when the file was last read and when its contents last changed. The time of the change of its metadata is now,
/// and cannot be set.
///
/// # References
/// [futimens(3)](https://man7.org/linux/man-pages/man3/futimens.3.html)
pub fn set_times(fd: impl AsFd, accessed: Timestamp, modified: Timestamp) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    let times = [accessed, modified].map(|time| libc::timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    });
    kernel(fd, Call::Attribute, |_| {
        // SAFETY: the kernel reads two `timespec`s of a live array; the descriptor is open, its owner is borrowed.
        check(unsafe { libc::futimens(fd, times.as_ptr()) })
    })?;
    Ok(())
}

/// One extended attribute of a file: its full name (`user.x`, `system.posix_acl_access`, `security.selinux` …) and
/// its value, whatever bytes that has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attribute {
    /// Full name, with its namespace.
    pub name: CString,
    /// Value; may be empty.
    pub value: Vec<u8>,
}

/// `flistxattr(fd, …)` and `fgetxattr(fd, …)`.
///
/// The extended attributes this process can see, sorted by name; none where the file system has none. An attribute
/// that is removed between the two calls is left out.
///
/// # References
/// [flistxattr(2)](https://man7.org/linux/man-pages/man2/listxattr.2.html)
/// [fgetxattr(2)](https://man7.org/linux/man-pages/man2/getxattr.2.html)
pub fn attributes(fd: impl AsFd) -> io::Result<Vec<Attribute>> {
    let fd = fd.as_fd().as_raw_fd();
    let list = match read_sized(|buffer| {
        // SAFETY: `buffer` is a live, exclusively borrowed slice and its length is passed with it; of length 0,
        // the kernel only tells the length it needs. The descriptor is open, its owner is borrowed.
        check_long(unsafe { libc::flistxattr(fd, buffer.as_mut_ptr().cast(), buffer.len()) } as i64)
    }) {
        Ok(list) => list,
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in list.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        let value = read_sized(|buffer| {
            // SAFETY: `name` ends with NUL; `buffer` as above.
            check_long(unsafe {
                libc::fgetxattr(fd, name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len())
            } as i64)
        });
        match value {
            Ok(value) => found.push(Attribute {
                name: name.to_owned(),
                value,
            }),
            Err(error) if error.raw_os_error() == Some(libc::ENODATA) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    Ok(found)
}

/// `fsetxattr(fd, name, value, length, 0)`.
///
/// Sets one extended attribute, new or not.
///
/// # References
/// [fsetxattr(2)](https://man7.org/linux/man-pages/man2/setxattr.2.html)
pub fn set_attribute(fd: impl AsFd, attribute: &Attribute) -> io::Result<()> {
    let (name, value) = (&attribute.name, &attribute.value);
    // SAFETY: `name` ends with NUL, `value` is a live slice passed with its length; the kernel only reads both. The
    // descriptor is open, its owner is borrowed.
    check(unsafe {
        libc::fsetxattr(
            fd.as_fd().as_raw_fd(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    })?;
    Ok(())
}

/// `fremovexattr(fd, name)`.
///
/// Removes one extended attribute.
///
/// # References
/// [fremovexattr(2)](https://man7.org/linux/man-pages/man2/removexattr.2.html)
pub fn remove_attribute(fd: impl AsFd, name: &CStr) -> io::Result<()> {
    // SAFETY: `name` ends with NUL; the descriptor is open, its owner is borrowed.
    check(unsafe { libc::fremovexattr(fd.as_fd().as_raw_fd(), name.as_ptr()) })?;
    Ok(())
}

/// `posix_fadvise(fd, offset, length, POSIX_FADV_SEQUENTIAL)`.
///
/// Tells the kernel that the range will be read in order, so that it reads further ahead. Only advice: a file
/// that cannot take it is read all the same.
///
/// # References
/// [posix_fadvise(2)](https://man7.org/linux/man-pages/man2/posix_fadvise.2.html)
pub fn advise_sequential(fd: impl AsFd, at: u64, length: u64) -> io::Result<()> {
    let (at, length) = (offset(at)?, offset(length)?);
    // SAFETY: no memory is passed; the descriptor is open, its owner is borrowed.
    match unsafe {
        libc::posix_fadvise64(
            fd.as_fd().as_raw_fd(),
            at,
            length,
            libc::POSIX_FADV_SEQUENTIAL,
        )
    } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Asks for the length, then for the content, and again while it grows between the two.
fn read_sized(mut call: impl FnMut(&mut [u8]) -> io::Result<u64>) -> io::Result<Vec<u8>> {
    loop {
        let length = call(&mut [])? as usize;
        if length == 0 {
            return Ok(Vec::new());
        }
        let mut buffer = vec![0; length];
        match call(&mut buffer) {
            Ok(filled) => {
                buffer.truncate(filled as usize);
                return Ok(buffer);
            }
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_were_set() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let long = Attribute {
            name: c"user.blockjob.long".into(),
            value: vec![0xa5; 900],
        };
        let empty = Attribute {
            name: c"user.blockjob.empty".into(),
            value: Vec::new(),
        };
        match set_attribute(&file, &long) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                eprintln!("SKIP: this file system has no extended attributes");
                return;
            }
            answer => answer.unwrap(),
        }
        set_attribute(&file, &empty).unwrap();
        let ours = |all: Vec<Attribute>| -> Vec<Attribute> {
            all.into_iter()
                .filter(|a| a.name.to_bytes().starts_with(b"user.blockjob."))
                .collect()
        };
        assert_eq!(ours(attributes(&file).unwrap()), [empty.clone(), long]);
        remove_attribute(&file, c"user.blockjob.long").unwrap();
        assert_eq!(ours(attributes(&file).unwrap()), [empty]);
    }

    #[test]
    fn a_value_that_grows_between_the_two_calls_is_asked_for_again() {
        let mut script = vec![
            Ok(4),
            Err(io::Error::from_raw_os_error(libc::ERANGE)),
            Ok(8),
            Ok(8),
        ]
        .into_iter();
        let value = read_sized(|_| script.next().unwrap()).unwrap();
        assert_eq!(value.len(), 8);
        assert!(script.next().is_none());
    }
}
