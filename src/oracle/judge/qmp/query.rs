//! What a query may list, and how.

use std::borrow::Cow;
use std::collections::HashSet;

use blockjob_model::accept::{JobKey, SightPattern};
use blockjob_model::{Status, rule};

use super::{Judged, MONITOR, Pending, Session, unknown};
use crate::oracle::fields::{self, Place, shown};
use crate::oracle::judge::at;
use crate::oracle::reader::json::Piece;
use crate::oracle::reader::qmp::Entry;

/// So many jobs are few.
const FEW: usize = 8;

impl Session {
    pub(super) fn query_answered(
        &mut self,
        line: u64,
        head: &Pending,
        block: bool,
        value: Piece<'_>,
        error: Option<(&str, &str)>,
    ) -> Judged {
        if let Some((class, desc)) = error {
            self.acceptor.withdraw(MONITOR);
            if head.arguments || class == "CommandNotFound" {
                return Ok(());
            }
            return Err(head.fault(
                line,
                rule!("query-refused"),
                "it has no arguments and always succeeds",
                &format!("the answer was: {desc}"),
            ));
        }
        let Some(entries) = value.read_list::<Entry<'_>>() else {
            return Err(head.fault(
                line,
                rule!("query-shape"),
                "it returns a list of jobs",
                &format!("it returned {}", shown(value)),
            ));
        };
        let mut sights: Vec<(JobKey, SightPattern)> = Vec::with_capacity(entries.len());
        let mut serials: Option<u64> = None;
        // Few are looked through sooner than hashed.
        let few = entries.len() <= FEW;
        let mut first: Vec<Cow<'_, str>> = Vec::with_capacity(if few { entries.len() } else { 0 });
        let mut listed: HashSet<Cow<'_, str>> = HashSet::new();
        for entry in &entries {
            let (member, piece) = if block {
                ("device", entry.device)
            } else {
                ("id", entry.id)
            };
            let status = entry
                .status
                .as_str()
                .and_then(|name| Status::from_name(&name));
            // QEMU 2.11 has no statuses to show.
            let shows_status = self.profile().verb_table;
            let id = piece.as_str().filter(|_| {
                if shows_status {
                    status.is_some()
                } else {
                    !entry.status.is_present()
                }
            });
            let Some(id) = id else {
                return Err(head.fault(
                    line,
                    rule!("query-shape"),
                    &format!(
                        "a job has a `{member}` and {} `status`",
                        if shows_status { "a" } else { "no" }
                    ),
                    &format!("they are {} and {}", shown(piece), shown(entry.status)),
                ));
            };
            let listed_as = status.map_or("there", Status::name);
            let place = Place {
                line,
                what: &head.name,
                id: &id,
            };
            let twice = if few {
                first.contains(&id)
            } else {
                !listed.insert(id.clone())
            };
            if few {
                first.push(id.clone());
            }
            if twice {
                return Err(place.fault(
                    rule!("query-twice"),
                    "ids are unique",
                    "the job is listed twice",
                ));
            }
            let leaving = self.leaving.contains_key(id.as_ref());
            if !leaving && !self.jobs.contains_key(id.as_ref()) {
                if !self.filtered && self.gone.iter().any(|gone| *gone == id) {
                    return Err(place.fault(
                        rule!("query-lists-dead-job"),
                        "the job is gone: its status is null",
                        &format!("it is listed as {listed_as}"),
                    ));
                }
                if self.inventory {
                    return Err(unknown(place));
                }
                self.meet(place, status.filter(|_| !self.filtered));
            }
            let known = if leaving {
                self.leaving.get_mut(id.as_ref())
            } else {
                self.jobs.get_mut(id.as_ref())
            };
            let Some(known) = known else { continue };
            if self.mixed {
                *known = known.whoevers();
            }
            if block && known.block == Some(false) {
                return Err(place.fault(
                    rule!("query-lists-non-block-job"),
                    "it is no block job",
                    "query-block-jobs lists it",
                ));
            }
            if block {
                known.block = Some(true);
            }
            if let Some(serial) = known.serial {
                if serials.is_some_and(|before| before < serial) {
                    return Err(place.fault(
                        rule!("query-order"),
                        "jobs are listed newest first",
                        "it is listed after an older one",
                    ));
                }
                serials = Some(serial);
            }
            let pattern = fields::entry(known, place, entry, status, block, self.continued)?;
            match (known.key, known.last) {
                // An event that came before may be printed after it.
                _ if self.filtered => {}
                (Some(key), _) => sights.push((key, pattern)),
                (None, Some((_, before))) if before > head.line => {}
                (None, Some((last, before))) if status.is_some_and(|status| last != status) => {
                    return Err(place.fault(
                        rule!("query-status"),
                        &format!("it is {last} since line {before}"),
                        &format!("it is listed as {listed_as}"),
                    ));
                }
                (None, _) => known.last = status.map(|status| (status, line)),
            }
        }
        // Before QEMU 3.0 there are block jobs only.
        if !self.filtered && (!block || !self.profile().status_events) {
            self.inventory = true;
            // The acceptor answers for the jobs it knows.
            let missing = self
                .jobs
                .iter()
                .filter(|(id, known)| {
                    known.key.is_none()
                        && !listed.contains(id.as_str())
                        && !first.iter().any(|first| **first == **id)
                })
                .filter(|(_, known)| known.last.is_some_and(|(_, seen)| seen < head.line))
                .map(|(id, _)| id)
                .min();
            if let Some(id) = missing {
                let known = &self.jobs[id];
                let place = Place {
                    line,
                    what: &head.name,
                    id,
                };
                return Err(place.fault(
                    rule!("query-misses-job"),
                    &format!("the job is there: {}", known.standing()),
                    "it is not listed",
                ));
            }
        }
        if self.filtered {
            return Ok(());
        }
        self.acceptor
            .looked(MONITOR, &sights)
            .map_err(|rejection| at(line, rejection))
    }
}
