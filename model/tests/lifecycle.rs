//! Goal: a job is in the stage that its users would name.
//!
//! Method: jobs written down by hand, as they are at each point of a life, with the stage of each.

use blockjob_model::state::{Cancel, Job, JobSpec, Outcome, Tail};
use blockjob_model::{Lifecycle, Status};

use Lifecycle::{
    Aborted, Cancelled, Cleaned, Committed, Converged, Created, Failed, Paused, PausedReady,
    Prepared, Ready, Running,
};

fn stage(status: Status, outcome: Outcome, tail: Tail) -> Option<Lifecycle> {
    Lifecycle::of(&Job {
        status,
        outcome,
        tail,
        ..Job::new(JobSpec::PLAIN)
    })
}

#[test]
fn before_the_end_of_its_run_the_status_says_it() {
    for (status, named) in [
        (Status::Undefined, None),
        (Status::Created, Some(Created)),
        (Status::Running, Some(Running)),
        (Status::Paused, Some(Paused)),
        (Status::Ready, Some(Ready)),
        (Status::Standby, Some(PausedReady)),
    ] {
        assert_eq!(stage(status, Outcome::Open, Tail::None), named, "{status}");
        // A soft cancel asks it to finish; a forced one gives it up.
        for (cancel, given_up) in [(Cancel::Soft, false), (Cancel::Force, true)] {
            let job = Job {
                status,
                cancel,
                ..Job::new(JobSpec::PLAIN)
            };
            let then = if given_up {
                named.map(|_| Cancelled)
            } else {
                named
            };
            assert_eq!(Lifecycle::of(&job), then, "{status}, {cancel:?}");
        }
    }
}

#[test]
fn a_job_that_is_brought_down_before_its_start_is_cancelled() {
    let job = stage(Status::Created, Outcome::Cancelled, Tail::None);
    assert_eq!(job, Some(Cancelled));
}

#[test]
fn after_its_run_the_result_and_what_was_done_about_it_say_it() {
    use Outcome::{Failure, Success};
    for (status, outcome, tail, named) in [
        (Status::Waiting, Success, Tail::None, Converged),
        (Status::Waiting, Failure, Tail::None, Failed),
        (Status::Pending, Success, Tail::None, Converged),
        (Status::Pending, Success, Tail::Preparing, Converged),
        (Status::Pending, Success, Tail::Prepared, Prepared),
        (Status::Pending, Success, Tail::Committing, Prepared),
        (Status::Pending, Failure, Tail::None, Failed),
        (Status::Aborting, Failure, Tail::None, Failed),
        (Status::Aborting, Outcome::Cancelled, Tail::None, Cancelled),
        (Status::Aborting, Failure, Tail::Aborting, Failed),
        (
            Status::Aborting,
            Outcome::Cancelled,
            Tail::Aborting,
            Cancelled,
        ),
        (Status::Pending, Success, Tail::Decided, Committed),
        (Status::Pending, Success, Tail::Cleaning, Committed),
        (Status::Aborting, Failure, Tail::Decided, Aborted),
        (Status::Aborting, Failure, Tail::Cleaning, Aborted),
        (Status::Pending, Success, Tail::Cleaned, Cleaned),
        (Status::Aborting, Failure, Tail::Announced, Cleaned),
        (Status::Concluded, Success, Tail::Announced, Cleaned),
    ] {
        let found = stage(status, outcome, tail);
        assert_eq!(found, Some(named), "{status}, {outcome:?}, {tail:?}");
    }
    for tail in [Tail::Announced, Tail::Freeing, Tail::Freed] {
        assert_eq!(stage(Status::Null, Success, tail), None, "{tail:?}");
    }
}
