//! Goal: what is due happens at last (P39–P45), under assumptions that are all needed; and the
//! search would say so if not.
//!
//! Method: take away one assumption after the other, and see which properties fall, with the lasso
//! that shows it; break the relation, and see that weak fairness does not help. That everything
//! holds with all assumptions is part of what `explorer.rs` pins for one and two jobs.

use blockjob_model::explore::liveness::{Assumptions, Class, Liveness};
use blockjob_model::explore::{self, Move, Options, Report, Scenario, moves, run_over, scenarios};
use blockjob_model::profile::REFERENCE;
use blockjob_model::state::World;
use blockjob_model::step::{Next, Output, Step};
use blockjob_model::{Profile, Status};

fn options(jobs: usize) -> Options {
    let mut options = Options::new(&REFERENCE, jobs).expect("so many jobs can be explored");
    options.properties.clear();
    options
}

fn violated(report: &Report) -> Vec<&'static str> {
    let found = |property: &explore::PropertyReport| {
        (!property.held && Liveness::by_id(property.id).is_some()).then_some(property.id)
    };
    report.properties.iter().filter_map(found).collect()
}

fn story(report: &Report, id: &str) -> Vec<String> {
    let property = report.properties.iter().find(|found| found.id == id);
    property
        .and_then(|property| property.counterexample.clone())
        .unwrap_or_else(|| panic!("{id} should be violated: {:?}", violated(report)))
}

/// One plain job with everything that jobs and callers can do.
fn one_plain() -> Vec<Scenario> {
    let mut all = scenarios(1, &REFERENCE);
    all.truncate(1);
    all
}

/// The same with sleeps and drained sections: what waits for those has no place in the other.
fn one_drained() -> Vec<Scenario> {
    let mut all = scenarios(1, &REFERENCE);
    all.retain(|scenario| scenario.name == "plain, with sleeps and drained sections");
    assert_eq!(all.len(), 1);
    all
}

fn without_in(scenarios: Vec<Scenario>, assumptions: Assumptions) -> Report {
    let mut options = options(1);
    options.assumptions = assumptions;
    run_over(&options, scenarios, &moves, &mut |_| {})
}

fn without(assumptions: Assumptions) -> Report {
    without_in(one_plain(), assumptions)
}

#[test]
fn with_every_assumption_everything_due_happens() {
    assert_eq!(violated(&without(Assumptions::ALL)), [""; 0]);
}

#[test]
fn every_assumption_is_needed() {
    let all = Assumptions::ALL;
    let cases = [
        (
            Assumptions {
                fair: |class| class != Class::MainLoop,
                ..all
            },
            vec!["P39", "P42", "P43", "P44"],
        ),
        (
            Assumptions {
                fair: |class| class != Class::Call,
                ..all
            },
            vec!["P39", "P42", "P43"],
        ),
        (
            Assumptions {
                fair: |class| class != Class::Body(0),
                ..all
            },
            vec!["P39", "P40", "P41", "P42"],
        ),
        (
            Assumptions {
                fair: |class| class != Class::Driver(0),
                ..all
            },
            vec!["P39", "P41", "P42"],
        ),
        (
            Assumptions {
                fair: |class| class != Class::Io(0),
                ..all
            },
            vec!["P39", "P41", "P42"],
        ),
        (
            Assumptions {
                cancelled_runs_end: false,
                ..all
            },
            vec!["P39", "P42"],
        ),
        (
            Assumptions {
                pauses_let_nobody_in: false,
                ..all
            },
            vec!["P41"],
        ),
        (
            Assumptions {
                main_loop_keeps_order: false,
                ..all
            },
            vec!["P39", "P42", "P43"],
        ),
    ];
    for (assumptions, expected) in cases {
        assert_eq!(violated(&without(assumptions)), expected, "{assumptions}");
    }
}

#[test]
fn every_assumption_about_sections_and_sleeps_is_needed() {
    let all = Assumptions::ALL;
    assert_eq!(violated(&without_in(one_drained(), all)), [""; 0]);
    let unfair_section = Assumptions {
        fair: |class| class != Class::Section(0),
        ..all
    };
    assert_eq!(
        violated(&without_in(one_drained(), unfair_section)),
        ["P45"]
    );
    let unfair_timer = Assumptions {
        fair: |class| class != Class::Timer(0),
        ..all
    };
    assert_eq!(violated(&without_in(one_drained(), unfair_timer)), ["P39"]);
}

