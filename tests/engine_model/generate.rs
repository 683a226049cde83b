//! Which programs there are, and how likely.

use blockjob_model::state::{Job, JobSpec};
use blockjob_model::{Callback, ErrorPolicy, Status};
use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

use crate::program::{
    Deed, Drive, Flaw, JOBS_MAX, JobPlan, Mischief, Operation, Plan, TOKENS, TRANSACTIONS_MAX, Verb,
};
use crate::specification::Specification;

/// The programs.
pub struct Programs;

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        4 => Just(Verb::Pause),
        4 => Just(Verb::Resume),
        1 => Just(Verb::Cancel { force: true }),
        1 => Just(Verb::Cancel { force: false }),
        3 => Just(Verb::Complete),
        2 => Just(Verb::Finalize),
        2 => Just(Verb::Dismiss),
        2 => prop::sample::select(&Verb::SPEEDS[..])
            .prop_map(|bytes_per_s| Verb::SetSpeed { bytes_per_s }),
        1 => Just(Verb::Enter),
        1 => Just(Verb::ResetIoStatus),
    ]
}

/// Callbacks that may call back: all but `run`, which is what orders are for.
fn callback() -> impl Strategy<Value = Callback> {
    let all: Vec<Callback> = Callback::ALL
        .into_iter()
        .filter(|callback| *callback != Callback::Run)
        .collect();
    prop::sample::select(all)
}

fn mischief() -> impl Strategy<Value = Mischief> {
    let deed = prop_oneof![
        8 => (0..JOBS_MAX, verb()).prop_map(|(job, verb)| Deed::Ask(job, verb)),
        1 => (0..JOBS_MAX).prop_map(Deed::Start),
        1 => Just(Deed::Wait),
    ];
    (callback(), deed, 1..=3_u8).prop_map(|(callback, deed, times)| Mischief {
        callback,
        deed,
        times,
    })
}

fn spec() -> impl Strategy<Value = JobSpec> {
    let flag = |likely: f64| prop::bool::weighted(likely);
    (
        flag(0.3),
        flag(0.3),
        any::<bool>(),
        flag(0.15),
        flag(0.1),
        flag(0.2),
    )
        .prop_map(
            |(by_hand, stays, can_complete, no_block_job, internal, silent)| JobSpec {
                auto_finalize: internal || !by_hand,
                auto_dismiss: internal || !stays,
                can_complete,
                block: !no_block_job,
                internal,
                completion: !silent,
                ..JobSpec::PLAIN
            },
        )
}

fn job() -> impl Strategy<Value = JobPlan> {
    (
        prop::option::weighted(0.7, 0..TRANSACTIONS_MAX),
        spec(),
        prop::bool::weighted(0.85),
        prop_oneof![4 => Just(0_u8), 1 => 1..=2_u8],
        prop::collection::vec(mischief(), 0..=3),
    )
        .prop_map(|(transaction, spec, prepares, polls, mischief)| JobPlan {
            transaction,
            spec,
            prepares,
            polls,
            mischief,
        })
}

/// Makes mischief concern jobs that there are, and ask nothing of internal ones that they have no
/// id for.
fn plan(mut jobs: Vec<JobPlan>, on_main_thread: bool) -> Plan {
    let internal: Vec<bool> = jobs.iter().map(|job| job.spec.internal).collect();
    for mischief in jobs.iter_mut().flat_map(|job| &mut job.mischief) {
        mischief.deed = match mischief.deed {
            Deed::Ask(target, verb) => {
                let target = target % internal.len();
                if internal[target] && verb.needs_id() {
                    Deed::Ask(target, Verb::Pause)
                } else {
                    Deed::Ask(target, verb)
                }
            }
            Deed::Start(target) => Deed::Start(target % internal.len()),
            Deed::Wait => Deed::Wait,
        };
    }
    Plan {
        jobs,
        on_main_thread,
    }
}

