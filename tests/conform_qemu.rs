//! Goal: QEMU does not diverge but where it is known to, its defects show again, and whatever a proxy changes in
//! what it says is found.
//! Method: programs against `qemu-storage-daemon`, with nothing between and with a proxy that makes one change; the
//! programs of `docs/findings`. `cargo xtask test` names the daemon; without it every test here says that it was
//! skipped. Longer runs are made by hand: docs/conform.md has the figures.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;
mod conform_support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blockjob::conform::campaign::{Campaign, Report};
use blockjob::conform::peer::Source;
use cli_support::{assert_valid, run as command, schema};
use conform_support::{Said, Tamper, campaign, daemon, run, tampered};
use serde_json::{Value, json};

/// Every test here prints what it follows from.
const SEED: u64 = 20_261_130;

fn found(report: &Report) -> Vec<String> {
    report
        .found
        .iter()
        .filter(|found| found.known.is_none())
        .map(|found| found.divergence.text.clone())
        .collect()
}

#[test]
fn a_few_dozen_programs_do_not_diverge_and_reach_the_tables() {
    let Some(program) = daemon() else { return };
    eprintln!("seed {SEED}");
    let source = Source::Daemon {
        program,
        witness: true,
    };
    let report = run(&Campaign {
        peers: 2,
        ..campaign(source, 60, SEED)
    });
    assert_eq!(found(&report), Vec::<String>::new());
    assert_eq!(report.programs, 60);
    let (cells, _) = report.cover.cells(report.peer.profile);
    let (moves, _) = report.cover.edges();
    eprintln!("{cells} cells, {moves} moves");
    // Steering reaches most within a few programs; without it these are some 40.
    assert!(
        cells >= 45,
        "{:?}",
        report.cover.cells_missing(report.peer.profile)
    );
    assert!(moves >= 17, "{:?}", report.cover.edges_missing());
}

#[test]
fn the_command_says_what_its_schema_says() {
    let Some(program) = daemon() else { return };
    let program = program.to_str().unwrap();
    let seed = SEED.to_string();
    let ran = command([
        "conform", "--spawn", program, "--runs", "20", "--seed", &seed, "--json",
    ]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let schema = schema("conform");
    let objects = ran.json();
    for object in &objects {
        assert_valid(&schema, object);
    }
    let summary = objects.last().unwrap();
    assert_eq!(summary["programs"], 20);
    assert_eq!(summary["divergences"], 0);
    let known: Vec<&Value> = objects
        .iter()
        .filter(|one| one["outcome"] == "known")
        .collect();
    let ids: Vec<&str> = known
        .iter()
        .filter_map(|one| one["known"].as_str())
        .collect();
    assert!(ids.contains(&"group-abort-waits-for-unstarted"), "{ids:?}");
    assert!(ids.contains(&"second-complete-with-replaces"), "{ids:?}");
}

/// What each finding shows, by the name of its file.
const FINDINGS: &str = include_str!("../docs/findings/index.json");

#[test]
fn each_finding_shows_again_and_is_told_of() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/findings");
    let listed: Value = serde_json::from_str(FINDINGS).unwrap();
    let listed = listed["findings"].as_array().unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_json = Path::new(&name)
            .extension()
            .is_some_and(|ending| ending == "json");
        if is_json && name != "index.json" {
            files += 1;
            assert!(
                listed.iter().any(|one| one["program"] == name.as_str()),
                "{name}"
            );
        }
    }
    assert_eq!(files, listed.len());
    for one in listed {
        let page = folder.join(one["page"].as_str().unwrap());
        let text = std::fs::read_to_string(&page).unwrap();
        assert!(text.contains(one["program"].as_str().unwrap()), "{page:?}");
    }
    let Some(program) = daemon() else { return };
    let program = program.to_str().unwrap();
    for one in listed {
        let path = folder.join(one["program"].as_str().unwrap());
        let path = path.to_str().unwrap();
        let ran = command(["conform", "--spawn", program, "--replay", path, "--json"]);
        let [result] = ran.json().try_into().unwrap();
        assert_valid(&schema("conform"), &result);
        // Where one is said to be of some versions alone, the others do not have it.
        let profiles = one["profiles"].as_array();
        if profiles.is_some_and(|have| !have.contains(&result["profile"])) {
            assert_eq!(
                (ran.code, &result["outcome"]),
                (0, &json!("accept")),
                "{path}: {result}"
            );
            continue;
        }
        for member in ["kind", "rule", "outcome", "known"] {
            assert_eq!(result.get(member), one.get(member), "{path}: {result}");
        }
        let code = i32::from(one["outcome"] == "divergence");
        assert_eq!(ran.code, code, "{ran:?}");
    }
}

