//! Goal: `blockjob copy` refuses what cannot be done with exit code 2 and a way out, and a refusal changes nothing.
//! Method: run it on scratch files. Every line of bad input has its test.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use cli_support::copying::{copy, refused, scratch};

#[test]
fn a_missing_source_is_refused() {
    let folder = scratch(&[("b", b"old")]);
    refused(
        &folder,
        &["a", "b"],
        &["source a does not exist", "tip: check the path"],
    );
    refused(
        &folder,
        &["--pair", "b", "c", "--pair", "a", "d"],
        &["source a does not exist"],
    );
}

#[test]
fn an_unreadable_source_is_refused() {
    let folder = scratch(&[("a", b"secret")]);
    fs::set_permissions(folder.path().join("a"), fs::Permissions::from_mode(0o0)).unwrap();
    if fs::read(folder.path().join("a")).is_ok() {
        eprintln!("skipped: this user may read everything");
        return;
    }
    refused(
        &folder,
        &["a", "b"],
        &["source a cannot be opened: Permission denied"],
    );
}

#[test]
fn folders_and_other_kinds_are_refused_at_either_end() {
    let folder = scratch(&[("a", b"one")]);
    fs::create_dir(folder.path().join("folder")).unwrap();
    refused(&folder, &["folder", "b"], &["source folder is a directory"]);
    refused(
        &folder,
        &["a", "folder"],
        &["target folder is a directory", "add the file's name"],
    );
    refused(&folder, &["a", "folder/"], &["folder/"]);
    refused(
        &folder,
        &["a", "/dev/null"],
        &["/dev/null", "character device"],
    );
    refused(
        &folder,
        &["/dev/zero", "b"],
        &["/dev/zero", "character device"],
    );
    refused(
        &folder,
        &["a", "nowhere/b"],
        &["folder nowhere", "make the folder first"],
    );
}

#[test]
fn one_file_under_two_names_is_refused() {
    let folder = scratch(&[("a", b"one")]);
    symlink("a", folder.path().join("link")).unwrap();
    fs::hard_link(folder.path().join("a"), folder.path().join("hard")).unwrap();
    for target in ["a", "./a", "link", "hard"] {
        refused(&folder, &["a", target], &["are the same file"]);
    }
    refused(&folder, &["link", "a"], &["are the same file"]);
    refused(
        &folder,
        &["--in-place", "a", "hard"],
        &["are the same file"],
    );
}

#[test]
fn links_that_cannot_be_kept_are_refused() {
    let folder = scratch(&[("a", b"one"), ("b", b"two")]);
    symlink("gone", folder.path().join("dangling")).unwrap();
    fs::hard_link(folder.path().join("b"), folder.path().join("b2")).unwrap();
    refused(&folder, &["a", "dangling"], &["symbolic link to gone"]);
    refused(&folder, &["a", "b"], &["2 names", "--in-place"]);
}

#[test]
fn two_pairs_with_one_target_are_refused() {
    let folder = scratch(&[("a", b"one"), ("b", b"two")]);
    refused(
        &folder,
        &["--pair", "a", "c", "--pair", "b", "./c"],
        &["more than one pair"],
    );
}

#[test]
fn a_copy_in_place_needs_a_target_that_is_large_enough() {
    let folder = scratch(&[("a", b"one"), ("small", b"12")]);
    refused(
        &folder,
        &["--in-place", "a", "small"],
        &["target small is too small: 2 bytes, the source has 3"],
    );
    refused(
        &folder,
        &["--in-place", "a", "b"],
        &["target b does not exist", "without --in-place"],
    );
    refused(
        &folder,
        &["--in-place", "--pair", "a", "a", "--pair", "a", "b"],
        &["the same file"],
    );
}

