//! Sockets of a server: made for their owner alone, who is at the other end, what can be sent without waiting.

use super::{check, check_long, retry};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// `socket(AF_UNIX, SOCK_STREAM)`, `fchmod(fd, mode)`, `bind(fd, path)`, `listen(fd, backlog)`.
///
/// A listening socket at `path`, which has these permission bits (less the process's mask) from its first moment
/// on: the kernel gives the name the mode of the socket, so there is no time at which it is open to others.
///
/// # References
/// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html),
/// [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html)
pub fn listen_at(path: &Path, mode: u32, backlog: i32) -> io::Result<UnixListener> {
    // SAFETY: all-zero bytes are a valid `sockaddr_un`.
    let mut address: libc::sockaddr_un = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    // The last byte of the address ends the name; a name with a zero inside would be another one.
    if bytes.len() >= address.sun_path.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    for (place, byte) in address.sun_path.iter_mut().zip(bytes) {
        *place = byte.cast_signed();
    }
    // SAFETY: no memory is passed.
    let fd =
        check(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: a new descriptor that nobody else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: no memory is passed; `socket` is open.
    check(unsafe { libc::fchmod(fd, mode) })?;
    let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: `address` is a live `sockaddr_un` of that length, which the kernel only reads.
    check(unsafe { libc::bind(fd, (&raw const address).cast(), length) })?;
    // SAFETY: no memory is passed; `socket` is open.
    check(unsafe { libc::listen(fd, backlog) })?;
    Ok(UnixListener::from(socket))
}

/// `getsockopt(fd, SOL_SOCKET, SO_PEERCRED)`.
///
/// The user at the other end of a connected Unix socket, as it was when it connected.
///
/// # References
/// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html), `SO_PEERCRED`
pub fn peer_user(fd: impl AsFd) -> io::Result<u32> {
    let mut answer = MaybeUninit::<libc::ucred>::zeroed();
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: `answer` is writable and `length` says how large it is; the descriptor is open, its owner is borrowed.
    check(unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            answer.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    // SAFETY: all-zero bytes are a valid `ucred` (integers only), and the kernel has filled it.
    Ok(unsafe { answer.assume_init() }.uid)
}

/// `send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL)`.
///
/// Sends what the socket takes at once, and says how much that was: `EAGAIN` where it is nothing.
///
/// # References
/// [send(2)](https://man7.org/linux/man-pages/man2/send.2.html)
pub fn send_now(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let fd = fd.as_fd().as_raw_fd();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let sent = retry(|| {
        // SAFETY: the kernel reads at most `bytes.len()` bytes of a live slice; the descriptor is open, its owner is
        // borrowed.
        check_long(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) } as i64)
    })?;
    Ok((sent as usize).min(bytes.len()))
}

/// `shutdown(fd, SHUT_RDWR)`.
///
/// Ends a connection, or listening, for every thread that waits on it.
///
/// # References
/// [shutdown(2)](https://man7.org/linux/man-pages/man2/shutdown.2.html)
pub fn shut(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: no memory is passed; the descriptor is open, its owner is borrowed.
    check(unsafe { libc::shutdown(fd.as_fd().as_raw_fd(), libc::SHUT_RDWR) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_socket_has_its_mode_and_knows_who_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = listen_at(&path, 0o600, 4).unwrap();
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let mut client = UnixStream::connect(&path).unwrap();
        let (mut here, _) = listener.accept().unwrap();
        assert_eq!(
            peer_user(&here).unwrap(),
            super::super::process::effective_user()
        );
        client.write_all(b"x").unwrap();
        let mut byte = [0];
        here.read_exact(&mut byte).unwrap();
        assert_eq!(send_now(&here, b"yz").unwrap(), 2);
        // Nobody reads: at some point the socket takes no more, and nobody waits.
        let full = loop {
            match send_now(&here, &[0; 4096]) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(full.raw_os_error(), Some(libc::EAGAIN));
        shut(&listener).unwrap();
        assert!(listener.accept().is_err());
        let taken = listen_at(&path, 0o600, 4).unwrap_err();
        assert_eq!(taken.raw_os_error(), Some(libc::EADDRINUSE));
        let long = listen_at(&folder.path().join("x".repeat(200)), 0o600, 4).unwrap_err();
        assert_eq!(long.raw_os_error(), Some(libc::ENAMETOOLONG));
    }
}
