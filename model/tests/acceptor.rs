//! Goal: the acceptor takes what SEMANTICS.md allows and names the rule that the rest breaks.
//!
//! Method: short histories written down by hand, and a brute-force twin that decides "is there a
//! run of the step relation with these outputs" by plain search, held against the acceptor on
//! random walks through the relation and on small edits of them.

#![allow(clippy::unwrap_used)]

use blockjob_model::accept::{Acceptor, JobKey, Rejection, Seen};
use blockjob_model::profile::{QEMU_2_11, QEMU_10_0, REFERENCE};
use blockjob_model::state::{Group, JobSpec, World};
use blockjob_model::step::{Output, View, steps};
use blockjob_model::{Callback, Event, Profile, Refusal, Request, Status, Verb};

const READY: JobSpec = JobSpec {
    can_complete: true,
    needs_finish: true,
    ..JobSpec::PLAIN
};

struct Bench {
    acceptor: Acceptor,
    jobs: Vec<JobKey>,
}

impl Bench {
    /// One transaction as QMP shows it: the creating command starts its jobs.
    fn qmp(profile: &'static Profile, specs: &[JobSpec]) -> Bench {
        let mut acceptor = Acceptor::new(profile, View::QMP);
        let group = acceptor.group(Group::CLOSED);
        let jobs: Vec<JobKey> = specs
            .iter()
            .enumerate()
            .map(|(at, &spec)| acceptor.job(group, &[spec], &format!("j{at}")))
            .collect();
        for &job in &jobs {
            acceptor.start(job);
        }
        Bench { acceptor, jobs }
    }

    /// The same with callbacks: the jobs have been started, and are in their runs.
    fn with_callbacks(profile: &'static Profile, specs: &[JobSpec]) -> Bench {
        let mut acceptor = Acceptor::new(profile, View::FULL);
        let group = acceptor.group(Group::CLOSED);
        let each = specs.iter().map(|&spec| acceptor.job(group, &[spec], "j"));
        let jobs: Vec<JobKey> = each.collect();
        for &job in &jobs {
            acceptor.call(0, Some(job), Request::Create, false);
            acceptor.observe(job, Seen::Status(Created)).unwrap();
            acceptor.answer(0, Ok(())).unwrap();
        }
        acceptor.call_group(0, group, Request::Start);
        for seen in [Seen::Status(Running), Seen::Begin(Callback::Run)] {
            for &job in &jobs {
                acceptor.observe(job, seen).unwrap();
            }
        }
        acceptor.answer(0, Ok(())).unwrap();
        Bench { acceptor, jobs }
    }

    fn status(&mut self, job: usize, statuses: &[Status]) {
        for &status in statuses {
            self.try_status(job, status).unwrap();
        }
    }

    fn try_status(&mut self, job: usize, status: Status) -> Result<(), Rejection> {
        self.acceptor.observe(self.jobs[job], Seen::Status(status))
    }

    fn try_event(&mut self, job: usize, event: Event) -> Result<(), Rejection> {
        self.acceptor.observe(self.jobs[job], Seen::Event(event))
    }

    /// Creates every job, then starts the newest first: an order that every profile here has.
    fn start_all(&mut self) {
        for job in 0..self.jobs.len() {
            self.status(job, &[Created]);
        }
        for job in (0..self.jobs.len()).rev() {
            self.status(job, &[Running]);
        }
    }

    fn event(&mut self, job: usize, event: Event) {
        self.try_event(job, event).unwrap();
    }

    fn ask(&mut self, job: usize, request: Request) {
        let job = self.jobs[job];
        self.acceptor.call(0, Some(job), request, false);
    }

    fn told(&mut self, job: usize, request: Request) {
        self.ask(job, request);
        self.acceptor.answer(0, Ok(())).unwrap();
    }
}

use Status::{Aborting, Concluded, Created, Null, Paused, Pending, Ready, Running, Waiting};

