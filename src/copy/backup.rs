//! The `backup` driver: copies one source to one target. How it copies is `transfer`'s, by how many
//! workers is `work`'s.

use super::bad_map::BadMap;
use super::digest::Digest;
use super::error::{CopyError, Side};
use super::group::{CommitGroup, Member};
use super::holding::{Taken, resources};
use super::journal::Track;
use super::options::{CopyOptions, Durability};
use super::parked::Parked;
use super::piece::{Piece, PieceKind};
use super::replace::Replacement;
use super::report::{CopyReport, Ending};
use super::source::Source;
use super::technique::Technique;
use super::transfer::Transfer;
use super::verify::Verify;
use super::work::{IoTrace, Pass, Task, Trouble, lock};
use super::writing::Writing;
use crate::driver::{Driver, Flow, JobError, RunContext};
use crate::engine::{IoSide, JobOptions};
use crate::io::cache::reopen_direct;
use crate::io::stat::Stat;
use crate::model::ErrorPolicy;
use crate::trace::TraceSink;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Copies one source to one target. Made by [`CopyPlan`](super::CopyPlan), which has checked both.
///
/// Callbacks: `run` copies, gives the new file its metadata and syncs it; `prepare` sees whether the target still is
/// what it was; `commit` exchanges the names of the whole group; `abort` removes the new file; `clean` closes the
/// descriptors, and so does `free`, whoever still has a handle of the job. A driver that is freed or dropped and never
/// ran removes the new file too.
pub struct Backup {
    pub(super) options: CopyOptions,
    pub(super) report: Arc<CopyReport>,
    pub(super) group: Arc<CommitGroup>,
    /// There until `clean`.
    ends: Mutex<Option<Ends>>,
    pub(super) io_trace: Option<IoTrace>,
    /// What the target has of the source before the run, in bytes: in order, and apart.
    kept: Vec<Range<u64>>,
    /// For a new file. It goes with `clean`, and the journal with the last of its kind.
    track: Mutex<Option<Arc<Track>>>,
    bad_map: Option<Arc<BadMap>>,
}

/// Both ends, open or to be opened.
#[derive(Debug, Clone)]
pub(super) enum Ends {
    Open(Arc<Open>),
    /// Of a group that is too large to have all of its files open.
    Parked(Arc<Parked>),
}

impl Ends {
    /// What becomes of the target.
    fn taken(&self) -> Taken<'_> {
        match self {
            Self::Open(open) => match &open.target {
                Writing::Replace { replacement, .. } => Taken::Replaced(&replacement.place),
                Writing::InPlace(target) => Taken::InPlace(target),
            },
            Self::Parked(parked) => Taken::Replaced(&parked.replacement.place),
        }
    }

    pub fn replacement(&self) -> Option<&Arc<Replacement>> {
        match self {
            Self::Open(open) => match &open.target {
                Writing::Replace { replacement, .. } => Some(replacement),
                Writing::InPlace(_) => None,
            },
            Self::Parked(parked) => Some(&parked.replacement),
        }
    }

    fn source(&self) -> (&Path, &Stat) {
        match self {
            Self::Open(open) => (&open.source.path, &open.source.stat),
            Self::Parked(parked) => (&parked.source.path, &parked.source.stat),
        }
    }
}

/// The two ends.
#[derive(Debug)]
pub(super) struct Open {
    pub source: Source,
    pub target: Writing,
    /// What is tried to get the one into the other, in this order; not empty.
    pub techniques: Vec<Technique>,
    /// Both once more, for direct I/O.
    pub direct: Option<Direct>,
}

/// The two ends, past the page cache.
#[derive(Debug)]
pub(super) struct Direct {
    pub source: File,
    pub target: File,
}

