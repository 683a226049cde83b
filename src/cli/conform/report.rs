//! What `blockjob conform` says: for people, for machines, for CI, and the files of what was found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use blockjob::conform::campaign::{Campaign, Found, Report};
use blockjob::conform::cover::{STATUSES, edges, verbs, why_missing};
use blockjob::conform::divergence::{Divergence, Known};
use blockjob::conform::program::Program;
use blockjob::conform::station::Outcome;
use serde_json::{Map, Value, json};

use super::{Failure, Output, printable, sentence, shown};
use crate::cli::output::printable_lines;

/// Everything that is to be said of a campaign.
pub struct Account<'a> {
    pub campaign: &'a Campaign,
    pub report: &'a Report,
    /// Where what was found was written, by the number of its program.
    pub saved: &'a BTreeMap<u64, PathBuf>,
}

/// Writes a program that shows something, and its recording beside it.
pub fn save(folder: &Path, seed: u64, found: &Found) -> Result<PathBuf, Failure> {
    let name = format!("{}-{seed}-{}", found.divergence.kind, found.number);
    let path = folder.join(format!("{name}.json"));
    let mut program = found.program.clone();
    program.about.clone_from(&found.divergence.message);
    let mut members = Map::new();
    members.insert("found".to_owned(), facts(&found.divergence));
    members.insert("seed".to_owned(), json!(seed));
    members.insert("program".to_owned(), json!(found.number));
    let mut recording = found.divergence.lines.join("\n");
    recording.push('\n');
    let files = [
        (path.clone(), program.text(&members)),
        (folder.join(format!("{name}.jsonl")), recording),
    ];
    for (path, text) in files {
        std::fs::write(&path, text).map_err(|error| {
            Failure::new(format!(
                "cannot write {}: {}",
                shown(&path),
                sentence(&error)
            ))
        })?;
    }
    Ok(path)
}

/// A divergence, for machines.
fn facts(divergence: &Divergence) -> Value {
    let mut facts = json!({
        "kind": divergence.kind.name(),
        "message": divergence.message,
    });
    if let Some(rule) = divergence.rule {
        facts["rule"] = json!(rule);
    }
    if let Some(line) = divergence.line {
        facts["line"] = json!(line);
    }
    if let Some(command) = divergence.command() {
        facts["command"] = json!(command);
    }
    if let Some(words) = &divergence.last_words {
        facts["last_words"] = json!({"status": words.status, "stderr": words.stderr});
    }
    facts
}

