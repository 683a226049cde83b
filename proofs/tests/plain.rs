//! Goal: the scenarios of the proofs, and the judge, work on plain threads too.
//!
//! Method: every scenario of every loom harness once, and worlds at random, each judged by the
//! specification. This checks the one interleaving that happens and no other: the check is
//! `cargo xtask prove`. And the judge is shown a record that is wrong.
#![cfg(not(any(blockjob_loom, blockjob_shuttle)))]

use std::sync::Arc;

use blockjob_model::accept::Seen;
use blockjob_model::{Callback, Status};
use blockjob_proofs::actor::{Act, Role};
use blockjob_proofs::generate::{Choices, Sizes};
use blockjob_proofs::harness::{HARNESSES, Method};
use blockjob_proofs::judge::Judge;
use blockjob_proofs::record::{Entry, Recorder};
use blockjob_proofs::scenario::{Ask, Scenario};
use blockjob_proofs::{explore, generate, tool};

#[test]
fn every_scenario_plays_on_plain_threads() {
    assert_eq!(
        tool::TOOL,
        None,
        "this is no check, and must not look like one"
    );
    let mut played = 0;
    for harness in HARNESSES {
        if let Method::Loom { cases, .. } = harness.method {
            for case in cases() {
                explore::once(&case);
                played += 1;
            }
        }
    }
    assert!(played > 500, "only {played} scenarios");
}

/// A world at random.
fn drawn(choices: &mut Choices) -> Scenario {
    generate::world(Sizes::LARGE, |below| choices.below(below))
}

#[test]
fn worlds_at_random_play_on_plain_threads() {
    for number in 0..100 {
        explore::once_world(drawn(&mut Choices::new(1, number)));
    }
}

/// One whole execution: its entries, and a judge for them. Nobody asks for anything while the job
/// runs, so that every entry is needed by those after it, whatever the schedule.
fn one_execution() -> (Scenario, Vec<Entry>) {
    let mut scenario = Scenario::single(Role::plain(&[Act::Io, Act::Point]), vec![]);
    scenario.before_start = vec![(0, Ask::Pause), (0, Ask::Resume)];
    let recorder: Arc<Recorder> = Recorder::new();
    scenario.play(&recorder);
    let entries = recorder.read(<[Entry]>::to_vec);
    (scenario, entries)
}

#[test]
fn the_judge_refuses_a_record_with_something_missing() {
    let (scenario, entries) = one_execution();
    assert_eq!(Judge::new().judge(&scenario.cast(), &entries), Ok(()));
    // Whatever is taken out, the rest is no execution.
    for place in 0..entries.len() {
        let mut torn = entries.clone();
        torn.remove(place);
        let verdict = Judge::new().judge(&scenario.cast(), &torn);
        assert!(verdict.is_err(), "nobody misses {:?}", entries[place]);
    }
}

#[test]
fn the_judge_refuses_a_commit_that_comes_twice() {
    let (scenario, mut entries) = one_execution();
    let commit = Entry::Seen {
        job: 0,
        seen: Seen::Begin(Callback::Commit),
    };
    let null = Entry::Seen {
        job: 0,
        seen: Seen::Status(Status::Null),
    };
    assert!(entries.contains(&commit) && entries.contains(&null));
    entries.push(commit);
    let mut judge = Judge::new();
    let fault = judge.judge(&scenario.cast(), &entries);
    let fault = fault.expect_err("there is one commit in a life");
    assert_eq!(fault.place, Some(entries.len() - 1));
    assert!(
        judge.judge(&scenario.cast(), &entries).is_err(),
        "what was refused is refused again, not remembered as known"
    );
}

/// The harnesses that the claims of the README name: `a-{b,c}` are two, and a text that begins with a
/// hyphen goes to the end of each name before it in its cell.
fn claimed() -> Vec<String> {
    let page = include_str!("../README.md");
    let claims = page.split("## ").find(|part| part.starts_with("Claims"));
    let mut names: Vec<String> = Vec::new();
    for row in claims.expect("the page has claims").lines() {
        let Some(cell) = row.strip_prefix('|').and_then(|row| row.split('|').nth(1)) else {
            continue;
        };
        let mut here: Vec<String> = Vec::new();
        for (place, word) in cell.split('`').enumerate() {
            if place % 2 == 0 || word.starts_with("--") {
                continue;
            }
            if word.starts_with('-') {
                let longer: Vec<String> = here.iter().map(|name| format!("{name}{word}")).collect();
                names.extend(longer);
            } else if let Some((stem, ends)) = word.split_once('{') {
                let ends = ends.trim_end_matches('}').split(',');
                here.extend(ends.map(|end| format!("{stem}{end}")));
            } else {
                here.push(word.to_owned());
            }
        }
        names.extend(here);
    }
    names.sort_unstable();
    names
}

#[test]
fn every_harness_is_claimed_and_nothing_else_is() {
    let mut names: Vec<&str> = HARNESSES.iter().map(|harness| harness.name).collect();
    names.sort_unstable();
    assert_eq!(claimed(), names);
}

/// A record and what is near it: one entry left out, or two neighbours changed round.
fn near(entries: &[Entry], place: usize) -> [Vec<Entry>; 2] {
    let mut torn = entries.to_vec();
    torn.remove(place);
    let mut turned = entries.to_vec();
    turned.swap(place, (place + 1).min(entries.len() - 1));
    [torn, turned]
}

#[test]
fn the_short_way_accepts_what_whole_beliefs_accept_and_nothing_else() {
    let (mut short, mut thorough) = (Judge::new(), Judge::thorough());
    let (mut allowed, mut refused) = (0, 0);
    for number in 0..60 {
        let mut choices = Choices::new(7, number);
        let world = drawn(&mut choices);
        let recorder = Recorder::new();
        world.play(&recorder);
        let entries = recorder.read(<[Entry]>::to_vec);
        let place = choices.below(entries.len());
        for entries in near(&entries, place).into_iter().chain([entries]) {
            let cast = world.cast();
            let (one, other) = (
                short.judge(&cast, &entries),
                thorough.judge(&cast, &entries),
            );
            assert_eq!(one, other, "{world:?}\n{entries:?}");
            match other {
                Ok(()) => allowed += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(allowed > 60 && refused > 20, "{allowed} and {refused}");
    let again = short.asked_again() - refused;
    assert!(
        again * 20 < allowed,
        "{again} of {allowed} were asked again"
    );
}
