//! The judge of recorded executions: the specification's acceptor, one trace after the other.
//!
//! What it holds against an engine: every entry must be explained by the step relation, and at the
//! end nothing may be left undone (no job that is not final, no call without an answer, no callback
//! without its end). A record seen before is not judged again; records are told apart by 64 bits.

use std::collections::HashSet;

use blockjob_model::accept::{Acceptor, GroupKey, JobKey, SightPattern};
use blockjob_model::profile::REFERENCE;
use blockjob_model::state::{Group, JobSpec};
use blockjob_model::step::View;

use crate::obligations;
use crate::record::{self, Entry, Target};
use crate::story::Fault;
use crate::tool;

/// What the judge must know of a scenario: its groups and their members, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cast {
    /// The group and the specification of each job, in the order of their numbers.
    pub jobs: Vec<(u8, JobSpec)>,
}

/// Judges executions.
pub struct Judge {
    /// Finds one explanation, which is enough, and cheap where no record is like another …
    thin: Option<Acceptor>,
    /// … and who is asked where it finds none: all explanations, or the reason why there is none.
    whole: Acceptor,
    asked_again: u64,
    known: HashSet<u64>,
    executions: u64,
    /// Of them, those of which nothing is recorded.
    unrecorded: u64,
    widened: u64,
}

impl Default for Judge {
    fn default() -> Judge {
        Judge::new()
    }
}

impl Judge {
    /// A judge by profile `reference`, as strict as the tool's memory model permits.
    pub fn new() -> Judge {
        let view = if tool::WEAK_MEMORY {
            View::WEAK
        } else {
            View::FULL
        };
        Judge {
            thin: Some(Acceptor::thin(&REFERENCE, view)),
            whole: Acceptor::new(&REFERENCE, view),
            asked_again: 0,
            known: HashSet::new(),
            executions: 0,
            unrecorded: 0,
            widened: 0,
        }
    }

    /// The same, without the short way: every record is held against whole beliefs.
    pub fn thorough() -> Judge {
        Judge {
            thin: None,
            ..Judge::new()
        }
    }

    /// How many records the short way did not explain.
    pub fn asked_again(&self) -> u64 {
        self.asked_again
    }

    /// How many executions were given to it.
    pub fn executions(&self) -> u64 {
        self.executions
    }

    /// How many of them recorded nothing, so that only their own assertions were asked.
    pub fn unrecorded(&self) -> u64 {
        self.unrecorded
    }

    /// How many of them were judged less strictly, because too many worlds explained them.
    pub fn widened(&self) -> u64 {
        self.widened
    }

    /// How many of them differed.
    pub fn distinct(&self) -> u64 {
        self.known.len() as u64
    }

    /// Judges the record of one whole execution.
    ///
    /// # Errors
    ///
    /// The specification does not allow it.
    pub fn judge(&mut self, cast: &Cast, entries: &[Entry]) -> Result<(), Box<Fault>> {
        self.executions += 1;
        assert!(!entries.is_empty(), "an execution that recorded nothing");
        let digest = record::digest(&(cast, entries));
        if self.known.contains(&digest) {
            return Ok(());
        }
        let explained = match &mut self.thin {
            Some(thin) => whole(thin, cast, entries).is_ok() && thin.widened() == 0,
            None => false,
        };
        if !explained {
            self.asked_again += 1;
            whole(&mut self.whole, cast, entries)?;
            self.widened += u64::from(self.whole.widened() > 0);
        }
        obligations::of_record(entries)?;
        // Only what is allowed is remembered: whoever asks again about another is told again.
        self.known.insert(digest);
        Ok(())
    }

    /// Counts an execution of which nothing is recorded: what it has to say it asserts.
    pub fn pass(&mut self) {
        self.executions += 1;
        self.unrecorded += 1;
    }

    /// Judges an execution that is not over; what may come next.
    ///
    /// # Errors
    ///
    /// The specification does not allow what came so far.
    pub fn so_far(&mut self, cast: &Cast, entries: &[Entry]) -> Result<Vec<String>, Box<Fault>> {
        follow(&mut self.whole, cast, entries)?;
        Ok(self.whole.allowed())
    }
}

/// Shows an acceptor a whole execution.
fn whole(acceptor: &mut Acceptor, cast: &Cast, entries: &[Entry]) -> Result<(), Box<Fault>> {
    follow(acceptor, cast, entries)?;
    acceptor
        .finish()
        .map_err(|rejection| Box::new(Fault::of(entries.len(), rejection)))
}

