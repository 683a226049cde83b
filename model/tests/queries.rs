//! Goal: a list of jobs is taken where it was true at some moment between call and answer, and what is wrong with
//! any other is named; calls that return otherwise are judged too.
//!
//! Method: short histories, and lists of the jobs in them.

#![allow(clippy::unwrap_used)]

use blockjob_model::accept::{Acceptor, JobKey, Rejection, Seen, SightPattern};
use blockjob_model::profile::{QEMU_10_0, REFERENCE};
use blockjob_model::state::{Group, JobSpec};
use blockjob_model::step::View;
use blockjob_model::{Callback, ErrorAction, Event, Profile, Refusal, Request, Status};

use Status::{Aborting, Concluded, Created, Null, Paused, Pending, Ready, Running, Waiting};

const PLAIN: JobSpec = JobSpec::PLAIN;
const MIRROR: JobSpec = JobSpec {
    can_complete: true,
    needs_finish: true,
    ..PLAIN
};
const DONE: Event = Event::Completed { error: false };

const NOTHING: SightPattern = SightPattern {
    status: None,
    ready: None,
    paused: None,
    io_failed: None,
    failed: None,
};

fn status(status: Status) -> SightPattern {
    SightPattern {
        status: Some(status),
        ..NOTHING
    }
}

fn rule<T>(result: Result<T, Rejection>) -> &'static str {
    result.err().map_or("accepted", |rejection| rejection.rule)
}

/// One transaction, which the creating commands start.
struct Bench {
    acceptor: Acceptor,
    jobs: Vec<JobKey>,
}

impl Bench {
    fn new(profile: &'static Profile, specs: &[JobSpec]) -> Bench {
        let mut acceptor = Acceptor::new(profile, View::QMP);
        let group = acceptor.group(Group::CLOSED);
        let join = |(at, &spec): (usize, &JobSpec)| {
            let job = acceptor.job(group, &[spec], &format!("j{at}"));
            acceptor.start(job);
            job
        };
        let jobs = specs.iter().enumerate().map(join).collect();
        Bench { acceptor, jobs }
    }

    /// A job that came and went.
    fn gone() -> Bench {
        let mut bench = Bench::new(&REFERENCE, &[PLAIN]);
        bench.to(0, &[Created, Running, Waiting, Pending]);
        bench.event(0, DONE);
        bench.to(0, &[Concluded, Null]);
        bench
    }

    fn to(&mut self, job: usize, statuses: &[Status]) {
        for &status in statuses {
            let seen = Seen::Status(status);
            self.acceptor.observe(self.jobs[job], seen).unwrap();
        }
    }

    fn event(&mut self, job: usize, event: Event) {
        let seen = Seen::Event(event);
        self.acceptor.observe(self.jobs[job], seen).unwrap();
    }

    fn told(&mut self, job: usize, request: Request) {
        self.acceptor.call(0, Some(self.jobs[job]), request, false);
        self.acceptor.answer(0, Ok(())).unwrap();
    }

    fn sights(&self, listed: &[(usize, SightPattern)]) -> Vec<(JobKey, SightPattern)> {
        listed
            .iter()
            .map(|&(at, sight)| (self.jobs[at], sight))
            .collect()
    }

    /// A query lists these and no others; what it is judged, which is also whether it may have listed them.
    fn try_list(&mut self, listed: &[(usize, SightPattern)], block: bool) -> Result<(), Rejection> {
        let sights = self.sights(listed);
        self.acceptor.call(1, None, Request::Query, block);
        let may = self.acceptor.may_look(1, &sights);
        let verdict = self.acceptor.looked(1, &sights);
        assert_eq!(may, verdict.is_ok(), "{listed:?}");
        if verdict.is_err() {
            // It is still under way.
            self.acceptor.withdraw(1);
        }
        verdict
    }

    fn list(&mut self, listed: &[(usize, SightPattern)]) -> &'static str {
        rule(self.try_list(listed, false))
    }
}

#[test]
fn a_list_has_every_job_there_is_with_its_status() {
    let mut bench = Bench::new(&REFERENCE, &[PLAIN; 2]);
    assert_eq!(bench.list(&[]), "accepted");
    assert_eq!(bench.list(&[(0, NOTHING)]), "query-lists-dead-job");
    bench.to(0, &[Created, Running]);
    assert_eq!(bench.list(&[(0, status(Running))]), "accepted");
    assert_eq!(bench.list(&[(0, NOTHING)]), "accepted");
    assert_eq!(bench.list(&[]), "query-misses-job");
    assert_eq!(bench.list(&[(0, status(Paused))]), "query-status");
    assert_eq!(
        bench.list(&[(0, status(Running)), (1, NOTHING)]),
        "query-lists-dead-job"
    );
    let wrong = bench.try_list(&[(0, status(Ready))], false).unwrap_err();
    assert_eq!(wrong.jobs, ["j0", "j1"]);
    assert_eq!(wrong.message.about(), "job 'j0'");
    assert_eq!(wrong.message.but(), "it is listed as ready");
    assert_eq!(wrong.allowed, ["job 'j0': running", "job 'j1': undefined"]);
}

