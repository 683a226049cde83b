//! Goal: conversations are judged by what their release can say, and the switches that only the
//! oracle honours decide something.
//!
//! Method: small conversations written by hand. For each switch of the oracle two profiles that
//! differ in nothing else; one takes the conversation, the other refuses it, by a rule that is
//! named here. Then whole conversations as releases without events of the status had them.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use blockjob::model::Profile;
use blockjob::model::profile::{
    ASPECTS, QEMU_2_11, QEMU_2_12, QEMU_4_2, QEMU_7_2, QEMU_10_0, REFERENCE, Told,
};
use blockjob::oracle::{self, Options, Outcome, Verdict};

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

fn judged(lines: &str, profile: Option<&'static Profile>) -> Verdict {
    let options = Options {
        profile,
        ..Options::default()
    };
    oracle::check_reader("trace", conversation(lines).as_bytes(), &options)
}

fn accepted(lines: &str, profile: &'static Profile) {
    let verdict = judged(lines, Some(profile));
    assert!(
        matches!(verdict.outcome, Outcome::Accept),
        "{verdict}\n{lines}"
    );
}

/// The rule by which it is refused, and at which line.
fn refused(lines: &str, profile: &'static Profile) -> (&'static str, u64) {
    let verdict = judged(lines, Some(profile));
    let fault = verdict.fault();
    let fault = fault.unwrap_or_else(|| panic!("{} takes it\n{lines}", profile.name));
    (fault.rule, fault.line)
}

fn error(desc: &str) -> String {
    format!("< {{\"error\":{{\"class\":\"GenericError\",\"desc\":\"{desc}\"}}}}\n")
}

const OK: &str = "< {\"return\":{}}\n";
const STREAM: &str =
    "> {\"execute\":\"block-stream\",\"arguments\":{\"device\":\"d\",\"job-id\":\"j0\"}}\n";
const MIRROR: &str = "> {\"execute\":\"drive-mirror\",\"arguments\":{\"device\":\"d\",\"job-id\":\"j0\",\"target\":\"t\",\"sync\":\"full\"}}\n";
const SET_SPEED: &str =
    "> {\"execute\":\"block-job-set-speed\",\"arguments\":{\"device\":\"j0\",\"speed\":SPEED}}\n";

fn status(status: &str) -> String {
    format!(
        "< {{\"event\":\"JOB_STATUS_CHANGE\",\"data\":{{\"id\":\"j0\",\"status\":\"{status}\"}}}}\n"
    )
}

fn event(name: &str, kind: &str) -> String {
    format!(
        "< {{\"event\":\"BLOCK_JOB_{name}\",\"data\":{{\"device\":\"j0\",\"type\":\"{kind}\",\"len\":8,\"offset\":8,\"speed\":0}}}}\n"
    )
}

fn ask(command: &str) -> String {
    format!("> {{\"execute\":\"{command}\",\"arguments\":{{\"device\":\"j0\"}}}}\n")
}

/// What begins every conversation here: a list without jobs, and a stream that runs.
fn streaming() -> String {
    let jobs = "> {\"execute\":\"query-jobs\"}\n< {\"return\":[]}\n";
    [jobs, STREAM, &status("created"), &status("running"), OK].concat()
}

fn set_speed(speed: i32) -> String {
    SET_SPEED.replace("SPEED", &speed.to_string())
}

/// A switch, how to take it from another profile, two values of it, and a conversation that the
/// first takes and the second refuses, by this rule.
struct Tale {
    switch: &'static str,
    adopt: fn(&mut Profile, &Profile),
    takes: &'static Profile,
    refuses: &'static Profile,
    rule: &'static str,
    lines: String,
}

