//! The list of harnesses: what is explored, under which tool, with which bound.

mod arrival;
mod calls_back;
mod drain;
mod waiter;

use crate::actor::{Act, Role};
use crate::asleep::Asleep;
use crate::departure::Departure;
use crate::following::Following;
use crate::generate::Sizes;
use crate::judge::Cast;
use crate::lockfree::LockFree;
use crate::moments::Moment;
use crate::programs::{Ending, Space};
use crate::scenario::{Ask, Controller, Member, Scenario};

/// One thing to play again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    /// Jobs and controllers.
    Scenario(Scenario),
    /// What happens without the lock.
    LockFree(LockFree),
    /// What a mirror does, without a job.
    Following(Following),
    /// A pause of who sleeps or waits.
    Asleep(Asleep),
    /// What has to hold at a moment that no history shows.
    Moment(Moment),
    /// The end of the main loop.
    Departure(Departure),
    /// What counts and decides nothing.
    Counters,
}

impl Case {
    /// What the judge has to know.
    pub fn cast(&self) -> Cast {
        match self {
            Case::Scenario(scenario) => scenario.cast(),
            Case::LockFree(case) => case.cast(),
            Case::Asleep(case) => case.cast(),
            Case::Moment(moment) => moment.cast(),
            Case::Following(_) | Case::Departure(_) | Case::Counters => Cast::default(),
        }
    }

    /// The specification judges its histories; of the others only what they assert is asked.
    pub fn is_judged(&self) -> bool {
        !matches!(
            self,
            Case::Following(_) | Case::Departure(_) | Case::Counters
        )
    }
}

impl Default for Case {
    /// A scenario of nobody.
    fn default() -> Case {
        Case::Scenario(Scenario::default())
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
    /// loom: the same for every program of a space.
    Programs {
        /// The programs.
        space: Space,
        /// The bound; with a limit, that of the programs which are beyond it.
        preemptions: usize,
        /// So many executions of a program are explored without any bound first.
        unbounded_max: Option<usize>,
    },
    /// Every program of a space, and nothing at the same time.
    Sequential {
        /// The programs.
        space: Space,
    },
    /// shuttle: worlds at random, each under so many schedules at random.
    Worlds(Worlds),
}

/// Worlds and schedules at random.
#[derive(Clone, Copy, Debug)]
pub struct Worlds {
    /// How a world is drawn.
    pub draw: Draw,
    /// How its schedules are.
    pub draws: Schedules,
    /// Where the random numbers begin; world number n has those of its own.
    pub seed: u64,
    /// How many worlds.
    pub worlds: u64,
    /// How many schedules of each.
    pub schedules: usize,
}

/// How a world is drawn.
#[derive(Clone, Copy, Debug)]
pub enum Draw {
    /// Jobs, groups and controllers, up to these sizes.
    World(Sizes),
    /// The programs of a space, every one as likely as any other.
    Program(Space),
}

/// How a schedule is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedules {
    /// Whoever goes on is drawn at every step.
    Random,
    /// The same, weighted so that every interleaving is about as likely as any other (a uniform random
    /// walk).
    Uniform,
    /// Priorities, and so many minus one places where they change (PCT).
    Pct(usize),
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
    /// Into how many parts it is cut, and how many of them are played.
    pub parts: Parts,
}

/// Into how many parts the programs of a harness are cut, a prime number, and how many of these are
/// played: the first ones. One part of one is the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Of every change.
    pub quick: u64,
    /// With `--full`.
    pub full: u64,
    /// All there are; with `--whole`.
    pub whole: u64,
}

impl Parts {
    /// What is not cut.
    pub const ONE: Parts = Parts {
        quick: 1,
        full: 1,
        whole: 1,
    };
}

