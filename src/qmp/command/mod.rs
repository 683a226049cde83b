//! What each command does.
//!
//! | file | commands |
//! |---|---|
//! | this one | which is which; `query-version`, `quit` |
//! | [`verbs`] | `job-*`, `block-job-*` |
//! | [`query`] | `query-jobs`, `query-block-jobs` |
//! | [`create`] | `blockdev-backup`, `blockdev-mirror`, `transaction` |
//!
//! Arguments have been held against the [schema](super::schema) before they come here. Commands of all
//! clients may run at the same time, except for those that change nodes or make jobs, which run one after the
//! other.

pub mod create;
pub mod query;
pub mod verbs;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

use super::error::Error;
use super::node::Nodes;
use super::node::file::{Opener, open_in_place};
use super::schema::{Command, introspect, table};
use crate::trace::{RecordingManager, TraceSink};

/// Arguments that were checked.
type Members = Map<String, Value>;

/// What all clients share: the engine and the nodes.
pub struct Core {
    manager: RecordingManager,
    /// Where I/O is recorded, if it is.
    io_trace: Option<Arc<dyn TraceSink>>,
    nodes: Mutex<Nodes>,
    ending: AtomicBool,
    offers: Offer,
}

/// Which commands there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    All,
    /// Those for jobs that are there already.
    Jobs,
}

impl Offer {
    fn has(self, command: &Command) -> bool {
        self == Offer::All || !(makes_jobs(command.name) || is_of_nodes(command.name))
    }
}

fn is_of_nodes(name: &str) -> bool {
    matches!(
        name,
        "blockdev-add" | "blockdev-del" | "query-named-block-nodes"
    )
}

/// A command that was carried out.
#[derive(Debug)]
pub struct Done {
    /// What it returns.
    pub value: Value,
    /// It says how things are, and changes nothing.
    pub question: bool,
    /// The server ends.
    pub quit: bool,
}

impl Done {
    /// One that returns nothing.
    pub fn nothing() -> Done {
        Done::with(json!({}))
    }

    fn with(value: Value) -> Done {
        Done {
            value,
            question: false,
            quit: false,
        }
    }

    fn question(value: Value) -> Done {
        Done {
            question: true,
            ..Done::with(value)
        }
    }
}

/// Whether a refusal of this command may have left events, so that asking again would leave them twice.
pub fn makes_jobs(name: &str) -> bool {
    matches!(name, "blockdev-backup" | "blockdev-mirror" | "transaction")
}

/// `query-version`, and the greeting's: which QEMU's commands these are, and who answers.
pub fn version() -> Value {
    json!({
        "qemu": {"major": 10, "minor": 0, "micro": 0},
        "package": concat!("blockjob ", env!("CARGO_PKG_VERSION")),
    })
}

impl Core {
    /// One without nodes. Files are opened by `opener`; what jobs read and write is recorded in `io_trace`, if
    /// there is one.
    pub fn new(
        manager: RecordingManager,
        opener: Opener,
        io_trace: Option<Arc<dyn TraceSink>>,
    ) -> Core {
        Core {
            manager,
            io_trace,
            nodes: Mutex::new(Nodes::new(opener)),
            ending: AtomicBool::new(false),
            offers: Offer::All,
        }
    }

    /// For the jobs of `manager`: without nodes, and without the commands that make nodes or jobs.
    pub fn for_jobs(manager: RecordingManager) -> Core {
        Core {
            offers: Offer::Jobs,
            ..Core::new(manager, open_in_place, None)
        }
    }

    /// The command of this name, if there is one here.
    pub fn find(&self, name: &str) -> Option<&'static Command> {
        table::find(name).filter(|command| self.offers.has(command))
    }

    /// The engine.
    pub fn manager(&self) -> &RecordingManager {
        &self.manager
    }

    /// From here on no job is made.
    pub fn end(&self) {
        // In turn with those that make jobs: when this returns, what they made can be seen.
        let nodes = self.nodes();
        self.ending.store(true, Ordering::Release);
        drop(nodes);
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out the command `name`.
    ///
    /// # Errors
    /// It was not.
    pub fn carry_out(&self, name: &str, arguments: &Members) -> Result<Done, Error> {
        if let Some(verb) = verbs::Verb::of(name, arguments) {
            return verb.carry_out(&self.manager).map(|()| Done::nothing());
        }
        match name {
            "query-jobs" => Ok(Done::question(query::jobs(&self.manager))),
            "query-block-jobs" => Ok(Done::question(query::block_jobs(&self.manager))),
            "query-version" => Ok(Done::with(version())),
            "query-commands" => Ok(Done::with(introspect::commands(|command| {
                self.offers.has(command)
            }))),
            "query-qmp-schema" => Ok(Done::with(introspect::schema(|command| {
                self.offers.has(command)
            }))),
            "query-named-block-nodes" => Ok(Done::with(self.nodes().query())),
            "blockdev-add" => self
                .nodes()
                .add(arguments)
                .map(|()| Done::nothing())
                .map_err(Error::from),
            "blockdev-del" => self.delete_node(arguments).map(|()| Done::nothing()),
            "blockdev-backup" => self.backup(arguments).map(|()| Done::nothing()),
            "blockdev-mirror" => self.mirror(arguments).map(|()| Done::nothing()),
            "transaction" => self.transaction(arguments).map(|()| Done::nothing()),
            "quit" => Ok(Done {
                quit: true,
                ..Done::nothing()
            }),
            _ => Err(Error::no_command(format!(
                "The command {name} has not been found"
            ))),
        }
    }

    fn delete_node(&self, arguments: &Members) -> Result<(), Error> {
        let name = arguments
            .get("node-name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let manager = self.manager.manager();
        self.nodes().delete(name, |node| {
            let holders = manager.holders(&node.file().identity());
            let mut holds = holders.iter().map(crate::engine::JobHandle::info);
            let by = holds.find(|job| job.resources.iter().any(|held| held.name == node.name()))?;
            let blocker = blockjob_model::resource::blocker(by.job_type);
            Some(format!("Node '{}' is busy: {blocker}", node.name()))
        })?;
        Ok(())
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Core").finish_non_exhaustive()
    }
}
