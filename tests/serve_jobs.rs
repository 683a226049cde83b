//! Goal: any client can drive the engine as it drives QEMU, and what it then sees is what the specification allows.
//!
//! Method: the command `serve` is started, spoken to over its socket, and each conversation is kept and judged by the
//! oracle, in this process; the server's own trace as well. What was copied is compared.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]
// Arguments are written where they are sent.
#![allow(clippy::needless_pass_by_value)]

mod serve_support;

use blockjob::oracle::Observer;
use blockjob::qmp::job::pace::PIECE_BYTES_MAX;
use serde_json::{Value, json};
use serve_support::{Client, Peer, judge_trace};

const MIB: usize = 1 << 20;

fn backup(id: &str, source: &str, target: &str) -> Value {
    json!({"job-id": id, "device": source, "target": target, "sync": "full"})
}

fn with(mut arguments: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    arguments.as_object_mut().unwrap().extend(more);
    arguments
}

/// A server that records a trace, with `count` nodes `d0`, `d1` … of 3 MiB and some bytes, each filled with its number
/// and one.
fn disks(count: u8) -> (Peer, Client) {
    let peer = Peer::serve(&["--trace", "trace.jsonl"]);
    let mut client = peer.client();
    for number in 0..count {
        let name = format!("d{number}");
        peer.image(&name, 3 * MIB + 77, number + 1);
        client.node(&peer, &name);
    }
    (peer, client)
}

/// Ends the server, and judges everything.
#[track_caller]
fn end(mut peer: Peer, mut client: Client) {
    end_with(&mut peer, &mut client);
}

#[track_caller]
fn end_with(peer: &mut Peer, client: &mut Client) {
    client.quit();
    client.judge(Observer::Sole);
    let (status, words) = peer.wait();
    assert!(status.success(), "{words}");
    assert!(!peer.socket().exists(), "its socket is gone with it");
    judge_trace(&peer.folder().join("trace.jsonl"));
}

#[test]
fn a_backup_copies_and_its_events_are_those_of_the_specification() {
    let (peer, mut client) = disks(2);
    client.done("blockdev-backup", backup("j0", "d0", "d1"));
    client.until("j0", "null");
    assert_eq!(peer.contents("d0"), peer.contents("d1"));
    assert_eq!(
        peer.contents("d1").len(),
        3 * MIB + 77,
        "its length is what it was"
    );
    assert_eq!(
        client.statuses("j0"),
        [
            "created",
            "running",
            "waiting",
            "pending",
            "concluded",
            "null"
        ]
    );
    let completed = client
        .events()
        .find(|event| event["event"] == "BLOCK_JOB_COMPLETED")
        .unwrap();
    let length = 3 * MIB + 77;
    assert_eq!(
        completed["data"],
        json!({"device": "j0", "len": length, "offset": length, "speed": 0, "type": "backup"})
    );
    end(peer, client);
}

#[test]
fn a_job_is_paused_resumed_sped_up_finalized_and_dismissed() {
    let (peer, mut client) = disks(2);
    let manual = json!({"speed": 65536, "auto-finalize": false, "auto-dismiss": false});
    client.done("blockdev-backup", with(backup("j0", "d0", "d1"), manual));
    client.done("job-pause", json!({"id": "j0"}));
    client.until("j0", "paused");
    assert_eq!(
        client.refused("job-pause", json!({"id": "j0"})),
        "Job is already paused"
    );
    assert_eq!(
        client.refused("job-finalize", json!({"id": "j0"})),
        "Job 'j0' in state 'paused' cannot accept command verb 'finalize'"
    );
    let jobs = client.ask("query-jobs", json!({}));
    assert_eq!(jobs["return"][0]["status"], "paused");
    let block_jobs = client.ask("query-block-jobs", json!({}));
    assert_eq!(block_jobs["return"][0]["paused"], true);
    assert_eq!(block_jobs["return"][0]["speed"], 65536);
    client.done("block-job-set-speed", json!({"device": "j0", "speed": 0}));
    client.done("block-job-resume", json!({"device": "j0"}));
    client.until("j0", "pending");
    client.done("block-job-finalize", json!({"id": "j0"}));
    client.until("j0", "concluded");
    client.done("job-dismiss", json!({"id": "j0"}));
    client.until("j0", "null");
    assert_eq!(
        client.refused("job-dismiss", json!({"id": "j0"})),
        "Job not found"
    );
    assert_eq!(peer.contents("d0"), peer.contents("d1"));
    end(peer, client);
}

