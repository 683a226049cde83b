//! What of a dead copy a new one goes on with, and what it removes.

use super::content::{Content, Stage};
use super::ranges::Ranges;
use super::record::{FileId, Member, SourceMark};
pub(in crate::copy) use super::recovery::remove_pointers;
use crate::copy::error::{CopyError, cause_text};
use crate::copy::parked::Known;
use crate::copy::replace::Replacement;
use crate::copy::target::Place;
use crate::io::attribute::fchmod;
use crate::io::durable::fdatasync;
use crate::io::extent::punch_hole;
use crate::io::folder::{Access, Folder, Name};
use crate::io::lock::try_lock;
use crate::io::process::effective_user;
use crate::io::stat::{FileKind, stat};
use std::fs::File;
use std::path::PathBuf;

/// What a source is now, for the journal.
pub(in crate::copy) fn mark(source: &Known) -> SourceMark {
    SourceMark {
        path: source.path.clone(),
        id: FileId::of(&source.stat),
        size: source.size,
        modified: source.stat.modified,
        changed: source.stat.changed,
    }
}

/// A dead copy's new file, opened and locked, with what can be relied on in it. All the rest of it reads as zeros.
#[derive(Debug)]
pub(in crate::copy) struct Continued {
    pub replacement: Replacement,
    pub file: File,
    pub done: Ranges,
}

/// The dead copy's place in its list that was to the same target.
pub(in crate::copy) fn member_for(
    content: &Content,
    place: &Place,
    same_boot: bool,
) -> Option<usize> {
    let folder = place.folder.at_open();
    content.members.iter().position(|member| {
        member.name == place.name.to_os_string() && member.folder_id.is(folder, same_boot)
    })
}

/// Goes on with a dead copy's new file.
///
/// # Errors
/// The outer is a refusal of the whole; the inner gives the place back, and says why it has to start over.
#[allow(clippy::result_large_err)] // The place is wanted back, and this happens once a copy.
pub(in crate::copy) fn go_on(
    content: &Content,
    index: usize,
    source: &Known,
    place: Place,
    boot: Option<u128>,
    synced: bool,
) -> Result<Result<Continued, (Place, String)>, CopyError> {
    let member = &content.members[index];
    let (temporary, file) = match open(content, index, source, &place, boot) {
        Ok(opened) => opened,
        Err(reason) => return Ok(Err((place, reason))),
    };
    let done = content.trusted(index, boot);
    if done.is_empty() {
        return Ok(Err((place, "it had nothing on the disk yet".to_owned())));
    }
    if let Err(reason) = make_true(&file, &done, member.source.size, synced) {
        return Ok(Err((place, reason)));
    }
    let replacement = Replacement::go_on(place, temporary, &file)?;
    Ok(Ok(Continued {
        replacement,
        file,
        done,
    }))
}

/// Opens the new file, if it and the source are what the journal says.
fn open(
    content: &Content,
    index: usize,
    source: &Known,
    place: &Place,
    boot: Option<u128>,
) -> Result<(Name, File), String> {
    let member = &content.members[index];
    let same_boot = content.is_of_boot(boot);
    let now = mark(source);
    let before = &member.source;
    if source.stat.kind != FileKind::Regular {
        return Err("a device does not say whether it was written meanwhile".to_owned());
    }
    if !before.id.is(&source.stat, same_boot) {
        return Err("the source is another file".to_owned());
    }
    if before.size != now.size || before.modified != now.modified {
        return Err("the source was written meanwhile".to_owned());
    }
    if before.changed != now.changed {
        return Err("the source or its metadata was changed meanwhile".to_owned());
    }
    let say = |cause: std::io::Error| {
        let text = cause_text(&cause);
        format!("its temporary file cannot be opened: {text}")
    };
    let temporary = Name::new(&member.temporary).map_err(say)?;
    let file = place
        .folder
        .open_file(&temporary, Access::ReadWrite)
        .map_err(say)?;
    let found = stat(&file).map_err(say)?;
    if found.kind != FileKind::Regular
        || found.links != 1
        || found.user != effective_user()
        || found.size != now.size
        || !member.new.is(&found, same_boot)
    {
        return Err("its temporary file is not what it was".to_owned());
    }
    if !try_lock(&file).map_err(say)? {
        return Err("its temporary file is in use".to_owned());
    }
    Ok((temporary, file))
}

/// Makes everything that is not `done` read as zeros, as in a new file, and brings `done` to the disk: where that
/// fails, something of it was lost.
fn make_true(file: &File, done: &Ranges, size: u64, synced: bool) -> Result<(), String> {
    let failed = |what: &str, cause: &std::io::Error| {
        format!("its temporary file cannot be {what}: {}", cause_text(cause))
    };
    fchmod(file, 0o600).map_err(|cause| failed("closed to others", &cause))?;
    for gap in done.gaps(size) {
        match punch_hole(file, gap.start, gap.end - gap.start) {
            Ok(true) => {}
            Ok(false) => return Err("its file system cannot make holes".to_owned()),
            Err(cause) => return Err(failed("cut", &cause)),
        }
    }
    if synced {
        fdatasync(file).map_err(|cause| failed("synced", &cause))?;
    }
    Ok(())
}

/// Removes the new files of a dead copy that nobody goes on with: all but those of the members `kept`. Which.
pub(in crate::copy) fn remove_temporaries(
    content: &Content,
    kept: &[usize],
    boot: Option<u128>,
) -> Vec<PathBuf> {
    // After a commit the names may be those of other files.
    if content.stage != Stage::Copying {
        return Vec::new();
    }
    let same_boot = content.is_of_boot(boot);
    let dead = |(index, member): (usize, &Member)| {
        if kept.contains(&index) {
            return None;
        }
        let folder = Folder::open(&member.folder).ok()?;
        let name = Name::new(&member.temporary).ok()?;
        let file = folder.open_file(&name, Access::ReadWrite).ok()?;
        let found = stat(&file).ok()?;
        let is_new = member.new.is(&found, same_boot) && found.links == 1;
        if !is_new || !try_lock(&file).ok()? {
            return None;
        }
        folder.unlink(&name).ok()?;
        Some(member.folder.join(&member.temporary))
    };
    content
        .members
        .iter()
        .enumerate()
        .filter_map(dead)
        .collect()
}
