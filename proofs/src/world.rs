//! A world as text, with the rule that broke in it and the schedule under which it did: what is saved
//! when a schedule at random fails, and what `cargo xtask prove --replay FILE` reads.
//!
//! One line says one thing, in this order; lines that begin with `#` are for people.
//!
//! ```text
//! blockjob-world 1
//! rule callback-order
//! found worlds-pct-3, seed 4, world 17
//! begins early
//! job group=0 run=io,point ready=- prepare=ok cancel=silent finalize=auto dismiss=auto
//! before-start 0:pause
//! before-loop 0:resume
//! controller 0:pause 0:cancel-force
//! drawn - 9e3779b97f4a7c15
//! schedule 0*12 1*3
//! ```
//!
//! What no world at random has is not written: drivers that call back in or linger, and late groups.
//! `begins` says when the controllers do: `early`, before the jobs start, or `late`. The lines from
//! `before-start` to `drawn` may be missing, and there may be several `job`s and `controller`s.

use std::fmt::Write as _;

use crate::actor::{Act, Role};
use crate::ask::Ask;
use crate::programs::kept;
use crate::scenario::{Controller, Member, Scenario};
use crate::schedule::Schedule;

/// The first line.
const HEAD: &str = "blockjob-world 1";

/// More jobs than a world has.
const JOBS_MAX: usize = 64;

/// A world in which a rule breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// The rule.
    pub rule: String,
    /// Who found it.
    pub found: String,
    /// What is played.
    pub scenario: Scenario,
    /// Who goes on when.
    pub schedule: Schedule,
}

const ASKS: [(&str, Ask); 23] = [
    ("pause", Ask::Pause),
    ("resume", Ask::Resume),
    ("cancel", Ask::CancelSoft),
    ("cancel-force", Ask::CancelForce),
    ("complete", Ask::Complete),
    ("finalize", Ask::Finalize),
    ("dismiss", Ask::Dismiss),
    ("set-speed", Ask::SetSpeed),
    ("drain-begin", Ask::DrainBegin),
    ("drain-all", Ask::DrainAll),
    ("drain-end", Ask::DrainEnd),
    ("attach", Ask::Attach),
    ("cancel-force-sync", Ask::CancelSync),
    ("cancel-sync", Ask::CancelSoftSync),
    ("complete-sync", Ask::CompleteSync),
    ("cancel-all", Ask::CancelAll),
    ("wait-decided", Ask::WaitDecided),
    ("look", Ask::Look),
    ("hold-all", Ask::HoldAll),
    ("release-all", Ask::ReleaseAll),
    ("enter", Ask::Enter),
    ("await-ready", Ask::AwaitReady),
    ("await-paused", Ask::AwaitPaused),
];

const ACTS: [(&str, Act); 5] = [
    ("io", Act::Io),
    ("point", Act::Point),
    ("sleep", Act::Sleep),
    ("stop", Act::Stop),
    ("fail", Act::Fail),
];

