//! Goal: copies of one manager that would get in each other's way are refused, with an error that names the file and
//! the way out; those that would not are not; and what was held is free once the copy that held it is clean.
//! Method: a first copy is started, and while nobody runs the main loop it is not cleaned, whatever its workers have
//! done; a second one is planned and started beside it.
#![allow(clippy::unwrap_used)]

mod copy_common;

use blockjob::copy::{CopyError, CopyJob, CopyOptions, CopyPlan};
use blockjob::engine::{JobOptions, MainLoop, Manager, ManagerConfig};
use blockjob::model::Status;
use copy_common::*;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A manager with a copy under way that holds its two ends until the test is over with it.
struct Held {
    manager: Manager,
    main_loop: MainLoop,
    first: CopyJob,
}

impl Held {
    fn by(source: &Path, target: &Path, options: &CopyOptions) -> Held {
        let (manager, main_loop) = Manager::new(ManagerConfig::default());
        let plan = CopyPlan::check(&[pair(source, target)], options).unwrap();
        // Without a main loop nobody cleans it.
        let job = |_| JobOptions::new("first").manual_dismiss(true);
        let first = plan.start(&manager, job).unwrap().remove(0);
        Held {
            manager,
            main_loop,
            first,
        }
    }

    fn second(
        &self,
        source: &Path,
        target: &Path,
        options: &CopyOptions,
    ) -> Result<CopyJob, CopyError> {
        let plan = CopyPlan::check(&[pair(source, target)], options).unwrap();
        let jobs = plan.start(&self.manager, |_| JobOptions::new("second"));
        jobs.map(|mut jobs| jobs.remove(0))
    }

    /// The second copy is refused for this file, and leaves nothing; the first one ends as if it had not been.
    fn refuses(mut self, source: &Path, target: &Path, options: &CopyOptions, path: &Path) {
        let error = self.second(source, target, options).unwrap_err();
        assert!(
            matches!(&error, CopyError::Busy { path: busy, .. } if busy == path),
            "{error:?}"
        );
        assert_eq!(
            error.to_string(),
            format!(
                "Node '{}' is busy: block device is in use by block job: backup",
                path.display()
            )
        );
        assert!(error.way_out().contains("wait"), "{}", error.way_out());
        self.main_loop.run_until_idle();
        assert!(self.first.succeeded(), "{:?}", self.first.failure());
        // The first is concluded and not dismissed: it holds nothing any more.
        assert_eq!(self.first.handle.status(), Status::Concluded);
        let second = self.second(source, target, options);
        assert!(second.is_ok(), "{second:?}");
        self.main_loop.run_until_idle();
        assert!(second.unwrap().succeeded());
    }

    fn allows(mut self, source: &Path, target: &Path, options: &CopyOptions) {
        let second = self.second(source, target, options).unwrap();
        self.main_loop.run_until_idle();
        for job in [&self.first, &second] {
            assert!(job.succeeded(), "{:?}", job.failure());
        }
    }
}

fn replace() -> CopyOptions {
    CopyOptions::default()
}

fn in_place() -> CopyOptions {
    CopyOptions::default().in_place(true)
}

#[test]
fn two_copies_to_one_new_target() {
    let scratch = Scratch::new();
    let (one, two) = (scratch.text("one", "1"), scratch.text("two", "2"));
    let target = scratch.path("target");
    Held::by(&one, &target, &replace()).refuses(&two, &target, &replace(), &target);
    assert_eq!(scratch.names(), ["one", "target", "two"]);
    assert_eq!(std::fs::read(&target).unwrap(), b"2");
}

#[test]
fn two_copies_to_one_target_by_two_paths() {
    let scratch = Scratch::new();
    let (one, two) = (scratch.text("one", "1"), scratch.text("two", "2"));
    let target = scratch.text("target", "0");
    let link = scratch.path("link");
    symlink(&target, &link).unwrap();
    // It is the file that counts, and the user's name for it that is said.
    Held::by(&one, &target, &replace()).refuses(&two, &link, &replace(), &link);
    assert_eq!(std::fs::read(&target).unwrap(), b"2");
}

#[test]
fn a_target_written_in_place_is_nobody_elses() {
    let scratch = Scratch::new();
    let (one, two) = (scratch.text("one", "1"), scratch.text("two", "2"));
    let target = scratch.text("target", "0");
    Held::by(&one, &target, &in_place()).refuses(&two, &target, &in_place(), &target);
    Held::by(&one, &target, &in_place()).refuses(&two, &target, &replace(), &target);
    // Neither is it read while it is written, nor written while it is read.
    let other = scratch.path("other");
    Held::by(&one, &target, &in_place()).refuses(&target, &other, &replace(), &target);
    Held::by(&target, &other, &replace()).refuses(&one, &target, &in_place(), &target);
}

#[test]
fn a_source_is_read_by_many() {
    let scratch = Scratch::new();
    let source = scratch.text("source", "1");
    let (one, two) = (scratch.path("one"), scratch.path("two"));
    Held::by(&source, &one, &replace()).allows(&source, &two, &replace());
    assert_eq!(std::fs::read(&one).unwrap(), b"1");
    assert_eq!(std::fs::read(&two).unwrap(), b"1");
}

#[test]
fn names_that_differ_only_in_what_is_no_text_are_two_names() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let scratch = Scratch::new();
    let source = scratch.text("source", "1");
    let name = |byte: u8| scratch.0.path().join(OsStr::from_bytes(&[b'a', byte]));
    Held::by(&source, &name(0xfe), &replace()).allows(&source, &name(0xff), &replace());
    assert!(name(0xfe).exists() && name(0xff).exists());
}
