//! Nobody prepares before every member of the group has succeeded.
use blockjob::driver::Driver;
use blockjob::engine::stage::{Failed, Prepared, Waiting};

fn decide(waiting: Waiting, driver: &dyn Driver) -> Result<Prepared, Failed> {
    waiting.prepare(driver)
}

fn main() {}
