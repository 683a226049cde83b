//! A case in words: what its jobs do, and what its controllers ask.

use crate::actor::{Act, Role};
use crate::asleep::Asleep;
use crate::departure::Departure;
use crate::following::Following;
use crate::harness::Case;
use crate::lockfree::LockFree;
use crate::moments::Moment;
use crate::scenario::{Ask, Scenario};

/// One line for each job and each thread.
pub fn case(case: &Case) -> Vec<String> {
    match case {
        Case::Scenario(world) => scenario(world),
        Case::LockFree(case) => vec![lock_free(*case).to_owned()],
        Case::Following(case) => vec![following(*case).to_owned()],
        Case::Asleep(case) => vec![asleep(*case).to_owned()],
        Case::Moment(moment) => vec![at(*moment).to_owned()],
        Case::Departure(case) => vec![format!("the main loop goes away, and {}", departure(*case))],
        Case::Counters => vec!["two lanes count, and somebody looks (P46)".to_owned()],
    }
}

fn lock_free(case: LockFree) -> &'static str {
    match case {
        LockFree::PauseIsSeen => "a pause that happens before a pause point is not missed (P23)",
        LockFree::CancelIsSeen => "who sees a cancel sees what was written before it",
        LockFree::RequestIsSeen => {
            "who sees that a cancel was requested sees what was written before it"
        }
        LockFree::LaneSeesCancel => "a lane that sees a cancel sees what was written before it",
        LockFree::GateQuiesces => {
            "while the job is paused no lane is in flight, and what lanes wrote is there (P18, P19)"
        }
        LockFree::LaneBegins => {
            "a lane that was let in may begin as late as after `pause`, and is over when the pause is acknowledged (P18)"
        }
        LockFree::TwoLanes => "the same with two lanes",
        LockFree::LaneCallsIn => "a lane enters the body in the middle of its I/O",
        LockFree::LaneStays => {
            "the run leaves a lane behind that enters the body, and nothing is decided before it is out (P27)"
        }
        LockFree::GateLetsGo => {
            "a lane at a closed gate leaves when the job is cancelled, and none enters after that (V9)"
        }
    }
}

fn asleep(case: Asleep) -> &'static str {
    match case {
        Asleep::ForAWhile => "a pause that happens before a sleep is not missed by it (P23)",
        Asleep::NotAtAll => "the same of a sleep of no length",
        Asleep::UntilEntered => "nothing but a pause ends a wait (P23)",
    }
}

fn at(moment: Moment) -> &'static str {
    match moment {
        Moment::Resumed => "who was resumed and has not woken is busy (P26)",
        Moment::Entered => "who waits and was entered is busy before it looks (P26)",
        Moment::Paused => "who waits and was paused is busy before it looks (P26)",
        Moment::Cancelled => "who waits and was cancelled is busy before it looks (P26)",
        Moment::PausedAndResumed => {
            "a pause ends a wait, also one that is over before it is noticed"
        }
        Moment::Committing => "who waits for the decision is told before the job commits",
        Moment::Aborting => "who waits for the decision is told before the job aborts",
    }
}

fn departure(case: Departure) -> &'static str {
    match case {
        Departure::Asleep => "the job sleeps",
        Departure::Waiting => "the job waits to be entered",
        Departure::Ready => "the job waits to be told how to finish",
        Departure::Paused => "somebody pauses the job",
        Departure::Drained => "somebody wants the job quiet",
        Departure::Draining => "somebody waits for the job to come to rest",
        Departure::WaitedFor => "somebody waits until the job is decided",
        Departure::CancelledAndWaitedFor => "somebody cancels the job and waits for its end",
    }
}

fn following(case: Following) -> &'static str {
    match case {
        Following::WrittenAgain => "a region is written twice while it is copied (V15)",
        Following::Neighbours => "two regions of one word are written while they are copied (V15)",
        Following::TwoCopiers => "a region is written while two threads copy (V15, V16)",
        Following::CopyFails => "a copy fails beside another thread's (V15)",
        Following::SeenClean => "who sees that all is copied sees the copies",
        Following::Beyond => "a write beyond the end (V15)",
        Following::SwitchOver => "a write beside copy and switch-over (V13, V15, K8)",
        Following::WriterReturns => "a writer comes twice, the switch-over whenever it likes (V15)",
        Following::TwoWriters => "the same with two writers",
        Following::SwitchFails => "the switch-over fails once, and writers go on until it does not",
        Following::Reopened => "nobody writes for a while, then writers go on",
    }
}

