//! Why nothing explains an observation: the rule it breaks, and what would have been allowed.
//!
//! Each function looks at the belief as it was before the observation and names the first rule
//! that no world in it satisfies. Rule names are public interface.

use crate::rule;
use crate::rule::Rule;
use crate::state::{Body, CallState, Job, Owes, Phase, Sight, World};
use crate::status::Status;
use crate::step::Output;
use crate::verb::Refusal;
use crate::vocabulary::{Callback, Event, Reply, Request};

use super::Rejection;
use super::belief::SightPattern;

/// Distinct values over all worlds, in order.
fn distinct<T: Ord>(worlds: &[World], value: impl Fn(&World) -> T) -> Vec<T> {
    let mut values: Vec<T> = worlds.iter().map(value).collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// "a", "a or b", "a, b or c".
fn listed(items: &[String]) -> String {
    match items {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}

fn names(statuses: &[Status]) -> String {
    let names: Vec<String> = statuses.iter().map(ToString::to_string).collect();
    listed(&names)
}

fn name<'a>(ids: &[&'a str], member: usize) -> &'a str {
    ids.get(member).copied().unwrap_or("?")
}

/// A return without a call.
pub(super) fn no_call() -> Rejection {
    Rejection::new(
        rule!("reply-without-call"),
        "",
        "no call is under way",
        "a reply came",
    )
}

/// What a thin acceptor says of everything it does not take: nothing.
pub(super) fn nothing_found() -> Rejection {
    Rejection::new(
        rule!("no-explanation-found"),
        "",
        "a thin acceptor keeps one explanation of many",
        "it found none, which is no judgement",
    )
}

/// An answer, other than that there is nobody, for a job that was gone when it was asked.
pub(super) fn answer_of_nobody(request: Request, expected: Reply, reply: Reply) -> Rejection {
    let words = |reply: Reply| match reply {
        Ok(()) => "success".to_owned(),
        Err(refusal) => format!("refusal: {}", refusal.text("?", false)),
    };
    Rejection::new(
        if reply.is_ok() {
            rule!("verb-accepted")
        } else {
            rule!("refusal-text")
        },
        &request.to_string(),
        "the job was gone before it was asked",
        &format!("the answer was {}", words(reply)),
    )
    .instead(vec![words(expected)])
}

/// Something of a job that is gone.
pub(super) fn gone(seen: super::Seen) -> Rejection {
    Rejection::new(
        rule!("after-null"),
        "",
        "the job is gone (its status is null)",
        &format!("then came: {}", seen.of(0)),
    )
    .instead(vec!["nothing".to_owned()])
}

/// Two callbacks at once on the main loop.
pub(super) fn overlap(id: &str, callback: Callback, other: &str, running: Callback) -> Rejection {
    Rejection::new(
        rule!("main-loop-serial"),
        &format!("{callback} of job '{id}'"),
        &format!("the main loop is inside {running} of job '{other}'"),
        "it begins",
    )
    .instead(vec![format!("{running} of job '{other}' ends")])
    .of(&[id, other], Some(0))
}

/// An output nobody can explain.
pub(super) fn seen(
    worlds: &[World],
    visible: &[Output],
    ids: &[&str],
    output: Output,
) -> Rejection {
    let member = output.member();
    let id = name(ids, member);
    let now = distinct(worlds, |world| world.jobs[member].status);
    let mut allowed: Vec<String> = visible
        .iter()
        .map(|output| {
            if ids.len() > 1 {
                format!("job '{}': {output}", name(ids, output.member()))
            } else {
                output.to_string()
            }
        })
        .collect();
    allowed.dedup();
    if allowed.is_empty() {
        allowed.push("nothing, until somebody asks for something".to_owned());
    }
    let (rule, because) = match output {
        Output::Status(_, status) => status_rule(worlds, &now, member, status),
        Output::Event(_, event) => event_rule(worlds, visible, &now, member, event),
        Output::IoBegin(_) | Output::IoEnd(_) => io_rule(worlds, member),
        Output::Begin(..) | Output::End(..) => (
            rule!("callback-order"),
            format!("the job is {}", names(&now)),
        ),
        Output::PointBegin(_) | Output::PointEnd(_) => point_rule(worlds, &now, member),
    };
    Rejection::new(
        rule,
        &format!("job '{id}'"),
        &because,
        &format!("then came: {output}"),
    )
    .instead(allowed)
    .of(ids, Some(member))
}

