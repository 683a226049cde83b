//! Signals as a stream of values: `SIGINT`, `SIGTERM`, `SIGHUP`, `SIGUSR1`, `SIGUSR2`, `SIGTSTP` and `SIGCONT`.
//!
//! A handler may do next to nothing, so ours writes one byte, the signal's number, into a pipe; whoever holds
//! [`Signals`] reads it on a thread of its own and acts there. While it lives these signals do nothing else:
//! Ctrl-Z in particular does not stop the process until the holder says so ([`stop_process`]). Dropping it puts the
//! former actions back.
//!
//! ```no_run
//! use blockjob::io::signals::{Signal, Signals, stop_process};
//! let signals = Signals::install()?;
//! let waker = signals.waker();
//! let listener = std::thread::spawn(move || -> std::io::Result<()> {
//!     while let Some(signal) = signals.next()? {
//!         match signal {
//!             Signal::Stop => { /* pause the jobs, then */ stop_process()? }
//!             other => println!("{other:?}"),
//!         }
//!     }
//!     Ok(())
//! });
//! // … the work …
//! waker.wake(); // ends the listener's loop
//! listener.join().unwrap()?;
//! # Ok::<(), std::io::Error>(())
//! ```

use super::{check, check_long, retry};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// What the terminal, another process or the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// `SIGINT`: Ctrl-C.
    Interrupt,
    /// `SIGTERM`.
    Terminate,
    /// `SIGHUP`: the terminal is gone.
    Hangup,
    /// `SIGUSR1`.
    User1,
    /// `SIGUSR2`.
    User2,
    /// `SIGTSTP`: Ctrl-Z.
    Stop,
    /// `SIGCONT`: `fg`, `bg`.
    Continue,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Interrupt,
        Self::Terminate,
        Self::Hangup,
        Self::User1,
        Self::User2,
        Self::Stop,
        Self::Continue,
    ];

    /// The signal's number.
    pub fn number(self) -> i32 {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Terminate => libc::SIGTERM,
            Self::Hangup => libc::SIGHUP,
            Self::User1 => libc::SIGUSR1,
            Self::User2 => libc::SIGUSR2,
            Self::Stop => libc::SIGTSTP,
            Self::Continue => libc::SIGCONT,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|signal| signal.number() == i32::from(number))
    }
}

/// Write end of the pipe for the handler; −1 while nothing is installed.
static HANDLER_PIPE: AtomicI32 = AtomicI32::new(-1);

/// The byte that ends [`Signals::next`]: no signal has the number 0.
const WAKE: u8 = 0;

/// The installed handlers and the stream of what they caught.
#[derive(Debug)]
pub struct Signals {
    read: OwnedFd,
    write: Arc<OwnedFd>,
    former: Vec<Former>,
}

/// What a signal did before, to be put back.
struct Former {
    signal: Signal,
    action: libc::sigaction,
}

impl std::fmt::Debug for Former {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.signal.fmt(out)
    }
}

/// Ends a blocked [`Signals::next`] from any thread.
#[derive(Debug, Clone)]
pub struct Waker {
    write: Arc<OwnedFd>,
}

impl Waker {
    /// Makes one `next`, running or future, return `None`.
    pub fn wake(&self) {
        write_byte(self.write.as_raw_fd(), WAKE);
    }
}

impl Signals {
    /// `sigaction(signal, {handler, SA_RESTART}, &former)` for each signal, over a pipe of their own.
    ///
    /// `EBUSY` when a `Signals` is alive already: a process has one action per signal.
    ///
    /// # References
    /// [sigaction(2)](https://man7.org/linux/man-pages/man2/sigaction.2.html),
    /// [signal-safety(7)](https://man7.org/linux/man-pages/man7/signal-safety.7.html)
    pub fn install() -> io::Result<Self> {
        let mut ends = [-1; 2];
        // SAFETY: `ends` has room for the two descriptors the call writes.
        check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
        // SAFETY: `pipe2` returned two new descriptors that nobody else owns.
        let (read, write) =
            unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
        // A handler must never block: with 64 KiB of unread signals a further one may be lost.
        // SAFETY: no memory is passed; `write` is open.
        check(unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
        HANDLER_PIPE
            .compare_exchange(-1, write.as_raw_fd(), Ordering::SeqCst, Ordering::SeqCst)
            .map_err(|_| io::Error::from_raw_os_error(libc::EBUSY))?;
        // From here on dropping `signals` undoes whatever was done.
        let mut signals = Self {
            read,
            write: Arc::new(write),
            former: Vec::new(),
        };
        for signal in Signal::ALL {
            let action = set_action(signal.number(), handler as *const () as libc::sighandler_t)?;
            // What was ignored stays ignored: that is how `nohup` and a shell's background jobs ask to be left alone.
            if action.sa_sigaction == libc::SIG_IGN {
                set_action(signal.number(), libc::SIG_IGN)?;
            }
            signals.former.push(Former { signal, action });
        }
        Ok(signals)
    }

    /// `read(pipe, &number, 1)`.
    ///
    /// The next signal, waiting for it; `None` once a [`Waker`] was used.
    ///
    /// # References
    /// [read(2)](https://man7.org/linux/man-pages/man2/read.2.html)
    pub fn next(&self) -> io::Result<Option<Signal>> {
        let mut number = WAKE;
        let fd = self.read.as_raw_fd();
        let got = retry(|| {
            // SAFETY: one byte is read into a live, writable byte; `read` is open, `self` owns it.
            check_long(unsafe { libc::read(fd, (&raw mut number).cast(), 1) } as i64)
        })?;
        Ok(if got == 0 {
            None
        } else {
            Signal::from_number(number)
        })
    }

    /// A handle that ends [`next`](Self::next).
    pub fn waker(&self) -> Waker {
        Waker {
            write: Arc::clone(&self.write),
        }
    }
}

impl AsFd for Signals {
    /// The pipe's reading end, for `poll(2)`: readable when `next` will not wait.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for former in self.former.drain(..).rev() {
            // SAFETY: `action` was written by `sigaction` for this very signal and is put back unchanged. It cannot
            // fail: the number is valid and the address is ours.
            unsafe {
                libc::sigaction(
                    former.signal.number(),
                    &raw const former.action,
                    std::ptr::null_mut(),
                )
            };
        }
        // After the actions: a handler that began before finds −1 or the pipe, which stays open until after this.
        // One delayed on another thread beyond the close writes to a descriptor number that is gone or, at worst,
        // taken over; the listener is stopped only when the process ends its work, so that window is accepted.
        HANDLER_PIPE.store(-1, Ordering::SeqCst);
    }
}

