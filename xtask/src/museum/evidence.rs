//! What of the output of a check that failed says how it failed, and what a card keeps of it.
//!
//! Much that is printed is there whatever went wrong: what a harness claims, the names of tests, warnings
//! of the compiler. A rule that is found there has found nothing.

use std::ops::Range;

use super::card::Check;
use super::child::Ran;

/// Lines of a story that a card keeps.
const LINES_MAX: usize = 40;

/// The fate of a mutant whose check ran, and why it survived.
pub fn judge(check: &Check, ran: &Ran, rule: &str) -> (&'static str, String) {
    match ran.status {
        None if hangs(rule) => ("killed", String::new()),
        None => ("survived", "its check hung".to_owned()),
        Some(status) if status.success() => ("survived", "its check passed".to_owned()),
        Some(_) if place_of(check, &lines(&ran.output), rule).is_some() => {
            ("killed", String::new())
        }
        Some(status) => (
            "survived",
            format!(
                "its check failed ({status}), but not by '{rule}':\n{}\n",
                end_of(&ran.output)
            ),
        ),
    }
}

/// The rule is that the check does not end.
pub fn hangs(rule: &str) -> bool {
    rule.split_whitespace().any(|word| word == "hang")
}

/// What a card keeps of a failing check: its last lines, or those around the rule where it stands before
/// them. A harness may fail once more while it unwinds; its story ends before that.
pub fn story(check: &Check, output: &str, rule: &str) -> String {
    let mut lines = lines(output);
    let place = place_of(check, &lines, rule);
    if let Some(place) = place {
        // Of a test the other threads that fail belong to the story.
        let unwinds = |line: &String| match check {
            Check::Prove(_) => panics(line) || line.starts_with("note: "),
            Check::Test { .. } | Check::Explore(_) => false,
        };
        let ends = |line: &String| line.starts_with("stack backtrace") || unwinds(line);
        if let Some(end) = lines[place..].iter().skip(1).position(ends) {
            lines.truncate(place + 1 + end);
        }
    }
    let last = lines.len().saturating_sub(LINES_MAX);
    let first = match place {
        Some(place) if place < last => place.saturating_sub(LINES_MAX / 4),
        _ => last,
    };
    let end = lines.len().min(first + LINES_MAX);
    lines[first..end].join("\n")
}

/// Whether a story shows that its check failed by the rule.
#[cfg(test)]
pub fn shows(check: &Check, story: &str, rule: &str) -> bool {
    hangs(rule) || place_of(check, &lines(story), rule).is_some()
}

/// Where a rule stands although nothing was found, if it does: in the check's own name, in what a
/// harness tells before it comes to the rule, in the name of a test that ran.
pub fn is_there_anyway(check: &Check, story: &str, rule: &str) -> Option<String> {
    let name = check.to_string();
    let lines = lines(story);
    let before = match check {
        Check::Prove(_) => {
            let end = lines.iter().position(|line| is_rule(line)).unwrap_or(0);
            lines[..end].to_vec()
        }
        Check::Test { .. } => names(&lines).map(str::to_owned).collect(),
        Check::Explore(_) => Vec::new(),
    };
    std::iter::once(name)
        .chain(before)
        .find(|line| line.contains(rule))
}

/// The line that says that the check failed by the rule; where the test is one of many cases that were
/// made simpler, the line that tells of the simplest.
fn place_of(check: &Check, lines: &[String], rule: &str) -> Option<usize> {
    let range = failure(check, lines);
    let names: Vec<&str> = match check {
        Check::Test { .. } => names(lines).collect(),
        Check::Prove(_) | Check::Explore(_) => Vec::new(),
    };
    let has_it = |place: &usize| {
        let line = &lines[*place];
        line.contains(rule) && !names.iter().any(|name| is_about(line, name))
    };
    let simplest = |place: &usize| lines[*place].contains("Test failed: ") && has_it(place);
    range
        .clone()
        .rev()
        .find(simplest)
        .or_else(|| range.clone().find(has_it))
}

/// The lines that say how the check failed: of a harness those of its rule, or, where it does not
/// come to name one, from its first panic on; of a test what follows the compiler's words.
fn failure(check: &Check, lines: &[String]) -> Range<usize> {
    let from = |test: &dyn Fn(&str) -> bool| lines.iter().position(|line| test(line));
    match check {
        Check::Prove(_) => {
            if let Some(first) = from(&is_rule) {
                let after = |line: &String| {
                    let words = ["allowed there:", "to see it again:", "note: "];
                    panics(line) || words.iter().any(|word| line.starts_with(word))
                };
                let end = lines[first..].iter().position(after);
                return first..end.map_or(lines.len(), |end| first + end);
            }
            from(&panics).unwrap_or(lines.len())..lines.len()
        }
        Check::Test { .. } => {
            let begins = |line: &str| {
                line.starts_with("running ")
                    && (line.ends_with(" test") || line.ends_with(" tests"))
            };
            from(&begins).unwrap_or(0)..lines.len()
        }
        Check::Explore(_) => 0..lines.len(),
    }
}

