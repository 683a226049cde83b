//! What a new file inherits: from the target it replaces, or from the source when there is none.

use super::error::CopyError;
use crate::io::attribute::{
    Attribute, attributes, fchmod, fchown, remove_attribute, set_attribute, set_times,
};
use crate::io::stat::{Stat, Timestamp, stat};
use std::fs::File;
use std::io;
use std::path::Path;

/// The access ACL's attribute. A new file may have one from its folder's default ACL.
const ACCESS_ACL: &std::ffi::CStr = c"system.posix_acl_access";

/// Attributes that vouch for the old contents; the kernel makes new ones.
const OF_CONTENTS: [&std::ffi::CStr; 2] = [c"security.ima", c"security.evm"];

/// Mode, owner and extended attributes for a new file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    mode: u32,
    /// Owner, group and attributes of the file to be replaced.
    replaced: Option<Replaced>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Replaced {
    user: u32,
    group: u32,
    attributes: Vec<Attribute>,
}

/// When a file was last read and last written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub accessed: Timestamp,
    pub modified: Timestamp,
}

impl Times {
    /// Gives a file these times, after the last write to it and the last read of it.
    pub fn apply(self, file: &File) -> Result<(), NotKept> {
        step("the times", set_times(file, self.accessed, self.modified))
    }
}

/// A step that failed: which, and why.
#[derive(Debug)]
pub(super) struct NotKept {
    pub what: String,
    pub cause: io::Error,
}

impl NotKept {
    pub fn refuse(self, path: &Path) -> CopyError {
        CopyError::Metadata {
            path: path.to_owned(),
            what: self.what,
            cause: self.cause,
        }
    }
}

fn step<T>(what: impl Into<String>, answer: io::Result<T>) -> Result<T, NotKept> {
    answer.map_err(|cause| NotKept {
        what: what.into(),
        cause,
    })
}

impl Metadata {
    /// For a target that does not exist yet: the source's permissions less the creation mask, ours otherwise.
    pub fn for_new(source: &Stat, mask: u32) -> Self {
        Self {
            mode: source.mode & 0o777 & !mask,
            replaced: None,
        }
    }

    /// For a target that is replaced: all it has.
    pub fn of_replaced(target: &File, stat: &Stat) -> Result<Self, NotKept> {
        let mut attributes = step("the extended attributes", attributes(target))?;
        attributes.retain(|attribute| !OF_CONTENTS.contains(&attribute.name.as_c_str()));
        let replaced = Replaced {
            user: stat.user,
            group: stat.group,
            attributes,
        };
        Ok(Self {
            mode: stat.mode,
            replaced: Some(replaced),
        })
    }

    /// Tries on the still empty file whether [`apply`](Self::apply) will succeed, and takes it back: what cannot be
    /// kept is refused before a byte is copied, and nobody else can open the file meanwhile.
    pub fn rehearse(&self, file: &File) -> Result<(), NotKept> {
        let Some(replaced) = &self.replaced else {
            return Ok(());
        };
        let own = step("the owner", stat(file))?;
        let before = step("the extended attributes", attributes(file))?;
        replaced.give_to(file, &own, &before)?;
        for attribute in &replaced.attributes {
            if !before.contains(attribute) {
                step(
                    "an extended attribute",
                    remove_attribute(file, &attribute.name),
                )?;
            }
        }
        if (own.user, own.group) != (replaced.user, replaced.group) {
            step("the owner", fchown(file, own.user, own.group))?;
        }
        for attribute in &before {
            step("an extended attribute", set_attribute(file, attribute))?;
        }
        // An ACL that came and went has changed the permission bits with it.
        step("the mode", fchmod(file, 0o600))
    }

    /// Gives the finished file its metadata. Owner first, because that clears what follows; mode last.
    pub fn apply(&self, file: &File) -> Result<(), NotKept> {
        if let Some(replaced) = &self.replaced {
            let own = step("the owner", stat(file))?;
            let before = step("the extended attributes", attributes(file))?;
            replaced.give_to(file, &own, &before)?;
        }
        step("the mode", fchmod(file, self.mode))
    }
}

impl Replaced {
    fn give_to(&self, file: &File, own: &Stat, before: &[Attribute]) -> Result<(), NotKept> {
        if (own.user, own.group) != (self.user, self.group) {
            step("the owner", fchown(file, self.user, self.group))?;
        }
        for attribute in &self.attributes {
            if !before.contains(attribute) {
                let what = format!(
                    "the extended attribute {}",
                    attribute.name.to_string_lossy()
                );
                step(what, set_attribute(file, attribute))?;
            }
        }
        let has = |list: &[Attribute]| {
            list.iter()
                .any(|attribute| attribute.name.as_c_str() == ACCESS_ACL)
        };
        if has(before) && !has(&self.attributes) {
            step("the absence of an ACL", remove_attribute(file, ACCESS_ACL))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_replacement_gets_mode_and_attributes_and_a_rehearsal_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        let old = File::create(old).unwrap();
        old.set_permissions(std::fs::Permissions::from_mode(0o751))
            .unwrap();
        let note = Attribute {
            name: c"user.note".into(),
            value: b"kept".to_vec(),
        };
        let has_attributes = set_attribute(&old, &note).is_ok();
        let new = File::create(new).unwrap();
        new.set_permissions(std::fs::Permissions::from_mode(0o600))
            .unwrap();
        let (empty, metadata) = (
            attributes(&new).unwrap(),
            Metadata::of_replaced(&old, &stat(&old).unwrap()).unwrap(),
        );

        metadata.rehearse(&new).unwrap();
        assert_eq!(stat(&new).unwrap().mode, 0o600);
        assert_eq!(attributes(&new).unwrap(), empty);

        metadata.apply(&new).unwrap();
        assert_eq!(stat(&new).unwrap().mode, 0o751);
        assert_eq!(attributes(&new).unwrap().contains(&note), has_attributes);
    }

    #[test]
    fn a_new_file_loses_what_the_creation_mask_takes_and_special_bits() {
        let folder = tempfile::tempdir().unwrap();
        let source = File::create(folder.path().join("source")).unwrap();
        source
            .set_permissions(std::fs::Permissions::from_mode(0o4777))
            .unwrap();
        let new = File::create(folder.path().join("new")).unwrap();
        Metadata::for_new(&stat(&source).unwrap(), 0o027)
            .apply(&new)
            .unwrap();
        assert_eq!(stat(&new).unwrap().mode, 0o750);
    }
}
