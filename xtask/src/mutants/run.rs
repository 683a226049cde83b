//! Runs the tests against each mutant, one test at a time in a process of its own.
//!
//! First each test is run without a mutant, which says how long it takes and which mutants it reaches.
//! A mutant is then tried with those tests alone that reach it until one fails or hangs, first those that
//! are quick for how often they noticed a mutant so far; one that no test reaches has survived
//! without being run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::build::Built;
use super::list::Mutant;
use super::results::{Fate, Results};
use crate::museum::child;

/// When a test hangs.
#[derive(Clone, Copy)]
pub struct Patience {
    /// It takes this many times as long as without a mutant …
    times: u32,
    /// … and at least so long.
    least: Duration,
}

impl Patience {
    /// For all, the first time.
    pub const FIRST: Patience = Patience {
        times: 5,
        least: Duration::from_secs(5),
    };

    /// For those that were taken to hang.
    pub const SECOND: Patience = Patience {
        times: 20,
        least: Duration::from_secs(30),
    };
}

/// So long may a test take without a mutant that is tried at once with each.
const QUICK: Duration = Duration::from_secs(1);

/// A test without a mutant that takes longer is left out.
const LIMIT: Duration = Duration::from_secs(600);

/// What a test may ask for, in KiB: a mutant may well never stop asking.
const MEMORY_KIB: u32 = 6 << 20;

/// One test, as it is without a mutant.
struct Test {
    /// Of its program.
    binary: String,
    program: PathBuf,
    name: String,
    took: Duration,
    reaches: BTreeSet<usize>,
    /// Mutants it was run against, and those of them that it noticed.
    tried: AtomicUsize,
    noticed: AtomicUsize,
}

impl Test {
    /// Every mutant that it reaches is tried with it at once; with another only where no such test noticed it.
    fn is_quick(&self) -> bool {
        self.took <= QUICK
    }

    /// The seconds it is likely to take for each mutant that it notices.
    fn cost(&self) -> f64 {
        let tried = self.tried.load(Ordering::Relaxed) as f64;
        let noticed = self.noticed.load(Ordering::Relaxed) as f64;
        // One that was never tried is thought to notice half; so little as starting it is not nothing.
        (self.took.as_secs_f64() + 0.02) * (tried + 2.0) / (noticed + 1.0)
    }
}

/// Where and how tests are run.
pub struct Tests<'a> {
    built: &'a Built,
    /// Where the package is in the copy: tests are run there.
    package: PathBuf,
    /// For logs.
    scratch: PathBuf,
    /// At a time.
    jobs: usize,
    patience: Patience,
    all: Vec<Test>,
}

impl<'a> Tests<'a> {
    /// Runs every test that `chosen` wants, once, without a mutant. One that fails so is left out.
    pub fn measure(
        built: &'a Built,
        package: &str,
        scratch: &Path,
        jobs: usize,
        patience: Patience,
        chosen: impl Fn(&str) -> bool,
    ) -> Result<Tests<'a>, String> {
        fs::create_dir_all(scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
        let mut tests = Tests {
            built,
            package: built.source.join(package),
            scratch: scratch.to_owned(),
            jobs,
            patience,
            all: Vec::new(),
        };
        let mut all = Vec::new();
        for (binary, program) in &built.programs {
            for name in names(program)? {
                if chosen(&name) {
                    all.push((binary, program, name));
                }
            }
        }
        let measured = tests.side_by_side(all.len(), |worker, index| {
            let (binary, program, name) = &all[index];
            let reached = tests.scratch.join(format!("reached-{worker}"));
            let _ = fs::remove_file(&reached);
            let mut command = tests.command(program, name);
            command.env("BLOCKJOB_MUTANTS_REACHED", &reached);
            let ran = child::run(&mut command, LIMIT, &tests.log(worker))?;
            if !ran.succeeded() {
                eprintln!("mutants: {binary}::{name} fails without a mutant and is left out");
                return Ok(None);
            }
            let reached = fs::read_to_string(&reached).unwrap_or_default();
            Ok(Some(Test {
                binary: (*binary).clone(),
                program: (*program).clone(),
                name: name.clone(),
                took: Duration::from_secs_f64(ran.seconds),
                tried: AtomicUsize::new(0),
                noticed: AtomicUsize::new(0),
                reaches: reached
                    .lines()
                    .filter_map(|line| line.parse().ok())
                    .collect(),
            }))
        })?;
        tests.all = measured.into_iter().flatten().collect();
        Ok(tests)
    }

    /// How many there are, and how long they take together.
    pub fn total(&self) -> (usize, Duration) {
        (self.all.len(), self.all.iter().map(|test| test.took).sum())
    }

