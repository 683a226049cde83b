//! Resources: who may hold what, from when to when.
//!
//! Goal: a job takes all of its resources or none in the section that creates it, keeps them as long
//! as it may still use them, and gives them back once: after clean and before its completion
//! function, or when it is given up. Nobody is refused without the text that names who is in the way.
//! Method: scenarios, and random programs (proptest) against the rule of two claims alone.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::io::{ErrorKind, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use blockjob::driver::{Driver, Flow, JobError, RunContext};
use blockjob::engine::{
    CancelMode, CreatedJob, EngineError, JobOptions, MainLoop, Manager, ManagerConfig, Resource,
};
use blockjob::model::Status;
use blockjob::model::resource::{Claim, Conflict, Permissions, Sharing};
use engine_support::{Bench, Log, endless, idle, refusal};
use proptest::prelude::*;

fn manager(sharing: Sharing) -> (Manager, MainLoop, Log) {
    let log = Log::default();
    let config = ManagerConfig::default()
        .virtual_time(true)
        .sharing(sharing)
        .trace(Arc::new(log.clone()));
    let (manager, main_loop) = Manager::new(config);
    (manager, main_loop, log)
}

#[test]
fn a_job_in_the_way_is_named_and_the_one_refused_was_never_there() {
    let (manager, _main_loop, log) = manager(Sharing::ByClaim);
    let options = JobOptions::new("a").resource(Resource::read("disk"));
    let reader = manager.create(options, idle("backup")).unwrap();
    assert_eq!(log.take(), ["a s:created"]);
    let writer = |id: &str| JobOptions::new(id).resource(Resource::write("disk"));
    let refused = manager.create(writer("b"), idle("stream")).unwrap_err();
    assert_eq!(
        refused,
        EngineError::ResourceTaken {
            name: "disk".to_owned(),
            conflict: Conflict::Busy {
                job_type: "backup".to_owned()
            }
        }
    );
    assert_eq!(
        refused.to_string(),
        "Node 'disk' is busy: block device is in use by block job: backup"
    );
    assert_eq!(refused.class(), "GenericError");
    // Before the id is looked at.
    assert_eq!(
        refusal(manager.create(writer("0id"), idle("stream"))),
        refused.to_string()
    );
    assert!(log.take().is_empty());
    let second = JobOptions::new("c").resource(Resource::read("disk"));
    let second = manager.create(second, idle("stream")).unwrap();
    let holders = || -> Vec<String> {
        let holders = manager.holders("disk");
        holders.iter().map(|job| job.id().to_owned()).collect()
    };
    assert_eq!(holders(), ["a", "c"]);
    drop((reader, second));
    assert!(holders().is_empty());
    drop(manager.create(writer("b"), idle("stream")).unwrap());
}

#[test]
fn one_job_a_resource_where_the_rule_is_that_of_qemu_before_4_1() {
    let (manager, _main_loop, _log) = manager(Sharing::OneJob);
    let reader = |id: &str| JobOptions::new(id).resource(Resource::read("disk"));
    let first = manager.create(reader("a"), idle("backup")).unwrap();
    let refused = manager.create(reader("0id"), idle("backup"));
    assert_eq!(refusal(refused), "Device 'disk' is in use");
    drop(first);
    drop(manager.create(reader("b"), idle("backup")).unwrap());
}

#[test]
fn all_resources_are_taken_or_none() {
    let (manager, _main_loop, _log) = manager(Sharing::ByClaim);
    let two = |id: &str, one: &str, two: &str| {
        JobOptions::new(id)
            .resource(Resource::write(one))
            .resource(Resource::write(two))
    };
    let _first = manager.create(two("a", "x", "y"), idle("backup")).unwrap();
    let refused = manager.create(two("b", "z", "y"), idle("backup"));
    assert!(refusal(refused).contains("'y'"));
    assert!(manager.holders("z").is_empty());
    assert_eq!(manager.holders("y").len(), 1);
}

#[test]
fn a_creation_that_fails_takes_nothing() {
    let (manager, _main_loop, _log) = manager(Sharing::ByClaim);
    let options = |id: &str| JobOptions::new(id).resource(Resource::write("disk"));
    for (refused, text) in [
        (options("0id"), "Invalid job ID '0id'"),
        (
            options("a").speed(-1),
            "Parameter 'speed' expects a non-negative value",
        ),
        (
            options("a").internal(true),
            "Cannot specify job ID for internal job",
        ),
    ] {
        assert_eq!(refusal(manager.create(refused, idle("backup"))), text);
        assert!(manager.holders("disk").is_empty(), "{text}");
    }
}

