//! QEMU's trace log: lines that the `log` trace backend writes for the events of the job layer.
//!
//! With timestamps a line begins with `PID@SECONDS.MICROSECONDS:`, without them with the event's name.
//! What else a log has, other events and messages of QEMU, is passed over.
//!
//! | event | says |
//! |---|---|
//! | `job_state_transition` | a job goes from one status to another, with the result it has |
//! | `job_apply_verb` | a verb is looked up in the table, and what the table says |
//! | `job_completed` | a job's run has ended with this result |
//! | `qmp_job_…`, `qmp_block_job_…` | a command is carried out for this job |
//! | `qmp_enter_…`, `qmp_exit_…` | a command's arguments; its answer, and whether it succeeded |
//!
//! QEMU 2.12 calls the first two `block_job_…`.

use super::json::pieces;
use super::lines::Line;

pieces! {
    /// A command's arguments, where they name a job.
    Arguments {
        /// Of `job-*` commands, and two of the others.
        id: "id",
        /// Of `block-job-*` commands.
        device: "device",
    }
}

/// A line of the log that speaks of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The line, from 1.
    pub line: u64,
    /// Which process wrote it, where it says so.
    pub process: Option<u64>,
    /// What.
    pub said: Said<'a>,
}

impl Entry<'_> {
    /// It can be read.
    pub const fn is_whole(&self) -> bool {
        !matches!(self.said, Said::Damaged)
    }
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// A job goes from one status to another.
    Transition {
        /// Its address.
        job: &'a str,
        /// Its result so far.
        result: i64,
        /// The table has it.
        allowed: bool,
        /// From which.
        from: &'a str,
        /// To which.
        to: &'a str,
        /// The event's name is that of QEMU 2.12.
        block: bool,
    },
    /// A verb is looked up.
    Verb {
        /// The job's address.
        job: &'a str,
        /// The status the job has.
        status: &'a str,
        /// The verb.
        verb: &'a str,
        /// The table permits it.
        allowed: bool,
        /// The event's name is that of QEMU 2.12.
        block: bool,
    },
    /// A run has ended.
    Completed {
        /// The job's address.
        job: &'a str,
        /// Its result.
        result: i64,
    },
    /// A command begins.
    Enter {
        /// Its name, with `_` for `-`.
        command: &'a str,
        /// Its arguments, a JSON object.
        arguments: &'a str,
    },
    /// The command under way found its job.
    For {
        /// The job's address.
        job: &'a str,
    },
    /// A command ends.
    Exit {
        /// Its name, with `_` for `-`.
        command: &'a str,
        /// What it returned, as JSON, or the error's text.
        answer: &'a str,
        /// It succeeded.
        well: bool,
    },
    /// It begins as one of these, and goes on as none: the line is damaged.
    Damaged,
}

/// Reads a line; `None`: it says nothing of jobs.
pub fn read<'a>(line: &Line<'a>) -> Option<Entry<'a>> {
    let text = line.text.trim_end();
    let (before, said) = find(text)?;
    Some(Entry {
        line: line.number,
        process: process(before),
        said,
    })
}

/// The id of the job that a command's arguments name.
pub fn named(arguments: &str) -> Option<String> {
    let arguments = serde_json::from_str::<Arguments<'_>>(arguments).ok()?;
    let id = arguments.id.as_str().or(arguments.device.as_str())?;
    Some(id.into_owned())
}

/// What stands before the event's name, and what the event says.
fn find(text: &str) -> Option<(&str, Said<'_>)> {
    // All of them have this in them.
    let first = text.find("job_")?;
    for (at, _) in text[first..].match_indices("job_") {
        let at = first + at;
        let event = &text[at..];
        let before = &text[..at];
        if let Some(rest) = event.strip_prefix("job_state_transition ") {
            let (before, block) = version(before);
            return Some((before, transition(rest, block).unwrap_or(Said::Damaged)));
        }
        if let Some(rest) = event.strip_prefix("job_apply_verb ") {
            let (before, block) = version(before);
            return Some((before, verb(rest, block).unwrap_or(Said::Damaged)));
        }
        if let Some(rest) = event.strip_prefix("job_completed ") {
            let (before, _) = version(before);
            return Some((before, completed(rest).unwrap_or(Said::Damaged)));
        }
        if let Some(found) = command(text, before) {
            return Some(found);
        }
    }
    None
}

/// Whether the name went on to the left, as it did in QEMU 2.12.
fn version(before: &str) -> (&str, bool) {
    before
        .strip_suffix("block_")
        .map_or((before, false), |before| (before, true))
}

/// An event of a command, whose name has `job_` in it.
fn command<'a>(text: &'a str, before: &'a str) -> Option<(&'a str, Said<'a>)> {
    let start = before.rfind("qmp_")?;
    // Nothing else stands between.
    if before[start..].contains(|char: char| !char.is_ascii_lowercase() && char != '_') {
        return None;
    }
    let (name, rest) = text[start..].split_once(' ')?;
    let name = name.strip_prefix("qmp_")?;
    let said = if let Some(command) = name.strip_prefix("enter_") {
        Said::Enter {
            command,
            arguments: rest,
        }
    } else if let Some(command) = name.strip_prefix("exit_") {
        let (answer, well) = rest.rsplit_once(' ')?;
        match well {
            "0" | "1" => Said::Exit {
                command,
                answer,
                well: well == "1",
            },
            _ => Said::Damaged,
        }
    } else {
        Said::For {
            job: rest.strip_prefix("job ").and_then(address)?,
        }
    };
    Some((&text[..start], said))
}

