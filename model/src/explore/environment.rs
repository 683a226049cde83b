//! Who moves in the search besides jobs and main loop: the callers, as hostile as the bounds allow.
//!
//! A request is asked at the moment it takes effect. A call that waits longer, because its thread
//! sleeps or the main loop is busy, changes nothing until that moment, so nothing is lost by
//! leaving the waiting out. A request with a driver callback stays under way until the callback
//! has returned, one with an answer that waits until the main loop has done what follows; there
//! is at most one of either, because both need the main loop.

use core::fmt;

use crate::profile::Profile;
use crate::request::{self, Effect, judge};
use crate::state::{Call, CallState, Job, Owes, World};
use crate::status::Status;
use crate::step::{Changed, Kinds, Next, Output, Step, View, steps_of_body, steps_of_nobody};
use crate::vocabulary::{Callback, Reply, Request};

/// How far the search lets drivers and callers go. Printed with every result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Pieces of I/O of one job in flight at once.
    pub io_max: u8,
    /// Outstanding `pause_all` tokens.
    pub tokens_max: u8,
    /// The moment a pause point lets go is told apart from driver code.
    pub points: bool,
    /// Pauses not synchronised with may be missed (weak memory).
    pub late_reads: bool,
    /// I/O errors and what the policy makes of them.
    pub io_errors: bool,
    /// `set-speed` is asked too; it takes the main loop's time and ends sleeps.
    pub set_speed: bool,
    /// Sleeps and waits, timers, and somebody who enters the job.
    pub sleeps: bool,
    /// Tokens that may be drained sections as well as `pause_all`; jobs may move to another context
    /// inside one.
    pub drains: bool,
    /// Both edges of a request's callback are moves of their own. Otherwise it is one stretch from
    /// the beginning of the callback to the effect: on the way nothing looks at the edges, so they
    /// only multiply the worlds.
    pub callback_edges: bool,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let which = |on| if on { "with" } else { "without" };
        write!(
            f,
            "at most {} I/O in flight and {} pause_all outstanding, {} I/O errors, {} set-speed, \
             {} pause points that find nothing, {} late reads, {} the edges of requests' callbacks, {} sleeps, {}",
            self.io_max,
            self.tokens_max,
            which(self.io_errors),
            which(self.set_speed),
            which(self.points),
            which(self.late_reads),
            which(self.callback_edges),
            which(self.sleeps),
            if self.drains {
                "with drained sections (without their callbacks)"
            } else {
                "without drained sections"
            },
        )
    }
}

/// One move of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// A step of a job, of the main loop, or of a call under way.
    Step(Step),
    /// Somebody asks, of one member or of all.
    Ask(Option<usize>, Request),
    /// A request that waited for the main loop is answered.
    Answer(Request, Reply),
}

/// The requests tried on each member in every world.
pub(super) const REQUESTS: [Request; 14] = [
    Request::Create,
    Request::EarlyFail,
    Request::Pause,
    Request::Resume,
    Request::Cancel { force: false },
    Request::Cancel { force: true },
    Request::Complete,
    Request::Finalize,
    Request::Dismiss,
    Request::SET_SPEED,
    Request::SET_SPEED_UP,
    Request::Enter,
    Request::ResetIoStatus,
    Request::AttachContext,
];

/// Row = status, column = request: whether the verb table lets it through at all, so that most
/// questions need not be put.
const ASKED: [[bool; REQUESTS.len()]; Status::COUNT] = {
    let mut asked = [[false; REQUESTS.len()]; Status::COUNT];
    let mut status = 0;
    while status < asked.len() {
        let mut at = 0;
        while at < REQUESTS.len() {
            asked[status][at] = request::may_pass(REQUESTS[at], Status::ALL[status]);
            at += 1;
        }
        status += 1;
    }
    asked
};

/// The requests that only the member asked tells what becomes of, and that change nothing else.
const fn is_own(request: Request) -> bool {
    matches!(
        request,
        Request::Pause | Request::Enter | Request::ResetIoStatus
    )
}

