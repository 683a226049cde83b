//! Coverage as a page: the table of verbs and statuses, the table of changes, and the lists.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use blockjob_model::{Status, Verb};

use super::page::{begin, begin_grid, begin_scroll, end, escape};
use crate::oracle::coverage::report::{Entry, Report, Section};

const STYLE: &str = "\
.grid td { text-align: center; min-width: 3.2rem; border: 1px solid var(--line); }
.grid th { white-space: nowrap; }
.grid thead th { font-weight: normal; }
td.shown { background: var(--good-back); }
td.never { color: var(--faint); }
td.open { background: var(--bad-back); }
td[data-says]:focus { outline: 2px solid var(--focus); outline-offset: -2px; }
td[data-says]:focus::after { content: attr(data-says); position: fixed; inset: auto 1rem 1rem 1rem; z-index: 1;
  padding: .5rem .75rem; border: 1px solid var(--line); border-radius: 6px; background: var(--raised);
  color: var(--text); text-align: left; overflow-wrap: anywhere; }
.grid small { display: block; }
.bar { display: flex; gap: .5rem 1.25rem; flex-wrap: wrap; padding: 0; list-style: none; }
";

/// The page.
pub fn html(report: &Report) -> String {
    let mut page = begin("Coverage of the block-job specification", STYLE);
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        "<p>{}</p>\n<ul class=\"bar\">",
        escape(&report.of_what())
    );
    for section in &report.sections {
        let _ = writeln!(
            page,
            "<li><a href=\"#{0}\">{0}</a> {1} of {2}</li>",
            escape(&section.name),
            section.covered,
            section.total
        );
    }
    page.push_str("</ul>\n");
    against(&mut page, report);
    for section in &report.sections {
        let _ = writeln!(
            page,
            "<h2 id=\"{0}\">{0}: {1} of {2}</h2>\n<p class=\"faint\">{3}</p>",
            escape(&section.name),
            section.covered,
            section.total,
            escape(Report::about(&section.name))
        );
        match section.name.as_str() {
            "cells" => cells(&mut page, section),
            "edges" => edges(&mut page, section),
            _ => list(&mut page, section),
        }
    }
    end(&mut page);
    page
}

fn against(page: &mut String, report: &Report) {
    let Some(against) = &report.against else {
        return;
    };
    let _ = writeln!(page, "<h2>Against {}</h2>", escape(&against.path));
    if against.sections.is_empty() {
        page.push_str("<p>The same is shown.</p>\n");
        return;
    }
    for change in &against.sections {
        let _ = writeln!(page, "<h3>{}</h3>\n<ul>", escape(&change.name));
        for name in &change.gained {
            let _ = writeln!(page, "<li class=\"good\">more: {}</li>", escape(name));
        }
        for name in &change.lost {
            let _ = writeln!(page, "<li class=\"bad\">no longer: {}</li>", escape(name));
        }
        page.push_str("</ul>\n");
    }
}

type ByName<'a> = BTreeMap<&'a str, &'a Entry>;

fn by_name(section: &Section) -> ByName<'_> {
    let entries = section.items.iter();
    entries.map(|entry| (entry.name.as_str(), entry)).collect()
}

/// How often, and where first: for whoever points at it.
fn title(entry: &Entry) -> String {
    match &entry.first {
        Some(first) => format!(
            "{}, {} times, first in {}:{}",
            entry.name, entry.times, first.path, first.line
        ),
        None => format!("{}, not shown", entry.name),
    }
}

fn cells(page: &mut String, section: &Section) {
    let entries = by_name(section);
    begin_grid(
        page,
        "Verbs by status",
        "How often; + permitted, − refused; a coloured 0 was wanted and not shown.",
    );
    for verb in Verb::ALL {
        let _ = write!(page, "<tr><th scope=\"row\">{verb}</th>");
        for status in Status::ALL {
            let of = |answer| entries.get(format!("{verb} in {status}: {answer}").as_str());
            let found: Vec<(char, &Entry)> = [('+', of("permitted")), ('−', of("refused"))]
                .into_iter()
                .filter_map(|(mark, entry)| Some((mark, *entry?)))
                .collect();
            cell(page, &found);
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table>\n</div>\n");
}

fn edges(page: &mut String, section: &Section) {
    let entries = by_name(section);
    begin_grid(
        page,
        "Changes of status",
        "How often; from the row's status to the column's.",
    );
    for from in Status::ALL {
        let _ = write!(page, "<tr><th scope=\"row\">{from}</th>");
        for to in Status::ALL {
            let entry = entries.get(format!("{from} to {to}").as_str());
            let found: Vec<(char, &Entry)> = entry.map(|entry| ('→', *entry)).into_iter().collect();
            cell(page, &found);
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table>\n</div>\n");
}

fn cell(page: &mut String, found: &[(char, &Entry)]) {
    if found.is_empty() {
        page.push_str("<td class=\"never\">·</td>");
        return;
    }
    let open = found.iter().any(|(_, entry)| entry.times == 0);
    let titles: Vec<String> = found.iter().map(|(_, entry)| title(entry)).collect();
    // For a mouse that rests on it, and for the keyboard.
    let _ = write!(
        page,
        "<td class=\"{}\" tabindex=\"0\" title=\"{1}\" data-says=\"{1}\">",
        if open { "open" } else { "shown" },
        escape(&titles.join("; "))
    );
    for (place, (mark, entry)) in found.iter().enumerate() {
        let space = if place == 0 { "" } else { " " };
        let _ = write!(page, "{space}{mark}{}", entry.times);
    }
    page.push_str("</td>");
}

fn list(page: &mut String, section: &Section) {
    begin_scroll(page, &section.name);
    page.push_str(
        "<table><thead><tr><th scope=\"col\">times</th><th scope=\"col\">what</th>\
         <th scope=\"col\">first in</th></tr></thead>\n<tbody>\n",
    );
    for entry in &section.items {
        let class = match (entry.times, entry.wanted) {
            (0, _) => "open",
            (_, true) => "shown",
            (_, false) => "",
        };
        let extra = if entry.wanted { "" } else { " (extra)" };
        let first = entry.first.as_ref().map_or_else(String::new, |first| {
            format!("{}:{}", escape(&first.path), first.line)
        });
        let _ = writeln!(
            page,
            "<tr><td class=\"number {class}\">{}</td><td>{}{extra}</td><td class=\"faint\">{first}</td></tr>",
            entry.times,
            escape(&entry.name)
        );
    }
    page.push_str("</tbody></table>\n</div>\n");
}
