//! I/O errors: on which side they happen, and how often a driver tries again.
//!
//! What a policy makes of an error is the specification's ([`ErrorPolicy`](blockjob_model::ErrorPolicy)); the engine announces it and
//! takes the pause of a stop ([`RunContext::error_action`](super::context::RunContext::error_action)).
//! The driver does the rest, and where the policy says `ignore` that is a retry, which on a disk that
//! stays broken never ends. So there is a limit and a delay (decision 32): [`Retries`] counts, and
//! [`RunContext::after_error`](super::context::RunContext::after_error) follows it.

use std::time::Duration;

use crate::driver::JobError;

/// On which side of a job an I/O error happened (SEMANTICS.md §8). Flushes count as writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IoSide {
    /// Reading the source.
    Read,
    /// Writing the target.
    Write,
}

impl IoSide {
    /// The name as QMP's `IoOperationType` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            IoSide::Read => "read",
            IoSide::Write => "write",
        }
    }
}

/// How often in a row one piece of I/O is tried again under the policy `ignore`, and after what
/// delay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    limit: u32,
    delay: Duration,
    spent: u32,
}

impl Retries {
    /// Tries of a piece after the first, unless told otherwise.
    pub const LIMIT: u32 = 10;
    /// The time before each of them, unless told otherwise.
    pub const DELAY: Duration = Duration::from_millis(100);

    /// At most `limit` more tries of a piece, `delay` apart.
    pub const fn new(limit: u32, delay: Duration) -> Retries {
        Retries {
            limit,
            delay,
            spent: 0,
        }
    }

    /// The piece went through, or its user knows of it: the next error begins a new count.
    pub fn reset(&mut self) {
        self.spent = 0;
    }

    /// Tries since the last [`reset`](Self::reset).
    pub const fn spent(&self) -> u32 {
        self.spent
    }

    /// One more try, and how long to wait before it; none once the limit is reached.
    pub fn spend(&mut self) -> Option<Duration> {
        if self.spent >= self.limit {
            return None;
        }
        self.spent += 1;
        Some(self.delay)
    }
}

impl Default for Retries {
    fn default() -> Retries {
        Retries::new(Retries::LIMIT, Retries::DELAY)
    }
}

/// How a driver goes on after an I/O error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it decides whether the piece is tried again"]
pub enum AfterError {
    /// Try the same piece again. Any delay or pause is over.
    Retry,
    /// Return this error from the run.
    GiveUp(JobError),
    /// The job was cancelled by force meanwhile: return.
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_counted_in_a_row() {
        let mut retries = Retries::new(2, Duration::from_secs(1));
        assert_eq!(retries.spend(), Some(Duration::from_secs(1)));
        assert_eq!(retries.spend(), Some(Duration::from_secs(1)));
        assert_eq!(retries.spend(), None);
        assert_eq!(retries.spent(), 2);
        retries.reset();
        assert_eq!(retries.spend(), Some(Duration::from_secs(1)));
        assert_eq!(Retries::new(0, Duration::ZERO).spend(), None);
    }
}
