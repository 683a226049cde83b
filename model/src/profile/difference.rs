//! Each departure of `reference` from QEMU, numbered as in SEMANTICS.md §12 and DECISIONS.md: what
//! QEMU does, what `reference` does instead, and why.
//!
//! A departure the model can tell is tied to switches: a profile is on QEMU's side of it exactly
//! if one of them stands otherwise than in `reference`. One it cannot tell says why not. A number
//! under which nothing differs says so, so that every number of §12 has its place.

/// Where a difference shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// In these switches, by the names of [`ASPECTS`](super::ASPECTS).
    Switches(&'static [&'static str]),
    /// In no switch; the sentence says why the model cannot tell.
    Words(&'static str),
    /// Nowhere: `reference` does as QEMU does.
    Nowhere,
}

/// One numbered point of SEMANTICS.md §12.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Its number.
    pub number: u8,
    /// A short name.
    pub name: &'static str,
    /// What QEMU does.
    pub qemu: &'static str,
    /// What `reference` does.
    pub reference: &'static str,
    /// Why.
    pub why: &'static str,
    /// Where it shows.
    pub shown: Where,
    /// The profiles on QEMU's side, newest first; none where nothing differs.
    pub profiles: &'static [&'static str],
    /// The properties that the explorer sees these profiles break for it, by their numbers.
    pub breaks: &'static [&'static str],
}

impl Difference {
    /// The point of this number, if §12 has it.
    pub fn by_number(number: u8) -> Option<&'static Difference> {
        DIFFERENCES
            .iter()
            .find(|difference| difference.number == number)
    }
}

const QEMU: &[&str] = &[
    "qemu-10.0",
    "qemu-8.2",
    "qemu-7.2",
    "qemu-6.2",
    "qemu-6.0",
    "qemu-4.2",
    "qemu-2.12",
    "qemu-2.11",
];
const SINCE_2_12: &[&str] = &[
    "qemu-10.0",
    "qemu-8.2",
    "qemu-7.2",
    "qemu-6.2",
    "qemu-6.0",
    "qemu-4.2",
    "qemu-2.12",
];
const SINCE_3_0: &[&str] = &[
    "qemu-10.0",
    "qemu-8.2",
    "qemu-7.2",
    "qemu-6.2",
    "qemu-6.0",
    "qemu-4.2",
];
const SINCE_7_2: &[&str] = &["qemu-10.0", "qemu-8.2", "qemu-7.2"];
const UNTIL_6_1: &[&str] = &["qemu-6.0", "qemu-4.2", "qemu-2.12", "qemu-2.11"];
const UNTIL_2_12: &[&str] = &["qemu-2.12", "qemu-2.11"];
const UNTIL_2_11: &[&str] = &["qemu-2.11"];
const NOBODY: &[&str] = &[];

