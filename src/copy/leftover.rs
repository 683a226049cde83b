//! What a copy that died left beside its target: found, told from the file of one that lives, and removed.
//!
//! A living copy keeps its temporary file locked from its making to the very end, so a lock that can be had means
//! that nobody works on the file any more. One moment needs a second look: while a copy commits, the *old* file has
//! the temporary name, unlocked, and may have to be put back; but then the *new* file has the target's name, locked.

use super::replace::is_temporary_of;
use super::target::Place;
use crate::io::folder::{Access, Folder, Name};
use crate::io::lock::{held_by_others, try_lock};
use crate::io::process::effective_user;
use crate::io::stat::{FileKind, Identity, stat};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;

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
    listed: HashMap<Identity, Vec<OsString>>,
}

impl Search {
    /// The leftovers of copies to this place. What cannot be read, opened or locked is left alone.
    pub fn at(&mut self, place: &Place) -> Vec<Leftover> {
        let Ok(folder) = place.folder.stat_self() else {
            return Vec::new();
        };
        let names = self.listed.entry(folder.identity).or_insert_with(|| {
            let mut names = place.folder.names().unwrap_or_default();
            names.retain(|name| name.to_string_lossy().contains(".blockjob-"));
            names
        });
        names
            .iter()
            .filter(|name| is_temporary_of(name, &place.name))
            .filter_map(|name| dead(&place.folder, Name::new(name).ok()?))
            // After the locks were had: see above.
            .filter(|_| !commits(place))
            .collect()
    }
}

/// The file, if it is one that a copy of this user made and nobody works on.
fn dead(folder: &Folder, name: Name) -> Option<Leftover> {
    let file = folder.open_file(&name, Access::ReadWrite).ok()?;
    let found = stat(&file).ok()?;
    let ours =
        found.kind == FileKind::Regular && found.links == 1 && found.user == effective_user();
    (ours && try_lock(&file).ok()?).then(|| Leftover {
        name,
        identity: found.identity,
        stored: found.stored,
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
    use crate::copy::options::CopyOptions;
    use crate::copy::replace::Replacement;
    use crate::copy::source::Source;
    use crate::copy::target::{Target, resolve};
    use std::path::Path;

    fn place(folder: &Path) -> Place {
        let source = Source::open(&folder.join("source")).unwrap();
        match resolve(&folder.join("target"), &source, &CopyOptions::default()).unwrap() {
            Target::Replace(place) => place,
            Target::InPlace(_) => panic!("a regular target is replaced"),
        }
    }

    fn found(place: &Place) -> usize {
        Search::default().at(place).len()
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
        let mut leftovers = Search::default().at(&place);
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
        let leftover = Search::default().at(&place).remove(0);
        std::fs::remove_file(&name).unwrap();
        std::fs::write(&name, "another").unwrap();
        assert_eq!(leftover.remove(&place).unwrap(), None);
        assert!(name.exists());
    }
}
