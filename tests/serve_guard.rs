//! Goal: who may connect to the server: its owner, and nobody else.
//!
//! Method: the command `serve` is started where it may listen and where it must not; its socket is then opened to all,
//! as somebody might do, and another user comes. That takes root, without whom this says that it was skipped.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod serve_support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use blockjob::io::process::effective_user;
use serve_support::{Client, Peer};

/// A user that is not the server's: `nobody`.
const OTHER_USER: u32 = 65534;

fn open_to(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_socket_is_its_owner_s_and_its_folder_too() {
    let peer = Peer::serve(&[]);
    let mode = peer.socket().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let refused = |address: &str| -> String {
        let ran = Command::new(snapbox::cmd::cargo_bin!("blockjob"))
            .args(["serve", "--qmp", address])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(2), "{ran:?}");
        String::from_utf8(ran.stderr).unwrap()
    };
    let taken = refused(&format!("unix:{}", peer.socket().display()));
    assert!(taken.contains("somebody listens there"), "{taken}");
    let open = peer.folder().join("open");
    std::fs::create_dir(&open).unwrap();
    for mode in [0o777, 0o1777, 0o770] {
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(mode)).unwrap();
        let words = refused(&format!("unix:{}", open.join("s").display()));
        assert!(
            words.contains("open to others") && words.contains("mkdir -m 700"),
            "{words}"
        );
        assert!(!open.join("s").exists());
    }
    peer.image("file", 1, 1);
    let words = refused(&format!("unix:{}", peer.folder().join("file").display()));
    assert!(words.contains("is no socket"), "{words}");
    assert_eq!(peer.contents("file"), [1]);
    assert!(refused("tcp:0.0.0.0:0").contains("no loopback address"));
    assert!(refused("vsock:1").contains("neither unix:PATH nor tcp:"));
    // What a server that is gone left is replaced.
    let left = peer.folder().join("left");
    drop(UnixListener::bind(&left).unwrap());
    let mut second = Peer::serve_at(&format!("unix:{}", left.display()));
    Client::connect(&left).quit_unnegotiated();
    assert!(second.wait().0.success());
    assert!(!left.exists());
}

#[test]
fn a_loopback_address_serves_as_well() {
    let mut peer = Peer::serve(&["--qmp", "tcp:127.0.0.1:0"]);
    let address = peer.tcp_address().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"{\"execute\":\"qmp_capabilities\"}{\"execute\":\"quit\"}")
        .unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let answers: Vec<&str> = answers.lines().collect();
    assert!(answers[0].starts_with("{\"QMP\": "), "{answers:?}");
    assert_eq!(answers[1..], ["{\"return\": {}}", "{\"return\": {}}"]);
    assert!(peer.wait().0.success());
}

/// Connects as this user, and prints what comes until the connection is closed or a line is over.
fn connect_as(user: u32, socket: &Path) -> std::io::Result<Output> {
    let script = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                  print('connected', s.makefile().readline())";
    Command::new("python3")
        .args(["-c", script])
        .arg(socket)
        .uid(user)
        .gid(user)
        .current_dir("/")
        .output()
}

#[test]
fn another_user_is_sent_away_even_where_the_socket_is_open() {
    if effective_user() != 0 {
        eprintln!("SKIPPED: to come as another user takes root");
        return;
    }
    let mut peer = Peer::serve(&[]);
    // With its own mode nobody comes in at all.
    open_to(peer.folder(), 0o711);
    let shut = match connect_as(OTHER_USER, &peer.socket()) {
        Ok(ran) => ran,
        Err(why) => {
            eprintln!("SKIPPED: no python3 as another user: {why}");
            return;
        }
    };
    let words = String::from_utf8(shut.stderr).unwrap();
    assert!(words.contains("PermissionError"), "{words}");
    // Whoever changes that lets nobody in either.
    open_to(&peer.socket(), 0o666);
    let sent_away = connect_as(OTHER_USER, &peer.socket()).unwrap();
    assert!(sent_away.status.success(), "{sent_away:?}");
    assert_eq!(
        sent_away.stdout, b"connected \n",
        "and has seen no greeting"
    );
    let own = connect_as(0, &peer.socket()).unwrap();
    assert!(own.stdout.starts_with(b"connected {\"QMP\": "), "{own:?}");
    peer.connect().quit_unnegotiated();
    assert!(peer.wait().0.success());
}
