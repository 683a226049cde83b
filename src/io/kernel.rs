//! The door to the kernel: calls on contents, sizes and names pass it, so that this crate's own tests can say what
//! the kernel answers (`faulty.rs`). In a build for use there is nothing behind it but the call.

use std::ffi::CStr;
use std::os::fd::RawFd;
use std::time::Duration;

/// What is asked of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(not(test), allow(dead_code))] // Only a test looks at what passes.
pub(crate) enum Call<'a> {
    /// `pread` of so many bytes at `at`.
    Read { at: i64, bytes: usize },
    /// `pwrite` of so many bytes at `at`.
    Write { at: i64, bytes: usize },
    /// `lseek` for the next data, or the next hole.
    Seek { from: i64, hole: bool },
    /// `ftruncate`.
    Resize { to: i64 },
    /// `fallocate` with a hole.
    Punch { at: i64, bytes: i64 },
    /// `fallocate` with zeros, or `BLKZEROOUT`.
    Zero { at: i64, bytes: i64 },
    /// `fallocate` of room.
    Allocate { at: i64, bytes: i64 },
    /// `FICLONERANGE` to the file it is made on.
    Clone { at: i64, bytes: i64 },
    /// `copy_file_range` to the file it is made on.
    Offload { at: i64, bytes: usize },
    /// `sync_file_range`.
    WriteOut { at: i64, bytes: i64, waits: bool },
    /// `fsync`, or `fdatasync`.
    Sync { data_only: bool },
    /// `syncfs`.
    SyncSystem,
    /// `fchmod`, `fchown`, `futimens`.
    Attribute,
    /// `openat` of a new file in a folder.
    Create { name: &'a CStr },
    /// `renameat2` within a folder.
    Rename {
        from: &'a CStr,
        to: &'a CStr,
        flags: u32,
    },
    /// `linkat` within a folder.
    Link { from: &'a CStr, to: &'a CStr },
    /// `unlinkat` within a folder.
    Unlink { name: &'a CStr },
}

impl Call<'_> {
    /// Bytes that are to be moved.
    fn bytes(self) -> usize {
        match self {
            Self::Read { bytes, .. } | Self::Write { bytes, .. } | Self::Offload { bytes, .. } => {
                bytes
            }
            _ => 0,
        }
    }
}

/// A moment from which the time is taken that calls need. In a test it is the time that the test says they need:
/// how busy the machine is must not change what a copy does there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    #[cfg(not(test))]
    at: std::time::Instant,
    #[cfg(test)]
    at: Duration,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            #[cfg(not(test))]
            at: std::time::Instant::now(),
            #[cfg(test)]
            at: super::faulty::passed(),
        }
    }

    /// The time since then: in a test, that which calls of this thread took.
    pub(crate) fn elapsed(self) -> Duration {
        #[cfg(not(test))]
        let elapsed = self.at.elapsed();
        #[cfg(test)]
        let elapsed = super::faulty::passed().saturating_sub(self.at);
        elapsed
    }
}

/// Makes the call on `fd` by `raw`, which is told how many bytes to move: those of the call, never more.
#[cfg(not(test))]
#[inline]
pub(super) fn kernel<T>(
    _fd: RawFd,
    call: Call<'_>,
    raw: impl FnOnce(usize) -> std::io::Result<T>,
) -> std::io::Result<T> {
    raw(call.bytes())
}

/// Makes the call on `fd` by `raw`, unless a test has an answer of its own.
#[cfg(test)]
pub(super) fn kernel<T: super::faulty::Answer>(
    fd: RawFd,
    call: Call<'_>,
    raw: impl FnOnce(usize) -> std::io::Result<T>,
) -> std::io::Result<T> {
    super::faulty::kernel(fd, call, call.bytes(), raw)
}
