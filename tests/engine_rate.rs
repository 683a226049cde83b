//! Speed and progress as numbers.
//!
//! Goal: the limiter never grants more than its speed allows and a slice and one request more (P46), never asks
//! for a wait that is not there, and grants what it can: nobody is held back who stays below; a change
//! of speed wakes a sleeper exactly when there is a reason to hurry (SEMANTICS.md §9.1, decision 34)
//! and no paused job (P34); progress never goes backwards.
//! Method: random drivers against a limiter in virtual time (proptest); every pair of a few speeds.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::time::Duration;

use blockjob::engine::rate::{RateLimit, SLICE, hurries};
use blockjob::engine::{JobOptions, Progress};
use blockjob::model::Status;
use engine_support::{Bench, Step};
use proptest::prelude::*;

/// One piece of work: how long the driver was busy before it, and its size.
#[derive(Clone, Copy, Debug)]
struct Piece {
    idle: Duration,
    bytes: u64,
}

fn piece(bytes_max: u64) -> impl Strategy<Value = Piece> {
    let idle = prop_oneof![
        4 => Just(0_u64),
        2 => 0..200_000_000_u64,
        1 => 0..5_000_000_000_u64,
    ];
    (idle, 0..=bytes_max).prop_map(|(idle_ns, bytes)| Piece {
        idle: Duration::from_nanos(idle_ns),
        bytes,
    })
}

fn speed() -> impl Strategy<Value = u64> {
    prop_oneof![1..100_u64, 1..100_000_u64, 1..10_000_000_000_u64]
}

/// What a second is worth at this speed, in bytes, times nanoseconds.
const BYTE: u128 = 1_000_000_000;

/// What so much time allows at this speed, in that measure.
fn allowed(time: Duration, speed: u64) -> u128 {
    time.as_nanos() * u128::from(speed)
}

/// How long so many bytes take at this speed, rounded up.
fn worth_ns(bytes: u128, speed: u64) -> u128 {
    (bytes * BYTE).div_ceil(u128::from(speed))
}

