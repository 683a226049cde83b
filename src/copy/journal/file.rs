//! The file a journal is: found, opened with care, appended to, synced.

use super::content::{Content, Unreadable};
use super::record::{FileId, PREAMBLE, Place, Record};
use crate::copy::error::{CopyError, cause_text};
use crate::copy::names::{is_journal, journal_name};
use crate::copy::target;
use crate::io::durable::fdatasync;
use crate::io::extent::ftruncate;
use crate::io::folder::{Access, Folder, Name};
use crate::io::lock::{held_by_others, try_lock};
use crate::io::process::effective_user;
use crate::io::stat::{FileKind, Stat, stat};
use crate::io::transfer::{pread_full, pwrite_all};
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Larger is none of ours: a copy of the largest file makes some megabytes.
const BYTES_MAX: u64 = 1 << 30;

/// Where a journal is, or will be.
#[derive(Debug, Clone)]
pub(in crate::copy) struct Spot {
    pub folder: Arc<Folder>,
    pub name: Name,
    /// For messages.
    pub path: PathBuf,
}

impl Spot {
    /// The usual one, beside a target.
    pub fn beside(place: &target::Place) -> Result<Self, CopyError> {
        let name = journal_name(&place.name).map_err(|_| CopyError::NoFileName {
            path: place.path.clone(),
        })?;
        Ok(Self {
            path: place.path.with_file_name(name.to_os_string()),
            folder: Arc::clone(&place.folder),
            name,
        })
    }

    /// One that the user named.
    pub fn at(path: &Path) -> Result<Self, CopyError> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let name = path.file_name().and_then(|name| Name::new(name).ok());
        let name = name.ok_or_else(|| CopyError::NoFileName {
            path: path.to_owned(),
        })?;
        let folder = Folder::open(parent).map_err(|cause| CopyError::Folder {
            path: parent.to_owned(),
            cause,
        })?;
        Ok(Self {
            folder: Arc::new(folder),
            name,
            path: path.to_owned(),
        })
    }

    /// Its path without links, for others to find it.
    pub fn real_path(&self) -> io::Result<PathBuf> {
        Ok(self.folder.path()?.join(self.name.to_os_string()))
    }

    /// The error of one whose middle is not what was written.
    pub fn damaged(&self, at: u64) -> CopyError {
        self.refuse(format!(
            "it is damaged at byte {at}, so that what was decided is not known"
        ))
    }

    fn refuse(&self, reason: impl Into<String>) -> CopyError {
        CopyError::Journal {
            path: self.path.clone(),
            reason: reason.into(),
        }
    }

    /// Opens what is there, if it is a file of this user with one name; `None` when there is nothing.
    fn open(&self) -> Result<Option<(File, Stat)>, CopyError> {
        let file = match self.folder.open_file(&self.name, Access::ReadWrite) {
            Ok(file) => file,
            Err(cause) if cause.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            Err(cause) if cause.raw_os_error() == Some(libc::ELOOP) => {
                return Err(self.refuse("it is a symbolic link"));
            }
            Err(cause) => {
                return Err(self.refuse(format!("it cannot be opened: {}", cause_text(&cause))));
            }
        };
        let found = stat(&file).map_err(|cause| self.refuse(cause_text(&cause)))?;
        let reason = if found.kind != FileKind::Regular {
            format!("it is {}", found.kind)
        } else if found.links != 1 {
            format!("it has {} names", found.links)
        } else if found.user != effective_user() {
            "it belongs to another user".to_owned()
        } else if found.size > BYTES_MAX {
            format!("it is no journal: it has {} bytes", found.size)
        } else {
            return Ok(Some((file, found)));
        };
        Err(self.refuse(reason))
    }

    fn read(&self, file: &File, found: &Stat) -> Result<Result<Content, Unreadable>, CopyError> {
        let mut bytes = vec![0; found.size as usize];
        let got = pread_full(file, &mut bytes, 0)
            .map_err(|cause| self.refuse(format!("it cannot be read: {}", cause_text(&cause))))?;
        bytes.truncate(got);
        Ok(match Content::read(&bytes) {
            // Anybody's file may begin with zeros, an image of a disk above all; not one of that name.
            Err(Unreadable::Blank) if is_journal(&self.name.to_os_string()) => Ok(Content::empty()),
            answer => answer,
        })
    }

    /// What is there, without disturbing anybody.
    pub fn look(&self) -> Result<Option<Seen>, CopyError> {
        let Some((file, found)) = self.open()? else {
            return Ok(None);
        };
        let alive = held_by_others(&file).map_or(true, |held| held.is_some());
        Ok(Some(Seen {
            id: FileId::of(&found),
            alive,
            content: self.read(&file, &found)?,
        }))
    }

    /// Opens and locks what is there. Damage is told to the caller, who alone knows what it means.
    pub fn take(&self) -> Result<Option<Taken>, CopyError> {
        let Some((file, found)) = self.open()? else {
            return Ok(None);
        };
        let busy = || CopyError::JournalBusy {
            path: self.path.clone(),
        };
        if matches!(try_lock(&file), Ok(false)) {
            return Err(busy());
        }
        // Whoever had it may have removed it before the lock was had.
        let now = self
            .folder
            .stat(&self.name)
            .map_err(|cause| self.refuse(cause_text(&cause)))?;
        match now {
            Some(now) if now.identity == found.identity => {}
            Some(_) => return Err(busy()),
            None => return Ok(None),
        }
        // Read again: it may have grown.
        let found = stat(&file).map_err(|cause| self.refuse(cause_text(&cause)))?;
        let (content, damage) = match self.read(&file, &found)? {
            Ok(content) => (content, None),
            Err(Unreadable::Damaged { at, before }) => (*before, Some(at)),
            Err(Unreadable::NoJournal | Unreadable::Blank) => {
                return Err(self.refuse("it is no journal"));
            }
            Err(Unreadable::Version) => {
                return Err(self.refuse("another version of this program wrote it"));
            }
        };
        Ok(Some(Taken {
            file: JournalFile {
                id: FileId::of(&found),
                file,
                spot: self.clone(),
                at: content.bytes,
                records: content.records,
                number: content.journal,
                durable: 0,
                broken: false,
            },
            content,
            damage,
        }))
    }
}

