//! The rate limiter (SEMANTICS.md §9.2, as modern QEMU computes it).
//!
//! Time is cut into slices of 100 ms with a quota each. Work is charged after it is done; a charge
//! that exceeds the quota stretches the slice in proportion, and the delay is what is left of it.
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
    quota_bytes: u64,
    dispatched_bytes: u64,
    slice_start: Duration,
    slice_end: Duration,
}

impl RateLimit {
    /// A limiter for `speed_bytes_per_s`, 0 for none.
    pub fn new(speed_bytes_per_s: u64) -> RateLimit {
        let mut limit = RateLimit::default();
        limit.set_speed(speed_bytes_per_s);
        limit
    }

    /// Changes the limit; what was charged in the current slice stays charged.
    pub fn set_speed(&mut self, speed_bytes_per_s: u64) {
        self.quota_bytes = match speed_bytes_per_s {
            0 => 0,
            speed => (speed / 10).max(1),
        };
    }

    /// Charges `bytes` of work done, at the time `now`, and returns how long to wait before the
    /// next piece; zero for "go on".
    pub fn charge(&mut self, now: Duration, bytes: u64) -> Duration {
        if self.quota_bytes == 0 {
            return Duration::ZERO;
        }
        // The first slice begins with the first piece, whatever the clock says then.
        if self.slice_end < now || self.slice_end.is_zero() {
            self.slice_start = now;
            self.slice_end = now.saturating_add(SLICE);
            self.dispatched_bytes = 0;
        }
        self.dispatched_bytes = self.dispatched_bytes.saturating_add(bytes);
        if self.dispatched_bytes < self.quota_bytes {
            return Duration::ZERO;
        }
        let slice_ns = SLICE.as_nanos();
        let stretched_ns =
            slice_ns * u128::from(self.dispatched_bytes) / u128::from(self.quota_bytes);
        let stretched = Duration::from_nanos(u64::try_from(stretched_ns).unwrap_or(u64::MAX));
        self.slice_end = self.slice_start.saturating_add(stretched);
        // Raising the speed in the middle of a slice can put its end into the past.
        self.slice_end.saturating_sub(now)
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
    fn a_new_slice_begins_after_the_old_one_ended() {
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
    fn raising_the_speed_inside_a_slice_never_gives_a_negative_delay() {
        let mut limit = RateLimit::new(10);
        let now = Duration::from_secs(1);
        assert_eq!(limit.charge(now, 100), Duration::from_secs(10));
        limit.set_speed(10_000);
        let later = now + Duration::from_secs(5);
        assert_eq!(limit.charge(later, 900), Duration::ZERO);
    }

    #[test]
    fn extremes_of_time_and_bytes_do_not_overflow() {
        let mut limit = RateLimit::new(1);
        assert_eq!(limit.charge(Duration::MAX, u64::MAX), Duration::ZERO);
        let mut limit = RateLimit::new(1);
        let longest = Duration::from_nanos(u64::MAX);
        let now = Duration::from_secs(1);
        assert_eq!(limit.charge(now, u64::MAX), longest);
        assert_eq!(limit.charge(now, u64::MAX), longest);
        assert_eq!(RateLimit::new(u64::MAX).charge(now, 1), Duration::ZERO);
    }

    #[test]
    fn the_slowest_speed_still_lets_a_byte_through_a_slice() {
        let mut limit = RateLimit::new(1);
        assert_eq!(limit.charge(Duration::from_secs(1), 1), SLICE);
    }
}
