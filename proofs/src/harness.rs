//! The list of harnesses: what is explored, under which tool, with which bound.

mod arrival;
mod calls_back;
mod drain;
mod waiter;

use crate::actor::{Act, Role};
use crate::judge::Cast;
use crate::lockfree::LockFree;
use crate::scenario::{Ask, Controller, Scenario};

/// One thing to play again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    /// Jobs and controllers.
    Scenario(Scenario),
    /// What happens without the lock.
    LockFree(LockFree),
    /// What counts and decides nothing.
    Counters,
}

impl Case {
    /// What the judge has to know.
    pub fn cast(&self) -> Cast {
        match self {
            Case::Scenario(scenario) => scenario.cast(),
            Case::LockFree(case) => case.cast(),
            Case::Counters => Cast::default(),
        }
    }
}

/// How a harness chooses its executions.
#[derive(Clone, Copy, Debug)]
pub enum Method {
    /// loom: every execution, or every one with at most so many preemptions.
    Loom {
        /// The bound; `None` is none.
        preemptions: Option<usize>,
        /// What is explored.
        cases: fn() -> Vec<Case>,
    },
    /// shuttle: a world and a schedule at random, so many times.
    Random {
        /// Where the random numbers begin.
        seed: u64,
        /// How many.
        executions: usize,
    },
    /// shuttle: a world at random and a schedule with few, well-placed priority changes (PCT).
    Pct {
        /// Where the random numbers begin.
        seed: u64,
        /// One more than the priority changes.
        depth: usize,
        /// How many.
        executions: usize,
    },
}

/// A named part of the proof.
#[derive(Clone, Copy, Debug)]
pub struct Harness {
    /// Its name in tables and on the command line.
    pub name: &'static str,
    /// How.
    pub method: Method,
    /// Only with `--full`.
    pub full: bool,
}

impl Harness {
    /// The tool it needs.
    pub fn tool(&self) -> &'static str {
        match self.method {
            Method::Loom { .. } => "loom",
            Method::Random { .. } | Method::Pct { .. } => "shuttle",
        }
    }

    /// Where its random numbers begin, if it draws any.
    pub fn seed(&self) -> Option<u64> {
        match self.method {
            Method::Loom { .. } => None,
            Method::Random { seed, .. } | Method::Pct { seed, .. } => Some(seed),
        }
    }

    /// The bound on preemptions; none where there is none, and for schedules at random.
    pub fn bound(&self) -> Option<usize> {
        match self.method {
            Method::Loom { preemptions, .. } => preemptions,
            Method::Random { .. } | Method::Pct { .. } => None,
        }
    }
}

const fn unbounded(name: &'static str, cases: fn() -> Vec<Case>) -> Harness {
    Harness {
        name,
        method: Method::Loom {
            preemptions: None,
            cases,
        },
        full: false,
    }
}

/// Every execution with at most so many preemptions.
const fn within(name: &'static str, preemptions: usize, cases: fn() -> Vec<Case>) -> Harness {
    Harness {
        name,
        method: Method::Loom {
            preemptions: Some(preemptions),
            cases,
        },
        full: false,
    }
}

/// Every execution with at most two preemptions.
const fn bounded(name: &'static str, cases: fn() -> Vec<Case>) -> Harness {
    within(name, 2, cases)
}

/// Too long for a check of every change.
const fn long(harness: Harness) -> Harness {
    Harness {
        full: true,
        ..harness
    }
}