/// Whether it is a line of a trace log with timestamps, whatever the event.
pub fn is_stamped(text: &str) -> bool {
    text.split_inclusive(':')
        .next()
        .is_some_and(|stamp| process(stamp).is_some())
}

/// The process, from what stands before the event.
fn process(before: &str) -> Option<u64> {
    let (process, time) = before
        .strip_suffix(':')?
        .rsplit(char::is_whitespace)
        .next()?
        .split_once('@')?;
    let (seconds, micros) = time.split_once('.')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (number(seconds) && number(micros))
        .then(|| process.parse().ok())
        .flatten()
}

fn address(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("0x")?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}

/// Statuses and verbs are words.
fn word(text: &str) -> Option<&str> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    (!text.is_empty() && text.bytes().all(letters)).then_some(text)
}

fn transition(rest: &str, block: bool) -> Option<Said<'_>> {
    let (job, rest) = rest.strip_prefix("job ")?.split_once(" (ret: ")?;
    let (result, rest) = rest.split_once(") attempting ")?;
    let (allowed, rest) = rest.split_once(" transition (")?;
    let (from, to) = rest.strip_suffix(')')?.split_once("-->")?;
    Some(Said::Transition {
        job: address(job)?,
        result: result.parse().ok()?,
        allowed: yes(allowed, "disallowed")?,
        from: word(from)?,
        to: word(to)?,
        block,
    })
}

fn verb(rest: &str, block: bool) -> Option<Said<'_>> {
    let (job, rest) = rest.strip_prefix("job ")?.split_once(" in state ")?;
    let (status, rest) = rest.split_once("; applying verb ")?;
    let (verb, allowed) = rest.strip_suffix(')')?.split_once(" (")?;
    Some(Said::Verb {
        job: address(job)?,
        status: word(status)?,
        verb: word(verb)?,
        allowed: yes(allowed, "prohibited")?,
        block,
    })
}

fn completed(rest: &str) -> Option<Said<'_>> {
    let (job, rest) = rest.strip_prefix("job ")?.split_once(" ret ")?;
    // Before QEMU 3.1 the job's own result stands behind the one it returned.
    let result = rest.rsplit(' ').next()?;
    Some(Said::Completed {
        job: address(job)?,
        result: result.parse().ok()?,
    })
}

fn yes(text: &str, no: &str) -> Option<bool> {
    match text {
        "allowed" => Some(true),
        text if text == no => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<(Option<u64>, Said<'_>)> {
        read(&Line {
            number: 1,
            text,
            whole: true,
        })
        .map(|entry| (entry.process, entry.said))
    }

    #[test]
    fn transitions_are_read_with_and_without_time() {
        let rest = "job_state_transition job 0x55ae (ret: -125) attempting allowed transition (running-->aborting)";
        let said = Said::Transition {
            job: "0x55ae",
            result: -125,
            allowed: true,
            from: "running",
            to: "aborting",
            block: false,
        };
        assert_eq!(of(rest), Some((None, said)));
        let stamped = format!("1695226@1724348063.795152:{rest}\r");
        assert_eq!(of(&stamped), Some((Some(1_695_226), said)));
        let logged = format!("qemu[7]: 42@1.000001:{rest}");
        assert_eq!(of(&logged), Some((Some(42), said)));
        let old = format!("block_{rest}");
        assert!(matches!(
            of(&old),
            Some((None, Said::Transition { block: true, .. }))
        ));
    }

    #[test]
    fn verbs_ends_and_commands_are_read() {
        assert_eq!(
            of("job_apply_verb job 0x1 in state standby; applying verb set-speed (prohibited)"),
            Some((
                None,
                Said::Verb {
                    job: "0x1",
                    status: "standby",
                    verb: "set-speed",
                    allowed: false,
                    block: false
                }
            ))
        );
        for ended in [
            "job_completed job 0x1 ret -5",
            "job_completed job 0x1 ret 0 jret -5",
        ] {
            let said = Said::Completed {
                job: "0x1",
                result: -5,
            };
            assert_eq!(of(ended), Some((None, said)));
        }
        assert_eq!(
            of("9@1.2:qmp_block_job_cancel job 0x2f"),
            Some((Some(9), Said::For { job: "0x2f" }))
        );
        assert_eq!(
            of("qmp_enter_job_pause {\"id\": \"job_x\"}"),
            Some((
                None,
                Said::Enter {
                    command: "job_pause",
                    arguments: "{\"id\": \"job_x\"}"
                }
            ))
        );
        assert_eq!(
            of("qmp_exit_block_job_pause Job is already paused 0"),
            Some((
                None,
                Said::Exit {
                    command: "block_job_pause",
                    answer: "Job is already paused",
                    well: false
                }
            ))
        );
    }

    #[test]
    fn what_is_cut_or_torn_is_damaged_and_the_rest_says_nothing() {
        let whole = "job_state_transition job 0x55ae (ret: 0) attempting allowed transition (running-->aborting)";
        for end in "job_state_transition j".len()..whole.len() {
            let said = of(&whole[..end]).map(|found| found.1);
            assert_eq!(said, Some(Said::Damaged), "{}", &whole[..end]);
        }
        for torn in [
            "job_apply_verb job 0x1 in state running; applying job_completed job 0x1 ret 0",
            "job_completed job (nil) ret 0",
            "job_completed job 0x1 ret zero",
            "job_state_transition job 0x1 (ret: 0) attempting odd transition (a-->b)",
        ] {
            assert_eq!(of(torn).map(|found| found.1), Some(Said::Damaged), "{torn}");
        }
        for other in [
            "",
            "mirror_start bs 0x1 s 0x2 opaque (nil)",
            "qmp_job_pause job",
            "qemu: could not open 'job_x.img'",
            "qmp_job_pause job (nil)",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
