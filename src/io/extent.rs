//! Extents of a file: where it has data, where it has holes, and how to make holes, sizes and room.

use super::kernel::{Call, kernel};
use super::{check, check_long, offset, retry};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// What a range of a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExtentKind {
    /// Bytes the file system stores (they may still all be zero).
    Data,
    /// Bytes the file system does not store; they read as zeros.
    Hole,
}

/// One run of data or hole: bytes `start..end` of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// What the range holds.
    pub kind: ExtentKind,
    /// First byte.
    pub start: u64,
    /// First byte after the range; more than `start`.
    pub end: u64,
}

impl Extent {
    /// Length in bytes, at least 1.
    #[allow(clippy::len_without_is_empty)] // An extent is never empty.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }
}

/// `lseek(fd, offset, SEEK_DATA)` and `lseek(fd, offset, SEEK_HOLE)`.
///
/// The extent of the file that begins at `from`, cut off at `end` (the size the caller decided on); `None` when
/// `from >= end`. A file system that does not know holes has one extent of data, which is always a true answer.
/// An answer that makes no progress is not believed either and counts as data, so that walking a file ends.
///
/// The file position moves. Nothing in this crate uses it; a caller who shares the open file description with
/// code that does must not call this.
///
/// # References
/// [lseek(2)](https://man7.org/linux/man-pages/man2/lseek.2.html)
pub fn extent_at(fd: impl AsFd, from: u64, end: u64) -> io::Result<Option<Extent>> {
    if from >= end {
        return Ok(None);
    }
    let fd = fd.as_fd().as_raw_fd();
    let data = match seek(fd, from, libc::SEEK_DATA) {
        Ok(data) => data,
        // No data at or after `from`.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => end,
        Err(error) if unsupported(&error) => from,
        Err(error) => return Err(error),
    };
    if data > from {
        return Ok(Some(Extent {
            kind: ExtentKind::Hole,
            start: from,
            end: data.min(end),
        }));
    }
    data_from(fd, from, end).map(Some)
}

/// `lseek(fd, offset, SEEK_HOLE)`.
///
/// As [`extent_at`], where `from` is known to begin data, before `end`: a hole that ends there says so. Half as many
/// calls for a file of many holes. Where that has changed since, the answer is one of data all the same, which is a true
/// one. The file position moves.
///
/// # References
/// [lseek(2)](https://man7.org/linux/man-pages/man2/lseek.2.html)
pub fn data_at(fd: impl AsFd, from: u64, end: u64) -> io::Result<Extent> {
    data_from(fd.as_fd().as_raw_fd(), from, end)
}

fn data_from(fd: RawFd, from: u64, end: u64) -> io::Result<Extent> {
    let hole = match seek(fd, from, libc::SEEK_HOLE) {
        Ok(hole) if hole > from => hole,
        Ok(_) => end,
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) || unsupported(&error) => end,
        Err(error) => return Err(error),
    };
    Ok(Extent {
        kind: ExtentKind::Data,
        start: from,
        end: hole.min(end),
    })
}

/// The extents of bytes `0..end` of a file, in order and without gaps. Ends after the first error.
///
/// Neighbours may be of the same kind where the file changes meanwhile.
pub fn extents<F: AsFd>(fd: F, end: u64) -> Extents<F> {
    Extents { fd, next: 0, end }
}

/// Iterator over the extents of a file; see [`extents`].
#[derive(Debug)]
pub struct Extents<F> {
    fd: F,
    next: u64,
    end: u64,
}

impl<F: AsFd> Iterator for Extents<F> {
    type Item = io::Result<Extent>;

    fn next(&mut self) -> Option<Self::Item> {
        let answer = extent_at(self.fd.as_fd(), self.next, self.end).transpose()?;
        self.next = match &answer {
            Ok(extent) => extent.end,
            Err(_) => self.end,
        };
        Some(answer)
    }
}

fn seek(fd: RawFd, from: u64, whence: libc::c_int) -> io::Result<u64> {
    let from = offset(from)?;
    let call = Call::Seek {
        from,
        hole: whence == libc::SEEK_HOLE,
    };
    // A file system in user space may be interrupted.
    retry(|| {
        kernel(fd, call, |_| {
            // SAFETY: no memory is passed; `fd` is open, its owner is borrowed by the caller.
            check_long(unsafe { libc::lseek64(fd, from, whence) })
        })
    })
}

/// Whether a call answered that this kind of file cannot do it, rather than that it failed.
fn unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOTTY | libc::ESPIPE)
    )
}

