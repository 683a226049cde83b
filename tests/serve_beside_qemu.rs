//! Goal: what a client is told is what QEMU tells it, to the letter.
//!
//! Method: the same bytes go to `blockjob serve` and to a live `qemu-storage-daemon` 10.0 (`BLOCKJOB_QEMU`, which
//! `cargo xtask test` sets where there is one; else these tests say that they were skipped), and what comes back is
//! compared: JSON and what is none, at random as well; refusals of every kind; jobs, with their events less the pauses
//! with which QEMU drains a job it has nothing to do with (SEMANTICS.md §7.2). What is different on purpose is in
//! docs/serve.md, and not asked for here.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]
// Arguments are written where they are sent.
#![allow(clippy::needless_pass_by_value)]

mod serve_support;

use std::collections::BTreeMap;

use blockjob::qmp::schema::introspect;
use serde_json::{Value, json};
use serve_support::{Client, Peer};

/// Both, with the same images: `a` to `d` of `length` bytes, and smaller ones.
struct Both {
    ours: (Peer, Client),
    theirs: (Peer, Client),
    asked: u64,
}

impl Both {
    fn new(length: usize) -> Option<Both> {
        let (theirs, their_client) = Peer::qemu()?;
        let ours = Peer::serve(&[]);
        for peer in [&ours, &theirs] {
            for (number, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
                peer.image(name, length, number as u8);
            }
            peer.image("small", 32768, 9);
            peer.image("odd", 1000, 9);
        }
        let our_client = ours.client();
        Some(Both {
            ours: (ours, our_client),
            theirs: (theirs, their_client),
            asked: 0,
        })
    }

    /// Sends `bytes`, and then a question whose answer is the last that is compared.
    #[track_caller]
    fn same(&mut self, bytes: &[u8]) {
        self.asked += 1;
        let last = format!("last{}", self.asked);
        let mut answers = Vec::new();
        for (peer, client) in [&mut self.ours, &mut self.theirs] {
            let folder = peer.folder().to_str().unwrap().to_owned();
            // Where it is differs, and what it says of it.
            let asked = replace(bytes, b"FOLDER", folder.as_bytes());
            client.send_raw(&asked);
            // Whatever state the bytes left the reader in, a line's end and brackets close it.
            client.send_raw(b"\n");
            client.send_raw(
                format!("{{\"execute\":\"query-commands\",\"id\":\"{last}\"}}\n").as_bytes(),
            );
            let mut said = Vec::new();
            loop {
                let line = client.read_line().unwrap();
                let message: Value = serde_json::from_str(&line).unwrap();
                if message["id"] == *last {
                    break;
                }
                said.push(comparable(&line.replace(&folder, "FOLDER")));
            }
            answers.push(without_drains(said));
        }
        assert_eq!(answers[0], answers[1], "{}", bytes.escape_ascii());
    }

    #[track_caller]
    fn same_command(&mut self, command: &str, arguments: Value) {
        let message = json!({"execute": command, "arguments": arguments, "id": [1, "x"]});
        self.same(message.to_string().as_bytes());
    }

    /// The same, for what goes on after its answer: until the job is in this status.
    #[track_caller]
    fn same_until(&mut self, command: &str, arguments: &Value, id: &str, status: &str) {
        let mut stories = Vec::new();
        for (_, client) in [&mut self.ours, &mut self.theirs] {
            client.lines.clear();
            client.send(command, arguments.clone());
            let answer = client.answer();
            client.until(id, status);
            // What comes together with the status is there as well.
            client.ask("query-version", json!({}));
            let events = client.events().map(|event| comparable(&event.to_string()));
            stories.push((answer, without_drains(events.collect())));
        }
        assert_eq!(stories[0], stories[1], "{command} {arguments}");
    }
}

