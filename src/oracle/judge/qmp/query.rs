//! What a query may list, and how.

use std::borrow::Cow;
use std::collections::HashSet;

use blockjob_model::accept::{JobKey, SightPattern};
use blockjob_model::{Status, rule};

use super::{Judged, MONITOR, Pending, Session, unknown};
use crate::oracle::fields::{self, Known, Place, shown};
use crate::oracle::judge::at;
use crate::oracle::reader::json::Piece;
use crate::oracle::reader::qmp::Entry;
use crate::oracle::verdict::Fault;

/// So many jobs are few.
const FEW: usize = 8;
/// Of so many ids at the most it is tried which of two jobs is listed by it.
const EITHER_MAX: usize = 4;

/// A query's answer, as far as it was read.
struct Listing<'a> {
    line: u64,
    head: &'a Pending,
    block: bool,
    /// The jobs that it lists, and how.
    sights: Vec<(JobKey, SightPattern)>,
    /// The same where an id was used again meanwhile: the job before, the one after, and how one of them is listed.
    either: Vec<[(Option<JobKey>, SightPattern); 2]>,
    /// The place of the last one in the order of creation.
    serial: Option<u64>,
}

/// What a query may list by an id.
enum Named {
    /// A job that went while the query was in hand.
    Leaving,
    /// A job that is there.
    There,
    /// Either: the one went, and another came.
    Either,
}

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
        let mut listing = Listing {
            line,
            head,
            block,
            sights: Vec::with_capacity(entries.len()),
            either: Vec::new(),
            serial: None,
        };
        // Few are looked through sooner than hashed.
        let few = entries.len() <= FEW;
        let mut first: Vec<Cow<'_, str>> = Vec::with_capacity(if few { entries.len() } else { 0 });
        let mut listed: HashSet<Cow<'_, str>> = HashSet::new();
        for entry in &entries {
            let (id, status) = self.named(&listing, entry)?;
            let twice = if few {
                first.contains(&id)
            } else {
                !listed.insert(id.clone())
            };
            if twice {
                return Err(listing.place(&id).fault(
                    rule!("query-twice"),
                    "ids are unique",
                    "the job is listed twice",
                ));
            }
            if few {
                first.push(id.clone());
            }
            self.listed(&mut listing, entry, &id, status)?;
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
                        && !listed.contains(*id)
                        && !first.iter().any(|first| first == id)
                })
                .filter(|(_, known)| known.last.is_some_and(|(_, seen)| seen < head.line))
                .map(|(id, known)| (id.to_owned(), known))
                .min_by(|(one, _), (other, _)| one.cmp(other));
            if let Some((id, known)) = missing {
                // It may have gone unseen.
                let gone =
                    |(last, _)| self.unseen.has(Status::Null) && self.leads_to(last, Status::Null);
                if known.last.is_some_and(gone) {
                    self.goes(&id);
                } else {
                    return Err(listing.place(&id).fault(
                        rule!("query-misses-job"),
                        &format!("the job is there: {}", known.standing()),
                        "it is not listed",
                    ));
                }
            }
        }
        if self.filtered {
            // Of those that are not listed, others may come.
            for (id, known) in self.jobs.iter_mut().filter(|_| !block) {
                let there = listed.contains(id) || first.iter().any(|first| first == id);
                known.may_be_another |= !there;
            }
            return Ok(());
        }
        let sights = self.which(listing);
        self.acceptor
            .looked(MONITOR, &sights)
            .map_err(|rejection| at(line, rejection))
    }

    /// The id and the status that an entry has.
    fn named<'e>(
        &self,
        listing: &Listing<'_>,
        entry: &Entry<'e>,
    ) -> Result<(Cow<'e, str>, Option<Status>), Fault> {
        let (member, piece) = if listing.block {
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
        id.map(|id| (id, status)).ok_or_else(|| {
            listing.head.fault(
                listing.line,
                rule!("query-shape"),
                &format!(
                    "a job has a `{member}` and {} `status`",
                    if shows_status { "a" } else { "no" }
                ),
                &format!("they are {} and {}", shown(piece), shown(entry.status)),
            )
        })
    }

    /// A job is listed.
    fn listed(
        &mut self,
        listing: &mut Listing<'_>,
        entry: &Entry<'_>,
        id: &str,
        status: Option<Status>,
    ) -> Judged {
        let listed_as = status.map_or("there", Status::name);
        let place = listing.place(id);
        let named = match (self.leaving.contains_key(id), self.jobs.contains_key(id)) {
            (true, true) => Named::Either,
            (true, false) => Named::Leaving,
            (false, true) => Named::There,
            (false, false) => {
                if !self.filtered && self.gone.iter().any(|gone| *gone == id) {
                    return Err(place.fault(
                        rule!("query-lists-dead-job"),
                        "the job is gone: its status is null",
                        &format!("it is listed as {listed_as}"),
                    ));
                }
                if self.knows_all() {
                    return Err(unknown(place));
                }
                self.note_unannounced(id);
                self.meet(place, status.filter(|_| !self.filtered));
                Named::There
            }
        };
        let jobs = match named {
            Named::Leaving => &mut self.leaving,
            Named::There => &mut self.jobs,
            Named::Either => return self.either(listing, entry, id, status),
        };
        let Some(known) = jobs.get_mut(id) else {
            return Ok(());
        };
        if self.mixed {
            *known = known.whoevers();
        }
        let judged = listing.shows(known, id, entry, status, self.continued);
        let pattern = match judged {
            Err(_) if self.is_another(id) => match self.jobs.get_mut(id) {
                Some(known) => listing.shows(known, id, entry, status, self.continued)?,
                None => return Ok(()),
            },
            judged => judged?,
        };
        if !self.unseen.is_empty()
            && let Some(status) = status
        {
            self.note_shown(id, status);
            if pattern.io_failed == Some(true) {
                self.note_failure(id);
            }
        }
        if self.filtered {
            // An event that came before may be printed after it.
            return Ok(());
        }
        let unseen = |last: Status| {
            status.is_some_and(|status| self.unseen.has(status) && self.leads_to(last, status))
        };
        let jobs = match named {
            Named::Leaving => &self.leaving,
            _ => &self.jobs,
        };
        let Some(known) = jobs.get(id) else {
            return Ok(());
        };
        match (known.key, known.last) {
            (Some(key), _) => listing.sights.push((key, pattern)),
            (None, Some((_, before))) if before > listing.head.line => {}
            (None, Some((last, before)))
                if status.is_some_and(|status| last != status) && !unseen(last) =>
            {
                return Err(place.fault(
                    rule!("query-status"),
                    &format!("it is {last} since line {before}"),
                    &format!("it is listed as {listed_as}"),
                ));
            }
            (None, _) => {
                if let Some(known) = self
                    .jobs
                    .get_mut(id)
                    .filter(|_| !matches!(named, Named::Leaving))
                {
                    known.last = status.map(|status| (status, listing.line));
                }
            }
        }
        Ok(())
    }

    /// The id was used again while the query was in hand: the answer lists the job before or the one after.
    fn either(
        &mut self,
        listing: &mut Listing<'_>,
        entry: &Entry<'_>,
        id: &str,
        status: Option<Status>,
    ) -> Judged {
        let mut patterns = Vec::with_capacity(2);
        let mut fault = None;
        for jobs in [&mut self.leaving, &mut self.jobs] {
            let Some(known) = jobs.get_mut(id) else {
                continue;
            };
            let serial = listing.serial;
            match listing.shows(known, id, entry, status, self.continued) {
                Ok(pattern) => patterns.push((known.key, pattern)),
                Err(other) => fault = fault.or(Some(other)),
            }
            // Which of the two it is, and so what may follow it, is not known.
            listing.serial = serial;
        }
        match (patterns.as_slice(), fault) {
            (&[], Some(fault)) => return Err(fault),
            (&[(Some(key), pattern)], _) => listing.sights.push((key, pattern)),
            (&[one, two], _) => listing.either.push([one, two]),
            _ => {}
        }
        Ok(())
    }

    /// What an answer lists, where an id may be that of either of two jobs: the first way that can be.
    fn which(&mut self, listing: Listing<'_>) -> Vec<(JobKey, SightPattern)> {
        let Listing { sights, either, .. } = listing;
        if either.is_empty() {
            return sights;
        }
        let way = |way: usize| {
            let mut sights = sights.clone();
            for (place, jobs) in either.iter().enumerate() {
                let later = place < EITHER_MAX && way & (1 << place) != 0;
                let (key, pattern) = jobs[usize::from(later)];
                sights.extend(key.map(|key| (key, pattern)));
            }
            sights
        };
        let ways = 0..1 << either.len().min(EITHER_MAX);
        let found = ways
            .map(way)
            .find(|sights| self.acceptor.may_look(MONITOR, sights));
        found.unwrap_or_else(|| way(0))
    }
}

impl<'a> Listing<'a> {
    fn place<'p>(&self, id: &'p str) -> Place<'p>
    where
        'a: 'p,
    {
        let head: &'a Pending = self.head;
        Place {
            line: self.line,
            what: &head.name,
            id,
        }
    }

    /// The job is listed: every field that needs no belief.
    fn shows(
        &mut self,
        known: &mut Known,
        id: &str,
        entry: &Entry<'_>,
        status: Option<Status>,
        continued: bool,
    ) -> Result<SightPattern, Fault> {
        let place = self.place(id);
        if self.block && known.block == Some(false) {
            return Err(place.fault(
                rule!("query-lists-non-block-job"),
                "it is no block job",
                "query-block-jobs lists it",
            ));
        }
        if self.block {
            known.block = Some(true);
        }
        if let Some(serial) = known.serial
            && self.serial.is_some_and(|before| before < serial)
        {
            return Err(place.fault(
                rule!("query-order"),
                "jobs are listed newest first",
                "it is listed after an older one",
            ));
        }
        let pattern = fields::entry(known, place, entry, status, self.block, continued)?;
        self.serial = known.serial.or(self.serial);
        Ok(pattern)
    }
}
