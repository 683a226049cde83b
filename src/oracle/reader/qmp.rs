//! Recorded QMP conversations: `{"t":s,"dir":">"|"<","msg":{…}}`, one message a line.
//!
//! `>` is from the client to the daemon. `t` may be absent, null or a string; other members are
//! ignored. The members of a message are those of QEMU's QMP specification.

use super::json::{Members, Piece, pieces, read_line};
use super::lines::Line;
use super::scan::Scan;
use crate::oracle::error::TraceError;

pieces! {
    /// A line's record.
    Wire {
        /// Who sent it.
        dir: "dir",
        /// The message.
        msg: "msg",
    }
}

pieces! {
    /// A message, of whatever kind.
    Message {
        /// The greeting's content.
        greeting: "QMP",
        /// A command's name.
        execute: "execute",
        /// The name of a command that may overtake others.
        execute_oob: "exec-oob",
        /// A command's arguments.
        arguments: "arguments",
        /// A command's id, echoed by its reply.
        id: "id",
        /// A reply's value.
        value: "return",
        /// A reply's error.
        error: "error",
        /// An event's name.
        event: "event",
        /// An event's content.
        data: "data",
    }
}

impl Message<'_> {
    /// Whether that member has members of its own that are read along with it.
    fn is_data(name: <Message<'static> as Members<'static>>::Name) -> bool {
        Some(name) == Message::named("data")
    }
}

pieces! {
    /// What the events of jobs carry.
    EventData {
        /// The job, in `JOB_STATUS_CHANGE` and `BLOCK_JOB_PENDING`.
        id: "id",
        /// The new status.
        status: "status",
        /// The job, in the other `BLOCK_JOB_*` events.
        device: "device",
        /// What kind of job it is.
        kind: "type",
        /// The progress's end.
        len: "len",
        /// The progress.
        offset: "offset",
        /// The rate limit, bytes a second; 0 = none.
        speed: "speed",
        /// Why it failed.
        error: "error",
        /// What becomes of an I/O error.
        action: "action",
        /// Which I/O failed.
        operation: "operation",
    }
}

pieces! {
    /// A reply's error.
    ErrorReply {
        /// Its class.
        class: "class",
        /// Its text.
        desc: "desc",
    }
}

pieces! {
    /// A job as `query-jobs` and `query-block-jobs` list it.
    Entry {
        /// Its id, in `query-jobs`.
        id: "id",
        /// Its id, in `query-block-jobs`.
        device: "device",
        /// What kind of job it is.
        kind: "type",
        /// Its status.
        status: "status",
        /// Its progress, in `query-jobs`.
        current: "current-progress",
        /// The progress's end, in `query-jobs`.
        total: "total-progress",
        /// Why it failed.
        error: "error",
        /// Its progress, in `query-block-jobs`.
        offset: "offset",
        /// The progress's end, in `query-block-jobs`.
        len: "len",
        /// Somebody holds it.
        paused: "paused",
        /// It has converged.
        ready: "ready",
        /// It is under way.
        busy: "busy",
        /// The rate limit.
        speed: "speed",
        /// Whether an I/O error stopped it.
        io_status: "io-status",
        /// The transaction decides by itself.
        auto_finalize: "auto-finalize",
        /// It vanishes by itself.
        auto_dismiss: "auto-dismiss",
    }
}

pieces! {
    /// A greeting.
    Greeting {
        /// Who it is.
        version: "version",
    }
}

pieces! {
    /// A greeting's version.
    Version {
        /// The numbers.
        qemu: "qemu",
        /// The builder's name for it.
        package: "package",
    }
}

pieces! {
    /// A version's numbers.
    Numbers {
        /// As in 10.0.2: 10.
        major: "major",
        /// As in 10.0.2: 0.
        minor: "minor",
    }
}

/// Who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client.
    Sent,
    /// The daemon.
    Received,
}

/// One recorded message.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The line it stands in, from 1.
    pub line: u64,
    /// Who sent it.
    pub direction: Direction,
    /// What.
    pub message: Message<'a>,
    /// What is in its data, where that was read along with it.
    pub data: Option<EventData<'a>>,
}

impl Default for Record<'_> {
    /// One in which nothing is yet.
    #[inline]
    fn default() -> Self {
        Record {
            line: 0,
            direction: Direction::Received,
            message: Message::default(),
            data: None,
        }
    }
}

/// Reads a line into `record`, in which nothing is yet; `Ok(false)`: the last line, cut.
///
/// # Errors
/// The line is not JSON, or not a record of this format.
pub fn read<'a>(line: &Line<'a>, record: &mut Record<'a>) -> Result<bool, TraceError> {
    // One pass for what is in order; a second, slower one says what is not.
    record.line = line.number;
    match scanned(line.text, record) {
        Some("<") => record.direction = Direction::Received,
        Some(">") => record.direction = Direction::Sent,
        _ => match read_slowly(line)? {
            Some(read) => *record = read,
            None => return Ok(false),
        },
    }
    Ok(true)
}

