//! What a mirror keeps of what is written meanwhile.
//!
//! Goal: the dirty bitmap says of every region what a plain set says, whatever is marked, taken, done and given up, in
//! disks whose last region is short, that are empty, or that end where the numbers do; and the switch-over lets nobody
//! write past it. Method: random operations beside two sets; a real disk of bytes under real threads. What orders of
//! steps there are is asked in `proofs/` (`dirty-bitmap`, `switch-over`).
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use blockjob::mirror::{
    DirtyBitmap, DirtyBitmapError, Follower, NotSwitched, Switched, Taken, follow,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

const GRANULARITY: u64 = 8;

/// What the bitmap should be: the numbers of the regions that are dirty, and of those in copy. The number behind the
/// last is that of all that is beyond the end.
#[derive(Default)]
struct Plain {
    length: u64,
    dirty: BTreeSet<u64>,
    in_copy: BTreeSet<u64>,
}

impl Plain {
    fn beyond(&self) -> u64 {
        self.length.div_ceil(GRANULARITY)
    }

    /// Byte by byte.
    fn mark(&mut self, range: Range<u64>) {
        for byte in range {
            let region = if byte < self.length {
                byte / GRANULARITY
            } else {
                self.beyond()
            };
            self.dirty.insert(region);
        }
    }

    fn free(&self) -> impl Iterator<Item = u64> {
        self.dirty.difference(&self.in_copy).copied()
    }

    fn bytes(&self) -> u64 {
        let regions = self.dirty.union(&self.in_copy);
        let ends = regions.map(|region| {
            let start = (region * GRANULARITY).min(self.length);
            ((region + 1) * GRANULARITY).min(self.length) - start
        });
        ends.sum()
    }

    fn regions_of(&self, range: &Range<u64>) -> Vec<u64> {
        if range.start == self.length {
            assert_eq!(range.end, u64::MAX, "all that is beyond the end is one");
            return vec![self.beyond()];
        }
        assert!(range.end <= self.length && range.start.is_multiple_of(GRANULARITY));
        assert!(range.end.is_multiple_of(GRANULARITY) || range.end == self.length);
        (range.start / GRANULARITY..range.end.div_ceil(GRANULARITY)).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Mark(Range<u64>),
    Take { from: u64, bytes_max: u64 },
    Done(usize),
    GiveUp(usize),
}

fn steps(length: u64) -> impl Strategy<Value = Vec<Step>> {
    let place = 0..length + 3 * GRANULARITY;
    let step = prop_oneof![
        3 => (place.clone(), 0..5 * GRANULARITY).prop_map(|(start, bytes)| Step::Mark(start..start + bytes)),
        1 => (place.clone(), place.clone()).prop_map(|(one, other)| Step::Mark(one..other)),
        4 => (place, 0..20 * GRANULARITY).prop_map(|(from, bytes_max)| Step::Take { from, bytes_max }),
        2 => any::<usize>().prop_map(Step::Done),
        1 => any::<usize>().prop_map(Step::GiveUp),
    ];
    prop::collection::vec(step, 0..60)
}

fn disks() -> impl Strategy<Value = (u64, Vec<Step>)> {
    // Up to three words and a bit, so that runs and marks cross their borders.
    let length = prop_oneof![Just(0), 1..2 * GRANULARITY, 0..55 * GRANULARITY];
    length.prop_flat_map(|length| (Just(length), steps(length)))
}

fn check_take(plain: &mut Plain, taken: Option<&Taken<'_>>, from: u64, bytes_max: u64) {
    let first = if from < plain.length {
        from / GRANULARITY
    } else {
        plain.beyond()
    };
    let behind = plain.free().find(|region| *region >= first);
    let next = behind.or_else(|| plain.free().next());
    let Some(taken) = taken else {
        assert_eq!(next, None, "there was something to take");
        return;
    };
    let regions = plain.regions_of(&taken.range());
    assert_eq!(
        regions.first().copied(),
        next,
        "the next one, or from the beginning again"
    );
    for region in &regions {
        assert!(plain.dirty.remove(region), "{region} is not dirty");
        assert!(plain.in_copy.insert(*region), "{region} is in copy");
    }
    let most = (bytes_max / GRANULARITY).max(1);
    assert!(regions.len() as u64 <= most, "too much");
}

proptest! {
    #[test]
    fn the_bitmap_is_a_set_of_dirty_regions_and_one_of_those_in_copy((length, steps) in disks()) {
        let bitmap = DirtyBitmap::new(length, GRANULARITY).unwrap();
        let mut plain = Plain { length, ..Plain::default() };
        let mut taken: Vec<Taken<'_>> = Vec::new();
        for step in steps {
            match step {
                Step::Mark(range) => {
                    bitmap.mark(range.clone());
                    plain.mark(range);
                }
                Step::Take { from, bytes_max } => {
                    let got = bitmap.take(from, bytes_max);
                    check_take(&mut plain, got.as_ref(), from, bytes_max);
                    taken.extend(got);
                }
                Step::Done(which) | Step::GiveUp(which) if !taken.is_empty() => {
                    let one = taken.swap_remove(which % taken.len());
                    let regions = plain.regions_of(&one.range());
                    for region in regions {
                        assert!(plain.in_copy.remove(&region));
                        if let Step::GiveUp(_) = step {
                            plain.dirty.insert(region);
                        }
                    }
                    match step {
                        Step::Done(_) => one.done(),
                        _ => drop(one),
                    }
                }
                Step::Done(_) | Step::GiveUp(_) => {}
            }
            assert_eq!(bitmap.dirty_bytes(), plain.bytes());
            let clean = plain.dirty.is_empty() && plain.in_copy.is_empty();
            assert_eq!(bitmap.is_clean(), clean, "clean is not what the sets say");
        }
    }
}

#[test]
fn a_run_is_as_long_as_asked_for_up_to_sixteen_regions() {
    let bitmap = DirtyBitmap::new(100 * GRANULARITY, GRANULARITY).unwrap();
    bitmap.mark(0..bitmap.length());
    let mut at = 0;
    for (bytes_max, regions) in [
        (0, 1),
        (1, 1),
        (3 * GRANULARITY - 1, 2),
        (u64::MAX, 12),
        (u64::MAX, 16),
    ] {
        let taken = bitmap.take(at, bytes_max).unwrap();
        assert_eq!(taken.range(), at..at + regions * GRANULARITY);
        at = taken.range().end;
        taken.done();
    }
}

#[test]
fn the_last_region_is_as_short_as_the_disk_has_it_and_beyond_is_apart() {
    let bitmap = DirtyBitmap::new(3 * 512 + 1, 512).unwrap();
    bitmap.mark(3 * 512..3 * 512 + 2);
    assert_eq!(bitmap.dirty_bytes(), 1);
    let tail = bitmap.take(0, u64::MAX).unwrap();
    assert_eq!(tail.range(), 1536..1537);
    let beyond = bitmap.take(0, u64::MAX).unwrap();
    assert_eq!(beyond.range(), 1537..u64::MAX);
    tail.done();
    assert_eq!(bitmap.dirty_bytes(), 0);
    assert!(
        !bitmap.is_clean(),
        "what is beyond the end is not copied yet"
    );
    beyond.done();
    assert!(bitmap.is_clean());
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    for (length, granularity) in [
        (u64::MAX, 1 << 63),
        (u64::MAX, 1 << 40),
        (u64::MAX - 1, 1 << 63),
        (1 << 63, 1 << 63),
        (1, 1 << 63),
    ] {
        let bitmap = DirtyBitmap::new(length, granularity).unwrap();
        assert_eq!(
            (bitmap.length(), bitmap.granularity()),
            (length, granularity)
        );
        bitmap.mark(0..u64::MAX);
        assert_eq!(bitmap.dirty_bytes(), length);
        let (mut bytes, mut at) = (0, u64::MAX);
        while let Some(taken) = bitmap.take(at, u64::MAX) {
            at = taken.range().end;
            bytes += u128::from(taken.range().end - taken.range().start);
            taken.done();
        }
        assert_eq!(bytes, u128::from(u64::MAX), "every byte once");
        assert!(bitmap.is_clean());
    }
}

#[test]
fn what_cannot_be_is_refused_with_a_way_out() {
    for granularity in [0, 3, 1000, u64::MAX] {
        let refused = DirtyBitmap::new(1 << 20, granularity).unwrap_err();
        assert_eq!(refused, DirtyBitmapError::Granularity(granularity));
    }
    let refused = DirtyBitmap::new(u64::MAX, 512).unwrap_err();
    let DirtyBitmapError::TooManyRegions {
        granularity_min, ..
    } = refused
    else {
        panic!("{refused}");
    };
    assert_eq!(
        refused.to_string(),
        "18446744073709551615 bytes are too many regions of 512 bytes: the granularity must be at least 17179869184"
    );
    assert!(u64::MAX.div_ceil(granularity_min) <= DirtyBitmap::REGIONS_MAX);
    assert!(u64::MAX.div_ceil(granularity_min / 2) > DirtyBitmap::REGIONS_MAX);
    assert_eq!(follow(u64::MAX, 512).unwrap_err(), refused);
}

/// Copies what is marked.
fn copy<'a>(disks: &Mutex<[Vec<u8>; 2]>, mut take: impl FnMut() -> Option<Taken<'a>>) {
    while let Some(taken) = take() {
        let range = taken.range();
        let range = range.start as usize..range.end as usize;
        let [source, target] = &mut *disks.lock().unwrap();
        target[range.clone()].copy_from_slice(&source[range]);
        taken.done();
    }
}

/// Copies what is left, and switches over, which is to be the whole disk.
fn switch(disks: &Mutex<[Vec<u8>; 2]>, follower: Follower) {
    let mut quiet = follower.quiesce();
    loop {
        let outcome = quiet.switch(|| {
            let [source, target] = &*disks.lock().unwrap();
            assert!(source == target, "a write is not there");
            Ok::<(), std::io::Error>(())
        });
        match outcome {
            Ok(()) => return,
            Err(NotSwitched::Dirty(still)) => {
                copy(disks, || still.take(0, u64::MAX));
                quiet = still;
            }
            Err(NotSwitched::Failed(_, error)) => panic!("{error}"),
        }
    }
}

#[test]
fn everything_is_to_be_copied_at_first_and_nothing_beyond_the_end() {
    let (_writers, follower) = follow(1000, 512).unwrap();
    assert_eq!(follower.dirty_bytes(), 1000);
    let all = follower.take(0, u64::MAX).unwrap();
    assert_eq!(all.range(), 0..1000);
    all.done();
    assert!(follower.is_clean());
    let (_writers, empty) = follow(0, 512).unwrap();
    assert!(empty.is_clean());
}

#[test]
fn writers_and_copiers_at_once_lose_nothing_and_no_write_passes_the_switch_over() {
    const BYTES: usize = 40 * 64;
    let disks = Mutex::new([vec![1; BYTES], vec![0; BYTES]]);
    let (writers, follower) = follow(BYTES as u64, 64).unwrap();
    let expected = Mutex::new(vec![1; BYTES]);
    let refused = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..2_usize {
            let (disks, expected, refused, writers) =
                (&disks, &expected, &refused, writers.clone());
            scope.spawn(move || {
                // Each has bytes of its own, in regions that both write.
                for number in 0..4000_usize {
                    let at = number * 37 % (BYTES / 2) * 2 + writer;
                    let byte = (number % 251) as u8 + 2;
                    let (bytes, disk) = (at as u64..at as u64 + 1, |disk: usize| {
                        disks.lock().unwrap()[disk][at] = byte;
                    });
                    if writers.write(bytes, || disk(0)) == Err(Switched) {
                        refused.store(true, Ordering::Relaxed);
                        disk(1);
                    }
                    expected.lock().unwrap()[at] = byte;
                }
            });
        }
        for _ in 0..2 {
            let (disks, follower) = (&disks, &follower);
            scope.spawn(move || {
                for _ in 0..200 {
                    copy(disks, || follower.take(0, 256));
                    thread::yield_now();
                }
            });
        }
    });
    switch(&disks, follower);
    assert!(
        !refused.load(Ordering::Relaxed),
        "nobody was refused before"
    );
    let [source, target] = &*disks.lock().unwrap();
    assert!(*source == *expected.lock().unwrap() && source == target);
}

