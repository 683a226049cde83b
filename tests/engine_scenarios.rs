//! The conversations of SEMANTICS.md §7, by number.
//!
//! Goal: each canonical sequence of §7.2, with the callbacks of §7.3 in their places, is what the engine
//! does. Method: `engine_support`; what the user says stands between the transcripts of what follows. Where
//! profile `reference` departs from QEMU, the departure's decision is named.

#![allow(clippy::unwrap_used)]

mod engine_support;

use blockjob::driver::{Errno, JobError};
use blockjob::engine::{CancelMode, EngineError, JobHandle, JobOptions};
use blockjob::model::{ErrorPolicy, Status};
use engine_support::{Bench, Puppet, Script, Step, io_error, refusal};

/// One conversation: an engine, its jobs, and what is heard of them.
struct Scene {
    bench: Bench,
}

impl Scene {
    fn new() -> Scene {
        Scene {
            bench: Bench::new(),
        }
    }

    /// Creates and starts `j`, and hears it run.
    fn running(options: JobOptions, adapt: impl FnOnce(&mut Script)) -> (Scene, JobHandle, Puppet) {
        let scene = Scene::new();
        let (created, puppet) = scene.bench.created_with(options, |script| {
            script.says_free = true;
            adapt(script);
        });
        let job = created.start();
        puppet.walk(Step::Point);
        scene.hear("j s:created | s:running | run");
        (scene, job, puppet)
    }

    /// The same for a job that has converged.
    fn ready(options: JobOptions) -> (Scene, JobHandle, Puppet) {
        let (scene, job, puppet) = Scene::running(options, |script| script.can_complete = true);
        puppet.walk(Step::Ready);
        scene.hear("j s:ready | BLOCK_JOB_READY");
        (scene, job, puppet)
    }

    /// Two started members, `a` older and `b` newer.
    fn pair(options: fn(&str) -> JobOptions) -> (Scene, [(JobHandle, Puppet); 2]) {
        let scene = Scene::new();
        let mut transaction = scene.bench.manager.transaction();
        let members = ["a", "b"].map(|id| {
            let free = |script: &mut Script| script.says_free = true;
            scene.bench.member(&mut transaction, options(id), free)
        });
        transaction.start();
        for (_, puppet) in &members {
            puppet.walk(Step::Point);
        }
        scene.bench.log.take();
        (scene, members)
    }

    /// What was said since, line by line; a line without a job continues the job before it.
    fn hear(&self, transcript: &str) {
        let mut job = "";
        let expected: Vec<String> = transcript
            .split('|')
            .map(|line| {
                let line = line.trim();
                let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
                let names_a_job = ["a", "b", "c", "j"].contains(&first) && !rest.is_empty();
                if names_a_job {
                    job = first;
                    line.to_owned()
                } else {
                    format!("{job} {line}")
                }
            })
            .collect();
        assert_eq!(self.bench.log.take(), expected);
    }

    fn end(mut self, transcript: &str) {
        self.bench.finish();
        self.hear(transcript);
    }

    fn until(&mut self, job: &JobHandle, status: Status) {
        self.bench.until(job, status);
    }
}

fn j() -> JobOptions {
    JobOptions::new("j")
}

fn plain(_: &mut Script) {}

const COMMITTED: &str = "j s:waiting | s:pending | prepare | commit | clean | completion \
     | BLOCK_JOB_COMPLETED | s:concluded | s:null | free";
const CANCELLED: &str = "j s:aborting | abort | clean | completion (Operation canceled) \
     | BLOCK_JOB_CANCELLED | s:concluded | s:null | free";

#[test]
fn s01_success_by_itself() {
    let (scene, _, puppet) = Scene::running(j(), plain);
    puppet.order(Step::End(Ok(())));
    scene.end(COMMITTED);
}

#[test]
fn s02_success_of_a_job_started_while_it_is_held() {
    let mut scene = Scene::new();
    let (created, puppet) = scene.bench.created(j());
    let token = scene.bench.manager.pause_all();
    let job = created.start();
    scene.until(&job, Status::Paused);
    scene.hear("j s:created | s:running | pause | s:paused");
    scene.bench.manager.resume_all(token);
    puppet.walk(Step::Point);
    scene.hear("j s:running | resume | run");
    puppet.order(Step::End(Ok(())));
    scene.end(COMMITTED.trim_end_matches(" | free"));
}

