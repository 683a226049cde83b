//! Worlds at random under schedules at random, and what is done with one that fails: it is saved, made
//! smaller, and played once more with its story told.
//!
//! Making it smaller happens in a process of its own. Each of its attempts that fails, and most do, says
//! so in the tool's words, and nobody wants to read those.

use std::path::Path;
#[cfg(blockjob_shuttle)]
use std::path::PathBuf;

use crate::explore::{Count, How};
use crate::harness::Worlds;

/// Schedules drawn for each world that is tried in making a world smaller, beside the one that is known.
pub const SCHEDULES_A_WORLD: usize = 50;
/// Worlds tried before a world is small enough.
pub const WORLDS_TRIED_MAX: usize = 2_000;

/// The file was played and the rule broke: as a process that ended with a story.
#[cfg(blockjob_shuttle)]
const FAILED: u8 = 101;
/// The file cannot be used.
const UNUSABLE: u8 = 2;

/// Plays the worlds of a part.
///
/// The process ends where one of them fails, with the story of a smaller one.
#[cfg(blockjob_shuttle)]
pub fn run(harness: &str, worlds: Worlds, how: How) -> Count {
    use crate::generate::Choices;
    use crate::harness::Case;
    use crate::world::World;
    use under_shuttle::{Play, draw};

    let play = Play::new(how.judged);
    let mut count = Count::default();
    for number in (how.part - 1..worlds.worlds).step_by(how.parts as usize) {
        if how.only.is_some_and(|only| only as u64 != number + 1) {
            continue;
        }
        let mut choices = Choices::new(worlds.seed, number);
        let scenario = draw(worlds.draw, &mut choices);
        let seed = choices.number();
        let failed = play.drawn(&scenario, worlds.draws, seed, worlds.schedules);
        if let Err((rule, schedule)) = failed {
            let world = World {
                rule,
                found: format!("{harness}, seed {}, world {}", worlds.seed, number + 1),
                scenario,
                schedule,
            };
            let about = crate::story::about::case(&Case::Scenario(world.scenario.clone()));
            eprintln!("{}: {}", world.found, about.join("; "));
            std::process::exit(tell(&save(harness, number + 1, &world)).into());
        }
        count.programs += 1;
    }
    Count {
        programs: count.programs,
        ..play.count()
    }
}

/// As above.
#[cfg(not(blockjob_shuttle))]
pub fn run(_: &str, _: Worlds, _: How) -> Count {
    crate::explore::not_for_shuttle()
}

/// Makes the world of a file smaller, and plays it. The exit code.
#[cfg(blockjob_shuttle)]
fn tell(path: &Path) -> u8 {
    use std::process::{Command, Stdio};

    let child = |what: &str| {
        let program = std::env::current_exe().unwrap_or_default();
        let mut command = Command::new(program);
        command.arg(what).arg(path);
        command
    };
    match child("--shrink").stderr(Stdio::null()).output() {
        Ok(output) => eprint!("{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => eprintln!("it stays as it is: {error}"),
    }
    match child("--replay").status() {
        Ok(status) if status.code() == Some(FAILED.into()) => {}
        Ok(status) => eprintln!("played again it ends otherwise: {status}"),
        Err(error) => eprintln!("it is not played again: {error}"),
    }
    FAILED
}

#[cfg(blockjob_shuttle)]
fn save(harness: &str, number: u64, world: &crate::world::World) -> PathBuf {
    let folder = crate::story::teller::pages();
    let path = folder.join(format!("{harness}-{number}.world"));
    let written =
        std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, world.write()));
    if let Err(error) = written {
        eprintln!(
            "{} cannot be written: {error}; it would say\n{}",
            path.display(),
            world.write()
        );
    }
    path
}

/// Plays the world of a file under its schedule. The exit code: 101 if a rule breaks, whose story is told; 0
/// if none does; 2 if the file cannot be used.
#[cfg(blockjob_shuttle)]
pub fn replay(path: &Path) -> u8 {
    let world = match read(path) {
        Ok(world) => world,
        Err(reason) => {
            eprintln!("{reason}");
            return UNUSABLE;
        }
    };
    crate::story::teller::end_after_the_story();
    let missed = under_shuttle::told(&world, path);
    println!(
        "{}: every rule holds; {} broke when it was saved",
        path.display(),
        world.rule
    );
    if missed > 0 {
        println!(
            "the engine waits elsewhere by now: {missed} turns of the schedule could not be done as they are written"
        );
    }
    0
}

