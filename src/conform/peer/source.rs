//! Where peers come from: started, or connected to.

use std::fmt;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Link, Make, Peer, end, said};

/// How long a socket may refuse us that had another client before.
const AGAIN_MAX: Duration = Duration::from_secs(2);

/// Where peers come from.
#[derive(Clone)]
pub enum Source {
    /// A `qemu-storage-daemon`, by name or path.
    Daemon {
        /// The program.
        program: PathBuf,
        /// It writes its trace log beside the images.
        witness: bool,
    },
    /// A command for the shell that speaks QMP on its standard streams, or, where it has `{socket}` in it, on the
    /// socket that it makes there. `{dir}` is the folder of the images.
    Command(String),
    /// Something that listens there.
    Socket(PathBuf),
    /// Whatever a function makes of the images' folder.
    Made(Arc<Make>),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Daemon { program, .. } => write!(f, "{}", program.display()),
            Source::Command(command) => f.write_str(command),
            Source::Socket(path) => write!(f, "unix:{}", path.display()),
            Source::Made(_) => f.write_str("a peer"),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Source {
    /// Starts one, or connects; `folder` is for its images, and `limit` how long it may be silent while an answer
    /// is due. `stop` ends every wait.
    ///
    /// # Errors
    /// It cannot be started, or nothing listens.
    pub fn start(
        &self,
        folder: &Path,
        limit: Duration,
        stop: &Arc<AtomicBool>,
    ) -> io::Result<Peer> {
        let mut log = None;
        let mut socket = None;
        let link = match self {
            Source::Daemon { program, witness } => {
                let mut command = Command::new(program);
                command.args(["--chardev", "stdio,id=m", "--monitor", "chardev=m"]);
                if *witness {
                    let path = folder.join("trace.log");
                    // What an earlier one wrote there is not of this one.
                    std::fs::write(&path, "")?;
                    command.arg("--trace").arg(format!(
                        "enable=job_*,file={}",
                        path.display().to_string().replace(',', ",,")
                    ));
                    log = Some(path);
                }
                child(command)?
            }
            Source::Command(text) => {
                let path = folder.join("qmp.socket");
                let text = text.replace("{dir}", &quoted(folder));
                let mut shell = Command::new("/bin/sh");
                if text.contains("{socket}") {
                    let _ = std::fs::remove_file(&path);
                    shell
                        .arg("-c")
                        .arg(text.replace("{socket}", &quoted(&path)));
                    let mut link = child(shell)?;
                    let stream = connect(&path, link.child.as_mut(), limit, stop)?;
                    link.from = Box::new(stream.try_clone()?);
                    link.to = Box::new(Closing(stream));
                    socket = Some(path);
                    link
                } else {
                    shell.arg("-c").arg(text);
                    child(shell)?
                }
            }
            Source::Socket(path) => {
                let stream = again(path, limit.min(AGAIN_MAX), stop)?;
                Link {
                    from: Box::new(stream.try_clone()?),
                    to: Box::new(Closing(stream)),
                    child: None,
                }
            }
            Source::Made(make) => make(folder)?,
        };
        let mut peer = Peer::new(link, limit, Arc::clone(stop));
        peer.watched = matches!(self, Source::Daemon { .. });
        peer.log = log;
        peer.socket = socket;
        Ok(peer)
    }

    /// Whether another can be started where one is lost.
    pub const fn starts(&self) -> bool {
        !matches!(self, Source::Socket(_))
    }
}

/// For the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

/// A connection that ends for its reader too when its writer is dropped.
struct Closing(UnixStream);

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

/// Starts a process of ours, in a group of its own: what the terminal sends to ours is not for it.
fn child(mut command: Command) -> io::Result<Link> {
    let mut child = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(to), Some(from)) => Ok(Link {
            to: Box::new(to),
            from: Box::new(from),
            child: Some(child),
        }),
        _ => Err(io::Error::other("its standard streams are missing")),
    }
}

/// Connects, also where the one before has only just gone: one that has one client at a time does not listen
/// meanwhile.
fn again(path: &Path, limit: Duration, stop: &AtomicBool) -> io::Result<UnixStream> {
    let begun = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && begun.elapsed() < limit
                    && !stop.load(Ordering::Relaxed) =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            connected => return connected,
        }
    }
}

/// Connects as soon as it listens.
fn connect(
    path: &Path,
    mut child: Option<&mut Child>,
    limit: Duration,
    stop: &AtomicBool,
) -> io::Result<UnixStream> {
    let begun = Instant::now();
    loop {
        let error = match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let ended = match &mut child {
            Some(child) => child.try_wait()?,
            None => None,
        };
        if ended.is_some() || begun.elapsed() > limit || stop.load(Ordering::Relaxed) {
            if let Some(child) = child {
                end(child);
            }
            return Err(match ended {
                Some(status) => io::Error::other(format!(
                    "it ended before it listened on the socket: {}",
                    said(status)
                )),
                None => io::Error::new(
                    error.kind(),
                    format!("it does not listen on the socket: {error}"),
                ),
            });
        }
        thread::sleep(Duration::from_millis(5));
    }
}
