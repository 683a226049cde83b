//! Callbacks that call back in, and calls that wait.
//!
//! Goal: a verb made inside a callback of the main loop is judged at once, answered, and carried out as a task
//! of its own, if the job then still accepts it (decisions 22, 23); what waits does not wait for itself, and
//! waits long enough (decision 19, SEMANTICS.md §2.9). Method: one order of events each, from inside a
//! callback or on a second thread beside the main loop.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::spawn;

use blockjob::driver::{Driver, Errno, Finish, Flow, JobError, RunContext};
use blockjob::engine::{
    CancelMode, CompletionMode, Decision, EngineError, JobHandle, JobOptions, MainLoop, Manager,
    ManagerConfig,
};
use blockjob::model::{Callback, Status};
use engine_support::{Bench, Step, io_error};

fn virtual_time() -> (Manager, MainLoop) {
    Manager::new(ManagerConfig::default().virtual_time(true))
}

/// Asks for a forced cancel of a peer inside one of its callbacks, and remembers the answer.
struct Meddler {
    inside: Callback,
    fails: bool,
    peer: Arc<OnceLock<JobHandle>>,
    answer: Arc<Mutex<Option<Result<(), EngineError>>>>,
}

impl Meddler {
    fn at(&self, callback: Callback) {
        if callback == self.inside {
            let peer = self.peer.get().unwrap();
            let answer = peer.cancel(CancelMode::Force);
            // Whatever it answers, nothing has happened to the peer yet.
            assert!(self.fails || !peer.info().cancel_requested);
            *self.answer.lock().unwrap() = Some(answer);
        }
    }
}

impl Driver for Meddler {
    fn job_type(&self) -> &'static str {
        "meddler"
    }
    fn run(&self, _: RunContext<'_>) -> Result<(), JobError> {
        if self.fails {
            Err(Errno::IO.into())
        } else {
            Ok(())
        }
    }
    fn prepare(&self) -> Result<(), JobError> {
        self.at(Callback::Prepare);
        Ok(())
    }
    fn commit(&self) {
        self.at(Callback::Commit);
    }
    fn abort(&self) {
        self.at(Callback::Abort);
    }
    fn clean(&self) {
        self.at(Callback::Clean);
    }
    fn free(&self) {
        self.at(Callback::Free);
    }
}

/// The meddler's answer, and the outcomes of the meddler (newer) and its peer.
fn meddle(inside: Callback, fails: bool) -> (Result<(), EngineError>, bool, bool) {
    let (manager, mut main_loop) = virtual_time();
    let (peer, answer) = (Arc::new(OnceLock::new()), Arc::default());
    let mut transaction = manager.transaction();
    let quiet = engine_support::work(|_| Ok(()));
    let other = transaction.create(JobOptions::new("peer"), quiet).unwrap();
    peer.set(other.clone()).unwrap();
    let meddler = Meddler {
        inside,
        fails,
        peer,
        answer: Arc::clone(&answer),
    };
    let options = JobOptions::new("meddler");
    let options = if inside == Callback::Completion {
        let (peer, answer) = (other.clone(), Arc::clone(&answer));
        options.on_completion(move |_| {
            *answer.lock().unwrap() = Some(peer.cancel(CancelMode::Force));
        })
    } else {
        options
    };
    let job = transaction.create(options, meddler).unwrap();
    transaction.start();
    main_loop.run_until_idle();
    let answer = answer.lock().unwrap().take().unwrap();
    let well = |job: &JobHandle| job.outcome().unwrap().is_ok();
    (answer, well(&job), well(&other))
}

#[test]
fn a_cancel_of_a_member_inside_the_decision_comes_after_it() {
    // Accepted (the peer is pending), and too late: what is decided is decided for all (P13).
    for inside in [
        Callback::Prepare,
        Callback::Commit,
        Callback::Clean,
        Callback::Completion,
    ] {
        assert_eq!(meddle(inside, false), (Ok(()), true, true), "{inside}");
    }
    // Once the peer is gone it is refused at once.
    let (answer, ..) = meddle(Callback::Free, false);
    assert_eq!(answer.unwrap_err().to_string(), "Job not found");
}

#[test]
fn a_cancel_of_a_member_inside_an_abort_changes_nothing() {
    for inside in [Callback::Abort, Callback::Clean, Callback::Completion] {
        let (answer, meddler, peer) = meddle(inside, true);
        // The peer runs, waits, or has it behind it; all the same it goes down with the group.
        assert!(answer.is_ok(), "{inside}: {answer:?}");
        assert_eq!((meddler, peer), (false, false), "{inside}");
    }
}

