//! When a line was written, in nanoseconds. Where it says nothing, or nonsense, nothing is said.

use crate::oracle::reader::json::{Piece, pieces};

pieces! {
    /// A line of a conversation, or a bare message.
    Stamped {
        /// Seconds, by whoever recorded.
        t: "t",
        /// The message.
        msg: "msg",
        /// QEMU's own, of events.
        timestamp: "timestamp",
        /// Nanoseconds, of a native trace.
        t_ns: "t_ns",
    }
}

pieces! {
    /// QEMU's timestamp of an event.
    Timestamp {
        /// Since 1970.
        seconds: "seconds",
        /// Of the second.
        microseconds: "microseconds",
    }
}

/// Reads times.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The lines carry times of whoever recorded; else those of the events alone are used. The two
    /// need not count from the same beginning, so only one kind is.
    recorder: Option<bool>,
}

impl Clock {
    /// Of a message, with or without what its recorder wrote around it.
    pub fn of_message(&mut self, text: &str) -> Option<i64> {
        let stamped: Stamped<'_> = serde_json::from_str(text).ok()?;
        let recorded = seconds(stamped.t);
        let recorder = *self.recorder.get_or_insert(recorded.is_some());
        if recorder {
            return recorded;
        }
        let timestamp = if stamped.msg.is_present() {
            stamped.msg.read::<Stamped<'_>>()?.timestamp
        } else {
            stamped.timestamp
        };
        let timestamp: Timestamp<'_> = timestamp.read()?;
        let number = |piece: Piece<'_>| piece.as_integer().and_then(|n| i64::try_from(n).ok());
        number(timestamp.seconds)?
            .checked_mul(1_000_000_000)?
            .checked_add(number(timestamp.microseconds)?.checked_mul(1000)?)
    }

    /// Of a record of a native trace.
    #[allow(clippy::unused_self)] // As the others.
    pub fn of_native(&self, text: &str) -> Option<i64> {
        let stamped: Stamped<'_> = serde_json::from_str(text).ok()?;
        i64::try_from(stamped.t_ns.as_integer()?).ok()
    }

    /// Of a line of a trace log: `PID@SECONDS.MICROSECONDS:`.
    #[allow(clippy::unused_self)] // As the others.
    pub fn of_log(&self, text: &str) -> Option<i64> {
        let (_, rest) = text.split_once('@')?;
        let (stamp, _) = rest.split_once(':')?;
        let (seconds, micros) = stamp.split_once('.')?;
        if micros.len() != 6 {
            return None;
        }
        seconds
            .parse::<i64>()
            .ok()?
            .checked_mul(1_000_000_000)?
            .checked_add(micros.parse::<u32>().ok().map(i64::from)? * 1000)
    }
}

/// Seconds as a number, or as one in a string, in nanoseconds.
fn seconds(piece: Piece<'_>) -> Option<i64> {
    let text = piece.as_str();
    let number: f64 = text.as_deref().unwrap_or(piece.text()).parse().ok()?;
    let ns = number * 1e9;
    // Beyond this a float tells no microseconds apart, and an i64 holds it.
    (ns.is_finite() && ns.abs() < 9e18).then_some(ns as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_counts_by_its_recorder_or_by_its_events() {
        let mut clock = Clock::default();
        assert_eq!(
            clock.of_message(r#"{"t":1.5,"dir":"<","msg":{}}"#),
            Some(1_500_000_000)
        );
        assert_eq!(
            clock.of_message(r#"{"t":"0.25","dir":"<","msg":{}}"#),
            Some(250_000_000)
        );
        let event = r#"{"event":"E","timestamp":{"seconds":2,"microseconds":7}}"#;
        assert_eq!(clock.of_message(event), None, "another beginning");
        let mut clock = Clock::default();
        assert_eq!(clock.of_message(r#"{"execute":"q"}"#), None);
        assert_eq!(clock.of_message(event), Some(2_000_007_000));
        assert_eq!(
            clock.of_message(&format!(r#"{{"dir":"<","msg":{event}}}"#)),
            Some(2_000_007_000)
        );
    }

    #[test]
    fn what_is_no_time_is_none() {
        let clock = Clock::default();
        for text in [
            "",
            "job_completed job 0x1 ret 0",
            "7@x.000001:job_",
            "7@1.5:job_",
            "7@99999999999999.000000:job_",
        ] {
            assert_eq!(clock.of_log(text), None, "{text}");
        }
        assert_eq!(clock.of_log("7@3.000002:job_"), Some(3_000_002_000));
        assert_eq!(clock.of_native("{}"), None);
        assert_eq!(clock.of_native(r#"{"t_ns":5}"#), Some(5));
        for t in ["1e300", "null", "\"soon\"", "NaN"] {
            let text = format!(r#"{{"t":{t}}}"#);
            assert_eq!(Clock::default().of_message(&text), None, "{t}");
        }
    }
}
