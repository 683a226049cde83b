//! Only a job whose body works pauses.
use blockjob::engine::stage::{Active, Created, Paused};

fn pause(created: Created) -> Paused<Created> {
    Active::park(created)
}

fn main() {}
