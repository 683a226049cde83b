//! Runs one harness under the tool of this build.

use std::sync::{Arc, Mutex, Once, PoisonError};

use crate::harness::{Case, Harness, Method};
use crate::judge::{Cast, Judge};
use crate::record::Recorder;
use crate::scenario::Scenario;

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
struct Stage {
    recorder: Arc<Recorder>,
    judge: Arc<Mutex<Judge>>,
}

impl Stage {
    fn new() -> Stage {
        let recorder = Recorder::new();
        tell_on_panic(&recorder);
        Stage {
            recorder,
            judge: Arc::default(),
        }
    }

    fn play(&self, case: &Case, cast: &Cast) {
        match case {
            Case::Scenario(scenario) => scenario.play(&self.recorder),
            Case::LockFree(case) => case.play(&self.recorder),
        }
        let mut judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
        self.recorder.read(|entries| judge.judge(cast, entries));
    }

    fn count(&self) -> Count {
        let judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
        Count {
            executions: judge.executions(),
            distinct: judge.distinct(),
            widened: judge.widened(),
        }
    }
}

impl Case {
    fn cast(&self) -> Cast {
        match self {
            Case::Scenario(scenario) => scenario.cast(),
            Case::LockFree(case) => case.cast(),
        }
    }
}

/// The record of the execution that runs now, for whoever has to tell of its panic.
static TOLD: Mutex<Option<Arc<Recorder>>> = Mutex::new(None);

/// Prints the story of the execution that panics: who did what until then.
///
/// Installed once and before the tool's own hook: loom's threads end by a panic that its hook
/// keeps from ours.
fn tell_on_panic(recorder: &Arc<Recorder>) {
    static INSTALLED: Once = Once::new();
    *TOLD.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(recorder));
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Whoever panics while it holds one of these is not kept waiting for itself.
            if let Ok(told) = TOLD.try_lock()
                && let Some(story) = told.as_ref().and_then(|recorder| recorder.try_story())
            {
                eprintln!("the execution until then:\n{story}");
            }
            before(panic);
        }));
    });
}

/// Runs the harness to its end; `tell`s of every case on stderr if so asked.
///
/// # Panics
///
/// At the first execution that the specification does not allow, that leaves a thread blocked, or
/// whose own assertions fail; and where this build's tool is not the harness's.
pub fn run(harness: &Harness, tell: bool) -> Count {
    match harness.method {
        Method::Loom { preemptions, cases } => {
            let mut total = Count::default();
            for case in cases() {
                let about = tell.then(|| format!("{case:?}"));
                let begun = std::time::Instant::now();
                let count = under_loom(case, preemptions);
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
        Method::Random { .. } | Method::Pct { .. } => under_shuttle(harness),
    }
}

#[cfg(blockjob_loom)]
fn under_loom(case: Case, preemptions: Option<usize>) -> Count {
    let stage = Stage::new();
    let cast = case.cast();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 20_000;
    let inside = stage.clone();
    builder.check(move || inside.play(&case, &cast));
    stage.count()
}

#[cfg(not(blockjob_loom))]
fn under_loom(_: Case, _: Option<usize>) -> Count {
    panic!(
        "this build is not for loom: build it with --cfg blockjob_loom, or run cargo xtask prove"
    )
}

#[cfg(blockjob_shuttle)]
fn under_shuttle(harness: &Harness) -> Count {
    use shuttle::rand::Rng;
    use shuttle::scheduler::{PctScheduler, RandomScheduler};

    let stage = Stage::new();
    let inside = stage.clone();
    let world = move || {
        let mut random = shuttle::rand::thread_rng();
        let scenario = crate::generate::world(|below| random.gen_range(0..below));
        let case = Case::Scenario(scenario);
        let cast = case.cast();
        inside.play(&case, &cast);
    };
    let config = shuttle::Config::default();
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
    };
    stage.count()
}

#[cfg(not(blockjob_shuttle))]
fn under_shuttle(_: &Harness) -> Count {
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
    let stage = Stage::new();
    stage.play(case, &case.cast());
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
