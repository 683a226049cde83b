//! Goal: however many jobs there were, and however they ended, no descriptor is left open once they are gone, whoever
//! still has their handles.
//! Method: ten thousand jobs of one manager, in groups and alone, of which some fail, are cancelled or given up; the
//! descriptors of this process are counted before and after, and whenever the main loop is idle. A process of its own, with
//! one test: others would open files.
#![allow(clippy::unwrap_used)]

mod copy_common;

use blockjob::copy::{CopyOptions, CopyPlan, Durability, Pair};
use blockjob::engine::{CancelMode, Manager, ManagerConfig};
use copy_common::*;

const JOBS: usize = 10_000;

fn descriptors() -> Vec<String> {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let mut open: Vec<_> = all
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .map(|path| path.display().to_string())
        // That of the list itself.
        .filter(|path| !path.ends_with("/fd"))
        .collect();
    open.sort();
    open
}

#[test]
fn ten_thousand_jobs_leave_no_descriptor_open() {
    let scratch = Scratch::new();
    let source = scratch.dense("source", 5000);
    let folder = scratch.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let options = CopyOptions::new().durability(Durability::None);
    let (manager, mut main_loop) = Manager::new(ManagerConfig::default().bodies_max(4));
    let before = descriptors();
    let (mut jobs, mut committed, mut undone) = (0, 0, 0);
    for round in 0.. {
        if jobs >= JOBS {
            break;
        }
        // Alone, a small group with open files, one too large for that.
        let members = [1, 20, 80][round % 3];
        let pairs: Vec<_> = (0..members)
            .map(|number| Pair::new(&source, folder.join(format!("target{number}"))))
            .collect();
        let plan = CopyPlan::check(&pairs, &options).unwrap();
        jobs += members;
        if round % 13 == 5 {
            // Given up before they start: as drivers, or as jobs.
            let mut transaction = manager.transaction();
            let kept: Vec<_> = plan
                .drivers()
                .unwrap()
                .into_iter()
                .enumerate()
                .filter(|(number, _)| round % 2 == 0 && number % 2 == 0)
                .map(|(number, driver)| transaction.create(job_options(number), driver).unwrap())
                .collect();
            drop(transaction);
            main_loop.run_until_idle();
            assert_eq!(descriptors(), before, "{} given up", kept.len());
            continue;
        }
        // A job that waits to be dismissed has closed everything too.
        let by_hand = round % 5 == 4;
        let options = |index| job_options(index).manual_dismiss(by_hand);
        let started = plan.start(&manager, options).unwrap();
        match round % 11 {
            3 => started[members / 2]
                .handle
                .cancel(CancelMode::Force)
                .unwrap(),
            // Somebody else makes, or takes, a target: the last look fails, or the exchange.
            7 => {
                let stranger = folder.join("target0");
                let _ = std::fs::remove_file(&stranger);
                std::fs::write(&stranger, "theirs").unwrap();
            }
            _ => {}
        }
        main_loop.run_until_idle();
        assert_eq!(descriptors(), before, "round {round}, {members} members");
        for job in &started {
            if by_hand {
                job.handle.dismiss().unwrap();
            }
            if job.succeeded() {
                committed += 1;
            } else {
                undone += 1;
            }
        }
    }
    assert!(
        committed > JOBS / 2 && undone > JOBS / 20,
        "{committed} {undone}"
    );
    drop((manager, main_loop));
    assert_eq!(descriptors(), before);
    let left = contents(&folder);
    assert!(
        left.keys().all(|name| name.starts_with("target")),
        "{:?}",
        left.keys()
    );
}
