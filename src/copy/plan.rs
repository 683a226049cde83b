//! A list of pairs: checked as a whole, then started as one transaction.

use super::around::Around;
use super::backup::Backup;
use super::bad_map::BadMap;
use super::checked::{Checked, check_apart, share_folders};
use super::ends::look_for_journal;
use super::error::CopyError;
use super::group::CommitGroup;
use super::journal::{Spot, Taken};
use super::leftover::Search;
use super::options::CopyOptions;
use super::report::{CopyReport, Method, Summary};
use super::spread::try_each;
use super::target::{Target, check_room};
use super::technique::Technique;
use crate::driver::Driver;
use crate::engine::{JobHandle, JobOptions, Manager};
use crate::trace::TraceSink;
use std::path::PathBuf;
use std::sync::Arc;

/// A source and a target, as the user named them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The file or block device to read.
    pub source: PathBuf,
    /// The file to make or replace, or the block device to write.
    pub target: PathBuf,
}

impl Pair {
    /// A pair.
    pub fn new(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            target: target.into(),
        }
    }
}

/// Pairs that can be copied, as far as can be known beforehand: every source is open, every target was looked at.
/// Nothing on the disk has been changed yet; a dry run ends here.
pub struct CopyPlan {
    pub(super) options: CopyOptions,
    pub(super) checked: Vec<Checked>,
    /// Where the journal goes; there is none where every target is written in place.
    pub(super) spot: Option<Spot>,
    /// That of a copy which died, locked.
    pub(super) taken: Option<Taken>,
    pub(super) io_trace: Option<Arc<dyn TraceSink>>,
}

impl std::fmt::Debug for CopyPlan {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("CopyPlan")
            .field("options", &self.options)
            .field("checked", &self.checked)
            .finish_non_exhaustive()
    }
}

/// What a plan will do for one pair.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedCopy {
    /// The pair.
    pub pair: Pair,
    /// How the target comes by its contents.
    pub method: Method,
    /// The source's size in bytes.
    pub size_bytes: u64,
    /// Bytes of it that its file system stores; what is not stored need not be read.
    pub stored_bytes: u64,
    /// Workers the job will have.
    pub workers: usize,
    /// How bytes get there: what is tried, in this order.
    pub techniques: Vec<Technique>,
}

impl CopyPlan {
    /// Checks pairs and options. May block while files are looked at; any thread.
    ///
    /// # Errors
    /// The first reason found not to copy them; nothing was changed.
    pub fn check(pairs: &[Pair], options: &CopyOptions) -> Result<Self, CopyError> {
        options.check()?;
        if pairs.is_empty() {
            return Err(CopyError::NoPairs);
        }
        if options.bad_map.is_some() && pairs.len() > 1 {
            return Err(CopyError::Conflict {
                what: "--bad-map".to_owned(),
                other: "several pairs".to_owned(),
                why: "a map is of one source",
            });
        }
        let large = pairs.len() > options.tuning.open_max;
        let mut checked = try_each(pairs.iter().collect(), Around::default, |around, pair| {
            Checked::of(pair, pairs.len(), options, around)
        })?;
        share_folders(&mut checked);
        check_apart(&checked)?;
        if let Some(path) = &options.bad_map {
            BadMap::check(path, checked.iter().map(|one| &one.planned.pair))?;
        }
        let (spot, taken) = look_for_journal(&checked, options)?;
        let own = taken.as_ref().map(|taken| taken.file.id());
        let mut search = Search::new(own, options.tuning.boot());
        for one in &mut checked {
            if let Target::Replace(place) = &one.target {
                let found = search.at(place)?;
                one.freed = found.iter().map(|leftover| leftover.stored).sum();
                if !large {
                    one.leftovers = found;
                }
            }
        }
        check_room(
            checked
                .iter()
                .map(|one| (&one.source, &one.target, one.freed)),
            options,
        )?;
        Ok(Self {
            options: options.clone(),
            checked,
            spot,
            taken,
            io_trace: None,
        })
    }

    /// As if the files were such that these are tried.
    #[cfg(test)]
    pub(super) fn trying(mut self, techniques: &[Technique]) -> Self {
        for one in &mut self.checked {
            one.planned.techniques = techniques.to_vec();
        }
        self
    }

    /// What the plan will do, in the order of the pairs.
    pub fn copies(&self) -> impl Iterator<Item = &PlannedCopy> {
        self.checked.iter().map(|one| &one.planned)
    }

    /// Records each piece of I/O of each job.
    #[must_use]
    pub fn record_io(mut self, sink: Arc<dyn TraceSink>) -> Self {
        self.io_trace = Some(sink);
        self
    }

    /// Makes the temporary files and starts one `backup` job per pair; several pairs are one transaction.
    /// `options(index)` names the job of a pair and sets what else there is to set. The handles come in the order of
    /// the pairs. Any thread.
    ///
    /// # Errors
    /// A temporary file that cannot be made or given the target's metadata, or a job the manager refuses: for its id,
    /// or because another of its copies is in the way. Nothing is left of those made before.
    pub fn start(
        self,
        manager: &Manager,
        options: impl FnMut(usize) -> JobOptions,
    ) -> Result<Vec<CopyJob>, CopyError> {
        self.start_with(manager, options, |_, backup| backup)
    }

