//! A commit that a crash interrupted: finished or undone, by what is found.
//!
//! | the journal says | what is found | what is done |
//! |---|---|---|
//! | nothing was decided | | nothing: every target is what it was |
//! | decided | every new file, under the one name or the other | finished |
//! | decided | a new file is missing, and every old one is there | undone |
//! | being undone | every old file that had been there | undone |
//! | done | | what is left beside the targets is removed |
//! | otherwise | | nothing; the files that are in the way are named |
//!
//! Files are known by number and birth, so that nobody else's is exchanged or removed. Where the data was not synced
//! (`--sync none`), a commit of another run of the kernel is never finished: the new files may be empty.

use super::content::{Content, Stage};
use super::file::{JournalFile, Spot, Taken};
use super::record::{Member, Record};
use super::tuning::Tuning;
use crate::copy::error::{CopyError, cause_text};
use crate::copy::metadata::Metadata;
use crate::copy::names::{journal_name, twin};
use crate::copy::replace::{Replacement, State};
use crate::copy::target::{Existing, Place};
use crate::io::folder::{Folder, Name};
use crate::io::stat::Stat;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What became of the targets of an interrupted commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovery {
    /// The group had not decided: every target is what it was. The copy can be continued.
    Undecided,
    /// Every target is the new file.
    Finished,
    /// Every target is what it was.
    Undone,
}

/// A recovery, summed up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// What was done.
    pub recovery: Recovery,
    /// The journal that told of it; removed, unless nothing had been decided.
    pub journal: PathBuf,
    /// The targets.
    pub targets: Vec<PathBuf>,
    /// Files beside them that could not be removed.
    pub left_behind: Vec<PathBuf>,
}

/// Finishes or undoes the commit of a group that a crash interrupted: by what is found, all targets are new afterwards
/// or all are what they were. Any thread; blocks while names are synced.
///
/// # Errors
/// The journal cannot be used, or is in use; or files are in the way of both, and nothing was changed. An error of the
/// kernel leaves the rest to the next try.
pub fn recover(journal: &Path) -> Result<Recovered, CopyError> {
    recover_with(journal, &Tuning::default())
}

pub(in crate::copy) fn recover_with(
    journal: &Path,
    tuning: &Tuning,
) -> Result<Recovered, CopyError> {
    let Taken {
        file,
        content,
        damage,
    } = take(&Spot::at(journal)?)?;
    if let Some(at) = damage {
        return Err(file.spot.damaged(at));
    }
    let same_boot = content.is_of_boot(tuning.boot());
    let found = Found::look(&content, same_boot, &file.spot)?;
    // Else a commit of before a power cut may have given names to empty files.
    let whole = content.synced || same_boot;
    let recovery = match content.stage {
        Stage::Done { committed: true } => Recovery::Finished,
        Stage::Decided if whole && found.iter().all(Found::can_be_new) => Recovery::Finished,
        Stage::Decided | Stage::Undoing | Stage::Done { committed: false } => Recovery::Undone,
        // A single name needs no decision: it is given in one step.
        Stage::Copying if whole && is_committed(&found) => Recovery::Finished,
        Stage::Copying => Recovery::Undecided,
    };
    let mut recovered = Recovered {
        recovery,
        journal: file.spot.path.clone(),
        targets: content.members.iter().map(path_of).collect(),
        left_behind: Vec::new(),
    };
    if recovery != Recovery::Undecided {
        let mut work = Work {
            file,
            content,
            found,
        };
        work.bring_names(recovery)?;
        recovered.left_behind = work.settle(recovery);
    }
    Ok(recovered)
}

/// Opens and locks the journal, or the one that this file says is it.
fn take(spot: &Spot) -> Result<Taken, CopyError> {
    let missing = |reason: String| CopyError::Journal {
        path: spot.path.clone(),
        reason,
    };
    let none = || missing("it does not exist".to_owned());
    let taken = spot.take()?.ok_or_else(none)?;
    let Some(path) = &taken.content.elsewhere else {
        return Ok(taken);
    };
    let gone = || {
        missing(format!(
            "it says that the journal is {}, where there is none",
            path.display()
        ))
    };
    let elsewhere = Spot::at(path)?.take()?.ok_or_else(gone)?;
    match elsewhere.content.elsewhere {
        None => Ok(elsewhere),
        Some(_) => Err(missing(
            "it leads from file to file and to no journal".to_owned(),
        )),
    }
}

fn path_of(member: &Member) -> PathBuf {
    member.folder.join(&member.name)
}

