//! One QMP conversation, judged by every profile that may fit, in one pass.
//!
//! A greeting names the version, and so the profile. Before it, and without it, every profile is
//! tried; those that a message contradicts drop out. Profiles that behave alike are tried once.

use blockjob_model::profile::{REFERENCE, Release};
use blockjob_model::step::Kinds;
use blockjob_model::{Profile, Status};

use super::qmp::Session;
use super::{Extent, Observer};
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

impl Candidate {
    fn is_belied(&self) -> bool {
        self.session.gaps().belied
    }
}

/// The trial of one conversation.
pub struct Trial {
    candidates: Vec<Candidate>,
    /// The profile was given, so greetings do not matter.
    given: bool,
    named: bool,
    /// The release that greeted, where it is newer than every profile.
    newer: Option<(u32, u32)>,
    /// Behind the first fault it goes on.
    keep_going: bool,
    /// Once every profile is contradicted: by which it goes on.
    goes_on: Option<usize>,
    /// What was found since.
    further: Vec<Fault>,
    /// The recording leaves something out.
    partial: bool,
}

/// How many further faults are looked for.
const FURTHER_MAX: usize = 100;

/// How a trial ended.
pub struct Sentence {
    /// The profile that fits, or the one that went furthest.
    pub profile: &'static Profile,
    /// Every profile that fits.
    pub fits: Vec<&'static str>,
    /// What it was rejected for.
    pub fault: Option<Fault>,
    /// What else was found, where it went on.
    pub further: Vec<Fault>,
    /// Of each profile that was tried, what contradicted it first.
    pub tried: Vec<(&'static str, Option<Fault>)>,
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
    /// The first line that shows another client at work.
    pub others_at: Option<u64>,
    /// What the recording leaves out.
    pub gaps: Gaps,
}

/// What a recording leaves out, and what it does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gaps {
    /// The kinds of events that came.
    pub came: Kinds,
    /// How many events are missing, of kinds that never came.
    pub missing: u64,
    /// In how many places.
    pub places: u64,
    /// Those kinds.
    pub lacks: Kinds,
    /// The recording has the greeting with which a connection begins.
    pub greeted: bool,
    /// How many commands came.
    pub asked: u64,
    /// How many answers.
    pub answered: u64,
    /// How many events of jobs.
    pub told: u64,
    /// Something came that was taken to be left out.
    pub belied: bool,
}

impl Belief for Trial {
    fn profile(&self) -> &'static Profile {
        self.leader().profiles[0]
    }

    fn statuses(&self, job: &str) -> Vec<Status> {
        self.leader().session.statuses(job)
    }

    fn is_filtered(&self) -> bool {
        self.partial
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
            keep_going: false,
            goes_on: None,
            further: Vec::new(),
            partial: false,
        }
    }

    /// The recording has so much of the conversation.
    pub fn extent(&mut self, extent: Extent) {
        self.partial |= !matches!(extent, Extent::Auto | Extent::Whole);
        for candidate in &mut self.candidates {
            match extent {
                Extent::Auto | Extent::Whole => {}
                Extent::Filtered => candidate.session.filter(),
                Extent::Unanswered => candidate.session.leave_out_answers(),
                Extent::Without(unseen) => candidate.session.leave_out(unseen),
                Extent::Survey => candidate.session.survey(),
            }
        }
    }

    /// Behind a fault it goes on.
    pub fn keep_going(&mut self) {
        self.keep_going = true;
    }

    /// Takes the next message; `false` once every profile is contradicted, or the recording has what it was taken to leave
    /// out.
    pub fn take(&mut self, record: &Record<'_>) -> bool {
        let greeting = record.message.greeting;
        if !self.given && !self.named && greeting.is_present() {
            self.narrow(read_greeting(greeting));
        }
        let mut open = false;
        for candidate in &mut self.candidates {
            if candidate.fault.is_none() {
                match candidate.session.take(record) {
                    Ok(()) => open = true,
                    Err(fault) => candidate.fault = Some(fault),
                }
            }
        }
        if self.partial && self.candidates.iter().any(Candidate::is_belied) {
            return false;
        }
        open || self.keep_going && self.go_on(record)
    }

    /// Every profile is contradicted: goes on by the one that went furthest. `false` once enough was found.
    fn go_on(&mut self, record: &Record<'_>) -> bool {
        let (place, again) = if let Some(place) = self.goes_on {
            (place, true)
        } else {
            let place = self.furthest();
            let found = self.candidates[place].fault.as_ref();
            // What contradicts a line further up was taken for something else till now.
            (place, found.is_some_and(|fault| fault.line < record.line))
        };
        self.goes_on = Some(place);
        let mut left = 2;
        while again && left > 0 {
            left -= 1;
            let Err(fault) = self.candidates[place].session.take(record) else {
                break;
            };
            let earlier = fault.line < record.line;
            // A message of another version is no further fault each time it comes.
            let same = |other: &Fault| other.rule == fault.rule && fault.section == "11";
            let first = self.candidates[place].fault.as_ref();
            if !self.further.iter().chain(first).any(same) {
                self.further.push(fault);
            }
            if !earlier {
                break;
            }
        }
        self.further.len() < FURTHER_MAX
    }

    /// The place of the first of those candidates that went furthest; there is always one.
    fn furthest(&self) -> usize {
        let furthest = |candidate: &Candidate| {
            candidate
                .fault
                .as_ref()
                .map_or(u64::MAX, |fault| fault.line)
        };
        let mut best = 0;
        for place in 1..self.candidates.len() {
            if furthest(&self.candidates[place]) > furthest(&self.candidates[best]) {
                best = place;
            }
        }
        best
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

    /// How many faults were found so far.
    pub fn faults(&self) -> usize {
        usize::from(self.is_over()) + self.further.len()
    }

    /// Every profile was contradicted.
    pub fn is_over(&self) -> bool {
        self.candidates
            .iter()
            .all(|candidate| candidate.fault.is_some())
    }

    /// The first that is not contradicted, or else the first; there is always one.
    fn leader(&self) -> &Candidate {
        if let Some(place) = self.goes_on {
            return &self.candidates[place];
        }
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
        let tried = self
            .candidates
            .iter()
            .flat_map(|candidate| {
                let names = candidate.profiles.iter();
                names.map(|profile| (profile.name, candidate.fault.clone()))
            })
            .collect();
        let best = self.goes_on.unwrap_or_else(|| self.furthest());
        let best = self.candidates.swap_remove(best);
        Sentence {
            profile: best.profiles[0],
            fits,
            newer: self.newer,
            fault: best.fault,
            further: self.further,
            tried,
            events: best.session.events(),
            jobs: best.session.jobs(),
            replies: best.session.replies(),
            widened: best.session.widened(),
            stopped_at: best.session.stopped_at(),
            others_at: best.session.others_at(),
            gaps: best.session.gaps(),
        }
    }
}
