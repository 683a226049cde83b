//! Runs one harness under the tool of this build.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::counters;
use crate::harness::{Case, Harness, Method};
use crate::judge::{Cast, Judge};
use crate::obligations;
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
    /// Histories among them that differ.
    pub distinct: u64,
    /// Of those, how many were judged less strictly because too many worlds explained them.
    pub widened: u64,
}

/// One play: what is played, who records, who judges.
#[derive(Clone)]
struct Stage(Arc<Play>);

struct Play {
    recorder: Arc<Recorder>,
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
    fn new(origin: Origin, case: &Case, judged: bool) -> Stage {
        let stage = Stage(Arc::new(Play {
            recorder: Recorder::new(),
            judge: Mutex::default(),
            begun: Arc::default(),
            judged,
        }));
        teller::set(Scene {
            origin,
            case: case.clone(),
            recorder: Arc::clone(&stage.recorder),
            executions: Arc::clone(&stage.begun),
        });
        if tool::TOOL != Some("shuttle") {
            teller::install();
        }
        stage
    }

    fn play(&self, case: &Case, cast: &Cast) {
        // After shuttle's own hook, which is there by now; not more than a look if it was before.
        teller::install();
        self.settle();
        self.begun.fetch_add(1, Ordering::Relaxed);
        match case {
            Case::Scenario(scenario) => scenario.play(&self.recorder),
            Case::LockFree(case) => case.play(&self.recorder),
            Case::Counters => counters::play(),
        }
        if !self.judged {
            return;
        }
        let mut judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
        if *case == Case::Counters {
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
    fn settle(&self) {
        if self.judged
            && tool::TOOL.is_some()
            && let Err(fault) = obligations::nothing_is_leaked(&self.recorder, OWNERS)
        {
            teller::fail(*fault);
        }
    }

    /// To be asked when everything was played.
    fn count(&self) -> Count {
        self.settle();
        let judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
        Count {
            executions: if self.judged {
                judge.executions()
            } else {
                self.begun.load(Ordering::Relaxed)
            },
            distinct: judge.distinct(),
            widened: judge.widened(),
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
    /// Without, every execution is played and recorded, and nobody looks at it: that proves
    /// nothing, and shows what judging costs.
    pub judged: bool,
}

impl Default for How {
    fn default() -> How {
        How {
            tell: false,
            only: None,
            judged: true,
        }
    }
}

/// Runs the harness to its end.
///
/// # Panics
///
/// At the first execution that the specification does not allow, that leaves a thread blocked, or
/// whose own assertions fail; and where this build's tool is not the harness's.
pub fn run(harness: &Harness, how: How) -> Count {
    match harness.method {
        Method::Loom { preemptions, cases } => {
            let mut total = Count::default();
            let cases = cases();
            let number = cases.len();
            for (place, case) in cases.into_iter().enumerate() {
                if how.only.is_some_and(|only| only != place + 1) {
                    continue;
                }
                let origin = Origin {
                    harness: harness.name.to_owned(),
                    tool: tool::TOOL,
                    case: Some((place + 1, number)),
                    ..Origin::default()
                };
                let about = how.tell.then(|| format!("{case:?}"));
                let begun = std::time::Instant::now();
                let count = under_loom(origin, case, preemptions, how.judged);
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
                total.distinct += count.distinct;
                total.widened += count.widened;
            }
            total
        }
        Method::Random { .. } | Method::Pct { .. } => under_shuttle(harness, how.judged),
    }
}

#[cfg(blockjob_loom)]
fn under_loom(origin: Origin, case: Case, preemptions: Option<usize>, judged: bool) -> Count {
    let stage = Stage::new(origin, &case, judged);
    let cast = case.cast();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 20_000;
    let inside = stage.clone();
    builder.check(move || inside.play(&case, &cast));
    stage.count()
}

#[cfg(not(blockjob_loom))]
fn under_loom(_: Origin, _: Case, _: Option<usize>, _: bool) -> Count {
    panic!(
        "this build is not for loom: build it with --cfg blockjob_loom, or run cargo xtask prove"
    )
}

#[cfg(blockjob_shuttle)]
fn under_shuttle(harness: &Harness, judged: bool) -> Count {
    use shuttle::rand::Rng;
    use shuttle::scheduler::{PctScheduler, RandomScheduler};

    let origin = Origin {
        harness: harness.name.to_owned(),
        tool: tool::TOOL,
        seed: harness.seed(),
        ..Origin::default()
    };
    let stage = Stage::new(origin, &Case::Scenario(Scenario::default()), judged);
    let inside = stage.clone();
    let world = move || {
        let mut random = shuttle::rand::thread_rng();
        let scenario = crate::generate::world(|below| random.gen_range(0..below));
        let case = Case::Scenario(scenario);
        let cast = case.cast();
        teller::set_case(&case);
        inside.play(&case, &cast);
    };
    let mut config = shuttle::Config::default();
    // The story says how to see it again.
    config.failure_persistence = shuttle::FailurePersistence::None;
    // proofs/README.md says what shuttle leaves out; here it would stand before every story.
    config.silence_warnings = true;
    match harness.method {
        Method::Random { seed, executions } => {
            let scheduler = RandomScheduler::new_from_seed(seed, executions);
            shuttle::Runner::new(scheduler, config).run(world);
        }
        Method::Pct {
            seed,
            depth,
            executions,
        } => {
            let scheduler = PctScheduler::new_from_seed(seed, depth, executions);
            shuttle::Runner::new(scheduler, config).run(world);
        }
        Method::Loom { .. } => unreachable!("chosen by the method"),
    }
    stage.count()
}

#[cfg(not(blockjob_shuttle))]
fn under_shuttle(_: &Harness, _: bool) -> Count {
    panic!(
        "this build is not for shuttle: build it with --cfg blockjob_shuttle, or run cargo xtask prove"
    )
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
