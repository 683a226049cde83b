//! What the command says, and with which exit code.
//!
//! Results go to standard output, everything else to standard error. A reader that has gone away
//! (a broken pipe) is no error: whatever follows is dropped, the work and its verdict stand. Any
//! other failure to write is one, because the result would be lost without a word.

use std::fmt;
use std::io::{self, IsTerminal, StdoutLock, Write};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use blockjob::driver::Errno;
use serde::Serialize;

use super::progress;

/// How a subcommand ended that did what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Exit code 0.
    Good,
    /// Exit code 1: rejected, violated, failed or cancelled.
    Bad,
}

impl Verdict {
    /// Good exactly when `good`.
    pub const fn good_if(good: bool) -> Verdict {
        if good { Verdict::Good } else { Verdict::Bad }
    }
}

/// Why a subcommand could not do what it was asked to: exit code 2.
#[derive(Debug)]
pub struct Failure {
    /// What happened, and where.
    what: String,
    /// What the user may do about it.
    tip: Option<String>,
}

impl Failure {
    /// A failure: what went wrong, and where.
    pub fn new(what: impl Into<String>) -> Failure {
        Failure {
            what: what.into(),
            tip: None,
        }
    }

    /// Adds what to do about it.
    pub fn tip(mut self, tip: impl Into<String>) -> Failure {
        self.tip = Some(tip.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.tip {
            Some(tip) => write!(f, "\n  tip: {tip}"),
            None => Ok(()),
        }
    }
}

/// What every subcommand answers.
pub type Answer = Result<Verdict, Failure>;

/// Standard output.
pub struct Output {
    stream: io::BufWriter<StdoutLock<'static>>,
    colour: bool,
    terminal: bool,
    end: Option<io::Error>,
}

impl Output {
    /// Standard output, with colour where a person reads it and has not asked for none.
    pub fn new() -> Output {
        let stream = io::stdout().lock();
        Output {
            colour: colour_wanted(&stream),
            terminal: stream.is_terminal(),
            stream: io::BufWriter::new(stream),
            end: None,
        }
    }

    /// One line.
    pub fn line(&mut self, text: impl fmt::Display) {
        self.attempt(|stream| writeln!(stream, "{text}"));
    }

    /// Text as it stands.
    pub fn text(&mut self, text: &str) {
        self.attempt(|stream| stream.write_all(text.as_bytes()));
    }

    /// One JSON object on a line of its own.
    pub fn json(&mut self, object: &impl Serialize) {
        self.attempt(|stream| {
            serde_json::to_writer(&mut *stream, object)?;
            stream.write_all(b"\n")
        });
    }

    /// Hands everything so far to the reader.
    pub fn flush(&mut self) {
        self.attempt(io::Write::flush);
    }

    /// A good word, green for people.
    pub fn good(&self, text: &str) -> String {
        self.paint("32", text)
    }

    /// A bad word, red for people.
    pub fn bad(&self, text: &str) -> String {
        self.paint("31", text)
    }

    /// A word that says what follows, bold for people.
    pub fn label(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Something of less weight, faint for people.
    pub fn aside(&self, text: &str) -> String {
        self.paint("2", text)
    }

    /// At how many columns lines are broken: where a person reads them, at those every terminal has.
    pub const fn columns(&self) -> Option<usize> {
        if self.terminal { Some(80) } else { None }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn attempt(
        &mut self,
        write: impl FnOnce(&mut io::BufWriter<StdoutLock<'static>>) -> io::Result<()>,
    ) {
        if self.end.is_none()
            && let Err(error) = write(&mut self.stream)
        {
            self.end = Some(error);
        }
    }

    /// Says what is left to say; the exit code.
    pub fn finish(mut self, answer: Answer) -> ExitCode {
        self.flush();
        let lost = self
            .end
            .filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
            .map(|error| {
                Failure::new(format!(
                    "cannot write to standard output: {}",
                    sentence(&error)
                ))
                .tip("the result is incomplete; send it somewhere with room and run again")
            });
        // A lost result outranks a good verdict only: a bad one stays bad.
        let answer = match (answer, lost) {
            (Ok(Verdict::Good), Some(failure)) => Err(failure),
            (Ok(Verdict::Bad), Some(failure)) => {
                complain(&failure);
                Ok(Verdict::Bad)
            }
            (answer, _) => answer,
        };
        match answer {
            Ok(Verdict::Good) => ExitCode::SUCCESS,
            Ok(Verdict::Bad) => ExitCode::from(1),
            Err(failure) => {
                complain(&failure);
                ExitCode::from(2)
            }
        }
    }
}

/// Held by whoever writes lines to standard output while others may, each from a thread of its own.
static LINES: Mutex<()> = Mutex::new(());

/// For whole lines of standard output: nobody else's come between, or into one of them, until it is dropped. What was
/// said by then has been flushed.
pub fn alone() -> MutexGuard<'static, ()> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One message on standard error; nobody left to read it is no reason to fail.
pub fn complain(message: &impl fmt::Display) {
    let text = printable_lines(&message.to_string());
    let _ = progress::beside(|| writeln!(io::stderr().lock(), "{text}"));
}

/// A name as text of one line. File names may hold any character but NUL: a line break would forge a line of our
/// output, and an escape sequence would command the terminal.
pub fn printable(name: &str) -> String {
    escaped(name, char::is_control)
}

/// As [`printable`], for text of several lines.
pub fn printable_lines(text: &str) -> String {
    escaped(text, |character| {
        character.is_control() && character != '\n'
    })
}

fn escaped(text: &str, unfit: impl Fn(char) -> bool) -> String {
    let mut fit = String::with_capacity(text.len());
    for character in text.chars() {
        if unfit(character) {
            fit.extend(character.escape_default());
        } else {
            fit.push(character);
        }
    }
    fit
}

/// What the system said, without Rust's "(os error N)".
pub fn sentence(error: &io::Error) -> String {
    error
        .raw_os_error()
        .and_then(Errno::new)
        .map_or_else(|| error.to_string(), Errno::text)
}

/// Whether `stream` shows colours that somebody wants: <https://no-color.org>.
fn colour_wanted(stream: &impl IsTerminal) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    stream.is_terminal()
        && !set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}
