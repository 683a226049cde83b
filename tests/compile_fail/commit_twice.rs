//! A job commits once.
use blockjob::driver::Driver;
use blockjob::engine::stage::{Committed, Prepared};

fn commit(prepared: Prepared, driver: &dyn Driver) -> (Committed, Committed) {
    (prepared.commit(driver), prepared.commit(driver))
}

fn main() {}
