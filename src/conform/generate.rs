//! Programs, made up as they go: the next operation is one that shows what has not been seen yet.
//!
//! A program is a few jobs, then verbs. Which jobs is chosen by what they could show of the tables; which verb by
//! what has not been seen of the statuses that the jobs have right now. Behind an operation that must lead
//! somewhere, the program waits until it has: so pauses and cancels come when a job is in a status, not at a time.
//! Now and then it does not wait, and asks at once for the next thing.
//!
//! What is chosen depends on the seed and on what was seen before, by this peer and those beside it. A program that
//! was made is literal; it can be run again by itself.

//!
//! | module | what |
//! |---|---|
//! | this one | the program, step by step; what a job is waited for |
//! | `dice` | chance that a seed determines |
//! | `openings` | jobs, alone and in transactions |
//! | `requests` | verbs |
//! | `mischief` | what other clients do to nodes meanwhile |

mod dice;
mod mischief;
mod openings;
mod requests;

use std::collections::BTreeSet;
use std::path::Path;

use blockjob_model::{Profile, Status};
use serde_json::json;

use super::conversation::{Conversation, Trouble};
use super::cover::Cover;
use super::program::{Program, Step};
use super::recipe::Plan;
use dice::Dice;

/// What a peer can do.
#[derive(Clone, Debug)]
pub struct Abilities {
    /// The commands that it has.
    pub commands: BTreeSet<String>,
    /// It has nodes that fail when asked to.
    pub faults: bool,
    /// It may be brought down, because another can be started.
    pub expendable: bool,
}

impl Abilities {
    fn has(&self, command: &str) -> bool {
        self.commands.contains(command)
    }
}

/// Deviations that cost a peer are known, and shown once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provocation {
    /// None.
    None,
    /// A grouped transaction that fails behind two jobs.
    GroupAbort,
    /// `job-complete` twice in standby, of a mirror with `replaces`.
    TwoCompletes,
}

/// A job of the program under way.
struct Job {
    plan: Plan,
    /// The user has paused it, as far as the answers tell.
    paused: bool,
    /// It was asked to finish.
    finishing: bool,
    /// Its speed is no more what keeps it.
    hurried: bool,
    /// With others in one transaction.
    grouped: bool,
    /// There was an error that may have stopped it, or may yet.
    may_stop: bool,
}

/// A program under way.
pub struct Maker<'a> {
    dice: Dice,
    abilities: &'a Abilities,
    profile: &'static Profile,
    program: Program,
    jobs: Vec<Job>,
    next: usize,
    provoke: Provocation,
}

impl<'a> Maker<'a> {
    /// A program of this seed for a peer that can do so much.
    pub fn new(
        seed: u64,
        abilities: &'a Abilities,
        profile: &'static Profile,
        provoke: Provocation,
    ) -> Maker<'a> {
        Maker {
            dice: Dice::new(seed),
            abilities,
            profile,
            program: Program::default(),
            jobs: Vec::new(),
            next: 0,
            provoke,
        }
    }

    /// Makes the program and runs it, up to `commands` commands after its nodes. `seen` is what others saw.
    /// What was made is there also when it ends early.
    pub fn play(
        &mut self,
        conversation: &mut Conversation<'_>,
        commands: usize,
        seen: &Cover,
        folder: &Path,
    ) -> Result<(), Trouble> {
        let wanted = |conversation: &Conversation<'_>| {
            let mut cover = seen.clone();
            cover.add(&conversation.cover);
            cover
        };
        self.step(conversation, Step::send("query-jobs", json!({})))?;
        self.open(conversation, &wanted(conversation), folder)?;
        let begun = self.program.commands();
        while self.program.commands() < begun + commands {
            let cover = wanted(conversation);
            let here: Vec<(String, Status)> = conversation
                .jobs()
                .map(|(id, status)| (id.to_owned(), status))
                .collect();
            if here.is_empty() {
                // Three openings are a program, whatever the number of its commands.
                if self.next > 6 || self.dice.percent(30) {
                    break;
                }
                self.open(conversation, &cover, folder)?;
            } else if self.dice.percent(6) {
                self.look(conversation)?;
            } else if self.abilities.expendable && self.dice.percent(4) {
                self.mischief(conversation)?;
            } else if self.next < 5 && self.dice.percent(4) {
                self.open(conversation, &cover, folder)?;
            } else {
                self.verb(conversation, &cover, &here)?;
            }
        }
        Ok(())
    }

    /// The program so far.
    pub fn program(&self) -> &Program {
        &self.program
    }

    fn step(&mut self, conversation: &mut Conversation<'_>, step: Step) -> Result<(), Trouble> {
        let result = conversation.step(&step, Some(self.program.steps.len()));
        self.program.steps.push(step);
        result
    }

    /// Asks what there is.
    fn look(&mut self, conversation: &mut Conversation<'_>) -> Result<(), Trouble> {
        let name = if self.dice.percent(50) {
            "query-jobs"
        } else {
            "query-block-jobs"
        };
        self.step(conversation, Step::send(name, json!({})))
    }

    fn wait(
        &mut self,
        conversation: &mut Conversation<'_>,
        job: &str,
        statuses: Vec<Status>,
    ) -> Result<(), Trouble> {
        let job = job.to_owned();
        self.step(conversation, Step::Await { job, statuses })
    }

    /// Waits until a job that nothing keeps is where it will stay, or does not wait.
    fn settle(&mut self, conversation: &mut Conversation<'_>, place: usize) -> Result<(), Trouble> {
        let patient = self.dice.percent(85);
        let others_slow = |job: &Job| {
            job.grouped
                && (self.jobs.iter().any(|other| {
                    other.grouped && (!other.hurried || other.paused || other.may_stop)
                }))
        };
        let job = &self.jobs[place];
        if !patient || !job.hurried || job.paused {
            return Ok(());
        }
        let mut due = vec![Status::Concluded, Status::Null];
        if job.plan.manual_finalize || job.grouped {
            due.push(Status::Pending);
        }
        if others_slow(job) {
            due.push(Status::Waiting);
        }
        if job.plan.kind.converges() && !job.finishing {
            due.push(Status::Ready);
        }
        if job.may_stop {
            due.extend([Status::Paused, Status::Standby]);
        }
        if job.plan.manual_dismiss {
            // It stays there, so that the end is not the only thing that is waited for.
            due.retain(|status| *status != Status::Null);
        } else {
            due.retain(|status| *status != Status::Concluded);
        }
        let id = job.plan.id.clone();
        self.wait(conversation, &id, due)
    }
}

/// The same command, whose answer is not waited for.
fn pipelined(step: Step) -> Step {
    match step {
        Step::Send { command, .. } => Step::Send {
            command,
            pipelined: true,
        },
        waits @ Step::Await { .. } => waits,
    }
}
