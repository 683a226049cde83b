//! Goal: what an execution owes at its end is demanded: each obligation fails where it is not kept.
//!
//! Method: a whole execution, played on plain threads, from which one thing is taken or to which one
//! is added; and a manager with a job left over, and a recorder that somebody still has. The same
//! obligations hold at the end of every execution of every harness.
#![cfg(not(any(blockjob_loom, blockjob_shuttle)))]

use std::sync::Arc;

use blockjob::engine::{JobOptions, Manager, ManagerConfig};
use blockjob_model::accept::Seen;
use blockjob_model::{Callback, Status};
use blockjob_proofs::actor::{Act, Actor, Role};
use blockjob_proofs::ask::Company;
use blockjob_proofs::obligations;
use blockjob_proofs::record::{Entry, Recorder};
use blockjob_proofs::scenario::{Ask, Scenario};

/// A job that is paused once and resumed, does I/O, and ends well.
fn execution() -> Vec<Entry> {
    let mut scenario = Scenario::single(Role::plain(&[Act::Io, Act::Point]), vec![]);
    scenario.before_start = vec![(0, Ask::Pause), (0, Ask::Resume)];
    let recorder = Recorder::new();
    scenario.play(&recorder);
    recorder.read(<[Entry]>::to_vec)
}

fn seen(seen: Seen) -> Entry {
    Entry::Seen { job: 0, seen }
}

fn rule_of(entries: &[Entry]) -> &'static str {
    let fault = obligations::of_record(entries).expect_err("something is owed");
    assert_eq!(fault.place, Some(entries.len()), "it is owed at the end");
    // The names are few and live as long as the test.
    Box::leak(fault.rule.into_boxed_str())
}

fn without(entry: Entry) -> Vec<Entry> {
    let mut entries = execution();
    let place = entries.iter().rposition(|other| *other == entry);
    entries.remove(place.unwrap_or_else(|| panic!("{entry:?} happens")));
    entries
}

fn with(more: &[Seen]) -> Vec<Entry> {
    let mut entries = execution();
    let null = entries
        .iter()
        .position(|entry| *entry == seen(Seen::Status(Status::Null)));
    let null = null.expect("the job ends");
    entries.splice(null..null, more.iter().map(|&one| seen(one)));
    entries
}

#[test]
fn an_execution_that_keeps_them_owes_nothing() {
    assert_eq!(obligations::of_record(&execution()), Ok(()));
}

#[test]
fn no_job_is_lost_and_none_stays_parked() {
    assert_eq!(
        rule_of(&without(seen(Seen::Status(Status::Null)))),
        "job-lost"
    );
    let mut entries = execution();
    let null = seen(Seen::Status(Status::Null));
    let place = entries.iter().position(|entry| *entry == null);
    entries.truncate(place.expect("the job ends"));
    entries.push(seen(Seen::Status(Status::Paused)));
    assert_eq!(rule_of(&entries), "left-parked");
}

#[test]
fn what_began_ends() {
    let ends = [
        (Seen::End(Callback::Run, true), "callback-unbalanced"),
        (Seen::End(Callback::Commit, true), "callback-unbalanced"),
        (Seen::Begin(Callback::Clean), "callback-unbalanced"),
        (Seen::PointEnd, "left-at-point"),
        (Seen::IoEnd, "io-unbalanced"),
    ];
    for (end, rule) in ends {
        assert_eq!(rule_of(&without(seen(end))), rule, "{end:?}");
    }
    let answer = Entry::Answer {
        thread: 0,
        reply: Ok(()),
    };
    let mut entries = execution();
    let last = entries.iter().rposition(|entry| *entry == answer);
    entries.remove(last.expect("the start is answered"));
    assert_eq!(rule_of(&entries), "call-without-answer");
}

#[test]
fn whoever_was_paused_goes_on() {
    let pause = [
        Seen::Begin(Callback::Pause),
        Seen::End(Callback::Pause, true),
    ];
    let resume = [
        Seen::Begin(Callback::Resume),
        Seen::End(Callback::Resume, true),
    ];
    assert_eq!(rule_of(&with(&pause)), "pause-unbalanced");
    assert_eq!(rule_of(&with(&resume)), "pause-unbalanced");
    assert_eq!(
        obligations::of_record(&with(&[pause, resume].concat())),
        Ok(())
    );
}

#[test]
fn what_happens_once_happens_once() {
    for callback in [Callback::Run, Callback::Prepare, Callback::Commit] {
        let again = [Seen::Begin(callback), Seen::End(callback, true)];
        assert_eq!(rule_of(&with(&again)), "callback-again", "{callback}");
    }
    let free = [Seen::Begin(Callback::Free), Seen::End(Callback::Free, true)];
    assert_eq!(rule_of(&with(&free)), "not-freed-once");
    let mut entries = execution();
    entries.retain(|entry| {
        !free.contains(&match entry {
            Entry::Seen { seen, .. } => *seen,
            _ => Seen::IoBegin,
        })
    });
    assert_eq!(rule_of(&entries), "not-freed-once");
}

#[test]
fn the_manager_knows_of_nobody() {
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    assert_eq!(obligations::nobody_is_listed(&manager), Ok(()));
    let company = Company::new(&manager);
    let actor = Actor::new(0, Role::plain(&[]), Recorder::new(), company);
    let options = JobOptions::new("j0").manual_dismiss(true);
    let job = manager.create(options, actor).expect("nobody has the id");
    let job = job.start();
    main_loop.run_until(|| job.status() == Status::Concluded);
    let fault = obligations::nobody_is_listed(&manager).expect_err("it was not dismissed");
    assert_eq!(fault.rule, "job-left-over");
    assert!(
        fault.message.ends_with("still lists j0 (concluded)"),
        "{}",
        fault.message
    );
    job.dismiss().expect("it is concluded");
    assert_eq!(obligations::nobody_is_listed(&manager), Ok(()));
}

#[test]
fn nothing_is_left_in_memory() {
    let recorder = Recorder::new();
    let (manager, _main_loop) = Manager::new(ManagerConfig::default());
    let company = Company::new(&manager);
    let actor = Actor::new(0, Role::plain(&[]), Arc::clone(&recorder), company);
    let fault = obligations::nothing_is_leaked(&recorder, 1).expect_err("a driver has it");
    assert_eq!(fault.rule, "leaked");
    drop(actor);
    assert_eq!(obligations::nothing_is_leaked(&recorder, 1), Ok(()));
}
