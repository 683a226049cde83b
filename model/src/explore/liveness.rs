//! What must happen at last: P39–P45 of SEMANTICS.md §10.1, under weak fairness.
//!
//! Safety asks whether something wrong can happen; this asks whether something due can fail to
//! happen for ever. The worlds of a scenario are finitely many, so an endless story comes back to
//! where it was: it is a *lasso*, a stem and a cycle. A property fails exactly when there is a
//! lasso that never brings what is due and that a fair machine could live through. So: take the
//! worlds in which it is due and still possible to miss, divide them into strongly connected
//! components (Tarjan), and look for a fair one. That is sound on cycles, and complete: no
//! unrolling to a depth, no reduction by symmetry (which would make cycles out of what is none).
//! Nothing happening at all for ever is a cycle, too, where nobody is due.
//!
//! # What is assumed
//!
//! *Weak fairness* for each [`Class`] of steps: who can go on without a break will go on at last.
//! Nothing is assumed of those who ask: they may stop at any time or never. Beyond that the driver
//! keeps its obligations (§10.2), and the main loop its order, as far as [`Assumptions`] says:
//!
//! - A1: between two pause points are finitely many steps. It is the class [`Class::Driver`].
//! - A2: after a forced cancel the run has finitely many steps left. What it then does of its own
//!   choice it does finitely often: it is on no cycle, and nobody waits for it. What remains for
//!   the driver to do is to return.
//! - The main loop's queue is first in, first out: where it has something to do, requests that it
//!   must serve come after that, so they do not overtake it for ever. They, too, are on no cycle.
//! - For P39 only, and only for a job that nobody cancelled: it is not endless, its run comes to
//!   finitely many pause points, pieces of I/O and errors, which are treated likewise.
//! - In the profiles of QEMU: the block layer pauses a job by itself finitely often.
//!
//! No assumption rules out what the relation forces: each can be kept from every world on.

use core::fmt;
use core::ops::Range;

use super::environment::{self, Move};
use super::memory::Memory;
use super::pack;
use super::seen::Seen;
use super::{Bounds, Options, Relation, Scenario};
use crate::profile::Profile;
use crate::property::History;
use crate::state::{Body, Cancel, Group, Job, Outcome, Owes, World};
use crate::status::Status;
use crate::step::{Next, Output, Step};
use crate::vocabulary::Request;

/// Steps that weak fairness is assumed of together: one party that goes on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The main loop.
    MainLoop,
    /// A call under way: callbacks return, answers come.
    Call,
    /// Whoever waits for a drained section to begin.
    Section(usize),
    /// The engine's part of a body: it looks, parks, wakes, calls back.
    Body(usize),
    /// The driver's part: it comes to a pause point, or its run ends (A1).
    Driver(usize),
    /// I/O under way ends (A4, A5).
    Io(usize),
    /// Its timer, while it sleeps.
    Timer(usize),
    /// What the driver does as it likes: begins I/O, meets errors, converges. Nobody waits for that.
    Choice(usize),
}

/// Classes of one member.
const MEMBER_CLASSES: usize = 5;
/// Where they begin.
const MEMBERS_AT: usize = 4;
/// No class: a choice nobody has to make.
const NO_CLASS: u8 = 31;

impl Class {
    const fn number(self) -> u8 {
        let (member, place) = match self {
            Class::MainLoop => return 0,
            Class::Call => return 1,
            Class::Section(section) => return 2 + section as u8,
            Class::Body(member) => (member, 0),
            Class::Driver(member) => (member, 1),
            Class::Io(member) => (member, 2),
            Class::Timer(member) => (member, 3),
            Class::Choice(member) => (member, 4),
        };
        (MEMBERS_AT + member * MEMBER_CLASSES + place) as u8
    }

    fn numbered(number: u8) -> Class {
        let number = usize::from(number);
        let (member, place) = match number {
            0 => return Class::MainLoop,
            1 => return Class::Call,
            2 | 3 => return Class::Section(number - 2),
            _ => (
                (number - MEMBERS_AT) / MEMBER_CLASSES,
                (number - MEMBERS_AT) % MEMBER_CLASSES,
            ),
        };
        match place {
            0 => Class::Body(member),
            1 => Class::Driver(member),
            2 => Class::Io(member),
            3 => Class::Timer(member),
            _ => Class::Choice(member),
        }
    }

