//! Resources: what jobs hold of the world outside, and the register that keeps them apart.
//!
//! The rules are the specification's ([`blockjob_model::resource`]); here is who holds what. A job
//! names its resources when it is created, all of them or none are taken in the section that
//! creates it, and they are given back exactly once: after `clean`, before the completion function,
//! or when the job is given up unstarted. What says so is the [`Held`] token, which only
//! [`Register::take`] makes and only [`Register::release`] takes.
//!
//! A descriptor that a resource keeps open is closed after that, without the monitor's lock: closing
//! a file may take its time.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;

use blockjob_model::resource::{self, Claim, Conflict, Permissions, Sharing};

use super::monitor::JobKey;
use crate::sync::assert_unlocked;

/// A file or device that a job works on, by the name people know it by: QEMU's node (SEMANTICS.md
/// §2.1). Given to [`JobOptions::resource`](super::manager::JobOptions::resource).
///
/// ```
/// use blockjob::engine::Resource;
/// use blockjob::model::resource::Permissions;
///
/// let source = Resource::read("disk0").shares(Permissions::CONSISTENT_READ);
/// let target = Resource::write("/backup/disk0").identity("8:1 1234567");
/// assert_eq!(source.claim().wanted, Permissions::CONSISTENT_READ);
/// assert_eq!(target.claim().shared, Permissions::NONE);
/// ```
#[must_use = "a resource is held by nobody until a job is created with it"]
#[doc(alias = "BlockDriverState")]
pub struct Resource {
    name: String,
    identity: Option<String>,
    claim: Claim,
    descriptor: Option<OwnedFd>,
}

impl Resource {
    /// A resource that the job reads while nobody changes it; other jobs may read it too.
    pub fn read(name: impl Into<String>) -> Resource {
        Resource::claimed(name, Claim::READ)
    }

    /// A resource that the job writes while nobody else looks at it.
    pub fn write(name: impl Into<String>) -> Resource {
        Resource::claimed(name, Claim::WRITE)
    }

    /// A resource with a claim of the caller's own.
    pub fn claimed(name: impl Into<String>, claim: Claim) -> Resource {
        Resource {
            name: name.into(),
            identity: None,
            claim,
            descriptor: None,
        }
    }

    /// What makes it the same resource as another one, where the name does not: several names may
    /// lead to one file. The name, unless told otherwise.
    pub fn identity(mut self, identity: impl Into<String>) -> Resource {
        self.identity = Some(identity.into());
        self
    }

    /// What the job will do with it.
    pub fn wants(mut self, wanted: Permissions) -> Resource {
        self.claim.wanted = wanted;
        self
    }

    /// What the job bears others doing with it meanwhile.
    pub fn shares(mut self, shared: Permissions) -> Resource {
        self.claim.shared = shared;
        self
    }

    /// A descriptor that stays open as long as the job holds the resource, and is closed after it.
    pub fn keeps_open(mut self, descriptor: impl Into<OwnedFd>) -> Resource {
        self.descriptor = Some(descriptor.into());
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The claim.
    pub fn claim(&self) -> Claim {
        self.claim
    }

    /// The identity, or the name that stands for it.
    pub(super) fn key(&self) -> &str {
        self.identity.as_deref().unwrap_or(&self.name)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Resource")
            .field("name", &self.name)
            .field("identity", &self.key())
            .field("claim", &self.claim)
            .field("descriptor", &self.descriptor)
            .finish()
    }
}

/// A resource as [`JobInfo`](super::query::JobInfo) reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldResource {
    /// Its name.
    pub name: String,
    /// What the job does with it, and what it lets others do.
    pub claim: Claim,
}

/// One job's claim in the register.
#[derive(Debug)]
struct Holding {
    job: JobKey,
    job_type: &'static str,
    claim: Claim,
}

/// Who holds what. Behind the monitor's lock.
#[derive(Debug, Default)]
pub(super) struct Register {
    sharing: Sharing,
    /// By the resource's identity; each list oldest first, and none is empty.
    holdings: BTreeMap<String, Vec<Holding>>,
}

/// A job's right to its resources: made once, when it is created, and given back once.
#[derive(Debug)]
#[must_use = "who holds resources gives them back"]
pub(super) struct Held {
    resources: Vec<Resource>,
}

