//! `backup`: copies what is there, once, from the beginning to the end.

use super::{Copier, CopyOptions, Piece, Sync};
use crate::driver::{Driver, Flow, JobError, RunContext};
use crate::qmp::node::SourceUse;
use crate::trace::JobRecorder;

/// Copies one node to another.
///
/// Callbacks: `run` copies; `abort` says where what was written stays; `clean`, or `free` where there was none, lets
/// go of the nodes. There is nothing to prepare or commit: what was written is there.
pub struct Backup(Copier);

impl Backup {
    /// A backup with these options; each piece of its I/O is recorded, if wanted.
    pub fn new(options: CopyOptions, recorder: Option<JobRecorder>) -> Backup {
        let source_use = SourceUse::new(&options.source);
        Backup(Copier::new(options, Some(source_use), recorder))
    }
}

impl Driver for Backup {
    fn job_type(&self) -> &'static str {
        "backup"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        let ends = self.0.ends()?;
        let mut copying = self.0.begin(&ends)?;
        context.progress().set_remaining(copying.length);
        if ends.options.sync == Sync::None {
            // Copies before others write; nobody does. Ends when it is told to.
            while context.wait() == Flow::Continue {}
            return Ok(());
        }
        let mut at = 0;
        while at < copying.length {
            if context.pause_point() == Flow::Cancelled {
                return Ok(());
            }
            let piece = copying.pace.bytes(context.speed_bytes_per_s());
            let bytes = piece.min(copying.length - at);
            match copying.copy(&mut context, at, bytes)? {
                Piece::Copied => {}
                Piece::Cancelled => return Ok(()),
            }
            at += bytes;
            context.progress().advance(bytes);
            // After the last piece there is nothing to wait for.
            if at < copying.length && context.throttle(bytes) == Flow::Cancelled {
                return Ok(());
            }
        }
        Ok(())
    }

    fn abort(&self) {
        self.0.give_up();
    }

    fn clean(&self) {
        self.0.release();
    }

    fn free(&self) {
        self.0.release();
    }
}