    /// The class of a move made in `before`; `None` for what nobody has to do.
    pub(super) fn of(made: Move, before: &World) -> Option<Class> {
        let step = match made {
            Move::Ask(..) => return None,
            Move::Answer(Request::DrainBegin { token }, _) => {
                return Some(Class::Section(usize::from(token)));
            }
            Move::Answer(..) => return Some(Class::Call),
            Move::Step(step) => step,
        };
        Some(match step {
            // Somebody else's choice, or what none of this waits for.
            Step::Other(..)
            | Step::Create(_)
            | Step::Start(_)
            | Step::FailEarly(_)
            | Step::FailTogether(_) => return None,
            Step::IoBegin(m) | Step::Converge(m) | Step::TakeBack(m) | Step::IoError(m, ..) => {
                Class::Choice(m)
            }
            Step::ReachPoint(m) | Step::Sleep(m) | Step::Yield(m) | Step::RunEnd(m, _) => {
                Class::Driver(m)
            }
            Step::Timer(m) => Class::Timer(m),
            // Where pause points are not seen, the one that pauses is reached in this step.
            Step::PauseBegin(m) if before.jobs[m].body == Body::Moving => Class::Driver(m),
            Step::LeavePoint(m)
            | Step::SkipRun(m)
            | Step::RunBegin(m)
            | Step::PauseBegin(m)
            | Step::PauseEnd(m)
            | Step::Park(m)
            | Step::Wake(m)
            | Step::Unpark(m)
            | Step::ResumeBegin(m)
            | Step::ResumeEnd(m)
            | Step::Defer(m) => Class::Body(m),
            Step::Pay(m) if before.jobs[m].owes == Owes::Ready => Class::Body(m),
            Step::IoEnd(m) => Class::Io(m),
            Step::TakeEffect(_)
            | Step::RequestCallbackBegin(_)
            | Step::RequestCallbackEnd(_)
            | Step::RequestEffect(_)
            | Step::UserResumeBegin(_)
            | Step::UserResumeEnd(_)
            | Step::DrainCallbackBegin(..)
            | Step::DrainCallbackEnd(..)
            | Step::Settle(_) => Class::Call,
            Step::Pay(_)
            | Step::Exit(_)
            | Step::Announce(_)
            | Step::Announced
            | Step::PrepareBegin(_)
            | Step::PrepareEnd(..)
            | Step::Decide
            | Step::Turn(_)
            | Step::DecisionBegin(_)
            | Step::DecisionEnd(_)
            | Step::CleanBegin(_)
            | Step::CleanEnd(_)
            | Step::CompletionBegin(_)
            | Step::CompletionEnd(_)
            | Step::Terminal(_)
            | Step::Conclude(_)
            | Step::Vanish(_)
            | Step::PeerCancelBegin(_)
            | Step::PeerCancelEnd(_)
            | Step::PeerResumeBegin(_)
            | Step::PeerResumeEnd(_)
            | Step::PeerForced(_)
            | Step::FreeBegin(_)
            | Step::FreeEnd(_)
            | Step::Close => Class::MainLoop,
        })
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Class::MainLoop => f.write_str("the main loop"),
            Class::Call => f.write_str("calls under way"),
            Class::Section(section) => write!(f, "drained section {section}"),
            Class::Body(m) => write!(f, "the body of job {m}"),
            Class::Driver(m) => write!(f, "the driver of job {m}"),
            Class::Io(m) => write!(f, "the I/O of job {m}"),
            Class::Timer(m) => write!(f, "the timer of job {m}"),
            Class::Choice(m) => write!(f, "the choices of job {m}"),
        }
    }
}

/// What is assumed of those who move.
#[derive(Clone, Copy)]
pub struct Assumptions {
    /// Of which classes weak fairness is assumed.
    pub fair: fn(Class) -> bool,
    /// A2: a run that was cancelled by force has finitely many steps left.
    pub cancelled_runs_end: bool,
    /// The main loop serves in the order of asking.
    pub main_loop_keeps_order: bool,
}

impl Assumptions {
    /// All of them.
    pub const ALL: Assumptions = Assumptions {
        fair: |_| true,
        cancelled_runs_end: true,
        main_loop_keeps_order: true,
    };
}

impl fmt::Display for Assumptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("weak fairness")?;
        if self.cancelled_runs_end {
            f.write_str(", runs cancelled by force end (A2)")?;
        }
        if self.main_loop_keeps_order {
            f.write_str(", the main loop keeps the order of asking")?;
        }
        Ok(())
    }
}

/// The scenario in which endless stories are looked for.
///
/// What is written is seen at once there: a store that stays unseen for ever is no machine's. I/O,
/// its errors and changes of speed are only where a job is alone, because no other job waits for them.
pub(super) fn scenario(scenario: &Scenario) -> Scenario {
    let bounds = Bounds {
        late_reads: false,
        ..scenario.bounds
    };
    let bounds = match scenario.specs.len() {
        1 => bounds,
        _ => Bounds {
            io_max: 0,
            io_errors: false,
            set_speed: false,
            ..bounds
        },
    };
    Scenario {
        bounds,
        ..scenario.clone()
    }
}

/// Of what a property speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Of each member.
    Member,
    /// Of the transaction.
    Transaction,
    /// Of each drained section.
    Section,
}

/// A question about a world and the member, or whatever the [`Scope`] is.
pub type Holds = fn(&World, usize) -> bool;

