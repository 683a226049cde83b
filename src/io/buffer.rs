//! Buffers aligned for direct I/O and for whole pages.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
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
    /// # Panics
    /// When `length` exceeds `isize::MAX − 4095`, as every allocation of that size does; aborts, as the standard
    /// library's collections do, when the allocator has no memory left.
    pub fn new(length: usize) -> Self {
        if length == 0 {
            return Self {
                start: NonNull::dangling(),
                length,
            };
        }
        let layout = Self::layout(length);
        // SAFETY: the layout has a non-zero size, just checked.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else {
            handle_alloc_error(layout)
        };
        Self { start, length }
    }

    fn layout(length: usize) -> Layout {
        Layout::from_size_align(length, ALIGNMENT).expect("buffer length fits the address space")
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
        if self.length != 0 {
            // SAFETY: `start` came from the allocator with this very layout and is freed once.
            unsafe { dealloc(self.start.as_ptr(), Self::layout(self.length)) }
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
    fn buffers_are_aligned_zeroed_and_writable() {
        for length in [0, 1, 4095, 4096, 512 << 10] {
            let mut buffer = AlignedBuffer::new(length);
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
