//! A job becomes ready once.
use blockjob::driver::RunContext;

fn work(context: RunContext<'_>) {
    let first = context.ready();
    let second = context.ready();
    drop((first, second));
}

fn main() {}
