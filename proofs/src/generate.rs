//! Worlds at random: jobs in transactions, and controllers with programs.
//!
//! Every choice comes from the caller. [`Choices`] makes them from a seed and the world's number, so
//! that a world is there again without those before it.

use crate::actor::{Act, Role};
use crate::ask::Ask;
use crate::programs::kept;
use crate::scenario::{Controller, Member, Scenario};

/// What a run does, some things more often. It fails in the end at most.
const ACTS: [Act; 7] = [
    Act::Io,
    Act::Io,
    Act::Io,
    Act::Point,
    Act::Point,
    Act::Point,
    Act::Sleep,
];

/// What controllers may ask; some more often.
const ASKS: [Ask; 14] = [
    Ask::Pause,
    Ask::Pause,
    Ask::Resume,
    Ask::Resume,
    Ask::CancelSoft,
    Ask::CancelForce,
    Ask::Complete,
    Ask::Complete,
    Ask::Finalize,
    Ask::Dismiss,
    Ask::SetSpeed,
    Ask::HoldAll,
    Ask::ReleaseAll,
    Ask::Enter,
];

/// What one in twelve of them is instead.
const RARE: [Ask; 3] = [Ask::DrainBegin, Ask::DrainEnd, Ask::CancelSync];

/// How large a world may be; it has at least one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Jobs.
    pub jobs: u8,
    /// Transactions that they are in.
    pub groups: u8,
    /// Threads that ask.
    pub controllers: usize,
    /// What one of them asks, without what it adds to end its program; may be nothing.
    pub asks: usize,
    /// Steps of a run; may be none.
    pub acts: usize,
}

impl Sizes {
    /// Larger than anything that can be searched.
    pub const LARGE: Sizes = Sizes {
        jobs: 16,
        groups: 4,
        controllers: 4,
        asks: 12,
        acts: 6,
    };
}

/// Numbers at random from a seed (`SplitMix64`), the same on every machine.
#[derive(Clone, Debug)]
pub struct Choices(u64);

impl Choices {
    /// Those of the world with this number.
    pub fn new(seed: u64, number: u64) -> Choices {
        let mut choices = Choices(seed);
        let first = choices.number();
        Choices(first ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.number() % n as u64) as usize
    }
}

/// A world; `choose(n)` is a number below `n`.
pub fn world(sizes: Sizes, mut choose: impl FnMut(usize) -> usize) -> Scenario {
    // Most worlds are small: a bug that needs many jobs is rarer than one that many jobs hide, for
    // what is asked is then spread over them.
    let most = match choose(4) {
        0 => sizes.jobs,
        1 => sizes.jobs.min(4),
        _ => sizes.jobs.min(2),
    };
    let large = most == sizes.jobs;
    let jobs = 1 + choose(most.into()) as u8;
    let groups = 1 + choose(sizes.groups.min(jobs).into()) as u8;
    let members = members(jobs, groups, sizes.acts, &mut choose);
    let asks = if large {
        sizes.asks
    } else {
        sizes.asks.div_ceil(2)
    };
    let controllers = (0..=choose(sizes.controllers))
        .map(|_| {
            let length = choose(asks + 1);
            Controller(program(length, jobs, &mut choose))
        })
        .collect();
    Scenario {
        members,
        controllers,
        early: choose(2) == 0,
        ..Scenario::default()
    }
}

/// What a controller asks. Half of the time it stays with the job it asked before, and then often asks for
/// the opposite: what undoes a thing while it is still being done is where most bugs are.
fn program(length: usize, jobs: u8, choose: &mut impl FnMut(usize) -> usize) -> Vec<(u8, Ask)> {
    let mut program: Vec<(u8, Ask)> = Vec::with_capacity(length);
    for _ in 0..length {
        let again = program.last().copied().filter(|_| choose(2) == 0);
        let opposite = again.and_then(|(_, ask)| match ask {
            Ask::Pause => Some(Ask::Resume),
            Ask::Resume => Some(Ask::Pause),
            Ask::HoldAll => Some(Ask::ReleaseAll),
            Ask::ReleaseAll => Some(Ask::HoldAll),
            Ask::DrainBegin => Some(Ask::DrainEnd),
            Ask::DrainEnd => Some(Ask::DrainBegin),
            _ => None,
        });
        let opposite = opposite.filter(|_| choose(2) == 0);
        let job = again.map_or_else(|| choose(jobs.into()) as u8, |(job, _)| job);
        let ask = opposite.unwrap_or_else(|| {
            if choose(12) == 0 {
                RARE[choose(RARE.len())]
            } else {
                ASKS[choose(ASKS.len())]
            }
        });
        program.push((job, ask));
    }
    program
}

/// The jobs; nobody's group is empty.
fn members(
    jobs: u8,
    groups: u8,
    acts: usize,
    choose: &mut impl FnMut(usize) -> usize,
) -> Vec<Member> {
    let mut group = 0;
    (0..jobs)
        .map(|job| {
            // As many jobs are left as groups are still empty: each of them begins one.
            let due = jobs - job == groups - 1 - group;
            let may = job > 0 && group + 1 < groups;
            if may && (due || choose(usize::from(jobs.div_ceil(groups))) == 0) {
                group += 1;
            }
            Member {
                group,
                role: role(acts, choose),
            }
        })
        .collect()
}

fn script(length_max: usize, choose: &mut impl FnMut(usize) -> usize) -> Vec<Act> {
    let length = choose(length_max + 1);
    (0..length).map(|_| ACTS[choose(ACTS.len())]).collect()
}

fn role(acts_max: usize, choose: &mut impl FnMut(usize) -> usize) -> Role {
    let mut acts = script(acts_max, choose);
    let fails = choose(8) == 0;
    let role = if choose(3) == 0 {
        let mut ready = script(acts_max / 2, choose);
        ready.extend(fails.then_some(Act::Fail));
        Role::mirror(kept(&acts), kept(&ready))
    } else {
        acts.extend(fails.then_some(Act::Fail));
        Role::plain(kept(&acts))
    };
    Role {
        prepare_fails: choose(6) == 0,
        reports_cancel: choose(2) == 0,
        auto_finalize: choose(4) != 0,
        auto_dismiss: choose(4) != 0,
        ..role
    }
}
