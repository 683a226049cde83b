//! Going on behind a fault in a native trace, from the nearest state that is legal.

use blockjob_model::accept::{JobKey, Seen};

use super::{Judge, REPAIRED_MAX};

impl Judge {
    /// Whether a rejected observation follows from a fault before it.
    pub(super) fn follows(&mut self, key: JobKey, seen: Seen) -> bool {
        let late = |assumed: &(JobKey, Seen)| *assumed == (key, seen);
        if let Some(place) = self.assumed.iter().position(late) {
            self.assumed.remove(place);
            return true;
        }
        if self.shaken.contains(&key) {
            let lost = self.acceptor.let_go(key);
            self.let_go(&lost);
            return true;
        }
        false
    }

    /// Goes on behind an observation that was rejected, from the nearest legal state.
    pub(super) fn resume(&mut self, key: JobKey, seen: Seen) {
        match self.acceptor.resume(key, seen) {
            Some(missing) => {
                self.assumed.extend(missing);
                self.assumed.truncate(REPAIRED_MAX);
            }
            None if self.shaken.len() < REPAIRED_MAX => self.shaken.push(key),
            None => {
                let lost = self.acceptor.let_go(key);
                self.let_go(&lost);
            }
        }
    }

    /// These jobs are not believed in any more: nothing is said of them.
    pub(super) fn let_go(&mut self, lost: &[JobKey]) {
        let ids: Vec<String> = self
            .jobs
            .iter()
            .filter(|(_, job)| lost.contains(&job.key))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.forget(&id);
            if self.adrift.len() < REPAIRED_MAX {
                self.adrift.insert(id);
            }
        }
        self.leaving.retain(|(_, key)| !lost.contains(key));
        self.shaken.retain(|key| !lost.contains(key));
        self.assumed.retain(|(key, _)| !lost.contains(key));
    }

    /// A call that did not return as it may has ended all the same.
    pub(super) fn settle(&mut self, thread: u16) {
        self.calls.remove(&thread);
        let lost = self.acceptor.settle(thread);
        self.let_go(&lost);
    }
}
