//! Nobody joins a transaction that has started.
use blockjob::driver::Driver;
use blockjob::engine::{JobOptions, Transaction};

fn join(mut transaction: Transaction, late: impl Driver) {
    let jobs = transaction.start();
    let _ = transaction.create(JobOptions::new("late"), late);
    drop(jobs);
}

fn main() {}
