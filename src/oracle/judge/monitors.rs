//! The conversations of several monitors in one file: each is judged by itself.
//!
//! They may be monitors of one daemon, whose clients then share its jobs, or of several. Which it is
//! a recording does not say; so nobody here is taken for the only client.

use blockjob_model::profile::REFERENCE;
use blockjob_model::{Profile, Status};

use super::trial::{Gaps, Sentence, Trial};
use super::{Extent, Observer};
use crate::oracle::reader::qmp::Record;
use crate::oracle::watch::Belief;

/// How many monitors are told apart. More names than this are no names of monitors.
const MONITORS_MAX: usize = 256;
/// The same, where they are known to be apart: as many as a host has daemons.
const APART_MAX: usize = 4096;

struct Monitor {
    name: String,
    trial: Trial,
    greeted: bool,
}

/// What the monitors of one file say.
pub struct Monitors {
    profile: Option<&'static Profile>,
    observer: Observer,
    all: Vec<Monitor>,
    /// Whose turn it was.
    last: usize,
    filtered: bool,
    /// They are monitors of different daemons.
    apart: bool,
    /// What came of those that are over, and how many they were.
    over: Option<Sentence>,
    over_count: usize,
    keep_going: bool,
    extent: Extent,
}

/// That of the monitor whose turn it was.
impl Belief for Monitors {
    fn profile(&self) -> &'static Profile {
        match self.all.get(self.last) {
            Some(monitor) => monitor.trial.profile(),
            None => self.profile.unwrap_or(&REFERENCE),
        }
    }

    fn statuses(&self, job: &str) -> Vec<Status> {
        self.all
            .get(self.last)
            .map_or_else(Vec::new, |monitor| monitor.trial.statuses(job))
    }

    fn has_begun(&self) -> bool {
        !self.all.is_empty()
    }

    fn is_filtered(&self) -> bool {
        self.filtered || !matches!(self.extent, Extent::Auto | Extent::Whole)
    }
}

impl Monitors {
    /// Monitors of daemons of `profile`, or of whichever fits each. Unless they are known to be `apart`,
    /// two may belong to one daemon.
    pub fn new(profile: Option<&'static Profile>, observer: Observer, apart: bool) -> Monitors {
        Monitors {
            profile,
            observer,
            all: Vec::new(),
            last: 0,
            filtered: false,
            apart,
            over: None,
            over_count: 0,
            keep_going: false,
            extent: Extent::Auto,
        }
    }

    /// The recording has so much of what they said.
    #[must_use]
    pub fn extent(self, extent: Extent) -> Monitors {
        Monitors { extent, ..self }
    }

    /// Behind a fault they go on.
    #[must_use]
    pub fn keep_going(self, keep_going: bool) -> Monitors {
        Monitors { keep_going, ..self }
    }

    /// The recording was filtered.
    pub fn filter(&mut self) {
        if !self.filtered {
            self.filtered = true;
            for monitor in &mut self.all {
                monitor.trial.filter();
            }
        }
    }

    /// Takes the next message, which came or went through the monitor `name`; `false` once it
    /// contradicts every profile.
    pub fn take(&mut self, name: &str, record: &Record<'_>) -> bool {
        if self.all.get(self.last).is_none_or(|last| last.name != name) {
            self.last = self.monitor(name);
        }
        let monitor = &mut self.all[self.last];
        if record.message.greeting.is_present() {
            if monitor.greeted && name.is_empty() {
                // Another connection in its place, or beside it.
                monitor.trial.filter();
            }
            monitor.greeted = true;
        }
        monitor.trial.take(record)
    }

    /// The place of the monitor of that name.
    fn monitor(&mut self, name: &str) -> usize {
        if let Some(place) = self.all.iter().position(|monitor| monitor.name == name) {
            return place;
        }
        let max = if self.apart { APART_MAX } else { MONITORS_MAX };
        if self.all.len() == max {
            // The last one stands for all that are left.
            let place = max - 1;
            self.all[place].trial.filter();
            return place;
        }
        let mut trial = Trial::new(self.profile, self.observer);
        trial.extent(self.extent);
        if self.filtered {
            trial.filter();
        }
        if self.keep_going {
            trial.keep_going();
        }
        if !self.apart && self.observer == Observer::Auto && !self.all.is_empty() {
            trial.share();
            if self.all.len() == 1 {
                self.all[0].trial.share();
            }
        }
        self.all.push(Monitor {
            name: name.to_owned(),
            trial,
            greeted: false,
        });
        self.all.len() - 1
    }