const DONE: Event = Event::Completed { error: false };
const FAILED: Event = Event::Completed { error: true };

fn rule<T>(result: Result<T, Rejection>) -> &'static str {
    result.err().map_or("accepted", |rejection| rejection.rule)
}

#[test]
fn a_plain_job_comes_and_goes() {
    for profile in [&REFERENCE, &QEMU_10_0] {
        let mut bench = Bench::qmp(profile, &[JobSpec::PLAIN]);
        bench.status(0, &[Created, Running, Waiting, Pending]);
        bench.event(0, DONE);
        bench.status(0, &[Concluded, Null]);
        assert!(bench.acceptor.gone(bench.jobs[0]));
        assert_eq!(rule(bench.try_status(0, Running)), "after-null");
        assert_eq!(bench.acceptor.live_jobs(), 0);
        bench.acceptor.finish().unwrap();
    }
}

#[test]
fn a_job_that_is_gone_answers_that_it_is_gone_and_does_answer() {
    let mut bench = Bench::qmp(&REFERENCE, &[JobSpec::PLAIN]);
    bench.status(0, &[Created, Running, Waiting, Pending]);
    bench.event(0, DONE);
    bench.status(0, &[Concluded, Null]);
    bench.ask(0, Request::Pause);
    assert_eq!(rule(bench.acceptor.finish()), "left-undone");
    assert_eq!(rule(bench.acceptor.answer(0, Ok(()))), "verb-accepted");
    let wrong = Err(Refusal::NotPaused);
    assert_eq!(rule(bench.acceptor.answer(0, wrong)), "refusal-text");
    bench.acceptor.answer(0, Err(Refusal::NotFound)).unwrap();
    bench.acceptor.finish().unwrap();
}

#[test]
fn an_edge_that_is_not_in_the_table_is_named_so() {
    let mut bench = Bench::qmp(&QEMU_10_0, &[JobSpec::PLAIN]);
    bench.status(0, &[Created, Running]);
    assert_eq!(rule(bench.try_status(0, Pending)), "status-transition");
    assert_eq!(rule(bench.try_status(0, Running)), "status-repeated");
    bench.status(0, &[Waiting]);
}

#[test]
fn only_qemu_pauses_without_being_asked() {
    let mut bench = Bench::qmp(&QEMU_10_0, &[JobSpec::PLAIN]);
    bench.status(0, &[Created, Running, Paused, Running]);
    let mut bench = Bench::qmp(&REFERENCE, &[JobSpec::PLAIN]);
    bench.status(0, &[Created, Running]);
    assert_eq!(rule(bench.try_status(0, Paused)), "paused-unasked");
}

#[test]
fn a_users_pause_ends_by_resume_alone() {
    for profile in [&REFERENCE, &QEMU_10_0] {
        let mut bench = Bench::qmp(profile, &[JobSpec::PLAIN]);
        bench.status(0, &[Created, Running]);
        bench.told(0, Request::Pause);
        bench.status(0, &[Paused]);
        assert_eq!(rule(bench.try_status(0, Running)), "pause-in-force");
        bench.ask(0, Request::Pause);
        assert_eq!(rule(bench.acceptor.answer(0, Ok(()))), "verb-accepted");
        let refused = Err(Refusal::AlreadyPaused);
        bench.acceptor.answer(0, refused).unwrap();
        bench.told(0, Request::Resume);
        bench.status(0, &[Running]);
    }
}

#[test]
fn a_request_takes_effect_between_call_and_return() {
    let mut bench = Bench::qmp(&REFERENCE, &[JobSpec::PLAIN]);
    bench.status(0, &[Created, Running]);
    bench.ask(0, Request::Pause);
    bench.status(0, &[Paused]);
    bench.acceptor.answer(0, Ok(())).unwrap();
}