/// The word of a thing, and the thing of a word.
fn word<T: Copy + PartialEq>(table: &[(&'static str, T)], thing: T) -> &'static str {
    let found = table.iter().find(|(_, other)| *other == thing);
    found.map_or("?", |(word, _)| word)
}

fn thing<T: Copy>(table: &[(&'static str, T)], word: &str) -> Result<T, String> {
    let found = table.iter().find(|(other, _)| *other == word);
    found.map(|(_, thing)| *thing).ok_or_else(|| {
        let words: Vec<&str> = table.iter().map(|(word, _)| *word).collect();
        format!("'{word}' is none of {}", words.join(", "))
    })
}

fn write_asks(text: &mut String, name: &str, asks: &[(u8, Ask)]) {
    let _ = write!(text, "{name}");
    for &(job, ask) in asks {
        let _ = write!(text, " {job}:{}", word(&ASKS, ask));
    }
    text.push('\n');
}

fn acts_of(acts: &[Act]) -> String {
    let words: Vec<&str> = acts.iter().map(|&act| word(&ACTS, act)).collect();
    words.join(",")
}

impl World {
    /// The text.
    pub fn write(&self) -> String {
        let mut text = format!(
            "{HEAD}\n# cargo xtask prove --replay FILE plays it again\nrule {}\nfound {}\nbegins {}\n",
            self.rule,
            self.found,
            if self.scenario.early { "early" } else { "late" }
        );
        let choice = |is: bool, yes: &'static str, no: &'static str| if is { yes } else { no };
        for Member { group, role } in &self.scenario.members {
            let _ = writeln!(
                text,
                "job group={group} run={} ready={} prepare={} cancel={} finalize={} dismiss={}",
                acts_of(role.acts),
                role.ready.map_or_else(|| "-".to_owned(), acts_of),
                choice(role.prepare_fails, "fails", "ok"),
                choice(role.reports_cancel, "reported", "silent"),
                choice(role.auto_finalize, "auto", "manual"),
                choice(role.auto_dismiss, "auto", "manual"),
            );
        }
        if !self.scenario.before_start.is_empty() {
            write_asks(&mut text, "before-start", &self.scenario.before_start);
        }
        if !self.scenario.before_loop.is_empty() {
            write_asks(&mut text, "before-loop", &self.scenario.before_loop);
        }
        for controller in &self.scenario.controllers {
            write_asks(&mut text, "controller", &controller.0);
        }
        if !self.schedule.numbers.is_empty() {
            let _ = writeln!(text, "drawn {}", self.schedule.write_numbers());
        }
        let _ = writeln!(text, "schedule {}", self.schedule);
        text
    }

    /// The world of a text.
    ///
    /// # Errors
    ///
    /// The first line that is wrong, its number, and what is expected there.
    pub fn read(text: &str) -> Result<World, String> {
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(place, line)| (place + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        if lines.next().map(|(_, line)| line) != Some(HEAD) {
            return Err(format!("line 1: a world begins with '{HEAD}'"));
        }
        let mut reader = Reader::default();
        for (number, line) in lines {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            reader
                .line(name, rest.trim())
                .map_err(|reason| format!("line {number}: {reason}"))?;
        }
        reader.end()
    }
}

#[derive(Default)]
struct Reader {
    rule: Option<String>,
    found: Option<String>,
    early: Option<bool>,
    scenario: Scenario,
    numbers: Option<Vec<u64>>,
    schedule: Option<Schedule>,
}

impl Reader {
    fn line(&mut self, name: &str, rest: &str) -> Result<(), String> {
        if self.schedule.is_some() {
            return Err("nothing comes after the schedule".to_owned());
        }
        let jobs = self.scenario.members.len();
        match name {
            "rule" => once(&mut self.rule, name, Ok(rest.to_owned())),
            "found" => once(&mut self.found, name, Ok(rest.to_owned())),
            "begins" => {
                let early = thing(&[("early", true), ("late", false)], rest);
                once(&mut self.early, name, early)
            }
            "job" => {
                let asked = !self.scenario.controllers.is_empty();
                if asked {
                    return Err("jobs come before controllers".to_owned());
                }
                if jobs == JOBS_MAX {
                    return Err(format!("more than {JOBS_MAX} jobs"));
                }
                let member = member(rest)?;
                let last = self.scenario.members.last().map(|last| last.group);
                let allowed = last.map_or(0..=0, |last| last..=last.saturating_add(1));
                if !allowed.contains(&member.group) {
                    return Err(format!(
                        "group={} here: groups are numbered from 0 in the order of their jobs",
                        member.group
                    ));
                }
                self.scenario.members.push(member);
                Ok(())
            }
            "before-start" => asks(rest, jobs).map(|asks| self.scenario.before_start = asks),
            "before-loop" => asks(rest, jobs).map(|asks| self.scenario.before_loop = asks),
            "controller" => {
                let controller = Controller(asks(rest, jobs)?);
                self.scenario.controllers.push(controller);
                Ok(())
            }
            "drawn" => once(&mut self.numbers, name, Schedule::read_numbers(rest)),
            "schedule" => once(&mut self.schedule, name, rest.parse()),
            _ => Err(format!(
                "'{name}' is none of rule, found, begins, job, before-start, before-loop, controller, drawn, schedule"
            )),
        }
    }

    fn end(mut self) -> Result<World, String> {
        let missing = |name: &str| format!("there is no line '{name}'");
        if self.scenario.members.is_empty() {
            return Err(missing("job"));
        }
        self.scenario.early = self.early.ok_or_else(|| missing("begins"))?;
        let mut schedule = self.schedule.ok_or_else(|| missing("schedule"))?;
        schedule.numbers = self.numbers.unwrap_or_default();
        Ok(World {
            rule: self.rule.ok_or_else(|| missing("rule"))?,
            found: self.found.ok_or_else(|| missing("found"))?,
            scenario: self.scenario,
            schedule,
        })
    }
}

fn once<T>(place: &mut Option<T>, name: &str, value: Result<T, String>) -> Result<(), String> {
    if place.is_some() {
        return Err(format!("a second line '{name}'"));
    }
    *place = Some(value?);
    Ok(())
}

fn acts(text: &str) -> Result<&'static [Act], String> {
    let acts: Vec<Act> = text
        .split(',')
        .filter(|word| !word.is_empty())
        .map(|word| thing(&ACTS, word))
        .collect::<Result<_, _>>()?;
    match acts.iter().position(|&act| act == Act::Fail) {
        Some(place) if place + 1 < acts.len() => Err("nothing comes after 'fail'".to_owned()),
        _ => Ok(kept(&acts)),
    }
}

fn asks(text: &str, jobs: usize) -> Result<Vec<(u8, Ask)>, String> {
    let ask = |word: &str| {
        let (job, ask) = word
            .split_once(':')
            .ok_or_else(|| format!("'{word}' is no ask: expected JOB:VERB, for example 0:pause"))?;
        let job = job
            .parse()
            .ok()
            .filter(|&job| usize::from(job) < jobs)
            .ok_or_else(|| format!("'{word}': no job has number '{job}'"))?;
        Ok((job, thing(&ASKS, ask)?))
    };
    text.split_whitespace().map(ask).collect()
}

fn member(text: &str) -> Result<Member, String> {
    let mut words = text.split_whitespace();
    let mut value = |name: &str| {
        let found = words.next().and_then(|word| word.split_once('='));
        match found {
            Some((other, value)) if other == name => Ok(value),
            _ => Err(format!("'{name}=' is missing, or not in its place")),
        }
    };
    let group = value("group")?;
    let group = group
        .parse()
        .map_err(|_| format!("'{group}' is no group's number"))?;
    let run = acts(value("run")?)?;
    let ready = match value("ready")? {
        "-" => None,
        ready => Some(acts(ready)?),
    };
    if ready.is_some() && run.contains(&Act::Fail) {
        return Err("a run that fails does not converge".to_owned());
    }
    let role = Role {
        acts: run,
        ready,
        prepare_fails: thing(&[("fails", true), ("ok", false)], value("prepare")?)?,
        reports_cancel: thing(&[("reported", true), ("silent", false)], value("cancel")?)?,
        auto_finalize: thing(&[("auto", true), ("manual", false)], value("finalize")?)?,
        auto_dismiss: thing(&[("auto", true), ("manual", false)], value("dismiss")?)?,
        ..Role::plain(&[])
    };
    match words.next() {
        None => Ok(Member { group, role }),
        Some(word) => Err(format!("'{word}' is too much")),
    }
}
