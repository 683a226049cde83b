//! A story as a page of HTML: one file, no scripts, nothing fetched.
//!
//! The lanes are the columns of a table, so that a reader who hears the page gets the same order
//! and the same heads; colour repeats what words say.

use std::fmt::Write as _;

use super::{Inside, Row, Story};

const STYLE: &str = "\
:root { color-scheme: light dark; --back: #fff; --text: #1c1e21; --faint: #5c6370; --line: #d7dae0;
  --call: #2f6fb0; --point: #9a6700; --status: #e8f0fa; --broke: #b42318; --broke-back: #fdecea; }
@media (prefers-color-scheme: dark) {
  :root { --back: #16181c; --text: #e6e8eb; --faint: #a0a7b4; --line: #363b44;
    --call: #6cb0f5; --point: #e0b04a; --status: #22304a; --broke: #ff8a7a; --broke-back: #3a1d1b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 90rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0 0 .5rem; }
h2 { font-size: 1.1rem; margin: 1.5rem 0 .5rem; }
p, ul, ol { margin: .25rem 0; }
.faint { color: var(--faint); }
.verdict { border-left: .3rem solid var(--broke); background: var(--broke-back);
  padding: .6rem .9rem; margin: 1rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; min-width: 100%; }
caption { text-align: left; color: var(--faint); padding: .3rem 0; }
th, td { padding: .25rem .7rem; text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; background: var(--back); border-bottom: 2px solid var(--line);
  white-space: nowrap; }
tbody th { color: var(--faint); font-weight: normal; text-align: right;
  font-variant-numeric: tabular-nums; }
tbody td { border-left: 1px solid var(--line); min-width: 8rem; }
td.call { border-left: 4px solid var(--call); }
td.point { border-left: 4px dashed var(--point); }
td.idle { color: var(--faint); font-size: .8em; }
tr.broke > * { background: var(--broke-back); border-top: 2px solid var(--broke);
  border-bottom: 2px solid var(--broke); }
tr.broke th { color: var(--broke); font-weight: bold; }
.status { display: block; width: fit-content; background: var(--status); border-radius: .3rem;
  padding: 0 .4rem; margin: .15rem 0; }
pre { border: 1px solid var(--line); border-radius: .3rem; padding: .6rem .9rem; overflow-x: auto; }
";

/// The page.
pub fn html(story: &Story) -> String {
    let mut page = String::new();
    let title = escape(&story.title());
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n",
        escape(&story.fault.rule),
    );
    list(&mut page, "ul", &story.origin.about);
    verdict(&mut page, story);
    lanes(&mut page, story);
    if !story.fault.allowed.is_empty() {
        page += "<h2>Allowed there</h2>\n";
        list(&mut page, "ul", &story.fault.allowed);
    }
    if !story.replay.is_empty() {
        page += "<h2>To see it again</h2>\n<pre><code>";
        for line in &story.replay {
            let _ = writeln!(page, "{}", escape(line));
        }
        page += "</code></pre>\n";
    }
    page += "</main>\n</body>\n</html>\n";
    page
}

fn verdict(page: &mut String, story: &Story) {
    page.push_str("<section class=\"verdict\" aria-label=\"What is wrong\">\n");
    let _ = writeln!(page, "<p><strong>{}</strong></p>", escape(&story.rule()));
    for line in story.fault.message.lines() {
        let _ = writeln!(page, "<p>{}</p>", escape(line));
    }
    for line in story.fault.ending.iter().flat_map(|ending| ending.lines()) {
        let _ = writeln!(page, "<p>ended: {}</p>", escape(line));
    }
    if story.rows.iter().any(|row| row.broke) {
        page.push_str("<p><a href=\"#broke\">Where it broke</a></p>\n");
    }
    page.push_str("</section>\n");
}

fn lanes(page: &mut String, story: &Story) {
    page.push_str(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"The execution\">\n<table>\n\
         <caption>A column for each thread, a row for each step, in the order in which they \
         happened. A solid bar: in the middle of a call or a callback. A dashed bar: at a pause \
         point.</caption>\n<thead>\n<tr><th scope=\"col\">entry</th>",
    );
    for lane in &story.lanes {
        let _ = write!(page, "<th scope=\"col\">{}</th>", escape(&lane.name()));
    }
    page.push_str("</tr>\n</thead>\n<tbody>\n");
    for row in &story.rows {
        step(page, row);
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
}

fn step(page: &mut String, row: &Row) {
    let number = row
        .place
        .map_or_else(|| "end".to_owned(), |place| place.to_string());
    if row.broke {
        let _ = write!(
            page,
            "<tr class=\"broke\" id=\"broke\"><th scope=\"row\">{number}, the rule broke here</th>"
        );
    } else {
        let _ = write!(page, "<tr><th scope=\"row\">{number}</th>");
    }
    for (cell, inside) in row.cells.iter().zip(&row.inside) {
        let (class, idle) = match inside {
            Inside::Nothing => ("", ""),
            Inside::Call => ("call", "…"),
            Inside::Point => ("point", "…"),
        };
        if cell.is_empty() {
            let _ = write!(page, "<td class=\"{class} idle\">{idle}</td>");
            continue;
        }
        let _ = write!(page, "<td class=\"{class}\">");
        for text in cell {
            if text.starts_with('→') {
                let _ = write!(page, "<span class=\"status\">{}</span>", escape(text));
            } else {
                page.push_str(&escape(text));
            }
        }
        page.push_str("</td>");
    }
    page.push_str("</tr>\n");
}

fn list(page: &mut String, kind: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(page, "<{kind}>");
    for line in lines {
        let _ = writeln!(page, "<li>{}</li>", escape(line));
    }
    let _ = writeln!(page, "</{kind}>");
}

/// A text as HTML shows it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}
