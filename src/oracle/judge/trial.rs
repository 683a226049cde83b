//! One QMP conversation, judged by every profile that may fit, in one pass.
//!
//! A greeting names the version, and so the profile. Before it, and without it, every profile is
//! tried; those that a message contradicts drop out. Profiles that behave alike are tried once.

use blockjob_model::profile::{REFERENCE, Release};
use blockjob_model::{Profile, Status};

use super::Observer;
use super::qmp::Session;
use crate::oracle::reader::qmp::{Peer, Record, read_greeting};
use crate::oracle::verdict::Fault;
use crate::oracle::watch::Belief;

/// The profiles that are tried, the likeliest first: QEMU's, newest first, then ours.
fn tried() -> impl Iterator<Item = &'static Profile> {
    let (ours, qemu): (Vec<_>, Vec<_>) = Profile::ALL
        .into_iter()
        .partition(|profile| profile.since.is_none());
    qemu.into_iter().chain(ours)
}

struct Candidate {
    session: Session,
    /// Whom it is judged as: the profile of the session, and those that behave as it does.
    profiles: Vec<&'static Profile>,
    fault: Option<Fault>,
}

/// The trial of one conversation.
pub struct Trial {
    candidates: Vec<Candidate>,
    /// The profile was given, so greetings do not matter.
    given: bool,
    named: bool,
    /// The release that greeted, where it is newer than every profile.
    newer: Option<(u32, u32)>,
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
    /// The release that greeted, major and minor, where it is newer than every profile.
    pub newer: Option<(u32, u32)>,
    /// The line from which on the daemon was being stopped from outside.
    pub stopped_at: Option<u64>,
}

impl Belief for Trial {
    fn profile(&self) -> &'static Profile {
        self.leader().profiles[0]
    }

    fn statuses(&self, job: &str) -> Vec<Status> {
        self.leader().session.statuses(job)
    }
}

impl Trial {
    /// A trial by `profile`, or by whichever fits.
    pub fn new(profile: Option<&'static Profile>, observer: Observer) -> Trial {
        let mut candidates: Vec<Candidate> = Vec::new();
        let given = profile.is_some();
        for profile in profile.into_iter().chain(tried().filter(|_| !given)) {
            let alike = candidates
                .iter_mut()
                .find(|candidate| candidate.session.profile().behaves_as(profile));
            match alike {
                Some(candidate) => candidate.profiles.push(profile),
                None => candidates.push(Candidate {
                    session: Session::new(profile, observer),
                    profiles: vec![profile],
                    fault: None,
                }),
            }
        }
        Trial {
            candidates,
            given,
            named: false,
            newer: None,
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

    /// The recording was filtered: not everything that was said is in it, nor in its order.
    pub fn filter(&mut self) {
        for candidate in &mut self.candidates {
            candidate.session.filter();
        }
    }

    /// This client is not the only one.
    pub fn share(&mut self) {
        for candidate in &mut self.candidates {
            candidate.session.share();
        }
    }

    /// Every profile was contradicted.
    pub fn is_over(&self) -> bool {
        self.candidates
            .iter()
            .all(|candidate| candidate.fault.is_some())
    }

    /// The first that is not contradicted, or else the first; there is always one.
    fn leader(&self) -> &Candidate {
        let fits = |candidate: &&Candidate| candidate.fault.is_none();
        let fitting = self.candidates.iter().find(fits);
        fitting.unwrap_or(&self.candidates[0])
    }

    /// The greeting says who it is: only that profile remains.
    fn narrow(&mut self, peer: Peer) {
        let profile = match peer {
            Peer { blockjob: true, .. } => &REFERENCE,
            Peer {
                version: Some((major, minor)),
                ..
            } => {
                let newest = Release::NEWEST;
                if (major, minor) > (newest.major, newest.minor) {
                    self.newer = Some((major, minor));
                }
                Profile::for_qemu(major, minor)
            }
            Peer { version: None, .. } => return,
        };
        self.named = true;
        self.candidates.retain_mut(|candidate| {
            let meant = candidate
                .profiles
                .iter()
                .any(|tried| tried.name == profile.name);
            candidate.profiles = vec![profile];
            meant
        });
    }

    /// Ends the trial.
    pub fn end(mut self) -> Sentence {
        let fits: Vec<&'static str> = self
            .candidates
            .iter()
            .filter(|candidate| candidate.fault.is_none())
            .flat_map(|candidate| candidate.profiles.iter().map(|profile| profile.name))
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
            profile: best.profiles[0],
            fits,
            newer: self.newer,
            fault: best.fault,
            events: best.session.events(),
            jobs: best.session.jobs(),
            replies: best.session.replies(),
            widened: best.session.widened(),
            stopped_at: best.session.stopped_at(),
        }
    }
}