/// Wherever `from` holds, `to` follows at last, if `while_` holds until then.
#[derive(Clone, Copy)]
pub struct Case {
    /// Where it becomes due.
    pub from: Holds,
    /// What must hold until then; it is not due any more where that ends.
    pub while_: Holds,
    /// What is due.
    pub to: Holds,
    /// Only jobs whose work is finite: they come to finitely many pause points.
    pub work_ends: bool,
}

/// Something that must happen at last.
#[derive(Clone, Copy)]
pub struct Liveness {
    /// Its number, that of SEMANTICS.md §10.1.
    pub id: &'static str,
    /// A short name.
    pub name: &'static str,
    /// What it says.
    pub sentence: &'static str,
    /// Of what it speaks.
    pub scope: Scope,
    /// What it comes to.
    pub cases: &'static [Case],
}

impl Liveness {
    /// The property with this number, in whatever case.
    pub fn by_id(id: &str) -> Option<&'static Liveness> {
        ALL.iter()
            .find(|property| property.id.eq_ignore_ascii_case(id))
    }
}

/// Every property of liveness.
pub const ALL: &[Liveness] = &[
    Liveness {
        id: "P39",
        name: "runs-end",
        sentence: "A run that was cancelled by force ends, and so does one that is not endless, once nothing holds it and it waits for nobody.",
        scope: Scope::Member,
        cases: &[
            Case {
                from: |world, m| runs(&world.jobs[m]),
                while_: |world, m| world.jobs[m].forced(),
                to: |world, m| !runs(&world.jobs[m]),
                work_ends: false,
            },
            Case {
                from: |world, m| runs(&world.jobs[m]),
                while_: |world, m| {
                    let job = &world.jobs[m];
                    let told = job.complete || job.cancel != Cancel::No;
                    !job.pause_wanted()
                        && job.body != Body::Yielded
                        && (!job.spec.needs_finish || told)
                },
                to: |world, m| !runs(&world.jobs[m]),
                work_ends: true,
            },
        ],
    },
    Liveness {
        id: "P40",
        name: "resumed-means-running",
        sentence: "A parked job that nobody holds any more leaves the park.",
        scope: Scope::Member,
        cases: &[Case {
            from: |world, m| world.jobs[m].status.is_parked(),
            while_: |world, m| !world.jobs[m].should_pause(),
            to: |world, m| !world.jobs[m].status.is_parked(),
            work_ends: false,
        }],
    },
    Liveness {
        id: "P41",
        name: "pauses-are-acknowledged",
        sentence: "A running job that is to pause parks, or its run ends.",
        scope: Scope::Member,
        cases: &[Case {
            from: |world, m| runs(&world.jobs[m]),
            while_: |world, m| world.jobs[m].should_pause(),
            to: |world, m| world.jobs[m].status.is_parked() || world.jobs[m].body == Body::Ended,
            work_ends: false,
        }],
    },
    Liveness {
        id: "P42",
        name: "cancelled-means-concluded",
        sentence: "A job cancelled by force concludes, and vanishes if it dismisses itself, whatever pauses, drains and other members there are, never-started ones included.",
        scope: Scope::Member,
        cases: &[Case {
            from: |world, m| world.jobs[m].forced(),
            while_: always,
            to: |world, m| {
                let job = &world.jobs[m];
                job.status == Status::Null
                    || (job.status == Status::Concluded && !job.dismisses_itself())
            },
            work_ends: false,
        }],
    },
    Liveness {
        id: "P43",
        name: "success-concludes",
        sentence: "If every run of a transaction ended well and nobody decides by hand, every member concludes without further commands.",
        scope: Scope::Transaction,
        cases: &[Case {
            from: |world, _| {
                let well = |job: &Job| {
                    job.body == Body::Ended
                        && job.outcome == Outcome::Success
                        && job.spec.auto_finalize
                };
                let done = |job: &Job| job.is_final() || well(job);
                world.jobs.iter().all(done) && world.jobs.iter().any(well)
            },
            while_: always,
            to: |world, _| world.jobs.iter().all(Job::is_final),
            work_ends: false,
        }],
    },
    Liveness {
        id: "P44",
        name: "aborts-end",
        sentence: "A transaction that is brought down gets every member to its end.",
        scope: Scope::Transaction,
        cases: &[Case {
            from: |world, _| world.group.aborting,
            while_: always,
            to: |world, _| {
                let never = |job: &Job| job.status == Status::Undefined;
                world.jobs.iter().all(|job| job.is_final() || never(job))
            },
            work_ends: false,
        }],
    },
    Liveness {
        id: "P45",
        name: "drained-means-quiet",
        sentence: "A drained section finds its jobs quiet.",
        scope: Scope::Section,
        cases: &[Case {
            from: |world, section| !is_drained(world, section),
            while_: always,
            to: is_drained,
            work_ends: false,
        }],
    },
];

/// Whoever began this drained section, if anybody did, has got every job it holds.
fn is_drained(world: &World, section: usize) -> bool {
    let bit = 1 << section;
    let waits = |job: &Job| job.holds & bit != 0 && job.drained & bit == 0;
    world.group.drained & bit == 0 || !world.jobs.iter().any(waits)
}

