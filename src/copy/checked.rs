//! One pair, looked at: the source is open, the target is known, and nothing speaks against copying the one to the other.

use super::around::Around;
use super::error::CopyError;
use super::leftover::Leftover;
use super::options::CopyOptions;
use super::parked::Known;
use super::plan::{Pair, PlannedCopy};
use super::report::Method;
use super::source::Source;
use super::target::{Target, resolve, share_blocks};
use super::technique::candidates;
use crate::io::folder::Folder;
use crate::io::process::effective_user;
use crate::io::stat::{FileKind, Identity};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) struct Checked {
    pub planned: PlannedCopy,
    pub source: Known,
    pub target: Target,
    /// Of copies that died; removed when this one starts. A large group looks for them then.
    pub leftovers: Vec<Leftover>,
    /// Bytes that will be free when they are.
    pub freed: u64,
}

impl std::fmt::Debug for Checked {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.planned.fmt(out)
    }
}

impl Checked {
    /// Looks at one of so many pairs. Of a large group neither end stays open.
    pub fn of(
        pair: &Pair,
        pairs: usize,
        options: &CopyOptions,
        around: &mut Around,
    ) -> Result<Self, CopyError> {
        let source = Source::open(&pair.source)?;
        let mut target = resolve(&pair.target, &source, options, around)?;
        let method = match &target {
            Target::Replace(place) if place.existing.is_none() => Method::Create,
            Target::Replace(_) => Method::Replace,
            Target::InPlace(_) => Method::InPlace,
        };
        if method == Method::InPlace && pairs > 1 && !options.allow_in_place {
            return Err(CopyError::InPlaceInGroup {
                path: pair.target.clone(),
            });
        }
        check_times(pair, &source, &target, options)?;
        let planned = PlannedCopy {
            pair: pair.clone(),
            method,
            size_bytes: source.size,
            stored_bytes: source.stored_bytes(),
            workers: options
                .workers
                .min(source.size.div_ceil(options.chunk_bytes as u64).max(1) as usize),
            techniques: candidates(&source, &target, options)?,
        };
        let mut source = Known::from(source);
        if pairs > options.tuning.open_max {
            close(&mut source, &mut target);
        }
        Ok(Self {
            planned,
            source,
            target,
            leftovers: Vec::new(),
            freed: 0,
        })
    }
}

/// Where the source's times are wanted: both ends have them, and they may be set.
fn check_times(
    pair: &Pair,
    source: &Source,
    target: &Target,
    options: &CopyOptions,
) -> Result<(), CopyError> {
    if !options.times {
        return Ok(());
    }
    let device = match target {
        Target::InPlace(target) if target.stat.kind == FileKind::BlockDevice => Some(&pair.target),
        _ if source.stat.kind == FileKind::BlockDevice => Some(&pair.source),
        _ => None,
    };
    if let Some(device) = device {
        return Err(CopyError::Conflict {
            what: "--times".to_owned(),
            other: format!("the block device {}", device.display()),
            why: "its contents have no times",
        });
    }
    match target {
        Target::InPlace(target) if ![0, target.stat.user].contains(&effective_user()) => {
            Err(CopyError::Metadata {
                path: pair.target.clone(),
                what: "the source's times".to_owned(),
                cause: std::io::Error::from_raw_os_error(libc::EPERM),
            })
        }
        _ => Ok(()),
    }
}

/// Lets go of a source, and of the old file of a target that is replaced: a large group cannot have all of them open.
fn close(source: &mut Known, target: &mut Target) {
    if let Target::Replace(place) = target {
        source.close();
        if let Some(existing) = &mut place.existing {
            existing.let_go();
        }
    }
}

/// Of folders that were opened more than once, the first stays for all who have files in it.
pub(super) fn share_folders(checked: &mut [Checked]) {
    let mut opened: HashMap<Identity, Arc<Folder>> = HashMap::new();
    for one in checked {
        if let Target::Replace(place) = &mut one.target {
            let first = opened.entry(place.folder.identity());
            place.folder = Arc::clone(first.or_insert_with(|| Arc::clone(&place.folder)));
        }
    }
}

/// Refuses pairs that get in each other's way: two with one target, or one that writes in place what another reads.
/// (A source that another pair *replaces* is fine: the copy reads the old file, which the commit puts aside.)
pub(super) fn check_apart(checked: &[Checked]) -> Result<(), CopyError> {
    let mut taken: HashSet<(Identity, std::ffi::OsString)> = HashSet::new();
    let mut written: HashSet<Identity> = HashSet::new();
    for Checked {
        planned, target, ..
    } in checked
    {
        let path = || planned.pair.target.clone();
        let first = match target {
            Target::Replace(place) => {
                let by_name = taken.insert((place.folder.identity(), place.name.to_os_string()));
                by_name
                    && place
                        .existing
                        .as_ref()
                        .is_none_or(|existing| written.insert(existing.id.identity))
            }
            Target::InPlace(target) => written.insert(target.stat.identity),
        };
        if !first {
            return Err(CopyError::TargetTwice { path: path() });
        }
    }
    for Checked { target, .. } in checked {
        let Target::InPlace(target) = target else {
            continue;
        };
        if let Some(reader) = checked
            .iter()
            .find(|one| one.source.stat.identity == target.stat.identity)
        {
            return Err(CopyError::SourceIsTarget {
                path: reader.planned.pair.source.clone(),
            });
        }
        if let Some(reader) = checked
            .iter()
            .find(|one| share_blocks(&one.source.stat, &target.stat))
        {
            return Err(CopyError::DeviceOverlap {
                from: reader.planned.pair.source.clone(),
                path: target.path.clone(),
            });
        }
    }
    Ok(())
}
