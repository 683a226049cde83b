//! `mirror`: copies until nothing is left to copy, is ready from then on, and finishes when it is told to.
//!
//! What is left is kept in a [dirty bitmap](crate::mirror), in which a region is clean only once its copy is
//! done. Nobody writes to a source while it is mirrored: the server has no guests, and the engine keeps
//! other jobs from it. So a mirror that is ready stays converged, and to complete it moves no user of the
//! source over to the target, as there are none.

use super::{Copier, CopyOptions, Copying, Piece, Sync};
use crate::driver::{Driver, Errno, Finish, Flow, JobError, RunContext};
use crate::mirror::{Follower, NotSwitched, follow};
use crate::trace::JobRecorder;

/// Regions are this large unless told otherwise, in bytes: QEMU's default.
pub const GRANULARITY: u64 = 64 << 10;

/// Mirrors one node to another.
///
/// Callbacks: `run` copies, becomes ready, and waits; `abort` says where what was written stays; `clean`, or `free`
/// where there was none, lets go of the nodes.
pub struct Mirror {
    copier: Copier,
    granularity: u64,
}

impl Mirror {
    /// A mirror with these options and regions of `granularity` bytes, a power of two.
    pub fn new(options: CopyOptions, granularity: u64, recorder: Option<JobRecorder>) -> Mirror {
        Mirror {
            copier: Copier::new(options, None, recorder),
            granularity,
        }
    }
}

impl Driver for Mirror {
    fn job_type(&self) -> &'static str {
        "mirror"
    }

    fn supports_complete(&self) -> bool {
        true
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        let ends = self.copier.ends()?;
        let mut copying = self.copier.begin(&ends)?;
        let (_writers, follower) = follow(copying.length, self.granularity)
            .map_err(|error| JobError::with_message(Errno::INVALID, error.to_string()))?;
        if ends.options.sync == Sync::Full {
            context.progress().set_remaining(copying.length);
            if let Piece::Cancelled = converge(&mut copying, &follower, &mut context)? {
                return Ok(());
            }
        } else {
            while let Some(region) = follower.take(0, u64::MAX) {
                region.done();
            }
        }
        let mut context = context.ready();
        match context.wait_for_finish() {
            Finish::Cancelled => return Ok(()),
            Finish::SoftCancel | Finish::Complete => {}
        }
        let mut quiet = follower.quiesce();
        loop {
            // From here on nobody writes, and what is written is stored before anybody is told to go over.
            if let Piece::Cancelled = copying.flush(&mut context)? {
                return Ok(());
            }
            match quiet.switch(|| Ok::<(), JobError>(())) {
                Ok(()) => return Ok(()),
                Err(NotSwitched::Failed(_, error)) => return Err(error),
                Err(NotSwitched::Dirty(dirty)) => {
                    let follower = dirty.reopen();
                    if let Piece::Cancelled = converge(&mut copying, &follower, &mut context)? {
                        return Ok(());
                    }
                    quiet = follower.quiesce();
                }
            }
        }
    }

    fn abort(&self) {
        self.copier.give_up();
    }

    fn clean(&self) {
        self.copier.release();
    }

    fn free(&self) {
        self.copier.release();
    }
}

/// Copies what is dirty until nothing is, and waits until it is stored.
fn converge<S>(
    copying: &mut Copying<'_>,
    follower: &Follower,
    context: &mut RunContext<'_, S>,
) -> Result<Piece, JobError> {
    let mut from = 0;
    while let Some(region) = follower.take(from, copying.pace.bytes(context.speed_bytes_per_s())) {
        let range = region.range();
        // Beyond the end there is nothing to copy.
        let bytes = range.end.min(copying.length).saturating_sub(range.start);
        from = range.end;
        let mut at = range.start;
        while at < range.start + bytes {
            if context.pause_point() == Flow::Cancelled {
                return Ok(Piece::Cancelled);
            }
            let rest = range.start + bytes - at;
            let piece = copying.pace.bytes(context.speed_bytes_per_s()).min(rest);
            // A region that is not copied to its end is dirty again.
            match copying.copy(context, at, piece)? {
                Piece::Copied => {}
                Piece::Cancelled => return Ok(Piece::Cancelled),
            }
            at += piece;
            context.progress().advance(piece);
            if context.throttle(piece) == Flow::Cancelled {
                return Ok(Piece::Cancelled);
            }
        }
        region.done();
    }
    copying.flush(context)
}