impl Both {
    /// Waits until the job knows how much there is to do.
    fn has_begun(&mut self, id: &str) {
        for (_, client) in [&mut self.ours, &mut self.theirs] {
            loop {
                let jobs = client.ask("query-jobs", json!({}))["return"].take();
                let mut jobs = jobs.as_array().unwrap().iter();
                if jobs.any(|job| job["id"] == id && job["total-progress"] != 0) {
                    break;
                }
            }
        }
    }
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(place) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..place]);
        out.extend_from_slice(to);
        rest = &rest[place + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// Members have no order; times are what they are.
fn comparable(line: &str) -> Value {
    let mut message: Value = serde_json::from_str(line).unwrap();
    if let Some(members) = message.as_object_mut() {
        members.remove("timestamp");
    }
    message
}

/// Less the pairs of a pause and its end that nobody asked for.
fn without_drains(messages: Vec<Value>) -> Vec<Value> {
    let status = |message: &Value| message["data"]["status"].as_str().unwrap_or("").to_owned();
    let mut kept: Vec<Value> = Vec::new();
    for message in messages {
        let pair = kept.last().is_some_and(|before| {
            let same = before["data"]["id"] == message["data"]["id"];
            same && matches!(
                (status(before).as_str(), status(&message).as_str()),
                ("paused", "running") | ("standby", "ready")
            )
        });
        if pair {
            kept.pop();
        } else {
            kept.push(message);
        }
    }
    kept
}

#[test]
fn json_and_what_is_none_is_answered_alike() {
    let Some(mut both) = Both::new(4 << 20) else {
        return;
    };
    for text in [
        &b"{}"[..], b"[]", b"5", b"\"abc\"", b"null", b"{'execute':'query-jobs'}", b"{\"execute\":5}",
        b"{\"execut\":\"x\"}", b"{\"execute\":\"query-jobs\",\"foo\":1,\"id\":7}", b"{\"id\":{\"a\":[1,2.50,1e3,null]}}",
        b"{\"execute\":\"query-jobs\",\"arguments\":[]}", b"{\"execute\":\"query-jobs\",\"id\":1,\"id\":2}",
        b"{\"exec-oob\":\"query-jobs\"}", b"x", b"{x}", b"{\"execute\":\"query-jobs\",}", b"{\"a\" 1}", b"{\"a\":}",
        b"{\"execute\":\"query-jobs\"} , ", b"[1 2]", b"@ab \"x\" [] ", b"@\xc3\xa9{}", b"{5:5}", b"{\"a\":1 \"b\":2}",
        b"{\"execute\":\"query-jobs\",\"id\":\"\\ud83d\\ude00\\u00e9\\u0000\x7f\"}", b"\"\\ud83d\\u0041\"", b"\"\\uffff\"",
        b"\"\\u12\"", b"\"\\q\"", b"\"\xc0\x80\"", b"\"\xc3\"", b"\"\xed\xa0\x80\"", b"\"\xff\xfe\"", b"tru ", b"-", b"-x",
        b"-01", b"0e1", b"1.", b"+1", b"1e5", b"}}", b"{\"execute\":\"query-jobs\"}]", b"[}", b"{]", b"{\"x\":{\"y\":[}}}",
        b"\"a\tb\"", b"{\"execute\":\x00\"query-jobs\"}", b"\"abc", b":", b",", b"%", b"{\"execute\":%s}", b"\\", b"/* c */",
        b"{\"execute\":\"query-jobs\",\"id\":[1e5,0.5e-3,-9223372036854775809,1e20,0.1,18446744073709551615,-0]}",
        b"{\"execute\":\"query-jobs\",\"id\":\"\x01\"}",
    ] {
        both.same(text);
    }
    both.same(&b"[".repeat(1025));
}

#[test]
fn random_bytes_are_answered_alike() {
    let Some(mut both) = Both::new(4 << 20) else {
        return;
    };
    let seed = std::env::var("BLOCKJOB_SEED").map_or(1, |text| text.parse().unwrap());
    eprintln!("BLOCKJOB_SEED={seed}");
    let mut state: u64 = seed | 1;
    let mut roll = |sides: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    };
    let pieces: [&[u8]; 40] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"\"",
        b"'",
        b"\\",
        b" ",
        b"\n",
        b"\"execute\"",
        b"\"id\"",
        b"\"query-jobs\"",
        b"\"arguments\"",
        b"\"a\"",
        b"'b'",
        b"0",
        b"-",
        b"12",
        b".5",
        b"e",
        b"E+1",
        b"true",
        b"null",
        b"nul",
        b"x",
        b"@",
        b"\\u00e9",
        b"\\ud83d",
        b"\\ude00",
        b"\\n",
        b"\xc3\xa9",
        b"\xe2\x82\xac",
        b"\xf0\x9f\x98\x80",
        b"\xed\xa0\x80",
        b"\xff",
        b"\x01",
        b"%s",
        b"{\"execute\":\"query-jobs\"}",
    ];
    for _ in 0..600 {
        let mut text = Vec::new();
        for _ in 0..=roll(14) {
            text.extend_from_slice(pieces[roll(pieces.len())]);
        }
        // Whatever is open is closed, so that the next message is one.
        text.extend_from_slice(b"\n");
        text.extend_from_slice(&b"}]".repeat(16));
        both.same(&text);
    }
}

