//! A disk that fails as it is told, and keeps the books of a page cache.

use crate::io::faulty::{Ruling, Script, Subject};
use crate::io::kernel::Call;
use crate::io::stat::{Identity, stat_link};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// What may happen to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Half of the bytes are moved.
    Half,
    /// None are, without an error.
    Nothing,
    /// A write is said to be done, and is not.
    Forgets,
    /// `lseek` answers where it began.
    Stays,
    /// `lseek` answers with a place before where it began.
    Back,
    /// `lseek` answers where it began, whenever it looks for this.
    StaysFromNow,
    /// An error.
    Fails(i32),
    /// An error, for this call and for all like it from now on.
    FailsFromNow(i32),
    /// The call is served, but the source was cut by a third just before.
    Shrinks,
    /// The call is served, but the source has just grown.
    Grows,
}

/// One call, as the plain run made it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) what: String,
    pub(super) kind: Kind,
    pub(super) bytes: usize,
    /// On a folder, or on the copy's source.
    pub(super) folder: bool,
    pub(super) source: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    SeekData,
    SeekHole,
    Resize,
    Punch,
    Zero,
    Allocate,
    Clone,
    Offload,
    WriteOut,
    Sync,
    SyncSystem,
    Attribute,
    Create,
    Rename,
    RenameNew,
    Exchange,
    Link,
    Unlink,
}

pub(super) fn kind(call: Call<'_>) -> Kind {
    match call {
        Call::Read { .. } => Kind::Read,
        Call::Write { .. } => Kind::Write,
        Call::Seek { hole: true, .. } => Kind::SeekHole,
        Call::Seek { hole: false, .. } => Kind::SeekData,
        Call::Resize { .. } => Kind::Resize,
        Call::Punch { .. } => Kind::Punch,
        Call::Zero { .. } => Kind::Zero,
        Call::Allocate { .. } => Kind::Allocate,
        Call::Clone { .. } => Kind::Clone,
        Call::Offload { .. } => Kind::Offload,
        Call::WriteOut { .. } => Kind::WriteOut,
        Call::Sync { .. } => Kind::Sync,
        Call::SyncSystem => Kind::SyncSystem,
        Call::Attribute => Kind::Attribute,
        Call::Create { .. } => Kind::Create,
        Call::Rename { flags, .. } => match flags {
            libc::RENAME_NOREPLACE => Kind::RenameNew,
            libc::RENAME_EXCHANGE => Kind::Exchange,
            _ => Kind::Rename,
        },
        Call::Link { .. } => Kind::Link,
        Call::Unlink { .. } => Kind::Unlink,
    }
}

/// Whether a signal may end it before it is done.
fn is_interruptible(kind: Kind) -> bool {
    use Kind::{
        Allocate, Clone, Offload, Punch, Read, Resize, SeekData, SeekHole, Sync, SyncSystem, Write,
        WriteOut, Zero,
    };
    matches!(
        kind,
        Read | Write
            | SeekData
            | SeekHole
            | Resize
            | Punch
            | Zero
            | Allocate
            | Clone
            | Offload
            | WriteOut
            | Sync
            | SyncSystem
    )
}

/// What `lseek` answers for a file that has data at these ranges, and ends with the last of them.
fn sought(layout: &[Range<i64>], from: i64, hole: bool) -> Ruling {
    let here = layout.iter().find(|data| data.end > from);
    let place = match here {
        None => return Ruling::Fail(libc::ENXIO),
        Some(data) if hole && data.contains(&from) => data.end,
        Some(_) if hole => from,
        Some(data) => data.start.max(from),
    };
    Ruling::Say(place.unsigned_abs())
}

/// What the page cache holds of a file that the disk does not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pages {
    pub(super) data: bool,
    pub(super) metadata: bool,
    /// A sync failed and the kernel forgot them: no later sync brings them back.
    pub(super) lost: bool,
}

