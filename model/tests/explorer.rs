//! Goal: the specification keeps every property it states, and the explorer would say so if not.
//!
//! Method: explore the reference for one and for two jobs and pin what was found, so that a
//! change of the state space is a visible change of this file; explore QEMU and pin which
//! properties it breaks and how soon; break the relation or the properties on purpose and see the
//! explorer name the fault by the shortest way there.

use std::fmt::Write as _;

use blockjob_model::explore::{
    self, Bounds, Coverage, LIFECYCLE, Move, Options, Report, STUCK, Scenario, moves, run,
    run_over, run_scenarios, scenarios, side_by_side, two_and_one,
};
use blockjob_model::profile::{QEMU_10_0, REFERENCE};
use blockjob_model::property::{Check, Property};
use blockjob_model::request::verb;
use blockjob_model::state::{Call, CallState, Cancel, World};
use blockjob_model::step::{Next, Output, Step, View, steps};
use blockjob_model::vocabulary::Callback;
use blockjob_model::{Lifecycle, Profile, Request, Status, Verb};

fn options(profile: &'static Profile, jobs: usize) -> Options {
    Options::new(profile, jobs).expect("so many jobs can be explored")
}

fn counts(report: &Report) -> (u64, u64, u32) {
    (report.states, report.transitions, report.depth)
}

/// What was violated, and in how many steps (the first line of a counterexample names its
/// scenario).
fn violated(report: &Report) -> Vec<(&'static str, usize)> {
    let found = |property: &explore::PropertyReport| {
        Some((property.id, property.counterexample.as_ref()?.len() - 1))
    };
    report.properties.iter().filter_map(found).collect()
}

#[test]
fn the_reference_holds_for_one_job_alone() {
    let report = run(&options(&REFERENCE, 1), |_| {});
    assert_eq!(violated(&report), []);
    assert!(report.held());
    assert_eq!(counts(&report), (1_258_776, 7_676_126, 37));
    // Waiting alone is no state of rest: what follows, follows at once.
    let missed = &report.coverage;
    assert_eq!(
        missed.transitions_missed(),
        [(Status::Waiting, Status::Aborting)]
    );
    assert_eq!(
        missed.verbs_missed(&REFERENCE),
        [(Verb::Cancel, Status::Waiting)]
    );
    // Nobody but a peer brings a prepared job down.
    assert_eq!(
        missed.lifecycle_missed(),
        [(Lifecycle::Prepared, Lifecycle::Cancelled)]
    );
}

#[test]
fn the_reference_holds_for_two_jobs_and_takes_every_cell_of_the_tables() {
    let report = run(&options(&REFERENCE, 2), |_| {});
    assert_eq!(violated(&report), []);
    assert!(report.held());
    assert_eq!(counts(&report), (22_122_461, 167_843_724, 56));
    assert_eq!(report.coverage.transitions_missed(), []);
    assert_eq!(report.coverage.verbs_missed(&REFERENCE), []);
    assert_eq!(report.coverage.lifecycle_missed(), []);
    insta::assert_snapshot!("taken_by_two_jobs", taken(&report.coverage));
}

/// A transaction of three, held by its user and by `pause_all`; and one of two beside one of one.
#[test]
fn the_reference_holds_for_three_jobs() {
    let report = run(&options(&REFERENCE, 3), |_| {});
    assert_eq!(violated(&report), []);
    assert!(report.held());
    assert_eq!(counts(&report), (40_654_971, 266_515_219, 72));
    let pair = report.pair.expect("three jobs are also two and one");
    assert_eq!((pair.states, pair.transitions), (69_480_345, 341_965_856));
}

