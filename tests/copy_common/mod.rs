//! What the copy tests share: scratch files with known contents, running plans to their end, and doing something at
//! an exact piece of a copy.
#![allow(dead_code, clippy::unwrap_used)] // Each test file uses a part of it, and a failed unwrap is a failed test.

use blockjob::copy::{Backup, CopyError, CopyJob, CopyOptions, CopyPlan, Pair};
use blockjob::driver::{Driver, JobError, RunContext};
use blockjob::engine::{JobOptions, Manager, ManagerConfig};
use blockjob::model::Status;
use blockjob::trace::{TraceEntry, TraceSink, TraceStep};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// A folder of scratch files, removed at the end.
pub struct Scratch(pub tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file with `bytes` bytes that no two places share by accident, none of them zero.
    pub fn dense(&self, name: &str, bytes: usize) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, pattern(bytes, bytes as u64)).unwrap();
        path
    }

    pub fn text(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A file of `size` bytes that has data only at these ranges.
    pub fn sparse(&self, name: &str, size: u64, data: &[(u64, usize)]) -> PathBuf {
        let path = self.path(name);
        let file = File::create(&path).unwrap();
        file.set_len(size).unwrap();
        for (at, bytes) in data {
            file.write_all_at(&pattern(*bytes, *at), *at).unwrap();
        }
        path
    }

    /// Every name with its contents: "nothing left behind, nothing lost" is one comparison.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        contents(self.0.path())
    }

    pub fn names(&self) -> Vec<String> {
        self.contents().into_keys().collect()
    }
}

pub fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let kind = entry.file_type().unwrap();
            let bytes = if kind.is_file() {
                std::fs::read(entry.path()).unwrap()
            } else {
                Vec::new()
            };
            (entry.file_name().into_string().unwrap(), bytes)
        })
        .collect()
}

/// Bytes 1 to 251 in an order that depends on `seed`; neighbouring pieces differ.
pub fn pattern(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..bytes)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            1 + ((state >> 33) % 251) as u8
        })
        .collect()
}

