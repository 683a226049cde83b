//! The step relation: from one world, everything that may happen next.
//!
//! `(world, step) → (world', at most one output)`. Nondeterministic on purpose: drivers choose how
//! they end, schedulers choose who goes on. Three parties move: a job's body ([`Step::ReachPoint`] …
//! [`Step::Defer`]), the main loop ([`Step::Exit`] … [`Step::Vanish`]), and calls from outside
//! ([`Step::TakeEffect`] …), each step one critical section of the monitor or one edge of a
//! callback (SEMANTICS.md §4.9). What is asked of a job is decided in [`crate::request`].
//!
//! One file a party: `step/body.rs`, `step/main_loop.rs`, `step/call.rs`; `step/kind.rs` has the kinds of events.
//!
//! A [`View`] says what the observer can see. Where callbacks cannot be seen, the steps inside
//! them are folded into the visible ones, which keeps beliefs about a QMP stream small.

mod body;
mod call;
mod kind;
mod main_loop;

use core::fmt;
use core::ops::{Deref, DerefMut};

use crate::profile::Profile;
use crate::state::{CallState, Group, Job, Owes, World};
use crate::status::Status;
use crate::vocabulary::{Callback, ErrorAction, Event, Request};

pub(crate) use body::skips_run;
pub use kind::{Kind, Kinds};
pub(crate) use main_loop::{begin_abort, force};

/// What an observer sees beside status changes, events, calls and returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// Driver callbacks, both edges.
    pub callbacks: bool,
    /// Pause points, both edges.
    pub points: bool,
    /// Pieces of I/O, both edges. At most [`View::IO_MAX`] of a job at once.
    pub io: bool,
    /// The body may read its control word late: a pause it has not synchronised with may be
    /// missed (P23 speaks of a pause that happens-before the pause point). Sequentially
    /// consistent recordings leave this off.
    pub late_reads: bool,
    /// The end of a run is recorded in a step of its own, whether or not anybody could tell.
    pub ends: bool,
    /// `user_resume`, for which a resume waits (38).
    pub resumes: bool,
    /// `free`.
    pub frees: bool,
    /// Sleeps and waits are told apart from the pause points that they end in.
    pub sleeps: bool,
    /// Status changes and events that happen unseen: whoever wrote them down left these kinds out.
    pub unseen: Kinds,
}

impl View {
    /// How many pieces of I/O of one job may be under way at once; one more is explained by nothing.
    pub const IO_MAX: u8 = 255;

    /// Everything, under sequential consistency.
    pub const FULL: View = View {
        callbacks: true,
        points: true,
        io: true,
        late_reads: false,
        ends: false,
        resumes: true,
        frees: true,
        sleeps: false,
        unseen: Kinds::NONE,
    };

    /// Everything, under weak memory.
    pub const WEAK: View = View {
        late_reads: true,
        ..View::FULL
    };

    /// What the engine's own trace has: no pause points that did not pause. Its threads are real,
    /// and look at their control words without a lock.
    pub const TRACE: View = View {
        points: false,
        ..View::WEAK
    };

    /// What QMP shows.
    pub const QMP: View = View {
        callbacks: false,
        points: false,
        io: false,
        late_reads: false,
        ends: false,
        resumes: false,
        frees: false,
        sleeps: false,
        unseen: Kinds::NONE,
    };
}

impl View {
    /// Whether status changes can be seen. Who sees callbacks sees them by other means than events.
    pub const fn shows_status(self, profile: &Profile) -> bool {
        self.callbacks || profile.status_events
    }

    /// What of it there is to be seen of an implementation.
    #[must_use]
    pub const fn of(self, profile: &Profile) -> View {
        View {
            resumes: self.resumes && profile.user_resume_callback,
            frees: self.frees && profile.free_callback,
            ..self
        }
    }
}

