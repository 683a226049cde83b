//! One QMP conversation, judged by every profile that may fit, in one pass.
//!
//! A greeting names the version, and so the profile. Before it, and without it, every profile is
//! tried; those that a message contradicts drop out.

use blockjob_model::Profile;
use blockjob_model::profile::{QEMU_7_2, QEMU_10_0, REFERENCE};

use super::Observer;
use super::qmp::Session;
use crate::oracle::reader::qmp::{Peer, Record, read_greeting};
use crate::oracle::verdict::Fault;

/// The profiles that are tried, the likeliest first.
const TRIED: [&Profile; 3] = [&QEMU_10_0, &QEMU_7_2, &REFERENCE];

struct Candidate {
    session: Session,
    fault: Option<Fault>,
}

/// The trial of one conversation.
pub struct Trial {
    candidates: Vec<Candidate>,
    /// The profile was given, so greetings do not matter.
    given: bool,
    named: bool,
}

/// How a trial ended.
pub struct Sentence {
    /// The profile that fits, or the one that went furthest.
    pub profile: &'static Profile,
    /// Every profile that fits.
    pub fits: Vec<&'static str>,
    /// What it was rejected for.
    pub fault: Option<Fault>,
    /// Job events read.
    pub events: u64,
    /// Jobs that appeared.
    pub jobs: u64,
    /// Replies to commands read.
    pub replies: u64,
    /// How often the belief had to be widened.
    pub widened: u64,
    /// The line from which on the daemon was being stopped from outside.
    pub stopped_at: Option<u64>,
}

impl Trial {
    /// A trial by `profile`, or by whichever fits.
    pub fn new(profile: Option<&'static Profile>, observer: Observer) -> Trial {
        let candidate = |profile| Candidate {
            session: Session::new(profile, observer),
            fault: None,
        };
        Trial {
            candidates: match profile {
                Some(profile) => vec![candidate(profile)],
                None => TRIED.into_iter().map(candidate).collect(),
            },
            given: profile.is_some(),
            named: false,
        }
    }

    /// Takes the next message; `false` once every profile is contradicted.
    pub fn take(&mut self, record: &Record<'_>) -> bool {
        let greeting = record.message.greeting;
        if !self.given && !self.named && greeting.is_present() {
            self.narrow(read_greeting(greeting));
        }
        let mut open = false;
        for candidate in &mut self.candidates {
            if candidate.fault.is_none() {
                candidate.fault = candidate.session.take(record).err();
                open |= candidate.fault.is_none();
            }
        }
        open
    }

    /// The greeting says who it is: only that profile remains.
    fn narrow(&mut self, peer: Peer) {
        let profile = match peer {
            Peer { blockjob: true, .. } => &REFERENCE,
            Peer {
                version: Some((major, minor)),
                ..
            } => Profile::for_qemu(major, minor),
            Peer { version: None, .. } => return,
        };
        self.named = true;
        self.candidates
            .retain(|candidate| candidate.session.profile().name == profile.name);
    }

    /// Ends the trial.
    pub fn end(mut self) -> Sentence {
        let fits: Vec<&'static str> = self
            .candidates
            .iter()
            .filter(|candidate| candidate.fault.is_none())
            .map(|candidate| candidate.session.profile().name)
            .collect();
        let furthest = |candidate: &Candidate| {
            candidate
                .fault
                .as_ref()
                .map_or(u64::MAX, |fault| fault.line)
        };
        // The first of those that went furthest; there is always one.
        let mut best = 0;
        for place in 1..self.candidates.len() {
            if furthest(&self.candidates[place]) > furthest(&self.candidates[best]) {
                best = place;
            }
        }
        let best = self.candidates.swap_remove(best);
        Sentence {
            profile: best.session.profile(),
            fits,
            fault: best.fault,
            events: best.session.events(),
            jobs: best.session.jobs(),
            replies: best.session.replies(),
            widened: best.session.widened(),
            stopped_at: best.session.stopped_at(),
        }
    }
}
