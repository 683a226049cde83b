//! The `mirror` driver: copies a source that is written meanwhile, again and again what changed of it, until both are
//! the same; stays so; and makes the target the one to use when it is told to.
//!
//! ```text
//! run       first pass ─ more passes while something changed ─ ready ─ passes, now and then, while something changed
//! complete  sync ─ nobody writes any more ─ last passes ─ sync ─ end of the run
//! prepare   last look at source and target
//! commit    the target takes its name ─ writers are told to write there
//! ```
//!
//! Who writes the source and says so ([`Mirror::writers`]) is followed by a [dirty bitmap](crate::mirror): what he
//! writes is copied again, and from the last test for clean until the target has its name he waits, so that no write
//! falls between. Who writes and does not say so is found out by the file's times (`watch`); then source and target
//! are compared. He cannot be made to wait: what he writes after the last pass makes the mirror fail where it can be
//! seen.
//!
//! A soft cancel of a ready mirror is a success without a switch-over: a target that would be replaced stays what it
//! was, the copy beside it goes, and writers stay with the source. A target in place is then a copy of this moment.

mod pass;
mod plan;
mod run;
mod watch;

use super::backup::{Backup, Ends, Open};
use super::error::CopyError;
use super::plan::CopyDriver;
use super::report::{CopyReport, Ending};
use super::work::lock;
use crate::driver::{Driver, Errno, Finish, JobError, RunContext};
use crate::engine::JobOptions;
use crate::mirror::{DirtyBitmap, Follower, NotSwitched, Quiet, Writers, follow};
use crate::trace::TraceSink;
use pass::Left;
use run::Run;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use watch::Look;

pub use plan::{MirrorJob, MirrorPlan};

/// Who writes a source while it is mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SourceWriters {
    /// Those who say so by [`Writers::write`], and nobody else. Nothing is read but what they mark.
    Announced,
    /// Anybody. When a file's times have moved, the whole of it is compared with its target. Of a block device nothing
    /// tells that it was written; it is compared once, when the mirror is completed.
    #[default]
    Any,
}

/// Mirrors one source to one target. Made by [`MirrorPlan`], which has checked both.
///
/// Callbacks: as those of [`Backup`], but `run` becomes ready and stays so until it is told to complete, and `commit`
/// lets the announced writers go over to the target: they wait from the end of the run until then, or until `abort`.
pub struct Mirror {
    backup: Backup,
    source_writers: SourceWriters,
    writers: Writers,
    /// There until the run.
    follower: Mutex<Option<Follower>>,
    /// There from the end of a run that was completed: nobody writes who says so.
    quiet: Mutex<Option<Quiet>>,
    /// A cancel: no pass is needed to its end.
    enough: AtomicBool,
    /// A soft cancel: the target does not take its name.
    unpivoted: AtomicBool,
    /// The last look at the source that was good.
    last: Mutex<Option<Look>>,
}

/// A region of the bitmap unless pieces are smaller or the disk is large, in bytes: QEMU's default.
const GRANULARITY: u64 = 64 << 10;
/// Regions of a bitmap, at most: as many as take 16 MiB.
const REGIONS_MAX: u64 = 1 << 26;

impl std::fmt::Debug for Mirror {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Mirror")
            .field("report", &self.backup.report)
            .finish_non_exhaustive()
    }
}

impl Mirror {
    /// A mirror with the ends of `backup`.
    fn new(backup: Backup, source_writers: SourceWriters, size: u64) -> Result<Self, CopyError> {
        let granularity = granularity(size, backup.options.chunk_bytes as u64);
        let (writers, follower) = follow(size, granularity).map_err(|_| CopyError::TooLarge {
            path: backup.report.summary().source,
            size,
            limit: Some(DirtyBitmap::REGIONS_MAX.saturating_mul(granularity)),
        })?;
        Ok(Self {
            backup,
            source_writers,
            writers,
            follower: Mutex::new(Some(follower)),
            quiet: Mutex::new(None),
            enough: AtomicBool::new(false),
            unpivoted: AtomicBool::new(false),
            last: Mutex::new(None),
        })
    }

    /// For those who write the source while it is mirrored. What was written before the mirror was made need not be
    /// announced. Writes go on as announced ones until one of them is told that the mirror has
    /// [switched over](crate::mirror::Switched), or the job has ended.
    pub fn writers(&self) -> Writers {
        self.writers.clone()
    }

    fn is_replaced(&self) -> bool {
        let ends = self.backup.ends();
        ends.as_ref().and_then(Ends::replacement).is_some()
    }