/// Every harness, in the order of the table.
pub const HARNESSES: &[Harness] = &[
    unbounded("one-controller-no-point", || pairs(Role::plain(NO_POINT))),
    unbounded("one-controller-one-point", || pairs(Role::plain(ONE_POINT))),
    within("one-controller-two-points", 3, || {
        pairs(Role::plain(TWO_POINTS))
    }),
    long(unbounded("one-controller-two-points-all", || {
        pairs(Role::plain(TWO_POINTS))
    })),
    unbounded("one-controller-mirror-verb", || {
        verbs(Role::mirror(&[], &[]))
    }),
    within("one-controller-manual-verb", 3, || {
        verbs(Role::plain(ONE_POINT).manual_finalize().manual_dismiss())
    }),
    long(unbounded("one-controller-manual-verb-all", || {
        verbs(Role::plain(ONE_POINT).manual_finalize().manual_dismiss())
    })),
    within("one-controller-failing", 3, failing),
    long(unbounded("one-controller-failing-all", failing)),
    unbounded("transaction-cancelled-first", transaction_cancelled_first),
    unbounded("told-once", told_once),
    unbounded("pause-is-seen", || {
        vec![Case::LockFree(LockFree::PauseIsSeen)]
    }),
    unbounded("cancel-is-seen", || {
        vec![Case::LockFree(LockFree::CancelIsSeen)]
    }),
    bounded("gate", || {
        vec![
            Case::LockFree(LockFree::GateQuiesces),
            Case::LockFree(LockFree::GateLetsGo),
        ]
    }),
    bounded("one-controller-mirror", || {
        pairs(Role::mirror(ONE_POINT, &[]))
    }),
    bounded("one-controller-manual", || {
        pairs(Role::plain(ONE_POINT).manual_finalize().manual_dismiss())
    }),
    bounded("one-controller-sleeper", || {
        pairs(Role::plain(&[Act::Sleep]))
    }),
    bounded("woken-without-cause", woken),
    bounded("start", start),
    bounded("two-controllers-two-points", || {
        two_controllers(Role::plain(TWO_POINTS))
    }),
    within("two-controllers-mirror", 1, || {
        two_controllers(Role::mirror(&[], &[]))
    }),
    bounded("two-controllers-manual", || {
        two_controllers(Role::plain(ONE_POINT).manual_finalize().manual_dismiss())
    }),
    bounded("pause-all", pause_all),
    bounded("transaction-controller", transaction_controller),
    long(bounded("two-controllers-mirror-two", || {
        two_controllers(Role::mirror(&[], &[]))
    })),
    unbounded("progress", || vec![Case::Counters]),
    within("gate-two-lanes", 1, || {
        vec![Case::LockFree(LockFree::TwoLanes)]
    }),
    long(bounded("gate-two-lanes-two", || {
        vec![Case::LockFree(LockFree::TwoLanes)]
    })),
    bounded("gate-lane-calls-in", || {
        vec![Case::LockFree(LockFree::LaneCallsIn)]
    }),
    bounded("gate-lane-stays", || {
        vec![Case::LockFree(LockFree::LaneStays)]
    }),
    within("soft-cancel-and-finalize", 1, soft_cancel_and_finalize),
    long(bounded(
        "soft-cancel-and-finalize-two",
        soft_cancel_and_finalize,
    )),
    bounded("timer", timer),
    bounded("stop-error", stop_error),
    within("drain", 3, drain::alone),
    within("drain-ending", 3, drain::of_one_that_ends),
    bounded("drain-within", drain::within),
    bounded("drain-another", drain::and_another),
    within("drain-mirror", 1, drain::of_one_that_waits),
    long(bounded("drain-mirror-two", drain::of_one_that_waits)),
    within("moved", 1, drain::moved),
    long(bounded("moved-two", drain::moved)),
    within("waiter", 3, waiter::alone),
    bounded("waiter-another", waiter::and_another),
    within("waiter-mirror", 1, waiter::of_one_that_waits),
    long(bounded("waiter-mirror-two", waiter::of_one_that_waits)),
    bounded("cancel-all", waiter::cancel_all),
    unbounded("calls-back", calls_back::of_itself),
    within("calls-back-when-asked", 1, calls_back::when_asked),
    long(bounded("calls-back-when-asked-two", calls_back::when_asked)),
    bounded("calls-back-peer", calls_back::of_a_peer),
    bounded("calls-back-controller", calls_back::beside_a_controller),
    bounded("creation", arrival::creation),
    bounded("transaction-start", arrival::start),
    bounded("start-apart", arrival::start_apart),
    bounded("looked-at", arrival::looked_at),
    unbounded("members-end", arrival::members_end),
    bounded("three-members-end", arrival::three_members_end),
    Harness {
        name: "worlds-random",
        method: Method::Random {
            seed: 1,
            executions: 20_000,
        },
        full: false,
    },
    Harness {
        name: "worlds-pct",
        method: Method::Pct {
            seed: 2,
            depth: 4,
            executions: 20_000,
        },
        full: false,
    },
    Harness {
        name: "worlds-random-many",
        method: Method::Random {
            seed: 3,
            executions: 50_000,
        },
        full: true,
    },
];

