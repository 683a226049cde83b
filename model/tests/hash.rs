//! Goal: what differs hashes apart: searches that keep millions of worlds depend on it for their time.
//!
//! Method: values that differ in one place, and how their hashes are spread over the bits that tables take.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

use blockjob_model::Status;
use blockjob_model::error_policy::IoStatus;
use blockjob_model::hash::FastHasher;
use blockjob_model::state::{Body, Cancel, Job, JobSpec, Outcome, Owes, PeerCancel, Tail};

fn hash(value: impl Hash) -> u64 {
    BuildHasherDefault::<FastHasher>::default().hash_one(value)
}

/// No two of these hash alike.
fn apart<T: Hash + Debug>(values: impl IntoIterator<Item = T>) {
    let mut known = HashSet::new();
    for value in values {
        assert!(known.insert(hash(&value)), "{value:?}");
    }
    assert!(known.len() > 1);
}

#[test]
fn numbers_of_every_width_hash_apart() {
    apart(0..=u8::MAX);
    apart(0..=u16::MAX);
    apart((0..u32::BITS).map(|bit| 1_u32 << bit));
    apart((0..u64::BITS).map(|bit| 1_u64 << bit));
    apart((0..usize::BITS).map(|bit| 1_usize << bit));
    apart([(1_u64, 2_u64), (2, 1), (1, 1), (2, 2)]);
}

#[test]
fn bytes_hash_apart_wherever_they_differ() {
    let written = |bytes: &[u8]| {
        let mut hasher = FastHasher::default();
        hasher.write(bytes);
        hasher.finish()
    };
    let mut known = HashSet::from([written(&[7; 19])]);
    for place in 0..19 {
        let mut bytes = [7; 19];
        bytes[place] = 8;
        assert!(known.insert(written(&bytes)), "at {place}");
    }
}

/// Each bit of the hash is set for about half of the words, be they small or differ in their upper half only.
#[test]
fn every_bit_of_a_hash_is_as_often_set_as_not() {
    const WORDS: u64 = 1 << 12;
    for shift in [0, 16, 32] {
        for bit in 0..u64::BITS {
            let set = (0..WORDS)
                .filter(|word| hash(word << shift) >> bit & 1 == 1)
                .count() as u64;
            assert!(
                (WORDS * 2 / 5..WORDS * 3 / 5).contains(&set),
                "bit {bit}, words moved by {shift}: set for {set} of {WORDS}"
            );
        }
    }
}

/// Jobs that differ from a plain one in one field, by each of its values.
fn jobs() -> Vec<Job> {
    use Body::{
        Asleep, AtPoint, Ended, Moving, Parked, PauseDone, PauseIn, ResumeIn, Returned, Unparked,
        Yielded,
    };
    let plain = Job::new(JobSpec::PLAIN);
    let mut all = vec![plain];
    macro_rules! each {
        ($($($field:ident).+ in $values:expr;)*) => {
            $(for value in $values {
                let mut job = plain;
                job.$($field).+ = value;
                all.push(job);
            })*
        };
    }
    each! {
        status in Status::ALL.into_iter().filter(|status| *status != plain.status);
        body in [Moving, AtPoint, PauseIn, PauseDone, Parked, Unparked, ResumeIn, Asleep, Yielded, Returned, Ended];
        outcome in [Outcome::Success, Outcome::Failure, Outcome::Cancelled];
        tail in [Tail::Preparing, Tail::Prepared, Tail::Committing, Tail::Aborting, Tail::Decided, Tail::Cleaning,
                 Tail::Cleaned, Tail::Completing, Tail::Completed, Tail::Announced, Tail::Freeing, Tail::Freed];
        cancel in [Cancel::Soft, Cancel::Revocable, Cancel::Force];
        peer_cancel in [PeerCancel::Due, PeerCancel::In, PeerCancel::Told, PeerCancel::UserIn, PeerCancel::UserTold];
        io_status in [IoStatus::Failed, IoStatus::NoSpace];
        owes in [Owes::Ready, Owes::Pending];
        entered in [true];
        starting in [true];
        user_paused in [true];
        stacked in [true];
        resuming in [true];
        woken in [true];
        seen in [false];
        may_pass in [true];
        may_pause in [true];
        complete in [true];
        spec.auto_finalize in [false];
        spec.auto_dismiss in [false];
        spec.can_complete in [true];
        spec.needs_finish in [true];
        spec.block in [false];
        spec.internal in [true];
        spec.completion in [false];
        holds in 1..=u8::MAX;
        drained in 1..=u8::MAX;
        in_flight in 1..=u8::MAX;
    }
    all
}

#[test]
fn jobs_that_differ_in_one_field_hash_apart() {
    apart(jobs());
}

/// Flags and counts share a word, and none is in the place of another.
#[test]
fn every_field_counts_beside_every_other() {
    let full = Job {
        holds: u8::MAX,
        drained: u8::MAX,
        in_flight: u8::MAX,
        ..Job::new(JobSpec::PLAIN)
    };
    let flags = jobs()
        .into_iter()
        .filter(|job| (job.holds, job.drained, job.in_flight) == (0, 0, 0));
    apart(flags.map(|job| Job {
        holds: full.holds,
        drained: full.drained,
        in_flight: full.in_flight,
        ..job
    }));
}
