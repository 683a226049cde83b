//! Goal: however bytes get from a source to a target, they are the same bytes; what can be shared or left to the kernel
//! is; what is to stay out of the page cache does; and block devices are as good as files on both ends.
//! Method: every technique over awkward lengths and layouts, on the file system at hand; clones on a btrfs or XFS of
//! their own and devices on loop devices, which need root and are otherwise skipped, loudly. What lies in the page
//! cache is asked of `fincore`.
#![allow(clippy::unwrap_used)]

mod copy_common;

use blockjob::copy::{Cache, CopyError, CopyOptions, Durability, Ending, Sparse, Technique};
use copy_common::*;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

const CHUNK: usize = 64 << 10;

fn options() -> CopyOptions {
    CopyOptions::new()
        .chunk_bytes(CHUNK)
        .durability(Durability::None)
}

/// One test at a time: a program that is just being started holds every file that is open here, and its lock.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a program says, if it is there and succeeds.
fn ask(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{program} {arguments:?}: {}", said.trim()))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Files of awkward lengths and layouts.
fn sources(scratch: &Scratch) -> Vec<PathBuf> {
    let mut all: Vec<_> = [
        0,
        1,
        511,
        4096,
        4097,
        CHUNK - 1,
        CHUNK + 1,
        5 * CHUNK + 4095,
    ]
    .into_iter()
    .map(|bytes| scratch.dense(&format!("dense{bytes}"), bytes))
    .collect();
    let size = 20 * CHUNK as u64;
    all.push(scratch.sparse("hole", size + 77, &[]));
    let data = [(3 * CHUNK as u64, CHUNK + 9), (size - 5, 5)];
    all.push(scratch.sparse("sparse", size, &data));
    all
}

/// Copies every source to a new file, over an old one, and in place over one that is as long and full.
fn every_way(scratch: &Scratch, options: &CopyOptions, check: impl Fn(&blockjob::copy::Summary)) {
    for source in sources(scratch) {
        let target = scratch.path("target");
        for round in 0..3 {
            let options = options.clone().in_place(round == 2);
            if round == 2 {
                let size = std::fs::metadata(&source).unwrap().len();
                std::fs::write(&target, pattern(size as usize, 99)).unwrap();
            }
            let job = copy(&source, &target, &options);
            assert_same(&source, &target);
            check(&job.summary());
        }
        std::fs::remove_file(&target).unwrap();
    }
}

#[test]
fn whatever_the_technique_the_bytes_are_the_same() {
    let _alone = alone();
    let scratch = Scratch::new();
    for workers in [1, 3] {
        for technique in [None, Some(Technique::Offload), Some(Technique::Buffered)] {
            let options = options().workers(workers).technique(technique);
            every_way(&scratch, &options, |summary| {
                let all = summary.copied_bytes + summary.hole_bytes;
                assert_eq!(all, summary.size_bytes);
                if technique == Some(Technique::Offload) {
                    assert_eq!(summary.offloaded_bytes, summary.copied_bytes);
                }
                if let Some(technique) = technique
                    && summary.copied_bytes > 0
                {
                    assert_eq!(summary.technique, technique);
                }
            });
        }
    }
}

#[test]
fn past_the_page_cache_the_bytes_are_the_same() {
    let _alone = alone();
    let scratch = Scratch::new();
    let direct = options().technique(Some(Technique::Direct));
    let (one, two) = (scratch.dense("one", 3 * CHUNK), scratch.path("two"));
    match run(&[pair(&one, &two)], &direct) {
        Err(CopyError::NoDirect { .. }) => {
            eprintln!("SKIP: no direct I/O in {}", scratch.path("").display());
            return;
        }
        answer => drop(answer.unwrap()),
    }
    every_way(&scratch, &direct, |summary| {
        assert_eq!(summary.offloaded_bytes + summary.cloned_bytes, 0);
    });
}

#[test]
fn what_is_never_sparse_is_stored_without_being_read() {
    let _alone = alone();
    let scratch = Scratch::new();
    let size = 64 * CHUNK as u64;
    let source = scratch.sparse("source", size, &[(5, 5)]);
    let target = scratch.path("target");
    copy(&source, &target, &options().sparse(Sparse::Never));
    assert_same(&source, &target);
    assert!(std::fs::metadata(&target).unwrap().blocks() * 512 >= size);
}

#[test]
fn a_blind_technique_and_a_look_at_every_byte_exclude_each_other() {
    let _alone = alone();
    let scratch = Scratch::new();
    let source = scratch.dense("source", 10);
    for technique in [Technique::Clone, Technique::Offload] {
        let options = options().technique(Some(technique)).sparse(Sparse::Always);
        let refusal = run(&[pair(&source, scratch.path("target"))], &options).unwrap_err();
        assert!(matches!(refusal, CopyError::Conflict { .. }), "{refusal}");
    }
    assert_eq!(scratch.names(), ["source"]);
}

/// Bytes of a file that are in the page cache.
fn cached(path: &Path) -> Result<u64, String> {
    let answer = ask("fincore", &["-b", "-n", "-r", "-o", "RES", text(path)])?;
    answer.parse().map_err(|_| answer)
}

#[test]
fn what_is_not_to_be_kept_is_not_in_the_page_cache() {
    let _alone = alone();
    let scratch = Scratch::new();
    let bytes = 8 << 20;
    let source = scratch.dense("source", bytes);
    let (kept, dropped) = (scratch.path("kept"), scratch.path("dropped"));
    let options = options().durability(Durability::Data);
    copy(&source, &kept, &options.clone().cache(Cache::Keep));
    match cached(&kept) {
        Ok(found) if found > bytes as u64 / 2 => {}
        // Nothing to be told apart: other programs have pressed it out, or nobody says.
        other => {
            eprintln!("SKIP: what is in the page cache is not known: {other:?}");
            return;
        }
    }
    copy(&source, &dropped, &options.cache(Cache::Drop));
    assert_same(&source, &kept);
    if cached(&dropped).unwrap() > bytes as u64 / 2 {
        let kind = ask("stat", &["-f", "-c", "%T", text(&dropped)]);
        assert_eq!(kind.as_deref(), Ok("tmpfs"), "a file system with a disk");
        eprintln!("SKIP: a file system in memory keeps its files there");
    }
}

/// A file system of its own, on a loop device.
struct Mounted(Scratch);

impl Mounted {
    /// The first kind that can be had.
    fn any(kinds: &[(&str, u64)]) -> Result<Self, String> {
        let mut why = String::new();
        for (kind, mib) in kinds {
            let scratch = Scratch::new();
            let image = scratch.path("image");
            File::create(&image).unwrap().set_len(mib << 20).unwrap();
            let folder = scratch.path("mounted");
            std::fs::create_dir(&folder).unwrap();
            let made = ask(&format!("mkfs.{kind}"), &["-q", text(&image)])
                .and_then(|_| ask("mount", &["-o", "loop", text(&image), text(&folder)]));
            match made {
                Ok(_) => return Ok(Self(scratch)),
                Err(reason) => why = format!("{why} {reason};"),
            }
        }
        Err(why)
    }

    /// A folder in it.
    fn scratch(&self) -> Scratch {
        Scratch(tempfile::tempdir_in(self.0.path("mounted")).unwrap())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        ask("umount", &[text(&self.0.path("mounted"))]).unwrap();
    }
}

#[test]
fn where_blocks_can_be_shared_they_are() {
    let _alone = alone();
    let mounted = match Mounted::any(&[("btrfs", 256), ("xfs", 400)]) {
        Ok(mounted) => mounted,
        Err(why) => {
            eprintln!("SKIP: no file system that shares blocks:{why}");
            return;
        }
    };
    let scratch = mounted.scratch();
    every_way(&scratch, &options(), |summary| {
        let whole = summary.copied_bytes / 4096 * 4096;
        assert!(
            summary.cloned_bytes >= whole,
            "{} of {} bytes cloned",
            summary.cloned_bytes,
            summary.copied_bytes
        );
    });
    let clone = options().technique(Some(Technique::Clone));
    every_way(&scratch, &clone, |_| {});
    // Where it was asked for and cannot be had, nothing else is done.
    let elsewhere = Scratch::new();
    let source = scratch.dense("source", 2 * CHUNK);
    let jobs = run(&[pair(&source, elsewhere.path("target"))], &clone).unwrap();
    let failure = jobs[0].failure().unwrap();
    assert!(failure.contains("cannot be made by clone"), "{failure}");
    assert_eq!(jobs[0].summary().ending, Ending::Aborted);
    assert_eq!(elsewhere.names(), [""; 0]);
    copy(&source, &elsewhere.path("target"), &options());
    assert_same(&source, &elsewhere.path("target"));
    drop(scratch);
}

/// A loop device on a file, taken away at the end.
struct Loop(PathBuf);

impl Loop {
    fn on(file: &Path) -> Result<Self, String> {
        ask("losetup", &["-f", "--show", text(file)]).map(|path| Self(path.into()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        ask("losetup", &["-d", text(&self.0)]).unwrap();
    }
}

#[test]
fn block_devices_are_as_good_as_files_on_both_ends() {
    let _alone = alone();
    let scratch = Scratch::new();
    let size = 2 << 20;
    let old = || pattern(size, 5);
    std::fs::write(scratch.path("one"), old()).unwrap();
    std::fs::write(scratch.path("two"), old()).unwrap();
    let (one, two) = match (
        Loop::on(&scratch.path("one")),
        Loop::on(&scratch.path("two")),
    ) {
        (Ok(one), Ok(two)) => (one, two),
        (one, two) => {
            let why = [one.err(), two.err()];
            eprintln!("SKIP: no loop devices: {why:?}");
            return;
        }
    };
    let read = |device: &Loop| {
        let mut bytes = vec![0; size];
        let file = File::open(&device.0).unwrap();
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    // Shorter than the device by an odd length, with a hole over old contents.
    let odd = size as u64 - 4096 - 321;
    let source = scratch.sparse(
        "source",
        odd,
        &[(0, CHUNK), (9 * CHUNK as u64 + 7, 100_000)],
    );
    for technique in [None, Some(Technique::Direct)] {
        let options = options().technique(technique).durability(Durability::Data);
        let file = File::options().write(true).open(&one.0).unwrap();
        file.write_all_at(&old(), 0).unwrap();
        drop(file);
        let job = copy(&source, &one.0, &options);
        assert!(job.summary().hole_bytes > 0);
        let (found, wanted) = (read(&one), std::fs::read(&source).unwrap());
        assert!(found[..odd as usize] == wanted, "the source");
        assert!(
            found[odd as usize..] == old()[odd as usize..],
            "what was behind it"
        );
        copy(&one.0, &two.0, &options);
        assert!(read(&two) == found, "from device to device");
        let target = scratch.path("target");
        copy(&two.0, &target, &options.clone().sparse(Sparse::Always));
        assert!(
            std::fs::read(&target).unwrap() == found,
            "from device to file"
        );
        assert!(std::fs::metadata(&target).unwrap().blocks() * 512 < size as u64);
    }
}
