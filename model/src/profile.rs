//! What differs from one implementation to the next, as data.
//!
//! A profile is one set of switches. `reference` is ours: strict, and without QEMU's known
//! defects. The others describe a stretch of QEMU's releases as their users meet them, defects
//! included. Source: SEMANTICS.md §11 (what differs) and §12 (where QEMU is defective or silent),
//! decided in DECISIONS.md; numbers in brackets are those of §12.
//!
//! | module | what it holds |
//! |---|---|
//! | [`aspect`] | a row for everything that differs: each switch, and what the model has no word for |
//! | [`difference`] | each numbered departure of `reference`: what QEMU does, what we do, why |
//! | [`release`] | which release of QEMU is judged by which profile |
//!
//! `docs/profiles.md` is drawn from these tables ([`crate::render::profiles`]).

pub mod aspect;
pub mod difference;
pub mod release;
mod variant;

use crate::status::Status;
use crate::verb::{Refusal, Verb};
use crate::vocabulary::Callback;

pub use aspect::{ASPECTS, Aspect, Told};
pub use difference::{DIFFERENCES, Difference, Where};
pub use release::{RELEASES, Release};

/// Which jobs can be kept from deciding and from vanishing by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManualStages {
    /// None: there are no `finalize`, `dismiss` and `BLOCK_JOB_PENDING`.
    None,
    /// Backup jobs.
    Backup,
    /// Every block job.
    All,
}

/// How a negative speed is refused (SEMANTICS.md §9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeedText {
    /// `Invalid parameter 'speed'`, up to QEMU 4.2.
    Invalid,
    /// Either: the profile covers releases of both kinds.
    Either,
    /// `Parameter 'speed' expects a non-negative value`.
    NonNegative,
}

/// How an action that cannot be grouped is refused (SEMANTICS.md §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionText {
    /// `… does not support Transaction property …`, when the action's turn comes.
    Capital,
    /// `… does not support transaction property …`, before any action (QEMU 8.1 and later).
    Lower,
}

/// In which order the jobs of one transaction start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartOrder {
    /// No order is promised.
    Any,
    /// As they are listed.
    Listed,
    /// The last one first (QEMU 8.1 and later).
    Reversed,
}

/// The driver's `cancel` callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelCallback {
    /// There is none.
    None,
    /// It is told.
    Told,
    /// It is told, and says whether the cancel is a forced one.
    Decides,
}

/// What the creation of a job may be refused with, beside the texts all have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreationTexts {
    /// Those of the node's layer (`Device '…' is in use`, `… for this node`, `… internal block
    /// job`): a node has one job.
    Node,
    /// Either: the profile covers releases of both kinds.
    Either,
    /// Those of the job layer.
    Job,
}

