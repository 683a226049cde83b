//! Programs, all of them: every word of verbs up to a length, times every driver script up to a
//! length, times the ways a job may end.
//!
//! A space is counted by a formula before any of it is played ([`Space::count`]), and every program
//! in it has a number ([`Space::program`]). That is what lets it be cut into parts, on one machine or
//! on several: part I of N has the numbers that leave I − 1 when divided by N. N is a prime, so
//! that no part loses a verb or a script.

use crate::actor::{Act, Role};
use crate::ask::Ask;
use crate::scenario::{Controller, Member, Scenario};

/// A driver script: what the run does up to convergence, and what after it if it converges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Script {
    /// Its run, or its run up to convergence.
    pub acts: Vec<Act>,
    /// It converges, does these, and waits to be told how to finish.
    pub ready: Option<Vec<Act>>,
}

impl Script {
    /// How many steps it has; to converge is one.
    pub fn steps(&self) -> usize {
        self.acts.len() + self.ready.as_ref().map_or(0, |ready| 1 + ready.len())
    }

    fn fails(&self) -> bool {
        let last = self.ready.as_ref().unwrap_or(&self.acts).last();
        last == Some(&Act::Fail)
    }

    /// The script with one more step, every way there is.
    fn longer(&self) -> Vec<Script> {
        if self.fails() {
            return Vec::new();
        }
        let mut longer: Vec<Script> = [Act::Io, Act::Point, Act::Sleep, Act::Fail]
            .into_iter()
            .map(|act| {
                let mut script = self.clone();
                script.ready.as_mut().unwrap_or(&mut script.acts).push(act);
                script
            })
            .collect();
        if self.ready.is_none() {
            longer.push(Script {
                ready: Some(Vec::new()),
                ..self.clone()
            });
        }
        longer
    }

    /// Every script of at most so many steps: I/O, pause point, sleep, to converge (once), and to
    /// fail (as the last step).
    pub fn up_to(steps: usize) -> Vec<Script> {
        let mut all = vec![Script::default()];
        let mut last = all.clone();
        for _ in 0..steps {
            last = last.iter().flat_map(Script::longer).collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    /// How many scripts that is, without making them: with three kinds of step that go on, those
    /// that neither converge nor fail, those that converge at one of their places, and each of these
    /// that have room left with a failure behind them.
    pub fn count_up_to(steps: usize) -> u64 {
        let straight = |steps: usize| (0..=steps as u32).map(|n| 3_u64.pow(n)).sum::<u64>();
        let converging = |steps: usize| {
            (1..=steps as u32)
                .map(|n| u64::from(n) * 3_u64.pow(n - 1))
                .sum::<u64>()
        };
        let going_on = |steps: usize| straight(steps) + converging(steps);
        going_on(steps) + steps.checked_sub(1).map_or(0, going_on)
    }
}

/// How a job ends, apart from what it is asked and what its run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ending {
    /// Its `prepare` fails.
    pub prepare_fails: bool,
    /// It reports a cancel as an error of its own.
    pub reports_cancel: bool,
    /// Its user decides.
    pub manual_finalize: bool,
    /// Its user dismisses it.
    pub manual_dismiss: bool,
}

impl Ending {
    /// It ends by itself, and well.
    pub const AUTOMATIC: Ending = Ending {
        prepare_fails: false,
        reports_cancel: false,
        manual_finalize: false,
        manual_dismiss: false,
    };
    /// Its user ends it.
    pub const MANUAL: Ending = Ending {
        manual_finalize: true,
        manual_dismiss: true,
        ..Ending::AUTOMATIC
    };
    /// Its user ends it, and it fails then.
    pub const FAILING: Ending = Ending {
        prepare_fails: true,
        reports_cancel: true,
        ..Ending::MANUAL
    };
}

/// Programs with the same bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Jobs, in one group: each with a script of its own; a verb is asked of one of them.
    pub jobs: u8,
    /// The fewest verbs …
    pub verbs_min: usize,
    /// … and the most.
    pub verbs_max: usize,
    /// The most steps of a script.
    pub steps_max: usize,
    /// The ways to end; the jobs of one program share theirs.
    pub endings: &'static [Ending],
}

/// One program: what is asked, in this order, of which jobs with which scripts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    /// What is asked of which job.
    pub verbs: Vec<(u8, Ask)>,
    /// The script of each job.
    pub scripts: Vec<Script>,
    /// How they end.
    pub ending: Ending,
}

