//! Every verb in every status, with every answer that it can get there.
//!
//! The table alone does not decide: a pause is permitted in `paused`, and refused where the pause is the
//! user's own. So for each verb and status the search looks for every set of answers, and keeps the
//! shortest way to each.

use std::collections::{BTreeMap, BTreeSet};

use super::closed::Closed;
use super::script::{Action, Member, Observation, only_block};
use super::search::{Search, status};
use super::{Kind, Vector, automaton};
use crate::profile::{ManualStages, Profile};
use crate::state::JobSpec;
use crate::status::Status;
use crate::verb::Refusal;
use crate::vocabulary::{ErrorAction, Request};

/// More places than any of the lives below has.
const PLACES_MAX: usize = 4000;

/// A request as vectors spell it.
pub(super) fn spelled(request: Request) -> &'static str {
    match request {
        Request::Cancel { force: false } => "cancel-softly",
        Request::SetSpeed { negative: true, .. } => "set-speed-negative",
        other => other.name(),
    }
}

/// The verbs that an implementation of this profile has.
pub(super) fn requests(profile: &Profile) -> Vec<Request> {
    let mut requests = vec![
        Request::Pause,
        Request::Resume,
        Request::Cancel { force: true },
        Request::Cancel { force: false },
        Request::Complete,
        Request::SET_SPEED,
        Request::SET_SPEED_NEGATIVE,
    ];
    if profile.manual_stages != ManualStages::None {
        requests.extend([Request::Finalize, Request::Dismiss]);
    }
    if profile.change_verb {
        requests.push(Request::Change);
    }
    requests
}

/// What one member can be ordered to do, and asked for.
pub(super) fn of_member(profile: &Profile, member: usize) -> Vec<Action> {
    let mut actions = vec![
        Action::Converge(member),
        Action::End(member, true),
        Action::End(member, false),
        Action::IoError(member, ErrorAction::Stop),
    ];
    let asked = requests(profile);
    actions.extend(
        asked
            .into_iter()
            .map(|request| Action::ask(member, request)),
    );
    actions
}

/// The lives in which the subject, member 0, is looked for: its members, and what may be sent.
fn lives(profile: &Profile) -> Vec<(Vec<Member>, Vec<Action>)> {
    let manual = |member: Member| {
        if profile.manual_stages == ManualStages::None {
            member
        } else {
            member.manual()
        }
    };
    let alone = |member: Member| {
        let mut actions = vec![Action::Create(0), Action::Start, Action::GiveUp(0)];
        actions.extend(of_member(profile, 0));
        (vec![member], actions)
    };
    let lingering = Member {
        lingers: true,
        ..Member::PLAIN
    };
    let mut lives = vec![
        alone(Member::PLAIN),
        alone(manual(Member::PLAIN)),
        alone(manual(Member::MIRROR)),
        // One that can complete, and need not wait for it.
        alone(manual(Member {
            spec: JobSpec {
                needs_finish: false,
                ..Member::MIRROR.spec
            },
            ..Member::MIRROR
        })),
        alone(manual(Member {
            lingers: true,
            ..Member::MIRROR
        })),
    ];
    if profile.prepare_callback {
        lives.push(alone(manual(Member {
            prepare_fails: true,
            ..Member::PLAIN
        })));
    }
    // Beside a peer that takes its time.
    for subject in [Member::PLAIN, Member::MIRROR] {
        let mut actions = vec![Action::Create(0), Action::Create(1), Action::Start];
        actions.extend(of_member(profile, 0));
        actions.extend([
            Action::End(1, true),
            Action::End(1, false),
            Action::ask(1, Request::Cancel { force: true }),
        ]);
        lives.push((vec![subject, lingering], actions));
    }
    lives
}

/// The name of a set of answers.
fn named(replies: &BTreeSet<Observation>) -> String {
    let names: BTreeSet<&str> = replies
        .iter()
        .map(|reply| match reply {
            Observation::Refused { refusal, .. } => match refusal {
                Refusal::NotFound => "not-found",
                Refusal::Verb { .. } => "not-in-this-status",
                Refusal::AlreadyPaused => "already-paused",
                Refusal::NotPaused => "not-paused",
                Refusal::CannotComplete => "cannot-complete",
                Refusal::CurrentlyPaused => "currently-paused",
                Refusal::NegativeSpeed => "negative",
                Refusal::NotQuiet => "not-quiet",
                Refusal::PrepareFailed => "prepare-failed",
            },
            _ => "accepted",
        })
        .collect();
    names.into_iter().collect::<Vec<_>>().join("-or-")
}

pub(super) fn all(profile: &'static Profile) -> Vec<Vector> {
    // Status, verb, by which command, answers: the shortest way to it.
    type Cell = (Status, usize, bool, String);
    let asked = requests(profile);
    let mut cells: BTreeMap<Cell, (Vec<Member>, Vec<Action>)> = BTreeMap::new();
    for (members, actions) in lives(profile) {
        let closed = Closed::new(profile, &members);
        let mut search = Search::new(&closed);
        let map = search.map(&actions, PLACES_MAX);
        assert!(!map.cut, "more places than thought");
        for at in 0..map.visits.len() {
            let place = &map.visits[at].place;
            let Some(status) = status(place, 0) else {
                continue;
            };
            let gone = matches!(status, Status::Undefined | Status::Null);
            for (number, &request) in asked.iter().enumerate() {
                let commands: &[bool] = match (only_block(request), gone) {
                    (true, _) => &[true],
                    (false, true) if !matches!(request, Request::Dismiss | Request::Finalize) => {
                        &[false, true]
                    }
                    (false, _) => &[false],
                };
                for &block in commands {
                    let ask = Action::Ask {
                        member: 0,
                        request,
                        block,
                    };
                    let Some(after) = search.after(place, ask) else {
                        continue;
                    };
                    let key = (status, number, block, named(&after.replies));
                    let way = || {
                        let mut way = map.way(at);
                        way.push(ask);
                        way
                    };
                    let shorter = cells
                        .get(&key)
                        .is_none_or(|(_, known)| map.way(at).len() + 1 < known.len());
                    if shorter {
                        cells.insert(key, (members.clone(), way()));
                    }
                }
            }
        }
    }
    let mut vectors = Vec::new();
    for ((status, number, block, answers), (members, sends)) in cells {
        let closed = Closed::new(profile, &members);
        let Some((states, edges)) = automaton::build(&closed, &sends) else {
            unreachable!("the search sent all of it")
        };
        let request = asked[number];
        let verb = spelled(request);
        // Where both commands are tried, the name says which.
        let command = if block && !only_block(request) {
            "-by-block-job"
        } else {
            ""
        };
        vectors.push(Vector {
            name: format!("cells/{status}/{verb}{command}/{answers}"),
            kind: Kind::Cell,
            about: format!(
                "{verb} of a job that is {status}: {}",
                answers.replace('-', " ")
            ),
            profile,
            members,
            sends,
            covers: super::tour::moves(edges),
            states,
        });
    }
    vectors
}
