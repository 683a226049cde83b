//! Goal: a compressed trace is judged as what is in it, and one that was cut as one that was cut.
//!
//! Method: recordings are packed by gzip and by Zstandard and must be judged the same, from files, folders
//! and standard input; then cut anywhere. A file that would unpack to far more than the command may
//! hold is read by a command that may not hold it.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use blockjob::oracle::{self, Options, Outcome, Verdict};
use cli_support::{Ran, blockjob, run};
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

fn traces(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(folder);
    oracle::traces_in(&folder).unwrap().0
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    compress_to_vec(text, CompressionLevel::Fastest)
}

type Packer = fn(&[u8]) -> Vec<u8>;

const PACKERS: [(&str, Packer); 2] = [("gz", gzip), ("zst", zstd)];

fn judge(bytes: &[u8]) -> Verdict {
    oracle::check_reader("t", bytes, &Options::default())
}

#[test]
fn what_is_packed_is_judged_as_what_is_in_it() {
    for folder in ["live-7.2", "qemu-log", "mutants"] {
        for path in traces(folder) {
            let text = fs::read(&path).unwrap();
            let plain = judge(&text).to_json();
            for (name, pack) in PACKERS {
                assert_eq!(
                    judge(&pack(&text)).to_json(),
                    plain,
                    "{} {name}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn a_packed_trace_may_be_cut_anywhere() {
    let text = fs::read(&traces("live-10.0")[0]).unwrap();
    for (name, pack) in PACKERS {
        let packed = pack(&text);
        for end in 20..packed.len() {
            let verdict = judge(&packed[..end]);
            assert!(
                !matches!(verdict.outcome, Outcome::Reject(_)),
                "{name} {end}: {verdict}"
            );
            let notes = verdict.notes.join("\n");
            assert!(notes.contains("ends too early"), "{name} {end}: {verdict}");
        }
    }
}

#[test]
fn folders_and_standard_input_may_be_packed() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read(&traces("live-10.0")[0]).unwrap();
    let log = fs::read(&traces("qemu-log")[0]).unwrap();
    for (name, bytes) in [
        ("a.jsonl.gz", gzip(&text)),
        ("b.ndjson.zst", zstd(&text)),
        ("c.log", log.clone()),
        ("d.log.zstd", zstd(&log)),
        ("e.trace", log),
        ("f.txt.gz", gzip(&text)),
        ("g.gz", gzip(&text)),
    ] {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let ran = run([Path::new("check"), folder.path()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 5, "{ran:?}");
    ran.says(&["2 other entries", "*.log"]);
    for (_, pack) in PACKERS {
        let output = blockjob()
            .args(["check", "-"])
            .stdin(pack(&text))
            .output()
            .unwrap();
        let ran = Ran::from(output);
        assert!(
            ran.code == 0 && ran.stdout.starts_with("accept - "),
            "{ran:?}"
        );
    }
}

#[test]
fn what_unpacks_to_far_more_than_there_is_memory_is_read_all_the_same() {
    const UNPACKED_BYTES: usize = 400 << 20;
    const MEMORY_KIB: usize = 150 << 10;
    let log = fs::read(&traces("qemu-log")[0]).unwrap();
    let noise = b"qemu_mutex_lock waiting on mutex\n".repeat(1 << 15);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&log).unwrap();
    for _ in 0..UNPACKED_BYTES / noise.len() {
        encoder.write_all(&noise).unwrap();
    }
    let packed = encoder.finish().unwrap();
    assert!(packed.len() < UNPACKED_BYTES / 50);
    let mut command = Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -v {MEMORY_KIB}; exec \"$0\" check -"))
        .arg(snapbox::cmd::cargo_bin!("blockjob"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    command.stdin.take().unwrap().write_all(&packed).unwrap();
    let mut said = String::new();
    command
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(command.wait().unwrap().success(), "{said}");
    assert!(said.starts_with("accept - events="), "{said}");
}
