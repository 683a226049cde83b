//! Goal: what can be asked of a copy besides copying is done: a digest, reading back, and another way than failing
//! where a file fails.
//! Method: through the library and the command. Room that runs out is that of a small file system in memory, which
//! needs root and is otherwise skipped, loudly. What disks do that fail is in `src/copy/faults.rs`.
#![allow(clippy::unwrap_used)]

mod copy_common;

use blockjob::copy::{CopyError, CopyOptions, CopyPlan, Ending, Sparse, Technique};
use blockjob::engine::{Manager, ManagerConfig};
use blockjob::model::{ErrorPolicy, IoStatus};
use copy_common::*;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of the tests that start programs, one at a time: a program that is just being started holds every file that is
/// open here, and its lock.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn b3(path: &Path) -> String {
    blake3::hash(&std::fs::read(path).unwrap())
        .to_hex()
        .to_string()
}

#[test]
fn the_digest_is_of_the_whole_whatever_the_order_and_the_holes() {
    let _alone = alone();
    let scratch = Scratch::new();
    let sources = [
        scratch.dense("dense", 1_234_567),
        scratch.text("empty", ""),
        scratch.sparse("sparse", 3_000_001, &[(70_000, 5), (1 << 21, 100_000)]),
    ];
    for source in sources {
        for workers in [1, 4] {
            for sparse in [Sparse::Auto, Sparse::Always, Sparse::Never] {
                let options = CopyOptions::new()
                    .checksum(true)
                    .verify(true)
                    .chunk_bytes(64 << 10)
                    .workers(workers)
                    .sparse(sparse);
                let job = copy(&source, &scratch.path("target"), &options);
                let summary = job.summary();
                assert_eq!(summary.checksum, Some(b3(&source)), "{sparse:?}");
                assert!(summary.verified);
                assert_eq!(
                    job.handle.progress_bytes(),
                    (2 * summary.size_bytes, 2 * summary.size_bytes)
                );
                assert_same(&source, &scratch.path("target"));
            }
        }
    }
}

#[test]
fn in_place_is_read_back_as_far_as_the_source_goes() {
    let _alone = alone();
    let scratch = Scratch::new();
    let source = scratch.sparse("source", 300_001, &[(70_000, 50_000)]);
    let target = scratch.dense("target", 400_000);
    let options = CopyOptions::new().in_place(true).verify(true);
    assert!(copy(&source, &target, &options).summary().verified);
    let now = std::fs::read(&target).unwrap();
    assert!(now[..300_001] == std::fs::read(&source).unwrap());
    assert_eq!(now[300_001..], pattern(400_000, 400_000)[300_001..]);
}

#[test]
fn what_excludes_each_other_is_refused_and_nothing_is_made() {
    let scratch = Scratch::new();
    let (one, two) = (scratch.dense("one", 10), scratch.dense("two", 10));
    let before = scratch.contents();
    let pairs = [pair(&one, scratch.path("a")), pair(&two, scratch.path("b"))];
    let options = CopyOptions::new;
    let ignore = options().on_source_error(ErrorPolicy::Ignore);
    let blind = options().checksum(true).technique(Some(Technique::Clone));
    let map = |path| ignore.clone().bad_map(Some(path));
    for (pairs, options) in [
        (&pairs[..1], ignore.clone()),
        (&pairs[..1], blind),
        (&pairs[..1], map(two.clone())),
        (&pairs[..1], map(one.clone())),
        (&pairs[..1], map(scratch.path("a"))),
        (&pairs[..], map(scratch.path("map"))),
    ] {
        let refusal = run(pairs, &options).unwrap_err();
        assert!(
            matches!(
                refusal,
                CopyError::NoBadMap | CopyError::Conflict { .. } | CopyError::BadMap { .. }
            ),
            "{refusal}"
        );
        assert!(!refusal.way_out().is_empty());
        assert_eq!(scratch.contents(), before);
    }
}