/// One implementation's answers where implementations differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name to ask for it by.
    pub name: &'static str,
    /// What it describes, for people.
    pub summary: &'static str,
    /// The first release it describes, major and minor; `None`: it is no release of QEMU.
    pub since: Option<(u32, u32)>,

    // What can be seen and asked.
    /// `JOB_STATUS_CHANGE`, `job-*` commands, `query-jobs` (QEMU 3.0 and later).
    pub status_events: bool,
    /// There are statuses, and a table that says which verb each accepts (QEMU 2.12 and later).
    pub verb_table: bool,
    /// Which jobs their user may finalize and dismiss.
    pub manual_stages: ManualStages,
    /// The verb `change` exists (QEMU 8.2 and later).
    pub change_verb: bool,
    /// `complete` is permitted in standby and while a pause is wanted (QEMU 6.0 and later).
    pub standby_complete: bool,
    /// Pausing a paused job and resuming one that was not paused succeed and do nothing (2.11).
    pub pause_is_idempotent: bool,

    // Cancelling.
    /// A cancel counts as one everywhere whether forced or not, until the driver of a job that
    /// has converged takes it back and finishes (36, 37); from QEMU 6.2 on only a forced one does.
    pub cancel_is_revocable: bool,
    /// A forced cancel keeps a converged job from finishing (QEMU 2.12 and later).
    pub force_abandons: bool,
    /// Members of an aborting group are cancelled by force (QEMU 6.2 and later).
    pub peers_forced: bool,
    /// A cancelled job's success becomes an error before commit or abort is chosen (3).
    pub cancel_folds: bool,
    /// Cancelling a job that waits for its group aborts the group; else only a flag is set (4).
    pub waiting_cancel_aborts: bool,
    /// A job cancelled by force before its first step is not run (24).
    pub cancelled_before_run_is_skipped: bool,

    // Pausing.
    /// Jobs may pause for reasons nobody asked for: drained sections of the block layer (22).
    pub internal_pauses: bool,
    /// A pause point is a loop: only resume-to-zero or a forced cancel leaves it (7).
    pub pause_point_loops: bool,
    /// The user's pause and a stop error share one slot; else the second holds the job once more, and
    /// nobody releases that (8, 39).
    pub stop_takes_one_slot: bool,
    /// A stop error during a resume wins over it (38).
    pub stop_during_resume_wins: bool,
    /// A pause wakes a sleeping job, which then acknowledges it (QEMU 6.0 and later).
    pub pause_kicks: bool,
    /// A resume wakes a sleeping job (2.11).
    pub resume_cuts_sleep: bool,
    /// A change of speed wakes a sleeping job, if it hurries (QEMU 2.12 and later).
    pub speed_wakes: bool,
    /// Who enters a busy job wakes it from its next sleep; else that is lost (11).
    pub wakes_are_sticky: bool,
    /// From the end of the run on, verbs behave as in `waiting`, whatever the status still
    /// says (18), and a soft cancel is a forced one (5).
    pub ended_is_waiting: bool,
    /// The end of the run clears every pause (40).
    pub end_clears_pauses: bool,

    // Deciding.
    /// A repeated `complete` succeeds without a second callback (17).
    pub complete_is_latched: bool,
    /// `finalize` answers with the failure of prepare (20).
    pub finalize_reports_prepare: bool,
    /// A prepare that fails takes every member with it; else the one whose end or whose `finalize`
    /// brought the decision about commits all the same (2).
    pub prepare_failure_takes_all: bool,
    /// An abort finalises members that never started at once; else it waits for runs that will not
    /// happen, and so for ever (1).
    pub unstarted_peers_end: bool,
    /// An aborting group takes its members to `aborting` when their turn to be finalised comes,
    /// never-started ones first, then the newest (31); else in any order (23), and a member's run
    /// may be taken over while another is being finalised, whose callbacks poll.
    pub abort_newest_first: bool,
    /// In which order the jobs of one transaction start.
    pub start_order: StartOrder,
    /// Queries are carried out by the main loop: nobody sees a job between the steps that
    /// conclude it.
    pub queries_on_main_loop: bool,

    // What the driver is told.
    /// Its `cancel` callback.
    pub cancel_callback: CancelCallback,
    /// It has a `set_speed` callback.
    pub set_speed_callback: bool,
    /// It has a `prepare` callback, with which a transaction may still fail.
    pub prepare_callback: bool,
    /// It has a `user_resume` callback, for which a resume waits.
    pub user_resume_callback: bool,
    /// It has a `drain` callback.
    pub drain_callback: bool,
    /// It has a `drained_poll` callback.
    pub drained_poll_callback: bool,
    /// It has an `attached_context` callback that is called.
    pub attached_context_callback: bool,
    /// It has a `free` callback.
    pub free_callback: bool,

    // What the answers say.
    /// How a negative speed is refused.
    pub speed_text: SpeedText,
    /// A job may have no speed to set.
    pub speed_may_be_unsupported: bool,
    /// How an action that cannot be grouped is refused.
    pub transaction_text: TransactionText,
    /// What creation may be refused with.
    pub creation_texts: CreationTexts,
    /// A job that announced its convergence may have lost it again, and then refuses `complete` in
    /// its driver's words (13).
    pub ready_may_lapse: bool,
    /// An id is free once `null` was announced; else as soon as nobody holds on to the job (21).
    pub id_is_free_at_null: bool,
}

/// Ours: what this project's engine does.
pub const REFERENCE: Profile = Profile {
    name: "reference",
    summary: "this project's engine: strict, without QEMU's known defects",
    since: None,
    status_events: true,
    verb_table: true,
    manual_stages: ManualStages::All,
    change_verb: false,
    standby_complete: true,
    pause_is_idempotent: false,
    cancel_is_revocable: false,
    force_abandons: true,
    peers_forced: true,
    cancel_folds: true,
    waiting_cancel_aborts: true,
    cancelled_before_run_is_skipped: true,
    internal_pauses: false,
    pause_point_loops: true,
    stop_takes_one_slot: true,
    stop_during_resume_wins: true,
    pause_kicks: true,
    resume_cuts_sleep: false,
    speed_wakes: true,
    wakes_are_sticky: true,
    ended_is_waiting: true,
    end_clears_pauses: true,
    complete_is_latched: true,
    finalize_reports_prepare: true,
    prepare_failure_takes_all: true,
    unstarted_peers_end: true,
    abort_newest_first: true,
    start_order: StartOrder::Any,
    queries_on_main_loop: false,
    cancel_callback: CancelCallback::Decides,
    set_speed_callback: true,
    prepare_callback: true,
    user_resume_callback: true,
    drain_callback: true,
    drained_poll_callback: true,
    attached_context_callback: true,
    free_callback: true,
    speed_text: SpeedText::NonNegative,
    speed_may_be_unsupported: false,
    transaction_text: TransactionText::Lower,
    creation_texts: CreationTexts::Job,
    ready_may_lapse: false,
    id_is_free_at_null: true,
};

