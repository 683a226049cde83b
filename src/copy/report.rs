//! What one copy did: counted while it runs, summed up at the end.

use super::options::{CopyOptions, Durability};
use super::technique::Technique;
use crate::driver::JobError;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a target comes by its new contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// A new file takes a free name.
    Create,
    /// A new file takes the name of an old one.
    Replace,
    /// The existing file or device is written.
    InPlace,
}

impl Method {
    /// One word, for output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::InPlace => "in-place",
        }
    }
}

/// What became of the target. The job's outcome says how the run went; this says what is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Not decided yet, or the job was given up before it started.
    Unfinished,
    /// The target has the new contents, as durable as was asked for.
    Committed,
    /// The target has the new contents, but syncing its folder failed: after a power cut it may be the old file.
    DurabilityUnknown(JobError),
    /// The names could not be exchanged for the whole group, and were put back: the target is what it was.
    Undone(JobError),
    /// As [`Undone`](Self::Undone), but this target's old file could not be put back: it has the new contents, and
    /// the old ones are in the file named in the error.
    Stuck(JobError),
    /// The target is what it was.
    Aborted,
    /// The copy was given up in the middle of writing in place: part of the target is new, the rest is old.
    PartlyWritten,
    /// A mirror that was ready has ended well without switching over: the target is what it was.
    Unpivoted,
}

impl Ending {
    /// Whether the target has the new contents and is as durable as was asked for.
    pub fn is_success(&self) -> bool {
        *self == Self::Committed
    }

    /// One word, for output.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unfinished => "unfinished",
            Self::Committed => "committed",
            Self::DurabilityUnknown(_) => "durability-unknown",
            Self::Undone(_) => "undone",
            Self::Stuck(_) => "stuck",
            Self::Aborted => "aborted",
            Self::PartlyWritten => "partly-written",
            Self::Unpivoted => "unpivoted",
        }
    }

    /// What went wrong after the engine had decided, if anything did.
    pub fn error(&self) -> Option<&JobError> {
        match self {
            Self::DurabilityUnknown(error) | Self::Undone(error) | Self::Stuck(error) => {
                Some(error)
            }
            Self::Unfinished
            | Self::Committed
            | Self::Aborted
            | Self::PartlyWritten
            | Self::Unpivoted => None,
        }
    }
}

/// The running account of one copy. Shared by its driver and whoever shows progress; any thread.
#[derive(Debug)]
pub struct CopyReport {
    source: PathBuf,
    target: PathBuf,
    method: Method,
    size_bytes: u64,
    copied_bytes: AtomicU64,
    cloned_bytes: AtomicU64,
    offloaded_bytes: AtomicU64,
    hole_bytes: AtomicU64,
    zero_bytes: AtomicU64,
    touched: AtomicBool,
    direct: bool,
    durability: Durability,
    removed_leftovers: Vec<PathBuf>,
    resumed_bytes: AtomicU64,
    passes: AtomicU64,
    recopied_bytes: AtomicU64,
    started_over: Option<String>,
    end: Mutex<End>,
}

#[derive(Debug)]
struct End {
    began: Option<Instant>,
    took: Option<Duration>,
    ending: Ending,
    left_behind: Option<PathBuf>,
    journal: Option<PathBuf>,
    /// In order, and apart.
    unreadable: Vec<Range<u64>>,
    checksum: Option<String>,
    verified: bool,
}

