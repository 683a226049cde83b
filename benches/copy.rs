//! Speed of the copy beside the tools people use, in one run: `cargo bench --bench copy`.
//!
//! Method: each contender makes a new target from a source in the page cache, in turn, round after round, so that a
//! noisy neighbour meets all of them. Times are medians with the fastest and the slowest; ratios are medians of the
//! ratios within each round, and beside them the best round of one by the best of the other. With `sync`, each ends
//! with its data on the disk. Read the ratios, not the seconds. It never fails by time.
//!
//! Peers that are not installed are said not to be measured; `cargo xtask setup` installs them.
//!
//! `cargo bench --bench copy -- dense` measures the cases with that word in their name.
//!
//! Environment: `BLOCKJOB_BENCH_MIB` (size of the source, 1024), `BLOCKJOB_BENCH_ROUNDS` (7), `BLOCKJOB_BENCH_DIR`
//! (a folder on the file system to be measured; the system's temporary folder).

use blockjob::copy::{CopyOptions, CopyPlan, Durability, Pair, Sparse, Technique};
use blockjob::engine::{JobOptions, Manager, ManagerConfig};
use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;
type Run = fn(&Path, &Path) -> Outcome<()>;

const MIB: usize = 1 << 20;

fn blockjob(source: &Path, target: &Path, options: &CopyOptions) -> Outcome<()> {
    let plan = CopyPlan::check(&[Pair::new(source, target)], options)?;
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let jobs = plan.start(&manager, |_| JobOptions::new("copy"))?;
    main_loop.run_until_idle();
    match jobs[0].failure() {
        None => Ok(()),
        Some(failure) => Err(failure.into()),
    }
}

fn command(program: &str, arguments: &[&str]) -> Outcome<()> {
    let status = Command::new(program)
        .args(arguments)
        .stderr(Stdio::null())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{program} {arguments:?}: {status}").into())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or("the scratch path is not text")
}

fn cp(source: &Path, target: &Path, sparse: &str) -> Outcome<()> {
    command(
        "cp",
        &["--reflink=never", sparse, text(source), text(target)],
    )
}

fn dd(source: &Path, target: &Path, more: &str) -> Outcome<()> {
    command(
        "dd",
        &[
            &format!("if={}", text(source)),
            &format!("of={}", text(target)),
            "bs=1M",
            more,
        ],
    )
}

/// The fastest way of `qemu-img` that leaves the same result.
fn qemu_img(source: &Path, target: &Path) -> Outcome<()> {
    let (source, target) = (text(source), text(target));
    let convert = ["convert", "-f", "raw", "-O", "raw", "-W", "-m", "16"];
    command("qemu-img", &[&convert[..], &[source, target]].concat())
}

fn ddrescue(source: &Path, target: &Path) -> Outcome<()> {
    command("ddrescue", &["--quiet", text(source), text(target)])
}

fn rsync(source: &Path, target: &Path) -> Outcome<()> {
    command("rsync", &["-W", "--inplace", text(source), text(target)])
}

fn nbdcopy(source: &Path, target: &Path) -> Outcome<()> {
    let size = source.metadata()?.len();
    File::create(target)?.set_len(size)?;
    command(
        "nbdcopy",
        &["--request-size=1048576", text(source), text(target)],
    )
}

fn synced(target: &Path) -> Outcome<()> {
    Ok(File::open(target)?.sync_all()?)
}

fn unsynced() -> CopyOptions {
    CopyOptions::new().durability(Durability::None)
}

