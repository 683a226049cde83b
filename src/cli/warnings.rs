//! What the library warns of ([`tracing`], levels warn and error), said on standard error.
//!
//! Whoever warns may be the engine's main loop, and standard error may be a pipe that nobody reads. So lines are
//! put into a queue, and a thread of their own writes them; those that do not fit are counted.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::output::complain;

/// Lines that wait to be written.
const WAITING_MAX: usize = 256;
/// How long the end of the process waits for them.
const PATIENCE: Duration = Duration::from_millis(100);

/// Ends with the command: what still waits then is written, if somebody reads.
pub struct Warnings(Arc<Queue>);

#[derive(Default)]
struct Queue {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    waiting: VecDeque<String>,
    dropped: u64,
    /// One is being written.
    writing: bool,
    /// There is a thread that writes.
    begun: bool,
}

impl Warnings {
    /// From now on warnings of the whole process are said.
    pub fn install() -> Warnings {
        let queue = Arc::new(Queue::default());
        // There is one already only if this was called twice; then that one says them.
        let _ = tracing::subscriber::set_global_default(Listener(Arc::clone(&queue)));
        Warnings(queue)
    }
}

impl Drop for Warnings {
    fn drop(&mut self) {
        let lines = self.0.lines();
        let written = self.0.changed.wait_timeout_while(lines, PATIENCE, |lines| {
            lines.writing || !lines.waiting.is_empty()
        });
        drop(written);
    }
}

impl Queue {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(self: &Arc<Queue>, line: String) {
        let mut lines = self.lines();
        if lines.waiting.len() >= WAITING_MAX {
            lines.dropped += 1;
            return;
        }
        lines.waiting.push_back(line);
        if !mem::replace(&mut lines.begun, true) {
            let queue = Arc::clone(self);
            let writer = thread::Builder::new().name("warnings".to_owned());
            // The next warning tries again.
            lines.begun = writer.spawn(move || queue.write()).is_ok();
        }
        drop(lines);
        self.changed.notify_all();
    }

    /// The thread: writes one after the other.
    fn write(&self) {
        let mut lines = self.lines();
        loop {
            if let Some(line) = lines.waiting.pop_front() {
                lines.writing = true;
                drop(lines);
                complain(&line);
                lines = self.lines();
                lines.writing = false;
                if lines.waiting.is_empty() && lines.dropped > 0 {
                    let dropped = mem::take(&mut lines.dropped);
                    let line =
                        format!("warning: {dropped} more warnings that there was no room for");
                    lines.waiting.push_back(line);
                }
                self.changed.notify_all();
            } else {
                lines = self
                    .changed
                    .wait(lines)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Takes events of this crate, and nothing of spans.
struct Listener(Arc<Queue>);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let of_ours = metadata.target().split("::").next() == Some("blockjob");
        of_ours && metadata.is_event() && *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = if *event.metadata().level() == Level::ERROR {
            "error"
        } else {
            "warning"
        };
        let Text { message, fields } = text;
        self.0.say(format!("{level}: {message}{fields}"));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// An event's message, and its fields behind it: `, name: value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, ", {}: {value:?}", field.name())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_room_there_is_lines_are_counted() {
        let queue = Arc::new(Queue::default());
        // As if its thread were held up.
        queue.lines().begun = true;
        for number in 0..WAITING_MAX + 3 {
            queue.say(number.to_string());
        }
        let lines = queue.lines();
        assert_eq!(lines.waiting.len(), WAITING_MAX);
        assert_eq!(lines.waiting.front().map(String::as_str), Some("0"));
        assert_eq!(lines.dropped, 3);
    }
}