#[test]
fn who_writes_past_the_switch_over_is_told_and_writes_the_target() {
    const BYTES: usize = 4 * 64;
    for round in 0..50_u8 {
        let disks = Mutex::new([vec![1; BYTES], vec![0; BYTES]]);
        let (writers, follower) = follow(BYTES as u64, 64).unwrap();
        thread::scope(|scope| {
            let (disks, writers) = (&disks, writers.clone());
            scope.spawn(move || {
                for at in 0..BYTES {
                    let disk = |disk: usize| disks.lock().unwrap()[disk][at] = round;
                    if writers.write(at as u64..at as u64 + 1, || disk(0)).is_err() {
                        disk(1);
                    }
                }
            });
            switch(disks, follower);
        });
        assert_eq!(disks.lock().unwrap()[1], vec![round; BYTES]);
        let error = writers
            .write(0..1, || panic!("it is not called"))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the mirror has switched over: write to its target"
        );
    }
}

#[test]
fn a_write_that_panics_is_marked_and_leaves() {
    let (writers, follower) = follow(1024, 512).unwrap();
    follower.take(0, u64::MAX).unwrap().done();
    let writer = writers.clone();
    let panicked = thread::spawn(move || writer.write(512..513, || panic!("on purpose"))).join();
    assert!(panicked.is_err());
    assert_eq!(follower.dirty_bytes(), 512);
    // Nobody is inside any more, else this waits for ever.
    let quiet = follower.quiesce();
    assert_eq!(quiet.dirty_bytes(), 512);
}