/// `ftruncate(fd, length)`.
///
/// Makes the file `length` bytes long; what it gains is a hole, what it loses is gone.
///
/// # References
/// [ftruncate(2)](https://man7.org/linux/man-pages/man2/ftruncate.2.html)
pub fn ftruncate(fd: impl AsFd, length: u64) -> io::Result<()> {
    let length = offset(length).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    let fd = fd.as_fd().as_raw_fd();
    retry(|| {
        kernel(fd, Call::Resize { to: length }, |_| {
            // SAFETY: no memory is passed; `fd` is open, its owner is borrowed.
            check(unsafe { libc::ftruncate64(fd, length) })
        })
    })?;
    Ok(())
}

/// `fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)`.
///
/// Makes `length` bytes at `at` read as zeros without storing them, on files and on block devices that can.
/// `Ok(false)` when this file, or this range of it (alignment on devices), cannot: the caller writes zeros then.
///
/// # References
/// [fallocate(2)](https://man7.org/linux/man-pages/man2/fallocate.2.html)
pub fn punch_hole(fd: impl AsFd, at: u64, length: u64) -> io::Result<bool> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    fallocate(fd, mode, at, length)
}

/// `fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length)`.
///
/// Makes `length` bytes at `at` read as zeros and keeps room for them, without writing them where that can be had.
/// `Ok(false)` as for [`punch_hole`].
///
/// # References
/// [fallocate(2)](https://man7.org/linux/man-pages/man2/fallocate.2.html)
pub fn zero_range(fd: impl AsFd, at: u64, length: u64) -> io::Result<bool> {
    let mode = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
    fallocate(fd, mode, at, length)
}

/// `fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length)`.
///
/// Sets aside room for `length` bytes at `at`, so that no later write to them lacks it. What the range holds stays.
/// `Ok(false)` where this file system cannot.
///
/// # References
/// [fallocate(2)](https://man7.org/linux/man-pages/man2/fallocate.2.html)
pub fn allocate(fd: impl AsFd, at: u64, length: u64) -> io::Result<bool> {
    fallocate(fd, libc::FALLOC_FL_KEEP_SIZE, at, length)
}

/// `fstatfs(fd, …)`.
///
/// Whether the file lies on ext4, which reckons room block by block for data that is only in memory, so that setting
/// it [aside](allocate) beforehand is quicker than not to. (Its older relatives have the same number, and cannot.)
///
/// # References
/// [statfs(2)](https://man7.org/linux/man-pages/man2/statfs.2.html)
pub fn reckons_by_block(fd: impl AsFd) -> io::Result<bool> {
    Ok(super::offload::file_system(fd)? == libc::EXT4_SUPER_MAGIC)
}

