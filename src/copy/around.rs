//! What the targets of one plan have in common, looked up once however many they are: their folders, and what new
//! files are not given.

use super::error::{CopyError, cause_text};
use crate::io::folder::Folder;
use crate::io::process::creation_mask;
use crate::io::stat::Identity;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folders by the paths that lead there, each open once, whatever its paths.
#[derive(Debug, Default)]
pub(super) struct Around {
    folders: HashMap<PathBuf, Arc<Folder>>,
    opened: HashMap<Identity, Arc<Folder>>,
    mask: Option<u32>,
}

impl Around {
    /// The folder that `parent` leads to, if files can be made in it; for the target that the user calls `path`.
    pub fn folder(&mut self, parent: &Path, path: &Path) -> Result<Arc<Folder>, CopyError> {
        if let Some(folder) = self.folders.get(parent) {
            return Ok(Arc::clone(folder));
        }
        let refuse = |cause| CopyError::Folder {
            path: parent.to_owned(),
            cause,
        };
        let folder = Folder::open(parent).map_err(refuse)?;
        folder
            .check_writable()
            .map_err(|cause| CopyError::ReadOnly {
                path: path.to_owned(),
                reason: format!(
                    "no file can be made in folder {}: {}",
                    parent.display(),
                    cause_text(&cause)
                ),
            })?;
        let known = self.opened.entry(folder.identity());
        let folder = known.or_insert_with(|| Arc::new(folder));
        self.folders.insert(parent.to_owned(), Arc::clone(folder));
        Ok(Arc::clone(folder))
    }

    /// The permission bits that new files do not get.
    pub fn mask(&mut self) -> u32 {
        *self.mask.get_or_insert_with(creation_mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_opened_once_whatever_path_leads_there() {
        let scratch = tempfile::tempdir().unwrap();
        let (real, link) = (scratch.path().join("real"), scratch.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut around = Around::default();
        let mut at = |path: &Path| around.folder(path, path).unwrap();
        let first = at(&real);
        for again in [at(&real), at(&link), at(&link)] {
            assert!(Arc::ptr_eq(&first, &again));
        }
        assert!(!Arc::ptr_eq(&first, &at(scratch.path())));
        // Opened once is opened: another folder of that name is another folder.
        std::fs::rename(&real, scratch.path().join("moved")).unwrap();
        std::fs::create_dir(&real).unwrap();
        assert!(Arc::ptr_eq(&first, &at(&real)));
        assert!(around.folder(&scratch.path().join("none"), &real).is_err());
    }
}
