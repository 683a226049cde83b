//! How soon a copy at full speed heeds a pause and a cancel: `cargo xtask bench latency`.
//!
//! Method: copies of one large file in the page cache, two workers each, by reading and writing and by the kernel's own
//! copy (`copy_file_range`), one after the other. Beside them a thread pauses and resumes, or cancels, at moments that
//! differ, and takes the time from the request until the status says that nothing is in flight any more: `paused`, or
//! `aborting`, which is that the run has ended. Of a cancel the time until the job is gone is taken as well: its new file
//! is removed then, which takes the file system the longer the more was written. What is written stays below the kernel's
//! dirty threshold as long as the file does.
//! Percentiles of all samples; it never fails by time. `benches/serve.rs` has the same beside QEMU, over a socket.
//!
//! Environment: `BLOCKJOB_BENCH_MIB` (size of the file, 1024), `BLOCKJOB_BENCH_DIR` (a folder on the file system to be
//! measured).

mod measure;

use blockjob::copy::{CopyOptions, CopyPlan, Durability, Pair, Technique};
use blockjob::engine::{CancelMode, JobHandle, JobOptions, Manager, ManagerConfig};
use blockjob::model::Status;
use measure::{Bound, goal, is_quick, percentile};
use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Runs one copy on this thread, with `control` beside it.
fn beside(
    source: &Path,
    target: &Path,
    options: &CopyOptions,
    control: impl FnOnce(&JobHandle) -> Vec<Duration> + Send,
) -> Outcome<Vec<Duration>> {
    let plan = CopyPlan::check(&[Pair::new(source, target)], options)?;
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let jobs = plan.start(&manager, |_| JobOptions::new("copy"))?;
    let samples = std::thread::scope(|scope| {
        let controller = scope.spawn(|| control(&jobs[0].handle));
        main_loop.run_until_idle();
        controller.join()
    });
    let _ = std::fs::remove_file(target);
    samples.map_err(|_| "the controller panicked".into())
}

/// Moments that differ from one request to the next, and are the same in each run.
fn moment(number: usize) -> Duration {
    Duration::from_micros(1000 + (number as u64 * 7919) % 5000)
}

/// Pauses as often as the copy lasts.
fn pauses(job: &JobHandle) -> Vec<Duration> {
    let mut samples = Vec::new();
    for number in 0.. {
        std::thread::sleep(moment(number));
        let began = Instant::now();
        if job.pause().is_err() || job.wait_for(&[Status::Paused]) != Ok(Status::Paused) {
            break;
        }
        samples.push(began.elapsed());
        if job.resume().is_err() {
            break;
        }
    }
    samples
}

/// What is measured beside the goals.
const TIDIED: &str = "cancel and tidied up";

/// Cancels once: when the run had ended, and when all was tidied up.
fn cancel(job: &JobHandle, number: usize) -> Vec<Duration> {
    let ends = [Status::Aborting, Status::Concluded, Status::Null];
    std::thread::sleep(moment(number));
    let began = Instant::now();
    if job.cancel(CancelMode::Force).is_err() || job.wait_for(&ends).is_err() {
        return Vec::new();
    }
    let ended = began.elapsed();
    match job.wait_for(&[Status::Null]) {
        Ok(_) => vec![ended, began.elapsed()],
        Err(_) => Vec::new(),
    }
}

fn main() -> Outcome<()> {
    // As in the benchmark of the copy.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let quick = is_quick();
    let mib = std::env::var("BLOCKJOB_BENCH_MIB")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(if quick { 256 } else { 1024 });
    let (pauses_min, cancels) = if quick { (50, 25) } else { (500, 200) };
    let scratch = match std::env::var_os("BLOCKJOB_BENCH_DIR") {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let (source, target) = (scratch.path().join("source"), scratch.path().join("target"));
    let mut file = File::create(&source)?;
    let piece: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
    for _ in 0..mib {
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    println!("{mib} MiB, two workers; milliseconds from a request to its effect");
    println!(
        "  {:<28} {:>8} {:>8} {:>8} {:>8}",
        "", "samples", "median", "p99", "worst"
    );
    let mut found = Vec::new();
    for technique in [Technique::Buffered, Technique::Offload] {
        let options = CopyOptions::new()
            .durability(Durability::None)
            .technique(Some(technique));
        let mut samples = Vec::new();
        while samples.len() < pauses_min {
            let more = beside(&source, &target, &options, pauses)?;
            if more.is_empty() {
                return Err("the copy ends before it can be paused".into());
            }
            samples.extend(more);
        }
        found.push((format!("pause, {}", technique.name()), samples));
        let (mut ended, mut gone) = (Vec::new(), Vec::new());
        for number in 0..cancels {
            let times = beside(&source, &target, &options, |job| cancel(job, number))?;
            if let [first, second] = times[..] {
                ended.push(first);
                gone.push(second);
            }
        }
        found.push((format!("cancel, {}", technique.name()), ended));
        found.push((format!("{TIDIED}, {}", technique.name()), gone));
    }
    for (_, samples) in &mut found {
        samples.sort_unstable();
    }
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    for (what, samples) in &found {
        println!(
            "  {what:<28} {:>8} {:>8.3} {:>8.3} {:>8.3}",
            samples.len(),
            millis(percentile(samples, 50)),
            millis(percentile(samples, 99)),
            millis(percentile(samples, 100)),
        );
    }
    for (what, samples) in found.iter().filter(|(what, _)| !what.starts_with(TIDIED)) {
        goal(
            &format!("{what}: p99"),
            millis(percentile(samples, 99)),
            Bound::AtMost(5.0),
            " ms",
            &format!("{} samples", samples.len()),
        );
    }
    Ok(())
}
