//! libvirt's debug log: the lines in which it tells what it sent to QEMU's monitor and what came back.
//!
//! ```text
//! 2026-01-02 03:04:05.678+0000: 4711: info : qemuMonitorSend:864 : QEMU_MONITOR_SEND_MSG: mon=0x7f… msg={…}^M
//!  fd=-1
//! 2026-01-02 03:04:05.679+0000: 4712: info : qemuMonitorJSONIOProcessLine:236 : QEMU_MONITOR_RECV_REPLY: mon=0x7f… reply={…}
//! ```
//!
//! | what | says |
//! |---|---|
//! | `QEMU_MONITOR_SEND_MSG` | a command is handed to the monitor's thread |
//! | `QEMU_MONITOR_IO_WRITE` | that thread writes it, or a part of it |
//! | `QEMU_MONITOR_RECV_REPLY`, `…_EVENT` | an answer, an event |
//! | `QEMU_MONITOR_NEW`, `…_CLOSE` | a connection begins, ends |
//! | `Line [{"QMP": …}]` | the greeting; whose it is it does not say |
//!
//! Only these words count, and the object behind them, not what a logger wrote before them or how it
//! wrote line breaks: so the same lines are read as journald, rsyslog and containers keep them. Where a
//! line is a JSON object of the logger's own, in whose strings quotation marks have backslashes, the
//! string is read first, as often as it was written so (kubevirt, and a container's runtime around it).

use super::lines::Line;
use super::raw::object_end;

/// A line that speaks of a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The line, from 1.
    pub line: u64,
    /// The monitor's address; empty where the line does not say.
    pub monitor: &'a str,
    /// What.
    pub said: Said<'a>,
}

/// What a line says. Objects are JSON, or at least have as many closing braces as opening ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// A command, handed over.
    Sent(&'a str),
    /// A command, written; the same as was handed over, or a piece of it.
    Written(&'a str),
    /// An answer or an event.
    Received(&'a str),
    /// A greeting.
    Greeting(&'a str),
    /// A connection begins.
    Opened,
    /// A connection ends.
    Closed,
    /// libvirt itself begins anew: no connection outlasts that.
    Restarted,
    /// Something is not in the log: a message that was cut, or, of any monitor, what a logger gave up.
    Lost,
}

/// Reads lines; holds what had to be unescaped.
#[derive(Debug, Default)]
pub struct Reader {
    unescaped: String,
}

/// What every line begins with that tells what went over a monitor.
const MARK: &str = "QEMU_MONITOR_";
/// What a line with a greeting has.
const GREETING: &str = "Line [{";

impl Reader {
    /// Reads a line; `None`: it says nothing of a monitor.
    pub fn read<'a>(&'a mut self, line: &Line<'a>) -> Option<Entry<'a>> {
        let entry = |(monitor, said)| Entry {
            line: line.number,
            monitor,
            said,
        };
        let Some(at) = marked(line.text) else {
            return about_itself(line.text).map(|said| entry(("", said)));
        };
        let text = &line.text[at..];
        if !is_escaped(text) {
            return said(text).map(entry);
        }
        text.clone_into(&mut self.unescaped);
        // Each level halves the backslashes.
        while is_escaped(&self.unescaped) {
            self.unescaped = unescape(&self.unescaped);
        }
        said(&self.unescaped).map(entry)
    }
}

/// Where the words begin that tell of a monitor.
fn marked(text: &str) -> Option<usize> {
    let mark = text.find(MARK);
    // A message may have anything in it; what comes first is the logger's.
    let before = mark.map_or(text, |mark| &text[..mark]);
    match before.find("Line [") {
        Some(at) if greeting(&text[at..]).is_some() => Some(at),
        _ => mark,
    }
}

/// A greeting, perhaps escaped, and what follows it.
fn greeting(text: &str) -> Option<&str> {
    let object = text.strip_prefix("Line [")?;
    object
        .strip_prefix('{')?
        .trim_start_matches(['\\', ' '])
        .starts_with("\"QMP")
        .then_some(object)
}

/// The first quotation mark behind a brace has a backslash: it stands in another's string.
fn is_escaped(text: &str) -> bool {
    text.find('{')
        .is_some_and(|brace| text[brace + 1..].trim_start().starts_with('\\'))
}

/// The string that `text` is the rest of, read once. It ends at a quotation mark without a backslash.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        match char {
            '"' => break,
            '\\' => match rest.next() {
                Some('n') => plain.push('\n'),
                Some('r') => plain.push('\r'),
                Some('t') => plain.push('\t'),
                Some('b') => plain.push('\u{8}'),
                Some('f') => plain.push('\u{c}'),
                Some('u') => plain.push(character(&mut rest)),
                // A quotation mark, a backslash, a slash.
                Some(other) => plain.push(other),
                None => break,
            },
            _ => plain.push(char),
        }
    }
    plain
}

