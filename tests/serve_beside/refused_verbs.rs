//! Requests to jobs that are refused.

use serde_json::json;

use super::both::{Both, job, nodes};

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