/// A name, what it does, and whether it is ours.
struct Contender(&'static str, Run);

struct Case {
    name: &'static str,
    source: &'static str,
    contenders: Vec<Contender>,
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "dense, no sync",
            source: "dense",
            contenders: vec![
                Contender("blockjob", |s, t| blockjob(s, t, &unsynced())),
                Contender("blockjob, 1 worker", |s, t| {
                    blockjob(s, t, &unsynced().workers(1))
                }),
                Contender("cp --reflink=never", |s, t| cp(s, t, "--sparse=auto")),
                Contender("blockjob --technique offload", |s, t| {
                    blockjob(s, t, &unsynced().technique(Some(Technique::Offload)))
                }),
                Contender("blockjob --checksum", |s, t| {
                    blockjob(s, t, &unsynced().checksum(true))
                }),
                Contender("dd bs=1M", |s, t| dd(s, t, "status=none")),
                Contender("qemu-img convert -W", qemu_img),
                Contender("nbdcopy", nbdcopy),
                Contender("ddrescue", ddrescue),
                Contender("rsync -W --inplace", rsync),
            ],
        },
        Case {
            name: "dense, synced",
            source: "dense",
            contenders: vec![
                Contender("blockjob --sync data", |s, t| {
                    blockjob(s, t, &CopyOptions::new())
                }),
                Contender("cp, fsync", |s, t| {
                    cp(s, t, "--sparse=auto").and_then(|()| synced(t))
                }),
                Contender("dd bs=1M conv=fsync", |s, t| dd(s, t, "conv=fsync")),
                Contender("qemu-img, fsync", |s, t| {
                    qemu_img(s, t).and_then(|()| synced(t))
                }),
                Contender("ddrescue, fsync", |s, t| {
                    ddrescue(s, t).and_then(|()| synced(t))
                }),
            ],
        },
        Case {
            name: "sparse (4x size, a tenth data), no sync",
            source: "sparse",
            contenders: vec![
                Contender("blockjob", |s, t| blockjob(s, t, &unsynced())),
                Contender("cp --sparse=auto", |s, t| cp(s, t, "--sparse=auto")),
                Contender("cp --sparse=always", |s, t| cp(s, t, "--sparse=always")),
                Contender("qemu-img convert -W", qemu_img),
            ],
        },
        Case {
            name: "stored zeros, dropped",
            source: "zeros",
            contenders: vec![
                Contender("blockjob --sparse always", |s, t| {
                    blockjob(s, t, &unsynced().sparse(Sparse::Always))
                }),
                Contender("cp --sparse=always", |s, t| cp(s, t, "--sparse=always")),
                Contender("qemu-img convert -W", qemu_img),
            ],
        },
    ]
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
        .max(1)
}

fn make_sources(folder: &Path, mib: usize) -> Outcome<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = |bytes: usize| -> Vec<u8> {
        (0..bytes / 8)
            .flat_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            })
            .collect()
    };
    let mut dense = File::create(folder.join("dense"))?;
    let mut zeros = File::create(folder.join("zeros"))?;
    let blank = vec![0; MIB];
    for _ in 0..mib {
        dense.write_all(&noise(MIB))?;
        zeros.write_all(&blank)?;
    }
    let sparse = File::create(folder.join("sparse"))?;
    let size = 4 * (mib * MIB) as u64;
    sparse.set_len(size)?;
    // Runs of 64 KiB, one in ten.
    for at in (0..size).step_by(640 << 10) {
        sparse.write_all_at(&noise(64 << 10), at)?;
    }
    for file in [&dense, &zeros, &sparse] {
        file.sync_all()?;
    }
    Ok(())
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn main() -> Outcome<()> {
    // `cargo bench` says `--bench`; `cargo test --all-targets` runs the file too and only wants to know that it can.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let (mib, rounds) = (
        setting("BLOCKJOB_BENCH_MIB", 1024),
        setting("BLOCKJOB_BENCH_ROUNDS", 7),
    );
    let scratch = match std::env::var_os("BLOCKJOB_BENCH_DIR") {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    make_sources(scratch.path(), mib)?;
    println!(
        "{mib} MiB, {rounds} rounds, interleaved, medians (fastest..slowest), new target each time"
    );
    let wanted = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'))
        .unwrap_or_default();
    for case in cases()
        .into_iter()
        .filter(|case| case.name.contains(&wanted))
    {
        let source = scratch.path().join(case.source);
        let mut times = vec![Vec::with_capacity(rounds); case.contenders.len()];
        // The first round warms up and does not count.
        for round in 0..=rounds {
            for (Contender(name, run), times) in case.contenders.iter().zip(&mut times) {
                let target = scratch.path().join("target");
                let began = Instant::now();
                let answer = run(&source, &target);
                let took = began.elapsed();
                match answer {
                    Ok(()) if round > 0 => times.push(took),
                    Err(error) if round == 0 => println!("  {name}: not measured: {error}"),
                    // The round that warms up, and what was said once already.
                    Ok(()) | Err(_) => {}
                }
                let _ = std::fs::remove_file(&target);
            }
        }
        println!("\n{}", case.name);
        let ours = times[0].clone();
        for (Contender(name, _), times) in case.contenders.iter().zip(&times) {
            if times.len() < rounds || ours.len() < rounds {
                continue;
            }
            let ratios = ours
                .iter()
                .zip(times)
                .map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64());
            let seconds = sorted(times.iter().map(Duration::as_secs_f64));
            println!(
                "  {name:<28} {:>7.3} s ({:.3}..{:.3})   blockjob takes {:.2} of its time, best to best {:.2}",
                seconds[rounds / 2],
                seconds[0],
                seconds[rounds - 1],
                sorted(ratios)[rounds / 2],
                sorted(ours.iter().map(Duration::as_secs_f64))[0] / seconds[0],
            );
        }
    }
    Ok(())
}
