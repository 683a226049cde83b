//! Goal: an answer that the job layer cannot have given is refused, however seldom such a mistake is.
//!
//! Method: a short conversation with QEMU 10.0, in which one job runs; each case is one more exchange, first as QEMU
//! answers, then otherwise.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod recordings;

use blockjob::oracle::{Options, check_reader};
use serde_json::{Value, json};

fn error(class: &str, desc: &str) -> Value {
    json!({"error": {"class": class, "desc": desc}})
}

fn status(job: &str, status: &str) -> Value {
    json!({"event": "JOB_STATUS_CHANGE", "data": {"id": job, "status": status}})
}

fn stream(job: &str) -> Value {
    json!({"execute": "block-stream", "arguments": {"job-id": job, "device": "n", "auto-dismiss": false}})
}

/// How the conversation is judged: by which rule, and in which of these last lines, from 1.
fn judged(last: &[Value]) -> Option<(&'static str, u64)> {
    let well = json!({"return": {}});
    let mut messages = vec![
        json!({"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": ""}, "capabilities": []}}),
        json!({"execute": "qmp_capabilities"}),
        well.clone(),
        json!({"execute": "query-jobs"}),
        json!({"return": []}),
        stream("j"),
        status("j", "created"),
        status("j", "running"),
        well,
    ];
    let before = messages.len() as u64;
    messages.extend_from_slice(last);
    let text = recordings::written(&messages, |message| {
        let sent = message.get("execute").is_some();
        json!({"t": 0, "dir": if sent { ">" } else { "<" }, "msg": message}).to_string()
    });
    let verdict = check_reader("answers", text.as_bytes(), &Options::default());
    verdict
        .fault()
        .map(|fault| (fault.rule, fault.line - before))
}

#[test]
fn an_error_has_the_class_of_its_text() {
    let asked = |name: &str, argument: &str, id: &str| json!({"execute": name, "arguments": {argument: id}});
    let missing = "Parameter 'id' is missing";
    let running = "Job 'j' in state 'running' cannot accept command verb 'dismiss'";
    for (command, class, text) in [
        (
            asked("job-dismiss", "id", "k"),
            "GenericError",
            "Job not found",
        ),
        (
            asked("block-job-pause", "device", "k"),
            "DeviceNotActive",
            "Block job 'k' not found",
        ),
        (asked("job-dismiss", "id", "j"), "GenericError", running),
        (asked("job-pause", "device", "j"), "GenericError", missing),
    ] {
        assert_eq!(
            judged(&[command.clone(), error(class, text)]),
            None,
            "{text}"
        );
        for other in ["CommandNotFound", "DeviceNotFound"] {
            let found = judged(&[command.clone(), error(other, text)]);
            assert_eq!(found, Some(("error-class", 2)), "{other}: {text}");
        }
    }
    // Commands may be missing, whatever they are for.
    let unknown = error(
        "CommandNotFound",
        "The command job-dismiss has not been found",
    );
    assert_eq!(judged(&[asked("job-dismiss", "id", "j"), unknown]), None);
}

#[test]
fn a_driver_is_not_asked_to_complete_what_the_table_refuses() {
    let complete = |id: &str| json!({"execute": "job-complete", "arguments": {"id": id}});
    let own = error("GenericError", "The node has gone away");
    let running = "Job 'j' in state 'running' cannot accept command verb 'complete'";
    assert_eq!(
        judged(&[complete("j"), error("GenericError", running)]),
        None
    );
    assert_eq!(
        judged(&[complete("j"), own.clone()]),
        Some(("refusal-text", 2))
    );
    assert_eq!(
        judged(&[complete("k"), own.clone()]),
        Some(("refusal-text", 2))
    );
    let mirror = json!({"execute": "blockdev-mirror",
        "arguments": {"job-id": "m", "device": "a", "target": "b", "sync": "full"}});
    let ready = json!({"event": "BLOCK_JOB_READY",
        "data": {"device": "m", "type": "mirror", "len": 0, "offset": 0, "speed": 0}});
    let converged = [
        mirror,
        status("m", "created"),
        status("m", "running"),
        json!({"return": {}}),
        status("m", "ready"),
        ready,
    ];
    assert_eq!(
        judged(&[&converged[..], &[complete("m"), own]].concat()),
        None
    );
}

#[test]
fn a_command_that_has_started_its_job_does_not_fail() {
    let failed = error("GenericError", "No space left");
    let started = [stream("k"), status("k", "created"), status("k", "running")];
    let terminal = json!({"event": "BLOCK_JOB_COMPLETED",
        "data": {"device": "k", "type": "stream", "len": 0, "offset": 0, "speed": 0}});
    let mut whole = started.to_vec();
    whole[0]["arguments"]
        .as_object_mut()
        .unwrap()
        .remove("auto-dismiss");
    whole.extend([status("k", "waiting"), status("k", "pending"), terminal]);
    whole.extend([status("k", "concluded"), status("k", "null")]);
    let answered = |reply: Value| judged(&[whole.as_slice(), &[reply]].concat());
    assert_eq!(answered(json!({"return": {}})), None);
    assert_eq!(
        answered(failed.clone()),
        Some(("creation-failed-but-alive", 9))
    );
    // One that was never started is gone with the command's failure.
    let unstarted = [
        stream("k"),
        status("k", "created"),
        status("k", "null"),
        failed,
    ];
    assert_eq!(judged(&unstarted), None);
}

#[test]
fn a_run_that_is_listed_with_its_error_does_not_go_on() {
    let listed = json!({"return": [{"id": "j", "type": "stream", "status": "running",
        "current-progress": 0, "total-progress": 8, "error": "Input/output error"}]});
    let then = |next: &str| {
        judged(&[
            json!({"execute": "query-jobs"}),
            listed.clone(),
            status("j", next),
        ])
    };
    assert_eq!(then("aborting"), None);
    for next in ["paused", "waiting"] {
        assert_eq!(then(next), Some(("success-after-error", 3)), "{next}");
    }
}
