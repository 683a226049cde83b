//! Copies under way: a manager, its main loop, and a trace of everything asked and done if wanted.

use std::sync::Arc;

use blockjob::copy::{Backup, CopyError, CopyJob, CopyPlan};
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
        let mut config = ManagerConfig::default().bodies_max(BODIES_MAX);
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

    /// Starts what `plan` says; see [`start`].
    pub fn start(
        &self,
        plan: CopyPlan,
        options: impl FnMut(usize) -> JobOptions,
    ) -> Result<Vec<Copying>, CopyError> {
        start(&self.manager, self.trace.as_ref(), plan, options)
    }
}

/// Starts a job for each pair of `plan`: a single one by itself, several as one transaction.
pub fn start(
    manager: &RecordingManager,
    trace: Option<&Arc<dyn TraceSink>>,
    plan: CopyPlan,
    mut options: impl FnMut(usize) -> JobOptions,
) -> Result<Vec<Copying>, CopyError> {
    let drivers = plan.drivers()?;
    let reports: Vec<_> = drivers.iter().map(Backup::report).collect();
    let sizes: Vec<_> = reports
        .iter()
        .map(|report| report.summary().size_bytes)
        .collect();
    let record_io = |driver: Backup, options: &JobOptions, group: Option<&str>| match trace {
        Some(sink) => driver.record_io(
            Arc::clone(sink),
            options.id().unwrap_or_default(),
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
