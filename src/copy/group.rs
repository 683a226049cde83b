//! The commit of a group of copies: every new file takes its name, or none does.
//!
//! The engine commits members one by one and lets none of them fail. Names can fail to be exchanged, so the first
//! member to be committed exchanges the names of all: whatever fails then is undone at once, while nobody has been
//! told that anything was committed, and the old files are kept until all is done.
//!
//! A crash in the middle of it must not leave names of both kinds for good. So before the first exchange, when the
//! last member has prepared, the decision is brought to the disk, in the group's journal; whoever finds that finishes
//! or undoes what was begun ([`recover`](super::recover)).

use super::journal::Journal;
use super::options::Durability;
use super::replace::Replacement;
use super::report::{CopyReport, Ending};
use super::work::lock;
use crate::driver::JobError;
use crate::io::stat::Identity;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// The replacements that are published together.
#[derive(Debug)]
pub(super) struct CommitGroup {
    durability: Durability,
    /// Emptied by the commit.
    members: Mutex<Vec<Member>>,
    /// Members that are ready to be committed.
    prepared: AtomicUsize,
    /// Somebody left.
    left: AtomicBool,
    /// Until the group has committed or is given up: a job that somebody keeps holds no descriptor by it.
    journal: Mutex<Option<Arc<Journal>>>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub replacement: Arc<Replacement>,
    pub report: Arc<CopyReport>,
}

impl CommitGroup {
    pub fn new(durability: Durability) -> Self {
        Self {
            durability,
            members: Mutex::new(Vec::new()),
            prepared: AtomicUsize::new(0),
            left: AtomicBool::new(false),
            journal: Mutex::new(None),
        }
    }

    /// Where the decision is recorded. Without it a group of several does not survive a crash as a whole.
    pub fn record_in(&self, journal: Arc<Journal>) {
        let before = lock(&self.journal).replace(journal);
        debug_assert!(before.is_none(), "a group has one journal");
    }

    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        lock(&self.members)
    }

    pub fn join(&self, member: Member) {
        self.members().push(member);
    }

    /// A member ends well and takes no name. Before any member is prepared.
    pub fn leave(&self, replacement: &Arc<Replacement>) {
        self.members()
            .retain(|member| !Arc::ptr_eq(&member.replacement, replacement));
        self.left.store(true, Ordering::Release);
    }

    /// Whether some members have left and others have not: then nobody's name may be taken.
    pub fn is_torn(&self) -> bool {
        self.left.load(Ordering::Acquire) && !self.members().is_empty()
    }

    /// A member is ready. With the last of several the group decides. Main loop.
    pub fn prepared(&self) -> Result<(), JobError> {
        let all = self.members().len();
        let ready = self.prepared.fetch_add(1, Ordering::AcqRel) + 1;
        let journal = lock(&self.journal).clone();
        match journal {
            Some(journal) if all > 1 && ready == all => journal.decide(),
            _ => Ok(()),
        }
    }

    /// The group aborts: nobody publishes any more. Each member discards its own file.
    pub fn dissolve(&self) {
        let members = std::mem::take(&mut *self.members());
        if let Some(journal) = lock(&self.journal).take()
            && !members.is_empty()
            && self.prepared.load(Ordering::Acquire) > 0
        {
            // It may have decided just before.
            journal.undo();
        }
    }

    /// Publishes every member, or none. Only the first call does anything. Main loop.
    pub fn commit(&self) {
        let members = std::mem::take(&mut *self.members());
        // One by itself records no decision.
        let journal = lock(&self.journal).take().filter(|_| members.len() > 1);
        let journal = journal.as_deref();
        for (index, member) in members.iter().enumerate() {
            if let Err(error) = member.replacement.publish(members.len() == 1) {
                undo(&members, index, &error, self.durability, journal);
                return;
            }
        }
        let unsynced = sync_folders(&members, "committed", self.durability);
        if let Some(journal) = journal {
            // Else the old files go, although the new names may not last.
            journal.done(true);
        }
        for member in &members {
            let ending = match unsynced
                .iter()
                .find(|(folder, _)| folder_of(member) == *folder)
            {
                Some((_, error)) => Ending::DurabilityUnknown(error.clone()),
                None => Ending::Committed,
            };
            member.report.set_ending(ending);
            // Only now: until here every old file could be given its name back.
            if member.replacement.settle().is_err() {
                member
                    .report
                    .set_left_behind(member.replacement.temporary_path());
            }
        }
    }
}