proptest! {
    /// A driver that waits as long as it is told, over any stretch of time: what time allows, and a slice.
    #[test]
    fn no_more_than_the_quota_a_slice_and_one_request(
        speed in speed(),
        start_ns in prop_oneof![Just(0_u64), 0..1_000_000_000_000_u64],
        pieces in (1..50_000_000_u64).prop_flat_map(|most| {
            proptest::collection::vec(piece(most), 1..200)
        }),
    ) {
        let mut limit = RateLimit::new(speed);
        let start = Duration::from_nanos(start_ns);
        let (mut now, mut granted) = (start, 0_u128);
        for Piece { idle, bytes } in pieces {
            now += idle;
            let before = granted;
            granted += u128::from(bytes);
            let whole = |now: Duration| allowed(now.saturating_sub(start) + SLICE, speed);
            // The piece is there before it is charged.
            prop_assert!(before * BYTE <= whole(now), "{before} bytes in {:?} at {speed}", now.saturating_sub(start));
            now += limit.charge(now, bytes);
            prop_assert!(granted * BYTE <= whole(now), "{granted} bytes in {:?} at {speed}", now.saturating_sub(start));
        }
    }

    /// Below its quota nobody waits.
    #[test]
    fn who_stays_below_is_not_held_back(speed in 1..1_000_000_u64, count in 1..100_u32) {
        let mut limit = RateLimit::new(speed);
        let mut now = Duration::ZERO;
        for _ in 0..count {
            prop_assert_eq!(limit.charge(now, (speed - 1) / 10), Duration::ZERO);
            now += SLICE + Duration::from_nanos(1);
        }
    }

    /// A wait ends when what was done is paid for, to the nanosecond: who asks before that, however late, is to wait for the
    /// rest, and who asks then is not.
    #[test]
    fn a_wait_is_neither_shorter_nor_longer_than_its_piece_is_worth(
        speed in speed(),
        slices in 1..1_000_u64,
        more in 0..1_000_u64,
        part in 0.0..1.0_f64,
    ) {
        let bytes = (speed / 10 + 1) * slices + more;
        let now = Duration::from_secs(1);
        let mut limit = RateLimit::new(speed);
        let delay = limit.charge(now, bytes);
        prop_assert_eq!(delay.as_nanos(), worth_ns(u128::from(bytes), speed));
        for early in [delay.mul_f64(part), Duration::from_nanos(1)] {
            let asked = limit.clone().charge(now + delay.saturating_sub(early), 0);
            prop_assert_eq!(asked, early.min(delay), "asked {:?} before the end of {:?}", early, delay);
        }
        prop_assert_eq!(limit.charge(now + delay, 0), Duration::ZERO);
    }

    /// A busy driver gets its speed to the byte: it is not made to wait longer than what it did is worth, nor shorter by
    /// more than a slice.
    #[test]
    fn a_busy_driver_gets_its_speed(
        speed in 1..1_000_000_000_u64,
        pieces in proptest::collection::vec(1..1_000_000_u64, 1..200),
    ) {
        let mut limit = RateLimit::new(speed);
        let start = Duration::from_secs(1);
        let (mut now, mut done) = (start, 0_u128);
        for bytes in pieces {
            done += u128::from(bytes);
            now += limit.charge(now, bytes);
            let worth = worth_ns(done, speed);
            prop_assert!(now.saturating_sub(start).as_nanos() <= worth + 1);
            prop_assert!((now + SLICE).saturating_sub(start).as_nanos() >= worth);
        }
    }

    /// A driver that is busy with its pieces, and wakes up late, gets its speed all the same, as long as neither takes
    /// longer than a slice: within 2 % over ten seconds.
    #[test]
    fn a_driver_that_takes_its_time_gets_its_speed(
        speed in 1_000..1_000_000_000_u64,
        late in proptest::collection::vec((0..40_000_000_u64, 0..10_000_000_u64, 1..=10_u64), 200),
    ) {
        let mut limit = RateLimit::new(speed);
        let start = Duration::from_secs(1);
        let (mut now, mut done) = (start, 0_u128);
        for (io_ns, late_ns, tenths) in late {
            // Each piece is worth more than it takes.
            let bytes = speed * tenths / 100 + speed / 20;
            now += Duration::from_nanos(io_ns);
            done += u128::from(bytes);
            let delay = limit.charge(now, bytes);
            if !delay.is_zero() {
                now += delay + Duration::from_nanos(late_ns);
            }
            if now.saturating_sub(start) > Duration::from_secs(10) {
                break;
            }
        }
        let took = now.saturating_sub(start).as_nanos();
        prop_assert!(took >= 10 * BYTE, "the pieces last");
        let worth = worth_ns(done, speed);
        prop_assert!(took.abs_diff(worth) * 50 <= took, "{took} ns for what is worth {worth} ns");
    }

    /// Whatever happens to the speed meanwhile, a wait is one, and no longer than all work at the
    /// slowest of the speeds is worth.
    #[test]
    fn changing_the_speed_asks_for_no_absurd_wait(
        changes in proptest::collection::vec((speed(), piece(1_000_000)), 1..100),
    ) {
        let mut limit = RateLimit::new(0);
        let slowest = changes.iter().map(|(speed, _)| *speed).min().unwrap();
        let (mut now, mut done) = (Duration::ZERO, 0_u128);
        for (speed, Piece { idle, bytes }) in changes {
            limit.set_speed(now, speed);
            now += idle;
            done += u128::from(bytes);
            let delay = limit.charge(now, bytes);
            prop_assert!(delay.as_nanos() <= worth_ns(done, slowest));
            now += delay;
        }
    }

    /// Whatever happens to the speed meanwhile, nothing that was done is forgotten: each stretch of time pays at the
    /// speed it had.
    #[test]
    fn changing_the_speed_forgives_nothing(
        changes in proptest::collection::vec((speed(), piece(1_000_000)), 1..100),
    ) {
        let mut limit = RateLimit::new(1);
        let fastest = changes.iter().map(|(speed, _)| *speed).max().unwrap();
        let (mut now, mut granted) = (Duration::from_secs(1), 0_u128);
        let mut whole = allowed(SLICE, fastest);
        for (speed, Piece { idle, bytes }) in changes {
            limit.set_speed(now, speed);
            now += idle;
            granted += u128::from(bytes);
            let delay = limit.charge(now, bytes);
            now += delay;
            whole += allowed(idle + delay, speed);
            prop_assert!(granted * BYTE <= whole, "{granted} bytes, allowed are {whole} / 1e9");
        }
    }

    /// Who has waited as long as he was told may go on: a look at the limit asks for no further wait. Until then it asks
    /// for what is left.
    #[test]
    fn a_wait_is_over_when_it_was_waited_for(
        speed in speed(),
        pieces in proptest::collection::vec(piece(50_000_000), 1..50),
    ) {
        let mut limit = RateLimit::new(speed);
        let mut now = Duration::from_secs(1);
        for Piece { idle, bytes } in pieces {
            now += idle;
            let delay = limit.charge(now, bytes);
            let part = delay / 3;
            let left = limit.charge(now + part, 0);
            prop_assert!(left.abs_diff(delay.saturating_sub(part)) <= Duration::from_nanos(1), "{left:?} of {delay:?}");
            now += delay;
            prop_assert_eq!(limit.charge(now, 0), Duration::ZERO);
        }
    }

    #[test]
    fn progress_never_goes_backwards(
        steps in proptest::collection::vec((0..3_u8, any::<u64>()), 0..50),
    ) {
        let progress = Progress::default();
        for (what, bytes) in steps {
            let (done, all) = (progress.current(), progress.total());
            match what {
                0 => progress.advance(bytes),
                1 => {
                    progress.set_remaining(bytes);
                    prop_assert_eq!(progress.total(), done.saturating_add(bytes));
                }
                _ => {
                    progress.increase_remaining(bytes);
                    prop_assert_eq!(progress.total(), all.saturating_add(bytes));
                }
            }
            let moved = if what == 0 { bytes } else { 0 };
            prop_assert_eq!(progress.current(), done.saturating_add(moved));
        }
    }
}

