//! The journal of copies that run: when it is made, what is written into it, and when it goes.
//!
//! Small copies have none: it is made when a copy has gone on for a while, or at once where the user names it, where a
//! dead copy is continued, and where a group is so large that its files cannot all be kept open. A group has one at
//! the latest when it decides. It goes with the last of the copies, when every name is as it should be.
//!
//! | who | writes |
//! |---|---|
//! | a worker, after so many bytes | what was written since |
//! | a thread of its own, now and then | that a sync begins; what is on the disk since it succeeded |
//! | the body, before the last sync | that it begins |
//! | the main loop | the decision, an undoing, the end |
//!
//! What a worker cannot write costs the chance to resume and nothing else. What the main loop cannot write is an error.

use super::file::{JournalFile, Spot, Taken};
use super::ranges::Ranges;
use super::record::{Member, RANGES_MAX, Record};
use super::tuning::Tuning;
use crate::copy::names::journal_name;
use crate::copy::report::CopyReport;
use crate::copy::work::lock;
use crate::driver::{Errno, JobError};
use crate::io::durable::fdatasync;
use crate::io::folder::{Folder, Name};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// The journal of one plan, written or not.
#[derive(Debug)]
pub(in crate::copy) struct Journal {
    spot: Spot,
    synced: bool,
    boot: Option<u128>,
    tuning: Tuning,
    members: Vec<Member>,
    /// The folders of the members, each once, and the first target in it.
    folders: Vec<(Arc<Folder>, Name)>,
    began: Instant,
    /// Bytes copied by all members.
    bytes: AtomicU64,
    /// The file was made, for whatever reason: then it says what is written, too.
    made: AtomicBool,
    /// Members whose driver still lives.
    living: AtomicUsize,
    tracked: Vec<Mutex<Tracked>>,
    written: Mutex<Written>,
    rested: Condvar,
}

/// What is in the file.
#[derive(Debug)]
struct Written {
    file: Option<JournalFile>,
    pointers: Vec<JournalFile>,
    /// It could not be made; it is not tried again for each piece.
    given_up: bool,
    folders_synced: bool,
    /// A sync is under way that nobody waits for.
    checkpoint: bool,
    /// Who made it, or the last one. He has the journal until he is gone.
    syncer: Option<JoinHandle<()>>,
    /// It is wanted after the end: a recovery may do what we could not.
    keep: bool,
}

/// One member's progress.
#[derive(Debug, Default)]
struct Tracked {
    /// All of it.
    done: Ranges,
    /// What the file does not say yet.
    unsaid: Ranges,
    unsaid_bytes: u64,
    /// Bytes since the last sync, and when that was.
    unsynced_bytes: u64,
    synced: Option<Instant>,
    failure: Option<JobError>,
}

impl Journal {
    pub fn new(
        spot: Spot,
        synced: bool,
        tuning: Tuning,
        members: Vec<Member>,
        folders: Vec<(Arc<Folder>, Name)>,
    ) -> Arc<Self> {
        Arc::new(Self {
            spot,
            synced,
            boot: tuning.boot(),
            tracked: members.iter().map(|_| Mutex::default()).collect(),
            tuning,
            members,
            folders,
            began: Instant::now(),
            bytes: AtomicU64::new(0),
            made: AtomicBool::new(false),
            living: AtomicUsize::new(0),
            written: Mutex::new(Written {
                file: None,
                pointers: Vec::new(),
                given_up: false,
                folders_synced: false,
                checkpoint: false,
                syncer: None,
                keep: false,
            }),
            rested: Condvar::new(),
        })
    }

    /// Where it is or would be.
    pub fn path(&self) -> PathBuf {
        self.spot.path.clone()
    }

    /// Makes it now.
    pub fn begin(&self) -> io::Result<()> {
        self.begun(&mut lock(&self.written)).map(drop)
    }

