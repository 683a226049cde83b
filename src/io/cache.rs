//! The page cache: what it is asked to write, to forget, and to stay out of.

use super::kernel::{Call, kernel};
use super::{check, offset, retry};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd as _};

/// `sync_file_range(fd, offset, length, SYNC_FILE_RANGE_WRITE)`.
///
/// Lets the kernel begin to write what is dirty in the range, and does not wait for it. It makes nothing durable.
///
/// # References
/// [sync_file_range(2)](https://man7.org/linux/man-pages/man2/sync_file_range.2.html)
pub fn start_writing(fd: impl AsFd, at: u64, length: u64) -> io::Result<()> {
    sync_file_range(fd, at, length, libc::SYNC_FILE_RANGE_WRITE)
}

/// `sync_file_range(fd, offset, length, WAIT_BEFORE | WRITE | WAIT_AFTER)`.
///
/// Writes what is dirty in the range, and waits for it. It makes nothing durable: neither metadata nor the disk's own
/// cache are written. An error has been reported with this, and a later sync of the same descriptor may not repeat
/// it: it counts as a failed sync.
///
/// # References
/// [sync_file_range(2)](https://man7.org/linux/man-pages/man2/sync_file_range.2.html)
pub fn write_out(fd: impl AsFd, at: u64, length: u64) -> io::Result<()> {
    let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync_file_range(fd, at, length, all)
}

fn sync_file_range(fd: impl AsFd, at: u64, length: u64, flags: libc::c_uint) -> io::Result<()> {
    // A length of 0 would mean "to the end".
    if length == 0 {
        return Ok(());
    }
    let fd = fd.as_fd().as_raw_fd();
    let (at, length) = (offset(at)?, offset(length)?);
    let call = Call::WriteOut {
        at,
        bytes: length,
        waits: flags & libc::SYNC_FILE_RANGE_WAIT_AFTER != 0,
    };
    retry(|| {
        kernel(fd, call, |_| {
            // SAFETY: no memory is passed; the descriptor is open, its owner is borrowed.
            check(unsafe { libc::sync_file_range(fd, at, length, flags) })
        })
    })?;
    Ok(())
}

/// `posix_fadvise(fd, offset, length, POSIX_FADV_DONTNEED)`.
///
/// Lets the kernel forget the pages of the range that are clean and that nobody maps. Only advice.
///
/// # References
/// [posix_fadvise(2)](https://man7.org/linux/man-pages/man2/posix_fadvise.2.html)
pub fn forget(fd: impl AsFd, at: u64, length: u64) -> io::Result<()> {
    let (at, length) = (offset(at)?, offset(length)?);
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: no memory is passed; the descriptor is open, its owner is borrowed.
    match unsafe { libc::posix_fadvise64(fd, at, length, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// `open("/proc/self/fd/N", access | O_DIRECT | O_CLOEXEC)`.
///
/// The same file once more, for transfers that go past the page cache: of whole blocks of 4 KiB, at such offsets and
/// from aligned memory. `EINVAL` where the file system has no such transfers.
///
/// # References
/// [open(2)](https://man7.org/linux/man-pages/man2/open.2.html), "`O_DIRECT`"
pub fn reopen_direct(fd: impl AsFd, write: bool) -> io::Result<File> {
    let access = if write { libc::O_RDWR } else { libc::O_RDONLY };
    match open_again(&fd, access | libc::O_DIRECT) {
        // A file that may be written, but not read.
        Err(error) if write && error.raw_os_error() == Some(libc::EACCES) => {
            open_again(&fd, libc::O_WRONLY | libc::O_DIRECT)
        }
        answer => answer,
    }
}

/// `open("/proc/self/fd/N", O_RDONLY | O_CLOEXEC)`.
///
/// The same file once more, to be read.
///
/// # References
/// [open(2)](https://man7.org/linux/man-pages/man2/open.2.html),
/// [proc_pid_fd(5)](https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html)
pub fn reopen(fd: impl AsFd) -> io::Result<File> {
    open_again(&fd, libc::O_RDONLY)
}

fn open_again(fd: &impl AsFd, flags: libc::c_int) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let path = super::c_path(path.as_ref())?;
    let fd = retry(|| {
        let flags = flags | libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: `path` ends with NUL and lives through the call.
        check(unsafe { libc::open(path.as_ptr(), flags) })
    })?;
    // SAFETY: `open` returned a new descriptor that nobody else owns.
    Ok(unsafe { File::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::buffer::AlignedBuffer;
    use crate::io::transfer::{pread_full, pwrite_all};

    #[test]
    fn what_is_written_out_and_forgotten_is_still_there() {
        let file = tempfile::tempfile().unwrap();
        pwrite_all(&file, &vec![5; 100_000], 0).unwrap();
        start_writing(&file, 0, 50_000).unwrap();
        write_out(&file, 0, 100_000).unwrap();
        forget(&file, 0, 0).unwrap();
        let mut found = vec![0; 100_001];
        assert_eq!(pread_full(&file, &mut found, 0).unwrap(), 100_000);
        assert!(found[..100_000].iter().all(|byte| *byte == 5));
    }

    #[test]
    fn past_the_cache_there_are_the_same_bytes() {
        let file = tempfile::tempfile().unwrap();
        let direct = match reopen_direct(&file, true) {
            Ok(direct) => direct,
            Err(error) => {
                eprintln!("SKIP: no direct I/O here: {error}");
                return;
            }
        };
        let mut buffer = AlignedBuffer::new(8192).unwrap();
        buffer.fill(9);
        pwrite_all(&direct, &buffer, 4096).unwrap();
        let mut found = [1; 12_288];
        assert_eq!(pread_full(&file, &mut found, 0).unwrap(), 12_288);
        assert_eq!(
            (&found[..4096], &found[4096..]),
            (&[0; 4096][..], &[9; 8192][..])
        );
        let reader = reopen_direct(&file, false).unwrap();
        buffer.fill(0);
        assert_eq!(pread_full(&reader, &mut buffer, 4096).unwrap(), 8192);
        assert!(buffer.iter().all(|byte| *byte == 9));
    }
}
