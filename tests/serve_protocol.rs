//! Goal: the server speaks QMP: it greets, negotiates, answers in order whatever the pieces, tells all clients the same,
//! and is kept up by nobody. (Who may connect is in `serve_guard.rs`, how it ends in `serve_end.rs`.)
//!
//! Method: the command `serve` is started and spoken to over its sockets, in bytes where bytes matter.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]
// Arguments are written where they are sent.
#![allow(clippy::needless_pass_by_value)]

mod serve_support;

use std::io::Write as _;

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
fn a_message_up_to_the_limit_is_read() {
    let peer = Peer::serve(&[]);
    let mut client = peer.client();
    // Blanks do not count: only what is between the braces, and they, do.
    let message = |text: &str| format!("{{\"execute\":\"query-jobs\",\"id\":\"{text}\"}}");
    let id = "x".repeat(reader::BYTES_MAX - message("").len());
    client.send_raw((" ".repeat(100) + &message(&id) + "\n").as_bytes());
    assert!(client.read() == json!({"return": [], "id": id}));
    // One byte more is too much, and what comes behind it is read.
    client.send_raw((message(&(id + "x")) + "\n" + &message("behind") + "\n").as_bytes());
    let mut answers = vec![client.read()];
    while answers.last().unwrap()["id"] != "behind" {
        answers.push(client.read());
    }
    assert_eq!(words(&answers[0]), "JSON token size limit exceeded");
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
