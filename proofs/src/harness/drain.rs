//! Drained sections (SEMANTICS.md §4.7), and moves to another context inside them (§4.8).
//!
//! Who owns a section does something inside it, were it only an enter, which is to change nothing: between
//! two calls with nothing between them the tool lets nobody else come.

use super::{Case, NO_POINT, ONE_POINT, single};
use crate::actor::{Act, Role};
use crate::scenario::{Ask, Controller, Scenario};

/// Whoever is to become quiet: parked at a point, asleep, waiting, or with more to come first.
const ROLES: [Role; 4] = [
    Role::plain(ONE_POINT),
    Role::plain(&[Act::Sleep, Act::Io]),
    Role::mirror(&[], &[]),
    Role::plain(ONE_POINT).lingering(),
];

/// A section of one job, and one of every job.
pub(super) fn alone() -> Vec<Case> {
    let mut cases = Vec::new();
    for begin in [Ask::DrainBegin, Ask::DrainAll] {
        for role in ROLES {
            cases.push(single(role, vec![vec![begin, Ask::Enter, Ask::DrainEnd]]));
        }
    }
    cases
}

/// A section of a job that ends, well or badly, where others park: whoever waits for it is told of that too.
pub(super) fn of_one_that_ends() -> Vec<Case> {
    [NO_POINT, FAILS]
        .into_iter()
        .map(|acts| single(Role::plain(acts), vec![section()]))
        .collect()
}

const FAILS: &[Act] = &[Act::Io, Act::Fail];

/// A section.
fn section() -> Vec<Ask> {
    vec![Ask::DrainBegin, Ask::Enter, Ask::DrainEnd]
}

/// The verbs that a job which has not converged accepts.
const ACCEPTED: [Ask; 4] = [Ask::Pause, Ask::Resume, Ask::CancelForce, Ask::SetSpeed];

/// What the owner of a section asks while it lasts.
pub(super) fn within() -> Vec<Case> {
    let mut cases = Vec::new();
    for role in [ROLES[0], ROLES[2]] {
        for ask in Ask::VERBS {
            let asks = vec![Ask::DrainBegin, ask, Ask::DrainEnd];
            cases.push(single(role, vec![asks]));
        }
    }
    cases
}

/// A section and somebody else: another section, `pause_all`, or a verb.
pub(super) fn and_another() -> Vec<Case> {
    let mut others: Vec<Vec<Ask>> = ACCEPTED.into_iter().map(|ask| vec![ask]).collect();
    others.push(vec![Ask::DrainBegin, Ask::DrainEnd]);
    others.push(vec![Ask::HoldAll, Ask::ReleaseAll]);
    others
        .into_iter()
        .map(|other| single(Role::plain(ONE_POINT), vec![section(), other]))
        .collect()
}

/// A job that waits, and a section beside a verb: only a forced cancel ends its park before the
/// section does (decision 7).
pub(super) fn of_one_that_waits() -> Vec<Case> {
    Ask::VERBS
        .into_iter()
        .map(|ask| single(Role::mirror(&[], &[]), vec![section(), vec![ask]]))
        .collect()
}

/// A transaction of two, held: by a section of one member, of every job, by `pause_all`. Both end well, or the
/// newer one fails.
pub(super) fn of_a_transaction() -> Vec<Case> {
    let plain = Role::plain(ONE_POINT);
    let mut cases = Vec::new();
    for couple in [[plain, plain], [plain, Role::plain(FAILS)]] {
        for (job, begin, end) in [
            (0, Ask::DrainBegin, Ask::DrainEnd),
            (1, Ask::DrainBegin, Ask::DrainEnd),
            (0, Ask::DrainAll, Ask::DrainEnd),
            (0, Ask::HoldAll, Ask::ReleaseAll),
        ] {
            let mut scenario = Scenario::transaction(&couple);
            let asks = vec![(job, begin), (job, Ask::Enter), (job, end)];
            scenario.controllers = vec![Controller(asks)];
            cases.push(Case::Scenario(scenario));
        }
    }
    cases
}

/// A move: of a body that has a thread, of one that has none yet, of a job that is not started.
pub(super) fn moved() -> Vec<Case> {
    let asks = vec![Ask::DrainBegin, Ask::Attach, Ask::DrainEnd];
    let mut cases = Vec::new();
    for role in [ROLES[0], ROLES[2], Role::plain(NO_POINT)] {
        for early in [false, true] {
            cases.push(Case::Scenario(Scenario {
                early,
                ..Scenario::single(role, vec![asks.clone()])
            }));
        }
    }
    // Without a section nothing moves; of one on its way out nothing does.
    cases.push(single(ROLES[0], vec![asks, vec![Ask::CancelForce]]));
    cases
}
