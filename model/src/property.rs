//! What must hold, whatever drivers, schedulers and callers choose: SEMANTICS.md §10 as code.
//!
//! A property is one sentence and one small function, over a world ([`Check::World`]) or over a
//! step from one world to the next ([`Check::Edge`]). Numbers are those of §10.1 (`P…`) and, for
//! what only the reference decides, those of DECISIONS (`D…`).
//!
//! Here: P1, P3–P22, P24, P27, P29, P31–P38, P47, P48 and D7, D12, D17, D18, D20, D38, D40,
//! and CLOSED. P2 (a refusal changes nothing) is a test of the relation, because the explorer makes no
//! step of a refusal; P39–P45 are [`crate::explore::liveness`]; the others speak of timers, locks or
//! references, which the engine has. `docs/properties.md` says of each what checks it.

use crate::explore::Move;
use crate::profile::Profile;
use crate::request::{Effect, bit, judge};
use crate::state::{Body, Call, Cancel, Job, Outcome, PeerCancel, Phase, Tail, World};
use crate::status::Status;
use crate::step::{Changed, Output, Step};
use crate::vocabulary::{Callback, Event, Request};

/// What has been seen of one job so far, told from the outputs alone, as an observer would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct History(u32);

/// Where a job is between `pause` and `resume`, as seen from its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pausing {
    /// Between no two of them.
    No,
    /// Inside `pause`.
    In,
    /// After `pause`, before `resume`.
    Quiet,
    /// Inside `resume`.
    Out,
}

impl History {
    /// How many bits a history takes.
    pub const BITS: u32 = 16;

    const RUN_BEGUN: u32 = 1;
    const RUN_OVER: u32 = 1 << 1;
    const PREPARE_BEGUN: u32 = 1 << 2;
    const PREPARED: u32 = 1 << 3;
    const COMMIT_BEGUN: u32 = 1 << 4;
    const ABORT_BEGUN: u32 = 1 << 5;
    const DECIDED: u32 = 1 << 6;
    const CLEAN_BEGUN: u32 = 1 << 7;
    const CLEANED: u32 = 1 << 8;
    const COMPLETION_BEGUN: u32 = 1 << 9;
    const COMPLETED: u32 = 1 << 10;
    const ANNOUNCED: u32 = 1 << 11;
    const COMPLETE_BEGUN: u32 = 1 << 12;
    const FREE_BEGUN: u32 = 1 << 13;
    const PAUSING: u32 = 14;

    /// All of it as bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The history [`History::bits`] wrote.
    pub const fn from_bits(bits: u32) -> History {
        History(bits)
    }

    const fn has(self, what: u32) -> bool {
        self.0 & what != 0
    }

    /// `run` began.
    pub const fn ran(self) -> bool {
        self.has(Self::RUN_BEGUN)
    }

    /// `commit` began.
    pub const fn committed(self) -> bool {
        self.has(Self::COMMIT_BEGUN)
    }

    /// `abort` began.
    pub const fn aborted(self) -> bool {
        self.has(Self::ABORT_BEGUN)
    }

    /// The terminal event was sent.
    pub const fn announced(self) -> bool {
        self.has(Self::ANNOUNCED)
    }

    /// Where it is between `pause` and `resume`.
    pub const fn pausing(self) -> Pausing {
        match self.0 >> Self::PAUSING {
            0 => Pausing::No,
            1 => Pausing::In,
            2 => Pausing::Quiet,
            _ => Pausing::Out,
        }
    }

    const fn set_pausing(&mut self, pausing: Pausing) {
        let rest = self.0 & ((1 << Self::PAUSING) - 1);
        self.0 = rest | ((pausing as u32) << Self::PAUSING);
    }

    /// What a member's group reads of it, for [`crate::crowd`]: how far its end has come.
    ///
    /// Where its result is an error, whether it was prepared says nothing more. Where it is final,
    /// all that is left is which decision it was; what comes after is noted as having been, so that
    /// anything of it that still came would be seen as a second time.
    pub(crate) const fn of_a_member(self, failed: bool, is_final: bool) -> History {
        let decision = Self::COMMIT_BEGUN | Self::ABORT_BEGUN | Self::DECIDED;
        let after = Self::CLEAN_BEGUN
            | Self::CLEANED
            | Self::COMPLETION_BEGUN
            | Self::COMPLETED
            | Self::ANNOUNCED;
        let before = if failed {
            0
        } else {
            Self::PREPARE_BEGUN | Self::PREPARED
        };
        let kept = self.0 & (before | decision | after);
        History(if is_final { kept | after } else { kept })
    }

