//! Any bytes, as a client of the server sends them, in two pieces: each message is answered by one line of JSON, never by
//! a crash. What is opened is a scratch file that lost its name, whatever it is called.
#![no_main]

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use blockjob::engine::{CancelMode, Manager, ManagerConfig};
use blockjob::qmp::command::Core;
use blockjob::qmp::conversation::{Answers, Conversation, GoesOn};
use blockjob::trace::{RecordingManager, TraceEntry, TraceSink};
use libfuzzer_sys::fuzz_target;

struct Nowhere;

impl TraceSink for Nowhere {
    fn record(&self, _: &TraceEntry<'_>) {}
}

/// A file of 64 KiB without a name, whatever it is called; some that are asked for are not there.
fn nameless(path: &Path, _: bool) -> io::Result<File> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    if path.as_os_str().len() % 4 == 3 {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("blockjob-fuzz-{}-{number}", std::process::id()));
    let mut options = File::options();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    file.set_len(64 << 10)?;
    Ok(file)
}

/// Keeps answers, and holds them to their form.
#[derive(Default)]
struct Kept {
    count: AtomicU64,
    last: Mutex<Vec<u8>>,
}

impl Answers for Kept {
    fn negotiated(&self) {}

    fn answer(&self, line: &[u8]) {
        let text = std::str::from_utf8(line).expect("answers are text");
        assert!(text.is_ascii() && text.ends_with("\r\n"));
        let value: serde_json::Value = serde_json::from_str(text).expect("answers are JSON");
        assert!(value.get("return").is_some() != value.get("error").is_some());
        self.count.fetch_add(1, Ordering::Relaxed);
        *self.last.lock().expect("nobody panicked") = line.to_vec();
    }

    fn version(&self) -> u64 {
        0
    }

    fn answer_if_unchanged(&self, line: &[u8], _: u64) -> bool {
        self.answer(line);
        true
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let sink: Arc<dyn TraceSink> = Arc::new(Nowhere);
    let recording = RecordingManager::new(manager.clone(), Arc::clone(&sink));
    let core = Arc::new(Core::new(recording, nameless, Some(sink)));
    let kept = Kept::default();
    let mut conversation = Conversation::new(core);
    let (begin, rest) = bytes.split_at(bytes.len() / 2);
    for piece in [&b"{'execute':'qmp_capabilities'}"[..], begin, rest] {
        // Verbs are carried out at once on this thread, which is the main loop's.
        if conversation.feed(piece, &kept, || true) == GoesOn::Quit {
            break;
        }
        main_loop.run_pending();
    }
    assert!(kept.count.load(Ordering::Relaxed) > 0);
    for job in manager.jobs() {
        let _ = job.cancel(CancelMode::Force);
    }
    main_loop.run_until(|| {
        for job in manager.jobs() {
            let _ = job.dismiss();
        }
        manager.jobs().is_empty()
    });
});
