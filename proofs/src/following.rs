//! What a mirror does without a lock, and its switch-over: writers, copiers, and whoever ends it.
//!
//! No job and no engine: the bitmap and the gate alone. Source and target are cells of the harness, written and read
//! with relaxed atomics, so that a write which the mirror does not order may be missed, as on a real machine; only loom
//! has such a memory. What each case owes at its end: the disk that is written then has every write, and the target was
//! the source when it took over (V13, V15 and V16 of the study of real bugs).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU32 as Unseen;

use blockjob::mirror::{Follower, NotSwitched, Quiet, Taken, Writers, follow};

use crate::tool::{self, AtomicU32, JoinHandle, Ordering};

/// A case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Following {
    /// A region is written while it is copied for the first time, and again.
    WrittenAgain,
    /// Two regions of one word, each with its writer, and a copier.
    Neighbours,
    /// A region is written while two copy.
    TwoCopiers,
    /// The copy of one thread fails, another copies too.
    CopyFails,
    /// Somebody asks whether all is copied, while a copy fails and the next one does not.
    SeenClean,
    /// A write beyond the end.
    Beyond,
    /// A writer, a copier, the switch-over (K8).
    SwitchOver,
    /// A writer that comes twice, the second time for another region.
    WriterReturns,
    /// Two writers.
    TwoWriters,
    /// The switch-over fails once.
    SwitchFails,
    /// A section in which nobody writes ends without a switch-over.
    Reopened,
}

/// Of a region, in bytes: one cell of the harness.
const REGION: u64 = 512;

/// Those a disk has at most, with the one beyond its end.
const REGIONS: usize = 3;

const UNSEEN: std::sync::atomic::Ordering = std::sync::atomic::Ordering::SeqCst;

#[derive(Default)]
struct Disk([AtomicU32; REGIONS]);

impl Disk {
    fn read(&self, region: usize) -> u32 {
        self.0[region].load(Ordering::Relaxed)
    }

    fn write(&self, region: usize, value: u32) {
        self.0[region].store(value, Ordering::Relaxed);
    }
}

/// Source and target.
#[derive(Default)]
struct Pair {
    source: Disk,
    target: Disk,
    /// Written by the switch-over.
    switched: AtomicU32,
    /// What was written last to each region of the target. The harness alone knows, not the tool.
    landed: [Unseen; REGIONS],
}

impl Pair {
    fn land(&self, region: usize, value: u32) {
        self.target.write(region, value);
        self.landed[region].store(value, UNSEEN);
    }

    /// Copies what was taken, if there is anything.
    fn copy(&self, taken: Taken<'_>) {
        for region in cells(&taken) {
            assert_eq!(
                self.target.read(region),
                self.landed[region].load(UNSEEN),
                "V16: a region is copied before its last copy is there"
            );
            self.land(region, self.source.read(region));
        }
        taken.done();
    }

    fn copy_all<'a>(&self, mut take: impl FnMut() -> Option<Taken<'a>>) {
        while let Some(taken) = take() {
            self.copy(taken);
        }
    }

    fn is_copied(&self, when: &str) {
        for region in 0..REGIONS {
            assert_eq!(
                self.target.read(region),
                self.source.read(region),
                "V15: {when}, region {region} of the target is not that of the source"
            );
        }
    }
}

/// What was taken, in cells: all that is beyond the end is one.
fn cells(taken: &Taken<'_>) -> Range<usize> {
    let Range { start, end } = taken.range();
    let first = (start / REGION) as usize;
    if end == u64::MAX {
        first..first + 1
    } else {
        first..(end / REGION) as usize
    }
}

/// A mirror of so many regions, and threads that write these, each one after the other.
struct Mirror {
    pair: Arc<Pair>,
    follower: Follower,
    writing: Vec<JoinHandle<()>>,
    /// What the disk has at the end.
    expected: [u32; REGIONS],
}