fn is_rule(line: &str) -> bool {
    line.starts_with("rule: ")
}

/// A thread says so first of all, with its name or, as [`anywhere`] leaves it, without.
fn panics(line: &str) -> bool {
    line.starts_with("panicked at ") || line.starts_with("thread '")
}

/// The names of the tests that ran.
fn names(lines: &[String]) -> impl Iterator<Item = &str> {
    lines.iter().filter_map(|line| {
        let (name, _) = line.strip_prefix("test ")?.split_once(" ... ")?;
        Some(name.trim_end_matches(" - should panic"))
    })
}

/// A line that does no more than name a test.
fn is_about(line: &str, name: &str) -> bool {
    line.trim() == name
        || line == format!("---- {name} stdout ----")
        || line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with(' '))
}

/// The last lines of an output that say something.
pub fn end_of(output: &str) -> String {
    let lines = lines(output);
    lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
}

/// The lines of an output that say something, as they would be anywhere.
fn lines(output: &str) -> Vec<String> {
    output
        .lines()
        .filter(|line| !line.trim().is_empty() && !of_this_run(line))
        .map(anywhere)
        .collect()
}

/// A line that says nothing of the failure, but where files of this run are and how to run it.
fn of_this_run(line: &str) -> bool {
    line.contains("`RUST_BACKTRACE=")
        || line
            .trim_start()
            .starts_with("Blocking waiting for file lock on ")
        || line.contains("process didn't exit successfully: `")
        || line.starts_with("the same as a page: ")
}