fn file(name: &str, node: &str) -> Value {
    json!({"driver": "raw", "node-name": node, "file": {"driver": "file", "filename": format!("FOLDER/{name}")}})
}

fn nodes(both: &mut Both) {
    for name in ["a", "b", "c", "d", "small", "odd"] {
        both.same_command("blockdev-add", file(name, name));
    }
}

#[test]
fn nodes_are_refused_alike() {
    let Some(mut both) = Both::new(4 << 20) else {
        return;
    };
    let plain = |name: &str, node: &str| json!({"driver": "file", "node-name": node, "filename": format!("FOLDER/{name}")});
    let debug = |rules: Value| json!({"driver": "blkdebug", "image": "ra", "node-name": "x", "inject-error": rules});
    for arguments in [
        json!({}),
        json!({"driver": "frob"}),
        json!({"driver": "file"}),
        json!({"driver": "file", "filename": "a"}),
        json!({"driver": "file", "filename": "/", "node-name": "n"}),
        json!({"driver": "file", "filename": "/dev/null", "node-name": "n"}),
        json!({"driver": "host_device", "filename": "FOLDER/a", "node-name": "n"}),
        json!({"driver": "host_device", "filename": "/", "node-name": "n"}),
        plain("nowhere", "n"),
        plain("a", "1bad"),
        plain("a", &"x".repeat(40)),
        plain("a", "fa"),
        plain("a", "fa"),
        json!({"driver": "file", "filename": "FOLDER/a", "node-name": "n", "read-only": "x"}),
        json!({"driver": "file", "filename": 5, "node-name": "n"}),
        json!({"driver": "file", "filename": "FOLDER/a", "node-name": "n", "cache": {"direct": 5}}),
        json!({"driver": "raw", "file": "nowhere", "node-name": "ra"}),
        json!({"driver": "raw", "node-name": "ra"}),
        json!({"driver": "raw", "file": 5, "node-name": "ra"}),
        json!({"driver": "raw", "file": "fa", "node-name": "ra", "bogus": 1}),
        json!({"driver": "raw", "file": {"driver": "file"}, "node-name": "ra"}),
        json!({"driver": "raw", "file": {"driver": "file", "filename": "FOLDER/c", "bogus": 2}, "node-name": "ra"}),
        json!({"driver": "raw", "file": {"driver": "file", "filename": "FOLDER/c", "node-name": "q"}, "node-name": "q"}),
        json!({"driver": "raw", "file": "fa", "node-name": "ra"}),
        json!({"driver": "blkdebug", "image": "nowhere", "node-name": "x"}),
        json!({"driver": "blkdebug", "node-name": "x"}),
        debug(json!([{"event": "frob"}])),
        debug(json!([{}])),
        debug(json!([{"event": "none", "iotype": "x"}])),
        debug(json!([{"event": "none", "errno": "x"}])),
        debug(json!({"event": "none"})),
        debug(json!([{"event": "none", "bogus": 1}])),
    ] {
        both.same_command("blockdev-add", arguments);
    }
    both.same_command("blockdev-add", json!({"driver": "raw", "file": {"driver": "file", "filename": "FOLDER/b", "node-name": "fb"}, "node-name": "rb"}));
    for node in ["fa", "fb", "nowhere", "ra", "fa", "rb", "fb", "rb"] {
        both.same_command("blockdev-del", json!({"node-name": node}));
    }
    both.same_command("blockdev-del", json!({}));
}

fn job(id: &str, device: &str, target: &str, more: Value) -> Value {
    let mut all = json!({"job-id": id, "device": device, "target": target, "sync": "full"});
    all.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    all
}

