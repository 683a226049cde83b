//! Buffers aligned for direct I/O and for whole pages, and a pool that hands them out again.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Alignment of every buffer, in bytes: a page, which is also enough for `O_DIRECT` on every common device.
pub const ALIGNMENT: usize = 4096;

/// A zeroed buffer of fixed length whose first byte is aligned to [`ALIGNMENT`].
#[derive(Debug)]
pub struct AlignedBuffer {
    start: NonNull<u8>,
    length: usize,
}

impl AlignedBuffer {
    /// A buffer of `length` zero bytes.
    ///
    /// # Errors
    /// `ENOMEM` when there is no room for it: buffers are large enough that a process under a limit meets it here,
    /// and has files to tidy away.
    pub fn new(length: usize) -> io::Result<Self> {
        if length == 0 {
            return Ok(Self {
                start: NonNull::dangling(),
                length,
            });
        }
        let no_memory = || io::Error::from_raw_os_error(libc::ENOMEM);
        let layout = Self::layout(length).ok_or_else(no_memory)?;
        // SAFETY: the layout has a non-zero size, just checked.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).ok_or_else(no_memory)?;
        Ok(Self { start, length })
    }

    fn layout(length: usize) -> Option<Layout> {
        Layout::from_size_align(length, ALIGNMENT).ok()
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` points to `length` initialised (zeroed, later written) bytes that live as long as `self`;
        // for length 0 a dangling, aligned, non-null pointer is allowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if self.length == 0 {
            return;
        }
        if let Some(layout) = Self::layout(self.length) {
            // SAFETY: `start` came from the allocator with this very layout and is freed once.
            unsafe { dealloc(self.start.as_ptr(), layout) }
        }
    }
}

// SAFETY: the buffer owns its bytes alone, as a `Vec<u8>` does; nothing in it is tied to a thread.
unsafe impl Send for AlignedBuffer {}
// SAFETY: shared references only read.
unsafe impl Sync for AlignedBuffer {}

/// Buffers that are used again, by whoever needs one next: a fresh one costs a fault for every page of it.
///
/// They come in powers of two, so that jobs of different pieces share them. What is given back beyond a bound is freed.
#[derive(Debug)]
pub struct BufferPool {
    kept: Mutex<Kept>,
    kept_bytes_max: usize,
}

#[derive(Debug)]
struct Kept {
    by_length: BTreeMap<usize, Vec<AlignedBuffer>>,
    bytes: usize,
}

/// A buffer of a [`BufferPool`], which gets it back when this is dropped.
#[derive(Debug)]
pub struct PooledBuffer<'pool> {
    pool: &'pool BufferPool,
    buffer: AlignedBuffer,
    length: usize,
}

impl BufferPool {
    /// A pool that keeps at most so many bytes that nobody uses.
    pub const fn new(kept_bytes_max: usize) -> Self {
        Self {
            kept: Mutex::new(Kept {
                by_length: BTreeMap::new(),
                bytes: 0,
            }),
            kept_bytes_max,
        }
    }

    /// A buffer of `length` bytes, aligned to [`ALIGNMENT`]. What is in it is left over from its last user: it is for
    /// whoever fills it first. With debug assertions nothing of that is left.
    ///
    /// # Errors
    /// As [`AlignedBuffer::new`].
    pub fn take(&self, length: usize) -> io::Result<PooledBuffer<'_>> {
        let whole = length
            .max(ALIGNMENT)
            .checked_next_power_of_two()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        let found = self.kept().take(whole);
        let mut buffer = match found {
            Some(buffer) => buffer,
            None => AlignedBuffer::new(whole)?,
        };
        if cfg!(debug_assertions) {
            buffer[..length].fill(LEFT_OVER);
        }
        Ok(PooledBuffer {
            pool: self,
            buffer,
            length,
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Every step of what it guards leaves it whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a buffer of a pool holds with debug assertions: nothing that could be taken for a file's.
const LEFT_OVER: u8 = 0xa5;

impl Kept {
    fn take(&mut self, length: usize) -> Option<AlignedBuffer> {
        let found = self.by_length.get_mut(&length)?.pop()?;
        self.bytes -= length;
        Some(found)
    }
}

impl Deref for PooledBuffer<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl DerefMut for PooledBuffer<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.length]
    }
}

impl Drop for PooledBuffer<'_> {
    fn drop(&mut self) {
        let nothing = AlignedBuffer {
            start: NonNull::dangling(),
            length: 0,
        };
        let buffer = std::mem::replace(&mut self.buffer, nothing);
        let length = buffer.len();
        let mut kept = self.pool.kept();
        if kept.bytes.saturating_add(length) <= self.pool.kept_bytes_max {
            kept.bytes += length;
            kept.by_length.entry(length).or_default().push(buffer);
        } else {
            drop(kept);
            drop(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_given_back_is_handed_out_again_and_only_so_many_are_kept() {
        let pool = BufferPool::new(3 * ALIGNMENT);
        let mut one = pool.take(100).unwrap();
        let place = one.as_ptr();
        assert_eq!((one.len(), place as usize % ALIGNMENT), (100, 0));
        one.fill(7);
        drop(one);
        let again = pool.take(ALIGNMENT).unwrap();
        assert_eq!(again.as_ptr(), place);
        if cfg!(debug_assertions) {
            assert!(again.iter().all(|byte| *byte == LEFT_OVER));
        }
        let (two, three) = (pool.take(5000).unwrap(), pool.take(1).unwrap());
        assert_eq!(two.len(), 5000);
        drop((again, two, three));
        // Of 4, 8 and 4 KiB the last has no room.
        assert_eq!(pool.kept().bytes, 3 * ALIGNMENT);
        drop(pool.take(ALIGNMENT + 1).unwrap());
        assert_eq!(pool.kept().bytes, 3 * ALIGNMENT);
        assert!(pool.take(0).unwrap().is_empty());
        let error = pool.take(usize::MAX).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    }

    #[test]
    fn a_buffer_there_is_no_room_for_is_an_error() {
        for length in [usize::MAX, isize::MAX as usize / ALIGNMENT * ALIGNMENT] {
            let error = AlignedBuffer::new(length).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
        }
    }

    #[test]
    fn buffers_are_aligned_zeroed_and_writable() {
        for length in [0, 1, 4095, 4096, 512 << 10] {
            let mut buffer = AlignedBuffer::new(length).unwrap();
            assert_eq!(buffer.len(), length);
            assert!(buffer.iter().all(|byte| *byte == 0));
            if length > 0 {
                assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0);
                buffer.fill(7);
                assert_eq!(buffer[length - 1], 7);
            }
        }
    }
}