#[test]
fn queries_show_what_a_job_holds_until_it_is_clean() {
    let mut bench = Bench::new();
    let claim = Claim {
        wanted: Permissions::WRITE,
        shared: Permissions::CONSISTENT_READ,
    };
    let options = JobOptions::new("j0")
        .manual_dismiss(true)
        .resource(Resource::read("source"))
        .resource(Resource::claimed("target", claim));
    let (job, puppet) = bench.running(options);
    let held = job.info().resources;
    assert_eq!(held.len(), 2);
    assert_eq!((&*held[0].name, held[0].claim), ("source", Claim::READ));
    assert_eq!((&*held[1].name, held[1].claim), ("target", claim));
    puppet.order(engine_support::Step::End(Ok(())));
    bench.finish();
    assert_eq!(job.status(), Status::Concluded);
    assert!(job.info().resources.is_empty());
}

/// Looks, in clean, whether the other end of its resource's descriptor is still open.
struct Looks {
    peer: Mutex<UnixStream>,
    open_in_clean: Arc<Mutex<Option<bool>>>,
    ends: Ends,
}

fn is_open(mut peer: &UnixStream) -> bool {
    match peer.read(&mut [0]) {
        Ok(0) => false,
        Err(error) if error.kind() == ErrorKind::WouldBlock => true,
        other => panic!("{other:?}"),
    }
}

/// The ways in which a job that was started ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Well,
    InItsRun,
    InPrepare,
    Cancelled,
}

impl Driver for Looks {
    fn job_type(&self) -> &'static str {
        "looks"
    }

    fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        match self.ends {
            Ends::Well | Ends::InPrepare => Ok(()),
            Ends::InItsRun => Err(engine_support::io_error()),
            Ends::Cancelled => {
                while context.wait() == Flow::Continue {}
                Ok(())
            }
        }
    }

    fn prepare(&self) -> Result<(), JobError> {
        match self.ends {
            Ends::InPrepare => Err(engine_support::io_error()),
            _ => Ok(()),
        }
    }

    fn clean(&self) {
        *self.open_in_clean.lock().unwrap() = Some(is_open(&self.peer.lock().unwrap()));
    }
}

fn descriptor() -> (UnixStream, Resource) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours, Resource::write("disk").keeps_open(theirs))
}

#[test]
fn a_descriptor_is_open_in_clean_and_closed_before_the_completion_function() {
    for ends in [Ends::Well, Ends::InItsRun, Ends::InPrepare, Ends::Cancelled] {
        let (manager, mut main_loop, _log) = manager(Sharing::ByClaim);
        let (peer, resource) = descriptor();
        let open_in_clean = Arc::new(Mutex::new(None));
        let driver = Looks {
            peer: Mutex::new(peer.try_clone().unwrap()),
            open_in_clean: Arc::clone(&open_in_clean),
            ends,
        };
        let successor = Arc::new(Mutex::new(None));
        let (made, maker) = (Arc::clone(&successor), manager.clone());
        let options = JobOptions::new("j0")
            .manual_dismiss(true)
            .resource(resource)
            .on_completion(move |_| {
                let next = JobOptions::new("j1").resource(Resource::write("disk"));
                let next: Result<CreatedJob, _> = maker.create(next, idle("next"));
                *made.lock().unwrap() = Some((is_open(&peer), next));
            });
        let job = manager.create(options, driver).unwrap().start();
        if ends == Ends::Cancelled {
            job.cancel(CancelMode::Force).unwrap();
        }
        assert!(main_loop.run_until(|| job.status() == Status::Concluded));
        assert_eq!(job.outcome().unwrap().is_ok(), ends == Ends::Well);
        assert_eq!(*open_in_clean.lock().unwrap(), Some(true));
        let (open_after_clean, next) = successor.lock().unwrap().take().unwrap();
        assert!(!open_after_clean, "{ends:?}");
        let holders = manager.holders("disk");
        assert_eq!(holders.len(), 1);
        assert_eq!(holders[0].id(), "j1");
        drop(next.unwrap());
    }
}

