//! Sleeps, waits and enters one after the other; cancels of both kinds in every status.
//!
//! Goal: one wake for one park, whoever wakes (P20); no timer outlives its sleep (P21); no wake is lost and
//! none is needed twice (P25, P26); a change of speed ends a sleep and never a pause (P34); a cancel ends what
//! the table says, and no status is left out (SEMANTICS.md §5.2, §5.4, §5.6). Method: `engine_support` with the
//! virtual clock, which moves only while the main loop is idle: who sleeps on was not woken.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::time::Duration;

use blockjob::driver::JobError;
use blockjob::engine::{CancelMode, JobHandle, JobOptions};
use blockjob::model::Status;
use engine_support::{Bench, Held, Script, Step, refusal};

const HOUR: Duration = Duration::from_secs(3600);

fn plain() -> JobOptions {
    JobOptions::new("j0")
}

/// The body sleeps or waits: it is parked and not busy.
fn rests(job: &JobHandle) {
    while job.info().busy {
        std::thread::yield_now();
    }
}

/// Time as a job started now would see it.
fn now(bench: &mut Bench) -> Duration {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let clock = engine_support::work(move |context| {
        tell.lock().unwrap().send(context.now()).unwrap();
        Ok(())
    });
    let clock = bench.manager.create(JobOptions::new("clock"), clock);
    drop(clock.unwrap().start());
    let now = told.recv().unwrap();
    bench.main_loop.run_pending();
    now
}

#[test]
fn an_enter_ends_a_sleep_and_takes_its_timer_with_it() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    puppet.order(Step::Sleep(HOUR));
    rests(&job);
    job.enter();
    puppet.done();
    // P21: nothing is armed, so an idle loop has no time to jump to; and the enter is spent.
    puppet.order(Step::Sleep(Duration::from_secs(1)));
    puppet.order(Step::End(Ok(())));
    bench.finish();
    assert_eq!(now(&mut bench), Duration::from_secs(1));
}

#[test]
fn an_enter_before_the_start_and_one_after_the_end_are_none() {
    let mut bench = Bench::new();
    let (created, puppet) = bench.created(plain().manual_dismiss(true));
    created.handle().enter();
    let job = created.start();
    puppet.order(Step::Sleep(Duration::from_secs(1)));
    puppet.order(Step::End(Ok(())));
    bench.finish();
    // Decision 11 keeps an enter of a job that is busy; there was none to keep it for.
    assert_eq!(now(&mut bench), Duration::from_secs(1));
    job.enter();
    assert!(!job.info().busy);
}

#[test]
fn two_enters_of_a_sleeper_are_one_wake_and_one_of_a_busy_job_is_kept() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    puppet.order(Step::Wait);
    rests(&job);
    job.enter();
    puppet.done();
    // P20: that wake is spent. The body waits again, until somebody else enters.
    puppet.order(Step::Wait);
    rests(&job);
    assert!(!puppet.is_done());
    job.enter();
    puppet.done();
    // Decision 11: two enters of a busy body are one wake, remembered.
    job.enter();
    job.enter();
    puppet.walk(Step::Sleep(HOUR));
    puppet.order(Step::Wait);
    rests(&job);
    assert!(!puppet.is_done());
    job.enter();
    puppet.done();
    puppet.order(Step::End(Ok(())));
    bench.finish();
    assert_eq!(now(&mut bench), Duration::ZERO, "nobody slept a moment");
}

#[test]
fn a_timer_that_fires_is_an_enter_and_fires_once() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    puppet.order(Step::Sleep(HOUR));
    rests(&job);
    puppet.order(Step::Wait);
    // The hour passes while the loop is idle; what it woke waits then, for somebody else.
    let waits = job.clone();
    let other = std::thread::spawn(move || {
        puppet.done();
        rests(&waits);
        assert!(!puppet.is_done());
        waits.enter();
        puppet.done();
        puppet.order(Step::End(Ok(())));
    });
    bench.finish();
    other.join().unwrap();
    assert_eq!(now(&mut bench), HOUR);
}

#[test]
fn a_pause_forgets_the_rest_of_a_sleep() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    puppet.order(Step::Sleep(HOUR));
    rests(&job);
    job.pause().unwrap();
    bench.until(&job, Status::Paused);
    // P21: a parked job has no timer, and P34: neither an enter nor a speed ends its pause.
    job.enter();
    job.set_speed(0).unwrap();
    job.set_speed(1 << 30).unwrap();
    bench.main_loop.run_pending();
    assert_eq!(job.status(), Status::Paused);
    assert!(!job.info().busy, "P7");
    job.resume().unwrap();
    puppet.done();
    puppet.order(Step::End(Ok(())));
    bench.finish();
    assert_eq!(now(&mut bench), Duration::ZERO);
}

#[test]
fn a_pause_that_comes_and_goes_while_the_body_is_busy_leaves_its_next_sleep_alone() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain());
    job.pause().unwrap();
    job.resume().unwrap();
    let token = bench.manager.pause_all();
    bench.manager.resume_all(token);
    // P20: a pause ends the sleep that it finds, and is no enter for one that begins after it.
    puppet.order(Step::Sleep(HOUR));
    puppet.order(Step::End(Ok(())));
    bench.finish();
    assert_eq!(now(&mut bench), HOUR, "the sleep was cut short");
}

