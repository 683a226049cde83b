//! Jobs kept quiet, and moved: drained sections and contexts.
//!
//! Goal: a section begins when nothing of its jobs goes on and not before (SEMANTICS.md §4.7, P19,
//! P45), sections nest, newcomers begin held (decision 35), a job moves only while it is kept quiet
//! (§4.8). Method: `engine_support`; the section is begun on a thread of its own, because it waits for
//! the main loop, which is the test's.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, ThreadId, spawn};
use std::time::Duration;

use blockjob::driver::{Driver, Finish, Flow, JobError, RunContext};
use blockjob::engine::{
    CancelMode, Context, DrainedSection, EngineError, JobHandle, JobOptions, MainLoop, Manager,
    ManagerConfig, Resource,
};
use blockjob::model::{Refusal, Status};
use engine_support::{Bench, Log, Puppet, Step};

type Begun = JoinHandle<Result<DrainedSection, EngineError>>;

/// Begins a section elsewhere while the main loop runs here.
fn drained(main_loop: &mut MainLoop, begun: Begun) -> Result<DrainedSection, EngineError> {
    let (tell, told) = channel();
    let waiter = spawn(move || {
        let section = begun.join().unwrap();
        tell.send(()).unwrap();
        section
    });
    // The end of the wait changes no status, so the loop is asked without waiting.
    while told.try_recv().is_err() {
        main_loop.run_pending();
        std::thread::yield_now();
    }
    waiter.join().unwrap()
}

/// Begins a section; bodies that wait for orders come to a pause point once they are held.
fn begin(
    bench: &mut Bench,
    begun: Begun,
    bodies: &[(&JobHandle, &Puppet)],
) -> Result<DrainedSection, EngineError> {
    for (job, puppet) in bodies {
        while !job.info().pause_requested {
            bench.main_loop.run_pending();
            std::thread::yield_now();
        }
        puppet.order(Step::Point);
    }
    drained(&mut bench.main_loop, begun)
}

fn drain(bench: &mut Bench, job: &JobHandle, body: Option<&Puppet>) -> DrainedSection {
    let begun = job.clone();
    let begun = spawn(move || begun.drained_begin());
    let bodies: Vec<_> = body.into_iter().map(|puppet| (job, puppet)).collect();
    begin(bench, begun, &bodies).unwrap()
}

fn drain_all(bench: &mut Bench, bodies: &[(&JobHandle, &Puppet)]) -> DrainedSection {
    let manager = bench.manager.clone();
    let begun = spawn(move || manager.drained_begin());
    begin(bench, begun, bodies).unwrap()
}

/// Moves a job elsewhere while the main loop runs here.
fn attach(
    main_loop: &mut MainLoop,
    section: &DrainedSection,
    job: &JobHandle,
    context: &Context,
) -> Result<(), EngineError> {
    std::thread::scope(|scope| {
        let moved = scope.spawn(|| section.attach_context(job, context));
        while !moved.is_finished() {
            main_loop.run_pending();
            std::thread::yield_now();
        }
        moved.join().unwrap()
    })
}

#[test]
fn a_section_begins_when_its_job_is_parked_and_its_end_lets_it_go() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(JobOptions::new("j0"));
    bench.log.take();
    let section = drain(&mut bench, &job, Some(&puppet));
    assert_eq!(job.status(), Status::Paused);
    assert_eq!(section.ids(), ["j0"]);
    let log = bench.log.take();
    assert!(log.contains(&"j0 drain".to_owned()), "{log:?}");
    assert_eq!(log.last().unwrap(), "j0 drained_poll");
    section.end();
    puppet.done();
    assert_eq!(bench.log.take(), ["j0 s:running", "j0 resume"]);
    puppet.order(Step::End(Ok(())));
    bench.finish();
}

#[test]
fn a_section_is_not_begun_while_a_body_does_anything() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(JobOptions::new("j0"));
    let begin = job.clone();
    let begun = spawn(move || begin.drained_begin());
    while !job.info().pause_requested {
        std::thread::yield_now();
    }
    bench.main_loop.run_pending();
    // The body has not come to a pause point and will not until it is told.
    assert!(!begun.is_finished());
    assert_eq!(job.status(), Status::Running);
    puppet.order(Step::Point);
    let section = drained(&mut bench.main_loop, begun).unwrap();
    assert_eq!(job.status(), Status::Paused);
    drop(section);
    puppet.done();
    puppet.order(Step::End(Ok(())));
    bench.finish();
}

