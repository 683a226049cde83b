//! Goal: nodes are the user's files and devices, opened in place, and other programs are told what is done with them.
//!
//! Method: jobs from and to loop devices, which take root, without whom this says that it was skipped; two servers, and
//! `blockjob copy`, on the same files.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod serve_support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use serve_support::{Client, Peer};

const MIB: usize = 1 << 20;

/// A loop device on a file, taken away at the end.
struct Loop(String);

impl Loop {
    fn on(file: &Path) -> Result<Loop, String> {
        let ran = Command::new("losetup")
            .args(["-f", "--show"])
            .arg(file)
            .output()
            .map_err(|error| error.to_string())?;
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        if ran.status.success() {
            Ok(Loop(text(&ran.stdout)))
        } else {
            Err(text(&ran.stderr))
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

fn backup(id: &str, source: &str, target: &str) -> Value {
    json!({"job-id": id, "device": source, "target": target, "sync": "full"})
}

/// Runs a job to its end, which is a success.
#[track_caller]
fn run(client: &mut Client, command: &str, arguments: Value) {
    let id = arguments["job-id"].as_str().unwrap().to_owned();
    client.done(command, arguments);
    if command == "blockdev-mirror" {
        client.until(&id, "ready");
        client.done("job-complete", json!({"id": id}));
    }
    client.until(&id, "null");
    let end = client
        .events()
        .find(|event| event["event"] == "BLOCK_JOB_COMPLETED" && event["data"]["device"] == id);
    assert!(end.unwrap()["data"]["error"].is_null());
}

#[test]
fn block_devices_are_as_good_as_files_on_both_ends() {
    let mut peer = Peer::serve(&["--trace", "trace.jsonl"]);
    let (disk, other) = (
        peer.image("disk", 3 * MIB + 512, 1),
        peer.image("other", 3 * MIB + 512, 2),
    );
    peer.image("file", 3 * MIB + 512, 3);
    let (disk, other) = match (Loop::on(&disk), Loop::on(&other)) {
        (Ok(disk), Ok(other)) => (disk, other),
        (disk, other) => {
            let why = [disk.err(), other.err()];
            eprintln!("SKIPPED: no loop devices here: {why:?}");
            return;
        }
    };
    let mut client = peer.client();
    let device = |name: &str, path: &str| json!({"driver": "host_device", "node-name": name, "filename": path});
    client.done("blockdev-add", device("disk", &disk.0));
    let file = json!({"driver": "file", "filename": disk.0});
    let words = client.refused(
        "blockdev-add",
        json!({"driver": "raw", "node-name": "x", "file": file}),
    );
    assert!(words.contains("'file' driver requires"), "{words}");
    // Under a node of another driver as well.
    let below = json!({"driver": "host_device", "filename": other.0});
    client.done(
        "blockdev-add",
        json!({"driver": "raw", "node-name": "other", "file": below}),
    );
    client.node(&peer, "file");
    let nodes = client.ask("query-named-block-nodes", json!({}))["return"].take();
    let of = |name: &str| {
        nodes
            .as_array()
            .unwrap()
            .iter()
            .find(|node| node["node-name"] == name)
            .unwrap()
    };
    assert_eq!(of("disk")["drv"], "host_device");
    assert_eq!(of("disk")["image"]["virtual-size"], 3 * MIB + 512);
    // A device has one identity, whatever its name.
    symlink(&disk.0, peer.folder().join("alias")).unwrap();
    let alias = peer.folder().join("alias");
    client.done("blockdev-add", device("alias", alias.to_str().unwrap()));
    assert_eq!(
        client.refused("blockdev-backup", backup("j", "disk", "alias")),
        "Source and target cannot be the same"
    );
    run(&mut client, "blockdev-backup", backup("j0", "file", "disk"));
    run(
        &mut client,
        "blockdev-mirror",
        backup("j1", "alias", "other"),
    );
    let read = |path: &str| std::fs::read(path).unwrap();
    assert_eq!(read(&disk.0), vec![3; 3 * MIB + 512]);
    assert_eq!(read(&other.0), read(&disk.0));
    std::fs::write(&disk.0, vec![4; MIB]).unwrap();
    run(&mut client, "blockdev-backup", backup("j2", "disk", "file"));
    assert_eq!(peer.contents("file")[..MIB], vec![4; MIB]);
    assert_eq!(peer.contents("file")[MIB..], vec![3; 2 * MIB + 512]);
    client.quit();
    client.judge(blockjob::oracle::Observer::Sole);
    assert!(peer.wait().0.success());
    serve_support::judge_trace(&peer.folder().join("trace.jsonl"));
}

#[test]
fn what_one_server_works_on_another_leaves_alone() {
    let (one, two) = (Peer::serve(&[]), Peer::serve(&[]));
    for name in ["a", "b", "c"] {
        one.image(name, 4 * MIB, 1);
    }
    let (mut first, mut second) = (one.client(), two.client());
    for client in [&mut first, &mut second] {
        for name in ["a", "b", "c"] {
            client.node(&one, name);
        }
    }
    let slow = |arguments: Value| {
        let mut arguments = arguments;
        arguments["speed"] = json!(1);
        arguments
    };
    first.done("blockdev-backup", slow(backup("j", "a", "b")));
    assert_eq!(
        second.refused("blockdev-backup", backup("j", "c", "a")),
        "Could not create node: Failed to get \"write\" lock"
    );
    assert_eq!(
        second.refused("blockdev-backup", backup("j", "b", "c")),
        "Failed to get shared \"write\" lock"
    );
    // Who wants no locks has none.
    let unlocked = json!({"driver": "file", "node-name": "open", "filename": one.folder().join("b"), "locking": "off"});
    second.done("blockdev-add", unlocked);
    run(&mut second, "blockdev-backup", backup("j", "open", "c"));
    let copy = Command::new(snapbox::cmd::cargo_bin!("blockjob"))
        .arg("copy")
        .args([one.folder().join("c"), one.folder().join("b")])
        .output()
        .unwrap();
    assert_eq!(copy.status.code(), Some(2), "{copy:?}");
    // It ends with the job.
    first.done("job-cancel", json!({"id": "j"}));
    first.until("j", "null");
    run(&mut second, "blockdev-backup", backup("k", "c", "a"));
    first.quit();
    second.quit();
}
