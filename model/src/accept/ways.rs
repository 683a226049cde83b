//! Where one world may go: the worlds that it becomes by unseen steps and then something seen.
//!
//! They are numbered, the nearest first, and made one at a time: of most symbols number 0 is all that is
//! ever asked for. So nothing here is allocated twice; worlds that are looked at and left live in memory
//! that is used again.

use super::belief::{Pool, Symbol, add_call, find};
use crate::state::{Call, CallState, Group, World};
use crate::step::{steps_that_show, steps_unseen, steps_unseen_of_call};
use crate::vocabulary::Reply;

/// As many worlds are looked at for the next thing seen.
const WORLDS_MAX: usize = 256;

/// A list of worlds whose memory outlives it.
#[derive(Clone, Debug, Default)]
struct Worlds {
    memory: Vec<World>,
    count: usize,
}

impl Worlds {
    fn known(&self) -> &[World] {
        &self.memory[..self.count]
    }

    fn push(&mut self, world: &World) {
        if self.count == self.memory.len() {
            self.memory.push(World::new(Group::CLOSED, []));
        }
        self.memory[self.count].copy_from(world);
        self.count += 1;
    }
}

/// Finds ways, and keeps the memory that it takes.
#[derive(Debug)]
pub(super) struct Ways {
    /// What is lent to a step.
    lent: World,
    /// What may have happened unseen.
    unseen: Worlds,
    /// A world being looked at.
    here: World,
    after: Vec<World>,
}

impl Ways {
    pub(super) fn new() -> Ways {
        Ways {
            lent: World::new(Group::CLOSED, []),
            unseen: Worlds::default(),
            here: World::new(Group::CLOSED, []),
            after: Vec::new(),
        }
    }

    /// Makes `to` the world number `number` of those that `from` may become by unseen steps and then
    /// `symbol`; `false` where there are not so many. A few may come twice.
    pub(super) fn find(
        &mut self,
        pool: &Pool,
        from: &World,
        symbol: &Symbol,
        number: usize,
        to: &mut World,
    ) -> bool {
        let mut left = number;
        if self.directly(pool, from, symbol, &mut left, to) {
            return true;
        }
        // What waits for its answer has most often just been done.
        let slot = match symbol {
            Symbol::Answer { slot, .. } | Symbol::Looked { slot, .. } | Symbol::Posted { slot } => {
                find(from, *slot)
            }
            _ => None,
        };
        if let Some(place) = slot {
            self.unseen.count = 0;
            let unseen = &mut self.unseen;
            steps_unseen_of_call(
                place,
                from,
                pool.profile,
                pool.view,
                &mut self.lent,
                &mut |_, next, _| unseen.push(&next),
            );
            for at in 0..self.unseen.count {
                if self.of_known(pool, at, symbol, &mut left, to) {
                    return true;
                }
            }
        }
        self.unseen.count = 0;
        self.unseen(pool, from, from);
        let mut at = 0;
        while at < self.unseen.count && self.unseen.count < WORLDS_MAX {
            if self.of_known(pool, at, symbol, &mut left, to) {
                return true;
            }
            let mut here = std::mem::replace(&mut self.here, World::new(Group::CLOSED, []));
            here.copy_from(&self.unseen.known()[at]);
            self.unseen(pool, &here, from);
            self.here = here;
            at += 1;
        }
        false
    }

    /// Makes `to` what `from` becomes where the call in this slot takes effect now, if it then may be
    /// answered so; with `then`, after one other unseen step.
    pub(super) fn effect(
        &mut self,
        pool: &Pool,
        from: &World,
        slot: u16,
        reply: Reply,
        then: bool,
        to: &mut World,
    ) -> bool {
        if !then {
            return self.effect_on(pool, from, slot, reply, to);
        }
        self.unseen.count = 0;
        self.unseen(pool, from, from);
        for at in 0..self.unseen.count {
            let mut here = std::mem::replace(&mut self.here, World::new(Group::CLOSED, []));
            std::mem::swap(&mut here, &mut self.unseen.memory[at]);
            let found = self.effect_on(pool, &here, slot, reply, to);
            self.here = here;
            if found {
                return true;
            }
        }
        false
    }

    fn effect_on(
        &mut self,
        pool: &Pool,
        from: &World,
        slot: u16,
        reply: Reply,
        to: &mut World,
    ) -> bool {
        let Some(place) = find(from, slot) else {
            return false;
        };
        if from.calls[place].state != CallState::Issued {
            return false;
        }
        let mut found = false;
        steps_unseen_of_call(
            place,
            from,
            pool.profile,
            pool.view,
            &mut self.lent,
            &mut |_, next, _| {
                let may = match next.calls.get(place).map(|call| &call.state) {
                    Some(CallState::Answered(answer)) => *answer == reply,
                    _ => reply.is_ok(),
                };
                if may && !found {
                    next.exchange(to);
                    found = true;
                }
            },
        );
        found
    }

    /// Adds what may follow unseen on `world`, and is not known, and not where all began.
    fn unseen(&mut self, pool: &Pool, world: &World, from: &World) {
        let unseen = &mut self.unseen;
        steps_unseen(
            world,
            pool.profile,
            pool.view,
            &mut self.lent,
            &mut |_, next, _| {
                if *next != *from && !unseen.known().contains(&next) {
                    unseen.push(&next);
                }
            },
        );
    }

    fn of_known(
        &mut self,
        pool: &Pool,
        at: usize,
        symbol: &Symbol,
        left: &mut usize,
        to: &mut World,
    ) -> bool {
        let mut here = std::mem::replace(&mut self.here, World::new(Group::CLOSED, []));
        std::mem::swap(&mut here, &mut self.unseen.memory[at]);
        let found = self.directly(pool, &here, symbol, left, to);
        std::mem::swap(&mut here, &mut self.unseen.memory[at]);
        self.here = here;
        found
    }

    /// The same without unseen steps; `left` becomes less by as many as there are.
    fn directly(
        &mut self,
        pool: &Pool,
        from: &World,
        symbol: &Symbol,
        left: &mut usize,
        to: &mut World,
    ) -> bool {
        match *symbol {
            Symbol::See(seen) => {
                let mut found = false;
                steps_that_show(
                    seen,
                    from,
                    pool.profile,
                    pool.view,
                    &mut self.lent,
                    &mut |_, next, _| {
                        if found {
                        } else if *left == 0 {
                            next.exchange(to);
                            found = true;
                        } else {
                            *left -= 1;
                        }
                    },
                );
                found
            }
            Symbol::Call {
                slot,
                member,
                request,
                block,
                maybe_over: false,
            } => one(left, || {
                to.copy_from(from);
                add_call(
                    to,
                    Call {
                        thread: slot,
                        member,
                        request,
                        block,
                        posted: false,
                        state: CallState::Issued,
                    },
                );
            }),
            Symbol::Answer { slot, reply } => match find(from, slot) {
                Some(place) if from.calls[place].state == CallState::Answered(reply) => {
                    one(left, || {
                        to.copy_from(from);
                        to.calls.remove(place);
                    })
                }
                _ => false,
            },
            _ => {
                self.after.clear();
                pool.apply(from, symbol, &mut self.after);
                if *left < self.after.len() {
                    *to = self.after.swap_remove(*left);
                    true
                } else {
                    *left -= self.after.len();
                    false
                }
            }
        }
    }
}

/// The only one there is.
fn one(left: &mut usize, make: impl FnOnce()) -> bool {
    if *left == 0 {
        make();
        true
    } else {
        *left -= 1;
        false
    }
}
