//! What calls from outside do: a request takes effect at some moment between call and return.

use super::{Next, Output, Relation, Step};
use crate::request::{self, Effect};
use crate::state::{CallState, Job};
use crate::status::Status;
use crate::verb::Refusal;
use crate::vocabulary::{Reply, Request};

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

    pub(super) fn answer(&mut self, place: usize, step: Step, reply: Reply) {
        self.offer(step, None, |world| {
            world.calls[place].state = CallState::Answered(reply);
        });
    }

    pub(super) fn take_effect(&mut self, place: usize) {
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
    pub(super) fn others(&mut self, member: usize) {
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