#[test]
fn sleeping_and_ended_and_unstarted_jobs_are_quiet() {
    let mut bench = Bench::new();
    let (sleeping, for_sleeping) = bench.running(JobOptions::new("sleeping"));
    let (created, for_created) = bench.created(JobOptions::new("created"));
    let (over, for_over) = bench.running(JobOptions::new("over").manual_dismiss(true));
    for_over.order(Step::End(Ok(())));
    bench.until(&over, Status::Concluded);
    // Only now: virtual time runs while the main loop is idle.
    for_sleeping.order(Step::Sleep(Duration::MAX));
    let section = drain_all(&mut bench, &[]);
    assert_eq!(section.ids(), ["sleeping", "created"]);
    assert_eq!(sleeping.status(), Status::Paused);
    // Started inside the section it pauses before its first step.
    let created = created.start();
    bench.until(&created, Status::Paused);
    drop(section);
    over.dismiss().unwrap();
    // What was left of the sleep is forgotten (§4.5): both take orders again.
    for puppet in [for_sleeping, for_created] {
        puppet.order(Step::End(Ok(())));
    }
    bench.finish();
}

#[test]
fn sections_nest_and_each_lets_go_of_its_own() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(JobOptions::new("j0"));
    let outer = drain_all(&mut bench, &[(&job, &puppet)]);
    let inner = drain(&mut bench, &job, None);
    bench.log.take();
    drop(outer);
    assert_eq!(job.status(), Status::Paused);
    // The user's pause and the sections are different things.
    job.pause().unwrap();
    drop(inner);
    assert_eq!(bench.log.take(), Vec::<String>::new());
    job.resume().unwrap();
    puppet.done();
    puppet.order(Step::End(Ok(())));
    bench.finish();
}

#[test]
fn whoever_is_created_in_a_section_of_every_job_begins_held() {
    let mut bench = Bench::new();
    let section = drain_all(&mut bench, &[]);
    let (created, puppet) = bench.created(JobOptions::new("late"));
    let job = created.start();
    bench.until(&job, Status::Paused);
    assert_eq!(section.ids(), ["late"]);
    drop(section);
    puppet.order(Step::End(Ok(())));
    bench.finish();
    // A section of one job holds nobody else.
    let (other, for_other) = bench.running(JobOptions::new("other"));
    let section = drain(&mut bench, &other, Some(&for_other));
    let (free, for_free) = bench.running(JobOptions::new("free"));
    for_free.order(Step::End(Ok(())));
    bench.until(&free, Status::Null);
    drop(section);
    for_other.done();
    for_other.order(Step::End(Ok(())));
    bench.finish();
}

#[test]
fn nothing_but_a_forced_cancel_ends_a_park_before_the_section_does() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.ready(JobOptions::new("j0"));
    let section = drain(&mut bench, &job, Some(&puppet));
    job.enter();
    job.set_speed(1).unwrap();
    job.complete().unwrap();
    job.cancel(CancelMode::Soft).unwrap();
    bench.main_loop.run_pending();
    assert_eq!(job.status(), Status::Standby, "P19");
    job.cancel(CancelMode::Force).unwrap();
    bench.finish();
    assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
    assert_eq!(section.ids(), Vec::<String>::new());
}

#[test]
fn a_job_that_is_gone_is_not_found() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(JobOptions::new("j0"));
    puppet.order(Step::End(Ok(())));
    bench.finish();
    let begun = spawn(move || job.drained_begin());
    assert_eq!(
        drained(&mut bench.main_loop, begun).unwrap_err().refusal(),
        Some(Refusal::NotFound)
    );
}