#[test]
fn a_list_is_a_picture_of_one_moment_between_call_and_answer() {
    for (listed, taken) in [
        ([Running, Running], true),
        ([Waiting, Running], true),
        ([Waiting, Waiting], true),
        ([Running, Waiting], false),
    ] {
        let mut bench = Bench::new(&REFERENCE, &[PLAIN; 2]);
        for job in 0..2 {
            bench.to(job, &[Created, Running]);
        }
        bench.acceptor.call(1, None, Request::Query, false);
        bench.to(0, &[Waiting]);
        bench.to(1, &[Waiting]);
        let sights = bench.sights(&[(0, status(listed[0])), (1, status(listed[1]))]);
        assert_eq!(bench.acceptor.may_look(1, &sights), taken);
        let verdict = rule(bench.acceptor.looked(1, &sights));
        let wanted = if taken {
            "accepted"
        } else {
            "query-inconsistent"
        };
        assert_eq!(verdict, wanted, "{listed:?}");
    }
}

/// Who may have been created by then, or not, is missed by nobody.
#[test]
fn a_list_is_wrong_of_the_job_that_it_is_wrong_of() {
    let mut bench = Bench::new(&REFERENCE, &[PLAIN; 2]);
    bench.to(1, &[Created, Running]);
    bench.acceptor.call(1, None, Request::Query, false);
    bench.to(0, &[Created]);
    let wrong = bench.sights(&[(1, status(Paused))]);
    let wrong = bench.acceptor.looked(1, &wrong).unwrap_err();
    assert_eq!(wrong.rule, "query-status");
    assert_eq!(wrong.jobs, ["j1", "j0"]);
    assert_eq!(
        wrong.allowed,
        ["job 'j0': undefined or created", "job 'j1': running"]
    );
}

#[test]
fn of_many_jobs_each_is_looked_up() {
    let mut bench = Bench::new(&REFERENCE, &[PLAIN; 10]);
    for job in 0..10 {
        bench.to(job, &[Created, Running]);
    }
    let all: Vec<(usize, SightPattern)> = (0..10).map(|job| (job, status(Running))).collect();
    for count in [8, 9] {
        assert_eq!(bench.list(&all[..count]), "query-misses-job");
    }
    let mut wrong = all.clone();
    wrong[9].1 = status(Paused);
    assert_eq!(bench.list(&wrong), "query-status");
    assert_eq!(bench.list(&all), "accepted");
}

#[test]
fn a_list_shows_pauses_and_errors() {
    let paused = |paused| SightPattern {
        paused: Some(paused),
        ..NOTHING
    };
    let io_failed = |io_failed| SightPattern {
        io_failed: Some(io_failed),
        ..NOTHING
    };
    let failed = |failed| SightPattern {
        failed: Some(failed),
        ..NOTHING
    };
    let mut bench = Bench::new(&REFERENCE, &[PLAIN]);
    bench.to(0, &[Created]);
    // QEMU holds a job that is not started by a pause of its own.
    assert_eq!(bench.list(&[(0, paused(true))]), "accepted");
    assert_eq!(bench.list(&[(0, paused(false))]), "accepted");
    bench.to(0, &[Running]);
    for (pattern, verdict) in [
        (paused(false), "accepted"),
        (paused(true), "query-paused"),
        (io_failed(false), "accepted"),
        (io_failed(true), "query-io-status"),
        (failed(false), "accepted"),
        (failed(true), "query-error"),
    ] {
        assert_eq!(bench.list(&[(0, pattern)]), verdict, "{pattern:?}");
    }
    let stop = Event::Error {
        action: ErrorAction::Stop,
    };
    bench.event(0, stop);
    bench.to(0, &[Paused]);
    for (pattern, verdict) in [
        (paused(true), "accepted"),
        (paused(false), "query-paused"),
        (io_failed(true), "accepted"),
        (io_failed(false), "query-io-status"),
    ] {
        assert_eq!(bench.list(&[(0, pattern)]), verdict, "{pattern:?}");
    }
    let wrong = bench.try_list(&[(0, io_failed(false))], false).unwrap_err();
    assert_eq!(wrong.message.because(), "an I/O error stopped it");
    assert_eq!(wrong.message.but(), "its io-status is ok");
    let wrong = bench.try_list(&[(0, paused(false))], false).unwrap_err();
    assert_eq!(wrong.message.but(), "it is listed as not paused");
    let both = SightPattern {
        status: Some(Running),
        ..paused(true)
    };
    assert_eq!(bench.list(&[(0, both)]), "query-status");
    bench.told(0, Request::Resume);
    bench.to(0, &[Running, Aborting]);
    for (pattern, verdict) in [(failed(true), "accepted"), (failed(false), "query-error")] {
        assert_eq!(bench.list(&[(0, pattern)]), verdict, "{pattern:?}");
    }
    let wrong = bench.try_list(&[(0, failed(false))], false).unwrap_err();
    assert_eq!(wrong.message.because(), "its run failed");
    assert_eq!(wrong.message.but(), "it is listed without error");
}

