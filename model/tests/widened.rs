//! Goal: a transaction that has too many possible worlds is judged less strictly, never wrongly.
//!
//! Method: seven jobs run their course while somebody holds every job. What comes to all of them at once
//! has more worlds than are kept, and the execution is one that happened (two threads, the reference).

use blockjob_model::accept::{Acceptor, GroupKey, JobKey, Seen};
use blockjob_model::profile::REFERENCE;
use blockjob_model::state::{Group, JobSpec};
use blockjob_model::step::View;
use blockjob_model::{Callback, Event, Request, Status};

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
        let mut acceptor = Acceptor::new(&REFERENCE, View::FULL);
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
