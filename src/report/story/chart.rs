//! A trace as lanes: one for whoever asks, one for each transaction, one for each job; from left to right the steps,
//! in the order of their lines, each in a column of its own.
//!
//! The distance between two columns grows with the time between them, but only as its logarithm, and no further than
//! a few columns; what was left out is one column that says so.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use blockjob_model::Status;

use crate::oracle::story::{Folded, Kind, Mark, Told};
use crate::report::page::{begin_scroll, escape};

/// How many lanes are drawn, those of whoever asks and of transactions beside.
pub(super) const LANES_MAX: usize = 120;
/// The width of a column, pixels; a mark is a little smaller.
const COLUMN: u32 = 24;
/// The width of the column that stands for what was left out.
const FOLD: u32 = 96;
/// How much further apart two columns may be than next to each other.
const APART_MAX: f64 = 72.0;
/// How much further apart for each doubling of the time between them, in terms of the usual time.
const APART: f64 = 8.0;
/// How far apart labels on the axis are at least.
const LABELS: u32 = 108;

/// The style of the lanes.
pub(super) const STYLE: &str = "\
.scroll:has(> .chart) { max-height: 85vh; overflow: auto; }
.chart { --name: 10rem; position: relative; font-size: .8rem; border: 1px solid var(--line); width: max-content; }
.lane, .axis { display: flex; border-bottom: 1px solid var(--line); }
.lane.group { background: var(--raised); }
.name { position: sticky; left: 0; z-index: 2; width: var(--name); flex: none; padding: .3rem .5rem; font-weight: 600;
  background: var(--raised); border-right: 1px solid var(--line); overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
.lane.member .name { padding-left: 1.25rem; }
.track { position: relative; height: 3.1rem; flex: none; }
.lane.group .track { height: 1.7rem; }
.axis { position: sticky; top: 0; z-index: 4; background: var(--back); }
.axis .track { height: 2.5rem; color: var(--faint); font-variant-numeric: tabular-nums; }
.axis .track span { position: absolute; top: .15rem; white-space: nowrap; border-left: 1px solid var(--line);
  padding-left: .2rem; height: 2.3rem; line-height: 1.1rem; }
.span { position: absolute; top: .25rem; height: 1.15rem; line-height: 1.15rem; padding: 0 .25rem; overflow: hidden;
  white-space: nowrap; border-radius: .2rem; color: #111; border: 1px solid rgb(0 0 0 / .25); }
.mark { position: absolute; top: 1.6rem; width: 22px; height: 22px; line-height: 20px; text-align: center;
  border: 1px solid var(--line); border-radius: 50%; background: var(--back); cursor: default; }
.mark.command, .mark.success { border-radius: .2rem; }
.mark.refusal { border-radius: .2rem; border-color: var(--bad); color: var(--bad); }
.mark.event { border-color: var(--link); color: var(--link); }
.mark.broke { background: var(--bad); border-color: var(--bad); color: var(--back); font-weight: bold; }
.band { position: absolute; top: 0; bottom: 0; width: 24px; background: var(--bad-back);
  border: solid var(--bad); border-width: 0 2px; }
.left-out { position: absolute; top: 0; bottom: 0; width: 92px; background: repeating-linear-gradient(135deg,
  var(--raised) 0 6px, var(--line) 6px 8px); }
.tip { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.mark:hover .tip, .mark:focus .tip { position: fixed; z-index: 9; left: 0; right: 0; bottom: 0; width: auto;
  height: auto; max-height: 45vh; overflow: auto; clip-path: none; text-align: left; line-height: 1.4;
  font-size: .95rem; font-weight: normal; padding: .7rem 1rem; color: var(--text); background: var(--raised);
  border-top: 3px solid var(--focus); white-space: pre-line; }
.mark:hover, .mark:focus { z-index: 3; }
.undefined { background: #d0d4db; } .created { background: #b9d4f5; } .running { background: #8fd19e; }
.paused { background: #f3d57c; } .ready { background: #7fd6d0; } .standby { background: #e3c78f; }
.waiting { background: #c3b4ee; } .pending { background: #dba9e6; } .aborting { background: #f5a097; }
.concluded { background: #bcc4ce; } .null { background: #e6e8eb; } .open { background: #c9d3e0; }
.committed { background: #8fd19e; }
@media (max-width: 40rem) { .chart { --name: 6rem; } .name { padding: .3rem .25rem; font-weight: normal; }
  .lane.member .name { padding-left: .5rem; } }
";

/// A trace, and where in it the fault is.
pub(super) struct Chart<'a> {
    pub told: &'a Told,
    /// Its line.
    pub fault: Option<u64>,
    /// Tells this trace's places from those of others on the page.
    pub number: usize,
}

/// Something at a place from left to right.
enum Column<'a> {
    Mark(&'a Mark),
    LeftOut(&'a Folded),
}

struct Placed<'a> {
    left: u32,
    column: Column<'a>,
}

/// Writes the lanes; how many jobs were left out.
pub(super) fn write(page: &mut String, chart: &Chart<'_>) -> usize {
    let (placed, width) = place(chart.told);
    let drawn = Drawn::of(&placed, width);
    let (lanes, left_out) = drawn.choose(chart.fault);
    let mut pen = Pen {
        page,
        bands: bands(&placed, chart.fault),
        width,
        number: chart.number,
        fault: chart.fault,
        begun_ns: placed.iter().find_map(Placed::at_ns),
        named: false,
    };
    begin_scroll(pen.page, "The trace, step by step");
    pen.page.push_str("<div class=\"chart\">\n");
    pen.axis(&placed);
    // What is asked of no job that is known.
    pen.lane("", "client", &[], &drawn.asked);
    let chosen: HashSet<&str> = lanes.iter().map(|name| &***name).collect();
    let mut written: HashSet<&str> = HashSet::new();
    for name in &lanes {
        if written.contains(&***name) {
            continue;
        }
        let Some(group) = drawn.group_of.get(&***name) else {
            pen.job("", name, &drawn);
            continue;
        };
        let group = &drawn.groups[*group];
        pen.lane("group", group.name, &group.spans, &[]);
        for member in &group.members {
            if chosen.contains(*member) && written.insert(member) {
                pen.job("member", member, &drawn);
            }
        }
    }
    pen.page.push_str("</div>\n</div>\n");
    left_out
}

impl Placed<'_> {
    fn at_ns(&self) -> Option<i64> {
        match self.column {
            Column::Mark(mark) => mark.at_ns,
            Column::LeftOut(_) => None,
        }
    }
}

/// Where each column stands, and how wide all of them are.
fn place(told: &Told) -> (Vec<Placed<'_>>, u32) {
    let marks = |marks| -> std::slice::Iter<'_, Mark> { <[Mark]>::iter(marks) };
    let left_out = (told.folded.steps > 0).then_some(Column::LeftOut(&told.folded));
    let columns: Vec<Column<'_>> = marks(&told.head)
        .map(Column::Mark)
        .chain(left_out)
        .chain(marks(&told.tail).map(Column::Mark))
        .collect();
    let usual = usual_time(&told.head, &told.tail);
    let mut placed = Vec::with_capacity(columns.len());
    let mut left = 0;
    let mut before: Option<i64> = None;
    for column in columns {
        let mut width = FOLD;
        if let Column::Mark(mark) = column {
            width = COLUMN;
            if let (Some(at), Some(before)) = (mark.at_ns, before) {
                let time = at.saturating_sub(before).max(0) as f64;
                left += (APART * (time / usual).max(1.0).log2()).min(APART_MAX) as u32;
            }
            before = mark.at_ns.or(before);
        } else {
            before = None;
        }
        placed.push(Placed { left, column });
        left += width;
    }
    (placed, left.max(10 * COLUMN))
}

/// The time that usually lies between two steps, nanoseconds: the median.
fn usual_time(head: &[Mark], tail: &[Mark]) -> f64 {
    let mut times: Vec<i64> = [head, tail]
        .into_iter()
        .flat_map(|marks| {
            let at = marks.iter().filter_map(|mark| mark.at_ns);
            at.clone()
                .zip(at.skip(1))
                .map(|(before, after)| after.saturating_sub(before).max(0))
        })
        .collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or(0).max(1) as f64
}

/// What is drawn behind every lane: the fault, and what was left out.
fn bands(placed: &[Placed<'_>], fault: Option<u64>) -> String {
    let mut bands = String::new();
    for Placed { left, column } in placed {
        let class = match column {
            Column::LeftOut(_) => "left-out",
            Column::Mark(mark) if !mark.taken && fault == Some(mark.line) => "band",
            Column::Mark(_) => continue,
        };
        // Writing to a string cannot fail.
        let _ = write!(bands, "<i class=\"{class}\" style=\"left:{left}px\"></i>");
    }
    bands
}

/// A stretch of a lane.
struct Span {
    from: u32,
    to: u32,
    word: &'static str,
}

/// What a job did.
#[derive(Default)]
struct Lane<'a> {
    marks: Vec<(u32, &'a Mark)>,
    spans: Vec<Span>,
}

/// A transaction, as far as its members show it.
struct Group<'a> {
    name: &'a str,
    /// Since where it is what it is; `None`: it is over.
    is: Option<(&'static str, u32)>,
    alive: HashSet<&'a str>,
    spans: Vec<Span>,
    members: Vec<&'a str>,
}

impl<'a> Group<'a> {
    fn becomes(&mut self, word: Option<&'static str>, left: u32) {
        if let Some((was, from)) = self.is.take() {
            self.spans.push(Span {
                from,
                to: left,
                word: was,
            });
        }
        self.is = word.map(|word| (word, left));
    }

    /// A member of it gets this status.
    fn status(&mut self, job: &'a str, status: Status, left: u32) {
        let is = self.is.map(|(word, _)| word);
        match status {
            Status::Null => {
                self.alive.remove(job);
                if self.alive.is_empty() {
                    self.becomes(None, left);
                }
                return;
            }
            Status::Aborting if is == Some("open") => self.becomes(Some("aborting"), left),
            Status::Concluded if is == Some("open") => self.becomes(Some("committed"), left),
            _ if is.is_none() => self.becomes(Some("open"), left),
            _ => {}
        }
        self.alive.insert(job);
    }
}

/// Everything that could be drawn.
struct Drawn<'a> {
    asked: Vec<(u32, &'a Mark)>,
    /// By name, in the order in which they were seen first.
    jobs: Vec<(&'a str, Lane<'a>)>,
    place_of: HashMap<&'a str, usize>,
    groups: Vec<Group<'a>>,
    group_of: HashMap<&'a str, usize>,
}

impl<'a> Drawn<'a> {
    fn of(placed: &[Placed<'a>], width: u32) -> Drawn<'a> {
        let mut drawn = Drawn {
            asked: Vec::new(),
            jobs: Vec::new(),
            place_of: HashMap::new(),
            groups: Vec::new(),
            group_of: HashMap::new(),
        };
        let mut now: BTreeMap<&'a str, (Status, u32)> = BTreeMap::new();
        for Placed { left, column } in placed {
            match *column {
                Column::Mark(mark) => drawn.mark(*left, mark, &mut now),
                Column::LeftOut(folded) => drawn.left_out(*left, folded, &mut now),
            }
        }
        for (job, (status, from)) in now {
            drawn.span(job, status, from, width);
        }
        for group in &mut drawn.groups {
            group.becomes(None, width);
        }
        drawn
    }

    fn mark(&mut self, left: u32, mark: &'a Mark, now: &mut BTreeMap<&'a str, (Status, u32)>) {
        let Some(job) = mark.job.as_deref() else {
            self.asked.push((left, mark));
            return;
        };
        let place = *self.place_of.entry(job).or_insert_with(|| {
            self.jobs.push((job, Lane::default()));
            self.jobs.len() - 1
        });
        self.jobs[place].1.marks.push((left, mark));
        if let Some(name) = mark.group.as_deref()
            && !self.group_of.contains_key(job)
        {
            let known = self.groups.iter().position(|group| group.name == name);
            let place = known.unwrap_or_else(|| {
                self.groups.push(Group {
                    name,
                    is: None,
                    alive: HashSet::new(),
                    spans: Vec::new(),
                    members: Vec::new(),
                });
                self.groups.len() - 1
            });
            self.groups[place].members.push(job);
            self.group_of.insert(job, place);
        }
        let (Kind::Status(status), true) = (mark.kind, mark.taken) else {
            return;
        };
        if let Some((was, from)) = now.remove(job) {
            self.span(job, was, from, left);
        }
        if status != Status::Null {
            now.insert(job, (status, left));
        }
        if let Some(&group) = self.group_of.get(job) {
            self.groups[group].status(job, status, left);
        }
    }

    /// What the jobs are behind what is left out is known, and nothing of what they were in it.
    fn left_out(
        &mut self,
        left: u32,
        folded: &'a Folded,
        now: &mut BTreeMap<&'a str, (Status, u32)>,
    ) {
        for (job, (was, from)) in std::mem::take(now) {
            self.span(job, was, from, left);
            if !folded.statuses.contains_key(job)
                && let Some(&group) = self.group_of.get(job)
            {
                self.groups[group].status(job, Status::Null, left);
            }
        }
        for (job, status) in &folded.statuses {
            now.insert(job, (*status, left + FOLD));
            if let Some(&group) = self.group_of.get(&**job) {
                self.groups[group].status(job, *status, left + FOLD);
            }
        }
    }

    fn span(&mut self, job: &'a str, status: Status, from: u32, to: u32) {
        if let Some(&place) = self.place_of.get(job) {
            let word = status.name();
            self.jobs[place].1.spans.push(Span { from, to, word });
        } else if !self.place_of.contains_key(job) {
            // Seen only in what is left out: it is drawn when something more is seen of it.
            let place = self.jobs.len();
            self.place_of.insert(job, place);
            let word = status.name();
            let lane = Lane {
                marks: Vec::new(),
                spans: vec![Span { from, to, word }],
            };
            self.jobs.push((job, lane));
        }
    }

    /// The jobs whose lanes are drawn, in the order in which they were seen, and how many are not: first those of
    /// the fault, then those that share their transactions, then those that were seen last.
    fn choose(&self, fault: Option<u64>) -> (Vec<&&'a str>, usize) {
        let at_fault = |lane: &Lane<'_>| {
            let mut marks = lane.marks.iter();
            marks.any(|(_, mark)| !mark.taken && fault == Some(mark.line))
        };
        let guilty: Vec<usize> = (0..self.jobs.len())
            .filter(|&place| at_fault(&self.jobs[place].1))
            .collect();
        let groups: HashSet<usize> = guilty
            .iter()
            .filter_map(|&place| self.group_of.get(self.jobs[place].0).copied())
            .collect();
        let mut places: Vec<usize> = (0..self.jobs.len())
            .filter(|&place| !self.jobs[place].1.marks.is_empty())
            .collect();
        places.sort_by_key(|&place| {
            let (name, lane) = &self.jobs[place];
            let related = self
                .group_of
                .get(name)
                .is_some_and(|group| groups.contains(group));
            let last = lane.marks.last().map_or(0, |(left, _)| *left);
            (!guilty.contains(&place), !related, std::cmp::Reverse(last))
        });
        let left_out = places.len().saturating_sub(LANES_MAX);
        places.truncate(LANES_MAX);
        places.sort_unstable();
        let chosen = places.into_iter().map(|place| &self.jobs[place].0);
        (chosen.collect(), left_out)
    }
}

/// Writes one chart.
struct Pen<'p> {
    page: &'p mut String,
    /// What stands behind every lane.
    bands: String,
    width: u32,
    number: usize,
    fault: Option<u64>,
    begun_ns: Option<i64>,
    /// The fault has its name, which links lead to.
    named: bool,
}

impl Pen<'_> {
    fn job(&mut self, class: &str, name: &str, drawn: &Drawn<'_>) {
        if let Some(&place) = drawn.place_of.get(name) {
            let lane = &drawn.jobs[place].1;
            self.lane(class, name, &lane.spans, &lane.marks);
        }
    }

    fn lane(&mut self, class: &str, name: &str, spans: &[Span], marks: &[(u32, &Mark)]) {
        let name = escape(name);
        let _ = write!(
            self.page,
            "<div class=\"lane {class}\"><div class=\"name\" title=\"{name}\">{name}</div>\
             <div class=\"track\" style=\"width:{}px\">{}",
            self.width, self.bands
        );
        for Span { from, to, word } in spans {
            let _ = write!(
                self.page,
                "<span class=\"span {word}\" style=\"left:{from}px;width:{}px\">{word}</span>",
                (to - from).max(2)
            );
        }
        for (left, mark) in marks {
            self.mark(*left, mark);
        }
        self.page.push_str("</div></div>\n");
    }

    fn mark(&mut self, left: u32, mark: &Mark) {
        let broke = !mark.taken && self.fault == Some(mark.line);
        let (class, glyph) = match mark.kind {
            _ if broke => ("broke", "!"),
            Kind::Begins => ("", "|"),
            Kind::Command => ("command", "▾"),
            Kind::Success => ("success", "✓"),
            Kind::Refusal => ("refusal", "✗"),
            Kind::Status(_) => ("", "●"),
            Kind::Event => ("event", "◆"),
            Kind::Look => ("", "?"),
            Kind::Inside => ("", "○"),
            Kind::Quiet => ("", "…"),
        };
        let name = if broke && !self.named {
            self.named = true;
            format!(" id=\"fault-{}\"", self.number)
        } else {
            String::new()
        };
        let _ = write!(
            self.page,
            "<span class=\"mark {class}\"{name} style=\"left:{left}px\" tabindex=\"0\" role=\"note\">\
             <span aria-hidden=\"true\">{glyph}</span><span class=\"tip\">{}</span></span>",
            escape(&self.tip(mark, broke))
        );
    }

    /// All that is to be said of a mark.
    fn tip(&self, mark: &Mark, broke: bool) -> String {
        let mut tip = match (mark.line, mark.last_line) {
            (first, last) if first == last => format!("line {first}"),
            (first, last) => format!("lines {first} to {last}, {} steps", mark.steps),
        };
        if let Some(time) = self.time(mark) {
            let _ = write!(tip, ", {time}");
        }
        if let Some(job) = &mark.job {
            let _ = write!(tip, ", job {job}");
        }
        let _ = write!(tip, "\n{}", mark.text);
        if broke {
            tip.push_str("\nThis is what the trace is rejected for.");
        }
        if !mark.possible.is_empty() {
            let names: Vec<&str> = mark.possible.iter().map(|status| status.name()).collect();
            let when = if broke { "before it" } else { "after it" };
            let _ = write!(tip, "\nheld possible {when}: {}", names.join(" | "));
        }
        tip
    }

    fn time(&self, mark: &Mark) -> Option<String> {
        Some(time(mark.at_ns?.saturating_sub(self.begun_ns?)))
    }

    fn axis(&mut self, placed: &[Placed<'_>]) {
        let _ = write!(
            self.page,
            "<div class=\"axis\"><div class=\"name\">line, time</div>\
             <div class=\"track\" style=\"width:{}px\">{}",
            self.width, self.bands
        );
        let mut free = 0;
        for Placed { left, column } in placed {
            match column {
                Column::LeftOut(folded) => {
                    let _ = write!(
                        self.page,
                        "<span style=\"left:{left}px\">{} steps<br>left out</span>",
                        folded.steps
                    );
                    free = left + FOLD;
                }
                Column::Mark(mark) if *left >= free => {
                    let time = self.time(mark).unwrap_or_default();
                    let _ = write!(
                        self.page,
                        "<span style=\"left:{left}px\">{}<br>{time}</span>",
                        mark.line
                    );
                    free = left + LABELS;
                }
                Column::Mark(_) => {}
            }
        }
        self.page.push_str("</div></div>\n");
    }
}

/// A time since the beginning, for people.
fn time(ns: i64) -> String {
    let seconds = ns as f64 / 1e9;
    match ns.unsigned_abs() {
        0 => "0 s".to_owned(),
        1..1_000_000 => format!("{:+.0} µs", seconds * 1e6),
        1_000_000..1_000_000_000 => format!("{:+.1} ms", seconds * 1e3),
        1_000_000_000..60_000_000_000 => format!("{seconds:+.2} s"),
        _ => format!("{seconds:+.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_at_a_glance() {
        let read = [0, 1500, -2_500_000, 1_250_000_000, 3_600_000_000_000].map(time);
        assert_eq!(read, ["0 s", "+2 µs", "-2.5 ms", "+1.25 s", "+3600 s"]);
    }
}
