//! The counters of a job's progress, under every order of their steps.
//!
//! In the engine they count with std's atomics, so that they cost the other harnesses nothing. Here the
//! same text counts with atomics that the tool models: who adds loses nothing to another who adds, nobody
//! sees what is done become less, and once everybody is done the sums are right (P46). They order nothing
//! else, so they are relaxed.

use std::sync::Arc;

use crate::tool;
use progress::Progress;

mod counter {
    //! What `statistic.rs` counts with here.
    pub(super) use crate::tool::{AtomicU64, Ordering};
}

// The engine's text: not all of it is used here.
#[allow(dead_code)]
#[path = "../../src/sync/statistic.rs"]
mod statistic;

pub(crate) mod sync {
    //! What `progress.rs` looks for under this name.
    pub(crate) use super::statistic::Statistic;
}

#[allow(dead_code)]
#[path = "../../src/engine/progress.rs"]
mod progress;

/// Two lanes that count what they did and what they found, and somebody who looks.
///
/// # Panics
///
/// When something was lost, or was seen to become less.
pub fn play() {
    let progress = Arc::new(Progress::default());
    progress.set_remaining(10);
    let lanes = [1, 2].map(|bytes| {
        let progress = Arc::clone(&progress);
        tool::spawn(move || {
            progress.increase_remaining(bytes);
            progress.advance(bytes);
        })
    });
    let before = progress.current();
    let after = progress.current();
    assert!(
        before <= after && after <= 3,
        "P46: {before} bytes were done, then {after}"
    );
    for lane in lanes {
        lane.join().expect("a lane panicked");
    }
    let sums = (progress.current(), progress.total());
    assert_eq!(sums, (3, 13), "P46: something that was counted is lost");
    progress.advance(u64::MAX);
    assert_eq!(progress.current(), u64::MAX, "P46: what is done wraps");
}