/// Everything that may happen next in `world`, requests included.
pub(super) fn moves(
    world: &World,
    profile: &Profile,
    bounds: Bounds,
    visit: &mut dyn FnMut(Move, Next<'_>, Option<Output>),
) {
    if members_go_on(world) {
        for member in 0..world.jobs.len() {
            own_moves(world, member, profile, bounds, visit);
        }
    }
    shared_moves(world, profile, bounds, visit);
}

/// An answer that is due touches nothing but the call, so it may as well come first.
fn answer_is_due(world: &World) -> bool {
    let waits = world
        .calls
        .first()
        .is_some_and(|call| call.state == CallState::Awaiting);
    waits && !world.main_is_busy()
}

/// Nothing comes before what the members do by themselves.
pub(super) fn members_go_on(world: &World) -> bool {
    world.jobs.iter().all(|job| job.owes == Owes::Nothing) && !answer_is_due(world)
}

const fn view(bounds: Bounds) -> View {
    View {
        callbacks: true,
        points: bounds.points,
        io: bounds.io_max > 0,
        late_reads: bounds.late_reads,
        ends: true,
        resumes: true,
        frees: true,
        sleeps: bounds.sleeps,
        unseen: Kinds::NONE,
    }
}

/// What may happen next to one member that it alone tells: the steps of its body, and requests that
/// concern nothing else. Wherever [`members_go_on`], these are the same in every world in which the
/// member is the same.
pub(super) fn own_moves(
    world: &World,
    member: usize,
    profile: &Profile,
    bounds: Bounds,
    visit: &mut dyn FnMut(Move, Next<'_>, Option<Output>),
) {
    let view = view(bounds);
    steps_of_body(
        world,
        member,
        profile,
        view,
        &mut |step, mut next, output| {
            let beyond = match step {
                Step::IoBegin(member) => next.jobs[member].in_flight > bounds.io_max,
                Step::IoError(..) => !bounds.io_errors,
                _ => false,
            };
            if !beyond {
                forget(&mut next, bounds);
                visit(Move::Step(step), next, output);
            }
        },
    );
    let mut callers = Callers::new(world, profile, bounds, visit);
    callers.ask_member(member, true);
}

/// Everything else: what the main loop does, calls under way, and the other requests.
pub(super) fn shared_moves(
    world: &World,
    profile: &Profile,
    bounds: Bounds,
    visit: &mut dyn FnMut(Move, Next<'_>, Option<Output>),
) {
    let settles = answer_is_due(world);
    let view = view(bounds);
    steps_of_nobody(world, profile, view, &mut |step, mut next, output| {
        let answers = matches!(step, Step::Settle(_));
        if settles && !answers {
            return;
        }
        let made = match next.calls.first() {
            Some(call) if answers => match call.state {
                CallState::Answered(reply) => Move::Answer(call.request, reply),
                _ => Move::Step(step),
            },
            _ => Move::Step(step),
        };
        forget(&mut next, bounds);
        visit(made, next, output);
    });
    if !members_go_on(world) {
        return;
    }
    let mut callers = Callers::new(world, profile, bounds, visit);
    let busy = world.main_is_busy();
    for (member, job) in world.jobs.iter().enumerate() {
        // Whatever else is asked of a job that was started, or that is gone, waits for the main loop.
        if !busy || matches!(job.status, Status::Undefined | Status::Created) {
            callers.ask_member(member, false);
        }
    }
    callers.ask_all();
    callers.settle_drains();
}

/// Takes what makes no difference out of a world: calls that were answered, and, where bodies
/// always see what was asked, whether they have seen it.
fn forget(next: &mut Next<'_>, bounds: Bounds) {
    if next.changed() == Changed::Anything && !next.calls.is_empty() {
        next.calls.retain(|call| {
            matches!(
                call.state,
                CallState::Accepted { .. }
                    | CallState::InCallback { .. }
                    | CallState::Told { .. }
                    | CallState::InUserResume
                    | CallState::UserResumed
                    | CallState::Awaiting
            )
        });
        for call in &mut next.calls {
            if call.state == CallState::Awaiting {
                call.member = None;
            }
        }
    }
    if !bounds.late_reads {
        for job in next.changed_jobs() {
            job.seen = true;
        }
    }
}

/// Those who ask, in one world.
struct Callers<'a> {
    world: &'a World,
    profile: &'a Profile,
    bounds: Bounds,
    view: View,
    /// What is lent to the visitor.
    next: World,
    visit: &'a mut dyn FnMut(Move, Next<'_>, Option<Output>),
}

impl<'a> Callers<'a> {
    fn new(
        world: &'a World,
        profile: &'a Profile,
        bounds: Bounds,
        visit: &'a mut dyn FnMut(Move, Next<'_>, Option<Output>),
    ) -> Callers<'a> {
        Callers {
            world,
            profile,
            bounds,
            view: view(bounds),
            next: World::new(world.group, []),
            visit,
        }
    }

    /// Tries the requests for one member: those of its own, or the others.
    fn ask_member(&mut self, member: usize, own: bool) {
        let status = self.world.jobs[member].status;
        for (request, asked) in REQUESTS.into_iter().zip(ASKED[status as usize]) {
            if (asked || !self.profile.verb_table) && is_own(request) == own {
                self.ask(member, request);
            }
        }
    }

    /// Shows the visitor what came of a request.
    fn offer(&mut self, made: Move, output: Option<Output>, mut changed: Changed) {
        let mut next = Next::new(&mut self.next, &mut changed);
        for job in next.changed_jobs() {
            job.note(self.view, self.profile);
        }
        forget(&mut next, self.bounds);
        (self.visit)(made, next, output);
    }

    fn ask(&mut self, member: usize, request: Request) {
        let world = self.world;
        let started = || world.jobs.iter().any(|job| job.started() || job.starting);
        match request {
            // A transaction is put together before it starts, oldest member first.
            Request::Create
                if started()
                    || world.jobs[..member]
                        .iter()
                        .any(|job| job.status == Status::Undefined) =>
            {
                return;
            }
            Request::SetSpeed { .. } if !self.bounds.set_speed => return,
            // What changes nothing but sleeps.
            Request::SetSpeed { hurries: true, .. } | Request::Enter if !self.bounds.sleeps => {
                return;
            }
            // Nobody is there to be woken.
            Request::Enter if !world.jobs[member].started() => return,
            Request::AttachContext if !self.bounds.drains => return,
            // It waits for the main loop.
            Request::Resume if world.main_is_busy() => return,
            _ => {}
        }
        let made = Move::Ask(Some(member), request);
        let edges = self.bounds.callback_edges;
        let (state, output) = match judge(world, member, request, false, self.profile) {
            Effect::Refuse(_) | Effect::NotNow => return,
            Effect::Callback {
                callback: Some(_),
                forced,
            } if edges => (CallState::Accepted { forced }, None),
            Effect::Callback { forced, callback } => (
                CallState::Told { forced },
                callback.map(|callback| Output::Begin(member, callback)),
            ),
            Effect::Apply => {
                self.next.copy_from(world);
                let state = request::apply(&mut self.next, member, request, self.profile);
                let (before, after) = (world.jobs[member].status, self.next.jobs[member].status);
                let output = (before != after).then_some(Output::Status(member, after));
                if matches!(state, CallState::Answered(_)) {
                    if is_own(request) && self.next.jobs[member] == world.jobs[member] {
                        return;
                    }
                    let changed = if request::concerns_one(request) {
                        Changed::Member(member)
                    } else {
                        Changed::Anything
                    };
                    self.offer(made, output, changed);
                    return;
                }
                self.call(member, request, state);
                self.offer(made, output, Changed::Anything);
                return;
            }
        };
        self.next.copy_from(world);
        request::accept(&mut self.next, member, request, self.profile);
        self.call(member, request, state);
        let changed = if request == Request::Resume {
            Changed::Anything
        } else {
            Changed::Calls
        };
        self.offer(made, output, changed);
    }

    /// A call is under way from now on.
    fn call(&mut self, member: usize, request: Request, state: CallState) {
        self.next.calls.push(Call {
            thread: 0,
            member: Some(member as u16),
            request,
            block: false,
            posted: false,
            state,
        });
    }

    /// Requests that concern every member: start, `pause_all`, `resume_all`.
    fn ask_all(&mut self) {
        let whole = self
            .world
            .jobs
            .iter()
            .all(|job| job.status != Status::Undefined && !job.starting && !job.started());
        if whole {
            self.ask_everybody(Request::Start);
        }
        for token in 0..self.bounds.tokens_max {
            let holds = |job: &Job| job.holds & (1 << token) != 0;
            // A token that holds nobody is as good as none, so it can be handed out again.
            let out = self.world.jobs.iter().any(holds);
            let waits = |job: &Job| holds(job) && job.drained & (1 << token) == 0;
            if self.world.group.drained & (1 << token) != 0 {
                // Whoever began it waits until it has begun.
                if !self.world.jobs.iter().any(waits) {
                    self.ask_everybody(Request::DrainEnd { token });
                }
            } else if out {
                self.ask_everybody(Request::Release { token });
            } else {
                self.ask_everybody(Request::Hold { token });
                if self.bounds.drains {
                    self.ask_everybody(Request::DrainBegin { token });
                }
            }
        }
    }

    /// Drained sections find their members quiet. Whoever waits for that is no call under way here:
    /// it is the token that has not been given to every member it holds.
    fn settle_drains(&mut self) {
        for token in 0..self.bounds.tokens_max {
            let bit = 1 << token;
            let waits = |job: &Job| job.holds & bit != 0 && job.drained & bit == 0;
            let drained = self.world.group.drained & bit != 0;
            if drained && self.world.jobs.iter().any(waits) && request::is_quiet(self.world, None) {
                self.next.copy_from(self.world);
                request::settle_drain(&mut self.next, None, token);
                self.offer(
                    Move::Answer(Request::DrainBegin { token }, Ok(())),
                    None,
                    Changed::Anything,
                );
            }
        }
    }

    fn ask_everybody(&mut self, request: Request) {
        self.next.copy_from(self.world);
        request::apply_to_all(&mut self.next, request);
        if self.next != *self.world {
            self.offer(Move::Ask(None, request), None, Changed::Anything);
        }
    }
}