/// A journal that was looked at.
#[derive(Debug)]
pub(in crate::copy) struct Seen {
    pub id: FileId,
    /// Somebody has it locked.
    pub alive: bool,
    pub content: Result<Content, Unreadable>,
}

/// A dead copy's journal, now ours.
#[derive(Debug)]
pub(in crate::copy) struct Taken {
    pub file: JournalFile,
    pub content: Content,
    /// Where it is damaged; then the content is what stands before that.
    pub damage: Option<u64>,
}

/// A journal that is being written. Its lock is held for as long as this lives.
#[derive(Debug)]
pub(in crate::copy) struct JournalFile {
    file: File,
    pub spot: Spot,
    id: FileId,
    /// Where the next record goes.
    at: u64,
    records: u64,
    number: u64,
    /// Bytes known to be on the disk.
    durable: u64,
    /// A write or a sync failed: what it says from there on is not known, and no later success can tell.
    broken: bool,
}

impl JournalFile {
    /// Makes a new one, empty; `EEXIST` when there is something of that name.
    pub fn create(spot: &Spot) -> io::Result<Self> {
        let file = spot.folder.create_exclusive(&spot.name)?;
        let begun = || {
            if matches!(try_lock(&file), Ok(false)) {
                return Err(io::Error::from_raw_os_error(libc::EBUSY));
            }
            Ok(FileId::of(&stat(&file)?))
        };
        let id = begun().inspect_err(|_| drop(spot.folder.unlink(&spot.name)))?;
        let mut state = std::hash::RandomState::new().build_hasher();
        state.write_u64(id.identity.inode);
        Ok(Self {
            file,
            spot: spot.clone(),
            id,
            at: 0,
            records: 0,
            number: state.finish(),
            durable: 0,
            broken: false,
        })
    }

    /// Which file it is.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Forgets what stands behind the last whole record.
    pub fn cut(&mut self) -> io::Result<()> {
        ftruncate(&self.file, self.at).inspect_err(|_| self.broken = true)
    }

