//! Copies under way: a manager, its main loop, and a trace of everything asked and done if wanted.

use std::sync::Arc;

use blockjob::copy::{CopyDriver, CopyError, CopyJob, CopyPlan};
use blockjob::engine::{EngineError, JobOptions, MainLoop, Manager, ManagerConfig};
use blockjob::qmp::server::attached::Door;
use blockjob::trace::{RecordingHandle, RecordingManager, TraceEntry, TraceSink};

/// Copies that run at a time; the others of a group wait.
const BODIES_MAX: usize = 32;

/// A manager of copies. Its main loop belongs to the thread that made it.
pub struct Session {
    /// For requests to all jobs.
    pub manager: RecordingManager,
    /// For completion work.
    pub main_loop: MainLoop,
    trace: Option<Arc<dyn TraceSink>>,
}

/// One pair under way.
#[derive(Clone, Debug)]
pub struct Copying {
    /// For requests, which are recorded.
    pub handle: RecordingHandle,
    /// The job and its account.
    pub copy: CopyJob,
    /// The source's size in bytes.
    pub size_bytes: u64,
}

/// Keeps nothing, for copies without a trace.
struct Nowhere;

impl TraceSink for Nowhere {
    fn record(&self, _: &TraceEntry<'_>) {}
}

impl Session {
    /// A session that records into `trace`, and tells the clients that come through `door`.
    pub fn new(trace: Option<Arc<dyn TraceSink>>, door: Option<&Door>) -> Session {
        // A copy keeps a processor busy; more at a time only keep more files open.
        Session::with_bodies(BODIES_MAX, trace, door)
    }

    /// A session in which so many jobs have a thread at a time.
    pub fn with_bodies(
        bodies_max: usize,
        trace: Option<Arc<dyn TraceSink>>,
        door: Option<&Door>,
    ) -> Session {
        let mut config = ManagerConfig::default().bodies_max(bodies_max);
        let sink = match door {
            Some(door) => Some(door.sink(trace.as_ref())),
            None => trace.clone(),
        };
        if let Some(sink) = sink {
            config = config.trace(sink);
        }
        let (manager, main_loop) = Manager::new(config);
        let sink = trace.clone().unwrap_or_else(|| Arc::new(Nowhere));
        Session {
            manager: RecordingManager::new(manager, sink),
            main_loop,
            trace,
        }
    }

    /// Starts a job for each driver; see [`start`].
    pub fn start<D: CopyDriver>(
        &self,
        drivers: Vec<D>,
        options: impl FnMut(usize) -> JobOptions,
    ) -> Result<Vec<Copying>, CopyError> {
        start_each(&self.manager, self.trace.as_ref(), drivers, options)
    }
}

/// Starts a job for each pair of `plan`: a single one by itself, several as one transaction.
pub fn start(
    manager: &RecordingManager,
    trace: Option<&Arc<dyn TraceSink>>,
    plan: CopyPlan,
    options: impl FnMut(usize) -> JobOptions,
) -> Result<Vec<Copying>, CopyError> {
    start_each(manager, trace, plan.drivers()?, options)
}

fn start_each<D: CopyDriver>(
    manager: &RecordingManager,
    trace: Option<&Arc<dyn TraceSink>>,
    drivers: Vec<D>,
    mut options: impl FnMut(usize) -> JobOptions,
) -> Result<Vec<Copying>, CopyError> {
    let reports: Vec<_> = drivers.iter().map(D::report).collect();
    let sizes: Vec<_> = reports
        .iter()
        .map(|report| report.summary().size_bytes)
        .collect();
    let record_io = |driver: D, options: &JobOptions, group: Option<&str>| match trace {
        Some(sink) => driver.record_io(
            Arc::clone(sink),
            options.id().unwrap_or_default().to_owned(),
            group.map(str::to_owned),
        ),
        None => driver,
    };
    let refused = |id: String| move |error: EngineError| CopyError::refused(id, &error);
    let alone = drivers.len() == 1;
    let mut transaction = manager.transaction();
    let mut created = None;
    for (index, driver) in drivers.into_iter().enumerate() {
        let options = driver.hold(options(index))?;
        let refused = refused(options.id().unwrap_or_default().to_owned());
        if alone {
            let driver = record_io(driver, &options, None);
            created = Some(manager.create(options, driver).map_err(refused)?);
        } else {
            let driver = record_io(driver, &options, transaction.name());
            transaction.create(options, driver).map_err(refused)?;
        }
    }
    let handles = match created {
        Some(job) => vec![job.start()],
        None => transaction.start(),
    };
    let copying = |((handle, report), size_bytes): ((RecordingHandle, _), _)| Copying {
        size_bytes,
        copy: CopyJob {
            handle: handle.job().clone(),
            report,
        },
        handle,
    };
    let parts = handles.into_iter().zip(reports).zip(sizes);
    Ok(parts.map(copying).collect())
}
