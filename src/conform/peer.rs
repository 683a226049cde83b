//! The implementation at the other end: started or connected to, talked to line by line, and ended.
//!
//! Nothing here waits without an end. What is sent goes through a thread of its own, so a peer that does not read
//! cannot stop us; what it says is read by another, which holds back when nobody asks; what it complains of on its
//! standard error is kept, the last of it, for whoever wants to know why it died. Dropping a peer ends it, by its
//! id, and waits for it.

mod source;

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use source::Source;

use crate::io::process::kill_group;

/// A line longer than this, in bytes, is not one of the protocol.
const LINE_MAX: u64 = 1 << 20;
/// How many lines may wait to be judged.
const LINES_WAITING_MAX: usize = 1024;
/// How much of the standard error is kept, bytes.
const LAST_WORDS_MAX: usize = 4096;
/// How often a wait looks whether it should go on.
const LOOK: Duration = Duration::from_millis(50);
/// A peer of ours all of whose threads sleep for so long, with a command unanswered, will not answer it.
const ASLEEP_MAX: Duration = Duration::from_secs(2);
/// How long a peer may take to end by itself once its connection is closed.
const PARTING_MAX: Duration = Duration::from_secs(1);

/// Makes a connection; it is given the folder of the images.
pub type Make = dyn Fn(&Path) -> io::Result<Link> + Send + Sync;

/// A connection, and the process behind it where it is ours.
pub struct Link {
    /// What is written here, the peer reads.
    pub to: Box<dyn Write + Send>,
    /// What the peer writes.
    pub from: Box<dyn Read + Send>,
    /// Ended with the connection, and its whole process group with it.
    pub child: Option<Child>,
}

/// Why nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It has ended, or closed its output.
    Ended,
    /// Nothing came for this long.
    Silent(Duration),
    /// A line is too long, or no text.
    Garbled(String),
    /// Whoever runs this wants it to end.
    Interrupted,
}

/// How a peer ended, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastWords {
    /// Its exit status, where it is a process of ours and has ended.
    pub status: Option<String>,
    /// The end of what it wrote to its standard error.
    pub stderr: String,
}

/// A peer.
pub struct Peer {
    lines: Receiver<Result<String, Lost>>,
    to: Option<Sender<Vec<u8>>>,
    child: Option<Child>,
    stderr: Arc<Mutex<VecDeque<u8>>>,
    /// Where its trace log is.
    log: Option<PathBuf>,
    /// It is one process that does nothing but what we ask, so it may be watched sleeping.
    watched: bool,
    limit: Duration,
    stop: Arc<AtomicBool>,
    socket: Option<PathBuf>,
}

