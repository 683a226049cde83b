//! What a copy that died left beside its target: found, told from the file of one that lives, and removed.
//!
//! A living copy keeps its temporary file locked from its making to the very end, so a lock that can be had means
//! that nobody works on the file any more. One moment needs a second look: while a copy commits, the *old* file has
//! the temporary name, unlocked, and may have to be put back; but then the *new* file has the target's name, locked.
//!
//! A copy that died while it committed a group is another matter: its old files may be under their temporary names, and
//! may be wanted back. Its journal says so, and is found by its name in every folder where it has a target. Then nothing
//! is removed and nothing copied to those targets until the commit is finished or undone.

use super::error::CopyError;
use super::journal::{Content, FileId, Spot, Stage, Unreadable};
use super::names::{MARK, is_journal, is_temporary_of, twin};
use super::target::Place;
use crate::io::folder::{Access, Folder, Name};
use crate::io::lock::{held_by_others, try_lock};
use crate::io::process::effective_user;
use crate::io::stat::{FileKind, Identity, Stat, stat};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A dead copy's file. Its lock is held, so that two who find it do not both take it for theirs to remove.
#[derive(Debug)]
pub(super) struct Leftover {
    name: Name,
    identity: Identity,
    /// Bytes its file system stores for it, which will be free.
    pub stored: u64,
    _lock: File,
}

/// Looks for leftovers, each folder read once.
#[derive(Debug, Default)]
pub(super) struct Search {
    listed: HashMap<Identity, Listing>,
    /// A journal that is ours already.
    own: Option<FileId>,
    boot: Option<u128>,
}

#[derive(Debug)]
struct Listing {
    names: Vec<OsString>,
    journals: Vec<Other>,
}

/// A journal that somebody wrote.
#[derive(Debug)]
struct Other {
    path: PathBuf,
    alive: bool,
    content: Content,
    /// Not all of it can be read.
    damaged: bool,
}

impl Search {
    /// A search in this run of the kernel that minds every journal but our own.
    pub fn new(own: Option<FileId>, boot: Option<u128>) -> Self {
        Self {
            listed: HashMap::new(),
            own,
            boot,
        }
    }

    /// The leftovers of copies to this place. What cannot be read, opened or locked is left alone.
    ///
    /// # Errors
    /// A commit to this place was interrupted, and has to be recovered first.
    pub fn at(&mut self, place: &Place) -> Result<Vec<Leftover>, CopyError> {
        let folder = place.folder.at_open();
        let (own, boot) = (self.own, self.boot);
        let listing = self
            .listed
            .entry(folder.identity)
            .or_insert_with(|| Listing::of(&place.folder, own));
        let name = place.name.to_os_string();
        let mut kept = HashSet::new();
        for other in &listing.journals {
            let same_boot = other.content.is_of_boot(boot);
            let members = other.content.members.iter();
            let mut here = members
                .filter(|member| member.name == name && member.folder_id.is(folder, same_boot))
                .peekable();
            if here.peek().is_none() {
                continue;
            }
            kept.extend(here.filter(|_| other.alive).map(|member| &member.temporary));
            if !other.alive {
                other.check(place)?;
            }
        }
        // One of which nothing is known may be about anything.
        if listing
            .journals
            .iter()
            .any(|other| other.damaged && other.content.members.is_empty())
        {
            return Ok(Vec::new());
        }
        Ok(listing
            .names
            .iter()
            .filter(|name| is_temporary_of(name, &place.name) && !kept.contains(name))
            .filter_map(|name| dead(place, Name::new(name).ok()?))
            // After the locks were had: see above.
            .filter(|_| !commits(place))
            .collect())
    }
}

impl Listing {
    fn of(folder: &Arc<Folder>, own: Option<FileId>) -> Self {
        let mut names = folder.names().unwrap_or_default();
        names.retain(|name| {
            let name = name.as_encoded_bytes();
            name.windows(MARK.len()).any(|window| window == MARK)
        });
        let spot = |name: &OsString| {
            let path = folder.path().ok()?.join(name);
            Some(Spot {
                folder: Arc::clone(folder),
                name: Name::new(name).ok()?,
                path,
            })
        };
        let journals = names
            .iter()
            .filter(|name| is_journal(name))
            .filter_map(|name| Other::read(&spot(name)?, own))
            .collect();
        Self { names, journals }
    }
}

impl Other {
    fn read(spot: &Spot, own: Option<FileId>) -> Option<Self> {
        let mut spot = spot.clone();
        let mut seen = spot.look().ok()??;
        if let Ok(Content {
            elsewhere: Some(path),
            ..
        }) = &seen.content
        {
            spot = Spot::at(path).ok()?;
            seen = spot.look().ok()??;
        }
        if own == Some(seen.id) {
            return None;
        }
        let (content, damaged) = match seen.content {
            Ok(content) => (content, false),
            Err(Unreadable::Damaged { before, .. }) => (*before, true),
            Err(Unreadable::NoJournal | Unreadable::Blank | Unreadable::Version) => return None,
        };
        Some(Self {
            path: spot.path,
            alive: seen.alive,
            content,
            damaged,
        })
    }

    /// Whether its commit is over, or never began.
    fn check(&self, place: &Place) -> Result<(), CopyError> {
        let several = self.content.members.len() > 1;
        match self.content.stage {
            Stage::Copying if !(self.damaged && several) => Ok(()),
            Stage::Done { .. } => Ok(()),
            _ => Err(CopyError::Interrupted {
                path: place.path.clone(),
                journal: self.path.clone(),
            }),
        }
    }
}

