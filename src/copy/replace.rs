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
use super::target::Place;
use crate::driver::{Errno, JobError};
use crate::io::folder::{NAME_BYTES_MAX, Name};
use crate::io::stat::Identity;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The new file and where it belongs.
#[derive(Debug)]
pub(super) struct Replacement {
    pub place: Place,
    /// The new file's own name, until it is published.
    temporary: Name,
    state: Mutex<State>,
}

/// Which file has which name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// The new file has the temporary name.
    Beside,
    /// The new file has the target's name, which was free.
    New,
    /// The new file has the target's name, the old one the temporary name.
    Exchanged,
    /// The new file has the target's name, the old one this name (file systems that cannot exchange).
    Backed(Name),
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
        };
        let refuse = |not_kept: super::metadata::NotKept| not_kept.refuse(&replacement.place.path);
        replacement.place.metadata.rehearse(&file).map_err(refuse)?;
        Ok((replacement, file))
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
        let now = place.folder.stat(&place.name)?.map(|stat| stat.identity);
        if now == place.existing {
            return Ok(());
        }
        Err(match (now, place.existing) {
            (None, _) => self.failed(libc::ENOENT, "it was removed while it was copied to"),
            (Some(_), None) => self.failed(
                libc::EEXIST,
                "it was made by somebody else while it was copied to",
            ),
            (Some(_), Some(_)) => self.failed(
                libc::EBUSY,
                "it was replaced by somebody else while it was copied to",
            ),
        })
    }

    /// Gives the new file the target's name.
    pub fn publish(&self) -> Result<(), JobError> {
        let mut state = self.state();
        debug_assert_eq!(*state, State::Beside, "a replacement is published once");
        *state = match self.place.existing {
            None => self.publish_new()?,
            Some(old) => self.publish_over(old)?,
        };
        Ok(())
    }

    fn publish_new(&self) -> Result<State, JobError> {
        let Place { folder, name, .. } = &self.place;
        let answer = match folder.rename_new(&self.temporary, name) {
            Err(error) if cannot(&error) => folder
                .link(&self.temporary, name)
                .and_then(|()| folder.unlink(&self.temporary)),
            answer => answer,
        };
        answer.map_err(|cause| self.not_named(&cause))?;
        Ok(State::New)
    }

    fn publish_over(&self, old: Identity) -> Result<State, JobError> {
        let Place { folder, name, .. } = &self.place;
        match folder.exchange(&self.temporary, name) {
            Err(error) if cannot(&error) => return self.publish_backed(),
            answer => answer.map_err(|cause| self.not_named(&cause))?,
        }
        // What came back is what was to be replaced; anything else is somebody's and goes back to its name.
        match folder.stat(&self.temporary) {
            Ok(Some(stat)) if stat.identity == old => Ok(State::Exchanged),
            _ => {
                folder
                    .exchange(&self.temporary, name)
                    .map_err(|cause| self.not_named(&cause))?;
                Err(self.failed(
                    libc::EBUSY,
                    "it was replaced by somebody else while it was copied to",
                ))
            }
        }
    }

    /// Without an exchange: keep the old file under a further name, then rename over it.
    fn publish_backed(&self) -> Result<State, JobError> {
        let Place { folder, name, .. } = &self.place;
        let backup = temporary_name(name).map_err(|cause| self.not_named(&cause))?;
        folder
            .link(name, &backup)
            .map_err(|cause| self.not_named(&cause))?;
        if let Err(cause) = folder.rename(&self.temporary, name) {
            let _ = folder.unlink(&backup);
            return Err(self.not_named(&cause));
        }
        Ok(State::Backed(backup))
    }

    /// Undoes [`publish`](Self::publish): the target is the old file again, or absent again. Nothing to undo is fine.
    pub fn take_back(&self) -> Result<(), JobError> {
        let Place { folder, name, .. } = &self.place;
        let mut state = self.state();
        match &*state {
            State::Beside | State::Done => return Ok(()),
            State::New => match folder.rename_new(name, &self.temporary) {
                Err(error) if cannot(&error) => folder.rename(name, &self.temporary),
                answer => answer,
            },
            State::Exchanged => folder.exchange(&self.temporary, name),
            State::Backed(backup) => folder
                .link(name, &self.temporary)
                .and_then(|()| folder.rename(backup, name)),
        }
        .map_err(|cause| {
            let errno = cause.raw_os_error().unwrap_or(libc::EIO);
            self.failed(
                errno,
                &format!(
                    "the old file could not be put back: {}",
                    super::error::cause_text(&cause)
                ),
            )
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
            State::Beside | State::New | State::Done => Ok(()),
        };
        *state = State::Done;
        answer
    }

    /// Removes the new file, which was not published. Removed already is fine.
    pub fn discard(&self) -> io::Result<()> {
        let mut state = self.state();
        if *state != State::Beside {
            return Ok(());
        }
        *state = State::Done;
        match self.place.folder.unlink(&self.temporary) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }

    /// The name the new file has beside its target, or the old one's after an exchange; for messages.
    pub fn temporary_path(&self) -> PathBuf {
        let name = match &*self.state() {
            State::Backed(backup) => backup.to_os_string(),
            _ => self.temporary.to_os_string(),
        };
        self.place.path.with_file_name(name)
    }

    /// The error of a folder sync that failed after the exchange.
    pub fn folder_not_synced(&self, cause: &io::Error) -> JobError {
        let errno = cause.raw_os_error().unwrap_or(libc::EIO);
        let text = super::error::cause_text(cause);
        self.failed(
            errno,
            &format!("committed, durability unknown: its folder could not be synced: {text}"),
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
        let _ = self.discard();
    }
}

/// Whether the file system lacks the operation, as opposed to it having failed.
fn cannot(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)
    )
}