/// A named step. `usize` is the member it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    // The body.
    /// The driver reaches a pause point.
    ReachPoint(usize),
    /// The pause point returns to the driver.
    LeavePoint(usize),
    /// A job cancelled before its first step ends without running.
    SkipRun(usize),
    /// `run` begins.
    RunBegin(usize),
    /// `pause` begins.
    PauseBegin(usize),
    /// `pause` ends.
    PauseEnd(usize),
    /// The job parks: its pause is acknowledged.
    Park(usize),
    /// It leaves the park.
    Unpark(usize),
    /// `resume` begins.
    ResumeBegin(usize),
    /// `resume` ends.
    ResumeEnd(usize),
    /// A piece of I/O begins.
    IoBegin(usize),
    /// A piece of I/O ends.
    IoEnd(usize),
    /// The driver says it has converged.
    Converge(usize),
    /// A driver that has converged takes a soft cancel back and finishes (37).
    TakeBack(usize),
    /// An I/O error, what the policy chose, and whether the error was want of space.
    IoError(usize, ErrorAction, bool),
    /// It sleeps: parks with a timer.
    Sleep(usize),
    /// It waits: parks without one.
    Yield(usize),
    /// Its timer fires.
    Timer(usize),
    /// Its sleep or wait ends for another reason.
    Wake(usize),
    /// `run` ends, well or not.
    RunEnd(usize, bool),
    /// The engine takes note of the end.
    Defer(usize),
    // The main loop.
    /// The owed announcement follows.
    Pay(usize),
    /// Takes over an ended run.
    Exit(usize),
    /// Takes a waiting member to pending.
    Announce(usize),
    /// All members are pending: wait for the user, or decide.
    Announced,
    /// `prepare` begins.
    PrepareBegin(usize),
    /// `prepare` ends, well or not.
    PrepareEnd(usize, bool),
    /// Every member is prepared and none was cancelled: commit.
    Decide,
    /// Takes a member of an aborting group to aborting.
    Turn(usize),
    /// `commit` or `abort` begins.
    DecisionBegin(usize),
    /// `commit` or `abort` ends.
    DecisionEnd(usize),
    /// `clean` begins.
    CleanBegin(usize),
    /// `clean` ends.
    CleanEnd(usize),
    /// The completion function begins.
    CompletionBegin(usize),
    /// The completion function ends.
    CompletionEnd(usize),
    /// The terminal event.
    Terminal(usize),
    /// The job is concluded.
    Conclude(usize),
    /// A concluded job that dismisses itself vanishes.
    Vanish(usize),
    /// `free` begins.
    FreeBegin(usize),
    /// `free` ends.
    FreeEnd(usize),
    /// The whole transaction is through.
    Close,
    // Calls.
    /// A request takes effect, or is refused, for the call at this place.
    TakeEffect(usize),
    /// The callback of a request begins.
    RequestCallbackBegin(usize),
    /// The callback of a request ends.
    RequestCallbackEnd(usize),
    /// What the request asked for is set down.
    RequestEffect(usize),
    /// The `cancel` callback of a member a peer brought down begins.
    PeerCancelBegin(usize),
    /// The `cancel` callback of a member a peer brought down ends.
    PeerCancelEnd(usize),
    /// The `user_resume` of a paused member a peer brought down begins.
    PeerResumeBegin(usize),
    /// It ends.
    PeerResumeEnd(usize),
    /// The force of a peer's fall is set down.
    PeerForced(usize),
    /// `user_resume` begins, because a forced cancel ends the user's pause.
    UserResumeBegin(usize),
    /// It ends.
    UserResumeEnd(usize),
    /// `drain` or `drained_poll` begins, for the drained section at this place.
    DrainCallbackBegin(usize, Callback),
    /// It ends.
    DrainCallbackEnd(usize, Callback, bool),
    /// What a request set in motion is done as far as it goes by itself.
    Settle(usize),
    /// Somebody else's request takes effect, unseen.
    Other(usize, Request),
    /// The creation asked for takes effect.
    Create(usize),
    /// The start asked for takes effect.
    Start(usize),
    /// The creating command fails after all: the job never was (§2.1).
    FailEarly(usize),
    /// The creating transaction fails: the job is cancelled before its start (§6.1).
    FailTogether(usize),
}

