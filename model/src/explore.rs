//! The explorer: every world the specification can come to, and whether everything that must
//! hold holds there.
//!
//! Breadth first, so that a counterexample is a shortest one. It checks every property of
//! [`crate::property`], that no world is stuck unless it waits for its user, that every step is
//! one of the coarse machine ([`crate::lifecycle`]), and counts which cells of the two tables
//! were taken. The search is over the scenarios of [`scenarios`]: one transaction each, with
//! fixed members and fixed [`Bounds`]; within them it is complete.
//!
//! ```
//! use blockjob_model::{explore, profile};
//!
//! let options = explore::Options::new(&profile::REFERENCE, 1)?;
//! let report = explore::run(&options, |_| {});
//! assert!(report.held());
//! println!("{} states, {} transitions", report.states, report.transitions);
//! # Ok::<(), explore::BadOptions>(())
//! ```

use core::fmt;

use crate::lifecycle::Lifecycle;
use crate::profile::Profile;
use crate::property::{self, Property};
use crate::state::{JobSpec, World};
use crate::status::Status;
use crate::step::{Next, Output};
use crate::verb::Verb;

mod collapse;
mod environment;
pub mod liveness;
mod memory;
mod met;
mod pack;
mod pair;
mod search;
mod seen;

pub use environment::{Bounds, Move};
use liveness::{Assumptions, Graph, Liveness};
pub use pair::{PairReport, side_by_side};
use search::Search;

/// What to explore.
#[derive(Clone)]
pub struct Options {
    /// Whose rules.
    pub profile: &'static Profile,
    /// Members of the transaction.
    pub jobs: usize,
    /// What must hold in every world, or at every step.
    pub properties: Vec<Property>,
    /// What must happen at last; up to [`Options::LIVENESS_JOBS_MAX`] jobs.
    pub liveness: Vec<Liveness>,
    /// What is assumed for that.
    pub assumptions: Assumptions,
    /// Give up a scenario at this many worlds; the report then says so.
    pub states_max: usize,
}

/// Why options cannot be explored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadOptions {
    /// Not between one and [`Options::JOBS_MAX`].
    Jobs(usize),
    /// No property has this number.
    Property(String),
    /// This property speaks of what must happen at last, and there are too many jobs for that.
    TooMany(String),
}

impl fmt::Display for BadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadOptions::Jobs(jobs) => write!(
                f,
                "cannot explore {jobs} jobs: the search takes 1 to {}",
                Options::JOBS_MAX
            ),
            BadOptions::Property(id) => {
                let safe = property::ALL.iter().map(|known| known.id);
                let lively = liveness::ALL.iter().map(|known| known.id);
                let known: Vec<_> = safe.chain(lively).collect();
                write!(f, "no property `{id}` here; there are {}", known.join(", "))
            }
            BadOptions::TooMany(id) => write!(
                f,
                "{id} speaks of what must happen at last, which is searched for at most {} jobs",
                Options::LIVENESS_JOBS_MAX
            ),
        }
    }
}

impl std::error::Error for BadOptions {}

impl Options {
    /// The most members anybody has the time to explore.
    pub const JOBS_MAX: usize = 3;

    /// The most members whose endless stories fit into memory, each step of them.
    pub const LIVENESS_JOBS_MAX: usize = 2;

    /// Every property, for one transaction of `jobs` members.
    pub fn new(profile: &'static Profile, jobs: usize) -> Result<Options, BadOptions> {
        if jobs == 0 || jobs > Options::JOBS_MAX {
            return Err(BadOptions::Jobs(jobs));
        }
        Ok(Options {
            profile,
            jobs,
            properties: property::ALL.to_vec(),
            liveness: if jobs <= Options::LIVENESS_JOBS_MAX {
                liveness::ALL.to_vec()
            } else {
                Vec::new()
            },
            assumptions: Assumptions::ALL,
            states_max: 100_000_000,
        })
    }