#[test]
fn a_mirror_is_ready_and_completes_or_finishes_softly_or_is_cancelled() {
    let (peer, mut client) = disks(2);
    for (round, (verb, arguments, last)) in [
        ("job-complete", json!({"id": "m"}), "BLOCK_JOB_COMPLETED"),
        (
            "block-job-complete",
            json!({"device": "m"}),
            "BLOCK_JOB_COMPLETED",
        ),
        (
            "block-job-cancel",
            json!({"device": "m"}),
            "BLOCK_JOB_COMPLETED",
        ),
        (
            "block-job-cancel",
            json!({"device": "m", "force": true}),
            "BLOCK_JOB_CANCELLED",
        ),
        ("job-cancel", json!({"id": "m"}), "BLOCK_JOB_CANCELLED"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut told = client.lines.len();
        peer.image("d0", 3 * MIB + 77, round as u8 + 10);
        client.done("blockdev-mirror", backup("m", "d0", "d1"));
        loop {
            let ready = client.lines[told..]
                .iter()
                .any(|line| line.contains("BLOCK_JOB_READY"));
            if ready {
                break;
            }
            told = told.max(client.lines.len() - 1);
            client.read();
        }
        assert_eq!(peer.contents("d0"), peer.contents("d1"), "{verb}");
        client.done("job-pause", json!({"id": "m"}));
        assert_eq!(
            client.refused("block-job-cancel", json!({"device": "m"})),
            "The block job for device 'm' is currently paused"
        );
        client.done("job-resume", json!({"id": "m"}));
        client.done(verb, arguments);
        let before = client.statuses("m").len();
        while client.statuses("m").last().unwrap() != "null" {
            client.read();
        }
        assert!(client.statuses("m").len() >= before);
        let terminal = client
            .events()
            .filter(|event| event["event"] != "JOB_STATUS_CHANGE")
            .last()
            .unwrap();
        assert_eq!(terminal["event"], last, "{verb}");
    }
    end(peer, client);
}

#[test]
fn what_copies_nothing_ends_when_it_is_told_to() {
    let (mut peer, mut client) = disks(4);
    let none = json!({"sync": "none"});
    client.done(
        "blockdev-backup",
        with(backup("b", "d0", "d1"), none.clone()),
    );
    client.done("blockdev-mirror", with(backup("m", "d2", "d3"), none));
    client.until("m", "ready");
    client.done("job-cancel", json!({"id": "b"}));
    client.until("b", "null");
    // The mirror is left to the end of the server.
    end_with(&mut peer, &mut client);
    for (name, byte) in [("d1", 2), ("d3", 4)] {
        assert!(
            peer.contents(name).iter().all(|&found| found == byte),
            "{name}"
        );
    }
}

#[test]
fn a_group_ends_as_a_whole_and_individuals_do_not() {
    let (peer, mut client) = disks(6);
    let action = |id: &str, source: &str, target: &str, more: Value| json!({"type": "blockdev-backup", "data": with(backup(id, source, target), more)});
    let grouped = json!({"completion-mode": "grouped"});
    let slow = json!({"speed": 65536, "auto-dismiss": false});
    client.done(
        "transaction",
        json!({"properties": grouped,
               "actions": [action("a", "d0", "d1", json!({"auto-finalize": false})),
                           action("b", "d2", "d3", json!({})), action("c", "d4", "d5", slow.clone())]}),
    );
    client.done("block-job-set-speed", json!({"device": "c", "speed": 0}));
    for id in ["a", "b", "c"] {
        client.until(id, "pending");
    }
    client.done("job-finalize", json!({"id": "b"}));
    client.done("job-dismiss", json!({"id": "c"}));
    for (source, target) in [("d0", "d1"), ("d2", "d3"), ("d4", "d5")] {
        assert_eq!(peer.contents(source), peer.contents(target));
    }
    // One is cancelled: all of them are.
    client.done(
        "transaction",
        json!({"properties": grouped, "actions": [action("e", "d0", "d1", json!({})), action("f", "d4", "d5", slow.clone())]}),
    );
    client.done("job-cancel", json!({"id": "f"}));
    client.until("e", "null");
    client.until("f", "concluded");
    client.done("job-dismiss", json!({"id": "f"}));
    assert!(client.statuses("e").contains(&"aborting".to_owned()));
    // Individuals: each for itself.
    client.done(
        "transaction",
        json!({"actions": [action("g", "d0", "d1", json!({})), action("h", "d4", "d5", slow.clone())]}),
    );
    client.until("g", "null");
    assert!(!client.statuses("g").contains(&"aborting".to_owned()));
    client.done("job-cancel", json!({"id": "h"}));
    client.until("h", "concluded");
    client.done("job-dismiss", json!({"id": "h"}));
    // One cannot be made: none is.
    let words = client.refused(
        "transaction",
        json!({"properties": grouped, "actions": [action("i", "d0", "d1", json!({})), action("k", "d2", "d1", json!({}))]}),
    );
    assert_eq!(
        words,
        "Node 'd1' is busy: block device is in use by block job: backup"
    );
    assert_eq!(
        client.statuses("i"),
        ["created", "aborting", "concluded", "null"]
    );
    end(peer, client);
}

/// A node that fails as told, over another.
fn failing(client: &mut Client, name: &str, over: &str, rules: Value) {
    client.done(
        "blockdev-add",
        json!({"driver": "blkdebug", "node-name": name, "image": over, "inject-error": rules}),
    );
}

#[test]
fn errors_go_by_their_policy_on_either_side() {
    let (peer, mut client) = disks(2);
    let once = json!([{"event": "read_aio", "errno": 28, "once": true, "sector": 2048}]);
    let always = json!([{"event": "write_aio"}]);
    // Stop: paused, then again.
    failing(&mut client, "bad", "d0", once.clone());
    let stop = json!({"on-source-error": "enospc"});
    client.done("blockdev-backup", with(backup("j0", "bad", "d1"), stop));
    client.until("j0", "paused");
    let job = client.ask("query-block-jobs", json!({}))["return"][0].clone();
    assert_eq!(job["io-status"], "nospace");
    // The piece that the sector is in is not copied; how large it is, is a matter of speed.
    let offset = job["offset"].as_u64().unwrap() as usize;
    assert!(
        (MIB - PIECE_BYTES_MAX + 1..=MIB).contains(&offset),
        "{offset}"
    );
    client.done("job-resume", json!({"id": "j0"}));
    client.until("j0", "null");
    assert_eq!(peer.contents("d0"), peer.contents("d1"));
    client.done("blockdev-del", json!({"node-name": "bad"}));
    // Ignore: again without a pause.
    failing(&mut client, "bad2", "d0", once);
    let ignore = json!({"on-source-error": "ignore"});
    client.done("blockdev-mirror", with(backup("j1", "bad2", "d1"), ignore));
    client.until("j1", "ready");
    client.done("job-complete", json!({"id": "j1"}));
    client.until("j1", "null");
    // Report: over.
    failing(&mut client, "worse", "d1", always);
    client.done("blockdev-backup", backup("j2", "d0", "worse"));
    client.until("j2", "null");
    let of = |client: &Client, id: &str| -> Vec<Value> {
        let events = client.events();
        events
            .filter(|event| event["data"]["device"] == id)
            .map(|event| {
                let data = &event["data"];
                json!([
                    event["event"],
                    data["operation"],
                    data["action"],
                    data["error"]
                ])
            })
            .collect()
    };
    let error = "BLOCK_JOB_ERROR";
    let completed = json!(["BLOCK_JOB_COMPLETED", null, null, null]);
    assert_eq!(
        of(&client, "j0"),
        [json!([error, "read", "stop", null]), completed.clone()]
    );
    assert_eq!(
        of(&client, "j1"),
        [
            json!([error, "read", "ignore", null]),
            json!(["BLOCK_JOB_READY", null, null, null]),
            completed
        ]
    );
    assert_eq!(
        of(&client, "j2"),
        [
            json!([error, "write", "report", null]),
            json!(["BLOCK_JOB_COMPLETED", null, null, "Input/output error"])
        ]
    );
    end(peer, client);
}

#[test]
fn whoever_runs_the_server_is_told_where_a_job_that_was_given_up_wrote() {
    let (mut peer, mut client) = disks(3);
    let slow = with(backup("partly", "d0", "d1"), json!({"speed": 1}));
    client.done("blockdev-backup", slow);
    // Its first piece is written; the next would be for later.
    while client.ask("query-jobs", json!({}))["return"][0]["current-progress"] == 0 {}
    client.done("job-cancel", json!({"id": "partly"}));
    while client.statuses("partly").last().unwrap() != "null" {
        client.read();
    }
    let failing = json!([{"event": "none", "iotype": "read", "errno": 5}]);
    self::failing(&mut client, "broken", "d0", failing);
    client.done("blockdev-backup", backup("nothing", "broken", "d2"));
    while client
        .statuses("nothing")
        .last()
        .is_none_or(|status| status != "null")
    {
        client.read();
    }
    client.quit();
    let (status, words) = peer.wait();
    assert!(status.success(), "{words}");
    let target = peer.folder().join("d1");
    let line = format!(
        "warning: what the job wrote before it was given up stays in {}, job: partly\n",
        target.display()
    );
    assert!(words.contains(&line), "{words}");
    // The other wrote nothing.
    assert!(!words.contains("d2"), "{words}");
}

#[test]
fn nodes_are_opened_in_place_and_stay_what_they_are() {
    let (peer, mut client) = disks(2);
    let file = |name: &str, path: &str, more: Value| {
        with(
            json!({"driver": "file", "node-name": name, "filename": peer.folder().join(path)}),
            more,
        )
    };
    let missing = client.refused("blockdev-add", file("n", "nowhere", json!({})));
    assert!(
        missing.ends_with("/nowhere': No such file or directory"),
        "{missing}"
    );
    assert!(!peer.folder().join("nowhere").exists());
    client.done("blockdev-add", file("ro", "d1", json!({"read-only": true})));
    let words = client.refused("blockdev-backup", backup("j", "d0", "ro"));
    assert_eq!(words, "Could not create node: Block node is read-only");
    // Another name for the same file is the same file.
    client.done("blockdev-add", file("again", "d0", json!({})));
    let words = client.refused("blockdev-backup", backup("j", "d0", "again"));
    assert_eq!(words, "Source and target cannot be the same");
    let slow = json!({"speed": 65536});
    client.done("blockdev-backup", with(backup("j", "d0", "d1"), slow));
    let words = client.refused("blockdev-del", json!({"node-name": "d1"}));
    assert_eq!(
        words,
        "Node 'd1' is busy: block device is in use by block job: backup"
    );
    let words = client.refused("blockdev-del", json!({"node-name": "d0"}));
    assert_eq!(words, "Block device d0 is in use");
    let nodes = client.ask("query-named-block-nodes", json!({}));
    let names: Vec<_> = nodes["return"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| &node["node-name"])
        .collect();
    assert_eq!(names, ["#block001", "#block002", "again", "d0", "d1", "ro"]);
    // What is cancelled before its first piece has written nothing.
    while client.ask("query-block-jobs", json!({}))["return"][0]["offset"] == 0 {}
    client.done("job-cancel", json!({"id": "j"}));
    client.until("j", "null");
    // What was written stays; the rest is what it was.
    let (source, target) = (peer.contents("d0"), peer.contents("d1"));
    assert_eq!(target.len(), 3 * MIB + 77);
    assert_eq!(target[0], source[0]);
    assert_eq!(target.last(), Some(&2));
    for name in ["again", "d0", "d1", "ro"] {
        client.done("blockdev-del", json!({"node-name": name}));
    }
    assert_eq!(
        client.ask("query-named-block-nodes", json!({})),
        json!({"return": []})
    );
    end(peer, client);
}
