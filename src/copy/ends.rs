//! Both ends of every copy of a plan, made when it starts: new files beside their targets, those of a dead copy that
//! is continued, and the journal of them all.

use super::backup::{Ends, Open};
use super::checked::Checked;
use super::error::{CopyError, cause_text};
use super::journal::resume::{self, Continued};
use super::journal::{FileId, Journal, Member, Ranges, Spot, Stage, Taken};
use super::leftover::Search;
use super::options::{CopyOptions, Durability};
use super::parked::{Known, Parked};
use super::plan::CopyPlan;
use super::replace::Replacement;
use super::report::CopyReport;
use super::spread::try_each;
use super::target::{Place, Target};
use super::technique::Technique;
use super::writing::Writing;
use crate::io::extent::ftruncate;
use crate::io::folder::{Folder, Name};
use crate::io::stat::{Identity, stat};
use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// One copy, about to start.
pub(super) struct End {
    pub ends: Ends,
    /// Whether a new file takes the target's name.
    pub is_new: bool,
    pub report: CopyReport,
    /// What the target's new file has already.
    pub kept: Vec<Range<u64>>,
}

/// Where the journal of these copies goes, and the one of a dead copy that is there, locked.
///
/// # Errors
/// What is there is in use, is no journal, or tells of a commit that was interrupted.
pub(super) fn look_for_journal(
    checked: &[Checked],
    options: &CopyOptions,
) -> Result<(Option<Spot>, Option<Taken>), CopyError> {
    let places = checked.iter().filter_map(|one| match &one.target {
        Target::Replace(place) => Some(place),
        Target::InPlace(_) => None,
    });
    let Some(first) = places.clone().next() else {
        return Ok((None, None));
    };
    let spot = match &options.journal {
        Some(path) => Spot::at(path)?,
        None => Spot::beside(first)?,
    };
    let Some(taken) = spot.take()? else {
        return Ok((Some(spot), None));
    };
    let interrupted = || CopyError::Interrupted {
        path: first.path.clone(),
        journal: spot.path.clone(),
    };
    let content = &taken.content;
    if let Some(at) = taken.damage
        && content.members.len() != 1
    {
        return Err(spot.damaged(at));
    }
    match content.stage {
        Stage::Decided | Stage::Undoing => return Err(interrupted()),
        Stage::Copying | Stage::Done { .. } => {}
    }
    // A single copy that came to its end, and did not come to say so.
    let boot = options.tuning.boot();
    if options.resume
        && let [member] = &content.members[..]
        && let Ok(Some(now)) = first.folder.stat(&first.name)
        && member.new.is(&now, content.is_of_boot(boot))
        && (content.synced || content.is_of_boot(boot))
    {
        return Err(interrupted());
    }
    Ok((Some(spot), Some(taken)))
}

/// A dead copy's files.
struct Before {
    taken: Option<Taken>,
    /// The members of it that are continued.
    kept: Vec<usize>,
    boot: Option<u128>,
}

/// One copy whose new file is to be made, or is there.
struct Ready {
    source: Known,
    target: Found,
    techniques: Vec<Technique>,
    report: CopyReport,
    done: Done,
}

enum Found {
    /// What is written in place, or a dead copy's new file.
    Open(Writing),
    /// Where a new file is to be made.
    Beside(Place),
}

/// One copy whose new file is there, and what the journal says of it.
struct Made {
    end: End,
    member: Option<Member>,
    /// Where the new file is, and the name it will have.
    name: Option<(Arc<Folder>, Name)>,
    done: Done,
}

/// What of a new file is there: on the disk, and written but perhaps not.
type Done = (Ranges, Ranges);

