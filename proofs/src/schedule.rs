//! A schedule: who goes on, step by step, and the numbers that were drawn meanwhile. It is recorded while
//! it is drawn, written as text, followed again, and made shorter.
//!
//! Who draws numbers is the engine's `sync`: whether a wait ends without a cause.
//!
//! shuttle numbers threads in the order in which they begin, from 0, the playing thread.

use std::fmt;
use std::str::FromStr;

/// A number with which no wait ends without a cause: of eight equal parts of all numbers it is the first of
/// the second one, whether 64 bits count or the lower 32.
pub const CALM: u64 = 1 << 61 | 1 << 29;

/// Who goes on when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Threads, and how many steps each does before the next one does the rest of its own.
    pub turns: Vec<(usize, usize)>,
    /// The numbers drawn, in order; after them, every number is [`CALM`].
    pub numbers: Vec<u64>,
}

impl Schedule {
    /// With these turns, and nothing drawn.
    pub fn of(turns: Vec<(usize, usize)>) -> Schedule {
        Schedule {
            turns,
            numbers: Vec::new(),
        }
    }

    /// One more step of a thread.
    pub fn push(&mut self, thread: usize) {
        match self.turns.last_mut() {
            Some((last, steps)) if *last == thread => *steps += 1,
            _ => self.turns.push((thread, 1)),
        }
    }

    /// How often it changes from one thread to another.
    pub fn changes(&self) -> usize {
        self.turns.len().saturating_sub(1)
    }

    /// The same without `count` turns from `first` on.
    #[must_use]
    pub fn without(&self, first: usize, count: usize) -> Schedule {
        let mut schedule = self.clone();
        let last = (first + count).min(self.turns.len());
        schedule.turns.drain(first..last);
        schedule
    }

    /// How many numbers may end a wait without a cause.
    pub fn restless(&self) -> usize {
        self.numbers
            .iter()
            .filter(|&&number| number != CALM)
            .count()
    }

    /// The same with `count` numbers calm from `first` on.
    #[must_use]
    pub fn calmed(&self, first: usize, count: usize) -> Schedule {
        let mut schedule = self.clone();
        let last = (first + count).min(self.numbers.len());
        schedule.numbers[first..last].fill(CALM);
        schedule.trim();
        schedule
    }

    /// The same without `count` numbers from `first` on: those after them come earlier.
    #[must_use]
    pub fn without_numbers(&self, first: usize, count: usize) -> Schedule {
        let mut schedule = self.clone();
        let last = (first + count).min(self.numbers.len());
        schedule.numbers.drain(first..last);
        schedule.trim();
        schedule
    }

    /// Leaves out the numbers at the end that are calm anyway.
    pub fn trim(&mut self) {
        while self.numbers.last() == Some(&CALM) {
            self.numbers.pop();
        }
    }

    /// The numbers as text; `-` is a calm one.
    pub fn write_numbers(&self) -> String {
        let words: Vec<String> = self
            .numbers
            .iter()
            .map(|&number| match number {
                CALM => "-".to_owned(),
                number => format!("{number:x}"),
            })
            .collect();
        words.join(" ")
    }

    /// The numbers of a text.
    ///
    /// # Errors
    ///
    /// A word of it is no number.
    pub fn read_numbers(text: &str) -> Result<Vec<u64>, String> {
        text.split_whitespace()
            .map(|word| match word {
                "-" => Ok(CALM),
                word => u64::from_str_radix(word, 16).map_err(|_| {
                    format!(
                        "'{word}' is no number that was drawn: expected hexadecimal digits or -"
                    )
                }),
            })
            .collect()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (thread, steps)) in self.turns.iter().enumerate() {
            let space = if place == 0 { "" } else { " " };
            write!(formatter, "{space}{thread}*{steps}")?;
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Schedule, String> {
        let turn = |word: &str| {
            let (thread, steps) = word.split_once('*')?;
            let (thread, steps) = (thread.parse().ok()?, steps.parse().ok()?);
            (steps > 0).then_some((thread, steps))
        };
        text.split_whitespace()
            .map(|word| {
                turn(word).ok_or_else(|| {
                    format!("'{word}' is no turn: expected THREAD*STEPS, for example 0*12")
                })
            })
            .collect::<Result<_, _>>()
            .map(Schedule::of)
    }
}

#[cfg(blockjob_shuttle)]
pub use under_shuttle::{Follow, Recorded};

#[cfg(blockjob_shuttle)]
mod under_shuttle {
    use std::sync::{Arc, Mutex, PoisonError};

