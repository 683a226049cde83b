//! What follows on a world, for tests that walk through the relation.

use blockjob_model::explore::Move;
use blockjob_model::state::{Call, CallState, World};
use blockjob_model::step::{Output, View, steps};
use blockjob_model::{Profile, Request};

/// Everything that may happen next without anybody's asking: the steps, and the return of the first call, if it has
/// its answer.
pub fn follow(
    world: &World,
    profile: &Profile,
    view: View,
    visit: &mut impl FnMut(Move, World, Option<Output>),
) {
    steps(world, profile, view, &mut |step, next, output| {
        visit(Move::Step(step), next.into_world(), output);
    });
    if let Some(Call {
        request,
        state: CallState::Answered(reply),
        ..
    }) = world.calls.first()
    {
        let mut next = world.clone();
        next.calls.remove(0);
        visit(Move::Answer(*request, *reply), next, None);
    }
}

/// The world with each of these requests made of each member; `posted` ones have no caller any more.
pub fn asked(world: &World, requests: &[Request], posted: bool) -> impl Iterator<Item = World> {
    let members = 0..world.jobs.len() as u16;
    let each =
        members.flat_map(move |member| requests.iter().map(move |&request| (member, request)));
    each.map(move |(member, request)| {
        let mut next = world.clone();
        next.calls.push(Call {
            thread: 0,
            member: Some(member),
            request,
            block: false,
            posted,
            state: CallState::Issued,
        });
        next
    })
}
