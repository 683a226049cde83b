//! A trace that is still being written: what is there, then what comes, until Ctrl-C.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use blockjob::io::signals::{Signal, Signals, Waker, stop_process};

/// How long after its writing something is read, at the most.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How much is read at a time, bytes, and how many such pieces wait to be judged.
const PIECE_BYTES: usize = 1 << 16;
const PIECES_MAX: usize = 16;

/// What a thread that waits has to say.
enum News {
    Bytes(Vec<u8>),
    Failed(io::Error),
    /// No more will come, or nobody wants to hear of it.
    End,
    /// No more will come, because this became of the file.
    Lost(&'static str),
}

/// The file became shorter than what was read of it.
const TRUNCATED: &str = "the file was truncated while it was followed: judged up to there; what is written to it now \
                         is another recording, to be followed anew";
/// Its name leads elsewhere.
const REPLACED: &str = "the file was renamed or replaced while it was followed: judged to its end; what has its name now \
                        is another recording, to be followed anew";

/// Reads on at the end of a file; ends when a signal says so, or, of what is no file, when it ends.
pub struct Following {
    news: Receiver<News>,
    piece: Vec<u8>,
    at: usize,
    over: bool,
    listener: Waker,
    lost: Option<&'static str>,
}

/// What is read.
enum Source {
    /// A file that may grow, by this name.
    Growing(File, PathBuf),
    /// Anything that ends by itself.
    Ending(Box<dyn Read + Send>),
}

impl Following {
    /// Follows the file `path`, or standard input where it is `-`.
    ///
    /// # Errors
    /// It cannot be opened, or signals cannot be listened to.
    pub fn open(path: &Path) -> io::Result<Following> {
        let source = if path.as_os_str() == "-" {
            Source::Ending(Box::new(io::stdin()))
        } else {
            let file = File::open(path)?;
            let kind = file.metadata()?;
            if kind.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            if kind.is_file() {
                Source::Growing(file, path.to_owned())
            } else {
                Source::Ending(Box::new(file))
            }
        };
        let (tell, news) = sync_channel(PIECES_MAX);
        let signals = Signals::install()?;
        let listener = signals.waker();
        thread::Builder::new().name("signals".to_owned()).spawn({
            let tell = tell.clone();
            move || listen(&signals, &tell)
        })?;
        // It may wait for ever, so nobody waits for it.
        thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || read_on(source, &tell))?;
        Ok(Following {
            news,
            piece: Vec::new(),
            at: 0,
            over: false,
            listener,
            lost: None,
        })
    }

    /// Why no more came, where something became of the file.
    pub const fn lost(&self) -> Option<&'static str> {
        self.lost
    }
}

impl Read for Following {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            if self.over {
                return Ok(0);
            }
            match self.news.recv() {
                Ok(News::Bytes(piece)) => {
                    self.piece = piece;
                    self.at = 0;
                }
                Ok(News::Failed(error)) => return Err(error),
                Ok(News::Lost(why)) => {
                    self.lost = Some(why);
                    self.over = true;
                }
                Ok(News::End) | Err(_) => self.over = true,
            }
        }
        let rest = &self.piece[self.at..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        Ok(length)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.listener.wake();
    }
}

fn read_on(mut source: Source, tell: &SyncSender<News>) {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let read = match &mut source {
            Source::Growing(file, _) => file.read(&mut piece),
            Source::Ending(reader) => reader.read(&mut piece),
        };
        let news = match (read, &mut source) {
            (Ok(0), Source::Growing(file, path)) => {
                let Some(why) = became(file, path) else {
                    thread::sleep(LOOK_AGAIN);
                    continue;
                };
                News::Lost(why)
            }
            (Ok(0), Source::Ending(_)) => News::End,
            (Ok(length), _) => {
                piece.truncate(length);
                News::Bytes(piece)
            }
            (Err(error), _) if error.kind() == io::ErrorKind::Interrupted => continue,
            (Err(error), _) => News::Failed(error),
        };
        let last = !matches!(news, News::Bytes(_));
        if tell.send(news).is_err() || last {
            return;
        }
    }
}

/// What became of a file that was read to its end, unless it is still there and may grow.
fn became(file: &mut File, path: &Path) -> Option<&'static str> {
    let here = file.metadata().ok()?;
    if here.len() < file.stream_position().ok()? {
        return Some(TRUNCATED);
    }
    let same = |there: fs::Metadata| (there.dev(), there.ino()) == (here.dev(), here.ino());
    // Whoever rotates logs may write to the renamed one for a moment: it has to be at its end still.
    let replaced = match fs::metadata(path) {
        Ok(there) => !same(there),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    let ended = || file.metadata().is_ok_and(|now| now.len() == here.len());
    (replaced && ended()).then_some(REPLACED)
}

fn listen(signals: &Signals, tell: &SyncSender<News>) {
    while let Ok(Some(signal)) = signals.next() {
        match signal {
            Signal::Interrupt | Signal::Terminate | Signal::Hangup => {
                // What was read before is judged first.
                let _ = tell.send(News::End);
                return;
            }
            Signal::Stop => {
                let _ = stop_process();
            }
            Signal::Continue | Signal::User1 | Signal::User2 => {}
        }
    }
}
