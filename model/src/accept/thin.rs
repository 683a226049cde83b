//! Thin judgement: one run that explains a trace, in place of all of them.
//!
//! To accept, one explanation is enough. A thin acceptor keeps a single world for each transaction
//! and takes no unseen step before something seen needs it; where that world cannot go on it goes
//! back and takes other steps. What it accepts is accepted, because the run that it found is one of
//! those that a whole belief holds. What it does not accept within its patience is not refused by
//! that: this transaction, alone, is held against whole beliefs from then on. Why something is refused
//! only an acceptor can say that is not thin.
//!
//! It goes back for one reason above all: a call was answered otherwise than it would be by now, so it took
//! effect before something that was seen meanwhile. So the moments between are tried first, the latest
//! first, with everything else as it was; then, that a callback in which such a call is carried out was another
//! call's; only then is every other choice taken back, one by one.
//!
//! Nothing is remembered from one trace to the next but memory: where no trace is like another, keeping
//! costs more than finding.

use super::belief::{Pool, Symbol, find};
use super::ways::Ways;
use crate::hash::FastSet;
use crate::state::{CallState, Group, World};
use crate::step::Output;
use crate::vocabulary::{Callback, Reply};

/// How often the way back may be taken in one transaction before whole beliefs are asked.
const PATIENCE: u32 = 500;

/// So many other calls may be moved with one.
const MOVES: usize = 2;

/// Moving calls may try so many symbols again before every choice is looked at.
const MOVES_MAX: usize = 3000;

/// A run of one transaction: the symbols so far, and the world before each.
#[derive(Debug)]
pub(super) struct Path {
    now: World,
    forks: Forks,
    turned: u32,
    /// Worlds from which no run goes on, and how many symbols were before them.
    dead: FastSet<(usize, World)>,
    /// The most symbols that are before any of them.
    dead_to: usize,
    /// Symbols that were tried again, since the run last went on.
    moved: usize,
    /// Memory for other runs, while they are looked for.
    spare: Vec<Other>,
    /// Memory for the next world.
    next: World,
}

/// The part of a run that another one is tried in place of, and where it came to.
#[derive(Debug)]
struct Other {
    forks: Forks,
    now: World,
}

impl Default for Other {
    fn default() -> Other {
        Other {
            forks: Forks::default(),
            now: nothing(),
        }
    }
}

#[derive(Debug)]
struct Fork {
    before: World,
    symbol: Symbol,
    /// Which of the worlds after the symbol was taken, the nearest first.
    taken: usize,
}

/// A list of forks whose memory outlives it.
#[derive(Debug, Default)]
struct Forks {
    memory: Vec<Fork>,
    count: usize,
}

impl Forks {
    fn clear(&mut self) {
        self.count = 0;
    }

    fn make_room(&mut self) {
        if self.count == self.memory.len() {
            self.memory.push(Fork {
                before: nothing(),
                symbol: Symbol::Others,
                taken: 0,
            });
        }
    }

    fn known(&self) -> &[Fork] {
        &self.memory[..self.count]
    }

    /// Adds one, whose world it takes; what it leaves in its place is for use again.
    fn push(&mut self, before: &mut World, symbol: Symbol, taken: usize) {
        self.make_room();
        let fork = &mut self.memory[self.count];
        std::mem::swap(&mut fork.before, before);
        fork.symbol = symbol;
        fork.taken = taken;
        self.count += 1;
    }

    /// Takes the last one away, whose world comes to `before`.
    fn pop(&mut self, before: &mut World) -> Option<(Symbol, usize)> {
        self.count = self.count.checked_sub(1)?;
        let fork = &mut self.memory[self.count];
        std::mem::swap(&mut fork.before, before);
        Some((
            std::mem::replace(&mut fork.symbol, Symbol::Others),
            fork.taken,
        ))
    }