#[test]
fn s03_manual_finalize() {
    let (mut scene, job, puppet) = Scene::running(j().manual_finalize(true), plain);
    puppet.order(Step::End(Ok(())));
    scene.until(&job, Status::Pending);
    scene.hear("j s:waiting | s:pending | BLOCK_JOB_PENDING");
    job.finalize().unwrap();
    let after = COMMITTED.trim_start_matches("j s:waiting | s:pending | ");
    scene.end(&format!("j {after}"));
}

#[test]
fn s04_manual_dismiss() {
    let (mut scene, job, puppet) = Scene::running(j().manual_dismiss(true), plain);
    puppet.order(Step::End(Ok(())));
    scene.until(&job, Status::Concluded);
    scene.hear(COMMITTED.trim_end_matches(" | s:null | free"));
    job.dismiss().unwrap();
    scene.end("j s:null | free");
}

#[test]
fn s05_an_error_that_is_reported() {
    let (scene, _, puppet) = Scene::running(j(), plain);
    puppet.order(Step::Error(ErrorPolicy::Report));
    scene.end(
        "j BLOCK_JOB_ERROR | s:aborting | abort | clean | completion (Input/output error) \
         | BLOCK_JOB_COMPLETED (Input/output error) | s:concluded | s:null | free",
    );
}

#[test]
fn s06_a_failure_without_a_policy() {
    let (scene, _, puppet) = Scene::running(j(), plain);
    let words = JobError::with_message(Errno::INVALID, "sizes differ");
    puppet.order(Step::End(Err(words)));
    scene.end(
        "j s:aborting | abort | clean | completion (sizes differ) \
         | BLOCK_JOB_COMPLETED (sizes differ) | s:concluded | s:null | free",
    );
}

#[test]
fn s07_and_s29_cancel_while_running() {
    for mode in [CancelMode::Soft, CancelMode::Force] {
        let (scene, job, puppet) = Scene::running(j(), plain);
        job.cancel(mode).unwrap();
        scene.hear("j cancel by force");
        puppet.order(Step::Point);
        scene.end(&format!("j sees the cancel | {}", &CANCELLED[2..]));
    }
}

#[test]
fn s08_cancel_while_paused_by_the_user() {
    let (mut scene, job, puppet) = Scene::running(j(), plain);
    scene.bench.park(&job, &puppet);
    scene.hear("j pause | s:paused");
    assert_eq!(
        refusal(job.cancel(CancelMode::Soft)),
        "The block job for device 'j' is currently paused"
    );
    job.cancel(CancelMode::Force).unwrap();
    puppet.done();
    scene.end(&format!(
        "j cancel by force | user_resume | s:running | resume | sees the cancel | {}",
        &CANCELLED[2..]
    ));
}

#[test]
fn s09_pause_and_resume() {
    let (mut scene, job, puppet) = Scene::running(j(), plain);
    scene.bench.park(&job, &puppet);
    scene.hear("j pause | s:paused");
    job.resume().unwrap();
    puppet.done();
    scene.hear("j user_resume | s:running | resume");
    puppet.order(Step::End(Ok(())));
    scene.end(COMMITTED);
}

#[test]
fn s10_ready_and_complete() {
    let (scene, job, puppet) = Scene::ready(j());
    puppet.order(Step::Finish);
    job.complete().unwrap();
    scene.end(&format!(
        "j complete | finishes by complete | {}",
        &COMMITTED[2..]
    ));
}

#[test]
fn s11_ready_and_a_soft_cancel() {
    let (scene, job, puppet) = Scene::ready(j());
    puppet.order(Step::Finish);
    job.cancel(CancelMode::Soft).unwrap();
    scene.end(&format!(
        "j cancel softly | finishes by soft cancel | {}",
        &COMMITTED[2..]
    ));
}

#[test]
fn s12_ready_and_a_forced_cancel() {
    let (scene, job, puppet) = Scene::ready(j());
    puppet.order(Step::Finish);
    job.cancel(CancelMode::Force).unwrap();
    scene.end(&format!(
        "j cancel by force | sees the cancel | {}",
        &CANCELLED[2..]
    ));
}

