//! What a copy says of its targets, held against what is there.

use super::disk::{Disk, Fault};
use crate::copy::{CopyJob, Ending, Method, Pair};
use crate::io::stat::stat_link;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the copy has to make of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Must {
    /// As if nothing had happened.
    Succeed,
    /// Anything but a success.
    Fail,
    /// Either, if the account is true.
    Tell,
}

/// What one run left.
pub(super) struct Outcome {
    pub(super) jobs: Result<Vec<CopyJob>, String>,
    pub(super) disk: Arc<Mutex<Disk>>,
    /// Calls that only looked at the pairs.
    pub(super) planned: usize,
    pub(super) pairs: Vec<Pair>,
    /// Bytes each source had when it was planned.
    pub(super) sizes: Vec<usize>,
    pub(super) olds: Vec<Option<Vec<u8>>>,
    pub(super) folder: tempfile::TempDir,
}

impl Outcome {
    /// Where the list of what cannot be read is.
    pub(super) fn map(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("map")
    }

    pub(super) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds what the copy says against what is there.
pub(super) fn judge(outcome: &Outcome, must: Must) -> Result<(), String> {
    let disk = outcome.disk();
    if disk.endless {
        return Err("it does not end".into());
    }
    if let Some(wrong) = disk.wrong.first() {
        return Err(format!("a power cut would lose data: {wrong}"));
    }
    let succeeded = matches!(&outcome.jobs, Ok(jobs) if jobs.iter().all(CopyJob::succeeded));
    match must {
        Must::Succeed if !succeeded => {
            let why = match &outcome.jobs {
                Err(refusal) => refusal.clone(),
                Ok(jobs) => format!(
                    "{:?}",
                    jobs.iter().map(CopyJob::failure).collect::<Vec<_>>()
                ),
            };
            return Err(format!("it should succeed: {why}"));
        }
        Must::Fail if succeeded => return Err("it should not succeed".into()),
        _ => {}
    }
    let mut known: BTreeSet<PathBuf> = BTreeSet::from([outcome.map()]);
    let (mut news, mut stuck) = (Vec::new(), false);
    for (index, pair) in outcome.pairs.iter().enumerate() {
        known.extend([pair.source.clone(), pair.target.clone()]);
        let ending = match &outcome.jobs {
            Ok(jobs) => {
                let summary = jobs[index].summary();
                if let Some(left) = &summary.left_behind {
                    if !left.exists() {
                        return Err(format!(
                            "it says it left {}, which is not there",
                            left.display()
                        ));
                    }
                    known.insert(left.clone());
                }
                known.extend(summary.journal.clone());
                if jobs[index].succeeded() == jobs[index].failure().is_some() {
                    return Err(format!("{:?} {:?}", jobs[index].failure(), summary.ending));
                }
                let (progress, whole) = jobs[index].handle.progress_bytes();
                let mut done = summary.copied_bytes
                    + summary.hole_bytes
                    + summary.zero_bytes
                    + summary.resumed_bytes;
                if whole > summary.size_bytes {
                    // Read back, too.
                    done += summary.size_bytes;
                }
                if progress > done || (jobs[index].succeeded() && progress != whole) {
                    return Err(format!(
                        "target {index} has made {progress} of {whole} bytes progress, of {done} done"
                    ));
                }
                summary.ending
            }
            Err(_) => Ending::Unfinished,
        };
        let now = std::fs::read(&pair.target).ok();
        let mut source = std::fs::read(&pair.source).unwrap();
        for bad in &disk.bad {
            source[bad.start as usize..bad.end as usize].fill(0);
        }
        let old = &outcome.olds[index];
        let new = match &ending {
            Ending::Committed | Ending::DurabilityUnknown(_) => {
                // What lies beyond the source in a target written in place stays.
                let same = now.as_ref().is_some_and(|now| {
                    now.starts_with(&source)
                        && match (&outcome.jobs, old) {
                            (Ok(jobs), Some(old)) if in_place(&jobs[index]) => {
                                now[source.len()..] == old[source.len()..]
                            }
                            _ => now.len() == source.len(),
                        }
                });
                // Zeros where it could not be read: which is told, and is another test's.
                let unreadable = matches!(&outcome.jobs, Ok(jobs)
                    if jobs[index].summary().unreadable_bytes > 0 && disk.bad.is_empty());
                if !same && !unreadable && !source_changed(&disk) {
                    return Err(format!("target {index} is not its source, and {ending:?}"));
                }
                true
            }
            Ending::Stuck(_) => {
                stuck = true;
                if now.as_ref() != Some(&source) {
                    return Err(format!("target {index} is stuck, and not new"));
                }
                let left = known.iter().filter_map(|path| std::fs::read(path).ok());
                if old.is_some() && !left.into_iter().any(|left| Some(left) == *old) {
                    return Err(format!("the old contents of target {index} are lost"));
                }
                continue;
            }
            Ending::PartlyWritten => {
                let (now, old) = (now.unwrap_or_default(), old.clone().unwrap_or_default());
                let size = outcome.sizes[index];
                if now.len() != old.len() || now[size..] != old[size..] {
                    return Err(format!("target {index} is changed beyond its source"));
                }
                continue;
            }
            Ending::Undone(_) | Ending::Aborted | Ending::Unfinished | Ending::Unpivoted => {
                if now != *old {
                    return Err(format!("target {index} is not what it was, and {ending:?}"));
                }
                false
            }
        };
        if ending == Ending::Committed && !disk.careless {
            let target = stat_link(&pair.target).unwrap().identity;
            let pages = disk.pages.get(&target).copied().unwrap_or_default();
            if pages.data || pages.metadata || pages.lost || !disk.names_not_synced.is_empty() {
                return Err(format!(
                    "a power cut would lose target {index}: {pages:?}, names of {:?}",
                    disk.names_not_synced
                ));
            }
        }
        if ending.is_success() && old.is_none() {
            let mode = std::fs::metadata(&pair.target)
                .unwrap()
                .permissions()
                .mode()
                & 0o777;
            if mode != 0o640 & !crate::io::process::creation_mask() {
                return Err(format!("target {index} has mode {mode:o}"));
            }
        }
        news.push(new);
    }
    if news.iter().any(|new| *new != news[0]) {
        return Err(format!("some targets are new and some are not: {news:?}"));
    }
    for entry in std::fs::read_dir(outcome.folder.path().canonicalize().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        // Nobody is left to tell of what could not be removed before there was a job, and one account has room for
        // one name.
        let unsaid = disk.unlink_failed && (outcome.jobs.is_err() || stuck);
        if !known.contains(&path) && !unsaid {
            return Err(format!("{} is left behind unsaid", path.display()));
        }
    }
    Ok(())
}

pub(super) fn in_place(job: &CopyJob) -> bool {
    job.summary().method == Method::InPlace
}

/// The source is not what it was when it was read.
pub(super) fn source_changed(disk: &Disk) -> bool {
    let changes = [Fault::Shrinks, Fault::Grows];
    disk.faults.values().any(|fault| changes.contains(fault))
}
