//! The main loop stays on the thread that made it.
use blockjob::engine::MainLoop;

fn elsewhere(mut main_loop: MainLoop) {
    std::thread::spawn(move || main_loop.run());
}

fn main() {}