#[test]
fn jobs_are_refused_alike() {
    let Some(mut both) = Both::new(4 << 20) else {
        return;
    };
    nodes(&mut both);
    let none = json!({});
    for command in ["blockdev-backup", "blockdev-mirror"] {
        let missing = |name: &str| {
            let mut all = job("j", "a", "b", json!({}));
            all.as_object_mut().unwrap().remove(name);
            all
        };
        for arguments in [
            missing("device"),
            missing("target"),
            missing("sync"),
            missing("job-id"),
            job("bad id!", "a", "b", none.clone()),
            job("", "a", "b", none.clone()),
            job("0", "a", "b", none.clone()),
            job("j", "nowhere", "b", none.clone()),
            job("j", "a", "nowhere", none.clone()),
            job("j", "a", "a", none.clone()),
            job("j", "a", "b", json!({"sync": "bogus"})),
            job("j", "a", "b", json!({"sync": "incremental"})),
            job("j", "a", "b", json!({"sync": "bitmap"})),
            job("j", "a", "b", json!({"speed": -1})),
            job("j", "a", "b", json!({"speed": "x"})),
            job("j", "a", "b", json!({"speed": 1.0})),
            job("j", "a", "b", json!({"on-source-error": "x"})),
            job("j", "a", "b", json!({"auto-dismiss": 1})),
            job("j", "a", "b", json!({"bogus": 1})),
            job("j", "a", "b", json!({"x": 1, "sync": 5})),
        ] {
            both.same_command(command, arguments);
        }
    }
    for more in [
        json!({"granularity": 3}),
        json!({"granularity": 100}),
        json!({"granularity": 1 << 27}),
        json!({"granularity": 1000}),
        json!({"buf-size": -1}),
        json!({"copy-mode": "x"}),
    ] {
        both.same_command("blockdev-mirror", job("j", "a", "b", more));
    }
    both.same_command("blockdev-backup", job("j", "a", "small", none.clone()));
    both.same_command(
        "blockdev-backup",
        job("j", "a", "b", json!({"compress": true})),
    );
    both.same_command(
        "blockdev-backup",
        job("j", "a", "b", json!({"bitmap": "x"})),
    );
    let action = |data: Value| json!({"type": "blockdev-backup", "data": data});
    for arguments in [
        json!({}),
        json!({"actions": 5}),
        json!({"actions": [5]}),
        json!({"actions": [{}]}),
        json!({"actions": []}),
        json!({"actions": [{"type": "frob", "data": {}}]}),
        json!({"actions": [{"type": "abort"}]}),
        json!({"actions": [{"type": "abort", "data": {}}]}),
        json!({"actions": [{"type": "abort", "data": {"x": 1}}]}),
        json!({"actions": [action(json!({}))]}),
        json!({"actions": [action(json!({"x": 1}))]}),
        json!({"actions": [{"type": "blockdev-mirror", "data": {}}]}),
        json!({"actions": [], "properties": {"completion-mode": "x"}}),
        json!({"actions": [], "properties": {"x": 1}}),
        json!({"actions": [{"type": "abort", "data": {}}], "properties": {"completion-mode": "grouped"}}),
        json!({"actions": [action(job("j", "a", "b", none.clone())), {"type": "abort", "data": {}}]}),
        json!({"actions": [action(job("j", "a", "b", none.clone())), action(job("j", "c", "d", none.clone()))],
               "properties": {"completion-mode": "grouped"}}),
        json!({"actions": [action(job("j", "a", "b", none.clone())), action(job("k", "c", "b", none.clone()))]}),
    ] {
        both.same_command("transaction", arguments);
    }
    // What is in the way of others.
    both.same_command(
        "blockdev-backup",
        job("j", "a", "b", json!({"speed": 1, "auto-dismiss": false})),
    );
    both.same_command("blockdev-backup", job("k", "a", "b", none.clone()));
    both.same_command("blockdev-backup", job("k", "b", "c", none.clone()));
    both.same_command("blockdev-mirror", job("k", "c", "b", none.clone()));
    both.same_command("blockdev-backup", job("j", "c", "d", none.clone()));
    both.same_command("blockdev-del", json!({"node-name": "a"}));
    both.same_command("blockdev-del", json!({"node-name": "b"}));
}

