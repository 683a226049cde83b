//! Goal: what is rejected is rejected by the rule that it breaks, in words that are true of it.
//!
//! Method: for each of two rules that are near each other, the shortest history of which one of them, and not the
//! other, is broken. `acceptor.rs` has the rest.

#![allow(clippy::unwrap_used)]

use blockjob_model::accept::{Acceptor, GroupKey, JobKey, Rejection, Seen};
use blockjob_model::profile::{QEMU_7_2, QEMU_10_0, REFERENCE};
use blockjob_model::state::{Group, JobSpec};
use blockjob_model::step::View;
use blockjob_model::{Callback, Event, Profile, Refusal, Request, Status, Verb};

use Status::{Aborting, Concluded, Created, Paused, Pending, Ready, Running, Waiting};

const PLAIN: JobSpec = JobSpec::PLAIN;
const MIRROR: JobSpec = JobSpec {
    can_complete: true,
    needs_finish: true,
    ..PLAIN
};
const MANUAL: JobSpec = JobSpec {
    auto_finalize: false,
    ..PLAIN
};
const DONE: Event = Event::Completed { error: false };
const FAILED: Event = Event::Completed { error: true };

fn rule<T>(result: Result<T, Rejection>) -> &'static str {
    result.err().map_or("accepted", |rejection| rejection.rule)
}

/// One transaction.
struct Bench {
    acceptor: Acceptor,
    group: GroupKey,
    jobs: Vec<JobKey>,
}

impl Bench {
    /// The creating commands start it.
    fn qmp(profile: &'static Profile, specs: &[JobSpec]) -> Bench {
        let mut bench = Bench::new(profile, View::QMP, specs);
        for &job in &bench.jobs {
            bench.acceptor.start(job);
        }
        bench
    }

    /// The same, and it runs.
    fn running(profile: &'static Profile, specs: &[JobSpec]) -> Bench {
        let mut bench = Bench::qmp(profile, specs);
        for status in [Created, Running] {
            for job in (0..specs.len()).rev() {
                bench.to(job, &[status]);
            }
        }
        bench
    }

    /// With callbacks.
    fn new(profile: &'static Profile, view: View, specs: &[JobSpec]) -> Bench {
        let mut acceptor = Acceptor::new(profile, view);
        let group = acceptor.group(Group::CLOSED);
        let join = |(at, &spec): (usize, &JobSpec)| acceptor.job(group, &[spec], &format!("j{at}"));
        let jobs = specs.iter().enumerate().map(join).collect();
        Bench {
            acceptor,
            group,
            jobs,
        }
    }

    /// With callbacks, in its run.
    fn in_its_run(spec: JobSpec) -> Bench {
        let mut bench = Bench::new(&REFERENCE, View::FULL, &[spec]);
        for (request, status) in [(Request::Create, Created), (Request::Start, Running)] {
            bench.ask(0, request);
            bench.to(0, &[status]);
            bench.answer(Ok(())).unwrap();
        }
        bench.see(0, Seen::Begin(Callback::Run)).unwrap();
        bench
    }

    fn see(&mut self, job: usize, seen: Seen) -> Result<(), Rejection> {
        self.acceptor.observe(self.jobs[job], seen)
    }

    fn to(&mut self, job: usize, statuses: &[Status]) {
        for &status in statuses {
            self.see(job, Seen::Status(status)).unwrap();
        }
    }

    fn status(&mut self, job: usize, status: Status) -> &'static str {
        rule(self.see(job, Seen::Status(status)))
    }

    fn event(&mut self, job: usize, event: Event) -> &'static str {
        rule(self.see(job, Seen::Event(event)))
    }

    fn ask(&mut self, job: usize, request: Request) {
        self.acceptor.call(0, Some(self.jobs[job]), request, false);
    }

    fn answer(&mut self, reply: blockjob_model::Reply) -> Result<(), Rejection> {
        self.acceptor.answer(0, reply)
    }
}