#[test]
fn a_job_that_never_ran_gives_back_what_it_held() {
    for cancelled in [false, true] {
        let (manager, _main_loop, _log) = manager(Sharing::ByClaim);
        let (peer, resource) = descriptor();
        let options = JobOptions::new("j0").resource(resource);
        let created = manager.create(options, endless()).unwrap();
        assert!(is_open(&peer));
        if cancelled {
            created.handle().cancel(CancelMode::Force).unwrap();
        } else {
            drop(created);
        }
        assert!(manager.holders("disk").is_empty(), "cancelled: {cancelled}");
        assert!(!is_open(&peer), "cancelled: {cancelled}");
    }
}

#[test]
fn members_of_a_transaction_hold_until_each_is_clean() {
    let mut bench = Bench::new();
    let mut transaction = bench.manager.transaction();
    let reader = |id: &str| JobOptions::new(id).resource(Resource::read("disk"));
    let (a, for_a) = bench.member(&mut transaction, reader("a"), |_| ());
    let (_b, for_b) = bench.member(&mut transaction, reader("b"), |_| ());
    let _ = transaction.start();
    for_b.order(engine_support::Step::End(Ok(())));
    bench
        .main_loop
        .run_until(|| bench.manager.jobs()[0].status() == Status::Waiting);
    assert_eq!(bench.manager.holders("disk").len(), 2);
    for_a.order(engine_support::Step::End(Ok(())));
    bench.finish();
    assert_eq!(a.status(), Status::Null);
    assert!(bench.manager.holders("disk").is_empty());
}

fn claim() -> impl Strategy<Value = Claim> {
    let set = || {
        proptest::sample::subsequence(&Permissions::NAMED[..], 0..=5).prop_map(|named| {
            let named = named.into_iter().map(|(one, _)| one);
            named.fold(Permissions::NONE, |all, one| all | one)
        })
    };
    (set(), set()).prop_map(|(wanted, shared)| Claim { wanted, shared })
}

/// A job with these claims on some of three resources, or the end of one that lives.
#[derive(Clone, Debug)]
enum Operation {
    Create(Vec<(usize, Claim)>),
    GiveUp(usize),
    Run(usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => proptest::collection::vec((0..3_usize, claim()), 0..3).prop_map(Operation::Create),
        1 => any::<usize>().prop_map(Operation::GiveUp),
        1 => any::<usize>().prop_map(Operation::Run),
    ]
}

proptest! {
    #[test]
    fn who_holds_what_gets_along_and_who_would_not_is_refused(
        program in proptest::collection::vec(operation(), 1..40)
    ) {
        const NAMES: [&str; 3] = ["x", "y", "z"];
        let (manager, mut main_loop, _log) = manager(Sharing::ByClaim);
        let mut alive: Vec<(CreatedJob, Vec<(usize, Claim)>)> = Vec::new();
        for (number, operation) in program.into_iter().enumerate() {
            match operation {
                Operation::Create(claims) => {
                    let mut options = JobOptions::new(format!("j{number}"));
                    for (place, claim) in &claims {
                        options = options.resource(Resource::claimed(NAMES[*place], *claim));
                    }
                    let fits = alive.iter().flat_map(|(_, held)| held).all(|(at, held)| {
                        claims.iter().all(|(place, claim)| at != place || held.gets_along_with(*claim))
                    });
                    let created = manager.create(options, idle("work"));
                    prop_assert_eq!(created.is_ok(), fits);
                    if let Ok(created) = created {
                        alive.push((created, claims));
                    }
                }
                Operation::GiveUp(which) if !alive.is_empty() => {
                    drop(alive.swap_remove(which % alive.len()));
                }
                Operation::Run(which) if !alive.is_empty() => {
                    let job = alive.swap_remove(which % alive.len()).0.start();
                    main_loop.run_until(|| job.status() == Status::Null);
                }
                Operation::GiveUp(_) | Operation::Run(_) => {}
            }
            for (place, name) in NAMES.into_iter().enumerate() {
                let holds = |held: &[(usize, Claim)]| held.iter().any(|(at, _)| *at == place);
                let expected = alive.iter().filter(|(_, held)| holds(held)).count();
                prop_assert_eq!(manager.holders(name).len(), expected);
            }
        }
    }
}