const NO_POINT: &[Act] = &[Act::Io];
const ONE_POINT: &[Act] = &[Act::Io, Act::Point, Act::Io];
const TWO_POINTS: &[Act] = &[Act::Io, Act::Point, Act::Io, Act::Point, Act::Io];
const FAILURE: &[Act] = &[Act::Point, Act::Fail];

/// One job and these controllers.
fn single(role: Role, controllers: Vec<Vec<Ask>>) -> Case {
    Case::Scenario(Scenario::single(role, controllers))
}

/// One controller, every pair of verbs.
fn pairs(role: Role) -> Vec<Case> {
    let mut cases = Vec::new();
    for first in Ask::VERBS {
        for second in Ask::VERBS {
            cases.push(Case::Scenario(Scenario::single(
                role,
                vec![vec![first, second]],
            )));
        }
    }
    cases
}

/// One controller, every verb.
fn verbs(role: Role) -> Vec<Case> {
    Ask::VERBS
        .into_iter()
        .map(|ask| Case::Scenario(Scenario::single(role, vec![vec![ask]])))
        .collect()
}

/// One controller and jobs that do not end well by themselves.
fn failing() -> Vec<Case> {
    let roles = [
        Role::plain(FAILURE),
        Role::plain(ONE_POINT).failing_prepare(),
        Role::plain(NO_POINT).failing_prepare().manual_finalize(),
        Role::plain(ONE_POINT).reporting_cancel(),
    ];
    roles.into_iter().flat_map(verbs).collect()
}

/// A second controller wakes a body that has no reason to wake: the tools know no spurious wakes.
fn woken() -> Vec<Case> {
    let mut cases = Vec::new();
    for role in [
        Role::plain(&[Act::Sleep, Act::Io]),
        Role::mirror(&[], &[]),
        Role::plain(ONE_POINT),
    ] {
        for ask in Ask::VERBS {
            cases.push(Case::Scenario(Scenario::single(
                role,
                vec![vec![Ask::Enter, ask, Ask::Enter]],
            )));
        }
    }
    cases
}

/// A ready job is told to finish once, and nothing else wakes it (P25): plainly, and in standby,
/// where it finishes once it is resumed (SEMANTICS.md §2.7).
fn told_once() -> Vec<Case> {
    let role = Role::mirror(&[], &[]);
    let plainly = vec![Ask::AwaitReady, Ask::Complete];
    let paused = vec![Ask::AwaitReady, Ask::Complete, Ask::Pause, Ask::Resume];
    [plainly, paused]
        .into_iter()
        .map(|asks| Case::Scenario(Scenario::single(role, vec![asks])))
        .collect()
}

/// Verbs on a job that is about to start.
fn start() -> Vec<Case> {
    let mut cases = Vec::new();
    for role in [Role::plain(ONE_POINT), Role::mirror(&[], &[])] {
        for ask in Ask::VERBS {
            cases.push(Case::Scenario(Scenario {
                early: true,
                ..Scenario::single(role, vec![vec![ask]])
            }));
        }
    }
    cases
}

/// The members of the transactions below.
fn couples() -> Vec<[Role; 2]> {
    let plain = Role::plain(ONE_POINT);
    vec![
        [plain, plain],
        [plain, Role::mirror(&[], &[])],
        [plain, Role::plain(FAILURE)],
        [Role::plain(FAILURE), plain],
        [plain.failing_prepare(), plain],
        [plain, plain.manual_finalize().manual_dismiss()],
    ]
}