#[test]
fn a_cancel_posted_before_the_decision_aborts_the_group() {
    let mut bench = Bench::new();
    let mut transaction = bench.manager.transaction();
    let members = ["a", "b"].map(|id| {
        let options = JobOptions::new(id).manual_finalize(true);
        bench.member(&mut transaction, options, |_| ())
    });
    transaction.start();
    for (_, puppet) in &members {
        puppet.order(Step::End(Ok(())));
    }
    let [(a, _), (b, _)] = members;
    bench.until(&a, Status::Pending);
    // A stranger cancels a pending member from its completion function.
    let victim = a.clone();
    let options = JobOptions::new("stranger").on_completion(move |_| {
        victim.cancel(CancelMode::Soft).unwrap();
        assert_eq!(victim.status(), Status::Pending, "nothing nests");
    });
    let stranger = engine_support::work(|_| Ok(()));
    let stranger = bench.manager.create(options, stranger).unwrap();
    drop(stranger.start());
    bench.finish();
    for job in [a, b] {
        assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
    }
}

/// Resumes, completes and dismisses itself from inside its own callbacks.
struct Selfish {
    me: Arc<OnceLock<JobHandle>>,
    resumes: AtomicU32,
}

impl Driver for Selfish {
    fn job_type(&self) -> &'static str {
        "selfish"
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
    fn user_resume(&self) {
        let me = self.me.get().unwrap();
        if self.resumes.fetch_add(1, Ordering::SeqCst) == 0 {
            // A pause that comes during the resume is a new one and wins (38).
            me.pause().unwrap();
            // Taken, and carried out when this resume is over.
            me.resume().unwrap();
            me.complete().unwrap();
        }
    }
}

#[test]
fn a_job_paused_again_inside_its_user_resume_is_resumed_by_what_was_posted() {
    let (manager, mut main_loop) = virtual_time();
    let me = Arc::new(OnceLock::new());
    let driver = Arc::new(Selfish {
        me: Arc::clone(&me),
        resumes: AtomicU32::new(0),
    });
    let job = manager
        .create(JobOptions::new("j0"), Arc::clone(&driver))
        .unwrap()
        .start();
    me.set(job.clone()).unwrap();
    assert!(main_loop.run_until(|| job.status() == Status::Ready));
    job.pause().unwrap();
    assert!(main_loop.run_until(|| job.status() == Status::Standby));
    job.resume().unwrap();
    assert!(job.info().user_paused, "paused again, and not resumed yet");
    main_loop.run_until_idle();
    assert_eq!(job.outcome(), Some(Ok(())));
    assert_eq!(driver.resumes.load(Ordering::SeqCst), 2, "once a pause");
}

#[test]
fn who_waits_for_the_decision_learns_it_before_it_is_carried_out() {
    for (fails, decision) in [(false, Decision::Commit), (true, Decision::Abort)] {
        let (manager, mut main_loop) = virtual_time();
        let run = move |_: RunContext<'_>| {
            if fails { Err(io_error()) } else { Ok(()) }
        };
        let options = JobOptions::new("j0").manual_finalize(true);
        let job = manager.create(options, engine_support::work(run)).unwrap();
        let job = job.start();
        let waits = job.clone();
        let waiter = spawn(move || waits.wait_decided());
        let (decides, pending) = (job.clone(), job.clone());
        let decider = spawn(move || {
            if pending.wait_for(&[Status::Pending]).unwrap() == Status::Pending {
                // Undecided until its user says so.
                decides.finalize().unwrap();
            }
        });
        main_loop.run_until_idle();
        decider.join().unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(decision));
        // Also afterwards.
        let gone = spawn(move || job.wait_decided()).join().unwrap();
        assert_eq!(gone, Ok(decision));
    }
}

/// Ends the main loop when it is dropped: a test that fails ends too.
struct ShutsDown(Manager);

