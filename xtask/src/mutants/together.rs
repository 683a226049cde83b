//! `cargo xtask mutants --together`: all mutants in one build, each behind a switch.

use std::fs;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use super::list::{self, Mutant};
use super::results::{Fate, Results};
use super::run::{Patience, Tests};
use super::{Options, apart, build};
use crate::prove;

/// Tries every mutant of the part that has not been tried, and prints what became of all.
pub fn start(options: &Options) -> Result<ExitCode, String> {
    let part = options.part;
    let folder = prove::target()
        .join("mutants")
        .join(format!("{}-together", part.name()));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mutants = list::list(part, &options.rest)?;
    let whole = if options.whole { "whole" } else { "quick" };
    let path = folder.join(format!("{whole}.jsonl"));
    let mut results = Results::open(&path, part.folder())?;
    let open = |results: &Results| -> Vec<(usize, Mutant)> {
        let numbered = mutants.iter().cloned().enumerate();
        numbered
            .filter(|(_, mutant)| match results.fate(mutant) {
                None => true,
                Some(Fate::Hangs) => options.confirm,
                Some(_) => false,
            })
            .collect()
    };
    let switched = !(options.report || options.apart);
    if switched && !open(&results).is_empty() {
        eprintln!(
            "mutants: {} of {} to try",
            open(&results).len(),
            mutants.len()
        );
        let built = build::build(part, &mutants, &part.tests(options.whole, true)?, &folder)?;
        for (fate, numbers) in [
            (Fate::Unviable, &built.out.unviable),
            (Fate::Apart, &built.out.apart),
        ] {
            for &number in numbers {
                results.note(&mutants[number], fate, "", 0.0)?;
            }
        }
        let jobs = options.jobs.unwrap_or(part.jobs());
        let chosen =
            |name: &str| options.whole || !part.slow().iter().any(|slow| name.contains(slow));
        let patience = if options.confirm {
            Patience::SECOND
        } else {
            Patience::FIRST
        };
        let tests = Tests::measure(
            &built,
            part.folder(),
            &folder.join("run"),
            jobs,
            patience,
            chosen,
        )?;
        let (count, took) = tests.total();
        eprintln!(
            "mutants: {count} tests take {:.0} s without a mutant",
            took.as_secs_f64()
        );
        let todo = open(&results);
        let todo: Vec<(usize, &Mutant)> = todo
            .iter()
            .map(|(number, mutant)| (*number, mutant))
            .collect();
        let noted = Mutex::new(results);
        tests.try_all(&todo, &noted)?;
        results = noted.into_inner().unwrap_or_else(PoisonError::into_inner);
    }
    if options.apart {
        let noted = Mutex::new(results);
        apart::start(options, &mutants, &noted, &folder)?;
        results = noted.into_inner().unwrap_or_else(PoisonError::into_inner);
    }
    println!("{}", results.report(&mutants));
    let missed = |mutant: &Mutant| {
        !matches!(
            results.fate(mutant),
            Some(Fate::Caught | Fate::Hangs | Fate::Unviable)
        )
    };
    // As cargo-mutants has it.
    Ok(ExitCode::from(if mutants.iter().any(missed) {
        2
    } else {
        0
    }))
}
