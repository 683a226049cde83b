//! What a search of the specification came to, as a page: what held, how what did not is broken, which ways and which
//! cells of the tables were met, and how far it looked.
//!
//! The page's size is bounded: by the properties there are, the tables, and the length of the shortest counterexamples.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use blockjob_model::explore::{Coverage, PropertyReport, Report};
use blockjob_model::{Status, Verb, crowd};

use super::page::{begin, begin_grid, begin_scroll, cut, end, escape};
use super::story::diagram;

const STYLE: &str = "\
.verdict { border-left: .3rem solid var(--good); background: var(--good-back); padding: .5rem .9rem; margin: .75rem 0; }
.verdict.bad { border-color: var(--bad); background: var(--bad-back); color: inherit; }
tr.broke td { background: var(--bad-back); }
.grid td { text-align: center; min-width: 3.2rem; border: 1px solid var(--line); }
.grid th { white-space: nowrap; }
td.shown { background: var(--good-back); }
td.never { color: var(--faint); }
ol.way { margin: .35rem 0; padding-left: 2.2rem; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
";

/// How many steps of a counterexample are shown; the shortest ones are far shorter.
const STEPS_MAX: usize = 400;
/// How long a step's text may be, characters.
const STEP_MAX: usize = 1000;

/// The page of a search over transactions of so many jobs.
pub fn html(report: &Report) -> String {
    let jobs = report.jobs;
    let plural = if jobs == 1 { "" } else { "s" };
    let mut page = opening(
        &format!(
            "Search of the specification: {jobs} job{plural}, profile {}",
            report.profile
        ),
        report.held(),
        &report.properties,
        &format!(
            "{} states, {} transitions, depth {}, {:.2} s.",
            report.states, report.transitions, report.depth, report.seconds
        ),
    );
    let cut_short = report
        .scenarios
        .iter()
        .filter(|scenario| !scenario.is_whole());
    let cut_short = cut_short.count();
    if cut_short > 0 {
        let _ = writeln!(
            page,
            "<p class=\"bad\">{cut_short} scenarios were cut short.</p>"
        );
    }
    properties(&mut page, &report.properties);
    ways(&mut page, &report.coverage);
    verbs(&mut page, &report.coverage);
    scenarios(&mut page, report);
    end(&mut page);
    page
}

/// The page of a search over transactions of any number of jobs.
pub fn html_of_any(report: &crowd::Report) -> String {
    let mut page = opening(
        &format!(
            "Search of the specification: any number of jobs, profile {}",
            crowd::PROFILE.name
        ),
        report.held(),
        &report.properties,
        &format!(
            "{} abstract states, {} transitions, depth {}, {:.2} s. Bound: {}.",
            report.states,
            report.transitions,
            report.depth,
            report.seconds,
            crowd::BOUND
        ),
    );
    properties(&mut page, &report.properties);
    end(&mut page);
    page
}

fn opening(title: &str, held: bool, properties: &[PropertyReport], figures: &str) -> String {
    let style = [STYLE, diagram::STYLE].concat();
    let mut page = begin(title, &style);
    let kept = properties.iter().filter(|property| property.held).count();
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        "<p class=\"verdict {}\">{kept} of {} properties held. {}</p>",
        if held { "good" } else { "bad" },
        properties.len(),
        escape(figures)
    );
    page
}

fn properties(page: &mut String, properties: &[PropertyReport]) {
    page.push_str("<h2>Properties</h2>\n");
    begin_scroll(page, "Properties");
    page.push_str(
        "<table><thead><tr><th scope=\"col\">number</th><th scope=\"col\">what it says</th>\
         <th scope=\"col\">held</th><th scope=\"col\">how far that reaches</th></tr></thead>\n<tbody>\n",
    );
    for property in properties {
        let id = escape(property.id);
        let held = match (property.held, &property.counterexample) {
            (true, _) => "<span class=\"good\">held</span>".to_owned(),
            (false, Some(_)) => format!("<a href=\"#broken-{id}\">violated</a>"),
            (false, None) => "<span class=\"bad\">violated</span>".to_owned(),
        };
        let _ = writeln!(
            page,
            "<tr class=\"{}\"><td><code>{id}</code></td><td>{}</td><td>{held}</td><td>{}</td></tr>",
            if property.held { "" } else { "broke" },
            escape(property.sentence),
            escape(&property.bound)
        );
    }
    page.push_str("</tbody></table>\n</div>\n");
    for property in properties {
        let Some(steps) = &property.counterexample else {
            continue;
        };
        let id = escape(property.id);
        let _ = writeln!(
            page,
            "<h3 id=\"broken-{id}\">How <code>{id}</code> is broken: {}</h3>",
            escape(property.sentence)
        );
        // The first line names the scenario.
        let (first, steps) = steps
            .split_first()
            .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        let _ = writeln!(
            page,
            "<p class=\"faint\">{}</p>\n<ol class=\"way\">",
            escape(&cut(first, STEP_MAX))
        );
        for step in steps.iter().take(STEPS_MAX) {
            let _ = writeln!(page, "<li>{}</li>", escape(&cut(step, STEP_MAX)));
        }
        page.push_str("</ol>\n");
        if steps.len() > STEPS_MAX {
            let _ = writeln!(page, "<p>And {} more steps.</p>", steps.len() - STEPS_MAX);
        }
    }
}

