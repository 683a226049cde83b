//! Worlds at random: four jobs in two transactions and three controllers with programs.
//!
//! The choices come from the caller, who takes them from shuttle's own random source: a failing
//! schedule then carries its world with it.

use crate::actor::{Act, Role};
use crate::scenario::{Ask, Controller, Member, Scenario};

/// Runs a job may make before it converges or ends.
const RUNS: [&[Act]; 6] = [
    &[],
    &[Act::Io],
    &[Act::Io, Act::Point, Act::Io],
    &[Act::Sleep, Act::Io],
    &[
        Act::Io,
        Act::Point,
        Act::Io,
        Act::Sleep,
        Act::Io,
        Act::Point,
    ],
    &[Act::Point, Act::Fail],
];

/// What a converged job may do before it waits.
const READY: [&[Act]; 2] = [&[], &[Act::Point, Act::Io]];

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

/// How many jobs a world has, in how many transactions.
pub const JOBS: u8 = 4;
/// The transactions.
pub const GROUPS: u8 = 2;
/// The threads that ask.
pub const CONTROLLERS: usize = 3;
/// The most that one of them asks, without what it adds to end its program.
pub const ASKS_MAX: usize = 4;

/// A world; `choose(n)` is a number below `n`.
pub fn world(mut choose: impl FnMut(usize) -> usize) -> Scenario {
    // One, two or three of the four jobs are in the first transaction.
    let first = 1 + choose(usize::from(JOBS) - 1) as u8;
    let members = (0..JOBS)
        .map(|job| Member {
            group: u8::from(job >= first),
            role: role(&mut choose),
        })
        .collect();
    let controllers = (0..CONTROLLERS)
        .map(|_| {
            let length = choose(ASKS_MAX + 1);
            Controller(
                (0..length)
                    .map(|_| (choose(usize::from(JOBS)) as u8, ASKS[choose(ASKS.len())]))
                    .collect(),
            )
        })
        .collect();
    Scenario {
        members,
        controllers,
        early: choose(2) == 0,
        ..Scenario::default()
    }
}

fn role(choose: &mut impl FnMut(usize) -> usize) -> Role {
    let acts = RUNS[choose(RUNS.len())];
    let role = if choose(3) == 0 {
        Role::mirror(acts, READY[choose(READY.len())])
    } else {
        Role::plain(acts)
    };
    Role {
        prepare_fails: choose(6) == 0,
        reports_cancel: choose(2) == 0,
        auto_finalize: choose(4) != 0,
        auto_dismiss: choose(4) != 0,
        ..role
    }
}