impl Harness {
    /// The tool whose build it needs.
    pub fn tool(&self) -> &'static str {
        match self.method {
            Method::Loom { .. } | Method::Programs { .. } => "loom",
            Method::Sequential { .. } | Method::Worlds(_) => "shuttle",
        }
    }

    /// What it is called where it is reported: its tool, but for `sequential`, where shuttle plays and draws nothing.
    pub fn named_tool(&self) -> &'static str {
        match self.method {
            Method::Sequential { .. } => "sequential",
            _ => self.tool(),
        }
    }

    /// How many programs or worlds it has, where they are counted.
    pub fn programs(&self) -> Option<u64> {
        match self.method {
            Method::Programs { space, .. } | Method::Sequential { space } => Some(space.count()),
            Method::Worlds(worlds) => Some(worlds.worlds),
            Method::Loom { .. } => None,
        }
    }

    /// Where its random numbers begin, if it draws any.
    pub fn seed(&self) -> Option<u64> {
        match self.method {
            Method::Worlds(worlds) => Some(worlds.seed),
            Method::Loom { .. } | Method::Programs { .. } | Method::Sequential { .. } => None,
        }
    }

    /// The bound on preemptions; none where there is none, and for schedules at random.
    pub fn bound(&self) -> Option<usize> {
        match self.method {
            Method::Loom { preemptions, .. } => preemptions,
            Method::Programs { preemptions, .. } => Some(preemptions),
            Method::Sequential { .. } => Some(0),
            Method::Worlds(_) => None,
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
        parts: Parts::ONE,
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
        parts: Parts::ONE,
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

/// Every program of a space with at most two preemptions.
const fn programs(name: &'static str, space: Space, parts: Parts) -> Harness {
    Harness {
        name,
        method: Method::Programs {
            space,
            preemptions: 2,
            unbounded_max: None,
        },
        full: false,
        parts,
    }
}

/// Worlds at random, of which every change is checked with a part.
const fn worlds(
    name: &'static str,
    draw: Draw,
    draws: Schedules,
    seed: u64,
    worlds: u64,
    schedules: usize,
) -> Harness {
    Harness {
        name,
        method: Method::Worlds(Worlds {
            draw,
            draws,
            seed,
            worlds,
            schedules,
        }),
        full: false,
        parts: Parts {
            quick: 1,
            full: 11,
            whole: 11,
        },
    }
}

/// The programs of at most two verbs and two steps; their job ends itself, or its user does.
const SMALL: Space = Space {
    jobs: 1,
    verbs_min: 0,
    verbs_max: 2,
    steps_max: 2,
    endings: &[Ending::AUTOMATIC, Ending::MANUAL],
};

/// Those with three verbs.
const THREE_VERBS: Space = Space {
    verbs_min: 3,
    verbs_max: 3,
    ..SMALL
};

/// A group of two, asked at most two things, with at most one step each.
const COUPLE: Space = Space {
    jobs: 2,
    steps_max: 1,
    ..SMALL
};

/// One job, nothing at the same time.
const SEQUENTIAL: Space = Space {
    jobs: 1,
    verbs_min: 0,
    verbs_max: 3,
    steps_max: 4,
    endings: &[Ending::AUTOMATIC, Ending::MANUAL, Ending::FAILING],
};

/// What is left: a group of two, each with a long script.
const SAMPLED: Space = Space {
    jobs: 2,
    ..SEQUENTIAL
};

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
    unbounded("cancel-is-noticed", || {
        vec![
            Case::LockFree(LockFree::RequestIsSeen),
            Case::LockFree(LockFree::LaneSeesCancel),
        ]
    }),
    unbounded("pause-ends-a-sleep", || {
        [Asleep::ForAWhile, Asleep::NotAtAll, Asleep::UntilEntered]
            .map(Case::Asleep)
            .to_vec()
    }),
    within("moments", 3, moments),
    long(unbounded("moments-all", moments)),
    unbounded("home-is-told", arrival::home_is_told),
    unbounded("home-goes-away", || {
        Departure::ALL.map(Case::Departure).to_vec()
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
    unbounded("start", start),
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
    unbounded("dirty-bitmap", || {
        let cases = [
            Following::WrittenAgain,
            Following::TwoCopiers,
            Following::CopyFails,
            Following::SeenClean,
            Following::Beyond,
        ];
        cases.map(Case::Following).to_vec()
    }),
    within("dirty-bitmap-two-writers", 3, || {
        vec![Case::Following(Following::Neighbours)]
    }),
    unbounded("switch-over", || {
        let cases = [
            Following::SwitchOver,
            Following::WriterReturns,
            Following::SwitchFails,
            Following::Reopened,
        ];
        cases.map(Case::Following).to_vec()
    }),
    within("switch-over-two-writers", 3, || {
        vec![Case::Following(Following::TwoWriters)]
    }),
    within("gate-two-lanes", 1, || {
        vec![Case::LockFree(LockFree::TwoLanes)]
    }),
    long(bounded("gate-two-lanes-two", || {
        vec![Case::LockFree(LockFree::TwoLanes)]
    })),
    within("gate-lane-begins", 3, || {
        vec![Case::LockFree(LockFree::LaneBegins)]
    }),
    bounded("gate-lane-calls-in", || {
        vec![Case::LockFree(LockFree::LaneCallsIn)]
    }),
    within("gate-lane-stays", 3, || {
        vec![Case::LockFree(LockFree::LaneStays)]
    }),
    within("soft-cancel-and-finalize", 1, soft_cancel_and_finalize),
    long(bounded(
        "soft-cancel-and-finalize-two",
        soft_cancel_and_finalize,
    )),
    bounded("timer", timer),
    within("timers", 1, timers),
    bounded("stop-error", stop_error),
    within("stop-error-another", 1, stop_error_and_another),
    long(bounded("stop-error-another-two", stop_error_and_another)),
    within("drain", 3, drain::alone),
    unbounded("drain-ending", drain::of_one_that_ends),
    bounded("drain-within", drain::within),
    bounded("drain-another", drain::and_another),
    within("drain-mirror", 1, drain::of_one_that_waits),
    long(bounded("drain-mirror-two", drain::of_one_that_waits)),
    within("moved", 1, drain::moved),
    long(bounded("moved-two", drain::moved)),
    within("waiter", 3, waiter::alone),
    long(unbounded("waiter-all", waiter::alone)),
    bounded("waiter-another", waiter::and_another),
    bounded("waiter-beside", waiter::beside),
    long(within("waiter-beside-three", 3, waiter::beside)),
    within("waiter-mirror", 1, waiter::of_one_that_waits),
    long(bounded("waiter-mirror-two", waiter::of_one_that_waits)),
    bounded("cancel-all", waiter::cancel_all),
    unbounded("calls-back", calls_back::of_itself),
    within("calls-back-when-asked", 1, calls_back::when_asked),
    long(bounded("calls-back-when-asked-two", calls_back::when_asked)),
    unbounded("calls-back-peer", calls_back::of_a_peer),
    bounded("calls-back-controller", calls_back::beside_a_controller),
    bounded("creation", arrival::creation),
    bounded("transaction-start", arrival::start),
    bounded("start-apart", arrival::start_apart),
    bounded("transaction-held", drain::of_a_transaction),
    long(within("transaction-held-three", 3, drain::of_a_transaction)),
    bounded("looked-at", arrival::looked_at),
    unbounded("members-end", arrival::members_end),
    bounded("three-members-end", arrival::three_members_end),
    Harness {
        name: "programs-sequential",
        method: Method::Sequential { space: SEQUENTIAL },
        full: false,
        parts: Parts {
            quick: 4,
            full: 251,
            whole: 251,
        },
    },
    Harness {
        name: "programs-two-verbs",
        method: Method::Programs {
            space: SMALL,
            preemptions: 2,
            unbounded_max: Some(20_000),
        },
        full: false,
        parts: Parts {
            quick: 6,
            full: 509,
            whole: 509,
        },
    },
    programs(
        "programs-three-verbs",
        THREE_VERBS,
        Parts {
            quick: 4,
            full: 47,
            whole: 251,
        },
    ),
    programs(
        "programs-group",
        COUPLE,
        Parts {
            quick: 3,
            full: 67,
            whole: 4093,
        },
    ),
    worlds(
        "programs-sampled",
        Draw::Program(SAMPLED),
        Schedules::Random,
        1,
        110_000,
        4,
    ),
    worlds(
        "worlds-random",
        Draw::World(Sizes::LARGE),
        Schedules::Random,
        2,
        2_200,
        32,
    ),
    worlds(
        "worlds-uniform",
        Draw::World(Sizes::LARGE),
        Schedules::Uniform,
        3,
        2_200,
        8,
    ),
    worlds(
        "worlds-pct-3",
        Draw::World(Sizes::LARGE),
        Schedules::Pct(3),
        4,
        2_200,
        32,
    ),
    worlds(
        "worlds-pct-5",
        Draw::World(Sizes::LARGE),
        Schedules::Pct(5),
        5,
        2_200,
        32,
    ),
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

/// The controller wakes a body that has no reason to wake, before and after what it asks: the tools know no spurious
/// wakes.
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
    for other in [Ask::CancelForce, Ask::Complete, Ask::CancelSoft] {
        cases.push(scenario(Role::mirror(&[], &[]), vec![other]));
    }
    // Something lies between hold and release, so that the release of another can come there.
    let hold_for_a_while = vec![Ask::HoldAll, Ask::Enter, Ask::ReleaseAll];
    cases.push(scenario(Role::plain(ONE_POINT), hold_for_a_while));
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

/// Two jobs asleep until the same moment: what ends the sleep of one leaves the other its timer (K9).
fn timers() -> Vec<Case> {
    let sleeper = Role::plain(&[Act::Sleep]);
    [Ask::Enter, Ask::CancelForce, Ask::Pause, Ask::SetSpeed]
        .into_iter()
        .map(|ask| {
            let members = [0, 1].map(|group| Member {
                group,
                role: sleeper,
            });
            Case::Scenario(Scenario {
                members: members.to_vec(),
                controllers: vec![Controller(vec![(0, ask)])],
                ..Scenario::default()
            })
        })
        .collect()
}

fn moments() -> Vec<Case> {
    Moment::ALL.map(Case::Moment).to_vec()
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

/// A job that an error stops, beside somebody who holds or drains it or waits for its end, and with a peer that
/// fails or is cancelled.
fn stop_error_and_another() -> Vec<Case> {
    let role = Role::plain(&[Act::Stop, Act::Point, Act::Io]);
    let user = vec![Ask::AwaitPaused, Ask::Resume];
    let mut cases: Vec<Case> = [
        vec![Ask::HoldAll, Ask::Enter, Ask::ReleaseAll],
        vec![Ask::DrainBegin, Ask::Enter, Ask::DrainEnd],
        vec![Ask::CancelSync],
        vec![Ask::WaitDecided],
        vec![Ask::CancelForce],
    ]
    .into_iter()
    .map(|other| single(role, vec![other, user.clone()]))
    .collect();
    cases.push(single(role, vec![vec![Ask::AwaitPaused, Ask::CancelSync]]));
    let mut with_peer = |peer, asks: Vec<(u8, Ask)>| {
        let mut scenario = Scenario::transaction(&[role, peer]);
        if !asks.is_empty() {
            scenario.controllers = vec![Controller(asks)];
        }
        cases.push(Case::Scenario(scenario));
    };
    let (plain, failing) = (Role::plain(ONE_POINT), Role::plain(FAILURE));
    // The abort of the group is what ends it: nobody resumes it.
    with_peer(plain, vec![(1, Ask::CancelForce)]);
    with_peer(plain, vec![(0, Ask::AwaitPaused), (1, Ask::CancelForce)]);
    with_peer(failing, Vec::new());
    with_peer(plain, vec![(0, Ask::AwaitPaused), (0, Ask::Resume)]);
    with_peer(failing, vec![(0, Ask::AwaitPaused), (0, Ask::Resume)]);
    cases
}
