//! Image locks: what the one works on, the other leaves alone, in the same words.

use serde_json::{Value, json};

use crate::serve_support::{Client, Peer};

/// Four images that both have open, and their nodes.
fn shared() -> Option<[(Peer, Client); 2]> {
    let theirs = Peer::qemu()?;
    let ours = Peer::serve(&[]);
    let client = ours.client();
    let mut both = [(ours, client), theirs];
    let folder = both[0].0.folder().to_owned();
    for name in ["a", "b", "c", "d"] {
        both[0].0.image(name, 4 << 20, 1);
        for (_, client) in &mut both {
            let file = json!({"driver": "file", "filename": folder.join(name)});
            client.done(
                "blockdev-add",
                json!({"driver": "raw", "node-name": name, "file": file}),
            );
        }
    }
    Some(both)
}

/// Asks for a job that does not come to its end.
fn ask(client: &mut Client, id: &str, (command, source, target): (&str, &str, &str)) -> Value {
    let arguments =
        json!({"job-id": id, "device": source, "target": target, "sync": "full", "speed": 1});
    client.ask(command, arguments)
}

fn end(client: &mut Client, id: &str) {
    client.done("job-cancel", json!({"id": id}));
    while client.statuses(id).last().is_none_or(|last| last != "null") {
        client.read();
    }
}

#[test]
fn who_works_on_a_file_keeps_the_same_from_the_other() {
    let Some(mut both) = shared() else { return };
    let (backup, mirror) = ("blockdev-backup", "blockdev-mirror");
    let wanted: [(&str, &str, &str); 8] = [
        (backup, "a", "d"),
        (backup, "b", "d"),
        (backup, "d", "a"),
        (backup, "d", "b"),
        (mirror, "a", "d"),
        (mirror, "b", "d"),
        (mirror, "d", "a"),
        (mirror, "d", "b"),
    ];
    let mut refused = 0;
    for there in [(backup, "a", "b"), (mirror, "a", "b")] {
        let mut tables = Vec::new();
        for holder in [0, 1] {
            let mut answers = Vec::new();
            let held = ask(&mut both[holder].1, "held", there);
            assert_eq!(held, json!({"return": {}}));
            both[holder].1.until("held", "running");
            for (number, job) in wanted.into_iter().enumerate() {
                let id = format!("x{holder}{number}");
                let client = &mut both[1 - holder].1;
                let mut answer = ask(client, &id, job);
                if answer["return"].is_object() {
                    end(client, &id);
                }
                answers.push((job, answer["error"]["desc"].take()));
            }
            let client = &mut both[holder].1;
            end(client, "held");
            client.lines.clear();
            tables.push(answers);
        }
        assert_eq!(tables[0], tables[1], "{there:?}");
        let refusals = tables[0].iter().filter(|(_, words)| words.is_string());
        refused += refusals.count();
    }
    // As docs/serve.md has it.
    assert_eq!(refused, 9);
}