pub fn pair(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Pair {
    Pair::new(source, target)
}

pub fn check(pairs: &[Pair], options: &CopyOptions) -> Result<CopyPlan, CopyError> {
    CopyPlan::check(pairs, options)
}

pub fn job_options(index: usize) -> JobOptions {
    JobOptions::new(format!("copy{index}"))
}

/// Plans, starts and runs to the end on this thread.
pub fn run(pairs: &[Pair], options: &CopyOptions) -> Result<Vec<CopyJob>, CopyError> {
    let plan = CopyPlan::check(pairs, options)?;
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let jobs = plan.start(&manager, job_options)?;
    main_loop.run_until_idle();
    Ok(jobs)
}

/// One pair, which must succeed.
pub fn copy(source: &Path, target: &Path, options: &CopyOptions) -> CopyJob {
    let mut jobs = run(&[pair(source, target)], options).unwrap();
    let job = jobs.remove(0);
    assert!(job.succeeded(), "{:?} {:?}", job.failure(), job.summary());
    assert_eq!(job.failure(), None);
    job
}

/// Keeps lanes from running ahead between the request of a pause and the moment the body heeds it, which would be a
/// matter of luck: asked for together with the pause, over when the engine calls the driver's `pause`.
#[derive(Default)]
pub struct LaneHold {
    /// Asked for, over.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl LaneHold {
    pub fn ask(&self) {
        self.state.lock().unwrap().0 = true;
    }

    fn end(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    fn stand(&self) {
        if std::thread::current()
            .name()
            .is_some_and(|name| name.contains("-lane"))
        {
            let state = self.state.lock().unwrap();
            drop(
                self.changed
                    .wait_while(state, |(asked, over)| *asked && !*over)
                    .unwrap(),
            );
        }
    }
}

/// A driver that ends a [`LaneHold`] when it is told to pause.
pub struct Holding {
    pub driver: Backup,
    pub hold: Arc<LaneHold>,
}

impl Driver for Holding {
    fn job_type(&self) -> &'static str {
        self.driver.job_type()
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        self.driver.run(context)
    }

    fn pause(&self) {
        self.hold.end();
        self.driver.pause();
    }

    fn resume(&self) {
        self.driver.resume();
    }

    fn prepare(&self) -> Result<(), JobError> {
        self.driver.prepare()
    }

    fn commit(&self) {
        self.driver.commit();
    }

    fn abort(&self) {
        self.driver.abort();
    }

    fn clean(&self) {
        self.driver.clean();
    }
}

type Action = Box<dyn FnOnce() + Send>;

/// A trace sink that does something at the beginning of the n-th piece of I/O of the whole run (from 0), on the
/// worker that is about to do it, and that watches every pause: when a job says `paused`, none of its pieces may be
/// in flight.
#[derive(Default)]
pub struct AtPiece {
    hold: Option<Arc<LaneHold>>,
    seen: AtomicU64,
    in_flight: AtomicI64,
    at_pause: Mutex<Vec<i64>>,
    actions: Mutex<BTreeMap<u64, Action>>,
}

impl AtPiece {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn on(self, piece: u64, action: impl FnOnce() + Send + 'static) -> Self {
        self.actions.lock().unwrap().insert(piece, Box::new(action));
        self
    }

    /// Once the hold is asked for, lanes stand at the beginning of their next piece until it is over.
    pub fn holding(mut self, hold: Arc<LaneHold>) -> Self {
        self.hold = Some(hold);
        self
    }

    pub fn pieces(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    /// Pieces in flight at each acknowledged pause.
    pub fn in_flight_at_pauses(&self) -> Vec<i64> {
        self.at_pause.lock().unwrap().clone()
    }

    /// Whether every action was carried out.
    pub fn is_spent(&self) -> bool {
        self.actions.lock().unwrap().is_empty()
    }
}

impl TraceSink for AtPiece {
    fn record(&self, entry: &TraceEntry<'_>) {
        match entry.step {
            TraceStep::IoBegin(_) => {
                self.in_flight.fetch_add(1, Ordering::SeqCst);
                let number = self.seen.fetch_add(1, Ordering::SeqCst);
                let action = self.actions.lock().unwrap().remove(&number);
                if let Some(action) = action {
                    action();
                }
                if let Some(hold) = &self.hold {
                    hold.stand();
                }
            }
            TraceStep::IoEnd { .. } => {
                self.in_flight.fetch_sub(1, Ordering::SeqCst);
            }
            TraceStep::Status(Status::Paused) => {
                self.at_pause
                    .lock()
                    .unwrap()
                    .push(self.in_flight.load(Ordering::SeqCst));
            }
            _ => {}
        }
    }
}

/// Compares contents and, piece by piece, without reading gigabytes of holes into memory.
pub fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (File::open(one).unwrap(), File::open(other).unwrap());
    let size = one.metadata().unwrap().len();
    assert_eq!(size, other.metadata().unwrap().len(), "sizes");
    for file in [&one, &other] {
        for extent in blockjob::io::extent::extents(file, size) {
            let extent = extent.unwrap();
            if extent.kind == blockjob::io::extent::ExtentKind::Hole {
                continue;
            }
            let mut at = extent.start;
            let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
            while at < extent.end {
                let bytes = (extent.end - at).min(1 << 20) as usize;
                one.read_exact_at(&mut a[..bytes], at).unwrap();
                other.read_exact_at(&mut b[..bytes], at).unwrap();
                assert!(
                    a[..bytes] == b[..bytes],
                    "contents differ in {at}..{}",
                    at + bytes as u64
                );
                at += bytes as u64;
            }
        }
    }
}

/// Bytes the file system stores for a file.
pub fn stored(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}

/// Whether the file system of `folder` has holes: without, what the tests say of them has no meaning. Asked by what it
/// stores, not by the code that is tested.
pub fn has_holes(folder: &Path) -> bool {
    let file = tempfile::tempfile_in(folder).unwrap();
    file.set_len(1 << 20).unwrap();
    file.metadata().unwrap().blocks() == 0
}

/// Says loudly that part of a test was not done.
pub fn skip(what: &str, why: &str) {
    eprintln!("SKIP: {what}: {why}");
}

pub fn is_root() -> bool {
    blockjob::io::process::is_privileged()
}

/// A small file system of its own, unmounted and removed at the end; `None` where mounting is not permitted.
pub struct SmallDisk {
    pub folder: PathBuf,
    _parent: tempfile::TempDir,
}

impl SmallDisk {
    pub fn new(bytes: u64) -> Option<Self> {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("disk");
        std::fs::create_dir(&folder).unwrap();
        let mounted = is_root()
            && std::process::Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
                .arg(&folder)
                .status()
                .is_ok_and(|status| status.success());
        mounted.then_some(Self {
            folder,
            _parent: parent,
        })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg(&self.folder)
            .status();
    }
}