#[test]
fn a_refusal_names_the_status_the_job_had() {
    let mut bench = Bench::qmp(&QEMU_10_0, &[READY]);
    bench.status(0, &[Created, Running, Ready]);
    bench.event(0, Event::Ready);
    bench.ask(0, Request::Dismiss);
    let wrong = Refusal::Verb {
        status: Running,
        verb: Verb::Dismiss,
    };
    let answer = bench.acceptor.answer(0, Err(wrong));
    assert_eq!(rule(answer), "refusal-names-status");
}

#[test]
fn after_a_soft_cancel_complete_is_refused() {
    let mut bench = Bench::qmp(&QEMU_10_0, &[READY]);
    bench.status(0, &[Created, Running, Ready]);
    assert_eq!(rule(bench.try_status(0, Waiting)), "ready-event-missing");
    bench.event(0, Event::Ready);
    assert_eq!(rule(bench.try_status(0, Waiting)), "ended-unasked");
    bench.told(0, Request::Cancel { force: false });
    bench.ask(0, Request::Complete);
    assert_eq!(rule(bench.acceptor.answer(0, Ok(()))), "verb-accepted");
    let refused = Err(Refusal::CannotComplete);
    bench.acceptor.answer(0, refused).unwrap();
    bench.status(0, &[Waiting, Pending]);
    bench.event(0, DONE);
    bench.status(0, &[Concluded, Null]);
}

#[test]
fn a_forced_cancel_shows_in_the_terminal_event() {
    for profile in [&REFERENCE, &QEMU_10_0] {
        let mut bench = Bench::qmp(profile, &[JobSpec::PLAIN]);
        bench.status(0, &[Created, Running]);
        bench.told(0, Request::Cancel { force: true });
        assert_eq!(rule(bench.try_status(0, Waiting)), "cancel-lost");
        bench.status(0, &[Aborting]);
        assert_eq!(rule(bench.try_event(0, FAILED)), "terminal-event-kind");
        let early = bench.try_status(0, Concluded);
        assert_eq!(rule(early), "terminal-event-missing");
        bench.event(0, Event::Cancelled);
        bench.status(0, &[Concluded, Null]);
    }
}

#[test]
fn a_group_commits_newest_first_after_all_wait() {
    let mut bench = Bench::qmp(&REFERENCE, &[JobSpec::PLAIN; 2]);
    bench.status(0, &[Created]);
    bench.status(1, &[Created]);
    bench.status(0, &[Running, Waiting]);
    let early = bench.try_status(0, Pending);
    assert_eq!(rule(early), "pending-before-all-waiting");
    bench.status(1, &[Running, Waiting, Pending]);
    bench.status(0, &[Pending]);
    assert_eq!(rule(bench.try_event(0, DONE)), "terminal-event-order");
    bench.event(1, DONE);
    bench.status(1, &[Concluded, Null]);
    bench.event(0, DONE);
    bench.status(0, &[Concluded, Null]);
}

#[test]
fn a_group_with_a_failed_member_commits_nobody() {
    for profile in [&REFERENCE, &QEMU_10_0] {
        let mut bench = Bench::qmp(profile, &[JobSpec::PLAIN; 2]);
        bench.start_all();
        bench.status(0, &[Waiting]);
        bench.status(1, &[Aborting]);
        bench.event(1, FAILED);
        bench.status(1, &[Concluded, Null]);
        assert_eq!(rule(bench.try_event(0, DONE)), "terminal-event-order");
        bench.status(0, &[Aborting]);
        assert_eq!(rule(bench.try_event(0, DONE)), "terminal-event-kind");
        bench.event(0, Event::Cancelled);
        bench.status(0, &[Concluded, Null]);
    }
}

/// In QEMU 2.11 a job that is cancelled and ends well all the same commits, if it is alone (3).
#[test]
fn a_cancel_that_folds_into_no_result_brings_a_group_down_all_the_same() {
    for members in [1, 2] {
        let mut bench = Bench::with_callbacks(&QEMU_2_11, &vec![JobSpec::PLAIN; members]);
        bench.told(0, Request::Cancel { force: true });
        let seen = Seen::End(Callback::Run, true);
        bench.acceptor.observe(bench.jobs[0], seen).unwrap();
        let (taken, refused) = if members == 1 {
            (Waiting, Aborting)
        } else {
            (Aborting, Waiting)
        };
        assert!(bench.try_status(0, refused).is_err());
        bench.status(0, &[taken]);
    }
}

