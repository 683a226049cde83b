//! A smaller world that fails in the same way, and a schedule with fewer changes under which it does.
//!
//! What is tried, from the coarse to the fine: a world without one of its groups, jobs, controllers;
//! without half of what a controller asks, and so on down to one thing; with a shorter or simpler run.
//! Whatever still breaks the same rule is kept, and everything is tried again, until nothing can go.
//! Then waits that end without a cause, and turns of the schedule, are left out in the same manner.
//! Whether a candidate fails is the caller's to find out: it takes schedules, old and new ones.

use crate::actor::{Act, Role};
use crate::ask::Ask;
use crate::programs::kept;
use crate::scenario::Scenario;
use crate::schedule::Schedule;

/// How much there is of a world; what shrinking makes less.
pub fn size(scenario: &Scenario) -> usize {
    let asks = |asks: &[(u8, Ask)]| asks.len();
    let jobs: usize = scenario
        .members
        .iter()
        .map(|member| {
            let Role {
                acts,
                ready,
                prepare_fails,
                reports_cancel,
                auto_finalize,
                auto_dismiss,
                inside: _,
                lingers: _,
            } = member.role;
            let flags = [prepare_fails, reports_cancel, !auto_finalize, !auto_dismiss];
            100 + acts.len()
                + ready.map_or(0, |ready| 1 + ready.len())
                + flags.into_iter().filter(|&is| is).count()
        })
        .sum();
    let controllers: usize = scenario
        .controllers
        .iter()
        .map(|controller| 10 + asks(&controller.0))
        .sum();
    jobs + controllers
        + asks(&scenario.before_start)
        + asks(&scenario.before_loop)
        + usize::from(scenario.early)
}

/// Every world that is one step smaller.
pub fn smaller(scenario: &Scenario) -> Vec<Scenario> {
    let mut worlds = Vec::new();
    let jobs = scenario.members.len() as u8;
    let groups = scenario.members.last().map_or(0, |last| last.group + 1);
    if groups > 1 {
        for group in 0..groups {
            let stays = |job: u8| scenario.members[usize::from(job)].group != group;
            worlds.push(restricted(scenario, stays));
        }
    }
    if jobs > 1 {
        worlds.extend((0..jobs).map(|gone| restricted(scenario, |job| job != gone)));
    }
    // The last one stays: it tells who waits to be told, and without it everybody waits for ever.
    let others = scenario.controllers.len() > 1;
    for place in (0..scenario.controllers.len()).filter(|_| others) {
        let mut world = scenario.clone();
        world.controllers.remove(place);
        worlds.push(world);
    }
    for (place, controller) in scenario.controllers.iter().enumerate() {
        for asks in shorter(&controller.0) {
            let mut world = scenario.clone();
            world.controllers[place].0 = asks;
            worlds.push(world);
        }
    }
    for asks in shorter(&scenario.before_start) {
        worlds.push(Scenario {
            before_start: asks,
            ..scenario.clone()
        });
    }
    for asks in shorter(&scenario.before_loop) {
        worlds.push(Scenario {
            before_loop: asks,
            ..scenario.clone()
        });
    }
    for (place, member) in scenario.members.iter().enumerate() {
        for role in simpler(member.role) {
            let mut world = scenario.clone();
            world.members[place].role = role;
            worlds.push(world);
        }
    }
    if scenario.early {
        worlds.push(Scenario {
            early: false,
            ..scenario.clone()
        });
    }
    worlds
}

/// The world with these jobs only: jobs and groups are numbered anew, and nobody asks those who are gone.
fn restricted(scenario: &Scenario, stays: impl Fn(u8) -> bool) -> Scenario {
    let mut numbers = Vec::new();
    let mut members = Vec::new();
    let mut groups = Vec::new();
    for (job, member) in (0..).zip(&scenario.members) {
        numbers.push(members.len() as u8);
        if stays(job) {
            if groups.last() != Some(&member.group) {
                groups.push(member.group);
            }
            let mut member = *member;
            member.group = groups.len() as u8 - 1;
            members.push(member);
        }
    }
    let mut world = scenario.clone();
    world.members = members;
    let controllers = world
        .controllers
        .iter_mut()
        .map(|controller| &mut controller.0);
    for asks in controllers.chain([&mut world.before_start, &mut world.before_loop]) {
        asks.retain(|&(job, _)| stays(job));
        for (job, _) in asks {
            *job = numbers[usize::from(*job)];
        }
    }
    world
}