#[test]
fn a_quiet_section_keeps_writers_out_and_lets_them_in_again() {
    let (writers, follower) = follow(512, 512).unwrap();
    let mut follower = follower;
    for ending in 0..3 {
        follower.take(0, 512).unwrap().done();
        let quiet = follower.quiesce();
        let (said, hears) = mpsc::channel();
        let writer = writers.clone();
        let asks = thread::spawn(move || writer.write(0..1, || said.send(()).unwrap()));
        assert!(
            hears.try_recv().is_err() && quiet.is_clean(),
            "somebody wrote"
        );
        follower = match ending {
            0 => quiet.reopen(),
            1 => match quiet.switch(|| Err("no")) {
                Err(NotSwitched::Failed(follower, "no")) => follower,
                other => panic!("{other:?}"),
            },
            _ => {
                drop(quiet);
                asks.join().unwrap().unwrap();
                return;
            }
        };
        asks.join().unwrap().unwrap();
        hears.recv().unwrap();
        assert_eq!(follower.dirty_bytes(), 512);
    }
}

#[test]
fn a_switch_over_that_panics_lets_writers_in_again() {
    let (writers, follower) = follow(0, 512).unwrap();
    let quiet = follower.quiesce();
    let panicked =
        thread::spawn(move || quiet.switch(|| -> Result<(), ()> { panic!("on purpose") })).join();
    assert!(panicked.is_err());
    assert_eq!(writers.write(0..1, || 7), Ok(7));
}

#[test]
fn nothing_is_switched_while_something_is_left() {
    let (writers, follower) = follow(1000, 512).unwrap();
    follower.take(0, u64::MAX).unwrap().done();
    writers.write(1000..1001, || ()).unwrap();
    assert_eq!(follower.dirty_bytes(), 0);
    let refused = follower
        .quiesce()
        .switch(|| -> Result<(), std::io::Error> { panic!("it is not called") });
    let Err(NotSwitched::Dirty(quiet)) = refused else {
        panic!("{refused:?}");
    };
    let error = NotSwitched::<std::io::Error>::Dirty(quiet);
    assert_eq!(
        error.to_string(),
        "the mirror cannot switch over: 0 bytes and what is beyond the end, if anything, are to be copied"
    );
    let NotSwitched::Dirty(quiet) = error else {
        unreachable!()
    };
    let given_up = quiet.take(0, 1).unwrap();
    assert_eq!(given_up.range(), 1000..u64::MAX);
    drop(given_up);
    assert!(!quiet.is_clean(), "a copy that was not done is to be done");
    quiet.take(0, 1).unwrap().done();
    quiet.switch(|| Ok::<(), std::io::Error>(())).unwrap();
}
