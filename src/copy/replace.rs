//! A replacement: the new file beside its target, and the exchange of their names.
//!
//! The new file is made under a name of its own in the target's folder, which was opened once. Its life:
//!
//! ```text
//! create ── written, given its metadata, synced ──► publish ──► settle      the target is the new file
//!    │                                                 │
//!    │                                                 └──► take_back       the target is the old file again
//!    └──► discard                                                           nothing was ever visible
//! ```
//!
//! `publish` is one atomic step for whoever looks at the target: it is the old file or the new one, never neither.
//! Where a name was taken it exchanges the two, so that taking it back is one step as well, and so that a file
//! somebody else put there meanwhile is noticed and given back, not lost.

use super::error::CopyError;
use super::names::{temporary_name, twin};
use super::target::{Existing, Place};
use crate::driver::{Errno, JobError};
use crate::io::folder::Name;
use crate::io::lock::try_lock;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The new file and where it belongs.
#[derive(Debug)]
pub(super) struct Replacement {
    pub place: Place,
    /// The new file's own name, until it is published.
    temporary: Name,
    state: Mutex<State>,
    /// Another copy made it, and nothing happens to it but what is asked for.
    found: bool,
}

/// Which file has which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// The new file has the temporary name.
    Beside,
    /// The new file has the target's name, which was free.
    New,
    /// The new file has both names: neither could be taken from it.
    Both,
    /// The new file has the target's name, the old one the temporary name.
    Exchanged,
    /// The new file has the target's name, the old one this name (file systems that cannot exchange).
    Backed(Name),
    /// The new file has the target's name, and a file somebody put there meanwhile the temporary one: giving it back
    /// failed.
    Theirs,
    /// Nothing is left to be done, or could be.
    Done,
}

impl Replacement {
    /// Makes the new file, empty, for its owner only.
    pub fn create(place: Place) -> Result<(Self, File), CopyError> {
        let (temporary, file) = create_beside(&place).map_err(|cause| CopyError::Temporary {
            path: place.path.clone(),
            cause,
        })?;
        // From here on dropping it removes the file.
        let replacement = Self {
            place,
            temporary,
            state: Mutex::new(State::Beside),
            found: false,
        };
        replacement.rehearse(&file)?;
        Ok((replacement, file))
    }

    fn rehearse(&self, file: &File) -> Result<(), CopyError> {
        let refuse = |not_kept: super::metadata::NotKept| not_kept.refuse(&self.place.path);
        self.place.metadata.rehearse(file).map_err(refuse)
    }

    /// Goes on with the new file of a copy that died: which file, under which name.
    pub fn go_on(place: Place, temporary: Name, file: &File) -> Result<Self, CopyError> {
        let replacement = Self {
            place,
            temporary,
            state: Mutex::new(State::Beside),
            found: false,
        };
        replacement.rehearse(file)?;
        Ok(replacement)
    }

    /// The new file of a copy that died while it committed, as it was found. Dropping it changes nothing.
    pub fn found(place: Place, temporary: Name, state: State) -> Self {
        Self {
            place,
            temporary,
            state: Mutex::new(state),
            found: true,
        }
    }

