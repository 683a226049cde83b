//! Goal: no input makes a reader panic or run on without end, and no recording is refused for having
//! been cut.
//!
//! Method: generated files of pieces that the formats are made of, whole and broken, with bytes that
//! are no text among them, read as every format.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

use blockjob::oracle::{self, Format, Options, Outcome};
use proptest::prelude::*;

/// What the formats are made of.
const PIECES: [&[u8]; 53] = [
    b"{\"return\": {}}\n",
    b"{\"return\": []}",
    b"{\"execute\": \"query-jobs\"}\n",
    b"{'execute': 'job-pause', 'arguments': {'id': 'j0'}}\n",
    b"{\"execute\": \"blockdev-backup\", \"arguments\": {\"job-id\": \"j0\", \"device\": \"a\", \"target\": \"b\"}}\n",
    b"{\"event\": \"JOB_STATUS_CHANGE\", \"data\": {\"id\": \"j0\", \"status\": \"created\"}}\n",
    b"{\"event\": \"JOB_STATUS_CHANGE\", \"data\": {\"id\": \"j0\", \"status\": \"running\"}}\n",
    b"{\"event\": \"BLOCK_JOB_COMPLETED\", \"data\": {\"device\": \"j0\", \"len\": LEN, \"offset\": 0}}\n",
    b"{\"error\": {\"class\": \"GenericError\", \"desc\": \"Job not found\"}}\n",
    b"{\"QMP\": {\"version\": {\"qemu\": {\"major\": 10, \"minor\": 0}}}}\n",
    b"{\"dir\": \"<\", \"msg\": {\"return\": {}}}\n",
    b"{\"dir\": \">\", \"msg\": {\"execute\": \"quit\"}}\n",
    b"{\"blockjob_trace\": 1}\n",
    b"{\"seq\": 1, \"kind\": \"call\", \"thread\": \"t\", \"verb\": \"create\", \"job\": \"j0\"}\n",
    b"vm0 --> ",
    b"DEBUG:vm1:<-- ",
    b"mon: ",
    b"42@1700000000.123456:",
    b"job_state_transition job 0x55d0 (ret: 0) attempting allowed transition (undefined-->created)\n",
    b"job_state_transition job 0x55d0 (ret: -5) attempting allowed transition (created-->running)\n",
    b"job_apply_verb job 0x55d0 in state running; applying verb pause (allowed)\n",
    b"job_completed job 0x55d0 ret 0\n",
    b"qmp_job_pause job 0x55d0\n",
    b"job_state_transition job ",
    b"2026-01-02 03:04:05.678+0000: 12: info : qemuMonitorSend:836 : QEMU_MONITOR_SEND_MSG: mon=0x7f00 msg=",
    b"2026-01-02 03:04:05.678+0000: 13: info : qemuMonitorJSONIOProcessLine:209 : QEMU_MONITOR_RECV_EVENT: mon=0x7f00 event=",
    b"QEMU_MONITOR_RECV_REPLY: mon=0x7f01 reply=",
    b"qemuMonitorJSONIOProcessLine:195 : Line [",
    b" fd=-1\n",
    b"]\n",
    b"^M\n",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff\xfe",
    b"\xe2\x82",
    b"{",
    b"}",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":{\"a\":",
    b"\"",
    b"'",
    b"\\",
    b"\x1f\x8b\x08\x00",
    b"\x28\xb5\x2f\xfd",
    b"some words\n",
    b"2026-01-02 03:04:05.678+0000: 4711: debug : f:1 : x\n",
    b"QEMU_MONITOR_SEND_MSG: mon=0x7f1 msg={\"execute\":\"query-jobs\",\"id\":\"libvirt-9\"}\r\n fd=-1\n",
    b"QEMU_MONITOR_IO_WRITE: mon=0x7f1 buf={\"execute\":\"query-jobs\",\"id\":\"libvirt-9\"}\r\n",
    b"QEMU_MONITOR_RECV_REPLY: mon=0x7f1 reply={\"return\": [], \"id\": \"libvirt-9\"}\n",
    b"QEMU_MONITOR_RECV_EVENT: mon=0x7f1 event={\"event\": \"JOB_STATUS_CHANGE\", \"data\": {\"id\": \"j\", \"status\": \"null\"}}\n",
    b"{\"msg\":\"QEMU_MONITOR_RECV_EVENT: mon=0x7f1 event={\\\"event\\\": \\u12",
    b"Line [{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7, \"minor\": 2}}}}]\n",
];

fn formats() -> impl Iterator<Item = Option<Format>> {
    std::iter::once(None).chain(Format::ALL.map(Some))
}

proptest! {
    #[test]
    fn no_input_makes_a_reader_panic(
        places in prop::collection::vec((0..PIECES.len(), 0_usize..4), 0..24),
        noise in prop::collection::vec(any::<u8>(), 0..16),
        at in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        for (place, cut) in places {
            let piece = PIECES[place];
            // Most stay whole.
            let end = if cut == 0 { piece.len() / 2 } else { piece.len() };
            bytes.extend_from_slice(&piece[..end]);
        }
        let at = at.index(bytes.len() + 1);
        bytes.splice(at..at, noise);
        for format in formats() {
            let options = Options { format, ..Options::default() };
            let verdict = oracle::check_reader("generated", &bytes[..], &options);
            // It is printable, whatever it quotes.
            let _ = (verdict.to_string(), verdict.to_json());
        }
    }

    #[test]
    fn pieces_in_their_place_are_read_whole_or_said_to_be_cut(
        ends in prop::collection::vec(0_usize..=100, 1..8),
    ) {
        // A recording ends where its daemon was killed.
        for name in ["backup-default", "txn-grouped-two-fail", "pipelined-burst"] {
            let path = format!("{}/tests/corpus/live-10.0/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            for end in &ends {
                let mut end = text.len() * end / 100;
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                for form in formats_of(&text[..end]) {
                    let verdict = oracle::check_reader("cut", form.as_bytes(), &Options::default());
                    prop_assert!(!matches!(verdict.outcome, Outcome::Reject(_)), "{verdict}\n{form}");
                }
            }
        }
    }
}

/// A conversation in the forms that can be made from it line by line.
fn formats_of(text: &str) -> [String; 2] {
    let mut bare = String::new();
    for line in text.lines() {
        match line.split_once("\"msg\": ") {
            Some((_, message)) => {
                bare.push_str(message.strip_suffix('}').unwrap_or(message));
                bare.push('\n');
            }
            None => break,
        }
    }
    [text.to_owned(), bare]
}
