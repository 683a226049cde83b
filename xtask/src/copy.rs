//! Copies of the project that a chore changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::steps::root;

/// What git tracks, as paths below the root.
pub fn tracked() -> Result<Vec<PathBuf>, String> {
    let output = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "-z"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start git: {error}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", output.status));
    }
    let names = String::from_utf8_lossy(&output.stdout);
    let names = names.split('\0').filter(|name| !name.is_empty());
    Ok(names.map(PathBuf::from).collect())
}

/// Makes `folder` equal to the project: what git tracks, as it is in the working tree, but for the files
/// that are given. Only files that differ are written, so that cargo builds no more than it must.
pub fn equal(folder: &Path, otherwise: &BTreeMap<PathBuf, Vec<u8>>) -> Result<(), String> {
    let mut wanted = BTreeSet::new();
    for name in tracked()? {
        if otherwise.contains_key(&name) {
            continue;
        }
        let from = root().join(&name);
        // Deleted and not committed.
        let Ok(bytes) = fs::read(&from) else { continue };
        let to = folder.join(&name);
        write(&to, &bytes)
            .and_then(|()| fs::set_permissions(&to, fs::metadata(&from)?.permissions()))
            .map_err(|error| format!("{}: {error}", to.display()))?;
        wanted.insert(name);
    }
    for (name, bytes) in otherwise {
        let to = folder.join(name);
        write(&to, bytes).map_err(|error| format!("{}: {error}", to.display()))?;
        wanted.insert(name.clone());
    }
    remove_others(folder, Path::new(""), &wanted)
}

fn write(to: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    to.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(to, bytes)
}

/// Removes what is in the copy and not wanted there.
fn remove_others(copy: &Path, folder: &Path, wanted: &BTreeSet<PathBuf>) -> Result<(), String> {
    let fault = |error: std::io::Error| format!("{}: {error}", copy.join(folder).display());
    for entry in fs::read_dir(copy.join(folder)).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let name = folder.join(entry.file_name());
        if entry.file_type().map_err(fault)?.is_dir() {
            remove_others(copy, &name, wanted)?;
            // Only if nothing is left in it.
            let _ = fs::remove_dir(entry.path());
        } else if !wanted.contains(&name) {
            fs::remove_file(entry.path()).map_err(fault)?;
        }
    }
    Ok(())
}