/// What may come next in one transaction.
pub(super) fn next(worlds: &[World], visible: &[Output], ids: &[&str]) -> Vec<String> {
    let mut next: Vec<String> = visible
        .iter()
        .map(|output| format!("job '{}': {output}", name(ids, output.member())))
        .collect();
    for call in worlds.iter().flat_map(|world| &world.calls) {
        let id = call.member.map_or("?", |member| name(ids, member.into()));
        let of = match call.member {
            Some(_) => format!("{} of job '{id}'", call.request),
            None => call.request.to_string(),
        };
        match &call.state {
            CallState::Answered(Ok(())) => next.push(format!("{of} succeeds")),
            CallState::Answered(Err(refusal)) => {
                next.push(format!("{of} is refused: {}", refusal.text(id, false)));
            }
            _ => {}
        }
    }
    next
}

type Reason = (&'static Rule, String);

fn status_rule(worlds: &[World], now: &[Status], member: usize, to: Status) -> Reason {
    if now == [to] {
        return (
            rule!("status-repeated"),
            format!("the job is {to} already, and only a change is announced"),
        );
    }
    if !now.iter().any(|from| from.may_become(to)) {
        return (
            rule!("status-transition"),
            format!(
                "the job is {}, from where {to} is not in the table",
                names(now)
            ),
        );
    }
    if let Some(reason) = owing(worlds) {
        return reason;
    }
    let all = |test: &dyn Fn(&World) -> bool| worlds.iter().all(test);
    let job = |world: &World| world.jobs[member];
    match to {
        Status::Created => (
            rule!("created-unasked"),
            "nobody asked for its creation".to_owned(),
        ),
        Status::Running | Status::Ready if now.iter().all(|from| from.is_parked()) => (
            rule!("pause-in-force"),
            "its pause has not been withdrawn and no forced cancel overrides it".to_owned(),
        ),
        Status::Running if all(&|world| job(world).starting) => (
            rule!("start-order"),
            "the jobs of one transaction start in an order, and it is not its turn".to_owned(),
        ),
        Status::Running => (
            rule!("started-unasked"),
            "nobody asked for its start".to_owned(),
        ),
        Status::Ready => (
            rule!("ready-unexpected"),
            "it has nothing to converge with".to_owned(),
        ),
        Status::Paused | Status::Standby if all(&|world| job(world).in_flight > 0) => (
            rule!("io-while-paused"),
            "a piece of its I/O is in flight".to_owned(),
        ),
        Status::Paused | Status::Standby => (
            rule!("paused-unasked"),
            "no pause is requested, or the job has not come to a pause point".to_owned(),
        ),
        Status::Waiting if all(&|world| job(world).forced() || world.group.aborting) => (
            rule!("cancel-lost"),
            "it was cancelled by force, or its transaction is being brought down".to_owned(),
        ),
        Status::Waiting => (
            rule!("ended-unasked"),
            "it ends well only when ready and told to finish".to_owned(),
        ),
        Status::Pending if all(&|world| world.group.aborting) => (
            rule!("group-aborting"),
            "a member of its transaction failed or was cancelled, which brings all of them down"
                .to_owned(),
        ),
        Status::Pending => (
            rule!("pending-before-all-waiting"),
            "some member of its transaction has not ended its run, or a newer member comes first"
                .to_owned(),
        ),
        Status::Aborting => (
            rule!("aborting-unasked"),
            "neither it nor a member of its transaction failed or was cancelled".to_owned(),
        ),
        Status::Concluded if undecided(worlds, member) => (
            rule!("finalize-unasked"),
            "its transaction waits for its user to finalize it".to_owned(),
        ),
        Status::Concluded => (
            rule!("terminal-event-missing"),
            "its terminal event and what belongs before it have not come".to_owned(),
        ),
        Status::Null => (
            rule!("dismiss-unasked"),
            "nobody dismissed it and it does not dismiss itself".to_owned(),
        ),
        Status::Undefined => (
            rule!("status-transition"),
            "no job becomes undefined".to_owned(),
        ),
    }
}

/// The member is pending, and nobody has finalized its transaction.
fn undecided(worlds: &[World], member: usize) -> bool {
    worlds.iter().all(|world| {
        world.jobs[member].status == Status::Pending
            && matches!(world.group.phase, Phase::Idle | Phase::Announcing)
    })
}

/// An announcement that must follow its status at once has not come.
fn owing(worlds: &[World]) -> Option<Reason> {
    let owes = |world: &World| {
        let job = world.jobs.iter().find(|job| job.owes != Owes::Nothing);
        job.map(|job| job.owes)
    };
    let first = worlds.first().and_then(owes)?;
    let (rule, event) = match first {
        Owes::Ready => (rule!("ready-event-missing"), Event::Ready),
        Owes::Pending | Owes::Nothing => (rule!("pending-event-missing"), Event::Pending),
    };
    worlds
        .iter()
        .all(|world| owes(world) == Some(first))
        .then(|| (rule, format!("{event} must follow its status at once")))
}

fn event_rule(
    worlds: &[World],
    visible: &[Output],
    now: &[Status],
    member: usize,
    event: Event,
) -> Reason {
    let block = worlds.iter().any(|world| world.jobs[member].spec.block);
    if !block {
        return (
            rule!("event-of-non-block-job"),
            "it is no block job and has no such events".to_owned(),
        );
    }
    let possible: Vec<Event> = visible
        .iter()
        .filter_map(|output| match *output {
            Output::Event(other, event) if other == member => Some(event),
            _ => None,
        })
        .collect();
    let ended = |event: &Event| matches!(event, Event::Completed { .. } | Event::Cancelled);
    match event {
        Event::Completed { .. } if possible.contains(&Event::Cancelled) => (
            rule!("terminal-event-kind"),
            "it was cancelled by force, which BLOCK_JOB_CANCELLED tells".to_owned(),
        ),
        Event::Completed { error } if possible.iter().any(ended) => (
            rule!("terminal-event-error"),
            if error {
                "it is committed, and a committed job has no error".to_owned()
            } else {
                "it is aborted, and an aborted job has an error".to_owned()
            },
        ),
        Event::Cancelled if possible.iter().any(ended) => (
            rule!("cancelled-unasked"),
            "nobody cancelled it by force".to_owned(),
        ),
        Event::Completed { .. } | Event::Cancelled if undecided(worlds, member) => (
            rule!("finalize-unasked"),
            "its transaction waits for its user to finalize it".to_owned(),
        ),
        Event::Completed { .. } | Event::Cancelled => (
            rule!("terminal-event-order"),
            format!(
                "the job is {}, and a terminal event comes after pending or aborting, newest member first, once",
                names(now)
            ),
        ),
        Event::Ready => (
            rule!("ready-event-order"),
            format!(
                "the job is {}, and the event follows the status ready at once, once",
                names(now)
            ),
        ),
        Event::Pending => (
            rule!("pending-event-order"),
            format!(
                "the job is {}, and the event follows the status pending of a job its user finalizes at once, once",
                names(now)
            ),
        ),
        Event::Error { .. } => (
            rule!("error-event-order"),
            format!("the job is {} and performs no I/O", names(now)),
        ),
    }
}

fn io_rule(worlds: &[World], member: usize) -> Reason {
    let parked = worlds
        .iter()
        .all(|world| matches!(world.jobs[member].body, Body::Parked | Body::Unparked));
    if parked {
        (
            rule!("io-while-paused"),
            "the job has quiesced and has not been resumed".to_owned(),
        )
    } else {
        (
            rule!("io-outside-run"),
            "the job's run has not begun, or has ended, or no such piece is under way".to_owned(),
        )
    }
}

fn point_rule(worlds: &[World], now: &[Status], member: usize) -> Reason {
    let missed = worlds.iter().all(|world| {
        let job = &world.jobs[member];
        job.body == Body::AtPoint && !job.may_pass
    });
    if missed {
        (
            rule!("pause-lost"),
            "a pause was requested before the pause point and is in force".to_owned(),
        )
    } else {
        (
            rule!("point-order"),
            format!("the job is {}, and its driver is not there", names(now)),
        )
    }
}

/// A reply nobody can explain.
pub(super) fn answer(
    worlds: &[World],
    ids: &[&str],
    slot: u16,
    request: Request,
    reply: Reply,
) -> Rejection {
    let mut possible = Vec::new();
    let mut id = "?";
    let mut member = None;
    for world in worlds {
        let Some(call) = world.calls.iter().find(|call| call.thread == slot) else {
            continue;
        };
        member = call.member.map(usize::from);
        id = name(ids, member.unwrap_or(usize::MAX));
        match &call.state {
            CallState::Answered(reply) => possible.push(*reply),
            CallState::Looked(_) => possible.push(Ok(())),
            CallState::Issued
            | CallState::Accepted { .. }
            | CallState::InCallback { .. }
            | CallState::Told { .. }
            | CallState::InUserResume
            | CallState::UserResumed
            | CallState::InDrain { .. }
            | CallState::Awaiting => {}
        }
    }
    possible.sort_unstable();
    possible.dedup();
    let text = |reply: Reply| match reply {
        Ok(()) => "success".to_owned(),
        Err(refusal) => format!("refusal: {}", refusal.text(id, false)),
    };
    if possible.is_empty()
        && let Some((rule, because)) = owing(worlds)
    {
        return Rejection::new(
            rule,
            &format!("{request} of job '{id}'"),
            &because,
            "the answer came",
        )
        .of(ids, member);
    }
    let rule = match reply {
        _ if possible.is_empty() => rule!("reply-too-early"),
        Ok(()) => rule!("verb-accepted"),
        Err(Refusal::Verb { .. })
            if possible
                .iter()
                .any(|reply| matches!(reply, Err(Refusal::Verb { .. }))) =>
        {
            rule!("refusal-names-status")
        }
        Err(_) if possible.iter().any(Result::is_err) => rule!("refusal-text"),
        Err(_) => rule!("verb-refused"),
    };
    let allowed: Vec<String> = if possible.is_empty() {
        vec!["no reply yet: what the request set in motion is not done".to_owned()]
    } else {
        possible.iter().copied().map(text).collect()
    };
    Rejection::new(
        rule,
        &format!("{request} of job '{id}'"),
        &format!("the answer can only be {}", listed(&allowed)),
        &format!("it was {}", text(reply)),
    )
    .instead(allowed)
    .of(ids, member)
}

/// A query's picture that fits no moment between call and return.
pub(super) fn looked(
    worlds: &[World],
    ids: &[&str],
    slot: u16,
    listing: &[Option<SightPattern>],
) -> Rejection {
    let pictures: Vec<_> = worlds
        .iter()
        .filter_map(|world| {
            let call = world.calls.iter().find(|call| call.thread == slot)?;
            match &call.state {
                CallState::Looked(sights) => Some(sights),
                _ => None,
            }
        })
        .collect();
    let listable = |status: Status| !matches!(status, Status::Null | Status::Undefined);
    // What it is about, by its place; which rule, because …, but ….
    let mut complaint: Option<(Option<usize>, &'static Rule, String, String)> = pictures
        .is_empty()
        .then(|| half_done(worlds, ids))
        .flatten()
        .map(|(rule, because)| (None, rule, because, "a query is answered".to_owned()));
    let mut allowed = Vec::new();
    for (member, pattern) in listing.iter().enumerate() {
        let id = name(ids, member);
        let mut statuses: Vec<Status> = pictures
            .iter()
            .filter_map(|sights| sights.get(member))
            .map(|sight| sight.status)
            .collect();
        statuses.sort_unstable();
        statuses.dedup();
        allowed.push(format!("job '{id}': {}", names(&statuses)));
        if complaint.is_some() {
            continue;
        }
        let found = match pattern {
            None if !statuses.is_empty() && statuses.iter().all(|&status| listable(status)) => {
                Some((
                    rule!("query-misses-job"),
                    format!("it is {}", names(&statuses)),
                    "it is not listed".to_owned(),
                ))
            }
            Some(pattern) if !statuses.iter().any(|&status| listable(status)) => Some((
                rule!("query-lists-dead-job"),
                "it is gone".to_owned(),
                match pattern.status {
                    Some(status) => format!("it is listed as {status}"),
                    None => "it is listed".to_owned(),
                },
            )),
            Some(SightPattern {
                status: Some(status),
                ..
            }) if !statuses.contains(status) => Some((
                rule!("query-status"),
                format!("it is {}", names(&statuses)),
                format!("it is listed as {status}"),
            )),
            Some(pattern) => contradicted(*pattern, member, &pictures),
            None => None,
        };
        complaint = found.map(|(rule, because, but)| (Some(member), rule, because, but));
    }
    let (member, rule, because, but) = complaint.unwrap_or_else(|| {
        (
            None,
            rule!("query-inconsistent"),
            "a query shows one moment between its call and its answer".to_owned(),
            "at none of them were all these true together".to_owned(),
        )
    });
    let about = match member {
        Some(member) => format!("job '{}'", name(ids, member)),
        None => String::new(),
    };
    Rejection::new(rule, &about, &because, &but)
        .instead(allowed)
        .of(ids, member)
}

/// What a picture shows of one member beside its status, and never was so.
fn contradicted(
    pattern: SightPattern,
    member: usize,
    pictures: &[&Vec<Sight>],
) -> Option<(&'static Rule, String, String)> {
    let sights: Vec<_> = pictures
        .iter()
        .filter_map(|sights| sights.get(member))
        .filter(|sight| pattern.status.is_none_or(|status| status == sight.status))
        .collect();
    let never = |shown: Option<bool>, of: &dyn Fn(&Sight) -> bool| {
        shown.is_some_and(|shown| sights.iter().all(|sight| of(sight) != shown))
    };
    if never(pattern.io_failed, &|sight| sight.io_failed) {
        let failed = pattern.io_failed == Some(true);
        return Some((
            rule!("query-io-status"),
            if failed {
                "no I/O error stopped it that still counts"
            } else {
                "an I/O error stopped it"
            }
            .to_owned(),
            format!("its io-status is {}", if failed { "not ok" } else { "ok" }),
        ));
    }
    if never(pattern.failed, &|sight| sight.failed) {
        let failed = pattern.failed == Some(true);
        return Some((
            rule!("query-error"),
            if failed {
                "its run has not failed"
            } else {
                "its run failed"
            }
            .to_owned(),
            format!(
                "it is listed with{} error",
                if failed { " an" } else { "out" }
            ),
        ));
    }
    never(pattern.paused, &|sight| sight.pause_wanted).then(|| {
        let paused = pattern.paused == Some(true);
        (
            rule!("query-paused"),
            format!(
                "{} pause of it is requested",
                if paused { "no" } else { "a" }
            ),
            format!("it is listed as {}paused", if paused { "" } else { "not " }),
        )
    })
}

/// Why no query can have been answered: something is half done that is done at once.
fn half_done(worlds: &[World], ids: &[&str]) -> Option<Reason> {
    if let Some(reason) = owing(worlds) {
        return Some(reason);
    }
    let first = worlds.first()?;
    let member = first.jobs.iter().position(Job::in_tail)?;
    let id = name(ids, member);
    let concluded = worlds
        .iter()
        .all(|world| world.jobs[member].status == Status::Concluded);
    Some(if concluded {
        (
            rule!("auto-dismiss-missing"),
            format!("job '{id}' is concluded and dismisses itself at once, but it has not"),
        )
    } else {
        (
            rule!("query-half-done"),
            format!("job '{id}' is being concluded, and nothing is answered in between"),
        )
    })
}

/// The trace ended, and something is left undone.
pub(super) fn unfinished(worlds: &[World], ids: &[&str]) -> Rejection {
    let mut left = Vec::new();
    for (member, id) in ids.iter().enumerate() {
        let statuses = distinct(worlds, |world| world.jobs[member].status);
        let last = statuses
            .iter()
            .all(|status| matches!(status, Status::Concluded | Status::Null));
        if !last {
            left.push(format!("job '{id}' is {}", names(&statuses)));
        }
    }
    if left.is_empty() {
        left.push("a call has not returned, or a callback is outstanding".to_owned());
    }
    Rejection::new(
        rule!("left-undone"),
        "",
        "the run is over",
        &left.join("; "),
    )
    .instead(vec![
        "every job concluded or gone, every call returned".to_owned(),
    ])
    .of(ids, None)
}
