//! Goal: a copy that runs can be seen and driven by any QMP client (`--qmp`), as a server's job can, and by nothing that
//! makes jobs or opens files; it ends as it is told, and its socket ends with it.
//! Method: a client at the socket of a copy that a speed limit makes slow; what was said is held against the oracle.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;
mod serve_support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use blockjob::oracle::Observer;
use cli_support::Ran;
use cli_support::copying::{contents, refused, scratch, send};
use serde_json::json;
use serve_support::Client;
use tempfile::TempDir;

const SIZE: usize = 4 << 20;

/// A copy with a client that has negotiated.
struct Driven {
    child: Child,
    client: Client,
}

/// Starts `blockjob copy --qmp unix:qmp` with these arguments, after a line of shell, and connects to it.
fn driven(folder: &TempDir, shell: &str, arguments: &[&str]) -> Driven {
    let child = Command::new("env")
        .args(["--default-signal=INT,TERM,HUP,USR1,USR2,CONT", "sh", "-c"])
        .arg(format!("{shell} exec \"$@\""))
        .arg("sh")
        .arg(snapbox::cmd::cargo_bin!("blockjob"))
        .args(["copy", "--qmp", "unix:qmp", "--chunk", "4K"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let socket = folder.path().join("qmp");
    while UnixStream::connect(&socket).is_err() {
        let end = child.try_wait().unwrap();
        assert!(end.is_none(), "the copy is slow enough to be met: {end:?}");
        std::thread::yield_now();
    }
    let mut client = Client::connect(&socket);
    assert!(client.read()["QMP"].is_object());
    client.done("qmp_capabilities", json!({}));
    Driven { child, client }
}

impl Driven {
    /// Reads what there is to read, and waits for the end.
    fn end(mut self, folder: &TempDir) -> (Client, Ran) {
        self.client.read_to_end();
        let ran = Ran::from(self.child.wait_with_output().unwrap());
        assert!(!folder.path().join("qmp").exists(), "the socket is removed");
        (self.client, ran)
    }
}

#[test]
fn a_client_pauses_speeds_up_finalizes_and_dismisses_a_copy() {
    let folder = scratch(&[("a", &vec![7; SIZE]), ("b", b"old")]);
    let options = ["--speed", "64K", "--manual-finalize", "--manual-dismiss"];
    let mut copy = driven(&folder, "", &[&options[..], &["a", "b"]].concat());
    let mode = fs::symlink_metadata(folder.path().join("qmp")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let client = &mut copy.client;
    // One that was paused before it began would not know how much there is.
    while client.ask("query-block-jobs", json!({}))["return"][0]["offset"] == 0 {}
    client.done("job-pause", json!({"id": "copy0"}));
    client.until("copy0", "paused");
    let jobs = client.ask("query-block-jobs", json!({}))["return"].take();
    assert_eq!(jobs[0]["device"], "copy0");
    assert_eq!(jobs[0]["type"], "backup");
    assert_eq!(jobs[0]["len"], SIZE);
    assert_eq!(jobs[0]["speed"], 64 << 10);
    assert_eq!(jobs[0]["auto-finalize"], false);
    client.done(
        "block-job-set-speed",
        json!({"device": "copy0", "speed": 0}),
    );
    client.done("job-resume", json!({"id": "copy0"}));
    client.until("copy0", "pending");
    // Everything is there, and nothing has changed.
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"old");
    client.done("job-finalize", json!({"id": "copy0"}));
    client.until("copy0", "concluded");
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), vec![7; SIZE]);
    client.done("job-dismiss", json!({"id": "copy0"}));
    let (client, ran) = copy.end(&folder);
    assert_eq!(ran.code, 0, "{ran:?}");
    let statuses = client.statuses("copy0").into_iter();
    assert_eq!(
        statuses
            .skip_while(|status| status != "paused")
            .collect::<Vec<_>>(),
        [
            "paused",
            "running",
            "waiting",
            "pending",
            "concluded",
            "null"
        ]
    );
    client.judge(Observer::Shared);
    assert_eq!(contents(folder.path()).len(), 2);
}

