//! `cargo xtask museum`: real bugs, put into the code one at a time, that a named check must find.
//!
//! `proofs/museum/` holds a patch and a card for each ([`card`]). First every named check has to pass
//! without a patch. Then each patch is put into a copy of the project ([`lane`]) and its check is run:
//! *killed* means that it applied, compiled, and that the check failed by the rule its card names
//! ([`evidence`] says where that has to stand).
//! Where the check fails to do so every quick check is tried, and the mutant counts as survived all the
//! same: the card promises what does not happen.

mod card;
pub(crate) mod child;
mod evidence;
mod lane;
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::prove;
use crate::steps::root;
use card::{Card, Check, Fate};
use evidence::{end_of, hangs};
use lane::{Lane, Outcome};
use page::Collection;

/// What to try and how to say so.
#[derive(clap::Args)]
pub struct Options {
    /// Only part I of N of the patches: `--shard 1/2`.
    #[arg(long, value_name = "I/N", value_parser = prove::shard)]
    shard: Option<(usize, usize)>,
    /// Only this one; may be given again.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// So many copies at a time; as many as there are processors unless given.
    #[arg(long, value_name = "N")]
    lanes: Option<usize>,
    /// Where a named check misses, does not try the other quick checks as well.
    #[arg(long)]
    named: bool,
    /// Writes seconds and stories into the cards, and proofs/museum/README.md.
    #[arg(long)]
    record: bool,
    /// Only writes proofs/museum/README.md from the cards as they are.
    #[arg(long, conflicts_with = "record")]
    page: bool,
    /// One line of JSON for each instead of text.
    #[arg(long)]
    json: bool,
}

/// How long a check may take beside ten times what it takes without a patch …
const LIMIT: Duration = Duration::from_secs(120);

/// … and where its rule is that it hangs.
const LIMIT_OF_HANGS: Duration = Duration::from_secs(30);

/// How long a check may take of which nothing is known yet.
const LIMIT_UNKNOWN: Duration = Duration::from_secs(1200);

/// What became of one.
#[derive(Serialize)]
struct Report {
    id: String,
    /// `killed`, `survived`, `equivalent` or `broken`.
    fate: &'static str,
    check: Option<String>,
    /// Of the check alone.
    seconds: f64,
    /// With the builds.
    seconds_total: f64,
    /// What else there is to say.
    note: String,
    #[serde(skip)]
    story: String,
}

/// Reads the collection, tries it, reports.
pub fn run(options: &Options) -> ExitCode {
    let folder = root().join("proofs/museum");
    let collection = match Collection::read(&folder) {
        Ok(collection) => collection,
        Err(faults) => {
            for fault in faults {
                eprintln!("museum: {fault}");
            }
            return ExitCode::from(2);
        }
    };
    let answer = if options.page {
        write_page(&collection).map(|()| ExitCode::SUCCESS)
    } else {
        exhibit(options, &collection)
    };
    answer.unwrap_or_else(|reason| {
        eprintln!("museum: {reason}");
        ExitCode::from(2)
    })
}

fn write_page(collection: &Collection) -> Result<(), String> {
    let path = collection.page_path();
    fs::write(&path, collection.page()).map_err(|error| format!("{}: {error}", path.display()))
}

/// The cards that are asked for.
fn choose<'a>(options: &Options, collection: &'a Collection) -> Result<Vec<&'a Card>, String> {
    let known = |id: &String| collection.cards.iter().any(|card| card.id == *id);
    if let Some(unknown) = options.only.iter().find(|id| !known(id)) {
        return Err(format!("no card is called '{unknown}'"));
    }
    let mut cards: Vec<&Card> = collection
        .cards
        .iter()
        .filter(|card| options.only.is_empty() || options.only.contains(&card.id))
        .collect();
    if let Some((part, parts)) = options.shard {
        let mut place = 0;
        cards.retain(|_| {
            place += 1;
            place % parts == part % parts
        });
    }
    if cards.is_empty() {
        return Err("no card is left to try".to_owned());
    }
    Ok(cards)
}

