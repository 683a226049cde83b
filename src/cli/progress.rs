//! The progress bar: on standard error, only on a terminal, only for what takes over a second. Above it lines may stand,
//! for the parts of what is under way.
//!
//! While it is there, whatever else is written to the terminal goes through [`beside`]: it stands above the bar, and the
//! bar is drawn anew below.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work shorter than this needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the bar moves.
const FRAME: Duration = Duration::from_millis(100);

/// What is shown.
pub enum Shown {
    /// A bar with everything in words beside it, and lines above it.
    Parts {
        /// A line for each part of what is under way.
        lines: Vec<String>,
        /// Bytes done.
        done: u64,
        /// Bytes in total.
        total: u64,
        /// What stands beside the bar.
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

/// What is on the screen now.
static SCREEN: Mutex<Option<MultiProgress>> = Mutex::new(None);

fn set_screen(screen: Option<MultiProgress>) {
    *SCREEN.lock().unwrap_or_else(PoisonError::into_inner) = screen;
}

/// Does something with the terminal while no bar is on it.
pub fn beside<T>(act: impl FnOnce() -> T) -> T {
    let screen = SCREEN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    match screen {
        Some(screen) => screen.suspend(act),
        None => act(),
    }
}

impl Bar {
    /// A bar that asks `look` what to show; without a terminal it shows nothing.
    pub fn watch(mut look: impl FnMut() -> Shown + Send + 'static) -> Bar {
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
                let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
                let mut picture = Picture {
                    lines: Vec::new(),
                    bar: screen.add(ProgressBar::no_length()),
                    screen: screen.clone(),
                };
                set_screen(Some(screen));
                loop {
                    picture.show(look());
                    if ended.recv_timeout(FRAME) != Err(RecvTimeoutError::Timeout) {
                        break;
                    }
                }
                set_screen(None);
                picture.end();
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

/// The bar, and the lines above it.
struct Picture {
    screen: MultiProgress,
    lines: Vec<ProgressBar>,
    bar: ProgressBar,
}

impl Picture {
    fn show(&mut self, shown: Shown) {
        match shown {
            Shown::Parts {
                lines,
                done,
                total,
                words,
            } => {
                self.put_lines(lines);
                // The style first: every setter may draw.
                style(&self.bar, "{bar:20} {percent:>3} %  {wide_msg}");
                self.bar.set_length(total);
                self.bar.set_position(done);
                self.bar.set_message(words);
            }
            Shown::Words(words) => {
                style(&self.bar, "{elapsed}  {msg}");
                self.bar.set_message(words);
            }
        }
        self.bar.tick();
    }

    fn put_lines(&mut self, lines: Vec<String>) {
        while self.lines.len() > lines.len() {
            if let Some(line) = self.lines.pop() {
                line.finish_and_clear();
                self.screen.remove(&line);
            }
        }
        while self.lines.len() < lines.len() {
            let line = self
                .screen
                .insert_before(&self.bar, ProgressBar::no_length());
            // Cut at the end of the terminal's line.
            style(&line, "{wide_msg}");
            self.lines.push(line);
        }
        for (line, text) in self.lines.iter().zip(lines) {
            line.set_message(text);
        }
    }

    fn end(mut self) {
        self.put_lines(Vec::new());
        self.bar.finish_and_clear();
    }
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}
