//! Drivers that call back in from inside a callback (decisions 22, 23).

use blockjob_model::Callback;

use super::{Case, FAILURE, NO_POINT, ONE_POINT, single};
use crate::actor::Role;
use crate::scenario::{Ask, Controller, Scenario};

/// What is asked inside: the verbs, a look, `pause_all`, and what waits and is turned away.
const ASKS: [Ask; 14] = [
    Ask::Pause,
    Ask::Resume,
    Ask::CancelSoft,
    Ask::CancelForce,
    Ask::Complete,
    Ask::Finalize,
    Ask::Dismiss,
    Ask::SetSpeed,
    Ask::Look,
    Ask::HoldAll,
    Ask::DrainBegin,
    Ask::CancelSync,
    Ask::CancelAll,
    Ask::WaitDecided,
];

/// Of itself, in the callbacks of a job that nobody else asks anything.
pub(super) fn of_itself() -> Vec<Case> {
    let plain = Role::plain(NO_POINT);
    let manual = plain.manual_finalize().manual_dismiss();
    let failing = plain.failing_prepare();
    let mut cases = Vec::new();
    for ask in ASKS {
        for (role, callback) in [
            (Role::plain(ONE_POINT), Callback::Run),
            (plain, Callback::Prepare),
            (manual, Callback::Prepare),
            (plain, Callback::Commit),
            (failing, Callback::Abort),
            (plain, Callback::Clean),
            (manual, Callback::Completion),
            (plain, Callback::Free),
        ] {
            cases.push(single(role.asking(callback, 0, ask), vec![]));
        }
    }
    cases
}

/// Of itself, in the callbacks that somebody's request has.
pub(super) fn when_asked() -> Vec<Case> {
    let plain = Role::plain(ONE_POINT);
    let ready = Role::mirror(&[], &[]);
    let paused = vec![Ask::Pause, Ask::Resume];
    let drained = vec![Ask::DrainBegin, Ask::Attach, Ask::DrainEnd];
    let told = vec![Ask::AwaitReady, Ask::Complete];
    let mut cases = Vec::new();
    for ask in ASKS {
        for (role, callback, asks) in [
            (plain, Callback::Pause, &paused),
            (plain, Callback::Resume, &paused),
            (plain, Callback::UserResume, &paused),
            (plain, Callback::Cancel, &vec![Ask::CancelForce]),
            (plain, Callback::SetSpeed, &vec![Ask::SetSpeed]),
            (plain, Callback::Drain, &drained),
            (plain, Callback::DrainedPoll, &drained),
            (plain, Callback::AttachedContext, &drained),
            (ready, Callback::Complete, &told),
        ] {
            let role = role.asking(callback, 0, ask);
            cases.push(single(role, vec![asks.clone()]));
        }
    }
    cases
}

/// Of the other member of its group, before, during and after the decision.
pub(super) fn of_a_peer() -> Vec<Case> {
    let plain = Role::plain(NO_POINT);
    let fails = Role::plain(FAILURE);
    let mut cases = Vec::new();
    for ask in Ask::VERBS {
        for (role, callback) in [
            (plain, Callback::Run),
            (plain, Callback::Prepare),
            (plain, Callback::Commit),
            (plain, Callback::Completion),
            (fails, Callback::Abort),
            (fails, Callback::Clean),
        ] {
            // The newer one is decided first.
            let newer = role.asking(callback, 0, ask);
            cases.push(Case::Scenario(Scenario::transaction(&[
                Role::plain(ONE_POINT),
                newer,
            ])));
        }
    }
    cases
}

/// A cancel of the peer inside the decision, and a controller that asks something of it too.
pub(super) fn beside_a_controller() -> Vec<Case> {
    let mut cases = Vec::new();
    for callback in [Callback::Prepare, Callback::Commit] {
        for ask in [Ask::CancelForce, Ask::Pause] {
            let newer = Role::plain(NO_POINT).asking(callback, 0, Ask::CancelForce);
            let mut scenario = Scenario::transaction(&[Role::plain(NO_POINT), newer]);
            scenario.controllers = vec![Controller(vec![(0, ask)])];
            cases.push(Case::Scenario(scenario));
        }
    }
    cases
}
