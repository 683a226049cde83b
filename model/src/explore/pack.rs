//! Worlds as a few machine words.
//!
//! One word for the transaction and the calls under way, then one a member. What is fixed for a
//! search (the members' specs) is not stored. Each field is named once, in the function that both
//! writes and reads it, so the two cannot fall out of step; a value that does not fit its bits
//! fails loudly in the tests rather than aliasing another.

use crate::error_policy::IoStatus;
use crate::property::History;
use crate::state::{
    Body, Call, CallState, Cancel, Group, Job, JobSpec, Outcome, Owes, PeerCancel, Phase, Tail,
    World,
};
use crate::status::Status;
use crate::vocabulary::Request;

/// Calls that can be under way in a packed world.
pub(super) const CALLS_MAX: usize = 2;

/// Words of a world of `members`.
pub(super) const fn stride(members: usize) -> usize {
    members + 1
}

/// Where the word of a member stands.
pub(super) const fn place(member: usize) -> usize {
    member + 1
}

/// What fields are written to, or read from.
trait Fields {
    fn number(&mut self, value: &mut u8, bits: u32);

    fn flag(&mut self, value: &mut bool) {
        let mut bit = u8::from(*value);
        self.number(&mut bit, 1);
        *value = bit == 1;
    }

    fn choice<T: Listed>(&mut self, value: &mut T, bits: u32) {
        let mut number = value.number();
        self.number(&mut number, bits);
        *value = T::LIST[usize::from(number)];
    }
}

#[derive(Default)]
struct Writer {
    word: u64,
    at: u32,
}

impl Fields for Writer {
    fn number(&mut self, value: &mut u8, bits: u32) {
        debug_assert!(
            u32::from(*value) < 1 << bits,
            "a field fits: {value} in {bits} at {}",
            self.at
        );
        self.word |= u64::from(*value) << self.at;
        self.at += bits;
        debug_assert!(self.at <= u64::BITS, "a member fits its word");
    }
}

struct Reader {
    word: u64,
}

impl Fields for Reader {
    fn number(&mut self, value: &mut u8, bits: u32) {
        *value = (self.word & ((1 << bits) - 1)) as u8;
        self.word >>= bits;
    }
}

/// An enum whose variants are numbered by their place in a list.
trait Listed: Copy + 'static {
    const LIST: &'static [Self];
    fn number(self) -> u8;
}

macro_rules! listed {
    ($($kind:ident: $($value:ident)*;)*) => {$(
        impl Listed for $kind {
            const LIST: &'static [Self] = &[$($kind::$value),*];

            fn number(self) -> u8 {
                self as u8
            }
        }

        const _: () = {
            let mut at = 0;
            while at < $kind::LIST.len() {
                assert!($kind::LIST[at] as usize == at, "the list follows the enum");
                at += 1;
            }
            // A variant more in the enum is a variant missing here.
            let _ = |value: $kind| match value {
                $($kind::$value => (),)*
            };
        };
    )*};
}

listed! {
    Body: Unstarted Moving AtPoint PauseIn PauseDone Parked Unparked ResumeIn Asleep Yielded
        Returned Ended;
    Outcome: Open Success Failure Cancelled;
    Tail: None Preparing Prepared Committing Aborting Decided Cleaning Cleaned Completing Completed
        Announced Freeing Freed;
    IoStatus: Ok Failed NoSpace;
    Cancel: No Soft Revocable Force;
    PeerCancel: No Due In Told UserIn UserTold;
    Owes: Nothing Ready Pending;
    Phase: Idle Announcing Preparing Committing Aborting;
}

impl Listed for Status {
    const LIST: &'static [Status] = &Status::ALL;

    fn number(self) -> u8 {
        self as u8
    }
}