/// How often each edge and each cell was taken, so that one that is lost, or hardly met any more, is
/// seen in review.
fn taken(coverage: &Coverage) -> String {
    let mut text = String::from("edges of the transition table\n");
    for from in Status::ALL {
        for to in Status::ALL {
            let count = coverage.transitions[from as usize][to as usize];
            if count > 0 {
                let _ = writeln!(text, "  {from} -> {to}: {count}");
            }
        }
    }
    text.push_str("cells of the verb table: states of a member in which it is accepted, refused\n");
    for verb in Verb::ALL {
        for status in Status::ALL {
            let accepted = coverage.accepted[verb as usize][status as usize];
            let refused = coverage.refused[verb as usize][status as usize];
            let _ = writeln!(text, "  {verb} in {status}: {accepted}, {refused}");
        }
    }
    text.push_str("steps of the coarse lifecycle\n");
    for from in Lifecycle::ALL {
        for to in Lifecycle::ALL {
            let count = coverage.lifecycle[from as usize][to as usize];
            if count > 0 {
                let _ = writeln!(text, "  {from} -> {to}: {count}");
            }
        }
    }
    text
}

#[test]
fn qemu_breaks_what_the_reference_decided_otherwise_and_nothing_else() {
    // A resume swallows a stop error; complete tells the driver twice; a job whose run is over can still be paused; finalize
    // answers success for a prepare that failed; a late pause sticks.
    let report = run(&options(&QEMU_10_0, 1), |_| {});
    assert_eq!(
        violated(&report),
        [("P5", 8), ("D17", 9), ("D18", 6), ("D20", 21), ("D40", 7)]
    );
    assert!(!report.held());
}

/// The smallest thing to explore that has everything the faults below need.
fn two_plain() -> Vec<Scenario> {
    let mut all = scenarios(2, &REFERENCE);
    all.truncate(1);
    all[0].bounds = Bounds {
        io_max: 0,
        tokens_max: 0,
        points: false,
        late_reads: false,
        io_errors: false,
        set_speed: false,
        callback_edges: false,
        sleeps: false,
        drains: false,
    };
    all
}

/// Explores two plain jobs with a relation in which `fault` has its way with every step, and
/// takes a step away by answering `false`.
fn broken(fault: impl Fn(&World, Move, &mut World, &mut Option<Output>) -> bool) -> Report {
    let relation = |world: &World,
                    profile: &Profile,
                    bounds: Bounds,
                    visit: &mut dyn FnMut(Move, Next<'_>, Option<Output>)| {
        moves(world, profile, bounds, &mut |made, mut next, mut output| {
            if fault(world, made, &mut next, &mut output) {
                visit(made, next, output);
            }
        });
    };
    run_over(&options(&REFERENCE, 2), two_plain(), &relation, &mut |_| {})
}

fn found(report: &Report, id: &str) -> Vec<String> {
    let property = report.properties.iter().find(|found| found.id == id);
    property
        .and_then(|property| property.counterexample.clone())
        .unwrap_or_else(|| panic!("{id} should be violated: {:?}", violated(report)))
}

#[test]
fn the_untouched_relation_passes_where_the_broken_ones_fail() {
    let report = broken(|_, _, _, _| true);
    assert_eq!(violated(&report), []);
}

#[test]
fn a_false_property_is_refuted_by_the_shortest_story() {
    let mut options = options(&REFERENCE, 2);
    options.properties = vec![Property {
        id: "X1",
        name: "nobody-pauses",
        sentence: "No job is ever parked.",
        check: Check::World(|place| place.world.jobs.iter().all(|job| !job.status.is_parked())),
    }];
    let report = run_over(&options, two_plain(), &moves, &mut |_| {});
    assert_eq!(
        found(&report, "X1"),
        [
            "with two plain jobs",
            "job 0: create is asked → status created",
            "job 0: pause is asked",
            "job 1: create is asked → status created",
            "every job: start is asked",
            "job 0 starts → status running",
            "job 0 sees a pause → pause begins",
            "job 0 is quiescent → pause ends",
            "job 0 parks → status paused",
        ]
    );
}

#[test]
fn a_lost_wake_leaves_the_job_stuck() {
    let report = broken(|_, made, _, _| !matches!(made, Move::Step(Step::Unpark(_))));
    let story = found(&report, STUCK);
    assert!(story.iter().any(|line| line.contains("parks")), "{story:?}");
}

#[test]
fn a_commit_beside_an_abort_is_found() {
    // The abort forgets that the other member must fall with the first.
    let report = broken(|before, made, next, _| {
        if let Move::Step(Step::Exit(member)) = made
            && next.group.aborting
            && !before.group.aborting
        {
            for (other, job) in next.jobs.iter_mut().enumerate() {
                if other != member {
                    job.cancel = Cancel::No;
                }
            }
        }
        true
    });
    found(&report, "P15");
}

