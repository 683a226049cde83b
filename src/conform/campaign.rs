//! Many programs, on several peers at once: what was seen, and what must not have been.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use blockjob_model::Profile;

use super::against;
use super::cover::Cover;
use super::divergence::{Divergence, Known};
use super::generate::{Abilities, Provocation};
use super::identity::Identity;
use super::peer::Source;
use super::program::Program;
use super::shrink::shrink;
use super::station::Station;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Where peers come from.
    pub source: Source,
    /// Where those come from that every program is run on too.
    pub against: Option<Source>,
    /// By whose rules they are judged; `None`: by those of whoever greets.
    pub profile: Option<&'static Profile>,
    /// How many programs.
    pub runs: u64,
    /// How many commands a program has at most, its nodes not counted.
    pub commands: usize,
    /// What the programs follow from.
    pub seed: u64,
    /// How many peers at once.
    pub peers: usize,
    /// How long a peer may be silent while something is due.
    pub limit: Duration,
    /// The deviations that are known.
    pub known: Vec<Known>,
    /// What may end a peer is done: its nodes are meddled with, and, if there are programs enough, known deviations
    /// are shown, each once.
    pub provoke: bool,
    /// A divergence is shrunk.
    pub shrink: bool,
}

/// From so many programs on, deviations that cost a peer are shown too.
const PROVOKED_FROM: u64 = 20;

/// A divergence that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The number of the program, from 0.
    pub number: u64,
    /// The program, as short as it could be made.
    pub program: Program,
    /// What it shows.
    pub divergence: Divergence,
    /// It is known, by this id.
    pub known: Option<String>,
    /// It was shown again when the program was run again; `None`: it was not tried.
    pub again: Option<bool>,
}

/// How far it is, for whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    /// Programs done.
    pub programs: AtomicU64,
    /// Divergences found that are not known.
    pub divergences: AtomicU64,
    /// Something is being shrunk.
    pub shrinking: AtomicBool,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// Who was driven.
    pub peer: Identity,
    /// Who was driven beside.
    pub against: Option<Identity>,
    /// Programs run.
    pub programs: u64,
    /// Commands sent, events received.
    pub counts: (u64, u64),
    /// How long it took.
    pub took: Duration,
    /// How long a program took, in the middle of all.
    pub median: Duration,
    /// How many peers it took.
    pub started: u64,
    /// What was seen of the tables.
    pub cover: Cover,
    /// What was found, in the order of the programs.
    pub found: Vec<Found>,
    /// How often each known deviation was met, by id.
    pub known: BTreeMap<String, u64>,
    /// How many were compared with the other peer.
    pub compared: u64,
    /// It was asked to end before it was done.
    pub interrupted: bool,
    /// Why it ended before it was done, where no peer was left.
    pub failure: Option<io::Error>,
}

/// What the stations share.
struct Shared {
    cover: Cover,
    found: Vec<Found>,
    known: BTreeMap<String, u64>,
    counts: (u64, u64),
    times: Vec<Duration>,
    compared: u64,
    started: u64,
    failure: Option<io::Error>,
}

