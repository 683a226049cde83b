//! Judging: what was read is turned into observations of the specification and held against it.
//!
//! | module | what it judges |
//! |---|---|
//! | [`command`] | what a QMP command asks for |
//! | [`refusal`] | what an error reply says |
//! | [`qmp`] | one QMP conversation by one profile |
//! | [`trial`] | one QMP conversation by every profile that may fit |
//! | [`monitors`] | the conversations of several monitors in one file |
//! | [`log`] | QEMU's trace log |
//! | [`libvirt`] | libvirt's debug log |
//! | [`native`] | the engine's own trace |

pub mod command;
pub mod libvirt;
pub mod log;
pub mod monitors;
pub mod native;
pub mod qmp;
pub mod refusal;
pub mod trial;

use blockjob_model::accept::Rejection;
use blockjob_model::step::Kinds;

use super::verdict::Fault;

/// Whether the client of a conversation is the only one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Observer {
    /// It is: what no command here asks for must not happen.
    Sole,
    /// It is not: others may ask for anything at any time.
    Shared,
    /// It is, except for jobs that no command here explains.
    #[default]
    Auto,
}

impl Observer {
    /// Every one.
    pub const ALL: [Observer; 3] = [Observer::Sole, Observer::Shared, Observer::Auto];

    /// The name to ask for it by.
    pub const fn name(self) -> &'static str {
        match self {
            Observer::Sole => "sole",
            Observer::Shared => "shared",
            Observer::Auto => "auto",
        }
    }

    /// The one called `name`, if there is one.
    pub fn by_name(name: &str) -> Option<Observer> {
        Observer::ALL
            .into_iter()
            .find(|observer| observer.name() == name)
    }
}

/// How much of a conversation a recording of it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// All of it between its first line and its last one, unless it shows otherwise.
    #[default]
    Auto,
    /// All of it: who judges has written it down himself. What is missing is a fault, however much of it.
    Whole,
    /// Anything may be missing, and what was read may have been written down later.
    Filtered,
    /// All but these kinds of events.
    Without(Kinds),
    /// No answers, and of the rest anything may be missing too.
    Unanswered,
    /// Not known yet: nothing is judged, the kinds of events are noted.
    Survey,
}

/// What the acceptor rejected, as a fault in a line.
fn at(line: u64, rejection: Rejection) -> Fault {
    Fault {
        line,
        rule: rejection.rule,
        message: rejection.message,
        allowed: rejection.allowed,
        section: rejection.section,
        jobs: rejection.jobs,
    }
}