#[test]
fn finalize_decides_the_whole_group_before_it_returns() {
    let manual = JobSpec {
        auto_finalize: false,
        ..JobSpec::PLAIN
    };
    let mut bench = Bench::qmp(&QEMU_10_0, &[manual, JobSpec::PLAIN]);
    bench.start_all();
    bench.status(0, &[Waiting]);
    bench.status(1, &[Waiting, Pending]);
    bench.status(0, &[Pending]);
    bench.event(0, Event::Pending);
    assert_eq!(rule(bench.try_event(1, DONE)), "finalize-unasked");
    bench.ask(1, Request::Finalize);
    bench.event(1, DONE);
    bench.status(1, &[Concluded, Null]);
    assert_eq!(rule(bench.acceptor.answer(0, Ok(()))), "reply-too-early");
    bench.event(0, DONE);
    bench.status(0, &[Concluded, Null]);
    bench.acceptor.answer(0, Ok(())).unwrap();
}

#[test]
fn a_start_is_answered_once_the_jobs_run() {
    let mut acceptor = Acceptor::new(&REFERENCE, View::FULL);
    let group = acceptor.group(Group::CLOSED);
    let jobs = ["older", "newer"].map(|id| acceptor.job(group, &[JobSpec::PLAIN], id));
    for job in jobs {
        acceptor.call(0, Some(job), Request::Create, false);
        acceptor.observe(job, Seen::Status(Created)).unwrap();
        acceptor.answer(0, Ok(())).unwrap();
    }
    acceptor.call_group(0, group, Request::Start);
    acceptor.observe(jobs[0], Seen::Status(Running)).unwrap();
    assert_eq!(rule(acceptor.answer(0, Ok(()))), "reply-too-early");
    acceptor.observe(jobs[1], Seen::Status(Running)).unwrap();
    acceptor.answer(0, Ok(())).unwrap();
}

#[test]
fn nobody_starts_while_a_member_is_being_cancelled() {
    let mut acceptor = Acceptor::new(&REFERENCE, View::FULL);
    let group = acceptor.group(Group::CLOSED);
    let jobs = ["older", "newer"].map(|id| acceptor.job(group, &[JobSpec::PLAIN], id));
    for job in jobs {
        acceptor.call(0, Some(job), Request::Create, false);
        acceptor.observe(job, Seen::Status(Created)).unwrap();
        acceptor.answer(0, Ok(())).unwrap();
    }
    let force = Request::Cancel { force: true };
    acceptor.call(1, Some(jobs[0]), force, false);
    let cancel = Callback::Cancel;
    acceptor.observe(jobs[0], Seen::Begin(cancel)).unwrap();
    acceptor.call_group(0, group, Request::Start);
    for job in jobs {
        assert!(acceptor.observe(job, Seen::Status(Running)).is_err());
    }
    acceptor.answer(0, Ok(())).unwrap();
    acceptor.observe(jobs[0], Seen::End(cancel, true)).unwrap();
    acceptor.observe(jobs[1], Seen::Status(Aborting)).unwrap();
}

/// A job in a transaction of its own, created and started.
fn started(acceptor: &mut Acceptor, id: &str) -> JobKey {
    let group = acceptor.group(Group::CLOSED);
    let job = acceptor.job(group, &[JobSpec::PLAIN], id);
    acceptor.call(0, Some(job), Request::Create, false);
    acceptor.observe(job, Seen::Status(Created)).unwrap();
    acceptor.answer(0, Ok(())).unwrap();
    acceptor.call(0, Some(job), Request::Start, false);
    acceptor.observe(job, Seen::Status(Running)).unwrap();
    acceptor.answer(0, Ok(())).unwrap();
    job
}

