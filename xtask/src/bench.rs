//! `cargo xtask bench`: the benchmarks, one after the other, on an otherwise idle machine.

use std::process::ExitCode;

use crate::steps::{Steps, cargo};

/// Runs the benchmark called `name`, or all of them.
pub fn run(name: Option<&str>) -> ExitCode {
    let mut steps = Steps::new("xtask bench");
    let mut arguments = vec!["bench", "--locked", "--package", "blockjob"];
    match name {
        Some(name) => arguments.extend(["--bench", name]),
        None => arguments.push("--benches"),
    }
    steps.run("benchmarks", &mut cargo(&arguments));
    steps.finish()
}