    /// Checks only the properties with these numbers.
    pub fn only<'a>(
        mut self,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> Result<Options, BadOptions> {
        let lively = self.jobs <= Options::LIVENESS_JOBS_MAX;
        self.properties.clear();
        self.liveness.clear();
        for id in ids {
            if let Some(&property) = Property::by_id(id) {
                self.properties.push(property);
            } else if let Some(&property) = Liveness::by_id(id).filter(|_| lively) {
                self.liveness.push(property);
            } else if Liveness::by_id(id).is_some() {
                return Err(BadOptions::TooMany(id.to_owned()));
            } else {
                return Err(BadOptions::Property(id.to_owned()));
            }
        }
        Ok(self)
    }
}

/// One initial world and how far it is let go.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is about, for people.
    pub name: String,
    /// Its members, oldest first.
    pub specs: Vec<JobSpec>,
    /// Its bounds.
    pub bounds: Bounds,
}

/// What a search over one scenario came to.
#[derive(Clone, Debug)]
pub struct ScenarioReport {
    /// The scenario.
    pub scenario: Scenario,
    /// Worlds met.
    pub states: u64,
    /// Steps made.
    pub transitions: u64,
    /// Steps from the beginning to the farthest world.
    pub depth: u32,
    /// It met every world within its bounds, and was not cut short.
    pub complete: bool,
    /// The search for endless stories, where there was one.
    pub liveness: Option<LivenessReport>,
}

/// The graph in which endless stories were looked for: worlds without what was seen of them so far.
#[derive(Clone, Copy, Debug)]
pub struct LivenessReport {
    /// Its bounds.
    pub bounds: Bounds,
    /// Its worlds.
    pub states: u64,
    /// Its steps.
    pub transitions: u64,
    /// It has every world within its bounds.
    pub complete: bool,
}

impl ScenarioReport {
    /// Nothing was cut short.
    pub fn is_whole(&self) -> bool {
        self.complete && self.liveness.is_none_or(|graph| graph.complete)
    }
}

/// What became of a property.
#[derive(Clone, Debug)]
pub struct PropertyReport {
    /// Its number.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub sentence: &'static str,
    /// Nothing contradicted it.
    pub held: bool,
    /// How far that reaches.
    pub bound: String,
    /// The shortest way to break it; for what must happen at last, an endless one.
    pub counterexample: Option<Vec<String>>,
}

/// Which cells of the tables the search took, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Row = from, column = to.
    pub transitions: [[u64; Status::COUNT]; Status::COUNT],
    /// Row = verb, column = status: different states of a member, its main loop busy or not, in
    /// which the verb was accepted.
    pub accepted: [[u64; Status::COUNT]; Verb::COUNT],
    /// Row = verb, column = status: those in which it was refused.
    pub refused: [[u64; Status::COUNT]; Verb::COUNT],
    /// Row = from, column = to, without stutters.
    pub lifecycle: [[u64; Lifecycle::COUNT]; Lifecycle::COUNT],
}

impl Coverage {
    /// Pairs of statuses the table allows and the search did not take.
    ///
    /// The silent `aborting → aborting` is no step and is not counted.
    pub fn transitions_missed(&self) -> Vec<(Status, Status)> {
        let pairs = Status::ALL
            .into_iter()
            .flat_map(|from| Status::ALL.map(|to| (from, to)));
        pairs
            .filter(|&(from, to)| from != to && from.may_become(to))
            .filter(|&(from, to)| self.transitions[from as usize][to as usize] == 0)
            .collect()
    }

    /// Steps the coarse lifecycle allows and the search did not take.
    pub fn lifecycle_missed(&self) -> Vec<(Lifecycle, Lifecycle)> {
        let pairs = Lifecycle::ALL
            .into_iter()
            .flat_map(|from| from.next().iter().map(move |&to| (from, to)));
        pairs
            .filter(|&(from, to)| self.lifecycle[from as usize][to as usize] == 0)
            .collect()
    }