/// The character that four hexadecimal digits stand for, or twice four.
fn character(rest: &mut std::str::Chars<'_>) -> char {
    let mut unit = || {
        let digits = rest.as_str().get(..4)?;
        let unit = u16::from_str_radix(digits, 16).ok()?;
        *rest = rest.as_str()[4..].chars();
        Some(unit)
    };
    let Some(first) = unit() else {
        return char::REPLACEMENT_CHARACTER;
    };
    let mut units = vec![first];
    if (0xd800..0xdc00).contains(&first)
        && let Some(after) = rest.as_str().strip_prefix("\\u")
        && let Some(second) = after
            .get(..4)
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
    {
        *rest = after[4..].chars();
        units.push(second);
    }
    char::decode_utf16(units)
        .next()
        .and_then(Result::ok)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The monitor and what is said, from where the words begin.
fn said(text: &str) -> Option<(&str, Said<'_>)> {
    if let Some(object) = greeting(text) {
        return Some(("", object_of(object).map_or(Said::Lost, Said::Greeting)));
    }
    let (name, rest) = text.strip_prefix(MARK)?.split_once(": mon=")?;
    let end = rest
        .find(|char: char| !char.is_ascii_alphanumeric())
        .unwrap_or(rest.len());
    let (monitor, rest) = rest.split_at(end);
    let object = |key: &str| rest.trim_start().strip_prefix(key).and_then(object_of);
    let said = match name {
        "SEND_MSG" => object("msg=").map_or(Said::Lost, Said::Sent),
        "RECV_REPLY" => object("reply=").map_or(Said::Lost, Said::Received),
        "RECV_EVENT" => object("event=").map_or(Said::Lost, Said::Received),
        // A piece of a command is no object.
        "IO_WRITE" => Said::Written(object("buf=")?),
        "NEW" => Said::Opened,
        "CLOSE" => Said::Closed,
        _ => return None,
    };
    Some((monitor, said))
}

/// The object that `text` begins with.
fn object_of(text: &str) -> Option<&str> {
    text.starts_with('{')
        .then(|| object_end(text).map(|end| &text[..end]))?
}

/// What libvirt or a logger says of the log itself.
fn about_itself(text: &str) -> Option<Said<'static>> {
    const LOST: [&str; 3] = [
        "messages lost due to rate-limiting",
        "begin to drop messages due to rate-limiting",
        "messages discarded",
    ];
    if text.contains(": libvirt version: ") {
        return Some(Said::Restarted);
    }
    let lost = text.contains("Suppressed ") && text.contains(" messages from ")
        || LOST.iter().any(|lost| text.contains(lost));
    lost.then_some(Said::Lost)
}

/// Whether it is a line of libvirt's log, whatever it says.
pub fn is_libvirt(text: &str) -> bool {
    is_stamped(text) || marked(text).is_some_and(|at| is_of_monitor(&text[at..]))
}

fn is_of_monitor(text: &str) -> bool {
    text.starts_with(GREETING) || text.contains(": mon=0x")
}