/// What a server of ours differs in on purpose: a file that a mirror works on is no other job's source, whatever its node.
#[test]
fn a_difference_is_replayed_on_both() {
    let Some(program) = daemon() else { return };
    let program = program.to_str().unwrap();
    let node = |name: &str, file: &str| {
        let below = json!({"driver": "file", "filename": format!("$DIR/{file}")});
        let node = json!({"driver": "raw", "node-name": name, "file": below});
        json!({"send": {"execute": "blockdev-add", "arguments": node}})
    };
    let job = |command: &str, id: &str, source: &str, target: &str| {
        let arguments =
            json!({"job-id": id, "device": source, "target": target, "sync": "full", "speed": 1});
        json!({"send": {"execute": command, "arguments": arguments}})
    };
    let blank = json!({"kind": "blank", "size": 4 << 20});
    let text = json!({"blockjob_program": 1, "about": "a backup of what is mirrored",
        "files": {"a.img": {"kind": "data", "size": 4 << 20}, "b.img": blank, "c.img": blank},
        "steps": [node("a", "a.img"), node("again", "a.img"), node("b", "b.img"), node("c", "c.img"),
            job("blockdev-mirror", "j0", "a", "b"), {"await": {"job": "j0", "status": ["running"]}},
            job("blockdev-backup", "j1", "again", "c")]});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("program.json");
    std::fs::write(&file, text.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let ours = format!(
        "{} serve --qmp unix:{{socket}}",
        snapbox::cmd::cargo_bin!("blockjob").display()
    );
    let alone = ["conform", "--spawn", program, "--replay", file, "--json"];
    let ran = command(alone);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let ran = command([&alone[..], &["--against", &ours]].concat());
    let [result] = ran.json().try_into().unwrap();
    assert_valid(&schema("conform"), &result);
    assert_eq!(
        (ran.code, &result["kind"], &result["known"]),
        (0, &json!("differs"), &json!("one-file-by-another-node")),
        "{ran:?}"
    );
    let message = result["message"].as_str().unwrap();
    assert!(
        message.starts_with("step 7, blockdev-backup: "),
        "{message}"
    );
}

/// It is the event of a change to this status.
fn becomes(message: &Value, status: &str) -> bool {
    message["event"] == "JOB_STATUS_CHANGE" && message["data"]["status"] == status
}

/// `message` with `change` made to it.
fn with(message: &Value, change: impl FnOnce(&mut Value)) -> Vec<Value> {
    let mut changed = message.clone();
    change(&mut changed);
    vec![changed]
}

/// An error of the verb table.
fn refused(message: &Value) -> bool {
    let text = message["error"]["desc"].as_str();
    text.is_some_and(|text| text.contains("cannot accept command verb"))
}

/// A change, by name: what it makes of a message.
type Change = (&'static str, fn() -> Tamper);

/// A change that looks at one message at a time.
macro_rules! change {
    ($change:expr) => {
        || -> Tamper {
            let change: fn(&Value) -> Option<Vec<Value>> = $change;
            Box::new(move |message| change(message).map_or(Said::Same, Said::Instead))
        }
    };
}

const CHANGES: &[Change] = &[
    (
        "drop the first status",
        change!(|m| becomes(m, "created").then(Vec::new)),
    ),
    (
        "drop the last event",
        change!(|m| (m["event"] == "BLOCK_JOB_COMPLETED").then(Vec::new)),
    ),
    (
        "drop ready",
        change!(|m| (m["event"] == "BLOCK_JOB_READY").then(Vec::new)),
    ),
    (
        "say a status twice",
        change!(|m| becomes(m, "running").then(|| vec![m.clone(), m.clone()])),
    ),
    (
        "say an event twice",
        change!(|m| (m["event"] == "BLOCK_JOB_COMPLETED").then(|| vec![m.clone(), m.clone()])),
    ),
    (
        "say an answer twice",
        change!(|m| (m["id"].as_u64() > Some(2)).then(|| vec![m.clone(), m.clone()])),
    ),
    (
        "another status",
        change!(
            |m| becomes(m, "waiting").then(|| with(m, |m| m["data"]["status"] = json!("standby")))
        ),
    ),
    (
        "no status",
        change!(
            |m| becomes(m, "running").then(|| with(m, |m| m["data"]["status"] = json!("asleep")))
        ),
    ),
    (
        "another job",
        change!(|m| becomes(m, "waiting").then(|| with(m, |m| m["data"]["id"] = json!("j77")))),
    ),
    (
        "another end",
        change!(|m| (m["event"] == "BLOCK_JOB_COMPLETED")
            .then(|| with(m, |m| m["event"] = json!("BLOCK_JOB_CANCELLED")))),
    ),
    (
        "a success that failed",
        change!(
            |m| (m["event"] == "BLOCK_JOB_COMPLETED" && m["data"]["error"].is_null())
                .then(|| with(m, |m| m["data"]["error"] = json!("Input/output error")))
        ),
    ),
    (
        "another class",
        change!(|m| refused(m).then(|| with(m, |m| m["error"]["class"] = json!("DeviceNotActive")))),
    ),
    (
        "another text",
        change!(|m| refused(m).then(|| with(m, |m| m["error"]["desc"] = json!("Job not found")))),
    ),
    (
        "a refusal that is none",
        change!(|m| refused(m).then(|| vec![json!({"return": {}, "id": m["id"]})])),
    ),
    ("a refusal of what was granted", || {
        let mut running = false;
        Box::new(move |m| {
            running |= becomes(m, "running");
            if !running || m["return"] != json!({}) || m["id"].is_null() {
                return Said::Same;
            }
            let error = json!({"class": "GenericError", "desc":
                "Job 'j0' in state 'concluded' cannot accept command verb 'pause'"});
            Said::Instead(vec![json!({"error": error, "id": m["id"]})])
        })
    }),
    (
        "another id of the answer",
        change!(|m| (m["id"].as_u64() > Some(3)).then(|| with(m, |m| m["id"] = json!(1_000_000)))),
    ),
    (
        "a job less in a list",
        change!(|m| m["return"][0]["id"]
            .is_string()
            .then(|| with(m, |m| m["return"] = json!([])))),
    ),
    (
        "another status in a list",
        change!(
            |m| (m["return"][0]["id"].is_string() && m["return"][0]["status"] != "waiting")
                .then(|| with(m, |m| m["return"][0]["status"] = json!("waiting")))
        ),
    ),
    (
        "an event of nobody",
        change!(|m| becomes(m, "running").then(|| {
            let mut other = m.clone();
            other["data"] = json!({"id": "nobody", "status": "aborting"});
            vec![m.clone(), other]
        })),
    ),
    (
        "a line that is cut",
        change!(|m| becomes(m, "running").then(|| {
            let text = m.to_string();
            vec![json!(text[..text.len() - 2])]
        })),
    ),
    ("swap an end and its status", || {
        let mut held: Option<Value> = None;
        Box::new(move |m| match held.take() {
            Some(first) => Said::Instead(vec![m.clone(), first]),
            None if m["event"] == "BLOCK_JOB_COMPLETED" => {
                held = Some(m.clone());
                Said::Later
            }
            None => Said::Same,
        })
    }),
    (
        "another error of a job",
        change!(
            |m| (m["event"] == "BLOCK_JOB_COMPLETED" && m["data"]["error"].is_string()).then(
                || with(m, |m| drop(
                    m["data"].as_object_mut().unwrap().remove("error")
                ))
            )
        ),
    ),
    (
        "an answer that is none",
        change!(|m| (m["id"].as_u64() > Some(3)).then(|| vec![json!({"id": m["id"]})])),
    ),
];

/// Changes after which something is waited for that does not come.
const SILENT: &[Change] = &[
    (
        "drop an answer",
        change!(|m| (m["id"].as_u64() > Some(5) && m["return"] == json!({})).then(Vec::new)),
    ),
    (
        "drop a status",
        change!(|m| becomes(m, "waiting").then(Vec::new)),
    ),
    (
        "drop the end",
        change!(|m| becomes(m, "null").then(Vec::new)),
    ),
    ("swap two statuses", || {
        let mut held: Option<Value> = None;
        Box::new(move |m| match held.take() {
            Some(first) => Said::Instead(vec![m.clone(), first]),
            None if becomes(m, "waiting") => {
                held = Some(m.clone());
                Said::Later
            }
            None => Said::Same,
        })
    }),
];

#[test]
fn whatever_a_proxy_changes_is_found() {
    let Some(program) = daemon() else { return };
    eprintln!("seed {SEED}");
    for (changes, programs, limit) in [(CHANGES, 8, 10), (SILENT, 3, 1)] {
        for (name, make) in changes {
            let done = Arc::new(AtomicUsize::new(0));
            let report = run(&Campaign {
                limit: Duration::from_secs(limit),
                ..campaign(tampered(program.clone(), make, &done), programs, SEED)
            });
            let found = found(&report);
            let done = done.load(Ordering::Relaxed);
            eprintln!("{name}: made {done} times, found {} times", found.len());
            assert!(done > 0, "{name}: nothing to change in {programs} programs");
            assert!(!found.is_empty(), "{name}: made {done} times, never found");
        }
    }
}

#[test]
fn a_proxy_that_changes_nothing_is_no_divergence() {
    let Some(program) = daemon() else { return };
    let done = Arc::new(AtomicUsize::new(0));
    let nothing = || -> Tamper { Box::new(|_| Said::Same) };
    let report = run(&campaign(tampered(program, nothing, &done), 24, SEED));
    assert_eq!(found(&report), Vec::<String>::new());
    assert_eq!(report.started, 1);
}

/// The arguments of a short run with a peer.
fn short<'a>(peer: &[&'a str]) -> Vec<&'a str> {
    [
        &["conform"],
        peer,
        &["--runs", "6", "--seed", "1", "--json"],
    ]
    .concat()
}