/// Whether this is a single copy that came to its end.
fn is_committed(found: &[Found]) -> bool {
    matches!(found, [one] if one.is_new())
}

/// One member, as it was found.
#[derive(Debug)]
struct Found {
    replacement: Replacement,
    state: State,
    /// The new file is gone, and the target is what it was.
    gone: bool,
    /// Where names cannot be exchanged, the old file may have a second name.
    twin: Option<Name>,
    /// Somebody else's file has the target's name, or nobody's.
    strange: bool,
}

impl Found {
    fn look(content: &Content, same_boot: bool, spot: &Spot) -> Result<Vec<Self>, CopyError> {
        let mut folders = HashMap::new();
        let mut all = Vec::with_capacity(content.members.len());
        for member in &content.members {
            let mixed = |reason: String| CopyError::Mixed {
                path: spot.path.clone(),
                reason,
            };
            let folder = if let Some(folder) = folders.get(&member.folder) {
                Arc::clone(folder)
            } else {
                let path = member.folder.display();
                let unusable = |cause: io::Error| {
                    let why = cause_text(&cause);
                    mixed(format!("folder {path} cannot be opened: {why}"))
                };
                let folder = Folder::open(&member.folder).map_err(unusable)?;
                let now = folder.stat_self().map_err(unusable)?;
                if !member.folder_id.is(&now, same_boot) {
                    return Err(mixed(format!("folder {path} is another than it was")));
                }
                let folder = Arc::new(folder);
                folders.insert(member.folder.clone(), Arc::clone(&folder));
                folder
            };
            let failed = |cause: io::Error| {
                mixed(format!(
                    "target {} cannot be looked at: {}",
                    path_of(member).display(),
                    cause_text(&cause)
                ))
            };
            all.push(Self::one(member, folder, same_boot).map_err(failed)?);
        }
        Ok(all)
    }

    fn one(member: &Member, folder: Arc<Folder>, same_boot: bool) -> io::Result<Self> {
        let name = Name::new(&member.name)?;
        let temporary = Name::new(&member.temporary)?;
        let second = twin(&temporary)?;
        let at_name = folder.stat(&name)?;
        let beside = folder.stat(&temporary)?;
        let at_second = folder.stat(&second)?;
        let is_new = |stat: &Option<Stat>| {
            stat.as_ref()
                .is_some_and(|stat| member.new.is(stat, same_boot))
        };
        let is_old = |stat: &Option<Stat>| match (stat, &member.old) {
            (Some(stat), Some(old)) => old.is(stat, same_boot),
            _ => false,
        };
        let twin = is_old(&at_second).then(|| second.clone());
        let as_before = match &member.old {
            Some(_) => is_old(&at_name),
            None => at_name.is_none(),
        };
        let (mut gone, mut strange) = (false, false);
        let state = if is_new(&at_name) {
            if is_new(&beside) {
                State::Both
            } else if is_old(&beside) {
                State::Exchanged
            } else if twin.is_some() {
                State::Backed(second)
            } else {
                State::New
            }
        } else if is_new(&beside) {
            strange = !as_before;
            State::Beside
        } else {
            gone = true;
            strange = !as_before;
            State::Done
        };
        // The device may have a new number; from here on only this run of the kernel matters.
        let existing = match &state {
            State::Exchanged => beside.as_ref(),
            State::Backed(_) => at_second.as_ref(),
            State::Beside if !strange => at_name.as_ref(),
            _ => None,
        };
        let existing = existing.map(|stat| Existing::known(super::FileId::of(stat)));
        let place = Place {
            metadata: Metadata::for_new(folder.at_open(), 0),
            path: path_of(member),
            existing,
            folder,
            name,
        };
        Ok(Self {
            replacement: Replacement::found(place, temporary, state.clone()),
            gone,
            twin,
            strange,
            state,
        })
    }

    /// Whether the target is the new file.
    fn is_new(&self) -> bool {
        matches!(
            self.state,
            State::New | State::Both | State::Exchanged | State::Backed(_)
        )
    }

    fn can_be_new(&self) -> bool {
        self.is_new() || !self.gone && !self.strange
    }

    /// Whether the target can be what it was: `had` says whether there was a file.
    fn can_be_old(&self, had: bool) -> bool {
        match self.state {
            State::New | State::Both => !had,
            _ => !self.strange,
        }
    }

    fn path(&self) -> String {
        self.replacement.place.path.display().to_string()
    }
}

/// What has to be done, with all that is needed for it.
struct Work {
    file: JournalFile,
    content: Content,
    found: Vec<Found>,
}

