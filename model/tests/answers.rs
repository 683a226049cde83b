//! Goal: the acceptor says what it knows: which jobs there are, what they may be, what may come next, and of whom
//! it rejects something.
//!
//! Method: short histories written down by hand, with questions between. What it says may come next is held
//! against what it then takes.

#![allow(clippy::unwrap_used)]

use blockjob_model::accept::{Acceptor, JobKey, Rejection, Seen};
use blockjob_model::profile::{QEMU_2_12, REFERENCE};
use blockjob_model::state::{Group, JobSpec};
use blockjob_model::step::{Output, View};
use blockjob_model::{Callback, ErrorAction, Event, Profile, Refusal, Request, Status};

use Status::{Aborting, Concluded, Created, Null, Paused, Pending, Running, Undefined, Waiting};

const PLAIN: JobSpec = JobSpec::PLAIN;
const KEPT: JobSpec = JobSpec {
    auto_dismiss: false,
    ..PLAIN
};
const DONE: Event = Event::Completed { error: false };
const FAILED: Event = Event::Completed { error: true };
const BY_FORCE: Request = Request::Cancel { force: true };

fn rule<T>(result: Result<T, Rejection>) -> &'static str {
    result.err().map_or("accepted", |rejection| rejection.rule)
}

fn to(acceptor: &mut Acceptor, job: JobKey, statuses: &[Status]) {
    for &status in statuses {
        acceptor.observe(job, Seen::Status(status)).unwrap();
    }
}

/// A job in a transaction of its own, not yet created: the command that creates it starts it.
fn announced(acceptor: &mut Acceptor, spec: JobSpec, id: &str) -> JobKey {
    let group = acceptor.group(Group::CLOSED);
    let job = acceptor.job(group, &[spec], id);
    acceptor.start(job);
    job
}

/// The same, as it runs.
fn running(acceptor: &mut Acceptor, spec: JobSpec, id: &str) -> JobKey {
    let job = announced(acceptor, spec, id);
    to(acceptor, job, &[Created, Running]);
    job
}

fn end_well(acceptor: &mut Acceptor, job: JobKey) {
    to(acceptor, job, &[Waiting, Pending]);
    acceptor.observe(job, Seen::Event(DONE)).unwrap();
    to(acceptor, job, &[Concluded]);
}

/// One of each sort.
fn both(profile: &'static Profile, view: View) -> [Acceptor; 2] {
    [Acceptor::new(profile, view), Acceptor::thin(profile, view)]
}

#[test]
fn a_job_lives_until_it_is_gone_and_every_call_on_it_is_answered() {
    for mut acceptor in both(&REFERENCE, View::QMP) {
        assert_eq!(acceptor.live_jobs(), 0);
        let asked = running(&mut acceptor, PLAIN, "asked");
        let kept = running(&mut acceptor, KEPT, "kept");
        assert_eq!(acceptor.live_jobs(), 2);
        acceptor.call(0, Some(asked), Request::Pause, false);
        end_well(&mut acceptor, asked);
        to(&mut acceptor, asked, &[Null]);
        assert_eq!(acceptor.live_jobs(), 2, "its call is not answered");
        acceptor.answer(0, Ok(())).unwrap();
        assert_eq!(acceptor.live_jobs(), 1);
        end_well(&mut acceptor, kept);
        assert_eq!(acceptor.live_jobs(), 1, "nobody has dismissed it");
        acceptor.call(0, Some(kept), Request::Dismiss, false);
        to(&mut acceptor, kept, &[Null]);
        acceptor.answer(0, Ok(())).unwrap();
        assert_eq!(acceptor.live_jobs(), 0);
        acceptor.finish().unwrap();
    }
}

#[test]
fn a_job_that_never_came_into_being_does_not_live() {
    for mut acceptor in both(&REFERENCE, View::QMP) {
        let job = announced(&mut acceptor, PLAIN, "job");
        acceptor.never(job);
        assert_eq!(acceptor.live_jobs(), 0);
        acceptor.finish().unwrap();
    }
}