fn tales() -> Vec<Tale> {
    let backup = "> {\"execute\":\"transaction\",\"arguments\":{\"actions\":[{\"type\":\"blockdev-backup\",\"data\":{\"device\":\"d\",\"job-id\":\"j0\"}}],\"properties\":{\"completion-mode\":\"grouped\"}}}\n";
    let text = "text-of-another-version";
    vec![
        Tale {
            switch: "creation-texts",
            adopt: |profile, from| profile.creation_texts = from.creation_texts,
            takes: &QEMU_2_12,
            refuses: &REFERENCE,
            rule: text,
            lines: [STREAM, &error("Device 'd' is in use")].concat(),
        },
        Tale {
            switch: "id-is-free-at-null",
            adopt: |profile, from| profile.id_is_free_at_null = from.id_is_free_at_null,
            takes: &QEMU_10_0,
            refuses: &REFERENCE,
            rule: "id-not-in-use",
            lines: [
                &streaming(),
                &status("waiting"),
                &status("pending"),
                &event("COMPLETED", "stream"),
                &status("concluded"),
                &status("null"),
                STREAM,
                &error("Job ID 'j0' already in use"),
            ]
            .concat(),
        },
        Tale {
            switch: "transaction-text",
            adopt: |profile, from| profile.transaction_text = from.transaction_text,
            takes: &QEMU_7_2,
            refuses: &REFERENCE,
            rule: text,
            lines: [
                backup,
                &error("Action 'abort' does not support Transaction property completion-mode = grouped"),
            ]
            .concat(),
        },
        Tale {
            switch: "ready-may-lapse",
            adopt: |profile, from| profile.ready_may_lapse = from.ready_may_lapse,
            takes: &QEMU_2_11,
            refuses: &REFERENCE,
            rule: "refusal-text",
            lines: [
                MIRROR,
                &status("created"),
                &status("running"),
                OK,
                &status("ready"),
                &event("READY", "mirror"),
                &ask("block-job-complete"),
                &error("The active block job 'j0' cannot be completed"),
            ]
            .concat(),
        },
        Tale {
            switch: "speed-text",
            adopt: |profile, from| profile.speed_text = from.speed_text,
            takes: &QEMU_2_12,
            refuses: &REFERENCE,
            rule: text,
            lines: [streaming(), set_speed(-1), error("Invalid parameter 'speed'")].concat(),
        },
        Tale {
            switch: "speed-may-be-unsupported",
            adopt: |profile, from| {
                profile.speed_may_be_unsupported = from.speed_may_be_unsupported;
            },
            takes: &QEMU_2_11,
            refuses: &REFERENCE,
            rule: text,
            lines: [
                streaming(),
                set_speed(1),
                error("this feature or command is not currently supported"),
            ]
            .concat(),
        },
    ]
}

#[test]
fn every_switch_of_the_oracle_decides_a_conversation() {
    let with = |tale: &Tale, from: &Profile| -> &'static Profile {
        let mut profile = REFERENCE;
        (tale.adopt)(&mut profile, from);
        Box::leak(Box::new(profile))
    };
    for tale in tales() {
        accepted(&tale.lines, with(&tale, tale.takes));
        let (rule, _) = refused(&tale.lines, with(&tale, tale.refuses));
        assert_eq!(rule, tale.rule, "{}", tale.switch);
    }
    let told: BTreeSet<&str> = tales().iter().map(|tale| tale.switch).collect();
    let switches: BTreeSet<&str> = ASPECTS
        .iter()
        .filter(|aspect| aspect.told == Told::Oracle)
        .map(|aspect| aspect.name)
        .collect();
    assert_eq!(told, switches);
}