    /// The monitor `name` is over; what comes through one of that name is another conversation. Of its
    /// faults the first so many are some; what contradicted it beyond that is none.
    pub fn close(&mut self, name: &str, faults: usize) {
        let place = self.all.iter().position(|monitor| monitor.name == name);
        if let Some(place) = place {
            let monitor = self.all.swap_remove(place);
            self.bury(monitor, faults);
        }
    }

    /// How many faults of the monitor `name` were found so far.
    pub fn faults(&self, name: &str) -> usize {
        let monitor = self.all.iter().find(|monitor| monitor.name == name);
        monitor.map_or(0, |monitor| monitor.trial.faults())
    }

    /// All of them are over.
    pub fn close_all(&mut self) {
        for monitor in std::mem::take(&mut self.all) {
            self.bury(monitor, 0);
        }
    }

    fn bury(&mut self, monitor: Monitor, faults: usize) {
        let mut sentence = monitor.trial.end();
        sentence.further.truncate(faults.saturating_sub(1));
        if faults == 0 && sentence.fault.take().is_some() {
            sentence.fits.clear();
        }
        self.over_count += 1;
        match &mut self.over {
            Some(over) => join(over, &sentence),
            over => *over = Some(sentence),
        }
    }

    /// How many there are, or were.
    pub const fn count(&self) -> usize {
        self.all.len() + self.over_count
    }

    /// Ends all of them: what is to be said of them together.
    pub fn end(mut self) -> Sentence {
        // The one that was contradicted speaks for all, else the first.
        let speaks = self.all.iter().position(|monitor| monitor.trial.is_over());
        let over = self.over.take();
        let mut others = self.all.into_iter();
        let (mut all, rest) = match (speaks, over) {
            (Some(place), over) => {
                let mut monitors: Vec<Monitor> = others.by_ref().collect();
                let speaker = monitors.remove(place);
                (speaker.trial.end(), (over, monitors.into_iter()))
            }
            (None, Some(over)) => (over, (None, others)),
            (None, None) => match others.next() {
                Some(first) => (first.trial.end(), (None, others)),
                None => return Trial::new(self.profile, self.observer).end(),
            },
        };
        let (over, others) = rest;
        for other in over
            .into_iter()
            .chain(others.map(|monitor| monitor.trial.end()))
        {
            join(&mut all, &other);
        }
        all
    }
}

/// What is to be said of two together; the first speaks.
fn join(all: &mut Sentence, other: &Sentence) {
    all.events += other.events;
    all.jobs += other.jobs;
    all.replies += other.replies;
    all.widened += other.widened;
    all.newer = all.newer.or(other.newer);
    all.stopped_at = all.stopped_at.or(other.stopped_at);
    all.others_at = all.others_at.or(other.others_at);
    all.gaps = Gaps {
        came: all.gaps.came.and(other.gaps.came),
        missing: all.gaps.missing + other.gaps.missing,
        places: all.gaps.places + other.gaps.places,
        lacks: all.gaps.lacks.and(other.gaps.lacks),
        greeted: all.gaps.greeted || other.gaps.greeted,
        asked: all.gaps.asked + other.gaps.asked,
        answered: all.gaps.answered + other.gaps.answered,
        told: all.gaps.told + other.gaps.told,
        belied: all.gaps.belied || other.gaps.belied,
    };
    if all.fault.is_none() && other.fault.is_some() {
        all.fault.clone_from(&other.fault);
        all.profile = other.profile;
        all.fits.clear();
        all.tried.clone_from(&other.tried);
    } else {
        all.further.extend(other.fault.iter().cloned());
    }
    all.further.extend(other.further.iter().cloned());
    if all.fits.is_empty() && all.fault.is_none() {
        all.fits.clone_from(&other.fits);
        all.profile = other.profile;
    } else if all.fits.iter().any(|fits| other.fits.contains(fits)) {
        all.fits.retain(|fits| other.fits.contains(fits));
        all.profile = all
            .fits
            .first()
            .and_then(|name| Profile::by_name(name))
            .unwrap_or(all.profile);
    }
}
