//! The hub: events of the engine, to every client that has negotiated, in the engine's order.
//!
//! The engine records statuses and events under its own lock, in the sections that make them true
//! ([`TraceSink`]). Here each becomes a line, once, and is put into every client's
//! [outbox](super::outbox), under the hub's lock: all clients see one order. Nothing here waits.
//!
//! A reply that says how things are has its place in that order too. It is put in only if no event came
//! since before it was asked for ([`Hub::reply`]): else a client could read a status that is older than one
//! it has read already.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use blockjob_model::Event;

use super::outbox::Outbox;
use crate::qmp::json::write;
use crate::trace::{EventDetail, TraceEntry, TraceSink, TraceStep};

/// Where events go.
#[derive(Debug, Default)]
pub struct Hub {
    /// How many events there were.
    version: AtomicU64,
    clients: Mutex<Vec<Arc<Outbox>>>,
}

impl Hub {
    fn clients(&self) -> MutexGuard<'_, Vec<Arc<Outbox>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more client; false if there are `clients_max` already.
    pub fn join(&self, client: Arc<Outbox>, clients_max: usize) -> bool {
        let mut clients = self.clients();
        if clients.len() >= clients_max {
            return false;
        }
        clients.push(client);
        true
    }

    /// The client is gone.
    pub fn leave(&self, client: &Arc<Outbox>) {
        self.clients().retain(|other| !Arc::ptr_eq(other, client));
    }

    /// The clients there are.
    pub fn all(&self) -> Vec<Arc<Outbox>> {
        self.clients().clone()
    }

    /// How many events there were so far: asked for before a query.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Puts a reply in for `client`, if no event came since `version`; whether it did.
    pub fn reply(&self, client: &Outbox, bytes: &[u8], version: u64) -> bool {
        let clients = self.clients();
        let same = self.version() == version;
        if same {
            client.reply(bytes);
        }
        drop(clients);
        same
    }

    fn publish(&self, lines: &[u8]) {
        let clients = self.clients();
        self.version.fetch_add(1, Ordering::AcqRel);
        for client in &*clients {
            client.event(lines);
        }
    }
}

impl TraceSink for Hub {
    fn record(&self, entry: &TraceEntry<'_>) {
        self.record_together(std::slice::from_ref(entry));
    }

    fn record_together(&self, entries: &[TraceEntry<'_>]) {
        let mut lines = Vec::new();
        for entry in entries {
            line(&mut lines, entry);
        }
        if !lines.is_empty() {
            self.publish(&lines);
        }
    }
}

/// Appends the event that `entry` is, if it is one.
fn line(out: &mut Vec<u8>, entry: &TraceEntry<'_>) {
    let Some(job) = entry.job else {
        return;
    };
    match entry.step {
        TraceStep::Status(status) => {
            begin(out, "JOB_STATUS_CHANGE");
            out.extend_from_slice(b"{\"status\": ");
            write::string(out, status.name());
            member(out, "id", job);
        }
        TraceStep::Event(event, detail) => {
            begin(out, event.name());
            data(out, job, event, &detail);
        }
        _ => return,
    }
    out.extend_from_slice(b"}}");
    out.extend_from_slice(write::END);
}

fn begin(out: &mut Vec<u8>, name: &str) {
    // A clock before 1970 is one that was never set.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (seconds, microseconds) = (now.as_secs(), now.subsec_micros());
    let stamp = format!(
        "{{\"timestamp\": {{\"seconds\": {seconds}, \"microseconds\": {microseconds}}}, \"event\": "
    );
    out.extend_from_slice(stamp.as_bytes());
    write::string(out, name);
    out.extend_from_slice(b", \"data\": ");
}

fn member(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(b", ");
    write::string(out, name);
    out.extend_from_slice(b": ");
    write::string(out, value);
}

/// What an event carries (SEMANTICS.md §7.1), less the brace that ends it.
fn data(out: &mut Vec<u8>, job: &str, event: Event, detail: &EventDetail<'_>) {
    match event {
        Event::Pending => {
            out.extend_from_slice(b"{\"id\": ");
            write::string(out, job);
            member(out, "type", detail.job_type);
        }
        Event::Error { action } => {
            out.extend_from_slice(b"{\"device\": ");
            write::string(out, job);
            member(out, "operation", detail.operation.unwrap_or("read"));
            member(out, "action", action.name());
        }
        Event::Ready | Event::Completed { .. } | Event::Cancelled => {
            out.extend_from_slice(b"{\"device\": ");
            write::string(out, job);
            let EventDetail {
                len_bytes,
                offset_bytes,
                speed_bytes_per_s,
                ..
            } = detail;
            let numbers = format!(
                ", \"len\": {len_bytes}, \"offset\": {offset_bytes}, \"speed\": {speed_bytes_per_s}"
            );
            out.extend_from_slice(numbers.as_bytes());
            member(out, "type", detail.job_type);
            // A cancel hides the error of its job, as in QEMU.
            if let (Event::Completed { .. }, Some(error)) = (event, detail.error) {
                member(out, "error", error);
            }
        }
    }
}
