//! The rate limiter (SEMANTICS.md §9.2), exact.
//!
//! Work is charged after it is done, and what is charged is owed until time has paid for it. Less than a slice's worth
//! may be owed without waiting, so that small pieces do not make many small sleeps; with a slice's worth or more the
//! delay is until nothing is owed. A piece that is larger than a slice is worth, however slow the limit, is owed as a
//! whole, so nothing is ever rounded and every speed is one of its own, down to a byte per second (QEMU rounds to ten
//! bytes per second; docs/DECISIONS.md, r). Time in which nothing was owed is kept up to one slice: what a slow piece or a late
//! wake-up took is made up for, and no more.
//! Pure: the caller says what time it is, so tests need no clock.

use std::time::Duration;

/// One slice.
pub const SLICE: Duration = Duration::from_millis(100);

/// Whether a change of the limit is a reason to hurry for a job that sleeps as long as the old one
/// said (SEMANTICS.md §9.1): it was lifted, or raised. From no limit to one counts as lowered
/// (decision 34); QEMU takes it for raised.
pub fn hurries(old_bytes_per_s: u64, new_bytes_per_s: u64) -> bool {
    match (old_bytes_per_s, new_bytes_per_s) {
        (_, 0) => true,
        (0, _) => false,
        (old, new) => new > old,
    }
}

/// A limit in bytes per second, 0 for none.
#[derive(Clone, Debug, Default)]
pub struct RateLimit {
    speed_bytes_per_s: u64,
    /// Bytes that time has not paid for yet, times nanoseconds per second; below zero, what it has paid ahead.
    owed: i128,
    /// Until when that is reckoned; nobody has charged anything yet if never.
    reckoned: Option<Duration>,
    /// A slice's worth or more was owed, and still is not paid for.
    waits: bool,
}

/// A byte in the measure of [`RateLimit::owed`].
const BYTE: i128 = 1_000_000_000;

impl RateLimit {
    /// A limiter for `speed_bytes_per_s`, 0 for none.
    pub fn new(speed_bytes_per_s: u64) -> RateLimit {
        RateLimit {
            speed_bytes_per_s,
            ..RateLimit::default()
        }
    }

    /// Changes the limit, at the time `now`. What is owed stays owed, and is paid for at the new speed from now on;
    /// what was paid ahead is not carried over.
    pub fn set_speed(&mut self, now: Duration, speed_bytes_per_s: u64) {
        self.reckon(now);
        self.owed = match (self.speed_bytes_per_s, speed_bytes_per_s) {
            (0, _) | (_, 0) => 0,
            _ => self.owed.max(0),
        };
        self.speed_bytes_per_s = speed_bytes_per_s;
    }

    /// Charges `bytes` of work done, at the time `now`, and returns how long to wait before the
    /// next piece; zero for "go on".
    pub fn charge(&mut self, now: Duration, bytes: u64) -> Duration {
        if self.speed_bytes_per_s == 0 {
            return Duration::ZERO;
        }
        self.reckon(now);
        self.owed = self.owed.saturating_add(i128::from(bytes) * BYTE);
        let slice_worth = self.worth(SLICE);
        self.waits |= self.owed >= slice_worth;
        if !self.waits {
            return Duration::ZERO;
        }
        // Rounded up: who has waited so long owes nothing.
        let delay_ns = self
            .owed
            .unsigned_abs()
            .div_ceil(u128::from(self.speed_bytes_per_s));
        Duration::from_nanos(u64::try_from(delay_ns).unwrap_or(u64::MAX))
    }

    /// Pays for what time has passed. Clocks of several threads may be read in one order and come here in another.
    fn reckon(&mut self, now: Duration) {
        let before = self.reckoned.unwrap_or(now);
        self.reckoned = Some(now.max(before));
        let paid = self.worth(now.saturating_sub(before));
        let ahead_max = self.worth(SLICE);
        self.owed = self.owed.saturating_sub(paid).max(-ahead_max);
        self.waits &= self.owed > 0;
    }

