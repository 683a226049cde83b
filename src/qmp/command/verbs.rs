//! `job-*` and `block-job-*`: requests to a job that is there.
//!
//! Both families speak of the same jobs (SEMANTICS.md §2.0). They differ in what they call the job's id, in
//! what they say when there is none, and in `cancel`, which is by force in the newer one.

use serde_json::Value;

use super::Members;
use crate::engine::{CancelMode, EngineError};
use crate::qmp::error::Error;
use crate::trace::{RecordingHandle, RecordingManager};

/// What is asked.
#[derive(Clone, Copy, Debug)]
enum Request {
    Pause,
    Resume,
    Cancel(CancelMode),
    Complete,
    Finalize,
    Dismiss,
    SetSpeed(i64),
}

/// A request to a job.
#[derive(Clone, Copy, Debug)]
pub struct Verb<'a> {
    block_jobs: bool,
    id: &'a str,
    request: Request,
}

impl<'a> Verb<'a> {
    /// The one that this command is, if it is one.
    pub fn of(name: &str, arguments: &'a Members) -> Option<Verb<'a>> {
        let (block_jobs, verb) = match name.strip_prefix("block-job-") {
            Some(verb) => (true, verb),
            None => (false, name.strip_prefix("job-")?),
        };
        let request = match verb {
            "pause" => Request::Pause,
            "resume" => Request::Resume,
            "cancel" if block_jobs => {
                let force = arguments.get("force").and_then(Value::as_bool);
                Request::Cancel(if force == Some(true) {
                    CancelMode::Force
                } else {
                    CancelMode::Soft
                })
            }
            "cancel" => Request::Cancel(CancelMode::Force),
            "complete" => Request::Complete,
            "finalize" => Request::Finalize,
            "dismiss" => Request::Dismiss,
            "set-speed" if block_jobs => {
                Request::SetSpeed(arguments.get("speed").and_then(Value::as_i64)?)
            }
            _ => return None,
        };
        let id = arguments.get("device").or(arguments.get("id"));
        Some(Verb {
            block_jobs,
            id: id.and_then(Value::as_str)?,
            request,
        })
    }

    /// Asks the job.
    ///
    /// # Errors
    /// There is none, or it refuses.
    pub fn carry_out(&self, manager: &RecordingManager) -> Result<(), Error> {
        let answer = self.find(manager).and_then(|job| match self.request {
            Request::Pause => job.pause(),
            Request::Resume => job.resume(),
            Request::Cancel(mode) => job.cancel(mode),
            Request::Complete => job.complete(),
            Request::Finalize => job.finalize(),
            Request::Dismiss => job.dismiss(),
            Request::SetSpeed(bytes_per_s) => job.set_speed(bytes_per_s),
        });
        answer.map_err(|error| self.words(error).into())
    }

    fn find(&self, manager: &RecordingManager) -> Result<RecordingHandle, EngineError> {
        if self.block_jobs {
            manager.block_job(self.id)
        } else {
            manager.job(self.id)
        }
    }

    /// A job that went away after it was found was not found.
    fn words(&self, error: EngineError) -> EngineError {
        match error.refusal() {
            Some(blockjob_model::Refusal::NotFound) if self.block_jobs => {
                EngineError::BlockJobNotFound {
                    id: self.id.to_owned(),
                }
            }
            _ => error,
        }
    }
}
