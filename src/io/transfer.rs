//! Whole transfers at an offset: `pread` and `pwrite` repeated until the request is served.
//!
//! The kernel may serve part of a request (a signal, a page-cache limit, a nearly full disk, 2 GiB − 4 KiB at
//! most) and may be interrupted before any of it. Both loops live in `repeat`, which is tested with scripted
//! answers, so that no caller ever sees a short transfer that is not the end of the file.

use super::kernel::{Call, kernel};
use super::{check_long, offset};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `pread(fd, buffer, length, offset)`, repeated.
///
/// Fills `buffer` from `at` (bytes) and returns how much of it was filled. Less than `buffer.len()` means that
/// the file ends there. The file position is neither used nor moved.
///
/// # References
/// [pread(2)](https://man7.org/linux/man-pages/man2/pread.2.html)
pub fn pread_full(fd: impl AsFd, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let fd = fd.as_fd().as_raw_fd();
    let start = offset(at)?;
    let length = buffer.len();
    repeat(length, |done| {
        let place = start
            .checked_add_unsigned(done as u64)
            .ok_or_else(overflow)?;
        let rest = &mut buffer[done..];
        let call = Call::Read {
            at: place,
            bytes: rest.len(),
        };
        kernel(fd, call, |bytes| {
            let rest = &mut rest[..bytes];
            // SAFETY: `rest` is a live, exclusively borrowed slice; the kernel writes at most `rest.len()` bytes
            // into it, and any bytes are valid `u8`s. `fd` is open for the whole call: it was borrowed.
            check_long(
                unsafe { libc::pread64(fd, rest.as_mut_ptr().cast(), rest.len(), place) } as i64,
            )
        })
    })
}

/// `pwrite(fd, buffer, length, offset)`, repeated.
///
/// Writes the whole of `buffer` at `at` (bytes), or says why it could not; part of it may have been written
/// then. A write that makes no progress without an error is `EIO`: repeating it might never end.
///
/// # References
/// [pwrite(2)](https://man7.org/linux/man-pages/man2/pwrite.2.html)
pub fn pwrite_all(fd: impl AsFd, buffer: &[u8], at: u64) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    let start = offset(at)?;
    let written = repeat(buffer.len(), |done| {
        let place = start
            .checked_add_unsigned(done as u64)
            .ok_or_else(overflow)?;
        let rest = &buffer[done..];
        let call = Call::Write {
            at: place,
            bytes: rest.len(),
        };
        kernel(fd, call, |bytes| {
            let rest = &rest[..bytes];
            // SAFETY: `rest` is a live slice of `rest.len()` readable bytes, which the kernel only reads. `fd` is
            // open for the whole call: it was borrowed.
            check_long(
                unsafe { libc::pwrite64(fd, rest.as_ptr().cast(), rest.len(), place) } as i64,
            )
        })
    })?;
    if written == buffer.len() {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EIO))
    }
}

/// Calls `step` with the bytes done so far until `length` bytes are done, a step does nothing (end of file), or
/// one fails. An interrupted step (EINTR) is taken again.
fn repeat(length: usize, mut step: impl FnMut(usize) -> io::Result<u64>) -> io::Result<usize> {
    let mut done = 0;
    while done < length {
        match step(done) {
            Ok(0) => break,
            // The kernel never transfers more than was asked for; a file system in user space that claims so is
            // not believed.
            Ok(moved) => {
                let moved = usize::try_from(moved).unwrap_or(usize::MAX);
                done += moved.min(length - done);
            }
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn overflow() -> io::Error {
    io::Error::from_raw_os_error(libc::EOVERFLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

    fn errno(code: i32) -> io::Error {
        io::Error::from_raw_os_error(code)
    }

    /// Runs `repeat` over scripted answers and returns its result and the positions it asked for.
    fn scripted(length: usize, script: Vec<io::Result<u64>>) -> (io::Result<usize>, Vec<usize>) {
        let mut asked = Vec::new();
        let mut script = script.into_iter();
        let answer = repeat(length, |done| {
            asked.push(done);
            script
                .next()
                .expect("the loop asked once more than the script answers")
        });
        assert!(
            script.next().is_none(),
            "the loop stopped before the script did"
        );
        (answer, asked)
    }

    #[test]
    fn short_transfers_and_interruptions_are_continued_where_they_stopped() {
        let (answer, asked) = scripted(
            10,
            vec![
                Ok(3),
                Err(errno(libc::EINTR)),
                Ok(1),
                Err(errno(libc::EINTR)),
                Ok(6),
            ],
        );
        assert_eq!(answer.unwrap(), 10);
        assert_eq!(asked, [0, 3, 3, 4, 4]);
    }

    #[test]
    fn end_of_file_ends_the_loop_with_what_was_done() {
        let (answer, asked) = scripted(10, vec![Ok(4), Ok(0)]);
        assert_eq!(answer.unwrap(), 4);
        assert_eq!(asked, [0, 4]);
    }

    #[test]
    fn an_error_after_part_of_the_transfer_is_the_answer() {
        let (answer, _) = scripted(10, vec![Ok(4), Err(errno(libc::ENOSPC))]);
        assert_eq!(answer.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    }

    #[test]
    fn an_empty_transfer_makes_no_call() {
        let (answer, asked) = scripted(0, vec![]);
        assert_eq!(answer.unwrap(), 0);
        assert!(asked.is_empty());
    }

    #[test]
    fn an_impossible_count_is_not_believed() {
        let (answer, _) = scripted(10, vec![Ok(u64::MAX)]);
        assert_eq!(answer.unwrap(), 10);
    }

    #[test]
    fn a_real_file_is_read_to_its_end_and_written_at_its_offset() {
        let file = tempfile::tempfile().unwrap();
        pwrite_all(&file, b"positional", 5).unwrap();
        let mut whole = [0xff; 20];
        assert_eq!(pread_full(&file, &mut whole, 0).unwrap(), 15);
        assert_eq!(&whole[..15], b"\0\0\0\0\0positional");
        assert_eq!(pread_full(&file, &mut whole, 15).unwrap(), 0);
        let mut five = [0; 5];
        file.read_exact_at(&mut five, 5).unwrap();
        assert_eq!(&five, b"posit");
    }

    #[test]
    fn offsets_beyond_the_kernel_are_refused_not_wrapped() {
        let file = tempfile::tempfile().unwrap();
        let error = pwrite_all(&file, b"x", u64::MAX).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EOVERFLOW));
        let error = pread_full(&file, &mut [0], 1 << 63).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EOVERFLOW));
    }
}
