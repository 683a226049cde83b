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
mod watch;

use super::backup::{Backup, Ends, Open};
use super::error::CopyError;
use super::metadata::Times;
use super::options::{CopyOptions, Durability};
use super::plan::CopyDriver;
use super::report::{CopyReport, Ending};
use super::technique::Technique;
use super::transfer::Transfer;
use super::verify::Verify;
use super::work::{IoTrace, Pass, Task, lock};
use crate::driver::{Driver, Errno, Finish, Flow, JobError, Ready, RunContext};
use crate::engine::JobOptions;
use crate::io::cache::reopen;
use crate::io::durable;
use crate::io::stat::{FileKind, stat};
use crate::mirror::{DirtyBitmap, Follower, NotSwitched, Quiet, Writers, follow};
use crate::trace::TraceSink;
use pass::{Compared, Left, Marked, Recloned, Shared};
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use watch::{Look, Watch, check_size};

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
/// Between two looks at a source that was found unchanged.
const IDLE: Duration = Duration::from_millis(100);
/// Nobody ends a last pass early.
static NEVER: AtomicBool = AtomicBool::new(false);

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
            Finish::Complete => *lock(&self.quiet) = Some(run.last(follower, &mut context)?),
        }
        *lock(&self.last) = run.watch.last();
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

/// One run, from its first pass to its last.
struct Run<'run> {
    mirror: &'run Mirror,
    open: &'run Open,
    options: &'run CopyOptions,
    report: &'run CopyReport,
    io_trace: Option<&'run IoTrace>,
    watch: Watch<'run>,
    enough: &'run AtomicBool,
    /// The target once more, to be read.
    target: File,
    /// The technique that the first pass ended with.
    technique: Technique,
    /// How long the last pass over the whole source took.
    took: Duration,
}

impl<'run> Run<'run> {
    fn new(mirror: &'run Mirror, open: &'run Open) -> Result<Self, JobError> {
        let target = &open.target;
        Ok(Self {
            mirror,
            open,
            options: &mirror.backup.options,
            report: &mirror.backup.report,
            io_trace: mirror.backup.io_trace.as_ref(),
            watch: Watch::new(&open.source, mirror.source_writers),
            enough: &mirror.enough,
            target: reopen(target.file())
                .map_err(|cause| target.failed("cannot be opened to be read back", &cause))?,
            technique: Technique::Buffered,
            took: Duration::ZERO,
        })
    }