fn always(_: &World, _: usize) -> bool {
    true
}

/// Its status is one of those between start and the end of the run.
const fn runs(job: &Job) -> bool {
    matches!(
        job.status,
        Status::Running | Status::Paused | Status::Ready | Status::Standby
    )
}

/// One case of one property for one member, or whatever its scope is.
struct Duty {
    /// Which property, by its place among those asked for.
    property: usize,
    case: Case,
    member: usize,
}

/// What is known of a step: its class in the low bits, and …
type Kind = u8;
const CLASS: Kind = 31;
/// … it can be on a cycle at all (A2, and the order of the main loop),
const RECURS: Kind = 1 << 5;
/// … it is work of the driver's, and there is more to do behind it.
const WORKS: Kind = 1 << 6;

/// Every world of a scenario and every step between them.
pub(super) struct Graph<'a> {
    profile: &'static Profile,
    scenario: &'a Scenario,
    /// Another than the specification's.
    relation: Option<&'a Relation<'a>>,
    /// What members do by themselves, in the specification's relation.
    memory: Memory<(u64, Kind)>,
    fair: u32,
    seen: Seen,
    parents: Vec<u32>,
    /// Where the steps of each world begin; one more than there are worlds.
    first: Vec<usize>,
    to: Vec<u32>,
    kinds: Vec<Kind>,
    /// The classes that can go on in each world.
    enabled: Vec<u32>,
    /// Two bits a duty: it begins to be due here; it is due and not yet done.
    facts: Vec<u64>,
    duties: Vec<Duty>,
    /// It has every world.
    pub(super) complete: bool,
}

/// An endless story that never brings what is due.
pub(super) struct Lasso {
    pub(super) property: usize,
    pub(super) story: Vec<String>,
}

