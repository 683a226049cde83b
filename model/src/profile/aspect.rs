//! Everything that differs between implementations, a row each: SEMANTICS.md §11 as data.
//!
//! Most rows show a switch of the profile. Some things differ where the model has no word for
//! them (locks, coroutines); those rows say so, and are told by release.

use super::{
    CancelCallback, CreationTexts, ManualStages, Profile, SpeedText, StartOrder, TransactionText,
};

/// Who can tell the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// The step relation: what may happen next differs.
    Relation,
    /// The oracle alone: what may be written in an answer differs.
    Oracle,
    /// Nobody here: it is told in words, because no trace and no step shows it.
    Words,
}

/// One thing that differs.
#[derive(Clone, Copy)]
pub struct Aspect {
    /// A short name; that of the switch, where there is one.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Where SEMANTICS.md has it.
    pub section: &'static str,
    /// Who can tell.
    pub told: Told,
    /// The properties that the explorer sees a profile break in which this is otherwise than in
    /// `reference`, where that is the way of its time and no numbered departure.
    pub breaks: &'static [&'static str],
    /// Why `reference` is as no release is, where no numbered departure says so: its letter in
    /// DECISIONS.md, and the reason.
    pub why: &'static str,
    /// How it is in a profile.
    pub value: fn(&Profile) -> &'static str,
}

const fn switch(
    name: &'static str,
    about: &'static str,
    section: &'static str,
    value: fn(&Profile) -> &'static str,
) -> Aspect {
    Aspect {
        name,
        about,
        section,
        told: Told::Relation,
        breaks: &[],
        why: "",
        value,
    }
}

const fn breaking(breaks: &'static [&'static str], aspect: Aspect) -> Aspect {
    Aspect { breaks, ..aspect }
}

const fn because(why: &'static str, aspect: Aspect) -> Aspect {
    Aspect { why, ..aspect }
}

const fn answer(
    name: &'static str,
    about: &'static str,
    section: &'static str,
    value: fn(&Profile) -> &'static str,
) -> Aspect {
    Aspect {
        told: Told::Oracle,
        ..switch(name, about, section, value)
    }
}

const fn words(
    name: &'static str,
    about: &'static str,
    section: &'static str,
    value: fn(&Profile) -> &'static str,
) -> Aspect {
    Aspect {
        told: Told::Words,
        ..switch(name, about, section, value)
    }
}

