//! Goal: the page that `blockjob check --html` writes is one file that fetches and runs nothing, whose size is bounded
//! whatever the traces, that marks where a trace broke, and takes nothing of a trace for markup.
//! Method: traces made here, long ones, many jobs, ids that are markup; and recorded ones. How it looks and behaves in a
//! browser is in `pages.rs`.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;
mod made_traces;

use std::fs;

use cli_support::run;
use made_traces::Made;

/// The exit code, and the page.
fn page(traces: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.html");
    let mut arguments = vec!["check", "--html", file.to_str().unwrap()];
    arguments.extend(traces);
    let ran = run(&arguments);
    (ran.code, fs::read_to_string(&file).unwrap())
}

fn page_of(made: &Made) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    page(&[made.write(&folder).to_str().unwrap()])
}

/// It fetches and runs nothing, and no link leads out of it.
#[track_caller]
fn assert_alone(page: &str) {
    assert!(page.starts_with("<!doctype html>\n"));
    assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline';"));
    for word in [
        "<script",
        "<img",
        "<iframe",
        "<link",
        "<object",
        "@import",
        " src=",
        "javascript:",
        " on",
    ] {
        if word == " on" {
            // An attribute such as onload; not the word.
            assert!(!page.split('<').any(|tag| {
                let tag = tag.split('>').next().unwrap_or_default();
                tag.split(' ')
                    .skip(1)
                    .any(|part| part.starts_with("on") && part.contains('='))
            }));
        } else {
            assert!(!page.contains(word), "{word}");
        }
    }
    for address in page
        .split("href=\"")
        .skip(1)
        .chain(page.split("url(").skip(1))
    {
        assert!(
            address.starts_with('#'),
            "{}",
            &address[..address.len().min(40)]
        );
    }
}

#[test]
fn a_rejected_trace_is_marked_where_it_broke() {
    let (code, page) = page(&["tests/corpus/mutants/aborting-to-pending.jsonl"]);
    assert_eq!(code, 1);
    assert_alone(&page);
    assert!(page.contains("<strong>rejected at line 22: status-transition</strong>"));
    assert_eq!(page.matches("id=\"fault-1\"").count(), 1);
    assert!(page.contains("href=\"#fault-1\""));
    assert!(page.contains("This is what the trace is rejected for."));
    assert!(page.contains("held possible before it: aborting"));
    assert!(page.contains("aborting to pending, which must not be"));
    assert!(page.contains("Allowed there: "));
    assert!(page.contains("<h3>What led there</h3>"));
    assert_eq!(page.matches("<tr class=\"broke\">").count(), 1);
}

#[test]
fn every_rejected_trace_of_the_corpus_has_its_fault_marked() {
    let (traces, _) = blockjob::oracle::traces_in("tests/corpus/mutants".as_ref()).unwrap();
    let traces: Vec<&str> = traces.iter().map(|path| path.to_str().unwrap()).collect();
    assert!(traces.len() > 40);
    for some in traces.chunks(blockjob::report::story::DRAWN_MAX) {
        let (code, page) = page(some);
        assert_eq!(code, 1);
        assert_alone(&page);
        for number in 1..=some.len() {
            let mark = format!("id=\"fault-{number}\"");
            assert_eq!(page.matches(&mark).count(), 1, "{}", some[number - 1]);
        }
    }
}

#[test]
fn a_transaction_has_a_lane_with_its_members_below() {
    let (_, page) = page(&["tests/corpus/live-10.0/txn-grouped-error-stop-cancel.jsonl"]);
    let group = page.find("<div class=\"lane group\">").unwrap();
    let members: Vec<_> = page.match_indices("<div class=\"lane member\">").collect();
    assert_eq!(members.len(), 2);
    assert!(members.iter().all(|(at, _)| *at > group));
    assert!(page[group..].contains("<span class=\"span aborting\""));
}

#[test]
fn every_format_is_drawn() {
    let (_, page) = page(&["tests/corpus/qemu-log/mirror-verbs.trace"]);
    assert!(page.contains("<span class=\"span ready\""));
    assert!(page.contains("the table permits") || page.contains("the table refuses"));
    // Its job has an address, and a command in it says the id.
    assert!(page.contains("j0 (0x"), "{page}");
    let (_, page) = self::page(&["tests/corpus/qemu-log/backup.trace"]);
    assert!(page.contains("0x") && !page.contains("(0x"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("source"), [7; 4096]).unwrap();
    let (source, target, trace) = (path("source"), path("target"), path("t.jsonl"));
    let ran = run(["copy", &source, &target, "--trace", &trace]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let (_, page) = self::page(&[&trace]);
    assert!(page.contains("callback prepare begins"));
    assert!(page.contains("I/O begins and ends"));
}

#[test]
fn ids_that_are_markup_are_text() {
    let script = "<script>window.hacked=1</script>";
    for made in [
        Made::default().job(script),
        Made::default().job("ok").then_status("ok", script),
        Made::default().job("ok").then_command(script),
        Made::default().job("ok").then_refusal(script),
    ] {
        let (_, page) = page_of(&made);
        assert_alone(&page);
    }
    let (code, page) = page_of(&Made::default().job(script));
    assert_eq!(code, 1, "no id is like that");
    assert!(page.contains("&lt;script&gt;window.hacked=1&lt;/script&gt;"));
}

#[test]
fn a_page_does_not_grow_with_the_trace() {
    let size = |jobs, rounds| {
        let made = Made::default().many(jobs, rounds);
        let (code, page) = page_of(&made);
        assert_eq!(code, 0);
        assert_alone(&page);
        page.len()
    };
    let short = size(3, 100);
    let long = size(3, 4000);
    assert!(long < short + short / 10, "{short} {long}");
    assert!(long < 400_000, "{long}");
    let many = size(300, 2);
    assert!(many < 600_000, "{many}");
}

#[test]
fn what_is_left_out_is_said() {
    let (_, page) = page_of(&Made::default().many(3, 1000));
    assert!(page.contains(" marks and the last "));
    assert!(page.contains(" steps<br>left out"));
    let (_, page) = page_of(&Made::default().many(300, 2));
    assert!(page.contains(" more jobs have no lane here"), "300 jobs");
    // A short one leaves nothing out.
    let (_, page) = page_of(&Made::default().job("j"));
    assert!(!page.contains("left out"));
}

#[test]
fn rejected_traces_are_drawn_before_others() {
    let folder = tempfile::tempdir().unwrap();
    let good = Made::default().job("good").write(&folder);
    let bad = "tests/corpus/mutants/double-null.jsonl";
    let mut traces = vec![good.to_str().unwrap(); 12];
    traces.push(bad);
    let (_, page) = page(&traces);
    assert!(page.contains("12 of 13 traces accepted"));
    assert_eq!(
        page.matches("<section ").count(),
        blockjob::report::story::DRAWN_MAX
    );
    assert!(page.contains("id=\"fault-13\""));
}

#[test]
fn what_is_no_trace_has_its_place_too() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.jsonl");
    fs::write(&empty, "").unwrap();
    let (code, page) = page(&[empty.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert_alone(&page);
    assert!(page.contains("<strong>not judged</strong>"));
    assert!(page.contains("There is no step to draw."));
}
