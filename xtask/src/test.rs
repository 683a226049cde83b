//! `cargo xtask test`: all a change must pass.

use std::process::ExitCode;

use crate::steps::{Steps, cargo, program};

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
    steps.run(
        "tests",
        &mut cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]),
    );
    // The interleavings: the same harnesses under loom and shuttle, each in a build of its own.
    steps.run(
        "proofs",
        &mut cargo(&[
            "run",
            "--quiet",
            "--locked",
            "--package",
            "xtask",
            "--",
            "prove",
            "--quick",
        ]),
    );
    qemu(&mut steps);
    pages(&mut steps);
    steps.finish()
}

/// The part that needs QEMU: a live `qemu-storage-daemon`, judged by the oracle, and beside our server.
fn qemu(steps: &mut Steps) {
    match program("qemu-storage-daemon") {
        Some(daemon) => steps.run(
            "QEMU",
            cargo(&[
                "test",
                "--locked",
                "--package",
                "blockjob",
                "--test",
                "qemu",
                "--test",
                "conform_qemu",
                "--test",
                "serve_beside_qemu",
            ])
            .env("BLOCKJOB_QEMU", daemon),
        ),
        None => steps.skip(
            "QEMU",
            "no qemu-storage-daemon on the search path; on Debian `apt-get install qemu-utils qemu-system-common` brings it",
        ),
    }
}

/// The part that needs a browser: the pages, as whoever reads them has them.
fn pages(steps: &mut Steps) {
    match program("chromium") {
        Some(browser) => steps.run(
            "pages",
            cargo(&[
                "test",
                "--locked",
                "--package",
                "blockjob",
                "--test",
                "pages",
            ])
            .env("BLOCKJOB_CHROMIUM", browser),
        ),
        None => steps.skip(
            "pages",
            "no chromium on the search path; on Debian `apt-get install chromium` brings it",
        ),
    }
}
