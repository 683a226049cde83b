//! The server: sockets, clients, and the end.
//!
//! | file | concept |
//! |---|---|
//! | [`listener`] | where clients come from, and who may |
//! | [`stream`] | a connection |
//! | [`outbox`] | what is to be sent to a client, bounded |
//! | [`hub`] | events, to all clients in one order |
//! | [`attached`] | the same clients for the jobs of a manager that is somebody else's |
//!
//! Threads: the engine's main loop is the one that calls [`Server::run`]; each listener has one; each client has
//! two, one that reads and answers and one that sends what the socket did not take at once. Nothing a client
//! does or leaves undone keeps the engine, or another client, waiting.
//!
//! The end ([`Control::end`], or a client's `quit`): nobody is let in and no job is made any more, every job is
//! cancelled by force, its events are sent, connections are closed. A job that does not let itself be
//! cancelled, because the kernel holds its I/O, is not waited for longer than [`Server::grace`] says.

pub mod attached;
pub mod hub;
pub mod listener;
pub mod outbox;
pub mod stream;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io::{self, Read as _};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::command::Core;
use super::conversation::{Conversation, GoesOn, ToClient, greeting};
use super::node::file::open_in_place;
use crate::engine::{CancelMode, MainLoop, Manager, ManagerConfig};
use crate::trace::{RecordingManager, TraceEntry, TraceSink};
use blockjob_model::Status;
use hub::Hub;
use listener::{Address, ListenError, Listener};
use outbox::Outbox;
use stream::Stream;

/// Clients at a time.
pub const CLIENTS_MAX: usize = 256;
/// How long the end waits for jobs to end, unless told otherwise.
pub const GRACE: Duration = Duration::from_millis(600);
/// How long it then waits for clients to read.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// What is read from a client at a time, in bytes.
const READ_BYTES: usize = 64 << 10;

/// A server that listens, and has not begun. Stays on the thread that made it.
pub struct Server {
    shared: Arc<Shared>,
    grace: Duration,
    main_loop: MainLoop,
}

/// Ends a server, from any thread.
#[derive(Clone)]
pub struct Control(Arc<Shared>);

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every job is over.
    Cleanly,
    /// Jobs were left in the middle of I/O that the kernel did not give back in time.
    JobsLeft,
}

struct Shared {
    core: Arc<Core>,
    hub: Arc<Hub>,
    listeners: Vec<Listener>,
    /// What `quit` does; without it, it ends the server.
    quit: Option<Box<dyn Fn() + Send + Sync>>,
    phase: Mutex<Phase>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Phase {
    ending: bool,
    /// Clients that are being answered.
    answering: usize,
    threads: VecDeque<JoinHandle<()>>,
}

/// Both of two sinks.
struct Both(Arc<Hub>, Arc<dyn TraceSink>);

/// What a manager records into, so that clients hear of it, and `trace` where there is one.
fn sink_of(hub: &Arc<Hub>, trace: Option<&Arc<dyn TraceSink>>) -> Arc<dyn TraceSink> {
    match trace {
        Some(trace) => Arc::new(Both(Arc::clone(hub), Arc::clone(trace))),
        None => Arc::clone(hub) as Arc<dyn TraceSink>,
    }
}

impl TraceSink for Both {
    fn record(&self, entry: &TraceEntry<'_>) {
        self.0.record(entry);
        self.1.record(entry);
    }

    fn record_together(&self, entries: &[TraceEntry<'_>]) {
        self.0.record_together(entries);
        self.1.record_together(entries);
    }
}

impl Server {
    /// Listens at `addresses`. Everything that is asked and done is recorded in `trace`, if there is one.
    ///
    /// # Errors
    /// It cannot listen at one of them; then it does at none.
    pub fn bind(
        addresses: &[Address],
        trace: Option<Arc<dyn TraceSink>>,
    ) -> Result<Server, ListenError> {
        let listeners = addresses.iter().map(Listener::bind);
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let hub = Arc::new(Hub::default());
        let sink = sink_of(&hub, trace.as_ref());
        let (manager, main_loop) = Manager::new(ManagerConfig::default().trace(sink));
        // Calls and callbacks concern the trace alone; the hub would make nothing of them.
        let calls = trace
            .clone()
            .unwrap_or_else(|| Arc::clone(&hub) as Arc<dyn TraceSink>);
        let core = Core::new(RecordingManager::new(manager, calls), open_in_place, trace);
        Ok(Server {
            shared: Arc::new(Shared {
                core: Arc::new(core),
                hub,
                listeners,
                quit: None,
                phase: Mutex::default(),
                changed: Condvar::new(),
            }),
            main_loop,
            grace: GRACE,
        })
    }

    /// How long the end waits for jobs to end; [`GRACE`] unless told.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Server {
        self.grace = grace;
        self
    }

    /// Where it listens.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.shared.listeners.iter().map(Listener::address)
    }

    /// To end it from another thread.
    pub fn control(&self) -> Control {
        Control(Arc::clone(&self.shared))
    }

    /// The engine.
    pub fn manager(&self) -> &RecordingManager {
        self.shared.core.manager()
    }

    /// Serves until it is [ended](Control::end) or a client says `quit`.
    ///
    /// # Errors
    /// A thread cannot be made.
    pub fn run(mut self) -> io::Result<Ended> {
        self.shared.listen_all()?;
        let (shared, grace) = (Arc::clone(&self.shared), self.grace);
        let ender = thread::Builder::new()
            .name("qmp-end".to_owned())
            .spawn(move || shared.bring_down(grace))?;
        self.main_loop.run();
        // Bodies that still run are cancelled, and left.
        drop(self.main_loop);
        // A panic there has said so; it brought nothing down, so there is something left.
        let ended = ender.join().unwrap_or(Ended::JobsLeft);
        Ok(ended)
    }
}