#[test]
fn a_job_of_qemu_may_be_listed_as_paused_for_reasons_of_its_own() {
    let paused = SightPattern {
        paused: Some(true),
        ..NOTHING
    };
    for (profile, verdict) in [(&QEMU_10_0, "accepted"), (&REFERENCE, "query-paused")] {
        let mut bench = Bench::new(profile, &[PLAIN]);
        bench.to(0, &[Created, Running]);
        assert_eq!(bench.list(&[(0, paused)]), verdict, "{}", profile.name);
    }
}

#[test]
fn whether_a_job_has_converged_is_shown_until_it_ends() {
    let ready = |ready| SightPattern {
        ready: Some(ready),
        ..NOTHING
    };
    let mut bench = Bench::new(&REFERENCE, &[MIRROR]);
    bench.to(0, &[Created, Running]);
    assert_eq!(bench.list(&[(0, ready(false))]), "accepted");
    assert_eq!(bench.list(&[(0, ready(true))]), "query-inconsistent");
    bench.to(0, &[Ready]);
    // Status and event are one: nobody is answered between.
    assert_eq!(bench.list(&[(0, ready(true))]), "ready-event-missing");
    bench.event(0, Event::Ready);
    assert_eq!(bench.list(&[(0, ready(true))]), "accepted");
    assert_eq!(bench.list(&[(0, ready(false))]), "query-inconsistent");
    bench.told(0, Request::Complete);
    bench.to(0, &[Waiting]);
    for shown in [true, false] {
        assert_eq!(bench.list(&[(0, ready(shown))]), "accepted");
    }
}

#[test]
fn block_jobs_alone_are_listed_among_block_jobs_and_jobs_without_an_id_nowhere() {
    let other = JobSpec {
        block: false,
        ..PLAIN
    };
    let mut bench = Bench::new(&REFERENCE, &[PLAIN, other]);
    for job in 0..2 {
        bench.to(job, &[Created, Running]);
    }
    let both = [(0, status(Running)), (1, status(Running))];
    for (listed, block, taken) in [
        (&both[..], false, true),
        (&both[..1], false, false),
        (&both[..], true, false),
        (&both[..1], true, true),
    ] {
        assert_eq!(bench.try_list(listed, block).is_ok(), taken, "{listed:?}");
    }
    let internal = JobSpec {
        internal: true,
        ..PLAIN
    };
    let mut bench = Bench::new(&REFERENCE, &[internal]);
    // Nothing is seen of it.
    assert!(bench.acceptor.statuses(bench.jobs[0]).contains(&Running));
    assert_eq!(bench.list(&[]), "accepted");
    assert_ne!(bench.list(&[(0, NOTHING)]), "accepted");
}

#[test]
fn in_qemu_nobody_sees_a_job_half_concluded() {
    let mut bench = Bench::new(&QEMU_10_0, &[PLAIN]);
    bench.to(0, &[Created, Running, Waiting, Pending]);
    bench.event(0, DONE);
    let half = bench.try_list(&[(0, status(Pending))], false).unwrap_err();
    assert_eq!(half.rule, "query-half-done");
    assert!(
        half.message
            .because()
            .starts_with("job 'j0' is being concluded")
    );
    bench.to(0, &[Concluded]);
    assert_eq!(
        bench.list(&[(0, status(Concluded))]),
        "auto-dismiss-missing"
    );
    let mut bench = Bench::new(&REFERENCE, &[PLAIN]);
    bench.to(0, &[Created, Running, Waiting, Pending]);
    bench.event(0, DONE);
    assert_eq!(bench.list(&[(0, status(Pending))]), "accepted");
}