impl Account<'_> {
    /// Tells all of it.
    pub fn tell(&self, machines: bool, output: &mut Output) {
        for found in &self.report.found {
            if machines {
                output.json(&self.found_in_json(found));
            } else if found.known.is_none() {
                self.found_in_text(found, output);
            }
        }
        if machines {
            output.json(&self.summary_in_json());
        } else {
            self.summary_in_text(output);
        }
    }

    fn found_in_json(&self, found: &Found) -> Value {
        let mut object = facts(&found.divergence);
        object["program"] = json!(found.number);
        object["outcome"] = json!(if found.known.is_some() {
            "known"
        } else {
            "divergence"
        });
        object["commands"] = json!(found.program.commands());
        if let Some(known) = &found.known {
            object["known"] = json!(known);
        }
        if let Some(again) = found.again {
            object["reproduced"] = json!(again);
        }
        if let Some(path) = self.saved.get(&found.number) {
            object["saved"] = json!(path.to_string_lossy());
        }
        object
    }

    fn found_in_text(&self, found: &Found, output: &mut Output) {
        let word = output.bad("divergence");
        output.line(format!(
            "{word} in program {}, {} commands{}",
            found.number,
            found.program.commands(),
            match found.again {
                Some(true) => " left of it, which show it again",
                Some(false) => ", not shown again when it was run again: a race",
                None => "",
            }
        ));
        for line in printable_lines(&found.divergence.text).lines() {
            output.line(format!("  {line}"));
        }
        match self.saved.get(&found.number) {
            Some(path) => output.line(format!("  saved: {}", shown(path))),
            None => output.line("  saved: no; --save DIR keeps what is found"),
        }
    }

    fn summary_in_json(&self) -> Value {
        let report = self.report;
        let profile = report.peer.profile;
        let (cells, cells_all) = report.cover.cells(profile);
        let (moves, moves_all) = report.cover.edges();
        let missing: Vec<Value> = report
            .cover
            .cells_missing(profile)
            .into_iter()
            .map(|(verb, status)| {
                json!({"verb": verb.name(), "status": status.name(), "reason": why_missing(verb, status)})
            })
            .collect();
        let edges_missing: Vec<Value> = report
            .cover
            .edges_missing()
            .into_iter()
            .map(|(from, to)| json!({"from": from.name(), "to": to.name()}))
            .collect();
        let known: Vec<Value> = report
            .known
            .iter()
            .map(|(id, times)| {
                let known = self.campaign.known.iter().find(|known| known.id == *id);
                json!({"id": id, "times": times,
                    "reason": known.map(|known| known.reason.as_str()),
                    "reference": known.map(|known| known.reference.as_str())})
            })
            .collect();
        let seconds = report.took.as_secs_f64();
        let mut summary = json!({
            "peer": report.peer.name,
            "profile": self.campaign.profile.unwrap_or(profile).name,
            "seed": self.campaign.seed,
            "programs": report.programs,
            "commands": report.counts.0,
            "events": report.counts.1,
            "seconds": seconds,
            "programs_per_s": report.programs as f64 / seconds.max(1e-9),
            "median_ms": report.median.as_secs_f64() * 1e3,
            "peers": self.campaign.peers,
            "peers_started": report.started,
            "cells": {"seen": cells, "of": cells_all, "missing": missing},
            "edges": {"seen": moves, "of": moves_all, "missing": edges_missing},
            "known": known,
            "divergences": self.divergences(),
            "interrupted": report.interrupted,
        });
        if let Some(other) = &report.against {
            summary["against"] = json!({"peer": other.name, "profile": other.profile.name, "compared": report.compared});
        }
        summary
    }

    fn divergences(&self) -> usize {
        let unknown = |found: &&Found| found.known.is_none();
        self.report.found.iter().filter(unknown).count()
    }

    fn summary_in_text(&self, output: &mut Output) {
        let report = self.report;
        let profile = report.peer.profile;
        let seconds = report.took.as_secs_f64();
        output.line(format!(
            "{} {}: {}, profile {}, seed {}",
            output.label("peer"),
            printable(&self.campaign.source.to_string()),
            printable(&report.peer.name),
            self.campaign.profile.unwrap_or(profile).name,
            self.campaign.seed
        ));
        if let Some(other) = &report.against {
            output.line(format!(
                "{} {}, profile {}: {} programs compared",
                output.label("against"),
                printable(&other.name),
                other.profile.name,
                report.compared
            ));
        }
        output.line(format!(
            "{} programs, {} commands, {} events in {seconds:.1} s: {:.0} programs/s on {} peers at once, a program \
             {:.0} ms in the middle of all",
            report.programs,
            report.counts.0,
            report.counts.1,
            report.programs as f64 / seconds.max(1e-9),
            self.campaign.peers,
            report.median.as_secs_f64() * 1e3
        ));
        let (cells, all) = report.cover.cells(profile);
        output.line("");
        output.line(format!(
            "{} {cells} of {all} cells seen (how often; + the table permits it, - it refuses, . not seen)",
            output.label("verbs"),
        ));
        let mut head = format!("  {:10}", "");
        for status in STATUSES {
            let _ = write!(head, "{:>11}", status.name());
        }
        output.line(head);
        for verb in verbs(profile) {
            let mut row = format!("  {:10}", verb.name());
            for status in STATUSES {
                let times = report.cover.times(verb, status);
                let cell = match (times, profile.permits(verb, status)) {
                    (0, _) => ".".to_owned(),
                    (times, true) => format!("{times}+"),
                    (times, false) => format!("{times}-"),
                };
                let _ = write!(row, "{cell:>11}");
            }
            output.line(row);
        }
        for (verb, status) in report.cover.cells_missing(profile) {
            output.line(format!(
                "  not seen: {verb} in {status}: {}",
                why_missing(verb, status)
                    .unwrap_or("it did not come up; more programs may reach it")
            ));
        }
        let (moves, all) = report.cover.edges();
        output.line(format!(
            "{} {moves} of {all} moves seen",
            output.label("transitions")
        ));
        let mut row = String::new();
        for (from, to) in edges() {
            let times = report.cover.moves(from, to);
            let cell = format!("{from} to {to} {times}");
            if row.len() + cell.len() > 90 {
                output.line(format!("  {row}"));
                row.clear();
            }
            if !row.is_empty() {
                row.push_str(", ");
            }
            row.push_str(&cell);
        }
        output.line(format!("  {row}"));
        for (from, to) in report.cover.edges_missing() {
            output.line(format!(
                "  not seen: {from} to {to}: it did not come up; more programs may reach it"
            ));
        }
        output.line("");
        for (id, times) in &report.known {
            output.line(format!("{} {times} × {id}", output.label("known")));
            if let Some(known) = self.campaign.known.iter().find(|known| known.id == *id) {
                output.line(format!("  {}", printable(&known.reason)));
                output.line(format!("  see {}", printable(&known.reference)));
            }
        }
        let divergences = self.divergences();
        let words = match divergences {
            0 => output.good("no divergence that is not known"),
            1 => output.bad("1 divergence"),
            many => output.bad(&format!("{many} divergences")),
        };
        output.line(words);
    }

    /// Writes it for CI: a case for each divergence, and one for all that went well.
    pub fn junit(&self, path: &Path) -> Result<(), Failure> {
        let report = self.report;
        let well = report.programs - report.found.len() as u64;
        let mut cases = vec![Case {
            name: format!(
                "{well} programs without a divergence, seed {}",
                self.campaign.seed
            ),
            seconds: report.took.as_secs_f64(),
            failure: None,
            skipped: None,
        }];
        cases.extend(report.found.iter().map(|found| Case {
            name: format!("program {}", found.number),
            seconds: 0.0,
            failure: found.known.is_none().then(|| failure(&found.divergence)),
            skipped: found.known.as_ref().map(|id| format!("known: {id}")),
        }));
        junit(path, &cases)
    }
}

