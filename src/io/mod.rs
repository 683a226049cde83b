//! Positional I/O on file descriptors: the one place that talks to the kernel, and the only one with `unsafe`
//! that is shipped (`proofs/stacks` has some for the proofs).
//!
//! Each function is a thin, safe cover over one Linux system call (or one short sequence of them) through
//! [`libc`]. The first line of its documentation is the C call, then what it does here, then the man page.
//! What every caller would otherwise have to get right is handled once:
//!
//! - **Short transfers, EINTR and end of file** in [`transfer`]: a read stops short only at the end of the
//!   file, a write only with an error.
//! - **Offsets**: every transfer names its offset, so descriptors may be shared by any number of threads and
//!   the file position means nothing. Offsets and lengths are `u64` bytes; what does not fit `off_t` is
//!   `EOVERFLOW`, never a wrapped number.
//! - **Names**: changes to a folder go through [`folder::Folder`], one opened directory, so that a folder
//!   renamed meanwhile cannot split a temporary file from its target.
//!
//! Every function may be called from any thread and may block for as long as the kernel does. Errors are
//! [`std::io::Error`] with the kernel's `errno`; none of them panics.
//!
//! The module knows nothing of jobs or copies; those are [`crate::copy`]'s.
#![allow(unsafe_code)] // The workspace denies it everywhere else. Each block says why it is sound.

use std::io;

pub mod attribute;
pub mod buffer;
pub mod cache;
pub mod device;
pub mod durable;
pub mod extent;
#[cfg(test)]
pub(crate) mod faulty;
pub mod folder;
pub(crate) mod kernel;
pub mod lock;
pub mod offload;
pub mod process;
pub mod signals;
pub mod socket;
pub mod stat;
pub mod terminal;
pub mod transfer;

/// The error a call that returned −1 left behind, or the value it returned.
fn check(returned: libc::c_int) -> io::Result<libc::c_int> {
    if returned == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(returned)
    }
}

/// As [`check`], for calls that return a length or an offset.
fn check_long(returned: i64) -> io::Result<u64> {
    u64::try_from(returned).map_err(|_| io::Error::last_os_error())
}

/// Calls again for as long as a signal interrupts the call (EINTR).
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            answer => return answer,
        }
    }
}

/// An offset as the kernel takes it. Beyond `i64::MAX` it is `EOVERFLOW`, what the kernel says of such files.
fn offset(value: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(value).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))
}

/// A path as the kernel takes it. A NUL inside is `EINVAL`: no such path can exist.
fn c_path(path: &std::path::Path) -> io::Result<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt as _;
    std::ffi::CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