/// Makes the world of a file smaller and says on stdout what came of it. The exit code.
#[cfg(blockjob_shuttle)]
pub fn shrink(path: &Path) -> u8 {
    use crate::shrink::size;

    let mut world = match read(path) {
        Ok(world) => world,
        Err(reason) => {
            eprintln!("{reason}");
            return UNUSABLE;
        }
    };
    let shrunk = under_shuttle::smaller(&world);
    println!(
        "made smaller by {} worlds with {SCHEDULES_A_WORLD} schedules each: from {} jobs, {} controllers, \
         size {}, {} changes of thread to {} jobs, {} controllers, size {}, {} changes of thread",
        shrunk.worlds,
        world.scenario.members.len(),
        world.scenario.controllers.len(),
        size(&world.scenario),
        world.schedule.changes(),
        shrunk.scenario.members.len(),
        shrunk.scenario.controllers.len(),
        size(&shrunk.scenario),
        shrunk.schedule.changes(),
    );
    world.scenario = shrunk.scenario;
    world.schedule = shrunk.schedule;
    match std::fs::write(path, world.write()) {
        Ok(()) => 0,
        Err(error) => {
            println!("{} cannot be written: {error}", path.display());
            UNUSABLE
        }
    }
}

/// As above.
#[cfg(not(blockjob_shuttle))]
pub fn replay(path: &Path) -> u8 {
    shrink(path)
}

/// As above.
#[cfg(not(blockjob_shuttle))]
pub fn shrink(_: &Path) -> u8 {
    eprintln!("this build is not for shuttle: run cargo xtask prove --replay FILE");
    UNUSABLE
}

#[cfg(blockjob_shuttle)]
fn read(path: &Path) -> Result<crate::world::World, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    crate::world::World::read(&text).map_err(|reason| format!("{}: {reason}", path.display()))
}

#[cfg(blockjob_shuttle)]
mod under_shuttle {
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;
    use std::sync::{Arc, Mutex, PoisonError};

