//! Goal: clients that nobody here wrote drive the server without a change.
//!
//! Method: the Python package `qemu.qmp`, which QEMU's own tests use, is installed into a virtual environment in cargo's
//! folder for such, once; its library and its `qmp-shell` then talk to `blockjob serve`. So does `socat`, and a small
//! program over the crate `qapi`, which has a type for each command of QEMU; it is a package of its own, whose test builds
//! it and is run by name (`-- --ignored`), as that takes minutes. Where one of them cannot be had, its test says that it was
//! skipped.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod serve_support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use serve_support::Peer;

/// The version that was tried.
const PACKAGE: &str = "qemu.qmp==0.0.6";

/// The environment's programs; none where there can be none.
fn environment() -> Option<&'static Path> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("qemu-qmp-0.0.6");
        let programs = folder.join("bin");
        // Made last, so what is there is whole.
        if programs.join("qmp-shell").exists() {
            return Some(programs);
        }
        let made = run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder))
        .and_then(|()| {
            run(Command::new(programs.join("pip")).args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                PACKAGE,
            ]))
        });
        if let Err(why) = made {
            eprintln!("SKIPPED: no {PACKAGE} in a virtual environment here: {why}");
            return None;
        }
        Some(programs)
    })
    .as_deref()
}

fn run(command: &mut Command) -> Result<(), String> {
    let ran = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if ran.status.success() {
        Ok(())
    } else {
        Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&ran.stderr)
        ))
    }
}

#[test]
fn the_package_qemu_qmp_drives_jobs() {
    let Some(programs) = environment() else {
        return;
    };
    let mut peer = Peer::serve(&[]);
    peer.image("a", 1 << 20, 1);
    peer.image("b", 1 << 20, 2);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve_support/client.py");
    let ran = Command::new(programs.join("python3"))
        .arg(script)
        .args([&peer.socket(), peer.folder()])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert!(report["package"].as_str().unwrap().starts_with("blockjob "));
    assert_eq!(report["jobs"][0]["status"], "concluded");
    assert_eq!(
        report["refused"],
        json!(["DeviceNotActive", "Block job 'm' not found"])
    );
    assert_eq!(report["commands"], 26);
    let of = |id: &str| -> Vec<&Value> {
        let all = report["statuses"].as_array().unwrap().iter();
        all.filter(|seen| seen[0] == id)
            .map(|seen| &seen[1])
            .collect()
    };
    assert_eq!(
        of("j0"),
        [
            "created",
            "running",
            "waiting",
            "pending",
            "concluded",
            "null"
        ]
    );
    assert_eq!(
        of("m"),
        [
            "created",
            "running",
            "ready",
            "waiting",
            "pending",
            "concluded",
            "null"
        ]
    );
    assert_eq!(peer.contents("a"), peer.contents("b"));
    assert!(peer.wait().0.success());
}

#[test]
fn its_shell_talks_to_the_server() {
    let Some(programs) = environment() else {
        return;
    };
    let mut peer = Peer::serve(&[]);
    let mut shell = Command::new(programs.join("qmp-shell"))
        .arg(peer.socket())
        .env("HOME", peer.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = b"query-jobs\nblock-job-cancel device=x\nquery-version\nquit\n";
    shell.stdin.take().unwrap().write_all(said).unwrap();
    let ran = shell.wait_with_output().unwrap();
    let output = String::from_utf8(ran.stdout).unwrap();
    for line in [
        "(QEMU) {\"return\": []}",
        "{\"error\": {\"class\": \"DeviceNotActive\", \"desc\": \"Block job 'x' not found\"}}",
        "\"package\": \"blockjob ",
    ] {
        assert!(output.contains(line), "{output}");
    }
    assert!(peer.wait().0.success());
}

#[test]
fn socat_carries_a_conversation() {
    let mut peer = Peer::serve(&[]);
    peer.image("a", 1 << 20, 1);
    peer.image("b", 1 << 20, 2);
    let socat = Command::new("socat")
        .arg("-")
        .arg(format!("UNIX-CONNECT:{}", peer.socket().display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut socat = match socat {
        Ok(socat) => socat,
        Err(why) => {
            eprintln!("SKIPPED: no socat here: {why}");
            return;
        }
    };
    let mut to = socat.stdin.take().unwrap();
    let mut from = BufReader::new(socat.stdout.take().unwrap()).lines();
    let mut next = || from.next().unwrap().unwrap();
    assert!(next().starts_with("{\"QMP\": "));
    let file = |name: &str| json!({"driver": "file", "node-name": name, "filename": peer.folder().join(name)});
    let copy = json!({"job-id": "j", "device": "a", "target": "b", "sync": "full"});
    for (command, arguments) in [
        ("qmp_capabilities", json!({})),
        ("blockdev-add", file("a")),
        ("blockdev-add", file("b")),
        ("blockdev-backup", copy),
    ] {
        let message = json!({"execute": command, "arguments": arguments});
        writeln!(to, "{message}").unwrap();
        while next() != "{\"return\": {}}" {}
    }
    // The last event may have come already, so it is asked for.
    writeln!(to, "{{\"execute\":\"query-jobs\"}}").unwrap();
    while next() != "{\"return\": []}" {
        writeln!(to, "{{\"execute\":\"query-jobs\"}}").unwrap();
    }
    writeln!(to, "{{\"execute\":\"quit\"}}").unwrap();
    while next() != "{\"return\": {}}" {}
    drop(to);
    assert!(socat.wait().unwrap().success());
    assert_eq!(peer.contents("a"), peer.contents("b"));
    assert!(peer.wait().0.success());
}

#[test]
#[ignore = "builds the crate qapi, which is large: run it by name"]
fn the_crate_qapi_drives_jobs() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve_support/qapi");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("qapi-client");
    let built = run(Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        // What this build is told is not for that one.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR"));
    if let Err(why) = built {
        eprintln!("SKIPPED: the crate qapi cannot be built here: {why}");
        return;
    }
    let mut peer = Peer::serve(&[]);
    peer.image("a", 1 << 20, 1);
    peer.image("b", 1 << 20, 2);
    let ran = Command::new(target.join("debug/client"))
        .args([&peer.socket(), peer.folder()])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let report = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(
        report,
        "greeted by blockjob\nrefused: DeviceNotActive: Block job 'nobody' not found\nevents in order\n"
    );
    assert_eq!(peer.contents("a"), peer.contents("b"));
    assert!(peer.wait().0.success());
}
