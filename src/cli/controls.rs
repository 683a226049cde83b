//! The keyboard and other processes, as requests to the jobs of this run.
//!
//! | signal | what it asks for |
//! |---|---|
//! | `SIGINT` (Ctrl-C), `SIGTERM`, `SIGHUP` | a cancel; the second one a forced cancel |
//! | `SIGTSTP` (Ctrl-Z), then `SIGCONT` (`fg`) | pause, stop this process; resume |
//! | `SIGCONT` while an error has stopped a job | try again |
//! | `SIGUSR1` | print the state |
//! | `SIGUSR2` | complete the mirrors, once all of them are ready |
//!
//! A cancel ends what waits for its user too: a job that is paused, and one that waits to be dismissed.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use blockjob::engine::{CancelMode, PauseAllToken};
use blockjob::io::signals::{Signal, Signals, Waker, stop_process};
use blockjob::model::{IoStatus, Status};
use blockjob::trace::{RecordingHandle, RecordingManager};

use super::output::complain;
use super::progress::beside;
use super::session::Copying;
use super::state::State;

/// Listens on a thread of its own until it is dropped.
pub struct Controls {
    asked: Arc<Asked>,
    waker: Waker,
    listener: Option<JoinHandle<()>>,
}

/// What was asked for, and of whom.
pub struct Asked {
    cancels: AtomicU32,
    jobs: Mutex<Vec<Copying>>,
    complete: OnceLock<Complete>,
}

/// Called when somebody asks for the end of a mirror.
type Complete = Box<dyn Fn() + Send + Sync>;

impl Controls {
    /// Begins to listen. Until [`hand_to`](Self::hand_to) a cancel is remembered.
    pub fn listen(manager: RecordingManager) -> io::Result<Controls> {
        let signals = Signals::install()?;
        let waker = signals.waker();
        let asked = Arc::new(Asked {
            cancels: AtomicU32::new(0),
            jobs: Mutex::new(Vec::new()),
            complete: OnceLock::new(),
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

    /// What is done when a mirror is to be completed. The first one stays.
    pub fn complete_by(&self, complete: impl Fn() + Send + Sync + 'static) {
        let _ = self.asked.complete.set(Box::new(complete));
    }

    /// From now on `jobs` are meant, also by what was asked before.
    pub fn hand_to(&self, jobs: Vec<Copying>) {
        *self.asked.jobs() = jobs;
        let cancels = self.asked.cancels.load(Ordering::Acquire);
        if cancels > 0 {
            self.asked.cancel(cancels > 1);
        }
    }

    /// For others who ask, and who want to know whether somebody has.
    pub fn asked(&self) -> Arc<Asked> {
        Arc::clone(&self.asked)
    }
}

impl Asked {
    fn jobs(&self) -> MutexGuard<'_, Vec<Copying>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels every job by force.
    pub fn quit(&self) {
        self.cancels.fetch_add(2, Ordering::AcqRel);
        self.cancel(true);
    }

    /// Whether somebody wants all of it to end.
    pub fn is_leaving(&self) -> bool {
        self.cancels.load(Ordering::Acquire) > 0
    }

    /// Cancels every job. A refusal means that there is nothing left to cancel.
    fn cancel(&self, force: bool) {
        // Not under the lock: the answer may take a while.
        let jobs = self.jobs().clone();
        for Copying { handle: job, .. } in jobs {
            if job.status() == Status::Concluded {
                // It has ended already, and may be kept for somebody who is not there any more.
                let _ = job.dismiss();
            } else if force || job.cancel(CancelMode::Soft).is_err() {
                // A job that its user or an error has paused takes no other.
                let _ = job.cancel(CancelMode::Force);
            }
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
                // The bar comes back with the process.
                if let Err(error) = beside(stop_process) {
                    complain(&format!(
                        "cannot stop: {error}; the jobs are paused until SIGCONT"
                    ));
                }
            }
            Signal::Continue => {
                if let Some(token) = held.take() {
                    manager.resume_all(token);
                }
                // Not those that a client has paused. One that is resumed meanwhile refuses.
                for Copying { handle: job, .. } in asked.jobs().clone() {
                    let info = job.info();
                    if info.user_paused && info.io_status != IoStatus::Ok {
                        let _ = job.resume();
                    }
                }
            }
            Signal::User2 => match asked.complete.get() {
                Some(complete) => complete(),
                None => complain(&"there is nothing to complete: that is for --mirror"),
            },
            Signal::User1 => {
                let jobs = asked.jobs().clone();
                complain(&State::of(&jobs).lines().join("\n"));
            }
        }
    }
}

/// Says when an error has stopped a job, until it is dropped: it will not go on by itself.
pub struct Stopped {
    end: Option<Sender<()>>,
    watcher: Option<JoinHandle<()>>,
}

impl Stopped {
    /// Looks at `jobs` from a thread of its own. With `clients` there may be others who see to it.
    pub fn watch(jobs: Vec<RecordingHandle>, clients: bool) -> Stopped {
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
                        let again = if clients { "job-resume, or " } else { "" };
                        complain(&format!(
                            "{} has stopped, because {why}; {again}Ctrl-Z and fg (or kill -CONT {}) tries again, Ctrl-C gives up",
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
