//! Goal: the server speaks QMP: it greets, negotiates, answers in order whatever the pieces, tells all clients the same,
//! keeps others out, is kept up by nobody, and ends when it is told to.
//!
//! Method: the command `serve` is started and spoken to over its sockets, in bytes where bytes matter.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]
// Arguments are written where they are sent.
#![allow(clippy::needless_pass_by_value)]

mod serve_support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::Instant;

use blockjob::oracle::Observer;
use blockjob::qmp::command::create;
use blockjob::qmp::json::reader;
use blockjob::qmp::schema::table;
use blockjob::qmp::server::outbox;
use blockjob::qmp::{node, server};
use serde_json::{Value, json};
use serve_support::{Client, Peer};

fn words(answer: &Value) -> &str {
    answer["error"]["desc"].as_str().unwrap()
}

#[test]
fn a_client_is_greeted_and_negotiates_once() {
    let peer = Peer::serve(&[]);
    let mut client = peer.connect();
    let greeting = client.read();
    let package = &greeting["QMP"]["version"]["package"];
    assert!(
        package.as_str().unwrap().starts_with("blockjob "),
        "{greeting}"
    );
    assert_eq!(greeting["QMP"]["capabilities"], json!([]));
    let early = client.ask("query-jobs", json!({}));
    assert_eq!(early["error"]["class"], "CommandNotFound");
    assert_eq!(
        words(&early),
        "Expecting capabilities negotiation with 'qmp_capabilities'"
    );
    let oob = client.ask("qmp_capabilities", json!({"enable": ["oob"]}));
    assert_eq!(words(&oob), "Capability oob not available");
    client.done("qmp_capabilities", json!({"enable": []}));
    let again = client.ask("qmp_capabilities", json!({}));
    assert_eq!(
        words(&again),
        "Capabilities negotiation is already complete, command ignored"
    );
    client.send_message(&json!({"exec-oob": "query-jobs", "id": 1}));
    let oob = client.answer();
    assert_eq!(words(&oob), "QMP input member 'exec-oob' is unexpected");
    assert_eq!(oob["id"], 1);
    client.quit();
    client.judge(Observer::Sole);
}

#[test]
fn commands_are_answered_in_order_with_their_ids_whatever_the_pieces() {
    let peer = Peer::serve(&[]);
    let mut client = peer.client();
    let mut all = String::new();
    for number in 0..200 {
        all += &json!({"execute": "query-jobs", "id": {"n": number}}).to_string();
        all += if number % 3 == 0 { "\n" } else { " " };
    }
    client.send_raw(all.as_bytes());
    for number in 0..200 {
        assert_eq!(client.read(), json!({"return": [], "id": {"n": number}}));
    }
    for byte in b"{ \"execute\": 'query-version',\r\n\"id\":\"\\u00e9\" }" {
        client.send_raw(&[*byte]);
    }
    assert_eq!(client.read()["id"], "é");
    // What stands behind a mistake is read.
    client.send_raw(b"{\"execute\": oops}\n{\"execute\":\"query-jobs\",\"id\":7}\n");
    assert_eq!(
        words(&client.read()),
        "JSON parse error, invalid keyword 'oops'"
    );
    assert_eq!(client.read(), json!({"return": [], "id": 7}));
    // What was asked before the client closed its side is answered.
    client.send_raw(b"{\"execute\":\"query-jobs\",\"id\":8}");
    client.no_more();
    assert_eq!(client.read()["id"], 8);
    assert_eq!(client.read_line(), None);
}

#[test]
fn a_message_beyond_the_limit_is_refused_and_the_next_is_read() {
    let peer = Peer::serve(&[]);
    let mut client = peer.client();
    let long = "x".repeat(reader::BYTES_MAX);
    client.send_raw(format!("{{\"execute\": \"{long}\"}}\n").as_bytes());
    let mut answers = Vec::new();
    client.send_raw(b"{\"execute\":\"query-jobs\",\"id\":9}\n");
    while answers
        .last()
        .is_none_or(|answer: &Value| answer["id"] != 9)
    {
        answers.push(client.read());
    }
    assert_eq!(words(&answers[0]), "JSON token size limit exceeded");
    assert!(answers.len() <= 3, "{answers:?}");
}

