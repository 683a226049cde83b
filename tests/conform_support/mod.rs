//! What the tests of `blockjob conform` share: peers that are made up here, and a real one behind a proxy that
//! tampers with what it says.
#![allow(dead_code)] // Each test file uses its part.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use blockjob::conform::campaign::{self, Campaign, Progress, Report};
use blockjob::conform::divergence::Known;
use blockjob::conform::peer::{Link, Source};
use serde_json::{Value, json};

/// The daemon of this machine; without it, says that the test was skipped.
pub fn daemon() -> Option<PathBuf> {
    let daemon = std::env::var_os("BLOCKJOB_QEMU").map(PathBuf::from);
    if daemon.is_none() {
        eprintln!("SKIPPED: BLOCKJOB_QEMU names no qemu-storage-daemon");
    }
    daemon
}

/// A campaign against `source`: one peer, nothing shrunk, nothing provoked.
pub fn campaign(source: Source, runs: u64, seed: u64) -> Campaign {
    Campaign {
        source,
        against: None,
        profile: None,
        runs,
        commands: 20,
        seed,
        peers: 1,
        limit: Duration::from_secs(10),
        known: Known::built_in(),
        provoke: false,
        shrink: false,
    }
}

/// Runs it.
pub fn run(campaign: &Campaign) -> Report {
    let stop = Arc::new(AtomicBool::new(false));
    campaign::run(campaign, &Progress::default(), &stop, &|_| ()).unwrap()
}

/// Bytes that another thread hands over; the stream ends when that is gone.
pub struct Piped {
    from: Receiver<Vec<u8>>,
    left: VecDeque<u8>,
}

/// The two ends of it.
pub fn pipe() -> (Sender<Vec<u8>>, Piped) {
    let (to, from) = channel();
    let left = VecDeque::new();
    (to, Piped { from, left })
}

impl Read for Piped {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() {
            match self.from.recv() {
                Ok(bytes) => self.left.extend(bytes),
                Err(_) => return Ok(0),
            }
        }
        self.left.read(into)
    }
}

/// What is written is handed over.
pub struct Handed(pub Sender<Vec<u8>>);

impl Write for Handed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .send(bytes.to_vec())
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A peer of our own that has no jobs, in a thread: `answer` gets each command and says what follows, a line each;
/// nothing more comes after [`None`].
pub fn made_up(answer: impl Fn(&Value) -> Option<Vec<String>> + Send + Sync + 'static) -> Source {
    let answer = Arc::new(answer);
    Source::Made(Arc::new(move |_: &Path| {
        let (to, commands) = pipe();
        let (says, from) = pipe();
        let answer = Arc::clone(&answer);
        thread::spawn(move || {
            let greeting = json!({"QMP": {"version": {"qemu": {"micro": 0, "minor": 0, "major": 10},
                "package": ""}, "capabilities": []}});
            let _ = says.send(format!("{greeting}\n").into_bytes());
            for line in BufReader::new(commands).lines().map_while(Result::ok) {
                let command: Value = serde_json::from_str(&line).unwrap();
                let Some(lines) = answer(&command) else {
                    return;
                };
                for line in lines {
                    if says.send(format!("{line}\n").into_bytes()).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Link {
            to: Box::new(Handed(to)),
            from: Box::new(from),
            child: None,
        })
    }))
}

/// What a peer without jobs answers.
pub fn plain(command: &Value) -> String {
    let returned = match command["execute"].as_str().unwrap() {
        "query-jobs" | "query-block-jobs" => json!([]),
        "query-commands" => json!([{"name": "blockdev-backup"}, {"name": "query-jobs"}]),
        "blockdev-add" | "blockdev-del" | "qmp_capabilities" => json!({}),
        _ => {
            let error = json!({"class": "GenericError", "desc": "there is no room"});
            return json!({"error": error, "id": command["id"]}).to_string();
        }
    };
    match command.get("id") {
        Some(id) => json!({"return": returned, "id": id}).to_string(),
        None => json!({"return": returned}).to_string(),
    }
}

/// What a proxy makes of a message.
pub enum Said {
    /// It is said as it is.
    Same,
    /// It is held back for now.
    Later,
    /// This is said instead, and nothing is changed from there on.
    Instead(Vec<Value>),
}

/// A proxy. It is asked about each message.
pub type Tamper = Box<dyn FnMut(&Value) -> Said + Send>;

/// The daemon behind a proxy; each process gets a proxy of its own, whose first change is its last. `done` counts
/// the changes.
pub fn tampered(
    daemon: PathBuf,
    make: impl Fn() -> Tamper + Send + Sync + 'static,
    done: &Arc<AtomicUsize>,
) -> Source {
    let done = Arc::clone(done);
    // Processes start one at a time.
    let one = Mutex::new(());
    Source::Made(Arc::new(move |_: &Path| {
        let _one = one.lock();
        let mut child = Command::new(&daemon)
            .args(["--chardev", "stdio,id=m", "--monitor", "chardev=m"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let to = child.stdin.take().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (says, from) = pipe();
        let mut tamper = make();
        let done = Arc::clone(&done);
        thread::spawn(move || {
            let mut tampered = false;
            for line in out.lines().map_while(Result::ok) {
                let message: Value = serde_json::from_str(&line).unwrap();
                let said = if tampered {
                    Said::Same
                } else {
                    tamper(&message)
                };
                let lines = match said {
                    Said::Same => vec![message],
                    Said::Later => Vec::new(),
                    Said::Instead(lines) => {
                        tampered = true;
                        done.fetch_add(1, Ordering::Relaxed);
                        lines
                    }
                };
                for line in lines {
                    // What is no JSON is said as the string it is.
                    let text = match &line {
                        Value::String(text) => text.clone(),
                        line => line.to_string(),
                    };
                    if says.send(format!("{text}\n").into_bytes()).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Link {
            to: Box::new(to),
            from: Box::new(from),
            child: Some(child),
        })
    }))
}
