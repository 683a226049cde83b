//! The engine's own trace: JSON lines after a header (`blockjob schema native`).

use super::json::{Piece, pieces, read_line};
use super::lines::Line;
use crate::oracle::error::TraceError;

/// The version of the format that is read.
const VERSION: i128 = 1;

pieces! {
    /// Any line of a native trace.
    Record {
        /// The header's mark: the version of the format.
        version: "blockjob_trace",
        /// The header's: whose rules the writer claims to follow.
        profile: "profile",
        /// Counts records, rising.
        seq: "seq",
        /// Who did it.
        thread: "thread",
        /// What kind of record.
        kind: "kind",
        /// The job.
        job: "job",
        /// Its transaction.
        group: "group",
        /// What is asked.
        verb: "verb",
        /// Of `create`: the job's type. Of an event: the same.
        job_type: "type",
        /// Of `create`: the transaction decides by itself.
        auto_finalize: "auto_finalize",
        /// Of `create`: the job vanishes by itself.
        auto_dismiss: "auto_dismiss",
        /// Of `create`: the job can be told to complete.
        can_complete: "can_complete",
        /// Of `create`: it has a completion function.
        completion: "completion",
        /// Of `create`: `block-job-*` commands see the job, and it has events.
        block: "block",
        /// Of `create`: the job has no id and no events; `job` is what it is called here.
        internal: "internal",
        /// Of `cancel`: by force.
        force: "force",
        /// Of `pause-all`, `drained-begin` and what ends them: which of several.
        token: "token",
        /// Of a return: the call was made inside a callback of the main loop, and is carried out later.
        posted: "posted",
        /// It went well.
        ok: "ok",
        /// The class of a refusal.
        class: "class",
        /// The text of a refusal, or why a job failed.
        error: "error",
        /// The new status.
        status: "status",
        /// The event's name.
        event: "event",
        /// Progress's end, bytes.
        len: "len",
        /// Progress, bytes.
        offset: "offset",
        /// The rate limit, bytes a second. Of `create` and `set-speed`: the one asked for.
        speed: "speed",
        /// What becomes of an I/O error.
        action: "action",
        /// Which callback.
        callback: "callback",
        /// Whether it begins or ends.
        edge: "edge",
    }
}

/// Reads a line. `Ok(None)`: the last line, cut.
///
/// # Errors
/// The line is no JSON object.
pub fn read<'a>(line: &Line<'a>) -> Result<Option<Record<'a>>, TraceError> {
    let Some(record) = read_line::<Record<'a>>(line.text, line.number, line.whole)? else {
        return Ok(None);
    };
    if !record.object {
        return Err(shape(
            line.number,
            "not an object; a record is {\"seq\":…,\"kind\":…,…}",
        ));
    }
    Ok(Some(record))
}

/// The profile a header claims; `None`: it claims none.
///
/// # Errors
/// The header is of a version that is not read.
pub fn read_header<'a>(line: u64, record: &Record<'a>) -> Result<Option<Piece<'a>>, TraceError> {
    if record.version.as_integer() != Some(VERSION) {
        return Err(shape(
            line,
            &format!(
                "a native trace of version {}, but only version {VERSION} is read",
                record.version.text()
            ),
        ));
    }
    Ok(record.profile.is_present().then_some(record.profile))
}

/// A line that is no record.
pub fn shape(line: u64, what: &str) -> TraceError {
    TraceError::Shape {
        line,
        what: what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line<'_> {
        Line {
            number: 2,
            text,
            whole: true,
        }
    }

    #[test]
    fn a_header_has_a_version_that_is_read() {
        let header = read(&line(r#"{"blockjob_trace":1,"profile":"reference"}"#))
            .unwrap()
            .unwrap();
        let profile = read_header(2, &header).unwrap().unwrap();
        assert_eq!(profile.as_str().unwrap(), "reference");
        let newer = read(&line(r#"{"blockjob_trace":2}"#)).unwrap().unwrap();
        let error = read_header(2, &newer).unwrap_err().to_string();
        assert!(error.contains("version 2"), "{error}");
    }

    #[test]
    fn a_record_is_an_object() {
        assert!(read(&line("[]")).is_err());
        assert!(read(&line("{}")).unwrap().is_some());
    }
}
