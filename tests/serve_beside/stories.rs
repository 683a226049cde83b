//! Jobs, with their events.

use serde_json::json;

use super::both::{Both, job, nodes};

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
    // What may not be written may be read, also where nothing is copied.
    let below = json!({"driver": "file", "filename": "FOLDER/d"});
    both.same_command(
        "blockdev-add",
        json!({"driver": "raw", "node-name": "ro", "read-only": true, "file": below}),
    );
    for (command, status) in [("blockdev-backup", "running"), ("blockdev-mirror", "ready")] {
        both.same_until(
            command,
            &job("j", "ro", "b", json!({"sync": "none"})),
            "j",
            status,
        );
        both.has_begun("j");
        both.same_until("job-cancel", &json!({"id": "j"}), "j", "null");
    }
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
