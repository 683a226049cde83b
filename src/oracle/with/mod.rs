//! Several recordings of one run, held against each other: what one leaves out the other fills in.
//!
//! A conversation over QMP says what was asked and answered, and shows the jobs by their events, which
//! may be filtered, begin late or end early. QEMU's trace log shows every change of status and every look
//! at the verb table, but no names. So each is judged by itself; then the jobs of the two are paired, and
//! what both show of a job must be the same: its statuses, the answers to its verbs, whether it failed,
//! and that the members of its transaction end alike. Changes that only the log shows have been judged by
//! the transition table with the rest of the log, by a profile that fits the conversation.
//!
//! | module | what it holds |
//! |---|---|
//! | `life` | what a recording shows of each job |
//! | `pair` | which job is which, and whether they agree |
//!
//! What is missing is never held against a recording that is cut, or has gaps. Memory grows with the
//! number of changes of status, up to a bound, beyond which nothing more is compared.

mod life;
mod pair;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use blockjob_model::Profile;

use self::life::{Kind, Lives};
use self::pair::Pairing;
use super::run::add_history;
use super::verdict::{Outcome, Verdict, With};
use super::watch::{Belief, Read, Step, Watch, Watcher};
use super::{BUFFER_BYTES, Observer, Options, check_watched};

/// Judges the trace in the file `path`, and holds it against other recordings of the same run.
///
/// `watchers` are told of the steps of the trace itself. A fault in another recording is told as the
/// trace's, with [`Verdict::elsewhere`]. It blocks on reading.
pub fn check(
    path: &Path,
    with: &[PathBuf],
    options: &Options,
    watchers: Vec<&mut dyn Watcher>,
) -> Verdict {
    let mut options = *options;
    let mut lives = Lives::default();
    let mut verdict = watched(path, &options, &mut lives, Vec::new());
    let may_be_shared = options.observer == Observer::Auto && verdict.fault().is_some();
    let shared_with = may_be_shared.then(|| {
        with.iter()
            .find(|other| shows_others(path, other, &options))
    });
    if shared_with.flatten().is_some() {
        options.observer = Observer::Shared;
    }
    if shared_with.flatten().is_some() || !watchers.is_empty() {
        lives = Lives::default();
        verdict = watched(path, &options, &mut lives, watchers);
    }
    if let Some(other) = shared_with.flatten() {
        verdict.notes.push(format!(
            "judged as one of several clients: {} shows that others ask things of its jobs",
            other.display()
        ));
    }
    for other in with {
        if matches!(verdict.outcome, Outcome::Error(_)) {
            break;
        }
        let mut theirs = Lives::default();
        let mut judged = by_what_fits(other, &verdict, &options, &mut theirs);
        if options.observer == Observer::Auto
            && judged.fault().is_some()
            && shows_others(other, path, &options)
        {
            theirs = Lives::default();
            let shared = Options {
                observer: Observer::Shared,
                ..options
            };
            judged = by_what_fits(other, &verdict, &shared, &mut theirs);
        }
        hold_against(
            &mut verdict,
            &lives,
            judged,
            &theirs,
            (path, other),
            &options,
        );
    }
    verdict
}

/// Whether the other recording shows that this client is not the only one, and the trace is legal then.
fn shows_others(path: &Path, other: &Path, options: &Options) -> bool {
    let options = Options {
        observer: Observer::Shared,
        ..*options
    };
    let (mut lives, mut theirs) = (Lives::default(), Lives::default());
    let ours = watched(path, &options, &mut lives, Vec::new());
    let judged = by_what_fits(other, &ours, &options, &mut theirs);
    if [&ours, &judged]
        .iter()
        .any(|verdict| !matches!(verdict.outcome, Outcome::Accept))
    {
        return false;
    }
    match (lives.kind, theirs.kind) {
        (Kind::Conversation, Kind::Conversation) => theirs.asks,
        (Kind::Conversation, Kind::Log) => Pairing::new(&lives, &theirs, "")
            .best()
            .is_some_and(|paired| paired.faults.is_empty() && paired.unasked > 0),
        _ => false,
    }
}

/// What gathers the jobs, beside whoever else watches.
struct Beside<'a, 'w> {
    lives: &'a mut Lives,
    watchers: Vec<&'w mut dyn Watcher>,
}

impl Watcher for Beside<'_, '_> {
    fn step(&mut self, step: &Step<'_>, judge: &dyn Belief) {
        self.lives.step(step, judge);
        for watcher in &mut self.watchers {
            watcher.step(step, judge);
        }
    }