#[test]
fn a_speed_that_hurries_ends_a_sleep_and_no_wait() {
    let mut bench = Bench::new();
    let (job, puppet) = bench.running(plain().speed(100));
    puppet.order(Step::Sleep(HOUR));
    rests(&job);
    // Slower, the same, and from none to some (34) are no reason to hurry.
    job.set_speed(50).unwrap();
    job.set_speed(50).unwrap();
    assert!(!job.info().busy && !puppet.is_done());
    job.set_speed(60).unwrap();
    puppet.done();
    puppet.order(Step::Wait);
    rests(&job);
    job.set_speed(70).unwrap();
    assert!(!job.info().busy, "a wait is for what the driver waits for");
    job.enter();
    puppet.done();
    puppet.order(Step::End(Ok(())));
    bench.finish();
    assert_eq!(now(&mut bench), Duration::ZERO);
}

#[test]
fn a_cancelled_job_neither_sleeps_nor_waits() {
    for sleeps in [false, true] {
        let mut bench = Bench::new();
        let (job, puppet) = bench.running(plain());
        puppet.order(if sleeps {
            Step::Sleep(HOUR)
        } else {
            Step::Wait
        });
        rests(&job);
        job.cancel(CancelMode::Force).unwrap();
        bench.finish();
        assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
        assert_eq!(now(&mut bench), Duration::ZERO);
    }
}

/// How a job in one status takes a cancel of one kind.
#[derive(Debug, PartialEq)]
enum Taken {
    Refused(String),
    /// It ends, well or not.
    Ends(bool),
}

fn take(status: Status, mode: CancelMode, adapt: fn(&mut Script)) -> Option<Taken> {
    let mut bench = Bench::new();
    bench.adapt = adapt;
    let held = Held::in_status(&mut bench, status)?;
    assert_eq!(held.job.status(), status);
    if let Err(error) = held.job.cancel(mode) {
        // Nothing of it happened (P2).
        assert_eq!(held.job.status(), status);
        held.let_go();
        return Some(Taken::Refused(error.to_string()));
    }
    if status == Status::Created {
        let outcome = held.job.outcome();
        assert!(outcome.is_some(), "{mode:?} in {status}: over at once");
    }
    if status == Status::Standby && mode == CancelMode::Soft {
        // It finishes where it stands, once nothing holds it; a forced cancel needs no such thing.
        assert_eq!(held.job.status(), Status::Standby);
        assert!(!held.job.info().busy);
        held.job.cancel(CancelMode::Force).unwrap();
        bench.finish();
        return Some(Taken::Ends(false));
    }
    for puppet in &held.puppets {
        // Whoever has ended takes no orders any more.
        let _ = puppet.try_order(if status == Status::Ready {
            Step::Finish
        } else {
            Step::Point
        });
        let _ = puppet.try_order(Step::End(Ok(())));
    }
    bench.finish();
    Some(Taken::Ends(held.job.outcome().unwrap().is_ok()))
}

#[test]
fn a_cancel_in_every_status_ends_the_job_or_is_refused_by_the_table() {
    let refused = |status: Status| {
        Taken::Refused(match status {
            Status::Null => "Job not found".to_owned(),
            _ => format!("Job 'j0' in state '{status}' cannot accept command verb 'cancel'"),
        })
    };
    // Where there is no choice the driver's word does not count (decision 5).
    let takes_softly = |script: &mut Script| {
        script.can_complete = true;
        script.takes_softly = true;
    };
    let cases = Status::ALL.into_iter().flat_map(|status| {
        let modes = [CancelMode::Soft, CancelMode::Force];
        modes.map(|mode| (status, mode))
    });
    for adapt in [|_: &mut Script| (), takes_softly] {
        for (status, mode) in cases.clone() {
            let Some(taken) = take(status, mode, adapt) else {
                continue;
            };
            let expected = match status {
                Status::Aborting | Status::Concluded | Status::Null => refused(status),
                // §5.4: finish without pivot. In waiting and pending a soft cancel is forced (5).
                Status::Ready if mode == CancelMode::Soft => Taken::Ends(true),
                _ => Taken::Ends(false),
            };
            assert_eq!(taken, expected, "{mode:?} in {status}");
        }
    }
}

/// What a body sees between its pause points, before a cancel and after it, of either kind.
#[test]
fn a_run_can_ask_whether_a_cancel_was_requested() {
    for mode in [CancelMode::Soft, CancelMode::Force] {
        let mut bench = Bench::new();
        let (tell, told) = std::sync::mpsc::channel();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let ends = std::sync::Mutex::new((tell, wait));
        let script = engine_support::work(move |context| {
            let ends = ends.lock().unwrap();
            let context = context.ready();
            for _ in 0..2 {
                ends.0.send(context.cancel_requested()).unwrap();
                ends.1.recv().unwrap();
            }
            Ok(())
        });
        let job = bench.manager.create(plain(), script.completable());
        let job = job.unwrap().start();
        assert!(!told.recv().unwrap(), "nobody asked");
        job.cancel(mode).unwrap();
        go_on.send(()).unwrap();
        assert!(told.recv().unwrap(), "{mode:?}");
        go_on.send(()).unwrap();
        bench.finish();
        // The kinds differ in what becomes of the job: a soft one of a ready job is no failure.
        let well = mode == CancelMode::Soft;
        assert_eq!(job.outcome().map(|outcome| outcome.is_ok()), Some(well));
    }
}

#[test]
fn a_soft_cancel_is_refused_wherever_the_user_has_the_job_paused() {
    for ready in [false, true] {
        let mut bench = Bench::new();
        let (job, puppet) = if ready {
            bench.ready(plain())
        } else {
            bench.running(plain())
        };
        bench.park(&job, &puppet);
        let words = "The block job for device 'j0' is currently paused";
        assert_eq!(refusal(job.cancel(CancelMode::Soft)), words);
        assert!(!job.info().cancel_requested);
        job.cancel(CancelMode::Force).unwrap();
        bench.finish();
        assert_eq!(job.outcome(), Some(Err(JobError::canceled())));
    }
}