#[test]
fn a_call_has_the_answers_that_it_may_have() {
    let mut bench = Bench::new(&QEMU_10_0, &[PLAIN; 2]);
    assert_eq!(bench.acceptor.answers(0), []);
    for status in [Created, Running] {
        for job in [1, 0] {
            bench.to(job, &[status]);
        }
    }
    let [first, second] = [bench.jobs[0], bench.jobs[1]];
    bench.acceptor.call(0, Some(first), Request::Pause, false);
    bench.acceptor.call(1, Some(second), Request::Resume, false);
    assert_eq!(bench.acceptor.answers(0), [Ok(())]);
    assert_eq!(bench.acceptor.answers(1), [Err(Refusal::NotPaused)]);
    // One takes effect before the other, or after it.
    bench.acceptor.call(2, Some(first), Request::Resume, false);
    assert_eq!(bench.acceptor.answers(2), [Ok(()), Err(Refusal::NotPaused)]);
    let mut bench = Bench::gone();
    bench
        .acceptor
        .call(0, Some(bench.jobs[0]), Request::Pause, false);
    assert_eq!(bench.acceptor.answers(0), [Err(Refusal::NotFound)]);
}

#[test]
fn a_call_that_is_withdrawn_asked_for_nothing() {
    let mut bench = Bench::new(&REFERENCE, &[PLAIN]);
    bench.to(0, &[Created, Running]);
    bench
        .acceptor
        .call(0, Some(bench.jobs[0]), Request::Pause, false);
    bench.acceptor.withdraw(0);
    assert_eq!(rule(bench.acceptor.answer(0, Ok(()))), "reply-without-call");
    let paused = bench.acceptor.observe(bench.jobs[0], Seen::Status(Paused));
    assert_eq!(rule(paused), "paused-unasked");
    // Nobody who is not there is withdrawn.
    bench.acceptor.withdraw(7);
}

#[test]
fn what_was_posted_is_carried_out_later_or_refused_silently() {
    let mut bench = Bench::new(&REFERENCE, &[PLAIN]);
    bench.to(0, &[Created, Running]);
    let job = bench.jobs[0];
    assert_eq!(rule(bench.acceptor.posted(0)), "reply-without-call");
    bench.acceptor.call(0, Some(job), Request::Resume, false);
    // When the main loop is free it finds no pause to end, and tells nobody.
    bench.acceptor.posted(0).unwrap();
    assert_eq!(rule(bench.acceptor.answer(0, Ok(()))), "reply-without-call");
    // Two of them, from one thread.
    for request in [Request::Pause, Request::Cancel { force: true }] {
        bench.acceptor.call(0, Some(job), request, false);
        bench.acceptor.posted(0).unwrap();
    }
    assert_eq!(rule(bench.acceptor.answer(0, Ok(()))), "reply-without-call");
    bench.to(0, &[Paused, Running, Aborting]);
    bench.event(0, Event::Cancelled);
    bench.to(0, &[Concluded, Null]);
    bench.acceptor.finish().unwrap();
    // What it asked for has been seen already.
    let kept = JobSpec {
        auto_dismiss: false,
        ..PLAIN
    };
    let mut bench = Bench::new(&REFERENCE, &[kept]);
    bench.to(0, &[Created, Running, Waiting, Pending]);
    bench.event(0, DONE);
    bench.to(0, &[Concluded]);
    bench
        .acceptor
        .call(0, Some(bench.jobs[0]), Request::Dismiss, false);
    bench.to(0, &[Null]);
    bench.acceptor.posted(0).unwrap();
    bench.acceptor.finish().unwrap();
    let mut bench = Bench::gone();
    let job = bench.jobs[0];
    bench.acceptor.call(0, Some(job), Request::Pause, false);
    let nobody = bench.acceptor.posted(0).unwrap_err();
    assert_eq!(nobody.rule, "verb-accepted");
}

