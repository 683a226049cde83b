//! What a copy makes of a kernel that fails it.
//!
//! Goal: whatever one call of a copy answers, and whatever several do, the copy ends, and what it says of the targets
//! is true: new ones are the sources, whole, and would survive a power cut; old ones are what they were; a group is one
//! or the other; and nothing lies beside them that the account does not name.
//! Method: a [`Disk`] stands between the copy and the kernel ([`faulty`](crate::io::faulty)). It counts calls, makes the chosen ones fall
//! short, fail or lie, and keeps the books of a page cache: what was written and not synced since, what a failed sync
//! has lost. First every call of a plain run is failed in every way that suits it, one at a time; then many at once, at
//! random.

use super::{
    Cache, CopyError, CopyJob, CopyOptions, CopyPlan, Durability, Ending, MirrorPlan, Pair,
    SourceWriters, Sparse, Technique,
};
use crate::engine::CancelMode;
use crate::engine::{JobOptions, Manager, ManagerConfig};
use crate::io::faulty::{InForce, Script, install};
use crate::model::{ErrorPolicy, Status};
use disk::{Disk, Fault, Kind, Seen};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::sync::{Arc, Mutex};
use verdict::{Must, Outcome, judge};

mod crash;
mod disk;
mod power;
mod slow;
mod verdict;

/// The ways in which a call can go wrong, and what is to become of the copy then.
fn faults_of(seen: &Seen, running: bool) -> Vec<(Fault, Must)> {
    use Fault::{Back, Fails, FailsFromNow, Grows, Half, Nothing, Shrinks, Stays, StaysFromNow};
    use Must::{Fail, Succeed, Tell};
    let eio = [(Fails(libc::EIO), Fail), (FailsFromNow(libc::EIO), Fail)];
    let full = (FailsFromNow(libc::ENOSPC), Fail);
    let again = (Fails(libc::EINTR), Succeed);
    let mut all = match seen.kind {
        // The last look of all reads beyond the end.
        Kind::Read => vec![
            again,
            (Half, Succeed),
            (Nothing, if running { Fail } else { Tell }),
            (Fails(libc::EAGAIN), Fail),
        ],
        // A file that answers "later" is none that can be copied to.
        Kind::Write => vec![
            again,
            (Half, Succeed),
            (Nothing, Fail),
            (Fails(libc::EAGAIN), Fail),
            full,
        ],
        Kind::SeekData | Kind::SeekHole => {
            let cannot = (Fails(libc::EINVAL), Succeed);
            let again = (Fails(libc::EINTR), Succeed);
            let lies = [Stays, StaysFromNow, Back];
            let lies = lies.map(|lie| (lie, Succeed));
            [[cannot, again].as_slice(), &lies].concat()
        }
        Kind::Resize => vec![again, full],
        // The way around what is not there, or does not work, is the long one.
        Kind::Clone => vec![
            again,
            (Fails(libc::EIO), Succeed),
            (FailsFromNow(libc::EOPNOTSUPP), Succeed),
        ],
        Kind::Offload => vec![
            again,
            (Half, Succeed),
            (Nothing, Succeed),
            (Fails(libc::EIO), Succeed),
            (FailsFromNow(libc::EXDEV), Succeed),
        ],
        Kind::Punch | Kind::Zero | Kind::Allocate => {
            vec![again, full, (FailsFromNow(libc::EOPNOTSUPP), Succeed)]
        }
        Kind::Sync | Kind::SyncSystem | Kind::WriteOut => vec![again],
        // There is a way around what a file system cannot do.
        Kind::RenameNew | Kind::Exchange => vec![(Fails(libc::EINVAL), Succeed), full],
        Kind::Create | Kind::Rename => vec![full],
        Kind::Attribute | Kind::Link | Kind::Unlink => vec![],
    };
    if matches!(seen.kind, Kind::Clone | Kind::Offload) {
        all.push((FailsFromNow(libc::ENOSPC), Tell));
    } else if seen.kind == Kind::Unlink {
        all.extend([(Fails(libc::EIO), Tell), (FailsFromNow(libc::EIO), Tell)]);
    } else {
        all.extend(eio);
    }
    let reads = matches!(seen.kind, Kind::Read | Kind::SeekData | Kind::SeekHole);
    if running && seen.source && reads {
        all.extend([(Shrinks, Fail), (Grows, Fail)]);
    }
    all.retain(|(fault, _)| *fault != Half || seen.bytes > 1);
    all
}

