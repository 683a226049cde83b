//! Jobs that have not started: alone, or as members of a transaction.
//!
//! Both are typestate for their owner: starting consumes them, so a job starts once and nobody
//! joins a transaction that has started. What is dropped without starting is given up: `created →
//! null`, no callback (SEMANTICS.md §2.1 `early_fail`).
//!
//! What the compiler says to someone who takes a wrong step:
//!
//! - *"use of moved value"* of a [`CreatedJob`], at a second `start`: it has started; go on with the
//!   [`JobHandle`] that `start` returned.
//! - *"borrow of moved value"* of a [`Transaction`], at `create`: it has started, and nobody joins any
//!   more; create every member first, or begin another transaction.
//! - *"unused … that must be used"*: dropping it would give the job up; start it, or keep it.
//! - *"no method named `pause` found for struct `CreatedJob`"*: requests are the handle's; ask for it with
//!   [`handle`](CreatedJob::handle).

use std::fmt;

use super::body;
use super::error::EngineError;
use super::handle::JobHandle;
use super::manager::{JobOptions, Membership, create};
use super::monitor::{GroupKey, JobCore, Monitor};
use crate::driver::Driver;
use crate::sync::Arc;

/// A job of its own that has not started. Dropping it gives the job up.
#[must_use = "dropping a created job gives it up: start it, or keep it until it is time"]
pub struct CreatedJob {
    monitor: Arc<Monitor>,
    core: Arc<JobCore>,
    given_away: bool,
}

impl CreatedJob {
    pub(super) fn new(monitor: Arc<Monitor>, core: Arc<JobCore>) -> CreatedJob {
        CreatedJob {
            monitor,
            core,
            given_away: false,
        }
    }

    /// A handle, to pause or cancel the job before it starts.
    pub fn handle(&self) -> JobHandle {
        JobHandle::new(Arc::clone(&self.monitor), Arc::clone(&self.core))
    }

    /// Gives the job up. The same as dropping it, to be read.
    #[doc(alias = "block_job_early_fail")]
    pub fn early_fail(self) {}

    /// Starts the job. If somebody cancelled it before, nothing happens: the handle says how it
    /// ended. Once the main loop was dropped the job is given up instead.
    #[doc(alias = "block_job_start")]
    pub fn start(mut self) -> JobHandle {
        self.given_away = true;
        start(&self.monitor, std::slice::from_ref(&self.core));
        self.handle()
    }
}

impl Drop for CreatedJob {
    fn drop(&mut self) {
        if !self.given_away {
            give_up(&self.monitor, std::slice::from_ref(&self.core));
        }
    }
}

impl fmt::Debug for CreatedJob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CreatedJob")
            .field("id", &self.core.id)
            .finish_non_exhaustive()
    }
}

/// What the members of a transaction have to do with each other once they are started: QMP's
/// `completion-mode` (SEMANTICS.md §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompletionMode {
    /// Nothing: each is a group of its own. Until the start they are one: given up together.
    Individual,
    /// They commit together or abort together.
    Grouped,
}

/// Jobs that are created one after the other and started together, or given up, newest first, when
/// one of them cannot be created or this is dropped. In which [mode](CompletionMode) they end is chosen
/// when the transaction is made.
#[must_use = "dropping a transaction gives its jobs up: start it, or keep it until it is time"]
#[doc(alias = "block_job_txn_unref")]
pub struct Transaction {
    monitor: Arc<Monitor>,
    mode: CompletionMode,
    group: GroupKey,
    name: Arc<str>,
    members: Vec<Arc<JobCore>>,
}

impl Transaction {
    pub(super) fn new(monitor: Arc<Monitor>, mode: CompletionMode) -> Transaction {
        let (group, number) = {
            let mut guard = monitor.lock();
            (GroupKey(guard.fresh_key()), guard.fresh_transaction())
        };
        Transaction {
            monitor,
            mode,
            group,
            name: format!("g{number}").into(),
            members: Vec::new(),
        }
    }

