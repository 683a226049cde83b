//! The bad map: which ranges of a source could not be read and are zeros in the target, in the format of ddrescue's
//! map files, so that `ddrescue` can go on where the copy left off and `ddrescuelog` can count.
//!
//! | status | meaning here |
//! |---|---|
//! | `+` | copied |
//! | `-` | could not be read |

use super::error::{CopyError, cause_text};
use super::plan::Pair;
use crate::driver::JobError;
use crate::io::durable::fsync;
use crate::io::stat::{stat, stat_path};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What an old map begins with: nothing else is overwritten.
const HEAD: &str = "# Mapfile.";

/// A list that is written when the copy knows what it could not read.
#[derive(Debug)]
pub(super) struct BadMap {
    path: PathBuf,
    file: File,
}

impl BadMap {
    /// Refuses a map that is one of the files to copy, or another file that is no map.
    pub fn check<'a>(path: &Path, pairs: impl Iterator<Item = &'a Pair>) -> Result<(), CopyError> {
        let refuse = |reason: String| CopyError::BadMap {
            path: path.to_owned(),
            reason,
        };
        let Ok(found) = stat_path(path) else {
            // A target that does not exist yet has a name all the same.
            for pair in pairs {
                if pair.target == path {
                    return Err(refuse("it is one of the files to copy".to_owned()));
                }
            }
            return Ok(());
        };
        for pair in pairs {
            for file in [&pair.source, &pair.target] {
                if stat_path(file).is_ok_and(|other| other.identity == found.identity) {
                    return Err(refuse("it is one of the files to copy".to_owned()));
                }
            }
        }
        let mut head = [0; HEAD.len()];
        let is_map = found.size == 0
            || File::open(path)
                .and_then(|mut file| file.read_exact(&mut head))
                .is_ok()
                && head == *HEAD.as_bytes();
        if found.kind != crate::io::stat::FileKind::Regular || !is_map {
            return Err(refuse("it exists and is no map".to_owned()));
        }
        Ok(())
    }

    /// Opens the list, and leaves in it what it has.
    pub fn create(path: &Path) -> Result<Self, CopyError> {
        let refuse = |cause: io::Error| CopyError::BadMap {
            path: path.to_owned(),
            reason: cause_text(&cause),
        };
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(refuse)?;
        stat(&file).map_err(refuse)?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Writes the list, to the disk: a source of so many bytes, and what could not be read of it, in order and apart.
    pub fn write(&self, size: u64, unreadable: &[Range<u64>]) -> Result<(), JobError> {
        let text = text(size, unreadable);
        let write = || {
            let mut file = &self.file;
            file.rewind()?;
            file.write_all(text.as_bytes())?;
            file.set_len(text.len() as u64)?;
            fsync(file)
        };
        write().map_err(|cause| {
            super::writing::failed("bad map", &self.path, "cannot be written", &cause)
        })
    }
}

fn text(size: u64, unreadable: &[Range<u64>]) -> String {
    let mut text = format!(
        "{HEAD} Created by blockjob {}\n# current_pos  current_status  current_pass\n",
        env!("CARGO_PKG_VERSION")
    );
    // A `String` takes everything.
    let _ = writeln!(text, "{size:#010x}     +               1");
    text.push_str("#      pos        size  status\n");
    let mut line = |range: Range<u64>, status| {
        if !range.is_empty() {
            let bytes = range.end - range.start;
            let _ = writeln!(text, "{:#010x}  {bytes:#010x}  {status}", range.start);
        }
    };
    let mut at = 0;
    for bad in unreadable {
        line(at..bad.start, '+');
        line(bad.clone(), '-');
        at = bad.end;
    }
    line(at..size, '+');
    text
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // One range is meant.
mod tests {
    use super::*;

    #[test]
    fn a_map_covers_the_source_without_gaps() {
        let found = text(0x5000, &[0x1000..0x1200, 0x4000..0x5000]);
        let lines: Vec<_> = found.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "# current_pos  current_status  current_pass",
                "0x00005000     +               1",
                "#      pos        size  status",
                "0x00000000  0x00001000  +",
                "0x00001000  0x00000200  -",
                "0x00001200  0x00002e00  +",
                "0x00004000  0x00001000  -",
            ]
        );
        assert_eq!(text(0, &[]).lines().count(), 4);
    }

    #[test]
    fn only_a_map_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        std::fs::write(path("text"), "not a map, but dear to somebody").unwrap();
        std::fs::write(path("old"), text(10, &[2..3])).unwrap();
        std::fs::write(path("empty"), "").unwrap();
        let pair = Pair::new(path("source"), path("target"));
        let check = |name| BadMap::check(&path(name), [&pair].into_iter());
        assert!(matches!(check("text"), Err(CopyError::BadMap { .. })));
        assert!(matches!(check("target"), Err(CopyError::BadMap { .. })));
        for name in ["old", "empty", "new"] {
            check(name).unwrap();
            let map = BadMap::create(&path(name)).unwrap();
            map.write(4, &[0..1]).unwrap();
            assert_eq!(
                std::fs::read_to_string(path(name)).unwrap(),
                text(4, &[0..1])
            );
        }
    }
}
