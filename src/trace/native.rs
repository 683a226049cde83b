//! The native trace file: JSON lines.
//!
//! First a header, `{"blockjob_trace":1,"profile":"reference"}`, then a line for each entry:
//!
//! | key | value |
//! |---|---|
//! | `seq` | 1, 2, 3 … in the order of recording |
//! | `t_ns` | nanoseconds since the header was written |
//! | `thread` | who recorded it: `main`, or a name and number that no two threads share |
//! | `kind` | `call`, `return`, `status`, `callback`, `io`, `event` |
//! | `job` | the id; `null` where a call concerns several jobs |
//! | `group` | the transaction's name, or `null` |
//!
//! and by kind:
//!
//! | kind | further keys |
//! |---|---|
//! | `call` | `verb`; for `create` also `type`, `auto_finalize`, `auto_dismiss`, `can_complete`, `completion`, `block` where it is `false`, `internal` where it is `true`, `speed` where there is a limit; for `cancel` also `force`; for `set-speed` also `speed`; for `pause-all`, `resume-all`, `drained-begin`, `drained-end` also `token`, which tells several at a time apart |
//! | `return` | `verb`, `ok`; when not ok also `class`, `error`; `posted`, true, when the call was made inside a callback of the main loop and is carried out later |
//! | `status` | `status` |
//! | `event` | `event`, `type`, `len`, `offset`, `speed`; `error` when there is one; `action` and `operation` for an I/O error |
//! | `callback` | `callback`, `edge` (`begin`, `end`); at the end `ok`, and `error` when there is one |
//! | `io` | `edge`, `op`, `offset`, `bytes`; at the end `ok` |
//!
//! The start of a transaction is one call for all its members: `job` is `null`, `group` its name.
//! The writer needs no JSON library, so that the engine has a trace without the command's
//! dependencies.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Instant;

use blockjob_model::Event;

use super::{Call, Io, TraceEntry, TraceSink, TraceStep};
use crate::sync::{Mutex, thread};

/// Writes a trace to `out`, which it buffers. What goes wrong is kept and told by
/// [`finish`](Self::finish): an engine does not stop because its trace cannot be written.
///
/// Not for runs under loom or shuttle: its lock would order what it observes.
pub struct TraceWriter<W: Write + Send> {
    inner: Mutex<Inner<W>>,
    start: Instant,
}

struct Inner<W> {
    out: W,
    buffer: String,
    entries: u64,
    error: Option<io::Error>,
}

/// How much is collected before it is handed to the system, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

impl<W: Write + Send> TraceWriter<W> {
    /// Begins a trace of profile `reference`.
    pub fn new(out: W) -> TraceWriter<W> {
        TraceWriter {
            inner: Mutex::new(Inner {
                out,
                buffer: "{\"blockjob_trace\":1,\"profile\":\"reference\"}\n".to_owned(),
                entries: 0,
                error: None,
            }),
            start: Instant::now(),
        }
    }

    /// Hands everything recorded so far to `out`, and says how many entries that were.
    ///
    /// # Errors
    ///
    /// The first error since the last call; the entries it concerned are lost.
    pub fn finish(&self) -> io::Result<u64> {
        let mut inner = self.inner.lock();
        inner.flush();
        if let Err(error) = inner.out.flush() {
            inner.error.get_or_insert(error);
        }
        match inner.error.take() {
            Some(error) => Err(error),
            None => Ok(inner.entries),
        }
    }

    /// Ends the trace and gives `out` back.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    pub fn into_inner(self) -> io::Result<W> {
        self.finish()?;
        Ok(self.inner.into_inner().out)
    }
}

impl<W: Write> Inner<W> {
    fn flush(&mut self) {
        if let Err(error) = self.out.write_all(self.buffer.as_bytes()) {
            self.error.get_or_insert(error);
        }
        self.buffer.clear();
    }
}

impl<W: Write + Send> TraceSink for TraceWriter<W> {
    fn record(&self, entry: &TraceEntry<'_>) {
        self.record_together(std::slice::from_ref(entry));
    }

    fn record_together(&self, entries: &[TraceEntry<'_>]) {
        let thread = thread::label();
        let mut inner = self.inner.lock();
        for entry in entries {
            inner.entries += 1;
            // Taken under the lock: `t_ns` grows with `seq`.
            let t_ns = self.start.elapsed().as_nanos();
            let seq = inner.entries;
            let line = &mut inner.buffer;
            // Writing to a string cannot fail.
            let _ = write!(line, "{{\"seq\":{seq},\"t_ns\":{t_ns}");
            text(line, "thread", &thread);
            text(line, "kind", kind(&entry.step));
            optional_text(line, "job", entry.job);
            optional_text(line, "group", entry.group);
            detail(line, &entry.step);
            line.push_str("}\n");
        }
        if inner.buffer.len() >= BUFFER_BYTES {
            inner.flush();
        }
    }
}

impl<W: Write + Send> std::fmt::Debug for TraceWriter<W> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TraceWriter")
            .field("entries", &self.inner.lock().entries)
            .finish_non_exhaustive()
    }
}

