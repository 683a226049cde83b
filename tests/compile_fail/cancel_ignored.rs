//! Whoever comes out of a pause point asks whether to go on.
#![deny(unused_must_use)]
use blockjob::driver::RunContext;

fn work(mut context: RunContext<'_>) {
    loop {
        context.pause_point();
    }
}

fn main() {}