    /// As [`start`](Self::start), with each driver put into another before the job is created: one that records the
    /// callbacks, for instance.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with<D: Driver>(
        self,
        manager: &Manager,
        options: impl FnMut(usize) -> JobOptions,
        wrap: impl FnMut(usize, Backup) -> D,
    ) -> Result<Vec<CopyJob>, CopyError> {
        let io_trace = self.io_trace.clone();
        start(self.drivers()?, io_trace.as_ref(), manager, options, wrap)
    }

    /// Makes the temporary files and the drivers, one per pair, which commit together: for callers who create the
    /// jobs themselves, in one transaction, with options that [`Backup::hold`] was given. Dropping a driver removes its temporary file.
    ///
    /// # Errors
    /// As [`start`](Self::start), without the manager's.
    pub fn drivers(self) -> Result<Vec<Backup>, CopyError> {
        let bad_map = match &self.options.bad_map {
            Some(path) => Some(BadMap::create(path)?),
            None => None,
        };
        let mut bad_map = bad_map.map(Arc::new);
        let group = Arc::new(CommitGroup::new(self.options.durability));
        let options = self.options.clone();
        let (journal, ends) = self.ends()?;
        if let Some(journal) = &journal {
            group.record_in(Arc::clone(journal));
        }
        let mut tracked = 0;
        let mut drivers = Vec::with_capacity(ends.len());
        for end in ends {
            let report = Arc::new(end.report);
            let account = Arc::clone(&report);
            let new = end.is_new;
            let backup = Backup::new(end.ends, options.clone(), report, Arc::clone(&group));
            // There is one at most: a map is of one pair.
            let backup = backup.bad_map(bad_map.take());
            drivers.push(match journal.as_ref().filter(|_| new) {
                Some(journal) => {
                    tracked += 1;
                    backup.tracked(journal.track(tracked - 1, account), end.kept)
                }
                None => backup,
            });
        }
        Ok(drivers)
    }
}

/// A driver of a copy, for who creates its job: [`Backup`] or [`Mirror`](super::Mirror).
pub trait CopyDriver: Driver + Sized {
    /// As [`Backup::record_io`].
    #[must_use]
    fn record_io(self, sink: Arc<dyn TraceSink>, job: String, group: Option<String>) -> Self;

    /// As [`Backup::hold`].
    ///
    /// # Errors
    /// The target's folder cannot be looked at.
    fn hold(&self, options: JobOptions) -> Result<JobOptions, CopyError>;

    /// The running account, which outlives the driver.
    fn report(&self) -> Arc<CopyReport>;
}

impl CopyDriver for Backup {
    fn record_io(self, sink: Arc<dyn TraceSink>, job: String, group: Option<String>) -> Self {
        Self::record_io(self, sink, job, group)
    }

    fn hold(&self, options: JobOptions) -> Result<JobOptions, CopyError> {
        Self::hold(self, options)
    }

    fn report(&self) -> Arc<CopyReport> {
        Self::report(self)
    }
}

/// Starts a job for each driver: a single one by itself, several as one transaction.
pub(super) fn start<C: CopyDriver, D: Driver>(
    drivers: Vec<C>,
    io_trace: Option<&Arc<dyn TraceSink>>,
    manager: &Manager,
    mut options: impl FnMut(usize) -> JobOptions,
    mut wrap: impl FnMut(usize, C) -> D,
) -> Result<Vec<CopyJob>, CopyError> {
    let alone = drivers.len() == 1;
    let mut transaction = manager.transaction();
    let mut reports = Vec::with_capacity(drivers.len());
    let mut created = None;
    for (index, mut driver) in drivers.into_iter().enumerate() {
        let options = driver.hold(options(index))?;
        let id = options.id().unwrap_or_default().to_owned();
        reports.push(driver.report());
        if let Some(sink) = io_trace {
            let group = (!alone).then(|| transaction.name().to_owned());
            driver = driver.record_io(Arc::clone(sink), id.clone(), group);
        }
        let driver = wrap(index, driver);
        let answer = if alone {
            manager
                .create(options, driver)
                .map(|job| created = Some(job))
        } else {
            transaction.create(options, driver).map(drop)
        };
        answer.map_err(|error| CopyError::refused(id, &error))?;
    }
    let handles = match created {
        Some(job) => vec![job.start()],
        None => transaction.start(),
    };
    Ok(handles
        .into_iter()
        .zip(reports)
        .map(|(handle, report)| CopyJob { handle, report })
        .collect())
}

/// One copy under way: the job, and what it has done.
#[derive(Debug, Clone)]
pub struct CopyJob {
    /// The job, for the verbs.
    pub handle: JobHandle,
    /// The running account.
    pub report: Arc<CopyReport>,
}

impl CopyJob {
    /// The account as it stands.
    pub fn summary(&self) -> Summary {
        self.report.summary()
    }

    /// Whether the copy succeeded in every sense: the job ended well and the target is as promised.
    pub fn succeeded(&self) -> bool {
        let summary = self.summary();
        matches!(self.handle.outcome(), Some(Ok(())))
            && summary.ending.is_success()
            && summary.unreadable_bytes == 0
    }

    /// Why it did not succeed, in words: the job's error, or what went wrong when the names were exchanged. `None`
    /// while it runs, and when it succeeded.
    pub fn failure(&self) -> Option<String> {
        if let Err(error) = self.handle.outcome()? {
            return Some(error.text());
        }
        let summary = self.summary();
        let error = summary.ending.error().map(ToString::to_string);
        error.or_else(|| match summary.unreadable_bytes {
            0 => None,
            bytes => Some(format!(
                "{bytes} bytes of the source could not be read and are zeros in the target"
            )),
        })
    }
}