    /// Cells of the verb table in which the verb was never accepted though it is permitted, or
    /// never refused though it is not.
    pub fn verbs_missed(&self, profile: &Profile) -> Vec<(Verb, Status)> {
        let cells = Verb::ALL
            .into_iter()
            .flat_map(|verb| Status::ALL.map(|status| (verb, status)));
        cells
            .filter(|&(verb, status)| {
                let table = if profile.permits(verb, status) {
                    &self.accepted
                } else {
                    &self.refused
                };
                table[verb as usize][status as usize] == 0
            })
            .collect()
    }
}

/// What a search came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whose rules.
    pub profile: &'static str,
    /// Members of the transaction.
    pub jobs: usize,
    /// Worlds met, over every scenario.
    pub states: u64,
    /// Steps made.
    pub transitions: u64,
    /// The longest of the shortest ways to a world.
    pub depth: u32,
    /// Wall-clock seconds; the caller's to fill in, the search knows no clock.
    pub seconds: f64,
    /// One entry a property, then one for [`STUCK`] and one for [`LIFECYCLE`], then one for each of
    /// [`liveness`].
    pub properties: Vec<PropertyReport>,
    /// The cells of the tables that were taken.
    pub coverage: Coverage,
    /// One entry a scenario.
    pub scenarios: Vec<ScenarioReport>,
    /// Two transactions side by side, where there are members enough for that.
    pub pair: Option<PairReport>,
}

impl Report {
    /// Every property held, and no scenario was cut short.
    pub fn held(&self) -> bool {
        self.properties.iter().all(|property| property.held)
            && self.scenarios.iter().all(ScenarioReport::is_whole)
            && self
                .pair
                .as_ref()
                .is_none_or(|pair| pair.counterexample.is_none())
    }
}

/// The number under which a stuck world is reported.
pub const STUCK: &str = "STUCK";
/// The number under which a step outside the coarse machine is reported.
pub const LIFECYCLE: &str = "LIFECYCLE";

/// The number under which two transactions that get in each other's way are reported.
pub const PAIR: &str = "PAIR";

const PAIR_SENTENCE: &str = "Two transactions share the main loop's time and nothing else: no callbacks overlap, and neither loses a world or a step to the other.";
const STUCK_SENTENCE: &str = "Whoever has no step left waits for a request, and one is there.";
const LIFECYCLE_SENTENCE: &str = "Every step is a stutter or a step of the coarse lifecycle.";

/// How far a search is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Worlds met so far, over every scenario.
    pub states: u64,
    /// Worlds whose steps have not been made.
    pub open: u64,
    /// The depth it works at.
    pub depth: u32,
}

