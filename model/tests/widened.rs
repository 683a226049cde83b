//! Goal: a transaction that has too many possible worlds is judged less strictly, never wrongly.
//!
//! Method: seven jobs run their course while somebody holds every job. What comes to all of them at once
//! has more worlds than are kept, and the execution is one that happened (two threads, the reference). And two
//! jobs of which so little is known that one thing more is too much: whatever that is, it comes to whom it is about.

use blockjob_model::accept::{Acceptor, GroupKey, JobKey, Seen, SightPattern};
use blockjob_model::profile::REFERENCE;
use blockjob_model::state::{Group, JobSpec};
use blockjob_model::step::View;
use blockjob_model::{Callback, Event, Refusal, Request, Status};

const SPEC: JobSpec = JobSpec {
    auto_finalize: true,
    auto_dismiss: true,
    can_complete: false,
    needs_finish: false,
    block: true,
    internal: false,
    completion: true,
};

/// The thread of the main loop, and one that holds every job.
const MAIN: u16 = 0;
const HOLDER: u16 = 1;

struct Trace {
    acceptor: Acceptor,
    group: GroupKey,
    jobs: Vec<JobKey>,
}

impl Trace {
    fn new(jobs: usize) -> Trace {
        Trace::heard_by(Acceptor::new(&REFERENCE, View::FULL), jobs)
    }

    fn heard_by(mut acceptor: Acceptor, jobs: usize) -> Trace {
        let group = acceptor.group(Group::CLOSED);
        let job = |job| acceptor.job(group, &[SPEC], &format!("j{job}"));
        let jobs = (0..jobs).map(job).collect();
        Trace {
            acceptor,
            group,
            jobs,
        }
    }

    fn see(&mut self, job: usize, seen: Seen) {
        let verdict = self.acceptor.observe(self.jobs[job], seen);
        verdict.unwrap_or_else(|rejection| panic!("{seen:?} of j{job}: {rejection:#?}"));
    }

    fn callback(&mut self, job: usize, callback: Callback) {
        self.see(job, Seen::Begin(callback));
        self.see(job, Seen::End(callback, true));
    }

    fn answer(&mut self, thread: u16) {
        let verdict = self.acceptor.answer(thread, Ok(()));
        verdict.unwrap_or_else(|rejection| panic!("{rejection:#?}"));
    }

    fn ask_all(&mut self, request: Request) {
        self.acceptor.call(HOLDER, None, request, false);
    }

    /// Everybody is created, started, and has run.
    fn run(&mut self) {
        for job in 0..self.jobs.len() {
            let key = Some(self.jobs[job]);
            self.acceptor.call(MAIN, key, Request::Create, false);
            self.see(job, Seen::Status(Status::Created));
            self.answer(MAIN);
        }
        self.acceptor.call_group(MAIN, self.group, Request::Start);
        for job in 0..self.jobs.len() {
            self.see(job, Seen::Status(Status::Running));
        }
        for job in 0..self.jobs.len() {
            self.callback(job, Callback::Run);
        }
        self.answer(MAIN);
    }

    /// Everybody ends well.
    fn end(&mut self) {
        for job in 0..self.jobs.len() {
            self.see(job, Seen::Status(Status::Waiting));
        }
        for job in (0..self.jobs.len()).rev() {
            self.see(job, Seen::Status(Status::Pending));
        }
        for job in (0..self.jobs.len()).rev() {
            self.callback(job, Callback::Prepare);
        }
        for job in (0..self.jobs.len()).rev() {
            self.callback(job, Callback::Commit);
            self.callback(job, Callback::Clean);
            self.callback(job, Callback::Completion);
            self.see(job, Seen::Event(Event::Completed { error: false }));
            self.see(job, Seen::Status(Status::Concluded));
            self.see(job, Seen::Status(Status::Null));
        }
        for job in (0..self.jobs.len()).rev() {
            self.callback(job, Callback::Free);
        }
    }
}

#[test]
fn a_call_that_is_too_much_for_one_belief_is_answered_once() {
    let mut trace = Trace::new(7);
    trace.run();
    trace.ask_all(Request::Hold { token: 1 });
    trace.answer(HOLDER);
    trace.ask_all(Request::Release { token: 1 });
    trace.answer(HOLDER);
    trace.end();
    assert!(trace.acceptor.widened() > 0, "else this tests nothing");
    if let Err(rejection) = trace.acceptor.finish() {
        panic!("{rejection:#?}");
    }
}

#[test]
fn a_call_that_nobody_answers_is_still_left_undone() {
    let mut trace = Trace::new(7);
    trace.run();
    trace.ask_all(Request::Hold { token: 1 });
    trace.answer(HOLDER);
    trace.ask_all(Request::Release { token: 1 });
    trace.end();
    assert!(trace.acceptor.widened() > 0, "else this tests nothing");
    let rejection = trace.acceptor.finish().expect_err("nobody answered");
    assert_eq!(rejection.rule, "left-undone");
}

#[test]
fn whoever_keeps_one_explanation_has_room_for_it() {
    let mut trace = Trace::heard_by(Acceptor::thin(&REFERENCE, View::FULL), 7);
    trace.run();
    for request in [Request::Hold { token: 1 }, Request::Release { token: 1 }] {
        trace.ask_all(request);
        trace.answer(HOLDER);
    }
    trace.end();
    if let Err(rejection) = trace.acceptor.finish() {
        panic!("{rejection:#?}");
    }
    assert_eq!(trace.acceptor.widened(), 0);
}

