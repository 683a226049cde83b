//! The source of a copy: opened once, and watched for change.

use super::error::{CopyError, Side};
use super::metadata::Times;
use super::writing::failed;
use crate::driver::{Errno, JobError};
use crate::io::folder::{Access, open_path};
use crate::io::stat::{FileKind, Stat, stat, stat_anew, stat_path};
use crate::io::transfer::pread_full;
use crate::io::{attribute, device, durable};
use std::fs::File;
use std::path::{Path, PathBuf};

/// An opened source. What is copied is this file, whatever happens to its name.
#[derive(Debug)]
pub(super) struct Source {
    pub file: File,
    pub path: PathBuf,
    /// What it was when it was opened.
    pub stat: Stat,
    /// Bytes to copy.
    pub size: u64,
}

/// What kernels read ahead by themselves.
const READAHEAD_BYTES: u64 = 128 << 10;

fn unopenable(path: &Path, cause: std::io::Error) -> CopyError {
    let path = path.to_owned();
    let side = Side::Source;
    match cause.raw_os_error() {
        Some(libc::ENOENT) => CopyError::Missing { side, path },
        _ => CopyError::Unopenable { side, path, cause },
    }
}

impl Source {
    /// Opens a source, or says why it is none.
    pub fn open(path: &Path) -> Result<Self, CopyError> {
        let source = Self::open_again(path)?;
        // Files of /proc and the like say 0 and have contents all the same; a copy of 0 bytes would look like success.
        let answers = |cause| unopenable(path, cause);
        // Beyond the last offset there is nothing to be asked for.
        if source.stat.kind == FileKind::Regular
            && source.size < i64::MAX as u64
            && pread_full(&source.file, &mut [0], source.size).map_err(answers)? != 0
            && stat(&source.file).map_err(answers)?.size == source.size
        {
            return Err(CopyError::Unsized {
                path: path.to_owned(),
                size: source.size,
            });
        }
        if source.size > i64::MAX as u64 {
            return Err(CopyError::TooLarge {
                path: path.to_owned(),
                size: source.size,
                limit: None,
            });
        }
        Ok(source)
    }

    /// Opens what may be a source, without a look at what it has beyond its size: it was looked at before.
    pub fn open_again(path: &Path) -> Result<Self, CopyError> {
        let unopenable = |cause| unopenable(path, cause);
        let check = |stat: &Stat| match stat.kind {
            FileKind::Regular | FileKind::BlockDevice => Ok(()),
            kind => Err(CopyError::Kind {
                side: Side::Source,
                path: path.to_owned(),
                kind,
            }),
        };
        // Looked at before it is opened: opening a device of another kind may do something.
        check(&stat_path(path).map_err(unopenable)?)?;
        let file = open_path(path, Access::Read, false).map_err(unopenable)?;
        let found = stat(&file).map_err(unopenable)?;
        check(&found)?;
        let size = match found.kind {
            FileKind::BlockDevice => device::size(&file).map_err(unopenable)?,
            _ => found.size,
        };
        // Only advice; where it is not taken the file is read all the same. What is small is read at once anyway.
        if size > READAHEAD_BYTES {
            let _ = attribute::advise_sequential(&file, 0, 0);
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            stat: found,
            size,
        })
    }

    /// Bytes that have to be stored at least for a copy that keeps holes.
    pub fn stored_bytes(&self) -> u64 {
        match self.stat.kind {
            FileKind::Regular => self.size.min(self.stat.stored),
            _ => self.size,
        }
    }

    /// After the last read: an error when the file visibly changed since it was opened. A change within one tick of
    /// the file system's clock, or through a memory mapping, cannot be seen; devices have no such marks.
    pub fn check_unchanged(&self) -> Result<(), JobError> {
        let now = stat_anew(&self.file)?;
        if self.stat.kind != FileKind::Regular {
            return Ok(());
        }
        if now.size != self.stat.size {
            let how = if now.size < self.stat.size {
                "shrank"
            } else {
                "grew"
            };
            return Err(self.changed(&format!(
                "{how} from {} to {} bytes",
                self.stat.size, now.size
            )));
        }
        if now.modified != self.stat.modified {
            return Err(self.changed("was written"));
        }
        // A new name, a removed one or a new mode changes this time as well, and cannot be told from a write whose
        // time was set back.
        if now.changed != self.stat.changed {
            return Err(self.changed("or its metadata was changed"));
        }
        Ok(())
    }

    /// Brings to the disk what was read, with the source's own metadata.
    pub fn sync(&self) -> Result<(), JobError> {
        match durable::fsync(&self.file) {
            // Nothing that is there is newer than the disk.
            Err(cause) if cause.raw_os_error() == Some(libc::EROFS) => Ok(()),
            answer => {
                answer.map_err(|cause| failed("source", &self.path, "cannot be synced", &cause))
            }
        }
    }

    /// When it was last read before this copy, and last written.
    pub fn times(&self) -> Times {
        Times {
            accessed: self.stat.accessed,
            modified: self.stat.modified,
        }
    }

    /// The file ended before the size it had.
    pub fn ended_early(&self, at: u64) -> JobError {
        JobError::with_message(
            Errno::IO,
            format!(
                "source {} ended at {at} of {} bytes: it shrank while it was copied",
                self.path.display(),
                self.size
            ),
        )
    }

    pub fn changed(&self, how: &str) -> JobError {
        JobError::with_message(
            Errno::IO,
            format!("source {} {how} while it was copied", self.path.display()),
        )
    }
}