#[test]
fn a_thin_acceptor_says_a_status_that_the_job_may_have() {
    let [mut whole, mut thin] = both(&REFERENCE, View::QMP);
    let jobs = [&mut whole, &mut thin].map(|acceptor| {
        let first = announced(acceptor, PLAIN, "first");
        (first, announced(acceptor, KEPT, "second"))
    });
    let life = [Created, Running, Paused, Running, Waiting, Pending];
    for status in life {
        for (acceptor, (first, _)) in [&mut whole, &mut thin].into_iter().zip(jobs) {
            if status == Paused {
                acceptor.call(0, Some(first), Request::Pause, false);
                acceptor.answer(0, Ok(())).unwrap();
            }
            to(acceptor, first, &[status]);
            if status == Paused {
                acceptor.call(0, Some(first), Request::Resume, false);
                acceptor.answer(0, Ok(())).unwrap();
            }
        }
        for (in_whole, in_thin) in [(jobs[0].0, jobs[1].0), (jobs[0].1, jobs[1].1)] {
            let (may, says) = (whole.statuses(in_whole), thin.statuses(in_thin));
            assert_eq!(says.len().max(1), 1, "{says:?}");
            assert!(
                says.iter().all(|status| may.contains(status)),
                "{says:?}, of {may:?}"
            );
        }
    }
    for (acceptor, (first, _)) in [&mut whole, &mut thin].into_iter().zip(jobs) {
        assert!(!acceptor.gone(first));
        acceptor.observe(first, Seen::Event(DONE)).unwrap();
        to(acceptor, first, &[Concluded, Null]);
        assert!(acceptor.gone(first));
    }
}

#[test]
fn a_job_that_was_seen_came_into_being() {
    let mut acceptor = Acceptor::new(&REFERENCE, View::QMP);
    let job = announced(&mut acceptor, PLAIN, "job");
    to(&mut acceptor, job, &[Created]);
    acceptor.never(job);
    assert_eq!(acceptor.statuses(job), [Created]);
    assert_eq!(acceptor.live_jobs(), 1);
}

#[test]
fn what_is_left_undone_is_said_of_either_sort() {
    let [mut whole, mut thin] = both(&REFERENCE, View::QMP);
    for (acceptor, left) in [
        (&mut whole, "left-undone"),
        (&mut thin, "no-explanation-found"),
    ] {
        let job = running(acceptor, KEPT, "job");
        assert_eq!(rule(acceptor.finish()), left);
        end_well(acceptor, job);
        // It may stay so.
        acceptor.finish().unwrap();
    }
}

#[test]
fn the_statuses_of_a_job_are_those_it_may_have() {
    let mut acceptor = Acceptor::new(&REFERENCE, View::QMP);
    let group = acceptor.group(Group::CLOSED);
    let jobs = ["older", "newer"].map(|id| acceptor.job(group, &[PLAIN], id));
    for job in jobs {
        acceptor.start(job);
        assert_eq!(acceptor.statuses(job), [Undefined]);
    }
    for status in [Created, Running, Waiting] {
        for job in jobs {
            to(&mut acceptor, job, &[status]);
            assert_eq!(acceptor.statuses(job), [status]);
            assert!(!acceptor.gone(job));
        }
    }
    for job in [jobs[1], jobs[0]] {
        to(&mut acceptor, job, &[Pending]);
    }
    acceptor.observe(jobs[1], Seen::Event(DONE)).unwrap();
    to(&mut acceptor, jobs[1], &[Concluded, Null]);
    // It is still judged, for the other's sake.
    assert_eq!(acceptor.live_jobs(), 2);
    assert_eq!(acceptor.statuses(jobs[1]), [Null]);
    assert_eq!(jobs.map(|job| acceptor.gone(job)), [false, true]);
    acceptor.observe(jobs[0], Seen::Event(DONE)).unwrap();
    to(&mut acceptor, jobs[0], &[Concluded, Null]);
    for job in jobs {
        assert!(acceptor.gone(job) && acceptor.statuses(job).is_empty());
    }
}