impl Open {
    /// The two ends, opened for what is tried.
    pub fn new(
        source: Source,
        target: Writing,
        techniques: Vec<Technique>,
    ) -> Result<Self, CopyError> {
        let open = |side, file: &File, path: &Path| {
            reopen_direct(file, side == Side::Target).map_err(|cause| CopyError::NoDirect {
                side,
                path: path.to_owned(),
                cause,
            })
        };
        let direct = if techniques.contains(&Technique::Direct) {
            Some(Direct {
                source: open(Side::Source, &source.file, &source.path)?,
                target: open(Side::Target, target.file(), target.path())?,
            })
        } else {
            None
        };
        Ok(Self {
            source,
            target,
            techniques,
            direct,
        })
    }
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Backup")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl Backup {
    pub(super) fn new(
        ends: Ends,
        options: CopyOptions,
        report: Arc<CopyReport>,
        group: Arc<CommitGroup>,
    ) -> Self {
        if let Some(replacement) = ends.replacement() {
            group.join(Member {
                replacement: Arc::clone(replacement),
                report: Arc::clone(&report),
            });
        }
        Self {
            options,
            report,
            group,
            ends: Mutex::new(Some(ends)),
            io_trace: None,
            kept: Vec::new(),
            track: Mutex::new(None),
            bad_map: None,
        }
    }

    /// With a journal of what is written, and what is written already.
    pub(super) fn tracked(mut self, track: Track, kept: Vec<Range<u64>>) -> Self {
        self.track = Mutex::new(Some(Arc::new(track)));
        self.kept = kept;
        self
    }

    /// Lists there what cannot be read.
    pub(super) fn bad_map(mut self, map: Option<Arc<BadMap>>) -> Self {
        self.bad_map = map;
        self
    }

    /// Records the begin and the end of each piece of I/O, as `copy`, under this job and group. Before the job
    /// starts.
    #[must_use]
    pub fn record_io(
        mut self,
        sink: Arc<dyn TraceSink>,
        job: impl Into<String>,
        group: Option<String>,
    ) -> Self {
        self.io_trace = Some(IoTrace {
            sink,
            job: job.into(),
            group,
        });
        self
    }

    /// `options` for the job of this copy: with source and target as its resources, so that the manager refuses other
    /// copies that would get in its way.
    ///
    /// # Errors
    /// The target's folder cannot be looked at.
    pub fn hold(&self, mut options: JobOptions) -> Result<JobOptions, CopyError> {
        // `clean` closes the two ends, and comes after the job's creation.
        if let Some(ends) = &*lock(&self.ends) {
            for resource in resources(ends.source(), &ends.taken())? {
                options = options.resource(resource);
            }
        }
        Ok(options)
    }

    /// The running account, which outlives the driver.
    pub fn report(&self) -> Arc<CopyReport> {
        Arc::clone(&self.report)
    }

    pub(super) fn ends(&self) -> Option<Ends> {
        lock(&self.ends).clone()
    }
}

impl Driver for Backup {
    fn job_type(&self) -> &'static str {
        "backup"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        // A copy of its own: `clean` comes after the run, this cannot be `None` here, and would be a cancel.
        let open = match self.ends() {
            Some(Ends::Open(open)) => open,
            Some(Ends::Parked(parked)) => Arc::new(parked.open()?),
            None => return Err(JobError::canceled()),
        };
        self.report.begin();
        let answer = self.copy(&open, &mut context);
        self.report.finish();
        answer
    }

    fn prepare(&self) -> Result<(), JobError> {
        if let Some(replacement) = self.ends().as_ref().and_then(Ends::replacement) {
            replacement.check()?;
            self.group.prepared()?;
        }
        Ok(())
    }

    fn commit(&self) {
        match self.ends().as_ref().map(Ends::taken) {
            Some(Taken::Replaced(_)) => self.group.commit(),
            Some(Taken::InPlace(_)) => self.report.set_ending(Ending::Committed),
            None => {}
        }
    }

    fn abort(&self) {
        self.group.dissolve();
        let ends = self.ends();
        if let Some(replacement) = ends.as_ref().and_then(Ends::replacement) {
            self.report.set_ending(Ending::Aborted);
            if replacement.discard().is_err() {
                self.report.set_left_behind(replacement.temporary_path());
            }
        } else if ends.is_some() && self.report.is_touched() {
            self.report.set_ending(Ending::PartlyWritten);
        } else {
            self.report.set_ending(Ending::Aborted);
        }
    }

    fn clean(&self) {
        lock(&self.ends).take();
        lock(&self.track).take();
    }

    fn free(&self) {
        // A job that was given up before its start was neither aborted nor cleaned, and its members start together.
        self.group.dissolve();
        self.clean();
    }
}

