//! What is true between two steps of the engine.
//!
//! Goal: orders that only somebody sees who looks in the middle: a pause beside lanes that only `pause` can bring to
//! an end, a completion that is under way, a run that ends inside a resume, members that decide apart, bodies that
//! need each other. Method: the driver holds the step open from inside its callback, or from its lanes, until the
//! other side has had every chance to go wrong; nothing is timed.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;

use blockjob::driver::{Driver, Finish, Flow, JobError, RunContext};
use blockjob::engine::{
    CancelMode, Context, DrainedSection, EngineError, JobHandle, JobOptions, MainLoop, Manager,
    ManagerConfig,
};
use blockjob::model::Status;

fn manager() -> (Manager, MainLoop) {
    Manager::new(ManagerConfig::default().virtual_time(true))
}

/// A lane whose I/O ends when the driver is told to pause, and not before.
struct Interruptible {
    interrupted: AtomicBool,
    inside: AtomicBool,
}

impl Driver for Interruptible {
    fn job_type(&self) -> &'static str {
        "interruptible"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        let gate = context.gate();
        thread::scope(|scope| {
            scope.spawn(|| {
                let permit = gate.enter();
                self.inside.store(true, Ordering::SeqCst);
                while !self.interrupted.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
                drop(permit);
            });
            let _ = context.wait();
        });
        Ok(())
    }

    fn pause(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
    }
}

/// P18: `pause` is what quiesces; lanes are waited for after it.
#[test]
fn a_driver_is_told_to_pause_before_its_lanes_are_waited_for() {
    let (manager, mut main_loop) = manager();
    let driver = Arc::new(Interruptible {
        interrupted: AtomicBool::new(false),
        inside: AtomicBool::new(false),
    });
    let created = manager.create(JobOptions::new("j0"), Arc::clone(&driver));
    let job = created.unwrap().start();
    while !driver.inside.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    job.pause().unwrap();
    assert!(main_loop.run_until(|| job.status() == Status::Paused));
    job.cancel(CancelMode::Force).unwrap();
    main_loop.run_until_idle();
}

/// Looks whether it is to finish, again and again.
#[derive(Default)]
struct Looks {
    looks: AtomicUsize,
    complete_returned: AtomicBool,
}

impl Driver for Looks {
    fn job_type(&self) -> &'static str {
        "looks"
    }

    fn supports_complete(&self) -> bool {
        true
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        let context = context.ready();
        while !context.finish_requested() {
            self.looks.fetch_add(1, Ordering::SeqCst);
            thread::yield_now();
        }
        if self.complete_returned.load(Ordering::SeqCst) {
            return Ok(());
        }
        // Whoever waits for looks sees that there will be no more.
        self.looks.store(usize::MAX / 2, Ordering::SeqCst);
        Err(JobError::canceled())
    }

    fn complete(&self) {
        // Two looks that began after this callback did.
        let begun = self.looks.load(Ordering::SeqCst);
        while self.looks.load(Ordering::SeqCst) < begun + 2 {
            thread::yield_now();
        }
        self.complete_returned.store(true, Ordering::SeqCst);
    }
}

/// SEMANTICS.md §2.7: the driver is told, then the body may act on it.
#[test]
fn a_body_learns_of_complete_when_the_driver_was_told_and_not_before() {
    let (manager, mut main_loop) = manager();
    let created = manager.create(JobOptions::new("j0"), Looks::default());
    let job = created.unwrap().start();
    assert!(main_loop.run_until(|| job.status() == Status::Ready));
    job.complete().unwrap();
    main_loop.run_until_idle();
    assert_eq!(job.outcome(), Some(Ok(())));
}

/// Ends its run while it is resumed.
struct EndsMeanwhile {
    begun: Arc<AtomicBool>,
    ends: Mutex<Receiver<()>>,
    end: Mutex<Sender<()>>,
    job: Arc<OnceLock<(Manager, JobHandle)>>,
    paused_after_the_end: Arc<OnceLock<bool>>,
}

