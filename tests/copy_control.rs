//! Goal: a copy obeys in the middle: it pauses with nothing in flight, goes on where it stopped, gives up without a
//! trace, and keeps to its speed limit.
//! Method: the test acts at an exact piece, from inside the I/O record, so that "in the middle" is no matter of luck;
//! everything else waits for statuses. No clock is asked, except where the speed is what is tested.
#![allow(clippy::unwrap_used)]

mod copy_common;

use blockjob::copy::{Backup, CopyOptions, CopyPlan, Durability, Ending};
use blockjob::driver::JobError;
use blockjob::engine::{CancelMode, JobHandle, JobOptions, Manager, ManagerConfig};
use blockjob::model::Status;
use blockjob::trace::TraceSink;
use copy_common::*;
use std::cell::RefCell;
use std::sync::{Arc, Barrier, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

const PIECE: usize = 64 << 10;
const PIECES: u64 = 40;

fn options() -> CopyOptions {
    CopyOptions::new()
        .chunk_bytes(PIECE)
        .durability(Durability::None)
}

fn only_driver(scratch: &Scratch, options: &CopyOptions) -> Backup {
    let source = if scratch.path("source").exists() {
        scratch.path("source")
    } else {
        scratch.dense("source", PIECE * PIECES as usize)
    };
    let plan = CopyPlan::check(&[pair(source, scratch.path("target"))], options).unwrap();
    plan.drivers().unwrap().remove(0)
}

/// A controller that fails ends the job too, so that the test fails instead of waiting.
struct CancelOnPanic<'a>(&'a JobHandle);

impl Drop for CancelOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.cancel(CancelMode::Force);
        }
    }
}

/// Runs one copy with `control` on a thread of its own and the main loop on this one.
fn controlled(
    driver: Backup,
    sink: &Arc<AtPiece>,
    handle: &Arc<OnceLock<JobHandle>>,
    job: JobOptions,
    control: impl FnOnce(&JobHandle) + Send,
) -> JobHandle {
    controlled_holding(driver, &Arc::default(), sink, handle, job, control)
}

/// As `controlled`, with a driver that ends `hold` at its pause.
fn controlled_holding(
    driver: Backup,
    hold: &Arc<LaneHold>,
    sink: &Arc<AtPiece>,
    handle: &Arc<OnceLock<JobHandle>>,
    job: JobOptions,
    control: impl FnOnce(&JobHandle) + Send,
) -> JobHandle {
    let config = ManagerConfig::default().trace(Arc::clone(sink) as Arc<dyn TraceSink>);
    let (manager, mut main_loop) = Manager::new(config);
    let driver = driver.record_io(Arc::clone(sink) as Arc<dyn TraceSink>, "copy", None);
    let created = manager
        .create(
            job,
            Holding {
                driver,
                hold: Arc::clone(hold),
            },
        )
        .unwrap();
    handle.set(created.handle()).unwrap();
    let handle = created.start();
    std::thread::scope(|scope| {
        let controller = scope.spawn(|| {
            let _ends = CancelOnPanic(&handle);
            control(&handle);
        });
        main_loop.run_until_idle();
        controller.join().unwrap();
    });
    handle
}