    /// Moves those from `place` on to `other`, in exchange for its memory.
    fn exchange(&mut self, place: usize, other: &mut Forks) {
        other.clear();
        for fork in &mut self.memory[place..self.count] {
            other.make_room();
            std::mem::swap(fork, &mut other.memory[other.count]);
            other.count += 1;
        }
        self.count = place;
    }

    /// Moves those of `other` to the end, in exchange for memory.
    fn append(&mut self, other: &mut Forks) {
        for fork in &mut other.memory[..other.count] {
            self.make_room();
            std::mem::swap(fork, &mut self.memory[self.count]);
            self.count += 1;
        }
        other.clear();
    }
}

fn nothing() -> World {
    World::new(Group::CLOSED, [])
}

impl Path {
    /// A transaction without members.
    pub(super) fn new(group: Group) -> Path {
        Path {
            now: World::new(group, []),
            forks: Forks::default(),
            turned: 0,
            dead: FastSet::default(),
            dead_to: 0,
            moved: 0,
            spare: Vec::new(),
            next: nothing(),
        }
    }

    /// The same in the memory of another path.
    pub(super) fn begin(&mut self, group: Group) {
        self.now.group = group;
        self.now.jobs.clear();
        self.now.calls.clear();
        self.forks.clear();
        self.turned = 0;
        self.dead.clear();
        self.dead_to = 0;
    }

    /// The world that explains everything so far.
    pub(super) fn now(&self) -> &World {
        &self.now
    }

    /// One more symbol.
    ///
    /// # Errors
    /// Patience finds no run with it: every symbol so far, this one too, the oldest first. Of the run itself
    /// nothing is left.
    pub(super) fn advance(
        &mut self,
        pool: &Pool,
        ways: &mut Ways,
        symbol: &Symbol,
    ) -> Result<(), Vec<Symbol>> {
        if self.go_on(pool, ways, symbol.clone(), 0).is_ok() {
            return Ok(());
        }
        if let &Symbol::Answer { slot, reply } = symbol {
            for then in [false, true] {
                self.moved = 0;
                if self.earlier(pool, ways, slot, reply, then, MOVES) {
                    return Ok(());
                }
            }
            self.moved = 0;
            if self.of_another(pool, ways, symbol) {
                return Ok(());
            }
        }
        // Symbols that wait for another way up to them, the oldest last.
        let mut waiting = vec![symbol.clone()];
        while let Some((symbol, taken)) = self.forks.pop(&mut self.now) {
            self.turned += 1;
            if self.turned > PATIENCE {
                waiting.push(symbol);
                break;
            }
            let mut next = Some((symbol, taken + 1));
            while let Some((symbol, way)) = next {
                match self.go_on(pool, ways, symbol, way) {
                    Ok(()) => match waiting.pop() {
                        Some(symbol) => next = Some((symbol, 0)),
                        None => return Ok(()),
                    },
                    Err(symbol) => {
                        waiting.push(symbol);
                        next = None;
                    }
                }
            }
        }
        let known = self.forks.known().iter().map(|fork| &fork.symbol);
        Err(known.chain(waiting.iter().rev()).cloned().collect())
    }

    /// Takes the way of this number, or the next that is not known to lead nowhere; gives the symbol
    /// back where there is none.
    fn go_on(
        &mut self,
        pool: &Pool,
        ways: &mut Ways,
        symbol: Symbol,
        mut way: usize,
    ) -> Result<(), Symbol> {
        let place = self.forks.count;
        while ways.find(pool, &self.now, &symbol, way, &mut self.next) {
            if place >= self.dead_to || !self.dead.contains(&(place + 1, self.next.clone())) {
                std::mem::swap(&mut self.now, &mut self.next);
                self.forks.push(&mut self.next, symbol, way);
                return Ok(());
            }
            way += 1;
        }
        self.dead.insert((place, self.now.clone()));
        self.dead_to = self.dead_to.max(place);
        Err(symbol)
    }