#[test]
fn a_job_that_vanishes_from_pending_is_found() {
    let report = broken(|before, made, next, output| {
        if let Move::Step(Step::PrepareBegin(member)) = made {
            assert_eq!(before.jobs[member].status, Status::Pending);
            next.jobs[member].status = Status::Null;
            *output = Some(Output::Status(member, Status::Null));
        }
        true
    });
    found(&report, "P1");
    found(&report, "P37");
    found(&report, LIFECYCLE);
}

#[test]
fn a_swallowed_pause_is_found() {
    let report = broken(|_, made, next, _| {
        if let Move::Step(Step::RunBegin(member)) = made {
            next.jobs[member].user_paused = false;
        }
        true
    });
    found(&report, "P3");
}

/// A release that lets go of what another token holds.
#[test]
fn a_release_of_a_strange_token_is_found() {
    let mut two = two_plain();
    two[0].bounds.tokens_max = 2;
    let strays = |made: Move, next: &mut World| {
        if let Move::Ask(None, Request::Release { token: 1 }) = made {
            next.jobs[0].holds = 0;
        }
    };
    let relation = |world: &World,
                    profile: &Profile,
                    bounds: Bounds,
                    visit: &mut dyn FnMut(Move, Next<'_>, Option<Output>)| {
        moves(world, profile, bounds, &mut |made, mut next, output| {
            strays(made, &mut next);
            visit(made, next, output);
        });
    };
    let report = run_over(&options(&REFERENCE, 2), two, &relation, &mut |_| {});
    found(&report, "P3");
}

#[test]
fn a_clean_that_is_skipped_is_found() {
    let report = broken(|_, made, _, output| {
        if let Move::Step(Step::CleanBegin(_) | Step::CleanEnd(_)) = made {
            *output = None;
        }
        true
    });
    found(&report, "P10");
}

#[test]
fn an_abort_after_commit_is_found() {
    let report = broken(|before, _, _, output| {
        if let Some(Output::Begin(member, Callback::Commit)) = *output
            && before.jobs[0].is_final()
            && member == 0
        {
            *output = Some(Output::Begin(member, Callback::Abort));
        }
        if let Some(Output::Begin(0, Callback::Commit)) = *output {
            *output = Some(Output::Begin(0, Callback::Abort));
        }
        true
    });
    found(&report, "P9");
    found(&report, "P13");
}

