//! Goal: what cannot be copied is refused before anything is touched, with an error that names the file, what is
//! wrong with it, and the way out.
//! Method: each bad input is made for real; the error's type and words are checked, and the folder's contents before
//! and after are one and the same.
#![allow(clippy::unwrap_used)]

mod copy_common;

use blockjob::copy::{CopyError, CopyOptions, CopyPlan, Side, Sparse};
use copy_common::*;
use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

/// The refusal of one pair; nothing may have changed.
fn refused(scratch: &Scratch, source: &Path, target: &Path, options: &CopyOptions) -> CopyError {
    let before = scratch.contents();
    let error =
        CopyPlan::check(&[pair(source, target)], options).expect_err("it should be refused");
    assert_eq!(scratch.contents(), before, "{error}");
    assert!(!error.way_out().is_empty());
    if let Some(path) = error.path() {
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
    error
}

fn plain() -> CopyOptions {
    CopyOptions::default()
}

#[test]
fn sources_that_are_none() {
    let scratch = Scratch::new();
    let target = scratch.path("target");
    let missing = refused(&scratch, &scratch.path("missing"), &target, &plain());
    assert!(
        matches!(
            missing,
            CopyError::Missing {
                side: Side::Source,
                ..
            }
        ),
        "{missing}"
    );
    assert!(
        missing.to_string().ends_with("/missing does not exist"),
        "{missing}"
    );
    let empty = refused(&scratch, Path::new(""), &target, &plain());
    assert!(matches!(empty, CopyError::Missing { .. }), "{empty}");
    let folder = refused(&scratch, scratch.0.path(), &target, &plain());
    assert!(folder.to_string().contains("is a directory"), "{folder}");
    let character = refused(&scratch, Path::new("/dev/zero"), &target, &plain());
    assert!(
        character.to_string().contains("is a character device"),
        "{character}"
    );
    // A pipe nobody writes must not hold the caller.
    let pipe = scratch.path("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert!(
        refused(&scratch, &pipe, &target, &plain())
            .to_string()
            .contains("is a pipe")
    );
    let made_up = refused(&scratch, Path::new("/proc/version"), &target, &plain());
    assert!(
        made_up
            .to_string()
            .contains("says that it has 0 bytes, but has more"),
        "{made_up}"
    );
    let inside = refused(
        &scratch,
        &scratch.text("file", "x").join("inside"),
        &target,
        &plain(),
    );
    assert!(inside.to_string().contains("Not a directory"), "{inside}");
}

#[test]
fn targets_that_are_no_files() {
    let scratch = Scratch::new();
    let source = scratch.text("source", "x");
    let folder = refused(&scratch, &source, scratch.0.path(), &plain());
    assert!(
        matches!(
            folder,
            CopyError::Kind {
                side: Side::Target,
                ..
            }
        ),
        "{folder}"
    );
    assert!(folder.way_out().contains("add the file's name"));
    let slash = refused(&scratch, &source, &scratch.path("new/"), &plain());
    assert!(matches!(slash, CopyError::NoFileName { .. }), "{slash}");
    let full = refused(&scratch, &source, Path::new("/dev/full"), &plain());
    assert!(full.to_string().contains("character device"), "{full}");
    let nowhere = refused(&scratch, &source, &scratch.path("no/such/folder"), &plain());
    assert!(matches!(nowhere, CopyError::Folder { .. }), "{nowhere}");
    let in_file = refused(&scratch, &source, &source.join("below"), &plain());
    assert!(in_file.to_string().contains("Not a directory"), "{in_file}");
}

#[test]
fn the_same_file_under_any_name() {
    let scratch = Scratch::new();
    let source = scratch.text("source", "x");
    symlink("source", scratch.path("link")).unwrap();
    std::fs::hard_link(&source, scratch.path("hard")).unwrap();
    for target in [
        source.clone(),
        scratch.path("link"),
        scratch.path("hard"),
        scratch.path("./source"),
    ] {
        for options in [plain(), plain().in_place(true)] {
            let error = refused(&scratch, &source, &target, &options);
            assert!(matches!(error, CopyError::SameFile { .. }), "{error}");
        }
    }
}

#[test]
fn links_that_lead_nowhere() {
    let scratch = Scratch::new();
    let source = scratch.text("source", "x");
    symlink("gone", scratch.path("dangling")).unwrap();
    symlink("circle", scratch.path("circle")).unwrap();
    let error = refused(&scratch, &source, &scratch.path("dangling"), &plain());
    assert!(matches!(error, CopyError::DanglingLink { .. }), "{error}");
    assert!(error.to_string().contains("link to gone,"), "{error}");
    let error = refused(&scratch, &source, &scratch.path("circle"), &plain());
    assert!(matches!(error, CopyError::DanglingLink { .. }), "{error}");
}

#[test]
fn a_target_with_further_names() {
    let scratch = Scratch::new();
    let (source, target) = (scratch.text("source", "x"), scratch.text("target", "old"));
    std::fs::hard_link(&target, scratch.path("other")).unwrap();
    let error = refused(&scratch, &source, &target, &plain());
    assert!(
        matches!(error, CopyError::HardLinks { links: 2, .. }),
        "{error}"
    );
    assert!(error.way_out().contains("--in-place"));
}

#[test]
fn read_only_targets() {
    let scratch = Scratch::new();
    let (source, target) = (scratch.text("source", "x"), scratch.text("target", "old"));
    std::fs::set_permissions(&target, Permissions::from_mode(0o444)).unwrap();
    for options in [plain(), plain().in_place(true)] {
        let error = refused(&scratch, &source, &target, &options);
        assert!(matches!(error, CopyError::ReadOnly { .. }), "{error}");
    }
    std::fs::set_permissions(&target, Permissions::from_mode(0o644)).unwrap();
    for flag in ["i", "a"] {
        let set = Command::new("chattr")
            .arg(format!("+{flag}"))
            .arg(&target)
            .output();
        if !set.is_ok_and(|set| set.status.success()) {
            skip(
                "immutable and append-only targets",
                "chattr does not work here",
            );
            break;
        }
        let answer = CopyPlan::check(&[pair(&source, &target)], &plain());
        assert!(
            Command::new("chattr")
                .arg(format!("-{flag}"))
                .arg(&target)
                .status()
                .unwrap()
                .success()
        );
        let error = answer.unwrap_err();
        assert!(matches!(error, CopyError::ReadOnly { .. }), "{error}");
        assert!(error.to_string().contains("chattr +"), "{error}");
    }
}

/// A disk with two partitions, made of a loop device and taken away at the end.
struct Disk(String);

impl Disk {
    fn on(image: &Path) -> Result<Self, String> {
        let image = image.to_str().unwrap();
        let disk = Self(ask("losetup", &["-f", "--show", image])?);
        for (number, begin) in [("1", "2048"), ("2", "4096")] {
            ask("addpart", &[&disk.0, number, begin, "2048"])?;
            // The kernel makes the name, and nobody else need to.
            let there = File::open(disk.part(number)).map(drop);
            there.map_err(|error| format!("{}: {error}", disk.part(number)))?;
        }
        Ok(disk)
    }

    fn part(&self, number: &str) -> String {
        format!("{}p{number}", self.0)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for number in ["1", "2"] {
            let _ = ask("delpart", &[&self.0, number]);
        }
        ask("losetup", &["-d", &self.0]).unwrap();
    }
}

/// What a program of the system says.
fn ask(program: &str, arguments: &[&str]) -> Result<String, String> {
    let answer = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if answer.status.success() {
        Ok(String::from_utf8(answer.stdout).unwrap().trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&answer.stderr).trim().to_owned())
    }
}

