//! Goal: the server ends when it is told to, whatever its jobs do: it cancels by force, tells of it, and goes.
//!
//! Method: the command `serve` with jobs in every status that lasts is told to end in each way there is; the same server in
//! this process has a job that does not let itself be cancelled. What a test waits for is what must come, never a time.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]
// Arguments are written where they are sent.
#![allow(clippy::needless_pass_by_value)]

mod serve_support;

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use blockjob::driver::{Driver, JobError, RunContext};
use blockjob::engine::JobOptions;
use blockjob::oracle::Observer;
use blockjob::qmp::server::{Control, Ended, Server};
use serde_json::{Value, json};
use serve_support::{Client, Peer};

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

#[test]
fn jobs_that_are_not_given_time_to_end_are_left_and_told_of() {
    let mut peer = Peer::serve(&["--grace", "0"]);
    let mut client = peer.client();
    busy(&peer, &mut client);
    client.done("quit", json!({}));
    let (status, words) = peer.wait();
    assert_eq!(status.code(), Some(1), "{words}");
    assert!(words.contains("in the middle of I/O"), "{words}");
    assert!(!peer.socket().exists());
}

/// A job whose I/O the kernel does not give back: it says when it has begun, and waits for the test.
struct Stuck {
    begun: Mutex<Sender<()>>,
    given_back: Mutex<Receiver<()>>,
}

impl Driver for Stuck {
    fn job_type(&self) -> &'static str {
        "stuck"
    }

    fn run(&self, _: RunContext<'_>) -> Result<(), JobError> {
        self.begun.lock().unwrap().send(()).unwrap();
        // That the test is over will do as well.
        let _ = self.given_back.lock().unwrap().recv();
        Ok(())
    }
}

#[test]
fn a_job_that_is_stuck_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("qmp");
    let address = format!("unix:{}", socket.display()).parse().unwrap();
    let (begun, has_begun) = channel();
    let (give_back, given_back) = channel();
    let (tell, told) = channel::<Control>();
    let driver = Stuck {
        begun: Mutex::new(begun),
        given_back: Mutex::new(given_back),
    };
    // A server stays on the thread that made it.
    let serving = std::thread::spawn(move || {
        let server = Server::bind(&[address], None).unwrap();
        tell.send(server.control()).unwrap();
        let job = server.manager().create(JobOptions::new("stuck"), driver);
        job.unwrap().start();
        server.run().unwrap()
    });
    let control = told.recv().unwrap();
    has_begun.recv().unwrap();
    let mut client = Client::connect(&socket);
    assert!(client.read()["QMP"].is_object());
    client.done("qmp_capabilities", json!({}));
    assert_eq!(
        client.ask("query-jobs", json!({}))["return"][0]["status"],
        "running"
    );
    let asked = Instant::now();
    control.end();
    // The job is still where it was: only what comes after this line lets it go.
    let ended = serving.join().unwrap();
    eprintln!("it ended after {:?}", asked.elapsed());
    assert_eq!(ended, Ended::JobsLeft);
    client.read_to_end();
    assert!(!socket.exists());
    drop(give_back);
}
