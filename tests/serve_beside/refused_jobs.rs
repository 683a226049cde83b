//! Jobs that are refused.

use serde_json::{Value, json};

use super::both::{Both, job, nodes};

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
