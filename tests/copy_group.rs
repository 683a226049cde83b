//! Goal: several pairs are one: all targets change or none does, whichever member fails and however.
//! Method: groups over real files in which one member is made to fail (its source shrinks at an exact piece, its disk
//! fills up, its target is taken); the folder's contents before and after are compared as a whole.
#![allow(clippy::unwrap_used)]

mod copy_common;

use blockjob::copy::{CopyJob, CopyOptions, CopyPlan, Durability, Ending, Pair, Sparse};
use blockjob::driver::{Errno, JobError};
use blockjob::engine::{CancelMode, JobHandle, Manager, ManagerConfig};
use blockjob::model::Status;
use copy_common::*;
use std::sync::Arc;

const PIECE: usize = 64 << 10;

fn options() -> CopyOptions {
    CopyOptions::new()
        .chunk_bytes(PIECE)
        .durability(Durability::None)
}

/// `count` dense sources of growing, odd sizes, every second one with an old target.
fn group(scratch: &Scratch, count: usize) -> Vec<Pair> {
    (0..count)
        .map(|index| {
            let source = scratch.dense(&format!("source{index}"), PIECE * (2 + index) + index);
            let name = format!("target{index}");
            if index % 2 == 0 {
                scratch.text(&name, &format!("old {index}"));
            }
            pair(source, scratch.path(&name))
        })
        .collect()
}

fn run_watched(pairs: &[Pair], options: &CopyOptions, sink: &Arc<AtPiece>) -> Vec<CopyJob> {
    let plan = CopyPlan::check(pairs, options).unwrap();
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let sink = Arc::clone(sink) as Arc<dyn blockjob::trace::TraceSink>;
    let jobs = plan.record_io(sink).start(&manager, job_options).unwrap();
    main_loop.run_until_idle();
    jobs
}

#[test]
fn all_targets_are_the_sources_and_nothing_is_beside_them() {
    let scratch = Scratch::new();
    let pairs = group(&scratch, 7);
    let jobs = run(&pairs, &CopyOptions::default()).unwrap();
    assert!(jobs.iter().all(CopyJob::succeeded));
    for pair in &pairs {
        assert_same(&pair.source, &pair.target);
    }
    assert_eq!(scratch.names().len(), 14);
    let groups: Vec<_> = jobs.iter().map(|job| job.handle.info().group).collect();
    assert!(
        groups[0].is_some() && groups.iter().all(|group| *group == groups[0]),
        "one transaction"
    );
}

#[test]
fn a_member_that_fails_in_the_middle_takes_all_back() {
    for culprit in 0..5 {
        let scratch = Scratch::new();
        let pairs = group(&scratch, 5);
        let before = scratch.contents();
        let source = pairs[culprit].source.clone();
        let file = std::fs::File::options().write(true).open(&source).unwrap();
        let sink = Arc::new(AtPiece::new().on(0, move || file.set_len(1).unwrap()));
        let jobs = run_watched(&pairs, &options(), &sink);
        std::fs::write(&source, &before[&format!("source{culprit}")]).unwrap();
        assert_eq!(
            scratch.contents(),
            before,
            "every target is what it was, no temporary file is left"
        );
        for (index, job) in jobs.iter().enumerate() {
            let error = job.handle.outcome().unwrap().unwrap_err();
            if index == culprit {
                assert!(error.to_string().contains("shrank"), "{error}");
            } else {
                assert_eq!(error, JobError::canceled());
            }
            assert_eq!(job.summary().ending, Ending::Aborted);
            assert!(!job.succeeded());
        }
    }
}

