//! `cargo xtask mutants --together --apart`: the mutants that no switch can be put before.
//!
//! Which these are is what a run without `--apart` has found out. Each is built for itself, in a copy that is
//! kept, first with a few tests that are quick to build and notice most; what they let pass is tried with
//! all that are quick. What comes of it goes where `--together` keeps its results.
//!
//! Most of the time is the compiler's and the linker's, so the specification's tests are built as one program.
//! The engine's are not: some of them count the threads and descriptors of their process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::list::{Mutant, Place};
use super::results::{Fate, Results};
use super::{Options, Part};
use crate::copy;
use crate::museum::child::{self, Ran};
use crate::steps::{cargo, root};

/// A build that takes longer hangs, as a compiler that evaluates a constant may.
const BUILD: Duration = Duration::from_secs(300);

/// The tests take seconds.
const TESTS: Duration = Duration::from_secs(120);

/// Tries those of `mutants` that are to be tried apart and have not been.
pub fn start(
    options: &Options,
    mutants: &[Mutant],
    results: &Mutex<Results>,
    folder: &Path,
) -> Result<(), String> {
    let fate = |mutant: &Mutant| lock(results).fate(mutant);
    let todo: Vec<&Mutant> = mutants
        .iter()
        .filter(|mutant| fate(mutant) == Some(Fate::Apart))
        .collect();
    let first = options.part.first();
    let mut rest = options.part.tests(false, false)?;
    rest.retain(|test| !first.contains(test));
    let rounds = [
        Round::new(options.part, &first, "first", false)?,
        Round::new(options.part, &rest, "rest", true)?,
    ];
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let fault = Mutex::new(None);
    let begun = Instant::now();
    thread::scope(|scope| {
        for number in 0..options.jobs.unwrap_or(2) {
            let lane = Lane {
                options,
                folder: folder.join(format!("apart/{number}")),
            };
            let (next, done, fault, todo, rounds) = (&next, &done, &fault, &todo, &rounds);
            scope.spawn(move || {
                loop {
                    let Some(mutant) = todo.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        return;
                    };
                    let started = Instant::now();
                    let noted = lane.attempt(mutant, rounds).and_then(|(fate, by)| {
                        let seconds = started.elapsed().as_secs_f64();
                        lock(results).note(mutant, fate, by, seconds)
                    });
                    if let Err(reason) = noted {
                        lock(fault).get_or_insert(reason);
                        next.store(todo.len(), Ordering::Relaxed);
                        return;
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    let (passed, counts) = (begun.elapsed().as_secs(), lock(results).counts());
                    eprintln!(
                        "mutants: {done} of {} apart in {passed} s: {counts}",
                        todo.len()
                    );
                }
            });
        }
    });
    fault
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .map_or(Ok(()), Err)
}

/// Tests that are built and run together.
struct Round {
    /// What cargo is to build of them.
    targets: Vec<String>,
    /// What the copy has to have for that, beside the sources.
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Round {
    /// `units`: with those in the sources as well. `name` is that of the program.
    fn new(part: Part, tests: &[String], name: &str, units: bool) -> Result<Round, String> {
        let mut round = Round {
            targets: Vec::new(),
            files: BTreeMap::new(),
        };
        if units {
            round.targets.push("--lib".into());
        }
        match part {
            Part::Model => {
                let folder = Path::new("model/tests");
                let mut program = String::new();
                for test in tests {
                    let _ = writeln!(program, "#[path = \"{test}.rs\"]\nmod {test};");
                }
                let path = folder.join(format!("{name}.rs"));
                round.files.insert(path, program.into_bytes());
                round.targets.push(format!("--test={name}"));
                // Snapshots are named after the module that asks for them.
                for file in copy::tracked()? {
                    if let Ok(below) = file.strip_prefix(folder.join("snapshots")) {
                        let bytes = fs::read(root().join(&file))
                            .map_err(|error| format!("{}: {error}", file.display()))?;
                        let named = format!("{name}__{}", below.display());
                        round.files.insert(file.with_file_name(named), bytes);
                    }
                }
            }
            Part::Engine => {
                (round.targets).extend(tests.iter().map(|test| format!("--test={test}")));
            }
        }
        Ok(round)
    }
}

/// A copy to put one mutant after the other into.
struct Lane<'a> {
    options: &'a Options,
    folder: PathBuf,
}

