//! What differs from one implementation to the next, as data.
//!
//! `reference` is ours: strict, and without QEMU's known defects. The others describe a release
//! of QEMU as its users meet it. Source: SEMANTICS.md §11 and §12, decided in DECISIONS.md; the
//! numbers below are those of §12.

use crate::status::Status;
use crate::verb::Verb;

/// One implementation's answers where implementations differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name to ask for it by.
    pub name: &'static str,
    /// What it describes, for people.
    pub summary: &'static str,
    /// `complete` is permitted in standby (QEMU 6.0 and later).
    pub standby_complete: bool,
    /// The verb `change` exists (QEMU 8.2 and later).
    pub change_verb: bool,
    /// Jobs may pause for reasons nobody asked for: drained sections of the block layer (22).
    pub internal_pauses: bool,
    /// A pause point is a loop: only resume-to-zero or a forced cancel leaves it (7).
    pub pause_point_loops: bool,
    /// From the end of the run on, verbs behave as in `waiting`, whatever the status still
    /// says (18), and a soft cancel is a forced one (5).
    pub ended_is_waiting: bool,
    /// The end of the run clears every pause (40).
    pub end_clears_pauses: bool,
    /// A job cancelled by force before its first step is not run (24).
    pub cancelled_before_run_is_skipped: bool,
    /// A repeated `complete` succeeds without a second callback (17).
    pub complete_is_latched: bool,
    /// `finalize` answers with the failure of prepare (20).
    pub finalize_reports_prepare: bool,
    /// An aborting group finalises its members newest first (31); else in any order (23), and a
    /// member's run may be taken over while another is being finalised, whose callbacks poll.
    pub abort_newest_first: bool,
    /// Queries are carried out by the main loop: nobody sees a job between the steps that
    /// conclude it.
    pub queries_on_main_loop: bool,
}

/// Ours: what this project's engine does.
pub const REFERENCE: Profile = Profile {
    name: "reference",
    summary: "this project's engine: strict, without QEMU's known defects",
    standby_complete: true,
    change_verb: false,
    internal_pauses: false,
    pause_point_loops: true,
    ended_is_waiting: true,
    end_clears_pauses: true,
    cancelled_before_run_is_skipped: true,
    complete_is_latched: true,
    finalize_reports_prepare: true,
    abort_newest_first: true,
    queries_on_main_loop: false,
};

/// QEMU 9.x to 10.0.
pub const QEMU_10_0: Profile = Profile {
    name: "qemu-10.0",
    summary: "QEMU 9.0 to 10.0: job mutex and BQL, verb `change`",
    standby_complete: true,
    change_verb: true,
    internal_pauses: true,
    pause_point_loops: false,
    ended_is_waiting: false,
    end_clears_pauses: false,
    cancelled_before_run_is_skipped: false,
    complete_is_latched: false,
    finalize_reports_prepare: false,
    abort_newest_first: false,
    queries_on_main_loop: true,
};

/// QEMU 7.2.
pub const QEMU_7_2: Profile = Profile {
    name: "qemu-7.2",
    summary: "QEMU 7.2: job mutex and one AioContext lock per job",
    change_verb: false,
    ..QEMU_10_0
};

impl Profile {
    /// Every profile there is.
    pub const ALL: [&'static Profile; 3] = [&REFERENCE, &QEMU_10_0, &QEMU_7_2];

    /// Whether the table lets `verb` through in `status`; what the request then finds is another
    /// matter.
    pub fn permits(&self, verb: Verb, status: Status) -> bool {
        verb.permitted_in(status)
            && (verb != Verb::Change || self.change_verb)
            && (verb != Verb::Complete || status != Status::Standby || self.standby_complete)
    }

    /// The profile called `name`, if there is one.
    pub fn by_name(name: &str) -> Option<&'static Profile> {
        Profile::ALL
            .into_iter()
            .find(|profile| profile.name == name)
    }

    /// The profile that judges QEMU `major.minor`: the newest one not newer than the release,
    /// or the oldest there is.
    pub fn for_qemu(major: u32, minor: u32) -> &'static Profile {
        if (major, minor) >= (8, 2) {
            &QEMU_10_0
        } else {
            &QEMU_7_2
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for profile in Profile::ALL {
            assert_eq!(Profile::by_name(profile.name), Some(profile));
        }
        assert_eq!(Profile::by_name("qemu-0.1"), None);
    }

    #[test]
    fn every_release_has_a_profile() {
        assert_eq!(Profile::for_qemu(7, 2).name, "qemu-7.2");
        assert_eq!(Profile::for_qemu(10, 0).name, "qemu-10.0");
    }
}
