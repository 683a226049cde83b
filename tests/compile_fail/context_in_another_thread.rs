//! Pause points belong to the body's own thread.
use blockjob::driver::RunContext;

fn work(mut context: RunContext<'_>) {
    std::thread::scope(|scope| {
        scope.spawn(move || context.pause_point());
    });
}

fn main() {}