#[test]
fn whoever_is_created_in_a_section_of_every_job_begins_held_in_whatever_transaction() {
    let (run, pause) = (Seen::Begin(Callback::Run), Seen::Begin(Callback::Pause));
    let mut acceptor = Acceptor::new(&REFERENCE, View::FULL);
    acceptor.call(0, None, Request::DrainBegin { token: 3 }, false);
    acceptor.answer(0, Ok(())).unwrap();
    let held = started(&mut acceptor, "held");
    assert!(acceptor.observe(held, run).is_err());
    acceptor.observe(held, pause).unwrap();
    // While it ends, it may hold whoever comes, or not any more.
    acceptor.call(1, None, Request::DrainEnd { token: 3 }, false);
    for seen in [run, pause] {
        let between = started(&mut acceptor, "between");
        acceptor.observe(between, seen).unwrap();
    }
    acceptor.answer(1, Ok(())).unwrap();
    let free = started(&mut acceptor, "free");
    assert!(acceptor.observe(free, pause).is_err());
    acceptor.observe(free, run).unwrap();
}

/// Its section may not have begun yet when the job came; then it has to wait for the job.
#[test]
fn a_section_of_every_job_waits_for_those_that_came_before_its_answer() {
    let (run, pause) = (Seen::Begin(Callback::Run), Seen::Begin(Callback::Pause));
    let mut acceptor = Acceptor::new(&REFERENCE, View::FULL);
    acceptor.call(1, None, Request::DrainBegin { token: 3 }, false);
    let job = started(&mut acceptor, "job");
    acceptor.observe(job, run).unwrap();
    assert_eq!(rule(acceptor.answer(1, Ok(()))), "reply-too-early");
    acceptor.observe(job, Seen::PointBegin).unwrap();
    acceptor.observe(job, pause).unwrap();
    let paused = [Seen::End(Callback::Pause, true), Seen::Status(Paused)];
    for seen in paused {
        assert_eq!(rule(acceptor.answer(1, Ok(()))), "reply-too-early");
        acceptor.observe(job, seen).unwrap();
    }
    acceptor.answer(1, Ok(())).unwrap();
    // Somebody told of the section beforehand says nothing new.
    let group = acceptor.group(Group {
        drained: 1 << 3,
        ..Group::CLOSED
    });
    let held = acceptor.job(group, &[JobSpec::PLAIN], "held");
    for (request, to) in [(Request::Create, Created), (Request::Start, Running)] {
        acceptor.call(0, Some(held), request, false);
        acceptor.observe(held, Seen::Status(to)).unwrap();
        acceptor.answer(0, Ok(())).unwrap();
    }
    assert!(acceptor.observe(held, run).is_err());
    acceptor.observe(held, pause).unwrap();
}

/// Nor does it end one that is.
#[test]
fn a_section_of_one_job_is_none_of_every_job() {
    let (run, pause) = (Seen::Begin(Callback::Run), Seen::Begin(Callback::Pause));
    let (begin, end) = (
        Request::DrainBegin { token: 3 },
        Request::DrainEnd { token: 3 },
    );
    let mut acceptor = Acceptor::new(&REFERENCE, View::FULL);
    let job = started(&mut acceptor, "job");
    acceptor.call(0, Some(job), begin, false);
    acceptor.answer(0, Ok(())).unwrap();
    let free = started(&mut acceptor, "free");
    assert!(acceptor.observe(free, pause).is_err());
    acceptor.observe(free, run).unwrap();
    let mut acceptor = Acceptor::new(&REFERENCE, View::FULL);
    let job = started(&mut acceptor, "job");
    acceptor.call(0, None, begin, false);
    acceptor.answer(0, Ok(())).unwrap();
    acceptor.call(0, Some(job), end, false);
    acceptor.answer(0, Ok(())).unwrap();
    let held = started(&mut acceptor, "held");
    assert!(acceptor.observe(held, run).is_err());
    acceptor.observe(held, pause).unwrap();
    // Its call is for nobody who comes while it is under way.
    acceptor.call(1, Some(job), Request::Pause, false);
    let later = started(&mut acceptor, "later");
    acceptor.answer(1, Ok(())).unwrap();
    assert!(acceptor.observe(later, run).is_err());
}