#[test]
fn a_section_of_a_resource_holds_who_holds_it_and_who_comes() {
    let mut bench = Bench::new();
    let disk = || Resource::read("disk").identity("disk");
    let (job, puppet) = bench.running(JobOptions::new("on-disk").resource(disk()));
    let (other, for_other) = bench.running(JobOptions::new("elsewhere"));
    let manager = bench.manager.clone();
    let begun = spawn(move || manager.drained_begin_on(&disk()));
    let section = begin(&mut bench, begun, &[(&job, &puppet)]).unwrap();
    assert_eq!(section.ids(), ["on-disk"]);
    let (late, _for_late) = bench.created(JobOptions::new("late").resource(disk()));
    let (late_elsewhere, _for_it) = bench.created(JobOptions::new("late-elsewhere"));
    assert_eq!(section.ids(), ["on-disk", "late"]);
    drop(late_elsewhere);
    assert!(late.handle().info().pause_requested);
    drop(late);
    for_other.order(Step::End(Ok(())));
    bench.until(&other, Status::Null);
    drop(section);
    puppet.done();
    puppet.order(Step::End(Ok(())));
    bench.finish();
}

/// Waits for itself in every way there is.
struct Own(Mutex<Option<JobHandle>>, Manager);
impl Driver for Own {
    fn job_type(&self) -> &'static str {
        "own"
    }
    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        while self.0.lock().unwrap().is_none() {
            let _ = context.wait();
        }
        let me = self.0.lock().unwrap().take().unwrap();
        let refused = EngineError::WouldDeadlock;
        assert_eq!(me.drained_begin().unwrap_err(), refused);
        assert_eq!(self.1.drained_begin().unwrap_err(), refused);
        assert_eq!(me.wait_concluded().unwrap_err(), refused);
        assert_eq!(me.wait_decided().unwrap_err(), refused);
        assert_eq!(me.wait_for(&[Status::Ready]).unwrap_err(), refused);
        assert_eq!(me.cancel_sync(CancelMode::Force).unwrap_err(), refused);
        assert_eq!(me.complete_sync().unwrap_err(), refused);
        assert_eq!(self.1.cancel_sync_all().unwrap_err(), refused);
        assert!(!me.info().cancel_requested, "refused means untouched");
        // A verb about itself is carried out: the main loop does not wait for the body.
        me.cancel(CancelMode::Force).unwrap();
        Ok(())
    }
}

#[test]
fn sections_do_not_begin_where_they_would_wait_for_themselves() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(JobOptions::new("j0"));
    assert_eq!(
        job.drained_begin().unwrap_err(),
        EngineError::WouldDeadlock,
        "the main loop"
    );
    puppet.order(Step::End(Ok(())));
    bench.finish();

    let own = Arc::new(Own(Mutex::default(), bench.manager.clone()));
    let job = bench
        .manager
        .create(JobOptions::new("own"), Arc::clone(&own))
        .unwrap()
        .start();
    *own.0.lock().unwrap() = Some(job.clone());
    job.enter();
    bench.finish();
    assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
}

#[test]
fn without_its_main_loop_nobody_waits_for_a_section() {
    let bench = Bench::new();
    let (job, puppet) = bench.running(JobOptions::new("j0"));
    let begun = spawn(move || job.drained_begin());
    drop(bench.main_loop);
    assert_eq!(
        begun.join().unwrap().unwrap_err(),
        EngineError::MainLoopGone
    );
    puppet.order(Step::Point);
}

#[test]
fn a_section_that_could_not_begin_holds_nobody() {
    let bench = Bench::new();
    let (created, _puppet) = bench.created(JobOptions::new("j0"));
    let job = created.handle();
    drop(bench.main_loop);
    let begin = job.clone();
    let answer = spawn(move || begin.drained_begin()).join().unwrap();
    assert_eq!(answer.unwrap_err(), EngineError::MainLoopGone);
    assert!(!job.info().pause_requested);
}

/// Says a number of times that more is to come.
struct Slow {
    more: AtomicU32,
    asked: AtomicU32,
}

impl Driver for Slow {
    fn job_type(&self) -> &'static str {
        "slow"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        while context.wait() == Flow::Continue {}
        Ok(())
    }

    fn drained_poll(&self) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.more
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |more| {
                more.checked_sub(1)
            })
            .is_ok()
    }
}

