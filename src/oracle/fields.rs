//! What is known of a job beside the belief, and the checks of fields that need nothing more:
//! shapes, types, numbers, policies.
//!
//! Source: SEMANTICS.md §2.3 (queries), §7.1 (event payloads), §8 (error policy), §9.3 (progress).

use std::borrow::Cow;

use blockjob_model::accept::{JobKey, SightPattern};
use blockjob_model::{ErrorAction, Status};

use super::judge::command::{OnError, Planned, Policy};
use super::reader::json::Piece;
use super::reader::python::stands_for_something;
use super::reader::qmp::{Entry, EventData};
use super::verdict::Fault;
use blockjob_model::rule;
use blockjob_model::rule::Rule;

/// What is known of one job.
#[derive(Debug)]
pub struct Known {
    /// The acceptor's name for it. `None`: it was met on its way, so only the transition table
    /// and its fields are held against it.
    pub key: Option<JobKey>,
    /// Its place in the order of creation, where that was seen.
    pub serial: Option<u64>,
    /// What kind of job, once known.
    pub kind: Option<Cow<'static, str>>,
    /// It is a block job; `None`: not known.
    pub block: Option<bool>,
    /// The transaction decides by itself; `None`: not known.
    pub auto_finalize: Option<bool>,
    /// It vanishes by itself; `None`: not known.
    pub auto_dismiss: Option<bool>,
    /// What may become of its I/O errors.
    pub policy: Policy,
    /// The rate limit, bytes a second; `None`: somebody unseen may set it.
    pub speed: Option<i128>,
    /// The rate limit a command under way asks for.
    pub speed_asked: Option<i128>,
    /// The last status announced, and in which line; `None`: none was seen.
    pub last: Option<(Status, u64)>,
    /// The highest progress reported, bytes, and in which line.
    pub progress: Option<(i128, u64)>,
    /// The same when the command in hand had its turn: a query shows a moment since then, which
    /// may be older than the events read before its answer.
    pub progress_then: Option<(i128, u64)>,
    /// The line of an I/O error that was reported, and so must end the run.
    pub failed: Option<u64>,
    /// The line of a query that shows the error with which the run has ended.
    pub ended: Option<u64>,
    /// The recording was filtered: a word in capitals, or null, may stand for any value.
    pub filtered: bool,
    /// Another job of this id may have been made since, unseen.
    pub may_be_another: bool,
}

impl Known {
    /// A job met on its way.
    pub const fn met() -> Known {
        Known {
            key: None,
            serial: None,
            kind: None,
            block: None,
            auto_finalize: None,
            auto_dismiss: None,
            policy: Policy::UNKNOWN,
            speed: None,
            speed_asked: None,
            last: None,
            progress: None,
            progress_then: None,
            failed: None,
            ended: None,
            filtered: false,
            may_be_another: false,
        }
    }

    /// A job of a filtered recording.
    pub fn filtered() -> Known {
        Known {
            filtered: true,
            ..Known::met()
        }
    }

    /// The same where the id may be another daemon's job's too.
    #[must_use]
    pub fn whoevers(&self) -> Known {
        Known {
            last: self.last,
            ..Known::filtered()
        }
    }

    /// What stands there stands for something that was filtered out.
    fn hides(&self, piece: Piece<'_>) -> bool {
        self.filtered
            && (piece.kind() == "null"
                || piece
                    .as_str()
                    .is_some_and(|word| stands_for_something(&word)))
    }

    /// A job made as planned by a command seen here.
    pub fn planned(key: JobKey, serial: u64, plan: &Planned) -> Known {
        let all = |flag: bool, of: &dyn Fn(usize) -> bool| {
            (0..plan.specs.len())
                .all(|place| of(place) == flag)
                .then_some(flag)
        };
        let first = plan.specs[0];
        Known {
            key: Some(key),
            serial: Some(serial),
            kind: Some(Cow::Borrowed(plan.kind)),
            block: Some(first.block),
            auto_finalize: all(first.auto_finalize, &|place| {
                plan.specs[place].auto_finalize
            }),
            auto_dismiss: all(first.auto_dismiss, &|place| plan.specs[place].auto_dismiss),
            policy: plan.policy,
            speed: Some(plan.speed),
            ..Known::met()
        }
    }

