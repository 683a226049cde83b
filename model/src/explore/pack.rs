//! Worlds as a few machine words, and the set of worlds already met.
//!
//! A member is one `u64`; the transaction and the one call under way ride in the upper bits of
//! the first. What is fixed for a search (the members' specs) is not stored. Every field is
//! written by [`Writer`] and read back by [`Reader`] in the same order, so a field that does not
//! fit fails loudly in the tests rather than aliasing another.

use crate::property::History;
use crate::state::{
    Body, Call, CallState, Cancel, Group, Job, JobSpec, Outcome, Owes, PeerCancel, Phase, Tail,
    World,
};
use crate::status::Status;
use crate::vocabulary::Request;

/// Where the transaction's own bits begin in the first word.
const GROUP_AT: u32 = 48;

struct Writer {
    word: u64,
    at: u32,
}

impl Writer {
    fn put(&mut self, value: u64, bits: u32) {
        debug_assert!(
            value < 1 << bits,
            "a field fits: {value} in {bits} at {}",
            self.at
        );
        self.word |= value << self.at;
        self.at += bits;
    }

    fn flag(&mut self, value: bool) {
        self.put(u64::from(value), 1);
    }
}

struct Reader {
    word: u64,
}

impl Reader {
    fn take(&mut self, bits: u32) -> usize {
        let value = self.word & ((1 << bits) - 1);
        self.word >>= bits;
        value as usize
    }

    fn flag(&mut self) -> bool {
        self.take(1) == 1
    }
}

const BODIES: [Body; 10] = [
    Body::Unstarted,
    Body::Moving,
    Body::AtPoint,
    Body::PauseIn,
    Body::PauseDone,
    Body::Parked,
    Body::Unparked,
    Body::ResumeIn,
    Body::Returned,
    Body::Ended,
];
const OUTCOMES: [Outcome; 4] = [
    Outcome::Open,
    Outcome::Success,
    Outcome::Failure,
    Outcome::Cancelled,
];
const TAILS: [Tail; 11] = [
    Tail::None,
    Tail::Preparing,
    Tail::Prepared,
    Tail::Committing,
    Tail::Aborting,
    Tail::Decided,
    Tail::Cleaning,
    Tail::Cleaned,
    Tail::Completing,
    Tail::Completed,
    Tail::Announced,
];
const CANCELS: [Cancel; 3] = [Cancel::No, Cancel::Soft, Cancel::Force];
const PEER_CANCELS: [PeerCancel; 3] = [PeerCancel::No, PeerCancel::Due, PeerCancel::In];
const OWES: [Owes; 3] = [Owes::Nothing, Owes::Ready, Owes::Pending];
const PHASES: [Phase; 5] = [
    Phase::Idle,
    Phase::Announcing,
    Phase::Preparing,
    Phase::Committing,
    Phase::Aborting,
];
/// Requests that can be under way in a world: those with a callback or an answer that waits.
const REQUESTS: [Request; 6] = [
    Request::Cancel { force: false },
    Request::Cancel { force: true },
    Request::Complete,
    Request::Finalize,
    Request::SetSpeed { negative: false },
    Request::SetSpeed { negative: true },
];

fn pack_job(job: &Job, history: History) -> u64 {
    let mut to = Writer { word: 0, at: 0 };
    to.put(job.status as u64, 4);
    to.put(job.body as u64, 4);
    to.flag(job.entered);
    to.flag(job.starting);
    to.put(job.outcome as u64, 2);
    to.put(job.tail as u64, 4);
    to.put(job.cancel as u64, 2);
    to.put(job.peer_cancel as u64, 2);
    to.flag(job.user_paused);
    to.flag(job.io_failed);
    to.put(u64::from(job.holds), 2);
    to.flag(job.seen);
    to.flag(job.may_pass);
    to.flag(job.may_pause);
    to.flag(job.complete);
    to.put(u64::from(job.in_flight), 2);
    to.put(job.owes as u64, 2);
    to.put(u64::from(history.bits()), History::BITS);
    debug_assert!(to.at <= GROUP_AT);
    to.word
}

fn unpack_job(word: u64, spec: JobSpec) -> (Job, History) {
    let mut from = Reader { word };
    let mut job = Job::new(spec);
    job.status = Status::ALL[from.take(4)];
    job.body = BODIES[from.take(4)];
    job.entered = from.flag();
    job.starting = from.flag();
    job.outcome = OUTCOMES[from.take(2)];
    job.tail = TAILS[from.take(4)];
    job.cancel = CANCELS[from.take(2)];
    job.peer_cancel = PEER_CANCELS[from.take(2)];
    job.user_paused = from.flag();
    job.io_failed = from.flag();
    job.holds = from.take(2) as u8;
    job.seen = from.flag();
    job.may_pass = from.flag();
    job.may_pause = from.flag();
    job.complete = from.flag();
    job.in_flight = from.take(2) as u8;
    job.owes = OWES[from.take(2)];
    let history = History::from_bits(from.take(History::BITS) as u16);
    (job, history)
}

