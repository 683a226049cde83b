//! A folder for a peer's images, gone when it is not needed any more.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A folder of our own, gone when this is.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one where temporary files go, for nobody else to see: `TMPDIR`, or else memory where there is such a
    /// place, because jobs flush what they write, or else `/tmp`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> io::Result<Folder> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let name = format!(
                "blockjob-conform-{}-{}-{}",
                std::process::id(),
                COUNT.fetch_add(1, Ordering::Relaxed),
                now.map_or(0, |now| now.subsec_nanos())
            );
            let path = place().join(name);
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Where temporary files go.
fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let writable = || {
        let probe = memory.join(format!("blockjob-probe-{}", std::process::id()));
        let made = std::fs::DirBuilder::new().create(&probe).is_ok();
        let _ = std::fs::remove_dir(probe);
        made
    };
    if std::env::var_os("TMPDIR").is_none() && memory.is_dir() && writable() {
        return memory.to_owned();
    }
    std::env::temp_dir()
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays where temporary files go.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