impl<'a> Graph<'a> {
    /// Explores the scenario and keeps its steps.
    pub(super) fn new(
        options: &Options,
        scenario: &'a Scenario,
        relation: Option<&'a Relation<'a>>,
    ) -> Graph<'a> {
        let (properties, assumptions) = (&options.liveness, options.assumptions);
        let members = scenario.specs.len();
        let mut duties = Vec::new();
        for (property, liveness) in properties.iter().enumerate() {
            let count = match liveness.scope {
                Scope::Member => members,
                Scope::Transaction => 1,
                Scope::Section if scenario.bounds.drains => usize::from(scenario.bounds.tokens_max),
                Scope::Section => 0,
            };
            for &case in liveness.cases {
                duties.extend((0..count).map(|member| Duty {
                    property,
                    case,
                    member,
                }));
            }
        }
        assert!(duties.len() <= 32, "two bits each in one word");
        let classes = MEMBERS_AT + members * MEMBER_CLASSES;
        let fair = (0..classes as u8)
            .filter(|&number| {
                let class = Class::numbered(number);
                !matches!(class, Class::Choice(_)) && (assumptions.fair)(class)
            })
            .fold(0, |fair, number| fair | 1 << number);
        let mut graph = Graph {
            profile: options.profile,
            scenario,
            relation,
            memory: Memory::new(members),
            fair,
            seen: Seen::new(pack::stride(members)),
            parents: vec![0],
            first: vec![0],
            to: Vec::new(),
            kinds: Vec::new(),
            enabled: Vec::new(),
            facts: Vec::new(),
            duties,
            complete: true,
        };
        graph.explore(assumptions, options.states_max);
        graph
    }

    fn explore(&mut self, assumptions: Assumptions, states_max: usize) {
        let mut world = World::new(Group::CLOSED, self.scenario.specs.iter().copied());
        let mut batch = Batch::new(&world, assumptions);
        pack::pack(&world, &batch.history, &mut batch.next);
        self.seen.insert(&batch.next);
        let mut number = 0;
        while number < self.seen.len() {
            if self.seen.len() > states_max {
                self.complete = false;
                // Nothing is known of the rest, and nothing is said of it.
                self.facts.resize(self.seen.len(), 0);
                self.enabled.resize(self.seen.len(), 0);
                self.first.resize(self.seen.len() + 1, self.kinds.len());
                return;
            }
            let end = self.seen.len().min(number + BATCH);
            while number < end {
                let (specs, past) = (&self.scenario.specs, &mut batch.past);
                pack::unpack(self.seen.get(number), specs, &mut world, past);
                self.facts.push(facts(&self.duties, &world));
                self.expand(number, &world, &mut batch);
                number += 1;
            }
            let (to, parents) = (&mut self.to, &mut self.parents);
            self.seen.insert_all(&batch.words, |place, reached, new| {
                if new {
                    parents.push(batch.parents[place]);
                }
                to.push(reached as u32);
            });
            batch.words.clear();
            batch.parents.clear();
        }
    }

    /// Makes every step from a world.
    fn expand(&mut self, number: usize, world: &World, batch: &mut Batch) {
        let (profile, bounds) = (self.profile, self.scenario.bounds);
        let assumptions = batch.assumptions;
        let begin = self.kinds.len();
        let here = self.seen.get(number);
        if self.relation.is_none() && environment::members_go_on(world) {
            for member in 0..world.jobs.len() {
                let word = here[pack::place(member)];
                let known = self.memory.get(member, word).unwrap_or_else(|| {
                    let mut own = Vec::new();
                    let past = History::default();
                    environment::own_moves(world, member, profile, bounds, &mut |made, next, _| {
                        let word = pack::pack_job(&next.jobs[member], past);
                        own.push((word, kind(made, world, profile, assumptions)));
                    });
                    self.memory.add(member, word, own)
                });
                for at in known {
                    let &(word, kind) = self.memory.at(at);
                    let place = batch.words.len() + pack::place(member);
                    batch.words.extend_from_slice(here);
                    batch.words[place] = word;
                    self.kinds.push(kind);
                }
            }
        }
        let mut waits = Vec::new();
        let mut visit = |made: Move, next: Next<'_>, _: Option<Output>| {
            if matches!(made, Move::Ask(..)) && !next.calls.is_empty() {
                waits.push(self.kinds.len());
            }
            self.kinds.push(kind(made, world, profile, assumptions));
            pack::pack(&next, &batch.history, &mut batch.next);
            batch.words.extend_from_slice(&batch.next);
        };
        match self.relation {
            Some(relation) => relation(world, profile, bounds, &mut visit),
            None => environment::shared_moves(world, profile, bounds, &mut visit),
        }
        let kinds = &mut self.kinds[begin..];
        let enabled = kinds.iter().fold(0, |all, kind| all | 1 << (kind & CLASS));
        if assumptions.main_loop_keeps_order && enabled & (1 << Class::MainLoop.number()) != 0 {
            for at in waits {
                kinds[at - begin] &= !RECURS;
            }
        }
        batch
            .parents
            .resize(batch.parents.len() + kinds.len(), number as u32);
        self.enabled.push(enabled);
        self.first.push(self.kinds.len());
    }

    /// Worlds of the scenario.
    pub(super) fn states(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Steps between them.
    pub(super) fn transitions(&self) -> u64 {
        self.to.len() as u64
    }

    /// The shortest lasso found for each property that has one.
    pub(super) fn lassos(&self) -> Vec<Lasso> {
        let mut lassos: Vec<Lasso> = Vec::new();
        for duty in 0..self.duties.len() {
            let Some(story) = self.lasso(duty) else {
                continue;
            };
            let property = self.duties[duty].property;
            match lassos.iter_mut().find(|lasso| lasso.property == property) {
                Some(lasso) if lasso.story.len() <= story.len() => {}
                Some(lasso) => lasso.story = story,
                None => lassos.push(Lasso { property, story }),
            }
        }
        lassos
    }

    fn edges(&self, state: u32) -> Range<usize> {
        self.first[state as usize]..self.first[state as usize + 1]
    }

    /// Classes that are due in a world: fairness is assumed, and they can go on.
    fn due(&self, duty: usize, state: u32) -> u32 {
        let enabled = if self.duties[duty].case.work_ends {
            self.kinds[self.edges(state)]
                .iter()
                .filter(|&&kind| !self.is_more_work(duty, kind))
                .fold(0, |enabled, kind| enabled | 1 << (kind & CLASS))
        } else {
            self.enabled[state as usize]
        };
        enabled & self.fair
    }

    /// A step that a job whose work ends makes finitely often.
    fn is_more_work(&self, duty: usize, kind: Kind) -> bool {
        let Duty { case, member, .. } = self.duties[duty];
        let [driver, choice] = [Class::Driver(member), Class::Choice(member)].map(Class::number);
        case.work_ends && kind & WORKS != 0 && [driver, choice].contains(&(kind & CLASS))
    }

    /// The duty begins here.
    fn begins(&self, duty: usize, state: u32) -> bool {
        self.facts[state as usize] >> (2 * duty) & 3 == 3
    }

    /// The duty, if it is one, is not done here, and has not lapsed.
    fn is_open(&self, duty: usize, state: u32) -> bool {
        self.facts[state as usize] >> (2 * duty) & 2 != 0
    }

    /// Whether a step can be taken again and again while the duty is open.
    fn recurs(&self, duty: usize, edge: usize) -> bool {
        let kind = self.kinds[edge];
        kind & RECURS != 0 && !self.is_more_work(duty, kind) && self.is_open(duty, self.to[edge])
    }

    /// A lasso that never brings what is due.
    fn lasso(&self, duty: usize) -> Option<Vec<String>> {
        let reach = self.reach(duty);
        let components = Components::new(self, duty, &reach);
        let entry = components.fair?;
        let cycle = self.cycle(duty, &components, entry);
        Some(self.tell(&reach, entry, &cycle))
    }

    /// Every world where the duty is open, in the order of a breadth first search from those where it
    /// begins.
    fn reach(&self, duty: usize) -> Reach {
        let mut from = vec![NOWHERE; self.seen.len()];
        let mut order = Vec::new();
        for state in 0..self.facts.len() as u32 {
            if self.begins(duty, state) {
                from[state as usize] = state;
                order.push(state);
            }
        }
        let mut at = 0;
        while let Some(&state) = order.get(at) {
            at += 1;
            for edge in self.edges(state) {
                let next = self.to[edge];
                if from[next as usize] == NOWHERE && self.is_open(duty, next) {
                    from[next as usize] = state;
                    order.push(next);
                }
            }
        }
        Reach { from, order }
    }

    /// A way around the component of `entry` in which every class has its turn, or can be seen to
    /// have none.
    fn cycle(&self, duty: usize, components: &Components, entry: u32) -> Vec<usize> {
        let component = components.of[entry as usize];
        let inside = |edge: usize| {
            self.recurs(duty, edge) && components.of[self.to[edge] as usize] == component
        };
        let mut cycle: Vec<usize> = Vec::new();
        let mut here = entry;
        let mut owed = self.due(duty, entry);
        if owed == 0 {
            // Everybody may as well stay where he is.
            return cycle;
        }
        for class in 0..NO_CLASS {
            if owed & (1 << class) == 0 {
                continue;
            }
            // To the nearest step of the class, or to where it has none.
            let way = self.way(here, &inside, &|state, edge| {
                edge.map_or(self.due(duty, state) & (1 << class) == 0, |edge| {
                    self.kinds[edge] & CLASS == class
                })
            });
            for edge in way {
                here = self.to[edge];
                cycle.push(edge);
                owed &= self.due(duty, here) & !(1 << (self.kinds[edge] & CLASS));
            }
        }
        if here != entry {
            let home = |_, edge: Option<usize>| edge.is_some_and(|edge| self.to[edge] == entry);
            cycle.extend(self.way(here, &inside, &home));
        }
        cycle
    }

    /// The shortest way from `start` over steps `inside` to a world, or over a step, that is
    /// `wanted`; empty where there is none.
    fn way(
        &self,
        start: u32,
        inside: &dyn Fn(usize) -> bool,
        wanted: &dyn Fn(u32, Option<usize>) -> bool,
    ) -> Vec<usize> {
        let mut came = std::collections::HashMap::new();
        let mut order = vec![start];
        let mut at = 0;
        let back = |came: &std::collections::HashMap<u32, (u32, usize)>, mut here: u32| {
            let mut way = Vec::new();
            while here != start {
                let (before, edge) = came[&here];
                way.push(edge);
                here = before;
            }
            way.reverse();
            way
        };
        while let Some(&state) = order.get(at) {
            at += 1;
            if wanted(state, None) {
                return back(&came, state);
            }
            for edge in self.edges(state).filter(|&edge| inside(edge)) {
                if wanted(state, Some(edge)) {
                    let mut way = back(&came, state);
                    way.push(edge);
                    return way;
                }
                let next = self.to[edge];
                if next != start && !came.contains_key(&next) {
                    came.insert(next, (state, edge));
                    order.push(next);
                }
            }
        }
        Vec::new()
    }

    /// The story: from the beginning to where the duty begins, on to the cycle, and around.
    fn tell(&self, reach: &Reach, entry: u32, cycle: &[usize]) -> Vec<String> {
        let mut path = vec![entry];
        let mut here = entry;
        while reach.from[here as usize] != here {
            here = reach.from[here as usize];
            path.push(here);
        }
        while here != 0 {
            here = self.parents[here as usize];
            path.push(here);
        }
        path.reverse();
        let mut story: Vec<String> = path
            .windows(2)
            .map(|pair| {
                let edge = self.edges(pair[0]).find(|&edge| self.to[edge] == pair[1]);
                edge.map_or_else(String::new, |edge| self.name(pair[0], edge))
            })
            .collect();
        let mut here = entry;
        for &edge in cycle {
            story.push(format!("again and again: {}", self.name(here, edge)));
            here = self.to[edge];
        }
        if cycle.is_empty() {
            story.push("and nothing has to happen any more".to_owned());
        }
        story
    }

    /// The words for a step.
    fn name(&self, state: u32, edge: usize) -> String {
        let specs = &self.scenario.specs;
        let mut world = World::new(Group::CLOSED, specs.iter().copied());
        pack::unpack(
            self.seen.get(state as usize),
            specs,
            &mut world,
            &mut Vec::new(),
        );
        let wanted = edge - self.first[state as usize];
        let mut name = String::new();
        let mut at = 0;
        self.relation.unwrap_or(&super::moves)(
            &world,
            self.profile,
            self.scenario.bounds,
            &mut |made, _, output: Option<Output>| {
                if at == wanted {
                    name = made.describe(output);
                }
                at += 1;
            },
        );
        name
    }
}

