//! The keyboard and other processes, as requests to the jobs of this run.
//!
//! | signal | what it asks for |
//! |---|---|
//! | `SIGINT` (Ctrl-C), `SIGTERM` | a cancel; the second one a forced cancel |
//! | `SIGTSTP` (Ctrl-Z), then `SIGCONT` (`fg`) | pause, stop this process; resume |
//! | `SIGUSR1` | print the state of every job |

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use blockjob::engine::{CancelMode, JobHandle, JobInfo, Manager, PauseAllToken};
use blockjob::io::signals::{Signal, Signals, Waker, stop_process};

use super::args::human_size;
use super::output::complain;

/// Listens on a thread of its own until it is dropped.
pub struct Controls {
    manager: Manager,
    cancels: Arc<AtomicU32>,
    waker: Waker,
    listener: Option<JoinHandle<()>>,
}

impl Controls {
    /// Begins to listen on behalf of all jobs of `manager`, those to come included.
    pub fn listen(manager: Manager) -> io::Result<Controls> {
        let signals = Signals::install()?;
        let waker = signals.waker();
        let cancels = Arc::new(AtomicU32::new(0));
        let listener = thread::Builder::new().name("signals".to_owned()).spawn({
            let (manager, cancels) = (manager.clone(), Arc::clone(&cancels));
            move || listen(&signals, &manager, &cancels)
        })?;
        Ok(Controls {
            manager,
            cancels,
            waker,
            listener: Some(listener),
        })
    }

    /// Hands requests that came before there were jobs to the jobs there are now.
    pub fn catch_up(&self) {
        let cancels = self.cancels.load(Ordering::Acquire);
        if cancels > 0 {
            cancel(&self.manager.jobs(), cancels > 1);
        }
    }
}

impl Drop for Controls {
    fn drop(&mut self) {
        self.waker.wake();
        if let Some(listener) = self.listener.take() {
            // A listener that panicked has said so on standard error; the copy goes on without it.
            let _ = listener.join();
        }
    }
}

fn listen(signals: &Signals, manager: &Manager, cancels: &AtomicU32) {
    let mut held: Option<PauseAllToken> = None;
    while let Ok(Some(signal)) = signals.next() {
        match signal {
            Signal::Interrupt | Signal::Terminate => {
                let before = cancels.fetch_add(1, Ordering::AcqRel);
                if before == 0 {
                    complain(&"cancelling; once more to cancel by force");
                }
                cancel(&manager.jobs(), before > 0);
            }
            Signal::Stop => {
                held.get_or_insert_with(|| manager.pause_all());
                if let Err(error) = stop_process() {
                    complain(&format!(
                        "cannot stop: {error}; the jobs are paused until SIGCONT"
                    ));
                }
            }
            Signal::Continue => {
                if let Some(token) = held.take() {
                    manager.resume_all(token);
                }
            }
            Signal::User1 => {
                for job in manager.jobs().iter().rev() {
                    complain(&state_line(&job.info()));
                }
            }
        }
    }
}

/// Cancels every job. A refusal means that there is nothing left to cancel.
fn cancel(jobs: &[JobHandle], force: bool) {
    for job in jobs {
        let mode = if force {
            CancelMode::Force
        } else {
            CancelMode::Soft
        };
        let _ = job.cancel(mode);
    }
}

/// A job's state on one line, for people.
fn state_line(info: &JobInfo) -> String {
    let done = human_size(info.current_bytes);
    let total = human_size(info.total_bytes);
    let limit = match info.speed_bytes_per_s {
        0 => String::new(),
        speed => format!(", at most {}/s", human_size(speed)),
    };
    format!("{}: {}, {done} of {total}{limit}", info.id, info.status)
}