impl Driver for EndsMeanwhile {
    fn job_type(&self) -> &'static str {
        "ends"
    }

    fn run(&self, _: RunContext<'_>) -> Result<(), JobError> {
        self.begun.store(true, Ordering::SeqCst);
        self.ends.lock().unwrap().recv().unwrap();
        Ok(())
    }

    fn user_resume(&self) {
        self.end.lock().unwrap().send(()).unwrap();
        let (manager, job) = self.job.get().unwrap();
        while job.info().busy {
            thread::yield_now();
        }
        let paused = manager.query_block_jobs()[0].paused;
        self.paused_after_the_end.set(paused).unwrap();
    }
}

/// Decision 40, also for a pause that somebody is about to end.
#[test]
fn a_run_that_ends_inside_a_resume_leaves_nobody_paused() {
    let (manager, mut main_loop) = manager();
    let (end, ends) = channel();
    let (handle, seen) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
    let begun = Arc::new(AtomicBool::new(false));
    let driver = EndsMeanwhile {
        begun: Arc::clone(&begun),
        ends: Mutex::new(ends),
        end: Mutex::new(end),
        job: Arc::clone(&handle),
        paused_after_the_end: Arc::clone(&seen),
    };
    let job = manager.create(JobOptions::new("j0"), driver).unwrap();
    let job = job.start();
    handle.set((manager.clone(), job.clone())).unwrap();
    while !begun.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    job.pause().unwrap();
    job.resume().unwrap();
    main_loop.run_until_idle();
    assert_eq!(job.outcome(), Some(Ok(())));
    assert_eq!(seen.get(), Some(&false));
}

/// Ends when it is entered, unless it is told otherwise; says what it was asked and in which order.
struct Member {
    name: &'static str,
    said: Arc<Mutex<Vec<String>>>,
    ready: bool,
    fails: bool,
    /// An enter does not end it, a cancel does.
    stays: bool,
    /// How often it has more to come.
    more: AtomicUsize,
}

impl Member {
    fn new(name: &'static str, said: &Arc<Mutex<Vec<String>>>) -> Member {
        Member {
            name,
            said: Arc::clone(said),
            ready: false,
            fails: false,
            stays: false,
            more: AtomicUsize::new(0),
        }
    }

    fn says(&self, what: &str) {
        self.said
            .lock()
            .unwrap()
            .push(format!("{} {what}", self.name));
    }
}

impl Driver for Member {
    fn job_type(&self) -> &'static str {
        "member"
    }

    fn supports_complete(&self) -> bool {
        false
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        if self.ready {
            let told = context.ready().wait_for_finish();
            self.says(&format!("{told:?}"));
            return match told {
                Finish::Cancelled => Err(JobError::canceled()),
                _ => Ok(()),
            };
        }
        while context.wait() == Flow::Continue && self.stays {}
        if self.fails {
            Err(JobError::with_message(
                blockjob::driver::Errno::IO,
                "broken",
            ))
        } else {
            Ok(())
        }
    }

    fn cancel(&self, force: bool, ready: bool) -> bool {
        self.says(&format!("cancel force={force} ready={ready}"));
        false
    }

    fn drain(&self) {
        self.says("drain");
    }

    fn drained_poll(&self) -> bool {
        self.says("polled");
        let left = self.more.load(Ordering::SeqCst);
        self.more.store(left.saturating_sub(1), Ordering::SeqCst);
        left > 0
    }
}

/// SEMANTICS.md §6.4: who finalizes by hand holds the group back, whichever member it is.
#[test]
fn one_member_that_is_finalized_by_hand_holds_the_group_back() {
    for by_hand in 0..2 {
        let (manager, mut main_loop) = manager();
        let said = Arc::default();
        let mut transaction = manager.transaction();
        for place in 0..2 {
            let options = JobOptions::new(["j0", "j1"][place]).manual_finalize(place == by_hand);
            transaction
                .create(options, Member::new("m", &said))
                .unwrap();
        }
        let jobs = transaction.start();
        for job in &jobs {
            job.enter();
        }
        assert!(main_loop.run_until(|| {
            jobs.iter()
                .all(|job| !matches!(job.status(), Status::Running | Status::Waiting))
        }));
        for job in &jobs {
            assert_eq!(job.status(), Status::Pending, "by hand: {by_hand}");
        }
        jobs[0].finalize().unwrap();
        main_loop.run_until_idle();
        assert_eq!(jobs[1].outcome(), Some(Ok(())));
    }
}

