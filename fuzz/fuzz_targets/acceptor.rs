//! Any sequence of calls, answers and observations: the acceptor judges it, in bounded memory, and the thin one
//! never takes what it refuses.
#![no_main]

use blockjob::model::accept::{Acceptor, GroupKey, JobKey, Seen};
use blockjob::model::state::{Group, JobSpec};
use blockjob::model::step::View;
use blockjob::model::{Callback, ErrorAction, Event, Profile, Request, Status};
use libfuzzer_sys::fuzz_target;

/// More jobs than this tell nothing new, and cost much.
const JOBS_MAX: usize = 6;
/// Nor do longer traces.
const STEPS_MAX: usize = 64;

fn spec(bits: u8) -> JobSpec {
    let bit = |at: u8| bits & (1 << at) != 0;
    JobSpec {
        auto_finalize: bit(0),
        auto_dismiss: bit(1),
        can_complete: bit(2),
        needs_finish: bit(2) && bit(3),
        block: bit(4),
        internal: false,
        completion: bit(5),
    }
}

fn request(byte: u8) -> Request {
    match byte % 9 {
        0 => Request::Pause,
        1 => Request::Resume,
        2 => Request::Cancel { force: false },
        3 => Request::Cancel { force: true },
        4 => Request::Complete,
        5 => Request::Finalize,
        6 => Request::Dismiss,
        7 => Request::SET_SPEED,
        _ => Request::Create,
    }
}

fn seen(byte: u8, callbacks: bool) -> Seen {
    let at = usize::from(byte >> 2);
    match byte % 4 {
        1 => Seen::Event(match at % 6 {
            0 => Event::Ready,
            1 => Event::Pending,
            2 => Event::Completed { error: false },
            3 => Event::Completed { error: true },
            4 => Event::Cancelled,
            _ => Event::Error {
                action: ErrorAction::Stop,
            },
        }),
        2 if callbacks => Seen::Begin(Callback::ALL[at % Callback::ALL.len()]),
        3 if callbacks => Seen::End(Callback::ALL[at % Callback::ALL.len()], at % 3 != 0),
        _ => Seen::Status(Status::ALL[at % Status::COUNT]),
    }
}

/// Plays the steps until one is refused; whether none was.
fn play(acceptor: &mut Acceptor, steps: &[[u8; 3]], callbacks: bool) -> bool {
    let mut groups: Vec<GroupKey> = vec![acceptor.group(Group::CLOSED)];
    let mut jobs: Vec<JobKey> = Vec::new();
    let mut calling = [false; 3];
    for &[what, who, which] in steps.iter().take(STEPS_MAX) {
        let job = jobs.get(usize::from(who) % jobs.len().max(1)).copied();
        let thread = u16::from(who >> 6) % 3;
        let refused = match (what % 6, job) {
            (0, _) if jobs.len() < JOBS_MAX => {
                if which % 2 == 1 {
                    groups.push(acceptor.group(Group::CLOSED));
                }
                let group = groups[groups.len() - 1];
                let job = acceptor.job(group, &[spec(which)], &format!("j{}", jobs.len()));
                if which % 4 < 2 {
                    acceptor.start(job);
                }
                jobs.push(job);
                false
            }
            (1, Some(job)) if !calling[usize::from(thread)] => {
                acceptor.call(thread, Some(job), request(which), which >= 128);
                calling[usize::from(thread)] = true;
                false
            }
            (2, _) if calling[usize::from(thread)] => {
                calling[usize::from(thread)] = false;
                acceptor.answer(thread, Ok(())).is_err()
            }
            (3 | 4, Some(job)) => acceptor.observe(job, seen(which, callbacks)).is_err(),
            (5, Some(job)) if which == 0 => {
                acceptor.others(job);
                false
            }
            _ => false,
        };
        if refused {
            return false;
        }
    }
    let _ = (acceptor.allowed(), acceptor.finish());
    true
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, rest)) = bytes.split_first() else {
        return;
    };
    let profile = Profile::ALL[usize::from(first >> 1) % Profile::ALL.len()];
    let callbacks = first % 2 == 1;
    let view = if callbacks { View::TRACE } else { View::QMP };
    let (steps, _) = rest.as_chunks::<3>();
    let thin = play(&mut Acceptor::thin(profile, view), steps, callbacks);
    let whole = play(&mut Acceptor::new(profile, view), steps, callbacks);
    assert!(
        whole || !thin,
        "the thin one takes what the whole one refuses"
    );
});
