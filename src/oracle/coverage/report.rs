//! Coverage as sections of named items: its text, its JSON (`blockjob schema coverage`), and two of them compared.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use super::{Coverage, Item};

/// The version of the JSON.
const VERSION: u64 = 1;

/// The sections, and what each is about, for people.
const SECTIONS: [(&str, &str); 5] = [
    ("cells", "verbs by the status they met, and the answer"),
    ("edges", "changes of status"),
    ("events", "events"),
    ("texts", "error texts"),
    (
        "differences",
        "points in which profiles differ, shown by a trace that could not be of an implementation that is otherwise in this point alone",
    ),
];

/// What a set of traces shows, for people and machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this form.
    blockjob_coverage: u64,
    /// The profiles that the traces were judged by.
    pub profiles: Vec<String>,
    /// How many traces.
    pub traces: Traces,
    /// In a fixed order.
    pub sections: Vec<Section>,
    /// Against an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// How many traces of each kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traces {
    /// Accepted.
    pub accepted: u64,
    /// Rejected: what stands before the fault counts.
    pub rejected: u64,
    /// Not judged to their end.
    pub errors: u64,
}

/// Items of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// `cells`, `edges`, `events`, `texts` or `differences`.
    pub name: String,
    /// How many of the wanted items were shown.
    pub covered: u64,
    /// How many are wanted.
    pub total: u64,
    /// Every wanted item, and those that were shown beside.
    pub items: Vec<Entry>,
}

/// One item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name, one of its kind in its section.
    pub name: String,
    /// It is one of those that make the total.
    pub wanted: bool,
    /// How often it was shown.
    pub times: u64,
    /// Where first: the trace, and the line from 1.
    pub first: Option<Place>,
}

/// A line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The trace.
    pub path: String,
    /// The line, from 1.
    pub line: u64,
}

/// What changed since an earlier run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Against {
    /// The file with the earlier run.
    pub path: String,
    /// The sections in which something changed.
    pub sections: Vec<Change>,
}

/// What changed in one section, by the names of the items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The section.
    pub name: String,
    /// Shown now, and not then.
    pub gained: Vec<String>,
    /// Shown then, and not now.
    pub lost: Vec<String>,
}

impl Coverage {
    /// The report of it.
    pub fn report(&self) -> Report {
        let mut sections: Vec<Section> = SECTIONS
            .iter()
            .map(|(name, _)| Section {
                name: (*name).to_owned(),
                covered: 0,
                total: 0,
                items: Vec::new(),
            })
            .collect();
        let mut all: BTreeMap<Item, bool> = self.items.keys().map(|item| (*item, false)).collect();
        all.extend(self.wanted().into_iter().map(|item| (item, true)));
        for (item, wanted) in all {
            let tally = self.items.get(&item);
            let section = &mut sections[item.section()];
            section.total += u64::from(wanted);
            section.covered += u64::from(wanted && tally.is_some());
            section.items.push(Entry {
                name: item.name(),
                wanted,
                times: tally.map_or(0, |tally| tally.times),
                first: tally.map(|tally| Place {
                    path: tally.first.path.clone(),
                    line: tally.first.line,
                }),
            });
        }
        Report {
            blockjob_coverage: VERSION,
            profiles: self
                .profiles
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
            traces: Traces {
                accepted: self.accepted,
                rejected: self.rejected,
                errors: self.errors,
            },
            sections,
            against: None,
        }
    }
}

impl Report {
    /// Reads one back.
    ///
    /// # Errors
    /// It is no JSON of this kind: what is wrong.
    pub fn from_json(text: &str) -> Result<Report, String> {
        let report: Report = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if report.blockjob_coverage == VERSION {
            Ok(report)
        } else {
            Err(format!(
                "it is of version {}, and {VERSION} is read",
                report.blockjob_coverage
            ))
        }
    }

    /// Its JSON: one object, over several lines.
    pub fn to_json(&self) -> String {
        // Strings and numbers always serialize.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }

    /// Notes what changed since the run of `old`, which was read from `path`.
    pub fn compare(&mut self, path: String, old: &Report) {
        let shown = |report: &Report, name: &str| -> Vec<String> {
            report
                .sections
                .iter()
                .filter(|section| section.name == name)
                .flat_map(|section| &section.items)
                .filter(|entry| entry.times > 0)
                .map(|entry| entry.name.clone())
                .collect()
        };
        let mut sections = Vec::new();
        for (name, _) in SECTIONS {
            let (now, then) = (shown(self, name), shown(old, name));
            let without = |these: &[String], those: &[String]| -> Vec<String> {
                let known: std::collections::BTreeSet<&String> = those.iter().collect();
                let new = these.iter().filter(|name| !known.contains(name));
                new.cloned().collect()
            };
            let change = Change {
                name: name.to_owned(),
                gained: without(&now, &then),
                lost: without(&then, &now),
            };
            if !change.gained.is_empty() || !change.lost.is_empty() {
                sections.push(change);
            }
        }
        self.against = Some(Against { path, sections });
    }

    /// What a section is about, for people.
    pub fn about(section: &str) -> &'static str {
        SECTIONS
            .iter()
            .find(|(name, _)| *name == section)
            .map_or("", |(_, about)| about)
    }

