//! Goal: what is counted is what is played, and a world that fails can be saved, read and made smaller.
//!
//! Method: spaces of programs are written out and held against their formula and cut into parts; worlds
//! at random go through their text and back, and texts with a mistake name it; shrinking is given a
//! failure that is known. What is played by `cargo xtask prove` is not played here.
#![cfg(not(any(blockjob_loom, blockjob_shuttle)))]

use std::collections::HashSet;

use blockjob_proofs::actor::{Act, Role};
use blockjob_proofs::ask::Ask;
use blockjob_proofs::explore;
use blockjob_proofs::generate::{self, Choices, Sizes};
use blockjob_proofs::harness::{HARNESSES, Method};
use blockjob_proofs::programs::{Ending, Script, Space};
use blockjob_proofs::scenario::{Controller, Member, Scenario};
use blockjob_proofs::schedule::{CALM, Schedule};
use blockjob_proofs::shrink;
use blockjob_proofs::world::World;

const SPACE: Space = Space {
    jobs: 2,
    verbs_min: 1,
    verbs_max: 2,
    steps_max: 1,
    endings: &[Ending::AUTOMATIC, Ending::FAILING],
};

#[test]
fn scripts_are_as_many_as_the_formula_says() {
    for steps in 0..=5 {
        let scripts = Script::up_to(steps);
        assert_eq!(scripts.len() as u64, Script::count_up_to(steps));
        let different: HashSet<&Script> = scripts.iter().collect();
        assert_eq!(different.len(), scripts.len());
        assert!(scripts.iter().all(|script| script.steps() <= steps));
    }
    assert_eq!(Script::count_up_to(2), 25);
    assert_eq!(Script::count_up_to(4), 337);
}

#[test]
fn every_program_is_there_once() {
    // 16 words of one verb and 256 of two, 6 scripts for each of two jobs, 2 endings.
    assert_eq!(SPACE.count(), 272 * 36 * 2);
    let programs: HashSet<_> = SPACE.part(1, 1).map(|(_, program)| program).collect();
    assert_eq!(programs.len() as u64, SPACE.count());
}

#[test]
fn parts_are_disjoint_and_together_the_whole() {
    let mut numbers = Vec::new();
    for part in 1..=13 {
        let some: Vec<u64> = SPACE.part(part, 13).map(|(number, _)| number).collect();
        assert_eq!(some.len() as u64, SPACE.count_of_part(part, 13));
        numbers.extend(some);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..SPACE.count()).collect::<Vec<_>>());
}

#[test]
fn a_part_of_a_harness_loses_no_verb_and_no_script() {
    for harness in HARNESSES {
        let (Method::Programs { space, .. } | Method::Sequential { space }) = harness.method else {
            continue;
        };
        let parts = harness.parts.whole;
        let prime = (2..parts)
            .take_while(|n| n * n <= parts)
            .all(|n| parts % n != 0);
        assert!(prime, "{}: {parts} is no prime", harness.name);
        let full: Vec<_> = (1..=harness.parts.full)
            .flat_map(|part| space.part(part, parts).map(|(_, program)| program))
            .collect();
        for place in 0..space.verbs_max {
            let asked = full.iter().filter_map(|program| program.verbs.get(place));
            let asked: HashSet<_> = asked.collect();
            let all = usize::from(space.jobs) * Ask::VERBS.len();
            assert_eq!(asked.len(), all, "{}, verb {place}", harness.name);
        }
        for job in 0..usize::from(space.jobs) {
            let scripts: HashSet<_> = full.iter().map(|program| &program.scripts[job]).collect();
            let all = Script::count_up_to(space.steps_max);
            assert_eq!(scripts.len() as u64, all, "{}, job {job}", harness.name);
        }
        let endings: HashSet<_> = full.iter().map(|program| program.ending).collect();
        assert_eq!(endings.len(), space.endings.len(), "{}", harness.name);
    }
}

#[test]
fn programs_play_on_plain_threads() {
    for (_, program) in SPACE.part(1, 101) {
        explore::once_world(program.scenario());
    }
}

fn worlds(number: u64) -> impl Iterator<Item = Scenario> {
    (0..number).map(|number| {
        let mut choices = Choices::new(7, number);
        generate::world(Sizes::LARGE, |below| choices.below(below))
    })
}

fn saved(scenario: Scenario) -> World {
    World {
        rule: "callback-order".to_owned(),
        found: "nobody, seed 7".to_owned(),
        scenario,
        schedule: Schedule {
            turns: vec![(0, 12), (1, 3), (0, 1)],
            numbers: vec![CALM, 7, u64::MAX],
        },
    }
}

#[test]
fn a_world_s_text_is_the_world() {
    let mut sizes = (0, 0, 0);
    for mut scenario in worlds(300) {
        scenario.before_start = vec![(0, Ask::Pause)];
        scenario.before_loop = vec![(0, Ask::AwaitReady), (0, Ask::CancelForce)];
        let last = scenario.members[scenario.members.len() - 1];
        sizes.0 = sizes.0.max(scenario.members.len());
        sizes.1 = sizes.1.max(last.group);
        sizes.2 = sizes.2.max(scenario.controllers.len());
        let world = saved(scenario);
        assert_eq!(World::read(&world.write()), Ok(world));
    }
    assert_eq!(sizes, (16, 3, 4), "all sizes are drawn");
}

