//! Why nothing explains an observation: the rule it breaks, and what would have been allowed.
//!
//! Each function looks at the belief as it was before the observation and names the first rule
//! that no world in it satisfies. Rule names are public interface.

use crate::state::{Body, CallState, Job, Owes, Phase, World};
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
    Rejection {
        rule: "reply-without-call",
        message: "a reply came, but no call is under way".to_owned(),
        allowed: Vec::new(),
        section: "2",
    }
}

/// What a thin acceptor says of everything it does not take: nothing.
pub(super) fn nothing_found() -> Rejection {
    Rejection {
        rule: "no-explanation-found",
        message: "not explained by a thin acceptor, which is no judgement".to_owned(),
        allowed: Vec::new(),
        section: "10",
    }
}

/// An answer, other than that there is nobody, for a job that was gone when it was asked.
pub(super) fn answer_of_nobody(request: Request, expected: Reply, reply: Reply) -> Rejection {
    let words = |reply: Reply| match reply {
        Ok(()) => "success".to_owned(),
        Err(refusal) => format!("refusal: {}", refusal.text("?", false)),
    };
    Rejection {
        rule: if reply.is_ok() {
            "verb-accepted"
        } else {
            "refusal-text"
        },
        message: format!(
            "{request}: because the job was gone before it was asked, but the answer was {}",
            words(reply)
        ),
        allowed: vec![words(expected)],
        section: "2.0",
    }
}

/// Something of a job that is gone.
pub(super) fn gone(seen: super::Seen) -> Rejection {
    Rejection {
        rule: "after-null",
        message: format!(
            "the job is gone (its status is null), but then came: {}",
            seen.of(0)
        ),
        allowed: vec!["nothing".to_owned()],
        section: "1b",
    }
}

