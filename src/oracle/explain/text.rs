//! A rejection for people: the reason, what was allowed, the rule, and a table of what led there.

use std::fmt::Write as _;

use super::{Explanation, JOBS_MAX, Row};

/// How text is shown.
pub trait Style {
    /// Text as this part of an explanation.
    fn paint(&self, part: Part, text: &str) -> String;

    /// How many columns there are; `None`: lines are not broken.
    fn columns(&self) -> Option<usize>;
}

/// The parts of an explanation that may look different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A word that says what follows.
    Label,
    /// What is at fault.
    Fault,
    /// What is less important.
    Aside,
}

/// Nothing but the text.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Style for Plain {
    fn paint(&self, _part: Part, text: &str) -> String {
        text.to_owned()
    }

    fn columns(&self) -> Option<usize> {
        None
    }
}

/// How far what belongs to a verdict is set in.
const INDENT: usize = 4;

/// `text`, each line but the first set in by `hanging` columns, broken at blanks where there is no
/// more room. `used`: how many columns of the first line are taken.
fn broken(text: &str, used: usize, hanging: usize, columns: Option<usize>) -> String {
    let Some(columns) = columns else {
        return text.to_owned();
    };
    let mut broken = String::with_capacity(text.len() + 16);
    let mut at = used;
    for (place, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if place > 0 {
            if at + 1 + length > columns && at > hanging {
                let _ = write!(broken, "\n{:hanging$}", "");
                at = hanging;
            } else {
                broken.push(' ');
                at += 1;
            }
        }
        broken.push_str(word);
        at += length;
    }
    broken
}

/// One labelled paragraph, on a line of its own.
pub fn paragraph(out: &mut String, style: &impl Style, label: &str, text: &str) {
    let used = INDENT + label.chars().count() + usize::from(!label.is_empty());
    let text = broken(text, used, INDENT + 4, style.columns());
    let _ = write!(out, "\n{:INDENT$}", "");
    if !label.is_empty() {
        let _ = write!(out, "{} ", style.paint(Part::Label, label));
    }
    out.push_str(&text);
}

/// What is to be said of a fault, below the line that names it; begins with a line break.
pub fn explained(fault: &Explanation, style: &impl Style) -> String {
    let mut out = String::new();
    let reason = printable(&fault.message);
    paragraph(&mut out, style, "", &reason);
    if !fault.allowed.is_empty() {
        paragraph(
            &mut out,
            style,
            "allowed:",
            &printable(&fault.allowed.join(" | ")),
        );
    }
    let rule = format!("{} (SEMANTICS §{})", fault.sentence, fault.section);
    paragraph(&mut out, style, "rule:", &rule);
    if !fault.history.is_empty() {
        table(&mut out, fault, style);
    }
    out
}