impl Space {
    fn alphabet(&self) -> u64 {
        u64::from(self.jobs) * Ask::VERBS.len() as u64
    }

    /// How many words of verbs there are.
    fn words(&self) -> u64 {
        (self.verbs_min..=self.verbs_max)
            .map(|length| self.alphabet().pow(length as u32))
            .sum()
    }

    /// How many programs there are.
    pub fn count(&self) -> u64 {
        let scripts = Script::count_up_to(self.steps_max).pow(self.jobs.into());
        self.words() * scripts * self.endings.len() as u64
    }

    /// Another number for each, far from that of its neighbour: a few parts, which are neighbours, hold
    /// something of everything.
    fn spread(&self, number: u64) -> u64 {
        let count = self.count();
        // About the golden section, and prime to the count, so that no two become one.
        let mut step = count * 618 / 1000;
        while greatest_common_divisor(step, count) != 1 {
            step += 1;
        }
        (u128::from(number) * u128::from(step) % u128::from(count)) as u64
    }

    /// How many of them are in part `part` of `parts`, counting parts from 1.
    pub fn count_of_part(&self, part: u64, parts: u64) -> u64 {
        (self.count() + parts - part) / parts
    }

    /// The program with this number, counting from 0; `scripts` are those of [`Script::up_to`].
    ///
    /// # Panics
    ///
    /// On a number that is not below [`count`](Self::count).
    pub fn program(&self, number: u64, scripts: &[Script]) -> Program {
        assert!(number < self.count(), "no program has number {number}");
        let mut number = self.spread(number);
        let mut digit = |base: u64| {
            let digit = number % base;
            number /= base;
            digit
        };
        let ending = self.endings[digit(self.endings.len() as u64) as usize];
        let scripts = (0..self.jobs)
            .map(|_| scripts[digit(scripts.len() as u64) as usize].clone())
            .collect();
        let mut word = digit(self.words());
        let mut length = self.verbs_min;
        while word >= self.alphabet().pow(length as u32) {
            word -= self.alphabet().pow(length as u32);
            length += 1;
        }
        let verbs = (0..length)
            .map(|_| {
                let letter = word % self.alphabet();
                word /= self.alphabet();
                let verbs = Ask::VERBS.len() as u64;
                (
                    (letter / verbs) as u8,
                    Ask::VERBS[(letter % verbs) as usize],
                )
            })
            .collect();
        Program {
            verbs,
            scripts,
            ending,
        }
    }

    /// The programs of part `part` of `parts`, counting parts from 1; each with its number.
    pub fn part(&self, part: u64, parts: u64) -> impl Iterator<Item = (u64, Program)> + use<> {
        let space = *self;
        let scripts = Script::up_to(self.steps_max);
        (part - 1..self.count())
            .step_by(parts as usize)
            .map(move |number| (number, space.program(number, &scripts)))
    }
}

fn greatest_common_divisor(one: u64, other: u64) -> u64 {
    if other == 0 {
        one
    } else {
        greatest_common_divisor(other, one % other)
    }
}

impl Program {
    /// The jobs.
    pub fn roles(&self) -> Vec<Role> {
        self.scripts
            .iter()
            .map(|script| Role {
                acts: kept(&script.acts),
                ready: script.ready.as_deref().map(kept),
                prepare_fails: self.ending.prepare_fails,
                reports_cancel: self.ending.reports_cancel,
                auto_finalize: !self.ending.manual_finalize,
                auto_dismiss: !self.ending.manual_dismiss,
                ..Role::plain(&[])
            })
            .collect()
    }

    /// One thread that asks, beside the main loop and the bodies.
    pub fn scenario(&self) -> Scenario {
        Scenario {
            members: self
                .roles()
                .into_iter()
                .map(|role| Member { group: 0, role })
                .collect(),
            // Also the one that asks nothing ends its program: it tells who waits to be told.
            controllers: vec![Controller(self.verbs.clone())],
            ..Scenario::default()
        }
    }
}

/// Keeps a list of acts for the rest of the process, each once: roles are constants everywhere else,
/// and the scripts are few.
pub fn kept(acts: &[Act]) -> &'static [Act] {
    use std::collections::HashSet;
    use std::sync::{Mutex, PoisonError};

    static KEPT: Mutex<Option<HashSet<&'static [Act]>>> = Mutex::new(None);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = kept.get_or_insert_default();
    if let Some(known) = kept.get(acts) {
        return known;
    }
    let new: &'static [Act] = acts.to_vec().leak();
    kept.insert(new);
    new
}
