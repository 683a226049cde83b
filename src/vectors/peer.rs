//! The other end of the adapter protocol: lines out, lines in, none of them waited for without end.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// A line longer than this, in bytes, is not one of the protocol.
const LINE_MAX: u64 = 1 << 20;
/// How many lines may wait to be judged.
const LINES_WAITING_MAX: usize = 1024;

/// The adapter is not there any more, or not any use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It has ended, or closed its output.
    Ended,
    /// Nothing came for this long.
    Silent(Duration),
    /// A line is too long, or no text.
    Garbled(String),
    /// What is sent does not reach it, or what it writes cannot be read.
    Broken(String),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Ended => f.write_str("the adapter has ended"),
            Lost::Silent(limit) => write!(f, "the adapter said nothing for {} s", limit.as_secs()),
            Lost::Garbled(what) => write!(f, "the adapter writes what is no line of JSON: {what}"),
            Lost::Broken(what) => write!(f, "the adapter cannot be reached: {what}"),
        }
    }
}

impl std::error::Error for Lost {}

/// An adapter.
pub struct Peer {
    lines: Receiver<Result<String, Lost>>,
    to: Box<dyn Write + Send>,
    child: Option<Child>,
    limit: Duration,
}

impl Peer {
    /// An adapter that reads from `to` and writes to `from`; it is lost when it says nothing for `limit`.
    pub fn new(
        to: impl Write + Send + 'static,
        from: impl Read + Send + 'static,
        limit: Duration,
    ) -> Peer {
        let (sender, lines) = sync_channel(LINES_WAITING_MAX);
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            while let Some(line) = read_line(&mut from) {
                let over = line.is_err();
                if sender.send(line).is_err() || over {
                    break;
                }
            }
        });
        Peer {
            lines,
            to: Box::new(to),
            child: None,
            limit,
        }
    }

    /// Starts `command` with the shell. What it writes to its standard error goes where ours goes.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn spawn(command: &str, limit: Duration) -> io::Result<Peer> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("its standard streams are missing"));
        };
        let mut peer = Peer::new(to, from, limit);
        peer.child = Some(child);
        Ok(peer)
    }

    /// Sends one line.
    pub(super) fn send(&mut self, line: &str) -> Result<(), Lost> {
        let sent = writeln!(self.to, "{line}").and_then(|()| self.to.flush());
        sent.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Lost::Ended,
            _ => Lost::Broken(error.to_string()),
        })
    }

    /// The next line.
    pub(super) fn receive(&mut self) -> Result<String, Lost> {
        match self.lines.recv_timeout(self.limit) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => Err(Lost::Silent(self.limit)),
            Err(RecvTimeoutError::Disconnected) => Err(Lost::Ended),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Its input ends; an adapter that does not take the hint is ended.
        self.to = Box::new(io::sink());
        if let Some(mut child) = self.child.take() {
            let asleep = matches!(
                self.lines
                    .recv_timeout(self.limit.min(Duration::from_secs(2))),
                Err(RecvTimeoutError::Timeout) | Ok(_)
            );
            if asleep {
                let _ = child.kill();
            }
            let _ = child.wait();
        }
    }
}

/// The next line without its end; nothing at the end of the stream.
fn read_line(from: &mut impl BufRead) -> Option<Result<String, Lost>> {
    let mut line = Vec::new();
    match from.take(LINE_MAX).read_until(b'\n', &mut line) {
        Ok(0) => None,
        Err(error) => Some(Err(Lost::Broken(error.to_string()))),
        Ok(_) => {
            if line.len() as u64 == LINE_MAX && line.last() != Some(&b'\n') {
                return Some(Err(Lost::Garbled(format!("more than {LINE_MAX} bytes"))));
            }
            Some(String::from_utf8(line).map_err(|_| Lost::Garbled("not UTF-8".to_owned())))
        }
    }
}