#[test]
fn s13_to_s15_standby() {
    let standby = || {
        let (mut scene, job, puppet) = Scene::ready(j());
        scene.bench.park(&job, &puppet);
        scene.hear("j pause | s:standby");
        (scene, job, puppet)
    };
    // 13: and back.
    let (scene, job, puppet) = standby();
    job.resume().unwrap();
    puppet.done();
    scene.hear("j user_resume | s:ready | resume");
    // 14: completed in standby, it finishes once it is resumed.
    puppet.order(Step::Finish);
    job.complete().unwrap();
    scene.end(&format!(
        "j complete | finishes by complete | {}",
        &COMMITTED[2..]
    ));
    let (scene, job, puppet) = standby();
    job.complete().unwrap();
    scene.hear("j complete");
    assert_eq!(job.status(), Status::Standby);
    job.resume().unwrap();
    puppet.done();
    puppet.order(Step::Finish);
    scene.end(&format!(
        "j user_resume | s:ready | resume | finishes by complete | {}",
        &COMMITTED[2..]
    ));
    // 15: by force.
    let (scene, job, puppet) = standby();
    job.cancel(CancelMode::Force).unwrap();
    puppet.done();
    scene.end(&format!(
        "j cancel by force | user_resume | s:ready | resume | sees the cancel | {}",
        &CANCELLED[2..]
    ));
}

#[test]
fn s16_any_cancel_in_pending_aborts() {
    for mode in [CancelMode::Soft, CancelMode::Force] {
        let (mut scene, job, puppet) = Scene::running(j().manual_finalize(true), plain);
        puppet.order(Step::End(Ok(())));
        scene.until(&job, Status::Pending);
        scene.hear("j s:waiting | s:pending | BLOCK_JOB_PENDING");
        job.cancel(mode).unwrap();
        scene.end(&format!("j cancel by force | {}", &CANCELLED[2..]));
    }
}

#[test]
fn s17_cancel_before_the_start() {
    let scene = Scene::new();
    let options = j().manual_dismiss(true);
    let (created, _puppet) = scene
        .bench
        .created_with(options, |script| script.says_free = true);
    created.handle().cancel(CancelMode::Force).unwrap();
    drop(created);
    // No event, and it dismisses itself (28).
    scene.end(
        "j s:created | cancel by force | s:aborting | abort | clean \
         | completion (Operation canceled) | s:concluded | s:null | free",
    );
}

#[test]
fn s18_early_failure() {
    let scene = Scene::new();
    let (created, _puppet) = scene
        .bench
        .created_with(j(), |script| script.says_free = true);
    created.early_fail();
    scene.end("j s:created | s:null | free");
}

#[test]
fn s19_prepare_fails() {
    let fails = |script: &mut Script| script.prepare = Err(io_error());
    let rest = "j prepare | s:aborting | abort | clean | completion (Input/output error) \
                | BLOCK_JOB_COMPLETED (Input/output error) | s:concluded | s:null | free";
    let (scene, _, puppet) = Scene::running(j(), fails);
    puppet.order(Step::End(Ok(())));
    scene.end(&format!("j s:waiting | s:pending | {}", &rest[2..]));
    // By hand, the answer tells (20).
    let (mut scene, job, puppet) = Scene::running(j().manual_finalize(true), fails);
    puppet.order(Step::End(Ok(())));
    scene.until(&job, Status::Pending);
    scene.hear("j s:waiting | s:pending | BLOCK_JOB_PENDING");
    let id = "j".to_owned();
    let error = io_error();
    assert_eq!(
        job.finalize(),
        Err(EngineError::PrepareFailed { id, error })
    );
    scene.end(rest);
}

#[test]
fn s20_and_s21_an_error_that_stops_again_and_again() {
    let (mut scene, job, puppet) = Scene::running(j(), plain);
    for _ in 0..2 {
        puppet.order(Step::Error(ErrorPolicy::Stop));
        scene.until(&job, Status::Paused);
        scene.hear("j BLOCK_JOB_ERROR | pause | s:paused");
        job.resume().unwrap();
        puppet.done();
        scene.hear("j user_resume | s:running | resume");
    }
    puppet.order(Step::End(Ok(())));
    scene.end(COMMITTED);
}

#[test]
fn s22_errors_that_are_ignored() {
    let (scene, _, puppet) = Scene::running(j(), plain);
    puppet.walk(Step::Error(ErrorPolicy::Ignore));
    puppet.walk(Step::Error(ErrorPolicy::Ignore));
    scene.hear("j BLOCK_JOB_ERROR | BLOCK_JOB_ERROR");
    puppet.order(Step::End(Ok(())));
    scene.end(COMMITTED);
}