/// QEMU 2.12 announces no status: an answer and an absence say what no event does.
#[test]
fn where_no_event_says_so_an_answer_says_that_a_job_began_and_a_list_that_it_is_gone() {
    let mut acceptor = Acceptor::new(&QEMU_2_12, View::QMP);
    let job = announced(&mut acceptor, PLAIN, "job");
    let before = acceptor.statuses(job);
    for possible in [Undefined, Created, Running, Null] {
        assert!(before.contains(&possible), "{before:?}");
    }
    acceptor.began(job);
    let begun = acceptor.statuses(job);
    assert!(
        begun.contains(&Running) && !begun.contains(&Undefined),
        "{begun:?}"
    );
    assert!(!begun.contains(&Created), "{begun:?}");
    acceptor.observe(job, Seen::Event(DONE)).unwrap();
    assert!(!acceptor.gone(job), "{:?}", acceptor.statuses(job));
    assert_eq!(acceptor.live_jobs(), 1);
    acceptor.vanished(job);
    assert!(acceptor.gone(job));
    assert_eq!(acceptor.live_jobs(), 0);
}

#[test]
fn what_a_job_turns_out_to_be_fits_what_was_seen_of_it() {
    let mut acceptor = Acceptor::new(&REFERENCE, View::QMP);
    let group = acceptor.group(Group::CLOSED);
    let job = acceptor.job(group, &[PLAIN, KEPT], "job");
    let other = acceptor.job(group, &[PLAIN, KEPT], "other");
    for job in [other, job] {
        acceptor.start(job);
        to(&mut acceptor, job, &[Created, Running, Waiting]);
    }
    to(&mut acceptor, other, &[Pending]);
    to(&mut acceptor, job, &[Pending]);
    acceptor.observe(other, Seen::Event(DONE)).unwrap();
    to(&mut acceptor, other, &[Concluded, Null]);
    // It dismissed itself.
    assert!(!acceptor.narrow(other, &[KEPT]));
    assert!(acceptor.narrow(other, &[PLAIN]));
    assert!(acceptor.narrow(job, &[KEPT]));
    assert!(!acceptor.narrow(job, &[PLAIN]));
}

#[test]
fn whoever_is_unseen_asks_of_those_alone_that_are_said_to_be_known_to_him() {
    let mut acceptor = Acceptor::new(&REFERENCE, View::QMP);
    let [known, unknown] = ["known", "unknown"].map(|id| running(&mut acceptor, PLAIN, id));
    let paused = Seen::Status(Paused);
    assert_eq!(rule(acceptor.observe(known, paused)), "paused-unasked");
    acceptor.others(known);
    acceptor.observe(known, paused).unwrap();
    assert_eq!(rule(acceptor.observe(unknown, paused)), "paused-unasked");
    acceptor.others_everywhere();
    acceptor.observe(unknown, paused).unwrap();
}

#[test]
fn after_a_restart_nothing_is_left_of_the_trace_before() {
    let mut acceptor = Acceptor::new(&REFERENCE, View::FULL);
    // A section of every job, and a callback of the main loop, that never end.
    acceptor.call(1, None, Request::DrainBegin { token: 3 }, false);
    acceptor.answer(1, Ok(())).unwrap();
    let left = started(&mut acceptor, "left");
    acceptor.call(0, Some(left), BY_FORCE, false);
    acceptor
        .observe(left, Seen::Begin(Callback::Cancel))
        .unwrap();
    assert_eq!(rule(acceptor.finish()), "left-undone");
    acceptor.restart();
    assert_eq!((acceptor.live_jobs(), acceptor.widened()), (0, 0));
    acceptor.finish().unwrap();
    assert_eq!(rule(acceptor.answer(0, Ok(()))), "reply-without-call");
    // Nobody holds who comes now, and the main loop is free.
    let next = started(&mut acceptor, "next");
    acceptor.observe(next, Seen::Begin(Callback::Run)).unwrap();
    acceptor.call(0, Some(next), BY_FORCE, false);
    acceptor
        .observe(next, Seen::Begin(Callback::Cancel))
        .unwrap();
}

/// A thin one uses the memory of what is over again, and nothing of what stood there.
#[test]
fn of_a_transaction_that_is_over_the_next_has_nothing() {
    for mut acceptor in both(&REFERENCE, View::QMP) {
        running(&mut acceptor, PLAIN, "left");
        acceptor.restart();
        for id in ["first", "second"] {
            let job = announced(&mut acceptor, PLAIN, id);
            assert!(acceptor.observe(job, Seen::Status(Waiting)).is_err());
            let job = running(&mut acceptor, PLAIN, id);
            end_well(&mut acceptor, job);
            to(&mut acceptor, job, &[Null]);
        }
        let job = announced(&mut acceptor, PLAIN, "third");
        assert!(acceptor.observe(job, Seen::Status(Null)).is_err());
        to(&mut acceptor, job, &[Created]);
    }
}