/// SEMANTICS.md §5.2: a member that is brought down is told that it was ready; and what has no complete has no
/// choice, whatever it answers.
#[test]
fn who_is_cancelled_is_told_whether_it_was_ready_and_may_not_choose_without_complete() {
    let (manager, mut main_loop) = manager();
    let said = Arc::default();
    let ready = |name| Member {
        ready: true,
        ..Member::new(name, &said)
    };
    let mut transaction = manager.transaction();
    let older = transaction.create(JobOptions::new("older"), ready("older"));
    let newer = transaction.create(JobOptions::new("newer"), ready("newer"));
    transaction.start();
    let (older, newer) = (older.unwrap(), newer.unwrap());
    assert!(
        main_loop.run_until(|| older.status() == Status::Ready && newer.status() == Status::Ready)
    );
    newer.cancel(CancelMode::Soft).unwrap();
    main_loop.run_until_idle();
    let told = std::mem::take(&mut *said.lock().unwrap());
    assert_eq!(told[0], "newer cancel force=false ready=true");
    assert!(told.contains(&"older cancel force=true ready=true".to_owned()));
    assert!(told.contains(&"newer Cancelled".to_owned()), "{told:?}");
    for job in [older, newer] {
        assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
    }
}

/// SEMANTICS.md §4.7: everybody concerned is asked, newest first, and one that has more to come is enough.
#[test]
fn a_section_waits_for_whoever_has_more_to_come() {
    for with_more in 0..2 {
        let (manager, mut main_loop) = manager();
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let jobs: Vec<JobHandle> = [("j0", 0), ("j1", 1)]
            .map(|(name, place)| {
                let member = Member {
                    stays: true,
                    ..Member::new(name, &said)
                };
                member
                    .more
                    .store(usize::from(place == with_more), Ordering::SeqCst);
                manager
                    .create(JobOptions::new(name), member)
                    .unwrap()
                    .start()
            })
            .into();
        let asking = manager.clone();
        let begun = thread::spawn(move || -> Result<DrainedSection, EngineError> {
            asking.drained_begin()
        });
        main_loop.run_until(|| begun.is_finished() || said.lock().unwrap().len() >= 6);
        let section = begun.join().unwrap().unwrap();
        assert_eq!(
            *said.lock().unwrap(),
            [
                "j1 drain",
                "j0 drain",
                "j1 polled",
                "j0 polled",
                "j1 polled",
                "j0 polled"
            ]
        );
        drop(section);
        for job in &jobs {
            job.cancel(CancelMode::Force).unwrap();
        }
        main_loop.run_until_idle();
    }
}

/// Decision 16: why a member failed can be read as soon as it is aborting, although its turn to be aborted comes
/// after that of a member which still runs.
#[test]
fn why_a_member_failed_is_known_before_its_turn() {
    struct Stubborn {
        begun: Mutex<Sender<()>>,
        ends: Mutex<Receiver<()>>,
    }
    impl Driver for Stubborn {
        fn job_type(&self) -> &'static str {
            "stubborn"
        }
        fn run(&self, _: RunContext<'_>) -> Result<(), JobError> {
            self.begun.lock().unwrap().send(()).unwrap();
            self.ends.lock().unwrap().recv().unwrap();
            Ok(())
        }
    }
    let (manager, mut main_loop) = manager();
    let (begun, has_begun) = channel();
    let (end, ends) = channel();
    let mut transaction = manager.transaction();
    let failing = Member {
        fails: true,
        ..Member::new("older", &Arc::default())
    };
    let older = transaction.create(JobOptions::new("older"), failing);
    let stubborn = Stubborn {
        begun: Mutex::new(begun),
        ends: Mutex::new(ends),
    };
    let newer = transaction.create(JobOptions::new("newer"), stubborn);
    transaction.start();
    let (older, _newer) = (older.unwrap(), newer.unwrap());
    // Cancelled before its first step it would hold up nothing.
    has_begun.recv().unwrap();
    older.enter();
    assert!(main_loop.run_until(|| older.status() == Status::Aborting));
    let listed = manager.query_jobs();
    let line = listed.iter().find(|line| line.id == "older").unwrap();
    assert_eq!(line.error.as_deref(), Some("broken"));
    end.send(()).unwrap();
    main_loop.run_until_idle();
}

