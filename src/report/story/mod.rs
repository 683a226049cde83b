//! What `check` found as a page: every trace in a table, and the first few, rejected ones before others, drawn.
//!
//! | module | draws |
//! |---|---|
//! | `chart` | the lanes |
//! | `diagram` | the statuses, with the way taken |
//!
//! The page's size is bounded: by how many traces are listed and drawn, how many steps of each are kept
//! ([`crate::oracle::story`]), how many lanes there are, and how long a text may be. It says what it leaves out.

mod chart;
pub(super) mod diagram;

use std::fmt::Write as _;

use blockjob_model::Status;

use super::page::{begin, cut, end, escape};
use crate::oracle::explain::Row;
use crate::oracle::story::{HEAD_MAX, Kind, Mark, TAIL_MAX, Told};
use crate::oracle::{Fault, Outcome, Verdict};

/// How many traces are drawn.
pub const DRAWN_MAX: usize = 8;
/// How many traces are listed.
pub const LISTED_MAX: usize = 1000;
/// How long a text of a verdict may be, characters.
const TEXT_MAX: usize = 4000;
/// How much of what would have been allowed, and of the notes, is listed.
const LINES_MAX: usize = 60;

const STYLE: &str = "\
.verdict { border-left: .3rem solid var(--good); background: var(--good-back); padding: .5rem .9rem; margin: .75rem 0; }
.verdict.bad { border-color: var(--bad); background: var(--bad-back); color: inherit; }
.scroll:has(> .traces) { max-height: 60vh; overflow: auto; }
tr.broke td { background: var(--bad-back); }
.legend { display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; padding: 0; list-style: none; }
";

/// A trace that is drawn.
struct Drawn {
    number: usize,
    verdict: Shown,
    told: Told,
}

/// What the page says of a verdict.
struct Shown {
    path: String,
    word: &'static str,
    line: Option<u64>,
    rule: Option<&'static str>,
    message: String,
    section: Option<&'static str>,
    allowed: Vec<String>,
    /// What led there.
    history: Vec<Row>,
    history_left_out: u64,
    /// Further faults.
    further: Vec<String>,
    notes: Vec<String>,
    events: u64,
    jobs: u64,
    profile: &'static str,
}

impl Shown {
    fn of(verdict: &Verdict) -> Shown {
        let mut shown = Shown {
            path: cut(&verdict.path, TEXT_MAX),
            word: verdict.word(),
            line: None,
            rule: None,
            message: String::new(),
            section: None,
            allowed: Vec::new(),
            history: Vec::new(),
            history_left_out: 0,
            further: Vec::new(),
            notes: few(&verdict.notes),
            events: verdict.events,
            jobs: verdict.jobs,
            profile: verdict.profile.unwrap_or("none"),
        };
        match &verdict.outcome {
            Outcome::Accept => {}
            Outcome::Reject(fault) => {
                shown.line = Some(fault.line);
                shown.rule = Some(fault.rule);
                // Writing to a string cannot fail.
                let _ = write!(shown.message, "{}", fault.message);
                shown.section = Some(fault.section);
                shown.allowed = few(&fault.allowed);
            }
            Outcome::Error(error) => {
                shown.line = error.line();
                let _ = write!(shown.message, "{error}");
            }
        }
        shown.message = cut(&shown.message, TEXT_MAX);
        let mut faults = verdict.explanations.iter();
        if let Some(first) = faults.next() {
            // Bounded by whoever explains.
            shown.history.clone_from(&first.history);
            shown.history_left_out = first.left_out;
        }
        let further: Vec<String> = faults
            .map(|fault| format!("line {}: {}: {}", fault.line, fault.rule, fault.message))
            .collect();
        shown.further = few(&further);
        if verdict.widened > 0 {
            shown.notes.push(format!(
                "too many possibilities were open {} times, so the judgement is coarser there",
                verdict.widened
            ));
        }
        shown
    }

    fn class(&self) -> &'static str {
        if self.word == "accept" { "good" } else { "bad" }
    }
}

fn few(lines: &[String]) -> Vec<String> {
    let mut few: Vec<String> = lines
        .iter()
        .take(LINES_MAX)
        .map(|line| cut(line, TEXT_MAX))
        .collect();
    if lines.len() > LINES_MAX {
        few.push(format!("and {} more", lines.len() - LINES_MAX));
    }
    few
}

/// A page that is being collected.
#[derive(Default)]
pub struct Page {
    rows: String,
    count: usize,
    accepted: usize,
    drawn: Vec<Drawn>,
}

impl Page {
    /// A trace was judged, and told.
    pub fn add(&mut self, verdict: &Verdict, mut told: Told) {
        if let Some(fault) = verdict.fault() {
            mark_fault(&mut told, fault);
        }
        self.count += 1;
        let number = self.count;
        let verdict = Shown::of(verdict);
        let good = verdict.word == "accept";
        self.accepted += usize::from(good);
        if number <= LISTED_MAX {
            self.row(number, &verdict);
        }
        if self.drawn.len() == DRAWN_MAX {
            // Of those that are not rejected the last gives way.
            let last = self
                .drawn
                .iter()
                .rposition(|one| one.verdict.word != "reject");
            match last {
                Some(place) if verdict.word == "reject" => drop(self.drawn.remove(place)),
                _ => return,
            }
        }
        self.drawn.push(Drawn {
            number,
            verdict,
            told,
        });
    }