/// A run of data, of stored zeros or of hole, so many bytes long.
#[derive(Debug, Clone, Copy)]
enum Part {
    Data(usize),
    Zeros(usize),
    Hole(usize),
}

/// One source, and the bytes its target has before, if it exists.
#[derive(Debug, Clone)]
struct Shape {
    source: Vec<Part>,
    target: Option<usize>,
}

#[derive(Debug, Clone)]
struct Scenario {
    name: &'static str,
    shapes: Vec<Shape>,
    options: CopyOptions,
    /// What the file system has not, and how it says so.
    cannot: &'static [(Kind, Fault)],
    /// That, without which no copy succeeds: the fault is one of its giving up.
    fails: bool,
    /// The file system shares blocks.
    clones: bool,
    /// What is tried; nothing is what suits the files.
    techniques: &'static [Technique],
    /// What cannot be read of any source.
    bad: Vec<Range<i64>>,
    /// Whether it ends well depends on the policies.
    tells: bool,
    /// Holes begin and end at any byte, as they may where blocks are small.
    fine: bool,
    /// A mirror: what is written to these bytes once it is ready, before it is completed.
    mirror: Option<Range<usize>>,
}

/// Bytes from 1 to 251; neighbouring pieces differ.
fn pattern(bytes: usize, seed: usize) -> Vec<u8> {
    (0..bytes)
        .map(|at| 1 + ((at + seed * 13 + at / 251) % 251) as u8)
        .collect()
}

fn run(scenario: &Scenario, faults: BTreeMap<usize, Fault>, calls_max: usize) -> Outcome {
    run_in_a_storm(scenario, faults, calls_max, 0)
}

/// With so many interruptions of each call that a signal may interrupt; what is served then is half.
fn run_in_a_storm(
    scenario: &Scenario,
    faults: BTreeMap<usize, Fault>,
    calls_max: usize,
    storm: u32,
) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let (mut pairs, mut sizes, mut olds) = (Vec::new(), Vec::new(), Vec::new());
    let mut layouts = HashMap::new();
    for (index, shape) in scenario.shapes.iter().enumerate() {
        let pair = Pair::new(
            root.join(format!("source{index}")),
            root.join(format!("target{index}")),
        );
        let file = File::create(&pair.source).unwrap();
        let (mut at, mut layout) = (0, Vec::new());
        for part in &shape.source {
            at += match *part {
                Part::Data(bytes) => {
                    file.write_all_at(&pattern(bytes, at), at as u64).unwrap();
                    bytes
                }
                Part::Zeros(bytes) => {
                    file.write_all_at(&vec![0; bytes], at as u64).unwrap();
                    bytes
                }
                Part::Hole(bytes) => bytes,
            };
            if let Part::Data(bytes) | Part::Zeros(bytes) = *part {
                layout.push((at - bytes) as i64..at as i64);
            }
        }
        if scenario.fine {
            layouts.insert(pair.source.clone(), layout);
        }
        file.set_len(at as u64).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o640))
            .unwrap();
        let old = shape.target.map(|bytes| pattern(bytes, 77));
        if let Some(old) = &old {
            std::fs::write(&pair.target, old).unwrap();
        }
        pairs.push(pair);
        sizes.push(at);
        olds.push(old);
    }
    let disk = Arc::new(Mutex::new(Disk {
        faults,
        storm,
        calls_max,
        layouts,
        clones: scenario.clones,
        bad: scenario.bad.clone(),
        from_now: scenario.cannot.to_vec(),
        sources: pairs.iter().map(|pair| pair.source.clone()).collect(),
        careless: scenario.options.durability == Durability::None,
        ..Disk::default()
    }));
    let shared: Arc<Mutex<dyn Script>> = Arc::<Mutex<Disk>>::clone(&disk);
    let force = install(&root, shared);
    let mut planned = 0;
    let mut options = scenario.options.clone();
    if options.on_source_error == ErrorPolicy::Ignore {
        options.bad_map = Some(root.join("map"));
    }
    let jobs = start(&pairs, scenario, &options, &disk, &mut planned);
    drop::<InForce>(force);
    Outcome {
        jobs,
        disk,
        planned,
        pairs,
        sizes,
        olds,
        folder,
    }
}

