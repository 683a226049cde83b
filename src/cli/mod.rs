//! The command: one subcommand a file, each from its arguments to an [`Answer`](output::Answer).
//!
//! | file | what |
//! |---|---|
//! | [`args`] | sizes: what several subcommands read |
//! | [`output`], [`progress`] | standard output, colours, exit codes; the progress bar |
//! | [`session`] | copies under way, recorded if wanted |
//! | [`controls`] | signals, as requests to jobs |
//! | [`demo`] | everything once |
//! | [`copy`] | pairs of files, as jobs |
//! | [`recover`] | a commit that a crash interrupted, finished or undone |
//! | [`check`] | recorded behaviour, judged |
//! | [`conform`] | a live implementation, driven and judged |
//! | [`explore`] | the specification, searched |
//! | [`spec`] | its tables and diagrams |
//! | [`vectors`] | conformance vectors, written or run |
//! | [`serve`] | the engine as a QMP server |
//! | [`schema`] | JSON Schemas of the machine output |
//! | [`warnings`] | what the library warns of, on standard error |

mod args;
mod check;
mod conform;
mod controls;
mod copy;
mod demo;
mod explore;
mod output;
mod progress;
mod recover;
mod schema;
mod serve;
mod session;
mod spec;
mod state;
mod vectors;
mod warnings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::Output;

const EXIT_CODES: &str = "\
Exit codes: 0 done, and the verdict is good; 1 done, and the verdict is bad (a trace was rejected, a \
property does not hold, a copy failed or was cancelled); 2 it could not be done (usage, unreadable \
or malformed input).";

/// Block jobs: run them, judge them, explore what they may do.
#[derive(Parser)]
#[command(name = "blockjob", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show everything once, on scratch files, in under half a minute
    Demo,
    /// Copy files and block devices, all or nothing
    #[command(long_about = copy::LONG)]
    Copy(copy::Arguments),
    /// Finish or undo a group of copies whose commit was interrupted by a crash
    #[command(long_about = recover::LONG)]
    Recover(recover::Arguments),
    /// Judge recorded behaviour of a job engine
    #[command(long_about = check::LONG)]
    Check(check::Arguments),
    /// Drive a live implementation over QMP, and judge it
    #[command(long_about = conform::LONG)]
    Conform(conform::Arguments),
    /// Search the specification for everything that must hold
    #[command(long_about = explore::LONG)]
    Explore(explore::Arguments),
    /// Serve the engine to QMP clients
    #[command(long_about = serve::LONG)]
    Serve(serve::Arguments),
    /// Print the tables and diagrams of the specification
    Spec(spec::Arguments),
    /// Write conformance vectors, or run them against an implementation
    #[command(long_about = vectors::LONG)]
    Vectors(vectors::Arguments),
    /// Print the JSON Schemas of machine output and trace files
    Schema(schema::Arguments),
}

/// Runs the command line this process was started with.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let _warnings = warnings::Warnings::install();
    let mut output = Output::new();
    let answer = match &arguments.command {
        Command::Demo => demo::run(&mut output),
        Command::Copy(arguments) => copy::run(arguments, &mut output),
        Command::Recover(arguments) => recover::run(arguments, &mut output),
        Command::Check(arguments) => check::run(arguments, &mut output),
        Command::Conform(arguments) => conform::run(arguments, &mut output),
        Command::Explore(arguments) => explore::run(arguments, &mut output),
        Command::Serve(arguments) => serve::run(arguments, &mut output),
        Command::Spec(arguments) => Ok(spec::run(arguments, &mut output)),
        Command::Vectors(arguments) => vectors::run(arguments, &mut output),
        Command::Schema(arguments) => Ok(schema::run(arguments, &mut output)),
    };
    output.finish(answer)
}
