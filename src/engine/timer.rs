//! Time: an event like any other.
//!
//! A body that sleeps arms one timer and parks; the main loop fires due timers, and a timer that
//! fires is an enter (SEMANTICS.md §4.3). When somebody else wakes the body first its timer is dead, and
//! disarmed by the body or by the main loop, whoever comes first: one sleep has one wake, and no time
//! passes for it (P20, P21).
//!
//! Two clocks:
//! - *real*: the main loop waits no longer than until the earliest deadline. Threads only.
//! - *virtual*: when the main loop has nothing else to do, time jumps to the earliest deadline.
//!   Tests are deterministic and wait for nothing. Under loom and shuttle it is the only clock,
//!   and it is honest there: the main loop runs as late as the checker likes, so a timer fires at
//!   any moment after it was armed, at most once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::monitor::JobKey;
use crate::sync::{REAL_TIME, Statistic};

/// A deadline and a number that tells equal deadlines apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimerKey {
    pub(super) deadline: Duration,
    number: u64,
}

/// Whom a timer wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sleeper {
    /// The body of a job.
    Body(JobKey),
    /// A drained section that waits to begin.
    Section(u64),
}

/// The armed timers, behind the monitor's lock.
#[derive(Debug, Default)]
pub(super) struct Timers {
    armed: BTreeMap<TimerKey, Sleeper>,
    next_number: u64,
}

impl Timers {
    /// Arms a timer and says whether it is now the earliest.
    pub(super) fn arm(&mut self, deadline: Duration, sleeper: Sleeper) -> (TimerKey, bool) {
        let key = TimerKey {
            deadline,
            number: self.next_number,
        };
        self.next_number += 1;
        self.armed.insert(key, sleeper);
        let earliest = self.earliest().is_some_and(|(earliest, _)| earliest == key);
        (key, earliest)
    }

    /// Disarms it, if it has not fired.
    pub(super) fn disarm(&mut self, key: TimerKey) {
        self.armed.remove(&key);
    }

    pub(super) fn earliest(&self) -> Option<(TimerKey, Sleeper)> {
        let (key, sleeper) = self.armed.first_key_value()?;
        Some((*key, *sleeper))
    }

    /// Takes the earliest timer if it is due at `now`.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Sleeper> {
        let earliest = self.armed.first_entry()?;
        (earliest.key().deadline <= now).then(|| earliest.remove())
    }

    /// A body has one that it did not disarm.
    #[cfg(debug_assertions)]
    pub(super) fn has_a_body(&self) -> bool {
        let body = |sleeper: &Sleeper| matches!(sleeper, Sleeper::Body(_));
        self.armed.values().any(body)
    }
}

/// What time it is, counted from the manager's creation.
#[derive(Debug)]
pub(super) enum Clock {
    /// The machine's monotonic clock.
    Real(Instant),
    /// Nanoseconds, moved by the main loop. Reported, never waited for: not modelled.
    Virtual(Statistic),
}

impl Clock {
    pub(super) fn new(virtual_time: bool) -> Clock {
        if virtual_time || !REAL_TIME {
            Clock::Virtual(Statistic::default())
        } else {
            Clock::Real(Instant::now())
        }
    }

    pub(super) fn now(&self) -> Duration {
        match self {
            Clock::Real(start) => start.elapsed(),
            Clock::Virtual(nanoseconds) => Duration::from_nanos(nanoseconds.get()),
        }
    }

    /// Virtual time jumps forward to `deadline`; real time does not. Returns the moment up to which
    /// timers are due: in virtual time the deadline itself, also where the clock has come to its
    /// end (after 584 years) and cannot say so.
    pub(super) fn jump_to(&self, deadline: Duration) -> Duration {
        match self {
            Clock::Real(_) => self.now(),
            Clock::Virtual(nanoseconds) => {
                let target = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
                nanoseconds.raise_to(target);
                deadline
            }
        }
    }

    /// Time passes by itself, so timers fall due while the main loop has other work.
    pub(super) fn is_real(&self) -> bool {
        matches!(self, Clock::Real(_))
    }
}

#[cfg(all(test, not(any(blockjob_loom, blockjob_shuttle))))]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{JobKey, Sleeper, TimerKey, Timers};

    /// What is done to the timers.
    #[derive(Clone, Debug)]
    enum Step {
        /// One more sleeper, until this moment.
        Arm(u64),
        /// The timer that was armed as the n-th, if it was not taken, is disarmed; it may be long gone.
        Disarm(usize),
        /// Time has come to this moment.
        Fire(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Few moments, so that many sleepers share one.
        let step = prop_oneof![
            3 => (0..4_u64).prop_map(Step::Arm),
            2 => (0..12_usize).prop_map(Step::Disarm),
            1 => (0..4_u64).prop_map(Step::Fire),
        ];
        prop::collection::vec(step, 0..24)
    }

    proptest! {
        /// P20, P21: a timer fires once, not before its moment, in the order of moments, and whoever is
        /// disarmed or fires leaves the others theirs. Held against a map from sleepers to moments.
        #[test]
        fn every_sleeper_has_a_timer_of_his_own(steps in steps()) {
            let mut timers = Timers::default();
            let mut armed: Vec<TimerKey> = Vec::new();
            let mut sleeps: BTreeMap<u64, Duration> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Arm(moment) => {
                        let (sleeper, moment) = (armed.len() as u64, Duration::from_secs(moment));
                        let first = sleeps.values().all(|other| moment < *other);
                        let (key, earliest) = timers.arm(moment, Sleeper::Body(JobKey(sleeper)));
                        prop_assert_eq!(earliest, first);
                        armed.push(key);
                        sleeps.insert(sleeper, moment);
                    }
                    Step::Disarm(number) => {
                        if let Some(key) = armed.get(number) {
                            timers.disarm(*key);
                            sleeps.remove(&(number as u64));
                        }
                    }
                    Step::Fire(now) => {
                        let now = Duration::from_secs(now);
                        while let Some(fired) = timers.take_due(now) {
                            let Sleeper::Body(JobKey(sleeper)) = fired else {
                                panic!("no section sleeps");
                            };
                            let moment = sleeps.remove(&sleeper);
                            prop_assert!(moment.is_some_and(|moment| moment <= now), "{moment:?}");
                            prop_assert!(sleeps.values().all(|other| moment <= Some(*other)));
                        }
                        prop_assert!(sleeps.values().all(|moment| *moment > now));
                    }
                }
                let earliest = timers.earliest().map(|(key, _)| key.deadline);
                prop_assert_eq!(earliest, sleeps.values().min().copied());
            }
        }
    }
}