#[test]
fn a_client_makes_no_jobs_and_opens_no_files_and_quit_cancels() {
    let folder = scratch(&[("a", &vec![7; SIZE]), ("b", b"old")]);
    let mut copy = driven(&folder, "", &["--speed", "64K", "a", "b"]);
    let client = &mut copy.client;
    let answer = client.ask("query-commands", json!({}));
    let commands: Vec<_> = answer["return"].as_array().unwrap().iter().collect();
    assert!(commands.contains(&&json!({"name": "job-cancel"})));
    let schema = client.ask("query-qmp-schema", json!({}))["return"].take();
    for name in [
        "blockdev-add",
        "blockdev-del",
        "blockdev-backup",
        "blockdev-mirror",
        "transaction",
        "query-named-block-nodes",
    ] {
        let words = client.refused(name, json!({}));
        assert_eq!(words, format!("The command {name} has not been found"));
        assert!(!commands.contains(&&json!({"name": name})));
        let known = schema.as_array().unwrap().iter();
        assert!(!known.into_iter().any(|entry| entry["name"] == name));
    }
    client.done("quit", json!({}));
    let (client, ran) = copy.end(&folder);
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.says(&["cancelled; every target is what it was"]);
    let cancelled = |event: &serde_json::Value| event["event"] == "BLOCK_JOB_CANCELLED";
    assert!(client.events().any(|event| cancelled(&event)));
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"old");
    assert_eq!(contents(folder.path()).len(), 2);
}

#[test]
fn one_member_of_a_group_cancelled_cancels_all() {
    let folder = scratch(&[("a", &vec![7; SIZE]), ("b", b"old"), ("c", b"small")]);
    let pairs = ["--speed", "64K", "--pair", "a", "b", "--pair", "c", "d"];
    let mut copy = driven(&folder, "", &pairs);
    copy.client.done("job-cancel", json!({"id": "copy0"}));
    let (client, ran) = copy.end(&folder);
    assert_eq!(ran.code, 1, "{ran:?}");
    client.judge(Observer::Shared);
    assert_eq!(contents(folder.path()).len(), 3, "nothing is new");
}

#[test]
fn one_mirror_that_a_client_completes_early_keeps_nobody_from_completing_the_others() {
    let folder = scratch(&[("a", &vec![7; SIZE]), ("b", b"old"), ("c", b"small")]);
    let pairs = [
        "--mirror", "--speed", "64K", "--pair", "a", "b", "--pair", "c", "d",
    ];
    let mut copy = driven(&folder, "", &pairs);
    let client = &mut copy.client;
    let ready = json!("ready");
    loop {
        let jobs = client.ask("query-jobs", json!({}))["return"].take();
        let mut jobs = jobs.as_array().unwrap().iter();
        if jobs.any(|job| job["id"] == "copy1" && job["status"] == ready) {
            break;
        }
    }
    client.done("job-complete", json!({"id": "copy1"}));
    client.until("copy1", "waiting");
    send("-USR2", copy.child.id());
    let mut said = BufReader::new(copy.child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.starts_with("will be completed once"), "{line}");
    let no_limit = json!({"device": "copy0", "speed": 0});
    copy.client.done("block-job-set-speed", no_limit);
    let (client, ran) = copy.end(&folder);
    assert_eq!(ran.code, 0, "{ran:?}");
    client.judge(Observer::Shared);
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), vec![7; SIZE]);
    assert_eq!(fs::read(folder.path().join("d")).unwrap(), b"small");
}