impl Peer {
    /// A peer at the other end of `link`.
    pub fn new(mut link: Link, limit: Duration, stop: Arc<AtomicBool>) -> Peer {
        let (sender, lines) = sync_channel(LINES_WAITING_MAX);
        let from = link.from;
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            while let Some(line) = read_line(&mut from) {
                let over = line.is_err();
                if sender.send(line).is_err() || over {
                    break;
                }
            }
        });
        let (to, waiting) = channel::<Vec<u8>>();
        let mut writer = link.to;
        thread::spawn(move || {
            for bytes in waiting {
                // That it reads no more shows when nothing is answered.
                if writer
                    .write_all(&bytes)
                    .and_then(|()| writer.flush())
                    .is_err()
                {
                    break;
                }
            }
        });
        let stderr = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(mut from) = link.child.as_mut().and_then(|child| child.stderr.take()) {
            let kept = Arc::clone(&stderr);
            thread::spawn(move || {
                let mut bytes = [0; 1024];
                while let Ok(read @ 1..) = from.read(&mut bytes) {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.extend(&bytes[..read]);
                    let over = kept.len().saturating_sub(LAST_WORDS_MAX);
                    kept.drain(..over);
                }
            });
        }
        Peer {
            lines,
            to: Some(to),
            child: link.child,
            stderr,
            log: None,
            watched: false,
            limit,
            stop,
            socket: None,
        }
    }

    /// Sends one line, which is not waited for.
    pub(super) fn send(&mut self, line: &str) {
        if let Some(to) = &self.to {
            let _ = to.send(format!("{line}\n").into_bytes());
        }
    }

    /// The next line, if there is one already.
    pub(super) fn receive_now(&mut self) -> Option<Result<String, Lost>> {
        self.lines.try_recv().ok()
    }

    /// The next line, waited for as long as it may take.
    pub(super) fn receive(&mut self) -> Result<String, Lost> {
        let begun = Instant::now();
        let mut asleep: Option<(Instant, u64)> = None;
        loop {
            match self.lines.recv_timeout(LOOK) {
                Ok(line) => return line,
                Err(RecvTimeoutError::Disconnected) => return Err(Lost::Ended),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(Lost::Interrupted);
            }
            if begun.elapsed() >= self.limit {
                return Err(Lost::Silent(self.limit));
            }
            asleep = match (self.sleeps(), asleep) {
                (Some(spent), Some((since, before))) if spent == before => {
                    if since.elapsed() >= ASLEEP_MAX.min(self.limit) {
                        return Err(Lost::Silent(since.elapsed()));
                    }
                    asleep
                }
                (Some(spent), _) => Some((Instant::now(), spent)),
                (None, _) => None,
            };
        }
    }

    /// How much processor time it has had, where it can be seen that every thread of it sleeps.
    fn sleeps(&self) -> Option<u64> {
        if !self.watched {
            return None;
        }
        let tasks = format!("/proc/{}/task", self.child.as_ref()?.id());
        let mut spent = 0;
        for task in std::fs::read_dir(tasks).ok()? {
            let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
            // The name, in parentheses, may hold anything.
            let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
            if fields.next()? != "S" {
                return None;
            }
            // Fields 14 and 15 of proc(5): user and system time.
            let mut times = fields.skip(10);
            spent += times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?;
        }
        Some(spent)
    }

    /// Its trace log.
    pub(super) fn log(&self) -> Option<&Path> {
        self.log.as_deref()
    }

    /// Its process.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Ends it, and tells how it went. One that has closed its output is `dying`, and given time for it.
    pub fn end(mut self, dying: bool) -> LastWords {
        let patience = if dying { self.limit } else { LOOK };
        self.close();
        let status = self.child.take().map(|mut child| {
            let began = Instant::now();
            let mut ended = child.try_wait().ok().flatten();
            while ended.is_none() && began.elapsed() < patience {
                thread::sleep(Duration::from_millis(2));
                ended = child.try_wait().ok().flatten();
            }
            let by_itself = ended.is_some();
            let status = end(&mut child).map_or_else(|| "unknown".to_owned(), said);
            if by_itself {
                status
            } else {
                format!("it had to be ended ({status})")
            }
        });
        let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let stderr: Vec<u8> = stderr.iter().copied().collect();
        LastWords {
            status,
            stderr: String::from_utf8_lossy(&stderr).trim().to_owned(),
        }
    }

    fn close(&mut self) {
        self.to = None;
        if let Some(path) = self.socket.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.send(r#"{"execute":"quit"}"#);
        }
        self.close();
        if let Some(mut child) = self.child.take() {
            let begun = Instant::now();
            while begun.elapsed() < PARTING_MAX
                && !self.stop.load(Ordering::Relaxed)
                && child.try_wait().is_ok_and(|status| status.is_none())
            {
                // What it still says is in its way until it is read.
                while self.lines.try_recv().is_ok() {}
                thread::sleep(Duration::from_millis(1));
            }
            end(&mut child);
        }
    }
}

/// Ends a process of ours, and what it started in its group; how it went.
fn end(child: &mut Child) -> Option<ExitStatus> {
    // Until it is waited for, its id, which is that of its group, is nobody else's.
    let ended = child.try_wait().ok().flatten();
    if ended.is_none() {
        let _ = kill_group(child.id());
        let _ = child.kill();
    }
    child.wait().ok()
}

/// An exit status in words.
fn said(status: ExitStatus) -> String {
    let signal = |signal: i32| match signal {
        6 => "signal 6 (SIGABRT)".to_owned(),
        9 => "signal 9 (SIGKILL)".to_owned(),
        11 => "signal 11 (SIGSEGV)".to_owned(),
        other => format!("signal {other}"),
    };
    match (status.code(), status.signal()) {
        // That is how a shell says it of what it ran.
        (Some(code @ 129..=192), _) => format!("exit code {code}: {}", signal(code - 128)),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => signal(number),
        (None, None) => "no exit code".to_owned(),
    }
}

/// The next line without its end; nothing at the end of the stream.
fn read_line(from: &mut impl BufRead) -> Option<Result<String, Lost>> {
    let mut line = Vec::new();
    match from.take(LINE_MAX).read_until(b'\n', &mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => {
            if line.len() as u64 == LINE_MAX && line.last() != Some(&b'\n') {
                return Some(Err(Lost::Garbled(format!(
                    "a line of more than {LINE_MAX} bytes"
                ))));
            }
            let text = String::from_utf8(line);
            Some(text.map_err(|_| Lost::Garbled("a line that is not UTF-8".to_owned())))
        }
    }
}
