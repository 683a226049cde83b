//! What the tests of the server share: the server itself or a QEMU beside it, clients that keep the conversation as
//! they have it, and the oracle's word on what was kept.
#![allow(dead_code)] // Each test file uses its part.
// Arguments are written where they are sent.
#![allow(clippy::needless_pass_by_value)]

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use blockjob::oracle::{self, Extent, Observer, Options};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What is waited for comes, or the test is over: no test is decided by how long it took.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that listens at a socket in a folder of its own, in which images are as well.
pub struct Peer {
    child: Child,
    folder: TempDir,
    said: Option<BufReader<std::process::ChildStderr>>,
    tcp: Option<String>,
}

impl Peer {
    /// `blockjob serve`, with these further arguments.
    pub fn serve(arguments: &[&str]) -> Peer {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("unix:{}", folder.path().join("qmp").display());
        Peer::start(folder, &address, arguments)
    }

    /// `blockjob serve` somewhere else than in its folder.
    pub fn serve_at(address: &str) -> Peer {
        Peer::start(tempfile::tempdir().unwrap(), address, &[])
    }

    fn start(folder: TempDir, address: &str, arguments: &[&str]) -> Peer {
        // However busy the machine is, nothing is left, unless a test wants that.
        let grace: &[&str] = if arguments.contains(&"--grace") {
            &[]
        } else {
            &["--grace", "60"]
        };
        // Whoever runs the tests may have them ignore some signals.
        let mut child = Command::new("env")
            .arg("--default-signal=INT,TERM,HUP,USR1")
            .arg(snapbox::cmd::cargo_bin!("blockjob"))
            .args(["serve", "--qmp", address])
            .args(grace)
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("listening at unix:"), "{line}");
        let tcp = line.split("tcp:").nth(1).map(|rest| rest.trim().to_owned());
        Peer {
            child,
            folder,
            said: Some(said),
            tcp,
        }
    }

    /// The `qemu-storage-daemon` of this machine and a client that has negotiated, if it is a 10.0, whose words these are; else
    /// none, and it says so.
    pub fn qemu() -> Option<(Peer, Client)> {
        let Some(program) = std::env::var_os("BLOCKJOB_QEMU") else {
            eprintln!("SKIPPED: BLOCKJOB_QEMU names no qemu-storage-daemon");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp");
        let chardev = format!("socket,id=m,server=on,wait=off,path={}", path.display());
        let child = Command::new(program)
            .args(["--chardev", &chardev, "--monitor", "chardev=m"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let peer = Peer {
            child,
            folder,
            said: None,
            tcp: None,
        };
        // One connection, and no more: a client that comes and goes while the daemon starts may end it (SIGSEGV).
        let begun = Instant::now();
        let mut client = loop {
            match UnixStream::connect(&path) {
                Ok(stream) => break Client::on(stream),
                Err(_) => assert!(begun.elapsed() < PATIENCE, "the daemon does not listen"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let version = client.read()["QMP"]["version"]["qemu"].take();
        if (&version["major"], &version["minor"]) != (&json!(10), &json!(0)) {
            eprintln!("SKIPPED: BLOCKJOB_QEMU is no 10.0 but {version}");
            return None;
        }
        client.done("qmp_capabilities", json!({}));
        Some((peer, client))
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("qmp")
    }

    /// The loopback address it listens at as well.
    pub fn tcp_address(&self) -> Option<&str> {
        self.tcp.as_deref()
    }

    /// The next line it says.
    pub fn next_words(&mut self) -> String {
        let mut line = String::new();
        self.said.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// A file of this length in its folder, filled with `byte`.
    pub fn image(&self, name: &str, length: usize, byte: u8) -> PathBuf {
        let path = self.folder.path().join(name);
        let mut file = File::create(&path).unwrap();
        file.write_all(&vec![byte; length]).unwrap();
        path
    }

    pub fn contents(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(name)).unwrap()
    }

    pub fn connect(&self) -> Client {
        Client::connect(&self.socket())
    }

    /// A client that has negotiated.
    pub fn client(&self) -> Client {
        let mut client = self.connect();
        assert!(client.read()["QMP"].is_object());
        assert_eq!(
            client.ask("qmp_capabilities", json!({})),
            json!({"return": {}})
        );
        client
    }

    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .args([format!("-{name}"), self.process().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    /// Waits until it has ended; how, and what it said.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let mut words = String::new();
        if let Some(said) = &mut self.said {
            said.read_to_string(&mut words).unwrap();
        }
        (self.child.wait().unwrap(), words)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let which = if self.said.is_some() {
                "the server"
            } else {
                "QEMU"
            };
            eprintln!("{which} as the test fails: {:?}", self.child.try_wait());
        }
        // Ended already, unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client, and the conversation as it has it.
pub struct Client {
    to: UnixStream,
    from: BufReader<UnixStream>,
    begun: Instant,
    pub lines: Vec<String>,
}

impl Client {
    pub fn connect(path: &Path) -> Client {
        Client::on(UnixStream::connect(path).unwrap())
    }

    fn on(to: UnixStream) -> Client {
        to.set_read_timeout(Some(PATIENCE)).unwrap();
        Client {
            from: BufReader::new(to.try_clone().unwrap()),
            to,
            begun: Instant::now(),
            lines: Vec::new(),
        }
    }

    fn keep(&mut self, direction: &str, message: &Value) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let line = json!({"t": seconds, "dir": direction, "msg": message});
        self.lines.push(line.to_string());
    }

    /// Sends bytes that are not kept.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.to.write_all(bytes).unwrap();
    }

    /// The side that sends, for another thread.
    pub fn sender(&self) -> UnixStream {
        self.to.try_clone().unwrap()
    }

    /// Says `quit` before anything else but the greeting and the negotiation.
    pub fn quit_unnegotiated(mut self) {
        self.send_raw(b"{'execute':'qmp_capabilities'}{'execute':'quit'}");
        while self.read_line().is_some() {}
    }

    /// The next line; none at the end, where there may be a piece of one, or none because the other side closed with
    /// lines unread.
    pub fn read_line_if_whole(&mut self) -> Option<String> {
        let mut line = Vec::new();
        // A connection that was cut may say so.
        let _ = self.from.read_until(b'\n', &mut line);
        line.ends_with(b"\n")
            .then(|| String::from_utf8(line).unwrap())
    }

    /// Closes the side that sends.
    pub fn no_more(&mut self) {
        self.to.shutdown(std::net::Shutdown::Write).unwrap();
    }

    pub fn send(&mut self, command: &str, arguments: Value) {
        let mut message = json!({"execute": command});
        if arguments != json!({}) {
            message["arguments"] = arguments;
        }
        self.send_message(&message);
    }

    pub fn send_message(&mut self, message: &Value) {
        self.keep(">", message);
        self.send_raw(format!("{message}\n").as_bytes());
    }

    /// The next line; none at the end.
    pub fn read_line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        (!line.is_empty()).then_some(line)
    }

    pub fn read(&mut self) -> Value {
        self.try_read().expect("the conversation goes on")
    }

    pub fn try_read(&mut self) -> Option<Value> {
        let message = serde_json::from_str(&self.read_line()?).unwrap();
        self.keep("<", &message);
        Some(message)
    }

    /// The next answer; events on the way are kept.
    pub fn answer(&mut self) -> Value {
        loop {
            let message = self.read();
            if message.get("event").is_none() {
                return message;
            }
        }
    }

    pub fn ask(&mut self, command: &str, arguments: Value) -> Value {
        self.send(command, arguments);
        self.answer()
    }

    /// Asks for what is done.
    #[track_caller]
    pub fn done(&mut self, command: &str, arguments: Value) {
        let answer = self.ask(command, arguments);
        assert_eq!(answer, json!({"return": {}}), "{command}");
    }

    /// Asks for what is refused; the words.
    #[track_caller]
    pub fn refused(&mut self, command: &str, arguments: Value) -> String {
        let answer = self.ask(command, arguments);
        let words = answer["error"]["desc"].as_str();
        words
            .unwrap_or_else(|| panic!("{command}: {answer}"))
            .to_owned()
    }

    /// Reads on until the job `id` is in `status`; the status may have been read already.
    pub fn until(&mut self, id: &str, status: &str) {
        let wanted = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["msg"]["event"] == "JOB_STATUS_CHANGE"
                && line["msg"]["data"] == json!({"id": id, "status": status})
        };
        let mut looked_at = 0;
        loop {
            if self.lines[looked_at..].iter().any(|line| wanted(line)) {
                return;
            }
            looked_at = self.lines.len();
            self.read();
        }
    }

    /// Adds a `raw` node over the file of this name.
    pub fn node(&mut self, peer: &Peer, name: &str) {
        let file = json!({"driver": "file", "filename": peer.folder().join(name)});
        self.done(
            "blockdev-add",
            json!({"driver": "raw", "node-name": name, "file": file}),
        );
    }

    /// The statuses of the job `id` so far.
    pub fn statuses(&self, id: &str) -> Vec<String> {
        self.events()
            .filter(|event| event["event"] == "JOB_STATUS_CHANGE" && event["data"]["id"] == id)
            .map(|event| event["data"]["status"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The events so far.
    pub fn events(&self) -> impl Iterator<Item = Value> {
        self.messages("<")
            .filter(|message| message.get("event").is_some())
    }

    /// The messages so far, in this direction.
    pub fn messages(&self, direction: &str) -> impl Iterator<Item = Value> {
        let direction = direction.to_owned();
        self.lines.iter().filter_map(move |line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            (line["dir"] == *direction).then(|| line["msg"].take())
        })
    }

    /// Reads what is left to read.
    pub fn read_to_end(&mut self) {
        while self.try_read().is_some() {}
    }

    /// Says `quit`, and reads to the end.
    pub fn quit(&mut self) {
        self.done("quit", json!({}));
        self.read_to_end();
    }

    /// The oracle accepts the conversation.
    #[track_caller]
    pub fn judge(&self, observer: Observer) {
        let text = self.lines.join("\n") + "\n";
        let options = Options {
            observer,
            extent: Extent::Whole,
            ..Options::default()
        };
        let verdict = oracle::check_reader("conversation", text.as_bytes(), &options);
        assert_eq!(verdict.word(), "accept", "{verdict}\n{text}");
        assert_eq!(verdict.profile, Some("reference"), "{verdict}");
    }
}

/// The oracle accepts the trace of this name.
#[track_caller]
pub fn judge_trace(path: &Path) {
    let verdict = oracle::check(path, &Options::default());
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(verdict.word(), "accept", "{verdict}\n{text}");
}