impl CopyPlan {
    /// Makes both ends of every copy, and the journal, which may not be written yet.
    pub(super) fn ends(self) -> Result<(Option<Arc<Journal>>, Vec<End>), CopyError> {
        let Self {
            options,
            checked,
            spot,
            taken,
            ..
        } = self;
        let mut before = Before {
            taken,
            kept: Vec::new(),
            boot: options.tuning.boot(),
        };
        let large = checked.len() > options.tuning.open_max;
        let own = before.taken.as_ref().map(|taken| taken.file.id());
        let mut search = large.then(|| Search::new(own, before.boot));
        let (mut ready, mut paths) = (Vec::with_capacity(checked.len()), HashMap::new());
        for mut one in checked {
            if let (Some(search), Target::Replace(place)) = (&mut search, &one.target) {
                one.leftovers = search.at(place)?;
            }
            let one = before.look(one, &options)?;
            // What is open does not wait for the others: of a large group it is closed.
            ready.push(match one.target {
                Found::Open(_) => Ok(one.make(large, &mut paths)?),
                Found::Beside(_) => Err(one),
            });
        }
        let made = try_each(ready, HashMap::new, |paths, one| match one {
            Ok(made) => Ok(made),
            Err(ready) => ready.make(large, paths),
        })?;
        let (mut ends, mut progress, mut members) = (Vec::new(), Vec::new(), Vec::new());
        let mut folders = Vec::new();
        let mut seen: HashSet<Identity> = HashSet::new();
        for one in made {
            if let (Some(member), Some(name)) = (one.member, one.name) {
                if seen.insert(member.folder_id.identity) {
                    folders.push(name);
                }
                members.push(member);
                progress.push(one.done);
            }
            ends.push(one.end);
        }
        let Some(spot) = spot else {
            return Ok((None, ends));
        };
        let synced = options.durability != Durability::None;
        let journal = Journal::new(spot, synced, options.tuning, members, folders);
        let unusable = |cause: io::Error| CopyError::Journal {
            path: journal.path(),
            reason: cause_text(&cause),
        };
        let Before { taken, kept, boot } = before;
        let mut removed = Vec::new();
        if let Some(taken) = taken {
            removed = resume::remove_temporaries(&taken.content, &kept, boot);
            resume::remove_pointers(&taken.content, &taken.file.spot);
            if kept.is_empty() {
                // Left, it would be in the way of the new one, which says so.
                let _ = taken.file.remove();
            } else {
                journal.continue_in(taken, &progress).map_err(unusable)?;
            }
        }
        if let Some(first) = ends.first_mut() {
            first.report.add_removed(removed);
        }
        // A large group's new files are not locked: its journal stands for them.
        if options.journal.is_some() || large {
            // Nothing to do where a dead copy's is continued.
            journal.begin().map_err(unusable)?;
        }
        Ok((Some(journal), ends))
    }
}

/// One copy for the journal; `paths`: where folders are, each looked up once.
fn member(
    source: &Known,
    replacement: &Replacement,
    file: &File,
    paths: &mut HashMap<Identity, PathBuf>,
) -> Result<Member, CopyError> {
    let place = &replacement.place;
    let refuse = |cause| CopyError::Folder {
        path: place.path.clone(),
        cause,
    };
    let folder = match paths.entry(place.folder.identity()) {
        Entry::Occupied(known) => known.get().clone(),
        Entry::Vacant(none) => none.insert(place.folder.path().map_err(refuse)?).clone(),
    };
    Ok(Member {
        source: resume::mark(source),
        folder,
        folder_id: FileId::of(place.folder.at_open()),
        name: place.name.to_os_string(),
        temporary: replacement.temporary().to_os_string(),
        new: FileId::of(&stat(file).map_err(refuse)?),
        old: place.existing.as_ref().map(|existing| existing.id),
    })
}

impl Ready {
    /// The new file, if it is not there yet, and both ends: of a large group neither stays open. `paths`: where folders
    /// are, as [`member`].
    fn make(self, large: bool, paths: &mut HashMap<Identity, PathBuf>) -> Result<Made, CopyError> {
        let Self {
            mut source,
            target,
            techniques,
            report,
            done,
        } = self;
        let target = match target {
            Found::Open(target) => target,
            Found::Beside(place) => new_file(place, source.size)?,
        };
        let is_new = target.is_new();
        let (mut name, mut new) = (None, None);
        if let Writing::Replace { replacement, file } = &target {
            let place = &replacement.place;
            name = Some((Arc::clone(&place.folder), place.name.clone()));
            new = Some(member(&source, replacement, file, paths)?);
        }
        let ends = match (target, &new) {
            (Writing::Replace { replacement, .. }, Some(member)) if large => {
                source.close();
                Ends::Parked(Arc::new(Parked {
                    source,
                    replacement,
                    new: member.new,
                    techniques,
                }))
            }
            (target, _) => Ends::Open(Arc::new(Open::new(source.opened()?, target, techniques)?)),
        };
        let kept = [&done.0, &done.1]
            .into_iter()
            .fold(Ranges::default(), |mut all, some| {
                all.add_all(some);
                all
            });
        Ok(Made {
            end: End {
                ends,
                is_new,
                report,
                kept: kept.iter().collect(),
            },
            member: new,
            name,
            done,
        })
    }
}