    fn shared(&self) -> Shared<'run> {
        Shared {
            open: self.open,
            options: self.options,
            report: self.report,
            enough: self.enough,
        }
    }

    fn transfer(&self) -> Transfer<'run> {
        Transfer::new(self.open, self.options, self.report, &[])
    }

    /// Goes over `bytes`, some of which may be found not to need it.
    fn pass<S>(
        &self,
        op: &'static str,
        task: &dyn Task,
        bytes: u64,
        buffer_bytes: usize,
        context: &mut RunContext<'_, S>,
    ) -> Result<(), JobError> {
        self.report.pass();
        context.progress().set_remaining(bytes);
        let pieces = bytes.div_ceil(self.options.chunk_bytes as u64);
        let pass = Pass {
            op,
            workers: self.options.workers.min(pieces.max(1) as usize),
            buffer_bytes,
            io_trace: self.io_trace,
        };
        pass.run(task, context)?;
        context.progress().set_remaining(0);
        Ok(())
    }

    /// Copies everything.
    fn first<S>(&mut self, context: &mut RunContext<'_, S>) -> Result<(), JobError> {
        self.watch.begin(context)?;
        let transfer = self.transfer();
        let (size, buffer_bytes) = (self.open.source.size, transfer.buffer_bytes());
        let began = context.now();
        self.pass("copy", &transfer, size, buffer_bytes, context)?;
        self.took = context.now().saturating_sub(began);
        self.technique = transfer.technique();
        Ok(())
    }

    /// One more pass, if there is a reason for it: whether there was.
    fn round<S>(
        &mut self,
        left: Left<'_>,
        context: &mut RunContext<'_, S>,
    ) -> Result<bool, JobError> {
        if !left.is_clean() {
            let transfer = self.transfer().again();
            let bytes = left.dirty_bytes();
            let task = Marked::new(self.shared(), &transfer, left);
            self.pass("recopy", &task, bytes, transfer.buffer_bytes(), context)?;
        } else if self.watch.has_changed()? {
            self.compare(context)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Finds what changed, wherever that is.
    fn compare<S>(&mut self, context: &mut RunContext<'_, S>) -> Result<(), JobError> {
        self.watch.begin(context)?;
        let size = self.open.source.size;
        let transfer = self.transfer().again();
        let shared = self.shared();
        let began = context.now();
        if self.technique == Technique::Clone {
            let task = Recloned {
                shared,
                transfer: &transfer,
            };
            self.pass("recopy", &task, size, transfer.buffer_bytes(), context)?;
        } else {
            let task = Compared::new(shared, &transfer, &self.target);
            self.pass("compare", &task, size, task.buffer_bytes(), context)?;
        }
        self.took = context.now().saturating_sub(began);
        if self.enough.load(Ordering::Acquire) {
            self.watch.broken_off();
        }
        Ok(())
    }

    /// Keeps the target up to date until the job is told how to end.
    fn stay(
        &mut self,
        follower: &Follower,
        context: &mut RunContext<'_, Ready>,
    ) -> Result<Finish, JobError> {
        while !context.finish_requested() {
            if context.sleep(IDLE.max(self.pause())) == Flow::Cancelled {
                return Ok(Finish::Cancelled);
            }
            if !context.finish_requested() {
                self.round(Left::Followed(follower), context)?;
            }
        }
        Ok(context.wait_for_finish())
    }

    /// Before another look at a source whose last pass took long: it is read no more than half of the time.
    fn pause(&self) -> Duration {
        match self.watch.has_changed() {
            Ok(true) => self.took,
            _ => Duration::ZERO,
        }
    }

    /// The last passes, with nobody writing who says so; then everything is where it has to be.
    fn last(
        &mut self,
        follower: Follower,
        context: &mut RunContext<'_, Ready>,
    ) -> Result<Quiet, JobError> {
        self.enough = &NEVER;
        // As much as can be while everybody writes: then the section in which nobody may is short.
        self.round(Left::Followed(&follower), context)?;
        self.write_out(context)?;
        let quiet = follower.quiesce();
        let mut look = self.mirror.source_writers == SourceWriters::Any
            && self.open.source.stat.kind == FileKind::BlockDevice;
        loop {
            while self.round(Left::Quiet(&quiet), context)? {}
            if std::mem::take(&mut look) {
                self.compare(context)?;
            }
            self.finish(context)?;
            if quiet.is_clean() && !self.watch.has_changed()? {
                return Ok(quiet);
            }
        }
    }

    /// Brings what was written to the disk, most of it a little at a time.
    fn write_out<S>(&self, context: &mut RunContext<'_, S>) -> Result<(), JobError> {
        if self.options.durability == Durability::None {
            return Ok(());
        }
        self.transfer().behind.settle(context)?;
        if context.pause_point() == Flow::Cancelled {
            return Err(JobError::canceled());
        }
        let _permit = context.io();
        let target = &self.open.target;
        durable::fdatasync(target.file()).map_err(|cause| target.failed("cannot be synced", &cause))
    }

    /// Metadata, sync, and reading back if that was asked for.
    fn finish<S>(&mut self, context: &mut RunContext<'_, S>) -> Result<(), JobError> {
        let transfer = self.transfer();
        if self.options.durability != Durability::None {
            transfer.behind.settle(context)?;
        }
        if context.pause_point() == Flow::Cancelled {
            return Err(JobError::canceled());
        }
        let permit = context.io();
        // Also of a source that nobody else should write: there is no telling what else is wrong.
        let source = &self.open.source;
        if self.options.durability == Durability::Full {
            source.sync()?;
        }
        let now = stat(&source.file)?;
        check_size(source, &now)?;
        let times = self.options.times.then(|| Times {
            modified: now.modified,
            ..source.times()
        });
        self.open.target.finish(self.options.durability, times)?;
        drop(permit);
        if self.options.verify {
            self.verify(context)?;
            if times.is_some() {
                // It was read since.
                let _permit = context.io();
                self.open.target.finish(self.options.durability, times)?;
            }
        }
        transfer.behind.end();
        Ok(())
    }

    fn verify<S>(&self, context: &mut RunContext<'_, S>) -> Result<(), JobError> {
        let verify = Verify::new(self.open, self.options, self.report, &[])?;
        context.progress().set_remaining(self.open.source.size);
        let pass = Pass {
            op: "verify",
            workers: verify.workers(),
            buffer_bytes: verify.buffer_bytes(),
            io_trace: self.io_trace,
        };
        match pass.run(&verify, context) {
            // A source that changed differs for that reason, and is gone over once more.
            Err(error) if error.errno != Errno::CANCELED && self.watch.has_changed()? => {
                context.progress().set_remaining(0);
            }
            answer => {
                answer?;
                self.report.set_verified();
            }
        }
        Ok(())
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