impl Drop for ShutsDown {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

#[test]
fn synchronous_calls_wait_until_the_job_is_concluded() {
    let (manager, mut main_loop) = virtual_time();
    let start = |id: &str| {
        let driver = Arc::new(Selfish {
            me: Arc::default(),
            resumes: AtomicU32::new(0),
        });
        let options = JobOptions::new(id).manual_dismiss(true);
        manager.create(options, driver).unwrap().start()
    };
    let [completes, cancels, finishes] = ["completes", "cancels", "finishes"].map(start);
    let jobs = [&completes, &cancels, &finishes];
    assert!(main_loop.run_until(|| jobs.iter().all(|job| job.status() == Status::Ready)));
    let shuts_down = ShutsDown(manager.clone());
    let waiter = spawn(move || {
        let _however_it_ends = shuts_down;
        assert_eq!(completes.complete_sync(), Ok(Ok(())));
        assert_eq!(
            cancels.cancel_sync(CancelMode::Force),
            Ok(Err(JobError::canceled()))
        );
        // The finisher's refusal is the answer, and nothing is waited for.
        let refused = finishes.finish_sync(JobHandle::dismiss);
        assert!(matches!(refused, Err(EngineError::Refused { .. })));
        assert_eq!(
            finishes.finish_sync(|job| job.cancel(CancelMode::Soft)),
            Ok(Ok(()))
        );
        for job in [completes, cancels, finishes] {
            assert_eq!(job.status(), Status::Concluded);
        }
    });
    main_loop.run();
    waiter.join().unwrap();
}

#[test]
fn waiting_ends_no_pause() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.ready(JobOptions::new("j0"));
    job.pause().unwrap();
    puppet.order(Step::Finish);
    bench.until(&job, Status::Standby);
    bench.log.take();
    let user = {
        let job = job.clone();
        spawn(move || job.complete_sync())
    };
    // QEMU's waits enter the job again and again, which ends its pause.
    while bench.log.take() != ["j0 complete"] {
        bench.main_loop.run_pending();
        std::thread::yield_now();
    }
    job.enter();
    bench.main_loop.run_pending();
    assert_eq!(job.status(), Status::Standby);
    assert!(!user.is_finished());
    job.resume().unwrap();
    bench.finish();
    assert_eq!(user.join().unwrap(), Ok(Ok(())));
}

#[test]
fn cancel_sync_all_empties_the_list_newest_first() {
    let mut bench = Bench::new();
    let (paused, for_paused) = bench.running(JobOptions::new("paused"));
    bench.park(&paused, &for_paused);
    let (over, for_over) = bench.running(JobOptions::new("over").manual_dismiss(true));
    for_over.order(Step::End(Ok(())));
    bench.until(&over, Status::Concluded);
    let (created, _for_created) = bench.created(JobOptions::new("created"));
    let (_, for_ready) = bench.ready(JobOptions::new("ready").manual_dismiss(true));
    for_ready.order(Step::Finish);
    bench.log.take();
    let manager = bench.manager.clone();
    let cancels = spawn(move || {
        manager.cancel_sync_all().unwrap();
        assert!(manager.jobs().is_empty());
        manager.shutdown();
    });
    bench.main_loop.run();
    cancels.join().unwrap();
    drop(created);
    let gone: Vec<_> = bench
        .log
        .take()
        .into_iter()
        .filter(|line| line.ends_with("s:null"))
        .collect();
    assert_eq!(
        gone,
        [
            "ready s:null",
            "created s:null",
            "over s:null",
            "paused s:null"
        ]
    );
    assert_eq!(
        bench.manager.cancel_sync_all(),
        Err(EngineError::WouldDeadlock),
        "who may not wait is told so, whoever is listed"
    );
    let manager = bench.manager.clone();
    spawn(move || manager.cancel_sync_all().unwrap())
        .join()
        .unwrap();
}

#[test]
fn individual_members_start_together_and_end_by_themselves() {
    let mut bench = Bench::new();
    let mut transaction = bench.manager.transaction_in(CompletionMode::Individual);
    let members =
        ["a", "b", "c"].map(|id| bench.member(&mut transaction, JobOptions::new(id), |_| ()));
    assert_eq!(transaction.mode(), CompletionMode::Individual);
    // Cancelled before the start, one goes alone.
    members[0].0.cancel(CancelMode::Force).unwrap();
    bench.log.take();
    transaction.start();
    let started: Vec<_> = bench
        .log
        .take()
        .into_iter()
        .filter(|line| line.ends_with("s:running"))
        .collect();
    assert_eq!(
        started,
        ["b s:running", "c s:running"],
        "in the order of creation"
    );
    members[1].1.order(Step::End(Err(io_error())));
    members[2].1.order(Step::End(Ok(())));
    bench.finish();
    let outcomes = members.map(|(job, _)| (job.info().group, job.outcome().unwrap()));
    assert_eq!(
        outcomes,
        [
            (None, Err(JobError::canceled())),
            (None, Err(io_error())),
            (None, Ok(()))
        ]
    );
}