/// A line without what is of this machine and this process alone: where the registry's crates are,
/// and the number of a thread that panics.
fn anywhere(line: &str) -> String {
    let mut line = line.trim_end().to_owned();
    if line.starts_with("thread '")
        && let Some((_, rest)) = line.split_once(") panicked at ")
    {
        line = format!("panicked at {rest}");
    }
    if let Some((before, rest)) = line.split_once("/registry/src/")
        && let Some((_, krate)) = rest.split_once('/')
    {
        let before = before.rsplit_once(' ').map_or("", |(words, _)| words);
        line = [before, krate].join(" ").trim_start().into();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn ran(code: Option<i32>, output: &str) -> Ran {
        Ran {
            status: code.map(|code| ExitStatus::from_raw(code << 8)),
            seconds: 1.0,
            output: output.to_owned(),
        }
    }

    fn test() -> Check {
        Check::Test {
            package: "blockjob".to_owned(),
            target: "gates".to_owned(),
            filter: Some("a_gate".to_owned()),
        }
    }

    fn gate() -> Check {
        Check::Prove("gate".to_owned())
    }

    #[test]
    fn killed_is_failed_by_the_rule_and_nothing_else() {
        let explore = Check::Explore(Vec::new());
        let fate = |ran: &Ran, rule: &str| judge(&explore, ran, rule).0;
        assert_eq!(fate(&ran(Some(101), "P18 is broken"), "P18"), "killed");
        assert_eq!(fate(&ran(Some(101), "P19 is broken"), "P18"), "survived");
        assert_eq!(fate(&ran(Some(0), "P18 holds"), "P18"), "survived");
        assert_eq!(fate(&ran(None, "P18 is broken"), "P18"), "survived");
        assert_eq!(fate(&ran(None, ""), "hang"), "killed");
        assert_eq!(fate(&ran(Some(0), "hang"), "hang"), "survived");
    }

    const STORY: &str = "\
gate under loom, case 1 of 2
  a lane is seen (P18, P19)
rule: an assertion of the harness
      P20: too late

      at proofs/src/a.rs:1
allowed there:
  - P21
to see it again:
  P22
";

    #[test]
    fn what_a_harness_claims_is_no_rule_that_it_broke() {
        let fate = |output: &str, rule: &str| judge(&gate(), &ran(Some(101), output), rule).0;
        assert_eq!(fate(STORY, "P20: too late"), "killed");
        for not in ["P18", "gate", "P21", "P22"] {
            assert_eq!(fate(STORY, not), "survived", "{not}");
        }
        assert_eq!(fate("P18\nrule: deadlock\n", "deadlock"), "killed");
        assert_eq!(
            fate("rule: leaked\nthread 'a' (1) panicked at b: P18", "P18"),
            "survived"
        );
        // One that comes to no rule.
        let outside = "P18\nthread 'main' (2) panicked at a.rs:1:2:\nP19\n";
        assert_eq!(fate(outside, "P19"), "killed");
        assert_eq!(fate(outside, "P18"), "survived");
        assert_eq!(fate("P18\n", "P18"), "survived");
    }

    const TESTS: &str = "\
warning: unused: `P18`
running 2 tests
test a_gate_opens ... FAILED
test a_gate_shuts - should panic ... FAILED
failures:
---- a_gate_opens stdout ----
thread 'a_gate_opens' (7) panicked at tests/gates.rs:1:2:
P19: it is shut
---- a_gate_shuts stdout ----
failures:
    a_gate_opens
    a_gate_shuts
error: test failed
";

    #[test]
    fn what_a_test_is_called_is_not_how_it_failed() {
        let fate = |rule: &str| judge(&test(), &ran(Some(101), TESTS), rule).0;
        assert_eq!(fate("P19: it is shut"), "killed");
        for not in ["P18", "a_gate_opens", "opens", "shuts"] {
            assert_eq!(fate(not), "survived", "{not}");
        }
        // It may be told of.
        let told = TESTS.replace("it is shut", "in a_gate_opens: no");
        let ran = ran(Some(101), &told);
        assert_eq!(judge(&test(), &ran, "in a_gate_opens").0, "killed");
    }

    #[test]
    fn a_rule_that_is_there_anyway_is_seen() {
        let anyway = |check: &Check, story: &str, rule: &str| is_there_anyway(check, story, rule);
        assert_eq!(anyway(&gate(), STORY, "P20: too"), None);
        let claim = Some("  a lane is seen (P18, P19)".to_owned());
        assert_eq!(anyway(&gate(), STORY, "P18"), claim);
        assert_eq!(anyway(&gate(), "", "gate"), Some("prove gate".to_owned()));
        assert_eq!(anyway(&test(), TESTS, "P19"), None);
        let name = Some("a_gate_opens".to_owned());
        assert_eq!(anyway(&test(), TESTS, "opens"), name);
        assert!(anyway(&test(), "", "a_gate").is_some());
    }

    #[test]
    fn a_harness_is_told_up_to_its_rule() {
        let output = "P18\nrule: P18\nallowed: b\nnote: c\nthread 'x' panicked: P18 again\n";
        assert_eq!(story(&gate(), output, "P18"), "P18\nrule: P18\nallowed: b");
        let explore = Check::Explore(Vec::new());
        assert_eq!(story(&explore, output, "P18"), output.trim_end());
        let aborts = "P18\nother\nstack backtrace:\n  0: 0x7f00\nthe same as a page: /x";
        assert_eq!(story(&explore, aborts, "P18"), "P18\nother");
        let prove_s_end = "rule: P18\nthe same as a page: /x\n";
        assert_eq!(story(&gate(), prove_s_end, "P18"), "rule: P18");
    }

    #[test]
    fn a_story_has_the_line_that_tells_of_the_rule() {
        let many = |from: u32, to: u32| {
            let lines: Vec<String> = (from..to).map(|line| line.to_string()).collect();
            lines.join("\n") + "\n"
        };
        let output =
            |rule: &str| format!("running 1 test\n{}{rule}\n{}", many(0, 50), many(50, 200));
        let told = story(&test(), &output("P18"), "P18");
        let expected = format!("{}P18\n{}", many(40, 50), many(50, 79));
        assert_eq!(told, expected.trim_end());
        assert!(shows(&test(), &told, "P18"));
        assert!(!shows(&test(), &end_of(&output("P18")), "P18"));
        // Of many cases the simplest.
        let cases = format!("{}Test failed: P18\n{}", output("P18"), many(300, 400));
        let told = story(&test(), &cases, "P18");
        assert!(
            told.starts_with("190\n") && told.ends_with("\n328"),
            "{told}"
        );
        assert!(told.contains("\nTest failed: P18\n300\n"), "{told}");
        // At the end nothing is taken from what comes before it.
        let near = format!("{}P18\n{}", many(0, 100), many(100, 110));
        assert_eq!(story(&test(), &near, "P18"), end_of(&near));
    }

    #[test]
    fn a_story_is_the_same_on_another_machine() {
        for (line, expected) in [
            (
                "thread 'main' (12) panicked at /home/me/.cargo/registry/src/index.io-1/loom-0.7/a.rs:1:2:",
                "panicked at loom-0.7/a.rs:1:2:",
            ),
            (
                "thread 'x' (3) panicked at proofs/src/a.rs:1:2:",
                "panicked at proofs/src/a.rs:1:2:",
            ),
            ("   1  j0  is paused  ", "   1  j0  is paused"),
        ] {
            assert_eq!(anywhere(line), expected);
        }
    }

    #[test]
    fn a_story_is_the_end_of_the_output() {
        let lines: Vec<String> = (0..100).map(|line| line.to_string()).collect();
        let story = end_of(&format!("{}\n\n", lines.join("\n")));
        assert_eq!(story, lines[60..].join("\n"));
        assert_eq!(end_of("one\n\n  two"), "one\n  two");
    }
}
