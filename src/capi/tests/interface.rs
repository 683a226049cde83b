//! Goal: the C interface is what its header says, to C: it judges as the command does, lends text that lasts, takes
//! NULL, NUL and bytes that are no text, and leaks nothing.
//!
//! Method: the example is compiled by the system's C compiler against both libraries and run on recordings of the
//! corpus; the functions are called with everything they must refuse; the header is made anew and compared. Where there
//! is no C compiler or no valgrind, the test says so and passes.
#![allow(clippy::unwrap_used)]

use std::ffi::{CStr, c_char};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::ptr;

use blockjob_oracle::{
    BlockjobOracle, BlockjobVerdict, blockjob_oracle_explanation, blockjob_oracle_feed,
    blockjob_oracle_finish, blockjob_oracle_free, blockjob_oracle_json, blockjob_oracle_line,
    blockjob_oracle_new,
};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn corpus(path: &str) -> PathBuf {
    here("../../tests/corpus").join(path)
}

/// Where the libraries of this test run are.
fn libraries() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().to_owned()
}

fn there(tool: &str) -> bool {
    let there = Command::new(tool).arg("--version").output().is_ok();
    if !there {
        eprintln!("SKIPPED: there is no {tool}, so the C interface is not tested with it");
    }
    there
}

/// The example, linked so; nothing where there is no C compiler.
fn built(folder: &Path, link: &[&str]) -> Option<PathBuf> {
    if !there("cc") {
        return None;
    }
    let program = folder.join("judge");
    let library = libraries();
    let output = Command::new("cc")
        .args([
            "-std=c11",
            "-D_GNU_SOURCE",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-g",
        ])
        .arg(here("example/judge.c"))
        .arg("-I")
        .arg(here("include"))
        .arg("-o")
        .arg(&program)
        .args(
            link.iter()
                .map(|part| part.replace("LIB", library.to_str().unwrap())),
        )
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some(program)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn judge(command: &mut Command, trace: &Path) -> Output {
    command
        .stdin(File::open(trace).unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap()
}

/// A library, and how to link it.
const STATIC: &[&str] = &[
    "LIB/libblockjob_oracle.a",
    "-lpthread",
    "-ldl",
    "-lm",
    "-lgcc_s",
];
const DYNAMIC: &[&str] = &["-LLIB", "-lblockjob_oracle", "-Wl,-rpath,LIB"];

#[test]
fn the_example_judges_as_the_command_does_with_either_library() {
    for link in [STATIC, DYNAMIC] {
        let folder = tempfile::tempdir().unwrap();
        let Some(program) = built(folder.path(), link) else {
            return;
        };
        let accepted = judge(
            &mut Command::new(&program),
            &corpus("live-10.0/backup-default.jsonl"),
        );
        let said = text(&accepted.stdout);
        assert_eq!(accepted.status.code(), Some(0), "{said}");
        assert!(
            said.starts_with("accept trace events=17 jobs=1 profile=qemu-10.0\n"),
            "{said}"
        );
        assert!(said.ends_with("\nline 0\n"), "{said}");

        let mutant = corpus("mutants/aborting-to-pending.jsonl");
        let rejected = judge(Command::new(&program).arg("qemu-10.0"), &mutant);
        let said = text(&rejected.stdout);
        assert_eq!(rejected.status.code(), Some(1), "{said}");
        assert!(
            said.starts_with("reject trace:22 rule=status-transition"),
            "{said}"
        );
        assert!(said.contains("allowed: "), "{said}");
        assert!(said.contains("\"line\":22"), "{said}");
        assert!(said.ends_with("\nline 22\n"), "{said}");

        let none = judge(&mut Command::new(&program), Path::new("/dev/null"));
        assert_eq!(none.status.code(), Some(2), "{none:?}");
        let unknown = judge(
            Command::new(&program).arg("qemu-1.0"),
            Path::new("/dev/null"),
        );
        assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
        assert_eq!(text(&unknown.stderr), "no such profile\n");
    }
}

#[test]
fn valgrind_finds_nothing() {
    if !there("valgrind") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = built(folder.path(), DYNAMIC) else {
        return;
    };
    for (trace, code) in [
        ("live-10.0/backup-default.jsonl", 0),
        ("mutants/aborting-to-pending.jsonl", 1),
    ] {
        let mut valgrind = Command::new("valgrind");
        valgrind
            .args(["--quiet", "--error-exitcode=9", "--leak-check=full"])
            .args(["--errors-for-leak-kinds=definite,indirect"])
            .arg(&program);
        let output = judge(&mut valgrind, &corpus(trace));
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    }
}

#[test]
fn the_header_is_current() {
    let config = cbindgen::Config::from_file(here("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new()
        .with_src(here("src/lib.rs"))
        .with_config(config)
        .generate()
        .unwrap();
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let header = here("include/blockjob_oracle.h");
    if std::env::var_os("BLOCKJOB_HEADER").is_some_and(|how| how == "write") {
        fs::write(&header, &made).unwrap();
    }
    assert!(
        fs::read_to_string(&header).unwrap_or_default() == made,
        "include/blockjob_oracle.h is not current: BLOCKJOB_HEADER=write cargo test -p blockjob-oracle makes it anew"
    );
}

/// An oracle, freed at the end.
struct Held(*mut BlockjobOracle);

impl Held {
    fn new(profile: Option<&CStr>) -> Held {
        let profile = profile.map_or(ptr::null(), CStr::as_ptr);
        // SAFETY: NULL, or text that ends with NUL.
        Held(unsafe { blockjob_oracle_new(profile) })
    }

    fn feed(&self, line: &[u8]) -> BlockjobVerdict {
        // SAFETY: the oracle is alive, and the slice is so long.
        unsafe { blockjob_oracle_feed(self.0, line.as_ptr().cast(), line.len()) }
    }

    fn finish(&self) -> BlockjobVerdict {
        // SAFETY: the oracle is alive.
        unsafe { blockjob_oracle_finish(self.0) }
    }

    fn lent(&self) -> Option<(String, String)> {
        // SAFETY: the oracle is alive.
        let explanation = unsafe { blockjob_oracle_explanation(self.0) };
        // SAFETY: the oracle is alive.
        let json = unsafe { blockjob_oracle_json(self.0) };
        let read = |text: *const c_char| {
            // SAFETY: it ends with NUL and lives as long as the oracle.
            unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned()
        };
        (!explanation.is_null() && !json.is_null()).then(|| (read(explanation), read(json)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: it is not used again.
        unsafe { blockjob_oracle_free(self.0) };
    }
}

#[test]
fn null_is_refused_everywhere() {
    let nobody = ptr::null_mut();
    let read = c"x".as_ptr();
    // SAFETY: NULL is allowed.
    let fed = unsafe { blockjob_oracle_feed(nobody, read, 1) };
    assert_eq!(fed, BlockjobVerdict::Misuse);
    // SAFETY: NULL is allowed.
    let finished = unsafe { blockjob_oracle_finish(nobody) };
    assert_eq!(finished, BlockjobVerdict::Misuse);
    // SAFETY: NULL is allowed.
    assert!(unsafe { blockjob_oracle_explanation(nobody) }.is_null());
    // SAFETY: NULL is allowed.
    assert!(unsafe { blockjob_oracle_json(nobody) }.is_null());
    // SAFETY: NULL is allowed.
    assert_eq!(unsafe { blockjob_oracle_line(nobody) }, 0);
    // SAFETY: NULL is allowed.
    unsafe { blockjob_oracle_free(nobody) };
    let oracle = Held::new(None);
    // SAFETY: NULL is allowed.
    let fed = unsafe { blockjob_oracle_feed(oracle.0, ptr::null(), 7) };
    assert_eq!(fed, BlockjobVerdict::Misuse);
    // SAFETY: what is of no length is not read.
    let fed = unsafe { blockjob_oracle_feed(oracle.0, ptr::null(), 0) };
    assert_eq!(fed, BlockjobVerdict::Open);
}

#[test]
fn a_profile_that_does_not_exist_makes_no_oracle() {
    assert!(Held::new(Some(c"qemu-1.0")).0.is_null());
    assert!(Held::new(Some(c"\xff\xfe")).0.is_null());
    assert!(!Held::new(Some(c"reference")).0.is_null());
    assert!(!Held::new(Some(c"auto")).0.is_null());
}

#[test]
fn any_bytes_are_judged_and_none_of_them_is_a_crash() {
    let deep = vec![b'['; 100_000];
    let lines: [&[u8]; 6] = [
        b"\xff\xfe\xfd",
        b"\0\0\0",
        b"{\"t\":0,\"dir\":\"<\",\"msg\":\xff}",
        &deep,
        b"\n\n\n",
        b"hello",
    ];
    for line in lines {
        let oracle = Held::new(None);
        oracle.feed(line);
        let verdict = oracle.finish();
        assert_eq!(
            verdict,
            BlockjobVerdict::Error,
            "{:?}",
            text(&line[..line.len().min(20)])
        );
        let (explanation, json) = oracle.lent().unwrap();
        assert!(explanation.starts_with("error trace "), "{explanation}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["verdict"], "error");
        // And nothing changes any more.
        assert_eq!(oracle.feed(b"more"), verdict);
        assert_eq!(oracle.finish(), verdict);
    }
}

#[test]
fn the_verdict_comes_with_the_line_and_what_is_lent_lasts() {
    let trace = fs::read(corpus("mutants/aborting-to-pending.jsonl")).unwrap();
    let oracle = Held::new(None);
    let mut verdicts = trace
        .split(|&byte| byte == b'\n')
        .map(|line| oracle.feed(line));
    let bad = verdicts.position(|verdict| verdict != BlockjobVerdict::Open);
    assert_eq!(bad, Some(21), "the twenty-second line");
    drop(verdicts);
    // SAFETY: the oracle is alive.
    let lent = unsafe { blockjob_oracle_explanation(oracle.0) };
    assert_eq!(oracle.finish(), BlockjobVerdict::Reject);
    // SAFETY: the oracle is alive.
    assert_eq!(lent, unsafe { blockjob_oracle_explanation(oracle.0) });
}

#[test]
fn oracles_of_different_threads_do_not_get_in_each_other_s_way() {
    let trace = fs::read(corpus("live-10.0/backup-default.jsonl")).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let oracle = Held::new(None);
                for line in trace.split(|&byte| byte == b'\n') {
                    assert_eq!(oracle.feed(line), BlockjobVerdict::Open);
                }
                assert_eq!(oracle.finish(), BlockjobVerdict::Accept);
            });
        }
    });
}
