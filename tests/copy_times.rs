//! Goal: with `times` a target has the times its source had when the copy began, to the nanosecond, whoever reads or
//! writes either meanwhile; without it, those of the copy. Where that cannot be, the copy is refused beforehand.
//! Method: sources with times long ago, copied in every way a target can come by its contents.
#![allow(clippy::unwrap_used)]

mod copy_common;

use std::fs::{File, FileTimes};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use blockjob::copy::{CopyError, CopyOptions, Durability};
use copy_common::*;

/// Gives a file times of its own: read later than written, both with nanoseconds.
fn set(path: &Path, seconds: u64) {
    let at = |nanoseconds| UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    let times = FileTimes::new()
        .set_modified(at(123_456_789))
        .set_accessed(at(987_654_321));
    let file = File::options().write(true).open(path).unwrap();
    file.set_times(times).unwrap();
}

/// Access, then modification.
fn times(path: &Path) -> [(i64, i64); 2] {
    let found = std::fs::metadata(path).unwrap();
    [
        (found.atime(), found.atime_nsec()),
        (found.mtime(), found.mtime_nsec()),
    ]
}

fn long_ago(seconds: i64) -> [(i64, i64); 2] {
    [(seconds, 987_654_321), (seconds, 123_456_789)]
}

#[test]
fn a_target_has_its_sources_times_however_it_is_made() {
    let scratch = Scratch::new();
    let source = scratch.dense("source", 100_000);
    for durability in [Durability::None, Durability::Data, Durability::Full] {
        for verify in [false, true] {
            let options = CopyOptions::new()
                .durability(durability)
                .verify(verify)
                .times(true);
            for (name, old, in_place) in [
                ("new", false, false),
                ("replaced", true, false),
                ("in place", true, true),
            ] {
                let target = scratch.path(name);
                let _ = std::fs::remove_file(&target);
                if old {
                    std::fs::write(&target, vec![1; 100_000]).unwrap();
                }
                // A copy reads its source: it is what was before that counts.
                set(&source, 1_000_000_000);
                copy(&source, &target, &options.clone().in_place(in_place));
                // Looked at before it is read.
                let found = times(&target);
                assert_eq!(
                    found,
                    long_ago(1_000_000_000),
                    "{name}, {durability:?}, verified {verify}"
                );
                assert_same(&source, &target);
            }
        }
    }
}

#[test]
fn without_it_the_times_are_the_copys() {
    let scratch = Scratch::new();
    let source = scratch.dense("source", 5000);
    set(&source, 1_000_000_000);
    copy(&source, &scratch.path("target"), &CopyOptions::new());
    let [accessed, modified] = times(&scratch.path("target"));
    assert!(accessed.0 > 1_700_000_000 && modified.0 > 1_700_000_000);
}

#[test]
fn each_of_a_group_has_its_own() {
    let scratch = Scratch::new();
    // More than are kept open at a time.
    let pairs: Vec<_> = (0..70)
        .map(|number| {
            let source = scratch.dense(&format!("source{number}"), 10 + number);
            set(&source, 1_000_000_000 + number as u64);
            pair(source, scratch.path(&format!("target{number}")))
        })
        .collect();
    let jobs = run(&pairs, &CopyOptions::new().times(true)).unwrap();
    assert!(jobs.iter().all(blockjob::copy::CopyJob::succeeded));
    for (number, pair) in (0..).zip(&pairs) {
        assert_eq!(times(&pair.target), long_ago(1_000_000_000 + number));
    }
}

#[test]
fn a_device_has_no_times() {
    let Some(device) = block_device() else {
        skip("times of a device", "there is no block device here");
        return;
    };
    let scratch = Scratch::new();
    let answer = check(
        &[pair(device, scratch.path("target"))],
        &CopyOptions::new().times(true),
    );
    match answer {
        Err(error @ CopyError::Conflict { .. }) => {
            assert!(error.to_string().contains("--times"), "{error}");
        }
        Err(CopyError::Unopenable { .. }) => {
            skip("times of a device", "no block device here can be opened");
        }
        answer => panic!("{answer:?}"),
    }
    assert_eq!(scratch.names(), [""; 0]);
}

/// Any block device of this machine.
fn block_device() -> Option<std::path::PathBuf> {
    use std::os::unix::fs::FileTypeExt as _;
    let devices = std::fs::read_dir("/dev").ok()?.filter_map(Result::ok);
    let mut devices = devices.filter(|entry| {
        let kind = entry.file_type();
        kind.is_ok_and(|kind| kind.is_block_device())
    });
    devices.next().map(|entry| entry.path())
}