    /// Tries each of the mutants, and notes what came of it: first all of them with the tests that are quick, then
    /// those that nobody noticed with the others.
    pub fn try_all(
        &self,
        todo: &[(usize, &Mutant)],
        results: &Mutex<Results>,
    ) -> Result<(), String> {
        let quick: Vec<&Test> = self.all.iter().filter(|test| test.is_quick()).collect();
        let others: Vec<&Test> = self.all.iter().filter(|test| !test.is_quick()).collect();
        let left = self.round(todo, &quick, results)?;
        let left = self.round(&left, &others, results)?;
        for (number, mutant) in left {
            let reached = self.all.iter().any(|test| test.reaches.contains(&number));
            let fate = if reached {
                Fate::Survived
            } else {
                Fate::Unreached
            };
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.note(mutant, fate, "", 0.0)?;
        }
        Ok(())
    }

    /// Tries each with these tests; notes those that are noticed, and gives the others back.
    fn round<'m>(
        &self,
        todo: &[(usize, &'m Mutant)],
        tests: &[&Test],
        results: &Mutex<Results>,
    ) -> Result<Vec<(usize, &'m Mutant)>, String> {
        let begun = Instant::now();
        let done = AtomicUsize::new(0);
        let left = self.side_by_side(todo.len(), |worker, index| {
            let (number, mutant) = todo[index];
            let noticed = self.attempt(number, worker, tests)?;
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((fate, by, seconds)) = &noticed {
                results.note(mutant, *fate, by, *seconds)?;
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(20) || done == todo.len() {
                let passed = begun.elapsed();
                let left = passed / done as u32 * (todo.len() - done) as u32;
                let (passed, left) = (passed.as_secs(), left.as_secs());
                eprintln!(
                    "mutants: {} tests, {done} of {} in {passed} s, {left} s to go: {}",
                    tests.len(),
                    todo.len(),
                    results.counts()
                );
            }
            Ok(noticed.is_none().then_some((number, mutant)))
        })?;
        Ok(left.into_iter().flatten().collect())
    }

    /// How one of these tests noticed the mutant, which, and how long it took to find out.
    fn attempt(
        &self,
        number: usize,
        worker: usize,
        tests: &[&Test],
    ) -> Result<Option<(Fate, String, f64)>, String> {
        let begun = Instant::now();
        let mut tests: Vec<(f64, &&Test)> = (tests.iter())
            .filter(|test| test.reaches.contains(&number))
            .map(|test| (test.cost(), test))
            .collect();
        tests.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        for (_, test) in tests {
            let mut command = self.command(&test.program, &test.name);
            command.env("BLOCKJOB_MUTANT", number.to_string());
            let limit = self.patience.least.max(test.took * self.patience.times);
            let ran = child::run(&mut command, limit, &self.log(worker))?;
            test.tried.fetch_add(1, Ordering::Relaxed);
            let fate = match ran.status {
                Some(status) if status.success() => continue,
                Some(_) => Fate::Caught,
                None => Fate::Hangs,
            };
            test.noticed.fetch_add(1, Ordering::Relaxed);
            let by = format!("{}::{}", test.binary, test.name);
            return Ok(Some((fate, by, begun.elapsed().as_secs_f64())));
        }
        Ok(None)
    }

    fn command(&self, program: &Path, name: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -v {MEMORY_KIB}; exec \"$@\""), "sh"])
            .arg(program)
            .args(["--exact", name])
            .current_dir(&self.package)
            .env("RUST_BACKTRACE", "0")
            // One that is ended in the middle leaves files behind.
            .env("TMPDIR", &self.scratch)
            // What a mutant prints is judged, not reviewed.
            .env("INSTA_UPDATE", "no")
            .env("INSTA_WORKSPACE_ROOT", &self.built.source)
            .env_remove("BLOCKJOB_MUTANT")
            .env_remove("BLOCKJOB_MUTANTS_REACHED");
        command
    }

    fn log(&self, worker: usize) -> PathBuf {
        self.scratch.join(format!("log-{worker}"))
    }

    /// Does `work` for each of so many, several at a time, and gives what came of it in their order.
    /// It is told which of the workers does it.
    fn side_by_side<T: Send>(
        &self,
        count: usize,
        work: impl Fn(usize, usize) -> Result<T, String> + Sync,
    ) -> Result<Vec<T>, String> {
        let next = AtomicUsize::new(0);
        let done: Mutex<BTreeMap<usize, T>> = Mutex::new(BTreeMap::new());
        let failed: Mutex<Option<String>> = Mutex::new(None);
        thread::scope(|scope| {
            for worker in 0..self.jobs {
                let (next, done, failed, work) = (&next, &done, &failed, &work);
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= count {
                            break;
                        }
                        match work(worker, index) {
                            Ok(value) => {
                                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                                done.insert(index, value);
                            }
                            Err(error) => {
                                next.store(count, Ordering::Relaxed);
                                *failed.lock().unwrap_or_else(PoisonError::into_inner) =
                                    Some(error);
                            }
                        }
                    }
                });
            }
        });
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(done.into_values().collect())
    }
}

/// The tests of a program.
fn names(program: &Path) -> Result<Vec<String>, String> {
    let output = Command::new(program)
        .args(["--list", "--format", "terse"])
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect())
}
