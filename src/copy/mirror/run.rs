//! One run of a mirror: its passes, and when there is a reason for one.

use super::super::backup::Open;
use super::super::metadata::Times;
use super::super::options::{CopyOptions, Durability};
use super::super::report::CopyReport;
use super::super::technique::Technique;
use super::super::transfer::Transfer;
use super::super::verify::Verify;
use super::super::work::{IoTrace, Pass, Task};
use super::pass::{Compared, Left, Marked, Recloned, Shared};
use super::watch::{Watch, check_size};
use super::{Mirror, SourceWriters};
use crate::driver::{Errno, Finish, Flow, JobError, Ready, RunContext};
use crate::io::cache::{forget, reopen};
use crate::io::durable;
use crate::io::stat::{FileKind, stat};
use crate::mirror::{Follower, Quiet};
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two looks at a source that was found unchanged.
const IDLE: Duration = Duration::from_millis(100);
/// Nobody ends a last pass early.
static NEVER: AtomicBool = AtomicBool::new(false);

/// One run, from its first pass to its last.
pub(super) struct Run<'run> {
    mirror: &'run Mirror,
    open: &'run Open,
    options: &'run CopyOptions,
    report: &'run CopyReport,
    io_trace: Option<&'run IoTrace>,
    pub watch: Watch<'run>,
    enough: &'run AtomicBool,
    /// The target once more, to be read.
    target: File,
    /// The technique that the first pass ended with.
    technique: Technique,
    /// How long the last pass over the whole source took.
    took: Duration,
    /// How often the source was held against the target.
    compared: u64,
}

impl<'run> Run<'run> {
    pub fn new(mirror: &'run Mirror, open: &'run Open) -> Result<Self, JobError> {
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
            compared: 0,
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
    pub fn first<S>(&mut self, context: &mut RunContext<'_, S>) -> Result<(), JobError> {
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
    pub fn round<S>(
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
        self.compared += 1;
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
    pub fn stay(
        &mut self,
        follower: &Follower,
        context: &mut RunContext<'_, Ready>,
    ) -> Result<Finish, JobError> {
        while !context.finish_requested() {
            if context.sleep(IDLE.max(self.pause())) == Flow::Cancelled {
                return Ok(Finish::Cancelled);
            }
            if !context.finish_requested()
                && !self.round(Left::Followed(follower), context)?
                && self.watch.has_settled()?
            {
                // Else a completion would have to.
                self.compare(context)?;
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
    pub fn last(
        &mut self,
        follower: Follower,
        context: &mut RunContext<'_, Ready>,
    ) -> Result<Quiet, JobError> {
        self.enough = &NEVER;
        // What somebody began to write before the last pass, and ended after it. By now he is stopped.
        let mut unsettled = self.watch.is_unsettled();
        let compared = self.compared;
        // As much as can be while everybody writes: then the section in which nobody may is short.
        self.round(Left::Followed(&follower), context)?;
        self.write_out(context)?;
        let quiet = follower.quiesce();
        let mut look = self.mirror.source_writers == SourceWriters::Any
            && self.open.source.stat.kind == FileKind::BlockDevice;
        loop {
            while self.round(Left::Quiet(&quiet), context)? {}
            if std::mem::take(&mut unsettled) && self.compared == compared {
                self.compare(context)?;
            }
            if std::mem::take(&mut look) {
                // What a file system that was mounted wrote to its device went past the device's own pages, and these are
                // left over from the first pass, which read them. Only advice.
                let _ = forget(&self.open.source.file, 0, 0);
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
