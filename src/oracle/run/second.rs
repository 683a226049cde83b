//! A second look at what was rejected.
//!
//! A recording is judged as that of the only client, which shows everything between its first line and its last. Where
//! that is contradicted, it may be otherwise: another client was at work, or whoever wrote the recording down left kinds
//! of events out. Neither is assumed without a sign of it in the recording itself: of the one, a job that nobody here
//! asked for; of the other, that several events were due of kinds that never come. A single one that is missing is a
//! fault.

use std::io::{self, BufRead, BufReader, Cursor, Read, Seek};

use blockjob_model::Status;
use blockjob_model::step::Kinds;

use super::{Look, add_history, look};
use crate::oracle::explain::{self, Keeping};
use crate::oracle::judge::trial::Gaps;
use crate::oracle::judge::{Extent, Observer};
use crate::oracle::verdict::Verdict;
use crate::oracle::watch::Watch;
use crate::oracle::{BUFFER_BYTES, Options};

/// So many events have to be missing, of kinds that never come, to show that somebody left them out.
const MISSING_MIN: u64 = 2;
/// So many statuses in one place show it as well as fewer in several.
const AT_ONCE_MIN: u64 = 3;
/// So many show it even where something else is wrong: then it is said what is wrong with the rest.
const CERTAINLY_MISSING_MIN: u64 = 4;
/// So many commands without any answer show the same of answers.
const UNANSWERED_MIN: u64 = 2;
/// A recording that has no greeting and not so many messages is too short to show what it leaves out.
const MESSAGES_MIN: u64 = 4;

/// How the names of the rules begin that are broken whatever is missing elsewhere: those of what a single message says.
const OF_ONE_MESSAGE: [&str; 20] = [
    "argument",
    "error-class",
    "error-names-",
    "error-operation",
    "error-policy",
    "event-job-type",
    "event-of-another-version",
    "event-shape",
    "id-malformed",
    "id-not-malformed",
    "message-shape",
    "negative-speed-accepted",
    "progress-",
    "query-order",
    "query-shape",
    "query-twice",
    "query-type",
    "refusal-text",
    "reply-",
    "text-of-another-version",
];

/// How a recording is judged that is not as it was taken to be.
struct Instead {
    options: Options,
    note: String,
}

/// What a second look shows.
#[derive(Default)]
struct Second {
    instead: Option<Instead>,
    /// Without a sign of it: that it was accepted if another client were at work.
    would_be_shared: bool,
}

/// Judges the trace in a file, and tells `watch` of its steps.
pub fn check_file<F: Read + Seek>(
    name: &str,
    mut file: F,
    options: &Options,
    mut watch: Option<Watch<'_>>,
) -> Verdict {
    let verdict = look(name, again(&mut file), options, &mut watch).verdict;
    if verdict.fault().is_none() {
        return verdict;
    }
    let second = second_look(
        verdict.fault().map(|fault| fault.rule),
        options,
        |options| {
            file.rewind().ok()?;
            Some(look(name, again(&mut file), options, &mut None))
        },
    );
    let mut options = *options;
    let mut verdict = verdict;
    if let Some(instead) = second.instead
        && file.rewind().is_ok()
    {
        options = instead.options;
        if let Some(watch) = &mut watch {
            watch.again();
        }
        verdict = look(name, again(&mut file), &options, &mut watch).verdict;
        verdict.notes.push(instead.note);
    } else if second.would_be_shared {
        verdict.notes.push(hint());
    }
    if verdict.fault().is_some() && file.rewind().is_ok() {
        add_history(&mut verdict, again(&mut file), &options);
    }
    verdict
}

fn again<F: Read>(file: &mut F) -> BufReader<&mut F> {
    BufReader::with_capacity(BUFFER_BYTES, file)
}

/// The same for what can be read only once: it is kept, up to a bound, for the second look and the explanation.
///
/// What is live is looked at again at its fault, when more is still to come. What is taken to have been left out may be
/// in that; then the rest of it is not as it was taken to be, and it is looked at once more.
pub fn check_once(
    name: &str,
    reader: impl BufRead,
    options: &Options,
    mut watch: Option<Watch<'_>>,
) -> Verdict {
    let mut keeping = Keeping::new(reader);
    let mut verdict = look(name, &mut keeping, options, &mut watch).verdict;
    if verdict.fault().is_none() {
        return verdict;
    }
    let begun = keeping.kept().map(<[u8]>::to_vec);
    if !options.live {
        keeping.read_on();
    }
    let (kept, mut rest) = keeping.into_parts();
    let Some(mut kept) = kept else {
        if let Some(begun) = begun {
            verdict.notes.push(format!(
                "judged once: more than {} MiB were to be read, and of what can be read only once no more is kept; \
                 as a file it would be looked at again for what it may leave out",
                explain::KEPT_MAX_BYTES >> 20
            ));
            add_history(&mut verdict, &begun[..], options);
        } else {
            verdict.notes.push(not_kept());
        }
        return verdict;
    };
    let rule = verdict.fault().map(|fault| fault.rule);
    let mut believed = *options;
    let mut again = false;
    // Each time around some kind has come that had not come before, or all has been read.
    loop {
        let second = second_look(rule, &believed, |options| {
            Some(look(name, &kept[..], options, &mut None))
        });
        if (second.instead.is_some() || again)
            && let Some(watch) = &mut watch
        {
            watch.again();
        }
        let Some(instead) = second.instead else {
            if again {
                verdict = look(name, &kept[..], options, &mut watch).verdict;
            }
            if second.would_be_shared {
                verdict.notes.push(hint());
            }
            add_history(&mut verdict, &kept[..], options);
            return verdict;
        };
        // The rest may be still to come.
        let mut keeping = Keeping::new(Cursor::new(kept).chain(rest));
        let found = look(name, &mut keeping, &instead.options, &mut watch);
        let stands = !found.gaps.belied;
        let (read, both) = keeping.into_parts();
        let Some(mut read) = read else {
            let (kept, note) = if stands {
                (found.verdict, instead.note)
            } else {
                (verdict, not_kept())
            };
            verdict = kept;
            verdict.notes.push(note);
            return verdict;
        };
        if stands && !believed.live {
            let mut verdict = found.verdict;
            verdict.notes.push(instead.note);
            if verdict.fault().is_some() {
                add_history(&mut verdict, &read[..], &instead.options);
            }
            return verdict;
        }
        if stands {
            // All there is has been read, and is looked at as a whole.
            believed.live = false;
        }
        again = true;
        let (begun, after) = both.into_inner();
        let left = begun.get_ref().get(begun.position() as usize..);
        read.extend_from_slice(left.unwrap_or_default());
        (kept, rest) = (read, after);
    }
}