/// Every point of SEMANTICS.md §12.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        number: 1,
        name: "unstarted members hang an abort",
        qemu: "An abort waits for the run of every member, also of one that was never started: the monitor never answers again.",
        reference: "Members that never started are finalised at once, with ECANCELED.",
        why: "A wait for something that cannot happen is no semantics; whoever issued the failing transaction loses every other job with it.",
        shown: Where::Switches(&["unstarted-peers-end"]),
        profiles: QEMU,
        breaks: &["STUCK", "P39", "P42", "P44"],
    },
    Difference {
        number: 2,
        name: "a failed prepare spares the trigger",
        qemu: "When a member's prepare fails, the group is aborted in the name of the member that brought the decision about; if that is another one, it commits, and the failing one reports CANCELLED.",
        reference: "A failed prepare fails the whole group, trigger included; the failing member keeps its own error.",
        why: "All or nothing (P13) is what a transaction is for.",
        shown: Where::Switches(&["prepare-failure-takes-all"]),
        profiles: SINCE_2_12,
        breaks: &["P12", "P13", "LIFECYCLE"],
    },
    Difference {
        number: 3,
        name: "a cancelled success commits",
        qemu: "A cancelled job whose run returns success commits, and then reports CANCELLED.",
        reference: "Cancellation folds into the result before commit or abort is chosen.",
        why: "What was reported as cancelled must not have happened (P24, P31).",
        shown: Where::Switches(&["cancel-folds"]),
        profiles: UNTIL_2_11,
        breaks: &["P12", "P13", "P24", "P31", "P42", "LIFECYCLE"],
    },
    Difference {
        number: 4,
        name: "cancelling a waiting member only marks it",
        qemu: "Cancelling a member that waits for its group sets a flag: the group commits, and this member reports CANCELLED.",
        reference: "Cancelling a waiting member aborts the group.",
        why: "A cancel before the decision shows in it (P24).",
        shown: Where::Switches(&["waiting-cancel-aborts"]),
        profiles: UNTIL_2_11,
        breaks: &["P42"],
    },
    Difference {
        number: 5,
        name: "soft becomes forced after convergence",
        qemu: "A soft cancel in waiting or pending is a forced one.",
        reference: "The same.",
        why: "There is nothing left to finish, so finishing where it stands cannot be what is asked.",
        shown: Where::Nowhere,
        profiles: NOBODY,
        breaks: &[],
    },
    Difference {
        number: 6,
        name: "the event's kind follows the flag",
        qemu: "Whether COMPLETED or CANCELLED is sent depends on the cancel flag, not on the result: a peer that failed by itself reports CANCELLED.",
        reference: "The same (P16), with the error kept beside it in the query.",
        why: "Clients know it so; the result is not lost.",
        shown: Where::Nowhere,
        profiles: NOBODY,
        breaks: &[],
    },
    Difference {
        number: 7,
        name: "a pause point is no loop",
        qemu: "One wake ends a pause, whatever is still outstanding: a soft cancel, a completion or any enter lets the job run while it is drained.",
        reference: "A pause point is a loop; only resume-to-zero or a forced cancel leaves it.",
        why: "Whoever drained the job relies on its being quiet (P19).",
        shown: Where::Switches(&["pause-point-loops"]),
        profiles: QEMU,
        breaks: &[],
    },
    Difference {
        number: 8,
        name: "stop errors stack up",
        qemu: "Each stop error adds a pause, also where the user's already holds; one resume releases one of them, and the job is stuck until it is cancelled.",
        reference: "The user's pause and a stop error share one slot; one resume releases it.",
        why: "Nobody can release what nobody can name (P4).",
        shown: Where::Switches(&["stop-takes-one-slot"]),
        profiles: UNTIL_2_12,
        breaks: &["P4"],
    },
    Difference {
        number: 9,
        name: "a lock is leaked",
        qemu: "A repeated pause, and a needless resume, return with the AioContext still acquired.",
        reference: "Not reproduced: locks are released where they are taken.",
        why: "A plain mistake.",
        shown: Where::Words("the model has no locks"),
        profiles: UNTIL_2_11,
        breaks: &[],
    },
    Difference {
        number: 10,
        name: "a job is woken twice",
        qemu: "Two enters from another thread, or an enter beside the sleep timer, can schedule the body twice.",
        reference: "Not reproduced: a park ends once (P20).",
        why: "A plain mistake.",
        shown: Where::Words("a body of the model is in one place; waking it twice cannot be said"),
        profiles: UNTIL_2_11,
        breaks: &[],
    },
    Difference {
        number: 11,
        name: "wakes are lost",
        qemu: "An enter while the job is busy is dropped: what a driver tests before it yields can come true unnoticed.",
        reference: "Wakes are sticky: an enter while busy is remembered, and predicate test plus park are one step.",
        why: "A lost wakeup is a hang that nobody can provoke on purpose (P25).",
        shown: Where::Switches(&["wakes-are-sticky"]),
        profiles: QEMU,
        breaks: &[],
    },
    Difference {
        number: 12,
        name: "pause_all and resume_all are not paired",
        qemu: "resume_all releases every job there is then, also those created since pause_all: they lose the pause they were created with.",
        reference: "pause_all returns a token; resume_all takes it and releases exactly those jobs.",
        why: "A release belongs to its hold (P3).",
        shown: Where::Words(
            "no command of QEMU reaches pause_all; its drained sections are the internal pauses of these profiles",
        ),
        profiles: UNTIL_2_11,
        breaks: &[],
    },
    Difference {
        number: 13,
        name: "READY may lapse",
        qemu: "An I/O error takes a mirror's convergence back while `ready` stays true; complete is then refused in the driver's words.",
        reference: "Ready means converged.",
        why: "A status that does not say what is the case is none.",
        shown: Where::Switches(&["ready-may-lapse"]),
        profiles: UNTIL_2_11,
        breaks: &[],
    },
    Difference {
        number: 14,
        name: "the documentation says otherwise",
        qemu: "Pausing emits an event, standby accepts complete, a reported error ends in COMPLETED: old command documentation denies all three.",
        reference: "As the code does.",
        why: "Clients meet the code.",
        shown: Where::Nowhere,
        profiles: NOBODY,
        breaks: &[],
    },
    Difference {
        number: 15,
        name: "results may be positive",
        qemu: "A positive result counts as failure when commit or abort is chosen, and elsewhere as success.",
        reference: "A result is success or a negative errno, by type.",
        why: "What cannot be written down need not be decided.",
        shown: Where::Words("a result of the model is success or an error"),
        profiles: QEMU,
        breaks: &[],
    },
    Difference {
        number: 16,
        name: "the queries disagree about errors",
        qemu: "`query-jobs` shows an error if an error object exists, `query-block-jobs` if the result is one.",
        reference: "Both report the same error.",
        why: "One job has one outcome.",
        shown: Where::Words(
            "it takes a driver that sets an error and returns success, and none is known to",
        ),
        profiles: SINCE_3_0,
        breaks: &[],
    },
    Difference {
        number: 17,
        name: "complete is not idempotent",
        qemu: "Each accepted complete calls the driver again; a mirror with `replaces` aborts the process at the second.",
        reference: "Complete is latched: repeated requests succeed and do nothing.",
        why: "Asking twice for the same thing is no mistake (D17).",
        shown: Where::Switches(&["complete-is-latched"]),
        profiles: QEMU,
        breaks: &["D17"],
    },
    Difference {
        number: 18,
        name: "an ended run still takes verbs",
        qemu: "Between the end of the run and the main loop's taking it over, the status still says running or ready: pause, set-speed, complete and cancel are accepted for a body that is gone.",
        reference: "After the run ended, verbs behave as in waiting, whatever the status still says.",
        why: "An accepted request must be able to have its effect (D18).",
        shown: Where::Switches(&["ended-is-waiting"]),
        profiles: QEMU,
        breaks: &["D18"],
    },
    Difference {
        number: 19,
        name: "synchronous success is not a commit",
        qemu: "The *_sync helpers return success for a job that waits or is pending, and may still abort.",
        reference: "Success of *_sync means concluded; another call waits for decided.",
        why: "Whoever waits wants to know the outcome.",
        shown: Where::Words("waiting is what callers do with the model, not a request of it"),
        profiles: QEMU,
        breaks: &[],
    },
    Difference {
        number: 20,
        name: "finalize hides the failure of prepare",
        qemu: "Finalize answers success although prepare failed; only events and queries tell.",
        reference: "Finalize answers with the failure of prepare.",
        why: "The answer is to what was asked (D20).",
        shown: Where::Switches(&["finalize-reports-prepare"]),
        profiles: SINCE_2_12,
        breaks: &["D20"],
    },
    Difference {
        number: 21,
        name: "an id outlives null",
        qemu: "While anything still refers to a job that announced `null`, its id is refused to others.",
        reference: "The id is free when null is announced.",
        why: "Null says that it is gone.",
        shown: Where::Switches(&["id-is-free-at-null"]),
        profiles: QEMU,
        breaks: &[],
    },
    Difference {
        number: 22,
        name: "internal pauses are visible",
        qemu: "Every drained section of the block layer shows as a pair of status changes, paused and running.",
        reference: "Jobs pause for those who ask for it: the user, an error policy, pause_all, a drained section of the caller's.",
        why: "There is no block layer underneath that would drain.",
        shown: Where::Switches(&["internal-pauses"]),
        profiles: QEMU,
        breaks: &[],
    },
    Difference {
        number: 23,
        name: "finalisations nest",
        qemu: "Callbacks of a finalisation poll, so the completion of other jobs can happen inside.",
        reference: "The main loop does one thing at a time.",
        why: "A callback need not expect that the world changes under it (P27).",
        shown: Where::Switches(&["abort-newest-first"]),
        profiles: QEMU,
        breaks: &[],
    },
    Difference {
        number: 24,
        name: "a job cancelled before its first step runs",
        qemu: "The run is called even if the job was cancelled before its first step; drivers must look.",
        reference: "It is not run: abort, clean.",
        why: "Work nobody wants is not begun.",
        shown: Where::Switches(&["cancelled-before-run-is-skipped"]),
        profiles: QEMU,
        breaks: &[],
    },
    Difference {
        number: 25,
        name: "an unstarted job is cancelled without the flag",
        qemu: "A job cancelled before its start ends with ECANCELED and its cancel flag clear.",
        reference: "Outcome and cancel level are separate fields, never inferred from one another.",
        why: "The flag says what was asked, the outcome what became of it.",
        shown: Where::Words("such a job announces nothing, so that nobody sees the flag"),
        profiles: UNTIL_2_11,
        breaks: &[],
    },
    Difference {
        number: 26,
        name: "busy says little",
        qemu: "`busy` is false during a rate-limit sleep and during completion callbacks.",
        reference: "Queries show it, told under the lock from what the body rests in: true from the moment it is woken until it rests again. Nothing is inferred from it.",
        why: "Clients know the field; a flag of its own could contradict what decides (P26).",
        shown: Where::Words("the model does not show busy, and the oracle takes either value"),
        profiles: QEMU,
        breaks: &[],
    },
    Difference {
        number: 27,
        name: "io-status may be ok while stopped",
        qemu: "The `cont` of the machine resets io-status without resuming the jobs.",
        reference: "The same: resetting io-status is a request of its own, which forgets the error and leaves the pause.",
        why: "Whoever continues a machine has seen the error; whether its jobs go on is for who resumes them.",
        shown: Where::Nowhere,
        profiles: NOBODY,
        breaks: &[],
    },
    Difference {
        number: 28,
        name: "never-started jobs dismiss themselves",
        qemu: "A job that never started vanishes by itself, also with manual dismissal.",
        reference: "The same (P38).",
        why: "Nobody knows of it who could dismiss it.",
        shown: Where::Nowhere,
        profiles: NOBODY,
        breaks: &[],
    },
    Difference {
        number: 29,
        name: "cancel of a concluded job dismisses",
        qemu: "For callers inside QEMU, cancelling a concluded job dismisses it; a monitor is refused.",
        reference: "Cancel of a concluded job is refused for everybody.",
        why: "One function, one meaning.",
        shown: Where::Words("requests of the model come from outside"),
        profiles: QEMU,
        breaks: &[],
    },
    Difference {
        number: 30,
        name: "a job given up stays in its group",
        qemu: "A job that joined a group and is then given up before its start stays in the group's list.",
        reference: "Membership ends exactly once.",
        why: "A plain mistake, which creators avoided by joining last.",
        shown: Where::Words("no command reaches it: the creator joins as its last step"),
        profiles: UNTIL_2_11,
        breaks: &[],
    },
    Difference {
        number: 31,
        name: "the order of an abort is nobody's",
        qemu: "In which order the members of an aborting group come to aborting depends on the release, and on which of their runs end meanwhile; they are then finalised newest first.",
        reference: "An abort takes never-started members to their end at once, then the others one by one, newest first.",
        why: "The same commands give the same order (P47).",
        shown: Where::Switches(&["abort-newest-first"]),
        profiles: QEMU,
        breaks: &[],
    },
    Difference {
        number: 32,
        name: "ignored errors repeat without limit",
        qemu: "With policy ignore, a commit, backup or mirror repeats a failing request for ever, an event each time.",
        reference: "Ignore has a retry limit and a delay.",
        why: "A run that may not end keeps its group from deciding.",
        shown: Where::Words("how often a driver tries is the driver's"),
        profiles: QEMU,
        breaks: &[],
    },
    Difference {
        number: 33,
        name: "the order of the checks",
        qemu: "Resume checks its own condition before the verb table, pause and set-speed after it, a soft cancel looks for the user's pause first.",
        reference: "The same.",
        why: "The order decides which text the caller reads.",
        shown: Where::Nowhere,
        profiles: NOBODY,
        breaks: &[],
    },
    Difference {
        number: 34,
        name: "from unlimited to limited",
        qemu: "Setting a limit where there was none wakes a sleeping job.",
        reference: "It counts as a decrease: no wake.",
        why: "Whoever slows a job down does not want it to start at once.",
        shown: Where::Words(
            "whether a change of speed hurries is told to the model, which knows no numbers",
        ),
        profiles: SINCE_2_12,
        breaks: &[],
    },
    Difference {
        number: 35,
        name: "created jobs may be held more than once",
        qemu: "A job created on a drained node has a pause count above one.",
        reference: "The same.",
        why: "Its creation and the drained section hold it for reasons of their own.",
        shown: Where::Nowhere,
        profiles: NOBODY,
        breaks: &[],
    },
    Difference {
        number: 36,
        name: "complete after a soft cancel",
        qemu: "Once the driver has taken a soft cancel back, complete is accepted again.",
        reference: "After an accepted soft cancel complete is refused, and stays so, through stop errors and resumes.",
        why: "Who asked for an end without pivot must not get one (P32).",
        shown: Where::Switches(&["cancel-is-revocable"]),
        profiles: UNTIL_6_1,
        breaks: &["P6", "P42", "LIFECYCLE"],
    },
    Difference {
        number: 37,
        name: "drivers clear a cancel",
        qemu: "A mirror that has converged clears the cancel flag when it decides to finish; a cancel after that is a new request.",
        reference: "Nobody clears a cancel; levels only rise.",
        why: "A request is the caller's, not the driver's (P6).",
        shown: Where::Switches(&["cancel-is-revocable"]),
        profiles: UNTIL_6_1,
        breaks: &["P6", "P42", "LIFECYCLE"],
    },
    Difference {
        number: 38,
        name: "a resume swallows a stop error",
        qemu: "A stop error that arrives while `user_resume` runs is undone by the resume it met.",
        reference: "Io-status and the user's pause change in one step; a stop error during a resume wins.",
        why: "The error comes later than the resume was meant (P5).",
        shown: Where::Switches(&["stop-during-resume-wins"]),
        profiles: SINCE_7_2,
        breaks: &["P5"],
    },
    Difference {
        number: 39,
        name: "one resume for two pauses",
        qemu: "A stop error beside a user's pause needs two resumes, and only one is granted.",
        reference: "One resume releases both, as QEMU does since 3.0.",
        why: "See 8: they share one slot.",
        shown: Where::Switches(&["stop-takes-one-slot"]),
        profiles: UNTIL_2_12,
        breaks: &["P4"],
    },
    Difference {
        number: 40,
        name: "a late pause sticks",
        qemu: "A pause after the last pause point is never acknowledged and never released: a waiting, pending or concluded job says it is paused, and a soft cancel of it is refused.",
        reference: "The end of the run clears the pause, and pause is refused from then on.",
        why: "There is nothing left to pause (D40).",
        shown: Where::Switches(&["end-clears-pauses"]),
        profiles: QEMU,
        breaks: &["D18", "D40"],
    },
    Difference {
        number: 41,
        name: "error texts",
        qemu: "The oldest releases report the system's words for an errno; later ones the driver's, where it has some.",
        reference: "The engine's own texts (Appendix A) are contractual, a driver's are not.",
        why: "Scripts match the former.",
        shown: Where::Words("a driver's words are free"),
        profiles: UNTIL_2_11,
        breaks: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Aspect, Profile, REFERENCE, Told};

    #[test]
    fn every_number_of_section_12_stands_here_once_and_in_order() {
        let numbers: Vec<u8> = DIFFERENCES
            .iter()
            .map(|difference| difference.number)
            .collect();
        assert_eq!(numbers, (1..=41).collect::<Vec<u8>>());
    }

    /// A profile departs from `reference` in the switches of a difference exactly if the table
    /// counts it among those that do.
    #[test]
    fn the_table_and_the_switches_say_the_same() {
        for difference in DIFFERENCES {
            let Where::Switches(switches) = difference.shown else {
                continue;
            };
            assert!(!switches.is_empty(), "{}", difference.number);
            for profile in Profile::ALL {
                let departs = switches.iter().any(|name| {
                    let aspect = Aspect::by_name(name).expect("a switch of this name");
                    assert_ne!(aspect.told, Told::Words, "{name} is a switch");
                    (aspect.value)(profile) != (aspect.value)(&REFERENCE)
                });
                assert_eq!(
                    departs,
                    difference.profiles.contains(&profile.name),
                    "{} of {}",
                    difference.number,
                    profile.name
                );
            }
        }
    }

    #[test]
    fn what_differs_nowhere_is_nobodys_and_what_differs_is_somebodys() {
        for difference in DIFFERENCES {
            assert_eq!(
                difference.shown == Where::Nowhere,
                difference.profiles.is_empty(),
                "{}",
                difference.number
            );
            if !matches!(difference.shown, Where::Switches(_)) {
                assert!(difference.breaks.is_empty(), "{}", difference.number);
            }
            for name in difference.profiles {
                let profile = Profile::by_name(name).expect("a profile of this name");
                assert!(profile.since.is_some(), "reference departs from nothing");
            }
        }
    }
}