#[test]
fn s23_a_group_succeeds() {
    let (mut scene, [(a, for_a), (_b, for_b)]) = Scene::pair(|id| JobOptions::new(id));
    for_a.order(Step::End(Ok(())));
    scene.until(&a, Status::Waiting);
    scene.hear("a s:waiting");
    for_b.order(Step::End(Ok(())));
    // All prepared, then one after the other, newest first; who is gone is let go of after that.
    scene.end(
        "b s:waiting | b s:pending | a s:pending | b prepare | a prepare \
         | b commit | clean | completion | BLOCK_JOB_COMPLETED | s:concluded | s:null \
         | a commit | clean | completion | BLOCK_JOB_COMPLETED | s:concluded | s:null \
         | b free | a free",
    );
}

#[test]
fn s24_one_member_is_finalized_by_hand() {
    let (mut scene, [(a, for_a), (b, for_b)]) =
        Scene::pair(|id| JobOptions::new(id).manual_finalize(id == "a"));
    for_a.order(Step::End(Ok(())));
    scene.until(&a, Status::Waiting);
    for_b.order(Step::End(Ok(())));
    scene.until(&a, Status::Pending);
    scene.hear("a s:waiting | b s:waiting | s:pending | a s:pending | BLOCK_JOB_PENDING");
    // Any member may be named.
    b.finalize().unwrap();
    scene.end(
        "b prepare | a prepare \
         | b commit | clean | completion | BLOCK_JOB_COMPLETED | s:concluded | s:null \
         | a commit | clean | completion | BLOCK_JOB_COMPLETED | s:concluded | s:null \
         | b free | a free",
    );
}

const B_FAILED: &str = "b abort | clean | completion (Input/output error) \
     | BLOCK_JOB_COMPLETED (Input/output error) | s:concluded | s:null";
const A_CANCELLED: &str = "a s:aborting | abort | clean | completion (Operation canceled) \
     | BLOCK_JOB_CANCELLED | s:concluded | s:null";

#[test]
fn s25_the_newer_member_fails_while_the_other_runs() {
    let (mut scene, [(_a, for_a), (b, for_b)]) = Scene::pair(|id| JobOptions::new(id));
    for_b.order(Step::End(Err(io_error())));
    scene.until(&b, Status::Null);
    scene.hear(&format!("b s:aborting | a cancel by force | {B_FAILED}"));
    scene.bench.main_loop.run_pending();
    scene.hear("b free");
    for_a.order(Step::Point);
    scene.end(&format!("a sees the cancel | {A_CANCELLED} | free"));
}

#[test]
fn s26_a_member_fails_while_the_other_waits() {
    let (mut scene, [(a, for_a), (_b, for_b)]) = Scene::pair(|id| JobOptions::new(id));
    for_a.order(Step::End(Ok(())));
    scene.until(&a, Status::Waiting);
    scene.hear("a s:waiting");
    for_b.order(Step::End(Err(io_error())));
    scene.end(&format!(
        "b s:aborting | a cancel by force | {B_FAILED} | {A_CANCELLED} | b free | a free"
    ));
}

#[test]
fn s27_a_member_is_cancelled_while_both_run() {
    let (scene, [(a, for_a), (_b, for_b)]) = Scene::pair(|id| JobOptions::new(id));
    a.cancel(CancelMode::Force).unwrap();
    scene.hear("a cancel by force");
    for_a.order(Step::Point);
    let mut scene = scene;
    scene.until(&a, Status::Aborting);
    // The list's order, not the initiator's: the main loop waits for `b`, and does other work.
    scene.hear("a sees the cancel | s:aborting | b cancel by force");
    for_b.order(Step::Point);
    scene.end(
        "b sees the cancel | s:aborting | abort | clean | completion (Operation canceled) \
         | BLOCK_JOB_CANCELLED | s:concluded | s:null \
         | a abort | clean | completion (Operation canceled) | BLOCK_JOB_CANCELLED | s:concluded \
         | s:null | b free | a free",
    );
}

#[test]
fn s28_a_job_that_is_no_block_job_has_statuses_only() {
    let options = j().block_job(false).manual_dismiss(true);
    let (mut scene, job, puppet) = Scene::running(options, plain);
    puppet.order(Step::End(Ok(())));
    scene.until(&job, Status::Concluded);
    scene.hear("j s:waiting | s:pending | prepare | commit | clean | completion | s:concluded");
    job.dismiss().unwrap();
    scene.end("j s:null | free");
}
