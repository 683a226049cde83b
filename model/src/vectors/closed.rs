//! The specification with drivers that do as they are ordered, and one caller that waits.
//!
//! What the step relation leaves open is closed here: [`Closed::pace`] says of every step whether it must
//! happen at last, may happen, or happens on an order alone. A world in which nothing must happen is at
//! rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::script::{Action, Member, Observation};
use crate::hash::FastSet;
use crate::profile::Profile;
use crate::state::{Body, Call, CallState, Group, World};
use crate::status::Status;
use crate::step::{Output, Step, View, steps};
use crate::vocabulary::Request;

/// A world, and an order that the driver has not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) world: World,
    order: Option<Action>,
}

/// Every node that explains what was seen; sorted, and closed under what cannot be seen.
pub(super) type Belief = Vec<Node>;

/// Every world that explains a rest; sorted.
pub(super) type Resting = Arc<[World]>;

/// What may follow a belief.
pub(super) struct Next {
    /// What may be seen, and what is believed then.
    pub(super) see: BTreeMap<Observation, Belief>,
    /// It may be at rest, and then this is believed.
    pub(super) rest: Option<Resting>,
    /// It may be at rest although what was sent is not answered.
    pub(super) stuck: bool,
}

/// Whether a step happens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// At last, unless another makes it impossible.
    Must,
    /// Or not.
    May,
    /// Not without an order that was not given.
    Never,
}

/// The moves of the transition table, as bits: `from * 11 + to`.
pub(super) type Edges = u128;

/// The bit of a move.
pub(super) const fn edge(from: Status, to: Status) -> Edges {
    1 << (from as usize * Status::COUNT + to as usize)
}

/// The specification, closed.
pub(super) struct Closed {
    pub(super) profile: &'static Profile,
    pub(super) members: Vec<Member>,
}

impl Closed {
    pub(super) fn new(profile: &'static Profile, members: &[Member]) -> Closed {
        Closed {
            profile,
            members: members.to_vec(),
        }
    }

    /// Before anything was sent.
    pub(super) fn beginning(&self) -> Resting {
        let specs = self.members.iter().map(|member| member.spec);
        Arc::new([World::new(Group::CLOSED, specs)])
    }

    /// Where `action` was sent and nothing has come of it; nothing where it cannot be sent, because the
    /// driver is not there to take it, or because it makes no sense.
    pub(super) fn send(&self, resting: &[World], action: Action) -> Option<Vec<Node>> {
        let mut sent = Vec::with_capacity(resting.len());
        for world in resting {
            if !self.can_take(world, action) {
                return None;
            }
            let mut world = world.clone();
            let (member, request, block) = match action {
                Action::Create(member) => (Some(member), Request::Create, false),
                Action::Start => (None, Request::Start, false),
                Action::GiveUp(member) => (Some(member), Request::EarlyFail, false),
                Action::Ask {
                    member,
                    request,
                    block,
                } => (Some(member), request, block),
                Action::Converge(_) | Action::IoError(..) | Action::End(..) => {
                    sent.push(Node {
                        world,
                        order: Some(action),
                    });
                    continue;
                }
            };
            world.calls.push(Call {
                thread: 0,
                member: member.map(|member| member as u16),
                request,
                block,
                posted: false,
                state: CallState::Issued,
            });
            sent.push(Node { world, order: None });
        }
        Some(sent)
    }

    /// Whether somebody is there to take it.
    fn can_take(&self, world: &World, action: Action) -> bool {
        let status = |member: usize| world.jobs[member].status;
        match action {
            Action::Create(member) => {
                status(member) == Status::Undefined
                    && !world.group.aborting
                    && (0..member).all(|older| status(older) == Status::Created)
            }
            Action::Start => world
                .jobs
                .iter()
                .all(|job| job.status == Status::Created && !job.started()),
            // Who is given up was its creator's alone; members of a transaction are started or cancelled.
            Action::GiveUp(member) => {
                status(member) == Status::Created
                    && self.members.len() == 1
                    && !world.group.aborting
            }
            Action::Ask { .. } => true,
            Action::Converge(_) | Action::IoError(..) | Action::End(..) => {
                let mut there = false;
                self.steps(world, &mut |step, _, _| there |= carries_out(step, action));
                there
            }
        }
    }

