//! A disk that forgets: what a crash at any call leaves, of the process or of the machine.
//!
//! Calls are done by the real kernel on real files. Beside that books are kept of what is on the disk: the contents of
//! each file as of its last sync and the names of each folder as of its last, with everything that was done since in
//! order. At the chosen call the process ends: no later call does anything. If the machine ends with it, the files are
//! then made what the disk has: the synced part, and of the rest any choice, in any order between files and folders.
//! Files keep their numbers and births throughout: they are rewritten and renamed, never made anew, and one that loses
//! its last name is put aside, because the disk may not know of that yet.

use crate::io::faulty::{Ruling, Script, Subject};
use crate::io::kernel::Call;
use crate::io::stat::stat_link;
use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// A file, by its number.
type Inode = u64;
type Names = BTreeMap<OsString, Inode>;

/// A change that the disk may not have yet.
#[derive(Debug, Clone)]
enum Change {
    Write { at: u64, bytes: Vec<u8> },
    Resize(u64),
    Zero { at: u64, bytes: u64 },
    Add(OsString, Inode),
    Remove(OsString),
    Rename(OsString, OsString),
    Exchange(OsString, OsString),
}

/// What the disk has of something, and what it may have.
#[derive(Debug, Clone, Default)]
struct Book<T> {
    durable: T,
    pending: Vec<Change>,
}

/// Which of the pending changes the disk has after all: of data, and of names; each by its number, in the order of
/// files and folders and of time within each.
pub(super) type Choice<'a> = &'a dyn Fn(bool, usize) -> bool;

pub(super) struct Power {
    /// Calls so far, and the one that is not made any more.
    pub(super) calls: usize,
    pub(super) crash_at: usize,
    pub(super) dead: bool,
    /// What the file system does not have: exchanges, and renames that keep what is there.
    pub(super) plain_names: bool,
    stash: PathBuf,
    files: BTreeMap<Inode, Book<Vec<u8>>>,
    folders: BTreeMap<PathBuf, Book<Names>>,
}

fn inode(path: &Path) -> Option<Inode> {
    stat_link(path).ok().map(|stat| stat.identity.inode)
}

fn names(folder: &Path) -> Names {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name(), inode(&entry.path()).unwrap()))
        .collect()
}

impl Power {
    /// A disk that has all that is in these folders now. `stash` is a folder of the same file system.
    pub(super) fn new(folders: &[PathBuf], stash: &Path, crash_at: usize) -> Self {
        let mut files = BTreeMap::new();
        let mut books = BTreeMap::new();
        for folder in folders {
            let durable = names(folder);
            for (name, inode) in &durable {
                let durable = std::fs::read(folder.join(name)).unwrap();
                files.insert(
                    *inode,
                    Book {
                        durable,
                        pending: Vec::new(),
                    },
                );
            }
            books.insert(
                folder.clone(),
                Book {
                    durable,
                    pending: Vec::new(),
                },
            );
        }
        Self {
            calls: 0,
            crash_at,
            dead: false,
            plain_names: false,
            stash: stash.to_owned(),
            files,
            folders: books,
        }
    }

    /// How many changes of data and of names the disk may or may not have.
    pub(super) fn pending(&self) -> (usize, usize) {
        (
            self.files.values().map(|book| book.pending.len()).sum(),
            self.folders.values().map(|book| book.pending.len()).sum(),
        )
    }

    /// Makes the files what the disk has after a power cut.
    pub(super) fn cut(&self, choice: Choice<'_>) {
        let mut number = 0;
        let mut chosen = |of_names: bool, pending: &[Change]| -> Vec<Change> {
            let kept = pending.iter().filter(|_| {
                number += 1;
                choice(of_names, number - 1)
            });
            kept.cloned().collect()
        };
        let contents: Vec<_> = self
            .files
            .iter()
            .map(|(inode, book)| {
                let mut content = book.durable.clone();
                for change in chosen(false, &book.pending) {
                    apply_data(&mut content, change);
                }
                (*inode, content)
            })
            .collect();
        number = 0;
        let mut chosen = |pending: &[Change]| -> Vec<Change> {
            let kept = pending.iter().filter(|_| {
                number += 1;
                choice(true, number - 1)
            });
            kept.cloned().collect()
        };
        let folders: Vec<_> = self
            .folders
            .iter()
            .map(|(folder, book)| {
                let mut names = book.durable.clone();
                for change in chosen(&book.pending) {
                    apply_name(&mut names, change);
                }
                (folder, names)
            })
            .collect();
        // A file that keeps its name is not touched: moving it would show in its times.
        let mut places: BTreeMap<Inode, PathBuf> = BTreeMap::new();
        for (folder, coming) in &folders {
            for (name, inode) in names(folder) {
                let path = folder.join(&name);
                if coming.get(&name) == Some(&inode) {
                    places.insert(inode, path);
                } else if self.aside(inode).exists() {
                    std::fs::remove_file(path).unwrap();
                } else {
                    std::fs::rename(path, self.aside(inode)).unwrap();
                }
            }
        }
        for (inode, content) in contents {
            let path = places.get(&inode).cloned();
            let path = path.unwrap_or_else(|| self.aside(inode));
            if std::fs::read(&path).unwrap() != content {
                let file = File::options().write(true).open(&path).unwrap();
                file.set_len(0).unwrap();
                file.write_all_at(&content, 0).unwrap();
            }
        }
        for (folder, coming) in &folders {
            for (name, inode) in coming {
                let path = folder.join(name);
                if !path.exists() {
                    let from = places.get(inode).cloned();
                    std::fs::hard_link(from.unwrap_or_else(|| self.aside(*inode)), path).unwrap();
                }
            }
        }
        self.forget();
    }

