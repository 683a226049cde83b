//! `blockdev-backup`, `blockdev-mirror` and `transaction`: jobs, from arguments.
//!
//! The order of the checks is QEMU's, as far as they are the same, because the first that fails is the answer.

use std::sync::Arc;

use blockjob_model::ErrorPolicy;
use blockjob_model::identity::is_well_formed;
use blockjob_model::resource::{Claim, Permissions};
use serde_json::Value;

use super::{Core, Members};
use crate::driver::Driver;
use crate::engine::{CancelMode, CompletionMode, EngineError, JobOptions, Resource};
use crate::qmp::error::Error;
use crate::qmp::job::backup::Backup;
use crate::qmp::job::mirror::{self, Mirror};
use crate::qmp::job::{CopyOptions, Sync};
use crate::qmp::node::image_lock::{
    BACKUP_SOURCE, BACKUP_TARGET, ImageUse, MIRROR_SOURCE, MIRROR_TARGET,
};
use crate::qmp::node::{Node, Nodes};
use crate::trace::{JobRecorder, RecordingHandle, RecordingTransaction};

/// Actions of a transaction.
pub const ACTIONS_MAX: usize = 256;

fn text<'a>(arguments: &'a Members, name: &str) -> &'a str {
    let text = arguments.get(name).and_then(Value::as_str);
    // The schema says which are there.
    text.unwrap_or_default()
}

fn flag(arguments: &Members, name: &str) -> bool {
    let flag = arguments.get(name).and_then(Value::as_bool);
    flag.unwrap_or(true)
}

fn policy(arguments: &Members, name: &str) -> ErrorPolicy {
    let given = arguments.get(name).and_then(Value::as_str);
    given
        .and_then(ErrorPolicy::from_name)
        .unwrap_or(ErrorPolicy::Report)
}

/// What both jobs are told: their options, and the ends they hold. `source_shares` is what others may do with the
/// source.
fn options(
    arguments: &Members,
    source: &Node,
    source_shares: Permissions,
    target: &Node,
) -> JobOptions {
    // Without an id it would be the device's name, and nodes have none (SEMANTICS.md §2.1).
    let speed = arguments.get("speed").and_then(Value::as_i64);
    JobOptions::new(text(arguments, "job-id"))
        .manual_finalize(!flag(arguments, "auto-finalize"))
        .manual_dismiss(!flag(arguments, "auto-dismiss"))
        .speed(speed.unwrap_or(0))
        .resource(
            Resource::read(source.name())
                .shares(source_shares)
                .identity(source.file().identity()),
        )
        .resource(Resource::write(target.name()).identity(target.file().identity()))
}

fn copy_options(
    arguments: &Members,
    source: &Arc<Node>,
    target: &Arc<Node>,
    locks: [Option<ImageUse>; 2],
) -> CopyOptions {
    CopyOptions {
        job: text(arguments, "job-id").to_owned(),
        source: Arc::clone(source),
        target: Arc::clone(target),
        sync: match text(arguments, "sync") {
            "none" => Sync::None,
            _ => Sync::Full,
        },
        on_source_error: policy(arguments, "on-source-error"),
        on_target_error: policy(arguments, "on-target-error"),
        locks: locks.into_iter().flatten().collect(),
    }
}

/// What is made of the arguments, for a job that is not created yet.
struct Plan<D> {
    options: JobOptions,
    driver: D,
}

impl Core {
    /// `blockdev-backup`.
    pub(super) fn backup(&self, arguments: &Members) -> Result<(), Error> {
        let nodes = self.nodes();
        self.may_make_jobs()?;
        let plan = self.plan_backup(&nodes, arguments, None)?;
        self.create(plan)?;
        Ok(())
    }

    /// `blockdev-mirror`.
    pub(super) fn mirror(&self, arguments: &Members) -> Result<(), Error> {
        let nodes = self.nodes();
        self.may_make_jobs()?;
        let source = nodes.find(text(arguments, "device"))?;
        let target = nodes.find(text(arguments, "target"))?;
        let granularity = match arguments.get("granularity").and_then(Value::as_i64) {
            None | Some(0) => mirror::GRANULARITY,
            Some(given) => {
                let given = u64::try_from(given).unwrap_or(0);
                if !(512..=64 << 20).contains(&given) {
                    return Err(
                        "Parameter 'granularity' expects a value in range [512B, 64MB]".into(),
                    );
                }
                if !given.is_power_of_two() {
                    return Err("Parameter 'granularity' expects a power of 2".into());
                }
                given
            }
        };
        let buffer = arguments.get("buf-size").and_then(Value::as_i64);
        if buffer.is_some_and(|bytes| bytes < 0) {
            return Err("Invalid parameter 'buf-size'".into());
        }
        if let mode @ ("incremental" | "bitmap") = text(arguments, "sync") {
            return Err(format!("Sync mode '{mode}' not supported").into());
        }
        if text(arguments, "copy-mode") == "write-blocking" {
            return Err(
                "copy-mode 'write-blocking' is not supported: nobody writes to the source".into(),
            );
        }
        if Arc::ptr_eq(source, target) || same_file(source, target) {
            return Err("Can't mirror node into itself".into());
        }
        if target.is_read_only() {
            return Err("Block node is read-only".into());
        }
        filter_name(arguments)?;
        let locks = [
            source.file().take(MIRROR_SOURCE)?,
            target.file().take(MIRROR_TARGET)?,
        ];
        // A mirror has its source to itself, as in QEMU.
        let options = options(arguments, source, Permissions::NONE, target);
        let recorder = self.io_recorder(&options, None);
        let copy = copy_options(arguments, source, target, locks);
        self.create(Plan {
            driver: Mirror::new(copy, granularity, recorder),
            options,
        })?;
        Ok(())
    }