    fn row(&mut self, number: usize, verdict: &Shown) {
        let line = verdict
            .line
            .map_or_else(String::new, |line| line.to_string());
        let _ = writeln!(
            self.rows,
            "<tr><td class=\"number\">{number}</td><td class=\"{}\">{}</td><td><code>{}</code></td>\
             <td class=\"number\">{line}</td><td>{}</td><td>{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td></tr>",
            verdict.class(),
            verdict.word,
            escape(&cut(&verdict.path, 200)),
            escape(verdict.rule.unwrap_or_default()),
            escape(verdict.profile),
            verdict.events,
            verdict.jobs
        );
    }

    /// The page.
    pub fn finish(&self) -> String {
        let mut page = begin(
            "What the recordings show",
            &[STYLE, chart::STYLE, diagram::STYLE].concat(),
        );
        let _ = writeln!(
            page,
            "<p>{} of {} traces accepted by <code>blockjob check</code>.</p>",
            self.accepted, self.count
        );
        super::page::begin_scroll(&mut page, "The traces");
        page.push_str(
            "<table class=\"traces\"><thead><tr><th scope=\"col\">no.</th><th scope=\"col\">verdict</th><th scope=\"col\">trace</th>\
             <th scope=\"col\">line</th><th scope=\"col\">rule</th><th scope=\"col\">profile</th>\
             <th scope=\"col\">events</th><th scope=\"col\">jobs</th></tr></thead>\n<tbody>\n",
        );
        page.push_str(&self.rows);
        page.push_str("</tbody></table>\n</div>\n");
        if self.count > LISTED_MAX {
            let _ = writeln!(
                page,
                "<p class=\"faint\">{} more are not listed.</p>",
                self.count - LISTED_MAX
            );
        }
        if self.count > self.drawn.len() {
            let _ = writeln!(
                page,
                "<p class=\"faint\">{} of them are drawn, rejected ones before others.</p>",
                self.drawn.len()
            );
        }
        if self.drawn.len() > 1 {
            page.push_str("<nav aria-label=\"Traces drawn\"><ul class=\"legend\">\n");
            for Drawn {
                number, verdict, ..
            } in &self.drawn
            {
                let path = escape(&cut(&verdict.path, 200));
                let _ = writeln!(
                    page,
                    "<li><a href=\"#trace-{number}\">{number}. {path}</a></li>"
                );
            }
            page.push_str("</ul></nav>\n");
        }
        for drawn in &self.drawn {
            section(&mut page, drawn);
        }
        end(&mut page);
        page
    }
}

fn section(page: &mut String, drawn: &Drawn) {
    let Drawn {
        number,
        verdict,
        told,
    } = drawn;
    let _ = writeln!(
        page,
        "<section aria-labelledby=\"trace-{number}\">\n<h2 id=\"trace-{number}\">{number}. {}</h2>\n\
         <div class=\"verdict {}\">",
        escape(&verdict.path),
        verdict.class()
    );
    let _ = match (verdict.line, verdict.rule) {
        (Some(line), Some(rule)) => writeln!(
            page,
            "<p><strong>rejected at line {line}: {rule}</strong> (profile {})</p>\n<p>{}</p>",
            verdict.profile,
            escape(&verdict.message)
        ),
        _ if verdict.word == "accept" => writeln!(
            page,
            "<p><strong>accepted</strong>: {} events of {} jobs, profile {}</p>",
            verdict.events, verdict.jobs, verdict.profile
        ),
        _ => writeln!(
            page,
            "<p><strong>not judged</strong>: {}</p>",
            escape(&verdict.message)
        ),
    };
    if !verdict.allowed.is_empty() {
        let _ = writeln!(
            page,
            "<p>Allowed there: {}</p>",
            escape(&verdict.allowed.join(" | "))
        );
    }
    if let Some(section) = verdict.section {
        let rule = verdict.rule.and_then(blockjob_model::rule::find);
        let sentence =
            rule.map_or_else(String::new, |rule| format!("The rule: {}. ", rule.sentence));
        let _ = writeln!(
            page,
            "<p>{}See SEMANTICS §{}.</p>",
            escape(&sentence),
            escape(section)
        );
    }
    let fault = verdict.line.filter(|_| verdict.rule.is_some());
    let broke = |mark: &&Mark| !mark.taken && Some(mark.line) == fault;
    let broken: Option<&Mark> = told.head.iter().chain(&told.tail).find(broke);
    if broken.is_some() {
        let _ = writeln!(
            page,
            "<p><a href=\"#fault-{number}\">Where it broke</a></p>"
        );
    }
    page.push_str("</div>\n");
    history(page, verdict);
    if !verdict.further.is_empty() {
        page.push_str("<h3>Further faults</h3>\n<ul>\n");
        for fault in &verdict.further {
            let _ = writeln!(page, "<li>{}</li>", escape(fault));
        }
        page.push_str("</ul>\n");
    }
    for note in &verdict.notes {
        let _ = writeln!(page, "<p class=\"faint\">note: {}</p>", escape(note));
    }
    if told.steps == 0 {
        page.push_str("<p class=\"faint\">There is no step to draw.</p>\n</section>\n");
        return;
    }
    let _ = writeln!(
        page,
        "<h3>Step by step</h3>\n<p class=\"faint\">{}</p>",
        said(told)
    );
    page.push_str(
        "<ul class=\"legend faint\"><li>▾ asked</li><li>✓ carried out</li><li>✗ refused</li><li>● status</li>\
         <li>◆ event</li><li>○ inside</li><li>? table looked up</li><li>… without news</li><li>! the fault</li></ul>\n",
    );
    let left_out = chart::write(
        page,
        &chart::Chart {
            told,
            fault,
            number: *number,
        },
    );
    if left_out > 0 {
        let _ = writeln!(
            page,
            "<p class=\"faint\">{left_out} more jobs have no lane here; {} are drawn, those of the fault first.</p>",
            chart::LANES_MAX
        );
    }
    page.push_str("<h3>The way through the statuses</h3>\n");
    diagram::write(
        page,
        *number,
        &told.edges,
        broken.and_then(|mark| edge(told, mark)),
    );
    page.push_str("</section>\n");
}