#[test]
fn whoever_starts_or_gives_up_what_a_cancel_has_taken_is_told_nothing() {
    for request in [Request::Start, Request::EarlyFail] {
        let mut acceptor = Acceptor::new(&REFERENCE, View::FULL);
        let group = acceptor.group(Group::CLOSED);
        let job = acceptor.job(group, &[JobSpec::PLAIN], "taken");
        acceptor.call(0, Some(job), Request::Create, false);
        acceptor.observe(job, Seen::Status(Created)).unwrap();
        acceptor.answer(0, Ok(())).unwrap();
        acceptor.call(1, Some(job), Request::Cancel { force: true }, false);
        let cancel = Callback::Cancel;
        acceptor.observe(job, Seen::Begin(cancel)).unwrap();
        // In hand.
        acceptor.call(0, Some(job), request, false);
        acceptor.answer(0, Ok(())).unwrap();
        acceptor.observe(job, Seen::End(cancel, true)).unwrap();
        acceptor.observe(job, Seen::Status(Aborting)).unwrap();
        // On its way.
        acceptor.call(0, Some(job), request, false);
        let refused = Err(Refusal::NotFound);
        assert!(acceptor.answer(0, refused).is_err());
        acceptor.answer(0, Ok(())).unwrap();
        for callback in [Callback::Abort, Callback::Clean, Callback::Completion] {
            acceptor.observe(job, Seen::Begin(callback)).unwrap();
            acceptor.observe(job, Seen::End(callback, true)).unwrap();
        }
        for status in [Concluded, Null] {
            acceptor.observe(job, Seen::Status(status)).unwrap();
        }
        acceptor.answer(1, Ok(())).unwrap();
        acceptor.observe(job, Seen::Begin(Callback::Free)).unwrap();
        acceptor
            .observe(job, Seen::End(Callback::Free, true))
            .unwrap();
        // Gone.
        acceptor.call(0, Some(job), request, false);
        assert!(acceptor.answer(0, refused).is_err());
        acceptor.answer(0, Ok(())).unwrap();
        acceptor.finish().unwrap();
    }
}

/// A lane that was let in before the gate was closed begins its piece when it gets to it. P18 and P19 speak of
/// the acknowledgement: nothing is in flight there, and nothing begins after it.
#[test]
fn until_a_pause_is_acknowledged_io_may_begin_and_must_end() {
    let paused_after = |pieces: &[Seen]| {
        let mut acceptor = Acceptor::new(&REFERENCE, View::TRACE);
        let group = acceptor.group(Group::CLOSED);
        let job = acceptor.job(group, &[JobSpec::PLAIN], "j");
        for (request, to) in [(Request::Create, Created), (Request::Start, Running)] {
            acceptor.call(0, Some(job), request, false);
            acceptor.observe(job, Seen::Status(to)).unwrap();
            acceptor.answer(0, Ok(())).unwrap();
        }
        acceptor.observe(job, Seen::Begin(Callback::Run)).unwrap();
        acceptor.call(1, Some(job), Request::Pause, false);
        acceptor.answer(1, Ok(())).unwrap();
        let pause = [
            Seen::Begin(Callback::Pause),
            Seen::End(Callback::Pause, true),
        ];
        for &seen in pause.iter().chain(pieces) {
            acceptor.observe(job, seen).unwrap();
        }
        let paused = acceptor.observe(job, Seen::Status(Paused));
        paused.and_then(|()| acceptor.observe(job, Seen::IoBegin))
    };
    for pieces in [
        // In flight when the pause is acknowledged, …
        &[Seen::IoBegin][..],
        // … or over by then, and another begins.
        &[Seen::IoBegin, Seen::IoEnd],
    ] {
        assert_eq!(rule(paused_after(pieces)), "io-while-paused", "{pieces:?}");
    }
}