/// P2: a refusal changes nothing and shows nothing, for every request in every world that one job, or
/// either of two, can come to; and no cell of the verb table that refuses goes without one.
#[test]
fn a_refusal_changes_nothing() {
    let requests = [
        Request::Pause,
        Request::Resume,
        Request::Cancel { force: false },
        Request::Cancel { force: true },
        Request::Complete,
        Request::Finalize,
        Request::Dismiss,
        Request::SET_SPEED,
        Request::SET_SPEED_NEGATIVE,
        Request::Change,
        Request::AttachContext,
    ];
    // Row = request, column = the status of the job that refused it.
    let refused = core::cell::RefCell::new([[0u32; Status::COUNT]; 11]);
    let ask = |world: &World, profile: &Profile| {
        for (row, request) in requests.into_iter().enumerate() {
            for (member, job) in world.jobs.iter().enumerate() {
                let mut asked = world.clone();
                asked.calls.push(Call {
                    thread: 1,
                    member: Some(member as u16),
                    request,
                    block: true,
                    posted: false,
                    state: CallState::Issued,
                });
                let place = asked.calls.len() - 1;
                steps(&asked, profile, View::FULL, &mut |step, next, output| {
                    let answered = matches!(next.calls[place].state, CallState::Answered(Err(_)));
                    if step == Step::TakeEffect(place) && answered {
                        refused.borrow_mut()[row][job.status as usize] += 1;
                        assert_eq!((&next.jobs, next.group), (&world.jobs, world.group));
                        assert_eq!(output, None);
                    }
                });
            }
        }
    };
    let relation = |world: &World,
                    profile: &Profile,
                    bounds: Bounds,
                    visit: &mut dyn FnMut(Move, Next<'_>, Option<Output>)| {
        ask(world, profile);
        moves(world, profile, bounds, visit);
    };
    let mut few = scenarios(1, &REFERENCE);
    few.retain(|scenario| scenario.name == "must be completed, manual finalize, manual dismiss");
    assert_eq!(few.len(), 1);
    few[0].bounds.late_reads = false;
    let report = run_over(&options(&REFERENCE, 1), few, &relation, &mut |_| {});
    assert!(report.held());
    let mut two = two_plain();
    two[0].bounds.points = true;
    let report = run_over(&options(&REFERENCE, 2), two, &relation, &mut |_| {});
    assert!(report.held());
    let refused = refused.into_inner();
    for (request, row) in requests.into_iter().zip(refused) {
        for (status, count) in Status::ALL.into_iter().zip(row) {
            // Whoever is not quiet is not moved, and nobody is in a drained section here.
            let refuses = verb(request).is_none_or(|verb| !REFERENCE.permits(verb, status));
            assert!(count > 0 || !refuses, "{request} in {status}");
        }
    }
    // For other reasons than the table's: it is paused already, was not, or is by its user.
    let of = |request: Request, status: Status| {
        let row = requests.into_iter().position(|asked| asked == request);
        refused[row.expect("it is asked")][status as usize]
    };
    assert!(of(Request::Pause, Status::Paused) > 0);
    assert!(of(Request::Resume, Status::Standby) > 0);
    assert!(of(Request::Cancel { force: false }, Status::Paused) > 0);
    assert!(of(Request::Complete, Status::Ready) > 0);
    assert!(of(Request::SET_SPEED_NEGATIVE, Status::Running) > 0);
}

#[test]
fn what_cannot_be_explored_is_said() {
    let zero = Options::new(&REFERENCE, 0).err().map(|bad| bad.to_string());
    assert_eq!(
        zero.as_deref(),
        Some("cannot explore 0 jobs: the search takes 1 to 3")
    );
    let unknown = options(&REFERENCE, 1).only(["P99"]).err();
    let unknown = unknown.map(|bad| bad.to_string()).unwrap_or_default();
    assert!(
        unknown.starts_with("no property `P99` here; there are P1, "),
        "{unknown}"
    );
    let chosen = options(&REFERENCE, 1)
        .only(["p7", "D40"])
        .expect("both exist");
    assert_eq!(chosen.properties.len(), 2);
}

#[test]
fn a_search_that_was_cut_short_does_not_hold() {
    let mut options = options(&REFERENCE, 1);
    options.states_max = 100;
    let report = run(&options, |_| {});
    assert!(!report.held());
    assert!(report.properties[0].bound.ends_with("cut short"));
    assert_ne!(report.coverage, Coverage::default());
}

/// What members do by themselves is worked out once for each state of a member; a search that works
/// it out in every world comes to the same.
#[test]
fn what_is_remembered_of_members_is_what_they_do_everywhere() {
    let options = options(&REFERENCE, 2);
    let mut scenarios = two_plain();
    scenarios[0].bounds.sleeps = true;
    let remembered = run_scenarios(&options, scenarios.clone(), &mut |_| {});
    let everywhere = run_over(&options, scenarios, &moves, &mut |_| {});
    assert_eq!(counts(&remembered), counts(&everywhere));
    assert_eq!(remembered.coverage, everywhere.coverage);
    assert!(remembered.held() && everywhere.held());
}

/// Two transactions, and the mistake of giving each the main loop for itself.
#[test]
fn transactions_share_the_main_loop_and_nothing_else() {
    let [_, one] = two_and_one();
    let report = side_by_side(&REFERENCE, [one.clone(), one.clone()], true);
    assert_eq!(report.counterexample, None);
    assert_eq!((report.states, report.transitions), (470_943, 1_610_358));
    let report = side_by_side(&REFERENCE, [one.clone(), one], false);
    let story = report.counterexample.unwrap_or_default();
    assert_eq!(
        story.last().map(String::as_str),
        Some("the main loop is inside callbacks of both")
    );
}
