//! Copies that the kernel or the file system makes by itself: shared blocks, and ranges that never come by.

use super::kernel::{Call, kernel};
use super::{check, check_long, offset, retry};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

/// `ioctl(target, FICLONERANGE, {source, at, length, at})`.
///
/// Lets bytes `at..at + length` of the target share the blocks that the source has there, until one of the two is
/// written. Whole blocks of the file system only, unless the range ends with both files.
///
/// # References
/// [ioctl_ficlonerange(2)](https://man7.org/linux/man-pages/man2/ioctl_ficlonerange.2.html)
pub fn clone_range(source: impl AsFd, target: impl AsFd, at: u64, length: u64) -> io::Result<()> {
    // A length of 0 would mean "to the end".
    if length == 0 {
        return Ok(());
    }
    let (source, target) = (source.as_fd().as_raw_fd(), target.as_fd().as_raw_fd());
    let range = libc::file_clone_range {
        src_fd: i64::from(source),
        src_offset: at,
        src_length: length,
        dest_offset: at,
    };
    let call = Call::Clone {
        at: offset(at)?,
        bytes: offset(length)?,
    };
    retry(|| {
        kernel(target, call, |_| {
            // SAFETY: `range` is a live structure that the kernel only reads; both descriptors are open, their owners
            // are borrowed.
            check(unsafe { libc::ioctl(target, libc::FICLONERANGE, &raw const range) })
        })
    })?;
    Ok(())
}

/// Most bytes that [`copy_range`] asks the kernel for at once: C libraries and kernels have got more wrong.
pub const COPY_RANGE_BYTES_MAX: u64 = 1 << 30;

/// `copy_file_range(source, &at, target, &at, length, 0)`, repeated.
///
/// Copies bytes `at..at + length` without bringing them here, and returns how many it copied. Fewer than `length`
/// mean that the kernel did not go on, at the end of the file or for a reason of its own: who has to know reads.
///
/// # References
/// [copy_file_range(2)](https://man7.org/linux/man-pages/man2/copy_file_range.2.html)
pub fn copy_range(source: impl AsFd, target: impl AsFd, at: u64, length: u64) -> io::Result<u64> {
    let (source, target) = (source.as_fd().as_raw_fd(), target.as_fd().as_raw_fd());
    let mut done = 0;
    while done < length {
        let place = offset(at.saturating_add(done))?;
        let rest = (length - done).min(COPY_RANGE_BYTES_MAX) as usize;
        let call = Call::Offload {
            at: place,
            bytes: rest,
        };
        let copied = retry(|| {
            kernel(target, call, |bytes| {
                let (mut from, mut to) = (place, place);
                // SAFETY: both offsets are live and writable; both descriptors are open, their owners are borrowed.
                check_long(unsafe {
                    libc::copy_file_range(source, &raw mut from, target, &raw mut to, bytes, 0)
                } as i64)
            })
        })?;
        match copied {
            0 => break,
            // No more than was asked for is believed.
            copied => done += copied.min(rest as u64),
        }
    }
    Ok(done)
}

/// `fstatfs(fd, …)`.
///
/// Whether the file lies on a file system whose server, or program, may copy by itself what would otherwise come over
/// the network or another process twice: NFS, SMB, Ceph, FUSE.
///
/// # References
/// [statfs(2)](https://man7.org/linux/man-pages/man2/statfs.2.html)
pub fn is_remote(fd: impl AsFd) -> io::Result<bool> {
    /// CIFS, SMB2 and Ceph, of `<linux/magic.h>`.
    const OTHERS: [libc::c_long; 3] = [0xff53_4d42, 0xfe53_4d42, 0x00c3_6400];
    let kind = file_system(fd)?;
    let known = [
        libc::NFS_SUPER_MAGIC,
        libc::FUSE_SUPER_MAGIC,
        libc::SMB_SUPER_MAGIC,
    ];
    Ok(known.contains(&kind) || OTHERS.contains(&kind))
}

/// The number of the file system that the file lies on.
pub(super) fn file_system(fd: impl AsFd) -> io::Result<libc::c_long> {
    let mut answer = MaybeUninit::<libc::statfs64>::zeroed();
    retry(|| {
        // SAFETY: `answer` is writable and of the right size; the descriptor is open, its owner is borrowed.
        check(unsafe { libc::fstatfs64(fd.as_fd().as_raw_fd(), answer.as_mut_ptr()) })
    })?;
    // SAFETY: all-zero bytes are a valid `statfs64` (integers only), and the call has filled it.
    Ok(unsafe { answer.assume_init() }.f_type & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::transfer::{pread_full, pwrite_all};

    #[test]
    fn a_range_arrives_and_stops_at_the_end_of_the_file() {
        let (source, target) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        pwrite_all(&source, &[7; 10_000], 0).unwrap();
        assert_eq!(copy_range(&source, &target, 4096, 100_000).unwrap(), 5904);
        let mut found = [1; 10_000];
        assert_eq!(pread_full(&target, &mut found, 0).unwrap(), 10_000);
        assert_eq!(found[..4096], [0; 4096]);
        assert_eq!(found[4096..], [7; 5904]);
        assert_eq!(copy_range(&source, &target, 10_000, 5).unwrap(), 0);
    }

    #[test]
    fn what_is_no_clone_is_an_error_or_the_same_bytes() {
        let (source, target) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        pwrite_all(&source, &[7; 8192], 0).unwrap();
        clone_range(&source, &target, 0, 0).unwrap();
        assert_eq!(target.metadata().unwrap().len(), 0, "nothing is nothing");
        let mut found = [0; 8192];
        match clone_range(&source, &target, 0, 8192) {
            Ok(()) => assert_eq!(pread_full(&target, &mut found, 0).unwrap(), 8192),
            Err(error) => {
                let cannot = [libc::EOPNOTSUPP, libc::EXDEV, libc::ENOTTY, libc::EINVAL];
                assert!(cannot.contains(&error.raw_os_error().unwrap()), "{error}");
            }
        }
        assert!(clone_range(&source, &source, 0, 4096).is_err() || found == [7; 8192]);
        assert!(!is_remote(&source).unwrap());
    }
}