#[test]
fn a_client_gives_a_ready_mirror_up_and_its_target_is_what_it_was() {
    let folder = scratch(&[("a", &vec![7; SIZE]), ("b", b"old")]);
    let mut copy = driven(&folder, "", &["--mirror", "--json", "a", "b"]);
    // It may have become ready before the client was there.
    while copy.client.ask("query-jobs", json!({}))["return"][0]["status"] != "ready" {}
    let jobs = copy.client.ask("query-block-jobs", json!({}))["return"].take();
    assert_eq!(
        (&jobs[0]["type"], &jobs[0]["ready"]),
        (&json!("mirror"), &json!(true))
    );
    copy.client
        .done("block-job-cancel", json!({"device": "copy0"}));
    let (client, ran) = copy.end(&folder);
    assert_eq!(ran.code, 1, "{ran:?}");
    // A success to QEMU's clients, who know it by that.
    assert!(
        client
            .events()
            .any(|event| event["event"] == "BLOCK_JOB_COMPLETED")
    );
    client.judge(Observer::Shared);
    let ending = ran.json().into_iter().find(|line| line["kind"] == "copy");
    assert_eq!(ending.unwrap()["ending"], "unpivoted");
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"old");
    assert_eq!(contents(folder.path()).len(), 2);
}

#[test]
fn ctrl_c_ends_what_a_client_has_paused_and_what_waits_to_be_dismissed() {
    let folder = scratch(&[("a", &vec![7; SIZE]), ("b", b"old")]);
    let options = ["--speed", "64K", "--manual-dismiss", "a", "b"];
    let mut copy = driven(&folder, "", &options);
    // One that was paused before it began is still one that waits.
    while copy.client.ask("query-block-jobs", json!({}))["return"][0]["offset"] == 0 {}
    copy.client.done("job-pause", json!({"id": "copy0"}));
    copy.client.until("copy0", "paused");
    let process = copy.child.id();
    // Not stopped by an error: to go on is the client's to say.
    send("-CONT", process);
    send("-USR1", process);
    let mut said = BufReader::new(copy.child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.starts_with("copy0: paused, "), "{line}");
    send("-INT", process);
    let (_, ran) = copy.end(&folder);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"old");
}

#[test]
fn a_job_that_stops_waits_for_a_client_and_tries_again() {
    let folder = scratch(&[("a", &vec![7; SIZE]), ("b", &vec![1; SIZE])]);
    if Command::new("prlimit").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no prlimit here");
        return;
    }
    let options = ["--on-target-error", "stop", "--in-place", "a", "b"];
    // A limit that can be raised again, and is not looked for beforehand in place.
    let mut copy = driven(&folder, "ulimit -S -f 1024;", &options);
    // It may have happened before the client was there.
    while copy.client.ask("query-jobs", json!({}))["return"][0]["status"] != "paused" {}
    let error = copy
        .client
        .events()
        .find(|event| event["event"] == "BLOCK_JOB_ERROR");
    if let Some(error) = error {
        let data = json!({"device": "copy0", "operation": "write", "action": "stop"});
        assert_eq!(error["data"], data);
    }
    let jobs = copy.client.ask("query-block-jobs", json!({}))["return"].take();
    assert_eq!(jobs[0]["io-status"], "failed");
    let mut said = BufReader::new(copy.child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let words = "copy0 has stopped, because of an error; job-resume, or Ctrl-Z and fg";
    assert!(line.starts_with(words), "{line}");
    let raised = Command::new("prlimit")
        .args(["--fsize=unlimited", "--pid", &copy.child.id().to_string()])
        .status();
    assert!(raised.unwrap().success());
    copy.client.done("job-resume", json!({"id": "copy0"}));
    let (_, ran) = copy.end(&folder);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), vec![7; SIZE]);
}

#[test]
fn a_place_for_clients_that_is_none_is_refused() {
    let folder = scratch(&[("a", b"one"), ("file", b"")]);
    refused(
        &folder,
        &["--qmp", "tcp:127.0.0.1:4444", "a", "b"],
        &["unix:PATH alone"],
    );
    refused(&folder, &["--qmp", "qmp", "a", "b"], &["unix:PATH"]);
    refused(
        &folder,
        &["--qmp", "unix:file", "a", "b"],
        &["file exists, and is no socket"],
    );
    refused(&folder, &["--qmp", "unix:no/qmp", "a", "b"], &["no/qmp"]);
    for option in ["--manual-finalize", "--manual-dismiss"] {
        refused(&folder, &[option, "a", "b"], &["--qmp"]);
    }
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    refused(
        &folder,
        &["--qmp", "unix:open/qmp", "a", "b"],
        &["open to others", "mkdir -m 700"],
    );
}