#[test]
fn a_disk_and_a_partition_of_it() {
    let scratch = Scratch::new();
    let image = scratch.dense("image", 4 << 20);
    let disk = match Disk::on(&image) {
        Ok(disk) => disk,
        Err(why) => return skip("a disk and its partitions", &why),
    };
    let (whole, first, second) = (disk.0.clone(), disk.part("1"), disk.part("2"));
    let check = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(from, to)| pair(from, to)).collect();
        CopyPlan::check(&pairs, &plain().allow_in_place(true)).map(drop)
    };
    let refused = |pairs: &[(&str, &str)]| {
        let error = check(pairs).expect_err("they overlap");
        let is_it = matches!(
            error,
            CopyError::DeviceOverlap { .. } | CopyError::SameFile { .. }
        );
        assert!(is_it, "{pairs:?}: {error}");
    };
    refused(&[(&first, &whole)]);
    refused(&[(&whole, &first)]);
    refused(&[(&first, &first)]);
    // Whoever's source it is.
    let (file, new) = (scratch.dense("file", 4096), scratch.path("new"));
    let (file, new) = (file.to_str().unwrap(), new.to_str().unwrap());
    refused(&[(&first, new), (file, &whole)]);
    refused(&[(file, &first), (&whole, new)]);
    // What has no block in common has none.
    check(&[(&first, &second)]).unwrap();
    check(&[(&first, new), (file, &second)]).unwrap();
    assert_eq!(std::fs::read(&image).unwrap(), pattern(4 << 20, 4 << 20));
    assert_eq!(scratch.names(), ["file", "image"]);
}