fn start(
    pairs: &[Pair],
    scenario: &Scenario,
    options: &CopyOptions,
    disk: &Mutex<Disk>,
    planned: &mut usize,
) -> Result<Vec<CopyJob>, String> {
    // One member after the other, so that calls keep their numbers.
    let (manager, mut main_loop) = Manager::new(
        ManagerConfig::default()
            .bodies_max(1)
            .virtual_time(scenario.tells),
    );
    let named = |index| JobOptions::new(format!("copy{index}"));
    let refused = |error: CopyError| error.to_string();
    let mut writers = Vec::new();
    let jobs: Vec<_> = if scenario.mirror.is_some() {
        let who = SourceWriters::Announced;
        let plan = MirrorPlan::check(pairs, options, who).map_err(refused)?;
        *planned = disk.lock().unwrap().calls.len();
        let jobs = plan.start(&manager, named).map_err(refused)?;
        writers = jobs.iter().map(|job| job.writers.clone()).collect();
        jobs.into_iter().map(|job| job.copy).collect()
    } else {
        let mut plan = CopyPlan::check(pairs, options).map_err(refused)?;
        if !scenario.techniques.is_empty() {
            plan = plan.trying(scenario.techniques);
        }
        *planned = disk.lock().unwrap().calls.len();
        plan.start(&manager, named).map_err(refused)?
    };
    let stopped = || jobs.iter().any(|job| job.handle.info().user_paused);
    let concluded = || jobs.iter().all(|job| job.handle.outcome().is_some());
    let ready = || jobs.iter().all(|job| job.handle.status() == Status::Ready);
    if let Some(range) = &scenario.mirror
        && main_loop.run_until(|| ready() || concluded())
        && ready()
    {
        for ((pair, writers), job) in pairs.iter().zip(&writers).zip(&jobs) {
            let file = File::options().write(true).open(&pair.source).unwrap();
            let bytes = pattern(range.len(), 5);
            let range = range.start as u64..range.end as u64;
            let write = || file.write_all_at(&bytes, range.start).unwrap();
            writers.write(range.clone(), write).unwrap();
            job.handle.complete().unwrap();
        }
    }
    for _ in 0..RESUMES_MAX {
        main_loop.run_until(|| concluded() || stopped());
        if concluded() {
            break;
        }
        for job in &jobs {
            // Refused where an error has not stopped it.
            let _ = job.handle.resume();
        }
    }
    if !concluded() {
        for job in &jobs {
            // Refused where it has concluded.
            let _ = job.handle.cancel(CancelMode::Force);
        }
    }
    main_loop.run_until_idle();
    // Drivers go with their jobs, and with them what they still hold.
    drop((manager, main_loop));
    Ok(jobs)
}

/// Whoever resumes a job gives up some time.
const RESUMES_MAX: usize = 5;

const CHUNK: usize = 8192;

