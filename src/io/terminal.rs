//! The terminal's size.

use super::check;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

/// `ioctl(fd, TIOCGWINSZ, &size)`.
///
/// Columns and rows of the terminal that `fd` is; either may be 0 where nobody has set it.
///
/// # References
/// [TIOCGWINSZ(2const)](https://man7.org/linux/man-pages/man2/TIOCGWINSZ.2const.html)
pub fn size(fd: impl AsFd) -> io::Result<(u16, u16)> {
    let mut answer = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: `answer` is writable and as large as the kernel's `struct winsize`; the descriptor is open, its owner is
    // borrowed.
    check(unsafe {
        libc::ioctl(
            fd.as_fd().as_raw_fd(),
            libc::TIOCGWINSZ,
            answer.as_mut_ptr(),
        )
    })?;
    // SAFETY: all-zero bytes are a valid `winsize` (integers only), and the kernel has filled it.
    let size = unsafe { answer.assume_init() };
    Ok((size.ws_col, size.ws_row))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_is_no_terminal() {
        let error = super::size(tempfile::tempfile().unwrap()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
    }
}
