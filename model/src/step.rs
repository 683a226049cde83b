//! The step relation: from one world, everything that may happen next.
//!
//! `(world, step) → (world', at most one output)`. Nondeterministic on purpose: drivers choose how
//! they end, schedulers choose who goes on. Three parties move: a job's body ([`Step::ReachPoint`] …
//! [`Step::Defer`]), the main loop ([`Step::Exit`] … [`Step::Vanish`]), and calls from outside
//! ([`Step::TakeEffect`] …), each step one critical section of the monitor or one edge of a
//! callback (SEMANTICS.md §4.9). What is asked of a job is decided in [`crate::request`].
//!
//! A [`View`] says what the observer can see. Where callbacks cannot be seen, the steps inside
//! them are folded into the visible ones, which keeps beliefs about a QMP stream small.

use core::fmt;

use crate::profile::Profile;
use crate::request::{self, Effect};
use crate::state::{Body, CallState, Cancel, Job, Outcome, Owes, PeerCancel, Phase, Tail, World};
use crate::status::Status;
use crate::verb::Refusal;
use crate::vocabulary::{Callback, ErrorAction, Event, Reply, Request};

/// What an observer sees beside status changes, events, calls and returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// Driver callbacks, both edges.
    pub callbacks: bool,
    /// Pause points, both edges.
    pub points: bool,
    /// Pieces of I/O, both edges. At most [`View::IO_MAX`] are told apart.
    pub io: bool,
    /// The body may read its control word late: a pause it has not synchronised with may be
    /// missed (P23 speaks of a pause that happens-before the pause point). Sequentially
    /// consistent recordings leave this off.
    pub late_reads: bool,
    /// The end of a run is recorded in a step of its own, whether or not anybody could tell.
    pub ends: bool,
}

impl View {
    /// How many pieces of I/O of one job are counted; more of them are counted as this many.
    pub const IO_MAX: u8 = 255;

    /// Everything, under sequential consistency.
    pub const FULL: View = View {
        callbacks: true,
        points: true,
        io: true,
        late_reads: false,
        ends: false,
    };

    /// Everything, under weak memory.
    pub const WEAK: View = View {
        late_reads: true,
        ..View::FULL
    };

    /// What the engine's own trace has: no pause points that did not pause.
    pub const TRACE: View = View {
        points: false,
        ..View::FULL
    };

