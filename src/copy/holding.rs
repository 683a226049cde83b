//! What a copy holds while it runs, in the engine's terms: its source to read, its target to itself.
//!
//! | what | claim |
//! |---|---|
//! | the source | read; others may read it, and give its name to another file |
//! | a target that is replaced: its name in its folder | nobody else's |
//! | … and the file that has the name now | put aside; others may read it to the end |
//! | a target written in place | nobody else's |
//!
//! Files are told by device and number, so that it does not matter by which path they were named; block devices by the
//! device that they stand for. The engine keeps the jobs of one manager apart; between processes, locks do.

use super::error::CopyError;
use super::target::{InPlace, Place};
use crate::engine::Resource;
use crate::io::stat::{FileKind, Identity, Stat};
use crate::model::resource::{Claim, Permissions};
use std::path::Path;

const READ: Claim = Claim {
    shared: Claim::READ.shared.union(Permissions::GRAPH_MOD),
    ..Claim::READ
};

const NAME: Claim = Claim {
    wanted: Permissions::GRAPH_MOD,
    shared: Permissions::NONE,
};

const PUT_ASIDE: Claim = Claim {
    wanted: Permissions::GRAPH_MOD,
    shared: Claim::READ.shared,
};

/// What becomes of a target.
pub(super) enum Taken<'a> {
    /// It is written.
    InPlace(&'a InPlace),
    /// A new file takes its name.
    Replaced(&'a Place),
}

/// The resources of a copy from `source` to `target`.
pub(super) fn resources(
    source: (&Path, &Stat),
    target: &Taken<'_>,
) -> Result<Vec<Resource>, CopyError> {
    let resource = |path: &Path, claim| Resource::claimed(path.display().to_string(), claim);
    let mut all = vec![resource(source.0, READ).identity(of(source.1))];
    match target {
        Taken::InPlace(target) => {
            all.push(resource(&target.path, Claim::WRITE).identity(of(&target.stat)));
        }
        Taken::Replaced(place) => {
            let folder = place
                .folder
                .stat_self()
                .map_err(|cause| CopyError::Folder {
                    path: place.path.clone(),
                    cause,
                })?;
            let name = place.name.to_os_string();
            // Escaped, which keeps apart names that are no text.
            let name = name.as_encoded_bytes().escape_ascii();
            let slot = format!("{} {name}", file(folder.identity));
            all.push(resource(&place.path, NAME).identity(slot));
            if let Some(existing) = &place.existing {
                let old = resource(&place.path, PUT_ASIDE);
                all.push(old.identity(file(existing.id.identity)));
            }
        }
    }
    Ok(all)
}

fn of(stat: &Stat) -> String {
    match stat.kind {
        FileKind::BlockDevice => format!("device {}", stat.represents),
        _ => file(stat.identity),
    }
}

fn file(identity: Identity) -> String {
    format!("file {} {}", identity.device, identity.inode)
}