#[test]
fn a_thin_acceptor_gives_no_reasons() {
    let [mut whole, mut thin] = both(&REFERENCE, View::QMP);
    for (acceptor, unasked) in [
        (&mut whole, "paused-unasked"),
        (&mut thin, "no-explanation-found"),
    ] {
        let job = running(acceptor, PLAIN, "job");
        assert_eq!(rule(acceptor.observe(job, Seen::Status(Paused))), unasked);
        end_well(acceptor, job);
    }
}

/// A job in a transaction of its own, created and started, as the recorder of callbacks sees it.
fn started(acceptor: &mut Acceptor, id: &str) -> JobKey {
    let group = acceptor.group(Group::CLOSED);
    let job = acceptor.job(group, &[PLAIN], id);
    for (request, status) in [(Request::Create, Created), (Request::Start, Running)] {
        acceptor.call(9, Some(job), request, false);
        to(acceptor, job, &[status]);
        acceptor.answer(9, Ok(())).unwrap();
    }
    job
}

#[test]
fn the_main_loop_is_in_one_callback_at_a_time_whosever_it_is() {
    let mut acceptor = Acceptor::new(&REFERENCE, View::FULL);
    let [first, second, third] = ["first", "second", "third"].map(|id| started(&mut acceptor, id));
    let cancel = Seen::Begin(Callback::Cancel);
    for (thread, job) in [(0, first), (1, second)] {
        acceptor.observe(job, Seen::Begin(Callback::Run)).unwrap();
        acceptor.call(thread, Some(job), BY_FORCE, false);
    }
    acceptor.observe(first, cancel).unwrap();
    // What a worker calls is another matter, and says nothing of the main loop.
    let of_a_worker = [Seen::Begin(Callback::Run), Seen::End(Callback::Run, true)];
    for seen in of_a_worker {
        let overlap = acceptor.observe(second, cancel).unwrap_err();
        assert_eq!(overlap.rule, "main-loop-serial");
        assert_eq!(overlap.jobs, ["second", "first"]);
        assert_eq!(overlap.message.about(), "cancel of job 'second'");
        assert_eq!(overlap.allowed, ["cancel of job 'first' ends"]);
        acceptor.observe(third, seen).unwrap();
    }
    assert_eq!(rule(acceptor.observe(second, cancel)), "main-loop-serial");
    acceptor
        .observe(first, Seen::End(Callback::Cancel, true))
        .unwrap();
    acceptor.observe(second, cancel).unwrap();
}

#[test]
fn a_rejection_names_the_job_then_the_others_of_its_transaction() {
    let mut acceptor = Acceptor::new(&REFERENCE, View::QMP);
    let group = acceptor.group(Group::CLOSED);
    let [older, newer] = ["older", "newer"].map(|id| acceptor.job(group, &[PLAIN], id));
    running(&mut acceptor, PLAIN, "stranger");
    for status in [Created, Running] {
        for job in [older, newer] {
            acceptor.start(job);
            to(&mut acceptor, job, &[status]);
        }
    }
    let early = acceptor.observe(newer, Seen::Status(Pending)).unwrap_err();
    assert_eq!(early.jobs, ["newer", "older"]);
    assert_eq!(early.message.about(), "job 'newer'");
    assert!(
        early
            .allowed
            .contains(&"job 'older': status waiting".to_owned())
    );
    acceptor.call(0, Some(older), Request::Resume, false);
    let answered = acceptor.answer(0, Ok(())).unwrap_err();
    assert_eq!(answered.jobs, ["older", "newer"]);
    assert_eq!(answered.message.about(), "resume of job 'older'");
    let undone = acceptor.finish().unwrap_err();
    assert_eq!(undone.jobs, ["older", "newer"]);
    assert_eq!(
        undone.message.but(),
        "job 'older' is running; job 'newer' is running"
    );
}