    fn mirror(
        &self,
        open: &Open,
        follower: Follower,
        mut context: RunContext<'_>,
    ) -> Result<(), JobError> {
        let mut run = Run::new(self, open)?;
        // The first pass copies everything, and begins after this: what is written from now on is marked anew.
        while let Some(taken) = follower.take(0, u64::MAX) {
            taken.done();
        }
        run.first(&mut context)?;
        while run.round(Left::Followed(&follower), &mut context)? {}
        let mut context = context.ready();
        match run.stay(&follower, &mut context)? {
            Finish::Cancelled => return Err(JobError::canceled()),
            Finish::SoftCancel if self.is_replaced() => {
                // Before any member of the group is prepared: that comes after the runs of all.
                if let Some(replacement) = self.backup.ends().as_ref().and_then(Ends::replacement) {
                    self.backup.group.leave(replacement);
                }
                self.unpivoted.store(true, Ordering::Release);
            }
            Finish::SoftCancel => drop(run.last(follower, &mut context)?),
            Finish::Complete => {
                *lock(&self.quiet) = Some(run.last(follower, &mut context)?);
                // Only of a mirror that switches over: any other is done with its source.
                *lock(&self.last) = run.watch.last();
            }
        }
        Ok(())
    }
}

/// Bytes of a region: a power of two, no larger than a piece unless there would be too many.
fn granularity(size: u64, chunk_bytes: u64) -> u64 {
    let wanted = 1 << chunk_bytes.clamp(1, GRANULARITY).ilog2();
    wanted.max(size.div_ceil(REGIONS_MAX).next_power_of_two())
}

impl Driver for Mirror {
    fn job_type(&self) -> &'static str {
        "mirror"
    }

    fn supports_complete(&self) -> bool {
        true
    }

    fn cancel(&self, force: bool, ready: bool) -> bool {
        self.enough.store(true, Ordering::Release);
        force || !ready
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        // `clean` comes after the run, and there is one run.
        let (Some(Ends::Open(open)), Some(follower)) =
            (self.backup.ends(), lock(&self.follower).take())
        else {
            return Err(JobError::canceled());
        };
        self.backup.report.begin();
        let answer = self.mirror(&open, follower, context);
        self.backup.report.finish();
        answer
    }

    fn prepare(&self) -> Result<(), JobError> {
        if self.backup.group.is_torn() {
            return Err(JobError::with_message(
                Errno::CANCELED,
                "a mirror of the group was cancelled, so none of them switches over",
            ));
        }
        if self.unpivoted.load(Ordering::Acquire) {
            return Ok(());
        }
        if let (Some(Ends::Open(open)), Some(last)) = (self.backup.ends(), *lock(&self.last))
            && !last.is_still(&open.source)?
        {
            return Err(JobError::with_message(
                Errno::IO,
                format!(
                    "source {} was written after the last pass over it, by somebody whom the mirror cannot make wait",
                    open.source.path.display()
                ),
            ));
        }
        self.backup.prepare()
    }

    fn commit(&self) {
        if self.unpivoted.load(Ordering::Acquire) {
            self.backup.abort();
            self.backup.report.set_ending(Ending::Unpivoted);
            return;
        }
        let Some(quiet) = lock(&self.quiet).take() else {
            // In place, by a soft cancel.
            self.backup.commit();
            return;
        };
        let switched = quiet.switch(|| {
            self.backup.commit();
            match self.backup.report.summary().ending {
                // The name is the new file's, whether or not it will last.
                Ending::Committed | Ending::DurabilityUnknown(_) | Ending::Stuck(_) => Ok(()),
                ending => Err(ending),
            }
        });
        if let Err(NotSwitched::Dirty(_)) = switched {
            debug_assert!(false, "nobody has written since the last test");
            self.backup.abort();
        }
    }

    fn abort(&self) {
        // Writers go on with the source.
        lock(&self.quiet).take();
        self.backup.abort();
    }

    fn clean(&self) {
        self.backup.clean();
        lock(&self.follower).take();
    }

    fn free(&self) {
        self.clean();
        self.backup.free();
    }
}

impl CopyDriver for Mirror {
    fn record_io(mut self, sink: Arc<dyn TraceSink>, job: String, group: Option<String>) -> Self {
        self.backup = self.backup.record_io(sink, job, group);
        self
    }

    fn hold(&self, options: JobOptions) -> Result<JobOptions, CopyError> {
        self.backup.hold(options)
    }

    fn report(&self) -> Arc<CopyReport> {
        self.backup.report()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_no_larger_than_pieces_and_their_bitmap_is_small() {
        assert_eq!(granularity(1 << 30, 512 << 10), 64 << 10);
        assert_eq!(granularity(1 << 30, 4096), 4096);
        assert_eq!(granularity(1 << 30, 12_288), 8192);
        assert_eq!(granularity(0, 4096), 4096);
        let huge = i64::MAX as u64;
        assert!(huge.div_ceil(granularity(huge, 4096)) <= REGIONS_MAX);
        follow(1 << 42, granularity(1 << 42, 512 << 10)).unwrap();
    }
}