#[test]
fn targets_in_place_that_do_not_fit() {
    let scratch = Scratch::new();
    let (source, target) = (scratch.dense("source", 1000), scratch.dense("target", 999));
    let options = plain().in_place(true);
    let error = refused(&scratch, &source, &target, &options);
    assert!(
        matches!(
            error,
            CopyError::TooSmall {
                size: 999,
                needed: 1000,
                ..
            }
        ),
        "{error}"
    );
    let error = refused(&scratch, &source, &scratch.path("missing"), &options);
    assert!(
        matches!(
            error,
            CopyError::Missing {
                side: Side::Target,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_locked_target() {
    let scratch = Scratch::new();
    let (source, target) = (scratch.text("source", "x"), scratch.text("target", "old"));
    let holder = File::options().write(true).open(&target).unwrap();
    assert!(blockjob::io::lock::try_lock(&holder).unwrap());
    for options in [plain(), plain().in_place(true)] {
        let error = refused(&scratch, &source, &target, &options);
        assert!(matches!(error, CopyError::Locked { .. }), "{error}");
    }
    // Not by closing it: a child that another test starts may have it open until it runs its program.
    blockjob::io::lock::unlock(&holder).unwrap();
    assert!(CopyPlan::check(&[pair(&source, &target)], &plain()).is_ok());
}

#[test]
fn too_little_room_known_beforehand() {
    let Some(disk) = SmallDisk::new(1 << 20) else {
        return skip("a full disk", "mounting needs root");
    };
    let scratch = Scratch::new();
    let source = scratch.dense("source", 3 << 20);
    let error = refused(&scratch, &source, &disk.folder.join("target"), &plain());
    let CopyError::NoRoom {
        needed, available, ..
    } = error
    else {
        panic!("{error}")
    };
    assert!(
        needed >= 3 << 20 && available <= 1 << 20,
        "{needed} {available}"
    );
    // Each would fit, both do not.
    let half = scratch.dense("half", 700 << 10);
    let pairs = ["a", "b"].map(|name| pair(&half, disk.folder.join(name)));
    assert!(CopyPlan::check(&pairs[..1], &plain()).is_ok());
    let error = CopyPlan::check(&pairs, &plain()).unwrap_err();
    assert!(matches!(error, CopyError::NoRoom { .. }), "{error}");
    // Holes need no room, unless they are to be stored.
    let sparse = scratch.sparse("sparse", 8 << 20, &[(0, 4096)]);
    let to = [pair(&sparse, disk.folder.join("c"))];
    if has_holes(scratch.0.path()) {
        assert!(CopyPlan::check(&to, &plain()).is_ok());
    }
    assert!(CopyPlan::check(&to, &plain().sparse(Sparse::Never)).is_err());
    assert!(contents(&disk.folder).is_empty());
}

#[test]
fn mounted_over_targets_and_read_only_file_systems() {
    let Some(disk) = SmallDisk::new(1 << 20) else {
        return skip(
            "mount points and read-only file systems",
            "mounting needs root",
        );
    };
    let scratch = Scratch::new();
    let (source, target) = (scratch.text("source", "x"), scratch.text("target", "old"));
    std::fs::write(disk.folder.join("over"), "mounted").unwrap();
    let mount = |arguments: &[&str]| {
        Command::new("mount")
            .args(arguments)
            .status()
            .is_ok_and(|s| s.success())
    };
    assert!(mount(&[
        "--bind",
        disk.folder.join("over").to_str().unwrap(),
        target.to_str().unwrap()
    ]));
    let answer = CopyPlan::check(&[pair(&source, &target)], &plain());
    assert!(
        Command::new("umount")
            .arg(&target)
            .status()
            .unwrap()
            .success()
    );
    let error = answer.unwrap_err();
    assert!(matches!(error, CopyError::MountPoint { .. }), "{error}");

    assert!(mount(&["-o", "remount,ro", disk.folder.to_str().unwrap()]));
    for name in ["new", "over"] {
        let error = refused(&scratch, &source, &disk.folder.join(name), &plain());
        assert!(matches!(error, CopyError::ReadOnly { .. }), "{error}");
    }
}

#[test]
fn another_users_file_in_a_sticky_folder() {
    if !is_root() {
        return skip("sticky folders", "making another user's file needs root");
    }
    let scratch = Scratch::new();
    let (source, folder) = (scratch.text("source", "x"), scratch.path("sticky"));
    std::fs::create_dir(&folder).unwrap();
    let target = folder.join("target");
    std::fs::write(&target, "old").unwrap();
    std::os::unix::fs::chown(&folder, Some(11111), None).unwrap();
    std::os::unix::fs::chown(&target, Some(22222), None).unwrap();
    std::fs::set_permissions(&folder, Permissions::from_mode(0o1777)).unwrap();
    let error = refused(&scratch, &source, &target, &plain());
    assert!(matches!(error, CopyError::Sticky { .. }), "{error}");
    std::fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    assert!(CopyPlan::check(&[pair(&source, &target)], &plain()).is_ok());
}

#[test]
fn pairs_that_get_in_each_others_way() {
    let scratch = Scratch::new();
    let (a, b) = (scratch.text("a", "A"), scratch.text("b", "B"));
    symlink("b", scratch.path("to-b")).unwrap();
    symlink(".", scratch.path("here")).unwrap();
    for (one, other) in [
        ("new", "new"),
        ("b", "to-b"),
        ("new", "here/new"),
        ("b", "here/b"),
    ] {
        let pairs = [
            pair(&a, scratch.path(one)),
            pair(scratch.text("c", "C"), scratch.path(other)),
        ];
        let error = CopyPlan::check(&pairs, &plain()).unwrap_err();
        assert!(
            matches!(error, CopyError::TargetTwice { .. }),
            "{one} {other}: {error}"
        );
    }
    let in_place = plain().in_place(true);
    let both = [pair(&a, &b), pair(&b, scratch.text("d", "D"))];
    let error = CopyPlan::check(&both, &in_place).unwrap_err();
    assert!(matches!(error, CopyError::InPlaceInGroup { .. }), "{error}");
    let error = CopyPlan::check(&both, &in_place.allow_in_place(true)).unwrap_err();
    assert!(matches!(error, CopyError::SourceIsTarget { .. }), "{error}");
    assert!(matches!(
        CopyPlan::check(&[], &plain()).unwrap_err(),
        CopyError::NoPairs
    ));
}

#[test]
fn options_out_of_range() {
    let scratch = Scratch::new();
    let (source, target) = (scratch.text("source", "x"), scratch.path("target"));
    let bad = [
        plain().workers(0),
        plain().workers(65),
        plain().chunk_bytes(0),
        plain().chunk_bytes(4095),
        plain().chunk_bytes(usize::MAX),
    ];
    for options in bad {
        let error = refused(&scratch, &source, &target, &options);
        assert!(matches!(error, CopyError::Option { .. }), "{error}");
    }
}

/// The one test of the child ran, and passed: a misspelt name would run none.
fn assert_child_passed(output: &std::process::Output) {
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{complained}"
    );
}

#[test]
fn a_file_larger_than_the_process_may_write() {
    // The limit holds for a process, so another one of this test binary gets it.
    let child = |test: &str, limit: &str| {
        Command::new("sh")
            .args([
                "-c",
                &format!("ulimit -f {limit}; exec \"$0\" --exact {test} --ignored --nocapture"),
            ])
            .arg(std::env::current_exe().unwrap())
            .output()
            .unwrap()
    };
    assert_child_passed(&child("child_with_a_file_size_limit", "100"));
}

#[test]
#[ignore = "run by the test above, in a process with a limit"]
fn child_with_a_file_size_limit() {
    let limit = blockjob::io::process::file_size_limit()
        .unwrap()
        .expect("started with a limit");
    let scratch = Scratch::new();
    let source = scratch.path("source");
    symlink(std::env::current_exe().unwrap(), &source).unwrap();
    let error = CopyPlan::check(&[pair(&source, scratch.path("target"))], &plain()).unwrap_err();
    assert!(
        matches!(error, CopyError::TooLarge { limit: Some(said), .. } if said == limit),
        "{error}"
    );
    assert_eq!(scratch.names(), ["source"]);
}

/// Names the folder with a file whose owner the unprivileged child cannot keep.
const FOREIGN: &str = "BLOCKJOB_TEST_FOREIGN";

#[test]
fn what_only_the_unprivileged_meet() {
    if !is_root() {
        return unprivileged(&Scratch::new());
    }
    // The test binary may lie where nobody else can go: the child runs a copy of it.
    let scratch = Scratch::new();
    std::fs::set_permissions(scratch.0.path(), Permissions::from_mode(0o755)).unwrap();
    let binary = scratch.path("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    // A file the child may write and whose folder is its own, but whose owner it cannot give to another file.
    let foreign = scratch.path("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("target"), "old").unwrap();
    std::fs::set_permissions(foreign.join("target"), Permissions::from_mode(0o666)).unwrap();
    std::os::unix::fs::chown(&foreign, Some(65534), None).unwrap();
    let child = Command::new("setpriv")
        .env(FOREIGN, &foreign)
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&binary)
        .args([
            "--exact",
            "child_without_privileges",
            "--ignored",
            "--nocapture",
        ])
        .output();
    match child {
        Ok(output) => assert_child_passed(&output),
        Err(error) => skip(
            "what only the unprivileged meet",
            &format!("setpriv: {error}"),
        ),
    }
}

#[test]
#[ignore = "run by the test above, as an unprivileged user"]
fn child_without_privileges() {
    assert!(!is_root());
    let scratch = Scratch::new();
    unprivileged(&scratch);
    let target = Path::new(&std::env::var_os(FOREIGN).expect("set by the parent")).join("target");
    let plan = CopyPlan::check(&[pair(scratch.text("source", "x"), target)], &plain()).unwrap();
    let error = plan.drivers().unwrap_err();
    assert!(matches!(error, CopyError::Metadata { .. }), "{error}");
    assert!(error.to_string().contains("the owner of target"), "{error}");
}

fn unprivileged(scratch: &Scratch) {
    let (source, target) = (scratch.text("source", "x"), scratch.path("target"));
    let secret = scratch.text("secret", "x");
    std::fs::set_permissions(&secret, Permissions::from_mode(0o200)).unwrap();
    let error = CopyPlan::check(&[pair(&secret, &target)], &plain()).unwrap_err();
    assert!(error.to_string().contains("Permission denied"), "{error}");
    // A folder nothing can be made in.
    let folder = scratch.path("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
    let error = CopyPlan::check(&[pair(&source, folder.join("target"))], &plain()).unwrap_err();
    assert!(matches!(error, CopyError::ReadOnly { .. }), "{error}");
    std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    // Somebody else's file.
    let error = CopyPlan::check(&[pair(&source, "/etc/passwd")], &plain()).unwrap_err();
    assert!(matches!(error, CopyError::ReadOnly { .. }), "{error}");
    std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
}