/// As many bodies run at a time as the context has room for, also where a thread of an earlier job is idle.
#[test]
fn two_bodies_that_need_each_other_both_get_a_thread() {
    struct Meets(Arc<Barrier>);
    impl Driver for Meets {
        fn job_type(&self) -> &'static str {
            "meets"
        }
        fn run(&self, _: RunContext<'_>) -> Result<(), JobError> {
            self.0.wait();
            Ok(())
        }
    }
    let (manager, mut main_loop) = manager();
    // Each time with threads that nobody knows yet; the one that did the first job is idle by then, or soon.
    for _ in 0..20 {
        let pool = Context::new("pool", 2);
        for together in [1, 2] {
            let barrier = Arc::new(Barrier::new(together));
            let mut transaction = manager.transaction();
            for place in 0..together {
                let options = JobOptions::new(format!("j{place}")).context(&pool);
                let driver = Meets(Arc::clone(&barrier));
                transaction.create(options, driver).unwrap();
            }
            let jobs = transaction.start();
            main_loop.run_until_idle();
            for job in jobs {
                assert_eq!(job.outcome(), Some(Ok(())));
            }
        }
    }
}

/// Converges, and looks how it is to finish once it is let.
struct Held {
    go: Mutex<Receiver<()>>,
    told: Arc<Mutex<Vec<Finish>>>,
}

impl Driver for Held {
    fn job_type(&self) -> &'static str {
        "held"
    }

    fn supports_complete(&self) -> bool {
        true
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        let mut context = context.ready();
        self.go.lock().unwrap().recv().unwrap();
        let told = context.wait_for_finish();
        self.told.lock().unwrap().push(told);
        Ok(())
    }
}

/// A job that is ready, and does not look before it is let.
fn held(
    manager: &Manager,
    main_loop: &mut MainLoop,
) -> (JobHandle, Sender<()>, Arc<Mutex<Vec<Finish>>>) {
    let (let_go, go) = channel();
    let told = Arc::default();
    let driver = Held {
        go: Mutex::new(go),
        told: Arc::clone(&told),
    };
    let job = manager.create(JobOptions::new("j0"), driver).unwrap();
    let job = job.start();
    assert!(main_loop.run_until(|| job.status() == Status::Ready));
    (job, let_go, told)
}

/// SEMANTICS.md §2.7: what is paused and told to complete pauses, and completes once it is resumed.
#[test]
fn a_pause_goes_before_a_completion() {
    let (manager, mut main_loop) = manager();
    let (job, let_go, told) = held(&manager, &mut main_loop);
    job.complete().unwrap();
    job.pause().unwrap();
    let_go.send(()).unwrap();
    // Whichever comes first: a run that is over is not busy, and not in standby.
    assert!(main_loop.run_until(|| job.status() == Status::Standby || !job.info().busy));
    assert_eq!(job.status(), Status::Standby);
    assert_eq!(*told.lock().unwrap(), []);
    job.resume().unwrap();
    main_loop.run_until_idle();
    assert_eq!(*told.lock().unwrap(), [Finish::Complete]);
    assert_eq!(job.outcome(), Some(Ok(())));
}

/// Decision 17: who was taken to complete completes, whatever is asked softly after it.
#[test]
fn a_completion_that_came_first_goes_before_a_soft_cancel() {
    let (manager, mut main_loop) = manager();
    let (job, let_go, told) = held(&manager, &mut main_loop);
    job.complete().unwrap();
    job.cancel(CancelMode::Soft).unwrap();
    let_go.send(()).unwrap();
    main_loop.run_until_idle();
    assert_eq!(*told.lock().unwrap(), [Finish::Complete]);
    assert_eq!(job.outcome(), Some(Ok(())));
}

