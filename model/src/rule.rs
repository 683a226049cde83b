//! The rules that recorded behaviour is held against: each has a name, a sentence, and its place in
//! SEMANTICS.md.
//!
//! Names are public interface. [`rule!`](crate::rule!) looks one up while compiling, so that nothing is
//! rejected by a rule that is not in the table; a test sees to it that the table has no others.

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What it demands, in one sentence without a full stop.
    pub sentence: &'static str,
    /// The section of SEMANTICS.md, with the property (P18) where there is one.
    pub section: &'static str,
}

/// Why something is rejected, in words: what it is about; because …, but ….
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    text: String,
    because_at: u32,
    but_at: u32,
}

/// What stands before what contradicts.
const BUT: &str = ", but ";

impl Reason {
    /// Of what `about` names (nothing, where it is empty): because one thing, but another.
    pub fn new(about: &str, because: &str, but: &str) -> Reason {
        let colon = if about.is_empty() { "" } else { ": " };
        let text = format!("{about}{colon}because {because}{BUT}{but}");
        let place = |length: usize| (text.len() - length) as u32;
        Reason {
            but_at: place(but.len()),
            because_at: place(but.len() + BUT.len() + because.len()),
            text,
        }
    }

    /// What it is about: an event, a reply, a job. Empty where the rest says it.
    pub fn about(&self) -> &str {
        let end = self.because_at as usize - "because ".len();
        self.text[..end].trim_end_matches(": ")
    }

    /// What is known.
    pub fn because(&self) -> &str {
        &self.text[self.because_at as usize..self.but_at as usize - BUT.len()]
    }

    /// What contradicts it.
    pub fn but(&self) -> &str {
        &self.text[self.but_at as usize..]
    }
}

/// The whole sentence.
impl std::ops::Deref for Reason {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// The rule called so, found while compiling: `rule!("status-transition")`.
#[macro_export]
macro_rules! rule {
    ($name:literal) => {
        const { $crate::rule::named($name) }
    };
}

const fn rule(name: &'static str, section: &'static str, sentence: &'static str) -> Rule {
    Rule {
        name,
        sentence,
        section,
    }
}

/// The rule called `name`.
///
/// # Panics
/// There is none; in a constant that is an error of compilation.
pub const fn named(name: &str) -> &'static Rule {
    match find(name) {
        Some(rule) => rule,
        None => panic!("no rule has this name; add it to the table in model/src/rule.rs"),
    }
}

/// The rule called `name`, if there is one.
pub const fn find(name: &str) -> Option<&'static Rule> {
    let mut place = 0;
    while place < RULES.len() {
        if same(RULES[place].name, name) {
            return Some(&RULES[place]);
        }
        place += 1;
    }
    None
}

/// Whether two names are the same; `==` is not there yet while compiling.
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut place = 0;
    while place < one.len() {
        if one[place] != other[place] {
            return false;
        }
        place += 1;
    }
    true
}