    /// "cells 40 of 72, edges …", and what changed.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for section in &self.sections {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "{comma}{} {} of {}",
                section.name, section.covered, section.total
            );
        }
        if let Some(against) = &self.against {
            let count = |of: fn(&Change) -> &Vec<String>| -> usize {
                against.sections.iter().map(|change| of(change).len()).sum()
            };
            let _ = write!(
                text,
                "; against {}: {} more, {} no longer",
                against.path,
                count(|change| &change.gained),
                count(|change| &change.lost)
            );
        }
        text
    }

    /// "12 traces: 10 accepted, 1 rejected, 1 not judged; profiles …".
    pub fn of_what(&self) -> String {
        let Traces {
            accepted,
            rejected,
            errors,
        } = self.traces;
        let count = accepted + rejected + errors;
        let profiles = match self.profiles.as_slice() {
            [] => "none, so what reference has is listed".to_owned(),
            profiles => profiles.join(", "),
        };
        format!(
            "{count} {}: {accepted} accepted, {rejected} rejected, {errors} not judged; profiles: {profiles}",
            if count == 1 { "trace" } else { "traces" }
        )
    }
}

/// The text form.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.of_what())?;
        for section in &self.sections {
            writeln!(
                f,
                "\n{}: {} of {} ({})",
                section.name,
                section.covered,
                section.total,
                Report::about(&section.name)
            )?;
            for entry in &section.items {
                let Some(first) = &entry.first else { continue };
                writeln!(
                    f,
                    "  {:>6}  {}{}, first in {}:{}",
                    entry.times,
                    entry.name,
                    if entry.wanted { "" } else { " (extra)" },
                    first.path,
                    first.line
                )?;
            }
            for entry in section.items.iter().filter(|entry| entry.times == 0) {
                writeln!(f, "       -  {}", entry.name)?;
            }
        }
        let Some(against) = &self.against else {
            return Ok(());
        };
        writeln!(f, "\nagainst {}:", against.path)?;
        if against.sections.is_empty() {
            writeln!(f, "  the same is shown")?;
        }
        for change in &against.sections {
            for name in &change.gained {
                writeln!(f, "  more       {}: {name}", change.name)?;
            }
            for name in &change.lost {
                writeln!(f, "  no longer  {}: {name}", change.name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blockjob_model::{Status, Verb};

    fn coverage(items: &[Item]) -> Coverage {
        let mut coverage = Coverage::default();
        coverage.profiles.insert("qemu-10.0");
        for &item in items {
            let tally = super::super::Tally {
                times: 2,
                first: super::super::Witness {
                    path: "a".to_owned(),
                    line: 7,
                },
            };
            coverage.items.insert(item, tally);
        }
        coverage
    }

    const PAUSE: Item = Item::Cell(Verb::Pause, Status::Running, true);
    const EDGE: Item = Item::Edge(Status::Running, Status::Paused);

    #[test]
    fn json_reads_back_and_other_versions_do_not() {
        let report = coverage(&[PAUSE, Item::Text(None)]).report();
        let json = report.to_json();
        assert_eq!(Report::from_json(&json), Ok(report));
        let newer = json.replacen(": 1", ": 2", 1);
        assert!(Report::from_json(&newer).unwrap_err().contains("version 2"));
        assert!(Report::from_json("{}").unwrap_err().contains("missing"));
        assert!(Report::from_json("[").is_err());
    }

    #[test]
    fn extras_are_listed_and_make_no_total() {
        let with = coverage(&[PAUSE, Item::Text(None)]).report();
        let without = coverage(&[]).report();
        for (with, without) in with.sections.iter().zip(&without.sections) {
            assert_eq!(with.total, without.total);
        }
        assert_eq!(with.sections[0].covered, 1);
        assert_eq!(with.sections[3].covered, 0);
        assert!(with.to_string().contains("any other text (extra)"));
    }

    #[test]
    fn two_runs_differ_in_what_only_one_shows() {
        let old = coverage(&[PAUSE]).report();
        let mut new = coverage(&[EDGE]).report();
        new.compare("old.json".to_owned(), &old);
        let against = new.against.clone().unwrap();
        assert_eq!(against.sections[0].lost, ["pause in running: permitted"]);
        assert_eq!(against.sections[1].gained, ["running to paused"]);
        assert!(new.summary().ends_with("1 more, 1 no longer"));
        let mut same = coverage(&[PAUSE]).report();
        same.compare("old.json".to_owned(), &old);
        assert!(same.to_string().ends_with("the same is shown\n"));
    }

    #[test]
    fn names_are_one_of_their_kind() {
        for section in coverage(&[]).report().sections {
            let mut names: Vec<_> = section.items.iter().map(|entry| &entry.name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{}", section.name);
            assert!(all > 5);
        }
    }
}
