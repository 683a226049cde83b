//! `cargo xtask test`: all a change must pass.

use std::process::ExitCode;

use crate::steps::{Steps, cargo};

/// Runs every check, in the order in which they are cheap.
pub fn run() -> ExitCode {
    let mut steps = Steps::new("xtask test");
    steps.run("format", &mut cargo(&["fmt", "--all", "--check"]));
    steps.run(
        "lints",
        &mut cargo(&[
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    );
    // The engine and the copy are for programs that want neither the command nor what it needs.
    steps.run(
        "library alone",
        &mut cargo(&[
            "clippy",
            "--locked",
            "--package",
            "blockjob",
            "--no-default-features",
            "--",
            "-D",
            "warnings",
        ]),
    );
    steps.run(
        "documentation",
        cargo(&["doc", "--locked", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
    );
    steps.run("tests", &mut cargo(&["test", "--locked", "--workspace"]));
    steps.finish()
}