fn fallocate(fd: impl AsFd, mode: libc::c_int, at: u64, length: u64) -> io::Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    let fd = fd.as_fd().as_raw_fd();
    let (at, bytes) = (offset(at)?, offset(length)?);
    let call = if mode & libc::FALLOC_FL_PUNCH_HOLE != 0 {
        Call::Punch { at, bytes }
    } else if mode & libc::FALLOC_FL_ZERO_RANGE != 0 {
        Call::Zero { at, bytes }
    } else {
        Call::Allocate { at, bytes }
    };
    let answer = retry(|| {
        kernel(fd, call, |_| {
            // SAFETY: no memory is passed; `fd` is open, its owner is borrowed by the caller.
            check(unsafe { libc::fallocate64(fd, mode, at, bytes) })
        })
    });
    match answer {
        Ok(_) => Ok(true),
        Err(error) if unsupported(&error) || error.raw_os_error() == Some(libc::ENODEV) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::faulty::{Ruling, Script, Subject, install};
    use crate::io::transfer::{pread_full, pwrite_all};
    use std::sync::{Arc, Mutex};

    const KIB_64: u64 = 64 << 10;

    #[test]
    fn extents_cover_the_file_without_gaps_and_data_is_found_where_it_was_written() {
        let file = tempfile::tempfile().unwrap();
        let size = 64 * KIB_64 + 17;
        ftruncate(&file, size).unwrap();
        pwrite_all(&file, &vec![1; KIB_64 as usize], 8 * KIB_64).unwrap();
        let found: Vec<_> = extents(&file, size).map(Result::unwrap).collect();
        assert_eq!(found.first().unwrap().start, 0);
        assert_eq!(found.last().unwrap().end, size);
        for pair in found.windows(2) {
            assert_eq!(pair[0].end, pair[1].start);
        }
        let data: u64 = found
            .iter()
            .filter(|e| e.kind == ExtentKind::Data)
            .map(Extent::len)
            .sum();
        assert!(data >= KIB_64, "the written range must be data");
        let written = found
            .iter()
            .find(|e| e.start <= 8 * KIB_64 && e.end > 8 * KIB_64)
            .unwrap();
        assert_eq!(written.kind, ExtentKind::Data);
    }

    /// A kernel whose every answer to a seek lies before the place asked about.
    struct LooksBack;

    impl Script for LooksBack {
        fn rule(&mut self, _: &Subject, call: Call<'_>) -> Ruling {
            match call {
                Call::Seek { from, .. } => Ruling::Say((from - 1).max(0).unsigned_abs()),
                _ => Ruling::Pass,
            }
        }
        fn answered(&mut self, _: &Subject, _: Call<'_>, _: Result<u64, i32>) {}
    }

    #[test]
    fn where_answers_go_back_the_walk_goes_on_and_all_is_data() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let file = std::fs::File::create_new(path.join("file")).unwrap();
        ftruncate(&file, 2 * KIB_64).unwrap();
        let _in_force = install(&path, Arc::new(Mutex::new(LooksBack)));
        let whole = |start| Extent {
            kind: ExtentKind::Data,
            start,
            end: 2 * KIB_64,
        };
        assert_eq!(
            extent_at(&file, KIB_64, 2 * KIB_64).unwrap(),
            Some(whole(KIB_64))
        );
        let walk: Vec<_> = extents(&file, 2 * KIB_64)
            .take(3)
            .map(Result::unwrap)
            .collect();
        assert_eq!(walk, [whole(0)]);
    }

    #[test]
    fn what_is_known_to_be_data_ends_where_the_extent_does() {
        let file = tempfile::tempfile().unwrap();
        ftruncate(&file, 64 * KIB_64).unwrap();
        pwrite_all(&file, &vec![1; KIB_64 as usize], 8 * KIB_64).unwrap();
        let size = 64 * KIB_64;
        let all: Vec<_> = extents(&file, size).map(Result::unwrap).collect();
        let data = all.iter().find(|one| one.kind == ExtentKind::Data).unwrap();
        assert_eq!(data_at(&file, data.start, size).unwrap(), *data);
        assert_eq!(data_at(&file, data.start, data.start + 5).unwrap().len(), 5);
        // It was punched since: then it is data that reads as zeros.
        if punch_hole(&file, data.start, data.len()).unwrap() {
            let found = data_at(&file, data.start, size).unwrap();
            assert_eq!(
                (found.kind, found.start, found.end),
                (ExtentKind::Data, data.start, size)
            );
        }
    }

    #[test]
    fn an_empty_range_has_no_extent() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(extents(&file, 0).count(), 0);
        assert_eq!(extent_at(&file, 5, 5).unwrap(), None);
    }

    #[test]
    fn a_file_shorter_than_asked_is_a_hole_after_its_end() {
        let file = tempfile::tempfile().unwrap();
        pwrite_all(&file, &[1; 100], 0).unwrap();
        let last = extents(&file, 1 << 20).last().unwrap().unwrap();
        assert_eq!((last.kind, last.end), (ExtentKind::Hole, 1 << 20));
    }

    #[test]
    fn a_punched_range_reads_as_zeros_and_the_size_stays() {
        let file = tempfile::tempfile().unwrap();
        pwrite_all(&file, &vec![7; 3 * KIB_64 as usize], 0).unwrap();
        if !punch_hole(&file, KIB_64, KIB_64).unwrap() {
            eprintln!("SKIP: this file system cannot punch holes");
            return;
        }
        let mut all = vec![0; 4 * KIB_64 as usize];
        assert_eq!(pread_full(&file, &mut all, 0).unwrap() as u64, 3 * KIB_64);
        assert!(
            all[KIB_64 as usize..2 * KIB_64 as usize]
                .iter()
                .all(|byte| *byte == 0)
        );
        assert_eq!((all[KIB_64 as usize - 1], all[2 * KIB_64 as usize]), (7, 7));
    }

    #[test]
    fn a_size_the_kernel_cannot_hold_is_too_big() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(
            ftruncate(&file, u64::MAX).unwrap_err().raw_os_error(),
            Some(libc::EFBIG)
        );
    }

    #[test]
    fn zeros_and_room_change_no_size_and_nothing_beside_them() {
        let file = tempfile::tempfile().unwrap();
        pwrite_all(&file, &vec![7; 3 * KIB_64 as usize], 0).unwrap();
        if !allocate(&file, 0, 5 * KIB_64).unwrap() {
            eprintln!("SKIP: this file system sets no room aside");
        }
        assert_eq!(file.metadata().unwrap().len(), 3 * KIB_64);
        if !zero_range(&file, KIB_64, KIB_64).unwrap() {
            eprintln!("SKIP: this file system cannot zero a range");
            return;
        }
        let mut found = vec![0; 3 * KIB_64 as usize];
        assert_eq!(pread_full(&file, &mut found, 0).unwrap(), found.len());
        let (before, rest) = found.split_at(KIB_64 as usize);
        let (zeros, after) = rest.split_at(KIB_64 as usize);
        assert!(before.iter().chain(after).all(|byte| *byte == 7));
        assert!(zeros.iter().all(|byte| *byte == 0));
    }
}
