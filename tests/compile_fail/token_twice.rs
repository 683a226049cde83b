//! What pause_all held is released once.
use blockjob::engine::{Manager, PauseAllToken};

fn release(manager: &Manager, token: PauseAllToken) {
    manager.resume_all(token);
    manager.resume_all(token);
}

fn main() {}
