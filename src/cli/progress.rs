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

/// What is shown.
pub enum Shown {
    /// A bar.
    Bytes {
        /// Bytes done.
        done: u64,
        /// Bytes in total.
        total: u64,
        /// A few words on the state.
        words: String,
    },
    /// Words only, where nobody knows how much there is to do.
    Words(String),
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
                loop {
                    show(&bar, look());
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

fn show(bar: &ProgressBar, shown: Shown) {
    // The style first: every setter may draw.
    let style = |template| {
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
    };
    match shown {
        Shown::Bytes { done, total, words } => {
            style(
                "{bar:30} {percent:>3} %  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta}  {msg}",
            );
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(words);
        }
        Shown::Words(words) => {
            style("{elapsed}  {msg}");
            bar.set_message(words);
        }
    }
    bar.tick();
}