// The releases of QEMU, newest first: each says what the one after it changed.

/// QEMU 9.0 to 10.0.
pub const QEMU_10_0: Profile = Profile {
    name: "qemu-10.0",
    summary: "QEMU 9.0 to 10.0: job mutex and BQL, no AioContext lock",
    since: Some((9, 0)),
    change_verb: true,
    cancelled_before_run_is_skipped: false,
    internal_pauses: true,
    pause_point_loops: false,
    stop_during_resume_wins: false,
    wakes_are_sticky: false,
    ended_is_waiting: false,
    end_clears_pauses: false,
    complete_is_latched: false,
    finalize_reports_prepare: false,
    prepare_failure_takes_all: false,
    unstarted_peers_end: false,
    abort_newest_first: false,
    start_order: StartOrder::Reversed,
    queries_on_main_loop: true,
    drain_callback: false,
    attached_context_callback: false,
    id_is_free_at_null: false,
    ..REFERENCE
};

/// QEMU 8.1 and 8.2.
pub const QEMU_8_2: Profile = Profile {
    name: "qemu-8.2",
    summary: "QEMU 8.1 and 8.2: verb `change` (8.2), actions of a transaction in reverse",
    since: Some((8, 1)),
    ..QEMU_10_0
};

/// QEMU 7.2 and 8.0.
pub const QEMU_7_2: Profile = Profile {
    name: "qemu-7.2",
    summary: "QEMU 7.2 and 8.0: job mutex and one AioContext lock per job",
    since: Some((7, 2)),
    change_verb: false,
    start_order: StartOrder::Listed,
    transaction_text: TransactionText::Capital,
    ..QEMU_8_2
};

/// QEMU 6.2 to 7.1.
pub const QEMU_6_2: Profile = Profile {
    name: "qemu-6.2",
    summary: "QEMU 6.2 to 7.1: a soft cancel is no cancel, peers are cancelled by force",
    since: Some((6, 2)),
    // The main loop holds the job's AioContext while the driver is told: no error comes between.
    stop_during_resume_wins: true,
    ..QEMU_7_2
};

/// QEMU 6.0 and 6.1.
pub const QEMU_6_0: Profile = Profile {
    name: "qemu-6.0",
    summary: "QEMU 6.0 and 6.1: pauses kick sleeping jobs, complete while paused",
    since: Some((6, 0)),
    cancel_is_revocable: true,
    peers_forced: false,
    cancel_callback: CancelCallback::Told,
    ..QEMU_6_2
};

/// QEMU 3.0 to 5.2.
pub const QEMU_4_2: Profile = Profile {
    name: "qemu-4.2",
    summary: "QEMU 3.0 to 5.2: jobs of every kind, JOB_STATUS_CHANGE",
    since: Some((3, 0)),
    standby_complete: false,
    pause_kicks: false,
    cancel_callback: CancelCallback::None,
    set_speed_callback: false,
    speed_text: SpeedText::Either,
    creation_texts: CreationTexts::Either,
    ..QEMU_6_0
};

/// QEMU 2.12.
pub const QEMU_2_12: Profile = Profile {
    name: "qemu-2.12",
    summary: "QEMU 2.12: statuses and the verb table, but no event tells of them",
    since: Some((2, 12)),
    status_events: false,
    manual_stages: ManualStages::Backup,
    stop_takes_one_slot: false,
    drain_callback: true,
    drained_poll_callback: false,
    free_callback: false,
    speed_text: SpeedText::Invalid,
    creation_texts: CreationTexts::Node,
    ..QEMU_4_2
};