const fn yes(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

/// `ours`, or what holds from the last of these releases on that is not newer than the profile.
fn since(
    profile: &Profile,
    ours: &'static str,
    eras: &[((u32, u32), &'static str)],
) -> &'static str {
    let Some(first) = profile.since else {
        return ours;
    };
    eras.iter()
        .rev()
        .find(|(from, _)| *from <= first)
        .map_or("no", |(_, value)| value)
}

/// Every aspect, in the order of a job's life.
#[rustfmt::skip]
pub const ASPECTS: &[Aspect] = &[
    switch("status-events", "JOB_STATUS_CHANGE, `job-*` commands, `query-jobs`", "7.1", |p| yes(p.status_events)),
    switch("verb-table", "statuses, and a table that says which verb each accepts", "1b", |p| yes(p.verb_table)),
    switch("manual-stages", "jobs that their user finalizes and dismisses (BLOCK_JOB_PENDING)", "2.8", |p| match p.manual_stages {
        ManualStages::None => "none",
        ManualStages::Backup => "backup",
        ManualStages::All => "all",
    }),
    because("q: it sets a mirror's copy mode, and no driver here has one", switch("change-verb", "the verb `change`", "1b", |p| yes(p.change_verb))),
    words("actively-synced", "`actively-synced` of a mirror in `query-block-jobs`", "2.3", |p| since(p, "no", &[((8, 1), "from 8.2"), ((9, 0), "yes")])),
    answer("creation-texts", "one job a node, and its texts: `Device '…' is in use`, `… for this node`, `… internal block job`", "2.1", |p| match p.creation_texts {
        CreationTexts::Node => "yes",
        CreationTexts::Either => "until 4.1",
        CreationTexts::Job => "no",
    }),
    answer("id-is-free-at-null", "an id is free as soon as `null` was announced", "12-21", |p| yes(p.id_is_free_at_null)),
    words("own-group", "a single job is a group of its own", "6.1", |p| since(p, "yes", &[((2, 10), "no"), ((2, 12), "yes")])),
    words("join-group", "a job joins its group by", "6.1", |p| since(p, "argument of create", &[((2, 10), "a call of its own"), ((2, 12), "argument of create")])),
    because("n: every body has a thread of its own, and threads promise no order", switch("start-order", "the jobs of a transaction start", "6.1", |p| match p.start_order {
        StartOrder::Any => "in any order",
        StartOrder::Listed => "as listed",
        StartOrder::Reversed => "in reverse",
    })),
    answer("transaction-text", "an action that cannot be grouped: `… does not support Transaction property …`", "6.1", |p| match p.transaction_text {
        TransactionText::Capital => "as here",
        TransactionText::Lower => "lower case, before any action",
    }),
    words("run-ends", "a run ends by", "2.10", |p| since(p, "returning", &[((2, 10), "deferring to the main loop"), ((3, 0), "returning")])),
    words("locking", "what guards a job", "4.9", |p| since(p, "one monitor", &[
        ((2, 10), "AioContext"),
        ((2, 12), "AioContext, small mutex"),
        ((7, 2), "job mutex, AioContext"),
        ((9, 0), "job mutex, BQL"),
    ])),
    switch("pause-is-idempotent", "pausing a paused job, and resuming one that was not paused, succeed", "2.4", |p| yes(p.pause_is_idempotent)),
    switch("internal-pauses", "pauses nobody asked for (drained sections of the block layer)", "4.10", |p| yes(p.internal_pauses)),
    switch("pause-point-loops", "only resume-to-zero or a forced cancel ends a pause", "4.6", |p| yes(p.pause_point_loops)),
    switch("stop-takes-one-slot", "the user's pause and a stop error hold a job once, and one resume releases both", "12-8", |p| yes(p.stop_takes_one_slot)),
    switch("stop-during-resume-wins", "a stop error that meets a resume holds", "12-38", |p| yes(p.stop_during_resume_wins)),
    breaking(&["P41"], switch("pause-kicks", "a pause wakes a sleeping job", "4.5", |p| yes(p.pause_kicks))),
    switch("resume-cuts-sleep", "a resume wakes a sleeping job", "4.5", |p| yes(p.resume_cuts_sleep)),
    switch("speed-wakes", "a change of speed that hurries wakes a sleeping job", "9.1", |p| yes(p.speed_wakes)),
    switch("wakes-are-sticky", "who enters a busy job wakes it from its next sleep", "12-11", |p| yes(p.wakes_are_sticky)),
    words("sleep-timer", "the timer of a sleep is", "4.3", |p| since(p, "the job's", &[((2, 10), "private, clock argument"), ((2, 12), "the job's")])),
    words("finish-sync", "the synchronous helpers wait by", "2.9", |p| since(p, "a wait loop", &[((2, 10), "draining and polling"), ((3, 0), "a wait loop with enter")])),
    switch("ended-is-waiting", "verbs after the end of the run are judged as in waiting", "12-18", |p| yes(p.ended_is_waiting)),
    switch("end-clears-pauses", "the end of the run clears every pause", "12-40", |p| yes(p.end_clears_pauses)),
    switch("standby-complete", "complete in standby, and while a pause is wanted", "2.7", |p| yes(p.standby_complete)),
    switch("complete-is-latched", "a repeated complete does nothing", "12-17", |p| yes(p.complete_is_latched)),
    answer("ready-may-lapse", "a job that announced READY may refuse complete in its driver's words", "12-13", |p| yes(p.ready_may_lapse)),
    switch("cancel-is-revocable", "a soft cancel counts as a cancel until the driver takes it back (`is_cancelled` tests the request)", "5.1", |p| yes(p.cancel_is_revocable)),
    switch("force-abandons", "a forced cancel keeps a ready job from finishing", "5.1", |p| yes(p.force_abandons)),
    switch("cancelled-before-run-is-skipped", "a job cancelled by force before its first step is not run", "12-24", |p| yes(p.cancelled_before_run_is_skipped)),
    words("late-cancel", "a soft cancel after the end of the run, before the main loop took it over", "5.5", |p| match (p.ended_is_waiting, p.cancel_is_revocable, p.cancel_folds) {
        (true, _, _) | (_, true, true) => "aborts",
        (_, true, false) => "flag only",
        (_, false, _) => "ignored",
    }),
    switch("cancel-folds", "a cancelled job's success becomes an error before the decision", "5.3", |p| yes(p.cancel_folds)),
    switch("waiting-cancel-aborts", "cancelling a waiting member aborts its group", "5.5", |p| yes(p.waiting_cancel_aborts)),
    breaking(&["P6", "P12", "P13", "P15", "P42", "P44", "LIFECYCLE"], switch("peers-forced", "members of an aborting group are cancelled by force", "6.5", |p| yes(p.peers_forced))),
    switch("unstarted-peers-end", "an abort finalises never-started members (else it hangs)", "6.5", |p| yes(p.unstarted_peers_end)),
    switch("abort-newest-first", "an abort takes its members over one by one, and nothing nests in it", "7.4", |p| yes(p.abort_newest_first)),
    switch("prepare-failure-takes-all", "a failed prepare takes the whole group with it", "6.4", |p| yes(p.prepare_failure_takes_all)),
    switch("finalize-reports-prepare", "finalize answers with the failure of prepare", "2.8", |p| yes(p.finalize_reports_prepare)),
    because("o: one section of the monitor shows one moment, so nobody who only looks waits for callbacks", switch("queries-on-main-loop", "a query waits until the main loop is done", "2.3", |p| yes(p.queries_on_main_loop))),
    switch("cancel-callback", "the driver's `cancel` callback", "3.1", |p| match p.cancel_callback {
        CancelCallback::None => "no",
        CancelCallback::Told => "is told",
        CancelCallback::Decides => "decides",
    }),
    switch("set-speed-callback", "the driver's `set_speed` callback", "3.1", |p| yes(p.set_speed_callback)),
    switch("prepare-callback", "the driver's `prepare` callback", "3.1", |p| yes(p.prepare_callback)),
    switch("user-resume-callback", "the driver's `user_resume` callback", "3.1", |p| yes(p.user_resume_callback)),
    switch("drain-callback", "the driver's `drain` callback", "3.1", |p| yes(p.drain_callback)),
    switch("drained-poll-callback", "the driver's `drained_poll` callback", "3.1", |p| yes(p.drained_poll_callback)),
    switch("attached-context-callback", "the driver's `attached_context` callback is called", "3.1", |p| yes(p.attached_context_callback)),
    switch("free-callback", "the driver's `free` callback", "3.1", |p| yes(p.free_callback)),
    answer("speed-text", "a negative speed: `Parameter 'speed' expects a non-negative value`, or `Invalid parameter 'speed'`", "9.1", |p| match p.speed_text {
        SpeedText::Invalid => "the latter",
        SpeedText::Either => "latter, 5.0 former",
        SpeedText::NonNegative => "the former",
    }),
    answer("speed-may-be-unsupported", "a job may have no speed: `this feature or command is not currently supported`", "9.1", |p| yes(p.speed_may_be_unsupported)),
    words("limiter-rounding", "the rate limiter stretches a slice by", "9.2", |p| since(p, "fractions", &[((2, 10), "whole slices"), ((2, 12), "fractions")])),
];

impl Aspect {
    /// The aspect called `name`, if there is one.
    pub fn by_name(name: &str) -> Option<&'static Aspect> {
        ASPECTS.iter().find(|aspect| aspect.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::REFERENCE;

    #[test]
    fn names_are_unique_and_read_back() {
        for (at, aspect) in ASPECTS.iter().enumerate() {
            assert!(ASPECTS[..at].iter().all(|other| other.name != aspect.name));
            assert!(Aspect::by_name(aspect.name).is_some());
        }
        assert!(Aspect::by_name("weather").is_none());
    }

    /// The fields of a profile, as its `Debug` names them, are the switches: none is left out.
    #[test]
    fn every_switch_has_a_row_and_every_row_that_is_no_words_a_switch() {
        let text = format!("{REFERENCE:#?}");
        let mut fields: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("    ")?.split_once(": "))
            .filter(|(field, _)| !field.starts_with(' '))
            .map(|(field, _)| field.replace('_', "-"))
            .filter(|field| !matches!(field.as_str(), "name" | "summary" | "since"))
            .collect();
        let mut rows: Vec<&str> = ASPECTS
            .iter()
            .filter(|aspect| aspect.told != Told::Words)
            .map(|aspect| aspect.name)
            .collect();
        fields.sort_unstable();
        rows.sort_unstable();
        assert_eq!(fields, rows);
    }

    #[test]
    fn a_row_shows_what_profiles_that_behave_differently_differ_in() {
        for (at, one) in Profile::ALL.iter().enumerate() {
            for other in &Profile::ALL[..at] {
                let differ = ASPECTS
                    .iter()
                    .filter(|aspect| aspect.told != Told::Words)
                    .any(|aspect| (aspect.value)(one) != (aspect.value)(other));
                assert_eq!(
                    differ,
                    !one.behaves_as(other),
                    "{} {}",
                    one.name,
                    other.name
                );
            }
        }
    }

    /// Where `reference` is as no release is, a number says why, or a letter.
    #[test]
    fn what_no_release_does_has_a_reason() {
        for aspect in ASPECTS.iter().filter(|aspect| aspect.told != Told::Words) {
            let ours = (aspect.value)(&REFERENCE);
            let mut releases = Profile::ALL.iter().filter(|one| one.since.is_some());
            let alone = releases.all(|one| (aspect.value)(one) != ours);
            let numbered = crate::profile::DIFFERENCES.iter().any(|difference| {
                matches!(difference.shown, crate::profile::Where::Switches(names) if names.contains(&aspect.name))
            });
            assert!(
                !alone || numbered || !aspect.why.is_empty(),
                "{}",
                aspect.name
            );
        }
    }

    #[test]
    fn every_row_tells_two_profiles_apart() {
        for aspect in ASPECTS {
            let first = (aspect.value)(Profile::ALL[0]);
            assert!(
                Profile::ALL
                    .iter()
                    .any(|profile| (aspect.value)(profile) != first),
                "{}",
                aspect.name
            );
        }
    }
}