fn scenarios() -> Vec<Scenario> {
    use Part::{Data, Hole, Zeros};
    let options = CopyOptions::new().chunk_bytes(CHUNK).workers(1);
    let shape = |source: &[Part], target| Shape {
        source: source.to_vec(),
        target,
    };
    let holey = [
        Data(CHUNK + 100),
        Hole(5 * CHUNK),
        Data(300),
        Hole(3 * CHUNK + 7),
    ];
    let fine = [
        Hole(100),
        Data(50),
        Hole(CHUNK),
        Data(CHUNK + 1),
        Hole(1),
        Data(9),
    ];
    let dense = [Data(2 * CHUNK + 4095)];
    let zeros = [Zeros(4096), Data(4096), Zeros(CHUNK), Data(17)];
    let one = |name, source: &[Part], target, options: &CopyOptions| Scenario {
        name,
        shapes: vec![shape(source, target)],
        options: options.clone(),
        cannot: &[],
        fails: false,
        clones: false,
        techniques: &[],
        bad: Vec::new(),
        tells: false,
        fine: false,
        mirror: None,
    };
    let group = |name, cannot| Scenario {
        name,
        shapes: vec![
            shape(&dense, Some(3000)),
            shape(&zeros, None),
            shape(&holey, Some(20)),
        ],
        options: options.clone(),
        cannot,
        fails: false,
        clones: false,
        techniques: &[],
        bad: Vec::new(),
        tells: false,
        fine: false,
        mirror: None,
    };
    let in_place = options.clone().in_place(true);
    let whole: usize = 10 * CHUNK + 407;
    vec![
        one("a new file", &holey, None, &options),
        one(
            "a new file, two workers",
            &holey,
            None,
            &options.clone().workers(2),
        ),
        one("nothing", &[], None, &options),
        one("only a hole", &[Hole(CHUNK + 1)], None, &options),
        one("an old file", &dense, Some(3000), &options),
        one("in place", &holey, Some(whole), &in_place),
        one(
            "in place, zeros",
            &zeros,
            Some(whole),
            &in_place.clone().sparse(Sparse::Always),
        ),
        one(
            "zeros",
            &zeros,
            None,
            &options.clone().sparse(Sparse::Always),
        ),
        one(
            "never sparse",
            &holey,
            Some(1),
            &options.clone().sparse(Sparse::Never),
        ),
        group("a group", &[]),
        group(
            "a group without exchange",
            &[
                (Kind::Exchange, Fault::Fails(libc::EINVAL)),
                (Kind::RenameNew, Fault::Fails(libc::EINVAL)),
            ],
        ),
        Scenario {
            cannot: &[
                (Kind::Exchange, Fault::Fails(libc::EINVAL)),
                (Kind::RenameNew, Fault::Fails(libc::EINVAL)),
                (Kind::Link, Fault::Fails(libc::EPERM)),
            ],
            ..one("a new file without links", &dense, None, &options)
        },
        Scenario {
            cannot: &[
                (Kind::Exchange, Fault::Fails(libc::EINVAL)),
                (Kind::Link, Fault::Fails(libc::EPERM)),
            ],
            ..one("an old file without links", &dense, Some(3000), &options)
        },
        Scenario {
            cannot: &[
                (Kind::SeekData, Fault::Fails(libc::EINVAL)),
                (Kind::SeekHole, Fault::Fails(libc::EINVAL)),
                (Kind::Punch, Fault::Fails(libc::EOPNOTSUPP)),
            ],
            ..one("in place without holes", &holey, Some(whole), &in_place)
        },
        Scenario {
            fails: true,
            ..group(
                "a group that cannot be written",
                &[(Kind::Write, Fault::Fails(libc::EIO))],
            )
        },
        Scenario {
            fails: true,
            shapes: vec![
                shape(&zeros, None),
                shape(&dense, Some(3000)),
                shape(&fine, None),
            ],
            ..group(
                "a group of which one cannot take its name",
                &[(Kind::Exchange, Fault::Fails(libc::EIO))],
            )
        },
        Scenario {
            fails: true,
            cannot: &[(Kind::Sync, Fault::Fails(libc::EIO))],
            ..one("in place, not synced", &holey, Some(whole), &in_place)
        },
        Scenario {
            fine: true,
            ..one("in place, fine holes", &fine, Some(whole), &in_place)
        },
        Scenario {
            fine: true,
            ..one("a new file, fine holes", &fine, None, &options)
        },
        Scenario {
            clones: true,
            ..one("cloned", &holey, Some(3000), &options)
        },
        Scenario {
            clones: true,
            ..one("cloned in place", &holey, Some(whole), &in_place)
        },
        Scenario {
            techniques: &[Technique::Offload, Technique::Buffered],
            ..one("offloaded", &holey, None, &options)
        },
        one(
            "never sparse in place",
            &holey,
            Some(whole),
            &in_place.clone().sparse(Sparse::Never),
        ),
        one(
            "read back",
            &holey,
            Some(3000),
            &options.clone().verify(true).checksum(true),
        ),
        Scenario {
            tells: true,
            ..one(
                "errors ignored",
                &holey,
                Some(3000),
                &options
                    .clone()
                    .on_source_error(ErrorPolicy::Ignore)
                    .on_target_error(ErrorPolicy::Ignore),
            )
        },
        Scenario {
            tells: true,
            ..one(
                "stopped by errors",
                &holey,
                None,
                &options
                    .clone()
                    .workers(2)
                    .on_source_error(ErrorPolicy::Stop)
                    .on_target_error(ErrorPolicy::Auto),
            )
        },
        Scenario {
            // What cannot be set aside is only not set aside.
            tells: true,
            ..one(
                "room set aside",
                &[Data(12 * CHUNK + 5), Hole(CHUNK)],
                Some(3000),
                &options,
            )
        },
        one(
            "everything synced",
            &holey,
            Some(3000),
            &options
                .clone()
                .durability(Durability::Full)
                .times(true)
                .verify(true),
        ),
        one(
            "everything synced, in place",
            &dense,
            Some(whole),
            &in_place.clone().durability(Durability::Full).times(true),
        ),
        one(
            "direct, nothing kept in the cache",
            &[Data(5 * CHUNK), Hole(CHUNK), Data(5000)],
            None,
            &options
                .clone()
                .technique(Some(Technique::Direct))
                .cache(Cache::Drop),
        ),
        Scenario {
            // From within data over a whole hole.
            mirror: Some(CHUNK..3 * CHUNK),
            ..one("a mirror", &holey, Some(3000), &options)
        },
        Scenario {
            mirror: Some(300..700),
            ..one("a mirror in place", &holey, Some(whole), &in_place)
        },
    ]
}