/// Two callbacks at once on the main loop.
pub(super) fn overlap(id: &str, callback: Callback, other: &str, running: Callback) -> Rejection {
    Rejection {
        rule: "main-loop-serial",
        message: format!(
            "{callback} of job '{id}' begins while the main loop is inside {running} of job '{other}'"
        ),
        allowed: vec![format!("{running} of job '{other}' ends")],
        section: "3.1",
    }
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
    let (rule, section, because) = match output {
        Output::Status(_, status) => status_rule(worlds, &now, member, status),
        Output::Event(_, event) => event_rule(worlds, visible, &now, member, event),
        Output::IoBegin(_) | Output::IoEnd(_) => io_rule(worlds, member),
        Output::Begin(..) | Output::End(..) => (
            "callback-order",
            "3.2",
            format!("the job is {}", names(&now)),
        ),
        Output::PointBegin(_) | Output::PointEnd(_) => point_rule(worlds, &now, member),
    };
    Rejection {
        rule,
        message: format!("job '{id}': because {because}, but then came: {output}"),
        allowed,
        section,
    }
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

type Reason = (&'static str, &'static str, String);

fn status_rule(worlds: &[World], now: &[Status], member: usize, to: Status) -> Reason {
    if now == [to] {
        return (
            "status-repeated",
            "1b",
            format!("the job is {to} already, and only a change is announced"),
        );
    }
    if !now.iter().any(|from| from.may_become(to)) {
        return (
            "status-transition",
            "1b",
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
            "created-unasked",
            "2.1",
            "nobody asked for its creation".to_owned(),
        ),
        Status::Running | Status::Ready if now.iter().all(|from| from.is_parked()) => (
            "pause-in-force",
            "4.6",
            "its pause has not been withdrawn and no forced cancel overrides it".to_owned(),
        ),
        Status::Running if all(&|world| job(world).starting) => (
            "start-order",
            "6.1",
            "the jobs of one transaction start in an order, and it is not its turn".to_owned(),
        ),
        Status::Running => (
            "started-unasked",
            "2.2",
            "nobody asked for its start".to_owned(),
        ),
        Status::Ready => (
            "ready-unexpected",
            "5.4",
            "it has nothing to converge with".to_owned(),
        ),
        Status::Paused | Status::Standby => (
            "paused-unasked",
            "4.2",
            "no pause is requested, or the job has not come to a pause point".to_owned(),
        ),
        Status::Waiting if all(&|world| job(world).forced() || world.group.aborting) => (
            "cancel-lost",
            "5.3",
            "it was cancelled by force, or its transaction is being brought down".to_owned(),
        ),
        Status::Waiting => (
            "ended-unasked",
            "5.4",
            "it ends well only when ready and told to finish".to_owned(),
        ),
        Status::Pending if all(&|world| world.group.aborting) => (
            "group-aborting",
            "6.5",
            "a member of its transaction failed or was cancelled, which brings all of them down"
                .to_owned(),
        ),
        Status::Pending => (
            "pending-before-all-waiting",
            "6.3",
            "some member of its transaction has not ended its run, or a newer member comes first"
                .to_owned(),
        ),
        Status::Aborting => (
            "aborting-unasked",
            "6.5",
            "neither it nor a member of its transaction failed or was cancelled".to_owned(),
        ),
        Status::Concluded if undecided(worlds, member) => (
            "finalize-unasked",
            "2.8",
            "its transaction waits for its user to finalize it".to_owned(),
        ),
        Status::Concluded => (
            "terminal-event-missing",
            "7.1",
            "its terminal event and what belongs before it have not come".to_owned(),
        ),
        Status::Null => (
            "dismiss-unasked",
            "2.8",
            "nobody dismissed it and it does not dismiss itself".to_owned(),
        ),
        Status::Undefined => (
            "status-transition",
            "1b",
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
        Owes::Ready => ("ready-event-missing", Event::Ready),
        Owes::Pending | Owes::Nothing => ("pending-event-missing", Event::Pending),
    };
    worlds
        .iter()
        .all(|world| owes(world) == Some(first))
        .then(|| {
            (
                rule,
                "7.4",
                format!("{event} must follow its status at once"),
            )
        })
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
            "event-of-non-block-job",
            "7.1",
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
            "terminal-event-kind",
            "5.3",
            "it was cancelled by force, which BLOCK_JOB_CANCELLED tells".to_owned(),
        ),
        Event::Completed { error } if possible.iter().any(ended) => (
            "terminal-event-error",
            "10.1 P48",
            if error {
                "it is committed, and a committed job has no error".to_owned()
            } else {
                "it is aborted, and an aborted job has an error".to_owned()
            },
        ),
        Event::Cancelled if possible.iter().any(ended) => (
            "cancelled-unasked",
            "5.3",
            "nobody cancelled it by force".to_owned(),
        ),
        Event::Completed { .. } | Event::Cancelled if undecided(worlds, member) => (
            "finalize-unasked",
            "2.8",
            "its transaction waits for its user to finalize it".to_owned(),
        ),
        Event::Completed { .. } | Event::Cancelled => (
            "terminal-event-order",
            "7.4",
            format!(
                "the job is {}, and a terminal event comes after pending or aborting, newest member first, once",
                names(now)
            ),
        ),
        Event::Ready => (
            "ready-event-order",
            "7.4",
            format!(
                "the job is {}, and the event follows the status ready at once, once",
                names(now)
            ),
        ),
        Event::Pending => (
            "pending-event-order",
            "7.4",
            format!(
                "the job is {}, and the event follows the status pending of a job its user finalizes at once, once",
                names(now)
            ),
        ),
        Event::Error { .. } => (
            "error-event-order",
            "8",
            format!("the job is {} and performs no I/O", names(now)),
        ),
    }
}