/// Writes a world and what has happened in it; `words` gets one word a member.
///
/// # Panics
/// With more than one call under way, which the explorer never makes.
pub(super) fn pack(world: &World, history: &[History], words: &mut [u64]) {
    for ((word, job), history) in words.iter_mut().zip(&world.jobs).zip(history) {
        *word = pack_job(job, *history);
    }
    let mut to = Writer { word: 0, at: 0 };
    to.put(world.group.phase as u64, 3);
    to.flag(world.group.aborting);
    to.flag(world.group.prepare_failed);
    assert!(world.calls.len() <= 1, "one call at a time");
    if let Some(call) = world.calls.first() {
        to.flag(true);
        let request = REQUESTS
            .iter()
            .position(|&request| request == call.request)
            .expect("only requests that take time are under way");
        to.put(request as u64, 3);
        to.put(u64::from(call.member.unwrap_or_default()), 3);
        let (state, forced) = match call.state {
            CallState::InCallback { forced } => (0, forced),
            CallState::Told { forced } => (1, forced),
            CallState::Awaiting => (2, false),
            CallState::Accepted { forced } => (3, forced),
            _ => panic!("answered calls are over"),
        };
        to.put(state, 2);
        to.flag(forced);
    }
    words[0] |= to.word << GROUP_AT;
}

/// Reads back what [`pack`] wrote.
pub(super) fn unpack(
    words: &[u64],
    specs: &[JobSpec],
    world: &mut World,
    history: &mut Vec<History>,
) {
    world.jobs.clear();
    world.calls.clear();
    history.clear();
    for (&word, &spec) in words.iter().zip(specs) {
        let (job, past) = unpack_job(word, spec);
        world.jobs.push(job);
        history.push(past);
    }
    let mut from = Reader {
        word: words[0] >> GROUP_AT,
    };
    world.group = Group {
        phase: PHASES[from.take(3)],
        aborting: from.flag(),
        prepare_failed: from.flag(),
        ..Group::CLOSED
    };
    if from.flag() {
        let request = REQUESTS[from.take(3)];
        let member = from.take(3) as u16;
        let state = from.take(2);
        let forced = from.flag();
        let state = match state {
            0 => CallState::InCallback { forced },
            1 => CallState::Told { forced },
            2 => CallState::Awaiting,
            _ => CallState::Accepted { forced },
        };
        world.calls.push(Call {
            thread: 0,
            member: Some(member),
            request,
            block: false,
            state,
        });
    }
}

/// The part of a slot that holds the hash.
const TAG: u64 = !0 << 32;

/// The worlds met so far, numbered in the order of their first visit.
pub(super) struct Seen {
    stride: usize,
    words: Vec<u64>,
    /// Number + 1 of the world in each slot, and above it half of its hash, so that most worlds
    /// that are not the one looked for need no look; 0 = free. Always at most half full.
    slots: Vec<u64>,
    mask: usize,
}

impl Seen {
    /// An empty set of worlds of `stride` words.
    pub(super) fn new(stride: usize) -> Seen {
        let slots = 1 << 16;
        Seen {
            stride,
            words: Vec::new(),
            slots: vec![0; slots],
            mask: slots - 1,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.words.len() / self.stride
    }

    pub(super) fn get(&self, number: usize) -> &[u64] {
        &self.words[number * self.stride..][..self.stride]
    }

    fn hash(words: &[u64]) -> u64 {
        // Multiplication by an odd constant (the golden ratio) and a fold of the high half: enough
        // for keys that differ in any bit, and no more than the search can afford.
        let mut hash = 0u64;
        for word in words {
            hash = (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 32;
        }
        hash
    }

    /// Adds a world; its number, and whether it is new.
    pub(super) fn insert(&mut self, words: &[u64]) -> (usize, bool) {
        let hash = Seen::hash(words);
        let tag = hash & TAG;
        let mut slot = hash as usize & self.mask;
        loop {
            match self.slots[slot] {
                0 => break,
                taken if taken & TAG == tag => {
                    let number = (taken & !TAG) as usize - 1;
                    let equal = self.get(number).iter().zip(words).all(|(a, b)| a == b);
                    if equal {
                        return (number, false);
                    }
                }
                _ => {}
            }
            slot = (slot + 1) & self.mask;
        }
        let number = self.len();
        self.words.extend_from_slice(words);
        self.slots[slot] = tag | (number as u64 + 1);
        if 2 * self.len() > self.slots.len() {
            self.grow();
        }
        (number, true)
    }

    fn grow(&mut self) {
        let slots = 2 * self.slots.len();
        self.mask = slots - 1;
        self.slots.clear();
        self.slots.resize(slots, 0);
        for number in 0..self.len() {
            let hash = Seen::hash(self.get(number));
            let mut slot = hash as usize & self.mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & self.mask;
            }
            self.slots[slot] = (hash & TAG) | (number as u64 + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_follow_the_numbers_of_their_enums() {
        for (at, value) in BODIES.iter().enumerate() {
            assert_eq!(*value as usize, at);
        }
        for (at, value) in OUTCOMES.iter().enumerate() {
            assert_eq!(*value as usize, at);
        }
        for (at, value) in TAILS.iter().enumerate() {
            assert_eq!(*value as usize, at);
        }
        for (at, value) in CANCELS.iter().enumerate() {
            assert_eq!(*value as usize, at);
        }
        for (at, value) in PEER_CANCELS.iter().enumerate() {
            assert_eq!(*value as usize, at);
        }
        for (at, value) in OWES.iter().enumerate() {
            assert_eq!(*value as usize, at);
        }
        for (at, value) in PHASES.iter().enumerate() {
            assert_eq!(*value as usize, at);
        }
        for (at, value) in Status::ALL.iter().enumerate() {
            assert_eq!(*value as usize, at);
        }
    }

    #[test]
    fn equal_keys_are_found_again_and_others_are_not() {
        let mut seen = Seen::new(2);
        for number in 0..200_000u64 {
            assert_eq!(seen.insert(&[number, !number]), (number as usize, true));
        }
        for number in 0..200_000u64 {
            assert_eq!(seen.insert(&[number, !number]), (number as usize, false));
        }
        assert_eq!(seen.len(), 200_000);
    }
}