    /// What may follow.
    pub(super) fn next(&self, belief: &Belief) -> Next {
        let mut see: BTreeMap<Observation, Vec<Node>> = BTreeMap::new();
        let mut rest = Vec::new();
        let mut stuck = false;
        for node in belief {
            let mut at_rest = node.order.is_none();
            if let Some((observation, world)) = Self::reply(&node.world) {
                at_rest = false;
                let answered = Node {
                    world,
                    order: node.order,
                };
                see.entry(observation).or_default().push(answered);
            }
            self.follow(node, &mut |pace, next, output| {
                at_rest &= pace == Pace::May;
                if let Some(output) = output {
                    see.entry(observed(output)).or_default().push(next);
                }
            });
            if at_rest && node.world.calls.is_empty() {
                rest.push(node.world.clone());
            } else if at_rest {
                stuck = true;
            }
        }
        rest.sort_unstable();
        rest.dedup();
        Next {
            see: see
                .into_iter()
                .map(|(observation, nodes)| (observation, self.close(nodes)))
                .collect(),
            rest: (!rest.is_empty()).then(|| rest.into()),
            stuck,
        }
    }

    /// The moves that every way from these nodes to a rest takes, seen or not.
    pub(super) fn certain(&self, nodes: &[Node]) -> Edges {
        let mut known: BTreeMap<Node, Option<Edges>> = BTreeMap::new();
        nodes.iter().fold(Edges::MAX, |all, node| {
            all & self.certain_from(node, &mut known)
        })
    }

    fn certain_from(&self, node: &Node, known: &mut BTreeMap<Node, Option<Edges>>) -> Edges {
        match known.get(node) {
            Some(Some(edges)) => return *edges,
            // Going round takes nothing away: some other way leaves the circle.
            Some(None) => return Edges::MAX,
            None => {}
        }
        known.insert(node.clone(), None);
        let mut nodes = Vec::new();
        if let Some((_, world)) = Self::reply(&node.world) {
            nodes.push(Node {
                world,
                order: node.order,
            });
        }
        self.follow(node, &mut |pace, next, _| {
            if pace == Pace::Must {
                nodes.push(next);
            }
        });
        let edges = if nodes.is_empty() {
            0
        } else {
            nodes.into_iter().fold(Edges::MAX, |all, next| {
                let moved = node
                    .world
                    .jobs
                    .iter()
                    .zip(&next.world.jobs)
                    .filter(|(before, after)| before.status != after.status)
                    .map(|(before, after)| edge(before.status, after.status))
                    .fold(0, |edges, edge| edges | edge);
                all & (moved | self.certain_from(&next, known))
            })
        };
        known.insert(node.clone(), Some(edges));
        edges
    }

    /// The answer that is due, and the world without the call.
    fn reply(world: &World) -> Option<(Observation, World)> {
        let call = world.calls.first()?;
        let CallState::Answered(reply) = call.state else {
            return None;
        };
        let observation = match reply {
            Ok(()) => Observation::Accepted,
            Err(refusal) => Observation::Refused {
                refusal,
                member: usize::from(call.member.unwrap_or_default()),
                block: call.block,
            },
        };
        let mut world = world.clone();
        world.calls.clear();
        Some((observation, world))
    }

    /// Everything that may happen next, and how.
    fn follow(&self, node: &Node, visit: &mut impl FnMut(Pace, Node, Option<Output>)) {
        self.steps(&node.world, &mut |step, world, output| {
            let ordered = node.order.is_some_and(|order| carries_out(step, order));
            let pace = if ordered {
                Pace::Must
            } else {
                self.pace(step, &node.world)
            };
            if pace != Pace::Never {
                let order = node.order.filter(|_| !ordered);
                visit(pace, Node { world, order }, output);
            }
        });
    }

