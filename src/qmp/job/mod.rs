//! Jobs of the server: real copies from node to node.
//!
//! | file | concept |
//! |---|---|
//! | this one | what both have: the two ends, the policies, one piece after the other |
//! | [`backup`] | copies what is there, once |
//! | [`mirror`] | copies until nothing is left to copy, and stays so until it is told to finish |
//! | [`pace`] | how much is copied at a time |
//!
//! What is written goes into the target where it is: whatever a job is given up at stays there, as in QEMU.
//! The body is alone: it reads and writes one piece at a time, so that a pause is acknowledged between two
//! of them.

pub mod backup;
pub mod mirror;
pub mod pace;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pace::{PIECE_BYTES_MAX, Pace};

use crate::driver::{AfterError, Errno, ErrorPolicy, IoSide, JobError, Retries, RunContext};
use crate::io::buffer::AlignedBuffer;
use crate::qmp::node::image_lock::ImageUse;
use crate::qmp::node::{Node, SourceUse};
use crate::trace::{Io, JobRecorder};

/// What is copied: everything there is, or nothing but what is written meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// `full`, and `top`, which is the same for what has nothing below.
    Full,
    /// `none`: the server writes to no source, so this copies nothing.
    None,
}

/// How a job is to copy.
#[derive(Debug)]
pub struct CopyOptions {
    /// What the job is called, for those who are told how it ended.
    pub job: String,
    /// Where from.
    pub source: Arc<Node>,
    /// Where to.
    pub target: Arc<Node>,
    /// What.
    pub sync: Sync,
    /// What becomes of an error of the source.
    pub on_source_error: ErrorPolicy,
    /// What becomes of an error of the target.
    pub on_target_error: ErrorPolicy,
    /// What other processes are told of it, until the job lets go of its nodes.
    pub locks: Vec<ImageUse>,
}

/// The two ends, until the job lets go of them.
#[derive(Debug)]
struct Ends {
    options: CopyOptions,
    #[expect(dead_code, reason = "held until it is dropped")]
    source_use: Option<SourceUse>,
}

/// The ends, and where their I/O is recorded.
struct Copier {
    ends: Mutex<Option<Arc<Ends>>>,
    /// A write was begun.
    wrote: AtomicBool,
    recorder: Option<JobRecorder>,
}

impl Copier {
    fn new(
        options: CopyOptions,
        source_use: Option<SourceUse>,
        recorder: Option<JobRecorder>,
    ) -> Copier {
        Copier {
            ends: Mutex::new(Some(Arc::new(Ends {
                options,
                source_use,
            }))),
            wrote: AtomicBool::new(false),
            recorder,
        }
    }

    /// For the run.
    fn ends(&self) -> Result<Arc<Ends>, JobError> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        // `clean` and `free` come after the run.
        ends.clone().ok_or_else(JobError::canceled)
    }

    /// The job was given up. What it wrote stays, so whoever runs the server is told where.
    fn give_up(&self) {
        // The body is through, and this thread has seen its end.
        if !self.wrote.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(ends) = self.ends() {
            let options = &ends.options;
            tracing::warn!(
                job = options.job,
                "what the job wrote before it was given up stays in {}",
                options.target.file().name()
            );
        }
    }

    /// Lets go of the nodes.
    fn release(&self) {
        let ends = self
            .ends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(ends);
    }

    /// Begins to copy: the buffer, and the length of both ends.
    fn begin<'a>(&'a self, ends: &'a Ends) -> Result<Copying<'a>, JobError> {
        let options = &ends.options;
        let length = options.source.length()?;
        if options.target.length()? != length {
            return Err(JobError::with_message(
                Errno::INVALID,
                "Source and target image have different sizes",
            ));
        }
        Ok(Copying {
            options,
            wrote: &self.wrote,
            recorder: self.recorder.as_ref(),
            length,
            buffer: AlignedBuffer::new(PIECE_BYTES_MAX)?,
            pace: Pace::default(),
            retries: Retries::default(),
        })
    }
}

/// A copy under way.
struct Copying<'a> {
    options: &'a CopyOptions,
    wrote: &'a AtomicBool,
    recorder: Option<&'a JobRecorder>,
    length: u64,
    /// One for the whole run.
    buffer: AlignedBuffer,
    pace: Pace,
    retries: Retries,
}

/// How a piece went.
#[derive(Debug)]
#[must_use = "a piece that was not copied ends the run"]
enum Piece {
    Copied,
    Cancelled,
}

/// What to do after an error that ends nothing.
enum Next {
    Again,
    Cancelled,
}

impl Copying<'_> {
    /// Copies `bytes` bytes at `at`, which fit the buffer. Errors are the policies'.
    fn copy<S>(
        &mut self,
        context: &mut RunContext<'_, S>,
        at: u64,
        bytes: u64,
    ) -> Result<Piece, JobError> {
        let begun = Instant::now();
        let (options, recorder, bytes) = (self.options, self.recorder, bytes as usize);
        let record = |op, work: &mut dyn FnMut() -> io::Result<()>| match recorder {
            None => work(),
            Some(recorder) => {
                let bytes = bytes as u64;
                recorder.io(
                    Io {
                        op,
                        offset: at,
                        bytes,
                    },
                    work,
                )
            }
        };
        loop {
            let permit = context.io();
            let buffer = &mut self.buffer[..bytes];
            let read = record("read", &mut || {
                if options.source.read(buffer, at)? < bytes {
                    // It was longer a moment ago.
                    return Err(io::Error::from_raw_os_error(libc::EIO));
                }
                Ok(())
            });
            drop(permit);
            match read {
                Ok(()) => break,
                Err(error) => match self.failed(context, IoSide::Read, error)? {
                    Next::Again => {}
                    Next::Cancelled => return Ok(Piece::Cancelled),
                },
            }
        }
        self.retries.reset();
        loop {
            let permit = context.io();
            let buffer = &self.buffer[..bytes];
            self.wrote.store(true, Ordering::Relaxed);
            let written = record("write", &mut || options.target.write(buffer, at));
            drop(permit);
            match written {
                Ok(()) => break,
                Err(error) => match self.failed(context, IoSide::Write, error)? {
                    Next::Again => {}
                    Next::Cancelled => return Ok(Piece::Cancelled),
                },
            }
        }
        self.retries.reset();
        self.pace.took(bytes as u64, begun.elapsed());
        Ok(Piece::Copied)
    }

    /// Waits until what was written is stored.
    fn flush<S>(&mut self, context: &mut RunContext<'_, S>) -> Result<Piece, JobError> {
        loop {
            let permit = context.io();
            let flushed = self.options.target.flush();
            drop(permit);
            match flushed {
                Ok(()) => return Ok(Piece::Copied),
                Err(error) => match self.failed(context, IoSide::Write, error)? {
                    Next::Again => {}
                    Next::Cancelled => return Ok(Piece::Cancelled),
                },
            }
        }
    }

    /// What the policy makes of an error: returns when the piece is to be tried again.
    fn failed<S>(
        &mut self,
        context: &mut RunContext<'_, S>,
        side: IoSide,
        error: io::Error,
    ) -> Result<Next, JobError> {
        let policy = match side {
            IoSide::Read => self.options.on_source_error,
            IoSide::Write => self.options.on_target_error,
        };
        match context.after_error(policy, side, error.into(), &mut self.retries) {
            AfterError::Retry => Ok(Next::Again),
            AfterError::GiveUp(error) => Err(error),
            AfterError::Cancelled => Ok(Next::Cancelled),
        }
    }
}
