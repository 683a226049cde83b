//! The engine announces an I/O error; what becomes of it is the driver's business.
#![deny(unused_must_use)]
use blockjob::driver::{Errno, ErrorPolicy, IoSide, RunContext};

fn work(context: &RunContext<'_>) {
    context.error_action(ErrorPolicy::Stop, IoSide::Read, Errno::IO);
}

fn main() {}
