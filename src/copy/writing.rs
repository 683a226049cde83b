//! Where the data goes: the new file beside its target, or the existing file or device.

use super::error::cause_text;
use super::metadata::Times;
use super::options::Durability;
use super::replace::Replacement;
use super::target::InPlace;
use crate::driver::{Errno, JobError};
use crate::io::device::zero_out;
use crate::io::durable;
use crate::io::extent::{allocate, punch_hole, zero_range};
use crate::io::stat::FileKind;
use crate::io::transfer::pwrite_all;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// An opened target.
#[derive(Debug)]
pub(super) enum Writing {
    /// A new file, which takes the target's name in the end.
    Replace {
        replacement: Arc<Replacement>,
        file: File,
    },
    /// The file or device that has the name.
    InPlace(InPlace),
}

impl Writing {
    pub fn file(&self) -> &File {
        match self {
            Self::Replace { file, .. } => file,
            Self::InPlace(target) => &target.file,
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Replace { replacement, .. } => &replacement.place.path,
            Self::InPlace(target) => &target.path,
        }
    }

    /// Whether every byte reads as zero until it is written.
    pub fn is_new(&self) -> bool {
        matches!(self, Self::Replace { .. })
    }

    /// Makes a range of a target that is not new read as zeros: a hole where it can be had, else zeros that need not
    /// be written, else zeros.
    pub fn clear(&self, at: u64, bytes: u64) -> Result<(), JobError> {
        let refuse =
            |cause: io::Error| self.failed(&format!("cannot be zeroed at byte {at}"), &cause);
        let file = self.file();
        // A hole in a block device is a promise of the kernel's too: it reads as zeros, or there is none.
        if punch_hole(file, at, bytes).map_err(refuse)? {
            return Ok(());
        }
        self.zero(at, bytes)
    }

    /// Makes a range, which is a hole of the source, zeros that are stored.
    pub fn fill(&self, at: u64, bytes: u64) -> Result<(), JobError> {
        if self.is_new() {
            let refuse = |cause: io::Error| {
                self.failed(&format!("has no room for zeros at byte {at}"), &cause)
            };
            if allocate(self.file(), at, bytes).map_err(refuse)? {
                return Ok(());
            }
        }
        self.zero(at, bytes)
    }

    /// Makes a range zeros that are stored, whatever was there.
    pub fn zero(&self, at: u64, bytes: u64) -> Result<(), JobError> {
        let refuse =
            |cause: io::Error| self.failed(&format!("cannot be zeroed at byte {at}"), &cause);
        let file = self.file();
        if zero_range(file, at, bytes).map_err(refuse)? {
            return Ok(());
        }
        if let Self::InPlace(target) = self
            && target.stat.kind == FileKind::BlockDevice
        {
            // Where it cannot, or the range is no whole blocks, the zeros are written like any data.
            if zero_out(file, at, bytes).is_ok() {
                return Ok(());
            }
        }
        let (mut at, end) = (at, at + bytes);
        while at < end {
            let zeros = &ZEROS[..(end - at).min(ZEROS.len() as u64) as usize];
            pwrite_all(file, zeros, at).map_err(refuse)?;
            at += zeros.len() as u64;
        }
        Ok(())
    }

    /// After the last byte: metadata, with these times where they are not to be those of the copy, then everything to
    /// the disk.
    pub fn finish(&self, durability: Durability, times: Option<Times>) -> Result<(), JobError> {
        if let Self::Replace { replacement, file } = self {
            replacement.place.metadata.apply(file).map_err(|not_kept| {
                let why = format!("{} cannot be kept", not_kept.what);
                self.failed(&why, &not_kept.cause)
            })?;
        }
        if let Some(times) = times {
            times.apply(self.file()).map_err(|not_kept| {
                let why = format!("{} cannot be set", not_kept.what);
                self.failed(&why, &not_kept.cause)
            })?;
        }
        match (durability, self) {
            (Durability::None, _) => Ok(()),
            // Its metadata is new as well.
            (_, Self::Replace { file, .. }) => durable::fsync(file),
            (Durability::Data, Self::InPlace(target)) if times.is_none() => {
                durable::fdatasync(&target.file)
            }
            (Durability::Data, Self::InPlace(target)) => durable::fsync(&target.file),
            // There is no name to come: this is the end. A device writes out its own cache with its data.
            (Durability::Full, Self::InPlace(target)) => {
                durable::fsync(&target.file).and_then(|()| match target.stat.kind {
                    FileKind::BlockDevice => Ok(()),
                    _ => durable::syncfs(&target.file),
                })
            }
        }
        .map_err(|cause| self.failed("cannot be synced", &cause))
    }

    pub fn failed(&self, what: &str, cause: &io::Error) -> JobError {
        failed("target", self.path(), what, cause)
    }
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What failed on which end, and how.
pub(super) fn failed(side: &str, path: &Path, what: &str, cause: &io::Error) -> JobError {
    let errno = cause
        .raw_os_error()
        .and_then(Errno::new)
        .unwrap_or(Errno::IO);
    JobError::with_message(
        errno,
        format!("{side} {} {what}: {}", path.display(), cause_text(cause)),
    )
}
