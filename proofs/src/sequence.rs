//! Programs played sequentially: one job, one caller, and nothing happens at the same time.
//!
//! The caller is the main loop's thread. Between any two of its verbs it may let the system *go on*:
//! start the job, let the body run to the end of its next step or until it blocks, carry out what
//! the main loop has to do, let the time of a sleep come. A play is where each verb stands among
//! these steps; every play of a program that differs is played, none twice, in this order: first
//! each verb as late as it can stand, then the last one ever earlier, then the one before it.
//!
//! No thread is needed for that: shuttle's coroutines and a scheduler that changes over only where
//! somebody blocks or lets others go on (`InTurn`). The verdict is the acceptor's, as everywhere; and how
//! the job says that it ended must agree with what its driver was told.

use std::sync::Arc;

use blockjob::driver::{Errno, JobError};
use blockjob::engine::{MainLoop, Manager, Transaction};
use blockjob_model::accept::Seen;
use blockjob_model::{Callback, Request, Status};

use crate::actor::{Act, Role};
use crate::ask::{Ask, Asker, Company};
use crate::programs::Program;
use crate::record::{Entry, Recorder, Target};
use crate::scenario::{self, Scenario};
use crate::tool;

/// More steps than any program has before nothing is left to do.
const STEPS_MAX: usize = 100;
/// More than any job needs to be told until it is gone.
const ENDING_MAX: usize = 8;

/// The plays of one program.
#[derive(Clone, Debug)]
pub struct Plays {
    role: Role,
    verbs: Vec<Ask>,
    scenario: Scenario,
    /// Before how many steps each verb stands; `None`: as late as it can. All of it is `None` at
    /// first and `end`ed at last.
    places: Vec<Option<usize>>,
    ended: bool,
}

impl Plays {
    /// Those of this program.
    ///
    /// # Panics
    ///
    /// If it has more than one job.
    pub fn of(program: &Program) -> Plays {
        let roles = program.roles();
        assert_eq!(roles.len(), 1, "one job at a time");
        Plays {
            role: roles[0],
            verbs: program.verbs.iter().map(|&(_, ask)| ask).collect(),
            // It is the main loop that asks, and when is what a play is.
            scenario: Scenario {
                before_loop: program.verbs.clone(),
                ..Scenario::single(roles[0], Vec::new())
            },
            places: vec![None; program.verbs.len()],
            ended: false,
        }
    }

    /// The job, and what it is asked.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Whether every play was played.
    pub fn is_over(&self) -> bool {
        self.ended
    }

    /// Plays the next one.
    ///
    /// # Panics
    ///
    /// If there is none; if the job does not end although it is told to, or does not say how it ended.
    pub fn play(&mut self, recorder: &Arc<Recorder>) {
        assert!(!self.ended, "every play was played");
        let mut stage = Stage::new(self, recorder);
        let mut taken = Vec::with_capacity(self.verbs.len());
        for (&verb, &place) in self.verbs.iter().zip(&self.places) {
            while place.is_none_or(|place| stage.steps < place) && stage.go_on() {}
            if let Some(place) = place {
                assert_eq!(stage.steps, place, "the same steps lead to the same place");
            }
            taken.push(stage.steps);
            stage.ask(verb);
        }
        stage.end();
        self.advance(&taken);
    }

    /// One step earlier for the last verb that can stand earlier; those after it start again.
    fn advance(&mut self, taken: &[usize]) {
        let earlier = (0..taken.len()).rev().find(|&verb| {
            let first = verb.checked_sub(1).map_or(0, |before| taken[before]);
            taken[verb] > first
        });
        let Some(verb) = earlier else {
            self.ended = true;
            return;
        };
        for (place, &taken) in self.places.iter_mut().zip(taken) {
            *place = Some(taken);
        }
        self.places[verb] = Some(taken[verb] - 1);
        self.places[verb + 1..].fill(None);
    }
}

/// One play.
struct Stage {
    role: Role,
    recorder: Arc<Recorder>,
    main_loop: MainLoop,
    transaction: Option<Transaction>,
    company: Arc<Company>,
    main: Asker,
    steps: usize,
}

impl Stage {
    fn new(plays: &Plays, recorder: &Arc<Recorder>) -> Stage {
        recorder.clear();
        let (manager, main_loop) = Manager::new(scenario::config(recorder));
        let company = Company::new(&manager);
        let mut groups = plays
            .scenario
            .create(&manager, &company, recorder, 0..1, true);
        Stage {
            role: plays.role,
            recorder: Arc::clone(recorder),
            main_loop,
            transaction: groups.pop().map(|(_, transaction)| transaction),
            main: Asker::thread(0, recorder, &company),
            company,
            steps: 0,
        }
    }

    fn ask(&mut self, ask: Ask) {
        self.main.ask(0, ask);
    }

    fn status(&self) -> Status {
        self.recorder.status(0)
    }

    /// The system does one step by itself; `false` if there is none that it could do.
    fn go_on(&mut self) -> bool {
        let went = self.start() || self.body() || self.main_loop.run_pending() > 0 || self.time();
        self.steps += usize::from(went);
        assert!(self.steps < STEPS_MAX, "the system never comes to rest");
        went
    }

