//! What one job was given, another is not.
use blockjob::engine::{JobOptions, Resource};

fn options(disk: Resource) -> (JobOptions, JobOptions) {
    (
        JobOptions::new("a").resource(disk),
        JobOptions::new("b").resource(disk),
    )
}

fn main() {}