/// A transaction of two, one of whose members is cancelled by the thread that then becomes the
/// main loop: before the start or after it.
fn transaction_cancelled_first() -> Vec<Case> {
    let mut cases = Vec::new();
    for couple in couples() {
        for member in 0..2 {
            // Only for a job that can converge is a soft cancel another thing than a forced one.
            let soft = couple[usize::from(member)].ready.map(|_| Ask::CancelSoft);
            for ask in soft.into_iter().chain([Ask::CancelForce]) {
                for started in [false, true] {
                    let mut scenario = Scenario::transaction(&couple);
                    if started {
                        scenario.before_loop = vec![(member, ask)];
                    } else {
                        scenario.before_start = vec![(member, ask)];
                    }
                    cases.push(Case::Scenario(scenario));
                }
            }
        }
    }
    cases
}

/// Two controllers, every pair of verbs; which of the two is the first makes no difference.
fn two_controllers(role: Role) -> Vec<Case> {
    let mut cases = Vec::new();
    for (place, first) in Ask::VERBS.into_iter().enumerate() {
        for second in &Ask::VERBS[place..] {
            cases.push(Case::Scenario(Scenario::single(
                role,
                vec![vec![first], vec![*second]],
            )));
        }
    }
    cases
}

/// Two controllers that hold everything, or one that does and one that asks something else.
fn pause_all() -> Vec<Case> {
    let hold = vec![Ask::HoldAll, Ask::ReleaseAll];
    let others = Ask::VERBS.into_iter().map(|ask| vec![ask]);
    let scenario = |role, other| {
        let asks = vec![hold.clone(), other];
        Case::Scenario(Scenario::single(role, asks))
    };
    let mut cases: Vec<Case> = others
        .chain([hold.clone()])
        .map(|other| scenario(Role::plain(ONE_POINT), other))
        .collect();
    cases.push(scenario(Role::mirror(&[], &[]), vec![Ask::CancelForce]));
    cases
}

/// A transaction of two and a controller that asks one thing of one member.
fn transaction_controller() -> Vec<Case> {
    let mut cases = Vec::new();
    for couple in couples() {
        for member in 0..2 {
            for ask in Ask::VERBS {
                let mut scenario = Scenario::transaction(&couple);
                scenario.controllers = vec![Controller(vec![(member, ask)])];
                cases.push(Case::Scenario(scenario));
            }
        }
    }
    cases
}

/// A soft cancel of a run about to end, against its end and against finalize (K4).
fn soft_cancel_and_finalize() -> Vec<Case> {
    let role = Role::mirror(&[], &[]).manual_finalize().manual_dismiss();
    let soft = vec![Ask::AwaitReady, Ask::CancelSoft];
    [Ask::Finalize, Ask::Complete, Ask::CancelSoft]
        .into_iter()
        .map(|other| single(role, vec![soft.clone(), vec![other]]))
        .collect()
}

/// The timer of a sleep as a thread of its own: the main loop's comes when nothing else is due.
fn timer() -> Vec<Case> {
    Ask::VERBS
        .into_iter()
        .map(|ask| {
            single(
                Role::plain(&[Act::Sleep]),
                vec![vec![ask], vec![Ask::Enter]],
            )
        })
        .collect()
}

/// An I/O error that stops the job, against its user (SEMANTICS.md §8, decisions 38, 39).
fn stop_error() -> Vec<Case> {
    let role = Role::plain(&[Act::Stop, Act::Point, Act::Io]);
    let mut cases: Vec<Case> = verbs(role);
    cases.push(single(role, vec![vec![Ask::AwaitPaused, Ask::Resume]]));
    cases.push(single(role, vec![vec![Ask::Pause, Ask::Resume]]));
    cases.push(single(role, vec![vec![Ask::Look, Ask::Look]]));
    cases
}