    use shuttle::scheduler::{Schedule as Drawn, Scheduler, Task, TaskId};

    use super::{CALM, Schedule};

    /// Another scheduler, whose last schedule is recorded.
    #[derive(Debug)]
    pub struct Recorded<S> {
        scheduler: S,
        last: Arc<Mutex<Schedule>>,
    }

    impl<S> Recorded<S> {
        /// Writes to `last`.
        pub fn new(scheduler: S, last: &Arc<Mutex<Schedule>>) -> Recorded<S> {
            Recorded {
                scheduler,
                last: Arc::clone(last),
            }
        }
    }

    impl<S: Scheduler> Scheduler for Recorded<S> {
        fn new_execution(&mut self) -> Option<Drawn> {
            let drawn = self.scheduler.new_execution()?;
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Schedule::default();
            Some(drawn)
        }

        fn next_task(
            &mut self,
            runnable: &[&Task],
            current: Option<TaskId>,
            yields: bool,
        ) -> Option<TaskId> {
            let chosen = self.scheduler.next_task(runnable, current, yields)?;
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.push(chosen.into());
            Some(chosen)
        }

        fn next_u64(&mut self) -> u64 {
            let number = self.scheduler.next_u64();
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.numbers.push(number);
            number
        }
    }

    /// Follows a schedule, once. Where it names somebody who cannot go on, the next turn begins; where
    /// it is over, whoever runs goes on until he cannot, and then the one with the lowest number.
    #[derive(Debug)]
    pub struct Follow {
        turns: std::vec::IntoIter<(usize, usize)>,
        turn: (usize, usize),
        numbers: std::vec::IntoIter<u64>,
        begun: bool,
        /// How many turns could not be done as they are written.
        pub missed: Arc<Mutex<usize>>,
    }

    impl Follow {
        /// Follows this one.
        pub fn new(schedule: &Schedule) -> Follow {
            Follow {
                turns: schedule.turns.clone().into_iter(),
                turn: (0, 0),
                numbers: schedule.numbers.clone().into_iter(),
                begun: false,
                missed: Arc::default(),
            }
        }

        fn miss(&self) {
            *self.missed.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
    }

    impl Scheduler for Follow {
        fn new_execution(&mut self) -> Option<Drawn> {
            (!std::mem::replace(&mut self.begun, true)).then(|| Drawn::new(0))
        }

        fn next_task(
            &mut self,
            runnable: &[&Task],
            current: Option<TaskId>,
            _: bool,
        ) -> Option<TaskId> {
            let can = |thread: usize| {
                let mut ids = runnable.iter().map(|task| task.id());
                ids.find(|&id| usize::from(id) == thread)
            };
            loop {
                let (thread, steps) = self.turn;
                if steps > 0 {
                    if let Some(id) = can(thread) {
                        self.turn.1 -= 1;
                        return Some(id);
                    }
                    self.miss();
                }
                match self.turns.next() {
                    Some(turn) => self.turn = turn,
                    None => break,
                }
            }
            self.turn = (0, 0);
            let stays = current.and_then(|current| can(current.into()));
            stays.or_else(|| runnable.iter().map(|task| task.id()).min())
        }

        fn next_u64(&mut self) -> u64 {
            self.numbers.next().unwrap_or(CALM)
        }
    }
}
