//! A kernel that answers as a test says, for the files below one folder. Only in this crate's own tests.
//!
//! A [`Script`] is asked before each call, and how long it takes, and told of each answer. Time is virtual: it passes on
//! the thread that makes the call, and nobody waits. What it lets pass is done by the real kernel, on
//! real files; so a test sees what is left on the disk, and the script what a power cut would leave.

use super::kernel::Call;
use super::stat::{Identity, stat};
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// The kernel answers.
    Pass,
    /// The kernel answers, and moves no more bytes than these.
    Short(usize),
    /// This is the answer; nothing is done.
    Say(u64),
    /// This is the error; nothing is done.
    Fail(i32),
}

/// The file a call is made on: for names, the folder.
#[derive(Debug)]
pub(crate) struct Subject {
    /// Where it is now.
    pub path: PathBuf,
    /// Which file it is.
    pub identity: Identity,
}

/// What the kernel is made to say.
pub(crate) trait Script: Send {
    /// How long a call takes.
    fn delay(&mut self, _subject: &Subject, _call: Call<'_>) -> Duration {
        Duration::ZERO
    }
    /// Before a call.
    fn rule(&mut self, subject: &Subject, call: Call<'_>) -> Ruling;
    /// After it.
    fn answered(&mut self, subject: &Subject, call: Call<'_>, answer: Result<u64, i32>);
}

thread_local! {
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The time that calls of this thread took.
pub(crate) fn passed() -> Duration {
    PASSED.get()
}

type Shared = Arc<Mutex<dyn Script>>;

static SCRIPTS: Mutex<Vec<(PathBuf, Shared)>> = Mutex::new(Vec::new());

/// A script in force; dropped, the kernel speaks for itself again.
#[derive(Debug)]
pub(crate) struct InForce(PathBuf);

/// Lets `script` answer for every file below `folder`, a path without links.
pub(crate) fn install(folder: &Path, script: Shared) -> InForce {
    lock(&SCRIPTS).push((folder.to_owned(), script));
    InForce(folder.to_owned())
}

impl Drop for InForce {
    fn drop(&mut self) {
        lock(&SCRIPTS).retain(|(folder, _)| *folder != self.0);
    }
}

/// What a call may answer: numbers that can be made up, and what cannot.
pub(crate) trait Answer: Sized {
    fn of(number: u64) -> Self;
    fn number(&self) -> u64;
}

impl Answer for u64 {
    fn of(number: u64) -> Self {
        number
    }
    fn number(&self) -> u64 {
        *self
    }
}

impl Answer for libc::c_int {
    fn of(number: u64) -> Self {
        number as libc::c_int
    }
    fn number(&self) -> u64 {
        self.unsigned_abs().into()
    }
}

impl Answer for () {
    fn of(_: u64) -> Self {}
    fn number(&self) -> u64 {
        0
    }
}

impl Answer for File {
    fn of(_: u64) -> Self {
        panic!("an opened file cannot be made up")
    }
    fn number(&self) -> u64 {
        0
    }
}

pub(super) fn kernel<T: Answer>(
    fd: RawFd,
    call: Call<'_>,
    bytes: usize,
    raw: impl FnOnce(usize) -> io::Result<T>,
) -> io::Result<T> {
    if lock(&SCRIPTS).is_empty() {
        return raw(bytes);
    }
    let Some((subject, script)) = script_of(fd) else {
        return raw(bytes);
    };
    let delay = lock(&script).delay(&subject, call);
    PASSED.set(PASSED.get() + delay);
    let ruling = lock(&script).rule(&subject, call);
    let answer = match ruling {
        Ruling::Pass => raw(bytes),
        Ruling::Short(most) => raw(bytes.min(most)),
        Ruling::Say(number) => Ok(T::of(number)),
        Ruling::Fail(errno) => Err(io::Error::from_raw_os_error(errno)),
    };
    let told = match &answer {
        Ok(answer) => Ok(answer.number()),
        Err(error) => Err(error.raw_os_error().unwrap_or(libc::EIO)),
    };
    lock(&script).answered(&subject, call, told);
    answer
}

fn script_of(fd: RawFd) -> Option<(Subject, Shared)> {
    let path = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    let script = lock(&SCRIPTS)
        .iter()
        .find(|(folder, _)| path.starts_with(folder))
        .map(|(_, script)| Arc::clone(script))?;
    // SAFETY: the caller is about to make a call on `fd`, whose owner is borrowed until that returns.
    let identity = stat(unsafe { BorrowedFd::borrow_raw(fd) }).ok()?.identity;
    Some((Subject { path, identity }, script))
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
