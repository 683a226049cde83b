//! Clients for the jobs of a manager that is somebody else's: what `blockjob copy --qmp` is.
//!
//! The manager, its main loop and its jobs are the owner's. Clients see its jobs, hear their events and may ask of them
//! what any client may ask; they make no jobs and open no files, and those commands are not there. `quit` is what the
//! owner says it is.
//!
//! In this order, because events are recorded from a manager's first moment on, and clients are for jobs that are there:
//! [`Door::bind`], the manager with [`Door::sink`], its jobs, [`Door::open`].

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex};

use super::hub::Hub;
use super::listener::{Address, ListenError, Listener};
use super::{Shared, sink_of};
use crate::qmp::command::Core;
use crate::trace::{RecordingManager, TraceSink};

/// Sockets at which nobody is let in yet.
#[derive(Debug)]
pub struct Door {
    hub: Arc<Hub>,
    listeners: Vec<Listener>,
}

/// Clients come and go until this is dropped; then they are sent what there is to send, and the sockets' names are gone.
pub struct Attached(Arc<Shared>);

impl Door {
    /// Sockets at `addresses`, as those of a [`Server`](super::Server).
    ///
    /// # Errors
    /// One of them cannot be had; then there is none.
    pub fn bind(addresses: &[Address]) -> Result<Door, ListenError> {
        let listeners = addresses.iter().map(Listener::bind);
        Ok(Door {
            hub: Arc::default(),
            listeners: listeners.collect::<Result<_, _>>()?,
        })
    }

    /// What the manager is to record into, so that clients hear of it, and `trace` where there is one.
    pub fn sink(&self, trace: Option<&Arc<dyn TraceSink>>) -> Arc<dyn TraceSink> {
        sink_of(&self.hub, trace)
    }

    /// Lets clients in, for the jobs of `manager`. `quit` is called on the thread of a client that says so, once it is
    /// answered; it may wait for the main loop.
    ///
    /// # Errors
    /// A thread cannot be made.
    pub fn open(
        self,
        manager: RecordingManager,
        quit: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Attached> {
        // Dropped, it sees off whom the first listeners let in.
        let attached = Attached(Arc::new(Shared {
            core: Arc::new(Core::for_jobs(manager)),
            hub: self.hub,
            listeners: self.listeners,
            quit: Some(Box::new(quit)),
            phase: Mutex::default(),
            changed: Condvar::new(),
        }));
        attached.0.listen_all()?;
        Ok(attached)
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Attached")
            .field("listeners", &self.0.listeners)
            .finish_non_exhaustive()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.phase().ending = true;
        for listener in &self.0.listeners {
            listener.stop();
        }
        self.0.let_answer();
        self.0.see_off();
    }
}
