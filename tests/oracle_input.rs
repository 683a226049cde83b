//! Goal: what is no trace is an error that says what and where; what is odd but legal is accepted.
//!
//! Method: small conversations written by hand, and files that are none.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::Path;

use blockjob::model::Profile;
use blockjob::oracle::{self, Format, Observer, Options, Outcome, Verdict};

fn check_as(text: &[u8], options: &Options) -> Verdict {
    oracle::check_reader("trace", text, options)
}

fn check(text: &str) -> Verdict {
    check_as(text.as_bytes(), &Options::default())
}

/// The message of an error.
fn error(verdict: &Verdict) -> String {
    match &verdict.outcome {
        Outcome::Error(error) => error.to_string(),
        _ => panic!("{verdict}"),
    }
}

fn accepted(text: &str) -> Verdict {
    let verdict = check(text);
    assert!(
        matches!(verdict.outcome, Outcome::Accept),
        "{verdict}\n{text}"
    );
    verdict
}

fn refused(text: &str, rule: &str) -> Verdict {
    let verdict = check(text);
    let fault = verdict
        .fault()
        .unwrap_or_else(|| panic!("{verdict}\n{text}"));
    assert_eq!(fault.rule, rule, "{verdict}\n{text}");
    verdict
}

/// Messages of a conversation: `> …` and `< …`, one a line.
fn conversation(lines: &str) -> String {
    lines
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .fold(String::new(), |text, line| {
            let (dir, msg) = line.split_at(1);
            text + &format!("{{\"dir\":\"{dir}\",\"msg\":{}}}\n", msg.trim())
        })
}

fn status(id: &str, status: &str) -> String {
    format!(
        "< {{\"event\":\"JOB_STATUS_CHANGE\",\"data\":{{\"id\":\"{id}\",\"status\":\"{status}\"}}}}\n"
    )
}

const GREETING: &str =
    "< {\"QMP\":{\"version\":{\"qemu\":{\"major\":10,\"minor\":0,\"micro\":2}}}}\n";
const NO_JOBS: &str = "> {\"execute\":\"query-jobs\"}\n< {\"return\":[]}\n";
const STREAM: &str =
    "> {\"execute\":\"block-stream\",\"arguments\":{\"job-id\":\"j0\",\"device\":\"d\"}}\n";
const OK: &str = "< {\"return\":{}}\n";
const COMPLETED: &str = "< {\"event\":\"BLOCK_JOB_COMPLETED\",\"data\":{\"device\":\"j0\",\"type\":\"stream\",\"len\":8,\"offset\":8,\"speed\":0}}\n";

const ANSWERED: &str = "> {\"execute\":\"query-version\"}\n< {\"return\":{}}\n";

/// A stream from its command to its reply.
fn started() -> String {
    [
        STREAM,
        &status("j0", "created"),
        &status("j0", "running"),
        OK,
    ]
    .concat()
}