    /// What so much time pays for.
    fn worth(&self, time: Duration) -> i128 {
        let time_ns = i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
        time_ns.saturating_mul(i128::from(self.speed_bytes_per_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn no_limit_never_waits() {
        let mut limit = RateLimit::new(0);
        assert_eq!(limit.charge(Duration::ZERO, u64::MAX), Duration::ZERO);
    }

    #[test]
    fn below_the_quota_goes_on_and_at_the_quota_waits_for_the_slice() {
        let mut limit = RateLimit::new(1000);
        let now = Duration::from_secs(1);
        assert_eq!(limit.charge(now, 99), Duration::ZERO);
        assert_eq!(limit.charge(now, 1), SLICE);
    }

    #[test]
    fn overspending_stretches_the_slice_in_proportion() {
        let mut limit = RateLimit::new(1000);
        let now = Duration::from_secs(1);
        assert_eq!(limit.charge(now, 250), Duration::from_nanos(250 * MS));
        let later = now + Duration::from_millis(40);
        assert_eq!(limit.charge(later, 50), Duration::from_nanos(260 * MS));
    }

    #[test]
    fn who_has_waited_may_go_on() {
        let mut limit = RateLimit::new(1000);
        let now = Duration::from_secs(1);
        assert_eq!(limit.charge(now, 100), SLICE);
        let after = now + SLICE + Duration::from_nanos(1);
        assert_eq!(limit.charge(after, 99), Duration::ZERO);
    }

    #[test]
    fn the_first_slice_begins_with_the_first_piece() {
        let mut limit = RateLimit::new(1000);
        assert_eq!(limit.charge(Duration::ZERO, 99), Duration::ZERO);
        let next = Duration::from_nanos(1);
        assert_eq!(limit.charge(next, 99), Duration::from_nanos(198 * MS - 1));
    }

    #[test]
    fn what_is_owed_is_paid_for_at_the_new_speed() {
        let mut limit = RateLimit::new(10);
        let now = Duration::from_secs(1);
        assert_eq!(limit.charge(now, 100), Duration::from_secs(10));
        // Half of it is paid for.
        let later = now + Duration::from_secs(5);
        limit.set_speed(later, 10_000);
        assert_eq!(limit.charge(later, 0), Duration::from_millis(5));
        assert_eq!(limit.charge(later, 850), Duration::from_millis(90));
    }

    #[test]
    fn what_is_owed_is_forgotten_while_there_is_no_limit() {
        let mut limit = RateLimit::new(10);
        let now = Duration::from_secs(1);
        assert_eq!(limit.charge(now, 100), Duration::from_secs(10));
        limit.set_speed(now, 0);
        limit.set_speed(now, 10);
        assert_eq!(limit.charge(now, 0), Duration::ZERO);
    }

    #[test]
    fn who_has_waited_for_all_of_it_owes_nothing() {
        let mut limit = RateLimit::new(1000);
        let now = Duration::from_secs(1);
        assert_eq!(limit.charge(now, 100), SLICE);
        assert_eq!(limit.charge(now + SLICE, 99), Duration::ZERO);
    }

    #[test]
    fn extremes_of_time_and_bytes_do_not_overflow() {
        let longest = Duration::from_nanos(u64::MAX);
        let mut limit = RateLimit::new(1);
        assert_eq!(limit.charge(Duration::MAX, u64::MAX), longest);
        let mut limit = RateLimit::new(1);
        let now = Duration::from_secs(1);
        assert_eq!(limit.charge(now, u64::MAX), longest);
        assert_eq!(limit.charge(now, u64::MAX), longest);
        let mut limit = RateLimit::new(u64::MAX);
        assert_eq!(
            limit.charge(Duration::ZERO, u64::MAX),
            Duration::from_secs(1)
        );
        assert_eq!(limit.charge(Duration::MAX, 0), Duration::ZERO);
        limit.set_speed(Duration::ZERO, 1);
        assert_eq!(limit.charge(Duration::ZERO, 1), Duration::from_secs(1));
        assert_eq!(RateLimit::new(u64::MAX).charge(now, 1), Duration::ZERO);
    }

    #[test]
    fn every_speed_is_one_of_its_own_down_to_a_byte_a_second() {
        for speed in (1..40).chain([1001, 1009]) {
            let mut limit = RateLimit::new(speed);
            let (start, bytes) = (Duration::from_secs(1), 4096);
            let worth = Duration::from_nanos((bytes * 1_000_000_000_u64).div_ceil(speed));
            assert_eq!(limit.charge(start, bytes), worth, "{speed}");
        }
    }

    #[test]
    fn what_a_late_wake_up_took_is_made_up_for_and_an_idle_hour_is_not() {
        let mut limit = RateLimit::new(1000);
        let mut now = Duration::from_secs(1);
        for _ in 0..100 {
            // Each sleep is a tenth too long, each piece takes a third of what it is worth.
            now += limit.charge(now, 150) + Duration::from_millis(15 + 50);
        }
        // 15000 bytes are worth 15 seconds.
        let took = now.saturating_sub(Duration::from_secs(1));
        assert!(took.abs_diff(Duration::from_secs(15)) <= SLICE, "{took:?}");
        now += Duration::from_secs(3600);
        let granted = std::iter::repeat_with(|| limit.charge(now, 10))
            .take_while(Duration::is_zero)
            .count();
        // A slice that was paid ahead, and one that may be owed.
        assert_eq!(granted, 19);
    }
}