    /// `transaction`.
    pub(super) fn transaction(&self, arguments: &Members) -> Result<(), Error> {
        let actions = arguments.get("actions").and_then(Value::as_array);
        let actions = actions.map(Vec::as_slice).unwrap_or_default();
        if actions.len() > ACTIONS_MAX {
            return Err(format!("A transaction has at most {ACTIONS_MAX} actions").into());
        }
        let mode = arguments
            .get("properties")
            .map(|properties| properties["completion-mode"].as_str());
        let grouped = mode.flatten() == Some("grouped");
        if grouped && actions.iter().any(|action| action["type"] == "abort") {
            return Err(
                "Action 'abort' does not support transaction property completion-mode = grouped"
                    .into(),
            );
        }
        let nodes = self.nodes();
        self.may_make_jobs()?;
        let mut transaction = self.manager.transaction_in(if grouped {
            CompletionMode::Grouped
        } else {
            CompletionMode::Individual
        });
        let mut made = Vec::new();
        for action in actions {
            match self.act(&nodes, &mut transaction, action) {
                Ok(job) => made.push(job),
                Err(error) => {
                    give_up(&made);
                    return Err(error);
                }
            }
        }
        transaction.start();
        Ok(())
    }

    fn act(
        &self,
        nodes: &Nodes,
        transaction: &mut RecordingTransaction,
        action: &Value,
    ) -> Result<RecordingHandle, Error> {
        let (Some("blockdev-backup"), Some(arguments)) =
            (action["type"].as_str(), action["data"].as_object())
        else {
            return Err("Transaction aborted using Abort action".into());
        };
        let group = transaction.name().map(str::to_owned);
        let plan = self.plan_backup(nodes, arguments, group.as_deref())?;
        Ok(transaction.create(plan.options, plan.driver)?)
    }

    fn plan_backup(
        &self,
        nodes: &Nodes,
        arguments: &Members,
        group: Option<&str>,
    ) -> Result<Plan<Backup>, Error> {
        let source = nodes.find(text(arguments, "device"))?;
        let target = nodes.find(text(arguments, "target"))?;
        if let mode @ ("incremental" | "bitmap") = text(arguments, "sync") {
            return Err(format!("must provide a valid bitmap name for '{mode}' sync mode").into());
        }
        if let Some(bitmap) = arguments.get("bitmap").and_then(Value::as_str) {
            return Err(format!("Bitmap '{bitmap}' could not be found").into());
        }
        if Arc::ptr_eq(source, target) || same_file(source, target) {
            return Err("Source and target cannot be the same".into());
        }
        if arguments.get("compress") == Some(&Value::Bool(true)) {
            return Err("Compression is not supported for this drive ".into());
        }
        let length = |node: &Node| {
            node.length()
                .map_err(|error| format!("Unable to get length for '{}': {error}", node.name()))
        };
        if length(source)? != length(target)? {
            return Err("Source and target image have different sizes".into());
        }
        if target.is_read_only() {
            return Err("Could not create node: Block node is read-only".into());
        }
        let in_the_way = |words: String| format!("Could not create node: {words}");
        filter_name(arguments).map_err(in_the_way)?;
        // The node above the source, of which QEMU speaks, has the target below it.
        let of_target = target.file().take(BACKUP_TARGET).map_err(in_the_way)?;
        let locks = [of_target, source.file().take(BACKUP_SOURCE)?];
        let options = options(arguments, source, Claim::READ.shared, target);
        let recorder = self.io_recorder(&options, group);
        Ok(Plan {
            driver: Backup::new(copy_options(arguments, source, target, locks), recorder),
            options,
        })
    }

    fn create(&self, plan: Plan<impl Driver>) -> Result<(), EngineError> {
        self.manager.create(plan.options, plan.driver)?.start();
        Ok(())
    }

    fn io_recorder(&self, options: &JobOptions, group: Option<&str>) -> Option<JobRecorder> {
        let sink = self.io_trace.as_ref()?;
        Some(JobRecorder::new(Arc::clone(sink), options.id()?, group))
    }

    fn may_make_jobs(&self) -> Result<(), Error> {
        if self.ending.load(std::sync::atomic::Ordering::Acquire) {
            return Err("The server is ending, and makes no more jobs".into());
        }
        Ok(())
    }
}

/// QEMU puts a node of this name above the source while the job lasts. There is none here, but the name has to be one.
fn filter_name(arguments: &Members) -> Result<(), String> {
    let name = arguments.get("filter-node-name").and_then(Value::as_str);
    match name {
        Some(name) if !is_well_formed(name) => Err(format!("Invalid node-name: '{name}'")),
        _ => Ok(()),
    }
}

/// Two nodes on one file: what is written to one is in the other.
fn same_file(source: &Node, target: &Node) -> bool {
    source.file().identity() == target.file().identity()
}

/// Jobs that are not started after all: cancelled, newest first (SEMANTICS.md §6.1).
fn give_up(made: &[RecordingHandle]) {
    for job in made.iter().rev() {
        // One that is grouped may have gone with another.
        let _ = job.cancel(CancelMode::Force);
    }
}
