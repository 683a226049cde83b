//! `JUnit` XML: a suite of one test case for each trace.
//!
//! There is no one schema. What is written here is valid by both that are in use: the one of Jenkins' xUnit
//! plugin (`junit-10.xsd`), and the stricter one that Ant's writer was described by (windyroad's `JUnit.xsd`), which
//! wants times, a host, and empty elements.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::oracle::{Outcome, Verdict};

/// A run of `blockjob check`, as a suite of tests.
#[derive(Debug)]
pub struct Suite {
    started: SystemTime,
    cases: String,
    tests: u64,
    failures: u64,
    errors: u64,
    took: Duration,
}

impl Suite {
    /// A run that begins now.
    pub fn begin() -> Suite {
        Suite::begun(SystemTime::now())
    }

    fn begun(started: SystemTime) -> Suite {
        Suite {
            started,
            cases: String::new(),
            tests: 0,
            failures: 0,
            errors: 0,
            took: Duration::ZERO,
        }
    }

    /// A trace was judged, and it took so long.
    pub fn add(&mut self, verdict: &Verdict, took: Duration) {
        self.tests += 1;
        self.took += took;
        // Writing to a string cannot fail.
        let _ = write!(
            self.cases,
            "    <testcase classname=\"blockjob.check\" name=\"{}\" time=\"{:.3}\"",
            escape(&verdict.path),
            took.as_secs_f64()
        );
        match &verdict.outcome {
            Outcome::Accept => self.cases.push_str("/>\n"),
            Outcome::Reject(fault) => {
                self.failures += 1;
                self.problem(
                    "failure",
                    fault.rule,
                    &format!("line {}: {}", fault.line, fault.message),
                    &verdict.to_string(),
                );
            }
            Outcome::Error(error) => {
                self.errors += 1;
                self.problem(
                    "error",
                    "not-judged",
                    &error.to_string(),
                    &verdict.to_string(),
                );
            }
        }
    }

    fn problem(&mut self, element: &str, kind: &str, message: &str, text: &str) {
        let _ = write!(
            self.cases,
            ">\n      <{element} message=\"{}\" type=\"{}\">{}</{element}>\n    </testcase>\n",
            escape(message),
            escape(kind),
            escape(text)
        );
    }

    /// The document.
    pub fn finish(&self) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  \
             <testsuite id=\"0\" package=\"blockjob\" name=\"blockjob check\" timestamp=\"{}\" hostname=\"localhost\" \
             tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{:.3}\">\n    <properties/>\n{}    \
             <system-out/>\n    <system-err/>\n  </testsuite>\n</testsuites>\n",
            timestamp(self.started),
            self.tests,
            self.failures,
            self.errors,
            self.took.as_secs_f64(),
            self.cases
        )
    }
}

/// A moment as `2026-01-31T23:59:59`, in UTC, as the schema has it: without a zone. Before 1970: its beginning.
fn timestamp(moment: SystemTime) -> String {
    let seconds = moment
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 0000-03-01 on, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month < 3);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Text as XML 1.0 has it, in an element or an attribute. A character that XML cannot have is shown as U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Kept as they are in an attribute too.
            '\t' => escaped.push_str("&#9;"),
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_days_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_709_164_800, "2024-02-29T00:00:00"),
            (1_735_689_599, "2024-12-31T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            let moment = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(timestamp(moment), text);
        }
        assert_eq!(
            timestamp(UNIX_EPOCH - Duration::from_secs(5)),
            "1970-01-01T00:00:00"
        );
    }

    #[test]
    fn what_xml_cannot_hold_is_shown_as_a_replacement() {
        assert_eq!(
            escape("a<b>&\"\x1b\0\n\u{ffff}é"),
            "a&lt;b&gt;&amp;&quot;\u{fffd}\u{fffd}&#10;\u{fffd}é"
        );
    }
}