#[test]
fn verbs_are_refused_alike() {
    let Some(mut both) = Both::new(4 << 20) else {
        return;
    };
    nodes(&mut both);
    let verbs = |both: &mut Both, id: &str| {
        for verb in ["job-complete", "job-finalize", "job-dismiss", "job-resume"] {
            both.same_command(verb, json!({"id": id}));
        }
        for verb in ["block-job-complete", "block-job-resume"] {
            both.same_command(verb, json!({"device": id}));
        }
        for verb in ["block-job-finalize", "block-job-dismiss"] {
            both.same_command(verb, json!({"id": id}));
        }
        both.same_command("block-job-set-speed", json!({"device": id, "speed": -5}));
    };
    for (verb, arguments) in [
        ("job-pause", json!({})),
        ("job-pause", json!({"id": 5})),
        ("job-pause", json!({"id": "x", "force": true})),
        ("block-job-pause", json!({"id": "x"})),
        ("block-job-cancel", json!({"device": "x", "force": "x"})),
        ("block-job-set-speed", json!({"device": "x"})),
        ("block-job-set-speed", json!({"device": "x", "speed": 1.5})),
        ("query-jobs", json!({"x": 1})),
        ("quit", json!({"x": 1})),
        ("frob", json!({})),
        ("qmp_capabilities", json!({"enable": ["x"]})),
        ("qmp_capabilities", json!({"enable": 5})),
        ("query-named-block-nodes", json!({"flat": 5})),
    ] {
        both.same_command(verb, arguments);
    }
    verbs(&mut both, "nobody");
    let manual = json!({"speed": 1, "auto-finalize": false, "auto-dismiss": false});
    both.same_until(
        "blockdev-backup",
        &job("j", "a", "b", manual),
        "j",
        "running",
    );
    verbs(&mut both, "j");
    both.same_until("job-pause", &json!({"id": "j"}), "j", "paused");
    both.same_command("job-pause", json!({"id": "j"}));
    both.same_command("block-job-pause", json!({"device": "j"}));
    both.same_command("block-job-cancel", json!({"device": "j"}));
    both.same_command("block-job-set-speed", json!({"device": "j", "speed": 0}));
    both.same_until("job-resume", &json!({"id": "j"}), "j", "pending");
    verbs_but_finalize(&mut both);
    both.same_command("job-finalize", json!({"id": "j"}));
    for verb in [
        "job-pause",
        "job-resume",
        "job-cancel",
        "job-complete",
        "job-finalize",
    ] {
        both.same_command(verb, json!({"id": "j"}));
    }
    both.same_command("job-dismiss", json!({"id": "j"}));
    verbs(&mut both, "j");
}

fn verbs_but_finalize(both: &mut Both) {
    for verb in ["job-complete", "job-dismiss", "job-resume", "job-pause"] {
        both.same_command(verb, json!({"id": "j"}));
    }
    both.same_command("block-job-set-speed", json!({"device": "j", "speed": -5}));
}

