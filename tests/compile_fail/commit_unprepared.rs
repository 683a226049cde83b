//! A job that did not prepare cannot commit.
use blockjob::driver::Driver;
use blockjob::engine::stage::{Committed, Succeeded};

fn decide(succeeded: Succeeded, driver: &dyn Driver) -> Committed {
    succeeded.commit(driver)
}

fn main() {}