#[test]
fn a_source_without_a_fault_has_a_map_without_a_gap() {
    let _alone = alone();
    let scratch = Scratch::new();
    let source = scratch.dense("source", 10_000);
    let map = scratch.path("map");
    let options = CopyOptions::new()
        .on_source_error(ErrorPolicy::Ignore)
        .bad_map(Some(map.clone()));
    copy(&source, &scratch.path("target"), &options);
    let text = std::fs::read_to_string(&map).unwrap();
    assert!(text.ends_with("0x00000000  0x00002710  +\n"), "{text}");
    // What ddrescue thinks of it.
    match Command::new("ddrescuelog").arg("-t").arg(&map).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            let words: Vec<_> = said.split_whitespace().collect();
            assert!(words.join(" ").contains("rescued: 10000 B"), "{said}");
        }
        Err(error) => eprintln!("SKIP: no ddrescuelog: {error}"),
    }
}

/// A file system in memory with so much room, gone at the end.
struct Small(Scratch);

impl Small {
    fn of(size: &str) -> Option<Self> {
        let scratch = Scratch::new();
        let folder = scratch.path("small");
        std::fs::create_dir(&folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "small"]);
        match mount.arg(&folder).output() {
            Ok(output) if output.status.success() => Some(Self(scratch)),
            other => {
                eprintln!("SKIP: no small file system: {other:?}");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let folder = self.0.path("small");
        let status = Command::new("umount").arg(folder).status().unwrap();
        assert!(status.success() || std::thread::panicking());
    }
}

/// A source that, as far as can be known beforehand, may fit, and does not.
fn too_large(small: &Small) -> (std::path::PathBuf, std::path::PathBuf, CopyOptions) {
    let source = small.0.dense("source", 700 << 10);
    let target = small.0.path("small/target");
    std::fs::write(&target, "old").unwrap();
    std::fs::write(small.0.path("small/filler"), vec![1; 600 << 10]).unwrap();
    let options = CopyOptions::new()
        .sparse(Sparse::Always)
        .chunk_bytes(64 << 10);
    (source, target, options)
}

#[test]
fn where_room_runs_out_the_old_target_stays_and_nothing_else() {
    let _alone = alone();
    let Some(small) = Small::of("1M") else { return };
    let (source, target, options) = too_large(&small);
    let jobs = run(&[pair(&source, &target)], &options).unwrap();
    let failure = jobs[0].failure().unwrap();
    assert!(failure.contains("cannot be written at byte"), "{failure}");
    assert_eq!(jobs[0].summary().ending, Ending::Aborted);
    let left = contents(&small.0.path("small"));
    assert_eq!(left.keys().collect::<Vec<_>>(), ["filler", "target"]);
    assert_eq!(left["target"], b"old");
}

#[test]
fn where_room_runs_out_a_job_may_wait_for_more() {
    let _alone = alone();
    let Some(small) = Small::of("1M") else { return };
    let (source, target, options) = too_large(&small);
    for workers in [1, 2] {
        let options = options
            .clone()
            .workers(workers)
            .on_target_error(ErrorPolicy::Enospc);
        std::fs::write(&target, "old").unwrap();
        std::fs::write(small.0.path("small/filler"), vec![1; 600 << 10]).unwrap();
        let plan = CopyPlan::check(&[pair(&source, &target)], &options).unwrap();
        let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
        let jobs = plan.start(&manager, job_options).unwrap();
        let stopped = || jobs[0].handle.info().user_paused;
        main_loop.run_until(|| stopped() || jobs[0].handle.outcome().is_some());
        assert!(stopped(), "{:?}", jobs[0].failure());
        assert_eq!(jobs[0].handle.info().io_status, IoStatus::NoSpace);
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        std::fs::remove_file(small.0.path("small/filler")).unwrap();
        // Two workers may have met it, one after the other.
        while jobs[0].handle.outcome().is_none() {
            let _ = jobs[0].handle.resume();
            main_loop.run_until(|| !stopped());
            main_loop.run_until(|| stopped() || jobs[0].handle.outcome().is_some());
        }
        assert!(jobs[0].succeeded(), "{:?}", jobs[0].failure());
        assert_same(&source, &target);
        std::fs::remove_file(&target).unwrap();
    }
}
