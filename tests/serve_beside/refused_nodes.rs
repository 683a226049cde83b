//! Nodes that are refused.

use serde_json::{Value, json};

use super::both::Both;

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