impl Backup {
    fn copy(&self, open: &Open, context: &mut RunContext<'_>) -> Result<(), JobError> {
        let passes = if self.options.verify { 2 } else { 1 };
        context
            .progress()
            .set_remaining(open.source.size.saturating_mul(passes));
        let transfer = Transfer::new(open, &self.options, &self.report, &self.kept);
        let track = lock(&self.track).clone();
        let pass = Pass {
            op: "copy",
            workers: transfer.workers(),
            buffer_bytes: transfer.buffer_bytes(),
            io_trace: self.io_trace.as_ref(),
        };
        let tracked = Tracked {
            task: &transfer,
            track: track.as_deref(),
            file: open.target.file(),
            report: &self.report,
        };
        pass.run(&tracked, context)?;
        if self.options.durability != Durability::None {
            transfer.behind.settle(context)?;
        }
        // The sync may take long and cannot be interrupted: a pause or cancel asked for meanwhile comes first.
        if context.pause_point() == Flow::Cancelled {
            return Err(JobError::canceled());
        }
        let permit = context.io();
        if self.options.durability == Durability::Full {
            open.source.sync()?;
        }
        open.source.check_unchanged()?;
        if let Some(map) = &self.bad_map {
            // Before anybody can take the target for the whole source.
            map.write(open.source.size, &self.report.unreadable_ranges())?;
        }
        if let Some(track) = &track {
            track.before_sync()?;
        }
        let times = self.options.times.then(|| open.source.times());
        open.target.finish(self.options.durability, times)?;
        self.report
            .set_checksum(transfer.digest.as_ref().and_then(Digest::finish));
        drop(permit);
        if self.options.verify {
            self.verify(open, context)?;
            if times.is_some() {
                // It was read since.
                let _permit = context.io();
                open.target.finish(self.options.durability, times)?;
            }
        }
        transfer.behind.end();
        Ok(())
    }

    /// Reads the target back.
    fn verify(&self, open: &Open, context: &mut RunContext<'_>) -> Result<(), JobError> {
        let unreadable = self.report.unreadable_ranges();
        let verify = Verify::new(open, &self.options, &self.report, &unreadable)?;
        let pass = Pass {
            op: "verify",
            workers: verify.workers(),
            buffer_bytes: verify.buffer_bytes(),
            io_trace: self.io_trace.as_ref(),
        };
        let answer = pass.run(&verify, context);
        // A source that changed differs for that reason.
        open.source.check_unchanged()?;
        answer?;
        self.report.set_verified();
        Ok(())
    }
}

/// A task whose pieces are written down as they are done.
struct Tracked<'run> {
    task: &'run dyn Task,
    track: Option<&'run Track>,
    file: &'run File,
    report: &'run CopyReport,
}

impl Task for Tracked<'_> {
    fn next(&self, bytes_max: u64) -> Result<Option<Piece>, JobError> {
        self.task.next(bytes_max)
    }

    fn step(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, Trouble> {
        let moved = self.task.step(piece, buffer)?;
        if piece.kind == PieceKind::Kept {
            self.report.resumed(piece.bytes);
        } else if let Some(track) = self.track {
            track.note(piece.at..piece.at + piece.bytes, self.file)?;
        }
        Ok(moved)
    }

    fn policy(&self, side: IoSide) -> ErrorPolicy {
        self.task.policy(side)
    }

    /// Not written down: a resume has to learn anew what cannot be read, else nobody would list it.
    fn salvage(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, Trouble> {
        self.task.salvage(piece, buffer)
    }

    fn no_buffer(&self, bytes: usize, cause: &std::io::Error) -> JobError {
        self.task.no_buffer(bytes, cause)
    }
}
