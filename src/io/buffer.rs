//! Buffers aligned for direct I/O and for whole pages.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

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

#[cfg(test)]
mod tests {
    use super::*;

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