impl Lane<'_> {
    /// What becomes of the mutant, and what it was that noticed.
    fn attempt(&self, mutant: &Mutant, rounds: &[Round]) -> Result<(Fate, &'static str), String> {
        let path = root().join(&mutant.file);
        let fault = |error: std::io::Error| format!("{}: {error}", path.display());
        let source = fs::read_to_string(&path).map_err(fault)?;
        let changed = replaced(&source, mutant)
            .ok_or_else(|| format!("{}: not where it is said to be", mutant.name))?;
        let mut files = BTreeMap::from([(PathBuf::from(&mutant.file), changed.into_bytes())]);
        for round in rounds {
            files.extend(round.files.clone());
        }
        copy::equal(&self.folder.join("source"), &files)?;
        for round in rounds {
            let built = self.cargo(round, true)?;
            match built.status {
                Some(status) if status.success() => {}
                _ => return Ok((Fate::Unviable, "the compiler")),
            }
            let ran = self.cargo(round, false)?;
            match ran.status {
                Some(status) if status.success() => {}
                Some(_) => return Ok((Fate::Caught, "a build of its own")),
                None => return Ok((Fate::Hangs, "a build of its own")),
            }
        }
        Ok((Fate::Survived, ""))
    }

    /// Builds the tests of a round, or runs them.
    fn cargo(&self, round: &Round, build: bool) -> Result<Ran, String> {
        let part = self.options.part;
        let mut command = cargo(&["test", "--locked", "--profile", "mutants"]);
        command
            .args(["--package", part.package()])
            .args(part.features())
            .args(&round.targets)
            .current_dir(self.folder.join("source"))
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .env("CARGO_BUILD_JOBS", "1")
            .env("RUSTFLAGS", "--cap-lints=allow")
            // What a mutant prints is judged, not reviewed.
            .env("INSTA_UPDATE", "no")
            .env("RUST_BACKTRACE", "0");
        if build {
            command.arg("--no-run");
        } else {
            command.arg("--");
            command.args(part.slow().iter().flat_map(|test| ["--skip", test]));
        }
        let limit = if build { BUILD } else { TESTS };
        child::run(&mut command, limit, &self.folder.join("log"))
    }
}

/// The source with the mutant in it; `None` where its places are not there.
fn replaced(source: &str, mutant: &Mutant) -> Option<String> {
    let (start, end) = (
        offset(source, mutant.span.start)?,
        offset(source, mutant.span.end)?,
    );
    let (before, rest) = source.split_at_checked(start)?;
    let after = rest.get(end.checked_sub(start)?..)?;
    Some(format!("{before}{} {after}", mutant.replacement))
}

/// Where in the text a place is, in bytes.
fn offset(source: &str, place: Place) -> Option<usize> {
    let mut lines = source.split_inclusive('\n');
    let before: usize = (lines.by_ref())
        .take(place.line.checked_sub(1)?)
        .map(str::len)
        .sum();
    let line = lines.next()?;
    let column = place.column.checked_sub(1)?;
    let mut letters = line.char_indices().map(|(at, _)| at);
    Some(before + letters.nth(column).unwrap_or(line.len()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_takes_the_place_of_what_it_replaces() {
        let mutant = |start: (usize, usize), end: (usize, usize), replacement: &str| -> Mutant {
            let place = |(line, column)| serde_json::json!({"line": line, "column": column});
            serde_json::from_value(serde_json::json!({
                "name": "", "file": "", "genre": "BinaryOperator", "replacement": replacement,
                "span": {"start": place(start), "end": place(end)}
            }))
            .expect("a mutant")
        };
        let source = "fn f() {\n    let ä = 1;\n    ä < 2\n}\n";
        let less = mutant((3, 7), (3, 8), "==");
        let changed = replaced(source, &less).expect("it is there");
        assert_eq!(changed, "fn f() {\n    let ä = 1;\n    ä ==  2\n}\n");
        let body = mutant((2, 5), (3, 10), "true");
        let changed = replaced(source, &body).expect("it is there");
        assert_eq!(changed, "fn f() {\n    true \n}\n");
        assert_eq!(replaced(source, &mutant((9, 1), (9, 2), "")), None);
        assert_eq!(replaced(source, &mutant((3, 7), (2, 1), "")), None);
    }
}
