//! Chores of the project, one file each: `cargo xtask test`, `cargo xtask prove`, `cargo xtask
//! museum`, `cargo xtask mutants`, `cargo xtask results`, `cargo xtask bench`, `cargo xtask setup`.

mod bench;
mod copy;
mod museum;
mod mutants;
mod overhead;
mod prove;
mod results;
mod setup;
mod steps;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the project. None installs anything but `setup`.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Everything a change must pass: format, lints, documentation, all tests, the build without
    /// the command, the quick part of `prove`, and QEMU where it is installed.
    Test,
    /// The harnesses in proofs/ under loom and shuttle, each execution judged by the
    /// specification.
    Prove(prove::Options),
    /// Puts the real bugs of proofs/museum into the code, one at a time; the check that each names
    /// must fail.
    Museum(museum::Options),
    /// Small mistakes put into the code by cargo-mutants, one at a time: proofs/MUTATION.md. Hours.
    Mutants(mutants::Options),
    /// Searches the specification, runs every harness, and writes proofs/RESULTS.md. Minutes.
    Results(results::Options),
    /// Installs, on Debian, what the parts need that are skipped without: QEMU, a browser, the copy's peers.
    Setup,
    /// The benchmarks in benches/: ratios beside an empty loop and beside other tools, and which goals
    /// are met. Never fails by time. Ten minutes.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    match Arguments::parse().chore {
        Chore::Test => test::run(),
        Chore::Prove(options) => prove::run(&options),
        Chore::Museum(options) => museum::run(&options),
        Chore::Mutants(options) => mutants::run(&options),
        Chore::Results(options) => results::run(&options),
        Chore::Setup => setup::run(),
        Chore::Bench(options) => bench::run(&options),
    }
}