/// A run without faults: how many calls it makes, and which.
fn plain(scenario: &Scenario) -> (usize, Vec<Seen>) {
    let outcome = run(scenario, BTreeMap::new(), 10_000);
    let must = if scenario.fails {
        Must::Fail
    } else {
        Must::Succeed
    };
    judge(&outcome, must).unwrap_or_else(|wrong| panic!("{}: {wrong}", scenario.name));
    let calls = outcome.disk().calls.clone();
    (outcome.planned, calls)
}

fn calls_max(plain: usize) -> usize {
    4 * plain + 64
}

fn one_fault_at_every_call(scenario: &Scenario) {
    let (planned, calls) = plain(scenario);
    let mut runs = 0;
    for (number, seen) in calls.iter().enumerate() {
        // These fail already.
        if scenario.cannot.iter().any(|(kind, _)| *kind == seen.kind) {
            continue;
        }
        for (fault, must) in faults_of(seen, number >= planned) {
            let faults = BTreeMap::from([(number, fault)]);
            let outcome = run(scenario, faults, calls_max(calls.len()));
            let must = match must {
                _ if scenario.fails => Must::Fail,
                // With two workers the call of this number may be another, which bears the fault in its own way.
                _ if scenario.options.workers > 1 || scenario.tells => Must::Tell,
                // A decision that cannot be written is a failure; what comes after it can be seen without.
                _ if seen.what.ends_with("blockjob-journal") => Must::Tell,
                must => must,
            };
            if let Err(wrong) = judge(&outcome, must) {
                panic!(
                    "{}: {fault:?} at call {number} of {}, {}{}: {wrong}",
                    scenario.name,
                    calls.len(),
                    seen.what,
                    if seen.folder { ", a folder" } else { "" },
                );
            }
            runs += 1;
        }
    }
    eprintln!("{}: {} calls, {runs} runs", scenario.name, calls.len());
    assert!(runs >= calls.len(), "every call fails at least once");
}

