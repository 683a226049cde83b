//! Goal: however many jobs there were, and however they ended, no descriptor is left open.
//! Method: ten thousand jobs of one manager, in groups and alone, of which some fail, are cancelled or given up; the
//! descriptors of this process are counted before and after. A process of its own: other tests open files.
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
            // Given up before they start.
            drop(plan.drivers().unwrap());
            continue;
        }
        let started = plan.start(&manager, job_options).unwrap();
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
        for job in &started {
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
    // Drivers of jobs that are gone are dropped by the loop, their bodies' threads are through.
    drop((manager, main_loop));
    assert_eq!(descriptors(), before);
    let left = contents(&folder);
    assert!(
        left.keys().all(|name| name.starts_with("target")),
        "{:?}",
        left.keys()
    );
}