/// What happened to the jobs concerned, up to the fault.
fn history(page: &mut String, verdict: &Shown) {
    if verdict.history.is_empty() {
        return;
    }
    page.push_str("<h3>What led there</h3>\n");
    super::page::begin_scroll(page, "What led there");
    page.push_str(
        "<table><thead><tr><th scope=\"col\">line</th><th scope=\"col\">job</th><th scope=\"col\">what</th></tr>\
         </thead>\n<tbody>\n",
    );
    for row in &verdict.history {
        let broke = verdict.line == Some(row.line);
        let _ = writeln!(
            page,
            "<tr{}><td class=\"number\">{}</td><td>{}</td><td>{}</td></tr>",
            if broke { " class=\"broke\"" } else { "" },
            row.line,
            escape(&cut(&row.job, 200)),
            escape(&cut(&row.what, 200))
        );
    }
    page.push_str("</tbody></table>\n</div>\n");
    if verdict.history_left_out > 0 {
        let _ = writeln!(
            page,
            "<p class=\"faint\">{} more rows are left out.</p>",
            verdict.history_left_out
        );
    }
}

/// A fault may be in a line that is no step, an answer to nobody for instance: it is marked all the same.
fn mark_fault(told: &mut Told, fault: &Fault) {
    let mut marks = told.head.iter().chain(&told.tail);
    if marks.any(|mark| !mark.taken && mark.line == fault.line) {
        return;
    }
    let marks = if told.tail.is_empty() {
        &mut told.head
    } else {
        &mut told.tail
    };
    // Further lines may have been read by then.
    let place = marks.partition_point(|mark| mark.line < fault.line);
    let mark = Mark {
        line: fault.line,
        last_line: fault.line,
        at_ns: None,
        job: None,
        group: None,
        kind: Kind::Refusal,
        text: fault.rule.to_owned(),
        steps: 1,
        possible: Vec::new(),
        taken: false,
    };
    marks.insert(place, mark);
    told.steps += 1;
}

/// What is drawn of a trace, and what is not.
fn said(told: &Told) -> String {
    let mut said = format!(
        "{} steps, in the order of their lines, a column each. Point at a mark, or move to it by the keyboard, to read \
         what it says and which statuses were held possible.",
        told.steps
    );
    if told.folded.steps > 0 {
        let _ = write!(
            said,
            " The first {HEAD_MAX} marks and the last {TAIL_MAX} are drawn; {} steps between them, of lines {} to {}, are left \
             out of the lanes, and counted in the diagram.",
            told.folded.steps, told.folded.lines.0, told.folded.lines.1
        );
    }
    said
}

/// The change of status that must not be, where it is one.
fn edge(told: &Told, broken: &Mark) -> Option<(Status, Status)> {
    let Kind::Status(to) = broken.kind else {
        return None;
    };
    let job = broken.job.as_ref()?;
    let mut from = told.folded.statuses.get(job).copied();
    // What is left out stands between the two.
    let head: &[Mark] = if told.folded.steps > 0 {
        &[]
    } else {
        &told.head
    };
    for mark in head.iter().chain(&told.tail) {
        if let (Kind::Status(status), true) = (mark.kind, mark.taken)
            && mark.job.as_ref() == Some(job)
        {
            from = Some(status);
        }
    }
    from.map(|from| (from, to))
}
