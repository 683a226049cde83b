//! `query-jobs` and `query-block-jobs`.

use serde_json::{Value, json};

use crate::trace::RecordingManager;

/// `query-jobs`, newest first.
pub fn jobs(manager: &RecordingManager) -> Value {
    let jobs = manager.manager().query_jobs().into_iter();
    jobs.map(|job| {
        let mut entry = json!({
            "id": job.id, "type": job.job_type, "status": job.status.name(),
            "current-progress": job.current_progress, "total-progress": job.total_progress,
        });
        if let Some(error) = job.error {
            entry["error"] = error.into();
        }
        entry
    })
    .collect()
}

/// `query-block-jobs`, newest first.
pub fn block_jobs(manager: &RecordingManager) -> Value {
    let jobs = manager.manager().query_block_jobs().into_iter();
    jobs.map(|job| {
        let mut entry = json!({
            "device": job.device, "type": job.job_type, "status": job.status.name(), "len": job.len,
            "offset": job.offset, "busy": job.busy, "paused": job.paused, "speed": job.speed,
            "io-status": job.io_status.name(), "ready": job.ready, "auto-finalize": job.auto_finalize,
            "auto-dismiss": job.auto_dismiss,
        });
        if job.job_type == "mirror" {
            // What is not copied in step with the source's writes: the copy mode is `background`.
            entry["actively-synced"] = false.into();
        }
        if let Some(error) = job.error {
            entry["error"] = error.into();
        }
        entry
    })
    .collect()
}
