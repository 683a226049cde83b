//! The keyboard and other processes, as requests to the jobs of this run.
//!
//! | signal | what it asks for |
//! |---|---|
//! | `SIGINT` (Ctrl-C), `SIGTERM`, `SIGHUP` | a cancel; the second one a forced cancel |
//! | `SIGTSTP` (Ctrl-Z), then `SIGCONT` (`fg`) | pause, stop this process; resume |
//! | `SIGCONT` while an error has stopped a job | try again |
//! | `SIGUSR1` | print the state of every job |

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use blockjob::engine::{CancelMode, JobInfo, PauseAllToken};
use blockjob::io::signals::{Signal, Signals, Waker, stop_process};
use blockjob::model::IoStatus;
use blockjob::trace::{RecordingHandle, RecordingManager};

use super::args::human_size;
use super::output::complain;

/// Listens on a thread of its own until it is dropped.
pub struct Controls {
    asked: Arc<Asked>,
    waker: Waker,
    listener: Option<JoinHandle<()>>,
}

/// What was asked for, and of whom.
struct Asked {
    cancels: AtomicU32,
    jobs: Mutex<Vec<RecordingHandle>>,
}

impl Controls {
    /// Begins to listen. Until [`hand_to`](Self::hand_to) a cancel is remembered.
    pub fn listen(manager: RecordingManager) -> io::Result<Controls> {
        let signals = Signals::install()?;
        let waker = signals.waker();
        let asked = Arc::new(Asked {
            cancels: AtomicU32::new(0),
            jobs: Mutex::new(Vec::new()),
        });
        let listener = thread::Builder::new().name("signals".to_owned()).spawn({
            let asked = Arc::clone(&asked);
            move || listen(&signals, &manager, &asked)
        })?;
        Ok(Controls {
            asked,
            waker,
            listener: Some(listener),
        })
    }

    /// From now on `jobs` are meant, also by what was asked before.
    pub fn hand_to(&self, jobs: Vec<RecordingHandle>) {
        *self.asked.jobs() = jobs;
        let cancels = self.asked.cancels.load(Ordering::Acquire);
        if cancels > 0 {
            self.asked.cancel(cancels > 1);
        }
    }
}

impl Asked {
    fn jobs(&self) -> MutexGuard<'_, Vec<RecordingHandle>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels every job. A refusal means that there is nothing left to cancel.
    fn cancel(&self, force: bool) {
        let mode = if force {
            CancelMode::Force
        } else {
            CancelMode::Soft
        };
        // Not under the lock: the answer may take a while.
        let jobs = self.jobs().clone();
        for job in jobs {
            let _ = job.cancel(mode);
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

fn listen(signals: &Signals, manager: &RecordingManager, asked: &Asked) {
    let mut held: Option<PauseAllToken> = None;
    while let Ok(Some(signal)) = signals.next() {
        match signal {
            Signal::Interrupt | Signal::Terminate | Signal::Hangup => {
                let before = asked.cancels.fetch_add(1, Ordering::AcqRel);
                if before == 0 {
                    complain(&"cancelling; once more to cancel by force");
                }
                asked.cancel(before > 0);
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
                // Nobody but an error takes the user's pause here. One that is resumed meanwhile refuses.
                for job in asked.jobs().clone() {
                    if job.info().user_paused {
                        let _ = job.resume();
                    }
                }
            }
            Signal::User1 => {
                for job in asked.jobs().iter() {
                    complain(&state_line(&job.info()));
                }
            }
        }
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

/// Says when an error has stopped a job, until it is dropped: it will not go on by itself.
pub struct Stopped {
    end: Option<Sender<()>>,
    watcher: Option<JoinHandle<()>>,
}

impl Stopped {
    /// Looks at `jobs` from a thread of its own.
    pub fn watch(jobs: Vec<RecordingHandle>) -> Stopped {
        let (end, ended) = channel();
        let watcher = thread::Builder::new().name("stopped".to_owned()).spawn(move || {
            let mut said = vec![false; jobs.len()];
            while ended.recv_timeout(STOPPED_LOOK) == Err(RecvTimeoutError::Timeout) {
                for (job, said) in jobs.iter().zip(&mut said) {
                    let info = job.info();
                    let stopped = info.user_paused && info.io_status != IoStatus::Ok;
                    if stopped && !*said {
                        let why = match info.io_status {
                            IoStatus::NoSpace => "there is no room for its target",
                            _ => "of an error",
                        };
                        complain(&format!(
                            "{} has stopped, because {why}; Ctrl-Z and fg (or kill -CONT {}) tries again, Ctrl-C gives up",
                            info.id,
                            std::process::id(),
                        ));
                    }
                    *said = stopped;
                }
            }
        });
        Stopped {
            end: Some(end),
            watcher: watcher.ok(),
        }
    }
}

/// How long a stopped job may be silent.
const STOPPED_LOOK: Duration = Duration::from_millis(200);

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(watcher) = self.watcher.take() {
            // One that panicked has said so; the jobs go on.
            let _ = watcher.join();
        }
    }
}
