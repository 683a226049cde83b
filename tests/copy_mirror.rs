//! Goal: a mirror loses no write: what is written while it copies, while it is ready and while it is completed is in the
//! target, or its writer was told to write there; it is ready only when both are the same; and a target that it does not
//! take is what it was.
//! Method: threads write at random places, from seeds, into real files, and each keeps what its bytes should be; the
//! disk that is valid at the end is compared with that, byte by byte. What others write is written at exact moments: at
//! a piece of a pass, in a callback, or while the job is seen ready. Only the quiet between two looks at a file is a
//! matter of the clock, and no test waits for it to be short.
#![allow(clippy::unwrap_used)]

mod copy_common;

use blockjob::copy::{
    CopyDriver as _, CopyError, CopyJob, CopyOptions, Durability, Ending, Mirror, MirrorJob,
    MirrorPlan, Pair, SourceWriters, Sparse, Technique,
};
use blockjob::driver::{Driver, Errno, JobError, RunContext};
use blockjob::engine::{CancelMode, JobHandle, JobOptions, MainLoop, Manager, ManagerConfig};
use blockjob::mirror::Writers;
use blockjob::model::{ErrorPolicy, Status};
use blockjob::oracle;
use blockjob::trace::{RecordingManager, TraceEntry, TraceSink, TraceStep, TraceWriter};
use copy_common::*;
use proptest::prelude::*;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};

const KIB: usize = 1 << 10;

fn options() -> CopyOptions {
    CopyOptions::new()
        .chunk_bytes(16 * KIB)
        .durability(Durability::None)
}

fn started(
    pairs: &[Pair],
    options: &CopyOptions,
    who: SourceWriters,
) -> (Manager, MainLoop, Vec<MirrorJob>) {
    let (manager, main_loop) = Manager::new(ManagerConfig::default());
    let plan = MirrorPlan::check(pairs, options, who).unwrap();
    let jobs = plan.start(&manager, job_options).unwrap();
    (manager, main_loop, jobs)
}

fn until_ready(main_loop: &mut MainLoop, jobs: &[MirrorJob]) {
    let is = |status| jobs.iter().all(|job| job.copy.handle.status() == status);
    assert!(main_loop.run_until(|| {
        let failed = jobs.iter().find_map(|job| job.copy.handle.outcome());
        assert!(failed.is_none(), "{failed:?}");
        is(Status::Ready)
    }));
}

fn complete(main_loop: &mut MainLoop, jobs: &[MirrorJob]) {
    for job in jobs {
        job.copy.handle.complete().unwrap();
    }
    main_loop.run_until_idle();
}

fn assert_succeeded(job: &CopyJob) {
    assert!(job.succeeded(), "{:?} {:?}", job.failure(), job.summary());
}

