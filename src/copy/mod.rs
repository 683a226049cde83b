//! Copying files and block devices as jobs: all or nothing, pausable, as fast as the machine.
//!
//! | file | concept |
//! |---|---|
//! | [`plan`](CopyPlan) | a list of pairs, checked, then started as one transaction |
//! | [`backup`](Backup) | the driver: what it does at each of its callbacks |
//! | [`mirror`](Mirror) | the driver that follows a source while it is written |
//! | `work` | several workers, pause points between pieces, the speed limit |
//! | `transfer`, `writing` | what is done with a piece; where its data goes |
//! | [`technique`](Technique) | cloning, offloading, reading and writing: what suits two files |
//! | `verify`, `digest` | reading back what was written; a digest of what was copied |
//! | `bad_map` | the list of what could not be read |
//! | `room` | room set aside for what is about to be written, where that helps |
//! | [`behind`](Cache) | writing begun early, and a page cache that is left as it was |
//! | `target`, `source` | what a path means, and every reason to refuse it |
//! | `replace` | the new file beside its target, and the exchange of their names |
//! | `group` | the exchange of all names of a transaction, or of none |
//! | `holding` | what a copy keeps from other jobs of its manager |
//! | `metadata` | what the new file inherits |
//! | `leftover` | what a copy that died left beside its target |
//! | `journal` | what a copy writes down, to be continued, and [recovered](recover) after a crash in its commit |
//! | `parked` | what a group of thousands keeps of its copies while they wait: no descriptor |
//! | `ends`, `names` | both ends of each copy, as it starts; the names of what is made beside targets |
//! | `piece`, `zero` | cutting the work; finding zeros |
//! | [`report`](CopyReport), [`error`](CopyError) | what was done; why it was not |
//!
//! # The promise
//!
//! A regular target is not written: the copy is made in a temporary file beside it, `.NAME.blockjob-RANDOM`, mode
//! 0600, with all steps relative to one opened folder. The workers copy, give it its metadata and sync it before the
//! run ends; [`prepare`](crate::driver::Driver::prepare) takes a last look; commit exchanges the names of all members
//! of the group and syncs their folders; abort removes the temporary files. Hence:
//!
//! - A target is at every moment the old file (or absent) or the whole new one.
//! - If any member fails or is cancelled, every target is what it was, and no temporary file is left.
//! - If the exchange itself fails for one, those done before are exchanged back, and [`Ending`] says so: the engine
//!   had decided by then, so its status reads as committed.
//!
//! The group is not atomic at every instant: between the first exchange and the last, some targets are new and some
//! old. A crash in that moment leaves that state; before it the group's decision was brought to the disk, in a journal
//! beside the first target, and [`recover`] brings all names to one side. Until then these targets are not copied to
//! ([`CopyError::Interrupted`]).
//!
//! A crash before leaves the targets as they were, and temporary files. [`CopyOptions::resume`] continues what a
//! journal tells of; any other copy to the same target removes them and says so ([`Summary::removed_leftovers`]).
//! Those of a copy that lives are locked, or its journal is, and are left alone.
//! Targets written in place are outside the promise: an abort leaves what was
//! written.
//!
//! Copies of one manager do not get in each other's way: each holds its source and its target as resources of its job,
//! and a copy that would write what another reads or writes is refused ([`CopyError::Busy`]). A file may be the source
//! of many.
//!
//! ```
//! use blockjob::copy::{CopyOptions, CopyPlan, Pair};
//! use blockjob::engine::{JobOptions, Manager, ManagerConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let (source, target) = (folder.path().join("source"), folder.path().join("target"));
//! # std::fs::write(&source, "contents")?;
//! let plan = CopyPlan::check(&[Pair::new(&source, &target)], &CopyOptions::default())?;
//! let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
//! let jobs = plan.start(&manager, |index| JobOptions::new(format!("copy{index}")))?;
//! main_loop.run_until_idle();
//! assert!(jobs[0].summary().ending.is_success());
//! # assert_eq!(std::fs::read(&target)?, b"contents");
//! # Ok(())
//! # }
//! ```

mod around;
mod backup;
mod bad_map;
mod behind;
mod checked;
mod digest;
mod ends;
mod error;
#[cfg(test)]
mod faults;
mod group;
mod holding;
mod journal;
mod leftover;
mod metadata;
mod mirror;
mod names;
mod options;
mod parked;
mod piece;
mod plan;
mod replace;
mod report;
mod room;
mod source;
mod spread;
mod target;
mod technique;
mod transfer;
mod verify;
mod work;
mod writing;
mod zero;

pub use backup::Backup;
pub use behind::Cache;
pub use error::{CopyError, Side};
pub use journal::{Recovered, Recovery, recover};
pub use mirror::{Mirror, MirrorJob, MirrorPlan, SourceWriters};
pub use options::{
    CHUNK_BYTES, CHUNK_BYTES_MAX, CopyOptions, Durability, Sparse, WORKERS, WORKERS_MAX,
};
pub use plan::{CopyDriver, CopyJob, CopyPlan, Pair, PlannedCopy};
pub use report::{CopyReport, Ending, Method, Summary};
pub use technique::Technique;
