//! Beliefs: which worlds an observer must hold possible, and how an observation changes that.
//!
//! A belief is the set of worlds that explain everything seen so far, closed under the steps that
//! cannot be seen. Beliefs are interned and their changes remembered, so that a long trace of
//! ordinary jobs costs one look-up an observation: the subset construction, made lazily. What is
//! remembered is dropped when it grows over a bound; nothing depends on it.

use std::rc::Rc;
use std::sync::Arc;

use crate::hash::{FastMap, FastSet};
use crate::profile::Profile;
use crate::state::{Call, CallState, Group, Job, JobSpec, Sight, Tail, World};
use crate::status::Status;
use crate::step::{Next, Output, View, steps_showing, steps_unseen};
use crate::vocabulary::{Reply, Request};

/// The number of a belief in its [`Pool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BeliefId(u32);

/// More worlds than this in one belief and the group is widened.
pub(super) const WORLDS_MAX: usize = 2048;

/// More jobs than this in all remembered beliefs together and they are forgotten.
const REMEMBERED_MAX: usize = 1 << 20;

/// A set of job specs, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Specs(u128);

impl Specs {
    pub(super) fn of(specs: &[JobSpec]) -> Specs {
        Specs(specs.iter().fold(0, |bits, spec| {
            let place = u32::from(spec.auto_finalize)
                | u32::from(spec.auto_dismiss) << 1
                | u32::from(spec.can_complete) << 2
                | u32::from(spec.needs_finish) << 3
                | u32::from(spec.block) << 4
                | u32::from(spec.completion) << 5
                | u32::from(spec.internal) << 6;
            bits | 1 << place
        }))
    }

    fn each(self) -> impl Iterator<Item = JobSpec> {
        (0..128)
            .filter(move |place| self.0 >> place & 1 == 1)
            .map(|place: u32| JobSpec {
                auto_finalize: place & 1 != 0,
                auto_dismiss: place & 2 != 0,
                can_complete: place & 4 != 0,
                needs_finish: place & 8 != 0,
                block: place & 16 != 0,
                completion: place & 32 != 0,
                internal: place & 64 != 0,
            })
    }
}

/// What a query said of one job; `None` where it said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SightPattern {
    /// Its status (QEMU 2.11 has none to show).
    pub status: Option<Status>,
    /// Whether it has converged, where no status says so.
    pub ready: Option<bool>,
    /// Whether a pause is requested (`query-block-jobs` calls it `paused`).
    pub paused: Option<bool>,
    /// Whether `io-status` is other than `ok`.
    pub io_failed: Option<bool>,
    /// Whether it carries an error.
    pub failed: Option<bool>,
}

impl SightPattern {
    fn fits(self, sight: Sight, profile: &Profile) -> bool {
        let paused = self.paused.is_none_or(|paused| {
            if paused {
                profile.internal_pauses
                    || sight.pause_wanted
                    || matches!(
                        sight.status,
                        Status::Created | Status::Paused | Status::Standby
                    )
            } else {
                !sight.pause_wanted
            }
        });
        self.status.is_none_or(|status| status == sight.status)
            && self
                .ready
                .is_none_or(|ready| sight.status.is_completed() || ready == sight.status.is_ready())
            && paused
            && self
                .io_failed
                .is_none_or(|failed| failed == sight.io_failed)
            && self.failed.is_none_or(|failed| failed == sight.failed)
    }
}

/// What is looked for among the pictures a query took of a group: one entry a member, `None` for
/// a member the answer does not list.
pub(super) type Listing = Vec<Option<SightPattern>>;

/// Everything that can change a belief.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Symbol {
    /// Something was seen.
    See(Output),
    /// A member is added; which of several specs it has may be unknown.
    Join(Specs),
    /// Which specs this member may have is known better.
    Narrow(u16, Specs),
    /// What creates this member also starts it.
    Start(u16),
    /// What creates this member also starts it, and succeeded.
    Began(u16),
    /// This member is gone, where no event says so.
    Vanished(u16),
    /// This member did not come into being.
    Never(u16),
    /// Somebody unseen sends requests from now on.
    Others,
    /// A call begins.
    Call {
        slot: u16,
        member: Option<u16>,
        request: Request,
        block: bool,
        /// It may have taken effect before this group existed.
        maybe_over: bool,
    },
    /// It returns.
    Answer { slot: u16, reply: Reply },
    /// A query returns.
    Looked { slot: u16, listing: Listing },
    /// It returns, and is carried out later.
    Posted { slot: u16 },
    /// It never reached the job layer.
    Withdraw { slot: u16 },
}

