//! What both sides write down, and how it is compared.
//!
//! The main loop is one thread and bodies go on one at a time, so callbacks have one order for all
//! jobs. A body that is woken changes its status on its own thread, while the main loop goes on with
//! other jobs; so statuses, events and the body's own answers have one order for each job.

use blockjob::driver::Flow;
use blockjob::engine::Finish;
use blockjob_model::{Callback, Event, Status};

use crate::program::Deed;

/// An answer: nothing, or the text of a refusal.
pub type Answer = Result<(), String>;

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    Status(Status),
    Event(Event),
    /// A callback begins.
    Callback(Callback),
    /// The callback does this, and is answered.
    Deed(Deed, Answer),
    /// A pause point, sleep or wait has returned.
    Flow(Flow),
    /// The wait for the order to finish has returned.
    Finish(Finish),
}

/// Everything that happened in an operation, with the job it happened to.
pub type Happenings = Vec<(usize, Happening)>;

/// What happened to one job, in order.
fn of_job(happenings: &Happenings, job: usize) -> Vec<&Happening> {
    let his = happenings.iter().filter(|(whose, _)| *whose == job);
    his.map(|(_, what)| what).collect()
}

/// The callbacks of all jobs, in order.
fn callbacks(happenings: &Happenings) -> Vec<(usize, Callback)> {
    let callback = |(job, what): &(usize, Happening)| match what {
        Happening::Callback(callback) => Some((*job, *callback)),
        _ => None,
    };
    happenings.iter().filter_map(callback).collect()
}

/// # Panics
/// The engine's side is not the specification's.
pub fn compare(engine: &Happenings, specification: &Happenings, jobs: usize) {
    for job in 0..jobs {
        assert_eq!(
            of_job(engine, job),
            of_job(specification, job),
            "what happened to j{job} (engine, specification)"
        );
    }
    assert_eq!(
        callbacks(engine),
        callbacks(specification),
        "the order of callbacks (engine, specification)"
    );
}