#[test]
fn a_pause_in_the_middle_has_nothing_in_flight_and_resumes_where_it_stopped() {
    // One pause only with several workers: the hold that makes it exact is good for one.
    for (workers, pauses) in [(1, vec![3, 17]), (2, vec![3]), (4, vec![5])] {
        let scratch = Scratch::new();
        let driver = only_driver(&scratch, &options().workers(workers));
        let report = driver.report();
        let handle = Arc::new(OnceLock::<JobHandle>::new());
        let (reached, wait_reached) = mpsc::channel();
        let hold = Arc::new(LaneHold::default());
        let mut sink = AtPiece::new().holding(Arc::clone(&hold));
        for piece in pauses.clone() {
            let (handle, reached, hold) = (Arc::clone(&handle), reached.clone(), Arc::clone(&hold));
            sink = sink.on(piece, move || {
                hold.ask();
                handle.get().unwrap().pause().unwrap();
                reached.send(piece).unwrap();
            });
        }
        let sink = Arc::new(sink);
        drop(reached);
        let (in_control, target) = (Arc::clone(&sink), scratch.path("target"));
        let job = controlled_holding(
            driver,
            &hold,
            &sink,
            &handle,
            JobOptions::new("copy"),
            move |job| {
                for at_least in wait_reached {
                    assert_eq!(
                        job.wait_for(&[Status::Paused, Status::Null]).unwrap(),
                        Status::Paused
                    );
                    let (done, total) = job.progress_bytes();
                    assert!(
                        done >= at_least * PIECE as u64 && done < total,
                        "{done} of {total}"
                    );
                    let began = in_control.pieces() * PIECE as u64;
                    assert_eq!(
                        report.summary().copied_bytes,
                        began,
                        "all that began has ended"
                    );
                    assert!(!target.exists());
                    job.resume().unwrap();
                }
            },
        );
        assert_eq!(job.outcome(), Some(Ok(())));
        assert_eq!(sink.in_flight_at_pauses(), vec![0; pauses.len()]);
        assert_eq!(sink.pieces(), PIECES, "no piece twice");
        assert_same(&scratch.path("source"), &scratch.path("target"));
        assert_eq!(scratch.names(), ["source", "target"]);
    }
}

#[test]
fn a_cancel_in_the_middle_leaves_the_old_target_and_nothing_else() {
    for (mode, workers) in [
        (CancelMode::Soft, 1),
        (CancelMode::Soft, 3),
        (CancelMode::Force, 2),
    ] {
        let scratch = Scratch::new();
        scratch.text("target", "old");
        let driver = only_driver(&scratch, &options().workers(workers));
        let report = driver.report();
        // Every worker stands in the middle of a piece until the cancel was accepted.
        let barrier = Arc::new(Barrier::new(workers + 1));
        let mut sink = AtPiece::new();
        for piece in 9..9 + workers as u64 {
            let barrier = Arc::clone(&barrier);
            sink = sink.on(piece, move || {
                barrier.wait();
                barrier.wait();
            });
        }
        let sink = Arc::new(sink);
        let job = controlled(
            driver,
            &sink,
            &Arc::default(),
            JobOptions::new("copy"),
            move |job| {
                barrier.wait();
                let accepted = job.cancel(mode);
                barrier.wait();
                accepted.unwrap();
            },
        );
        assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
        assert_eq!(
            sink.pieces(),
            9 + workers as u64,
            "no piece began after the cancel"
        );
        assert_eq!(report.summary().ending, Ending::Aborted);
        assert_eq!(scratch.names(), ["source", "target"]);
        assert_eq!(scratch.contents()["target"], b"old");
    }
}

#[test]
fn a_cancel_where_there_is_nothing_but_holes_is_heard_before_the_next_one() {
    for mode in [CancelMode::Soft, CancelMode::Force] {
        let scratch = Scratch::new();
        let bytes = PIECE as u64 * PIECES;
        // In a file with something in it a hole is made piece by piece, each at most twice as large as all before.
        scratch.sparse("source", bytes, &[]);
        scratch.dense("target", bytes as usize);
        let driver = only_driver(&scratch, &options().workers(1).in_place(true));
        let barrier = Arc::new(Barrier::new(2));
        let in_hole = Arc::clone(&barrier);
        let sink = Arc::new(AtPiece::new().on(2, move || {
            in_hole.wait();
            in_hole.wait();
        }));
        let job = controlled(
            driver,
            &sink,
            &Arc::default(),
            JobOptions::new("copy"),
            move |job| {
                barrier.wait();
                let accepted = job.cancel(mode);
                barrier.wait();
                accepted.unwrap();
            },
        );
        assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
        assert_eq!(sink.pieces(), 3, "no hole began after the cancel");
    }
}

