//! Goal: `blockjob copy` under limits of the system — file size, open files, memory — fails or makes do, and leaves nothing
//! behind.
//! Method: run it on scratch files in a shell whose `ulimit` is set.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs;
use std::process::Command;

use cli_support::Ran;
use cli_support::copying::{contents, scratch};

#[test]
fn a_failed_member_rolls_the_group_back() {
    let folder = scratch(&[
        ("a", &[1; 3000]),
        ("b", &vec![2; 300_000]),
        ("c", b"old c"),
        ("d", b"old d"),
    ]);
    let before = contents(folder.path());
    // The limit lets the first target through and stops the second.
    let output = Command::new("sh")
        .current_dir(&folder)
        .args([
            "-c",
            "ulimit -f 100; exec \"$0\" copy --sparse never --json --pair a c --pair b d",
        ])
        .arg(snapbox::cmd::cargo_bin!("blockjob"))
        .output()
        .unwrap();
    let ran = Ran::from(output);
    assert_ne!(ran.code, 0, "{ran:?}");
    ran.says(&["d", "too large"]);
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_group_needs_many_open_files_and_says_so_where_it_cannot_have_them() {
    let folder = scratch(&[("a", b"new")]);
    let lines: Vec<_> = (0..40)
        .map(|number| format!("{{\"source\":\"a\",\"target\":\"t{number}\"}}"))
        .collect();
    fs::write(folder.path().join("pairs"), lines.join("\n")).unwrap();
    let limited = |limit: &str| {
        let output = Command::new("sh")
            .current_dir(&folder)
            .args([
                "-c",
                &format!("ulimit {limit} 32; exec \"$0\" copy --group pairs"),
            ])
            .arg(snapbox::cmd::cargo_bin!("blockjob"))
            .output()
            .unwrap();
        Ran::from(output)
    };
    limited("-n").refused(&["Too many open files", "ulimit -n"]);
    assert_eq!(contents(folder.path()).len(), 2, "nothing is left");
    let ran = limited("-Sn");
    assert_eq!(
        (ran.code, contents(folder.path()).len()),
        (0, 42),
        "{ran:?}"
    );
}

#[test]
fn a_group_of_thousands_needs_few_open_files_and_threads() {
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let folder = root.unwrap();
    let mut lines = Vec::new();
    for number in 0..2000 {
        let text = format!("new {number}");
        fs::write(folder.path().join(format!("s{number}")), text).unwrap();
        if number % 20 == 18 {
            fs::write(folder.path().join(format!("t{number}")), "old").unwrap();
        }
        lines.push(format!(
            "{{\"source\":\"s{number}\",\"target\":\"t{number}\"}}"
        ));
    }
    fs::write(folder.path().join("pairs"), lines.join("\n")).unwrap();
    let run = || {
        let output = Command::new("sh")
            .current_dir(&folder)
            .args(["-c", "ulimit -n 256; exec \"$0\" copy --json --group pairs"])
            .arg(snapbox::cmd::cargo_bin!("blockjob"))
            .output()
            .unwrap();
        Ran::from(output)
    };
    // One that cannot be read takes all back.
    fs::remove_file(folder.path().join("s1999")).unwrap();
    fs::write(folder.path().join("s1999"), "").unwrap();
    fs::remove_file(folder.path().join("t1998")).unwrap();
    fs::create_dir(folder.path().join("t1998")).unwrap();
    let before = contents(folder.path());
    assert_eq!(run().code, 2);
    assert_eq!(contents(folder.path()), before);
    fs::remove_dir(folder.path().join("t1998")).unwrap();
    let ran = run();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let after = contents(folder.path());
    assert_eq!(after.len(), 4001, "nothing is beside them");
    let of = |name: String| {
        after
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, bytes)| bytes)
    };
    for number in 0..2000 {
        assert_eq!(
            of(format!("t{number}")),
            of(format!("s{number}")),
            "{number}"
        );
    }
}

#[test]
fn without_memory_for_a_buffer_the_copy_fails_and_leaves_nothing() {
    let folder = scratch(&[("b", b"old")]);
    let source = fs::File::create(folder.path().join("a")).unwrap();
    source.set_len(128 << 20).unwrap();
    let ran = Ran::from(
        Command::new("sh")
            .current_dir(&folder)
            .args([
                "-c",
                "ulimit -v 65536; exec \"$0\" copy --chunk 64M --workers 1 --sparse never a b",
            ])
            .arg(snapbox::cmd::cargo_bin!("blockjob"))
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.says(&["target b needs a buffer of 67108864 bytes: Cannot allocate memory"]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"old");
}

#[test]
fn a_target_in_place_whose_first_write_failed_halfway_is_not_what_it_was() {
    let folder = scratch(&[("a", &vec![7; 300_000]), ("b", &vec![1; 300_000])]);
    // The limit falls into the first piece: the kernel writes up to it, then refuses.
    let ran = Ran::from(
        Command::new("sh")
            .current_dir(&folder)
            .args([
                "-c",
                "ulimit -f 100; exec \"$0\" copy --in-place --workers 1 a b",
            ])
            .arg(snapbox::cmd::cargo_bin!("blockjob"))
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("part of the target is new"), "{ran:?}");
    assert_eq!(fs::read(folder.path().join("b")).unwrap()[0], 7);
}
