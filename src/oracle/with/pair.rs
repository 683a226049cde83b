//! Which job of one recording is which of another, and whether they agree.
//!
//! The clocks of two recordings are never compared: what counts is each job's own order, and the order in
//! which jobs came into being. A job of a conversation has an id; one in a trace log an address, and an id
//! only where a command named it. So jobs are paired by their order, passing over those of the log that
//! the conversation need not show (internal ones, and those before it began), and only if no pairing is
//! left do the two contradict each other.

use blockjob_model::Status;
use blockjob_model::rule;
use blockjob_model::rule::Rule;

use super::life::{Asked, Life, Lives, Outcome, View};
use crate::oracle::verdict::Fault;

/// Beyond so many comparisons of statuses, jobs are taken to agree.
const COMPARED_MAX: u64 = 1 << 28;
/// So many offsets are tried where neither recording shows how a job began.
const OFFSETS_MAX: usize = 4096;

/// How two views of a run go together.
#[derive(Debug, Default)]
pub(super) struct Paired {
    /// How many jobs of the coarser one were found in the finer one.
    pub jobs: usize,
    /// How many changes of status only the finer one shows, of those jobs.
    pub filled: usize,
    /// How many looks at the verb table no command of the coarser one explains.
    pub unasked: usize,
    /// So many jobs of the coarser one are older than the finer one.
    pub before: usize,
    /// What contradicts.
    pub faults: Vec<Fault>,
}

/// The coarser recording, held against the finer one.
pub(super) struct Pairing<'a> {
    coarse: &'a Lives,
    fine: &'a Lives,
    /// What the finer one is called.
    name: &'a str,
    compared: u64,
}

/// Where two lives part.
struct Clash {
    /// How many changes they have in common before.
    agreed: usize,
    /// Which change of the coarser one it is, from 0.
    place: usize,
    /// Their changes agree, and something else does not.
    other: Option<Box<Fault>>,
}

/// Jobs of the coarser recording, and which they are in the finer one.
type Pairs<'a> = Vec<(&'a Life, &'a Life, Aligned)>;

/// How the changes of two lives go together: change `i` of the coarser is change `i + shift` of the finer.
#[derive(Clone, Copy)]
struct Aligned {
    shift: isize,
    filled: usize,
}