#[test]
fn a_disk_that_fills_up_in_the_middle_takes_all_back() {
    let Some(disk) = SmallDisk::new(1 << 20) else {
        return skip("a disk that fills up", "mounting needs root");
    };
    let scratch = Scratch::new();
    let (source, target) = (scratch.dense("source", 3 << 20), disk.folder.join("target"));
    std::fs::write(&target, "old").unwrap();
    let other = scratch.text("other", "old too");
    let pairs = [
        pair(scratch.text("small", "s"), &other),
        pair(&source, &target),
    ];
    // With `always` the room is not known beforehand.
    let jobs = run(&pairs, &options().sparse(Sparse::Always)).unwrap();
    let error = jobs[1].handle.outcome().unwrap().unwrap_err();
    assert_eq!(error.errno, Errno::NO_SPACE);
    assert!(
        error.to_string().contains("No space left on device"),
        "{error}"
    );
    assert!(
        error.to_string().contains(target.to_str().unwrap()),
        "{error}"
    );
    assert_eq!(
        contents(&disk.folder).into_iter().collect::<Vec<_>>(),
        [("target".into(), b"old".to_vec())]
    );
    assert_eq!(std::fs::read_to_string(other).unwrap(), "old too");
    assert_eq!(scratch.names(), ["other", "small", "source"]);
}

/// Runs a group with manual finalize and `control` beside it, once every member waits.
fn finalized_by(pairs: &[Pair], control: impl FnOnce(&[CopyJob]) + Send) -> Vec<CopyJob> {
    let plan = CopyPlan::check(pairs, &options()).unwrap();
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let jobs = plan
        .start(&manager, |index| job_options(index).manual_finalize(true))
        .unwrap();
    std::thread::scope(|scope| {
        let controller = scope.spawn(|| {
            let _ends = CancelOnPanic(&jobs[0].handle);
            for job in &jobs {
                job.handle
                    .wait_for(&[Status::Pending, Status::Null])
                    .unwrap();
            }
            control(&jobs);
        });
        main_loop.run_until_idle();
        controller.join().unwrap();
    });
    jobs
}

struct CancelOnPanic<'a>(&'a JobHandle);

impl Drop for CancelOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.cancel(CancelMode::Force);
        }
    }
}

#[test]
fn a_pending_group_that_is_cancelled_takes_all_back() {
    let scratch = Scratch::new();
    let pairs = group(&scratch, 3);
    let before = scratch.contents();
    let jobs = finalized_by(&pairs, |jobs| {
        jobs[1].handle.cancel(CancelMode::Force).unwrap();
    });
    assert_eq!(scratch.contents(), before);
    assert!(
        jobs.iter()
            .all(|job| job.summary().ending == Ending::Aborted)
    );
}

#[test]
fn a_pending_group_whose_target_was_taken_takes_all_back() {
    for taken in 0..4 {
        let scratch = Scratch::new();
        let pairs = group(&scratch, 4);
        let mut expected = scratch.contents();
        let target = pairs[taken].target.clone();
        finalized_by(&pairs, |jobs| {
            // Under another inode, whether it was there or not.
            std::fs::write(scratch.path("theirs"), "theirs").unwrap();
            std::fs::rename(scratch.path("theirs"), &target).unwrap();
            assert!(jobs[0].handle.finalize().is_err());
        });
        expected.insert(format!("target{taken}"), b"theirs".to_vec());
        assert_eq!(scratch.contents(), expected);
    }
}

#[test]
fn two_files_can_trade_their_contents() {
    let scratch = Scratch::new();
    let (a, b) = (scratch.text("a", "A"), scratch.text("b", "B"));
    let jobs = run(&[pair(&a, &b), pair(&b, &a)], &CopyOptions::default()).unwrap();
    assert!(
        jobs.iter().all(CopyJob::succeeded),
        "{:?}",
        jobs.iter().map(CopyJob::failure).collect::<Vec<_>>()
    );
    assert_eq!(
        (
            std::fs::read_to_string(a).unwrap(),
            std::fs::read_to_string(b).unwrap()
        ),
        ("B".into(), "A".into())
    );
    assert_eq!(scratch.names(), ["a", "b"]);
}

#[test]
fn a_job_the_manager_refuses_leaves_nothing() {
    let scratch = Scratch::new();
    let pairs = group(&scratch, 3);
    let before = scratch.contents();
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let plan = CopyPlan::check(&pairs, &options()).unwrap();
    let error = plan
        .start(&manager, |index| job_options(index / 2))
        .unwrap_err();
    assert!(
        error.to_string().contains("'copy0' already in use"),
        "{error}"
    );
    main_loop.run_until_idle();
    assert_eq!(scratch.contents(), before);
}
