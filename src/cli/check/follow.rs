//! A trace that is still being written: what is there, then what comes, until Ctrl-C.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
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
}

/// Reads on at the end of a file; ends when a signal says so, or, of what is no file, when it ends.
pub struct Following {
    news: Receiver<News>,
    piece: Vec<u8>,
    at: usize,
    over: bool,
    listener: Waker,
}

impl Following {
    /// Follows the file `path`, or standard input where it is `-`.
    ///
    /// # Errors
    /// It cannot be opened, or signals cannot be listened to.
    pub fn open(path: &Path) -> io::Result<Following> {
        let (source, grows): (Box<dyn Read + Send>, bool) = if path.as_os_str() == "-" {
            (Box::new(io::stdin()), false)
        } else {
            let file = File::open(path)?;
            let kind = file.metadata()?;
            if kind.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            (Box::new(file), kind.is_file())
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
            .spawn(move || read_on(source, grows, &tell))?;
        Ok(Following {
            news,
            piece: Vec::new(),
            at: 0,
            over: false,
            listener,
        })
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

fn read_on(mut source: impl Read, grows: bool, tell: &SyncSender<News>) {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let news = match source.read(&mut piece) {
            Ok(0) if grows => {
                thread::sleep(LOOK_AGAIN);
                continue;
            }
            Ok(0) => News::End,
            Ok(length) => {
                piece.truncate(length);
                News::Bytes(piece)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => News::Failed(error),
        };
        let last = !matches!(news, News::Bytes(_));
        if tell.send(news).is_err() || last {
            return;
        }
    }
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