/// The handler itself: async-signal-safe, keeps `errno`.
extern "C" fn handler(number: libc::c_int) {
    // SAFETY: `__errno_location` is async-signal-safe and points to this thread's `errno`.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above; a plain int of this thread.
    let saved = unsafe { *errno };
    let pipe = HANDLER_PIPE.load(Ordering::SeqCst);
    if pipe >= 0 {
        write_byte(pipe, number as u8);
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// Writes one byte and ignores failure: the pipe is full of unread signals or closed.
fn write_byte(pipe: libc::c_int, byte: u8) {
    // SAFETY: one live byte is read by the kernel; `write` is async-signal-safe. A closed descriptor is EBADF.
    unsafe { libc::write(pipe, (&raw const byte).cast(), 1) };
}

fn set_action(number: libc::c_int, action: libc::sighandler_t) -> io::Result<libc::sigaction> {
    let mut former = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all-zero bytes are a valid `sigaction` (an empty mask, default action, no restorer).
    let mut new = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    new.sa_sigaction = action;
    // Interrupted system calls go on by themselves; those that cannot are repeated by `retry`.
    new.sa_flags = libc::SA_RESTART;
    // SAFETY: `new` is complete, `former` is writable; the action is SIG_IGN, SIG_DFL or `handler`, which has the
    // signature this form of `sigaction` calls.
    check(unsafe { libc::sigaction(number, &raw const new, former.as_mut_ptr()) })?;
    // SAFETY: the call has filled it.
    Ok(unsafe { former.assume_init() })
}

/// `sigaction(SIGXFSZ, SIG_IGN)`.
///
/// Makes writing beyond the file-size limit an error (`EFBIG`) of the write instead of the end of the process. For
/// the process as a whole and for good; the command calls it first.
///
/// # References
/// [setrlimit(2)](https://man7.org/linux/man-pages/man2/setrlimit.2.html), `RLIMIT_FSIZE`
pub fn ignore_file_size() -> io::Result<()> {
    set_action(libc::SIGXFSZ, libc::SIG_IGN)?;
    Ok(())
}

/// `raise(SIGSTOP)`, for the whole process.
///
/// Stops this process as Ctrl-Z would have; returns when it is continued.
///
/// # References
/// [kill(2)](https://man7.org/linux/man-pages/man2/kill.2.html)
pub fn stop_process() -> io::Result<()> {
    // SAFETY: no memory is passed; a signal to ourselves.
    check(unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) })?;
    Ok(())
}

/// `pthread_sigmask(SIG_BLOCK, {SIGTTIN}, NULL)`.
///
/// Makes reading the terminal an error (`EIO`) of the calling thread while the process is in the background, instead of
/// stopping the process. For this thread and for good.
///
/// # References
/// [pthread_sigmask(3)](https://man7.org/linux/man-pages/man3/pthread_sigmask.3.html),
/// [credentials(7)](https://man7.org/linux/man-pages/man7/credentials.7.html), "Sessions and process groups"
pub fn never_stop_for_input() -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` is writable, and `sigemptyset` fills it.
    check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
    // SAFETY: the call above has filled it, and the signal's number is valid.
    check(unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGTTIN) })?;
    // SAFETY: `set` is complete, and the former mask is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(signal: Signal) {
        // SAFETY: a signal to ourselves that is caught, as the caller has made sure.
        check(unsafe { libc::kill(libc::getpid(), signal.number()) }).unwrap();
    }

    /// One test, because the actions are the process's.
    #[test]
    fn signals_arrive_as_values_the_waker_ends_the_stream_and_drop_restores() {
        // Whoever runs the tests may have them ignore some.
        for signal in Signal::ALL {
            set_action(signal.number(), libc::SIG_DFL).unwrap();
        }
        let signals = Signals::install().unwrap();
        assert_eq!(
            Signals::install().unwrap_err().raw_os_error(),
            Some(libc::EBUSY)
        );
        for signal in Signal::ALL {
            send(signal);
            assert_eq!(signals.next().unwrap(), Some(signal));
        }
        signals.waker().wake();
        assert_eq!(signals.next().unwrap(), None);
        drop(signals);
        let now = set_action(libc::SIGUSR1, libc::SIG_DFL).unwrap();
        assert_eq!(now.sa_sigaction, libc::SIG_DFL);
        set_action(libc::SIGHUP, libc::SIG_IGN).unwrap();
        let signals = Signals::install().unwrap();
        send(Signal::Hangup);
        send(Signal::User1);
        assert_eq!(signals.next().unwrap(), Some(Signal::User1));
        drop(signals);
        let former = set_action(libc::SIGHUP, libc::SIG_DFL).unwrap();
        assert_eq!(former.sa_sigaction, libc::SIG_IGN);
    }
}