/// Worlds whose successors are collected before they are looked up together.
const BATCH: usize = 64;

/// Successors on their way into the set of worlds met, and room to make them.
struct Batch {
    assumptions: Assumptions,
    /// Nothing is remembered of what was seen.
    history: Vec<History>,
    past: Vec<History>,
    next: Vec<u64>,
    words: Vec<u64>,
    parents: Vec<u32>,
}

impl Batch {
    fn new(world: &World, assumptions: Assumptions) -> Batch {
        let members = world.jobs.len();
        Batch {
            assumptions,
            history: vec![History::default(); members],
            past: Vec::new(),
            next: vec![0; pack::stride(members)],
            words: Vec::new(),
            parents: Vec::new(),
        }
    }
}

/// What is to be known of a move made in `before`.
fn kind(made: Move, before: &World, profile: &Profile, assumptions: Assumptions) -> Kind {
    let over_time = assumptions.cancelled_runs_end && is_over_time(made, before);
    if over_time || is_unasked(made, before, profile) {
        return NO_CLASS;
    }
    let class = Class::of(made, before).map_or(NO_CLASS, Class::number);
    class | RECURS | if is_work(made) { WORKS } else { 0 }
}

/// What a driver does that has more to do.
const fn is_work(made: Move) -> bool {
    matches!(
        made,
        Move::Step(
            Step::ReachPoint(_)
                | Step::Sleep(_)
                | Step::Yield(_)
                | Step::IoBegin(_)
                | Step::IoError(..)
        )
    )
}