    fn again(&mut self) {
        self.lives.again();
        for watcher in &mut self.watchers {
            watcher.again();
        }
    }

    fn before(&mut self, read: &Read<'_>, judge: &dyn Belief) {
        self.lives.before(read, judge);
        for watcher in &mut self.watchers {
            watcher.before(read, judge);
        }
    }
}

fn watched(
    path: &Path,
    options: &Options,
    lives: &mut Lives,
    watchers: Vec<&mut dyn Watcher>,
) -> Verdict {
    let mut beside = Beside { lives, watchers };
    check_watched(path, options, Watch::new(vec![&mut beside]))
}

/// Judges the other recording by the profile of the first; where several fit that, by one that fits both.
fn by_what_fits(path: &Path, first: &Verdict, options: &Options, lives: &mut Lives) -> Verdict {
    let fits: Vec<&'static Profile> = match options.profile {
        Some(given) => vec![given],
        None => first
            .fits
            .iter()
            .filter_map(|name| Profile::by_name(name))
            .collect(),
    };
    let by = |profile: Option<&'static Profile>| Options {
        profile,
        ..*options
    };
    // It is judged once more than needed only where the first does not fit.
    let profile = fits.iter().copied().find(|profile| {
        let verdict = super::check(path, &by(Some(profile)));
        matches!(verdict.outcome, Outcome::Accept)
    });
    watched(
        path,
        &by(profile.or(fits.first().copied())),
        lives,
        Vec::new(),
    )
}

/// Holds two recordings against each other; what is found becomes the first's verdict.
fn hold_against(
    verdict: &mut Verdict,
    lives: &Lives,
    judged: Verdict,
    theirs: &Lives,
    (path, other): (&Path, &Path),
    options: &Options,
) {
    let name = other.display().to_string();
    let mut with = With {
        path: name.clone(),
        paired: 0,
        filled: 0,
        notes: judged.notes,
    };
    match judged.outcome {
        Outcome::Error(error) => {
            verdict.outcome = Outcome::Error(super::TraceError::Other {
                path: name,
                error: Box::new(error),
            });
            return;
        }
        Outcome::Reject(fault) => {
            if verdict.fault().is_none() {
                verdict.outcome = Outcome::Reject(fault);
                verdict.explanations = judged.explanations;
                verdict.further = judged.further;
                verdict.elsewhere = Some(name);
            }
            verdict.with.push(with);
            return;
        }
        Outcome::Accept => {}
    }
    let rank = |lives: &Lives| match lives.kind {
        Kind::Other => 0,
        Kind::Conversation => 2 - u8::from(lives.filtered),
        Kind::Log => 3,
    };
    let comparable = rank(lives) > 0 && rank(theirs) > 0 && rank(lives) + rank(theirs) < 6;
    if !comparable || rank(lives) + rank(theirs) == 2 {
        with.notes.push(
            "nothing of it can be held against the trace: of two recordings one must be a conversation \
             over QMP, and one of them unfiltered or a trace log of QEMU"
                .to_owned(),
        );
        verdict.with.push(with);
        return;
    }
    let trace = path.display().to_string();
    // The finer one explains the coarser.
    let finer_here = rank(lives) > rank(theirs);
    let (coarse, fine, called) = if finer_here {
        (theirs, lives, &trace)
    } else {
        (lives, theirs, &name)
    };
    if lives.full || theirs.full {
        with.notes
            .push("more changes of status than are kept: the rest was not compared".to_owned());
    }
    let known = verdict.fault().is_some();
    if (!known || options.keep_going)
        && let Some(mut paired) = Pairing::new(coarse, fine, called).best()
    {
        with.paired = paired.jobs;
        with.filled = paired.filled;
        if paired.before > 0 {
            with.notes.push(format!(
                "{called} begins later: {} jobs of the other recording are older",
                paired.before
            ));
        }
        paired.faults.sort_by_key(|fault| fault.line);
        if !options.keep_going {
            paired.faults.truncate(1);
        }
        let file = finer_here.then_some(&name);
        if known && verdict.elsewhere.as_ref() == file {
            verdict.further.append(&mut paired.faults);
        } else if !known && !paired.faults.is_empty() {
            verdict.outcome = Outcome::Reject(paired.faults.remove(0));
            verdict.further = paired.faults;
            verdict.elsewhere = file.cloned();
            // Where it cannot be opened again, the fault stands without what led there.
            if let Ok(file) = File::open(if finer_here { other } else { path }) {
                add_history(
                    verdict,
                    BufReader::with_capacity(BUFFER_BYTES, file),
                    options,
                );
            }
        }
    }
    verdict.with.push(with);
}
