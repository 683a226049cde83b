//! Goal: whatever a peer does, `blockjob conform` ends, says what it was, and leaves nothing behind.
//! Method: peers that are made up here: good ones that have no jobs, and those that hang, die, flood, lie and
//! stammer. No QEMU is needed.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;
mod conform_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blockjob::conform::campaign::{Campaign, Report};
use blockjob::conform::divergence::Kind;
use blockjob::conform::program::Step;
use cli_support::run as command;
use conform_support::{campaign, made_up, plain, run};
use serde_json::{Value, json};

/// One program with a peer that does `otherwise` from the second `query-jobs` on: the first belongs to the opening.
fn one(otherwise: impl Fn(&Value) -> Option<Vec<String>> + Send + Sync + 'static) -> Report {
    let asked = Arc::new(AtomicUsize::new(0));
    let source = made_up(move |command| {
        if command["execute"] == "query-jobs" && asked.fetch_add(1, Ordering::Relaxed) > 0 {
            otherwise(command)
        } else {
            Some(vec![plain(command)])
        }
    });
    let campaign = Campaign {
        limit: Duration::from_secs(1),
        ..campaign(source, 1, 1)
    };
    run(&campaign)
}

fn only(report: &Report) -> (Kind, &str) {
    let [found] = report.found.as_slice() else {
        panic!("{:?}", report.found);
    };
    assert_eq!(found.known, None);
    (found.divergence.kind, &found.divergence.message)
}

#[test]
fn a_peer_that_refuses_everything_properly_does_not_diverge() {
    let source = made_up(|command| Some(vec![plain(command)]));
    let report = run(&campaign(source, 30, 1));
    assert!(report.found.is_empty(), "{:?}", report.found);
    assert_eq!((report.programs, report.started), (30, 1));
}

#[test]
fn a_peer_that_does_not_answer_is_silent() {
    let report = one(|_| Some(vec![]));
    let (kind, message) = only(&report);
    assert_eq!(kind, Kind::Silent);
    assert!(message.contains("it had not answered"), "{message}");
    assert!(message.contains("query-jobs"), "{message}");
}

#[test]
fn a_peer_that_ends_has_died() {
    let report = one(|_| None);
    assert_eq!(only(&report).0, Kind::Died);
}

#[test]
fn a_peer_that_says_far_too_much_floods() {
    let event = json!({"event": "NIC_RX_FILTER_CHANGED", "data": {},
        "timestamp": {"seconds": 1, "microseconds": 1}});
    let report = one(move |_| Some(vec![event.to_string(); 30_000]));
    assert_eq!(only(&report).0, Kind::Flooded);
}

#[test]
fn a_line_without_end_is_garbled_and_so_is_what_is_no_json() {
    let report = one(|_| Some(vec!["x".repeat(3 << 20)]));
    let (kind, message) = only(&report);
    assert_eq!(kind, Kind::Garbled);
    assert!(message.contains("1048576 bytes"), "{message}");
    let report = one(|_| Some(vec!["{\"return\": [}".to_owned()]));
    assert_eq!(only(&report).0, Kind::Garbled);
}

#[test]
fn a_list_of_jobs_that_nobody_made_is_rejected() {
    let report = one(|command| {
        let job = json!({"id": "j9", "type": "backup", "status": "running",
            "current-progress": 0, "total-progress": 1});
        Some(vec![
            json!({"return": [job], "id": command["id"]}).to_string(),
        ])
    });
    assert_eq!(only(&report).0, Kind::Rejected);
    assert_eq!(report.found[0].divergence.rule, Some("unknown-job"));
}

#[test]
fn a_peer_whose_jobs_are_never_waiting_nor_pending_is_rejected() {
    let source = made_up(|command| {
        if command["execute"] != "blockdev-backup" {
            return Some(vec![plain(command)]);
        }
        let arguments = &command["arguments"];
        let status = |status: &str| json!({"event": "JOB_STATUS_CHANGE", "data": {"id": arguments["job-id"], "status": status}});
        let speed = arguments["speed"].as_i64().unwrap_or(0);
        let completed = json!({"event": "BLOCK_JOB_COMPLETED", "data": {"device": arguments["job-id"],
            "type": "backup", "len": 8, "offset": 8, "speed": speed}});
        let answer = json!({"return": {}, "id": command["id"]});
        let said = [status("created"), status("running"), answer, completed];
        Some(said.iter().map(Value::to_string).collect())
    });
    let report = run(&campaign(source, 8, 3));
    // Each such job shows it, however many there are.
    let rules: Vec<_> = report
        .found
        .iter()
        .map(|found| (found.divergence.kind, found.divergence.rule))
        .collect();
    assert!(rules.len() > 3, "{rules:?}");
    let missing = (Kind::Rejected, Some("terminal-event-order"));
    assert!(rules.contains(&missing), "{rules:?}");
    assert!(
        rules.iter().all(|(kind, _)| *kind == Kind::Rejected),
        "{rules:?}"
    );
}

