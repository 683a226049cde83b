//! Runs one harness under the tool of this build.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::counters;
use crate::harness::{Case, Harness, Method};
use crate::judge::{Cast, Judge};
use crate::obligations;
use crate::programs::{Program, Space};
use crate::record::Recorder;
use crate::scenario::Scenario;
use crate::story::Origin;
use crate::story::teller::{self, Scene};
use crate::tool;

/// What came of a harness: it ended, so every execution was allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Executions played and judged.
    pub executions: u64,
    /// Of those, how many recorded nothing: what they have to say they assert.
    pub unrecorded: u64,
    /// Histories among them that differ.
    pub distinct: u64,
    /// Of those, how many were judged less strictly because too many worlds explained them.
    pub widened: u64,
    /// The programs or worlds they are of.
    pub programs: u64,
    /// Of those, how many were explored without any bound.
    pub unbounded: u64,
}

/// One play: what is played, who records, who judges.
#[derive(Clone)]
pub(crate) struct Stage(Arc<Play>);

pub(crate) struct Play {
    pub(crate) recorder: Arc<Recorder>,
    judge: Mutex<Judge>,
    /// Executions that have begun.
    begun: Arc<AtomicU64>,
    judged: bool,
}

/// Who has the recorder between two executions: the play, and whoever tells its story.
const OWNERS: usize = 2;

impl Deref for Stage {
    type Target = Play;

    fn deref(&self) -> &Play {
        &self.0
    }
}

impl Stage {
    /// For executions of one case; or of many, with [`teller::set_case`].
    pub(crate) fn new(origin: Origin, case: &Case, judged: bool) -> Stage {
        let stage = Stage(Arc::new(Play {
            recorder: Recorder::new(),
            judge: Mutex::default(),
            begun: Arc::default(),
            judged,
        }));
        stage.announce(origin, case);
        if tool::TOOL != Some("shuttle") {
            teller::install();
        }
        stage
    }

    /// Says what is played from now on, and counts its executions from the first.
    pub(crate) fn announce(&self, origin: Origin, case: &Case) {
        teller::set(Scene {
            origin,
            case: case.clone(),
            recorder: Arc::clone(&self.recorder),
            executions: Arc::clone(&self.begun),
        });
    }

    pub(crate) fn play(&self, case: &Case, cast: &Cast) {
        // After shuttle's own hook, which is there by now; not more than a look if it was before.
        teller::install();
        self.settle();
        self.begun.fetch_add(1, Ordering::Relaxed);
        match case {
            Case::Scenario(scenario) => scenario.play(&self.recorder),
            Case::LockFree(case) => case.play(&self.recorder),
            Case::Following(case) => case.play(),
            Case::Asleep(case) => case.play(&self.recorder),
            Case::Moment(moment) => moment.play(&self.recorder),
            Case::Departure(case) => case.play(&self.recorder),
            Case::Counters => counters::play(),
        }
        self.judge(case, cast);
    }

    fn judge(&self, case: &Case, cast: &Cast) {
        if !self.judged {
            return;
        }
        let mut judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
        if !case.is_judged() {
            judge.pass();
            return;
        }
        let verdict = self.recorder.read(|entries| judge.judge(cast, entries));
        if let Err(fault) = verdict {
            drop(judge);
            teller::fail(*fault);
        }
    }

    /// The execution before this one is over, all of its threads too: nothing is left of it. On plain
    /// threads nobody knows when that is.
    pub(crate) fn settle(&self) {
        if self.judged
            && tool::TOOL.is_some()
            && let Err(fault) = obligations::nothing_is_leaked(&self.recorder, OWNERS)
        {
            teller::fail(*fault);
        }
    }

    /// To be asked when everything was played.
    pub(crate) fn count(&self) -> Count {
        self.settle();
        let judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
        Count {
            executions: if self.judged {
                judge.executions()
            } else {
                self.begun.load(Ordering::Relaxed)
            },
            unrecorded: judge.unrecorded(),
            distinct: judge.distinct(),
            widened: judge.widened(),
            ..Count::default()
        }
    }
}

