//! Where clients come from: a Unix socket in a folder of one's own, or a loopback address.

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::stream::Stream;
use crate::io::process::effective_user;
use crate::io::socket;
use crate::io::stat::{Identity, stat_link, stat_path};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// Where a server listens: `unix:PATH` or `tcp:ADDRESS:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket of this name.
    Unix(PathBuf),
    /// A loopback address.
    Tcp(SocketAddr),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("there is no path after 'unix:'".to_owned());
            }
            return Ok(Address::Unix(path.into()));
        }
        let Some(rest) = text.strip_prefix("tcp:") else {
            return Err("it is neither unix:PATH nor tcp:127.0.0.1:PORT".to_owned());
        };
        let address: SocketAddr = rest.parse().map_err(|_| {
            "after 'tcp:' comes an address and a port, such as 127.0.0.1:4444 or [::1]:4444"
                .to_owned()
        })?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "{} is no loopback address: QMP has no password, and whoever connects may overwrite files",
                address.ip()
            ));
        }
        Ok(Address::Tcp(address))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(out, "unix:{}", path.display()),
            Address::Tcp(address) => write!(out, "tcp:{address}"),
        }
    }
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The folder is open to others, who could put a socket of theirs in this one's place.
    #[error("the folder {} is open to others: they could put a socket of theirs in the place of this one", .folder.display())]
    OpenFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// There is something of that name that is no socket of a server that is gone.
    #[error("{} exists, and {why}", .path.display())]
    Exists {
        /// The path.
        path: PathBuf,
        /// What it is.
        why: &'static str,
    },
    /// The kernel refuses.
    #[error("cannot listen at {address}: {source}")]
    Refused {
        /// Where.
        address: String,
        /// What it says.
        source: io::Error,
    },
}

impl ListenError {
    /// What to do about it.
    pub fn way_out(&self) -> &'static str {
        match self {
            ListenError::OpenFolder { .. } => {
                "make a folder of your own for it (mkdir -m 700 DIR), and put the socket there"
            }
            ListenError::Exists { .. } => "choose another name, or remove that one",
            ListenError::Refused { .. } => {
                "choose another address: a path of at most 107 bytes in a folder that exists, or a free port"
            }
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    address: Address,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Unix(UnixListener, Identity),
    Tcp(TcpListener),
}

impl Listener {
    /// Listens at `address`. A socket is made with mode 0600; one that a server which is gone left there is replaced.
    ///
    /// # Errors
    /// It cannot be had, or is not safe there.
    pub fn bind(address: &Address) -> Result<Listener, ListenError> {
        let refused = |source| ListenError::Refused {
            address: address.to_string(),
            source,
        };
        match address {
            Address::Unix(path) => {
                guard_folder(path)?;
                clear(path)?;
                let listener = socket::listen_at(path, 0o600, BACKLOG).map_err(refused)?;
                let identity = stat_link(path).map_err(refused)?.identity;
                Ok(Listener {
                    address: address.clone(),
                    kind: Kind::Unix(listener, identity),
                })
            }
            Address::Tcp(wanted) => {
                let listener = TcpListener::bind(wanted).map_err(refused)?;
                // Where port 0 was asked for, the one that was given.
                let given = listener.local_addr().map_err(refused)?;
                Ok(Listener {
                    address: Address::Tcp(given),
                    kind: Kind::Tcp(listener),
                })
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for the next client. One that is another user's is sent away.
    ///
    /// # Errors
    /// The kernel's; after [`stop`](Self::stop) always.
    pub fn accept(&self) -> io::Result<Option<Stream>> {
        match &self.kind {
            Kind::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                // The mode keeps others out; this does where somebody changes it.
                let allowed = socket::peer_user(&stream)
                    .is_ok_and(|user| user == effective_user() || user == 0);
                Ok(allowed.then_some(Stream::Unix(stream)))
            }
            Kind::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                // Answers are small and waited for. Without it they are only slower.
                let _ = stream.set_nodelay(true);
                Ok(Some(Stream::Tcp(stream)))
            }
        }
    }

    /// Lets nobody in any more, and removes the socket's name, if it still is this one's.
    pub fn stop(&self) {
        // A listener that is gone lets nobody in either.
        let _ = socket::shut(self);
        if let (Address::Unix(path), Kind::Unix(_, identity)) = (&self.address, &self.kind)
            && stat_link(path).is_ok_and(|found| found.identity == *identity)
        {
            let _ = fs::remove_file(path);
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Unix(listener, _) => listener.as_fd(),
            Kind::Tcp(listener) => listener.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whoever may write in a folder may put something else in the socket's place, once it is gone at the latest.
fn guard_folder(path: &Path) -> Result<(), ListenError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let found = stat_path(folder).map_err(|source| ListenError::Refused {
        address: format!("unix:{}", path.display()),
        source,
    })?;
    let own = found.user == effective_user() || found.user == 0;
    if own && found.mode & 0o022 == 0 {
        Ok(())
    } else {
        Err(ListenError::OpenFolder {
            folder: folder.to_owned(),
        })
    }
}

/// Removes the socket of a server that is gone. Anything else of that name stays.
fn clear(path: &Path) -> Result<(), ListenError> {
    let exists = |why| ListenError::Exists {
        path: path.to_owned(),
        why,
    };
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(exists("is no socket"));
    }
    if stat_link(path).is_ok_and(|found| found.user != effective_user()) {
        return Err(exists("is another user's"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => fs::remove_file(path)
            .map_err(|source| ListenError::Refused {
                address: format!("unix:{}", path.display()),
                source,
            }),
        _ => Err(exists("somebody listens there")),
    }
}
