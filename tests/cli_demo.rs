//! Goal: `blockjob demo` shows what it says it shows, and leaves nothing but its trace and a page.
//! Method: run it with a folder for temporary files of its own; judge its trace again.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs;

use cli_support::{Ran, blockjob, run};

#[test]
fn the_demonstration_tells_its_stories_and_leaves_its_trace_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let output = blockjob()
        .arg("demo")
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let ran = Ran::from(output);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    for words in [
        "\ncopied    a group of 4 files",
        "pause 2: every job at rest after",
        "0 bytes moved",
        "\ncancelled a group of 4 files",
        "\nfailed    a group of 4 files, rolled back: 4 of 4 targets",
        "while it was copied",
        "\njudged    the oracle accepts",
        "\nexplored  ",
        "\ndone in ",
    ] {
        assert!(ran.stdout.contains(words), "no {words:?} in {}", ran.stdout);
    }
    let trace = ran
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("trace     "))
        .unwrap();
    let parent = std::path::Path::new(trace).parent().unwrap();
    assert_eq!(fs::read_dir(parent).unwrap().count(), 2);
    let mut lines = ran.stdout.lines();
    let report = lines.find_map(|line| line.strip_prefix("report    "));
    let page = fs::read_to_string(report.unwrap()).unwrap();
    assert!(page.contains("<strong>accepted</strong>"), "{page}");
    assert!(page.contains("copied-0"), "its jobs have lanes");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let ran = run(["check", trace]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn without_room_for_scratch_files_it_says_what_it_needs() {
    let output = blockjob()
        .arg("demo")
        .env("TMPDIR", "/nowhere/at/all")
        .output()
        .unwrap();
    Ran::from(output).refused(&["No such file", "TMPDIR"]);
}
