//! What calls from outside do: a request takes effect at some moment between call and return.

use super::{Next, Output, Relation, Step};
use crate::profile::CancelCallback;
use crate::request::{self, Effect};
use crate::state::{CallState, Job};
use crate::status::Status;
use crate::verb::Refusal;
use crate::vocabulary::{Callback, Reply, Request};

impl<W: Fn(Option<Output>) -> bool, V: FnMut(Step, Next<'_>, Option<Output>)> Relation<'_, W, V> {
    /// What a call under way may do.
    pub(super) fn call(&mut self, place: usize) {
        let world = self.world;
        let call = &world.calls[place];
        match &call.state {
            CallState::Answered(_) | CallState::Looked(_) => {}
            CallState::Awaiting if call.request == Request::Start => {
                // Its answer says that the job runs, or that a cancel was faster.
                let starts = |member: u16| world.jobs[usize::from(member)].starting;
                let waits = match call.member {
                    Some(member) => starts(member),
                    None => world.jobs.iter().any(|job| job.starting),
                };
                if !waits {
                    self.answer(place, Step::Settle(place), Ok(()));
                }
            }
            CallState::Awaiting if matches!(call.request, Request::DrainBegin { .. }) => {
                self.drain(place);
            }
            &CallState::InDrain { member, callback } => {
                let member = usize::from(member);
                // Whether more is to be expected is the driver's word (§4.7).
                let answers: &[bool] = match callback {
                    Callback::DrainedPoll => &[true, false],
                    _ => &[true],
                };
                for &well in answers {
                    self.offer(
                        Step::DrainCallbackEnd(place, callback, well),
                        Some(Output::End(member, callback, well)),
                        |world| world.calls[place].state = CallState::Awaiting,
                    );
                }
            }
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
                let callback = request::callback(call.request, self.profile);
                self.offer(
                    Step::RequestCallbackBegin(place),
                    callback.map(|callback| Output::Begin(member, callback)),
                    |world| world.calls[place].state = CallState::InCallback { forced },
                );
            }
            &CallState::InCallback { forced } => {
                let member = usize::from(call.member.unwrap_or_default());
                let callback = request::callback(call.request, self.profile);
                let decides = self.profile.cancel_callback == CancelCallback::Decides;
                let well = call.request != (Request::Cancel { force: false }) || forced || !decides;
                self.offer(
                    Step::RequestCallbackEnd(place),
                    callback.map(|callback| Output::End(member, callback, well)),
                    |world| world.calls[place].state = CallState::Told { forced },
                );
            }
            CallState::InUserResume => {
                let member = usize::from(call.member.unwrap_or_default());
                self.offer(
                    Step::UserResumeEnd(place),
                    Some(Output::End(member, Callback::UserResume, true)),
                    |world| world.calls[place].state = CallState::UserResumed,
                );
            }
            CallState::UserResumed => self.set_down(place, true),
            &CallState::Told { forced } => {
                let member = usize::from(call.member.unwrap_or_default());
                let paused = self.view.resumes && world.jobs[member].user_paused;
                if forced && paused && matches!(call.request, Request::Cancel { .. }) {
                    // The end of the user's pause is told, then both are set down (§5.2).
                    self.offer(
                        Step::UserResumeBegin(place),
                        Some(Output::Begin(member, Callback::UserResume)),
                        |world| world.calls[place].state = CallState::InUserResume,
                    );
                } else {
                    self.set_down(place, forced);
                }
            }
            CallState::Issued => self.take_effect(place),
        }
    }

    /// What a request asked for is set down, once its callbacks have returned.
    fn set_down(&mut self, place: usize, forced: bool) {
        let call = &self.world.calls[place];
        let member = usize::from(call.member.unwrap_or_default());
        let (request, profile) = (call.request, self.profile);
        self.offer(Step::RequestEffect(place), None, |world| {
            let effect = request::apply_after_callback(world, member, request, forced, profile);
            world.calls[place].state = effect;
        });
    }

    /// A drained section waits until its members are quiet; meanwhile the main loop may tell them so
    /// and ask them (§3.1).
    fn drain(&mut self, place: usize) {
        let world = self.world;
        let call = &world.calls[place];
        let Request::DrainBegin { token } = call.request else {
            return;
        };
        let member = call.member;
        if request::is_quiet(world, member) {
            self.offer(Step::Settle(place), None, |world| {
                request::settle_drain(world, member, token);
                world.calls[place].state = CallState::Answered(Ok(()));
            });
        }
        if self.busy || !self.view.callbacks {
            return;
        }
        for (at, job) in world.jobs.iter().enumerate() {
            let ours = member.is_none_or(|member| usize::from(member) == at);
            // Whose run ends between the look at it and the callback is told as well (P28).
            if !ours || !job.started() || job.is_final() {
                continue;
            }
            for callback in [Callback::Drain, Callback::DrainedPoll] {
                if !self.profile.has_callback(callback) {
                    continue;
                }
                self.offer(
                    Step::DrainCallbackBegin(place, callback),
                    Some(Output::Begin(at, callback)),
                    |world| {
                        world.calls[place].state = CallState::InDrain {
                            member: at as u16,
                            callback,
                        };
                    },
                );
            }
        }
    }

    pub(super) fn answer(&mut self, place: usize, step: Step, reply: Reply) {
        self.offer(step, None, |world| {
            world.calls[place].state = CallState::Answered(reply);
        });
    }

    pub(super) fn take_effect(&mut self, place: usize) {
        let profile = self.profile;
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
        match request::judge(self.world, member, call.request, call.block, profile) {
            // A cancel was faster: the job is left to it, and its creator is told nothing.
            Effect::NotNow if request::is_creators(call.request) => {
                self.answer(place, Step::TakeEffect(place), Ok(()));
            }
            Effect::Refuse(refusal) => {
                self.answer(place, Step::TakeEffect(place), Err(refusal));
            }
            Effect::NotNow => {}
            // The main loop has something else in hand.
            Effect::Callback { .. } if call.request == Request::Resume && self.busy => {}
            Effect::Callback { .. } if call.request == Request::Resume && !self.view.resumes => {
                // Unseen, too, the job may still park before its driver has been told (38).
                self.offer(Step::TakeEffect(place), None, |world| {
                    request::accept(world, member, Request::Resume, profile);
                    world.calls[place].state = CallState::Told { forced: false };
                });
            }
            Effect::Callback {
                callback: Some(_),
                forced,
            } if self.view.callbacks => {
                let request = call.request;
                self.offer(Step::TakeEffect(place), None, |world| {
                    request::accept(world, member, request, profile);
                    world.calls[place].state = CallState::Accepted { forced };
                });
            }
            Effect::Callback { forced, .. }
                if call.request == (Request::Cancel { force: false })
                    || (self.view.resumes && matches!(call.request, Request::Cancel { .. })) =>
            {
                // Unseen, too, a soft cancel is judged before its callback and set down after it, and
                // any tells of the end of its user's pause in between; for the others the two may as
                // well be one moment.
                self.offer(Step::TakeEffect(place), None, |world| {
                    world.calls[place].state = CallState::Told { forced };
                });
            }
            Effect::Callback { forced, .. } => {
                let request = call.request;
                self.offer(Step::TakeEffect(place), None, |world| {
                    let state =
                        request::apply_after_callback(world, member, request, forced, profile);
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
                    let state = request::apply(world, member, request, profile);
                    world.calls[place].state = state;
                });
            }
        }
    }

    /// Requests of somebody else, which only their consequences show.
    pub(super) fn others(&mut self, member: usize) {
        let profile = self.profile;
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
                        request::accept(world, member, request, profile);
                        request::apply_after_callback(world, member, request, forced, profile);
                    });
                }
                Effect::Apply => self.offer(Step::Other(member, request), output, |world| {
                    request::apply(world, member, request, profile);
                }),
            }
        }
    }
}
