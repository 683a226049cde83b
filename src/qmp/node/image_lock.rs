//! Image locks: what other processes may do to a file while a job works on it, in the way in which QEMU tells its own.
//!
//! QEMU locks a byte of the image for each [permission](Permissions) it uses (from 100) and for each that it bears nobody
//! else using (from 200), shared, so that anybody can see both. Whoever is about to use something looks whether somebody
//! does not bear it, and whoever does not bear something whether somebody uses it. Here a file is locked while a job
//! holds it, as in QEMU, where a node that nobody uses locks nothing.
//!
//! The bytes are locked by open file description, and between two descriptions of one process as well as between
//! processes. So all nodes on one file lock through one description, and count; what jobs of this server do to each
//! other is for the [engine](blockjob_model::resource) to say.
//!
//! | use | takes | bears nobody else |
//! |---|---|---|
//! | [`BACKUP_SOURCE`] | consistent read | write, resize |
//! | [`BACKUP_TARGET`] | write | resize |
//! | [`MIRROR_SOURCE`] | consistent read | resize |
//! | [`MIRROR_TARGET`] | write | consistent read, write, resize |
//!
//! These are QEMU's (10.0, as `/proc/locks` shows them).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use blockjob_model::resource::Permissions;

use crate::io::lock::{is_byte_held, release_byte, share_byte};

/// The first byte of permissions that are used.
const USED: u64 = 100;
/// The first byte of permissions that nobody else may use.
const DENIED: u64 = 200;

/// What has a byte, in the order of the bytes, and what QEMU calls it.
const LOCKED: [(Permissions, &str); 4] = [
    (Permissions::CONSISTENT_READ, "consistent read"),
    (Permissions::WRITE, "write"),
    (Permissions::WRITE_UNCHANGED, "write unchanged"),
    (Permissions::RESIZE, "resize"),
];

/// What a job does with a file, and what it bears no other process doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    takes: Permissions,
    denies: Permissions,
}

/// A backup reads it.
pub const BACKUP_SOURCE: Usage = Usage {
    takes: Permissions::CONSISTENT_READ,
    denies: Permissions::WRITE.union(Permissions::RESIZE),
};
/// A backup writes it.
pub const BACKUP_TARGET: Usage = Usage {
    takes: Permissions::WRITE,
    denies: Permissions::RESIZE,
};
/// A mirror reads it.
pub const MIRROR_SOURCE: Usage = Usage {
    takes: Permissions::CONSISTENT_READ,
    denies: Permissions::RESIZE,
};
/// A mirror writes it.
pub const MIRROR_TARGET: Usage = Usage {
    takes: Permissions::WRITE,
    denies: Permissions::CONSISTENT_READ
        .union(Permissions::WRITE)
        .union(Permissions::RESIZE),
};

impl Usage {
    /// The bytes that say so.
    fn bytes(self) -> impl Iterator<Item = u64> {
        let of = |set: Permissions, first: u64| {
            let all = LOCKED.iter().enumerate();
            all.filter(move |(_, (one, _))| set.contains(*one))
                .map(move |(place, _)| first + place as u64)
        };
        of(self.takes, USED).chain(of(self.denies, DENIED))
    }
}

/// The files that nodes are on.
#[derive(Debug, Default)]
pub struct ImageLocks(BTreeMap<String, Weak<ImageLock>>);

impl ImageLocks {
    /// That of the file of this identity, which `file` is open on.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn of(&mut self, identity: &str, file: &File) -> io::Result<Arc<ImageLock>> {
        self.0.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = self.0.get(identity).and_then(Weak::upgrade) {
            return Ok(lock);
        }
        let lock = Arc::new(ImageLock {
            file: file.try_clone()?,
            held: Mutex::default(),
        });
        self.0.insert(identity.to_owned(), Arc::downgrade(&lock));
        Ok(lock)
    }
}

/// One file, by whichever nodes.
#[derive(Debug)]
pub struct ImageLock {
    file: File,
    /// How many uses each byte that is locked has.
    held: Mutex<BTreeMap<u64, usize>>,
}

