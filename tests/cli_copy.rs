//! Goal: `blockjob copy` as a user meets it: what it says, its exit codes, and that a refused,
//! failed or cancelled copy changes nothing and leaves nothing behind.
//! Method: run it on scratch files. Every line of bad input has its test.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cli_support::{Ran, assert_valid, blockjob, schema};
use tempfile::TempDir;

/// A scratch folder with files of the given contents.
fn scratch(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        fs::write(folder.path().join(name), contents).unwrap();
    }
    folder
}

/// Runs `copy` inside `folder`.
fn copy(folder: &TempDir, arguments: &[&str]) -> Ran {
    let output = blockjob()
        .current_dir(folder)
        .arg("copy")
        .args(arguments)
        .output()
        .unwrap();
    Ran::from(output)
}

/// Everything in `folder`, by name, with contents.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap_or_default())
        })
        .collect();
    all.sort();
    all
}

/// `copy` with `arguments` is refused for `words`, and nothing in the folder changes.
#[track_caller]
fn refused(folder: &TempDir, arguments: &[&str], words: &[&str]) {
    let before = contents(folder.path());
    copy(folder, arguments).refused(words);
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn one_pair_is_copied_and_said_so() {
    let folder = scratch(&[("a", &vec![7; 100_001])]);
    let ran = copy(&folder, &["a", "b"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(
        ran.stdout.starts_with("copied     a -> b: 97.7 KiB in "),
        "{ran:?}"
    );
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), vec![7; 100_001]);
    assert_eq!(contents(folder.path()).len(), 2);
}

#[test]
fn several_pairs_come_from_the_line_or_from_a_file_or_from_standard_input() {
    let folder = scratch(&[
        ("a", b"one"),
        ("b", b""),
        (
            "group",
            b"{\"source\":\"a\",\"target\":\"e\"}\n\n{\"source\":\"b\",\"target\":\"f\"}",
        ),
    ]);
    let ran = copy(&folder, &["--pair", "a", "c", "--pair", "b", "d"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("2 pairs, 3 bytes"), "{ran:?}");
    let ran = copy(&folder, &["--group", "group"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let output = blockjob()
        .current_dir(&folder)
        .args(["copy", "--group", "-"])
        .stdin("{\"source\": \"a\", \"target\": \"g\"}\n")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    for (name, text) in [
        ("c", "one"),
        ("d", ""),
        ("e", "one"),
        ("f", ""),
        ("g", "one"),
    ] {
        assert_eq!(
            fs::read_to_string(folder.path().join(name)).unwrap(),
            text,
            "{name}"
        );
    }
}

#[test]
fn machine_output_is_what_its_schema_says() {
    let folder = scratch(&[("a", b"one"), ("b", b"two")]);
    let schema = schema("copy");
    for (arguments, code) in [
        (&["--json", "--dry-run", "a", "c"][..], 0),
        (&["--json", "--pair", "a", "c", "--pair", "b", "d"], 0),
        (&["--json", "a", "b"], 0),
    ] {
        let ran = copy(&folder, arguments);
        assert_eq!(ran.code, code, "{ran:?}");
        let lines = ran.json();
        assert!(!lines.is_empty());
        for line in lines {
            assert_valid(&schema, &line);
        }
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let folder = scratch(&[("a", b"one"), ("b", b"two")]);
    let before = contents(folder.path());
    let ran = copy(
        &folder,
        &["--dry-run", "--pair", "a", "b", "--pair", "a", "c"],
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.contains("would replace b from a (3 bytes)"),
        "{ran:?}"
    );
    assert!(
        ran.stdout.contains("would create c from a (3 bytes)"),
        "{ran:?}"
    );
    assert_eq!(contents(folder.path()), before);
}

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

/// Whether a temporary file in `folder` has contents.
fn writes_something(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let entry = entry.unwrap();
        let temporary = entry.file_name().to_string_lossy().contains(".blockjob-");
        temporary && entry.metadata().is_ok_and(|metadata| metadata.blocks() > 0)
    })
}

/// Starts a copy of `a` to `b` at `speed` and waits until its job runs.
fn slow_copy(folder: &TempDir, speed: &str) -> Child {
    // Whoever runs the tests may have them ignore some signals.
    let mut child = Command::new("env")
        .arg("--default-signal=INT,TERM,HUP,USR1")
        .arg(snapbox::cmd::cargo_bin!("blockjob"))
        .current_dir(folder)
        .args(["copy", "--speed", speed, "--chunk", "4K", "a", "b"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once something is written, the job runs and the signals are listened to.
    while !writes_something(folder.path()) {
        let end = child.try_wait().unwrap();
        assert!(end.is_none(), "the copy is slow enough to be met");
        std::thread::yield_now();
    }
    child
}

/// Starts a slow copy, sends `signals` in turn, each once the one before is answered, and waits.
fn interrupted(folder: &TempDir, signals: &[&str]) -> Ran {
    let mut child = slow_copy(folder, "64K");
    let process = child.id().to_string();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut heard = String::new();
    for signal in signals {
        // The shell's own kill: the program is not on every machine.
        let sent = Command::new("sh")
            .args(["-c", "kill \"$0\" \"$1\"", *signal, process.as_str()])
            .status()
            .unwrap();
        assert!(sent.success());
        // Each signal used here is answered with one line.
        stderr.read_line(&mut heard).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    std::io::Read::read_to_string(&mut stderr, &mut heard).unwrap();
    Ran {
        code: output.status.code().expect("it ended by itself"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: heard,
    }
}

#[test]
fn ctrl_c_cancels_and_the_target_is_what_it_was() {
    let folder = scratch(&[("a", &vec![1; 10_000_000]), ("b", b"old")]);
    let before = contents(folder.path());
    let ran = interrupted(&folder, &["-INT"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.says(&["cancelling", "cancelled; every target is what it was"]);
    assert!(
        ran.stdout
            .contains("cancelled  a -> b: the target is what it was"),
        "{ran:?}"
    );
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_terminal_that_goes_away_cancels_too() {
    let folder = scratch(&[("a", &vec![1; 10_000_000]), ("b", b"old")]);
    let before = contents(folder.path());
    let ran = interrupted(&folder, &["-HUP"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn what_a_killed_copy_left_is_removed_by_the_next_which_says_so() {
    let folder = scratch(&[("a", &vec![7; 100_000]), ("b", b"old")]);
    let mut child = slow_copy(&folder, "64K");
    // While it lives its file is left alone, also by a copy to the same target that gets there first.
    assert_eq!(copy(&folder, &["a", "b"]).code, 0);
    assert!(writes_something(folder.path()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        writes_something(folder.path()),
        "a killed process cleans nothing"
    );
    assert_eq!(copy(&folder, &["--dry-run", "a", "b"]).code, 0);
    assert!(writes_something(folder.path()), "a dry run changes nothing");
    let ran = copy(&folder, &["--json", "a", "b"]);
    let copies = schema("copy");
    let lines = ran.json();
    for line in &lines {
        assert_valid(&copies, line);
    }
    assert_eq!(
        lines[0]["removed_leftovers"].as_array().map(Vec::len),
        Some(1)
    );
    ran.says(&[
        "note: removed ",
        ".b.blockjob-",
        "which a copy that died had left",
    ]);
    assert_eq!(contents(folder.path()).len(), 2);
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

#[test]
fn a_name_neither_forges_a_line_nor_commands_the_terminal() {
    let forged = "x\ncopied     \u{1b}[31my";
    let folder = scratch(&[(forged, b"new")]);
    let ran = copy(&folder, &[forged, "b"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
    assert!(
        ran.stdout
            .starts_with("copied     x\\ncopied     \\u{1b}[31my -> b: "),
        "{ran:?}"
    );
    let plan = copy(&folder, &["--dry-run", forged, "c"]);
    assert_eq!(plan.stdout.lines().count(), 1, "{plan:?}");
    let refusal = copy(&folder, &["no\u{1b}[31m", "c"]);
    refusal.refused(&["no\\u{1b}[31m does not exist"]);
    // Machines get the name itself.
    let ran = copy(&folder, &["--json", forged, "b"]);
    assert_eq!(ran.json()[0]["source"], forged);
}

#[test]
fn sigusr1_prints_the_state_and_changes_nothing() {
    let folder = scratch(&[("a", &vec![1; 10_000_000]), ("b", b"old")]);
    let ran = interrupted(&folder, &["-USR1", "-TERM"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.says(&["copy0: running, ", "64.0 KiB/s"]);
}

#[test]
fn a_source_that_shrinks_meanwhile_fails_the_copy() {
    let folder = scratch(&[("a", &vec![1; 1_000_000]), ("b", b"old")]);
    let child = slow_copy(&folder, "512K");
    let source = fs::File::options()
        .write(true)
        .open(folder.path().join("a"))
        .unwrap();
    source.set_len(4096).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.says(&["error: copying a to b: ", "source a"]);
    assert!(
        ran.stdout
            .contains("failed     a -> b: the target is what it was"),
        "{ran:?}"
    );
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"old");
    assert_eq!(contents(folder.path()).len(), 2);
}

#[test]
fn the_trace_of_a_copy_is_what_its_schema_says() {
    let folder = scratch(&[("a", &vec![1; 300_000]), ("b", b"")]);
    let pairs = ["--pair", "a", "c", "--pair", "b", "d"];
    let ran = copy(&folder, &[&["--trace", "trace"][..], &pairs].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let schema = schema("native");
    let text = fs::read_to_string(folder.path().join("trace")).unwrap();
    let mut kinds = Vec::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_valid(&schema, &line);
        kinds.extend(line["kind"].as_str().map(str::to_owned));
    }
    for kind in ["call", "return", "status", "event", "callback", "io"] {
        assert!(kinds.iter().any(|have| have == kind), "no {kind}");
    }
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
fn a_trace_that_cannot_be_written_is_an_error_though_the_copy_stands() {
    let folder = scratch(&[("a", b"one")]);
    let ran = copy(&folder, &["--trace", "/dev/full", "a", "b"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    ran.says(&["cannot write the trace /dev/full: No space left"]);
    assert!(ran.stdout.starts_with("copied "), "{ran:?}");
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"one");
}

#[test]
fn a_digest_and_how_it_was_copied_are_said() {
    let folder = scratch(&[("a", b"abc")]);
    let ran = copy(&folder, &["--checksum", "--verify", "-v", "a", "b"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let digest = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
    assert!(ran.stdout.contains(&format!("{digest}  b\n")), "{ran:?}");
    let how = "by buffered: 3 bytes moved; data and name are on the disk; read back and compared";
    assert!(ran.stdout.contains(how), "{ran:?}");
    let ran = copy(&folder, &["--dry-run", "-v", "a", "c"]);
    assert!(ran.stdout.contains("by clone, else buffered;"), "{ran:?}");
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