impl Work {
    fn members(&self) -> impl DoubleEndedIterator<Item = (&Member, &Found)> {
        self.content.members.iter().zip(&self.found)
    }

    /// Brings every name to one side, and that to the disk.
    fn bring_names(&mut self, to: Recovery) -> Result<(), CopyError> {
        let done = matches!(self.content.stage, Stage::Done { .. });
        let in_the_way: Vec<String> = self
            .members()
            .filter(|_| !done)
            .filter(|(member, found)| match to {
                Recovery::Undone => !found.can_be_old(member.old.is_some()),
                _ => matches!(self.content.stage, Stage::Decided) && !found.can_be_new(),
            })
            .map(|(_, found)| {
                let what = match (found.is_new(), found.strange) {
                    (true, _) => "is new, and its old file is gone",
                    (false, true) => "is neither its old file nor its new one",
                    (false, false) => "has no new file",
                };
                format!("target {} {what}", found.path())
            })
            .collect();
        if !in_the_way.is_empty() {
            return Err(self.mixed(in_the_way.join("; ")));
        }
        for (_, found) in self.members() {
            if done {
                break;
            }
            let answer = match to {
                Recovery::Finished => Self::finish(found),
                _ => Self::undo(found),
            };
            answer.map_err(|reason| self.mixed(reason))?;
        }
        let mut synced = Vec::new();
        for (_, found) in self.members() {
            let folder = &found.replacement.place.folder;
            if synced.iter().any(|known| Arc::ptr_eq(known, folder)) {
                continue;
            }
            synced.push(Arc::clone(folder));
            folder.sync().map_err(|cause| {
                self.mixed(format!(
                    "the folder of target {} cannot be synced: {}",
                    found.path(),
                    cause_text(&cause)
                ))
            })?;
        }
        let record = Record::Done {
            committed: to == Recovery::Finished,
        };
        if !done {
            // It says only what can be seen; without it the next one looks again.
            let _ = self
                .file
                .cut()
                .and_then(|()| self.file.append(&[record]))
                .and_then(|()| self.file.sync());
        }
        Ok(())
    }

    fn mixed(&self, reason: String) -> CopyError {
        CopyError::Mixed {
            path: self.file.spot.path.clone(),
            reason,
        }
    }

    fn finish(found: &Found) -> Result<(), String> {
        let folder = &found.replacement.place.folder;
        match found.state {
            State::Both => folder
                .unlink(found.replacement.temporary())
                .map_err(|cause| cause_text(&cause)),
            State::Beside => {
                if let Some(twin) = &found.twin {
                    folder.unlink(twin).map_err(|cause| cause_text(&cause))?;
                }
                found
                    .replacement
                    .publish(false)
                    .map_err(|error| error.to_string())
            }
            _ => Ok(()),
        }
    }

    fn undo(found: &Found) -> Result<(), String> {
        if let (State::Beside, Some(twin)) = (&found.state, &found.twin) {
            let folder = &found.replacement.place.folder;
            folder.unlink(twin).map_err(|cause| cause_text(&cause))?;
        }
        found
            .replacement
            .take_back()
            .map_err(|error| error.to_string())
    }

    /// Removes what is left beside the targets, then the journal. The files that could not be removed.
    fn settle(self, to: Recovery) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for (_, found) in self.members() {
            let replacement = &found.replacement;
            let answer = match to {
                Recovery::Finished => replacement.settle(),
                _ => replacement.discard(),
            };
            if answer.is_err() {
                left.push(replacement.temporary_path());
            }
        }
        remove_pointers(&self.content, &self.file.spot);
        if self.file.remove().is_err() {
            left.push(self.file.spot.path.clone());
        }
        left
    }
}

/// Removes the files that say where this journal is.
pub(in crate::copy) fn remove_pointers(content: &Content, journal: &Spot) {
    let Ok(path) = journal.real_path() else {
        return;
    };
    let mut seen: Vec<&Path> = Vec::new();
    for member in &content.members {
        if seen.contains(&&*member.folder) {
            continue;
        }
        seen.push(&member.folder);
        let name = Name::new(&member.name).and_then(|name| journal_name(&name));
        let Ok(name) = name else { continue };
        let Ok(spot) = Spot::at(&member.folder.join(name.to_os_string())) else {
            continue;
        };
        if let Ok(Some(taken)) = spot.take()
            && (taken.content.elsewhere.as_ref() == Some(&path) || taken.content.records == 0)
            && spot.real_path().is_ok_and(|pointer| pointer != path)
        {
            let _ = taken.file.remove();
        }
    }
}