#[test]
fn a_section_does_not_begin_while_the_driver_has_more_to_come() {
    let mut bench = Bench::new();
    let slow = Arc::new(Slow {
        more: AtomicU32::new(3),
        asked: AtomicU32::new(0),
    });
    let job = bench
        .manager
        .create(JobOptions::new("j0"), Arc::clone(&slow))
        .unwrap()
        .start();
    let begin = job.clone();
    let waiter = spawn(move || {
        let section = begin.drained_begin().unwrap();
        begin.cancel(CancelMode::Force).unwrap();
        section
    });
    // Only the main loop's own clock asks again: virtual time runs while it is idle.
    bench.finish();
    drop(waiter.join().unwrap());
    assert_eq!(slow.asked.load(Ordering::SeqCst), 4);
}

/// Tells on which thread it runs, and waits for its end.
struct Traveller {
    log: Log,
    runs: Mutex<Sender<ThreadId>>,
}

impl Driver for Traveller {
    fn job_type(&self) -> &'static str {
        "traveller"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        self.runs
            .lock()
            .unwrap()
            .send(std::thread::current().id())
            .unwrap();
        while context.wait() == Flow::Continue {}
        Ok(())
    }

    fn attached_context(&self, context: &Context) {
        self.log.add(format!("attached to {}", context.name()));
    }
}

fn traveller(log: &Log) -> (Traveller, Receiver<ThreadId>) {
    let (runs, running) = channel();
    let driver = Traveller {
        log: log.clone(),
        runs: Mutex::new(runs),
    };
    (driver, running)
}

#[test]
fn a_job_without_a_body_moves_entirely_and_a_parked_one_keeps_its_thread() {
    let log = Log::default();
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default().bodies_max(1));
    let elsewhere = Context::new("elsewhere", 1);

    // Takes the only thread of the manager's own context.
    let (driver, first_runs) = traveller(&log);
    let first = manager.create(JobOptions::new("first"), driver).unwrap();
    let first = first.start();
    let first_thread = first_runs.recv().unwrap();
    // Started, and without a thread.
    let (driver, queued_runs) = traveller(&log);
    let queued = manager.create(JobOptions::new("queued"), driver).unwrap();
    let queued = queued.start();
    let (driver, late_runs) = traveller(&log);
    let created = manager.create(JobOptions::new("late"), driver).unwrap();
    let late = created.handle();

    let begin = manager.clone();
    let section = drained(&mut main_loop, spawn(move || begin.drained_begin())).unwrap();
    for job in [&first, &queued, &late] {
        attach(&mut main_loop, &section, job, &elsewhere).unwrap();
        assert_eq!(job.context(), Some(elsewhere.clone()));
    }
    assert_eq!(log.take(), ["attached to elsewhere"; 3]);
    // Moving to where it is is told as well, and starts no second body.
    attach(&mut main_loop, &section, &queued, &elsewhere).unwrap();
    assert_eq!(log.take(), ["attached to elsewhere"]);
    drop(section);

    // The thread of the manager's context is still the first job's, yet the second one runs.
    let queued_thread = queued_runs.recv().unwrap();
    assert_ne!(queued_thread, first_thread);
    queued.cancel(CancelMode::Force).unwrap();
    main_loop.run_until(|| queued.status() == Status::Null);
    created.start();
    assert_eq!(late_runs.recv().unwrap(), queued_thread, "one thread there");
    for job in [&first, &late] {
        job.cancel(CancelMode::Force).unwrap();
    }
    main_loop.run_until_idle();
    assert_eq!(first_runs.try_recv().ok(), None, "runs once");
}

#[test]
fn a_job_moves_only_while_a_section_keeps_it_quiet() {
    let mut bench = Bench::new();
    let elsewhere = Context::new("elsewhere", 1);
    let (job, puppet) = bench.running(JobOptions::new("j0"));
    let (other, for_other) = bench.running(JobOptions::new("other"));
    let section = drain(&mut bench, &other, Some(&for_other));
    let not_quiet = |job: &JobHandle| {
        Err(EngineError::Refused {
            id: job.id().to_owned(),
            refusal: Refusal::NotQuiet,
        })
    };
    assert_eq!(
        attach(&mut bench.main_loop, &section, &job, &elsewhere),
        not_quiet(&job),
        "not held"
    );
    let home = Some(bench.manager.context());
    assert_eq!(job.context(), home, "refused means that it stays");
    assert_eq!(
        section.attach_context(&other, &elsewhere),
        Err(EngineError::WouldDeadlock)
    );
    drop(section);
    for_other.done();
    for puppet in [puppet, for_other] {
        puppet.order(Step::End(Ok(())));
    }
    bench.finish();
}