/// Shows an acceptor an execution that may go on.
fn follow(acceptor: &mut Acceptor, cast: &Cast, entries: &[Entry]) -> Result<(), Box<Fault>> {
    acceptor.restart();
    let mut groups: Vec<GroupKey> = Vec::new();
    let mut jobs: Vec<JobKey> = Vec::new();
    // What a query has listed so far.
    let mut sights: Vec<(u8, JobKey, SightPattern)> = Vec::new();
    for (place, &(group, spec)) in cast.jobs.iter().enumerate() {
        while groups.len() <= usize::from(group) {
            groups.push(acceptor.group(Group::CLOSED));
        }
        jobs.push(acceptor.job(groups[usize::from(group)], &[spec], &format!("j{place}")));
    }
    for (place, entry) in entries.iter().enumerate() {
        let verdict = match *entry {
            Entry::Call {
                thread,
                target,
                request,
            } => {
                match target {
                    Target::Job(job) => {
                        let job = jobs[usize::from(job)];
                        acceptor.call(thread.into(), Some(job), request, false);
                    }
                    Target::Group(group) => {
                        acceptor.call_group(thread.into(), groups[usize::from(group)], request);
                    }
                    Target::All => acceptor.call(thread.into(), None, request, false),
                }
                Ok(())
            }
            Entry::Answer { thread, reply } => acceptor.answer(thread.into(), reply),
            Entry::Posted { thread } => acceptor.posted(thread.into()),
            Entry::Listed { thread, job, sight } => {
                sights.push((thread, jobs[usize::from(job)], sight));
                Ok(())
            }
            Entry::Looked { thread } => {
                let listed: Vec<_> = sights
                    .extract_if(.., |(by, ..)| *by == thread)
                    .map(|(_, job, sight)| (job, sight))
                    .collect();
                acceptor.looked(thread.into(), &listed)
            }
            Entry::Seen { job, seen } => acceptor.observe(jobs[usize::from(job)], seen),
        };
        verdict.map_err(|rejection| Fault::of(place, rejection))?;
    }
    Ok(())
}

#[cfg(all(test, not(any(blockjob_loom, blockjob_shuttle))))]
mod tests {
    use super::*;
    use crate::generate::{self, Choices, Sizes};
    use crate::harness::Case;
    use crate::record::Recorder;
    use blockjob_model::accept::Seen;
    use blockjob_model::status::Status;

    /// Enough for calls that meet, little enough for whole beliefs.
    const SIZES: Sizes = Sizes {
        jobs: 4,
        groups: 2,
        controllers: 3,
        asks: 5,
        acts: 3,
    };

    /// Answers that come later than they did, but before their thread asks again: as right as before.
    fn delay(entries: &mut [Entry], choices: &mut Choices) {
        for place in (0..entries.len()).rev() {
            let Entry::Answer { thread, .. } = entries[place] else {
                continue;
            };
            let asks =
                |entry: &Entry| matches!(*entry, Entry::Call { thread: by, .. } if by == thread);
            let rest = &entries[place + 1..];
            let most = rest.iter().position(asks).unwrap_or(rest.len());
            let later = choices.below(25).min(most);
            entries[place..=place + later].rotate_left(1);
        }
    }

    /// Calls that came earlier than they did, but after their thread was answered: as right as before.
    fn hasten(entries: &mut [Entry], choices: &mut Choices) {
        for place in 0..entries.len() {
            let Entry::Call { thread, target, .. } = entries[place] else {
                continue;
            };
            // Nobody can ask for what is not there.
            let before = |entry: &Entry| match *entry {
                Entry::Answer { thread: by, .. }
                | Entry::Looked { thread: by }
                | Entry::Posted { thread: by } => by == thread,
                Entry::Seen { job, seen } => {
                    seen == Seen::Status(Status::Created)
                        && !matches!(target, Target::Job(asked) if asked != job)
                }
                _ => false,
            };
            let rest = entries[..place].iter().rev();
            let most = rest.take_while(|&entry| !before(entry)).count();
            let earlier = choices.below(25).min(most);
            entries[place - earlier..=place].rotate_right(1);
        }
    }

    /// Something that may be a mistake.
    fn edit(entries: &mut Vec<Entry>, choices: &mut Choices) {
        let place = choices.below(entries.len() - 1);
        match choices.below(6) {
            0 => entries.swap(place, place + 1),
            1 => {
                entries.remove(place);
            }
            // Somebody is told what somebody else was told.
            _ => {
                let (answers, replies): (Vec<usize>, Vec<_>) = (0..)
                    .zip(entries.iter())
                    .filter_map(|(place, entry)| match entry {
                        Entry::Answer { reply, .. } => Some((place, *reply)),
                        _ => None,
                    })
                    .unzip();
                let told = replies[choices.below(replies.len())];
                if let Entry::Answer { reply, .. } =
                    &mut entries[answers[choices.below(answers.len())]]
                {
                    *reply = told;
                }
            }
        }
    }

    #[test]
    fn what_the_short_way_takes_whole_beliefs_take() {
        let mut judge = Judge::new();
        let mut verdicts = [[0_u32; 2]; 2];
        for number in 0..200 {
            let mut choices = Choices::new(7, number);
            let scenario = generate::world(SIZES, |below| choices.below(below));
            let recorder = Recorder::new();
            scenario.play(&recorder);
            let case = Case::Scenario(scenario);
            let played = recorder.read(<[Entry]>::to_vec);
            for change in 0..12 {
                let mut entries = played.clone();
                hasten(&mut entries, &mut choices);
                delay(&mut entries, &mut choices);
                if change % 4 > 0 {
                    edit(&mut entries, &mut choices);
                }
                let thin = judge.thin.as_mut().expect("a judge has one");
                let thin = whole(thin, &case.cast(), &entries).is_ok();
                let all = whole(&mut judge.whole, &case.cast(), &entries).is_ok();
                assert!(
                    all || !thin,
                    "world {number}: the short way takes what nothing explains: {entries:?}"
                );
                assert!(
                    all || change % 4 > 0,
                    "world {number} is refused: {entries:?}"
                );
                verdicts[usize::from(all)][usize::from(thin)] += 1;
            }
        }
        let [[refused, _], [missed, taken]] = verdicts;
        assert!(refused > 100, "both verdicts are met: {verdicts:?}");
        assert!(
            taken > 300 && missed * 50 < taken,
            "nearly all goes the short way: {verdicts:?}"
        );
    }
}
