//! A command with a limit on its time, whose output is kept.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// As much of the end of an output as is looked at.
const OUTPUT_BYTES_MAX: u64 = 16 << 20;

/// How a command ended.
pub struct Ran {
    /// None: it was still running at its limit, and was ended.
    pub status: Option<ExitStatus>,
    pub seconds: f64,
    /// Both streams, as they came.
    pub output: String,
}

impl Ran {
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// Runs `command` for at most `limit`; its output goes through the file `log`.
///
/// The command stays in the process group of this program, so that the terminal's Ctrl-C ends
/// both. One that hangs is ended together with everything it has started.
///
/// # Errors
///
/// It cannot be started, or the log cannot be written.
pub fn run(command: &mut Command, limit: Duration, log: &Path) -> Result<Ran, String> {
    let fault = |error: std::io::Error| {
        let program = command.get_program().to_string_lossy();
        format!("{program}: {error}")
    };
    let out = File::create(log).map_err(fault)?;
    let err = out.try_clone().map_err(fault)?;
    let begun = Instant::now();
    let mut child = match command.stdin(Stdio::null()).stdout(out).stderr(err).spawn() {
        Ok(child) => child,
        Err(error) => {
            let program = command.get_program().to_string_lossy();
            return Err(format!("cannot start {program}: {error}"));
        }
    };
    let id = child.id();
    let (sender, receiver) = mpsc::channel();
    let waiter = thread::spawn(move || sender.send(child.wait()));
    let ended = receiver.recv_timeout(limit).ok();
    if ended.is_none() {
        end_tree(id);
    }
    // A child that was ended is waited for as well: nothing of it is left.
    let _ = waiter.join();
    Ok(Ran {
        status: ended.transpose().map_err(|error| error.to_string())?,
        seconds: begun.elapsed().as_secs_f64(),
        output: tail(log).map_err(|error| format!("{}: {error}", log.display()))?,
    })
}

/// Ends the process and its descendants, the youngest first so that nobody is orphaned meanwhile.
fn end_tree(id: u32) {
    let mut tree = vec![id];
    let parents = parents();
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(parents.get(&parent).into_iter().flatten());
        next += 1;
    }
    tree.reverse();
    let ids = tree.iter().map(u32::to_string);
    let _ = Command::new("kill").arg("-KILL").args(ids).status();
}

/// The children of every process.
fn parents() -> BTreeMap<u32, Vec<u32>> {
    let mut parents: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // `id (name) state parent …`; the name may contain anything.
        let text = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        if let Some(parent) = rest.split_whitespace().nth(1)
            && let Ok(parent) = parent.parse()
        {
            parents.entry(parent).or_default().push(id);
        }
    }
    parents
}

fn tail(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(name: &str, script: &str, limit: Duration) -> Ran {
        let log = std::env::temp_dir().join(format!("child-{}-{name}", std::process::id()));
        let ran = run(Command::new("sh").args(["-c", script]), limit, &log);
        fs::remove_file(&log).expect("a log was written");
        ran.expect("sh runs")
    }

    #[test]
    fn both_streams_and_the_status_are_kept() {
        let ran = shell("kept", "echo one; echo two >&2; exit 3", Duration::MAX);
        assert_eq!(ran.output, "one\ntwo\n");
        assert_eq!(ran.status.and_then(|status| status.code()), Some(3));
    }

    /// The shell's own child holds the log open too, and would go on.
    #[test]
    fn what_hangs_is_ended_with_all_it_has_started() {
        let script = "sleep 1000 & echo $!; wait";
        let ran = shell("hangs", script, Duration::from_millis(500));
        assert!(ran.status.is_none());
        let sleeper = ran.output.trim();
        let alive = || {
            let stat = fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
            // A zombie waits only for its end to be noticed.
            stat.rsplit_once(')')
                .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
        };
        let patience = Instant::now() + Duration::from_secs(60);
        while alive() {
            assert!(Instant::now() < patience, "{sleeper} goes on");
            thread::yield_now();
        }
    }
}