macro_rules! sweeps {
    ($($test:ident: $name:literal,)+) => {
        $(#[test]
        fn $test() {
            let all = scenarios();
            one_fault_at_every_call(all.iter().find(|scenario| scenario.name == $name).unwrap());
        })+

        #[test]
        fn every_scenario_is_swept() {
            let names: Vec<_> = scenarios().iter().map(|scenario| scenario.name).collect();
            assert_eq!(names, [$($name),+]);
        }
    };
}

sweeps! {
    one_fault_anywhere_in_a_new_file: "a new file",
    one_fault_anywhere_with_two_workers: "a new file, two workers",
    one_fault_anywhere_in_an_empty_file: "nothing",
    one_fault_anywhere_in_a_hole: "only a hole",
    one_fault_anywhere_over_an_old_file: "an old file",
    one_fault_anywhere_in_place: "in place",
    one_fault_anywhere_in_place_with_zeros: "in place, zeros",
    one_fault_anywhere_in_zeros: "zeros",
    one_fault_anywhere_without_holes: "never sparse",
    one_fault_anywhere_in_a_group: "a group",
    one_fault_anywhere_where_names_cannot_be_exchanged: "a group without exchange",
    one_fault_anywhere_in_a_new_file_without_links: "a new file without links",
    one_fault_anywhere_over_an_old_file_without_links: "an old file without links",
    one_fault_anywhere_where_holes_cannot_be_made: "in place without holes",
    one_fault_more_in_a_group_that_cannot_be_written: "a group that cannot be written",
    one_fault_more_when_one_cannot_take_its_name: "a group of which one cannot take its name",
    one_fault_more_in_place_that_is_not_synced: "in place, not synced",
    one_fault_anywhere_between_fine_holes_in_place: "in place, fine holes",
    one_fault_anywhere_between_fine_holes: "a new file, fine holes",
    one_fault_anywhere_in_a_clone: "cloned",
    one_fault_anywhere_in_a_clone_in_place: "cloned in place",
    one_fault_anywhere_in_an_offloaded_copy: "offloaded",
    one_fault_anywhere_in_place_without_holes: "never sparse in place",
    one_fault_anywhere_where_it_is_read_back: "read back",
    one_fault_anywhere_and_ignored: "errors ignored",
    one_fault_anywhere_that_stops: "stopped by errors",
    one_fault_anywhere_where_room_is_set_aside: "room set aside",
    one_fault_anywhere_where_everything_is_synced: "everything synced",
    one_fault_anywhere_where_everything_is_synced_in_place: "everything synced, in place",
    one_fault_anywhere_past_the_cache: "direct, nothing kept in the cache",
    one_fault_anywhere_in_a_mirror: "a mirror",
    one_fault_anywhere_in_a_mirror_in_place: "a mirror in place",
}

fn scenario(name: &str) -> Scenario {
    let found = scenarios()
        .into_iter()
        .find(|scenario| scenario.name == name);
    found.unwrap()
}

