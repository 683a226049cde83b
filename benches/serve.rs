//! How fast the server answers, and how soon a job that copies at full speed pauses or is cancelled, beside
//! `qemu-storage-daemon`.
//!
//! Method: both are started and spoken to over a Unix socket, in turn. Answers: `query-jobs`, one after the other and 64 at a
//! time, for so many that it takes a good part of a second. Pauses: while a backup of 512 MiB runs without a limit,
//! `job-pause` is sent, at moments that differ, and the time until the event `paused` is read is taken. Cancels: the same
//! with `job-cancel` and `concluded`. A new backup for each, of ours and of the daemon in turn, so that both have as many
//! samples of one run. A daemon that hears the request when its copy is over answers that there is no such job: then the
//! time until that answer is taken, which is less than the request would have needed. Copies: the time from
//! `blockdev-backup` to `concluded`. Medians over the rounds; the daemon is the one on the search path, and without it
//! ours stands alone.

mod measure;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use measure::{Bound, goal, in_turn, is_quick, median, percentile, timed};
use serde_json::{Value, json};

const QUERIES: usize = 20_000;
const AT_A_TIME: usize = 64;
const IMAGE_BYTES: usize = 512 << 20;
/// How often a backup is paused, and another cancelled.
fn requests_of_each() -> u64 {
    if is_quick() { 10 } else { 120 }
}

/// A peer, and the conversation with it.
struct Peer {
    child: Child,
    to: UnixStream,
    from: BufReader<UnixStream>,
    line: String,
}

