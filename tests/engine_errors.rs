//! The engine's error texts, walked through Appendix A of SEMANTICS.md.
//!
//! Goal: every text that the appendix lists is provoked here and reads to the letter, or is one that
//! another era or another layer has, and says which; none is forgotten and none is invented.
//! Method: the appendix itself is read from the document; each text is looked up in a table whose
//! entries provoke it and return what was read.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::collections::BTreeSet;

use blockjob::driver::Errno;
use blockjob::engine::{
    CancelMode, EngineError, JobHandle, JobOptions, Manager, ManagerConfig, Resource,
};
use blockjob::model::Status;
use blockjob::model::resource::{Sharing, blocker};
use engine_support::{Bench, Puppet, Step, endless, idle};

/// Where a text of the appendix comes from.
enum Source {
    /// The engine says it, of this class, when that is done.
    Engine(&'static str, fn() -> EngineError),
    /// A part of the engine's texts, or of events: what it reads.
    Part(fn() -> String),
    /// Not a text of the engine: whose.
    Other(&'static str),
}

const GENERIC: &str = "GenericError";

/// Every text of the appendix, with its placeholders filled in as the entries fill them, in the order
/// in which the appendix has them.
const TEXTS: [(&str, &str, Source); 27] = [
    (
        "Block job '%s' not found",
        "Block job 'j0' not found",
        Source::Engine("DeviceNotActive", || {
            Bench::new().manager.block_job("j0").unwrap_err()
        }),
    ),
    (
        "Job not found",
        "Job not found",
        Source::Engine(GENERIC, || Bench::new().manager.job("j0").unwrap_err()),
    ),
    (
        "Job '%s' in state '%s' cannot accept command verb '%s'",
        "Job 'j0' in state 'running' cannot accept command verb 'complete'",
        Source::Engine(GENERIC, || running(JobHandle::complete)),
    ),
    (
        "Job is already paused",
        "Job is already paused",
        Source::Engine(GENERIC, || {
            running(|job| {
                job.pause()?;
                job.pause()
            })
        }),
    ),
    (
        "Can't resume a job that was not paused",
        "Can't resume a job that was not paused",
        Source::Engine(GENERIC, || running(JobHandle::resume)),
    ),
    (
        "The active block job '%s' cannot be completed",
        "The active block job 'j0' cannot be completed",
        Source::Engine(GENERIC, || {
            ready(|job| {
                job.cancel(CancelMode::Soft)?;
                job.complete()
            })
        }),
    ),
    (
        "The block job for device '%s' is currently paused",
        "The block job for device 'j0' is currently paused",
        Source::Engine(GENERIC, || {
            running(|job| {
                job.pause()?;
                job.cancel(CancelMode::Soft)
            })
        }),
    ),
    (
        "Invalid job ID '%s'",
        "Invalid job ID '0id'",
        Source::Engine(GENERIC, || refused(JobOptions::new("0id"))),
    ),
    (
        "Job ID '%s' already in use",
        "Job ID 'taken' already in use",
        Source::Engine(GENERIC, || refused(JobOptions::new("taken"))),
    ),
    (
        "An explicit job ID is required",
        "An explicit job ID is required",
        Source::Engine(GENERIC, || refused(JobOptions::without_id())),
    ),
    (
        "An explicit job ID is required for this node",
        "",
        Source::Other("QEMU to 2.12, for 'An explicit job ID is required'"),
    ),
    (
        "Cannot specify job ID for internal job",
        "Cannot specify job ID for internal job",
        Source::Engine(GENERIC, || refused(JobOptions::new("j0").internal(true))),
    ),
    (
        "… internal block job",
        "",
        Source::Other("QEMU to 2.12, for 'Cannot specify job ID for internal job'"),
    ),
    (
        "Device '%s' is in use",
        "Device 'disk' is in use",
        Source::Engine(GENERIC, || in_the_way(Sharing::OneJob)),
    ),
    (
        "Cannot query QEMU internal jobs",
        "Cannot query QEMU internal jobs",
        Source::Engine(GENERIC, || {
            let internal = JobOptions::without_id().internal(true);
            let bench = Bench::new();
            let (created, _puppet) = bench.created(internal);
            created.handle().query().unwrap_err()
        }),
    ),
    (
        "Invalid parameter 'speed'",
        "",
        Source::Other("QEMU to 4.2, for 'Parameter 'speed' expects a non-negative value'"),
    ),
    (
        "Parameter 'speed' expects a non-negative value",
        "Parameter 'speed' expects a non-negative value",
        Source::Engine(GENERIC, || running(|job| job.set_speed(-1))),
    ),
    (
        "this feature or command is not currently supported",
        "",
        Source::Other("QEMU to 2.11, whose drivers may lack set_speed"),
    ),
    (
        "block device is in use by block job: %s",
        "block device is in use by block job: backup",
        Source::Part(|| blocker("backup")),
    ),
    (
        "Node '%s' is busy: …",
        "Node 'disk' is busy: block device is in use by block job: backup",
        Source::Engine(GENERIC, || in_the_way(Sharing::ByClaim)),
    ),
    (
        "Action '%s' does not support Transaction property completion-mode = %s",
        "",
        Source::Other("the command `transaction`"),
    ),
    (
        "transaction property",
        "",
        Source::Other("the command `transaction`, since 8.1"),
    ),
    (
        "Transaction aborted using Abort action",
        "",
        Source::Other("the command `transaction`"),
    ),
    (
        "Operation canceled",
        "Operation canceled",
        Source::Part(|| Errno::CANCELED.text()),
    ),
    (
        "Input/output error",
        "Input/output error",
        Source::Part(|| Errno::IO.text()),
    ),
    (
        "No space left on device",
        "No space left on device",
        Source::Part(|| Errno::NO_SPACE.text()),
    ),
    (
        "Operation not permitted",
        "Operation not permitted",
        Source::Part(|| Errno::NOT_PERMITTED.text()),
    ),
];

fn with(
    start: fn(&Bench, JobOptions) -> (JobHandle, Puppet),
    ask: impl FnOnce(&JobHandle) -> Result<(), EngineError>,
) -> EngineError {
    let mut bench = Bench::new();
    let (job, puppet) = start(&bench, JobOptions::new("j0"));
    let error = ask(&job).unwrap_err();
    job.cancel(CancelMode::Force).unwrap();
    puppet.order(Step::Point);
    bench.finish();
    error
}

fn running(ask: impl FnOnce(&JobHandle) -> Result<(), EngineError>) -> EngineError {
    with(Bench::running, ask)
}

fn ready(ask: impl FnOnce(&JobHandle) -> Result<(), EngineError>) -> EngineError {
    with(Bench::ready, ask)
}

/// The answer to a creation beside a job with the id `taken`.
fn refused(options: JobOptions) -> EngineError {
    let bench = Bench::new();
    let _taken = bench.created(JobOptions::new("taken"));
    bench.manager.create(options, idle("work")).unwrap_err()
}

/// The answer to a second job that wants the same resource.
fn in_the_way(sharing: Sharing) -> EngineError {
    let (manager, _main_loop) = Manager::new(ManagerConfig::default().sharing(sharing));
    let options = |id: &str| JobOptions::new(id).resource(Resource::write("disk"));
    let _first = manager.create(options("a"), idle("backup")).unwrap();
    manager.create(options("b"), idle("backup")).unwrap_err()
}

/// The texts of the appendix, in its order.
fn appendix() -> Vec<&'static str> {
    let document = include_str!("../docs/SEMANTICS.md");
    let (_, after) = document.split_once("## Appendix A.").unwrap();
    let (_, body) = after.split_once('\n').unwrap();
    let (body, _) = body.split_once("\n## ").unwrap();
    let mut texts: Vec<_> = body.split('`').skip(1).step_by(2).collect();
    texts.retain(|text| *text != "…");
    texts
}

#[test]
fn every_text_of_the_appendix_is_accounted_for_once() {
    let known: Vec<_> = TEXTS.iter().map(|(text, _, _)| *text).collect();
    assert_eq!(appendix(), known);
    assert_eq!(known.iter().collect::<BTreeSet<_>>().len(), known.len());
}

#[test]
fn each_text_of_the_engine_reads_to_the_letter() {
    for (text, filled, source) in &TEXTS {
        match source {
            Source::Engine(class, provoke) => {
                let error = provoke();
                assert_eq!(error.to_string(), *filled, "{text}");
                assert_eq!(error.class(), *class, "{text}");
            }
            Source::Part(read) => assert_eq!(read(), *filled, "{text}"),
            Source::Other(whose) => assert!(!whose.is_empty(), "{text}"),
        }
    }
}

#[test]
fn what_is_said_beyond_the_appendix_says_what_to_do() {
    let (manager, main_loop) = Manager::new(ManagerConfig::default());
    let job = manager
        .create(JobOptions::new("j0"), endless())
        .unwrap()
        .start();
    let deadlock = job.wait_for(&[Status::Null]).unwrap_err();
    assert!(
        deadlock.to_string().contains("from another thread"),
        "{deadlock}"
    );
    let internal = JobOptions::without_id().internal(true).manual_dismiss(true);
    let manual = manager.create(internal, idle("work")).unwrap_err();
    assert!(manual.to_string().contains("create it without"), "{manual}");
    drop(main_loop);
    let gone = job.cancel(CancelMode::Force).unwrap_err();
    assert!(gone.to_string().contains("main loop was dropped"), "{gone}");
}
