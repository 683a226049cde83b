//! The run context belongs to the run.
use std::sync::Mutex;

use blockjob::driver::{Driver, JobError, RunContext};

struct Hoarder(Mutex<Option<RunContext<'static>>>);

impl Driver for Hoarder {
    fn job_type(&self) -> &'static str {
        "hoarder"
    }
    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        *self.0.lock().unwrap() = Some(context);
        Ok(())
    }
}

fn main() {}
