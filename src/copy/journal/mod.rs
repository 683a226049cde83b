//! What a copy writes down beside its target, so that a crash loses neither its work nor a group's wholeness.
//!
//! | file | concept |
//! |---|---|
//! | `record`, `checksum` | one record, as bytes and back |
//! | `content` | what a journal says, its end torn or not |
//! | `ranges` | sets of bytes |
//! | `file` | the file it is: opened with care, appended to, synced |
//! | `live` | the journal of copies that run |
//! | `tuning` | when it is made, and how often it is written |
//! | `resume` | what of a dead copy a new one goes on with |
//! | `recovery` | a commit that a crash interrupted, finished or undone |
//!
//! Two questions are answered by it. *How far was this copy?* Only what is known to be on the disk counts, or, within
//! one run of the kernel, what was written. *Had this group decided?* Before the decision is on the disk no name is
//! exchanged; from then on whoever finds the journal brings all names to one side, by what it finds.

mod checksum;
mod content;
mod file;
mod live;
mod ranges;
mod record;
pub(super) mod recovery;
pub(super) mod resume;
mod tuning;

pub(super) use content::{Content, Stage, Unreadable};
pub(super) use file::{Spot, Taken};
pub(super) use live::{Journal, Track};
pub(super) use ranges::Ranges;
pub(super) use record::{FileId, Member};
pub use recovery::{Recovered, Recovery, recover};
pub(super) use tuning::Tuning;
