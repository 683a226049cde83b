//! QEMU's trace log, judged: every edge by the table, every verb by the status it met, every result by
//! the status it goes with.
//!
//! The log is written where the job layer decides, under its lock; so a job's lines follow on each other
//! without a gap, and each says which status it found. Jobs are known by their addresses, which a later
//! job may have again. Where a line does not follow on the last of its job, the events were switched off
//! in between (`trace-event-set-state`): that is told, and what is known begins anew.

use std::collections::HashMap;

use blockjob_model::rule::Rule;
use blockjob_model::{Profile, Refusal, Status, Verb, rule};

use super::refusal::{self, Meaning};
use crate::oracle::reader::qemu_log::{Entry, Said, named};
use crate::oracle::verdict::Fault;
use crate::oracle::watch::Belief;

/// A job at an address.
struct Job {
    /// Its id, once a command named it.
    id: Option<String>,
    /// The status it has, and in which line it got it; `None` behind a damaged line.
    status: Option<(Status, u64)>,
    /// The line in which its run ended, and its result.
    ended: Option<(u64, i64)>,
}

/// The command that the main loop is at.
struct Command {
    line: u64,
    name: String,
    id: Option<String>,
    /// What the table said of its verb, and in which line.
    looked_up: Option<(bool, u64)>,
}

#[derive(Default)]
struct Process {
    jobs: HashMap<String, Job>,
    command: Option<Command>,
}

/// A trace log, judged by every profile that may fit.
pub struct Judge {
    processes: HashMap<Option<u64>, Process>,
    fits: Vec<&'static Profile>,
    /// The profile that was contradicted last.
    furthest: &'static Profile,
    events: u64,
    jobs: u64,
    damaged: u64,
    gaps: u64,
    first_gap: u64,
}

/// A log leaves nothing open: each line says which status it found.
impl Belief for Judge {
    fn profile(&self) -> &'static Profile {
        self.profile()
    }

    fn statuses(&self, job: &str) -> Vec<Status> {
        self.processes
            .values()
            .filter_map(|process| process.jobs.get(job)?.status)
            .map(|(status, _)| status)
            .collect()
    }
}

