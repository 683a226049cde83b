//! Who comes and goes while others look or ask: creation and start, the end of members, dismissal.

use blockjob_model::Status;

use super::{Case, FAILURE, NO_POINT, ONE_POINT, couples, single};
use crate::actor::{Act, Role};
use crate::scenario::{Ask, Controller, Member, Scenario};

/// Two jobs of their own; the second comes while the controller asks for something.
fn newcomer(first: Role, second: Role, asks: &[Ask]) -> Case {
    Case::Scenario(Scenario {
        members: vec![
            Member {
                group: 0,
                role: first,
            },
            Member {
                group: 1,
                role: second,
            },
        ],
        controllers: vec![Controller(asks.iter().map(|&ask| (0, ask)).collect())],
        late: true,
        ..Scenario::default()
    })
}

/// Everybody is held, or drained, or looked at, while one job completes and another is created (K7):
/// `pause_all` holds those that are there (decision 12), a drained section those to come as well
/// (decision 35).
pub(super) fn creation() -> Vec<Case> {
    let plain = Role::plain(NO_POINT);
    let point = Role::plain(ONE_POINT);
    let mut cases = Vec::new();
    for (first, second) in [(plain, point), (point, plain)] {
        for asks in [
            vec![Ask::HoldAll, Ask::Enter, Ask::ReleaseAll],
            vec![Ask::DrainAll, Ask::Enter, Ask::DrainEnd],
            vec![Ask::Look, Ask::Look],
        ] {
            cases.push(newcomer(first, second, &asks));
        }
    }
    cases
}

/// A transaction about to start, and a controller that is there before (K12).
pub(super) fn start() -> Vec<Case> {
    let mut cases = Vec::new();
    for member in 0..2 {
        for ask in Ask::VERBS {
            let plain = Role::plain(NO_POINT);
            cases.push(Case::Scenario(Scenario {
                controllers: vec![Controller(vec![(member, ask)])],
                early: true,
                ..Scenario::transaction(&[plain, plain])
            }));
        }
    }
    cases
}

/// The same where a controller starts it, so that the main loop may be in the middle of a cancel then.
pub(super) fn start_apart() -> Vec<Case> {
    let plain = Role::plain(NO_POINT);
    let mut cases = Vec::new();
    for member in 0..2 {
        for ask in [Ask::CancelForce, Ask::Pause] {
            cases.push(apart(&[plain, plain], Ask::Start, member, ask));
        }
    }
    for ask in [Ask::CancelForce, Ask::Pause, Ask::SetSpeed, Ask::Look] {
        cases.push(apart(&[plain], Ask::Start, 0, ask));
        cases.push(apart(&[plain], Ask::GiveUp, 0, ask));
    }
    // A section of a job that nobody has started: its creator waits for it and starts the job after it.
    for section in [Ask::DrainBegin, Ask::DrainAll] {
        let asks = [section, Ask::Enter, Ask::DrainEnd, Ask::Start];
        let asks = asks.map(|ask| (0, ask)).to_vec();
        cases.push(Case::Scenario(Scenario {
            controllers: vec![Controller(asks)],
            apart: true,
            ..Scenario::transaction(&[plain])
        }));
    }
    cases
}

/// Its creator starts the group or gives it up, somebody else asks something of a member.
fn apart(roles: &[Role], creator: Ask, member: u8, ask: Ask) -> Case {
    Case::Scenario(Scenario {
        controllers: vec![
            Controller(vec![(0, creator)]),
            Controller(vec![(member, ask)]),
        ],
        apart: true,
        ..Scenario::transaction(roles)
    })
}

/// Somebody looks while the job ends and is dismissed, by itself or by another (D04).
pub(super) fn looked_at() -> Vec<Case> {
    let plain = Role::plain(ONE_POINT);
    let manual = plain.manual_finalize().manual_dismiss();
    let look = vec![Ask::Look, Ask::Look];
    let mut cases = vec![
        single(plain, vec![look.clone()]),
        single(plain.failing_prepare(), vec![look.clone()]),
        single(manual, vec![look.clone(), vec![Ask::Dismiss]]),
    ];
    for ask in Ask::VERBS {
        let role = Role::plain(NO_POINT);
        cases.push(single(role, vec![vec![Ask::Look, ask, Ask::Look]]));
        cases.push(single(Role::mirror(&[], &[]), vec![vec![ask, Ask::Look]]));
    }
    cases
}

/// The main loop waits to see what a body does, and nobody else waits or asks: it is told of it all the
/// same (P25).
pub(super) fn home_is_told() -> Vec<Case> {
    let cases = [
        (
            Role::plain(ONE_POINT),
            vec![vec![Ask::Pause]],
            (Status::Paused, Ask::Resume),
        ),
        (
            Role::plain(&[Act::Stop, Act::Point]),
            vec![],
            (Status::Paused, Ask::Resume),
        ),
        (
            Role::mirror(&[], &[]),
            vec![],
            (Status::Ready, Ask::Complete),
        ),
        (
            Role::mirror(&[], &[]),
            vec![],
            (Status::Ready, Ask::CancelSoft),
        ),
    ];
    cases
        .into_iter()
        .map(|(role, controllers, home)| {
            Case::Scenario(Scenario {
                home: Some(home),
                ..Scenario::single(role, controllers)
            })
        })
        .collect()
}

/// Members that end by themselves, well or not, in every order.
pub(super) fn members_end() -> Vec<Case> {
    let mut roles: Vec<Vec<Role>> = couples().into_iter().map(|two| two.to_vec()).collect();
    let plain = Role::plain(NO_POINT);
    let fails = Role::plain(FAILURE);
    roles.push(vec![fails, fails]);
    roles.push(vec![fails, plain.failing_prepare()]);
    roles
        .into_iter()
        // A job that converges waits for somebody.
        .filter(|roles| roles.iter().all(|role| role.ready.is_none()))
        .map(|roles| Case::Scenario(Scenario::transaction(&roles)))
        .collect()
}

/// Three of them.
pub(super) fn three_members_end() -> Vec<Case> {
    let plain = Role::plain(ONE_POINT);
    let fails = Role::plain(FAILURE);
    [
        [fails, plain, plain],
        [plain, fails, plain],
        [plain, plain, fails],
        [fails, plain, fails],
    ]
    .iter()
    .map(|roles| Case::Scenario(Scenario::transaction(roles)))
    .collect()
}