/// The belief would have more worlds than [`WORLDS_MAX`].
#[derive(Debug)]
pub(super) struct TooLarge;

struct Belief {
    worlds: Arc<[World]>,
    /// Nothing can come of any of them any more.
    over: bool,
    next: FastMap<Symbol, Option<BeliefId>>,
}

/// All beliefs in use, each once.
pub(super) struct Pool {
    pub(super) profile: &'static Profile,
    pub(super) view: View,
    beliefs: Vec<Belief>,
    index: FastMap<Arc<[World]>, BeliefId>,
    remembered: usize,
}

impl Pool {
    pub(super) fn new(profile: &'static Profile, view: View) -> Pool {
        Pool {
            profile,
            view: view.of(profile),
            beliefs: Vec::new(),
            index: FastMap::default(),
            remembered: 0,
        }
    }

    pub(super) fn worlds(&self, id: BeliefId) -> &Arc<[World]> {
        &self.beliefs[id.0 as usize].worlds
    }

    /// Whether nothing can come of this world any more, as far as the view shows it.
    pub(super) fn over(&self, world: &World) -> bool {
        if self.view.frees {
            world.is_freed(self.profile)
        } else {
            world.is_over()
        }
    }

    /// Whether nothing can come of it any more.
    pub(super) fn is_over(&self, id: BeliefId) -> bool {
        self.beliefs[id.0 as usize].over
    }

    /// The belief in a group without members.
    pub(super) fn empty(&mut self, group: Group) -> BeliefId {
        self.intern(vec![World::new(group, [])])
    }

    /// Takes a set of worlds in, as it is.
    pub(super) fn intern(&mut self, mut worlds: Vec<World>) -> BeliefId {
        worlds.sort_unstable();
        worlds.dedup();
        let worlds: Arc<[World]> = worlds.into();
        if let Some(&id) = self.index.get(&worlds) {
            return id;
        }
        let id = BeliefId(self.beliefs.len() as u32);
        self.remembered += worlds
            .iter()
            .map(|world| world.jobs.len() + 1)
            .sum::<usize>();
        self.index.insert(Arc::clone(&worlds), id);
        self.beliefs.push(Belief {
            over: worlds.iter().all(|world| self.over(world)),
            worlds,
            next: FastMap::default(),
        });
        id
    }