impl Mirror {
    fn new(regions: usize, plans: &[&'static [usize]]) -> Mirror {
        let pair = Arc::new(Pair::default());
        let mut expected = [0; REGIONS];
        for (region, value) in expected.iter_mut().enumerate().take(regions) {
            *value = 1;
            pair.source.write(region, *value);
        }
        let (writers, follower) = follow(regions as u64 * REGION, REGION)
            .expect("a granularity and a number of regions that it takes");
        let mut writing = Vec::new();
        for &plan in plans {
            for (value, region) in (2..).zip(plan) {
                expected[*region] = value;
            }
            let (pair, writers) = (Arc::clone(&pair), writers.clone());
            writing.push(tool::spawn(move || {
                for (value, region) in (2..).zip(plan) {
                    write(&pair, &writers, *region, value);
                }
            }));
        }
        Mirror {
            pair,
            follower,
            writing,
            expected,
        }
    }

    /// Another thread does this meanwhile, and the caller, which is the thread that loom lets go first, copies. Round
    /// the other way loom would miss orders: it remembers one last reader of an atomic, and a look of the copier's would
    /// hide that of the other.
    fn beside(
        self,
        other: impl FnOnce(&Pair, &Follower) + Send + 'static,
        copies: impl FnOnce(&Pair, &Follower),
    ) -> Mirror {
        let follower = Arc::new(self.follower);
        let beside = {
            let (pair, follower) = (Arc::clone(&self.pair), Arc::clone(&follower));
            tool::spawn(move || other(&pair, &follower))
        };
        copies(&self.pair, &follower);
        beside.join().expect("the other thread panicked");
        Mirror {
            follower: Arc::into_inner(follower).expect("nobody else copies any more"),
            ..self
        }
    }

    /// The caller takes so many times what there is.
    fn copied(self, times: usize) -> Mirror {
        copy_some(&self.pair, &self.follower, times);
        self
    }

    /// Nobody writes any more: what is left is copied, and then everything is there.
    fn end(self) {
        for writer in self.writing {
            writer.join().expect("a writer panicked");
        }
        self.pair.copy_all(|| self.follower.take(0, REGION));
        assert!(
            self.follower.is_clean(),
            "nobody writes, and all was copied"
        );
        self.pair.is_copied("at the end");
        for (region, value) in self.expected.into_iter().enumerate() {
            assert_eq!(self.pair.source.read(region), value, "a write is lost");
        }
    }

    /// The writers go over to the target, whenever that is.
    fn switch(self) {
        switch(&self.pair, self.follower.quiesce());
        for writer in self.writing {
            writer.join().expect("a writer panicked");
        }
        for (region, value) in self.expected.into_iter().enumerate() {
            assert_eq!(
                self.pair.target.read(region),
                value,
                "V15: a write is neither in what was switched to nor was it told to go there"
            );
        }
    }
}

/// A write: to the source, or to the target once that took over.
fn write(pair: &Pair, writers: &Writers, region: usize, value: u32) {
    let start = region as u64 * REGION;
    let written = writers.write(start..start + REGION, || pair.source.write(region, value));
    if written.is_err() {
        assert_eq!(
            pair.switched.load(Ordering::Relaxed),
            1,
            "the writer is told of the switch-over, what that wrote is not there"
        );
        pair.land(region, value);
    }
}

/// Takes so many times what there is.
fn copy_some(pair: &Pair, follower: &Follower, times: usize) {
    for _ in 0..times {
        if let Some(taken) = follower.take(0, REGION) {
            pair.copy(taken);
        }
    }
}

fn copy_once(pair: &Pair, follower: &Follower) {
    copy_some(pair, follower, 1);
}

/// Copies what is left, and switches over.
fn switch(pair: &Pair, mut quiet: Quiet) {
    loop {
        let outcome = quiet.switch(|| {
            pair.is_copied("at the switch-over");
            pair.switched.store(1, Ordering::Relaxed);
            Ok::<(), ()>(())
        });
        match outcome {
            Ok(()) => return,
            Err(NotSwitched::Dirty(still)) => {
                pair.copy_all(|| still.take(0, REGION));
                assert!(still.is_clean(), "somebody wrote in a quiet section");
                quiet = still;
            }
            Err(NotSwitched::Failed(..)) => panic!("it does not fail"),
        }
    }
}

impl Following {
    /// Plays it once.
    ///
    /// # Panics
    ///
    /// When a write is lost, or is not there where it has to be.
    pub fn play(self) {
        match self {
            Following::WrittenAgain => Mirror::new(1, &[&[0, 0]]).copied(2).end(),
            Following::Neighbours => Mirror::new(2, &[&[0], &[1]]).copied(2).end(),
            Following::TwoCopiers => {
                let mirror = Mirror::new(1, &[&[0]]);
                mirror.beside(copy_once, copy_once).end();
            }
            Following::CopyFails => {
                let fails = |pair: &Pair, follower: &Follower| {
                    if let Some(taken) = follower.take(0, REGION) {
                        pair.land(0, 99);
                        drop(taken);
                    }
                };
                Mirror::new(1, &[]).beside(copy_once, fails).end();
            }
            Following::SeenClean => {
                let asks = |pair: &Pair, follower: &Follower| {
                    if follower.is_clean() {
                        pair.is_copied("where it is seen clean");
                    }
                };
                let fails_once = |pair: &Pair, follower: &Follower| {
                    drop(follower.take(0, REGION));
                    copy_once(pair, follower);
                };
                Mirror::new(1, &[]).beside(asks, fails_once).end();
            }
            Following::Beyond => Mirror::new(1, &[&[1]]).copied(2).end(),
            Following::SwitchOver => Mirror::new(1, &[&[0]]).copied(1).switch(),
            Following::WriterReturns => Mirror::new(2, &[&[0, 1]]).switch(),
            Following::TwoWriters => Mirror::new(2, &[&[0], &[1]]).switch(),
            Following::SwitchFails => {
                let Mirror {
                    pair,
                    follower,
                    writing,
                    expected,
                } = Mirror::new(1, &[&[0]]);
                let quiet = follower.quiesce();
                pair.copy_all(|| quiet.take(0, REGION));
                let Err(NotSwitched::Failed(follower, ())) = quiet.switch(|| Err(())) else {
                    panic!("all was copied, and it fails");
                };
                Mirror {
                    pair,
                    follower,
                    writing,
                    expected,
                }
                .switch();
            }
            Following::Reopened => {
                let mirror = Mirror::new(1, &[&[0]]);
                drop(mirror.follower.quiesce());
                for writer in mirror.writing {
                    writer.join().expect("a writer panicked");
                }
                let left = mirror.pair.source.read(0);
                assert_eq!(left, mirror.expected[0], "the source is written as before");
            }
        }
    }
}