    /// Takes note of an output of this job.
    pub const fn note(&mut self, output: Output) {
        match output {
            Output::Begin(_, callback) => match callback {
                Callback::Run => self.0 |= Self::RUN_BEGUN,
                Callback::Prepare => self.0 |= Self::PREPARE_BEGUN,
                Callback::Commit => self.0 |= Self::COMMIT_BEGUN,
                Callback::Abort => self.0 |= Self::ABORT_BEGUN,
                Callback::Clean => self.0 |= Self::CLEAN_BEGUN,
                Callback::Completion => self.0 |= Self::COMPLETION_BEGUN,
                Callback::Complete => self.0 |= Self::COMPLETE_BEGUN,
                Callback::Pause => self.set_pausing(Pausing::In),
                Callback::Resume => self.set_pausing(Pausing::Out),
                Callback::Free => self.0 |= Self::FREE_BEGUN,
                Callback::Cancel
                | Callback::SetSpeed
                | Callback::UserResume
                | Callback::Drain
                | Callback::DrainedPoll
                | Callback::AttachedContext => {}
            },
            Output::End(_, callback, well) => match callback {
                Callback::Run => self.0 |= Self::RUN_OVER,
                Callback::Prepare if well => self.0 |= Self::PREPARED,
                Callback::Commit | Callback::Abort => self.0 |= Self::DECIDED,
                Callback::Clean => self.0 |= Self::CLEANED,
                Callback::Completion => self.0 |= Self::COMPLETED,
                Callback::Pause => self.set_pausing(Pausing::Quiet),
                Callback::Resume => self.set_pausing(Pausing::No),
                _ => {}
            },
            Output::Event(_, Event::Completed { .. } | Event::Cancelled) => {
                self.0 |= Self::ANNOUNCED;
            }
            _ => {}
        }
    }
}

/// A world with what has happened in it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The world.
    pub world: &'a World,
    /// What has been seen of each member.
    pub history: &'a [History],
    /// Whose rules are in force.
    pub profile: &'a Profile,
}

/// A step from one world to the next.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    /// Where it began.
    pub before: Place<'a>,
    /// What was done.
    pub made: Move,
    /// What can be seen of it.
    pub output: Option<Output>,
    /// Where it led. Its history includes the output.
    pub after: Place<'a>,
    /// In what the two worlds can differ.
    pub changed: Changed,
}

impl<'a> Edge<'a> {
    /// Each member that may have changed, before and after.
    pub(crate) fn members(&self) -> impl Iterator<Item = (usize, &'a Job, &'a Job)> {
        let members = match self.changed {
            Changed::Member(member) => member..member + 1,
            Changed::Calls => 0..0,
            Changed::Anything => 0..self.before.world.jobs.len(),
        };
        let before = &self.before.world.jobs[members.clone()];
        let after = &self.after.world.jobs[members.clone()];
        members
            .zip(before)
            .zip(after)
            .map(|((member, before), after)| (member, before, after))
    }

    /// It shows something of the end of a job, or answers a request: a status from waiting on, a
    /// callback other than those of the run, an event of the end. Most steps do not.
    fn is_late(&self) -> bool {
        match self.output {
            None
            | Some(
                Output::PointBegin(_)
                | Output::PointEnd(_)
                | Output::IoBegin(_)
                | Output::IoEnd(_)
                | Output::Begin(_, Callback::Run | Callback::Pause | Callback::Resume)
                | Output::End(..)
                | Output::Event(_, Event::Ready | Event::Error { .. })
                | Output::Status(
                    _,
                    Status::Created
                    | Status::Running
                    | Status::Paused
                    | Status::Ready
                    | Status::Standby,
                ),
            ) => matches!(self.made, Move::Answer(..)),
            Some(_) => true,
        }
    }

    /// The member whose `callback` begins in this step.
    fn begins(&self, callback: Callback) -> Option<usize> {
        match self.output {
            Some(Output::Begin(member, begun)) if begun == callback => Some(member),
            _ => None,
        }
    }

    /// The member that comes to `status` in this step.
    fn comes_to(&self, status: Status) -> Option<usize> {
        match self.output {
            Some(Output::Status(member, to)) if to == status => Some(member),
            _ => None,
        }
    }
}

impl Place<'_> {
    /// The members that take part in the decision, with their history: all but those that were
    /// given up before their start, or never came into being.
    fn members(&self) -> impl DoubleEndedIterator<Item = (usize, &Job, History)> {
        self.world
            .jobs
            .iter()
            .zip(self.history)
            .enumerate()
            .map(|(member, (job, &history))| (member, job, history))
            .filter(|(_, job, history)| {
                job.status != Status::Undefined
                    && (job.status != Status::Null || history.committed() || history.aborted())
            })
    }

    fn refuses(&self, member: usize, request: Request) -> bool {
        matches!(
            judge(self.world, member, request, false, self.profile),
            Effect::Refuse(_)
        )
    }
}