/// Two jobs of one transaction, of which the first may be so many things, and the second so many.
fn pair(specs: [u8; 2]) -> (Acceptor, [JobKey; 2]) {
    let mut acceptor = Acceptor::new(&REFERENCE, View::QMP);
    let group = acceptor.group(Group::CLOSED);
    let jobs = specs.map(|count| {
        let all = (0..count).map(|bits| JobSpec {
            auto_finalize: bits & 1 != 0,
            auto_dismiss: bits & 2 != 0,
            can_complete: bits & 4 != 0,
            needs_finish: bits & 8 != 0,
            block: bits & 16 != 0,
            completion: bits & 32 != 0,
            internal: false,
        });
        let job = acceptor.job(group, &all.collect::<Vec<_>>(), "job");
        acceptor.start(job);
        job
    });
    assert_eq!(acceptor.widened(), 0);
    (acceptor, jobs)
}

fn see(acceptor: &mut Acceptor, job: JobKey, status: Status) {
    let verdict = acceptor.observe(job, Seen::Status(status));
    verdict.unwrap_or_else(|rejection| panic!("{status}: {rejection:#?}"));
}

/// What a query shows of a job in this status.
fn shown(status: Status) -> SightPattern {
    SightPattern {
        status: Some(status),
        ready: None,
        paused: None,
        io_failed: None,
        failed: None,
    }
}

#[test]
fn a_call_on_one_member_stays_with_that_one() {
    for called in [0, 1] {
        let (mut acceptor, jobs) = pair([64, 31]);
        acceptor.call(0, Some(jobs[called]), Request::Pause, false);
        assert_eq!(acceptor.widened(), 1);
        assert!(acceptor.answer(0, Ok(())).is_err());
        let nobody = Err(Refusal::NotFound);
        assert!(acceptor.answer(0, nobody).is_ok(), "member {called}");
        for status in [Status::Created, Status::Running] {
            for job in jobs {
                see(&mut acceptor, job, status);
            }
        }
        acceptor.call(0, Some(jobs[called]), Request::Pause, false);
        acceptor.call(1, Some(jobs[1 - called]), Request::Resume, false);
        see(&mut acceptor, jobs[called], Status::Paused);
        assert!(
            acceptor
                .observe(jobs[1 - called], Seen::Status(Status::Paused))
                .is_err()
        );
        assert!(acceptor.answer(1, Ok(())).is_err());
        assert!(acceptor.answer(1, Err(Refusal::NotPaused)).is_ok());
        assert!(acceptor.answer(0, Ok(())).is_ok());
    }
}

#[test]
fn a_call_on_all_members_is_answered_by_all() {
    let (mut acceptor, jobs) = pair([64, 31]);
    acceptor.call(0, None, Request::Query, false);
    assert_eq!(acceptor.widened(), 1);
    see(&mut acceptor, jobs[0], Status::Created);
    assert!(!acceptor.may_look(0, &[(jobs[1], shown(Status::Created))]));
    assert!(
        acceptor
            .looked(0, &[(jobs[1], shown(Status::Created))])
            .is_err()
    );
    let (mut acceptor, jobs) = pair([64, 31]);
    acceptor.call(0, None, Request::Query, false);
    see(&mut acceptor, jobs[0], Status::Created);
    let listed = [(jobs[0], shown(Status::Created))];
    assert!(acceptor.may_look(0, &listed));
    assert!(acceptor.looked(0, &listed).is_ok());
    assert!(
        acceptor.looked(0, &listed).is_err(),
        "there is no call any more"
    );
}

#[test]
fn what_is_seen_of_one_member_is_seen_of_no_other() {
    for first in [0, 1] {
        let (mut acceptor, jobs) = pair([50, 20]);
        acceptor.call(0, None, Request::Query, false);
        assert_eq!(acceptor.widened(), 0);
        see(&mut acceptor, jobs[first], Status::Created);
        assert_eq!(acceptor.widened(), 1);
        assert_eq!(acceptor.statuses(jobs[first]), [Status::Created]);
        assert_eq!(acceptor.statuses(jobs[1 - first]), [Status::Undefined]);
        see(&mut acceptor, jobs[1 - first], Status::Created);
        // The query is under way still, in the parts that the transaction fell into.
        for wrong in jobs {
            let listed = jobs.map(|job| {
                let status = if job == wrong {
                    Status::Running
                } else {
                    Status::Created
                };
                (job, shown(status))
            });
            assert!(!acceptor.may_look(0, &listed));
        }
        let listed = jobs.map(|job| (job, shown(Status::Created)));
        assert!(acceptor.looked(0, &listed).is_ok());
        assert_eq!(acceptor.live_jobs(), 2);
    }
}

#[test]
fn a_call_goes_with_the_member_that_it_is_on() {
    for asked in [0, 1] {
        let (mut acceptor, jobs) = pair([50, 20]);
        for job in jobs {
            see(&mut acceptor, job, Status::Created);
        }
        acceptor.call(0, Some(jobs[asked]), Request::Query, false);
        assert_eq!(acceptor.widened(), 0);
        see(&mut acceptor, jobs[1 - asked], Status::Running);
        assert_eq!(acceptor.widened(), 1);
        let listed = |status| [(jobs[asked], shown(status))];
        assert!(!acceptor.may_look(0, &listed(Status::Running)));
        assert!(acceptor.looked(0, &listed(Status::Created)).is_ok());
    }
}

#[test]
fn whoever_is_unseen_asks_of_every_member() {
    let (mut acceptor, jobs) = pair([64, 31]);
    for job in jobs {
        see(&mut acceptor, job, Status::Created);
    }
    acceptor.others(jobs[0]);
    assert_eq!(acceptor.widened(), 1);
    for status in [Status::Running, Status::Paused] {
        for job in jobs {
            see(&mut acceptor, job, status);
        }
    }
}
