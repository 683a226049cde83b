//! What a vector may send, and what it may see.

use crate::state::JobSpec;
use crate::status::Status;
use crate::verb::Refusal;
use crate::vocabulary::{ErrorAction, Event, Request};

/// A job of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// As for the acceptor.
    pub spec: JobSpec,
    /// Its `prepare` fails.
    pub prepare_fails: bool,
    /// Its driver takes no notice of a forced cancel until it is ordered to end.
    pub lingers: bool,
}

impl Member {
    /// Ends by itself, decided and dismissed automatically.
    pub const PLAIN: Member = Member {
        spec: JobSpec::PLAIN,
        prepare_fails: false,
        lingers: false,
    };

    /// Converges, and ends well only when told to.
    pub const MIRROR: Member = Member {
        spec: JobSpec {
            can_complete: true,
            needs_finish: true,
            ..JobSpec::PLAIN
        },
        ..Member::PLAIN
    };

    /// The same, decided and dismissed by its user.
    #[must_use]
    pub const fn manual(self) -> Member {
        Member {
            spec: JobSpec {
                auto_finalize: false,
                auto_dismiss: false,
                ..self.spec
            },
            ..self
        }
    }
}

/// Something that is sent to the implementation. `usize` is the member it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Create a job, without starting it. Answered.
    Create(usize),
    /// Start every member, in one command. Answered.
    Start,
    /// Its creator gives an unstarted job up. Answered.
    GiveUp(usize),
    /// A request of a user. Answered.
    Ask {
        /// For which job.
        member: usize,
        /// What.
        request: Request,
        /// Through a `block-job-*` command.
        block: bool,
    },
    /// Its driver converges. Not answered.
    Converge(usize),
    /// Its driver meets an I/O error, and its policy chooses this. Not answered.
    IoError(usize, ErrorAction),
    /// Its driver's run ends, well or with an error. Not answered.
    End(usize, bool),
}

impl Action {
    /// A request by the command that QMP has for it.
    pub const fn ask(member: usize, request: Request) -> Action {
        Action::Ask {
            member,
            request,
            block: only_block(request),
        }
    }

    /// Whether it is answered.
    pub const fn is_answered(self) -> bool {
        !matches!(
            self,
            Action::Converge(_) | Action::IoError(..) | Action::End(..)
        )
    }
}

/// QMP has no other command for it than a `block-job-*` one.
pub(super) const fn only_block(request: Request) -> bool {
    matches!(
        request,
        Request::SetSpeed { .. } | Request::Change | Request::Cancel { force: false }
    )
}

/// Something that the implementation shows. `usize` is the member it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Observation {
    /// A job's status changed.
    Status(usize, Status),
    /// An event.
    Event(usize, Event),
    /// What was sent is answered with success.
    Accepted,
    /// What was sent is refused.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Which job's id the text names.
        member: usize,
        /// In the words of the `block-job-*` commands.
        block: bool,
    },
}
