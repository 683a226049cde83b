//! Goal: a file system in user space that errors or delays is met like any other: an identical target, or a clear error
//! with the old target as it was and nothing beside it.
//! Method: `nbdfuse` shows a disk of `nbdkit` as a file, through its filters for errors (while a file exists), for delays
//! and for bad ranges. Without these programs, or where FUSE cannot be had, skipped, loudly.
#![allow(clippy::unwrap_used)]

mod copy_common;

use blockjob::copy::{CopyJob, CopyOptions, CopyPlan, Ending, Pair};
use blockjob::engine::{CancelMode, Manager, ManagerConfig};
use blockjob::model::ErrorPolicy;
use blockjob::trace::TraceSink;
use copy_common::*;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

const CHUNK: usize = 64 << 10;

/// One test at a time: a program that is just being started holds every file that is open here.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A disk behind FUSE, as one file; gone when dropped.
struct Fuse {
    server: Child,
    mount: PathBuf,
}

impl Fuse {
    /// How long a server may take to show its file.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// The file `disk` below `mount`: what `plugin` has, through `filters`.
    fn new(scratch: &Scratch, filters: &[&str], plugin: &[&str]) -> Option<Self> {
        if let Err(error) = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
        {
            skip(
                "a file system in user space",
                &format!("/dev/fuse: {error}"),
            );
            return None;
        }
        let mount = scratch.path("mount");
        std::fs::create_dir_all(&mount).unwrap();
        let mut command = Command::new("nbdfuse");
        command
            .arg(mount.join("disk"))
            .args(["--command", "nbdkit", "-s", "--exit-with-parent"])
            .args(filters.iter().map(|filter| format!("--filter={filter}")))
            .args(plugin)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let server = match command.spawn() {
            Ok(server) => server,
            Err(error) => {
                skip("a file system in user space", &format!("nbdfuse: {error}"));
                return None;
            }
        };
        let mut fuse = Self { server, mount };
        let began = Instant::now();
        while !fuse.disk().exists() {
            if fuse.server.try_wait().unwrap().is_some() || began.elapsed() > Self::PATIENCE {
                skip(
                    "a file system in user space",
                    "nbdfuse and nbdkit do not show their file; `cargo xtask setup` installs them",
                );
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(fuse)
    }

    fn disk(&self) -> PathBuf {
        self.mount.join("disk")
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        for program in ["fusermount3", "fusermount", "umount"] {
            let mut command = Command::new(program);
            if program != "umount" {
                command.arg("-u");
            }
            command.stderr(Stdio::null());
            if matches!(command.arg(&self.mount).status(), Ok(status) if status.success()) {
                break;
            }
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn options() -> CopyOptions {
    CopyOptions::new().chunk_bytes(CHUNK)
}

/// One pair, run to its end.
fn copied(source: &Path, target: &Path, options: &CopyOptions) -> CopyJob {
    run(&[pair(source, target)], options).unwrap().remove(0)
}

#[test]
fn a_source_that_errors_fails_the_copy_and_one_that_is_well_again_is_copied() {
    let _alone = alone();
    let scratch = Scratch::new();
    let image = scratch.dense("image", 2 << 20);
    let ill = scratch.path("ill");
    let Some(fuse) = Fuse::new(
        &scratch,
        &["error"],
        &[
            "file",
            image.to_str().unwrap(),
            "error-pread=EIO",
            "error-pread-rate=100%",
            &format!("error-pread-file={}", ill.display()),
        ],
    ) else {
        return;
    };
    let folder = scratch.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let target = folder.join("target");
    std::fs::write(&target, "old").unwrap();
    for workers in [1, 2] {
        std::fs::write(&ill, "").unwrap();
        let job = copied(&fuse.disk(), &target, &options().workers(workers));
        let failure = job.failure().unwrap();
        assert!(failure.contains("cannot be read at byte"), "{failure}");
        assert!(failure.contains("Input/output error"), "{failure}");
        assert_eq!(job.summary().ending, Ending::Aborted);
        let left: Vec<_> = contents(&folder).into_iter().collect();
        assert_eq!(left, [("target".to_owned(), b"old".to_vec())]);
        std::fs::remove_file(&ill).unwrap();
    }
    let job = copied(&fuse.disk(), &target, &options().verify(true));
    assert!(job.succeeded(), "{:?}", job.failure());
    assert_same(&image, &target);
}

#[test]
fn what_a_disk_cannot_read_is_listed_as_its_own_map_lists_it() {
    let _alone = alone();
    let scratch = Scratch::new();
    let image = scratch.dense("image", 1 << 20);
    // Two ranges of whole sectors.
    let known = scratch.text(
        "known",
        "# Mapfile.\n0x0 ? 1\n0x0 0x10000 +\n0x10000 0x600 -\n0x10600 0x6fa00 +\n0x80000 0x200 -\n0x80200 0x7fe00 +\n",
    );
    let Some(fuse) = Fuse::new(
        &scratch,
        &["ddrescue"],
        &[
            "file",
            image.to_str().unwrap(),
            &format!("ddrescue-mapfile={}", known.display()),
        ],
    ) else {
        return;
    };
    let (target, map) = (scratch.path("target"), scratch.path("map"));
    let options = options()
        .on_source_error(ErrorPolicy::Ignore)
        .bad_map(Some(map.clone()));
    let job = copied(&fuse.disk(), &target, &options);
    let summary = job.summary();
    assert!(!job.succeeded() && summary.ending.is_success());
    let mut wanted = std::fs::read(&image).unwrap();
    let mut lost = 0;
    let text = std::fs::read_to_string(&map).unwrap();
    for line in text.lines().filter(|line| line.ends_with('-')) {
        let number = |text: &str| usize::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
        let mut fields = line.split_ascii_whitespace();
        let (at, bytes) = (
            number(fields.next().unwrap()),
            number(fields.next().unwrap()),
        );
        wanted[at..at + bytes].fill(0);
        lost += bytes;
        // FUSE reads whole pages, so more may be lost than the disk lacks, and nothing elsewhere.
        let page = |at: usize| (at / 4096 * 4096)..(at / 4096 * 4096 + 4096);
        assert!(
            [page(0x10000), page(0x80000)]
                .iter()
                .any(|page| page.contains(&at) && page.end >= at + bytes),
            "{line}"
        );
    }
    assert!(lost >= 0x600 + 0x200, "{text}");
    assert_eq!(lost as u64, summary.unreadable_bytes);
    assert!(
        std::fs::read(&target).unwrap() == wanted,
        "zeros where it says, and nowhere else"
    );
}

#[test]
fn a_copy_from_a_slow_source_heeds_a_cancel_and_leaves_the_old_target() {
    let _alone = alone();
    let scratch = Scratch::new();
    let image = scratch.dense("image", 1 << 20);
    let Some(fuse) = Fuse::new(
        &scratch,
        &["delay"],
        &["file", image.to_str().unwrap(), "rdelay=5ms"],
    ) else {
        return;
    };
    let folder = scratch.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let target = folder.join("target");
    std::fs::write(&target, "old").unwrap();
    let handle = Arc::new(OnceLock::<blockjob::engine::JobHandle>::new());
    let sink = Arc::new(AtPiece::new().on(3, {
        let handle = Arc::clone(&handle);
        move || {
            let handle = handle.wait().clone();
            // The main loop answers, which waits for nobody.
            std::thread::spawn(move || handle.cancel(CancelMode::Force));
        }
    }));
    let plan = CopyPlan::check(&[Pair::new(fuse.disk(), &target)], &options().workers(1))
        .unwrap()
        .record_io(Arc::clone(&sink) as Arc<dyn TraceSink>);
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let jobs = plan.start(&manager, job_options).unwrap();
    assert!(handle.set(jobs[0].handle.clone()).is_ok());
    main_loop.run_until_idle();
    assert!(sink.is_spent() && jobs[0].handle.outcome().unwrap().is_err());
    let left: Vec<_> = contents(&folder).into_iter().collect();
    assert_eq!(left, [("target".to_owned(), b"old".to_vec())]);
    let job = copied(&fuse.disk(), &target, &options());
    assert!(job.succeeded(), "{:?}", job.failure());
    assert_same(&image, &target);
}

#[test]
fn a_target_in_place_that_errors_says_that_part_of_it_is_written() {
    let _alone = alone();
    let scratch = Scratch::new();
    let ill = scratch.path("ill");
    let size = 1 << 20;
    let Some(fuse) = Fuse::new(
        &scratch,
        &["error"],
        &[
            "memory",
            &size.to_string(),
            "error-pwrite=ENOSPC",
            "error-pwrite-rate=100%",
            &format!("error-pwrite-file={}", ill.display()),
        ],
    ) else {
        return;
    };
    let source = scratch.dense("source", size);
    let options = options().in_place(true);
    std::fs::write(&ill, "").unwrap();
    let job = copied(&source, &fuse.disk(), &options);
    let failure = job.failure().unwrap();
    assert!(failure.contains("No space left on device"), "{failure}");
    assert_eq!(job.summary().ending, Ending::PartlyWritten);
    std::fs::remove_file(&ill).unwrap();
    let job = copied(&source, &fuse.disk(), &options);
    assert!(job.succeeded(), "{:?}", job.failure());
    assert!(std::fs::read(fuse.disk()).unwrap() == std::fs::read(&source).unwrap());
}