    /// A job somebody unseen made.
    pub fn foreign(key: JobKey, serial: u64) -> Known {
        Known {
            key: Some(key),
            serial: Some(serial),
            ..Known::met()
        }
    }

    /// "ready since line 12", for explanations.
    pub fn standing(&self) -> String {
        match self.last {
            Some((status, line)) => format!("it is {status} since line {line}"),
            None => "its status was not seen".to_owned(),
        }
    }
}

/// Where a check stands: which line, and what it is about.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The line, from 1.
    pub line: u64,
    /// The event or command.
    pub what: &'a str,
    /// The job.
    pub id: &'a str,
}

impl Place<'_> {
    /// A fault here.
    pub fn fault(self, rule: &'static Rule, because: &str, but: &str) -> Fault {
        let about = format!("{} of job '{}'", self.what, self.id);
        Fault::new(self.line, rule, &about, because, but).of([self.id])
    }

    fn shape(self, rule: &'static Rule, member: &str, piece: Piece<'_>, expected: &str) -> Fault {
        self.fault(
            rule,
            &format!("`{member}` is {expected}"),
            &format!("it is {}", piece.kind()),
        )
    }
}

/// Holds a kind of job against what is known, or takes note of it.
pub fn kind(
    known: &mut Known,
    place: Place<'_>,
    piece: Piece<'_>,
    rule: &'static Rule,
) -> Result<(), Fault> {
    if known.hides(piece) {
        return Ok(());
    }
    let Some(kind) = piece.as_str() else {
        return Err(place.shape(rule, "type", piece, "a string"));
    };
    match &known.kind {
        Some(expected) if *expected == kind => Ok(()),
        Some(expected) => Err(place.fault(
            rule,
            &format!("the job's type is {expected}"),
            &format!("here it is {kind}"),
        )),
        None => {
            known.kind = Some(Cow::Owned(kind.into_owned()));
            Ok(())
        }
    }
}

/// A number of bytes.
fn bytes(
    place: Place<'_>,
    rule: &'static Rule,
    member: &str,
    piece: Piece<'_>,
) -> Result<i128, Fault> {
    match piece.as_integer() {
        Some(bytes) if bytes >= 0 => Ok(bytes),
        Some(bytes) => Err(place.fault(
            rule,
            &format!("`{member}` is a number of bytes"),
            &format!("it is {bytes}"),
        )),
        None => Err(place.shape(rule, member, piece, "an integer")),
    }
}