/// How a harness is run.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Tells of every case on stderr.
    pub tell: bool,
    /// Only this case, counted from 1.
    pub only: Option<usize>,
    /// Only this part, counted from 1 …
    pub part: u64,
    /// … of so many, where the harness can be cut.
    pub parts: u64,
    /// Without, every execution is played and recorded, and nobody looks at it: that proves
    /// nothing, and shows what judging costs.
    pub judged: bool,
}

impl Default for How {
    fn default() -> How {
        How {
            tell: false,
            only: None,
            part: 1,
            parts: 1,
            judged: true,
        }
    }
}

/// Runs the harness to its end, or a part of it.
///
/// # Panics
///
/// At the first execution that the specification does not allow, that leaves a thread blocked, or
/// whose own assertions fail; and where this build's tool is not the harness's.
pub fn run(harness: &Harness, how: How) -> Count {
    match harness.method {
        Method::Loom { preemptions, cases } => {
            let cases = cases();
            let of = cases.len() as u64;
            let cases = (1..).zip(cases);
            each(harness, of, cases, how, |origin, case| {
                under_loom(origin, case, preemptions, None, how.judged)
            })
        }
        Method::Programs {
            space,
            preemptions,
            unbounded_max,
        } => {
            let cases = space
                .part(how.part, how.parts)
                .map(|(number, program)| (number + 1, Case::Scenario(program.scenario())));
            let count = each(harness, space.count(), cases, how, |origin, case| {
                under_loom_within(origin, &case, preemptions, unbounded_max, how.judged)
            });
            counted(space, how, count)
        }
        Method::Sequential { space } => {
            let programs = space
                .part(how.part, how.parts)
                .filter(move |(number, _)| how.only.is_none_or(|only| only as u64 == number + 1));
            let count = sequentially(harness.name, space.count(), programs, how.judged);
            counted(space, how, count)
        }
        Method::Worlds(worlds) => crate::sample::run(harness.name, worlds, how),
    }
}

/// Those of a harness under loom, of which there are `of`, each with its number.
fn each(
    harness: &Harness,
    of: u64,
    cases: impl Iterator<Item = (u64, Case)>,
    how: How,
    explore: impl Fn(Origin, Case) -> Count,
) -> Count {
    let mut total = Count::default();
    for (number, case) in cases {
        if how.only.is_some_and(|only| only as u64 != number) {
            continue;
        }
        let origin = Origin {
            harness: harness.name.to_owned(),
            tool: tool::TOOL,
            case: Some((number as usize, of as usize)),
            ..Origin::default()
        };
        let about = how.tell.then(|| format!("{case:?}"));
        let begun = std::time::Instant::now();
        let count = explore(origin, case);
        if let Some(about) = about {
            let seconds = begun.elapsed().as_secs_f64();
            eprintln!(
                "{:>8} executions {seconds:>6.2} s  {about}",
                count.executions
            );
        }
        assert!(
            count.executions > 0,
            "a case of {} did not run",
            harness.name
        );
        total.executions += count.executions;
        total.unrecorded += count.unrecorded;
        total.distinct += count.distinct;
        total.widened += count.widened;
        total.programs += 1;
        total.unbounded += count.unbounded;
    }
    total
}

/// Without a bound if that ends within so many executions, else with the bound.
fn under_loom_within(
    origin: Origin,
    case: &Case,
    preemptions: usize,
    unbounded_max: Option<usize>,
    judged: bool,
) -> Count {
    let mut begun = Count::default();
    if let Some(most) = unbounded_max {
        begun = under_loom(origin.clone(), case.clone(), None, Some(most), judged);
        if begun.executions < most as u64 {
            return Count {
                unbounded: 1,
                ..begun
            };
        }
    }
    let bounded = under_loom(origin, case.clone(), Some(preemptions), None, judged);
    Count {
        executions: begun.executions + bounded.executions,
        unrecorded: begun.unrecorded + bounded.unrecorded,
        distinct: begun.distinct + bounded.distinct,
        widened: begun.widened + bounded.widened,
        ..Count::default()
    }
}

/// As many programs were played as the formula said that there are.
fn counted(space: Space, how: How, count: Count) -> Count {
    let due = space.count_of_part(how.part, how.parts);
    assert_eq!(
        count.programs,
        how.only.map_or(due, |_| 1),
        "programs played, and programs counted before"
    );
    count
}

