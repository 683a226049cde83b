//! The trace of a copy: a file of its own, never one that is being copied.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockjob::copy::Pair;
use blockjob::trace::TraceWriter;

use crate::cli::output::{Failure, sentence};

/// Creates the trace file, unless it is one of the files to copy: creating it empties it.
pub fn create(path: &Path, pairs: &[Pair]) -> Result<Arc<TraceWriter<File>>, Failure> {
    for file in pairs.iter().flat_map(|pair| [&pair.source, &pair.target]) {
        if is_same(path, file) {
            return Err(Failure::new(format!(
                "the trace {} is one of the files to copy",
                path.display()
            ))
            .tip("name another file for the trace"));
        }
    }
    let file = File::create(path).map_err(|error| failed(path, "create", &error))?;
    Ok(Arc::new(TraceWriter::new(file)))
}

/// Writes what is left; the number of entries.
pub fn finish(path: &Path, writer: &TraceWriter<File>) -> Result<u64, Failure> {
    writer
        .finish()
        .map_err(|error| failed(path, "write", &error))
}

fn failed(path: &Path, what: &str, error: &io::Error) -> Failure {
    Failure::new(format!(
        "cannot {what} the trace {}: {}",
        path.display(),
        sentence(error)
    ))
    .tip("name a file in a folder that can be written and has room")
}

/// One file under two names, or two names for a file that does not exist yet.
fn is_same(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        (Err(_), Err(_)) => {
            place(one).is_some_and(|place_of_one| Some(place_of_one) == place(other))
        }
        _ => false,
    }
}

/// Where a file would be made.
fn place(path: &Path) -> Option<PathBuf> {
    let folder = match path.parent()? {
        folder if folder.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    };
    Some(folder.canonicalize().ok()?.join(path.file_name()?))
}