/// The kinds of check.
#[derive(Clone, Copy)]
pub enum Check {
    /// Holds in every world.
    World(fn(&Place<'_>) -> bool),
    /// Holds for every step.
    Edge(fn(&Edge<'_>) -> bool),
}

/// Something that must hold.
#[derive(Clone, Copy)]
pub struct Property {
    /// Its number: `P7`, `D40`.
    pub id: &'static str,
    /// A short name.
    pub name: &'static str,
    /// What it says.
    pub sentence: &'static str,
    /// How it is checked.
    pub check: Check,
}

impl Property {
    /// The property with this number, in whatever case.
    pub fn by_id(id: &str) -> Option<&'static Property> {
        ALL.iter()
            .find(|property| property.id.eq_ignore_ascii_case(id))
    }

    /// It is one of [`ALL`], and checked as there.
    pub(crate) fn is_listed(&self) -> bool {
        ALL.iter().any(|listed| {
            listed.id == self.id
                && match (listed.check, self.check) {
                    (Check::World(listed), Check::World(own)) => core::ptr::fn_addr_eq(listed, own),
                    (Check::Edge(listed), Check::Edge(own)) => core::ptr::fn_addr_eq(listed, own),
                    _ => false,
                }
        })
    }
}

/// The list, and the same once more as one function a kind: most worlds and steps keep everything,
/// and asking for all at once is several times faster than asking one after the other.
macro_rules! properties {
    ($($kind:ident($id:literal, $name:literal, $sentence:literal, $check:ident),)*) => {
        /// Every property this model can state.
        pub const ALL: &[Property] = &[$($kind($id, $name, $sentence, $check)),*];

        /// Nothing in [`ALL`] has anything against this world.
        pub fn world_keeps_all(place: &Place<'_>) -> bool {
            $(properties!(@world $kind $check place) &&)* true
        }

        /// Nothing in [`ALL`] has anything against this step.
        pub fn edge_keeps_all(step: &Edge<'_>) -> bool {
            let late = step.is_late();
            $(properties!(@edge $kind $check step late) &&)* true
        }
    };
    (@world world $check:ident $place:ident) => { $check($place) };
    (@world edge $check:ident $place:ident) => { true };
    (@world late $check:ident $place:ident) => { true };
    (@edge edge $check:ident $edge:ident $late:ident) => { $check($edge) };
    (@edge late $check:ident $edge:ident $late:ident) => { (!$late || $check($edge)) };
    (@edge world $check:ident $edge:ident $late:ident) => { true };
}

#[rustfmt::skip]
properties! {
    edge("P1", "table", "A status changes only along the table, one at a time, and each change is announced.", table),
    edge("P3", "pauses-are-owned", "A pause ends by who asked for it, by a forced cancel, or with the run.", pauses_are_owned),
    world("P4", "one-user-pause", "A job its user pauses is held, once: a second pause is refused (in 2.11 it does nothing), and a resume exactly when the user does not hold it.", one_user_pause),
    world("P5", "failed-means-paused", "A job stopped by an I/O error is held by its user's pause.", failed_means_paused),
    edge("P6", "cancel-rises", "The level of a cancel never falls.", cancel_rises),
    world("P7", "parked-means-paused", "A started job is parked exactly while its status says paused or standby.", parked_means_paused),
    late("P8", "one-decision", "Each concluded job was committed or aborted, once, and never both; one given up before its start neither.", one_decision),
    late("P9", "decision-follows-result", "Commit means success, abort means an error.", decision_follows_result),
    late("P10", "clean-then-completion", "Clean comes once, after the decision; the completion function once, after clean and before the terminal event.", clean_then_completion),
    late("P11", "prepare-once", "Prepare comes at most once, only after success, and before any commit of the group.", prepare_once),
    late("P12", "commit-when-all-can", "No commit before every member's run ended well and was prepared, where drivers prepare.", commit_when_all_can),
    world("P13", "all-or-nothing", "All members of a group commit, or all abort.", all_or_nothing),
    edge("P14", "abort-once", "A group is brought down at most once, and stays so.", abort_once),
    late("P15", "peers-cancelled-first", "Before any member aborts, every member but the initiator is cancelled by force and was told.", peers_cancelled_first),
    late("P16", "terminal-event", "A started block job that concludes has announced it once, as cancelled exactly when cancelled by force; others announce nothing.", terminal_event),
    edge("P17", "run-and-pauses", "Run comes once for a started job; pause and resume alternate inside it and around nothing else.", run_and_pauses),
    edge("P18", "parked-is-still", "A parked job does nothing before it leaves the park.", parked_is_still),
    edge("P19", "quiet-has-no-io", "From the acknowledgement of a pause to its release no I/O is in flight and none begins.", quiet_has_no_io),
    edge("P22", "ended-stays-ended", "Nothing enters a body whose run has ended.", ended_stays_ended),
    edge("P20", "one-wake-a-park", "A body leaves a park, a sleep or a wait once, to a pause point or to resume, and for a reason.", one_wake_a_park),
    world("P21", "timer-means-asleep", "A timer is pending only for a started job that is neither paused nor over.", timer_means_asleep),
    late("P24", "cancel-is-not-lost", "A forced cancel before the main loop took over the run, or before the decision, shows in the result.", cancel_is_not_lost),
    world("P27", "callbacks-exclude-each-other", "Callbacks of the main loop never overlap, nor a decision its own job's run.", callbacks_exclude_each_other),
    edge("P29", "freed-once", "The driver is let go of once, after everything else.", freed_once),
    late("P31", "event-follows-decision", "Never a commit reported as cancelled or failed, never an abort reported as success.", event_follows_decision),
    world("P32", "complete-after-cancel", "Complete is refused once a cancel was accepted.", complete_after_cancel),
    edge("P33", "park-follows-requests", "A job parks only while somebody (in QEMU also the block layer) wants it paused, and leaves only when nobody does.", park_follows_requests),
    edge("P34", "speed-ends-no-pause", "A change of speed ends no pause and no wait without a timer.", speed_ends_no_pause),
    world("P35", "waiting-verbs", "A waiting job refuses everything but cancel, where statuses decide about verbs.", waiting_verbs),
    late("P36", "finalize-decides", "When finalize has been answered, no member is pending.", finalize_decides),
    edge("P37", "null-is-the-end", "A job vanishes only from concluded, or untouched from created.", null_is_the_end),
    world("P38", "unstarted-goes-silently", "A job cancelled before its start announces nothing and dismisses itself.", unstarted_goes_silently),
    late("P47", "newest-first", "Members are prepared and committed newest first; abort takes unstarted ones (not in QEMU), then the newest.", newest_first),
    world("P48", "error-means-abort", "A concluded job has no error exactly when it was committed.", error_means_abort),
    world("CLOSED", "closed-means-final", "When a group has been decided and is closed, every member is final.", closed_means_final),
    edge("D7", "drained-stays-quiet", "A job that a drained section found quiet stays so until the section ends or a forced cancel.", drained_stays_quiet),
    late("D12", "a-move-needs-quiet", "A job moves to another context only while a drained section keeps it quiet.", a_move_needs_quiet),
    late("D17", "complete-is-latched", "The driver is told to complete at most once.", complete_is_latched),
    world("D18", "ended-is-waiting", "Once its run has ended a job can be cancelled, and nothing else.", ended_is_waiting),
    late("D20", "finalize-tells", "Finalize answers with the failure of a prepare it ran.", finalize_tells),
    late("D38", "pause-ends-are-told", "The driver is told of the end of its user's pause while the pause still holds it, and of nothing else.", pause_ends_are_told),
    world("D40", "no-late-pause", "A job whose run the main loop took over is not paused.", no_late_pause),
}

const fn world(
    id: &'static str,
    name: &'static str,
    sentence: &'static str,
    check: fn(&Place<'_>) -> bool,
) -> Property {
    Property {
        id,
        name,
        sentence,
        check: Check::World(check),
    }
}

/// As [`edge`], for what has nothing to say of a step that is not [`Edge::is_late`].
const fn late(
    id: &'static str,
    name: &'static str,
    sentence: &'static str,
    check: fn(&Edge<'_>) -> bool,
) -> Property {
    edge(id, name, sentence, check)
}

const fn edge(
    id: &'static str,
    name: &'static str,
    sentence: &'static str,
    check: fn(&Edge<'_>) -> bool,
) -> Property {
    Property {
        id,
        name,
        sentence,
        check: Check::Edge(check),
    }
}

fn table(edge: &Edge<'_>) -> bool {
    let announced = match edge.output {
        Some(Output::Status(member, status)) => Some((member, status)),
        _ => None,
    };
    let mut changed = None;
    for (member, before, after) in edge.members() {
        if before.status != after.status {
            if changed.is_some() || !before.status.may_become(after.status) {
                return false;
            }
            changed = Some((member, after.status));
        }
    }
    changed == announced
}

fn pauses_are_owned(edge: &Edge<'_>) -> bool {
    edge.members().all(|(member, before, after)| {
        let lost = before.user_paused && !after.user_paused || before.holds & !after.holds != 0;
        if !lost {
            return true;
        }
        let over = after.forced() || after.body == Body::Ended;
        let asked = |wanted: Request| match edge.made {
            Move::Ask(asked, request) => {
                request == wanted && asked.is_none_or(|asked| asked == member)
            }
            // Where the end of a pause is set down after its callback (38).
            Move::Step(Step::RequestEffect(place)) => {
                let call = &edge.before.world.calls[place];
                call.request == wanted && call.member.map(usize::from) == Some(member)
            }
            Move::Step(_) | Move::Answer(..) => false,
        };
        // Each hold that is gone is gone by the release of its own token.
        let released = |token: u8| {
            before.holds & !after.holds & bit(token) == 0
                || asked(Request::Release { token })
                || asked(Request::DrainEnd { token })
        };
        (!before.user_paused || after.user_paused || over || asked(Request::Resume))
            && (over || (0..8).all(released))
    })
}

/// It counts for one because it cannot be taken twice and ends with one resume.
fn one_user_pause(place: &Place<'_>) -> bool {
    place.world.jobs.iter().enumerate().all(|(member, job)| {
        // Where a repeated request succeeds, it does nothing.
        let refuses = |request| place.profile.pause_is_idempotent || place.refuses(member, request);
        !job.stacked
            && if job.user_paused {
                job.pause_wanted() && refuses(Request::Pause)
            } else {
                refuses(Request::Resume)
            }
    })
}

fn failed_means_paused(place: &Place<'_>) -> bool {
    place
        .world
        .jobs
        .iter()
        .all(|job| job.io_status.is_ok() || job.user_paused)
}

fn cancel_rises(edge: &Edge<'_>) -> bool {
    edge.members()
        .all(|(_, before, after)| before.cancel <= after.cancel)
}

fn parked_means_paused(place: &Place<'_>) -> bool {
    place
        .world
        .jobs
        .iter()
        .all(|job| job.status.is_parked() == (job.body == Body::Parked))
}

fn one_decision(edge: &Edge<'_>) -> bool {
    if let Some(member) = edge
        .begins(Callback::Commit)
        .or(edge.begins(Callback::Abort))
    {
        let history = edge.before.history[member];
        return !history.committed() && !history.aborted();
    }
    if let Some(member) = edge.comes_to(Status::Concluded) {
        let history = edge.before.history[member];
        return history.has(History::DECIDED) && history.committed() != history.aborted();
    }
    if let Some(member) = edge.comes_to(Status::Null)
        && edge.before.world.jobs[member].status == Status::Created
    {
        return edge.before.history[member] == History::default();
    }
    true
}

fn decision_follows_result(edge: &Edge<'_>) -> bool {
    let outcome = |member: usize| edge.before.world.jobs[member].outcome;
    if let Some(member) = edge.begins(Callback::Commit) {
        outcome(member) == Outcome::Success
    } else if let Some(member) = edge.begins(Callback::Abort) {
        matches!(outcome(member), Outcome::Failure | Outcome::Cancelled)
    } else {
        true
    }
}

fn clean_then_completion(edge: &Edge<'_>) -> bool {
    let history = |member: usize| edge.before.history[member];
    if let Some(member) = edge.begins(Callback::Clean) {
        history(member).has(History::DECIDED) && !history(member).has(History::CLEAN_BEGUN)
    } else if let Some(member) = edge.begins(Callback::Completion) {
        history(member).has(History::CLEANED) && !history(member).has(History::COMPLETION_BEGUN)
    } else if let Some(member) = terminal(edge.output).or(edge.comes_to(Status::Concluded)) {
        let called = history(member).has(History::COMPLETED)
            || !edge.before.world.jobs[member].spec.completion;
        history(member).has(History::CLEANED) && called
    } else {
        true
    }
}

/// The member whose terminal event this is.
fn terminal(output: Option<Output>) -> Option<usize> {
    match output {
        Some(Output::Event(member, Event::Completed { .. } | Event::Cancelled)) => Some(member),
        _ => None,
    }
}

fn prepare_once(edge: &Edge<'_>) -> bool {
    edge.begins(Callback::Prepare).is_none_or(|member| {
        !edge.before.history[member].has(History::PREPARE_BEGUN)
            && edge.before.world.jobs[member].outcome == Outcome::Success
            && !edge.before.history.iter().any(|past| past.committed())
    })
}

fn commit_when_all_can(edge: &Edge<'_>) -> bool {
    edge.begins(Callback::Commit).is_none()
        || edge.before.members().all(|(_, job, history)| {
            job.body == Body::Ended
                && job.outcome == Outcome::Success
                && (history.has(History::PREPARED) || !edge.before.profile.prepare_callback)
        })
}

fn all_or_nothing(place: &Place<'_>) -> bool {
    let any = |what: fn(History) -> bool| place.history.iter().any(|&past| what(past));
    !(any(History::committed) && any(History::aborted))
}

fn abort_once(edge: &Edge<'_>) -> bool {
    let (before, after) = (edge.before.world.group, edge.after.world.group);
    let begins = before.phase != Phase::Aborting && after.phase == Phase::Aborting;
    !before.aborting || (after.aborting && !begins)
}

fn peers_cancelled_first(edge: &Edge<'_>) -> bool {
    edge.begins(Callback::Abort).is_none_or(|_| {
        let spared = |(_, job, _): &(usize, &Job, History)| !job.forced();
        edge.before.members().filter(spared).count() <= 1
            && edge
                .before
                .members()
                .all(|(_, job, _)| job.peer_cancel == PeerCancel::No)
    })
}

fn terminal_event(edge: &Edge<'_>) -> bool {
    if let (Some(member), Some(Output::Event(_, event))) = (terminal(edge.output), edge.output) {
        let job = &edge.before.world.jobs[member];
        return !edge.before.history[member].announced()
            && job.started()
            && job.spec.block
            && (event == Event::Cancelled) == job.forced();
    }
    edge.comes_to(Status::Concluded).is_none_or(|member| {
        let job = &edge.before.world.jobs[member];
        edge.before.history[member].announced() == (job.started() && job.spec.block)
    })
}

fn run_and_pauses(edge: &Edge<'_>) -> bool {
    let (member, wanted) = match edge.output {
        Some(Output::Begin(member, Callback::Run)) => {
            let job = &edge.before.world.jobs[member];
            return job.started()
                && !edge.before.history[member].ran()
                && edge.before.history[member].pausing() == Pausing::No;
        }
        Some(Output::Begin(member, Callback::Pause) | Output::End(member, Callback::Run, _)) => {
            (member, Pausing::No)
        }
        Some(Output::End(member, Callback::Pause, _)) => (member, Pausing::In),
        Some(Output::Begin(member, Callback::Resume)) => (member, Pausing::Quiet),
        Some(Output::End(member, Callback::Resume, _)) => (member, Pausing::Out),
        Some(Output::Status(member, Status::Waiting | Status::Aborting)) => {
            // Whoever was started has run, unless cancelled before its first step (24).
            let job = &edge.after.world.jobs[member];
            let history = edge.before.history[member];
            let skipped = edge.before.profile.cancelled_before_run_is_skipped && job.forced();
            return !job.started() && !history.ran()
                || job.started() && history.has(History::RUN_OVER)
                || job.started() && !history.ran() && skipped;
        }
        _ => return true,
    };
    let history = edge.before.history[member];
    history.pausing() == wanted && !history.has(History::RUN_OVER)
}

fn parked_is_still(edge: &Edge<'_>) -> bool {
    match edge.output {
        Some(
            Output::IoBegin(member)
            | Output::IoEnd(member)
            | Output::PointBegin(member)
            | Output::PointEnd(member)
            | Output::Begin(member, Callback::Run | Callback::Pause | Callback::Resume)
            | Output::End(member, Callback::Run | Callback::Pause | Callback::Resume, _)
            | Output::Event(member, Event::Ready | Event::Error { .. }),
        ) => !edge.before.world.jobs[member].status.is_parked(),
        _ => true,
    }
}

fn quiet_has_no_io(edge: &Edge<'_>) -> bool {
    if let Some(Output::IoBegin(member)) = edge.output {
        let (job, history) = (&edge.before.world.jobs[member], edge.before.history[member]);
        // The park is over, and `resume` has not begun.
        let released = job.body == Body::Unparked;
        return !job.status.is_parked()
            && !released
            && history.ran()
            && !history.has(History::RUN_OVER);
    }
    edge.members()
        .all(|(_, _, after)| !after.status.is_parked() || after.in_flight == 0)
}

fn ended_stays_ended(edge: &Edge<'_>) -> bool {
    edge.members()
        .all(|(_, before, after)| before.body != Body::Ended || after.body == Body::Ended)
}

fn cancel_is_not_lost(edge: &Edge<'_>) -> bool {
    if let Some(member) = edge
        .comes_to(Status::Waiting)
        .or(edge.begins(Callback::Commit))
    {
        return !edge.before.world.jobs[member].forced();
    }
    true
}

fn callbacks_exclude_each_other(place: &Place<'_>) -> bool {
    let world = place.world;
    let inside = |tail: Tail| {
        matches!(
            tail,
            Tail::Preparing | Tail::Committing | Tail::Aborting | Tail::Cleaning | Tail::Completing
        )
    };
    let mut running = 0;
    for job in &world.jobs {
        if inside(job.tail) {
            running += 1;
            if !job.at_rest() {
                return false;
            }
        }
        running += u32::from(job.peer_cancel == PeerCancel::In);
    }
    running += u32::from(world.in_request_callback());
    running <= 1
}

fn one_wake_a_park(edge: &Edge<'_>) -> bool {
    edge.members().all(|(_, before, after)| {
        if before.body == after.body {
            return true;
        }
        let wanted = before.woken || before.should_pause() || before.forced();
        match before.body {
            Body::Parked => after.body == Body::Unparked,
            // The timer may fire at any moment.
            Body::Asleep => after.body == Body::AtPoint && !after.woken,
            Body::Yielded => after.body == Body::AtPoint && wanted && !after.woken,
            _ => true,
        }
    })
}

fn timer_means_asleep(place: &Place<'_>) -> bool {
    place.world.jobs.iter().all(|job| {
        !matches!(job.body, Body::Asleep | Body::Yielded)
            || (job.entered && matches!(job.status, Status::Running | Status::Ready))
    })
}

fn speed_ends_no_pause(edge: &Edge<'_>) -> bool {
    let set_down = |call: &&Call| {
        matches!(edge.made, Move::Step(Step::RequestEffect(_)))
            && matches!(call.request, Request::SetSpeed { .. })
    };
    edge.before.world.calls.iter().find(set_down).is_none()
        || edge.members().all(|(_, before, after)| {
            let rests = matches!(before.body, Body::Parked | Body::Yielded);
            before.body == after.body
                && before.pause_wanted() == after.pause_wanted()
                && (!rests || before.woken == after.woken)
        })
}

fn freed_once(edge: &Edge<'_>) -> bool {
    let freed = |place: &Place<'_>, member: usize| place.history[member].has(History::FREE_BEGUN);
    match edge.output {
        Some(Output::Begin(member, Callback::Free)) => {
            edge.before.world.jobs[member].status == Status::Null && !freed(&edge.before, member)
        }
        Some(Output::Begin(member, _) | Output::Status(member, _) | Output::Event(member, _)) => {
            !freed(&edge.before, member)
        }
        _ => true,
    }
}

fn drained_stays_quiet(edge: &Edge<'_>) -> bool {
    edge.members().all(|(_, before, after)| {
        let kept = before.drained & after.drained != 0 && !after.forced();
        !kept || (after.in_flight == 0 && after.is_quiet())
    })
}

fn a_move_needs_quiet(edge: &Edge<'_>) -> bool {
    edge.begins(Callback::AttachedContext).is_none_or(|member| {
        let job = &edge.before.world.jobs[member];
        job.drained != 0 && job.is_quiet()
    })
}

fn pause_ends_are_told(edge: &Edge<'_>) -> bool {
    edge.begins(Callback::UserResume).is_none_or(|member| {
        let job = &edge.before.world.jobs[member];
        // A run may end while the resume is under way.
        job.user_paused || job.resuming || job.body == Body::Ended
    })
}

fn event_follows_decision(edge: &Edge<'_>) -> bool {
    match edge.output {
        Some(Output::Event(member, Event::Completed { error: false })) => {
            edge.before.history[member].committed()
        }
        Some(Output::Event(member, Event::Completed { error: true } | Event::Cancelled)) => {
            edge.before.history[member].aborted()
        }
        _ => true,
    }
}

fn complete_after_cancel(place: &Place<'_>) -> bool {
    place
        .world
        .jobs
        .iter()
        .enumerate()
        .all(|(member, job)| job.cancel == Cancel::No || place.refuses(member, Request::Complete))
}

fn park_follows_requests(edge: &Edge<'_>) -> bool {
    edge.members().all(|(_, before, after)| {
        if before.body != Body::Parked && after.body == Body::Parked {
            before.should_pause() || edge.before.profile.internal_pauses
        } else if before.body == Body::Parked && after.body != Body::Parked {
            !before.should_pause()
        } else {
            true
        }
    })
}

/// What a job refuses once its run has ended.
const NOT_FOR_THE_ENDED: [Request; 4] = [
    Request::Pause,
    Request::Complete,
    Request::Dismiss,
    Request::SET_SPEED,
];

fn waiting_verbs(place: &Place<'_>) -> bool {
    place.world.jobs.iter().enumerate().all(|(member, job)| {
        job.status != Status::Waiting
            || !place.profile.verb_table
            || (NOT_FOR_THE_ENDED
                .iter()
                .all(|&request| place.refuses(member, request))
                && place.refuses(member, Request::Finalize)
                && !place.refuses(member, Request::Cancel { force: true }))
    })
}

fn ended_is_waiting(place: &Place<'_>) -> bool {
    place.world.jobs.iter().enumerate().all(|(member, job)| {
        job.body != Body::Ended
            || job.status.is_completed()
            || (NOT_FOR_THE_ENDED
                .iter()
                .all(|&request| place.refuses(member, request))
                && place.refuses(member, Request::Resume)
                && !place.refuses(member, Request::Cancel { force: false })
                && !place.refuses(member, Request::Cancel { force: true }))
    })
}

fn finalize_decides(edge: &Edge<'_>) -> bool {
    !matches!(edge.made, Move::Answer(Request::Finalize, _))
        || edge
            .after
            .world
            .jobs
            .iter()
            .all(|job| job.status != Status::Pending)
}

fn finalize_tells(edge: &Edge<'_>) -> bool {
    match edge.made {
        Move::Answer(Request::Finalize, reply) => {
            reply.is_err() == edge.before.world.group.prepare_failed
        }
        _ => true,
    }
}

fn null_is_the_end(edge: &Edge<'_>) -> bool {
    let announced = terminal(edge.output).map(|member| edge.before.world.jobs[member].status);
    announced != Some(Status::Null)
        && edge.members().all(|(_, before, after)| {
            if before.status == Status::Null {
                return after.status == Status::Null;
            }
            after.status != Status::Null
                || before.status == Status::Concluded
                || (before.status == Status::Created && !before.started())
        })
}

fn unstarted_goes_silently(place: &Place<'_>) -> bool {
    place
        .world
        .jobs
        .iter()
        .zip(place.history)
        .all(|(job, history)| {
            job.started()
                || (!history.announced() && !history.ran())
                    && (job.status != Status::Concluded || job.dismisses_itself())
        })
}

fn newest_first(edge: &Edge<'_>) -> bool {
    let before = &edge.before;
    let newer = |member: usize| before.members().filter(move |(at, _, _)| *at > member);
    if let Some(member) = edge.begins(Callback::Prepare) {
        return newer(member).all(|(_, _, history)| history.has(History::PREPARED));
    }
    if let Some(member) = edge.begins(Callback::Commit) {
        return newer(member).all(|(_, job, _)| job.is_final());
    }
    if let Some(member) = edge.begins(Callback::Abort) {
        if !before.profile.abort_newest_first {
            return !before.world.jobs[member].started()
                || newer(member).all(|(_, job, _)| job.is_final());
        }
        let started = before.world.jobs[member].started();
        return newer(member).all(|(_, job, _)| job.is_final() || (!started && job.started()))
            && (!started
                || before
                    .members()
                    .all(|(_, job, _)| job.started() || job.is_final()));
    }
    true
}

fn error_means_abort(place: &Place<'_>) -> bool {
    place
        .world
        .jobs
        .iter()
        .zip(place.history)
        .all(|(job, history)| {
            job.status != Status::Concluded
                || (job.outcome == Outcome::Success) == history.committed()
        })
}

fn closed_means_final(place: &Place<'_>) -> bool {
    let decided = place
        .history
        .iter()
        .any(|history| history.committed() || history.aborted());
    let never = |job: &Job| job.status == Status::Undefined;
    let closed = decided && place.world.group.phase == Phase::Idle;
    !closed
        || place
            .world
            .jobs
            .iter()
            .all(|job| job.is_final() || never(job))
}

fn complete_is_latched(edge: &Edge<'_>) -> bool {
    edge.begins(Callback::Complete)
        .is_none_or(|member| !edge.before.history[member].has(History::COMPLETE_BEGUN))
}

fn no_late_pause(place: &Place<'_>) -> bool {
    place
        .world
        .jobs
        .iter()
        .all(|job| !job.started() || !job.status.is_completed() || !job.pause_wanted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_read_back() {
        for (at, property) in ALL.iter().enumerate() {
            assert!(ALL[..at].iter().all(|other| other.id != property.id));
            assert_eq!(
                Property::by_id(property.id).map(|found| found.id),
                Some(property.id)
            );
        }
        assert!(Property::by_id("P99").is_none());
    }

    #[test]
    fn a_history_tells_commit_from_abort() {
        let mut history = History::default();
        history.note(Output::Begin(0, Callback::Pause));
        assert_eq!(history.pausing(), Pausing::In);
        history.note(Output::End(0, Callback::Pause, true));
        assert_eq!(history.pausing(), Pausing::Quiet);
        history.note(Output::Begin(0, Callback::Commit));
        assert!(history.committed() && !history.aborted());
        assert_eq!(history.pausing(), Pausing::Quiet);
    }
}
