//! A created job does not run by itself.
#![deny(unused_must_use)]
use blockjob::driver::Driver;
use blockjob::engine::{EngineError, JobOptions, Manager};

fn create(manager: &Manager, driver: impl Driver) -> Result<(), EngineError> {
    manager.create(JobOptions::new("j0"), driver)?;
    Ok(())
}

fn main() {}