    /// The transaction's name in traces: `g1`, `g2` … Individual members do not bear it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// In which mode its members end.
    pub fn mode(&self) -> CompletionMode {
        self.mode
    }

    /// Creates a member. It is newer than those before it, and the main loop takes newer ones
    /// first.
    ///
    /// # Errors
    ///
    /// Those of [`Manager::create`](super::manager::Manager::create), and before the last of them
    /// [`EngineError::TransactionOver`] once a member was cancelled.
    #[doc(alias = "block_job_txn_add_job")]
    pub fn create(
        &mut self,
        options: JobOptions,
        driver: impl Driver,
    ) -> Result<JobHandle, EngineError> {
        let membership = (self.mode == CompletionMode::Grouped).then(|| Membership {
            group: self.group,
            name: Arc::clone(&self.name),
            first: self.members.is_empty(),
        });
        let core = create(&self.monitor, options, Box::new(driver), membership)?;
        self.members.push(Arc::clone(&core));
        Ok(JobHandle::new(Arc::clone(&self.monitor), core))
    }

    /// Starts every member, oldest first, in one step: no cancel comes between. Returns the
    /// handles in the order of creation. If somebody cancelled a member of a group before, nobody
    /// starts; individual members start without it. Once the main loop was dropped they are given up
    /// instead.
    pub fn start(mut self) -> Vec<JobHandle> {
        if self.mode == CompletionMode::Individual {
            return self.start_each(|_| (), |_| ());
        }
        let members = std::mem::take(&mut self.members);
        start(&self.monitor, &members);
        members
            .into_iter()
            .map(|core| JobHandle::new(Arc::clone(&self.monitor), core))
            .collect()
    }

    /// Starts individual members one by one, oldest first, telling `before` and `after` which, by its
    /// place in the order of creation.
    pub(crate) fn start_each(
        mut self,
        before: impl Fn(usize),
        after: impl Fn(usize),
    ) -> Vec<JobHandle> {
        let members = std::mem::take(&mut self.members);
        for (place, core) in members.iter().enumerate() {
            before(place);
            start(&self.monitor, std::slice::from_ref(core));
            after(place);
        }
        members
            .into_iter()
            .map(|core| JobHandle::new(Arc::clone(&self.monitor), core))
            .collect()
    }
}

impl Transaction {
    /// Gives the members up one by one, newest first, telling `before` and `after` which, by its
    /// place in the order of creation.
    pub(crate) fn give_up(mut self, before: impl Fn(usize), after: impl Fn(usize)) {
        while let Some(core) = self.members.pop() {
            let place = self.members.len();
            before(place);
            give_up(&self.monitor, std::slice::from_ref(&core));
            after(place);
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        give_up(&self.monitor, &self.members);
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Transaction")
            .field("name", &self.name)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

/// Starts them, in one section, then hands their bodies out. Nobody starts if a cancel has one of
/// them in hand: the abort it is about to begin takes the others, and finds either all of them
/// started or none. Once the main loop is gone there is nobody to finish or to cancel a run, so
/// they are given up.
fn start(monitor: &Arc<Monitor>, members: &[Arc<JobCore>]) {
    let mut guard = monitor.lock();
    if guard.main_gone {
        drop(guard);
        give_up(monitor, members);
        return;
    }
    if !members.iter().all(|core| guard.is_created(core.key)) {
        return;
    }
    let mut started = Vec::with_capacity(members.len());
    for core in members {
        let context = guard.start(monitor, core.key);
        started.extend(context.map(|context| (core, context)));
    }
    drop(guard);
    for (core, context) in started {
        body::spawn(monitor, core, &context);
    }
}

fn give_up(monitor: &Monitor, members: &[Arc<JobCore>]) {
    if members.is_empty() {
        return;
    }
    let mut guard = monitor.lock();
    for core in members.iter().rev() {
        guard.early_fail(monitor, core.key);
    }
    Monitor::unlock(guard);
}