    /// Goes on with the journal of a dead copy, in its own file: what it says of the members' progress is replaced by
    /// these ranges, on the disk and not.
    pub fn continue_in(&self, taken: Taken, progress: &[(Ranges, Ranges)]) -> io::Result<()> {
        let mut file = taken.file;
        file.cut()?;
        let mut records = self.head();
        for (index, (synced, written)) in progress.iter().enumerate() {
            let index = index as u32;
            records.extend(said(synced, |ranges| Record::Synced { index, ranges }));
            records.extend(said(written, |ranges| Record::Written { index, ranges }));
            let mut tracked = lock(&self.tracked[index as usize]);
            tracked.done.add_all(synced);
            tracked.done.add_all(written);
        }
        file.append(&records)?;
        if self.synced {
            file.sync()?;
        }
        let mut written = lock(&self.written);
        self.point_at(&mut written, Some(&file))?;
        written.file = Some(file);
        self.made.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The members, as records.
    fn head(&self) -> Vec<Record> {
        let mut records = vec![Record::Header {
            boot: self.boot,
            synced: self.synced,
            members: self.members.len() as u32,
        }];
        records.extend(
            self.members
                .iter()
                .zip(0..)
                .map(|(member, index)| Record::Member {
                    index,
                    member: Box::new(member.clone()),
                }),
        );
        records.push(Record::Begun);
        records
    }

    /// The file, made if it is not there yet.
    fn begun<'a>(&self, written: &'a mut Written) -> io::Result<&'a mut JournalFile> {
        if written.file.is_none() {
            let mut file = JournalFile::create(&self.spot)?;
            let answer = file
                .append(&self.head())
                .and_then(|()| self.point_at(written, Some(&file)));
            if let Err(cause) = answer {
                written.file = Some(file);
                Self::give_up(written);
                return Err(cause);
            }
            written.file = Some(file);
            self.made.store(true, Ordering::Relaxed);
        }
        Self::standing(written)
    }

    /// The file, if there is one.
    fn standing(written: &mut Written) -> io::Result<&mut JournalFile> {
        let none = || io::Error::from_raw_os_error(libc::ENOENT);
        written.file.as_mut().ok_or_else(none)
    }

    /// It cannot be written, and is not tried again for each piece: what it says would be less and less true.
    fn give_up(written: &mut Written) {
        written.given_up = true;
        for file in written.pointers.drain(..).chain(written.file.take()) {
            let _ = file.remove();
        }
    }

    /// In each folder where nobody would find the journal by its name, makes a file that says where it is.
    fn point_at(&self, written: &mut Written, file: Option<&JournalFile>) -> io::Result<()> {
        let Some(file) = file else { return Ok(()) };
        let here = self.spot.folder.identity();
        let usual = crate::copy::names::is_journal(&self.spot.name.to_os_string());
        let mut path = None;
        for (folder, first) in &self.folders {
            if usual && folder.identity() == here {
                continue;
            }
            let name = journal_name(first)?;
            let spot = Spot {
                path: folder.path()?.join(name.to_os_string()),
                folder: Arc::clone(folder),
                name,
            };
            let path = match &path {
                Some(path) => path,
                None => path.insert(file.spot.real_path()?),
            };
            let mut pointer = match JournalFile::create(&spot) {
                Err(cause)
                    if cause.raw_os_error() == Some(libc::EEXIST) && is_stale(&spot, path) =>
                {
                    JournalFile::create(&spot)?
                }
                answer => answer?,
            };
            let answer = pointer
                .append(&[Record::Elsewhere { path: path.clone() }])
                .and_then(|()| if self.synced { pointer.sync() } else { Ok(()) });
            written.pointers.push(pointer);
            answer?;
        }
        Ok(())
    }

    /// What each member's driver is given.
    pub fn track(self: &Arc<Self>, index: usize, report: Arc<CopyReport>) -> Track {
        self.living.fetch_add(1, Ordering::AcqRel);
        Track {
            journal: Arc::clone(self),
            index,
            report,
        }
    }

    /// Every member is whole, and synced if that was asked for: from the moment this is on the disk names may be
    /// exchanged, and whoever finds the journal finishes that.
    pub fn decide(&self) -> Result<(), JobError> {
        let mut written = lock(&self.written);
        let answer = self
            .begun(&mut written)
            .map(drop)
            .and_then(|()| self.sync_folders(&mut written))
            .and_then(|()| {
                let file = self.begun(&mut written)?;
                if !file.is_in_place() {
                    return Err(io::Error::from_raw_os_error(libc::ESTALE));
                }
                if self.synced {
                    file.sync()?;
                }
                file.append(&[Record::Decided])?;
                if self.synced { file.sync() } else { Ok(()) }
            });
        answer.map_err(|cause| {
            let errno = cause
                .raw_os_error()
                .and_then(Errno::new)
                .unwrap_or(Errno::IO);
            let path = self.spot.path.display();
            let why = match cause.raw_os_error() {
                Some(libc::EEXIST) => "another copy has made it meanwhile".to_owned(),
                Some(libc::ESTALE) => "somebody has removed it".to_owned(),
                _ => crate::copy::error::cause_text(&cause),
            };
            JobError::with_message(
                errno,
                format!("the decision of the group cannot be recorded in journal {path}: {why}"),
            )
        })
    }

    /// The names of the new files on the disk, so that they can be found after a power cut.
    fn sync_folders(&self, written: &mut Written) -> io::Result<()> {
        if self.synced && !written.folders_synced {
            for (folder, _) in &self.folders {
                folder.sync()?;
            }
            written.folders_synced = true;
        }
        Ok(())
    }

    /// The group is given up, or its names are being put back.
    pub fn undo(&self) {
        self.say(Record::Undoing);
    }

    /// All names are as they should be.
    pub fn done(&self, committed: bool) {
        self.say(Record::Done { committed });
    }

    /// Says something that a recovery could see for itself, though not as surely.
    fn say(&self, record: Record) {
        if let Some(file) = &mut lock(&self.written).file
            && file.append(&[record]).is_ok()
            && self.synced
        {
            let _ = file.sync();
        }
    }

    /// Some names are not as they should be: leaves the journal for a recovery. Where it is.
    pub fn keep(&self) -> Option<PathBuf> {
        let mut written = lock(&self.written);
        written.keep = true;
        written.file.as_ref().map(|file| file.spot.path.clone())
    }

    /// The last member is through. The journal, if it could not be removed.
    fn end(&self) -> Option<PathBuf> {
        let mut written = lock(&self.written);
        while written.checkpoint {
            written = self
                .rested
                .wait(written)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(syncer) = written.syncer.take() {
            // He is on his way out, and asks for nothing more.
            let _ = syncer.join();
        }
        let (file, pointers) = (written.file.take(), std::mem::take(&mut written.pointers));
        if written.keep {
            return None;
        }
        for pointer in pointers {
            let _ = pointer.remove();
        }
        let file = file?;
        file.remove().is_err().then(|| file.spot.path.clone())
    }

    /// After a piece of a member was written.
    fn note(
        self: &Arc<Self>,
        index: usize,
        range: Range<u64>,
        file: &File,
    ) -> Result<(), JobError> {
        let length = range.end - range.start;
        let mut tracked = lock(&self.tracked[index]);
        if let Some(failure) = tracked.failure.take() {
            return Err(failure);
        }
        tracked.done.add(range.clone());
        tracked.unsaid.add(range);
        // Files of holes may be larger together than any number here.
        tracked.unsaid_bytes = tracked.unsaid_bytes.saturating_add(length);
        tracked.unsynced_bytes = tracked.unsynced_bytes.saturating_add(length);
        let sum = |bytes: u64| bytes.saturating_add(length);
        let before = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| {
                Some(sum(bytes))
            });
        let all = sum(before.unwrap_or_else(|bytes| bytes));
        let began = self.began.elapsed();
        let wanted = self.made.load(Ordering::Relaxed)
            || all >= self.tuning.begin_bytes
            || began >= self.tuning.begin_after;
        let size = self.members[index].source.size;
        if !wanted || tracked.unsaid_bytes < self.tuning.record_bytes(size) {
            return Ok(());
        }
        let mut written = lock(&self.written);
        if written.given_up {
            return Ok(());
        }
        let told = match self.begun(&mut written) {
            Ok(_) => Self::tell(index, &mut tracked, &mut written),
            Err(cause) => Err(cause),
        };
        if told.is_err() {
            Self::give_up(&mut written);
            return Ok(());
        }
        let since = tracked.synced.unwrap_or(self.began).elapsed();
        let due =
            tracked.unsynced_bytes >= self.tuning.sync_bytes || since >= self.tuning.sync_after;
        if !self.synced || !due || written.checkpoint {
            return Ok(());
        }
        tracked.unsynced_bytes = 0;
        tracked.synced = Some(Instant::now());
        if self.tuning.inline {
            drop((tracked, written));
            self.sync_member(index, file);
        } else {
            // The one before has ended, or this would not be due.
            written.syncer = self.checkpoint(index, file);
            written.checkpoint = written.syncer.is_some();
        }
        Ok(())
    }

    /// Writes down what was not said yet of a member.
    fn tell(index: usize, tracked: &mut Tracked, written: &mut Written) -> io::Result<()> {
        let index = index as u32;
        let records = said(&tracked.unsaid, |ranges| Record::Written { index, ranges });
        Self::standing(written)?.append(&records)?;
        tracked.unsaid = Ranges::default();
        tracked.unsaid_bytes = 0;
        Ok(())
    }

    /// Begins a sync of a member's file beside its workers: it takes as long as the disk does, and a pause must not
    /// wait for it. It writes nothing that was not written before. Who makes it, if it begins.
    fn checkpoint(self: &Arc<Self>, index: usize, file: &File) -> Option<JoinHandle<()>> {
        let file = file.try_clone().ok()?;
        let journal = Arc::clone(self);
        std::thread::Builder::new()
            .name("copy-checkpoint".to_owned())
            .spawn(move || {
                journal.sync_member(index, &file);
                drop(file);
                lock(&journal.written).checkpoint = false;
                journal.rested.notify_all();
            })
            .ok()
    }

    fn sync_member(&self, index: usize, file: &File) {
        let done = {
            let mut tracked = lock(&self.tracked[index]);
            let mut written = lock(&self.written);
            let begins = Record::Syncing {
                index: index as u32,
            };
            let begun = Self::tell(index, &mut tracked, &mut written)
                .and_then(|()| Self::standing(&mut written)?.append(&[begins]));
            if begun.is_err() {
                // Without that word a sync that fails could not be told from none.
                Self::give_up(&mut written);
                return;
            }
            tracked.done.clone()
        };
        if let Err(cause) = fdatasync(file) {
            // The next sync may succeed although something was lost: this one decides.
            lock(&self.tracked[index]).failure = Some(self.not_synced(index, &cause));
            return;
        }
        let mut written = lock(&self.written);
        let index = index as u32;
        let said = self.sync_folders(&mut written).and_then(|()| {
            let records = said(&done, |ranges| Record::Synced { index, ranges });
            let file = Self::standing(&mut written)?;
            file.append(&records)?;
            file.sync()
        });
        if said.is_err() {
            Self::give_up(&mut written);
        }
    }

    fn not_synced(&self, index: usize, cause: &io::Error) -> JobError {
        let member = &self.members[index];
        let path = member.folder.join(&member.name);
        crate::copy::writing::failed("target", &path, "cannot be synced", cause)
    }
}

