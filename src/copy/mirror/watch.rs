//! Whether a source was written by somebody who does not say so: by its times, as far as they tell.
//!
//! A file's time of change moves with every write, but only from one tick of its file system's clock to the next. So a
//! look at the times is good for nothing when they are as young as a tick: a write just after it may leave them as they
//! are. Such a look is taken again a little later; where the file is written all the time, it is known not to be good,
//! and what it belongs to is done once more.
//!
//! A write moves the times when it begins. What goes past the page cache may come to the disk well after that, behind a
//! pass that began in between, and moves nothing then. So what was found while the times were that young is held against
//! the source once more: when they have come to rest, or before the mirror is completed.
//!
//! What is written through a memory mapping moves the times when the kernel comes to it, which may be late; a block
//! device has no times at all.

use super::super::source::Source;
use super::SourceWriters;
use crate::driver::{Flow, JobError, RunContext};
use crate::io::stat::{FileKind, Stat, Timestamp, stat_anew};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest tick of a kernel's clock, doubled.
const TICK: Duration = Duration::from_millis(20);
/// Of a file system that keeps whole seconds, or even ones.
const TICK_WHOLE: Duration = Duration::from_secs(2);
/// As long as a write may be on its way to the disk after it has moved the times.
const UNDER_WAY: Duration = Duration::from_secs(10);
/// Looks at a file that is written all the time, before a pass over it begins all the same.
const LOOKS_MAX: usize = 3;

/// A look at the source's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    size: u64,
    modified: Timestamp,
    changed: Timestamp,
    /// A write after it moves the times.
    good: bool,
    /// Whoever moved the times before it is through with that.
    settled: bool,
}

/// Looks at one source, before and after each pass over it.
#[derive(Debug)]
pub(super) struct Watch<'run> {
    source: &'run Source,
    writers: SourceWriters,
    /// Before the last whole pass; none where that was not brought to its end.
    before: Option<Look>,
}

impl<'run> Watch<'run> {
    pub fn new(source: &'run Source, writers: SourceWriters) -> Self {
        Self {
            source,
            writers,
            before: None,
        }
    }

    /// A pass over the whole source begins.
    pub fn begin<S>(&mut self, context: &mut RunContext<'_, S>) -> Result<(), JobError> {
        if !self.is_needed() {
            return Ok(());
        }
        let mut now = look(self.source)?;
        for _ in 1..LOOKS_MAX {
            if now.good {
                break;
            }
            if context.sleep(tick(now.changed)) == Flow::Cancelled {
                return Err(JobError::canceled());
            }
            now = look(self.source)?;
        }
        self.before = Some(now);
        Ok(())
    }

    /// The pass was not brought to its end.
    pub fn broken_off(&mut self) {
        self.before = None;
    }

    /// Whether the source may have been written since the last pass over it began.
    pub fn has_changed(&self) -> Result<bool, JobError> {
        if !self.is_needed() {
            return Ok(false);
        }
        let now = look(self.source)?;
        Ok(self
            .before
            .is_none_or(|before| !before.good || !before.is_as(&now)))
    }

    /// Whether a pass over the source that began before this moment may have missed the end of a write, though the times
    /// stand still.
    pub fn is_unsettled(&self) -> bool {
        self.is_needed() && self.before.is_none_or(|before| !before.settled)
    }

    /// Whether that is so, and a pass that begins now would miss nothing.
    pub fn has_settled(&self) -> Result<bool, JobError> {
        Ok(self.is_unsettled() && look(self.source)?.settled)
    }

    /// For a look after the run.
    pub fn last(&self) -> Option<Look> {
        self.before.filter(|_| self.is_needed())
    }

    /// A device's times say nothing; what tells of it is read at the very end.
    fn is_needed(&self) -> bool {
        self.writers == SourceWriters::Any && self.source.stat.kind == FileKind::Regular
    }
}

impl Look {
    fn is_as(&self, now: &Look) -> bool {
        (self.size, self.modified, self.changed) == (now.size, now.modified, now.changed)
    }

    /// Whether the source still is as it was at this look.
    pub fn is_still(&self, source: &Source) -> Result<bool, JobError> {
        Ok(self.is_as(&look(source)?))
    }
}

/// Looks now. A source that has another size than it had cannot be followed.
fn look(source: &Source) -> Result<Look, JobError> {
    let now = stat_anew(&source.file)?;
    check_size(source, &now)?;
    let clock = SystemTime::now();
    Ok(Look {
        size: now.size,
        modified: now.modified,
        changed: now.changed,
        good: is_apart(now.changed, clock, tick(now.changed)),
        settled: is_apart(now.changed, clock, UNDER_WAY),
    })
}

/// A mirror has the size that its source had when it began.
pub(super) fn check_size(source: &Source, now: &Stat) -> Result<(), JobError> {
    if now.size == source.stat.size {
        return Ok(());
    }
    let how = if now.size < source.stat.size {
        "shrank"
    } else {
        "grew"
    };
    Err(source.changed(&format!(
        "{how} from {} to {} bytes",
        source.stat.size, now.size
    )))
}

/// Whether `now` is that far from the last change, so that after a tick a further one moves its time.
fn is_apart(changed: Timestamp, now: SystemTime, span: Duration) -> bool {
    let Ok(now) = now.duration_since(UNIX_EPOCH) else {
        return true;
    };
    let nanoseconds = i128::from(changed.seconds) * 1_000_000_000 + i128::from(changed.nanoseconds);
    let age = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX) - nanoseconds;
    let span = i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
    // A time far ahead is of a clock that was set back since: it will not be met again.
    age > span || age < -span
}

/// How long a time of change may stay the same although something changes.
fn tick(changed: Timestamp) -> Duration {
    if changed.nanoseconds == 0 {
        TICK_WHOLE
    } else {
        TICK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanoseconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(nanoseconds)
    }

    #[test]
    fn a_look_within_a_tick_of_the_last_change_is_no_good() {
        let changed = Timestamp {
            seconds: 1000,
            nanoseconds: 5,
        };
        let base = 1000 * 1_000_000_000 + 5;
        let tick = TICK.as_nanos() as u64;
        for (now, good) in [
            (base, false),
            (base + tick, false),
            (base + tick + 1, true),
            // The clock of the file system may be a little ahead.
            (base - tick, false),
            (base - tick - 1, true),
        ] {
            let found = is_apart(changed, at(now), super::tick(changed));
            assert_eq!(found, good, "{now}");
        }
        let whole = Timestamp {
            seconds: 1000,
            nanoseconds: 0,
        };
        assert!(!is_apart(whole, at(1_001_900_000_000), super::tick(whole)));
        assert!(is_apart(whole, at(1_002_100_000_000), super::tick(whole)));
    }
}
