//! The oracle: judges recordings of job engines by the specification.
//!
//! ```text
//! file → reader (lines, format, records) → judge (fields, acceptor) → verdict → text, JSON
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`reader`] | the formats, streaming; what a line is |
//! | [`judge`] | what a line may be at that place |
//! | [`fields`] | checks of fields that need no belief |
//! | `run` | one judgement on its way |
//! | [`verdict`] | what is said of a trace, and its text and JSON |
//! | [`explain`] | why a trace is rejected, and what led there |
//! | [`watch`] | a trace's steps, whatever its format, for who counts or draws them |
//! | [`coverage`] | which parts of the specification a set of traces shows |
//! | [`story`] | a trace as something that can be drawn |
//! | [`feed`] | a trace that is handed over line by line |
//! | [`with`] | several recordings of one run, held against each other |
//! | [`error`] | why a file could not be judged |
//!
//! [`check`] judges one file. Everything here runs on the calling thread and blocks on reading;
//! memory is bounded by the jobs that are alive and the longest line.

pub mod coverage;
pub mod error;
pub mod explain;
pub mod feed;
pub mod fields;
pub mod judge;
pub mod reader;
mod run;
pub mod story;
pub mod verdict;
pub mod watch;
pub mod with;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use blockjob_model::Profile;

pub use error::TraceError;
pub use explain::Explanation;
pub use explain::shrink::{ShrinkError, Shrunk};
pub use judge::{Extent, Observer};
pub use reader::detect::Format;
pub use verdict::{Fault, Outcome, Verdict, With};
pub use watch::Watch;

use reader::packed;
use run::{Run, check_file, check_once};

/// How much is read at a time, bytes.
const BUFFER_BYTES: usize = 1 << 18;

/// The extensions of the files in a folder that are taken for traces; one of [`packed::ENDINGS`] may
/// follow.
pub const EXTENSIONS: [&str; 4] = ["jsonl", "ndjson", "trace", "log"];

/// How a trace is to be judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// By which profile; `None`: the one that the greeting or header names, else any that fits.
    pub profile: Option<&'static Profile>,
    /// Its format; `None`: recognised by its first line.
    pub format: Option<Format>,
    /// Whether the client of a conversation is the only one.
    pub observer: Observer,
    /// How much of the conversation the recording has.
    pub extent: Extent,
    /// Behind a fault it goes on, from the nearest state that is legal, in search of further ones.
    pub keep_going: bool,
    /// What can be read only once is still being written, and who waits is told of a fault at once. Else it is read to
    /// its end first, for what explains the fault may come later.
    pub live: bool,
}

/// Judges the trace in the file `path`.
pub fn check(path: &Path, options: &Options) -> Verdict {
    check_path(path, options, None)
}

/// Judges the trace in the file `path`, and tells `watch` of its steps.
pub fn check_watched(path: &Path, options: &Options, watch: Watch<'_>) -> Verdict {
    check_path(path, options, Some(watch))
}

fn check_path(path: &Path, options: &Options, watch: Option<Watch<'_>>) -> Verdict {
    let name = path.display().to_string();
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    match opened {
        Ok((metadata, _)) if metadata.is_dir() => Run::default().error(&name, TraceError::Folder),
        Ok((metadata, file)) if metadata.is_file() => check_file(&name, file, options, watch),
        // A pipe by a name gives what it gave only once.
        Ok((_, file)) => {
            let reader = BufReader::with_capacity(BUFFER_BYTES, file);
            check_once(&name, reader, options, watch)
        }
        Err(source) => Run::default().error(&name, TraceError::Open { source }),
    }
}

/// Judges the trace that `reader` yields; `name` is what the verdict calls it.
pub fn check_reader(name: &str, reader: impl BufRead, options: &Options) -> Verdict {
    check_once(name, reader, options, None)
}

/// Judges the trace that `reader` yields, and tells `watch` of its steps.
pub fn check_reader_watched(
    name: &str,
    reader: impl BufRead,
    options: &Options,
    watch: Watch<'_>,
) -> Verdict {
    check_once(name, reader, options, Some(watch))
}

/// Shrinks the trace in the file `path`, which was rejected for `fault`, to the part that shows it.
///
/// # Errors
/// It cannot be read, is too long, or does not show the fault any more.
pub fn shrink(path: &Path, options: &Options, fault: &Fault) -> Result<Shrunk, ShrinkError> {
    let file = File::open(path).map_err(|source| TraceError::Open { source })?;
    shrink_reader(BufReader::with_capacity(BUFFER_BYTES, file), options, fault)
}

/// The same for what `reader` yields.
///
/// # Errors
/// As [`shrink`].
pub fn shrink_reader(
    reader: impl BufRead,
    options: &Options,
    fault: &Fault,
) -> Result<Shrunk, ShrinkError> {
    explain::shrink::shrink(reader, options, fault)
}

/// What is said of a trace that cannot be opened, for this reason; `name` is what the verdict calls it.
pub fn unreadable(name: &str, source: io::Error) -> Verdict {
    Run::default().error(name, TraceError::Open { source })
}

/// The files of a folder, and how many of them are no traces by their names.
///
/// # Errors
/// The folder cannot be read.
pub fn traces_in(folder: &Path) -> io::Result<(Vec<PathBuf>, usize)> {
    let mut traces = Vec::new();
    let mut others = 0;
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if is_named_as_trace(&path) && path.is_file() {
            traces.push(path);
        } else {
            others += 1;
        }
    }
    traces.sort();
    Ok((traces, others))
}

/// Whether a file's name is that of a trace, compressed or not.
fn is_named_as_trace(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let is_in = |ending: &str, endings: &[&str]| endings.contains(&ending);
    let name = match name.rsplit_once('.') {
        Some((name, ending)) if is_in(ending, &packed::ENDINGS) => name,
        _ => name,
    };
    name.rsplit_once('.')
        .is_some_and(|(_, extension)| is_in(extension, &EXTENSIONS))
}
