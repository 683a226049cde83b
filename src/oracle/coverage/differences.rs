//! Which differences between profiles a trace shows.
//!
//! Beside the profile that a trace is judged by, it is held against each of its variants: the same profile with one
//! switch turned to where another profile has it. A variant that the trace contradicts shows the switch: no
//! implementation that differs in this alone could have left this trace. A variant that is not contradicted proves
//! nothing, and widened beliefs can miss one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use blockjob_model::Profile;
use blockjob_model::profile::{ASPECTS, Told};

use super::Item;
use crate::oracle::judge::monitors::Monitors;
use crate::oracle::judge::{Observer, libvirt, log, native};
use crate::oracle::watch::{Belief, Read};

/// How many messages, records or lines of a trace are held against the variants. Beyond it the trace is judged
/// by its own profile alone, at full speed.
pub const JUDGED_BESIDE_MAX: u32 = 20_000;

/// A profile with one switch turned.
pub(super) struct Variant {
    pub item: Item,
    profile: &'static Profile,
}

/// The variants of a profile, each value of each switch that any profile has once.
pub(super) fn of(profile: &'static Profile) -> &'static [Variant] {
    // Made once for each profile, of which there are few, and kept: judges want profiles that stay.
    static MADE: Mutex<Option<HashMap<&str, &[Variant]>>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.get_or_insert_default()
        .entry(profile.name)
        .or_insert_with(|| Box::leak(make(profile).into_boxed_slice()))
}

fn make(profile: &'static Profile) -> Vec<Variant> {
    let mut variants = Vec::new();
    for (place, aspect) in ASPECTS.iter().enumerate() {
        if aspect.told == Told::Words {
            continue;
        }
        let here = (aspect.value)(profile);
        let mut seen = vec![here];
        for other in Profile::ALL {
            let there = (aspect.value)(other);
            if !seen.contains(&there)
                && let Some(varied) = profile.varied(aspect, other)
            {
                seen.push(there);
                variants.push(Variant {
                    item: Item::Difference(place, here, there),
                    profile: Box::leak(Box::new(varied)),
                });
            }
        }
    }
    variants
}

/// A judge of one variant.
enum Judge {
    Conversation(Box<Monitors>),
    Native(Box<native::Judge>),
    Log(log::Judge),
    Libvirt(Box<libvirt::Judge>),
}

impl Judge {
    fn new(profile: &'static Profile, observer: Observer, read: &Read<'_>) -> Option<Judge> {
        Some(match read {
            Read::Message(..) => {
                Judge::Conversation(Box::new(Monitors::new(Some(profile), observer, false)))
            }
            Read::Native(..) => Judge::Native(Box::new(native::Judge::new(profile, observer))),
            Read::Log(_) => Judge::Log(log::Judge::new(Some(profile))?),
            Read::Libvirt(_) => Judge::Libvirt(Box::new(libvirt::Judge::new(
                Some(profile),
                observer,
                false,
            ))),
        })
    }

    /// Whether it goes on.
    fn take(&mut self, read: &Read<'_>, filtered: bool) -> bool {
        match (self, read) {
            (Judge::Conversation(monitors), Read::Message(name, record)) => {
                if filtered {
                    monitors.filter();
                }
                monitors.take(name, record)
            }
            // What is no record stops the judgement itself; it shows nothing.
            (Judge::Native(judge), Read::Native(line, record)) => {
                !matches!(judge.take(*line, record), Err(native::Stop::Fault(_)))
            }
            (Judge::Log(judge), Read::Log(entry)) => judge.take(entry).is_ok(),
            (Judge::Libvirt(judge), Read::Libvirt(entry)) => judge.take(entry),
            _ => true,
        }
    }
}

/// The variants, judged beside a trace.
pub(super) struct Beside {
    observer: Observer,
    /// Whose variants they are, once it is known.
    profile: Option<&'static Profile>,
    judges: Vec<(Item, Judge)>,
    shown: Vec<(Item, u64)>,
    taken: u32,
}

impl Beside {
    pub const fn new(observer: Observer) -> Beside {
        Beside {
            observer,
            profile: None,
            judges: Vec::new(),
            shown: Vec::new(),
            taken: 0,
        }
    }

    /// What was read, before `judge`, who judges by the profile itself, takes it.
    pub fn take(&mut self, read: &Read<'_>, judge: &dyn Belief) {
        let (line, begins) = match read {
            Read::Message(_, record) => (record.line, record.message.greeting.is_present()),
            Read::Native(line, record) => (*line, record.version.is_present()),
            Read::Log(entry) => (entry.line, false),
            // Its judge hands greetings over by itself.
            Read::Libvirt(entry) => (entry.line, false),
        };
        if begins {
            // What a greeting or header says of the profile is known behind it. A second one begins something
            // else, which is not held against variants.
            self.judges.clear();
            return;
        }
        if self.profile.is_none() {
            // libvirt's greetings reach a conversation with its first command; what goes before is the handshake.
            if matches!(read, Read::Libvirt(_)) && !judge.has_begun() {
                return;
            }
            let profile = judge.profile();
            self.profile = Some(profile);
            self.judges = of(profile)
                .iter()
                .filter_map(|variant| {
                    let judge = Judge::new(variant.profile, self.observer, read)?;
                    Some((variant.item, judge))
                })
                .collect();
        }
        if self.judges.is_empty() {
            return;
        }
        self.taken += 1;
        if self.taken > JUDGED_BESIDE_MAX {
            self.judges.clear();
            return;
        }
        let filtered = judge.is_filtered();
        let shown = &mut self.shown;
        self.judges.retain_mut(|(item, judge)| {
            let goes_on = judge.take(read, filtered);
            if !goes_on {
                shown.push((*item, line));
            }
            goes_on
        });
    }

    /// What was shown, and in which line, of a trace that was judged by `profile`.
    pub fn end(self, profile: &'static Profile) -> Vec<(Item, u64)> {
        match self.profile {
            Some(of) if of.name == profile.name => self.shown,
            // Another than the one that looked likeliest at first.
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use blockjob_model::profile::{QEMU_10_0, REFERENCE};

    use super::*;

    #[test]
    fn each_profile_has_a_variant_for_each_value_that_any_other_has() {
        for profile in Profile::ALL {
            let variants = of(profile);
            let wanted: usize = ASPECTS
                .iter()
                .filter(|aspect| aspect.told != Told::Words)
                .map(|aspect| {
                    let mut values: Vec<_> = Profile::ALL.map(aspect.value).to_vec();
                    values.sort_unstable();
                    values.dedup();
                    values.len() - 1
                })
                .sum();
            assert_eq!(variants.len(), wanted, "{}", profile.name);
        }
        assert!(std::ptr::eq(of(&REFERENCE), of(&REFERENCE)), "made once");
        assert_ne!(of(&QEMU_10_0)[0].item.name(), "");
    }
}