impl<'a> Pairing<'a> {
    pub fn new(coarse: &'a Lives, fine: &'a Lives, name: &'a str) -> Pairing<'a> {
        Pairing {
            coarse,
            fine,
            name,
            compared: 0,
        }
    }

    /// The views that go together best; `None`: one of the recordings shows no job.
    ///
    /// A file may show several monitors, a log several processes; that they belong together somebody said who
    /// ran them, so some pair of them must.
    pub fn best(&mut self) -> Option<Paired> {
        let mut best: Option<Paired> = None;
        let shows = |view: &&View| !view.lives.is_empty();
        for coarse in self.coarse.views.iter().filter(shows) {
            for fine in self.fine.views.iter().filter(shows) {
                let paired = self.views(coarse, fine);
                let better = best.as_ref().is_none_or(|best| {
                    let clean = |paired: &Paired| paired.faults.is_empty();
                    (clean(&paired), paired.jobs) > (clean(best), best.jobs)
                });
                if better {
                    best = Some(paired);
                }
            }
        }
        best
    }

    fn views(&mut self, coarse: &'a View, fine: &'a View) -> Paired {
        // A job that was there when the recording began has no place in the order of creation.
        let (begun, met): (Vec<&Life>, Vec<&Life>) =
            coarse.lives.iter().partition(|life| life.is_begun());
        let fine: Vec<&Life> = fine.lives.iter().collect();
        let mut paired = Paired::default();
        match self.in_order(&begun, &fine) {
            Ok(pairs) => self.join(&mut paired, &pairs),
            Err(clash) => match self.older(&begun, &fine) {
                Some((before, pairs)) => {
                    paired.before = before;
                    self.join(&mut paired, &pairs);
                }
                None => paired.faults.extend(clash),
            },
        }
        let explained = paired.jobs;
        for life in met {
            let found = fine.iter().find_map(|other| {
                let aligned = self.align(life, other).ok()?;
                Some((*other, aligned))
            });
            // It may be over before the finer one began, or come after its end.
            let covered = explained > 0 && explained < fine.len();
            match found {
                Some((other, aligned)) => self.join(&mut paired, &[(life, other, aligned)]),
                None if covered => paired.faults.extend(self.nearest(life, &fine)),
                None => {}
            }
        }
        paired
    }

    /// Pairs jobs in the order of their creation. To take the first that fits leaves most for those that come
    /// later, so if this fails, every way fails.
    fn in_order(
        &mut self,
        coarse: &[&'a Life],
        fine: &[&'a Life],
    ) -> Result<Pairs<'a>, Option<Fault>> {
        let mut pairs = Vec::new();
        let mut next = 0;
        for (at, life) in coarse.iter().enumerate() {
            let found = fine[next..].iter().enumerate().find_map(|(place, other)| {
                let aligned = self.align(life, other).ok()?;
                Some((place, *other, aligned))
            });
            if let Some((place, other, aligned)) = found {
                next += place + 1;
                pairs.push((*life, other, aligned));
            } else if next == fine.len() {
                // The finer one ends here.
                return Ok(pairs);
            } else {
                return Err(self.missing(life, &coarse[at + 1..], &fine[next..]));
            }
        }
        Ok(pairs)
    }

    /// What speaks against a job, where those behind it are explained whole without it: that it is not there.
    fn missing(&mut self, life: &'a Life, behind: &[&'a Life], fine: &[&'a Life]) -> Option<Fault> {
        let nearest = self.nearest(life, fine)?;
        let (line, status) = *life.changes.first()?;
        if !(behind.len() == fine.len() && self.fit_in_order(behind, fine)) {
            // It is likeliest one that leaves the others explained.
            let likely: Vec<&Life> = (0..fine.len().min(OFFSETS_MAX))
                .filter(|&place| self.fit_in_order(behind, &fine[place + 1..]))
                .map(|place| fine[place])
                .collect();
            return self.nearest(life, &likely).or(Some(nearest));
        }
        let because = format!(
            "{} shows the jobs after it, and no such one before them",
            self.name
        );
        Some(fault(
            line,
            rule!("other-source-job"),
            life,
            &because,
            &format!("status {status}"),
        ))
    }

    /// Whether all of these are found in their order.
    fn fit_in_order(&mut self, coarse: &[&Life], fine: &[&Life]) -> bool {
        let mut left = fine.iter();
        let fits = |life: &&Life| left.any(|other| self.align(life, other).is_ok());
        coarse.iter().all(fits)
    }

    /// The finer recording began later than the coarser one: then it is explained whole by what came later.
    fn older(&mut self, coarse: &[&'a Life], fine: &[&'a Life]) -> Option<(usize, Pairs<'a>)> {
        (1..coarse.len().min(OFFSETS_MAX)).find_map(|before| {
            let pairs = self.in_order(&coarse[before..], fine).ok()?;
            (pairs.len() == fine.len()).then_some((before, pairs))
        })
    }

    /// What speaks against the one that agrees longest.
    fn nearest(&mut self, life: &Life, fine: &[&Life]) -> Option<Fault> {
        if self.fine.gaps || self.fine.full || self.coarse.full {
            return None;
        }
        let mut nearest: Option<(Clash, &Life)> = None;
        for other in fine {
            // Of those that agree equally long, the first.
            if let Err(clash) = self.align(life, other)
                && nearest
                    .as_ref()
                    .is_none_or(|(best, _)| clash.agreed > best.agreed)
            {
                nearest = Some((clash, other));
            }
        }
        nearest.map(|(clash, other)| self.told(life, other, clash))
    }

    /// How the two may be one job, or where they part.
    fn align(&mut self, coarse: &Life, fine: &Life) -> Result<Aligned, Clash> {
        self.compared += 1;
        if coarse.id.is_some() && fine.id.is_some() && coarse.id != fine.id {
            return Err(parting(0, 0));
        }
        let aligned = if self.coarse.filtered {
            self.scattered(coarse, fine)?
        } else {
            self.contiguous(coarse, fine)?
        };
        if self.fine.gaps || self.fine.full || self.coarse.full {
            return Ok(aligned);
        }
        let fault = self
            .verbs(coarse, fine, aligned.shift)
            .or_else(|| self.end(coarse, fine));
        match fault {
            Some(fault) => Err(Clash {
                agreed: coarse.changes.len(),
                place: 0,
                other: Some(Box::new(fault)),
            }),
            None => Ok(aligned),
        }
    }

    fn contiguous(&mut self, coarse: &Life, fine: &Life) -> Result<Aligned, Clash> {
        let (n, m) = (coarse.changes.len() as isize, fine.changes.len() as isize);
        let shifts = match (coarse.is_begun(), fine.is_begun()) {
            (true, true) => 0..1,
            (true, false) => 1 - n..1,
            (false, true) => 0..m + 1,
            (false, false) => 1 - n..m + 1,
        };
        let mut nearest: Option<Clash> = None;
        for shift in shifts.take(OFFSETS_MAX) {
            match self.aligned_by(coarse, fine, shift) {
                Ok(aligned) => return Ok(aligned),
                Err(clash) => {
                    if nearest
                        .as_ref()
                        .is_none_or(|nearest| clash.agreed > nearest.agreed)
                    {
                        nearest = Some(clash);
                    }
                }
            }
        }
        Err(nearest.unwrap_or_else(|| parting(0, 0)))
    }

    fn aligned_by(&mut self, coarse: &Life, fine: &Life, shift: isize) -> Result<Aligned, Clash> {
        let mut agreed = 0;
        let mut filled = fine.changes.len();
        for (place, &(_, status)) in coarse.changes.iter().enumerate() {
            let there = place as isize + shift;
            if there < 0 {
                // Before the finer one began; the last of them is where it came in.
                let came_in = there == -1;
                if came_in && fine.from.is_some_and(|from| from != status) {
                    return Err(parting(place, agreed));
                }
                continue;
            }
            self.compared += 1;
            match fine.changes.get(there as usize) {
                _ if self.compared > COMPARED_MAX => break,
                Some(&(_, other)) if other == status => agreed += 1,
                // The finer one ends earlier.
                None if !fine.is_over() => break,
                _ => return Err(parting(place, agreed)),
            }
            filled -= 1;
        }
        if coarse.is_over() && (coarse.changes.len() as isize + shift) < fine.changes.len() as isize
        {
            return Err(parting(coarse.changes.len() - 1, agreed));
        }
        if !coarse.is_begun()
            && shift > 0
            // Else there may be more between.
            && (shift as usize) < fine.changes.len()
            && let Some(from) = coarse.from
            && fine.changes[shift as usize - 1].1 != from
        {
            return Err(parting(0, 0));
        }
        Ok(Aligned { shift, filled })
    }

    /// What a filtered conversation shows of a job is what the finer one shows, with anything left out.
    fn scattered(&mut self, coarse: &Life, fine: &Life) -> Result<Aligned, Clash> {
        let aligned = Aligned {
            shift: 0,
            filled: fine.changes.len().saturating_sub(coarse.changes.len()),
        };
        if !(coarse.is_begun() && coarse.is_over() && fine.is_begun()) {
            // It may be several jobs, one after the other.
            return Ok(aligned);
        }
        let mut left = fine.changes.iter();
        for (place, &(_, status)) in coarse.changes.iter().enumerate() {
            self.compared += left.len() as u64;
            if self.compared > COMPARED_MAX {
                break;
            }
            if !left.any(|&(_, other)| other == status) && fine.is_over() {
                return Err(parting(place, place));
            }
        }
        Ok(aligned)
    }

    /// In words, where the two part.
    fn told(&self, coarse: &Life, fine: &Life, clash: Clash) -> Fault {
        let Clash {
            agreed,
            place,
            other,
        } = clash;
        if let Some(fault) = other {
            return *fault;
        }
        let change = coarse.changes.get(place).copied();
        let (line, status) = change.unwrap_or((1, Status::Undefined));
        let next = fine.changes.get(agreed);
        let shown = match next {
            Some((line, status)) => format!("{status} in line {line}"),
            None => "nothing more".to_owned(),
        };
        let who = match &fine.id {
            Some(id) if *id != fine.name => format!("'{id}' at {}", fine.name),
            _ => fine.name.clone(),
        };
        let before = match agreed.checked_sub(1).and_then(|at| fine.changes.get(at)) {
            Some((line, before)) => format!("{before} in line {line}, then "),
            None => String::new(),
        };
        fault(
            line,
            rule!("other-source-status"),
            coarse,
            &format!(
                "of the jobs in {} {who} comes nearest, and it has {before}{shown}",
                self.name
            ),
            &format!("status {status}"),
        )
        .instead(
            next.map(|(_, status)| format!("status {status}"))
                .into_iter()
                .collect(),
        )
    }

    /// Holds the verbs and the ends of paired jobs against each other.
    fn join(&mut self, paired: &mut Paired, pairs: &[(&'a Life, &'a Life, Aligned)]) {
        for &(coarse, fine, aligned) in pairs {
            paired.jobs += 1;
            paired.filled += aligned.filled;
            // A job is looked up once while it is made, for its speed.
            let looks = fine.asked.iter().filter(|look| look.between.1 > 1).count();
            paired.unasked += looks.saturating_sub(coarse.asked.len());
        }
        self.groups(paired, pairs);
    }

    /// Each verb that was answered was looked up, in that order, and the answer is that of the table.
    fn verbs(&self, coarse: &Life, fine: &Life, shift: isize) -> Option<Fault> {
        if !self.fine.looks || self.coarse.filtered {
            return None;
        }
        let mut looks = fine.asked.iter();
        for asked in &coarse.asked {
            let fits = |look: &&Asked| {
                let at = look.between.1 as isize - shift;
                let (from, to) = asked.between;
                look.verb == asked.verb
                    && look.outcome == asked.outcome
                    && (from as isize..=to as isize).contains(&at)
            };
            let rest = looks.clone();
            if looks.any(|look| fits(&look)) {
                continue;
            }
            let status_now = coarse.changes.get(asked.between.1.saturating_sub(1));
            if !fine.is_over() || status_now.is_none() || !fine.is_begun() {
                // The finer one ends before, or began later.
                return None;
            }
            let said = |outcome| match outcome {
                Outcome::Permitted => "permitted".to_owned(),
                Outcome::Refused(status) => format!("refused in status {status}"),
            };
            let verb = asked.verb;
            let found = rest.clone().find(|look| look.verb == verb);
            let because = match found {
                Some(look) => format!(
                    "in {} the next look for {verb} is in line {}, and says {}",
                    self.name,
                    look.line,
                    said(look.outcome)
                ),
                None => format!(
                    "{} has no further look for {verb} of {}",
                    self.name, fine.name
                ),
            };
            return Some(fault(
                asked.line,
                rule!("other-source-verb"),
                coarse,
                &because,
                &format!("{verb} was {}", said(asked.outcome)),
            ));
        }
        None
    }

    fn end(&self, coarse: &Life, fine: &Life) -> Option<Fault> {
        let ((line, failed), (there, failed_there)) = (coarse.end?, fine.end?);
        let word = |failed| if failed { "failed" } else { "succeeded" };
        (failed != failed_there).then(|| {
            fault(
                line,
                rule!("other-source-end"),
                coarse,
                &format!("it {} in line {there} of {}", word(failed_there), self.name),
                &format!("here it {}", word(failed)),
            )
        })
    }

    /// The members of a transaction end alike, whichever recording shows it.
    fn groups(&self, paired: &mut Paired, pairs: &[(&'a Life, &'a Life, Aligned)]) {
        if !paired.faults.is_empty() || self.fine.gaps {
            return;
        }
        for (at, (coarse, fine, _)) in pairs.iter().enumerate() {
            let (Some(group), Some((line, failed))) = (&coarse.group, fine.end) else {
                continue;
            };
            let other = pairs[..at].iter().rev().find(|(other, there, _)| {
                other.group.as_ref() == Some(group) && there.end.is_some_and(|end| end.1 != failed)
            });
            if let Some((other, there, _)) = other {
                let word = |failed| if failed { "failed" } else { "succeeded" };
                let shown = there.end.map_or(0, |end| end.0);
                let begun = coarse.changes.first().map_or(1, |change| change.0);
                paired.faults.push(fault(
                    begun,
                    rule!("group-aborting"),
                    coarse,
                    &format!(
                        "'{}' of the same {group} {} in line {shown} of {}",
                        other.name,
                        word(!failed),
                        self.name
                    ),
                    &format!("it {} in line {line}", word(failed)),
                ));
                return;
            }
        }
    }
}

/// The two part at this change of the coarser one.
const fn parting(place: usize, agreed: usize) -> Clash {
    Clash {
        agreed,
        place,
        other: None,
    }
}

fn fault(line: u64, rule: &'static Rule, life: &Life, because: &str, but: &str) -> Fault {
    Fault::new(line, rule, &format!("job '{}'", life.name), because, but).of([life.name.as_str()])
}