#[test]
fn a_paused_copy_can_be_cancelled_by_force() {
    let scratch = Scratch::new();
    let driver = only_driver(&scratch, &options());
    let handle = Arc::new(OnceLock::<JobHandle>::new());
    let in_sink = Arc::clone(&handle);
    let sink = Arc::new(AtPiece::new().on(5, move || in_sink.get().unwrap().pause().unwrap()));
    let job = controlled(driver, &sink, &handle, JobOptions::new("copy"), |job| {
        assert_eq!(
            job.wait_for(&[Status::Paused, Status::Null]).unwrap(),
            Status::Paused
        );
        assert!(
            job.cancel(CancelMode::Soft).is_err(),
            "softly refused while paused"
        );
        job.cancel(CancelMode::Force).unwrap();
    });
    assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
    assert_eq!(scratch.names(), ["source"]);
}

#[test]
fn a_job_cancelled_before_it_starts_leaves_nothing() {
    let scratch = Scratch::new();
    let driver = only_driver(&scratch, &options());
    assert_eq!(scratch.names().len(), 2, "the temporary file is there");
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let created = manager.create(JobOptions::new("copy"), driver).unwrap();
    let job = created.handle();
    job.cancel(CancelMode::Force).unwrap();
    drop(created);
    main_loop.run_until_idle();
    assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
    assert_eq!(scratch.names(), ["source"]);
}

#[test]
fn a_job_given_up_before_it_starts_leaves_nothing() {
    let scratch = Scratch::new();
    let driver = only_driver(&scratch, &options());
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    drop(manager.create(JobOptions::new("copy"), driver).unwrap());
    main_loop.run_until_idle();
    drop((manager, main_loop));
    assert_eq!(scratch.names(), ["source"]);
}

#[test]
fn a_pending_copy_is_complete_but_invisible_until_it_is_finalized() {
    let scratch = Scratch::new();
    scratch.text("target", "old");
    let driver = only_driver(&scratch, &options());
    let sink = Arc::new(AtPiece::new());
    let job = JobOptions::new("copy").manual_finalize(true);
    let job = controlled(driver, &sink, &Arc::default(), job, |job| {
        assert_eq!(
            job.wait_for(&[Status::Pending, Status::Null]).unwrap(),
            Status::Pending
        );
        assert_eq!(scratch.contents()["target"], b"old");
        assert_eq!(sink.pieces(), PIECES);
        job.finalize().unwrap();
    });
    assert_eq!(job.outcome(), Some(Ok(())));
    assert_same(&scratch.path("source"), &scratch.path("target"));
    assert_eq!(scratch.names(), ["source", "target"]);
}

#[test]
fn a_target_taken_by_somebody_else_before_the_commit_fails_the_prepare() {
    let scratch = Scratch::new();
    let driver = only_driver(&scratch, &options());
    let job = JobOptions::new("copy").manual_finalize(true);
    let job = controlled(driver, &Arc::default(), &Arc::default(), job, |job| {
        assert_eq!(
            job.wait_for(&[Status::Pending, Status::Null]).unwrap(),
            Status::Pending
        );
        scratch.text("target", "theirs");
        assert!(
            job.finalize()
                .unwrap_err()
                .to_string()
                .contains("made by somebody else")
        );
    });
    assert!(job.outcome().unwrap().is_err());
    assert_eq!(scratch.names(), ["source", "target"]);
    assert_eq!(scratch.contents()["target"], b"theirs");
}

#[test]
fn a_source_that_shrinks_or_changes_meanwhile_is_an_error_that_says_so() {
    type Change = fn(&std::fs::File);
    let changes: [(&str, Change); 3] = [
        ("shrank while it was copied", |file| {
            file.set_len(PIECE as u64 * 20 + 7).unwrap();
        }),
        ("grew from", |file| {
            file.set_len(PIECE as u64 * (PIECES + 1)).unwrap();
        }),
        ("was written while", |file| {
            use std::os::unix::fs::FileExt as _;
            file.write_all_at(b"other", 0).unwrap();
        }),
    ];
    for (words, change) in changes {
        let scratch = Scratch::new();
        scratch.text("target", "old");
        let source = scratch.dense("source", PIECE * PIECES as usize);
        // Old enough that a change shows in the time stamps.
        let file = std::fs::File::options().write(true).open(&source).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
            .unwrap();
        let driver = only_driver(&scratch, &options());
        let sink = Arc::new(AtPiece::new().on(10, move || change(&file)));
        let job = controlled(
            driver,
            &sink,
            &Arc::default(),
            JobOptions::new("copy"),
            |_| (),
        );
        let error = job.outcome().unwrap().unwrap_err().to_string();
        assert!(
            error.contains(words) && error.contains("/source"),
            "{error}"
        );
        assert!(sink.is_spent());
        assert_eq!(scratch.names(), ["source", "target"]);
        assert_eq!(scratch.contents()["target"], b"old");
    }
}