fn job_fields(fields: &mut impl Fields, job: &mut Job, history: &mut History) {
    fields.choice(&mut job.status, 4);
    fields.choice(&mut job.body, 4);
    fields.flag(&mut job.entered);
    fields.flag(&mut job.starting);
    fields.choice(&mut job.outcome, 2);
    fields.choice(&mut job.tail, 4);
    fields.choice(&mut job.cancel, 2);
    fields.choice(&mut job.peer_cancel, 3);
    fields.flag(&mut job.user_paused);
    fields.flag(&mut job.stacked);
    fields.flag(&mut job.resuming);
    fields.choice(&mut job.io_status, 2);
    fields.flag(&mut job.woken);
    fields.number(&mut job.holds, 2);
    fields.number(&mut job.drained, 2);
    fields.flag(&mut job.seen);
    fields.flag(&mut job.may_pass);
    fields.flag(&mut job.may_pause);
    fields.flag(&mut job.complete);
    fields.number(&mut job.in_flight, 2);
    fields.choice(&mut job.owes, 2);
    let [mut low, mut high, rest @ ..] = history.bits().to_le_bytes();
    fields.number(&mut low, 8);
    fields.number(&mut high, History::BITS - 8);
    *history = History::from_bits(u32::from_le_bytes([low, high, rest[0], rest[1]]));
}

fn group_fields(fields: &mut impl Fields, group: &mut Group) {
    fields.choice(&mut group.phase, 3);
    fields.flag(&mut group.aborting);
    fields.flag(&mut group.prepare_failed);
    fields.number(&mut group.drained, 2);
    let mut trigger = group.trigger.unwrap_or(7);
    fields.number(&mut trigger, 3);
    group.trigger = (trigger != 7).then_some(trigger);
}

/// Requests that can be under way in a world: those with a callback or an answer that waits.
const REQUESTS: [Request; 9] = [
    Request::Cancel { force: false },
    Request::Cancel { force: true },
    Request::Complete,
    Request::Finalize,
    Request::SET_SPEED,
    Request::SET_SPEED_UP,
    Request::SET_SPEED_NEGATIVE,
    Request::Resume,
    Request::AttachContext,
];

/// How far a call has come, with what is known of it.
fn state_fields(fields: &mut impl Fields, state: &mut CallState) {
    let (mut number, mut forced) = match *state {
        CallState::InCallback { forced } => (0, forced),
        CallState::Told { forced } => (1, forced),
        CallState::Awaiting => (2, false),
        CallState::Accepted { forced } => (3, forced),
        CallState::InUserResume => (4, true),
        CallState::UserResumed => (5, true),
        _ => panic!("answered calls are over"),
    };
    fields.number(&mut number, 4);
    fields.flag(&mut forced);
    *state = match number {
        0 => CallState::InCallback { forced },
        1 => CallState::Told { forced },
        2 => CallState::Awaiting,
        3 => CallState::Accepted { forced },
        4 => CallState::InUserResume,
        _ => CallState::UserResumed,
    };
}

fn call_fields(fields: &mut impl Fields, call: &mut Call) {
    let known = REQUESTS.iter().position(|&known| known == call.request);
    let mut request = known.expect("only requests that take time are under way") as u8;
    fields.number(&mut request, 5);
    call.request = REQUESTS[usize::from(request)];
    let mut member = call.member.map_or(7, |member| member as u8);
    fields.number(&mut member, 3);
    call.member = (member != 7).then_some(u16::from(member));
    state_fields(fields, &mut call.state);
}

/// A call to read another into.
const BLANK: Call = Call {
    thread: 0,
    member: None,
    request: REQUESTS[0],
    block: false,
    posted: false,
    state: CallState::Awaiting,
};

/// The word of one member and what has happened to it.
pub(super) fn pack_job(job: &Job, mut history: History) -> u64 {
    let mut to = Writer::default();
    job_fields(&mut to, &mut job.clone(), &mut history);
    to.word
}

fn unpack_job(word: u64, spec: JobSpec) -> (Job, History) {
    let mut job = Job::new(spec);
    let mut history = History::default();
    job_fields(&mut Reader { word }, &mut job, &mut history);
    (job, history)
}

/// The word of the transaction and the calls under way on it.
///
/// # Panics
/// With more than [`CALLS_MAX`] calls, which the explorer never makes.
pub(super) fn pack_group(world: &World) -> u64 {
    let mut to = Writer::default();
    group_fields(&mut to, &mut world.group.clone());
    assert!(world.calls.len() <= CALLS_MAX, "few calls at a time");
    to.number(&mut (world.calls.len() as u8), 2);
    for call in &world.calls {
        call_fields(&mut to, &mut call.clone());
    }
    to.word
}