fn io_rule(worlds: &[World], member: usize) -> Reason {
    let parked = worlds.iter().all(|world| {
        matches!(
            world.jobs[member].body,
            Body::PauseDone | Body::Parked | Body::Unparked
        )
    });
    if parked {
        (
            "io-while-paused",
            "10.1 P18",
            "the job has quiesced and has not been resumed".to_owned(),
        )
    } else {
        (
            "io-outside-run",
            "10.1 P19",
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
            "pause-lost",
            "10.1 P23",
            "a pause was requested before the pause point and is in force".to_owned(),
        )
    } else {
        (
            "point-order",
            "4.2",
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
    for world in worlds {
        let Some(call) = world.calls.iter().find(|call| call.thread == slot) else {
            continue;
        };
        id = name(ids, call.member.map_or(usize::MAX, usize::from));
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
        && let Some((rule, section, message)) = owing(worlds)
    {
        return Rejection {
            rule,
            message: format!("{request} of job '{id}': because {message}, but the answer came"),
            allowed: Vec::new(),
            section,
        };
    }
    let rule = match reply {
        _ if possible.is_empty() => "reply-too-early",
        Ok(()) => "verb-accepted",
        Err(Refusal::Verb { .. })
            if possible
                .iter()
                .any(|reply| matches!(reply, Err(Refusal::Verb { .. }))) =>
        {
            "refusal-names-status"
        }
        Err(_) if possible.iter().any(Result::is_err) => "refusal-text",
        Err(_) => "verb-refused",
    };
    let allowed: Vec<String> = if possible.is_empty() {
        vec!["no reply yet: what the request set in motion is not done".to_owned()]
    } else {
        possible.iter().copied().map(text).collect()
    };
    Rejection {
        rule,
        message: format!(
            "{request} of job '{id}': because the answer can only be {}, but it was {}",
            listed(&allowed),
            text(reply)
        ),
        allowed,
        section: "2",
    }
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
    let mut complaint = pictures
        .is_empty()
        .then(|| half_done(worlds, ids))
        .flatten();
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
        complaint = match pattern {
            None if !statuses.is_empty() && statuses.iter().all(|&status| listable(status)) => {
                Some((
                    "query-misses-job",
                    "2.3",
                    format!("job '{id}' is {} but is not listed", names(&statuses)),
                ))
            }
            Some(pattern) if !statuses.iter().any(|&status| listable(status)) => Some((
                "query-lists-dead-job",
                "2.3",
                match pattern.status {
                    Some(status) => format!("job '{id}' is gone but is listed as {status}"),
                    None => format!("job '{id}' is gone but is listed"),
                },
            )),
            Some(SightPattern {
                status: Some(status),
                ..
            }) if !statuses.contains(status) => Some((
                "query-status",
                "2.3",
                format!(
                    "job '{id}' is {} but is listed as {status}",
                    names(&statuses),
                ),
            )),
            Some(pattern) => {
                let sights: Vec<_> = pictures
                    .iter()
                    .filter_map(|sights| sights.get(member))
                    .filter(|sight| pattern.status.is_none_or(|status| status == sight.status))
                    .collect();
                let never = |shown: Option<bool>, of: &dyn Fn(&crate::state::Sight) -> bool| {
                    shown.is_some_and(|shown| sights.iter().all(|sight| of(sight) != shown))
                };
                if never(pattern.io_failed, &|sight| sight.io_failed) {
                    Some((
                        "query-io-status",
                        "8",
                        format!("the io-status of job '{id}' does not follow from its errors"),
                    ))
                } else if never(pattern.failed, &|sight| sight.failed) {
                    Some((
                        "query-error",
                        "2.3",
                        format!("job '{id}' is listed with an error exactly when its run failed"),
                    ))
                } else if never(pattern.paused, &|sight| sight.pause_wanted) {
                    Some((
                        "query-paused",
                        "2.3",
                        format!(
                            "job '{id}' is listed as paused exactly while a pause is requested"
                        ),
                    ))
                } else {
                    None
                }
            }
            None => None,
        };
    }
    let (rule, section, message) = complaint.unwrap_or((
        "query-inconsistent",
        "2.3",
        "at no moment between the query and its answer were all these true together".to_owned(),
    ));
    Rejection {
        rule,
        message,
        allowed,
        section,
    }
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
            "auto-dismiss-missing",
            "7.1",
            format!("job '{id}' is concluded and dismisses itself at once, but it has not"),
        )
    } else {
        (
            "query-half-done",
            "7.1",
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
    Rejection {
        rule: "left-undone",
        message: format!("the run is over, but {}", left.join("; ")),
        allowed: vec!["every job concluded or gone, every call returned".to_owned()],
        section: "10.1 P42",
    }
}