#[test]
fn all_clients_that_negotiated_have_the_same_events_in_the_same_order() {
    let peer = Peer::serve(&[]);
    peer.image("a", 4096, 1);
    peer.image("b", 4096, 2);
    let mut silent = peer.connect();
    assert!(silent.read()["QMP"].is_object());
    let mut watchers: Vec<Client> = (0..4).map(|_| peer.client()).collect();
    let mut client = peer.client();
    client.node(&peer, "a");
    client.node(&peer, "b");
    for round in 0..20 {
        let id = format!("j{round}");
        let options = json!({"job-id": id, "device": "a", "target": "b", "sync": "full"});
        let command = if round % 2 == 0 {
            "blockdev-backup"
        } else {
            "blockdev-mirror"
        };
        client.done(command, options);
        if round % 2 == 1 {
            client.until(&id, "ready");
            watchers[round % 4].done("job-complete", json!({"id": id}));
        }
        client.until(&id, "null");
    }
    client.quit();
    let events: Vec<Value> = client.events().collect();
    assert!(events.len() > 120);
    for watcher in &mut watchers {
        watcher.read_to_end();
        assert_eq!(watcher.events().collect::<Vec<_>>(), events);
        watcher.judge(Observer::Shared);
    }
    silent.read_to_end();
    assert_eq!(silent.events().count(), 0);
}

#[test]
fn a_client_that_does_not_read_keeps_nobody_up_and_is_disconnected() {
    let peer = Peer::serve(&[]);
    peer.image("a", 512, 1);
    peer.image("b", 512, 2);
    let mut deaf = peer.client();
    let mut client = peer.client();
    client.node(&peer, "a");
    client.node(&peer, "b");
    // Long ids make long events: twice what is kept for a client.
    let id = "x".repeat(64 << 10);
    let events = 2 * outbox::BYTES_MAX / id.len();
    let mut heard = 0;
    while heard < events {
        client.lines.clear();
        let options = json!({"job-id": id, "device": "a", "target": "b", "sync": "full"});
        client.done("blockdev-backup", options);
        client.until(&id, "null");
        heard += client.events().count();
    }
    // It still can read what was kept, and no more.
    let mut rest = 0;
    while let Some(line) = deaf.read_line_if_whole() {
        rest += line.len();
    }
    assert!(rest < outbox::BYTES_MAX + (2 << 20), "{rest}");
    client.lines.clear();
    client.done("quit", json!({}));
}

#[test]
fn a_client_that_asks_and_does_not_read_waits_for_itself() {
    let peer = Peer::serve(&[]);
    let mut greedy = peer.client();
    let (count, asked) = (300, b"{\"execute\":\"query-qmp-schema\"}".as_slice());
    let mut sender = greedy.sender();
    let asking = std::thread::spawn(move || {
        for _ in 0..count {
            sender.write_all(asked).unwrap();
        }
    });
    // Others are served meanwhile.
    let mut client = peer.client();
    for _ in 0..100 {
        client.ask("query-jobs", json!({}));
    }
    // All is answered once it reads.
    for _ in 0..count {
        assert!(greedy.read_line().unwrap().starts_with("{\"return\": [{"));
    }
    asking.join().unwrap();
}

#[test]
fn the_socket_is_its_owner_s_and_its_folder_too() {
    let peer = Peer::serve(&[]);
    let mode = peer.socket().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let refused = |address: &str| -> String {
        let ran = Command::new(snapbox::cmd::cargo_bin!("blockjob"))
            .args(["serve", "--qmp", address])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(2), "{ran:?}");
        String::from_utf8(ran.stderr).unwrap()
    };
    let taken = refused(&format!("unix:{}", peer.socket().display()));
    assert!(taken.contains("somebody listens there"), "{taken}");
    let open = peer.folder().join("open");
    std::fs::create_dir(&open).unwrap();
    for mode in [0o777, 0o1777, 0o770] {
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(mode)).unwrap();
        let words = refused(&format!("unix:{}", open.join("s").display()));
        assert!(
            words.contains("open to others") && words.contains("mkdir -m 700"),
            "{words}"
        );
        assert!(!open.join("s").exists());
    }
    peer.image("file", 1, 1);
    let words = refused(&format!("unix:{}", peer.folder().join("file").display()));
    assert!(words.contains("is no socket"), "{words}");
    assert_eq!(peer.contents("file"), [1]);
    assert!(refused("tcp:0.0.0.0:0").contains("no loopback address"));
    assert!(refused("vsock:1").contains("neither unix:PATH nor tcp:"));
    // What a server that is gone left is replaced.
    let left = peer.folder().join("left");
    drop(UnixListener::bind(&left).unwrap());
    let mut second = Peer::serve_at(&format!("unix:{}", left.display()));
    Client::connect(&left).quit_unnegotiated();
    assert!(second.wait().0.success());
    assert!(!left.exists());
}

