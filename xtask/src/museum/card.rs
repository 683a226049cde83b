//! A card of the museum: what one patch re-creates, and which check must find it.
//!
//! A card is a Markdown file of a fixed form, read here line by line. What does not follow it is
//! refused with the line and what was expected there: a card that is half understood would pass as
//! checked.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use super::evidence;

/// One card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Where it was read.
    pub path: PathBuf,
    /// Its number in the collection, which is the name of its file.
    pub id: String,
    pub title: String,
    /// The commit, mail or issue of the real mistake.
    pub source: String,
    pub users_saw: String,
    /// What it takes: concurrency (C), weak memory (M), re-entrancy (R), or a sequence (S).
    pub kind: String,
    pub property: String,
    pub fate: Fate,
    /// The end of what the check printed when it found the mistake.
    pub story: Option<String>,
}

/// What must become of the mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A check finds it.
    Killed {
        check: Check,
        /// Text that the check's output contains then.
        rule: String,
        /// How long that took, as written in the card.
        seconds: String,
    },
    /// Nothing can find it, and this is why.
    Equivalent { reason: String },
}

/// What is run to find the mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// A harness of `proofs/`, under its tool.
    Prove(String),
    /// Tests of one target, those whose names contain the filter.
    Test {
        package: String,
        /// The name of a file in `tests/`, or `lib`.
        target: String,
        filter: Option<String>,
    },
    /// `blockjob explore` with these arguments.
    Explore(Vec<String>),
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Check::Prove(harness) => write!(formatter, "prove {harness}"),
            Check::Test {
                package,
                target,
                filter,
            } => {
                write!(formatter, "test {package} {target}")?;
                filter
                    .iter()
                    .try_for_each(|filter| write!(formatter, " {filter}"))
            }
            Check::Explore(arguments) => write!(formatter, "explore {}", arguments.join(" ")),
        }
    }
}

/// A line that is not what it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    path: PathBuf,
    line: usize,
    expected: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(
            formatter,
            "{path}:{}: expected {}",
            self.line, self.expected
        )
    }
}

/// What a card says in its list, in this order.
const ITEMS: [&str; 8] = [
    "source",
    "users saw",
    "kind",
    "property",
    "check",
    "rule",
    "seconds",
    "equivalent",
];

/// One entry of the list.
struct Item {
    line: usize,
    key: &'static str,
    value: String,
}

impl Card {
    /// Reads the text of a card.
    ///
    /// # Errors
    ///
    /// The first line that is not what it has to be.
    pub fn parse(path: &Path, text: &str) -> Result<Card, Malformed> {
        let fault = |line: usize, expected: &str| Malformed {
            path: path.to_owned(),
            line,
            expected: expected.to_owned(),
        };
        let lines: Vec<&str> = text.lines().collect();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let title = lines
            .first()
            .and_then(|line| line.strip_prefix(&format!("# {stem}: ")))
            .map(str::trim)
            .filter(|title| !title.is_empty())
            .ok_or_else(|| fault(1, &format!("'# {stem}: ' and a title")))?;
        if lines.get(1).is_some_and(|line| !line.is_empty()) {
            return Err(fault(2, "an empty line"));
        }
        let (items, after) = items(&lines, &fault)?;
        let value = |key: &str| {
            let item = items.iter().find(|item| item.key == key);
            item.map(|item| item.value.clone())
        };
        let needed = |key: &str| {
            value(key).ok_or_else(|| fault(after + 1, &format!("an item '- {key}: ' before this")))
        };
        let prose = lines
            .iter()
            .enumerate()
            .skip(after)
            .find(|(_, line)| !line.is_empty());
        match prose {
            Some((_, line)) if !line.starts_with(['#', '-']) => {}
            other => {
                let line = other.map_or(lines.len(), |(place, _)| place) + 1;
                return Err(fault(
                    line,
                    "a paragraph: what the patch does and why it is the same mistake",
                ));
            }
        }
        let kind = needed("kind")?;
        if !kind
            .split('/')
            .all(|part| ["C", "M", "R", "S"].contains(&part.trim()))
        {
            let line = items.iter().find(|item| item.key == "kind");
            return Err(fault(
                line.map_or(1, |item| item.line),
                "C, M, R or S, or several with '/' between them",
            ));
        }
        let fate = fate(&items, after, &fault)?;
        let story = story(&lines, after, &fault)?;
        if let Fate::Killed { check, rule, .. } = &fate
            && let Some(anyway) =
                evidence::is_there_anyway(check, story.as_deref().unwrap_or_default(), rule)
        {
            let line = items.iter().find(|item| item.key == "rule");
            return Err(fault(
                line.map_or(1, |item| item.line),
                &format!(
                    "a rule that is there only when the check fails by it, not also in '{}'",
                    anyway.trim()
                ),
            ));
        }
        Ok(Card {
            path: path.to_owned(),
            id: stem.clone().into_owned(),
            title: title.to_owned(),
            source: needed("source")?,
            users_saw: needed("users saw")?,
            kind,
            property: needed("property")?,
            fate,
            story,
        })
    }