/// One copy, summed up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// As the user named it.
    pub source: PathBuf,
    /// As the user named it.
    pub target: PathBuf,
    /// How the target comes by its contents.
    pub method: Method,
    /// The source's size in bytes.
    pub size_bytes: u64,
    /// Bytes that came to be in the target as more than zeros: read and written, offloaded or cloned.
    pub copied_bytes: u64,
    /// Of them, bytes whose blocks source and target share.
    pub cloned_bytes: u64,
    /// Of them, bytes that the kernel or a server copied.
    pub offloaded_bytes: u64,
    /// How most of them came there.
    pub technique: Technique,
    /// What was asked to be on the disk in the end.
    pub durability: Durability,
    /// Bytes of holes that were neither read nor stored.
    pub hole_bytes: u64,
    /// Bytes read, found zero and not stored.
    pub zero_bytes: u64,
    /// Bytes that could not be read, and are zeros in the target.
    pub unreadable_bytes: u64,
    /// The BLAKE3 digest of what the target was given, in hexadecimal, where one was asked for.
    pub checksum: Option<String>,
    /// Whether the target was read back and is what the source is.
    pub verified: bool,
    /// From the first piece to the end of the run, sync and pauses included; zero for a run that never began.
    pub took: Duration,
    /// What became of the target.
    pub ending: Ending,
    /// A temporary file that could not be removed.
    pub left_behind: Option<PathBuf>,
    /// Temporary files that earlier copies to this target, which died, had left; removed before this one began.
    pub removed_leftovers: Vec<PathBuf>,
    /// Bytes that a copy which died had done, and this one did not do again.
    pub resumed_bytes: u64,
    /// How often a mirror went over the source, or over what changed of it; zero of a plain copy.
    pub passes: u64,
    /// Bytes that a mirror copied again, because they had changed.
    pub recopied_bytes: u64,
    /// Why a copy that was to continue another begins anew.
    pub started_over: Option<String>,
    /// A journal that is left: it could not be removed, or some names are not as they should be and
    /// [`recover`](super::recover) can try again.
    pub journal: Option<PathBuf>,
}

impl CopyReport {
    pub(super) fn new(
        source: &Path,
        target: &Path,
        method: Method,
        size_bytes: u64,
        options: &CopyOptions,
    ) -> Self {
        Self {
            source: source.to_owned(),
            target: target.to_owned(),
            method,
            size_bytes,
            copied_bytes: AtomicU64::new(0),
            cloned_bytes: AtomicU64::new(0),
            offloaded_bytes: AtomicU64::new(0),
            hole_bytes: AtomicU64::new(0),
            zero_bytes: AtomicU64::new(0),
            touched: AtomicBool::new(false),
            direct: options.technique == Some(Technique::Direct),
            durability: options.durability,
            removed_leftovers: Vec::new(),
            resumed_bytes: AtomicU64::new(0),
            passes: AtomicU64::new(0),
            recopied_bytes: AtomicU64::new(0),
            started_over: None,
            end: Mutex::new(End {
                began: None,
                took: None,
                ending: Ending::Unfinished,
                left_behind: None,
                journal: None,
                unreadable: Vec::new(),
                checksum: None,
                verified: false,
            }),
        }
    }

    pub(super) fn removed_leftovers(mut self, removed: Vec<PathBuf>) -> Self {
        self.removed_leftovers = removed;
        self
    }

    pub(super) fn add_removed(&mut self, removed: Vec<PathBuf>) {
        self.removed_leftovers.extend(removed);
    }