/// Whether what has a pointer's name led nowhere, or here, and is gone now.
fn is_stale(spot: &Spot, here: &Path) -> bool {
    let Ok(Some(taken)) = spot.take() else {
        return false;
    };
    let stale = match &taken.content.elsewhere {
        Some(path) if path == here => true,
        Some(path) => Spot::at(path).is_ok_and(|spot| matches!(spot.look(), Ok(None))),
        None => taken.content.records == 0 && taken.damage.is_none(),
    };
    stale && taken.file.remove().is_ok()
}

/// A set of ranges, in as many records as it takes.
fn said(ranges: &Ranges, record: impl Fn(Vec<Range<u64>>) -> Record) -> Vec<Record> {
    let all: Vec<_> = ranges.iter().collect();
    all.chunks(RANGES_MAX)
        .map(|some| record(some.to_vec()))
        .collect()
}

/// One member's hold on the journal. The journal goes with the last of them.
#[derive(Debug)]
pub(in crate::copy) struct Track {
    journal: Arc<Journal>,
    index: usize,
    report: Arc<CopyReport>,
}

impl Track {
    /// After a piece was written. An error when a sync of what was written before has failed meanwhile.
    pub fn note(&self, range: Range<u64>, file: &File) -> Result<(), JobError> {
        self.journal.note(self.index, range, file)
    }

    /// Before the last sync: waits for one that is under way, and fails as it did.
    pub fn before_sync(&self) -> Result<(), JobError> {
        let journal = &*self.journal;
        let mut written = lock(&journal.written);
        while written.checkpoint {
            written = journal
                .rested
                .wait(written)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(file) = &mut written.file {
            let begins = Record::Syncing {
                index: self.index as u32,
            };
            if file.append(&[begins]).is_err() {
                Journal::give_up(&mut written);
            }
        }
        drop(written);
        lock(&journal.tracked[self.index])
            .failure
            .take()
            .map_or(Ok(()), Err)
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        if self.journal.living.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(left) = self.journal.end()
        {
            self.report.set_journal(Some(left));
        }
    }
}