    /// The text of the card with other seconds and another story.
    pub fn record(text: &str, seconds: f64, story: &str) -> String {
        let mut out = String::new();
        for line in text.lines().take_while(|line| *line != STORY) {
            if line.starts_with("- seconds: ") {
                let _ = write!(out, "- seconds: {seconds:.2}");
            } else {
                out.push_str(line);
            }
            out.push('\n');
        }
        let body = out.trim_end();
        // A fence inside would end the block.
        let story = story.trim_end().replace("```", "'''");
        format!("{body}\n\n{STORY}\n\n```text\n{story}\n```\n")
    }
}

const STORY: &str = "## Story";

/// The list from the third line on, and the number of lines up to its end.
fn items(
    lines: &[&str],
    fault: &impl Fn(usize, &str) -> Malformed,
) -> Result<(Vec<Item>, usize), Malformed> {
    let mut items: Vec<Item> = Vec::new();
    for (place, line) in lines.iter().enumerate().skip(2) {
        if line.is_empty() {
            return Ok((items, place));
        }
        if let Some(more) = line.strip_prefix("  ")
            && let Some(last) = items.last_mut()
        {
            last.value.push(' ');
            last.value.push_str(more.trim());
            continue;
        }
        let names = || format!("'- KEY: VALUE' with a key of {}", ITEMS.join(", "));
        let (key, value) = line
            .strip_prefix("- ")
            .and_then(|item| item.split_once(": "))
            .ok_or_else(|| fault(place + 1, &names()))?;
        let key = ITEMS
            .into_iter()
            .find(|known| *known == key)
            .ok_or_else(|| fault(place + 1, &names()))?;
        if value.trim().is_empty() {
            return Err(fault(place + 1, &format!("something after '- {key}: '")));
        }
        if items.iter().any(|item| item.key == key) {
            return Err(fault(place + 1, &format!("'{key}' once")));
        }
        items.push(Item {
            line: place + 1,
            key,
            value: value.trim().to_owned(),
        });
    }
    Err(fault(lines.len() + 1, "an empty line and a paragraph"))
}

fn fate(
    items: &[Item],
    after: usize,
    fault: &impl Fn(usize, &str) -> Malformed,
) -> Result<Fate, Malformed> {
    let item = |key: &str| items.iter().find(|item| item.key == key);
    if let Some(reason) = item("equivalent") {
        if let Some(other) = item("check").or(item("rule")).or(item("seconds")) {
            return Err(fault(
                other.line,
                "no check, rule or seconds for what is equivalent",
            ));
        }
        return Ok(Fate::Equivalent {
            reason: reason.value.clone(),
        });
    }
    let needed = |key: &str| {
        let expected = format!("an item '- {key}: ' before this, or '- equivalent: '");
        item(key).ok_or_else(|| fault(after + 1, &expected))
    };
    let check = needed("check")?;
    let rule = needed("rule")?;
    let seconds = needed("seconds")?;
    if seconds.value.parse::<f64>().is_err() {
        return Err(fault(seconds.line, "seconds as a number"));
    }
    Ok(Fate::Killed {
        check: parse_check(&check.value).ok_or_else(|| {
            fault(
                check.line,
                "'prove HARNESS', 'test PACKAGE TARGET [FILTER]' or 'explore ARGUMENTS'",
            )
        })?,
        rule: rule.value.clone(),
        seconds: seconds.value.clone(),
    })
}

fn parse_check(text: &str) -> Option<Check> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["prove", harness] => Some(Check::Prove((*harness).to_owned())),
        ["test", package, target, filter @ ..] if filter.len() <= 1 => Some(Check::Test {
            package: (*package).to_owned(),
            target: (*target).to_owned(),
            filter: filter.first().map(|filter| (*filter).to_owned()),
        }),
        ["explore", arguments @ ..] if !arguments.is_empty() => Some(Check::Explore(
            arguments.iter().map(|word| (*word).to_owned()).collect(),
        )),
        _ => None,
    }
}