impl ImageLock {
    /// Locks the file for this use until the answer is dropped. Where a file system has no locks, there are none, as in
    /// QEMU.
    ///
    /// # Errors
    /// Another process is in the way, in QEMU's words.
    pub fn take(self: &Arc<ImageLock>, usage: Usage) -> Result<ImageUse, String> {
        // It gives free what it has when it is dropped.
        let mut taken = ImageUse {
            lock: Arc::clone(self),
            bytes: Vec::new(),
        };
        for byte in usage.bytes() {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let count = held.get(&byte).copied().unwrap_or(0);
            if count == 0 && !matches!(share_byte(&self.file, byte), Ok(true)) {
                continue;
            }
            held.insert(byte, count + 1);
            taken.bytes.push(byte);
        }
        let others = |byte: u64| is_byte_held(&self.file, byte).unwrap_or(false);
        for (place, (one, name)) in LOCKED.into_iter().enumerate() {
            if usage.takes.contains(one) && others(DENIED + place as u64) {
                return Err(format!("Failed to get \"{name}\" lock"));
            }
        }
        for (place, (one, name)) in LOCKED.into_iter().enumerate() {
            if usage.denies.contains(one) && others(USED + place as u64) {
                return Err(format!("Failed to get shared \"{name}\" lock"));
            }
        }
        Ok(taken)
    }
}

/// A use of a file, until it is dropped.
#[derive(Debug)]
pub struct ImageUse {
    lock: Arc<ImageLock>,
    bytes: Vec<u64>,
}

impl Drop for ImageUse {
    fn drop(&mut self) {
        let mut held = self
            .lock
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for byte in &self.bytes {
            match held.get_mut(byte) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    held.remove(byte);
                    // What cannot be given free goes with the file.
                    let _ = release_byte(&self.lock.file, *byte);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file of one process, as it were: descriptions of their own.
    fn lock(path: &std::path::Path) -> Arc<ImageLock> {
        ImageLocks::default()
            .of("it", &File::open(path).unwrap())
            .unwrap()
    }

    #[test]
    fn uses_that_get_along_in_qemu_get_along_here() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (one, other) = (lock(file.path()), lock(file.path()));
        let all = [BACKUP_SOURCE, BACKUP_TARGET, MIRROR_SOURCE, MIRROR_TARGET];
        let mut refused = Vec::new();
        for mine in all {
            let taken = one.take(mine).unwrap();
            // In one process the engine says who may.
            drop(one.take(MIRROR_TARGET).unwrap());
            for theirs in all {
                refused.push(other.take(theirs).err().unwrap_or_default());
            }
            drop(taken);
        }
        let (write, read) = (
            "Failed to get \"write\" lock",
            "Failed to get \"consistent read\" lock",
        );
        let (shared_write, shared_read) = (
            "Failed to get shared \"write\" lock",
            "Failed to get shared \"consistent read\" lock",
        );
        // A row for what is there, a column for who comes.
        let expected = [
            ["", write, "", write],
            [shared_write, "", "", shared_write],
            ["", "", "", shared_read],
            [read, write, read, write],
        ];
        assert_eq!(refused, expected.concat());
        // Nothing is left behind.
        assert_eq!(
            crate::io::lock::held_by_others(file.as_file()).unwrap(),
            None
        );
    }

    #[test]
    fn nodes_on_one_file_lock_it_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut locks = ImageLocks::default();
        let first = locks.of("it", file.as_file()).unwrap();
        let again = locks.of("it", &file.reopen().unwrap()).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let (one, two) = (
            first.take(BACKUP_SOURCE).unwrap(),
            again.take(BACKUP_SOURCE).unwrap(),
        );
        let other = lock(file.path());
        drop(one);
        assert!(other.take(BACKUP_TARGET).is_err(), "the other still reads");
        drop(two);
        assert!(other.take(BACKUP_TARGET).is_ok());
    }
}
