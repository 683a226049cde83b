//! Both, and what is compared of what they say.

use serde_json::{Value, json};

use crate::serve_support::{Client, Peer};

/// Both, with the same images: `a` to `d` of `length` bytes, and smaller ones.
pub struct Both {
    pub ours: (Peer, Client),
    pub theirs: (Peer, Client),
    asked: u64,
}

impl Both {
    pub fn new(length: usize) -> Option<Both> {
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
    pub fn same(&mut self, bytes: &[u8]) {
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
    pub fn same_command(&mut self, command: &str, arguments: Value) {
        let message = json!({"execute": command, "arguments": arguments, "id": [1, "x"]});
        self.same(message.to_string().as_bytes());
    }

    /// The same, for what goes on after its answer: until the job is in this status.
    #[track_caller]
    pub fn same_until(&mut self, command: &str, arguments: &Value, id: &str, status: &str) {
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
    /// Waits until the job knows how much there is to do, or has done it.
    pub fn has_begun(&mut self, id: &str) {
        for (_, client) in [&mut self.ours, &mut self.theirs] {
            loop {
                let jobs = client.ask("query-jobs", json!({}))["return"].take();
                let mut jobs = jobs.as_array().unwrap().iter();
                let known = |job: &Value| job["total-progress"] != 0 || job["status"] == "ready";
                if jobs.any(|job| job["id"] == id && known(job)) {
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

pub fn file(name: &str, node: &str) -> Value {
    json!({"driver": "raw", "node-name": node, "file": {"driver": "file", "filename": format!("FOLDER/{name}")}})
}

pub fn nodes(both: &mut Both) {
    for name in ["a", "b", "c", "d", "small", "odd"] {
        both.same_command("blockdev-add", file(name, name));
    }
}

pub fn job(id: &str, device: &str, target: &str, more: Value) -> Value {
    let mut all = json!({"job-id": id, "device": device, "target": target, "sync": "full"});
    all.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    all
}