    /// Forgets everything but the beliefs in `used`, whose numbers change.
    pub(super) fn trim<'a>(&mut self, used: impl Iterator<Item = &'a mut BeliefId>) {
        if self.remembered <= REMEMBERED_MAX {
            return;
        }
        let old = std::mem::take(&mut self.beliefs);
        self.index.clear();
        self.remembered = 0;
        for id in used {
            *id = self.intern(old[id.0 as usize].worlds.to_vec());
        }
    }

    /// The belief after `symbol`, or `None` where nothing explains it.
    pub(super) fn advance(
        &mut self,
        id: BeliefId,
        symbol: &Symbol,
    ) -> Result<Option<BeliefId>, TooLarge> {
        let belief = &self.beliefs[id.0 as usize];
        if let Some(&next) = belief.next.get(symbol) {
            return Ok(next);
        }
        let worlds = Arc::clone(&belief.worlds);
        let mut after = Vec::new();
        for world in worlds.iter() {
            self.apply(world, symbol, &mut after);
        }
        let next = if after.is_empty() {
            None
        } else {
            let closed = self.close(after)?;
            Some(self.intern(closed))
        };
        self.beliefs[id.0 as usize]
            .next
            .insert(symbol.clone(), next);
        Ok(next)
    }

    /// Whether this world may come to its end by unseen steps.
    pub(super) fn may_be_over(&self, world: &World) -> bool {
        self.over(world)
            || self
                .close(vec![world.clone()])
                .is_ok_and(|worlds| worlds.iter().any(|world| self.over(world)))
    }

    /// What one world becomes.
    pub(super) fn apply(&self, world: &World, symbol: &Symbol, after: &mut Vec<World>) {
        match symbol {
            &Symbol::See(seen) => steps_showing(
                world,
                self.profile,
                self.view,
                &|output| output == Some(seen),
                &mut |_, next, _| after.push(next.into_world()),
            ),
            &Symbol::Join(specs) => after.extend(specs.each().map(|spec| {
                let mut world = world.clone();
                world.jobs.push(Job::new(spec));
                world
            })),
            &Symbol::Narrow(member, specs) => {
                let spec = world.jobs[usize::from(member)].spec;
                if specs.each().any(|known| known == spec) {
                    after.push(world.clone());
                }
            }
            &Symbol::Start(member) => after.push(World {
                jobs: changed(&world.jobs, member, |job| {
                    if matches!(job.status, Status::Undefined | Status::Created) {
                        job.starting = true;
                    }
                }),
                ..world.clone()
            }),
            &Symbol::Began(member) => {
                if world.jobs[usize::from(member)].started() {
                    after.push(world.clone());
                }
            }
            &Symbol::Vanished(member) => {
                if world.jobs[usize::from(member)].status == Status::Null {
                    after.push(world.clone());
                }
            }
            &Symbol::Never(member) => {
                // Where creation and its failure announce nothing, both may have happened.
                let job = &world.jobs[usize::from(member)];
                if matches!(job.status, Status::Undefined | Status::Null) && !job.started() {
                    after.push(World {
                        jobs: changed(&world.jobs, member, |job| {
                            job.status = Status::Null;
                            job.starting = false;
                            // The acceptor is told what became of it, not what it had.
                            job.tail = Tail::Freed;
                        }),
                        ..world.clone()
                    });
                }
            }
            Symbol::Others => {
                let mut world = world.clone();
                world.group.others = true;
                after.push(world);
            }
            &Symbol::Call {
                slot,
                member,
                request,
                block,
                maybe_over,
            } => {
                let call = |state| Call {
                    thread: slot,
                    member,
                    request,
                    block,
                    posted: false,
                    state,
                };
                after.push(with_call(world, call(CallState::Issued)));
                if maybe_over {
                    after.push(with_call(world, call(CallState::Answered(Ok(())))));
                }
            }
            Symbol::Answer { slot, reply } => {
                if let Some(place) = find(world, *slot)
                    && world.calls[place].state == CallState::Answered(*reply)
                {
                    after.push(without(world, place));
                }
            }
            Symbol::Looked { slot, listing } => {
                if let Some(place) = find(world, *slot)
                    && let CallState::Looked(sights) = &world.calls[place].state
                    && fits(
                        listing,
                        sights,
                        world,
                        world.calls[place].block,
                        self.profile,
                    )
                {
                    after.push(without(world, place));
                }
            }
            Symbol::Posted { slot } => {
                if let Some(place) = find(world, *slot) {
                    match world.calls[place].state {
                        // Who is refused is told so at once.
                        CallState::Answered(Err(_)) | CallState::Looked(_) => {}
                        CallState::Answered(Ok(())) => after.push(without(world, place)),
                        _ => after.push(posted(world, place)),
                    }
                }
            }
            Symbol::Withdraw { slot } => match find(world, *slot) {
                Some(place) if world.calls[place].state == CallState::Issued => {
                    after.push(without(world, place));
                }
                Some(_) => {}
                None => after.push(world.clone()),
            },
        }
    }

    /// Adds everything that may have happened unseen.
    fn close(&self, worlds: Vec<World>) -> Result<Vec<World>, TooLarge> {
        let mut known: FastSet<Rc<World>> = FastSet::default();
        let mut closed: Vec<Rc<World>> = Vec::with_capacity(worlds.len());
        // Those that are there twice count twice.
        let mut count = 0;
        for world in worlds {
            count += 1;
            if !known.contains(&world) {
                let world = Rc::new(world);
                known.insert(Rc::clone(&world));
                closed.push(world);
            }
        }
        let mut memory = World::new(Group::CLOSED, []);
        let mut place = 0;
        while let Some(world) = closed.get(place) {
            let world = Rc::clone(world);
            let mut visit = |_, next: Next<'_>, _| {
                // Most are known: only others are worth a copy.
                if !known.contains(&*next) {
                    let world = Rc::new(World::clone(&next));
                    known.insert(Rc::clone(&world));
                    closed.push(world);
                    count += 1;
                }
            };
            steps_unseen(&world, self.profile, self.view, &mut memory, &mut visit);
            if count > WORLDS_MAX && world.jobs.len() > 1 {
                return Err(TooLarge);
            }
            place += 1;
        }
        drop(known);
        Ok(closed.into_iter().map(Rc::unwrap_or_clone).collect())
    }

    /// Everything that may be seen next.
    pub(super) fn visible(&self, id: BeliefId) -> Vec<Output> {
        let mut outputs = Vec::new();
        for world in self.worlds(id).iter() {
            steps_showing(
                world,
                self.profile,
                self.view,
                &|output| output.is_some(),
                &mut |_, _, output| outputs.extend(output),
            );
        }
        outputs.sort_unstable();
        outputs.dedup();
        outputs
    }

    /// The belief split into one for each member, each for itself: less is known, never more.
    ///
    /// A world becomes its members' worlds, in which the other members are unseen.
    pub(super) fn split(&mut self, id: BeliefId) -> Result<Vec<BeliefId>, TooLarge> {
        let worlds = Arc::clone(self.worlds(id));
        let members = worlds.first().map_or(0, |world| world.jobs.len());
        let mut beliefs = Vec::with_capacity(members);
        for member in 0..members {
            let alone: FastSet<World> = worlds.iter().map(|world| project(world, member)).collect();
            let closed = self.close(alone.into_iter().collect())?;
            beliefs.push(self.intern(closed));
        }
        Ok(beliefs)
    }
}