    fn steps(&self, world: &World, visit: &mut impl FnMut(Step, World, Option<Output>)) {
        steps(world, self.profile, View::QMP, &mut |step, next, output| {
            visit(step, next.into_world(), output);
        });
    }

    /// Whether a step happens without an order.
    fn pace(&self, step: Step, world: &World) -> Pace {
        let if_must = |must: bool| if must { Pace::Must } else { Pace::May };
        match step {
            Step::RunEnd(member, _) => self.gives_up(member, world),
            // Where the end of a run shows before its status does.
            Step::Defer(member)
                if matches!(world.jobs[member].body, Body::Moving | Body::AtPoint) =>
            {
                self.gives_up(member, world)
            }
            Step::PrepareEnd(member, well) if well == self.members[member].prepare_fails => {
                Pace::Never
            }
            Step::Park(member) => self.parks(member, world),
            Step::Unpark(member) => if_must(!world.jobs[member].should_pause()),
            Step::TakeBack(_) => Pace::May,
            Step::Converge(_)
            | Step::IoError(..)
            | Step::IoBegin(_)
            | Step::IoEnd(_)
            | Step::Sleep(_)
            | Step::Yield(_)
            | Step::Timer(_)
            | Step::FailEarly(_)
            | Step::FailTogether(_)
            | Step::Other(..) => Pace::Never,
            _ => Pace::Must,
        }
    }

    /// A job whose pause is wanted parks; any may for reasons of the implementation's own (22), but not in the
    /// middle of a request: what that meets would be left to chance.
    fn parks(&self, member: usize, world: &World) -> Pace {
        let issued = |call: &Call| call.state == CallState::Issued;
        if world.jobs[member].should_pause() {
            Pace::Must
        } else if self.profile.internal_pauses && !world.calls.iter().any(issued) {
            Pace::May
        } else {
            Pace::Never
        }
    }

    /// A driver that is cancelled by force ends by itself, unless it lingers.
    fn gives_up(&self, member: usize, world: &World) -> Pace {
        if world.jobs[member].forced() && !self.members[member].lingers {
            Pace::Must
        } else {
            Pace::Never
        }
    }

    /// Adds what may have happened unseen.
    pub(super) fn close(&self, nodes: Vec<Node>) -> Belief {
        let mut known: FastSet<Node> = FastSet::default();
        let mut belief: Vec<Node> = Vec::new();
        for node in nodes {
            if known.insert(node.clone()) {
                belief.push(node);
            }
        }
        let mut place = 0;
        while place < belief.len() {
            let node = belief[place].clone();
            self.follow(&node, &mut |_, next, output| {
                if output.is_none() && known.insert(next.clone()) {
                    belief.push(next);
                }
            });
            place += 1;
        }
        belief.sort_unstable();
        belief
    }
}

/// Whether a step is what a driver was ordered to do.
fn carries_out(step: Step, order: Action) -> bool {
    match (step, order) {
        (Step::Converge(member), Action::Converge(ordered)) => member == ordered,
        (Step::IoError(member, action, no_space), Action::IoError(ordered, wanted)) => {
            member == ordered && action == wanted && !no_space
        }
        (Step::RunEnd(member, well), Action::End(ordered, wanted)) => {
            member == ordered && well == wanted
        }
        _ => false,
    }
}

fn observed(output: Output) -> Observation {
    match output {
        Output::Status(member, status) => Observation::Status(member, status),
        Output::Event(member, event) => Observation::Event(member, event),
        Output::Begin(..)
        | Output::End(..)
        | Output::PointBegin(_)
        | Output::PointEnd(_)
        | Output::IoBegin(_)
        | Output::IoEnd(_) => unreachable!("a coarse view shows no callbacks, points and I/O"),
    }
}
