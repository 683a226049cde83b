//! `blockjob recover`: brings all targets of an interrupted commit to one side.

use std::path::PathBuf;

use blockjob::copy::recover;
use clap::Args;

use super::copy::{refusal, report};
use super::output::{Answer, Output, Verdict};

/// The long help.
pub const LONG: &str = "\
Finish or undo a group of copies whose commit was interrupted by a crash.

Several pairs are copied together or not at all, but their names are exchanged one after the other. A \
crash in the middle of that leaves some targets new and some old. Before the first exchange the decision \
is written into a journal, .TARGET.blockjob-journal beside the first target unless --journal named \
another. By that, and by which files have which names, this command makes every target the new one where \
every new file is there, else what it was where every old one is; and otherwise changes nothing and names \
the files that are in the way.

Before the decision nothing was exchanged: then every target is what it was, and nothing is done.

Exit codes: 0 every target is on one side; 2 the journal cannot be used, or nothing could be done.";

/// Arguments of `recover`.
#[derive(Args)]
pub struct Arguments {
    /// The journal, or a file beside another target of the group that says where it is
    journal: PathBuf,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Recovers, and says what was done.
pub fn run(arguments: &Arguments, output: &mut Output) -> Answer {
    let recovered = recover(&arguments.journal).map_err(|error| refusal(&error))?;
    report::recovered(&recovered, arguments.json, output);
    Ok(Verdict::Good)
}