/// QEMU 2.11 as its users met it: no event of the status, no status in the list.
#[test]
fn before_there_were_statuses_a_job_is_judged_by_what_there_was() {
    let listed = |paused: bool, ready: bool| {
        format!(
            "> {{\"execute\":\"query-block-jobs\"}}\n< {{\"return\":[{{\"device\":\"j0\",\"type\":\"mirror\",\"len\":8,\"offset\":8,\"busy\":true,\"paused\":{paused},\"speed\":0,\"io-status\":\"ok\",\"ready\":{ready}}}]}}\n"
        )
    };
    let none = "> {\"execute\":\"query-block-jobs\"}\n< {\"return\":[]}\n";
    let whole = [
        none,
        MIRROR,
        OK,
        &listed(false, false),
        &event("READY", "mirror"),
        &listed(false, true),
        &ask("block-job-pause"),
        OK,
        // Twice is as good as once.
        &ask("block-job-pause"),
        OK,
        &listed(true, true),
        &ask("block-job-complete"),
        &error("The active block job 'j0' cannot be completed"),
        &ask("block-job-resume"),
        OK,
        &ask("block-job-complete"),
        OK,
        &event("COMPLETED", "mirror"),
        none,
    ]
    .concat();
    accepted(&whole, &QEMU_2_11);
    // Its successors would have refused the second pause.
    let (rule, line) = refused(&whole, &QEMU_2_12);
    assert_eq!((rule, line), ("query-shape", 6));
    for (what, instead, rule) in [
        // It is gone, and listed all the same.
        (none, &*listed(false, true), "query-lists-dead-job"),
        // Nobody said that it is ready.
        (&*event("READY", "mirror"), "", "reply-too-early"),
    ] {
        let at = whole.rfind(what).unwrap();
        let broken = [&whole[..at], instead, &whole[at + what.len()..]].concat();
        assert_eq!(refused(&broken, &QEMU_2_11).0, rule, "{what}");
    }
    assert_eq!(
        refused(&[none, STREAM, OK, &status("created")].concat(), &QEMU_2_11).0,
        "event-of-another-version"
    );
}

/// The creation of a job is told by its answer alone, and so is its failure.
#[test]
fn before_there_were_events_of_the_status_the_answer_tells_of_a_creation() {
    let none = "> {\"execute\":\"query-block-jobs\"}\n< {\"return\":[]}\n";
    for profile in [&QEMU_2_11, &QEMU_2_12] {
        let failed = [none, STREAM, &error("Device 'd' is in use"), none].concat();
        accepted(&failed, profile);
        // Then nothing is heard of it.
        let heard = [&*failed, &event("COMPLETED", "stream")].concat();
        assert_eq!(refused(&heard, profile).0, "unknown-job");
        // Where it was made, it is there.
        let made = [none, STREAM, OK, none].concat();
        assert_eq!(refused(&made, profile).0, "query-misses-job");
        // It may be over before the answer.
        let quick = [none, STREAM, &event("COMPLETED", "stream"), OK, none].concat();
        accepted(&quick, profile);
        // And nothing comes after that.
        let twice = [&*quick, &event("COMPLETED", "stream")].concat();
        assert_eq!(refused(&twice, profile).0, "event-after-null");
    }
}

/// Releases between 4.2 and 5.2 are judged by one profile, and say the same thing in two ways.
#[test]
fn a_profile_of_several_releases_takes_the_words_of_each() {
    for desc in [
        "Invalid parameter 'speed'",
        "Parameter 'speed' expects a non-negative value",
    ] {
        accepted(
            &[streaming(), set_speed(-1), error(desc)].concat(),
            &QEMU_4_2,
        );
    }
}

#[test]
fn a_release_newer_than_every_profile_is_judged_by_the_newest_and_that_is_said() {
    let greeting = |major: u32, minor: u32| {
        format!(
            "< {{\"QMP\":{{\"version\":{{\"qemu\":{{\"major\":{major},\"minor\":{minor},\"micro\":0}},\"package\":\"\"}},\"capabilities\":[]}}}}\n"
        )
    };
    let verdict = judged(&[&greeting(11, 1), &streaming()[..]].concat(), None);
    assert_eq!(verdict.profile, Some("qemu-10.0"));
    let said = verdict.to_string();
    assert!(
        said.contains("QEMU 11.1 is newer than every profile: judged as qemu-10.0"),
        "{said}"
    );
    for (major, minor, profile) in [(10, 0, "qemu-10.0"), (8, 1, "qemu-8.2"), (5, 1, "qemu-4.2")] {
        let verdict = judged(&[&greeting(major, minor), &streaming()[..]].concat(), None);
        assert_eq!(verdict.profile, Some(profile));
        assert_eq!(verdict.fits, [profile]);
        assert!(!verdict.to_string().contains("newer"), "{verdict}");
    }
}