/// Whoever began a drained section waits for a park that never comes.
#[test]
fn a_section_whose_job_never_parks_is_found() {
    let report = broken(one_drained(), |_, step| matches!(step, Step::Park(_)));
    let story = story(&report, "P45");
    assert!(story.iter().any(|line| line.contains("drain")), "{story:?}");
    assert!(
        !story.iter().any(|line| line.contains("parks")),
        "{story:?}"
    );
}

#[test]
fn a_lasso_tells_the_way_and_what_happens_for_ever() {
    // The body never gets to run.
    let report = without(Assumptions {
        fair: |class| class != Class::Body(0),
        ..Assumptions::ALL
    });
    assert_eq!(
        story(&report, "P41"),
        [
            "with plain, automatic finalize, automatic dismiss",
            "job 0: create is asked → status created",
            "job 0: pause is asked",
            "every job: start is asked",
            "job 0 starts → status running",
            "and nothing has to happen any more",
        ]
    );
    // Cancelled, and it comes to one pause point after the other all the same.
    let report = without(Assumptions {
        cancelled_runs_end: false,
        ..Assumptions::ALL
    });
    let story = story(&report, "P39");
    let (stem, cycle): (Vec<_>, Vec<_>) = story
        .iter()
        .partition(|line| !line.starts_with("again and again: "));
    assert!(stem.iter().any(|line| line.contains("cancel")), "{stem:?}");
    assert_eq!(
        cycle,
        [
            "again and again: job 0 reaches a pause point → pause point entered",
            "again and again: job 0 goes on → pause point left",
        ]
    );
}

/// Explores with a relation from which the steps that `lost` names are taken.
fn broken(scenarios: Vec<Scenario>, lost: impl Fn(&World, Step) -> bool) -> Report {
    let relation = |world: &World,
                    profile: &Profile,
                    bounds: explore::Bounds,
                    visit: &mut dyn FnMut(Move, Next<'_>, Option<Output>)| {
        moves(world, profile, bounds, &mut |made, next, output| {
            if !matches!(made, Move::Step(step) if lost(world, step)) {
                visit(made, next, output);
            }
        });
    };
    let jobs = scenarios[0].specs.len();
    run_over(&options(jobs), scenarios, &relation, &mut |_| {})
}

#[test]
fn a_resume_that_does_not_wake_is_found() {
    let report = broken(
        one_plain(),
        |world, step| matches!(step, Step::Unpark(member) if !world.jobs[member].forced()),
    );
    assert_eq!(violated(&report), ["P39", "P40"]);
    let story = story(&report, "P40");
    let parked = story.iter().position(|line| line.contains("job 0 parks"));
    let resumed = story.iter().position(|line| line.contains("resume"));
    assert!(parked < resumed, "{story:?}");
    assert_eq!(
        story.last().map(String::as_str),
        Some("and nothing has to happen any more")
    );
}

#[test]
fn a_forced_cancel_that_does_not_wake_is_found() {
    let report = broken(
        one_plain(),
        |world, step| matches!(step, Step::Unpark(member) if world.jobs[member].forced()),
    );
    assert_eq!(violated(&report), ["P39", "P40", "P42"]);
}

#[test]
fn a_pause_point_that_is_deaf_is_found() {
    let report = broken(
        one_plain(),
        |world, step| matches!(step, Step::PauseBegin(member) if world.jobs[member].entered),
    );
    assert_eq!(violated(&report), ["P41"]);
}

/// QEMU to this day (SEMANTICS.md §6.5, §12-1).
#[test]
fn an_abort_that_waits_for_a_member_never_started_is_found() {
    let mut two = scenarios(2, &REFERENCE);
    two.truncate(1);
    let report = broken(
        two,
        |world, step| matches!(step, Step::Turn(member) if world.jobs[member].status == Status::Created),
    );
    assert_eq!(violated(&report), ["P39", "P42", "P44"]);
    let story = story(&report, "P44");
    assert!(
        !story.iter().any(|line| line.contains("begins its run")),
        "{story:?}"
    );
}