#[test]
fn what_cannot_be_read_is_zeros_and_listed() {
    let mut scenario = scenario("errors ignored");
    scenario.options = scenario.options.checksum(true).verify(true);
    // One byte of a sector, two sectors, and one that the data ends in.
    let data = CHUNK as i64 + 100;
    scenario.bad = vec![700..701, 4096 + 512..4096 + 1536, data - 1..data];
    let sector = |bad: &Range<i64>| bad.start / 512 * 512..(bad.end + 511) / 512 * 512;
    let lost: Vec<_> = scenario.bad.iter().map(sector).collect();
    for workers in [1, 2] {
        scenario.options.workers = workers;
        let outcome = run(&scenario, BTreeMap::new(), 10_000);
        outcome.disk().bad.clone_from(&lost);
        judge(&outcome, Must::Fail).unwrap();
        let job = &outcome.jobs.as_ref().unwrap()[0];
        let summary = job.summary();
        assert!(summary.ending.is_success() && summary.verified);
        assert_eq!(summary.unreadable_bytes, 512 + 1024 + 512);
        assert!(job.failure().unwrap().contains("could not be read"));
        let target = std::fs::read(&outcome.pairs[0].target).unwrap();
        let digest = blake3::hash(&target).to_hex().to_string();
        assert_eq!(summary.checksum, Some(digest), "of what the target has");
        let map = std::fs::read_to_string(outcome.map()).unwrap();
        let listed: Vec<_> = map.lines().filter(|line| line.ends_with('-')).collect();
        assert_eq!(
            listed,
            [
                "0x00000200  0x00000200  -",
                "0x00001200  0x00000400  -",
                "0x00002000  0x00000200  -"
            ]
        );
    }
}

/// The source's data is there, and `lseek` says that there is none: nobody can see that who does not read.
#[test]
fn a_file_system_that_hides_data_is_found_out_when_it_is_read_back() {
    for (workers, large) in [(1, false), (2, false), (2, true)] {
        let mut scenario = scenario("read back");
        scenario.options.workers = workers;
        if large {
            // Too large to be read for no reason.
            scenario.options.chunk_bytes = 1 << 20;
            scenario.shapes[0].source = vec![Part::Data(6 << 20)];
        }
        scenario.cannot = &[(Kind::SeekData, Fault::Fails(libc::ENXIO))];
        let outcome = run(&scenario, BTreeMap::new(), 10_000);
        judge(&outcome, Must::Fail).unwrap();
        let failure = outcome.jobs.as_ref().unwrap()[0].failure().unwrap();
        assert!(failure.contains("where it was read back"), "{failure}");
    }
}

#[test]
fn a_disk_that_forgets_a_write_is_found_out_when_it_is_read_back() {
    let scenario = scenario("read back");
    let (_, calls) = plain(&scenario);
    let mut runs = 0;
    for (number, seen) in calls.iter().enumerate() {
        if seen.kind == Kind::Write && !seen.source {
            let faults = BTreeMap::from([(number, Fault::Forgets)]);
            let outcome = run(&scenario, faults, calls_max(calls.len()));
            judge(&outcome, Must::Fail).unwrap_or_else(|wrong| panic!("call {number}: {wrong}"));
            let failure = outcome.jobs.as_ref().unwrap()[0].failure().unwrap();
            assert!(failure.contains("where it was read back"), "{failure}");
            runs += 1;
        }
    }
    assert!(runs > 2);
}

#[test]
fn what_stopped_a_job_once_is_tried_again_when_it_is_resumed() {
    let scenario = scenario("stopped by errors");
    for workers in [1, 2] {
        let mut scenario = scenario.clone();
        scenario.options.workers = workers;
        let (planned, calls) = plain(&scenario);
        let mut runs = 0;
        for (number, seen) in calls.iter().enumerate().skip(planned) {
            let errno = match seen.kind {
                Kind::Read if seen.source => libc::EIO,
                Kind::Write => libc::ENOSPC,
                _ => continue,
            };
            let faults = BTreeMap::from([(number, Fault::Fails(errno))]);
            let outcome = run(&scenario, faults, 10_000);
            let must = if workers == 1 {
                Must::Succeed
            } else {
                Must::Tell
            };
            judge(&outcome, must).unwrap_or_else(|wrong| panic!("{}: {wrong}", seen.what));
            runs += 1;
        }
        assert!(runs > 3);
    }
}

