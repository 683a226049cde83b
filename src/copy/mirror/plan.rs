//! Pairs to be mirrored: checked, then started as one transaction.

use super::super::error::CopyError;
use super::super::options::CopyOptions;
use super::super::plan::{CopyJob, CopyPlan, Pair, PlannedCopy, start};
use super::{Mirror, SourceWriters};
use crate::driver::Driver;
use crate::engine::{JobOptions, Manager};
use crate::mirror::Writers;
use crate::model::ErrorPolicy;
use crate::trace::TraceSink;
use std::sync::Arc;

/// Most pairs of one plan: each keeps its files open and has a thread until all are completed.
const PAIRS_MAX: usize = 64;

/// As [`CopyPlan`], for mirrors. All of them switch over, or none: each becomes ready by itself, and when all were
/// completed their names are exchanged together.
///
/// ```
/// use blockjob::copy::{CopyOptions, MirrorPlan, Pair, SourceWriters};
/// use blockjob::engine::{JobOptions, Manager, ManagerConfig};
/// use blockjob::model::Status;
/// use std::os::unix::fs::FileExt as _;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let (source, target) = (folder.path().join("source"), folder.path().join("target"));
/// # std::fs::write(&source, "contents")?;
/// let pairs = [Pair::new(&source, &target)];
/// let plan = MirrorPlan::check(&pairs, &CopyOptions::new(), SourceWriters::Announced)?;
/// let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
/// let jobs = plan.start(&manager, |index| JobOptions::new(format!("mirror{index}")))?;
/// let (job, writers) = (&jobs[0].copy.handle, &jobs[0].writers);
///
/// let disk = std::fs::OpenOptions::new().write(true).open(&source)?;
/// writers.write(0..4, || disk.write_all_at(b"CONT", 0))??;
/// main_loop.run_until(|| job.status() == Status::Ready);
/// job.complete()?;
/// main_loop.run_until_idle();
/// // From now on the target is the one to write to.
/// assert!(writers.write(0..4, || ()).is_err());
/// # assert_eq!(std::fs::read(&target)?, b"CONTents");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MirrorPlan {
    plan: CopyPlan,
    source_writers: SourceWriters,
}

/// One mirror under way.
#[derive(Debug, Clone)]
pub struct MirrorJob {
    /// The job, and what it has done.
    pub copy: CopyJob,
    /// For those who write its source.
    pub writers: Writers,
}

impl MirrorPlan {
    /// Checks pairs and options. May block while files are looked at; any thread.
    ///
    /// # Errors
    /// As [`CopyPlan::check`]; or an option that a mirror cannot keep to, whose source changes while it is copied: to
    /// resume, to compute a digest on the way, to ignore what cannot be read.
    pub fn check(
        pairs: &[Pair],
        options: &CopyOptions,
        source_writers: SourceWriters,
    ) -> Result<Self, CopyError> {
        let conflicts = [
            (
                options.resume,
                "--resume",
                "what a mirror that died had copied may have been written since",
            ),
            (
                options.checksum,
                "--checksum",
                "what was copied may be written and copied again",
            ),
            (
                options.on_source_error == ErrorPolicy::Ignore,
                "--on-source-error ignore",
                "what cannot be read cannot be kept up to date",
            ),
            (
                options.bad_map.is_some(),
                "--bad-map",
                "what cannot be read cannot be kept up to date",
            ),
            (
                pairs.len() > PAIRS_MAX,
                "more than 64 pairs",
                "each keeps its files open until all are completed",
            ),
        ];
        for (is_wanted, other, why) in conflicts {
            if is_wanted {
                return Err(CopyError::Conflict {
                    what: "--mirror".to_owned(),
                    other: other.to_owned(),
                    why,
                });
            }
        }
        Ok(Self {
            plan: CopyPlan::check(pairs, options)?,
            source_writers,
        })
    }

    /// As [`CopyPlan::copies`].
    pub fn copies(&self) -> impl Iterator<Item = &PlannedCopy> {
        self.plan.copies()
    }

    /// As [`CopyPlan::record_io`].
    #[must_use]
    pub fn record_io(mut self, sink: Arc<dyn TraceSink>) -> Self {
        self.plan = self.plan.record_io(sink);
        self
    }

    /// As [`CopyPlan::start`]. The manager has to have room for as many bodies as there are pairs: a mirror that is
    /// ready keeps its own.
    ///
    /// # Errors
    /// As [`CopyPlan::start`].
    pub fn start(
        self,
        manager: &Manager,
        options: impl FnMut(usize) -> JobOptions,
    ) -> Result<Vec<MirrorJob>, CopyError> {
        self.start_with(manager, options, |_, mirror| mirror)
    }

    /// As [`CopyPlan::start_with`].
    ///
    /// # Errors
    /// As [`CopyPlan::start`].
    pub fn start_with<D: Driver>(
        self,
        manager: &Manager,
        options: impl FnMut(usize) -> JobOptions,
        wrap: impl FnMut(usize, Mirror) -> D,
    ) -> Result<Vec<MirrorJob>, CopyError> {
        let io_trace = self.plan.io_trace.clone();
        let drivers = self.drivers()?;
        let writers: Vec<_> = drivers.iter().map(Mirror::writers).collect();
        let jobs = start(drivers, io_trace.as_ref(), manager, options, wrap)?;
        let both = jobs.into_iter().zip(writers);
        Ok(both
            .map(|(copy, writers)| MirrorJob { copy, writers })
            .collect())
    }

    /// As [`CopyPlan::drivers`].
    ///
    /// # Errors
    /// As [`CopyPlan::start`], without the manager's.
    pub fn drivers(self) -> Result<Vec<Mirror>, CopyError> {
        let sizes: Vec<_> = self.copies().map(|copy| copy.size_bytes).collect();
        let backups = self.plan.drivers()?.into_iter().zip(sizes);
        backups
            .map(|(backup, size)| Mirror::new(backup, self.source_writers, size))
            .collect()
    }
}