/// Decision 12: `pause_all` holds those that can still pause; nobody is held who would keep it for ever.
#[test]
fn a_job_whose_run_is_over_is_held_by_nobody() {
    let (manager, mut main_loop) = manager();
    let options = JobOptions::new("over").manual_dismiss(true);
    let over = manager.create(options, Member::new("over", &Arc::default()));
    let over = over.unwrap().start();
    over.enter();
    main_loop.run_until_idle();
    assert_eq!(over.status(), Status::Concluded);
    let token = manager.pause_all();
    assert_eq!(token.ids().collect::<Vec<_>>(), [""; 0]);
    assert!(!manager.query_block_jobs()[0].paused);
    manager.resume_all(token);
    over.dismiss().unwrap();
}

/// Decision 16: the same of an error that `prepare` returned.
#[test]
fn why_a_member_was_not_prepared_is_known_before_its_turn() {
    /// Its `prepare` fails, or else it looks at its peer's error when its own turn has come.
    struct Prepares {
        fails: bool,
        manager: Manager,
        seen: Arc<Mutex<Vec<Option<String>>>>,
    }
    impl Driver for Prepares {
        fn job_type(&self) -> &'static str {
            "prepares"
        }
        fn run(&self, _: RunContext<'_>) -> Result<(), JobError> {
            Ok(())
        }
        fn prepare(&self) -> Result<(), JobError> {
            if self.fails {
                return Err(JobError::with_message(
                    blockjob::driver::Errno::IO,
                    "broken",
                ));
            }
            Ok(())
        }
        fn abort(&self) {
            if !self.fails {
                let listed = self.manager.query_jobs();
                let older = listed.into_iter().find(|line| line.id == "older").unwrap();
                self.seen.lock().unwrap().push(older.error);
            }
        }
    }
    let (manager, mut main_loop) = manager();
    let seen = Arc::default();
    let mut transaction = manager.transaction();
    for (name, fails) in [("older", true), ("newer", false)] {
        let driver = Prepares {
            fails,
            manager: manager.clone(),
            seen: Arc::clone(&seen),
        };
        transaction.create(JobOptions::new(name), driver).unwrap();
    }
    transaction.start();
    main_loop.run_until_idle();
    assert_eq!(*seen.lock().unwrap(), [Some("broken".to_owned())]);
}

/// Looks at the list when it is dropped.
struct LooksAtTheEnd {
    manager: Manager,
    looked: Arc<AtomicUsize>,
}

impl Driver for LooksAtTheEnd {
    fn job_type(&self) -> &'static str {
        "looks-at-the-end"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        while context.wait() == Flow::Continue {}
        Ok(())
    }
}

impl Drop for LooksAtTheEnd {
    fn drop(&mut self) {
        // Takes the lock: whoever had it here would wait for himself.
        let _ = self.manager.query_jobs();
        self.looked.fetch_add(1, Ordering::SeqCst);
    }
}

/// P28 of the last that a driver does: whichever way a job goes, its driver is dropped with no lock held.
#[test]
fn a_driver_may_call_in_while_it_is_dropped() {
    let looked = Arc::new(AtomicUsize::new(0));
    let (manager, mut main_loop) = manager();
    let driver = || LooksAtTheEnd {
        manager: manager.clone(),
        looked: Arc::clone(&looked),
    };
    let dropped = |count| assert_eq!(looked.load(Ordering::SeqCst), count);
    // Refused, by its id and by its speed.
    assert!(manager.create(JobOptions::new("1"), driver()).is_err());
    dropped(1);
    assert!(
        manager
            .create(JobOptions::new("slow").speed(-1), driver())
            .is_err()
    );
    main_loop.run_until_idle();
    dropped(2);
    // Given up.
    drop(manager.create(JobOptions::new("alone"), driver()).unwrap());
    main_loop.run_until_idle();
    dropped(3);
    let mut transaction = manager.transaction();
    transaction
        .create(JobOptions::new("member"), driver())
        .unwrap();
    assert!(
        transaction
            .create(JobOptions::new("member"), driver())
            .is_err()
    );
    drop(transaction);
    main_loop.run_until_idle();
    dropped(5);
    // At its end, and with the main loop.
    let ends = manager.create(JobOptions::new("ends"), driver()).unwrap();
    let ends = ends.start();
    ends.cancel(CancelMode::Force).unwrap();
    main_loop.run_until_idle();
    drop(ends);
    dropped(6);
    let left = manager.create(JobOptions::new("left"), driver()).unwrap();
    drop(main_loop);
    drop(left);
    dropped(7);
}