fn exhibit(options: &Options, collection: &Collection) -> Result<ExitCode, String> {
    let begun = Instant::now();
    let cards = choose(options, collection)?;
    let checks: BTreeSet<Check> = cards
        .iter()
        .filter_map(|card| match &card.fate {
            Fate::Killed { check, .. } => Some(check.clone()),
            Fate::Equivalent { .. } => None,
        })
        .collect();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let count = options.lanes.unwrap_or(processors).clamp(1, cards.len());
    let build_jobs = (processors / count).max(1);
    let lanes: Vec<Lane> = (1..=count)
        .map(|number| Lane::new(number, build_jobs))
        .collect::<Result<_, _>>()?;
    for lane in &lanes {
        lane.restore()?;
    }

    let progress = Progress::new(checks.len() + cards.len());
    let passed = Mutex::new(BTreeMap::new());
    let checks: Vec<Check> = checks.into_iter().collect();
    in_lanes(&lanes, &checks, |lane, check| {
        progress.begin(&format!("{check}, unpatched"));
        let seconds = control(lane, check)?;
        lock(&passed).insert(check.clone(), seconds);
        progress.done();
        Ok(())
    })?;
    let passed = passed.into_inner().unwrap_or_else(PoisonError::into_inner);

    let reports = Mutex::new(BTreeMap::new());
    in_lanes(&lanes, &cards, |lane, card| {
        progress.begin(&card.id);
        let report = try_out(lane, options, collection, card, &passed)?;
        progress.clear();
        say(&report, options.json);
        if options.record {
            // At once: what is interrupted keeps what it has done.
            record(card, &report)?;
        }
        lock(&reports).insert(card.id.clone(), report);
        progress.done();
        Ok(())
    })?;
    for lane in &lanes {
        lane.restore()?;
    }
    let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);

    if options.record {
        let folder = root().join("proofs/museum");
        write_page(&Collection::read(&folder).map_err(|faults| faults.join("\n"))?)?;
    }
    let of = |fate: &str| {
        reports
            .values()
            .filter(|report| report.fate == fate)
            .count()
    };
    let (survived, broken) = (of("survived"), of("broken"));
    if !options.json {
        println!(
            "museum: {} killed, {survived} survived, {} equivalent, {broken} broken; {} checks passed \
             unpatched; {:.0} s",
            of("killed"),
            of("equivalent"),
            passed.len(),
            begun.elapsed().as_secs_f64()
        );
    }
    Ok(if survived + broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Does `work` on every item, an item at a time in each lane; the first error ends it.
fn in_lanes<L: Sync, T: Sync>(
    lanes: &[L],
    items: &[T],
    work: impl Fn(&L, &T) -> Result<(), String> + Sync,
) -> Result<(), String> {
    let queue = Mutex::new(items.iter());
    let fault = Mutex::new(None);
    thread::scope(|scope| {
        for lane in lanes {
            let (queue, fault, work) = (&queue, &fault, &work);
            scope.spawn(move || {
                loop {
                    // A statement of its own, so that the queue is free while the item is worked on.
                    let item = lock(queue).next();
                    let Some(item) = item else { return };
                    if lock(fault).is_some() {
                        return;
                    }
                    if let Err(reason) = work(lane, item) {
                        lock(fault).get_or_insert(reason);
                    }
                }
            });
        }
    });
    let fault = fault.into_inner().unwrap_or_else(PoisonError::into_inner);
    fault.map_or(Ok(()), Err)
}

/// A check without a patch has to pass; how long it takes.
fn control(lane: &Lane, check: &Check) -> Result<f64, String> {
    match lane.check(check, LIMIT_UNKNOWN)? {
        Outcome::Ran(ran) if ran.succeeded() => Ok(ran.seconds),
        Outcome::Ran(ran) => Err(format!(
            "{check} does not pass without a patch:\n{}",
            end_of(&ran.output)
        )),
        Outcome::Unbuilt(words) => Err(format!(
            "{check} does not build without a patch:\n{}",
            end_of(&words)
        )),
    }
}

fn try_out(
    lane: &Lane,
    options: &Options,
    collection: &Collection,
    card: &Card,
    passed: &BTreeMap<Check, f64>,
) -> Result<Report, String> {
    let begun = Instant::now();
    let mut report = Report {
        id: card.id.clone(),
        fate: "broken",
        check: None,
        seconds: 0.0,
        seconds_total: 0.0,
        note: String::new(),
        story: String::new(),
    };
    if let Err(words) = lane.put_in(&collection.patch(&card.id)) {
        report.note = format!("does not apply:\n{}", end_of(&words));
        return Ok(report);
    }
    match &card.fate {
        Fate::Equivalent { .. } => {
            let ran = lane.compile()?;
            if ran.succeeded() {
                report.fate = "equivalent";
            } else {
                report.note = format!("does not compile:\n{}", end_of(&ran.output));
            }
        }
        Fate::Killed { check, rule, .. } => {
            report.check = Some(check.to_string());
            let usual = passed.get(check).copied().unwrap_or(0.0);
            let least = if hangs(rule) { LIMIT_OF_HANGS } else { LIMIT };
            let limit = least + Duration::from_secs_f64(usual * 10.0);
            match lane.check(check, limit) {
                Ok(Outcome::Unbuilt(words)) => {
                    report.note = format!("does not compile:\n{}", end_of(&words));
                }
                Ok(Outcome::Ran(ran)) => {
                    report.seconds = ran.seconds;
                    let (fate, mut note) = evidence::judge(check, &ran, rule);
                    report.fate = fate;
                    report.story = evidence::story(check, &ran.output, rule);
                    if fate == "survived" && !options.named {
                        let found = match lane.quick_checks(LIMIT_UNKNOWN)? {
                            Some(name) => format!("found by {name}"),
                            None => "no quick check finds it".to_owned(),
                        };
                        note = format!("{note}; {found}");
                    }
                    report.note = note;
                }
                Err(reason) => report.note = reason,
            }
        }
    }
    report.seconds_total = begun.elapsed().as_secs_f64();
    Ok(report)
}

fn say(report: &Report, json: bool) {
    if json {
        if let Ok(line) = serde_json::to_string(report) {
            println!("{line}");
        }
        return;
    }
    let Report {
        id,
        fate,
        check,
        seconds,
        seconds_total,
        note,
        ..
    } = report;
    let check = check.as_deref().unwrap_or("-");
    let note = if note.is_empty() {
        String::new()
    } else {
        format!(": {note}")
    };
    println!("{fate:<10}  {id:<5}  {seconds:>6.1} s of {seconds_total:>6.1} s  {check}{note}");
}

/// Writes what was measured into the card, if the mutant was killed.
fn record(card: &Card, report: &Report) -> Result<(), String> {
    if report.fate != "killed" {
        return Ok(());
    }
    let fault = |error| format!("{}: {error}", card.path.display());
    let text = fs::read_to_string(&card.path).map_err(fault)?;
    let text = Card::record(&text, report.seconds, &report.story);
    fs::write(&card.path, text).map_err(fault)
}

/// Which of how many, on a terminal.
struct Progress {
    all: usize,
    state: Mutex<(usize, Vec<String>)>,
    shown: bool,
}

impl Progress {
    fn new(all: usize) -> Progress {
        Progress {
            all,
            state: Mutex::default(),
            shown: std::io::stderr().is_terminal(),
        }
    }

    fn begin(&self, what: &str) {
        let mut state = lock(&self.state);
        state.1.push(what.to_owned());
        let recent = state.1.len().saturating_sub(1);
        self.show(&format!(
            "museum: {} of {}, {}",
            state.0, self.all, state.1[recent]
        ));
    }

    fn done(&self) {
        lock(&self.state).0 += 1;
    }

    fn clear(&self) {
        self.show("");
    }

    fn show(&self, text: &str) {
        if self.shown {
            let mut stderr = std::io::stderr();
            let _ = write!(stderr, "\r\x1b[2K{text}");
            let _ = stderr.flush();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn the_lanes_work_at_the_same_time() {
        // Each of the two goes on only when both have begun; alone it would wait for ever.
        let (first, second) = (mpsc::channel(), mpsc::channel());
        let ends = [
            Mutex::new((first.0, second.1)),
            Mutex::new((second.0, first.1)),
        ];
        let both = in_lanes(&[(), ()], &ends, |(), end| {
            let end = lock(end);
            end.0.send(()).map_err(|error| error.to_string())?;
            let patience = Duration::from_secs(60);
            end.1
                .recv_timeout(patience)
                .map_err(|error| error.to_string())
        });
        assert_eq!(both, Ok(()));
        let none = in_lanes(&[()], &[1, 2], |(), number| Err(format!("{number} fails")));
        assert_eq!(none, Err("1 fails".to_owned()));
    }
}