fn scenario(world: &Scenario) -> Vec<String> {
    let several = world.members.iter().any(|member| member.group > 0);
    let mut lines: Vec<String> = world
        .members
        .iter()
        .enumerate()
        .map(|(job, member)| {
            let group = if several {
                format!(" in group {}", member.group)
            } else {
                String::new()
            };
            format!("j{job}{group}: {}", role(&member.role))
        })
        .collect();
    if !world.before_start.is_empty() {
        lines.push(format!(
            "the main loop, before the start, asks {}",
            asks(&world.before_start)
        ));
    }
    if !world.before_loop.is_empty() {
        lines.push(format!(
            "the main loop, after the start, asks {}",
            asks(&world.before_loop)
        ));
    }
    if let Some((status, ask)) = world.home {
        lines.push(format!(
            "the main loop waits until j0 is {status}, and then asks {}",
            asks(&[(0, ask)])
        ));
    }
    if world.late {
        lines.push("the groups after the first come when the controllers are there".to_owned());
    }
    for (place, controller) in world.controllers.iter().enumerate() {
        let early = if world.early {
            ", before the start,"
        } else {
            ""
        };
        lines.push(format!(
            "controller {}{early} asks {}",
            place + 1,
            asks(&controller.0)
        ));
    }
    lines
}

fn role(role: &Role) -> String {
    let mut parts = vec![acts(role.acts)];
    if let Some(ready) = role.ready {
        parts.push("converges".to_owned());
        if !ready.is_empty() {
            parts.push(acts(ready));
        }
        parts.push("waits to be told how to finish".to_owned());
    }
    for (is, words) in [
        (role.prepare_fails, "its prepare fails"),
        (role.reports_cancel, "it reports a cancel as its error"),
        (!role.auto_finalize, "its user finalizes"),
        (!role.auto_dismiss, "its user dismisses"),
        (role.lingers, "more is to come when a drained section asks"),
    ] {
        if is {
            parts.push(words.to_owned());
        }
    }
    if let Some(inside) = role.inside {
        let asked = asks(&[(inside.job, inside.ask)]);
        parts.push(format!("inside its {} it asks {asked}", inside.callback));
    }
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() {
        "does nothing".to_owned()
    } else {
        parts.join(", ")
    }
}

fn acts(acts: &[Act]) -> String {
    let words: Vec<String> = acts
        .iter()
        .map(|act| match act {
            Act::Io => "I/O".to_owned(),
            Act::Point => "pause point".to_owned(),
            Act::Sleep => "sleep".to_owned(),
            Act::Stop => "I/O error that stops it".to_owned(),
            Act::Fail => "failure".to_owned(),
        })
        .collect();
    words.join(", ")
}

fn asks(asks: &[(u8, Ask)]) -> String {
    if asks.is_empty() {
        return "nothing".to_owned();
    }
    let words: Vec<String> = asks
        .iter()
        .map(|(job, ask)| match ask {
            Ask::HoldAll => "pause-all".to_owned(),
            Ask::ReleaseAll => "resume-all".to_owned(),
            Ask::AwaitReady => format!("nothing until j{job} is ready"),
            Ask::AwaitPaused => format!("nothing until j{job} is paused"),
            Ask::Enter => format!("enter of j{job}"),
            Ask::Start => format!("start of j{job}'s group"),
            Ask::GiveUp => format!("early-fail of j{job}"),
            Ask::DrainBegin => format!("drained-begin of j{job}"),
            Ask::DrainAll => "drained-begin".to_owned(),
            Ask::DrainEnd => "drained-end".to_owned(),
            Ask::Attach => format!("attach-context of j{job}"),
            Ask::CancelAll => "cancel-sync-all".to_owned(),
            Ask::WaitDecided => format!("wait-decided of j{job}"),
            Ask::Look => "query".to_owned(),
            Ask::CancelSync | Ask::CancelSoftSync | Ask::CompleteSync => {
                ask.request().map_or_else(String::new, |request| {
                    format!("{request} of j{job}, and waits")
                })
            }
            ask => ask.request().map_or_else(
                || format!("{ask:?}"),
                |request| format!("{request} of j{job}"),
            ),
        })
        .collect();
    words.join(", ")
}