#[test]
fn jobs_tell_the_same_story() {
    let Some(mut both) = Both::new(64 << 10) else {
        return;
    };
    nodes(&mut both);
    let debug = |name: &str, over: &str, event: &str| {
        let rules = [json!({"event": event, "errno": 28, "once": true})];
        let below = json!({"driver": "blkdebug", "image": over, "inject-error": rules});
        json!({"driver": "raw", "node-name": name, "file": below})
    };
    both.same_until(
        "blockdev-backup",
        &job("j", "a", "b", json!({})),
        "j",
        "null",
    );
    both.same_until(
        "blockdev-backup",
        &job("j", "a", "b", json!({"sync": "none"})),
        "j",
        "running",
    );
    both.has_begun("j");
    both.same_until("job-cancel", &json!({"id": "j"}), "j", "null");
    both.same_until(
        "blockdev-mirror",
        &job("j", "a", "small", json!({})),
        "j",
        "null",
    );
    for last in ["job-complete", "job-cancel"] {
        both.same_until(
            "blockdev-mirror",
            &job("j", "a", "b", json!({})),
            "j",
            "ready",
        );
        both.same_until("job-pause", &json!({"id": "j"}), "j", "standby");
        both.same_until("job-resume", &json!({"id": "j"}), "j", "ready");
        both.same_until(last, &json!({"id": "j"}), "j", "null");
    }
    for (number, (event, policy)) in [
        ("read_aio", "report"),
        ("write_aio", "report"),
        ("read_aio", "ignore"),
        ("write_aio", "ignore"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("bad{number}");
        let side = if event == "read_aio" { "a" } else { "b" };
        both.same_command("blockdev-add", debug(&name, side, event));
        let (device, target) = if side == "a" {
            (name.as_str(), "c")
        } else {
            ("c", name.as_str())
        };
        let policies = json!({"on-source-error": policy, "on-target-error": policy});
        both.same_until(
            "blockdev-backup",
            &job("j", device, target, policies),
            "j",
            "null",
        );
    }
    both.same_command("blockdev-add", debug("stops", "a", "read_aio"));
    let stop = json!({"on-source-error": "stop"});
    both.same_until(
        "blockdev-backup",
        &job("j", "stops", "c", stop),
        "j",
        "paused",
    );
    both.same_until("job-resume", &json!({"id": "j"}), "j", "null");
}

/// What we say of ourselves is what QEMU says of itself, as far as it goes.
#[test]
fn commands_arguments_and_events_are_qemu_s() {
    let Some((mut theirs, mut client)) = Peer::qemu() else {
        return;
    };
    let whole = client.ask("query-qmp-schema", json!({}))["return"].take();
    client.done("quit", json!({}));
    assert!(theirs.wait().0.success());
    let by_name = |entries: &Value| -> BTreeMap<String, Value> {
        let entries = entries.as_array().unwrap();
        entries
            .iter()
            .map(|entry| (entry["name"].as_str().unwrap().to_owned(), entry.clone()))
            .collect()
    };
    let (theirs, ours) = (by_name(&whole), by_name(&introspect::schema()));
    let mut compared = 0;
    for (name, entry) in &ours {
        if entry["meta-type"] == "command" || entry["meta-type"] == "event" {
            let their_entry = theirs
                .get(name)
                .unwrap_or_else(|| panic!("QEMU has no {name}"));
            assert_eq!(their_entry["meta-type"], entry["meta-type"], "{name}");
            part_of(
                &ours,
                &entry["arg-type"],
                &theirs,
                &their_entry["arg-type"],
                name,
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 32);
}

/// Each member of our type is one of theirs, with the same type as far as it goes, and where theirs must be there so must
/// ours; and what must be there in theirs is in ours.
fn part_of(
    ours: &BTreeMap<String, Value>,
    our_type: &Value,
    theirs: &BTreeMap<String, Value>,
    their_type: &Value,
    path: &str,
) {
    let (Some(our_type), Some(their_type)) = (our_type.as_str(), their_type.as_str()) else {
        panic!("{path}: {our_type} {their_type}");
    };
    let (our_entry, their_entry) = (&ours[our_type], &theirs[their_type]);
    assert_eq!(our_entry["meta-type"], their_entry["meta-type"], "{path}");
    match our_entry["meta-type"].as_str().unwrap() {
        "builtin" => assert_eq!(our_entry["json-type"], their_entry["json-type"], "{path}"),
        "enum" => {
            for value in our_entry["values"].as_array().unwrap() {
                assert!(
                    their_entry["values"].as_array().unwrap().contains(value),
                    "{path}: {value}"
                );
            }
        }
        "array" => {
            let inner = |entry: &Value| entry["element-type"].clone();
            part_of(ours, &inner(our_entry), theirs, &inner(their_entry), path);
        }
        // A reference to a node: compared where the node is.
        "alternate" => {}
        "object" => {
            let members = |entry: &Value| entry["members"].as_array().unwrap().clone();
            let their_members = members(their_entry);
            for member in members(our_entry) {
                let path = format!("{path}.{}", member["name"]);
                let of_theirs = their_members
                    .iter()
                    .find(|their| their["name"] == member["name"]);
                let of_theirs = of_theirs.unwrap_or_else(|| panic!("QEMU has no {path}"));
                let optional = |member: &Value| member.get("default").is_some();
                assert_eq!(optional(&member), optional(of_theirs), "{path}");
                part_of(ours, &member["type"], theirs, &of_theirs["type"], &path);
            }
            for member in &their_members {
                let needed = member.get("default").is_none();
                let found = members(our_entry)
                    .iter()
                    .any(|our| our["name"] == member["name"]);
                assert!(!needed || found, "{path}: QEMU needs {member}");
            }
            for variant in our_entry["variants"].as_array().into_iter().flatten() {
                let their_variants = their_entry["variants"].as_array().unwrap();
                let of_theirs = their_variants
                    .iter()
                    .find(|their| their["case"] == variant["case"]);
                let path = format!("{path}.{}", variant["case"]);
                part_of(
                    ours,
                    &variant["type"],
                    theirs,
                    &of_theirs.unwrap()["type"],
                    &path,
                );
            }
        }
        other => panic!("{path}: {other}"),
    }
}