fn create_beside(place: &Place) -> io::Result<(Name, File)> {
    // Names are random; a second collision would be no accident.
    for _ in 0..16 {
        let name = temporary_name(&place.name)?;
        match place.folder.create_exclusive(&name) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            answer => return answer.map(|file| (name, file)),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EEXIST))
}

/// `.NAME.blockjob-RANDOM`: hidden, beside its target in listings, and telling whose it is. A long name is cut.
fn temporary_name(target: &Name) -> io::Result<Name> {
    // The standard library's hash keys are random for each state: enough to keep names apart, and `O_EXCL` decides.
    let random = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    let tail = format!(".blockjob-{random:016x}");
    let mut name = OsString::from(".");
    let stem = target.to_os_string().into_vec();
    let room = NAME_BYTES_MAX - tail.len() - 1;
    name.push(OsStr::from_bytes(&stem[..stem.len().min(room)]));
    name.push(tail);
    Name::new(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::metadata::Metadata;
    use crate::io::folder::Folder;
    use crate::io::stat::stat_path;
    use std::io::Write as _;
    use std::path::Path;
    use std::sync::Arc;

    fn place(folder: &Path, name: &str) -> Place {
        let path = folder.join(name);
        let existing = stat_path(&path).ok();
        Place {
            folder: Arc::new(Folder::open(folder).unwrap()),
            name: Name::new(OsStr::new(name)).unwrap(),
            metadata: match &existing {
                Some(stat) => Metadata::of_replaced(&File::open(&path).unwrap(), stat).unwrap(),
                None => Metadata::for_new(&stat_path(folder).unwrap()),
            },
            existing: existing.map(|stat| stat.identity),
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
        replacement.publish().unwrap();
        assert_eq!(names(scratch.path()), ["target"]);
        replacement.take_back().unwrap();
        assert!(!scratch.path().join("target").exists());
        replacement.publish().unwrap();
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
        replacement.publish().unwrap();
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
        replacement.publish().unwrap();
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
            let state = replacement.publish_backed().unwrap();
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
        assert_eq!(replacement.publish().unwrap_err().errno.get(), libc::EEXIST);
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
        assert_eq!(replacement.publish().unwrap_err().errno.get(), libc::EBUSY);
        drop(replacement);
        assert_eq!(
            (names(scratch.path()), read(scratch.path()).as_str()),
            (vec!["moved".into(), "target".into()], "theirs too")
        );
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
