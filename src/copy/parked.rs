//! What a large group keeps of its copies while they wait: everything that is known of both ends, and no descriptor.
//!
//! A group of thousands cannot have all its files open. Its sources and new files are closed once they were looked at
//! and made, and opened again by the body that copies them; that they still are what they were is checked then. What
//! is lost: a source that is replaced by another file in between is an error of the copy, where a small group goes on
//! with the one it opened; and the new files are not locked, so that their journal, which is, stands for them.

use super::backup::Open;
use super::error::{CopyError, cause_text};
use super::journal::FileId;
use super::replace::Replacement;
use super::source::Source;
use super::technique::Technique;
use super::writing::Writing;
use crate::driver::{Errno, JobError};
use crate::io::folder::Access;
use crate::io::lock::try_lock;
use crate::io::stat::{FileKind, Stat, stat};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// A source that was looked at, open or not.
#[derive(Debug)]
pub(super) struct Known {
    pub path: PathBuf,
    pub stat: Stat,
    pub size: u64,
    file: Option<File>,
}

impl From<Source> for Known {
    fn from(source: Source) -> Self {
        let Source {
            file,
            path,
            stat,
            size,
        } = source;
        Self {
            path,
            stat,
            size,
            file: Some(file),
        }
    }
}

impl Known {
    /// Lets go of the file.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// As [`Source::stored_bytes`].
    pub fn stored_bytes(&self) -> u64 {
        match self.stat.kind {
            FileKind::Regular => self.size.min(self.stat.stored),
            _ => self.size,
        }
    }

    /// The source, if it is open.
    pub fn opened(self) -> Result<Source, CopyError> {
        match self.file {
            Some(file) => Ok(Source {
                file,
                path: self.path,
                stat: self.stat,
                size: self.size,
            }),
            None => Source::open(&self.path),
        }
    }

    /// Opens it again, as what it was.
    fn open(&self) -> Result<Source, JobError> {
        let source = Source::open_again(&self.path).map_err(|error| failed(error.to_string()))?;
        let same = |now: &Stat, was: &Stat| {
            (now.identity, now.born, now.size) == (was.identity, was.born, was.size)
                && (now.modified, now.changed) == (was.modified, was.changed)
        };
        if source.size != self.size || !same(&source.stat, &self.stat) {
            let path = self.path.display();
            return Err(failed(format!(
                "source {path} was changed or replaced since it was looked at"
            )));
        }
        // It may have been read since, by this copy at the latest.
        let stat = self.stat;
        Ok(Source { stat, ..source })
    }
}

/// A copy whose new file was made, and both ends closed.
#[derive(Debug)]
pub(super) struct Parked {
    pub source: Known,
    pub replacement: Arc<Replacement>,
    pub new: FileId,
    pub techniques: Vec<Technique>,
}

impl Parked {
    /// Opens both ends. On the body's thread.
    pub fn open(&self) -> Result<Open, JobError> {
        let source = self.source.open()?;
        let replacement = Arc::clone(&self.replacement);
        let path = replacement.temporary_path();
        let refuse = |why: String| failed(format!("temporary file {} {why}", path.display()));
        let folder = &replacement.place.folder;
        let file = folder
            .open_file(replacement.temporary(), Access::ReadWrite)
            .map_err(|cause| refuse(format!("cannot be opened: {}", cause_text(&cause))))?;
        let now = stat(&file).map_err(|cause| refuse(cause_text(&cause)))?;
        if !self.new.is(&now, true) || now.links != 1 || now.size != self.source.size {
            return Err(refuse("is not what it was".to_owned()));
        }
        if matches!(try_lock(&file), Ok(false)) {
            return Err(refuse("is in use".to_owned()));
        }
        let target = Writing::Replace { replacement, file };
        Open::new(source, target, self.techniques.clone())
            .map_err(|error| failed(error.to_string()))
    }
}

fn failed(text: String) -> JobError {
    JobError::with_message(Errno::IO, text)
}
