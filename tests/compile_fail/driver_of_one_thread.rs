//! A driver is called from two threads.
use std::cell::Cell;

use blockjob::driver::{Driver, JobError, RunContext};

struct Counting(Cell<u64>);

impl Driver for Counting {
    fn job_type(&self) -> &'static str {
        "counting"
    }
    fn run(&self, _context: RunContext<'_>) -> Result<(), JobError> {
        self.0.set(self.0.get() + 1);
        Ok(())
    }
}

fn main() {}
