//! Ordinary lives, from creation to the end.
//!
//! The lives are chosen by hand, what they show is computed. One that an implementation cannot have,
//! because it has no such verb, is left out.

use super::closed::Closed;
use super::script::{Action, Member};
use super::{Kind, Vector, automaton, tour};
use crate::profile::Profile;
use crate::vocabulary::{ErrorAction, Request};

const CREATE: Action = Action::Create(0);
const WELL: Action = Action::End(0, true);
const ERROR: Action = Action::End(0, false);
const CONVERGE: Action = Action::Converge(0);
const PAUSE: Action = Action::ask(0, Request::Pause);
const RESUME: Action = Action::ask(0, Request::Resume);
const COMPLETE: Action = Action::ask(0, Request::Complete);
const FINALIZE: Action = Action::ask(0, Request::Finalize);
const DISMISS: Action = Action::ask(0, Request::Dismiss);
const SPEED: Action = Action::ask(0, Request::SET_SPEED);
const CANCEL: Action = Action::ask(0, Request::Cancel { force: true });
const SOFTLY: Action = Action::ask(0, Request::Cancel { force: false });
const START: Action = Action::Start;

/// A name, what it is, the job, what is sent.
type Life = (&'static str, &'static str, Member, &'static [Action]);

#[rustfmt::skip]
const LIVES: &[Life] = &[
    ("ends-well", "a job that runs to its end", Member::PLAIN, &[CREATE, START, WELL]),
    ("fails", "a job whose run ends with an error", Member::PLAIN, &[CREATE, START, ERROR]),
    ("given-up", "a job that its creator gives up before its start", Member::PLAIN, &[CREATE, Action::GiveUp(0)]),
    ("cancelled", "a job that is cancelled", Member::PLAIN, &[CREATE, START, CANCEL]),
    ("cancelled-softly", "a job that is cancelled softly, and has nothing to finish", Member::PLAIN, &[CREATE, START, SOFTLY]),
    ("cancelled-unstarted", "a job that is cancelled before its start", Member::PLAIN, &[CREATE, CANCEL]),
    ("cancelled-paused", "a job that is cancelled by force while its user has it paused", Member::PLAIN, &[CREATE, START, PAUSE, CANCEL]),
    ("paused-and-resumed", "a job that is paused, resumed, and ends", Member::PLAIN, &[CREATE, START, PAUSE, RESUME, WELL]),
    ("paused-unstarted", "a job that is paused before its start, parks at once, and goes on", Member::PLAIN, &[CREATE, PAUSE, START, RESUME, WELL]),
    ("paused-twice", "two pauses: the second is refused, and one resume ends the first", Member::PLAIN, &[CREATE, START, PAUSE, PAUSE, RESUME, WELL]),
    ("speed", "a change of speed announces nothing", Member::PLAIN, &[CREATE, START, SPEED, WELL]),
    ("manual", "a job that its user finalizes and dismisses", Member::PLAIN.manual(), &[CREATE, START, WELL, FINALIZE, DISMISS]),
    ("manual-fails", "a job that fails needs no finalize, and stays until it is dismissed", Member::PLAIN.manual(), &[CREATE, START, ERROR, DISMISS]),
    ("manual-cancelled", "a job that is cancelled while it waits for its user", Member::PLAIN.manual(), &[CREATE, START, WELL, CANCEL, DISMISS]),
    ("completed", "a mirror that converges and is completed", Member::MIRROR, &[CREATE, START, CONVERGE, COMPLETE, WELL]),
    ("completed-early", "a mirror that is told to complete before it has converged", Member::MIRROR, &[CREATE, START, COMPLETE, CONVERGE, COMPLETE, WELL]),
    ("completed-twice", "a mirror that is told to complete twice", Member::MIRROR, &[CREATE, START, CONVERGE, COMPLETE, COMPLETE, WELL]),
    ("ready-cancelled-softly", "a mirror that is cancelled softly finishes where it stands", Member::MIRROR, &[CREATE, START, CONVERGE, SOFTLY, WELL]),
    ("ready-cancelled", "a mirror that is cancelled by force gives up", Member::MIRROR, &[CREATE, START, CONVERGE, CANCEL]),
    ("ready-fails", "a mirror that fails after it has converged", Member::MIRROR, &[CREATE, START, CONVERGE, ERROR]),
    ("ready-paused", "a mirror that is paused after it has converged", Member::MIRROR, &[CREATE, START, CONVERGE, PAUSE, RESUME, COMPLETE, WELL]),
    ("mirror-manual", "a mirror that its user finalizes and dismisses", Member::MIRROR.manual(), &[CREATE, START, CONVERGE, COMPLETE, WELL, FINALIZE, DISMISS]),
    ("error-stops", "an I/O error pauses the job until its user resumes it", Member::PLAIN, &[CREATE, START, Action::IoError(0, ErrorAction::Stop), RESUME, WELL]),
    ("error-reported", "an I/O error ends the job", Member::PLAIN, &[CREATE, START, Action::IoError(0, ErrorAction::Report), ERROR]),
    ("error-ignored", "an I/O error is announced, and the job goes on", Member::PLAIN, &[CREATE, START, Action::IoError(0, ErrorAction::Ignore), WELL]),
    ("error-stops-ready", "an I/O error pauses a mirror that has converged", Member::MIRROR, &[CREATE, START, CONVERGE, Action::IoError(0, ErrorAction::Stop), RESUME, COMPLETE, WELL]),
];

pub(super) fn all(profile: &'static Profile) -> Vec<Vector> {
    let known = super::cells::requests(profile);
    let has = |action: &Action| match action {
        Action::Ask { request, .. } => known.contains(request),
        _ => true,
    };
    let mut vectors = Vec::new();
    for &(name, about, member, sends) in LIVES {
        if !sends.iter().all(has) {
            continue;
        }
        let closed = Closed::new(profile, &[member]);
        let Some((states, edges)) = automaton::build(&closed, sends) else {
            continue;
        };
        vectors.push(Vector {
            name: format!("sequences/{name}"),
            kind: Kind::Sequence,
            about: about.to_owned(),
            profile,
            members: vec![member],
            sends: sends.to_vec(),
            covers: tour::moves(edges),
            states,
        });
    }
    vectors
}