#[test]
fn a_text_that_is_no_world_says_where() {
    let role = Role::plain(&[Act::Io, Act::Fail]);
    let scenario = Scenario::single(role, vec![vec![Ask::Pause]]);
    let sound = saved(scenario).write();
    let mistakes = [
        (
            "blockjob-world 1",
            "blockjob-world 2",
            "line 1: a world begins with",
        ),
        ("rule callback-order", "", "there is no line 'rule'"),
        (
            "begins late",
            "begins soon",
            "line 5: 'soon' is none of early, late",
        ),
        ("group=0", "group=1", "line 6: group=1 here"),
        ("group=0", "groop=0", "line 6: 'group=' is missing"),
        (
            "run=io,fail",
            "run=fail,io",
            "line 6: nothing comes after 'fail'",
        ),
        (
            "run=io,fail",
            "run=eio",
            "line 6: 'eio' is none of io, point",
        ),
        (
            "ready=-",
            "ready=",
            "line 6: a run that fails does not converge",
        ),
        (
            "dismiss=auto",
            "dismiss=auto now",
            "line 6: 'now' is too much",
        ),
        (
            "0:pause",
            "1:pause",
            "line 7: '1:pause': no job has number '1'",
        ),
        ("0:pause", "0:paws", "line 7: 'paws' is none of pause"),
        ("0:pause", "pause", "line 7: 'pause' is no ask"),
        ("drawn -", "drawn x", "line 8: 'x' is no number"),
        ("1*3", "1*0", "line 9: '1*0' is no turn"),
        (
            "schedule 0*12",
            "shedule 0*12",
            "line 9: 'shedule' is none of",
        ),
        ("controller", "job", "line 7: 'group=' is missing"),
    ];
    assert!(World::read(&sound).is_ok(), "{sound}");
    for (from, to, complaint) in mistakes {
        assert!(sound.contains(from), "{from}");
        let wrong = World::read(&sound.replacen(from, to, 1)).expect_err(to);
        assert!(wrong.contains(complaint), "{from} → {to}: {wrong}");
    }
    let twice = format!("{sound}schedule 0*1\n");
    let wrong = World::read(&twice).expect_err("it ends with its schedule");
    assert_eq!(wrong, "line 10: nothing comes after the schedule");
}

#[test]
fn what_is_smaller_is_a_world() {
    for scenario in worlds(20) {
        let all = shrink::smaller(&scenario);
        assert!(!all.is_empty() || shrink::size(&scenario) == 110);
        for smaller in all {
            assert!(
                shrink::size(&smaller) < shrink::size(&scenario),
                "{smaller:?}"
            );
            let world = saved(smaller);
            assert_eq!(World::read(&world.write()), Ok(world));
        }
    }
}

#[test]
fn a_world_shrinks_to_what_its_failure_needs() {
    // It fails where somebody pauses a job that sleeps, thread 1 goes on, and 5 is drawn.
    let sleeps = |scenario: &Scenario, job: u8| {
        let role = scenario.members[usize::from(job)].role;
        role.acts.contains(&Act::Sleep)
    };
    let fails = |scenario: &Scenario| {
        let mut asks = scenario
            .controllers
            .iter()
            .flat_map(|controller| &controller.0);
        asks.any(|&(job, ask)| ask == Ask::Pause && sleeps(scenario, job))
    };
    let mut shrunk_worlds = 0;
    for scenario in worlds(100).filter(&fails) {
        let schedule = Schedule {
            turns: vec![(0, 5), (1, 2), (0, 3), (2, 9), (1, 4), (0, 8)],
            numbers: vec![3, CALM, 4, 1, 5, 9],
        };
        let shrunk = shrink::shrink(
            &scenario,
            &schedule,
            |world, first| fails(world).then(|| first.clone()),
            |_, schedule| {
                let goes_on = schedule.turns.iter().any(|&(thread, _)| thread == 1);
                (goes_on && schedule.numbers.contains(&5)).then(|| schedule.clone())
            },
        );
        let smallest = Scenario {
            members: vec![Member {
                group: 0,
                role: Role::plain(&[Act::Sleep]),
            }],
            controllers: vec![Controller(vec![(0, Ask::Pause)])],
            ..Scenario::default()
        };
        assert_eq!(shrunk.scenario, smallest);
        assert_eq!(shrunk.schedule.changes(), 0);
        assert_eq!(shrunk.schedule.turns[0].0, 1);
        assert_eq!(shrunk.schedule.numbers, [CALM, CALM, CALM, CALM, 5]);
        shrunk_worlds += 1;
    }
    assert!(shrunk_worlds > 10, "only {shrunk_worlds} worlds failed");
}