/// The file, if it is one that a copy of this user made and nobody works on.
fn dead(place: &Place, name: Name) -> Option<Leftover> {
    let folder = &place.folder;
    let file = folder.open_file(&name, Access::ReadWrite).ok()?;
    let found = stat(&file).ok()?;
    if place.existing.as_ref().is_some_and(|old| old.is(&found)) {
        return second_name(folder, name, file, &found);
    }
    let ours =
        found.kind == FileKind::Regular && found.links == 1 && found.user == effective_user();
    (ours && try_lock(&file).ok()?).then(|| Leftover {
        name,
        identity: found.identity,
        stored: found.stored,
        _lock: file,
    })
}

/// A further name of the target, given by a copy that was about to put a new file in its place where names cannot be
/// exchanged. While that lives its new file is locked.
fn second_name(folder: &Folder, name: Name, file: File, found: &Stat) -> Option<Leftover> {
    let new = folder.open_file(&twin(&name).ok()?, Access::Read);
    let lives = new.is_ok_and(|new| held_by_others(new).map_or(true, |held| held.is_some()));
    (!lives).then_some(Leftover {
        name,
        identity: found.identity,
        stored: 0,
        _lock: file,
    })
}

/// Whether the target is locked, or cannot be looked at.
fn commits(place: &Place) -> bool {
    place.existing.is_some()
        && place
            .folder
            .open_file(&place.name, Access::Read)
            .and_then(held_by_others)
            .map_or(true, |held| held.is_some())
}

impl Leftover {
    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Removes it, if its name still is its own; where it was.
    pub fn remove(self, place: &Place) -> io::Result<Option<PathBuf>> {
        let now = place.folder.stat(&self.name)?.map(|stat| stat.identity);
        if now != Some(self.identity) {
            return Ok(None);
        }
        place.folder.unlink(&self.name)?;
        Ok(Some(place.path.with_file_name(self.name.to_os_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::around::Around;
    use crate::copy::options::CopyOptions;
    use crate::copy::replace::Replacement;
    use crate::copy::source::Source;
    use crate::copy::target::{Target, resolve};
    use std::path::Path;

    fn place(folder: &Path) -> Place {
        let source = Source::open(&folder.join("source")).unwrap();
        match resolve(
            &folder.join("target"),
            &source,
            &CopyOptions::default(),
            &mut Around::default(),
        )
        .unwrap()
        {
            Target::Replace(place) => place,
            Target::InPlace(_) => panic!("a regular target is replaced"),
        }
    }

    fn found(place: &Place) -> usize {
        Search::default().at(place).unwrap().len()
    }

    fn scratch() -> tempfile::TempDir {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("source"), "source").unwrap();
        std::fs::write(scratch.path().join("target"), "old").unwrap();
        scratch
    }

    #[test]
    fn a_dead_copys_file_is_found_and_removed_and_no_other() {
        let scratch = scratch();
        let place = place(scratch.path());
        let dead = ".target.blockjob-0123456789abcdef";
        let others = [
            ".target.blockjob-0123456789abcde",
            ".target.blockjob-0123456789ABCDEF",
            ".target2.blockjob-0123456789abcdef",
            "target.blockjob-0123456789abcdef",
        ];
        for name in others.iter().chain([&dead]) {
            std::fs::write(scratch.path().join(name), "part").unwrap();
        }
        std::os::unix::fs::symlink(
            "source",
            scratch.path().join(".target.blockjob-ffffffffffffffff"),
        )
        .unwrap();
        let mut leftovers = Search::default().at(&place).unwrap();
        assert_eq!(leftovers.len(), 1);
        assert!(leftovers[0].stored > 0);
        assert_eq!(found(&place), 0, "only one may take it");
        let removed = leftovers.remove(0).remove(&place).unwrap();
        assert_eq!(removed, Some(scratch.path().join(dead)));
        assert!(!scratch.path().join(dead).exists());
        for name in others {
            assert!(scratch.path().join(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_living_copy_is_left_alone_at_every_moment() {
        let scratch = scratch();
        let (replacement, file) = Replacement::create(place(scratch.path())).unwrap();
        // Looked at as another process does that planned before the exchange.
        let other = place(scratch.path());
        assert_eq!(found(&other), 0, "while it copies");
        replacement.publish(false).unwrap();
        assert_eq!(
            found(&other),
            0,
            "while the old file has the temporary name"
        );
        replacement.take_back().unwrap();
        assert_eq!(found(&other), 0);
        // It dies there: a killed process runs no destructors.
        std::mem::forget(replacement);
        drop(file);
        assert_eq!(found(&other), 1);
    }

    #[test]
    fn a_name_that_was_given_to_another_file_is_not_removed() {
        let scratch = scratch();
        let place = place(scratch.path());
        let name = scratch.path().join(".target.blockjob-0123456789abcdef");
        std::fs::write(&name, "part").unwrap();
        let leftover = Search::default().at(&place).unwrap().remove(0);
        std::fs::remove_file(&name).unwrap();
        std::fs::write(&name, "another").unwrap();
        assert_eq!(leftover.remove(&place).unwrap(), None);
        assert!(name.exists());
    }
}