/// What is left of resources that were given back: descriptors, to be closed without the lock.
#[derive(Debug)]
#[must_use = "descriptors are closed without the monitor's lock"]
pub(super) struct Released {
    #[expect(dead_code, reason = "held open until it is dropped")]
    resources: Vec<Resource>,
}

impl Register {
    pub(super) fn new(sharing: Sharing) -> Register {
        Register {
            sharing,
            holdings: BTreeMap::new(),
        }
    }

    /// Whether a new job may have all of `resources`: the name of the first it may not have, and why.
    pub(super) fn admit(&self, resources: &[Resource]) -> Result<(), (String, Conflict)> {
        for wanted in resources {
            let holders = self.holdings.get(wanted.key()).into_iter().flatten();
            let holders = holders.map(|holding| (holding.job_type, holding.claim));
            resource::admit(self.sharing, holders, wanted.claim)
                .map_err(|conflict| (wanted.name.clone(), conflict))?;
        }
        Ok(())
    }

    /// Gives `job` what [`admit`](Self::admit) said it may have, in the same section; nothing where it
    /// asks for nothing. Two claims of one job on one resource are one.
    pub(super) fn take(
        &mut self,
        job: JobKey,
        job_type: &'static str,
        resources: Vec<Resource>,
    ) -> Option<Held> {
        if resources.is_empty() {
            return None;
        }
        for taken in &resources {
            let holders = match self.holdings.get_mut(taken.key()) {
                Some(holders) => holders,
                None => self.holdings.entry(taken.key().to_owned()).or_default(),
            };
            match holders.iter_mut().find(|holding| holding.job == job) {
                Some(own) => own.claim = own.claim.and(taken.claim),
                None => holders.push(Holding {
                    job,
                    job_type,
                    claim: taken.claim,
                }),
            }
        }
        Some(Held { resources })
    }

    /// Takes back what `job` held.
    pub(super) fn release(&mut self, job: JobKey, held: Held) -> Released {
        for resource in &held.resources {
            if let Some(holders) = self.holdings.get_mut(resource.key()) {
                holders.retain(|holding| holding.job != job);
                if holders.is_empty() {
                    self.holdings.remove(resource.key());
                }
            }
        }
        Released {
            resources: held.resources,
        }
    }

    /// Everybody who holds something.
    #[cfg(debug_assertions)]
    pub(super) fn holders(&self) -> impl Iterator<Item = JobKey> {
        self.holdings.values().flatten().map(|holding| holding.job)
    }

    /// The jobs that hold the resource of this identity, oldest first.
    pub(super) fn jobs_on(&self, identity: &str) -> Vec<JobKey> {
        let holders = self.holdings.get(identity).into_iter().flatten();
        holders.map(|holding| holding.job).collect()
    }
}

impl Drop for Released {
    /// Descriptors are closed without the monitor's lock.
    fn drop(&mut self) {
        assert_unlocked();
    }
}

impl Held {
    /// What queries show.
    pub(super) fn report(&self) -> Vec<HeldResource> {
        let report = |resource: &Resource| HeldResource {
            name: resource.name.clone(),
            claim: resource.claim,
        };
        self.resources.iter().map(report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_what_its_identity_says_and_is_free_once_the_last_gave_it_back() {
        let mut register = Register::default();
        let alias = |name: &str| vec![Resource::read(name).identity("x")];
        let one = register.take(JobKey(1), "backup", alias("a")).unwrap();
        let two = register.take(JobKey(2), "backup", alias("b")).unwrap();
        assert_eq!(register.jobs_on("x"), [JobKey(1), JobKey(2)]);
        assert!(register.jobs_on("a").is_empty());
        assert!(register.admit(&[Resource::write("x")]).is_err());
        drop(register.release(JobKey(1), one));
        assert_eq!(register.jobs_on("x"), [JobKey(2)]);
        drop(register.release(JobKey(2), two));
        assert!(register.holdings.is_empty());
        assert!(register.admit(&[Resource::write("x")]).is_ok());
    }

    #[test]
    fn a_job_is_not_in_its_own_way() {
        let mut register = Register::default();
        let both = vec![Resource::read("x"), Resource::write("x")];
        assert!(register.admit(&both).is_ok());
        let held = register.take(JobKey(1), "commit", both).unwrap();
        assert_eq!(register.jobs_on("x"), [JobKey(1)]);
        assert!(register.admit(&[Resource::read("x")]).is_err());
        drop(register.release(JobKey(1), held));
        assert!(register.jobs_on("x").is_empty());
    }
}