/// Progress: within its end, and never back behind `before` (SEMANTICS.md §9.3, P46).
fn progress(
    known: &mut Known,
    before: Option<(i128, u64)>,
    place: Place<'_>,
    rule: &'static Rule,
    offset: (&str, Piece<'_>),
    len: (&str, Piece<'_>),
) -> Result<(), Fault> {
    if known.hides(offset.1) || known.hides(len.1) {
        return Ok(());
    }
    let done = bytes(place, rule, offset.0, offset.1)?;
    let total = bytes(place, rule, len.0, len.1)?;
    if done > total {
        return Err(place.fault(
            rule!("progress-above-total"),
            &format!("`{}` is {total}", len.0),
            &format!("`{}` is {done}", offset.0),
        ));
    }
    if let Some((before, line)) = before
        && done < before
    {
        return Err(place.fault(
            rule!("progress-backwards"),
            &format!("{before} bytes were done in line {line}, and progress only grows"),
            &format!("`{}` is {done}", offset.0),
        ));
    }
    if known.filtered {
        return Ok(());
    }
    if known.progress.is_none_or(|(highest, _)| done > highest) {
        known.progress = Some((done, place.line));
    }
    Ok(())
}

/// The rate limit is the one last set.
fn speed(
    known: &Known,
    place: Place<'_>,
    rule: &'static Rule,
    piece: Piece<'_>,
) -> Result<(), Fault> {
    if known.hides(piece) {
        return Ok(());
    }
    let shown = bytes(place, rule, "speed", piece)?;
    match known.speed {
        Some(speed) if shown != speed && known.speed_asked != Some(shown) => Err(place.fault(
            rule!("speed-not-set"),
            &format!("the speed was set to {speed}"),
            &format!("it is shown as {shown}"),
        )),
        _ => Ok(()),
    }
}

/// The numbers of an event, and its type where it has one.
pub fn progress_numbers(
    known: &mut Known,
    place: Place<'_>,
    data: &EventData<'_>,
) -> Result<(), Fault> {
    if data.kind.is_present() {
        kind(known, place, data.kind, rule!("event-job-type"))?;
    }
    progress(
        known,
        known.progress,
        place,
        rule!("event-shape"),
        ("offset", data.offset),
        ("len", data.len),
    )?;
    speed(known, place, rule!("event-shape"), data.speed)
}

/// `BLOCK_JOB_READY`, `_COMPLETED`, `_CANCELLED`: type, numbers, error.
pub fn progress_event(
    known: &mut Known,
    place: Place<'_>,
    data: &EventData<'_>,
) -> Result<(), Fault> {
    kind(known, place, data.kind, rule!("event-job-type"))?;
    progress_numbers(known, place, data)?;
    if data.error.is_present() && data.error.as_str().is_none() {
        return Err(place.shape(rule!("event-shape"), "error", data.error, "a string"));
    }
    Ok(())
}

/// `BLOCK_JOB_ERROR`: what the policy given at creation lets become of it.
pub fn error_event(
    known: &mut Known,
    place: Place<'_>,
    data: &EventData<'_>,
) -> Result<ErrorAction, Fault> {
    let action = data
        .action
        .as_str()
        .and_then(|name| ErrorAction::from_name(&name));
    let Some(action) = action else {
        return Err(place.fault(
            rule!("event-shape"),
            "`action` is report, ignore or stop",
            &format!("it is {}", shown(data.action)),
        ));
    };
    let policy = match data.operation.as_str().as_deref() {
        Some("read") => known.policy.read,
        Some("write") => known.policy.write,
        _ => {
            return Err(place.fault(
                rule!("event-shape"),
                "`operation` is read or write",
                &format!("it is {}", shown(data.operation)),
            ));
        }
    };
    if policy == OnError::Never {
        return Err(place.fault(
            rule!("error-operation"),
            "a stream only reads",
            "the error is one of writing",
        ));
    }
    if !policy.allows(action) {
        let mut fault = place.fault(
            rule!("error-policy"),
            &format!(
                "the policy for these errors is {} since the job's creation",
                policy.name()
            ),
            &format!("the action is {}", action.name()),
        );
        fault.allowed = [ErrorAction::Report, ErrorAction::Ignore, ErrorAction::Stop]
            .into_iter()
            .filter(|&action| policy.allows(action))
            .map(|action| action.name().to_owned())
            .collect();
        return Err(fault);
    }
    if action == ErrorAction::Report {
        known.failed = known.failed.or(Some(place.line));
    }
    Ok(action)
}

/// A reported I/O error ends the run with that error: nothing but an abort may follow. Nor does a run go on that has ended.
pub fn success_after_report(known: &Known, place: Place<'_>, to: Status) -> Result<(), Fault> {
    if let Some(line) = known.ended
        && !(to.is_completed() || to == Status::Null)
    {
        return Err(place.fault(
            rule!("success-after-error"),
            &format!("line {line} lists it with the error with which its run has ended"),
            "the job goes on",
        ));
    }
    match known.failed.or(known.ended) {
        Some(line) if to == Status::Waiting => Err(place.fault(
            rule!("success-after-error"),
            &format!("line {line} shows an error with which the run ends"),
            "the job goes on as if it had succeeded",
        )),
        _ => Ok(()),
    }
}

/// The same where no status tells: the event says that it ended well.
pub fn event_after_report(
    known: &Known,
    place: Place<'_>,
    data: &EventData<'_>,
) -> Result<(), Fault> {
    match known.failed {
        Some(line) if place.what == "BLOCK_JOB_COMPLETED" && !data.error.is_present() => Err(place
            .fault(
                rule!("success-after-error"),
                &format!("line {line} reports an I/O error, with which the run ends"),
                "the job completes without an error",
            )),
        _ => Ok(()),
    }
}

/// A field as it stands, short enough for a message.
pub fn shown(piece: Piece<'_>) -> String {
    let text = piece.text();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None if text.is_empty() => "absent".to_owned(),
        None => text.to_owned(),
    }
}

/// A job as a query lists it: every field that needs no belief. The rest is the pattern.
///
/// QEMU 2.11 shows no status, and what follows from one is not checked then.
pub fn entry(
    known: &mut Known,
    place: Place<'_>,
    entry: &Entry<'_>,
    status: Option<Status>,
    block: bool,
    continued: bool,
) -> Result<SightPattern, Fault> {
    kind(known, place, entry.kind, rule!("query-type"))?;
    let has_error = entry.error.is_present();
    if has_error && entry.error.as_str().is_none() {
        return Err(place.shape(rule!("query-shape"), "error", entry.error, "a string"));
    }
    let mut pattern = SightPattern {
        status,
        ready: None,
        paused: None,
        io_failed: None,
        // The result is stored a moment before the main loop takes it over.
        failed: status
            .is_some_and(Status::is_completed)
            .then_some(has_error),
    };
    if has_error && status.is_some_and(Status::is_parked) {
        return Err(place.fault(
            rule!("query-error"),
            "a parked job's run has not ended",
            "it is listed with an error",
        ));
    }
    if has_error && status.is_some_and(|status| !status.is_completed()) && !known.filtered {
        // The run has ended with it.
        known.ended = known.ended.or(Some(place.line));
    }
    if !block {
        progress(
            known,
            known.progress_then,
            place,
            rule!("query-shape"),
            ("current-progress", entry.current),
            ("total-progress", entry.total),
        )?;
        return Ok(pattern);
    }
    progress(
        known,
        known.progress_then,
        place,
        rule!("query-shape"),
        ("offset", entry.offset),
        ("len", entry.len),
    )?;
    speed(known, place, rule!("query-shape"), entry.speed)?;
    let flag = |member: &str, piece: Piece<'_>| {
        if piece.is_present() && piece.as_bool().is_none() {
            Err(place.shape(rule!("query-shape"), member, piece, "a boolean"))
        } else {
            Ok(piece.as_bool())
        }
    };
    flag("busy", entry.busy)?;
    pattern.paused = flag("paused", entry.paused)?;
    let ready = flag("ready", entry.ready)?;
    match (status, ready) {
        (None, ready) => pattern.ready = ready,
        (Some(status), Some(ready)) if ready != status.is_ready() => {
            return Err(place.fault(
                rule!("query-ready"),
                &format!("`status` is {status}"),
                &format!("`ready` is {ready}"),
            ));
        }
        _ => {}
    }
    for (member, piece, expected) in [
        ("auto-finalize", entry.auto_finalize, known.auto_finalize),
        ("auto-dismiss", entry.auto_dismiss, known.auto_dismiss),
    ] {
        if let (Some(shown), Some(expected)) = (flag(member, piece)?, expected)
            && shown != expected
        {
            return Err(place.fault(
                rule!("query-flags"),
                &format!("the job was created with `{member}` {expected}"),
                &format!("it is listed with {shown}"),
            ));
        }
    }
    if entry.io_status.is_present() {
        let failed = match entry.io_status.as_str().as_deref() {
            Some("ok") => false,
            Some("failed" | "nospace") => true,
            _ => {
                return Err(place.fault(
                    rule!("query-shape"),
                    "`io-status` is ok, failed or nospace",
                    &format!("it is {}", shown(entry.io_status)),
                ));
            }
        };
        // `cont` forgets error states without resuming (§8).
        pattern.io_failed = (failed || !continued).then_some(failed);
    }
    Ok(pattern)
}