    /// What QMP shows.
    pub const QMP: View = View {
        callbacks: false,
        points: false,
        io: false,
        late_reads: false,
        ends: false,
    };
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
    /// An I/O error, and what the policy chose.
    IoError(usize, ErrorAction),
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

/// Calls `visit` with every step possible in `world`, its successor, and what can be seen of it.
pub fn steps(
    world: &World,
    profile: &Profile,
    view: View,
    visit: &mut impl FnMut(Step, World, Option<Output>),
) {
    steps_showing(world, profile, view, &|_| true, visit);
}

/// The same for those steps only whose output is `wanted`; the others cost next to nothing.
pub fn steps_showing(
    world: &World,
    profile: &Profile,
    view: View,
    wanted: &impl Fn(Option<Output>) -> bool,
    visit: &mut impl FnMut(Step, World, Option<Output>),
) {
    let mut relation = Relation {
        world,
        profile,
        view,
        busy: world.main_is_busy(),
        wanted,
        visit,
    };
    if let Some(member) = world.jobs.iter().position(|job| job.owes != Owes::Nothing) {
        // Status and announcement are one critical section: nothing comes between.
        relation.pay(member);
        return;
    }
    for member in 0..world.jobs.len() {
        relation.body(member);
    }
    relation.main_loop();
    for place in 0..world.calls.len() {
        relation.call(place);
    }
    if world.group.others {
        for member in 0..world.jobs.len() {
            relation.others(member);
        }
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
}

impl<W: Fn(Option<Output>) -> bool, V: FnMut(Step, World, Option<Output>)> Relation<'_, W, V> {
    /// Offers a step that changes one job and nothing else.
    fn change(
        &mut self,
        step: Step,
        member: usize,
        output: Option<Output>,
        change: impl FnOnce(&mut Job),
    ) {
        if (self.wanted)(output) {
            let mut world = self.world.clone();
            change(&mut world.jobs[member]);
            world.jobs[member].note(self.view, self.profile);
            (self.visit)(step, world, output);
        }
    }

    /// Offers a step that changes more than one job.
    fn offer(&mut self, step: Step, output: Option<Output>, change: impl FnOnce(&mut World)) {
        if (self.wanted)(output) {
            let mut world = self.world.clone();
            change(&mut world);
            for job in &mut world.jobs {
                job.note(self.view, self.profile);
            }
            (self.visit)(step, world, output);
        }
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

    /// What the body of one job may do. Keeps P7, P17, P18, P22.
    fn body(&mut self, member: usize) {
        let job = self.world.jobs[member];
        if job.starting && job.status == Status::Undefined {
            // The command that creates it also starts it; nobody calls for the two separately.
            self.change(
                Step::Create(member),
                member,
                Some(Output::Status(member, Status::Created)),
                |job| job.status = Status::Created,
            );
        }
        if job.starting && job.status == Status::Created {
            self.change(
                Step::Start(member),
                member,
                Some(Output::Status(member, Status::Running)),
                |job| {
                    job.status = Status::Running;
                    job.starting = false;
                    job.seen = true;
                    job.come_to(Body::AtPoint);
                },
            );
        }
        if job.starting && job.status == Status::Created && !self.view.callbacks {
            self.fail_creation(member);
        }
        if self.view.callbacks {
            self.body_fine(member, &job);
        } else {
            self.body_coarse(member, &job);
        }
        let running = job.body == Body::Moving && job.entered;
        if running && job.status == Status::Running && job.spec.can_complete {
            self.change(
                Step::Converge(member),
                member,
                Some(Output::Status(member, Status::Ready)),
                |job| {
                    job.status = Status::Ready;
                    job.seen = true;
                    if job.spec.block {
                        job.owes = Owes::Ready;
                    }
                },
            );
        }
        if running && job.spec.block {
            for action in [ErrorAction::Report, ErrorAction::Ignore, ErrorAction::Stop] {
                self.change(
                    Step::IoError(member, action),
                    member,
                    Some(Output::Event(member, Event::Error { action })),
                    |job| {
                        if action == ErrorAction::Stop {
                            // The user's pause and a stop error share one slot (8).
                            job.user_paused = true;
                            job.io_failed = true;
                        }
                    },
                );
            }
        }
    }

    /// The body with every edge of its callbacks.
    fn body_fine(&mut self, member: usize, job: &Job) {
        let m = member;
        match job.body {
            Body::Moving => {
                if self.view.points {
                    self.change(Step::ReachPoint(m), m, Some(Output::PointBegin(m)), |job| {
                        job.come_to(Body::AtPoint);
                    });
                } else if job.may_pause || self.may_see_pause(job) {
                    self.pause_begin(m);
                }
                if job.in_flight == 0 {
                    for well in [true, false] {
                        // What a cancelled run returns is overruled all the same (P24).
                        if well && !may_end_well(job) && !job.forced() {
                            continue;
                        }
                        self.change(
                            Step::RunEnd(m, well),
                            m,
                            Some(Output::End(m, Callback::Run, well)),
                            |job| {
                                job.body = Body::Returned;
                                job.outcome = if well {
                                    Outcome::Success
                                } else {
                                    Outcome::Failure
                                };
                            },
                        );
                    }
                }
            }
            Body::AtPoint => {
                if job.may_pause || self.may_see_pause(job) {
                    self.pause_begin(m);
                }
                if job.may_pass && job.entered {
                    let output = self.view.points.then_some(Output::PointEnd(m));
                    self.change(Step::LeavePoint(m), m, output, |job| {
                        job.come_to(Body::Moving);
                    });
                } else if job.may_pass {
                    let output = Some(Output::Begin(m, Callback::Run));
                    self.change(Step::RunBegin(m), m, output, |job| {
                        job.come_to(Body::Moving);
                        job.entered = true;
                    });
                }
                self.skip_run(m, job);
            }
            Body::PauseIn => {
                self.change(
                    Step::PauseEnd(m),
                    m,
                    Some(Output::End(m, Callback::Pause, true)),
                    |job| job.come_to(Body::PauseDone),
                );
            }
            Body::PauseDone => {
                if self.may_see_pause(job) && job.in_flight == 0 {
                    self.park(m, job);
                }
                if job.may_pass {
                    // The request went away before the job parked; `resume` follows all the same.
                    self.resume_begin(m);
                }
            }
            Body::Parked => self.unpark(m, job, Body::Unparked),
            Body::Unparked => self.resume_begin(m),
            Body::ResumeIn => {
                let again = self.profile.pause_point_loops || !job.entered;
                let output = Some(Output::End(m, Callback::Resume, true));
                self.change(Step::ResumeEnd(m), m, output, |job| {
                    job.come_to(Body::AtPoint);
                    job.may_pass = !again;
                });
            }
            Body::Returned if self.asked(m) => {
                let profile = *self.profile;
                self.change(Step::Defer(m), m, None, |job| end_run(job, &profile));
            }
            Body::Unstarted | Body::Returned | Body::Ended => {}
        }
        if self.view.io && job.entered {
            // P18, P19: from the end of `pause` to the beginning of `resume` there is no I/O,
            // and none is left when the run has returned.
            let open = matches!(
                job.body,
                Body::Moving | Body::AtPoint | Body::PauseIn | Body::ResumeIn
            );
            if open && job.in_flight < View::IO_MAX {
                self.change(Step::IoBegin(m), m, Some(Output::IoBegin(m)), |job| {
                    job.in_flight += 1;
                });
            }
            if job.in_flight > 0 {
                self.change(Step::IoEnd(m), m, Some(Output::IoEnd(m)), |job| {
                    job.in_flight -= 1;
                });
            }
        }
    }

    /// A job cancelled by force before its first step ends without running (24).
    fn skip_run(&mut self, member: usize, job: &Job) {
        if skips_run(job, self.profile) && self.asked(member) {
            let profile = *self.profile;
            self.change(Step::SkipRun(member), member, None, |job| {
                end_run(job, &profile);
            });
        }
    }

    /// A command that creates a job may fail after `created` was announced.
    fn fail_creation(&mut self, member: usize) {
        self.change(
            Step::FailEarly(member),
            member,
            Some(Output::Status(member, Status::Null)),
            |job| {
                job.status = Status::Null;
                job.starting = false;
            },
        );
        if !self.busy {
            self.offer(
                Step::FailTogether(member),
                Some(Output::Status(member, Status::Aborting)),
                |world| {
                    let job = &mut world.jobs[member];
                    job.status = Status::Aborting;
                    job.outcome = Outcome::Cancelled;
                    job.starting = false;
                    begin_abort(world, Some(member));
                },
            );
        }
    }

    /// A look at the requests finds a pause now: somebody's, or the block layer's own (22).
    fn may_see_pause(&self, job: &Job) -> bool {
        job.should_pause() || (self.profile.internal_pauses && !job.forced())
    }

    fn pause_begin(&mut self, member: usize) {
        let output = Some(Output::Begin(member, Callback::Pause));
        self.change(Step::PauseBegin(member), member, output, |job| {
            job.body = Body::PauseIn;
            job.seen = true;
        });
    }

    fn resume_begin(&mut self, member: usize) {
        let output = Some(Output::Begin(member, Callback::Resume));
        self.change(Step::ResumeBegin(member), member, output, |job| {
            job.body = Body::ResumeIn;
            job.seen = true;
        });
    }

    /// A call that could tell whether the run has ended is under way.
    fn asked(&self, member: usize) -> bool {
        self.view.ends
            || self.world.calls.iter().any(|call| {
                call.state == CallState::Issued
                    && call.member.is_none_or(|asked| usize::from(asked) == member)
            })
    }

    /// The body where callbacks cannot be seen: running, parked, or ended.
    fn body_coarse(&mut self, member: usize, job: &Job) {
        let m = member;
        match job.body {
            Body::AtPoint | Body::Moving => {
                if self.may_see_pause(job) {
                    self.park(m, job);
                }
                if job.body == Body::AtPoint {
                    if job.may_pass || job.entered {
                        self.change(Step::RunBegin(m), m, None, |job| {
                            job.body = Body::Moving;
                            job.entered = true;
                        });
                    }
                    self.skip_run(m, job);
                    return;
                }
                // Where an abort keeps no order, its polls take over the runs of other members (23).
                let nested = self.world.group.aborting && !self.profile.abort_newest_first;
                // Where verbs tell that the run has ended before its status does (18), the end is a
                // step of its own.
                let alone = self.profile.ended_is_waiting && self.asked(m);
                if !self.busy || nested || alone {
                    for well in [true, false] {
                        if !well || may_end_well(job) || job.forced() {
                            let mut ended = *job;
                            ended.outcome = if well {
                                Outcome::Success
                            } else {
                                Outcome::Failure
                            };
                            end_run(&mut ended, self.profile);
                            if alone {
                                self.change(Step::Defer(m), m, None, |job| *job = ended);
                            }
                            if !self.busy || nested {
                                self.exit(Step::RunEnd(m, well), m, ended);
                            }
                        }
                    }
                }
            }
            Body::Parked => self.unpark(m, job, Body::Moving),
            _ => {}
        }
    }

    /// Acknowledges a pause. Test, status change and park are one section (§4.9).
    fn park(&mut self, member: usize, job: &Job) {
        let to = match job.status {
            Status::Running => Status::Paused,
            Status::Ready => Status::Standby,
            _ => return,
        };
        self.change(
            Step::Park(member),
            member,
            Some(Output::Status(member, to)),
            |job| {
                job.status = to;
                job.body = Body::Parked;
                job.seen = true;
            },
        );
    }

    /// Ends a park: by resume to zero or a forced cancel (7). Where pause points are no loops, a
    /// soft cancel or a completion ends a park nobody's user asked for.
    fn unpark(&mut self, member: usize, job: &Job, body: Body) {
        let may = !job.should_pause() || (!self.profile.pause_point_loops && !job.user_paused);
        let to = match job.status {
            Status::Paused => Status::Running,
            Status::Standby => Status::Ready,
            _ => return,
        };
        if may {
            self.change(
                Step::Unpark(member),
                member,
                Some(Output::Status(member, to)),
                |job| {
                    job.status = to;
                    // Where `run` has not begun, the pause point is the one before it.
                    job.body = if body == Body::Moving && !job.entered {
                        Body::AtPoint
                    } else {
                        body
                    };
                    job.seen = true;
                },
            );
        }
    }

    /// What the main loop may do. Keeps P8…P16, P36, P37.
    fn main_loop(&mut self) {
        let world = self.world;
        if world.in_request_callback() {
            // P27: one callback of the main loop at a time.
            return;
        }
        if !self.busy {
            for (member, job) in world.jobs.iter().enumerate() {
                let ended = match job.body {
                    Body::Returned | Body::Ended => true,
                    Body::AtPoint => skips_run(job, self.profile),
                    _ => false,
                };
                if ended && !job.status.is_completed() {
                    let mut ended = *job;
                    end_run(&mut ended, self.profile);
                    self.exit(Step::Exit(member), member, ended);
                }
            }
        }
        match world.group.phase {
            Phase::Idle => {}
            Phase::Announcing => self.announce(),
            Phase::Preparing => self.prepare(),
            Phase::Committing => self.commit(),
            Phase::Aborting => self.abort(),
        }
        if world.group.open && world.group.phase == Phase::Idle && !self.busy {
            self.decide_unseen();
        }
        for member in 0..world.jobs.len() {
            self.tail(member);
        }
    }

    /// Takes over an ended run; `ended` is the job as its end left it.
    fn exit(&mut self, step: Step, member: usize, ended: Job) {
        let well =
            ended.outcome == Outcome::Success && !ended.forced() && !self.world.group.aborting;
        let status = if well {
            Status::Waiting
        } else {
            Status::Aborting
        };
        self.offer(step, Some(Output::Status(member, status)), |world| {
            world.jobs[member] = ended;
            let job = &mut world.jobs[member];
            job.status = status;
            if well {
                let all = world
                    .jobs
                    .iter()
                    .all(|job| job.status == Status::Waiting || job.is_final());
                if all && !world.group.open {
                    world.group.phase = Phase::Announcing;
                }
            } else {
                if job.outcome == Outcome::Success {
                    // P24: a forced cancel before this moment always shows in the result (3).
                    job.outcome = Outcome::Cancelled;
                }
                begin_abort(world, Some(member));
            }
        });
    }

    /// Every member waits: newest first to pending.
    fn announce(&mut self) {
        match self
            .world
            .jobs
            .iter()
            .rposition(|job| job.status == Status::Waiting)
        {
            Some(member) => self.change(
                Step::Announce(member),
                member,
                Some(Output::Status(member, Status::Pending)),
                |job| {
                    job.status = Status::Pending;
                    if !job.spec.auto_finalize && job.spec.block {
                        job.owes = Owes::Pending;
                    }
                },
            ),
            None => self.offer(Step::Announced, None, |world| {
                let manual = |job: &Job| !job.spec.auto_finalize && !job.is_final();
                let manual = world.jobs.iter().any(manual);
                world.group.phase = if manual {
                    Phase::Idle
                } else {
                    Phase::Preparing
                };
            }),
        }
    }

    /// Members nobody told us of: the decision comes when it comes.
    fn decide_unseen(&mut self) {
        for (member, job) in self.world.jobs.iter().enumerate() {
            if job.status == Status::Waiting {
                self.change(
                    Step::Announce(member),
                    member,
                    Some(Output::Status(member, Status::Pending)),
                    |job| {
                        job.status = Status::Pending;
                        if !job.spec.auto_finalize && job.spec.block {
                            job.owes = Owes::Pending;
                        }
                    },
                );
            }
        }
        let world = self.world;
        if world
            .jobs
            .iter()
            .all(|job| job.status == Status::Pending || job.is_final())
        {
            self.offer(Step::Announced, None, |world| {
                world.group.phase = Phase::Preparing;
            });
        }
        if !world.group.aborting
            && world
                .jobs
                .iter()
                .any(|job| job.started() && !job.is_final())
        {
            // A member nobody told us of brings the group down.
            self.offer(Step::Announced, None, |world| begin_abort(world, None));
        }
    }

    /// `prepare`, newest first, stopping at the first failure (2).
    fn prepare(&mut self) {
        let world = self.world;
        if let Some(member) = world
            .jobs
            .iter()
            .position(|job| job.tail == Tail::Preparing)
        {
            for well in [true, false] {
                self.offer(
                    Step::PrepareEnd(member, well),
                    Some(Output::End(member, Callback::Prepare, well)),
                    |world| end_prepare(world, member, well),
                );
            }
            return;
        }
        let next = world
            .jobs
            .iter()
            .rposition(|job| job.status == Status::Pending && job.tail == Tail::None);
        match next {
            Some(member) if self.view.callbacks => self.change(
                Step::PrepareBegin(member),
                member,
                Some(Output::Begin(member, Callback::Prepare)),
                |job| job.tail = Tail::Preparing,
            ),
            Some(member) => {
                for well in [true, false] {
                    self.offer(Step::PrepareEnd(member, well), None, |world| {
                        end_prepare(world, member, well);
                    });
                }
            }
            None => self.offer(Step::Decide, None, |world| {
                // A cancel that came in meanwhile folds into the result before the decision (3).
                if world.jobs.iter().any(Job::forced) {
                    begin_abort(world, None);
                } else {
                    world.group.phase = Phase::Committing;
                }
            }),
        }
    }

    /// Commits and concludes member after member, newest first (§3.3).
    fn commit(&mut self) {
        let world = self.world;
        if world.jobs.iter().any(Job::in_tail) {
            return;
        }
        match world
            .jobs
            .iter()
            .rposition(|job| job.status == Status::Pending)
        {
            Some(member) => self.begin_decision(member, Callback::Commit, Tail::Committing),
            None => self.offer(Step::Close, None, |world| world.group.phase = Phase::Idle),
        }
    }

    /// Brings the members down, each at its turn; waits where a run has not ended.
    fn abort(&mut self) {
        let world = self.world;
        let due = |at| world.jobs.iter().rposition(|job| job.peer_cancel == at);
        if let Some(member) = due(PeerCancel::In) {
            self.change(
                Step::PeerCancelEnd(member),
                member,
                Some(Output::End(member, Callback::Cancel, true)),
                |job| job.peer_cancel = PeerCancel::No,
            );
            return;
        }
        if let Some(member) = due(PeerCancel::Due) {
            if self.view.callbacks {
                self.change(
                    Step::PeerCancelBegin(member),
                    member,
                    Some(Output::Begin(member, Callback::Cancel)),
                    |job| job.peer_cancel = PeerCancel::In,
                );
            } else {
                self.change(Step::PeerCancelBegin(member), member, None, |job| {
                    job.peer_cancel = PeerCancel::No;
                });
            }
            return;
        }
        if world.jobs.iter().any(Job::in_tail) {
            return;
        }
        let Some(turn) = world.abort_turn() else {
            self.offer(Step::Close, None, |world| world.group.phase = Phase::Idle);
            return;
        };
        let any_order = !self.profile.abort_newest_first;
        for (member, job) in world.jobs.iter().enumerate() {
            let ours = member == turn || (any_order && job.status != Status::Undefined);
            if !ours || job.is_final() || !job.abort_may_go_on() {
                continue;
            }
            if job.status == Status::Aborting {
                self.begin_decision(member, Callback::Abort, Tail::Aborting);
            } else {
                self.change(
                    Step::Turn(member),
                    member,
                    Some(Output::Status(member, Status::Aborting)),
                    |job| {
                        job.status = Status::Aborting;
                        if matches!(job.outcome, Outcome::Open | Outcome::Success) {
                            job.outcome = Outcome::Cancelled;
                        }
                    },
                );
            }
        }
    }

    fn begin_decision(&mut self, member: usize, callback: Callback, tail: Tail) {
        if self.view.callbacks {
            self.change(
                Step::DecisionBegin(member),
                member,
                Some(Output::Begin(member, callback)),
                |job| job.tail = tail,
            );
        } else {
            self.change(Step::DecisionBegin(member), member, None, |job| {
                job.tail = Tail::Completed;
            });
        }
    }

    /// The rest of one member's completion: clean, completion function, event, concluded, null.
    fn tail(&mut self, member: usize) {
        let job = self.world.jobs[member];
        let m = member;
        let mut edge = |step, output, tail| {
            self.change(step, m, Some(output), |job| job.tail = tail);
        };
        match job.tail {
            Tail::None | Tail::Preparing | Tail::Prepared => {}
            Tail::Committing => edge(
                Step::DecisionEnd(m),
                Output::End(m, Callback::Commit, true),
                Tail::Decided,
            ),
            Tail::Aborting => edge(
                Step::DecisionEnd(m),
                Output::End(m, Callback::Abort, true),
                Tail::Decided,
            ),
            Tail::Decided => edge(
                Step::CleanBegin(m),
                Output::Begin(m, Callback::Clean),
                Tail::Cleaning,
            ),
            Tail::Cleaning => edge(
                Step::CleanEnd(m),
                Output::End(m, Callback::Clean, true),
                if job.spec.completion {
                    Tail::Cleaned
                } else {
                    Tail::Completed
                },
            ),
            Tail::Cleaned => edge(
                Step::CompletionBegin(m),
                Output::Begin(m, Callback::Completion),
                Tail::Completing,
            ),
            Tail::Completing => edge(
                Step::CompletionEnd(m),
                Output::End(m, Callback::Completion, true),
                Tail::Completed,
            ),
            Tail::Completed => {
                // P16: the event's kind follows the cancel flag, not the result (6).
                let event = if job.forced() {
                    Event::Cancelled
                } else {
                    Event::Completed {
                        error: job.outcome != Outcome::Success,
                    }
                };
                let due = job.spec.block && job.started();
                self.change(
                    Step::Terminal(m),
                    m,
                    due.then_some(Output::Event(m, event)),
                    |job| job.tail = Tail::Announced,
                );
            }
            Tail::Announced if !job.is_final() => {
                self.change(
                    Step::Conclude(m),
                    m,
                    Some(Output::Status(m, Status::Concluded)),
                    |job| job.status = Status::Concluded,
                );
            }
            Tail::Announced => {
                if job.status == Status::Concluded && job.dismisses_itself() {
                    self.change(
                        Step::Vanish(m),
                        m,
                        Some(Output::Status(m, Status::Null)),
                        |job| job.status = Status::Null,
                    );
                }
            }
        }
    }

    /// What a call under way may do.
    fn call(&mut self, place: usize) {
        let world = self.world;
        let call = &world.calls[place];
        match &call.state {
            CallState::Answered(_) | CallState::Looked(_) => {}
            CallState::Awaiting => {
                if !self.busy {
                    let failed = world.group.prepare_failed
                        && call.request == Request::Finalize
                        && self.profile.finalize_reports_prepare;
                    self.answer(
                        place,
                        Step::Settle(place),
                        if failed {
                            Err(Refusal::PrepareFailed)
                        } else {
                            Ok(())
                        },
                    );
                }
            }
            &CallState::Accepted { forced } => {
                let member = usize::from(call.member.unwrap_or_default());
                let callback = request::callback(call.request);
                self.offer(
                    Step::RequestCallbackBegin(place),
                    callback.map(|callback| Output::Begin(member, callback)),
                    |world| world.calls[place].state = CallState::InCallback { forced },
                );
            }
            &CallState::InCallback { forced } => {
                let member = usize::from(call.member.unwrap_or_default());
                let callback = request::callback(call.request);
                let well = call.request != (Request::Cancel { force: false }) || forced;
                self.offer(
                    Step::RequestCallbackEnd(place),
                    callback.map(|callback| Output::End(member, callback, well)),
                    |world| world.calls[place].state = CallState::Told { forced },
                );
            }
            &CallState::Told { forced } => {
                let member = usize::from(call.member.unwrap_or_default());
                let request = call.request;
                self.offer(Step::RequestEffect(place), None, |world| {
                    let effect = request::apply_after_callback(world, member, request, forced);
                    world.calls[place].state = effect;
                });
            }
            CallState::Issued => self.take_effect(place),
        }
    }

    fn answer(&mut self, place: usize, step: Step, reply: Reply) {
        self.offer(step, None, |world| {
            world.calls[place].state = CallState::Answered(reply);
        });
    }

    fn take_effect(&mut self, place: usize) {
        let call = &self.world.calls[place];
        let Some(member) = call.member.map(usize::from) else {
            let request = call.request;
            if request == Request::Query
                && self.profile.queries_on_main_loop
                && self.world.jobs.iter().any(Job::in_tail)
            {
                return;
            }
            self.offer(Step::TakeEffect(place), None, |world| {
                let state = request::apply_to_all(world, request);
                world.calls[place].state = state;
            });
            return;
        };
        match request::judge(self.world, member, call.request, call.block, self.profile) {
            Effect::Refuse(refusal) => {
                self.answer(place, Step::TakeEffect(place), Err(refusal));
            }
            Effect::NotNow => {}
            Effect::Callback { forced, .. } if self.view.callbacks => {
                self.offer(Step::TakeEffect(place), None, |world| {
                    world.calls[place].state = CallState::Accepted { forced };
                });
            }
            Effect::Callback { forced, .. }
                if call.request == (Request::Cancel { force: false }) =>
            {
                // Unseen, too, a soft cancel is judged before its callback and set down after it;
                // for the others the two may as well be one moment.
                self.offer(Step::TakeEffect(place), None, |world| {
                    world.calls[place].state = CallState::Told { forced };
                });
            }
            Effect::Callback { forced, .. } => {
                let request = call.request;
                self.offer(Step::TakeEffect(place), None, |world| {
                    let state = request::apply_after_callback(world, member, request, forced);
                    world.calls[place].state = state;
                });
            }
            Effect::Apply => {
                let request = call.request;
                let created = (request == Request::Create)
                    .then_some(Output::Status(member, Status::Created))
                    .or(
                        (request == Request::EarlyFail || request == Request::Dismiss)
                            .then_some(Output::Status(member, Status::Null)),
                    );
                self.offer(Step::TakeEffect(place), created, |world| {
                    let state = request::apply(world, member, request);
                    world.calls[place].state = state;
                });
            }
        }
    }

    /// Requests of somebody else, which only their consequences show.
    fn others(&mut self, member: usize) {
        for request in [
            Request::Pause,
            Request::Resume,
            Request::Cancel { force: false },
            Request::Cancel { force: true },
            Request::Complete,
            Request::Finalize,
            Request::Dismiss,
        ] {
            let output =
                (request == Request::Dismiss).then_some(Output::Status(member, Status::Null));
            match request::judge(self.world, member, request, false, self.profile) {
                Effect::Refuse(_) | Effect::NotNow => {}
                Effect::Callback { forced, .. } => {
                    self.offer(Step::Other(member, request), output, |world| {
                        request::apply_after_callback(world, member, request, forced);
                    });
                }
                Effect::Apply => self.offer(Step::Other(member, request), output, |world| {
                    request::apply(world, member, request);
                }),
            }
        }
    }
}

/// A job that converges ends well only when told to finish (SEMANTICS.md §5.4).
fn may_end_well(job: &Job) -> bool {
    !job.spec.needs_finish
        || (job.status == Status::Ready && (job.complete || job.cancel != Cancel::No))
}

/// A job cancelled by force before its first step is not run (24).
pub(crate) const fn skips_run(job: &Job, profile: &Profile) -> bool {
    !job.entered && job.forced() && profile.cancelled_before_run_is_skipped
}

/// The end of a run is recorded: nothing enters the body again (P22).
fn end_run(job: &mut Job, profile: &Profile) {
    job.body = Body::Ended;
    if job.outcome == Outcome::Open {
        job.outcome = Outcome::Cancelled;
    }
    if profile.end_clears_pauses {
        // A pause after the last pause point can no longer be honoured (40).
        job.user_paused = false;
        job.io_failed = false;
        job.holds = 0;
    }
}

/// The outcome of one `prepare`.
fn end_prepare(world: &mut World, member: usize, well: bool) {
    let job = &mut world.jobs[member];
    if well {
        job.tail = Tail::Prepared;
        return;
    }
    // The failing member keeps its own error; everybody else is brought down (2).
    job.tail = Tail::None;
    job.outcome = Outcome::Failure;
    world.group.prepare_failed = true;
    begin_abort(world, Some(member));
}

/// Brings the group down, once (P14): everybody but the initiator is cancelled by force (P15).
pub(crate) fn begin_abort(world: &mut World, initiator: Option<usize>) {
    if world.group.aborting {
        return;
    }
    world.group.aborting = true;
    world.group.phase = Phase::Aborting;
    for (member, job) in world.jobs.iter_mut().enumerate() {
        if job.status == Status::Undefined {
            // It will never come into being.
            job.starting = false;
            continue;
        }
        if Some(member) == initiator || job.is_final() {
            continue;
        }
        job.cancel = Cancel::Force;
        job.user_paused = false;
        job.io_failed = false;
        job.peer_cancel = if job.started() {
            PeerCancel::Due
        } else {
            PeerCancel::No
        };
        if !job.started() {
            job.outcome = Outcome::Cancelled;
            job.starting = false;
        }
    }
}