#[test]
fn files_that_are_no_traces_are_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let verdict = oracle::check(folder.path(), &Options::default());
    assert!(error(&verdict).contains("folder"), "{verdict}");
    let missing = folder.path().join("missing.jsonl");
    let verdict = oracle::check(&missing, &Options::default());
    assert!(error(&verdict).contains("cannot open"), "{verdict}");
    assert_eq!(verdict.path, missing.display().to_string());
    assert_eq!(verdict.exit_code(), 2);
    for (text, says) in [
        (&b""[..], "empty"),
        (b"\n \n", "empty"),
        (b"hello\n", "line 1: not JSON"),
        // Packed as nothing here unpacks it; packed and cut.
        (b"\xfd7zXZ\x00\xff\n", "line 1, column 1: not UTF-8"),
        (b"\x1f\x8b\x08\x00\xff\n", "empty"),
        (b"{\"a\":1}\n", "line 1: neither a native trace"),
        (
            b"{\"dir\":\">\",\"msg\":{\"execute\":\"quit\"}}\n",
            "nothing to judge",
        ),
        (b"{\"blockjob_trace\":1}\n", "nothing to judge"),
        (b"{\"blockjob_trace\":9}\n", "version 9"),
        (
            b"{\"blockjob_trace\":1,\"profile\":\"qemu-0.1\"}\n",
            "line 1: the header names the profile",
        ),
        (
            b"{\"dir\":\"<\",\"msg\":{\"QMP\":{}}}\n\n{\"dir\":\"?\",\"msg\":{}}\n",
            "line 3: \"dir\" is",
        ),
        (
            b"{\"dir\":\"<\",\"msg\":{\"return\":{}}}\n{\"dir\":\"<\",\n{}\n",
            "line 2: not JSON",
        ),
    ] {
        let verdict = check_as(text, &Options::default());
        let message = error(&verdict);
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn a_native_line_that_is_no_record_is_an_error() {
    let header = "{\"blockjob_trace\":1}\n";
    for (line, says) in [
        ("[]", "not an object"),
        ("{}", "\"kind\" is missing"),
        (r#"{"kind":"dance"}"#, "\"kind\" is \"dance\""),
        (r#"{"kind":"call","thread":"t"}"#, "\"verb\" is missing"),
        (r#"{"kind":"call","verb":"pause"}"#, "\"thread\" is missing"),
        (
            r#"{"kind":"call","thread":"t","verb":"hop","job":"j"}"#,
            "\"verb\" is \"hop\"",
        ),
        (
            r#"{"kind":"status","job":"j","status":"asleep"}"#,
            "\"status\" is missing or none",
        ),
        (
            r#"{"kind":"callback","job":"j","callback":"run"}"#,
            "\"edge\" is begin or end",
        ),
    ] {
        let message = error(&check(&format!("{header}{line}\n")));
        assert!(
            message.starts_with("line 2: ") && message.contains(says),
            "{message}"
        );
    }
    let back = format!(
        "{header}{{\"seq\":2,\"kind\":\"call\",\"thread\":\"t\",\"verb\":\"pause-all\"}}\n{{\"seq\":1,\"kind\":\"return\",\"thread\":\"t\",\"verb\":\"pause-all\",\"ok\":true}}\n"
    );
    assert!(error(&check(&back)).contains("\"seq\" does not rise"));
}

#[test]
fn a_recording_may_end_anywhere_even_inside_a_line() {
    let whole = conversation(&[GREETING, NO_JOBS, &started()].concat());
    for end in 1..whole.len() {
        let cut = &whole[..end];
        let verdict = check(cut);
        match &verdict.outcome {
            Outcome::Accept => {
                let inside = !cut.ends_with('\n') && !cut.ends_with('}');
                assert!(!inside || verdict.notes.len() == 1, "{verdict}\n{cut}");
            }
            Outcome::Error(_) => assert_eq!(verdict.events, 0, "{verdict}\n{cut}"),
            Outcome::Reject(_) => panic!("{verdict}\n{cut}"),
        }
    }
}

#[test]
fn greetings_name_the_profile_or_are_absent_or_come_again() {
    let talk = [NO_JOBS, &started()].concat();
    assert_eq!(
        accepted(&conversation(&[GREETING, &talk].concat())).profile,
        Some("qemu-10.0")
    );
    let old = GREETING.replace("\"major\":10,\"minor\":0", "\"major\":7,\"minor\":2");
    assert_eq!(
        accepted(&conversation(&[&old, talk.as_str()].concat())).profile,
        Some("qemu-7.2")
    );
    let ours = "< {\"QMP\":{\"version\":{\"qemu\":{\"major\":10,\"minor\":0},\"package\":\"blockjob 0.1.0\"}}}\n";
    assert_eq!(
        accepted(&conversation(&[ours, talk.as_str()].concat())).profile,
        Some("reference")
    );
    let none = accepted(&conversation(&talk));
    // All that have JOB_STATUS_CHANGE.
    let fits = [
        "qemu-10.0",
        "qemu-8.2",
        "qemu-7.2",
        "qemu-6.2",
        "qemu-6.0",
        "qemu-4.2",
    ];
    assert_eq!(none.fits, [fits.as_slice(), &["reference"]].concat());
    accepted(&conversation(&[GREETING, GREETING, &talk].concat()));
    // A new connection: what happened meanwhile was not seen, the job is met on its way.
    accepted(&conversation(
        &[
            GREETING,
            &talk,
            GREETING,
            &status("j0", "waiting"),
            &status("j0", "pending"),
        ]
        .concat(),
    ));
}

#[test]
fn without_a_greeting_a_profile_that_does_not_fit_drops_out() {
    // A pause nobody asked for: the block layer's, which the reference does not have.
    let drained = [
        STREAM,
        &status("j0", "created"),
        &status("j0", "running"),
        &status("j0", "paused"),
    ]
    .concat();
    let verdict = accepted(&conversation(&drained));
    assert_eq!(verdict.fits.len(), 6);
    assert!(!verdict.fits.contains(&"reference"));
    let options = Options {
        profile: Profile::by_name("reference"),
        ..Options::default()
    };
    let verdict = check_as(conversation(&drained).as_bytes(), &options);
    assert_eq!(verdict.fault().unwrap().rule, "paused-unasked");
}

#[test]
fn a_job_that_was_there_before_is_met_on_its_way_until_the_jobs_are_listed() {
    let event = status("old", "waiting");
    accepted(&conversation(&[GREETING, &event].concat()));
    refused(
        &conversation(&[GREETING, NO_JOBS, &event].concat()),
        "unknown-job",
    );
    refused(
        &conversation(&[GREETING, &event, &status("old", "running")].concat()),
        "status-transition",
    );
    let listed = "> {\"execute\":\"query-jobs\"}\n< {\"return\":[{\"id\":\"old\",\"type\":\"backup\",\"status\":\"running\",\"current-progress\":1,\"total-progress\":2}]}\n";
    accepted(&conversation(
        &[GREETING, listed, &status("old", "paused")].concat(),
    ));
    refused(
        &conversation(&[GREETING, listed, NO_JOBS].concat()),
        "query-misses-job",
    );
}

#[test]
fn who_else_may_act_is_a_choice() {
    let foreign = conversation(
        &[
            GREETING,
            NO_JOBS,
            &status("x", "created"),
            &status("x", "running"),
        ]
        .concat(),
    );
    accepted(&foreign);
    let sole = Options {
        observer: Observer::Sole,
        ..Options::default()
    };
    let verdict = check_as(foreign.as_bytes(), &sole);
    assert_eq!(verdict.fault().unwrap().rule, "created-unasked");
    // A cancel that nobody here asked for.
    let cancelled = conversation(
        &[
            GREETING,
            NO_JOBS,
            &started(),
            &status("j0", "aborting"),
            &COMPLETED.replace("COMPLETED", "CANCELLED"),
            ANSWERED,
        ]
        .concat(),
    );
    refused(&cancelled, "cancelled-unasked");
    let shared = Options {
        observer: Observer::Shared,
        ..Options::default()
    };
    let verdict = check_as(cancelled.as_bytes(), &shared);
    assert!(matches!(verdict.outcome, Outcome::Accept), "{verdict}");
    // Nothing shows another client, so it stays a fault; but who knows better is told.
    let verdict = check(&cancelled);
    let hint = "`--observer shared` accepts it";
    assert!(
        verdict.notes.iter().any(|note| note.contains(hint)),
        "{verdict}"
    );
    // Of what no client can bring about nothing of the kind is said.
    let impossible =
        conversation(&[GREETING, NO_JOBS, &started(), &status("j0", "created")].concat());
    let verdict = refused(&impossible, "id-in-use");
    assert!(verdict.notes.is_empty(), "{verdict}");
}

#[test]
fn a_text_may_begin_with_a_mark_and_end_in_zeroes() {
    let talk = conversation(&[GREETING, NO_JOBS, &started()].concat());
    let events = accepted(&talk).events;
    let marked = format!("\u{feff}{talk}");
    assert_eq!(accepted(&marked).events, events);
    let bare = "\u{feff}{\"return\":{}}\n";
    assert_eq!(accepted(bare).events, 1);
    // What a file system leaves that lost what was being written.
    for lost in ["\0\0\0\0", "{\"dir\":\"<\",\"ms\0\0\0\0"] {
        let verdict = accepted(&format!("{talk}{lost}"));
        assert_eq!(verdict.events, events);
        let told = "the last 4 bytes are zeroes";
        assert!(
            verdict.notes.iter().any(|note| note.contains(told)),
            "{verdict}"
        );
    }
    // Behind them it goes on: a line is lost, and that is told by its cause.
    let verdict = check(&format!("{talk}\0\0\0{talk}"));
    assert!(error(&verdict).contains("zero bytes"), "{verdict}");
    // Two bytes a character, in either order, with the encoding's mark or without.
    for (mark, little) in [(true, true), (true, false), (false, true), (false, false)] {
        let units = mark
            .then_some(0xfeff)
            .into_iter()
            .chain(talk.encode_utf16());
        let bytes: Vec<u8> = units
            .flat_map(|unit| {
                if little {
                    unit.to_le_bytes()
                } else {
                    unit.to_be_bytes()
                }
            })
            .collect();
        let verdict = check_as(&bytes, &Options::default());
        assert!(error(&verdict).contains("UTF-16"), "{verdict}");
    }
}

#[test]
fn a_recording_may_begin_between_a_command_and_its_answer() {
    let asked = "> {\"execute\":\"query-jobs\",\"id\":7}\n";
    let answers =
        "< {\"return\":{},\"id\":5}\n< {\"return\":{},\"id\":6}\n< {\"return\":[],\"id\":7}\n";
    accepted(&conversation(&[asked, answers].concat()));
    // What makes a job may be among what was asked.
    let job = [status("j0", "created"), status("j0", "running")].concat();
    let sole = Options {
        observer: Observer::Sole,
        ..Options::default()
    };
    let text = conversation(&[asked, &job, answers].concat());
    let verdict = check_as(text.as_bytes(), &sole);
    assert!(matches!(verdict.outcome, Outcome::Accept), "{verdict}");
    // Without ids, what cannot be an answer to what was asked here.
    let asked = asked.replace(",\"id\":7", "");
    accepted(&conversation(&[&asked, OK, "< {\"return\":[]}\n"].concat()));
    // With a greeting it begins with the connection, and once a command is answered nothing older is left.
    let asked = "> {\"execute\":\"query-jobs\",\"id\":7}\n";
    let begun = [
        GREETING,
        "> {\"execute\":\"qmp_capabilities\"}\n",
        OK,
        asked,
        answers,
    ];
    refused(&conversation(&begun.concat()), "reply-id");
    accepted(&conversation(&[GREETING, asked, answers].concat()));
    let late = [asked, "< {\"return\":[],\"id\":7}\n", asked, answers].concat();
    refused(&conversation(&late), "reply-id");
}

#[test]
fn a_list_may_show_the_job_that_went_or_the_one_that_has_its_id_since() {
    let entry = |status: &str| {
        format!(
            "{{\"id\":\"x\",\"type\":\"stream\",\"status\":\"{status}\",\"current-progress\":2,\"total-progress\":8}}"
        )
    };
    let query = "> {\"execute\":\"query-jobs\"}\n";
    let first = [status("x", "created"), status("x", "running")].concat();
    let over = [
        status("x", "waiting"),
        status("x", "pending"),
        status("x", "concluded"),
        status("x", "null"),
    ]
    .concat();
    let talk = |listed: &str| {
        let answer = format!("< {{\"return\":[{}]}}\n", entry(listed));
        conversation(&[GREETING, NO_JOBS, &first, query, &over, &first, &answer].concat())
    };
    let shared = Options {
        observer: Observer::Shared,
        ..Options::default()
    };
    let over_is_seen = |listed: &str| check_as(talk(listed).as_bytes(), &shared);
    for listed in ["running", "waiting", "pending", "concluded", "created"] {
        let verdict = over_is_seen(listed);
        assert!(
            matches!(verdict.outcome, Outcome::Accept),
            "{listed}: {verdict}"
        );
    }
    // Neither was ever so.
    for listed in ["ready", "aborting", "standby"] {
        assert!(over_is_seen(listed).fault().is_some(), "{listed}");
    }
}

#[test]
fn a_daemon_stopped_by_a_signal_brings_its_jobs_down_and_answers_no_more() {
    let pause = "> {\"execute\":\"job-pause\",\"arguments\":{\"id\":\"j0\"}}\n< {\"return\":{}}\n";
    let down = [
        status("j0", "running"),
        status("j0", "aborting"),
        COMPLETED.replace("COMPLETED", "CANCELLED"),
        status("j0", "concluded"),
        status("j0", "null"),
    ]
    .concat();
    let talk = [
        GREETING,
        NO_JOBS,
        &started(),
        pause,
        &status("j0", "paused"),
        &down,
    ]
    .concat();
    let verdict = accepted(&conversation(&talk));
    assert!(
        verdict.notes[0].contains("stopped from outside"),
        "{verdict}"
    );
    let verdict = refused(&conversation(&[&talk, ANSWERED].concat()), "pause-in-force");
    assert_eq!(verdict.fault().unwrap().line, 11);
    // A job that goes on to succeed was not brought down.
    let goes_on = talk.replace("\"aborting\"", "\"waiting\"");
    refused(&conversation(&goes_on), "pause-in-force");
    let sole = Options {
        observer: Observer::Sole,
        ..Options::default()
    };
    let verdict = check_as(conversation(&talk).as_bytes(), &sole);
    assert_eq!(verdict.fault().unwrap().rule, "pause-in-force");
}

#[test]
fn a_list_may_be_older_than_the_events_before_it() {
    // The query took its picture, then the job ended, then the answer was written.
    let entry = "{\"id\":\"j0\",\"type\":\"stream\",\"status\":\"running\",\"current-progress\":2,\"total-progress\":8}";
    let ending = [
        status("j0", "waiting"),
        status("j0", "pending"),
        COMPLETED.to_owned(),
        status("j0", "concluded"),
        status("j0", "null"),
    ]
    .concat();
    let query = "> {\"execute\":\"query-jobs\"}\n";
    let answer = format!("< {{\"return\":[{entry}]}}\n");
    accepted(&conversation(
        &[GREETING, NO_JOBS, &started(), query, &ending, &answer].concat(),
    ));
    refused(
        &conversation(&[GREETING, NO_JOBS, &started(), &ending, query, &answer].concat()),
        "query-lists-dead-job",
    );
}

#[test]
fn out_of_band_commands_may_overtake() {
    let talk = "> {\"execute\":\"blockdev-add\",\"id\":1}\n> {\"exec-oob\":\"migrate-pause\",\"id\":2}\n< {\"return\":{},\"id\":2}\n< {\"return\":{},\"id\":1}\n";
    accepted(&conversation(&[GREETING, talk].concat()));
    let in_band = talk.replace("exec-oob", "execute");
    refused(&conversation(&[GREETING, &in_band].concat()), "reply-order");
    // Ids are values, not spellings.
    let spelled = "> {\"execute\":\"stop\",\"id\":{\"a\":[1,\"\\u0041\"]}}\n< {\"return\":{},\"id\":{\"a\":[1,\"A\"]}}\n";
    accepted(&conversation(&[GREETING, spelled].concat()));
}

#[test]
fn a_creation_is_held_against_its_command() {
    let begin = [GREETING, NO_JOBS].concat();
    for (lines, rule) in [
        ([STREAM, OK].concat(), "created-event-missing"),
        (
            [STREAM, &status("j0", "created"), OK].concat(),
            "start-failed-but-succeeded",
        ),
        (
            [
                STREAM,
                "< {\"error\":{\"class\":\"GenericError\",\"desc\":\"Job ID 'j0' already in use\"}}",
            ]
            .concat(),
            "id-not-in-use",
        ),
        (
            [
                STREAM,
                "< {\"error\":{\"class\":\"GenericError\",\"desc\":\"Invalid job ID 'j0'\"}}",
            ]
            .concat(),
            "id-not-malformed",
        ),
        (
            [
                STREAM,
                "< {\"error\":{\"class\":\"GenericError\",\"desc\":\"Parameter 'device' is missing\"}}",
            ]
            .concat(),
            "argument-error",
        ),
        (status("0x", "created"), "id-malformed"),
    ] {
        refused(&conversation(&[&begin, lines.as_str()].concat()), rule);
    }
}

#[test]
fn a_format_may_be_insisted_on() {
    let options = Options {
        format: Some(Format::Native),
        ..Options::default()
    };
    let verdict = check_as(
        conversation(&[GREETING, NO_JOBS].concat()).as_bytes(),
        &options,
    );
    assert!(error(&verdict).contains("\"kind\" is missing"), "{verdict}");
}

#[test]
fn a_folder_yields_its_traces_and_counts_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.jsonl", "a.trace", "index.json", "notes"] {
        let mut file = std::fs::File::create(folder.path().join(name)).unwrap();
        writeln!(file).unwrap();
    }
    std::fs::create_dir(folder.path().join("deep.jsonl")).unwrap();
    let (traces, others) = oracle::traces_in(folder.path()).unwrap();
    let names: Vec<&Path> = traces
        .iter()
        .map(|path| Path::new(path.file_name().unwrap()))
        .collect();
    assert_eq!(names, [Path::new("a.trace"), Path::new("b.jsonl")]);
    assert_eq!(others, 3);
}

#[test]
fn deep_and_long_lines_do_no_harm() {
    let deep = format!(
        "{{\"dir\":\"<\",\"msg\":{{\"event\":\"X\",\"data\":{}1{}}}}}\n",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let verdict = check(&deep);
    assert!(!matches!(verdict.outcome, Outcome::Reject(_)), "{verdict}");
    let long = conversation(&format!(
        "< {{\"event\":\"X\",\"data\":{{\"x\":\"{}\"}}}}\n{NO_JOBS}",
        "y".repeat(5_000_000)
    ));
    accepted(&long);
}