/// A new file, as large as its source.
fn new_file(place: Place, size: u64) -> Result<Writing, CopyError> {
    let path = place.path.clone();
    let (replacement, file) = Replacement::create(place)?;
    // The size from the start: what is not written stays a hole, and a size that is too large for the file
    // system is refused now.
    ftruncate(&file, size).map_err(|cause| match cause.raw_os_error() {
        Some(libc::EFBIG) => CopyError::TooLarge {
            path,
            size,
            limit: None,
        },
        _ => CopyError::Temporary { path, cause },
    })?;
    let replacement = Arc::new(replacement);
    Ok(Writing::Replace { replacement, file })
}

impl Before {
    /// What there is of one copy. What dead ones have left at its target goes.
    fn look(&mut self, one: Checked, options: &CopyOptions) -> Result<Ready, CopyError> {
        let Checked {
            planned,
            source,
            target,
            leftovers,
            ..
        } = one;
        let mut removed = Vec::new();
        let (target, done, started_over) = match target {
            Target::InPlace(target) => {
                let why = "what is written in place is not recorded".to_owned();
                let target = Found::Open(Writing::InPlace(target));
                (target, Done::default(), Some(why))
            }
            Target::Replace(place) => {
                let index = self.index(&place).filter(|_| options.resume);
                let temporary = index.and_then(|index| self.temporary(index));
                for leftover in leftovers {
                    // Dropped, that one is free to be continued.
                    if Some(leftover.name()) != temporary.as_ref() {
                        // One that cannot be removed harms nobody but the disk.
                        removed.extend(leftover.remove(&place).ok().flatten());
                    }
                }
                self.go_on(index, &source, place, options)?
            }
        };
        let report = CopyReport::new(
            &planned.pair.source,
            &planned.pair.target,
            planned.method,
            planned.size_bytes,
            options,
        )
        .removed_leftovers(removed)
        .started_over(started_over.filter(|_| options.resume));
        Ok(Ready {
            source,
            target,
            techniques: planned.techniques,
            report,
            done,
        })
    }

    /// A dead copy's new file, or where one is to be made, and then why.
    fn go_on(
        &mut self,
        index: Option<usize>,
        source: &Known,
        place: Place,
        options: &CopyOptions,
    ) -> Result<(Found, Done, Option<String>), CopyError> {
        let synced = options.durability != Durability::None;
        let (place, why) = match (index, &self.taken) {
            (Some(index), Some(taken)) => {
                match resume::go_on(&taken.content, index, source, place, self.boot, synced)? {
                    Ok(Continued {
                        replacement,
                        file,
                        done,
                    }) => {
                        self.kept.push(index);
                        let done = if synced {
                            (done, Ranges::default())
                        } else {
                            (Ranges::default(), done)
                        };
                        let replacement = Arc::new(replacement);
                        let target = Writing::Replace { replacement, file };
                        return Ok((Found::Open(target), done, None));
                    }
                    Err((place, why)) => (place, why),
                }
            }
            _ => (place, "there is nothing to continue".to_owned()),
        };
        Ok((Found::Beside(place), Done::default(), Some(why)))
    }

    /// The dead copy's member that was to the same target.
    fn index(&self, place: &Place) -> Option<usize> {
        let content = &self.taken.as_ref()?.content;
        if content.stage != Stage::Copying {
            return None;
        }
        resume::member_for(content, place, content.is_of_boot(self.boot))
    }

    fn temporary(&self, index: usize) -> Option<Name> {
        let content = &self.taken.as_ref()?.content;
        Name::new(&content.members[index].temporary).ok()
    }
}
