//! What jobs hold of the world outside, and who may hold the same at the same time.
//!
//! A *resource* is what QEMU calls a node: a file or a device, by the name people know it by. A job
//! *claims* resources when it is created and holds them until it is cleaned. A claim says what the
//! job will do with the resource and what it bears others doing with it; two claims get along when
//! each wants only what the other shares. QEMU says the same in two ways, the permissions of the
//! block graph and the operation blockers, whose text people get to read (Appendix A).
//!
//! Source: SEMANTICS.md §2.1 (checks 1 and 6 of `block_job_create`, `block_job_add_bdrv`), §11 ("one
//! job per node").

use core::fmt;
use core::ops::BitOr;

/// A set of things that may be done with a resource: QEMU's `BlockPermission`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permissions(u8);

impl Permissions {
    /// Nothing.
    pub const NONE: Permissions = Permissions(0);
    /// Read, and rely on what is read to be what was written.
    pub const CONSISTENT_READ: Permissions = Permissions(1);
    /// Write.
    pub const WRITE: Permissions = Permissions(2);
    /// Write what is there already, so that nobody who reads can tell.
    pub const WRITE_UNCHANGED: Permissions = Permissions(4);
    /// Change the length.
    pub const RESIZE: Permissions = Permissions(8);
    /// Put something else in its place: another node, another file of that name.
    pub const GRAPH_MOD: Permissions = Permissions(16);
    /// Everything.
    pub const ALL: Permissions = Permissions(31);

    /// Each permission by itself, with the name QMP gives it.
    pub const NAMED: [(Permissions, &'static str); 5] = [
        (Permissions::CONSISTENT_READ, "consistent-read"),
        (Permissions::WRITE, "write"),
        (Permissions::WRITE_UNCHANGED, "write-unchanged"),
        (Permissions::RESIZE, "resize"),
        (Permissions::GRAPH_MOD, "graph-mod"),
    ];

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Permissions) -> Permissions {
        Permissions(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Permissions) -> Permissions {
        Permissions(self.0 & other.0)
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn without(self, other: Permissions) -> Permissions {
        Permissions(self.0 & !other.0)
    }

    /// Whether everything in `other` is in this set.
    pub const fn contains(self, other: Permissions) -> bool {
        other.without(self).0 == 0
    }

    /// The names, in the order of [`NAMED`](Self::NAMED).
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Permissions::NAMED
            .into_iter()
            .filter(move |(one, _)| self.contains(*one))
            .map(|(_, name)| name)
    }
}

impl BitOr for Permissions {
    type Output = Permissions;

    fn bitor(self, other: Permissions) -> Permissions {
        self.union(other)
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.names().enumerate() {
            if place > 0 {
                f.write_str(", ")?;
            }
            f.write_str(name)?;
        }
        if *self == Permissions::NONE {
            f.write_str("nothing")?;
        }
        Ok(())
    }
}

/// What a job will do with a resource, and what it bears others doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    /// What it will do.
    pub wanted: Permissions,
    /// What others may do meanwhile.
    pub shared: Permissions,
}

impl Claim {
    /// To read what nobody changes: the source of a copy.
    pub const READ: Claim = Claim {
        wanted: Permissions::CONSISTENT_READ,
        shared: Permissions::CONSISTENT_READ.union(Permissions::WRITE_UNCHANGED),
    };

    /// To write what nobody else looks at: the target of a copy.
    pub const WRITE: Claim = Claim {
        wanted: Permissions::WRITE.union(Permissions::RESIZE),
        shared: Permissions::NONE,
    };

    /// Whether both may be held by different jobs: each wants only what the other shares.
    pub const fn gets_along_with(self, other: Claim) -> bool {
        self.shared.contains(other.wanted) && other.shared.contains(self.wanted)
    }

    /// Both claims of one job on one resource: it wants what either wants, and bears what both bear.
    #[must_use]
    pub const fn and(self, other: Claim) -> Claim {
        Claim {
            wanted: self.wanted.union(other.wanted),
            shared: self.shared.intersection(other.shared),
        }
    }
}

/// How jobs share resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// As their claims say: QEMU since 4.1, and this project's engine.
    #[default]
    ByClaim,
    /// One job a resource, whatever it wants: QEMU before 4.1 (§11).
    OneJob,
}

/// Why a resource was not given to a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Conflict {
    /// Another job has it, and there is one job a resource.
    InUse,
    /// Another job's claim stands against it.
    Busy {
        /// The type of that job.
        job_type: String,
    },
}

