//! Transactions of up to three members, each of which comes to its own end.
//!
//! A member ends well, or with an error, or fails to prepare, or is cancelled by force: every combination,
//! the oldest member's fate first. What a member cannot come to any more, because another has brought the
//! transaction down, is left out. Then those that are cancelled before their start, and those that their
//! user decides.

use super::closed::Closed;
use super::script::{Action, Member};
use super::search::{Place, Search};
use super::{Kind, Vector, automaton, tour};
use crate::profile::{ManualStages, Profile};
use crate::vocabulary::Request;

/// What becomes of a member, as far as it is up to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    Error,
    PrepareFails,
    Cancelled,
}

impl Fate {
    const fn name(self) -> &'static str {
        match self {
            Fate::Well => "well",
            Fate::Error => "error",
            Fate::PrepareFails => "prepare-fails",
            Fate::Cancelled => "cancelled",
        }
    }

    const fn action(self, member: usize) -> Action {
        match self {
            Fate::Well | Fate::PrepareFails => Action::End(member, true),
            Fate::Error => Action::End(member, false),
            Fate::Cancelled => Action::ask(member, Request::Cancel { force: true }),
        }
    }

    const fn member(self) -> Member {
        Member {
            prepare_fails: matches!(self, Fate::PrepareFails),
            ..Member::PLAIN
        }
    }
}

/// Every way to give `count` members one of these fates.
fn combinations(fates: &[Fate], count: usize) -> Vec<Vec<Fate>> {
    (0..count).fold(vec![Vec::new()], |shorter, _| {
        shorter
            .iter()
            .flat_map(|chosen| {
                fates
                    .iter()
                    .map(move |&fate| [chosen.as_slice(), &[fate]].concat())
            })
            .collect()
    })
}

/// Creates and starts all of them.
fn started(count: usize) -> Vec<Action> {
    let mut sends: Vec<Action> = (0..count).map(Action::Create).collect();
    sends.push(Action::Start);
    sends
}

/// Those of `sends` that can be sent when their turn comes.
fn possible(closed: &Closed, sends: Vec<Action>) -> Vec<Action> {
    let mut search = Search::new(closed);
    let mut place = Place::from([closed.beginning()]);
    let mut sent = Vec::new();
    for action in sends {
        if let Some(after) = search.after(&place, action) {
            place = after.place;
            sent.push(action);
        }
    }
    sent
}

fn vector(
    profile: &'static Profile,
    name: String,
    about: String,
    members: Vec<Member>,
    sends: Vec<Action>,
) -> Option<Vector> {
    let closed = Closed::new(profile, &members);
    let sends = possible(&closed, sends);
    let (states, edges) = automaton::build(&closed, &sends)?;
    Some(Vector {
        name,
        kind: Kind::Group,
        about,
        profile,
        members,
        sends,
        covers: tour::moves(edges),
        states,
    })
}

pub(super) fn all(profile: &'static Profile) -> Vec<Vector> {
    let mut fates = vec![Fate::Well, Fate::Error, Fate::Cancelled];
    if profile.prepare_callback {
        fates.push(Fate::PrepareFails);
    }
    let mut vectors = Vec::new();
    for count in 1..=3 {
        for chosen in combinations(&fates, count) {
            let names: Vec<&str> = chosen.iter().map(|fate| fate.name()).collect();
            let mut sends = started(count);
            sends.extend(
                chosen
                    .iter()
                    .enumerate()
                    .map(|(member, fate)| fate.action(member)),
            );
            vectors.extend(vector(
                profile,
                format!("groups/{count}/{}", names.join("+")),
                format!(
                    "{count} in a transaction, oldest first: {}",
                    names.join(", ")
                ),
                chosen.iter().map(|fate| fate.member()).collect(),
                sends,
            ));
        }
        for cancelled in 0..count {
            let mut sends: Vec<Action> = (0..count).map(Action::Create).collect();
            sends.push(Action::ask(cancelled, Request::Cancel { force: true }));
            vectors.extend(vector(
                profile,
                format!("groups/{count}/unstarted-cancels-{}", super::id(cancelled)),
                format!("{count} in a transaction that has not started, of which one is cancelled"),
                vec![Member::PLAIN; count],
                sends,
            ));
        }
        if profile.manual_stages == ManualStages::None {
            continue;
        }
        let manual = Member::PLAIN.manual();
        let ended = |last: Action| {
            let mut sends = started(count);
            sends.extend((0..count).map(|member| Action::End(member, true)));
            sends.push(last);
            sends.extend((0..count).map(|member| Action::ask(member, Request::Dismiss)));
            sends
        };
        vectors.extend(vector(
            profile,
            format!("groups/{count}/finalized"),
            format!("{count} in a transaction that their user finalizes and dismisses"),
            vec![manual; count],
            ended(Action::ask(0, Request::Finalize)),
        ));
        for odd in 0..count {
            let id = super::id(odd);
            vectors.extend(vector(
                profile,
                format!("groups/{count}/pending-cancels-{id}"),
                format!("{count} in a transaction that waits for its user, who cancels {id}"),
                vec![manual; count],
                ended(Action::ask(odd, Request::Cancel { force: true })),
            ));
            if profile.prepare_callback {
                let mut members = vec![manual; count];
                members[odd].prepare_fails = true;
                vectors.extend(vector(
                    profile,
                    format!("groups/{count}/finalize-fails-in-{id}"),
                    format!("{count} in a transaction that their user finalizes, and {id} fails to prepare"),
                    members,
                    ended(Action::ask(0, Request::Finalize)),
                ));
            }
        }
    }
    vectors
}