#[cfg(blockjob_loom)]
fn under_loom(
    origin: Origin,
    case: Case,
    preemptions: Option<usize>,
    most: Option<usize>,
    judged: bool,
) -> Count {
    let stage = Stage::new(origin, &case, judged);
    let cast = case.cast();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 20_000;
    if let Some(most) = most {
        // loom looks at it only where it could write a checkpoint.
        builder.checkpoint_interval = most;
        builder.max_permutations = Some(most);
    }
    // Without it, half of the time goes into making stacks.
    blockjob_stacks::link();
    let inside = stage.clone();
    builder.check(move || inside.play(&case, &cast));
    stage.count()
}

#[cfg(not(blockjob_loom))]
fn under_loom(_: Origin, _: Case, _: Option<usize>, _: Option<usize>, _: bool) -> Count {
    panic!(
        "this build is not for loom: build it with --cfg blockjob_loom, or run cargo xtask prove"
    )
}

/// How every harness under shuttle is run.
#[cfg(blockjob_shuttle)]
pub(crate) fn config() -> shuttle::Config {
    let mut config = shuttle::Config::default();
    // The story says how to see it again.
    config.failure_persistence = shuttle::FailurePersistence::None;
    // proofs/README.md says what shuttle leaves out; here it would stand before every story.
    config.silence_warnings = true;
    config
}

#[cfg(not(blockjob_shuttle))]
pub(crate) fn not_for_shuttle() -> ! {
    panic!(
        "this build is not for shuttle: build it with --cfg blockjob_shuttle, or run cargo xtask prove"
    )
}

/// Every play of these programs, each with its number, of which there are `of`.
#[cfg(blockjob_shuttle)]
fn sequentially(
    harness: &str,
    of: u64,
    programs: impl Iterator<Item = (u64, Program)> + Send + 'static,
    judged: bool,
) -> Count {
    use crate::sequence::{InTurn, Plays};

    let harness = harness.to_owned();
    let stage = Stage::new(Origin::default(), &Case::default(), judged);
    let counted = Arc::new(AtomicU64::new(0));
    let playing: Arc<Mutex<Option<Plays>>> = Arc::default();
    let more = {
        let (stage, counted, playing) = (stage.clone(), Arc::clone(&counted), Arc::clone(&playing));
        let mut programs = programs;
        move || {
            let mut playing = playing.lock().unwrap_or_else(PoisonError::into_inner);
            if playing.as_ref().is_some_and(|plays| !plays.is_over()) {
                return true;
            }
            let Some((number, program)) = programs.next() else {
                return false;
            };
            let plays = Plays::of(&program);
            stage.announce(
                Origin {
                    harness: harness.clone(),
                    tool: tool::TOOL,
                    case: Some((number as usize + 1, of as usize)),
                    ..Origin::default()
                },
                &Case::Scenario(plays.scenario().clone()),
            );
            *playing = Some(plays);
            counted.fetch_add(1, Ordering::Relaxed);
            true
        }
    };
    let inside = stage.clone();
    let play = move || {
        teller::install();
        inside.settle();
        inside.begun.fetch_add(1, Ordering::Relaxed);
        let mut playing = playing.lock().unwrap_or_else(PoisonError::into_inner);
        let plays = playing.as_mut().expect("there is more to play");
        plays.play(&inside.recorder);
        let case = Case::Scenario(plays.scenario().clone());
        inside.judge(&case, &case.cast());
    };
    shuttle::Runner::new(InTurn::new(more), config()).run(play);
    Count {
        programs: counted.load(Ordering::Relaxed),
        ..stage.count()
    }
}

#[cfg(not(blockjob_shuttle))]
fn sequentially(_: &str, _: u64, _: impl Iterator<Item = (u64, Program)>, _: bool) -> Count {
    not_for_shuttle()
}

/// Plays a case once on the threads of this build and judges it: no check of interleavings.
///
/// # Panics
///
/// As [`run`].
pub fn once(case: &Case) {
    let stage = Stage::new(Origin::default(), case, true);
    stage.play(case, &case.cast());
    teller::clear();
    assert_eq!(stage.count().executions, 1);
}

/// The same for a world made by hand.
///
/// # Panics
///
/// As [`run`].
pub fn once_world(scenario: Scenario) {
    once(&Case::Scenario(scenario));
}