#[test]
fn a_storm_of_interruptions_only_takes_longer() {
    for scenario in scenarios() {
        let (_, calls) = plain(&scenario);
        // One worker: with several one is interrupted for the other.
        let storm = if scenario.options.workers > 1 { 1 } else { 7 };
        let outcome = run_in_a_storm(&scenario, BTreeMap::new(), 100 * calls.len(), storm);
        let must = if scenario.fails {
            Must::Fail
        } else {
            Must::Succeed
        };
        judge(&outcome, must).unwrap_or_else(|wrong| panic!("{}: {wrong}", scenario.name));
        assert!(
            outcome.disk().calls.len() > calls.len(),
            "{}",
            scenario.name
        );
    }
}

/// The kernel may have dropped what it could not write, and say success the next time.
#[test]
fn a_sync_that_fails_once_is_neither_tried_again_nor_followed_by_success() {
    let (mut runs, mut unknown) = (0, 0);
    for scenario in scenarios() {
        if scenario.options.workers > 1 || scenario.fails || scenario.tells {
            continue;
        }
        let (_, calls) = plain(&scenario);
        let syncs = |kind| matches!(kind, Kind::Sync | Kind::SyncSystem);
        for (number, seen) in calls.iter().enumerate() {
            // Of a decision that could not be written down it can be seen from the names whether it was carried out.
            if !syncs(seen.kind) || seen.what.ends_with("blockjob-journal") {
                continue;
            }
            let faults = BTreeMap::from([(number, Fault::Fails(libc::EIO))]);
            let outcome = run(&scenario, faults, calls_max(calls.len()));
            let name = scenario.name;
            judge(&outcome, Must::Fail).unwrap_or_else(|wrong| panic!("{name}, {number}: {wrong}"));
            let disk = outcome.disk();
            let same = |again: &&Seen| !seen.folder && syncs(again.kind) && again.what == seen.what;
            let again = disk.calls[number + 1..].iter().find(same);
            assert!(again.is_none(), "{name}: {again:?} after {seen:?} failed");
            for job in outcome.jobs.iter().flatten() {
                let ending = job.summary().ending;
                let told = match ending {
                    // Before the commit: nothing has changed, but for what is written in place.
                    Ending::Aborted | Ending::Undone(_) | Ending::PartlyWritten => true,
                    // After it: the copy is there, and nobody knows for how long.
                    Ending::DurabilityUnknown(_) => seen.folder && !job.succeeded(),
                    _ => false,
                };
                assert!(told, "{name}, {number}: {ending:?}");
                unknown += usize::from(matches!(ending, Ending::DurabilityUnknown(_)));
            }
            runs += 1;
        }
    }
    assert!(runs > 20 && unknown > 10, "{runs} {unknown}");
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Half),
        Just(Fault::Nothing),
        Just(Fault::Stays),
        Just(Fault::Back),
        Just(Fault::StaysFromNow),
        prop::sample::select(vec![
            libc::EIO,
            libc::EINTR,
            libc::EAGAIN,
            libc::ENOSPC,
            libc::EINVAL,
            libc::EOPNOTSUPP,
            libc::EPERM,
        ])
        .prop_map(Fault::Fails),
        prop::sample::select(vec![libc::EIO, libc::ENOSPC, libc::EINVAL])
            .prop_map(Fault::FailsFromNow),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Several faults at once: undoing fails too, and so does the way around what a file system cannot do.
    #[test]
    fn many_faults_at_random(
        scenario in prop::sample::select(scenarios()),
        faults in prop::collection::btree_map(0_usize..60, any_fault(), 1..6),
    ) {
        let outcome = run(&scenario, faults, 1000);
        if let Err(wrong) = judge(&outcome, Must::Tell) {
            let happened = outcome.disk().happened.join("\n");
            prop_assert!(false, "{}: {wrong}\n{happened}", scenario.name);
        }
    }
}