/// `2026-01-02 03:04:05.678+0000: 4711: debug : …`
fn is_stamped(text: &str) -> bool {
    let Some((stamp, rest)) = text.split_once(": ") else {
        return false;
    };
    let Some((thread, rest)) = rest.split_once(": ") else {
        return false;
    };
    let shape = b"dddd-dd-dd dd:dd:dd.ddd+dddd";
    let stamped = stamp.len() == shape.len()
        && stamp.bytes().zip(shape).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            b'+' => matches!(byte, b'+' | b'-'),
            _ => byte == *shape,
        });
    stamped
        && !thread.is_empty()
        && thread.bytes().all(|byte| byte.is_ascii_digit())
        && ["debug :", "info :", "warning :", "error :"]
            .iter()
            .any(|level| rest.starts_with(level))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, String)> {
        Reader::default()
            .read(&Line {
                number: 1,
                text,
                whole: true,
            })
            .map(|entry| (entry.monitor.to_owned(), format!("{:?}", entry.said)))
    }

    fn found(text: &str, monitor: &str, said: Said<'_>) {
        let expected = (monitor.to_owned(), format!("{said:?}"));
        assert_eq!(read(text), Some(expected), "{text}");
    }

    const STAMP: &str = "2026-01-02 03:04:05.678+0000: 4711: info : qemuMonitorX:1 : ";

    #[test]
    fn what_goes_over_a_monitor_is_read_as_libvirt_writes_it() {
        for (text, said) in [
            (
                r#"QEMU_MONITOR_SEND_MSG: mon=0x7f1 msg={"a":"}"}"#,
                Said::Sent(r#"{"a":"}"}"#),
            ),
            (
                "QEMU_MONITOR_SEND_MSG: mon=0x7f1 msg={\"a\":1}\r",
                Said::Sent(r#"{"a":1}"#),
            ),
            (
                "QEMU_MONITOR_SEND_MSG: mon=0x7f1 msg={\"a\":1}^M fd=-1",
                Said::Sent(r#"{"a":1}"#),
            ),
            (
                "QEMU_MONITOR_SEND_MSG: mon=0x7f1 msg={\"a\":1}#015#012 fd=-1",
                Said::Sent(r#"{"a":1}"#),
            ),
            (
                "QEMU_MONITOR_IO_WRITE: mon=0x7f1 buf={\"a\":1}\r",
                Said::Written(r#"{"a":1}"#),
            ),
            (
                r#"QEMU_MONITOR_RECV_REPLY: mon=0x7f1 reply={"return": {}}"#,
                Said::Received(r#"{"return": {}}"#),
            ),
            (
                r#"QEMU_MONITOR_RECV_EVENT: mon=0x7f1 event={"event": "X"}"#,
                Said::Received(r#"{"event": "X"}"#),
            ),
            ("QEMU_MONITOR_NEW: mon=0x7f1 refs=2 fd=30", Said::Opened),
            ("QEMU_MONITOR_CLOSE: mon=0x7f1", Said::Closed),
            (
                r#"QEMU_MONITOR_RECV_REPLY: mon=0x7f1 reply={"return": "#,
                Said::Lost,
            ),
        ] {
            found(text, "0x7f1", said);
            found(&format!("{STAMP}{text}"), "0x7f1", said);
            found(
                &format!("Jan 02 03:04:05 host libvirtd[4711]: {text}"),
                "0x7f1",
                said,
            );
        }
        let line = r#"Line [{"QMP": {"version": {}}}]"#;
        found(
            &format!("{STAMP}{line}"),
            "",
            Said::Greeting(r#"{"QMP": {"version": {}}}"#),
        );
    }

    #[test]
    fn what_a_logger_escaped_is_read_as_often_as_it_was() {
        let message = r#"QEMU_MONITOR_RECV_EVENT: mon=0x7f1 event={"event": "X", "data": {"error": "a \"b\" \\ ü 😀"}}"#;
        let said = Said::Received(message.split_once("event=").unwrap().1);
        let mut log = message.to_owned();
        for _ in 0..3 {
            log = serde_json::json!({"level": "info", "msg": log, "pos": "f:1"}).to_string();
            found(&log, "0x7f1", said);
            let ascii: String = log
                .chars()
                .flat_map(|char| {
                    let mut units = [0; 2];
                    let escaped = |unit: &u16| format!("\\u{unit:04x}");
                    let text = if char.is_ascii() {
                        char.to_string()
                    } else {
                        char.encode_utf16(&mut units).iter().map(escaped).collect()
                    };
                    text.chars().collect::<Vec<_>>()
                })
                .collect();
            // Where everything is escaped once at the least, so may these be.
            found(&ascii, "0x7f1", said);
        }
        let greeting = r#"{"msg":"Line [{\"QMP\": {\"version\": {}}}]","pos":"x"}"#;
        found(greeting, "", Said::Greeting(r#"{"QMP": {"version": {}}}"#));
    }

    #[test]
    fn what_says_nothing_of_a_monitor_is_passed_over() {
        for text in [
            "",
            "\\",
            " fd=-1",
            "QEMU_MONITOR_",
            "QEMU_MONITOR_SEND_MSG: mon",
            "QEMU_MONITOR_REF: mon=0x7f1 refs=3",
            // The rest of a command.
            "QEMU_MONITOR_IO_WRITE: mon=0x7f1 buf=ments\":{}}",
            "Line [{\"return\": {}, \"id\": \"libvirt-1\"}]",
            "2026-01-02 03:04:05.678+0000: 4711: debug : virThing:1 : x",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        found(
            "Jan 02 03:04:05 host systemd-journald[1]: Suppressed 12 messages from libvirtd.service",
            "",
            Said::Lost,
        );
        found(
            "2026-01-02 03:04:05.678+0000: 4711: info : libvirt version: 11.3.0",
            "",
            Said::Restarted,
        );
    }

    #[test]
    fn a_line_of_this_log_is_known() {
        assert!(is_libvirt(STAMP));
        assert!(is_libvirt(
            r#"{"msg":"QEMU_MONITOR_RECV_EVENT: mon=0x7f event={}"}"#
        ));
        assert!(is_libvirt(r#"x: Line [{"QMP": {}}]"#));
        for other in [
            "2026-01-02 03:04:05.678+0000: starting up",
            "2026-01-02 03:04:05,678 DEBUG [vm0] >>> {",
            r#"{"return": "QEMU_MONITOR_RECV_EVENT"}"#,
            "42@1700000000.123456:job_completed job 0x1 ret 0",
        ] {
            assert!(!is_libvirt(other), "{other}");
        }
    }
}