/// The books of one run.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) calls: Vec<Seen>,
    /// More would be without end.
    pub(super) calls_max: usize,
    pub(super) faults: BTreeMap<usize, Fault>,
    pub(super) from_now: Vec<(Kind, Fault)>,
    /// What really happened of them.
    pub(super) happened: Vec<String>,
    pub(super) unlink_failed: bool,
    pub(super) sources: BTreeSet<PathBuf>,
    /// Where sources have data, to the byte, on a file system that keeps and tells it so. Else the real one tells.
    pub(super) layouts: HashMap<PathBuf, Vec<Range<i64>>>,
    /// What cannot be read of any source.
    pub(super) bad: Vec<Range<i64>>,
    /// The file system shares blocks, as far as anybody can see: a clone arrives whole.
    pub(super) clones: bool,
    /// How often each call that a signal may interrupt is interrupted before it is served; and how often this one was.
    pub(super) storm: u32,
    pub(super) stormed: u32,
    /// No durability is promised, so none is asked for.
    pub(super) careless: bool,
    pub(super) pages: HashMap<Identity, Pages>,
    pub(super) names_not_synced: BTreeSet<PathBuf>,
    pub(super) wrong: Vec<String>,
    pub(super) endless: bool,
}

impl Disk {
    fn ruling(&mut self, fault: Fault, subject: &Subject, call: Call<'_>) -> Ruling {
        match fault {
            Fault::Half => match call {
                Call::Read { bytes, .. }
                | Call::Write { bytes, .. }
                | Call::Offload { bytes, .. } => Ruling::Short(bytes.div_ceil(2)),
                _ => Ruling::Pass,
            },
            Fault::Nothing => match call {
                Call::Read { .. } | Call::Write { .. } | Call::Offload { .. } => Ruling::Say(0),
                _ => Ruling::Pass,
            },
            Fault::Forgets => match call {
                Call::Write { bytes, .. } => Ruling::Say(bytes as u64),
                _ => Ruling::Pass,
            },
            Fault::Stays | Fault::StaysFromNow | Fault::Back => match call {
                Call::Seek { from, .. } => {
                    if fault == Fault::StaysFromNow {
                        self.from_now.push((kind(call), Fault::Stays));
                    }
                    let back = i64::from(fault == Fault::Back).min(from);
                    Ruling::Say((from - back).unsigned_abs())
                }
                _ => Ruling::Pass,
            },
            Fault::Fails(errno) => Ruling::Fail(errno),
            Fault::FailsFromNow(errno) => {
                self.from_now.push((kind(call), Fault::Fails(errno)));
                Ruling::Fail(errno)
            }
            Fault::Shrinks | Fault::Grows => {
                if self.sources.contains(&subject.path) {
                    let file = File::options().write(true).open(&subject.path).unwrap();
                    let size = file.metadata().unwrap().len();
                    let size = if fault == Fault::Grows {
                        size + 5000
                    } else {
                        size * 2 / 3
                    };
                    file.set_len(size).unwrap();
                }
                Ruling::Pass
            }
        }
    }

    /// Puts what the source has there into `target`, which is a new file beside its target, or the target.
    fn clone_to(target: &Path, at: i64, bytes: i64) -> Ruling {
        let name = target.file_name().unwrap().to_str().unwrap();
        let number = name.split("target").nth(1).unwrap();
        let digits = number.find(|digit: char| !digit.is_ascii_digit());
        let number = &number[..digits.unwrap_or(number.len())];
        let source = target.with_file_name(format!("source{number}"));
        let mut data = vec![0; bytes as usize];
        let source = File::open(source).unwrap();
        // Only whole blocks, or both ends.
        let size = source.metadata().unwrap().len();
        let to = File::options().write(true).open(target).unwrap();
        let ends = (at + bytes).unsigned_abs() == size && size == to.metadata().unwrap().len();
        if at % 4096 != 0 || (bytes % 4096 != 0 && !ends) {
            return Ruling::Fail(libc::EINVAL);
        }
        source.read_exact_at(&mut data, at.unsigned_abs()).unwrap();
        to.write_all_at(&data, at.unsigned_abs()).unwrap();
        Ruling::Say(0)
    }