/// Writes a world and what has happened in it into [`stride`] words.
pub(super) fn pack(world: &World, history: &[History], words: &mut [u64]) {
    words[0] = pack_group(world);
    for ((word, job), &history) in words[1..].iter_mut().zip(&world.jobs).zip(history) {
        *word = pack_job(job, history);
    }
}

/// Reads back what [`pack`] wrote.
pub(super) fn unpack(
    words: &[u64],
    specs: &[JobSpec],
    world: &mut World,
    history: &mut Vec<History>,
) {
    world.jobs.clear();
    history.clear();
    for (&word, &spec) in words[1..].iter().zip(specs) {
        let (job, past) = unpack_job(word, spec);
        world.jobs.push(job);
        history.push(past);
    }
    (world.group, world.calls) = unpack_group(words[0]);
}

/// The transaction and the calls that [`pack_group`] wrote.
pub(super) fn unpack_group(word: u64) -> (Group, Vec<Call>) {
    let mut from = Reader { word };
    let mut group = Group::CLOSED;
    group_fields(&mut from, &mut group);
    let mut number = 0;
    from.number(&mut number, 2);
    let mut calls = Vec::with_capacity(number.into());
    for thread in 0..u16::from(number) {
        let mut call = Call { thread, ..BLANK };
        call_fields(&mut from, &mut call);
        calls.push(call);
    }
    (group, calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (self.0 >> 33) as usize % end
        }

        fn flag(&mut self) -> bool {
            self.below(2) == 1
        }

        fn one<T: Copy>(&mut self, of: &[T]) -> T {
            of[self.below(of.len())]
        }
    }

    fn any_job(random: &mut Random) -> Job {
        Job {
            status: random.one(Status::LIST),
            body: random.one(Body::LIST),
            entered: random.flag(),
            starting: random.flag(),
            outcome: random.one(Outcome::LIST),
            tail: random.one(Tail::LIST),
            cancel: random.one(Cancel::LIST),
            peer_cancel: random.one(PeerCancel::LIST),
            user_paused: random.flag(),
            stacked: random.flag(),
            resuming: random.flag(),
            io_status: random.one(IoStatus::LIST),
            woken: random.flag(),
            holds: random.below(4) as u8,
            drained: random.below(4) as u8,
            seen: random.flag(),
            may_pass: random.flag(),
            may_pause: random.flag(),
            complete: random.flag(),
            in_flight: random.below(4) as u8,
            owes: random.one(Owes::LIST),
            spec: JobSpec::PLAIN,
        }
    }

    fn any_call(random: &mut Random, thread: u16) -> Call {
        let forced = random.flag();
        Call {
            thread,
            member: random.flag().then(|| random.below(7) as u16),
            request: random.one(&REQUESTS),
            state: match random.below(6) {
                0 => CallState::InCallback { forced },
                1 => CallState::Told { forced },
                2 => CallState::Awaiting,
                3 => CallState::Accepted { forced },
                4 => CallState::InUserResume,
                _ => CallState::UserResumed,
            },
            ..BLANK
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut random = Random(1);
        for _ in 0..100_000 {
            let members = 1 + random.below(3);
            let world = World {
                jobs: (0..members).map(|_| any_job(&mut random)).collect(),
                group: Group {
                    phase: random.one(Phase::LIST),
                    trigger: random.flag().then(|| random.below(7) as u8),
                    aborting: random.flag(),
                    prepare_failed: random.flag(),
                    drained: random.below(4) as u8,
                    ..Group::CLOSED
                },
                calls: (0..random.below(CALLS_MAX + 1))
                    .map(|thread| any_call(&mut random, thread as u16))
                    .collect(),
            };
            let history: Vec<_> = (0..members)
                .map(|_| History::from_bits(random.below(1 << History::BITS) as u32))
                .collect();
            let mut words = vec![0; stride(members)];
            pack(&world, &history, &mut words);
            let mut again = World::new(Group::CLOSED, []);
            let mut past = Vec::new();
            unpack(
                &words,
                &vec![JobSpec::PLAIN; members],
                &mut again,
                &mut past,
            );
            assert_eq!((&again, &past), (&world, &history));
            let mut once_more = vec![0; stride(members)];
            pack(&again, &past, &mut once_more);
            assert_eq!(once_more, words);
        }
    }
}
