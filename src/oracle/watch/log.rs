//! The steps of QEMU's trace log.

use std::collections::HashMap;

use blockjob_model::{Status, Verb};

use super::{FOLLOWED_MAX, Step, What};
use crate::oracle::reader::qemu_log::{Entry, Said};

/// What is followed of a log.
#[derive(Default)]
pub(super) struct Log {
    /// The line in which the command under way was entered, by process.
    entered: HashMap<Option<u64>, u64>,
}

impl Log {
    /// Tells the steps of a line. Jobs are called by their addresses.
    pub fn take(&mut self, entry: &Entry<'_>, tell: &mut dyn FnMut(Step<'_>)) {
        let source = entry
            .process
            .map_or_else(String::new, |process| process.to_string());
        let mut say = |job, what| {
            tell(Step {
                source: &source,
                job,
                ..Step::new(entry.line, what)
            });
        };
        match entry.said {
            Said::Transition { job, from, to, .. } => {
                if let (Some(from), Some(to)) = (Status::from_name(from), Status::from_name(to)) {
                    say(
                        Some(job),
                        What::Status {
                            from: Some(from),
                            to,
                            event: false,
                        },
                    );
                }
            }
            Said::Verb {
                job,
                status,
                verb,
                allowed,
                ..
            } => {
                if let (Some(status), Some(verb)) =
                    (Status::from_name(status), Verb::from_name(verb))
                {
                    say(
                        Some(job),
                        What::LookedUp {
                            verb,
                            status,
                            permitted: allowed,
                        },
                    );
                }
            }
            Said::Completed { job, result } => say(Some(job), What::Ended(result)),
            Said::Enter { command, .. } => {
                say(None, What::Asked(&command.replace('_', "-")));
                if self.entered.len() < FOLLOWED_MAX {
                    self.entered.insert(entry.process, entry.line);
                }
            }
            Said::Exit {
                command,
                answer,
                well,
            } => {
                let asked = self.entered.remove(&entry.process).unwrap_or(entry.line);
                say(
                    None,
                    What::Answered {
                        name: &command.replace('_', "-"),
                        asked,
                        verb: None,
                        block: command.starts_with("block_"),
                        error: (!well).then_some(answer),
                    },
                );
            }
            Said::For { .. } | Said::Damaged => {}
        }
    }
}