#[test]
fn when_a_member_cannot_be_created_the_earlier_ones_are_given_up_newest_first() {
    for mode in [CompletionMode::Individual, CompletionMode::Grouped] {
        let mut bench = Bench::new();
        let mut transaction = bench.manager.transaction_in(mode);
        for id in ["a", "b"] {
            bench.member(&mut transaction, JobOptions::new(id), |script| {
                script.says_free = true;
            });
        }
        let (script, _puppet) = engine_support::Script::new("a", &bench.log);
        let refused = transaction.create(JobOptions::new("a"), script);
        assert_eq!(
            refused.map(drop).unwrap_err().to_string(),
            "Job ID 'a' already in use"
        );
        bench.log.take();
        drop(transaction);
        bench.finish();
        assert_eq!(
            bench.log.take(),
            ["b s:null", "a s:null", "b free", "a free"],
            "{mode:?}"
        );
    }
}

#[test]
fn what_is_abandoned_is_let_go_of_once() {
    struct Counts(Arc<AtomicU32>);
    impl Driver for Counts {
        fn job_type(&self) -> &'static str {
            "counts"
        }
        fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
            while context.wait() == Flow::Continue {}
            Ok(())
        }
        fn free(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let freed = Arc::new(AtomicU32::new(0));
    let (manager, main_loop) = virtual_time();
    let create = |id: &str| {
        let driver = Counts(Arc::clone(&freed));
        manager.create(JobOptions::new(id), driver).unwrap()
    };
    let created = create("created");
    let job = create("running").start();
    drop(create("given-up"));
    assert_eq!(freed.load(Ordering::SeqCst), 0, "the main loop's task");
    drop(main_loop);
    assert_eq!(freed.load(Ordering::SeqCst), 1);
    drop(created);
    assert_eq!(freed.load(Ordering::SeqCst), 2, "nobody else would");
    // The last to hold the job lets it go: a handle, the manager, or its own body.
    drop((job, manager));
    while freed.load(Ordering::SeqCst) < 3 {
        std::thread::yield_now();
    }
    assert_eq!(freed.load(Ordering::SeqCst), 3);
}

/// Asks for its own speed again inside the callback of that, until somebody has slept enough.
struct Restless {
    itself: Arc<OnceLock<JobHandle>>,
    slept: Arc<AtomicU32>,
    asked: Arc<AtomicU32>,
}

impl Restless {
    /// Far more than fit into the sleep.
    const ENOUGH: u32 = 1 << 20;
}

impl Driver for Restless {
    fn job_type(&self) -> &'static str {
        "restless"
    }
    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        while context.wait() != Flow::Cancelled {}
        Ok(())
    }
    fn set_speed(&self, _: u64) {
        let itself = self.itself.get().unwrap();
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let over = self.slept.load(Ordering::SeqCst) == 1 || asked == Restless::ENOUGH;
        let answer = if over {
            itself.cancel(CancelMode::Force)
        } else {
            itself.set_speed(0)
        };
        answer.unwrap();
    }
}

#[test]
fn a_main_loop_that_never_rests_wakes_sleepers_all_the_same() {
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
    let slept = Arc::new(AtomicU32::new(0));
    let sleeper = engine_support::work({
        let slept = Arc::clone(&slept);
        move |mut context| {
            let flow = context.sleep(std::time::Duration::from_millis(1));
            assert_ne!(flow, Flow::Cancelled);
            slept.store(1, Ordering::SeqCst);
            Ok(())
        }
    });
    drop(
        manager
            .create(JobOptions::new("sleeper"), sleeper)
            .unwrap()
            .start(),
    );
    let itself = Arc::new(OnceLock::new());
    let asked = Arc::new(AtomicU32::new(0));
    let restless = Restless {
        itself: Arc::clone(&itself),
        slept,
        asked: Arc::clone(&asked),
    };
    let restless = manager
        .create(JobOptions::new("restless"), restless)
        .unwrap()
        .start();
    itself.set(restless.clone()).unwrap();
    let user = spawn(move || restless.set_speed(0));
    main_loop.run_until_idle();
    user.join().unwrap().unwrap();
    let asked = asked.load(Ordering::SeqCst);
    assert!(asked < Restless::ENOUGH, "the sleeper slept on");
}