/// Everything that could be seen of a job.
fn everything() -> Vec<Seen> {
    let mut all = vec![Seen::PointBegin, Seen::PointEnd, Seen::IoBegin, Seen::IoEnd];
    all.extend(Status::ALL.map(Seen::Status));
    for callback in Callback::ALL {
        all.push(Seen::Begin(callback));
        all.extend([true, false].map(|well| Seen::End(callback, well)));
    }
    let actions = [ErrorAction::Report, ErrorAction::Ignore, ErrorAction::Stop];
    all.extend(actions.map(|action| Seen::Event(Event::Error { action })));
    all.extend([Event::Ready, Event::Pending, Event::Cancelled, DONE, FAILED].map(Seen::Event));
    all
}

/// How it is called where it is said to be allowed.
fn words(job: usize, seen: Seen) -> String {
    let output = match seen {
        Seen::Status(status) => Output::Status(job, status),
        Seen::Event(event) => Output::Event(job, event),
        Seen::Begin(callback) => Output::Begin(job, callback),
        Seen::End(callback, well) => Output::End(job, callback, well),
        Seen::PointBegin => Output::PointBegin(job),
        Seen::PointEnd => Output::PointEnd(job),
        Seen::IoBegin => Output::IoBegin(job),
        Seen::IoEnd => Output::IoEnd(job),
    };
    format!("job 'j{job}': {output}")
}

/// Something that happens to two jobs of one transaction.
#[derive(Clone, Copy, Debug)]
enum Deed {
    See(usize, Seen),
    Ask(usize, Request),
    AskAll(Request),
    Answered,
}

/// A life and an end: one is paused and goes on, the other fails and takes it with him.
fn life() -> Vec<Deed> {
    use Deed::{Answered, Ask, AskAll, See};
    let mut life = Vec::new();
    for job in 0..2 {
        let created = See(job, Seen::Status(Created));
        life.extend([Ask(job, Request::Create), created, Answered]);
    }
    life.push(AskAll(Request::Start));
    life.extend([0, 1].map(|job| See(job, Seen::Status(Running))));
    life.push(Answered);
    life.extend([0, 1].map(|job| See(job, Seen::Begin(Callback::Run))));
    life.extend([
        See(0, Seen::IoBegin),
        See(0, Seen::IoEnd),
        Ask(0, Request::Pause),
        Answered,
        See(0, Seen::PointBegin),
        See(0, Seen::Begin(Callback::Pause)),
        See(0, Seen::End(Callback::Pause, true)),
        See(0, Seen::Status(Paused)),
        See(1, Seen::End(Callback::Run, false)),
        See(1, Seen::Status(Aborting)),
        See(0, Seen::Begin(Callback::Cancel)),
        See(0, Seen::End(Callback::Cancel, true)),
    ]);
    life
}

/// Makes the first `count` of the deeds happen to two jobs of a new trace.
fn replay(acceptor: &mut Acceptor, deeds: &[Deed]) -> [JobKey; 2] {
    acceptor.restart();
    let group = acceptor.group(Group::CLOSED);
    let jobs = ["j0", "j1"].map(|id| acceptor.job(group, &[PLAIN], id));
    for &deed in deeds {
        match deed {
            Deed::See(job, seen) => acceptor.observe(jobs[job], seen).unwrap(),
            Deed::Ask(job, request) => acceptor.call(0, Some(jobs[job]), request, false),
            Deed::AskAll(request) => acceptor.call_group(0, group, request),
            Deed::Answered => acceptor.answer(0, Ok(())).unwrap(),
        }
    }
    jobs
}

#[test]
fn what_is_allowed_is_what_is_taken() {
    let mut acceptor = Acceptor::new(&REFERENCE, View::FULL);
    let (life, everything) = (life(), everything());
    for count in 0..=life.len() {
        let deeds = &life[..count];
        let mut jobs = replay(&mut acceptor, deeds);
        let allowed = acceptor.allowed();
        let mut taken = Vec::new();
        for job in 0..2 {
            for &seen in &everything {
                if acceptor.observe(jobs[job], seen).is_ok() {
                    taken.push(words(job, seen));
                    jobs = replay(&mut acceptor, deeds);
                }
            }
        }
        let asked = deeds.iter().rev().find_map(|deed| match *deed {
            Deed::Answered => Some(None),
            Deed::Ask(job, request) => Some(Some(format!("{request} of job 'j{job}' succeeds"))),
            Deed::AskAll(request) => Some(Some(format!("{request} succeeds"))),
            Deed::See(..) => None,
        });
        if let Some(Some(answered)) = asked
            && acceptor.answer(0, Ok(())).is_ok()
        {
            taken.push(answered);
        }
        taken.sort_unstable();
        assert_eq!(allowed, taken, "after {deeds:?}");
    }
}