#[test]
fn a_trace_goes_on_behind_a_rejection_with_what_is_missing() {
    let mut bench = Bench::new(&REFERENCE, &[PLAIN; 2]);
    for job in 0..2 {
        bench.to(job, &[Created, Running]);
    }
    let [first, second] = [bench.jobs[0], bench.jobs[1]];
    // Nothing leads there.
    let early = Seen::Status(Created);
    assert!(bench.acceptor.observe(first, early).is_err());
    assert_eq!(bench.acceptor.resume(first, early), None);
    assert_eq!(bench.acceptor.statuses(first), [Running]);
    // What is legal needs nothing.
    let waiting = Seen::Status(Waiting);
    assert_eq!(bench.acceptor.resume(first, waiting), Some(vec![]));
    assert_eq!(bench.acceptor.statuses(first), [Waiting]);
    let pending = Seen::Status(Pending);
    assert!(bench.acceptor.observe(first, pending).is_err());
    let missing = bench.acceptor.resume(first, pending);
    assert_eq!(missing, Some(vec![(second, waiting), (second, pending)]));
    let statuses = [first, second].map(|job| bench.acceptor.statuses(job));
    assert_eq!(statuses, [[Pending], [Pending]]);
    // So many may be missing, and no more.
    assert_eq!(bench.acceptor.resume(first, Seen::Status(Null)), None);
    let missing = bench.acceptor.resume(first, Seen::Event(DONE));
    let event = (second, Seen::Event(DONE));
    assert_eq!(
        missing,
        Some(vec![
            event,
            (second, Seen::Status(Concluded)),
            (second, Seen::Status(Null))
        ])
    );
    let missing = bench.acceptor.resume(first, Seen::Status(Null));
    assert_eq!(missing, Some(vec![(first, Seen::Status(Concluded))]));
    assert_eq!(bench.acceptor.live_jobs(), 0);
    assert_eq!(bench.acceptor.resume(first, pending), None);
}

#[test]
fn a_call_that_was_answered_wrongly_ends_as_it_may_have() {
    let mut bench = Bench::new(&REFERENCE, &[PLAIN]);
    bench.to(0, &[Created, Running]);
    let job = bench.jobs[0];
    assert_eq!(bench.acceptor.settle(0), []);
    bench.acceptor.call(0, Some(job), Request::Pause, false);
    let wrong = Err(Refusal::AlreadyPaused);
    assert!(bench.acceptor.answer(0, wrong).is_err());
    assert_eq!(bench.acceptor.settle(0), []);
    assert_eq!(rule(bench.acceptor.answer(0, Ok(()))), "reply-without-call");
    bench.to(0, &[Paused]);
    // A cancel that is being carried out ends in no way yet.
    let mut acceptor = Acceptor::new(&REFERENCE, View::FULL);
    let group = acceptor.group(Group::CLOSED);
    let jobs = ["older", "newer"].map(|id| acceptor.job(group, &[PLAIN], id));
    let stranger = acceptor.group(Group::CLOSED);
    acceptor.job(stranger, &[PLAIN], "stranger");
    for job in jobs {
        acceptor.call(0, Some(job), Request::Create, false);
        acceptor.observe(job, Seen::Status(Created)).unwrap();
        acceptor.answer(0, Ok(())).unwrap();
    }
    let force = Request::Cancel { force: true };
    acceptor.call(0, Some(jobs[0]), force, false);
    let cancel = Callback::Cancel;
    acceptor.observe(jobs[0], Seen::Begin(cancel)).unwrap();
    assert!(acceptor.answer(0, Ok(())).is_err());
    assert_eq!(acceptor.settle(0), jobs);
    assert_eq!(acceptor.live_jobs(), 1);
    assert_eq!(acceptor.let_go(jobs[0]), []);
}

#[test]
fn who_is_let_go_of_takes_his_transaction_and_his_callback_with_him() {
    let mut acceptor = Acceptor::new(&REFERENCE, View::FULL);
    let mut pair = |ids: [&str; 2]| {
        let group = acceptor.group(Group::CLOSED);
        let jobs = ids.map(|id| acceptor.job(group, &[PLAIN], id));
        for job in jobs {
            acceptor.call(0, Some(job), Request::Create, false);
            acceptor.observe(job, Seen::Status(Created)).unwrap();
            acceptor.answer(0, Ok(())).unwrap();
        }
        jobs
    };
    let (lost, kept) = (pair(["a", "b"]), pair(["c", "d"]));
    let cancel = Seen::Begin(Callback::Cancel);
    let force = Request::Cancel { force: true };
    acceptor.call(0, Some(lost[1]), force, false);
    acceptor.observe(lost[1], cancel).unwrap();
    acceptor.call(1, None, Request::Query, false);
    acceptor.call(2, Some(kept[0]), force, false);
    assert_eq!(rule(acceptor.observe(kept[0], cancel)), "main-loop-serial");
    assert_eq!(acceptor.let_go(lost[0]), lost);
    assert_eq!(acceptor.live_jobs(), 2);
    // Its call concerns nobody any more, and the main loop is free.
    acceptor.answer(0, Err(Refusal::CannotComplete)).unwrap();
    acceptor.observe(kept[0], cancel).unwrap();
    let listed = kept.map(|job| (job, status(Created)));
    acceptor.looked(1, &listed).unwrap();
}
