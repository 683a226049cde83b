//! Goal: a crowd tells two members apart by what their group reads of their past, and by nothing else.
//!
//! Method: a member that has seen nothing and one that has seen one thing; one that has seen everything and one that
//! has seen everything but one thing. Which of these are the same member to a group is written down by hand.

use blockjob_model::crowd::Local;
use blockjob_model::property::History;
use blockjob_model::state::{Body, Group, Job, JobSpec, Outcome, Tail};
use blockjob_model::step::Output;
use blockjob_model::{Callback, Event, Status};

/// What may be noted of a job's past, each once.
const PAST: [(&str, Output); 13] = [
    ("run begun", Output::Begin(0, Callback::Run)),
    ("run over", Output::End(0, Callback::Run, true)),
    ("told to complete", Output::Begin(0, Callback::Complete)),
    ("let go of", Output::Begin(0, Callback::Free)),
    ("prepare begun", Output::Begin(0, Callback::Prepare)),
    ("prepared", Output::End(0, Callback::Prepare, true)),
    ("commit begun", Output::Begin(0, Callback::Commit)),
    ("abort begun", Output::Begin(0, Callback::Abort)),
    ("decided", Output::End(0, Callback::Commit, true)),
    ("clean begun", Output::Begin(0, Callback::Clean)),
    ("cleaned", Output::End(0, Callback::Clean, true)),
    ("completion begun", Output::Begin(0, Callback::Completion)),
    ("completed", Output::End(0, Callback::Completion, true)),
];
const ANNOUNCED: (&str, Output) = ("announced", Output::Event(0, Event::Cancelled));

/// What a member has seen, and no pauses.
fn past(seen: impl Fn(&str) -> bool) -> History {
    let mut history = History::default();
    for (_, output) in PAST
        .into_iter()
        .chain([ANNOUNCED])
        .filter(|(name, _)| seen(name))
    {
        history.note(output);
    }
    history
}

/// What tells two members apart of which one is `job` and has seen `least`, or everything.
fn read_of(job: &Job, least: &[&str]) -> Vec<&'static str> {
    let local = |seen: &dyn Fn(&str) -> bool| {
        Local::of(
            job,
            past(|name| least.contains(&name) || seen(name)),
            Group::CLOSED,
        )
    };
    let (least_seen, all_seen) = (local(&|_| false), local(&|_| true));
    let mut read = Vec::new();
    for (name, _) in PAST.into_iter().chain([ANNOUNCED]) {
        if least.contains(&name) {
            continue;
        }
        let told = local(&|seen| seen == name) != least_seen;
        assert_eq!(told, local(&|seen| seen != name) != all_seen, "{name}");
        if told {
            read.push(name);
        }
    }
    read
}

fn member(status: Status, outcome: Outcome, tail: Tail) -> Job {
    Job {
        status,
        outcome,
        tail,
        body: Body::Ended,
        entered: true,
        ..Job::new(JobSpec::PLAIN)
    }
}

const PREPARED: [&str; 2] = ["prepare begun", "prepared"];
const DECIDED: [&str; 3] = ["commit begun", "abort begun", "decided"];
const AFTER: [&str; 5] = [
    "clean begun",
    "cleaned",
    "completion begun",
    "completed",
    "announced",
];

#[test]
fn of_a_member_that_may_commit_the_whole_way_to_its_end_is_read() {
    let job = member(Status::Pending, Outcome::Success, Tail::Prepared);
    let read = [&PREPARED[..], &DECIDED, &AFTER].concat();
    assert_eq!(read_of(&job, &[]), read);
}

#[test]
fn of_a_member_that_failed_it_matters_no_more_whether_it_was_prepared() {
    let job = member(Status::Aborting, Outcome::Failure, Tail::None);
    assert_eq!(read_of(&job, &[]), [&DECIDED[..], &AFTER].concat());
}

/// Whatever of its end came once more would be seen as a second time.
#[test]
fn of_a_member_that_is_final_only_the_decision_is_read() {
    let done = member(Status::Concluded, Outcome::Success, Tail::Announced);
    let read = [&PREPARED[..], &["abort begun", "decided"]].concat();
    assert_eq!(read_of(&done, &["commit begun"]), read);
    let failed = member(Status::Concluded, Outcome::Failure, Tail::Announced);
    assert_eq!(
        read_of(&failed, &["abort begun"]),
        ["commit begun", "decided"]
    );
}

#[test]
fn pauses_are_not_read() {
    let job = member(Status::Running, Outcome::Open, Tail::None);
    let mut paused = History::default();
    for callback in [Callback::Pause, Callback::Resume] {
        for output in [Output::Begin(0, callback), Output::End(0, callback, true)] {
            paused.note(output);
            let [local, other] =
                [paused, History::default()].map(|past| Local::of(&job, past, Group::CLOSED));
            assert_eq!(local, other, "{output}");
        }
    }
}
