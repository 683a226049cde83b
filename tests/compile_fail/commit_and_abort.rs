//! A job that committed cannot be aborted.
use blockjob::driver::Driver;
use blockjob::engine::stage::{Aborted, Prepared};

fn decide(prepared: Prepared, driver: &dyn Driver) -> Aborted {
    prepared.commit(driver).abort(driver)
}

fn main() {}