/// What an observer may see of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Output {
    /// A status change.
    Status(usize, Status),
    /// An event.
    Event(usize, Event),
    /// A callback begins.
    Begin(usize, Callback),
    /// A callback ends; `false` = with an error (for `cancel`: not forced).
    End(usize, Callback, bool),
    /// A pause point is entered.
    PointBegin(usize),
    /// A pause point returns.
    PointEnd(usize),
    /// A piece of I/O begins.
    IoBegin(usize),
    /// A piece of I/O ends.
    IoEnd(usize),
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Output::Status(_, status) => write!(f, "status {status}"),
            Output::Event(_, event) => write!(f, "{event}"),
            Output::Begin(_, callback) => write!(f, "{callback} begins"),
            Output::End(_, Callback::Cancel, forced) => {
                write!(f, "cancel ends, {}", if forced { "forced" } else { "soft" })
            }
            Output::End(_, callback, true) => write!(f, "{callback} ends"),
            Output::End(_, callback, false) => write!(f, "{callback} ends with an error"),
            Output::PointBegin(_) => f.write_str("pause point entered"),
            Output::PointEnd(_) => f.write_str("pause point left"),
            Output::IoBegin(_) => f.write_str("I/O begins"),
            Output::IoEnd(_) => f.write_str("I/O ends"),
        }
    }
}

impl Output {
    /// Only a body shows it: nothing that the main loop or a call does.
    const fn is_of_body(self) -> bool {
        match self {
            Output::Begin(_, callback) | Output::End(_, callback, _) => {
                matches!(callback, Callback::Run | Callback::Pause | Callback::Resume)
            }
            Output::PointBegin(_) | Output::PointEnd(_) | Output::IoBegin(_) | Output::IoEnd(_) => {
                true
            }
            Output::Status(..) | Output::Event(..) => false,
        }
    }

    /// The member it concerns.
    pub const fn member(self) -> usize {
        match self {
            Output::Status(member, _)
            | Output::Event(member, _)
            | Output::Begin(member, _)
            | Output::End(member, _, _)
            | Output::PointBegin(member)
            | Output::PointEnd(member)
            | Output::IoBegin(member)
            | Output::IoEnd(member) => member,
        }
    }
}

/// Where a step leads: a world lent for the time of a visit, and taken back unless it is kept.
///
/// Whoever only looks pays for no copy of a world. Whoever changes it may do as he likes.
#[derive(Debug)]
pub struct Next<'a> {
    world: &'a mut World,
    changed: &'a mut Changed,
}

/// In what the world after a step differs from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// In this member, and in nothing else.
    Member(usize),
    /// In the calls under way, and in nothing else.
    Calls,
    /// In whatever it may be.
    Anything,
}

impl<'a> Next<'a> {
    pub(crate) fn new(world: &'a mut World, changed: &'a mut Changed) -> Next<'a> {
        Next { world, changed }
    }

    /// Keeps the world.
    pub fn into_world(self) -> World {
        *self.changed = Changed::Anything;
        core::mem::replace(self.world, World::new(Group::CLOSED, []))
    }

    /// Keeps the world, and lends this memory in its place.
    pub(crate) fn exchange(self, memory: &mut World) {
        *self.changed = Changed::Anything;
        core::mem::swap(self.world, memory);
    }

    /// What can be different from the world before.
    pub fn changed(&self) -> Changed {
        *self.changed
    }

    /// The changed members, for those who change nothing else.
    pub(crate) fn changed_jobs(&mut self) -> &mut [Job] {
        match *self.changed {
            Changed::Member(member) => core::slice::from_mut(&mut self.world.jobs[member]),
            Changed::Calls => &mut [],
            Changed::Anything => &mut self.world.jobs,
        }
    }
}

