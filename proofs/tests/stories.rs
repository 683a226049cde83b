//! Goal: a failing execution is told so that somebody who did not write the harness understands it.
//!
//! Method: a record made by hand, of two jobs and two controllers, judged by the specification,
//! which finds what is wrong with it; table and page of it are reviewed snapshots. And records that
//! end in other ways: a thread nobody wakes, a panic, more lanes than a terminal has room for.

use blockjob_model::accept::Seen;
use blockjob_model::verb::Refusal;
use blockjob_model::{Callback, Event, Request, Status};
use blockjob_proofs::actor::{Act, Role};
use blockjob_proofs::harness::Case;
use blockjob_proofs::judge::{Cast, Judge};
use blockjob_proofs::record::{Entry, Record, Target};
use blockjob_proofs::scenario::{Ask, Scenario};
use blockjob_proofs::story::{DEADLOCK, Fault, Origin, Story, about, page, table, teller};

fn call(thread: u8, target: Target, request: Request) -> Entry {
    Entry::Call {
        thread,
        target,
        request,
    }
}

fn done(thread: u8) -> Entry {
    Entry::Answer {
        thread,
        reply: Ok(()),
    }
}

fn seen(job: u8, seen: Seen) -> Entry {
    Entry::Seen { job, seen }
}

fn whole(job: u8, callback: Callback) -> [Entry; 2] {
    [
        seen(job, Seen::Begin(callback)),
        seen(job, Seen::End(callback, true)),
    ]
}

/// A transaction of two; the second is paused and resumed, the first cancelled; and the engine
/// does I/O for the second while it is paused.
fn case() -> Case {
    let role = Role::plain(&[Act::Io, Act::Point, Act::Io]);
    let mut scenario = Scenario::transaction(&[role, Role::mirror(&[], &[]).manual_dismiss()]);
    scenario.controllers = vec![
        Scenario::single(role, vec![vec![Ask::Pause, Ask::Pause]]).controllers[0].clone(),
        Scenario::single(role, vec![vec![Ask::Complete]]).controllers[0].clone(),
    ];
    Case::Scenario(scenario)
}

fn entries() -> Vec<Entry> {
    let mut entries = vec![
        call(0, Target::Job(0), Request::Create),
        seen(0, Seen::Status(Status::Created)),
        done(0),
        call(0, Target::Job(1), Request::Create),
        seen(1, Seen::Status(Status::Created)),
        done(0),
        call(0, Target::Group(0), Request::Start),
        seen(0, Seen::Status(Status::Running)),
        seen(1, Seen::Status(Status::Running)),
        done(0),
        seen(1, Seen::Begin(Callback::Run)),
        seen(1, Seen::Status(Status::Ready)),
        seen(1, Seen::Event(Event::Ready)),
        seen(0, Seen::Begin(Callback::Run)),
        seen(0, Seen::IoBegin),
        call(1, Target::Job(0), Request::Pause),
        call(2, Target::Job(0), Request::Complete),
        seen(0, Seen::IoEnd),
        done(1),
        Entry::Answer {
            thread: 2,
            reply: Err(Refusal::Verb {
                status: Status::Running,
                verb: blockjob_model::Verb::Complete,
            }),
        },
        seen(0, Seen::PointBegin),
        call(1, Target::Job(0), Request::Pause),
    ];
    entries.extend(whole(0, Callback::Pause));
    entries.extend([
        seen(0, Seen::Status(Status::Paused)),
        Entry::Answer {
            thread: 1,
            reply: Err(Refusal::AlreadyPaused),
        },
        seen(0, Seen::IoBegin),
        seen(0, Seen::IoEnd),
        seen(0, Seen::PointEnd),
    ]);
    entries
}

fn origin(case: &Case) -> Origin {
    Origin {
        harness: "an-example".to_owned(),
        tool: Some("loom"),
        case: Some((3, 64)),
        about: about::case(case),
        execution: 4711,
        seed: None,
        file: None,
    }
}