/// A step that a run cancelled by force takes of its own choice (A2).
fn is_over_time(made: Move, before: &World) -> bool {
    match made {
        Move::Step(
            Step::ReachPoint(m)
            | Step::Sleep(m)
            | Step::Yield(m)
            | Step::IoBegin(m)
            | Step::Converge(m)
            | Step::IoError(m, ..),
        ) => before.jobs[m].forced(),
        _ => false,
    }
}

/// A pause that nobody here asked for: in QEMU, the block layer's.
fn is_unasked(made: Move, before: &World, profile: &Profile) -> bool {
    match made {
        Move::Step(Step::PauseBegin(m)) => {
            let job = &before.jobs[m];
            profile.internal_pauses && !job.may_pause && !job.should_pause()
        }
        _ => false,
    }
}

/// Two bits a duty.
fn facts(duties: &[Duty], world: &World) -> u64 {
    let mut facts = 0;
    for (at, Duty { case, member, .. }) in duties.iter().enumerate() {
        let from = (case.from)(world, *member);
        let open = (case.while_)(world, *member) && !(case.to)(world, *member);
        facts |= (u64::from(from) | u64::from(open) << 1) << (2 * at);
    }
    facts
}

/// Not reached.
const NOWHERE: u32 = u32::MAX;

/// The worlds in which a duty is open, from where each was first reached, and in which order.
struct Reach {
    from: Vec<u32>,
    order: Vec<u32>,
}

/// The strongly connected components of those worlds over steps that recur.
struct Components {
    /// By world.
    of: Vec<u32>,
    /// The first world, in the order of reaching, of a component that a fair machine can stay in.
    fair: Option<u32>,
}

impl Components {
    fn new(graph: &Graph<'_>, duty: usize, reach: &Reach) -> Components {
        let mut place = vec![0u32; reach.from.len()];
        for (at, &state) in reach.order.iter().enumerate() {
            place[state as usize] = at as u32;
        }
        let mut fair: Option<u32> = None;
        let next = |edge: usize| graph.recurs(duty, edge).then(|| graph.to[edge]);
        let of = components(
            reach.from.len(),
            &reach.order,
            &|state| graph.edges(state),
            &next,
            &mut |members, number, of| {
                let every = |owed, &member: &u32| owed & graph.due(duty, member);
                let mut owed = members.iter().fold(!0, every);
                for &member in members {
                    if owed == 0 {
                        break;
                    }
                    for edge in graph.edges(member) {
                        if next(edge).is_some_and(|next| of[next as usize] == number) {
                            owed &= !(1 << (graph.kinds[edge] & CLASS));
                        }
                    }
                }
                if owed == 0 {
                    let first = members.iter().copied().chain(fair);
                    fair = first.min_by_key(|&state| place[state as usize]);
                }
            },
        );
        Components { of, fair }
    }
}

/// Takes a component: its members, its number, and the component of each node as far as known.
type Found<'a> = dyn FnMut(&[u32], u32, &[u32]) + 'a;