fn failure(divergence: &Divergence) -> (String, String) {
    (
        format!("{}: {}", divergence.kind, divergence.message),
        divergence.text.clone(),
    )
}

/// Tells how a program went that was run again.
pub fn replayed(
    path: &Path,
    program: &Program,
    outcome: &Outcome,
    known: Option<&Known>,
    machines: bool,
    output: &mut Output,
) {
    let word = match (&outcome.divergence, known) {
        (None, _) => "accept",
        (Some(_), Some(_)) => "known",
        (Some(_), None) => "divergence",
    };
    if machines {
        let mut object = outcome.divergence.as_ref().map_or_else(|| json!({}), facts);
        object["path"] = json!(path.to_string_lossy());
        object["outcome"] = json!(word);
        object["commands"] = json!(program.commands());
        object["profile"] = json!(outcome.profile.name);
        if let Some(known) = known {
            object["known"] = json!(known.id);
        }
        output.json(&object);
        return;
    }
    let painted = if word == "divergence" {
        output.bad(word)
    } else {
        word.to_owned()
    };
    output.line(format!(
        "{painted} {} commands={} events={} profile={}",
        shown(path),
        outcome.ended.counts.0,
        outcome.ended.counts.1,
        outcome.profile.name
    ));
    if let Some(divergence) = &outcome.divergence {
        for line in printable_lines(&divergence.text).lines() {
            output.line(format!("  {line}"));
        }
    }
    if let Some(known) = known {
        output.line(format!(
            "  known as {}: {}",
            known.id,
            printable(&known.reason)
        ));
        output.line(format!("  see {}", printable(&known.reference)));
    }
}

/// The same for CI.
pub fn replayed_junit(
    path: &Path,
    results: &[(&Path, Program, Outcome, Option<&Known>)],
) -> Result<(), Failure> {
    let cases: Vec<Case> = results
        .iter()
        .map(|(program, _, outcome, known)| Case {
            name: program.to_string_lossy().into_owned(),
            seconds: 0.0,
            failure: outcome
                .divergence
                .as_ref()
                .filter(|_| known.is_none())
                .map(failure),
            skipped: known.map(|known| format!("known: {}", known.id)),
        })
        .collect();
    junit(path, &cases)
}

struct Case {
    name: String,
    seconds: f64,
    failure: Option<(String, String)>,
    skipped: Option<String>,
}

fn junit(path: &Path, cases: &[Case]) -> Result<(), Failure> {
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    let skipped = cases.iter().filter(|case| case.skipped.is_some()).count();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"blockjob conform\" tests=\"{}\" \
         failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">\n",
        cases.len()
    );
    for case in cases {
        let _ = write!(
            xml,
            "<testcase classname=\"blockjob.conform\" name=\"{}\" time=\"{:.3}\">",
            escaped(&case.name),
            case.seconds
        );
        if let Some((message, text)) = &case.failure {
            let _ = write!(
                xml,
                "<failure message=\"{}\">{}</failure>",
                escaped(message),
                escaped(text)
            );
        }
        if let Some(why) = &case.skipped {
            let _ = write!(xml, "<skipped message=\"{}\"/>", escaped(why));
        }
        xml.push_str("</testcase>\n");
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    std::fs::write(path, xml).map_err(|error| {
        Failure::new(format!(
            "cannot write {}: {}",
            shown(path),
            sentence(&error)
        ))
    })
}

/// As text of XML 1.0, which has no room for control characters.
fn escaped(text: &str) -> String {
    let mut fit = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => fit.push_str("&amp;"),
            '<' => fit.push_str("&lt;"),
            '>' => fit.push_str("&gt;"),
            '"' => fit.push_str("&quot;"),
            '\n' | '\t' => fit.push(character),
            '\u{fffe}' | '\u{ffff}' => {}
            other if other.is_control() => {}
            other => fit.push(other),
        }
    }
    fit
}