fn story() -> Story {
    let entries = entries();
    let fault = Judge::new()
        .judge(&case().cast(), &entries)
        .expect_err("I/O during a pause");
    let record = Record {
        entries,
        threads: Vec::new(),
    };
    Story::tell(origin(&case()), &record, *fault)
}

/// No line of a table is wider than it says.
fn fits(table: &str) {
    for line in table.lines() {
        let wide = line.chars().count();
        assert!(wide <= table::WIDTH, "{wide} columns: {line}");
    }
}

#[test]
fn a_broken_rule_is_told_as_a_table() {
    let table = story().to_string();
    fits(&table);
    insta::assert_snapshot!("a_broken_rule", table);
}

#[test]
fn and_as_a_page() {
    insta::assert_snapshot!("a_page", page::html(&story()));
}

#[test]
fn the_page_is_a_file_of_the_harness_and_nothing_in_it_is_markup_by_accident() {
    let mut story = story();
    story.fault.message = "<b> & \"so\"".to_owned();
    let folder = tempfile::tempdir().expect("a folder");
    let path = teller::write(&story, folder.path()).expect("it is written");
    assert_eq!(path.file_name(), Some("an-example.html".as_ref()));
    let text = std::fs::read_to_string(path).expect("it is there");
    assert!(text.contains("&lt;b&gt; &amp; &quot;so&quot;") && !text.contains("<b>"));
    assert!(!text.contains("<script") && !text.contains("http"));
}

#[test]
fn who_waits_for_ever_is_told_where() {
    let mut entries = entries();
    entries.truncate(26);
    entries.push(call(2, Target::Job(0), Request::Resume));
    let record = Record {
        entries,
        threads: Vec::new(),
    };
    let fault = Fault {
        rule: DEADLOCK.to_owned(),
        message: "nobody can go on, and not everybody is done".to_owned(),
        ..Fault::default()
    };
    let story = Story::tell(origin(&case()), &record, fault);
    let last = story.rows.last().expect("there are rows");
    assert!(last.broke, "that is where it broke");
    let standing: Vec<String> = last.cells.iter().map(|cell| cell.join(" ")).collect();
    let expected = [
        "",
        "",
        "is inside resume of j0",
        "is at a pause point",
        "is inside run",
    ];
    assert_eq!(standing, expected);
}

#[test]
fn what_was_broken_before_a_panic_is_told_with_the_panic() {
    let mut judge = Judge::new();
    let cast = case().cast();
    let entries = entries();
    let fault = judge.so_far(&cast, &entries).expect_err("I/O in a pause");
    assert_eq!(
        (fault.rule.as_str(), fault.place),
        ("io-while-paused", Some(26))
    );
    let allowed = judge.so_far(&cast, &entries[..26]).expect("until then");
    assert!(!allowed.is_empty() && !allowed.contains(&"job 'j0': I/O begins".to_owned()));
    assert!(
        allowed.contains(&"job 'j1': pause point entered".to_owned()),
        "{allowed:?}"
    );
}

#[test]
fn many_lanes_fit_a_terminal() {
    let mut record = Record::default();
    let mut cast = Cast::default();
    for job in 0..6 {
        cast.jobs.push((0, Role::plain(&[]).spec()));
        record
            .entries
            .push(call(0, Target::Job(job), Request::Create));
        record
            .entries
            .push(seen(job, Seen::Status(Status::Created)));
        record.entries.push(done(0));
        record.entries.push(seen(job, Seen::Begin(Callback::Run)));
    }
    for thread in 1..=3 {
        record.entries.push(call(
            thread,
            Target::Job(5),
            Request::Cancel { force: false },
        ));
        record.entries.push(Entry::Answer {
            thread,
            reply: Err(Refusal::CannotComplete),
        });
        let event = Event::Completed { error: false };
        record.entries.push(seen(thread, Seen::Event(event)));
    }
    let fault = Judge::new()
        .judge(&cast, &record.entries)
        .expect_err("nobody started it");
    let fault = Fault {
        place: None,
        ..*fault
    };
    let table = Story::tell(Origin::default(), &record, fault).to_string();
    fits(&table);
    insta::assert_snapshot!("many_lanes", table);
}