/// Takes its time in `resume`.
struct Lingers {
    leaves: Mutex<Receiver<()>>,
}

impl Driver for Lingers {
    fn job_type(&self) -> &'static str {
        "lingers"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        while context.wait() == Flow::Continue {}
        Ok(())
    }

    fn resume(&self) {
        self.leaves.lock().unwrap().recv().unwrap();
    }
}

#[test]
fn a_job_on_its_way_out_is_held_but_not_quiet() {
    let mut bench = Bench::new();
    let (leave, leaves) = channel();
    let lingers = Lingers {
        leaves: Mutex::new(leaves),
    };
    // It stays, so that the second section finds it however late it begins.
    let options = JobOptions::new("j0").manual_dismiss(true);
    let job = bench.manager.create(options, lingers);
    let job = job.unwrap().start();
    let section = drain(&mut bench, &job, None);
    // Held before its first step it is quiet as well.
    bench.until(&job, Status::Paused);
    job.cancel(CancelMode::Force).unwrap();
    let elsewhere = Context::new("elsewhere", 1);
    let id = "j0".to_owned();
    assert_eq!(
        attach(&mut bench.main_loop, &section, &job, &elsewhere),
        Err(EngineError::Refused {
            id,
            refusal: Refusal::NotQuiet
        })
    );
    let home = Some(bench.manager.context());
    assert_eq!(job.context(), home, "refused means that it stays");
    // Another section waits until it has ended.
    let again = job.clone();
    let begun = spawn(move || again.drained_begin());
    leave.send(()).unwrap();
    drop(drained(&mut bench.main_loop, begun).unwrap());
    bench.finish();
    assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
}

/// Asks the engine something when it is let go of.
struct AsksInTheEnd {
    manager: Manager,
    told: Sender<usize>,
}

impl Driver for AsksInTheEnd {
    fn job_type(&self) -> &'static str {
        "asks"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        while context.wait() == Flow::Continue {}
        Ok(())
    }
}

impl Drop for AsksInTheEnd {
    fn drop(&mut self) {
        self.told.send(self.manager.jobs().len()).unwrap();
    }
}

#[test]
fn a_section_that_is_the_last_to_know_a_job_lets_go_of_its_driver_without_a_lock() {
    let mut bench = Bench::new();
    let (told, tells) = channel();
    let driver = AsksInTheEnd {
        manager: bench.manager.clone(),
        told,
    };
    let job = bench.manager.create(JobOptions::new("j0"), driver);
    let job = job.unwrap().start();
    let section = drain(&mut bench, &job, None);
    job.cancel(CancelMode::Force).unwrap();
    bench.until(&job, Status::Null);
    bench.finish();
    drop(job);
    tells.try_recv().unwrap_err();
    drop(section);
    assert_eq!(tells.try_recv(), Ok(0));
}

/// Ready, and waits to be told how to finish.
struct Converged;

impl Driver for Converged {
    fn job_type(&self) -> &'static str {
        "converged"
    }

    fn supports_complete(&self) -> bool {
        true
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        match context.ready().wait_for_finish() {
            Finish::Complete | Finish::SoftCancel => Ok(()),
            Finish::Cancelled => Err(JobError::canceled()),
        }
    }
}

#[test]
fn jobs_are_born_where_they_are_told() {
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default().virtual_time(true));
    let elsewhere = Context::new("elsewhere", 2);
    let options = JobOptions::new("there").context(&elsewhere);
    let there = manager.create(options, Converged).unwrap().start();
    let here = manager.create(JobOptions::new("here"), Converged).unwrap();
    let here = here.start();
    assert_eq!(there.context(), Some(elsewhere));
    assert_eq!(here.context(), Some(manager.context()));
    for job in [there, here] {
        assert!(main_loop.run_until(|| job.status() == Status::Ready));
        job.complete().unwrap();
    }
    main_loop.run_until_idle();
}
