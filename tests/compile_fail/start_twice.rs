//! A job starts once.
use blockjob::engine::{CreatedJob, JobHandle};

fn start(created: CreatedJob) -> (JobHandle, JobHandle) {
    (created.start(), created.start())
}

fn main() {}