#[test]
fn what_is_no_peer_is_told_why_with_what_it_said_last() {
    command(["conform", "--spawn", "/nowhere/qemu-storage-daemon"]).refused(&[
        "no peer from /nowhere/qemu-storage-daemon",
        "No such file",
        "tip: ",
    ]);
    command(["conform", "--qmp", "unix:/nowhere/socket"])
        .refused(&["no peer from unix:/nowhere/socket", "No such file"]);
    command(["conform", "--exec", "echo no more tea >&2; exit 7"]).refused(&[
        "ended before it had greeted",
        "exit code 7",
        "no more tea",
    ]);
    command(["conform", "--exec", "echo hello; cat"]).refused(&["does not speak QMP", "hello"]);
    command(["conform", "--exec", "exec sleep 1000", "--limit", "1"])
        .refused(&["did not greet or answer within 1 s"]);
    command(["conform", "--exec", "exit 3 # {socket}"])
        .refused(&["ended before it listened on the socket: exit code 3"]);
}

#[test]
fn usage_is_explained() {
    command(["conform"]).refused(&["--spawn", "--exec", "--qmp"]);
    command(["conform", "--spawn", "a", "--exec", "b"]).refused(&["cannot be used with"]);
    command(["conform", "--qmp", "/a"]).refused(&["unix:PATH"]);
    command(["conform", "--spawn", "a", "--profile", "x"]).refused(&["no such profile"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("program.json");
    std::fs::write(&file, "{}").unwrap();
    let file = file.to_str().unwrap();
    command(["conform", "--exec", "cat", "--replay", file])
        .refused(&["no program of `blockjob conform`", "blockjob_program"]);
    command(["conform", "--exec", "cat", "--known", file])
        .refused(&["no list of known deviations", "docs/conform.md"]);
}

#[test]
fn a_divergence_is_shrunk_to_the_one_command_that_shows_it() {
    let source = made_up(|command| {
        Some(vec![if command["execute"] == "blockdev-backup" {
            "nonsense".to_owned()
        } else {
            plain(command)
        }])
    });
    let report = run(&Campaign {
        shrink: true,
        ..campaign(source, 1, 1)
    });
    assert_eq!(only(&report).0, Kind::Garbled);
    let found = &report.found[0];
    assert_eq!(found.again, Some(true));
    let commands: Vec<_> = found.program.steps.iter().map(Step::command).collect();
    assert_eq!(commands, [Some("blockdev-backup")]);
    assert!(found.program.files.is_empty(), "no step names an image");
}

#[test]
fn what_is_not_shown_again_is_said_to_be_a_race() {
    let asked = AtomicUsize::new(0);
    let source = made_up(move |command| {
        let first =
            command["execute"] == "blockdev-backup" && asked.fetch_add(1, Ordering::Relaxed) == 0;
        Some(vec![if first {
            "nonsense".to_owned()
        } else {
            plain(command)
        }])
    });
    let report = run(&Campaign {
        shrink: true,
        ..campaign(source, 1, 1)
    });
    assert_eq!(only(&report).0, Kind::Garbled);
    assert_eq!(report.found[0].again, Some(false));
}

#[test]
fn two_peers_that_answer_otherwise_differ() {
    let good = made_up(|command| Some(vec![plain(command)]));
    let other = made_up(|command| {
        Some(vec![if command["execute"] == "blockdev-add" {
            let error = json!({"class": "GenericError", "desc": "there is no room"});
            json!({"error": error, "id": command["id"]}).to_string()
        } else {
            plain(command)
        }])
    });
    let against = |other| Campaign {
        against: Some(other),
        ..campaign(good.clone(), 4, 1)
    };
    let report = run(&against(other));
    assert!(
        report
            .found
            .iter()
            .all(|found| found.divergence.kind == Kind::Differs)
    );
    assert_eq!((report.found.len(), report.compared), (4, 4));
    let report = run(&against(good.clone()));
    assert_eq!((report.found.len(), report.compared), (0, 4));
}

#[test]
fn a_difference_is_shrunk_to_the_one_command_that_shows_it() {
    let good = made_up(|command| Some(vec![plain(command)]));
    let other = made_up(|command| {
        let node = &command["arguments"]["node-name"];
        Some(vec![
            if command["execute"] == "blockdev-add" && node == "s1" {
                let error = json!({"class": "GenericError", "desc": "there is no room"});
                json!({"error": error, "id": command["id"]}).to_string()
            } else {
                plain(command)
            },
        ])
    });
    let report = run(&Campaign {
        against: Some(other),
        shrink: true,
        ..campaign(good, 12, 1)
    });
    assert!(!report.found.is_empty(), "some program has two sources");
    for found in &report.found {
        assert_eq!(found.divergence.kind, Kind::Differs);
        assert_eq!(found.again, Some(true));
        let commands: Vec<_> = found.program.steps.iter().map(Step::command).collect();
        assert_eq!(
            commands,
            [Some("blockdev-add")],
            "{}",
            found.divergence.text
        );
    }
}
