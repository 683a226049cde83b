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
//! - A4: once `pause` has been called finitely many pieces of I/O begin before the pause is acknowledged,
//!   those that were let in before. They are on no cycle.
//! - The main loop's queue is first in, first out: where it has something to do, requests that it
//!   must serve come after that, so they do not overtake it for ever. They, too, are on no cycle.
//! - For P39 only, and only for a job that nobody cancelled: it is not endless, its run comes to
//!   finitely many pause points, pieces of I/O and errors, which are treated likewise.
//! - In the profiles of QEMU: the block layer pauses a job by itself finitely often.
//!
//! No assumption rules out what the relation forces: each can be kept from every world on.

use core::fmt;

use super::environment::Move;
use super::{Bounds, Scenario};
use crate::state::{Body, Cancel, Job, Outcome, Owes, World};
use crate::status::Status;
use crate::step::Step;
use crate::vocabulary::Request;

mod components;
mod graph;
mod lasso;

pub(super) use graph::Graph;

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
    /// A4: whoever is to pause lets nothing new begin.
    pub pauses_let_nobody_in: bool,
    /// The main loop serves in the order of asking.
    pub main_loop_keeps_order: bool,
}

impl Assumptions {
    /// All of them.
    pub const ALL: Assumptions = Assumptions {
        fair: |_| true,
        cancelled_runs_end: true,
        pauses_let_nobody_in: true,
        main_loop_keeps_order: true,
    };
}

impl fmt::Display for Assumptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("weak fairness")?;
        if self.cancelled_runs_end {
            f.write_str(", runs cancelled by force end (A2)")?;
        }
        if self.pauses_let_nobody_in {
            f.write_str(", pauses let nobody in (A4)")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_numbered() {
        for number in 0..NO_CLASS {
            assert_eq!(Class::numbered(number).number(), number);
        }
    }
}
