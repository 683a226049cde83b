//! Files and devices, opened in place.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use super::image_lock::{ImageLock, ImageLocks, ImageUse, Usage};
use crate::io::stat::{FileKind, Identity, stat};
use crate::io::{device, durable, transfer};

/// Opens the file of this name, for writing too if the second argument says so: the kernel, unless a test has
/// files of its own.
pub type Opener = fn(&Path, bool) -> io::Result<File>;

/// `open(path, O_RDWR or O_RDONLY)`, nothing else: without creating, truncating, or waiting for the other end
/// of a pipe.
///
/// # Errors
/// The kernel's.
pub fn open_in_place(path: &Path, writable: bool) -> io::Result<File> {
    File::options()
        .read(true)
        .write(writable)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
}

/// An open file or device.
#[derive(Debug)]
pub struct OpenFile {
    name: String,
    file: File,
    device: bool,
    identity: Identity,
    /// With which other processes are told what is done with it; none where that is not wanted.
    lock: Option<Arc<ImageLock>>,
}

impl OpenFile {
    /// Opens `name` as `driver`: `file` for regular files, `host_device` for block devices.
    ///
    /// # Errors
    /// In QEMU's words.
    pub fn open(
        opener: Opener,
        driver: &str,
        name: &str,
        writable: bool,
    ) -> Result<OpenFile, String> {
        let could_not = |error: &io::Error| {
            let words = crate::driver::JobError::from(io::Error::from_raw_os_error(
                error.raw_os_error().unwrap_or(libc::EIO),
            ));
            format!("Could not open '{name}': {}", words.text())
        };
        let file = opener(Path::new(name), writable).map_err(|error| could_not(&error))?;
        let found = stat(&file).map_err(|error| could_not(&error))?;
        let device = match (driver, found.kind) {
            (_, FileKind::Folder) => {
                return Err(could_not(&io::Error::from_raw_os_error(libc::EISDIR)));
            }
            ("host_device", FileKind::BlockDevice) => true,
            ("host_device", _) => {
                return Err(format!(
                    "'host_device' driver requires '{name}' to be either a character or block device"
                ));
            }
            (_, FileKind::Regular) => false,
            _ => {
                return Err(format!(
                    "'file' driver requires '{name}' to be a regular file"
                ));
            }
        };
        let identity = if device {
            // Whatever the node in /dev is called: the device it stands for.
            Identity {
                device: found.represents,
                inode: 0,
            }
        } else {
            found.identity
        };
        Ok(OpenFile {
            name: name.to_owned(),
            file,
            device,
            identity,
            lock: None,
        })
    }

    /// From now on other processes are told what jobs do with it.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn tell(&mut self, locks: &mut ImageLocks) -> io::Result<()> {
        self.lock = Some(locks.of(&self.identity(), &self.file)?);
        Ok(())
    }

    /// Tells other processes of this use, until the answer is dropped.
    ///
    /// # Errors
    /// One of them is in the way, in QEMU's words.
    pub fn take(&self, usage: Usage) -> Result<Option<ImageUse>, String> {
        self.lock.as_ref().map(|lock| lock.take(usage)).transpose()
    }

    /// As it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `file` or `host_device`.
    pub fn driver(&self) -> &'static str {
        if self.device { "host_device" } else { "file" }
    }

    /// The same for all names of one file, and for all nodes on it.
    pub fn identity(&self) -> String {
        let Identity { device, inode } = self.identity;
        format!("{device}:{inode}")
    }

    /// How long it is now, in bytes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn length(&self) -> io::Result<u64> {
        if self.device {
            device::size(&self.file)
        } else {
            Ok(stat(&self.file)?.size)
        }
    }

    /// How much of it is stored, in bytes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn stored(&self) -> io::Result<u64> {
        Ok(stat(&self.file)?.stored)
    }

    /// As [`Node::read`](super::Node::read).
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        transfer::pread_full(&self.file, buffer, at)
    }

    /// As [`Node::write`](super::Node::write).
    ///
    /// # Errors
    /// The kernel's.
    pub fn write(&self, buffer: &[u8], at: u64) -> io::Result<()> {
        transfer::pwrite_all(&self.file, buffer, at)
    }

    /// As [`Node::flush`](super::Node::flush).
    ///
    /// # Errors
    /// The kernel's.
    pub fn flush(&self) -> io::Result<()> {
        durable::fdatasync(&self.file)
    }
}