    fn start(&mut self) -> bool {
        let Some(transaction) = self.transaction.take() else {
            return false;
        };
        if self.status() == Status::Created {
            self.recorder.call(0, Target::Group(0), Request::Start, || {
                Ok(transaction.start())
            });
        } else {
            // Who was cancelled does not start.
            drop(transaction.start());
        }
        true
    }

    fn body(&self) -> bool {
        let before = self.recorder.read(<[Entry]>::len);
        tool::yield_now();
        self.recorder.read(<[Entry]>::len) != before
    }

    /// The time of a sleep comes.
    fn time(&mut self) -> bool {
        if !self.sleeps() {
            return false;
        }
        let mut asked = 0;
        self.main_loop.run_until(|| {
            asked += 1;
            asked > 1
        });
        assert!(self.body(), "a sleeper whose time has come wakes");
        true
    }

    /// Whether the body is in a sleep, and not paused there.
    fn sleeps(&self) -> bool {
        if !matches!(self.status(), Status::Running | Status::Ready) {
            return false;
        }
        let (begun, ended) = self.recorder.read(|entries| {
            let count = |wanted| {
                entries
                    .iter()
                    .filter(|entry| matches!(entry, Entry::Seen { seen, .. } if *seen == wanted))
                    .count()
            };
            (count(Seen::PointBegin), count(Seen::PointEnd))
        });
        let ready = self.role.ready.unwrap_or_default();
        let mut points = self
            .role
            .acts
            .iter()
            .chain(ready)
            .filter(|act| matches!(act, Act::Point | Act::Sleep));
        begun > ended && points.nth(ended) == Some(&Act::Sleep)
    }

    /// Goes on until the job is gone, and tells it what it waits for.
    fn end(mut self) {
        let mut told = 0;
        loop {
            while self.go_on() {}
            let ask = match self.status() {
                Status::Null => break,
                Status::Paused | Status::Standby => Ask::Resume,
                Status::Ready if told == 0 => Ask::Complete,
                Status::Pending => Ask::Finalize,
                Status::Concluded => Ask::Dismiss,
                _ => Ask::CancelForce,
            };
            told += 1;
            assert!(told < ENDING_MAX, "the job does not end");
            self.ask(ask);
        }
        let job = self.company.job(0).expect("it was created");
        let outcome = job.outcome().expect("it is gone");
        self.recorder
            .read(|entries| agree(self.role, entries, &outcome));
        // The last that drivers hear is still to come.
        drop(self.main_loop);
        self.company.part();
    }
}

/// How the job says it ended, held against what its driver was told and did.
fn agree(role: Role, entries: &[Entry], outcome: &Result<(), JobError>) {
    let saw = |wanted: Seen| {
        entries
            .iter()
            .any(|entry| matches!(entry, Entry::Seen { seen, .. } if *seen == wanted))
    };
    let committed = saw(Seen::Begin(Callback::Commit));
    assert_eq!(
        committed,
        outcome.is_ok(),
        "result: the driver was told to {}, the job says {outcome:?}",
        if committed { "commit" } else { "abort" }
    );
    let Err(error) = outcome else { return };
    let run_failed = saw(Seen::End(Callback::Run, false));
    let failed = role.acts.contains(&Act::Fail)
        || role.ready.is_some_and(|ready| ready.contains(&Act::Fail));
    let explained = match error.errno {
        Errno::NO_SPACE => failed && run_failed,
        Errno::IO => saw(Seen::End(Callback::Prepare, false)),
        Errno::CANCELED => saw(Seen::Begin(Callback::Cancel)),
        _ => false,
    };
    assert!(
        explained,
        "result: nothing happened that explains {error:?}"
    );
}

#[cfg(blockjob_shuttle)]
mod in_turn {
    use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

    use crate::schedule::CALM;

    /// Who runs goes on until it blocks or lets others go on; then the next one who can. Every wait has its
    /// cause.
    #[derive(Debug)]
    pub struct InTurn<F> {
        more: F,
    }

    impl<F: FnMut() -> bool> InTurn<F> {
        /// As many executions as there are `more`.
        pub fn new(more: F) -> InTurn<F> {
            InTurn { more }
        }
    }

    impl<F: FnMut() -> bool> Scheduler for InTurn<F> {
        fn new_execution(&mut self) -> Option<Schedule> {
            (self.more)().then(|| Schedule::new(0))
        }

        fn next_task(
            &mut self,
            runnable: &[&Task],
            current: Option<TaskId>,
            yields: bool,
        ) -> Option<TaskId> {
            let ids = || runnable.iter().map(|task| task.id());
            let other = ids().find(|&id| Some(id) != current);
            let stays = current.filter(|current| ids().any(|id| id == *current));
            if yields {
                other.or(stays)
            } else {
                stays.or(other)
            }
        }

        fn next_u64(&mut self) -> u64 {
            CALM
        }
    }
}

#[cfg(blockjob_shuttle)]
pub use in_turn::InTurn;
