//! What is to be sent to one client: bounded, in order, and never waited for by the engine.
//!
//! Whoever has something for the client puts it here and goes on. The client's own reader sends what the
//! socket takes at once; the rest, and events, are sent by the client's writer, which alone may wait for the
//! client. Two bounds, in bytes:
//!
//! - above [`BACK_PRESSURE_BYTES`] no further commands are taken from the client, so that one who asks and
//!   never reads waits for himself;
//! - above [`BYTES_MAX`], which only events can bring about, the client is disconnected: the engine does
//!   not wait, and what is kept for one who does not read does not grow.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::stream::Stream;
use crate::io::socket;

/// Above this no commands are taken, in bytes.
pub const BACK_PRESSURE_BYTES: usize = 256 << 10;
/// Above this the client is disconnected, in bytes.
pub const BYTES_MAX: usize = 4 << 20;

/// The queue of one client.
#[derive(Debug)]
pub struct Outbox {
    stream: Stream,
    state: Mutex<State>,
    /// For the writer: there is something to send, or no more to come.
    filled: Condvar,
    /// For the reader and for whoever closes: something was sent.
    drained: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    /// Somebody has taken bytes out and is sending them.
    sending: usize,
    /// Events are wanted: the client has negotiated.
    negotiated: bool,
    /// Nothing more comes; what is there is sent.
    ending: bool,
    /// Nothing more is sent.
    closed: bool,
    /// It was closed because the client did not read.
    overflowed: bool,
}

impl State {
    fn held(&self) -> usize {
        self.pending.len() + self.sending
    }
}

impl Outbox {
    /// An empty one.
    pub fn new(stream: Stream) -> Outbox {
        Outbox {
            stream,
            state: Mutex::default(),
            filled: Condvar::new(),
            drained: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on events are for this client.
    pub fn negotiated(&self) {
        self.lock().negotiated = true;
    }

    /// Puts a reply in. [`send_now`](Self::send_now) sends it.
    pub fn reply(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if !state.closed {
            state.pending.extend_from_slice(bytes);
        }
    }

    /// Puts an event in, if the client wants events. Never waits for the client.
    pub fn event(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if !state.negotiated || state.closed {
            return;
        }
        if state.held() + bytes.len() > BYTES_MAX {
            state.overflowed = true;
            self.close(&mut state);
            return;
        }
        state.pending.extend_from_slice(bytes);
        self.filled.notify_one();
    }

    /// Sends what the socket takes at once; the writer gets the rest.
    pub fn send_now(&self) {
        let mut state = self.lock();
        while !state.closed && state.sending == 0 && !state.pending.is_empty() {
            let bytes = std::mem::take(&mut state.pending);
            state.sending = bytes.len();
            drop(state);
            let sent = socket::send_now(self.stream.as_fd(), &bytes);
            state = self.lock();
            state.sending = 0;
            let sent = match sent {
                Ok(sent) => sent,
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => 0,
                Err(_) => {
                    self.close(&mut state);
                    return;
                }
            };
            if sent < bytes.len() {
                let behind = std::mem::replace(&mut state.pending, bytes);
                state.pending.drain(..sent);
                state.pending.extend_from_slice(&behind);
                self.filled.notify_one();
                return;
            }
            if state.pending.is_empty() {
                // The room is used again.
                let mut room = bytes;
                room.clear();
                room.shrink_to(BACK_PRESSURE_BYTES);
                state.pending = room;
                self.drained.notify_all();
            }
        }
        // The writer may have seen these bytes on their way, and waits for them to be gone.
        if state.ending {
            self.filled.notify_one();
        }
    }

    /// Waits while there is much to send. False once nothing is sent any more.
    pub fn wait_for_room(&self) -> bool {
        if self.lock().held() > BACK_PRESSURE_BYTES {
            self.send_now();
        }
        let mut state = self.lock();
        while !state.closed && !state.ending && state.held() > BACK_PRESSURE_BYTES {
            state = self
                .drained
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !state.closed && !state.ending
    }

    /// The writer: sends what comes, waiting for the client, until the end. On a thread of its own.
    pub fn write(&self) {
        let mut state = self.lock();
        loop {
            if state.closed {
                return;
            }
            if state.sending > 0 || state.pending.is_empty() {
                if state.ending && state.held() == 0 {
                    self.close(&mut state);
                    return;
                }
                state = self
                    .filled
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let bytes = std::mem::take(&mut state.pending);
            state.sending = bytes.len();
            drop(state);
            let sent = (&self.stream).write_all(&bytes);
            state = self.lock();
            state.sending = 0;
            if sent.is_err() {
                self.close(&mut state);
            }
            self.drained.notify_all();
        }
    }

    /// No commands are taken any more; what is there is sent, then the connection is closed.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ending = true;
        self.filled.notify_one();
        self.drained.notify_all();
    }

    /// Waits until everything is sent, after [`end`](Self::end), or for the deadline.
    pub fn wait_sent(&self, deadline: Instant) {
        let mut state = self.lock();
        while !state.closed && state.held() > 0 {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return;
            }
            (state, _) = self
                .drained
                .wait_timeout(state, rest)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Closes the connection, sent or not.
    pub fn cut(&self) {
        let mut state = self.lock();
        self.close(&mut state);
    }

    /// Whether the client was disconnected because it did not read.
    pub fn overflowed(&self) -> bool {
        self.lock().overflowed
    }

    fn close(&self, state: &mut State) {
        state.closed = true;
        state.pending = Vec::new();
        // Who waits for the client, to read or to write, is let go. A socket that is gone already is as well.
        let _ = socket::shut(self.stream.as_fd());
        self.filled.notify_all();
        self.drained.notify_all();
    }
}
