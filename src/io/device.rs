//! Block devices: how large they are and whether they may be written.

use super::kernel::{Call, kernel};
use super::{check, offset, retry};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `_IOR(0x12, 114, size_t)`: `BLKGETSIZE64` of `<linux/fs.h>`.
const BLKGETSIZE64: libc::Ioctl = libc::_IOR::<usize>(0x12, 114);
/// `_IO(0x12, 94)`: `BLKROGET` of `<linux/fs.h>`.
const BLKROGET: libc::Ioctl = libc::_IO(0x12, 94);

/// `_IO(0x12, 104)`: `BLKSSZGET` of `<linux/fs.h>`.
const BLKSSZGET: libc::Ioctl = libc::_IO(0x12, 104);
/// `_IO(0x12, 127)`: `BLKZEROOUT` of `<linux/fs.h>`.
const BLKZEROOUT: libc::Ioctl = libc::_IO(0x12, 127);

/// `ioctl(fd, BLKGETSIZE64, &size)`.
///
/// Size of a block device in bytes; `ENOTTY` for other files.
///
/// # References
/// [ioctl(2)](https://man7.org/linux/man-pages/man2/ioctl.2.html), `<linux/fs.h>`
pub fn size(fd: impl AsFd) -> io::Result<u64> {
    let mut size = 0_u64;
    // SAFETY: the request writes one u64 (the "size_t" in its number is historical) to a live, writable u64. The
    // descriptor is open, its owner is borrowed.
    check(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), BLKGETSIZE64, &raw mut size) })?;
    Ok(size)
}

/// `ioctl(fd, BLKSSZGET, &size)`.
///
/// Bytes of a block device's logical block: what it reads and writes is a multiple of that; `ENOTTY` for other files.
///
/// # References
/// [ioctl(2)](https://man7.org/linux/man-pages/man2/ioctl.2.html), `<linux/fs.h>`
pub fn block_bytes(fd: impl AsFd) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int to a live, writable int. The descriptor is open, its owner is borrowed.
    check(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), BLKSSZGET, &raw mut bytes) })?;
    Ok(u64::from(bytes.unsigned_abs()).max(1))
}

/// `ioctl(fd, BLKZEROOUT, {at, length})`.
///
/// Makes `length` bytes at `at` of a block device read as zeros, by the device where it can, else by the kernel. Whole
/// logical blocks. It goes past the page cache, which is told.
///
/// # References
/// [ioctl(2)](https://man7.org/linux/man-pages/man2/ioctl.2.html), `<linux/fs.h>`
pub fn zero_out(fd: impl AsFd, at: u64, length: u64) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    let call = Call::Zero {
        at: offset(at)?,
        bytes: offset(length)?,
    };
    let range = [at, length];
    retry(|| {
        kernel(fd, call, |_| {
            // SAFETY: the request reads two u64 from a live array. The descriptor is open, its owner is borrowed.
            check(unsafe { libc::ioctl(fd, BLKZEROOUT, range.as_ptr()) })
        })
    })?;
    Ok(())
}

/// `ioctl(fd, BLKROGET, &flag)`.
///
/// Whether the block device is set read-only; `ENOTTY` for other files.
///
/// # References
/// [ioctl(2)](https://man7.org/linux/man-pages/man2/ioctl.2.html), `<linux/fs.h>`
pub fn is_read_only(fd: impl AsFd) -> io::Result<bool> {
    let mut flag: libc::c_int = 0;
    // SAFETY: the request writes one int to a live, writable int. The descriptor is open, its owner is borrowed.
    check(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), BLKROGET, &raw mut flag) })?;
    Ok(flag != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_file_is_no_device() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(size(&file).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(
            is_read_only(&file).unwrap_err().raw_os_error(),
            Some(libc::ENOTTY)
        );
        assert!(block_bytes(&file).is_err() && zero_out(&file, 0, 4096).is_err());
    }
}
