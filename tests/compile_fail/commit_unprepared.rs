//! A job that did not prepare cannot commit.
use blockjob::driver::Driver;
use blockjob::engine::stage::{Committed, Pending};

fn decide(pending: Pending, driver: &dyn Driver) -> Committed {
    pending.commit(driver)
}

fn main() {}
