//! `cargo xtask setup`: installs, on Debian, what parts of the tests and the benchmarks need and otherwise skip. The
//! only chore that installs anything, and only when it is called by name.

use std::process::{Command, ExitCode};

use crate::steps::{Steps, program};

/// A program, the package of Debian that brings it, and what for.
const PROGRAMS: [(&str, &str, &str); 13] = [
    ("qemu-img", "qemu-utils", "a peer of the copy"),
    // From Debian 13 on the package above has it.
    (
        "qemu-storage-daemon",
        "qemu-system-common",
        "the live tests drive it",
    ),
    (
        "ddrescue",
        "gddrescue",
        "a peer; its ddrescuelog reads bad maps",
    ),
    ("nbdcopy", "libnbd-bin", "a peer"),
    ("nbdkit", "nbdkit", "what nbdcopy can talk to"),
    ("rsync", "rsync", "a peer"),
    (
        "losetup",
        "mount",
        "tests of block devices and small file systems",
    ),
    ("fincore", "util-linux", "tests of the page cache"),
    (
        "mkfs.btrfs",
        "btrfs-progs",
        "a file system that shares blocks",
    ),
    ("mkfs.xfs", "xfsprogs", "another one"),
    (
        "chromium",
        "chromium",
        "the pages, as whoever reads them has them",
    ),
    ("python3", "python3-venv", "clients of QMP, and an adapter"),
    ("socat", "socat", "a client of QMP"),
];

/// Installs what is not there.
pub fn run() -> ExitCode {
    let mut steps = Steps::new("xtask setup");
    if program("apt-get").is_none() {
        steps.skip(
            "packages",
            "no apt-get on the search path: this is for Debian",
        );
        return steps.finish();
    }
    let mut updated = false;
    for (name, package, why) in PROGRAMS {
        if program(name).is_some() {
            println!("{name:<20} is there ({package}): {why}");
            continue;
        }
        println!("{name:<20} is missing ({package}): {why}");
        if !updated {
            steps.run("lists", &mut apt(&["update"]));
            updated = true;
        }
        // Each by itself: one that cannot be had keeps no other away.
        let install = ["install", "--yes", "--no-install-recommends", package];
        steps.run(package, &mut apt(&install));
    }
    steps.finish()
}

/// As root, or through sudo.
fn apt(arguments: &[&str]) -> Command {
    let root = Command::new("id").arg("-u").output();
    let root = root.is_ok_and(|output| output.stdout == b"0\n");
    let mut command = if root {
        Command::new("apt-get")
    } else {
        let mut command = Command::new("sudo");
        command.arg("apt-get");
        command
    };
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(arguments);
    command
}