fn writable(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Writes `times` times into every `of`th block from `number` on, whose bytes nobody else writes: to the source, or to
/// the target once that took over. Returns what it wrote, in order.
#[derive(Clone)]
struct Scribbler {
    pair: Pair,
    writers: Writers,
    seed: u64,
    number: usize,
    of: usize,
    blocks: usize,
    times: usize,
}

const BLOCK: usize = 1500;

impl Scribbler {
    fn scribble(&self) -> Vec<(usize, Vec<u8>)> {
        let mut dice = Dice(self.seed * 977 + self.number as u64 + 1);
        let (source, mut target) = (writable(&self.pair.source), None);
        (0..self.times)
            .map(|_| {
                let block = dice.below(self.blocks / self.of) * self.of + self.number;
                let (skip, bytes) = (dice.below(BLOCK), 1 + dice.below(BLOCK));
                let at = block * BLOCK + skip;
                let bytes = bytes.min(BLOCK - skip);
                // Some of it zeros, so that there is something to leave out.
                let data = match dice.below(3) {
                    0 => vec![0; bytes],
                    _ => pattern(bytes, dice.below(1 << 30) as u64),
                };
                let range = at as u64..(at + bytes) as u64;
                let write = || source.write_all_at(&data, at as u64).unwrap();
                if self.writers.write(range, write).is_err() {
                    let target = target.get_or_insert_with(|| writable(&self.pair.target));
                    target.write_all_at(&data, at as u64).unwrap();
                }
                (at, data)
            })
            .collect()
    }
}

/// Mirrors a file that several threads write, until they are done or beyond that; the target must have every write.
fn scribbled(seed: u64, options: &CopyOptions, who: SourceWriters, past_the_end: bool) {
    let scratch = Scratch::new();
    let blocks = 300;
    let size = blocks * BLOCK;
    let source = scratch.sparse(
        "source",
        size as u64,
        &[(0, size / 5), (size as u64 / 2, size / 7)],
    );
    let mut expected = std::fs::read(&source).unwrap();
    let target = if options.in_place {
        let path = scratch.path("target");
        std::fs::write(&path, pattern(size, 3)).unwrap();
        path
    } else {
        scratch.text("target", "old")
    };
    let pair = pair(source, target);
    let (_manager, mut main_loop, jobs) = started(std::slice::from_ref(&pair), options, who);
    let scribblers: Vec<_> = (0..3)
        .map(|number| Scribbler {
            pair: pair.clone(),
            writers: jobs[0].writers.clone(),
            seed,
            number,
            of: 3,
            blocks,
            times: 150,
        })
        .collect();
    let (asked, job) = (Barrier::new(4), &jobs[0].copy.handle);
    std::thread::scope(|scope| {
        let writing: Vec<_> = scribblers
            .iter()
            .map(|scribbler| {
                let (first, rest) = (
                    Scribbler {
                        times: scribbler.times / 2,
                        ..scribbler.clone()
                    },
                    Scribbler {
                        seed: seed + 1000,
                        ..scribbler.clone()
                    },
                );
                let asked = &asked;
                scope.spawn(move || {
                    let mut written = first.scribble();
                    if past_the_end {
                        asked.wait();
                    }
                    written.extend(rest.scribble());
                    if !past_the_end {
                        asked.wait();
                    }
                    written
                })
            })
            .collect();
        scope.spawn(|| {
            asked.wait();
            while job.status() != Status::Ready {
                let status = job.wait_for(&[Status::Ready, Status::Null]).unwrap();
                assert_eq!(status, Status::Ready, "{:?}", job.outcome());
            }
            job.complete().unwrap();
        });
        main_loop.run_until_idle();
        for writer in writing {
            for (at, data) in writer.join().unwrap() {
                expected[at..at + data.len()].copy_from_slice(&data);
            }
        }
    });
    assert_succeeded(&jobs[0].copy);
    let found = std::fs::read(&pair.target).unwrap();
    if let Some(at) = (0..size).find(|at| found[*at] != expected[*at]) {
        panic!("seed {seed}: byte {at} of the target is not what was written last");
    }
    assert_eq!(scratch.names(), ["source", "target"]);
    assert!(jobs[0].writers.write(0..1, || ()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_write_of_a_writer_that_says_so_is_lost(
        seed in 1_u64..1 << 20,
        workers in 1_usize..4,
        sparse in prop::sample::select(vec![Sparse::Auto, Sparse::Always, Sparse::Never]),
        in_place in any::<bool>(),
        past_the_end in any::<bool>(),
        chunk in prop::sample::select(vec![4096, 12_288, 64 << 10]),
    ) {
        let options = options().workers(workers).sparse(sparse).in_place(in_place).chunk_bytes(chunk);
        scribbled(seed, &options, SourceWriters::Announced, past_the_end);
    }
}

#[test]
fn writers_that_say_so_are_followed_where_others_may_write_too() {
    scribbled(7, &options().verify(true), SourceWriters::Any, false);
}

#[test]
fn a_direct_mirror_follows_as_well() {
    let options = options().technique(Some(Technique::Direct));
    let scratch = Scratch::new();
    let path = scratch.dense("source", 4096);
    if let Err(CopyError::NoDirect { .. }) =
        run(&[pair(path, scratch.path("target"))], &options).map(drop)
    {
        skip("a direct mirror", "the file system has no direct I/O");
        return;
    }
    scribbled(9, &options, SourceWriters::Announced, true);
}

/// Does something at the beginning of the first piece of I/O of this kind.
struct AtFirst {
    op: &'static str,
    action: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl AtFirst {
    fn new(op: &'static str, action: impl FnOnce() + Send + 'static) -> Arc<AtFirst> {
        Arc::new(AtFirst {
            op,
            action: Mutex::new(Some(Box::new(action))),
        })
    }
}

impl TraceSink for AtFirst {
    fn record(&self, entry: &TraceEntry<'_>) {
        if let TraceStep::IoEnd { io, .. } = entry.step
            && io.op == self.op
            && let Some(action) = self.action.lock().unwrap().take()
        {
            action();
        }
    }
}

fn write_at(path: &Path, at: usize, bytes: &[u8]) {
    writable(path).write_all_at(bytes, at as u64).unwrap();
}

#[test]
fn what_others_write_is_found_during_a_pass_and_while_the_mirror_is_ready() {
    let scratch = Scratch::new();
    let size = 20 * 16 * KIB;
    let source = scratch.sparse(
        "source",
        size as u64,
        &[(0, 5 * 16 * KIB), (200_000, 50_000)],
    );
    let pair = pair(&source, scratch.path("target"));
    // The first piece is copied; then it is written.
    let during = {
        let source = source.clone();
        AtFirst::new("copy", move || {
            write_at(&source, 10, b"during the first pass");
        })
    };
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let plan = MirrorPlan::check(&[pair], &options().workers(1), SourceWriters::Any).unwrap();
    let plan = plan.record_io(during);
    let jobs = plan.start(&manager, job_options).unwrap();
    until_ready(&mut main_loop, &jobs);
    let summary = jobs[0].copy.summary();
    assert!(
        summary.passes >= 2 && summary.recopied_bytes > 0,
        "{summary:?}"
    );
    // Data in a hole, zeros over data, and a hole where there was data.
    write_at(&source, 6 * 16 * KIB + 5, b"in a hole");
    write_at(&source, 210_000, &[0; 10_000]);
    let punched = blockjob::io::extent::punch_hole(writable(&source), 0, 8192).unwrap();
    complete(&mut main_loop, &jobs);
    assert_succeeded(&jobs[0].copy);
    assert_same(&source, &scratch.path("target"));
    if punched && has_holes(scratch.0.path()) {
        assert!(stored(&scratch.path("target")) <= stored(&source) + 8192);
    }
    assert_eq!(scratch.names(), ["source", "target"]);
}

/// A loop device over a file, detached at the end; `None` where that is not permitted.
struct LoopDevice(String);

impl LoopDevice {
    fn over(image: &Path) -> Option<Self> {
        let answer = std::process::Command::new("losetup")
            .args(["-f", "--show"])
            .arg(image)
            .output()
            .ok()?;
        let path = || String::from_utf8(answer.stdout).unwrap().trim().to_owned();
        answer.status.success().then(|| Self(path()))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup")
            .args(["-d", &self.0])
            .status();
    }
}

#[test]
fn what_came_to_a_device_past_its_own_pages_is_in_the_target() {
    let scratch = Scratch::new();
    let image = scratch.dense("image", 1 << 20);
    let Some(device) = LoopDevice::over(&image) else {
        eprintln!("SKIP: no loop device (needs root)");
        return;
    };
    let target = scratch.path("target");
    for verify in [false, true] {
        let (_manager, mut main_loop, jobs) = started(
            &[pair(&device.0, &target)],
            &options().verify(verify),
            SourceWriters::Any,
        );
        until_ready(&mut main_loop, &jobs);
        // As a file system does that is mounted from it.
        write_at(&image, 300_000, format!("written, {verify}").as_bytes());
        complete(&mut main_loop, &jobs);
        assert_succeeded(&jobs[0].copy);
        assert_same(&image, &target);
    }
}

#[test]
fn a_ready_mirror_keeps_up_without_being_asked() {
    let scratch = Scratch::new();
    let source = scratch.dense("source", 100_000);
    let pair = pair(&source, scratch.path("target"));
    for (who, announced) in [
        (SourceWriters::Announced, true),
        (SourceWriters::Any, false),
    ] {
        let (_manager, mut main_loop, jobs) = started(std::slice::from_ref(&pair), &options(), who);
        until_ready(&mut main_loop, &jobs);
        let before = jobs[0].copy.summary().recopied_bytes;
        let write = || write_at(&source, 50_000, &pattern(3, u64::from(announced)));
        if announced {
            jobs[0].writers.write(50_000..50_003, write).unwrap();
        } else {
            write();
        }
        // However long that takes.
        main_loop.run_until(|| jobs[0].copy.summary().recopied_bytes > before);
        complete(&mut main_loop, &jobs);
        assert_succeeded(&jobs[0].copy);
        assert_same(&source, &scratch.path("target"));
    }
}

#[test]
fn a_soft_cancel_of_a_ready_mirror_is_a_success_and_the_target_is_what_it_was() {
    for old in [None, Some("old")] {
        let scratch = Scratch::new();
        let source = scratch.dense("source", 100_000);
        if let Some(old) = old {
            scratch.text("target", old);
        }
        let before = scratch.contents();
        let pair = pair(&source, scratch.path("target"));
        let (_manager, mut main_loop, jobs) =
            started(&[pair], &options(), SourceWriters::Announced);
        until_ready(&mut main_loop, &jobs);
        jobs[0].copy.handle.cancel(CancelMode::Soft).unwrap();
        main_loop.run_until_idle();
        assert_eq!(jobs[0].copy.handle.outcome(), Some(Ok(())));
        assert_eq!(jobs[0].copy.summary().ending, Ending::Unpivoted);
        assert!(!jobs[0].copy.succeeded());
        assert_eq!(scratch.contents(), before);
        // Who writes stays with the source.
        assert_eq!(jobs[0].writers.write(0..1, || 7), Ok(7));
    }
}

#[test]
fn a_soft_cancel_in_place_leaves_a_copy_of_that_moment() {
    let scratch = Scratch::new();
    let source = scratch.dense("source", 100_000);
    let target = scratch.dense("target", 100_000);
    let options = options().in_place(true);
    let (_manager, mut main_loop, jobs) = started(
        &[pair(&source, &target)],
        &options,
        SourceWriters::Announced,
    );
    until_ready(&mut main_loop, &jobs);
    let write = || write_at(&source, 70_000, b"written while ready");
    jobs[0].writers.write(70_000..70_019, write).unwrap();
    jobs[0].copy.handle.cancel(CancelMode::Soft).unwrap();
    main_loop.run_until_idle();
    assert_succeeded(&jobs[0].copy);
    assert_same(&source, &target);
    assert_eq!(jobs[0].writers.write(0..1, || 7), Ok(7));
}

#[test]
fn a_forced_cancel_aborts_whenever_it_comes_and_the_target_is_what_it_was() {
    for when in ["running", "ready", "standby"] {
        let scratch = Scratch::new();
        let source = scratch.dense("source", 300_000);
        let target = scratch.text("target", "old");
        let before = scratch.contents();
        let (_manager, mut main_loop, jobs) =
            started(&[pair(&source, &target)], &options(), SourceWriters::Any);
        let job = &jobs[0].copy.handle;
        if when != "running" {
            until_ready(&mut main_loop, &jobs);
        }
        if when == "standby" {
            job.pause().unwrap();
            main_loop.run_until(|| job.status() == Status::Standby);
        }
        job.cancel(CancelMode::Force).unwrap();
        main_loop.run_until_idle();
        assert_eq!(job.outcome(), Some(Err(JobError::new(Errno::CANCELED))));
        assert_eq!(jobs[0].copy.summary().ending, Ending::Aborted);
        assert_eq!(scratch.contents(), before);
        assert_eq!(jobs[0].writers.write(0..1, || 7), Ok(7));
    }
}

#[test]
fn a_ready_mirror_rests_in_standby_and_a_completion_waits_for_the_resume() {
    let scratch = Scratch::new();
    let source = scratch.dense("source", 100_000);
    let target = scratch.path("target");
    let (_manager, mut main_loop, jobs) = started(
        &[pair(&source, &target)],
        &options(),
        SourceWriters::Announced,
    );
    until_ready(&mut main_loop, &jobs);
    let job = &jobs[0].copy.handle;
    job.pause().unwrap();
    main_loop.run_until(|| job.status() == Status::Standby);
    let write = || write_at(&source, 0, b"while it rests");
    jobs[0].writers.write(0..14, write).unwrap();
    let passes = jobs[0].copy.summary().passes;
    job.complete().unwrap();
    main_loop.run_pending();
    assert_eq!((job.status(), target.exists()), (Status::Standby, false));
    assert_eq!(jobs[0].copy.summary().passes, passes, "nothing moves");
    job.resume().unwrap();
    main_loop.run_until_idle();
    assert_succeeded(&jobs[0].copy);
    assert_same(&source, &target);
}

#[test]
fn a_source_that_changes_its_size_fails_the_mirror() {
    for (who, size) in [
        (SourceWriters::Any, 100_001),
        (SourceWriters::Any, 99_999),
        (SourceWriters::Announced, 100_001),
        (SourceWriters::Announced, 99_999),
    ] {
        let scratch = Scratch::new();
        let source = scratch.dense("source", 100_000);
        let target = scratch.text("target", "old");
        let (_manager, mut main_loop, jobs) = started(&[pair(&source, &target)], &options(), who);
        until_ready(&mut main_loop, &jobs);
        let resize = || writable(&source).set_len(size).unwrap();
        if size > 100_000 && who == SourceWriters::Announced {
            jobs[0].writers.write(100_000..size, resize).unwrap();
        } else {
            resize();
        }
        // It may have failed by itself by now, and refuse.
        let _ = jobs[0].copy.handle.complete();
        main_loop.run_until_idle();
        let failure = jobs[0].copy.failure().unwrap();
        let how = if size > 100_000 {
            "grew from 100000 to 100001"
        } else {
            "shrank from 100000 to 99999"
        };
        assert!(failure.contains(how), "{failure}");
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        assert_eq!(scratch.names(), ["source", "target"]);
    }
}

/// A mirror that does something in its callbacks, before its own part.
struct Meddled {
    mirror: Mirror,
    in_prepare: Box<dyn Fn() + Send + Sync>,
}

impl Driver for Meddled {
    fn job_type(&self) -> &'static str {
        self.mirror.job_type()
    }
    fn supports_complete(&self) -> bool {
        true
    }
    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        self.mirror.run(context)
    }
    fn cancel(&self, force: bool, ready: bool) -> bool {
        self.mirror.cancel(force, ready)
    }
    fn prepare(&self) -> Result<(), JobError> {
        (self.in_prepare)();
        self.mirror.prepare()
    }
    fn commit(&self) {
        self.mirror.commit();
    }
    fn abort(&self) {
        self.mirror.abort();
    }
    fn clean(&self) {
        self.mirror.clean();
    }
}

fn meddled(
    pair: &Pair,
    who: SourceWriters,
    options: &CopyOptions,
    in_prepare: impl Fn() + Send + Sync + 'static,
) -> (Manager, MainLoop, Vec<MirrorJob>) {
    let (manager, main_loop) = Manager::new(ManagerConfig::default());
    let plan = MirrorPlan::check(std::slice::from_ref(pair), options, who).unwrap();
    let mut in_prepare: Option<Box<dyn Fn() + Send + Sync>> = Some(Box::new(in_prepare));
    let jobs = plan
        .start_with(&manager, job_options, |_, mirror| Meddled {
            mirror,
            in_prepare: in_prepare.take().unwrap(),
        })
        .unwrap();
    (manager, main_loop, jobs)
}

#[test]
fn what_others_write_after_the_last_pass_is_not_lost_by_a_switch_over() {
    let scratch = Scratch::new();
    let source = scratch.dense("source", 100_000);
    let target = scratch.text("target", "old");
    let written = source.clone();
    let pair = pair(&source, &target);
    let (_manager, mut main_loop, jobs) =
        meddled(&pair, SourceWriters::Any, &options(), move || {
            write_at(&written, 5, b"too late");
        });
    until_ready(&mut main_loop, &jobs);
    complete(&mut main_loop, &jobs);
    let failure = jobs[0].copy.failure().unwrap();
    assert!(
        failure.contains("was written after the last pass"),
        "{failure}"
    );
    assert_eq!(std::fs::read(&target).unwrap(), b"old");
    assert_eq!(scratch.names(), ["source", "target"]);
}

#[test]
fn a_mirror_in_place_that_was_softly_cancelled_is_done_with_its_source() {
    let scratch = Scratch::new();
    let source = scratch.dense("source", 100_000);
    let target = scratch.dense("target", 100_000);
    let copied = std::fs::read(&source).unwrap();
    let written = source.clone();
    let pair = pair(&source, &target);
    let options = options().in_place(true);
    let (_manager, mut main_loop, jobs) = meddled(&pair, SourceWriters::Any, &options, move || {
        write_at(&written, 5, b"for the source alone");
    });
    until_ready(&mut main_loop, &jobs);
    jobs[0].copy.handle.cancel(CancelMode::Soft).unwrap();
    main_loop.run_until_idle();
    assert_succeeded(&jobs[0].copy);
    assert!(std::fs::read(&target).unwrap() == copied);
}

#[test]
fn what_came_to_the_disk_after_its_time_is_found_when_a_young_source_is_completed() {
    for moved in [false, true] {
        let scratch = Scratch::new();
        let begun = std::time::Instant::now();
        let source = scratch.dense("source", 300_000);
        let target = scratch.path("target");
        let (_manager, mut main_loop, jobs) =
            started(&[pair(&source, &target)], &options(), SourceWriters::Any);
        until_ready(&mut main_loop, &jobs);
        if begun.elapsed() > std::time::Duration::from_secs(9) {
            skip(
                "a young source",
                "it was no longer young when it was copied",
            );
            continue;
        }
        // A write that had moved the times before the pass and came after it leaves this: source and target
        // differ, and nothing says so.
        let names = scratch.names();
        let new = names.iter().find(|name| name.starts_with(".target"));
        write_at(&scratch.path(new.unwrap()), 200_000, b"as it was before");
        if moved {
            write_at(&source, 10, b"somewhere else");
        }
        complete(&mut main_loop, &jobs);
        assert_succeeded(&jobs[0].copy);
        assert_same(&source, &target);
    }
}

#[test]
fn between_the_last_pass_and_the_switch_over_writers_wait_and_then_are_told() {
    let scratch = Scratch::new();
    let source = scratch.dense("source", 100_000);
    let target = scratch.text("target", "old");
    let (said, hears) = std::sync::mpsc::channel();
    let writers: Arc<Mutex<Option<Writers>>> = Arc::default();
    let in_prepare = {
        let (writers, source) = (Arc::clone(&writers), source.clone());
        move || {
            let writers = writers.lock().unwrap().take().unwrap();
            let (said, source) = (said.clone(), source.clone());
            let (begun, begins) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                begun.send(()).unwrap();
                let answer = writers.write(0..4, || write_at(&source, 0, b"lost"));
                said.send(answer).unwrap();
            });
            begins.recv().unwrap();
        }
    };
    let (_manager, mut main_loop, jobs) = meddled(
        &pair(&source, &target),
        SourceWriters::Announced,
        &options(),
        in_prepare,
    );
    *writers.lock().unwrap() = Some(jobs[0].writers.clone());
    until_ready(&mut main_loop, &jobs);
    complete(&mut main_loop, &jobs);
    assert_succeeded(&jobs[0].copy);
    assert!(hears.recv().unwrap().is_err(), "it is told, not let in");
    assert_same(&source, &target);
}

