//! Two implementations, one program: where the second did otherwise.
//!
//! Much may differ between two legal runs: how far a job came, whether a request met it before its end. Compared is
//! what the specification leaves no choice in: the answer to a request that found its job at rest, in the same status
//! with both; and the way of a job of which every request was answered so. Pauses of the implementation's own and the
//! texts of drivers are left out, and what the profiles of the two are said to differ in.

use std::io;

use blockjob_model::{Profile, Refusal, Status, Verb};

use super::conversation::{Answer, Ended, Life};
use super::divergence::{Divergence, Kind};
use super::program::Program;
use super::station::{Outcome, Station};
use crate::oracle::judge::refusal::{self, Meaning};

/// Runs `program`, which went well with the one as `outcome` says, with `other` too, who is judged by its own rules:
/// what must not be, and by whose rules.
///
/// # Errors
/// There is no peer.
pub fn run(
    outcome: &Outcome,
    other: &mut Station,
    program: &Program,
) -> io::Result<Option<(Divergence, &'static Profile)>> {
    let theirs = other.play(&Program {
        profile: None,
        ..program.clone()
    })?;
    if let Some(found) = theirs.divergence {
        // What is due with the one need not be with the other, which may have been further.
        return Ok((found.kind != Kind::Stuck).then_some((found, theirs.profile)));
    }
    let difference = differ(
        (&outcome.ended, outcome.profile),
        (&theirs.ended, theirs.profile),
    );
    Ok(difference.map(|difference| {
        let mut found = Divergence::new(Kind::Differs, difference.text, None, &theirs.ended);
        found.about = Some(difference.about);
        (found, outcome.profile)
    }))
}

/// Something that the two did otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In what, wherever in a program it shows: the same again is the same difference.
    pub about: String,
    /// In a sentence.
    pub text: String,
}

/// The first thing that the two did otherwise.
pub fn differ(
    one: (&Ended, &'static Profile),
    other: (&Ended, &'static Profile),
) -> Option<Difference> {
    let mut unlike: Vec<&str> = Vec::new();
    let of_steps = |ended: &'_ Ended| -> Vec<Answer> {
        ended
            .answers
            .iter()
            .filter(|answer| answer.step.is_some())
            .cloned()
            .collect()
    };
    let (ours, theirs) = (of_steps(one.0), of_steps(other.0));
    for mine in &ours {
        let Some(theirs) = theirs.iter().find(|theirs| theirs.step == mine.step) else {
            continue;
        };
        let same_place = mine.calm
            && theirs.calm
            && match (&mine.job, &theirs.job) {
                (Some((_, before)), Some((_, then))) => before == then,
                (None, None) => true,
                _ => false,
            };
        if let Some((job, _)) = &mine.job
            && (!same_place || is_named(mine, theirs, one.1, other.1))
        {
            unlike.push(job);
            continue;
        }
        if same_place && !is_same(mine, theirs) {
            let place = mine.step.map_or(0, |step| step + 1);
            let status = |status: Option<Status>| status.map_or("not there", Status::name);
            let of_job = mine.job.as_ref();
            let answers = format!("the one answers {}, the other {}", said(mine), said(theirs));
            return Some(Difference {
                about: format!(
                    "{} {}: {answers}",
                    mine.command,
                    of_job.map_or("", |(_, found)| status(*found)),
                ),
                text: format!(
                    "step {place}, {}{}: {answers}",
                    mine.command,
                    of_job.map_or_else(String::new, |(job, found)| {
                        format!(" of job '{job}' ({})", status(*found))
                    }),
                ),
            });
        }
    }
    for (mine, theirs) in one.0.lives.iter().zip(&other.0.lives) {
        if mine.id != theirs.id {
            break;
        }
        let asked = |answers: &[Answer]| {
            answers
                .iter()
                .filter(|answer| answer.job.as_ref().is_some_and(|(job, _)| *job == mine.id))
                .count()
        };
        // What cleaning up did to it depends on how far it came; jobs of a group end together.
        let cleaned = |ended: &Ended| {
            ended
                .answers
                .iter()
                .any(|answer| answer.step.is_none() && answer.command == "job-cancel")
        };
        if unlike.is_empty()
            && asked(&ours) == asked(&theirs_of(&theirs.id, other.0))
            && !cleaned(one.0)
            && !cleaned(other.0)
            && way(mine) != way(theirs)
        {
            let names = |way: &[Status]| {
                let names: Vec<&str> = way.iter().map(|status| status.name()).collect();
                names.join(", ")
            };
            let (ours, theirs) = (way(mine), way(theirs));
            let parting = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
            let there = |way: &[Status]| {
                way.get(parting)
                    .map_or("nothing more", |status| status.name())
            };
            return Some(Difference {
                about: format!("the way: {}, {}", there(&ours), there(&theirs)),
                text: format!(
                    "job '{}': with the one it is {}, with the other {}",
                    mine.id,
                    names(&ours),
                    names(&theirs)
                ),
            });
        }
    }
    None
}

fn theirs_of(job: &str, ended: &Ended) -> Vec<Answer> {
    ended
        .answers
        .iter()
        .filter(|answer| answer.step.is_some())
        .filter(|answer| answer.job.as_ref().is_some_and(|(id, _)| id == job))
        .cloned()
        .collect()
}

/// A job's statuses without its pauses.
fn way(life: &Life) -> Vec<Status> {
    let mut way: Vec<Status> = Vec::new();
    for status in &life.statuses {
        if !status.is_parked() && way.last() != Some(status) {
            way.push(*status);
        }
    }
    way
}

fn said(answer: &Answer) -> String {
    match &answer.error {
        None => "that it is done".to_owned(),
        Some((class, text)) => format!("{class}: {text}"),
    }
}

fn is_same(one: &Answer, other: &Answer) -> bool {
    match (&one.error, &other.error) {
        (None, None) => true,
        (Some((class, text)), Some((their_class, their_text))) => {
            match (refusal::read(text), refusal::read(their_text)) {
                (Meaning::Refusal(mine, _), Meaning::Refusal(theirs, _)) => {
                    mine == theirs && class == their_class
                }
                // The words of drivers and of parsers are their own.
                _ => true,
            }
        }
        _ => false,
    }
}

/// It is a point in which the two profiles are said to differ.
fn is_named(one: &Answer, other: &Answer, mine: &Profile, theirs: &Profile) -> bool {
    let either = |wanted: fn(&Refusal) -> bool| {
        [one, other].into_iter().any(|answer| {
            answer.error.as_ref().is_some_and(|(_, text)| {
                matches!(refusal::read(text), Meaning::Refusal(refusal, _) if wanted(&refusal))
            })
        })
    };
    let ended_differently = mine.end_clears_pauses != theirs.end_clears_pauses
        || mine.ended_is_waiting != theirs.ended_is_waiting;
    let late_pause = ended_differently
        && either(|refusal| {
            matches!(
                refusal,
                Refusal::NotPaused
                    | Refusal::CurrentlyPaused
                    | Refusal::Verb {
                        verb: Verb::Resume,
                        ..
                    }
            )
        });
    let prepare = mine.finalize_reports_prepare != theirs.finalize_reports_prepare
        && (one.command.ends_with("job-finalize"));
    let latched = mine.complete_is_latched != theirs.complete_is_latched
        && one.command.ends_with("job-complete");
    late_pause || prepare || latched
}