/// The changes of status that were met.
fn ways(page: &mut String, coverage: &Coverage) {
    let mut edges = BTreeMap::new();
    for from in Status::ALL {
        for to in Status::ALL {
            let times = coverage.transitions[from as usize][to as usize];
            if times > 0 {
                edges.insert((from, to), times);
            }
        }
    }
    page.push_str("<h2>Changes of status</h2>\n<p class=\"faint\">How many steps of the search make each.</p>\n");
    diagram::write(page, 0, &edges, None);
}

/// The verbs that were accepted and refused.
fn verbs(page: &mut String, coverage: &Coverage) {
    page.push_str("<h2>Verbs by status</h2>\n");
    begin_grid(
        page,
        "Verbs by status",
        "In how many states of a member; + accepted, − refused.",
    );
    for verb in Verb::ALL {
        let _ = write!(page, "<tr><th scope=\"row\">{verb}</th>");
        for status in Status::ALL {
            let count =
                |table: &[[u64; Status::COUNT]; Verb::COUNT]| table[verb as usize][status as usize];
            let (accepted, refused) = (count(&coverage.accepted), count(&coverage.refused));
            let _ = match (accepted, refused) {
                (0, 0) => write!(page, "<td class=\"never\">·</td>"),
                (_, 0) => write!(page, "<td class=\"shown\">+{accepted}</td>"),
                (0, _) => write!(page, "<td>−{refused}</td>"),
                _ => write!(page, "<td class=\"shown\">+{accepted} −{refused}</td>"),
            };
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table>\n</div>\n");
}

/// How far it looked.
fn scenarios(page: &mut String, report: &Report) {
    page.push_str("<h2>What was searched</h2>\n");
    begin_scroll(page, "What was searched");
    page.push_str(
        "<table><thead><tr><th scope=\"col\">transaction</th><th scope=\"col\">states</th>\
         <th scope=\"col\">transitions</th><th scope=\"col\">depth</th><th scope=\"col\">bounds</th></tr></thead>\n<tbody>\n",
    );
    let mut row = |name: &str,
                   states: u64,
                   transitions: u64,
                   depth: Option<u32>,
                   bounds: &str,
                   whole: bool| {
        let _ = writeln!(
            page,
            "<tr class=\"{}\"><td>{}{}</td><td class=\"number\">{states}</td><td class=\"number\">{transitions}</td>\
             <td class=\"number\">{}</td><td>{}</td></tr>",
            if whole { "" } else { "broke" },
            escape(name),
            if whole { "" } else { ", cut short" },
            depth.map_or_else(String::new, |depth| depth.to_string()),
            escape(bounds)
        );
    };
    for scenario in &report.scenarios {
        row(
            &scenario.scenario.name,
            scenario.states,
            scenario.transitions,
            Some(scenario.depth),
            &scenario.scenario.bounds.to_string(),
            scenario.complete,
        );
        if let Some(graph) = scenario.liveness {
            row(
                &format!("{}, for endless stories", scenario.scenario.name),
                graph.states,
                graph.transitions,
                None,
                &graph.bounds.to_string(),
                graph.complete,
            );
        }
    }
    if let Some(pair) = &report.pair {
        let [one, two] = &pair.scenarios;
        row(
            &format!("{}, and {}, side by side", one.name, two.name),
            pair.states,
            pair.transitions,
            None,
            &one.bounds.to_string(),
            true,
        );
    }
    page.push_str("</tbody></table>\n</div>\n");
    if let Some(steps) = report
        .pair
        .as_ref()
        .and_then(|pair| pair.counterexample.as_ref())
    {
        page.push_str("<h3>How two transactions disturb each other</h3>\n<ol class=\"way\">\n");
        for step in steps.iter().take(STEPS_MAX) {
            let _ = writeln!(page, "<li>{}</li>", escape(&cut(step, STEP_MAX)));
        }
        page.push_str("</ol>\n");
    }
}
