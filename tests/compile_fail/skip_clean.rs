//! A job concludes only after clean.
use blockjob::driver::{Driver, JobOutcome};
use blockjob::engine::stage::Prepared;

fn decide(prepared: Prepared, driver: &dyn Driver) -> JobOutcome {
    prepared.commit(driver).conclude()
}

fn main() {}