    /// Writes records behind the others, all at once.
    pub(super) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.usable()?;
        let mut bytes = Vec::new();
        if self.at == 0 {
            bytes.extend_from_slice(PREAMBLE);
        }
        for (record, sequence) in records.iter().zip(self.records..) {
            bytes.extend(record.encode(Place {
                journal: self.number,
                sequence,
                durable: self.durable,
            }));
        }
        pwrite_all(&self.file, &bytes, self.at).inspect_err(|_| self.broken = true)?;
        self.at += bytes.len() as u64;
        self.records += records.len() as u64;
        Ok(())
    }

    /// Brings all records so far to the disk, and with the first of them the journal's name.
    pub fn sync(&mut self) -> io::Result<()> {
        self.usable()?;
        fdatasync(&self.file)
            .and_then(|()| match self.durable {
                0 => self.spot.folder.sync(),
                _ => Ok(()),
            })
            .inspect_err(|_| self.broken = true)?;
        self.durable = self.at;
        Ok(())
    }

    fn usable(&self) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(())
    }

    /// Whether the name is still this file's.
    pub fn is_in_place(&self) -> bool {
        matches!(self.spot.folder.stat(&self.spot.name), Ok(Some(stat)) if self.id.is(&stat, true))
    }

    /// Removes it, if its name still is its own.
    pub fn remove(&self) -> io::Result<()> {
        if !self.is_in_place() {
            return Ok(());
        }
        self.spot.folder.unlink(&self.spot.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::journal::content::Stage;

    fn spot(folder: &Path) -> Spot {
        Spot::at(&folder.join("journal")).unwrap()
    }

    fn reason(answer: Result<Option<Taken>, CopyError>) -> String {
        answer.unwrap_err().to_string()
    }

    #[test]
    fn what_was_written_is_read_back_and_continued() {
        let scratch = tempfile::tempdir().unwrap();
        let spot = spot(scratch.path());
        let mut journal = JournalFile::create(&spot).unwrap();
        journal.append(&[Record::Decided]).unwrap();
        journal.sync().unwrap();
        assert!(spot.look().unwrap().unwrap().alive);
        assert!(matches!(spot.take(), Err(CopyError::JournalBusy { .. })));
        drop(journal);
        // A torn end.
        let mut bytes = std::fs::read(&spot.path).unwrap();
        bytes.extend([7; 100]);
        std::fs::write(&spot.path, bytes).unwrap();
        let mut taken = spot.take().unwrap().unwrap();
        assert_eq!(taken.content.stage, Stage::Decided);
        taken.file.cut().unwrap();
        taken
            .file
            .append(&[Record::Done { committed: false }])
            .unwrap();
        let seen = spot.look().unwrap().unwrap().content.unwrap();
        assert_eq!(
            (seen.stage, seen.records),
            (Stage::Done { committed: false }, 2)
        );
        taken.file.remove().unwrap();
        assert!(spot.look().unwrap().is_none());
    }

    #[test]
    fn only_a_file_of_ones_own_with_one_name_is_taken() {
        let scratch = tempfile::tempdir().unwrap();
        let spot = spot(scratch.path());
        assert!(spot.take().unwrap().is_none());
        let other = scratch.path().join("other");
        std::fs::write(&other, PREAMBLE).unwrap();
        std::os::unix::fs::symlink(&other, &spot.path).unwrap();
        assert!(reason(spot.take()).contains("symbolic link"));
        std::fs::remove_file(&spot.path).unwrap();
        std::fs::hard_link(&other, &spot.path).unwrap();
        assert!(reason(spot.take()).contains("2 names"));
        std::fs::remove_file(&other).unwrap();
        assert!(spot.take().unwrap().is_some());
        if crate::io::process::is_privileged() {
            std::os::unix::fs::chown(&spot.path, Some(1), None).unwrap();
            assert!(reason(spot.take()).contains("another user"));
            std::os::unix::fs::chown(&spot.path, Some(0), None).unwrap();
        } else {
            eprintln!("SKIP: another user's journal: needs root");
        }
        std::fs::write(&spot.path, "a shopping list").unwrap();
        assert!(reason(spot.take()).contains("no journal"));
        std::fs::write(&spot.path, "blockjob copy journal 9\n").unwrap();
        assert!(reason(spot.take()).contains("another version"));
        std::fs::remove_file(&spot.path).unwrap();
        std::fs::create_dir(&spot.path).unwrap();
        assert!(spot.take().is_err());
    }

    #[test]
    fn after_a_failed_write_nothing_succeeds_any_more() {
        let scratch = tempfile::tempdir().unwrap();
        let spot = spot(scratch.path());
        let mut journal = JournalFile::create(&spot).unwrap();
        journal.file = File::open(&spot.path).unwrap();
        assert!(journal.append(&[Record::Decided]).is_err());
        journal.file = File::options().write(true).open(&spot.path).unwrap();
        assert!(journal.append(&[Record::Decided]).is_err());
        assert!(journal.sync().is_err());
    }
}
