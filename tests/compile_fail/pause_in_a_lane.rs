//! Lanes do not pause by themselves: they ask the gate.
use blockjob::driver::RunContext;

fn work(mut context: RunContext<'_>) {
    std::thread::scope(|scope| {
        scope.spawn(|| while context.pause_point() == blockjob::driver::Flow::Continue {});
        while context.pause_point() == blockjob::driver::Flow::Continue {}
    });
}

fn main() {}
