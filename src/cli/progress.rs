//! The progress bar: on standard error, only on a terminal, only for what takes over a second.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work shorter than this needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the bar moves.
const FRAME: Duration = Duration::from_millis(100);

/// What a bar shows.
pub struct Shown {
    /// Bytes done.
    pub done: u64,
    /// Bytes in total.
    pub total: u64,
    /// A few words on the state.
    pub words: String,
}

/// A bar that looks at its work from a thread of its own, and vanishes when dropped.
pub struct Bar {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bar {
    /// A bar that asks `look` what to show; without a terminal it shows nothing.
    pub fn watch(look: impl Fn() -> Shown + Send + 'static) -> Bar {
        if !io::stderr().is_terminal() {
            return Bar {
                end: None,
                thread: None,
            };
        }
        let (end, ended) = channel();
        let thread = thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || {
                if ended.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                if let Ok(style) = ProgressStyle::with_template(
                    "{bar:30} {percent:>3} %  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta}  {msg}",
                ) {
                    bar.set_style(style);
                }
                loop {
                    let shown = look();
                    bar.set_length(shown.total);
                    bar.set_position(shown.done);
                    bar.set_message(shown.words);
                    if ended.recv_timeout(FRAME) != Err(RecvTimeoutError::Timeout) {
                        break;
                    }
                }
                bar.finish_and_clear();
            })
            .ok();
        Bar {
            end: Some(end),
            thread,
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A bar that panicked has said so; what it showed goes on.
            let _ = thread.join();
        }
    }
}