/// The history, a row a line.
fn table(out: &mut String, fault: &Explanation, style: &impl Style) {
    let rows = &fault.history;
    let first = rows.iter().find_map(|row| row.t_ns);
    let time = |row: &Row| match (row.t_ns, first) {
        (Some(now), Some(first)) => format!("{:.3}", now.saturating_sub(first) as f64 / 1e9),
        _ => String::new(),
    };
    let widest = |of: &dyn Fn(&Row) -> usize, head: &str| {
        rows.iter().map(of).max().unwrap_or(0).max(head.len())
    };
    let line = widest(&|row| row.line.to_string().len(), "line");
    let seconds = if first.is_some() {
        widest(&|row| time(row).len(), "seconds") + 2
    } else {
        0
    };
    let job = widest(&|row| printable(&row.job).chars().count(), "job").min(24);
    let columns = |number: &str, at: &str, id: &str| {
        let at = if seconds > 0 {
            format!("{at:>seconds$}")
        } else {
            String::new()
        };
        format!("{number:>line$}{at}  {id:job$}  ")
    };
    let head = format!("{}what", columns("line", "seconds", "job"));
    let _ = write!(
        out,
        "\n{:INDENT$}  {}",
        "",
        style.paint(Part::Aside, head.trim_end())
    );
    let mut folded = fault.left_out == 0;
    let gap = rows.len().min(super::ROWS_MAX / 4);
    for (place, row) in rows.iter().enumerate() {
        if !folded && place == gap {
            folded = true;
            let left_out = format!("… {} lines of these jobs left out", fault.left_out);
            let _ = write!(
                out,
                "\n{:INDENT$}  {}",
                "",
                style.paint(Part::Aside, &left_out)
            );
        }
        let faulty = row.line == fault.line;
        let mark = if faulty { '>' } else { ' ' };
        let before = columns(
            &row.line.to_string(),
            &time(row),
            &shortened(&printable(&row.job), job),
        );
        let used = INDENT + 2 + before.chars().count();
        let text = broken(&printable(&row.what), used, used, style.columns());
        let text = format!("{mark} {before}{text}");
        let part = if faulty {
            style.paint(Part::Fault, &text)
        } else {
            text
        };
        let _ = write!(out, "\n{:INDENT$}{}", "", part.trim_end());
    }
    if fault.concerned.len() > JOBS_MAX {
        let more = format!("… and {} jobs more", fault.concerned.len() - JOBS_MAX);
        let _ = write!(out, "\n{:INDENT$}  {}", "", style.paint(Part::Aside, &more));
    }
}

/// `text` in so many columns.
fn shortened(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Text of a trace on a line of ours: what would break it, or command a terminal, is spelled out.
pub fn printable(text: &str) -> String {
    let mut fit = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            fit.extend(character.escape_default());
        } else {
            fit.push(character);
        }
    }
    fit
}

#[cfg(test)]
mod tests {
    use blockjob_model::rule;

    use super::*;
    use crate::oracle::verdict::Fault;

    /// A terminal of so many columns, with its marks visible.
    struct Marked(usize);

    impl Style for Marked {
        fn paint(&self, part: Part, text: &str) -> String {
            format!("{part:?}<{text}>")
        }

        fn columns(&self) -> Option<usize> {
            Some(self.0)
        }
    }

    fn explanation() -> Explanation {
        let fault = Fault::new(
            30,
            rule!("status-repeated"),
            "job 'a\u{1b}'",
            "it is x already",
            "then came: x",
        );
        Explanation {
            history: vec![
                Row {
                    line: 7,
                    t_ns: Some(1_000_000_000),
                    job: "a".to_owned(),
                    what: "> job-pause".to_owned(),
                },
                Row {
                    line: 30,
                    t_ns: Some(1_250_000_000),
                    job: "a".to_owned(),
                    what: "status x".to_owned(),
                },
            ],
            ..Explanation::of(&fault.instead(vec!["nothing".to_owned()]).of(["a"]))
        }
    }

    #[test]
    fn a_table_leads_to_the_faulty_line() {
        assert_eq!(
            explained(&explanation(), &Plain),
            "
    job 'a\\u{1b}': because it is x already, but then came: x
    allowed: nothing
    rule: a status is announced when it changes, and only then (SEMANTICS §1b)
      line  seconds  job  what
         7    0.000  a    > job-pause
    >   30    0.250  a    status x"
        );
    }

    #[test]
    fn on_a_terminal_lines_are_broken_and_the_faulty_one_is_marked() {
        let text = explained(&explanation(), &Marked(40));
        assert!(
            text.contains("Fault<>   30    0.250  a    status x>"),
            "{text}"
        );
        assert!(text.contains("Label<rule:>"), "{text}");
        for line in text.lines() {
            let marks = 6 * line.matches('<').count() + 2 * line.matches('>').count();
            assert!(line.chars().count() <= 40 + marks, "{line}");
        }
        assert!(text.lines().count() > 8, "{text}");
    }
}
