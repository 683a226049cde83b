//! What the body of one job does: its pause points, its callbacks, its I/O, its end.
//!
//! Two grains: with every edge of the callbacks, and, where these cannot be seen, folded to
//! "running, parked, or ended".

use super::{Next, Output, Relation, Step, View, begin_abort};
use crate::error_policy::IoStatus;
use crate::profile::{Profile, StartOrder};
use crate::state::{Body, Call, CallState, Cancel, Job, Outcome, Owes, PeerCancel};
use crate::status::Status;
use crate::vocabulary::{Callback, ErrorAction, Event, Request};

impl<W: Fn(Option<Output>) -> bool, V: FnMut(Step, Next<'_>, Option<Output>)> Relation<'_, W, V> {
    /// What the body of one job may do. Keeps P7, P17, P18, P22.
    pub(super) fn body(&mut self, member: usize) {
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
        if self.profile.start_order == StartOrder::Any {
            self.start(member);
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
                    if job.spec.announces() {
                        job.owes = Owes::Ready;
                    }
                },
            );
        }
        if running && job.status == Status::Ready && job.cancel == Cancel::Revocable {
            self.change(Step::TakeBack(member), member, None, |job| {
                job.cancel = Cancel::No;
                job.complete = true;
            });
        }
        if running && job.spec.announces() {
            let stacks = !self.profile.stop_takes_one_slot;
            for (action, no_space) in IO_ERRORS {
                self.change(
                    Step::IoError(member, action, no_space),
                    member,
                    Some(Output::Event(member, Event::Error { action })),
                    |job| {
                        if action == ErrorAction::Stop {
                            // The user's pause and a stop error share one slot (8).
                            job.stacked |= job.user_paused && stacks;
                            job.user_paused = true;
                            job.io_status = job.io_status.after_stop(no_space);
                        }
                    },
                );
            }
        }
    }

    /// Where the members of a transaction start in an order, whose turn it is (§6.1).
    pub(super) fn starts(&mut self) {
        let starting = |job: &Job| job.starting;
        let turn = match self.profile.start_order {
            StartOrder::Any => None,
            StartOrder::Listed => self.world.jobs.iter().position(starting),
            StartOrder::Reversed => self.world.jobs.iter().rposition(starting),
        };
        if let Some(member) = turn {
            self.start(member);
        }
    }

    /// The start asked for takes effect.
    fn start(&mut self, member: usize) {
        let job = &self.world.jobs[member];
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
    }

    /// The body with every edge of its callbacks.
    pub(super) fn body_fine(&mut self, member: usize, job: &Job) {
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
                if self.view.sleeps && job.entered {
                    self.sleep(m, job);
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
            Body::Asleep => {
                // A timer that fires is an enter (§4.3).
                self.change(Step::Timer(m), m, None, |job| {
                    job.woken = false;
                    job.come_to(Body::AtPoint);
                });
                self.wake(m, job);
            }
            Body::Yielded => self.wake(m, job),
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
            // P18, P19: from the acknowledgement of a pause to the beginning of `resume` there is no
            // I/O, and none is left when the run has returned. Until it is acknowledged, whoever was let
            // in before `pause` may begin: `pause` can hurry it, and the engine waits for it after that.
            let open = matches!(
                job.body,
                Body::Moving | Body::AtPoint | Body::PauseIn | Body::PauseDone | Body::ResumeIn
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

    /// Parks in a sleep or a wait; test and park are one section (§4.3, P25). Where somebody entered,
    /// wants a pause, or cancelled by force, there is no park.
    pub(super) fn sleep(&mut self, member: usize, job: &Job) {
        for (step, body) in [
            (Step::Sleep(member), Body::Asleep),
            (Step::Yield(member), Body::Yielded),
        ] {
            let goes_on = job.woken || job.should_pause() || job.forced();
            // Whoever sees pause points sees that one begins here.
            let output = self.view.points.then_some(Output::PointBegin(member));
            self.change(step, member, output, |job| {
                job.seen = true;
                if goes_on {
                    job.woken = false;
                    job.come_to(Body::AtPoint);
                } else {
                    job.body = body;
                }
            });
        }
    }

    /// Leaves a sleep or a wait, whose timer goes with it (P20, P21). What follows is a pause point.
    pub(super) fn wake(&mut self, member: usize, job: &Job) {
        if job.woken || job.forced() {
            self.change(Step::Wake(member), member, None, |job| {
                job.woken = false;
                job.seen = true;
                job.come_to(Body::AtPoint);
            });
        }
    }

    /// A job cancelled by force before its first step ends without running (24).
    pub(super) fn skip_run(&mut self, member: usize, job: &Job) {
        if skips_run(job, self.profile) && self.asked(member) {
            let profile = *self.profile;
            self.change(Step::SkipRun(member), member, None, |job| {
                end_run(job, &profile);
            });
        }
    }

    /// A command that creates a job may fail after `created` was announced.
    pub(super) fn fail_creation(&mut self, member: usize) {
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
            let profile = self.profile;
            self.offer(
                Step::FailTogether(member),
                Some(Output::Status(member, Status::Aborting)),
                |world| {
                    let job = &mut world.jobs[member];
                    job.status = Status::Aborting;
                    job.outcome = Outcome::Cancelled;
                    job.starting = false;
                    begin_abort(world, Some(member), profile);
                },
            );
        }
    }

    /// A look at the requests finds a pause now: somebody's, or the block layer's own (22).
    pub(super) fn may_see_pause(&self, job: &Job) -> bool {
        job.should_pause() || (self.profile.internal_pauses && !job.forced())
    }

    pub(super) fn pause_begin(&mut self, member: usize) {
        let output = Some(Output::Begin(member, Callback::Pause));
        self.change(Step::PauseBegin(member), member, output, |job| {
            job.body = Body::PauseIn;
            job.seen = true;
        });
    }

    pub(super) fn resume_begin(&mut self, member: usize) {
        let output = Some(Output::Begin(member, Callback::Resume));
        self.change(Step::ResumeBegin(member), member, output, |job| {
            job.body = Body::ResumeIn;
            job.seen = true;
        });
    }

    /// Something that could tell whether the run has ended is under way: a call, or a cancel that
    /// tells the driver of the end of its user's pause, which the end of the run takes away.
    pub(super) fn asked(&self, member: usize) -> bool {
        let job = &self.world.jobs[member];
        let paused = self.view.resumes && job.user_paused;
        let asks = |call: &Call| match call.state {
            CallState::Issued => true,
            // A drained section waits for it.
            CallState::Awaiting => matches!(call.request, Request::DrainBegin { .. }),
            CallState::Accepted { .. } | CallState::InCallback { .. } | CallState::Told { .. } => {
                paused
            }
            _ => false,
        };
        self.view.ends
            || (paused && job.peer_cancel != PeerCancel::No)
            || self.world.calls.iter().any(|call| {
                asks(call) && call.member.is_none_or(|asked| usize::from(asked) == member)
            })
    }

    /// A soft cancel is on its way, which comes to nothing if the run has ended before it (§5.2).
    ///
    /// Told only of jobs that were told to finish: one that fails of itself in that very moment
    /// would make every answer to a later complete possible.
    fn softly_cancelled(&self, member: usize) -> bool {
        !self.profile.cancel_is_revocable
            && self.world.calls.iter().any(|call| {
                matches!(call.state, CallState::Issued | CallState::Told { .. })
                    && call.request == (Request::Cancel { force: false })
                    && call.member.map(usize::from) == Some(member)
            })
    }

    /// The body where callbacks cannot be seen: running, parked, or ended.
    pub(super) fn body_coarse(&mut self, member: usize, job: &Job) {
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
                // Where verbs tell that the run has ended before its status does (18), or a soft
                // cancel is lost on it, the end is a step of its own.
                let alone = (self.profile.ended_is_waiting && self.asked(m))
                    || (job.status == Status::Ready
                        && may_end_well(job)
                        && self.softly_cancelled(m));
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
    pub(super) fn park(&mut self, member: usize, job: &Job) {
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
    pub(super) fn unpark(&mut self, member: usize, job: &Job, body: Body) {
        let users = job.user_paused || job.stacked || job.resuming;
        let may = !job.should_pause() || (!self.profile.pause_point_loops && !users);
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
}

/// A job that converges ends well only when told to finish (SEMANTICS.md §5.4).
pub(super) fn may_end_well(job: &Job) -> bool {
    !job.spec.needs_finish
        || (job.status == Status::Ready && (job.complete || job.cancel != Cancel::No))
}

/// A job cancelled by force before its first step is not run (24).
pub(crate) const fn skips_run(job: &Job, profile: &Profile) -> bool {
    !job.entered && job.forced() && profile.cancelled_before_run_is_skipped
}

/// The end of a run is recorded: nothing enters the body again (P22).
pub(super) fn end_run(job: &mut Job, profile: &Profile) {
    job.body = Body::Ended;
    if job.outcome == Outcome::Open {
        job.outcome = Outcome::Cancelled;
    }
    if profile.end_clears_pauses {
        // A pause after the last pause point can no longer be honoured (40).
        job.user_paused = false;
        job.stacked = false;
        job.resuming = false;
        job.io_status = IoStatus::Ok;
        job.holds = 0;
        job.drained = 0;
    }
    job.woken = false;
}

/// The errors told apart: what the policy chose, and for a stop, whether space was wanting.
const IO_ERRORS: [(ErrorAction, bool); 4] = [
    (ErrorAction::Report, false),
    (ErrorAction::Ignore, false),
    (ErrorAction::Stop, false),
    (ErrorAction::Stop, true),
];