#[test]
fn a_folder_that_is_removed_meanwhile_fails_the_copy_and_is_not_made_anew() {
    let scratch = Scratch::new();
    let source = scratch.dense("source", PIECE * PIECES as usize);
    let folder = scratch.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let plan = CopyPlan::check(&[pair(&source, folder.join("target"))], &options()).unwrap();
    let driver = plan.drivers().unwrap().remove(0);
    let sink = Arc::new(AtPiece::new().on(10, {
        let folder = folder.clone();
        move || std::fs::remove_dir_all(folder).unwrap()
    }));
    let job = controlled(
        driver,
        &sink,
        &Arc::default(),
        JobOptions::new("copy"),
        |_| (),
    );
    let error = job.outcome().unwrap().unwrap_err().to_string();
    assert!(error.contains("its folder was removed"), "{error}");
    assert!(sink.is_spent() && !folder.exists());
    assert_eq!(scratch.names(), ["source"]);
}

#[test]
fn an_abort_in_place_says_that_part_is_written() {
    let scratch = Scratch::new();
    scratch.dense("target", PIECE * PIECES as usize);
    let driver = only_driver(&scratch, &options().in_place(true));
    let report = driver.report();
    let source = std::fs::File::options()
        .write(true)
        .open(scratch.path("source"))
        .unwrap();
    let sink = Arc::new(AtPiece::new().on(10, move || source.set_len(5).unwrap()));
    let job = controlled(
        driver,
        &sink,
        &Arc::default(),
        JobOptions::new("copy"),
        |_| (),
    );
    assert!(job.outcome().unwrap().is_err());
    assert_eq!(report.summary().ending, Ending::PartlyWritten);
    assert_eq!(scratch.names(), ["source", "target"]);
}

#[test]
fn a_limited_copy_takes_its_time_and_a_lifted_limit_ends_the_wait() {
    let scratch = Scratch::new();
    let driver = only_driver(&scratch, &options().workers(2));
    let total = PIECE as u64 * PIECES;
    let began = Instant::now();
    // A third of a second for all of it, were it not lifted; at 1 byte/s, weeks.
    let job = controlled(
        driver,
        &Arc::default(),
        &Arc::default(),
        JobOptions::new("copy").speed(total.cast_signed() * 3),
        |_| (),
    );
    assert_eq!(job.outcome(), Some(Ok(())));
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(200),
        "{total} bytes in {took:?} under a limit of {} a second",
        total * 3
    );

    let second = Scratch::new();
    let driver = only_driver(&second, &options().workers(2));
    let (reached, wait_reached) = mpsc::channel();
    let sink = Arc::new(AtPiece::new().on(0, move || reached.send(()).unwrap()));
    let job = controlled(
        driver,
        &sink,
        &Arc::default(),
        JobOptions::new("copy").speed(1),
        move |job| {
            wait_reached.recv().unwrap();
            job.set_speed(0).unwrap();
        },
    );
    assert_eq!(job.outcome(), Some(Ok(())));
    assert_same(&second.path("source"), &second.path("target"));
}

#[test]
fn a_sleeping_limited_copy_obeys_pause_and_cancel_at_once() {
    for workers in [1, 2] {
        a_sleeping_limited_copy_obeys(workers);
    }
}