/// A relation to explore: calls back with every move, where it leads, and what can be seen of it.
///
/// The specification's own is [`moves`]; tests wrap it to see the explorer find what they broke.
pub type Relation<'a> =
    dyn Fn(&World, &Profile, Bounds, &mut dyn FnMut(Move, Next<'_>, Option<Output>)) + 'a;

/// Everything that may happen next in `world`, requests included: the specification's relation.
pub fn moves(
    world: &World,
    profile: &Profile,
    bounds: Bounds,
    visit: &mut dyn FnMut(Move, Next<'_>, Option<Output>),
) {
    environment::moves(world, profile, bounds, visit);
}

/// What is explored for a transaction of so many members.
pub fn scenarios(jobs: usize, profile: &Profile) -> Vec<Scenario> {
    let plain = JobSpec::PLAIN;
    let mirror = JobSpec {
        can_complete: true,
        needs_finish: true,
        ..plain
    };
    let either = JobSpec {
        can_complete: true,
        ..plain
    };
    let manual = |spec| JobSpec {
        auto_finalize: false,
        auto_dismiss: false,
        ..spec
    };
    // QEMU's counterpart of pause_all, the drained section, is a silent step of its profile.
    let tokens_max = u8::from(!profile.internal_pauses);
    let wide = Bounds {
        io_max: 2,
        tokens_max: 2 * tokens_max,
        points: true,
        late_reads: true,
        io_errors: true,
        set_speed: true,
        callback_edges: true,
        sleeps: false,
        drains: false,
    };
    // Sections are begun with tokens.
    let drains = tokens_max > 0;
    // What a sleep or a drained section adds depends on neither flags nor edges.
    let resting = Bounds {
        io_max: 1,
        tokens_max,
        late_reads: false,
        callback_edges: false,
        sleeps: true,
        drains,
        ..wide
    };
    let narrow = Bounds {
        io_max: 0,
        tokens_max,
        points: true,
        late_reads: false,
        io_errors: true,
        set_speed: true,
        callback_edges: false,
        sleeps: false,
        drains: false,
    };
    let all_but_io = Bounds {
        sleeps: true,
        drains,
        ..narrow
    };
    let scenario = |name: &str, specs: Vec<JobSpec>, bounds| Scenario {
        name: name.to_owned(),
        specs,
        bounds,
    };
    match jobs {
        1 => {
            let mut all = Vec::new();
            for (kind, spec) in [
                ("plain", plain),
                ("may be completed", either),
                ("must be completed", mirror),
            ] {
                for auto_finalize in [true, false] {
                    for auto_dismiss in [true, false] {
                        for block in [true, false] {
                            let spec = JobSpec {
                                auto_finalize,
                                auto_dismiss,
                                block,
                                ..spec
                            };
                            let name = format!(
                                "{kind}, {} finalize, {} dismiss{}",
                                if auto_finalize { "automatic" } else { "manual" },
                                if auto_dismiss { "automatic" } else { "manual" },
                                if block { "" } else { ", no block job" },
                            );
                            all.push(scenario(&name, vec![spec], wide));
                        }
                    }
                }
                let name = format!("{kind}, with sleeps and drained sections");
                all.push(scenario(&name, vec![spec], resting));
            }
            all
        }
        2 => vec![
            scenario(
                "two plain jobs",
                vec![plain, plain],
                Bounds {
                    io_max: 1,
                    tokens_max,
                    points: true,
                    late_reads: false,
                    io_errors: true,
                    set_speed: true,
                    callback_edges: false,
                    sleeps: false,
                    drains: false,
                },
            ),
            scenario(
                "an older plain one decided by hand, a newer one that may be completed",
                vec![manual(plain), either],
                all_but_io,
            ),
            scenario(
                "an older one that must be completed, a newer plain one decided by hand",
                vec![mirror, manual(plain)],
                all_but_io,
            ),
            scenario(
                "two plain jobs, with sleeps and drained sections",
                vec![plain, plain],
                all_but_io,
            ),
        ],
        _ => {
            let mut specs = vec![plain; jobs];
            specs[0] = manual(plain);
            vec![scenario(
                "plain jobs, the oldest decided by hand",
                specs,
                Bounds {
                    set_speed: false,
                    points: false,
                    io_errors: false,
                    ..narrow
                },
            )]
        }
    }
}

/// Explores what [`scenarios`] lists for these options.
///
/// `progress` is called every few thousand worlds.
pub fn run(options: &Options, mut progress: impl FnMut(Progress)) -> Report {
    let scenarios = scenarios(options.jobs, options.profile);
    let mut report = run_scenarios(options, scenarios, &mut progress);
    if options.jobs > 2 {
        let pair = side_by_side(options.profile, two_and_one(), true);
        report.properties.push(PropertyReport {
            id: PAIR,
            name: "transactions-share-the-main-loop",
            sentence: PAIR_SENTENCE,
            held: pair.counterexample.is_none(),
            bound: "a transaction of two beside one of one".to_owned(),
            counterexample: pair.counterexample.clone(),
        });
        report.pair = Some(pair);
    }
    report
}

/// A transaction of two and one of one, which share a main loop.
pub fn two_and_one() -> [Scenario; 2] {
    let bounds = Bounds {
        io_max: 0,
        tokens_max: 0,
        points: false,
        late_reads: false,
        io_errors: false,
        set_speed: false,
        callback_edges: true,
        sleeps: false,
        drains: false,
    };
    let plain = JobSpec::PLAIN;
    let manual = JobSpec {
        auto_finalize: false,
        auto_dismiss: false,
        ..plain
    };
    [
        (
            "two plain jobs, the older decided by hand",
            vec![manual, plain],
        ),
        ("one plain job", vec![plain]),
    ]
    .map(|(name, specs)| Scenario {
        name: name.to_owned(),
        specs,
        bounds,
    })
}

/// Explores these scenarios.
pub fn run_scenarios(
    options: &Options,
    scenarios: Vec<Scenario>,
    progress: &mut dyn FnMut(Progress),
) -> Report {
    search(options, scenarios, None, progress)
}

/// Explores these scenarios with this relation, whatever it is: nothing is taken from one world for
/// another.
pub fn run_over(
    options: &Options,
    scenarios: Vec<Scenario>,
    relation: &Relation<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Report {
    search(options, scenarios, Some(relation), progress)
}

/// Explores these scenarios, with the specification's relation if no other is given.
fn search(
    options: &Options,
    scenarios: Vec<Scenario>,
    relation: Option<&Relation<'_>>,
    progress: &mut dyn FnMut(Progress),
) -> Report {
    let mut report = Report {
        profile: options.profile.name,
        jobs: options.jobs,
        states: 0,
        transitions: 0,
        depth: 0,
        seconds: 0.0,
        properties: Vec::new(),
        coverage: Coverage::default(),
        scenarios: Vec::new(),
        pair: None,
    };
    let safe = options.properties.len() + 2;
    let mut shortest: Vec<Option<Vec<String>>> = vec![None; safe + options.liveness.len()];
    for scenario in scenarios {
        let mut search = Search::new(options, &scenario, relation, &mut report.coverage);
        let complete = search.run(report.states, progress);
        let mut done = ScenarioReport {
            states: search.states(),
            transitions: search.transitions,
            depth: search.depth,
            complete,
            scenario: scenario.clone(),
            liveness: None,
        };
        let mut found = search.found;
        found.resize(shortest.len(), None);
        if !options.liveness.is_empty() {
            let scenario = liveness::scenario(&scenario);
            let graph = Graph::new(options, &scenario, relation);
            done.liveness = Some(LivenessReport {
                bounds: scenario.bounds,
                states: graph.states(),
                transitions: graph.transitions(),
                complete: graph.complete,
            });
            for lasso in graph.lassos() {
                found[safe + lasso.property] = Some(lasso.story);
            }
        }
        for (shortest, found) in shortest.iter_mut().zip(found) {
            let Some(mut found) = found else { continue };
            found.insert(0, format!("with {}", scenario.name));
            if shortest
                .as_ref()
                .is_none_or(|known| found.len() < known.len())
            {
                *shortest = Some(found);
            }
        }
        report.states += done.states;
        report.transitions += done.transitions;
        report.depth = report.depth.max(done.depth);
        report.scenarios.push(done);
    }
    let complete = report.scenarios.iter().all(ScenarioReport::is_whole);
    let bound = format!(
        "one transaction of {} in {} scenario{}{}",
        report.jobs,
        report.scenarios.len(),
        if report.scenarios.len() == 1 { "" } else { "s" },
        if complete { "" } else { ", cut short" },
    );
    let named = options
        .properties
        .iter()
        .map(|property| (property.id, property.name, property.sentence))
        .chain([
            (STUCK, "nobody-is-stuck", STUCK_SENTENCE),
            (LIFECYCLE, "refines-the-lifecycle", LIFECYCLE_SENTENCE),
        ])
        .map(|named| (named, bound.clone()))
        .chain(options.liveness.iter().map(|property| {
            let named = (property.id, property.name, property.sentence);
            (named, format!("{bound}, {}", options.assumptions))
        }));
    report.properties = named
        .zip(shortest)
        .map(
            |(((id, name, sentence), bound), counterexample)| PropertyReport {
                id,
                name,
                sentence,
                held: counterexample.is_none(),
                bound,
                counterexample,
            },
        )
        .collect();
    report
}