#[test]
fn a_loopback_address_serves_as_well() {
    let mut peer = Peer::serve(&["--qmp", "tcp:127.0.0.1:0"]);
    let address = peer.tcp_address().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"{\"execute\":\"qmp_capabilities\"}{\"execute\":\"quit\"}")
        .unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let answers: Vec<&str> = answers.lines().collect();
    assert!(answers[0].starts_with("{\"QMP\": "), "{answers:?}");
    assert_eq!(answers[1..], ["{\"return\": {}}", "{\"return\": {}}"]);
    assert!(peer.wait().0.success());
}

/// What is in backticks in the table under this heading, in its first column.
fn first_column(page: &str, heading: &str) -> Vec<String> {
    let section = page.split(heading).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap());
    let mut names: Vec<String> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

#[test]
fn the_page_has_every_command_event_and_limit() {
    let page = include_str!("../docs/serve.md");
    let commands: Vec<_> = table::COMMANDS.iter().map(|command| command.name).collect();
    assert_eq!(first_column(page, "\n## Commands\n"), commands);
    let says = page
        .split("\nEvents: ")
        .nth(1)
        .unwrap()
        .split(". ")
        .next()
        .unwrap();
    let mut events: Vec<_> = says.split('`').skip(1).step_by(2).collect();
    events.sort_unstable();
    let known: Vec<_> = table::EVENTS.iter().map(|event| event.name).collect();
    assert_eq!(events, known);
    let limits = page
        .split("\n## Limits\n")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap();
    for limit in [
        format!(
            "| {} MiB, 65,536 tokens, 1,024 brackets",
            reader::BYTES_MAX >> 20
        ),
        format!("| {} KiB of answers |", outbox::BACK_PRESSURE_BYTES >> 10),
        format!("| {} MiB |", outbox::BYTES_MAX >> 20),
        format!("| clients | {} |", server::CLIENTS_MAX),
        "| 1,024; 256 |".to_owned(),
    ] {
        assert!(limits.contains(&limit), "{limit}");
    }
    assert_eq!((reader::TOKENS_MAX, reader::NESTING_MAX), (65_536, 1024));
    assert_eq!((node::NODES_MAX, create::ACTIONS_MAX), (1024, 256));
}

/// Jobs in every status that lasts.
fn busy(peer: &Peer, client: &mut Client) {
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        peer.image(name, 1 << 20, 1);
        client.node(peer, name);
    }
    let options = |id: &str, source: &str, target: &str, more: Value| {
        let mut all = json!({"job-id": id, "device": source, "target": target, "sync": "full"});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        all
    };
    let slow = json!({"speed": 1});
    client.done(
        "blockdev-backup",
        options("running", "a", "b", slow.clone()),
    );
    client.done("blockdev-backup", options("paused", "a", "c", slow));
    client.done("job-pause", json!({"id": "paused"}));
    client.done("blockdev-mirror", options("ready", "d", "e", json!({})));
    let manual = json!({"auto-finalize": false, "auto-dismiss": false});
    client.done(
        "blockdev-backup",
        options("pending", "a", "f", manual.clone()),
    );
    client.done("blockdev-backup", options("concluded", "a", "g", manual));
    client.until("concluded", "pending");
    client.done("job-finalize", json!({"id": "concluded"}));
    for status in ["paused", "ready", "pending", "concluded"] {
        client.until(status, status);
    }
}

#[test]
fn the_end_cancels_by_force_tells_of_it_and_leaves_no_socket() {
    for signal in [None, Some("TERM"), Some("INT"), Some("HUP")] {
        let mut peer = Peer::serve(&["--trace", "trace.jsonl"]);
        let mut client = peer.client();
        busy(&peer, &mut client);
        let mut watcher = peer.client();
        let begun = Instant::now();
        match signal {
            Some(signal) => {
                peer.signal(signal);
                client.read_to_end();
            }
            None => client.quit(),
        }
        let (status, words) = peer.wait();
        eprintln!("the end after {signal:?} took {:?}", begun.elapsed());
        assert!(status.success(), "{words}");
        for id in ["running", "paused", "ready", "pending", "concluded"] {
            assert_eq!(client.statuses(id).last().unwrap(), "null", "{id}");
        }
        watcher.read_to_end();
        assert_eq!(watcher.statuses("running").last().unwrap(), "null");
        assert!(!peer.socket().exists());
        // Signals are no commands that a conversation shows.
        if signal.is_none() {
            client.judge(Observer::Sole);
        }
        serve_support::judge_trace(&peer.folder().join("trace.jsonl"));
    }
}

#[test]
fn sigusr1_prints_the_jobs() {
    let mut peer = Peer::serve(&[]);
    let mut client = peer.client();
    busy(&peer, &mut client);
    peer.signal("USR1");
    let words = peer.next_words();
    assert!(
        words.contains("concluded: concluded, 1048576 of 1048576"),
        "{words}"
    );
    client.quit();
}