/// Somebody listens there: the kernel's list of sockets has it with the flag for that.
fn listens(socket: &Path) -> bool {
    let all = std::fs::read_to_string("/proc/net/unix").unwrap();
    all.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.nth(3) == Some("00010000") && fields.last() == socket.to_str()
    })
}

#[test]
fn a_peer_behind_a_command_or_a_socket_is_driven_too() {
    let Some(program) = daemon() else { return };
    let stdio = format!(
        "{} --chardev stdio,id=m --monitor chardev=m",
        program.display()
    );
    let listening = format!(
        "{} --chardev socket,id=m,path={{socket}},server=on,wait=off --monitor chardev=m",
        program.display()
    );
    for text in [&stdio, &listening] {
        let ran = command(short(&["--exec", text]));
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{text}: {ran:?}");
        assert_eq!(ran.json().last().unwrap()["programs"], 6);
    }
    // One that is there already, and stays.
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let chardev = format!("socket,id=m,path={},server=on,wait=off", socket.display());
    let mut child = Command::new(program)
        .args(["--chardev", &chardev, "--monitor", "chardev=m"])
        .spawn()
        .unwrap();
    // It has one client at a time, so whoever tried would be in the way.
    while !listens(&socket) {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::thread::yield_now();
    }
    let peer = format!("unix:{}", socket.display());
    let ran = command(short(&["--qmp", &peer]));
    let still_there = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(still_there);
}

#[test]
fn an_interrupt_ends_what_was_started_and_leaves_nothing() {
    let Some(program) = daemon() else { return };
    let folder = tempfile::tempdir().unwrap();
    // Whoever runs the tests may have them ignore an interrupt.
    let child = Command::new("env")
        .arg("--default-signal=INT")
        .arg(snapbox::cmd::cargo_bin!("blockjob"))
        .args(["conform", "--runs", "10000000", "--seed", "1", "--spawn"])
        .arg(program)
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let children = || -> Vec<String> {
        let path = format!("/proc/{0}/task", child.id());
        let tasks = std::fs::read_dir(path).unwrap();
        let of = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.ok()?.path().join("children")).ok()
        };
        let all: Vec<String> = tasks.filter_map(of).collect();
        all.iter()
            .flat_map(|ids| ids.split_whitespace())
            .map(str::to_owned)
            .collect()
    };
    let mut started = children();
    while started.is_empty() {
        std::thread::yield_now();
        started = children();
    }
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("interrupted"), "{stderr}");
    for id in started {
        assert!(!Path::new("/proc").join(&id).exists(), "{id} is left");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