fn changed(jobs: &[Job], member: u16, change: impl FnOnce(&mut Job)) -> Vec<Job> {
    let mut jobs = jobs.to_vec();
    change(&mut jobs[usize::from(member)]);
    jobs
}

/// Where the call of this slot is in a world.
pub(super) fn find(world: &World, slot: u16) -> Option<usize> {
    world.calls.iter().position(|call| call.thread == slot)
}

/// Posted calls have no thread any more; this is where the numbers in its place begin.
const POSTED_FROM: u16 = 0x8000;

/// The call at `place` goes on without its caller.
fn posted(world: &World, place: usize) -> World {
    let mut world = world.clone();
    let mut call = world.calls.remove(place);
    let last = world.calls.last().map_or(0, |call| call.thread);
    call.thread = (last + 1).max(POSTED_FROM);
    call.posted = true;
    world.calls.push(call);
    world
}

/// A call is under way from now on, each slot in its order.
pub(super) fn add_call(world: &mut World, call: Call) {
    let place = world
        .calls
        .partition_point(|other| other.thread < call.thread);
    world.calls.insert(place, call);
}

fn with_call(world: &World, call: Call) -> World {
    let mut world = world.clone();
    add_call(&mut world, call);
    world
}

fn without(world: &World, place: usize) -> World {
    let mut world = world.clone();
    world.calls.remove(place);
    world
}

/// Whether the pictures taken of the members are what the answer lists; `block`: a list of block
/// jobs only (SEMANTICS.md §2.0).
fn fits(
    listing: &Listing,
    sights: &[Sight],
    world: &World,
    block: bool,
    profile: &Profile,
) -> bool {
    // Members that joined after the picture was taken are not in it, and not in the answer.
    listing.iter().enumerate().all(|(member, listed)| {
        let sight = sights
            .get(member)
            .filter(|sight| !matches!(sight.status, Status::Undefined | Status::Null))
            .filter(|_| !block || world.jobs[member].spec.block)
            .filter(|_| !world.jobs[member].spec.internal);
        match (listed, sight) {
            (Some(pattern), Some(&sight)) => pattern.fits(sight, profile),
            (None, None) => true,
            _ => false,
        }
    })
}

/// One member's part of a world, the others unseen.
fn project(world: &World, member: usize) -> World {
    let mut group = world.group;
    group.open = true;
    group.phase = if group.aborting {
        crate::state::Phase::Aborting
    } else {
        crate::state::Phase::Idle
    };
    let calls = world
        .calls
        .iter()
        .filter(|call| {
            call.member
                .is_none_or(|called| usize::from(called) == member)
        })
        .map(|call| Call {
            member: call.member.map(|_| 0),
            state: match &call.state {
                CallState::Looked(sights) => {
                    CallState::Looked(sights.get(member).copied().into_iter().collect())
                }
                state => state.clone(),
            },
            ..call.clone()
        })
        .collect();
    World {
        jobs: vec![world.jobs[member]],
        group,
        calls,
    }
}