    pub(super) fn started_over(mut self, why: Option<String>) -> Self {
        self.started_over = why;
        self
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn copied(&self, bytes: u64) {
        self.copied_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn cloned(&self, bytes: u64) {
        self.cloned_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.copied(bytes);
    }

    pub(super) fn offloaded(&self, bytes: u64) {
        self.offloaded_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.copied(bytes);
    }

    pub(super) fn kept_hole(&self, bytes: u64) {
        self.hole_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn skipped_zeros(&self, bytes: u64) {
        self.zero_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn resumed(&self, bytes: u64) {
        self.resumed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A pass over the source, or over what changed of it, begins.
    pub(super) fn pass(&self) {
        self.passes.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes that were copied before were copied again.
    pub(super) fn recopied(&self, bytes: u64) {
        self.recopied_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A range could not be read.
    pub(super) fn unreadable(&self, range: Range<u64>) {
        let mut end = self.end();
        let index = end
            .unreadable
            .partition_point(|known| known.end < range.start);
        let (mut start, mut stop, mut after) = (range.start, range.end, index);
        while let Some(known) = end.unreadable.get(after)
            && known.start <= stop
        {
            start = start.min(known.start);
            stop = stop.max(known.end);
            after += 1;
        }
        end.unreadable.drain(index..after);
        end.unreadable.insert(index, start..stop);
    }

    /// What could not be read: in order, and apart.
    pub(super) fn unreadable_ranges(&self) -> Vec<Range<u64>> {
        self.end().unreadable.clone()
    }

    pub(super) fn set_checksum(&self, checksum: Option<String>) {
        self.end().checksum = checksum;
    }

    pub(super) fn set_verified(&self) {
        self.end().verified = true;
    }

    pub(super) fn begin(&self) {
        self.end().began = Some(Instant::now());
    }

    pub(super) fn finish(&self) {
        let mut end = self.end();
        end.took = end.began.map(|began| began.elapsed());
    }

    pub(super) fn set_ending(&self, ending: Ending) {
        self.end().ending = ending;
    }

    pub(super) fn set_left_behind(&self, path: PathBuf) {
        self.end().left_behind = Some(path);
    }

    pub(super) fn set_journal(&self, path: Option<PathBuf>) {
        self.end().journal = path;
    }

    /// Before each write to the target's file: one that fails may have written a part.
    pub(super) fn touch(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }

    /// Whether the target's file may have been changed.
    pub(super) fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// Whether the run has begun; those of a large group wait for their turn.
    pub fn has_begun(&self) -> bool {
        self.end().began.is_some()
    }

    /// Whether the run is over: everything is written, or it was given up.
    pub fn is_over(&self) -> bool {
        self.end().took.is_some()
    }

    /// The account as it stands.
    pub fn summary(&self) -> Summary {
        let end = self.end();
        let bytes = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (cloned, offloaded) = (bytes(&self.cloned_bytes), bytes(&self.offloaded_bytes));
        let read = bytes(&self.copied_bytes).saturating_sub(cloned + offloaded);
        let technique = if cloned > offloaded.max(read) {
            Technique::Clone
        } else if offloaded > read {
            Technique::Offload
        } else if self.direct {
            Technique::Direct
        } else {
            Technique::Buffered
        };
        Summary {
            technique,
            durability: self.durability,
            source: self.source.clone(),
            target: self.target.clone(),
            method: self.method,
            size_bytes: self.size_bytes,
            copied_bytes: self.copied_bytes.load(Ordering::Relaxed),
            cloned_bytes: cloned,
            offloaded_bytes: offloaded,
            hole_bytes: self.hole_bytes.load(Ordering::Relaxed),
            zero_bytes: self.zero_bytes.load(Ordering::Relaxed),
            unreadable_bytes: end
                .unreadable
                .iter()
                .map(|range| range.end - range.start)
                .sum(),
            checksum: end.checksum.clone(),
            verified: end.verified,
            took: end
                .took
                .or_else(|| end.began.map(|began| began.elapsed()))
                .unwrap_or_default(),
            ending: end.ending.clone(),
            left_behind: end.left_behind.clone(),
            removed_leftovers: self.removed_leftovers.clone(),
            resumed_bytes: self.resumed_bytes.load(Ordering::Relaxed),
            passes: self.passes.load(Ordering::Relaxed),
            recopied_bytes: self.recopied_bytes.load(Ordering::Relaxed),
            started_over: self.started_over.clone(),
            journal: end.journal.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_kept_in_order_and_apart() {
        let path = Path::new("x");
        let options = CopyOptions::new();
        let report = CopyReport::new(path, path, Method::Create, 100, &options);
        for range in [50..60, 10..20, 20..30, 70..80, 55..70, 90..91] {
            report.unreadable(range);
        }
        assert_eq!(report.unreadable_ranges(), [10..30, 50..80, 90..91]);
        assert_eq!(report.summary().unreadable_bytes, 51);
    }
}