/// The rule in QEMU's words, with decision 34 on top: done without a wake if the new speed is not
/// zero and is at most the old one, where no limit is the highest of all.
fn is_a_reason(old: i64, new: i64) -> bool {
    let height = |speed: i64| if speed == 0 { i64::MAX } else { speed };
    new == 0 || height(new) > height(old)
}

/// Whether a change of the speed ends the sleep of a job.
fn wakes(old: i64, new: i64) -> bool {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(JobOptions::new("j0").speed(old));
    puppet.order(Step::Sleep(Duration::from_secs(1)));
    while job.info().busy {
        std::thread::yield_now();
    }
    job.set_speed(new).unwrap();
    assert_eq!(job.info().speed_bytes_per_s, new.cast_unsigned());
    // Time stands still until the main loop runs: only the change can have woken the sleeper.
    let woken = job.info().busy || puppet.is_done();
    puppet.order(Step::End(Ok(())));
    bench.finish();
    woken
}

#[test]
fn a_change_of_speed_wakes_a_sleeper_exactly_when_there_is_a_reason_to_hurry() {
    let speeds = [0, 1, 500, 1000, i64::MAX];
    for old in speeds {
        for new in speeds {
            let expected = is_a_reason(old, new);
            assert_eq!(
                hurries(old.cast_unsigned(), new.cast_unsigned()),
                expected,
                "{old} → {new}"
            );
            assert_eq!(wakes(old, new), expected, "{old} → {new}");
        }
    }
}

#[test]
fn no_change_of_speed_ends_a_pause() {
    for (old, new) in [(10, 0), (10, 20), (0, 0), (20, 10)] {
        let mut bench = Bench::new();
        let (job, puppet) = bench.running(JobOptions::new("j0").speed(old));
        bench.park(&job, &puppet);
        bench.log.take();
        job.set_speed(new).unwrap();
        bench.main_loop.run_pending();
        assert_eq!(bench.log.take(), [format!("j0 set_speed {new}")]);
        assert_eq!(job.status(), Status::Paused);
        job.resume().unwrap();
        puppet.done();
        puppet.order(Step::End(Ok(())));
        bench.finish();
    }
}

#[test]
fn the_verb_table_goes_before_a_negative_speed() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(JobOptions::new("j0").manual_finalize(true));
    let negative = "Parameter 'speed' expects a non-negative value";
    for speed in [-1, i64::MIN] {
        assert_eq!(engine_support::refusal(job.set_speed(speed)), negative);
    }
    assert_eq!(job.info().speed_bytes_per_s, 0, "refused means untouched");
    puppet.order(Step::End(Ok(())));
    bench.until(&job, Status::Pending);
    for speed in [-5, 5] {
        assert_eq!(
            engine_support::refusal(job.set_speed(speed)),
            "Job 'j0' in state 'pending' cannot accept command verb 'set-speed'"
        );
    }
    job.finalize().unwrap();
}