fn group(scratch: &Scratch) -> Vec<Pair> {
    (0..3)
        .map(|number| {
            let source = scratch.dense(&format!("source{number}"), 50_000 + number * 9000);
            pair(source, scratch.text(&format!("target{number}"), "old"))
        })
        .collect()
}

#[test]
fn a_group_is_completed_together() {
    let scratch = Scratch::new();
    let pairs = group(&scratch);
    let (_manager, mut main_loop, jobs) = started(&pairs, &options(), SourceWriters::Announced);
    until_ready(&mut main_loop, &jobs);
    for (job, pair) in jobs.iter().zip(&pairs) {
        let write = || write_at(&pair.source, 40_000, b"written while ready");
        job.writers.write(40_000..40_019, write).unwrap();
    }
    jobs[0].copy.handle.complete().unwrap();
    main_loop.run_until(|| jobs[0].copy.handle.status() == Status::Waiting);
    assert_eq!(std::fs::read(&pairs[0].target).unwrap(), b"old");
    complete(&mut main_loop, &jobs[1..]);
    for (job, pair) in jobs.iter().zip(&pairs) {
        assert_succeeded(&job.copy);
        assert_same(&pair.source, &pair.target);
        assert!(job.writers.write(0..1, || ()).is_err());
    }
    assert_eq!(scratch.names().len(), 6);
}

