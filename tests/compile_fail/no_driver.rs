//! A job needs a driver; a function is none.
use blockjob::driver::{JobError, RunContext};
use blockjob::engine::{CreatedJob, EngineError, JobOptions, Manager};

fn create(manager: &Manager) -> Result<CreatedJob, EngineError> {
    let run = |_context: RunContext<'_>| -> Result<(), JobError> { Ok(()) };
    manager.create(JobOptions::new("j0"), run)
}

fn main() {}
