//! Thin judgement: one run that explains a trace, in place of all of them.
//!
//! To accept, one explanation is enough. A thin acceptor keeps a single world for each transaction
//! and takes no unseen step before something seen needs it; where that world cannot go on it goes
//! back and takes other steps. What it accepts is accepted, because the run that it found is one of
//! those that a whole belief holds. What it does not accept within its patience is not refused by
//! that: whole beliefs have to say so, and why.
//!
//! Nothing is remembered from one trace to the next: where no trace is like another, keeping costs
//! more than finding.

use super::belief::{Pool, Symbol};
use crate::hash::FastSet;
use crate::state::{Group, World};

/// How often the way back may be taken in one transaction before whole beliefs are asked.
const PATIENCE: u32 = 500;

/// A run of one transaction: the symbols so far, and the world before each.
#[derive(Clone, Debug)]
pub(super) struct Path {
    now: World,
    forks: Vec<Fork>,
    turned: u32,
    /// Worlds from which no run goes on, and how many symbols were before them.
    dead: FastSet<(usize, World)>,
}

#[derive(Clone, Debug)]
struct Fork {
    before: World,
    symbol: Symbol,
    /// Which of the worlds after the symbol was taken, the nearest first.
    taken: usize,
}

impl Path {
    /// A transaction without members.
    pub(super) fn new(group: Group) -> Path {
        Path {
            now: World::new(group, []),
            forks: Vec::new(),
            turned: 0,
            dead: FastSet::default(),
        }
    }

    /// The world that explains everything so far.
    pub(super) fn now(&self) -> &World {
        &self.now
    }

    /// One more symbol; `false` where patience finds no run with it.
    pub(super) fn advance(&mut self, pool: &Pool, symbol: &Symbol) -> bool {
        if self.go_on(pool, symbol.clone(), 0).is_ok() {
            return true;
        }
        // Symbols that wait for another way up to them, the oldest last.
        let mut waiting = vec![symbol.clone()];
        while let Some(fork) = self.forks.pop() {
            self.turned += 1;
            if self.turned > PATIENCE {
                return false;
            }
            self.now = fork.before;
            let mut next = Some((fork.symbol, fork.taken + 1));
            while let Some((symbol, way)) = next {
                match self.go_on(pool, symbol, way) {
                    Ok(()) => match waiting.pop() {
                        Some(symbol) => next = Some((symbol, 0)),
                        None => return true,
                    },
                    Err(symbol) => {
                        waiting.push(symbol);
                        next = None;
                    }
                }
            }
        }
        false
    }

    /// Takes the way of this number, or the next that is not known to lead nowhere; gives the symbol
    /// back where there is none.
    fn go_on(&mut self, pool: &Pool, symbol: Symbol, mut way: usize) -> Result<(), Symbol> {
        let place = self.forks.len();
        while let Some(after) = pool.way(&self.now, &symbol, way) {
            let key = (place + 1, after);
            if self.dead.is_empty() || !self.dead.contains(&key) {
                let before = std::mem::replace(&mut self.now, key.1);
                self.forks.push(Fork {
                    before,
                    symbol,
                    taken: way,
                });
                return Ok(());
            }
            way += 1;
        }
        self.dead.insert((place, self.now.clone()));
        Err(symbol)
    }
}