/// The list without its halves, its quarters, and so on down to each of its things.
fn shorter<T: Clone>(list: &[T]) -> Vec<Vec<T>> {
    let mut lists = Vec::new();
    let mut length = list.len().div_ceil(2);
    while length > 0 {
        for first in (0..list.len()).step_by(length) {
            let mut list = list.to_vec();
            list.drain(first..(first + length).min(list.len()));
            lists.push(list);
        }
        length /= 2;
    }
    lists
}

fn simpler(role: Role) -> Vec<Role> {
    let mut roles = Vec::new();
    if let Some(ready) = role.ready {
        // A failure behind convergence is one without it.
        let fails = ready.last() == Some(&Act::Fail);
        let mut acts = role.acts.to_vec();
        acts.extend(fails.then_some(Act::Fail));
        roles.push(Role {
            acts: kept(&acts),
            ready: None,
            ..role
        });
        roles.extend(shorter(ready).iter().map(|ready| Role {
            ready: Some(kept(ready)),
            ..role
        }));
    }
    roles.extend(shorter(role.acts).iter().map(|acts| Role {
        acts: kept(acts),
        ..role
    }));
    let plain = [
        Role {
            prepare_fails: false,
            ..role
        },
        Role {
            reports_cancel: false,
            ..role
        },
        Role {
            auto_finalize: true,
            ..role
        },
        Role {
            auto_dismiss: true,
            ..role
        },
    ];
    roles.extend(plain.into_iter().filter(|&plain| plain != role));
    roles
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The world.
    pub scenario: Scenario,
    /// A schedule under which it fails.
    pub schedule: Schedule,
    /// How many worlds were tried.
    pub worlds: usize,
}

/// Makes the world smaller, then the schedule shorter. `fails` gives the schedule under which a world
/// fails in the same way, if it finds one; it is given one to try first.
pub fn shrink(
    scenario: &Scenario,
    schedule: &Schedule,
    mut fails: impl FnMut(&Scenario, &Schedule) -> Option<Schedule>,
    mut follows: impl FnMut(&Scenario, &Schedule) -> Option<Schedule>,
) -> Shrunk {
    let mut shrunk = Shrunk {
        scenario: scenario.clone(),
        schedule: schedule.clone(),
        worlds: 0,
    };
    'again: loop {
        for candidate in smaller(&shrunk.scenario) {
            shrunk.worlds += 1;
            if let Some(schedule) = fails(&candidate, &shrunk.schedule) {
                shrunk.scenario = candidate;
                shrunk.schedule = schedule;
                continue 'again;
            }
        }
        break;
    }
    let mut length = shrunk.schedule.numbers.len();
    while length > 0 {
        let mut first = 0;
        while first < shrunk.schedule.numbers.len() {
            let restless = shrunk.schedule.restless();
            // A number that the drawing refused was followed by another for the same wait.
            let candidates = [
                shrunk.schedule.calmed(first, length),
                shrunk.schedule.without_numbers(first, length),
            ];
            let done = candidates
                .into_iter()
                .filter(|candidate| candidate.restless() < restless)
                .filter_map(|candidate| follows(&shrunk.scenario, &candidate))
                .find(|done| done.restless() < restless);
            match done {
                Some(done) => shrunk.schedule = done,
                None => first += length,
            }
        }
        length /= 2;
    }
    let mut length = shrunk.schedule.turns.len().div_ceil(2);
    while length > 0 {
        let mut first = 0;
        while first < shrunk.schedule.turns.len() {
            let candidate = shrunk.schedule.without(first, length);
            match follows(&shrunk.scenario, &candidate) {
                Some(done) if done.changes() < shrunk.schedule.changes() => shrunk.schedule = done,
                _ => first += length,
            }
        }
        length /= 2;
    }
    shrunk
}
