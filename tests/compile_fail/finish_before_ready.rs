//! Only a ready job is told how to finish.
use blockjob::driver::{Finish, RunContext};

fn work(mut context: RunContext<'_>) -> Finish {
    context.wait_for_finish()
}

fn main() {}