impl Judge {
    /// A log of an implementation of `profile`, or of whichever fits. `None`: there is no log of the
    /// jobs of that profile.
    pub fn new(profile: Option<&'static Profile>) -> Option<Judge> {
        let fits: Vec<&'static Profile> = match profile {
            Some(profile) => vec![profile],
            None => Profile::ALL
                .into_iter()
                .filter(|profile| profile.since.is_some())
                .collect(),
        };
        // Before QEMU 2.12 there was nothing to write down.
        let fits: Vec<_> = fits
            .into_iter()
            .filter(|profile| profile.verb_table)
            .collect();
        Some(Judge {
            processes: HashMap::new(),
            furthest: fits.first()?,
            fits,
            events: 0,
            jobs: 0,
            damaged: 0,
            gaps: 0,
            first_gap: 0,
        })
    }

    /// The profiles that fit, the newest first.
    pub fn fits(&self) -> &[&'static Profile] {
        &self.fits
    }

    /// The profile that fits, or the one that went furthest.
    pub fn profile(&self) -> &'static Profile {
        self.fits.first().copied().unwrap_or(self.furthest)
    }

    /// Lines judged.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// Jobs so far.
    pub const fn jobs(&self) -> u64 {
        self.jobs
    }

    /// Lines that begin as one of these and go on as none.
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// How often lines are missing, and the first line that shows it.
    pub const fn gaps(&self) -> (u64, u64) {
        (self.gaps, self.first_gap)
    }

    /// Lines of a process are missing before this one: nothing is known any more of what it was at.
    fn gap(&mut self, entry: &Entry<'_>) {
        self.gaps += 1;
        if self.gaps == 1 {
            self.first_gap = entry.line;
        }
        *self.process(entry) = Process::default();
    }

    /// The status that a line says it found is the one the job has, unless lines are missing.
    fn found(&mut self, entry: &Entry<'_>, address: &str, found: Status) {
        let known = self.process(entry).jobs.get(address);
        let status = known.and_then(|job| job.status);
        if status.is_some_and(|(status, _)| status != found) {
            self.gap(entry);
        }
    }

    /// Takes the next line.
    ///
    /// # Errors
    /// It contradicts the specification, whatever the profile. What comes next is held against what it says.
    pub fn take(&mut self, entry: &Entry<'_>) -> Result<(), Fault> {
        let judged = self.judge(entry);
        if judged.is_err() {
            self.resume(entry);
        }
        judged
    }

    /// Goes on behind a fault: each line says which status it found, so what it says is taken as said.
    fn resume(&mut self, entry: &Entry<'_>) {
        if self.fits.is_empty() {
            self.fits.push(self.furthest);
        }
        let line = entry.line;
        match entry.said {
            Said::Transition { job, to, .. } => {
                let process = self.process(entry);
                match Status::from_name(to) {
                    Some(Status::Null) | None => {
                        process.jobs.remove(job);
                    }
                    Some(to) => {
                        let known = process.jobs.entry(job.to_owned()).or_insert(Job {
                            id: None,
                            status: None,
                            ended: None,
                        });
                        known.status = Some((to, line));
                        known.ended = None;
                    }
                }
            }
            Said::Completed { job, result } => {
                if let Some(known) = self.process(entry).jobs.get_mut(job) {
                    known.ended = Some((line, result));
                }
            }
            _ => {}
        }
    }

    fn judge(&mut self, entry: &Entry<'_>) -> Result<(), Fault> {
        let line = entry.line;
        match entry.said {
            Said::Transition {
                job,
                result,
                allowed,
                from,
                to,
                block,
            } => {
                self.events += 1;
                self.named_as(line, block)?;
                let from = status(line, job, from)?;
                let to = status(line, job, to)?;
                self.transition(entry, job, result, allowed, (from, to))
            }
            Said::Verb {
                job,
                status: found,
                verb,
                allowed,
                block,
            } => {
                self.events += 1;
                self.named_as(line, block)?;
                let found = status(line, job, found)?;
                let Some(verb) = Verb::from_name(verb) else {
                    return Err(fault(
                        line,
                        job,
                        None,
                        rule!("log-shape"),
                        "this is none of the verbs",
                        &format!("{verb} is looked up"),
                    ));
                };
                self.verb(entry, job, found, verb, allowed)
            }
            Said::Completed { job, result } => {
                self.events += 1;
                self.completed(entry, job, result)
            }
            Said::Enter { command, arguments } => {
                self.process(entry).command = Some(Command {
                    line,
                    name: command.replace('_', "-"),
                    id: named(arguments),
                    looked_up: None,
                });
                Ok(())
            }
            Said::For { job } => {
                let process = self.process(entry);
                let id = process
                    .command
                    .as_mut()
                    .and_then(|command| command.id.take());
                if let (Some(job), Some(id)) = (process.jobs.get_mut(job), id) {
                    job.id = Some(id);
                }
                Ok(())
            }
            Said::Exit {
                command,
                answer,
                well,
            } => self.exit(entry, command, answer, well),
            Said::Damaged => {
                self.damaged += 1;
                // It may have been about any of them.
                for process in self.processes.values_mut() {
                    process.command = None;
                    for job in process.jobs.values_mut() {
                        job.status = None;
                        job.ended = None;
                    }
                }
                Ok(())
            }
        }
    }

    fn process(&mut self, entry: &Entry<'_>) -> &mut Process {
        self.processes.entry(entry.process).or_default()
    }

    /// The events were called `block_job_…` before QEMU 3.0, and `job_…` since.
    fn named_as(&mut self, line: u64, block: bool) -> Result<(), Fault> {
        self.keep(
            |profile| profile.status_events != block,
            |profile| {
                let calls = if profile.status_events {
                    "job_…"
                } else {
                    "block_job_…"
                };
                Fault::new(
                    line,
                    rule!("event-of-another-version"),
                    "",
                    &format!(
                        "{} is judged, whose job layer calls its trace events {calls}",
                        profile.name
                    ),
                    "this one is called otherwise",
                )
            },
        )
    }

    /// Lets go of the profiles that do not agree.
    fn keep(
        &mut self,
        agrees: impl Fn(&Profile) -> bool,
        fault: impl FnOnce(&Profile) -> Fault,
    ) -> Result<(), Fault> {
        let first = self.fits[0];
        let all = self.fits.len();
        self.fits.retain(|profile| agrees(profile));
        if self.fits.len() < all && self.fits.is_empty() {
            self.furthest = first;
            return Err(fault(first));
        }
        Ok(())
    }

    fn transition(
        &mut self,
        entry: &Entry<'_>,
        address: &str,
        result: i64,
        allowed: bool,
        (from, to): (Status, Status),
    ) -> Result<(), Fault> {
        let line = entry.line;
        self.found(entry, address, from);
        let process = self.processes.entry(entry.process).or_default();
        let known = process.jobs.get(address);
        let id = known.and_then(|job| job.id.as_deref());
        let says = if allowed { "allowed" } else { "disallowed" };
        if from.may_become(to) != allowed {
            return Err(fault(
                line,
                address,
                id,
                rule!("table-contradicted"),
                &format!(
                    "the table {} {from} to {to}",
                    if from.may_become(to) {
                        "allows"
                    } else {
                        "does not allow"
                    }
                ),
                &format!("the log says {says}"),
            ));
        }
        if !allowed {
            let mut fault = fault(
                line,
                address,
                id,
                rule!("status-transition"),
                &format!("the job is {from}, from where {to} is not in the table"),
                "that is attempted",
            );
            fault.allowed = Status::ALL
                .into_iter()
                .filter(|&to| from.may_become(to))
                .map(|to| to.name().to_owned())
                .collect();
            return Err(fault);
        }
        let ended = known.and_then(|job| job.ended);
        results(line, address, id, result, ended, (from, to))?;
        if to == Status::Null {
            process.jobs.remove(address);
            return Ok(());
        }
        if let Some(job) = process.jobs.get_mut(address) {
            job.status = Some((to, line));
        } else {
            self.jobs += 1;
            process.jobs.insert(
                address.to_owned(),
                Job {
                    id: None,
                    status: Some((to, line)),
                    ended: None,
                },
            );
        }
        Ok(())
    }

    fn verb(
        &mut self,
        entry: &Entry<'_>,
        address: &str,
        status: Status,
        verb: Verb,
        allowed: bool,
    ) -> Result<(), Fault> {
        let line = entry.line;
        self.found(entry, address, status);
        let process = self.processes.entry(entry.process).or_default();
        let known = process.jobs.get(address);
        let id = known.and_then(|job| job.id.clone());
        if let Some(command) = &mut process.command {
            command.looked_up = Some((allowed, line));
        }
        self.keep(
            |profile| profile.permits(verb, status) == allowed,
            |profile| {
                fault(
                    line,
                    address,
                    id.as_deref(),
                    rule!("verb-table-contradicted"),
                    &format!(
                        "{} {} {verb} of a job that is {status}",
                        profile.name,
                        if allowed {
                            "does not permit"
                        } else {
                            "permits"
                        }
                    ),
                    if allowed {
                        "the log says allowed"
                    } else {
                        "the log says prohibited"
                    },
                )
            },
        )
    }

    fn completed(&mut self, entry: &Entry<'_>, address: &str, result: i64) -> Result<(), Fault> {
        let line = entry.line;
        let Some(job) = self.process(entry).jobs.get_mut(address) else {
            return Ok(());
        };
        // A run that fails makes its job abort and is written down in one go: nothing goes missing between.
        let fits = match job.status {
            None => true,
            Some((Status::Aborting, _)) => result != 0,
            Some((Status::Running | Status::Ready, _)) => result == 0,
            // It went on, or was gone and another came to its place.
            Some(_) => {
                self.gap(entry);
                return Ok(());
            }
        };
        if job.ended.is_some() {
            self.gap(entry);
            return Ok(());
        }
        if let (false, Some((status, since))) = (fits, job.status) {
            return Err(fault(
                line,
                address,
                job.id.as_deref(),
                rule!("run-end"),
                &format!("the job is {status} since line {since}"),
                &format!("its run ends with {result}"),
            ));
        }
        job.ended = Some((line, result));
        Ok(())
    }

    fn exit(
        &mut self,
        entry: &Entry<'_>,
        name: &str,
        answer: &str,
        well: bool,
    ) -> Result<(), Fault> {
        let Some(command) = self.process(entry).command.take() else {
            return Ok(());
        };
        let name = name.replace('_', "-");
        let Some((allowed, line)) = command.looked_up.filter(|_| command.name == name) else {
            return Ok(());
        };
        let refused = matches!(
            refusal::read(answer),
            Meaning::Refusal(Refusal::Verb { .. }, _)
        );
        let (because, but) = match (allowed, well) {
            (false, true) => ("prohibited", "it succeeded".to_owned()),
            (true, false) if refused => ("allowed", format!("the answer was: {answer}")),
            _ => return Ok(()),
        };
        Err(Fault::new(
            entry.line,
            rule!("verb-outcome"),
            &format!("{name} of line {}", command.line),
            &format!("the table said {because} in line {line}"),
            &but,
        )
        .of(command.id.as_deref()))
    }
}