/// The same, whatever there is.
#[cold]
fn read_slowly<'a>(line: &Line<'a>) -> Result<Option<Record<'a>>, TraceError> {
    let number = line.number;
    let Some(wire) = read_line::<Wire<'a>>(line.text, number, line.whole)? else {
        return Ok(None);
    };
    let shape = |what: &str| TraceError::Shape {
        line: number,
        what: format!("{what}; a record is {{\"t\":seconds,\"dir\":\">\" or \"<\",\"msg\":{{…}}}}"),
    };
    if !wire.object {
        return Err(shape("not an object"));
    }
    let dir = match wire.dir.as_str() {
        Some(dir) => dir,
        None if wire.dir.is_present() => return Err(shape("\"dir\" is no string")),
        None => return Err(shape("\"dir\" is missing")),
    };
    if !wire.msg.is_present() {
        return Err(shape("\"msg\" is missing"));
    }
    let direction = match dir.as_ref() {
        ">" => Direction::Sent,
        "<" => Direction::Received,
        other => {
            return Err(TraceError::Shape {
                line: number,
                what: format!(
                    "\"dir\" is {other:?}; it is \">\" for what the client sent and \"<\" for what it received"
                ),
            });
        }
    };
    Ok(Some(Record {
        line: number,
        direction,
        message: wire.msg.read::<Message<'a>>().unwrap_or_default(),
        data: None,
    }))
}

/// Who sent it, and what, in one pass: the message, and what is in its data, is put into `record`.
fn scanned<'a>(text: &'a str, record: &mut Record<'a>) -> Option<&'a str> {
    let mut scan = Scan::new(text);
    if let Some(dir) = scan.attempt(begin) {
        message(&mut scan, record)?;
        if scan.pass(b"}").is_some() && scan.end() {
            return Some(dir);
        }
        // Other members follow.
        record.message = Message::default();
        record.data = None;
        scan = Scan::new(text);
    }
    let (mut dir, mut found) = (None, false);
    scan.space();
    scan.object(|scan, name| {
        match name {
            "dir" => dir = Some(scan.plain_string()?),
            // Of one written twice the last counts.
            "msg" => {
                if found {
                    record.message = Message::default();
                    record.data = None;
                }
                found = true;
                message(scan, record)?;
            }
            _ => scan.skip(0)?,
        }
        Some(())
    })?;
    (scan.end() && found).then_some(dir)?
}

/// How a record begins as Python writes it: who sent it; the message is next.
#[inline]
fn begin<'a>(scan: &mut Scan<'a>) -> Option<&'a str> {
    scan.pass(b"{\"t\": ")?;
    scan.number()?;
    scan.pass(b", \"dir\": ")?;
    let dir = scan.plain_string()?;
    scan.pass(b", \"msg\": ")?;
    Some(dir)
}

/// How an event begins as QEMU writes it; the name of the next member is next.
#[inline]
fn begin_event(scan: &mut Scan<'_>) -> Option<()> {
    scan.pass(b"{\"timestamp\": {\"seconds\": ")?;
    scan.number()?;
    scan.pass(b", \"microseconds\": ")?;
    scan.number()?;
    scan.pass(b"}, ")
}

/// A message, and what is in its data.
#[inline]
fn message<'a>(scan: &mut Scan<'a>, record: &mut Record<'a>) -> Option<()> {
    if scan.attempt(begin_event).is_some() || scan.begin_object()? {
        return scan.rest_of_members(&mut record.message, Message::is_data, &mut record.data);
    }
    record.message.object = true;
    Some(())
}

/// What a greeting says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// QEMU's version, major and minor.
    pub version: Option<(u32, u32)>,
    /// It is this project's own server.
    pub blockjob: bool,
}