    /// What was put aside has no name.
    pub(super) fn forget(&self) {
        for entry in std::fs::read_dir(&self.stash).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    fn aside(&self, inode: Inode) -> PathBuf {
        self.stash.join(inode.to_string())
    }

    fn put_aside(&self, path: &Path) {
        if let Ok(found) = std::fs::symlink_metadata(path)
            && found.nlink() == 1
        {
            std::fs::rename(path, self.aside(found.ino())).unwrap();
        }
    }
}

fn apply_data(content: &mut Vec<u8>, change: Change) {
    let mut put = |at: u64, bytes: &[u8]| {
        let end = at as usize + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[at as usize..end].copy_from_slice(bytes);
    };
    match change {
        Change::Write { at, bytes } => put(at, &bytes),
        Change::Zero { at, bytes } => {
            let size = content.len();
            let end = (at as usize + bytes as usize).min(size);
            content[(at as usize).min(size)..end].fill(0);
        }
        Change::Resize(size) => content.resize(size as usize, 0),
        _ => unreachable!("a change of names"),
    }
}

fn apply_name(names: &mut Names, change: Change) {
    match change {
        Change::Add(name, inode) => {
            names.insert(name, inode);
        }
        Change::Remove(name) => {
            names.remove(&name);
        }
        Change::Rename(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
        Change::Exchange(one, other) => {
            if let (Some(first), Some(second)) =
                (names.get(&one).copied(), names.get(&other).copied())
            {
                names.insert(one, second);
                names.insert(other, first);
            }
        }
        _ => unreachable!("a change of data"),
    }
}

fn name(name: &CStr) -> OsString {
    OsStr::from_bytes(name.to_bytes()).to_owned()
}

impl Script for Power {
    fn rule(&mut self, subject: &Subject, call: Call<'_>) -> Ruling {
        if self.calls == self.crash_at {
            self.dead = true;
        }
        if self.dead {
            return Ruling::Fail(libc::EIO);
        }
        self.calls += 1;
        match call {
            Call::Sync { .. } | Call::SyncSystem => Ruling::Say(0),
            Call::Unlink { name: gone } => {
                let path = subject.path.join(name(gone));
                match std::fs::symlink_metadata(&path) {
                    Ok(found) if found.nlink() == 1 => {
                        self.put_aside(&path);
                        Ruling::Say(0)
                    }
                    _ => Ruling::Pass,
                }
            }
            Call::Rename { flags, .. } if flags != 0 && self.plain_names => {
                Ruling::Fail(libc::EINVAL)
            }
            Call::Rename { to, flags: 0, .. } => {
                self.put_aside(&subject.path.join(name(to)));
                Ruling::Pass
            }
            _ => Ruling::Pass,
        }
    }

    fn answered(&mut self, subject: &Subject, call: Call<'_>, answer: Result<u64, i32>) {
        let (Ok(answer), false) = (answer, self.dead) else {
            return;
        };
        let file = self.files.get_mut(&subject.identity.inode);
        match call {
            Call::Write { at, .. } | Call::Offload { at, .. } | Call::Clone { at, .. } => {
                let length = match call {
                    Call::Clone { bytes, .. } => bytes.unsigned_abs(),
                    _ => answer,
                };
                let mut bytes = vec![0; length as usize];
                let real = File::open(&subject.path).unwrap();
                let at = at.unsigned_abs();
                real.read_exact_at(&mut bytes, at).unwrap();
                let book = file.expect("every file is known");
                book.pending.push(Change::Write { at, bytes });
            }
            Call::Resize { to } => {
                let book = file.expect("every file is known");
                book.pending.push(Change::Resize(to.unsigned_abs()));
            }
            Call::Punch { at, bytes } | Call::Zero { at, bytes } => {
                let book = file.expect("every file is known");
                book.pending.push(Change::Zero {
                    at: at.unsigned_abs(),
                    bytes: bytes.unsigned_abs(),
                });
            }
            Call::Sync { .. } => {
                if let Some(folder) = self.folders.get_mut(&subject.path) {
                    for change in std::mem::take(&mut folder.pending) {
                        apply_name(&mut folder.durable, change);
                    }
                } else if let Some(book) = file {
                    for change in std::mem::take(&mut book.pending) {
                        apply_data(&mut book.durable, change);
                    }
                }
            }
            Call::Create { name: new } => {
                let inode = inode(&subject.path.join(name(new))).unwrap();
                self.files.insert(inode, Book::default());
                self.change(subject, Change::Add(name(new), inode));
            }
            Call::Link { to, .. } => {
                let inode = inode(&subject.path.join(name(to))).unwrap();
                self.change(subject, Change::Add(name(to), inode));
            }
            Call::Unlink { name: gone } => self.change(subject, Change::Remove(name(gone))),
            Call::Rename {
                from,
                to,
                flags: libc::RENAME_EXCHANGE,
            } => self.change(subject, Change::Exchange(name(from), name(to))),
            Call::Rename { from, to, .. } => {
                self.change(subject, Change::Rename(name(from), name(to)));
            }
            // Room is no content, and a hint to write is no promise. What the whole system is synced for besides, nobody
            // relies on.
            Call::Read { .. }
            | Call::Seek { .. }
            | Call::Attribute
            | Call::SyncSystem
            | Call::Allocate { .. }
            | Call::WriteOut { .. } => {}
        }
    }
}

impl Power {
    fn change(&mut self, subject: &Subject, change: Change) {
        let folder = self.folders.get_mut(&subject.path);
        folder.expect("every folder is known").pending.push(change);
    }
}