#[test]
fn what_is_allowed_instead_is_named_without_the_job_where_there_is_one() {
    for (specs, instead) in [
        (&[PLAIN][..], "status waiting"),
        (&[PLAIN, PLAIN][..], "job 'j0': status waiting"),
    ] {
        let mut bench = Bench::running(&REFERENCE, specs);
        let early = bench.see(0, Seen::Status(Pending)).unwrap_err();
        let allowed = &early.allowed;
        assert!(allowed.contains(&instead.to_owned()), "{allowed:?}");
    }
}

#[test]
fn running_and_ready_have_a_rule_for_each_way_to_come_there() {
    // From a pause that is in force, …
    let mut bench = Bench::running(&REFERENCE, &[PLAIN]);
    bench.ask(0, Request::Pause);
    bench.answer(Ok(())).unwrap();
    bench.to(0, &[Paused]);
    assert_eq!(bench.status(0, Running), "pause-in-force");
    // … for a driver that never converges, …
    let mut bench = Bench::running(&REFERENCE, &[PLAIN]);
    assert_eq!(bench.status(0, Ready), "ready-unexpected");
    // … out of turn, the last one first, or as they are listed, …
    for (profile, early) in [(&QEMU_10_0, 0), (&QEMU_7_2, 1)] {
        let mut bench = Bench::qmp(profile, &[PLAIN; 2]);
        for job in 0..2 {
            bench.to(job, &[Created]);
        }
        assert_eq!(bench.status(early, Running), "start-order");
        bench.to(1 - early, &[Running]);
        bench.to(early, &[Running]);
    }
    // … and though nobody asked.
    let mut bench = Bench::new(&REFERENCE, View::FULL, &[PLAIN]);
    bench.ask(0, Request::Create);
    bench.to(0, &[Created]);
    bench.answer(Ok(())).unwrap();
    assert_eq!(bench.status(0, Running), "started-unasked");
    bench.acceptor.call_group(0, bench.group, Request::Start);
    bench.to(0, &[Running]);
}

#[test]
fn pending_and_concluded_come_when_all_wait_and_somebody_decides() {
    let mut bench = Bench::running(&REFERENCE, &[PLAIN; 2]);
    bench.to(0, &[Waiting]);
    assert_eq!(bench.status(0, Pending), "pending-before-all-waiting");
    bench.to(1, &[Aborting]);
    assert_eq!(bench.status(0, Pending), "group-aborting");
    let mut bench = Bench::running(&REFERENCE, &[MANUAL]);
    bench.to(0, &[Waiting, Pending]);
    assert_eq!(bench.event(0, Event::Pending), "accepted");
    assert_eq!(bench.status(0, Concluded), "finalize-unasked");
    assert_eq!(bench.event(0, DONE), "finalize-unasked");
    assert_eq!(bench.event(0, Event::Cancelled), "finalize-unasked");
    bench.ask(0, Request::Finalize);
    assert_eq!(bench.status(0, Concluded), "terminal-event-missing");
}

#[test]
fn a_terminal_event_is_of_the_kind_that_its_end_was() {
    let force = Request::Cancel { force: true };
    let mut cancelled = Bench::running(&REFERENCE, &[PLAIN]);
    cancelled.ask(0, force);
    cancelled.to(0, &[Aborting]);
    cancelled.answer(Ok(())).unwrap();
    let mut failed = Bench::running(&REFERENCE, &[PLAIN]);
    failed.to(0, &[Aborting]);
    let mut done = Bench::running(&REFERENCE, &[PLAIN]);
    done.to(0, &[Waiting, Pending]);
    let mut running = Bench::running(&REFERENCE, &[PLAIN]);
    for (bench, rules) in [
        (
            &mut cancelled,
            ["terminal-event-kind", "terminal-event-kind", "accepted"],
        ),
        (&mut running, ["terminal-event-order"; 3]),
    ] {
        for (event, rule) in [DONE, FAILED, Event::Cancelled].into_iter().zip(rules) {
            assert_eq!(bench.event(0, event), rule, "{event}");
        }
    }
    let wrong = failed.see(0, Seen::Event(DONE)).unwrap_err();
    assert_eq!(wrong.rule, "terminal-event-error");
    assert_eq!(
        wrong.message.because(),
        "it is aborted, and an aborted job has an error"
    );
    assert_eq!(failed.event(0, Event::Cancelled), "cancelled-unasked");
    assert_eq!(failed.event(0, FAILED), "accepted");
    assert_eq!(done.event(0, Event::Cancelled), "cancelled-unasked");
    // A prepare may have failed, unseen, but then the status says so first.
    assert_eq!(done.event(0, FAILED), "terminal-event-error");
    assert_eq!(done.event(0, DONE), "accepted");
}