/// QEMU 2.10 and 2.11: the lifecycle before it had statuses.
pub const QEMU_2_11: Profile = Profile {
    name: "qemu-2.11",
    summary: "QEMU 2.10 and 2.11: flags instead of statuses, nothing to prepare",
    since: Some((2, 10)),
    verb_table: false,
    manual_stages: ManualStages::None,
    pause_is_idempotent: true,
    force_abandons: false,
    cancel_folds: false,
    waiting_cancel_aborts: false,
    resume_cuts_sleep: true,
    speed_wakes: false,
    // Nothing is prepared and nothing finalized, so nothing of it goes wrong.
    prepare_failure_takes_all: true,
    finalize_reports_prepare: true,
    set_speed_callback: true,
    prepare_callback: false,
    user_resume_callback: false,
    attached_context_callback: true,
    speed_may_be_unsupported: true,
    ready_may_lapse: true,
    ..QEMU_2_12
};

impl Profile {
    /// Every profile there is: ours, then QEMU's, newest first.
    pub const ALL: [&'static Profile; 9] = [
        &REFERENCE, &QEMU_10_0, &QEMU_8_2, &QEMU_7_2, &QEMU_6_2, &QEMU_6_0, &QEMU_4_2, &QEMU_2_12,
        &QEMU_2_11,
    ];

    /// Whether the table lets `verb` through in `status`; what the request then finds is another
    /// matter.
    pub fn permits(&self, verb: Verb, status: Status) -> bool {
        let exists = match verb {
            Verb::Change => self.change_verb,
            Verb::Finalize | Verb::Dismiss => self.manual_stages != ManualStages::None,
            _ => true,
        };
        if !self.verb_table {
            // Whatever exists is let through to whatever it finds.
            return exists && !matches!(status, Status::Undefined | Status::Null);
        }
        exists
            && verb.permitted_in(status)
            && (verb != Verb::Complete || status != Status::Standby || self.standby_complete)
    }

    /// Whether drivers have this callback, and it is called.
    pub fn has_callback(&self, callback: Callback) -> bool {
        match callback {
            Callback::Cancel => self.cancel_callback != CancelCallback::None,
            Callback::SetSpeed => self.set_speed_callback,
            Callback::Prepare => self.prepare_callback,
            Callback::UserResume => self.user_resume_callback,
            Callback::Drain => self.drain_callback,
            Callback::DrainedPoll => self.drained_poll_callback,
            Callback::AttachedContext => self.attached_context_callback,
            Callback::Free => self.free_callback,
            _ => true,
        }
    }

    /// How `refusal` reads; `block_job` chooses the texts of the `block-job-*` commands.
    ///
    /// A profile of releases with either text for a negative speed reads as its later ones, from 5.0 on.
    pub fn text(&self, refusal: Refusal, id: &str, block_job: bool) -> String {
        match (refusal, self.speed_text) {
            (Refusal::NegativeSpeed, SpeedText::Invalid) => "Invalid parameter 'speed'".to_owned(),
            _ => refusal.text(id, block_job),
        }
    }

    /// The profile called `name`, if there is one.
    pub fn by_name(name: &str) -> Option<&'static Profile> {
        Profile::ALL
            .into_iter()
            .find(|profile| profile.name == name)
    }

    /// The profile that judges QEMU `major.minor`: that of the newest release not newer, or of the
    /// oldest there is.
    pub fn for_qemu(major: u32, minor: u32) -> &'static Profile {
        Release::at_most(major, minor).profile
    }

    /// Whether both answer alike wherever the model can tell: they differ at most in what stands
    /// in [`ASPECTS`] as [`Told::Words`].
    pub fn behaves_as(&self, other: &Profile) -> bool {
        let named = Profile {
            name: other.name,
            summary: other.summary,
            since: other.since,
            ..*self
        };
        named == *other
    }

    /// The numbered departures of `reference` that this profile has on QEMU's side.
    pub fn differences(&self) -> impl Iterator<Item = &'static Difference> {
        let name = self.name;
        DIFFERENCES
            .iter()
            .filter(move |difference| difference.profiles.contains(&name))
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
    fn only_those_before_the_verb_table_let_every_verb_through() {
        for profile in Profile::ALL {
            let waiting = profile.permits(Verb::Pause, Status::Waiting);
            assert_eq!(waiting, profile.name == "qemu-2.11", "{}", profile.name);
            assert!(!profile.permits(Verb::Pause, Status::Null));
        }
    }

    #[test]
    fn a_negative_speed_is_refused_in_the_words_of_its_time() {
        let text = |profile: &Profile| profile.text(Refusal::NegativeSpeed, "j", true);
        assert_eq!(text(&QEMU_2_12), "Invalid parameter 'speed'");
        assert_eq!(
            text(&QEMU_6_0),
            "Parameter 'speed' expects a non-negative value"
        );
        assert_eq!(
            QEMU_2_11.text(Refusal::NotFound, "j", true),
            "Block job 'j' not found"
        );
    }
}
