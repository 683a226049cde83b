//! The progress bar: on standard error, only on a terminal, only for what takes over a second. Above it lines may stand,
//! for the parts of what is under way.
//!
//! After each picture the cursor is at its beginning: what the terminal itself writes there, such as `^C`, is drawn over
//! by the next one, and whoever wants to write there clears the picture first ([`beside`]).

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use blockjob::io::terminal;

use super::state::human_time;

/// Work shorter than this needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the bar moves.
const FRAME: Duration = Duration::from_millis(100);
/// Columns and rows of a terminal that does not say.
const SIZE: (usize, usize) = (80, 24);
/// Columns of a bar.
const BAR: u64 = 20;

/// What is shown.
pub enum Shown {
    /// A bar, and lines above it.
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

/// Whether a picture is on the terminal.
static DRAWN: Mutex<bool> = Mutex::new(false);

fn drawn() -> MutexGuard<'static, bool> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something with the terminal while no picture is on it; the next one comes below.
pub fn beside<T>(act: impl FnOnce() -> T) -> T {
    let mut drawn = drawn();
    clear(&mut drawn);
    act()
}

fn clear(drawn: &mut bool) {
    if std::mem::take(drawn) {
        // A terminal that is gone shows nothing.
        let _ = io::stderr().write_all(b"\r\x1b[J");
    }
}

impl Bar {
    /// A bar that asks `look` what to show; without a terminal it shows nothing.
    pub fn watch(mut look: impl FnMut() -> Shown + Send + 'static) -> Bar {
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        if dumb || !io::stderr().is_terminal() {
            return Bar {
                end: None,
                thread: None,
            };
        }
        let (end, ended) = channel();
        let began = Instant::now();
        let thread = thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || {
                let mut wait = PATIENCE;
                while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                    wait = FRAME;
                    let lines = lines(look(), began.elapsed());
                    let mut drawn = drawn();
                    *drawn = true;
                    let _ = io::stderr().write_all(picture(&lines, size()).as_bytes());
                }
                clear(&mut drawn());
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

fn size() -> (usize, usize) {
    let (columns, rows) = terminal::size(io::stderr()).unwrap_or_default();
    let or = |given: u16, else_: usize| if given == 0 { else_ } else { given.into() };
    (or(columns, SIZE.0), or(rows, SIZE.1))
}

fn lines(shown: Shown, elapsed: Duration) -> Vec<String> {
    match shown {
        Shown::Parts {
            mut lines,
            done,
            total,
            words,
        } => {
            // Nothing to do is done.
            let share = |of: u64| (u128::from(done) * u128::from(of)).checked_div(total.into());
            let (full, percent) = (share(BAR).unwrap_or(20), share(100).unwrap_or(100));
            let bar: String = (0..u128::from(BAR))
                .map(|place| if place < full { '█' } else { '░' })
                .collect();
            lines.push(format!("{bar} {percent:>3} %  {words}"));
            lines
        }
        Shown::Words(words) => vec![format!("{}  {words}", human_time(elapsed.as_secs_f64()))],
    }
}

/// What draws these lines over the last ones, of which there may have been more. As many as fit, the last ones; each as
/// far as it fits with a column to spare.
fn picture(lines: &[String], (columns, rows): (usize, usize)) -> String {
    let fit = &lines[lines.len().saturating_sub(rows.saturating_sub(1).max(1))..];
    let mut picture = String::from("\r");
    for line in fit {
        let mut room = columns.saturating_sub(1);
        picture.extend(line.chars().take_while(|char| {
            let fits = width(*char) <= room;
            room = room.saturating_sub(width(*char));
            fits
        }));
        picture.push_str("\x1b[K\n");
    }
    // Writing to a string does not fail.
    let _ = write!(picture, "\x1b[J\x1b[{}A", fit.len());
    picture
}

/// Columns that a character takes at most: two in the scripts that are written in squares, and of pictures. Those that
/// take none count as one: a line that is cut too early still is one line.
pub fn width(char: char) -> usize {
    let wide = matches!(u32::from(char),
        0x1100..=0x115f // Hangul that begins a syllable
        | 0x231a..=0x23ff | 0x25fd..=0x27bf | 0x2b00..=0x2bff // signs, some of them pictures
        | 0x2e80..=0xa4cf // CJK, kana, Yi
        | 0xa960..=0xa97f | 0xac00..=0xd7ff // Hangul
        | 0xf900..=0xfaff | 0xfe10..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 // CJK, full width
        | 0x1_6fe0..=0x1_b2ff | 0x1_f000..=0x1_faff // Tangut, kana, pictures
        | 0x2_0000..=0x3_ffff); // CJK
    1 + usize::from(wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_fits_the_terminal_and_ends_where_it_began() {
        let lines: Vec<_> = ["one", "two", "three", "fourteen"]
            .map(str::to_owned)
            .into();
        assert_eq!(
            picture(&lines, (6, 4)),
            "\rtwo\x1b[K\nthree\x1b[K\nfourt\x1b[K\n\x1b[J\x1b[3A"
        );
        assert_eq!(picture(&lines[..1], (1, 1)), "\r\x1b[K\n\x1b[J\x1b[1A");
    }

    #[test]
    fn a_line_is_cut_where_the_terminal_ends_whatever_its_script() {
        let cut = |line: &str, columns| {
            let picture = picture(&[line.to_owned()], (columns, 2));
            picture["\r".len()..]
                .split('\x1b')
                .next()
                .unwrap()
                .to_owned()
        };
        // Of six columns one is spared, and half a character is none.
        assert_eq!(cut("磁盘映像", 6), "磁盘");
        assert_eq!(cut("a磁盘映像", 6), "a磁盘");
        assert_eq!(cut("한국어", 5), "한국");
        assert_eq!(cut("💾💾", 4), "💾");
        assert_eq!(cut("ñandú", 6), "ñandú");
        assert_eq!(cut("█░█░", 4), "█░█");
    }

    #[test]
    fn a_bar_is_as_full_as_it_is_done() {
        let bar = |done, total| {
            let shown = Shown::Parts {
                lines: Vec::new(),
                done,
                total,
                words: "w".to_owned(),
            };
            lines(shown, Duration::ZERO).remove(0)
        };
        assert_eq!(bar(0, 10), "░░░░░░░░░░░░░░░░░░░░   0 %  w");
        assert_eq!(bar(5, 10), "██████████░░░░░░░░░░  50 %  w");
        assert_eq!(bar(u64::MAX, u64::MAX), "████████████████████ 100 %  w");
        assert_eq!(bar(0, 0), "████████████████████ 100 %  w");
    }
}