#[test]
fn the_engines_callbacks_come_in_order() {
    let mut acceptor = Acceptor::new(&REFERENCE, View::FULL);
    let group = acceptor.group(Group::CLOSED);
    let job = acceptor.job(group, &[JobSpec::PLAIN], "j");
    let see = |acceptor: &mut Acceptor, seen| acceptor.observe(job, seen);
    let see_all = |acceptor: &mut Acceptor, all: &[Seen]| {
        for &seen in all {
            acceptor.observe(job, seen).unwrap();
        }
    };
    let told = |acceptor: &mut Acceptor, request| {
        acceptor.call(1, Some(job), request, false);
        acceptor.answer(1, Ok(())).unwrap();
    };
    let resumed = |acceptor: &mut Acceptor| {
        acceptor.call(1, Some(job), Request::Resume, false);
        let callback = Callback::UserResume;
        for seen in [Seen::Begin(callback), Seen::End(callback, true)] {
            acceptor.observe(job, seen).unwrap();
        }
        acceptor.answer(1, Ok(())).unwrap();
    };
    acceptor.call(0, Some(job), Request::Create, false);
    see_all(&mut acceptor, &[Seen::Status(Created)]);
    acceptor.answer(0, Ok(())).unwrap();
    acceptor.call(0, Some(job), Request::Start, false);
    see_all(&mut acceptor, &[Seen::Status(Running)]);
    acceptor.answer(0, Ok(())).unwrap();
    see_all(
        &mut acceptor,
        &[
            Seen::Begin(Callback::Run),
            Seen::IoBegin,
            Seen::IoEnd,
            Seen::PointBegin,
        ],
    );
    told(&mut acceptor, Request::Pause);
    see_all(
        &mut acceptor,
        &[
            Seen::Begin(Callback::Pause),
            Seen::End(Callback::Pause, true),
            Seen::Status(Paused),
        ],
    );
    assert_eq!(rule(see(&mut acceptor, Seen::IoBegin)), "io-while-paused");
    resumed(&mut acceptor);
    see_all(
        &mut acceptor,
        &[
            Seen::Status(Running),
            Seen::Begin(Callback::Resume),
            Seen::End(Callback::Resume, true),
        ],
    );
    told(&mut acceptor, Request::Pause);
    // The point may have been passed before that pause; the next one may not.
    see_all(&mut acceptor, &[Seen::PointEnd, Seen::PointBegin]);
    assert_eq!(rule(see(&mut acceptor, Seen::PointEnd)), "pause-lost");
    resumed(&mut acceptor);
    see_all(
        &mut acceptor,
        &[
            Seen::PointEnd,
            Seen::End(Callback::Run, true),
            Seen::Status(Waiting),
            Seen::Status(Pending),
            Seen::Begin(Callback::Prepare),
            Seen::End(Callback::Prepare, true),
            Seen::Begin(Callback::Commit),
            Seen::End(Callback::Commit, true),
        ],
    );
    let early = see(&mut acceptor, Seen::Begin(Callback::Completion));
    assert_eq!(rule(early), "callback-order");
    assert_eq!(rule(acceptor.finish()), "left-undone");
    acceptor.call(2, Some(job), Request::Cancel { force: true }, false);
    see_all(
        &mut acceptor,
        &[
            Seen::Begin(Callback::Clean),
            Seen::End(Callback::Clean, true),
            Seen::Begin(Callback::Completion),
            Seen::End(Callback::Completion, true),
            Seen::Event(DONE),
            Seen::Status(Concluded),
            Seen::Status(Null),
        ],
    );
    acceptor.answer(2, Err(Refusal::NotFound)).unwrap();
    assert_eq!(rule(acceptor.finish()), "left-undone");
    see_all(
        &mut acceptor,
        &[Seen::Begin(Callback::Free), Seen::End(Callback::Free, true)],
    );
    acceptor.finish().unwrap();
}

