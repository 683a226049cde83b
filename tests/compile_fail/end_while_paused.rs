//! A paused job goes on before it ends.
use blockjob::driver::JobOutcome;
use blockjob::engine::stage::{Ended, Paused, Running};

fn end(paused: Paused<Running>, result: JobOutcome) -> Ended {
    paused.end(result)
}

fn main() {}