impl Move {
    /// The move in words; `output` is what can be seen of it.
    pub fn describe(self, output: Option<Output>) -> String {
        let seen = output.map_or(String::new(), |output| format!(" → {output}"));
        match self {
            Move::Ask(Some(member), request) => format!("job {member}: {request} is asked{seen}"),
            Move::Ask(None, request) => format!("every job: {request} is asked{seen}"),
            Move::Answer(request, Ok(())) => format!("{request} is answered: done"),
            Move::Answer(request, Err(refusal)) => {
                format!("{request} is answered: {}", refusal.text("…", false))
            }
            Move::Step(step) => format!("{step}{seen}"),
        }
    }
}

impl Step {
    /// The member it is about, if any, and what happens to it.
    pub(crate) const fn words(self) -> (Option<usize>, &'static str) {
        match self {
            Step::ReachPoint(m) => (Some(m), "reaches a pause point"),
            Step::LeavePoint(m) => (Some(m), "goes on"),
            Step::SkipRun(m) => (Some(m), "ends without running"),
            Step::RunBegin(m) => (Some(m), "begins its run"),
            Step::PauseBegin(m) => (Some(m), "sees a pause"),
            Step::PauseEnd(m) => (Some(m), "is quiescent"),
            Step::Park(m) => (Some(m), "parks"),
            Step::Unpark(m) => (Some(m), "leaves the park"),
            Step::ResumeBegin(m) => (Some(m), "takes up work"),
            Step::ResumeEnd(m) => (Some(m), "has taken up work"),
            Step::IoBegin(m) => (Some(m), "begins I/O"),
            Step::IoEnd(m) => (Some(m), "ends I/O"),
            Step::Converge(m) => (Some(m), "converges"),
            Step::TakeBack(m) => (Some(m), "takes the cancel back and finishes"),
            Step::IoError(m, _, false) => (Some(m), "meets an I/O error"),
            Step::IoError(m, _, true) => (Some(m), "meets an I/O error for want of space"),
            Step::Sleep(m) => (Some(m), "sleeps"),
            Step::Yield(m) => (Some(m), "waits"),
            Step::Timer(m) => (Some(m), "is woken by its timer"),
            Step::Wake(m) => (Some(m), "is woken"),
            Step::FreeBegin(m) => (Some(m), "begins to free"),
            Step::FreeEnd(m) => (Some(m), "is freed"),
            Step::RunEnd(m, true) => (Some(m), "ends its run well"),
            Step::RunEnd(m, false) => (Some(m), "ends its run with an error"),
            Step::Defer(m) => (Some(m), "has its end recorded"),
            Step::Pay(m) => (Some(m), "announces it"),
            Step::Create(m) => (Some(m), "comes into being"),
            Step::Start(m) => (Some(m), "starts"),
            Step::FailEarly(m) => (Some(m), "is given up before its start"),
            Step::FailTogether(m) => (Some(m), "falls with its transaction before its start"),
            Step::Exit(m) => (Some(m), "is taken over by the main loop"),
            Step::Announce(m) => (Some(m), "becomes decidable"),
            Step::PrepareBegin(m) => (Some(m), "begins to prepare"),
            Step::PrepareEnd(m, true) => (Some(m), "is prepared"),
            Step::PrepareEnd(m, false) => (Some(m), "fails to prepare"),
            Step::Turn(m) => (Some(m), "has its turn in the abort"),
            Step::DecisionBegin(m) => (Some(m), "meets the decision"),
            Step::DecisionEnd(m) => (Some(m), "is decided"),
            Step::CleanBegin(m) => (Some(m), "begins to clean"),
            Step::CleanEnd(m) => (Some(m), "is clean"),
            Step::CompletionBegin(m) => (Some(m), "calls its completion function"),
            Step::CompletionEnd(m) => (Some(m), "has called its completion function"),
            Step::Terminal(m) => (Some(m), "announces its end"),
            Step::Conclude(m) => (Some(m), "concludes"),
            Step::Vanish(m) => (Some(m), "vanishes"),
            Step::PeerCancelBegin(m) => (Some(m), "is told that a peer brought it down"),
            Step::PeerCancelEnd(m) => (Some(m), "was told that a peer brought it down"),
            Step::PeerResumeBegin(m) => (Some(m), "is told that its user's pause is over"),
            Step::PeerResumeEnd(m) => (Some(m), "was told that its user's pause is over"),
            Step::PeerForced(m) => (Some(m), "is cancelled by force with its peers"),
            Step::Other(m, _) => (Some(m), "is asked by somebody else"),
            Step::Announced => (None, "every member can be decided"),
            Step::Decide => (None, "every member is prepared"),
            Step::Close => (None, "the transaction is through"),
            Step::TakeEffect(_) => (None, "a request takes effect"),
            Step::RequestCallbackBegin(_) => (None, "the callback of a request begins"),
            Step::RequestCallbackEnd(_) => (None, "the callback of a request returns"),
            Step::RequestEffect(_) => (None, "what was asked for is set down"),
            Step::UserResumeBegin(_) => (None, "the end of the user's pause begins to be told"),
            Step::UserResumeEnd(_) => (None, "the end of the user's pause was told"),
            Step::DrainCallbackBegin(_, Callback::Drain) => {
                (None, "drain begins for a drained section")
            }
            Step::DrainCallbackEnd(_, Callback::Drain, _) => {
                (None, "drain ends for a drained section")
            }
            Step::DrainCallbackBegin(..) => (None, "drained-poll begins for a drained section"),
            Step::DrainCallbackEnd(..) => (None, "drained-poll ends for a drained section"),
            Step::Settle(_) => (None, "the request is answered"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.words() {
            (Some(member), what) => write!(f, "job {member} {what}"),
            (None, what) => f.write_str(what),
        }
    }
}