impl Peer {
    fn start(mut command: Command, folder: &Path, name: &str) -> Peer {
        let child = command
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let to = loop {
            match UnixStream::connect(folder.join(name)) {
                Ok(stream) => break stream,
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let mut peer = Peer {
            from: BufReader::new(to.try_clone().expect("a socket can be cloned")),
            to,
            child,
            line: String::new(),
        };
        peer.read();
        peer.ask("qmp_capabilities", &json!({}));
        for (node, file) in [
            ("source", "source".to_owned()),
            ("target", format!("target-{name}")),
        ] {
            let below = json!({"driver": "file", "filename": folder.join(file)});
            peer.ask(
                "blockdev-add",
                &json!({"driver": "raw", "node-name": node, "file": below}),
            );
        }
        peer
    }

    fn send(&mut self, command: &str, arguments: &Value) {
        let message = json!({"execute": command, "arguments": arguments});
        self.to
            .write_all(format!("{message}\n").as_bytes())
            .expect("the peer reads");
    }

    fn read(&mut self) -> Value {
        self.line.clear();
        self.from
            .read_line(&mut self.line)
            .expect("the peer answers");
        serde_json::from_str(&self.line).expect("what it says is JSON")
    }

    fn ask(&mut self, command: &str, arguments: &Value) -> Value {
        self.send(command, arguments);
        loop {
            let message = self.read();
            if message.get("event").is_none() {
                return message;
            }
        }
    }

    /// Reads on until the job is in one of these statuses; which.
    fn until(&mut self, statuses: &[&str]) -> String {
        loop {
            let message = self.read();
            if let Some(status) = message["data"]["status"].as_str()
                && statuses.contains(&status)
            {
                return status.to_owned();
            }
        }
    }

    fn backup(&mut self) {
        let arguments =
            json!({"job-id": "j", "device": "source", "target": "target", "sync": "full"});
        let answer = self.ask("blockdev-backup", &arguments);
        assert!(answer.get("return").is_some(), "{answer}");
    }

    fn queries(&mut self, at_a_time: usize) {
        let one = b"{\"execute\":\"query-jobs\"}\n";
        let several = one.repeat(at_a_time);
        for _ in 0..QUERIES / at_a_time {
            self.to.write_all(&several).expect("the peer reads");
            for _ in 0..at_a_time {
                self.line.clear();
                self.from
                    .read_line(&mut self.line)
                    .expect("the peer answers");
            }
        }
    }

    /// Makes a request of a backup that has run for a while, and sees the backup to its end.
    ///
    /// Who is busy copying may hear it when the copy is over, and then has nothing to refuse it for but that: the
    /// time until that answer is what the request took at least.
    fn request(&mut self, command: &str, effect: &str, moment: Duration) -> Heeded {
        let id = json!({"id": "j"});
        self.backup();
        std::thread::sleep(moment);
        let begun = Instant::now();
        self.send(command, &id);
        let (mut answer, mut effected, mut gone) = (None, None, false);
        let mut refused = false;
        while answer.is_none() || effected.is_none() && !gone {
            let message = self.read();
            if message.get("event").is_none() {
                answer = Some(begun.elapsed());
                refused = message.get("error").is_some();
            }
            match message["data"]["status"].as_str() {
                Some(status) if status == effect => {
                    effected = effected.or_else(|| Some(begun.elapsed()));
                }
                Some("null") => gone = true,
                _ => {}
            }
        }
        let ended = begun.elapsed();
        // What was paused is of no more use; what was cancelled ends by itself.
        let mut owed = !gone && effect == "paused";
        if owed {
            self.send("job-cancel", &id);
        }
        while owed || !gone {
            let message = self.read();
            owed &= message.get("event").is_some();
            gone |= message["data"]["status"] == "null";
        }
        match effected.filter(|_| !refused) {
            Some(took) => Heeded { took, late: false },
            None => Heeded {
                took: answer.filter(|_| refused).unwrap_or(ended),
                late: true,
            },
        }
    }
}

/// What became of a request.
struct Heeded {
    took: Duration,
    /// The job was over before.
    late: bool,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn report(what: &str, ours: Duration, theirs: Option<Duration>) {
    match theirs {
        Some(theirs) => println!(
            "  {what:<34} {ours:>12.3?} {theirs:>12.3?} {:>8.2}",
            theirs.as_secs_f64() / ours.as_secs_f64()
        ),
        None => println!("  {what:<34} {ours:>12.3?}"),
    }
}

fn main() {
    let rounds = if is_quick() { 2 } else { 5 };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let folder = folder.path();
    let mut source = File::create(folder.join("source")).expect("a scratch file");
    let mut noise = vec![0_u8; 1 << 20];
    let mut state = 1_u64;
    for byte in &mut noise {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    for _ in 0..IMAGE_BYTES >> 20 {
        source.write_all(&noise).expect("room for the source");
    }
    for name in ["ours", "qemu"] {
        std::fs::copy(folder.join("source"), folder.join(format!("target-{name}")))
            .expect("room for the targets");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_blockjob"));
    command
        .args(["serve", "--qmp"])
        .arg(format!("unix:{}", folder.join("ours").display()));
    let mut ours = Peer::start(command, folder, "ours");
    let mut qemu = Command::new("qemu-storage-daemon")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok()
        .then(|| {
            let mut command = Command::new("qemu-storage-daemon");
            let path = folder.join("qemu");
            let chardev = format!("socket,id=m,server=on,wait=off,path={}", path.display());
            command.args(["--chardev", &chardev, "--monitor", "chardev=m"]);
            Peer::start(command, folder, "qemu")
        });

    println!(
        "  {:<34} {:>12} {:>12} {:>8}",
        "", "blockjob", "qemu", "ratio"
    );
    for at_a_time in [1, AT_A_TIME] {
        let mut our_side = || timed(|| ours.queries(at_a_time));
        let times = match &mut qemu {
            Some(qemu) => {
                let mut their_side = || timed(|| qemu.queries(at_a_time));
                in_turn(rounds, &mut [&mut our_side, &mut their_side])
            }
            None => in_turn(rounds, &mut [&mut our_side]),
        };
        let medians: Vec<Duration> = times.iter().map(|times| median(times)).collect();
        report(
            &format!("query-jobs, {at_a_time} at a time: each"),
            medians[0] / QUERIES as u32,
            medians.get(1).map(|time| *time / QUERIES as u32),
        );
        let rate = QUERIES as f64 / medians[0].as_secs_f64();
        println!("  {:<34} {rate:>12.0}", "  a second");
    }
    let copy = |peer: &mut Peer| {
        timed(|| {
            peer.backup();
            peer.until(&["null"]);
        })
    };
    let times = {
        let mut our_side = || copy(&mut ours);
        match &mut qemu {
            Some(qemu) => in_turn(rounds, &mut [&mut our_side, &mut || copy(qemu)]),
            None => in_turn(rounds, &mut [&mut our_side]),
        }
    };
    report(
        "backup of 512 MiB",
        median(&times[0]),
        times.get(1).map(|times| median(times)),
    );
    let requests = [
        ("pause acknowledged", "job-pause", "paused"),
        ("cancel concluded", "job-cancel", "concluded"),
    ];
    for (request, command, effect) in requests {
        let mut found: [(Vec<Duration>, usize); 2] = Default::default();
        let mut peers: Vec<&mut Peer> = std::iter::once(&mut ours).chain(qemu.as_mut()).collect();
        for number in 0..requests_of_each() {
            let moment = Duration::from_micros(5000 + number * 7919 % 20_000);
            for (peer, (times, late)) in peers.iter_mut().zip(&mut found) {
                let heeded = peer.request(command, effect, moment);
                times.push(heeded.took);
                *late += usize::from(heeded.late);
            }
        }
        let [(mut our_times, our_late), (mut their_times, their_late)] = found;
        our_times.sort_unstable();
        their_times.sort_unstable();
        let their_times = Some(their_times).filter(|times| !times.is_empty());
        let numbers = format!(
            "{} samples each, of which after the job's end {our_late}, {their_late} of qemu-storage-daemon",
            our_times.len(),
        );
        println!("  {request}: {numbers}");
        for (what, percent) in [("median", 50), ("p99", 99), ("worst", 100)] {
            report(
                &format!("{request}, {what}"),
                percentile(&our_times, percent),
                their_times.as_ref().map(|times| percentile(times, percent)),
            );
        }
        let p99 = |times: &Vec<Duration>| percentile(times, 99).as_secs_f64();
        goal(
            &format!("{request} over a socket: p99"),
            their_times.as_ref().map_or(f64::NAN, p99) / p99(&our_times),
            Bound::AtLeast(10.0),
            " times sooner",
            &numbers,
        );
    }
}
