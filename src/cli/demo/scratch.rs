//! The scratch files of the demonstration: a folder of its own, emptied at the end.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;

/// A folder of scratch files. Dropping it removes the files; the trace stays.
pub struct Scratch {
    folder: PathBuf,
}

/// What a target is expected to be afterwards.
pub const OLD: &[u8] = b"what was here before\n";

impl Scratch {
    /// A new, empty folder among the temporary files.
    pub fn new() -> io::Result<Scratch> {
        let base = std::env::temp_dir();
        for number in 0.. {
            let folder = base.join(format!("blockjob-demo-{}-{number}", process::id()));
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok(Scratch { folder }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of `bytes` bytes that do not compress, different for each name.
    pub fn noise(&self, name: &str, bytes: u64) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        let mut file = BufWriter::new(File::create(&path)?);
        // A linear feedback register: any generator would do.
        let mut state = name.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |state, byte| {
            state.rotate_left(8) ^ u64::from(byte)
        });
        let mut left = bytes;
        while left > 0 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let piece = state.to_le_bytes();
            let take = left.min(8) as usize;
            file.write_all(&piece[..take])?;
            left -= take as u64;
        }
        file.into_inner()?;
        Ok(path)
    }

    /// A file of `bytes` bytes with a little data near its end and a hole before.
    pub fn hole(&self, name: &str, bytes: u64) -> io::Result<PathBuf> {
        use std::os::unix::fs::FileExt;
        let path = self.folder.join(name);
        let file = File::create(&path)?;
        file.set_len(bytes)?;
        file.write_all_at(b"the end", bytes.saturating_sub(7))?;
        Ok(path)
    }

    /// A target that exists already, with [`OLD`] in it.
    pub fn old(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, OLD)?;
        Ok(path)
    }

    /// Temporary files of copies that are still there.
    pub fn left_behind(&self) -> io::Result<usize> {
        let mut count = 0;
        for entry in self.folder.read_dir()? {
            let name = entry?.file_name();
            count += usize::from(name.to_string_lossy().contains(".blockjob-"));
        }
        Ok(count)
    }

    /// Removes everything but the trace and its page.
    pub fn clear(&self) -> io::Result<()> {
        for entry in self.folder.read_dir()? {
            let path = entry?.path();
            if path
                .extension()
                .is_none_or(|extension| extension != "jsonl" && extension != "html")
            {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After an error the large files go all the same; nobody is left to tell.
        let _ = self.clear();
    }
}

/// Whether two files have the same contents.
pub fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 1 << 18], vec![0; 1 << 18]);
    loop {
        let got = one.read(&mut left)?;
        if got == 0 {
            return Ok(true);
        }
        other.read_exact(&mut right[..got])?;
        if left[..got] != right[..got] {
            return Ok(false);
        }
    }
}