#[test]
fn a_pause_point_is_missed_or_is_none() {
    let mut bench = Bench::in_its_run(PLAIN);
    assert_eq!(rule(bench.see(0, Seen::PointEnd)), "point-order");
    bench.see(0, Seen::PointBegin).unwrap();
    assert_eq!(rule(bench.see(0, Seen::PointBegin)), "point-order");
    bench.see(0, Seen::PointEnd).unwrap();
    bench.ask(0, Request::Pause);
    bench.answer(Ok(())).unwrap();
    assert_eq!(rule(bench.see(0, Seen::PointEnd)), "point-order");
    bench.see(0, Seen::PointBegin).unwrap();
    assert_eq!(rule(bench.see(0, Seen::PointEnd)), "pause-lost");
}

#[test]
fn a_refusal_is_wrong_by_its_text_its_status_or_altogether() {
    let verb = |status| Refusal::Verb {
        status,
        verb: Verb::Dismiss,
    };
    for (request, reply, broken) in [
        (Request::Dismiss, Ok(()), "verb-accepted"),
        (Request::Dismiss, Err(verb(Ready)), "refusal-names-status"),
        (Request::Dismiss, Err(Refusal::NotPaused), "refusal-text"),
        (Request::Dismiss, Err(verb(Running)), "accepted"),
        (Request::Resume, Err(verb(Running)), "refusal-text"),
        (Request::Resume, Err(Refusal::NotPaused), "accepted"),
        (Request::Pause, Err(Refusal::AlreadyPaused), "verb-refused"),
        (Request::Pause, Err(verb(Running)), "verb-refused"),
        (Request::Pause, Ok(()), "accepted"),
    ] {
        let mut bench = Bench::running(&QEMU_10_0, &[MIRROR]);
        bench.ask(0, request);
        let verdict = rule(bench.answer(reply));
        assert_eq!(verdict, broken, "{request}: {reply:?}");
    }
}

#[test]
fn what_a_job_is_tells_what_is_seen_of_it() {
    // What does not converge, …
    let mut bench = Bench::in_its_run(PLAIN);
    assert_eq!(bench.status(0, Ready), "ready-unexpected");
    let mut bench = Bench::in_its_run(MIRROR);
    assert_eq!(bench.status(0, Ready), "accepted");
    // … what is no block job, …
    let other = JobSpec {
        block: false,
        ..PLAIN
    };
    let mut bench = Bench::running(&REFERENCE, &[other]);
    bench.to(0, &[Waiting, Pending]);
    assert_eq!(bench.event(0, DONE), "event-of-non-block-job");
    bench.to(0, &[Concluded]);
    // … and whose creator wants to hear nothing.
    for completion in [true, false] {
        let spec = JobSpec {
            completion,
            ..PLAIN
        };
        let mut bench = Bench::in_its_run(spec);
        bench.see(0, Seen::End(Callback::Run, true)).unwrap();
        bench.to(0, &[Waiting, Pending]);
        for callback in [Callback::Prepare, Callback::Commit, Callback::Clean] {
            bench.see(0, Seen::Begin(callback)).unwrap();
            bench.see(0, Seen::End(callback, true)).unwrap();
        }
        let heard = bench.see(0, Seen::Begin(Callback::Completion));
        let wanted = if completion {
            "accepted"
        } else {
            "callback-order"
        };
        assert_eq!(rule(heard), wanted);
    }
}