/// Why a job's resources are closed to others, in the words of its operation blocker.
pub fn blocker(job_type: &str) -> String {
    format!("block device is in use by block job: {job_type}")
}

impl Conflict {
    /// The answer to the letter (Appendix A), for the resource called `name`.
    pub fn text(&self, name: &str) -> String {
        match self {
            Conflict::InUse => format!("Device '{name}' is in use"),
            Conflict::Busy { job_type } => {
                format!("Node '{name}' is busy: {}", blocker(job_type))
            }
        }
    }
}

/// Whether a job may have `claim` on a resource beside its present `holders`, each a job's type and
/// its claim, oldest first. The oldest that stands against it is named.
///
/// # Errors
/// It may not.
pub fn admit<'a>(
    sharing: Sharing,
    holders: impl IntoIterator<Item = (&'a str, Claim)>,
    claim: Claim,
) -> Result<(), Conflict> {
    for (job_type, held) in holders {
        if sharing == Sharing::OneJob {
            return Err(Conflict::InUse);
        }
        if !held.gets_along_with(claim) {
            return Err(Conflict::Busy {
                job_type: job_type.to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets() -> impl Iterator<Item = Permissions> + Clone {
        (0..=Permissions::ALL.0).map(Permissions)
    }

    fn claims() -> impl Iterator<Item = Claim> + Clone {
        sets().flat_map(|wanted| sets().map(move |shared| Claim { wanted, shared }))
    }

    #[test]
    fn the_named_permissions_are_all_there_are() {
        let all = Permissions::NAMED
            .into_iter()
            .fold(Permissions::NONE, |all, (one, _)| all | one);
        assert_eq!(all, Permissions::ALL);
        assert_eq!(Permissions::ALL.names().count(), 5);
        let some = Permissions::RESIZE | Permissions::WRITE;
        assert_eq!(some.to_string(), "write, resize");
        assert_eq!(Permissions::NONE.to_string(), "nothing");
    }

    /// All 1024 claims against all 1024.
    #[test]
    fn who_gets_along_does_so_both_ways_and_with_less_too() {
        for one in claims() {
            for other in claims() {
                let along = one.gets_along_with(other);
                assert_eq!(along, other.gets_along_with(one));
                let clash = !one.wanted.without(other.shared).eq(&Permissions::NONE)
                    || !other.wanted.without(one.shared).eq(&Permissions::NONE);
                assert_eq!(along, !clash);
            }
            let idle = Claim {
                wanted: Permissions::NONE,
                shared: Permissions::ALL,
            };
            assert!(one.gets_along_with(idle));
        }
    }

    /// All claims of one job against each other, beside a few of another job.
    #[test]
    fn two_claims_of_one_job_get_along_with_whom_each_gets_along() {
        let others = [Claim::READ, Claim::WRITE];
        for one in claims() {
            for two in claims() {
                for other in others {
                    assert_eq!(
                        one.and(two).gets_along_with(other),
                        one.gets_along_with(other) && two.gets_along_with(other)
                    );
                }
            }
        }
    }

    #[test]
    fn readers_share_and_a_writer_is_alone() {
        assert!(Claim::READ.gets_along_with(Claim::READ));
        assert!(!Claim::READ.gets_along_with(Claim::WRITE));
        assert!(!Claim::WRITE.gets_along_with(Claim::WRITE));
    }

    #[test]
    fn a_conflict_reads_as_qemu_writes_it_and_names_the_oldest_in_the_way() {
        let holders = [
            ("stream", Claim::READ),
            ("mirror", Claim::READ),
            ("commit", Claim::WRITE),
        ];
        let by_claim = |claim| admit(Sharing::ByClaim, holders, claim);
        let busy = by_claim(Claim::WRITE).unwrap_err();
        assert_eq!(
            busy.text("disk0"),
            "Node 'disk0' is busy: block device is in use by block job: stream"
        );
        let busy = by_claim(Claim::READ).unwrap_err();
        assert_eq!(
            busy.text("disk0"),
            "Node 'disk0' is busy: block device is in use by block job: commit"
        );
        let alone = admit(Sharing::OneJob, holders, Claim::READ).unwrap_err();
        assert_eq!(alone.text("disk0"), "Device 'disk0' is in use");
        assert_eq!(admit(Sharing::OneJob, [], Claim::WRITE), Ok(()));
    }
}