/// Judges a trace that is in memory, with the second look and without an explanation.
pub fn judge_twice(trace: &[u8], options: &Options) -> Verdict {
    let verdict = look("", trace, options, &mut None).verdict;
    let Some(fault) = verdict.fault() else {
        return verdict;
    };
    let second = second_look(Some(fault.rule), options, |options| {
        Some(look("", trace, options, &mut None))
    });
    match second.instead {
        Some(instead) => look("", trace, &instead.options, &mut None).verdict,
        None => verdict,
    }
}

fn not_kept() -> String {
    format!(
        "what led there is not shown: more than {} MiB were read before, and of what can be read only \
         once no more is kept; check it as a file",
        explain::KEPT_MAX_BYTES >> 20
    )
}

/// Looks for what may explain a rejection by this rule; `look` reads the recording from its beginning.
fn second_look(
    rule: Option<&str>,
    options: &Options,
    mut look: impl FnMut(&Options) -> Option<Look>,
) -> Second {
    let mut second = Second::default();
    let shared = Options {
        observer: Observer::Shared,
        ..*options
    };
    if options.observer == Observer::Auto
        && let Some(found) = look(&shared)
        && is_accepted(&found)
    {
        if let Some(line) = found.others_at {
            let note =
                format!("line {line} shows another client: judged as by `--observer shared`");
            second.instead = Some(Instead {
                options: shared,
                note,
            });
            return second;
        }
        second.would_be_shared = true;
    }
    // An answer may come before what it was to come after.
    let of_one = |rule: &str| {
        rule != "reply-too-early" && OF_ONE_MESSAGE.iter().any(|name| rule.starts_with(name))
    };
    if options.extent == Extent::Auto && !rule.is_some_and(of_one) {
        second.instead = left_out(options, &mut look);
    }
    second
}

/// Looks for kinds of messages that the recording leaves out.
fn left_out(options: &Options, look: &mut impl FnMut(&Options) -> Option<Look>) -> Option<Instead> {
    let of = |extent, observer| Options {
        observer,
        extent,
        ..*options
    };
    let found = look(&of(Extent::Survey, options.observer))?.gaps;
    let unseen = found.came.others();
    let short = !found.greeted && found.told + found.answered < MESSAGES_MIN;
    if short || unseen.is_empty() && found.answered > 0 {
        return None;
    }
    let without = of(Extent::Without(unseen), options.observer);
    let shared = of(Extent::Without(unseen), Observer::Shared);
    let judged = look(&without)?;
    let no_status = Status::ALL.iter().all(|&status| !found.came.has(status));
    // Of a few lines cut out of a recording anything may be missing in one place. Of a whole one it is a sign where it is
    // every status, or many, or how jobs begin; and while it is still written there is but one place, the first.
    let there = |gaps: Gaps| {
        let begun = gaps.lacks.has(Status::Created);
        let many = no_status || options.live || begun || gaps.missing >= AT_ONCE_MIN;
        gaps.greeted && many || gaps.places >= MISSING_MIN
    };
    if judged.gaps.missing >= MISSING_MIN && there(judged.gaps) {
        let note = format!(
            "events were left out: none of {}, though {} of them were due; judged without them",
            names(judged.gaps.lacks),
            judged.gaps.missing
        );
        let others = options.observer == Observer::Auto
            && !is_accepted(&judged)
            && look(&shared).is_some_and(|found| is_accepted(&found) && found.others_at.is_some());
        let wrong = !is_accepted(&judged) && !others;
        if wrong && judged.gaps.missing < CERTAINLY_MISSING_MIN {
            return None;
        }
        return Some(Instead {
            options: if others { shared } else { without },
            note,
        });
    }
    let filtered = of(Extent::Unanswered, options.observer);
    let unanswered = found.asked >= UNANSWERED_MIN && found.answered == 0;
    (unanswered && is_accepted(&look(&filtered)?)).then(|| Instead {
        options: filtered,
        note: format!(
            "none of {} commands is answered: judged as by `--filtered`",
            found.asked
        ),
    })
}

fn is_accepted(look: &Look) -> bool {
    look.verdict.exit_code() == 0
}

fn names(kinds: Kinds) -> String {
    let names: Vec<String> = kinds.each().map(|kind| kind.to_string()).collect();
    names.join(", ")
}

fn hint() -> String {
    "nothing in it shows another client; if one was at work, `--observer shared` accepts it"
        .to_owned()
}

impl<R: BufRead> Keeping<R> {
    /// Reads all there is, and keeps it, unless that is too much.
    fn read_on(&mut self) {
        let mut piece = vec![0; 1 << 16];
        while self.kept().is_some() {
            match self.read(&mut piece) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What was read before stands.
                Err(_) => return,
            }
        }
    }
}