#[test]
fn pairs_written_in_place_need_leave_to_be_among_several() {
    let folder = scratch(&[("a", b"one"), ("b", b"two"), ("c", b"three")]);
    // What a copy in place does not reach stays.
    let pairs = ["--in-place", "--pair", "a", "b", "--pair", "a", "c"];
    refused(
        &folder,
        &pairs,
        &["outside the group's promise", "--allow-in-place"],
    );
    let ran = copy(&folder, &[&pairs[..], &["--allow-in-place"]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"one");
    assert_eq!(fs::read(folder.path().join("c")).unwrap(), b"oneee");
}

#[test]
fn a_read_only_target_folder_is_refused() {
    let folder = scratch(&[("a", b"one")]);
    let sealed = folder.path().join("sealed");
    fs::create_dir(&sealed).unwrap();
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(sealed.join("probe"), "").is_ok() {
        eprintln!("skipped: this user may write everywhere");
        return;
    }
    refused(
        &folder,
        &["a", "sealed/b"],
        &["sealed/b", "Permission denied"],
    );
}

#[test]
fn numbers_out_of_range_are_usage_errors() {
    let folder = scratch(&[("a", b"one")]);
    refused(
        &folder,
        &["--chunk", "-4K", "a", "b"],
        &["--chunk", "cannot be negative"],
    );
    refused(
        &folder,
        &["--chunk", "0", "a", "b"],
        &["--chunk", "at least one byte"],
    );
    refused(
        &folder,
        &["--chunk", "1000", "a", "b"],
        &["chunk 1000", "multiple of 4096"],
    );
    refused(
        &folder,
        &["--chunk", "1T", "a", "b"],
        &["chunk", "at most 64 MiB"],
    );
    refused(
        &folder,
        &["--speed", "-1", "a", "b"],
        &["--speed", "cannot be negative"],
    );
    refused(
        &folder,
        &["--speed", "fast", "a", "b"],
        &["--speed", "powers of 1024"],
    );
    refused(
        &folder,
        &["--workers", "-2", "a", "b"],
        &["--workers", "1 to 64"],
    );
    refused(
        &folder,
        &["--workers", "65", "a", "b"],
        &["--workers", "1 to 64"],
    );
}

#[test]
fn what_to_copy_has_to_be_said_once() {
    let folder = scratch(&[("a", b"one")]);
    refused(&folder, &[], &["Usage: blockjob copy"]);
    refused(&folder, &["a"], &["TARGET"]);
    refused(
        &folder,
        &["a", "b", "--pair", "a", "c"],
        &["cannot be used with"],
    );
    refused(&folder, &["--pair", "a"], &["--pair"]);
    refused(&folder, &["-", "b"], &["standard input", "./-"]);
}

#[test]
fn a_broken_group_file_is_refused_with_its_line() {
    let folder = scratch(&[
        ("a", b"one"),
        ("empty", b"\n\n"),
        (
            "broken",
            b"{\"source\":\"a\",\"target\":\"c\"}\n{\"source\":\"a\"}\n",
        ),
        ("extra", b"{\"source\":\"a\",\"target\":\"c\",\"sped\":1}\n"),
        ("binary", b"\xff\xfe\n"),
    ]);
    refused(&folder, &["--group", "empty"], &["empty names no pair"]);
    refused(
        &folder,
        &["--group", "broken"],
        &["broken:2: ", "missing field `target`"],
    );
    refused(
        &folder,
        &["--group", "extra"],
        &["extra:1: ", "unknown field `sped`"],
    );
    refused(
        &folder,
        &["--group", "binary"],
        &["cannot read the group file binary"],
    );
    refused(
        &folder,
        &["--group", "missing"],
        &["group file missing: No such file"],
    );
    refused(
        &folder,
        &["--group", "."],
        &["group file .: Is a directory"],
    );
}

#[test]
fn a_trace_never_overwrites_what_is_copied() {
    let folder = scratch(&[("a", b"one"), ("b", b"two")]);
    symlink("a", folder.path().join("link")).unwrap();
    for trace in ["a", "b", "./b", "link"] {
        refused(
            &folder,
            &["--trace", trace, "a", "b"],
            &["is one of the files to copy"],
        );
    }
    refused(
        &folder,
        &["--trace", "./new", "a", "new"],
        &["is one of the files to copy"],
    );
    refused(
        &folder,
        &["--trace", "nowhere/t", "a", "b"],
        &["cannot create the trace nowhere/t: No such file"],
    );
}

#[test]
fn who_ignores_or_stops_at_errors_has_to_say_where_to() {
    let folder = scratch(&[("a", b"abc"), ("text", b"dear")]);
    refused(
        &folder,
        &["--on-source-error", "ignore", "a", "b"],
        &["--bad-map FILE"],
    );
    refused(
        &folder,
        &["--on-source-error", "ignore", "--bad-map", "text", "a", "b"],
        &["text", "no map"],
    );
    for policy in ["stop", "enospc", "auto"] {
        refused(
            &folder,
            &["--on-target-error", policy, "a", "b"],
            &["no terminal", "report or ignore"],
        );
    }
    refused(
        &folder,
        &["--technique", "clone", "--checksum", "a", "b"],
        &["exclude each other"],
    );
    refused(
        &folder,
        &["--technique", "clone", "--direct", "a", "b"],
        &["cannot be used with"],
    );
}