fn kind(step: &TraceStep<'_>) -> &'static str {
    match step {
        TraceStep::Call(_) => "call",
        TraceStep::Return { .. } => "return",
        TraceStep::Status(_) => "status",
        TraceStep::Event(..) => "event",
        TraceStep::CallbackBegin(_) | TraceStep::CallbackEnd { .. } => "callback",
        TraceStep::IoBegin(_) | TraceStep::IoEnd { .. } => "io",
    }
}

fn detail(line: &mut String, step: &TraceStep<'_>) {
    match step {
        TraceStep::Call(call) => call_detail(line, call),
        TraceStep::Return {
            verb,
            posted,
            error,
        } => {
            text(line, "verb", verb);
            flag(line, "ok", error.is_none());
            if let Some((class, words)) = error {
                text(line, "class", class);
                text(line, "error", words);
            }
            if *posted {
                flag(line, "posted", true);
            }
        }
        TraceStep::Status(status) => text(line, "status", status.name()),
        TraceStep::Event(event, detail) => {
            text(line, "event", event.name());
            text(line, "type", detail.job_type);
            number(line, "len", detail.len_bytes);
            number(line, "offset", detail.offset_bytes);
            number(line, "speed", detail.speed_bytes_per_s);
            if let Some(words) = detail.error {
                text(line, "error", words);
            }
            if let Event::Error { action } = event {
                text(line, "action", action.name());
                optional_text(line, "operation", detail.operation);
            }
        }
        TraceStep::CallbackBegin(callback) => {
            text(line, "callback", callback.name());
            text(line, "edge", "begin");
        }
        TraceStep::CallbackEnd {
            callback,
            ok,
            error,
        } => {
            text(line, "callback", callback.name());
            text(line, "edge", "end");
            flag(line, "ok", *ok);
            if let Some(words) = error {
                text(line, "error", words);
            }
        }
        TraceStep::IoBegin(io) => io_detail(line, "begin", *io),
        TraceStep::IoEnd { io, ok } => {
            io_detail(line, "end", *io);
            flag(line, "ok", *ok);
        }
    }
}

fn call_detail(line: &mut String, call: &Call<'_>) {
    text(line, "verb", call.verb());
    match call {
        Call::Create {
            job_type,
            auto_finalize,
            auto_dismiss,
            can_complete,
            completion,
            block,
            internal,
            speed_bytes_per_s,
        } => {
            text(line, "type", job_type);
            flag(line, "auto_finalize", *auto_finalize);
            flag(line, "auto_dismiss", *auto_dismiss);
            flag(line, "can_complete", *can_complete);
            flag(line, "completion", *completion);
            if !block {
                flag(line, "block", false);
            }
            if *internal {
                flag(line, "internal", true);
            }
            if *speed_bytes_per_s != 0 {
                signed(line, "speed", *speed_bytes_per_s);
            }
        }
        Call::SetSpeed { bytes_per_s } => signed(line, "speed", *bytes_per_s),
        Call::Cancel { force } => flag(line, "force", *force),
        Call::Numbered { token, .. } => number(line, "token", *token),
        Call::Plain(_) => {}
    }
}

fn io_detail(line: &mut String, edge: &str, io: Io) {
    text(line, "edge", edge);
    text(line, "op", io.op);
    number(line, "offset", io.offset);
    number(line, "bytes", io.bytes);
}

fn number(line: &mut String, key: &str, value: u64) {
    let _ = write!(line, ",\"{key}\":{value}");
}

fn signed(line: &mut String, key: &str, value: i64) {
    let _ = write!(line, ",\"{key}\":{value}");
}

fn flag(line: &mut String, key: &str, value: bool) {
    let _ = write!(line, ",\"{key}\":{value}");
}

fn optional_text(line: &mut String, key: &str, value: Option<&str>) {
    match value {
        Some(value) => text(line, key, value),
        None => {
            let _ = write!(line, ",\"{key}\":null");
        }
    }
}

/// A string as RFC 8259 §7 wants it: quotation mark, reverse solidus and control characters are
/// escaped, everything else stands for itself.
fn text(line: &mut String, key: &str, value: &str) {
    let _ = write!(line, ",\"{key}\":\"");
    for character in value.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(line, "\\u{:04x}", u32::from(control));
            }
            other => line.push(other),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        let mut line = String::new();
        text(&mut line, "error", "a\"b\\c\nd\te\u{1}ü");
        assert_eq!(line, r#","error":"a\"b\\c\nd\te\u0001ü""#);
    }

    #[test]
    fn a_failing_output_is_told_once_and_does_not_stop_recording() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(libc::ENOSPC))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let writer = TraceWriter::new(Full);
        writer.record(&TraceEntry {
            job: Some("j0"),
            group: None,
            step: TraceStep::Call(Call::Plain("start")),
        });
        let error = writer.finish().expect_err("the output is full");
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(writer.finish().expect("nothing is buffered"), 1);
    }
}