/// Every rule, by what it is about.
#[rustfmt::skip]
pub static RULES: &[Rule] = &[
    // Statuses.
    rule("status-transition", "1b", "a job goes from one status to another only where the transition table allows it"),
    rule("status-repeated", "1b", "a status is announced when it changes, and only then"),
    rule("status-after-null", "1b", "nothing follows the status null"),
    rule("after-null", "1b", "nothing is seen of a job that is gone"),
    rule("created-unasked", "2.1", "a job comes into being only when its creation is asked for"),
    rule("id-in-use", "2.1", "no two jobs have one id at the same time"),
    rule("id-malformed", "2.1", "an id is a letter followed by letters, digits, `-`, `.` or `_`"),
    rule("unknown-job", "2.1", "nothing is said of an id that no job has"),
    rule("started-unasked", "2.2", "a job runs only when its start is asked for"),
    rule("start-order", "6.1", "the jobs of one transaction start in its order"),
    rule("ready-unexpected", "5.4", "only a job that has something to converge with becomes ready"),
    rule("paused-unasked", "4.2", "a job pauses only when a pause is requested, and at a pause point"),
    rule("pause-in-force", "4.6", "a pause lasts until it is withdrawn or overridden by a forced cancel"),
    rule("cancel-lost", "5.3", "a job that is cancelled by force, or whose transaction is brought down, does not succeed"),
    rule("ended-unasked", "5.4", "a job that converges ends well only when it is ready and told to finish"),
    rule("group-aborting", "6.5", "when one member of a transaction fails or is cancelled, none of them succeeds"),
    rule("pending-before-all-waiting", "6.3", "no member of a transaction is pending before the runs of all have ended, the newest first"),
    rule("aborting-unasked", "6.5", "a job aborts only when it or a member of its transaction failed or was cancelled"),
    rule("finalize-unasked", "2.8", "a transaction that its user finalizes is decided only when told to"),
    rule("dismiss-unasked", "2.8", "a job that its user dismisses stays until it is told to go"),
    rule("auto-dismiss-missing", "7.1", "a job that dismisses itself does so as soon as it is concluded"),
    // Events of block jobs.
    rule("event-of-non-block-job", "7.1", "only block jobs have BLOCK_JOB_* events"),
    rule("event-after-null", "7.4", "no event of a job follows its status null"),
    rule("ready-event-missing", "7.4", "BLOCK_JOB_READY follows the status ready at once"),
    rule("ready-event-order", "7.4", "BLOCK_JOB_READY comes right after the status ready, once"),
    rule("pending-event-missing", "7.4", "BLOCK_JOB_PENDING follows the status pending of a job its user finalizes at once"),
    rule("pending-event-order", "7.4", "BLOCK_JOB_PENDING comes right after the status pending of a job its user finalizes, once"),
    rule("terminal-event-missing", "7.1", "a block job announces how it ended before it is concluded"),
    rule("terminal-event-order", "7.4", "a terminal event comes after pending or aborting, in a transaction newest member first, once"),
    rule("terminal-event-kind", "5.3", "BLOCK_JOB_CANCELLED tells of a forced cancel, BLOCK_JOB_COMPLETED of every other end"),
    rule("terminal-event-error", "10.1 P48", "an aborted job ends with an error, a committed one without"),
    rule("cancelled-unasked", "5.3", "BLOCK_JOB_CANCELLED comes only of a job that was cancelled by force"),
    rule("error-event-order", "8", "BLOCK_JOB_ERROR comes only of a job that performs I/O"),
    rule("error-policy", "8", "an I/O error is handled by the policy the job was created with"),
    rule("error-operation", "8", "an I/O error is of an operation that this kind of job performs"),
    rule("success-after-error", "8", "an I/O error that is reported, and any that a job is listed with, is the one with which its run ends"),
    rule("event-shape", "7.1", "an event carries the members of its kind, of the right types"),
    rule("event-job-type", "7.1", "the type of a job does not change"),
    rule("event-of-another-version", "11", "an event is one that the version judged has"),
    // Progress and speed.
    rule("progress-above-total", "9.3", "no more is done than there is to do"),
    rule("progress-backwards", "9.3", "progress only grows"),
    rule("speed-not-set", "9.1", "the rate limit shown is the one last set"),
    rule("speed-not-negative", "9.1", "only a negative speed is refused for being one"),
    rule("negative-speed-accepted", "9.1", "a negative speed is refused"),
    // Commands and replies.
    rule("verb-accepted", "1b", "what the status or the state of a job does not permit is refused"),
    rule("verb-refused", "1b", "what the status and the state of a job permit is not refused"),
    rule("verb-accepted-for-nobody", "2.0", "what is asked of an id that no job has is refused"),
    rule("refused-what-is-permitted", "1b", "what the verb table permits in a status is not refused for that status"),
    rule("refusal-names-status", "1b", "a refusal names the status that the job is in"),
    rule("refusal-text", "Appendix A", "a refusal has the engine's own words for its reason"),
    rule("error-class", "2.0", "an error has the class that goes with its reason"),
    rule("error-names-other-job", "2.0", "an error speaks of the job that the command was for"),
    rule("error-names-other-verb", "1b", "a refusal names the verb of its command"),
    rule("text-of-another-version", "11", "an error has the words of the version judged"),
    rule("argument-error", "2.0", "an error about an argument is about one that is wrong"),
    rule("arguments-accepted", "2.0", "a command whose arguments are wrong is refused"),
    rule("reply-too-early", "7.4", "a command that waits for what it set in motion is not answered before that is done"),
    rule("reply-without-call", "2.0", "only a call that is under way returns"),
    rule("reply-without-command", "7.4", "a reply answers a command"),
    rule("reply-order", "7.4", "commands are answered in their order"),
    rule("reply-id", "7.4", "a reply echoes the id of its command"),
    rule("reply-shape", "2.0", "a reply carries what its command returns"),
    rule("reply-return-and-error", "2.0", "a reply has a `return` or an `error`, never both"),
    rule("message-shape", "7.1", "a daemon sends a greeting, an event or a reply"),
    rule("call-inside-call", "4.9", "a thread has one call under way at a time"),
    // Commands that make jobs.
    rule("created-event-missing", "2.1", "a command that makes a job answers after the job was announced"),
    rule("start-failed-but-succeeded", "2.2", "a command that starts a job succeeds only when the job was started"),
    rule("creation-failed-but-alive", "2.1", "a command that fails leaves no job behind"),
    rule("created-and-gone", "2.1", "a creation whose job was given up does not succeed"),
    rule("refused-and-created", "2.1", "a creation that is refused makes no job"),
    rule("id-not-in-use", "2.1", "only an id that a job has is refused for being in use"),
    rule("id-not-malformed", "2.1", "only an id that is not well formed is refused for that"),
    // Queries.
    rule("query-shape", "2.3", "a query returns a list of jobs, each with the members of its kind"),
    rule("query-refused", "2.3", "a query succeeds"),
    rule("query-twice", "2.3", "a query lists a job once"),
    rule("query-order", "2.0", "a query lists the newest job first"),
    rule("query-misses-job", "2.3", "a query lists every job there is"),
    rule("query-lists-dead-job", "2.3", "a query lists no job that is gone"),
    rule("query-lists-non-block-job", "2.0", "query-block-jobs lists block jobs only"),
    rule("query-status", "2.3", "a query shows the status that a job has"),
    rule("query-type", "2.3", "a query shows the type that a job has"),
    rule("query-ready", "2.3", "`ready` goes with the status"),
    rule("query-paused", "2.3", "a job is listed as paused exactly while a pause is requested"),
    rule("query-error", "2.3", "a job is listed with an error exactly when its run failed"),
    rule("query-flags", "2.3", "a job is listed with the flags it was created with"),
    rule("query-io-status", "8", "`io-status` follows from the I/O errors that stopped the job"),
    rule("query-half-done", "7.1", "nothing is answered while a job is being concluded"),
    rule("query-inconsistent", "2.3", "a query shows all jobs at one moment between its call and its answer"),
    // What only the engine's own trace shows.
    rule("callback-order", "3.2", "the callbacks of a driver come in their order, each as often as it may"),
    rule("main-loop-serial", "3.1", "the main loop runs one callback at a time (P27)"),
    rule("io-while-paused", "10.1 P18", "a paused job performs no I/O"),
    rule("io-outside-run", "10.1 P19", "a job performs I/O only while its run lasts"),
    rule("pause-lost", "10.1 P23", "a pause requested before a pause point holds the driver there"),
    rule("point-order", "4.2", "a driver enters and leaves its pause points in turn"),
    rule("left-undone", "10.1 P42", "at the end of a run every job is over and every call has returned"),
    rule("no-explanation-found", "10", "a thin acceptor that finds no explanation has judged nothing"),
    // What only two recordings of one run show.
    rule("other-source-status", "1b", "two recordings of one run show a job the same statuses in the same order"),
    rule("other-source-job", "2.1", "a job that one recording shows is not missing between the jobs of another of the same run"),
    rule("other-source-verb", "1b", "a command is answered as another recording of the run says its verb was looked up"),
    rule("other-source-end", "10.1 P48", "two recordings of one run agree on whether a job failed"),
    // What only QEMU's trace log shows.
    rule("log-shape", "1b", "the log names statuses and verbs that exist"),
    rule("table-contradicted", "1b", "the log calls allowed what the transition table allows, and nothing else"),
    rule("verb-table-contradicted", "1b", "the log calls permitted what the verb table permits, and nothing else"),
    rule("verb-outcome", "1b", "a command is answered as its verb was looked up"),
    rule("result", "2.10", "a job has an error exactly when it aborts, and no result before its run has ended"),
    rule("run-end", "2.10", "a run ends in running or ready when it succeeded, in aborting when it failed"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_gives_back_what_it_was_made_of() {
        for about in ["", "job-pause of line 3", "READY of job 'a: b, but c'"] {
            let reason = Reason::new(about, "it is 1, but 2", "x, because y");
            assert_eq!(
                [reason.about(), reason.because(), reason.but()],
                [about, "it is 1, but 2", "x, because y"]
            );
            assert!(reason.ends_with("because it is 1, but 2, but x, because y"));
        }
        assert!(Reason::new("", "a", "b").starts_with("because"));
    }

    #[test]
    fn names_are_unique_and_sentences_are_sentences() {
        for (place, rule) in RULES.iter().enumerate() {
            assert!(
                RULES[place + 1..]
                    .iter()
                    .all(|other| other.name != rule.name),
                "{} is there twice",
                rule.name
            );
            assert!(
                rule.sentence.len() > 10 && !rule.sentence.ends_with('.'),
                "{}",
                rule.name
            );
            assert!(
                rule.name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
                "{}",
                rule.name
            );
            assert_eq!(find(rule.name), Some(rule));
        }
        assert_eq!(find("status"), None);
    }
}