impl Control {
    /// Ends the server: with the usual [`GRACE`], [`Server::run`] returns within a second.
    pub fn end(&self) {
        self.0.phase().ending = true;
        self.0.changed.notify_all();
    }

    /// Removes the names of its sockets, for a process that ends without waiting.
    pub fn unlink(&self) {
        for listener in &self.0.listeners {
            listener.stop();
        }
    }
}

impl Shared {
    fn phase(&self) -> std::sync::MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ending(&self) -> bool {
        self.phase().ending
    }

    /// Lets clients in, on threads of their own.
    fn listen_all(self: &Arc<Shared>) -> io::Result<()> {
        for place in 0..self.listeners.len() {
            let shared = Arc::clone(self);
            let listener = thread::Builder::new().name("qmp-listener".to_owned());
            let thread = listener.spawn(move || shared.listen(place))?;
            self.phase().threads.push_back(thread);
        }
        Ok(())
    }

    /// One thread of these.
    fn listen(self: &Arc<Shared>, place: usize) {
        loop {
            let accepted = self.listeners[place].accept();
            if self.is_ending() {
                return;
            }
            match accepted {
                Ok(Some(stream)) => {
                    if let Err(error) = self.admit(stream) {
                        tracing::warn!(%error, "a client could not be let in");
                    }
                }
                Ok(None) => tracing::warn!("a client of another user was sent away"),
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    // Too many open files, most likely: the next try is no better at once.
                    thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    fn admit(self: &Arc<Shared>, stream: Stream) -> io::Result<()> {
        let outbox = Arc::new(Outbox::new(stream.again()?));
        outbox.reply(&greeting());
        if !self.hub.join(Arc::clone(&outbox), CLIENTS_MAX) {
            // Dropped, and so closed.
            return Err(io::Error::other("there are too many clients"));
        }
        let writer = {
            let outbox = Arc::clone(&outbox);
            thread::Builder::new()
                .name("qmp-writer".to_owned())
                .spawn(move || outbox.write())
        };
        let reader = writer.and_then(|_| {
            let (shared, outbox) = (Arc::clone(self), Arc::clone(&outbox));
            thread::Builder::new()
                .name("qmp-reader".to_owned())
                .spawn(move || shared.converse(&stream, &outbox))
        });
        if let Err(error) = reader {
            outbox.cut();
            self.hub.leave(&outbox);
            return Err(error);
        }
        Ok(())
    }

    /// Reads and answers one client, to its end.
    fn converse(self: &Arc<Shared>, mut stream: &Stream, outbox: &Arc<Outbox>) {
        let mut conversation = Conversation::new(Arc::clone(&self.core));
        let answers = ToClient {
            hub: &self.hub,
            outbox,
        };
        outbox.send_now();
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let length = match stream.read(&mut bytes) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            self.phase().answering += 1;
            let goes_on = conversation.feed(&bytes[..length], &answers, || outbox.wait_for_room());
            outbox.send_now();
            self.phase().answering -= 1;
            self.changed.notify_all();
            if goes_on == GoesOn::Quit {
                if let Some(quit) = &self.quit {
                    // The client hears what becomes of the jobs.
                    quit();
                } else {
                    Control(Arc::clone(self)).end();
                    return;
                }
            }
        }
        if outbox.overflowed() {
            tracing::warn!("a client that did not read was disconnected");
        }
        // What it asked for before it closed its side is answered.
        outbox.end();
        self.hub.leave(outbox);
    }

    /// Waits for the end, and brings everything down.
    fn bring_down(&self, grace: Duration) -> Ended {
        let mut phase = self.phase();
        while !phase.ending {
            phase = self
                .changed
                .wait(phase)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(phase);
        let begun = Instant::now();
        for listener in &self.listeners {
            listener.stop();
        }
        let ended = self.cancel_all(begun + grace);
        self.core.manager().manager().shutdown();
        self.see_off();
        ended
    }

    /// Waits for answers that are being made, but not for ever: the last job may have ended by what is asked.
    fn let_answer(&self) {
        let (phase, patience) = (self.phase(), LAST_WORDS);
        let waited = self
            .changed
            .wait_timeout_while(phase, patience, |phase| phase.answering > 0);
        drop(waited);
    }

    /// Sends clients what there is to send, closes their connections, and waits for who lets them in.
    fn see_off(&self) {
        let deadline = Instant::now() + LAST_WORDS;
        let clients = self.hub.all();
        for client in &clients {
            client.end();
        }
        for client in &clients {
            client.wait_sent(deadline);
            client.cut();
        }
        let threads = std::mem::take(&mut self.phase().threads);
        for thread in threads {
            // A listener that panicked has said so.
            let _ = thread.join();
        }
    }

    /// Cancels every job by force, newest first, and waits until all are over, or for the deadline.
    fn cancel_all(&self, deadline: Instant) -> Ended {
        self.core.end();
        // No job is made any more, so an id is one job's.
        let mut cancelled = BTreeSet::new();
        loop {
            let jobs = self.core.manager().jobs();
            if jobs.is_empty() {
                return Ended::Cleanly;
            }
            for job in &jobs {
                if job.status() == Status::Concluded {
                    // One that is gone already is as good.
                    let _ = job.dismiss();
                } else if cancelled.insert(job.id().to_owned()) {
                    // One that refuses is on its way.
                    let _ = job.cancel(CancelMode::Force);
                }
            }
            if Instant::now() >= deadline {
                return Ended::JobsLeft;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Server")
            .field("listeners", &self.shared.listeners)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Control").finish_non_exhaustive()
    }
}