#[test]
fn of_a_group_all_switch_over_or_none() {
    for cancelled in 0..3 {
        let scratch = Scratch::new();
        let pairs = group(&scratch);
        let before = scratch.contents();
        let (_manager, mut main_loop, jobs) = started(&pairs, &options(), SourceWriters::Announced);
        until_ready(&mut main_loop, &jobs);
        for (number, job) in jobs.iter().enumerate() {
            if number == cancelled {
                job.copy.handle.cancel(CancelMode::Soft).unwrap();
            } else {
                job.copy.handle.complete().unwrap();
            }
        }
        main_loop.run_until_idle();
        assert_eq!(scratch.contents(), before);
        for job in &jobs {
            assert_eq!(
                job.copy.handle.outcome().unwrap().unwrap_err().errno,
                Errno::CANCELED
            );
            assert_eq!(job.writers.write(0..1, || 7), Ok(7));
        }
    }
}

#[test]
fn what_a_mirror_cannot_keep_to_is_refused() {
    let scratch = Scratch::new();
    let source = scratch.dense("source", 1000);
    let pairs = [pair(&source, scratch.path("target"))];
    let many: Vec<_> = (0..65)
        .map(|number| pair(&source, scratch.path(&format!("target{number}"))))
        .collect();
    let map = Some(scratch.path("map"));
    for (pairs, options, word) in [
        (&pairs[..], options().resume(true), "--resume"),
        (&pairs[..], options().checksum(true), "--checksum"),
        (&pairs[..], options().bad_map(map.clone()), "--bad-map"),
        (
            &pairs[..],
            options().on_source_error(ErrorPolicy::Ignore).bad_map(map),
            "--on-source-error ignore",
        ),
        (&many[..], options(), "more than 64 pairs"),
    ] {
        let refused = MirrorPlan::check(pairs, &options, SourceWriters::Any).unwrap_err();
        let text = refused.to_string();
        assert!(
            text.starts_with(&format!("--mirror and {word} exclude each other: ")),
            "{text}"
        );
    }
    assert_eq!(scratch.names(), ["source"]);
}