    /// A name is about to be given to a file: what it holds must be on the disk.
    fn named(&mut self, folder: &Path, from: &CStr, to: &CStr) {
        let path = folder.join(OsStr::from_bytes(from.to_bytes()));
        let Ok(found) = stat_link(&path) else { return };
        let pages = self.pages.get(&found.identity).copied().unwrap_or_default();
        if !self.careless && (pages.data || pages.metadata || pages.lost) {
            self.wrong
                .push(format!("{from:?} is given the name {to:?} with {pages:?}"));
        }
    }
}

impl Script for Disk {
    fn rule(&mut self, subject: &Subject, call: Call<'_>) -> Ruling {
        let number = self.calls.len();
        let name = subject.path.file_name().unwrap_or_default();
        self.calls.push(Seen {
            what: format!("{call:?} on {}", name.display()),
            kind: kind(call),
            bytes: match call {
                Call::Read { bytes, .. }
                | Call::Write { bytes, .. }
                | Call::Offload { bytes, .. } => bytes,
                _ => 0,
            },
            folder: subject.path.is_dir(),
            source: self.sources.contains(&subject.path),
        });
        if number >= self.calls_max {
            self.endless = true;
            return Ruling::Fail(libc::EIO);
        }
        if self.stormed < self.storm && is_interruptible(kind(call)) {
            self.stormed += 1;
            return Ruling::Fail(libc::EINTR);
        }
        self.stormed = 0;
        if let Call::Read { bytes, .. } | Call::Write { bytes, .. } | Call::Offload { bytes, .. } =
            call
            && self.storm > 0
            && bytes > 4096
        {
            return Ruling::Short(bytes / 2);
        }
        let lasting = self.from_now.iter().find(|(of, _)| *of == kind(call));
        let ruling = match (lasting, self.faults.get(&number).copied()) {
            (Some((_, fault)), _) => self.ruling(*fault, subject, call),
            (None, Some(fault)) => {
                self.happened.push(format!(
                    "call {number}, {call:?} on {}: {fault:?}",
                    name.display()
                ));
                self.ruling(fault, subject, call)
            }
            (None, None) => Ruling::Pass,
        };
        if ruling == Ruling::Pass {
            match call {
                Call::Rename { from, to, .. } | Call::Link { from, to } => {
                    self.named(&subject.path, from, to);
                }
                Call::Read { at, bytes } if self.sources.contains(&subject.path) => {
                    let end = at + bytes as i64;
                    if self.bad.iter().any(|bad| bad.start < end && at < bad.end) {
                        return Ruling::Fail(libc::EIO);
                    }
                }
                Call::Clone { at, bytes } if self.clones => {
                    return Self::clone_to(&subject.path, at, bytes);
                }
                // The books say what it would have done; waiting for the real disk would say no more.
                Call::Sync { .. } | Call::SyncSystem => return Ruling::Say(0),
                Call::Seek { from, hole } => {
                    if let Some(layout) = self.layouts.get(&subject.path) {
                        return sought(layout, from, hole);
                    }
                }
                _ => {}
            }
        }
        self.unlink_failed |= matches!(ruling, Ruling::Fail(_)) && kind(call) == Kind::Unlink;
        ruling
    }

    fn answered(&mut self, subject: &Subject, call: Call<'_>, answer: Result<u64, i32>) {
        let pages = self.pages.entry(subject.identity).or_default();
        match (call, answer) {
            (Call::Write { .. } | Call::Offload { .. }, Ok(1..))
            | (
                Call::Punch { .. }
                | Call::Zero { .. }
                | Call::Allocate { .. }
                | Call::Clone { .. }
                | Call::Resize { .. },
                Ok(_),
            ) => {
                pages.data = true;
            }
            (Call::Attribute, Ok(_)) => pages.metadata = true,
            (Call::Sync { .. } | Call::WriteOut { .. }, Err(libc::EIO)) => {
                pages.lost |= pages.data || pages.metadata;
            }
            (Call::Sync { data_only }, Ok(_)) => {
                pages.data = false;
                pages.metadata &= data_only;
                self.names_not_synced.remove(&subject.path);
            }
            (Call::Rename { .. } | Call::Link { .. }, Ok(_)) => {
                self.names_not_synced.insert(subject.path.clone());
            }
            _ => {}
        }
    }
}