fn a_sleeping_limited_copy_obeys(workers: usize) {
    let scratch = Scratch::new();
    let driver = only_driver(&scratch, &options().workers(workers));
    let (reached, wait_reached) = mpsc::channel();
    let sink = Arc::new(AtPiece::new().on(0, move || reached.send(()).unwrap()));
    let job = controlled(
        driver,
        &sink,
        &Arc::default(),
        JobOptions::new("copy").speed(1),
        move |job| {
            wait_reached.recv().unwrap();
            job.pause().unwrap();
            assert_eq!(
                job.wait_for(&[Status::Paused, Status::Null]).unwrap(),
                Status::Paused
            );
            job.resume().unwrap();
            job.cancel(CancelMode::Soft).unwrap();
        },
    );
    assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
    // A worker may be in its first piece while another's is paid for.
    assert!(
        (1..=workers as u64).contains(&sink.pieces()),
        "the rest of the wait was forgotten by the pause: {} pieces of {workers} workers",
        sink.pieces()
    );
    assert_eq!(scratch.names(), ["source"]);
}

#[test]
fn nothing_begins_after_a_worker_has_failed() {
    let scratch = Scratch::new();
    let driver = only_driver(&scratch, &options().workers(2));
    let handle = Arc::new(OnceLock::<JobHandle>::new());
    // One piece for each worker, and the body stays in its own until it has a pause to come to.
    let (both, goes_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let mut sink = AtPiece::new();
    for piece in 0..2 {
        let (both, goes_on) = (Arc::clone(&both), Arc::clone(&goes_on));
        sink = sink.on(piece, move || {
            both.wait();
            if !std::thread::current().name().unwrap().contains("-lane") {
                goes_on.wait();
            }
        });
    }
    let (tell, cut) = mpsc::channel();
    let source = scratch.path("source");
    sink = sink.on(2, move || {
        let source = std::fs::File::options().write(true).open(&source).unwrap();
        source.set_len(2 * PIECE as u64).unwrap();
        tell.send(()).unwrap();
    });
    let sink = Arc::new(sink);
    let options = JobOptions::new("copy");
    let job = controlled(driver, &sink, &handle, options, move |job| {
        cut.recv().unwrap();
        job.pause().unwrap();
        goes_on.wait();
        // Paused means that the lane's piece is over, its failure included.
        let status = job.wait_for(&[Status::Paused, Status::Null]).unwrap();
        assert_eq!(status, Status::Paused);
        job.resume().unwrap();
    });
    assert!(job.outcome().unwrap().is_err());
    assert_eq!(sink.pieces(), 3);
}

/// Says so when its thread ends.
struct AtThreadEnd(mpsc::Sender<()>);

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        // Nobody listens any more: the test has failed.
        let _ = self.0.send(());
    }
}

thread_local! {
    static AT_END: RefCell<Option<AtThreadEnd>> = const { RefCell::new(None) };
}

#[test]
fn of_two_workers_that_fail_the_first_one_says_why() {
    let scratch = Scratch::new();
    let driver = only_driver(&scratch, &options().workers(2));
    // One piece for each worker; the body stays in its own until the lane has failed in the next and is gone.
    let (gone, lane_gone) = mpsc::channel();
    let both = Arc::new(Barrier::new(2));
    let lane_gone = Arc::new(Mutex::new(lane_gone));
    let mut sink = AtPiece::new();
    for piece in 0..2 {
        let (both, lane_gone) = (Arc::clone(&both), Arc::clone(&lane_gone));
        sink = sink.on(piece, move || {
            both.wait();
            if !std::thread::current().name().unwrap().contains("-lane") {
                lane_gone.lock().unwrap().recv().unwrap();
            }
        });
    }
    let source = scratch.path("source");
    sink = sink.on(2, move || {
        AT_END.set(Some(AtThreadEnd(gone)));
        let source = std::fs::File::options().write(true).open(&source).unwrap();
        source.set_len(0).unwrap();
    });
    let sink = Arc::new(sink);
    let options = JobOptions::new("copy");
    let job = controlled(driver, &sink, &Arc::default(), options, |_| ());
    assert_eq!(sink.pieces(), 3, "the lane has done its first piece");
    // The body failed as well, in a piece before that: the error is the lane's all the same.
    let error = job.outcome().unwrap().unwrap_err().to_string();
    let at = format!("ended at {} of", 2 * PIECE);
    assert!(
        error.contains(&at),
        "the first failure is not the one that is told: {error}"
    );
}