/// Takes back what the members up to `failed` published, newest first, and removes all new files. The old names are
/// durable before the new files go: a power cut may have kept the exchange and not its undoing.
fn undo(
    members: &[Member],
    failed: usize,
    error: &JobError,
    durability: Durability,
    journal: Option<&Journal>,
) {
    if let Some(journal) = journal {
        journal.undo();
    }
    let mut stuck = vec![false; members.len()];
    // The one that failed, too, as far as it came.
    for (index, member) in members[..=failed].iter().enumerate().rev() {
        let ending = match member.replacement.take_back() {
            Ok(()) => Ending::Undone(error.clone()),
            Err(error) => {
                stuck[index] = true;
                Ending::Stuck(error)
            }
        };
        member.report.set_ending(ending);
    }
    for member in &members[failed + 1..] {
        member.report.set_ending(Ending::Undone(error.clone()));
    }
    for (folder, error) in sync_folders(&members[..failed], "put back", durability) {
        for (member, _) in members[..failed]
            .iter()
            .zip(&stuck)
            .filter(|(member, stuck)| !**stuck && folder_of(member) == folder)
        {
            member.report.set_ending(Ending::Undone(error.clone()));
        }
    }
    if let Some(journal) = journal {
        if stuck.contains(&true) {
            // What could not be put back now may be later.
            let kept = journal.keep();
            for member in members {
                member.report.set_journal(kept.clone());
            }
        } else {
            journal.done(false);
        }
    }
    for (member, stuck) in members.iter().zip(stuck) {
        // A new file that keeps its name, and took nobody's, has left nothing beside it.
        let left = if stuck {
            member.replacement.has_left()
        } else {
            member.replacement.discard().is_err()
        };
        if left {
            member
                .report
                .set_left_behind(member.replacement.temporary_path());
        }
    }
}

fn folder_of(member: &Member) -> Identity {
    member.replacement.place.folder.identity()
}

/// Syncs each folder once, and its device where everything is to be durable; returns those that failed.
fn sync_folders(
    members: &[Member],
    done: &str,
    durability: Durability,
) -> Vec<(Identity, JobError)> {
    let (mut synced, mut failed) = (Vec::new(), Vec::new());
    if durability == Durability::None {
        return failed;
    }
    for member in members {
        let folder = folder_of(member);
        if synced.contains(&folder) {
            continue;
        }
        let opened = &member.replacement.place.folder;
        let mut answer = opened.sync();
        if durability == Durability::Full {
            answer = answer.and_then(|()| opened.sync_device());
        }
        synced.push(folder);
        if let Err(cause) = answer {
            failed.push((folder, member.replacement.folder_not_synced(done, &cause)));
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::around::Around;
    use crate::copy::options::CopyOptions;
    use crate::copy::report::Method;
    use crate::copy::source::Source;
    use crate::copy::target::{Target, resolve};
    use std::io::Write as _;
    use std::path::Path;

    fn member(group: &CommitGroup, folder: &Path, name: &str) -> Arc<CopyReport> {
        let (from, to) = (folder.join("source"), folder.join(name));
        std::fs::write(&from, "source").unwrap();
        let source = Source::open(&from).unwrap();
        let Target::Replace(place) = resolve(
            &to,
            &source,
            &CopyOptions::default(),
            &mut Around::default(),
        )
        .unwrap() else {
            panic!("a regular target is replaced")
        };
        let (replacement, mut file) = Replacement::create(place).unwrap();
        file.write_all(b"new").unwrap();
        let report = Arc::new(CopyReport::new(
            &from,
            &to,
            Method::Replace,
            3,
            &CopyOptions::new(),
        ));
        group.join(Member {
            replacement: Arc::new(replacement),
            report: Arc::clone(&report),
        });
        report
    }

    fn state(folder: &Path) -> Vec<(String, String)> {
        let mut all: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, std::fs::read_to_string(path).unwrap())
            })
            .filter(|(name, _)| name != "source")
            .collect();
        all.sort();
        all
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn all_names_are_exchanged_by_the_first_commit_and_old_files_go() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("b"), "old").unwrap();
        let group = CommitGroup::new(Durability::Data);
        let reports: Vec<_> = ["a", "b", "c"]
            .map(|name| member(&group, scratch.path(), name))
            .into();
        group.commit();
        group.commit();
        assert_eq!(
            state(scratch.path()),
            pairs(&[("a", "new"), ("b", "new"), ("c", "new")])
        );
        assert!(
            reports
                .iter()
                .all(|report| report.summary().ending == Ending::Committed)
        );
    }

    #[test]
    fn a_name_that_cannot_be_taken_undoes_those_before_it() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("b"), "old").unwrap();
        let group = CommitGroup::new(Durability::Data);
        let reports: Vec<_> = ["a", "b", "c", "d"]
            .map(|name| member(&group, scratch.path(), name))
            .into();
        // After the last look of `prepare`, somebody makes a file of that name.
        std::fs::write(scratch.path().join("c"), "theirs").unwrap();
        group.commit();
        assert_eq!(
            state(scratch.path()),
            pairs(&[("b", "old"), ("c", "theirs")])
        );
        for report in reports {
            let ending = report.summary().ending;
            let Ending::Undone(error) = &ending else {
                panic!("{ending:?}")
            };
            assert!(
                error.to_string().contains("/c: "),
                "names the culprit: {error}"
            );
        }
    }
}