/// The fenced block behind the heading, if the card has one.
fn story(
    lines: &[&str],
    after: usize,
    fault: &impl Fn(usize, &str) -> Malformed,
) -> Result<Option<String>, Malformed> {
    let mut rest = lines.iter().enumerate().skip(after);
    if !rest.any(|(_, line)| *line == STORY) {
        return Ok(None);
    }
    let mut rest = rest.skip_while(|(_, line)| line.is_empty());
    match rest.next() {
        Some((_, line)) if *line == "```text" => {}
        other => {
            let line = other.map_or(lines.len(), |(place, _)| place) + 1;
            return Err(fault(line, "'```text'"));
        }
    }
    let mut story = Vec::new();
    for (_, line) in rest {
        if *line == "```" {
            return Ok(Some(story.join("\n")));
        }
        story.push(*line);
    }
    Err(fault(lines.len() + 1, "'```' at the end of the story"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "\
# A01: a pause point sleeps without looking again

- source: QEMU fc9c0a9c4b (2016, fixed in 2.7.0)
- users saw: a job that stays paused for ever
  after a resume
- kind: C
- property: P25 (V3)
- check: prove pause-is-seen
- rule: deadlock
- seconds: 0.4

It parks without the test.

## Story

```text
one
two
```
";

    fn parse(text: &str) -> Result<Card, String> {
        Card::parse(Path::new("museum/A01.md"), text).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_card_is_read() {
        let card = parse(CARD).expect("well-formed");
        assert_eq!(card.id, "A01");
        assert_eq!(card.title, "a pause point sleeps without looking again");
        assert_eq!(
            card.users_saw,
            "a job that stays paused for ever after a resume"
        );
        assert_eq!(card.story.as_deref(), Some("one\ntwo"));
        let Fate::Killed {
            check,
            rule,
            seconds,
        } = card.fate
        else {
            panic!("{:?}", card.fate);
        };
        assert_eq!(check, Check::Prove("pause-is-seen".to_owned()));
        assert_eq!((rule.as_str(), seconds.as_str()), ("deadlock", "0.4"));
    }

    #[test]
    fn an_equivalent_card_has_a_reason_and_no_check() {
        let text = CARD
            .replace("- check: prove pause-is-seen\n", "")
            .replace("- rule: deadlock\n", "")
            .replace("- seconds: 0.4", "- equivalent: it is tested twice");
        let card = parse(&text).expect("well-formed");
        let reason = "it is tested twice".to_owned();
        assert_eq!(card.fate, Fate::Equivalent { reason });

        let both = CARD.replace("- rule: deadlock", "- equivalent: no");
        let fault = parse(&both).expect_err("a check, too");
        assert!(fault.contains("A01.md:8: expected no check"), "{fault}");
    }

    #[test]
    fn every_kind_of_check_reads_as_it_is_written() {
        for text in [
            "prove gate",
            "test blockjob engine_edges",
            "test blockjob-model lib a_filter::of_two",
            "explore --jobs 2",
        ] {
            let check = parse_check(text).expect("a check");
            assert_eq!(check.to_string(), text);
        }
        for text in ["prove", "prove a b", "test blockjob", "explore", "run x"] {
            assert_eq!(parse_check(text), None, "{text}");
        }
    }

    #[test]
    fn a_malformed_card_is_refused_with_its_line() {
        let cases = [
            ("# A01: a pause", "# A02: a pause", ":1: expected '# A01: '"),
            ("again\n\n-", "again\n-", ":2: expected an empty line"),
            ("- kind: C", "- sort: C", ":6: expected '- KEY: VALUE'"),
            ("- kind: C", "- kind: Q", ":6: expected C, M, R or S"),
            ("- kind: C", "- kind: ", ":6: expected something after"),
            ("- kind: C", "- source: C", ":6: expected 'source' once"),
            (
                "- kind: C\n",
                "",
                ":10: expected an item '- kind: ' before this",
            ),
            (
                "- rule: deadlock\n",
                "",
                ":10: expected an item '- rule: ' before this",
            ),
            ("0.4", "soon", ":10: expected seconds as a number"),
            (
                "prove pause-is-seen",
                "look hard",
                ":8: expected 'prove HARNESS'",
            ),
            (
                "It parks without the test.\n",
                "",
                ":13: expected a paragraph",
            ),
            ("```text", "```", ":16: expected '```text'"),
            ("two\n```", "two", ":19: expected '```' at the end"),
        ];
        for (from, to, expected) in cases {
            assert!(CARD.contains(from), "{from}");
            let fault = parse(&CARD.replacen(from, to, 1)).expect_err(to);
            assert!(fault.contains(expected), "{to}: {fault}");
        }
    }

    #[test]
    fn a_rule_that_is_there_whatever_fails_is_refused_with_its_line() {
        for (from, to, anyway) in [
            ("rule: deadlock", "rule: pause-is", "prove pause-is-seen"),
            ("one\ntwo", "x deadlock y\nrule: deadlock", "x deadlock y"),
        ] {
            let fault = parse(&CARD.replacen(from, to, 1)).expect_err(to);
            assert!(
                fault.contains(":9: expected a rule that is there only") && fault.contains(anyway),
                "{fault}"
            );
        }
        let well = CARD.replacen("one\ntwo", "x\nrule: deadlock", 1);
        parse(&well).expect("named where it says how it failed");
    }

    #[test]
    fn what_is_recorded_is_read_again() {
        let text = Card::record(CARD, 1.26, "x\n```\ny\n\n");
        let card = parse(&text).expect("well-formed");
        assert_eq!(card.story.as_deref(), Some("x\n'''\ny"));
        assert!(text.contains("- seconds: 1.26\n\nIt parks"), "{text}");
        let none = CARD.split("\n## Story").next().expect("a card");
        let text = Card::record(none, 0.0, "z");
        assert_eq!(
            parse(&text).expect("well-formed").story.as_deref(),
            Some("z")
        );
    }
}