    use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler, UrwRandomScheduler};

    use super::{SCHEDULES_A_WORLD, WORLDS_TRIED_MAX};
    use crate::explore::{Count, Stage, config};
    use crate::generate::{self, Choices};
    use crate::harness::{Case, Draw, Schedules};
    use crate::programs::Script;
    use crate::scenario::{Controller, Scenario};
    use crate::schedule::{Follow, Recorded, Schedule};
    use crate::shrink::{self, Shrunk};
    use crate::story::{DEADLOCK, Origin, teller};
    use crate::tool;
    use crate::world::World;

    /// The rule that broke, and the schedule under which it did.
    type Failure = (String, Schedule);

    /// Plays worlds whose failures are of use.
    pub struct Play {
        /// Another one after each failure: of the wreck, much is left in memory.
        stage: RefCell<Stage>,
        judged: bool,
    }

    impl Play {
        pub fn new(judged: bool) -> Play {
            Play {
                stage: RefCell::new(Play::stage(judged)),
                judged,
            }
        }

        fn stage(judged: bool) -> Stage {
            Stage::new(Origin::default(), &Case::default(), judged)
        }

        pub fn count(&self) -> Count {
            self.stage.borrow().count()
        }

        /// Under so many schedules from this seed.
        pub fn drawn(
            &self,
            scenario: &Scenario,
            draws: Schedules,
            seed: u64,
            schedules: usize,
        ) -> Result<(), Failure> {
            match draws {
                Schedules::Random => {
                    self.under(scenario, RandomScheduler::new_from_seed(seed, schedules))
                }
                Schedules::Uniform => {
                    self.under(scenario, UrwRandomScheduler::new_from_seed(seed, schedules))
                }
                Schedules::Pct(depth) => {
                    let scheduler = PctScheduler::new_from_seed(seed, depth, schedules);
                    self.under(scenario, scheduler)
                }
            }
        }

        /// Until this scheduler has no more schedules.
        fn under(
            &self,
            scenario: &Scenario,
            scheduler: impl Scheduler + 'static,
        ) -> Result<(), Failure> {
            let last = Arc::default();
            let runner = shuttle::Runner::new(Recorded::new(scheduler, &last), config());
            let case = Case::Scenario(scenario.clone());
            let cast = case.cast();
            let stage = self.stage.borrow().clone();
            let inside = stage.clone();
            let play = AssertUnwindSafe(|| {
                runner.run(move || inside.play(&case, &cast));
                stage.settle();
            });
            teller::quietly(true);
            let played = catch_unwind(play);
            teller::quietly(false);
            played.map_err(|panic| {
                self.stage.replace(Play::stage(self.judged));
                let schedule = last.lock().unwrap_or_else(PoisonError::into_inner);
                let mut schedule = schedule.clone();
                schedule.trim();
                (rule(&*panic), schedule)
            })
        }

        /// Whether this rule breaks under some schedule, this one first.
        fn breaks(&self, rule: &str, scenario: &Scenario, first: &Schedule) -> Option<Schedule> {
            self.follows(rule, scenario, first).or_else(|| {
                let same = |failed: Result<(), Failure>| {
                    failed
                        .err()
                        .and_then(|(other, schedule)| (other == rule).then_some(schedule))
                };
                let half = SCHEDULES_A_WORLD / 2;
                same(self.drawn(scenario, Schedules::Pct(3), 1, half))
                    .or_else(|| same(self.drawn(scenario, Schedules::Random, 2, half)))
            })
        }

        /// Whether it breaks under this schedule.
        fn follows(
            &self,
            rule: &str,
            scenario: &Scenario,
            schedule: &Schedule,
        ) -> Option<Schedule> {
            let (other, schedule) = self.under(scenario, Follow::new(schedule)).err()?;
            (other == rule).then_some(schedule)
        }
    }

    /// The rule that a panic names.
    fn rule(panic: &(dyn std::any::Any + Send)) -> String {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        if text.starts_with("deadlock") {
            return DEADLOCK.to_owned();
        }
        let line = text.lines().next().unwrap_or_default();
        let rule = line.strip_prefix(teller::NOT_ALLOWED).unwrap_or(line);
        rule.trim().to_owned()
    }

    pub fn draw(how: Draw, choices: &mut Choices) -> Scenario {
        match how {
            Draw::World(sizes) => generate::world(sizes, |below| choices.below(below)),
            Draw::Program(space) => {
                let number = choices.number() % space.count();
                let scripts = Script::up_to(space.steps_max);
                let program = space.program(number, &scripts);
                let mut scenario = program.scenario();
                // One thread asks all of it, or two share it.
                let (first, second): (Vec<_>, Vec<_>) =
                    program.verbs.iter().partition(|_| choices.below(2) == 0);
                if !first.is_empty() && !second.is_empty() {
                    scenario.controllers = vec![Controller(first), Controller(second)];
                }
                scenario
            }
        }
    }

    /// Plays a world under its schedule; its story is told where a rule breaks. How many turns could not
    /// be done as they are written.
    pub fn told(world: &World, path: &Path) -> usize {
        let case = Case::Scenario(world.scenario.clone());
        let origin = Origin {
            harness: "replay".to_owned(),
            tool: tool::TOOL,
            file: Some(path.display().to_string()),
            ..Origin::default()
        };
        let stage = Stage::new(origin, &case, true);
        let follow = Follow::new(&world.schedule);
        let missed = Arc::clone(&follow.missed);
        let cast = case.cast();
        let inside = stage.clone();
        shuttle::Runner::new(follow, config()).run(move || inside.play(&case, &cast));
        stage.settle();
        let missed: &Mutex<usize> = &missed;
        *missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn smaller(world: &World) -> Shrunk {
        let play = Play::new(true);
        let mut tried = 0;
        shrink::shrink(
            &world.scenario,
            &world.schedule,
            |scenario, first| {
                tried += 1;
                if tried > WORLDS_TRIED_MAX {
                    return None;
                }
                play.breaks(&world.rule, scenario, first)
            },
            |scenario, schedule| play.follows(&world.rule, scenario, schedule),
        )
    }
}