    /// The new file's own name.
    pub fn temporary(&self) -> &Name {
        &self.temporary
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the target still is what it was when the copy was planned: the last look before the names are
    /// exchanged, where a refusal still is an ordinary error of the job.
    pub fn check(&self) -> Result<(), JobError> {
        let place = &self.place;
        if place.folder.stat_self()?.links == 0 {
            return Err(self.failed(libc::ENOENT, "its folder was removed"));
        }
        let now = place.folder.stat(&place.name)?;
        Err(match (now, &place.existing) {
            (None, None) => return Ok(()),
            (Some(now), Some(before)) if before.is(&now) => return Ok(()),
            (None, Some(_)) => self.failed(libc::ENOENT, "it was removed while it was copied to"),
            (Some(_), None) => self.failed(
                libc::EEXIST,
                "it was made by somebody else while it was copied to",
            ),
            (Some(_), Some(_)) => self.replaced_by_another(),
        })
    }

    /// Gives the new file the target's name. With `alone`, nothing else is published with it, so that it will never
    /// be taken back.
    pub fn publish(&self, alone: bool) -> Result<(), JobError> {
        let mut state = self.state();
        debug_assert_eq!(*state, State::Beside, "a replacement is published once");
        let (now, answer) = match &self.place.existing {
            None => self.publish_new(),
            Some(old) => self.publish_over(old, alone),
        };
        *state = now;
        answer
    }

    fn publish_new(&self) -> (State, Result<(), JobError>) {
        let Place { folder, name, .. } = &self.place;
        let mut failed = State::Beside;
        let answer = match folder.rename_new(&self.temporary, name) {
            Err(error) if cannot(&error) => match folder.link(&self.temporary, name) {
                // The second name is on the disk before the first goes: else a power cut could leave neither. With both
                // it would be published, although this says that it is not.
                Ok(()) => folder
                    .sync()
                    .and_then(|()| folder.unlink(&self.temporary))
                    .inspect_err(|_| {
                        if folder.unlink(name).is_err() {
                            failed = State::Both;
                        }
                    }),
                Err(error) if cannot_link(&error) && matches!(folder.stat(name), Ok(None)) => {
                    folder.rename(&self.temporary, name)
                }
                answer => answer,
            },
            answer => answer,
        };
        match answer {
            Ok(()) => (State::New, Ok(())),
            Err(cause) => (failed, Err(self.not_named(&cause))),
        }
    }

    fn publish_over(&self, old: &Existing, alone: bool) -> (State, Result<(), JobError>) {
        let Place { folder, name, .. } = &self.place;
        match folder.exchange(&self.temporary, name) {
            Ok(()) => {}
            Err(error) if cannot(&error) => return self.publish_backed(old, alone),
            Err(cause) => return (State::Beside, Err(self.not_named(&cause))),
        }
        // What came back is what was to be replaced; anything else is somebody's and goes back to its name.
        if matches!(folder.stat(&self.temporary), Ok(Some(stat)) if old.is(&stat)) {
            return (State::Exchanged, Ok(()));
        }
        match folder.exchange(&self.temporary, name) {
            Ok(()) => (State::Beside, Err(self.replaced_by_another())),
            // The temporary name is that of somebody's file now: it is kept, whatever becomes of the group.
            Err(_) => (State::Theirs, Err(self.replaced_by_another())),
        }
    }

    /// Without an exchange: keep the old file under a further name, then rename over it.
    fn publish_backed(&self, old: &Existing, alone: bool) -> (State, Result<(), JobError>) {
        let Place { folder, name, .. } = &self.place;
        let unpublished = |error| (State::Beside, Err(error));
        if !matches!(folder.stat(name), Ok(Some(stat)) if old.is(&stat)) {
            return unpublished(self.replaced_by_another());
        }
        let backup = match twin(&self.temporary) {
            Ok(backup) => backup,
            Err(cause) => return unpublished(self.not_named(&cause)),
        };
        let kept = match folder.link(name, &backup) {
            Ok(()) => true,
            // Not even a second name: an old file that nobody will ask back needs none.
            Err(error) if cannot_link(&error) && alone => false,
            Err(cause) => return unpublished(self.not_named(&cause)),
        };
        // The old file's further name is on the disk before it loses its own.
        let synced = if kept { folder.sync() } else { Ok(()) };
        if let Err(cause) = synced.and_then(|()| folder.rename(&self.temporary, name)) {
            if kept {
                let _ = folder.unlink(&backup);
            }
            return unpublished(self.not_named(&cause));
        }
        let state = if kept {
            State::Backed(backup)
        } else {
            State::Done
        };
        (state, Ok(()))
    }

    /// Undoes [`publish`](Self::publish): the target is the old file again, or absent again. Nothing to undo is fine.
    pub fn take_back(&self) -> Result<(), JobError> {
        let Place { folder, name, .. } = &self.place;
        let mut state = self.state();
        match &*state {
            State::Beside | State::Theirs | State::Done => return Ok(()),
            State::New => match folder.rename_new(name, &self.temporary) {
                Err(error) if cannot(&error) => folder.rename(name, &self.temporary),
                answer => answer,
            },
            State::Both => folder.unlink(name),
            State::Exchanged => folder.exchange(&self.temporary, name),
            State::Backed(backup) => folder.link(name, &self.temporary).and_then(|()| {
                folder
                    .rename(backup, name)
                    .inspect_err(|_| drop(folder.unlink(&self.temporary)))
            }),
        }
        .map_err(|cause| {
            let errno = cause.raw_os_error().unwrap_or(libc::EIO);
            let what = match *state {
                State::New | State::Both => "the new file could not be taken away again",
                _ => "the old file could not be put back",
            };
            let why = super::error::cause_text(&cause);
            self.failed(errno, &format!("{what}: {why}"))
        })?;
        *state = State::Beside;
        Ok(())
    }

    /// After everything was published: the old file goes.
    pub fn settle(&self) -> io::Result<()> {
        let mut state = self.state();
        let answer = match &*state {
            State::Exchanged => self.place.folder.unlink(&self.temporary),
            State::Backed(backup) => self.place.folder.unlink(backup),
            State::Beside | State::New | State::Both | State::Theirs | State::Done => Ok(()),
        };
        // Else it still has that name, which will be asked for.
        if answer.is_ok() {
            *state = State::Done;
        }
        answer
    }

    /// Removes the new file, which was not published. Removed already is fine.
    pub fn discard(&self) -> io::Result<()> {
        let mut state = self.state();
        match *state {
            State::Beside => {}
            // Not ours to remove, and to be told of.
            State::Theirs => return Err(io::Error::from_raw_os_error(libc::EBUSY)),
            _ => return Ok(()),
        }
        *state = State::Done;
        match self.place.folder.unlink(&self.temporary) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether there is a file beside the target.
    pub fn has_left(&self) -> bool {
        !matches!(*self.state(), State::New | State::Done)
    }

    /// The name the new file has beside its target, or the old one's after an exchange; for messages.
    pub fn temporary_path(&self) -> PathBuf {
        let name = match &*self.state() {
            State::Backed(backup) => backup.to_os_string(),
            _ => self.temporary.to_os_string(),
        };
        self.place.path.with_file_name(name)
    }

    /// The error of a folder sync that failed after names were exchanged; `done` says to what end they were.
    pub fn folder_not_synced(&self, done: &str, cause: &io::Error) -> JobError {
        let errno = cause.raw_os_error().unwrap_or(libc::EIO);
        let text = super::error::cause_text(cause);
        self.failed(
            errno,
            &format!("{done}, durability unknown: its folder could not be synced: {text}"),
        )
    }

    fn not_named(&self, cause: &io::Error) -> JobError {
        let errno = cause.raw_os_error().unwrap_or(libc::EIO);
        self.failed(
            errno,
            &format!(
                "the new file could not take its name: {}",
                super::error::cause_text(cause)
            ),
        )
    }

    fn replaced_by_another(&self) -> JobError {
        self.failed(
            libc::EBUSY,
            "it was replaced by somebody else while it was copied to",
        )
    }

    fn failed(&self, errno: i32, why: &str) -> JobError {
        let errno = Errno::new(errno).unwrap_or(Errno::IO);
        JobError::with_message(
            errno,
            format!("target {}: {why}", self.place.path.display()),
        )
    }
}

impl Drop for Replacement {
    /// A new file nobody published or discarded has no use: a panic, or a group that could not be made whole.
    fn drop(&mut self) {
        if !self.found {
            let _ = self.discard();
        }
    }
}

/// Whether the file system lacks the operation, as opposed to it having failed.
fn cannot(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)
    )
}