#[test]
fn what_is_allowed_is_said_of_every_transaction_and_of_refusals() {
    let mut acceptor = Acceptor::new(&REFERENCE, View::QMP);
    assert!(acceptor.allowed().is_empty());
    let [first, _] = ["first", "second"].map(|id| announced(&mut acceptor, PLAIN, id));
    assert_eq!(
        acceptor.allowed(),
        [
            "job 'first': status created",
            "job 'second': status created"
        ]
    );
    to(&mut acceptor, first, &[Created, Running]);
    acceptor.call(0, Some(first), Request::Resume, false);
    let allowed = acceptor.allowed();
    let refused = Refusal::NotPaused.text("first", false);
    let refused = format!("resume of job 'first' is refused: {refused}");
    assert!(allowed.contains(&refused), "{allowed:?}");
    assert!(allowed.contains(&"job 'second': status created".to_owned()));
}

/// So many specs that two jobs of them have more possible worlds than are kept.
fn whatever() -> Vec<JobSpec> {
    (0..64_u8)
        .map(|bits| JobSpec {
            auto_finalize: bits & 1 != 0,
            auto_dismiss: bits & 2 != 0,
            can_complete: bits & 4 != 0,
            needs_finish: bits & 8 != 0,
            block: bits & 16 != 0,
            completion: bits & 32 != 0,
            internal: false,
        })
        .collect()
}

/// Two jobs of one transaction that are judged one by one; `others`: somebody unseen asks of the first.
fn widened(others: bool) -> (Acceptor, [JobKey; 2]) {
    let mut acceptor = Acceptor::new(&REFERENCE, View::QMP);
    let group = acceptor.group(Group::CLOSED);
    let older = acceptor.job(group, &whatever(), "older");
    if others {
        acceptor.others(older);
    }
    assert_eq!(acceptor.widened(), 0);
    let newer = acceptor.job(group, &whatever(), "newer");
    assert_eq!(acceptor.widened(), 1);
    assert_eq!(acceptor.live_jobs(), 2);
    for job in [older, newer] {
        assert!(acceptor.narrow(job, &[PLAIN]));
        acceptor.start(job);
        to(&mut acceptor, job, &[Created, Running]);
    }
    (acceptor, [older, newer])
}

#[test]
fn who_joins_a_widened_transaction_may_be_brought_down_by_the_others() {
    let (mut acceptor, [older, newer]) = widened(false);
    to(&mut acceptor, newer, &[Waiting]);
    to(&mut acceptor, older, &[Aborting]);
    to(&mut acceptor, newer, &[Aborting]);
    for (job, event) in [(newer, Event::Cancelled), (older, FAILED)] {
        acceptor.observe(job, Seen::Event(event)).unwrap();
        to(&mut acceptor, job, &[Concluded, Null]);
    }
    acceptor.finish().unwrap();
    assert_eq!((acceptor.live_jobs(), acceptor.widened()), (0, 1));
    acceptor.restart();
    assert_eq!(acceptor.widened(), 0);
}

#[test]
fn who_joins_a_widened_transaction_is_asked_by_whoever_asks_of_the_others() {
    for others in [false, true] {
        let (mut acceptor, jobs) = widened(others);
        for job in jobs {
            let paused = acceptor.observe(job, Seen::Status(Paused));
            assert_eq!(paused.is_ok(), others);
        }
    }
}

#[test]
fn a_transaction_with_members_unseen_is_decided_at_any_time() {
    for ends in [
        &[Seen::Status(Pending), Seen::Event(DONE)][..],
        &[Seen::Status(Aborting), Seen::Event(Event::Cancelled)],
    ] {
        let mut acceptor = Acceptor::new(&REFERENCE, View::QMP);
        let group = acceptor.group(Group {
            open: true,
            ..Group::CLOSED
        });
        let job = acceptor.job(group, &[PLAIN], "job");
        acceptor.start(job);
        to(&mut acceptor, job, &[Created, Running, Waiting]);
        for &seen in ends {
            acceptor.observe(job, seen).unwrap();
        }
        to(&mut acceptor, job, &[Concluded, Null]);
    }
}