/// Whether some run of the relation from `world` shows exactly `trace`: plain depth-first search.
fn explains(world: &World, profile: &Profile, view: View, trace: &[Output], fuel: usize) -> bool {
    let Some((&first, rest)) = trace.split_first() else {
        return true;
    };
    assert!(fuel > 0, "silent steps are few");
    let mut next = Vec::new();
    steps(world, profile, view, &mut |_, world, output| {
        next.push((world.into_world(), output));
    });
    next.into_iter().any(|(world, output)| match output {
        None => explains(&world, profile, view, trace, fuel - 1),
        Some(output) => output == first && explains(&world, profile, view, rest, 12),
    })
}

fn accepts(profile: &'static Profile, view: View, specs: &[JobSpec], trace: &[Output]) -> bool {
    let mut acceptor = Acceptor::new(profile, view);
    let group = acceptor.group(Group::CLOSED);
    let jobs: Vec<JobKey> = specs
        .iter()
        .map(|&spec| acceptor.job(group, &[spec], "j"))
        .collect();
    for &job in &jobs {
        acceptor.start(job);
    }
    trace.iter().all(|&output| {
        let seen = match output {
            Output::Status(_, status) => Seen::Status(status),
            Output::Event(_, event) => Seen::Event(event),
            Output::Begin(_, callback) => Seen::Begin(callback),
            Output::End(_, callback, well) => Seen::End(callback, well),
            Output::PointBegin(_) => Seen::PointBegin,
            Output::PointEnd(_) => Seen::PointEnd,
            Output::IoBegin(_) => Seen::IoBegin,
            Output::IoEnd(_) => Seen::IoEnd,
        };
        acceptor.observe(jobs[output.member()], seen).is_ok()
    })
}

/// A small generator of its own, so that a failure is repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn the_acceptor_agrees_with_its_brute_force_twin() {
    let mut agreed = [0_u32; 2];
    for seed in 1..=400_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let profile: &'static Profile = [&REFERENCE, &QEMU_10_0][random.below(2)];
        let view = [View::QMP, View::FULL, View::TRACE][random.below(3)];
        let specs: Vec<JobSpec> = (0..=random.below(2))
            .map(|_| [JobSpec::PLAIN, READY][random.below(2)])
            .collect();
        let mut start = World::new(Group::CLOSED, specs.iter().copied());
        for job in &mut start.jobs {
            job.starting = true;
        }
        // A random walk of the relation, …
        let mut world = start.clone();
        let mut trace = Vec::new();
        for _ in 0..60 {
            let mut next = Vec::new();
            steps(&world, profile, view, &mut |_, world, output| {
                next.push((world.into_world(), output));
            });
            if next.is_empty() {
                break;
            }
            let (chosen, output) = next.swap_remove(random.below(next.len()));
            world = chosen;
            trace.extend(output);
        }
        assert!(
            accepts(profile, view, &specs, &trace),
            "seed {seed}: a run of the relation is refused: {trace:?}"
        );
        // … and one small edit of it.
        if trace.len() >= 2 {
            let place = random.below(trace.len() - 1);
            match random.below(3) {
                0 => trace.swap(place, place + 1),
                1 => {
                    trace.remove(place);
                }
                _ => trace.insert(place, trace[random.below(trace.len())]),
            }
        }
        let expected = explains(&start, profile, view, &trace, 12);
        assert_eq!(
            accepts(profile, view, &specs, &trace),
            expected,
            "seed {seed}: {} {trace:?}",
            profile.name
        );
        agreed[usize::from(expected)] += 1;
    }
    assert!(
        agreed[0] > 50 && agreed[1] > 50,
        "both verdicts are met: {agreed:?}"
    );
}