    /// The call in this slot may have taken effect before something that was seen since it came: the run
    /// up to there, its effect (with `then`, after another unseen step), and the same symbols again, each by its
    /// first way. Where that takes the effect of another call out of its place, that one may have to be moved in
    /// turn, so many times.
    fn earlier(
        &mut self,
        pool: &Pool,
        ways: &mut Ways,
        slot: u16,
        reply: Reply,
        then: bool,
        moves: usize,
    ) -> bool {
        for place in (0..self.forks.count).rev() {
            let before = &self.forks.known()[place].before;
            match find(before, slot).map(|at| &before.calls[at].state) {
                // Here it had not come yet.
                None => return false,
                Some(CallState::Issued) => {}
                // Here it had taken effect already.
                Some(_) => continue,
            }
            let mut other = self.spare.pop().unwrap_or_default();
            if ways.effect(pool, before, slot, reply, then, &mut other.now) {
                std::mem::swap(&mut self.now, &mut other.now);
                self.forks.exchange(place, &mut other.forks);
                if self.again(pool, ways, &other.forks, 0, moves)
                    && self.follow(pool, ways, &Symbol::Answer { slot, reply }, moves)
                {
                    self.spare.push(other);
                    return true;
                }
                std::mem::swap(&mut self.now, &mut other.now);
                self.forks.count = place;
                self.forks.append(&mut other.forks);
            }
            self.spare.push(other);
            if self.moved > MOVES_MAX {
                return false;
            }
        }
        false
    }

    /// A callback that was seen may have been that of another call than was thought: the run up to there, its
    /// other ways, and the same symbols again, each by its first way.
    fn of_another(&mut self, pool: &Pool, ways: &mut Ways, symbol: &Symbol) -> bool {
        for place in (0..self.forks.count).rev() {
            let Fork {
                before,
                symbol: seen,
                taken,
            } = &self.forks.known()[place];
            let taken = *taken;
            let &Symbol::See(seen @ Output::Begin(_, callback)) = seen else {
                continue;
            };
            if !matches!(
                callback,
                Callback::UserResume | Callback::Complete | Callback::Cancel | Callback::SetSpeed
            ) {
                continue;
            }
            let before = before.clone();
            let seen = Symbol::See(seen);
            let mut other = self.spare.pop().unwrap_or_default();
            for way in taken + 1.. {
                if !ways.find(pool, &before, &seen, way, &mut other.now) {
                    break;
                }
                std::mem::swap(&mut self.now, &mut other.now);
                self.forks.exchange(place, &mut other.forks);
                self.forks.push(&mut before.clone(), seen.clone(), way);
                if self.again(pool, ways, &other.forks, 1, MOVES)
                    && self.follow(pool, ways, symbol, MOVES)
                {
                    self.spare.push(other);
                    return true;
                }
                std::mem::swap(&mut self.now, &mut other.now);
                self.forks.count = place;
                self.forks.append(&mut other.forks);
                if self.moved > MOVES_MAX {
                    self.spare.push(other);
                    return false;
                }
            }
            self.spare.push(other);
        }
        false
    }

    /// Whether the run goes on with the same symbols as this part of another run, from this place on.
    fn again(
        &mut self,
        pool: &Pool,
        ways: &mut Ways,
        other: &Forks,
        from: usize,
        moves: usize,
    ) -> bool {
        for at in from..other.count {
            let symbol = other.memory[at].symbol.clone();
            if !self.follow(pool, ways, &symbol, moves) {
                return false;
            }
        }
        true
    }

    /// Whether the run goes on with this symbol, without taking any other choice back than the moments of
    /// a few calls.
    fn follow(&mut self, pool: &Pool, ways: &mut Ways, symbol: &Symbol, moves: usize) -> bool {
        self.moved += 1;
        if self.moved > MOVES_MAX {
            return false;
        }
        if self.go_on(pool, ways, symbol.clone(), 0).is_ok() {
            return true;
        }
        match *symbol {
            Symbol::Answer { slot, reply } if moves > 0 => {
                self.earlier(pool, ways, slot, reply, false, moves - 1)
            }
            _ => false,
        }
    }
}
