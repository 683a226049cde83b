//! No I/O is in flight across a pause point.
use blockjob::driver::{Flow, RunContext};

fn work(mut context: RunContext<'_>) -> Flow {
    let permit = context.io();
    let flow = context.pause_point();
    drop(permit);
    flow
}

fn main() {}
