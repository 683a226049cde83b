//! Somebody who waits for a job to end: `cancel_sync`, `complete_sync`, `wait_decided`,
//! `cancel_sync_all` (SEMANTICS.md §2.9).

use super::{Case, FAILURE, ONE_POINT, single};
use crate::actor::{Act, Role};
use crate::scenario::{Ask, Controller, Member, Scenario};

const READY: Role = Role::mirror(&[], &[]);

/// One who waits, and nobody else.
pub(super) fn alone() -> Vec<Case> {
    let plain = Role::plain(ONE_POINT);
    vec![
        single(plain, vec![vec![Ask::CancelSync]]),
        single(plain, vec![vec![Ask::WaitDecided]]),
        single(Role::plain(FAILURE), vec![vec![Ask::WaitDecided]]),
        single(plain.failing_prepare(), vec![vec![Ask::WaitDecided]]),
        single(READY, vec![vec![Ask::AwaitReady, Ask::CompleteSync]]),
        single(READY, vec![vec![Ask::AwaitReady, Ask::CancelSoftSync]]),
        single(READY, vec![vec![Ask::CancelSync]]),
    ]
}

/// Two who wait (K6), and one who waits beside one who asks something else.
pub(super) fn and_another() -> Vec<Case> {
    let plain = Role::plain(ONE_POINT);
    let manual = plain.manual_finalize().manual_dismiss();
    let mut cases = Vec::new();
    for role in [plain, manual] {
        cases.push(single(role, vec![vec![Ask::CancelSync]; 2]));
        for other in [Ask::Pause, Ask::CancelForce, Ask::Dismiss, Ask::Finalize] {
            cases.push(single(role, vec![vec![Ask::CancelSync], vec![other]]));
        }
        for other in [Ask::CancelForce, Ask::Finalize] {
            cases.push(single(role, vec![vec![Ask::WaitDecided], vec![other]]));
        }
    }
    cases
}

/// One who waits for a job that sleeps, is not started, is held or drained by another, or has a peer, which fails or
/// does not.
pub(super) fn beside() -> Vec<Case> {
    let plain = Role::plain(ONE_POINT);
    let waits = [Ask::CancelSync, Ask::WaitDecided];
    let mut cases = Vec::new();
    for wait in waits {
        let sleeper = Role::plain(&[Act::Sleep, Act::Io]);
        cases.push(single(sleeper, vec![vec![wait], vec![Ask::Enter]]));
        cases.push(Case::Scenario(Scenario {
            early: true,
            ..Scenario::single(plain, vec![vec![wait]])
        }));
        for other in [
            vec![Ask::HoldAll, Ask::Enter, Ask::ReleaseAll],
            vec![Ask::DrainBegin, Ask::Enter, Ask::DrainEnd],
        ] {
            cases.push(single(plain, vec![vec![wait], other]));
        }
        for roles in [[plain, plain], [Role::plain(FAILURE), plain]] {
            for member in 0..2 {
                let mut scenario = Scenario::transaction(&roles);
                scenario.controllers = vec![Controller(vec![(member, wait)])];
                cases.push(Case::Scenario(scenario));
            }
        }
    }
    cases
}

/// Who was told that the job was taken to complete, against who cancels it.
pub(super) fn of_one_that_waits() -> Vec<Case> {
    let complete = vec![Ask::AwaitReady, Ask::CompleteSync];
    let soft = vec![Ask::AwaitReady, Ask::CancelSoftSync];
    vec![
        single(READY, vec![complete.clone(), vec![Ask::CancelForce]]),
        single(READY, vec![complete.clone(), soft.clone()]),
        single(READY, vec![soft, vec![Ask::CancelSync]]),
        single(READY, vec![complete, vec![Ask::Pause]]),
    ]
}

/// Everybody is cancelled and waited for: alone, in a group, and in two; and somebody is dismissed by
/// hand.
pub(super) fn cancel_all() -> Vec<Case> {
    let plain = Role::plain(ONE_POINT);
    let manual = plain.manual_finalize().manual_dismiss();
    let mut cases = Vec::new();
    for roles in [
        vec![plain],
        vec![manual],
        vec![plain, plain],
        vec![plain, manual],
    ] {
        for apart in [false, true] {
            if apart && roles.len() == 1 {
                continue;
            }
            let members = roles.iter().enumerate().map(|(place, &role)| Member {
                group: if apart { place as u8 } else { 0 },
                role,
            });
            cases.push(Case::Scenario(Scenario {
                members: members.collect(),
                controllers: vec![Controller(vec![(0, Ask::CancelAll)])],
                ..Scenario::default()
            }));
        }
    }
    cases
}