/// Does it. `tell` is called for each divergence as it is found, `stop` ends it early.
///
/// # Errors
/// No peer can be started.
pub fn run(
    campaign: &Campaign,
    progress: &Progress,
    stop: &Arc<AtomicBool>,
    tell: &(dyn Fn(&Found) + Sync),
) -> io::Result<Report> {
    let begun = Instant::now();
    let station = |source: &Source| Station::new(source, campaign.profile, campaign.limit, stop);
    let mut first = station(&campaign.source)?;
    let identity = first.identity()?;
    let mut first_other = match &campaign.against {
        // The profile that is given is that of the first.
        Some(source) => Some(Station::new(source, None, campaign.limit, stop)?),
        None => None,
    };
    let other = match &mut first_other {
        Some(other) => Some(other.identity()?),
        None => None,
    };
    let mut abilities = match &other {
        Some(other) => both(&identity.abilities, &other.abilities),
        None => identity.abilities.clone(),
    };
    // Where two are compared, what ends the one says nothing of the other; and who finds a node busy is a matter of
    // how far the jobs are.
    abilities.expendable &= campaign.provoke && other.is_none();
    let provocations = if abilities.expendable && campaign.runs >= PROVOKED_FROM {
        provocations(&abilities, identity.profile)
    } else {
        Vec::new()
    };
    let shared = Mutex::new(Shared {
        cover: Cover::default(),
        found: Vec::new(),
        known: BTreeMap::new(),
        counts: (0, 0),
        times: Vec::new(),
        compared: 0,
        started: 0,
        failure: None,
    });
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let work = |mut station: Station, mut other: Option<Station>| {
        let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
        while !stop.load(Ordering::Relaxed) && !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= campaign.runs {
                break;
            }
            // Behind some ordinary programs, so that those are not late.
            let provoke = number
                .checked_sub(PROVOKED_FROM / 2)
                .and_then(|place| provocations.get(place as usize).copied())
                .unwrap_or(Provocation::None);
            let seed = campaign.seed ^ (number + 1).wrapping_mul(0x2545_f491_4f6c_dd1d);
            let seen = lock().cover.clone();
            let began = Instant::now();
            let result = (|| {
                let (program, outcome) =
                    station.make(seed, campaign.commands, &seen, &abilities, provoke)?;
                let took = began.elapsed();
                {
                    let mut shared = lock();
                    shared.cover.add(&outcome.ended.cover);
                    shared.counts.0 += outcome.ended.counts.0;
                    shared.counts.1 += outcome.ended.counts.1;
                    shared.times.push(took);
                }
                let mut divergence = outcome.divergence.clone();
                let mut profile = outcome.profile;
                let mut compared = None;
                if divergence.is_none()
                    && let Some(other) = &mut other
                {
                    let shown = against::run(&outcome, other, &program)?;
                    lock().compared += 1;
                    (divergence, profile) =
                        shown.map_or((None, profile), |(found, rules)| (Some(found), rules));
                    compared = Some(other);
                }
                let Some(divergence) = divergence else {
                    return Ok(());
                };
                let known = campaign
                    .known
                    .iter()
                    .find(|known| known.explains(&divergence, profile));
                let mut found = Found {
                    number,
                    program,
                    divergence,
                    known: known.map(|known| known.id.clone()),
                    again: None,
                };
                if known.is_none() {
                    progress.divergences.fetch_add(1, Ordering::Relaxed);
                }
                if known.is_none() && campaign.shrink {
                    progress.shrinking.store(true, Ordering::Relaxed);
                    let mut play = |part: &Program| {
                        let outcome = station.play(part)?;
                        match &mut compared {
                            Some(other) if outcome.divergence.is_none() => {
                                let shown = against::run(&outcome, other, part)?;
                                Ok(shown.map(|(found, _)| found))
                            }
                            // What the one shows is not what the two differ in.
                            Some(_) => Ok(None),
                            None => Ok(outcome.divergence),
                        }
                    };
                    let shrunk =
                        shrink(&mut play, found.program.clone(), found.divergence.clone())?;
                    progress.shrinking.store(false, Ordering::Relaxed);
                    found.program = shrunk.program;
                    found.divergence = shrunk.divergence;
                    found.again = Some(shrunk.again);
                }
                found.program.profile = Some(profile);
                tell(&found);
                let mut shared = lock();
                if let Some(id) = &found.known {
                    *shared.known.entry(id.clone()).or_default() += 1;
                }
                shared.found.push(found);
                Ok(())
            })();
            progress.programs.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = result {
                failed.store(true, Ordering::Relaxed);
                lock().failure.get_or_insert(error);
            }
        }
        lock().started += station.started + other.map_or(0, |other| other.started);
    };
    let peers = (campaign.peers.max(1) as u64).min(campaign.runs.max(1));
    thread::scope(|scope| {
        for _ in 1..peers {
            scope.spawn(|| {
                let stations = station(&campaign.source).and_then(|mine| {
                    let other = campaign.against.as_ref();
                    let other = other
                        .map(|source| Station::new(source, None, campaign.limit, stop))
                        .transpose()?;
                    Ok((mine, other))
                });
                match stations {
                    Ok((mine, other)) => work(mine, other),
                    Err(error) => {
                        failed.store(true, Ordering::Relaxed);
                        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        shared.failure.get_or_insert(error);
                    }
                }
            });
        }
        work(first, first_other);
    });
    let mut shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    let failure = shared
        .failure
        .take()
        .filter(|error| error.kind() != io::ErrorKind::Interrupted);
    shared.times.sort_unstable();
    shared.found.sort_by_key(|found| found.number);
    Ok(Report {
        peer: identity,
        against: other,
        programs: shared.times.len() as u64,
        counts: shared.counts,
        took: begun.elapsed(),
        median: shared
            .times
            .get(shared.times.len() / 2)
            .copied()
            .unwrap_or_default(),
        started: shared.started,
        cover: shared.cover,
        found: shared.found,
        known: shared.known,
        compared: shared.compared,
        interrupted: stop.load(Ordering::Relaxed),
        failure,
    })
}

/// What both can do.
fn both(one: &Abilities, other: &Abilities) -> Abilities {
    let commands: BTreeSet<String> = one
        .commands
        .intersection(&other.commands)
        .cloned()
        .collect();
    Abilities {
        commands,
        faults: one.faults && other.faults,
        expendable: one.expendable && other.expendable,
    }
}

/// The deviations that end a peer, of those that are driven.
fn provocations(abilities: &Abilities, profile: &Profile) -> Vec<Provocation> {
    let can = |command: &str| abilities.commands.contains(command);
    let mut all = Vec::new();
    if !profile.unstarted_peers_end && can("transaction") && can("blockdev-backup") {
        all.push(Provocation::GroupAbort);
    }
    if !profile.complete_is_latched && can("blockdev-mirror") {
        all.push(Provocation::TwoCompletes);
    }
    all
}
