//! What a mirror needs beside a copy: which regions were written meanwhile, and the moment at which its writers go
//! over to the target.
//!
//! | file | concept |
//! |---|---|
//! | [`dirty`](DirtyBitmap) | regions to be copied, and those in copy: marked and taken without a lock |
//! | [`switch`](follow) | writers that are followed, a section in which nobody writes, the switch-over in it |
//!
//! A backup copies each region once, and a source that changes meanwhile fails it. A mirror lets its source be written
//! by those who say so ([`Writers::write`]), copies again what they wrote, and at the end, with nobody writing and
//! nothing left to copy, makes the target the one to write to ([`Quiet::switch`]). Nothing here does I/O: the caller
//! reads, writes and switches, in closures or between calls.
//!
//! The rules that keep every write (they are QEMU's, learned from lost ones):
//!
//! 1. A region is marked once its data is there, before its writer is out, and also if it is marked already.
//! 2. A region is taken before its data is read. Whoever writes it after that marks it again.
//! 3. A region in copy is not taken a second time before that copy is done, so an older copy never lands on a
//!    newer one. A copy that is not done leaves its region marked.
//! 4. That nothing is left is asked with nobody writing, nobody copying, and nobody let in before the
//!    switch-over is done.
//! 5. What is written beyond the end is marked as a region of its own.
//!
//! [`copy::Mirror`](crate::copy::Mirror) follows writers with this. The server's `mirror` keeps what is left to copy here;
//! nobody writes to its source, so it follows nobody. What is here is explored under loom by the harnesses `dirty-bitmap`
//! and `switch-over` of `proofs/`.
//!
//! ```
//! use blockjob::mirror::{NotSwitched, follow};
//! use std::cell::RefCell;
//!
//! let disk = RefCell::new((vec![1_u8; 4096], vec![0_u8; 4096]));
//! let (writers, follower) = follow(4096, 512)?;
//!
//! // Copies what is marked; at first that is everything.
//! let copy = |taken: blockjob::mirror::Taken<'_>| {
//!     let range = taken.range();
//!     let (source, target) = &mut *disk.borrow_mut();
//!     let range = range.start as usize..range.end as usize;
//!     target[range.clone()].copy_from_slice(&source[range]);
//!     taken.done();
//! };
//! while let Some(taken) = follower.take(0, 64 << 10) {
//!     copy(taken);
//! }
//! assert!(follower.is_clean());
//!
//! // Somebody writes: that is to be copied again.
//! writers.write(700..710, || disk.borrow_mut().0[700..710].fill(2))?;
//! assert_eq!(follower.dirty_bytes(), 512);
//!
//! // From here on writers wait, until the switch-over is done and they are told so.
//! let quiet = follower.quiesce();
//! let Err(NotSwitched::Dirty(quiet)) = quiet.switch(|| Ok::<(), std::io::Error>(())) else {
//!     panic!("there is something to copy");
//! };
//! while let Some(taken) = quiet.take(0, 64 << 10) {
//!     copy(taken);
//! }
//! quiet.switch(|| Ok::<(), std::io::Error>(()))?;
//! assert!(disk.borrow().0 == disk.borrow().1);
//! assert!(writers.write(0..512, || ()).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod dirty;
mod switch;

pub use dirty::{DirtyBitmap, DirtyBitmapError, Taken};
pub use switch::{Follower, NotSwitched, Quiet, Switched, Writers, follow};