/// Tarjan's algorithm, without recursion: depths here are in the hundred thousands. For each node
/// its component.
fn components(
    nodes: usize,
    roots: &[u32],
    edges: &dyn Fn(u32) -> Range<usize>,
    next: &dyn Fn(usize) -> Option<u32>,
    found: &mut Found<'_>,
) -> Vec<u32> {
    let mut index = vec![NOWHERE; nodes];
    let mut low = vec![NOWHERE; nodes];
    let mut of = vec![NOWHERE; nodes];
    // Those entered that have no component yet, and the way to the present one with the edge that
    // each is at.
    let mut open: Vec<u32> = Vec::new();
    let mut way: Vec<(u32, usize)> = Vec::new();
    let mut entered = 0;
    let mut number = 0;
    for &root in roots {
        if index[root as usize] != NOWHERE {
            continue;
        }
        way.push((root, edges(root).start));
        while let Some(&(node, edge)) = way.last() {
            let at = node as usize;
            if index[at] == NOWHERE {
                index[at] = entered;
                low[at] = entered;
                entered += 1;
                open.push(node);
            }
            if edge < edges(node).end {
                let last = way.len() - 1;
                way[last].1 += 1;
                match next(edge) {
                    Some(next) if index[next as usize] == NOWHERE => {
                        way.push((next, edges(next).start));
                    }
                    Some(next) if of[next as usize] == NOWHERE => {
                        low[at] = low[at].min(index[next as usize]);
                    }
                    _ => {}
                }
                continue;
            }
            way.pop();
            if let Some(&(before, _)) = way.last() {
                low[before as usize] = low[before as usize].min(low[at]);
            }
            if low[at] == index[at] {
                let begin = open.iter().rposition(|&other| other == node);
                let begin = begin.unwrap_or_default();
                for &member in &open[begin..] {
                    of[member as usize] = number;
                }
                found(&open[begin..], number, &of);
                open.truncate(begin);
                number += 1;
            }
        }
    }
    of
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::scenarios;
    use crate::profile::REFERENCE;

    #[test]
    fn classes_are_numbered() {
        for number in 0..NO_CLASS {
            assert_eq!(Class::numbered(number).number(), number);
        }
    }

    /// Components by their definition: two nodes are in one if each is reached from the other.
    #[test]
    fn components_are_those_of_their_definition() {
        let mut random = 1u64;
        let mut below = |end: usize| {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (random >> 33) as usize % end
        };
        let mut largest = 0;
        for round in 0..500 {
            let nodes = 1 + below(12);
            let out = 1 + round % 3;
            let to: Vec<usize> = (0..nodes * out).map(|_| below(nodes)).collect();
            let cut: Vec<bool> = to.iter().map(|_| below(4) == 0).collect();
            let mut reached = vec![vec![false; nodes]; nodes];
            for (node, reached) in reached.iter_mut().enumerate() {
                let mut todo = vec![node];
                while let Some(at) = todo.pop() {
                    if !core::mem::replace(&mut reached[at], true) {
                        let edges = (at * out..(at + 1) * out).filter(|&edge| !cut[edge]);
                        todo.extend(edges.map(|edge| to[edge]));
                    }
                }
            }
            let roots: Vec<u32> = (0..nodes as u32).collect();
            let mut given = 0;
            let of = components(
                nodes,
                &roots,
                &|node| node as usize * out..(node as usize + 1) * out,
                &|edge| (!cut[edge]).then(|| to[edge] as u32),
                &mut |members, number, of| {
                    given += members.len();
                    largest = largest.max(members.len());
                    assert!(members.iter().all(|&member| of[member as usize] == number));
                },
            );
            assert_eq!(given, nodes);
            for a in 0..nodes {
                for b in 0..nodes {
                    let one = reached[a][b] && reached[b][a];
                    assert_eq!(of[a] == of[b], one, "{a} and {b} of {to:?} without {cut:?}");
                }
            }
        }
        assert!(largest > 5);
    }

    #[test]
    fn everything_that_is_due_becomes_due_and_is_done() {
        // Two plain jobs; and one with sleeps and drained sections, which alone has those duties.
        let two = scenarios(2, &REFERENCE).into_iter().next();
        let drained = scenarios(1, &REFERENCE)
            .into_iter()
            .find(|scenario| scenario.bounds.drains);
        let mut met = Vec::new();
        for explored in [two, drained].map(|scenario| scenario.expect("it is listed")) {
            let options = Options::new(&REFERENCE, explored.specs.len());
            let options = options.expect("so many jobs can be explored");
            let scenario = scenario(&explored);
            let graph = Graph::new(&options, &scenario, None);
            // The end of a job alone is a handful of worlds.
            let many = if options.jobs > 1 { 100 } else { 10 };
            for (at, duty) in graph.duties.iter().enumerate() {
                let worlds = 0..graph.facts.len() as u32;
                let id = options.liveness[duty.property].id;
                met.push(id);
                let begins = worlds.clone().filter(|&state| graph.begins(at, state));
                assert!(begins.count() > many, "{id} becomes due");
                let done = worlds.filter(|&state| {
                    graph.is_open(at, state)
                        && graph
                            .edges(state)
                            .any(|edge| !graph.is_open(at, graph.to[edge]))
                });
                assert!(done.count() > many / 10, "{id} is done");
            }
        }
        assert!(ALL.iter().all(|property| met.contains(&property.id)));
    }
}