impl Deref for Next<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        self.world
    }
}

impl DerefMut for Next<'_> {
    fn deref_mut(&mut self) -> &mut World {
        *self.changed = Changed::Anything;
        self.world
    }
}

/// Calls `visit` with every step possible in `world`, its successor, and what can be seen of it.
pub fn steps(
    world: &World,
    profile: &Profile,
    view: View,
    visit: &mut impl FnMut(Step, Next<'_>, Option<Output>),
) {
    steps_showing(world, profile, view, &|_| true, visit);
}

/// The same for those steps only whose output is `wanted`; the others cost next to nothing.
pub fn steps_showing(
    world: &World,
    profile: &Profile,
    view: View,
    wanted: &impl Fn(Option<Output>) -> bool,
    visit: &mut impl FnMut(Step, Next<'_>, Option<Output>),
) {
    let mut memory = World::new(Group::CLOSED, []);
    let mut relation = Relation::new(world, profile, view, wanted, visit, &mut memory);
    relation.all(0..world.jobs.len());
}

/// The steps that show this, in memory that is used again: a body shows what its own job does.
pub(crate) fn steps_that_show(
    seen: Output,
    world: &World,
    profile: &Profile,
    view: View,
    memory: &mut World,
    visit: &mut impl FnMut(Step, Next<'_>, Option<Output>),
) {
    let wanted = |output| output == Some(seen);
    let mut relation = Relation::new(world, profile, view, &wanted, visit, memory);
    let member = seen.member();
    if seen.is_of_body() {
        if world.jobs.iter().all(|job| job.owes == Owes::Nothing) {
            relation.body(member);
        }
    } else {
        relation.all(member..member + 1);
    }
}

/// The steps that show nothing, in memory that is used again.
pub(crate) fn steps_unseen(
    world: &World,
    profile: &Profile,
    view: View,
    memory: &mut World,
    visit: &mut impl FnMut(Step, Next<'_>, Option<Output>),
) {
    let wanted = |output: Option<Output>| output.is_none();
    let mut relation = Relation::new(world, profile, view, &wanted, visit, memory);
    relation.all(0..world.jobs.len());
}

/// Those of them that the call at this place makes.
pub(crate) fn steps_unseen_of_call(
    place: usize,
    world: &World,
    profile: &Profile,
    view: View,
    memory: &mut World,
    visit: &mut impl FnMut(Step, Next<'_>, Option<Output>),
) {
    if world.jobs.iter().any(|job| job.owes != Owes::Nothing) {
        return;
    }
    let wanted = |output: Option<Output>| output.is_none();
    Relation::new(world, profile, view, &wanted, visit, memory).call(place);
}

/// Those steps that the body of one member makes by itself.
///
/// With callbacks and ends in view they are told by the member alone, whatever the rest of the world
/// is; there are none while something is owed.
pub(crate) fn steps_of_body(
    world: &World,
    member: usize,
    profile: &Profile,
    view: View,
    visit: &mut impl FnMut(Step, Next<'_>, Option<Output>),
) {
    debug_assert!(view.callbacks && view.ends, "a fine view");
    let mut memory = World::new(Group::CLOSED, []);
    Relation::new(world, profile, view, &|_| true, visit, &mut memory).body(member);
}

/// All the others.
pub(crate) fn steps_of_nobody(
    world: &World,
    profile: &Profile,
    view: View,
    visit: &mut impl FnMut(Step, Next<'_>, Option<Output>),
) {
    let mut memory = World::new(Group::CLOSED, []);
    let mut relation = Relation::new(world, profile, view, &|_| true, visit, &mut memory);
    if let Some(member) = world.jobs.iter().position(|job| job.owes != Owes::Nothing) {
        relation.pay(member);
        return;
    }
    relation.starts();
    relation.main_loop();
    for place in 0..world.calls.len() {
        relation.call(place);
    }
}

/// The parts of the relation, one method a party; each method reads like a rule list.
struct Relation<'a, W, V> {
    world: &'a World,
    profile: &'a Profile,
    view: View,
    /// The main loop has this transaction in hand.
    busy: bool,
    wanted: &'a W,
    visit: &'a mut V,
    /// What is lent to the visitor, one successor after the other in the same memory.
    next: &'a mut World,
    /// In what `next` may still differ from `world`.
    changed: Changed,
}

impl<'a, W: Fn(Option<Output>) -> bool, V: FnMut(Step, Next<'_>, Option<Output>)>
    Relation<'a, W, V>
{
    fn new(
        world: &'a World,
        profile: &'a Profile,
        view: View,
        wanted: &'a W,
        visit: &'a mut V,
        next: &'a mut World,
    ) -> Self {
        Relation {
            world,
            profile,
            view: view.of(profile),
            busy: world.main_is_busy(),
            wanted,
            visit,
            next,
            changed: Changed::Anything,
        }
    }

    /// Every step, but of bodies those of these members only.
    fn all(&mut self, bodies: core::ops::Range<usize>) {
        let world = self.world;
        if let Some(member) = world.jobs.iter().position(|job| job.owes != Owes::Nothing) {
            // Status and announcement are one critical section: nothing comes between.
            self.pay(member);
            return;
        }
        for member in bodies {
            self.body(member);
        }
        self.starts();
        self.main_loop();
        for place in 0..world.calls.len() {
            self.call(place);
        }
        if world.group.others {
            for member in 0..world.jobs.len() {
                self.others(member);
            }
        }
    }

    /// Makes `next` equal to `world` again.
    fn undo(&mut self) {
        match self.changed {
            Changed::Member(member) => self.next.jobs[member] = self.world.jobs[member],
            Changed::Calls | Changed::Anything => self.next.copy_from(self.world),
        }
    }

    /// Offers a step that changes one job and nothing else.
    fn change(
        &mut self,
        step: Step,
        member: usize,
        output: Option<Output>,
        change: impl FnOnce(&mut Job),
    ) {
        let output = self.shown(output);
        if (self.wanted)(output) {
            self.undo();
            self.changed = Changed::Member(member);
            let job = &mut self.next.jobs[member];
            change(job);
            job.note(self.view, self.profile);
            let next = Next::new(self.next, &mut self.changed);
            (self.visit)(step, next, output);
        }
    }

    /// Offers a step that changes more than one job.
    fn offer(&mut self, step: Step, output: Option<Output>, change: impl FnOnce(&mut World)) {
        let output = self.shown(output);
        if (self.wanted)(output) {
            self.undo();
            self.changed = Changed::Anything;
            change(self.next);
            for job in &mut self.next.jobs {
                job.note(self.view, self.profile);
            }
            // Nobody waits for the answer to what was posted.
            self.next
                .calls
                .retain(|call| !call.posted || !matches!(call.state, CallState::Answered(_)));
            let next = Next::new(self.next, &mut self.changed);
            (self.visit)(step, next, output);
        }
    }

    /// What of an output comes through: of internal jobs no status does, unless callbacks are seen,
    /// and before QEMU 3.0 of no job.
    fn shown(&self, output: Option<Output>) -> Option<Output> {
        output.filter(|&output| match output {
            output if self.view.unseen.hide(output) => false,
            Output::Status(member, _) => {
                self.view.callbacks
                    || (self.view.shows_status(self.profile)
                        && !self.world.jobs[member].spec.internal)
            }
            _ => true,
        })
    }

    fn pay(&mut self, member: usize) {
        let event = match self.world.jobs[member].owes {
            Owes::Nothing => return,
            Owes::Ready => Event::Ready,
            Owes::Pending => Event::Pending,
        };
        self.change(
            Step::Pay(member),
            member,
            Some(Output::Event(member, event)),
            |job| job.owes = Owes::Nothing,
        );
    }
}