#[test]
fn an_empty_source_and_one_of_holes_become_ready_too() {
    for size in [0, 1 << 20] {
        let scratch = Scratch::new();
        let source = scratch.sparse("source", size, &[]);
        let target = scratch.path("target");
        let (_manager, mut main_loop, jobs) =
            started(&[pair(&source, &target)], &options(), SourceWriters::Any);
        until_ready(&mut main_loop, &jobs);
        complete(&mut main_loop, &jobs);
        assert_succeeded(&jobs[0].copy);
        assert_same(&source, &target);
    }
}

/// The lines of a trace.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_oracle_accepts_what_mirrors_do() {
    type End = fn(&blockjob::trace::RecordingHandle);
    let ends: [(&str, End); 4] = [
        ("complete", |job| job.complete().unwrap()),
        ("soft", |job| job.cancel(CancelMode::Soft).unwrap()),
        ("force", |job| job.cancel(CancelMode::Force).unwrap()),
        ("standby", |job| {
            job.pause().unwrap();
            assert_eq!(
                job.job().wait_for(&[Status::Standby]).unwrap(),
                Status::Standby
            );
            job.complete().unwrap();
            job.resume().unwrap();
        }),
    ];
    for (name, end) in ends {
        let scratch = Scratch::new();
        let source = scratch.dense("source", 500_000);
        let lines = Lines::default();
        let trace = Arc::new(TraceWriter::new(lines.clone()));
        let sink: Arc<dyn TraceSink> = trace.clone();
        let config = ManagerConfig::default().trace(Arc::clone(&sink));
        let (manager, mut main_loop) = Manager::new(config);
        let manager = RecordingManager::new(manager, Arc::clone(&sink));
        let pairs = [pair(&source, scratch.path("target"))];
        let plan = MirrorPlan::check(&pairs, &options(), SourceWriters::Announced).unwrap();
        let mirror = plan.drivers().unwrap().remove(0);
        let (report, writers) = (mirror.report(), mirror.writers());
        let mirror = mirror.record_io(sink, "m".to_owned(), None);
        let job = manager
            .create(JobOptions::new("m"), mirror)
            .unwrap()
            .start();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for at in 0..200_u64 {
                    let write = || write_at(&source, at as usize * 2000, &pattern(900, at));
                    writers.write(at * 2000..at * 2000 + 900, write).unwrap();
                }
                let statuses = [Status::Ready, Status::Null];
                assert_eq!(job.job().wait_for(&statuses).unwrap(), Status::Ready);
                let write = || write_at(&source, 0, b"when it is ready");
                writers.write(0..16, write).unwrap();
                end(&job);
            });
            main_loop.run_until_idle();
        });
        drop((main_loop, manager));
        trace.finish().unwrap();
        let text = lines.0.lock().unwrap().clone();
        let verdict = oracle::check_reader(name, &text[..], &oracle::Options::default());
        assert_eq!(verdict.word(), "accept", "{name}: {verdict}");
        if matches!(name, "complete" | "standby") {
            assert!(report.summary().recopied_bytes > 0);
            let text = String::from_utf8(text).unwrap();
            let recopied = text.contains("\"recopy\"");
            assert!(recopied, "{name}: the passes are in the trace");
        }
    }
}

/// A job that is a mirror, for who looks.
#[test]
fn a_mirror_says_what_it_is() {
    let scratch = Scratch::new();
    let source = scratch.dense("source", 1000);
    let pairs = [pair(&source, scratch.path("target"))];
    let (_manager, mut main_loop, jobs) = started(&pairs, &options(), SourceWriters::Any);
    let handle: &JobHandle = &jobs[0].copy.handle;
    assert_eq!(handle.info().job_type, "mirror");
    until_ready(&mut main_loop, &jobs);
    let (done, total) = handle.progress_bytes();
    assert_eq!(done, total, "ready is done");
    handle.cancel(CancelMode::Force).unwrap();
    main_loop.run_until_idle();
}