/// The result that a job has goes with the status it gets.
fn results(
    line: u64,
    address: &str,
    id: Option<&str>,
    result: i64,
    ended: Option<(u64, i64)>,
    (from, to): (Status, Status),
) -> Result<(), Fault> {
    let (fails, because) = match (from, to) {
        (_, Status::Aborting) | (Status::Aborting, _) => {
            (true, "a job aborts with the error that made it")
        }
        // Behind it nothing is decided any more, and what it was before is not known here.
        (Status::Concluded, _) => return Ok(()),
        (_, Status::Waiting | Status::Pending | Status::Concluded) => {
            (false, "only a job whose run succeeded gets there")
        }
        _ => (false, "a job has no result before its run has ended"),
    };
    if (result != 0) != fails {
        return Err(fault(
            line,
            address,
            id,
            rule!("result"),
            because,
            &format!("{from} to {to} comes with result {result}"),
        ));
    }
    let decided = matches!(from, Status::Running | Status::Ready);
    if let Some((before, result)) = ended
        && decided
        && to != Status::Waiting
    {
        return Err(fault(
            line,
            address,
            id,
            rule!("result"),
            &format!("its run ended with {result} in line {before}"),
            &format!("it goes from {from} to {to}"),
        ));
    }
    Ok(())
}

/// A status by its name.
fn status(line: u64, address: &str, name: &str) -> Result<Status, Fault> {
    Status::from_name(name).ok_or_else(|| {
        fault(
            line,
            address,
            None,
            rule!("log-shape"),
            "a status is one of the eleven",
            &format!("{name} is none"),
        )
    })
}

fn fault(
    line: u64,
    address: &str,
    id: Option<&str>,
    rule: &'static Rule,
    because: &str,
    but: &str,
) -> Fault {
    let job = id.map_or_else(|| address.to_owned(), |id| format!("'{id}' at {address}"));
    Fault::new(line, rule, &format!("job {job}"), because, but).of([id.unwrap_or(address)])
}
