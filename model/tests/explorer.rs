//! Goal: the specification keeps every property it states, and the explorer would say so if not.
//!
//! Method: explore the reference for one and for two jobs and pin what was found, so that a
//! change of the state space is a visible change of this file; explore QEMU and pin which
//! properties it breaks and how soon; break the relation or the properties on purpose and see the
//! explorer name the fault by the shortest way there.

use blockjob_model::explore::{Options, Report, run};
use blockjob_model::profile::{QEMU_10_0, REFERENCE};
use blockjob_model::{Profile, Status, Verb};

fn explore(profile: &'static Profile, jobs: usize) -> Report {
    run(
        &Options::new(profile, jobs).expect("so many jobs can be explored"),
        |_| {},
    )
}

fn violated(report: &Report) -> Vec<(&'static str, usize)> {
    report
        .properties
        .iter()
        .filter_map(|property| {
            // The first line of a counterexample names its scenario.
            let steps = property.counterexample.as_ref()?.len() - 1;
            Some((property.id, steps))
        })
        .collect()
}

#[test]
fn the_reference_holds_for_one_job_alone() {
    let report = explore(&REFERENCE, 1);
    assert_eq!(violated(&report), []);
    assert!(report.held());
    assert_eq!(
        (report.states, report.transitions, report.depth),
        (273_920, 1_732_180, 31)
    );
    // Waiting alone is no state of rest: the decision follows at once.
    assert_eq!(
        report.coverage.transitions_missed(),
        [(Status::Waiting, Status::Aborting)]
    );
    assert_eq!(
        report.coverage.verbs_missed(&REFERENCE),
        [(Verb::Cancel, Status::Waiting)]
    );
}

#[test]
fn the_reference_holds_for_two_jobs_and_takes_every_cell_of_both_tables() {
    let report = explore(&REFERENCE, 2);
    assert_eq!(violated(&report), []);
    assert!(report.held());
    assert_eq!(
        (report.states, report.transitions, report.depth),
        (735_641, 4_478_964, 50)
    );
    assert_eq!(report.coverage.transitions_missed(), []);
    assert_eq!(report.coverage.verbs_missed(&REFERENCE), []);
}

#[test]
fn qemu_breaks_what_the_reference_decided_otherwise_and_nothing_else() {
    // Complete twice; verbs after the end of the run; a pause nobody can take back; finalize
    // that answers success for a prepare that failed.
    let one = [("D17", 8), ("D18", 6), ("D20", 21), ("D40", 7)];
    assert_eq!(violated(&explore(&QEMU_10_0, 1)), one);
}