/// How likely it is that a body of this job, which waits for orders, is told this.
fn drives(state: &Specification, job: usize) -> Vec<(usize, Drive)> {
    let forced = state.job(job).is_some_and(Job::forced);
    let mut drives = vec![
        (40, Drive::Point),
        (8, Drive::Sleep { ms: 1 }),
        (8, Drive::Sleep { ms: 10 }),
        (12, Drive::Wait),
        (4, Drive::Io),
        (40, Drive::Converge),
        (30, Drive::Finish),
        // Who is cancelled by force has nothing better to do.
        (if forced { 40 } else { 8 }, Drive::Return { well: true }),
        (3, Drive::Return { well: false }),
    ];
    for no_space in [false, true] {
        drives.extend(ErrorPolicy::ALL.map(|policy| (1, Drive::Error { policy, no_space })));
    }
    drives
}

/// How likely it is that a job is asked this.
fn asks(state: &Specification, job: usize) -> Vec<(usize, Verb)> {
    let status = state.status(job);
    if status == Status::Null {
        // Nobody is there; one answer is like the other.
        return vec![(1, Verb::Pause), (1, Verb::Enter), (1, Verb::Dismiss)];
    }
    let likely = |when: bool, weight: usize| if when { weight } else { 1 };
    let paused = state.job(job).is_some_and(|job| job.user_paused);
    let mut asks = vec![
        (likely(!paused, 16), Verb::Pause),
        (likely(paused, 40), Verb::Resume),
        (2, Verb::Cancel { force: true }),
        (
            likely(status == Status::Ready, 6),
            Verb::Cancel { force: false },
        ),
        (likely(status.is_ready(), 16), Verb::Complete),
        (likely(status == Status::Pending, 16), Verb::Finalize),
        (likely(status == Status::Concluded, 16), Verb::Dismiss),
        (4, Verb::Enter),
        (likely(paused, 4), Verb::ResetIoStatus),
    ];
    asks.extend(Verb::SPEEDS.map(|bytes_per_s| (2, Verb::SetSpeed { bytes_per_s })));
    asks
}

impl ReferenceStateMachine for Programs {
    type State = Specification;
    type Transition = Operation;

    fn init_state() -> BoxedStrategy<Specification> {
        let jobs = prop::collection::vec(job(), 1..=JOBS_MAX);
        (jobs, prop::bool::weighted(0.3))
            .prop_map(|(jobs, on_main_thread)| Specification::new(plan(jobs, on_main_thread)))
            .boxed()
    }

    fn transitions(state: &Specification) -> BoxedStrategy<Operation> {
        let mut possible = vec![(40, Operation::Tick)];
        for token in 0..TOKENS {
            possible.extend([
                (4, Operation::PauseAll(token)),
                (16, Operation::ResumeAll(token)),
                (4, Operation::DrainBegin(token, None)),
                (16, Operation::DrainEnd(token)),
            ]);
        }
        for job in 0..state.jobs.len() {
            possible.extend([
                (40, Operation::Create(job)),
                (1, Operation::CreateBadly(job, Flaw::InvalidId)),
                (1, Operation::CreateBadly(job, Flaw::NegativeSpeed)),
                (40, Operation::Start(job)),
                (1, Operation::GiveUp(job)),
                (40, Operation::Renew(job)),
            ]);
            for token in 0..TOKENS {
                possible.extend([
                    (1, Operation::DrainBegin(token, Some(job))),
                    (4, Operation::Attach(token, job)),
                ]);
            }
            for other in 0..state.jobs.len() {
                possible.push((1, Operation::CreateBadly(job, Flaw::TakenId(other))));
            }
            let asks = asks(state, job).into_iter();
            possible.extend(asks.map(|(weight, verb)| (weight, Operation::Ask(job, verb))));
            let drives = drives(state, job).into_iter();
            possible.extend(drives.map(|(weight, drive)| (weight, Operation::Drive(job, drive))));
        }
        possible.retain(|(_, operation)| state.allows(operation));
        let weighted: Vec<Operation> = possible
            .into_iter()
            .flat_map(|(weight, operation)| std::iter::repeat_n(operation, weight))
            .collect();
        prop::sample::select(weighted).boxed()
    }

    fn preconditions(state: &Specification, operation: &Operation) -> bool {
        state.allows(operation)
    }

    fn apply(mut state: Specification, operation: &Operation) -> Specification {
        state.apply(operation);
        state
    }
}