/// Reads the content of a greeting.
pub fn read_greeting(greeting: Piece<'_>) -> Peer {
    let version: Version<'_> = greeting
        .read::<Greeting<'_>>()
        .and_then(|greeting| greeting.version.read())
        .unwrap_or_default();
    let numbers: Numbers<'_> = version.qemu.read().unwrap_or_default();
    let number = |piece: Piece<'_>| piece.as_integer().and_then(|n| u32::try_from(n).ok());
    Peer {
        version: number(numbers.major).zip(number(numbers.minor)),
        blockjob: version
            .package
            .as_str()
            .is_some_and(|package| package.starts_with("blockjob")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line<'_> {
        Line {
            number: 7,
            text,
            whole: true,
        }
    }

    fn one(text: &str) -> Result<Record<'_>, TraceError> {
        let mut record = Record::default();
        read(&line(text), &mut record).map(|whole| {
            assert!(whole);
            record
        })
    }

    #[test]
    fn time_may_be_anything_and_other_members_are_ignored() {
        for text in [
            r#"{"dir":">","msg":{"execute":"quit"}}"#,
            r#"{"t":null,"dir":">","msg":{"execute":"quit","x":1},"y":[{}]}"#,
            r#"{"t":"2026-01-01","msg":{"execute":"quit"},"dir":">"}"#,
            r#"{"t":-1.5e3,"dir":"\u003e","msg":{"execute":"quit"}}"#,
        ] {
            let record = one(text).unwrap();
            assert_eq!(record.direction, Direction::Sent);
            assert_eq!(record.message.execute.as_str().unwrap(), "quit");
        }
    }

    #[test]
    fn what_is_no_record_is_an_error_that_says_what_one_is() {
        for (text, says) in [
            ("[1]", "not an object"),
            (r#"{"msg":{}}"#, "\"dir\" is missing"),
            (r#"{"dir":5,"msg":{}}"#, "\"dir\" is no string"),
            (r#"{"dir":"=","msg":{}}"#, "\"dir\" is \"=\""),
            (r#"{"dir":"<"}"#, "\"msg\" is missing"),
        ] {
            let error = one(text).unwrap_err().to_string();
            assert!(
                error.starts_with("line 7: ") && error.contains(says),
                "{error}"
            );
        }
        let error = one("{\"dir\":").unwrap_err().to_string();
        assert!(error.contains("not JSON"), "{error}");
    }

    /// Where the fast way answers, the other one answers the same.
    fn as_the_other(text: &str) -> bool {
        let mut fast = Record::default();
        let Some(dir) = scanned(text, &mut fast) else {
            return false;
        };
        let slow = match read_slowly(&line(text)) {
            Ok(Some(slow)) => slow,
            // Who else sent it is told by the slow way.
            _ if dir != "<" && dir != ">" => return true,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(slow.direction == Direction::Received, dir == "<", "{text}");
        let shown = |message: &Message<'_>| format!("{message:?}");
        assert_eq!(shown(&fast.message), shown(&slow.message), "{text}");
        if let Some(data) = fast.data {
            let slow: EventData<'_> = slow.message.data.read().unwrap_or_default();
            assert_eq!(format!("{data:?}"), format!("{slow:?}"), "{text}");
        }
        true
    }

    #[test]
    fn every_recorded_line_is_read_the_fast_way() {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/live-10.0");
        let mut lines = 0;
        for entry in folder.read_dir().unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for line in text.lines() {
                lines += u32::from(as_the_other(line));
                // As others write it.
                let close = line.replace("\": ", "\":").replace(", \"", ",\"");
                assert_eq!(as_the_other(&close), as_the_other(line), "{line}");
            }
        }
        assert!(lines > 4000, "{lines}");
    }

    proptest::proptest! {
        #[test]
        fn both_ways_yield_the_same(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "{\"t\": 1.5, \"dir\": \"<\", \"msg\": {", "{\"t\": 0, \"dir\": \">\", \"msg\": ", "{\"dir\":\"<\",\"msg\":{",
                    "\"timestamp\": {\"seconds\": 1, \"microseconds\": 20}, ", "\"timestamp\":{\"seconds\":1},", "\"msg\":{",
                    "\"event\": \"X\"", "\"data\": {", "\"data\": 1", "\"status\": \"running\"", "\"id\": \"j0\"", "\"return\": {",
                    "\"return\":[]", "\"execute\": \"query-jobs\"", "\"arguments\": {", "\"id\":\"a\\\"b\"", "\"\\u0041\": 1",
                    "{", "}", "}", "}}", "}}}", ", ", ",", " ", "\t", "1", "-0.5e3",
                ]),
                0..14,
            ),
        ) {
            as_the_other(&pieces.concat());
        }
    }

    #[test]
    fn a_message_that_is_no_object_has_no_kind() {
        let record = one(r#"{"dir":"<","msg":[1]}"#).unwrap();
        assert!(!record.message.object);
    }

    #[test]
    fn a_greeting_names_the_version_or_this_project() {
        let greeting =
            |text: &'static str| read_greeting(serde_json::from_str::<Piece<'_>>(text).unwrap());
        assert_eq!(
            greeting(r#"{"version":{"qemu":{"major":7,"minor":2},"package":"v"}}"#),
            Peer {
                version: Some((7, 2)),
                blockjob: false
            }
        );
        assert!(greeting(r#"{"version":{"package":"blockjob 0.1.0"}}"#).blockjob);
        assert_eq!(greeting("5").version, None);
    }
}