/// Whether the file system has no second names for files (FAT and its like say `EPERM`).
fn cannot_link(error: &io::Error) -> bool {
    cannot(error) || error.raw_os_error() == Some(libc::EPERM)
}

fn create_beside(place: &Place) -> io::Result<(Name, File)> {
    // Names are random; a second collision would be no accident.
    for _ in 0..16 {
        let name = temporary_name(&place.name)?;
        let file = match place.folder.create_exclusive(&name) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => continue,
            answer => answer?,
        };
        // The lock says that somebody lives who works on it. Whoever had it first took the file for a leftover.
        if matches!(try_lock(&file), Ok(false)) {
            let _ = place.folder.unlink(&name);
            continue;
        }
        return Ok((name, file));
    }
    Err(io::Error::from_raw_os_error(libc::EEXIST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::metadata::Metadata;
    use crate::io::folder::{Folder, NAME_BYTES_MAX};
    use crate::io::stat::stat_path;
    use std::ffi::OsStr;
    use std::io::Write as _;
    use std::path::Path;
    use std::sync::Arc;

    fn place(folder: &Path, name: &str) -> Place {
        let path = folder.join(name);
        let existing = stat_path(&path).ok();
        let folder_of = Arc::new(Folder::open(folder).unwrap());
        let name_of = Name::new(OsStr::new(name)).unwrap();
        Place {
            metadata: match &existing {
                Some(stat) => Metadata::of_replaced(&File::open(&path).unwrap(), stat).unwrap(),
                None => Metadata::for_new(&stat_path(folder).unwrap(), 0),
            },
            existing: existing.map(|_| Existing::hold(&folder_of, &name_of).unwrap()),
            folder: folder_of,
            name: name_of,
            path,
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn written(folder: &Path, name: &str) -> Replacement {
        let (replacement, mut file) = Replacement::create(place(folder, name)).unwrap();
        file.write_all(b"new").unwrap();
        replacement
    }

    fn read(folder: &Path) -> String {
        std::fs::read_to_string(folder.join("target")).unwrap()
    }

    #[test]
    fn a_new_name_is_given_taken_back_and_given_for_good() {
        let scratch = tempfile::tempdir().unwrap();
        let replacement = written(scratch.path(), "target");
        replacement.publish(false).unwrap();
        assert_eq!(names(scratch.path()), ["target"]);
        replacement.take_back().unwrap();
        assert!(!scratch.path().join("target").exists());
        replacement.publish(false).unwrap();
        replacement.settle().unwrap();
        drop(replacement);
        assert_eq!(
            (names(scratch.path()), read(scratch.path()).as_str()),
            (vec!["target".to_owned()], "new")
        );
    }

    #[test]
    fn an_old_file_is_exchanged_restored_and_gone_only_when_settled() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("target"), "old").unwrap();
        let inode = stat_path(&scratch.path().join("target")).unwrap().identity;
        let replacement = written(scratch.path(), "target");
        replacement.publish(false).unwrap();
        assert_eq!(
            (names(scratch.path()).len(), read(scratch.path()).as_str()),
            (2, "new")
        );
        replacement.take_back().unwrap();
        assert_eq!(read(scratch.path()), "old");
        assert_eq!(
            stat_path(&scratch.path().join("target")).unwrap().identity,
            inode,
            "the very same file"
        );
        replacement.publish(false).unwrap();
        replacement.settle().unwrap();
        assert_eq!(
            (names(scratch.path()).len(), read(scratch.path()).as_str()),
            (1, "new")
        );
    }

    #[test]
    fn without_an_exchange_a_backup_name_does_the_same() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("target"), "old").unwrap();
        for keep in [false, true] {
            let replacement = written(scratch.path(), "target");
            let old = replacement.place.existing.as_ref().unwrap();
            let (state, answer) = replacement.publish_backed(old, false);
            answer.unwrap();
            *replacement.state() = state;
            assert_eq!(
                (names(scratch.path()).len(), read(scratch.path()).as_str()),
                (2, "new")
            );
            if keep {
                replacement.settle().unwrap();
            } else {
                replacement.take_back().unwrap();
                assert_eq!(read(scratch.path()), "old");
                replacement.discard().unwrap();
            }
            assert_eq!(names(scratch.path()), ["target"]);
        }
        assert_eq!(read(scratch.path()), "new");
    }

    #[test]
    fn a_file_somebody_put_there_meanwhile_is_not_lost() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("target");
        // Where there was none:
        let replacement = written(scratch.path(), "target");
        std::fs::write(&target, "theirs").unwrap();
        assert_eq!(replacement.check().unwrap_err().errno.get(), libc::EEXIST);
        assert_eq!(
            replacement.publish(false).unwrap_err().errno.get(),
            libc::EEXIST
        );
        drop(replacement);
        assert_eq!(
            (names(scratch.path()).len(), read(scratch.path()).as_str()),
            (1, "theirs")
        );
        // Where there was another:
        let replacement = written(scratch.path(), "target");
        std::fs::rename(&target, scratch.path().join("moved")).unwrap();
        assert_eq!(replacement.check().unwrap_err().errno.get(), libc::ENOENT);
        std::fs::write(&target, "theirs too").unwrap();
        assert_eq!(replacement.check().unwrap_err().errno.get(), libc::EBUSY);
        assert_eq!(
            replacement.publish(false).unwrap_err().errno.get(),
            libc::EBUSY
        );
        drop(replacement);
        assert_eq!(
            (names(scratch.path()), read(scratch.path()).as_str()),
            (vec!["moved".into(), "target".into()], "theirs too")
        );
    }

    #[test]
    fn a_file_removed_and_made_anew_is_another_even_where_inode_numbers_are_used_again() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("target");
        std::fs::write(&target, "old").unwrap();
        let replacement = written(scratch.path(), "target");
        std::fs::remove_file(&target).unwrap();
        std::fs::write(&target, "theirs").unwrap();
        assert_eq!(replacement.check().unwrap_err().errno.get(), libc::EBUSY);
        assert_eq!(
            replacement.publish(false).unwrap_err().errno.get(),
            libc::EBUSY
        );
        let (state, answer) =
            replacement.publish_backed(replacement.place.existing.as_ref().unwrap(), true);
        assert_eq!(
            (state, answer.unwrap_err().errno.get()),
            (State::Beside, libc::EBUSY)
        );
        drop(replacement);
        assert_eq!(
            (names(scratch.path()), read(scratch.path()).as_str()),
            (vec!["target".to_owned()], "theirs")
        );
    }

    #[test]
    fn somebodys_file_under_the_temporary_name_is_never_removed() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("target"), "old").unwrap();
        let replacement = written(scratch.path(), "target");
        *replacement.state() = State::Theirs;
        assert!(replacement.discard().is_err(), "to be told of");
        replacement.take_back().unwrap();
        let kept = replacement.temporary_path();
        drop(replacement);
        assert!(kept.exists());
    }

    #[test]
    fn a_dropped_replacement_leaves_nothing_and_a_long_name_fits() {
        let scratch = tempfile::tempdir().unwrap();
        let long = "x".repeat(NAME_BYTES_MAX);
        let replacement = written(scratch.path(), &long);
        assert_eq!(names(scratch.path()).len(), 1);
        assert_eq!(names(scratch.path())[0].len(), NAME_BYTES_MAX);
        drop(replacement);
        assert!(names(scratch.path()).is_empty());
    }

    #[test]
    fn a_removed_folder_is_noticed_before_the_commit() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        let replacement = written(&folder, "target");
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(replacement.check().unwrap_err().errno.get(), libc::ENOENT);
        replacement.discard().unwrap();
    }
}
