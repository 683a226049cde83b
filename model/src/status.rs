//! The eleven statuses of a job and the moves between them.
//!
//! ```text
//!            ┌────────────── early fail ──────────────────────────────────────────┐
//!            │                                                                    ▼
//! undefined→created→running⇄paused                                               null
//!            │        │  │                                                        ▲
//!            │        │  └→ready⇄standby                                          │
//!            │        │     │                                                     │
//!            │        └──┬──┘                                                     │
//!            │           ├──→waiting──→pending──commit──────────→concluded────────┘
//!            │           │      │        │                          ▲
//!            └───────────┴──────┴────────┴───→aborting──abort───────┘
//! ```
//!
//! Source: SEMANTICS.md §1b. QEMU's names (`JobStatus` in QMP) are kept to the letter.

use core::fmt;

/// Where a job stands, as QMP's `JobStatus` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// Being constructed; never seen from outside.
    Undefined,
    /// Exists, holds its resources, has not been started.
    Created,
    /// Its body runs, or may run.
    Running,
    /// Parked at a pause point on the way; performs no I/O.
    Paused,
    /// Converged with its target; waits to be told to finish.
    Ready,
    /// Parked at a pause point while ready.
    Standby,
    /// The run ended well; other members of the transaction have not.
    Waiting,
    /// The whole transaction ended well; the decision is outstanding.
    Pending,
    /// The run failed, or was cancelled, or a peer did.
    Aborting,
    /// Committed or aborted, cleaned; only its result is left.
    Concluded,
    /// Gone: its id is free.
    Null,
}

/// A row of the transition table: one flag per target status.
type Row = [bool; Status::COUNT];

/// Reads a row of a table as it is written: `1` is allowed, `.` is not.
pub(crate) const fn row(cells: &str) -> [bool; Status::COUNT] {
    let cells = cells.as_bytes();
    assert!(cells.len() == 2 * Status::COUNT - 1, "one cell a status");
    let mut row = [false; Status::COUNT];
    let mut at = 0;
    while at < Status::COUNT {
        assert!(at == 0 || cells[2 * at - 1] == b' ', "cells are spaced");
        row[at] = match cells[2 * at] {
            b'1' => true,
            b'.' => false,
            _ => panic!("a cell is `1` or `.`"),
        };
        at += 1;
    }
    row
}

/// Row = from, column = to; `1` allowed, `.` never.
#[rustfmt::skip]
const TRANSITIONS: [Row; Status::COUNT] = [
    //                   U C R P Y S W D X E N
    /* Undefined */ row(". 1 . . . . . . . . ."),
    /* Created   */ row(". . 1 . . . . . 1 . 1"),
    /* Running   */ row(". . . 1 1 . 1 . 1 . ."),
    /* Paused    */ row(". . 1 . . . . . . . ."),
    /* Ready     */ row(". . . . . 1 1 . 1 . ."),
    /* Standby   */ row(". . . . 1 . . . . . ."),
    /* Waiting   */ row(". . . . . . . 1 1 . ."),
    /* Pending   */ row(". . . . . . . . 1 1 ."),
    /* Aborting  */ row(". . . . . . . . 1 1 ."),
    /* Concluded */ row(". . . . . . . . . . 1"),
    /* Null      */ row(". . . . . . . . . . ."),
];

impl Status {
    /// How many statuses there are.
    pub const COUNT: usize = 11;

    /// Every status, in the order of the tables.
    pub const ALL: [Status; Status::COUNT] = [
        Status::Undefined,
        Status::Created,
        Status::Running,
        Status::Paused,
        Status::Ready,
        Status::Standby,
        Status::Waiting,
        Status::Pending,
        Status::Aborting,
        Status::Concluded,
        Status::Null,
    ];

    /// The name as QMP spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Undefined => "undefined",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Ready => "ready",
            Status::Standby => "standby",
            Status::Waiting => "waiting",
            Status::Pending => "pending",
            Status::Aborting => "aborting",
            Status::Concluded => "concluded",
            Status::Null => "null",
        }
    }

    /// The status QMP spells `name`, if there is one.
    pub fn from_name(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether the table lets a job go from `self` to `to`.
    ///
    /// `aborting → aborting` is the one self-loop; it is silent (§1b).
    pub const fn may_become(self, to: Status) -> bool {
        TRANSITIONS[self as usize][to as usize]
    }

    /// Converged with its target: ready or standby.
    pub const fn is_ready(self) -> bool {
        matches!(self, Status::Ready | Status::Standby)
    }

    /// Parked at a pause point after its start.
    pub const fn is_parked(self) -> bool {
        matches!(self, Status::Paused | Status::Standby)
    }

    /// The run's result has been taken over by the main loop.
    pub const fn is_completed(self) -> bool {
        matches!(
            self,
            Status::Waiting | Status::Pending | Status::Aborting | Status::Concluded | Status::Null
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Facts about the table that nothing may ever break, checked while compiling.
const _: () = {
    let mut allowed = 0;
    let mut from = 0;
    while from < Status::COUNT {
        let mut to = 0;
        let mut reachable = from == Status::Undefined as usize;
        while to < Status::COUNT {
            if TRANSITIONS[from][to] {
                allowed += 1;
            }
            if TRANSITIONS[to][from] {
                reachable = true;
            }
            to += 1;
        }
        assert!(reachable, "every status has a way in");
        from += 1;
    }
    assert!(allowed == 20, "twenty allowed pairs");

    let mut to = 0;
    while to < Status::COUNT {
        assert!(!TRANSITIONS[Status::Null as usize][to], "null absorbs");
        assert!(
            !TRANSITIONS[Status::Paused as usize][to] || to == Status::Running as usize,
            "paused leaves only to running"
        );
        assert!(
            !TRANSITIONS[Status::Standby as usize][to] || to == Status::Ready as usize,
            "standby leaves only to ready"
        );
        assert!(
            !TRANSITIONS[to][Status::Concluded as usize]
                || to == Status::Pending as usize
                || to == Status::Aborting as usize,
            "concluded is entered by commit (pending) or abort (aborting) alone"
        );
        to += 1;
    }
    assert!(
        !TRANSITIONS[Status::Aborting as usize][Status::Pending as usize],
        "an abort never turns into a commit"
    );
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for status in Status::ALL {
            assert_eq!(Status::from_name(status.name()), Some(status));
        }
        assert_eq!(Status::from_name("finished"), None);
    }

    #[test]
    fn every_status_is_reachable_from_undefined() {
        let mut seen = vec![Status::Undefined];
        let mut next = 0;
        while next < seen.len() {
            for to in Status::ALL {
                if seen[next].may_become(to) && !seen.contains(&to) {
                    seen.push(to);
                }
            }
            next += 1;
        }
        assert_eq!(seen.len(), Status::COUNT);
    }
}
